#include "store/tree.h"

#include "base/crc.h"
#include "base/mutant.h"
#include "store/tree_impl.h"
#include "zkproto/zk.h"

#define META_MAGIC       0x4d585450u /* "PTXM" */
#define META_FORMAT      1u
#define META_BYTES       108u /* tree_meta_encode */
#define META_RECORD_MORE 12u  /* behind it in kv: next node id, next ACL list's id */

/* ---- meta ---- */

void tree_meta_encode(const struct tree_meta *m, struct pk_buf *out)
{
	size_t start = out->len;

	pk_buf_add_le32(out, META_MAGIC);
	pk_buf_add_le32(out, META_FORMAT);
	pk_buf_add_le64(out, m->index);
	pk_buf_add_le64(out, m->term);
	pk_buf_add_le64(out, m->zxid);
	pk_buf_add_le64(out, m->digest);
	pk_buf_add_le64(out, m->extra);
	pk_buf_add_le64(out, m->nodes);
	pk_buf_add_le64(out, m->data_bytes);
	pk_buf_add_le64(out, m->ephemerals);
	pk_buf_add_le64(out, m->sessions);
	pk_buf_add_le64(out, (uint64_t)m->time_ms);
	pk_buf_add(out, m->state_id, sizeof(m->state_id));
	pk_buf_add_le32(out, pk_crc32c(0, out->data + start, out->len - start));
	PK_ASSERT(out->len - start == META_BYTES);
}

int tree_meta_decode(struct tree_meta *out, struct pk_bytes in, struct pk_err *err)
{
	struct pk_rd r = { .in = in };
	struct tree_meta m;

	if (in.len != META_BYTES)
		return pk_err_set(err, PK_ECORRUPT, "meta: %zu bytes, want %u", in.len, META_BYTES);
	if (pk_get_le32(in.data + META_BYTES - 4) != pk_crc32c(0, in.data, META_BYTES - 4))
		return pk_err_set(err, PK_ECORRUPT, "meta: checksum does not match");
	uint32_t magic = pk_rd_le32(&r);
	uint32_t format = pk_rd_le32(&r);
	if (magic != META_MAGIC || format != META_FORMAT)
		return pk_err_set(err, PK_ECORRUPT, "meta: magic %08x, format %u", magic, format);
	m.index = pk_rd_le64(&r);
	m.term = pk_rd_le64(&r);
	m.zxid = pk_rd_le64(&r);
	m.digest = pk_rd_le64(&r);
	m.extra = pk_rd_le64(&r);
	m.nodes = pk_rd_le64(&r);
	m.data_bytes = pk_rd_le64(&r);
	m.ephemerals = pk_rd_le64(&r);
	m.sessions = pk_rd_le64(&r);
	m.time_ms = (int64_t)pk_rd_le64(&r);
	struct pk_bytes id = pk_rd_bytes(&r, sizeof(m.state_id));
	PK_ASSERT(!r.bad);
	memcpy(m.state_id, id.data, id.len);
	*out = m;
	return 0;
}

const struct tree_meta *tree_meta(const struct tree *t)
{
	return &t->now.meta;
}

void tree_flush(struct tree *t)
{
	PK_ASSERT(!t->stage.on);
	acl_flush(t);
	struct tree_meta meta = t->now.meta;
	meta.index -= MUTANT(applied_twice) && meta.index > 1;
	pk_buf_clear(&t->record);
	tree_meta_encode(&meta, &t->record);
	pk_buf_add_le64(&t->record, t->now.node_next);
	pk_buf_add_le32(&t->record, t->now.acl_next);
	kv_put(t->kv, pk_bytes("M", 1), pk_buf_bytes(&t->record));
}

static int load(struct tree *t, struct pk_bytes record, struct pk_err *err)
{
	if (record.len != META_BYTES + META_RECORD_MORE)
		return pk_err_set(err, PK_ECORRUPT, "meta record: %zu bytes", record.len);
	int rc = tree_meta_decode(&t->now.meta, pk_bytes(record.data, META_BYTES), err);
	if (rc != 0)
		return rc;
	t->now.node_next = pk_get_le64(record.data + META_BYTES);
	t->now.acl_next = pk_get_le32(record.data + META_BYTES + 8);
	sessions_load(t);
	quotas_load(t);
	return 0;
}

/* ---- the empty tree ---- */

