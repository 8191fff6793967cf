#include "zkproto/client_impl.h"
#include "zkproto/zk.h"

/* ---- making requests ---- */

static struct request *request_new(struct zkc *c, int32_t opcode, zkc_done_f *done, void *owner)
{
	struct request *q = pk_alloc(sizeof(*q));

	q->opcode = opcode;
	q->done = done;
	q->owner = owner;
	q->since_ms = -1;
	zkc_touch_(c);
	zk_frame_begin(&q->frame);
	zk_req_header_encode(&q->frame, &(struct zk_req_header){ 0, opcode });
	return q;
}

/* The path with the chroot before it, owned by *buf; false when it is not valid. */
static bool server_path(const struct zkc *c, struct pk_bytes path, bool sequential,
			struct pk_buf *buf)
{
	if (zk_path_check(path, sequential) != ZK_PATH_OK)
		return false;
	zk_path_add_chroot(buf, pk_bytes_str(c->chroot), path);
	return true;
}

/* The end of every call: send it, or refuse it because its path is not valid. */
static void submit(struct zkc *c, struct request *q, struct pk_buf *path, bool valid)
{
	pk_buf_release(path);
	if (!valid) {
		zkc_refuse_(c, q, ZK_EBADARGUMENTS);
		return;
	}
	zk_frame_end(&q->frame, 0);
	zkc_enqueue_(c, q);
}

static void request_watch(struct request *q, struct zkc_watch watch, enum watch_kind kind,
			  struct pk_buf *path)
{
	q->watch = watch;
	q->kind = kind;
	q->path = pk_strndup((const char *)path->data, path->len);
}

/* Requests that are a path, or a path and a watch. */
static void path_request(struct zkc *c, int32_t opcode, struct pk_bytes path, zkc_done_f *done,
			 void *owner)
{
	struct request *q = request_new(c, opcode, done, owner);
	struct pk_buf full = PK_BUF_INIT;

	bool valid = server_path(c, path, false, &full);
	if (valid)
		zk_path_req_encode(&q->frame, &(struct zk_path_req){ pk_buf_bytes(&full) });
	submit(c, q, &full, valid);
}

static void path_watch_request(struct zkc *c, int32_t opcode, struct pk_bytes path,
			       struct zkc_watch watch, enum watch_kind kind, zkc_done_f *done,
			       void *owner)
{
	struct request *q = request_new(c, opcode, done, owner);
	struct pk_buf full = PK_BUF_INIT;

	bool valid = server_path(c, path, false, &full);
	if (valid) {
		zk_path_watch_req_encode(
			&q->frame,
			&(struct zk_path_watch_req){ pk_buf_bytes(&full), watch.call != NULL });
		if (watch.call != NULL)
			request_watch(q, watch, kind, &full);
	}
	submit(c, q, &full, valid);
}

/* A null buffer is a null on the wire, which creates a node whose data is null; callers who give no
 * bytes mean an empty one. */
static struct pk_bytes not_null(struct pk_bytes data)
{
	return data.data != NULL ? data : pk_bytes_str("");
}

static void create_encode(struct pk_buf *b, struct pk_bytes path, struct pk_bytes data,
			  struct zk_acls acl, int32_t mode, int64_t ttl_ms)
{
	if (mode == ZK_CREATE_TTL || mode == ZK_CREATE_TTL_SEQUENTIAL)
		zk_create_ttl_req_encode(
			b, &(struct zk_create_ttl_req){ path, not_null(data), acl, mode, ttl_ms });
	else
		zk_create_req_encode(b, &(struct zk_create_req){ path, not_null(data), acl, mode });
}

static int32_t create_opcode(int32_t mode)
{
	if (mode == ZK_CREATE_TTL || mode == ZK_CREATE_TTL_SEQUENTIAL)
		return ZK_OP_CREATE_TTL;
	return mode == ZK_CREATE_CONTAINER ? ZK_OP_CREATE_CONTAINER : ZK_OP_CREATE2;
}

void zkc_create(struct zkc *c, struct pk_bytes path, struct pk_bytes data, struct zk_acls acl,
		int32_t mode, int64_t ttl_ms, zkc_done_f *done, void *owner)
{
	struct request *q = request_new(c, create_opcode(mode), done, owner);
	struct pk_buf full = PK_BUF_INIT;

	bool valid = server_path(c, path, zk_create_mode_sequential(mode), &full);
	if (valid)
		create_encode(&q->frame, pk_buf_bytes(&full), data, acl, mode, ttl_ms);
	submit(c, q, &full, valid);
}

