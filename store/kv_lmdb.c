#include "store/kv_lmdb.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/crc.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/mutant.h"

enum { READERS_MAX = 64 };

static _Thread_local volatile sig_atomic_t g_in_pages;

bool kv_in_pages(void)
{
	return g_in_pages != 0;
}

/* LMDB reports a write that came out short, as the last one before a full disk does, as EIO. */
static bool disk_is_full(const struct kv_env *e)
{
	enum { SCARCE_BYTES = 256 * 1024 };
	struct statvfs fs;
	struct rlimit limit;
	struct stat st;
	int fd;

	if (e->env == NULL || mdb_env_get_fd(e->env, &fd) != 0 || fstat(fd, &st) != 0)
		return false;
	if (fstatvfs(fd, &fs) == 0 && (uint64_t)fs.f_bavail * fs.f_frsize < SCARCE_BYTES)
		return true;
	return getrlimit(RLIMIT_FSIZE, &limit) == 0 &&
	       (uint64_t)st.st_size + e->page_bytes > limit.rlim_cur;
}

int kv_env_err(struct pk_err *err, int rc, const char *what, const struct kv_env *e)
{
	int code = PK_EIO;

	switch (rc) {
	case MDB_MAP_FULL:
		return pk_err_set(err, PK_ENOSPC,
				  "%s in %s: the map is full at %llu bytes and may grow to %llu",
				  what, e->dir, (unsigned long long)e->map_bytes,
				  (unsigned long long)e->map_bytes_most);
	case EIO:
		if (disk_is_full(e))
			return pk_err_set(err, PK_ENOSPC,
					  "%s in %s: a write came out short: the disk is full",
					  what, e->dir);
		break;
	case EFBIG:
	case ENOSPC:
	case EDQUOT:
		code = PK_ENOSPC;
		break;
	case MDB_INVALID:
	case MDB_VERSION_MISMATCH:
	case MDB_CORRUPTED:
	case MDB_PAGE_NOTFOUND:
	case MDB_PAGE_FULL:
	case MDB_CURSOR_FULL:
	case MDB_INCOMPATIBLE:
		code = PK_ECORRUPT;
		break;
	case MDB_TXN_FULL:
		code = PK_ELIMIT;
		break;
	default: /* an open set: errno values and LMDB's own */
		break;
	}
	return pk_err_set(err, code, "%s in %s: %s", what, e->dir, mdb_strerror(rc));
}

void kv_env_stop(int rc, const char *what, const struct kv_env *e)
{
	struct pk_err err = PK_ERR_INIT;

	if (kv_env_err(&err, rc, what, e) == PK_ECORRUPT)
		pk_damage_stop(__FILE__, __LINE__, err.text);
	pk_assert_fail(__FILE__, __LINE__, err.text);
}

/* What LMDB asserts is what it found in its pages. */
static void on_lmdb_assert(MDB_env *env, const char *text)
{
	(void)env;
	pk_damage_stop("lmdb", 0, text);
}

static int lock_dir(struct kv_env *e, struct pk_err *err)
{
	char *path = pk_asprintf("%s/lock", e->dir);
	int rc = 0;

	e->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (e->lock_fd < 0)
		rc = pk_err_sys(err, errno, "open %s", path);
	else if (flock(e->lock_fd, LOCK_EX | LOCK_NB) != 0)
		rc = errno == EWOULDBLOCK ? pk_err_set(err, PK_ESTATE,
						       "%s is held: the directory is in use", path)
					  : pk_err_sys(err, errno, "lock %s", path);
	free(path);
	return rc;
}

static int open_dbi(struct kv_env *e, struct pk_err *err)
{
	MDB_txn *txn;
	int rc = mdb_txn_begin(e->env, NULL, MDB_RDONLY, &txn);

	if (rc != 0)
		return kv_env_err(err, rc, "begin", e);
	rc = mdb_dbi_open(txn, NULL, 0, &e->dbi);
	if (rc == 0)
		rc = mdb_txn_commit(txn);
	else
		mdb_txn_abort(txn);
	return rc == 0 ? 0 : kv_env_err(err, rc, "open the database", e);
}

