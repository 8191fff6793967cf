#include "tests/sim/cluster_client.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/queue.h>

#include "tests/sim/cluster_history.h"
#include "tests/sim/cluster_rules.h"
#include "tests/sim/cluster_watches.h"
#include "zkproto/multi.h"

#define DIAL_WAIT_MS 4000

struct request {
	STAILQ_ENTRY(request) link;
	int32_t xid, op;
	bool watch, raw;
	int32_t mode;   /* of addWatch */
	uint64_t call;  /* its number in the history */
	uint64_t floor; /* acknowledged to somebody before this was sent */
	char *path;
	struct pk_buf body; /* of a multiRead */
};

struct client {
	struct sim *sim;
	int index;
	struct client_owner owner;
	enum client_state state;
	int server;
	struct sim_conn *conn;
	uint64_t conn_number;                      /* timers of an older one are void */
	uint64_t session, zxid, claimed, asked_at; /* the log's zxid when it asked to come in */
	uint8_t password[16];
	int32_t ask_timeout_ms, timeout_ms, next_xid;
	bool pings, spoil, closing, asked_end;
	bool asks_read_only, read_only; /* it may be served so; it is */
	struct txn_id ids[CLIENT_IDS_MAX];
	struct whose who;
	int64_t sent_us, heard_us;
	STAILQ_HEAD(, request) requests;
	size_t outstanding;
	struct request *newest; /* being sent */
	uint64_t calls;
	struct watches *watches;
	struct pk_buf out;
};

static uint64_t acked_most; /* by anybody; one simulation in a process at a time */

static void on_frame(void *owner, struct pk_bytes body);
static void on_closed(void *owner, const char *reason);

/* ---- life ---- */

struct client *client_new(struct sim *s, int index, int32_t timeout_ms,
			  const struct client_owner *owner)
{
	struct client *c = pk_alloc(sizeof(*c));

	if (index == 0)
		acked_most = 0;
	c->sim = s;
	c->index = index;
	c->owner = *owner;
	c->ask_timeout_ms = timeout_ms;
	c->timeout_ms = timeout_ms;
	c->next_xid = 1;
	c->pings = true;
	STAILQ_INIT(&c->requests);
	c->ids[0] = (struct txn_id){ pk_bytes_str("ip"), pk_bytes_str(SIM_CLIENT_IP) };
	c->who = (struct whose){ .ids = c->ids, .count = 1 };
	c->watches = watches_new(s, &c->who);
	if (sim_record(s) != NULL)
		record_client(sim_record(s), index);
	return c;
}

static void request_free(struct request *q)
{
	pk_buf_release(&q->body);
	free(q->path);
	free(q);
}

static void requests_lost(struct client *c, bool tell)
{
	struct request *q;

	while ((q = STAILQ_FIRST(&c->requests)) != NULL) {
		struct client_reply r = { .op = q->op,
					  .xid = q->xid,
					  .err = ZK_ECONNECTIONLOSS,
					  .path = q->path,
					  .lost = true };
		STAILQ_REMOVE_HEAD(&c->requests, link);
		c->outstanding--;
		if (tell && sim_record(c->sim) != NULL)
			record_lost(sim_record(c->sim), c->index, q->call, q->op);
		if (tell)
			c->owner.reply(c->owner.owner, &r);
		request_free(q);
	}
}

void client_free(struct client *c)
{
	requests_lost(c, false);
	watches_free(c->watches);
	pk_buf_release(&c->out);
	free(c);
}

static void set_state(struct client *c, enum client_state state, const char *why)
{
	c->state = state;
	sim_say(c->sim, "client %d session %#" PRIx64 " %s (server %d)", c->index, c->session, why,
		c->server);
	c->owner.state(c->owner.owner, state, why);
}

/* ---- the connection ---- */

/* What the history says of it. A local session, or one that was so when it was asked for, is
 * refused by every server but its own: that is no expiry. */
static enum hist_state state_told(const struct client *c, enum client_state state)
{
	const struct model_session *m = model_session(sim_model(c->sim), c->session);

	if (state != CLIENT_ENDED)
		return HIST_DISCONNECTED;
	if (c->spoil)
		return HIST_ABANDONED;
	if (c->closing)
		return HIST_CLOSED;
	return m != NULL && m->created_zxid <= c->asked_at ? HIST_EXPIRED : HIST_DISCONNECTED;
}

static void off(struct client *c, enum client_state state, const char *why)
{
	c->conn = NULL;
	c->conn_number++;
	watches_lost(c->watches);
	requests_lost(c, true);
	if (sim_record(c->sim) != NULL && c->session != 0)
		record_session(sim_record(c->sim), c->index, c->session, c->server,
			       state_told(c, state), 0, false);
	set_state(c, state, why);
}

static void on_closed(void *owner, const char *reason)
{
	struct client *c = owner;

	sim_stats(c->sim)->lost += c->state == CLIENT_CONNECTED && !c->closing;
	off(c, c->closing ? CLIENT_ENDED : CLIENT_IDLE, reason);
}

