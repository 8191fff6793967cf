#include "zkproto/client.h"

#include <stdio.h>

#include "zkproto/client_impl.h"
#include "zkproto/zk.h"

/* Invariants Z5 to Z9 are numbered in zkproto/README.md. */

const char *zkc_state_name(enum zkc_state state)
{
	switch (state) {
	case ZKC_CONNECTING:
		return "connecting";
	case ZKC_CONNECTED:
		return "connected";
	case ZKC_CONNECTED_READ_ONLY:
		return "connected-read-only";
	case ZKC_AUTH_FAILED:
		return "auth-failed";
	case ZKC_EXPIRED:
		return "expired";
	case ZKC_CLOSED:
		return "closed";
	}
	return "unknown";
}

static bool final(const struct zkc *c)
{
	return c->state >= ZKC_AUTH_FAILED;
}

/* The code of a request that meets the state the client is in. */
static int32_t loss_code(const struct zkc *c)
{
	switch (c->state) {
	case ZKC_AUTH_FAILED:
		return ZK_EAUTHFAILED;
	case ZKC_EXPIRED:
	case ZKC_CLOSED:
		return ZK_ESESSIONEXPIRED;
	case ZKC_CONNECTING:
	case ZKC_CONNECTED:
	case ZKC_CONNECTED_READ_ONLY:
		break;
	}
	return ZK_ECONNECTIONLOSS;
}

/* ---- life ---- */

#define DEFAULT(field, value)                                                                      \
	do {                                                                                       \
		if ((field) == 0)                                                                  \
			(field) = (value);                                                         \
	} while (0)

struct zkc *zkc_new(const struct zkc_config *cfg, struct pk_err *err)
{
	const char *chroot = cfg->chroot != NULL ? cfg->chroot : "";

	if (strcmp(chroot, "/") == 0)
		chroot = "";
	if (chroot[0] != 0 && !zk_path_valid(pk_bytes_str(chroot))) {
		pk_err_set(err, PK_EINVAL, "chroot %s: %s", chroot,
			   zk_path_fault_text(zk_path_check(pk_bytes_str(chroot), false)));
		return NULL;
	}
	if (cfg->server_count < 1 || cfg->server_count > ZKC_SERVERS_MAX) {
		pk_err_set(err, PK_EINVAL, "%u servers, want 1 to %u", cfg->server_count,
			   ZKC_SERVERS_MAX);
		return NULL;
	}
	if (cfg->timeout_ms < 0 || cfg->password.len > ZKC_PASSWORD_BYTES_MAX ||
	    (cfg->session_id != 0 && cfg->password.len == 0)) {
		pk_err_set(err, PK_EINVAL, "session timeout or password not valid");
		return NULL;
	}

	struct zkc *c = pk_alloc(sizeof(*c));
	c->cfg = *cfg;
	c->chroot = pk_strdup(chroot);
	c->cfg.chroot = c->chroot;
	DEFAULT(c->cfg.timeout_ms, ZKC_TIMEOUT_MS);
	DEFAULT(c->cfg.window_max, ZKC_WINDOW_MAX);
	DEFAULT(c->cfg.requests_max, ZKC_REQUESTS_MAX);
	DEFAULT(c->cfg.watches_max, ZKC_WATCHES_MAX);
	DEFAULT(c->cfg.queued_bytes_max, ZKC_QUEUED_BYTES_MAX);
	DEFAULT(c->cfg.request_bytes_max, ZKC_REQUEST_BYTES_MAX);
	DEFAULT(c->cfg.reply_bytes_max, ZKC_REPLY_BYTES_MAX);
	c->timeout_ms = c->cfg.timeout_ms;

	pk_rng_seed(&c->rng, cfg->seed);
	for (uint32_t i = 0; i < cfg->server_count; i++) {
		uint32_t j = (uint32_t)pk_rng_below(&c->rng, i + 1);

		c->order[i] = c->order[j];
		c->order[j] = i;
	}
	c->server_preferred = -1;
	c->probe_at_ms = INT64_MAX;
	c->close_deadline_ms = -1;
	c->retry_at_ms = INT64_MIN; /* at once */
	c->xid_next = 1;
	TAILQ_INIT(&c->waiting);
	TAILQ_INIT(&c->sent);
	TAILQ_INIT(&c->failed);
	zk_frame_init(&c->in, c->cfg.reply_bytes_max);

	c->session_id = cfg->session_id;
	c->last_zxid = cfg->last_zxid;
	c->seen_read_write = cfg->session_id != 0;
	c->password_bytes = cfg->password.len;
	if (cfg->password.len > 0)
		memcpy(c->password, cfg->password.data, cfg->password.len);
	c->cfg.password = PK_BYTES_NONE;
	return c;
}

static void request_free(struct request *q)
{
	pk_buf_release(&q->frame);
	free(q->path);
	free(q);
}

static void list_free(struct request_list *list)
{
	struct request *q;

	while ((q = TAILQ_FIRST(list)) != NULL) {
		TAILQ_REMOVE(list, q, link);
		request_free(q);
	}
}

