#include "cli/bench_io.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/opt.h"
#include "cli/bench_herd_io.h"
#include "cli/bench_load_io.h"
#include "cli/bench_yardstick_io.h"

#define FILL_COUNT_DEFAULT 100000
#define FAN_OUT_ROUNDS     10
#define PREPARE_PIPELINE   16
#define NS_PER_MS          1e6
#define BYTES_PER_MIB      1048576.0

enum exit_status { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct settings {
#define OPT(letter, field, name, type, dflt, least, most, unit, group, help)                       \
	PK_OPT_FIELD(type, field)
#include "cli/bench_options.tbl"
#undef OPT
};

static const struct pk_opt option_rows[] = {
#define OPT(letter, field, name, type, dflt, least, most, unit, group, help)                       \
	PK_OPT_ROW_LETTER(struct settings, letter, field, name, type, dflt, least, most, unit,     \
			  group, help)
#include "cli/bench_options.tbl"
#undef OPT
};

const struct pk_cmd bench_command = {
	.name = "paddock-bench",
	.args = "ROW...",
	.about =
		"Puts load on a ZooKeeper-compatible server and prints, for each row, operations a "
		"second, latencies and what the servers used. Every reply is checked: its order, "
		"its zxid, and the value that was written.",
	.opts = option_rows,
	.opts_count = PK_COUNT(option_rows),
	.args_least = 1,
	.args_most = 64,
};

/* What a row finds prepared. */
enum scene {
	SCENE_DIRS,     /* the folder and its directories */
	SCENE_KEYS,     /* these and nodes 0 .. keys - 1 */
	SCENE_CHILDREN, /* one directory with `children` nodes */
	SCENE_FILLED,   /* what an earlier fill left */
	SCENE_NOTHING,
};

struct mode {
	const char *name, *about;
	enum scene scene;
	enum bench_mix mix;
	enum bench_op op;
	bool by_chance;
	bool counted; /* -n says how many, time does not end it */
	uint64_t counted_default;
	bool herd;
};

static const struct mode modes[] = {
	{ .name = "create",
	  .about = "creates nodes, each once",
	  .scene = SCENE_DIRS,
	  .op = BENCH_CREATE },
	{ .name = "set",
	  .about = "sets nodes chosen by chance",
	  .scene = SCENE_KEYS,
	  .op = BENCH_SET,
	  .by_chance = true },
	{ .name = "get",
	  .about = "gets nodes chosen by chance, and judges their values",
	  .scene = SCENE_KEYS,
	  .op = BENCH_GET,
	  .by_chance = true },
	{ .name = "exists",
	  .about = "asks for the stats of nodes chosen by chance",
	  .scene = SCENE_KEYS,
	  .op = BENCH_EXISTS,
	  .by_chance = true },
	{ .name = "children",
	  .about = "lists one node's children, --children of them",
	  .scene = SCENE_CHILDREN,
	  .op = BENCH_CHILDREN },
	{ .name = "mixed",
	  .about = "gets, and sets for the rest of --reads percent",
	  .scene = SCENE_KEYS,
	  .mix = BENCH_MIX_READS,
	  .by_chance = true },
	{ .name = "multi",
	  .about = "transactions of --multi sets; one counts once",
	  .scene = SCENE_KEYS,
	  .op = BENCH_MULTI,
	  .by_chance = true },
	{ .name = "sync-get",
	  .about = "a sync and a get behind it, counted as one",
	  .scene = SCENE_KEYS,
	  .mix = BENCH_MIX_SYNCED,
	  .by_chance = true },
	{ .name = "session",
	  .about = "connects, opens a session, closes it",
	  .scene = SCENE_NOTHING,
	  .mix = BENCH_MIX_SESSION },
	{ .name = "fan-out",
	  .about = "every connection watches one node, which is set, -n times; latencies are those "
		   "of "
		   "all events since the set",
	  .scene = SCENE_KEYS,
	  .op = BENCH_SET,
	  .counted = true,
	  .counted_default = FAN_OUT_ROUNDS },
	{ .name = "idle",
	  .about = "sessions that only ping, three times in their timeout",
	  .scene = SCENE_NOTHING,
	  .mix = BENCH_MIX_IDLE },
	{ .name = "herd",
	  .about = "sessions with an ephemeral node and a watch on it each, which ping and are all "
		   "looked for at the end; see --reconnect",
	  .scene = SCENE_DIRS,
	  .mix = BENCH_MIX_IDLE,
	  .herd = true },
	{ .name = "fill",
	  .about = "creates -n nodes that stay, below /fill",
	  .scene = SCENE_DIRS,
	  .op = BENCH_CREATE,
	  .counted = true,
	  .counted_default = FILL_COUNT_DEFAULT },
	{ .name = "verify",
	  .about = "gets the -n nodes of a fill, each once",
	  .scene = SCENE_FILLED,
	  .op = BENCH_GET,
	  .counted = true,
	  .counted_default = FILL_COUNT_DEFAULT },
	{ .name = "delete",
	  .about = "deletes the -n nodes of a fill, each once",
	  .scene = SCENE_FILLED,
	  .op = BENCH_DELETE,
	  .counted = true,
	  .counted_default = FILL_COUNT_DEFAULT },
};

static bool is_fan_out(const struct mode *m)
{
	return m->scene == SCENE_KEYS && m->counted;
}

static const struct mode *mode_named(const char *name)
{
	for (size_t i = 0; i < PK_COUNT(modes); i++) {
		if (strcmp(modes[i].name, name) == 0)
			return &modes[i];
	}
	return NULL;
}

struct row {
	const struct settings *set;
	const struct mode *mode;
	struct bench_pids pids;
	struct bench_work work;
	struct bench_load *load;
	struct bench_result result;
	struct bench_hist last; /* of a fan-out: the last event of each round */
	struct bench_herd herd;
	struct bench_proc_use at_rest; /* before the first connection */
	uint64_t opened_ns;            /* what opening all sessions took */
	pid_t yardstick;
};

/* What this row finds: of an earlier fill, with --filled, what it would else make. */
static enum scene scene_of(const struct row *r)
{
	enum scene scene = r->mode->scene;
	bool makes = (scene == SCENE_KEYS && !is_fan_out(r->mode)) || scene == SCENE_CHILDREN;

