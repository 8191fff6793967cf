/*
 * store/found.h - a server that holds nothing asks the others: found a cluster, or join one?
 *
 *     one has data                   -> there is a cluster: join it, mute until caught up, and not
 *                                       before enough of the others have told their term
 *     a majority of the list is new  -> found a cluster together
 *
 * Who joins may have been a member before and lost its disk, and with it what it promised: whom it
 * voted for, and that it would take no more entries from an older leader. The first is why it stays
 * mute. The second is why it needs a floor for its term: every quorum that it was part of has
 * another member that was in that term and remembers, and among `n - q + 1` other voters (n voters,
 * quorum q) there is at least one of those. The highest term they tell becomes its own, so a leader
 * that was deposed meanwhile, and may be the only one within reach, is refused. The price: of three
 * servers both others must be there while the third, with a new disk, begins to join.
 *
 * Who founds must not mistake a server that founded long ago and has heard nothing since for a new
 * one: each life of a server that asks has a number, a founder remembers the numbers it founded
 * with, and is new only to these.
 *
 * What no server can tell: a majority that lost its disks from a majority that never started. So a
 * server whose disk is lost must be started again while one that has data is running.
 *
 * A core: node_io.c and the simulator use it.
 */
#ifndef PK_STORE_FOUND_H
#define PK_STORE_FOUND_H

#include "store/raft_node.h"

/* What a server says of itself to one that dials it. */
struct found_answer {
	bool has_data;         /* somebody holds what a new server of this list would not */
	bool founded;          /* its Raft is open; otherwise it is asking too */
	bool counted;          /* it founded with us, in our present life */
	uint64_t members_hash; /* of the list it would begin with; 0: it may not found */
	uint64_t life;         /* its number while it asks, otherwise 0 */
	uint64_t term;         /* 0: not founded */
	uint8_t terms_needed;  /* by the members that it knows of; 0: not founded */
};

struct found {
	uint64_t me, life, members_hash;
	struct found_voter {
		uint64_t id, life, term;
		bool fresh;
	} voters[RAFT_NODE_MEMBERS_MAX];
	size_t voter_count;
	uint64_t term;       /* the highest told */
	size_t terms_needed; /* told with it */
	bool data;           /* somebody has some */
};

enum found_verdict {
	FOUND_WAIT, /* for more answers */
	FOUND_NEW,  /* open with the list as the first membership */
	FOUND_JOIN, /* open empty and mute, with found_term as the least term */
};

/*
 * `life` is a random number, never 0. members_hash 0: this server may not found a cluster, only
 * join one. `joining`: it began to join in an earlier life and has nothing of it yet.
 */
void found_init(struct found *f, uint64_t me, uint64_t life, const struct raft_member *members,
		size_t count, uint64_t members_hash, bool joining);
/* A peer answered, for the first time or anew. Not counted as new: PK_ENOENT, it may not found a
 * cluster either (hash 0); PK_ESTATE, its list is another one. */
PK_CHECKED int found_peer(struct found *f, uint64_t peer_id, const struct found_answer *a);
enum found_verdict found_verdict(const struct found *f);
size_t found_fresh(const struct found *f); /* voters as new as we are, ourselves included */
/* Other voters whose term must be known before this server may join, and is. How many is told by
 * whoever is furthest on, for the members may have changed (after `recover` one is enough); never
 * more than the list names, so the list of a server that lost its disk must be whole. */
size_t found_terms_needed(const struct found *f);
size_t found_terms_known(const struct found *f);
uint64_t found_term(const struct found *f);

/* What this server says to the peer `to_id` in its life `to_life`. `raft` is NULL while it asks;
 * `f` all 0 when it never had to. members_hash as for found_init. */
struct found_answer found_answer(const struct found *f, const struct raft_node *raft, bool joining,
				 uint64_t members_hash, uint64_t to_id, uint64_t to_life);

#endif
