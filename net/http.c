/*
 * libmicrohttpd was chosen over libwebsockets: it runs as a guest in a foreign loop through one
 * epoll descriptor and one timeout, has no global state, and bounds connections, headers and idle
 * time by option. Its TLS would be GnuTLS, which we do not want beside OpenSSL, so it is not used.
 */
#include "net/http.h"

#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "net/loop_impl.h"

#define HTTP_MAGIC            0x48545450u
#define REQ_MAGIC             0x48525551u
#define HTTP_CONNS_MAX        256
#define HTTP_HEADER_BYTES_MAX (32u * 1024)
#define HTTP_BODY_BYTES_MAX   (1024u * 1024)
#define HTTP_IDLE_S           30
#define HTTP_BACKLOG          128
#define REPLY_HEADERS_MAX     16

enum req_state {
	REQ_BODY,     /* its body is arriving */
	REQ_HANDLER,  /* the handler has it, on libmicrohttpd's stack */
	REQ_WAITING,  /* the handler kept it: the connection is suspended */
	REQ_REPLIED,  /* `response` is there and not yet queued */
	REQ_ANSWERED, /* with libmicrohttpd until it is sent */
};

struct net_http_req {
	uint32_t magic;
	enum req_state state;
	struct net_http *http;
	struct MHD_Connection *conn;
	char *method;
	char *path;
	struct pk_buf body;
	struct net_addr peer;
	struct MHD_Response *response;
	unsigned status;
	size_t header_count;
	struct {
		char *name, *value;
	} headers[REPLY_HEADERS_MAX];
	TAILQ_ENTRY(net_http_req) link;
};

TAILQ_HEAD(net_http_reqs, net_http_req);

struct net_http {
	struct net_handle h;
	struct net_loop *loop;
	net_http_f *handler;
	void *owner;
	struct MHD_Daemon *daemon;
	struct net_timer *timer;
	struct net_http_reqs reqs;
	size_t body_bytes_max;
	uint16_t port;
	bool closing;
	uv_poll_t poll; /* on libmicrohttpd's own epoll descriptor */
};

static struct net_http_req *req_check(const struct net_http_req *r)
{
	PK_ASSERT(r != NULL && r->magic == REQ_MAGIC);
	return (struct net_http_req *)(uintptr_t)r;
}

/* ---- a request ------------------------------------------------------------------------------- */

static struct net_http_req *req_new(struct net_http *h, struct MHD_Connection *conn,
				    const char *method, const char *path)
{
	struct net_http_req *r = pk_alloc(sizeof(*r));
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(
		conn, MHD_CONNECTION_INFO_CLIENT_ADDRESS);

	r->magic = REQ_MAGIC;
	r->http = h;
	r->conn = conn;
	r->method = pk_strdup(method);
	r->path = pk_strdup(path);
	if (info != NULL && info->client_addr != NULL)
		pk_ignore(net_addr_from_sockaddr(&r->peer, info->client_addr, NULL),
			  "no address shows as unknown");
	TAILQ_INSERT_TAIL(&h->reqs, r, link);
	return r;
}

static void req_free(struct net_http_req *r)
{
	TAILQ_REMOVE(&r->http->reqs, r, link);
	if (r->response != NULL)
		MHD_destroy_response(r->response);
	for (size_t i = 0; i < r->header_count; i++) {
		free(r->headers[i].name);
		free(r->headers[i].value);
	}
	free(r->method);
	free(r->path);
	pk_buf_release(&r->body);
	r->magic = 0;
	free(r);
}

const char *net_http_method(const struct net_http_req *r)
{
	return req_check(r)->method;
}

const char *net_http_path(const struct net_http_req *r)
{
	return req_check(r)->path;
}

struct pk_bytes net_http_body(const struct net_http_req *r)
{
	return pk_buf_bytes(&req_check(r)->body);
}

const struct net_addr *net_http_peer(const struct net_http_req *r)
{
	return &req_check(r)->peer;
}

const char *net_http_header(struct net_http_req *r, const char *name)
{
	return MHD_lookup_connection_value(req_check(r)->conn, MHD_HEADER_KIND, name);
}

struct each {
	net_http_param_f *call;
	void *arg;
};

static enum MHD_Result on_value(void *arg, enum MHD_ValueKind kind, const char *name,
				const char *value)
{
	struct each *e = arg;

	(void)kind;
	return e->call(e->arg, name, value) ? MHD_YES : MHD_NO;
}

void net_http_query_each(struct net_http_req *r, net_http_param_f *each, void *arg)
{
	struct each e = { .call = each, .arg = arg };

	pk_ignore(
		MHD_get_connection_values(req_check(r)->conn, MHD_GET_ARGUMENT_KIND, on_value, &e),
		"their number");
}

