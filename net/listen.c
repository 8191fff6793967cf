/*
 * Connections are accepted here and not by uv_listen: libuv 1.44 calls back without end, inside one
 * turn, when no descriptor is left and its one spare is gone too. Ours waits and tries again.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/stream_impl.h"

#define LISTENER_MAGIC   0x4c53544eu
#define ADDRS_MAX        16  /* of one host name */
#define ACCEPTS_PER_TURN 64  /* of one socket, so that a storm of clients does not stop the loop */
#define RETRY_MS         100 /* when there are no descriptors */
#define PORT_ZERO_TRIES  8   /* the port that the first address got may be taken on the second */

struct listen_socket {
	struct net_handle h;
	struct net_listener *listener;
	struct net_addr addr;
	int fd; /* closed together with the start of uv_close */
	uv_poll_t poll;
};

struct net_listener {
	uint32_t magic;
	bool closing;
	struct net_loop *loop;
	net_accept_f *accept;
	void *owner;
	struct listen_socket *sockets[ADDRS_MAX]; /* each freed in its close callback */
	size_t socket_count;
	size_t sockets_open; /* the listener lives while either is above 0 */
	size_t streams_open;
	size_t refused;
	size_t conns_max;
	struct net_timer *retry; /* runs while accepting rests; NULL mostly */
	struct net_tls *tls;
	bool sniff_tls;
	struct net_stream_limits limits;
};

static void listener_maybe_free(struct net_listener *n)
{
	if (!n->closing || n->sockets_open > 0 || n->streams_open > 0)
		return;
	net_tls_free(n->tls);
	n->magic = 0;
	free(n);
}

void listener_unref(struct net_listener *n, bool stream)
{
	PK_ASSERT(n->magic == LISTENER_MAGIC);
	if (stream) {
		PK_ASSERT(n->streams_open > 0);
		n->streams_open--;
	} else {
		PK_ASSERT(n->sockets_open > 0);
		n->sockets_open--;
	}
	listener_maybe_free(n);
}

static void on_socket_closed(uv_handle_t *uv)
{
	struct listen_socket *k = PK_CONTAINER(uv, struct listen_socket, poll);
	struct net_listener *n = k->listener;

	free(k);
	listener_unref(n, false);
}

static void socket_close(struct listen_socket *k)
{
	if (uv_is_closing((uv_handle_t *)&k->poll))
		return;
	uv_close((uv_handle_t *)&k->poll, on_socket_closed); /* stops polling at once */
	pk_ignore(close(k->fd), "nothing was written to it");
}

static void retry_stop(struct net_listener *n)
{
	net_timer_free(n->retry);
	n->retry = NULL;
}

static void socket_abandon(struct net_handle *h)
{
	struct listen_socket *k = (struct listen_socket *)(void *)h;

	PK_ASSERT(h->magic == LISTENER_MAGIC);
	k->listener->closing = true;
	retry_stop(k->listener);
	socket_close(k);
}

static void on_poll(uv_poll_t *uv, int status, int events);

static void on_retry(void *owner)
{
	struct net_listener *n = owner;

	PK_ASSERT(n->magic == LISTENER_MAGIC && !n->closing);
	retry_stop(n);
	for (size_t i = 0; i < n->socket_count; i++) {
		int rc = uv_poll_start(&n->sockets[i]->poll, UV_READABLE, on_poll);

		PK_ASSERT(rc == 0);
	}
}

/* No descriptors, or no memory in the kernel: the clients wait in its queue, and so do we. */
static void rest(struct net_listener *n)
{
	n->refused++;
	if (n->retry != NULL)
		return;
	for (size_t i = 0; i < n->socket_count; i++) {
		int rc = uv_poll_stop(&n->sockets[i]->poll);

		PK_ASSERT(rc == 0);
	}
	n->retry = net_timer_new(n->loop, on_retry, n);
	net_timer_start(n->retry, RETRY_MS, 0);
}

static void accepted(struct net_listener *n, int fd, const struct sockaddr *peer)
{
	struct net_stream *s = stream_new(n->loop, &n->limits);
	int rc;

	s->listener = n;
	n->streams_open++;
	rc = uv_tcp_open(&s->tcp, fd);
	if (rc != 0) {
		pk_ignore(close(fd), "not taken by libuv");
		net_stream_close(s, "accept: %s", uv_strerror(rc));
		return;
	}
	rc = net_addr_from_sockaddr(&s->peer, peer, NULL);
	PK_ASSERT(rc == 0); /* the listening socket is one of these families */
	if (n->conns_max > 0 && n->streams_open > n->conns_max) {
		n->refused++;
		net_stream_close(s, "over %zu connections", n->conns_max);
		return;
	}
	n->accept(n->owner, s);
	if (s->state == STREAM_CLOSED)
		return;
	if (s->ops == NULL)
		net_stream_close(s, "not wanted");
	else
		stream_start(s, n->tls, true, n->sniff_tls, NULL);
}