void client_drop(struct client *c)
{
	if (c->conn == NULL)
		return;
	sim_conn_close(c->conn);
	off(c, CLIENT_IDLE, "dropped");
}

void client_break(struct client *c)
{
	if (c->conn != NULL)
		sim_conn_break(c->conn); /* closed is called */
}

static void timer(struct sim *s, void *arg, uint64_t number)
{
	struct client *c = arg;

	if (number != c->conn_number || c->conn == NULL)
		return;
	int64_t now = sim_now_us(s);
	if (c->state == CLIENT_CONNECTING) {
		client_drop(c);
		return;
	}
	if (c->state != CLIENT_CONNECTED)
		return;
	if (now - c->heard_us > (int64_t)c->timeout_ms * SIM_MS * 2 / 3 && c->pings) {
		client_drop(c); /* as real clients do: silent for two thirds */
		return;
	}
	if (c->pings && now - c->sent_us >= (int64_t)c->timeout_ms * SIM_MS / 3)
		client_ping(c);
	sim_call_at(s, (int64_t)c->timeout_ms * SIM_MS / 12 + 1, timer, c, number);
}

void client_connect(struct client *c, int server)
{
	struct sim_conn_owner owner = { .owner = c, .frame = on_frame, .closed = on_closed };
	uint8_t wrong[16] = "wrong";
	struct zk_connect_req req = { .last_zxid_seen = (int64_t)(c->claimed != 0 ? c->claimed
										  : c->zxid),
				      .timeout_ms = c->ask_timeout_ms,
				      .session_id = (int64_t)c->session,
				      .password = pk_bytes(c->spoil ? wrong : c->password, 16),
				      .has_read_only = true,
				      .read_only = c->asks_read_only };

	PK_ASSERT(c->state == CLIENT_IDLE && c->conn == NULL);
	c->claimed = 0;
	c->asked_at = model_zxid(sim_model(c->sim));
	c->server = server;
	c->conn = sim_connect(c->sim, server, &owner);
	if (c->conn == NULL) {
		c->owner.state(c->owner.owner, CLIENT_IDLE, "refused");
		return;
	}
	c->conn_number++;
	c->state = CLIENT_CONNECTING;
	pk_buf_clear(&c->out);
	zk_connect_req_encode(&c->out, &req);
	sim_conn_send(c->conn, pk_buf_bytes(&c->out));
	c->sent_us = sim_now_us(c->sim);
	sim_call_at(c->sim, DIAL_WAIT_MS * SIM_MS, timer, c, c->conn_number);
}

static void again_watches(struct client *c);
static void again_ids(struct client *c);

static void connected(struct client *c, struct pk_bytes body)
{
	struct zk_rd in = zk_rd(body);
	struct zk_connect_resp r;

	if (zk_connect_resp_decode(&in, &r) != 0) {
		sim_violate(c->sim, "client %d: a connect reply of %zu bytes", c->index, body.len);
		return;
	}
	if (r.session_id == 0) { /* C8 */
		const struct model_session *m = model_session(sim_model(c->sim), c->session);
		/* a local one that is made global may be refused elsewhere meanwhile */
		if (m != NULL && m->ended_zxid == 0 && !c->spoil && m->created_zxid <= c->asked_at)
			sim_violate(c->sim, "C8 client %d: session %#" PRIx64 " refused, it lives",
				    c->index, c->session);
		if (m != NULL && m->ended_zxid != 0 && !m->expired && !c->asked_end)
			sim_violate(c->sim, "C8 client %d: session %#" PRIx64 " ended unasked",
				    c->index, c->session);
		if (c->session == 0)
			sim_violate(c->sim, "C8 client %d: it is refused a new session", c->index);
		sim_conn_close(c->conn);
		off(c, CLIENT_ENDED, c->spoil ? "refused" : "expired");
		return;
	}
	if (c->spoil)
		sim_violate(c->sim, "C8 client %d: came in with a wrong password", c->index);
	if (c->session != 0 && (uint64_t)r.session_id != c->session)
		sim_violate(c->sim, "client %d: another session in the reply", c->index);
	c->session = (uint64_t)r.session_id;
	c->timeout_ms = r.timeout_ms;
	PK_ASSERT(r.password.len == 16);
	memcpy(c->password, r.password.data, 16);
	sim_stats(c->sim)->sessions++;
	c->state = CLIENT_CONNECTED;
	c->read_only = r.has_read_only && r.read_only;
	if (c->read_only && !c->asks_read_only)
		sim_violate(c->sim, "client %d: served read-only, and did not ask for it",
			    c->index);
	if (sim_record(c->sim) != NULL)
		record_session(sim_record(c->sim), c->index, c->session, c->server, HIST_CONNECTED,
			       c->timeout_ms,
			       c->read_only ||
				       model_session(sim_model(c->sim), c->session) == NULL);
	again_ids(c);
	again_watches(c);
	sim_call_at(c->sim, (int64_t)c->timeout_ms * SIM_MS / 12, timer, c, c->conn_number);
	set_state(c, CLIENT_CONNECTED, "connected");
}

