#include "store/raft_guard.h"

#include "base/mem.h"
#include "base/mutant.h"
#include "store/raft_msg.h"

/* Debian's libraft-dev 0.15.0-1 on 64-bit machines: another layout needs this file read again. */
static_assert(sizeof(struct raft) == 656, "struct raft of libraft 0.15.0");
static_assert(offsetof(struct raft, id) == 32, "id");
static_assert(offsetof(struct raft, current_term) == 48, "current_term");
static_assert(offsetof(struct raft, voted_for) == 56, "voted_for");
static_assert(offsetof(struct raft, log) == 64 && sizeof(struct raft_log) == 72, "log");
static_assert(offsetof(struct raft, configuration) == 136, "configuration");
static_assert(offsetof(struct raft, configuration_index) == 152, "configuration_index");
static_assert(offsetof(struct raft, configuration_uncommitted_index) == 160, "uncommitted");
static_assert(offsetof(struct raft, commit_index) == 184, "commit_index");
static_assert(offsetof(struct raft, last_applied) == 192, "last_applied");
static_assert(offsetof(struct raft, last_stored) == 200, "last_stored");
static_assert(offsetof(struct raft, state) == 208, "state");
static_assert(offsetof(struct raft, follower_state.randomized_election_timeout) == 216, "timeout");
static_assert(offsetof(struct raft, follower_state.current_leader.id) == 224, "leader");
static_assert(offsetof(struct raft, leader_state.progress) == 216, "progress");
static_assert(sizeof(struct raft_progress) == 56, "struct raft_progress");
static_assert(offsetof(struct raft, leader_state.promotee_id) == 232, "promotee_id");
static_assert(offsetof(struct raft, election_timer_start) == 280, "election_timer_start");
static_assert(offsetof(struct raft, snapshot.trailing) == 300, "trailing");
static_assert(offsetof(struct raft, snapshot.pending) == 304, "pending");
static_assert(offsetof(struct raft, snapshot.put) == 360, "put");
static_assert(sizeof(struct raft_entry) == 40, "struct raft_entry");

/* ---- libraft's log ---- */

static size_t log_count(const struct raft_log *l)
{
	return l->front <= l->back ? l->back - l->front : l->size - l->front + l->back;
}

uint64_t raft_guard_last_index(const struct raft *r)
{
	return r->log.offset + log_count(&r->log);
}

const struct raft_entry *raft_guard_entry(const struct raft *r, uint64_t index)
{
	const struct raft_log *l = &r->log;

	if (index <= l->offset || index > raft_guard_last_index(r))
		return NULL;
	return &l->entries[(l->front + (index - 1 - l->offset)) % l->size];
}

uint64_t raft_guard_term_of(const struct raft *r, uint64_t index)
{
	const struct raft_entry *e = raft_guard_entry(r, index);

	if (e != NULL)
		return e->term;
	return index != 0 && index == r->log.snapshot.last_index ? r->log.snapshot.last_term : 0;
}

/* ---- G10: memberships ---- */

static void confs_cut(struct raft_guard *g, size_t count)
{
	while (g->conf_count > count)
		pk_buf_release(&g->confs[--g->conf_count].bytes);
}

static void confs_prune(struct raft_guard *g, uint64_t committed)
{
	size_t drop = 0;

	while (drop + 1 < g->conf_count && g->confs[drop + 1].index <= committed)
		drop++;
	for (size_t i = 0; i < drop; i++)
		pk_buf_release(&g->confs[i].bytes);
	if (drop > 0)
		memmove(g->confs, g->confs + drop, (g->conf_count - drop) * sizeof(*g->confs));
	g->conf_count -= drop;
}

void raft_guard_conf_add(struct raft_guard *g, uint64_t index, struct pk_bytes conf)
{
	PK_ASSERT(g->conf_count == 0 || g->confs[g->conf_count - 1].index < index);
	g->confs = pk_realloc(g->confs, (g->conf_count + 1) * sizeof(*g->confs));
	struct raft_guard_conf *c = &g->confs[g->conf_count++];
	*c = (struct raft_guard_conf){ .index = index };
	pk_buf_add_bytes(&c->bytes, conf);
}

