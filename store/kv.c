#include "store/kv.h"

#include "base/mem.h"
#include "base/rng.h"
#include "store/kv_impl.h"

/* ---- open and close --------------------------------------------------------------------------*/

static int renew(struct kv *kv)
{
	int rc = mdb_txn_renew(kv->reader);

	if (rc == MDB_MAP_RESIZED) { /* only another process could: take its size */
		rc = mdb_env_set_mapsize(kv->e.env, 0);
		if (rc == 0)
			rc = mdb_txn_renew(kv->reader);
	}
	kv_env_renewed(&kv->e);
	return rc != 0 ? rc : mdb_cursor_renew(kv->reader, kv->finder);
}

int kv_open(struct kv **out, const struct kv_config *cfg, struct pk_err *err)
{
	struct kv *kv = pk_alloc(sizeof(*kv));

	int rc = kv_env_open(&kv->e, cfg, false, err);
	if (rc != 0) {
		free(kv);
		return pk_err_wrap(err, "open the state");
	}
	rc = pk_random_secret(&kv->seed, sizeof(kv->seed), err);
	if (rc == 0) {
		rc = mdb_txn_begin(kv->e.env, NULL, MDB_RDONLY, &kv->reader);
		if (rc == 0)
			rc = mdb_cursor_open(kv->reader, kv->e.dbi, &kv->finder);
		if (rc != 0)
			rc = kv_env_err(err, rc, "begin", &kv->e);
	}
	if (rc != 0) {
		mdb_txn_abort(kv->reader);
		kv_env_close(&kv->e);
		free(kv);
		return rc;
	}
	kv->active = kv_overlay_new();
	*out = kv;
	return 0;
}

void kv_close(struct kv *kv)
{
	if (kv == NULL)
		return;
	PK_ASSERT(kv->cursors == 0 && kv->exports == 0);
	mdb_cursor_close(kv->finder);
	mdb_txn_abort(kv->reader);
	kv_env_close(&kv->e);
	kv_overlay_free(kv->active);
	kv_overlay_free(kv->frozen);
	free(kv->cur_spare);
	free(kv->job);
	free(kv);
}

/* ---- point access ----------------------------------------------------------------------------*/

static void assert_key(struct pk_bytes key)
{
	PK_ASSERT(key.len > 0 && key.len <= KV_KEY_BYTES_MAX);
}

/* In the frozen overlay or LMDB. */
static int get_below(struct kv *kv, uint64_t hash, struct pk_bytes key, struct pk_bytes *val)
{
	if (kv->frozen != NULL) {
		const struct kv_rec *r = kv_overlay_find(kv->frozen, hash, key);

		if (r != NULL) {
			if (!r->gone)
				*val = pk_bytes(r->val, r->val_len);
			return !r->gone;
		}
	}
	return kv_env_find(&kv->e, kv->finder, key, val);
}

int kv_get(struct kv *kv, struct pk_bytes key, struct pk_bytes *val)
{
	assert_key(key);
	uint64_t hash = kv_overlay_hash(kv->seed, key);
	const struct kv_rec *r = kv_overlay_find(kv->active, hash, key);

	if (r == NULL)
		return get_below(kv, hash, key, val);
	if (!r->gone)
		*val = pk_bytes(r->val, r->val_len);
	return !r->gone;
}

void kv_put(struct kv *kv, struct pk_bytes key, struct pk_bytes val)
{
	assert_key(key);
	PK_ASSERT(val.len <= KV_VAL_BYTES_MAX);
	PK_ASSERT(kv->cursors == 0);
	kv_overlay_put(kv->active, kv_overlay_hash(kv->seed, key), key, val);
}

void kv_del(struct kv *kv, struct pk_bytes key)
{
	struct pk_bytes val;

	assert_key(key);
	PK_ASSERT(kv->cursors == 0);
	uint64_t hash = kv_overlay_hash(kv->seed, key);
	const struct kv_rec *r = kv_overlay_find(kv->active, hash, key);
	if (r == NULL ? get_below(kv, hash, key, &val) == 1 : !r->gone)
		kv_overlay_del(kv->active, hash, key);
}

/* ---- cursors ---------------------------------------------------------------------------------*/

/*
 * Three sorted sources, newest first. Each shows its next key; the smallest goes out, and every
 * source that shows the same key steps on with it, so an older layer never shows through.
 */
struct kv_cur {
	struct kv *kv;
	struct kv_overlay_pos active, frozen;
	MDB_cursor *mdb; /* NULL: at its end */
	struct pk_bytes mdb_key, mdb_val;
	bool mdb_shown; /* went out, or lies under what did: step on first */
	bool ended;
	size_t prefix_len;
	uint8_t prefix[KV_KEY_BYTES_MAX];
};

