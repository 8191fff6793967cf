#include <uthash.h>

#include "zkproto/client_impl.h"
#include "zkproto/zk.h"

struct watch_path {
	UT_hash_handle hh;
	struct zkc_watch *list;
	size_t count, cap;
	size_t path_bytes;
	char path[];
};

struct firing {
	UT_hash_handle hh;
	struct zkc_watch watch; /* the key: two pointers, no padding between */
};
static_assert(sizeof(struct zkc_watch) == 2 * sizeof(void *), "hashed as bytes");

static struct watch_path *find(const struct watches *w, enum watch_kind kind, struct pk_bytes path)
{
	struct watch_path *p = NULL;

	HASH_FIND(hh, w->by_path[kind], path.data, path.len, p);
	return p;
}

static void path_free(struct watches *w, enum watch_kind kind, struct watch_path *p)
{
	HASH_DEL(w->by_path[kind], p);
	w->count -= p->count;
	free(p->list);
	free(p);
}

static bool same(const struct zkc_watch *a, const struct zkc_watch *b)
{
	return a->call == b->call && a->owner == b->owner;
}

bool zkc_watches_has(const struct watches *w, enum watch_kind kind, struct pk_bytes path,
		     const struct zkc_watch *watch)
{
	const struct watch_path *p = find(w, kind, path);

	if (p == NULL)
		return false;
	if (watch == NULL)
		return true;
	for (size_t i = 0; i < p->count; i++)
		if (same(&p->list[i], watch))
			return true;
	return false;
}

void zkc_watches_add(struct watches *w, enum watch_kind kind, struct pk_bytes path,
		     struct zkc_watch watch)
{
	struct watch_path *p = find(w, kind, path);

	if (zkc_watches_has(w, kind, path, &watch))
		return;
	if (p == NULL) {
		p = pk_alloc(sizeof(*p) + path.len);
		memcpy(p->path, path.data, path.len);
		p->path_bytes = path.len;
		HASH_ADD_KEYPTR(hh, w->by_path[kind], p->path, p->path_bytes, p);
	}
	if (p->count == p->cap) {
		p->cap = p->cap > 0 ? p->cap * 2 : 1;
		p->list = pk_realloc(p->list, p->cap * sizeof(p->list[0]));
	}
	p->list[p->count++] = watch;
	w->count++;
}

/* One callback hears an event once, however it is reached. */
static void fire(struct watches *w, const struct zkc_watch *watch)
{
	struct firing *f = NULL;

	HASH_FIND(hh, w->firing, watch, sizeof(*watch), f);
	if (f != NULL)
		return;
	f = pk_alloc(sizeof(*f));
	f->watch = *watch;
	HASH_ADD(hh, w->firing, watch, sizeof(f->watch), f);
}

static void firing_free(struct watches *w, struct firing *f)
{
	HASH_DEL(w->firing, f);
	free(f);
}

void zkc_watches_release(struct watches *w)
{
	struct watch_path *p, *next;

	for (int kind = 0; kind < WATCH_KINDS; kind++)
		HASH_ITER (hh, w->by_path[kind], p, next)
			path_free(w, (enum watch_kind)kind, p);
	while (w->firing != NULL)
		firing_free(w, w->firing);
	*w = (struct watches){ 0 };
}

bool zkc_watches_fire_next(struct watches *w, struct zkc_watch *out)
{
	struct firing *f = w->firing;

	if (f == NULL)
		return false;
	*out = f->watch;
	firing_free(w, f);
	return true;
}

bool zkc_watches_remove(struct watches *w, enum watch_kind kind, struct pk_bytes path,
			const struct zkc_watch *watch)
{
	struct watch_path *p = find(w, kind, path);
	size_t kept = 0;

	if (p == NULL)
		return false;
	for (size_t i = 0; i < p->count; i++) {
		if (watch == NULL || same(&p->list[i], watch))
			fire(w, &p->list[i]);
		else
			p->list[kept++] = p->list[i];
	}
	bool found = kept < p->count;
	w->count -= p->count - kept;
	p->count = kept;
	if (kept == 0)
		path_free(w, kind, p);
	return found;
}

bool zkc_watches_others(const struct watches *w, enum watch_kind kind, struct pk_bytes path,
			const struct zkc_watch *watch)
{
	const struct watch_path *p = find(w, kind, path);

	if (p == NULL || watch == NULL)
		return false;
	for (size_t i = 0; i < p->count; i++)
		if (!same(&p->list[i], watch))
			return true;
	return false;
}

static void fire_path(struct watches *w, enum watch_kind kind, struct pk_bytes path)
{
	const struct watch_path *p = find(w, kind, path);

	for (size_t i = 0; p != NULL && i < p->count; i++)
		fire(w, &p->list[i]);
}

/* The path itself and all above it. */
static void fire_recursive(struct watches *w, struct pk_bytes path)
{
	if (w->by_path[WATCH_RECURSIVE] == NULL)
		return;
	for (;;) {
		fire_path(w, WATCH_RECURSIVE, path);
		if (path.len <= 1)
			return;
		path = zk_path_parent(path);
	}
}