/* ---- sending ---- */

static struct pk_buf *begin(struct client *c, int32_t op, int32_t xid, const char *path,
			    struct request **out)
{
	struct request *q = pk_alloc(sizeof(*q));

	PK_ASSERT(c->state == CLIENT_CONNECTED);
	q->op = op;
	q->xid = xid != 0 ? xid : c->next_xid++;
	q->path = pk_strdup(path != NULL ? path : "");
	q->floor = acked_most;
	q->call = ++c->calls;
	c->newest = q;
	STAILQ_INSERT_TAIL(&c->requests, q, link);
	c->outstanding++;
	sim_stats(c->sim)->requests++;
	pk_buf_clear(&c->out);
	zk_wr_int(&c->out, q->xid);
	zk_wr_int(&c->out, op);
	if (out != NULL)
		*out = q;
	return &c->out;
}

static void send_it(struct client *c)
{
	const struct request *q = c->newest;
	struct pk_bytes body = pk_bytes(c->out.data + 8, c->out.len - 8);
	struct zk_rd in = zk_rd(body);
	struct zk_auth_req auth;
	char who[80] = "";

	if (q->op == ZK_OP_AUTH && zk_auth_req_decode(&in, &auth) == 0) {
		if (pk_bytes_is(auth.auth, SIM_SUPER))
			snprintf(who, sizeof(who), "super:");
		else
			snprintf(who, sizeof(who), "digest:%.*s", (int)auth.auth.len,
				 auth.auth.data);
	}
	if (sim_record(c->sim) != NULL)
		record_invoke(sim_record(c->sim), c->index, q->call, c->session, q->xid, q->op,
			      body, who[0] != 0 ? pk_bytes_str(who) : PK_BYTES_NONE);
	c->sent_us = sim_now_us(c->sim);
	sim_conn_send(c->conn, pk_buf_bytes(&c->out));
}

static struct pk_bytes text(const char *t)
{
	return t != NULL ? pk_bytes_str(t) : PK_BYTES_NONE;
}

void client_create(struct client *c, int32_t op, const char *path, const char *data, int32_t mode)
{
	struct zk_create_req r = { text(path), text(data), zk_acls_open(), mode };

	zk_create_req_encode(begin(c, op, 0, path, NULL), &r);
	send_it(c);
}

void client_delete(struct client *c, const char *path, int32_t version)
{
	struct zk_delete_req r = { text(path), version };

	zk_delete_req_encode(begin(c, ZK_OP_DELETE, 0, path, NULL), &r);
	send_it(c);
}

void client_set(struct client *c, const char *path, const char *data, int32_t version)
{
	struct zk_set_data_req r = { text(path), text(data), version };

	zk_set_data_req_encode(begin(c, ZK_OP_SET_DATA, 0, path, NULL), &r);
	send_it(c);
}

void client_ask(struct client *c, int32_t op, const char *path, bool watch)
{
	struct request *q;
	struct pk_buf *b = begin(c, op, 0, path, &q);

	bool may = op == ZK_OP_EXISTS || op == ZK_OP_GET_DATA || op == ZK_OP_GET_CHILDREN ||
		   op == ZK_OP_GET_CHILDREN2;
	q->watch = may && watch;
	zk_wr_ustring(b, text(path));
	if (may)
		zk_wr_bool(b, watch);
	send_it(c);
}

void client_add_watch(struct client *c, const char *path, bool recursive)
{
	struct request *q;
	struct pk_buf *b = begin(c, ZK_OP_ADD_WATCH, 0, path, &q);
	struct zk_add_watch_req r = { text(path), recursive };

	q->mode = recursive;
	zk_add_watch_req_encode(b, &r);
	send_it(c);
}

void client_check_watches(struct client *c, int32_t op, const char *path, int32_t type)
{
	struct request *q;
	struct pk_buf *b = begin(c, op, 0, path, &q);
	struct zk_watches_req r = { text(path), type };

	q->mode = type;
	zk_watches_req_encode(b, &r);
	send_it(c);
}

void client_multi(struct client *c, int32_t op, struct pk_bytes body)
{
	struct request *q;

	pk_buf_add_bytes(begin(c, op, 0, NULL, &q), body);
	if (op == ZK_OP_MULTI_READ)
		pk_buf_add_bytes(&q->body, body);
	send_it(c);
}

void client_make(struct client *c, int32_t op, const struct zk_create_ttl_req *r)
{
	char *path = pk_strndup((const char *)r->path.data, r->path.len);
	struct pk_buf *b = begin(c, op, 0, path, NULL);

	if (op == ZK_OP_CREATE_TTL)
		zk_create_ttl_req_encode(b, r);
	else
		zk_create_req_encode(b,
				     &(struct zk_create_req){ r->path, r->data, r->acl, r->flags });
	free(path);
	send_it(c);
}