static void mdb_end(struct kv_cur *cur)
{
	mdb_cursor_close(cur->mdb);
	cur->mdb = NULL;
}

struct kv_cur *kv_cur_open(struct kv *kv, struct pk_bytes prefix, struct pk_bytes from)
{
	struct kv_cur *cur = kv->cur_spare != NULL ? kv->cur_spare : pk_realloc(NULL, sizeof(*cur));

	kv->cur_spare = NULL;
	cur->kv = kv;
	kv->cursors++;
	cur->active = cur->frozen = (struct kv_overlay_pos){ 0 };
	cur->mdb = NULL;
	cur->mdb_shown = false;
	cur->ended = prefix.len > KV_KEY_BYTES_MAX; /* no key is that long */
	cur->prefix_len = cur->ended ? 0 : prefix.len;
	if (cur->ended)
		return cur;
	if (prefix.len > 0)
		memcpy(cur->prefix, prefix.data, prefix.len);
	struct pk_bytes start = pk_bytes_cmp(from, prefix) > 0 ? from : prefix;

	cur->active = kv_overlay_seek(kv->active, start);
	if (kv->frozen != NULL)
		cur->frozen = kv_overlay_seek(kv->frozen, start);
	int rc = mdb_cursor_open(kv->reader, kv->e.dbi, &cur->mdb);
	if (rc != 0)
		kv_env_stop(rc, "open a cursor", &kv->e);
	if (!kv_env_seek(&kv->e, cur->mdb, start, &cur->mdb_key, &cur->mdb_val))
		mdb_end(cur);
	return cur;
}

static bool rec_is(const struct kv_rec *r, struct pk_bytes key)
{
	return r != NULL && (r->key == key.data || pk_bytes_eq(pk_bytes(r->key, r->key_len), key));
}

static const struct kv_rec *lesser(const struct kv_rec *newer, const struct kv_rec *older)
{
	if (newer == NULL || older == NULL)
		return newer != NULL ? newer : older;
	return pk_bytes_cmp(pk_bytes(older->key, older->key_len),
			    pk_bytes(newer->key, newer->key_len)) < 0
		       ? older
		       : newer;
}

int kv_cur_next(struct kv_cur *cur, struct pk_bytes *key, struct pk_bytes *val)
{
	struct pk_bytes prefix = pk_bytes(cur->prefix, cur->prefix_len);

	for (;;) {
		if (cur->mdb != NULL && cur->mdb_shown) {
			cur->mdb_shown = false; /* late, for a borrowed value ends with it */
			if (!kv_env_next(&cur->kv->e, cur->mdb, &cur->mdb_key, &cur->mdb_val))
				mdb_end(cur);
		}
		const struct kv_rec *a = kv_overlay_at(cur->active);
		const struct kv_rec *f = kv_overlay_at(cur->frozen);
		const struct kv_rec *rec = lesser(a, f);
		struct pk_bytes least = PK_BYTES_NONE;

		if (rec != NULL)
			least = pk_bytes(rec->key, rec->key_len);
		if (cur->mdb != NULL) {
			int order = rec == NULL ? -1 : pk_bytes_cmp(cur->mdb_key, least);

			if (order < 0) {
				least = cur->mdb_key;
				rec = NULL;
			}
			cur->mdb_shown = order <= 0;
		}
		if (least.len == 0 || cur->ended || !pk_bytes_starts(least, prefix)) {
			cur->mdb_shown = false;
			cur->ended = true;
			return 0;
		}
		if (rec_is(a, least))
			kv_overlay_step(&cur->active);
		if (rec_is(f, least))
			kv_overlay_step(&cur->frozen);
		if (rec != NULL && rec->gone)
			continue;
		*key = least;
		*val = rec != NULL ? pk_bytes(rec->val, rec->val_len) : cur->mdb_val;
		return 1;
	}
}

void kv_cur_close(struct kv_cur *cur)
{
	struct kv *kv = cur->kv;

	PK_ASSERT(kv->cursors > 0);
	kv->cursors--;
	if (cur->mdb != NULL)
		mdb_cursor_close(cur->mdb);
	if (kv->cur_spare == NULL)
		kv->cur_spare = cur;
	else
		free(cur);
}

/* ---- commit ----------------------------------------------------------------------------------*/

uint64_t kv_overlay_bytes(const struct kv *kv)
{
	uint64_t bytes = kv_overlay_memory(kv->active);

	return kv->frozen != NULL ? bytes + kv_overlay_memory(kv->frozen) : bytes;
}

