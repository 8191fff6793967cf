#include "store/kv_lmdb.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/mem.h"

enum { READERS_MAX = 64 };

int kv_env_err(struct pk_err *err, int rc, const char *what, const char *dir)
{
	switch (rc) {
	case MDB_MAP_FULL:
		return pk_err_set(err, PK_ENOSPC,
				  "%s in %s: the map is full and may not grow beyond its most",
				  what, dir);
	case EFBIG:
	case ENOSPC:
	case EDQUOT:
		return pk_err_set(err, PK_ENOSPC, "%s in %s: %s", what, dir, strerror(rc));
	case MDB_INVALID:
	case MDB_VERSION_MISMATCH:
	case MDB_CORRUPTED:
	case MDB_PAGE_NOTFOUND:
		return pk_err_set(err, PK_ECORRUPT, "%s in %s: %s", what, dir, mdb_strerror(rc));
	case MDB_TXN_FULL:
		return pk_err_set(err, PK_ELIMIT, "%s in %s: %s", what, dir, mdb_strerror(rc));
	default: /* an open set: errno values and LMDB's own */
		return pk_err_set(err, PK_EIO, "%s in %s: %s", what, dir, mdb_strerror(rc));
	}
}

void kv_env_stop(int rc, const char *what, const char *dir)
{
	struct pk_err err = PK_ERR_INIT;

	pk_ignore(kv_env_err(&err, rc, what, dir), "only the text is wanted");
	pk_assert_fail(__FILE__, __LINE__, err.text);
}

static void on_lmdb_assert(MDB_env *env, const char *text)
{
	(void)env;
	pk_assert_fail("lmdb", 0, text);
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
		return kv_env_err(err, rc, "begin", e->dir);
	rc = mdb_dbi_open(txn, NULL, 0, &e->dbi);
	if (rc == 0)
		rc = mdb_txn_commit(txn);
	else
		mdb_txn_abort(txn);
	return rc == 0 ? 0 : kv_env_err(err, rc, "open the database", e->dir);
}

static int env_setup(struct kv_env *e, const struct kv_config *cfg, struct pk_err *err)
{
	unsigned int flags = MDB_NOTLS | MDB_NORDAHEAD;
	MDB_envinfo info;
	MDB_stat stat;
	int dead;

	if (!cfg->sync)
		flags |= MDB_NOSYNC | MDB_NOMETASYNC;
	int rc = mdb_env_create(&e->env);
	if (rc != 0) {
		e->env = NULL;
		return kv_env_err(err, rc, "create an environment", e->dir);
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
		return kv_env_err(err, rc, "open", e->dir);
	PK_ASSERT(mdb_env_get_maxkeysize(e->env) >= KV_KEY_BYTES_MAX);
	e->map_bytes = info.me_mapsize;
	e->page_bytes = stat.ms_psize;
	return 0;
}

int kv_env_open(struct kv_env *e, const struct kv_config *cfg, struct pk_err *err)
{
	PK_ASSERT(cfg->map_bytes > 0 && cfg->map_bytes_most >= cfg->map_bytes);
	*e = (struct kv_env){ .lock_fd = -1,
			      .dir = pk_strdup(cfg->dir),
			      .map_bytes_most = cfg->map_bytes_most };
	int rc = lock_dir(e, err);
	if (rc == 0)
		rc = env_setup(e, cfg, err);
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
		kv_env_stop(rc, "grow the map", e->dir);
	MDB_envinfo info;
	rc = mdb_env_info(e->env, &info);
	PK_ASSERT(rc == 0 && info.me_mapsize >= e->map_bytes);
	e->map_bytes = info.me_mapsize;
}
