#include <inttypes.h>

#include "base/log.h"
#include "base/mutant.h"
#include "store/server_int.h"
#include "zkproto/record.h"

#define REPLY_HEADER_BYTES 20 /* frame length, xid, zxid, err */

void conn_unref(struct conn *c)
{
	PK_ASSERT(c->refs > 0);
	if (--c->refs == 0 && c->gone) {
		c->magic = 0;
		free(c);
	}
}

/* ---- what goes out ---- */

static void out_forget(struct conn *c)
{
	PK_ASSERT(c->server->out_total >= c->out_bytes);
	c->server->out_total -= c->out_bytes;
	c->out_bytes = 0;
}

static bool out_full(const struct server *s)
{
	return s->out_total > s->cfg.out_total_max;
}

void conn_send(struct conn *c, struct pk_bytes frame)
{
	if (c->state == CONN_CLOSED)
		return;
	size_t waiting = c->server->out.send(c->io, frame);

	c->stats.sent++;
	c->server->stats.packets_sent++;
	if (waiting > CONN_OUT_COUNTED) {
		c->server->out_total += waiting - c->out_bytes;
		c->out_bytes = waiting;
	}
	if (waiting > c->server->cfg.out_bytes_max && !c->blocked) {
		c->blocked = true;
		pk_counter_add(c->server->metrics, M_PADDOCK_REPLY_QUEUE_PAUSES, 1);
		conn_flow(c);
	}
}

/* Start a reply in the scratch frame; the body is appended to what it returns. */
static struct pk_buf *reply_begin(struct conn *c)
{
	struct pk_buf *f = &c->server->frame;

	pk_buf_clear(f);
	pk_buf_grow(f, REPLY_HEADER_BYTES);
	return f;
}

static void count_latency(struct conn *c, const struct req *q)
{
	struct server *s = c->server;
	int64_t us = server_clock_us(s) - q->at_us;

	if (us < 0) /* a test's clock */
		us = 0;
	if (s->stats.latency_count == 0 || us < s->stats.latency_min_us)
		s->stats.latency_min_us = us;
	if (us > s->stats.latency_max_us)
		s->stats.latency_max_us = us;
	s->stats.latency_sum_us += (uint64_t)us;
	s->stats.latency_count++;
	if (c->stats.count_latency == 0 || us < c->stats.min_latency_us)
		c->stats.min_latency_us = us;
	if (us > c->stats.max_latency_us)
		c->stats.max_latency_us = us;
	c->stats.sum_latency_us += (uint64_t)us;
	c->stats.count_latency++;
	c->stats.last_latency_us = us;
	count_latency_us(s, q->kind == REQ_WRITE, us);
	c->stats.last_response_ms = s->now_ms;
	c->stats.last_op = q->op;
	if (q->xid >= 0) /* not a ping, nor the setting of watches */
		c->stats.last_xid = q->xid;
}

static void count_reply(struct server *s, size_t frame_bytes)
{
	int64_t bytes = (int64_t)frame_bytes - 4;

	pk_counter_add(s->metrics, M_RESPONSE_BYTES, (int64_t)frame_bytes);
	s->stats.reply_last = bytes;
	if (s->stats.reply_min < 0 || bytes < s->stats.reply_min)
		s->stats.reply_min = bytes;
	if (bytes > s->stats.reply_max)
		s->stats.reply_max = bytes;
}

static void reply_end(struct conn *c, const struct req *q, uint64_t zxid, int32_t err)
{
	struct server *s = c->server;
	struct pk_buf *f = &s->frame;

	pk_put_be32(f->data, (uint32_t)(f->len - 4));
	pk_put_be32(f->data + 4, (uint32_t)q->xid);
	pk_put_be64(f->data + 8, zxid);
	pk_put_be32(f->data + 16, (uint32_t)err);
	c->stats.last_zxid = zxid;
	count_latency(c, q);
	count_reply(s, f->len);
	conn_send(c, pk_buf_bytes(f));
}

static void reply_error(struct conn *c, const struct req *q, uint64_t zxid, int32_t err)
{
	reply_begin(c);
	reply_end(c, q, zxid, err);
}

static uint64_t last_zxid(const struct conn *c)
{
	return tree_meta(c->server->tree)->zxid;
}

void conn_tell(void *owner, int32_t event, struct pk_bytes path, void *arg)
{
	struct conn *c = owner;
	struct server *s = arg;
	struct pk_buf *f = &s->event_frame;

	PK_ASSERT(c->magic == CONN_MAGIC);
	if (s->event_acl.len > 0 && (s->cfg.txn_flags & TXN_SKIP_ACL) == 0 &&
	    !tree_acl_allows(s->event_acl, ZK_PERM_READ, c->ids, c->id_count))
		return;
	if (f->len == 0) { /* the same bytes for everyone who is told of it */
		struct zk_watcher_event e = { .type = event,
					      .state = ZK_STATE_CONNECTED,
					      .path = path };

		pk_buf_grow(f, 4);
		pk_buf_add_be32(f, (uint32_t)ZK_XID_NOTIFICATION);
		pk_buf_add_be64(f, (uint64_t)-1);
		pk_buf_add_be32(f, 0);
		zk_watcher_event_encode(f, &e);
		pk_put_be32(f->data, (uint32_t)(f->len - 4));
	}
	pk_counter_add(s->metrics, M_WATCH_BYTES, (int64_t)f->len);
	conn_send(c, pk_buf_bytes(f));
}

