#include <stdio.h>

#include "base/mem.h"
#include "net/stream_impl.h"

#define DIAL_ADDRS_MAX 16 /* of one host name */

struct resolve {
	uv_getaddrinfo_t uv;
	struct net_loop *loop;
	struct net_stream *stream; /* NULL: nobody waits any more; the pool may still be at it */
};

/* Lives until its callback, which libuv makes in any case, before the handle's close callback. */
struct connect_op {
	uv_connect_t uv;
	struct net_stream *stream;
};

struct dial {
	char *text; /* "connect host:port" */
	char *tls_name;
	struct net_tls *tls;
	int64_t deadline_ms;
	uint16_t port;
	struct resolve *resolve; /* running, or NULL */
	struct net_addr addrs[DIAL_ADDRS_MAX];
	size_t addr_count;
	size_t addr_next;
	char failure[256]; /* of the last address */
};

static void dial_next(struct net_stream *s);

const char *dial_text(const struct dial *d)
{
	return d->text;
}

void dial_free(struct net_stream *s)
{
	struct dial *d = s->dial;

	if (d == NULL)
		return;
	s->dial = NULL;
	if (d->resolve != NULL) {
		d->resolve->stream = NULL;
		pk_ignore(uv_cancel((uv_req_t *)&d->resolve->uv), "if it runs, it ends by itself");
	}
	net_tls_free(d->tls);
	free(d->text);
	free(d->tls_name);
	free(d);
}

static void on_attempt_closed(uv_handle_t *uv)
{
	struct net_stream *s = stream_of_uv(uv->data);

	loop_enter(s->loop);
	if (s->loop->freeing && s->state != STREAM_CLOSED) {
		s->state = STREAM_CLOSED;
		dial_free(s);
	}
	if (s->state == STREAM_CLOSED) {
		stream_finish(s);
		return;
	}
	stream_tcp_init(s);
	dial_next(s);
}

/* This address is no good: close the handle, and go on from its close callback. */
static void attempt_failed(struct net_stream *s, const char *why)
{
	struct dial *d = s->dial;
	char text[NET_ADDR_TEXT_BYTES];

	PK_ASSERT(s->state == STREAM_DIAL && d->addr_next > 0);
	snprintf(d->failure, sizeof(d->failure), "%s: %s",
		 net_addr_text(&d->addrs[d->addr_next - 1], text), why);
	net_timer_free(s->timer);
	s->timer = NULL;
	PK_ASSERT(!uv_is_closing((uv_handle_t *)&s->tcp));
	uv_close((uv_handle_t *)&s->tcp, on_attempt_closed);
}

static void on_uv_connect(uv_connect_t *uv, int status)
{
	struct connect_op *op = PK_CONTAINER(uv, struct connect_op, uv);
	struct net_stream *s = stream_of_uv(&op->stream->h);

	free(op);
	loop_enter(s->loop);
	if (status == UV_ECANCELED || s->state != STREAM_DIAL)
		return; /* the handle is closing */
	if (status < 0) {
		attempt_failed(s, uv_strerror(status));
		return;
	}
	s->peer = s->dial->addrs[s->dial->addr_next - 1];
	stream_timer_start(s, s->dial->deadline_ms > net_now_ms(s->loop)
				      ? s->dial->deadline_ms - net_now_ms(s->loop)
				      : 0);
	stream_start(s, s->dial->tls, false, false, s->dial->tls_name);
}

static void dial_next(struct net_stream *s)
{
	struct dial *d = s->dial;
	int64_t left_ms = d->deadline_ms - net_now_ms(s->loop);
	struct sockaddr_storage ss;
	struct connect_op *op;
	int rc;

	if (d->addr_next == d->addr_count) {
		net_stream_close(s, "%s", d->failure);
		return;
	}
	if (left_ms <= 0) {
		net_stream_close(s, "timed out");
		return;
	}
	/* An address that does not answer may use only its share of the time. */
	stream_timer_start(s, 1 + left_ms / (int64_t)(d->addr_count - d->addr_next));
	net_addr_to_sockaddr(&d->addrs[d->addr_next++], &ss);
	op = pk_alloc(sizeof(*op));
	op->stream = s;
	rc = uv_tcp_connect(&op->uv, &s->tcp, (struct sockaddr *)&ss, on_uv_connect);
	if (rc != 0) {
		free(op);
		attempt_failed(s, uv_strerror(rc));
	}
}

void dial_on_timer(struct net_stream *s)
{
	if (s->dial->resolve != NULL)
		net_stream_close(s, "name lookup timed out");
	else
		attempt_failed(s, "timed out");
}

static void on_uv_resolved(uv_getaddrinfo_t *uv, int status, struct addrinfo *found)
{
	struct resolve *r = PK_CONTAINER(uv, struct resolve, uv);
	struct net_stream *s = r->stream;
	struct dial *d;

	loop_enter(r->loop);
	if (s == NULL) {
		uv_freeaddrinfo(found);
		free(r);
		return;
	}
	d = s->dial;
	PK_ASSERT(s->state == STREAM_DIAL && d->resolve == r);
	d->resolve = NULL;
	free(r);
	for (struct addrinfo *i = found; i != NULL && d->addr_count < DIAL_ADDRS_MAX;
	     i = i->ai_next) {
		struct net_addr *a = &d->addrs[d->addr_count];

		if (net_addr_from_sockaddr(a, i->ai_addr, NULL) == 0) {
			a->port = d->port;
			d->addr_count++;
		}
	}
	uv_freeaddrinfo(found);
	if (status < 0)
		net_stream_close(s, "%s", uv_strerror(status));
	else if (d->addr_count == 0)
		net_stream_close(s, "the name has no IP address");
	else
		dial_next(s);
}

static void resolve_start(struct net_stream *s, const char *host)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_family = AF_UNSPEC };
	struct resolve *r = pk_alloc(sizeof(*r));
	sigset_t old;
	int rc;

	r->loop = s->loop;
	r->stream = s;
	s->dial->resolve = r;
	loop_pool_mask(&old);
	rc = uv_getaddrinfo(&s->loop->uv, &r->uv, on_uv_resolved, host, NULL, &hints);
	loop_pool_unmask(&old);
	if (rc != 0) {
		s->dial->resolve = NULL;
		free(r);
		net_stream_close(s, "%s", uv_strerror(rc));
	}
}

struct net_stream *net_connect(struct net_loop *l, const struct net_connect_opts *opts,
			       const struct net_stream_ops *ops, void *owner)
{
	struct net_stream *s = stream_new(l, &opts->limits);
	struct dial *d = pk_alloc(sizeof(*d));
	bool bare_v6 = strchr(opts->host, ':') != NULL;
	int64_t timeout_ms = opts->timeout_ms > 0 ? opts->timeout_ms : NET_CONNECT_TIMEOUT_MS;

	s->dial = d;
	d->text = pk_asprintf(bare_v6 ? "connect [%s]:%u" : "connect %s:%u", opts->host,
			      opts->port);
	d->tls = net_tls_ref(opts->tls);
	d->tls_name = pk_strdup(opts->tls_name != NULL ? opts->tls_name : opts->host);
	d->port = opts->port;
	d->deadline_ms = net_now_ms(l) + timeout_ms;
	net_stream_bind(s, ops, owner);
	if (net_addr_parse(&d->addrs[0], opts->host, opts->port, NULL) == 0) {
		d->addr_count = 1;
		dial_next(s);
	} else {
		stream_timer_start(s, timeout_ms);
		resolve_start(s, opts->host);
	}
	return s;
}
