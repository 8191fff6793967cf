/*
 * cli/zk_io.h - a session for one command: asks and waits, on the client of zkproto/.
 *
 * Commands read from top to bottom: ask with zkc_..., give &answer and zk_answer_take, then
 * zks_wait. Several questions may be under way; their answers come in order.
 */
#ifndef PK_CLI_ZK_IO_H
#define PK_CLI_ZK_IO_H

#include "base/bytes.h"
#include "cli/cmd.h"
#include "zkproto/client_io.h"

#define ZKS_WINDOW 256 /* questions that walk and rm -r have under way */

struct zks; /* a session */

/* What a reply carried, copied. */
struct zk_answer {
	bool done;
	int32_t err;
	int64_t zxid;
	struct pk_buf path, data, raw; /* raw: the items of names, acl or ids */
	uint32_t count;                /* of them */
	struct zk_stat stat;
	int32_t number;
};
#define ZK_ANSWER_INIT ((struct zk_answer){ 0 })

/* Connects; returns CLI_OK with *out, or has said what is wrong and returns a status. */
int zks_open(struct zks **out, const struct cli *c);
/* The same; told of events (of zkc_add_watch) and of changes of the connection by `on_state`. */
void zks_on_state(struct zks *z, void (*call)(void *owner, enum zkc_state state), void *owner);
/* Closes the session; returns status, so that a command can end with it. NULL is allowed. */
int zks_close(struct zks *z, int status);
struct zkc *zks_client(struct zks *z);
const struct cli *zks_cli(const struct zks *z);
const char *zks_servers(const struct zks *z);
/* "host:port" of the server that we are, or were, connected to. */
const char *zks_server(const struct zks *z);

/* A zkc_done_f whose owner is a struct zk_answer. */
void zk_answer_take(void *owner, const struct zkc_result *r);
void zk_answer_release(struct zk_answer *a);
struct zk_strings zk_answer_names(struct zk_answer *a);
struct zk_acls zk_answer_acl(struct zk_answer *a);
struct zk_ids zk_answer_ids(struct zk_answer *a);

/* Until it is there, or --timeout is over: then err is ZK_EREQUESTTIMEOUT. Returns a->err. */
int32_t zks_wait(struct zks *z, struct zk_answer *a);
/* One turn of the loop. False when interrupted by a signal or the session is over. */
bool zks_turn(struct zks *z);
bool zks_interrupted(const struct zks *z);

/* "paddock zk get: /x: there is no such node (NoNode)"; returns the status for it. */
int zks_refused(struct zks *z, const char *path, int32_t err);
/* The command's i-th argument as a path: NULL after a message when it is not valid. A slash at the
 * end is dropped. Returns owned. */
char *zks_path(const struct cli *c, const char *text);

/* All nodes at and below `root`, parents first, in order of their names. */
struct walk_node {
	char *path;
	struct zk_stat stat;
	int32_t err; /* ZK_ENOAUTH: its children are not known. Nodes that went meanwhile are not
			here */
};
struct walk {
	struct walk_node *nodes;
	size_t count;
};
/* depth 0: no limit; 1: root and its children. Returns ZK_OK, or what the first failure other than
 * a node that went or may not be read was. */
int32_t zks_walk(struct zks *z, const char *root, size_t depth, struct walk *out);
void walk_release(struct walk *w);

/* Standard input to its end. CLI_OK, or a status after a message. */
int zks_read_stdin(const struct cli *c, struct pk_buf *out);

#endif
