#include "store/server_spec.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <strings.h>

#include "base/mem.h"
#include "store/properties.h"

#define FORM "want host:port:port[:participant|observer][|...][;[host:]port]"

static struct pk_bytes trimmed(struct pk_bytes t)
{
	while (t.len > 0 && isspace(t.data[0])) {
		t.data++;
		t.len--;
	}
	while (t.len > 0 && isspace(t.data[t.len - 1]))
		t.len--;
	return t;
}

/* Cut `t` at the first `at`: the front is returned, *t keeps what is behind it. */
static struct pk_bytes cut(struct pk_bytes *t, char at)
{
	const uint8_t *p = t->len > 0 ? memchr(t->data, at, t->len) : NULL;
	size_t len = p != NULL ? (size_t)(p - t->data) : t->len;
	size_t used = p != NULL ? len + 1 : len;
	struct pk_bytes front = pk_bytes(t->data, len);

	t->data += used;
	t->len -= used;
	return front;
}

static bool port_of(struct pk_bytes t, uint16_t *out)
{
	uint32_t v = 0;

	if (t.len == 0 || t.len > 5)
		return false;
	for (size_t i = 0; i < t.len; i++) {
		if (!isdigit(t.data[i]))
			return false;
		v = v * 10 + (uint32_t)(t.data[i] - '0');
	}
	if (v == 0 || v > 65535)
		return false;
	*out = (uint16_t)v;
	return true;
}

static bool id_of(struct pk_bytes t, int64_t *out)
{
	int64_t v = 0;

	if (t.len == 0 || t.len > 18)
		return false;
	for (size_t i = 0; i < t.len; i++) {
		if (!isdigit(t.data[i]))
			return false;
		v = v * 10 + (t.data[i] - '0');
	}
	*out = v;
	return v > 0;
}

/*
 * An IPv6 address as Java shows it: eight groups, none left out, and one that stands for an IPv4
 * address as that. A zone ("%eth0") stays behind it.
 */
static bool host_expand(char host[SERVER_HOST_BYTES])
{
	struct in6_addr a;
	const uint8_t *b = a.s6_addr;
	char zone[SERVER_HOST_BYTES] = "";
	char *percent = strchr(host, '%');

	if (percent != NULL) {
		if (percent[1] == '\0' || strlen(percent) > 64)
			return false;
		memcpy(zone, percent, strlen(percent) + 1);
		*percent = '\0';
	}
	if (inet_pton(AF_INET6, host, &a) != 1)
		return false;
	memset(host, 0, SERVER_HOST_BYTES);
	if (IN6_IS_ADDR_V4MAPPED(&a)) {
		snprintf(host, SERVER_HOST_BYTES, "%u.%u.%u.%u", b[12], b[13], b[14], b[15]);
		return true;
	}
	snprintf(host, SERVER_HOST_BYTES, "%x:%x:%x:%x:%x:%x:%x:%x%.64s", b[0] << 8 | b[1],
		 b[2] << 8 | b[3], b[4] << 8 | b[5], b[6] << 8 | b[7], b[8] << 8 | b[9],
		 b[10] << 8 | b[11], b[12] << 8 | b[13], b[14] << 8 | b[15], zone);
	return true;
}

/* "host" or "[v6]" at the front of *t, with the ':' behind it; *t keeps the rest. */
static int host_take(struct pk_bytes *t, char host[SERVER_HOST_BYTES], struct pk_err *err)
{
	bool v6 = t->len > 0 && t->data[0] == '[';
	struct pk_bytes name;

	if (v6) {
		t->data++;
		t->len--;
		if (memchr(t->data, ']', t->len) == NULL)
			return pk_err_set(err, PK_EINVAL, "'[' without its ']'");
		name = cut(t, ']');
		if (t->len == 0 || t->data[0] != ':')
			return pk_err_set(err, PK_EINVAL, "want ':' and a port behind ']'");
		t->data++;
		t->len--;
		v6 = name.len > 0 &&
		     memchr(name.data, ':', name.len) != NULL; /* "[host]" is "host" */
	} else {
		name = cut(t, ':');
	}
	if (name.len == 0 || name.len >= SERVER_HOST_BYTES)
		return pk_err_set(err, PK_EINVAL, "host name of %zu bytes", name.len);
	for (size_t i = 0; i < name.len; i++) {
		uint8_t c = name.data[i];

		if (!isalnum(c) && c != '-' && c != '_' && c != '.' &&
		    !(v6 && (c == ':' || c == '%')))
			return pk_err_set(err, PK_EINVAL, "byte 0x%02x in a host name", c);
	}
	memset(host, 0, SERVER_HOST_BYTES);
	memcpy(host, name.data, name.len);
	if (v6 && !host_expand(host))
		return pk_err_set(err, PK_EINVAL, "no IPv6 address between '[' and ']'");
	return 0;
}

