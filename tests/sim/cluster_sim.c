/*
 * tests/sim/cluster_sim.c - seeded runs of a whole cluster with clients under faults.
 *
 *     cluster_sim --seeds N [--from S]    N seeds, each in a process of its own
 *     cluster_sim --minutes M [--from S]  as many seeds as begin within M minutes; SIGTERM: no more
 *     cluster_sim --jobs N                so many of them at once
 *     cluster_sim --seed S [-v]           one; a failure prints this command
 *     cluster_sim --seed S --only 3,7-9   of its faults only these; --clients N, --servers N: fewer
 *     cluster_sim --seed S --history FILE its history too, for paddock-check
 *     cluster_sim --whole                 failing schedules are not cut down
 *     cluster_sim --first                 no more after the first that fails; it is not cut down
 *     cluster_sim --untold                the checker is not told what became of lost requests
 *     cluster_sim --calm                  without faults
 *     cluster_sim --twice                 each seed two times: the events must be the same
 *
 * A seed decides sizes, load and faults. Then everything heals, every client must get through,
 * every server must hold the model's tree, sessions that fall silent must end and take their
 * ephemerals along.
 */
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "jepsen/check.h"
#include "store/raft_node.h"
#include "tests/sim/cluster_history.h"
#include "tests/sim/cluster_run.h"

#define JOBS_MAX     16
#define FAILURES_MAX 10 /* then it says what it has */
#define SHRINKS_MAX  3  /* of them are cut down */

/* ---- one run ---- */

static bool all_done(const struct run *r)
{
	for (size_t i = 0; i < r->load_count; i++)
		if (!r->loads[i].done)
			return false;
	for (int i = 0; i < (int)sim_servers(r->sim); i++)
		if (sim_damaged(r->sim, i))
			return false;
	return sim_settled(r->sim);
}

static const char *last_words(struct run *r);

static const char *finish(struct run *r)
{
	struct sim *s = r->sim;
	static char why[200];

	faults_end(r);
	for (size_t i = 0; i < r->load_count; i++)
		r->loads[i].stopping = true;
	for (int i = 0; i < 120 && !all_done(r) && sim_violation(s) == NULL; i++) {
		sim_run(s, 500);
		operate(r);
	}
	if (sim_violation(s) != NULL)
		return sim_violation(s);
	for (size_t i = 0; i < r->load_count; i++) {
		if (r->loads[i].done)
			continue;
		snprintf(why, sizeof(why),
			 "client %zu (server %d, state %d) did not get through within 60 s after "
			 "the faults ended",
			 i, client_server(r->loads[i].client), client_state(r->loads[i].client));
		return why;
	}
	if (!sim_settled(s))
		return "the servers do not agree within 60 s after the faults ended";
	sim_calm(s);
	sim_run(s, 15000); /* nothing happens, and nobody is to suffer */
	if (r->plan->calm && sim_stats(s)->lost > 0)
		return "connections were lost though nothing was broken";
	return last_words(r);
}

struct walk {
	struct run *r;
	int server;
	uint64_t zxid;
	size_t there;
};

static bool read_back(struct server *sv, int32_t op, const char *path, struct pk_buf *out)
{
	struct pk_buf body = PK_BUF_INIT;
	struct tree_read t = { .out = out };

	pk_buf_clear(out);
	zk_wr_ustring(&body, pk_bytes_str(path));
	zk_wr_bool(&body, false);
	tree_read(server_tree(sv), op, pk_buf_bytes(&body), 0, NULL, 0, true, 1 << 20, &t);
	pk_buf_release(&body);
	return t.err == 0;
}

