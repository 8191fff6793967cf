/*
 * store/found.h - a server that holds nothing asks the others: found a cluster, or join one?
 *
 * Every peer that answers says whether it holds anything that a new server of the same list would
 * not, and a hash of the list it would begin with. One that has data: there is a cluster, and this
 * server joins it, mute until it has caught up, whether it is new or lost its disk. A majority of
 * the listed voters just as new: they found a cluster together. A core: node_io.c and the simulator
 * use it.
 *
 * What it cannot tell: a peer that was there at the founding and has heard of nothing since looks
 * new. So a server whose disk is lost must be started again while one that has data is running.
 */
#ifndef PK_STORE_FOUND_H
#define PK_STORE_FOUND_H

#include "store/raft_node.h"

struct found {
	uint64_t me;
	uint64_t voters[RAFT_NODE_MEMBERS_MAX];
	bool fresh[RAFT_NODE_MEMBERS_MAX]; /* by place in `voters` */
	size_t voter_count, fresh_count;
	uint64_t members_hash;
	bool data; /* somebody has some */
};

enum found_verdict {
	FOUND_WAIT, /* for more answers */
	FOUND_NEW,  /* open with the list as the first membership */
	FOUND_JOIN, /* open empty and mute */
};

/* members_hash 0: this server may not found a cluster, only join one. */
void found_init(struct found *f, uint64_t me, const struct raft_member *members, size_t count,
		uint64_t members_hash);
/* A peer answered. Not counted: PK_ENOENT, it may not found a cluster either (hash 0); PK_ESTATE,
 * its list is another one. */
PK_CHECKED int found_peer(struct found *f, uint64_t peer_id, bool has_data, uint64_t members_hash);
enum found_verdict found_verdict(const struct found *f);
size_t found_fresh(const struct found *f); /* voters as new as we are, ourselves included */

/* What this server says of itself; raft NULL while it is asking. */
bool found_has_data(const struct raft_node *raft, bool joining);

#endif