static int env_setup(struct kv_env *e, const struct kv_config *cfg, bool alone, struct pk_err *err)
{
	unsigned int flags = MDB_NOTLS | MDB_NORDAHEAD;
	MDB_envinfo info;
	MDB_stat stat;
	int dead;

	if (alone)
		flags |= MDB_NOLOCK;
	if (!cfg->sync)
		flags |= MDB_NOSYNC | MDB_NOMETASYNC;
	int rc = mdb_env_create(&e->env);
	if (rc != 0) {
		e->env = NULL;
		return kv_env_err(err, rc, "create an environment", e);
	}
	/* An existing file that is larger than map_bytes is mapped whole by LMDB itself. */
	rc = mdb_env_set_mapsize(e->env, cfg->map_bytes);
	if (rc == 0)
		rc = mdb_env_set_maxreaders(e->env, READERS_MAX);
	if (rc == 0)
		rc = mdb_env_set_assert(e->env, on_lmdb_assert);
	if (rc == 0)
		rc = mdb_env_open(e->env, e->dir, flags, 0600);
	if (rc == 0)
		rc = mdb_env_info(e->env, &info);
	if (rc == 0)
		rc = mdb_env_stat(e->env, &stat);
	/* Slots of processes that died; the lock says there is no living one but us. */
	if (rc == 0)
		rc = mdb_reader_check(e->env, &dead);
	if (rc != 0)
		return kv_env_err(err, rc, "open", e);
	PK_ASSERT(mdb_env_get_maxkeysize(e->env) >= KV_KEY_BYTES_MAX);
	e->map_bytes = info.me_mapsize;
	e->page_bytes = stat.ms_psize;
	/* The map is aligned to the machine's pages: a record's page is found by its address. */
	if (e->page_bytes > sysconf(_SC_PAGESIZE))
		return pk_err_set(
			err, PK_ESTATE,
			"%s/data.mdb was made on a machine with pages of %u bytes, and "
			"here they have %ld: start with an empty directory, or export and "
			"import",
			e->dir, e->page_bytes, sysconf(_SC_PAGESIZE));
	return 0;
}

/* How many of the pages from `first` on the list of free pages names. */
static int count_free(struct kv_env *e, uint64_t first, uint64_t *count, struct pk_err *err)
{
	enum { FREE_DBI = 0 }; /* LMDB's own table: transaction id to {count, page numbers} */
	MDB_cursor *cur = NULL;
	MDB_val key, val;
	MDB_txn *txn;

	int rc = mdb_txn_begin(e->env, NULL, MDB_RDONLY, &txn);
	if (rc != 0)
		return kv_env_err(err, rc, "begin", e);
	rc = mdb_cursor_open(txn, FREE_DBI, &cur);
	*count = 0;
	if (rc == 0)
		rc = mdb_cursor_get(cur, &key, &val, MDB_FIRST);
	while (rc == 0) {
		const size_t *list = val.mv_data;

		if (val.mv_size < sizeof(*list) || list[0] > val.mv_size / sizeof(*list) - 1)
			rc = MDB_CORRUPTED;
		for (size_t i = 1; rc == 0 && i <= list[0]; i++)
			*count += list[i] >= first;
		if (rc == 0)
			rc = mdb_cursor_get(cur, &key, &val, MDB_NEXT);
	}
	if (cur != NULL)
		mdb_cursor_close(cur);
	mdb_txn_abort(txn);
	return rc == MDB_NOTFOUND ? 0 : kv_env_err(err, rc, "read the free list", e);
}

/*
 * A file that was cut short would be met as SIGBUS later. LMDB may leave pages at the end unwritten
 * itself when they were freed in the commit that took them, so a short file is sound when all that
 * it lacks is on the free list; it is made longer for that look, and stays so if it is sound.
 */
static int check_length(struct kv_env *e, struct pk_err *err)
{
	MDB_envinfo info;
	struct stat st;
	int fd;

	int rc = mdb_env_info(e->env, &info);
	if (rc == 0)
		rc = mdb_env_get_fd(e->env, &fd);
	if (rc != 0)
		return kv_env_err(err, rc, "read the environment", e);
	if (fstat(fd, &st) != 0)
		return pk_err_sys(err, errno, "stat %s/data.mdb", e->dir);
	uint64_t have = (uint64_t)st.st_size / e->page_bytes;
	uint64_t want = (uint64_t)info.me_last_pgno + 1, free_count = 0;
	if (have >= want)
		return 0;
	if (ftruncate(fd, (off_t)(want * e->page_bytes)) != 0)
		return pk_err_sys(err, errno, "make %s/data.mdb longer", e->dir);
	rc = count_free(e, have, &free_count, err);
	if (rc == 0 && free_count == want - have)
		return 0;
	if (ftruncate(fd, st.st_size) != 0) /* else the next open would take it for sound */
		return pk_err_sys(err, errno, "make %s/data.mdb short again", e->dir);
	return pk_err_set(err, PK_ECORRUPT,
			  "%s/data.mdb is cut short: %llu pages of %llu, and only %llu of the "
			  "missing are free",
			  e->dir, (unsigned long long)have, (unsigned long long)want,
			  (unsigned long long)free_count);
}