void client_set_acl(struct client *c, const char *path, struct zk_acls acl, int32_t version)
{
	struct zk_set_acl_req r = { text(path), acl, version };

	zk_set_acl_req_encode(begin(c, ZK_OP_SET_ACL, 0, path, NULL), &r);
	send_it(c);
}

void client_reconfig(struct client *c, const struct zk_reconfig_req *r)
{
	zk_reconfig_req_encode(begin(c, ZK_OP_RECONFIG, 0, NULL, NULL), r);
	send_it(c);
}

void client_whoami(struct client *c)
{
	begin(c, ZK_OP_WHOAMI, 0, NULL, NULL);
	send_it(c);
}

void client_delete_container(struct client *c, const char *path)
{
	struct zk_path_req r = { text(path) };

	zk_path_req_encode(begin(c, ZK_OP_DELETE_CONTAINER, 0, path, NULL), &r);
	send_it(c);
}

/* As real clients do: who they are goes before everything else on a new connection. */
static void again_ids(struct client *c)
{
	for (size_t i = 1; i < c->who.count; i++) {
		bool super = pk_bytes_is(c->ids[i].scheme, "super");
		struct zk_auth_req r = { 0, pk_bytes_str("digest"),
					 super ? pk_bytes_str(SIM_SUPER) : c->ids[i].id };

		zk_auth_req_encode(begin(c, ZK_OP_AUTH, ZK_XID_AUTH, NULL, NULL), &r);
		send_it(c);
	}
}

void client_identify(struct client *c, const char *auth)
{
	bool super = strcmp(auth, SIM_SUPER) == 0;

	PK_ASSERT(c->conn == NULL && c->who.count < CLIENT_IDS_MAX);
	c->ids[c->who.count++] = (struct txn_id){ pk_bytes_str(super ? "super" : "digest"),
						  pk_bytes_str(super ? "" : auth) };
}

void client_may_read_only(struct client *c, bool may)
{
	c->asks_read_only = may;
}

void client_ping(struct client *c)
{
	begin(c, ZK_OP_PING, ZK_XID_PING, NULL, NULL);
	send_it(c);
}

void client_auth(struct client *c, const char *scheme, const char *auth)
{
	struct zk_auth_req r = { 0, text(scheme), text(auth) };

	zk_auth_req_encode(begin(c, ZK_OP_AUTH, ZK_XID_AUTH, NULL, NULL), &r);
	send_it(c);
}

void client_end(struct client *c)
{
	begin(c, ZK_OP_CLOSE_SESSION, 0, NULL, NULL);
	c->asked_end = true;
	send_it(c);
}

void client_raw(struct client *c, int32_t op, struct pk_bytes body)
{
	struct request *q;

	pk_buf_add_bytes(begin(c, op, 0, NULL, &q), body);
	q->raw = true;
	send_it(c);
}

static void again_watches(struct client *c)
{
	bool two = watches_stay(c->watches) || c->zxid % 2 == 0;

	if (watches_count(c->watches) == 0)
		return;
	watches_again(c->watches, c->zxid, two,
		      begin(c, two ? ZK_OP_SET_WATCHES2 : ZK_OP_SET_WATCHES, ZK_XID_SET_WATCHES,
			    NULL, NULL));
	send_it(c);
}

/* ---- judging ---- */

static void bad(struct client *c, const struct request *q, const char *rule, uint64_t zxid,
		const char *fmt, ...) PK_PRINTF(5, 6);
static void bad(struct client *c, const struct request *q, const char *rule, uint64_t zxid,
		const char *fmt, ...)
{
	char why[300];
	va_list args;
	const char *name = zk_opcode_name(q->op);

	va_start(args, fmt);
	vsnprintf(why, sizeof(why), fmt, args);
	va_end(args);
	sim_violate(c->sim,
		    "%s client %d session %#" PRIx64 " server %d: %s %s xid %d zxid %#" PRIx64
		    ": %s",
		    rule, c->index, c->session, c->server, name != NULL ? name : "?", q->path,
		    q->xid, zxid, why);
}

static bool stat_same(const struct zk_stat *a, const struct zk_stat *b)
{
	struct pk_buf x = PK_BUF_INIT, y = PK_BUF_INIT;

	zk_wr_stat(&x, a);
	zk_wr_stat(&y, b);
	bool same = pk_bytes_eq(pk_buf_bytes(&x), pk_buf_bytes(&y));
	pk_buf_release(&x);
	pk_buf_release(&y);
	return same;
}

static bool is_write(int32_t op)
{
	return zk_opcode_class(op) == ZK_CLASS_WRITE;
}

/* A session that no log knows: a server keeps it by itself. */
static bool is_local(struct client *c)
{
	return model_session(sim_model(c->sim), c->session) == NULL;
}