void zkc_delete(struct zkc *c, struct pk_bytes path, int32_t version, zkc_done_f *done, void *owner)
{
	struct request *q = request_new(c, ZK_OP_DELETE, done, owner);
	struct pk_buf full = PK_BUF_INIT;

	bool valid = server_path(c, path, false, &full);
	if (valid)
		zk_delete_req_encode(&q->frame,
				     &(struct zk_delete_req){ pk_buf_bytes(&full), version });
	submit(c, q, &full, valid);
}

void zkc_exists(struct zkc *c, struct pk_bytes path, struct zkc_watch watch, zkc_done_f *done,
		void *owner)
{
	path_watch_request(c, ZK_OP_EXISTS, path, watch, WATCH_EXIST, done, owner);
}

void zkc_get(struct zkc *c, struct pk_bytes path, struct zkc_watch watch, zkc_done_f *done,
	     void *owner)
{
	path_watch_request(c, ZK_OP_GET_DATA, path, watch, WATCH_DATA, done, owner);
}

void zkc_children(struct zkc *c, struct pk_bytes path, struct zkc_watch watch, zkc_done_f *done,
		  void *owner)
{
	path_watch_request(c, ZK_OP_GET_CHILDREN2, path, watch, WATCH_CHILD, done, owner);
}

void zkc_set(struct zkc *c, struct pk_bytes path, struct pk_bytes data, int32_t version,
	     zkc_done_f *done, void *owner)
{
	struct request *q = request_new(c, ZK_OP_SET_DATA, done, owner);
	struct pk_buf full = PK_BUF_INIT;

	bool valid = server_path(c, path, false, &full);
	if (valid)
		zk_set_data_req_encode(
			&q->frame,
			&(struct zk_set_data_req){ pk_buf_bytes(&full), not_null(data), version });
	submit(c, q, &full, valid);
}

void zkc_set_acl(struct zkc *c, struct pk_bytes path, struct zk_acls acl, int32_t version,
		 zkc_done_f *done, void *owner)
{
	struct request *q = request_new(c, ZK_OP_SET_ACL, done, owner);
	struct pk_buf full = PK_BUF_INIT;

	bool valid = server_path(c, path, false, &full);
	if (valid)
		zk_set_acl_req_encode(
			&q->frame, &(struct zk_set_acl_req){ pk_buf_bytes(&full), acl, version });
	submit(c, q, &full, valid);
}

void zkc_get_acl(struct zkc *c, struct pk_bytes path, zkc_done_f *done, void *owner)
{
	path_request(c, ZK_OP_GET_ACL, path, done, owner);
}

void zkc_sync(struct zkc *c, struct pk_bytes path, zkc_done_f *done, void *owner)
{
	path_request(c, ZK_OP_SYNC, path, done, owner);
}

void zkc_ephemerals(struct zkc *c, struct pk_bytes prefix, zkc_done_f *done, void *owner)
{
	path_request(c, ZK_OP_GET_EPHEMERALS, prefix, done, owner);
}

void zkc_children_number(struct zkc *c, struct pk_bytes path, zkc_done_f *done, void *owner)
{
	path_request(c, ZK_OP_GET_ALL_CHILDREN_NUMBER, path, done, owner);
}

void zkc_whoami(struct zkc *c, zkc_done_f *done, void *owner)
{
	struct pk_buf none = PK_BUF_INIT;

	submit(c, request_new(c, ZK_OP_WHOAMI, done, owner), &none, true);
}

void zkc_reconfig(struct zkc *c, struct pk_bytes joining, struct pk_bytes leaving,
		  struct pk_bytes members, int64_t config_id, zkc_done_f *done, void *owner)
{
	struct request *q = request_new(c, ZK_OP_RECONFIG, done, owner);
	struct pk_buf none = PK_BUF_INIT;

	zk_reconfig_req_encode(&q->frame,
			       &(struct zk_reconfig_req){ joining, leaving, members, config_id });
	submit(c, q, &none, true);
}

/* ---- watches ---- */