static bool is_word(struct pk_bytes t, const char *word)
{
	return t.len == strlen(word) && strncasecmp((const char *)t.data, word, t.len) == 0;
}

/* One ADDRESS. *role: -1 when it names none, else 1 for an observer and 0 for a participant. */
static int addr_parse(struct pk_bytes t, struct server_addr *a, int *role, struct pk_err *err)
{
	struct pk_bytes part;
	int rc = host_take(&t, a->host, err);

	if (rc != 0)
		return rc;
	part = cut(&t, ':');
	if (!port_of(part, &a->peer_port))
		return pk_err_set(err, PK_EINVAL, "peer port of %s: want 1 to 65535", a->host);
	part = cut(&t, ':');
	if (!port_of(part, &a->election_port))
		return pk_err_set(err, PK_EINVAL, "election port of %s: want 1 to 65535", a->host);
	if (a->peer_port == a->election_port)
		return pk_err_set(err, PK_EINVAL, "peer and election port of %s must differ",
				  a->host);
	t = trimmed(t);
	if (is_word(t, "observer"))
		*role = 1;
	else if (is_word(t, "participant"))
		*role = 0;
	else if (t.len == 0)
		*role = -1;
	else
		return pk_err_set(err, PK_EINVAL, "want participant or observer behind the ports");
	return 0;
}

static int client_parse(struct pk_bytes t, struct server_spec *s, struct pk_err *err)
{
	if (t.len > 0 && memchr(t.data, ':', t.len) != NULL) {
		int rc = host_take(&t, s->client_host, err);

		if (rc != 0)
			return rc;
	} else {
		memcpy(s->client_host, "0.0.0.0", sizeof("0.0.0.0"));
	}
	if (!port_of(t, &s->client_port))
		return pk_err_set(err, PK_EINVAL, "client port: want 1 to 65535");
	s->has_client = true;
	return 0;
}

static int addr_add(struct server_spec *s, const struct server_addr *a, struct pk_err *err)
{
	size_t at = s->addr_count;

	for (size_t i = 0; i < s->addr_count; i++) {
		if (strcmp(s->addrs[i].host, a->host) == 0 && s->addrs[i].peer_port == a->peer_port)
			return 0; /* the same address twice counts once, as in ZooKeeper */
	}
	if (s->addr_count == SERVER_ADDRS_MAX)
		return pk_err_set(err, PK_ELIMIT, "more than %d addresses", SERVER_ADDRS_MAX);
	while (at > 0 && strcmp(s->addrs[at - 1].host, a->host) > 0) {
		s->addrs[at] = s->addrs[at - 1];
		at--;
	}
	s->addrs[at] = *a;
	s->addr_count++;
	return 0;
}

static int spec_parse(struct server_spec *s, struct pk_bytes text, struct pk_err *err)
{
	struct pk_bytes addrs;
	int role = -1;
	int rc = 0;

	text = trimmed(text);
	addrs = cut(&text, ';');
	do {
		struct pk_bytes one = cut(&addrs, '|');
		struct server_addr a = { 0 };
		int its = -1;

		rc = addr_parse(one, &a, &its, err);
		if (rc == 0 && its >= 0 && role >= 0 && its != role)
			rc = pk_err_set(err, PK_EINVAL, "addresses of one server differ in role");
		if (rc == 0)
			rc = addr_add(s, &a, err);
		role = its >= 0 ? its : role;
	} while (rc == 0 && addrs.len > 0);
	s->observer = role == 1;
	if (rc == 0 && text.len > 0)
		rc = client_parse(text, s, err);
	return rc;
}

int server_spec_parse(struct server_spec *out, int64_t id, struct pk_bytes text, struct pk_err *err)
{
	struct server_spec s = { .id = id };
	int shown = (int)(text.len < 120 ? text.len : 120);
	int rc;

	PK_ASSERT(id > 0);
	rc = spec_parse(&s, text, err);
	if (rc != 0) {
		struct pk_err why = err != NULL ? *err : PK_ERR_INIT;

		return pk_err_set(err, rc, "server.%" PRId64 "=%.*s: %.200s; " FORM, id, shown,
				  text.len > 0 ? (const char *)text.data : "", why.text);
	}
	*out = s;
	return 0;
}

