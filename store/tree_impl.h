/*
 * store/tree_impl.h - what the tree's own files share. Nobody else includes it.
 *
 *     tree.c          open, meta, entries, dispatch
 *     tree_session.c  sessions
 *     tree_stage.c    the working state of a multi: changes above kv that are kept or dropped whole
 *     tree_node.c     node records: keys, layout, lookup, digest
 *     tree_acl.c      ACL lists: interning, fix-up, permission checks
 *     tree_quota.c    limits and usage under /zookeeper/quota
 *     tree_write.c    create, delete, setData, setACL, check
 *     tree_multi.c    multi
 *     tree_read.c     reads
 *     tree_walk.c     walks, expired nodes, tree_check
 *
 * How a write goes: read and check first (borrowed bytes stay valid), then change. Every key goes
 * through tree_put and tree_del, so that a multi can be dropped.
 */
#ifndef PK_STORE_TREE_IMPL_H
#define PK_STORE_TREE_IMPL_H

#include <uthash.h>

#include "base/mem.h"
#include "store/tree.h"
#include "zkproto/path.h"
#include "zkproto/record.h"
#include "zkproto/wire.h"

#define ROOT_ID         1u
#define DATA_INLINE_MAX 1024u      /* longer data lives under a key of its own */
#define ACL_ITEMS_MAX   1024u      /* entries of one list; more: InvalidACL */
#define ACL_BYTES_MAX   (1u << 20) /* one list with "auth" expanded; more: InvalidACL */
#define ACL_CACHE_MAX   16384u     /* lists kept in memory between flushes */
#define OWNER_CONTAINER ((uint64_t)1 << 63)
#define OWNER_TTL       0xff00000000000000u
#define TTL_MS_MAX      0xffffffffffll /* EphemeralType.TTL.maxValue */
#define EXPIRE_SCAN_MAX 4096u          /* index entries looked at by one tree_expired_nodes */

/* ---- nodes ---- */

enum node_kind { NODE_PLAIN, NODE_EPHEMERAL, NODE_CONTAINER, NODE_TTL };

/* A node record, decoded. `data` is inline data borrowed from kv or the stage (valid until the next
 * change), or the caller's new data. */
struct node {
	uint64_t id;
	int64_t czxid, mzxid, pzxid, ctime, mtime;
	int32_t version, cversion, aversion;
	uint64_t owner; /* session, or ZooKeeper's mark of a container or TTL node */
	uint32_t acl;
	uint32_t children;
	uint32_t data_bytes;
	uint32_t crc;    /* of path and data: where the digest's checksum starts from */
	uint32_t digest; /* ZooKeeper's, of this node; also kept for nodes that do not count */
	uint8_t kind;
	bool null_data;
	bool external;  /* data is under D<id> */
	bool uncounted; /* below /zookeeper/: no part of ZooKeeper's digest, but of ours */
	struct pk_bytes data;
	struct pk_bytes name;
	uint16_t key_bytes;
	uint8_t key[KV_KEY_BYTES_MAX];
};

/* Everything that a multi which fails must put back, beside the keys. */
struct tree_state {
	struct tree_meta meta;
	uint64_t node_next; /* ids are never used twice */
	uint32_t acl_next;
};

struct stage_slot;
struct stage {
	bool on;
	struct pk_buf bytes; /* keys and values */
	struct stage_slot *slots;
	size_t count, cap;
	uint32_t *table; /* slot number + 1 by hash, 0: free */
	size_t table_size;
};

/* Ids of nodes that have children under way in lookups: (parent, name) -> id, direct-mapped. Only
 * inner components of paths are kept; a node that goes takes its slot with it; nothing is added
 * while a multi may still be dropped. What it holds changes no result. */
#define DIR_SLOTS    4096u
#define DIR_NAME_MAX 47u
struct dir_slot {
	uint64_t parent_id, id;
	uint8_t name_bytes;
	uint8_t name[DIR_NAME_MAX];
};
static_assert(sizeof(struct dir_slot) == 64, "one cache line");

struct acl_list;  /* tree_acl.c */
struct acl_undo { /* a use taken or given back in a multi */
	uint32_t id;
	int32_t delta;
};
struct session; /* tree_session.c */
struct quota;   /* tree_quota.c */