void zkc_free(struct zkc *c)
{
	if (c == NULL)
		return;
	PK_ASSERT(c->inside == 0);
	list_free(&c->waiting);
	list_free(&c->sent);
	list_free(&c->failed);
	for (uint32_t i = 0; i < c->auth_count; i++) {
		free(c->auths[i].scheme);
		explicit_bzero(c->auths[i].data.data, c->auths[i].data.len);
		pk_buf_release(&c->auths[i].data);
	}
	zkc_watches_release(&c->watches);
	zk_frame_release(&c->in);
	pk_buf_release(&c->out);
	pk_buf_release(&c->sending);
	free(c->chroot);
	explicit_bzero(c->password, sizeof(c->password));
	free(c);
}

/* ---- requests: waiting, sent, failed ---- */

/* Will this request set a watch when it is answered? */
static bool promises_watch(const struct request *q)
{
	return q->path != NULL && q->opcode != ZK_OP_REMOVE_WATCHES;
}

void zkc_touch_(struct zkc *c)
{
	if (c->touched)
		return;
	c->touched = true;
	if (c->cfg.wake != NULL)
		c->cfg.wake(c->cfg.wake_owner);
}

void zkc_refuse_(struct zkc *c, struct request *q, int32_t err)
{
	q->err = err;
	pk_buf_release(&q->frame);
	TAILQ_INSERT_TAIL(&c->failed, q, link);
}

static void wait_push(struct zkc *c, struct request *q)
{
	q->frame_bytes = q->frame.len;
	TAILQ_INSERT_TAIL(&c->waiting, q, link);
	c->waiting_count++;
	c->waiting_bytes += q->frame_bytes;
	c->watches_promised += promises_watch(q);
}

static void wait_remove(struct zkc *c, struct request *q)
{
	TAILQ_REMOVE(&c->waiting, q, link);
	c->waiting_count--;
	c->waiting_bytes -= q->frame_bytes;
	c->watches_promised -= promises_watch(q);
}

static void sent_push(struct zkc *c, struct request *q)
{
	TAILQ_INSERT_TAIL(&c->sent, q, link);
	c->sent_count++;
	c->sent_bytes += q->frame_bytes;
	c->watches_promised += promises_watch(q);
}

static void sent_remove(struct zkc *c, struct request *q)
{
	TAILQ_REMOVE(&c->sent, q, link);
	c->sent_count--;
	c->sent_bytes -= q->frame_bytes;
	c->watches_promised -= promises_watch(q);
}

void zkc_enqueue_(struct zkc *c, struct request *q)
{
	bool full = c->waiting_count + c->sent_count >= c->cfg.requests_max ||
		    c->waiting_bytes + q->frame.len > c->cfg.queued_bytes_max;
	bool watches_full = promises_watch(q) &&
			    c->watches.count + c->watches_promised >= c->cfg.watches_max;

	if (final(c) || c->closing)
		zkc_refuse_(c, q, final(c) ? loss_code(c) : ZK_ESESSIONEXPIRED);
	else if (q->frame.len - 4 > c->cfg.request_bytes_max)
		zkc_refuse_(c, q, ZK_EBADARGUMENTS);
	else if (full || watches_full)
		zkc_refuse_(c, q, ZK_ETHROTTLEDOP);
	else
		wait_push(c, q);
}

static void finish_request(struct request *q, const struct zkc_result *r)
{
	if (q->done != NULL)
		q->done(q->owner, r);
	request_free(q);
}

/* Tell what failed up to now; what callbacks add to the list waits for the next step, so that a
 * callback that tries again and again cannot hold the loop. */
static void deliver_failed(struct zkc *c)
{
	struct request *last = TAILQ_LAST(&c->failed, request_list), *q;

	while (last != NULL) {
		q = TAILQ_FIRST(&c->failed);
		TAILQ_REMOVE(&c->failed, q, link);
		bool end = q == last;
		struct zkc_result r = { .err = q->err };
		finish_request(q, &r);
		if (end)
			break;
	}
}

/* ---- watches ---- */

static void tell(struct zkc *c, int32_t type, struct pk_bytes server_path)
{
	struct zkc_event event = { .type = type, .state = c->state };
	struct zkc_watch watch;

	if (server_path.len > 0)
		event.path = zkc_strip(c, server_path);
	while (zkc_watches_fire_next(&c->watches, &watch))
		watch.call(watch.owner, &event);
}

/* The kinds that a type of removeWatches takes off. */
static bool kind_in_type(enum watch_kind kind, int32_t type)
{
	switch (kind) {
	case WATCH_DATA:
	case WATCH_EXIST:
		return type == ZK_WATCHER_DATA || type == ZK_WATCHER_ANY;
	case WATCH_CHILD:
		return type == ZK_WATCHER_CHILDREN || type == ZK_WATCHER_ANY;
	case WATCH_PERSISTENT:
	case WATCH_RECURSIVE:
		return type == ZK_WATCHER_ANY;
	case WATCH_KINDS:
		break;
	}
	return false;
}

