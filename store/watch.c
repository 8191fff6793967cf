#include "store/watch.h"

#include <uthash.h>

#include "base/mem.h"
#include "base/mutant.h"
#include "zkproto/zk.h"

struct watch_path {
	UT_hash_handle hh;
	TAILQ_HEAD(, watch) watches; /* in the order they came */
	size_t len;
	uint8_t path[];
};

struct watch_key {
	struct watch_path *path;
	struct watcher *watcher;
};

struct watch {
	UT_hash_handle hh;
	struct watch_key key;
	TAILQ_ENTRY(watch) of_path;
	LIST_ENTRY(watch) of_watcher;
	unsigned modes;
};

struct watch_table {
	struct watch_path *paths;
	struct watch *pairs;
	uint64_t count, count_max;
	uint64_t recursive_count;
	uint64_t fire_count;
};

const size_t WATCH_BYTES = sizeof(struct watch), WATCH_PATH_BYTES = sizeof(struct watch_path);

struct watch_table *watch_table_new(uint64_t watches_max)
{
	struct watch_table *t = pk_alloc(sizeof(*t));

	t->count_max = watches_max;
	return t;
}

void watch_table_free(struct watch_table *t)
{
	if (t == NULL)
		return;
	PK_ASSERT(t->count == 0);
	PK_ASSERT(t->paths == NULL);
	free(t);
}

void watcher_init(struct watcher *w, void *owner)
{
	*w = (struct watcher){ .owner = owner };
	LIST_INIT(&w->watches);
}

static struct watch_path *path_find(struct watch_table *t, struct pk_bytes path)
{
	struct watch_path *p;

	HASH_FIND(hh, t->paths, path.data, path.len, p);
	return p;
}

static struct watch *pair_find(struct watch_table *t, struct watcher *w, struct watch_path *p)
{
	struct watch_key key = { .path = p, .watcher = w };
	struct watch *found;

	HASH_FIND(hh, t->pairs, &key, sizeof(key), found);
	return found;
}

static void modes_set(struct watch_table *t, struct watch *x, unsigned modes)
{
	t->recursive_count -= (x->modes & WATCH_RECURSIVE) != 0;
	t->recursive_count += (modes & WATCH_RECURSIVE) != 0;
	x->modes = modes;
}

static void pair_drop(struct watch_table *t, struct watch *x)
{
	struct watch_path *p = x->key.path;

	modes_set(t, x, 0);
	TAILQ_REMOVE(&p->watches, x, of_path);
	LIST_REMOVE(x, of_watcher);
	x->key.watcher->count--;
	HASH_DELETE(hh, t->pairs, x);
	t->count--;
	free(x);
	if (TAILQ_EMPTY(&p->watches)) {
		HASH_DELETE(hh, t->paths, p);
		free(p);
	}
}

void watcher_drop(struct watch_table *t, struct watcher *w)
{
	while (!LIST_EMPTY(&w->watches))
		pair_drop(t, LIST_FIRST(&w->watches));
}

bool watch_add(struct watch_table *t, struct watcher *w, struct pk_bytes path, enum watch_mode mode)
{
	struct watch_path *p = path_find(t, path);
	struct watch *x = p != NULL ? pair_find(t, w, p) : NULL;

	if (x == NULL) {
		if (t->count >= t->count_max)
			return false;
		if (p == NULL) {
			p = pk_alloc(sizeof(*p) + path.len);
			TAILQ_INIT(&p->watches);
			p->len = path.len;
			if (path.len > 0)
				memcpy(p->path, path.data, path.len);
			HASH_ADD_KEYPTR(hh, t->paths, p->path, p->len, p);
		}
		x = pk_alloc(sizeof(*x));
		x->key = (struct watch_key){ .path = p, .watcher = w };
		TAILQ_INSERT_TAIL(&p->watches, x, of_path);
		LIST_INSERT_HEAD(&w->watches, x, of_watcher);
		HASH_ADD(hh, t->pairs, key, sizeof(x->key), x);
		w->count++;
		t->count++;
	}
	unsigned modes = x->modes | mode;
	if (mode == WATCH_PERSISTENT)
		modes &= ~(unsigned)WATCH_RECURSIVE;
	else if (mode == WATCH_RECURSIVE)
		modes &= ~(unsigned)WATCH_PERSISTENT;
	modes_set(t, x, modes);
	return true;
}

unsigned watch_modes(struct watch_table *t, struct watcher *w, struct pk_bytes path)
{
	struct watch_path *p = path_find(t, path);
	struct watch *x = p != NULL ? pair_find(t, w, p) : NULL;

	return x != NULL ? x->modes : 0;
}

static void modes_clear(struct watch_table *t, struct watch *x, unsigned modes)
{
	modes_set(t, x, x->modes & ~modes);
	if (x->modes == 0)
		pair_drop(t, x);
}

