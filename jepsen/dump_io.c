#include "jepsen/dump_io.h"

#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "zkproto/client_io.h"

#define READERS_MAX    16
#define WINDOW         64 /* nodes that a reader asks for at once */
#define TIMEOUT_MS     10000
#define CALLS_PER_NODE 3

struct node {
	struct reader *reader;
	char *path;
	struct pk_buf data, acl;
	bool has_data; /* not null */
	struct zk_stat stat;
};

/*
 *   connected          synced            the root's children        all nodes read       told
 *   WAITING ──▶ SYNCING ──▶ LISTING ──▶ WALKING (top, one by one) ──▶ ... ──▶ CLOSING ──▶ ENDED
 *                             ▲             │ a node went meanwhile
 *                             └─────────────┘
 */
enum reader_state { READER_WAITING, READER_SYNCING, READER_WALKING, READER_CLOSING, READER_ENDED };

struct reader {
	struct dump *dump;
	struct zkc_io *io;
	uint32_t process, server;
	uint64_t session;
	enum reader_state state;
	uint32_t tries;
	struct node *
		*nodes; /* owned: all found so far, of all tops; asked are those before `asked` */
	size_t count, cap, asked;
	uint32_t calls; /* under way */
	bool again;     /* a node went: from the start */
	int64_t zxid;
};

struct dump {
	struct net_loop *loop;
	struct hist_writer *writer;
	struct net_timer *deadline, *sweep;
	struct reader readers[READERS_MAX];
	uint32_t count;
	dump_done_f *done;
	void *owner;
	bool told;
};

static void record(struct reader *r, struct hist_event *e)
{
	e->process = r->process;
	e->server = r->server;
	e->session = r->session;
	e->time_ns = net_now_fresh_us() * 1000;
	hist_write(r->dump->writer, e);
}

static void finish(struct dump *d, bool whole)
{
	if (d->told)
		return;
	d->told = true;
	d->done(d->owner, whole);
}

/* ---- the walk ---- */

static void nodes_release(struct reader *r)
{
	for (size_t i = 0; i < r->count; i++) {
		free(r->nodes[i]->path);
		pk_buf_release(&r->nodes[i]->data);
		pk_buf_release(&r->nodes[i]->acl);
		free(r->nodes[i]);
	}
	free(r->nodes);
	r->nodes = NULL;
	r->count = r->cap = r->asked = 0;
}

static void node_add(struct reader *r, const char *folder, struct pk_bytes name)
{
	struct node *n = pk_alloc(sizeof(*n));

	if (r->count == r->cap) {
		r->cap = r->cap == 0 ? 64 : 2 * r->cap;
		r->nodes = pk_realloc(r->nodes, r->cap * sizeof(struct node *));
	}
	n->reader = r;
	n->path = pk_asprintf("%s/%.*s", folder, (int)name.len, (const char *)name.data);
	r->nodes[r->count++] = n;
}

static void walk(struct reader *r);

/* Of one call: false when the walk must begin again, or cannot go on. */
static bool heard(struct reader *r, const struct zkc_result *result)
{
	r->calls--;
	if (result->zxid > r->zxid)
		r->zxid = result->zxid;
	if (result->err != ZK_OK)
		r->again = true;
	return result->err == ZK_OK;
}

static void on_data(void *owner, const struct zkc_result *result)
{
	struct node *n = owner;
	struct reader *r = n->reader;

	if (heard(r, result)) {
		n->has_data = result->data.data != NULL;
		pk_buf_add_bytes(&n->data, result->data);
		n->stat = *result->stat;
	}
	walk(r);
}

static void on_acl(void *owner, const struct zkc_result *result)
{
	struct node *n = owner;
	struct reader *r = n->reader;

	if (heard(r, result))
		hist_acls_add(&n->acl, result->acl);
	walk(r);
}

static void on_children(void *owner, const struct zkc_result *result)
{
	struct node *n = owner;
	struct reader *r = n->reader;
	struct zk_strings left = result->names;
	struct pk_bytes name;

	if (heard(r, result))
		while (zk_strings_next(&left, &name))
			node_add(r, n->path, name);
	walk(r);
}

