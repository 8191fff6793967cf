#include "net/loop.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "base/mem.h"
#include "net/loop_impl.h"

#define LOOP_MAGIC   0x4c4f4f50u
#define TIMER_MAGIC  0x54494d52u
#define ASYNC_MAGIC  0x4153594eu
#define SIGNAL_MAGIC 0x5349474eu
#define HOOK_MAGIC   0x484f4f4bu
#define WORK_MAGIC   0x574f524bu

struct net_timer {
	struct net_handle h; /* first: handle->data points here */
	struct net_loop *loop;
	net_call_f *call;
	void *owner;
	uv_timer_t uv;
};

struct net_async {
	struct net_handle h;
	struct net_loop *loop;
	net_call_f *call;
	void *owner;
	uv_async_t uv;
};

struct net_signal {
	struct net_handle h;
	struct net_loop *loop;
	net_signal_f *call;
	void *owner;
	uv_signal_t uv;
};

struct net_hook {
	uint32_t magic;
	bool dead;
	struct net_loop *loop;
	net_call_f *call;
	void *owner;
	TAILQ_ENTRY(net_hook) link;
};

struct work {
	uint32_t magic;
	struct net_loop *loop;
	net_call_f *work;
	net_call_f *done;
	void *owner;
	uv_work_t uv;
};

int net_err_uv(struct pk_err *err, int uv_code, const char *fmt, ...)
{
	char text[PK_ERR_TEXT_BYTES];
	va_list ap;
	int code = PK_EIO;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (uv_code == UV_ENOENT || uv_code == UV_ESRCH)
		code = PK_ENOENT;
	else if (uv_code == UV_EADDRINUSE)
		code = PK_EEXIST;
	else if (uv_code == UV_ETIMEDOUT)
		code = PK_ETIMEDOUT;
	else if (uv_code == UV_ENOSPC)
		code = PK_ENOSPC;
	return pk_err_set(err, code, "%s: %s", text, uv_strerror(uv_code));
}

/* ---- time ------------------------------------------------------------------------------------ */

/* Outside of callbacks (at start-up, in tests) libuv's time may be long past: a timer that is
 * started then would fire at once. */
static void time_refresh(struct net_loop *l)
{
	if (l->turn_began_us == 0)
		uv_update_time(&l->uv);
}

int64_t net_now_ms(const struct net_loop *l)
{
	PK_ASSERT(l->magic == LOOP_MAGIC);
	time_refresh((struct net_loop *)(uintptr_t)l);
	return (int64_t)uv_now(&l->uv);
}

int64_t net_now_fresh_us(void)
{
	return (int64_t)(uv_hrtime() / 1000);
}

