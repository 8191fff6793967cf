#include "tests/sim/raft_cluster.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/crc.h"
#include "base/mem.h"
#include "store/raft_io.h"
#include "store/raft_msg.h"
#include "tests/lib/sim_disk.h"

#define MS            1000 /* the clock counts microseconds */
#define TICK_MS       25
#define SEGMENT_BYTES 65536

enum event_kind {
	EVENT_MESSAGE,
	EVENT_TICK,
	EVENT_DISK,
	EVENT_FETCHED,
	EVENT_DURABLE,
	EVENT_DOWN /* the channel to `from` broke */
};

struct event {
	int64_t at_us;
	uint64_t seq;
	enum event_kind kind;
	int node;
	uint64_t life; /* of the node: events of an older life are void */
	int from;
	struct pk_buf data;
};

struct state {
	uint64_t applied;
	uint64_t chain;
};

struct cluster_node {
	int index;
	struct cluster *c;
	uint64_t id, life;
	char address[32];
	bool up, failed;
	struct sim_disk *disk;
	struct rlog *log;
	struct raft_node *raft;
	struct pk_rng rng;
	struct state state, durable;
	uint64_t loaded; /* records, at the last start */
	int64_t disk_extra_us, paused_until_us;
	bool disk_busy, disk_fail, bootstrap;
	enum raft_node_role role;
	uint64_t role_term;
	uint64_t commit_index, change_index; /* as of the last event */
	struct ack *acks;                    /* proposals without an answer */
};

struct known {
	uint64_t hash, prev_term, term;
};

struct cluster {
	struct cluster_options o;
	struct cluster_net net;
	struct pk_rng rng;
	int64_t now_us;
	uint64_t seq;
	struct event **heap;
	size_t events, heap_cap;
	struct cluster_node nodes[CLUSTER_MOST];
	int count;
	bool cut[CLUSTER_MOST][CLUSTER_MOST];
	/* what was applied, by index */
	struct known *applied;
	uint64_t *chains;
	size_t applied_cap;
	uint64_t applied_most;
	/* entries seen on the wire: an open table by (index, term) */
	struct seen {
		uint64_t index, term, hash, prev_term;
	} * seen;
	size_t seen_count, seen_cap;
	uint64_t leaders[1 << 16];  /* by term */
	uint64_t acked_in[1 << 16]; /* highest acknowledged, by the term it happened in */
	uint64_t acked, installs, snapshots, changes;
	unsigned fetches_fail; /* so many more */
	char violation[512];
};

static void on_event(struct cluster *c, struct event *e);

static void violate(struct cluster *c, const char *fmt, ...) PK_PRINTF(2, 3);
static void violate(struct cluster *c, const char *fmt, ...)
{
	va_list args;

	if (c->violation[0] != 0)
		return;
	int len = snprintf(c->violation, sizeof(c->violation),
			   "at %" PRId64 " ms: ", c->now_us / MS);
	va_start(args, fmt);
	vsnprintf(c->violation + len, sizeof(c->violation) - (size_t)len, fmt, args);
	va_end(args);
}

/* ---- events ---- */

static bool event_before(const struct event *a, const struct event *b)
{
	return a->at_us != b->at_us ? a->at_us < b->at_us : a->seq < b->seq;
}

static struct event *event_add(struct cluster *c, int node, enum event_kind kind, int64_t in_us)
{
	struct event *e = pk_alloc(sizeof(*e));
	size_t i = c->events++;

	if (c->events > c->heap_cap) {
		c->heap_cap = c->heap_cap * 2 + 64;
		c->heap = pk_realloc(c->heap, c->heap_cap * sizeof(struct event *));
	}
	*e = (struct event){ .at_us = c->now_us + in_us,
			     .seq = c->seq++,
			     .kind = kind,
			     .node = node,
			     .life = c->nodes[node].life };
	for (; i > 0 && event_before(e, c->heap[(i - 1) / 2]); i = (i - 1) / 2)
		c->heap[i] = c->heap[(i - 1) / 2];
	c->heap[i] = e;
	return e;
}

