/*
 * paddock-workload - clients that use a cluster and write down every word of it.
 *
 *     --phase setup   one client makes what the workload needs
 *     --phase run     clients work until --seconds are over or SIGTERM comes, then wait for every
 *                     answer, close their sessions and end
 *     --phase final   from each server by itself: sync, then the whole tree, as dumps
 *
 * While it runs it prints a line twice a second, "ok=812 refused=90 unknown=3 idle_ms=120":
 * answers so far, and how long the client that waits longest has gone without a success.
 */
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/opt.h"
#include "jepsen/dump_io.h"
#include "jepsen/workload.h"
#include "net/loop.h"
#include "zkproto/client_io.h"

#define TICK_MS   5
#define STATUS_MS 500
#define ANSWERS_MS_MAX                                                                             \
	30000           /* at the end: every call is answered within, and every session ended */
#define BURST         8 /* requests in one go, now and then */
#define BURST_PERCENT 4

#define EXIT_USAGE     2
#define EXIT_SETUP     3
#define EXIT_NO_ANSWER 4

struct options {
#define OPT(field, name, type, dflt, least, most, unit, group, help) PK_OPT_FIELD(type, field)
#include "jepsen/workload_options.tbl"
#undef OPT
};

static const struct pk_opt option_rows[] = {
#define OPT(field, name, type, dflt, least, most, unit, group, help)                               \
	PK_OPT_ROW(struct options, field, name, type, dflt, least, most, unit, group, help)
#include "jepsen/workload_options.tbl"
#undef OPT
};

static const struct pk_cmd command = {
	.name = "paddock-workload",
	.args = "",
	.about = "Uses a cluster in one of several ways and records what came of it, for "
		 "paddock-check.",
	.opts = option_rows,
	.opts_count = PK_COUNT(option_rows),
};

enum phase { PHASE_SETUP, PHASE_RUN, PHASE_FINAL };

/*
 *         connected                  client_close           the server's answer, or none in time
 *   OPEN ───────────▶ OPEN, connected ──────────▶ CLOSING ─────────────────────────────▶ ENDED
 *                        │ expired, abandoned                                              │
 *                        └───────────────────────────────────────────────────────────▶ ENDED
 *   ENDED ─▶ OPEN at the next tick, unless the run is at its end
 */
enum place_state { PLACE_OPEN, PLACE_CLOSING, PLACE_ENDED };

struct place {
	struct client client; /* first: a client is its place */
	enum place_state state;
	struct zkc_io *io;
	uint64_t close_call; /* of the closeSession told to the history */
	bool had_session;
	int64_t next_us;    /* when to step */
	int64_t success_us; /* the last answer that was a success */
};

struct run {
	struct options opts;
	struct net_loop *loop;
	struct net_timer *tick, *status;
	struct net_tls *tls;
	struct hist_writer *writer;
	const struct workload *workload;
	struct place *places; /* owned */
	uint32_t count;
	bool stopping;
	int64_t end_us, answers_us;
	uint64_t ok, refused, unknown;
	struct dump *dump; /* phase final */
	int status_code;
};

