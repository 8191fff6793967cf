/*
 * store/disk.h - what the log needs of one directory, as a table of functions.
 *
 * The real one (disk_io.c) runs requests on one thread of its own and completes them on the loop;
 * the simulator's (tests/sim) keeps bytes in memory, remembers what was synced, and loses, tears,
 * delays and corrupts the rest from a seed. Start-up reads and the two tiny metadata writes are
 * synchronous by design (libraft asks for term and vote to be durable when the call returns).
 *
 * Requests complete in the order they were submitted. A request that failed has done any part of
 * its work: the owner stops the process (never continues past a failed write or sync), and every
 * later request fails too.
 *
 * What a crash leaves: every block (`block_bytes`, aligned) of a write that was not synced is old
 * or new, each by itself; a block that nobody was writing keeps what it had. The operations on
 * names have happened or not; they are durable once done.
 */
#ifndef PK_STORE_DISK_H
#define PK_STORE_DISK_H

#include "base/bytes.h"
#include "base/err.h"

#define DISK_NAME_BYTES_MAX 64

enum disk_op_kind {
	DISK_WRITE,    /* `data` at `offset` of `name`; the file exists, and grows if it must */
	DISK_SYNC,     /* what was written to `name` is durable */
	DISK_CREATE,   /* new file `name` of `bytes` zeros, written and synced, its name durable;
			  replaces an old one */
	DISK_RENAME,   /* `name` to `to`, replacing; durable */
	DISK_REMOVE,   /* `name`; durable; no such file: fine */
	DISK_TRUNCATE, /* `name` to `bytes` long; durable */
};

struct disk_op {
	enum disk_op_kind kind;
	const char *name; /* borrowed until done */
	const char *to;
	uint64_t offset;
	uint64_t bytes;
	struct pk_bytes data; /* borrowed until done */
};

struct disk_req;
typedef void disk_done_f(struct disk_req *req, int rc, const struct pk_err *err);

struct disk_req {
	struct disk_op
		*ops; /* borrowed until done; carried out in order, the first failure ends it */
	size_t op_count;
	disk_done_f *done; /* on the owner's thread, never inside submit */
	void *owner;
	struct disk_req *next; /* the disk's own */
	int rc;
	struct pk_err *err;
};

typedef void disk_each_f(void *arg, const char *name, uint64_t bytes);

struct disk {
	void *impl;
	/* Writes at multiples of this touch nobody else's bytes: a power of two, 512 to 4096. */
	uint32_t block_bytes;
	int (*list)(void *impl, disk_each_f *each, void *arg, struct pk_err *err); /* any order */
	/* Up to `len` bytes at `offset`; *got fewer only at the end of the file. PK_ENOENT: no
	 * file. */
	int (*read)(void *impl, const char *name, uint64_t offset, void *to, size_t len,
		    size_t *got, struct pk_err *err);
	void (*submit)(void *impl, struct disk_req *req);
	/* Synchronous: create `name` if it is missing, replace `data.len` bytes from `offset` on,
	 * and sync; its name is durable too. For term and vote, and repair at start. */
	int (*write_now)(void *impl, const char *name, uint64_t offset, struct pk_bytes data,
			 struct pk_err *err);
	int (*op_now)(void *impl, struct disk_op *op,
		      struct pk_err *err); /* any kind, synchronously; at start only */
	/* Bytes free for us on the file system; a guess is enough. */
	uint64_t (*free_bytes)(void *impl);
};

#endif
