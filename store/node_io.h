/*
 * store/node_io.h - one whole server in one process: every part of the store, put together on a
 * loop.
 *
 *     configuration -> directories -> kv, tree -> log -> raft node -> peers -> client ports ->
 * admin
 *
 * node_start does the synchronous part and returns; from then on everything happens on the loop.
 */
#ifndef PK_STORE_NODE_IO_H
#define PK_STORE_NODE_IO_H

#include "net/loop.h"
#include "store/config.h"

struct node;

/* Exit statuses of paddock-store, in its manual page. */
enum node_exit {
	NODE_EXIT_OK = 0,
	NODE_EXIT_USAGE = 2, /* options or configuration: nothing was touched */
	NODE_EXIT_START = 3, /* ports, directories, certificates */
	/* stored data fails its checks, differs from the leader's, or is not this server's, and it
	 * may not heal by itself: a person must look */
	NODE_EXIT_DAMAGE = PK_EXIT_DAMAGE,
	NODE_EXIT_HEAL = PK_EXIT_HEAL, /* found while running: restart it, it heals */
	NODE_EXIT_FATAL = 70,          /* a failed write: restart it */
};

/* Borrows cfg for life. PK_ECORRUPT when stored data fails its checks, or did when it last ran.
 * PK_EFOREIGN: it is not damage, but another server's or another cluster's data, or a log that is
 * not there. */
PK_CHECKED int node_start(struct node **out, struct net_loop *loop, const struct store_config *cfg,
			  struct pk_err *err);
/*
 * After PK_ECORRUPT, on a loop of its own: ask the other servers, with the damaged data where it
 * is, and once enough have told their term (store/found.h), set it aside (heal_io.h) and call
 * `healed` on the loop, after which node_start begins as with a new disk. Until then the node only
 * waits; node_stop and node_free are for it, too. PK_EFOREIGN: this server may not heal, and why.
 */
PK_CHECKED int node_ask(struct node **out, struct net_loop *loop, const struct store_config *cfg,
			const char *damage, net_call_f *healed, void *owner, struct pk_err *err);
/* Drain and stop: clients are closed, the state is committed; then `stopped` is called on the loop.
 */
void node_stop(struct node *n, net_call_f *stopped, void *owner);
/* Certificates and log level, read again. Errors are logged; what was in use stays. */
void node_reload(struct node *n);
/* After stopped, or after a node_start that failed nothing is left: once the loop has ended. */
void node_free(struct node *n);

/* What every file and every greeting of this cluster carries: from paddock.clusterName. */
uint64_t node_cluster_id(const struct store_config *cfg);

#endif