static void walk_one(void *arg, const char *path)
{
	struct walk *w = arg;
	struct sim *s = w->r->sim;
	const struct model_node *n = model_get(sim_model(s), path, w->zxid);
	struct pk_buf got = PK_BUF_INIT, want = PK_BUF_INIT;

	w->there += n != NULL;
	bool there = read_back(sim_server(s, w->server), ZK_OP_GET_DATA, path, &got);
	if (there && sim_record(s) != NULL)
		record_node(sim_record(s), w->server, path, pk_buf_bytes(&got));
	if (n != NULL) {
		zk_wr_buffer(&want, n->data_null ? PK_BYTES_NONE
						 : pk_bytes(n->data.data != NULL ? n->data.data
										 : (uint8_t *)"",
							    n->data.len));
		zk_wr_stat(&want, &n->stat);
	}
	if (there != (n != NULL) ||
	    (there && !pk_bytes_eq(pk_buf_bytes(&got), pk_buf_bytes(&want))))
		sim_violate(s, "at the end server %d has %s otherwise than the model", w->server,
			    path);
	pk_buf_release(&got);
	pk_buf_release(&want);
}

static void trees_compare(struct run *r)
{
	struct sim *s = r->sim;

	for (int i = 0; i < (int)sim_servers(s); i++) {
		struct walk w = { .r = r, .server = i, .zxid = model_zxid(sim_model(s)) };
		if (!sim_up(s, i) || !sim_member(s, i))
			continue;
		const struct tree_meta *m = tree_meta(server_tree(sim_server(s, i)));
		if (sim_record(s) != NULL)
			record_dump(sim_record(s), i, m->zxid, m->nodes);
		model_path_each(sim_model(s), walk_one, &w);
		if (m->nodes != w.there)
			sim_violate(s, "server %d has %" PRIu64 " nodes, the model %zu", i,
				    m->nodes, w.there);
		tree_check(server_tree(sim_server(s, i)));
	}
}

static void count_living(void *arg, const struct model_session *m)
{
	*(size_t *)arg += m->ended_zxid == 0;
}

/* Containers that were used and are empty, and nodes whose time to live is over, are gone. */
static void none_overdue(void *arg, const char *path)
{
	struct run *r = arg;
	struct model *m = sim_model(r->sim);
	const struct model_node *n = model_get(m, path, model_zxid(m));
	int64_t slack_ms = 20000 + 2 * r->wall_slack_ms;

	if (n == NULL || n->stat.num_children > 0)
		return;
	if ((n->kind == MODEL_CONTAINER && n->creates > 0) ||
	    (n->kind == MODEL_TTL && model_time_ms(m) - n->stat.mtime > n->ttl_ms + slack_ms))
		sim_violate(r->sim, "%s should be gone", path);
}

/* Everybody falls silent: every session must end, and with it its ephemerals. */
static const char *last_words(struct run *r)
{
	struct sim *s = r->sim;
	static char why[200];
	size_t living = 0;

	r->quiet = true;
	for (int i = 0; i < 200 && !sim_settled(s); i++)
		sim_run(s, 50); /* what is removed by itself may be under way just now */
	trees_compare(r);
	for (size_t i = 0; i < r->load_count; i++) {
		r->loads[i].silent = true;
		r->loads[i].number++;
		client_pings(r->loads[i].client, false);
		if (i % 2 == 0)
			client_drop(r->loads[i].client);
	}
	sim_run(s, 45000); /* the longest timeout, twice the tick, and time for a new leader */
	model_session_each(sim_model(s), count_living, &living);
	if (sim_violation(s) != NULL)
		return sim_violation(s);
	if (living > 0) {
		snprintf(why, sizeof(why), "%zu sessions outlive their silence", living);
		return why;
	}
	for (int i = 0; i < 60 && !sim_settled(s); i++)
		sim_run(s, 500);
	trees_compare(r);
	if (r->container_check_ms > 0)
		model_path_each(sim_model(s), none_overdue, r);
	for (int i = 0; i < (int)sim_servers(s); i++)
		if (sim_member(s, i) && tree_meta(server_tree(sim_server(s, i)))->ephemerals != 0)
			return "ephemerals outlive their sessions";
	return sim_violation(s);
}

