/*
 * store/rlog_impl.h - the log's state, shared by rlog.c (writing) and rlog_open.c (start-up).
 *
 * Two views of the log: `next_index`, `chain`, `runs` are as of everything accepted so far;
 * `segments`, `offset`, `batch_number` as of everything handed to the disk.
 */
#ifndef PK_STORE_RLOG_IMPL_H
#define PK_STORE_RLOG_IMPL_H

#include <sys/queue.h>

#include "store/rlog.h"
#include "store/rlog_format.h"

enum {
	RLOG_BATCH_BYTES_MAX = 1 << 20, /* what one write gathers; a larger record goes alone */
	RLOG_SPARES_MAX = 2,            /* kept for recycling */
	RLOG_PIECE_BYTES = 256 << 10,   /* zeros written at a time when a spare is prepared */
	RLOG_PIECES_MAX = 4,            /* of these in one request */
	RLOG_OPS_MAX = 8,
	RLOG_FILES_MAX = 65536, /* in the directory; more is refused */
	RLOG_NAMES_MAX = 3,     /* used by one request */
};

struct rlog_segment {
	uint64_t number;
	uint64_t first_index;
	uint64_t bytes; /* of the file */
};

/* Records from first_index on have this term, until the next run. */
struct rlog_run {
	uint64_t first_index;
	uint64_t term;
};

/* After the batch whose last index is `index`, `bytes` had been written in all. */
struct rlog_mark {
	uint64_t index;
	uint64_t bytes;
};

struct rlog_file {
	char name[DISK_NAME_BYTES_MAX];
	uint64_t bytes;
};

enum rlog_item_kind { RLOG_ITEM_RECORDS, RLOG_ITEM_MANIFEST };

/* One thing to make durable, in order. */
struct rlog_item {
	STAILQ_ENTRY(rlog_item) link;
	enum rlog_item_kind kind;
	rlog_done_f *done; /* NULL: nobody asks */
	void *owner;

	/* RECORDS: encoded, with the state of the log before and after them */
	struct pk_buf bytes;
	uint32_t count;
	uint32_t chain, chain_end;
	uint64_t next_before, next_after;
	uint64_t term_before;
	uint64_t truncated_to; /* 0: it truncates nothing */

	/* MANIFEST: head and data as they will be in the file */
	struct rlog_manifest manifest; /* borrows from `memory` */
	struct pk_buf memory;
	uint64_t keep_count;
	bool reset;
};
STAILQ_HEAD(rlog_items, rlog_item);

enum rlog_flight { RLOG_IDLE, RLOG_BATCH, RLOG_PUT, RLOG_CHORE, RLOG_REFUSAL };

struct rlog {
	uint32_t magic;
	struct disk *disk;
	struct rlog_owner who;
	uint64_t segment_bytes;
	struct rlog_meta meta;
	unsigned meta_first; /* the copy to write first, 0 or 1: after damage, the bad one */

	/* accepted */
	uint64_t next_index;
	uint64_t start_index; /* truncation below this is a mistake */
	uint64_t base_term;   /* of the record before the first run */
	uint32_t chain;
	struct rlog_run *runs;
	size_t run_count, run_cap;
	bool sealed; /* the last batch accepted is an empty one, or there is none */
	struct rlog_items queue;

	/* handed to the disk */
	struct rlog_segment *segments; /* live, in order; the last is written to */
	size_t segment_count, segment_cap;
	uint64_t offset;       /* where the next batch goes in the last segment */
	uint64_t batch_number; /* its number */
	uint64_t written_bytes;
	uint64_t cut_bytes; /* of them, let go by manifests */
	struct rlog_mark *marks;
	size_t mark_first, mark_count, mark_cap; /* marks[mark_first .. mark_count) */

	/* manifests */
	bool has_manifest;
	struct rlog_manifest manifest; /* borrows from manifest_memory */
	struct pk_buf manifest_memory;
	uint64_t manifest_put;
	uint64_t manifest_first_segment;
	uint64_t manifest_file_bytes[2]; /* 0: no such file */

	/* files to come and to go */
	uint64_t spares[RLOG_SPARES_MAX];
	size_t spare_count;
	uint64_t next_spare;
	bool preparing; /* spare `preparing_number` is filled up to `preparing_bytes` */
	uint64_t preparing_number, preparing_bytes;
	struct rlog_file *garbage; /* garbage[garbage_first .. garbage_count), oldest first */
	size_t garbage_first, garbage_count, garbage_cap;

	/* the one request under way */
	enum rlog_flight flight;
	bool chore_turn; /* a batch has gone since the last chore */
	struct rlog_items flying;
	struct disk_req req;
	struct disk_op ops[RLOG_OPS_MAX];
	size_t op_count;
	char names[RLOG_NAMES_MAX][DISK_NAME_BYTES_MAX];
	size_t name_count;
	uint8_t *head;  /* one aligned block of RLOG_SEGMENT_HEAD_BYTES */
	uint8_t *batch; /* aligned */
	void *head_memory, *batch_memory;
	size_t batch_cap;

	int failed; /* 0 or the code of `failure` */
	struct pk_err failure;
};

#define RLOG_MAGIC 0x676f6c72u

/* Make room for one more element of the array; returns where it goes. */
#define RLOG_PUSH(array, count, cap)                                                               \
	(rlog_reserve((void **)&(array), (count), &(cap), sizeof((array)[0])), &(array)[(count)++])
void rlog_reserve(void **array, size_t count, size_t *cap, size_t element_bytes);

void *rlog_aligned(void **memory, size_t bytes); /* for direct writes; free(*memory) */
void rlog_segment_name(char *name, uint64_t number);
void rlog_spare_name(char *name, uint64_t number);
void rlog_garbage_add(struct rlog *l, const char *name, uint64_t bytes);
/* The term of record `index`, which is before next_index. */
uint64_t rlog_term_at(const struct rlog *l, uint64_t index);
void rlog_run_add(struct rlog *l, uint64_t index, uint64_t term);
void rlog_run_cut(struct rlog *l, uint64_t index);
void rlog_mark_add(struct rlog *l, uint64_t last_index, uint64_t span);
void rlog_mark_truncate(struct rlog *l, uint64_t index);
/* Records up to `index` are not needed any more: count them off, and retire whole segments. */
void rlog_cut(struct rlog *l, uint64_t index);
/* Both copies of term and vote, one after the other. */
PK_CHECKED int rlog_meta_put(struct rlog *l, struct rlog_meta next, struct pk_err *err);
void rlog_step(struct rlog *l); /* start the next request, if one is to be made */

#endif
