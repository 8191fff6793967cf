#include "jepsen/workload.h"

#include <stdio.h>

#include "base/mem.h"

struct call {
	TAILQ_ENTRY(call) link;
	struct client *client;
	uint64_t number;
	int32_t op;
	bool reads; /* of a multi */
	then_f *then;
	int64_t arg;
};

struct call_multi {
	struct client *client;
	struct zkc_multi *multi; /* owned until it is sent */
	struct hist_part *parts; /* owned; paths and data too */
	uint32_t count, cap;
	bool reads;
};

/* ---- what is told ---- */

/* Not known whether it was done: the connection went, or the session did, or the answer made no
 * sense. Everything else that the client says by itself (zxid 0) was never sent. */
static bool unknown_outcome(int32_t err)
{
	return err == ZK_ECONNECTIONLOSS || err == ZK_ETIMEOUT || err == ZK_EREQUESTTIMEOUT ||
	       err == ZK_EMARSHALLING || err == ZK_ESESSIONEXPIRED || err == ZK_EAUTHFAILED;
}

static void call_end(struct call *k)
{
	TAILQ_REMOVE(&k->client->calls, k, link);
	k->client->call_count--;
	free(k);
}

static void record_end(struct call *k, struct hist_event *e)
{
	e->call = k->number;
	e->session = k->client->session;
	run_record(k->client->run, k->client, e);
}

void calls_drop(struct client *c)
{
	struct call *k;

	while ((k = TAILQ_FIRST(&c->calls)) != NULL) {
		record_end(k, &(struct hist_event){ .kind = HIST_INFO,
						    .part.err = ZK_ECONNECTIONLOSS });
		call_end(k);
	}
}

/* The results of a multi: parts, and the memory of lists in *text. */
static uint32_t multi_parts(struct zk_rd rd, struct hist_part **out, struct pk_buf *text)
{
	struct zk_multi_result one;
	uint32_t count = 0, cap = 8;
	struct hist_part *parts = pk_alloc(cap * sizeof(*parts));

	pk_ignore(pk_buf_reserve(text, rd.in.len + 1),
		  "room for every list: it does not move again");
	while (zk_multi_result_next(&rd, &one) == 1 && count < HIST_PARTS_MAX) {
		struct hist_part *p;

		if (count == cap) {
			cap *= 2;
			parts = pk_realloc(parts, cap * sizeof(*parts));
		}
		p = &parts[count++];
		*p = (struct hist_part){ .op = one.type };
		switch (one.type) {
		case ZK_OP_ERROR:
			p->err = one.err;
			break;
		case ZK_OP_CREATE:
			p->created = one.u.create.path;
			break;
		case ZK_OP_CREATE2:
			p->created = one.u.create2.path;
			p->has_stat = true;
			p->stat = one.u.create2.stat;
			break;
		case ZK_OP_SET_DATA:
			p->has_stat = true;
			p->stat = one.u.set_data.stat;
			break;
		case ZK_OP_GET_DATA:
			p->data = one.u.get_data.data;
			p->has_stat = true;
			p->stat = one.u.get_data.stat;
			break;
		case ZK_OP_GET_CHILDREN: {
			size_t at = text->len;

			hist_names_add(text, one.u.get_children.children);
			p->has_names = true;
			p->names = pk_bytes(text->data + at, text->len - at);
			break;
		}
		default: /* delete, check: nothing */
			break;
		}
	}
	*out = parts;
	return count;
}

/* What a success answered, in the fields that its operation has. */
static void fill_part(struct hist_part *p, int32_t op, const struct zkc_result *r,
		      struct pk_buf *text)
{
	p->has_stat = r->stat != NULL;
	if (r->stat != NULL)
		p->stat = *r->stat;
	switch (op) {
	case ZK_OP_CREATE2:
	case ZK_OP_CREATE_CONTAINER:
	case ZK_OP_CREATE_TTL:
		p->created = r->path;
		break;
	case ZK_OP_GET_DATA:
		p->data = r->data;
		break;
	case ZK_OP_GET_CHILDREN2:
	case ZK_OP_GET_EPHEMERALS:
		hist_names_add(text, r->names);
		p->has_names = true;
		p->names = pk_buf_bytes(text);
		break;
	case ZK_OP_GET_ACL:
		hist_acls_add(text, r->acl);
		p->acl = pk_buf_bytes(text);
		break;
	case ZK_OP_GET_ALL_CHILDREN_NUMBER:
		p->version = r->number;
		break;
	default:
		break;
	}
}

