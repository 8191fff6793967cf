/*
 * store/server_int.h - what server.c, server_conn.c, server_state.c and server_watch.c share, and
 * nobody else.
 */
#ifndef PK_STORE_SERVER_INT_H
#define PK_STORE_SERVER_INT_H

#include <sys/queue.h>
#include <uthash.h>

#include "base/mem.h"
#include "store/metrics.h"
#include "store/server.h"
#include "store/session.h"

#define SERVER_MAGIC 0x53525652u
#define CONN_MAGIC   0x434f4e4eu

#define SERVER_DIGESTS      1024
#define SERVER_DIGEST_EVERY 128 /* zxids */

enum conn_state {
	CONN_NEW,     /* nothing heard yet */
	CONN_JOINING, /* its session is being created or attached: waiting for the log */
	CONN_OPEN,
	CONN_CLOSED, /* owner->close was called, or it is gone */
};

enum req_kind {
	REQ_WRITE, /* in the log; answered when applied */
	REQ_SYNC,  /* waits for the shared sync operation `seq` */
	REQ_READ,  /* answered when it comes to the head */
	REQ_ERROR, /* answered with `seq` as the error when it comes to the head */
};

struct req {
	enum req_kind kind;
	int32_t xid, op;
	uint64_t seq;
	uint8_t *body;  /* owned; NULL for a write */
	uint32_t len;   /* of body */
	uint32_t large; /* its bytes, if it counts as a large one */
	int64_t at_us;  /* when it came */
};

struct conn {
	uint32_t magic;
	enum conn_state state;
	struct server *server;
	void *io;
	TAILQ_ENTRY(conn) link;
	TAILQ_ENTRY(conn) new_link; /* while CONN_NEW */
	UT_hash_handle hh;          /* by session_id, while CONN_OPEN */
	uint64_t session_id, gen;
	int32_t timeout_ms;
	uint8_t password[16];
	bool read_only_byte; /* the client's connect request had it, so the reply has it */
	bool gone;           /* the shell let go of it: free once refs is 0 */
	bool blocked;        /* a slow reader: its output is over the limit */
	bool paused;         /* what the shell was told */
	size_t out_bytes;    /* of a slow reader, as of the last reply; else 0 */
	bool starved;        /* blocked because all slow readers together are over the limit */
	bool touched;
	bool read_only; /* it was told so: it goes when a leader is found */
	bool deferred;  /* its reconfig is under way: what comes behind it is held */
	bool ending;    /* a local session is asked to end: nothing behind that counts */
	bool secure;
	bool authenticated; /* by a scheme that auth_required counts */
	uint32_t refs;      /* pending operations that point here */
	char ip[48];
	struct txn_id ids[CONN_IDS_MAX]; /* bytes owned */
	size_t id_count;
	struct watcher watcher;
	struct req *ring; /* power of two */
	uint32_t ring_cap, ring_head, ring_count;
	size_t ring_bytes;
	uint64_t last_write_seq; /* of its newest write, for sharing a sync */
	struct pk_buf held;      /* frames that came while joining or blocked: le32 length + body */
	int64_t since_ms, joining_us;
	struct conn_stats stats;
};

TAILQ_HEAD(conn_list, conn);

/* Operations of ours on their way through the log, oldest first; results come in this order. */
struct pending {
	uint64_t seq;
	struct conn *conn;     /* NULL: nobody waits */
	struct conn **waiters; /* of a shared sync; owned */
	uint32_t waiter_count;
};

struct server {
	uint32_t magic;
	struct server_config cfg;
	struct server_owner out;
	struct kv *kv;
	struct tree *tree;
	struct raft_node *raft;
	struct pk_rng *rng;
	struct watch_table *watches;
	int64_t now_ms, wall_ms;

	struct conn_list conns;
	struct conn_list new_conns; /* those that have not asked for a session yet, oldest first */
	struct conn *by_session;
	uint64_t next_session_id;
	uint64_t outstanding; /* requests in all rings */
	int64_t large_bytes;  /* of those that are large */
	int64_t tokens, filled_ms;
	bool draining;
	size_t out_total;     /* of all out_bytes */
	bool starving;        /* some connection is starved */
	struct local *locals; /* by id: server_local.c */
	struct session_clock *local_clock;
	bool read_only;    /* no leader for too long: who asked for it is served reads */
	uint64_t *touched; /* session ids heard since the last report */
	size_t touched_count, touched_cap;
	int64_t touch_at_ms;

