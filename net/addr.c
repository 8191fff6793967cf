#include "net/addr.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

static const uint8_t v4_mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

static void set_v6(struct net_addr *a, const uint8_t ip[16])
{
	if (memcmp(ip, v4_mapped, sizeof(v4_mapped)) == 0) {
		memcpy(a->ip, ip + sizeof(v4_mapped), 4);
		a->ip_bytes = 4;
	} else {
		memcpy(a->ip, ip, 16);
		a->ip_bytes = 16;
	}
}

static bool number_parse(const char *text, unsigned long most, unsigned long *out)
{
	char *end;

	if (text[0] < '0' || text[0] > '9' || strlen(text) > 10)
		return false;
	*out = strtoul(text, &end, 10);
	return *end == '\0' && *out <= most;
}

int net_addr_parse(struct net_addr *out, const char *ip, uint16_t port, struct pk_err *err)
{
	struct net_addr a = { .port = port };
	char text[NET_ADDR_TEXT_BYTES];
	uint8_t raw[16];
	char *scope;

	if (strlen(ip) >= sizeof(text))
		return pk_err_set(err, PK_EINVAL, "%.40s...: not an IP address", ip);
	strcpy(text, ip);
	scope = strchr(text, '%');
	if (scope != NULL) {
		unsigned long id;

		*scope++ = '\0';
		if (number_parse(scope, UINT32_MAX, &id))
			a.scope_id = (uint32_t)id;
		else
			a.scope_id = if_nametoindex(scope);
		if (a.scope_id == 0)
			return pk_err_set(err, PK_EINVAL, "%s: no such interface", ip);
	}
	if (inet_pton(AF_INET6, text, raw) == 1) {
		set_v6(&a, raw);
	} else if (scope == NULL && inet_pton(AF_INET, text, raw) == 1) {
		memcpy(a.ip, raw, 4);
		a.ip_bytes = 4;
	} else {
		return pk_err_set(err, PK_EINVAL, "%s: not an IP address", ip);
	}
	*out = a;
	return 0;
}

int net_host_port_parse(const char *text, int port_default, char *host, size_t host_bytes,
			uint16_t *port, struct pk_err *err)
{
	const char *from = text, *end, *port_text = NULL;
	unsigned long number = 0;

	if (text[0] == '[') {
		from = text + 1;
		end = strchr(from, ']');
		if (end == NULL)
			return pk_err_set(err, PK_EINVAL, "%s: want a ] after the address", text);
		if (end[1] == ':')
			port_text = end + 2;
		else if (end[1] != '\0')
			return pk_err_set(err, PK_EINVAL, "%s: want [address]:port", text);
	} else {
		end = strrchr(text, ':');
		if (end != NULL && strchr(text, ':') == end)
			port_text = end + 1;
		else
			end = text + strlen(text); /* no colon, or a bare IPv6 address */
	}
	if (end == from)
		return pk_err_set(err, PK_EINVAL, "%s: no host", text);
	if ((size_t)(end - from) >= host_bytes)
		return pk_err_set(err, PK_EINVAL, "%.40s...: host name too long", text);
	if (port_text == NULL) {
		if (port_default < 0)
			return pk_err_set(err, PK_EINVAL, "%s: want host:port", text);
		number = (unsigned long)port_default;
	} else if (!number_parse(port_text, UINT16_MAX, &number)) {
		return pk_err_set(err, PK_EINVAL, "%s: the port is not a number up to 65535", text);
	}
	memcpy(host, from, (size_t)(end - from));
	host[end - from] = '\0';
	*port = (uint16_t)number;
	return 0;
}

int net_addr_from_sockaddr(struct net_addr *out, const struct sockaddr *sa, struct pk_err *err)
{
	struct net_addr a = { 0 };

	if (sa->sa_family == AF_INET) {
		struct sockaddr_in in;

		memcpy(&in, sa, sizeof(in));
		memcpy(a.ip, &in.sin_addr, 4);
		a.ip_bytes = 4;
		a.port = ntohs(in.sin_port);
	} else if (sa->sa_family == AF_INET6) {
		struct sockaddr_in6 in6;

		memcpy(&in6, sa, sizeof(in6));
		set_v6(&a, in6.sin6_addr.s6_addr);
		a.port = ntohs(in6.sin6_port);
		a.scope_id = in6.sin6_scope_id;
	} else {
		return pk_err_set(err, PK_EINVAL, "address family %d is not IPv4 or IPv6",
				  sa->sa_family);
	}
	*out = a;
	return 0;
}

socklen_t net_addr_to_sockaddr(const struct net_addr *a, struct sockaddr_storage *out)
{
	PK_ASSERT(a->ip_bytes == 4 || a->ip_bytes == 16);
	memset(out, 0, sizeof(*out));
	if (a->ip_bytes == 4) {
		struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(a->port) };

		memcpy(&in.sin_addr, a->ip, 4);
		memcpy(out, &in, sizeof(in));
		return sizeof(in);
	}
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6,
				    .sin6_port = htons(a->port),
				    .sin6_scope_id = a->scope_id };
	memcpy(&in6.sin6_addr, a->ip, 16);
	memcpy(out, &in6, sizeof(in6));
	return sizeof(in6);
}

const char *net_addr_ip_text(const struct net_addr *a, char out[NET_ADDR_TEXT_BYTES])
{
	if (a->ip_bytes == 0)
		return strcpy(out, "unknown");
	const char *rc = inet_ntop(a->ip_bytes == 4 ? AF_INET : AF_INET6, a->ip, out,
				   NET_ADDR_TEXT_BYTES);
	PK_ASSERT(rc == out);
	if (a->scope_id != 0) {
		size_t len = strlen(out);

		snprintf(out + len, NET_ADDR_TEXT_BYTES - len, "%%%u", a->scope_id);
	}
	return out;
}

const char *net_addr_text(const struct net_addr *a, char out[NET_ADDR_TEXT_BYTES])
{
	char ip[NET_ADDR_TEXT_BYTES];

	net_addr_ip_text(a, ip);
	if (a->ip_bytes == 0)
		return strcpy(out, ip);
	snprintf(out, NET_ADDR_TEXT_BYTES, a->ip_bytes == 4 ? "%.60s:%u" : "[%.60s]:%u", ip,
		 a->port);
	return out;
}

bool net_addr_ip_eq(const struct net_addr *a, const struct net_addr *b)
{
	return a->ip_bytes == b->ip_bytes && memcmp(a->ip, b->ip, a->ip_bytes) == 0;
}

bool net_addr_is_loopback(const struct net_addr *a)
{
	static const uint8_t v6_loopback[16] = { [15] = 1 };

	if (a->ip_bytes == 4)
		return a->ip[0] == 127;
	return a->ip_bytes == 16 && memcmp(a->ip, v6_loopback, 16) == 0;
}