static struct event *event_take(struct cluster *c)
{
	struct event *top = c->heap[0], *last = c->heap[--c->events];
	size_t i = 0;

	for (;;) {
		size_t child = 2 * i + 1;
		if (child >= c->events)
			break;
		if (child + 1 < c->events && event_before(c->heap[child + 1], c->heap[child]))
			child++;
		if (!event_before(c->heap[child], last))
			break;
		c->heap[i] = c->heap[child];
		i = child;
	}
	c->heap[i] = last;
	return top;
}

static void event_free(struct event *e)
{
	pk_buf_release(&e->data);
	free(e);
}

/* ---- checkers ---- */

static uint64_t mix(uint64_t h, uint64_t v)
{
	h ^= v + 0x9e3779b97f4a7c15u + (h << 6) + (h >> 2);
	h *= 0xff51afd7ed558ccdu;
	return h ^ (h >> 33);
}

static uint64_t hash_of(uint16_t type, struct pk_bytes data)
{
	return mix(mix(type, data.len), pk_crc32c(0, data.data, data.len));
}

static void seen_grow(struct cluster *c)
{
	struct seen *old = c->seen;
	size_t old_cap = c->seen_cap;

	c->seen_cap = old_cap * 2 + 1024;
	c->seen = pk_alloc(c->seen_cap * sizeof(*c->seen));
	for (size_t i = 0; i < old_cap; i++) {
		if (old[i].index == 0)
			continue;
		size_t at = mix(old[i].index, old[i].term) % c->seen_cap;
		while (c->seen[at].index != 0)
			at = (at + 1) % c->seen_cap;
		c->seen[at] = old[i];
	}
	free(old);
}

/* R2 */
static void entry_seen(struct cluster *c, uint64_t index, uint64_t term, uint64_t hash,
		       uint64_t prev_term)
{
	if (c->seen_count * 2 >= c->seen_cap)
		seen_grow(c);
	size_t at = mix(index, term) % c->seen_cap;
	while (c->seen[at].index != 0) {
		struct seen *s = &c->seen[at];
		if (s->index == index && s->term == term) {
			if (s->hash != hash || s->prev_term != prev_term)
				violate(c, "R2: two entries %" PRIu64 " of term %" PRIu64, index,
					term);
			return;
		}
		at = (at + 1) % c->seen_cap;
	}
	c->seen[at] = (struct seen){ index, term, hash, prev_term };
	c->seen_count++;
}

/* R7; what is being cut off or replaced just now is judged when it is sent again */
static void acknowledgement_seen(struct cluster_node *n, const struct raft_message *m, int to)
{
	struct cluster *c = n->c;
	const struct raft *r, *leader;
	uint64_t index = m->append_entries_result.last_log_index;

	if (m->append_entries_result.rejected != 0 || index == 0 || n->raft == NULL)
		return;
	r = raft_node_library(n->raft);
	uint64_t term = raft_guard_term_of(r, index);
	bool leads = r->state == RAFT_FOLLOWER &&
		     r->follower_state.current_leader.id == (raft_id)to + 1;
	if (leads && index > r->last_stored)
		violate(c, "R7: %d acknowledges %" PRIu64 ", stored is %llu", n->index, index,
			r->last_stored);
	if (to >= c->count || !c->nodes[to].up)
		return;
	leader = raft_node_library(c->nodes[to].raft);
	if (leader->state != RAFT_LEADER || leader->current_term != m->append_entries_result.term)
		return;
	uint64_t there = raft_guard_term_of(leader, index);
	if (index > raft_guard_last_index(leader) || (term != 0 && there != 0 && term != there))
		violate(c,
			"R7: %d acknowledges %" PRIu64 " of term %" PRIu64
			" to %d, whose own is of term %" PRIu64,
			n->index, index, term, to, there);
}

