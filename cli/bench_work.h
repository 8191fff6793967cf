/*
 * cli/bench_work.h - what a load consists of: requests made from numbers, and replies judged.
 *
 * Node k of a load is FOLDER/d<k modulo dirs>/n<k, ten digits>. Its value is the number k, a stamp
 * that no other write of the load has, and bytes that follow from the stamp, so that a reader can
 * tell whole values of the right node from anything else.
 */
#ifndef PK_CLI_BENCH_WORK_H
#define PK_CLI_BENCH_WORK_H

#include "base/err.h"
#include "base/rng.h"
#include "zkproto/record.h"

#define BENCH_FOLDER_BYTES_MAX 512
#define BENCH_VALUE_BYTES_MIN  16
#define BENCH_VALUE_BYTES_MAX  1047552 /* leaves a request 1 KiB below jute.maxbuffer's default */
#define BENCH_MULTI_MAX        1000

enum bench_op {
	BENCH_CREATE,
	BENCH_CREATE_FOLDER, /* key counts components of the folder's path; NodeExists is fine */
	BENCH_CREATE_DIR,    /* key is the directory; NodeExists is fine */
	BENCH_CREATE_OWN,    /* ephemeral */
	BENCH_SET,
	BENCH_GET,
	BENCH_WATCH, /* a get that leaves a watch */
	BENCH_EXISTS,
	BENCH_EXISTS_OWN, /* of an ephemeral node of `owner` */
	BENCH_REWATCH,    /* setWatches, as clients send it after a reconnect; its xid is its own */
	BENCH_CHILDREN,   /* of directory 0 */
	BENCH_MULTI,
	BENCH_SYNC,
	BENCH_DELETE,
	BENCH_DELETE_DIR,
	BENCH_DELETE_FOLDER, /* the folder itself */
	BENCH_PING,          /* its xid is the one of pings */
	BENCH_CLOSE,
};

struct bench_work {
	char folder[BENCH_FOLDER_BYTES_MAX + 1];
	uint64_t keys; /* nodes 0 .. keys - 1 are there for set, get, exists, multi */
	uint64_t dirs;
	uint32_t children;
	uint32_t value_bytes;
	uint32_t multi_count;
	uint64_t stamp; /* of the last write */
	int64_t owner;  /* the session whose request or reply it is */
	int64_t zxid;   /* the last that this session saw */
	struct pk_rng rng;
	uint8_t *pattern; /* owned */
	uint8_t *value;   /* owned, value_bytes */
};

struct bench_request {
	uint64_t key;
	uint64_t start_ns;
	int32_t xid;
	uint8_t op;   /* enum bench_op */
	bool counted; /* its reply is an operation done */
};

void bench_work_init(struct bench_work *w);
void bench_work_release(struct bench_work *w);
/* After value_bytes changed. */
void bench_work_prepare(struct bench_work *w);
/* Components of the folder's path. */
uint32_t bench_work_depth(const struct bench_work *w);

/* Append the request as a frame. */
void bench_work_encode(struct bench_work *w, struct pk_buf *out, const struct bench_request *r);
/* Judge a reply: `body` is what follows its header. PK_EPROTO with a text that names the request
 * when it is not what this request may get. */
PK_CHECKED int bench_work_check(const struct bench_work *w, const struct bench_request *r,
				const struct zk_reply_header *header, struct zk_rd *body,
				struct pk_err *err);
/* Judge an event, `body` being what follows its header: the data of node `key` changed. PK_EPROTO
 * when it is another. */
PK_CHECKED int bench_work_check_event(const struct bench_work *w, uint64_t key, struct zk_rd *body,
				      struct pk_err *err);
/* The value of node `key` under `stamp`, into to[value_bytes]. */
void bench_work_value(const struct bench_work *w, uint64_t key, uint64_t stamp, uint8_t *to);

#endif
