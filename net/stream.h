/*
 * net/stream.h - TCP listeners and streams, plain or TLS; the owner sees plain bytes either way.
 *
 *     net_connect ──> DIAL ──┬──────────────> OPEN ──> LINGER ──> CLOSED
 *     accepted ──> SNIFF? ───┴──> HANDSHAKE ──┘ (a failure in any state goes to CLOSED)
 *
 * Callbacks, all from the loop, never from inside a call that the owner makes:
 *     on_open   once, when bytes may flow: connected, TLS agreed. Optional.
 *     on_bytes  borrowed until it returns. May close, pause or write to any stream.
 *     on_eof    the peer will send no more, but may still read. Optional: without it the stream
 * sends what is queued and closes itself ("closed by peer"). on_drain  the queue was above
 * drain_bytes and is no longer. Optional. on_close  exactly once per stream that was bound, the
 * last callback, whatever happened. The stream is gone when it returns: forget the pointer. After
 * net_stream_close the only callback that still comes is on_close.
 *
 * Writes are copied into the stream's own queue and leave together at the end of the turn. The
 * queue has a limit: the write that goes over it closes the stream. TCP_NODELAY and keep-alive are
 * on.
 */
#ifndef PK_NET_STREAM_H
#define PK_NET_STREAM_H

#include "net/addr.h"
#include "net/loop.h"

struct net_stream;
struct net_listener;
struct net_tls; /* net/tls.h */

struct net_stream_ops {
	void (*on_open)(void *owner);
	void (*on_bytes)(void *owner, struct pk_bytes in);
	void (*on_eof)(void *owner);
	void (*on_drain)(void *owner);
	void (*on_close)(void *owner, const char *reason); /* reason is borrowed */
};

#define NET_QUEUED_BYTES_MAX     (64u * 1024 * 1024)
#define NET_DRAIN_BYTES          (64u * 1024)
#define NET_CONNECT_TIMEOUT_MS   5000
#define NET_HANDSHAKE_TIMEOUT_MS 10000
#define NET_BACKLOG              1024

/* A field that is 0 means the default above. */
struct net_stream_limits {
	size_t queued_bytes_max;      /* bytes written and not yet taken by the kernel */
	size_t drain_bytes;           /* on_drain when the queue falls to this */
	int64_t handshake_timeout_ms; /* for the first byte (sniffing) and the TLS handshake */
};

enum net_family { NET_ANY_FAMILY, NET_V4_ONLY, NET_V6_ONLY };

struct net_listen_opts {
	const char *host; /* name or address; NULL or "" is every address, IPv6 and IPv4 */
	uint16_t port;    /* 0: the system chooses, see net_listener_port */
	enum net_family family;
	int backlog;      /* 0: NET_BACKLOG */
	size_t conns_max; /* more are accepted and closed at once; 0: no limit */
	struct net_tls
		*tls;   /* a server context: every stream is TLS. The listener takes a reference */
	bool sniff_tls; /* with tls: TLS only if the first byte is 0x16, plain otherwise */
	struct net_stream_limits limits;
};

/*
 * A connection has come. Bind the stream, or leave it unbound and it is closed. Its peer's address
 * is known; on_open follows when it is ready.
 */
typedef void net_accept_f(void *owner, struct net_stream *s);

/*
 * Resolves (blocking: for start-up) and listens on every address of the name; on port 0 all share
 * the port that the first was given. NULL with err: PK_EINVAL unknown host, PK_EEXIST address in
 * use, PK_EIO.
 */
struct net_listener *net_listen(struct net_loop *l, const struct net_listen_opts *opts,
				net_accept_f *accept, void *owner, struct pk_err *err);
uint16_t net_listener_port(const struct net_listener *n);
/* The i-th bound address, i < net_listener_addr_count. */
size_t net_listener_addr_count(const struct net_listener *n);
const struct net_addr *net_listener_addr(const struct net_listener *n, size_t i);
size_t net_listener_refused(const struct net_listener *n); /* over conns_max, or no descriptors */
/* No accept comes after this; its streams live on. NULL is allowed. */
void net_listener_close(struct net_listener *n);

/* Set or change who hears the callbacks. ops is borrowed for the stream's life: a static const. */
void net_stream_bind(struct net_stream *s, const struct net_stream_ops *ops, void *owner);

struct net_connect_opts {
	const char *host; /* name or address; every address it has is tried in turn */
	uint16_t port;
	int64_t timeout_ms;   /* for name, connection and TLS together; 0: NET_CONNECT_TIMEOUT_MS */
	struct net_tls *tls;  /* a client context, or NULL. The stream takes a reference */
	const char *tls_name; /* the name that the certificate must carry; NULL: host */
	struct net_stream_limits limits;
};

/* Returns at once; success is on_open, failure on_close with "connect host:port: ...". opts is
 * copied. The stream belongs to the loop; the owner closes it. */
struct net_stream *net_connect(struct net_loop *l, const struct net_connect_opts *opts,
			       const struct net_stream_ops *ops, void *owner);

/* Copies. Before on_open it is kept until then; after close it is dropped. */
void net_stream_write(struct net_stream *s, struct pk_bytes bytes);
/* Do not wait for the end of the turn. */
void net_stream_flush(struct net_stream *s);
size_t net_stream_queued_bytes(const struct net_stream *s);
/* No on_bytes and no on_eof between pause and resume. */
void net_stream_pause(struct net_stream *s);
void net_stream_resume(struct net_stream *s);

/* Drop what is queued and close. May be called twice, the first reason is kept. */
void net_stream_close(struct net_stream *s, const char *fmt, ...) PK_PRINTF(2, 3);
/* Send what is queued, tell the peer that no more comes, wait for its end, then close; after
 * linger_ms at the latest. Nothing more is read or written. */
void net_stream_close_flushed(struct net_stream *s, int64_t linger_ms, const char *fmt, ...)
	PK_PRINTF(3, 4);
bool net_stream_is_closing(const struct net_stream *s);

bool net_stream_is_open(const struct net_stream *s); /* after on_open, before close */
const struct net_addr *net_stream_peer(const struct net_stream *s); /* ip_bytes 0 while dialling */
/* PK_ECLOSED when there is none. */
PK_CHECKED int net_stream_local(const struct net_stream *s, struct net_addr *out,
				struct pk_err *err);

/* TLS facts; all empty for a plain stream. */
bool net_stream_is_tls(const struct net_stream *s);
const char *net_stream_tls_version(const struct net_stream *s); /* "TLSv1.3", or "" */
/*
 * The subject of the peer's verified certificate, as Java's X500Principal.getName() writes it (RFC
 * 2253). Returns owned; NULL without one.
 */
char *net_stream_peer_subject(const struct net_stream *s);
/* Does it carry this DNS name or IP address (as a subject alternative name; its common name counts
 * only when it has no names)? false without a certificate. */
bool net_stream_peer_has_name(const struct net_stream *s, const char *name);
/* Its DER form appended to out; false without one. */
bool net_stream_peer_cert(const struct net_stream *s, struct pk_buf *out);

#endif