static uint64_t first_node(struct tree *t, uint64_t parent_id, const char *path, const char *name,
			   uint32_t children, uint32_t acl, int32_t aversion)
{
	struct node n = { 0 };

	node_key_new(t, parent_id, pk_bytes_str(name), &n);
	n.id = t->now.node_next++;
	n.children = children;
	n.acl = acl;
	n.aversion = aversion;
	node_insert(t, &n, pk_bytes_str(path), pk_bytes("", 0));
	return n.id;
}

static uint32_t first_acl(struct tree *t, struct zk_acls list)
{
	pk_buf_clear(&t->acl);
	zk_wr_acls(&t->acl, list);
	return acl_take(t, pk_buf_bytes(&t->acl));
}

/* What DataTree's constructor makes: stats all zero, /zookeeper/config readable by all and with
 * its ACL set once. */
static void make_empty(struct tree *t, const struct tree_config *cfg)
{
	memcpy(t->now.meta.state_id, cfg->state_id, sizeof(cfg->state_id));
	t->now.node_next = ROOT_ID;
	t->now.acl_next = ACL_OPEN;
	uint32_t open = first_acl(t, zk_acls_open());
	PK_ASSERT(open == ACL_OPEN);
	uint64_t root = first_node(t, 0, "/", "", 1, open, 0);
	PK_ASSERT(root == ROOT_ID);
	first_acl(t, zk_acls_open());
	uint64_t top = first_node(t, root, "/zookeeper", "zookeeper", 2, open, 0);
	first_acl(t, zk_acls_open());
	first_node(t, top, "/zookeeper/quota", "quota", 0, open, 0);
	uint32_t read = first_acl(t, zk_acls_read());
	first_node(t, top, "/zookeeper/config", "config", 0, read, -1);
}

int tree_open(struct tree **out, struct kv *kv, const struct tree_config *cfg, struct pk_err *err)
{
	struct tree *t = pk_alloc(sizeof(*t));
	struct pk_bytes record;

	t->kv = kv;
	t->dirs = pk_alloc(DIR_SLOTS * sizeof(*t->dirs));
	t->path_depth_max = cfg->path_depth_max > 0 ? cfg->path_depth_max : UINT32_MAX;
	if (kv_get(kv, pk_bytes("M", 1), &record) == 1) {
		int rc = load(t, record, err);
		if (rc != 0) {
			tree_close(t);
			return rc;
		}
	} else {
		make_empty(t, cfg);
	}
	*out = t;
	return 0;
}

void tree_close(struct tree *t)
{
	if (t == NULL)
		return;
	stage_release(&t->stage);
	free(t->dirs);
	acl_release(t);
	sessions_release(t);
	quotas_release(t);
	pk_buf_release(&t->quota_recount);
	pk_buf_release(&t->record);
	pk_buf_release(&t->path);
	pk_buf_release(&t->acl);
	pk_buf_release(&t->text);
	free(t);
}

/* ---- entries ---- */

bool tree_entry_begin(struct tree *t, const struct txn_header *h, uint64_t index, uint64_t term)
{
	PK_ASSERT(!t->in_entry);
	if (index <= t->now.meta.index)
		return false;
	PK_ASSERT(h->index == index);
	PK_ASSERT(index == t->now.meta.index + 1);
	PK_ASSERT(term >= t->now.meta.term);
	t->in_entry = true;
	t->index = index;
	t->term = term;
	t->flags = h->flags;
	/* The proposer never stamps less than the entry before it; a replica need not rely on it.
	 */
	t->time_ms = h->time_ms > t->now.meta.time_ms ? h->time_ms : t->now.meta.time_ms;
	t->now.meta.time_ms = t->time_ms;
	return true;
}

void tree_entry_end(struct tree *t)
{
	PK_ASSERT(t->in_entry);
	t->in_entry = false;
	t->now.meta.index = t->index;
	t->now.meta.term = t->term;
}

void tree_skip_index(struct tree *t, uint64_t index, uint64_t term)
{
	PK_ASSERT(!t->in_entry);
	if (index <= t->now.meta.index)
		return;
	PK_ASSERT(index == t->now.meta.index + 1);
	PK_ASSERT(term >= t->now.meta.term);
	t->now.meta.index = index;
	t->now.meta.term = term;
}

/* ---- operations ---- */

static uint64_t zxid_after(uint64_t zxid)
{
	return (uint32_t)zxid == UINT32_MAX ? (((zxid >> 32) + 1) << 32) + 1 : zxid + 1;
}

/* Only the leader may say this; it has no session. */
static int32_t apply_epoch(struct tree *t, struct write *w)
{
	(void)w;
	t->now.meta.zxid = ((t->now.meta.zxid >> 32) + 1) << 32;
	return 0;
}

static int32_t apply_nothing(struct tree *t, struct write *w)
{
	(void)t;
	(void)w;
	return 0;
}