struct tree {
	struct kv *kv;
	uint32_t path_depth_max;
	struct tree_state now;

	/* the entry under way */
	bool in_entry;
	uint32_t flags;
	int64_t time_ms;
	uint64_t index, term;

	struct stage stage;
	struct dir_slot *dirs;
	struct acl_list *acl_by_id, *acl_by_list;
	uint32_t *acl_zero; /* lists that lost their last use in this operation */
	size_t acl_zero_count, acl_zero_cap;
	struct acl_undo *acl_undo;
	size_t acl_undo_count, acl_undo_cap;
	uint64_t event_round; /* the operation whose events are gathered */
	struct session *sessions;
	struct quota *quotas;
	bool quota_dirty;            /* a multi under way touched the list of quotas */
	struct pk_buf quota_recount; /* paths whose usage is to be counted at the operation's end */
	uint64_t quota_warnings;
	uint64_t expire_after;

	struct pk_buf record; /* scratch: a node record */
	struct pk_buf path;   /* scratch: a created node's path, a quota's node */
	struct pk_buf acl;    /* scratch: a list, fixed up */
	struct pk_buf text;   /* scratch: usage text */
};

/* Who asks: the identities of the connection. */
struct who {
	const struct txn_id *ids;
	const uint16_t *index; /* NULL: ids as they are */
	size_t count;
	bool skip_acl;
};

static inline const struct txn_id *who_at(const struct who *w, size_t i)
{
	return &w->ids[w->index != NULL ? w->index[i] : i];
}

/* A write under way. */
struct write {
	const struct txn_op *op;
	struct who who;
	struct tree_result *r;
	bool in_multi;
};

/* tree_stage.c */
int stage_get(const struct stage *s, struct pk_bytes key,
	      struct pk_bytes *val); /* 1, 0: deleted, -1: unknown */
void stage_put(struct stage *s, struct pk_bytes key, struct pk_bytes val);
void stage_del(struct stage *s, struct pk_bytes key);
void stage_begin(struct stage *s);
void stage_keep(struct stage *s, struct kv *kv);
void stage_drop(struct stage *s);
void stage_release(struct stage *s);

/* tree_node.c */
int tree_get(struct tree *t, struct pk_bytes key, struct pk_bytes *val);
void tree_put(struct tree *t, struct pk_bytes key, struct pk_bytes val);
void tree_del(struct tree *t, struct pk_bytes key);
void node_decode(struct node *n, struct pk_bytes val);
/* The name of a child, without decoding the rest: in the key, or in the record when it is too long.
 */
struct pk_bytes node_name(struct pk_bytes key, struct pk_bytes val);
/* The node at exactly this path ("" and "/" are the root): true with *n filled. */
bool node_find(struct tree *t, struct pk_bytes path, struct node *n);
bool node_child(struct tree *t, uint64_t parent_id, struct pk_bytes name, struct node *n);
/* The key for a child that does not exist yet, into n->key. */
void node_key_new(struct tree *t, uint64_t parent_id, struct pk_bytes name, struct node *n);
/* All of the node's data, wherever it is; borrowed until the next change. */
struct pk_bytes node_data(struct tree *t, const struct node *n);
/* Around a change of n: take its part out of the digests, put the new part in and write it. */
void node_change_begin(struct tree *t, const struct node *n);
void node_change_end(struct tree *t, struct node *n);
void node_insert(struct tree *t, struct node *n, struct pk_bytes path, struct pk_bytes data);
void node_set_data(struct tree *t, struct node *n, struct pk_bytes path, struct pk_bytes data);
void node_remove(struct tree *t, const struct node *n, struct pk_bytes path);
uint32_t node_crc(struct pk_bytes path, struct pk_bytes data);
uint32_t node_digest(const struct node *n);
uint64_t node_extra(const struct node *n);
void node_stat(const struct node *n, struct zk_stat *out);
bool path_uncounted(struct pk_bytes path);
size_t key_u64(uint8_t *to, char kind, uint64_t a);
size_t key_2u64(uint8_t *to, char kind, uint64_t a, uint64_t b);
uint64_t mix64(uint64_t a, uint64_t b);
/* Nobody who does not know the key can make two inputs meet. */
uint64_t keyed_hash(const uint8_t key[16], struct pk_bytes in);

