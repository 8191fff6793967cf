/*
 * tests/sim/raft_cluster.h - a Raft group in one process, in virtual time, from one seed.
 *
 * Real raft_node, guard and rlog over a disk that loses and tears what was not synced, and links
 * that lose, delay, reorder and double. Each server's state is a hash chain over what was applied,
 * durable only now and then. Judged at every step: R1 the same index holds the same entry on every
 * server that applied it (state machine safety) R2 (index, term) names one entry, and one entry
 * before it (log matching) R3 one leader per term, and nobody leads the same term twice R4 what was
 * acknowledged is what was applied at that index, and stays R5 a server applies every index once,
 * in order R6 what a leader commits by counting ends with an entry of its own term R7 a server
 * acknowledges only what it has stored, and what its leader has at that index R8 a leader changes
 * the membership only once it has committed in its term A violation is kept in `violation` (the
 * first one), and nothing runs on.
 */
#ifndef PK_TESTS_SIM_RAFT_CLUSTER_H
#define PK_TESTS_SIM_RAFT_CLUSTER_H

#include "store/raft_node.h"

#define CLUSTER_MOST 7

struct cluster;
struct cluster_node;

struct cluster_options {
	size_t count; /* voters at the start */
	uint64_t seed;
	uint32_t guard; /* RAFT_GUARD_ALL */
	uint64_t snapshot_log_bytes;
	uint64_t trailing_entries;
	bool checkpoints;       /* the log's manifest follows the durable state */
	uint64_t covered_count; /* of rlog_config */
	int64_t fetch_ms;       /* that fetching the state takes at least */
};

struct cluster_net {
	int64_t delay_least_ms, delay_most_ms;
	uint32_t loss_ppm, double_ppm;
	uint32_t slow_ppm; /* of messages that take up to slow_ms */
	int64_t slow_ms;
	bool refuses; /* a cut link takes nothing, as one that is not connected; else it loses it */
};

struct cluster *cluster_new(const struct cluster_options *o);
void cluster_free(struct cluster *c);
struct pk_rng *cluster_rng(struct cluster *c);
void cluster_net_set(struct cluster *c, struct cluster_net net);
int64_t cluster_now(const struct cluster *c);
const char *cluster_violation(const struct cluster *c); /* NULL: none */

/* Until `ms` have passed, or a violation. */
void cluster_run(struct cluster *c, int64_t ms);
/* Until somebody leads and has committed an entry of its own term; -1 when `ms` pass. */
int cluster_elect(struct cluster *c, int64_t ms);
/* Until every running member has applied all that is committed; false when `ms` pass. */
bool cluster_settle(struct cluster *c, int64_t ms);

int cluster_leader(const struct cluster *c); /* of the highest term; -1 */
bool cluster_up(const struct cluster *c, int i);
struct raft_node *cluster_raft(struct cluster *c, int i);
uint64_t cluster_applied(const struct cluster *c, int i);
uint64_t cluster_committed(const struct cluster *c); /* highest applied anywhere */
uint64_t cluster_acked(const struct cluster *c);     /* count of acknowledged proposals */
uint64_t cluster_installs(const struct cluster *c);
uint64_t cluster_loaded(const struct cluster *c, int i); /* records, at its last start */
uint64_t cluster_snapshots(const struct cluster *c);

/* Propose 8 * words random bytes at i: 0, or what raft_node_propose said. */
int cluster_propose(struct cluster *c, int i, size_t words);
void cluster_link(struct cluster *c, int from, int to, bool up);
void cluster_heal(struct cluster *c);
void cluster_crash(struct cluster *c, int i); /* killed, or by a power cut, as the seed says */
void cluster_peer_down(struct cluster *c, int i, int of); /* i's channel to it breaks */
void cluster_start(struct cluster *c, int i);             /* from what its disk holds */
void cluster_pause(struct cluster *c, int i, int64_t ms);
void cluster_disk(struct cluster *c, int i, int64_t extra_us); /* at most, for each operation */
void cluster_fail_disk(struct cluster *c, int i);              /* the next request fails */
void cluster_mend_disk(struct cluster *c, int i);
/* A server with an empty disk that no membership names yet. */
int cluster_add(struct cluster *c);
/* Ask the leader: rc of raft_node_change; the end is counted in cluster_changes. */
int cluster_change(struct cluster *c, int i, int role);
uint64_t cluster_changes(const struct cluster *c);
bool cluster_failed(const struct cluster *c, int i); /* its `fatal` was called */

#endif