int kv_env_open(struct kv_env *e, const struct kv_config *cfg, bool alone, struct pk_err *err)
{
	PK_ASSERT(cfg->map_bytes > 0 && cfg->map_bytes_most >= cfg->map_bytes);
	*e = (struct kv_env){ .lock_fd = -1,
			      .dir = pk_strdup(cfg->dir),
			      .map_bytes_most = cfg->map_bytes_most };
	int rc = lock_dir(e, err);
	if (rc == 0)
		rc = env_setup(e, cfg, alone, err);
	if (rc == 0)
		rc = check_length(e, err);
	if (rc == 0)
		rc = open_dbi(e, err);
	if (rc == 0 && cfg->sync)
		rc = pk_dir_sync(e->dir, err);
	if (rc != 0)
		kv_env_close(e);
	return rc;
}

void kv_env_close(struct kv_env *e)
{
	if (e->env != NULL)
		mdb_env_close(e->env);
	if (e->lock_fd >= 0)
		close(e->lock_fd);
	free(e->dir);
	*e = (struct kv_env){ .lock_fd = -1 };
}

uint64_t kv_env_headroom(const struct kv_env *e)
{
	MDB_envinfo info;
	int rc = mdb_env_info(e->env, &info);

	PK_ASSERT(rc == 0);
	uint64_t used = ((uint64_t)info.me_last_pgno + 1) * e->page_bytes;
	return e->map_bytes > used ? e->map_bytes - used : 0;
}

void kv_env_grow(struct kv_env *e, uint64_t bytes)
{
	uint64_t headroom = kv_env_headroom(e);
	uint64_t used = e->map_bytes - headroom, want = e->map_bytes;

	while (want - used < bytes && want < e->map_bytes_most)
		want = want > e->map_bytes_most / 2 ? e->map_bytes_most : want * 2;
	if (want == e->map_bytes)
		return;
	int rc = mdb_env_set_mapsize(e->env, want);
	if (rc != 0) /* no address space: the old map may be gone already */
		kv_env_stop(rc, "grow the map", e);
	MDB_envinfo info;
	rc = mdb_env_info(e->env, &info);
	PK_ASSERT(rc == 0 && info.me_mapsize >= e->map_bytes);
	e->map_bytes = info.me_mapsize;
}

/* ---- records and their sums ------------------------------------------------------------------*/

static uint32_t sum_of(struct pk_bytes key, struct pk_bytes val)
{
	uint32_t sum = pk_crc32c((uint32_t)key.len, key.data, key.len);

	return pk_crc32c(sum, val.data, val.len);
}

static PK_NORETURN void record_stop(const struct kv_env *e, const char *what, struct pk_bytes key)
{
	struct pk_buf text = { 0 };

	pk_buf_printf(&text, "%s/data.mdb: %s, at the key ", e->dir, what);
	for (size_t i = 0; i < key.len && i < KV_KEY_BYTES_MAX; i++)
		pk_buf_printf(&text, "%02x", key.data[i]);
	pk_damage_stop(__FILE__, __LINE__, pk_buf_str(&text));
}

void kv_env_in_pages(bool in)
{
	g_in_pages = in;
}

static int cursor_get(MDB_cursor *cur, MDB_val *key, MDB_val *val, MDB_cursor_op op)
{
	g_in_pages = 1;
	int rc = mdb_cursor_get(cur, key, val, op);
	g_in_pages = 0;
	return rc;
}

int kv_env_put(MDB_cursor *cur, struct pk_bytes key, struct pk_bytes val, unsigned int flags)
{
	MDB_val k = kv_mdb(key), place = { .mv_size = val.len + KV_SUM_BYTES };
	int rc = mdb_cursor_put(cur, &k, &place, flags | MDB_RESERVE);

	if (rc != 0)
		return rc;
	if (val.len > 0)
		memcpy(place.mv_data, val.data, val.len);
	pk_put_le32((uint8_t *)place.mv_data + val.len, sum_of(key, val));
	return 0;
}

