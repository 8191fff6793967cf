#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mutant.h"
#include "store/tree_impl.h"
#include "zkproto/zk.h"

/*
 * Quotas: /zookeeper/quota<path>/zookeeper_limits says what the subtree at <path> may hold,
 * .../zookeeper_stats what it does hold ("count=N,bytes=M"). The deepest path with limits governs
 * an operation; usage is written into the usage node without touching its stat or any watch
 * (DataTree.updateQuotaStat). The paths with limits are kept in memory, found again at open: where
 * there are none, a quota costs one comparison.
 *
 * Unlike 3.8.0: malformed text counts as no limit and no usage (there it ends the server), and the
 * operations of a multi see the usage of those before them.
 */
struct quota {
	UT_hash_handle hh;
	size_t bytes;
	uint8_t path[];
};

/* StatsTrack's four numbers; -1: not set. */
struct track {
	int64_t count, bytes, count_hard, bytes_hard;
};

static const char quota_top[] = "/zookeeper/quota";
#define TOP_BYTES (sizeof(quota_top) - 1)

static struct quota *find(struct tree *t, struct pk_bytes path)
{
	struct quota *q;

	HASH_FIND(hh, t->quotas, path.data, path.len, q);
	return q;
}

static void add(struct tree *t, struct pk_bytes path)
{
	if (find(t, path) != NULL)
		return;
	struct quota *q = pk_alloc(sizeof(*q) + path.len);
	q->bytes = path.len;
	memcpy(q->path, path.data, path.len);
	HASH_ADD_KEYPTR(hh, t->quotas, q->path, q->bytes, q);
}

static void drop(struct tree *t, struct quota *q)
{
	HASH_DEL(t->quotas, q);
	free(q);
}

void quotas_release(struct tree *t)
{
	struct quota *q, *next;

	HASH_ITER (hh, t->quotas, q, next)
		drop(t, q);
}

/* "/zookeeper/quota/a/b/NAME" governs "/a/b". */
static bool governed(struct pk_bytes path, const char *name, struct pk_bytes *out)
{
	size_t tail = strlen(name) + 1;

	if (path.len <= TOP_BYTES + tail || memcmp(path.data, quota_top, TOP_BYTES) != 0 ||
	    path.data[TOP_BYTES] != '/')
		return false;
	if (path.data[path.len - tail] != '/' ||
	    memcmp(path.data + path.len - tail + 1, name, tail - 1) != 0)
		return false;
	*out = pk_bytes(path.data + TOP_BYTES, path.len - TOP_BYTES - tail);
	return true;
}

static void load_one(void *arg, struct pk_bytes path)
{
	struct pk_bytes target;

	if (governed(path, "zookeeper_limits", &target))
		add(arg, target);
}

void quotas_load(struct tree *t)
{
	quotas_release(t);
	tree_walk(t, pk_bytes(quota_top, TOP_BYTES), load_one, t);
	t->quota_dirty = false;
}

/* The deepest path with limits at or above `path`. */
static bool governing(struct tree *t, struct pk_bytes path, struct pk_bytes *out)
{
	struct pk_bytes at = path;

	while (at.len > 1) {
		if (find(t, at) != NULL) {
			*out = at;
			return true;
		}
		const uint8_t *slash = memrchr(at.data, '/', at.len);
		PK_ASSERT(slash != NULL);
		at.len = (size_t)(slash - at.data);
	}
	return false;
}

/* ---- the text of limits and usage ---- */

static bool parse_number(struct pk_bytes text, int64_t *out)
{
	char digits[24];
	char *end;

	if (text.len == 0) {
		*out = -1; /* "count=" */
		return true;
	}
	if (text.len >= sizeof(digits))
		return false;
	memcpy(digits, text.data, text.len);
	digits[text.len] = '\0';
	*out = strtoll(digits, &end, 10);
	return *end == '\0' && strchr("+-0123456789", digits[0]) != NULL;
}

/* "count=5,bytes=-1=;byteHardLimit=10;countHardLimit=6": pairs between ',' and ';', what follows a
 * second '=' is ignored. */
static void parse(struct pk_bytes text, struct track *out)
{
	static const struct track none = { -1, -1, -1, -1 };
	size_t at = 0;

	*out = none;
	while (at < text.len) {
		size_t start = at;
		while (at < text.len && text.data[at] != ',' && text.data[at] != ';')
			at++;
		struct pk_bytes pair = pk_bytes(text.data + start, at - start);
		at++;
		if (pair.len == 0)
			continue;
		const uint8_t *eq = memchr(pair.data, '=', pair.len);
		if (eq == NULL)
			goto malformed;
		struct pk_bytes key = pk_bytes(pair.data, (size_t)(eq - pair.data));
		struct pk_bytes val = pk_bytes(eq + 1, pair.len - key.len - 1);
		const uint8_t *second = val.len > 0 ? memchr(val.data, '=', val.len) : NULL;
		if (second != NULL)
			val.len = (size_t)(second - val.data);
		int64_t number;
		if (!parse_number(val, &number))
			goto malformed;
		if (pk_bytes_is(key, "count"))
			out->count = number;
		else if (pk_bytes_is(key, "bytes"))
			out->bytes = number;
		else if (pk_bytes_is(key, "countHardLimit"))
			out->count_hard = number;
		else if (pk_bytes_is(key, "byteHardLimit"))
			out->bytes_hard = number;
	}
	return;
malformed:
	*out = none;
}