static struct sim_options options(struct run *r)
{
	static const size_t sizes[] = { 3, 3, 3, 3, 5, 1 };
	struct pk_rng *rng = &r->rng;
	bool small = chance(rng, 60); /* logs so small that states are fetched all the time */
	bool scarce = r->plan->seed % 7 == 2; /* memory: commits are waited for */
	struct sim_options o = {
		.seed = r->plan->seed,
		.servers = sizes[below(rng, PK_COUNT(sizes))],
		.tick_ms = (int32_t)pk_rng_range(rng, 200, 2000),
		.commit_overlay_bytes = 1u << pk_rng_range(rng, 12, small ? 15 : 22),
		.commit_log_bytes = 1u << pk_rng_range(rng, 12, small ? 15 : 22),
		.commit_pages_bytes = scarce ? 1u << 15 : 1u << 26,
		.waiting_bytes_max = scarce ? 1u << (r->plan->seed % 2 == 0 ? 16 : 17) : 1u << 30,
		.backlog_bytes_max = 64u << 20,
		.snapshot_log_bytes = 1u << pk_rng_range(rng, 13, small ? 16 : 20),
		.trailing_entries = (uint64_t)pk_rng_range(rng, 1, small ? 30 : 2000),
		.covered_count = r->plan->seed % (small ? 31 : 301),
		.segment_bytes = small ? 16384 : 65536,
		.txn_flags = TXN_RECONFIG_ENABLED | (chance(rng, 60) ? TXN_ENFORCE_QUOTA : 0),
		.container_check_ms = chance(rng, 80) ? pk_rng_range(rng, 200, 3000) : 0,
		.never_used_ms = chance(rng, 50) ? pk_rng_range(rng, 500, 10000) : 0,
		.read_only_mode = chance(rng, 30),
		.local_sessions = chance(rng, 15),
		.local_upgrade = chance(rng, 70),
		.verbose = r->plan->verbose,
	};

	if (r->plan->servers != 0)
		o.servers = r->plan->servers;
	r->members = chance(rng, 50);
	r->halves = chance(rng, 40);
	o.spares = r->members ? below(rng, 4) : 0;
	o.servers += o.spares;
	if (o.servers - o.spares >= 3 && chance(rng, 20)) {
		o.observers = 1;
		o.servers++;
	}
	return o;
}

/* The history of the run, by the checker that real runs have as well. */
static const char *second_judge(struct run *r, struct totals *t)
{
	static char text[WHY_BYTES];
	struct check_opts opts = CHECK_OPTS_INIT;
	struct check_report report;

	opts.violations_max = 1000;
	record_log(sim_record(r->sim), !r->plan->untold);
	check_run(record_history(sim_record(r->sim)), &opts, &report);
	t->judged += report.reads_judged + report.writes_judged + report.events_judged;
	const char *wrong = NULL;
	for (uint32_t i = 0; i < report.list_count; i++) {
		const struct check_violation *v = &report.list[i];
		const char *rule = check_rule_name(v->rule);

		sim_say(r->sim, "checker %s: %s", rule, v->text);
		if (wrong == NULL)
			snprintf(text, sizeof(text), "checker %s: %.600s", rule, v->text);
		wrong = text;
	}
	for (int i = 0; i < CHECK_RULES && r->plan->verbose; i++)
		sim_say(r->sim, "judged %s: %" PRIu64 " times", check_rule_name((enum check_rule)i),
			report.judged[i]);
	check_report_release(&report);
	return wrong;
}

