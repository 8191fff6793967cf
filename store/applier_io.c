#include "store/applier_io.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>

#include "base/mem.h"

#define APPLIER_MAGIC 0x4150504cu /* "APPL" */

enum state {
	IDLE,    /* -> RUNNING by submit */
	RUNNING, /* -> RAN on the thread */
	RAN,     /* -> IDLE on the loop, before done is called */
};

struct applier {
	uint32_t magic;
	struct net_async *wake; /* the loop, when a job has been run */
	applier_done_f *done;
	void *owner;
	pthread_t thread;

	pthread_mutex_t lock; /* over what follows */
	pthread_cond_t changed;
	enum state state;
	bool stopping;
	struct kv_job *job;
	struct pk_err err; /* code 0: it went well */
	int64_t took_us;
};

static void lock(struct applier *a)
{
	int rc = pthread_mutex_lock(&a->lock);
	PK_ASSERT(rc == 0);
}

static void unlock(struct applier *a)
{
	int rc = pthread_mutex_unlock(&a->lock);
	PK_ASSERT(rc == 0);
}

static void *applier_thread(void *arg)
{
	struct applier *a = arg;

	lock(a);
	for (;;) {
		while (a->state != RUNNING && !a->stopping)
			pthread_cond_wait(&a->changed, &a->lock);
		if (a->state != RUNNING)
			break; /* stopping; a job that was submitted before is run first */
		struct kv_job *job = a->job;
		struct pk_err err = PK_ERR_INIT;
		unlock(a);

		int64_t begin_us = net_now_fresh_us();
		int rc = kv_commit_run(job, &err);
		int64_t took_us = net_now_fresh_us() - begin_us;

		lock(a);
		PK_ASSERT(a->state == RUNNING && a->job == job);
		PK_ASSERT(rc == err.code);
		a->err = err;
		a->took_us = took_us;
		a->state = RAN;
		net_async_send(a->wake);
	}
	unlock(a);
	return NULL;
}

static void on_wake(void *owner)
{
	struct applier *a = owner;

	PK_ASSERT(a->magic == APPLIER_MAGIC);
	lock(a);
	if (a->state != RAN) {
		unlock(a);
		return;
	}
	struct kv_job *job = a->job;
	struct pk_err err = a->err;
	int64_t took_us = a->took_us;
	a->job = NULL;
	a->state = IDLE;
	unlock(a);
	a->done(a->owner, job, &err, took_us);
}

int applier_start(struct applier **out, struct net_loop *loop, applier_done_f *done, void *owner,
		  struct pk_err *err)
{
	struct applier *a = pk_alloc(sizeof(*a));
	sigset_t before;

	a->magic = APPLIER_MAGIC;
	a->done = done;
	a->owner = owner;
	a->wake = net_async_new(loop, on_wake, a);
	int rc = pthread_mutex_init(&a->lock, NULL);
	PK_ASSERT(rc == 0);
	rc = pthread_cond_init(&a->changed, NULL);
	PK_ASSERT(rc == 0);
	/* Blocked here and inherited: the thread has no moment in which it could take a signal. Not
	 * those that a page raises which cannot be read: blocked, they would end the process. */
	rc = pthread_sigmask(SIG_SETMASK, NULL, &before);
	PK_ASSERT(rc == 0);
	net_thread_block_signals();
	int thread_rc = pthread_create(&a->thread, NULL, applier_thread, a);
	rc = pthread_sigmask(SIG_SETMASK, &before, NULL);
	PK_ASSERT(rc == 0);
	if (thread_rc != 0) {
		net_async_free(a->wake);
		pthread_cond_destroy(&a->changed);
		pthread_mutex_destroy(&a->lock);
		free(a);
		return pk_err_sys(err, thread_rc, "start the applier thread");
	}
	*out = a;
	return 0;
}

void applier_submit(struct applier *a, struct kv_job *job)
{
	PK_ASSERT(job != NULL);
	lock(a);
	PK_ASSERT(a->state == IDLE && a->job == NULL);
	a->job = job;
	a->state = RUNNING;
	pthread_cond_signal(&a->changed);
	unlock(a);
}

bool applier_busy(const struct applier *a)
{
	struct applier *mine = (struct applier *)(uintptr_t)
		a; /* the lock is not part of its value */

	lock(mine);
	bool busy = a->state != IDLE;
	unlock(mine);
	return busy;
}

void applier_stop(struct applier *a)
{
	if (a == NULL)
		return;
	PK_ASSERT(a->magic == APPLIER_MAGIC);
	lock(a);
	a->stopping = true;
	pthread_cond_signal(&a->changed);
	unlock(a);
	int rc = pthread_join(a->thread, NULL);
	PK_ASSERT(rc == 0);
	net_async_free(a->wake);
	pthread_cond_destroy(&a->changed);
	pthread_mutex_destroy(&a->lock);
	a->magic = 0;
	free(a);
}
