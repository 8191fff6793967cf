#include "store/kv_overlay.h"

#include <sys/queue.h>

#include "base/mem.h"

/*
 * Memory: an arena of chunks that double in size, so that a small overlay is small, and dropping a
 * large one is a few hundred calls of free. Values have capacities from a table of size classes; a
 * value that outgrows its place leaves it on the free list of its class. Values above
 * ARENA_VAL_MAX have memory of their own, freed when they are replaced.
 */
enum {
	CHUNK_BYTES_LEAST = 4096,
	CHUNK_BYTES_MOST = 256 * 1024,
	ARENA_VAL_MAX = 32 * 1024,
	CLASS_COUNT = 48,
	TABLE_SLOTS_LEAST = 64,
	MOVE_SLOTS = 8,
	NODE_KEYS = 32,
	HEIGHT_MAX = 16, /* 16^16 records: never met */
};

struct chunk {
	SLIST_ENTRY(chunk) link;
	size_t bytes; /* of the whole allocation */
	uint8_t data[];
};

struct big {
	LIST_ENTRY(big) link;
	size_t bytes; /* of the whole allocation */
	uint8_t data[];
};

struct free_val {
	struct free_val *next;
};

struct slot {
	uint64_t hash;
	struct kv_rec *rec; /* NULL: empty */
};

/*
 * A key in the B+tree: its first 24 bytes as a number, so that most comparisons stay inside the
 * node, then the record for the rest. A znode's key starts with nine bytes that it shares with its
 * siblings, and their names often share some more; with 16 bytes bench_kv's lookups took half as
 * long again.
 */
struct head {
	uint64_t hi, mid, lo;
};
struct entry {
	struct head head;
	struct kv_rec *rec;
};

struct kv_leaf {
	uint32_t count;
	struct kv_leaf *next;
	struct entry e[NODE_KEYS];
};

/* child[i] holds the keys from e[i] on, up to e[i + 1]; e[0] is not looked at. */
struct inner {
	uint32_t count;
	struct entry e[NODE_KEYS];
	void *child[NODE_KEYS]; /* inner, or kv_leaf at the lowest level */
};

struct kv_overlay {
	struct slot *slots; /* linear probing, at most 3/4 full */
	size_t slot_count;  /* 0 or a power of two */
	/* The table before it doubled, until each put has carried a few slots over, so that no put
	 * carries them all. Slots below old_moved are in `slots` too; the others only here. */
	struct slot *old_slots;
	size_t old_count, old_moved;
	size_t count;

	void *root;
	uint32_t height; /* levels of inner nodes above the leaves */
	struct kv_leaf *first;

	SLIST_HEAD(, chunk) chunks;
	LIST_HEAD(, big) bigs;
	size_t chunk_used; /* of the first chunk's data */
	struct free_val *free_vals[CLASS_COUNT];

	uint64_t memory;
	uint64_t payload;
};

/* ---- memory ----------------------------------------------------------------------------------*/

static void *arena_alloc(struct kv_overlay *o, size_t bytes)
{
	struct chunk *c = SLIST_FIRST(&o->chunks);

	bytes = (bytes + 7) & ~(size_t)7;
	if (c == NULL || c->bytes - sizeof(*c) - o->chunk_used < bytes) {
		size_t want = c == NULL ? CHUNK_BYTES_LEAST : c->bytes * 2;
		if (want > CHUNK_BYTES_MOST)
			want = CHUNK_BYTES_MOST;
		while (want < bytes + sizeof(*c))
			want *= 2;
		/* Not pk_alloc: zeroing what is written at once would touch it twice. */
		c = pk_realloc(NULL, want);
		c->bytes = want;
		SLIST_INSERT_HEAD(&o->chunks, c, link);
		o->chunk_used = 0;
		o->memory += want;
	}
	void *p = c->data + o->chunk_used;
	o->chunk_used += bytes;
	return p;
}

/* Classes: multiples of 16 up to 128, then four steps to each doubling. */
static uint32_t class_of(size_t len)
{
	if (len <= 128)
		return len == 0 ? 0 : (uint32_t)((len - 1) / 16);
	uint32_t top = 63 - (uint32_t)__builtin_clzll(len - 1); /* 2^top <= len - 1 */
	return 8 + (top - 7) * 4 + (uint32_t)(((len - 1) >> (top - 2)) & 3);
}

