#include "base/crc.h"
#include "base/mutant.h"
#include "store/tree_impl.h"

/* ---- walks ---- */

/* One level of a walk: its children, and how long the path is that leads to them. */
struct level {
	struct kv_cur *cur;
	size_t path_bytes;
};

typedef void walk_f(void *arg, struct pk_bytes path, const struct node *n);

static struct kv_cur *children_cursor(struct tree *t, uint64_t id)
{
	uint8_t prefix[9];

	return kv_cur_open(t->kv, pk_bytes(prefix, key_u64(prefix, 'N', id)), PK_BYTES_NONE);
}

/* Parents first, children in the order of their keys. Depth costs a cursor each, no stack. */
static void walk(struct tree *t, struct pk_bytes top, walk_f *each, void *arg)
{
	struct pk_buf path = PK_BUF_INIT;
	struct level *levels = NULL;
	size_t depth = 0, cap = 0;
	struct pk_bytes key, val;
	struct node n;

	if (!node_find(t, top, &n))
		return;
	pk_buf_add_bytes(&path, top);
	if (zk_path_is_root(top))
		pk_buf_clear(&path);
	each(arg, path.len > 0 ? pk_buf_bytes(&path) : pk_bytes("/", 1), &n);
	for (;;) {
		if (n.children > 0) {
			if (depth == cap) {
				cap = cap > 0 ? 2 * cap : 16;
				levels = pk_realloc(levels, cap * sizeof(*levels));
			}
			levels[depth++] = (struct level){ children_cursor(t, n.id), path.len };
		}
		while (depth > 0 && kv_cur_next(levels[depth - 1].cur, &key, &val) == 0)
			kv_cur_close(levels[--depth].cur);
		if (depth == 0)
			break;
		node_decode(&n, val);
		path.len = levels[depth - 1].path_bytes;
		pk_buf_add_u8(&path, '/');
		pk_buf_add_bytes(&path,
				 n.name.len > 0 ? n.name : pk_bytes(key.data + 9, key.len - 9));
		each(arg, pk_buf_bytes(&path), &n);
	}
	free(levels);
	pk_buf_release(&path);
}

struct path_walk {
	tree_path_each_f *each;
	void *arg;
};

static void just_path(void *arg, struct pk_bytes path, const struct node *n)
{
	struct path_walk *p = arg;

	(void)n;
	p->each(p->arg, path);
}

void tree_walk(struct tree *t, struct pk_bytes path, tree_path_each_f *each, void *arg)
{
	walk(t, path, just_path, &(struct path_walk){ each, arg });
}

/* ---- containers and TTL nodes ---- */

void tree_removal_encode(struct pk_buf *out, const struct tree_removal *r)
{
	zk_path_req_encode(out, &(struct zk_path_req){ r->path }); /* all that ZooKeeper's has */
	zk_wr_long(out, r->mzxid);
	zk_wr_long(out, r->stays_until_ms);
}

/* ContainerManager.getCandidates. */
static int64_t stays_until_ms(const struct node *n, int64_t never_used_ms)
{
	int64_t more_ms = never_used_ms, until_ms;

	if (n->children > 0)
		return INT64_MAX;
	if (n->kind == NODE_CONTAINER) {
		if ((n->cversion > 0 && !MUTANT(container_never_removed)) ||
		    MUTANT(container_removed_early))
			return INT64_MIN;
		if (never_used_ms == 0)
			return INT64_MAX;
	} else {
		PK_ASSERT(n->kind == NODE_TTL);
		more_ms = (int64_t)(n->owner & TTL_MS_MAX) / (MUTANT(ttl_early) ? 2 : 1);
	}
	return __builtin_add_overflow(n->mtime, more_ms, &until_ms) ? INT64_MAX : until_ms;
}

void tree_expired_nodes(struct tree *t, int64_t now_ms, int64_t never_used_ms, size_t most,
			tree_removal_each_f *each, void *arg)
{
	struct pk_buf all = PK_BUF_INIT; /* told after the cursor is closed: `each` may change kv */
	struct pk_bytes key, path;
	struct node n;
	uint8_t from[9];
	size_t found = 0, seen = 0;
	bool end = false;
	struct kv_cur *cur = kv_cur_open(t->kv, pk_bytes("C", 1),
					 pk_bytes(from, key_u64(from, 'C', t->expire_after + 1)));

	while (found < most && seen < EXPIRE_SCAN_MAX) {
		end = kv_cur_next(cur, &key, &path) == 0;
		if (end)
			break;
		seen++;
		t->expire_after = pk_get_be64(key.data + 1);
		bool there = node_find(t, path, &n);
		PK_ASSERT(there && n.id == t->expire_after);
		int64_t until_ms = stays_until_ms(&n, never_used_ms);
		if (now_ms <= until_ms)
			continue;
		pk_buf_add_le64(&all, (uint64_t)n.mzxid);
		pk_buf_add_le64(&all, (uint64_t)until_ms);
		pk_buf_add_le32(&all, (uint32_t)path.len);
		pk_buf_add_bytes(&all, path);
		found++;
	}
	kv_cur_close(cur);
	if (end)
		t->expire_after = 0; /* the next call starts over */
	struct pk_rd r = { .in = pk_buf_bytes(&all) };
	while (r.in.len > 0) {
		struct tree_removal gone;
		gone.mzxid = (int64_t)pk_rd_le64(&r);
		gone.stays_until_ms = (int64_t)pk_rd_le64(&r);
		size_t bytes = pk_rd_le32(&r);
		gone.path = pk_rd_bytes(&r, bytes);
		each(arg, &gone);
	}
	pk_buf_release(&all);
}