static int32_t removal_event(enum watch_kind kind)
{
	switch (kind) {
	case WATCH_DATA:
	case WATCH_EXIST:
		return ZK_EVENT_DATA_WATCH_REMOVED;
	case WATCH_CHILD:
		return ZK_EVENT_CHILD_WATCH_REMOVED;
	case WATCH_PERSISTENT:
	case WATCH_RECURSIVE:
	case WATCH_KINDS:
		break;
	}
	return ZK_EVENT_PERSISTENT_WATCH_REMOVED;
}

static const struct zkc_watch *removal_watch(const struct request *q)
{
	return q->watch.call != NULL ? &q->watch : NULL;
}

static bool removal_apply(struct zkc *c, struct request *q)
{
	bool found = false;

	for (int i = 0; i < WATCH_KINDS; i++) {
		enum watch_kind kind = (enum watch_kind)i;

		if (!kind_in_type(kind, q->watcher_type))
			continue;
		if (zkc_watches_remove(&c->watches, kind, pk_bytes_str(q->path), removal_watch(q)))
			found = true;
		tell(c, removal_event(kind), pk_bytes_str(q->path));
	}
	return found;
}

/* A removal that needs no server: there is nothing to remove, or others still watch the same path
 * so that the server's watch has to stay (it keeps one per path, whatever the type). */
static bool removal_is_local(struct zkc *c, const struct request *q)
{
	struct pk_bytes path = pk_bytes_str(q->path);
	bool found = false, others = false;

	for (int i = 0; i < WATCH_KINDS; i++) {
		enum watch_kind kind = (enum watch_kind)i;

		if (kind_in_type(kind, q->watcher_type)) {
			found |= zkc_watches_has(&c->watches, kind, path, removal_watch(q));
			others |= zkc_watches_others(&c->watches, kind, path, removal_watch(q));
		} else if (kind == WATCH_PERSISTENT || kind == WATCH_RECURSIVE) {
			others |= zkc_watches_has(&c->watches, kind, path, NULL);
		}
	}
	return !found || others;
}

/* The reply is here: set the watch that was asked for. */
static void watch_apply(struct zkc *c, struct request *q, int32_t err)
{
	struct pk_bytes path = pk_bytes_str(q->path);

	if (q->opcode == ZK_OP_REMOVE_WATCHES) {
		if (err == ZK_OK || err == ZK_ENOWATCHER)
			pk_ignore(removal_apply(c, q), "an event may have used it up meanwhile");
		return;
	}
	if (q->watch.call == NULL) /* its owner was forgotten */
		return;
	if (err == ZK_OK)
		zkc_watches_add(&c->watches, q->kind == WATCH_EXIST ? WATCH_DATA : q->kind, path,
				q->watch);
	else if (err == ZK_ENONODE && q->kind == WATCH_EXIST)
		zkc_watches_add(&c->watches, WATCH_EXIST, path, q->watch);
}

/* ---- the connection ---- */

static void set_state(struct zkc *c, enum zkc_state state)
{
	if (c->state == state)
		return;
	c->state = state;
	if (c->cfg.on_state != NULL)
		c->cfg.on_state(c->cfg.owner, state);
}

/* Forget the connection; what was to be sent on it is not. */
static void disconnect(struct zkc *c, const char *reason)
{
	if (c->conn_state == CONN_NONE)
		return;
	if (c->fx_connect) {
		c->fx_connect = false; /* nobody saw it yet */
	} else {
		c->fx_close = true;
		c->fx_close_conn = c->conn;
		snprintf(c->reason, sizeof(c->reason), "%s", reason);
	}
	c->conn_state = CONN_NONE;
	pk_buf_release(&c->out);
	zk_frame_release(&c->in);
	c->set_watches_awaited = 0;
	c->auths_awaited = 0;
	c->auths_sent = 0;
	c->sasl_steps = 0;
	c->probe_at_ms = INT64_MAX;
}

/* Everything that was asked, but not the end of the session that waits to be sent. */
static void fail_all(struct zkc *c, int32_t err)
{
	struct request *q, *next;

	while ((q = TAILQ_FIRST(&c->sent)) != NULL) {
		sent_remove(c, q);
		zkc_refuse_(c, q, err);
	}
	for (q = TAILQ_FIRST(&c->waiting); q != NULL; q = next) {
		next = TAILQ_NEXT(q, link);
		if (q->opcode == ZK_OP_CLOSE_SESSION && !final(c))
			continue;
		wait_remove(c, q);
		zkc_refuse_(c, q, err);
	}
}

/* A final state: everybody hears it, nothing follows. */
static void finish(struct zkc *c, enum zkc_state state, const char *reason)
{
	PK_ASSERT(!final(c));
	disconnect(c, reason);
	c->state = state; /* before callbacks, which may ask for more */
	fail_all(c, loss_code(c));
	deliver_failed(c);
	for (uint32_t i = 0; i < c->auth_count; i++) {
		zkc_done_f *done = c->auths[i].done;
		struct zkc_result r = { .err = loss_code(c) };

		c->auths[i].done = NULL;
		if (done != NULL)
			done(c->auths[i].owner, &r);
	}
	zkc_watches_drain(&c->watches);
	tell(c, ZK_EVENT_NONE, PK_BYTES_NONE);
	if (c->cfg.on_state != NULL)
		c->cfg.on_state(c->cfg.owner, state);
}

