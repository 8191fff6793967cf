#include "tests/sim/cluster_history.h"

#include <stdio.h>

#include <uthash.h>

#include "zkproto/multi.h"

#define LOG_PROCESS    1000
#define FAULT_PROCESS  1001
#define SERVER_PROCESS 2000 /* and on: a server each */

struct fault_point { /* its begin or its end */
	int64_t at_us;
	uint64_t number;
	const char *name;
	bool end;
};

/* A write that was not answered (yet). */
struct asked {
	UT_hash_handle hh;
	struct asked_key {
		uint64_t session;
		int64_t xid;
	} key;
};

struct record {
	struct sim *sim;
	struct history *history;
	struct hist_part parts[16];
	uint32_t part_count;
	struct pk_buf acl, names, line;
	FILE *file; /* NULL, or where it is told as well */
	struct fault_point *faults;
	size_t fault_count;
	struct asked *asked; /* by session and xid */
};

struct record *record_new(struct sim *s, const char *path)
{
	struct record *r = pk_alloc(sizeof(*r));

	r->sim = s;
	r->history = history_new();
	if (path != NULL && (r->file = fopen(path, "w")) == NULL)
		sim_violate(s, "%s cannot be written", path);
	return r;
}

void record_free(struct record *r)
{
	struct asked *a, *next;

	HASH_ITER (hh, r->asked, a, next) {
		HASH_DEL(r->asked, a);
		free(a);
	}
	history_free(r->history);
	pk_buf_release(&r->acl);
	pk_buf_release(&r->names);
	pk_buf_release(&r->line);
	if (r->file != NULL)
		pk_ignore(fclose(r->file) == 0, "it is for people");
	free(r->faults);
	free(r);
}

struct history *record_history(struct record *r)
{
	return r->history;
}

static void add(struct record *r, struct hist_event *e)
{
	struct pk_err err = PK_ERR_INIT;

	if (e->time_ns == 0)
		e->time_ns = sim_now_us(r->sim) * 1000;
	if (history_add(r->history, e, &err) != 0)
		sim_violate(r->sim, "the history cannot be written: %s", err.text);
	if (r->file == NULL)
		return;
	pk_buf_clear(&r->line);
	hist_encode_json(&r->line, e);
	pk_ignore(fwrite(r->line.data, 1, r->line.len, r->file) == r->line.len, "it is for people");
}

void record_client(struct record *r, int client)
{
	struct hist_event e = { .kind = HIST_CLIENT,
				.process = (uint32_t)client,
				.name = pk_bytes_str("sim"),
				.flags = HIST_CLIENT_ALL };

	add(r, &e);
}

void record_session(struct record *r, int client, uint64_t session, int server,
		    enum hist_state state, int32_t timeout_ms, bool no_barrier)
{
	struct hist_event e = { .kind = HIST_SESSION,
				.process = (uint32_t)client,
				.session = session,
				.server = (uint32_t)server + 1,
				.state = state,
				.flags = no_barrier ? HIST_NO_BARRIER : 0,
				.timeout_ms = timeout_ms };

	add(r, &e);
}

/* ---- what is asked ---- */

static void put_acl(struct record *r, struct hist_part *p, struct zk_acls list)
{
	pk_buf_clear(&r->acl);
	hist_acls_add(&r->acl, list);
	if (strcmp(pk_buf_str(&r->acl), "31 world:anyone\n") != 0 && r->acl.len > 0)
		p->acl = pk_buf_bytes(&r->acl);
}

static void put_create(struct record *r, struct hist_part *p, const struct zk_create_ttl_req *req,
		       bool with_acl)
{
	p->path = req->path;
	p->data = req->data;
	p->mode = req->flags;
	p->ttl_ms = req->ttl_ms > 0 ? req->ttl_ms : 0;
	if (with_acl)
		put_acl(r, p, req->acl);
}

static void put_plain(struct hist_part *p, const struct zk_create_req *req, struct record *r,
		      bool with_acl)
{
	put_create(r, p,
		   &(struct zk_create_ttl_req){ req->path, req->data, req->acl, req->flags, -1 },
		   with_acl);
}