int64_t net_wall_ms(void)
{
	struct timespec ts;
	int rc = clock_gettime(CLOCK_REALTIME, &ts);

	PK_ASSERT(rc == 0);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* ---- the turn -------------------------------------------------------------------------------- */

void loop_defer(struct net_loop *l, struct net_defer *d, void (*run)(struct net_defer *d))
{
	if (d->queued)
		return;
	d->queued = true;
	d->run = run;
	TAILQ_INSERT_TAIL(&l->defers, d, link);
}

void loop_undefer(struct net_loop *l, struct net_defer *d)
{
	if (!d->queued)
		return;
	d->queued = false;
	TAILQ_REMOVE(&l->defers, d, link);
}

void loop_dirty(struct net_loop *l, struct net_dirty *d, void (*flush)(struct net_dirty *d))
{
	if (d->queued)
		return;
	d->queued = true;
	d->flush = flush;
	TAILQ_INSERT_TAIL(&l->dirties, d, link);
}

void loop_undirty(struct net_loop *l, struct net_dirty *d)
{
	if (!d->queued)
		return;
	d->queued = false;
	TAILQ_REMOVE(&l->dirties, d, link);
}

static void run_hooks(struct net_loop *l)
{
	struct net_hook *h, *next;

	l->in_hooks = true;
	TAILQ_FOREACH (h, &l->hooks, link) {
		if (!h->dead)
			h->call(h->owner);
	}
	l->in_hooks = false;
	if (!l->hooks_dead)
		return;
	l->hooks_dead = false;
	for (h = TAILQ_FIRST(&l->hooks); h != NULL; h = next) {
		next = TAILQ_NEXT(h, link);
		if (h->dead) {
			TAILQ_REMOVE(&l->hooks, h, link);
			free(h);
		}
	}
}

static void run_dirties(struct net_loop *l)
{
	struct net_dirty *d;

	/* A flush calls no owner, so nothing is added while this runs. */
	while ((d = TAILQ_FIRST(&l->dirties)) != NULL) {
		loop_undirty(l, d);
		d->flush(d);
	}
}

/* What was deferred before now; what these defer themselves waits for the next turn. */
static void run_defers(struct net_loop *l)
{
	struct net_defer *d, *last = TAILQ_LAST(&l->defers, net_defer_list);
	struct net_defer_list now = TAILQ_HEAD_INITIALIZER(now);
	struct net_defer mark = { .queued = true };

	if (last == NULL)
		return;
	/* A mark in the queue ends this round: entries may leave it (loop_undefer) while it runs.
	 */
	TAILQ_INSERT_TAIL(&l->defers, &mark, link);
	while ((d = TAILQ_FIRST(&l->defers)) != &mark) {
		loop_undefer(l, d);
		d->run(d);
	}
	TAILQ_REMOVE(&l->defers, &mark, link);
}

static void on_idle(uv_idle_t *uv)
{
	/* Active only so that the loop does not wait; the work is in on_prepare. */
	pk_ignore(uv, "one loop per idle handle, nothing to look up");
}

/*
 * libuv's prepare phase comes right before it waits, after I/O, close callbacks and timers: the end
 * of a turn. Deferred callbacks first, then the hooks, then the writes of both.
 */
static void on_prepare(uv_prepare_t *uv)
{
	struct net_loop *l = uv->data;

	PK_ASSERT(l->magic == LOOP_MAGIC);
	if (!TAILQ_EMPTY(&l->defers) || !TAILQ_EMPTY(&l->hooks))
		loop_enter(l);
	run_defers(l);
	run_hooks(l);
	run_dirties(l);
	if (!TAILQ_EMPTY(&l->defers) && !uv_is_active((uv_handle_t *)&l->idle)) {
		int rc = uv_idle_start(&l->idle, on_idle);

		PK_ASSERT(rc == 0);
	} else if (TAILQ_EMPTY(&l->defers) && uv_is_active((uv_handle_t *)&l->idle)) {
		int rc = uv_idle_stop(&l->idle);

		PK_ASSERT(rc == 0);
	}
	if (l->turn_began_us != 0) {
		int64_t took_us = net_now_fresh_us() - l->turn_began_us;

		if (took_us > l->stall_max_us)
			l->stall_max_us = took_us;
		l->turn_began_us = 0;
	}
	if (l->stopping)
		uv_stop(&l->uv);
}

int64_t net_loop_stall_max_us(struct net_loop *l)
{
	int64_t us = l->stall_max_us;

	l->stall_max_us = 0;
	return us;
}

struct net_hook *net_loop_on_turn(struct net_loop *l, net_call_f *call, void *owner)
{
	struct net_hook *h = pk_alloc(sizeof(*h));

	PK_ASSERT(l->magic == LOOP_MAGIC);
	h->magic = HOOK_MAGIC;
	h->loop = l;
	h->call = call;
	h->owner = owner;
	TAILQ_INSERT_TAIL(&l->hooks, h, link);
	return h;
}

void net_hook_free(struct net_hook *h)
{
	if (h == NULL)
		return;
	PK_ASSERT(h->magic == HOOK_MAGIC);
	h->magic = 0;
	if (h->loop->in_hooks) {
		h->dead = true;
		h->loop->hooks_dead = true;
		return;
	}
	TAILQ_REMOVE(&h->loop->hooks, h, link);
	free(h);
}

/* ---- life ------------------------------------------------------------------------------------ */

struct net_loop *net_loop_new(struct pk_err *err)
{
	struct net_loop *l = pk_alloc(sizeof(*l));
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	int rc = uv_loop_init(&l->uv);

	if (rc != 0) {
		pk_ignore(net_err_uv(err, rc, "event loop"), "NULL tells it");
		free(l);
		return NULL;
	}
	rc = sigaction(SIGPIPE, &ignore, NULL);
	PK_ASSERT(rc == 0);
	l->magic = LOOP_MAGIC;
	TAILQ_INIT(&l->defers);
	TAILQ_INIT(&l->dirties);
	TAILQ_INIT(&l->hooks);
	l->read_buf = pk_alloc(LOOP_READ_BYTES);
	rc = uv_prepare_init(&l->uv, &l->prepare);
	PK_ASSERT(rc == 0);
	l->prepare.data = l;
	rc = uv_prepare_start(&l->prepare, on_prepare);
	PK_ASSERT(rc == 0);
	uv_unref((uv_handle_t *)&l->prepare);
	rc = uv_idle_init(&l->uv, &l->idle);
	PK_ASSERT(rc == 0);
	l->idle.data = l;
	return l;
}

/* Deferred while the loop stood still: do not wait before they ran. */
static void wake_for_defers(struct net_loop *l)
{
	int rc;

	if (TAILQ_EMPTY(&l->defers) || uv_is_active((uv_handle_t *)&l->idle))
		return;
	rc = uv_idle_start(&l->idle, on_idle);
	PK_ASSERT(rc == 0);
}

void net_loop_run(struct net_loop *l)
{
	PK_ASSERT(l->magic == LOOP_MAGIC);
	PK_ASSERT(!l->freeing);
	wake_for_defers(l);
	if (!l->stopping)
		pk_ignore(uv_run(&l->uv, UV_RUN_DEFAULT), "what is left open stays open");
	l->stopping = false;
}

bool net_loop_turn(struct net_loop *l, bool wait)
{
	PK_ASSERT(l->magic == LOOP_MAGIC);
	wake_for_defers(l);
	return uv_run(&l->uv, wait ? UV_RUN_ONCE : UV_RUN_NOWAIT) != 0;
}

void net_loop_stop(struct net_loop *l)
{
	PK_ASSERT(l->magic == LOOP_MAGIC);
	l->stopping = true;
}

static void abandon(uv_handle_t *uv, void *arg)
{
	struct net_loop *l = arg;
	struct net_handle *h = uv->data;

	if (uv_is_closing(uv))
		return;
	if (uv == (uv_handle_t *)&l->prepare || uv == (uv_handle_t *)&l->idle) {
		uv_close(uv, NULL);
		return;
	}
	h->abandon(h);
}

static void abandon_all_but_timers(uv_handle_t *uv, void *arg)
{
	if (uv->type != UV_TIMER)
		abandon(uv, arg);
}

void net_loop_free(struct net_loop *l)
{
	struct net_hook *h;
	int rc;

	if (l == NULL)
		return;
	PK_ASSERT(l->magic == LOOP_MAGIC);
	l->freeing = true;
	/* Timers last: some belong to streams, which free their own. */
	uv_walk(&l->uv, abandon_all_but_timers, l);
	uv_walk(&l->uv, abandon, l);
	while ((h = TAILQ_FIRST(&l->hooks)) != NULL) {
		TAILQ_REMOVE(&l->hooks, h, link);
		free(h);
	}
	/* Close callbacks, pool work that has begun, and the handles those leave behind. */
	while (uv_run(&l->uv, UV_RUN_DEFAULT) != 0)
		uv_walk(&l->uv, abandon, l);
	rc = uv_loop_close(&l->uv);
	PK_ASSERT(rc == 0);
	while (l->spare_count > 0)
		pk_buf_release(&l->spares[--l->spare_count]);
	free(l->read_buf);
	free(l->plain_buf);
	l->magic = 0;
	free(l);
}

struct pk_buf loop_buf_take(struct net_loop *l)
{
	if (l->spare_count == 0)
		return PK_BUF_INIT;
	return l->spares[--l->spare_count];
}

void loop_buf_give(struct net_loop *l, struct pk_buf *b)
{
	if (b->cap == 0 || b->cap > LOOP_SPARE_BYTES || l->spare_count == LOOP_SPARE_COUNT) {
		pk_buf_release(b);
		return;
	}
	pk_buf_clear(b);
	l->spares[l->spare_count++] = *b;
	*b = PK_BUF_INIT;
}

/* ---- timers ---------------------------------------------------------------------------------- */

static void on_timer_closed(uv_handle_t *uv)
{
	free(PK_CONTAINER(uv, struct net_timer, uv));
}

static void timer_abandon(struct net_handle *h)
{
	struct net_timer *t = (struct net_timer *)(void *)h;

	PK_ASSERT(h->magic == TIMER_MAGIC);
	h->magic = 0;
	uv_close((uv_handle_t *)&t->uv, on_timer_closed);
}

static void on_timer(uv_timer_t *uv)
{
	struct net_timer *t = PK_CONTAINER(uv, struct net_timer, uv);

	PK_ASSERT(t->h.magic == TIMER_MAGIC);
	loop_enter(t->loop);
	t->call(t->owner);
}

struct net_timer *net_timer_new(struct net_loop *l, net_call_f *call, void *owner)
{
	struct net_timer *t = pk_alloc(sizeof(*t));
	int rc = uv_timer_init(&l->uv, &t->uv);

	PK_ASSERT(rc == 0);
	t->h = (struct net_handle){ .magic = TIMER_MAGIC, .abandon = timer_abandon };
	t->uv.data = &t->h;
	t->loop = l;
	t->call = call;
	t->owner = owner;
	return t;
}

void net_timer_start(struct net_timer *t, int64_t after_ms, int64_t repeat_ms)
{
	int rc;

	PK_ASSERT(t->h.magic == TIMER_MAGIC);
	PK_ASSERT(after_ms >= 0 && repeat_ms >= 0);
	time_refresh(t->loop);
	rc = uv_timer_start(&t->uv, on_timer, (uint64_t)after_ms, (uint64_t)repeat_ms);
	PK_ASSERT(rc == 0);
}

void net_timer_stop(struct net_timer *t)
{
	int rc;

	PK_ASSERT(t->h.magic == TIMER_MAGIC);
	rc = uv_timer_stop(&t->uv);
	PK_ASSERT(rc == 0);
}

bool net_timer_active(const struct net_timer *t)
{
	PK_ASSERT(t->h.magic == TIMER_MAGIC);
	return uv_is_active((const uv_handle_t *)&t->uv) != 0;
}

void net_timer_free(struct net_timer *t)
{
	if (t != NULL)
		timer_abandon(&t->h);
}

/* ---- wake-ups -------------------------------------------------------------------------------- */

static void on_async_closed(uv_handle_t *uv)
{
	free(PK_CONTAINER(uv, struct net_async, uv));
}

static void async_abandon(struct net_handle *h)
{
	struct net_async *a = (struct net_async *)(void *)h;

	PK_ASSERT(h->magic == ASYNC_MAGIC);
	h->magic = 0;
	uv_close((uv_handle_t *)&a->uv, on_async_closed);
}

static void on_async(uv_async_t *uv)
{
	struct net_async *a = PK_CONTAINER(uv, struct net_async, uv);

	PK_ASSERT(a->h.magic == ASYNC_MAGIC);
	loop_enter(a->loop);
	a->call(a->owner);
}

struct net_async *net_async_new(struct net_loop *l, net_call_f *call, void *owner)
{
	struct net_async *a = pk_alloc(sizeof(*a));
	int rc = uv_async_init(&l->uv, &a->uv, on_async);

	PK_ASSERT(rc == 0); /* needs a descriptor only once per loop, taken by uv_loop_init */
	a->h = (struct net_handle){ .magic = ASYNC_MAGIC, .abandon = async_abandon };
	a->uv.data = &a->h;
	a->loop = l;
	a->call = call;
	a->owner = owner;
	return a;
}

void net_async_send(struct net_async *a)
{
	int rc;

	PK_ASSERT(a->h.magic == ASYNC_MAGIC);
	rc = uv_async_send(&a->uv);
	PK_ASSERT(rc == 0);
}

void net_async_free(struct net_async *a)
{
	if (a != NULL)
		async_abandon(&a->h);
}

/* ---- signals --------------------------------------------------------------------------------- */

static void on_signal_closed(uv_handle_t *uv)
{
	free(PK_CONTAINER(uv, struct net_signal, uv));
}

static void signal_abandon(struct net_handle *h)
{
	struct net_signal *s = (struct net_signal *)(void *)h;

	PK_ASSERT(h->magic == SIGNAL_MAGIC);
	h->magic = 0;
	uv_close((uv_handle_t *)&s->uv, on_signal_closed);
}

static void on_signal(uv_signal_t *uv, int signum)
{
	struct net_signal *s = PK_CONTAINER(uv, struct net_signal, uv);

	PK_ASSERT(s->h.magic == SIGNAL_MAGIC);
	loop_enter(s->loop);
	s->call(s->owner, signum);
}

struct net_signal *net_signal_on(struct net_loop *l, int signum, net_signal_f *call, void *owner,
				 struct pk_err *err)
{
	struct net_signal *s = pk_alloc(sizeof(*s));
	int rc = uv_signal_init(&l->uv, &s->uv);

	if (rc != 0) {
		pk_ignore(net_err_uv(err, rc, "signal %d", signum), "NULL tells it");
		free(s);
		return NULL;
	}
	s->h = (struct net_handle){ .magic = SIGNAL_MAGIC, .abandon = signal_abandon };
	s->uv.data = &s->h;
	s->loop = l;
	s->call = call;
	s->owner = owner;
	rc = uv_signal_start(&s->uv, on_signal, signum);
	if (rc != 0) {
		pk_ignore(net_err_uv(err, rc, "signal %d", signum), "NULL tells it");
		signal_abandon(&s->h);
		return NULL;
	}
	uv_unref((uv_handle_t *)&s->uv);
	return s;
}

void net_signal_free(struct net_signal *s)
{
	if (s != NULL)
		signal_abandon(&s->h);
}

void net_thread_block_signals(void)
{
	sigset_t all;

	sigfillset(&all);
	/* What the processor raises must stay deliverable to the thread that caused it. */
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGFPE);
	sigdelset(&all, SIGILL);
	sigdelset(&all, SIGTRAP);
	sigdelset(&all, SIGABRT);
	int rc = pthread_sigmask(SIG_SETMASK, &all, NULL);
	PK_ASSERT(rc == 0);
}