static void on_poll(uv_poll_t *uv, int status, int events)
{
	struct listen_socket *k = PK_CONTAINER(uv, struct listen_socket, poll);
	struct net_listener *n = k->listener;

	PK_ASSERT(n->magic == LISTENER_MAGIC);
	pk_ignore(events, "readable is all that was asked for");
	pk_ignore(status, "accept tells what is wrong");
	loop_enter(n->loop);
	for (int i = 0; i < ACCEPTS_PER_TURN && !n->closing; i++) {
		struct sockaddr_storage ss;
		socklen_t len = sizeof(ss);
		int fd = accept4(k->fd, (struct sockaddr *)&ss, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			accepted(n, fd, (struct sockaddr *)&ss);
		} else if (errno == EAGAIN) {
			return;
		} else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
			   errno == ENOMEM) {
			rest(n);
			return;
		} /* else this one client is gone: the next */
	}
}

/* A bound, listening descriptor, or minus errno. */
static int fd_listen(const struct net_addr *addr, bool v6_only, int backlog)
{
	int on = 1, only = v6_only, fd, e;
	struct sockaddr_storage ss;
	socklen_t len = net_addr_to_sockaddr(addr, &ss);

	fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
	    (ss.ss_family != AF_INET6 ||
	     setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only)) == 0) &&
	    bind(fd, (struct sockaddr *)&ss, len) == 0 && listen(fd, backlog) == 0)
		return fd;
	e = errno;
	pk_ignore(close(fd), "never used");
	return -e;
}

/* 0 or minus errno, which on Linux is libuv's code too. */
static int socket_open(struct net_listener *n, const struct net_addr *addr, bool v6_only,
		       int backlog)
{
	int fd = fd_listen(addr, v6_only, backlog), rc;
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	struct listen_socket *k;

	if (fd < 0)
		return fd;
	k = pk_alloc(sizeof(*k));
	k->h = (struct net_handle){ .magic = LISTENER_MAGIC, .abandon = socket_abandon };
	k->listener = n;
	k->fd = fd;
	rc = getsockname(fd, (struct sockaddr *)&ss, &len);
	PK_ASSERT(rc == 0);
	rc = net_addr_from_sockaddr(&k->addr, (struct sockaddr *)&ss, NULL);
	PK_ASSERT(rc == 0);
	rc = uv_poll_init(&n->loop->uv, &k->poll, fd);
	if (rc != 0) {
		pk_ignore(close(fd), "never used");
		free(k);
		return rc;
	}
	k->poll.data = &k->h;
	n->sockets_open++;
	n->sockets[n->socket_count++] = k;
	rc = uv_poll_start(&k->poll, UV_READABLE, on_poll);
	PK_ASSERT(rc == 0);
	return 0;
}

static void sockets_close(struct net_listener *n)
{
	for (size_t i = 0; i < n->socket_count; i++)
		socket_close(n->sockets[i]);
	n->socket_count = 0;
}

/* Every address of the name, each once. */
static int addrs_of(const char *host, uint16_t port, enum net_family family,
		    struct net_addr addrs[ADDRS_MAX], size_t *count, struct pk_err *err)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE };
	struct addrinfo *found = NULL;
	int rc;

	hints.ai_family = family == NET_V4_ONLY   ? AF_INET
			  : family == NET_V6_ONLY ? AF_INET6
						  : AF_UNSPEC;
	rc = getaddrinfo(host, NULL, &hints, &found);
	if (rc != 0)
		return pk_err_set(err, PK_EINVAL, "listen on %s: %s", host, gai_strerror(rc));
	*count = 0;
	for (struct addrinfo *i = found; i != NULL && *count < ADDRS_MAX; i = i->ai_next) {
		struct net_addr a;
		bool seen = false;

		if (net_addr_from_sockaddr(&a, i->ai_addr, NULL) != 0)
			continue;
		a.port = port;
		for (size_t j = 0; j < *count; j++)
			seen = seen || net_addr_ip_eq(&addrs[j], &a);
		if (!seen)
			addrs[(*count)++] = a;
	}
	freeaddrinfo(found);
	return 0;
}