/* Refused by its server before the log: no zxid is its own. */
static bool refused_here(struct client *c, const struct request *q, int32_t err)
{
	if (err == ZK_ESYSTEM) /* the disk is nearly full, there or at the leader */
		return true;
	if (err == ZK_EEPHEMERALONLOCALSESSION && q->op != ZK_OP_MULTI)
		return is_local(c);
	return q->op == ZK_OP_CLOSE_SESSION && err == 0 && is_local(c);
}

static void judge_write(struct client *c, const struct request *q, uint64_t zxid, int32_t err,
			struct pk_bytes body, uint64_t before)
{
	struct model *model = sim_model(c->sim);
	const struct model_op *m = model_op(model, zxid);
	int32_t type = q->op == ZK_OP_RECONFIG && m != NULL && m->type == TXN_CONFIG ? TXN_CONFIG
										     : q->op;

	if (m == NULL || m->session != c->session || m->xid != q->xid || m->type != type ||
	    m->deferred) {
		bad(c, q, "C3", zxid, "the log has %s there (session %#" PRIx64 " xid %d)",
		    m != NULL ? "another operation" : "none", m != NULL ? m->session : 0,
		    m != NULL ? m->xid : 0);
		return;
	}
	if (type != TXN_CONFIG && m->id_count != c->who.count)
		bad(c, q, "C3", zxid, "in the log with %zu of %zu identities", m->id_count,
		    c->who.count);
	if (m->err != err) {
		bad(c, q, "C3", zxid, "error %d, by the log it is %d", err, m->err);
		return;
	}
	if (zxid <= before)
		bad(c, q, "C1", zxid, "what was asked before it was answered with %#" PRIx64,
		    before);
	if (zxid <= q->floor)
		bad(c, q, "C4", zxid, "%#" PRIx64 " was acknowledged before it was sent", q->floor);
	if (zxid > acked_most)
		acked_most = zxid;
	sim_stats(c->sim)->acked++;
	if (!pk_bytes_eq(body, pk_buf_bytes(&m->reply)))
		bad(c, q, "C3", zxid, "the reply's %zu bytes are not the log's %zu", body.len,
		    m->reply.len);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void sorted_names(struct zk_strings names, struct pk_buf *out)
{
	char **all = pk_alloc((names.count + 1) * sizeof(*all));
	struct pk_bytes name;
	size_t n = 0;

	while (zk_strings_next(&names, &name))
		all[n++] = pk_strndup((const char *)name.data, name.len);
	qsort(all, n, sizeof(*all), by_text);
	for (size_t i = 0; i < n; i++) {
		pk_buf_printf(out, "%s ", all[i]);
		free(all[i]);
	}
	free(all);
}

struct ephemerals {
	struct model *m;
	const char *prefix;
	uint64_t session, zxid;
	char **all;
	size_t n;
};

static void ephemeral_one(void *arg, const char *path)
{
	struct ephemerals *e = arg;
	const struct model_node *n = model_get(e->m, path, e->zxid);

	if (n == NULL || n->stat.ephemeral_owner != (int64_t)e->session ||
	    strncmp(path, e->prefix, strlen(e->prefix)) != 0)
		return;
	e->all = pk_realloc(e->all, (e->n + 1) * sizeof(*e->all));
	e->all[e->n++] = pk_strdup(path);
}

static void judge_ephemerals(struct client *c, const struct request *q, uint64_t zxid,
			     struct zk_rd *in)
{
	struct ephemerals e = { sim_model(c->sim), q->path, c->session, zxid, NULL, 0 };
	struct pk_buf want = PK_BUF_INIT, got = PK_BUF_INIT;

	model_path_each(e.m, ephemeral_one, &e);
	if (e.n > 0)
		qsort(e.all, e.n, sizeof(*e.all), by_text);
	for (size_t i = 0; i < e.n; i++) {
		pk_buf_printf(&want, "%s ", e.all[i]);
		free(e.all[i]);
	}
	free(e.all);
	sorted_names(zk_rd_strings(in), &got);
	if (strcmp(pk_buf_str(&want), pk_buf_str(&got)) != 0)
		bad(c, q, "C5", zxid, "ephemerals %s, by the log %s", pk_buf_str(&got),
		    pk_buf_str(&want));
	pk_buf_release(&want);
	pk_buf_release(&got);
}

static void judge_names(struct client *c, const struct request *q, uint64_t zxid, const char *path,
			struct zk_strings names)
{
	struct pk_buf want = PK_BUF_INIT, got = PK_BUF_INIT;