/*
 * What is looked at of LMDB's pages (MDB_page and MDB_node, data version 1). The head of a page:
 * number 8, pad 2, flags 2, then in pages of records the ends of index and free room, 2 each, or in
 * the first of overflow pages their count, 4. The index behind it: where each record begins, 2, in
 * the order of keys. A record: length of the value 4, flags 2, length of the key 2, key, value or
 * the number of its first page 8; an even number of bytes. LMDB leaves no gaps between records.
 */
enum {
	HEAD_BYTES = 16,
	FLAGS_AT = 10,
	LOWER_AT = 12,
	UPPER_AT = 14,
	PAGES_AT = 12,
	LEAF_FLAG = 2,
	OVERFLOW_FLAG = 4,
	RECORD_HEAD_BYTES = 8,
	RECORD_FLAGS_AT = 4,
	RECORD_KEY_LEN_AT = 6,
	FAR_VALUE_FLAG = 1,
	FAR_VALUE_BYTES = 8,
};

static uint16_t u16_at(const uint8_t *at)
{
	uint16_t v;

	memcpy(&v, at, sizeof(v)); /* LMDB's files are in the machine's own order */
	return v;
}

static uint32_t u32_at(const uint8_t *at)
{
	uint32_t v;

	memcpy(&v, at, sizeof(v));
	return v;
}

/* A length that is damaged must not lead out of the map: a value ends in the page where it begins,
 * or has pages of its own, right behind their head. */
static bool in_its_pages(const struct kv_env *e, MDB_val val)
{
	const uint8_t *at = val.mv_data;
	size_t offset = (uintptr_t)at & (e->page_bytes - 1);

	if (val.mv_size <= e->page_bytes - offset)
		return true;
	if (offset != HEAD_BYTES)
		return false;
	uint64_t pages = u32_at(at - HEAD_BYTES + PAGES_AT);
	return (u16_at(at - HEAD_BYTES + FLAGS_AT) & OVERFLOW_FLAG) != 0 && pages > 0 &&
	       val.mv_size <= pages * e->page_bytes - HEAD_BYTES;
}

/* All records that the page has room for are in its index, in order. */
static bool leaf_is_whole(const uint8_t *page, size_t page_bytes)
{
	size_t lower = u16_at(page + LOWER_AT), upper = u16_at(page + UPPER_AT);
	struct pk_bytes last = PK_BYTES_NONE;
	size_t bytes = 0;

	if (u16_at(page + FLAGS_AT) != LEAF_FLAG || lower < HEAD_BYTES || lower % 2 != 0 ||
	    lower > upper || upper > page_bytes)
		return false;
	for (size_t i = HEAD_BYTES; i < lower; i += 2) {
		size_t at = u16_at(page + i);

		if (at < upper || at + RECORD_HEAD_BYTES > page_bytes)
			return false;
		const uint8_t *rec = page + at;
		size_t key_len = u16_at(rec + RECORD_KEY_LEN_AT);
		bool far = (u16_at(rec + RECORD_FLAGS_AT) & FAR_VALUE_FLAG) != 0;
		size_t len = RECORD_HEAD_BYTES + key_len + (far ? FAR_VALUE_BYTES : u32_at(rec));
		struct pk_bytes key = pk_bytes(rec + RECORD_HEAD_BYTES, key_len);

		len += len % 2;
		if (len > page_bytes - at || pk_bytes_cmp(last, key) >= 0)
			return false;
		last = key;
		bytes += len;
	}
	return bytes == page_bytes - upper;
}

static void check_leaf(struct kv_env *e, MDB_val key)
{
	const uint8_t *at = key.mv_data;
	const uint8_t *page = at - ((uintptr_t)at & (e->page_bytes - 1));
	size_t slot = (uintptr_t)page / e->page_bytes % PK_COUNT(e->whole);

	if (e->whole[slot] == page)
		return;
	if (!leaf_is_whole(page, e->page_bytes))
		record_stop(e, "a page that does not hold what it has room for", kv_bytes(key));
	e->whole[slot] = page;
}

void kv_env_renewed(struct kv_env *e)
{
	memset(e->whole, 0, sizeof(e->whole));
}

static struct pk_bytes value_of(const struct kv_env *e, MDB_val key, MDB_val val)
{
	struct pk_bytes k = kv_bytes(key);