uint64_t raft_guard_conf_index(const struct raft_guard *g)
{
	return g->conf_count > 0 ? g->confs[g->conf_count - 1].index : 0;
}

struct pk_bytes raft_guard_conf(const struct raft_guard *g)
{
	return g->conf_count > 0 ? pk_buf_bytes(&g->confs[g->conf_count - 1].bytes) : PK_BYTES_NONE;
}

void raft_guard_release(struct raft_guard *g)
{
	confs_cut(g, 0);
	free(g->confs);
	g->confs = NULL;
}

static void conf_restore(struct raft *r, const struct raft_guard_conf *c)
{
	struct raft_configuration conf;
	struct pk_err err = PK_ERR_INIT;

	int rc = raft_conf_decode(&conf, pk_buf_bytes(&c->bytes), &err);
	PK_ASSERT(rc == 0);
	raft_configuration_close(&r->configuration);
	r->configuration = conf;
	r->configuration_index = c->index;
	r->configuration_uncommitted_index = 0;
}

void raft_guard_truncate(struct raft_guard *g, struct raft *r, uint64_t index)
{
	size_t keep = g->conf_count;
	uint64_t adopted = g->uncommitted_saved > r->configuration_index ? g->uncommitted_saved
									 : r->configuration_index;

	while (keep > 0 && g->confs[keep - 1].index >= index)
		keep--;
	confs_cut(g, keep);
	if (!(g->on & RAFT_GUARD_ROLLBACK) || adopted < index)
		return;
	/* The library has adopted a membership that is gone now. The one before it is in the
	 * manifest or in the log: entry 1 at the least is on every server. */
	PK_ASSERT(g->conf_count > 0);
	conf_restore(r, &g->confs[g->conf_count - 1]);
	g->uncommitted_saved = 0;
}

void raft_guard_installed(struct raft_guard *g, struct raft *r, uint64_t index,
			  struct pk_bytes conf)
{
	confs_cut(g, 0);
	raft_guard_conf_add(g, index, conf);
	g->uncommitted_saved = 0;
	if (g->on & RAFT_GUARD_ROLLBACK)
		r->configuration_uncommitted_index = 0;
}

/* ---- messages in ---- */

static struct raft_server *self_of(struct raft *r)
{
	for (unsigned i = 0; i < r->configuration.n; i++)
		if (r->configuration.servers[i].id == r->id)
			return &r->configuration.servers[i];
	return NULL;
}

bool raft_guard_may_commit(const struct raft_guard *g, const struct raft *r)
{
	return g->own_term == r->current_term && g->own_first != 0 &&
	       r->last_stored >= g->own_first;
}

static bool cuts(const struct raft *r, const struct raft_append_entries *a)
{
	for (unsigned i = 0; a->term >= r->current_term && i < a->n_entries; i++) {
		uint64_t term = raft_guard_term_of(r, a->prev_log_index + 1 + i);
		if (term != 0 && term != a->entries[i].term)
			return true;
	}
	return false;
}

enum { PROGRESS_PROBE, PROGRESS_PIPELINE, PROGRESS_SNAPSHOT }; /* libraft's progress.h */

/*
 * Two ways in which libraft waits in vain, for the whole install timeout, while it sends nothing:
 * A peer refuses and says that its log ends below what it once acknowledged to us: it lost its
 * disk, and match_index never falls. One such refusal may be a late one: it counts when it is said
 * DOUBTS times with no acknowledgement in between. A
 * manifest was sent to a peer that acknowledged as much already: its answer changes nothing, and
 * only a change ends the waiting. The same when it answers an earlier one that it was still
 * fetching for, and the log holds what comes behind that.
 */
#define DOUBTS 3

static struct raft_guard_doubt *doubt_of(struct raft_guard *g, uint64_t id)
{
	size_t i = 0;

