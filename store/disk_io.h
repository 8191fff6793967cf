/*
 * store/disk_io.h - store/disk.h on a real directory, with one thread of its own.
 *
 * Requests are carried out one after the other by the log thread, never by libuv's pool, and
 * completed on the loop: one wake-up for all that were finished meanwhile. The thread takes no
 * signals. A write that is followed by the sync of the same file becomes one direct, synchronous
 * write (O_DIRECT with RWF_DSYNC) where the file system can; measured here that is 5 to 10 % faster
 * than write and fdatasync, and it leaves no pages behind whose fate after an error is unknown.
 *
 * One process per directory: it is locked (flock) until disk_io_close, or the process ends.
 * After the first failed request every later one fails with the same error.
 */
#ifndef PK_STORE_DISK_IO_H
#define PK_STORE_DISK_IO_H

#include "net/loop.h"
#include "store/disk.h"

struct disk_io;

/*
 * `path` is created if it is missing (its parent is not). PK_ESTATE: another process has it.
 * The loop is borrowed until disk_io_close.
 */
PK_CHECKED int disk_io_open(struct disk_io **out, const char *path, struct net_loop *loop,
			    struct pk_err *err);
struct disk *disk_io_disk(struct disk_io *d); /* borrows from d */
/*
 * Waits for the request under way, forgets the others, ends the thread, unlocks. No callback comes
 * after it. Not from inside a callback of the disk. NULL may be closed.
 */
void disk_io_close(struct disk_io *d);

struct disk_io_stats {
	uint64_t requests, synced_writes, written_bytes;
	int64_t request_us_max; /* the longest request since the last call */
};
void disk_io_stats(struct disk_io *d, struct disk_io_stats *out);
/* How long the requests with a sync took, since the last call: at most DISK_IO_TIMES, the first
 * ones. Returns how many. */
#define DISK_IO_TIMES 256
size_t disk_io_times(struct disk_io *d, int64_t us[DISK_IO_TIMES]);

#endif
