/*
 * tests/sim/cluster_sim.c - seeded runs of a whole cluster with clients under faults.
 *
 *     cluster_sim --seeds N [--from S]    N seeds, each in a process of its own
 *     cluster_sim --seed S [-v]           one; a failure prints this command
 *     cluster_sim --first                 no more after the first that fails
 *     cluster_sim --calm                  without faults
 *     cluster_sim --twice                 each seed two times: the events must be the same
 *
 * A seed decides sizes, load and faults. Then everything heals, every client must get through,
 * every server must hold the model's tree, sessions that fall silent must end and take their
 * ephemerals along.
 */
#include <inttypes.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "store/raft_node.h"
#include "tests/sim/cluster_client.h"

#define LOADS_MAX    8
#define FAILURES_MAX 10 /* then it says what it has */

struct load {
	struct run *run;
	struct client *client;
	int index;
	uint64_t number;  /* timers of an older state are void */
	int64_t every_us; /* between requests, on average */
	size_t window;
	bool stopping, done, silent;
	bool last_sent;
};

struct run {
	struct sim *sim;
	struct pk_rng rng;
	bool calm, verbose, healed;
	struct load loads[LOADS_MAX];
	size_t load_count;
	uint32_t crash, cut, pause, disk, net, wipe, wall, client; /* weights */
	int64_t fault_every_ms;
};

struct totals {
	struct sim_stats s;
	int64_t simulated_us;
	uint64_t hash, faults;
	uint64_t seeds, failed;
};

static uint64_t faults;

static bool chance(struct run *r, uint32_t percent)
{
	return pk_rng_below(&r->rng, 100) < percent;
}

static uint64_t below(struct run *r, uint64_t n)
{
	return pk_rng_below(&r->rng, n);
}

/* ---- load ---- */

static const char *any_path(struct run *r)
{
	static char path[64];
	uint64_t a = below(r, 4), b = below(r, 3);

	switch (below(r, 4)) {
	case 0:
		snprintf(path, sizeof(path), "/a%" PRIu64, a);
		break;
	case 1:
	case 2:
		snprintf(path, sizeof(path), "/a%" PRIu64 "/b%" PRIu64, a, b);
		break;
	default:
		snprintf(path, sizeof(path), "/e%" PRIu64, b);
		break;
	}
	return path;
}

static const char *any_data(struct run *r)
{
	static char data[4200];
	size_t len = chance(r, 3) ? (size_t)below(r, 4000) : (size_t)below(r, 20);

	if (chance(r, 5))
		return NULL;
	for (size_t i = 0; i < len; i++)
		data[i] = (char)('a' + below(r, 26));
	data[len] = 0;
	return data;
}

static int32_t any_version(struct run *r)
{
	return chance(r, 70) ? -1 : (int32_t)below(r, 4);
}

static void multi_one(struct run *r, struct pk_buf *b)
{
	struct zk_create_req create = { .acl = zk_acls_open() };
	struct zk_delete_req del;
	struct zk_set_data_req set;
	struct zk_check_req check;
	const char *data;

	switch (below(r, 4)) {
	case 0:
		create.path = pk_bytes_str(any_path(r));
		create.flags = (int32_t)below(r, 4);
		zk_multi_op_header(b, chance(r, 50) ? ZK_OP_CREATE : ZK_OP_CREATE2);
		zk_create_req_encode(b, &create);
		break;
	case 1:
		del = (struct zk_delete_req){ pk_bytes_str(any_path(r)), any_version(r) };
		zk_multi_op_header(b, ZK_OP_DELETE);
		zk_delete_req_encode(b, &del);
		break;
	case 2:
		data = any_data(r);
		set = (struct zk_set_data_req){ pk_bytes_str(any_path(r)),
						data != NULL ? pk_bytes_str(data) : PK_BYTES_NONE,
						any_version(r) };
		zk_multi_op_header(b, ZK_OP_SET_DATA);
		zk_set_data_req_encode(b, &set);
		break;
	default:
		check = (struct zk_check_req){ pk_bytes_str(any_path(r)), any_version(r) };
		zk_multi_op_header(b, ZK_OP_CHECK);
		zk_check_req_encode(b, &check);
		break;
	}
}