/* ---- the queue of one connection ---- */

static struct req *ring_at(struct conn *c, uint32_t i)
{
	PK_ASSERT(i < c->ring_count);
	return &c->ring[(c->ring_head + i) & (c->ring_cap - 1)];
}

static void ring_push(struct conn *c, const struct req *q)
{
	if (c->ring_count == c->ring_cap) {
		uint32_t cap = c->ring_cap > 0 ? c->ring_cap * 2 : 4;
		struct req *ring = pk_alloc(cap * sizeof(*ring));

		for (uint32_t i = 0; i < c->ring_count; i++)
			ring[i] = *ring_at(c, i);
		free(c->ring);
		c->ring = ring;
		c->ring_cap = cap;
		c->ring_head = 0;
	}
	c->ring[(c->ring_head + c->ring_count++) & (c->ring_cap - 1)] = *q;
	pk_summary_record(c->server->metrics, M_REQUESTS_IN_SESSION_QUEUE, c->ring_count);
	c->ring_bytes += q->len;
	c->server->outstanding++;
	c->server->large_bytes += q->large;
}

static struct req ring_pop(struct conn *c)
{
	struct req q = *ring_at(c, 0);

	c->ring_head++;
	c->ring_count--;
	c->ring_bytes -= q.len;
	PK_ASSERT(c->server->outstanding > 0 && c->server->large_bytes >= q.large);
	c->server->outstanding--;
	c->server->large_bytes -= q.large;
	if (c->ring_count == 0 &&
	    c->ring_cap > 64) { /* a burst is over: idle connections stay small */
		free(c->ring);
		c->ring = NULL;
		c->ring_cap = c->ring_head = 0;
	}
	return q;
}

static void ring_clear(struct conn *c)
{
	while (c->ring_count > 0)
		free(ring_pop(c).body);
	free(c->ring);
	c->ring = NULL;
	c->ring_cap = c->ring_head = 0;
}

static void conn_unblock(struct conn *c);

/* Should reading from it pause? Tell the shell when that changed. */
void conn_flow(struct conn *c)
{
	struct server *s = c->server;

	if (c->state == CONN_CLOSED)
		return;
	/* Only of those who have requests waiting: their own answers wake them again
	 * (ZooKeeperServer.shouldThrottle). */
	bool crowd = s->cfg.outstanding_max > 0 && s->outstanding > s->cfg.outstanding_max &&
		     c->ring_count > 0;
	size_t most = c->paused ? CONN_QUEUE_MAX / 2 : CONN_QUEUE_MAX;
	bool pause = c->state == CONN_JOINING || c->blocked || c->deferred ||
		     c->ring_count >= most || c->ring_bytes + c->held.len >= CONN_QUEUE_BYTES_MAX ||
		     s->backlog_bytes > s->cfg.backlog_bytes_max || crowd || s->draining;

	if (pause != c->paused) {
		c->paused = pause;
		if (pause && c->state == CONN_OPEN && !c->blocked)
			pk_counter_add(c->server->metrics, M_REQUEST_THROTTLE_WAIT_COUNT, 1);
		c->server->out.pause(c->io, pause);
	}
}

static void state_set(struct conn *c, enum conn_state state)
{
	PK_ASSERT(state != CONN_NEW);
	if (c->state == CONN_NEW)
		TAILQ_REMOVE(&c->server->new_conns, c, new_link);
	c->state = state;
}

void conn_close(struct conn *c, bool flush, const char *reason)
{
	struct server *s = c->server;

	if (c->state == CONN_CLOSED)
		return;
	if (c->state == CONN_OPEN)
		HASH_DELETE(hh, s->by_session, c);
	state_set(c, CONN_CLOSED);
	watcher_drop(s->watches, &c->watcher);
	ring_clear(c);
	pk_buf_release(&c->held);
	if (!flush)
		out_forget(c);
	s->out.close(c->io, flush, reason);
}

void server_conn_close(struct conn *c, const char *reason)
{
	conn_close(c, true, reason);
}

void conns_close_all(struct server *s, const char *reason)
{
	struct conn *c;

	TAILQ_FOREACH (c, &s->conns, link)
		conn_close(c, true, reason);
}

struct conn *conn_of_session(struct server *s, uint64_t session_id)
{
	struct conn *c;

	HASH_FIND(hh, s->by_session, &session_id, sizeof(session_id), c);
	return c;
}

static void touch(struct conn *c)
{
	struct server *s = c->server;

	if (c->gen == TXN_GEN_LOCAL) {
		local_touch(c);
		return;
	}
	if (c->touched || c->read_only)
		return;
	c->touched = true;
	if (s->touched_count == s->touched_cap) {
		s->touched_cap = s->touched_cap > 0 ? s->touched_cap * 2 : 64;
		s->touched = pk_realloc(s->touched, s->touched_cap * sizeof(*s->touched));
	}
	s->touched[s->touched_count++] = c->session_id;
}

/* ---- reads, at the head of the queue ---- */