/* Which watches an event reaches: ZKWatchManager.materialize. One-shot watches are used up. */
void zkc_watches_event(struct watches *w, int32_t type, struct pk_bytes path)
{
	switch (type) {
	case ZK_EVENT_CREATED:
	case ZK_EVENT_DATA_CHANGED:
		zkc_watches_remove(w, WATCH_DATA, path, NULL);
		zkc_watches_remove(w, WATCH_EXIST, path, NULL);
		break;
	case ZK_EVENT_DELETED:
		zkc_watches_remove(w, WATCH_DATA, path, NULL);
		zkc_watches_remove(w, WATCH_EXIST, path, NULL);
		zkc_watches_remove(w, WATCH_CHILD, path, NULL);
		break;
	case ZK_EVENT_CHILDREN_CHANGED:
		zkc_watches_remove(w, WATCH_CHILD, path, NULL);
		fire_path(w, WATCH_PERSISTENT, path);
		return;
	default: /* from outside: a type that sets off nothing here */
		return;
	}
	fire_path(w, WATCH_PERSISTENT, path);
	fire_recursive(w, path);
}

void zkc_watches_drain(struct watches *w)
{
	struct watch_path *p, *next;

	for (int kind = 0; kind < WATCH_KINDS; kind++)
		HASH_ITER (hh, w->by_path[kind], p, next) {
			for (size_t i = 0; i < p->count; i++)
				fire(w, &p->list[i]);
			path_free(w, (enum watch_kind)kind, p);
		}
}

void zkc_watches_forget(struct watches *w, const void *owner)
{
	struct watch_path *p, *next;

	struct firing *f, *f_next;

	HASH_ITER (hh, w->firing, f, f_next)
		if (f->watch.owner == owner)
			firing_free(w, f);
	for (int kind = 0; kind < WATCH_KINDS; kind++)
		HASH_ITER (hh, w->by_path[kind], p, next) {
			size_t kept = 0;

			for (size_t i = 0; i < p->count; i++)
				if (p->list[i].owner != owner)
					p->list[kept++] = p->list[i];
			w->count -= p->count - kept;
			p->count = kept;
			if (kept == 0)
				path_free(w, (enum watch_kind)kind, p);
		}
}

/* One setWatches2, its five vectors collected apart because their counts come first. */
struct batch {
	struct pk_buf items[WATCH_KINDS];
	uint32_t counts[WATCH_KINDS];
	size_t bytes;
};

static void batch_flush(struct batch *b, int64_t zxid, struct pk_buf *out, uint32_t *frames)
{
	struct zk_strings v[WATCH_KINDS];
	size_t at = zk_frame_begin(out);

	for (int kind = 0; kind < WATCH_KINDS; kind++)
		v[kind] = (struct zk_strings){ .count = b->counts[kind],
					       .raw = pk_buf_bytes(&b->items[kind]) };
	zk_req_header_encode(out,
			     &(struct zk_req_header){ ZK_XID_SET_WATCHES, ZK_OP_SET_WATCHES2 });
	zk_set_watches2_req_encode(out, &(struct zk_set_watches2_req){
						.relative_zxid = zxid,
						.data = v[WATCH_DATA],
						.exist = v[WATCH_EXIST],
						.child = v[WATCH_CHILD],
						.persistent = v[WATCH_PERSISTENT],
						.recursive = v[WATCH_RECURSIVE],
					});
	zk_frame_end(out, at);
	(*frames)++;
	for (int kind = 0; kind < WATCH_KINDS; kind++) {
		pk_buf_clear(&b->items[kind]);
		b->counts[kind] = 0;
	}
	b->bytes = 0;
}

void zkc_watches_encode(const struct watches *w, int64_t zxid, size_t bytes_max, struct pk_buf *out,
			uint32_t *frames)
{
	struct batch b = { 0 };
	struct watch_path *p, *next;

	for (int kind = 0; kind < WATCH_KINDS; kind++)
		HASH_ITER (hh, w->by_path[kind], p, next) {
			if (b.bytes > 0 && b.bytes + 4 + p->path_bytes > bytes_max)
				batch_flush(&b, zxid, out, frames);
			zk_wr_ustring(&b.items[kind], pk_bytes(p->path, p->path_bytes));
			b.counts[kind]++;
			b.bytes += 4 + p->path_bytes;
		}
	if (b.bytes > 0)
		batch_flush(&b, zxid, out, frames);
	for (int kind = 0; kind < WATCH_KINDS; kind++)
		pk_buf_release(&b.items[kind]);
}

void zkc_watches_check(const struct watches *w)
{
	struct watch_path *p, *next;
	size_t count = 0;

	for (int kind = 0; kind < WATCH_KINDS; kind++)
		HASH_ITER (hh, w->by_path[kind], p, next) {
			PK_ASSERT(p->count > 0 && p->count <= p->cap);
			for (size_t i = 0; i < p->count; i++)
				PK_ASSERT(p->list[i].call != NULL);
			count += p->count;
		}
	PK_ASSERT(count == w->count);
}