static const char *run_one(const struct plan *plan, struct totals *t)
{
	static char text[WHY_BYTES];
	struct run run = { .plan = plan }, *r = &run;
	const char *why;

	pk_rng_seed(&r->rng, plan->seed ^ 0xc1a5);
	struct sim_options o = options(r);
	r->sim = sim_new(&o);
	if (!plan->unrecorded)
		sim_record_begin(r->sim, plan->history);
	r->container_check_ms = o.container_check_ms;
	r->load_count = (size_t)pk_rng_range(&r->rng, 1, LOADS_MAX);
	if (plan->clients != 0 && plan->clients < r->load_count)
		r->load_count = plan->clients;
	for (size_t i = 0; i < r->load_count; i++)
		load_start(r, (int)i);
	int64_t until = sim_now_ms(r->sim) + pk_rng_range(&r->rng, 10000, 60000);
	faults_plan(r);
	if (plan->calm)
		sim_calm(r->sim);
	faults_until(r, until);
	damage_majority(r);
	why = finish(r);
	if (why == NULL)
		why = sim_violation(r->sim);
	if (why == NULL && !plan->unrecorded)
		why = second_judge(r, t);
	if (why != NULL)
		sim_describe(r->sim);
	if (why != NULL)
		snprintf(text, sizeof(text), "%s", why);
	t->s = *sim_stats(r->sim);
	t->simulated_us = sim_now_us(r->sim);
	t->hash = sim_hash(r->sim);
	t->faults = r->faults;
	for (size_t i = 0; i < r->load_count; i++)
		if (client_wire(r->loads[i].client) != NULL)
			client_drop(r->loads[i].client);
	for (size_t i = 0; i < r->load_count; i++)
		client_free(r->loads[i].client);
	sim_free(r->sim);
	return why != NULL ? text : NULL;
}

/* One seed in a process of its own: an assertion that fails is one failed seed. */
struct job {
	pid_t pid;
	int fd;
	uint64_t seed;
};

struct outcome {
	struct totals t;
	char why[WHY_BYTES];
};

static struct job job_start(const struct plan *plan)
{
	struct outcome got = { 0 };
	int fds[2];

	fflush(stdout);
	if (pipe(fds) != 0)
		exit(2);
	pid_t pid = fork();
	if (pid < 0)
		exit(2);
	if (pid == 0) {
		alarm(300);
		if (plan->some && !plan->verbose)
			pk_ignore(freopen("/dev/null", "w", stderr) != NULL, "it only talks");
		const char *failed = run_one(plan, &got.t);
		if (failed != NULL)
			snprintf(got.why, sizeof(got.why), "%s", failed);
		_exit(write(fds[1], &got, sizeof(got)) == sizeof(got) ? 0 : 2);
	}
	close(fds[1]);
	return (struct job){ .pid = pid, .fd = fds[0], .seed = plan->seed };
}

