#include "store/kv_lmdb.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/mem.h"

enum { READERS_MAX = 64 };

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

static int sync_dir(const char *dir, struct pk_err *err)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc = 0;

	if (fd < 0)
		return pk_err_sys(err, errno, "open %s", dir);
	if (fsync(fd) != 0)
		rc = pk_err_sys(err, errno, "sync directory %s", dir);
	close(fd);
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
		rc = sync_dir(e->dir, err);
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