static void whoami(struct conn *c, struct pk_buf *out)
{
	pk_buf_add_be32(out, (uint32_t)c->id_count);
	for (size_t i = 0; i < c->id_count; i++) {
		struct pk_bytes user = c->ids[i].id;

		/* Only the name of a digest user, as AuthUtil.getUser */
		if (pk_bytes_is(c->ids[i].scheme, "digest")) {
			const uint8_t *colon = memchr(user.data, ':', user.len);
			if (colon != NULL)
				user.len = (size_t)(colon - user.data);
		}
		if (user.data == NULL) /* super has an empty name, not none */
			user = pk_bytes_str("");
		zk_wr_ustring(out, c->ids[i].scheme);
		zk_wr_ustring(out, user);
	}
}

static void answer(struct conn *c, const struct req *q, struct pk_bytes body)
{
	struct server *s = c->server;
	struct pk_buf *f = reply_begin(c);
	struct tree_read r = { .out = f };

	switch (q->op) {
	case ZK_OP_PING:
		break;
	case ZK_OP_CLOSE_SESSION: /* of a local session */
		local_end(s, c->session_id);
		reply_end(c, q, last_zxid(c), 0);
		conn_close(c, true, "the session ended");
		return;
	case ZK_OP_SYNC: { /* its place in the log was the answer; the path comes back */
		struct zk_rd in = zk_rd(body);
		struct zk_path_req p;
		if (zk_path_req_decode(&in, &p) != 0)
			r.err = ZK_EMARSHALLING;
		else
			zk_wr_ustring(f, p.path);
		break;
	}
	case ZK_OP_WHOAMI:
		whoami(c, f);
		break;
	case ZK_OP_SET_WATCHES:
	case ZK_OP_SET_WATCHES2:
	case ZK_OP_ADD_WATCH:
	case ZK_OP_REMOVE_WATCHES:
	case ZK_OP_CHECK_WATCHES: {
		/* events may be told on the way, each in its own frame */
		struct pk_buf own = PK_BUF_INIT;
		r.err = watch_request(c, q->op, body, &own);
		f = reply_begin(c);
		pk_buf_add_bytes(f, pk_buf_bytes(&own));
		pk_buf_release(&own);
		break;
	}
	default:
		tree_read(s->tree, q->op, body, c->session_id, c->ids, c->id_count,
			  (s->cfg.txn_flags & TXN_SKIP_ACL) != 0, s->cfg.response_bytes_max, &r);
		watch_from_read(c, &r);
		break;
	}
	if (r.err != 0 && q->op != ZK_OP_MULTI_READ)
		f->len = REPLY_HEADER_BYTES;
	else
		count_read(s, q->op, body, f->len - REPLY_HEADER_BYTES);
	reply_end(c, q, last_zxid(c), r.err);
}

/* No more for anyone until those who do not read were dealt with, at the end of this turn. */
static bool starve(struct conn *c)
{
	if (!out_full(c->server))
		return false;
	c->blocked = c->starved = c->server->starving = true;
	return true;
}

void conns_shed(struct server *s)
{
	while (out_full(s)) {
		struct conn *c, *slowest = NULL;

		TAILQ_FOREACH (c, &s->conns, link)
			if (c->out_bytes > 0 &&
			    (slowest == NULL || c->out_bytes > slowest->out_bytes))
				slowest = c;
		if (slowest == NULL)
			break;
		s->stats.slow_readers_closed++;
		if (slowest->state == CONN_CLOSED) { /* it was to take the rest first */
			out_forget(slowest);
			s->out.close(slowest->io, false, "it does not read its replies");
		} else {
			conn_close(slowest, false, "it does not read its replies");
		}
	}
	if (!s->starving)
		return;
	s->starving = false;
	struct conn *c, *next;
	for (c = TAILQ_FIRST(&s->conns); c != NULL; c = next) {
		next = TAILQ_NEXT(c, link);
		if (!c->starved)
			continue;
		c->starved = false;
		if (c->out_bytes <= s->cfg.out_bytes_max)
			conn_unblock(c);
	}
}

/* Answer what stands at the head and needs nothing from the log. */
static void drain(struct conn *c, bool even_if_blocked)
{
	while (c->state == CONN_OPEN && c->ring_count > 0 && (even_if_blocked || !c->blocked)) {
		enum req_kind kind = ring_at(c, 0)->kind;

		if (kind == REQ_WRITE || kind == REQ_SYNC)
			break;
		if (even_if_blocked && c->blocked && /* what comes behind cannot wait */
		    (out_full(c->server) || c->out_bytes > 2 * c->server->cfg.out_bytes_max)) {
			c->server->stats.slow_readers_closed++;
			conn_close(c, false, "it does not read its replies");
			break;
		}
		if (!even_if_blocked && kind == REQ_READ && starve(c))
			break;
		struct req q = ring_pop(c);
		if (kind == REQ_READ) {
			pk_summary_record(c->server->metrics, M_READ_COMMITPROC_TIME_MS,
					  (server_clock_us(c->server) - q.at_us) / 1000);
			answer(c, &q, pk_bytes(q.body, q.len));
		} else
			reply_error(c, &q, last_zxid(c), (int32_t)q.seq);
		free(q.body);
	}
}

/* ---- requests ---- */

enum op_class { OP_READ, OP_WRITE, OP_SYNC, OP_CLOSE, OP_UNKNOWN };

