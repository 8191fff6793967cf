/*
 * zkproto/client.h - a ZooKeeper client as a state machine: time, bytes and calls in, effects and
 * callbacks out. zkproto/client_io.h drives it over sockets; tests drive it in simulated time.
 *
 *              dial                 connect reply
 *   CONNECTING ────> (handshake, SASL) ────> CONNECTED or CONNECTED_READ_ONLY
 *       ^                                       │ lost, silent for 2/3 of the timeout
 *       └───────────── back-off ────────────────┘
 *   from any: EXPIRED (the server says so), AUTH_FAILED, CLOSED (zkc_close). These three are final.
 *
 * Requests. Every call below takes copies and gives exactly one callback, later, from inside one of
 * the four inputs (never from inside the call), with a result borrowed until it returns. Replies
 * come in the order of the requests. What fails here fails by the same callback:
 *     ZK_ECONNECTIONLOSS   the connection was lost: sent requests may or may not have happened;
 * those behind them were not sent but fail too, so that nothing overtakes. A request made while
 * there is no connection waits for one, as long as the session timeout. ZK_ESESSIONEXPIRED,
 * ZK_EAUTHFAILED   the final states (CLOSED counts as expired, as in Java) ZK_EBADARGUMENTS     a
 * path that is not valid, a request longer than request_bytes_max ZK_ETHROTTLEDOP      a limit of
 * zkc_config is met; nothing was sent ZK_EMARSHALLING      the reply made no sense; the connection
 * is dropped Any other code is the server's.
 *
 * Watches. A watch is a callback and its owner. It is set when the reply says so (exists also on
 * ZK_ENONODE), told of an event once however many ways it watches the path, and set again on the
 * server after each reconnect. When the client reaches a final state every watch is told
 * ZK_EVENT_NONE once and is gone. Connection losses are told through on_state alone.
 *
 * Callbacks may make any call but zkc_free and the inputs. Owners that go away call zkc_forget.
 *
 * Source: Apache ZooKeeper release-3.8.0, ClientCnxn, ZKWatchManager, StaticHostProvider. Unlike
 * Java, authentication and watches are sent when the server has confirmed the session, and SASL
 * comes before both.
 */
#ifndef PK_ZKPROTO_CLIENT_H
#define PK_ZKPROTO_CLIENT_H

#include "zkproto/multi.h"

struct zkc;
struct zkc_multi;

enum zkc_state {
	ZKC_CONNECTING,
	ZKC_CONNECTED,
	ZKC_CONNECTED_READ_ONLY,
	ZKC_AUTH_FAILED,
	ZKC_EXPIRED,
	ZKC_CLOSED,
};

/* Defaults of the fields that are 0 in zkc_config. */
#define ZKC_TIMEOUT_MS        10000
#define ZKC_WINDOW_MAX        1024u       /* requests sent and not answered */
#define ZKC_REQUESTS_MAX      65536u      /* requests waiting or sent */
#define ZKC_QUEUED_BYTES_MAX  (64u << 20) /* encoded requests not yet sent */
#define ZKC_REQUEST_BYTES_MAX 0xfffffu    /* one request: the server's jute.maxbuffer */
#define ZKC_REPLY_BYTES_MAX   (64u << 20) /* one reply */
#define ZKC_WATCHES_MAX       1000000u    /* watches set or about to be */

