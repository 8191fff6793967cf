#include "store/server.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/log.h"
#include "base/mutant.h"
#include "store/server_int.h"

#define DIGEST_EVERY_ENTRIES 1024
#define JOIN_ASK_MS          500
#define TOUCH_BATCH          8192
#define QUIET_MS             100
#define QUIET_LOG_BYTES      262144 /* replayed in a few milliseconds */
#define EARLY_FRACTION       8      /* of commit_log_bytes: worth a commit, if commits are cheap */
#define WAIT_TOLD_MS         1000
#define EARLY_PAUSE          9 /* between early commits, so many times what the last one took */

static struct server *server_of(void *owner)
{
	struct server *s = owner;

	PK_ASSERT(s->magic == SERVER_MAGIC);
	return s;
}

void server_fatal(struct server *s, const struct pk_err *err)
{
	if (s->dead)
		return;
	s->dead = true;
	s->out.fatal(s->out.owner, err);
}

void server_note(struct server *s, int level, const char *event, const char *fmt, ...)
{
	char text[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	s->out.note(s->out.owner, level, event, text);
}

/* ---- the way to the log ---- */

static void pending_push(struct server *s, const struct pending *p)
{
	if (s->pending_count == s->pending_cap) {
		size_t cap = s->pending_cap > 0 ? s->pending_cap * 2 : 64;
		struct pending *ring = pk_alloc(cap * sizeof(*ring));

		for (size_t i = 0; i < s->pending_count; i++)
			ring[i] = s->pending[(s->pending_head + i) & (s->pending_cap - 1)];
		free(s->pending);
		s->pending = ring;
		s->pending_cap = cap;
		s->pending_head = 0;
	}
	s->pending[(s->pending_head + s->pending_count++) & (s->pending_cap - 1)] = *p;
}

static struct pending *pending_at(struct server *s, size_t i)
{
	PK_ASSERT(i < s->pending_count);
	return &s->pending[(s->pending_head + i) & (s->pending_cap - 1)];
}

static struct pending pending_pop(struct server *s)
{
	struct pending p = *pending_at(s, 0);

	s->pending_head++;
	s->pending_count--;
	return p;
}

/* Nobody will hear of it any more. */
static void pending_abandon(struct pending *p, const char *reason)
{
	if (p->conn != NULL) {
		conn_close(p->conn, true, reason);
		conn_unref(p->conn);
	}
	for (uint32_t i = 0; i < p->waiter_count; i++) {
		conn_close(p->waiters[i], true, reason);
		conn_unref(p->waiters[i]);
	}
	free(p->waiters);
}

static void outbox_rotate(struct server *s)
{
	if (s->ready_count == s->ready_cap) {
		s->ready_cap = s->ready_cap > 0 ? s->ready_cap * 2 : 8;
		s->ready = pk_realloc(s->ready, s->ready_cap * sizeof(*s->ready));
	}
	s->ready[s->ready_count++] = (struct ready_pack){ .pack = s->outbox,
							  .last_seq = s->next_seq - 1 };
	s->outbox = txn_pack_new();
	s->sync_seq = 0;
}

static void outbox_add(struct server *s, const struct txn_op *op, const struct txn_id *ids,
		       size_t id_count)
{
	size_t before = txn_pack_bytes(s->outbox);

	if (before > SERVER_ENTRY_BYTES ||
	    (before > SERVER_ENTRY_BYTES / 2 && op->body.len > SERVER_ENTRY_BYTES / 2)) {
		outbox_rotate(s);
		before = txn_pack_bytes(s->outbox);
	}
	if (!txn_pack_add(s->outbox, op, ids, id_count)) {
		outbox_rotate(s);
		before = txn_pack_bytes(s->outbox);
		bool fits = txn_pack_add(s->outbox, op, ids, id_count);
		PK_ASSERT(fits); /* frames are bounded far below an entry */
	}
	s->backlog_bytes += txn_pack_bytes(s->outbox) - before;
	count_queued(s);
}

static void outbox_clear(struct server *s)
{
	for (size_t i = 0; i < s->ready_count; i++)
		txn_pack_free(s->ready[i].pack);
	s->ready_count = 0;
	txn_pack_clear(s->outbox);
	s->backlog_bytes = 0;
	s->sync_seq = 0;
}

/* The oldest pack that has something in it, or NULL. */
static struct txn_pack *outbox_front(struct server *s)
{
	if (s->ready_count > 0)
		return s->ready[0].pack;
	return txn_pack_count(s->outbox) > 0 ? s->outbox : NULL;
}

static void outbox_sent(struct server *s, struct txn_pack *p)
{
	size_t bytes = txn_pack_bytes(p);

	s->backlog_bytes -= bytes < s->backlog_bytes ? bytes : s->backlog_bytes;
	if (p == s->outbox) {
		s->sent_seq = s->next_seq - 1;
		s->sync_seq = 0;
		txn_pack_clear(p);
	} else {
		s->sent_seq = s->ready[0].last_seq;
		txn_pack_free(p);
		s->ready_count--;
		memmove(s->ready, s->ready + 1, s->ready_count * sizeof(*s->ready));
	}
	if (outbox_front(s) == NULL)
		s->backlog_bytes = 0;
}

uint64_t server_submit(struct server *s, const struct txn_op *op, const struct txn_id *ids,
		       size_t id_count, struct conn *c)
{
	struct txn_op mine = *op;

	mine.origin = s->cfg.id;
	mine.seq = s->next_seq;
	outbox_add(s, &mine, ids, id_count);
	if (MUTANT(write_sent_twice) && mine.xid > 0)
		outbox_add(s, &mine, ids, id_count);
	s->next_seq++;
	if (c != NULL)
		c->refs++;
	pending_push(s, &(struct pending){ .seq = mine.seq, .conn = c });
	s->stats.proposals++;
	return mine.seq;
}

uint64_t server_submit_sync(struct server *s, struct conn *c, uint64_t after_seq)
{
	if (s->sync_seq == 0 || s->sync_seq < after_seq)
		s->sync_seq = server_submit(s, &(struct txn_op){ .type = TXN_SYNC }, NULL, 0, NULL);
	struct pending *p = NULL;
	for (size_t i = s->pending_count; i-- > 0 && p == NULL;)
		if (pending_at(s, i)->seq == s->sync_seq)
			p = pending_at(s, i);
	PK_ASSERT(p != NULL); /* still in the outbox, so still pending */
	if ((p->waiter_count & (p->waiter_count - 1)) == 0)
		p->waiters = pk_realloc(p->waiters,
					(p->waiter_count > 0 ? p->waiter_count * 2 : 1) *
						sizeof(struct conn *));
	p->waiters[p->waiter_count++] = c;
	c->refs++;
	return s->sync_seq;
}

/*
 * The leader we had is gone, or is another now: what was sent to it may or may not be in the log.
 * Those who wait for it are disconnected, as the outcome cannot be known. What is still here stays.
 */
static void pending_fail_sent(struct server *s)
{
	while (s->pending_count > 0 && pending_at(s, 0)->seq <= s->sent_seq) {
		struct pending p = pending_pop(s);

		s->stats.connections_lost_leader += p.conn != NULL;
		pending_abandon(&p, "the leader was lost with requests under way");
	}
}

void pending_fail_all(struct server *s, const char *reason)
{
	outbox_clear(s);
	while (s->pending_count > 0) {
		struct pending p = pending_pop(s);
		pending_abandon(&p, reason);
	}
}

static void on_proposed(void *owner, enum raft_node_outcome outcome, uint64_t index)
{
	pk_ignore(owner, "a lost proposal shows as a change of role, an applied one as apply");
	pk_ignore(outcome, "see above");
	pk_ignore(index, "see above");
}

static bool propose_pack(struct server *s, struct txn_pack *pack)
{
	struct pk_err err = PK_ERR_INIT;
	int64_t begun_us = server_clock_us(s);
	int64_t floor_ms = tree_meta(s->tree)->time_ms;
	struct txn_header header = {
		.cluster_id = s->cfg.cluster_id,
		.proposer_id = s->cfg.id,
		.term = raft_node_term(s->raft),
		.index = raft_node_last_index(s->raft) + 1,
		.time_ms = s->wall_ms > floor_ms ? s->wall_ms : floor_ms,
		.flags = s->cfg.txn_flags,
	};

	if (raft_node_propose(s->raft, txn_pack_finish(pack, &header), on_proposed, s, &err) != 0)
		return false; /* not the leader any more, or too many under way: the next turn tells
			       */
	count_proposed(s, txn_pack_bytes(pack), txn_pack_count(pack), begun_us);
	return true;
}

static void propose_epoch(struct server *s)
{
	struct txn_pack *pack = txn_pack_new();
	bool fits = txn_pack_add(pack, &(struct txn_op){ .type = TXN_EPOCH, .origin = s->cfg.id },
				 NULL, 0);

	PK_ASSERT(fits);
	s->epoch_proposed = propose_pack(s, pack);
	txn_pack_free(pack);
}

static uint64_t waiting_bytes(const struct server *s)
{
	return (s->job != NULL ? s->job_bytes : 0) + kv_overlay_bytes(s->kv) +
	       kv_commit_bytes(s->kv);
}

/* What of a wait is beyond a tick. */
static int64_t wait_forgives_ms(const struct server *s)
{
	int64_t ms = s->now_ms - s->wait.since_ms - s->cfg.tick_ms;

	return s->wait.on && ms > 0 ? ms : 0;
}

/*
 * The clock of sessions stands still while nothing is taken for longer than a tick: connections
 * that have a write waiting may not be read from then, and a client that comes back on another one
 * waits for the log.
 */
static int64_t session_now(const struct server *s)
{
	return s->now_ms - s->wait.forgiven_ms - wait_forgives_ms(s);
}

static void wait_end(struct server *s)
{
	int64_t took_ms = s->now_ms - s->wait.since_ms;

	s->wait.forgiven_ms += wait_forgives_ms(s);
	s->wait.on = false;
	pk_summary_record(s->metrics, M_PADDOCK_STATE_WAIT_MS, took_ms);
	if (s->wait.told)
		server_note(s, PK_LOG_WARN, "state.wait", "begin=0 took_ms=%" PRId64, took_ms);
}

/*
 * Whether what came while a commit is under way needs all the memory that it may have: then nothing
 * more is taken until that has ended. Reads, signs of life and Raft's own messages go on.
 */
static bool must_wait(struct server *s)
{
	bool lags = s->job != NULL && waiting_bytes(s) >= s->cfg.waiting_bytes_max;

	if (lags && !s->wait.on) {
		s->wait.on = true;
		s->wait.told = false;
		s->wait.since_ms = s->now_ms;
		s->stats.waits++;
	} else if (!lags && s->wait.on) {
		wait_end(s);
	} else if (lags && !s->wait.told && s->now_ms - s->wait.since_ms >= WAIT_TOLD_MS) {
		s->wait.told = true;
		server_note(s, PK_LOG_WARN, "state.wait",
			    "begin=1 waiting_bytes=%" PRIu64 " commit_ms=%" PRId64,
			    waiting_bytes(s), s->now_ms - s->job_begun_ms);
	}
	return lags;
}

static void leader_turn(struct server *s)
{
	if (!s->epoch_proposed)
		propose_epoch(s);
	if (!s->established)
		return;
	struct txn_pack *pack;
	while (s->handover.to == 0 && raft_node_inflight(s->raft) < 1 && !must_wait(s) &&
	       (pack = outbox_front(s)) != NULL) {
		if (++s->digest_entries >= DIGEST_EVERY_ENTRIES && pack == s->outbox) {
			uint8_t body[24];

			pk_put_le64(body, s->mark.index);
			pk_put_le64(body + 8, s->mark.digest);
			pk_put_le64(body + 16, s->mark.extra);
			s->digest_entries = 0;
			server_submit(s,
				      &(struct txn_op){ .type = TXN_DIGEST,
							.body = pk_bytes(body, sizeof(body)) },
				      NULL, 0, NULL);
			pack = outbox_front(s);
		}
		if (!propose_pack(s, pack))
			break;
		outbox_sent(s, pack);
	}
}

static void follower_turn(struct server *s)
{
	struct txn_pack *pack;

	while (s->leader_id != 0 && (pack = outbox_front(s)) != NULL) {
		struct txn_header header = { .cluster_id = s->cfg.cluster_id,
					     .proposer_id = s->cfg.id,
					     .term = s->term };

		if (!s->out.peer_send(s->out.owner, s->leader_id, NULL, SERVER_MSG_FORWARD,
				      txn_pack_finish(pack, &header)))
			return; /* not connected yet, or it is slow: they wait here, bounded by the
				   backlog */
		pk_summary_record(s->metrics, M_LEARNER_REQUEST_PROCESSOR_QUEUE_SIZE,
				  (int64_t)txn_pack_count(pack));
		outbox_sent(s, pack);
	}
}

static bool commit_prepare(struct server *s)
{
	tree_flush(s->tree);
	s->job_bytes = kv_commit_bytes(s->kv);
	s->job = kv_commit_begin(s->kv);
	s->commit_wanted = false;
	if (s->job == NULL)
		return false;
	s->job_meta = *tree_meta(s->tree);
	s->job_begun_ms = s->now_ms;
	s->log_bytes = 0;
	return true;
}

static void commit_start(struct server *s)
{
	if (commit_prepare(s))
		s->out.commit(s->out.owner, s->job);
}

/*
 * A server that lost its disk may have acknowledged entries and given votes that it forgot. It
 * stays mute until it holds everything the leader had in its log after the loss: whatever it once
 * acknowledged is below that, by Raft's leader completeness.
 */
static void join_ask(struct server *s)
{
	uint8_t body[8];

	if (!s->join.active || s->leader_id == 0 || s->leading || s->now_ms < s->join.ask_at_ms ||
	    (s->join.target != 0 && s->join.term == s->term))
		return;
	s->join.ask_at_ms = s->now_ms + JOIN_ASK_MS;
	s->join.nonce++;
	s->join.target = 0;
	pk_put_le64(body, s->join.nonce);
	pk_ignore(s->out.peer_send(s->out.owner, s->leader_id, NULL, SERVER_MSG_JOIN_ASK,
				   pk_bytes(body, sizeof(body))),
		  "asked again at the next tick");
}

static int join_recv(struct server *s, uint64_t from_id, enum server_message type,
		     struct pk_bytes bytes, struct pk_err *err)
{
	struct pk_rd in = { .in = bytes };
	uint64_t nonce = pk_rd_le64(&in);
	uint8_t body[24];

	if (type == SERVER_MSG_JOIN_ASK) {
		if (in.bad)
			return pk_err_set(err, PK_EPROTO, "a join request of %zu bytes", bytes.len);
		/* A leader asks as well: it gives no vote to one that could not use it. */
		if (!s->established && (from_id != s->leader_id || s->join.active))
			return 0;
		pk_put_le64(body, nonce);
		pk_put_le64(body + 8, s->term);
		pk_put_le64(body + 16, raft_node_last_index(s->raft));
		pk_ignore(s->out.peer_send(s->out.owner, from_id, NULL, SERVER_MSG_JOIN_TELL,
					   pk_bytes(body, sizeof(body))),
			  "it asks again");
		return 0;
	}
	uint64_t term = pk_rd_le64(&in), index = pk_rd_le64(&in);
	if (in.bad)
		return pk_err_set(err, PK_EPROTO, "a join answer of %zu bytes", bytes.len);
	if (s->established)
		members_told(s, from_id, nonce);
	if (s->join.active && nonce == s->join.nonce && from_id == s->leader_id &&
	    term == s->term && index > 0) {
		s->join.target = index;
		s->join.term = term;
	}
	return 0;
}

static void join_step(struct server *s)
{
	if (!s->join.active || s->join.target == 0 || s->join.term != s->term)
		return;
	/* Its votes go by its log, and a fetched state may be ahead of that. What the library
	 * counts as committed is stored. */
	if ((tree_meta(s->tree)->index < s->join.target ||
	     (raft_node_commit_index(s->raft) < s->join.target && !MUTANT(joins_by_its_state))) &&
	    !MUTANT(wiped_server_joins_early))
		return;
	s->join.active = false;
	server_note(s, PK_LOG_INFO, "raft.joined", "index=%" PRIu64 " term=%" PRIu64,
		    s->join.target, s->term);
	raft_node_speak(s->raft);
	s->out.joined(s->out.owner);
}

/*
 * What a restart replays is what came since the last commit. So there is one well before it is due,
 * as long as commits take no more than a tenth of the time: those of a small tree, or to a few
 * places of a large one.
 */
static bool commit_is_due(const struct server *s)
{
	if (s->job != NULL)
		return false;
	if (s->commit_wanted || kv_overlay_bytes(s->kv) >= s->cfg.commit_overlay_bytes ||
	    s->log_bytes >= s->cfg.commit_log_bytes ||
	    kv_commit_bytes(s->kv) >= s->cfg.commit_pages_bytes)
		return true;
	return s->log_bytes >= s->cfg.commit_log_bytes / EARLY_FRACTION &&
	       s->now_ms >= s->commit_early_ms;
}

/*
 * A start replays all that the log holds behind the state, in one go, and what memory it may have
 * can be less than when that was written: then there are commits on the way, here and now. Nobody
 * is served yet. (Later this meets only single entries that need as much.)
 */
static void commit_if_crowded(struct server *s)
{
	struct pk_err err = PK_ERR_INIT;

	if (s->job != NULL || waiting_bytes(s) < s->cfg.waiting_bytes_max)
		return;
	if (commit_prepare(s))
		server_commit_done(s, s->job, kv_commit_run(s->job, &err), &err);
}

void server_turn(struct server *s)
{
	if (s->dead || s->tree == NULL || s->raft == NULL)
		return;
	count_serving(s);
	bool crowded = s->backlog_bytes > s->cfg.backlog_bytes_max;
	if (s->leading)
		leader_turn(s);
	else
		follower_turn(s);
	if (crowded && s->backlog_bytes <= s->cfg.backlog_bytes_max / 2) {
		struct conn *c;
		TAILQ_FOREACH (c, &s->conns, link)
			conn_flow(c);
	}
	if (commit_is_due(s))
		commit_start(s);
	raft_node_hold(s->raft, must_wait(s) && !s->leading);
	state_turn(s);
	join_step(s);
	conns_shed(s);
}

void server_commit_done(struct server *s, struct kv_job *job, int rc, const struct pk_err *err)
{
	PK_ASSERT(job == s->job);
	if (rc != 0) {
		server_fatal(s, err);
		return;
	}
	kv_commit_end(s->kv, job);
	s->job = NULL;
	s->durable = MUTANT(durable_too_soon) ? *tree_meta(s->tree) : s->job_meta;
	s->commit_early_ms = s->now_ms + EARLY_PAUSE * (s->now_ms - s->job_begun_ms);
	s->stats.durable_wall_ms = s->wall_ms;
	s->stats.commits++;
	if (s->raft != NULL && !s->dead) {
		pk_buf_clear(&s->frame);
		tree_meta_encode(&s->durable, &s->frame);
		raft_node_durable(s->raft, s->durable.index, pk_buf_bytes(&s->frame));
	}
}

bool server_commit_now(struct server *s)
{
	if (s->dead || s->tree == NULL)
		return true;
	if (s->job != NULL)
		return false;
	commit_start(s);
	return true;
}

bool server_drain(struct server *s)
{
	struct conn *c;

	s->draining = true;
	TAILQ_FOREACH (c, &s->conns, link)
		conn_flow(c);
	/* Without a leader nothing more is answered. */
	return s->dead || !server_serving(s) || (s->outstanding == 0 && !handover_is_due(s));
}

/* ---- what the log says ---- */

static void leader_begin(struct server *s)
{
	s->established = true;
	s->stats.leading_since_ms = s->now_ms;
	PK_ASSERT(s->clock == NULL);
	s->clock = session_clock_new(s->cfg.tick_ms);
	s->container_at_ms = s->now_ms + s->cfg.container_check_ms;
	members_begin(s);
}

static void clock_fill(void *arg, const struct tree_session *session)
{
	struct server *s = arg;

	if (!MUTANT(sessions_forgotten_by_leader))
		session_clock_put(s->clock, session->id, session->gen, session->timeout_ms,
				  session_now(s));
}

static void leader_end(struct server *s)
{
	s->leading = s->epoch_proposed = s->established = false;
	s->stats.leading_since_ms = 0;
	session_clock_free(s->clock);
	s->clock = NULL;
	handover_end(s);
}

/* A session's fate, as this server is concerned: its clock if we lead, its connection if it is
 * here. */
static void after_session_op(struct server *s, const struct txn_op *op, const struct tree_result *r,
			     struct conn *asker)
{
	struct conn *c = conn_of_session(s, op->session_id);

	if (r->err != 0)
		return;
	switch (op->type) {
	case ZK_OP_CREATE_SESSION:
	case TXN_ATTACH:
		if (s->clock != NULL)
			session_clock_put(s->clock, op->session_id, r->session_gen,
					  r->session_timeout_ms, session_now(s));
		if (c != NULL && c != asker)
			conn_close(c, true, "the session moved to another connection");
		break;
	case TXN_EXPIRE:
		s->stats.sessions_expired++;
		pk_counter_add(s->metrics, M_STALE_SESSIONS_EXPIRED, 1);
		/* fall through */
	case ZK_OP_CLOSE_SESSION:
		if (s->clock != NULL)
			session_clock_remove(s->clock, op->session_id);
		if (c != NULL && c != asker)
			conn_close(c, true, "the session ended");
		break;
	default: /* the caller asks for these types only */
		break;
	}
}

static void check_mark(struct server *s, const struct txn_op *op)
{
	const struct tree_meta *m = tree_meta(s->tree);

	if (op->body.len == 24) {
		uint64_t index = pk_get_le64(op->body.data),
			 digest = pk_get_le64(op->body.data + 8);
		uint64_t extra = pk_get_le64(op->body.data + 16);

		if (index != 0 && index == s->mark.index &&
		    (digest != s->mark.digest || extra != s->mark.extra)) {
			struct pk_err err = PK_ERR_INIT;

			pk_ignore(pk_err_set(&err, PK_ECORRUPT,
					     "tree differs from the leader's at index %" PRIu64
					     ": digest %016" PRIx64 ", the leader's %016" PRIx64
					     "; this replica must fetch its state anew",
					     index, s->mark.digest, digest),
				  "passed on");
			server_fatal(s, &err);
			return;
		}
	}
	s->mark.index = m->index;
	s->mark.digest = m->digest;
	s->mark.extra = m->extra;
}

static void digest_log(struct server *s)
{
	const struct tree_meta *m = tree_meta(s->tree);
	size_t last = (s->digest_count + SERVER_DIGESTS - 1) % SERVER_DIGESTS;

	if (m->zxid % SERVER_DIGEST_EVERY != 0 || (uint32_t)m->zxid == 0 || /* a new epoch */
	    (s->digest_count > 0 && s->digests[last].zxid == m->zxid))
		return;
	s->digests[s->digest_count++ % SERVER_DIGESTS] = (struct server_digest){
		.zxid = m->zxid, .digest = m->digest
	};
}

static void fire_events(struct server *s, const struct tree_result *r)
{
	for (size_t i = 0; i < r->event_count; i++) {
		pk_buf_clear(&s->event_frame); /* encoded by the first who is told */
		s->event_acl = r->events[i].acl;
		count_watches(
			s, r->events[i].type,
			watch_fire(s->watches, r->events[i].type, r->events[i].path, conn_tell, s));
	}
}

static void apply_op(struct server *s, const struct txn_header *header, const struct txn_op *op,
		     const struct txn_id *ids)
{
	struct tree_result *r = &s->result;
	struct pending p = { 0 };

	if (op->origin == s->cfg.id) {
		size_t i = 0;

		while (i < s->pending_count && pending_at(s, i)->seq < op->seq)
			i++;
		if (i < s->pending_count && pending_at(s, i)->seq == op->seq &&
		    pending_at(s, i)->conn != NULL)
			conn_before_write(pending_at(s, i)->conn);
	}
	tree_apply(s->tree, op, ids, r);
	count_op(s, header, op, r);
	digest_log(s);
	if (!MUTANT(event_after_reply))
		fire_events(s, r);
	if (op->origin == s->cfg.id) {
		while (s->pending_count > 0 && pending_at(s, 0)->seq < op->seq) {
			p = pending_pop(s);
			pending_abandon(&p, "a request was lost on its way to the log");
			p = (struct pending){ 0 };
		}
		if (s->pending_count > 0 && pending_at(s, 0)->seq == op->seq)
			p = pending_pop(s);
	}
	switch (op->type) {
	case ZK_OP_CREATE_SESSION:
	case ZK_OP_CLOSE_SESSION:
	case TXN_ATTACH:
	case TXN_EXPIRE:
		after_session_op(s, op, r, p.conn);
		break;
	case TXN_EPOCH:
		if (s->leading && !s->established && header->proposer_id == s->cfg.id &&
		    header->term == s->term) {
			leader_begin(s);
			tree_session_each(s->tree, clock_fill, s);
		}
		break;
	case TXN_DIGEST:
		check_mark(s, op);
		break;
	case TXN_CONFIG:
		members_applied(s);
		conn_config_result(s, op, r);
		break;
	default:
		break;
	}
	if (p.conn != NULL) {
		conn_result(p.conn, op, r);
		conn_unref(p.conn);
	}
	for (uint32_t i = 0; i < p.waiter_count; i++) {
		conn_sync_result(p.waiters[i], p.seq);
		conn_unref(p.waiters[i]);
	}
	free(p.waiters);
	if (MUTANT(event_after_reply))
		fire_events(s, r);
}

/* A state of a later term than the log goes on with is another cluster's, or another history's. */
static bool is_of_this_log(struct server *s, uint64_t index, uint64_t term)
{
	const struct tree_meta *m = tree_meta(s->tree);
	struct pk_err err = PK_ERR_INIT;

	if (term >= m->term)
		return true;
	pk_ignore(pk_err_set(&err, PK_ECORRUPT,
			     "tree differs from the leader's: it is of term %" PRIu64
			     ", and entry %" PRIu64 " behind it of term %" PRIu64
			     "; this replica must fetch its state anew",
			     m->term, index, term),
		  "passed on");
	server_fatal(s, &err);
	return false;
}

static void on_apply(void *owner, uint64_t index, uint64_t term, struct pk_bytes data)
{
	struct server *s = server_of(owner);
	struct txn_entry entry;
	struct txn_op op;
	struct pk_err err = PK_ERR_INIT;
	int rc;

	if (s->dead || index <= tree_meta(s->tree)->index)
		return; /* after a restart: what the state has already */
	if (!is_of_this_log(s, index, term))
		return;
	if (txn_entry_open(&entry, data, &err) != 0) {
		pk_ignore(pk_err_wrap(&err, "log entry %" PRIu64, index), "passed on");
		server_fatal(s, &err);
		return;
	}
	if (entry.header.index != index || entry.header.term != term ||
	    entry.header.cluster_id != s->cfg.cluster_id) {
		pk_ignore(pk_err_set(&err, PK_ECORRUPT,
				     "log entry %" PRIu64 " of term %" PRIu64
				     " was written for index %" PRIu64 " of term %" PRIu64
				     " in cluster %016" PRIx64,
				     index, term, entry.header.index, entry.header.term,
				     entry.header.cluster_id),
			  "passed on");
		server_fatal(s, &err);
	} else if (tree_entry_begin(s->tree, &entry.header, index, term)) {
		int64_t begun_us = server_clock_us(s);

		while ((rc = txn_entry_next(&entry, &op, &err)) == 1 && !s->dead)
			apply_op(s, &entry.header, &op, entry.ids);
		if (rc < 0) /* its checksum was right: it was packed wrong, everywhere */
			server_fatal(s, &err);
		tree_entry_end(s->tree);
		s->log_bytes += data.len;
		s->applied_ms = s->now_ms;
		count_entry(s, &entry.header, begun_us);
		if (!s->dead)
			commit_if_crowded(s);
	}
	txn_entry_release(&entry);
}

/* There is a leader again: who was served reads comes back and asks anew. */
static void read_only_end(struct server *s)
{
	s->read_only = false;
	conns_close_all(s, "read-only mode is over");
	if (!s->cfg.local_sessions)
		local_end_all(s);
	server_note(s, PK_LOG_INFO, "server.read_only", "begin=0");
}

static void on_role(void *owner, enum raft_node_role role, uint64_t term, uint64_t leader_id)
{
	struct server *s = server_of(owner);
	bool was_leading = s->leading;
	uint64_t leader_before = s->leader_id;

	if (s->dead || (role == s->role && term == s->term && leader_id == s->leader_id))
		return;
	bool other = term != s->term || (leader_id != s->leader_id && s->leader_id != 0);
	s->role = role;
	s->term = term;
	s->leader_id = leader_id;
	if (was_leading && (role != RAFT_NODE_LEADER || other)) {
		leader_end(s);
		pending_fail_all(s, "leadership was lost with requests under way");
	} else if (other) {
		pending_fail_sent(s);
	}
	if (role == RAFT_NODE_LEADER)
		s->leading = true;
	if (MUTANT(no_barrier) && role == RAFT_NODE_LEADER && !s->established) {
		s->epoch_proposed = true;
		leader_begin(s);
		tree_session_each(s->tree, clock_fill, s);
	}
	if (leader_id != 0 && s->read_only)
		read_only_end(s);
	count_leader(s, was_leading, leader_before);
	if (leader_id != 0)
		s->leaderless_since_ms = 0;
	else if (s->leaderless_since_ms == 0)
		s->leaderless_since_ms = s->now_ms;
	s->out.role(s->out.owner, role, term, leader_id, server_serving(s));
}

static bool on_send(void *owner, uint64_t peer_id, const char *address, struct pk_bytes data)
{
	struct server *s = server_of(owner);

	return s->out.peer_send(s->out.owner, peer_id, address, SERVER_MSG_RAFT, data);
}

static void on_members(void *owner, const struct raft_member *members, size_t count)
{
	struct server *s = server_of(owner);

	s->out.members(s->out.owner, members, count);
}

static bool on_snapshot(void *owner, uint64_t *index, struct pk_buf *payload)
{
	struct server *s = server_of(owner);

	s->commit_wanted = s->commit_wanted || s->durable.index < *index;
	if (s->durable.index == 0)
		return false;
	if (s->durable.index < *index && !MUTANT(snapshot_index_wrong))
		*index = s->durable.index;
	tree_meta_encode(&s->durable, payload);
	return true;
}

static void on_skip(void *owner, uint64_t index, uint64_t term)
{
	struct server *s = server_of(owner);

	if (!s->dead && index > tree_meta(s->tree)->index && is_of_this_log(s, index, term))
		tree_skip_index(s->tree, index, term);
}

static int on_restore(void *owner, uint64_t index, struct pk_bytes payload, struct pk_err *err)
{
	struct server *s = server_of(owner);
	struct tree_meta m;
	const struct tree_meta *have = tree_meta(s->tree);
	int rc = tree_meta_decode(&m, payload, err);

	if (rc != 0)
		return pk_err_wrap(err, "manifest of index %" PRIu64, index);
	if (have->index < index || memcmp(have->state_id, m.state_id, sizeof(m.state_id)) != 0)
		return pk_err_set(
			err, PK_ECORRUPT,
			"the log starts behind index %" PRIu64
			", but the state here is of index %" PRIu64
			": it is older or another cluster's; replace this server under a new id",
			index, have->index);
	return 0;
}

static void on_install(void *owner, uint64_t from_id, uint64_t index, uint64_t term,
		       struct pk_bytes payload)
{
	struct server *s = server_of(owner);

	pk_ignore(term, "the library checks it again when the message is delivered");
	pk_ignore(payload, "the fetched state carries the same record, newer or equal");
	state_install(s, from_id, index);
}

static void on_fatal(void *owner, const struct pk_err *err)
{
	server_fatal(server_of(owner), err);
}

void server_raft_owner(struct server *s, struct raft_node_owner *out)
{
	*out = (struct raft_node_owner){
		.owner = s,
		.apply = on_apply,
		.skip = on_skip,
		.role = on_role,
		.send = on_send,
		.members = on_members,
		.snapshot = on_snapshot,
		.restore = on_restore,
		.install = on_install,
		.fatal = on_fatal,
	};
}

/* ---- peers ---- */

static bool forwardable(const struct txn_op *op)
{
	if (op->type < 1000)
		return op->session_id != 0; /* only a leader acts for nobody */
	return op->type == TXN_ATTACH || op->type == TXN_SYNC;
}

/* What a full disk cannot take. Sessions may move and end, and a sync may pass. */
static bool op_grows(int32_t type)
{
	return type != TXN_ATTACH && type != TXN_SYNC && type != ZK_OP_CLOSE_SESSION;
}

/* A few bytes in the log instead of the operation: so the answer keeps its place in the order. */
static void refuse(struct server *s, const struct txn_op *op)
{
	uint8_t body[4];

	pk_put_le32(body, (uint32_t)ZK_ESYSTEM);
	outbox_add(s,
		   &(struct txn_op){ .type = TXN_REFUSED,
				     .xid = op->xid,
				     .origin = op->origin,
				     .seq = op->seq,
				     .session_id = op->session_id,
				     .gen = op->gen,
				     .body = pk_bytes(body, sizeof(body)) },
		   NULL, 0);
	pk_counter_add(s->metrics, M_PADDOCK_DISK_LOW_REFUSALS, 1);
}

static int forward_recv(struct server *s, uint64_t from_id, struct pk_bytes bytes,
			struct pk_err *err)
{
	struct txn_entry entry;
	struct txn_op op;
	int rc = txn_entry_open(&entry, bytes, err);

	if (rc != 0)
		return pk_err_set(err, PK_EPROTO, "forwarded operations cannot be read");
	/* Meant for another leader, or for us in another term: the sender learns of the new term
	 * and gives these up itself. */
	bool mine = s->leading && entry.header.term == s->term &&
		    entry.header.cluster_id == s->cfg.cluster_id;
	while ((rc = txn_entry_next(&entry, &op, err)) == 1) {
		struct txn_id ids[TXN_OP_IDS_MAX];

		if (op.origin != from_id || !forwardable(&op)) {
			rc = pk_err_set(err, PK_EPROTO,
					"server %" PRIu64
					" forwarded an operation of type %d for origin %" PRIu64,
					from_id, op.type, op.origin);
			break;
		}
		for (uint16_t i = 0; i < op.id_count; i++)
			ids[i] = entry.ids[op.ids[i]];
		/* Reports of who was heard come twice a tick, and may be late for one that was
		 * silent for almost its timeout: what it writes tells the leader at once, however
		 * long it then takes to be done. */
		if (mine && s->clock != NULL && !MUTANT(write_not_heard))
			session_clock_touch(s->clock, op.session_id, session_now(s));
		if (mine && s->write_refused && op_grows(op.type))
			refuse(s, &op);
		else if (mine)
			outbox_add(s, &op, ids, MUTANT(forward_loses_identities) ? 0 : op.id_count);
	}
	txn_entry_release(&entry);
	return rc == 0 ? 0 : PK_EPROTO;
}

static int touch_recv(struct server *s, struct pk_bytes bytes, struct pk_err *err)
{
	if (MUTANT(touches_ignored))
		return 0;
	if (bytes.len % 8 != 0)
		return pk_err_set(err, PK_EPROTO, "a list of sessions of %zu bytes", bytes.len);
	for (size_t at = 0; s->clock != NULL && at < bytes.len; at += 8)
		session_clock_touch(s->clock, pk_get_le64(bytes.data + at), session_now(s));
	return 0;
}

int server_peer_recv(struct server *s, uint64_t from_id, enum server_message type,
		     struct pk_bytes bytes, struct pk_err *err)
{
	if (s->dead || s->raft == NULL)
		return 0;
	switch (type) {
	case SERVER_MSG_RAFT:
		/* Many may come between two turns. */
		if (s->tree != NULL && commit_is_due(s))
			commit_start(s);
		raft_node_hold(s->raft, must_wait(s) && !s->leading);
		return raft_node_recv(s->raft, from_id, bytes, s->now_ms, err);
	case SERVER_MSG_FORWARD:
		return forward_recv(s, from_id, bytes, err);
	case SERVER_MSG_TOUCH:
		return touch_recv(s, bytes, err);
	case SERVER_MSG_STATE_ASK:
	case SERVER_MSG_STATE_CHUNK:
	case SERVER_MSG_STATE_ACK:
	case SERVER_MSG_STATE_END:
		return state_peer_recv(s, from_id, type, bytes, err);
	case SERVER_MSG_JOIN_ASK:
	case SERVER_MSG_JOIN_TELL:
		return join_recv(s, from_id, type, bytes, err);
	case SERVER_MSG_HEALTH:
		return handover_recv(s, from_id, bytes, err);
	case SERVER_MSG_TYPES:
		break;
	}
	return pk_err_set(err, PK_EPROTO, "message type %d is not known", (int)type);
}

void server_peer_down(struct server *s, uint64_t peer_id)
{
	if (s->dead)
		return;
	if (peer_id == s->leader_id && !s->leading)
		pending_fail_sent(s);
	if (s->raft != NULL)
		raft_node_peer_down(s->raft, peer_id);
	state_peer_down(s, peer_id);
}

/* ---- time ---- */

void server_now(struct server *s, int64_t now_ms, int64_t wall_ms)
{
	PK_ASSERT(now_ms >= s->now_ms);
	s->now_ms = now_ms;
	s->wall_ms = wall_ms;
}

int64_t server_clock_us(struct server *s)
{
	return s->out.clock_us != NULL ? s->out.clock_us(s->out.owner) : s->now_ms * 1000;
}

static void report_touched(struct server *s)
{
	if (s->clock != NULL) {
		for (size_t i = 0; i < s->touched_count; i++)
			session_clock_touch(s->clock, s->touched[i], session_now(s));
	} else if (s->leader_id != 0 && !s->leading) {
		for (size_t at = 0; at < s->touched_count; at += TOUCH_BATCH) {
			size_t n = s->touched_count - at < TOUCH_BATCH ? s->touched_count - at
								       : TOUCH_BATCH;

			/* little-endian in memory as on the wire */
			if (!s->out.peer_send(s->out.owner, s->leader_id, NULL, SERVER_MSG_TOUCH,
					      pk_bytes(s->touched + at, n * 8)))
				return; /* said again with the next report */
		}
	} else {
		return;
	}
	for (size_t i = 0; i < s->touched_count; i++) {
		struct conn *c = conn_of_session(s, s->touched[i]);
		if (c != NULL)
			c->touched = false;
	}
	s->touched_count = 0;
}

static void expire_session(void *arg, uint64_t id, uint64_t gen)
{
	struct server *s = arg;

	server_note(s, PK_LOG_INFO, "session.expire", "id=%#" PRIx64 " gen=%" PRIu64, id, gen);
	server_submit(s, &(struct txn_op){ .type = TXN_EXPIRE, .session_id = id, .gen = gen }, NULL,
		      0, NULL);
}

static void delete_container(void *arg, const struct tree_removal *r)
{
	struct server *s = arg;
	struct pk_buf body = PK_BUF_INIT;

	tree_removal_encode(&body, r);
	server_submit(
		s, &(struct txn_op){ .type = ZK_OP_DELETE_CONTAINER, .body = pk_buf_bytes(&body) },
		NULL, 0, NULL);
	pk_buf_release(&body);
}

static void leader_tick(struct server *s)
{
	if (!s->established)
		return;
	report_touched(s); /* its own clients, lest one end with its request under way */
	/* With a full disk as well: it takes no more of it than the end that a client asks for, and
	 * others may wait for what the dead one held. */
	session_clock_tick(s->clock, session_now(s), expire_session, s);
	handover_tick(s);
	if (s->write_refused)
		return;
	members_tick(s);
	if (s->cfg.container_check_ms > 0 && s->now_ms >= s->container_at_ms) {
		int64_t most = (int64_t)s->cfg.container_per_minute * s->cfg.container_check_ms /
			       60000;

		s->container_at_ms = s->now_ms + s->cfg.container_check_ms;
		tree_expired_nodes(s->tree, s->wall_ms, s->cfg.container_never_used_ms,
				   most > 0 ? (size_t)most : 1, delete_container, s);
	}
}

void server_tick(struct server *s)
{
	struct conn *c;

	if (s->dead || s->raft == NULL)
		return;
	raft_node_tick(s->raft, s->now_ms);
	if (s->dead || s->tree == NULL)
		return;
	if (s->now_ms >= s->touch_at_ms) {
		report_touched(s);
		handover_tell(s);
		s->touch_at_ms = s->now_ms + (s->cfg.tick_ms / 2 < 500 ? s->cfg.tick_ms / 2 : 500);
	}
	/* A pause is the cheapest moment to commit, and then a restart has next to nothing to
	 * replay. */
	if (s->job == NULL && s->log_bytes >= QUIET_LOG_BYTES &&
	    s->now_ms - s->applied_ms >= QUIET_MS && s->now_ms >= s->commit_early_ms)
		s->commit_wanted = true;
	leader_tick(s);
	join_ask(s);
	if (s->leaderless_since_ms != 0 &&
	    s->now_ms - s->leaderless_since_ms > s->cfg.leader_grace_ms) {
		if (!s->read_only) {
			conns_close_all(s, "no leader");
			pending_fail_all(s, "no leader");
		}
		if (!s->read_only && s->cfg.read_only_mode) {
			s->read_only = true;
			server_note(s, PK_LOG_WARN, "server.read_only",
				    "begin=1 without_leader_ms=%" PRId64,
				    s->now_ms - s->leaderless_since_ms);
		}
	}
	local_tick(s);
	while ((c = TAILQ_FIRST(&s->new_conns)) != NULL &&
	       s->now_ms - c->since_ms > s->cfg.connect_wait_ms) {
		pk_counter_add(s->metrics, M_SESSIONLESS_CONNECTIONS_EXPIRED, 1);
		conn_close(c, false, "no connect request");
	}
	state_tick(s);
}

/* ---- life ---- */

int server_open(struct server **out, const struct server_config *cfg,
		const struct server_owner *owner, struct kv *kv, struct pk_rng *rng, int64_t now_ms,
		int64_t wall_ms, struct pk_err *err)
{
	struct server *s = pk_alloc(sizeof(*s));
	struct tree_config tree_cfg = { .path_depth_max = cfg->path_depth_max };

	PK_ASSERT(cfg->id > 0 && cfg->tick_ms > 0 && cfg->out_bytes_max > 0 &&
		  cfg->out_total_max > 0 && cfg->connect_wait_ms > 0 &&
		  (cfg->conn_tokens <= 0 || cfg->conn_fill_ms > 0));
	s->magic = SERVER_MAGIC;
	s->cfg = *cfg;
	s->out = *owner;
	s->kv = kv;
	s->rng = rng;
	s->tokens = cfg->conn_tokens;
	s->filled_ms = now_ms;
	s->now_ms = now_ms;
	s->wall_ms = wall_ms;
	s->join.nonce = s->members.nonce = (uint64_t)wall_ms << 16;
	s->leaderless_since_ms = now_ms > 0 ? now_ms : 1;
	TAILQ_INIT(&s->conns);
	TAILQ_INIT(&s->new_conns);
	/* A new cluster's state is named after the cluster: the same on every server of it. */
	pk_put_le64(tree_cfg.state_id, cfg->cluster_id);
	int rc = tree_open(&s->tree, kv, &tree_cfg, err);
	if (rc != 0) {
		free(s);
		return rc;
	}
	s->durable = *tree_meta(s->tree);
	s->metrics = store_metrics_new();
	s->stats.started_ms = s->unserving_since_ms = s->led_since_ms = now_ms;
	s->stats.durable_wall_ms = wall_ms;
	server_stats_reset(s);
	s->watches = watch_table_new(cfg->watches_max);
	s->local_clock = session_clock_new(cfg->tick_ms);
	s->outbox = txn_pack_new();
	/* server id, then time, then a counter: as ZooKeeper lays them out
	 * (SessionTrackerImpl.initializeNextSessionId); but half of what is left is chance, for a
	 * clock may be back where it was at an earlier start, on a machine without one of its own
	 * with each boot. */
	s->next_session_id = cfg->id << 56 | ((uint64_t)wall_ms >> 12 & 0xfffffff) << 28 |
			     (pk_rng_next(rng) & 0xfffffff);
	if (MUTANT(session_id_reused))
		s->next_session_id = (cfg->id << 56) + 1;
	/* Numbers of an earlier life of this server may still be on their way to the log: never the
	 * same again, whatever the clock says. */
	s->next_seq = MUTANT(number_of_earlier_life)
			      ? 1
			      : (uint64_t)wall_ms << 20 | (pk_rng_next(rng) & 0xfffff) | 1;
	s->sent_seq = s->next_seq - 1;
	*out = s;
	return 0;
}

void server_set_raft(struct server *s, struct raft_node *raft, bool joining)
{
	s->join.active = joining;
	s->raft = raft;
}

void server_close(struct server *s)
{
	if (s == NULL)
		return;
	s->dead = true;
	pending_fail_all(s, "stopping");
	PK_ASSERT(TAILQ_EMPTY(&s->conns));
	leader_end(s);
	state_release(s);
	txn_pack_free(s->outbox);
	free(s->ready);
	free(s->pending);
	free(s->touched);
	local_end_all(s);
	session_clock_free(s->local_clock);
	watch_table_free(s->watches);
	pk_metrics_free(s->metrics);
	if (s->tree != NULL)
		tree_close(s->tree);
	tree_result_release(&s->result);
	pk_buf_release(&s->frame);
	pk_buf_release(&s->event_frame);
	s->magic = 0;
	free(s);
}

void server_set_tree(struct server *s, struct tree *t)
{
	s->tree = t;
	s->durable = *tree_meta(t);
	s->mark.index = 0;
	s->log_bytes = 0;
}

bool server_serving(const struct server *s)
{
	if (s->tree == NULL || s->leader_id == 0)
		return false;
	/* The leader's first entry of its term is applied here: so is all that was committed
	 * before. */
	return s->leading ? s->established : tree_meta(s->tree)->term == s->term;
}

bool server_read_only(const struct server *s)
{
	return s->read_only && s->tree != NULL;
}

void server_stats(struct server *s, struct server_stats *out)
{
	struct conn *c;

	*out = s->stats;
	out->watches = watch_count(s->watches);
	out->watch_paths = watch_path_count(s->watches);
	out->overlay_bytes = kv_overlay_bytes(s->kv);
	out->state_bytes = kv_disk_bytes(s->kv);
	out->durable_index = s->durable.index;
	out->durable_zxid = s->durable.zxid;
	out->outstanding = out->pending_syncs = 0;
	for (size_t i = 0; i < s->pending_count; i++)
		out->pending_syncs += pending_at(s, i)->waiter_count;
	out->connections = out->connections_open = 0;
	TAILQ_FOREACH (c, &s->conns, link) {
		out->connections++;
		out->connections_open += c->state == CONN_OPEN;
		out->outstanding += c->ring_count;
	}
	out->serving = server_serving(s);
	out->read_only = s->read_only;
	out->local_sessions = local_count(s);
	out->write_refused = s->write_refused;
	out->role = s->role;
	out->leader_id = s->leader_id;
	out->term = s->term;
}

void server_stats_reset(struct server *s)
{
	s->stats.latency_min_us = s->stats.latency_max_us = 0;
	s->stats.latency_sum_us = s->stats.latency_count = 0;
	s->stats.packets_received = s->stats.packets_sent = 0;
	s->stats.proposal_last = s->stats.proposal_min = s->stats.proposal_max = -1;
	s->stats.reply_last = s->stats.reply_min = s->stats.reply_max = -1;
}

struct tree *server_tree(struct server *s)
{
	return s->tree;
}

struct watch_table *server_watches(struct server *s)
{
	return s->watches;
}

struct session_clock *server_session_clock(struct server *s)
{
	return s->clock;
}

struct raft_node *server_raft(struct server *s)
{
	return s->raft;
}

struct pk_metrics *server_metrics(struct server *s)
{
	return s->metrics;
}

void server_digest_each(struct server *s, server_digest_f *each, void *arg)
{
	size_t first = s->digest_count > SERVER_DIGESTS ? s->digest_count - SERVER_DIGESTS : 0;

	for (size_t i = first; i < s->digest_count; i++)
		each(arg, &s->digests[i % SERVER_DIGESTS]);
}

void server_check(struct server *s)
{
	struct conn *c;
	size_t open = 0, outstanding = 0, out = 0, new_conns = 0;
	int64_t large = 0;

	watch_check(s->watches);
	TAILQ_FOREACH (c, &s->conns, link) {
		PK_ASSERT(c->magic == CONN_MAGIC);
		PK_ASSERT(!c->gone);
		open += c->state == CONN_OPEN;
		new_conns += c->state == CONN_NEW;
		outstanding += c->ring_count;
		out += c->out_bytes;
		for (uint32_t i = 0; i < c->ring_count; i++)
			large += c->ring[(c->ring_head + i) & (c->ring_cap - 1)].large;
		if (c->state == CONN_OPEN)
			PK_ASSERT(conn_of_session(s, c->session_id) == c);
	}
	TAILQ_FOREACH (c, &s->new_conns, new_link) {
		PK_ASSERT(c->state == CONN_NEW && new_conns > 0);
		new_conns--;
	}
	PK_ASSERT(new_conns == 0);
	PK_ASSERT(open == HASH_COUNT(s->by_session));
	PK_ASSERT(out == s->out_total);
	PK_ASSERT(outstanding == s->outstanding && large == s->large_bytes);
	for (size_t i = 1; i < s->pending_count; i++)
		PK_ASSERT(pending_at(s, i - 1)->seq < pending_at(s, i)->seq);
	PK_ASSERT((s->clock != NULL) == s->established);
}