static void on_top(void *owner, const struct zkc_result *result)
{
	struct reader *r = owner;
	struct zk_strings left = result->names;
	struct pk_bytes name;

	if (heard(r, result))
		while (zk_strings_next(&left, &name))
			if (!pk_bytes_is(name, "zookeeper"))
				node_add(r, "", name);
	walk(r);
}

static void walk_begin(struct reader *r)
{
	nodes_release(r);
	r->again = false;
	r->tries++;
	r->calls = 1;
	zkc_children(zkc_io_client(r->io), pk_bytes_str("/"), ZKC_NO_WATCH, on_top, r);
}

static bool is_top(const struct node *n)
{
	return strchr(n->path + 1, '/') == NULL;
}

static bool is_under(const struct node *n, const struct node *top)
{
	size_t len = strlen(top->path);

	return strncmp(n->path, top->path, len) == 0 &&
	       (n->path[len] == '/' || n->path[len] == '\0');
}

static void tell_dump(struct reader *r, const struct node *top)
{
	uint64_t count = 0;

	for (size_t i = 0; i < r->count; i++)
		count += is_under(r->nodes[i], top);
	record(r, &(struct hist_event){ .kind = HIST_DUMP,
					.zxid = r->zxid,
					.count = count,
					.part.path = pk_bytes_str(top->path) });
	for (size_t i = 0; i < r->count; i++) {
		struct node *n = r->nodes[i];

		if (!is_under(n, top))
			continue;
		pk_ignore(pk_buf_reserve(&n->data, 1), "empty data is not null");
		record(r,
		       &(struct hist_event){ .kind = HIST_NODE,
					     .part = { .path = pk_bytes_str(n->path),
						       .data = n->has_data ? pk_buf_bytes(&n->data)
									   : PK_BYTES_NONE,
						       .acl = pk_buf_bytes(&n->acl),
						       .has_stat = true,
						       .stat = n->stat } });
	}
}

static void walk_end(struct reader *r)
{
	for (size_t i = 0; i < r->count; i++)
		if (is_top(r->nodes[i]))
			tell_dump(r, r->nodes[i]);
	r->state = READER_CLOSING;
	zkc_close(zkc_io_client(r->io));
}

static void walk(struct reader *r)
{
	struct zkc *zk = zkc_io_client(r->io);

	if (r->state != READER_WALKING)
		return;
	while (!r->again && r->asked < r->count && r->calls < WINDOW * CALLS_PER_NODE) {
		struct node *n = r->nodes[r->asked++];
		struct pk_bytes path = pk_bytes_str(n->path);

		r->calls += CALLS_PER_NODE;
		zkc_get(zk, path, ZKC_NO_WATCH, on_data, n);
		zkc_get_acl(zk, path, on_acl, n);
		zkc_children(zk, path, ZKC_NO_WATCH, on_children, n);
	}
	if (r->calls > 0)
		return;
	if (!r->again) {
		walk_end(r);
	} else if (r->tries < DUMP_TRIES_MAX) {
		walk_begin(r);
	} else {
		LOG_ERROR("dump.failed", "server=%u tries=%u", r->server, r->tries);
		finish(r->dump, false);
	}
}

/* ---- the session ---- */

static void on_synced(void *owner, const struct zkc_result *result)
{
	struct reader *r = owner;
	bool done = result->err == ZK_OK;

	record(r, &(struct hist_event){ .kind = done ? HIST_OK : HIST_INFO,
					.call = 1,
					.zxid = result->zxid,
					.part.err = result->err });
	if (!done) {
		LOG_ERROR("dump.sync", "server=%u error=%s", r->server, zk_error_name(result->err));
		finish(r->dump, false);
		return;
	}
	r->state = READER_WALKING;
	walk_begin(r);
}

