/*
 * tests/sim/cluster_watches.h - the watches of one client, as the protocol has them, and which
 * events they call for.
 */
#ifndef PK_TESTS_SIM_CLUSTER_WATCHES_H
#define PK_TESTS_SIM_CLUSTER_WATCHES_H

#include "tests/sim/cluster.h"

struct watches;
struct whose;

enum watched {
	WATCHED_DATA,  /* by getData, or exists of what is there */
	WATCHED_EXIST, /* by exists of what is not */
	WATCHED_CHILD,
	WATCHED_PERSISTENT,
	WATCHED_RECURSIVE,
};

/* `who`: whose they are, borrowed for life: events for what they may not read are not told. */
struct watches *watches_new(struct sim *s, const struct whose *who);
void watches_free(struct watches *w);
size_t watches_count(const struct watches *w);
/* All of it on success: false and *why (300 bytes) otherwise. */
/* An event came; it is kept until a reply says up to where it must be explained. */
bool watches_event(struct watches *w, int32_t type, struct pk_bytes path, char *why);
/* A reply carries zxid: what came is exactly what the log calls for up to there. */
bool watches_to(struct watches *w, uint64_t zxid, char *why);
void watches_set(struct watches *w, const char *path, enum watched kind);
/* removeWatches (taking them off) and checkWatches: was there any of that type? */
bool watches_has(struct watches *w, const char *path, int32_t type, bool take);
/* The connection is gone: what came and was explained by no reply counts as come. */
void watches_lost(struct watches *w);
bool watches_stay(const struct watches *w); /* is any persistent or recursive? */
/* A setWatches2 (`all`) or setWatches request of all of them goes out on a new connection; and its
 * reply came. */
void watches_again(struct watches *w, uint64_t seen_zxid, bool all, struct pk_buf *body);
bool watches_set_again(struct watches *w, uint64_t zxid, char *why);

#endif