	return r->set->filled && makes ? SCENE_FILLED : scene;
}

static int folder_set(struct row *r, struct pk_err *err)
{
	const char *given = r->set->folder;
	struct bench_work *w = &r->work;
	int n;

	if (given != NULL && (given[0] != '/' || given[strlen(given) - 1] == '/'))
		return pk_err_set(err, PK_EINVAL, "folder %s: want a path such as /bench/here",
				  given);
	if (given != NULL)
		n = snprintf(w->folder, sizeof(w->folder), "%s", given);
	else if ((r->mode->counted && !is_fan_out(r->mode)) || scene_of(r) == SCENE_FILLED)
		n = snprintf(w->folder, sizeof(w->folder), "/fill");
	else /* runs that follow each other do not meet */
		n = snprintf(w->folder, sizeof(w->folder), "/bench/%s-%" PRIx64 "-%d",
			     r->mode->name, bench_proc_now_ns(), (int)getpid());
	PK_ASSERT(n > 0 && (size_t)n < sizeof(w->folder));
	return 0;
}

static void work_set(struct row *r)
{
	struct bench_work *w = &r->work;
	const struct settings *s = r->set;
	bool list = r->mode->scene == SCENE_CHILDREN;

	w->value_bytes = (uint32_t)s->value_bytes;
	w->children = (uint32_t)s->children;
	w->keys = list ? (uint64_t)s->children : is_fan_out(r->mode) ? 1 : (uint64_t)s->keys;
	w->dirs = list || is_fan_out(r->mode) ? 1 : (uint64_t)s->dirs;
	w->multi_count = (uint32_t)s->multi;
	pk_rng_seed(&w->rng, (uint64_t)s->seed);
	bench_work_prepare(w);
}

static int load_new(struct row *r, struct pk_err *err)
{
	char yard[32];
	struct bench_load_config config = {
		.servers = r->set->servers,
		.conns = (uint32_t)r->set->conns,
		.pipeline = (uint32_t)r->set->pipeline,
		.session_ms = (int32_t)r->set->session_ms,
		.reconnect = r->set->reconnect,
		.pids = &r->pids,
	};
	uint16_t port;

	if (r->set->yardstick) {
		if (bench_yardstick_start(&r->work, &r->yardstick, &port, err) != 0)
			return err->code;
		pk_ignore(snprintf(yard, sizeof(yard), "127.0.0.1:%u", port), "it fits");
		config.servers = yard;
		r->pids = (struct bench_pids){ .pids = { r->yardstick }, .count = 1 };
	}
	return bench_load_new(&r->load, &config, err);
}

static int step(struct row *r, enum bench_op op, uint64_t first, uint64_t count, bool alone,
		struct pk_err *err)
{
	struct bench_result *result = pk_alloc(sizeof(*result));
	struct bench_phase phase = {
		.op = op,
		.first = first,
		.count = count,
		.conns = alone ? 1 : 0,
		.pipeline = alone ? 1 : PREPARE_PIPELINE,
	};
	int rc = bench_load_run(r->load, &r->work, &phase, result, err);

