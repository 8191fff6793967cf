/*
 * store/tree.h - the znode tree and the session table, as a state machine over kv.
 *
 * tree_apply takes one committed operation in and gives its result out: same tree and operation,
 * same result on every replica, to the byte. No clock, no randomness, no I/O of its own: what an
 * operation needs of those was stamped into its entry by the leader. Semantics are Apache
 * ZooKeeper 3.8's (PrepRequestProcessor, DataTree, FinalRequestProcessor at release-3.8.0), all
 * checks included and in its order: here, at the commit point, nothing is decided on stale state.
 *
 * Keys (docs/disk-format.md): N<parent id><name> a node; D<id> data too large to sit in it; A<id>
 * an ACL list and its use count; S<id> a session; E<session><node id> an ephemeral's path; C<node
 * id> a container's or TTL node's path; M the meta record.
 */
#ifndef PK_STORE_TREE_H
#define PK_STORE_TREE_H

#include "store/kv.h"
#include "store/txn.h"
#include "zkproto/zk.h"

struct tree;

/* What every replica agrees on after an index; travels in snapshots and digests. */
struct tree_meta {
	uint64_t index;      /* last applied Raft index */
	uint64_t term;       /* its term */
	uint64_t zxid;       /* last used */
	uint64_t digest;     /* ZooKeeper's digest, version 2, over all nodes */
	uint64_t extra;      /* ours over what that leaves out: ACL lists and sessions */
	uint64_t nodes;      /* count of znodes */
	uint64_t data_bytes; /* sum of path and data lengths: ZooKeeper's approximate_data_size */
	uint64_t ephemerals;
	uint64_t sessions;
	int64_t time_ms;      /* stamp of the last entry */
	uint8_t state_id[16]; /* made with the empty tree: tells one cluster's state from another's
			       */
};

struct tree_config {
	uint32_t path_depth_max;  /* levels; deeper creates are refused with BadArguments */
	const char *super_digest; /* NULL or "super:base64": recognised when auth is checked by the
				     server, not here */
	uint8_t state_id[16];     /* used when the kv is empty */
};

/* Load from kv, or create root, /zookeeper, /zookeeper/config and /zookeeper/quota in an empty one.
 * Borrows kv for life. */
PK_CHECKED int tree_open(struct tree **out, struct kv *kv, const struct tree_config *cfg,
			 struct pk_err *err);
void tree_close(struct tree *t);
const struct tree_meta *tree_meta(const struct tree *t);

/* Encode and decode a tree_meta (the manifest payload, fixed size, own checksum). */
void tree_meta_encode(const struct tree_meta *m, struct pk_buf *out);
PK_CHECKED int tree_meta_decode(struct tree_meta *m, struct pk_bytes in, struct pk_err *err);

/* ---- writes ---- */

struct tree_event {
	int32_t type;         /* ZK_EVENT_CREATED, _DELETED, _DATA_CHANGED, _CHILDREN_CHANGED */
	struct pk_bytes path; /* in the result's memory */
	/* Who may hear of it: those who may read by this list, as ZooKeeper encodes it, in the
	 * result's memory; empty: everyone. The node's own (when it goes, the one it had); of a
	 * change of children the parent's. 3.8.0's tells whoever asked; Debian's has the fix of
	 * CVE-2024-23944 (DataTree, NIOServerCnxn.process). */
	struct pk_bytes acl;
};

/* Owned by the caller, reused from op to op; tree_result_release at the end. */
struct tree_result {
	int32_t err;        /* 0 or a ZooKeeper error code: the reply header's */
	uint64_t zxid;      /* the reply header's: of this transaction */
	bool silent;        /* TXN_EPOCH and the like: no reply is owed */
	bool deferred;      /* a reconfig was taken on: its reply is the result of the TXN_CONFIG
			       with the same session and xid */
	struct pk_buf body; /* the reply's body in ZooKeeper's encoding; empty when err != 0 (multi:
			       its results) */
	struct tree_event *events; /* in firing order; they point into event_bytes */
	size_t event_count, event_cap;
	struct pk_buf event_bytes;
	uint64_t session_gen; /* after createSession and TXN_ATTACH: the generation to use from now
				 on */
	int32_t session_timeout_ms;
};

/*
 * Begin an entry: index, term, time and flags for the operations that follow; asserts order. An
 * index at or below tree_meta()->index was applied before (a replay): returns false, skip the whole
 * entry.
 */
bool tree_entry_begin(struct tree *t, const struct txn_header *header, uint64_t index,
		      uint64_t term);
/* Apply one operation. Never fails: what the client did wrong is result->err. `ids` are the
 * entry's. */
void tree_apply(struct tree *t, const struct txn_op *op, const struct txn_id *ids,
		struct tree_result *result);