/* R6, R8; a lone voter commits whatever it has */
static void commit_seen(struct cluster_node *n)
{
	const struct raft *r = raft_node_library(n->raft);
	unsigned voters = 0;

	for (unsigned i = 0; i < r->configuration.n; i++)
		voters += r->configuration.servers[i].role == RAFT_VOTER;
	uint64_t term = raft_guard_term_of(r, r->commit_index);
	if (r->state == RAFT_LEADER && r->commit_index > n->commit_index && voters > 1 &&
	    term != r->current_term)
		violate(n->c,
			"R6: leader %d of term %llu commits %llu of term %" PRIu64 " by counting",
			n->index, r->current_term, r->commit_index, term);
	n->commit_index = r->commit_index;
	uint64_t change = r->configuration_uncommitted_index;
	if (r->state == RAFT_LEADER && change > n->change_index &&
	    raft_guard_term_of(r, change) == r->current_term && term != r->current_term)
		violate(n->c,
			"R8: leader %d of term %llu changes the membership, and has committed up "
			"to term %" PRIu64,
			n->index, r->current_term, term);
	n->change_index = change;
}

static void message_seen(struct cluster_node *n, struct pk_bytes data, int to)
{
	struct cluster *c = n->c;
	struct raft_message m;
	struct raft_msg_head head;
	struct pk_err err = PK_ERR_INIT;

	if (raft_msg_decode(&m, &head, data, &err) != 0) {
		if (c->o.guard & (1u << 6)) /* G6 off sends what no server takes */
			violate(c, "a server sent what cannot be decoded: %s", err.text);
		return;
	}
	if (m.type == RAFT_IO_APPEND_ENTRIES) {
		uint64_t prev_term = m.append_entries.prev_log_term;
		for (unsigned i = 0; i < m.append_entries.n_entries; i++) {
			const struct raft_entry *e = &m.append_entries.entries[i];
			entry_seen(c, m.append_entries.prev_log_index + 1 + i, e->term,
				   hash_of(e->type, pk_bytes(e->buf.base, e->buf.len)), prev_term);
			prev_term = e->term;
		}
	} else if (m.type == RAFT_IO_APPEND_ENTRIES_RESULT) {
		acknowledgement_seen(n, &m, to);
	}
	raft_msg_release(&m);
}

/* R1, R5; hash 0: an index without a command */
static void applied(struct cluster_node *n, uint64_t index, uint64_t term, uint64_t hash)
{
	struct cluster *c = n->c;

	while (index >= c->applied_cap) {
		size_t cap = c->applied_cap * 2 + 1024;
		c->applied = pk_realloc(c->applied, cap * sizeof(*c->applied));
		c->chains = pk_realloc(c->chains, cap * sizeof(*c->chains));
		memset(c->applied + c->applied_cap, 0,
		       (cap - c->applied_cap) * sizeof(*c->applied));
		memset(c->chains + c->applied_cap, 0, (cap - c->applied_cap) * sizeof(*c->chains));
		c->applied_cap = cap;
	}
	struct known *k = &c->applied[index];
	if (k->term == 0) {
		if (index != c->applied_most + 1)
			violate(c, "R5: %d applied %" PRIu64 " first of all, after %" PRIu64,
				n->index, index, c->applied_most);
		*k = (struct known){ .hash = hash, .term = term };
		c->chains[index] = mix(mix(c->chains[index - 1], term), hash);
		if (index > c->applied_most)
			c->applied_most = index;
	} else if (k->term != term || k->hash != hash) {
		violate(c,
			"R1: %d applied %" PRIu64 " of term %" PRIu64
			", others one of term %" PRIu64,
			n->index, index, term, k->term);
	}
	if (index <= n->state.applied)
		return; /* replayed */
	if (index != n->state.applied + 1)
		violate(c, "R5: %d applied %" PRIu64 " after %" PRIu64, n->index, index,
			n->state.applied);
	n->state.applied = index;
	n->state.chain = mix(mix(n->state.chain, term), hash);
	if (n->state.chain != c->chains[index])
		violate(c, "R1: %d is in another state at %" PRIu64, n->index, index);
}

/* ---- what the node asks of its owner ---- */