static void retry_later(struct zkc *c)
{
	uint32_t round = c->attempts / c->cfg.server_count;
	int64_t wait_ms = (int64_t)pk_rng_below(&c->rng, ZKC_RETRY_SPREAD_MS);

	if (round > 0) {
		int64_t base = ZKC_BACKOFF_MAX_MS;

		if (round <= 4 && (ZKC_BACKOFF_MIN_MS << (round - 1)) < base)
			base = ZKC_BACKOFF_MIN_MS << (round - 1);
		wait_ms = base / 2 + (int64_t)pk_rng_below(&c->rng, (uint64_t)base);
	}
	c->attempts++;
	c->retry_at_ms = c->now_ms + wait_ms;
}

/* The connection is lost, or given up; there will be another. */
static void drop(struct zkc *c, const char *reason)
{
	bool was_up = c->conn_state == CONN_UP;
	bool end_sent = false;
	struct request *q;

	TAILQ_FOREACH (q, &c->sent, link)
		end_sent |= q->opcode == ZK_OP_CLOSE_SESSION;
	disconnect(c, reason);
	if (end_sent) { /* very likely done; the session goes in its time otherwise */
		finish(c, ZKC_CLOSED, reason);
		return;
	}
	retry_later(c);
	if (!was_up)
		return;
	c->state = ZKC_CONNECTING; /* before callbacks, which may ask for more */
	fail_all(c, ZK_ECONNECTIONLOSS);
	deliver_failed(c);
	if (c->cfg.on_state != NULL && c->state == ZKC_CONNECTING)
		c->cfg.on_state(c->cfg.owner, ZKC_CONNECTING);
}

static void dial(struct zkc *c)
{
	int64_t wait_ms = c->timeout_ms / (int64_t)c->cfg.server_count;

	if (c->server_preferred >= 0)
		c->server = (uint32_t)c->server_preferred;
	else
		c->server = c->order[c->order_next++ % c->cfg.server_count];
	c->server_preferred = -1;
	c->conn++;
	c->conn_state = CONN_DIALING;
	c->dial_deadline_ms = c->now_ms + (wait_ms > ZKC_DIAL_MIN_MS ? wait_ms : ZKC_DIAL_MIN_MS);
	c->fx_connect = true;
}

static void out_frame(struct zkc *c, size_t at)
{
	zk_frame_end(&c->out, at);
	c->sent_ms = c->now_ms;
}

static void send_connect(struct zkc *c)
{
	static const uint8_t no_password[ZK_PASSWORD_BYTES];
	size_t at = zk_frame_begin(&c->out);
	struct zk_connect_req req = {
		.protocol_version = ZK_PROTOCOL_VERSION,
		.last_zxid_seen = c->last_zxid,
		.timeout_ms = c->cfg.timeout_ms,
		.password = pk_bytes(no_password, sizeof(no_password)),
		.has_read_only = true,
		.read_only = c->cfg.read_only,
	};

	/* A session that only a read-only server knows cannot be taken up elsewhere. */
	if (c->seen_read_write) {
		req.session_id = c->session_id;
		req.password = pk_bytes(c->password, c->password_bytes);
	}
	zk_connect_req_encode(&c->out, &req);
	out_frame(c, at);
	c->watch_zxid = c->last_zxid;
	c->conn_state = CONN_HANDSHAKE;
}

static void send_auths(struct zkc *c)
{
	for (; c->auths_sent < c->auth_count; c->auths_sent++) {
		const struct auth *a = &c->auths[c->auths_sent];
		size_t at = zk_frame_begin(&c->out);

		zk_req_header_encode(&c->out, &(struct zk_req_header){ ZK_XID_AUTH, ZK_OP_AUTH });
		zk_auth_req_encode(&c->out, &(struct zk_auth_req){ 0, pk_bytes_str(a->scheme),
								   pk_buf_bytes(&a->data) });
		out_frame(c, at);
		c->auths_awaited++;
	}
}

static int32_t next_xid(struct zkc *c)
{
	int32_t xid = c->xid_next;

	c->xid_next = xid == INT32_MAX ? 1 : xid + 1;
	return xid;
}

/* The session is there (and SASL is through): what it needs first, then what was asked. */
static void connection_up(struct zkc *c)
{
	bool read_only = c->conn_read_only;

	c->conn_state = CONN_UP;
	c->attempts = 0;
	c->connects++;
	send_auths(c);
	zkc_watches_encode(&c->watches, c->watch_zxid, ZKC_SET_WATCHES_BYTES_MAX, &c->out,
			   &c->set_watches_awaited);
	c->sent_ms = c->now_ms;
	c->probe_wait_ms = ZKC_PROBE_MIN_MS;
	c->probe_at_ms = read_only ? c->now_ms + c->probe_wait_ms : INT64_MAX;
	set_state(c, read_only ? ZKC_CONNECTED_READ_ONLY : ZKC_CONNECTED);
}

