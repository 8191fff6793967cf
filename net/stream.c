#include "net/stream.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"
#include "net/stream_impl.h"

#define STREAM_MAGIC      0x5354524du
#define EARLY_FLUSH_BYTES (256u * 1024) /* do not let one turn's writes pile up beyond this */
#define TLS_RECORD_BYTES  (16u * 1024)
#define TLS_FIRST_BYTE    0x16 /* a handshake record: RFC 8446 section 5.1 */
#define END_LINGER_MS     5000 /* for what was queued when the peer ended */
#define KEEPALIVE_IDLE_S  60
#define STREAM_QUEUED_BYTES_CEILING                                                                \
	(1u << 30) /* one write's length must fit libuv's unsigned int */
#define REASON_BYTES 512

struct write_op {
	uv_write_t uv;
	struct net_stream *stream;
	struct pk_buf bytes;
};

static void stream_flush(struct net_stream *s);
static void stream_take(struct net_stream *s, struct pk_bytes in);
static void on_defer(struct net_defer *d);

static struct net_stream *stream_check(const struct net_stream *s)
{
	PK_ASSERT(s != NULL && s->h.magic == STREAM_MAGIC);
	return (struct net_stream *)(uintptr_t)s;
}

struct net_stream *stream_of_uv(void *data)
{
	return stream_check((struct net_stream *)data);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void close_now(struct net_stream *s);

static void stream_abandon(struct net_handle *h)
{
	close_now(stream_of_uv(h));
}

void stream_tcp_init(struct net_stream *s)
{
	int rc = uv_tcp_init(&s->loop->uv, &s->tcp);

	PK_ASSERT(rc == 0); /* makes no socket yet, so nothing can fail */
	s->tcp.data = &s->h;
}

struct net_stream *stream_new(struct net_loop *l, const struct net_stream_limits *limits)
{
	struct net_stream *s = pk_alloc(sizeof(*s));