static void on_apply_(void *owner, uint64_t index, uint64_t term, struct pk_bytes data)
{
	applied(owner, index, term, hash_of(RAFT_COMMAND, data));
}

static void on_skip(void *owner, uint64_t index, uint64_t term)
{
	applied(owner, index, term, 1);
}

struct ack {
	struct cluster_node *n;
	uint64_t hash;
	struct ack *next;
};

static void ack_free(struct ack *a)
{
	struct ack **at = &a->n->acks;

	while (*at != a)
		at = &(*at)->next;
	*at = a->next;
	free(a);
}

static void on_done(void *owner, enum raft_node_outcome outcome, uint64_t index)
{
	struct ack *a = owner;
	struct cluster *c = a->n->c;

	if (outcome == RAFT_NODE_APPLIED) {
		c->acked++;
		uint64_t term = raft_node_term(a->n->raft);
		if (index > c->acked_in[term])
			c->acked_in[term] = index;
		if (index > c->applied_most || c->applied[index].hash != a->hash)
			violate(c, "R4: %d acknowledged at %" PRIu64 " what is not there",
				a->n->index, index);
	}
	ack_free(a);
}

static int propose(struct cluster_node *n, size_t words)
{
	struct pk_err err = PK_ERR_INIT;
	uint64_t data[64];
	struct ack *a = pk_alloc(sizeof(*a));

	PK_ASSERT(words > 0 && words <= PK_COUNT(data));
	pk_rng_fill(&n->c->rng, data, words * 8);
	struct pk_bytes entry = pk_bytes(data, words * 8);
	*a = (struct ack){ .n = n, .hash = hash_of(RAFT_COMMAND, entry), .next = n->acks };
	n->acks = a;
	int rc = raft_node_propose(n->raft, entry, on_done, a, &err);
	if (rc != 0)
		ack_free(a);
	return rc;
}

/* R3 */
static void on_role(void *owner, enum raft_node_role role, uint64_t term, uint64_t leader_id)
{
	struct cluster_node *n = owner;
	struct cluster *c = n->c;
	bool was = n->role == RAFT_NODE_LEADER && n->role_term == term;

	(void)leader_id;
	n->role = role;
	n->role_term = term;
	if (role != RAFT_NODE_LEADER || was)
		return;
	PK_ASSERT(term < PK_COUNT(c->leaders));
	if (c->leaders[term] != 0)
		violate(c, "R3: %" PRIu64 " leads in term %" PRIu64 ", so did %" PRIu64, n->id,
			term, c->leaders[term]);
	c->leaders[term] = n->id;
	/* A leader elected late, of a term that others have left, need not have what those did. */
	uint64_t must = 0;
	for (uint64_t t = 0; t < term; t++)
		must = must > c->acked_in[t] ? must : c->acked_in[t];
	if (raft_node_last_index(n->raft) < must)
		violate(c,
			"R4: leader %d of term %" PRIu64 " ends at %" PRIu64
			", acknowledged before is %" PRIu64,
			n->index, term, raft_node_last_index(n->raft), must);
	pk_ignore(propose(n, 1),
		  "the first entry of the term; when refused, a later one is the first");
}

static bool on_send(void *owner, uint64_t peer_id, const char *address, struct pk_bytes data)
{
	struct cluster_node *n = owner;
	struct cluster *c = n->c;
	int to = (int)peer_id - 1;

	(void)address;
	PK_ASSERT(to >= 0 && to < CLUSTER_MOST);
	message_seen(n, data, to);
	if (to < c->count && c->cut[n->index][to] && c->net.refuses)
		return false;
	if (to >= c->count || c->cut[n->index][to] || pk_rng_chance(&c->rng, c->net.loss_ppm))
		return true;
	int copies = 1 + pk_rng_chance(&c->rng, c->net.double_ppm);
	while (copies-- > 0) {
		int64_t delay = pk_rng_range(&c->rng, c->net.delay_least_ms * MS,
					     c->net.delay_most_ms * MS) +
				20;
		if (pk_rng_chance(&c->rng, c->net.slow_ppm))
			delay += pk_rng_range(&c->rng, 0, c->net.slow_ms * MS);
		struct event *e = event_add(c, to, EVENT_MESSAGE, delay);
		e->from = n->index;
		e->life = 0; /* a message outlives its receiver's restart */
		pk_buf_add_bytes(&e->data, data);
	}
	return true;
}

