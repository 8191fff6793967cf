#include <string.h>

#include "store/tree_impl.h"

/*
 * The stage holds what a multi changed so far: a table of keys with their newest values, above kv.
 * Kept: every key goes into kv, in the order in which it was first touched. Dropped: nothing
 * happened. Its size is bounded by the request: a value is new data or a record of about 1 KiB.
 */

struct stage_slot {
	uint32_t key_at, key_bytes;
	uint32_t val_at, val_bytes, val_room;
	uint32_t hash;
	bool deleted;
};

#define TABLE_MIN 64u

static uint32_t hash_of(struct pk_bytes key)
{
	uint64_t h = 14695981039346656037u;

	for (size_t i = 0; i < key.len; i++)
		h = (h ^ key.data[i]) * 1099511628211u;
	return (uint32_t)(h ^ h >> 32);
}

static struct stage_slot *find(const struct stage *s, struct pk_bytes key, uint32_t hash)
{
	if (s->count == 0)
		return NULL;
	for (size_t at = hash & (s->table_size - 1); s->table[at] != 0;
	     at = (at + 1) & (s->table_size - 1)) {
		struct stage_slot *slot = &s->slots[s->table[at] - 1];

		if (slot->hash == hash && slot->key_bytes == key.len &&
		    memcmp(s->bytes.data + slot->key_at, key.data, key.len) == 0)
			return slot;
	}
	return NULL;
}

static void link_slot(struct stage *s, uint32_t number)
{
	size_t at = s->slots[number].hash & (s->table_size - 1);

	while (s->table[at] != 0)
		at = (at + 1) & (s->table_size - 1);
	s->table[at] = number + 1;
}

static void grow(struct stage *s)
{
	if (s->count == s->cap) {
		s->cap = s->cap > 0 ? 2 * s->cap : TABLE_MIN / 2;
		s->slots = pk_realloc(s->slots, s->cap * sizeof(*s->slots));
	}
	if (2 * (s->count + 1) <= s->table_size)
		return;
	s->table_size = s->table_size > 0 ? 2 * s->table_size : TABLE_MIN;
	s->table = pk_realloc(s->table, s->table_size * sizeof(*s->table));
	memset(s->table, 0, s->table_size * sizeof(*s->table));
	for (uint32_t i = 0; i < s->count; i++)
		link_slot(s, i);
}

static struct stage_slot *slot_for(struct stage *s, struct pk_bytes key)
{
	uint32_t hash = hash_of(key);
	struct stage_slot *slot = find(s, key, hash);

	if (slot != NULL)
		return slot;
	grow(s);
	PK_ASSERT(s->bytes.len + key.len <= UINT32_MAX);
	slot = &s->slots[s->count];
	*slot = (struct stage_slot){ .key_at = (uint32_t)s->bytes.len,
				     .key_bytes = (uint32_t)key.len,
				     .hash = hash };
	pk_buf_add_bytes(&s->bytes, key);
	link_slot(s, (uint32_t)s->count++);
	return slot;
}

int stage_get(const struct stage *s, struct pk_bytes key, struct pk_bytes *val)
{
	struct stage_slot *slot = find(s, key, hash_of(key));

	if (slot == NULL)
		return -1;
	if (slot->deleted)
		return 0;
	*val = pk_bytes(s->bytes.data + slot->val_at, slot->val_bytes);
	return 1;
}

void stage_put(struct stage *s, struct pk_bytes key, struct pk_bytes val)
{
	struct stage_slot *slot = slot_for(s, key);

	slot->deleted = false;
	slot->val_bytes = (uint32_t)val.len;
	if (slot->val_room >= val.len) {
		if (val.len > 0)
			memcpy(s->bytes.data + slot->val_at, val.data, val.len);
		return;
	}
	PK_ASSERT(s->bytes.len + val.len <= UINT32_MAX);
	slot->val_at = (uint32_t)s->bytes.len;
	slot->val_room = slot->val_bytes;
	pk_buf_add_bytes(&s->bytes, val);
}

void stage_del(struct stage *s, struct pk_bytes key)
{
	slot_for(s, key)->deleted = true;
}

static void clear(struct stage *s)
{
	s->on = false;
	s->count = 0;
	pk_buf_clear(&s->bytes);
	if (s->table_size > 0)
		memset(s->table, 0, s->table_size * sizeof(*s->table));
	if (s->bytes.cap > (1u << 20) || s->table_size > (1u << 14))
		stage_release(s); /* a rare giant does not keep its memory */
}

void stage_begin(struct stage *s)
{
	PK_ASSERT(!s->on && s->count == 0);
	s->on = true;
}

void stage_keep(struct stage *s, struct kv *kv)
{
	PK_ASSERT(s->on);
	for (size_t i = 0; i < s->count; i++) {
		const struct stage_slot *slot = &s->slots[i];
		struct pk_bytes key = pk_bytes(s->bytes.data + slot->key_at, slot->key_bytes);

		if (slot->deleted)
			kv_del(kv, key);
		else
			kv_put(kv, key, pk_bytes(s->bytes.data + slot->val_at, slot->val_bytes));
	}
	clear(s);
}

void stage_drop(struct stage *s)
{
	PK_ASSERT(s->on);
	clear(s);
}

void stage_release(struct stage *s)
{
	pk_buf_release(&s->bytes);
	free(s->slots);
	free(s->table);
	*s = (struct stage){ 0 };
}