static void request(struct load *l)
{
	static const int32_t reads[] = { ZK_OP_EXISTS,         ZK_OP_GET_DATA,
					 ZK_OP_GET_CHILDREN,   ZK_OP_GET_CHILDREN2,
					 ZK_OP_GET_EPHEMERALS, ZK_OP_GET_ALL_CHILDREN_NUMBER };
	struct run *r = l->run;
	struct client *c = l->client;
	struct pk_buf b = PK_BUF_INIT;
	uint64_t pick = below(r, 100);

	if (pick < 18) {
		client_create(c, chance(r, 50) ? ZK_OP_CREATE : ZK_OP_CREATE2, any_path(r),
			      any_data(r), ZK_CREATE_PERSISTENT);
	} else if (pick < 24) {
		client_create(c, ZK_OP_CREATE, any_path(r), any_data(r), ZK_CREATE_EPHEMERAL);
	} else if (pick < 30) {
		client_create(c, ZK_OP_CREATE2, any_path(r), "q",
			      chance(r, 50) ? ZK_CREATE_SEQUENTIAL
					    : ZK_CREATE_EPHEMERAL_SEQUENTIAL);
	} else if (pick < 40) {
		client_delete(c, any_path(r), any_version(r));
	} else if (pick < 55) {
		client_set(c, any_path(r), any_data(r), any_version(r));
	} else if (pick < 62) {
		for (uint64_t n = 1 + below(r, 4); n > 0; n--)
			multi_one(r, &b);
		zk_multi_end(&b);
		client_multi(c, pk_buf_bytes(&b));
		pk_buf_release(&b);
	} else if (pick < 68) {
		client_ask(c, ZK_OP_SYNC, "/", false);
	} else if (pick < 72 && client_watches(c) < 12) {
		client_add_watch(c, chance(r, 20) ? "/" : any_path(r), chance(r, 50));
	} else if (pick < 75) {
		client_check_watches(c, chance(r, 50) ? ZK_OP_REMOVE_WATCHES : ZK_OP_CHECK_WATCHES,
				     any_path(r), (int32_t)(1 + below(r, 3)));
	} else {
		int32_t op = reads[below(r, PK_COUNT(reads))];
		client_ask(c, op, any_path(r), chance(r, 50));
	}
}

static void work(struct sim *s, void *arg, uint64_t number);

static void later(struct load *l, int64_t us)
{
	sim_call_at(l->run->sim, 1 + (int64_t)below(l->run, (uint64_t)(2 * us)), work, l,
		    l->number);
}

static void work(struct sim *s, void *arg, uint64_t number)
{
	struct load *l = arg;
	struct run *r = l->run;

	if (number != l->number || l->silent)
		return;
	switch (client_state(l->client)) {
	case CLIENT_IDLE:
		if (!l->done)
			client_connect(l->client, (int)below(r, sim_servers(s)));
		break;
	case CLIENT_CONNECTING:
		break;
	case CLIENT_CONNECTED:
		if (l->stopping) {
			if (!l->last_sent)
				client_create(l->client, ZK_OP_CREATE, "/last", "x",
					      ZK_CREATE_PERSISTENT);
			l->last_sent = true;
		} else if (client_outstanding(l->client) < l->window) {
			for (uint64_t n = 1 + (chance(r, 20) ? below(r, l->window) : 0); n > 0; n--)
				request(l);
		}
		if (!r->calm && !r->healed && chance(r, 1))
			client_end(l->client);
		break;
	case CLIENT_ENDED:
		if (!l->done)
			client_forget_session(l->client);
		break;
	}
	later(l, l->every_us);
}

static void on_reply(void *owner, const struct client_reply *r)
{
	struct load *l = owner;

	if (l->stopping && r->op == ZK_OP_CREATE && strcmp(r->path, "/last") == 0) {
		l->last_sent = false;
		l->done = l->done || !r->lost;
	}
}

static void on_event(void *owner, int32_t type, struct pk_bytes path)
{
	(void)owner;
	(void)type;
	(void)path;
}

static void on_state(void *owner, enum client_state state, const char *why)
{
	struct load *l = owner;

	(void)why;
	(void)state;
	l->number++;
	l->last_sent = false;
	later(l, state == CLIENT_CONNECTED ? l->every_us : 100 * SIM_MS);
}

static void load_start(struct run *r, int index)
{
	struct load *l = &r->loads[index];
	struct client_owner owner = { l, on_reply, on_event, on_state };

	*l = (struct load){ .run = r, .index = index };
	l->every_us = pk_rng_range(&r->rng, 5, 100) * SIM_MS;
	l->window = (size_t)pk_rng_range(&r->rng, 1, 12);
	l->client = client_new(r->sim, index, (int32_t)pk_rng_range(&r->rng, 1000, 12000), &owner);
	later(l, 500 * SIM_MS);
}

