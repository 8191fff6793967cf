/*
 * tests/sim/cluster.h - a whole cluster with its clients in one process, in virtual time, from one
 * seed.
 *
 *     real: server core, raft_node with libraft and guard, rlog, tree, kv on LMDB in a
 * memory-backed folder, state_dir, found modelled: disks of the log (sim_disk), links between
 * servers and clients (ordered streams that stall and break, as peer_io.c and client_io.c make
 * them), threads, clocks
 *
 * Everything that happens is an event at a virtual time. Judged on the way (cluster_model.h,
 * cluster_client.c); the first violation is kept and nothing runs on.
 */
#ifndef PK_TESTS_SIM_CLUSTER_H
#define PK_TESTS_SIM_CLUSTER_H

#include "base/mem.h"
#include "store/server.h"
#include "tests/sim/cluster_model.h"

#define SIM_SERVERS_MAX   9
#define SIM_MS            1000       /* the clock counts microseconds */
#define SIM_OUT_BYTES_MAX (1u << 20) /* as server_config's out_bytes_max */

struct sim;
struct sim_conn;
struct sim_disk_faults;

struct sim_options {
	uint64_t seed;
	size_t servers;
	size_t observers,
		spares; /* of them: the last but the spares observe, the last wait to be placed */
	int32_t tick_ms;
	uint64_t commit_overlay_bytes, commit_log_bytes, commit_pages_bytes, waiting_bytes_max,
		backlog_bytes_max, snapshot_log_bytes, trailing_entries;
	uint64_t covered_count; /* of rlog_config */
	uint32_t segment_bytes;
	uint32_t txn_flags;                        /* beside TXN_EXTENDED_TYPES */
	int64_t container_check_ms, never_used_ms; /* as in server_config */
	bool read_only_mode, local_sessions, local_upgrade;
	bool auth_required;
	bool verbose;
};

struct sim_net {
	int64_t delay_least_us, delay_most_us;
	uint32_t break_ppm; /* of frames: the connection breaks there */
	uint32_t part_ppm;  /* of frames: they arrive in parts */
};

struct sim_stats {
	uint64_t events, commits, waits, imports, joins, elections, entries;
	uint64_t disk_faults, disk_deaths, refusals, unseen_losses;
	uint64_t majorities, stopped; /* damaged, and those of them that left too few */
	uint64_t old_copies;          /* put back */
	uint64_t requests, replies, acked, watch_events, sessions, expired, connects, lost;
	uint64_t frames_cut; /* a first part of them arrived, and no more */
};

struct sim *sim_new(const struct sim_options *o);
void sim_free(struct sim *s);
void sim_sweep(int pid); /* remove the folders of a process that died in the middle of it */
void sim_run(struct sim *s, int64_t ms); /* or until a violation */
void sim_run_us(struct sim *s, int64_t us);
int64_t sim_now_us(const struct sim *s);
static inline int64_t sim_now_ms(const struct sim *s)
{
	return sim_now_us(s) / SIM_MS;
}
struct pk_rng *sim_rng(struct sim *s);
struct model *sim_model(struct sim *s);
struct record;
struct record *sim_record(struct sim *s); /* NULL: not kept */
void sim_record_begin(struct sim *s, const char *path);
struct sim_stats *sim_stats(struct sim *s);
uint64_t sim_hash(const struct sim *s); /* of all events so far */
const char *sim_violation(const struct sim *s);
void sim_violate(struct sim *s, const char *fmt, ...) PK_PRINTF(2, 3);
void sim_say(struct sim *s, const char *fmt, ...) PK_PRINTF(2, 3); /* when verbose */

typedef void sim_call_f(struct sim *s, void *arg, uint64_t tag);
/* Call in virtual time, not bound to a server. */
void sim_call_at(struct sim *s, int64_t in_us, sim_call_f *call, void *arg, uint64_t tag);

/* ---- servers: 0, 1, ... (ids are one more) ---- */
size_t sim_servers(const struct sim *s);
bool sim_up(const struct sim *s, int i);
bool sim_placed(const struct sim *s, int i); /* it is somewhere, up or down; a spare is not */
/* Put a spare up, or start a server that is down with a new disk and these peers in its list: those
 * that are members now, and itself. */