static void sasl_send(struct zkc *c, struct pk_bytes token)
{
	size_t at = zk_frame_begin(&c->out);

	c->sasl_xid = next_xid(c);
	zk_req_header_encode(&c->out, &(struct zk_req_header){ c->sasl_xid, ZK_OP_SASL });
	zk_sasl_req_encode(&c->out, &(struct zk_sasl_req){ token });
	out_frame(c, at);
}

/* rc and token are what start or step gave. */
static void sasl_go_on(struct zkc *c, int rc, struct pk_buf *token)
{
	if (rc < 0 || (rc > 0 && ++c->sasl_steps > ZKC_SASL_STEPS_MAX)) {
		finish(c, ZKC_AUTH_FAILED, "SASL: authentication failed");
	} else if (rc > 0) {
		pk_buf_reserve(token, 1); /* an empty token is not a null one */
		sasl_send(c, pk_buf_bytes(token));
		c->conn_state = CONN_SASL;
	} else {
		connection_up(c);
	}
	pk_buf_release(token);
}

static void on_connect_reply(struct zkc *c, struct pk_bytes body)
{
	struct zk_rd r = zk_rd(body);
	struct zk_connect_resp resp;

	/* A server that is read-only answers a client that cannot use it with a reply header, which
	 * is too short for this. */
	if (zk_connect_resp_decode(&r, &resp) != 0 || resp.password.len > ZKC_PASSWORD_BYTES_MAX) {
		drop(c, "the reply to connect makes no sense");
		return;
	}
	if (resp.timeout_ms <= 0) {
		finish(c, ZKC_EXPIRED, "session expired");
		return;
	}
	if (resp.session_id == 0 || (c->seen_read_write && resp.session_id != c->session_id)) {
		drop(c, "the server answers with another session");
		return;
	}
	c->conn_read_only = resp.has_read_only && resp.read_only;
	c->session_id = resp.session_id;
	c->timeout_ms = resp.timeout_ms;
	c->password_bytes = resp.password.len;
	if (resp.password.len > 0)
		memcpy(c->password, resp.password.data, resp.password.len);
	if (!c->conn_read_only)
		c->seen_read_write = true;
	if (c->cfg.sasl != NULL) {
		struct pk_buf token = PK_BUF_INIT;
		int rc = c->cfg.sasl->start(c->cfg.sasl_owner, c->server, &token);

		sasl_go_on(c, rc, &token);
		return;
	}
	connection_up(c);
}

static void on_sasl_reply(struct zkc *c, const struct zk_reply_header *header, struct zk_rd *r)
{
	struct pk_buf token = PK_BUF_INIT;
	struct zk_sasl_resp resp;

	if (header->err != ZK_OK) {
		finish(c, ZKC_AUTH_FAILED, "SASL: the server refused");
	} else if (zk_sasl_resp_decode(r, &resp) != 0) {
		drop(c, "the reply to sasl makes no sense");
	} else {
		int rc = c->cfg.sasl->step(c->cfg.sasl_owner, resp.token, &token);

		sasl_go_on(c, rc, &token);
	}
}

static void on_auth_reply(struct zkc *c, int32_t err)
{
	if (c->auths_awaited == 0) {
		drop(c, "an answer to auth that was not sent");
		return;
	}
	struct auth *a = &c->auths[c->auths_sent - c->auths_awaited];
	struct zkc_result r = { .err = err };
	zkc_done_f *done = a->done;

	c->auths_awaited--;
	a->done = NULL;
	if (done != NULL)
		done(a->owner, &r);
	if (err != ZK_OK)
		finish(c, ZKC_AUTH_FAILED, "authentication failed");
}

static void on_event(struct zkc *c, struct zk_rd *r)
{
	struct zk_watcher_event event;

	if (zk_watcher_event_decode(r, &event) != 0) {
		drop(c, "an event makes no sense");
		return;
	}
	if (event.path.len == 0 || event.path.data[0] != '/')
		return; /* about the state, which we know ourselves */
	zkc_watches_event(&c->watches, event.type, event.path);
	tell(c, event.type, event.path);
}

static void on_reply(struct zkc *c, const struct zk_reply_header *header, struct zk_rd *r)
{
	struct zkc_result result = { .err = header->err, .zxid = header->zxid };
	struct request *q = TAILQ_FIRST(&c->sent);
	struct zk_stat stat;

	if (q == NULL || q->xid != header->xid) { /* Z6 is the server's duty, too */
		drop(c, "a reply that is out of order");
		return;
	}
	bool sound = header->err != ZK_OK || zkc_result_parse_(c, q->opcode, r->in, &result, &stat);
	if (!sound)
		result = (struct zkc_result){ .err = ZK_EMARSHALLING };
	sent_remove(c, q);
	if (q->path != NULL && sound)
		watch_apply(c, q, result.err);
	bool end = q->opcode == ZK_OP_CLOSE_SESSION;
	finish_request(q, &result);
	c->end_confirmed |= end && sound && header->err == ZK_OK;
	if (end)
		finish(c, ZKC_CLOSED, "session closed");
	else if (!sound)
		drop(c, "a reply makes no sense");
}

