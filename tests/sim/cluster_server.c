/*
 * One server of the simulated cluster: what node_io.c is to the real one.
 */
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uthash.h>

#include "base/crc.h"
#include "store/raft_msg.h"
#include "tests/sim/cluster_client.h"
#include "tests/sim/cluster_history.h"
#include "tests/sim/cluster_int.h"
#include "tests/sim/cluster_rules.h"

#define HEARTBEAT_MS      50
#define ELECTION_MS       500
#define CLUSTER_ID        0xc1u
#define WALL_BASE_MS      1700000000000
#define DISK_CHECK_MS     1000
#define DISK_LOW_SEGMENTS 12
#define REVIVE_MS         500

struct touch {
	UT_hash_handle hh;
	uint64_t session;
	int64_t at_us;
};

bool server_alive(const struct sim_server *n, uint64_t life)
{
	return n->up && n->life == life;
}

static int64_t wall_ms(const struct sim_server *n)
{
	return WALL_BASE_MS + n->sim->now_us / SIM_MS + n->wall_offset_ms;
}

/* ---- checks at every step ---- */

static struct meta_seen *seen_at(struct sim *s, uint64_t index)
{
	while (index >= s->seen_cap) {
		size_t cap = s->seen_cap * 2 + 1024;
		s->seen = pk_realloc(s->seen, cap * sizeof(*s->seen));
		memset(s->seen + s->seen_cap, 0, (cap - s->seen_cap) * sizeof(*s->seen));
		s->seen_cap = cap;
	}
	return &s->seen[index];
}

/* The same index, the same state, whoever has it and however it came there. */
static void meta_check(struct sim_server *n)
{
	struct sim *s = n->sim;
	const struct tree_meta *m;

	if (n->server == NULL || server_tree(n->server) == NULL)
		return;
	m = tree_meta(server_tree(n->server));
	if (m->index == 0 || m->index == n->checked_index)
		return;
	n->checked_index = m->index;
	if (s->record != NULL && m->zxid != 0)
		record_digest(s->record, n->index, m->zxid, m->digest);
	struct meta_seen *seen = seen_at(s, m->index);
	if (!seen->meta_known) {
		seen->meta_known = true;
		seen->zxid = m->zxid;
		seen->digest = m->digest;
		seen->extra = m->extra;
	} else if (seen->zxid != m->zxid || seen->digest != m->digest || seen->extra != m->extra) {
		sim_violate(s,
			    "server %d has another tree at index %" PRIu64 ": zxid %#" PRIx64
			    " digest %016" PRIx64 "/%016" PRIx64 ", before it was %#" PRIx64
			    " %016" PRIx64 "/%016" PRIx64,
			    n->index, m->index, m->zxid, m->digest, m->extra, seen->zxid,
			    seen->digest, seen->extra);
	}
	if (m->index == model_index(s->model) && m->zxid != model_zxid(s->model))
		sim_violate(s, "server %d is at zxid %#" PRIx64 ", the model at %#" PRIx64,
			    n->index, m->zxid, model_zxid(s->model));
}

/* Until a leader's clock of sessions begins nobody could end one since the last one committed. */
static void leads_from_now(struct sim_server *n)
{
	struct sim *s = n->sim;

	n->leading_since_us = s->now_us;
	if (s->record != NULL)
		record_fault(s->record, "election", s->led_us, s->now_us);
	s->led_us = s->now_us;
}

/* Not what a leader left behind and the next one commits. */
static bool leader_works(const struct sim *s, uint64_t term)
{
	bool leads = false;

	for (size_t i = 0; i < s->o.servers; i++) {
		const struct sim_server *n = &s->servers[i];

		if (!n->up || n->raft == NULL)
			continue;
		if (raft_node_term(n->raft) > term)
			return false;
		leads |= raft_node_term(n->raft) == term && n->leading_since_us != 0;
	}
	return leads;
}

static void entry_seen(struct sim_server *n, uint64_t index, uint64_t term, struct pk_bytes data)
{
	struct sim *s = n->sim;
	struct meta_seen *seen = seen_at(s, index);
	uint64_t hash = data.data == NULL
				? 1
				: ((uint64_t)data.len << 32 | pk_crc32c(0, data.data, data.len));

	if (!seen->entry_known) {
		if (index != model_index(s->model) + 1) {
			sim_violate(s, "server %d applied %" PRIu64 " first of all, after %" PRIu64,
				    n->index, index, model_index(s->model));
			return;
		}
		seen->entry_known = true;
		seen->hash = hash;
		seen->term = term;
		s->stats.entries++;
		if (leader_works(s, term))
			s->led_us = s->now_us;
		sim_mix(s, hash);
		log_rules_entry(s->rules, term, data);
		model_apply(s->model, index, data, s->now_us);
		if (model_complaint(s->model) != NULL)
			sim_violate(s, "%s", model_complaint(s->model));
	} else if (seen->hash != hash || seen->term != term) {
		sim_violate(s,
			    "server %d applied another entry %" PRIu64 " (term %" PRIu64
			    ", before it was %" PRIu64 ")",
			    n->index, index, term, seen->term);
	}
}

/* ---- sessions, as the leader's clock hears of them ---- */

static void touch_note(struct sim_server *n, uint64_t session)
{
	struct touch *t;

	HASH_FIND(hh, n->touched, &session, sizeof(session), t);
	if (t == NULL) {
		t = pk_alloc(sizeof(*t));
		t->session = session;
		HASH_ADD(hh, n->touched, session, sizeof(t->session), t);
	}
	t->at_us = n->sim->now_us;
}

static void touches_clear(struct sim_server *n)
{
	struct touch *t, *next;

	HASH_ITER (hh, n->touched, t, next) {
		HASH_DEL(n->touched, t);
		free(t);
	}
}

static void expiry_check(struct sim_server *n, uint64_t session)
{
	struct sim *s = n->sim;
	const struct model_session *m = model_session(s->model, session);
	struct touch *t;
	int64_t heard = n->leading_since_us;

	HASH_FIND(hh, n->touched, &session, sizeof(session), t);
	if (t != NULL && t->at_us > heard)
		heard = t->at_us;
	if (m == NULL)
		sim_violate(s, "server %d expires session %#" PRIx64 ", which there never was",
			    n->index, session);
	else if (s->now_us - heard < (int64_t)m->timeout_ms * SIM_MS)
		sim_violate(s,
			    "server %d expires session %#" PRIx64 " after %" PRId64
			    " ms of its %d ms",
			    n->index, session, (s->now_us - heard) / SIM_MS, m->timeout_ms);
}