static void on_members(void *owner, const struct raft_member *members, size_t count)
{
	(void)owner;
	(void)members;
	(void)count;
}

static bool on_snapshot_(void *owner, uint64_t *index, struct pk_buf *payload)
{
	struct cluster_node *n = owner;

	PK_ASSERT(n->durable.applied <= n->state.applied);
	if (n->durable.applied == 0)
		return false;
	if (n->durable.applied < *index)
		*index = n->durable.applied;
	pk_buf_add_le64(payload, *index);
	n->c->snapshots++;
	return true;
}

static int on_restore_(void *owner, uint64_t index, struct pk_bytes payload, struct pk_err *err)
{
	struct cluster_node *n = owner;
	struct pk_rd r = { .in = payload };

	if (pk_rd_le64(&r) != index || r.bad)
		violate(n->c, "%d got another manifest back", n->index);
	if (n->state.applied < index)
		return pk_err_set(err, PK_ESTATE, "state at %" PRIu64 ", manifest at %" PRIu64,
				  n->state.applied, index);
	return 0;
}

static void on_install(void *owner, uint64_t from_id, uint64_t index, uint64_t term,
		       struct pk_bytes payload)
{
	struct cluster_node *n = owner;

	(void)term;
	(void)payload;
	n->c->installs++;
	struct event *e = event_add(n->c, n->index, EVENT_FETCHED,
				    (n->c->o.fetch_ms + pk_rng_range(&n->c->rng, 1, 400)) * MS);
	e->from = (int)from_id - 1;
	pk_buf_add_le64(&e->data, index);
}

static void on_fatal(void *owner, const struct pk_err *err)
{
	struct cluster_node *n = owner;

	n->failed = true;
	if (!n->disk_fail)
		violate(n->c, "%d failed: %s", n->index, err->text);
}

/* ---- life of a server ---- */

static void node_start(struct cluster_node *n)
{
	struct cluster *c = n->c;
	struct pk_err err = PK_ERR_INIT;
	struct rlog_loaded loaded = { 0 };
	struct rlog_config log_cfg = { .segment_bytes = SEGMENT_BYTES,
				       .cluster_id = 1,
				       .server_id = n->id,
				       .covered_count = c->o.covered_count,
				       .covered_bytes = c->o.snapshot_log_bytes / 8 };
	struct raft_node_config cfg = { .id = n->id,
					.address = n->address,
					.heartbeat_ms = 50,
					.election_ms = 500,
					.install_timeout_ms = 10000,
					.snapshot_log_bytes = c->o.snapshot_log_bytes,
					.trailing_entries = c->o.trailing_entries,
					.guard = c->o.guard };
	struct raft_node_owner owner = {
		n,          on_apply_,    on_skip,     on_role,    on_send,
		on_members, on_snapshot_, on_restore_, on_install, on_fatal
	};
	struct raft_member members[CLUSTER_MOST];

	for (size_t i = 0; i < c->o.count; i++) {
		members[i] = (struct raft_member){ .id = i + 1, .role = RAFT_NODE_VOTER };
		snprintf(members[i].address, sizeof(members[i].address), "host-%zu:2888", i + 1);
	}
	n->life++;
	n->up = true;
	n->failed = n->disk_fail = n->disk_busy = false;
	n->paused_until_us = 0;
	n->state = n->durable;
	n->role = RAFT_NODE_FOLLOWER;
	n->role_term = n->commit_index = n->change_index = 0;

	int rc = rlog_open(&n->log, sim_disk_disk(n->disk), &log_cfg, &loaded, &err);
	if (rc == 0)
		rc = raft_node_open(&n->raft, &cfg, &owner, n->log, &loaded, members,
				    n->bootstrap ? c->o.count : 0, c->now_us / MS, &n->rng, &err);
	n->loaded = rc == 0 ? loaded.record_count : 0;
	rlog_loaded_release(&loaded);
	if (rc != 0) {
		violate(c, "%d does not start: %s", n->index, err.text);
		n->up = false;
		return;
	}
	event_add(c, n->index, EVENT_TICK, pk_rng_range(&c->rng, 1, TICK_MS) * MS);
	event_add(c, n->index, EVENT_DURABLE, pk_rng_range(&c->rng, 1, 100) * MS);
}

