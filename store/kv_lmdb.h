/*
 * store/kv_lmdb.h - what kv.c, kv_export.c and kv_import.c share: the LMDB environment of one
 * directory, its lock and the growth of its map. Private to store/kv*.c; the one header with LMDB.
 *
 * Flags: MDB_NOTLS, for several readers live on the owner's thread while the writer is another;
 * MDB_NORDAHEAD, because lookups are random and a tree larger than memory must not drag
 * neighbours in; MDB_NOSYNC only when the configuration says sync=false. Freed pages are zeroed
 * before reuse (no MDB_NOMEMINIT), so no process memory reaches the disk.
 */
#ifndef PK_STORE_KV_LMDB_H
#define PK_STORE_KV_LMDB_H

#include <lmdb.h>

#include "store/kv.h"

struct kv_env {
	MDB_env *env; /* NULL: not open */
	MDB_dbi dbi;
	int lock_fd;
	char *dir;
	uint64_t map_bytes; /* as it is now */
	uint64_t map_bytes_most;
	uint32_t page_bytes;
};

/*
 * Lock the directory, open or create data.mdb, check its length, sync the directory. `alone` is
 * for an environment that has one user at a time: a transaction may then begin on one thread and
 * end on another. Without it LMDB's writer lock belongs to the thread that took it; ended elsewhere
 * it stays on that thread's list of robust mutexes, and the next lock there is a write to memory
 * that the closed environment has unmapped.
 */
PK_CHECKED int kv_env_open(struct kv_env *e, const struct kv_config *cfg, bool alone,
			   struct pk_err *err);
void kv_env_close(struct kv_env *e); /* may be called on one that is not open */

/* Bytes of the map behind the last page in use. */
uint64_t kv_env_headroom(const struct kv_env *e);
/* Double the map until its headroom is `bytes` or it meets map_bytes_most. No transaction of this
 * process may be open. Does not fail: a map that stays too small shows as PK_ENOSPC in the write.
 */
void kv_env_grow(struct kv_env *e, uint64_t bytes);

/* The error of an LMDB call that returned rc, in words and with a code of ours. */
int kv_env_err(struct pk_err *err, int rc, const char *what, const struct kv_env *e);
/* LMDB refused to read what it wrote: nothing true can be answered, so stop. */
PK_NORETURN void kv_env_stop(int rc, const char *what, const struct kv_env *e);

static inline MDB_val kv_mdb(struct pk_bytes b)
{
	return (MDB_val){ .mv_size = b.len, .mv_data = (void *)(uintptr_t)b.data };
}

static inline struct pk_bytes kv_bytes(MDB_val v)
{
	return pk_bytes(v.mv_data, v.mv_size);
}

#endif
