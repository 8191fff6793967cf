/*
 * store/raft_node.h - one member of the Raft group: libraft's algorithm, our disk and messages.
 *
 * The only door to libraft. It owns struct raft, our struct raft_io over an rlog, and the guard
 * (docs/raft-guard.md: its clauses contain published, reproduced and newly found defects of libraft
 * 0.15.0). A core: time, randomness, disk and messages come in from outside, so the simulator runs
 * this very code.
 *
 * Callbacks: `apply` runs inside the library, so propose and change answer PK_EAGAIN there; every
 * other callback may call anything but raft_node_close. Inside raft_node_propose only `send` (and
 * `fatal`) are called. The first calls of `role` and `members` come with the first tick.
 *
 * Rules it enforces: entries are one buffer, non-empty, a multiple of 8 (G6); at most
 * RAFT_NODE_INFLIGHT_MAX proposals are outstanding; a failed disk request or an unavailable library
 * ends in `fatal`, after which nothing more is called: the process must exit.
 */
#ifndef PK_STORE_RAFT_NODE_H
#define PK_STORE_RAFT_NODE_H

#include "base/rng.h"
#include "store/rlog.h"

#define RAFT_NODE_INFLIGHT_MAX 2
#define RAFT_GUARD_ALL         UINT32_MAX /* store/raft_guard.h names the clauses */

struct raft_node;

enum raft_node_role { RAFT_NODE_FOLLOWER, RAFT_NODE_CANDIDATE, RAFT_NODE_LEADER };

/* How a proposal ended. LOST: it may still be committed, nobody knows; clients see connection loss.
 */
enum raft_node_outcome { RAFT_NODE_APPLIED, RAFT_NODE_LOST };

struct raft_member {
	uint64_t id;
	int role;          /* RAFT_NODE_VOTER, _STANDBY, _SPARE: libraft's RAFT_VOTER, ... */
	char address[256]; /* opaque to us: the server spec's peer address */
};
enum { RAFT_NODE_STANDBY = 0, RAFT_NODE_VOTER = 1, RAFT_NODE_SPARE = 2 };
#define RAFT_NODE_MEMBERS_MAX 64

struct raft_node_owner {
	void *owner;
	/* A committed command, in index order, exactly once per process run (entries at or below
	 * the restored state's index come again after a restart: skip those). Data borrowed for the
	 * call. */
	void (*apply)(void *owner, uint64_t index, uint64_t term, struct pk_bytes data);
	/* A committed index that carries no command (barrier, membership change), in order with
	 * apply; after a restart the same rule: skip what the state already has. */
	void (*skip)(void *owner, uint64_t index, uint64_t term);
	/* Called on every change of role, term or known leader (leader_id 0: none known). */
	void (*role)(void *owner, enum raft_node_role role, uint64_t term, uint64_t leader_id);
	/* An encoded message for that peer; data borrowed for the call. false: its queue is over
	 * its budget (G9), the message is dropped and the library told so. Never loops back. */
	bool (*send)(void *owner, uint64_t peer_id, const char *address, struct pk_bytes data);
	/* The members as of the newest configuration (committed or not) changed. */
	void (*members)(void *owner, const struct raft_member *members, size_t count);
	/*
	 * The log is larger than snapshot_log_bytes: entries up to the state's *durable* index may
	 * go. In: *index is the applied index. Out: set it to the durable index (not above what it
	 * was) and fill *payload, the manifest of a state that holds at least that index. Return
	 * false when there is none; it is asked again with the next commit.
	 */
	bool (*snapshot)(void *owner, uint64_t *index, struct pk_buf *payload);
	/* At start: the newest manifest. State at or above its index: return 0. Otherwise an error:
	 * this server must be given state before it can start. */
	int (*restore)(void *owner, uint64_t index, struct pk_bytes payload, struct pk_err *err);
	/*
	 * A leader sent a manifest because our log is too far behind. Fetch the state from
	 * `from_id`, make it durable and current, then call raft_node_install_done; on failure call
	 * it with rc < 0 after a pause, for the leader sends again at once. A newer one replaces
	 * the older. While fetching, commands may still be applied to the old state (from another
	 * leader): before the swap compare indexes, never go backwards. The fetched state may be
	 * ahead of `index`; entries it already has are then applied again: skip them. A crash after
	 * the swap leaves a state ahead of the log, which is safe: the log is intact, only behind.
	 */
	void (*install)(void *owner, uint64_t from_id, uint64_t index, uint64_t term,
			struct pk_bytes payload);
	/* Nothing may be trusted any more: write err and exit. */
	void (*fatal)(void *owner, const struct pk_err *err);
};

struct raft_node_config {
	uint64_t id;
	const char *address;
	unsigned heartbeat_ms;       /* 50 */
	unsigned election_ms;        /* 500; a timer is randomised to 1x-2x */
	unsigned install_timeout_ms; /* 600000 */
	uint64_t snapshot_log_bytes; /* ask for a snapshot when the log holds more, 64 MiB */
	uint64_t fetch_log_bytes;    /* for a member that fetches or lags; 0: eight times that */
	uint64_t trailing_entries;   /* kept behind a snapshot for slow followers */
	uint32_t guard;              /* RAFT_GUARD_ALL; less only in the regression tests */
	/* Neither vote nor ask for votes until raft_node_speak: this server may have promised
	 * things in an earlier life that it cannot remember. */
	bool mute;
	/* Take nothing from a leader of an older term, whatever the disk remembers: stored before
	 * anything else happens. 0: what the disk says. */
	uint64_t term_floor;
};

