#include <stdio.h>

#include "base/mutant.h"
#include "store/tree_impl.h"
#include "zkproto/multi.h"
#include "zkproto/zk.h"

/*
 * The write operations. Each checks in the reference's order, for that order decides which error a
 * client sees (PrepRequestProcessor.pRequest2Txn), and changes nothing before all checks passed.
 * A result of ZK_EMARSHALLING fails a multi as a whole: where Java meets a null it did not expect.
 */

void result_events_clear(struct tree *t, struct tree_result *r)
{
	pk_buf_clear(&r->event_bytes);
	r->event_count = 0;
	t->event_round++;
}

void result_event(struct tree *t, struct tree_result *r, int32_t type, struct pk_bytes path,
		  uint32_t acl)
{
	if (r->event_count == r->event_cap) {
		r->event_cap = r->event_cap > 0 ? 2 * r->event_cap : 8;
		r->events = pk_realloc(r->events, r->event_cap * sizeof(*r->events));
	}
	/* The bytes may move while they are gathered: offsets until tree_apply ends. */
	r->events[r->event_count++] = (struct tree_event){
		.type = type,
		.path = { (const uint8_t *)r->event_bytes.len, path.len },
	};
	pk_buf_add_bytes(&r->event_bytes, path);
	r->events[r->event_count - 1].acl = acl_of_event(t, acl, &r->event_bytes);
}

/* The part before the last slash, "" below the root; false when there is no slash, or a NUL. */
static bool parent_of(struct pk_bytes path, struct pk_bytes *parent)
{
	const uint8_t *slash = path.len > 0 ? memrchr(path.data, '/', path.len) : NULL;

	if (slash == NULL || memchr(path.data, 0, path.len) != NULL)
		return false;
	*parent = pk_bytes(path.data, (size_t)(slash - path.data));
	return true;
}

static struct pk_bytes last_name(struct pk_bytes path, struct pk_bytes parent)
{
	return pk_bytes(path.data + parent.len + 1, path.len - parent.len - 1);
}

/* How events call a parent: the root is "/". */
static struct pk_bytes parent_shown(struct pk_bytes parent)
{
	return parent.len > 0 ? parent : pk_bytes("/", 1);
}

static int32_t version_check(int32_t now, int32_t asked)
{
	return asked == ZK_VERSION_ANY || asked == now || MUTANT(version_not_checked)
		       ? 0
		       : ZK_EBADVERSION;
}

void write_stat(struct pk_buf *b, const struct node *n)
{
	struct zk_stat stat;

	node_stat(n, &stat);
	zk_wr_stat(b, &stat);
}

/* ---- create ---- */

static int32_t create_mode_check(struct tree *t, struct write *w,
				 const struct zk_create_ttl_req *req)
{
	bool ttl_mode = req->flags == ZK_CREATE_TTL || req->flags == ZK_CREATE_TTL_SEQUENTIAL;

	if (!zk_create_mode_valid(req->flags))
		return ZK_EBADARGUMENTS;
	if (ttl_mode && (t->flags & TXN_EXTENDED_TYPES) == 0)
		return ZK_EUNIMPLEMENTED;
	if (ttl_mode ? req->ttl_ms <= 0 || req->ttl_ms > TTL_MS_MAX : req->ttl_ms >= 0)
		return ZK_EBADARGUMENTS;
	if (zk_create_mode_ephemeral(req->flags))
		return session_check_global(t, w->op);
	return session_check(t, w->op);
}

/* What the node will be: the operation decides, then the mode (DataTree.processTxn). */
static void set_kind(struct node *n, int32_t type, const struct zk_create_ttl_req *req,
		     uint64_t session_id)
{
	n->kind = NODE_PLAIN;
	n->owner = 0;
	if (type == ZK_OP_CREATE_CONTAINER) {
		n->kind = NODE_CONTAINER;
		n->owner = OWNER_CONTAINER;
	} else if (type == ZK_OP_CREATE_TTL) {
		n->kind = NODE_TTL;
		n->owner = OWNER_TTL | (uint64_t)req->ttl_ms;
	} else if (zk_create_mode_ephemeral(req->flags)) {
		n->kind = NODE_EPHEMERAL;
		n->owner = session_id;
	}
}

static size_t index_key(const struct node *n, uint8_t key[17])
{
	if (n->kind == NODE_EPHEMERAL)
		return key_2u64(key, 'E', n->owner, n->id);
	return key_u64(key, 'C', n->id);
}