static enum op_class op_class(int32_t op)
{
	switch (op) {
	case ZK_OP_CREATE:
	case ZK_OP_CREATE2:
	case ZK_OP_CREATE_CONTAINER:
	case ZK_OP_CREATE_TTL:
	case ZK_OP_DELETE:
	case ZK_OP_DELETE_CONTAINER:
	case ZK_OP_SET_DATA:
	case ZK_OP_SET_ACL:
	case ZK_OP_CHECK:
	case ZK_OP_MULTI:
	case ZK_OP_RECONFIG:
		return OP_WRITE;
	case ZK_OP_SYNC:
		return OP_SYNC;
	case ZK_OP_CLOSE_SESSION:
		return OP_CLOSE;
	case ZK_OP_EXISTS:
	case ZK_OP_GET_DATA:
	case ZK_OP_GET_ACL:
	case ZK_OP_GET_CHILDREN:
	case ZK_OP_GET_CHILDREN2:
	case ZK_OP_PING:
	case ZK_OP_MULTI_READ:
	case ZK_OP_GET_EPHEMERALS:
	case ZK_OP_GET_ALL_CHILDREN_NUMBER:
	case ZK_OP_SET_WATCHES:
	case ZK_OP_SET_WATCHES2:
	case ZK_OP_ADD_WATCH:
	case ZK_OP_REMOVE_WATCHES:
	case ZK_OP_CHECK_WATCHES:
	case ZK_OP_WHOAMI:
		return OP_READ;
	default: /* whatever a client may send */
		return OP_UNKNOWN;
	}
}

static bool add_id(struct conn *c, struct pk_bytes scheme, struct pk_bytes id)
{
	for (size_t i = 0; i < c->id_count; i++)
		if (pk_bytes_eq(c->ids[i].scheme, scheme) && pk_bytes_eq(c->ids[i].id, id))
			return true;
	if (c->id_count == CONN_IDS_MAX)
		return false;
	c->ids[c->id_count++] = (struct txn_id){
		.scheme = pk_bytes(pk_memdup(scheme.data, scheme.len), scheme.len),
		.id = pk_bytes(pk_memdup(id.data, id.len), id.len)
	};
	return true;
}

static bool scheme_counts(const struct conn *c, struct pk_bytes scheme)
{
	const char *at = c->server->cfg.auth_schemes;

	if (at == NULL || *at == 0)
		return true;
	while (*at != 0) {
		at += strspn(at, ", \t");
		size_t len = strcspn(at, ", \t");
		if (len > 0 && pk_bytes_eq(pk_bytes(at, len), scheme))
			return true;
		at += len;
	}
	return false;
}

/* What a login gave; false when there is no room for it. */
static bool add_result(struct conn *c, const struct server_auth_result *r)
{
	for (size_t i = 0; i < r->count; i++) {
		struct pk_bytes scheme = pk_bytes_str(r->ids[i].scheme);

		if (!add_id(c, scheme, pk_bytes_str(r->ids[i].id)))
			return false;
		c->authenticated |= scheme_counts(c, scheme);
	}
	return true;
}

static void auth_request(struct conn *c, const struct req *q, struct zk_rd *in)
{
	struct server *s = c->server;
	struct zk_auth_req a;
	struct server_auth_result result = { 0 };

	if (zk_auth_req_decode(in, &a) == 0)
		s->out.auth(s->out.owner, c->io, a.scheme, a.auth, &result);
	result.ok = result.ok && add_result(c, &result);
	reply_error(c, q, 0, result.ok ? ZK_OK : ZK_EAUTHFAILED);
	if (!result.ok) {
		s->stats.auth_failures++;
		conn_close(c, true, "authentication failed");
	}
}

static void sasl_request(struct conn *c, const struct req *q, struct zk_rd *in)
{
	struct server *s = c->server;
	struct zk_sasl_req a;
	struct pk_buf token = PK_BUF_INIT;
	bool token_null = true;
	struct server_auth_result result = { 0 };
	int32_t err = ZK_EMARSHALLING;

	if (zk_sasl_req_decode(in, &a) == 0)
		err = s->out.sasl(s->out.owner, c->io, a.token, &token, &token_null, &result);
	if (err == 0 && result.ok && !add_result(c, &result))
		err = ZK_EAUTHFAILED;
	if (err == ZK_EAUTHFAILED) { /* ZooKeeperServer.processSasl */
		bool required = s->cfg.auth_required && scheme_counts(c, pk_bytes_str("sasl"));

		s->stats.auth_failures++;
		token_null = true;
		if (required)
			err = ZK_ESESSIONCLOSEDREQUIRESASLAUTH;
		else if (s->cfg.sasl_failed_ok)
			err = 0;
	}
	struct pk_buf *f = reply_begin(c);
	if (err == 0)
		zk_wr_buffer(f, token_null
					? PK_BYTES_NONE
					: pk_bytes(token.data != NULL ? token.data : (uint8_t *)"",
						   token.len));
	reply_end(c, q, 0, err);
	if (err != 0)
		conn_close(c, true, "SASL authentication failed");
	pk_buf_release(&token);
}