	/* the way to the log */
	struct txn_pack *outbox; /* being filled this turn */
	struct ready_pack {
		struct txn_pack *pack;
		uint64_t last_seq; /* of our own operations in it and before it */
	} * ready;                 /* full ones, oldest first */
	size_t ready_count, ready_cap;
	size_t backlog_bytes;
	struct pending *pending; /* ring, power of two */
	size_t pending_cap, pending_head, pending_count;
	uint64_t next_seq, sent_seq;
	uint64_t sync_seq; /* of a sync operation still in the outbox, or 0 */

	/* the group */
	enum raft_node_role role;
	uint64_t term, leader_id;
	int64_t leaderless_since_ms; /* 0: there is one */
	bool leading;                /* we are it */
	bool epoch_proposed, established;
	struct session_clock *clock; /* while established */
	int64_t container_at_ms;
	uint64_t digest_entries; /* entries since the last digest operation */
	struct {
		uint64_t index, digest, extra;
	} mark;             /* the tree as of the last digest operation */
	bool write_refused; /* of a leader: server_handover.c */
	struct {
		bool disk_low;
		struct {
			uint64_t id;
			int64_t at_ms;
			uint8_t flags;
		} of[RAFT_NODE_MEMBERS_MAX]; /* what the others told */
		size_t count;
		uint64_t to; /* who is asked to lead, and nothing is proposed; 0: nobody */
		bool asked;
		int64_t give_up_ms, again_ms;
	} handover;
	struct { /* the leader's way from one list of members to another */
		bool changing, finishing, failed;
		/* Before votes are given or taken, those that count are asked whether they may use
		 * theirs: who may says so, with the nonce of this change. */
		uint64_t asked_for, nonce; /* asked_for: whose vote it is; 0: nobody is asked */
		uint64_t told[RAFT_NODE_MEMBERS_MAX];
		size_t told_count;
		int64_t retry_at_ms, give_up_ms;
	} members;
	struct {
		bool active;
		uint64_t nonce, target; /* the leader's last index when it answered; 0: not yet */
		uint64_t term;          /* of that answer */
		int64_t ask_at_ms;
	} join;

	/* durability */
	struct kv_job *job;
	struct tree_meta job_meta, durable;
	int64_t job_begun_ms, commit_early_ms; /* when commits need not be due yet */
	uint64_t log_bytes;                    /* applied since the last commit began */
	uint64_t job_bytes;                    /* of pages that the job changes, at most */
	struct {                               /* nothing more is taken until the job has ended */
		bool on, told;
		int64_t since_ms;
		int64_t forgiven_ms; /* by which the clock of sessions is behind */
	} wait;
	int64_t applied_ms; /* when an entry was last applied */
	bool commit_wanted;

	/* state transfer */
	struct {
		enum { IMPORT_NONE, IMPORT_FETCH, IMPORT_SYNC, IMPORT_READY, IMPORT_FAILED } step;
		uint64_t from, index; /* what is asked for, and of whom */
		uint64_t wanted;      /* by the leader's newest manifest */
		uint64_t id, state_index;
		uint32_t next_chunk;
		int64_t heard_ms;
	} import;
	struct state_export *exports;

	struct tree_result result;
	struct pk_buf frame;       /* scratch for one reply */
	struct pk_buf event_frame; /* the notification being told */
	struct pk_bytes event_acl; /* who may hear of it, as in tree_event */
	struct server_stats stats;
	struct pk_metrics *metrics;
	struct server_digest digests[SERVER_DIGESTS]; /* ring */
	size_t digest_count;                          /* ever */
	struct {
		uint64_t index;
		int64_t at_us;
	} proposed[4];        /* the entries under way, by index */
	int64_t outbox_at_us; /* since when something waits in the outbox; 0: nothing */
	bool was_serving;
	int64_t unserving_since_ms, led_since_ms;
	bool dead; /* fatal was called */
};

/* server.c */
int64_t server_clock_us(struct server *s);
void server_fatal(struct server *s, const struct pk_err *err);
void server_note(struct server *s, int level, const char *event, const char *fmt, ...)
	PK_PRINTF(4, 5);
