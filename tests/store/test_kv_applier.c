#include "tests/lib/test.h"

#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "net/loop.h"
#include "store/applier_io.h"
#include "tests/store/kv_fix.h"

struct rig {
	struct fix *f;
	struct net_loop *loop;
	struct applier *applier;
	int rounds_left, done_count, puts_meanwhile;
};

static void put_round(struct rig *r, int round)
{
	char key[32], val[200];

	memset(val, 'a' + round % 26, sizeof(val));
	for (int i = 0; i < 500; i++) {
		snprintf(key, sizeof(key), "key-%d", (i * 31 + round * 7) % 2000);
		kv_put(r->f->kv, pk_bytes_str(key), pk_bytes(val, sizeof(val)));
	}
}

static void on_done(void *owner, struct kv_job *job, const struct pk_err *err, int64_t took_us)
{
	struct rig *r = owner;

	assert_int_equal(err->code, 0);
	assert_true(took_us >= 0);
	assert_false(applier_busy(r->applier));
	kv_commit_end(r->f->kv, job);
	r->done_count++;
	if (--r->rounds_left > 0) {
		put_round(r, r->rounds_left);
		applier_submit(r->applier, kv_commit_begin(r->f->kv));
	} else {
		net_loop_stop(r->loop);
	}
}

/* Each turn: change, read and walk while the thread writes what was frozen. */
static void on_turn(void *owner)
{
	struct rig *r = owner;
	struct pk_bytes key, val;

	if (r->rounds_left == 0 || !applier_busy(r->applier))
		return;
	put(r->f, "key-7", "meanwhile");
	del(r->f, "key-8");
	struct kv_cur *cur = kv_cur_open(r->f->kv, pk_bytes_str("key-1"), PK_BYTES_NONE);
	for (int i = 0; i < 20 && kv_cur_next(cur, &key, &val) == 1; i++)
		assert_int_not_equal(val.len, 0);
	kv_cur_close(cur);
	r->puts_meanwhile++;
}

static struct rig rig_make(struct fix *f)
{
	struct pk_err err = PK_ERR_INIT;
	struct rig r = { .f = f, .loop = net_loop_new(&err) };

	assert_non_null(r.loop);
	return r;
}

static void rig_start(struct rig *r)
{
	struct pk_err err = PK_ERR_INIT;

	assert_int_equal(applier_start(&r->applier, r->loop, on_done, r, &err), 0);
}

/* Keeps the turns coming while the thread works. */
static void on_tick(void *owner)
{
	(void)owner;
}

static void test_jobs_run_on_the_thread_while_the_loop_reads_and_writes(void **state)
{
	struct rig r = rig_make(*state);
	struct pk_bytes val;

	rig_start(&r);
	struct net_hook *hook = net_loop_on_turn(r.loop, on_turn, &r);
	struct net_timer *tick = net_timer_new(r.loop, on_tick, &r);
	net_timer_start(tick, 0, 1);
	r.rounds_left = 30;
	put_round(&r, 30);
	applier_submit(r.applier, kv_commit_begin(r.f->kv));
	assert_true(applier_busy(r.applier));
	net_loop_run(r.loop);
	assert_int_equal(r.done_count, 30);
	assert_true(r.puts_meanwhile > 0);
	assert_int_equal(kv_get(r.f->kv, pk_bytes_str("key-7"), &val), 1);
	kv_check(r.f->kv);
	net_hook_free(hook);
	net_timer_free(tick);
	applier_stop(r.applier);
	net_loop_free(r.loop);
}

static void test_stop_waits_for_the_job_and_reports_nothing(void **state)
{
	struct rig r = rig_make(*state);

	rig_start(&r);
	put_round(&r, 1);
	applier_submit(r.applier, kv_commit_begin(r.f->kv));
	applier_stop(r.applier);
	assert_int_equal(r.done_count, 0);
	net_loop_free(r.loop);
	kv_close(r.f->kv); /* takes the job that was never ended */
	fix_open(r.f);     /* and it was written before stop returned */
	expect(r.f, "key-8", NULL);
	struct kv_cur *cur = kv_cur_open(r.f->kv, PK_BYTES_NONE, PK_BYTES_NONE);
	struct pk_bytes key, val;
	int count = 0;
	while (kv_cur_next(cur, &key, &val) == 1)
		count++;
	kv_cur_close(cur);
	assert_int_equal(count, 500);
}