void zkc_add_watch(struct zkc *c, struct pk_bytes path, int32_t mode, struct zkc_watch watch,
		   zkc_done_f *done, void *owner)
{
	struct request *q = request_new(c, ZK_OP_ADD_WATCH, done, owner);
	struct pk_buf full = PK_BUF_INIT;
	bool known = mode == ZK_ADD_WATCH_PERSISTENT || mode == ZK_ADD_WATCH_RECURSIVE;

	bool valid = known && watch.call != NULL && server_path(c, path, false, &full);
	if (valid) {
		zk_add_watch_req_encode(&q->frame,
					&(struct zk_add_watch_req){ pk_buf_bytes(&full), mode });
		request_watch(q, watch,
			      mode == ZK_ADD_WATCH_RECURSIVE ? WATCH_RECURSIVE : WATCH_PERSISTENT,
			      &full);
	}
	submit(c, q, &full, valid);
}

static void watches_request(struct zkc *c, int32_t opcode, struct pk_bytes path, int32_t type,
			    struct zkc_watch watch, zkc_done_f *done, void *owner)
{
	struct request *q = request_new(c, opcode, done, owner);
	struct pk_buf full = PK_BUF_INIT;
	bool known = type >= ZK_WATCHER_CHILDREN && type <= ZK_WATCHER_ANY;

	bool valid = known && server_path(c, path, false, &full);
	if (valid) {
		zk_watches_req_encode(&q->frame,
				      &(struct zk_watches_req){ pk_buf_bytes(&full), type });
		if (opcode == ZK_OP_REMOVE_WATCHES) {
			request_watch(q, watch, WATCH_KINDS, &full);
			q->watcher_type = type;
		}
	}
	submit(c, q, &full, valid);
}

void zkc_remove_watches(struct zkc *c, struct pk_bytes path, int32_t type, struct zkc_watch watch,
			zkc_done_f *done, void *owner)
{
	watches_request(c, ZK_OP_REMOVE_WATCHES, path, type, watch, done, owner);
}

void zkc_check_watches(struct zkc *c, struct pk_bytes path, int32_t type, zkc_done_f *done,
		       void *owner)
{
	watches_request(c, ZK_OP_CHECK_WATCHES, path, type, ZKC_NO_WATCH, done, owner);
}

/* ---- multi ---- */

struct zkc_multi {
	struct zkc *c;
	struct pk_buf body;
	bool valid; /* every path so far */
};

struct zkc_multi *zkc_multi_new(struct zkc *c)
{
	struct zkc_multi *m = pk_alloc(sizeof(*m));

	m->c = c;
	m->valid = true;
	return m;
}

void zkc_multi_free(struct zkc_multi *m)
{
	if (m == NULL)
		return;
	pk_buf_release(&m->body);
	free(m);
}

/* Begin an operation: its header, and the server's path in *full; false when it is not valid. */
static bool multi_begin(struct zkc_multi *m, int32_t opcode, struct pk_bytes path, bool sequential,
			struct pk_buf *full)
{
	if (!server_path(m->c, path, sequential, full)) {
		m->valid = false;
		return false;
	}
	zk_multi_op_header(&m->body, opcode);
	return true;
}

void zkc_multi_create(struct zkc_multi *m, struct pk_bytes path, struct pk_bytes data,
		      struct zk_acls acl, int32_t mode, int64_t ttl_ms)
{
	struct pk_buf full = PK_BUF_INIT;

	if (multi_begin(m, create_opcode(mode), path, zk_create_mode_sequential(mode), &full))
		create_encode(&m->body, pk_buf_bytes(&full), data, acl, mode, ttl_ms);
	pk_buf_release(&full);
}

void zkc_multi_delete(struct zkc_multi *m, struct pk_bytes path, int32_t version)
{
	struct pk_buf full = PK_BUF_INIT;

	if (multi_begin(m, ZK_OP_DELETE, path, false, &full))
		zk_delete_req_encode(&m->body,
				     &(struct zk_delete_req){ pk_buf_bytes(&full), version });
	pk_buf_release(&full);
}

void zkc_multi_set(struct zkc_multi *m, struct pk_bytes path, struct pk_bytes data, int32_t version)
{
	struct pk_buf full = PK_BUF_INIT;

	if (multi_begin(m, ZK_OP_SET_DATA, path, false, &full))
		zk_set_data_req_encode(
			&m->body,
			&(struct zk_set_data_req){ pk_buf_bytes(&full), not_null(data), version });
	pk_buf_release(&full);
}

void zkc_multi_check(struct zkc_multi *m, struct pk_bytes path, int32_t version)
{
	struct pk_buf full = PK_BUF_INIT;

	if (multi_begin(m, ZK_OP_CHECK, path, false, &full))
		zk_check_req_encode(&m->body,
				    &(struct zk_check_req){ pk_buf_bytes(&full), version });
	pk_buf_release(&full);
}

