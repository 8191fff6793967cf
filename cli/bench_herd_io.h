/*
 * cli/bench_herd_io.h - many sessions, each with an ephemeral node of its own and a watch on it:
 * what they cost a server, and whether a break loses any.
 *
 * They stand for a while and ping. With `reconnect` they outlive their servers: each goes on with
 * another one and sets its watch again, as clients do. At the end every node is looked for, with
 * its owner, and set, and every watch has to tell of it: nothing can be missing unseen.
 */
#ifndef PK_CLI_BENCH_HERD_IO_H
#define PK_CLI_BENCH_HERD_IO_H

#include "cli/bench_load_io.h"

struct bench_herd {
	struct bench_proc_use standing; /* of the servers, when the last watch was set */
	uint64_t made_ns;               /* what setting up nodes and watches took */
	uint64_t told;                  /* watches that told of their node at the end */
};

/*
 * The load is open and the folder with its directories is there. *result is that of the time it
 * stood: its operations are pings. PK_EPROTO when a node or a watch is missing at the end. When
 * sessions were lost nothing is looked for: result->sessions_lost says how many.
 */
PK_CHECKED int bench_herd_run(struct bench_load *l, struct bench_work *w,
			      const struct bench_pids *pids, int64_t stand_ms,
			      struct bench_herd *herd, struct bench_result *result,
			      struct pk_err *err);

#endif
