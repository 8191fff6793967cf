/*
 * store/kv_impl.h - the struct behind kv.h, for kv.c and kv_export.c alone.
 */
#ifndef PK_STORE_KV_IMPL_H
#define PK_STORE_KV_IMPL_H

#include "store/kv_lmdb.h"
#include "store/kv_overlay.h"

struct kv_job {
	struct kv *kv;
	bool written; /* set by a run that succeeded */
};

struct kv {
	struct kv_env e;
	MDB_txn *reader;           /* of the owner's thread; renewed by each commit_end */
	MDB_cursor *finder;        /* the reader's, for single keys; renewed with it */
	struct kv_overlay *active; /* never NULL */
	struct kv_overlay *frozen; /* from commit_begin to commit_end; read by both threads */
	struct kv_job *job;        /* as frozen */
	uint64_t seed;             /* of the overlays' hash */
	uint32_t cursors, exports; /* open now */
	bool held_by_export;
	struct kv_cur *cur_spare; /* the last one closed, to be used again */
};

/* Grow the map until `growth` bytes fit behind what is used. No job, cursor or export is open. */
void kv_grow(struct kv *kv, uint64_t growth);

#endif
