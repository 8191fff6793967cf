/*
 * store/watch.h - who is to be told of what: the watches of one server's connections.
 *
 * A watcher is a connection. Watches live on the server that the client is connected to and die
 * with the connection; the client sets them again elsewhere (setWatches). Four kinds as in
 * ZooKeeper: data and child watches fire once; persistent ones stay; recursive ones stay and hear
 * of created, changed and deleted nodes in the whole subtree, never of child changes.
 *
 * 3.8.0 keeps two tables, one told of nodes and one of children, and a watch that stays sits in
 * both: it has two halves here, since a client can remove one of them (removeWatches of type data
 * or children). Setting one that stays where the same watcher has the other kind replaces it.
 * Source: javap of 3.8.0's WatchManager (triggerWatch, removeWatcher), WatcherModeManager and
 * DataTree (addWatch, deleteNode, removeWatch). Unlike there, a one-shot watch on a path does not
 * cancel one that stays (ZOOKEEPER-4466).
 *
 * Memory: WATCH_BYTES a watch, plus WATCH_PATH_BYTES and the path once for each watched path.
 */
#ifndef PK_STORE_WATCH_H
#define PK_STORE_WATCH_H

#include <sys/queue.h>

#include "base/bytes.h"

struct watch_table;

/* Embedded in what is told; `owner` comes back in the callback. */
struct watcher {
	LIST_HEAD(, watch) watches;
	void *owner;
	uint64_t fired; /* the table's own */
	uint32_t count;
};

enum watch_mode {
	WATCH_DATA = 1,  /* one-shot, by exists and getData */
	WATCH_CHILD = 2, /* one-shot, by getChildren */
	WATCH_PERSISTENT_DATA = 4,
	WATCH_PERSISTENT_CHILD = 8,
	WATCH_RECURSIVE_DATA = 16,
	WATCH_RECURSIVE_CHILD = 32, /* hears of deleted nodes alone */
	/* data and child events of the path */
	WATCH_PERSISTENT = WATCH_PERSISTENT_DATA | WATCH_PERSISTENT_CHILD,
	/* data events of the path and everything below */
	WATCH_RECURSIVE = WATCH_RECURSIVE_DATA | WATCH_RECURSIVE_CHILD,
	/* all in one of 3.8.0's tables */
	WATCH_OF_DATA = WATCH_DATA | WATCH_PERSISTENT_DATA | WATCH_RECURSIVE_DATA,
	WATCH_OF_CHILD = WATCH_CHILD | WATCH_PERSISTENT_CHILD | WATCH_RECURSIVE_CHILD,
};

extern const size_t WATCH_BYTES, WATCH_PATH_BYTES;

struct watch_table *watch_table_new(
	uint64_t watches_max);                /* returns owned; refuses more than that */
void watch_table_free(struct watch_table *t); /* every watcher was dropped before */
void watcher_init(struct watcher *w, void *owner);
/* All its watches. */
void watcher_drop(struct watch_table *t, struct watcher *w);

/* Copies the path. false: the table is full. Adding again what is there is fine. `mode` is
 * WATCH_DATA, _CHILD, _PERSISTENT or _RECURSIVE. */
bool watch_add(struct watch_table *t, struct watcher *w, struct pk_bytes path,
	       enum watch_mode mode);
/* Modes the watcher has on this path, or 0. */
unsigned watch_modes(struct watch_table *t, struct watcher *w, struct pk_bytes path);
/* Remove those of `modes` that are there; returns what was removed. */
unsigned watch_remove(struct watch_table *t, struct watcher *w, struct pk_bytes path,
		      unsigned modes);

/* What a type of checkWatches and removeWatches stands for; 0: no such type. Types 4 and 5 came
 * with 3.9. */
unsigned watch_modes_of_type(int32_t type);

/*
 * Something happened (ZK_EVENT_CREATED, _DELETED, _DATA_CHANGED, _CHILDREN_CHANGED): tell each
 * watcher concerned once, in the order in which they began to watch, and drop the one-shot watches
 * that fired. `tell` must not add or remove watches. Returns how many were told.
 */
typedef void watch_tell_f(void *owner, int32_t event, struct pk_bytes path, void *arg);
size_t watch_fire(struct watch_table *t, int32_t event, struct pk_bytes path, watch_tell_f *tell,
		  void *arg);

uint64_t watch_count(const struct watch_table *t);      /* watches: (watcher, path) pairs */
uint64_t watch_path_count(const struct watch_table *t); /* paths */
/* Every pair, by path in the order in which paths were first watched. */
typedef void watch_each_f(void *arg, struct pk_bytes path, struct watcher *w, unsigned modes);
void watch_each(struct watch_table *t, watch_each_f *each, void *arg);
void watch_each_of(struct watcher *w, watch_each_f *each, void *arg);

void watch_check(struct watch_table *t); /* asserts W1: tables and lists agree */

#endif