static void request(struct conn *c, struct pk_bytes frame)
{
	struct server *s = c->server;
	struct zk_rd in = zk_rd(frame);
	struct zk_req_header h;

	if (zk_req_header_decode(&in, &h) != 0) {
		s->stats.bad_frames++;
		conn_close(c, true, "a request shorter than its header");
		return;
	}
	struct req q = { .xid = h.xid, .op = h.type, .at_us = server_clock_us(s) };
	struct pk_bytes body = in.in;
	bool large = s->cfg.large_bytes > 0 && (int64_t)body.len > s->cfg.large_bytes;
	if (c->ending) /* it must not become a global one that nobody ends */
		return;
	touch(c);
	if (h.type == ZK_OP_AUTH) {
		auth_request(c, &q, &in);
		return;
	}
	if (h.type == ZK_OP_SASL) {
		sasl_request(c, &q, &in);
		return;
	}
	if (s->cfg.auth_required && !c->authenticated) {
		reply_error(c, &q, 0, ZK_ESESSIONCLOSEDREQUIRESASLAUTH);
		conn_close(c, true, "a request before authentication, which is required");
		return;
	}
	struct txn_op op = { .type = h.type,
			     .xid = h.xid,
			     .session_id = c->session_id,
			     .gen = c->gen,
			     .body = body };
	if (large && s->large_bytes + (int64_t)body.len > s->cfg.large_bytes_max) {
		pk_counter_add(s->metrics, M_LARGE_REQUESTS_REJECTED, 1);
		conn_close(c, true, "large requests take too many bytes already");
		return;
	}
	q.large = large ? (uint32_t)body.len : 0;
	switch (op_class(h.type)) {
	case OP_READ:
		q.kind = REQ_READ;
		if ((c->ring_count == 0 || MUTANT(read_overtakes_write)) && !c->blocked &&
		    !starve(c)) { /* nothing before it: no copy */
			answer(c, &q, body);
			return;
		}
		q.body = pk_memdup(body.data, body.len);
		q.len = (uint32_t)body.len;
		break;
	case OP_SYNC:
		if (c->read_only) {
			q.kind = REQ_ERROR;
			q.seq = (uint64_t)(int64_t)ZK_ENOTREADONLY;
			break;
		}
		q.kind = MUTANT(sync_not_waited_for) || (MUTANT(sync_by_leader_alone) && s->leading)
				 ? REQ_READ
				 : REQ_SYNC;
		q.body = pk_memdup(body.data, body.len);
		q.len = (uint32_t)body.len;
		if (q.kind == REQ_READ)
			break;
		q.seq = server_submit_sync(s, c, c->last_write_seq);
		break;
	case OP_WRITE:
		if (c->read_only) {
			q.kind = REQ_ERROR;
			q.seq = (uint64_t)(int64_t)ZK_ENOTREADONLY;
			break;
		}
		if (s->write_refused) {
			pk_counter_add(s->metrics, M_PADDOCK_DISK_LOW_REFUSALS, 1);
			q.kind = REQ_ERROR;
			q.seq = (uint64_t)(int64_t)ZK_ESYSTEM;
			break;
		}
		if (c->gen == TXN_GEN_LOCAL) {
			int32_t err = local_upgrade(c, h.type, body);

			if (err != 0) {
				q.kind = REQ_ERROR;
				q.seq = (uint64_t)(int64_t)err;
				break;
			}
			op.gen = c->gen;
		}
		q.kind = REQ_WRITE;
		q.seq = c->last_write_seq = server_submit(s, &op, c->ids, c->id_count, c);
		c->deferred = h.type == ZK_OP_RECONFIG;
		break;
	case OP_CLOSE:
		if (c->gen == TXN_GEN_LOCAL) { /* nobody else knows of it */
			c->ending = true;
			q.kind = REQ_READ;
			break;
		}
		if (c->read_only) {
			q.kind = REQ_ERROR;
			q.seq = (uint64_t)(int64_t)ZK_ENOTREADONLY;
			break;
		}
		op.body = PK_BYTES_NONE;
		q.kind = REQ_WRITE;
		q.seq = c->last_write_seq = server_submit(s, &op, c->ids, c->id_count, c);
		break;
	case OP_UNKNOWN:
		reply_error(c, &q, (uint64_t)-1, ZK_EUNIMPLEMENTED);
		s->stats.bad_frames++;
		conn_close(c, true, "an operation that is not known");
		return;
	}
	ring_push(c, &q);
	drain(c, false);
	conn_flow(c);
}

/* ---- the first frame: a session ---- */

static void connect_reply(struct conn *c, bool valid)
{
	static uint8_t none[16];
	struct zk_connect_resp resp = { .timeout_ms = valid ? c->timeout_ms : 0,
					.session_id = valid ? (int64_t)c->session_id : 0,
					.password = pk_bytes(valid ? c->password : none, 16),
					.has_read_only = c->read_only_byte,
					.read_only = c->read_only };
	struct pk_buf *f = &c->server->frame;

	pk_buf_clear(f);
	pk_buf_grow(f, 4);
	zk_connect_resp_encode(f, &resp);
	pk_put_be32(f->data, (uint32_t)(f->len - 4));
	conn_send(c, pk_buf_bytes(f));
}

