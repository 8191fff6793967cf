/*
 * store/rlog_format.h - the bytes of the log's files: docs/disk-format.md in code.
 *
 * Everything is little-endian. Every file starts with a head of 512 bytes (magic, version, crc,
 * cluster, server, then fields by kind); a segment's batches start at 4096. The readers here check
 * lengths before they read and never trust a field before its crc.
 */
#ifndef PK_STORE_RLOG_FORMAT_H
#define PK_STORE_RLOG_FORMAT_H

#include "base/bytes.h"
#include "base/err.h"

enum {
	RLOG_VERSION = 1,
	RLOG_HEAD_BYTES = 512,          /* of every file */
	RLOG_SEGMENT_HEAD_BYTES = 4096, /* where a segment's batches start */
	RLOG_SCAN_BYTES = 512,          /* batches start at multiples of this */
	RLOG_BATCH_HEAD_BYTES = 64,
	RLOG_RECORD_HEAD_BYTES = 32,
};

struct rlog_meta {
	uint64_t put; /* rises with every write */
	uint64_t term, voted_for;
	uint64_t key;     /* the salts of this directory come from it */
	bool log_created; /* the first segment exists */
};

struct rlog_segment_head {
	uint64_t key;
	uint64_t number;
	uint64_t first_index; /* of the next record when the segment was begun */
	uint64_t prev_term;   /* of record first_index - 1 */
	uint64_t first_batch; /* number of its first batch */
	uint64_t prev_end;    /* where the last batch of the segment before it ends */
	uint32_t chain;       /* crc of the record before */
	bool reset; /* nothing before it counts: an installed snapshot, or the beginning */
};

struct rlog_manifest_head {
	uint64_t put; /* rises with every manifest */
	uint64_t index, term, conf_index;
	uint64_t first_segment; /* segments below this are void */
	uint32_t conf_bytes, payload_bytes, data_crc;
};

struct rlog_batch {
	uint64_t salt;
	uint64_t number;
	uint64_t offset;    /* in its file */
	uint64_t bytes;     /* head and records */
	uint64_t span;      /* to the next batch */
	uint32_t count;     /* records */
	uint32_t chain;     /* crc of the record before the first */
	uint32_t chain_end; /* crc of the last record; == chain when there are none */
};

enum rlog_record_kind { RLOG_RECORD_DATA = 1, RLOG_RECORD_TRUNCATE = 2 };

struct rlog_record_head {
	uint32_t bytes; /* of the payload, which is padded to 8 */
	uint16_t type;  /* the Raft entry's */
	uint16_t kind;
	uint64_t term;
	uint64_t index; /* TRUNCATE: the first index that goes */
	uint32_t chain; /* crc of the record before */
	uint32_t crc;
};

/* Who wrote a file; compared with ours before anything else in it is believed. */
struct rlog_owner {
	uint64_t cluster_id, server_id;
};

/* Each fills RLOG_HEAD_BYTES at `to`. */
void rlog_meta_encode(uint8_t *to, const struct rlog_owner *who, const struct rlog_meta *m);
void rlog_segment_encode(uint8_t *to, const struct rlog_owner *who,
			 const struct rlog_segment_head *h);
void rlog_manifest_encode(uint8_t *to, const struct rlog_owner *who,
			  const struct rlog_manifest_head *h);
/* `in`: the file's first bytes, RLOG_HEAD_BYTES or as many as it has. PK_ECORRUPT: not our bytes.
 * PK_ESTATE: good bytes, but of another cluster, server or version. */
PK_CHECKED int rlog_meta_decode(struct rlog_meta *m, const struct rlog_owner *who,
				struct pk_bytes in, struct pk_err *err);
PK_CHECKED int rlog_segment_decode(struct rlog_segment_head *h, const struct rlog_owner *who,
				   struct pk_bytes in, struct pk_err *err);
PK_CHECKED int rlog_manifest_decode(struct rlog_manifest_head *h, const struct rlog_owner *who,
				    struct pk_bytes in, struct pk_err *err);

/* RLOG_BATCH_HEAD_BYTES at `to`. */
void rlog_batch_encode(uint8_t *to, const struct rlog_batch *b);
/* False unless magic and crc are right. */
bool rlog_batch_decode(struct rlog_batch *b, const uint8_t *from);

/* Append head and payload, padded to 8; returns the record's crc. h->crc is ignored. */
uint32_t rlog_record_add(struct pk_buf *to, const struct rlog_record_head *h,
			 struct pk_bytes payload);
/* Take one record from the front of `in`. PK_ECORRUPT says what is wrong, *crc_found what was
 * computed. */
PK_CHECKED int rlog_record_take(struct pk_bytes *in, struct rlog_record_head *h,
				struct pk_bytes *payload, struct pk_err *err);
/* Take one that rlog_record_take has found good before. */
void rlog_record_again(struct pk_bytes *in, struct rlog_record_head *h, struct pk_bytes *payload);

/* The salt of a segment: different for every segment number, unguessable without the key. */
uint64_t rlog_salt(uint64_t key, uint64_t segment_number);
uint64_t rlog_align(uint64_t bytes, uint64_t to); /* up; `to` is a power of two */

#endif
