#include "store/tree_impl.h"
#include "zkproto/multi.h"
#include "zkproto/zk.h"

/*
 * Reads, as FinalRequestProcessor answers them: paths are looked up as they are, so an invalid one
 * is a node that does not exist ("" is the root, as there). A null path trips Java: Marshalling-
 * Error.
 */

struct reading {
	struct tree *t;
	struct who who;
	uint64_t session_id;
	struct pk_buf *out;
	size_t start; /* of the reply in out */
	size_t bytes_max;
	struct tree_read *r;
};

static bool too_long(const struct reading *g, size_t more)
{
	return g->out->len - g->start + more > g->bytes_max;
}

static void put_stat(struct reading *g, const struct node *n)
{
	struct zk_stat stat;

	node_stat(n, &stat);
	zk_wr_stat(g->out, &stat);
}

/* The node, if there is one and it may be read. */
static int32_t find_readable(struct reading *g, struct pk_bytes path, int32_t perm, struct node *n)
{
	if (path.data == NULL)
		return ZK_EMARSHALLING;
	if (!node_find(g->t, path, n))
		return ZK_ENONODE;
	return acl_check(g->t, n->acl, perm, &g->who);
}

static int32_t put_data(struct reading *g, const struct node *n)
{
	struct pk_bytes data = n->null_data ? PK_BYTES_NONE : node_data(g->t, n);

	if (too_long(g, data.len + 4))
		return ZK_EMARSHALLING;
	if (!n->null_data && data.data == NULL)
		data.data = (const uint8_t *)"";
	zk_wr_buffer(g->out, data);
	return 0;
}

static int32_t put_children(struct reading *g, const struct node *n)
{
	uint8_t prefix[9];
	struct pk_bytes key, val;
	uint32_t count = 0;
	int32_t err = 0;
	size_t at = zk_wr_vector_begin(g->out);
	struct kv_cur *cur = kv_cur_open(g->t->kv, pk_bytes(prefix, key_u64(prefix, 'N', n->id)),
					 PK_BYTES_NONE);

	while (err == 0 && kv_cur_next(cur, &key, &val) == 1) {
		struct pk_bytes name = node_name(key, val);

		if (too_long(g, name.len + 4)) {
			err = ZK_EMARSHALLING;
			break;
		}
		zk_wr_ustring(g->out, name);
		count++;
	}
	kv_cur_close(cur);
	zk_wr_vector_end(g->out, at, count);
	PK_ASSERT(err != 0 || count == n->children);
	return err;
}

static int32_t decode_path_watch(struct reading *g, struct pk_bytes body,
				 struct zk_path_watch_req *req)
{
	struct zk_rd r = zk_rd(body);

	(void)g;
	return zk_path_watch_req_decode(&r, req) == 0 && req->path.data != NULL ? 0
										: ZK_EMARSHALLING;
}

static void want_watch(struct reading *g, const struct zk_path_watch_req *req, int kind)
{
	if (!req->watch)
		return;
	g->r->watch = kind;
	g->r->watch_path = req->path;
}

static int32_t read_exists(struct reading *g, struct pk_bytes body)
{
	struct zk_path_watch_req req;
	struct node n;

	int32_t err = decode_path_watch(g, body, &req);
	if (err != 0)
		return err;
	if (memchr(req.path.data, 0, req.path.len) != NULL)
		return ZK_EBADARGUMENTS;
	if (!node_find(g->t, req.path, &n)) {
		want_watch(g, &req, TREE_WATCH_EXISTS);
		return ZK_ENONODE;
	}
	put_stat(g, &n);
	want_watch(g, &req, TREE_WATCH_DATA);
	return 0;
}

static int32_t read_data(struct reading *g, struct pk_bytes body)
{
	struct zk_path_watch_req req;
	struct node n;

	int32_t err = decode_path_watch(g, body, &req);
	if (err == 0)
		err = find_readable(g, req.path, ZK_PERM_READ, &n);
	if (err == 0)
		err = put_data(g, &n);
	if (err != 0)
		return err;
	put_stat(g, &n);
	want_watch(g, &req, TREE_WATCH_DATA);
	return 0;
}

static int32_t read_children(struct reading *g, struct pk_bytes body)
{
	struct zk_path_watch_req req;
	struct node n;

	int32_t err = decode_path_watch(g, body, &req);
	if (err == 0)
		err = find_readable(g, req.path, ZK_PERM_READ, &n);
	if (err == 0)
		err = put_children(g, &n);
	if (err == 0)
		want_watch(g, &req, TREE_WATCH_CHILD);
	return err;
}