/* The path with its number, in t->path. */
static struct pk_bytes create_path(struct tree *t, const struct zk_create_ttl_req *req,
				   const struct node *parent)
{
	char number[16];

	if (!zk_create_mode_sequential(req->flags))
		return req->path;
	int32_t next = MUTANT(sequence_number_reused) ? (int32_t)parent->children
						      : parent->cversion;
	int bytes = snprintf(number, sizeof(number), "%010d", next);
	PK_ASSERT(bytes >= 10 && bytes < (int)sizeof(number));
	pk_buf_clear(&t->path);
	pk_buf_add_bytes(&t->path, req->path);
	pk_buf_add(&t->path, number, (size_t)bytes);
	return pk_buf_bytes(&t->path);
}

static void create_reply(struct write *w, int32_t type, struct pk_bytes path, const struct node *n)
{
	struct pk_buf *b = &w->r->body;
	bool with_stat = type == ZK_OP_CREATE_CONTAINER || type == ZK_OP_CREATE_TTL ||
			 (type == ZK_OP_CREATE2 && !w->in_multi);

	if (w->in_multi)
		zk_multi_result_header(b, with_stat ? ZK_OP_CREATE2 : ZK_OP_CREATE);
	zk_wr_ustring(b, path);
	if (with_stat)
		write_stat(b, n);
}

int32_t write_create(struct tree *t, struct write *w, int32_t type,
		     const struct zk_create_ttl_req *req)
{
	struct node parent, child;
	struct pk_bytes parent_path, path, name;
	uint8_t key[17];
	int64_t zxid = (int64_t)t->now.meta.zxid;

	int32_t err = create_mode_check(t, w, req);
	if (err != 0)
		return err;
	if (req->path.data == NULL)
		return ZK_EMARSHALLING;
	if (!parent_of(req->path, &parent_path))
		return ZK_EBADARGUMENTS;
	err = acl_fix_up(t, &w->who, &req->acl);
	if (err != 0)
		return err;
	if (!node_find(t, parent_path, &parent))
		return ZK_ENONODE;
	err = acl_check(t, parent.acl, ZK_PERM_CREATE, &w->who);
	if (err != 0)
		return err;
	path = create_path(t, req, &parent);
	if (!zk_path_valid(path) || zk_path_depth(path) > t->path_depth_max)
		return ZK_EBADARGUMENTS;
	if (zk_path_is_root(path))
		return ZK_ENODEEXISTS;
	parent_path.data = path.data;
	name = last_name(path, parent_path);
	if (node_child(t, parent.id, name, &child))
		return ZK_ENODEEXISTS;
	if (parent.kind == NODE_EPHEMERAL && !MUTANT(ephemeral_has_children))
		return ZK_ENOCHILDRENFOREPHEMERALS;
	/* createTTL for a node without one: the reference accepts it here and then dies of it. */
	if (type == ZK_OP_CREATE_TTL && req->ttl_ms <= 0)
		return ZK_EBADARGUMENTS;
	err = quota_check(t, path, (int64_t)req->data.len, 1);
	if (err != 0)
		return err;

	node_key_new(t, parent.id, name, &child);
	node_change_begin(t, &parent);
	parent.cversion = (int32_t)((uint32_t)parent.cversion + 1);
	parent.pzxid = zxid;
	parent.children++;
	node_change_end(t, &parent);

	child.id = t->now.node_next++;
	child.czxid = child.mzxid = child.pzxid = zxid;
	child.ctime = child.mtime = t->time_ms;
	child.version = child.cversion = child.aversion = 0;
	child.children = 0;
	child.acl = acl_take(t, pk_buf_bytes(&t->acl));
	set_kind(&child, type, req, w->op->session_id);
	node_insert(t, &child, path, req->data);
	if (child.kind != NODE_PLAIN)
		tree_put(t, pk_bytes(key, index_key(&child, key)), path);

	create_reply(w, type, path, &child);
	result_event(t, w->r, ZK_EVENT_CREATED, path, child.acl);
	result_event(t, w->r, ZK_EVENT_CHILDREN_CHANGED, parent_shown(parent_path), parent.acl);
	if (child.uncounted)
		quota_created(t, path);
	quota_update(t, path, (int64_t)req->data.len, 1);
	return 0;
}