	while (i < RAFT_GUARD_PEERS_MAX - 1 && g->doubts[i].id != id && g->doubts[i].id != 0)
		i++; /* more peers than that share the last place: a slower cure, no harm */
	if (g->doubts[i].id != id)
		g->doubts[i] = (struct raft_guard_doubt){ .id = id };
	return &g->doubts[i];
}

static void progress_mend(struct raft_guard *g, struct raft *r, const struct raft_message *m)
{
	const struct raft_append_entries_result *result = &m->append_entries_result;
	unsigned i = 0;

	while (i < r->configuration.n && r->configuration.servers[i].id != m->server_id)
		i++;
	if (r->state != RAFT_LEADER || result->term != r->current_term || i == r->configuration.n)
		return;
	struct raft_progress *p = &r->leader_state.progress[i];
	struct raft_guard_doubt *doubt = doubt_of(g, m->server_id);
	if (result->rejected == 0)
		doubt->count = 0;
	if (result->rejected != 0 && result->last_log_index < p->match_index) {
		if (++doubt->count < DOUBTS)
			return;
		doubt->count = 0;
		p->match_index = 0;
		if (p->state == PROGRESS_PIPELINE) {
			p->state = PROGRESS_PROBE;
			p->next_index = result->last_log_index + 1;
		}
	} else if (p->state == PROGRESS_SNAPSHOT && result->rejected == 0 &&
		   result->last_log_index > p->match_index &&
		   result->last_log_index < p->snapshot_index &&
		   raft_guard_term_of(r, result->last_log_index) != 0) {
		p->snapshot_index = result->last_log_index; /* libraft does the rest */
	} else if (p->state == PROGRESS_SNAPSHOT && p->match_index >= p->snapshot_index) {
		p->state = PROGRESS_PROBE;
		p->next_index = p->match_index + 1;
		p->snapshot_index = 0;
	}
}

/*
 * libraft takes an entry that it no longer holds for a new one, and appends it at the end of its
 * log, at another index. What the manifest covers is committed: any leader has the same.
 */
void raft_guard_trim(struct raft_guard *g, struct raft *r, struct raft_message *m)
{
	struct raft_append_entries *a = &m->append_entries;
	uint64_t covered = r->log.snapshot.last_index;

	if (MUTANT(stale_leader_obeyed) && m->type == RAFT_IO_APPEND_ENTRIES)
		a->term = r->current_term;
	if (MUTANT(log_not_matched) && m->type == RAFT_IO_APPEND_ENTRIES)
		a->prev_log_term = raft_guard_term_of(r, a->prev_log_index);
	if (MUTANT(follower_commits_tail) && m->type == RAFT_IO_APPEND_ENTRIES)
		a->leader_commit = UINT64_MAX;
	if (MUTANT(vote_ignores_log) && m->type == RAFT_IO_REQUEST_VOTE)
		m->request_vote.last_log_term = UINT64_MAX;
	if (MUTANT(vote_twice) && m->type == RAFT_IO_REQUEST_VOTE)
		r->voted_for = 0;
	if (!(g->on & RAFT_GUARD_BELOW) || m->type != RAFT_IO_APPEND_ENTRIES ||
	    a->prev_log_index >= covered || a->n_entries == 0 ||
	    raft_guard_term_of(r, a->prev_log_index + 1) != 0)
		return;
	unsigned n = covered - a->prev_log_index < a->n_entries
			     ? (unsigned)(covered - a->prev_log_index)
			     : a->n_entries;
	if (n == a->n_entries) {
		a->prev_log_index += n;
		a->prev_log_term = a->entries[n - 1].term;
		raft_free(a->entries[0].batch);
		raft_free(a->entries);
		a->entries = NULL;
		a->n_entries = 0;
		return;
	}
	a->prev_log_index = covered;
	a->prev_log_term = r->log.snapshot.last_term;
	a->n_entries -= n;
	memmove(a->entries, a->entries + n, a->n_entries * sizeof(*a->entries));
}