	model_children(sim_model(c->sim), path, zxid, &want);
	sorted_names(names, &got);
	if (strcmp(pk_buf_str(&want), pk_buf_str(&got)) != 0)
		bad(c, q, "C5", zxid, "children of %s %s, by the log %s", path, pk_buf_str(&got),
		    pk_buf_str(&want));
	pk_buf_release(&want);
	pk_buf_release(&got);
}

static void judge_stat(struct client *c, const struct request *q, uint64_t zxid,
		       const struct zk_stat *stat, const struct model_node *n)
{
	if (!stat_same(&n->stat, stat))
		bad(c, q, "C5", zxid,
		    "stat cversion %d version %d children %d mzxid %#" PRIx64 " pzxid %#" PRIx64
		    ", by the log %d %d %d %#" PRIx64 " %#" PRIx64,
		    stat->cversion, stat->version, stat->num_children, (uint64_t)stat->mzxid,
		    (uint64_t)stat->pzxid, n->stat.cversion, n->stat.version, n->stat.num_children,
		    (uint64_t)n->stat.mzxid, (uint64_t)n->stat.pzxid);
}

static void judge_data(struct client *c, const struct request *q, uint64_t zxid,
		       struct pk_bytes data, const struct model_node *n)
{
	if (!pk_bytes_eq(data, pk_buf_bytes(&n->data)) || (data.data == NULL) != n->data_null)
		bad(c, q, "C5", zxid, "data %.*s, by the log %.*s", (int)data.len, data.data,
		    (int)n->data.len, n->data.data);
}

/* What a read of it is answered by the log. */
static int32_t read_err(struct client *c, const struct model_node *n, int32_t perms)
{
	if (n == NULL)
		return ZK_ENONODE;
	if (perms == 0 || acl_lets(pk_buf_bytes(&n->acl), perms, &c->who))
		return 0;
	return ZK_ENOAUTH;
}

static void judge_acl(struct client *c, const struct request *q, uint64_t zxid,
		      const struct model_node *n, struct zk_rd *in)
{
	struct pk_buf want = PK_BUF_INIT, got = PK_BUF_INIT;
	struct zk_stat stat;

	if (acl_lets(pk_buf_bytes(&n->acl), ZK_PERM_ADMIN, &c->who))
		pk_buf_add_bytes(&want, pk_buf_bytes(&n->acl));
	else
		acl_shown(pk_buf_bytes(&n->acl), &want);
	zk_wr_acls(&got, zk_rd_acls(in));
	if (!pk_bytes_eq(pk_buf_bytes(&want), pk_buf_bytes(&got)))
		bad(c, q, "C5", zxid, "another list than the log's");
	stat = zk_rd_stat(in);
	judge_stat(c, q, zxid, &stat, n);
	pk_buf_release(&want);
	pk_buf_release(&got);
}

static void judge_read(struct client *c, const struct request *q, uint64_t zxid, int32_t err,
		       struct zk_rd *in)
{
	struct model *model = sim_model(c->sim);
	const struct model_node *n = model_get(model, q->path, zxid);
	int32_t perms = q->op == ZK_OP_EXISTS    ? 0
			: q->op == ZK_OP_GET_ACL ? ZK_PERM_READ | ZK_PERM_ADMIN
						 : ZK_PERM_READ;
	struct zk_stat stat;

	if (q->op == ZK_OP_GET_EPHEMERALS) {
		judge_ephemerals(c, q, zxid, in);
		return;
	}
	if (err != read_err(c, n, perms)) {
		bad(c, q, "C5", zxid, "error %d, by the log %d", err, read_err(c, n, perms));
		return;
	}
	if (q->watch && (err == 0 || q->op == ZK_OP_EXISTS))
		watches_set(c->watches, q->path,
			    q->op == ZK_OP_GET_CHILDREN || q->op == ZK_OP_GET_CHILDREN2
				    ? WATCHED_CHILD
			    : err == 0 ? WATCHED_DATA
				       : WATCHED_EXIST);
	if (err != 0)
		return;
	switch (q->op) {
	case ZK_OP_GET_ACL:
		judge_acl(c, q, zxid, n, in);
		break;
	case ZK_OP_GET_ALL_CHILDREN_NUMBER:
		if ((uint64_t)zk_rd_int(in) != model_below(model, q->path, zxid))
			bad(c, q, "C5", zxid, "another number than the log's %" PRIu64,
			    model_below(model, q->path, zxid));
		break;
	case ZK_OP_GET_DATA:
		judge_data(c, q, zxid, zk_rd_buffer(in), n);
		break;
	case ZK_OP_GET_CHILDREN:
	case ZK_OP_GET_CHILDREN2:
		judge_names(c, q, zxid, q->path, zk_rd_strings(in));
		break;
	default: /* exists: the stat below is all */
		break;
	}
	if (q->op == ZK_OP_EXISTS || q->op == ZK_OP_GET_DATA || q->op == ZK_OP_GET_CHILDREN2) {
		stat = zk_rd_stat(in);
		judge_stat(c, q, zxid, &stat, n);
	}
	if (in->bad || in->in.len != 0)
		bad(c, q, "C5", zxid, "the reply is of another length");
}

static void judge_multi_read(struct client *c, const struct request *q, uint64_t zxid, int32_t err,
			     struct zk_rd *in)
{
	struct zk_rd asked = zk_rd(pk_buf_bytes(&q->body));
	struct zk_multi_op op = ZK_MULTI_OP_INIT;
	struct zk_multi_result r;