/* ---- what the server asks for ---- */

static bool owner_peer_send(void *owner, uint64_t peer_id, const char *address,
			    enum server_message type, struct pk_bytes bytes)
{
	struct sim_server *n = owner;

	if (address != NULL && n->raft != NULL && raft_node_role(n->raft) != RAFT_NODE_LEADER)
		link_know(n, (int)peer_id - 1, true); /* as node_io.c */
	PK_ASSERT(peer_id > 0 && peer_id <= n->sim->o.servers && peer_id != n->id);
	return link_send(n, (int)peer_id - 1, (uint8_t)type, bytes);
}

static void commit_told(struct sim *s, struct event *e)
{
	struct sim_server *n = &s->servers[e->server];
	struct server_stats stats;
	struct pk_err err = PK_ERR_INIT;

	if (!server_alive(n, e->life))
		return;
	s->stats.commits++;
	server_stats(n->server, &stats);
	s->stats.waits += stats.waits - n->waits;
	n->waits = stats.waits;
	server_enter(n);
	server_commit_done(n->server, e->p, 0, &err);
	server_left(n);
}

static void commit_work(struct sim *s, struct event *e)
{
	struct sim_server *n = &s->servers[e->server];
	struct pk_err err = PK_ERR_INIT;

	if (!server_alive(n, e->life))
		return;
	if (kv_commit_run(e->p, &err) != 0) {
		sim_violate(s, "server %d cannot commit: %s", n->index, err.text);
		return;
	}
	event_add(s, pk_rng_range(&s->rng, 0, 2000), commit_told, n->index, e->p, 0);
}

static void owner_commit(void *owner, struct kv_job *job)
{
	struct sim_server *n = owner;

	event_add(n->sim, pk_rng_range(&n->sim->rng, 500, 20000 + n->commit_us), commit_work,
		  n->index, job, 0);
}

static void owner_secret(void *owner, void *to, size_t len)
{
	struct sim_server *n = owner;

	pk_rng_fill(&n->sim->rng, to, len);
}

static void owner_auth(void *owner, void *io, struct pk_bytes scheme, struct pk_bytes auth,
		       struct server_auth_result *r)
{
	(void)owner;
	(void)io;
	*r = (struct server_auth_result){ 0 };
	if (!pk_bytes_is(scheme, "digest") || auth.len >= sizeof(r->ids[0].id))
		return;
	r->ok = true;
	r->count = 1;
	bool super = pk_bytes_is(auth, SIM_SUPER);
	snprintf(r->ids[0].scheme, sizeof(r->ids[0].scheme), super ? "super" : "digest");
	if (!super)
		memcpy(r->ids[0].id, auth.data, auth.len);
}

static int32_t owner_sasl(void *owner, void *io, struct pk_bytes token, struct pk_buf *out,
			  bool *out_null, struct server_auth_result *result)
{
	(void)owner;
	(void)io;
	(void)token;
	(void)out;
	(void)result;
	*out_null = true;
	return 0;
}

static void owner_import_begin(void *owner)
{
	struct sim_server *n = owner;
	struct pk_err err = PK_ERR_INIT;

	if (state_dir_import_begin(n->states, &err) != 0)
		sim_violate(n->sim, "server %d cannot begin to fetch: %s", n->index, err.text);
}

static int owner_import_chunk(void *owner, struct pk_bytes records, struct pk_err *err)
{
	struct sim_server *n = owner;

	return state_dir_import_add(n->states, records, err);
}

static void imported(struct sim *s, struct event *e)
{
	struct sim_server *n = &s->servers[e->server];
	struct pk_err err = PK_ERR_INIT;

	if (!server_alive(n, e->life))
		return;
	pk_ignore(state_dir_import_finish(n->states, &err), "told from err");
	n->importing = false;
	server_enter(n);
	server_import_ready(n->server, err.code, &err);
	server_left(n);
}

static void owner_import_finish(void *owner)
{
	struct sim_server *n = owner;

	n->importing = true;
	event_add(n->sim, pk_rng_range(&n->sim->rng, 1000, 50000 + n->commit_us), imported,
		  n->index, NULL, 0);
}

static struct kv *owner_import_swap(void *owner, struct pk_err *err)
{
	struct sim_server *n = owner;
	struct kv *fresh = NULL;

	if (state_dir_swap(n->states, n->kv, &fresh, err) != 0)
		return NULL;
	n->kv = fresh;
	n->sim->stats.imports++;
	return fresh;
}

static void owner_import_drop(void *owner)
{
	struct sim_server *n = owner;

	PK_ASSERT(!n->importing);
	state_dir_import_drop(n->states);
}

static void owner_joined(void *owner)
{
	struct sim_server *n = owner;

	n->joining = false;
	n->sim->stats.joins++;
}

/* As node_io.c: members are peers; who is none any more is forgotten. */
static void owner_members(void *owner, const struct raft_member *members, size_t count)
{
	struct sim_server *n = owner;
	bool member[SIM_SERVERS_MAX + 1] = { false };

	for (size_t i = 0; i < count; i++) {
		PK_ASSERT(members[i].id <= SIM_SERVERS_MAX);
		member[members[i].id] = true;
	}
	for (int i = 0; i < (int)n->sim->o.servers; i++)
		if (member[i + 1] || (n->raft != NULL && count > 0))
			link_know(n, i, member[i + 1]);
}

static void owner_role(void *owner, enum raft_node_role role, uint64_t term, uint64_t leader_id,
		       bool serving)
{
	struct sim_server *n = owner;

	sim_say(n->sim, "server %d role %d term %" PRIu64 " leader %" PRId64 " serving %d",
		n->index, role, term, (int64_t)leader_id - 1, serving);
	n->sim->stats.elections += role == RAFT_NODE_LEADER;
}

static void dies(struct sim *s, struct event *e);

static void owner_fatal(void *owner, const struct pk_err *err)
{
	struct sim_server *n = owner;

	n->failed = true;
	if (!n->ailing ||
	    (err->code != PK_EIO && err->code != PK_ENOSPC && err->code != PK_ECORRUPT)) {
		sim_violate(n->sim, "server %d gives up: %s", n->index, err->text);
		return;
	}
	sim_say(n->sim, "server %d gives up: %s", n->index, err->text);
	event_add(n->sim, 0, dies, n->index, NULL, (uint64_t)(err->code == PK_ECORRUPT));
}