static size_t class_bytes(uint32_t class)
{
	if (class < 8)
		return (class + 1) * 16;
	uint32_t top = 7 + (class - 8) / 4;
	return ((size_t)1 << top) + (((size_t)(class - 8) % 4 + 1) << (top - 2));
}

static bool is_big(const struct kv_rec *r)
{
	return r->val_cap > ARENA_VAL_MAX;
}

static void val_release(struct kv_overlay *o, struct kv_rec *r)
{
	if (is_big(r)) {
		struct big *big = PK_CONTAINER(r->val, struct big, data);

		LIST_REMOVE(big, link);
		o->memory -= big->bytes;
		free(big);
	} else if (r->val_cap > 0) {
		struct free_val *f = (struct free_val *)(void *)r->val;
		uint32_t class = class_of(r->val_cap);

		f->next = o->free_vals[class];
		o->free_vals[class] = f;
	}
	r->val = NULL;
	r->val_cap = 0;
}

static void val_alloc(struct kv_overlay *o, struct kv_rec *r, size_t len)
{
	PK_ASSERT(len <= UINT32_MAX);
	if (len > ARENA_VAL_MAX) {
		struct big *big = pk_realloc(NULL, sizeof(*big) + len);

		big->bytes = sizeof(*big) + len;
		LIST_INSERT_HEAD(&o->bigs, big, link);
		o->memory += big->bytes;
		r->val = big->data;
		r->val_cap = (uint32_t)len;
		return;
	}
	uint32_t class = class_of(len);
	r->val_cap = (uint32_t)class_bytes(class);
	if (o->free_vals[class] != NULL) {
		r->val = (uint8_t *)o->free_vals[class];
		o->free_vals[class] = o->free_vals[class]->next;
	} else {
		r->val = arena_alloc(o, r->val_cap);
	}
}

static void val_set(struct kv_overlay *o, struct kv_rec *r, struct pk_bytes val)
{
	/* A big place that would be less than half used goes back; the others are kept. */
	if (val.len > r->val_cap || (is_big(r) && val.len < r->val_cap / 2)) {
		val_release(o, r);
		val_alloc(o, r, val.len);
	}
	if (val.len > 0)
		memcpy(r->val, val.data, val.len);
	o->payload += val.len;
	o->payload -= r->val_len;
	r->val_len = (uint32_t)val.len;
}

static struct kv_rec *rec_new(struct kv_overlay *o, struct pk_bytes key, struct pk_bytes val)
{
	size_t key_room = offsetof(struct kv_rec, key) + key.len;
	uint32_t cap = 0;

	key_room = (key_room + 7) & ~(size_t)7;
	if (val.len > 0 && val.len <= ARENA_VAL_MAX)
		cap = (uint32_t)class_bytes(class_of(val.len));
	struct kv_rec *r = arena_alloc(o, key_room + cap);
	*r = (struct kv_rec){ .key_len = (uint16_t)key.len, .val_cap = cap };
	r->val = (uint8_t *)r + key_room;
	memcpy(r->key, key.data, key.len);
	o->payload += key.len;
	return r;
}

/* ---- hash index ------------------------------------------------------------------------------*/