static int32_t read_children2(struct reading *g, struct pk_bytes body)
{
	struct zk_path_watch_req req;
	struct node n;

	int32_t err = decode_path_watch(g, body, &req);
	if (err == 0)
		err = find_readable(g, req.path, ZK_PERM_READ, &n);
	if (err == 0)
		err = put_children(g, &n);
	if (err != 0)
		return err;
	put_stat(g, &n);
	want_watch(g, &req, TREE_WATCH_CHILD);
	return 0;
}

static int32_t decode_path(struct pk_bytes body, struct pk_bytes *path)
{
	struct zk_rd r = zk_rd(body);
	struct zk_path_req req;

	if (zk_path_req_decode(&r, &req) != 0)
		return ZK_EMARSHALLING;
	*path = req.path;
	return 0;
}

/* Who may not change the list sees who is in it, but no hash of a password: "user:x". */
static void put_acl_hidden(struct reading *g, struct pk_bytes list)
{
	struct zk_rd r = zk_rd(list);
	struct zk_acls items = zk_rd_acls(&r);
	struct zk_acl acl;
	struct pk_buf *id = &g->t->text;

	zk_wr_int(g->out, (int32_t)items.count);
	while (zk_acls_next(&items, &acl)) {
		const uint8_t *colon = acl.id.len > 0 ? memchr(acl.id.data, ':', acl.id.len) : NULL;

		if (pk_bytes_is(acl.scheme, "digest") && colon != NULL) {
			pk_buf_clear(id);
			pk_buf_add(id, acl.id.data, (size_t)(colon - acl.id.data));
			pk_buf_add_str(id, ":x");
			acl.id = pk_buf_bytes(id);
		}
		zk_acl_encode(g->out, &acl);
	}
}

static int32_t read_acl(struct reading *g, struct pk_bytes body)
{
	struct pk_bytes path;
	struct node n;

	int32_t err = decode_path(body, &path);
	if (err == 0)
		err = find_readable(g, path, ZK_PERM_READ | ZK_PERM_ADMIN, &n);
	if (err != 0)
		return err;
	struct pk_bytes list = acl_bytes(g->t, n.acl);
	if (acl_check(g->t, n.acl, ZK_PERM_ADMIN, &g->who) == 0)
		pk_buf_add_bytes(g->out, list);
	else
		put_acl_hidden(g, list);
	put_stat(g, &n);
	return 0;
}

/* String.trim: everything up to the space counts as white. */
static struct pk_bytes trim(struct pk_bytes s)
{
	while (s.len > 0 && s.data[0] <= ' ') {
		s.data++;
		s.len--;
	}
	while (s.len > 0 && s.data[s.len - 1] <= ' ')
		s.len--;
	return s;
}

struct gathering {
	struct reading *g;
	struct pk_bytes prefix;
	uint32_t count;
	bool too_long;
};

static void put_ephemeral(void *arg, struct pk_bytes path)
{
	struct gathering *a = arg;

	if (a->too_long || !pk_bytes_starts(path, a->prefix))
		return;
	a->too_long = too_long(a->g, path.len + 4);
	if (a->too_long)
		return;
	zk_wr_ustring(a->g->out, path);
	a->count++;
}

static int32_t read_ephemerals(struct reading *g, struct pk_bytes body)
{
	struct gathering a = { .g = g };

	int32_t err = decode_path(body, &a.prefix);
	if (err != 0)
		return err;
	struct pk_bytes trimmed = trim(a.prefix);
	if (trimmed.len == 0 || pk_bytes_is(trimmed, "/"))
		a.prefix = PK_BYTES_NONE;
	size_t at = zk_wr_vector_begin(g->out);
	tree_session_ephemeral_each(g->t, g->session_id, put_ephemeral, &a);
	zk_wr_vector_end(g->out, at, a.count);
	return a.too_long ? ZK_EMARSHALLING : 0;
}

static void count_path(void *arg, struct pk_bytes path)
{
	(void)path;
	++*(uint64_t *)arg;
}

