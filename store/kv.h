/*
 * store/kv.h - ordered keys and values: LMDB below, the changes since its last commit above.
 *
 * A view is three layers: the active overlay (what was applied since the last freeze), the frozen
 * overlay (what the applier is writing now, if anything) and LMDB as of its last finished commit.
 * Puts and deletes go to the active overlay and are seen at once; a deleted key is a tombstone
 * there. A commit takes the active overlay as one LMDB transaction, fully synced: what is durable
 * is always the state at a freeze, whole.
 *
 *     loop:    kv_put ... kv_put, kv_commit_begin -> job
 *     anywhere:                   kv_commit_run(job)       (one at a time; blocks on the disk)
 *     loop:    (puts go on)       kv_commit_end(kv, job)
 *
 * What is read is what was written: every record carries a checksum, and damage ends the process
 * (pk_damage_stop; kv_lmdb.h says what is looked at). A whole page of the past is not noticed.
 *
 * All functions but kv_commit_run belong to one thread, the owner's. The only module that knows
 * LMDB. Keys are 1 to KV_KEY_BYTES_MAX bytes, ordered as memcmp; values
 * up to KV_VAL_BYTES_MAX. A crash is simulated by kv_close:
 * nothing but finished commits outlives it.
 */
#ifndef PK_STORE_KV_H
#define PK_STORE_KV_H

#include "base/bytes.h"
#include "base/err.h"

#define KV_KEY_BYTES_MAX 511
#define KV_VAL_BYTES_MAX (1u << 30)

struct kv;
struct kv_job;

struct kv_config {
	const char *dir;         /* exists; holds data.mdb */
	uint64_t map_bytes;      /* first size of the map; grows by doubling between commits */
	uint64_t map_bytes_most; /* and not beyond this: PK_ENOSPC from the commit */
	bool sync;               /* false only in simulation on a memory-backed folder */
};

/* Open or create, holding a lock on the file `lock` in dir: PK_ESTATE when it is held already.
 * PK_ECORRUPT when LMDB refuses the file. */
PK_CHECKED int kv_open(struct kv **out, const struct kv_config *cfg, struct pk_err *err);
/* Close, forgetting what no finished commit holds. No job may be running. */
void kv_close(struct kv *kv);

/* 1 and *val borrowed until the next call that changes kv, or 0 when there is no such key. */
int kv_get(struct kv *kv, struct pk_bytes key, struct pk_bytes *val);
void kv_put(struct kv *kv, struct pk_bytes key, struct pk_bytes val); /* copies both */
void kv_del(struct kv *kv, struct pk_bytes key);                      /* no such key: nothing */

/*
 * Walk the keys that start with `prefix`, in order, from the first that is >= `from` (an empty
 * `from` means the first). Key and value are borrowed until the next call on the cursor or any
 * change of kv; changing kv while a cursor is open is allowed only after kv_cur_close.
 */
struct kv_cur;
struct kv_cur *kv_cur_open(struct kv *kv, struct pk_bytes prefix,
			   struct pk_bytes from); /* returns owned */
int kv_cur_next(struct kv_cur *cur, struct pk_bytes *key,
		struct pk_bytes *val); /* 1, or 0 at the end */
void kv_cur_close(struct kv_cur *cur);

uint64_t kv_overlay_bytes(
	const struct kv *kv); /* memory of both overlays, for deciding when to commit */
uint64_t kv_disk_bytes(const struct kv *kv); /* pages in use in LMDB, in bytes */
/* Bytes of pages that a commit of the active overlay would change, at most: LMDB keeps them all in
 * memory until it writes them. Near to that when keys are spread, far below it when they are
 * neighbours. */
uint64_t kv_commit_bytes(const struct kv *kv);

/* Freeze the active overlay. NULL when a job is not ended yet, when there is nothing to write, or
 * when the map is too small for it and an export is open (kv_commit_held: close it, or wait). No
 * cursor may be open. */
struct kv_job *kv_commit_begin(struct kv *kv);
bool kv_commit_held(const struct kv *kv); /* the last kv_commit_begin waits for an export */
/* Write it: one transaction, synced. Any thread, blocks. An error leaves the durable state as it
 * was; the owner stops the process. */
PK_CHECKED int kv_commit_run(struct kv_job *job, struct pk_err *err);
/* After a run that returned 0: the frozen overlay is LMDB now. Takes job. */
void kv_commit_end(struct kv *kv, struct kv_job *job);

/*
 * Export: LMDB's last finished commit as a stream of chunks, in key order, while commits go on (the
 * snapshot it reads stays alive until closed, which keeps old pages from reuse: do not dawdle).
 * A chunk is records {le16 key bytes, le32 value bytes, key, value}; whole records only.
 */
struct kv_export;
#define KV_EXPORTS_MAX 16
struct kv_export *kv_export_open(struct kv *kv); /* returns owned; NULL: that many are open */
/* Append at most about `bytes_max` (at least one record) to *out. 1 when there may be more, 0 at
 * the end. */
int kv_export_next(struct kv_export *ex, size_t bytes_max, struct pk_buf *out);
void kv_export_close(struct kv_export *ex);

/*
 * Import: fill a new, empty directory from such chunks. Records must come in rising key order.
 * PK_EPROTO for malformed chunks (the directory is then of no use). finish syncs and closes it;
 * the caller opens it with kv_open and swaps directories. One call at a time, each on any thread.
 */
struct kv_import;
PK_CHECKED int kv_import_open(struct kv_import **out, const struct kv_config *cfg,
			      struct pk_err *err);
PK_CHECKED int kv_import_add(struct kv_import *im, struct pk_bytes chunk, struct pk_err *err);
PK_CHECKED int kv_import_finish(struct kv_import *im,
				struct pk_err *err); /* takes im, also on error */
void kv_import_drop(struct kv_import *im);           /* takes im */

/* For a handler of SIGSEGV and SIGBUS: this thread is inside LMDB, led astray by what the file
 * holds. */
bool kv_in_pages(void);

void kv_check(struct kv *kv); /* asserts the invariants of store/README.md, K1.. */

#endif
