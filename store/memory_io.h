/*
 * store/memory_io.h - how much memory this process may have.
 */
#ifndef PK_STORE_MEMORY_IO_H
#define PK_STORE_MEMORY_IO_H

#include <stdint.h>

/*
 * Bytes: the least of what the machine has and what the control groups that the process is in, and
 * those above them, allow (cgroup 2: memory.max, at which processes are ended, and memory.high, at
 * which they are slowed down; cgroup 1: memory.limit_in_bytes). Limits that change later are not
 * noticed. `root` is "" but in tests: the folder below which /proc and /sys lie.
 */
uint64_t memory_may_have(const char *root);

#endif