void tree_entry_end(struct tree *t);
/* An index that carries no command (barrier, membership change): only meta.index and term move. */
void tree_skip_index(struct tree *t, uint64_t index, uint64_t term);
/* Put the meta record into kv; call before kv_commit_begin. */
void tree_flush(struct tree *t);
void tree_result_release(struct tree_result *r);

/* ---- reads: from the current view ---- */

struct tree_read {
	int32_t err;        /* the reply header's */
	struct pk_buf *out; /* body appended here when err is 0; untouched otherwise */
	/* What the caller should watch now, if the request asked for it. */
	enum { TREE_WATCH_NONE, TREE_WATCH_DATA, TREE_WATCH_EXISTS, TREE_WATCH_CHILD } watch;
	struct pk_bytes watch_path; /* in the request */
};

/*
 * Answer a read: exists, getData, getACL, getChildren, getChildren2, getEphemerals,
 * getAllChildrenNumber, multiRead. `body` is the request's; `ids` the connection's identities.
 * A body that cannot be decoded gives ZK_EMARSHALLING. bytes_max bounds the reply's body
 * (longer: out is left as it was and err is ZK_EMARSHALLING).
 */
void tree_read(struct tree *t, int32_t opcode, struct pk_bytes body, uint64_t session_id,
	       const struct txn_id *ids, size_t id_count, bool skip_acl, size_t bytes_max,
	       struct tree_read *r);

/* Of a path: exists and its mzxid, pzxid, czxid, for setWatches. False: no such node. */
bool tree_stat_zxids(struct tree *t, struct pk_bytes path, uint64_t *czxid, uint64_t *mzxid,
		     uint64_t *pzxid);
/* May these identities do `perm` (ZK_PERM_*) on `path`? 0, ZK_ENONODE, ZK_ENOAUTH. For reads that
 * the server answers itself (addWatch, ...). */
int32_t tree_access(struct tree *t, struct pk_bytes path, int32_t perm, const struct txn_id *ids,
		    size_t id_count);
/* Does this ACL list, as in tree_event, give these identities `perm`? */
bool tree_acl_allows(struct pk_bytes list, int32_t perm, const struct txn_id *ids, size_t id_count);

/* ---- membership ---- */
struct tree_reconfig {
	uint64_t session_id;
	int32_t xid;
	struct pk_bytes members; /* the list asked for; borrowed until the tree changes */
};
/* The reconfig request that was taken on and is not ended by a TXN_CONFIG yet. */
bool tree_reconfig_pending(struct tree *t, struct tree_reconfig *out);
void tree_config_text(struct tree *t, struct pk_buf *out); /* what /zookeeper/config says */

/* ---- sessions ---- */
struct tree_session {
	uint64_t id;
	uint64_t gen;
	uint64_t owner; /* server id it is attached to */
	int32_t timeout_ms;
	uint8_t password[16];
};
bool tree_session_get(struct tree *t, uint64_t id, struct tree_session *out);
typedef void tree_session_each_f(void *arg, const struct tree_session *s);
void tree_session_each(struct tree *t, tree_session_each_f *each, void *arg); /* by rising id */
size_t tree_session_ephemerals(struct tree *t, uint64_t id);                  /* count */
typedef void tree_path_each_f(void *arg, struct pk_bytes path);
void tree_session_ephemeral_each(struct tree *t, uint64_t id, tree_path_each_f *each, void *arg);

/*
 * The body of a deleteContainer, which may wait behind other entries: the node that the leader saw,
 * as it was (a write since changed its mzxid), and the time up to which it stays.
 */
struct tree_removal {
	struct pk_bytes path;
	int64_t mzxid;
	int64_t stays_until_ms;
};
void tree_removal_encode(struct pk_buf *out, const struct tree_removal *r);

/*
 * Container nodes that are empty (had children, or never had any and are older than never_used_ms;
 * 0 = those never), and TTL nodes that are empty and overdue at now_ms, as ContainerManager finds
 * them. At most `most`, starting behind where the last call stopped. The leader proposes
 * deleteContainer for each. r is borrowed for the call.
 */
typedef void tree_removal_each_f(void *arg, const struct tree_removal *r);
void tree_expired_nodes(struct tree *t, int64_t now_ms, int64_t never_used_ms, size_t most,
			tree_removal_each_f *each, void *arg);

/* Operations since open that went over a soft or hard limit while quotas were enforced; of this
 * server, no part of the state. */
uint64_t tree_quota_warnings(const struct tree *t);

/* Walk everything below `path` (for dumps and checks), parents before children. */
void tree_walk(struct tree *t, struct pk_bytes path, tree_path_each_f *each, void *arg);
/* Recompute digest, counts and indexes from the nodes and assert that they are what meta says.
 * Slow: tests only. */
void tree_check(struct tree *t);

#endif