static MDB_stat stat_of(const struct kv *kv)
{
	MDB_stat stat;
	int rc = mdb_stat(kv->reader, kv->e.dbi, &stat);

	PK_ASSERT(rc == 0);
	return stat;
}

uint64_t kv_disk_bytes(const struct kv *kv)
{
	MDB_stat s = stat_of(kv);

	/* with the two meta pages */
	return (2 + s.ms_branch_pages + s.ms_leaf_pages + s.ms_overflow_pages) *
	       (uint64_t)kv->e.page_bytes;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/*
 * Each record may be on another leaf, below another branch, as long as there are as many. What is
 * new fills pages of its own, at least half.
 */
uint64_t kv_commit_bytes(const struct kv *kv)
{
	MDB_stat s = stat_of(kv);
	uint64_t count = kv_overlay_count(kv->active);
	uint64_t touched = least(count, s.ms_leaf_pages) + least(count, s.ms_branch_pages);

	return touched * kv->e.page_bytes + 2 * kv_overlay_payload(kv->active);
}

/*
 * More than a commit of the active overlay can add at the end of the file, should no freed page be
 * fit for reuse. A leaf that is touched is copied, and may be split once however full it was;
 * beyond that, new pages are at least a quarter full. The branches above them: no more than copies
 * of all, and one new for every two new leaves. Then the list of freed pages, eight bytes each.
 */
static uint64_t growth_of_commit(const struct kv *kv)
{
	MDB_stat s = stat_of(kv);
	uint64_t count = kv_overlay_count(kv->active);
	uint64_t touched = least(count, s.ms_leaf_pages);
	uint64_t filled = 4 * (kv_overlay_payload(kv->active) + (16 + KV_SUM_BYTES) * count) /
				  kv->e.page_bytes +
			  1;
	uint64_t leaves = 2 * touched + filled;
	uint64_t branches = 2 * s.ms_branch_pages + leaves / 2;
	uint64_t freed = (leaves + branches + s.ms_overflow_pages) / 256 + 64;

	return (leaves + branches + freed) * kv->e.page_bytes;
}

struct kv_job *kv_commit_begin(struct kv *kv)
{
	PK_ASSERT(kv->cursors == 0);
	kv->held_by_export = false;
	if (kv->job != NULL || kv_overlay_count(kv->active) == 0)
		return NULL;
	uint64_t growth = growth_of_commit(kv);
	if (kv_env_headroom(&kv->e) < growth) {
		/* What an export reads is not free for use again: better late than a full map. */
		if (kv->exports > 0) {
			kv->held_by_export = true;
			return NULL;
		}
		kv_grow(kv, growth);
	}
	kv->frozen = kv->active;
	kv->active = kv_overlay_new();
	kv->job = pk_alloc(sizeof(*kv->job));
	kv->job->kv = kv;
	return kv->job;
}

bool kv_commit_held(const struct kv *kv)
{
	return kv->held_by_export;
}

/* The reader of the owner's thread is the one transaction that is open now. */
void kv_grow(struct kv *kv, uint64_t growth)
{
	PK_ASSERT(kv->job == NULL && kv->cursors == 0 && kv->exports == 0);
	if (kv->e.map_bytes == kv->e.map_bytes_most || kv_env_headroom(&kv->e) >= growth)
		return;
	mdb_txn_reset(kv->reader);
	kv_env_grow(&kv->e, growth);
	int rc = renew(kv);
	if (rc != 0)
		kv_env_stop(rc, "renew the reader", &kv->e);
}

/*
 * New names come in rising order, and LMDB, which splits a full page in its middle unless the new
 * key is the page's last, would leave the pages behind them half full. Hence two walks: of each
 * `round` keys the first walk takes `first`, from the last key down, so that every split is in the
 * middle; the second brings the others to pages that have room for just these.
 */
struct fill {
	size_t round, first;
};

static struct fill fill_of(const struct kv_env *e, const struct kv_overlay *o)
{
	enum { PAGE_HEAD = 16, ENTRY_BYTES = 8 + 2 + 1 + KV_SUM_BYTES, FEW = 20, MANY = 10 };
	size_t each = (size_t)(kv_overlay_payload(o) / kv_overlay_count(o)) + ENTRY_BYTES;
	size_t fit = (e->page_bytes - PAGE_HEAD) / each;

	if (fit < 2) /* such values have pages of their own */
		return (struct fill){ 1, 1 };
	/* mdb_page_split: of few keys one more than half stays below the new page, if they fit */
	size_t below = (fit + 1) / 2 + (fit < FEW);
	if (below > fit)
		below = fit;
	/* a tenth stays free where that is a whole key: not all are of one size */
	return (struct fill){ fit - fit / MANY, fit + 1 - below };
}

static int write_rec(MDB_cursor *cur, const struct kv_rec *r)
{
	struct pk_bytes key = pk_bytes(r->key, r->key_len);
	MDB_val k = kv_mdb(key);

	if (!r->gone)
		return kv_env_put(cur, key, pk_bytes(r->val, r->val_len), 0);
	int rc = mdb_cursor_get(cur, &k, NULL, MDB_SET);
	if (rc == 0)
		return mdb_cursor_del(cur, 0);
	return rc == MDB_NOTFOUND ? 0 : rc; /* put and deleted since the last commit */
}

static int write_overlay(struct kv_env *e, const struct kv_overlay *o, MDB_txn *txn)
{
	size_t count = kv_overlay_count(o), n = 0;
	const struct kv_rec *r;
	struct fill fill = fill_of(e, o);
	MDB_cursor *cur;

	int rc = mdb_cursor_open(txn, e->dbi, &cur);
	if (rc != 0)
		return rc;
	/* Both walks in key order: neighbours share their pages. */
	const struct kv_rec **recs = pk_alloc(count * sizeof(*recs));
	struct kv_overlay_pos pos = kv_overlay_seek(o, PK_BYTES_NONE);
	for (; (r = kv_overlay_at(pos)) != NULL; kv_overlay_step(&pos))
		recs[n++] = r;
	PK_ASSERT(n == count);
	for (size_t i = count; rc == 0 && i-- > 0;) {
		if (i % fill.round < fill.first)
			rc = write_rec(cur, recs[i]);
	}
	for (size_t i = 0; rc == 0 && i < count; i++) {
		if (i % fill.round >= fill.first)
			rc = write_rec(cur, recs[i]);
	}
	free(recs);
	mdb_cursor_close(cur);
	return rc;
}

int kv_commit_run(struct kv_job *job, struct pk_err *err)
{
	struct kv_env *e = &job->kv->e;
	MDB_txn *txn;

	PK_ASSERT(!job->written);
	int rc = mdb_txn_begin(e->env, NULL, 0, &txn);
	if (rc != 0)
		return kv_env_err(err, rc, "begin a commit", e);
	kv_env_in_pages(true);
	rc = write_overlay(e, job->kv->frozen, txn);
	if (rc != 0)
		mdb_txn_abort(txn);
	else
		rc = mdb_txn_commit(txn);
	kv_env_in_pages(false);
	if (rc != 0)
		return kv_env_err(err, rc, "commit", e);
	job->written = true;
	return 0;
}

void kv_commit_end(struct kv *kv, struct kv_job *job)
{
	PK_ASSERT(job != NULL && kv->job == job && job->written);
	PK_ASSERT(kv->cursors == 0);
	mdb_txn_reset(kv->reader);
	int rc = renew(kv);
	if (rc != 0)
		kv_env_stop(rc, "renew the reader", &kv->e);
	/* Only now: the reader sees what the frozen overlay said. */
	kv_overlay_free(kv->frozen);
	kv->frozen = NULL;
	kv->job = NULL;
	free(job);
}

void kv_check(struct kv *kv)
{
	struct pk_bytes key, val, again, before = PK_BYTES_NONE;
	MDB_envinfo info;

	kv_overlay_assert(kv->active, kv->seed);
	if (kv->frozen != NULL)
		kv_overlay_assert(kv->frozen, kv->seed);
	PK_ASSERT((kv->frozen != NULL) == (kv->job != NULL)); /* K5 */
	int rc = mdb_env_info(kv->e.env, &info);
	PK_ASSERT(rc == 0);
	PK_ASSERT(kv->job != NULL || mdb_txn_id(kv->reader) == info.me_last_txnid); /* K6 */
	PK_ASSERT(info.me_mapsize == kv->e.map_bytes);                              /* K7 */

	struct kv_cur *cur = kv_cur_open(kv, PK_BYTES_NONE, PK_BYTES_NONE);
	uint8_t last[KV_KEY_BYTES_MAX];
	while (kv_cur_next(cur, &key, &val) == 1) {
		PK_ASSERT(pk_bytes_cmp(before, key) < 0); /* K8 */
		PK_ASSERT(kv_get(kv, key, &again) == 1);  /* K8 */
		PK_ASSERT(pk_bytes_eq(val, again));       /* K8 */
		memcpy(last, key.data, key.len);
		before = pk_bytes(last, key.len);
	}
	kv_cur_close(cur);
}