static void on_frame(struct zkc *c, struct pk_bytes body)
{
	struct zk_rd r = zk_rd(body);
	struct zk_reply_header header;

	if (c->conn_state == CONN_HANDSHAKE) {
		on_connect_reply(c, body);
		return;
	}
	if (zk_reply_header_decode(&r, &header) != 0) {
		drop(c, "a reply without a header");
		return;
	}
	if (header.zxid > 0 && header.xid != ZK_XID_PING && header.zxid > c->last_zxid)
		c->last_zxid = header.zxid;
	if (header.xid == ZK_XID_NOTIFICATION) {
		on_event(c, &r);
	} else if (header.xid == ZK_XID_PING) {
		/* received_ms was all it is for */
	} else if (header.xid == ZK_XID_AUTH) {
		on_auth_reply(c, header.err);
	} else if (header.xid == ZK_XID_SET_WATCHES) {
		if (c->set_watches_awaited == 0 || header.err != ZK_OK)
			drop(c, "the server did not set the watches again");
		else
			c->set_watches_awaited--;
	} else if (c->conn_state == CONN_SASL && header.xid == c->sasl_xid) {
		on_sasl_reply(c, &header, &r);
	} else {
		on_reply(c, &header, &r);
	}
}

/* ---- sending ---- */

static void send_request(struct zkc *c, struct request *q)
{
	wait_remove(c, q);
	q->xid = next_xid(c);
	pk_put_be32(q->frame.data + 4, (uint32_t)q->xid);
	pk_buf_add_bytes(&c->out, pk_buf_bytes(&q->frame));
	pk_buf_release(&q->frame);
	c->sent_ms = c->now_ms;
	sent_push(c, q);
}

static void pump(struct zkc *c)
{
	struct request *q;

	if (c->conn_state != CONN_UP)
		return;
	send_auths(c);
	while (c->conn_state == CONN_UP && (q = TAILQ_FIRST(&c->waiting)) != NULL &&
	       c->sent_count < c->cfg.window_max &&
	       (c->sent_count == 0 || c->sent_bytes + q->frame_bytes <= ZKC_WINDOW_BYTES_MAX)) {
		if (q->opcode == ZK_OP_REMOVE_WATCHES && removal_is_local(c, q)) {
			/* Not before those that were asked earlier: they may be about to set it. */
			if (c->sent_count > 0)
				return;
			wait_remove(c, q);
			zkc_refuse_(c, q, removal_apply(c, q) ? ZK_OK : ZK_ENOWATCHER);
			continue;
		}
		send_request(c, q);
	}
}

static void send_ping(struct zkc *c)
{
	size_t at = zk_frame_begin(&c->out);

	zk_req_header_encode(&c->out, &(struct zk_req_header){ ZK_XID_PING, ZK_OP_PING });
	out_frame(c, at);
}

static int64_t ping_ms(const struct zkc *c)
{
	int64_t third = c->timeout_ms / 3;

	return third < ZKC_PING_MAX_MS ? third : ZKC_PING_MAX_MS;
}

static int64_t silence_ms(const struct zkc *c)
{
	return (int64_t)c->timeout_ms * 2 / 3;
}

/* ---- inputs ---- */

static void enter(struct zkc *c, int64_t now_ms)
{
	PK_ASSERT(c->inside == 0); /* Z5: inputs do not nest */
	c->inside++;
	if (now_ms > c->now_ms)
		c->now_ms = now_ms;
}

/* New requests get their time; those that waited too long for a connection fail. */
static void age_waiting(struct zkc *c)
{
	struct request *q;

	TAILQ_FOREACH_REVERSE(q, &c->waiting, request_list, link)
	{
		if (q->since_ms >= 0)
			break;
		q->since_ms = c->now_ms;
	}
	if (c->conn_state == CONN_UP)
		return;
	while ((q = TAILQ_FIRST(&c->waiting)) != NULL && q->opcode != ZK_OP_CLOSE_SESSION &&
	       c->now_ms - q->since_ms >= c->timeout_ms) {
		wait_remove(c, q);
		zkc_refuse_(c, q, ZK_ECONNECTIONLOSS);
	}
}

static void leave(struct zkc *c)
{
	c->touched = false;
	age_waiting(c);
	deliver_failed(c);
	pump(c);
	c->inside--;
}

static void close_step(struct zkc *c)
{
	if (c->close_deadline_ms < 0)
		c->close_deadline_ms = c->now_ms + ZKC_CLOSE_MS;
	if (c->session_id == 0 && c->conn_state < CONN_HANDSHAKE)
		finish(c, ZKC_CLOSED, "closed before there was a session");
	else if (c->now_ms >= c->close_deadline_ms)
		finish(c, ZKC_CLOSED, "closed without an answer from a server");
}

