/*
 * jepsen/check_int.h - what the checker's files share.
 *
 *     check.c        zxids, floors and sessions are prepared; the walks are run; digests
 *     check_order.c  each client's own order
 *     check_model.c  the tree as the history has it, and its walk by zxid
 *     check_apply.c  what transactions do to it, and what they must be answered
 *     check_watch.c  each client's watches
 */
#ifndef PK_JEPSEN_CHECK_INT_H
#define PK_JEPSEN_CHECK_INT_H

#include "jepsen/check.h"
#include "jepsen/history_impl.h"

#define NONE HIST_NO_INDEX

struct csession {
	uint64_t id;
	int64_t last_ack;    /* highest zxid of a reply */
	int64_t timeout_ns;  /* the least that was negotiated; 0: not known */
	int64_t heard_ns;    /* invoke time of the last answered operation that the leader saw */
	int64_t silent_ns;   /* nothing is sent from then on; INT64_MAX */
	int64_t expired_ns;  /* told so; INT64_MAX */
	int64_t close_floor; /* asked to be closed, with an unknown outcome; INT64_MAX */
	int64_t end_zxid;    /* it ended exactly there; 0 */
	int64_t end_ns;      /* and then, by the log; 0 */
	int64_t end_by;      /* it had ended there, as was seen; 0 */
	int64_t gone_zxid;   /* must have ended by there, for the client was told; INT64_MAX */
	int64_t late_zxid;   /* must have ended by there, for it was silent; INT64_MAX */
	bool close_asked;    /* and not refused */
	bool close_answered;
	uint32_t ephemerals; /* first node, by owner_next */
	/* check_order.c */
	int64_t order_zxid, sync_need;
};

/* A change that may have happened: a write, or a part of a multi, with an unknown outcome. */
enum cand_kind { CAND_CREATE, CAND_CREATE_SEQ, CAND_DELETE, CAND_SET, CAND_ACL };
struct cand {
	uint32_t op;  /* index of the operation */
	uint32_t sub; /* index into subs, NONE: the operation itself */
	uint32_t path;
	uint32_t next, next_kid; /* of the path; of its parent */
	int64_t floor, most;     /* it happened above floor, and not above most, if at all */
	int64_t placed;          /* used, for it surely happened at this zxid, unseen; 0 */
	enum cand_kind kind;
	bool used;
};

enum there { THERE_UNKNOWN, THERE_NO, THERE_YES };
enum node_kind { NODE_UNKNOWN, NODE_PLAIN, NODE_EPHEMERAL, NODE_REAPED /* container or TTL */ };

enum known {
	K_CZXID = 1 << 0,
	K_MZXID = 1 << 1,
	K_PZXID = 1 << 2,
	K_CTIME = 1 << 3,
	K_MTIME = 1 << 4,
	K_VERSION = 1 << 5,
	K_CREATES = 1 << 6, /* with num_children it is cversion */
	K_AVERSION = 1 << 7,
	K_OWNER = 1 << 8,
	K_COUNT = 1 << 9,
	K_DATA = 1 << 10,
	K_BYTES = 1 << 11,
	K_ACL = 1 << 12,
	K_KIDS = 1 << 13, /* the set of children is exact */
	K_ALL = (1 << 14) - 1,
};

/* What is known of a node at the zxid where the walk is; an old one of these is a version. */
struct state {
	uint8_t there, kind;
	uint16_t known;
	int32_t version, creates, aversion, num_children;
	int64_t czxid, mzxid, pzxid, ctime, mtime;
	int64_t pzxid_least; /* if not 0: pzxid may be this, or of anything untold up to pzxid */
	int64_t owner;
	uint64_t data_hash, kids_hash;
	uint32_t data_bytes, acl;
	uint32_t kid_count; /* in the list */
};