/* tree_acl.c */
#define ACL_OPEN 1u /* world:anyone may do all: the first list of every tree */
/* The client's list made fit to store, encoded in t->acl: 0, InvalidACL or MarshallingError. */
int32_t acl_fix_up(struct tree *t, const struct who *who, const struct zk_acls *in);
uint32_t acl_take(struct tree *t, struct pk_bytes list); /* one use of the list; its id */
void acl_take_id(struct tree *t, uint32_t id);
void acl_give(struct tree *t, uint32_t id); /* one use less */
struct pk_bytes acl_bytes(struct tree *t,
			  uint32_t id); /* encoded; borrowed until the operation ends */
int32_t acl_check(struct tree *t, uint32_t id, int32_t perm, const struct who *who);
/* The list for an event, put into *bytes once in a round of events: an offset into it and a length.
 * Empty: everyone may read. */
struct pk_bytes acl_of_event(struct tree *t, uint32_t id, struct pk_buf *bytes);
void acl_settle(struct tree *t); /* an operation ended: lists without a use go */
void acl_undo_all(struct tree *t);
void acl_flush(struct tree *t);
void acl_check_uses(struct tree *t, uint32_t id, uint64_t uses);
uint64_t acl_extra(uint32_t id, struct pk_bytes list);
void acl_release(struct tree *t);

/* tree_session.c */
void sessions_load(struct tree *t);
void sessions_release(struct tree *t);
/* May this operation act for its session? 0, SessionExpired or SessionMoved. */
int32_t session_check(struct tree *t, const struct txn_op *op);
int32_t session_check_global(struct tree *t, const struct txn_op *op);
int32_t apply_create_session(struct tree *t, struct write *w);
int32_t apply_close_session(struct tree *t, struct write *w);
int32_t apply_attach(struct tree *t, struct write *w);
bool session_is(struct tree *t, uint64_t id, uint64_t gen);
uint64_t sessions_extra(struct tree *t, uint64_t *count);

/* tree_quota.c */
void quotas_load(struct tree *t);
void quotas_release(struct tree *t);
int32_t quota_check(struct tree *t, struct pk_bytes path, int64_t bytes, int64_t count);
void quota_update(struct tree *t, struct pk_bytes path, int64_t bytes, int64_t count);
void quota_created(struct tree *t, struct pk_bytes path); /* is it a limit or a usage node? */
void quota_deleted(struct tree *t, struct pk_bytes path);
void quota_settle(struct tree *t); /* an operation ended: count what is to be counted */

/* tree_write.c */
int32_t write_create(struct tree *t, struct write *w, int32_t type,
		     const struct zk_create_ttl_req *req);
int32_t write_delete(struct tree *t, struct write *w, const struct zk_delete_req *req);
int32_t write_set_data(struct tree *t, struct write *w, const struct zk_set_data_req *req);
int32_t write_check(struct tree *t, struct write *w, const struct zk_check_req *req);
int32_t apply_create(struct tree *t, struct write *w);
int32_t apply_delete(struct tree *t, struct write *w);
int32_t apply_set_data(struct tree *t, struct write *w);
int32_t apply_set_acl(struct tree *t, struct write *w);
int32_t apply_check(struct tree *t, struct write *w);
int32_t apply_delete_container(struct tree *t, struct write *w);
int32_t apply_config(struct tree *t, struct write *w);
int32_t apply_reconfig(struct tree *t, struct write *w); /* both in tree_reconfig.c */
/* Remove a node that was checked to exist and to have no children. */
void tree_remove(struct tree *t, struct pk_bytes path, struct tree_result *r);
void write_stat(struct pk_buf *b, const struct node *n);
/* `acl`: the list that says who may hear of it. */
void result_event(struct tree *t, struct tree_result *r, int32_t type, struct pk_bytes path,
		  uint32_t acl);
/* No events, and lists in event_bytes are not found again. */
void result_events_clear(struct tree *t, struct tree_result *r);

/* tree_multi.c */
int32_t apply_multi(struct tree *t, struct write *w);

#endif