/* One try at all addresses. UV_EADDRINUSE may be bad luck with port 0. */
static int listen_all(struct net_listener *n, const struct net_addr *addrs, size_t count,
		      bool v6_only, int backlog, size_t *failed)
{
	uint16_t port = addrs[0].port;
	int rc, missing = 0;

	for (size_t i = 0; i < count; i++) {
		struct net_addr a = addrs[i];

		if (a.port == 0)
			a.port = port;
		rc = socket_open(n, &a, v6_only, backlog);
		if (rc == UV_EADDRNOTAVAIL || rc == UV_EAFNOSUPPORT) {
			/* "localhost" has ::1 also where IPv6 is switched off */
			missing = rc;
			*failed = i;
			continue;
		}
		if (rc != 0) {
			*failed = i;
			return rc;
		}
		port = n->sockets[n->socket_count - 1]->addr.port;
	}
	return n->socket_count > 0 ? 0 : missing;
}

struct net_listener *net_listen(struct net_loop *l, const struct net_listen_opts *opts,
				net_accept_f *accept, void *owner, struct pk_err *err)
{
	struct net_addr addrs[ADDRS_MAX] = { 0 };
	bool every = opts->host == NULL || opts->host[0] == '\0';
	int backlog = opts->backlog > 0 ? opts->backlog : NET_BACKLOG;
	bool v6_only = !every || opts->family == NET_V6_ONLY;
	size_t count = 1, failed = 0;
	char text[NET_ADDR_TEXT_BYTES];
	struct net_listener *n;
	int rc = 0;

	PK_ASSERT(accept != NULL);
	PK_ASSERT(opts->tls != NULL || !opts->sniff_tls);
	if (every) {
		addrs[0].ip_bytes = opts->family == NET_V4_ONLY ? 4 : 16;
		addrs[0].port = opts->port;
	} else if (addrs_of(opts->host, opts->port, opts->family, addrs, &count, err) != 0) {
		return NULL;
	}
	if (count == 0) {
		pk_ignore(pk_err_set(err, PK_EINVAL, "listen on %s: no IP address", opts->host),
			  "NULL tells it");
		return NULL;
	}
	n = pk_alloc(sizeof(*n));
	n->magic = LISTENER_MAGIC;
	n->loop = l;
	n->accept = accept;
	n->owner = owner;
	n->conns_max = opts->conns_max;
	n->tls = net_tls_ref(opts->tls);
	n->sniff_tls = opts->sniff_tls;
	n->limits = opts->limits;
	for (int tries = 0; tries < PORT_ZERO_TRIES; tries++) {
		rc = listen_all(n, addrs, count, v6_only, backlog, &failed);
		if (every && opts->family == NET_ANY_FAMILY &&
		    (rc == UV_EAFNOSUPPORT || rc == UV_EADDRNOTAVAIL)) {
			addrs[0].ip_bytes = 4; /* a kernel without IPv6 */
			rc = listen_all(n, addrs, count, false, backlog, &failed);
		}
		if (rc == 0)
			return n;
		sockets_close(n);
		if (rc != UV_EADDRINUSE || opts->port != 0 || count == 1)
			break;
	}
	pk_ignore(net_err_uv(err, rc, "listen on %s", net_addr_text(&addrs[failed], text)),
		  "NULL tells it");
	net_listener_close(n);
	return NULL;
}

uint16_t net_listener_port(const struct net_listener *n)
{
	PK_ASSERT(n->magic == LISTENER_MAGIC && n->socket_count > 0);
	return n->sockets[0]->addr.port;
}

size_t net_listener_addr_count(const struct net_listener *n)
{
	PK_ASSERT(n->magic == LISTENER_MAGIC);
	return n->socket_count;
}

const struct net_addr *net_listener_addr(const struct net_listener *n, size_t i)
{
	PK_ASSERT(n->magic == LISTENER_MAGIC && i < n->socket_count);
	return &n->sockets[i]->addr;
}

size_t net_listener_refused(const struct net_listener *n)
{
	PK_ASSERT(n->magic == LISTENER_MAGIC);
	return n->refused;
}

void net_listener_close(struct net_listener *n)
{
	if (n == NULL)
		return;
	PK_ASSERT(n->magic == LISTENER_MAGIC && !n->closing);
	n->closing = true;
	retry_stop(n);
	sockets_close(n);
	listener_maybe_free(n);
}
