#include "store/raft_node.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/mutant.h"
#include "store/raft_io.h"

#define NODE_MAGIC        0x524e4f44u
#define CATCH_UP_ENTRIES  64 /* a standby that lags no more may become a voter */
#define FETCH_FACTOR      8  /* the log may grow to so many snapshot_log_bytes for a fetch */
#define TRAILING_FRACTION 4  /* kept behind a snapshot: this part of snapshot_log_bytes */

struct proposal {
	STAILQ_ENTRY(proposal) link;
	struct raft_node *n;
	struct raft_apply req;
	raft_node_done_f *done;
	void *owner;
	bool ended;
	enum raft_node_outcome outcome;
	uint64_t index;
};
STAILQ_HEAD(proposal_list, proposal);

/*
 * A membership change, one step at a time:
 *     unknown id:  ADD as spare -> STANDBY -> (CATCH_UP -> VOTER)
 *     known id:    ASSIGN, through STANDBY and CATCH_UP when a spare becomes a voter; or REMOVE
 */
enum change_step {
	CHANGE_NONE,
	CHANGE_ADD,
	CHANGE_STANDBY,
	CHANGE_CATCH_UP,
	CHANGE_ASSIGN,
	CHANGE_REMOVE
};

struct change {
	enum change_step step;
	bool submitted, answered;
	int answer; /* libraft's */
	uint64_t id;
	char address[RAFT_MSG_ADDRESS_BYTES_MAX + 1];
	int role;
	uint64_t match;   /* while catching up */
	int64_t since_ms; /* match moved */
	raft_node_change_f *done;
	void *owner;
	struct raft_change req;
};

/* A leader's manifest, held while the owner fetches the state it speaks of. */
struct install {
	bool held, ready;
	uint64_t newest; /* that this leader sent meanwhile */
	struct raft_message m;
	char address[RAFT_MSG_ADDRESS_BYTES_MAX + 1];
};

/* The manifest that the durable state wants in the log. */
struct checkpoint {
	bool wanted, putting;
	uint64_t index; /* of the one wanted, and before that of the one stored or being stored */
	struct pk_buf payload;
};

struct heard {
	uint64_t id;
	int64_t at_ms;
};

/* The leader's channel broke: a follower need not wait for its election timer. */
struct lost {
	uint64_t leader;  /* 0: nothing of this */
	int64_t since_ms; /* the channel's end */
	bool forgotten;   /* libraft has no leader any more, and who asks gets our vote */
	int64_t elect_ms; /* then: when to ask for votes, unless ... */
	raft_time timer;  /* ... somebody was voted for or heard meanwhile */
};

struct raft_node {
	uint32_t magic;
	struct raft raft;
	struct raft_fsm fsm;
	struct rio rio;
	struct raft_node_config cfg;
	char address[RAFT_MSG_ADDRESS_BYTES_MAX + 1];
	struct raft_node_owner owner;
	bool opening, settling, proposing, told, hold;
	/* what the owner was told last */
	enum raft_node_role role;
	uint64_t term, leader;
	struct pk_buf members; /* encoded */
	uint64_t reported;     /* applied or skipped */
	size_t inflight;
	uint64_t announced;             /* the commit index that followers were last told of */
	struct proposal_list proposals; /* all, in order of submission */
	struct change change;
	struct install install;
	struct checkpoint checkpoint;
	struct heard heard[RAFT_NODE_MEMBERS_MAX];
	size_t heard_count;
	struct lost lost;
	struct pk_buf payload;
};

static_assert((int)RAFT_NODE_STANDBY == (int)RAFT_STANDBY &&
		      (int)RAFT_NODE_VOTER == (int)RAFT_VOTER &&
		      (int)RAFT_NODE_SPARE == (int)RAFT_SPARE,
	      "roles are libraft's");

static struct raft_node *node_of(void *p)
{
	struct raft_node *n = p;

	PK_ASSERT(n->magic == NODE_MAGIC);
	return n;
}

/* ---- the library's state machine ---- */

static void report_skipped(struct raft_node *n, uint64_t up_to)
{
	while (n->reported < up_to) {
		uint64_t index = ++n->reported;
		uint64_t term = raft_guard_term_of(&n->raft, index);
		PK_ASSERT(term != 0);
		n->owner.skip(n->owner.owner, index, term);
	}
}

static int on_apply(struct raft_fsm *fsm, const struct raft_buffer *buf, void **result)
{
	struct raft_node *n = node_of(fsm->data);
	uint64_t index = n->raft.last_applied + 1;

	*result = NULL;
	if (n->rio.failed)
		return RAFT_SHUTDOWN;
	report_skipped(n, index - 1);
	PK_ASSERT(n->reported + 1 == index);
	n->reported = index;
	n->owner.apply(n->owner.owner, index, raft_guard_term_of(&n->raft, index),
		       pk_bytes(buf->base, buf->len));
	return 0;
}

static unsigned trailing_entries(const struct raft_node *n, uint64_t index)
{
	uint64_t most = n->cfg.trailing_entries < UINT32_MAX ? n->cfg.trailing_entries : UINT32_MAX;
	uint64_t bytes = 0;
	unsigned count = 0;

	while (count < most) {
		const struct raft_entry *e = raft_guard_entry(&n->raft, index - count);
		if (e == NULL)
			break;
		bytes += e->buf.len;
		if (bytes > n->cfg.snapshot_log_bytes / TRAILING_FRACTION)
			break;
		count++;
	}
	return count > 0 ? count : 1; /* 0 would mean: replace the log */
}

/* When something of it came last; NULL: nothing yet. */
static const struct heard *heard_of(const struct raft_node *n, uint64_t id)
{
	for (size_t i = 0; i < n->heard_count; i++)
		if (n->heard[i].id == id)
			return &n->heard[i];
	return NULL;
}

static bool is_recent(const struct raft_node *n, uint64_t id)
{
	const struct heard *h = heard_of(n, id);

	return h != NULL && n->rio.now_ms - h->at_ms <= (int64_t)n->cfg.election_ms;
}

/*
 * A member is fetching state, or answers and lacks entries up to `index`: those behind its manifest
 * must still be here when it has that, and until it has them all, or it needs another one, for
 * ever. Within a bound, for the library keeps the log in memory.
 */
static bool somebody_needs(const struct raft_node *n, uint64_t index)
{
	enum { SNAPSHOT = 2 }; /* libraft's PROGRESS__SNAPSHOT */
	const struct raft *r = &n->raft;

	if (r->state != RAFT_LEADER || rlog_bytes(n->rio.log) > n->cfg.fetch_log_bytes)
		return false;
	for (unsigned i = 0; i < r->configuration.n; i++) {
		const struct raft_server *member = &r->configuration.servers[i];
		const struct raft_progress *p = &r->leader_state.progress[i];

		if (member->id == r->id || member->role == RAFT_SPARE)
			continue;
		if (p->state == SNAPSHOT || (p->match_index < index && is_recent(n, member->id)))
			return true;
	}
	return false;
}