	free(result);
	return rc;
}

/* Every connection has seen what the others wrote. */
static int barrier(struct row *r, struct pk_err *err)
{
	struct bench_result *result = pk_alloc(sizeof(*result));
	struct bench_phase phase = { .op = BENCH_SYNC, .once_each = true };
	int rc = bench_load_run(r->load, &r->work, &phase, result, err);

	free(result);
	return rc;
}

static int scene_prepare(struct row *r, struct pk_err *err)
{
	enum scene scene = scene_of(r);
	int rc = 0;

	if (scene == SCENE_NOTHING)
		return 0;
	if (scene == SCENE_FILLED)
		return barrier(r, err);
	rc = step(r, BENCH_CREATE_FOLDER, 0, bench_work_depth(&r->work), true, err);
	if (rc == 0)
		rc = step(r, BENCH_CREATE_DIR, 0, r->work.dirs, false, err);
	if (rc == 0 && scene != SCENE_DIRS)
		rc = step(r, BENCH_CREATE, 0, r->work.keys, false, err);
	return rc == 0 ? barrier(r, err) : rc;
}

static int scene_clean(struct row *r, struct pk_err *err)
{
	enum scene scene = scene_of(r);
	uint64_t first = scene == SCENE_DIRS && !r->mode->herd ? (uint64_t)r->set->first : 0;
	int rc = 0;

	if (!r->set->clean || scene == SCENE_NOTHING || scene == SCENE_FILLED)
		return 0;
	uint64_t nodes = scene == SCENE_KEYS || scene == SCENE_CHILDREN ? r->work.keys
			 : r->mode->herd                                ? (uint64_t)r->set->conns
									: r->result.sent;
	if (nodes > 0)
		rc = step(r, BENCH_DELETE, first, nodes, false, err);
	if (rc == 0)
		rc = step(r, BENCH_DELETE_DIR, 0, r->work.dirs, false, err);
	return rc == 0 ? step(r, BENCH_DELETE_FOLDER, 0, 1, true, err) : rc;
}

/* Every connection watches node 0, one sets it, and all are told: that is a round. */
static int measure_fan_out(struct row *r, uint64_t rounds, struct pk_err *err)
{
	struct bench_result *one = pk_alloc(sizeof(*one)), *sum = &r->result;
	struct bench_phase watch = { .op = BENCH_WATCH, .once_each = true };
	struct bench_phase set = {
		.op = BENCH_SET, .count = 1, .conns = 1, .pipeline = 1, .awaits_events = true
	};
	struct bench_proc_use before = bench_proc_use(&r->pids);
	uint64_t own_ns = bench_proc_own_cpu_ns();
	int rc = 0;

	for (uint64_t i = 0; rc == 0 && i < rounds; i++) {
		rc = bench_load_run(r->load, &r->work, &watch, one, err);
		if (rc == 0)
			rc = bench_load_run(r->load, &r->work, &set, one, err);
		if (rc == 0) {
			bench_hist_add(&r->last, one->latency.max_ns);
			bench_hist_merge(&sum->latency, &one->latency);
			sum->ops += one->events;
			sum->sent += one->sent;
			sum->elapsed_ns += one->elapsed_ns;
		}
	}
	struct bench_proc_use after = bench_proc_use(&r->pids);
	sum->use = bench_proc_since(&before, &after);
	sum->own_cpu_ns = bench_proc_own_cpu_ns() - own_ns;
	free(one);
	return rc;
}

static int measure(struct row *r, struct pk_err *err)
{
	const struct settings *s = r->set;
	struct bench_phase phase = {
		.mix = r->mode->mix,
		.op = r->mode->op,
		.by_chance = r->mode->by_chance,
		.read_percent = (uint32_t)s->reads,
		.count = (uint64_t)s->count,
		.rate = (uint64_t)s->rate,
	};

	if (r->mode->counted && phase.count == 0)
		phase.count = r->mode->counted_default;
	if (is_fan_out(r->mode))
		return measure_fan_out(r, phase.count, err);
	if (r->mode->herd)
		return bench_herd_run(r->load, &r->work, &r->pids, s->run_ms, &r->herd, &r->result,
				      err);
	if (r->mode->mix == BENCH_MIX_SESSION || r->mode->mix == BENCH_MIX_IDLE)
		phase.rate = 0; /* these have a pace of their own */
	if (r->mode->op == BENCH_CREATE || r->mode->counted)
		phase.first = (uint64_t)s->first;
	if (phase.count == 0) {
		phase.warm_ms = s->warm_ms;
		phase.run_ms = s->run_ms;
	}
	return bench_load_run(r->load, &r->work, &phase, &r->result, err);
}

/* ---- what comes out ----------------------------------------------------------------------------
 */

static double per_op(double total, const struct bench_result *res)
{
	return res->ops == 0 ? 0 : total / (double)res->ops;
}

/* Memory of all servers for each session of idle and herd. */
static double session_bytes(const struct row *r)
{
	if (r->mode->mix != BENCH_MIX_IDLE)
		return 0;
	uint64_t now = r->mode->herd ? r->herd.standing.rss_bytes_sum : r->result.use.rss_bytes_sum;

	return ((double)now - (double)r->at_rest.rss_bytes_sum) / r->set->conns;
}

static void print_head(void)
{
	printf("%-9s %9s %6s %10s %8s %8s %8s %8s  %6s %8s %8s %8s\n", "row", "c x p", "bytes",
	       "ops/s", "p50 ms", "p99 ms", "p99.9", "max ms", "gen %", "cpu us", "rss MiB",
	       "wr B/op");
}

static void print_row(const struct row *r)
{
	const struct bench_result *res = &r->result;
	const struct bench_hist *h = &res->latency;
	double seconds = (double)res->elapsed_ns / 1e9;
	double rate = seconds > 0 ? (double)res->ops / seconds : 0;
	double own = res->elapsed_ns > 0 ? 100.0 * (double)res->own_cpu_ns / (double)res->elapsed_ns
					 : 0;
	double cpu_us = per_op((double)res->use.cpu_ns / 1e3, res);
	double written = per_op((double)res->use.written_bytes, res);
	char shape[24];

	if (r->set->json) {
		printf("{\"row\":\"%s\",\"connections\":%d,\"pipeline\":%d,\"value_bytes\":%d,"
		       "\"seconds\":%.3f,\"ops\":%" PRIu64 ",\"lost\":%" PRIu64
		       ",\"ops_per_s\":%.1f,\"p50_ms\":%.4f,\"p99_ms\":%.4f,\"p999_ms\":%.4f,"
		       "\"max_ms\":%.4f,\"generator_cpu_percent\":%.1f,\"server_cpu_s\":%.3f,"
		       "\"server_cpu_us_per_op\":%.3f,\"server_rss_bytes\":%" PRIu64
		       ",\"server_written_bytes_per_op\":%.1f,\"sessions_lost\":%" PRIu64
		       ",\"longest_gap_ms\":%.3f,\"open_s\":%.3f"
		       ",\"server_rss_bytes_sum\":%" PRIu64
		       ",\"server_rss_bytes_sum_before\":%" PRIu64
		       ",\"last_p50_ms\":%.4f,\"last_max_ms\":%.4f"
		       ",\"received_bytes_per_op\":%.1f,\"session_bytes\":%.1f"
		       ",\"made_s\":%.3f,\"returned\":%" PRIu64
		       ",\"away_p50_ms\":%.3f,\"away_p99_ms\":%.3f,\"away_max_ms\":%.3f"
		       ",\"told\":%" PRIu64 "}\n",
		       r->mode->name, r->set->conns, r->set->pipeline, r->set->value_bytes, seconds,
		       res->ops, res->lost, rate, (double)bench_hist_at(h, 0.5) / NS_PER_MS,
		       (double)bench_hist_at(h, 0.99) / NS_PER_MS,
		       (double)bench_hist_at(h, 0.999) / NS_PER_MS, (double)h->max_ns / NS_PER_MS,
		       own, (double)res->use.cpu_ns / 1e9, cpu_us, res->use.rss_bytes, written,
		       res->sessions_lost, (double)res->gap_ns / NS_PER_MS,
		       (double)r->opened_ns / 1e9, res->use.rss_bytes_sum, r->at_rest.rss_bytes_sum,
		       (double)bench_hist_at(&r->last, 0.5) / NS_PER_MS,
		       (double)r->last.max_ns / NS_PER_MS, per_op((double)res->received_bytes, res),
		       session_bytes(r), (double)r->herd.made_ns / 1e9, res->away.count,
		       (double)bench_hist_at(&res->away, 0.5) / NS_PER_MS,
		       (double)bench_hist_at(&res->away, 0.99) / NS_PER_MS,
		       (double)res->away.max_ns / NS_PER_MS, r->herd.told);
		return;
	}
	pk_ignore(snprintf(shape, sizeof(shape), "%dx%d", r->set->conns, r->set->pipeline),
		  "it fits");
	printf("%-9s %9s %6d %10.0f %8.3f %8.3f %8.3f %8.3f  %6.1f", r->mode->name, shape,
	       r->set->value_bytes, rate, (double)bench_hist_at(h, 0.5) / NS_PER_MS,
	       (double)bench_hist_at(h, 0.99) / NS_PER_MS,
	       (double)bench_hist_at(h, 0.999) / NS_PER_MS, (double)h->max_ns / NS_PER_MS, own);
	if (r->pids.count > 0)
		printf(" %8.2f %8.1f %8.0f", cpu_us, (double)res->use.rss_bytes / BYTES_PER_MIB,
		       written);
	else
		printf(" %8s %8s %8s", "-", "-", "-");
	if (res->lost > 0 || res->sessions_lost > 0)
		printf("  %" PRIu64 " unanswered, %" PRIu64 " sessions lost, longest gap %.1f ms",
		       res->lost, res->sessions_lost, (double)res->gap_ns / NS_PER_MS);
	if (r->last.count > 0)
		printf("  last event of all: p50 %.3f ms, max %.3f ms",
		       (double)bench_hist_at(&r->last, 0.5) / NS_PER_MS,
		       (double)r->last.max_ns / NS_PER_MS);
	if (r->mode->herd && res->away.count > 0)
		printf("  %" PRIu64 " were away and came back: p50 %.1f ms, longest %.1f ms",
		       res->away.count, (double)bench_hist_at(&res->away, 0.5) / NS_PER_MS,
		       (double)res->away.max_ns / NS_PER_MS);
	if (r->mode->mix == BENCH_MIX_IDLE && r->pids.count > 0)
		printf("  %.1f KiB a session on all servers, %.2f %% of a core",
		       session_bytes(r) / 1024,
		       100.0 * (double)res->use.cpu_ns / (double)res->elapsed_ns);
	if (r->set->yardstick && res->own_cpu_ns > 0)
		printf("  a whole core of the generator: %.0f/s",
		       (double)res->ops * 1e9 / (double)res->own_cpu_ns);
	printf("\n");
}

static int row_run(const struct settings *set, const struct mode *mode, struct pk_err *err)
{
	struct row *r = pk_alloc(sizeof(*r));
	int rc;

	r->set = set;
	r->mode = mode;
	bench_work_init(&r->work);
	work_set(r);
	rc = bench_pids_parse(&r->pids, set->pids, err);
	if (rc == 0)
		rc = folder_set(r, err);
	if (rc == 0 && mode->op == BENCH_MULTI && r->work.multi_count > r->work.keys)
		rc = pk_err_set(err, PK_EINVAL, "multi: more sets than keys");
	if (rc == 0 && set->yardstick && mode->herd)
		rc = pk_err_set(err, PK_EINVAL, "the yardstick keeps no ephemeral nodes");
	if (rc == 0)
		rc = load_new(r, err);
	r->at_rest = bench_proc_use(&r->pids);
	if (rc == 0 && mode->mix != BENCH_MIX_SESSION) {
		r->opened_ns = bench_proc_now_ns();
		rc = bench_load_open(r->load, err);
		r->opened_ns = bench_proc_now_ns() - r->opened_ns;
	}
	if (rc == 0)
		rc = scene_prepare(r, err);
	if (rc == 0)
		rc = measure(r, err);
	if (rc == 0) {
		print_row(r);
		pk_ignore(fflush(stdout), "main looks at it once more");
		if (mode->herd && r->result.sessions_lost > 0)
			rc = pk_err_set(err, PK_EPROTO, "%" PRIu64 " sessions were lost",
					r->result.sessions_lost);
	}
	if (rc == 0) {
		rc = scene_clean(r, err);
	}
	if (r->load != NULL) {
		bench_load_close(r->load);
		bench_load_free(r->load);
	}
	if (r->yardstick > 0)
		bench_yardstick_stop(r->yardstick);
	bench_work_release(&r->work);
	free(r);
	return rc;
}

static int rows_run(const char *program, const struct settings *set, const struct pk_strs *names)
{
	struct pk_err err = PK_ERR_INIT;

	for (size_t i = 0; i < names->count; i++) {
		if (mode_named(names->items[i]) == NULL) {
			struct pk_nearest near = pk_nearest_to(names->items[i]);

			for (size_t m = 0; m < PK_COUNT(modes); m++)
				pk_nearest_try(&near, modes[m].name);
			fprintf(stderr, "%s: there is no row %s%s%s\n", program, names->items[i],
				near.best != NULL ? ": did you mean " : ": see --help",
				near.best != NULL ? near.best : "");
			return EXIT_USAGE;
		}
	}
	if (!set->json)
		print_head();
	for (size_t i = 0; i < names->count; i++) {
		if (row_run(set, mode_named(names->items[i]), &err) != 0) {
			fprintf(stderr, "%s: %s: %s\n", program, names->items[i], err.text);
			return EXIT_FAILED;
		}
	}
	if (fflush(stdout) != 0) {
		fprintf(stderr, "%s: standard output: it cannot be written\n", program);
		return EXIT_FAILED;
	}
	return EXIT_OK;
}

/* The first ends the row and what it measured is printed; the second ends the process. */
static void on_signal(int signum)
{
	struct sigaction usual = { .sa_handler = SIG_DFL };

	bench_load_stop_soon();
	pk_ignore(sigaction(signum, &usual, NULL), "then it takes one more signal");
}

/* 10,000 connections are more descriptors than a shell usually allows. */
static void raise_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	pk_ignore(setrlimit(RLIMIT_NOFILE, &limit), "socket() says it when they do not suffice");
}

