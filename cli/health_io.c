#include "cli/health_io.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"
#include "net/addr.h"

#define PORT_DEFAULT 2181

/* The value behind `key` at the start of a line; false when there is none. */
static bool value_of(const char *text, const char *key, char *out, size_t room)
{
	size_t len = strlen(key);

	for (const char *at = text; at != NULL && *at != '\0';
	     at = strchr(at, '\n'), at = at != NULL ? at + 1 : NULL) {
		if (strncmp(at, key, len) != 0)
			continue;
		at += len;
		snprintf(out, room, "%.*s", (int)strcspn(at, "\n"), at);
		return true;
	}
	return false;
}

static int64_t number_of(const char *text, const char *key)
{
	char value[64];
	int64_t v;

	return value_of(text, key, value, sizeof(value)) && sscanf(value, "%" SCNd64, &v) == 1 ? v
											       : -1;
}

static void read_srvr(struct server_health *s, const char *text)
{
	char value[96];

	if (value_of(text, "Zookeeper version: ", value, sizeof(value))) {
		value[strcspn(value, ",")] = '\0';
		snprintf(s->version, sizeof(s->version), "%s", value);
	}
	if (value_of(text, "Zxid: ", value, sizeof(value)))
		pk_ignore(sscanf(value, "%" SCNx64, (uint64_t *)&s->zxid), "0 otherwise");
	if (value_of(text, "Mode: ", value, sizeof(value)))
		snprintf(s->mode, sizeof(s->mode), "%.23s", value);
	s->serving = s->mode[0] != '\0' && strcmp(s->mode, "read-only") != 0;
	s->znodes = number_of(text, "Node count: ");
	s->connections = number_of(text, "Connections: ");
	s->outstanding = number_of(text, "Outstanding: ");
	if (s->mode[0] == '\0')
		snprintf(s->error, sizeof(s->error), "%.*s", (int)strcspn(text, "\n"), text);
}

static void read_mntr(struct server_health *s, const char *text)
{
	char value[64];

	s->ephemerals = number_of(text, "zk_ephemerals_count\t");
	s->watches = number_of(text, "zk_watch_count\t");
	s->data_bytes = number_of(text, "zk_approximate_data_size\t");
	s->uptime_ms = number_of(text, "zk_uptime\t");
	s->fds = number_of(text, "zk_open_file_descriptor_count\t");
	s->sessions = number_of(text, "zk_global_sessions\t");
	s->latency_avg_ms = -1;
	if (value_of(text, "zk_avg_latency\t", value, sizeof(value)))
		s->latency_avg_ms = strtod(value, NULL);
}

static void judge(struct health *h)
{
	size_t voters = 0, behind = 0;
	const char *first_missing = NULL;

	h->leader = -1;
	h->serving = 0;
	for (size_t i = 0; i < h->count; i++) {
		const struct server_health *s = &h->servers[i];

		h->serving += s->serving;
		voters += strcmp(s->mode, "observer") != 0;
		/* after an election the old leader may not know it yet: the higher epoch leads */
		if (strcmp(s->mode, "leader") == 0 || strcmp(s->mode, "standalone") == 0) {
			if (h->leader < 0 || s->zxid > h->servers[h->leader].zxid)
				h->leader = (int)i;
		}
		if (!s->serving && first_missing == NULL)
			first_missing = s->error;
	}
	for (size_t i = 0; i < h->count; i++) {
		struct server_health *s = &h->servers[i];

		s->lag = -1;
		if (h->leader < 0 || !s->serving)
			continue;
		int64_t lead = h->servers[h->leader].zxid;
		/* the words were not said at one moment: a follower may seem ahead */
		if (lead >> 32 == s->zxid >> 32)
			s->lag = lead > s->zxid ? lead - s->zxid : 0;
		behind += s->lag > HEALTH_LAG_MAX;
	}
	if (h->leader < 0) {
		h->verdict = HEALTH_DOWN;
		snprintf(h->why, sizeof(h->why), "nobody leads: %zu of %zu servers answer%s%s",
			 h->serving, h->count, first_missing != NULL ? "; " : "",
			 first_missing != NULL ? first_missing : "");
	} else if (h->serving < h->count || behind > 0) {
		h->verdict = HEALTH_DEGRADED;
		if (h->serving < h->count)
			snprintf(h->why, sizeof(h->why), "it serves, with %zu of %zu servers",
				 h->serving, h->count);
		else
			snprintf(h->why, sizeof(h->why), "it serves, with %zu far behind", behind);
	} else {
		h->verdict = HEALTH_OK;
		size_t may_fail = voters > 0 ? (voters - 1) / 2 : 0;
		snprintf(h->why, sizeof(h->why), "all %zu serve; %zu may fail", h->count, may_fail);
	}
}

void health_ask(struct health *h, struct net_loop *l, struct net_tls *tls, int64_t timeout_ms)
{
	struct ask *asks = pk_alloc(2 * (h->count + 1) * sizeof(*asks));

	for (size_t i = 0; i < h->count; i++) {
		struct server_health *s = &h->servers[i];
		struct ask *a = &asks[2 * i];

		a[0] = (struct ask){ .host = s->host, .port = s->port, .word = "srvr" };
		a[1] = (struct ask){ .host = s->host, .port = s->port, .word = "mntr" };
	}
	ask_all(l, tls, asks, 2 * h->count, timeout_ms);
	for (size_t i = 0; i < h->count; i++) {
		struct server_health *s = &h->servers[i];
		struct ask *a = &asks[2 * i];

		s->answers = a[0].connected;
		s->serving = false;
		s->mode[0] = s->version[0] = s->error[0] = '\0';
		s->zxid = 0;
		s->znodes = s->connections = s->outstanding = -1;
		if (a[0].answer.len > 0)
			read_srvr(s, pk_buf_str(&a[0].answer));
		else
			snprintf(s->error, sizeof(s->error), "%s", a[0].error);
		read_mntr(s, pk_buf_str(&a[1].answer));
		pk_buf_release(&a[0].answer);
		pk_buf_release(&a[1].answer);
	}
	free(asks);
	judge(h);
}

int health_parse_servers(struct health *h, const char *text, struct pk_err *err)
{
	size_t len = strcspn(text, "/"); /* a path behind the servers is not of interest */
	int rc = 0;

	h->count = 0;
	for (const char *at = text; rc == 0 && at < text + len;) {
		size_t n = strcspn(at, ",/");
		char *one = pk_strndup(at, n);

		if (h->count == HEALTH_SERVERS_MAX)
			rc = pk_err_set(err, PK_EINVAL, "more than %d servers", HEALTH_SERVERS_MAX);
		else
			rc = net_host_port_parse(one, PORT_DEFAULT, h->servers[h->count].host,
						 HEALTH_HOST_BYTES, &h->servers[h->count].port,
						 err);
		free(one);
		h->count++;
		at += n;
		at += *at == ',';
	}
	if (rc == 0 && h->count == 0)
		rc = pk_err_set(err, PK_EINVAL, "no server in \"%s\"", text);
	return rc;
}