struct lookup {
	const char *name;
	const char *value;
};

static bool on_lookup(void *arg, const char *name, const char *value)
{
	struct lookup *w = arg;

	if (strcmp(name, w->name) != 0)
		return true;
	w->value = value != NULL ? value : "";
	return false;
}

const char *net_http_query(struct net_http_req *r, const char *name)
{
	struct lookup w = { .name = name };

	net_http_query_each(r, on_lookup, &w);
	return w.value;
}

/* ---- a reply --------------------------------------------------------------------------------- */

int net_http_reply_header(struct net_http_req *r, const char *name, const char *value,
			  struct pk_err *err)
{
	req_check(r);
	PK_ASSERT(r->state == REQ_HANDLER || r->state == REQ_WAITING);
	if (name[0] == '\0' || strpbrk(name, "\r\n\t :") != NULL || strpbrk(value, "\r\n") != NULL)
		return pk_err_set(err, PK_EINVAL, "header %.40s: not a name and a one-line value",
				  name);
	if (r->header_count == REPLY_HEADERS_MAX)
		return pk_err_set(err, PK_ELIMIT, "over %d reply headers", REPLY_HEADERS_MAX);
	r->headers[r->header_count].name = pk_strdup(name);
	r->headers[r->header_count++].value = pk_strdup(value);
	return 0;
}

static struct MHD_Response *response_new(struct pk_bytes body)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(
		body.len, (void *)(uintptr_t)body.data, MHD_RESPMEM_MUST_COPY);

	PK_ASSERT(response != NULL); /* only without memory */
	return response;
}

void net_http_reply(struct net_http_req *r, unsigned status, const char *content_type,
		    struct pk_bytes body)
{
	req_check(r);
	PK_ASSERT(r->state == REQ_HANDLER || r->state == REQ_WAITING);
	PK_ASSERT(status >= 200 && status <= 599);
	r->response = response_new(body);
	r->status = status;
	if (content_type != NULL &&
	    MHD_add_response_header(r->response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type) !=
		    MHD_YES)
		LOG_WARN("http.header_refused", "name=Content-Type value=%s", content_type);
	for (size_t i = 0; i < r->header_count; i++) {
		if (MHD_add_response_header(r->response, r->headers[i].name, r->headers[i].value) !=
		    MHD_YES)
			LOG_WARN("http.header_refused", "name=%s", r->headers[i].name);
	}
	if (r->state == REQ_WAITING) {
		MHD_resume_connection(r->conn); /* on_request comes again in the next run */
		if (!r->http->closing)
			net_timer_start(r->http->timer, 0, 0);
	}
	r->state = REQ_REPLIED;
}

static enum MHD_Result refuse(struct MHD_Connection *conn, unsigned status, const char *text)
{
	struct MHD_Response *response = response_new(pk_bytes_str(text));
	enum MHD_Result rc = MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");

	if (rc == MHD_YES)
		rc = MHD_queue_response(conn, status, response);
	MHD_destroy_response(response);
	return rc;
}

static enum MHD_Result req_queue(struct net_http_req *r)
{
	enum MHD_Result rc = MHD_queue_response(r->conn, r->status, r->response);

	PK_ASSERT(r->state == REQ_REPLIED);
	r->state = REQ_ANSWERED;
	MHD_destroy_response(r->response); /* our reference */
	r->response = NULL;
	return rc;
}

/* ---- libmicrohttpd's callbacks ------------------------------------------------------------------
 */

static bool body_too_long(struct net_http *h, struct MHD_Connection *conn)
{
	const char *text = MHD_lookup_connection_value(conn, MHD_HEADER_KIND,
						       MHD_HTTP_HEADER_CONTENT_LENGTH);

	/* libmicrohttpd has checked that it is a number */
	return text != NULL && strtoull(text, NULL, 10) > h->body_bytes_max;
}

/* Called with the headers, then for each part of the body, then with none left; again when resumed.
 */