static void put_multi(struct record *r, struct pk_bytes body)
{
	struct zk_rd in = zk_rd(body);
	struct zk_multi_op op = ZK_MULTI_OP_INIT;

	while (zk_multi_next(&in, &op) == 1 && r->part_count < PK_COUNT(r->parts)) {
		struct hist_part *p = &r->parts[r->part_count++];

		*p = (struct hist_part){ .op = op.type };
		switch (op.type) {
		case ZK_OP_CREATE:
		case ZK_OP_CREATE2:
		case ZK_OP_CREATE_CONTAINER:
			put_plain(p, &op.u.create, r, false);
			break;
		case ZK_OP_CREATE_TTL:
			put_create(r, p, &op.u.create_ttl, false);
			break;
		case ZK_OP_DELETE:
			p->path = op.u.delete.path;
			p->version = op.u.delete.version;
			break;
		case ZK_OP_SET_DATA:
			p->path = op.u.set_data.path;
			p->data = op.u.set_data.data;
			p->version = op.u.set_data.version;
			break;
		case ZK_OP_CHECK:
			p->path = op.u.check.path;
			p->version = op.u.check.version;
			break;
		default: /* a read */
			p->path = op.u.read.path;
			break;
		}
	}
}

static int put_request(struct record *r, struct hist_part *p, int32_t op, struct pk_bytes body)
{
	struct zk_rd in = zk_rd(body);
	union {
		struct zk_create_req create;
		struct zk_create_ttl_req ttl;
		struct zk_delete_req del;
		struct zk_set_data_req set;
		struct zk_set_acl_req acl;
		struct zk_check_req check;
		struct zk_path_watch_req read;
		struct zk_path_req path;
		struct zk_add_watch_req add;
		struct zk_watches_req watches;
	} u;
	int rc = 0;

	switch (op) {
	case ZK_OP_CREATE:
	case ZK_OP_CREATE2:
	case ZK_OP_CREATE_CONTAINER:
		rc = zk_create_req_decode(&in, &u.create);
		if (rc == 0)
			put_plain(p, &u.create, r, true);
		break;
	case ZK_OP_CREATE_TTL:
		rc = zk_create_ttl_req_decode(&in, &u.ttl);
		if (rc == 0)
			put_create(r, p, &u.ttl, true);
		break;
	case ZK_OP_DELETE:
		rc = zk_delete_req_decode(&in, &u.del);
		p->path = u.del.path;
		p->version = u.del.version;
		break;
	case ZK_OP_SET_DATA:
		rc = zk_set_data_req_decode(&in, &u.set);
		p->path = u.set.path;
		p->data = u.set.data;
		p->version = u.set.version;
		break;
	case ZK_OP_SET_ACL:
		rc = zk_set_acl_req_decode(&in, &u.acl);
		if (rc != 0)
			break;
		p->path = u.acl.path;
		p->version = u.acl.version;
		pk_buf_clear(&r->acl);
		hist_acls_add(&r->acl, u.acl.acl);
		p->acl = pk_bytes(r->acl.data != NULL ? r->acl.data : (uint8_t *)"", r->acl.len);
		break;
	case ZK_OP_CHECK:
		rc = zk_check_req_decode(&in, &u.check);
		p->path = u.check.path;
		p->version = u.check.version;
		break;
	case ZK_OP_EXISTS:
	case ZK_OP_GET_DATA:
	case ZK_OP_GET_CHILDREN:
	case ZK_OP_GET_CHILDREN2:
		rc = zk_path_watch_req_decode(&in, &u.read);
		p->path = u.read.path;
		if (u.read.watch)
			p->watch = op == ZK_OP_EXISTS || op == ZK_OP_GET_DATA ? HIST_WATCH_DATA
									      : HIST_WATCH_CHILD;
		break;
	case ZK_OP_GET_ACL:
	case ZK_OP_SYNC:
	case ZK_OP_GET_EPHEMERALS:
	case ZK_OP_GET_ALL_CHILDREN_NUMBER:
	case ZK_OP_DELETE_CONTAINER:
		rc = zk_path_req_decode(&in, &u.path);
		p->path = u.path.path;
		break;
	case ZK_OP_ADD_WATCH:
		rc = zk_add_watch_req_decode(&in, &u.add);
		p->path = u.add.path;
		p->watch = u.add.mode == 0 ? HIST_WATCH_PERSISTENT : HIST_WATCH_RECURSIVE;
		break;
	case ZK_OP_REMOVE_WATCHES:
	case ZK_OP_CHECK_WATCHES:
		rc = zk_watches_req_decode(&in, &u.watches);
		p->path = u.watches.path;
		p->mode = u.watches.type;
		break;
	case ZK_OP_MULTI:
	case ZK_OP_MULTI_READ:
		put_multi(r, body);
		break;
	default: /* without anything that is judged */
		break;
	}
	return rc;
}

