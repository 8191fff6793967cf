#include "tests/net/net_test.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "net/loop.h"

struct log {
	struct net_loop *loop;
	struct net_timer *timer;
	struct net_hook *hook;
	char text[256];
	int calls;
	int turns;
	int turns_of_call;
};

static void on_call(void *owner)
{
	struct log *g = owner;
	g->calls++;
	g->turns_of_call = g->turns;
}

static void on_call_stop(void *owner)
{
	struct log *g = owner;
	g->calls++;
	net_loop_stop(g->loop);
}

static void on_turn(void *owner)
{
	struct log *g = owner;
	g->turns++;
}

static void test_a_one_shot_timer_fires_once(void **state)
{
	struct log g = { .loop = test_loop() };
	struct net_timer *t = net_timer_new(g.loop, on_call, &g);

	(void)state;
	assert_false(net_timer_active(t));
	net_timer_start(t, 1, 0);
	assert_true(net_timer_active(t));
	net_loop_run(g.loop); /* nothing else to wait for */
	assert_int_equal(g.calls, 1);
	assert_false(net_timer_active(t));
	net_timer_free(t);
	net_loop_free(g.loop);
}

static void on_repeat(void *owner)
{
	struct log *g = owner;
	if (++g->calls == 3)
		net_timer_free(g->timer); /* from its own callback */
}

static void test_a_repeating_timer_fires_until_freed(void **state)
{
	struct log g = { .loop = test_loop() };

	(void)state;
	g.timer = net_timer_new(g.loop, on_repeat, &g);
	net_timer_start(g.timer, 1, 1);
	net_loop_run(g.loop);
	assert_int_equal(g.calls, 3);
	net_loop_free(g.loop);
}

static void test_a_stopped_timer_does_not_fire_and_a_restarted_one_does(void **state)
{
	struct log g = { .loop = test_loop() }, h = { .loop = g.loop };
	struct net_timer *t = net_timer_new(g.loop, on_call, &g);
	struct net_timer *u = net_timer_new(g.loop, on_call, &h);
	int64_t began_ms = net_now_ms(g.loop);

	(void)state;
	net_timer_start(t, 1, 0);
	net_timer_stop(t);
	net_timer_start(u, 1, 0);
	net_timer_start(u, 20, 0); /* starts anew */
	net_loop_run(g.loop);
	assert_int_equal(g.calls, 0);
	assert_int_equal(h.calls, 1);
	assert_true(net_now_ms(g.loop) - began_ms >= 20);
	net_timer_free(t);
	net_timer_free(u);
	net_loop_free(g.loop);
}

static void test_the_turn_hook_runs_once_per_turn_after_all_callbacks(void **state)
{
	struct log g = { .loop = test_loop() }, h = { .loop = g.loop };
	struct net_timer *t = net_timer_new(g.loop, on_call, &g);
	struct net_timer *u = net_timer_new(g.loop, on_call, &h);
	struct net_async *a = net_async_new(g.loop, on_call, &g);
	struct net_hook *hook = net_loop_on_turn(g.loop, on_turn, &g);

	(void)state;
	net_timer_start(t, 0, 0);
	net_timer_start(u, 0, 0);
	net_async_send(a);
	net_loop_turn(g.loop, true); /* timers, hook, then the wait ends by the async */
	assert_int_equal(g.turns, 1);
	assert_int_equal(h.calls, 1);
	assert_int_equal(g.calls, 2);
	net_loop_turn(g.loop, false); /* the hook hears of the async before the next wait */
	assert_int_equal(g.turns, 2);
	net_hook_free(hook);
	net_loop_turn(g.loop, false);
	assert_int_equal(g.turns, 2);
	net_async_free(a);
	net_timer_free(t);
	net_timer_free(u);
	net_loop_free(g.loop);
}

static void on_turn_free_self(void *owner)
{
	struct log *g = owner;
	g->turns++;
	net_hook_free(g->hook);
}

static void test_a_hook_may_free_itself(void **state)
{
	struct log g = { .loop = test_loop() }, h = { .loop = g.loop };

	(void)state;
	g.hook = net_loop_on_turn(g.loop, on_turn_free_self, &g);
	struct net_hook *second = net_loop_on_turn(g.loop, on_turn, &h);
	struct net_timer *t = net_timer_new(g.loop, on_call, &g);
	net_timer_start(t, 0, 1);
	for (int i = 0; i < 3; i++)
		net_loop_turn(g.loop, true);
	assert_int_equal(g.turns, 1);
	assert_int_equal(h.turns, 3);
	net_hook_free(second);
	net_loop_free(g.loop); /* with the timer still running */
}

static void *send_thread(void *arg)
{
	net_thread_block_signals();
	for (int i = 0; i < 1000; i++)
		net_async_send(arg);
	return NULL;
}

static void test_wakeups_from_another_thread_arrive_and_coalesce(void **state)
{
	struct log g = { .loop = test_loop() };
	struct net_async *a = net_async_new(g.loop, on_call, &g);
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, send_thread, a), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	net_loop_turn(g.loop, true);
	assert_int_equal(g.calls, 1);
	net_async_free(a);
	net_loop_free(g.loop);
}

static void on_usr1(void *owner, int signum)
{
	struct log *g = owner;
	assert_int_equal(signum, SIGUSR1);
	g->calls++;
	net_loop_stop(g->loop);
}

