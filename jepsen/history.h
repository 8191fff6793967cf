/*
 * jepsen/history.h - what clients did to a cluster, what came of it, and when: one format for
 * simulated and for real runs, and the only thing the checker (check.h) looks at.
 *
 * A history is a set of events. Every client of the run is a *process*: one order of requests and
 * of what came back. A process's events are told in the order in which that client saw them, all
 * in one file (or one history_add sequence), its times never falling. Processes may be told apart,
 * in files of their own: between processes only time_ns counts, so all of a run read one clock
 * (CLOCK_MONOTONIC on one machine, virtual time in the simulator).
 *
 *      HIST_CLIENT   once, first: what kind of client this is (flags), name "zkc", "kazoo"
 *      HIST_SESSION  connected, disconnected, ...
 *      HIST_INVOKE   call 1: setData /a          (just before it is handed to the client library)
 *      HIST_WATCH    NodeDataChanged /a
 *      HIST_OK       call 1: zxid 0x100000007, stat  (as soon as the library tells)
 *
 * An INVOKE is ended by one of OK, FAIL, INFO with the same process and call, or by nothing, which
 * is the same as INFO. Calls are any numbers, used once in a process.
 *
 * Files: binary (magic HIST_MAGIC, then records: length as varint, crc32c as le32, fields) or one
 * JSON object a line, which any language can write: docs/history.md. Readers know them apart.
 */
#ifndef PK_JEPSEN_HISTORY_H
#define PK_JEPSEN_HISTORY_H

#include <stdio.h>

#include "base/bytes.h"
#include "base/err.h"
#include "zkproto/record.h"
#include "zkproto/zk.h"

#define HIST_MAGIC       "PKHIST1\n"
#define HIST_MAGIC_BYTES 8u

/* Limits of a reader; an event beyond them is refused. */
#define HIST_RECORD_BYTES_MAX (64u << 20)
#define HIST_PARTS_MAX        4096u
#define HIST_DATA_MAX         64u /* a longer value is kept as length and hash */

enum hist_kind {
	HIST_NONE,
	/* An operation is asked. part: op, path and what was asked (data, version, mode, ttl_ms,
	 * acl, watch); of a multi or multiRead the parts. session, 0 if there is none yet; xid if
	 * known. */
	HIST_INVOKE,
	/* It was done. zxid: of the reply's header, 0 if the library hides it (then less can be
	 * judged); session, server: where it was answered. part: what was answered: stat, data,
	 * names, created, acl; of a multi one part for each, with op of the result and err. A multi
	 * that failed may be OK with parts that say so, or FAIL. */
	HIST_OK,
	/* It was refused, and surely changed nothing: part.err is the code, zxid the header's; zxid
	 * 0: refused by the client itself, or never sent. */
	HIST_FAIL,
	/* The outcome is not known (connection lost, client died): it may have happened, once, at
	 * any later time. part.err as the library tells. */
	HIST_INFO,
	/* A watch event came: event (ZK_EVENT_*, not NONE), part.path, session. Told in the order
	 * in which it came among the answers of its process. */
	HIST_WATCH,
	/* The session changed: session, state, server; CONNECTED: timeout_ms as negotiated, and
	 * HIST_NO_BARRIER in flags if it is so. */
	HIST_SESSION,
	/* A fault of ours on the cluster began or ended: name ("partition-halves"), text; call
	 * tells faults of one name apart. process is the nemesis's own. */
	HIST_FAULT_BEGIN,
	HIST_FAULT_END,
	/* What kind of client this process is: name, flags (HIST_CLIENT_*). */
	HIST_CLIENT,
	/* A transaction known from the log: zxid, part.op. ZK_OP_CLOSE_SESSION with session: it
	 * ended there (expiry too). ZK_OP_DELETE_CONTAINER with part.path. A write with session and
	 * xid: that request, whose outcome its client never learned, was done; part.created, or
	 * that of each part of a multi, as it would have been answered. Others: the tree stayed as
	 * it was. time_ns: when a server first had it. Optional: without these the checker infers.
	 */
	HIST_TXN,
	/* Reads invoked from now on, by anybody, look at the final state. */
	HIST_FINAL,
	/* The whole subtree part.path as `server` had it at `zxid`: `count` HIST_NODE events follow
	 * in this process, the root of it included. */
	HIST_DUMP,
	/* One node of the dump: part.path, data, stat, acl (each if known). */
	HIST_NODE,
	/* `server`'s digest over its tree at `zxid` (any function of the state). name: which
	 * digest, digests of different names are not compared. */
	HIST_DIGEST,
	/* What was run, for people: name, text. */
	HIST_NOTE,
	/* The log is told whole: a write of unknown outcome that no HIST_TXN names was not done, no
	 * session ended and no node was removed but by those that are told. */
	HIST_LOG,
	HIST_KINDS
};