static void help(const struct pk_cmd *cmd)
{
	struct pk_buf text = PK_BUF_INIT;

	pk_cmd_help(cmd, &text);
	fputs(pk_buf_str(&text), stdout);
	printf("\nRows:\n");
	for (size_t i = 0; i < PK_COUNT(modes); i++)
		printf("  %-10s %s\n", modes[i].name, modes[i].about);
	printf("\n"
	       "Each of the connections sends its next request when one of its --pipeline is "
	       "answered,\n"
	       "or all of them together send --rate a second.\n"
	       "Columns: gen %% is the generator's own share of a core: near 100 it is the limit, "
	       "not the\n"
	       "servers. cpu us, rss MiB (of the largest server) and wr B/op are the servers', "
	       "from /proc,\n"
	       "and need --pids.\n\n"
	       "Examples:\n"
	       "  %s -S 127.0.0.1:2181 -c 16 create set get\n"
	       "  %s -S a:2181,b:2181,c:2181 --pids 41,42,43 -c 64 -p 16 -t 10s mixed\n"
	       "  %s -c 1000 --clean fan-out\n"
	       "  %s -c 1000 --reconnect -t 1m herd     and kill a server meanwhile\n"
	       "  %s --yardstick -c 64 -p 16 get        what the generator itself can do\n",
	       cmd->name, cmd->name, cmd->name, cmd->name, cmd->name);
	pk_buf_release(&text);
}