static enum MHD_Result on_request(void *arg, struct MHD_Connection *conn, const char *url,
				  const char *method, const char *version, const char *upload,
				  size_t *upload_bytes, void **state)
{
	struct net_http *h = arg;
	struct net_http_req *r = *state;

	(void)version;
	if (r == NULL) {
		if (body_too_long(h, conn))
			return refuse(conn, MHD_HTTP_CONTENT_TOO_LARGE, "request body too long\n");
		*state = req_new(h, conn, method, url);
		return MHD_YES;
	}
	req_check(r);
	if (*upload_bytes > 0) {
		if (*upload_bytes > h->body_bytes_max - r->body.len)
			return MHD_NO; /* chunked, or more than announced: closes the connection */
		pk_buf_add(&r->body, upload, *upload_bytes);
		*upload_bytes = 0;
		return MHD_YES;
	}
	if (r->state == REQ_BODY) {
		if (h->closing)
			return refuse(conn, MHD_HTTP_SERVICE_UNAVAILABLE, "stopping\n");
		r->state = REQ_HANDLER;
		h->handler(h->owner, r);
		if (r->state == REQ_HANDLER) {
			r->state = REQ_WAITING;
			MHD_suspend_connection(conn);
			return MHD_YES;
		}
	}
	return r->state == REQ_REPLIED ? req_queue(r) : MHD_YES;
}

static void on_completed(void *arg, struct MHD_Connection *conn, void **state,
			 enum MHD_RequestTerminationCode why)
{
	(void)arg;
	(void)conn;
	(void)why;
	if (*state != NULL)
		req_free(req_check(*state));
	*state = NULL;
}

static void PK_PRINTF(2, 0) on_library_log(void *arg, const char *fmt, va_list ap)
{
	char text[256];

	(void)arg;
	vsnprintf(text, sizeof(text), fmt, ap);
	text[strcspn(text, "\n")] = '\0';
	LOG_DEBUG("http.library", "text=%s", text);
}

/* ---- the loop's side ------------------------------------------------------------------------- */

static unsigned conns_now(struct net_http *h)
{
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(h->daemon,
							       MHD_DAEMON_INFO_CURRENT_CONNECTIONS);

	return info != NULL ? info->num_connections : 0;
}

static void http_run(struct net_http *h)
{
	MHD_UNSIGNED_LONG_LONG ms;
	unsigned before;

	/* A connection that ended may have made room for one that waits to be accepted, which
	 * libmicrohttpd looks at in its next run only. */
	do {
		if (h->closing) /* perhaps by the handler */
			return;
		before = conns_now(h);
		if (MHD_run(h->daemon) != MHD_YES)
			LOG_ERROR("http.run_failed", "port=%u", h->port);
	} while (conns_now(h) < before);
	if (h->closing)
		return;
	if (MHD_get_timeout(h->daemon, &ms) == MHD_YES)
		net_timer_start(h->timer, ms > 60000 ? 60000 : (int64_t)ms, 0);
	else
		net_timer_stop(h->timer);
}

static void on_poll(uv_poll_t *uv, int status, int events)
{
	struct net_http *h = PK_CONTAINER(uv, struct net_http, poll);

	(void)events;
	PK_ASSERT(h->h.magic == HTTP_MAGIC);
	loop_enter(h->loop);
	if (status < 0)
		LOG_ERROR("http.poll_failed", "port=%u why=%s", h->port, uv_strerror(status));
	http_run(h);
}

static void on_http_timer(void *owner)
{
	struct net_http *h = owner;

	PK_ASSERT(h->h.magic == HTTP_MAGIC);
	http_run(h);
}

/* Off libmicrohttpd's stack: answers that are owed go out as far as the sockets take them. */
static void on_poll_closed(uv_handle_t *uv)
{
	struct net_http *h = PK_CONTAINER(uv, struct net_http, poll);
	struct net_http_req *r;

	TAILQ_FOREACH (r, &h->reqs, link) {
		if (r->state == REQ_WAITING)
			net_http_reply(r, MHD_HTTP_SERVICE_UNAVAILABLE, "text/plain",
				       pk_bytes_str("stopping\n"));
	}
	for (int i = 0; i < 2; i++) /* once to wake the waiting, once to write */
		pk_ignore(MHD_run(h->daemon), "stopping anyway");
	MHD_stop_daemon(h->daemon);
	PK_ASSERT(TAILQ_EMPTY(&h->reqs));
	h->h.magic = 0;
	free(h);
}

static void http_abandon(struct net_handle *handle)
{
	net_http_close((struct net_http *)(void *)handle);
}

void net_http_close(struct net_http *h)
{
	if (h == NULL)
		return;
	PK_ASSERT(h->h.magic == HTTP_MAGIC && !h->closing);
	h->closing = true;
	net_timer_free(h->timer);
	uv_close((uv_handle_t *)&h->poll, on_poll_closed);
}

/* ---- listening ------------------------------------------------------------------------------- */

