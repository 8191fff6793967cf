/*
 * store/server.h - one server of the store: clients on one side, the Raft group on the other.
 *
 * The core of paddock-store. Frames, peers' messages, time and finished disk work come in; what
 * should happen goes out through struct server_owner. It owns the tree, the watches, the clients'
 * request queues and, on the leader, the session clock; it borrows kv and the raft node.
 *
 * A write:  frame -> queue of its connection -> outbox -> (leader) one Raft entry per turn
 *           -> committed -> tree_apply on every server -> watch events, then the reply, here.
 * A read:   behind its connection's own earlier writes, from the state as it is then.
 *
 * Order: replies leave in request order on each connection; a session's operations reach the log in
 * the order of arrival; the events of a change go out before any reply that could show it.
 * When the leader is lost, what was sent to it and not seen applied has an unknown outcome: those
 * connections are closed, the others stay, wait for the next leader and keep their watches.
 */
#ifndef PK_STORE_SERVER_H
#define PK_STORE_SERVER_H

#include "base/rng.h"
#include "store/raft_node.h"
#include "store/tree.h"
#include "store/watch.h"

struct server;
struct conn;

/* Limits, each with its answer in docs/failures.md. */
#define CONN_QUEUE_MAX       1000 /* requests waiting on one connection: reading from it pauses */
#define CONN_QUEUE_BYTES_MAX (4u << 20) /* bytes waiting on one connection: the same */
/* Who has so many bytes not yet taken is a slow reader. */
#define CONN_OUT_COUNTED     (64u << 10)
#define CONN_IDS_MAX         32 /* identities of one connection: more are refused, AuthFailed */
#define SERVER_ENTRY_BYTES   (1u << 20) /* an entry is closed when it grows past this */

enum server_message { /* between servers; the shell frames and authenticates them */
		      SERVER_MSG_RAFT = 1,
		      SERVER_MSG_FORWARD = 2,   /* operations for the leader, in packed form */
		      SERVER_MSG_TOUCH = 3,     /* le64 session ids heard since the last */
		      SERVER_MSG_STATE_ASK = 4, /* le64 transfer id, le64 lowest index wanted */
		      SERVER_MSG_STATE_CHUNK =
			      5,                /* le64 transfer id, le32 number, records (kv.h) */
		      SERVER_MSG_STATE_ACK = 6, /* le64 transfer id, le32 number */
		      SERVER_MSG_STATE_END = 7, /* le64 transfer id, le32 count of chunks, le64
						   index of the state */
		      SERVER_MSG_JOIN_ASK = 8,  /* le64 nonce: how far must I follow before I may
						   vote? Of a  leader: may you vote? */
		      SERVER_MSG_JOIN_TELL =
			      9, /* le64 nonce, le64 term, le64 last index of the leader */
		      SERVER_MSG_HEALTH = 10, /* u8: 1 the disk is low, 2 waits for a commit */
		      SERVER_MSG_TYPES
};

struct server_auth_result {
	bool ok;
	size_t count;
	struct {
		char scheme[16];
		char id[256];
	} ids[3]; /* what the connection may now call itself */
};

struct server_owner {
	void *owner;
	/* To a client: copied. Returns the bytes that wait on that connection, these included. */
	size_t (*send)(void *io, struct pk_bytes bytes);
	/* Close once what was sent has gone out (flush) or at once. server_conn_gone follows,
	 * later. */
	void (*close)(void *io, bool flush, const char *reason);
	void (*pause)(void *io, bool paused); /* reading from it */
	/* To a peer; false: over its budget or not connected. Order is kept per peer until
	 * peer_down. */
	bool (*peer_send)(void *owner, uint64_t peer_id, const char *address,
			  enum server_message type, struct pk_bytes bytes);
	/* Run kv_commit_run(job) off the loop, then call server_commit_done. */
	void (*commit)(void *owner, struct kv_job *job);
	/* Bytes nobody can guess. */
	void (*secret)(void *owner, void *to, size_t len);
	/* The addauth request of a scheme. */
	void (*auth)(void *owner, void *io, struct pk_bytes scheme, struct pk_bytes auth,
		     struct server_auth_result *result);
	/* One SASL step. 0: *out is the next token (may be null); otherwise a ZooKeeper error: the
	 * login failed. result->ok with the identities once it is done. */
	int32_t (*sasl)(void *owner, void *io, struct pk_bytes token, struct pk_buf *out,
			bool *out_null, struct server_auth_result *result);
	/*
	 * Fetching state. begin: an empty directory to fill. chunk: records into it
	 * (kv_import_add). finish: make it durable off the loop, then server_import_ready. swap, on
	 * the loop: the server has let go of the old kv; close it, put the new directory in its
	 * place for good and open it. drop: forget what was begun, if anything.
	 */
	void (*import_begin)(void *owner);
	int (*import_chunk)(void *owner, struct pk_bytes records, struct pk_err *err);
	void (*import_finish)(void *owner);
	struct kv *(*import_swap)(void *owner, struct pk_err *err); /* NULL on failure */
	void (*import_drop)(void *owner);
	/* A server that began mute (raft_node_config) has caught up and may vote from now on. */
	void (*joined)(void *owner);
	void (*members)(void *owner, const struct raft_member *members, size_t count);
	void (*role)(void *owner, enum raft_node_role role, uint64_t term, uint64_t leader_id,
		     bool serving);
	/* Give up: log err and exit with a status that makes the supervisor start us again. */
	void (*fatal)(void *owner, const struct pk_err *err);
	/* Microseconds, read now, for latencies only: they decide nothing. NULL: those of
	 * server_now. */
	int64_t (*clock_us)(void *owner);
	/* Something worth a log line happened; `event` dotted, `text` key=value. Level as
	 * base/log.h's. */
	void (*note)(void *owner, int level, const char *event, const char *text);
};