int64_t server_key_id(const char *key)
{
	int64_t id;

	if (strncmp(key, "server.", 7) != 0 || !id_of(pk_bytes_str(key + 7), &id))
		return -1;
	return id;
}

int server_spec_parse_line(struct server_spec *out, struct pk_bytes line, struct pk_err *err)
{
	struct pk_bytes rest = trimmed(line);
	struct pk_bytes key = trimmed(cut(&rest, '='));
	char name[32];
	int64_t id;

	snprintf(name, sizeof(name), "%.*s", (int)(key.len < 31 ? key.len : 31),
		 key.len > 0 ? (const char *)key.data : "");
	id = key.len < 31 ? server_key_id(name) : -1;
	if (id < 0)
		return pk_err_set(err, PK_EINVAL,
				  "%s: want server.N with a number above 0 and below 10^18", name);
	return server_spec_parse(out, id, rest, err);
}

static void host_format(const char *host, struct pk_buf *out)
{
	if (strchr(host, ':') != NULL)
		pk_buf_printf(out, "[%s]", host);
	else
		pk_buf_add_str(out, host);
}

void server_spec_format(const struct server_spec *s, struct pk_buf *out)
{
	for (size_t i = 0; i < s->addr_count; i++) {
		if (i > 0)
			pk_buf_add_str(out, "|");
		host_format(s->addrs[i].host, out);
		pk_buf_printf(out, ":%u:%u", s->addrs[i].peer_port, s->addrs[i].election_port);
	}
	pk_buf_add_str(out, s->observer ? ":observer" : ":participant");
	if (s->has_client) {
		pk_buf_add_str(out, ";");
		host_format(s->client_host, out);
		pk_buf_printf(out, ":%u", s->client_port);
	}
}

bool server_spec_eq(const struct server_spec *a, const struct server_spec *b)
{
	if (a->id != b->id || a->observer != b->observer || a->has_client != b->has_client ||
	    a->addr_count != b->addr_count)
		return false;
	if (a->has_client &&
	    (a->client_port != b->client_port || strcmp(a->client_host, b->client_host) != 0))
		return false;
	for (size_t i = 0; i < a->addr_count; i++) {
		if (strcmp(a->addrs[i].host, b->addrs[i].host) != 0 ||
		    a->addrs[i].peer_port != b->addrs[i].peer_port ||
		    a->addrs[i].election_port != b->addrs[i].election_port)
			return false;
	}
	return true;
}

bool server_host_is_loopback(const char *host)
{
	unsigned a, b, c, d;
	char end;

	if (strcasecmp(host, "localhost") == 0 || strcmp(host, "::1") == 0 ||
	    strcmp(host, "0:0:0:0:0:0:0:1") == 0)
		return true;
	return sscanf(host, "%3u.%3u.%3u.%3u%c", &a, &b, &c, &d, &end) == 4 && a == 127 &&
	       b < 256 && c < 256 && d < 256;
}

static bool is_wildcard(const char *host)
{
	return strcmp(host, "0.0.0.0") == 0 || strcmp(host, "0:0:0:0:0:0:0:0") == 0;
}

bool server_spec_is_loopback(const struct server_spec *s)
{
	for (size_t i = 0; i < s->addr_count; i++) {
		if (!server_host_is_loopback(s->addrs[i].host))
			return false;
	}
	return true;
}

/* All host:port pairs of a server: peer and election ports of each address, then the client's. */
#define PLACES_MAX (2 * SERVER_ADDRS_MAX + 1)
struct place {
	const char *host;
	uint16_t port;
};

static size_t places(const struct server_spec *s, struct place out[PLACES_MAX])
{
	size_t n = 0;

	for (size_t i = 0; i < s->addr_count; i++) {
		out[n++] = (struct place){ s->addrs[i].host, s->addrs[i].peer_port };
		out[n++] = (struct place){ s->addrs[i].host, s->addrs[i].election_port };
	}
	if (s->has_client)
		out[n++] = (struct place){ s->client_host, s->client_port };
	return n;
}

int server_spec_conflict(const struct server_spec *a, const struct server_spec *b,
			 struct pk_err *err)
{
	struct place pa[PLACES_MAX];
	struct place pb[PLACES_MAX];
	size_t na = places(a, pa);
	size_t nb = places(b, pb);

	for (size_t i = 0; i < na; i++) {
		if (is_wildcard(pa[i].host) || server_host_is_loopback(pa[i].host))
			continue;
		for (size_t j = 0; j < nb; j++) {
			if (pa[i].port == pb[j].port && strcasecmp(pa[i].host, pb[j].host) == 0)
				return pk_err_set(err, PK_EINVAL,
						  "server.%" PRId64 " and server.%" PRId64
						  " both claim %s:%u",
						  a->id, b->id, pa[i].host, pa[i].port);
		}
	}
	return 0;
}