static struct asked *asked_find(const struct record *r, uint64_t session, int32_t xid)
{
	struct asked_key key = { session, xid };
	struct asked *a;

	HASH_FIND(hh, r->asked, &key, sizeof(key), a);
	return a;
}

static void asked_add(struct record *r, uint64_t session, int32_t xid)
{
	struct asked *a = asked_find(r, session, xid);

	PK_ASSERT(a == NULL); /* or the log could not tell them apart */
	a = pk_alloc(sizeof(*a));
	a->key = (struct asked_key){ session, xid };
	HASH_ADD(hh, r->asked, key, sizeof(a->key), a);
}

static void asked_drop(struct record *r, uint64_t session, int32_t xid)
{
	struct asked *a = asked_find(r, session, xid);

	if (a == NULL)
		return;
	HASH_DEL(r->asked, a);
	free(a);
}

static bool told(int32_t op)
{
	return op != ZK_OP_PING && op != ZK_OP_SET_WATCHES && op != ZK_OP_SET_WATCHES2;
}

void record_invoke(struct record *r, int client, uint64_t call, uint64_t session, int32_t xid,
		   int32_t op, struct pk_bytes body, struct pk_bytes identity)
{
	struct hist_event e = { .kind = HIST_INVOKE,
				.process = (uint32_t)client,
				.call = call,
				.session = session,
				.xid = xid,
				.part = { .op = op, .acl = identity } };

	if (!told(op))
		return;
	r->part_count = 0;
	int rc = put_request(r, &e.part, op, body);
	PK_ASSERT(rc == 0);
	e.parts = r->parts;
	e.part_count = r->part_count;
	add(r, &e);
	if (zk_opcode_class(op) == ZK_CLASS_WRITE)
		asked_add(r, session, xid);
}

/* ---- what is answered ---- */

static void put_stat(struct hist_part *p, const struct zk_stat *stat)
{
	p->has_stat = true;
	p->stat = *stat;
}

static void put_names(struct record *r, struct hist_part *p, struct zk_strings names)
{
	pk_buf_clear(&r->names);
	hist_names_add(&r->names, names);
	p->has_names = true;
	p->names = pk_bytes(r->names.data != NULL ? r->names.data : (uint8_t *)"", r->names.len);
}

static void put_results(struct record *r, struct pk_bytes body)
{
	struct zk_rd in = zk_rd(body);
	struct zk_multi_result one;

	pk_buf_clear(&r->names);
	while (r->part_count < PK_COUNT(r->parts) && zk_multi_result_next(&in, &one) == 1) {
		struct hist_part *p = &r->parts[r->part_count++];

		*p = (struct hist_part){ .op = one.type, .err = one.err };
		switch (one.type) {
		case ZK_OP_CREATE:
			p->created = one.u.create.path;
			break;
		case ZK_OP_CREATE2:
			p->created = one.u.create2.path;
			put_stat(p, &one.u.create2.stat);
			break;
		case ZK_OP_SET_DATA:
			put_stat(p, &one.u.set_data.stat);
			break;
		case ZK_OP_GET_DATA:
			p->data = one.u.get_data.data;
			put_stat(p, &one.u.get_data.stat);
			break;
		case ZK_OP_GET_CHILDREN:
			p->has_names = true;
			p->names.len = r->names.len;
			hist_names_add(&r->names, one.u.get_children.children);
			p->names.len = r->names.len - p->names.len;
			break;
		default:
			break;
		}
	}
	const uint8_t *names = r->names.data != NULL ? r->names.data : (uint8_t *)"";
	for (uint32_t i = 0; i < r->part_count; i++) {
		if (!r->parts[i].has_names)
			continue;
		r->parts[i].names.data = names;
		names += r->parts[i].names.len;
	}
}

