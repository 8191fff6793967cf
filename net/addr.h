/*
 * net/addr.h - an IP address and a port, compact, and always in one form: an IPv4 address that came
 * mapped into IPv6 (::ffff:1.2.3.4) is the IPv4 address.
 */
#ifndef PK_NET_ADDR_H
#define PK_NET_ADDR_H

#include <sys/socket.h>

#include "base/bytes.h"
#include "base/err.h"

struct net_addr {
	uint8_t ip[16];   /* the first ip_bytes count */
	uint8_t ip_bytes; /* 4, 16, or 0: no address */
	uint16_t port;
	uint32_t scope_id; /* of a link-local IPv6 address */
};

#define NET_ADDR_TEXT_BYTES 80 /* "[fe80::1%4294967295]:65535" and its NUL */

/* A numeric address such as "10.0.0.1", "::1", "fe80::1%2". PK_EINVAL for anything else. */
PK_CHECKED int net_addr_parse(struct net_addr *out, const char *ip, uint16_t port,
			      struct pk_err *err);
/*
 * "host:port", "[v6]:port" or "host" (port_default then; below 0 means that one is required). The
 * host part is copied to `host`, without brackets. PK_EINVAL.
 */
PK_CHECKED int net_host_port_parse(const char *text, int port_default, char *host,
				   size_t host_bytes, uint16_t *port, struct pk_err *err);
/* PK_EINVAL unless sa is AF_INET or AF_INET6. */
PK_CHECKED int net_addr_from_sockaddr(struct net_addr *out, const struct sockaddr *sa,
				      struct pk_err *err);
/* Returns the length; a.ip_bytes must not be 0. */
socklen_t net_addr_to_sockaddr(const struct net_addr *a, struct sockaddr_storage *out);
/* "127.0.0.1:2181" or "[::1]:2181"; "unknown" without an address. Returns `out`. */
const char *net_addr_text(const struct net_addr *a, char out[NET_ADDR_TEXT_BYTES]);
/* "127.0.0.1" or "::1". Returns `out`. */
const char *net_addr_ip_text(const struct net_addr *a, char out[NET_ADDR_TEXT_BYTES]);
bool net_addr_ip_eq(const struct net_addr *a, const struct net_addr *b);
bool net_addr_is_loopback(const struct net_addr *a);

#endif
