/*
 * jepsen/dump_io.h - the end of a history: from each server by itself, after a sync, the whole
 * tree.
 *
 * One client for each server of the list, connected to that one only. The sync and the session are
 * told as any other client's; what is read goes into HIST_DUMP and HIST_NODE, one dump for each
 * node directly under the root, /zookeeper excepted. Nobody else may write meanwhile: a node that
 * goes between two reads begins that walk again, DUMP_TRIES_MAX times at most.
 */
#ifndef PK_JEPSEN_DUMP_IO_H
#define PK_JEPSEN_DUMP_IO_H

#include "jepsen/history.h"
#include "net/loop.h"
#include "net/tls.h"

#define DUMP_TRIES_MAX 5
#define DUMP_MS_MAX    60000

struct dump; /* owned by who made it; borrows all it is given */
typedef void dump_done_f(void *owner, bool whole);

struct dump_opts {
	const char *servers; /* "10.77.0.1:2181,..." */
	struct net_tls *tls; /* NULL: plain TCP */
	const char *auth;    /* "user:password" of an identity that may read everything; or NULL */
	uint32_t first;      /* clients are processes `first` and up */
};

/* done comes once, from the loop. */
struct dump *dump_new(struct net_loop *l, struct hist_writer *w, const struct dump_opts *opts,
		      dump_done_f *done, void *owner);
void dump_free(struct dump *d); /* NULL is allowed; also before done */

#endif