/*
 * Open from what rlog_open found. When the log is empty and `bootstrap_count` > 0 the given members
 * become configuration 1 (the same list on every server of a new cluster). Calls owner->restore if
 * there is a manifest. Time starts at now_ms; rng is borrowed for the node's life.
 */
PK_CHECKED int raft_node_open(struct raft_node **out, const struct raft_node_config *cfg,
			      const struct raft_node_owner *owner, struct rlog *log,
			      const struct rlog_loaded *loaded, const struct raft_member *bootstrap,
			      size_t bootstrap_count, int64_t now_ms, struct pk_rng *rng,
			      struct pk_err *err);
/* Stop and release everything; `closed` is called before return. The disk must have stopped calling
 * back; rlog_close comes after. Outstanding proposals and changes get no callback. */
void raft_node_close(struct raft_node *n, void (*closed)(void *owner), void *owner);

void raft_node_speak(struct raft_node *n); /* ends `mute` */
/*
 * While `hold`: of what a leader sends take the sign of life, not the entries. It sends them again.
 * For a follower whose state cannot keep up; a leader proposes no more instead.
 */
void raft_node_hold(struct raft_node *n, bool hold);

/* Call every heartbeat_ms / 2 or so; now_ms never goes backwards. */
void raft_node_tick(struct raft_node *n, int64_t now_ms);
/* Bytes from an authenticated peer. Malformed: PK_EPROTO, nothing changed (close that peer's
 * connection). */
PK_CHECKED int raft_node_recv(struct raft_node *n, uint64_t from_id, struct pk_bytes data,
			      int64_t now_ms, struct pk_err *err);

/*
 * The channel to a peer broke: what was sent on it may be lost. Was the peer our leader, and
 * nothing is heard of it for more than a heartbeat, then it is given up long before the election
 * timeout (Raft is safe whatever the timers do; pre-vote keeps a leader that others still hear).
 */
void raft_node_peer_down(struct raft_node *n, uint64_t id);

/*
 * Propose one entry (copied). PK_ESTATE when not leader, PK_EAGAIN when RAFT_NODE_INFLIGHT_MAX are
 * outstanding. `done` later, after `apply` of that entry when it was applied.
 * The entry will get index raft_node_last_index(n) + 1: ask before, it goes into the entry's
 * header.
 */
typedef void raft_node_done_f(void *owner, enum raft_node_outcome outcome, uint64_t index);
PK_CHECKED int raft_node_propose(struct raft_node *n, struct pk_bytes entry, raft_node_done_f *done,
				 void *owner, struct pk_err *err);

enum raft_node_role raft_node_role(const struct raft_node *n);
uint64_t raft_node_term(const struct raft_node *n);
uint64_t raft_node_leader(const struct raft_node *n); /* 0: none known */
uint64_t raft_node_last_index(const struct raft_node *n);
uint64_t raft_node_commit_index(const struct raft_node *n);
size_t raft_node_inflight(const struct raft_node *n);
size_t raft_node_members(const struct raft_node *n, struct raft_member *to, size_t most);
/* On a leader: what it knows of a member (index it has stored; heard within an election timeout).
 */
bool raft_node_progress(const struct raft_node *n, uint64_t id, uint64_t *match_index,
			bool *recent);

/*
 * The state is durable as of `index`, and `payload` is its manifest: the log's manifest follows it,
 * so that a restart begins there, as soon as nothing is in the way. Nothing is cut from the log,
 * and the library is not told: it may still send what lies below to members that lag.
 */
void raft_node_durable(struct raft_node *n, uint64_t index, struct pk_bytes payload);

/* The state fetched for the held install message is in place (rc 0), or could not be had (rc < 0:
 * the leader is told and will send a manifest again). */
void raft_node_install_done(struct raft_node *n, int rc);

/*
 * One membership change at a time, on the leader, when nothing else is under way (PK_EAGAIN).
 * `role` -1 removes; an unknown id is added as spare and then assigned. done(rc): 0 or PK_E*.
 */
typedef void raft_node_change_f(void *owner, int rc, const struct pk_err *err);
PK_CHECKED int raft_node_change(struct raft_node *n, uint64_t id, const char *address, int role,
				raft_node_change_f *done, void *owner, struct pk_err *err);

/*
 * On the leader: ask `to`, a voter, to be elected now (TimeoutNow, Raft dissertation 3.10). It asks
 * for votes at once, everybody steps down for it, and no proposal is lost if none is made until the
 * role changes. It may fail without a sign: call it again, but not within election_ms. PK_ESTATE:
 * not the leader, or `to` is no voter; PK_EAGAIN: proposals or a change are under way, or `to` does
 * not have the whole log.
 */
PK_CHECKED int raft_node_hand_over(struct raft_node *n, uint64_t to, struct pk_err *err);

/* Decode only, for the fuzzer: 0 or PK_EPROTO. */
int raft_node_message_check(struct pk_bytes data);

#endif
