#include "base/crc.h"
#include "base/mutant.h"
#include "store/tree_impl.h"

/*
 * Keys. A node: 'N', the parent's id (be64), its name. Names that make the key too long: the first
 * NAME_HEAD bytes, a NUL (no name has one), a hash (be64) and a number (be16) that tells different
 * names with the same head and hash apart; the whole name is then in the record. The hash is keyed
 * with the state's own random id, so that nobody can choose names that collide.
 */
#define NAME_AT   9u
#define NAME_MAX_ (KV_KEY_BYTES_MAX - NAME_AT)
#define NAME_HEAD (NAME_MAX_ - 11u)

/* The record: fixed fields, the name where the key has only its head, the data when inline. */
enum record_bit {
	BIT_NULL = 1 << 2, /* bits 0 and 1: enum node_kind */
	BIT_EXTERNAL = 1 << 3,
	BIT_UNCOUNTED = 1 << 4,
	BIT_NAME = 1 << 5,
};

struct __attribute__((packed)) record_head {
	uint8_t bits;
	uint64_t id;
	int64_t czxid, mzxid, pzxid, ctime, mtime;
	int32_t version, cversion, aversion;
	uint64_t owner;
	uint32_t acl;
	uint32_t children;
	uint32_t data_bytes;
	uint32_t crc;
	uint32_t digest;
};
static_assert(sizeof(struct record_head) == 89, "the layout of docs/disk-format.md");

size_t key_u64(uint8_t *to, char kind, uint64_t a)
{
	to[0] = (uint8_t)kind;
	pk_put_be64(to + 1, a);
	return 9;
}

size_t key_2u64(uint8_t *to, char kind, uint64_t a, uint64_t b)
{
	key_u64(to, kind, a);
	pk_put_be64(to + 9, b);
	return 17;
}

