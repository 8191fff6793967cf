#include "tests/sim/raft_cluster.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/crc.h"
#include "base/mem.h"
#include "store/raft_msg.h"
#include "tests/sim/mem_rlog.h"

#define TICK_MS      25
#define ENTRIES_MOST (1u << 20)

enum event_kind { EVENT_MESSAGE, EVENT_TICK, EVENT_DISK, EVENT_FETCHED, EVENT_DURABLE };

struct event {
	int64_t at_ms;
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
	struct mem_store store;
	struct disk disk;
	struct rlog *log;
	struct raft_node *raft;
	struct pk_rng rng;
	struct state state, durable;
	int64_t disk_least_ms, disk_most_ms, paused_until_ms;
	bool disk_busy, disk_fail, bootstrap;
	enum raft_node_role role;
	uint64_t role_term;
};

struct known {
	uint64_t hash, prev_term, term;
};

struct cluster {
	struct cluster_options o;
	struct cluster_net net;
	struct pk_rng rng;
	int64_t now_ms;
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
	uint64_t leaders[1 << 16]; /* by term */
	uint64_t acked, acked_most, installs, snapshots, changes;
	char violation[512];
};

static void on_event(struct cluster *c, struct event *e);

static void violate(struct cluster *c, const char *fmt, ...) PK_PRINTF(2, 3);
static void violate(struct cluster *c, const char *fmt, ...)
{
	va_list args;

	if (c->violation[0] != 0)
		return;
	int len = snprintf(c->violation, sizeof(c->violation), "at %" PRId64 " ms: ", c->now_ms);
	va_start(args, fmt);
	vsnprintf(c->violation + len, sizeof(c->violation) - (size_t)len, fmt, args);
	va_end(args);
}

/* ---- events ---- */

static bool event_before(const struct event *a, const struct event *b)
{
	return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->seq < b->seq;
}

static struct event *event_add(struct cluster *c, int node, enum event_kind kind, int64_t in_ms)
{
	struct event *e = pk_alloc(sizeof(*e));
	size_t i = c->events++;