unsigned watch_remove(struct watch_table *t, struct watcher *w, struct pk_bytes path,
		      unsigned modes)
{
	struct watch_path *p = path_find(t, path);
	struct watch *x = p != NULL ? pair_find(t, w, p) : NULL;
	unsigned removed = x != NULL ? x->modes & modes : 0;

	if (removed != 0)
		modes_clear(t, x, removed);
	return removed;
}

unsigned watch_modes_of_type(int32_t type)
{
	enum { CHILDREN = 1, DATA = 2, ANY = 3, PERSISTENT = 4, PERSISTENT_RECURSIVE = 5 };

	switch (type) {
	case CHILDREN:
		return WATCH_OF_CHILD;
	case DATA:
		return WATCH_OF_DATA;
	case ANY:
		return WATCH_OF_DATA | WATCH_OF_CHILD;
	case PERSISTENT:
		return WATCH_PERSISTENT;
	case PERSISTENT_RECURSIVE:
		return WATCH_RECURSIVE;
	default: /* from the wire */
		return 0;
	}
}

/* Tell those at `path` that have any of `modes`; those told before in this firing are left out. */
static size_t fire_at(struct watch_table *t, struct pk_bytes at, unsigned modes, int32_t event,
		      struct pk_bytes path, watch_tell_f *tell, void *arg)
{
	struct watch_path *p = path_find(t, at);
	struct watch *x, *next;
	size_t told = 0;

	if (p == NULL)
		return 0;
	for (x = TAILQ_FIRST(&p->watches); x != NULL; x = next) {
		next = TAILQ_NEXT(x, of_path); /* read first: x goes, and p with its last one */
		if (!(x->modes & modes))
			continue;
		if (x->key.watcher->fired != t->fire_count) {
			x->key.watcher->fired = t->fire_count;
			tell(x->key.watcher->owner, event, path, arg);
			told++;
		}
		if (MUTANT(one_shot_fires_twice) && event == ZK_EVENT_DATA_CHANGED)
			continue;
		modes_clear(t, x,
			    MUTANT(persistent_fires_once) ? ~0u
							  : modes & (WATCH_DATA | WATCH_CHILD));
	}
	return told;
}

size_t watch_fire(struct watch_table *t, int32_t event, struct pk_bytes path, watch_tell_f *tell,
		  void *arg)
{
	unsigned here = WATCH_OF_DATA, above = WATCH_RECURSIVE_DATA;
	size_t told = 0;

	if (t->count == 0)
		return 0;
	t->fire_count++;
	if (event == ZK_EVENT_CHILDREN_CHANGED)
		return fire_at(t, path, WATCH_CHILD | WATCH_PERSISTENT_CHILD, event, path, tell,
			       arg);
	if (event == ZK_EVENT_DELETED) { /* both tables are told */
		here = WATCH_OF_DATA | WATCH_OF_CHILD;
		above = WATCH_RECURSIVE;
	}
	told += fire_at(t, path, here, event, path, tell, arg);
	struct pk_bytes up = path;
	while (t->recursive_count > 0 && up.len > 1) {
		while (up.len > 1 && up.data[up.len - 1] != '/')
			up.len--;
		if (up.len > 1)
			up.len--; /* the slash itself, unless it is the root */
		if (!MUTANT(recursive_not_at_root) || up.len > 1)
			told += fire_at(t, up, above, event, path, tell, arg);
	}
	return told;
}

uint64_t watch_count(const struct watch_table *t)
{
	return t->count;
}

uint64_t watch_path_count(const struct watch_table *t)
{
	return HASH_COUNT(t->paths);
}

void watch_each(struct watch_table *t, watch_each_f *each, void *arg)
{
	struct watch_path *p, *next;
	struct watch *x;

	HASH_ITER (hh, t->paths, p, next)
		TAILQ_FOREACH (x, &p->watches, of_path)
			each(arg, pk_bytes(p->path, p->len), x->key.watcher, x->modes);
}

void watch_each_of(struct watcher *w, watch_each_f *each, void *arg)
{
	struct watch *x;

	LIST_FOREACH (x, &w->watches, of_watcher)
		each(arg, pk_bytes(x->key.path->path, x->key.path->len), w, x->modes);
}

void watch_check(struct watch_table *t)
{
	struct watch_path *p, *next;
	struct watch *x;
	uint64_t count = 0, recursive = 0;

	HASH_ITER (hh, t->paths, p, next) {
		PK_ASSERT(!TAILQ_EMPTY(&p->watches));
		TAILQ_FOREACH (x, &p->watches, of_path) {
			PK_ASSERT(x->modes != 0);
			PK_ASSERT((x->modes & WATCH_PERSISTENT) == 0 ||
				  (x->modes & WATCH_RECURSIVE) == 0);
			PK_ASSERT(pair_find(t, x->key.watcher, p) == x);
			count++;
			recursive += (x->modes & WATCH_RECURSIVE) != 0;
		}
	}
	PK_ASSERT(count == t->count);
	PK_ASSERT(count == HASH_COUNT(t->pairs));
	PK_ASSERT(recursive == t->recursive_count);
}