int32_t apply_create(struct tree *t, struct write *w)
{
	struct zk_rd r = zk_rd(w->op->body);
	struct zk_create_req req;
	struct zk_create_ttl_req with_ttl;

	if (w->op->type == ZK_OP_CREATE_TTL) {
		if (zk_create_ttl_req_decode(&r, &with_ttl) != 0)
			return ZK_EMARSHALLING;
	} else {
		if (zk_create_req_decode(&r, &req) != 0)
			return ZK_EMARSHALLING;
		with_ttl = (struct zk_create_ttl_req){ req.path, req.data, req.acl, req.flags, -1 };
	}
	return write_create(t, w, w->op->type, &with_ttl);
}

/* ---- delete ---- */

void tree_remove(struct tree *t, struct pk_bytes path, struct tree_result *r)
{
	struct node parent, n;
	struct pk_bytes parent_path;
	uint8_t key[17];

	bool found = parent_of(path, &parent_path) && node_find(t, parent_path, &parent) &&
		     node_child(t, parent.id, last_name(path, parent_path), &n);
	PK_ASSERT(found && n.children == 0);
	int64_t data_bytes = n.data_bytes;
	node_remove(t, &n, path);
	if (n.kind != NODE_PLAIN)
		tree_del(t, pk_bytes(key, index_key(&n, key)));
	acl_give(t, n.acl);

	/* Again: the parent's inline data was borrowed before the change. */
	found = node_find(t, parent_path, &parent);
	PK_ASSERT(found && parent.children > 0);
	node_change_begin(t, &parent);
	parent.children--;
	if (!MUTANT(pzxid_wrong))
		parent.pzxid = (int64_t)t->now.meta.zxid;
	node_change_end(t, &parent);

	if (n.uncounted)
		quota_deleted(t, path);
	quota_update(t, path, -data_bytes, -1);
	result_event(t, r, ZK_EVENT_DELETED, path, n.acl);
	result_event(t, r, ZK_EVENT_CHILDREN_CHANGED, parent_shown(parent_path), parent.acl);
}

static bool path_fixed(struct pk_bytes path)
{
	return pk_bytes_is(path, "/") || pk_bytes_is(path, "/zookeeper") ||
	       pk_bytes_is(path, "/zookeeper/quota") || pk_bytes_is(path, "/zookeeper/config");
}

int32_t write_delete(struct tree *t, struct write *w, const struct zk_delete_req *req)
{
	struct node parent, n;
	struct pk_bytes parent_path;

	if (req->path.data == NULL)
		return ZK_EMARSHALLING;
	if (!parent_of(req->path, &parent_path) || path_fixed(req->path))
		return ZK_EBADARGUMENTS;
	if (!node_find(t, parent_path, &parent))
		return ZK_ENONODE;
	int32_t err = acl_check(t, parent.acl, ZK_PERM_DELETE, &w->who);
	if (err != 0)
		return err;
	/* "//a" has the parent "/", which is there, and is no node's path all the same. */
	if (parent_path.len == 1 ||
	    !node_child(t, parent.id, last_name(req->path, parent_path), &n))
		return ZK_ENONODE;
	err = version_check(n.version, req->version);
	if (err != 0)
		return err;
	if (n.children > 0)
		return ZK_ENOTEMPTY;
	tree_remove(t, req->path, w->r);
	if (w->in_multi)
		zk_multi_result_header(&w->r->body, ZK_OP_DELETE);
	return 0;
}

int32_t apply_delete(struct tree *t, struct write *w)
{
	struct zk_rd r = zk_rd(w->op->body);
	struct zk_delete_req req;

	int32_t err = session_check(t, w->op);
	if (err != 0)
		return err;
	if (zk_delete_req_decode(&r, &req) != 0)
		return ZK_EMARSHALLING;
	return write_delete(t, w, &req);
}

/*
 * From the leader's clean-up alone, and only of what is a container or a TTL node, nobody wrote to
 * since the leader looked, and is overdue by the log's own clock. (The reference removes what was
 * written to, or made anew, meanwhile.) A client that sends it is refused: the reference would let
 * anybody delete such nodes, without a look at ACLs.
 */
int32_t apply_delete_container(struct tree *t, struct write *w)
{
	struct zk_rd r = zk_rd(w->op->body);
	struct zk_path_req req;
	struct node n;

	if (w->op->session_id != 0)
		return ZK_EUNIMPLEMENTED;
	int rc = zk_path_req_decode(&r, &req);
	int64_t mzxid = zk_rd_long(&r), until_ms = zk_rd_long(&r);
	if (rc != 0 || r.bad || req.path.data == NULL)
		return ZK_EMARSHALLING;
	if (!zk_path_valid(req.path) || path_fixed(req.path))
		return ZK_EBADARGUMENTS;
	if (!node_find(t, req.path, &n))
		return ZK_ENONODE;
	if (n.children > 0)
		return ZK_ENOTEMPTY;
	if (n.kind != NODE_CONTAINER && n.kind != NODE_TTL)
		return ZK_EBADVERSION;
	if ((n.mzxid != mzxid || t->time_ms <= until_ms) && !MUTANT(changed_node_removed))
		return ZK_EBADVERSION;
	tree_remove(t, req.path, w->r);
	return 0;
}

