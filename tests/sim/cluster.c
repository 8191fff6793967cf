#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uthash.h>

#include "tests/sim/cluster_history.h"
#include "tests/sim/cluster_int.h"

struct heard {
	UT_hash_handle hh;
	uint64_t session;
	int64_t at_us;
};

/* ---- events ---- */

static bool event_before(const struct event *a, const struct event *b)
{
	return a->at_us != b->at_us ? a->at_us < b->at_us : a->seq < b->seq;
}

static void heap_push(struct sim *s, struct event *e)
{
	size_t i = s->events++;

	if (s->events > s->heap_cap) {
		s->heap_cap = s->heap_cap * 2 + 64;
		s->heap = pk_realloc(s->heap, s->heap_cap * sizeof(struct event *));
	}
	for (; i > 0 && event_before(e, s->heap[(i - 1) / 2]); i = (i - 1) / 2)
		s->heap[i] = s->heap[(i - 1) / 2];
	s->heap[i] = e;
}

static struct event *heap_take(struct sim *s)
{
	struct event *top = s->heap[0], *last = s->heap[--s->events];
	size_t i = 0;

	for (;;) {
		size_t child = 2 * i + 1;
		if (child >= s->events)
			break;
		if (child + 1 < s->events && event_before(s->heap[child + 1], s->heap[child]))
			child++;
		if (!event_before(s->heap[child], last))
			break;
		s->heap[i] = s->heap[child];
		i = child;
	}
	s->heap[i] = last;
	return top;
}

struct event *event_add(struct sim *s, int64_t in_us, event_f *run, int server, void *p, uint64_t n)
{
	struct event *e = pk_alloc(sizeof(*e));

	PK_ASSERT(in_us >= 0);
	*e = (struct event){ .at_us = s->now_us + in_us,
			     .seq = s->seq++,
			     .run = run,
			     .server = server,
			     .life = server >= 0 ? s->servers[server].life : 0,
			     .p = p,
			     .n = n };
	heap_push(s, e);
	return e;
}

void events_wake(struct sim *s, int server)
{
	int64_t until_us = s->servers[server].paused_until_us;
	size_t count = s->events;
	struct event **all = pk_memdup(s->heap, count * sizeof(struct event *));

	if (until_us <= s->now_us)
		count = 0;
	else
		s->events = 0;
	for (size_t i = 0; i < count; i++) {
		if (all[i]->server == server && all[i]->at_us == until_us)
			all[i]->at_us = s->now_us;
		heap_push(s, all[i]);
	}
	free(all);
}

void sim_mix(struct sim *s, uint64_t v)
{
	uint64_t h = s->hash;

	h ^= v + 0x9e3779b97f4a7c15u + (h << 6) + (h >> 2);
	h *= 0xff51afd7ed558ccdu;
	s->hash = h ^ (h >> 33);
}

static bool step(struct sim *s, int64_t until_us)
{
	if (s->violation[0] != 0)
		return false;
	if (s->events == 0 || s->heap[0]->at_us > until_us) {
		s->now_us = until_us;
		return false;
	}
	struct event *e = heap_take(s);
	PK_ASSERT(e->at_us >= s->now_us);
	s->now_us = e->at_us;
	struct sim_server *n = e->server >= 0 ? &s->servers[e->server] : NULL;
	if (n != NULL && n->up && n->paused_until_us > s->now_us &&
	    (e->life == 0 || e->life == n->life)) { /* later, in the same order */
		e->at_us = n->paused_until_us;
		e->seq = s->seq++;
		heap_push(s, e);
		return true;
	}
	s->stats.events++;
	sim_mix(s, (uint64_t)s->now_us);
	sim_mix(s, (uint64_t)e->server << 32 ^ e->n);
	e->run(s, e);
	free(e);
	return true;
}

void sim_run(struct sim *s, int64_t ms)
{
	sim_run_us(s, ms * SIM_MS);
}

