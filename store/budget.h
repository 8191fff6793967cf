/*
 * store/budget.h - which part of the memory goes to what, where the configuration does not say.
 *
 * What a server needs whatever it is asked is a few MiB; sessions (1 to 3 KiB each) come with its
 * clients. The rest follows what they ask, and each part of it has a bound here.
 * With memory M (bytes):
 *
 *     pages of a commit        M/16, 8 to 512 MiB  above it LMDB writes before the commit's end
 *     what may wait            four times that     with the commit under way and the next one
 *     log                      M/16, 4 to 64 MiB   libraft holds it all
 *     log for who is behind    M/4                 at most eight times the log: for a member that
 *                                                  fetches the state, or lags and answers
 *     operations for the log   M/16, 4 to 64 MiB   then clients are not read from
 *     replies not taken yet    M/8, 8 to 256 MiB   above it the slowest readers are closed
 *
 * In all 1/2, or 11/16 while a member is behind. The kernel's copies of the files' pages take what
 * is left, and must have some of it, or each look at the tree waits for the disk.
 */
#ifndef PK_STORE_BUDGET_H
#define PK_STORE_BUDGET_H

#include "store/config.h"

struct budget {
	uint64_t commit_pages_bytes, waiting_bytes, snapshot_log_bytes, fetch_log_bytes,
		backlog_bytes, reply_queues_bytes;
};

struct budget budget_of(const struct store_config *cfg, uint64_t memory_bytes);

#endif