static void on_done(void *owner, const struct zkc_result *r)
{
	struct call *k = owner;
	struct client *c = k->client;
	struct hist_event e = { .zxid = r->zxid, .server = client_server(c) };
	struct hist_part *parts = NULL;
	struct pk_buf text = PK_BUF_INIT;
	bool many = k->op == ZK_OP_MULTI || k->op == ZK_OP_MULTI_READ;

	e.part.err = r->err;
	if (unknown_outcome(r->err)) {
		e.kind = HIST_INFO;
	} else if (r->err != ZK_OK && !(many && r->multi.in.len > 0)) {
		e.kind = HIST_FAIL;
	} else {
		e.kind = HIST_OK;
		e.part.err = ZK_OK; /* of a multi that failed the parts tell */
		if (many) {
			e.part_count = multi_parts(r->multi, &parts, &text);
			e.parts = parts;
		} else {
			fill_part(&e.part, k->op, r, &text);
		}
	}
	record_end(k, &e);
	free(parts);
	pk_buf_release(&text);

	then_f *then = k->then;
	int64_t arg = k->arg;

	call_end(k);
	run_counted(c->run, c, r->err);
	if (then != NULL && !c->closing)
		then(c, r, arg);
}

/* ---- what is asked ---- */

static struct call *call_new(struct client *c, struct hist_event *e, then_f *then, int64_t arg)
{
	struct call *k = pk_alloc(sizeof(*k));

	PK_ASSERT(c->zk != NULL && !c->closing);
	k->client = c;
	k->number = ++c->call_last;
	k->op = e->part.op;
	k->then = then;
	k->arg = arg;
	TAILQ_INSERT_TAIL(&c->calls, k, link);
	c->call_count++;
	e->kind = HIST_INVOKE;
	e->call = k->number;
	e->session = c->session;
	run_record(c->run, c, e);
	return k;
}

static struct call *call_path(struct client *c, int32_t op, const char *path, then_f *then,
			      int64_t arg)
{
	return call_new(c, &(struct hist_event){ .part = { .op = op, .path = pk_bytes_str(path) } },
			then, arg);
}

static struct zkc_watch watch_if(struct client *c, bool watch)
{
	return watch ? client_watch(c) : ZKC_NO_WATCH;
}

void call_create_acl(struct client *c, const char *path, struct pk_bytes data, struct zk_acls acl,
		     int32_t mode, int64_t ttl_ms, then_f *then, int64_t arg)
{
	struct pk_buf text = PK_BUF_INIT;
	bool ttl = mode == ZK_CREATE_TTL || mode == ZK_CREATE_TTL_SEQUENTIAL;
	struct hist_event e = { .part = { .op = ttl ? ZK_OP_CREATE_TTL
						: mode == ZK_CREATE_CONTAINER
							? ZK_OP_CREATE_CONTAINER
							: ZK_OP_CREATE2,
					  .path = pk_bytes_str(path),
					  .data = data,
					  .mode = mode,
					  .ttl_ms = ttl ? ttl_ms : 0 } };

	hist_acls_add(&text, acl);
	e.part.acl = pk_buf_bytes(&text);
	struct call *k = call_new(c, &e, then, arg);

	zkc_create(c->zk, pk_bytes_str(path), data, acl, mode, ttl_ms, on_done, k);
	pk_buf_release(&text);
}

void call_create(struct client *c, const char *path, struct pk_bytes data, int32_t mode,
		 then_f *then, int64_t arg)
{
	call_create_acl(c, path, data, zk_acls_open(), mode, 0, then, arg);
}