/* Put an operation on its way; its result comes to `c` (NULL: to nobody). Returns its sequence
 * number. */
uint64_t server_submit(struct server *s, const struct txn_op *op, const struct txn_id *ids,
		       size_t id_count, struct conn *c);
/* Wait for the sync operation that is in the outbox, or a new one; not one before `after_seq`. */
uint64_t server_submit_sync(struct server *s, struct conn *c, uint64_t after_seq);
/* Every operation of ours that is on its way: forgotten, and who waits for it is closed. */
void pending_fail_all(struct server *s, const char *reason);
void server_set_tree(struct server *s, struct tree *t);

/* server_count.c */
void count_read(struct server *s, int32_t op, struct pk_bytes body, size_t reply_bytes);
void count_latency_us(struct server *s, bool write, int64_t us);
void count_queued(struct server *s); /* an operation was put into the outbox */
void count_proposed(struct server *s, size_t bytes, size_t ops,
		    int64_t begun_us); /* the newest entry of the log */
void count_entry(struct server *s, const struct txn_header *header, int64_t begun_us);
void count_op(struct server *s, const struct txn_header *header, const struct txn_op *op,
	      const struct tree_result *r);
void count_watches(struct server *s, int32_t event, size_t told);
void count_leader(struct server *s, bool was_leading, uint64_t leader_before);
void count_serving(struct server *s);

/* server_conn.c */
/* What it asked before its write must not see the write, however slowly it reads. */
void conn_before_write(struct conn *c);
void conn_result(struct conn *c, const struct txn_op *op, const struct tree_result *r);
void conn_sync_result(struct conn *c, uint64_t seq);
/* A reconfig came to its end: the reply it waited for. */
void conn_config_result(struct server *s, const struct txn_op *op, const struct tree_result *r);
void conn_close(struct conn *c, bool flush, const char *reason);
void conn_unref(struct conn *c);
void conn_flow(struct conn *c);
struct conn *conn_of_session(struct server *s, uint64_t session_id);
void conn_tell(void *owner, int32_t event, struct pk_bytes path, void *arg);
void conn_send(struct conn *c, struct pk_bytes frame);
/* Slow readers together are over the limit: close the slowest until they are not. */
void conns_shed(struct server *s);
void conns_close_all(struct server *s, const char *reason);

bool password_eq(const uint8_t a[16], const uint8_t b[16]);

/* server_local.c: sessions of this server alone */
void local_begin(struct conn *c);
enum local_rejoin { LOCAL_OK, LOCAL_WRONG, LOCAL_UNKNOWN };
enum local_rejoin local_rejoin(struct conn *c);
void local_touch(struct conn *c);
void local_end(struct server *s, uint64_t id);
void local_end_all(struct server *s);
void local_tick(struct server *s);
size_t local_count(const struct server *s);
/* Before a write of a local session: makes it global first if the write needs that and it may;
 * the error if it may not. */
int32_t local_upgrade(struct conn *c, int32_t type, struct pk_bytes body);

/* server_watch.c: requests about watches, answered at the head of a queue. Return the reply's
 * error. */
int32_t watch_request(struct conn *c, int32_t op, struct pk_bytes body, struct pk_buf *out);
void watch_from_read(struct conn *c, const struct tree_read *r);

/* server_members.c */
void members_begin(struct server *s); /* this server leads from now on */
void members_tick(struct server *s);
void members_applied(struct server *s);
void members_told(struct server *s, uint64_t from_id, uint64_t nonce); /* it may use its vote */

/* server_handover.c */
void handover_tell(struct server *s); /* the leader: how we are */
int handover_recv(struct server *s, uint64_t from_id, struct pk_bytes bytes, struct pk_err *err);
void handover_tick(struct server *s); /* of a leader */
/* Of a leader that stops: somebody may take over yet. */
bool handover_is_due(const struct server *s);
void handover_end(struct server *s); /* it leads no more */

/* server_state.c */
void state_turn(struct server *s);
void state_tick(struct server *s);
void state_install(struct server *s, uint64_t from_id, uint64_t index);
int state_peer_recv(struct server *s, uint64_t from_id, enum server_message type,
		    struct pk_bytes bytes, struct pk_err *err);
void state_peer_down(struct server *s, uint64_t peer_id);
void state_release(struct server *s);

#endif