	if (err != 0)
		bad(c, q, "C5", zxid, "error %d", err);
	while (err == 0 && zk_multi_next(&asked, &op) == 1) {
		char *path = pk_strndup((const char *)op.u.read.path.data, op.u.read.path.len);
		const struct model_node *n = model_get(sim_model(c->sim), path, zxid);
		int32_t want = read_err(c, n, ZK_PERM_READ);

		if (zk_multi_result_next(in, &r) != 1 ||
		    (r.type == ZK_OP_ERROR ? r.err : 0) != want) {
			bad(c, q, "C5", zxid, "%s is answered otherwise than by the log", path);
			err = -1;
		} else if (want == 0 && op.type == ZK_OP_GET_DATA) {
			judge_data(c, q, zxid, r.u.get_data.data, n);
			judge_stat(c, q, zxid, &r.u.get_data.stat, n);
		} else if (want == 0) {
			judge_names(c, q, zxid, path, r.u.get_children.children);
		}
		free(path);
	}
	if (err == 0 && zk_multi_result_next(in, &r) != 0)
		bad(c, q, "C5", zxid, "more results than questions");
}

/* Without a name for the digest's password. */
static void judge_whoami(struct client *c, const struct request *q, uint64_t zxid, int32_t err,
			 struct zk_rd *in)
{
	struct zk_ids ids = zk_rd_ids(in);
	struct zk_id id;
	size_t i = 0;

	for (; err == 0 && zk_ids_next(&ids, &id); i++) {
		const struct txn_id *mine = i < c->who.count ? &c->ids[i] : NULL;
		const uint8_t *colon = mine != NULL && mine->id.len > 0
					       ? memchr(mine->id.data, ':', mine->id.len)
					       : NULL;
		size_t len = mine == NULL    ? 0
			     : colon != NULL ? (size_t)(colon - mine->id.data)
					     : mine->id.len;
		if (mine == NULL || !pk_bytes_eq(mine->scheme, id.scheme) ||
		    !pk_bytes_eq(pk_bytes(mine->id.data, len), id.id))
			bad(c, q, "C5", zxid, "identity %zu is another", i);
	}
	if (err != 0 || i != c->who.count)
		bad(c, q, "C5", zxid, "error %d, %zu identities of %zu", err, i, c->who.count);
}

/* What came is judged; then what the reply sets is set. */
static void judge(struct client *c, const struct request *q, uint64_t zxid, int32_t err,
		  struct pk_bytes body)
{
	struct zk_rd in = zk_rd(body);
	char why[300];