static void put_reply(struct record *r, struct hist_part *p, int32_t op, struct pk_bytes body)
{
	struct zk_rd in = zk_rd(body);
	struct zk_stat stat;

	switch (op) {
	case ZK_OP_CREATE:
		p->created = zk_rd_ustring(&in);
		break;
	case ZK_OP_CREATE2:
	case ZK_OP_CREATE_CONTAINER:
	case ZK_OP_CREATE_TTL:
		p->created = zk_rd_ustring(&in);
		stat = zk_rd_stat(&in);
		put_stat(p, &stat);
		break;
	case ZK_OP_SET_DATA:
	case ZK_OP_SET_ACL:
	case ZK_OP_EXISTS:
		stat = zk_rd_stat(&in);
		put_stat(p, &stat);
		break;
	case ZK_OP_GET_DATA:
		p->data = zk_rd_buffer(&in);
		stat = zk_rd_stat(&in);
		put_stat(p, &stat);
		break;
	case ZK_OP_GET_CHILDREN:
	case ZK_OP_GET_EPHEMERALS:
		put_names(r, p, zk_rd_strings(&in));
		break;
	case ZK_OP_GET_CHILDREN2:
		put_names(r, p, zk_rd_strings(&in));
		stat = zk_rd_stat(&in);
		put_stat(p, &stat);
		break;
	case ZK_OP_GET_ACL: /* the list may be a hidden one: the model knows */
		zk_rd_acls(&in);
		stat = zk_rd_stat(&in);
		put_stat(p, &stat);
		break;
	case ZK_OP_MULTI:
	case ZK_OP_MULTI_READ:
		put_results(r, body);
		break;
	default: /* nothing that is judged */
		break;
	}
}

void record_reply(struct record *r, int client, uint64_t call, uint64_t session, int32_t xid,
		  int server, int32_t op, uint64_t zxid, int32_t err, struct pk_bytes body)
{
	struct hist_event e = { .kind = err == 0 ? HIST_OK : HIST_FAIL,
				.process = (uint32_t)client,
				.call = call,
				.session = session,
				.server = (uint32_t)server + 1,
				.zxid = (int64_t)zxid,
				.part = { .op = op, .err = err } };

	if (!told(op))
		return;
	r->part_count = 0;
	if (err == 0)
		put_reply(r, &e.part, op, body);
	e.parts = r->parts;
	e.part_count = r->part_count;
	add(r, &e);
	asked_drop(r, session, xid);
}

void record_lost(struct record *r, int client, uint64_t call, int32_t op)
{
	struct hist_event e = { .kind = HIST_INFO,
				.process = (uint32_t)client,
				.call = call,
				.part = { .err = ZK_ECONNECTIONLOSS } };

	if (told(op))
		add(r, &e);
}

void record_watch(struct record *r, int client, uint64_t session, int32_t event,
		  struct pk_bytes path)
{
	struct hist_event e = { .kind = HIST_WATCH,
				.process = (uint32_t)client,
				.session = session,
				.event = event,
				.part = { .path = path } };

	add(r, &e);
}

void record_digest(struct record *r, int server, uint64_t zxid, uint64_t digest)
{
	struct hist_event e = { .kind = HIST_DIGEST,
				.process = SERVER_PROCESS + (uint32_t)server,
				.server = (uint32_t)server + 1,
				.zxid = (int64_t)zxid,
				.digest = digest,
				.name = pk_bytes_str("tree") };

	add(r, &e);
}

