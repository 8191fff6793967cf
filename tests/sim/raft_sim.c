/*
 * tests/sim/raft_sim.c - seeded runs of a Raft group under faults, judged by raft_cluster.h.
 *
 *     raft_sim --seeds N [--from S]    N seeds, one after the other
 *     raft_sim --seed S [-v]           one; a failure prints this command
 *     raft_sim --first                 no more after the first that fails
 *     raft_sim --guard MASK            leave guard clauses out (hexadecimal), to see what they stop
 *
 * A seed decides the group's size, the links, the disks and the faults: servers killed and cut from
 * power, partitions whole and one-way, messages lost, late and doubled, pauses, slow and failing
 * disks, members coming and going. Then everything heals, and the group must elect, accept and
 * agree.
 */
#include "tests/sim/raft_cluster.c"

#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

struct run {
	struct cluster *c;
	struct pk_rng rng; /* of the faults; the cluster has its own */
	bool verbose, membership;
	uint32_t crash, cut, pause, disk, change, net; /* weights */
	size_t voters;
};

struct totals {
	uint64_t seeds, failed, acked, installs, snapshots, changes, elections;
	int64_t simulated_ms;
};

static bool chance(struct run *r, uint32_t percent)
{
	return pk_rng_below(&r->rng, 100) < percent;
}

static int any_node(struct run *r)
{
	return (int)pk_rng_below(&r->rng, (uint64_t)r->c->count);
}

static int target(struct run *r)
{
	int l = cluster_leader(r->c);

	return l >= 0 && chance(r, 50) ? l : any_node(r);
}

static void say(const struct run *r, const char *what, int i)
{
	if (r->verbose)
		printf("%8" PRId64 " ms %s %d\n", cluster_now(r->c), what, i);
}

static void fault_net(struct run *r)
{
	struct cluster_net net = { .delay_least_ms = 0,
				   .delay_most_ms = pk_rng_range(&r->rng, 1, 40) };

	if (chance(r, 60))
		net.loss_ppm = (uint32_t)pk_rng_below(&r->rng, 200000);
	if (chance(r, 50))
		net.double_ppm = (uint32_t)pk_rng_below(&r->rng, 300000);
	if (chance(r, 50)) {
		net.slow_ppm = (uint32_t)pk_rng_below(&r->rng, 100000);
		net.slow_ms = pk_rng_range(&r->rng, 10, 5000);
	}
	net.refuses = chance(r, 50);
	cluster_net_set(r->c, net);
	say(r, "links change", -1);
}

static void fault_cut(struct run *r)
{
	struct cluster *c = r->c;
	uint64_t kind = pk_rng_below(&r->rng, 6);
	int one = target(r);

	say(r, "cut", one);
	if (kind != 3)
		cluster_heal(c);
	uint64_t side = pk_rng_next(&r->rng);
	for (int i = 0; i < c->count; i++) {
		for (int j = 0; j < c->count; j++) {
			bool cut = kind == 1   ? ((side >> i) & 1) != ((side >> j) & 1)
				   : kind == 2 ? (i == one) != (j == one)
				   : kind == 3 ? i == one && chance(r, 60)
					       : false;
			if (i != j && cut)
				cluster_link(c, i, j, false);
		}
	}
}

static void fault_hand_over(struct run *r)
{
	int l = cluster_leader(r->c);
	struct pk_err err = PK_ERR_INIT;

	if (l < 0 || !cluster_up(r->c, l))
		return;
	int to = any_node(r);
	if (raft_node_hand_over(cluster_raft(r->c, l), (uint64_t)to + 1, &err) == 0)
		say(r, "hand over to", to);
}

static void fault_change(struct run *r)
{
	static const int roles[] = { RAFT_NODE_VOTER, RAFT_NODE_VOTER, RAFT_NODE_STANDBY,
				     RAFT_NODE_SPARE, -1 };
	int i = any_node(r);

	if (r->c->count < CLUSTER_MOST && chance(r, 20))
		i = cluster_add(r->c);
	int role = roles[pk_rng_below(&r->rng, PK_COUNT(roles))];
	if (cluster_change(r->c, i, role) == 0)
		say(r, "change", i);
}