static void test_a_signal_is_an_event(void **state)
{
	struct log g = { .loop = test_loop() };
	struct pk_err err = PK_ERR_INIT;
	struct net_signal *s = net_signal_on(g.loop, SIGUSR1, on_usr1, &g, &err);
	struct net_timer *t = net_timer_new(g.loop, on_call_stop, &g);

	(void)state;
	assert_non_null(s);
	assert_null(net_signal_on(g.loop, SIGKILL, on_usr1, &g, &err));
	assert_int_equal(err.code, PK_EIO);
	net_timer_start(t, TEST_WAIT_MS, 0);
	assert_int_equal(kill(getpid(), SIGUSR1), 0);
	net_loop_run(g.loop);
	assert_int_equal(g.calls, 1);
	net_signal_free(s);
	net_timer_free(t);
	net_loop_free(g.loop);
}

static void on_work(void *owner)
{
	struct log *g = owner;
	sigset_t now;
	/* pool threads leave signals to the main thread */
	if (pthread_sigmask(SIG_SETMASK, NULL, &now) == 0 && sigismember(&now, SIGTERM) == 1)
		strcpy(g->text, "worked");
}

static void test_blocking_work_runs_elsewhere_and_reports_here(void **state)
{
	struct log g = { .loop = test_loop() };

	(void)state;
	net_work_run(g.loop, on_work, on_call, &g);
	net_loop_run(g.loop);
	assert_int_equal(g.calls, 1);
	assert_string_equal(g.text, "worked");
	net_loop_free(g.loop);
}

static void on_busy(void *owner)
{
	int64_t end_us = net_now_fresh_us() + 20000;
	(void)owner;
	while (net_now_fresh_us() < end_us)
		continue;
}

static void test_a_stall_is_measured_and_waiting_is_not(void **state)
{
	struct log g = { .loop = test_loop() };
	struct net_timer *t = net_timer_new(g.loop, on_busy, &g);

	(void)state;
	net_timer_start(t, 0, 0);
	net_loop_run(g.loop);
	assert_true(net_loop_stall_max_us(g.loop) >= 20000);
	assert_int_equal(net_loop_stall_max_us(g.loop), 0);
	net_timer_free(t);
	t = net_timer_new(g.loop, on_call, &g);
	net_timer_start(t, 300, 0);
	net_loop_run(g.loop);
	assert_true(net_loop_stall_max_us(g.loop) < 250000);
	net_timer_free(t);
	net_loop_free(g.loop);
}

static void test_a_timer_started_between_runs_counts_from_now(void **state)
{
	struct log g = { .loop = test_loop() };
	struct net_timer *t = net_timer_new(g.loop, on_call, &g);
	int64_t before_ms = net_now_ms(g.loop), began_us;

	(void)state;
	on_busy(NULL); /* 20 ms of start-up work, say */
	assert_true(net_now_ms(g.loop) - before_ms >= 19);
	began_us = net_now_fresh_us();
	net_timer_start(t, 15, 0);
	net_loop_run(g.loop);
	assert_true(net_now_fresh_us() - began_us >= 13000);
	net_timer_free(t);
	net_loop_free(g.loop);
}

static void test_stop_finishes_the_turn_and_the_loop_may_run_again(void **state)
{
	struct log g = { .loop = test_loop() };
	struct net_timer *t = net_timer_new(g.loop, on_call_stop, &g);
	struct net_hook *hook = net_loop_on_turn(g.loop, on_turn, &g);

	(void)state;
	net_timer_start(t, 0, 1);
	net_loop_run(g.loop);
	assert_int_equal(g.calls, 1);
	assert_int_equal(g.turns, 1);
	net_loop_run(g.loop);
	assert_int_equal(g.calls, 2);
	net_hook_free(hook);
	net_timer_free(t);
	net_loop_free(g.loop);
}

static void test_freeing_the_loop_frees_what_is_still_open(void **state)
{
	struct log g = { .loop = test_loop() };
	struct pk_err err = PK_ERR_INIT;

	(void)state;
	net_timer_start(net_timer_new(g.loop, on_call, &g), 0, 1);
	assert_non_null(net_async_new(g.loop, on_call, &g));
	assert_non_null(net_signal_on(g.loop, SIGUSR2, on_usr1, &g, &err));
	assert_non_null(net_loop_on_turn(g.loop, on_turn, &g));
	net_work_run(g.loop, on_work, on_call, &g);
	net_loop_free(g.loop);
	assert_int_equal(g.calls, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_one_shot_timer_fires_once),
		cmocka_unit_test(test_a_repeating_timer_fires_until_freed),
		cmocka_unit_test(test_a_stopped_timer_does_not_fire_and_a_restarted_one_does),
		cmocka_unit_test(test_the_turn_hook_runs_once_per_turn_after_all_callbacks),
		cmocka_unit_test(test_a_hook_may_free_itself),
		cmocka_unit_test(test_wakeups_from_another_thread_arrive_and_coalesce),
		cmocka_unit_test(test_a_signal_is_an_event),
		cmocka_unit_test(test_blocking_work_runs_elsewhere_and_reports_here),
		cmocka_unit_test(test_a_stall_is_measured_and_waiting_is_not),
		cmocka_unit_test(test_a_timer_started_between_runs_counts_from_now),
		cmocka_unit_test(test_stop_finishes_the_turn_and_the_loop_may_run_again),
		cmocka_unit_test(test_freeing_the_loop_frees_what_is_still_open),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
