/*
 * cli/bench_hist.h - how long things took: counts in buckets whose width grows with the value.
 *
 * Values are nanoseconds below 2^42 (73 minutes; longer ones count as that). A bucket is at most
 * 1/64 of its value wide, so a percentile is exact to 1.6 %. 17 KiB each, no allocation.
 */
#ifndef PK_CLI_BENCH_HIST_H
#define PK_CLI_BENCH_HIST_H

#include "base/check.h"

#define BENCH_HIST_SUB_BITS   6
#define BENCH_HIST_VALUE_BITS 42
#define BENCH_HIST_BUCKETS                                                                         \
	((BENCH_HIST_VALUE_BITS - BENCH_HIST_SUB_BITS + 1) << BENCH_HIST_SUB_BITS)

struct bench_hist {
	uint64_t count;
	uint64_t max_ns;
	uint64_t buckets[BENCH_HIST_BUCKETS];
};

void bench_hist_clear(struct bench_hist *h);
void bench_hist_add(struct bench_hist *h, uint64_t ns);
void bench_hist_merge(struct bench_hist *to, const struct bench_hist *from);
/* The value that `share` (0 to 1) of all are at or below: the upper end of its bucket, never above
 * the largest seen. 0 when nothing was added. */
uint64_t bench_hist_at(const struct bench_hist *h, double share);

#endif