static void multi_read(struct zkc_multi *m, int32_t opcode, struct pk_bytes path)
{
	struct pk_buf full = PK_BUF_INIT;

	if (multi_begin(m, opcode, path, false, &full))
		zk_path_watch_req_encode(&m->body,
					 &(struct zk_path_watch_req){ pk_buf_bytes(&full), false });
	pk_buf_release(&full);
}

void zkc_multi_get(struct zkc_multi *m, struct pk_bytes path)
{
	multi_read(m, ZK_OP_GET_DATA, path);
}

void zkc_multi_children(struct zkc_multi *m, struct pk_bytes path)
{
	multi_read(m, ZK_OP_GET_CHILDREN, path);
}

void zkc_multi_send(struct zkc_multi *m, zkc_done_f *done, void *owner)
{
	struct zk_multi_op op = ZK_MULTI_OP_INIT;
	struct pk_buf none = PK_BUF_INIT;

	/* Reads and writes do not mix: walking it as the server will tells, and of which kind it
	 * is. */
	zk_multi_end(&m->body);
	struct zk_rd r = zk_rd(pk_buf_bytes(&m->body));
	int rc;
	while ((rc = zk_multi_next(&r, &op)) == 1)
		continue;
	bool reads = op.taken > 0 && zk_multi_type_is_read(op.type);
	struct request *q = request_new(m->c, reads ? ZK_OP_MULTI_READ : ZK_OP_MULTI, done, owner);
	pk_buf_add_bytes(&q->frame, pk_buf_bytes(&m->body));
	submit(m->c, q, &none, m->valid && rc == 0);
	zkc_multi_free(m);
}

/* ---- reading replies ---- */

struct pk_bytes zkc_strip(const struct zkc *c, struct pk_bytes path)
{
	struct pk_bytes out;

	return zk_path_strip_chroot(pk_bytes_str(c->chroot), path, &out) ? out : path;
}

/* Walks the results to see that they all decode; finds the first that failed. */
static bool parse_multi(struct zk_rd *r, struct zkc_result *out)
{
	struct zk_multi_result one;
	struct zk_rd walk = *r;
	int rc;

	while ((rc = zk_multi_result_next(&walk, &one)) == 1)
		if (one.type == ZK_OP_ERROR && one.err != ZK_OK && out->err == ZK_OK)
			out->err = one.err;
	out->multi = *r;
	return rc == 0;
}

bool zkc_result_parse_(const struct zkc *c, int32_t opcode, struct pk_bytes body,
		       struct zkc_result *out, struct zk_stat *stat)
{
	struct zk_rd rd = zk_rd(body), *r = &rd;

	switch (opcode) {
	case ZK_OP_CREATE2:
	case ZK_OP_CREATE_CONTAINER:
	case ZK_OP_CREATE_TTL:
		out->path = zkc_strip(c, zk_rd_ustring(r));
		*stat = zk_rd_stat(r);
		out->stat = stat;
		break;
	case ZK_OP_EXISTS:
	case ZK_OP_SET_DATA:
	case ZK_OP_SET_ACL:
		*stat = zk_rd_stat(r);
		out->stat = stat;
		break;
	case ZK_OP_GET_DATA:
	case ZK_OP_RECONFIG:
		out->data = zk_rd_buffer(r);
		*stat = zk_rd_stat(r);
		out->stat = stat;
		break;
	case ZK_OP_GET_ACL:
		out->acl = zk_rd_acls(r);
		*stat = zk_rd_stat(r);
		out->stat = stat;
		break;
	case ZK_OP_GET_CHILDREN2:
		out->names = zk_rd_strings(r);
		*stat = zk_rd_stat(r);
		out->stat = stat;
		break;
	case ZK_OP_SYNC:
		out->path = zkc_strip(c, zk_rd_ustring(r));
		break;
	case ZK_OP_GET_EPHEMERALS:
		out->names = zk_rd_strings(r);
		break;
	case ZK_OP_GET_ALL_CHILDREN_NUMBER:
		out->number = zk_rd_int(r);
		break;
	case ZK_OP_WHOAMI:
		out->ids = zk_rd_ids(r);
		break;
	case ZK_OP_MULTI:
		return parse_multi(r, out);
	case ZK_OP_MULTI_READ:
		if (!parse_multi(r, out))
			return false;
		out->err = ZK_OK; /* each read stands for itself */
		break;
	default: /* delete, addWatch, removeWatches, checkWatches, closeSession: no body to read */
		break;
	}
	return !r->bad;
}
