/*
 * cli/bench_io.h - paddock bench: how fast a server is that speaks ZooKeeper, ours, the reference,
 * or any other. The program paddock-bench is the same under a name of its own.
 */
#ifndef PK_CLI_BENCH_IO_H
#define PK_CLI_BENCH_IO_H

#include "base/opt.h"

extern const struct pk_cmd bench_command;
/* Parse the rest of a command line and do what it says; the process's exit status. */
int bench_run(const char *program, int argc, char *const *argv);

/* The rows there are, for completion. */
size_t bench_row_count(void);
const char *bench_row_name(size_t i);

#endif