enum hist_state {
	HIST_STATE_NONE,
	HIST_CONNECTED,    /* a session is established, or taken up again: on `server` */
	HIST_DISCONNECTED, /* the connection was lost; the session may live */
	HIST_EXPIRED,      /* the server said that it does not know the session (any more) */
	HIST_CLOSED,       /* it was closed by closeSession, and that was answered (the operation
			      itself may be told as well: op ZK_OP_CLOSE_SESSION) */
	HIST_ABANDONED,    /* surely nothing is sent for this session from now on, ever */
	HIST_STATES
};

/* Of HIST_CLIENT. */
enum hist_client_flag {
	/* Answers and watch events are told in the order in which they came from the server. */
	HIST_CLIENT_ORDERED = 1 << 0,
	/* After a reconnect the library sets the session's watches again, before any other request,
	 * with the zxid it had seen (zkc, Java, C). Without it watches end with the connection. */
	HIST_CLIENT_REWATCH = 1 << 1,
	/* Requests of this process go out on one connection in the order of their INVOKEs, and are
	 * answered in it. (Not so when threads share a client and tell calls separately.) */
	HIST_CLIENT_FIFO = 1 << 2,
	HIST_CLIENT_ALL = 7,
};

/*
 * Of HIST_SESSION, connected: no transaction says that the session goes on here (it is a local one,
 * or the server serves reads only and has no leader), so writes asked for on its earlier
 * connections may still happen after what is answered here.
 */
#define HIST_NO_BARRIER (1u << 3)

/* The watch that an operation leaves if it succeeds: exists leaves one on NoNode, too. */
enum hist_watch {
	HIST_WATCH_NONE,
	HIST_WATCH_DATA,       /* by getData or exists */
	HIST_WATCH_CHILD,      /* by getChildren, getChildren2 */
	HIST_WATCH_PERSISTENT, /* by addWatch */
	HIST_WATCH_RECURSIVE,
	HIST_WATCHES
};

/* One operation: what was asked of it (INVOKE), or what it answered. Fields that do not belong to
 * the operation, or are not known, are 0 or null. */
struct hist_part {
	int32_t op;           /* ZK_OP_*; in a result 0 means: the one asked */
	struct pk_bytes path; /* as the server knows it, with chroot */
	/*
	 * The value written or read. Null data is a null value, unless data_hash says that it is
	 * too long to be kept: then data_bytes is its length and data_hash pk_hist_hash of it.
	 * A writer gives data alone, of any length; a reader fills in data_bytes and data_hash.
	 */
	struct pk_bytes data;
	uint64_t data_bytes, data_hash;
	int32_t version; /* asked for; ZK_VERSION_ANY */
	int32_t mode;    /* create: ZK_CREATE_*. removeWatches, checkWatches: ZK_WATCHER_* */
	int64_t ttl_ms;
	/*
	 * create, setACL, getACL, HIST_NODE: the list, each entry "PERMS SCHEME:ID\n" with perms in
	 * decimal: "31 world:anyone\n". Null: create: open to all; else: not known. auth: the
	 * identity gained, as an ACL names it: "digest:user:hash" (ip and others: as known).
	 */
	struct pk_bytes acl;
	int32_t watch; /* enum hist_watch */
	int32_t err;
	bool has_stat;
	struct zk_stat stat;
	/* getChildren, getChildren2: names; getEphemerals: paths. Each followed by '\n', any order.
	 */
	bool has_names;
	struct pk_bytes names;
	struct pk_bytes created; /* the path that a create answered */
};

struct hist_event {
	enum hist_kind kind;
	int64_t time_ns;
	uint32_t process;
	uint64_t call;
	uint64_t session;
	uint32_t server; /* from 1; 0: not known */
	int64_t zxid;
	int32_t xid;
	enum hist_state state;
	int32_t timeout_ms;
	int32_t event;
	uint32_t flags;
	uint64_t count;
	uint64_t digest;
	struct pk_bytes name, text;
	struct hist_part part;
	const struct hist_part *parts; /* of multi, multiRead: borrowed */
	uint32_t part_count;
};