#include "tests/sim/cluster_faults.h"

/* ---- one run ---- */

static bool all_done(const struct run *r)
{
	for (size_t i = 0; i < r->load_count; i++)
		if (!r->loads[i].done)
			return false;
	return sim_settled(r->sim);
}

static const char *last_words(struct run *r);

static const char *finish(struct run *r)
{
	struct sim *s = r->sim;
	static char why[200];

	heal(r);
	for (size_t i = 0; i < r->load_count; i++)
		r->loads[i].stopping = true;
	for (int i = 0; i < 120 && !all_done(r) && sim_violation(s) == NULL; i++)
		sim_run(s, 500);
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
	if (strcmp(path, "/") == 0 || strncmp(path, "/zookeeper", 10) == 0)
		return;
	bool there = read_back(sim_server(s, w->server), ZK_OP_GET_DATA, path, &got);
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
		if (!sim_up(s, i))
			continue;
		model_path_each(sim_model(s), walk_one, &w);
		const struct tree_meta *m = tree_meta(server_tree(sim_server(s, i)));
		if (m->nodes != w.there + 3) /* /zookeeper, its config and quota */
			sim_violate(s, "server %d has %" PRIu64 " nodes, the model %zu", i,
				    m->nodes, w.there + 3);
		tree_check(server_tree(sim_server(s, i)));
	}
}

static void count_living(void *arg, const struct model_session *m)
{
	*(size_t *)arg += m->ended_zxid == 0;
}

/* Everybody falls silent: every session must end, and with it its ephemerals. */
static const char *last_words(struct run *r)
{
	struct sim *s = r->sim;
	static char why[200];
	size_t living = 0;

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
	for (int i = 0; i < (int)sim_servers(s); i++)
		if (tree_meta(server_tree(sim_server(s, i)))->ephemerals != 0)
			return "ephemerals outlive their sessions";
	return sim_violation(s);
}

static const char *run_one(uint64_t seed, bool calm, bool verbose, struct totals *t)
{
	static const size_t sizes[] = { 3, 3, 3, 3, 5, 1 };
	static char text[700];
	struct run run = { .calm = calm, .verbose = verbose }, *r = &run;
	const char *why;

	faults = 0;
	pk_rng_seed(&r->rng, seed ^ 0xc1a5);
	bool small = chance(r, 60); /* logs so small that states are fetched all the time */
	struct sim_options o = {
		.seed = seed,
		.servers = sizes[below(r, PK_COUNT(sizes))],
		.tick_ms = (int32_t)pk_rng_range(&r->rng, 200, 2000),
		.commit_overlay_bytes = 1u << pk_rng_range(&r->rng, 12, small ? 15 : 22),
		.commit_log_bytes = 1u << pk_rng_range(&r->rng, 12, small ? 15 : 22),
		.snapshot_log_bytes = 1u << pk_rng_range(&r->rng, 13, small ? 16 : 20),
		.trailing_entries = (uint64_t)pk_rng_range(&r->rng, 1, small ? 30 : 2000),
		.segment_bytes = small ? 16384 : 65536,
		.verbose = verbose,
	};
	r->sim = sim_new(&o);
	r->load_count = (size_t)pk_rng_range(&r->rng, 1, LOADS_MAX);
	for (size_t i = 0; i < r->load_count; i++)
		load_start(r, (int)i);
	int64_t until = sim_now_ms(r->sim) + pk_rng_range(&r->rng, 10000, 60000);
	faults_plan(r);
	while (sim_now_ms(r->sim) < until && sim_violation(r->sim) == NULL)
		faults_step(r);
	why = finish(r);
	if (why == NULL && calm && sim_stats(r->sim)->lost > 0)
		why = "connections were lost though nothing was broken";
	if (why == NULL)
		why = sim_violation(r->sim);
	if (why != NULL)
		sim_describe(r->sim);
	if (why != NULL)
		snprintf(text, sizeof(text), "%s", why);
	t->s = *sim_stats(r->sim);
	t->simulated_us = sim_now_us(r->sim);
	t->hash = sim_hash(r->sim);
	t->faults = faults;
	for (size_t i = 0; i < r->load_count; i++)
		if (client_wire(r->loads[i].client) != NULL)
			client_drop(r->loads[i].client);
	for (size_t i = 0; i < r->load_count; i++)
		client_free(r->loads[i].client);
	sim_free(r->sim);
	return why != NULL ? text : NULL;
}