static void owner_note(void *owner, int level, const char *event, const char *text)
{
	struct sim_server *n = owner;
	uint64_t session;

	(void)level;
	sim_say(n->sim, "server %d %s %s", n->index, event, text);
	if (strcmp(event, "session.expire") == 0 && strstr(text, " local=1") == NULL &&
	    sscanf(text, "id=%" SCNx64, &session) == 1)
		expiry_check(n, session);
}

/* ---- around the server's own raft callbacks ---- */

static void on_apply(void *owner, uint64_t index, uint64_t term, struct pk_bytes data)
{
	struct sim_server *n = owner;

	entry_seen(n, index, term, data);
	n->ro.apply(n->ro.owner, index, term, data);
	meta_check(n);
}

static void on_skip(void *owner, uint64_t index, uint64_t term)
{
	struct sim_server *n = owner;

	entry_seen(n, index, term, PK_BYTES_NONE);
	n->ro.skip(n->ro.owner, index, term);
	meta_check(n);
}

static void on_role(void *owner, enum raft_node_role role, uint64_t term, uint64_t leader_id)
{
	struct sim_server *n = owner;

	n->ro.role(n->ro.owner, role, term, leader_id);
}

/* Every message of the library, for a look at one seed: SIM_TRACE=1 and -v. */
static void trace_message(struct sim_server *n, uint64_t to, struct pk_bytes data)
{
	struct raft_message m;
	struct raft_msg_head head;
	struct pk_err err = PK_ERR_INIT;

	if (!n->sim->o.verbose || getenv("SIM_TRACE") == NULL ||
	    raft_msg_decode(&m, &head, data, &err) != 0)
		return;
	switch (m.type) {
	case RAFT_IO_APPEND_ENTRIES:
		sim_say(n->sim, "raft %d>%" PRIu64 " append prev %llu/%llu n %u commit %llu",
			n->index, to - 1, m.append_entries.prev_log_index,
			m.append_entries.prev_log_term, m.append_entries.n_entries,
			m.append_entries.leader_commit);
		break;
	case RAFT_IO_APPEND_ENTRIES_RESULT:
		sim_say(n->sim, "raft %d>%" PRIu64 " result rejected %llu last %llu", n->index,
			to - 1, m.append_entries_result.rejected,
			m.append_entries_result.last_log_index);
		break;
	case RAFT_IO_INSTALL_SNAPSHOT:
		sim_say(n->sim, "raft %d>%" PRIu64 " install %llu", n->index, to - 1,
			m.install_snapshot.last_index);
		break;
	case RAFT_IO_REQUEST_VOTE:
		sim_say(n->sim, "raft %d>%" PRIu64 " vote? term %llu last %llu/%llu pre %d",
			n->index, to - 1, m.request_vote.term, m.request_vote.last_log_index,
			m.request_vote.last_log_term, m.request_vote.pre_vote);
		break;
	case RAFT_IO_REQUEST_VOTE_RESULT:
		sim_say(n->sim, "raft %d>%" PRIu64 " vote term %llu granted %d pre %d", n->index,
			to - 1, m.request_vote_result.term, m.request_vote_result.vote_granted,
			m.request_vote_result.pre_vote);
		break;
	default:
		sim_say(n->sim, "raft %d>%" PRIu64 " type %d", n->index, to - 1, m.type);
		break;
	}
	raft_msg_release(&m);
}

/* A message of the library, if it is of this type, its third byte. */
static bool message_of(struct pk_bytes data, uint8_t type, struct raft_message *m)
{
	struct raft_msg_head head;
	struct pk_err err = PK_ERR_INIT;

	return data.len >= 3 && data.data[2] == type && raft_msg_decode(m, &head, data, &err) == 0;
}

/* What it told a leader that it has, by a result that rejects nothing. */
static void acked_note(struct sim_server *n, struct pk_bytes data)
{
	struct raft_message m;

	if (!message_of(data, RAFT_IO_APPEND_ENTRIES_RESULT, &m))
		return;
	if (m.append_entries_result.rejected == 0) {
		n->acked = m.append_entries_result.last_log_index;
		n->acked_term = m.append_entries_result.term;
	}
	raft_msg_release(&m);
}

/* A later leader may make it cut off what it told an earlier one, until it tells this one. */
static void acked_again(struct sim_server *n, struct pk_bytes data)
{
	struct raft_message m;

	if (!message_of(data, RAFT_IO_APPEND_ENTRIES, &m))
		return;
	if (m.append_entries.n_entries > 0 && m.append_entries.term > n->acked_term &&
	    m.append_entries.prev_log_index < n->acked)
		n->acked = m.append_entries.prev_log_index;
	raft_msg_release(&m);
}

static bool on_send(void *owner, uint64_t peer_id, const char *address, struct pk_bytes data)
{
	struct sim_server *n = owner;

	trace_message(n, peer_id, data);
	acked_note(n, data);
	return n->ro.send(n->ro.owner, peer_id, address, data);
}

static void on_members(void *owner, const struct raft_member *members, size_t count)
{
	struct sim_server *n = owner;

	n->ro.members(n->ro.owner, members, count);
}

static bool on_snapshot(void *owner, uint64_t *index, struct pk_buf *payload)
{
	struct sim_server *n = owner;

	return n->ro.snapshot(n->ro.owner, index, payload);
}

static int on_restore(void *owner, uint64_t index, struct pk_bytes payload, struct pk_err *err)
{
	struct sim_server *n = owner;

	return n->ro.restore(n->ro.owner, index, payload, err);
}

static void on_install(void *owner, uint64_t from_id, uint64_t index, uint64_t term,
		       struct pk_bytes payload)
{
	struct sim_server *n = owner;

	n->ro.install(n->ro.owner, from_id, index, term, payload);
}

static void on_fatal(void *owner, const struct pk_err *err)
{
	struct sim_server *n = owner;

	n->ro.fatal(n->ro.owner, err);
}

/* ---- time and turns ---- */

void server_enter(struct sim_server *n)
{
	PK_ASSERT(n->up);
	server_now(n->server, n->sim->now_us / SIM_MS, wall_ms(n));
}

static void disk_step(struct sim *s, struct event *e);

static void disk_poke(struct sim_server *n)
{
	if (!n->up || n->disk_busy)
		return;
	n->disk_busy = true;
	event_add(n->sim,
		  sim_disk_cost_us(n->disk) +
			  (n->disk_extra_us > 0 ? pk_rng_range(&n->sim->rng, 0, n->disk_extra_us)
						: 0),
		  disk_step, n->index, NULL, 0);
}