/*
 * libraft is about to snapshot its last applied index. Under load that is never durable in the
 * state, so the pending snapshot is moved back to the index that is: its fields are public, and
 * libraft takes index and term from there when the manifest is stored.
 */
static int on_snapshot(struct raft_fsm *fsm, struct raft_buffer *bufs[], unsigned *n_bufs)
{
	struct raft_node *n = node_of(fsm->data);
	struct raft *r = &n->raft;
	uint64_t index = r->last_applied;

	pk_buf_clear(&n->payload);
	/* A membership that is not applied yet must not get into the snapshot: libraft copies the
	 * newest one. */
	if (n->rio.failed || raft_guard_conf_index(&n->rio.guard) > index)
		return RAFT_BUSY;
	report_skipped(n, index);
	uint64_t durable = index;
	if (!n->owner.snapshot(n->owner.owner, &durable, &n->payload))
		return RAFT_BUSY;
	PK_ASSERT(durable <= index && n->payload.len <= RLOG_PAYLOAD_BYTES_MAX);
	uint64_t term = raft_guard_term_of(r, durable);
	if (durable <= r->log.snapshot.last_index || term == 0 ||
	    raft_guard_conf_index(&n->rio.guard) > durable)
		return RAFT_BUSY;
	unsigned trailing = trailing_entries(n, durable);
	if (somebody_needs(n, durable > trailing ? durable - trailing : 0))
		return RAFT_BUSY;
	r->snapshot.pending.index = durable;
	r->snapshot.pending.term = term;
	r->snapshot.pending.configuration_index = raft_guard_conf_index(&n->rio.guard);
	raft_set_snapshot_trailing(r, trailing);
	*bufs = raft_malloc(sizeof(**bufs));
	PK_ASSERT(*bufs != NULL);
	*n_bufs = 1;
	(*bufs)[0].len = n->payload.len;
	(*bufs)[0].base = raft_malloc(n->payload.len + 1);
	PK_ASSERT((*bufs)[0].base != NULL);
	if (n->payload.len > 0)
		memcpy((*bufs)[0].base, n->payload.data, n->payload.len);
	return 0;
}

static void on_checkpoint_done(void *owner, int rc, const struct pk_err *err)
{
	struct raft_node *n = node_of(owner);

	if (n->rio.failed)
		return;
	if (rc != 0) {
		rio_fail(&n->rio, rc, "store a manifest: %s", err->text);
		return;
	}
	rio_enter(&n->rio);
	n->checkpoint.putting = false;
	rio_leave(&n->rio);
}

void raft_node_durable(struct raft_node *n, uint64_t index, struct pk_bytes payload)
{
	struct checkpoint *c = &n->checkpoint;

	PK_ASSERT(n->magic == NODE_MAGIC);
	PK_ASSERT(payload.len <= RLOG_PAYLOAD_BYTES_MAX);
	rio_enter(&n->rio);
	c->wanted = true;
	c->index = index;
	pk_buf_clear(&c->payload);
	pk_buf_add_bytes(&c->payload, payload);
	rio_leave(&n->rio);
}

/*
 * Manifests are stored in the order of their indexes, the library's among them: ours waits while it
 * takes or installs one, and is dropped once that one covers it. As with the library's, a
 * membership above the index must not be in the log, for the newest one is written.
 */
static bool checkpoint_step(struct raft_node *n)
{
	struct checkpoint *c = &n->checkpoint;
	const struct raft *r = &n->raft;

	if (!c->wanted || c->putting || n->rio.installing || r->snapshot.pending.term != 0 ||
	    r->snapshot.put.data != NULL)
		return false;
	const struct rlog_manifest *stored = rlog_manifest_get(n->rio.log);
	uint64_t term = raft_guard_term_of(r, c->index);
	/* A state that was fetched may be ahead of the log. */
	if (c->index > r->last_applied)
		return false;
	if (term == 0 || c->index <= r->log.snapshot.last_index ||
	    (stored != NULL && c->index <= stored->index)) {
		c->wanted = false;
		return false;
	}
	uint64_t conf_index = raft_guard_conf_index(&n->rio.guard);
	if (conf_index == 0 || conf_index > c->index)
		return false;
	struct rlog_manifest m = { .index = c->index,
				   .term = term,
				   .conf_index = conf_index,
				   .conf = raft_guard_conf(&n->rio.guard),
				   .payload = pk_buf_bytes(&c->payload) };
	c->wanted = false;
	c->putting = true;
	rlog_manifest_put(n->rio.log, &m, m.index, false, on_checkpoint_done, n);
	return true;
}

/* The state is in place already: the owner was asked before the library was. */
static int on_restore(struct raft_fsm *fsm, struct raft_buffer *buf)
{
	struct raft_node *n = node_of(fsm->data);

	raft_free(buf->base);
	if (!n->opening)
		n->reported = n->raft.log.snapshot.last_index;
	return 0;
}

/* ---- start and stop ---- */

