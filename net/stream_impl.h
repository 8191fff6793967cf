/*
 * net/stream_impl.h - what stream.c, listen.c and connect.c share of a stream.
 */
#ifndef PK_NET_STREAM_IMPL_H
#define PK_NET_STREAM_IMPL_H

#include "net/loop_impl.h"
#include "net/stream.h"
#include "net/tls_impl.h"

enum stream_state {
	STREAM_DIAL,      /* looking up a name, connecting: connect.c */
	STREAM_SNIFF,     /* the first byte will tell TLS from plain */
	STREAM_HANDSHAKE, /* TLS */
	STREAM_OPEN,
	STREAM_LINGER, /* sending the rest, then waiting for the peer's end; no callbacks */
	STREAM_CLOSED, /* uv_close was called, or will be by a callback that is already due */
};

struct write_op;
struct dial;

struct net_stream {
	struct net_handle h;
	enum stream_state state;
	bool reading;
	bool paused;
	bool end_held;   /* TLS end read while paused */
	bool at_end;     /* the peer's end was read */
	bool end_sent;   /* and ours sent */
	bool goodbye;    /* close_notify is in the queue or sent */
	bool want_drain; /* the queue was above drain_bytes */
	struct net_loop *loop;
	const struct net_stream_ops *ops; /* NULL: not bound */
	void *owner;
	struct pk_buf out;      /* the owner's bytes, not yet with TLS or the kernel */
	struct write_op *write; /* with libuv; NULL mostly */
	struct pk_buf held;     /* from the wire, kept while paused */
	struct tls_session *tls;
	struct net_tls *tls_context;
	struct dial *dial;             /* until OPEN */
	struct net_listener *listener; /* counted there; NULL for dialled ones */
	struct net_timer *timer;       /* of DIAL, SNIFF, HANDSHAKE and LINGER; NULL when OPEN */
	char *reason;                  /* why it closes; NULL before */
	size_t queued_bytes_max;
	size_t drain_bytes;
	int64_t handshake_timeout_ms;
	struct net_addr peer;
	struct net_dirty dirty;
	struct net_defer defer;
	uv_tcp_t tcp;
};

/* Returns owned by the loop, tcp initialised, in state DIAL. */
struct net_stream *stream_new(struct net_loop *l, const struct net_stream_limits *limits);
struct net_stream *stream_of_uv(void *data); /* handle->data to stream; asserts the magic */
/* tcp is connected: on to SNIFF, HANDSHAKE or OPEN. tls as in the listen or connect options. */
void stream_start(struct net_stream *s, struct net_tls *tls, bool server, bool sniff,
		  const char *tls_name);
/* tcp was closed (or is not usable) and state is CLOSED: tell the owner, free. */
void stream_finish(struct net_stream *s);
void stream_tcp_init(struct net_stream *s);
void stream_timer_start(struct net_stream *s, int64_t after_ms);
void dial_free(struct net_stream *s);                     /* connect.c; s->dial may be NULL */
void dial_on_timer(struct net_stream *s);                 /* connect.c */
const char *dial_text(const struct dial *d);              /* "connect host:port" */
void listener_unref(struct net_listener *n, bool stream); /* listen.c */

#endif