static void turn(struct sim *s, struct event *e)
{
	struct sim_server *n = &s->servers[e->server];

	if (!server_alive(n, e->life))
		return;
	n->turn_due = false;
	server_enter(n);
	server_turn(n->server);
	bool leads = server_session_clock(n->server) != NULL;
	if (leads && n->leading_since_us == 0)
		leads_from_now(n);
	meta_check(n);
	disk_poke(n);
	server_check(n->server);
}

void server_left(struct sim_server *n)
{
	struct sim *s = n->sim;

	bool leads = server_session_clock(n->server) != NULL;
	if (leads && n->leading_since_us == 0)
		leads_from_now(n);
	if (!leads && n->leading_since_us != 0) {
		n->leading_since_us = 0;
		touches_clear(n);
	}
	meta_check(n);
	disk_poke(n);
	if (!n->turn_due) { /* what arrives until then is of the same turn */
		n->turn_due = true;
		event_add(s, pk_rng_range(&s->rng, 5, 200), turn, n->index, NULL, 0);
	}
}

static void disk_step(struct sim *s, struct event *e)
{
	struct sim_server *n = &s->servers[e->server];

	if (!server_alive(n, e->life))
		return;
	n->disk_busy = false;
	if (n->server != NULL) {
		server_enter(n);
		if (sim_disk_step(n->disk))
			server_left(n);
	}
}

/* As node_io.c: writes are refused before the log can fail for want of room. */
static void disk_check(struct sim_server *n)
{
	const struct disk *d = sim_disk_disk(n->disk);
	uint64_t low = DISK_LOW_SEGMENTS * n->sim->o.segment_bytes, room;

	if (n->sim->now_us / SIM_MS < n->disk_check_ms)
		return;
	n->disk_check_ms = n->sim->now_us / SIM_MS + DISK_CHECK_MS;
	room = d->free_bytes(d->impl);
	if (n->disk_low == (room < low))
		return;
	n->disk_low = room < low;
	sim_say(n->sim, "server %d: %s room", n->index, n->disk_low ? "little" : "enough");
	server_refuse_writes(n->server, n->disk_low);
}

static void tick(struct sim *s, struct event *e)
{
	struct sim_server *n = &s->servers[e->server];

	if (!server_alive(n, e->life))
		return;
	server_enter(n);
	server_tick(n->server);
	links_tick(n);
	disk_check(n);
	server_left(n);
	event_add(s, HEARTBEAT_MS / 2 * SIM_MS, tick, n->index, NULL, 0);
}

/* ---- lists of servers ---- */

void sim_spec(int i, bool observer, char *to, size_t bytes)
{
	snprintf(to, bytes, "10.0.0.%d:2888:3888:%s;0.0.0.0:2181", i + 1,
		 observer ? "observer" : "participant");
}

/* A line of its configuration file. */
static void list_add(struct sim_server *n, int i, bool observer)
{
	struct raft_member *m = &n->list[n->list_count++];

	*m = (struct raft_member){ .id = (uint64_t)i + 1,
				   .role = observer ? RAFT_NODE_STANDBY : RAFT_NODE_VOTER };
	sim_spec(i, observer, m->address, sizeof(m->address));
	n->list_hash = n->list_hash * 31 + m->id * 2 + observer;
}

static void list_first(struct sim_server *n)
{
	const struct sim_options *o = &n->sim->o;
	int voters = (int)(o->servers - o->spares - o->observers);

	for (int i = 0; i < voters + (int)o->observers; i++)
		list_add(n, i, i >= voters);
}

/* An operator writes down who is there. */
static void list_now(struct sim_server *n)
{
	struct sim *s = n->sim;

	n->list_count = 0;
	n->list_hash = 0;
	for (int i = 0; i < (int)s->o.servers; i++)
		if (sim_member(s, i) || i == n->index)
			list_add(n, i, sim_member(s, i) && !sim_voter(s, i));
	if (n->list_count <= 1 && !sim_member(s, n->index)) { /* nobody knows yet */
		n->list_count = 0;
		n->list_hash = 0;
		list_first(n);
		list_add(n, n->index, false);
	}
}

/* ---- start and stop ---- */

static void open_raft(struct sim_server *n)
{
	struct sim *s = n->sim;
	char address[80];
	struct raft_node_owner ro = { n,          on_apply,    on_skip,    on_role,    on_send,
				      on_members, on_snapshot, on_restore, on_install, on_fatal };
	struct pk_err err = PK_ERR_INIT;

	sim_spec(n->index, false, address, sizeof(address));
	struct raft_node_config cfg = { .id = n->id,
					.address = address,
					.heartbeat_ms = HEARTBEAT_MS,
					.election_ms = ELECTION_MS,
					.install_timeout_ms = 600000,
					.snapshot_log_bytes = s->o.snapshot_log_bytes,
					.trailing_entries = s->o.trailing_entries,
					.guard = RAFT_GUARD_ALL,
					.mute = n->joining,
					.term_floor = n->joining ? found_term(&n->found) : 0 };
	server_raft_owner(n->server, &n->ro);
	int rc = raft_node_open(&n->raft, &cfg, &ro, n->log, &n->loaded, n->list,
				n->joining ? 0 : n->list_count, s->now_us / SIM_MS, &n->rng, &err);
	rlog_loaded_release(&n->loaded);
	if (rc != 0)
		owner_fatal(n, &err);
	else
		server_set_raft(n->server, n->raft, n->joining);
}

static void found_step(struct sim_server *n)
{
	if (n->raft != NULL || found_verdict(&n->found) == FOUND_WAIT)
		return;
	n->joining = found_verdict(&n->found) == FOUND_JOIN;
	sim_say(n->sim, "server %d %s", n->index, n->joining ? "joins" : "founds");
	open_raft(n);
}

void server_peer_told(struct sim_server *n, int peer, const struct found_answer *answer)
{
	if (n->raft != NULL)
		return;
	server_enter(n);
	pk_ignore(found_peer(&n->found, (uint64_t)peer + 1, answer),
		  "another list than ours: it does not count as new");
	found_step(n);
	server_left(n);
}

struct found_answer server_answer(struct sim_server *n, int peer, uint64_t life)
{
	return found_answer(&n->found, n->raft, n->joining, n->list_hash, (uint64_t)peer + 1, life);
}