/* FNV-1a, 64 bits; never 0 (0 becomes 1). */
uint64_t pk_hist_hash(struct pk_bytes data);
/* "invoke", "ok", ...; NULL beyond the table. And back: HIST_NONE when there is none. */
const char *hist_kind_name(enum hist_kind kind);
enum hist_kind hist_kind_named(struct pk_bytes name);
const char *hist_state_name(enum hist_state state); /* "connected", ... */
enum hist_state hist_state_named(struct pk_bytes name);
const char *hist_watch_name(int32_t watch);     /* "data", ... */
int32_t hist_watch_named(struct pk_bytes name); /* -1: none of that name */
/* An entry of part.acl; a name of part.names. */
void hist_acl_add(struct pk_buf *acl, int32_t perms, struct pk_bytes scheme, struct pk_bytes id);
void hist_name_add(struct pk_buf *names, struct pk_bytes name);
/* A list as it came off the wire; appends. */
void hist_acls_add(struct pk_buf *acl, struct zk_acls list);
void hist_names_add(struct pk_buf *names, struct zk_strings list);
/* Take the next name off *names; false when there is none. */
bool hist_name_next(struct pk_bytes *names, struct pk_bytes *name);

/* ---- bytes ---- */

/* Append the event as one binary record. */
void hist_encode(struct pk_buf *out, const struct hist_event *e);
/* Append it as one line of JSON. */
void hist_encode_json(struct pk_buf *out, const struct hist_event *e);

/* Memory that decoded parts need; reused from event to event. */
struct hist_scratch {
	struct hist_part *parts;
	uint32_t cap;
	struct pk_buf text; /* JSON: what strings became */
	void *json;
};
#define HIST_SCRATCH_INIT ((struct hist_scratch){ 0 })
void hist_scratch_release(struct hist_scratch *s);

/*
 * Take one record off *in: 1 with *e filled, borrowing the input and the scratch until the next
 * call; 0 when the record is not whole yet; PK_ECORRUPT or PK_ELIMIT with err.
 */
PK_CHECKED int hist_decode(struct pk_bytes *in, struct hist_event *e, struct hist_scratch *scratch,
			   struct pk_err *err);
/* The same of one line of JSON, without its newline: 0, PK_EINVAL or PK_ELIMIT. */
PK_CHECKED int hist_decode_json(struct pk_bytes line, struct hist_event *e,
				struct hist_scratch *scratch, struct pk_err *err);

/* ---- a history in memory ---- */

struct history; /* owned by who made it; not for several threads */
struct history *history_new(void);
void history_free(struct history *h);
/*
 * Add one event; copies what it needs. PK_EINVAL with err when it makes no sense: an answer to what
 * was not asked, time that falls in a process, a call used again while it is open, a field out of
 * range. The history is as before then.
 */
PK_CHECKED int history_add(struct history *h, const struct hist_event *e, struct pk_err *err);
size_t history_op_count(const struct history *h);    /* INVOKEs */
size_t history_event_count(const struct history *h); /* all events */

/* ---- files: history_io.c ---- */

struct hist_writer; /* one file, one thread; buffers */
/* Creates or empties the file. Returns owned, or NULL with err. */
struct hist_writer *hist_writer_open(const char *path, struct pk_err *err);
/* Buffered; an error is kept and told by flush and close. */
void hist_write(struct hist_writer *w, const struct hist_event *e);
PK_CHECKED int hist_writer_flush(struct hist_writer *w, struct pk_err *err);
PK_CHECKED int hist_writer_close(struct hist_writer *w, struct pk_err *err); /* frees */
/*
 * Read a file of either form into h. A last record that is not whole (its writer was killed) is
 * left out and *torn_bytes tells its length; anything else that is wrong is an error with its
 * place.
 */
PK_CHECKED int history_load(struct history *h, const char *path, uint64_t *torn_bytes,
			    struct pk_err *err);
/* A file of either form, written to `out` as lines of JSON. */
PK_CHECKED int hist_copy_json(const char *path, FILE *out, struct pk_err *err);

#endif