static void fault(struct run *r)
{
	struct cluster *c = r->c;
	uint64_t pick = pk_rng_below(&r->rng,
				     r->crash + r->cut + r->pause + r->disk + r->net + r->change);
	int i = target(r);

	if (pick < r->crash) {
		int down = 0;
		for (int j = 0; j < c->count; j++)
			down += !cluster_up(c, j);
		if (down * 2 >= c->count || (down > 0 && chance(r, 60)))
			while (cluster_up(c, i))
				i = any_node(r);
		if (cluster_up(c, i)) {
			say(r, "crash", i);
			cluster_crash(c, i);
		} else {
			say(r, "start", i);
			cluster_start(c, i);
		}
		return;
	}
	pick -= r->crash;
	if (pick < r->cut) {
		fault_cut(r);
		return;
	}
	pick -= r->cut;
	if (pick < r->pause) {
		say(r, "pause", i);
		cluster_pause(c, i, pk_rng_range(&r->rng, 50, 4000));
		return;
	}
	pick -= r->pause;
	if (pick < r->disk) {
		say(r, "disk", i);
		if (chance(r, 10) && cluster_up(c, i))
			cluster_fail_disk(c, i);
		else
			cluster_disk(c, i, chance(r, 40) ? 0 : pk_rng_range(&r->rng, 100, 900000));
		return;
	}
	pick -= r->disk;
	if (pick < r->net)
		fault_net(r);
	else if (chance(r, 30))
		fault_hand_over(r);
	else
		fault_change(r);
}

static void propose_somewhere(struct run *r)
{
	for (int i = 0; i < r->c->count; i++)
		if (cluster_up(r->c, i) &&
		    raft_node_role(cluster_raft(r->c, i)) == RAFT_NODE_LEADER)
			pk_ignore(cluster_propose(r->c, i, 1 + pk_rng_below(&r->rng, 60)),
				  "busy, or just deposed");
}

static void heal(struct run *r)
{
	struct cluster *c = r->c;

	cluster_heal(c);
	cluster_net_set(c, (struct cluster_net){ .delay_most_ms = 3 });
	for (int i = 0; i < c->count; i++) {
		cluster_disk(c, i, 0);
		cluster_mend_disk(c, i);
		cluster_pause(c, i, 0);
	}
	cluster_run(c, 2000); /* a request that has failed already ends its server */
	for (int i = 0; i < c->count; i++)
		cluster_start(c, i);
	say(r, "healed", -1);
}

static const char *run_one(struct run *r, uint64_t seed, uint32_t guard, struct totals *t)
{
	static char text[600];
	static const size_t sizes[] = { 3, 3, 3, 5, 5, 2, 1, 4 };
	const char *why = NULL;

	pk_rng_seed(&r->rng, seed ^ 0x5eed);
	struct cluster_options o = { .count = sizes[pk_rng_below(&r->rng, PK_COUNT(sizes))],
				     .seed = seed,
				     .guard = guard,
				     .snapshot_log_bytes = 1u << pk_rng_range(&r->rng, 14, 19),
				     .trailing_entries = (uint64_t)pk_rng_range(&r->rng, 1, 300),
				     .checkpoints = seed % 3 != 0,
				     .covered_count = seed % 5 < 3 ? 1 + seed % 60 : 0 };
	struct cluster *c = r->c = cluster_new(&o);
	uint32_t *weights[] = { &r->crash, &r->cut, &r->pause, &r->disk, &r->net, &r->change };
	for (size_t i = 0; i < PK_COUNT(weights); i++)
		*weights[i] = chance(r, 70) ? (uint32_t)pk_rng_range(&r->rng, 1, 10) : 0;
	r->net++;
	int64_t every = pk_rng_range(&r->rng, 20, 1500), work = pk_rng_range(&r->rng, 2, 40);
	int64_t until = pk_rng_range(&r->rng, 10000, 60000), next = every;
	while (cluster_now(c) < until && cluster_violation(c) == NULL) {
		if (cluster_now(c) >= next) {
			fault(r);
			next += pk_rng_range(&r->rng, 1, 2 * every);
		}
		propose_somewhere(r);
		cluster_run(c, work);
	}
	heal(r);
	if (cluster_elect(c, 30000) < 0 && cluster_violation(c) == NULL)
		why = "no leader within 30 s after the faults ended";
	for (int i = 0; i < 50 && cluster_violation(c) == NULL; i++) {
		propose_somewhere(r);
		cluster_run(c, 10);
	}
	if (why == NULL && cluster_violation(c) == NULL && !cluster_settle(c, 60000) &&
	    cluster_violation(c) == NULL)
		why = "the servers do not agree within 60 s after the faults ended";
	if (cluster_violation(c) != NULL)
		why = cluster_violation(c);
	if (why != NULL)
		snprintf(text, sizeof(text), "%s", why);
	t->seeds++;
	t->failed += why != NULL;
	t->acked += cluster_acked(c);
	t->installs += cluster_installs(c);
	t->snapshots += cluster_snapshots(c);
	t->changes += cluster_changes(c);
	t->simulated_ms += cluster_now(c);
	for (size_t i = 0; i < PK_COUNT(c->leaders); i++)
		t->elections += c->leaders[i] != 0;
	if (why != NULL && r->verbose) {
		for (int i = 0; i < c->count; i++) {
			struct cluster_node *n = &c->nodes[i];
			printf("  %d up=%d role=%d", i, n->up, n->role);
			if (n->up)
				printf(" term=%" PRIu64 " leader=%" PRIu64 " last=%" PRIu64
				       " commit=%" PRIu64 " applied=%" PRIu64 " members=%zu",
				       raft_node_term(n->raft), raft_node_leader(n->raft),
				       raft_node_last_index(n->raft),
				       raft_node_commit_index(n->raft), n->state.applied,
				       raft_node_members(n->raft, NULL, 0));
			struct raft_member m[CLUSTER_MOST];
			size_t count = n->up ? raft_node_members(n->raft, m, CLUSTER_MOST) : 0;
			for (size_t j = 0; j < count; j++)
				printf(" %" PRIu64 "%c", m[j].id - 1, "bvs"[m[j].role]);
			printf("\n");
		}
	}
	cluster_free(c);
	return why != NULL ? text : NULL;
}