void zkc_step(struct zkc *c, int64_t now_ms)
{
	enter(c, now_ms);
	if (c->closing && !final(c))
		close_step(c);
	switch (c->conn_state) {
	case CONN_NONE:
		if (!final(c) && c->now_ms >= c->retry_at_ms)
			dial(c);
		break;
	case CONN_DIALING:
	case CONN_HANDSHAKE:
	case CONN_SASL:
		if (c->now_ms >= c->dial_deadline_ms)
			drop(c, "the server does not answer");
		break;
	case CONN_UP:
		if (c->now_ms - c->received_ms >= silence_ms(c)) {
			drop(c, "nothing came from the server for 2/3 of the session timeout");
			break;
		}
		if (c->now_ms - c->sent_ms >= ping_ms(c))
			send_ping(c);
		if (c->now_ms >= c->probe_at_ms && !c->probe_running) {
			c->fx_probe = c->probe_running = true;
			c->fx_probe_server = c->order[c->probe_next++ % c->cfg.server_count];
		}
		break;
	}
	leave(c);
}

void zkc_on_open(struct zkc *c, uint32_t conn, int64_t now_ms)
{
	enter(c, now_ms);
	if (conn == c->conn && c->conn_state == CONN_DIALING)
		send_connect(c);
	leave(c);
}

void zkc_on_bytes(struct zkc *c, uint32_t conn, struct pk_bytes in, int64_t now_ms)
{
	struct pk_err err = PK_ERR_INIT;
	struct pk_bytes body;
	int rc = 0;

	enter(c, now_ms);
	if (conn == c->conn && c->conn_state >= CONN_HANDSHAKE) {
		c->received_ms = c->now_ms;
		zk_frame_feed(&c->in, in);
		while (conn == c->conn && c->conn_state >= CONN_HANDSHAKE &&
		       (rc = zk_frame_next(&c->in, &body, &err)) == 1)
			on_frame(c, body);
		if (rc < 0 && c->conn_state >= CONN_HANDSHAKE)
			drop(c, err.text);
	}
	leave(c);
}

void zkc_on_closed(struct zkc *c, uint32_t conn, const char *reason, int64_t now_ms)
{
	enter(c, now_ms);
	if (conn == c->conn && c->conn_state != CONN_NONE) {
		drop(c, reason);
		c->fx_close = false; /* it is closed */
	}
	leave(c);
}

void zkc_on_probe(struct zkc *c, uint32_t server, bool read_write, int64_t now_ms)
{
	enter(c, now_ms);
	c->probe_running = false;
	if (c->conn_state == CONN_UP && c->state == ZKC_CONNECTED_READ_ONLY) {
		if (read_write) {
			drop(c, "a server that takes writes was found");
			c->server_preferred = server;
			c->retry_at_ms = c->now_ms;
		} else {
			c->probe_at_ms = c->now_ms + c->probe_wait_ms;
			c->probe_wait_ms *= 2;
			if (c->probe_wait_ms > ZKC_PROBE_MAX_MS)
				c->probe_wait_ms = ZKC_PROBE_MAX_MS;
		}
	}
	leave(c);
}

/* ---- effects ---- */

bool zkc_effect_next(struct zkc *c, struct zkc_effect *out)
{
	PK_ASSERT(c->inside == 0);
	*out = (struct zkc_effect){ .conn = c->conn };
	if (c->fx_close) {
		c->fx_close = false;
		out->type = ZKC_FX_CLOSE;
		out->conn = c->fx_close_conn;
		out->reason = c->reason;
		return true;
	}
	if (c->fx_connect) {
		c->fx_connect = false;
		out->type = ZKC_FX_CONNECT;
		out->server = c->server;
		return true;
	}
	if (c->fx_probe) {
		c->fx_probe = false;
		out->type = ZKC_FX_PROBE;
		out->server = c->fx_probe_server;
		return true;
	}
	pk_buf_release(&c->sending);
	if (c->out.len > 0) {
		PK_ASSERT(c->conn_state >= CONN_HANDSHAKE); /* Z7 */
		c->sending = c->out;
		c->out = PK_BUF_INIT;
		out->type = ZKC_FX_SEND;
		out->bytes = pk_buf_bytes(&c->sending);
		return true;
	}
	return false;
}

static void earlier(int64_t *at, int64_t than)
{
	if (than < *at)
		*at = than;
}

int64_t zkc_deadline_ms(const struct zkc *c)
{
	const struct request *first = TAILQ_FIRST(&c->waiting);
	int64_t at = INT64_MAX;

	if (c->touched || !TAILQ_EMPTY(&c->failed))
		return INT64_MIN;
	if (final(c))
		return at;
	if (c->closing)
		earlier(&at, c->close_deadline_ms);
	switch (c->conn_state) {
	case CONN_NONE:
		earlier(&at, c->retry_at_ms);
		break;
	case CONN_DIALING:
	case CONN_HANDSHAKE:
	case CONN_SASL:
		earlier(&at, c->dial_deadline_ms);
		break;
	case CONN_UP:
		earlier(&at, c->received_ms + silence_ms(c));
		earlier(&at, c->sent_ms + ping_ms(c));
		if (!c->probe_running)
			earlier(&at, c->probe_at_ms);
		return at;
	}
	if (first != NULL && first->opcode != ZK_OP_CLOSE_SESSION)
		earlier(&at, first->since_ms + c->timeout_ms);
	return at;
}