/* Waits for it. `why` takes WHY_BYTES; empty: all was well. */
static bool job_end(const struct job *job, struct totals *one, char *why)
{
	struct outcome got = { 0 };
	int status;

	ssize_t n = read(job->fd, &got, sizeof(got));
	close(job->fd);
	if (waitpid(job->pid, &status, 0) != job->pid)
		exit(2);
	if (n != sizeof(got) || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
		snprintf(why, WHY_BYTES, "it died (status %#x)", status), sim_sweep((int)job->pid);
	else
		snprintf(why, WHY_BYTES, "%s", got.why);
	*one = got.t;
	return why[0] == 0;
}

bool run_apart(const struct plan *plan, struct totals *one, char *why)
{
	struct job job = job_start(plan);

	return job_end(&job, one, why);
}

static void add(struct totals *t, const struct totals *one)
{
	const uint64_t *from = (const uint64_t *)&one->s;
	uint64_t *to = (uint64_t *)&t->s;

	static_assert(sizeof(t->s) % sizeof(uint64_t) == 0, "all counters");
	for (size_t i = 0; i < sizeof(t->s) / sizeof(uint64_t); i++)
		to[i] += from[i];
	t->simulated_us += one->simulated_us;
	t->faults += one->faults;
	t->judged += one->judged;
	t->seeds++;
}

static double now_s(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

/* "3,7-9": those faults and no others. */
static bool parse_only(const char *text, struct plan *plan)
{
	plan->some = true;
	while (*text != 0) {
		char *end;
		unsigned long from = strtoul(text, &end, 10), to = from;

		if (end == text || from >= FAULTS_MAX)
			return false;
		if (*end == '-')
			to = strtoul(end + 1, &end, 10);
		for (unsigned long i = from; i <= to && i < FAULTS_MAX; i++)
			plan->keep[i] = true;
		if (*end != 0 && *end != ',')
			return false;
		text = *end == ',' ? end + 1 : end;
	}
	return true;
}

static void print_only(const struct plan *plan)
{
	bool first = true;

	printf(" ONLY=");
	for (size_t i = 0; i < FAULTS_MAX; i++) {
		size_t last = i;

		if (!plan->keep[i])
			continue;
		while (last + 1 < FAULTS_MAX && plan->keep[last + 1])
			last++;
		printf(last > i ? "%s%zu-%zu" : "%s%zu", first ? "" : ",", i, last);
		first = false;
		i = last;
	}
	if (first)
		printf("%d", FAULTS_MAX - 1);
}

static void print_failure(const struct plan *plan, const char *why)
{
	printf("%s\n  replay: make sim-cluster SEED=%" PRIu64, why, plan->seed);
	if (plan->calm)
		printf(" CALM=1");
	if (plan->some)
		print_only(plan);
	if (plan->clients != 0)
		printf(" CLIENTS=%zu", plan->clients);
	if (plan->servers != 0)
		printf(" SERVERS=%zu", plan->servers);
	printf("\n");
	fflush(stdout);
}

static int usage(void)
{
	fprintf(stderr,
		"usage: cluster_sim [--seeds N | --minutes M] [--jobs N] [--from S] [--seed S] "
		"[--only FAULTS] "
		"[--clients N] [--servers N] [--first] [--unrecorded] [--untold] [--calm] "
		"[--twice] "
		"[--whole] [--history FILE] [-v]\n");
	return 2;
}

static void print_totals(const struct totals *t, double real)
{
	double simulated = (double)t->simulated_us / 1e6;

	printf("cluster: %" PRIu64 " seeds, %" PRIu64 " failed; %" PRIu64 " faults, %" PRIu64
	       " elections, %" PRIu64 " entries, %" PRIu64 " commits, %" PRIu64
	       " waits for one, %" PRIu64 " states fetched, %" PRIu64 " joins\n"
	       "%" PRIu64 " disk faults: %" PRIu64 " processes ended, %" PRIu64
	       " refused to start, %" PRIu64 " lost their last write unseen; %" PRIu64
	       " majorities damaged, %" PRIu64 " of them found it and stopped; %" PRIu64
	       " old copies put back\n"
	       "%" PRIu64 " requests, %" PRIu64 " replies, %" PRIu64
	       " writes acknowledged, %" PRIu64 " watch events, %" PRIu64 " connections, %" PRIu64
	       " frames cut off, %" PRIu64 " judged by the checker too\n"
	       "%.0f s simulated in %.1f s: %.0f times real time, %.0f events/s\n",
	       t->seeds, t->failed, t->faults, t->s.elections, t->s.entries, t->s.commits,
	       t->s.waits, t->s.imports, t->s.joins, t->s.disk_faults, t->s.disk_deaths,
	       t->s.refusals, t->s.unseen_losses, t->s.majorities, t->s.stopped, t->s.old_copies,
	       t->s.requests, t->s.replies, t->s.acked, t->s.watch_events, t->s.connects,
	       t->s.frames_cut, t->judged, simulated, real, simulated / real,
	       (double)t->s.events / real);
}

/* SIGINT, SIGTERM: no more seeds are begun, and what there is is told. */
static volatile sig_atomic_t enough;

static void on_signal(int number)
{
	pk_ignore(number, "both mean the same");
	enough = 1;
}

int main(int argc, char **argv)
{
	static struct plan plan, less;
	static struct job running[JOBS_MAX];
	uint64_t seeds = 1, from = 1, minutes = 0, jobs = 1;
	bool twice = false, one = false, whole = false;
	uint64_t failures_max = FAILURES_MAX;
	struct totals t = { 0 };
	char why[WHY_BYTES];

	for (int i = 1; i < argc; i++) {
		bool more = i + 1 < argc;
		if (strcmp(argv[i], "--seeds") == 0 && more)
			seeds = strtoull(argv[++i], NULL, 0);
		else if (strcmp(argv[i], "--minutes") == 0 && more)
			minutes = strtoull(argv[++i], NULL, 0), seeds = failures_max = UINT32_MAX;
		else if (strcmp(argv[i], "--jobs") == 0 && more)
			jobs = strtoull(argv[++i], NULL, 0);
		else if (strcmp(argv[i], "--from") == 0 && more)
			from = strtoull(argv[++i], NULL, 0);
		else if (strcmp(argv[i], "--seed") == 0 && more)
			one = true, from = strtoull(argv[++i], NULL, 0);
		else if (strcmp(argv[i], "--only") == 0 && more && parse_only(argv[i + 1], &plan))
			i++;
		else if (strcmp(argv[i], "--clients") == 0 && more)
			plan.clients = strtoull(argv[++i], NULL, 0);
		else if (strcmp(argv[i], "--servers") == 0 && more)
			plan.servers = strtoull(argv[++i], NULL, 0);
		else if (strcmp(argv[i], "--calm") == 0)
			plan.calm = true;
		else if (strcmp(argv[i], "--twice") == 0)
			twice = true;
		else if (strcmp(argv[i], "--whole") == 0)
			whole = true;
		else if (strcmp(argv[i], "--unrecorded") == 0)
			plan.unrecorded = true;
		else if (strcmp(argv[i], "--untold") == 0)
			plan.untold = true;
		else if (strcmp(argv[i], "--first") == 0)
			failures_max = 1, whole = true;
		else if (strcmp(argv[i], "--history") == 0 && more)
			plan.history = argv[++i];
		else if (strcmp(argv[i], "-v") == 0)
			plan.verbose = true;
		else
			return usage();
	}
	if (jobs < 1 || jobs > JOBS_MAX)
		return usage();
	struct sigaction act = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	for (size_t i = 0; !one && i < 2; i++)
		if (sigaction(i == 0 ? SIGINT : SIGTERM, &act, NULL) != 0)
			return 2;
	double start = now_s(), until = minutes > 0 ? start + 60.0 * (double)minutes : INFINITY;
	uint64_t next = from, ahead = one ? 0 : jobs;
	for (uint64_t s = from; s < from + seeds && t.failed < failures_max; s++) {
		struct totals this = { 0 }, again = { 0 };
		bool ok;

		for (; ahead > 0 && next < from + seeds && next < s + ahead && now_s() < until &&
		       !enough;
		     next++) {
			plan.seed = next;
			running[next % JOBS_MAX] = job_start(&plan);
		}
		if (ahead > 0 && s == next) /* no time for more */
			break;
		plan.seed = s;
		if (one) { /* in this very process, for the debugger */
			const char *failed = run_one(&plan, &this);
			ok = failed == NULL;
			snprintf(why, sizeof(why), "%s", ok ? "" : failed);
		} else {
			ok = job_end(&running[s % JOBS_MAX], &this, why);
		}
		if (ok && twice && run_apart(&plan, &again, why) && again.hash != this.hash) {
			ok = false;
			snprintf(why, sizeof(why), "two runs differ: %016" PRIx64 ", %016" PRIx64,
				 this.hash, again.hash);
		}
		add(&t, &this);
		if (ok)
			continue;
		t.failed++;
		printf("FAILED seed %" PRIu64 ": ", s);
		print_failure(&plan, why);
		if (one || whole || plan.calm || t.failed > SHRINKS_MAX)
			continue;
		less = plan;
		plan_shrink(&less, this.faults, why);
		if (less.some) {
			printf("  cut down: ");
			print_failure(&less, why);
		}
	}
	for (uint64_t s = from + t.seeds; s < next; s++) { /* begun before the last failure */
		struct totals this;

		pk_ignore(job_end(&running[s % JOBS_MAX], &this, why), "enough have failed");
	}
	print_totals(&t, now_s() - start);
	return t.failed != 0;
}