void sim_place(struct sim *s, int i);
bool sim_member(struct sim *s, int i); /* /zookeeper/config has it, as of the newest entry */
bool sim_voter(struct sim *s, int i);
/* No reconfig is under way, and the newest leader's Raft group is what the list says. */
bool sim_members_settled(struct sim *s);
/* In the newest leader's Raft group: RAFT_NODE_VOTER, ...; -1: not in it, or nobody leads. */
int sim_group_role(struct sim *s, int i);
bool sim_reconfiguring(struct sim *s);
/* "10.0.0.1:2888:3888:participant;0.0.0.0:2181" */
void sim_spec(int i, bool observer, char *to, size_t bytes);
bool sim_joining(const struct sim *s, int i);     /* up or not: its next start is mute */
struct server *sim_server(struct sim *s, int i);  /* NULL: down */
int sim_leader(const struct sim *s);              /* established, of the highest term; -1 */
void sim_crash(struct sim *s, int i, bool power); /* power: unsynced writes may be lost */
void sim_start(struct sim *s, int i);
void sim_wipe(struct sim *s, int i); /* while it is down: its disks are new */
void sim_pause(struct sim *s, int i, int64_t ms);
void sim_disk_slow(struct sim *s, int i, int64_t extra_us, int64_t commit_us);
void sim_wall_jump(struct sim *s, int i, int64_t ms);
void sim_wall_rewind(struct sim *s, int i); /* its next start has the wall clock of its last one */
/* What its log's disk does from its next operation on. A process that ends of it is started again;
 * one that refuses to start is left to the operator (sim_damaged). */
void sim_disk_fault(struct sim *s, int i, const struct sim_disk_faults *f);
uint64_t sim_disk_op(struct sim *s, int i);   /* operations so far */
uint64_t sim_disk_read(struct sim *s, int i); /* and reads */
void sim_disk_flip(struct sim *s, int i);     /* a bit of the log, at rest */
void sim_disk_full(struct sim *s, int i,
		   uint64_t room_bytes);            /* no more than that is left; 0: ends */
void sim_disk_copy(struct sim *s, int i, int from); /* while it is down: the other's folders */
void sim_disk_rot(struct sim *s, int i); /* damage at rest of some kind, while it is down */
/* While it is down: a copy of its own folders is kept until it is put back, or its disk is lost. */
void sim_disk_keep(struct sim *s, int i);
void sim_disk_put_back(struct sim *s, int i);
bool sim_damaged(const struct sim *s, int i); /* it is down, and says why it does not start */
bool sim_ailing(const struct sim *s, int i);  /* damage may be found on it */
void sim_refuse_writes(struct sim *s, int i, bool refuse);
/* From now on nothing is broken: rules that only hold then are judged. INT64_MAX: it is. */
void sim_calm(struct sim *s);
int64_t sim_calm_since_us(const struct sim *s);

/* ---- links between servers ---- */
void sim_net_set(struct sim *s, struct sim_net net);
void sim_cut(struct sim *s, int from, int to, bool cut); /* nothing passes that way; it waits */
void sim_break(struct sim *s, int from, int to);         /* the connection that `from` dialled */
void sim_heal(struct sim *s);
void sim_slow(struct sim *s, int from, int to, int64_t us); /* that link alone, longer by so much */
void sim_lose(struct sim *s, enum server_message type);     /* all of that type, until told 0 */
/* All running servers have applied the same, the last of some leader's log. */
bool sim_settled(struct sim *s);
void sim_describe(struct sim *s); /* says who stands where */

/* ---- a client's connection ---- */
struct sim_conn_owner {
	void *owner;
	void (*frame)(void *owner, struct pk_bytes body);
	void (*closed)(void *owner, const char *reason); /* the conn is gone after it */
};
/* Dial server i. NULL: refused at once (down). */
struct sim_conn *sim_connect(struct sim *s, int i, const struct sim_conn_owner *owner);
void sim_conn_send(struct sim_conn *c, struct pk_bytes body);
void sim_conn_close(struct sim_conn *c); /* by the client; `closed` is not called */
/* It takes what it is sent only now and then; `scale` multiplies what the server is told waits. */
void sim_conn_slow(struct sim_conn *c, int64_t frame_us, uint32_t scale);
void sim_conn_stall(struct sim_conn *c, int64_t ms); /* nothing passes in either way for a while */
void sim_conn_break(struct sim_conn *c);             /* both sides hear of it */

/* The time at which the server last processed a frame of that session. */
int64_t sim_session_heard_us(struct sim *s, uint64_t session_id);
/* A frame of that session's was taken in by a server. */
void sim_session_heard(struct sim *s, uint64_t session_id);

#endif
