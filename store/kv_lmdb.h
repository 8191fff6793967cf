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

enum { KV_SUM_BYTES = 4 };

struct kv_env {
	MDB_env *env; /* NULL: not open */
	MDB_dbi dbi;
	int lock_fd;
	char *dir;
	uint64_t map_bytes; /* as it is now */
	uint64_t map_bytes_most;
	uint32_t page_bytes;
	const uint8_t *whole[64]; /* leaves looked at since the last kv_env_renewed, by address */
};

/* The reader sees another commit: pages at the same places may be others. */
void kv_env_renewed(struct kv_env *e);

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

/*
 * Every record has CRC-32C over its key and value behind its value, looked at whenever it is read.
 * A key that is not there is believed when its neighbours are sound and stand on either side of it,
 * in leaves that are whole: so neither a damaged key, nor a branch that leads elsewhere, nor a leaf
 * whose head or index hides some of its records can deny what is there. Damage ends the process
 * (pk_damage_stop). What this does not see: a whole page of the past, and a branch whose head or
 * index hides some of its leaves; those are left to the digest.
 */

/* Around calls of LMDB's other than those below, which may meet damaged pages: kv_in_pages. */
void kv_env_in_pages(bool in);
PK_CHECKED int kv_env_put(MDB_cursor *cur, struct pk_bytes key, struct pk_bytes val,
			  unsigned int flags); /* an LMDB code; *_put's flags */
/* True and *val, borrowed until the transaction ends; false: there is no such key. */
bool kv_env_find(struct kv_env *e, MDB_cursor *cur, struct pk_bytes key, struct pk_bytes *val);
/* To the first key that is not below `from`; kv_env_next: to the one behind *key, where the cursor
 * is. False: there is none. *key and *val are borrowed until the transaction ends. */
bool kv_env_seek(struct kv_env *e, MDB_cursor *cur, struct pk_bytes from, struct pk_bytes *key,
		 struct pk_bytes *val);
bool kv_env_next(struct kv_env *e, MDB_cursor *cur, struct pk_bytes *key, struct pk_bytes *val);

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