void call_delete(struct client *c, const char *path, int32_t version, then_f *then, int64_t arg)
{
	struct call *k = call_new(c,
				  &(struct hist_event){ .part = { .op = ZK_OP_DELETE,
								  .path = pk_bytes_str(path),
								  .version = version } },
				  then, arg);

	zkc_delete(c->zk, pk_bytes_str(path), version, on_done, k);
}

void call_exists(struct client *c, const char *path, bool watch, then_f *then, int64_t arg)
{
	struct hist_event e = { .part = { .op = ZK_OP_EXISTS,
					  .path = pk_bytes_str(path),
					  .watch = watch ? HIST_WATCH_DATA : HIST_WATCH_NONE } };
	struct call *k = call_new(c, &e, then, arg);

	zkc_exists(c->zk, pk_bytes_str(path), watch_if(c, watch), on_done, k);
}

void call_get(struct client *c, const char *path, bool watch, then_f *then, int64_t arg)
{
	struct hist_event e = { .part = { .op = ZK_OP_GET_DATA,
					  .path = pk_bytes_str(path),
					  .watch = watch ? HIST_WATCH_DATA : HIST_WATCH_NONE } };
	struct call *k = call_new(c, &e, then, arg);

	zkc_get(c->zk, pk_bytes_str(path), watch_if(c, watch), on_done, k);
}

void call_children(struct client *c, const char *path, bool watch, then_f *then, int64_t arg)
{
	struct hist_event e = { .part = { .op = ZK_OP_GET_CHILDREN2,
					  .path = pk_bytes_str(path),
					  .watch = watch ? HIST_WATCH_CHILD : HIST_WATCH_NONE } };
	struct call *k = call_new(c, &e, then, arg);

	zkc_children(c->zk, pk_bytes_str(path), watch_if(c, watch), on_done, k);
}

void call_set(struct client *c, const char *path, struct pk_bytes data, int32_t version,
	      then_f *then, int64_t arg)
{
	struct call *k = call_new(c,
				  &(struct hist_event){ .part = { .op = ZK_OP_SET_DATA,
								  .path = pk_bytes_str(path),
								  .data = data,
								  .version = version } },
				  then, arg);

	zkc_set(c->zk, pk_bytes_str(path), data, version, on_done, k);
}

void call_sync(struct client *c, const char *path, then_f *then, int64_t arg)
{
	struct call *k = call_path(c, ZK_OP_SYNC, path, then, arg);

	zkc_sync(c->zk, pk_bytes_str(path), on_done, k);
}

void call_get_acl(struct client *c, const char *path, then_f *then, int64_t arg)
{
	struct call *k = call_path(c, ZK_OP_GET_ACL, path, then, arg);

	zkc_get_acl(c->zk, pk_bytes_str(path), on_done, k);
}

void call_set_acl(struct client *c, const char *path, struct zk_acls acl, int32_t version,
		  then_f *then, int64_t arg)
{
	struct pk_buf text = PK_BUF_INIT;

	hist_acls_add(&text, acl);
	struct call *k = call_new(c,
				  &(struct hist_event){ .part = { .op = ZK_OP_SET_ACL,
								  .path = pk_bytes_str(path),
								  .acl = pk_buf_bytes(&text),
								  .version = version } },
				  then, arg);

	zkc_set_acl(c->zk, pk_bytes_str(path), acl, version, on_done, k);
	pk_buf_release(&text);
}

void call_ephemerals(struct client *c, const char *prefix, then_f *then, int64_t arg)
{
	struct call *k = call_path(c, ZK_OP_GET_EPHEMERALS, prefix, then, arg);

	zkc_ephemerals(c->zk, pk_bytes_str(prefix), on_done, k);
}

void call_children_number(struct client *c, const char *path, then_f *then, int64_t arg)
{
	struct call *k = call_path(c, ZK_OP_GET_ALL_CHILDREN_NUMBER, path, then, arg);

	zkc_children_number(c->zk, pk_bytes_str(path), on_done, k);
}

