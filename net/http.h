/*
 * net/http.h - a small HTTP/1.1 server for admin pages, metrics and operator APIs.
 *
 * One listener, one handler; libmicrohttpd runs inside the loop, with no thread of its own. A
 * handler is called once per request, when its body has arrived. It answers with net_http_reply
 * now, or keeps `req` and answers in a later turn; until then the connection waits. A HEAD request
 * is answered like a GET, its body is left out.
 *
 * Refused before the handler sees it: headers over header_bytes_max (431 or closed), a body over
 * body_bytes_max (413; closed if it was not announced). Connections over conns_max wait in the
 * kernel's queue until one ends. A reply with its headers must fit header_bytes_max too, its body
 * not.
 */
#ifndef PK_NET_HTTP_H
#define PK_NET_HTTP_H

#include "net/addr.h"
#include "net/loop.h"

struct net_http;
struct net_http_req;

struct net_http_opts {
	const char *host;        /* name or address; NULL or "": every address, IPv6 and IPv4 */
	uint16_t port;           /* 0: the system chooses, see net_http_port */
	size_t conns_max;        /* 0: 256 */
	size_t header_bytes_max; /* 0: 32 KiB */
	size_t body_bytes_max;   /* 0: 1 MiB */
	unsigned idle_timeout_s; /* 0: 30 */
};

/* Owns req until it replies; req is gone after net_http_reply. */
typedef void net_http_f(void *owner, struct net_http_req *req);

/* NULL with err: PK_EINVAL unknown host, PK_EEXIST address in use, PK_EIO. */
struct net_http *net_http_listen(struct net_loop *l, const struct net_http_opts *opts,
				 net_http_f *handler, void *owner, struct pk_err *err);
uint16_t net_http_port(const struct net_http *h);
/* Requests that wait for a reply are answered 503; their req pointers are dead. NULL is allowed. */
void net_http_close(struct net_http *h);

/* All borrowed until the reply. */
const char *net_http_method(const struct net_http_req *r); /* "GET" */
const char *net_http_path(const struct net_http_req *r);   /* decoded, without the query */
const char *net_http_query(struct net_http_req *r, const char *name); /* decoded; NULL: not given */
/* Every query parameter in order; value may be NULL. Return false to stop. */
typedef bool net_http_param_f(void *arg, const char *name, const char *value);
void net_http_query_each(struct net_http_req *r, net_http_param_f *each, void *arg);
const char *net_http_header(struct net_http_req *r, const char *name); /* any case; or NULL */
struct pk_bytes net_http_body(const struct net_http_req *r);
const struct net_addr *net_http_peer(const struct net_http_req *r);

/* Add a header to the coming reply (copied). Line breaks in it are refused with PK_EINVAL. */
PK_CHECKED int net_http_reply_header(struct net_http_req *r, const char *name, const char *value,
				     struct pk_err *err);
/* Takes req; copies body. */
void net_http_reply(struct net_http_req *r, unsigned status, const char *content_type,
		    struct pk_bytes body);

#endif