/* Spreads two numbers over 64 bits (the finalizer of splitmix64); for sums of contributions. */
uint64_t mix64(uint64_t a, uint64_t b)
{
	uint64_t z = a * 0x9e3779b97f4a7c15u + b + 0x632be59bd9b4e019u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

int tree_get(struct tree *t, struct pk_bytes key, struct pk_bytes *val)
{
	if (t->stage.on) {
		int rc = stage_get(&t->stage, key, val);

		if (rc >= 0)
			return rc;
	}
	return kv_get(t->kv, key, val);
}

void tree_put(struct tree *t, struct pk_bytes key, struct pk_bytes val)
{
	if (t->stage.on)
		stage_put(&t->stage, key, val);
	else
		kv_put(t->kv, key, val);
}

void tree_del(struct tree *t, struct pk_bytes key)
{
	if (t->stage.on)
		stage_del(&t->stage, key);
	else
		kv_del(t->kv, key);
}

void node_decode(struct node *n, struct pk_bytes val)
{
	struct record_head h;
	struct pk_bytes rest = val;

	PK_ASSERT(val.len >= sizeof(h));
	memcpy(&h, val.data, sizeof(h));
	rest.data += sizeof(h);
	rest.len -= sizeof(h);
	n->id = h.id;
	n->czxid = h.czxid;
	n->mzxid = h.mzxid;
	n->pzxid = h.pzxid;
	n->ctime = h.ctime;
	n->mtime = h.mtime;
	n->version = h.version;
	n->cversion = h.cversion;
	n->aversion = h.aversion;
	n->owner = h.owner;
	n->acl = h.acl;
	n->children = h.children;
	n->data_bytes = h.data_bytes;
	n->crc = h.crc;
	n->digest = h.digest;
	n->kind = h.bits & 3;
	n->null_data = (h.bits & BIT_NULL) != 0;
	n->external = (h.bits & BIT_EXTERNAL) != 0;
	n->uncounted = (h.bits & BIT_UNCOUNTED) != 0;
	n->name = PK_BYTES_NONE;
	if ((h.bits & BIT_NAME) != 0) {
		PK_ASSERT(rest.len >= 4);
		uint32_t bytes = pk_get_le32(rest.data);
		PK_ASSERT(rest.len - 4 >= bytes);
		n->name = pk_bytes(rest.data + 4, bytes);
		rest.data += 4 + bytes;
		rest.len -= 4 + bytes;
	}
	PK_ASSERT(rest.len == (n->external ? 0 : n->data_bytes));
	n->data = rest;
}

struct pk_bytes node_name(struct pk_bytes key, struct pk_bytes val)
{
	struct record_head h;

	PK_ASSERT(val.len >= sizeof(h) && key.len > 9);
	memcpy(&h, val.data, sizeof(h));
	if ((h.bits & BIT_NAME) == 0)
		return pk_bytes(key.data + 9, key.len - 9);
	PK_ASSERT(val.len >= sizeof(h) + 4);
	uint32_t bytes = pk_get_le32(val.data + sizeof(h));
	PK_ASSERT(val.len - sizeof(h) - 4 >= bytes);
	return pk_bytes(val.data + sizeof(h) + 4, bytes);
}

static void node_write(struct tree *t, struct node *n)
{
	struct record_head h = {
		.bits = (uint8_t)(n->kind | (n->null_data ? BIT_NULL : 0) |
				  (n->external ? BIT_EXTERNAL : 0) |
				  (n->uncounted ? BIT_UNCOUNTED : 0) |
				  (n->name.len > 0 ? BIT_NAME : 0)),
		.id = n->id,
		.czxid = n->czxid,
		.mzxid = n->mzxid,
		.pzxid = n->pzxid,
		.ctime = n->ctime,
		.mtime = n->mtime,
		.version = n->version,
		.cversion = n->cversion,
		.aversion = n->aversion,
		.owner = n->owner,
		.acl = n->acl,
		.children = n->children,
		.data_bytes = n->data_bytes,
		.crc = n->crc,
		.digest = n->digest,
	};
	struct pk_buf *b = &t->record;

	pk_buf_clear(b);
	pk_buf_add(b, &h, sizeof(h));
	if (n->name.len > 0) {
		pk_buf_add_le32(b, (uint32_t)n->name.len);
		pk_buf_add_bytes(b, n->name);
	}
	if (!n->external)
		pk_buf_add_bytes(b, n->data);
	tree_put(t, pk_bytes(n->key, n->key_bytes), pk_buf_bytes(b));
}

static inline uint64_t rotl(uint64_t v, int by)
{
	return v << by | v >> (64 - by);
}

static inline void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = rotl(v[1], 13) ^ v[0];
	v[0] = rotl(v[0], 32);
	v[2] += v[3];
	v[3] = rotl(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotl(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotl(v[1], 17) ^ v[2];
	v[2] = rotl(v[2], 32);
}

/* SipHash-2-4 (Aumasson and Bernstein, 2012). */
uint64_t keyed_hash(const uint8_t key[16], struct pk_bytes in)
{
	uint64_t k0 = pk_get_le64(key), k1 = pk_get_le64(key + 8);
	uint64_t v[4] = { k0 ^ 0x736f6d6570736575u, k1 ^ 0x646f72616e646f6du,
			  k0 ^ 0x6c7967656e657261u, k1 ^ 0x7465646279746573u };
	size_t whole = in.len & ~(size_t)7;

	for (size_t at = 0; at <= whole; at += 8) {
		uint64_t m = 0;

		if (at < whole)
			m = pk_get_le64(in.data + at);
		else
			memcpy(&m, in.data + at, in.len - whole);
		if (at == whole)
			m |= (uint64_t)in.len << 56;
		v[3] ^= m;
		sip_round(v);
		sip_round(v);
		v[0] ^= m;
	}
	v[2] ^= 0xff;
	for (int i = 0; i < 4; i++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static size_t key_name_head(const struct tree *t, uint8_t *key, uint64_t parent_id,
			    struct pk_bytes name)
{
	key_u64(key, 'N', parent_id);
	if (name.len <= NAME_MAX_) {
		if (name.len > 0)
			memcpy(key + NAME_AT, name.data, name.len);
		return NAME_AT + name.len;
	}
	memcpy(key + NAME_AT, name.data, NAME_HEAD);
	key[NAME_AT + NAME_HEAD] = 0;
	pk_put_be64(key + NAME_AT + NAME_HEAD + 1, keyed_hash(t->now.meta.state_id, name));
	return NAME_AT + NAME_HEAD + 9;
}

static void key_number(struct node *n, uint32_t number)
{
	n->key[n->key_bytes - 2] = (uint8_t)(number >> 8);
	n->key[n->key_bytes - 1] = (uint8_t)number;
}

/* Look through the long names with this head and hash: they are numbered without gaps. Found: its
 * key is in n->key. Not found: n->key is the first free one. */
static bool long_child(struct tree *t, size_t head_bytes, struct pk_bytes name, struct node *n,
		       struct pk_bytes *val)
{
	n->key_bytes = (uint16_t)(head_bytes + 2);
	for (uint32_t number = 0; number <= UINT16_MAX; number++) {
		key_number(n, number);
		if (tree_get(t, pk_bytes(n->key, n->key_bytes), val) == 0)
			return false;
		node_decode(n, *val);
		if (pk_bytes_eq(n->name, name))
			return true;
	}
	PK_ASSERT(!"65536 names with one keyed hash");
	return false;
}

static bool child_record(struct tree *t, uint64_t parent_id, struct pk_bytes name, struct node *n,
			 struct pk_bytes *val)
{
	size_t bytes = key_name_head(t, n->key, parent_id, name);

	if (name.len > NAME_MAX_)
		return long_child(t, bytes, name, n, val);
	n->key_bytes = (uint16_t)bytes;
	return tree_get(t, pk_bytes(n->key, bytes), val) == 1;
}

bool node_child(struct tree *t, uint64_t parent_id, struct pk_bytes name, struct node *n)
{
	struct pk_bytes val;

	if (!child_record(t, parent_id, name, n, &val))
		return false;
	node_decode(n, val);
	return true;
}

void node_key_new(struct tree *t, uint64_t parent_id, struct pk_bytes name, struct node *n)
{
	struct pk_bytes val;
	bool found = child_record(t, parent_id, name, n, &val);

	PK_ASSERT(!found);
	n->name = name.len > NAME_MAX_ ? name : PK_BYTES_NONE;
}

static struct dir_slot *dir_slot(struct tree *t, uint64_t parent_id, struct pk_bytes name)
{
	uint64_t h = parent_id * 0x9e3779b97f4a7c15u;

	for (size_t i = 0; i < name.len; i++)
		h = (h ^ name.data[i]) * 1099511628211u;
	return &t->dirs[(h ^ h >> 32) % DIR_SLOTS];
}

static bool dir_is(const struct dir_slot *s, uint64_t parent_id, struct pk_bytes name)
{
	return s->id != 0 && s->parent_id == parent_id && s->name_bytes == name.len &&
	       memcmp(s->name, name.data, name.len) == 0;
}

/* The id of a node on the way to another, or 0. */
static uint64_t dir_find(struct tree *t, uint64_t parent_id, struct pk_bytes name, struct node *n)
{
	struct dir_slot *s = NULL;

	if (name.len <= DIR_NAME_MAX) {
		s = dir_slot(t, parent_id, name);
		if (dir_is(s, parent_id, name))
			return s->id;
	}
	if (!node_child(t, parent_id, name, n))
		return 0;
	if (s != NULL && !t->stage.on) {
		*s = (struct dir_slot){ .parent_id = parent_id,
					.id = n->id,
					.name_bytes = (uint8_t)name.len };
		memcpy(s->name, name.data, name.len);
	}
	return n->id;
}

static void dir_forget(struct tree *t, const struct node *n)
{
	struct pk_bytes name = pk_bytes(n->key + NAME_AT, n->key_bytes - NAME_AT);
	uint64_t parent_id = pk_get_be64(n->key + 1);

	if (name.len > DIR_NAME_MAX)
		return;
	struct dir_slot *s = dir_slot(t, parent_id, name);
	if (dir_is(s, parent_id, name))
		s->id = 0;
}

bool node_find(struct tree *t, struct pk_bytes path, struct node *n)
{
	struct pk_bytes rest = path;
	uint64_t at = ROOT_ID;

	if (rest.len == 0 || (rest.len == 1 && rest.data[0] == '/'))
		return node_child(t, 0, PK_BYTES_NONE, n);
	while (rest.len > 0) {
		/* "/name" goes off the front; anything else is no node's path. */
		if (rest.data[0] != '/' || rest.len == 1)
			return false;
		rest.data++;
		rest.len--;
		const uint8_t *slash = memchr(rest.data, '/', rest.len);
		size_t bytes = slash != NULL ? (size_t)(slash - rest.data) : rest.len;
		struct pk_bytes name = pk_bytes(rest.data, bytes);
		if (bytes == 0)
			return false;
		if (slash == NULL)
			return node_child(t, at, name, n);
		at = dir_find(t, at, name, n);
		if (at == 0)
			return false;
		rest.data += bytes;
		rest.len -= bytes;
	}
	return false;
}

struct pk_bytes node_data(struct tree *t, const struct node *n)
{
	uint8_t key[9];
	struct pk_bytes val = n->data;

	if (n->external) {
		int found = tree_get(t, pk_bytes(key, key_u64(key, 'D', n->id)), &val);
		PK_ASSERT(found == 1 && val.len == n->data_bytes);
	}
	return val;
}

bool path_uncounted(struct pk_bytes path)
{
	return pk_bytes_starts(path, pk_bytes_str("/zookeeper/"));
}

/* ---- digests ---- */

/* ZooKeeper's digest calls the root "", never "/". */
uint32_t node_crc(struct pk_bytes path, struct pk_bytes data)
{
	uint32_t crc = path.len > 1 ? pk_crc32(0, path.data, path.len) : 0;

	return data.len > 0 ? pk_crc32(crc, data.data, data.len) : crc;
}

uint32_t node_digest(const struct node *n)
{
	uint8_t stat[60];

	pk_put_be64(stat, (uint64_t)n->czxid);
	pk_put_be64(stat + 8, (uint64_t)n->mzxid);
	pk_put_be64(stat + 16, (uint64_t)n->pzxid);
	pk_put_be64(stat + 24, (uint64_t)n->ctime);
	pk_put_be64(stat + 32, (uint64_t)n->mtime);
	pk_put_be32(stat + 40, (uint32_t)n->version);
	pk_put_be32(stat + 44, (uint32_t)n->cversion);
	pk_put_be32(stat + 48, (uint32_t)n->aversion);
	pk_put_be64(stat + 52, n->owner);
	return pk_crc32(n->crc, stat, sizeof(stat));
}

/* What ZooKeeper's digest leaves out of a node: its ACL, and everything below /zookeeper/. */
uint64_t node_extra(const struct node *n)
{
	uint64_t extra = mix64(n->id, n->acl);

	return n->uncounted ? extra + mix64(n->id, (uint64_t)n->digest << 32 | 1) : extra;
}

static void digest_out(struct tree *t, const struct node *n)
{
	t->now.meta.digest -= n->uncounted ? 0 : n->digest;
	t->now.meta.extra -= node_extra(n);
}

static void digest_in(struct tree *t, struct node *n)
{
	n->digest = node_digest(n);
	t->now.meta.digest += n->uncounted ? 0 : n->digest;
	t->now.meta.extra += node_extra(n);
}

/* ---- changes ---- */

void node_change_begin(struct tree *t, const struct node *n)
{
	digest_out(t, n);
}

void node_change_end(struct tree *t, struct node *n)
{
	digest_in(t, n);
	node_write(t, n);
}

static void place_data(struct tree *t, struct node *n, struct pk_bytes path, struct pk_bytes data)
{
	uint8_t key[9];
	struct pk_bytes data_key = pk_bytes(key, key_u64(key, 'D', n->id));
	bool external = data.len > DATA_INLINE_MAX;

	n->crc = node_crc(path, data);
	n->null_data = data.data == NULL;
	n->data_bytes = (uint32_t)data.len;
	n->data = data;
	bool stale = n->external && !external;
	n->external = external;
	digest_in(t, n);
	/* The record first: the name in it is borrowed until the first change. */
	node_write(t, n);
	if (external)
		tree_put(t, data_key, data);
	else if (stale)
		tree_del(t, data_key);
}

void node_insert(struct tree *t, struct node *n, struct pk_bytes path, struct pk_bytes data)
{
	n->external = false;
	n->uncounted = path_uncounted(path);
	place_data(t, n, path, data);
	t->now.meta.nodes++;
	t->now.meta.data_bytes += path.len + data.len;
	if (n->kind == NODE_EPHEMERAL)
		t->now.meta.ephemerals++;
}

void node_set_data(struct tree *t, struct node *n, struct pk_bytes path, struct pk_bytes data)
{
	t->now.meta.data_bytes += data.len - n->data_bytes;
	place_data(t, n, path, data);
}

/* The last of the names with the same head and hash takes the place of the one that goes. */
static void long_remove(struct tree *t, const struct node *n)
{
	struct node last = { .key_bytes = n->key_bytes };
	struct pk_bytes val = PK_BYTES_NONE, next;
	uint32_t gone = (uint32_t)n->key[n->key_bytes - 2] << 8 | n->key[n->key_bytes - 1];
	uint32_t number = gone;

	memcpy(last.key, n->key, n->key_bytes);
	for (;;) {
		key_number(&last, number + 1);
		if (tree_get(t, pk_bytes(last.key, last.key_bytes), &next) == 0)
			break;
		val = next;
		number++;
	}
	if (number > gone) {
		pk_buf_clear(&t->record);
		pk_buf_add_bytes(&t->record, val);
		tree_put(t, pk_bytes(n->key, n->key_bytes), pk_buf_bytes(&t->record));
	}
	key_number(&last, number);
	tree_del(t, pk_bytes(last.key, last.key_bytes));
}

void node_remove(struct tree *t, const struct node *n, struct pk_bytes path)
{
	uint8_t key[9];

	dir_forget(t, n);
	digest_out(t, n);
	t->now.meta.nodes--;
	t->now.meta.data_bytes -= path.len + n->data_bytes;
	if (n->kind == NODE_EPHEMERAL)
		t->now.meta.ephemerals--;
	if (n->external)
		tree_del(t, pk_bytes(key, key_u64(key, 'D', n->id)));
	if (n->name.len > 0)
		long_remove(t, n);
	else
		tree_del(t, pk_bytes(n->key, n->key_bytes));
}

void node_stat(const struct node *n, struct zk_stat *out)
{
	*out = (struct zk_stat){
		.czxid = n->czxid,
		.mzxid = n->mzxid,
		.ctime = n->ctime,
		.mtime = n->mtime,
		.version = n->version,
		/* Stored: creates below it. Shown: creates and deletes, which are all creates but
		 * those whose nodes are still there (DataNode.copyStat); wraps like Java's int. */
		.cversion = MUTANT(cversion_wrong)
				    ? n->cversion
				    : (int32_t)(2 * (uint32_t)n->cversion - n->children),
		.aversion = n->aversion,
		.ephemeral_owner = n->kind == NODE_EPHEMERAL ? (int64_t)n->owner : 0,
		.data_length = (int32_t)n->data_bytes,
		.num_children = (int32_t)n->children,
		.pzxid = n->pzxid,
	};
}
