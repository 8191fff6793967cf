/*
 * cli/bench_proc_io.h - what the kernel has accounted to the servers' processes.
 *
 * From /proc/PID/stat (utime, stime), /proc/PID/statm and /proc/PID/io; bytes written are those
 * sent to the block layer, 0 where the kernel does not let us read them.
 */
#ifndef PK_CLI_BENCH_PROC_IO_H
#define PK_CLI_BENCH_PROC_IO_H

#include <sys/types.h>

#include "base/err.h"

#define BENCH_PIDS_MAX 16

struct bench_pids {
	pid_t pids[BENCH_PIDS_MAX];
	size_t count;
};

struct bench_proc_use {
	uint64_t cpu_ns;        /* user and system, summed over the processes */
	uint64_t written_bytes; /* summed */
	uint64_t rss_bytes;     /* of the largest */
	uint64_t rss_bytes_sum;
};

/* "123,456"; PK_EINVAL for anything else. */
PK_CHECKED int bench_pids_parse(struct bench_pids *to, const char *text, struct pk_err *err);
/* A process that is gone counts nothing. */
struct bench_proc_use bench_proc_use(const struct bench_pids *pids);
/* later - earlier; the resident sizes are the later ones. */
struct bench_proc_use bench_proc_since(const struct bench_proc_use *earlier,
				       const struct bench_proc_use *later);
uint64_t bench_proc_own_cpu_ns(void);
uint64_t bench_proc_now_ns(void); /* monotonic */

#endif
