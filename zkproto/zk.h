/*
 * zkproto/zk.h - ZooKeeper's numbers and their names: opcodes, error codes, event types, states,
 * permissions, create flags, reserved xids.
 *
 * Source: Apache ZooKeeper release-3.8.0: ZooDefs, KeeperException.Code, Watcher.Event, CreateMode,
 * ClientCnxn (xids). Opcodes and errors are the tables opcodes.tbl and errors.tbl.
 */
#ifndef PK_ZKPROTO_ZK_H
#define PK_ZKPROTO_ZK_H

#include "base/bytes.h"

enum zk_opcode {
#define OP(ident, number, name, class) ZK_OP_##ident = (number),
#include "zkproto/opcodes.tbl"
#undef OP
};

/* What an operation touches; the words of opcodes.tbl. */
enum zk_op_class { ZK_CLASS_NONE, ZK_CLASS_WRITE, ZK_CLASS_READ, ZK_CLASS_CONN, ZK_CLASS_INTERNAL };

enum zk_error {
#define E(ident, number, name, text) ZK_##ident = (number),
#include "zkproto/errors.tbl"
#undef E
};

enum zk_event_type {
	ZK_EVENT_NONE = -1, /* the state changed, not a node */
	ZK_EVENT_CREATED = 1,
	ZK_EVENT_DELETED = 2,
	ZK_EVENT_DATA_CHANGED = 3,
	ZK_EVENT_CHILDREN_CHANGED = 4,
	ZK_EVENT_DATA_WATCH_REMOVED = 5,
	ZK_EVENT_CHILD_WATCH_REMOVED = 6,
	ZK_EVENT_PERSISTENT_WATCH_REMOVED = 7,
};

enum zk_state {
	ZK_STATE_DISCONNECTED = 0,
	ZK_STATE_CONNECTED = 3,
	ZK_STATE_AUTH_FAILED = 4,
	ZK_STATE_CONNECTED_READ_ONLY = 5,
	ZK_STATE_SASL_AUTHENTICATED = 6,
	ZK_STATE_CLOSED = 7,
	ZK_STATE_EXPIRED = -112,
};

enum zk_perm {
	ZK_PERM_READ = 1 << 0,
	ZK_PERM_WRITE = 1 << 1,
	ZK_PERM_CREATE = 1 << 2,
	ZK_PERM_DELETE = 1 << 3,
	ZK_PERM_ADMIN = 1 << 4,
	ZK_PERM_ALL = 0x1f,
};

/* The flags field of the create requests: a mode, not a set of bits. */
enum zk_create_mode {
	ZK_CREATE_PERSISTENT = 0,
	ZK_CREATE_EPHEMERAL = 1,
	ZK_CREATE_SEQUENTIAL = 2,
	ZK_CREATE_EPHEMERAL_SEQUENTIAL = 3,
	ZK_CREATE_CONTAINER = 4,
	ZK_CREATE_TTL = 5,
	ZK_CREATE_TTL_SEQUENTIAL = 6,
};

static inline bool zk_create_mode_valid(int32_t mode)
{
	return mode >= ZK_CREATE_PERSISTENT && mode <= ZK_CREATE_TTL_SEQUENTIAL;
}
static inline bool zk_create_mode_ephemeral(int32_t mode)
{
	return mode == ZK_CREATE_EPHEMERAL || mode == ZK_CREATE_EPHEMERAL_SEQUENTIAL;
}
static inline bool zk_create_mode_sequential(int32_t mode)
{
	return mode == ZK_CREATE_SEQUENTIAL || mode == ZK_CREATE_EPHEMERAL_SEQUENTIAL ||
	       mode == ZK_CREATE_TTL_SEQUENTIAL;
}

/* Modes of addWatch. */
enum zk_add_watch_mode { ZK_ADD_WATCH_PERSISTENT = 0, ZK_ADD_WATCH_RECURSIVE = 1 };

/* Watcher types of checkWatches and removeWatches (Watcher.WatcherType). */
enum zk_watcher_type { ZK_WATCHER_CHILDREN = 1, ZK_WATCHER_DATA = 2, ZK_WATCHER_ANY = 3 };

/* Replies and events outside the numbering of requests. */
enum zk_xid {
	ZK_XID_NOTIFICATION = -1,
	ZK_XID_PING = -2,
	ZK_XID_AUTH = -4,
	ZK_XID_SET_WATCHES = -8,
};

#define ZK_FRAME_BYTES_MAX_DEFAULT 0xfffff /* jute.maxbuffer, unless configured */
#define ZK_PASSWORD_BYTES          16
#define ZK_PROTOCOL_VERSION        0
#define ZK_VERSION_ANY             (-1) /* in delete, setData, setACL, check: whatever it is now */

/* "getData"; NULL for a number that is no opcode. */
const char *zk_opcode_name(int32_t opcode);
/* The opcode of a name; false when there is none. */
bool zk_opcode_parse(const char *name, int32_t *out);
/* ZK_CLASS_NONE for a number that is no opcode. */
enum zk_op_class zk_opcode_class(int32_t opcode);

/* "NoNode" and "there is no such node"; never NULL: unknown codes are "Unknown". */
const char *zk_error_name(int32_t code);
const char *zk_error_text(int32_t code);
bool zk_error_known(int32_t code);

/* "NodeCreated", "SyncConnected" as Java spells them; never NULL. */
const char *zk_event_name(int32_t type);
const char *zk_state_name(int32_t state);

#endif