static void node_stop(struct cluster_node *n, bool power)
{
	if (!n->up)
		return;
	n->up = false;
	n->life++;
	raft_node_close(n->raft, NULL, NULL);
	rlog_close(n->log);
	if (power)
		sim_disk_crash(n->disk, NULL, NULL);
	else
		sim_disk_kill(n->disk);
	while (n->acks != NULL)
		ack_free(n->acks);
	n->raft = NULL;
	n->log = NULL;
}

static void node_create(struct cluster *c, bool bootstrap)
{
	struct cluster_node *n = &c->nodes[c->count];

	*n = (struct cluster_node){ .index = c->count,
				    .c = c,
				    .id = (uint64_t)c->count + 1,
				    .bootstrap = bootstrap,
				    .disk = sim_disk_new(pk_rng_next(&c->rng)) };
	snprintf(n->address, sizeof(n->address), "host-%d:2888", c->count + 1);
	pk_rng_seed(&n->rng, pk_rng_next(&c->rng));
	c->count++;
	node_start(n);
}

struct cluster *cluster_new(const struct cluster_options *o)
{
	struct cluster *c = pk_alloc(sizeof(*c));

	PK_ASSERT(o->count > 0 && o->count <= CLUSTER_MOST);
	c->o = *o;
	pk_rng_seed(&c->rng, o->seed);
	c->net = (struct cluster_net){ .delay_least_ms = 0, .delay_most_ms = 3 };
	for (size_t i = 0; i < o->count; i++)
		node_create(c, true);
	return c;
}

void cluster_free(struct cluster *c)
{
	for (int i = 0; i < c->count; i++) {
		node_stop(&c->nodes[i], true);
		sim_disk_free(c->nodes[i].disk);
	}
	for (size_t i = 0; i < c->events; i++)
		event_free(c->heap[i]);
	free(c->heap);
	free(c->seen);
	free(c->applied);
	free(c->chains);
	free(c);
}

/* ---- running ---- */

static void disk_poke(struct cluster_node *n)
{
	if (!n->up || n->disk_busy)
		return;
	n->disk_busy = true;
	event_add(n->c, n->index, EVENT_DISK,
		  sim_disk_cost_us(n->disk) + pk_rng_range(&n->c->rng, 0, n->disk_extra_us));
}

static void fetched(struct cluster_node *n, const struct event *e)
{
	struct cluster *c = n->c;
	struct pk_rd r = { .in = pk_buf_bytes(&e->data) };
	uint64_t index = pk_rd_le64(&r);
	const struct cluster_node *from = &c->nodes[e->from];

	if (!from->up || c->cut[e->from][n->index] || from->durable.applied < index ||
	    c->fetches_fail > 0) {
		c->fetches_fail -= c->fetches_fail > 0;
		raft_node_install_done(n->raft, -1);
		return;
	}
	if (from->state.applied > n->state.applied)
		n->state = n->durable = from->state;
	raft_node_install_done(n->raft, n->state.applied >= index ? 0 : -1);
}

static void checkpoint(struct cluster_node *n)
{
	struct pk_buf payload = PK_BUF_INIT;

	pk_buf_add_le64(&payload, n->durable.applied);
	raft_node_durable(n->raft, n->durable.applied, pk_buf_bytes(&payload));
	pk_buf_release(&payload);
}