/* In a process of its own: an assertion that fails is one failed seed. */
static bool run_apart(uint64_t seed, bool calm, struct totals *one, char *why, size_t why_bytes)
{
	int fds[2], status;
	struct {
		struct totals t;
		char why[700];
	} got = { 0 };

	fflush(stdout);
	if (pipe(fds) != 0)
		exit(2);
	pid_t pid = fork();
	if (pid < 0)
		exit(2);
	if (pid == 0) {
		alarm(300);
		const char *failed = run_one(seed, calm, false, &got.t);
		if (failed != NULL)
			snprintf(got.why, sizeof(got.why), "%s", failed);
		_exit(write(fds[1], &got, sizeof(got)) == sizeof(got) ? 0 : 2);
	}
	close(fds[1]);
	ssize_t n = read(fds[0], &got, sizeof(got));
	close(fds[0]);
	if (waitpid(pid, &status, 0) != pid)
		exit(2);
	if (n != sizeof(got) || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
		snprintf(why, why_bytes, "it died (status %#x)", status), sim_sweep((int)pid);
	else
		snprintf(why, why_bytes, "%s", got.why);
	*one = got.t;
	return why[0] == 0;
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
	t->seeds++;
}

static double now_s(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	uint64_t seeds = 1, from = 1;
	bool verbose = false, calm = false, twice = false, one = false;
	uint64_t failures_max = FAILURES_MAX;
	struct totals t = { 0 };
	char why[700];

	for (int i = 1; i < argc; i++) {
		bool more = i + 1 < argc;
		if (strcmp(argv[i], "--seeds") == 0 && more)
			seeds = strtoull(argv[++i], NULL, 0);
		else if (strcmp(argv[i], "--from") == 0 && more)
			from = strtoull(argv[++i], NULL, 0);
		else if (strcmp(argv[i], "--seed") == 0 && more)
			one = true, from = strtoull(argv[++i], NULL, 0);
		else if (strcmp(argv[i], "--calm") == 0)
			calm = true;
		else if (strcmp(argv[i], "--twice") == 0)
			twice = true;
		else if (strcmp(argv[i], "--first") == 0)
			failures_max = 1;
		else if (strcmp(argv[i], "-v") == 0)
			verbose = true;
		else
			return fprintf(stderr,
				       "usage: cluster_sim [--seeds N] [--from S] [--seed S] "
				       "[--first] [--calm] [--twice] [-v]\n"),
			       2;
	}
	double start = now_s();
	for (uint64_t s = from; s < from + seeds && t.failed < failures_max; s++) {
		struct totals this = { 0 }, again = { 0 };
		bool ok;

		if (one) { /* in this very process, for the debugger */
			const char *failed = run_one(s, calm, verbose, &this);
			ok = failed == NULL;
			snprintf(why, sizeof(why), "%s", ok ? "" : failed);
		} else {
			ok = run_apart(s, calm, &this, why, sizeof(why));
		}
		if (ok && twice && run_apart(s, calm, &again, why, sizeof(why)) &&
		    again.hash != this.hash) {
			ok = false;
			snprintf(why, sizeof(why), "two runs differ: %016" PRIx64 ", %016" PRIx64,
				 this.hash, again.hash);
		}
		add(&t, &this);
		if (!ok) {
			t.failed++;
			printf("FAILED seed %" PRIu64
			       ": %s\n  replay: make sim-cluster SEED=%" PRIu64 "%s\n",
			       s, why, s, calm ? " CALM=1" : "");
			fflush(stdout);
		}
	}
	double real = now_s() - start, simulated = (double)t.simulated_us / 1e6;
	printf("cluster: %" PRIu64 " seeds, %" PRIu64 " failed; %" PRIu64 " faults, %" PRIu64
	       " elections, %" PRIu64 " entries, %" PRIu64 " commits, %" PRIu64
	       " states fetched, %" PRIu64 " joins\n"
	       "%" PRIu64 " requests, %" PRIu64 " replies, %" PRIu64
	       " writes acknowledged, %" PRIu64 " watch events, %" PRIu64 " connections\n"
	       "%.0f s simulated in %.1f s: %.0f times real time, %.0f events/s\n",
	       t.seeds, t.failed, t.faults, t.s.elections, t.s.entries, t.s.commits, t.s.imports,
	       t.s.joins, t.s.requests, t.s.replies, t.s.acked, t.s.watch_events, t.s.connects,
	       simulated, real, simulated / real, (double)t.s.events / real);
	return t.failed != 0;
}
