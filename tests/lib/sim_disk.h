/*
 * tests/lib/sim_disk.h - a disk in memory that crashes, tears, fails and flips as told.
 *
 * It implements store/disk.h. Nothing happens by itself: each sim_disk_step carries out one
 * operation, or delivers one completion. Bytes written but not synced are kept apart; a crash keeps
 * or loses each of their 512-byte sectors, as the caller or the seed decides. Same seed and same
 * calls, same result.
 */
#ifndef PK_TESTS_SIM_DISK_H
#define PK_TESTS_SIM_DISK_H

#include "base/rng.h"
#include "store/disk.h"

#define SIM_SECTOR_BYTES 512

struct sim_disk;

struct sim_disk *sim_disk_new(uint64_t seed); /* returns owned; empty */
void sim_disk_free(struct sim_disk *d);
/* A copy of the files, with no requests and no faults; returns owned. */
struct sim_disk *sim_disk_clone(const struct sim_disk *d, uint64_t seed);
struct disk *sim_disk_disk(struct sim_disk *d); /* borrows from d */

/* One operation or one completion. False: nothing is waiting, or the disk is dead. */
bool sim_disk_step(struct sim_disk *d);
void sim_disk_run(struct sim_disk *d); /* until nothing is waiting */
/* How long the next step takes on a disk like ours, in virtual microseconds, times `slowness`. */
int64_t sim_disk_cost_us(const struct sim_disk *d);
/* Operations begun so far, the synchronous ones too. */
uint64_t sim_disk_ops(const struct sim_disk *d);
uint64_t sim_disk_reads(const struct sim_disk *d);

/* Operations count from 1; 0 means never. */
struct sim_disk_faults {
	uint64_t fail_at;     /* this operation fails with fail_code, having done part of it */
	int fail_code;        /* PK_EIO unless set */
	uint64_t crash_at;    /* this one is under way when the power goes: the disk is dead then */
	uint64_t space_bytes; /* of all files together; more is PK_ENOSPC; 0: plenty */
	uint64_t flip_read_at; /* a bit of what the n-th read returns is flipped */
	uint64_t misdirect_at; /* this write lands misdirect_by bytes away */
	int64_t misdirect_by;
	uint32_t slowness; /* factor for sim_disk_cost_us; 0 is 1 */
};
void sim_disk_set_faults(struct sim_disk *d, const struct sim_disk_faults *f);
bool sim_disk_dead(const struct sim_disk *d);

/* Whether an unsynced sector survives. `unsynced` numbers those of this crash: 0, 1, ... */
typedef bool sim_disk_keep_f(void *arg, const char *name, uint64_t sector, uint64_t unsynced);
/*
 * Power goes and comes back: requests are forgotten without a callback, unsynced sectors are kept
 * as `keep` says (NULL: by the seed: all, none, a prefix, a suffix, or each by itself), faults end.
 */
void sim_disk_crash(struct sim_disk *d, sim_disk_keep_f *keep, void *arg);
/* Only the process died: what was written stays, requests are forgotten. */
void sim_disk_kill(struct sim_disk *d);
uint64_t sim_disk_unsynced(const struct sim_disk *d); /* sectors */

/* The files as they are. */
size_t sim_disk_file_count(const struct sim_disk *d);
const char *sim_disk_file_name(const struct sim_disk *d, size_t i);
/* Borrowed until the next operation; *len its length. NULL: no such file. Writing to it is damage
 * at rest. */
uint8_t *sim_disk_file(struct sim_disk *d, const char *name, size_t *len);
void sim_disk_put(struct sim_disk *d, const char *name, struct pk_bytes data); /* durable */
void sim_disk_drop(struct sim_disk *d, const char *name);

#endif