/* ---- setData, setACL, check ---- */

static void put_data(struct tree *t, struct node *n, struct pk_bytes path, struct pk_bytes data,
		     int32_t version)
{
	node_change_begin(t, n);
	n->version = version;
	n->mtime = t->time_ms;
	n->mzxid = (int64_t)t->now.meta.zxid - MUTANT(mzxid_wrong);
	node_set_data(t, n, path, data);
}

int32_t write_set_data(struct tree *t, struct write *w, const struct zk_set_data_req *req)
{
	struct node n;

	if (!zk_path_valid(req->path))
		return ZK_EBADARGUMENTS;
	if (!node_find(t, req->path, &n))
		return ZK_ENONODE;
	int32_t err = acl_check(t, n.acl, ZK_PERM_WRITE, &w->who);
	if (err != 0)
		return err;
	int64_t more = (int64_t)req->data.len - n.data_bytes;
	err = quota_check(t, req->path, more, 0);
	if (err != 0)
		return err;
	err = version_check(n.version, req->version);
	if (err != 0)
		return err;
	put_data(t, &n, req->path, req->data, (int32_t)((uint32_t)n.version + 1));
	if (w->in_multi)
		zk_multi_result_header(&w->r->body, ZK_OP_SET_DATA);
	write_stat(&w->r->body, &n);
	quota_update(t, req->path, more, 0);
	result_event(t, w->r, ZK_EVENT_DATA_CHANGED, req->path, n.acl);
	return 0;
}

int32_t apply_set_data(struct tree *t, struct write *w)
{
	struct zk_rd r = zk_rd(w->op->body);
	struct zk_set_data_req req;

	int32_t err = session_check(t, w->op);
	if (err != 0)
		return err;
	if (zk_set_data_req_decode(&r, &req) != 0)
		return ZK_EMARSHALLING;
	return write_set_data(t, w, &req);
}

int32_t apply_set_acl(struct tree *t, struct write *w)
{
	struct zk_rd r = zk_rd(w->op->body);
	struct zk_set_acl_req req;
	struct node n;

	int32_t err = session_check(t, w->op);
	if (err != 0)
		return err;
	if (zk_set_acl_req_decode(&r, &req) != 0)
		return ZK_EMARSHALLING;
	if (!zk_path_valid(req.path))
		return ZK_EBADARGUMENTS;
	err = acl_fix_up(t, &w->who, &req.acl);
	if (err != 0)
		return err;
	if (!node_find(t, req.path, &n))
		return ZK_ENONODE;
	err = acl_check(t, n.acl, ZK_PERM_ADMIN, &w->who);
	if (err != 0)
		return err;
	err = version_check(n.aversion, req.version);
	if (err != 0)
		return err;
	node_change_begin(t, &n);
	uint32_t old = n.acl;
	n.acl = acl_take(t, pk_buf_bytes(&t->acl));
	n.aversion = (int32_t)((uint32_t)n.aversion + 1);
	node_change_end(t, &n);
	acl_give(t, old);
	write_stat(&w->r->body, &n);
	return 0;
}

int32_t write_check(struct tree *t, struct write *w, const struct zk_check_req *req)
{
	struct node n;

	if (!zk_path_valid(req->path))
		return ZK_EBADARGUMENTS;
	if (!node_find(t, req->path, &n))
		return ZK_ENONODE;
	int32_t err = acl_check(t, n.acl, ZK_PERM_READ, &w->who);
	if (err != 0)
		return err;
	err = version_check(n.version, req->version);
	if (err == 0 && w->in_multi)
		zk_multi_result_header(&w->r->body, ZK_OP_CHECK);
	return err;
}

/* Outside a multi the reference logs it, never answers and cannot read its log again; here it is a
 * question like any other. */
int32_t apply_check(struct tree *t, struct write *w)
{
	struct zk_rd r = zk_rd(w->op->body);
	struct zk_check_req req;

	int32_t err = session_check(t, w->op);
	if (err != 0)
		return err;
	if (zk_check_req_decode(&r, &req) != 0)
		return ZK_EMARSHALLING;
	return write_check(t, w, &req);
}