static const struct workload workloads[] = {
#define W(name_, about_)                                                                           \
	{ .name = #name_, .about = (about_), .setup = name_##_setup, .step = name_##_step },
#include "jepsen/workload.tbl"
#undef W
};

static const struct {
	const char *name;
	void (*begin)(struct client *c);
} begins[] = {
#define W_BEGIN(name_) { #name_, name_##_begin },
#include "jepsen/workload.tbl"
#undef W_BEGIN
};

static const struct {
	const char *name;
	void (*event)(struct client *c, const struct zkc_event *event);
} events[] = {
#define W_EVENT(name_) { #name_, name_##_event },
#include "jepsen/workload.tbl"
#undef W_EVENT
};

const struct workload *workload_find(const char *name)
{
	static struct workload found;

	for (size_t i = 0; i < PK_COUNT(workloads); i++) {
		if (strcmp(workloads[i].name, name) != 0)
			continue;
		found = workloads[i];
		for (size_t j = 0; j < PK_COUNT(begins); j++)
			if (strcmp(begins[j].name, name) == 0)
				found.begin = begins[j].begin;
		for (size_t j = 0; j < PK_COUNT(events); j++)
			if (strcmp(events[j].name, name) == 0)
				found.event = events[j].event;
		return &found;
	}
	return NULL;
}

static struct place *place_of(struct client *c)
{
	return PK_CONTAINER(c, struct place, client);
}

/* ---- what workloads ask for ---- */

uint64_t client_below(struct client *c, uint64_t bound)
{
	return pk_rng_below(&c->rng, bound);
}

bool client_chance(struct client *c, uint32_t percent)
{
	return pk_rng_below(&c->rng, 100) < percent;
}

struct pk_bytes client_value(struct client *c, char *room)
{
	int len = snprintf(room, 48, "%" PRIu32 ".%" PRIu64, c->process, ++c->unique);

	return pk_bytes(room, (size_t)len);
}

void run_record(struct run *r, const struct client *c, struct hist_event *e)
{
	e->process = c->process;
	e->time_ns = net_now_fresh_us() * 1000;
	hist_write(r->writer, e);
}

static bool answered(int32_t err)
{
	return err == ZK_OK || err == ZK_ENONODE || err == ZK_ENODEEXISTS ||
	       err == ZK_EBADVERSION || err == ZK_ENOTEMPTY || err == ZK_ENOAUTH ||
	       err == ZK_ENOWATCHER;
}

void run_counted(struct run *r, struct client *c, int32_t err)
{
	if (err == ZK_OK)
		r->ok++;
	else if (err == ZK_ECONNECTIONLOSS || err == ZK_ESESSIONEXPIRED)
		r->unknown++;
	else
		r->refused++;
	if (answered(err))
		place_of(c)->success_us = net_now_fresh_us();
}

uint32_t client_server(const struct client *c)
{
	const struct place *p = PK_CONTAINER(c, const struct place, client);
	struct zkc_info info;
	const char *text, *dot;

	if (c->zk == NULL)
		return 0;
	zkc_info(c->zk, &info);
	text = zkc_io_server(p->io, info.server);
	dot = strrchr(text, '.');
	return dot == NULL ? info.server + 1 : (uint32_t)strtoul(dot + 1, NULL, 10);
}

static void on_watch(void *owner, const struct zkc_event *event)
{
	struct client *c = owner;
	struct place *p = place_of(c);

	if (event->type == ZK_EVENT_NONE)
		return; /* the end of the session, which is told by itself */
	run_record(c->run, c,
		   &(struct hist_event){ .kind = HIST_WATCH,
					 .session = c->session,
					 .server = client_server(c),
					 .event = event->type,
					 .part.path = event->path });
	if (c->run->workload->event != NULL && p->state == PLACE_OPEN && !c->run->stopping)
		c->run->workload->event(c, event);
}

struct zkc_watch client_watch(struct client *c)
{
	return (struct zkc_watch){ .call = on_watch, .owner = c };
}

/* ---- sessions ---- */

static void tell_state(struct place *p, enum hist_state state, int32_t timeout_ms)
{
	struct client *c = &p->client;

	run_record(c->run, c,
		   &(struct hist_event){ .kind = HIST_SESSION,
					 .session = c->session,
					 .server = client_server(c),
					 .state = state,
					 .timeout_ms = timeout_ms });
}

static void close_told(struct place *p, bool confirmed)
{
	struct client *c = &p->client;

	run_record(c->run, c,
		   &(struct hist_event){ .kind = confirmed ? HIST_OK : HIST_INFO,
					 .call = p->close_call,
					 .session = c->session,
					 .server = client_server(c),
					 .part.err = confirmed ? ZK_OK : ZK_ECONNECTIONLOSS });
	tell_state(p, confirmed ? HIST_CLOSED : HIST_ABANDONED, 0);
}

static void on_state(void *owner, enum zkc_state state)
{
	struct place *p = owner;
	struct client *c = &p->client;
	struct zkc_info info;

	zkc_info(c->zk, &info);
	c->connected = state == ZKC_CONNECTED;
	switch (state) {
	case ZKC_CONNECTED:
		c->session = (uint64_t)info.session_id;
		p->had_session = true;
		tell_state(p, HIST_CONNECTED, info.timeout_ms);
		break;
	case ZKC_CONNECTING:
	case ZKC_CONNECTED_READ_ONLY: /* not asked for */
		tell_state(p, HIST_DISCONNECTED, 0);
		break;
	case ZKC_EXPIRED:
	case ZKC_AUTH_FAILED:
		if (p->state == PLACE_CLOSING)
			close_told(p, false);
		tell_state(p, HIST_EXPIRED, 0);
		p->state = PLACE_ENDED;
		break;
	case ZKC_CLOSED:
		if (p->had_session)
			close_told(p, info.end_confirmed);
		p->state = PLACE_ENDED;
		break;
	}
}

/* The client library goes; calls that it has not answered never will be. */
static void place_drop(struct place *p)
{
	struct client *c = &p->client;

	zkc_io_free(p->io);
	c->zk = NULL;
	p->io = NULL;
	c->connected = false;
	calls_drop(c);
	p->state = PLACE_ENDED;
}

static int place_open(struct place *p, struct pk_err *err)
{
	struct client *c = &p->client;
	struct run *r = c->run;

	p->io = zkc_io_new(
		r->loop,
		&(struct zkc_io_config){ .servers = r->opts.servers,
					 .tls = r->tls,
					 .client = { .seed = pk_rng_next(&c->rng) | 1,
						     .timeout_ms = (int32_t)r->opts.timeout_ms *
								   (int32_t)(4 + c->index % 5) / 4,
						     .on_state = on_state,
						     .owner = p } },
		err);
	if (p->io == NULL)
		return err->code;
	c->zk = zkc_io_client(p->io);
	c->session = 0;
	c->closing = false;
	p->had_session = false;
	p->state = PLACE_OPEN;
	if (r->workload->begin != NULL && r->opts.phase == PHASE_RUN)
		r->workload->begin(c);
	return 0;
}

void client_close(struct client *c)
{
	struct place *p = place_of(c);

	if (p->state != PLACE_OPEN || c->session == 0)
		return;
	p->state = PLACE_CLOSING;
	c->closing = true;
	p->close_call = ++c->call_last;
	run_record(c->run, c,
		   &(struct hist_event){ .kind = HIST_INVOKE,
					 .call = p->close_call,
					 .session = c->session,
					 .part.op = ZK_OP_CLOSE_SESSION });
	zkc_close(c->zk);
}

void client_abandon(struct client *c)
{
	struct place *p = place_of(c);

	if (p->state != PLACE_OPEN || c->session == 0)
		return;
	/* At the next tick: this may be a callback of the session that goes. */
	c->closing = true;
	p->state = PLACE_ENDED;
}

/* Between callbacks: what ended is cleared away. */
static void place_sweep(struct place *p)
{
	struct client *c = &p->client;
	struct zkc_info info;

	if (p->state != PLACE_ENDED || p->io == NULL)
		return;
	zkc_info(c->zk, &info);
	bool abandoned = info.state != ZKC_CLOSED && info.state != ZKC_EXPIRED &&
			 info.state != ZKC_AUTH_FAILED;
	place_drop(p);
	if (abandoned && p->had_session)
		tell_state(p, HIST_ABANDONED, 0);
}

/* ---- the run ---- */

static bool all_ended(const struct run *r)
{
	for (uint32_t i = 0; i < r->count; i++)
		if (r->places[i].io != NULL)
			return false;
	return true;
}

static void run_stop(struct run *r)
{
	if (r->stopping)
		return;
	r->stopping = true;
	r->answers_us = net_now_fresh_us() + ANSWERS_MS_MAX * INT64_C(1000);
}

static void on_signal(void *owner, int signum)
{
	pk_ignore(signum, "each of them ends the run");
	run_stop(owner);
}

/* No more steps: as each client's last answer comes, its session is closed. */
static void wind_up(struct run *r, int64_t now_us)
{
	for (uint32_t i = 0; i < r->count; i++) {
		struct place *p = &r->places[i];

		place_sweep(p);
		if (p->io == NULL || p->state != PLACE_OPEN)
			continue;
		if (p->client.session == 0 && p->client.call_count == 0)
			place_drop(p); /* it never had a session */
		else if (p->client.call_count == 0)
			client_close(&p->client);
	}
	if (all_ended(r)) {
		net_loop_stop(r->loop);
	} else if (now_us >= r->answers_us) {
		for (uint32_t i = 0; i < r->count; i++)
			if (r->places[i].io != NULL)
				LOG_ERROR("workload.unanswered", "process=%u calls=%u",
					  r->places[i].client.process,
					  r->places[i].client.call_count);
		r->status_code = EXIT_NO_ANSWER;
		net_loop_stop(r->loop);
	}
}

/* Exponential distances, so that clients do not fall into step. */
static int64_t distance_us(struct run *r, struct client *c)
{
	double uniform = ((double)pk_rng_below(&c->rng, 1u << 30) + 1) / (1u << 30);
	double mean_us = 1e6 * r->count / r->opts.rate;

	return (int64_t)(-log(uniform) * mean_us);
}

static void place_step(struct place *p, int64_t now_us)
{
	struct client *c = &p->client;
	struct run *r = c->run;
	uint32_t burst = 1;

	if (now_us < p->next_us)
		return;
	if (client_chance(c, BURST_PERCENT))
		burst = BURST;
	for (uint32_t i = 0; i < burst; i++) {
		p->next_us = (i == 0 ? now_us : p->next_us) + distance_us(r, c);
		if (c->call_count < WORKLOAD_WINDOW_MAX && p->state == PLACE_OPEN)
			r->workload->step(c);
	}
}

static void on_tick(void *owner)
{
	struct run *r = owner;
	int64_t now_us = net_now_fresh_us();

	if (r->end_us != 0 && now_us >= r->end_us)
		run_stop(r);
	if (r->stopping) {
		wind_up(r, now_us);
		return;
	}
	for (uint32_t i = 0; i < r->count; i++) {
		struct place *p = &r->places[i];
		struct pk_err err = PK_ERR_INIT;

		place_sweep(p);
		if (p->io == NULL && place_open(p, &err) != 0) {
			LOG_ERROR("workload.open", "error=\"%s\"", err.text);
			r->status_code = EXIT_USAGE;
			net_loop_stop(r->loop);
			return;
		}
		if (r->opts.phase == PHASE_RUN && p->state == PLACE_OPEN)
			place_step(p, now_us);
	}
	if (r->opts.phase == PHASE_SETUP && r->places[0].client.call_count == 0)
		run_stop(r);
}

static void on_status(void *owner)
{
	struct run *r = owner;
	struct pk_err err = PK_ERR_INIT;
	int64_t now_us = net_now_fresh_us(), idle_us = 0;

	for (uint32_t i = 0; i < r->count; i++)
		if (now_us - r->places[i].success_us > idle_us)
			idle_us = now_us - r->places[i].success_us;
	printf("ok=%" PRIu64 " refused=%" PRIu64 " unknown=%" PRIu64 " idle_ms=%" PRId64 "\n",
	       r->ok, r->refused, r->unknown, idle_us / 1000);
	fflush(stdout);
	if (hist_writer_flush(r->writer, &err) != 0) {
		LOG_ERROR("workload.history", "error=\"%s\"", err.text);
		r->status_code = EXIT_SETUP;
		net_loop_stop(r->loop);
	}
}

static void on_dumped(void *owner, bool whole)
{
	struct run *r = owner;

	r->status_code = whole ? 0 : EXIT_NO_ANSWER;
	net_loop_stop(r->loop);
}

static void run_begin(struct run *r)
{
	int64_t now_us = net_now_fresh_us();

	r->count = r->opts.phase == PHASE_RUN ? (uint32_t)r->opts.sessions : 1;
	r->places = pk_alloc(r->count * sizeof(*r->places));
	r->end_us = r->opts.seconds > 0 ? now_us + r->opts.seconds * INT64_C(1000000) : 0;
	for (uint32_t i = 0; i < r->count; i++) {
		struct place *p = &r->places[i];
		struct client *c = &p->client;

		c->run = r;
		c->process = (uint32_t)r->opts.first + i;
		c->index = c->process;
		pk_rng_seed(&c->rng, (uint64_t)r->opts.seed * 1000003 + c->process);
		TAILQ_INIT(&c->calls);
		p->state = PLACE_ENDED;
		p->success_us = now_us;
		run_record(r, c,
			   &(struct hist_event){ .kind = HIST_CLIENT,
						 .name = pk_bytes_str("zkc"),
						 .flags = HIST_CLIENT_ALL });
	}
}

static void run_release(struct run *r)
{
	for (uint32_t i = 0; i < r->count; i++) {
		if (r->places[i].io != NULL)
			place_drop(&r->places[i]);
		free(r->places[i].client.mine);
	}
	free(r->places);
	net_timer_free(r->tick);
	net_timer_free(r->status);
}

static int run(struct run *r, struct pk_err *err)
{
	static const int signals[] = { SIGTERM, SIGINT };
	struct net_signal *handles[PK_COUNT(signals)] = { NULL };
	int rc = 0;

	r->loop = net_loop_new(err);
	if (r->loop == NULL)
		return err->code;
	for (size_t i = 0; rc == 0 && i < PK_COUNT(signals); i++) {
		handles[i] = net_signal_on(r->loop, signals[i], on_signal, r, err);
		rc = handles[i] == NULL ? err->code : 0;
	}
	if (rc == 0 && r->opts.phase == PHASE_FINAL) {
		r->dump = dump_new(r->loop, r->writer,
				   &(struct dump_opts){ .servers = r->opts.servers,
							.tls = r->tls,
							.auth = r->opts.auth,
							.first = (uint32_t)r->opts.first },
				   on_dumped, r);
	} else if (rc == 0) {
		run_begin(r);
		r->tick = net_timer_new(r->loop, on_tick, r);
		r->status = net_timer_new(r->loop, on_status, r);
		net_timer_start(r->status, STATUS_MS, STATUS_MS);
		on_tick(r);
		if (r->opts.phase == PHASE_SETUP)
			r->workload->setup(&r->places[0].client);
		net_timer_start(r->tick, TICK_MS, TICK_MS);
	}
	if (rc == 0)
		net_loop_run(r->loop);
	if (r->opts.phase == PHASE_SETUP && (r->refused > 0 || r->unknown > 0))
		r->status_code = EXIT_SETUP;
	if (r->status != NULL)
		on_status(r);
	dump_free(r->dump);
	run_release(r);
	for (size_t i = 0; i < PK_COUNT(signals); i++)
		net_signal_free(handles[i]);
	for (int i = 0; i < 10; i++)
		pk_ignore(net_loop_turn(r->loop, false), "streams close in a turn or two");
	net_loop_free(r->loop);
	return rc;
}

static int tls_make(struct run *r, struct pk_err *err)
{
	if (r->opts.tls_ca == NULL)
		return 0;
	r->tls = net_tls_new(&(struct net_tls_opts){ .cert_file = r->opts.tls_cert,
						     .trust_file = r->opts.tls_ca },
			     err);
	return r->tls == NULL ? err->code : 0;
}

static int start(struct run *r, struct pk_err *err)
{
	if (r->opts.servers == NULL || r->opts.history == NULL)
		return pk_err_set(err, PK_EINVAL, "--servers and --history must be given");
	r->workload = workload_find(r->opts.workload);
	if (r->workload == NULL)
		return pk_err_set(err, PK_EINVAL, "no workload is called %s", r->opts.workload);
	int rc = tls_make(r, err);
	if (rc != 0)
		return rc;
	r->writer = hist_writer_open(r->opts.history, err);
	if (r->writer == NULL)
		return err->code;
	rc = run(r, err);
	struct pk_err close_err = PK_ERR_INIT;
	if (hist_writer_close(r->writer, &close_err) != 0 && rc == 0) {
		*err = close_err;
		rc = err->code;
	}
	net_tls_free(r->tls);
	return rc;
}

int main(int argc, char **argv)
{
	struct run r = { 0 };
	struct pk_strs args = PK_STRS_INIT;
	struct pk_err err = PK_ERR_INIT;
	struct pk_buf help = PK_BUF_INIT;

	pk_log_setup(PK_LOG_WARN, PK_LOG_TEXT);
	pk_opt_defaults(option_rows, PK_COUNT(option_rows), &r.opts);
	int rc = pk_cmd_parse(&command, argc, argv, &r.opts, &args, &err);
	if (rc == PK_CMD_HELP) {
		pk_cmd_help(&command, &help);
		fputs(pk_buf_str(&help), stdout);
		pk_buf_release(&help);
	} else if (rc == PK_CMD_RUN && r.opts.list) {
		for (size_t i = 0; i < PK_COUNT(workloads); i++)
			printf("%-10s %s\n", workloads[i].name, workloads[i].about);
	} else if (rc == PK_CMD_RUN) {
		rc = start(&r, &err);
	}
	if (rc < 0) {
		fprintf(stderr, "paddock-workload: %s\n", err.text);
		r.status_code = EXIT_USAGE;
	}
	pk_opt_release(option_rows, PK_COUNT(option_rows), &r.opts);
	pk_strs_release(&args);
	return r.status_code;
}
