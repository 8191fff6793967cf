/*
 * cli/health_io.h - how the servers of a cluster are, from their own words (srvr, mntr).
 */
#ifndef PK_CLI_HEALTH_IO_H
#define PK_CLI_HEALTH_IO_H

#include "cli/ask_io.h"

#define HEALTH_SERVERS_MAX 64
#define HEALTH_HOST_BYTES  256

struct server_health {
	/* asked for */
	char host[HEALTH_HOST_BYTES];
	uint16_t port;
	/* found */
	bool answers;  /* it takes connections */
	bool serving;  /* and says that it serves */
	char mode[24]; /* "leader", "follower", "observer", "standalone", "read-only"; "" unknown */
	char version[96];
	char error[256]; /* why not */
	int64_t zxid;
	/* -1: it did not say */
	int64_t lag; /* transactions behind the leader */
	int64_t znodes, ephemerals, watches, connections, sessions, outstanding, data_bytes,
		uptime_ms, fds;
	double latency_avg_ms;
};

enum health_verdict {
	HEALTH_OK,       /* all serve */
	HEALTH_DEGRADED, /* there is a leader, but a server is missing or far behind */
	HEALTH_DOWN,     /* nobody leads */
};

#define HEALTH_LAG_MAX 10000 /* transactions behind that are not yet worth a word */

struct health {
	struct server_health servers[HEALTH_SERVERS_MAX];
	size_t count;
	int leader; /* index; -1: none */
	size_t serving;
	enum health_verdict verdict;
	char why[256]; /* one sentence */
};

/* h->servers[..count] have host and port; fills the rest. */
void health_ask(struct health *h, struct net_loop *l, struct net_tls *tls, int64_t timeout_ms);
/* "a:1,b:2" into host and port. PK_EINVAL. */
PK_CHECKED int health_parse_servers(struct health *h, const char *text, struct pk_err *err);

#endif