/* Fixed limits and times. */
#define ZKC_WINDOW_BYTES_MAX      (8u << 20) /* of requests sent and not answered; one always goes */
#define ZKC_PING_MAX_MS           10000      /* pings: every third of the timeout, or this */
#define ZKC_SERVERS_MAX           64u
#define ZKC_AUTHS_MAX             16u
#define ZKC_AUTH_BYTES_MAX        65536u
#define ZKC_PASSWORD_BYTES_MAX    64u
#define ZKC_SET_WATCHES_BYTES_MAX (128u * 1024) /* paths in one setWatches2, as Java's client */
#define ZKC_RETRY_SPREAD_MS       100           /* a server that was not tried yet: within this */
#define ZKC_BACKOFF_MIN_MS        200 /* after a round through all servers, doubled each round */
#define ZKC_BACKOFF_MAX_MS        3000
#define ZKC_DIAL_MIN_MS           500 /* connect and handshake: timeout / servers, but not less */
#define ZKC_PROBE_MIN_MS          100 /* read-only: look for a read-write server, doubled */
#define ZKC_PROBE_MAX_MS          60000
#define ZKC_CLOSE_MS              2000 /* zkc_close waits this long for the server at most */
#define ZKC_SASL_STEPS_MAX        16u

/*
 * Authentication by SASL; called from inside the inputs. start and step append the token to send to
 * *out (an empty token is a token) and return 1, or 0 when no further token is to be sent (`step`
 * only: all is done), or below 0 when the exchange failed: the state becomes AUTH_FAILED.
 */
struct zkc_sasl_ops {
	int (*start)(void *owner, uint32_t server, struct pk_buf *out);
	int (*step)(void *owner, struct pk_bytes challenge, struct pk_buf *out);
};

struct zkc_config {
	uint32_t server_count; /* 1 to ZKC_SERVERS_MAX; effects name servers by index */
	uint64_t seed;         /* order of servers, back-off */
	int32_t timeout_ms;    /* session timeout to ask for */
	const char *chroot;    /* NULL, "" or "/": none. Copied; must be a valid path */
	bool read_only;        /* a server without quorum will do, until there is a better one */
	/* A session to go on with: both or neither. */
	int64_t session_id;
	struct pk_bytes password;
	int64_t last_zxid; /* of that session */
	uint32_t window_max, requests_max, watches_max;
	size_t queued_bytes_max, request_bytes_max, reply_bytes_max;
	const struct zkc_sasl_ops *sasl; /* NULL: none; borrowed for life */
	void *sasl_owner;
	/* Called from inside the first call after a step: there is something to do. For shells. */
	void (*wake)(void *wake_owner);
	void *wake_owner;
	/* Told of every change of state; may be NULL. */
	void (*on_state)(void *owner, enum zkc_state state);
	void *owner;
};

/* Returns owned, ready to dial at the first zkc_step; NULL with err: PK_EINVAL. */
struct zkc *zkc_new(const struct zkc_config *cfg, struct pk_err *err);
/* No callback comes. The session itself goes on until it times out: zkc_close ends it. */
void zkc_free(struct zkc *c);

/* ---- inputs: from the shell ---- */

/* Time passed. Call it when zkc_deadline_ms is reached, and after other calls were made. */
void zkc_step(struct zkc *c, int64_t now_ms);
/* About connection `conn` (of the connect effect); stale ones are ignored. */
void zkc_on_open(struct zkc *c, uint32_t conn, int64_t now_ms);
void zkc_on_bytes(struct zkc *c, uint32_t conn, struct pk_bytes in, int64_t now_ms);
void zkc_on_closed(struct zkc *c, uint32_t conn, const char *reason, int64_t now_ms);
/* The answer to a probe effect: does that server serve reads and writes? */
void zkc_on_probe(struct zkc *c, uint32_t server, bool read_write, int64_t now_ms);

/* ---- effects: for the shell ---- */
enum zkc_effect_type {
	ZKC_FX_CONNECT, /* open connection `conn` to `server` */
	ZKC_FX_SEND,    /* write `bytes` to `conn`; borrowed until the next call */
	ZKC_FX_CLOSE,   /* close `conn`, drop what it has queued; `reason` is static or borrowed */
	ZKC_FX_PROBE,   /* ask `server` "isro" on a connection of its own, answer zkc_on_probe */
};

struct zkc_effect {
	enum zkc_effect_type type;
	uint32_t conn;
	uint32_t server;
	struct pk_bytes bytes;
	const char *reason;
};