struct server_config {
	uint64_t id;
	uint64_t cluster_id;
	int32_t tick_ms, session_min_ms, session_max_ms;
	int64_t leader_grace_ms; /* how long clients are kept while no leader is known */
	/* When LMDB gets the next transaction: memory of what waits for it, log that a restart
	 * would replay, memory that it would take itself. */
	uint64_t commit_overlay_bytes, commit_log_bytes, commit_pages_bytes;
	/* Memory of what waits, of the commit under way and of the one to come, above which nothing
	 * more is taken until the first has ended: a leader proposes nothing, a follower leaves
	 * entries with the leader. */
	uint64_t waiting_bytes_max;
	uint64_t backlog_bytes_max; /* operations waiting for the log: reading pauses */
	uint32_t txn_flags;         /* enum txn_flag */
	uint32_t jute_bytes_max;
	uint32_t response_bytes_max;
	size_t out_bytes_max;    /* not yet taken by a slow reader: its requests wait */
	size_t out_total_max;    /* of all slow readers together: above it the slowest are closed */
	int64_t connect_wait_ms; /* a connection says what it wants within this, or goes */
	/* Requests that wait in all: above it, who has one waiting is not read from. 0: no limit */
	uint64_t outstanding_max;
	/* Requests longer than large_bytes (below 0: none) may take so many bytes while they wait;
	 * one more closes its connection. */
	int64_t large_bytes, large_bytes_max;
	/* A bucket of tokens; each connect request takes one or its connection is closed. 0: none
	 */
	int64_t conn_tokens, conn_fill_ms, conn_fill_count;
	uint64_t watches_max;
	int64_t container_check_ms; /* 0: never */
	int64_t container_never_used_ms;
	uint32_t container_per_minute;
	uint32_t path_depth_max;
	bool read_only_mode; /* without a leader for leader_grace_ms, serve reads to who asks so */
	bool local_sessions, local_sessions_upgrade;
	bool auth_required;       /* sessionRequireClientSASLAuth, enforce.auth.enabled */
	const char *auth_schemes; /* comma-separated, when auth_required; borrowed */
	bool sasl_failed_ok;      /* a failed SASL login leaves the connection, unless required */
	bool standalone; /* a group of one that was configured so: reconfig is refused as ZooKeeper
			    does */
};

/*
 * kv and raft are borrowed; raft may be set later (server_set_raft) because opening it calls back
 * into the server. rng gives session ids and nothing secret.
 */
PK_CHECKED int server_open(struct server **out, const struct server_config *cfg,
			   const struct server_owner *owner, struct kv *kv, struct pk_rng *rng,
			   int64_t now_ms, int64_t wall_ms, struct pk_err *err);
/* `joining`: the node was opened mute, and the server ends that once it has caught up. */
void server_set_raft(struct server *s, struct raft_node *raft, bool joining);
/* What raft_node_open wants, filled with functions of the server. */
void server_raft_owner(struct server *s, struct raft_node_owner *out);
/* No connections may be left. */
void server_close(struct server *s);

/* Set the clocks; call first in every turn, monotonic never backwards. */
void server_now(struct server *s, int64_t now_ms, int64_t wall_ms);
/* Every heartbeat / 2. */
void server_tick(struct server *s);
/* Once per loop turn, after everything that arrived was fed: proposes, forwards, commits. */
void server_turn(struct server *s);

/* ---- clients ---- */
struct conn_info {
	const char *ip;           /* canonical text, for the ip scheme */
	const char *x509_subject; /* NULL or RFC 2253: becomes the identity x509:subject */
	bool x509_super;
	bool secure;
	bool client_is_admin; /* not used by clients: for tests */
};
struct conn *server_conn_new(
	struct server *s, void *io,
	const struct conn_info *info); /* owned by the server until conn_gone */