void sim_run_us(struct sim *s, int64_t us)
{
	int64_t until = s->now_us + us;

	while (step(s, until))
		;
}

struct call {
	sim_call_f *call;
	void *arg;
};

static void run_call(struct sim *s, struct event *e)
{
	struct call *c = e->p;

	c->call(s, c->arg, e->n);
	free(c);
}

void sim_call_at(struct sim *s, int64_t in_us, sim_call_f *call, void *arg, uint64_t tag)
{
	struct call *c = pk_alloc(sizeof(*c));

	*c = (struct call){ call, arg };
	event_add(s, in_us, run_call, -1, c, tag);
}

/* ---- frames ---- */

struct frame *frame_new(uint8_t type, struct pk_bytes head, struct pk_bytes body)
{
	struct frame *f = pk_alloc(sizeof(*f) + head.len + body.len);

	f->type = type;
	f->len = head.len + body.len;
	if (head.len > 0)
		memcpy(f->bytes, head.data, head.len);
	if (body.len > 0)
		memcpy(f->bytes + head.len, body.data, body.len);
	return f;
}

size_t frames_count(const struct frames *frames)
{
	size_t count = 0;
	struct frame *f;

	STAILQ_FOREACH(f, frames, link)
	count++;
	return count;
}

void frames_cut(struct sim *s, struct frames *frames, size_t keep)
{
	struct frame *f = STAILQ_FIRST(frames), *next;

	for (; f != NULL && keep > 0; keep--)
		f = STAILQ_NEXT(f, link);
	if (f == NULL)
		return;
	size_t part = (size_t)pk_rng_below(&s->bytes_rng, f->len - f->come);
	if (part > 0) {
		f->len = f->come + part;
		s->stats.frames_cut++;
		f = STAILQ_NEXT(f, link);
	}
	for (; f != NULL; f = next) {
		next = STAILQ_NEXT(f, link);
		STAILQ_REMOVE(frames, f, frame, link);
		free(f);
	}
}

void frames_cut_anywhere(struct sim *s, struct frames *frames)
{
	frames_cut(s, frames, (size_t)pk_rng_below(&s->bytes_rng, frames_count(frames) + 1));
}

struct pk_bytes frame_part(struct sim *s, struct frame *f)
{
	size_t left = f->len - f->come;

	if (left > 1 && s->net.part_ppm > 0 && pk_rng_chance(&s->bytes_rng, s->net.part_ppm))
		left = 1 + (size_t)pk_rng_below(&s->bytes_rng, left - 1);
	f->come += left;
	return pk_bytes(f->bytes + f->come - left, left);
}

void frames_free(struct frames *frames)
{
	struct frame *f;

	while ((f = STAILQ_FIRST(frames)) != NULL) {
		STAILQ_REMOVE_HEAD(frames, link);
		free(f);
	}
}

int64_t sim_delay(struct sim *s)
{
	return pk_rng_range(&s->rng, s->net.delay_least_us, s->net.delay_most_us);
}

/* ---- what is asked of it ---- */

int64_t sim_now_us(const struct sim *s)
{
	return s->now_us;
}

struct pk_rng *sim_rng(struct sim *s)
{
	return &s->rng;
}

struct model *sim_model(struct sim *s)
{
	return s->model;
}

struct record *sim_record(struct sim *s)
{
	return s->record;
}

void sim_record_begin(struct sim *s, const char *path)
{
	s->record = record_new(s, path);
}

struct sim_stats *sim_stats(struct sim *s)
{
	return &s->stats;
}

uint64_t sim_hash(const struct sim *s)
{
	return s->hash;
}

const char *sim_violation(const struct sim *s)
{
	return s->violation[0] != 0 ? s->violation : NULL;
}

void sim_violate(struct sim *s, const char *fmt, ...)
{
	va_list args;

	if (s->violation[0] != 0)
		return;
	int len = snprintf(s->violation, sizeof(s->violation),
			   "at %" PRId64 " ms: ", s->now_us / SIM_MS);
	va_start(args, fmt);
	vsnprintf(s->violation + len, sizeof(s->violation) - (size_t)len, fmt, args);
	va_end(args);
	sim_say(s, "VIOLATION %s", s->violation);
}