	PK_ASSERT(!l->freeing);
	s->h = (struct net_handle){ .magic = STREAM_MAGIC, .abandon = stream_abandon };
	s->loop = l;
	s->state = STREAM_DIAL;
	s->queued_bytes_max = limits->queued_bytes_max > 0 ? limits->queued_bytes_max
							   : NET_QUEUED_BYTES_MAX;
	PK_ASSERT(s->queued_bytes_max <= STREAM_QUEUED_BYTES_CEILING);
	s->drain_bytes = limits->drain_bytes > 0 ? limits->drain_bytes : NET_DRAIN_BYTES;
	s->handshake_timeout_ms = limits->handshake_timeout_ms > 0 ? limits->handshake_timeout_ms
								   : NET_HANDSHAKE_TIMEOUT_MS;
	stream_tcp_init(s);
	return s;
}

void stream_finish(struct net_stream *s)
{
	PK_ASSERT(s->state == STREAM_CLOSED);
	PK_ASSERT(s->write == NULL && s->dial == NULL && s->timer == NULL);
	if (!s->loop->freeing) {
		loop_enter(s->loop);
		if (s->ops != NULL && s->ops->on_close != NULL)
			s->ops->on_close(s->owner, s->reason);
	}
	/* on_close may have written or closed again: both are no-ops in this state */
	pk_buf_release(&s->out);
	pk_buf_release(&s->held);
	tls_session_free(s->tls);
	net_tls_free(s->tls_context);
	if (s->listener != NULL)
		listener_unref(s->listener, true);
	free(s->reason);
	s->h.magic = 0;
	free(s);
}

static void on_stream_closed(uv_handle_t *uv)
{
	stream_finish(stream_of_uv(uv->data));
}

/* The one way into CLOSED. on_close follows from libuv's close callback. */
static void close_now(struct net_stream *s)
{
	if (s->state == STREAM_CLOSED)
		return;
	s->state = STREAM_CLOSED;
	net_timer_free(s->timer);
	s->timer = NULL;
	loop_undirty(s->loop, &s->dirty);
	loop_undefer(s->loop, &s->defer);
	dial_free(s);
	if (s->reason == NULL)
		s->reason = pk_strdup("loop stopped");
	/* Between two connection attempts the handle is closing already; that callback finishes. */
	if (!uv_is_closing((uv_handle_t *)&s->tcp))
		uv_close((uv_handle_t *)&s->tcp, on_stream_closed);
}

static void PK_PRINTF(2, 0) keep_reason(struct net_stream *s, const char *fmt, va_list ap)
{
	char text[REASON_BYTES];

	if (s->reason != NULL)
		return;
	vsnprintf(text, sizeof(text), fmt, ap);
	if (s->dial != NULL)
		s->reason = pk_asprintf("%s: %s", dial_text(s->dial), text);
	else
		s->reason = pk_strdup(text);
}

/* Say what TLS still has to say (an alert, close_notify), if the kernel takes it at once. */
static void tls_last_words(struct net_stream *s)
{
	struct pk_buf *b;
	uv_buf_t uv;

	if (s->tls == NULL || s->write != NULL || s->state == STREAM_CLOSED)
		return;
	if (s->state == STREAM_OPEN && s->out.len == 0 && !s->goodbye)
		tls_say_goodbye(s->tls);
	b = tls_out(s->tls);
	if (b->len == 0)
		return;
	uv = uv_buf_init((char *)b->data, (unsigned)b->len);
	pk_ignore(uv_try_write((uv_stream_t *)&s->tcp, &uv, 1),
		  "a courtesy: the stream is closing");
}

void net_stream_close(struct net_stream *s, const char *fmt, ...)
{
	va_list ap;

	stream_check(s);
	if (s->state == STREAM_CLOSED)
		return;
	va_start(ap, fmt);
	keep_reason(s, fmt, ap);
	va_end(ap);
	tls_last_words(s);
	close_now(s);
}

bool net_stream_is_closing(const struct net_stream *s)
{
	return stream_check(s)->state >= STREAM_LINGER;
}

bool net_stream_is_open(const struct net_stream *s)
{
	return stream_check(s)->state == STREAM_OPEN;
}

void net_stream_bind(struct net_stream *s, const struct net_stream_ops *ops, void *owner)
{
	stream_check(s);
	PK_ASSERT(ops != NULL);
	s->ops = ops;
	s->owner = owner;
}

/* ---- out ------------------------------------------------------------------------------------- */

size_t net_stream_queued_bytes(const struct net_stream *s)
{
	size_t queued = stream_check(s)->out.len;

	if (s->tls != NULL)
		queued += tls_out(s->tls)->len;
	if (s->write != NULL)
		queued += uv_stream_get_write_queue_size((const uv_stream_t *)&s->tcp);
	return queued;
}

/* LINGER with nothing left to send: say so, and close when the peer has ended too. */
static void linger_step(struct net_stream *s)
{
	int fd;

	PK_ASSERT(s->state == STREAM_LINGER && s->write == NULL);
	if (s->at_end) {
		close_now(s);
		return;
	}
	if (s->end_sent)
		return;
	s->end_sent = true;
	/* Nothing is with libuv, so the plain call is in order, and needs no request to outlive us.
	 */
	if (uv_fileno((uv_handle_t *)&s->tcp, &fd) != 0 || shutdown(fd, SHUT_WR) != 0)
		close_now(s);
}

static void on_uv_written(uv_write_t *uv, int status)
{
	struct write_op *op = PK_CONTAINER(uv, struct write_op, uv);
	struct net_stream *s = stream_check(op->stream);

	PK_ASSERT(s->write == op);
	loop_enter(s->loop);
	s->write = NULL;
	loop_buf_give(s->loop, &op->bytes);
	free(op);
	if (s->state == STREAM_CLOSED)
		return; /* UV_ECANCELED, on the way to on_stream_closed */
	if (status < 0)
		net_stream_close(s, "write: %s", uv_strerror(status));
	else
		stream_flush(s);
}

/* What the kernel would not take at once goes to libuv, which owns it until on_uv_written. */
static void write_rest(struct net_stream *s, struct pk_buf *b, size_t from)
{
	struct write_op *op = pk_alloc(sizeof(*op));
	uv_buf_t uv;
	int rc;

	op->stream = s;
	op->bytes = *b;
	*b = PK_BUF_INIT;
	uv = uv_buf_init((char *)op->bytes.data + from, (unsigned)(op->bytes.len - from));
	rc = uv_write(&op->uv, (uv_stream_t *)&s->tcp, &uv, 1, on_uv_written);
	if (rc != 0) {
		pk_buf_release(&op->bytes);
		free(op);
		net_stream_close(s, "write: %s", uv_strerror(rc));
		return;
	}
	s->write = op;
}

/* Calls no owner: on_drain is deferred, and a failure closes, which tells later too. */
static void stream_flush(struct net_stream *s)
{
	struct pk_err err = PK_ERR_INIT;

	loop_undirty(s->loop, &s->dirty);
	if (s->state < STREAM_HANDSHAKE || s->state == STREAM_CLOSED)
		return;
	while (s->write == NULL) {
		struct pk_buf *b = s->tls != NULL ? tls_out(s->tls) : &s->out;

		if (s->tls != NULL && s->out.len > 0 && s->state >= STREAM_OPEN) {
			if (tls_write(s->tls, pk_buf_bytes(&s->out), &err) != 0) {
				net_stream_close(s, "write: %s", err.text);
				return;
			}
			loop_buf_give(s->loop, &s->out);
		}
		if (s->tls != NULL && s->state == STREAM_LINGER && !s->goodbye) {
			s->goodbye = true;
			tls_say_goodbye(s->tls);
		}
		if (b->len == 0)
			break;
		uv_buf_t uv = uv_buf_init((char *)b->data, (unsigned)b->len);
		int n = uv_try_write((uv_stream_t *)&s->tcp, &uv, 1);

		if (n == UV_EAGAIN)
			n = 0;
		if (n < 0) {
			net_stream_close(s, "write: %s", uv_strerror(n));
			return;
		}
		if ((size_t)n == b->len)
			loop_buf_give(s->loop, b);
		else
			write_rest(s, b, (size_t)n);
		if (s->state == STREAM_CLOSED)
			return;
	}
	if (s->state == STREAM_LINGER && s->write == NULL)
		linger_step(s);
	if (s->state == STREAM_OPEN && s->want_drain &&
	    net_stream_queued_bytes(s) <= s->drain_bytes)
		loop_defer(s->loop, &s->defer, on_defer);
}

static void on_dirty(struct net_dirty *d)
{
	stream_flush(PK_CONTAINER(d, struct net_stream, dirty));
}

void net_stream_write(struct net_stream *s, struct pk_bytes bytes)
{
	size_t queued;

	stream_check(s);
	if (bytes.len == 0 || s->state >= STREAM_LINGER)
		return;
	queued = net_stream_queued_bytes(s);
	if (queued > s->queued_bytes_max || bytes.len > s->queued_bytes_max - queued) {
		net_stream_close(s, "peer too slow: %zu bytes queued and %zu more, at most %zu",
				 queued, bytes.len, s->queued_bytes_max);
		return;
	}
	if (s->out.cap == 0)
		s->out = loop_buf_take(s->loop);
	pk_buf_add_bytes(&s->out, bytes);
	if (queued + bytes.len > s->drain_bytes)
		s->want_drain = true;
	if (s->state != STREAM_OPEN)
		return;
	if (s->out.len >= EARLY_FLUSH_BYTES && s->write == NULL)
		stream_flush(s);
	else
		loop_dirty(s->loop, &s->dirty, on_dirty);
}

void net_stream_flush(struct net_stream *s)
{
	stream_check(s);
	if (s->state == STREAM_OPEN)
		stream_flush(s);
}

/* ---- in -------------------------------------------------------------------------------------- */

static void on_uv_alloc(uv_handle_t *uv, size_t suggested, uv_buf_t *buf)
{
	struct net_stream *s = stream_of_uv(uv->data);

	pk_ignore(suggested,
		  "all streams of a loop read into one buffer, each byte handled at once");
	*buf = uv_buf_init((char *)s->loop->read_buf, LOOP_READ_BYTES);
}

static void on_uv_read(uv_stream_t *uv, ssize_t n, const uv_buf_t *buf);

static void read_update(struct net_stream *s)
{
	bool want = s->state >= STREAM_SNIFF && s->state <= STREAM_LINGER && !s->at_end;
	int rc;

	if (s->state == STREAM_OPEN && (s->paused || s->held.len > 0 || s->end_held))
		want = false;
	if (want == s->reading || s->state == STREAM_CLOSED)
		return;
	s->reading = want;
	if (!want) {
		rc = uv_read_stop((uv_stream_t *)&s->tcp);
		PK_ASSERT(rc == 0);
		return;
	}
	rc = uv_read_start((uv_stream_t *)&s->tcp, on_uv_alloc, on_uv_read);
	if (rc != 0)
		net_stream_close(s, "read: %s", uv_strerror(rc));
}

/* The peer ended its side. */
static void stream_ended(struct net_stream *s)
{
	s->at_end = true;
	read_update(s);
	if (s->state == STREAM_LINGER) {
		if (s->write == NULL && s->end_sent)
			close_now(s);
	} else if (s->state != STREAM_OPEN) {
		net_stream_close(s, "closed by peer");
	} else if (s->ops != NULL && s->ops->on_eof != NULL) {
		s->ops->on_eof(s->owner);
	} else {
		net_stream_close_flushed(s, END_LINGER_MS, "closed by peer");
	}
}

static void on_uv_read(uv_stream_t *uv, ssize_t n, const uv_buf_t *buf)
{
	struct net_stream *s = stream_of_uv(uv->data);

	loop_enter(s->loop);
	if (s->state == STREAM_CLOSED)
		return;
	if (n > 0) {
		stream_take(s, pk_bytes(buf->base, (size_t)n));
		read_update(s);
	} else if (n == UV_EOF) {
		stream_ended(s);
	} else if (n < 0) { /* 0 only means: nothing yet */
		net_stream_close(s, "read: %s", uv_strerror((int)n));
	}
}

static void stream_opened(struct net_stream *s)
{
	PK_ASSERT(s->state < STREAM_OPEN);
	s->state = STREAM_OPEN;
	net_timer_free(s->timer);
	s->timer = NULL;
	dial_free(s);
	if (s->out.len > 0)
		loop_dirty(s->loop, &s->dirty, on_dirty);
	if (s->ops != NULL && s->ops->on_open != NULL)
		s->ops->on_open(s->owner);
}

/* Decrypt and hand over as much as can be, in few calls. */
static void tls_step(struct net_stream *s)
{
	struct pk_err err = PK_ERR_INIT;
	int rc;

	if (s->state == STREAM_HANDSHAKE) {
		rc = tls_handshake(s->tls, &err);
		if (tls_out(s->tls)->len > 0)
			loop_dirty(s->loop, &s->dirty, on_dirty);
		if (rc < 0) {
			net_stream_close(s, "%s", err.text);
			return;
		}
		if (rc == 0)
			return;
		stream_opened(s);
	}
	if (s->loop->plain_buf == NULL)
		s->loop->plain_buf = pk_alloc(LOOP_PLAIN_BYTES);
	do {
		size_t len = 0;

		if (s->state != STREAM_OPEN || s->paused)
			break;
		do {
			rc = tls_read(s->tls, s->loop->plain_buf + len, LOOP_PLAIN_BYTES - len,
				      &err);
			if (rc > 0)
				len += (size_t)rc;
		} while (rc > 0 && LOOP_PLAIN_BYTES - len >= TLS_RECORD_BYTES);
		if (tls_out(s->tls)->len > 0) /* a key update, an alert */
			loop_dirty(s->loop, &s->dirty, on_dirty);
		if (len > 0 && s->ops != NULL && s->ops->on_bytes != NULL)
			s->ops->on_bytes(s->owner, pk_bytes(s->loop->plain_buf, len));
		if (s->state != STREAM_OPEN)
			return;
		if (rc == TLS_READ_END && s->paused)
			s->end_held = true; /* told when it resumes */
		else if (rc == TLS_READ_END)
			stream_ended(s);
		else if (rc < 0)
			net_stream_close(s, "read: %s", err.text);
	} while (rc > 0);
	if (s->state == STREAM_OPEN) {
		struct pk_bytes left = tls_unread(s->tls);

		pk_buf_add_bytes(&s->held, left);
		tls_feed(s->tls, PK_BYTES_NONE);
	}
}

static void handshake_begin(struct net_stream *s, bool server, const char *name)
{
	struct pk_err err = PK_ERR_INIT;

	s->tls = tls_session_new(s->tls_context, server, name, &s->peer, &err);
	if (s->tls == NULL) {
		net_stream_close(s, "%s", err.text);
		return;
	}
	s->state = STREAM_HANDSHAKE;
}

/* Bytes off the wire, in any state. */
static void stream_take(struct net_stream *s, struct pk_bytes in)
{
	if (s->state == STREAM_SNIFF) {
		if (in.data[0] == TLS_FIRST_BYTE)
			handshake_begin(s, true, NULL);
		else
			stream_opened(s);
	}
	if (s->state == STREAM_LINGER || s->state == STREAM_CLOSED)
		return; /* nobody wants them any more */
	if (s->tls != NULL) {
		tls_feed(s->tls, in);
		tls_step(s);
	} else if (s->paused) {
		pk_buf_add_bytes(&s->held, in);
	} else if (s->ops != NULL && s->ops->on_bytes != NULL) {
		s->ops->on_bytes(s->owner, in);
	}
}

static void on_defer(struct net_defer *d)
{
	struct net_stream *s = PK_CONTAINER(d, struct net_stream, defer);

	stream_check(s);
	if (s->state == STREAM_OPEN && s->want_drain &&
	    net_stream_queued_bytes(s) <= s->drain_bytes) {
		s->want_drain = false;
		if (s->ops != NULL && s->ops->on_drain != NULL)
			s->ops->on_drain(s->owner);
	}
	if (s->state == STREAM_OPEN && !s->paused && s->held.len > 0) {
		struct pk_buf held = s->held;

		s->held = PK_BUF_INIT;
		stream_take(s, pk_buf_bytes(&held));
		pk_buf_release(&held);
	}
	if (s->state == STREAM_OPEN && !s->paused && s->end_held) {
		s->end_held = false;
		stream_ended(s);
	}
	read_update(s);
}

void net_stream_pause(struct net_stream *s)
{
	stream_check(s);
	s->paused = true;
	read_update(s);
}

void net_stream_resume(struct net_stream *s)
{
	stream_check(s);
	s->paused = false;
	if (s->state == STREAM_OPEN && (s->held.len > 0 || s->end_held))
		loop_defer(s->loop, &s->defer, on_defer);
	else
		read_update(s);
}

/* ---- beginning and end ----------------------------------------------------------------------- */

static void on_stream_timer(void *owner)
{
	struct net_stream *s = stream_of_uv(owner);

	switch (s->state) {
	case STREAM_DIAL:
		dial_on_timer(s);
		break;
	case STREAM_SNIFF:
		net_stream_close(s, "no first byte within %lld ms",
				 (long long)s->handshake_timeout_ms);
		break;
	case STREAM_HANDSHAKE:
		net_stream_close(s, "TLS handshake timed out");
		break;
	case STREAM_LINGER:
		close_now(s);
		break;
	case STREAM_OPEN:
	case STREAM_CLOSED:
		PK_ASSERT(!"a stream timer outlived its state");
		break;
	}
}

void stream_timer_start(struct net_stream *s, int64_t after_ms)
{
	if (s->timer == NULL)
		s->timer = net_timer_new(s->loop, on_stream_timer, &s->h);
	net_timer_start(s->timer, after_ms, 0);
}

void stream_start(struct net_stream *s, struct net_tls *tls, bool server, bool sniff,
		  const char *tls_name)
{
	PK_ASSERT(s->state == STREAM_DIAL);
	pk_ignore(uv_tcp_nodelay(&s->tcp, 1), "a hint: slower without it, not wrong");
	pk_ignore(uv_tcp_keepalive(&s->tcp, 1, KEEPALIVE_IDLE_S), "a dead peer is found later");
	if (tls != NULL)
		s->tls_context = net_tls_ref(tls);
	if (tls == NULL) {
		stream_opened(s);
	} else {
		if (s->dial == NULL) /* a dialled stream's deadline covers the handshake */
			stream_timer_start(s, s->handshake_timeout_ms);
		if (sniff) {
			s->state = STREAM_SNIFF;
		} else {
			handshake_begin(s, server, tls_name);
			if (s->state == STREAM_HANDSHAKE && !server)
				tls_step(s);
		}
	}
	read_update(s);
}

void net_stream_close_flushed(struct net_stream *s, int64_t linger_ms, const char *fmt, ...)
{
	va_list ap;

	stream_check(s);
	if (s->state >= STREAM_LINGER)
		return;
	va_start(ap, fmt);
	keep_reason(s, fmt, ap);
	va_end(ap);
	if (s->state != STREAM_OPEN) {
		tls_last_words(s);
		close_now(s);
		return;
	}
	s->state = STREAM_LINGER;
	loop_undefer(s->loop, &s->defer);
	pk_buf_release(&s->held);
	stream_timer_start(s, linger_ms);
	read_update(s);
	if (s->state == STREAM_LINGER)
		loop_dirty(s->loop, &s->dirty, on_dirty);
}

/* ---- facts ----------------------------------------------------------------------------------- */

const struct net_addr *net_stream_peer(const struct net_stream *s)
{
	return &stream_check(s)->peer;
}

int net_stream_local(const struct net_stream *s, struct net_addr *out, struct pk_err *err)
{
	struct sockaddr_storage ss;
	int len = sizeof(ss);

	if (stream_check(s)->state == STREAM_CLOSED ||
	    uv_tcp_getsockname(&s->tcp, (struct sockaddr *)&ss, &len) != 0)
		return pk_err_set(err, PK_ECLOSED, "stream has no local address");
	return net_addr_from_sockaddr(out, (const struct sockaddr *)&ss, err);
}

bool net_stream_is_tls(const struct net_stream *s)
{
	return stream_check(s)->tls != NULL;
}

const char *net_stream_tls_version(const struct net_stream *s)
{
	return stream_check(s)->tls != NULL ? tls_version(s->tls) : "";
}

char *net_stream_peer_subject(const struct net_stream *s)
{
	return stream_check(s)->tls != NULL ? tls_peer_subject(s->tls) : NULL;
}

bool net_stream_peer_has_name(const struct net_stream *s, const char *name)
{
	return stream_check(s)->tls != NULL && tls_peer_has_name(s->tls, name);
}

bool net_stream_peer_cert(const struct net_stream *s, struct pk_buf *out)
{
	return stream_check(s)->tls != NULL && tls_peer_cert(s->tls, out);
}
