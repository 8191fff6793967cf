/*
 * store/rlog.h - the Raft log on disk: segments of chained records, term and vote, the manifest.
 *
 * Files in its directory (formats and the argument about crashes in docs/disk-format.md):
 *     meta-1, meta-2            term and vote, both written each time; the newer valid one counts
 *     seg-<number, 16 hex>      a preallocated segment: header, then batches of records; numbers
 *                               follow each other, the highest is the one written to
 *     spare-<n>                 segments prepared ahead, recycled when the log is cut at its front
 *     manifest-1, manifest-2    the last two Raft snapshots: index, term, membership, payload
 * Every record: length, type, term, index, crc32c over header and payload, chained with the crc of
 * the record before it. The records of one write make a batch with a header of its own, and a batch
 * is written only after the one before it was synced: so a torn tail (the last batch, never
 * acknowledged) is told from damage in the middle. Space that held older records is told apart by
 * the segment's own salt.
 *
 * One thread owns it. Appends complete in order, each after its bytes are synced; several that wait
 * are written by one write and one sync. It never allocates disk space on the hot path: the next
 * segment is always prepared before it is needed.
 *
 * Failure: when a disk request fails, every callback that is owed and every later one gets its
 * error. Nothing on disk may be trusted to have happened: the owner stops.
 */
#ifndef PK_STORE_RLOG_H
#define PK_STORE_RLOG_H

#include "store/disk.h"

struct rlog;

struct rlog_config {
	uint64_t segment_bytes; /* 4 MiB unless configured; a larger record gets a segment of its
				   own */
	uint64_t cluster_id;    /* stamped into every file; another cluster's file is refused */
	uint64_t server_id;
	/* Unguessable, used once, when the directory is new: so that no client can write bytes that
	 * look like a record of ours (pk_random_secret). 0 in tests. */
	uint64_t secret;
	/* At start, of the records that the newest manifest covers, no more than the last so many
	 * are loaded, of no more than so many bytes; segments that hold nothing else are not read,
	 * and go. `covered_count` 0: all are loaded, and all stay. */
	uint64_t covered_count, covered_bytes;
};
#define RLOG_SEGMENT_BYTES_DEFAULT (4u << 20)
#define RLOG_SEGMENT_BYTES_MIN     8192u
#define RLOG_RECORD_BYTES_MAX      (256u << 20) /* asserted on append, refused on reading */

struct rlog_record {
	uint64_t index;
	uint64_t term;
	uint16_t type;        /* RAFT_COMMAND, RAFT_BARRIER, RAFT_CHANGE */
	struct pk_bytes data; /* length a multiple of 8 for commands */
};

struct rlog_manifest {
	uint64_t index, term;    /* last entry that the snapshot includes */
	uint64_t conf_index;     /* index of `conf` */
	struct pk_bytes conf;    /* encoded membership */
	struct pk_bytes payload; /* the state's manifest, at most RLOG_PAYLOAD_BYTES_MAX */
};
#define RLOG_PAYLOAD_BYTES_MAX (1u << 20)

/* What start-up found; owned by the caller, freed by rlog_loaded_release. */
struct rlog_loaded {
	uint64_t term, voted_for;
	bool has_manifest;
	struct rlog_manifest manifest; /* memory in `manifest_memory` */
	uint64_t start_index;          /* index of the first record, or where the first will go */
	struct rlog_record *records;   /* contiguous from start_index; data in `memory` */
	size_t record_count;
	bool torn_tail; /* an unfinished last write was cut off */
	/* Damage that was survived, in words: one copy of two was bad, and the other one was shown
	 * to be enough. Empty text when there was none. */
	struct pk_err note;
	struct pk_buf memory, manifest_memory;
};

/*
 * Read what is needed and make the directory ready to append. PK_ECORRUPT names file, offset and
 * what was wrong, and changes nothing: damage in the middle is never cut off silently. PK_ESTATE:
 * the files are of another cluster, another server or a newer version of us. `disk` is borrowed
 * until rlog_close; its callbacks must run from now on.
 */
PK_CHECKED int rlog_open(struct rlog **out, struct disk *disk, const struct rlog_config *cfg,
			 struct rlog_loaded *loaded, struct pk_err *err);
void rlog_loaded_release(struct rlog_loaded *loaded);

typedef void rlog_done_f(void *owner, int rc, const struct pk_err *err);

/* Durable when they return: two small synced writes. Any error: the caller stops. */
PK_CHECKED int rlog_set_term(struct rlog *l, uint64_t term,
			     struct pk_err *err); /* forgets the vote */
PK_CHECKED int rlog_set_vote(struct rlog *l, uint64_t server_id, struct pk_err *err);

/* Records with consecutive indexes from the end of the log (count > 0), terms never falling. Data
 * is copied. `done` once all are durable, in order, never inside this call. */
void rlog_append(struct rlog *l, const struct rlog_record *records, size_t count, rlog_done_f *done,
		 void *owner);
/* Forget records from `index` on; takes effect in order with appends, and is durable before a later
 * append completes. */
void rlog_truncate(struct rlog *l, uint64_t index);
/*
 * The last write is the one whose damage cannot be told from a torn write that never completed.
 * This writes an empty batch behind it, unless one is there already, after which damage is
 * recognized. Worth calling when the log has been quiet for a while, and before a planned stop.
 * `done` may be NULL.
 */
void rlog_seal(struct rlog *l, rlog_done_f *done, void *owner);
/*
 * Store a manifest; then records up to manifest.index - keep_count may go (keep_count 0 with
 * reset=true: an installed snapshot replaces the whole log, whose next index is manifest.index + 1;
 * crash-safe at every step: after a restart either the old log or the new, empty one is found).
 */
void rlog_manifest_put(struct rlog *l, const struct rlog_manifest *m, uint64_t keep_count,
		       bool reset, rlog_done_f *done, void *owner);
/* The newest stored manifest, borrowed until the next put completes; NULL when there is none. */
const struct rlog_manifest *rlog_manifest_get(const struct rlog *l);

/* Bytes on disk of the records that no manifest lets go, padding included: for deciding on
 * snapshots. Counted by whole writes. */
uint64_t rlog_bytes(const struct rlog *l);
uint64_t rlog_last_index(const struct rlog *l);
/* Wait for nothing, forget everything: after the disk has stopped calling back. No callback of ours
 * is called any more. NULL may be closed. */
void rlog_close(struct rlog *l);

#endif