void sim_say(struct sim *s, const char *fmt, ...)
{
	va_list args;

	if (!s->o.verbose)
		return;
	printf("%10.3f ms ", (double)s->now_us / SIM_MS);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	printf("\n");
	fflush(stdout);
}

size_t sim_servers(const struct sim *s)
{
	return s->o.servers;
}

void sim_calm(struct sim *s)
{
	s->calm_since_us = s->now_us;
}

int64_t sim_calm_since_us(const struct sim *s)
{
	return s->calm_since_us;
}

void sim_net_set(struct sim *s, struct sim_net net)
{
	s->net = net;
}

void sim_session_heard(struct sim *s, uint64_t session)
{
	struct heard *h;

	HASH_FIND(hh, s->heard, &session, sizeof(session), h);
	if (h == NULL) {
		h = pk_alloc(sizeof(*h));
		h->session = session;
		HASH_ADD(hh, s->heard, session, sizeof(h->session), h);
	}
	h->at_us = s->now_us;
}

int64_t sim_session_heard_us(struct sim *s, uint64_t session)
{
	struct heard *h;

	HASH_FIND(hh, s->heard, &session, sizeof(session), h);
	return h != NULL ? h->at_us : 0;
}

/* ---- life ---- */

static const char *sim_top_dir(void)
{
	const char *tmp = getenv("TMPDIR");

	if (access("/dev/shm", W_OK) == 0)
		return "/dev/shm";
	return tmp != NULL ? tmp : "/tmp";
}

void sim_sweep(int pid)
{
	char command[120];

	snprintf(command, sizeof(command), "rm -rf '%.30s'/pk-sim.%d.*", sim_top_dir(), pid);
	if (system(command) != 0)
		fprintf(stderr, "cannot remove what process %d left\n", pid);
}

struct sim *sim_new(const struct sim_options *o)
{
	struct sim *s = pk_alloc(sizeof(*s));
	const char *top = sim_top_dir();

	PK_ASSERT(o->servers > 0 && o->servers <= SIM_SERVERS_MAX);
	s->o = *o;
	s->net = (struct sim_net){ .delay_least_us = 100, .delay_most_us = 2000 };
	s->now_us = 1000 * SIM_MS;
	pk_rng_seed(&s->rng, o->seed);
	pk_rng_seed(&s->bytes_rng, o->seed ^ 0xb17e5);
	LIST_INIT(&s->wires);
	LIST_INIT(&s->conns);
	s->model = model_new(o->never_used_ms);
	s->rules = log_rules_new(s);
	s->calm_since_us = INT64_MAX;
	snprintf(s->root, sizeof(s->root), "%.30s/pk-sim.%d.XXXXXX", top, (int)getpid());
	if (mkdtemp(s->root) == NULL) {
		perror(s->root);
		exit(2);
	}
	for (size_t i = 0; i < o->servers; i++)
		server_init(s, (int)i);
	for (size_t i = 0; i < o->servers; i++)
		sim_start(s, (int)i);
	return s;
}

void sim_free(struct sim *s)
{
	struct heard *h, *next;

	for (size_t i = 0; i < s->o.servers; i++)
		server_fini(s, (int)i);
	for (size_t i = 0; i < s->events; i++) {
		if (s->heap[i]->run == run_call)
			free(s->heap[i]->p);
		free(s->heap[i]);
	}
	links_free(s);
	rmdir(s->root);
	HASH_ITER (hh, s->heard, h, next) {
		HASH_DEL(s->heard, h);
		free(h);
	}
	model_free(s->model);
	free(s->list);
	if (s->record != NULL)
		record_free(s->record);
	log_rules_free(s->rules);
	free(s->seen);
	free(s->heap);
	free(s);
}