uint64_t server_asks(const struct sim_server *n)
{
	return n->raft == NULL ? n->found.life : 0;
}

void server_peer_frame(struct sim_server *n, int from, uint8_t type, struct pk_bytes body)
{
	struct pk_err err = PK_ERR_INIT;

	if (type == SERVER_MSG_RAFT)
		acked_again(n, body);
	if (type == SERVER_MSG_TOUCH && n->leading_since_us != 0)
		for (size_t at = 0; at + 8 <= body.len; at += 8)
			touch_note(n, pk_get_le64(body.data + at));
	server_enter(n);
	if (server_peer_recv(n->server, (uint64_t)from + 1, (enum server_message)type, body,
			     &err) != 0)
		sim_violate(n->sim, "server %d refused a message of type %u from %d: %s", n->index,
			    type, from, err.text);
	server_left(n);
}

static struct rlog_config log_config(const struct sim_server *n)
{
	const struct sim_options *o = &n->sim->o;

	return (struct rlog_config){ .segment_bytes = o->segment_bytes,
				     .cluster_id = CLUSTER_ID,
				     .server_id = n->id,
				     .covered_count = o->covered_count,
				     .covered_bytes = o->snapshot_log_bytes / 8 };
}

static uint64_t log_end(const struct rlog_loaded *l)
{
	uint64_t end = l->record_count > 0 ? l->start_index + l->record_count - 1 : 0;

	return l->has_manifest && l->manifest.index > end ? l->manifest.index : end;
}

/*
 * Is the log as long as it said it was? With damage to the very last write it may not be, for that
 * looks as if it was never whole (docs/disk-format.md): an operator who knows more than we do
 * replaces such a disk. Without damage it is what must not happen.
 */
static int nothing_lost(struct sim_server *n, struct pk_err *err)
{
	struct sim *s = n->sim;

	if (log_end(&n->loaded) >= n->acked)
		return 0;
	if (!n->ailing) {
		sim_violate(s, "server %d had told of its log up to %" PRIu64 ", and has %" PRIu64,
			    n->index, n->acked, log_end(&n->loaded));
		return 0;
	}
	s->stats.unseen_losses++;
	return pk_err_set(err, PK_ECORRUPT, "the last write is gone unseen");
}

/* It says why, and its process ends. */
static void not_started(struct sim_server *n, const struct pk_err *err)
{
	struct sim *s = n->sim;

	if (!n->ailing)
		sim_violate(s, "server %d does not start: %s", n->index, err->text);
	sim_say(s, "server %d does not start: %s", n->index, err->text);
	s->stats.refusals++;
	n->crashing = true;
	n->up = false;
	n->life++;
	rlog_loaded_release(&n->loaded);
	if (n->log != NULL)
		rlog_close(n->log);
	sim_disk_kill(n->disk);
	server_close(n->server);
	if (n->kv != NULL)
		kv_close(n->kv);
	if (n->states != NULL)
		state_dir_close(n->states);
	n->log = NULL;
	n->server = NULL;
	n->kv = NULL;
	n->states = NULL;
	n->crashing = false;
	n->damaged = true;
}

static void revives(struct sim *s, struct event *e)
{
	if (!s->servers[e->n].damaged)
		sim_start(s, (int)e->n);
}

static void stop(struct sim_server *n, bool power);

/* After a failed write or sync: nothing that was not synced may be believed. */
static void dies(struct sim *s, struct event *e)
{
	struct sim_server *n = &s->servers[e->server];

	if (!server_alive(n, e->life))
		return;
	s->stats.disk_deaths++;
	stop(n, pk_rng_chance(&s->rng, 500000));
	n->damaged = e->n == 1;
	event_add(s, REVIVE_MS * SIM_MS, revives, -1, NULL, (uint64_t)n->index);
}

void sim_start(struct sim *s, int i)
{
	struct sim_server *n = &s->servers[i];
	struct pk_err err = PK_ERR_INIT;
	struct kv_config kv_cfg = { .map_bytes = 1 << 20, .map_bytes_most = 1 << 30 };
	struct rlog_config log_cfg = log_config(n);
	struct server_config cfg = { .id = n->id,
				     .cluster_id = CLUSTER_ID,
				     .tick_ms = s->o.tick_ms,
				     .session_min_ms = 2 * s->o.tick_ms,
				     .session_max_ms = 20 * s->o.tick_ms,
				     .leader_grace_ms = 3000,
				     .commit_overlay_bytes = s->o.commit_overlay_bytes,
				     .commit_log_bytes = s->o.commit_log_bytes,
				     .commit_pages_bytes = s->o.commit_pages_bytes,
				     .waiting_bytes_max = s->o.waiting_bytes_max,
				     .backlog_bytes_max = s->o.backlog_bytes_max,
				     .txn_flags = TXN_EXTENDED_TYPES | s->o.txn_flags,
				     .container_check_ms = s->o.container_check_ms,
				     .container_never_used_ms = s->o.never_used_ms,
				     .container_per_minute = 10000,
				     .read_only_mode = s->o.read_only_mode,
				     .local_sessions = s->o.local_sessions,
				     .local_sessions_upgrade = s->o.local_upgrade,
				     .jute_bytes_max = SIM_JUTE_BYTES,
				     .response_bytes_max = 32u << 20,
				     .watches_max = 1 << 20,
				     .out_bytes_max = SIM_OUT_BYTES_MAX,
				     .out_total_max = 1u << 30,
				     .connect_wait_ms = 10000,
				     .path_depth_max = 100,
				     .auth_required = s->o.auth_required,
				     .auth_schemes = "digest" };
	struct server_owner so = { .owner = n,
				   .send = conn_out,
				   .close = conn_shut,
				   .pause = conn_pause,
				   .peer_send = owner_peer_send,
				   .commit = owner_commit,
				   .secret = owner_secret,
				   .auth = owner_auth,
				   .sasl = owner_sasl,
				   .import_begin = owner_import_begin,
				   .import_chunk = owner_import_chunk,
				   .import_finish = owner_import_finish,
				   .import_swap = owner_import_swap,
				   .import_drop = owner_import_drop,
				   .joined = owner_joined,
				   .members = owner_members,
				   .role = owner_role,
				   .fatal = owner_fatal,
				   .note = owner_note };

	if (n->up || !n->placed || s->violation[0] != 0)
		return;
	sim_say(s, "server %d starts", i);
	if (n->rewind) {
		n->wall_offset_ms += n->started_wall_ms - wall_ms(n);
		n->rewind = false;
	}
	n->started_wall_ms = wall_ms(n);
	n->disk_low = n->damaged = false;
	n->disk_check_ms = 0;
	n->life++;
	n->up = true;
	n->failed = n->turn_due = n->disk_busy = n->importing = false;
	n->checked_index = 0;
	n->leading_since_us = 0;
	n->paused_until_us = 0;
	n->log = NULL;
	n->loaded = (struct rlog_loaded){ 0 };
	int rc = state_dir_open(&n->states, n->dir, &kv_cfg, &err);
	if (rc == 0)
		rc = state_dir_kv(n->states, &n->kv, &err);
	if (rc == 0)
		rc = server_open(&n->server, &cfg, &so, n->kv, &n->rng, s->now_us / SIM_MS,
				 wall_ms(n), &err);
	if (rc == 0)
		rc = rlog_open(&n->log, sim_disk_disk(n->disk), &log_cfg, &n->loaded, &err);
	if (rc == 0)
		rc = nothing_lost(n, &err);
	if (rc != 0) {
		not_started(n, &err);
		return;
	}
	bool no_members = n->loaded.record_count == 0 && !n->loaded.has_manifest;
	bool nothing = no_members && n->loaded.term == 0;
	if (nothing && tree_meta(server_tree(n->server))->index > 0) {
		pk_ignore(pk_err_set(&err, PK_ECORRUPT, "the log is empty, the state is not"),
			  "passed on");
		not_started(n, &err);
		return;
	}
	n->ailing = n->latent; /* what was wrong in passing is over */
	meta_check(n);
	n->found = (struct found){ 0 };
	memset(n->knows, 0, sizeof(n->knows));
	for (size_t j = 0; no_members && j < n->list_count; j++)
		n->knows[n->list[j].id - 1] = n->list[j].id != n->id;
	if (nothing)
		found_init(&n->found, n->id, pk_rng_next(&n->rng) | 1, n->list, n->list_count,
			   n->list_hash, n->joining);
	links_start(n);
	if (!nothing)
		open_raft(n);
	else
		found_step(n);
	event_add(s, pk_rng_range(&s->rng, 1, HEARTBEAT_MS * SIM_MS / 2), tick, i, NULL, 0);
}