struct node {
	struct state s;
	uint32_t path, parent; /* ids; the node of path id i is nodes[i] */
	uint32_t first_kid, next_kid, prev_kid;
	uint32_t owner_next, owner_prev;
	uint32_t cands, kid_cands; /* lists of cand */
	uint32_t versions;         /* newest older state, only for ZooKeeper */
	int64_t seen;              /* its own part was as it is at this zxid */
	int64_t kids_seen;         /* and what concerns its children */
	int64_t changed;           /* zxid of the last change */
	int64_t acl_seen;          /* its list of rights was as it is at this zxid */
	int64_t part_zxid;         /* a part of a multi that came to light changed it then */
	int64_t learned;           /* at this zxid a look was taken over rather than compared */
	int64_t told;              /* a stat of it, or that it is not there, was of this zxid */
	int64_t listed;            /* all its children's names were */
	uint32_t kid_log;          /* newest of what came and went below it */
	uint64_t name_hash;
	uint32_t stamp; /* of a list that is being looked through */
	bool watched, watch_root;
	bool foggy;    /* what happens to it may be unknown */
	bool by_multi; /* the last change came from a multi */
	bool in_tree;  /* linked to its parent's list */
	bool system;   /* below /zookeeper: not judged */
};

struct version {
	struct state s;
	int64_t until; /* it was so below this zxid */
	uint32_t older;
};

/* A child came (+1) or went (-1) at this zxid; 0: there may be more than is told, up to it. */
struct kid_change {
	int64_t zxid;
	uint32_t older;
	int8_t way;
};

/* Something that watchers are told. */
struct change {
	uint32_t path;
	int32_t type;
	int64_t lo,
		hi; /* it happened above lo, and at hi at the latest; lo == hi - 1: exactly at hi */
	bool sure;
	bool open; /* everybody may read the node */
};

#define FATE_NEVER (-1)

struct check {
	const struct history *h;
	struct check_opts opts;
	struct check_report *report;
	int64_t *zxids;  /* of each operation, as told or derived; 0: none */
	int64_t *los;    /* of reads, only for ZooKeeper: the session had seen this before */
	int64_t *floors; /* of writes and syncs: the highest zxid that was told before */
	/* Of writes of unknown outcome, by the log: the zxid where it was done, FATE_NEVER, or 0 if
	 * that is not told; and by HIST_TXN: the write that it is, NONE. */
	int64_t *fates;
	uint32_t *fate_of_txn;
	struct csession *sessions;
	struct node *nodes;
	HIST_VEC(struct cand) cands;
	HIST_VEC(struct version) versions;
	HIST_VEC(struct change) changes;
	HIST_VEC(struct kid_change) kid_changes;
	/* answered writes by the time they were asked for, and the least zxid from there on */
	struct sort_item *asked;
	uint32_t asked_count;
	int64_t *least_after;
	struct sort_item *known; /* zxids of transactions in the history, rising: val the op */
	uint32_t known_count;
	uint32_t acl_open;
	uint32_t stamp;
	bool in_multi;
	bool inferring; /* a change is applied that nobody was told of */
	bool recursive_watches;
	/* identities, by process: ids of texts */
	struct who {
		uint32_t ids[8];
		uint32_t ops[8]; /* from which operation on */
		uint32_t count;
		bool unsure, super;
	} * who;
};

struct sort_item {
	uint64_t key;
	uint32_t val;
};
/* Stable. */
void check_sort(struct sort_item *items, size_t count);

void check_bad(struct check *c, enum check_rule rule, uint32_t process, int64_t time_ns,
	       int64_t zxid, const char *fmt, ...) PK_PRINTF(6, 7);
/* A violation by an operation: its text says which. */
void check_bad_op(struct check *c, enum check_rule rule, uint32_t op, const char *fmt, ...)
	PK_PRINTF(4, 5);
static inline void check_judged(struct check *c, enum check_rule rule)
{
	c->report->judged[rule]++;
}

/* Does an answer with this code come from the commit point, with a zxid of its own? */
bool check_verdict(int32_t err);
bool check_is_write(int32_t op);
/* The least zxid of writes asked for at or after this time; INT64_MAX: none. */
int64_t check_zxid_after(const struct check *c, int64_t time_ns);
/* The operation that took this zxid, NONE. */
uint32_t check_known(const struct check *c, int64_t zxid);
/*
 * A session that the leader may have expired was silent at least so long after heard_ns. Servers
 * tell their leader in batches whom they heard, and a server that is cut off does not: a write that
 * was answered right before counts for nothing there. What was heard before it, the last ping, is a
 * third of the timeout older at most.
 */
