#include "store/session.h"

#include <bsd/sys/tree.h>
#include <sys/queue.h>
#include <uthash.h>

#include "base/mem.h"
#include "base/mutant.h"

struct entry {
	UT_hash_handle hh;
	uint64_t id, gen;
	int32_t timeout_ms;
	struct bucket *bucket;
	TAILQ_ENTRY(entry) of_bucket;
};

struct bucket {
	RB_ENTRY(bucket) link;
	int64_t expiry_ms;
	TAILQ_HEAD(, entry) entries;
};

RB_HEAD(buckets, bucket);

static int bucket_order(const struct bucket *a, const struct bucket *b)
{
	return a->expiry_ms < b->expiry_ms ? -1 : a->expiry_ms > b->expiry_ms;
}

/* The tree.h of libbsd marks its static forms with a word that glibc lacks. */
#define RB_STATIC static __attribute__((unused))
RB_PROTOTYPE_INTERNAL(buckets, bucket, link, bucket_order, RB_STATIC)
RB_GENERATE_INTERNAL(buckets, bucket, link, bucket_order, RB_STATIC)

struct session_clock {
	struct entry *entries;
	struct buckets buckets;
	int64_t tick_ms;
};

struct session_clock *session_clock_new(int64_t tick_ms)
{
	struct session_clock *c = pk_alloc(sizeof(*c));

	PK_ASSERT(tick_ms > 0);
	c->tick_ms = tick_ms;
	RB_INIT(&c->buckets);
	return c;
}

static void bucket_leave(struct session_clock *c, struct entry *e)
{
	struct bucket *b = e->bucket;

	TAILQ_REMOVE(&b->entries, e, of_bucket);
	e->bucket = NULL;
	if (TAILQ_EMPTY(&b->entries)) {
		RB_REMOVE(buckets, &c->buckets, b);
		free(b);
	}
}

static void bucket_join(struct session_clock *c, struct entry *e, int64_t heard_ms)
{
	int64_t timeout_ms = MUTANT(expires_early) ? e->timeout_ms / 2 : e->timeout_ms;
	struct bucket key = { .expiry_ms = ((heard_ms + timeout_ms) / c->tick_ms + 1) *
					   c->tick_ms };

	if (e->bucket != NULL && e->bucket->expiry_ms == key.expiry_ms)
		return;
	if (e->bucket != NULL)
		bucket_leave(c, e);
	struct bucket *b = RB_FIND(buckets, &c->buckets, &key);
	if (b == NULL) {
		b = pk_alloc(sizeof(*b));
		b->expiry_ms = key.expiry_ms;
		TAILQ_INIT(&b->entries);
		RB_INSERT(buckets, &c->buckets, b);
	}
	TAILQ_INSERT_TAIL(&b->entries, e, of_bucket);
	e->bucket = b;
}

static struct entry *entry_find(struct session_clock *c, uint64_t id)
{
	struct entry *e;

	HASH_FIND(hh, c->entries, &id, sizeof(id), e);
	return e;
}

void session_clock_put(struct session_clock *c, uint64_t id, uint64_t gen, int32_t timeout_ms,
		       int64_t now_ms)
{
	struct entry *e = entry_find(c, id);

	if (e == NULL) {
		e = pk_alloc(sizeof(*e));
		e->id = id;
		HASH_ADD(hh, c->entries, id, sizeof(e->id), e);
	}
	e->gen = gen;
	e->timeout_ms = timeout_ms;
	bucket_join(c, e, now_ms);
}

void session_clock_touch(struct session_clock *c, uint64_t id, int64_t now_ms)
{
	struct entry *e = entry_find(c, id);

	if (e != NULL)
		bucket_join(c, e, now_ms);
}

static void entry_drop(struct session_clock *c, struct entry *e)
{
	bucket_leave(c, e);
	HASH_DELETE(hh, c->entries, e);
	free(e);
}

void session_clock_remove(struct session_clock *c, uint64_t id)
{
	struct entry *e = entry_find(c, id);

	if (e != NULL)
		entry_drop(c, e);
}

void session_clock_tick(struct session_clock *c, int64_t now_ms, session_expired_f *expired,
			void *arg)
{
	struct bucket *b;

	while ((b = RB_MIN(buckets, &c->buckets)) != NULL && b->expiry_ms <= now_ms &&
	       !MUTANT(expires_never)) {
		struct entry *e = TAILQ_FIRST(&b->entries);

		bucket_join(c, e, now_ms); /* leaves b, which goes with its last entry */
		expired(arg, e->id, e->gen);
	}
}

void session_clock_free(struct session_clock *c)
{
	struct entry *e, *next;

	if (c == NULL)
		return;
	HASH_ITER (hh, c->entries, e, next)
		entry_drop(c, e);
	PK_ASSERT(RB_EMPTY(&c->buckets));
	free(c);
}

size_t session_clock_count(const struct session_clock *c)
{
	return HASH_COUNT(c->entries);
}

void session_clock_each(struct session_clock *c, session_bucket_f *each, void *arg)
{
	struct bucket *b;
	struct entry *e;

	RB_FOREACH (b, buckets, &c->buckets)
		TAILQ_FOREACH (e, &b->entries, of_bucket)
			each(arg, b->expiry_ms, e->id);
}