static void stop(struct sim_server *n, bool power)
{
	struct sim *s = n->sim;
	struct sim_conn *c;

	n->crashing = true;
	n->up = false;
	n->life++;
	if (n->raft != NULL)
		raft_node_close(n->raft, NULL, NULL);
	rlog_loaded_release(&n->loaded);
	rlog_close(n->log);
	if (power)
		sim_disk_crash(n->disk, NULL, NULL);
	else
		sim_disk_kill(n->disk);
	LIST_FOREACH (c, &s->conns, link) {
		if (c->to == n->index && c->life == n->life - 1 && c->conn != NULL) {
			server_conn_gone(c->conn);
			c->conn = NULL;
		}
	}
	server_close(n->server);
	n->waits = 0;
	kv_close(n->kv);
	state_dir_close(n->states);
	n->raft = NULL;
	n->log = NULL;
	n->server = NULL;
	n->kv = NULL;
	n->states = NULL;
	n->leading_since_us = 0;
	touches_clear(n);
	n->crashing = false;
	links_stop(n);
}

void sim_crash(struct sim *s, int i, bool power)
{
	if (!s->servers[i].up)
		return;
	sim_say(s, "server %d %s", i, power ? "loses power" : "is killed");
	stop(&s->servers[i], power);
}

static void remove_dirs(struct sim_server *n)
{
	char command[300];

	if (n->kept.disk != NULL)
		sim_disk_free(n->kept.disk);
	n->kept.disk = NULL;
	/* a folder of ours, named by mkdtemp: no other way is as short */
	snprintf(command, sizeof(command), "rm -rf '%s' '%s.kept'", n->dir, n->dir);
	if (system(command) != 0)
		fprintf(stderr, "cannot remove %s\n", n->dir);
}

void sim_wipe(struct sim *s, int i)
{
	struct sim_server *n = &s->servers[i];

	PK_ASSERT(!n->up);
	sim_say(s, "server %d loses its disks", i);
	sim_disk_free(n->disk);
	n->disk = sim_disk_new(pk_rng_next(&s->rng));
	n->joining = n->ailing = n->latent = n->damaged = false;
	n->acked = 0;
	remove_dirs(n);
	PK_ASSERT(mkdir(n->dir, 0700) == 0);
	list_now(n);
}

void server_init(struct sim *s, int i)
{
	struct sim_server *n = &s->servers[i];

	n->index = i;
	n->sim = s;
	n->id = (uint64_t)i + 1;
	n->disk = sim_disk_new(pk_rng_next(&s->rng));
	pk_rng_seed(&n->rng, pk_rng_next(&s->rng));
	list_first(n);
	n->placed = i < (int)(s->o.servers - s->o.spares);
	snprintf(n->dir, sizeof(n->dir), "%s/%d", s->root, i);
	PK_ASSERT(mkdir(n->dir, 0700) == 0);
}

void server_fini(struct sim *s, int i)
{
	struct sim_server *n = &s->servers[i];

	if (n->up)
		stop(n, false);
	sim_disk_free(n->disk);
	remove_dirs(n);
}

/* ---- the rest of cluster.h about servers ---- */

bool sim_placed(const struct sim *s, int i)
{
	return s->servers[i].placed;
}

void sim_place(struct sim *s, int i)
{
	struct sim_server *n = &s->servers[i];

	PK_ASSERT(!n->up);
	list_now(n);
	n->placed = true;
	sim_start(s, i);
}

static const struct listed *list_of(struct sim *s)
{
	if (s->list == NULL || s->list_at != model_lists(s->model)) {
		if (s->list == NULL)
			s->list = pk_alloc(sizeof(*s->list));
		pk_ignore(model_listed(s->model, s->list), "it holds while another is made");
		s->list_at = model_lists(s->model);
	}
	return s->list;
}

bool sim_member(struct sim *s, int i)
{
	return listed_has(list_of(s), (uint64_t)i + 1);
}

bool sim_voter(struct sim *s, int i)
{
	return listed_votes(list_of(s), (uint64_t)i + 1);
}

bool sim_up(const struct sim *s, int i)
{
	return s->servers[i].up;
}

bool sim_joining(const struct sim *s, int i)
{
	return s->servers[i].joining;
}

