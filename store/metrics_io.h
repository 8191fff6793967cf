/*
 * store/metrics_io.h - gather what is known elsewhere into the registry, before it is shown.
 *
 * Counters and summaries are updated where things happen; gauges are set here, from the figures of
 * the server, its tree, log, disk, peers and process.
 */
#ifndef PK_STORE_METRICS_IO_H
#define PK_STORE_METRICS_IO_H

#include <stdint.h>

struct commands;

void metrics_gather(struct commands *c);
/* What is lost if it is not asked for often: times of single writes, the longest turn of the loop.
 */
void metrics_measure(struct commands *c);
/* Syncs of the log that took longer than fsync.warningthresholdms. */
uint64_t metrics_slow_syncs(const struct commands *c);

#endif