static int socket_listen(const struct addrinfo *i, int *out, struct pk_err *err)
{
	int on = 1, off = 0;
	int fd = socket(i->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return pk_err_sys(err, errno, "socket");
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
	    (i->ai_family == AF_INET6 &&
	     setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) != 0) ||
	    bind(fd, i->ai_addr, i->ai_addrlen) != 0 || listen(fd, HTTP_BACKLOG) != 0) {
		int e = errno;

		pk_ignore(close(fd), "never used");
		if (e == EADDRINUSE)
			return pk_err_set(err, PK_EEXIST, "address already in use");
		return pk_err_sys(err, e, "bind");
	}
	*out = fd;
	return 0;
}

static int listen_any(const struct net_http_opts *opts, int *fd, struct pk_err *err)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
				  .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
	bool every = opts->host == NULL || opts->host[0] == '\0';
	const char *hosts[] = { every ? "::" : opts->host, every ? "0.0.0.0" : NULL };
	char port[8];
	int rc = 0;

	snprintf(port, sizeof(port), "%u", opts->port);
	/* The first address that can be had; "::" takes IPv4 too, where IPv6 exists. */
	for (size_t i = 0; i < PK_COUNT(hosts) && hosts[i] != NULL; i++) {
		struct addrinfo *found = NULL;

		rc = getaddrinfo(hosts[i], port, &hints, &found);
		if (rc != 0) {
			rc = pk_err_set(err, PK_EINVAL, "%s", gai_strerror(rc));
			continue;
		}
		rc = pk_err_set(err, PK_EINVAL, "no IP address");
		for (struct addrinfo *a = found; a != NULL && rc != 0 && rc != PK_EEXIST;
		     a = a->ai_next)
			rc = socket_listen(a, fd, err);
		freeaddrinfo(found);
		if (rc == 0 || rc == PK_EEXIST)
			break;
	}
	if (rc != 0)
		return pk_err_wrap(err, "listen for HTTP on %s:%u", every ? "*" : opts->host,
				   opts->port);
	return 0;
}

struct net_http *net_http_listen(struct net_loop *l, const struct net_http_opts *opts,
				 net_http_f *handler, void *owner, struct pk_err *err)
{
	const union MHD_DaemonInfo *info;
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	struct net_addr bound;
	struct net_http *h;
	int fd = -1, rc;

	PK_ASSERT(handler != NULL);
	if (listen_any(opts, &fd, err) != 0)
		return NULL;
	rc = getsockname(fd, (struct sockaddr *)&ss, &len);
	PK_ASSERT(rc == 0);
	rc = net_addr_from_sockaddr(&bound, (struct sockaddr *)&ss, err);
	PK_ASSERT(rc == 0);
	h = pk_alloc(sizeof(*h));
	h->h = (struct net_handle){ .magic = HTTP_MAGIC, .abandon = http_abandon };
	h->loop = l;
	h->handler = handler;
	h->owner = owner;
	h->port = bound.port;
	h->body_bytes_max = opts->body_bytes_max > 0 ? opts->body_bytes_max : HTTP_BODY_BYTES_MAX;
	TAILQ_INIT(&h->reqs);
	h->daemon = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_USE_ERROR_LOG | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL,
		on_request, h, MHD_OPTION_EXTERNAL_LOGGER, on_library_log, NULL,
		MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
		(unsigned)(opts->conns_max > 0 ? opts->conns_max : HTTP_CONNS_MAX),
		MHD_OPTION_CONNECTION_MEMORY_LIMIT,
		opts->header_bytes_max > 0 ? opts->header_bytes_max : (size_t)HTTP_HEADER_BYTES_MAX,
		MHD_OPTION_CONNECTION_TIMEOUT,
		opts->idle_timeout_s > 0 ? opts->idle_timeout_s : (unsigned)HTTP_IDLE_S,
		MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL, MHD_OPTION_END);
	if (h->daemon == NULL) {
		/* It may have closed the socket, or not: leaving it is safer than closing
		 * another's. */
		pk_ignore(pk_err_set(err, PK_EIO, "HTTP on port %u: the library did not start",
				     h->port),
			  "NULL tells it");
		free(h);
		return NULL;
	}
	info = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	PK_ASSERT(info != NULL && info->epoll_fd >= 0);
	rc = uv_poll_init(&l->uv, &h->poll, info->epoll_fd);
	PK_ASSERT(rc == 0);
	h->poll.data = &h->h;
	h->timer = net_timer_new(l, on_http_timer, h);
	rc = uv_poll_start(&h->poll, UV_READABLE, on_poll);
	PK_ASSERT(rc == 0);
	return h;
}

uint16_t net_http_port(const struct net_http *h)
{
	PK_ASSERT(h->h.magic == HTTP_MAGIC);
	return h->port;
}