/* Frames that came too early, in order, until one blocks again. */
static void feed_held(struct conn *c)
{
	struct pk_buf held = c->held;
	size_t at = 0;

	c->held = PK_BUF_INIT;
	while (at < held.len && c->state == CONN_OPEN && !c->blocked && !c->deferred) {
		uint32_t len = pk_get_le32(held.data + at);

		request(c, pk_bytes(held.data + at + 4, len));
		at += 4 + len;
	}
	if (at < held.len && c->state == CONN_OPEN)
		pk_buf_add(&c->held, held.data + at, held.len - at);
	pk_buf_release(&held);
	conn_flow(c);
}

static void turn_away(struct conn *c)
{
	connect_reply(c, false);
	conn_close(c, true, "the session is not known, or the password is wrong");
}

/* The session is this connection's now. */
static void opened(struct conn *c, uint64_t gen, uint64_t zxid)
{
	struct server *s = c->server;
	struct conn *old = conn_of_session(s, c->session_id);
	if (old != NULL)
		conn_close(old, true, "the session moved to another connection");
	c->gen = gen;
	state_set(c, CONN_OPEN);
	HASH_ADD(hh, s->by_session, session_id, sizeof(c->session_id), c);
	c->stats.session_id = c->session_id;
	c->stats.timeout_ms = c->timeout_ms;
	/* ZooKeeper counts the making of a session as an operation of it. */
	c->stats.last_zxid = zxid;
	count_latency(c, &(struct req){ .op = ZK_OP_CREATE_SESSION, .at_us = c->joining_us });
	connect_reply(c, true);
	touch(c);
	conn_flow(c);
	feed_held(c);
}

static void joined(struct conn *c, const struct tree_result *r)
{
	if (r->err != 0)
		turn_away(c);
	else
		opened(c, r->session_gen, r->zxid);
}

bool password_eq(const uint8_t a[16], const uint8_t b[16])
{
	uint8_t differs = 0;

	for (size_t i = 0; i < 16; i++) /* no shortcut: time tells nothing */
		differs |= (uint8_t)(a[i] ^ b[i]);
	return differs == 0;
}

static void begin_local(struct conn *c)
{
	struct server *s = c->server;

	if (!s->read_only && !server_serving(s)) {
		conn_close(c, false, "no leader");
		return;
	}
	c->session_id = s->next_session_id++;
	s->out.secret(s->out.owner, c->password, sizeof(c->password));
	local_begin(c);
	opened(c, TXN_GEN_LOCAL, last_zxid(c));
}

/* A session that this server can judge by itself: a local one, or any in read-only mode. */
static bool rejoin_here(struct conn *c)
{
	struct server *s = c->server;
	struct tree_session session;

	switch (local_rejoin(c)) {
	case LOCAL_OK:
		opened(c, TXN_GEN_LOCAL, last_zxid(c));
		return true;
	case LOCAL_WRONG:
		turn_away(c);
		return true;
	case LOCAL_UNKNOWN:
		break;
	}
	if (!s->read_only)
		return false;
	if (MUTANT(read_only_expires))
		turn_away(c);
	else if (tree_session_get(s->tree, c->session_id, &session) &&
		 password_eq(session.password, c->password))
		opened(c, session.gen, last_zxid(c));
	else /* it may be newer than the state here: nobody says that it is gone */
		conn_close(c, false, "the session is not known in read-only mode");
	return true;
}

static bool token_take(struct server *s)
{
	int64_t most = s->cfg.conn_tokens;

	if (most <= 0)
		return true;
	int64_t times = (s->now_ms - s->filled_ms) / s->cfg.conn_fill_ms;
	int64_t room = (most - s->tokens + s->cfg.conn_fill_count - 1) / s->cfg.conn_fill_count;
	s->filled_ms += times * s->cfg.conn_fill_ms;
	s->tokens += (times < room ? times : room) * s->cfg.conn_fill_count;
	if (s->tokens > most)
		s->tokens = most;
	if (s->tokens == 0)
		return false;
	s->tokens--;
	return true;
}

static void connect_request(struct conn *c, struct pk_bytes frame)
{
	struct server *s = c->server;
	struct zk_rd in = zk_rd(frame);
	struct zk_connect_req r;
	uint8_t body[20];

	if (zk_connect_req_decode(&in, &r) != 0) {
		s->stats.bad_frames++;
		conn_close(c, false, "no connect request at the start");
		return;
	}
	if ((uint64_t)r.last_zxid_seen > last_zxid(c) && r.last_zxid_seen > 0 &&
	    !MUTANT(newer_client_let_in)) {
		conn_close(c, false,
			   "the client has seen a later state than is here: it must try another "
			   "server");
		return;
	}
	if (!token_take(s)) {
		pk_counter_add(s->metrics, M_CONNECTION_REJECTED, 1);
		conn_close(c, false, "too many new connections (connection_throttle_tokens)");
		return;
	}
	c->read_only_byte = r.has_read_only;
	pk_counter_add(s->metrics, M_CONNECTION_REQUEST_COUNT, 1);
	if (r.session_id != 0)
		pk_counter_add(s->metrics, M_CONNECTION_REVALIDATE_COUNT, 1);
	c->timeout_ms = r.timeout_ms < s->cfg.session_min_ms   ? s->cfg.session_min_ms
			: r.timeout_ms > s->cfg.session_max_ms ? s->cfg.session_max_ms
							       : r.timeout_ms;
	struct txn_op op = { .body = pk_bytes(body, sizeof(body)) };
	c->joining_us = server_clock_us(s);
	if (s->read_only && !r.read_only) {
		conn_close(c, false, "read-only mode, and the client did not ask for it");
		return;
	}
	c->read_only = s->read_only;
	if (r.session_id == 0 || MUTANT(session_id_ignored)) {
		if (s->read_only || s->cfg.local_sessions) {
			begin_local(c);
			return;
		}
		if (s->write_refused) {
			conn_close(c, false, "new sessions are refused: the disk is full");
			return;
		}
		op.type = ZK_OP_CREATE_SESSION;
		c->session_id = s->next_session_id++;
		s->out.secret(s->out.owner, c->password, sizeof(c->password));
	} else {
		op.type = TXN_ATTACH;
		c->session_id = (uint64_t)r.session_id;
		memset(c->password, 0, sizeof(c->password));
		if (r.password.len == sizeof(c->password))
			memcpy(c->password, r.password.data, sizeof(c->password));
		if (rejoin_here(c))
			return;
	}
	op.session_id = c->session_id;
	pk_put_le32(body, (uint32_t)c->timeout_ms);
	memcpy(body + 4, c->password, sizeof(c->password));
	state_set(c, CONN_JOINING);
	server_submit(s, &op, NULL, 0, c);
	conn_flow(c);
}