static void on_event(struct cluster *c, struct event *e)
{
	struct cluster_node *n = &c->nodes[e->node];
	struct pk_err err = PK_ERR_INIT;
	bool disk_again = e->kind != EVENT_DISK;

	if (!n->up || (e->life != 0 && e->life != n->life))
		return;
	if (n->paused_until_us > c->now_us) { /* later, in the same order */
		struct event *again = event_add(c, e->node, e->kind,
						n->paused_until_us - c->now_us);
		again->from = e->from;
		again->life = e->life;
		again->data = e->data;
		e->data = PK_BUF_INIT;
		return;
	}
	switch (e->kind) {
	case EVENT_MESSAGE:
		if (c->cut[e->from][e->node])
			break;
		if (raft_node_recv(n->raft, (uint64_t)e->from + 1, pk_buf_bytes(&e->data),
				   c->now_us / MS, &err) != 0 &&
		    (c->o.guard & (1u << 6)))
			violate(c, "%d refused a message: %s", n->index, err.text);
		break;
	case EVENT_TICK:
		raft_node_tick(n->raft, c->now_us / MS);
		event_add(c, e->node, EVENT_TICK, TICK_MS * MS);
		break;
	case EVENT_DISK:
		n->disk_busy = false;
		disk_again = sim_disk_step(n->disk);
		break;
	case EVENT_FETCHED:
		fetched(n, e);
		break;
	case EVENT_DOWN:
		raft_node_peer_down(n->raft, (uint64_t)e->from + 1);
		break;
	case EVENT_DURABLE:
		n->durable = n->state;
		if (c->o.checkpoints)
			checkpoint(n);
		event_add(c, e->node, EVENT_DURABLE, pk_rng_range(&c->rng, 20, 400) * MS);
		break;
	}
	if (n->failed)
		node_stop(n, false);
	if (n->up)
		commit_seen(n);
	if (disk_again)
		disk_poke(n);
}

static bool step(struct cluster *c, int64_t until_us)
{
	if (c->violation[0] != 0)
		return false;
	if (c->events == 0 || c->heap[0]->at_us > until_us) {
		c->now_us = until_us;
		return false;
	}
	struct event *e = event_take(c);
	c->now_us = e->at_us;
	on_event(c, e);
	event_free(e);
	return true;
}

void cluster_run(struct cluster *c, int64_t ms)
{
	int64_t until = c->now_us + ms * MS;

	while (step(c, until))
		;
}

int cluster_leader(const struct cluster *c)
{
	int leader = -1;

	for (int i = 0; i < c->count; i++) {
		const struct cluster_node *n = &c->nodes[i];
		if (n->up && raft_node_role(n->raft) == RAFT_NODE_LEADER &&
		    (leader < 0 || raft_node_term(n->raft) > raft_node_term(c->nodes[leader].raft)))
			leader = i;
	}
	return leader;
}

int cluster_elect(struct cluster *c, int64_t ms)
{
	int64_t until = c->now_us + ms * MS;

	do {
		int l = cluster_leader(c);
		uint64_t most = c->applied_most;
		if (l >= 0 && most > 0 &&
		    c->applied[most].term == raft_node_term(c->nodes[l].raft) &&
		    c->nodes[l].state.applied == most)
			return l;
	} while (step(c, until));
	return -1;
}

static bool settled(const struct cluster *c)
{
	struct raft_member members[RAFT_NODE_MEMBERS_MAX];
	int l = cluster_leader(c);

	if (l < 0 || raft_node_last_index(c->nodes[l].raft) != c->applied_most)
		return false;
	size_t count = raft_node_members(c->nodes[l].raft, members, PK_COUNT(members));
	for (size_t i = 0; i < count; i++) {
		const struct cluster_node *n = &c->nodes[members[i].id - 1];
		if (n->up && members[i].role != RAFT_NODE_SPARE &&
		    n->state.applied != c->applied_most)
			return false;
	}
	return true;
}

bool cluster_settle(struct cluster *c, int64_t ms)
{
	int64_t until = c->now_us + ms * MS;

	while (!settled(c))
		if (!step(c, until))
			return settled(c) && c->violation[0] == 0;
	return c->violation[0] == 0;
}

/* ---- what a test does to it ---- */