static void test_stop_of_an_idle_applier_returns_at_once(void **state)
{
	struct rig r = rig_make(*state);

	applier_stop(NULL);
	rig_start(&r);
	assert_false(applier_busy(r.applier));
	applier_stop(r.applier);
	net_loop_free(r.loop);
}

static struct pk_err seen;

static void on_failed(void *owner, struct kv_job *job, const struct pk_err *err, int64_t took_us)
{
	struct rig *r = owner;

	(void)job;
	(void)took_us;
	seen = *err;
	net_loop_stop(r->loop);
}

static void test_a_failed_commit_is_reported_with_its_words(void **state)
{
	struct rig r = rig_make(*state);
	struct pk_err err = PK_ERR_INIT;

	kv_close(r.f->kv);
	r.f->cfg.map_bytes_most = r.f->cfg.map_bytes;
	fix_open(r.f);
	assert_int_equal(applier_start(&r.applier, r.loop, on_failed, &r, &err), 0);
	uint8_t *big = pk_alloc(4 << 20);
	kv_put(r.f->kv, pk_bytes_str("big"), pk_bytes(big, 4 << 20));
	applier_submit(r.applier, kv_commit_begin(r.f->kv));
	net_loop_run(r.loop);
	assert_int_equal(seen.code, PK_ENOSPC);
	assert_non_null(strstr(seen.text, "map is full"));
	applier_stop(r.applier);
	net_loop_free(r.loop);
	free(big);
}

static void on_bus_error(int signum)
{
	(void)signum;
	_exit(kv_in_pages() ? PK_EXIT_DAMAGE : 1);
}

static void commit_to_a_file_cut_short(struct fix *f)
{
	fix_open(f);
	struct rig r = rig_make(f);
	char *path = pk_asprintf("%s/data.mdb", f->dir);

	signal(SIGABRT, SIG_DFL);
	signal(SIGBUS, on_bus_error);
	rig_start(&r);
	r.rounds_left = 1;
	put_round(&r, 1);
	applier_submit(r.applier, kv_commit_begin(r.f->kv));
	net_loop_run(r.loop);
	put_round(&r, 2);
	if (truncate(path, 2 * 4096) != 0) /* what is left: LMDB's two meta pages */
		_exit(2);
	r.rounds_left = 1;
	applier_submit(r.applier, kv_commit_begin(r.f->kv));
	net_loop_run(r.loop);
	_exit(3);
}

static void test_a_page_that_cannot_be_read_on_the_thread_is_told_by_the_handler(void **state)
{
	struct fix *f = *state;
	int status;

	kv_close(f->kv);
	f->kv = NULL;
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		commit_to_a_file_cut_short(f);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), PK_EXIT_DAMAGE);
	remove_dir(f->dir);
	assert_int_equal(mkdir(f->dir, 0700), 0);
	fix_open(f);
}

static int signals_here;

static void on_usr1(int signum)
{
	(void)signum;
	signals_here++;
}

static void test_signals_stay_with_the_thread_that_started_the_applier(void **state)
{
	struct rig r = rig_make(*state);
	sigset_t mask;

	rig_start(&r);
	assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &mask), 0);
	assert_false(sigismember(&mask, SIGUSR1)); /* ours is as it was */
	/* Blocked here, a signal to the process would go to the applier if that took any. */
	sigset_t usr1;
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	void (*old)(int) = signal(SIGUSR1, on_usr1);
	assert_int_equal(pthread_sigmask(SIG_BLOCK, &usr1, NULL), 0);
	assert_int_equal(kill(getpid(), SIGUSR1), 0);
	put_round(&r, 1);
	applier_submit(r.applier, kv_commit_begin(r.f->kv));
	applier_stop(r.applier);
	assert_int_equal(signals_here, 0);
	assert_int_equal(pthread_sigmask(SIG_UNBLOCK, &usr1, NULL), 0);
	assert_int_equal(signals_here, 1);
	signal(SIGUSR1, old);
	net_loop_free(r.loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(test_jobs_run_on_the_thread_while_the_loop_reads_and_writes),
		T(test_stop_waits_for_the_job_and_reports_nothing),
		T(test_stop_of_an_idle_applier_returns_at_once),
		T(test_a_failed_commit_is_reported_with_its_words),
		T(test_a_page_that_cannot_be_read_on_the_thread_is_told_by_the_handler),
		T(test_signals_stay_with_the_thread_that_started_the_applier),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