/* ---- what the log says of ours ---- */

void conn_before_write(struct conn *c)
{
	drain(c, true);
}

void conn_result(struct conn *c, const struct txn_op *op, const struct tree_result *r)
{
	if (c->state == CONN_CLOSED) {
		pk_counter_add(c->server->metrics, M_STALE_REPLIES, 1);
		return;
	}
	if (op->type == ZK_OP_CREATE_SESSION && c->state == CONN_OPEN) { /* local_upgrade */
		if (r->err != 0)
			conn_close(c, true, "the session could not be made a global one");
		return;
	}
	if (op->type == ZK_OP_CREATE_SESSION || op->type == TXN_ATTACH) {
		PK_ASSERT(c->state == CONN_JOINING);
		joined(c, r);
		return;
	}
	if (c->state == CONN_JOINING) {
		PK_ASSERT(op->type == TXN_REFUSED);
		conn_close(c, false, "new sessions are refused: the leader's disk is full");
		return;
	}
	drain(c, true); /* whatever stands before it and was held back for a slow reader */
	if (c->state == CONN_CLOSED)
		return;
	PK_ASSERT(c->ring_count > 0);
	if (op->type == TXN_REFUSED && ring_at(c, 0)->seq != op->seq) {
		/* local_upgrade's session, of which no request waits */
		conn_close(c, true, "the session could not be made a global one: a full disk");
		return;
	}
	PK_ASSERT(ring_at(c, 0)->seq == op->seq);
	if (r->err == ZK_ESESSIONMOVED) {
		/* Another server has the session: a reply would only mislead
		 * (FinalRequestProcessor). */
		conn_close(c, true, "the session moved to another server");
		return;
	}
	if (r->deferred) /* conn_config_result replies */
		return;
	struct req q = ring_pop(c);
	struct pk_buf *f = reply_begin(c);
	pk_buf_add_bytes(f, pk_buf_bytes(&r->body));
	reply_end(c, &q, r->zxid, r->err);
	c->deferred = c->deferred && q.op != ZK_OP_RECONFIG;
	if (op->type == ZK_OP_CLOSE_SESSION || r->err == ZK_ESESSIONEXPIRED) {
		conn_close(c, true, "the session ended");
		return;
	}
	drain(c, false);
	if (c->held.len > 0 && !c->blocked && !c->deferred && c->state == CONN_OPEN)
		feed_held(c);
	else
		conn_flow(c);
}

void conn_config_result(struct server *s, const struct txn_op *op, const struct tree_result *r)
{
	struct conn *c = conn_of_session(s, op->session_id);

	if (op->session_id == 0 || c == NULL || !c->deferred)
		return; /* it asked on another connection, which is gone */
	drain(c, true);
	if (c->state != CONN_OPEN || c->ring_count == 0 || ring_at(c, 0)->op != ZK_OP_RECONFIG ||
	    ring_at(c, 0)->xid != op->xid)
		return;
	struct req q = ring_pop(c);
	struct pk_buf *f = reply_begin(c);
	pk_buf_add_bytes(f, pk_buf_bytes(&r->body));
	reply_end(c, &q, r->zxid, r->err);
	c->deferred = false;
	drain(c, false);
	if (!c->blocked && c->state == CONN_OPEN)
		feed_held(c);
}

void conn_sync_result(struct conn *c, uint64_t seq)
{
	if (c->state == CONN_CLOSED)
		return;
	drain(c, true);
	if (c->state == CONN_CLOSED)
		return;
	PK_ASSERT(c->ring_count > 0 && ring_at(c, 0)->kind == REQ_SYNC &&
		  ring_at(c, 0)->seq == seq);
	struct req q = ring_pop(c);
	answer(c, &q, pk_bytes(q.body, q.len));
	free(q.body);
	drain(c, false);
	conn_flow(c);
}

/* ---- life ---- */

struct conn *server_conn_new(struct server *s, void *io, const struct conn_info *info)
{
	struct conn *c = pk_alloc(sizeof(*c));