struct pk_rng *cluster_rng(struct cluster *c)
{
	return &c->rng;
}

void cluster_net_set(struct cluster *c, struct cluster_net net)
{
	c->net = net;
}

int64_t cluster_now(const struct cluster *c)
{
	return c->now_us / MS;
}

const char *cluster_violation(const struct cluster *c)
{
	return c->violation[0] != 0 ? c->violation : NULL;
}

bool cluster_up(const struct cluster *c, int i)
{
	return c->nodes[i].up;
}

bool cluster_failed(const struct cluster *c, int i)
{
	return c->nodes[i].failed;
}

struct raft_node *cluster_raft(struct cluster *c, int i)
{
	return c->nodes[i].raft;
}

uint64_t cluster_applied(const struct cluster *c, int i)
{
	return c->nodes[i].state.applied;
}

uint64_t cluster_committed(const struct cluster *c)
{
	return c->applied_most;
}

uint64_t cluster_acked(const struct cluster *c)
{
	return c->acked;
}

uint64_t cluster_installs(const struct cluster *c)
{
	return c->installs;
}

uint64_t cluster_loaded(const struct cluster *c, int i)
{
	return c->nodes[i].loaded;
}

uint64_t cluster_snapshots(const struct cluster *c)
{
	return c->snapshots;
}

uint64_t cluster_changes(const struct cluster *c)
{
	return c->changes;
}

int cluster_propose(struct cluster *c, int i, size_t words)
{
	if (!c->nodes[i].up)
		return PK_ESTATE;
	int rc = propose(&c->nodes[i], words);
	disk_poke(&c->nodes[i]);
	return rc;
}

void cluster_link(struct cluster *c, int from, int to, bool up)
{
	c->cut[from][to] = !up;
}

void cluster_heal(struct cluster *c)
{
	memset(c->cut, 0, sizeof(c->cut));
}

void cluster_peer_down(struct cluster *c, int i, int of)
{
	event_add(c, i, EVENT_DOWN, MS)->from = of;
}

void cluster_crash(struct cluster *c, int i)
{
	bool up = c->nodes[i].up, power = pk_rng_chance(&c->rng, 500000);

	node_stop(&c->nodes[i], power);
	/* Of a killed one the system closes the channels; one without power just goes silent. */
	for (int j = 0; up && !power && j < c->count; j++)
		if (c->nodes[j].up && !c->cut[i][j])
			cluster_peer_down(c, j, i);
}

void cluster_start(struct cluster *c, int i)
{
	if (!c->nodes[i].up)
		node_start(&c->nodes[i]);
}

void cluster_pause(struct cluster *c, int i, int64_t ms)
{
	c->nodes[i].paused_until_us = c->now_us + ms * MS;
}

void cluster_disk(struct cluster *c, int i, int64_t extra_us)
{
	c->nodes[i].disk_extra_us = extra_us;
}

void cluster_fail_disk(struct cluster *c, int i)
{
	struct cluster_node *n = &c->nodes[i];

	n->disk_fail = true;
	sim_disk_set_faults(n->disk,
			    &(struct sim_disk_faults){ .fail_at = sim_disk_ops(n->disk) + 1 });
}

void cluster_mend_disk(struct cluster *c, int i)
{
	sim_disk_set_faults(c->nodes[i].disk, &(struct sim_disk_faults){ 0 });
}

int cluster_add(struct cluster *c)
{
	if (c->count == CLUSTER_MOST)
		return -1;
	node_create(c, false);
	return c->count - 1;
}

static void on_changed(void *owner, int rc, const struct pk_err *err)
{
	struct cluster *c = owner;

	(void)err;
	c->changes += rc == 0;
}

int cluster_change(struct cluster *c, int i, int role)
{
	int l = cluster_leader(c);
	struct pk_err err = PK_ERR_INIT;

	if (l < 0)
		return PK_ESTATE;
	return raft_node_change(c->nodes[l].raft, c->nodes[i].id, c->nodes[i].address, role,
				on_changed, c, &err);
}
