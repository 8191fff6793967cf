/*
 * store/commands_int.h - what commands_io.c, commands_words_io.c, admin_io.c and metrics_io.c
 * share, and nobody else.
 */
#ifndef PK_STORE_COMMANDS_INT_H
#define PK_STORE_COMMANDS_INT_H

#include "base/mem.h"
#include "store/commands_format.h"
#include "store/commands_io.h"

#define NOT_SERVING       "This ZooKeeper instance is not currently serving requests"
#define COMMAND_BYTES_MAX (32u << 20) /* an answer is cut off there, and says so */
#define TRACE_MASK        306         /* ZooTrace's first value: it changes nothing here */

struct net_http;

struct commands {
	struct commands_config cfg;
	uint64_t words_received, words_sent; /* words count as requests, as in ZooKeeper */
	uint64_t slow_syncs;
	uint64_t *seen; /* of counters kept elsewhere: what the registry has of them, by metric */
	int64_t trace_mask;
	char version[128]; /* "3.8.0-paddock-0.1.0, built on 2026-11-21 12:00 UTC" */
	struct net_http *admin, *prometheus; /* NULL: not open */
};

/* What srvr, server_stats and mntr have in common. */
struct command_figures {
	struct server_stats server;
	const struct tree_meta *tree;
	const char *mode; /* "leader", "follower", "observer", "standalone", "read-only" */
	bool read_only;
	uint64_t received, sent, connections;
	double latency_avg_ms;
	int64_t latency_min_ms, latency_max_ms, uptime_ms;
	uint64_t node_count; /* as ZooKeeper counts: the root twice */
};
void command_figures(struct commands *c, struct command_figures *f);
bool command_running(const struct commands *c); /* serving, also read-only */

/* "leading - broadcast" and the like; NULL for a server alone. */
const char *command_peer_state(const struct commands *c);
/* The same without the first half: "broadcast", "election", ... */
const char *command_zab_state(const struct commands *c);

/* Bytes of all files below a folder. */
uint64_t command_dir_bytes(const char *path);
char *command_log_dir(const struct commands *c); /* returns owned */
int64_t command_session_min_ms(const struct commands *c);
int64_t command_session_max_ms(const struct commands *c);
/* The text of /zookeeper/config, or of what the configuration said. */
void command_membership(struct commands *c, struct pk_buf *out);
/* Data of a node, whatever its access list says; false: there is none. */
bool command_node_data(struct commands *c, const char *path, struct pk_buf *out);

/* Every client connection with a session or without one; its io is a struct client. */
struct command_conn {
	struct conn *conn;
	struct client *client;
	char address[COMMAND_ADDRESS_BYTES];
	unsigned interest; /* 1 it is read from, 4 it has bytes to be written: NIO's interest ops */
	int64_t latency_avg_ms;
	struct conn_stats stats;
};
typedef void command_conn_f(void *arg, const struct command_conn *conn);
void command_conns(struct commands *c, command_conn_f *each, void *arg);
void command_reset_stats(struct commands *c);
void command_reset_conns(struct commands *c);

/* Properties of the machine and the process: envi and the admin server's environment. */
typedef void command_property_f(void *arg, const char *name, const char *value);
void command_environment(const struct commands *c, command_property_f *each, void *arg);

/* Watches on data, as wchs, wchc and wchp count them: child watches are not among them. */
struct command_watch {
	struct pk_bytes path;
	uint64_t session_id;
};
#define COMMAND_WATCHES_MAX 1000000 /* are listed; beyond, they are only counted */
struct command_watches {
	struct command_watch *all; /* by path in order of watching */
	size_t count, cap;
	uint64_t total, paths, sessions; /* of all, listed or not */
	bool summary;                    /* nothing is listed */
};
/* Release it. */
void command_watches(struct commands *c, bool summary, struct command_watches *out);
void command_watches_by_session(struct command_watches *w); /* sort it so */
void command_watches_release(struct command_watches *w);

/* commands_words_io.c: a word that may be answered. `from` is the connection that asks. */
void command_word(struct commands *c, struct client *from, enum zk_word word, struct pk_bytes mask,
		  struct pk_buf *out);

#endif