/* ---- tree_check ---- */

struct use { /* of an ACL list */
	UT_hash_handle hh;
	uint32_t id;
	uint64_t uses;
};

struct checking {
	struct tree *t;
	struct tree_meta sum;
	struct use *uses;
	uint64_t externals, indexed_e, indexed_c;
};

static void check_index(struct checking *c, struct pk_bytes path, const struct node *n)
{
	uint8_t key[17];
	size_t bytes;
	struct pk_bytes val;

	if (n->kind == NODE_PLAIN) {
		PK_ASSERT(n->owner == 0);
		return;
	}
	if (n->kind == NODE_EPHEMERAL) {
		bytes = key_2u64(key, 'E', n->owner, n->id);
		c->indexed_e++;
		PK_ASSERT(tree_session_get(c->t, n->owner, &(struct tree_session){ 0 }));
		PK_ASSERT(n->children == 0);
	} else {
		bytes = key_u64(key, 'C', n->id);
		c->indexed_c++;
		PK_ASSERT((n->kind == NODE_CONTAINER) == (n->owner == OWNER_CONTAINER));
	}
	int found = kv_get(c->t->kv, pk_bytes(key, bytes), &val);
	PK_ASSERT(found == 1 && pk_bytes_eq(val, path));
}

static void check_node(void *arg, struct pk_bytes path, const struct node *n)
{
	struct checking *c = arg;
	struct pk_bytes data = node_data(c->t, n), key, val;
	struct node again;
	struct use *u;
	uint32_t children = 0;

	PK_ASSERT(n->id >= ROOT_ID && n->id < c->t->now.node_next);
	PK_ASSERT(data.len == n->data_bytes && n->external == (data.len > DATA_INLINE_MAX));
	PK_ASSERT(!n->null_data || data.len == 0);
	PK_ASSERT(n->crc == node_crc(path, data) && n->digest == node_digest(n));
	PK_ASSERT(n->uncounted == path_uncounted(path));
	bool found = node_find(c->t, path, &again);
	PK_ASSERT(found && again.id == n->id);
	struct kv_cur *cur = children_cursor(c->t, n->id);
	while (kv_cur_next(cur, &key, &val) == 1)
		children++;
	kv_cur_close(cur);
	PK_ASSERT(children == n->children);
	check_index(c, path, n);

	c->externals += n->external;
	c->sum.nodes++;
	c->sum.data_bytes += path.len + data.len;
	c->sum.ephemerals += n->kind == NODE_EPHEMERAL;
	c->sum.digest += n->uncounted ? 0 : n->digest;
	c->sum.extra += node_extra(n);
	HASH_FIND(hh, c->uses, &n->acl, sizeof(n->acl), u);
	if (u == NULL) {
		u = pk_alloc(sizeof(*u));
		u->id = n->acl;
		HASH_ADD(hh, c->uses, id, sizeof(u->id), u);
	}
	u->uses++;
}

static uint64_t count_keys(struct tree *t, char kind)
{
	struct pk_bytes key, val;
	uint64_t count = 0;
	struct kv_cur *cur = kv_cur_open(t->kv, pk_bytes(&kind, 1), PK_BYTES_NONE);

	while (kv_cur_next(cur, &key, &val) == 1)
		count++;
	kv_cur_close(cur);
	return count;
}

void tree_check(struct tree *t)
{
	struct checking c = { .t = t };
	const struct tree_meta *m = &t->now.meta;
	struct use *u, *next;
	uint64_t sessions;

	PK_ASSERT(!t->stage.on && t->stage.count == 0);
	PK_ASSERT(t->acl_zero_count == 0 && t->acl_undo_count == 0);
	PK_ASSERT(t->quota_recount.len == 0);
	walk(t, pk_bytes("/", 1), check_node, &c);
	HASH_ITER (hh, c.uses, u, next) {
		acl_check_uses(t, u->id, u->uses);
		c.sum.extra += acl_extra(u->id, acl_bytes(t, u->id));
		HASH_DEL(c.uses, u);
		free(u);
	}
	c.sum.extra += sessions_extra(t, &sessions);
	PK_ASSERT(m->nodes == c.sum.nodes);
	PK_ASSERT(m->data_bytes == c.sum.data_bytes);
	PK_ASSERT(m->ephemerals == c.sum.ephemerals);
	PK_ASSERT(m->sessions == sessions);
	PK_ASSERT(m->digest == c.sum.digest);
	PK_ASSERT(m->extra == c.sum.extra);
	/* Nothing left over: every key belongs to a node that was met. */
	PK_ASSERT(count_keys(t, 'N') == c.sum.nodes);
	PK_ASSERT(count_keys(t, 'D') == c.externals);
	PK_ASSERT(count_keys(t, 'E') == c.indexed_e);
	PK_ASSERT(count_keys(t, 'C') == c.indexed_c);
}
