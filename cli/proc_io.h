/*
 * cli/proc_io.h - knowing a process again: a number alone may be another's by now, so a process is
 * its number, the time it started, and the boot that happened in.
 *
 * Source: proc(5), /proc/PID/stat field 22, /proc/sys/kernel/random/boot_id.
 */
#ifndef PK_CLI_PROC_IO_H
#define PK_CLI_PROC_IO_H

#include "base/err.h"

#define PROC_BOOT_BYTES 64

struct proc_id {
	int pid; /* 0: none */
	uint64_t start_ticks;
	char boot[PROC_BOOT_BYTES];
};

/* Who has this number now; PK_ENOENT when nobody (or only a zombie). */
PK_CHECKED int proc_id_of(int pid, struct proc_id *out, struct pk_err *err);
/* Does that very process still run? */
bool proc_alive(const struct proc_id *id);
/* Nothing is sent unless it is that very process; then false. */
bool proc_signal(const struct proc_id *id, int signum);

#endif