	if (q->op == ZK_OP_AUTH || (q->raw && (int64_t)zxid <= 0))
		return; /* no state was looked at */
	if (zxid < c->zxid)
		bad(c, q, "C2", zxid, "%#" PRIx64 " was seen before", c->zxid);
	if (zxid > model_zxid(sim_model(c->sim)))
		bad(c, q, "C2", zxid, "the log ends at %#" PRIx64, model_zxid(sim_model(c->sim)));
	uint64_t before = c->zxid;
	c->zxid = zxid;
	bool again = q->op == ZK_OP_SET_WATCHES2 || q->op == ZK_OP_SET_WATCHES;
	bool ok = again ? watches_set_again(c->watches, zxid, why)
			: watches_to(c->watches, zxid, why);
	if (!ok)
		bad(c, q, "C7", zxid, "%s", why);
	if (q->raw)
		return;
	if (c->read_only && (is_write(q->op) || q->op == ZK_OP_SYNC)) {
		/* its end is its server's affair, when the session is */
		if (err != ZK_ENOTREADONLY && !(q->op == ZK_OP_CLOSE_SESSION && err == 0))
			bad(c, q, "C3", zxid, "error %d in read-only mode", err);
	} else if (is_write(q->op) && refused_here(c, q, err)) {
		;
	} else if (is_write(q->op)) {
		judge_write(c, q, zxid, err, body, before);
	} else if (q->op == ZK_OP_SYNC) {
		if (err == 0 && zxid < q->floor)
			bad(c, q, "C6", zxid, "%#" PRIx64 " was acknowledged before", q->floor);
	} else if (q->op == ZK_OP_ADD_WATCH) {
		if (err != 0)
			bad(c, q, "C7", zxid, "error %d", err);
		watches_set(c->watches, q->path,
			    q->mode == 0 ? WATCHED_PERSISTENT : WATCHED_RECURSIVE);
	} else if (q->op == ZK_OP_REMOVE_WATCHES || q->op == ZK_OP_CHECK_WATCHES) {
		bool had = watches_has(c->watches, q->path, q->mode, q->op == ZK_OP_REMOVE_WATCHES);
		if (err != (had ? 0 : ZK_ENOWATCHER))
			bad(c, q, "C7", zxid, "error %d, and %s watch is there", err,
			    had ? "a" : "no");
	} else if (q->op == ZK_OP_MULTI_READ) {
		judge_multi_read(c, q, zxid, err, &in);
	} else if (q->op == ZK_OP_WHOAMI) {
		judge_whoami(c, q, zxid, err, &in);
	} else if (q->op != ZK_OP_PING && !again) {
		judge_read(c, q, zxid, err, &in);
	}
}

static void on_event(struct client *c, struct pk_bytes body)
{
	struct zk_rd in = zk_rd(body);
	struct zk_watcher_event e;
	char why[300];

	if (zk_watcher_event_decode(&in, &e) != 0) {
		sim_violate(c->sim, "client %d: an event of %zu bytes", c->index, body.len);
		return;
	}
	sim_stats(c->sim)->watch_events++;
	sim_say(c->sim, "client %d event %s %.*s", c->index, zk_event_name(e.type), (int)e.path.len,
		e.path.data);
	if (sim_record(c->sim) != NULL)
		record_watch(sim_record(c->sim), c->index, c->session, e.type, e.path);
	if (!watches_event(c->watches, e.type, e.path, why))
		sim_violate(c->sim, "C7 client %d: %s", c->index, why);
	c->owner.event(c->owner.owner, e.type, e.path);
}

/* A write that its server refuses, or ends a local session with, tells where the tree is: no zxid
 * is its own. */
static bool own_zxid(struct client *c, const struct request *q, int32_t err)
{
	return !is_write(q->op) || (!c->read_only && !refused_here(c, q, err));
}

static void on_frame(void *owner, struct pk_bytes body)
{
	struct client *c = owner;
	struct zk_rd in = zk_rd(body);
	struct zk_reply_header h;
	struct request *q = STAILQ_FIRST(&c->requests);

	c->heard_us = sim_now_us(c->sim);
	if (c->state == CLIENT_CONNECTING) {
		connected(c, body);
		return;
	}
	if (zk_reply_header_decode(&in, &h) != 0) {
		sim_violate(c->sim, "client %d: a reply of %zu bytes", c->index, body.len);
		return;
	}
	if (h.xid == ZK_XID_NOTIFICATION) {
		on_event(c, in.in);
		return;
	}
	if (q == NULL || q->xid != h.xid) {
		sim_violate(c->sim, "C1 client %d: a reply to %d, due is %d", c->index, h.xid,
			    q != NULL ? q->xid : 0);
		return;
	}
	sim_stats(c->sim)->replies++;
	sim_say(c->sim, "client %d reply %s %s xid %d zxid %#" PRIx64 " err %d%s mode %d", c->index,
		zk_opcode_name(q->op) != NULL ? zk_opcode_name(q->op) : "?", q->path, h.xid,
		(uint64_t)h.zxid, h.err, q->watch ? " watch" : "", q->mode);
	STAILQ_REMOVE_HEAD(&c->requests, link);
	c->outstanding--;
	if (sim_record(c->sim) != NULL)
		record_reply(sim_record(c->sim), c->index, q->call, c->session, q->xid, c->server,
			     q->op, own_zxid(c, q, h.err) && h.zxid > 0 ? (uint64_t)h.zxid : 0,
			     h.err, in.in);
	judge(c, q, (uint64_t)h.zxid, h.err, in.in);
	if (q->op == ZK_OP_CLOSE_SESSION && h.err == 0)
		c->closing = true;
	struct client_reply r = { .op = q->op,
				  .xid = q->xid,
				  .err = h.err,
				  .path = q->path,
				  .zxid = (uint64_t)h.zxid,
				  .body = in.in };
	c->owner.reply(c->owner.owner, &r);
	request_free(q);
}

/* ---- questions ---- */

void client_pings(struct client *c, bool on)
{
	c->pings = on;
}

void client_forget_session(struct client *c)
{
	PK_ASSERT(c->conn == NULL);
	c->session = c->zxid = 0;
	c->state = CLIENT_IDLE;
	c->closing = c->spoil = c->asked_end = false;
	c->next_xid = 1;
	memset(c->password, 0, sizeof(c->password));
	watches_free(c->watches);
	c->watches = watches_new(c->sim, &c->who);
}

enum client_state client_state(const struct client *c)
{
	return c->state;
}

uint64_t client_session(const struct client *c)
{
	return c->session;
}

int32_t client_timeout(const struct client *c)
{
	return c->timeout_ms;
}

int client_server(const struct client *c)
{
	return c->server;
}

struct sim_conn *client_wire(struct client *c)
{
	return c->conn;
}

size_t client_outstanding(const struct client *c)
{
	return c->outstanding;
}

uint64_t client_zxid(const struct client *c)
{
	return c->zxid;
}

void client_spoil_password(struct client *c, bool spoil)
{
	c->spoil = spoil;
}

void client_claim_zxid(struct client *c, uint64_t zxid)
{
	c->claimed = zxid;
}

int64_t client_quiet_since_us(const struct client *c)
{
	return c->sent_us;
}

size_t client_watches(const struct client *c)
{
	return watches_count(c->watches);
}