/* The next effect to run; false when there is none. Call after each input and each step. */
bool zkc_effect_next(struct zkc *c, struct zkc_effect *out);
/* When to call zkc_step at the latest; INT64_MAX: no need. */
int64_t zkc_deadline_ms(const struct zkc *c);

/* ---- what it is now ---- */
struct zkc_info {
	enum zkc_state state;
	int64_t session_id;       /* 0: none yet */
	struct pk_bytes password; /* borrowed */
	int32_t timeout_ms;       /* negotiated, or asked for */
	int64_t last_zxid;
	uint32_t server; /* the last that was dialled */
	size_t requests_waiting, requests_sent;
	size_t watches;     /* callbacks on paths */
	uint64_t connects;  /* sessions established or taken up again, so far */
	bool end_confirmed; /* CLOSED: a server has said so */
};
void zkc_info(const struct zkc *c, struct zkc_info *out);
const char *zkc_state_name(enum zkc_state state);
/* A path as the server gave it (in getEphemerals, say), without the chroot; borrows. Unchanged if
 * it lies outside. */
struct pk_bytes zkc_strip(const struct zkc *c, struct pk_bytes server_path);
/* Assert the invariants Z5.. of zkproto/README.md. */
void zkc_check(const struct zkc *c);

/* ---- requests ---- */

/* What a reply carried; fields that the operation does not give are 0, null or NULL. */
struct zkc_result {
	int32_t err;          /* ZK_OK or a code */
	int64_t zxid;         /* of the reply; 0 when it failed here */
	struct pk_bytes path; /* create, sync */
	struct pk_bytes data; /* get, reconfig */
	const struct zk_stat
		*stat; /* create, exists, get, set, get_acl, set_acl, children, reconfig */
	struct zk_strings names; /* children, ephemerals (full server paths: zkc_strip) */
	struct zk_acls acl;      /* get_acl */
	struct zk_ids ids;       /* whoami */
	int32_t number;          /* children_number */
	struct zk_rd multi;      /* multi, multi_read: for zk_multi_result_next (server paths) */
};
typedef void zkc_done_f(void *owner, const struct zkc_result *r);

struct zkc_event {
	int32_t type; /* ZK_EVENT_*; _NONE: the last call, see state */
	enum zkc_state state;
	struct pk_bytes path; /* borrowed until the callback returns; empty for _NONE */
};
typedef void zkc_watch_f(void *owner, const struct zkc_event *event);
struct zkc_watch {
	zkc_watch_f *call; /* NULL: no watch */
	void *owner;
};
#define ZKC_NO_WATCH ((struct zkc_watch){ 0 })

/* In all: path without the chroot; done may be NULL. */

/* mode: ZK_CREATE_*; with ZK_CREATE_TTL* ttl_ms counts, else it is 0. */
void zkc_create(struct zkc *c, struct pk_bytes path, struct pk_bytes data, struct zk_acls acl,
		int32_t mode, int64_t ttl_ms, zkc_done_f *done, void *owner);
void zkc_delete(struct zkc *c, struct pk_bytes path, int32_t version, zkc_done_f *done,
		void *owner);
void zkc_exists(struct zkc *c, struct pk_bytes path, struct zkc_watch watch, zkc_done_f *done,
		void *owner);
void zkc_get(struct zkc *c, struct pk_bytes path, struct zkc_watch watch, zkc_done_f *done,
	     void *owner);
void zkc_set(struct zkc *c, struct pk_bytes path, struct pk_bytes data, int32_t version,
	     zkc_done_f *done, void *owner);
void zkc_children(struct zkc *c, struct pk_bytes path, struct zkc_watch watch, zkc_done_f *done,
		  void *owner);
void zkc_get_acl(struct zkc *c, struct pk_bytes path, zkc_done_f *done, void *owner);
void zkc_set_acl(struct zkc *c, struct pk_bytes path, struct zk_acls acl, int32_t version,
		 zkc_done_f *done, void *owner);