void server_set_release(struct server_set *s)
{
	free(s->all);
	*s = SERVER_SET_INIT;
}

struct server_set server_set_copy(const struct server_set *s)
{
	struct server_set copy = *s;

	copy.all = pk_memdup(s->all, s->count * sizeof(*s->all));
	return copy;
}

const struct server_spec *server_set_find(const struct server_set *s, int64_t id)
{
	for (size_t i = 0; i < s->count; i++) {
		if (s->all[i].id == id)
			return &s->all[i];
	}
	return NULL;
}

size_t server_set_voters(const struct server_set *s)
{
	size_t voters = 0;

	for (size_t i = 0; i < s->count; i++)
		voters += !s->all[i].observer;
	return voters;
}

int server_set_put(struct server_set *s, const struct server_spec *spec, struct pk_err *err)
{
	size_t at = 0;

	PK_ASSERT(spec->id > 0 && spec->addr_count > 0);
	while (at < s->count && s->all[at].id < spec->id)
		at++;
	if (at < s->count && s->all[at].id == spec->id) {
		s->all[at] = *spec;
		return 0;
	}
	if (s->count == SERVERS_MAX)
		return pk_err_set(err, PK_ELIMIT, "more than %d servers", SERVERS_MAX);
	s->all = pk_realloc(s->all, (s->count + 1) * sizeof(*s->all));
	memmove(&s->all[at + 1], &s->all[at], (s->count - at) * sizeof(*s->all));
	s->all[at] = *spec;
	s->count++;
	return 0;
}

bool server_set_remove(struct server_set *s, int64_t id)
{
	const struct server_spec *found = server_set_find(s, id);
	size_t at;

	if (found == NULL)
		return false;
	at = (size_t)(found - s->all);
	s->count--;
	memmove(&s->all[at], &s->all[at + 1], (s->count - at) * sizeof(*s->all));
	return true;
}

bool server_set_eq(const struct server_set *a, const struct server_set *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++) {
		if (!server_spec_eq(&a->all[i], &b->all[i]))
			return false;
	}
	return true;
}

void server_set_format(const struct server_set *s, struct pk_buf *out)
{
	for (size_t i = 0; i < s->count; i++) {
		pk_buf_printf(out, "server.%" PRId64 "=", s->all[i].id);
		server_spec_format(&s->all[i], out);
		pk_buf_add_str(out, "\n");
	}
	pk_buf_printf(out, "version=%" PRIx64, s->version);
}

static bool hex_of(const char *text, uint64_t *out)
{
	uint64_t v = 0;
	size_t len = strlen(text);

	if (len == 0 || len > 16)
		return false;
	for (size_t i = 0; i < len; i++) {
		int c = tolower((unsigned char)text[i]);

		if (!isxdigit(c))
			return false;
		v = v << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
	}
	*out = v;
	return true;
}

static int set_line(struct server_set *set, const struct property *p, struct pk_err *err)
{
	struct server_spec spec;
	int64_t id = server_key_id(p->key);
	int rc;

	if (strcmp(p->key, "version") == 0) {
		struct pk_bytes v = trimmed(pk_bytes_str(p->value));
		char text[17];

		snprintf(text, sizeof(text), "%.*s", (int)(v.len < 17 ? v.len : 16),
			 (const char *)v.data);
		if (v.len > 16 || !hex_of(text, &set->version))
			return pk_err_set(err, PK_EINVAL, "version: want a hexadecimal number");
		return 0;
	}
	if (id < 0)
		return pk_err_set(err, PK_EINVAL, "%.80s: only server.N and version may stand here",
				  p->key);
	rc = server_spec_parse(&spec, id, pk_bytes_str(p->value), err);
	return rc != 0 ? rc : server_set_put(set, &spec, err);
}

int server_set_parse(struct server_set *out, struct pk_bytes text, struct pk_err *err)
{
	struct server_set set = SERVER_SET_INIT;
	struct properties p = PROPERTIES_INIT;
	int rc = properties_parse(&p, text, err);

	for (size_t i = 0; rc == 0 && i < p.count; i++) {
		rc = set_line(&set, &p.rows[i], err);
		if (rc != 0)
			pk_err_wrap(err, "line %u", p.rows[i].line);
	}
	properties_release(&p);
	if (rc != 0)
		server_set_release(&set);
	else
		*out = set;
	return rc;
}
