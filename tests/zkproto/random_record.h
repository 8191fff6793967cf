/*
 * tests/zkproto/random_record.h - a random value for every type that records.tbl uses, and from
 * them a random instance of every record. The bytes live in an arena that the caller releases.
 */
#ifndef PK_TESTS_ZKPROTO_RANDOM_RECORD_H
#define PK_TESTS_ZKPROTO_RANDOM_RECORD_H

#include "base/rng.h"
#include "zkproto/record.h"

#define ARENA_ITEMS_MAX 4096

struct arena {
	struct pk_rng rng;
	struct pk_buf items[ARENA_ITEMS_MAX];
	size_t count;
};

static inline struct pk_buf *arena_new(struct arena *a)
{
	PK_ASSERT(a->count < ARENA_ITEMS_MAX);
	return &a->items[a->count++];
}

static inline void arena_release(struct arena *a)
{
	for (size_t i = 0; i < a->count; i++)
		pk_buf_release(&a->items[i]);
	a->count = 0;
}

static inline int32_t random_INT(struct arena *a)
{
	static const int32_t edges[] = { 0, 1, -1, INT32_MAX, INT32_MIN, 100, -101 };

	if (pk_rng_chance(&a->rng, 500000))
		return edges[pk_rng_below(&a->rng, PK_COUNT(edges))];
	return (int32_t)pk_rng_next(&a->rng);
}

static inline int64_t random_LONG(struct arena *a)
{
	return pk_rng_chance(&a->rng, 300000) ? random_INT(a) : (int64_t)pk_rng_next(&a->rng);
}

static inline bool random_BOOL(struct arena *a)
{
	return pk_rng_chance(&a->rng, 500000);
}

static inline struct pk_bytes random_BUFFER(struct arena *a)
{
	struct pk_buf *b = arena_new(a);
	size_t len = pk_rng_below(&a->rng, 40);

	if (pk_rng_chance(&a->rng, 100000))
		return PK_BYTES_NONE;
	if (pk_rng_chance(&a->rng, 100000))
		len = 0;
	pk_buf_reserve(b, 1); /* empty, not null */
	pk_rng_fill(&a->rng, pk_buf_grow(b, len), len);
	return pk_buf_bytes(b);
}

static inline struct pk_bytes random_USTRING(struct arena *a)
{
	return random_BUFFER(a);
}

static inline struct zk_acls random_ACLS(struct arena *a)
{
	struct zk_acls v = { .count = (uint32_t)pk_rng_below(&a->rng, 4) };
	struct pk_buf *items = arena_new(a);

	if (v.count == 0)
		v.is_null = random_BOOL(a);
	for (uint32_t i = 0; i < v.count; i++) {
		struct zk_acl acl = { random_INT(a), random_USTRING(a), random_USTRING(a) };

		zk_acl_encode(items, &acl);
	}
	v.raw = pk_buf_bytes(items);
	return v;
}

static inline struct zk_strings random_STRINGS(struct arena *a)
{
	struct zk_strings v = { .count = (uint32_t)pk_rng_below(&a->rng, 5) };
	struct pk_buf *items = arena_new(a);

	if (v.count == 0)
		v.is_null = random_BOOL(a);
	for (uint32_t i = 0; i < v.count; i++)
		zk_wr_ustring(items, random_USTRING(a));
	v.raw = pk_buf_bytes(items);
	return v;
}

static inline struct zk_ids random_IDS(struct arena *a)
{
	struct zk_ids v = { .count = (uint32_t)pk_rng_below(&a->rng, 4) };
	struct pk_buf *items = arena_new(a);

	if (v.count == 0)
		v.is_null = random_BOOL(a);
	for (uint32_t i = 0; i < v.count; i++) {
		struct zk_id id = { random_USTRING(a), random_USTRING(a) };

		zk_id_encode(items, &id);
	}
	v.raw = pk_buf_bytes(items);
	return v;
}

static inline struct zk_stat random_STAT(struct arena *a)
{
	struct zk_stat s = { random_LONG(a), random_LONG(a), random_LONG(a), random_LONG(a),
			     random_INT(a),  random_INT(a),  random_INT(a),  random_LONG(a),
			     random_INT(a),  random_INT(a),  random_LONG(a) };

	return s;
}

#define F(type, name) v.name = random_##type(a);
#define O(name)                                                                                    \
	v.has_##name = random_BOOL(a);                                                             \
	v.name = v.has_##name && random_BOOL(a);
#define RECORD(record, fields)                                                                     \
	static inline struct zk_##record random_##record(struct arena *a)                          \
	{                                                                                          \
		struct zk_##record v;                                                              \
                                                                                                   \
		fields return v;                                                                   \
	}
#include "zkproto/records.tbl"
#undef RECORD
#undef O
#undef F

#endif