/* ---- blocking work ----------------------------------------------------------------------------
 */

void loop_pool_mask(sigset_t *old)
{
	int rc = pthread_sigmask(SIG_SETMASK, NULL, old);

	PK_ASSERT(rc == 0);
	net_thread_block_signals();
}

void loop_pool_unmask(const sigset_t *old)
{
	int rc = pthread_sigmask(SIG_SETMASK, old, NULL);

	PK_ASSERT(rc == 0);
}

static void on_work(uv_work_t *uv)
{
	struct work *w = PK_CONTAINER(uv, struct work, uv);

	w->work(w->owner);
}

static void on_work_done(uv_work_t *uv, int status)
{
	struct work *w = PK_CONTAINER(uv, struct work, uv);

	PK_ASSERT(w->magic == WORK_MAGIC);
	PK_ASSERT(status == 0); /* never cancelled */
	if (!w->loop->freeing) {
		loop_enter(w->loop);
		w->done(w->owner);
	}
	w->magic = 0;
	free(w);
}

void net_work_run(struct net_loop *l, net_call_f *work, net_call_f *done, void *owner)
{
	struct work *w = pk_alloc(sizeof(*w));
	sigset_t old;
	int rc;

	w->magic = WORK_MAGIC;
	w->loop = l;
	w->work = work;
	w->done = done;
	w->owner = owner;
	loop_pool_mask(&old);
	rc = uv_queue_work(&l->uv, &w->uv, on_work, on_work_done);
	PK_ASSERT(rc == 0);
	loop_pool_unmask(&old);
}