/* One frame's body; borrowed for the call. The connection may be closed by it (owner->close). */
void server_conn_frame(struct conn *c, struct pk_bytes body);
void server_conn_drained(struct conn *c); /* its output is below the limit again */
void server_conn_gone(struct conn *c);    /* takes c: the connection is no more */
/* Close from outside (crst, connection limits, ...). */
void server_conn_close(struct conn *c, const char *reason);

/* ---- peers ---- */
/* 0, or PK_EPROTO: nothing was changed, close that peer's connection. */
PK_CHECKED int server_peer_recv(struct server *s, uint64_t from_id, enum server_message type,
				struct pk_bytes bytes, struct pk_err *err);
void server_peer_down(struct server *s,
		      uint64_t peer_id); /* its channel broke: what was sent may be lost */

/* ---- disk work that came to its end ---- */
void server_commit_done(struct server *s, struct kv_job *job, int rc, const struct pk_err *err);
/* import_finish came to its end. */
void server_import_ready(struct server *s, int rc, const struct pk_err *err);

/* Commit whatever is not durable yet, at a graceful stop; false when a job is already under way:
 * call again after it. */
bool server_commit_now(struct server *s);
/* Read no more from clients; false while requests of theirs are still to be answered. */
bool server_drain(struct server *s);
/* Disk space is low: writes are refused (their connections see connection loss...) until false. */
void server_refuse_writes(struct server *s, bool refuse);

/* ---- for the commands, the metrics and the checks ---- */
struct server_stats {
	uint64_t packets_received, packets_sent;
	uint64_t pending_syncs;                 /* requests that wait for a majority */
	uint64_t outstanding;                   /* requests not answered yet */
	uint64_t connections, connections_open; /* all; those with a session */
	uint64_t watches, watch_paths;
	uint64_t proposals, entries, ops_applied;
	uint64_t durable_index, durable_zxid;
	uint64_t overlay_bytes, state_bytes; /* see kv_overlay_bytes, kv_disk_bytes */
	int64_t durable_wall_ms;             /* when it was found to be */
	uint64_t commits, waits;
	uint64_t state_transfers_in, state_transfers_out;
	uint64_t no_cert_local, no_cert_remote; /* TLS connections without a client certificate */
	uint64_t slow_readers_closed;
	uint64_t sessions_expired, bad_frames, auth_failures, connections_lost_leader;
	int64_t latency_min_us, latency_max_us; /* request latency since reset */
	uint64_t latency_sum_us, latency_count;
	/* Bytes of log entries proposed and of replies sent, since reset; -1: none yet. */
	int64_t proposal_last, proposal_min, proposal_max;
	int64_t reply_last, reply_min, reply_max;
	int64_t started_ms, leading_since_ms; /* monotonic; 0: not leading */
	bool serving;                         /* a leader is known and its first entry is applied */
	bool read_only;                       /* instead: reads go on without a leader */
	uint64_t local_sessions;
	bool write_refused;
	enum raft_node_role role;
	uint64_t leader_id, term;
};
void server_stats(struct server *s, struct server_stats *out);
void server_stats_reset(struct server *s);
struct tree *server_tree(struct server *s);
struct watch_table *server_watches(struct server *s);
struct session_clock *server_session_clock(struct server *s); /* NULL on a follower */
struct raft_node *server_raft(struct server *s);
struct pk_metrics *server_metrics(struct server *s); /* rows of store/metrics.h; borrowed */
/* The tree's digest at zxids that are multiples of 128, the newest 1024, oldest first (as
 * ZooKeeper's DataTree.getDigestLog). */
struct server_digest {
	uint64_t zxid, digest;
};
typedef void server_digest_f(void *arg, const struct server_digest *d);
void server_digest_each(struct server *s, server_digest_f *each, void *arg);
bool server_serving(const struct server *s);
bool server_read_only(const struct server *s);

struct conn_stats {
	uint64_t session_id;
	int32_t timeout_ms;
	uint64_t queued, received, sent;
	int64_t established_wall_ms, last_response_ms;
	int64_t heard_ms;   /* its last frame, or its begin */
	int32_t last_xid;   /* -1: nothing answered yet */
	uint64_t last_zxid; /* UINT64_MAX: likewise */
	int32_t last_op;    /* 0: likewise */
	int64_t last_latency_us, min_latency_us, max_latency_us;
	uint64_t sum_latency_us, count_latency;
	const char *ip;
	bool secure;
};
typedef void conn_each_f(void *arg, struct conn *c, void *io, const struct conn_stats *stats);
void server_conn_each(struct server *s, conn_each_f *each, void *arg); /* in order of arrival */
void conn_stats_reset(struct conn *c);
uint64_t conn_session_id(const struct conn *c);

void server_check(struct server *s); /* asserts the invariants S1.. of store/README.md */

#endif