static void on_state(void *owner, enum zkc_state state)
{
	struct reader *r = owner;
	struct zkc_info info;

	zkc_info(zkc_io_client(r->io), &info);
	if (state == ZKC_CONNECTED) {
		r->session = (uint64_t)info.session_id;
		record(r, &(struct hist_event){ .kind = HIST_SESSION,
						.state = HIST_CONNECTED,
						.timeout_ms = info.timeout_ms });
		if (r->state != READER_WAITING)
			return;
		r->state = READER_SYNCING;
		record(r, &(struct hist_event){
				  .kind = HIST_INVOKE,
				  .call = 1,
				  .part = { .op = ZK_OP_SYNC, .path = pk_bytes_str("/") } });
		zkc_sync(zkc_io_client(r->io), pk_bytes_str("/"), on_synced, r);
	} else if (state == ZKC_CLOSED) {
		record(r, &(struct hist_event){ .kind = HIST_SESSION,
						.state = info.end_confirmed ? HIST_CLOSED
									    : HIST_ABANDONED });
		r->state = READER_ENDED;
	} else {
		record(r,
		       &(struct hist_event){ .kind = HIST_SESSION,
					     .state = state == ZKC_EXPIRED ? HIST_EXPIRED
									   : HIST_DISCONNECTED });
		if (state == ZKC_EXPIRED || state == ZKC_AUTH_FAILED)
			finish(r->dump, false);
	}
}

static void on_sweep(void *owner)
{
	struct dump *d = owner;

	for (uint32_t i = 0; i < d->count; i++)
		if (d->readers[i].state != READER_ENDED)
			return;
	finish(d, true);
}

static void on_deadline(void *owner)
{
	struct dump *d = owner;

	for (uint32_t i = 0; i < d->count; i++)
		if (d->readers[i].state != READER_ENDED)
			LOG_ERROR("dump.late", "server=%u state=%d nodes=%zu", d->readers[i].server,
				  d->readers[i].state, d->readers[i].count);
	finish(d, false);
}

static void reader_begin(struct reader *r, const char *server, const struct dump_opts *opts)
{
	const char *dot = strrchr(server, '.');
	struct pk_err err = PK_ERR_INIT;

	r->server = dot == NULL ? r->process : (uint32_t)strtoul(dot + 1, NULL, 10);
	record(r, &(struct hist_event){ .kind = HIST_CLIENT,
					.name = pk_bytes_str("zkc"),
					.flags = HIST_CLIENT_ALL });
	r->io = zkc_io_new(
		r->dump->loop,
		&(struct zkc_io_config){
			.servers = server,
			.tls = opts->tls,
			.client = { .timeout_ms = TIMEOUT_MS, .on_state = on_state, .owner = r } },
		&err);
	if (r->io == NULL)
		LOG_ERROR("dump.open", "error=\"%s\"", err.text);
	else if (opts->auth != NULL)
		zkc_add_auth(zkc_io_client(r->io), "digest", pk_bytes_str(opts->auth), NULL, NULL);
}

struct dump *dump_new(struct net_loop *l, struct hist_writer *w, const struct dump_opts *opts,
		      dump_done_f *done, void *owner)
{
	struct dump *d = pk_alloc(sizeof(*d));

	*d = (struct dump){ .loop = l, .writer = w, .done = done, .owner = owner };
	d->deadline = net_timer_new(l, on_deadline, d);
	net_timer_start(d->deadline, DUMP_MS_MAX, 0);
	d->sweep = net_timer_new(l, on_sweep, d);
	net_timer_start(d->sweep, 50, 50);
	hist_write(w, &(struct hist_event){ .kind = HIST_FINAL,
					    .process = opts->first,
					    .time_ns = net_now_fresh_us() * 1000 });
	for (const char *at = opts->servers; at != NULL && d->count < READERS_MAX;) {
		size_t len = strcspn(at, ",");
		char *one = pk_strndup(at, len);
		struct reader *r = &d->readers[d->count];

		r->dump = d;
		r->process = opts->first + d->count++;
		reader_begin(r, one, opts);
		free(one);
		at = at[len] == ',' ? at + len + 1 : NULL;
	}
	return d;
}

void dump_free(struct dump *d)
{
	if (d == NULL)
		return;
	for (uint32_t i = 0; i < d->count; i++) {
		zkc_io_free(d->readers[i].io);
		nodes_release(&d->readers[i]);
	}
	net_timer_free(d->deadline);
	net_timer_free(d->sweep);
	free(d);
}