/* A failed assertion, or memory gone wrong, is found by its seed too. */
static volatile uint64_t running;

static void on_abort(int signal_number)
{
	char text[96];
	int len = snprintf(text, sizeof(text),
			   "FAILED seed %" PRIu64 ": signal %d\n  replay: make sim SEED=%" PRIu64
			   "\n",
			   running, signal_number, running);

	pk_ignore(write(STDERR_FILENO, text, (size_t)len), "we are on our way out");
	_exit(1);
}

int main(int argc, char **argv)
{
	signal(SIGABRT, on_abort);
	signal(SIGSEGV, on_abort);
	uint64_t seeds = 1, from = 1;
	uint32_t guard = RAFT_GUARD_ALL;
	bool first = false;
	struct run r = { 0 };
	struct totals t = { 0 };
	struct timespec start, end;

	for (int i = 1; i < argc; i++) {
		bool more = i + 1 < argc;
		if (strcmp(argv[i], "--seeds") == 0 && more)
			seeds = strtoull(argv[++i], NULL, 0);
		else if (strcmp(argv[i], "--from") == 0 && more)
			from = strtoull(argv[++i], NULL, 0);
		else if (strcmp(argv[i], "--seed") == 0 && more)
			from = strtoull(argv[++i], NULL, 0);
		else if (strcmp(argv[i], "--guard") == 0 && more)
			guard = (uint32_t)strtoul(argv[++i], NULL, 0);
		else if (strcmp(argv[i], "--first") == 0)
			first = true;
		else if (strcmp(argv[i], "-v") == 0)
			r.verbose = true;
		else
			return fprintf(stderr, "usage: raft_sim [--seeds N] [--from S] [--seed S] "
					       "[--first] [-v]\n"),
			       2;
	}
	clock_gettime(CLOCK_MONOTONIC, &start);
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (uint64_t s = from; s < from + seeds && !(first && t.failed > 0); s++) {
		running = s;
		const char *why = run_one(&r, s, guard, &t);
		if (why != NULL) {
			printf("FAILED seed %" PRIu64 ": %s\n  replay: make sim SEED=%" PRIu64 "\n",
			       s, why, s);
			fflush(stdout);
		}
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	double real = (double)(end.tv_sec - start.tv_sec) +
		      (double)(end.tv_nsec - start.tv_nsec) / 1e9;
	double simulated = (double)t.simulated_ms / 1000;
	printf("raft: %" PRIu64 " seeds, %" PRIu64 " failed; %" PRIu64 " elections, %" PRIu64
	       " entries acknowledged, %" PRIu64 " snapshots, %" PRIu64 " installs, %" PRIu64
	       " changes\n%.0f s simulated in %.1f s: %.0f times real time\n",
	       t.seeds, t.failed, t.elections, t.acked, t.snapshots, t.installs, t.changes,
	       simulated, real, simulated / real);
	return t.failed != 0;
}