struct server *sim_server(struct sim *s, int i)
{
	return s->servers[i].server;
}

int sim_leader(const struct sim *s)
{
	int leader = -1;

	for (int i = 0; i < (int)s->o.servers; i++) {
		const struct sim_server *n = &s->servers[i];
		if (n->up && n->raft != NULL && server_session_clock(n->server) != NULL &&
		    (leader < 0 ||
		     raft_node_term(n->raft) > raft_node_term(s->servers[leader].raft)))
			leader = i;
	}
	return leader;
}

void sim_pause(struct sim *s, int i, int64_t ms)
{
	sim_say(s, "server %d pauses %" PRId64 " ms", i, ms);
	int64_t until_us = s->now_us + ms * SIM_MS;
	if (until_us < s->servers[i].paused_until_us)
		events_wake(s, i); /* or its next tick is when the longer pause would have ended */
	s->servers[i].paused_until_us = until_us;
	if (s->record != NULL)
		record_fault(s->record, "pause", s->now_us, until_us);
}

void sim_disk_slow(struct sim *s, int i, int64_t extra_us, int64_t commit_us)
{
	s->servers[i].disk_extra_us = extra_us;
	s->servers[i].commit_us = commit_us;
}

void sim_wall_rewind(struct sim *s, int i)
{
	s->servers[i].rewind = true;
}

/* ---- disks ---- */

void sim_disk_fault(struct sim *s, int i, const struct sim_disk_faults *f)
{
	struct sim_server *n = &s->servers[i];

	sim_say(s, "server %d: disk fault fail %d flip %d misdirect %d", i, f->fail_at != 0,
		f->flip_read_at != 0, f->misdirect_at != 0);
	n->ailing = true;
	n->latent = n->latent || f->misdirect_at != 0;
	s->stats.disk_faults++;
	sim_disk_set_faults(n->disk, f);
}

uint64_t sim_disk_op(struct sim *s, int i)
{
	return sim_disk_ops(s->servers[i].disk);
}

uint64_t sim_disk_read(struct sim *s, int i)
{
	return sim_disk_reads(s->servers[i].disk);
}

void sim_disk_flip(struct sim *s, int i)
{
	struct sim_server *n = &s->servers[i];
	size_t files = sim_disk_file_count(n->disk), len;

	if (files == 0)
		return;
	const char *name = sim_disk_file_name(n->disk, (size_t)pk_rng_below(&s->rng, files));
	uint8_t *bytes = sim_disk_file(n->disk, name, &len);
	while (len > 512 && bytes[len - 1] == 0) /* where something was written */
		len--;
	if (len == 0)
		return;
	size_t at = (size_t)pk_rng_below(&s->rng, len);
	sim_say(s, "server %d: a bit of %s flips at %zu", i, name, at);
	bytes[at] ^= (uint8_t)(1u << pk_rng_below(&s->rng, 8));
	n->ailing = n->latent = true;
	s->stats.disk_faults++;
}

void sim_disk_full(struct sim *s, int i, uint64_t room_bytes)
{
	struct sim_server *n = &s->servers[i];
	struct sim_disk_faults f = { 0 };
	uint64_t used = 0;

	for (size_t j = 0; j < sim_disk_file_count(n->disk); j++) {
		size_t len;
		pk_ignore(sim_disk_file(n->disk, sim_disk_file_name(n->disk, j), &len),
			  "its length alone");
		used += len;
	}
	f.space_bytes = room_bytes > 0 ? used + room_bytes : 0;
	sim_say(s, "server %d: room for %" PRIu64 " bytes", i, room_bytes);
	n->ailing = n->ailing || room_bytes > 0;
	s->stats.disk_faults += room_bytes > 0;
	sim_disk_set_faults(n->disk, &f);
}

void sim_disk_copy(struct sim *s, int i, int from)
{
	struct sim_server *n = &s->servers[i];
	char command[320];

	PK_ASSERT(!n->up);
	sim_say(s, "server %d is given a copy of the folders of %d", i, from);
	sim_disk_free(n->disk);
	n->disk = sim_disk_clone(s->servers[from].disk, pk_rng_next(&s->rng));
	snprintf(command, sizeof(command), "rm -rf '%s' && cp -r '%s' '%s'", n->dir,
		 s->servers[from].dir, n->dir);
	if (system(command) != 0)
		sim_violate(s, "cannot copy %s", s->servers[from].dir);
	n->ailing = n->latent = true;
	s->stats.disk_faults++;
}

/* What a start would find now. */
static uint64_t true_end(struct sim_server *n)
{
	struct sim_disk *copy = sim_disk_clone(n->disk, 1);
	struct rlog_config cfg = log_config(n);
	struct rlog_loaded loaded = { 0 };
	struct pk_err err = PK_ERR_INIT;
	struct rlog *log = NULL;
	uint64_t end = 0;

	if (rlog_open(&log, sim_disk_disk(copy), &cfg, &loaded, &err) == 0)
		end = log_end(&loaded);
	rlog_loaded_release(&loaded);
	if (log != NULL)
		rlog_close(log);
	sim_disk_free(copy);
	return end;
}

static void rot_once(struct sim_server *n)
{
	struct sim *s = n->sim;
	struct pk_rng *rng = &s->rng;
	size_t len;
	char name[DISK_NAME_BYTES_MAX];

	snprintf(name, sizeof(name), "%s",
		 sim_disk_file_name(n->disk,
				    (size_t)pk_rng_below(rng, sim_disk_file_count(n->disk))));
	uint8_t *bytes = sim_disk_file(n->disk, name, &len);
	size_t at = (size_t)pk_rng_below(rng, len + 1) / SIM_SECTOR_BYTES * SIM_SECTOR_BYTES;
	size_t most = len - at < 4096 ? len - at : 4096;
	uint64_t kind = pk_rng_below(rng, 4);
	if (kind == 0) {
		sim_disk_flip(s, n->index);
		return;
	}
	n->ailing = n->latent = true;
	s->stats.disk_faults++;
	if (kind == 1) {
		struct pk_buf first = PK_BUF_INIT;

		sim_say(s, "server %d: %s ends at %zu of %zu", n->index, name, at, len);
		pk_buf_add(&first, bytes, at);
		sim_disk_put(n->disk, name, pk_buf_bytes(&first));
		pk_buf_release(&first);
	} else if (kind == 2) {
		sim_say(s, "server %d: %zu bytes of %s at %zu are gone", n->index, most, name, at);
		memset(bytes + at, 0, most);
	} else { /* what belongs elsewhere */
		size_t from = (size_t)pk_rng_below(rng, len - most + 1) / SIM_SECTOR_BYTES *
			      SIM_SECTOR_BYTES;
		sim_say(s, "server %d: %zu bytes of %s at %zu are those of %zu", n->index, most,
			name, at, from);
		memmove(bytes + at, bytes + from, most);
	}
}

