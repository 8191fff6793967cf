/*
 * store/kv_overlay.h - changes in memory: a hash index for point lookups, a B+tree for order.
 *
 * Part of kv and used by nothing else. An overlay only grows: a deleted key stays as a tombstone,
 * so records never move and never leave, and dropping the whole is dropping its arena. Once
 * nothing changes it any more (frozen), any number of threads may read it.
 */
#ifndef PK_STORE_KV_OVERLAY_H
#define PK_STORE_KV_OVERLAY_H

#include "base/bytes.h"

struct kv_overlay;
struct kv_leaf;

struct kv_rec {
	uint8_t *val;
	uint32_t val_len;
	uint32_t val_cap;
	uint16_t key_len;
	bool gone;     /* a tombstone: val_len is 0 */
	uint8_t key[]; /* key_len bytes, then, when it was made, the value */
};

/* A place in key order; at the end `leaf` is NULL. */
struct kv_overlay_pos {
	const struct kv_leaf *leaf;
	uint32_t index;
};

struct kv_overlay *kv_overlay_new(void); /* returns owned */
void kv_overlay_free(struct kv_overlay *o);

/* The hash that find, put and del take: one computation serves both overlays. `seed` keeps clients
 * from choosing names that collide. */
uint64_t kv_overlay_hash(uint64_t seed, struct pk_bytes key);

/* The record of `key`, which may be a tombstone, or NULL. Borrowed until the overlay changes. */
const struct kv_rec *kv_overlay_find(const struct kv_overlay *o, uint64_t hash,
				     struct pk_bytes key);
void kv_overlay_put(struct kv_overlay *o, uint64_t hash, struct pk_bytes key, struct pk_bytes val);
void kv_overlay_del(struct kv_overlay *o, uint64_t hash, struct pk_bytes key);

/* The first record with a key >= `from`, tombstones included, and the one behind it. */
struct kv_overlay_pos kv_overlay_seek(const struct kv_overlay *o, struct pk_bytes from);
const struct kv_rec *kv_overlay_at(struct kv_overlay_pos pos); /* NULL at the end */
void kv_overlay_step(struct kv_overlay_pos *pos);

size_t kv_overlay_count(const struct kv_overlay *o);    /* records, tombstones included */
uint64_t kv_overlay_memory(const struct kv_overlay *o); /* bytes it has from malloc; 0 when empty */
uint64_t kv_overlay_payload(const struct kv_overlay *o); /* sum of key and value lengths */

/* Find by the B+tree alone; only for bench_kv, which compares the two. */
const struct kv_rec *kv_overlay_find_ordered(const struct kv_overlay *o, struct pk_bytes key);

void kv_overlay_assert(const struct kv_overlay *o, uint64_t seed); /* K1..K4 */

#endif