void call_add_watch(struct client *c, const char *path, int32_t mode, then_f *then, int64_t arg)
{
	struct hist_event e = { .part = { .op = ZK_OP_ADD_WATCH,
					  .path = pk_bytes_str(path),
					  .watch = mode == ZK_ADD_WATCH_RECURSIVE
							   ? HIST_WATCH_RECURSIVE
							   : HIST_WATCH_PERSISTENT } };
	struct call *k = call_new(c, &e, then, arg);

	zkc_add_watch(c->zk, pk_bytes_str(path), mode, client_watch(c), on_done, k);
}

void call_remove_watches(struct client *c, const char *path, int32_t type, then_f *then,
			 int64_t arg)
{
	struct call *k = call_new(c,
				  &(struct hist_event){ .part = { .op = ZK_OP_REMOVE_WATCHES,
								  .path = pk_bytes_str(path),
								  .mode = type } },
				  then, arg);

	zkc_remove_watches(c->zk, pk_bytes_str(path), type, client_watch(c), on_done, k);
}

/* ---- several at once ---- */

struct call_multi *call_multi_new(struct client *c)
{
	struct call_multi *m = pk_alloc(sizeof(*m));

	m->client = c;
	m->multi = zkc_multi_new(c->zk);
	return m;
}

static struct hist_part *multi_add(struct call_multi *m, int32_t op, const char *path,
				   struct pk_bytes data)
{
	if (m->count == m->cap) {
		m->cap = m->cap == 0 ? 8 : 2 * m->cap;
		m->parts = pk_realloc(m->parts, m->cap * sizeof(*m->parts));
	}
	struct hist_part *p = &m->parts[m->count++];

	*p = (struct hist_part){ .op = op };
	p->path = pk_bytes_str(pk_strdup(path));
	if (data.data != NULL)
		p->data = pk_bytes(data.len > 0 ? pk_memdup(data.data, data.len) : pk_alloc(1),
				   data.len);
	return p;
}

void call_multi_create(struct call_multi *m, const char *path, struct pk_bytes data, int32_t mode)
{
	multi_add(m, ZK_OP_CREATE2, path, data)->mode = mode;
	zkc_multi_create(m->multi, pk_bytes_str(path), data, zk_acls_open(), mode, 0);
}

void call_multi_delete(struct call_multi *m, const char *path, int32_t version)
{
	multi_add(m, ZK_OP_DELETE, path, PK_BYTES_NONE)->version = version;
	zkc_multi_delete(m->multi, pk_bytes_str(path), version);
}

void call_multi_set(struct call_multi *m, const char *path, struct pk_bytes data, int32_t version)
{
	multi_add(m, ZK_OP_SET_DATA, path, data)->version = version;
	zkc_multi_set(m->multi, pk_bytes_str(path), data, version);
}

void call_multi_check(struct call_multi *m, const char *path, int32_t version)
{
	multi_add(m, ZK_OP_CHECK, path, PK_BYTES_NONE)->version = version;
	zkc_multi_check(m->multi, pk_bytes_str(path), version);
}

void call_multi_get(struct call_multi *m, const char *path)
{
	pk_ignore(multi_add(m, ZK_OP_GET_DATA, path, PK_BYTES_NONE), "nothing more to say of it");
	m->reads = true;
	zkc_multi_get(m->multi, pk_bytes_str(path));
}

void call_multi_children(struct call_multi *m, const char *path)
{
	pk_ignore(multi_add(m, ZK_OP_GET_CHILDREN, path, PK_BYTES_NONE), "as above");
	m->reads = true;
	zkc_multi_children(m->multi, pk_bytes_str(path));
}

void call_multi_send(struct call_multi *m, then_f *then, int64_t arg)
{
	struct hist_event e = { .part.op = m->reads ? ZK_OP_MULTI_READ : ZK_OP_MULTI,
				.parts = m->parts,
				.part_count = m->count };
	struct call *k = call_new(m->client, &e, then, arg);

	zkc_multi_send(m->multi, on_done, k);
	for (uint32_t i = 0; i < m->count; i++) {
		free((void *)m->parts[i].path.data);
		free((void *)m->parts[i].data.data);
	}
	free(m->parts);
	free(m);
}