static int32_t read_children_number(struct reading *g, struct pk_bytes body)
{
	struct pk_bytes path;
	struct node n;
	uint64_t count = 0;

	int32_t err = decode_path(body, &path);
	if (err == 0)
		err = find_readable(g, path, ZK_PERM_READ, &n);
	if (err != 0)
		return err;
	if (path.len <= 1) {
		/* "" is the root as well, but there "/" counts as below it. */
		count = g->t->now.meta.nodes - 1 + (path.len == 0);
	} else if (n.children > 0) {
		tree_walk(g->t, path, count_path, &count);
		count--; /* itself */
	}
	zk_wr_int(g->out, (int32_t)count);
	return 0;
}

static int32_t read_one_of_many(struct reading *g, const struct zk_multi_op *op)
{
	struct node n;
	size_t start = g->out->len;

	int32_t err = find_readable(g, op->u.read.path, ZK_PERM_READ, &n);
	if (err == ZK_EMARSHALLING)
		return err;
	if (err == 0) {
		zk_multi_result_header(g->out, op->type);
		err = op->type == ZK_OP_GET_DATA ? put_data(g, &n) : put_children(g, &n);
		if (err != 0)
			return err; /* too long: no part of the answer would be of use */
		if (op->type == ZK_OP_GET_DATA)
			put_stat(g, &n);
	} else {
		g->out->len = start;
		zk_multi_result_error(g->out, err);
	}
	return too_long(g, 0) ? ZK_EMARSHALLING : 0;
}

static int32_t read_multi(struct reading *g, struct pk_bytes body)
{
	struct zk_multi_op op = ZK_MULTI_OP_INIT;
	struct zk_rd r = zk_rd(body);
	int rc;

	while ((rc = zk_multi_next(&r, &op)) == 1)
		if (!zk_multi_type_is_read(op.type))
			return ZK_EMARSHALLING;
	if (rc != 0)
		return ZK_EMARSHALLING;
	op = ZK_MULTI_OP_INIT;
	r = zk_rd(body);
	while (zk_multi_next(&r, &op) == 1) {
		int32_t err = read_one_of_many(g, &op);
		if (err != 0)
			return err;
	}
	zk_multi_end(g->out);
	return 0;
}

static int32_t read_any(struct reading *g, int32_t opcode, struct pk_bytes body)
{
	switch (opcode) {
	case ZK_OP_EXISTS:
		return read_exists(g, body);
	case ZK_OP_GET_DATA:
		return read_data(g, body);
	case ZK_OP_GET_ACL:
		return read_acl(g, body);
	case ZK_OP_GET_CHILDREN:
		return read_children(g, body);
	case ZK_OP_GET_CHILDREN2:
		return read_children2(g, body);
	case ZK_OP_GET_EPHEMERALS:
		return read_ephemerals(g, body);
	case ZK_OP_GET_ALL_CHILDREN_NUMBER:
		return read_children_number(g, body);
	case ZK_OP_MULTI_READ:
		return read_multi(g, body);
	default: /* a number from outside, not an enum of ours */
		return ZK_EUNIMPLEMENTED;
	}
}

void tree_read(struct tree *t, int32_t opcode, struct pk_bytes body, uint64_t session_id,
	       const struct txn_id *ids, size_t id_count, bool skip_acl, size_t bytes_max,
	       struct tree_read *r)
{
	struct reading g = {
		.t = t,
		.who = { ids, NULL, id_count, skip_acl },
		.session_id = session_id,
		.out = r->out,
		.start = r->out->len,
		.bytes_max = bytes_max,
		.r = r,
	};

	r->watch = TREE_WATCH_NONE;
	r->watch_path = PK_BYTES_NONE;
	r->err = read_any(&g, opcode, body);
	if (r->err == 0 && too_long(&g, 0)) {
		r->err = ZK_EMARSHALLING;
		r->watch = TREE_WATCH_NONE;
	}
	if (r->err != 0)
		r->out->len = g.start;
}

bool tree_stat_zxids(struct tree *t, struct pk_bytes path, uint64_t *czxid, uint64_t *mzxid,
		     uint64_t *pzxid)
{
	struct node n;

	if (!node_find(t, path, &n))
		return false;
	*czxid = (uint64_t)n.czxid;
	*mzxid = (uint64_t)n.mzxid;
	*pzxid = (uint64_t)n.pzxid;
	return true;
}

int32_t tree_access(struct tree *t, struct pk_bytes path, int32_t perm, const struct txn_id *ids,
		    size_t id_count)
{
	struct who who = { ids, NULL, id_count, false };
	struct node n;

	if (!node_find(t, path, &n))
		return ZK_ENONODE;
	return acl_check(t, n.acl, perm, &who);
}
