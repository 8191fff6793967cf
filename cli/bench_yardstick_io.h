/*
 * cli/bench_yardstick_io.h - a server that does nothing but answer in the right form: what the load
 * generator reaches against it is the generator's limit, not a server's.
 *
 * It keeps no nodes and no sessions, and of watches who wants the next set's event; values, stats
 * and children are what bench_work_check wants of the load described by the work it is given.
 */
#ifndef PK_CLI_BENCH_YARDSTICK_IO_H
#define PK_CLI_BENCH_YARDSTICK_IO_H

#include <sys/types.h>

#include "cli/bench_work.h"

/* Start one in a child process on a free port of 127.0.0.1. It ends with this process, or by
 * bench_yardstick_stop. */
PK_CHECKED int bench_yardstick_start(const struct bench_work *w, pid_t *pid, uint16_t *port,
				     struct pk_err *err);
void bench_yardstick_stop(pid_t pid);

#endif