/* ---- the calls that are no requests ---- */

void zkc_info(const struct zkc *c, struct zkc_info *out)
{
	*out = (struct zkc_info){
		.state = c->state,
		.session_id = c->session_id,
		.password = pk_bytes(c->password, c->password_bytes),
		.timeout_ms = c->timeout_ms,
		.last_zxid = c->last_zxid,
		.server = c->server,
		.requests_waiting = c->waiting_count,
		.requests_sent = c->sent_count,
		.watches = c->watches.count,
		.connects = c->connects,
		.end_confirmed = c->end_confirmed,
	};
}

void zkc_add_auth(struct zkc *c, const char *scheme, struct pk_bytes auth, zkc_done_f *done,
		  void *owner)
{
	zkc_touch_(c);
	if (final(c) || c->closing || c->auth_count == ZKC_AUTHS_MAX ||
	    auth.len > ZKC_AUTH_BYTES_MAX) {
		struct request *q = pk_alloc(sizeof(*q));

		q->opcode = ZK_OP_AUTH;
		q->done = done;
		q->owner = owner;
		zkc_refuse_(c, q, final(c) || c->closing ? ZK_ESESSIONEXPIRED : ZK_ETHROTTLEDOP);
		return;
	}
	struct auth *a = &c->auths[c->auth_count++];
	a->scheme = pk_strdup(scheme);
	pk_buf_reserve(&a->data, auth.len + 1); /* empty is not null */
	pk_buf_add_bytes(&a->data, auth);
	a->done = done;
	a->owner = owner;
}

void zkc_close(struct zkc *c)
{
	if (c->closing || final(c))
		return;
	struct request *q = pk_alloc(sizeof(*q));

	zkc_touch_(c);
	c->closing = true;
	q->opcode = ZK_OP_CLOSE_SESSION;
	q->since_ms = -1;
	zk_frame_begin(&q->frame);
	zk_req_header_encode(&q->frame, &(struct zk_req_header){ 0, ZK_OP_CLOSE_SESSION });
	zk_frame_end(&q->frame, 0);
	wait_push(c, q); /* over any limit: there is one only */
}

static void list_forget(struct request_list *list, const void *owner)
{
	struct request *q;

	TAILQ_FOREACH (q, list, link) {
		if (q->owner == owner)
			q->done = NULL;
		if (q->path != NULL && q->watch.call != NULL && q->watch.owner == owner) {
			q->watch.call = NULL;
			q->watcher_type = 0; /* a removal of nothing, not of all */
		}
	}
}

void zkc_forget(struct zkc *c, const void *owner)
{
	list_forget(&c->waiting, owner);
	list_forget(&c->sent, owner);
	list_forget(&c->failed, owner);
	for (uint32_t i = 0; i < c->auth_count; i++)
		if (c->auths[i].owner == owner)
			c->auths[i].done = NULL;
	zkc_watches_forget(&c->watches, owner);
}

static void list_silence(struct request_list *list)
{
	struct request *q;

	TAILQ_FOREACH (q, list, link) {
		q->done = NULL;
		q->watch.call = NULL;
		q->watcher_type = 0;
	}
}

void zkc_silence(struct zkc *c)
{
	list_silence(&c->waiting);
	list_silence(&c->sent);
	list_silence(&c->failed);
	for (uint32_t i = 0; i < c->auth_count; i++)
		c->auths[i].done = NULL;
	zkc_watches_release(&c->watches);
	c->cfg.on_state = NULL;
}

void zkc_check(const struct zkc *c)
{
	size_t count = 0, bytes = 0, promised = 0;
	const struct request *q;

	TAILQ_FOREACH (q, &c->waiting, link) {
		PK_ASSERT(q->frame.len == q->frame_bytes && q->frame_bytes >= 12);
		count++;
		bytes += q->frame_bytes;
		promised += promises_watch(q);
	}
	PK_ASSERT(count == c->waiting_count && bytes == c->waiting_bytes);
	count = bytes = 0;
	TAILQ_FOREACH (q, &c->sent, link) {
		PK_ASSERT(q->xid > 0);
		count++;
		bytes += q->frame_bytes;
		promised += promises_watch(q);
	}
	PK_ASSERT(count == c->sent_count && bytes == c->sent_bytes);
	PK_ASSERT(promised == c->watches_promised);
	PK_ASSERT(count <= c->cfg.window_max);
	/* Z8: requests are sent on an established session only. */
	PK_ASSERT(c->sent_count == 0 || c->conn_state == CONN_UP);
	PK_ASSERT((c->state == ZKC_CONNECTED || c->state == ZKC_CONNECTED_READ_ONLY) ==
		  (c->conn_state == CONN_UP));
	/* Z9: a final state keeps nothing. */
	if (final(c))
		PK_ASSERT(c->conn_state == CONN_NONE && c->waiting_count == 0 &&
			  c->watches.count == 0);
	PK_ASSERT(c->out.len == 0 || c->conn_state >= CONN_HANDSHAKE); /* Z7 */
	zkc_watches_check(&c->watches);
}