enum raft_guard_verdict raft_guard_recv(struct raft_guard *g, struct raft *r,
					const struct raft_message *m, bool writing)
{
	const struct raft_append_entries_result *result = &m->append_entries_result;
	struct raft_server *self = self_of(r);

	g->ae_active = false;
	g->ae_accepted = false;
	switch (m->type) {
	case RAFT_IO_APPEND_ENTRIES:
		/* libraft counts references and stored entries by (term, index): cut off and come
		 * again while the first write is under way, an entry is freed twice and counted
		 * twice. The leader sends again with its next heartbeat. */
		if ((g->on & RAFT_GUARD_CUT) && writing && cuts(r, &m->append_entries))
			return RAFT_GUARD_DROP;
		g->ae_active = m->append_entries.term >= r->current_term;
		g->ae_covers = m->append_entries.prev_log_index + m->append_entries.n_entries;
		if (m->append_entries.term > g->matched_term) {
			g->matched_term = m->append_entries.term;
			g->matched = 0;
		}
		if ((g->on & RAFT_GUARD_ROLLBACK) && r->configuration_uncommitted_index != 0) {
			g->uncommitted_saved = r->configuration_uncommitted_index;
			r->configuration_uncommitted_index = 0;
		}
		return RAFT_GUARD_PASS;
	case RAFT_IO_INSTALL_SNAPSHOT:
		g->ae_active = m->install_snapshot.term >= r->current_term;
		g->ae_accepted = g->ae_active;
		g->ae_covers = m->install_snapshot.last_index;
		if (m->install_snapshot.term > g->matched_term) {
			g->matched_term = m->install_snapshot.term;
			g->matched = 0;
		}
		return RAFT_GUARD_PASS;
	case RAFT_IO_APPEND_ENTRIES_RESULT:
		if ((g->on & RAFT_GUARD_COMMIT) && r->state == RAFT_LEADER &&
		    result->rejected == 0 && result->term == r->current_term &&
		    !raft_guard_may_commit(g, r))
			return RAFT_GUARD_LATER;
		if (g->on & RAFT_GUARD_WAIT)
			progress_mend(g, r, m);
		return RAFT_GUARD_PASS;
	case RAFT_IO_REQUEST_VOTE:
		if ((g->on & RAFT_GUARD_VOTE) && !m->request_vote.pre_vote &&
		    m->request_vote.term == r->current_term && r->voted_for != 0 &&
		    r->voted_for != m->request_vote.candidate_id)
			return RAFT_GUARD_DROP;
		/* The membership that gives us a vote may be with the candidate alone. All that
		 * libraft asks of ours here is whether we are a voter. Not with an empty log: a
		 * voter had to catch up first, so this one has lost its disk. */
		if ((g->on & RAFT_GUARD_GRANT) && r->state == RAFT_FOLLOWER &&
		    r->configuration.n > 0 && (self == NULL || self->role != RAFT_VOTER)) {
			g->standing_in = true;
			g->stand_in = (struct raft_server){ .id = r->id,
							    .address = r->address,
							    .role = RAFT_VOTER };
			g->conf_saved = r->configuration;
			r->configuration = (struct raft_configuration){ .servers = &g->stand_in,
									.n = 1 };
		}
		return RAFT_GUARD_PASS;
	case RAFT_IO_TIMEOUT_NOW:
		return (g->on & RAFT_GUARD_HOLD) && writing ? RAFT_GUARD_DROP : RAFT_GUARD_PASS;
	default:
		return RAFT_GUARD_PASS;
	}
}

void raft_guard_received(struct raft_guard *g, struct raft *r)
{
	if (g->ae_active && g->ae_accepted && g->matched_term == r->current_term &&
	    g->matched < g->ae_covers)
		g->matched = g->ae_covers;
	g->ae_active = false;
	if (g->standing_in) {
		PK_ASSERT(r->configuration.servers == &g->stand_in);
		r->configuration = g->conf_saved;
		g->standing_in = false;
	}
	if (g->uncommitted_saved != 0) {
		if (r->configuration_uncommitted_index == 0 &&
		    r->last_applied < g->uncommitted_saved)
			r->configuration_uncommitted_index = g->uncommitted_saved;
		g->uncommitted_saved = 0;
	}
	confs_prune(g, r->last_applied);
}