static void format(const struct track *k, struct pk_buf *out)
{
	pk_buf_clear(out);
	pk_buf_printf(out, "count=%" PRId64 ",bytes=%" PRId64, k->count, k->bytes);
	if (k->count_hard == -1 && k->bytes_hard == -1)
		return;
	pk_buf_add_str(out, "=");
	if (k->bytes_hard != -1)
		pk_buf_printf(out, ";byteHardLimit=%" PRId64, k->bytes_hard);
	if (k->count_hard != -1)
		pk_buf_printf(out, ";countHardLimit=%" PRId64, k->count_hard);
}

/* The limits or usage node of `path`, whose own path is left in t->text. */
static bool find_node(struct tree *t, struct pk_bytes path, const char *name, struct node *n)
{
	pk_buf_clear(&t->text);
	pk_buf_add(&t->text, quota_top, TOP_BYTES);
	pk_buf_add_bytes(&t->text, path);
	pk_buf_add_str(&t->text, "/");
	pk_buf_add_str(&t->text, name);
	return node_find(t, pk_buf_bytes(&t->text), n);
}

/* ---- checking ---- */

static bool over(struct tree *t, int64_t now, int64_t more, int64_t soft, int64_t hard)
{
	int64_t limit = hard > -1 ? hard : soft;

	/* Usage is a node that clients may write: the sum wraps as Java's long does. */
	int64_t then = (int64_t)((uint64_t)now + (uint64_t)more);
	if (more == 0 || limit <= -1 || then <= limit)
		return false;
	t->quota_warnings++;
	return hard > -1;
}

int32_t quota_check(struct tree *t, struct pk_bytes path, int64_t bytes, int64_t count)
{
	struct pk_bytes top;
	struct node n;
	struct track limit, used;

	if (t->quotas == NULL || (t->flags & TXN_ENFORCE_QUOTA) == 0 || !governing(t, path, &top) ||
	    MUTANT(quota_not_checked))
		return 0;
	if (!find_node(t, top, "zookeeper_limits", &n))
		return 0;
	parse(node_data(t, &n), &limit);
	if (!find_node(t, top, "zookeeper_stats", &n))
		return 0;
	parse(node_data(t, &n), &used);
	if (over(t, used.count, count, limit.count, limit.count_hard) ||
	    over(t, used.bytes, bytes, limit.bytes, limit.bytes_hard))
		return ZK_EQUOTAEXCEEDED;
	return 0;
}

uint64_t tree_quota_warnings(const struct tree *t)
{
	return t->quota_warnings;
}

/* ---- usage ---- */

static void set_usage(struct tree *t, struct node *n, const struct track *used)
{
	struct pk_buf *path = &t->path;

	pk_buf_clear(path);
	pk_buf_add_bytes(path, pk_buf_bytes(&t->text));
	format(used, &t->text);
	node_change_begin(t, n);
	node_set_data(t, n, pk_buf_bytes(path), pk_buf_bytes(&t->text));
}

void quota_update(struct tree *t, struct pk_bytes path, int64_t bytes, int64_t count)
{
	struct pk_bytes top;
	struct node n;
	struct track used;

	if (t->quotas == NULL || !governing(t, path, &top) ||
	    !find_node(t, top, "zookeeper_stats", &n))
		return;
	parse(node_data(t, &n), &used);
	used.count = (int64_t)((uint64_t)used.count + (uint64_t)count);
	used.bytes = (int64_t)((uint64_t)used.bytes + (uint64_t)bytes);
	set_usage(t, &n, &used);
}

void quota_created(struct tree *t, struct pk_bytes path)
{
	struct pk_bytes target;

	if (governed(path, "zookeeper_limits", &target)) {
		add(t, target);
		t->quota_dirty = true;
	} else if (governed(path, "zookeeper_stats", &target)) {
		pk_buf_add_le32(&t->quota_recount, (uint32_t)target.len);
		pk_buf_add_bytes(&t->quota_recount, target);
	}
}

void quota_deleted(struct tree *t, struct pk_bytes path)
{
	struct pk_bytes target;
	struct quota *q;

	if (!governed(path, "zookeeper_limits", &target))
		return;
	q = find(t, target);
	if (q != NULL)
		drop(t, q);
	t->quota_dirty = true;
}

struct recount {
	struct tree *t;
	struct track used;
};

static void count_one(void *arg, struct pk_bytes path)
{
	struct recount *c = arg;
	struct node n;

	bool found = node_find(c->t, path, &n);
	PK_ASSERT(found);
	c->used.count++;
	c->used.bytes += n.data_bytes;
}

/* A usage node that was created starts with what is there (DataTree.updateQuotaForPath). */
void quota_settle(struct tree *t)
{
	struct pk_rd r = { .in = pk_buf_bytes(&t->quota_recount) };
	struct node n;

	PK_ASSERT(!t->stage.on);
	t->quota_dirty = false;
	while (r.in.len > 0) {
		size_t bytes = pk_rd_le32(&r);
		struct pk_bytes path = pk_rd_bytes(&r, bytes);
		struct recount c = { .t = t, .used = { 0, 0, -1, -1 } };

		tree_walk(t, path, count_one, &c);
		if (find_node(t, path, "zookeeper_stats", &n))
			set_usage(t, &n, &c.used);
	}
	PK_ASSERT(!r.bad);
	pk_buf_clear(&t->quota_recount);
}