int64_t check_least_silence(const struct check *c, const struct csession *s);
/* The end of the last fault that touches [from, to]; from: none did. */
int64_t check_fault_end(const struct check *c, int64_t from, int64_t to);

void check_order(struct check *c);
void check_model(struct check *c);
void check_watches(struct check *c);

/* ---- check_model.c for check_apply.c ---- */

#define ZXID_UNKNOWN 0

struct seen { /* what an answer shows of a node */
	bool absent;
	const struct zk_stat *stat;
	bool has_data;
	uint64_t data_hash;
	uint32_t data_bytes;
	bool has_names;
	struct pk_bytes names;
	bool has_acl;
	uint32_t acl; /* id of the text; NONE: open to all */
	bool has_owner;
	int64_t owner;
};

/* Where it is seen: an operation, or a dump (op NONE). */
struct look {
	uint32_t op;
	int64_t zxid, lo; /* the state is of a zxid from lo to zxid */
	bool final, write;
};

struct node *check_node(struct check *c, uint32_t path);
/* Is there a request that may have deleted it, below this zxid? */
bool check_may_delete(const struct check *c, const struct node *n, int64_t zxid);
/* May have been changed by a request of which nobody knows whether it happened. */
bool check_foggy(const struct check *c, const struct node *n);
/* Is what is seen what the tree is? Learns; explains by what may have happened; or tells. */
bool check_look(struct check *c, const struct look *at, uint32_t path, const struct seen *seen);
/* Make it so if it may be so: false, if nothing in the history explains it. */
bool force_there(struct check *c, uint32_t path, const struct look *at);
bool force_absent(struct check *c, uint32_t path, const struct look *at);
/* If an answer's stat tells of another node than the one that is there, it was made again. */
void force_made(struct check *c, uint32_t path, const struct zk_stat *stat, const struct look *at);
bool force_childless(struct check *c, uint32_t path, const struct look *at);
bool force_children(struct check *c, uint32_t path, const struct look *at);
bool force_changed(struct check *c, uint32_t path, bool acl, const struct look *at);
bool force_creates(struct check *c, uint32_t parent, int32_t creates, const struct look *at);
/* Which rule is broken when this node is (not) there against the tree. */
enum check_rule check_why(struct check *c, const struct look *at, uint32_t path, bool absent);

/* ---- check_apply.c ---- */

/* What an operation (or part) does, at a zxid, or ZXID_UNKNOWN: somewhere up to hi. */
void check_apply_create(struct check *c, uint32_t path, const struct hop *op, uint32_t op_index,
			int64_t zxid, int64_t hi);
void check_apply_delete(struct check *c, uint32_t path, int64_t zxid, int64_t hi);
enum node_kind kind_of(const struct hop *op); /* that this create makes */
void apply_set(struct check *c, uint32_t path, const struct hop *op, int64_t zxid, int64_t hi);
void apply_acl(struct check *c, uint32_t path, const struct hop *op, int64_t zxid);
void apply_session_end(struct check *c, uint32_t session, int64_t zxid, int64_t hi);
/* An answered write: judged, and done. */
void apply_write(struct check *c, uint32_t op);
/* A write whose outcome its client did not learn, and the log tells. */
void apply_told(struct check *c, uint32_t op, const struct htxn *t);
void kid_link(struct check *c, struct node *n);
void kid_unlink(struct check *c, struct node *n);
void kid_note(struct check *c, struct node *n, int64_t zxid, int way);
void kids_drop(struct check *c, struct node *n); /* all below it is not there */
void owner_link(struct check *c, struct node *n);
void owner_unlink(struct check *c, struct node *n);
uint32_t check_session(const struct check *c, int64_t owner); /* NONE: not in the history */
/* This stat, if it is the node's, was told at this zxid: then the list of rights is known there. */
void acl_confirm(struct node *n, const struct zk_stat *stat, int64_t zxid);
/* A read, or a write's answer, by its ACL: tells when it should be the other way. */
void check_acl_answer(struct check *c, uint32_t op, uint32_t path, int32_t perm, bool refused);

#endif