/* ---- messages out ---- */

bool raft_guard_send(struct raft_guard *g, const struct raft *r, struct raft_message *m)
{
	struct raft_append_entries_result *result = &m->append_entries_result;

	if (m->server_id == 0 || m->server_address == NULL)
		return false;
	/* libraft answers a pre-vote with the term that was asked for. A candidate whose term is
	 * older asks for it for ever, and if its log is the longest nobody else is elected. */
	struct raft_request_vote_result *vote = &m->request_vote_result;
	if ((g->on & RAFT_GUARD_TERM) && m->type == RAFT_IO_REQUEST_VOTE_RESULT &&
	    vote->pre_vote == raft_tribool_true && !vote->vote_granted &&
	    vote->term < r->current_term)
		vote->term = r->current_term;
	if (m->type != RAFT_IO_APPEND_ENTRIES_RESULT)
		return true;
	if ((g->on & RAFT_GUARD_LATE) && g->completing_term != 0 &&
	    g->completing_term != r->current_term)
		return false;
	if (result->rejected != 0 || result->term != r->current_term)
		return true;
	if (g->ae_active) {
		g->ae_accepted = true;
		if (g->matched < g->ae_covers)
			g->matched = g->ae_covers;
	}
	uint64_t most = g->matched_term == r->current_term ? g->matched : 0;
	/* To a manifest whose entries it holds libraft answers that it has them, be they still on
	 * their way to disk. The result of the write follows. */
	if ((g->on & RAFT_GUARD_STORED) && result->last_log_index > r->last_stored)
		result->last_log_index = r->last_stored;
	if (MUTANT(ack_before_disk))
		result->last_log_index = raft_guard_last_index(r);
	if ((g->on & RAFT_GUARD_ACK) && result->last_log_index > most)
		result->last_log_index = most;
	return true;
}

/* ---- the log ---- */

void raft_guard_append(struct raft_guard *g, struct raft *r, const struct raft_entry *entries,
		       unsigned n, uint64_t index)
{
	g->ae_accepted = true;
	if (r->state == RAFT_LEADER && g->own_term != r->current_term) {
		g->own_term = r->current_term;
		g->own_first = index;
	}
	for (unsigned i = 0; i < n; i++)
		if (entries[i].type == RAFT_CHANGE)
			raft_guard_conf_add(g, index + i,
					    pk_bytes(entries[i].buf.base, entries[i].buf.len));
}

/* ---- time ---- */

void raft_guard_tick(struct raft_guard *g, struct raft *r, bool writing, uint64_t now_ms)
{
	if (MUTANT(commit_without_majority) && r->state == RAFT_LEADER)
		r->commit_index = r->last_stored;
	if ((g->on & RAFT_GUARD_HOLD) && r->state == RAFT_FOLLOWER && writing)
		r->election_timer_start = now_ms;
	/* libraft forgets a silent leader by campaigning, which only a voter does; and who knows a
	 * leader grants no vote. */
	const struct raft_server *self = self_of(r);
	if ((g->on & RAFT_GUARD_GRANT) && r->state == RAFT_FOLLOWER &&
	    (self == NULL || self->role != RAFT_VOTER) &&
	    now_ms - r->election_timer_start >= r->follower_state.randomized_election_timeout)
		r->follower_state.current_leader.id = 0;
	confs_prune(g, r->last_applied);
}

bool raft_guard_elects_itself(const struct raft_guard *g, const struct raft *r, uint64_t now_ms)
{
	unsigned voters = 0;
	bool self = false;

	for (unsigned i = 0; i < r->configuration.n; i++) {
		const struct raft_server *s = &r->configuration.servers[i];
		voters += s->role == RAFT_VOTER;
		self |= s->role == RAFT_VOTER && s->id == r->id;
	}
	return (g->on & RAFT_GUARD_ALONE) && r->state == RAFT_FOLLOWER && self && voters == 1 &&
	       now_ms - r->election_timer_start >= r->follower_state.randomized_election_timeout;
}