static int32_t apply_refused(struct tree *t, struct write *w)
{
	(void)t;
	return w->op->body.len == 4 ? (int32_t)pk_get_le32(w->op->body.data) : ZK_ESYSTEM;
}

typedef int32_t apply_f(struct tree *t, struct write *w);

enum {
	TAKES_ZXID = 1 << 0, /* as every write of ZooKeeper does, also one that fails */
	SILENT = 1 << 1,
};

static const struct {
	int32_t type;
	int flags;
	apply_f *apply;
} table[] = {
	{ ZK_OP_CREATE, TAKES_ZXID, apply_create },
	{ ZK_OP_CREATE2, TAKES_ZXID, apply_create },
	{ ZK_OP_CREATE_CONTAINER, TAKES_ZXID, apply_create },
	{ ZK_OP_CREATE_TTL, TAKES_ZXID, apply_create },
	{ ZK_OP_DELETE, TAKES_ZXID, apply_delete },
	{ ZK_OP_SET_DATA, TAKES_ZXID, apply_set_data },
	{ ZK_OP_SET_ACL, TAKES_ZXID, apply_set_acl },
	{ ZK_OP_CHECK, TAKES_ZXID, apply_check },
	{ ZK_OP_MULTI, TAKES_ZXID, apply_multi },
	{ ZK_OP_RECONFIG, TAKES_ZXID, apply_reconfig },
	{ ZK_OP_DELETE_CONTAINER, TAKES_ZXID, apply_delete_container },
	{ ZK_OP_CREATE_SESSION, TAKES_ZXID, apply_create_session },
	{ ZK_OP_CLOSE_SESSION, TAKES_ZXID, apply_close_session },
	{ TXN_ATTACH, 0, apply_attach },
	{ TXN_EPOCH, SILENT, apply_epoch },
	{ TXN_SYNC, 0, apply_nothing },
	{ TXN_DIGEST, SILENT, apply_nothing },
	{ TXN_REFUSED, 0, apply_refused },
	{ TXN_CONFIG, TAKES_ZXID, apply_config },
	{ TXN_EXPIRE, TAKES_ZXID | SILENT, apply_close_session },
};

static void result_clear(struct tree *t, struct tree_result *r)
{
	r->err = 0;
	r->silent = false;
	r->deferred = false;
	pk_buf_clear(&r->body);
	result_events_clear(t, r);
	r->session_gen = 0;
	r->session_timeout_ms = 0;
}

static void result_finish(struct tree *t, struct tree_result *r)
{
	r->zxid = t->now.meta.zxid;
	if (r->err != 0) {
		PK_ASSERT(r->event_count == 0);
		pk_buf_clear(&r->body);
	}
	for (size_t i = 0; i < r->event_count; i++) {
		struct tree_event *e = &r->events[i];

		e->path.data = r->event_bytes.data + (size_t)e->path.data;
		e->acl.data = r->event_bytes.data + (size_t)e->acl.data;
	}
}

void tree_apply(struct tree *t, const struct txn_op *op, const struct txn_id *ids,
		struct tree_result *r)
{
	struct write w = {
		.op = op,
		.who = { ids, op->ids, op->id_count, (t->flags & TXN_SKIP_ACL) != 0 },
		.r = r,
	};
	size_t i = 0;

	PK_ASSERT(t->in_entry);
	result_clear(t, r);
	while (i < PK_COUNT(table) && table[i].type != op->type)
		i++;
	if (i == PK_COUNT(table)) {
		r->err = ZK_EUNIMPLEMENTED; /* takes no zxid, as there */
		r->zxid = t->now.meta.zxid;
		return;
	}
	r->silent = (table[i].flags & SILENT) != 0 ||
		    (op->type == ZK_OP_DELETE_CONTAINER && op->session_id == 0);
	/* An expiry that came too late never happened. */
	bool late = op->type == TXN_EXPIRE && !session_is(t, op->session_id, op->gen);
	if ((table[i].flags & TAKES_ZXID) != 0 && !late)
		t->now.meta.zxid = zxid_after(t->now.meta.zxid);
	r->err = table[i].apply(t, &w);
	if (t->acl_zero_count > 0)
		acl_settle(t);
	if (t->quota_recount.len > 0)
		quota_settle(t);
	t->quota_dirty = false;
	result_finish(t, r);
}

void tree_result_release(struct tree_result *r)
{
	pk_buf_release(&r->body);
	pk_buf_release(&r->event_bytes);
	free(r->events);
	*r = (struct tree_result){ 0 };
}