void record_fault(struct record *r, const char *name, int64_t from_us, int64_t to_us)
{
	uint64_t number = r->fault_count / 2;

	r->faults = pk_realloc(r->faults, (r->fault_count + 2) * sizeof(*r->faults));
	r->faults[r->fault_count++] = (struct fault_point){ from_us, number, name, false };
	r->faults[r->fault_count++] = (struct fault_point){ to_us, number, name, true };
}

static int by_time(const void *x, const void *y)
{
	const struct fault_point *a = x, *b = y;

	if (a->at_us != b->at_us)
		return a->at_us < b->at_us ? -1 : 1;
	if (a->number != b->number)
		return a->number < b->number ? -1 : 1;
	return (int)a->end - (int)b->end;
}

static void put_faults(struct record *r)
{
	if (r->fault_count > 0)
		qsort(r->faults, r->fault_count, sizeof(*r->faults), by_time);
	for (size_t i = 0; i < r->fault_count; i++) {
		const struct fault_point *f = &r->faults[i];
		struct hist_event e = { .kind = f->end ? HIST_FAULT_END : HIST_FAULT_BEGIN,
					.process = FAULT_PROCESS,
					.call = f->number + 1,
					.time_ns = f->at_us * 1000 + 1,
					.name = pk_bytes_str(f->name) };

		add(r, &e);
	}
}

/* Of a request that its client never got an answer to; false: it did nothing. */
static bool put_outcome(struct record *r, struct hist_event *e, const struct model_op *op)
{
	e->session = op->session;
	e->xid = op->xid;
	e->part.op = op->type;
	r->part_count = 0;
	put_reply(r, &e->part, op->type, pk_buf_bytes(&op->reply));
	for (uint32_t i = 0; i < r->part_count; i++)
		if (r->parts[i].err != 0)
			return false;
	e->parts = r->parts;
	e->part_count = r->part_count;
	return true;
}

void record_log(struct record *r, bool outcomes)
{
	struct model *m = sim_model(r->sim);

	put_faults(r);

	for (size_t i = 0; i < model_op_count(m); i++) {
		const struct model_op *op = model_op_at(m, i);
		struct hist_event e = { .kind = HIST_TXN,
					.process = LOG_PROCESS,
					.time_ns = op->at_us * 1000,
					.zxid = (int64_t)op->zxid };

		if (op->err != 0)
			continue;
		if (op->type == ZK_OP_CLOSE_SESSION || op->type == TXN_EXPIRE) {
			e.part.op = ZK_OP_CLOSE_SESSION;
			e.session = op->session;
		} else if (op->type == ZK_OP_DELETE_CONTAINER) {
			e.part.op = ZK_OP_DELETE_CONTAINER;
			e.part.path = pk_buf_bytes(&op->reply);
		} else if (!outcomes || asked_find(r, op->session, op->xid) == NULL ||
			   !put_outcome(r, &e, op)) {
			continue;
		}
		add(r, &e);
	}
	if (outcomes)
		add(r, &(struct hist_event){ .kind = HIST_LOG, .process = LOG_PROCESS });
}

void record_dump(struct record *r, int server, uint64_t zxid, size_t nodes)
{
	struct hist_event e = { .kind = HIST_DUMP,
				.process = SERVER_PROCESS + (uint32_t)server,
				.server = (uint32_t)server + 1,
				.zxid = (int64_t)zxid,
				.count = nodes,
				.part = { .path = pk_bytes_str("/") } };

	add(r, &e);
}

void record_node(struct record *r, int server, const char *path, struct pk_bytes body)
{
	struct hist_event e = { .kind = HIST_NODE,
				.process = SERVER_PROCESS + (uint32_t)server,
				.part = { .path = pk_bytes_str(path) } };

	put_reply(r, &e.part, ZK_OP_GET_DATA, body);
	add(r, &e);
}