	if (c->events > c->heap_cap) {
		c->heap_cap = c->heap_cap * 2 + 64;
		c->heap = pk_realloc(c->heap, c->heap_cap * sizeof(struct event *));
	}
	*e = (struct event){ .at_ms = c->now_ms + in_ms,
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

static void message_seen(struct cluster *c, struct pk_bytes data)
{
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
	uint64_t life, hash;
};

static void on_done(void *owner, enum raft_node_outcome outcome, uint64_t index)
{
	struct ack *a = owner;
	struct cluster *c = a->n->c;

	if (outcome == RAFT_NODE_APPLIED) {
		c->acked++;
		if (index > c->acked_most)
			c->acked_most = index;
		if (index > c->applied_most || c->applied[index].hash != a->hash)
			violate(c, "R4: %d acknowledged at %" PRIu64 " what is not there",
				a->n->index, index);
	}
	free(a);
}

static int propose(struct cluster_node *n, size_t words)
{
	struct pk_err err = PK_ERR_INIT;
	uint64_t data[64];
	struct ack *a = pk_alloc(sizeof(*a));

	PK_ASSERT(words > 0 && words <= PK_COUNT(data));
	pk_rng_fill(&n->c->rng, data, words * 8);
	struct pk_bytes entry = pk_bytes(data, words * 8);
	*a = (struct ack){ .n = n, .life = n->life, .hash = hash_of(RAFT_COMMAND, entry) };
	int rc = raft_node_propose(n->raft, entry, on_done, a, &err);
	if (rc != 0)
		free(a);
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
	if (raft_node_last_index(n->raft) < c->acked_most)
		violate(c,
			"R4: leader %d of term %" PRIu64 " ends at %" PRIu64
			", acknowledged is %" PRIu64,
			n->index, term, raft_node_last_index(n->raft), c->acked_most);
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
	message_seen(c, data);
	if (to >= c->count || c->cut[n->index][to] || pk_rng_chance(&c->rng, c->net.loss_ppm))
		return true;
	int copies = 1 + pk_rng_chance(&c->rng, c->net.double_ppm);
	while (copies-- > 0) {
		int64_t delay = pk_rng_range(&c->rng, c->net.delay_least_ms, c->net.delay_most_ms);
		if (pk_rng_chance(&c->rng, c->net.slow_ppm))
			delay += pk_rng_range(&c->rng, 0, c->net.slow_ms);
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
				    pk_rng_range(&n->c->rng, 1, 400));
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
	struct rlog_loaded loaded;
	struct rlog_config log_cfg = { .segment_bytes = 1 << 20,
				       .cluster_id = 1,
				       .server_id = n->id };
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
	n->paused_until_ms = 0;
	n->state = n->durable;
	n->role = RAFT_NODE_FOLLOWER;
	n->role_term = 0;
	n->disk.impl = &n->store;
	int rc = rlog_open(&n->log, &n->disk, &log_cfg, &loaded, &err);
	if (rc == 0)
		rc = raft_node_open(&n->raft, &cfg, &owner, n->log, &loaded, members,
				    n->bootstrap ? c->o.count : 0, c->now_ms, &n->rng, &err);
	rlog_loaded_release(&loaded);
	if (rc != 0) {
		violate(c, "%d does not start: %s", n->index, err.text);
		n->up = false;
		return;
	}
	event_add(c, n->index, EVENT_TICK, pk_rng_range(&c->rng, 1, TICK_MS));
	event_add(c, n->index, EVENT_DURABLE, pk_rng_range(&c->rng, 1, 100));
}

static void node_stop(struct cluster_node *n)
{
	if (!n->up)
		return;
	n->up = false;
	n->life++;
	raft_node_close(n->raft, NULL, NULL);
	mem_rlog_crash(n->log, &n->c->rng);
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
				    .disk_least_ms = 0,
				    .disk_most_ms = 2 };
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
		node_stop(&c->nodes[i]);
		mem_store_release(&c->nodes[i].store);
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

/* One request at a time, each taking its time: as the log thread does it. */
static void disk_poke(struct cluster_node *n)
{
	if (!n->up || n->disk_busy || n->log->ops == 0)
		return;
	n->disk_busy = true;
	event_add(n->c, n->index, EVENT_DISK,
		  pk_rng_range(&n->c->rng, n->disk_least_ms, n->disk_most_ms));
}

static void fetched(struct cluster_node *n, const struct event *e)
{
	struct cluster *c = n->c;
	struct pk_rd r = { .in = pk_buf_bytes(&e->data) };
	uint64_t index = pk_rd_le64(&r);
	const struct cluster_node *from = &c->nodes[e->from];

	if (!from->up || c->cut[e->from][n->index] || from->durable.applied < index) {
		raft_node_install_done(n->raft, -1);
		return;
	}
	if (from->state.applied > n->state.applied)
		n->state = n->durable = from->state;
	raft_node_install_done(n->raft, n->state.applied >= index ? 0 : -1);
}

static void on_event(struct cluster *c, struct event *e)
{
	struct cluster_node *n = &c->nodes[e->node];
	struct pk_err err = PK_ERR_INIT;

	if (!n->up || (e->life != 0 && e->life != n->life))
		return;
	if (n->paused_until_ms > c->now_ms) { /* later, in the same order */
		struct event *again = event_add(c, e->node, e->kind,
						n->paused_until_ms - c->now_ms);
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
				   c->now_ms, &err) != 0 &&
		    (c->o.guard & (1u << 6)))
			violate(c, "%d refused a message: %s", n->index, err.text);
		break;
	case EVENT_TICK:
		raft_node_tick(n->raft, c->now_ms);
		event_add(c, e->node, EVENT_TICK, TICK_MS);
		break;
	case EVENT_DISK:
		n->disk_busy = false;
		mem_rlog_step(n->log, n->disk_fail ? PK_EIO : 0);
		break;
	case EVENT_FETCHED:
		fetched(n, e);
		break;
	case EVENT_DURABLE:
		n->durable = n->state;
		event_add(c, e->node, EVENT_DURABLE, pk_rng_range(&c->rng, 20, 400));
		break;
	}
	if (n->failed)
		node_stop(n);
	disk_poke(n);
}

static bool step(struct cluster *c, int64_t until_ms)
{
	if (c->violation[0] != 0)
		return false;
	if (c->events == 0 || c->heap[0]->at_ms > until_ms) {
		c->now_ms = until_ms;
		return false;
	}
	struct event *e = event_take(c);
	c->now_ms = e->at_ms;
	on_event(c, e);
	event_free(e);
	return true;
}

void cluster_run(struct cluster *c, int64_t ms)
{
	int64_t until = c->now_ms + ms;

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
	int64_t until = c->now_ms + ms;

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
	int64_t until = c->now_ms + ms;

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
	return c->now_ms;
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

void cluster_crash(struct cluster *c, int i)
{
	node_stop(&c->nodes[i]);
}

void cluster_start(struct cluster *c, int i)
{
	if (!c->nodes[i].up)
		node_start(&c->nodes[i]);
}

void cluster_pause(struct cluster *c, int i, int64_t ms)
{
	c->nodes[i].paused_until_ms = c->now_ms + ms;
}

void cluster_disk(struct cluster *c, int i, int64_t least_ms, int64_t most_ms)
{
	c->nodes[i].disk_least_ms = least_ms;
	c->nodes[i].disk_most_ms = most_ms;
}

void cluster_fail_disk(struct cluster *c, int i)
{
	c->nodes[i].disk_fail = true;
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