	if (k.len == 0 || k.len > KV_KEY_BYTES_MAX)
		record_stop(e, "a key of a length that there is not", PK_BYTES_NONE);
	if (val.mv_size < KV_SUM_BYTES || !in_its_pages(e, val))
		record_stop(e, "a value of a length that cannot be", k);
	return pk_bytes(val.mv_data, val.mv_size - KV_SUM_BYTES);
}

static struct pk_bytes sound_value(const struct kv_env *e, MDB_val key, MDB_val val)
{
	struct pk_bytes v = value_of(e, key, val);

	if (pk_get_le32(v.data + v.len) != sum_of(kv_bytes(key), v) && !MUTANT(record_sum_ignored))
		record_stop(e, "a record whose checksum does not match", kv_bytes(key));
	return v;
}

/* One that is only passed by: its key counts, and a value with pages of its own is not read. */
static void check_neighbour(struct kv_env *e, MDB_val key, MDB_val val)
{
	check_leaf(e, key);
	if (value_of(e, key, val).len <= e->page_bytes)
		pk_ignore(sound_value(e, key, val), "that it is sound is all");
}

/* What stands before the cursor, or at the end when `op` is MDB_LAST, must be below `key`. */
static bool check_below(struct kv_env *e, MDB_cursor *cur, MDB_cursor_op op, struct pk_bytes key)
{
	MDB_val k, v;
	int rc = cursor_get(cur, &k, &v, op);

	if (rc == MDB_NOTFOUND)
		return false;
	if (rc != 0)
		kv_env_stop(rc, "look below a key", e);
	check_neighbour(e, k, v);
	if (pk_bytes_cmp(kv_bytes(k), key) >= 0)
		record_stop(e, "keys out of order before one that was looked for", key);
	return true;
}

bool kv_env_find(struct kv_env *e, MDB_cursor *cur, struct pk_bytes key, struct pk_bytes *val)
{
	MDB_val k = kv_mdb(key), v;
	int rc = cursor_get(cur, &k, &v, MDB_SET_RANGE);

	if (rc != 0 && rc != MDB_NOTFOUND)
		kv_env_stop(rc, "get", e);
	if (rc == 0) {
		int order = pk_bytes_cmp(kv_bytes(k), key);

		if (order == 0) {
			*val = sound_value(e, k, v);
			return true;
		}
		if (MUTANT(record_neighbours_ignored))
			return false;
		check_neighbour(e, k, v);
		if (order < 0)
			record_stop(e, "keys out of order behind one that was looked for", key);
	}
	check_below(e, cur, rc == 0 ? MDB_PREV : MDB_LAST, key);
	return false;
}

bool kv_env_seek(struct kv_env *e, MDB_cursor *cur, struct pk_bytes from, struct pk_bytes *key,
		 struct pk_bytes *val)
{
	MDB_val k = kv_mdb(from), v;
	int rc = cursor_get(cur, &k, &v, from.len > 0 ? MDB_SET_RANGE : MDB_FIRST);

	if (rc == 0 && from.len > 0) {
		if (pk_bytes_cmp(kv_bytes(k), from) < 0)
			record_stop(e, "keys out of order behind one that was looked for", from);
		rc = cursor_get(cur, &k, &v,
				check_below(e, cur, MDB_PREV, from) ? MDB_NEXT : MDB_FIRST);
	} else if (rc == MDB_NOTFOUND) {
		check_below(e, cur, MDB_LAST, from);
	}
	if (rc == MDB_NOTFOUND)
		return false;
	if (rc != 0)
		kv_env_stop(rc, "seek", e);
	check_leaf(e, k);
	*val = sound_value(e, k, v);
	*key = kv_bytes(k);
	return true;
}

bool kv_env_next(struct kv_env *e, MDB_cursor *cur, struct pk_bytes *key, struct pk_bytes *val)
{
	MDB_val k, v;
	int rc = cursor_get(cur, &k, &v, MDB_NEXT);

	if (rc == MDB_NOTFOUND)
		return false;
	if (rc != 0)
		kv_env_stop(rc, "walk", e);
	check_leaf(e, k);
	*val = sound_value(e, k, v);
	if (pk_bytes_cmp(*key, kv_bytes(k)) >= 0)
		record_stop(e, "keys that do not rise", kv_bytes(k));
	*key = kv_bytes(k);
	return true;
}