void zkc_sync(struct zkc *c, struct pk_bytes path, zkc_done_f *done, void *owner);
void zkc_ephemerals(struct zkc *c, struct pk_bytes prefix, zkc_done_f *done, void *owner);
void zkc_children_number(struct zkc *c, struct pk_bytes path, zkc_done_f *done, void *owner);
void zkc_whoami(struct zkc *c, zkc_done_f *done, void *owner);
/* Null strings are left out; config_id -1: whatever the present one is. */
void zkc_reconfig(struct zkc *c, struct pk_bytes joining, struct pk_bytes leaving,
		  struct pk_bytes members, int64_t config_id, zkc_done_f *done, void *owner);

/* A watch that stays: mode ZK_ADD_WATCH_PERSISTENT or ZK_ADD_WATCH_RECURSIVE. */
void zkc_add_watch(struct zkc *c, struct pk_bytes path, int32_t mode, struct zkc_watch watch,
		   zkc_done_f *done, void *owner);
/*
 * Take watches of `type` (ZK_WATCHER_*; DATA includes those of exists, ANY also those of
 * zkc_add_watch) off a path: this one, or all of them when watch.call is NULL. Each is told by
 * ZK_EVENT_*_WATCH_REMOVED. The server is asked only when nobody else here watches that path in one
 * of these ways; else what the server sends is told to those that are left.
 * ZK_ENOWATCHER: there is none.
 */
void zkc_remove_watches(struct zkc *c, struct pk_bytes path, int32_t type, struct zkc_watch watch,
			zkc_done_f *done, void *owner);
/* Does the server have a watch of that type? ZK_OK or ZK_ENOWATCHER. */
void zkc_check_watches(struct zkc *c, struct pk_bytes path, int32_t type, zkc_done_f *done,
		       void *owner);

/*
 * An identity for this and every later connection ("digest", "user:password"). A refused one ends
 * in ZKC_AUTH_FAILED. done comes after the first answer.
 */
void zkc_add_auth(struct zkc *c, const char *scheme, struct pk_bytes auth, zkc_done_f *done,
		  void *owner);

/* Several operations that happen together or not at all (multi), or several reads (multi_read). An
 * invalid path shows when it is sent. */
struct zkc_multi *zkc_multi_new(struct zkc *c); /* returns owned; borrows c */
void zkc_multi_free(struct zkc_multi *m);       /* if it is not sent */
void zkc_multi_create(struct zkc_multi *m, struct pk_bytes path, struct pk_bytes data,
		      struct zk_acls acl, int32_t mode, int64_t ttl_ms);
void zkc_multi_delete(struct zkc_multi *m, struct pk_bytes path, int32_t version);
void zkc_multi_set(struct zkc_multi *m, struct pk_bytes path, struct pk_bytes data,
		   int32_t version);
void zkc_multi_check(struct zkc_multi *m, struct pk_bytes path, int32_t version);
void zkc_multi_get(struct zkc_multi *m, struct pk_bytes path);
void zkc_multi_children(struct zkc_multi *m, struct pk_bytes path);
/* Takes m. A multi that failed has err ZK_OK in the header and error results; the result's err is
 * then the code of the operation that failed, and `multi` is still there to look at. */
void zkc_multi_send(struct zkc_multi *m, zkc_done_f *done, void *owner);

/*
 * End the session: what was asked before is answered first. No call may follow but zkc_info, the
 * inputs and zkc_free; the state becomes ZKC_CLOSED when the server has confirmed, or could not be
 * reached for ZKC_CLOSE_MS.
 */
void zkc_close(struct zkc *c);

/* No callback comes any more, of anybody. For a shell that is asked to go from inside a callback.
 */
void zkc_silence(struct zkc *c);

/* This owner's callbacks do not come any more, its watches are taken off (here; the server's fire
 * into nothing). */
void zkc_forget(struct zkc *c, const void *owner);

#endif