static int by_id(const void *a, const void *b)
{
	const struct raft_member *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

static int conf_of_members(struct pk_buf *out, const struct raft_member *members, size_t count,
			   struct pk_err *err)
{
	struct raft_configuration conf, check;
	struct raft_member *sorted = pk_memdup(members, count * sizeof(*members));
	int rc = 0;

	qsort(sorted, count, sizeof(*sorted), by_id); /* the same bytes on every server */
	raft_configuration_init(&conf);
	for (size_t i = 0; rc == 0 && i < count; i++) {
		bool terminated = memchr(sorted[i].address, 0, sizeof(sorted[i].address)) != NULL;
		if (!terminated || sorted[i].id == 0 ||
		    raft_configuration_add(&conf, sorted[i].id, sorted[i].address,
					   sorted[i].role) != 0)
			rc = pk_err_set(err, PK_EINVAL,
					"member %" PRIu64 " is given twice or wrong", sorted[i].id);
	}
	if (rc == 0) {
		raft_conf_encode(&conf, out);
		rc = raft_conf_decode(&check, pk_buf_bytes(out), err);
		if (rc == 0)
			raft_configuration_close(&check);
	}
	raft_configuration_close(&conf);
	free(sorted);
	return rc;
}

/* What libraft and G10 will take without looking: memberships, indexes and lengths. */
static int loaded_check(struct raft_node *n, const struct rlog_loaded *l, struct pk_err *err)
{
	struct raft_configuration conf;
	const struct rlog_manifest *m = &l->manifest;

	if (l->has_manifest) {
		if (raft_conf_decode(&conf, m->conf, err) != 0)
			return pk_err_set(err, PK_ECORRUPT, "the manifest's membership");
		raft_configuration_close(&conf);
		if (m->index == 0 || m->term == 0 || m->conf_index == 0 ||
		    m->conf_index > m->index || l->start_index > m->index + 1)
			return pk_err_set(err, PK_ECORRUPT,
					  "manifest at %" PRIu64 ", log from %" PRIu64, m->index,
					  l->start_index);
		raft_guard_conf_add(&n->rio.guard, m->conf_index, m->conf);
	} else if (l->record_count > 0 &&
		   (l->start_index != 1 || l->records[0].type != RAFT_CHANGE)) {
		return pk_err_set(err, PK_ECORRUPT,
				  "no manifest, and the log starts at %" PRIu64 " with type %u",
				  l->start_index, l->records[0].type);
	}
	if (l->has_manifest && l->start_index + l->record_count <= m->index)
		return pk_err_set(err, PK_ECORRUPT,
				  "the log ends at %" PRIu64 ", below the manifest's %" PRIu64,
				  l->start_index + l->record_count - 1, m->index);
	for (size_t i = 0; i < l->record_count; i++) {
		const struct rlog_record *rec = &l->records[i];
		if (rec->index != l->start_index + i || rec->term == 0 || rec->term > l->term ||
		    rec->data.len == 0)
			return pk_err_set(err, PK_ECORRUPT,
					  "record %" PRIu64 " of term %" PRIu64
					  " (stored term %" PRIu64 "), %zu bytes",
					  rec->index, rec->term, l->term, rec->data.len);
		if (rec->type != RAFT_CHANGE)
			continue;
		if (raft_conf_decode(&conf, rec->data, err) != 0)
			return pk_err_set(err, PK_ECORRUPT, "the membership in record %" PRIu64,
					  rec->index);
		raft_configuration_close(&conf);
		if (rec->index > raft_guard_conf_index(&n->rio.guard))
			raft_guard_conf_add(&n->rio.guard, rec->index, rec->data);
	}
	return 0;
}

static void on_bootstrap_done(void *owner, int rc, const struct pk_err *err)
{
	struct raft_node *n = node_of(owner);

	if (rc != 0)
		rio_fail(&n->rio, rc, "append the first entry: %s", err->text);
}

/*
 * The first entry is the same on every server, so the library may take it for stored before it is:
 * a crash before that leaves an empty log, which starts the same way again.
 */
static int bootstrap(struct raft_node *n, struct pk_buf *conf, const struct raft_member *members,
		     size_t count, struct pk_err *err)
{
	int rc = conf_of_members(conf, members, count, err);

	if (rc == 0 && n->raft.current_term < 1) {
		rc = rlog_set_term(n->rio.log, 1, err);
		n->raft.current_term = 1;
	}
	if (rc != 0)
		return rc;
	struct rlog_record first = {
		.index = 1, .term = 1, .type = RAFT_CHANGE, .data = pk_buf_bytes(conf)
	};
	rlog_append(n->rio.log, &first, 1, on_bootstrap_done, n);
	raft_guard_conf_add(&n->rio.guard, 1, pk_buf_bytes(conf));
	return 0;
}

static int raise_term(struct raft_node *n, struct pk_err *err)
{
	if (n->raft.current_term >= n->cfg.term_floor)
		return 0;
	n->raft.current_term = n->cfg.term_floor;
	n->raft.voted_for = 0;
	return rlog_set_term(n->rio.log, n->cfg.term_floor, err);
}

static void node_settle(struct rio *io);

static int raft_run(struct raft_node *n, struct pk_err *err)
{
	struct raft *r = &n->raft;
	uint64_t term = r->current_term, voted_for = r->voted_for;

	n->fsm = (struct raft_fsm){ .version = 1,
				    .data = n,
				    .apply = on_apply,
				    .snapshot = on_snapshot,
				    .restore = on_restore };
	int rv = raft_init(r, &n->rio.io, &n->fsm, n->cfg.id, n->address);
	PK_ASSERT(rv == 0);
	r->current_term = term;
	r->voted_for = voted_for;
	raft_set_heartbeat_timeout(r, n->cfg.heartbeat_ms);
	raft_set_election_timeout(r, n->cfg.election_ms);
	/* When a manifest, or its answer, may be lost and is sent again. Who is still fetching what
	 * the first one speaks of just goes on. */
	raft_set_install_snapshot_timeout(r, n->cfg.install_timeout_ms < 10 * n->cfg.election_ms
						     ? n->cfg.install_timeout_ms
						     : 10 * n->cfg.election_ms);
	raft_set_snapshot_threshold(r, UINT32_MAX);
	raft_set_pre_vote(r, true);
	/* A lone voter would become leader, and apply, before we have returned: hidden from
	 * itself it waits for the first tick. */
	r->id = UINT64_MAX;
	rv = raft_start(r);
	r->id = n->cfg.id;
	if (rv != 0)
		return pk_err_set(err, PK_ECORRUPT, "libraft does not start: %s (%s)",
				  raft_strerror(rv), raft_errmsg(r));
	unsigned voters = 0;
	bool self = false;
	for (unsigned i = 0; i < r->configuration.n; i++) {
		voters += r->configuration.servers[i].role == RAFT_VOTER;
		self |= r->configuration.servers[i].role == RAFT_VOTER &&
			r->configuration.servers[i].id == n->cfg.id;
	}
	if (self && voters == 1)
		r->election_timer_start = (raft_time)n->rio.now_ms - 2ull * n->cfg.election_ms - 1;
	return 0;
}

/* Clauses of the guard that a mutant goes without. */
static uint32_t guard_off(void)
{
	return (MUTANT(guard_commit) ? RAFT_GUARD_COMMIT : 0) |
	       (MUTANT(guard_ack) ? RAFT_GUARD_ACK : 0) |
	       (MUTANT(guard_late) ? RAFT_GUARD_LATE : 0) |
	       (MUTANT(guard_write) ? RAFT_GUARD_WRITE : 0) |
	       (MUTANT(guard_hold) ? RAFT_GUARD_HOLD : 0) |
	       (MUTANT(guard_length) ? RAFT_GUARD_LENGTH : 0) |
	       (MUTANT(guard_vote) ? RAFT_GUARD_VOTE : 0) |
	       (MUTANT(guard_budget) ? RAFT_GUARD_BUDGET : 0) |
	       (MUTANT(guard_rollback) ? RAFT_GUARD_ROLLBACK : 0) |
	       (MUTANT(guard_alone) ? RAFT_GUARD_ALONE : 0) |
	       (MUTANT(guard_change) ? RAFT_GUARD_CHANGE : 0) |
	       (MUTANT(guard_grant) ? RAFT_GUARD_GRANT : 0) |
	       (MUTANT(guard_cut) ? RAFT_GUARD_CUT : 0) |
	       (MUTANT(guard_wait) ? RAFT_GUARD_WAIT : 0) |
	       (MUTANT(guard_below) ? RAFT_GUARD_BELOW : 0) |
	       (MUTANT(guard_place) ? RAFT_GUARD_PLACE : 0) |
	       (MUTANT(guard_term) ? RAFT_GUARD_TERM : 0) |
	       (MUTANT(guard_stored) ? RAFT_GUARD_STORED : 0);
}

int raft_node_open(struct raft_node **out, const struct raft_node_config *cfg,
		   const struct raft_node_owner *owner, struct rlog *log,
		   const struct rlog_loaded *loaded, const struct raft_member *members,
		   size_t member_count, int64_t now_ms, struct pk_rng *rng, struct pk_err *err)
{
	struct raft_node *n = pk_alloc(sizeof(*n));
	struct pk_buf conf = PK_BUF_INIT;
	int rc = 0;

	PK_ASSERT(cfg->id != 0 && cfg->heartbeat_ms > 0 && cfg->election_ms > cfg->heartbeat_ms);
	PK_ASSERT(strlen(cfg->address) > 0 && strlen(cfg->address) < sizeof(n->address));
	PK_ASSERT(member_count <= RAFT_NODE_MEMBERS_MAX);
	n->magic = NODE_MAGIC;
	n->cfg = *cfg;
	if (cfg->fetch_log_bytes == 0)
		n->cfg.fetch_log_bytes = FETCH_FACTOR * cfg->snapshot_log_bytes;
	n->cfg.mute = cfg->mute && !MUTANT(wiped_server_votes);
	memcpy(n->address, cfg->address, strlen(cfg->address));
	n->cfg.address = n->address;
	n->owner = *owner;
	STAILQ_INIT(&n->proposals);
	rio_init(&n->rio, &n->raft);
	n->rio.guard.on = cfg->guard & ~guard_off();
	n->rio.log = log;
	n->rio.rng = rng;
	n->rio.id = cfg->id;
	n->rio.address = n->address;
	n->rio.now_ms = now_ms;
	n->rio.owner = owner->owner;
	n->rio.send = owner->send;
	n->rio.fatal = owner->fatal;
	n->rio.settled = node_settle;
	n->rio.loaded = loaded;
	n->raft.current_term = loaded->term;
	n->raft.voted_for = loaded->voted_for;
	n->opening = true;
	rc = loaded_check(n, loaded, err);
	if (rc == 0 && loaded->has_manifest)
		rc = owner->restore(owner->owner, loaded->manifest.index, loaded->manifest.payload,
				    err);
	if (rc == 0 && !loaded->has_manifest && loaded->record_count == 0 && member_count > 0) {
		rc = bootstrap(n, &conf, members, member_count, err);
		n->rio.bootstrap = pk_buf_bytes(&conf);
	}
	if (rc == 0)
		rc = raise_term(n, err);
	if (rc == 0) {
		rc = raft_run(n, err);
		if (rc != 0) {
			n->rio.closing = true;
			raft_close(&n->raft, NULL);
		}
	}
	pk_buf_release(&conf);
	n->rio.bootstrap = PK_BYTES_NONE;
	if (rc != 0) {
		rio_release(&n->rio);
		free(n);
		return pk_err_wrap(err, "raft");
	}
	n->opening = false;
	n->reported = loaded->has_manifest ? n->raft.last_applied : 0;
	*out = n;
	return 0;
}

static void on_raft_closed(struct raft *r)
{
	(void)r;
}

void raft_node_close(struct raft_node *n, void (*closed)(void *owner), void *owner)
{
	struct proposal *p;

	PK_ASSERT(n->magic == NODE_MAGIC && n->rio.inside == 0 && !n->settling);
	n->rio.closing = true;
	n->change.step = CHANGE_NONE;
	raft_close(&n->raft, on_raft_closed);
	while ((p = STAILQ_FIRST(&n->proposals)) != NULL) {
		STAILQ_REMOVE_HEAD(&n->proposals, link);
		free(p);
	}
	if (n->install.held)
		raft_msg_release(&n->install.m);
	rio_release(&n->rio);
	pk_buf_release(&n->members);
	pk_buf_release(&n->payload);
	pk_buf_release(&n->checkpoint.payload);
	n->magic = 0;
	free(n);
	if (closed != NULL)
		closed(owner);
}

/* ---- state, as the owner sees it ---- */

enum raft_node_role raft_node_role(const struct raft_node *n)
{
	switch (n->raft.state) {
	case RAFT_LEADER:
		return RAFT_NODE_LEADER;
	case RAFT_CANDIDATE:
		return RAFT_NODE_CANDIDATE;
	default:
		return RAFT_NODE_FOLLOWER;
	}
}

uint64_t raft_node_term(const struct raft_node *n)
{
	return n->raft.current_term;
}

uint64_t raft_node_leader(const struct raft_node *n)
{
	const struct raft *r = &n->raft;

	if (r->state == RAFT_LEADER)
		return n->cfg.id;
	/* libraft never forgets the leader of a member that does not vote. */
	if (r->state != RAFT_FOLLOWER ||
	    (uint64_t)n->rio.now_ms - r->election_timer_start > 2ull * n->cfg.election_ms)
		return 0;
	return r->follower_state.current_leader.id;
}

uint64_t raft_node_last_index(const struct raft_node *n)
{
	return raft_guard_last_index(&n->raft);
}

uint64_t raft_node_commit_index(const struct raft_node *n)
{
	return n->raft.commit_index;
}

size_t raft_node_inflight(const struct raft_node *n)
{
	return n->inflight;
}

size_t raft_node_members(const struct raft_node *n, struct raft_member *to, size_t most)
{
	const struct raft_configuration *c = &n->raft.configuration;

	for (unsigned i = 0; i < c->n && i < most; i++) {
		to[i] = (struct raft_member){ .id = c->servers[i].id, .role = c->servers[i].role };
		size_t len = strlen(c->servers[i].address);
		PK_ASSERT(len < sizeof(to[i].address));
		memcpy(to[i].address, c->servers[i].address, len + 1);
	}
	return c->n;
}

static const struct raft_server *server_find(const struct raft_node *n, uint64_t id, unsigned *at)
{
	const struct raft_configuration *c = &n->raft.configuration;

	for (unsigned i = 0; i < c->n; i++) {
		if (c->servers[i].id == id) {
			*at = i;
			return &c->servers[i];
		}
	}
	return NULL;
}

bool raft_node_progress(const struct raft_node *n, uint64_t id, uint64_t *match_index, bool *recent)
{
	unsigned at;

	if (n->raft.state != RAFT_LEADER || server_find(n, id, &at) == NULL)
		return false;
	*match_index = n->raft.leader_state.progress[at].match_index;
	*recent = id == n->cfg.id || is_recent(n, id);
	return true;
}

static void heard_note(struct raft_node *n, uint64_t id)
{
	size_t oldest = 0;

	for (size_t i = 0; i < n->heard_count; i++) {
		if (n->heard[i].id == id) {
			n->heard[i].at_ms = n->rio.now_ms;
			return;
		}
		if (n->heard[i].at_ms < n->heard[oldest].at_ms)
			oldest = i;
	}
	if (n->heard_count < RAFT_NODE_MEMBERS_MAX)
		oldest = n->heard_count++;
	n->heard[oldest] = (struct heard){ .id = id, .at_ms = n->rio.now_ms };
}

/* ---- proposals ---- */

static void on_proposal_end(struct raft_apply *req, int status, void *result)
{
	struct proposal *p = req->data;

	(void)result;
	PK_ASSERT(!p->ended && p->n->inflight > 0);
	p->ended = true;
	p->outcome = status == 0 ? RAFT_NODE_APPLIED : RAFT_NODE_LOST;
	p->index = req->index; /* raft_last_applied is still one behind here */
	p->n->inflight--;
}

int raft_node_propose(struct raft_node *n, struct pk_bytes entry, raft_node_done_f *done,
		      void *owner, struct pk_err *err)
{
	PK_ASSERT(n->magic == NODE_MAGIC);
	if (n->rio.guard.on & RAFT_GUARD_LENGTH)
		PK_ASSERT(entry.len > 0 && entry.len % 8 == 0);
	if (n->rio.failed)
		return pk_err_set(err, PK_ECLOSED, "propose: this server has failed");
	if (n->rio.inside > 0 || n->inflight >= RAFT_NODE_INFLIGHT_MAX)
		return pk_err_set(err, PK_EAGAIN, "propose: %zu entries are outstanding",
				  n->inflight);
	if (n->raft.state != RAFT_LEADER)
		return pk_err_set(err, PK_ESTATE, "propose: not the leader");

	struct proposal *p = pk_alloc(sizeof(*p));
	struct raft_buffer buf = { .base = raft_malloc(entry.len), .len = entry.len };
	PK_ASSERT(buf.base != NULL);
	memcpy(buf.base, entry.data, entry.len);
	*p = (struct proposal){ .n = n, .done = done, .owner = owner };
	p->req.data = p;
	n->rio.inside++; /* without rio_leave: nothing but send may be called from here */
	int rv = raft_apply(&n->raft, &p->req, &buf, 1, on_proposal_end);
	n->rio.inside--;
	if (rv != 0) {
		/* Whether the entry is in the log cannot be known: libraft may still hold req. */
		rio_fail(&n->rio, PK_EIO, "raft_apply: %s", raft_strerror(rv));
		return pk_err_set(err, PK_ECLOSED, "propose: %s", raft_strerror(rv));
	}
	n->inflight++;
	STAILQ_INSERT_TAIL(&n->proposals, p, link);
	return 0;
}

static bool proposals_finish(struct raft_node *n)
{
	struct proposal *p = STAILQ_FIRST(&n->proposals);

	if (p == NULL || !p->ended)
		return false;
	STAILQ_REMOVE_HEAD(&n->proposals, link);
	p->done(p->owner, p->outcome, p->index);
	free(p);
	return true;
}

/* ---- membership ---- */

static void on_change_end(struct raft_change *req, int status)
{
	struct change *c = req->data;

	c->answered = true;
	c->answer = status;
}

static void change_finish(struct raft_node *n, int rc, const char *text)
{
	struct change c = n->change;
	struct pk_err err = PK_ERR_INIT;

	n->change.step = CHANGE_NONE;
	if (rc != 0)
		pk_err_set(&err, rc, "change of member %" PRIu64 ": %s", c.id, text);
	c.done(c.owner, rc, rc != 0 ? &err : NULL);
}

/* An entry of this very term is committed: only then is the newest membership known to be, and the
 * one-server-at-a-time rule safe (Ongaro's correction of 2015). */
static bool term_is_settled(const struct raft_node *n)
{
	const struct raft_guard *g = &n->rio.guard;

	return n->raft.state == RAFT_LEADER &&
	       (MUTANT(change_before_commit) ||
		(g->own_term == n->raft.current_term && n->raft.commit_index >= g->own_first));
}

static bool quiet(const struct raft_node *n)
{
	const struct raft *r = &n->raft;

	return term_is_settled(n) && r->configuration_uncommitted_index == 0 &&
	       r->leader_state.promotee_id == 0 && r->leader_state.change == NULL &&
	       r->snapshot.pending.term == 0 && r->snapshot.put.data == NULL;
}

static int change_submit(struct raft_node *n)
{
	struct change *c = &n->change;
	int rv = 0;

	c->answered = false;
	c->req.data = c;
	n->rio.inside++;
	switch (c->step) {
	case CHANGE_NONE:
	case CHANGE_CATCH_UP:
		PK_ASSERT(false);
		break;
	case CHANGE_ADD:
		rv = raft_add(&n->raft, &c->req, c->id, c->address, on_change_end);
		break;
	case CHANGE_STANDBY:
		rv = raft_assign(&n->raft, &c->req, c->id, RAFT_STANDBY, on_change_end);
		break;
	case CHANGE_ASSIGN:
		rv = raft_assign(&n->raft, &c->req, c->id, c->role, on_change_end);
		break;
	case CHANGE_REMOVE:
		rv = raft_remove(&n->raft, &c->req, c->id, on_change_end);
		break;
	}
	n->rio.inside--;
	return rv;
}

static enum change_step change_next(const struct raft_node *n)
{
	const struct change *c = &n->change;

	switch (c->step) {
	case CHANGE_ADD:
		if (c->role == RAFT_SPARE)
			return CHANGE_NONE;
		return c->role == RAFT_STANDBY ? CHANGE_ASSIGN : CHANGE_STANDBY;
	case CHANGE_STANDBY:
		return CHANGE_CATCH_UP;
	case CHANGE_CATCH_UP:
		return CHANGE_ASSIGN;
	case CHANGE_NONE:
	case CHANGE_ASSIGN:
	case CHANGE_REMOVE:
		break;
	}
	return CHANGE_NONE;
}

static void change_enter(struct raft_node *n, enum change_step step)
{
	n->change.step = step;
	n->change.submitted = false;
	n->change.answered = false;
	n->change.match = 0;
	n->change.since_ms = n->rio.now_ms;
}

static bool change_catch_up(struct raft_node *n)
{
	struct change *c = &n->change;
	uint64_t match;
	bool recent;

	if (!raft_node_progress(n, c->id, &match, &recent)) {
		change_finish(n, PK_ESTATE, "it is no longer a member");
		return true;
	}
	if (match + CATCH_UP_ENTRIES >= raft_node_last_index(n)) {
		change_enter(n, CHANGE_ASSIGN);
		return true;
	}
	if (match > c->match) {
		c->match = match;
		c->since_ms = n->rio.now_ms;
	} else if (n->rio.now_ms - c->since_ms > (int64_t)n->cfg.install_timeout_ms) {
		change_finish(n, PK_ETIMEDOUT, "it does not catch up; it stays a standby");
		return true;
	}
	return false;
}

static bool change_step(struct raft_node *n)
{
	struct change *c = &n->change;

	if (c->step == CHANGE_NONE)
		return false;
	if (c->answered && c->answer == 0) {
		enum change_step next = change_next(n);
		if (next == CHANGE_NONE)
			change_finish(n, 0, "");
		else
			change_enter(n, next);
		return true;
	}
	if (c->answered) {
		change_finish(n, c->answer == RAFT_NOCONNECTION ? PK_ETIMEDOUT : PK_ESTATE,
			      c->answer == RAFT_LEADERSHIPLOST
				      ? "leadership was lost, the outcome is open"
				      : raft_strerror(c->answer));
		return true;
	}
	if (n->raft.state != RAFT_LEADER) {
		change_finish(n, PK_ESTATE, "leadership was lost, the outcome is open");
		return true;
	}
	if (c->step == CHANGE_CATCH_UP)
		return change_catch_up(n);
	if (c->submitted || !quiet(n))
		return false;
	int rv = change_submit(n);
	if (rv != 0)
		change_finish(n, PK_ESTATE, raft_strerror(rv));
	else
		c->submitted = true;
	return true;
}

static int change_check(const struct raft_node *n, const struct raft_server *s, uint64_t id,
			const char *address, int role, struct pk_err *err)
{
	const struct raft_configuration *conf = &n->raft.configuration;
	unsigned voters = 0;

	if (id == 0 || role < -1 || role > RAFT_SPARE)
		return pk_err_set(err, PK_EINVAL, "change: member %" PRIu64 ", role %d", id, role);
	for (unsigned i = 0; i < conf->n; i++) {
		voters += conf->servers[i].role == RAFT_VOTER;
		if (s == NULL && address != NULL && strcmp(conf->servers[i].address, address) == 0)
			return pk_err_set(err, PK_EEXIST, "change: %s is member %llu", address,
					  conf->servers[i].id);
	}
	if (s == NULL && role == -1)
		return pk_err_set(err, PK_ENOENT, "change: no member %" PRIu64, id);
	if (s == NULL &&
	    (address == NULL || address[0] == 0 || strlen(address) > RAFT_MSG_ADDRESS_BYTES_MAX))
		return pk_err_set(err, PK_EINVAL, "change: member %" PRIu64 " needs an address",
				  id);
	if (s == NULL && conf->n >= RAFT_NODE_MEMBERS_MAX)
		return pk_err_set(err, PK_ELIMIT, "change: %u members", conf->n);
	if (s != NULL && role == s->role)
		return pk_err_set(err, PK_EEXIST, "change: member %" PRIu64 " has that role", id);
	if (s != NULL && s->role == RAFT_VOTER && voters == 1)
		return pk_err_set(err, PK_EINVAL, "change: %" PRIu64 " is the only voter", id);
	/* G12: were it to stop before the other has the entry, neither could be elected. */
	if (s != NULL && s->role == RAFT_VOTER && voters == 2 && id == n->cfg.id &&
	    (n->rio.guard.on & RAFT_GUARD_CHANGE))
		return pk_err_set(err, PK_EINVAL,
				  "change: %" PRIu64
				  " leads two voters: only the other one can take its vote",
				  id);
	return 0;
}

int raft_node_change(struct raft_node *n, uint64_t id, const char *address, int role,
		     raft_node_change_f *done, void *owner, struct pk_err *err)
{
	unsigned at;

	PK_ASSERT(n->magic == NODE_MAGIC);
	if (n->rio.failed)
		return pk_err_set(err, PK_ECLOSED, "change: this server has failed");
	if (n->raft.state != RAFT_LEADER)
		return pk_err_set(err, PK_ESTATE, "change: not the leader");
	if (n->rio.inside > 0 || n->change.step != CHANGE_NONE || !quiet(n))
		return pk_err_set(err, PK_EAGAIN,
				  "change: an election, a snapshot or another change is under way");
	const struct raft_server *s = server_find(n, id, &at);
	int rc = change_check(n, s, id, address, role, err);
	if (rc != 0)
		return rc;
	n->change = (struct change){ .id = id, .role = role, .done = done, .owner = owner };
	if (s == NULL)
		memcpy(n->change.address, address, strlen(address) + 1);
	if (s == NULL)
		change_enter(n, CHANGE_ADD);
	else if (role == -1)
		change_enter(n, CHANGE_REMOVE);
	else if (role == RAFT_VOTER && s->role == RAFT_SPARE)
		change_enter(n, CHANGE_STANDBY);
	else if (role == RAFT_VOTER)
		change_enter(n, CHANGE_CATCH_UP);
	else
		change_enter(n, CHANGE_ASSIGN);
	return 0;
}

/* ---- a leader's manifest ---- */

static bool install_is_needed(const struct raft_node *n, const struct raft_install_snapshot *s)
{
	const struct raft *r = &n->raft;
	uint64_t term = raft_guard_term_of(r, s->last_index);

	return s->term >= r->current_term && s->last_index > r->log.snapshot.last_index &&
	       (term == 0 || term < s->last_term);
}

static void install_drop(struct raft_node *n)
{
	raft_msg_release(&n->install.m);
	n->install.held = false;
	n->install.ready = false;
}

static void install_hold(struct raft_node *n, struct raft_message *m)
{
	struct install *i = &n->install;
	const struct raft_install_snapshot *s = &m->install_snapshot;

	/* A leader that hears no answer for a while sends the newest that it has. What is on its
	 * way is enough: it keeps the entries behind that. Else a fetch that takes longer than the
	 * while would be in vain each time, amid writes. */
	if (i->held) {
		const struct raft_install_snapshot *old = &i->m.install_snapshot;
		if (s->term <= old->term) {
			if (s->term == old->term && s->last_index > i->newest)
				i->newest = s->last_index;
			raft_msg_release(m);
			return;
		}
		install_drop(n);
	}
	i->newest = s->last_index;
	i->m = *m;
	memcpy(i->address, m->server_address, strlen(m->server_address) + 1);
	i->m.server_address = i->address;
	i->held = true;
	i->ready = false;
	n->owner.install(n->owner.owner, m->server_id, s->last_index, s->last_term,
			 pk_bytes(s->data.base, s->data.len));
}

static bool install_deliver(struct raft_node *n)
{
	struct install *i = &n->install;
	struct raft *r = &n->raft;
	struct raft_message m = i->m;

	/* libraft forgets a manifest that comes while one is being stored, and the leader would
	 * wait for its timeout. Nor may it replace entries that are being written (G14). */
	if (!i->held || !i->ready || r->snapshot.pending.term != 0 ||
	    r->snapshot.put.data != NULL || !TAILQ_EMPTY(&n->rio.writes))
		return false;
	i->held = false;
	i->ready = false;
	m.server_address = i->address;
	rio_recv(&n->rio, &m);
	return true;
}

static void on_own_sent(struct raft_io_send *req, int status)
{
	(void)status;
	free(req);
}

/* A message that the library does not know of. */
static void send_own(struct raft_node *n, const struct raft_message *m)
{
	struct raft_io_send *req = pk_alloc(sizeof(*req));

	int rv = n->rio.io.send(&n->rio.io, req, m, on_own_sent);
	PK_ASSERT(rv == 0);
}

void raft_node_install_done(struct raft_node *n, int rc)
{
	struct install *i = &n->install;

	PK_ASSERT(n->magic == NODE_MAGIC);
	if (!i->held || n->rio.failed)
		return;
	rio_enter(&n->rio);
	if (rc == 0) {
		i->ready = true;
	} else {
		/* The leader gives up this one, and sends a newer one at once. */
		struct raft_message m = { .type = RAFT_IO_APPEND_ENTRIES_RESULT,
					  .server_id = i->m.server_id,
					  .server_address = i->address };
		m.append_entries_result.term = n->raft.current_term;
		m.append_entries_result.rejected = i->newest;
		m.append_entries_result.last_log_index = raft_guard_last_index(&n->raft);
		send_own(n, &m);
		install_drop(n);
	}
	rio_leave(&n->rio);
}

/* ---- leadership handed over ---- */

int raft_node_hand_over(struct raft_node *n, uint64_t to, struct pk_err *err)
{
	uint64_t last = raft_guard_last_index(&n->raft);
	unsigned at;

	PK_ASSERT(n->magic == NODE_MAGIC);
	if (n->rio.failed || n->raft.state != RAFT_LEADER)
		return pk_err_set(err, PK_ESTATE, "hand over: not the leader");
	const struct raft_server *s = server_find(n, to, &at);
	if (s == NULL || s->role != RAFT_VOTER || to == n->cfg.id)
		return pk_err_set(err, PK_ESTATE, "hand over: %" PRIu64 " is no other voter", to);
	if (n->rio.inside > 0 || n->inflight > 0 || n->change.step != CHANGE_NONE ||
	    !term_is_settled(n) || n->raft.configuration_uncommitted_index != 0 ||
	    n->raft.leader_state.progress[at].match_index != last)
		return pk_err_set(err, PK_EAGAIN,
				  "hand over: something is under way, or %" PRIu64 " lags", to);
	struct raft_message m = { .type = RAFT_IO_TIMEOUT_NOW,
				  .server_id = to,
				  .server_address = s->address };
	m.timeout_now.term = n->raft.current_term;
	m.timeout_now.last_log_index = last;
	m.timeout_now.last_log_term = raft_guard_term_of(&n->raft, last);
	rio_enter(&n->rio);
	send_own(n, &m);
	rio_leave(&n->rio);
	return 0;
}

/* ---- after the library has returned ---- */

static bool role_report(struct raft_node *n)
{
	enum raft_node_role role = raft_node_role(n);
	uint64_t term = raft_node_term(n), leader = raft_node_leader(n);

	if (n->told && role == n->role && term == n->term && leader == n->leader)
		return false;
	n->told = true;
	n->role = role;
	n->term = term;
	n->leader = leader;
	n->owner.role(n->owner.owner, role, term, leader);
	return true;
}

static bool members_report(struct raft_node *n)
{
	struct raft_member members[RAFT_NODE_MEMBERS_MAX];
	struct pk_buf now = PK_BUF_INIT;

	if (n->raft.configuration.n > 0)
		raft_conf_encode(&n->raft.configuration, &now);
	bool changed = !pk_bytes_eq(pk_buf_bytes(&now), pk_buf_bytes(&n->members));
	if (changed) {
		pk_buf_release(&n->members);
		n->members = now;
		size_t count = raft_node_members(n, members, PK_COUNT(members));
		PK_ASSERT(count <= PK_COUNT(members));
		n->owner.members(n->owner.owner, members, count);
	} else {
		pk_buf_release(&now);
	}
	return changed;
}

static bool settle_step(struct raft_node *n)
{
	if (n->raft.state == RAFT_UNAVAILABLE) {
		rio_fail(&n->rio, PK_EIO, "libraft became unavailable: %s", raft_errmsg(&n->raft));
		return false;
	}
	/* Before the log that tells their terms is replaced. */
	report_skipped(n, n->raft.last_applied);
	if (rio_drain(&n->rio) || install_deliver(n))
		return true;
	return proposals_finish(n) || members_report(n) || role_report(n) || change_step(n) ||
	       checkpoint_step(n);
}

/*
 * Followers learn what is committed from the next message, and libraft sends one only with an entry
 * or when a heartbeat is due: a follower's client would wait up to a heartbeat for its reply. So a
 * commit makes the heartbeat due now, for those that keep up.
 */
static void announce_commit(struct raft_node *n)
{
	struct raft *r = &n->raft;
	enum { PIPELINE = 1 }; /* libraft's PROGRESS__PIPELINE */

	if (r->state != RAFT_LEADER || r->commit_index == n->announced || r->configuration.n < 2)
		return;
	n->announced = r->commit_index;
	for (unsigned i = 0; i < r->configuration.n; i++)
		if (r->leader_state.progress[i].state == PIPELINE)
			r->leader_state.progress[i].last_send = 0;
	rio_tick(&n->rio, n->rio.now_ms);
}

static void node_settle(struct rio *io)
{
	struct raft_node *n = node_of(PK_CONTAINER(io, struct raft_node, rio));

	if (n->settling || n->opening)
		return;
	n->settling = true;
	while (!n->rio.failed && settle_step(n))
		;
	n->settling = false;
	bool large = rlog_bytes(n->rio.log) > n->cfg.snapshot_log_bytes;
	raft_set_snapshot_threshold(&n->raft, large ? 1 : UINT32_MAX);
	if (!n->rio.failed)
		announce_commit(n);
}

void raft_node_speak(struct raft_node *n)
{
	n->cfg.mute = false;
}

/* Our place among the voters that are left: they ask one after the other, lest votes be split. */
static unsigned lost_rank(const struct raft_node *n)
{
	const struct raft_configuration *c = &n->raft.configuration;
	unsigned rank = 0;

	for (unsigned i = 0; i < c->n; i++)
		rank += c->servers[i].role == RAFT_VOTER && c->servers[i].id < n->cfg.id &&
			c->servers[i].id != n->lost.leader;
	return rank;
}

/*
 * A leader whose channel broke, and of which nothing came for longer than a heartbeat takes, is
 * gone: a follower forgets it, which lets it vote for another (libraft's pre-vote refuses who asks
 * while there is a leader), and asks for votes itself when those before it had their time. A
 * leader that is only cut off from us goes on: the others still hear it and refuse, and its
 * next heartbeat makes us follow again.
 */
static void lost_step(struct raft_node *n, int64_t now_ms)
{
	struct lost *l = &n->lost;
	struct raft *r = &n->raft;
	const struct heard *h = heard_of(n, l->leader);
	int64_t beat = n->cfg.heartbeat_ms, heard = h != NULL ? h->at_ms : 0;
	uint64_t leader = r->follower_state.current_leader.id;
	unsigned at;

	if (r->state != RAFT_FOLLOWER || n->cfg.mute ||
	    (l->forgotten ? leader != 0 || r->election_timer_start != l->timer
			  : leader != l->leader || heard > l->since_ms + beat / 2)) {
		*l = (struct lost){ .leader = 0 };
	} else if (!l->forgotten) {
		const struct raft_server *self = server_find(n, n->cfg.id, &at);

		/* libraft answers to whom it knows as leader when it has stored what it was sent.
		 */
		if (now_ms - heard <= beat + beat / 2 || self == NULL || self->role != RAFT_VOTER ||
		    !TAILQ_EMPTY(&n->rio.writes) || n->rio.installing)
			return;
		r->follower_state.current_leader.id = 0;
		l->forgotten = true;
		l->elect_ms = now_ms + beat / 2 + (int64_t)lost_rank(n) * beat;
		l->timer = r->election_timer_start;
	} else if (now_ms >= l->elect_ms) {
		r->election_timer_start = (raft_time)now_ms - 2ull * n->cfg.election_ms - 1;
		*l = (struct lost){ .leader = 0 };
	}
}

void raft_node_hold(struct raft_node *n, bool hold)
{
	n->hold = hold;
}

void raft_node_tick(struct raft_node *n, int64_t now_ms)
{
	PK_ASSERT(n->magic == NODE_MAGIC);
	if (n->cfg.mute && n->raft.state == RAFT_FOLLOWER)
		n->raft.election_timer_start = (raft_time)now_ms;
	if (n->lost.leader != 0 && !n->rio.failed)
		lost_step(n, now_ms);
	rio_tick(&n->rio, now_ms);
}

/* libraft would take a second leader of its term for its own, and write over its state. */
static bool leads_in(const struct raft_message *m, uint64_t term)
{
	return (m->type == RAFT_IO_APPEND_ENTRIES && m->append_entries.term == term) ||
	       (m->type == RAFT_IO_INSTALL_SNAPSHOT && m->install_snapshot.term == term);
}

int raft_node_recv(struct raft_node *n, uint64_t from_id, struct pk_bytes data, int64_t now_ms,
		   struct pk_err *err)
{
	struct raft_message m;
	struct raft_msg_head head;

	PK_ASSERT(n->magic == NODE_MAGIC);
	if (n->rio.failed)
		return 0;
	int rc = raft_msg_decode(&m, &head, data, err);
	if (rc != 0)
		return rc;
	if (head.from_id != from_id || head.to_id != n->cfg.id || from_id == n->cfg.id) {
		raft_msg_release(&m);
		return pk_err_set(err, PK_EPROTO,
				  "raft message from %" PRIu64 " says from %" PRIu64 " to %" PRIu64,
				  from_id, head.from_id, head.to_id);
	}
	if (n->raft.state == RAFT_LEADER && leads_in(&m, n->raft.current_term)) {
		raft_msg_release(&m);
		return pk_err_set(err, PK_EPROTO, "server %" PRIu64 " leads in our own term %llu",
				  from_id, n->raft.current_term);
	}
	if (now_ms > n->rio.now_ms)
		n->rio.now_ms = now_ms;
	if (n->cfg.mute && (m.type == RAFT_IO_REQUEST_VOTE || m.type == RAFT_IO_TIMEOUT_NOW)) {
		raft_msg_release(&m);
		return 0;
	}
	heard_note(n, from_id);
	if (m.type == RAFT_IO_INSTALL_SNAPSHOT && install_is_needed(n, &m.install_snapshot)) {
		rio_enter(&n->rio);
		install_hold(n, &m);
		rio_leave(&n->rio);
		return 0;
	}
	if (n->hold && m.type == RAFT_IO_APPEND_ENTRIES)
		raft_msg_strip(&m);
	rio_recv(&n->rio, &m);
	return 0;
}

struct raft *raft_node_library(struct raft_node *n)
{
	return &n->raft;
}

void raft_node_peer_down(struct raft_node *n, uint64_t id)
{
	enum { PROBE = 0, SNAPSHOT = 2 }; /* libraft's PROGRESS__PROBE, PROGRESS__SNAPSHOT */
	unsigned at;

	PK_ASSERT(n->magic == NODE_MAGIC);
	if (n->raft.state == RAFT_FOLLOWER && n->raft.follower_state.current_leader.id == id &&
	    n->lost.leader == 0)
		n->lost = (struct lost){ .leader = id, .since_ms = n->rio.now_ms };
	if (n->rio.failed || n->raft.state != RAFT_LEADER || server_find(n, id, &at) == NULL)
		return;
	struct raft_progress *p = &n->raft.leader_state.progress[at];
	/* A manifest that was lost is not sent again before the install timeout, and nothing else
	 * is either: ask the peer where it is. If it has the manifest, it takes no second one. */
	if (p->state == SNAPSHOT) {
		p->state = PROBE;
		p->snapshot_index = 0;
	}
}

int raft_node_message_check(struct pk_bytes data)
{
	struct raft_message m;
	struct raft_msg_head head;
	struct pk_err err = PK_ERR_INIT;

	int rc = raft_msg_decode(&m, &head, data, &err);
	if (rc == 0)
		raft_msg_release(&m);
	return rc;
}
