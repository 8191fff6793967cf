/*
 * zkproto/client_impl.h - what client.c, client_ops.c and client_watch.c share; nobody else
 * includes it.
 */
#ifndef PK_ZKPROTO_CLIENT_IMPL_H
#define PK_ZKPROTO_CLIENT_IMPL_H

#include <sys/queue.h>

#include "base/mem.h"
#include "base/rng.h"
#include "zkproto/client.h"
#include "zkproto/frame.h"
#include "zkproto/path.h"

/* ---- watches (client_watch.c) ---- */

enum watch_kind {
	WATCH_DATA,
	WATCH_EXIST,
	WATCH_CHILD,
	WATCH_PERSISTENT,
	WATCH_RECURSIVE,
	WATCH_KINDS,
};

struct watch_path; /* one path with its watches of one kind */

struct firing; /* a callback that is still to hear the event being told */

struct watches {
	struct watch_path *by_path[WATCH_KINDS]; /* uthash; iterates in the order of setting */
	size_t count;
	struct firing *firing; /* uthash by callback and owner, each once, in the order found */
};

void zkc_watches_release(struct watches *w);
/* The same callback and owner on the same path and kind count once. */
void zkc_watches_add(struct watches *w, enum watch_kind kind, struct pk_bytes path,
		     struct zkc_watch watch);
bool zkc_watches_has(const struct watches *w, enum watch_kind kind, struct pk_bytes path,
		     const struct zkc_watch *watch);
/* Of path and kind: this one, or all for NULL; they wait in `firing`. False: none was there. */
bool zkc_watches_remove(struct watches *w, enum watch_kind kind, struct pk_bytes path,
			const struct zkc_watch *watch);
/* Would any other be left on this path and kind if `watch` (NULL: all) went? */
bool zkc_watches_others(const struct watches *w, enum watch_kind kind, struct pk_bytes path,
			const struct zkc_watch *watch);
/* Put everyone who should hear this event into `firing`, one-shot watches are used up. */
void zkc_watches_event(struct watches *w, int32_t type, struct pk_bytes path);
/* Everyone goes into `firing`; the tables are empty then. */
void zkc_watches_drain(struct watches *w);
/* The next in `firing` to tell; false behind the last. */
bool zkc_watches_fire_next(struct watches *w, struct zkc_watch *out);
void zkc_watches_forget(struct watches *w, const void *owner);
/* Frames of setWatches2 that set all of them again, each with about bytes_max of paths. */
void zkc_watches_encode(const struct watches *w, int64_t zxid, size_t bytes_max, struct pk_buf *out,
			uint32_t *frames);
void zkc_watches_check(const struct watches *w);

/* ---- requests ---- */

struct request {
	TAILQ_ENTRY(request) link;
	int32_t opcode;
	int32_t xid;         /* given when it is sent */
	int32_t err;         /* in the failed list: what it is told */
	int64_t since_ms;    /* when the first step saw it; -1 until then */
	size_t frame_bytes;  /* length of `frame` before it was emptied */
	struct pk_buf frame; /* length, header, body; emptied when it is sent */
	zkc_done_f *done;
	void *owner;
	struct zkc_watch watch; /* to set, or (remove_watches) to take off */
	enum watch_kind kind;   /* of `watch` */
	int32_t watcher_type;   /* remove_watches */
	char *path;             /* with a watch: the server's path */
};
TAILQ_HEAD(request_list, request);

enum conn_state {
	CONN_NONE,      /* none; another attempt at retry_at_ms, or never (final states) */
	CONN_DIALING,   /* connect effect given */
	CONN_HANDSHAKE, /* connect request sent */
	CONN_SASL,
	CONN_UP,
};

struct auth {
	char *scheme;
	struct pk_buf data;
	zkc_done_f *done; /* of the first answer */
	void *owner;
};

struct zkc {
	/* settings */
	struct zkc_config cfg; /* strings and bytes in it are copies or gone */
	char *chroot;
	struct pk_rng rng;
	uint32_t order[ZKC_SERVERS_MAX];

	/* session */
	enum zkc_state state;
	int64_t session_id;
	uint8_t password[ZKC_PASSWORD_BYTES_MAX];
	size_t password_bytes;
	int32_t timeout_ms;
	int64_t last_zxid;
	int64_t watch_zxid; /* last_zxid when this connection began */
	bool seen_read_write;
	uint64_t connects;
	bool end_confirmed;

	/* connection */
	enum conn_state conn_state;
	uint32_t conn; /* rises with each */
	uint32_t server;
	uint32_t order_next;
	uint32_t attempts;        /* since the last success */
	int64_t server_preferred; /* found by a probe; -1 */
	int64_t retry_at_ms;
	int64_t dial_deadline_ms;
	int64_t sent_ms, received_ms;
	struct zk_frame in;
	int32_t xid_next;
	uint32_t set_watches_awaited;
	uint32_t auths_awaited; /* answers to come */
	uint32_t auths_sent;    /* of auths[], on this connection */
	uint32_t sasl_steps;
	bool conn_read_only;
	int32_t sasl_xid;

	/* read-only: looking for something better */
	int64_t probe_at_ms; /* INT64_MAX: no */
	int64_t probe_wait_ms;
	uint32_t probe_next;
	bool probe_running;

	/* requests */
	struct request_list waiting, sent, failed;
	size_t waiting_count, sent_count;
	size_t waiting_bytes, sent_bytes;
	size_t watches_promised; /* by requests that are waiting or sent */
	struct auth auths[ZKC_AUTHS_MAX];
	uint32_t auth_count;
	bool closing;
	int64_t close_deadline_ms; /* -1: the next step sets it */
	bool touched;              /* a call was made since the last step */

	struct watches watches;

	/* effects */
	struct pk_buf out, sending;
	bool fx_connect, fx_close, fx_probe;
	uint32_t fx_close_conn;
	uint32_t fx_probe_server;
	char reason[160];

	int64_t now_ms;
	int inside; /* depth of inputs */
};

/* client.c */
void zkc_touch_(struct zkc *c);
void zkc_enqueue_(struct zkc *c, struct request *q);
void zkc_refuse_(struct zkc *c, struct request *q, int32_t err);

/* client_ops.c: fill *r from the body of a reply; false when the bytes make no sense. stat is
 * memory for r->stat. */
bool zkc_result_parse_(const struct zkc *c, int32_t opcode, struct pk_bytes body,
		       struct zkc_result *r, struct zk_stat *stat);

#endif