static uint64_t fold(uint64_t a, uint64_t b)
{
	__uint128_t product = (__uint128_t)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Multiply and fold, sixteen bytes a step; odd constants from the digits of pi. */
uint64_t kv_overlay_hash(uint64_t seed, struct pk_bytes key)
{
	const uint64_t c1 = 0x243f6a8885a308d3, c2 = 0x13198a2e03707345;
	const uint8_t *p = key.data;
	size_t left = key.len;
	uint64_t h = seed ^ (key.len * c1), a = 0, b = 0;

	for (; left > 16; p += 16, left -= 16)
		h = fold(pk_get_le64(p) ^ c1, pk_get_le64(p + 8) ^ h);
	if (left >= 8) {
		a = pk_get_le64(p);
		b = pk_get_le64(p + left - 8);
	} else if (left >= 4) {
		a = pk_get_le32(p);
		b = pk_get_le32(p + left - 4);
	} else if (left > 0) {
		a = (uint64_t)p[0] << 16 | (uint64_t)p[left / 2] << 8 | p[left - 1];
	}
	return fold(fold(a ^ c1 ^ h, b ^ c2) ^ h, c2);
}

static bool key_is(const struct kv_rec *r, struct pk_bytes key)
{
	return r->key_len == key.len && memcmp(r->key, key.data, key.len) == 0;
}

/* The slot that holds `key`, or the empty one where it would go. */
static struct slot *slot_of(struct slot *slots, size_t slot_count, uint64_t hash,
			    struct pk_bytes key)
{
	size_t mask = slot_count - 1;

	for (size_t i = hash & mask;; i = (i + 1) & mask) {
		struct slot *s = &slots[i];

		if (s->rec == NULL || (s->hash == hash && key_is(s->rec, key)))
			return s;
	}
}

static struct kv_rec *find(const struct kv_overlay *o, uint64_t hash, struct pk_bytes key)
{
	if (o->count == 0)
		return NULL;
	struct kv_rec *r = slot_of(o->slots, o->slot_count, hash, key)->rec;
	if (r == NULL && o->old_slots != NULL)
		r = slot_of(o->old_slots, o->old_count, hash, key)->rec;
	return r;
}

static void slot_set(struct kv_overlay *o, struct slot s)
{
	size_t mask = o->slot_count - 1, i = s.hash & mask;

	while (o->slots[i].rec != NULL)
		i = (i + 1) & mask;
	o->slots[i] = s;
}

static void table_move(struct kv_overlay *o, size_t most)
{
	for (; most > 0 && o->old_moved < o->old_count; most--, o->old_moved++)
		if (o->old_slots[o->old_moved].rec != NULL)
			slot_set(o, o->old_slots[o->old_moved]);
	if (o->old_moved < o->old_count)
		return;
	free(o->old_slots);
	o->memory -= o->old_count * sizeof(*o->old_slots);
	o->old_slots = NULL;
	o->old_count = o->old_moved = 0;
}

static void table_grow(struct kv_overlay *o)
{
	PK_ASSERT(o->old_slots == NULL); /* MOVE_SLOTS a put is more than it takes */
	o->old_slots = o->slots;
	o->old_count = o->slot_count;
	o->slot_count = o->slot_count == 0 ? TABLE_SLOTS_LEAST : o->slot_count * 2;
	o->slots = pk_alloc(o->slot_count * sizeof(*o->slots));
	o->memory += o->slot_count * sizeof(*o->slots);
}

/* ---- ordered index ---------------------------------------------------------------------------*/

static uint64_t load_be(const uint8_t *p, size_t left)
{
	if (left >= 8)
		return pk_get_be64(p);
	uint8_t bytes[8] = { 0 };
	memcpy(bytes, p, left);
	return pk_get_be64(bytes);
}

static struct head head_of(struct pk_bytes key)
{
	struct head h = { 0 };

	if (key.len > 0)
		h.hi = load_be(key.data, key.len);
	if (key.len > 8)
		h.mid = load_be(key.data + 8, key.len - 8);
	if (key.len > 16)
		h.lo = load_be(key.data + 16, key.len - 16);
	return h;
}

static struct pk_bytes rec_key(const struct kv_rec *r)
{
	return pk_bytes(r->key, r->key_len);
}

/* Is the entry's key < key (or_equal: <=)? Equal heads say nothing: the short one is padded. */
static bool entry_before(const struct entry *e, struct head head, struct pk_bytes key,
			 bool or_equal)
{
	if (e->head.hi != head.hi)
		return e->head.hi < head.hi;
	if (e->head.mid != head.mid)
		return e->head.mid < head.mid;
	if (e->head.lo != head.lo)
		return e->head.lo < head.lo;
	int order = pk_bytes_cmp(rec_key(e->rec), key);
	return or_equal ? order <= 0 : order < 0;
}

/* How many of the entries from `from` on, which are sorted, come before key. */
static uint32_t count_before(const struct entry *e, uint32_t from, uint32_t count, struct head head,
			     struct pk_bytes key, bool or_equal)
{
	while (from < count) {
		uint32_t mid = (from + count) / 2;

		if (entry_before(&e[mid], head, key, or_equal))
			from = mid + 1;
		else
			count = mid;
	}
	return from;
}

static struct kv_leaf *leaf_of(const struct kv_overlay *o, struct head head, struct pk_bytes key,
			       struct inner **path, uint32_t *at)
{
	void *node = o->root;

	for (uint32_t level = 0; level < o->height; level++) {
		struct inner *n = node;
		uint32_t i = count_before(n->e, 1, n->count, head, key, true) - 1;

		if (path != NULL) {
			path[level] = n;
			at[level] = i;
		}
		node = n->child[i];
	}
	return node;
}

/* Put `child`, which starts at `e`, behind place `at` of the inner node; split upwards as needed.
 */
static void inner_add(struct kv_overlay *o, struct inner **path, const uint32_t *at, uint32_t level,
		      struct entry e, void *child)
{
	struct inner *n = path[level];
	uint32_t i = at[level] + 1;

	if (n->count == NODE_KEYS) {
		struct inner *right = arena_alloc(o, sizeof(*right));
		uint32_t keep = i == NODE_KEYS ? NODE_KEYS - 1 : NODE_KEYS / 2;

		right->count = n->count - keep;
		memcpy(right->e, &n->e[keep], right->count * sizeof(n->e[0]));
		memcpy(right->child, &n->child[keep], right->count * sizeof(n->child[0]));
		n->count = keep;
		if (level > 0) {
			inner_add(o, path, at, level - 1, right->e[0], right);
		} else {
			struct inner *root = arena_alloc(o, sizeof(*root));

			PK_ASSERT(o->height < HEIGHT_MAX);
			root->count = 2;
			root->e[0] = n->e[0];
			root->child[0] = n;
			root->e[1] = right->e[0];
			root->child[1] = right;
			o->root = root;
			o->height++;
		}
		if (i > keep) {
			n = right;
			i -= keep;
		}
	}
	memmove(&n->e[i + 1], &n->e[i], (n->count - i) * sizeof(n->e[0]));
	memmove(&n->child[i + 1], &n->child[i], (n->count - i) * sizeof(n->child[0]));
	n->e[i] = e;
	n->child[i] = child;
	n->count++;
}

static void tree_add(struct kv_overlay *o, struct kv_rec *rec)
{
	struct inner *path[HEIGHT_MAX];
	uint32_t at[HEIGHT_MAX];
	struct pk_bytes key = rec_key(rec);
	struct entry e = { .head = head_of(key), .rec = rec };

	if (o->root == NULL) {
		o->first = arena_alloc(o, sizeof(*o->first));
		o->first->count = 0;
		o->first->next = NULL;
		o->root = o->first;
	}
	struct kv_leaf *leaf = leaf_of(o, e.head, key, path, at);
	uint32_t i = count_before(leaf->e, 0, leaf->count, e.head, key, false);
	if (leaf->count == NODE_KEYS) {
		struct kv_leaf *right = arena_alloc(o, sizeof(*right));
		/* Keys that come in order fill their leaves. */
		uint32_t keep = i == NODE_KEYS ? NODE_KEYS - 1 : NODE_KEYS / 2;

		right->count = leaf->count - keep;
		memcpy(right->e, &leaf->e[keep], right->count * sizeof(leaf->e[0]));
		right->next = leaf->next;
		leaf->next = right;
		leaf->count = keep;
		if (o->height > 0) {
			inner_add(o, path, at, o->height - 1, right->e[0], right);
		} else {
			struct inner *root = arena_alloc(o, sizeof(*root));

			root->count = 2;
			root->e[0] = leaf->e[0];
			root->child[0] = leaf;
			root->e[1] = right->e[0];
			root->child[1] = right;
			o->root = root;
			o->height = 1;
		}
		if (i > keep) {
			leaf = right;
			i -= keep;
		}
	}
	memmove(&leaf->e[i + 1], &leaf->e[i], (leaf->count - i) * sizeof(leaf->e[0]));
	leaf->e[i] = e;
	leaf->count++;
}

/* ---- the whole -------------------------------------------------------------------------------*/

struct kv_overlay *kv_overlay_new(void)
{
	struct kv_overlay *o = pk_alloc(sizeof(*o));

	SLIST_INIT(&o->chunks);
	LIST_INIT(&o->bigs);
	return o;
}

void kv_overlay_free(struct kv_overlay *o)
{
	if (o == NULL)
		return;
	while (!SLIST_EMPTY(&o->chunks)) {
		struct chunk *c = SLIST_FIRST(&o->chunks);

		SLIST_REMOVE_HEAD(&o->chunks, link);
		free(c);
	}
	while (!LIST_EMPTY(&o->bigs)) {
		struct big *big = LIST_FIRST(&o->bigs);

		LIST_REMOVE(big, link);
		free(big);
	}
	free(o->slots);
	free(o->old_slots);
	free(o);
}

const struct kv_rec *kv_overlay_find(const struct kv_overlay *o, uint64_t hash, struct pk_bytes key)
{
	return find(o, hash, key);
}

static struct kv_rec *find_or_add(struct kv_overlay *o, uint64_t hash, struct pk_bytes key,
				  struct pk_bytes val)
{
	struct kv_rec *r = find(o, hash, key);

	if (r != NULL)
		return r;
	if (o->count >= o->slot_count / 4 * 3)
		table_grow(o);
	if (o->old_count > 0)
		table_move(o, MOVE_SLOTS);
	r = rec_new(o, key, val);
	slot_set(o, (struct slot){ .hash = hash, .rec = r });
	o->count++;
	tree_add(o, r);
	return r;
}

void kv_overlay_put(struct kv_overlay *o, uint64_t hash, struct pk_bytes key, struct pk_bytes val)
{
	struct kv_rec *r = find_or_add(o, hash, key, val);

	val_set(o, r, val);
	r->gone = false;
}

void kv_overlay_del(struct kv_overlay *o, uint64_t hash, struct pk_bytes key)
{
	struct kv_rec *r = find_or_add(o, hash, key, PK_BYTES_NONE);

	o->payload -= r->val_len;
	r->val_len = 0;
	r->gone = true;
	val_release(o, r);
}

struct kv_overlay_pos kv_overlay_seek(const struct kv_overlay *o, struct pk_bytes from)
{
	struct kv_overlay_pos pos = { 0 };

	if (o->count == 0)
		return pos;
	struct head head = head_of(from);
	pos.leaf = leaf_of(o, head, from, NULL, NULL);
	pos.index = count_before(pos.leaf->e, 0, pos.leaf->count, head, from, false);
	if (pos.index == pos.leaf->count)
		pos = (struct kv_overlay_pos){ .leaf = pos.leaf->next };
	return pos;
}

const struct kv_rec *kv_overlay_at(struct kv_overlay_pos pos)
{
	return pos.leaf == NULL ? NULL : pos.leaf->e[pos.index].rec;
}

void kv_overlay_step(struct kv_overlay_pos *pos)
{
	if (pos->leaf != NULL && ++pos->index == pos->leaf->count)
		*pos = (struct kv_overlay_pos){ .leaf = pos->leaf->next };
}

const struct kv_rec *kv_overlay_find_ordered(const struct kv_overlay *o, struct pk_bytes key)
{
	const struct kv_rec *r = kv_overlay_at(kv_overlay_seek(o, key));

	return r != NULL && key_is(r, key) ? r : NULL;
}

size_t kv_overlay_count(const struct kv_overlay *o)
{
	return o->count;
}

uint64_t kv_overlay_memory(const struct kv_overlay *o)
{
	return o->memory;
}

uint64_t kv_overlay_payload(const struct kv_overlay *o)
{
	return o->payload;
}

void kv_overlay_assert(const struct kv_overlay *o, uint64_t seed)
{
	const struct kv_rec *before = NULL, *r;
	struct kv_overlay_pos pos = { .leaf = o->first };
	uint64_t payload = 0, memory = 0;
	size_t ordered = 0, hashed = 0;

	for (; (r = kv_overlay_at(pos)) != NULL; kv_overlay_step(&pos)) {
		struct pk_bytes key = rec_key(r);

		PK_ASSERT(kv_overlay_find(o, kv_overlay_hash(seed, key), key) == r); /* K1 */
		PK_ASSERT(kv_overlay_find_ordered(o, key) == r);                     /* K1 */
		PK_ASSERT(before == NULL || pk_bytes_cmp(rec_key(before), key) < 0); /* K2 */
		PK_ASSERT(!r->gone || (r->val_len == 0 && r->val_cap == 0));         /* K3 */
		PK_ASSERT(r->val_len <= r->val_cap);                                 /* K3 */
		payload += (uint64_t)r->key_len + r->val_len;
		ordered++;
		before = r;
	}
	for (size_t i = 0; i < o->slot_count; i++)
		hashed += o->slots[i].rec != NULL;
	for (size_t i = o->old_moved; i < o->old_count; i++)
		hashed += o->old_slots[i].rec != NULL;
	PK_ASSERT(ordered == o->count && hashed == o->count); /* K1 */

	const struct chunk *c;
	SLIST_FOREACH(c, &o->chunks, link)
	memory += c->bytes;
	const struct big *big;
	LIST_FOREACH (big, &o->bigs, link)
		memory += big->bytes;
	memory += (o->slot_count + o->old_count) * sizeof(o->slots[0]);
	PK_ASSERT(memory == o->memory);   /* K4 */
	PK_ASSERT(payload == o->payload); /* K4 */
}