void sim_disk_rot(struct sim *s, int i)
{
	struct sim_server *n = &s->servers[i];
	uint64_t end = true_end(n);

	PK_ASSERT(!n->up);
	n->acked = n->acked > end ? n->acked : end;
	for (uint64_t times = 1 + pk_rng_below(&s->rng, 6);
	     times > 0 && sim_disk_file_count(n->disk) > 0; times--)
		rot_once(n);
}

static void copy_dir(struct sim *s, const char *from, const char *from_ending, const char *to,
		     const char *to_ending)
{
	char command[500];

	snprintf(command, sizeof(command), "rm -rf '%s%s' && cp -r '%s%s' '%s%s'", to, to_ending,
		 from, from_ending, to, to_ending);
	if (system(command) != 0)
		sim_violate(s, "cannot copy %s%s", from, from_ending);
}

void sim_disk_keep(struct sim *s, int i)
{
	struct sim_server *n = &s->servers[i];

	PK_ASSERT(!n->up);
	if (n->kept.disk != NULL)
		sim_disk_free(n->kept.disk);
	n->kept.disk = sim_disk_clone(n->disk, pk_rng_next(&s->rng));
	n->kept.acked = n->acked;
	n->kept.ailing = n->ailing;
	n->kept.latent = n->latent;
	copy_dir(s, n->dir, "", n->dir, ".kept");
}

void sim_disk_put_back(struct sim *s, int i)
{
	struct sim_server *n = &s->servers[i];

	PK_ASSERT(!n->up && n->kept.disk != NULL);
	sim_say(s, "server %d is given back what was kept of its disks", i);
	sim_disk_free(n->disk);
	n->disk = n->kept.disk;
	n->kept.disk = NULL;
	n->acked = n->kept.acked;
	n->ailing = n->kept.ailing;
	n->latent = n->kept.latent;
	n->damaged = false;
	copy_dir(s, n->dir, ".kept", n->dir, "");
}

bool sim_damaged(const struct sim *s, int i)
{
	return s->servers[i].damaged;
}

bool sim_ailing(const struct sim *s, int i)
{
	return s->servers[i].ailing;
}

void sim_wall_jump(struct sim *s, int i, int64_t ms)
{
	sim_say(s, "server %d: the clock jumps %" PRId64 " ms", i, ms);
	s->servers[i].wall_offset_ms += ms;
}

void sim_refuse_writes(struct sim *s, int i, bool refuse)
{
	if (!s->servers[i].up)
		return;
	server_enter(&s->servers[i]);
	server_refuse_writes(s->servers[i].server, refuse);
	server_left(&s->servers[i]);
}

bool sim_members_settled(struct sim *s)
{
	struct raft_member have[RAFT_NODE_MEMBERS_MAX];
	struct listed list;
	int l = sim_leader(s);
	size_t listed = 0;

	if (l < 0 || !model_listed(s->model, &list))
		return false;
	size_t count = raft_node_members(s->servers[l].raft, have, PK_COUNT(have));
	for (uint64_t id = 1; id <= s->o.servers; id++)
		listed += listed_has(&list, id);
	for (size_t i = 0; i < count; i++)
		if (!listed_has(&list, have[i].id) ||
		    (have[i].role == RAFT_NODE_VOTER) != listed_votes(&list, have[i].id))
			return false;
	return count == listed;
}

int sim_group_role(struct sim *s, int i)
{
	struct raft_member have[RAFT_NODE_MEMBERS_MAX];
	int l = sim_leader(s);
	size_t count = l >= 0 ? raft_node_members(s->servers[l].raft, have, PK_COUNT(have)) : 0;

	for (size_t j = 0; j < count; j++)
		if (have[j].id == (uint64_t)i + 1)
			return have[j].role;
	return -1;
}

bool sim_reconfiguring(struct sim *s)
{
	struct listed l;

	return !model_listed(s->model, &l);
}

bool sim_settled(struct sim *s)
{
	struct listed list;
	int l = sim_leader(s);

	if (!sim_members_settled(s) || !model_listed(s->model, &list) ||
	    raft_node_last_index(s->servers[l].raft) != model_index(s->model))
		return false;
	for (size_t i = 0; i < s->o.servers; i++) {
		const struct sim_server *n = &s->servers[i];
		if (listed_has(&list, n->id) && n->up &&
		    (server_tree(n->server) == NULL || n->raft == NULL || n->joining ||
		     tree_meta(server_tree(n->server))->index != model_index(s->model)))
			return false;
	}
	return true;
}

void sim_describe(struct sim *s)
{
	sim_say(s, "model at index %" PRIu64 " zxid %#" PRIx64, model_index(s->model),
		model_zxid(s->model));
	for (size_t i = 0; i < s->o.servers; i++) {
		const struct sim_server *n = &s->servers[i];
		if (!n->up || n->raft == NULL) {
			sim_say(s, "server %zu %s", i, n->up ? "asks" : "down");
			continue;
		}
		const struct tree_meta *m = server_tree(n->server) != NULL
						    ? tree_meta(server_tree(n->server))
						    : NULL;
		sim_say(s,
			"server %zu role %d term %" PRIu64 " leader %" PRId64 " last %" PRIu64
			" commit %" PRIu64 " applied %" PRIu64 "%s%s",
			i, raft_node_role(n->raft), raft_node_term(n->raft),
			(int64_t)raft_node_leader(n->raft) - 1, raft_node_last_index(n->raft),
			raft_node_commit_index(n->raft), m != NULL ? m->index : 0,
			n->joining ? " mute" : "", n->importing ? " importing" : "");
		for (size_t j = 0; j < s->o.servers; j++) {
			uint64_t match;
			bool recent;
			if (raft_node_progress(n->raft, j + 1, &match, &recent))
				sim_say(s, "  knows %zu to be at %" PRIu64, j, match);
		}
		for (size_t j = 0; j < s->o.servers; j++)
			if (j != i && (n->dial[j].wire == NULL || !n->dial[j].wire->up))
				sim_say(s, "  no link to %zu", j);
	}
}
