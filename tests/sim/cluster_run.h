/*
 * tests/sim/cluster_run.h - one run of cluster_sim: its plan, its clients' load, its faults.
 *
 * A seed decides sizes, load and faults. The faults are numbered; each happens at a time that the
 * seed alone decides and draws from numbers of its own, so that a run may leave some of them out
 * and the others stay what they are: so a failing schedule is cut down (cluster_shrink.c) and
 * replayed by the numbers of what is left.
 */
#ifndef PK_TESTS_SIM_CLUSTER_RUN_H
#define PK_TESTS_SIM_CLUSTER_RUN_H

#include "tests/sim/cluster_client.h"

#define LOADS_MAX  8
#define FAULTS_MAX 4096

struct plan {
	uint64_t seed;
	bool calm, verbose;
	bool unrecorded; /* no history for the checker */
	bool untold;     /* of requests without an answer it is not told what became of them */
	bool some;       /* only the faults in `keep` */
	bool keep[FAULTS_MAX];
	size_t clients, servers; /* 0: as the seed has it */
	const char *history;     /* a file for it; NULL */
};

struct load {
	struct run *run;
	struct client *client;
	struct pk_rng rng;
	int index;
	uint64_t number;  /* timers of an older state are void */
	int64_t every_us; /* between requests, on average */
	size_t window;
	bool stopping, done, silent;
	bool last_sent, admin, reconfiguring;
};

struct run {
	const struct plan *plan;
	struct sim *sim;
	struct pk_rng rng; /* of the plan; then of the fault under way */
	bool healed;
	bool quiet; /* nobody asks for anything any more */
	struct load loads[LOADS_MAX];
	size_t load_count;
	uint32_t crash, cut, pause, disk, net, wipe, wall, client, damage; /* weights */
	int64_t fault_every_ms;
	bool members; /* they change */
	bool halves;  /* removeWatches takes halves of watches that stay */
	int64_t container_check_ms, wall_slack_ms;
	size_t faults; /* told so far, left out or not */
};

struct totals {
	struct sim_stats s;
	int64_t simulated_us;
	uint64_t hash, faults, judged;
	uint64_t seeds, failed;
};

/* Told what failed, or NULL; *faults is how many faults its schedule has. */
#define WHY_BYTES 700
bool run_apart(const struct plan *plan, struct totals *one, char *why);

static inline bool chance(struct pk_rng *rng, uint32_t percent)
{
	return pk_rng_below(rng, 100) < percent;
}

static inline uint64_t below(struct pk_rng *rng, uint64_t n)
{
	return pk_rng_below(rng, n);
}

/* cluster_load.c */
void load_start(struct run *r, int index);

/* cluster_faults.c */
void faults_plan(struct run *r);
void faults_until(struct run *r, int64_t until_ms); /* or until a violation */
void faults_end(struct run *r);                     /* everything heals */
void damage_majority(struct run *r); /* in a share of the seeds; then all is put back */
void operate(struct run *r);         /* an operator empties who does not start for damage */

/* cluster_shrink.c: leave out what a failing run does not need; *plan and *why become its. */
void plan_shrink(struct plan *plan, size_t faults, char *why);

#endif