	c->magic = CONN_MAGIC;
	c->server = s;
	c->io = io;
	c->since_ms = s->now_ms;
	c->secure = info->secure;
	if (info->secure && info->x509_subject == NULL) {
		bool local = strncmp(info->ip, "127.", 4) == 0 || strcmp(info->ip, "::1") == 0;

		s->stats.no_cert_local += local;
		s->stats.no_cert_remote += !local;
	}
	c->stats = (struct conn_stats){ .established_wall_ms = s->wall_ms,
					.heard_ms = s->now_ms,
					.last_xid = -1,
					.last_zxid = UINT64_MAX };
	size_t len = strlen(info->ip);
	PK_ASSERT(len < sizeof(c->ip));
	memcpy(c->ip, info->ip, len + 1);
	watcher_init(&c->watcher, c);
	add_id(c, pk_bytes_str("ip"), pk_bytes_str(info->ip));
	c->authenticated = scheme_counts(c, pk_bytes_str("ip"));
	if (info->x509_subject != NULL) {
		add_id(c, pk_bytes_str("x509"), pk_bytes_str(info->x509_subject));
		c->authenticated |= scheme_counts(c, pk_bytes_str("x509"));
	}
	if (info->x509_super)
		add_id(c, pk_bytes_str("super"), pk_bytes_str(""));
	TAILQ_INSERT_TAIL(&s->conns, c, link);
	PK_ASSERT(c->state == CONN_NEW);
	TAILQ_INSERT_TAIL(&s->new_conns, c, new_link);
	return c;
}

void server_conn_frame(struct conn *c, struct pk_bytes body)
{
	PK_ASSERT(c->magic == CONN_MAGIC && !c->gone);
	struct server *s = c->server;

	if (c->state == CONN_CLOSED || s->dead)
		return;
	c->stats.received++;
	c->stats.heard_ms = s->now_ms;
	pk_counter_add(s->metrics, M_BYTES_RECEIVED_COUNT, (int64_t)body.len + 4);
	s->stats.packets_received++;
	if (c->state == CONN_NEW) {
		connect_request(c, body);
	} else if (c->state == CONN_JOINING || c->blocked || c->deferred || c->held.len > 0) {
		/* reading is paused, but this was already on its way */
		if (c->held.len + body.len > 2 * CONN_QUEUE_BYTES_MAX) {
			conn_close(c, true, "too many bytes before their turn");
			return;
		}
		pk_buf_add_le32(&c->held, (uint32_t)body.len);
		pk_buf_add_bytes(&c->held, body);
	} else {
		request(c, body);
	}
}

static void conn_unblock(struct conn *c)
{
	if (!c->blocked || c->state == CONN_CLOSED)
		return;
	c->blocked = false;
	drain(c, false);
	if (!c->blocked && !c->deferred && c->state == CONN_OPEN)
		feed_held(c);
	conn_flow(c);
}

void server_conn_drained(struct conn *c)
{
	PK_ASSERT(c->magic == CONN_MAGIC);
	out_forget(c);
	conn_unblock(c);
}

void server_conn_gone(struct conn *c)
{
	struct server *s = c->server;

	PK_ASSERT(c->magic == CONN_MAGIC && !c->gone);
	pk_counter_add(s->metrics, M_CONNECTION_DROP_COUNT, 1);
	if (!server_serving(s))
		pk_counter_add(s->metrics, M_CNXN_CLOSED_WITHOUT_ZK_SERVER_RUNNING, 1);
	if (MUTANT(lost_connection_ends_session) && c->state == CONN_OPEN && c->gen != 0)
		server_submit(s,
			      &(struct txn_op){ .type = ZK_OP_CLOSE_SESSION,
						.session_id = c->session_id,
						.gen = c->gen },
			      NULL, 0, NULL);
	if (c->state == CONN_OPEN)
		HASH_DELETE(hh, s->by_session, c);
	state_set(c, CONN_CLOSED);
	out_forget(c);
	watcher_drop(s->watches, &c->watcher);
	ring_clear(c);
	pk_buf_release(&c->held);
	for (size_t i = 0; i < c->id_count; i++) {
		free((void *)(uintptr_t)c->ids[i].scheme.data);
		free((void *)(uintptr_t)c->ids[i].id.data);
	}
	c->id_count = 0;
	TAILQ_REMOVE(&s->conns, c, link);
	c->gone = true;
	c->refs++; /* so that unref decides */
	conn_unref(c);
}

void server_conn_each(struct server *s, conn_each_f *each, void *arg)
{
	struct conn *c, *next;

	for (c = TAILQ_FIRST(&s->conns); c != NULL; c = next) {
		next = TAILQ_NEXT(c, link);
		struct conn_stats stats = c->stats;
		stats.queued = c->ring_count;
		stats.ip = c->ip;
		stats.secure = c->secure;
		each(arg, c, c->io, &stats);
	}
}

void conn_stats_reset(struct conn *c)
{
	const struct conn_stats was = c->stats;

	c->stats = (struct conn_stats){ .session_id = was.session_id,
					.timeout_ms = was.timeout_ms,
					.established_wall_ms = was.established_wall_ms,
					.heard_ms = was.heard_ms,
					.last_xid = -1,
					.last_zxid = UINT64_MAX };
}

uint64_t conn_session_id(const struct conn *c)
{
	return c->session_id;
}