int bench_run(const char *program, int argc, char *const *argv)
{
	struct settings set;
	struct pk_cmd command = bench_command;
	struct pk_strs names = PK_STRS_INIT;
	struct pk_err err = PK_ERR_INIT;
	struct sigaction gentle = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	int status = EXIT_OK;

	PK_ASSERT(sigaction(SIGINT, &gentle, NULL) == 0);
	PK_ASSERT(sigaction(SIGTERM, &gentle, NULL) == 0);
	command.name = program;
	pk_opt_defaults(option_rows, PK_COUNT(option_rows), &set);
	int rc = pk_cmd_parse(&command, argc, argv, &set, &names, &err);
	if (rc < 0) {
		fprintf(stderr, "%s: %s\n", program, err.text);
		status = EXIT_USAGE;
	} else if (rc == PK_CMD_HELP) {
		help(&command);
	} else if (rc == PK_CMD_VERSION) {
		printf("%s %s\n", program, PADDOCK_VERSION);
	} else {
		raise_files();
		status = rows_run(program, &set, &names);
	}
	pk_strs_release(&names);
	pk_opt_release(option_rows, PK_COUNT(option_rows), &set);
	return status;
}

size_t bench_row_count(void)
{
	return PK_COUNT(modes);
}

const char *bench_row_name(size_t i)
{
	PK_ASSERT(i < PK_COUNT(modes));
	return modes[i].name;
}
