#include "tests/net/net_test.h"

#include <signal.h>
#include <unistd.h>

#include "net/proc.h"

struct ended {
	int calls;
	int64_t status;
	int signum;
};

static void on_exit_of(void *owner, int64_t exit_status, int term_signal)
{
	struct ended *e = owner;
	e->calls++;
	e->status = exit_status;
	e->signum = term_signal;
}

static char dir[64];

static int make_dir(void **state)
{
	const char *tmp = getenv("TMPDIR");

	(void)state;
	snprintf(dir, sizeof(dir), "%.40s/pk-proc-XXXXXX", tmp != NULL ? tmp : "/tmp");
	return mkdtemp(dir) != NULL ? 0 : -1;
}

static int remove_dir(void **state)
{
	char cmd[100];

	(void)state;
	snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	return system(cmd);
}

static void test_a_child_runs_with_its_environment_directory_and_output(void **state)
{
	struct net_loop *l = test_loop();
	struct ended e = { 0 };
	struct pk_err err = PK_ERR_INIT;
	char path[100], got[200] = "", want[200];
	const char *argv[] = { "sh", "-c", "pwd; echo $COLOUR; echo to stderr >&2; exit 3", NULL };
	const char *env[] = { "COLOUR=green", "PATH=/usr/bin:/bin", NULL };
	struct net_proc_opts opts = { .argv = argv, .env = env, .cwd = dir };

	(void)state;
	snprintf(path, sizeof(path), "%s/out", dir);
	opts.stdout_file = opts.stderr_file = path;
	struct net_proc *p = net_proc_spawn(l, &opts, on_exit_of, &e, &err);
	if (p == NULL)
		fail_msg("%s", err.text);
	assert_true(net_proc_pid(p) > 1);
	RUN_UNTIL(l, e.calls == 1);
	assert_int_equal(e.status, 3);
	assert_int_equal(e.signum, 0);
	FILE *f = fopen(path, "r");
	assert_non_null(f);
	assert_true(fread(got, 1, sizeof(got) - 1, f) > 0);
	fclose(f);
	snprintf(want, sizeof(want), "%s\ngreen\nto stderr\n", dir);
	assert_string_equal(got, want);
	assert_int_equal(net_proc_kill(p, SIGTERM, &err), PK_ENOENT); /* it has ended */
	net_proc_free(p);
	net_loop_free(l);
}

static void test_a_child_is_killed(void **state)
{
	struct net_loop *l = test_loop();
	struct ended e = { 0 };
	struct pk_err err = PK_ERR_INIT;
	const char *argv[] = { "sleep", "1000", NULL };
	struct net_proc_opts opts = { .argv = argv };
	struct net_proc *p = net_proc_spawn(l, &opts, on_exit_of, &e, &err);

	(void)state;
	assert_non_null(p);
	assert_int_equal(net_pid_kill(net_proc_pid(p), 0, &err), 0);
	assert_int_equal(net_proc_kill(p, SIGTERM, &err), 0);
	RUN_UNTIL(l, e.calls == 1);
	assert_int_equal(e.signum, SIGTERM);
	assert_int_equal(net_pid_kill(net_proc_pid(p), 0, &err), PK_ENOENT);
	net_proc_free(p);
	net_loop_free(l);
}

static void test_a_child_has_none_of_our_descriptors_and_default_signals(void **state)
{
	struct net_loop *l = test_loop();
	struct acceptor a = { 0 };
	struct net_listener *n = test_listen(l, "127.0.0.1", &a);
	struct ended e = { 0 };
	/* SIGPIPE is ignored in us; descriptors above 2 but the one that ls opens on /proc */
	const char *argv[] = {
		"sh", "-c",
		"grep -q '^SigIgn:.*0000000$' /proc/self/status || exit 9; "
		"for f in /proc/self/fd/*; do case $f in */[0-2]) ;; *) "
		"case $(readlink $f) in socket:*|anon_inode:*) exit 8;; esac;; esac; done",
		NULL
	};
	struct net_proc_opts opts = { .argv = argv };
	struct net_proc *p = net_proc_spawn(l, &opts, on_exit_of, &e, NULL);

	(void)state;
	assert_non_null(p);
	RUN_UNTIL(l, e.calls == 1);
	assert_int_equal(e.status, 0);
	net_proc_free(p);
	net_listener_close(n);
	net_loop_free(l);
}

static void test_what_cannot_start_says_why(void **state)
{
	struct net_loop *l = test_loop();
	struct pk_err err = PK_ERR_INIT;
	const char *missing[] = { "/no/such/program", NULL }, *argv[] = { "true", NULL };
	struct net_proc_opts opts = { .argv = missing };

	(void)state;
	assert_null(net_proc_spawn(l, &opts, on_exit_of, NULL, &err));
	assert_int_equal(err.code, PK_ENOENT);
	assert_string_equal(err.text, "start /no/such/program: no such file or directory");
	opts = (struct net_proc_opts){ .argv = argv, .cwd = "/no/such/dir" };
	assert_null(net_proc_spawn(l, &opts, on_exit_of, NULL, &err));
	assert_string_equal(err.text, "start true in /no/such/dir: no such file or directory");
	opts = (struct net_proc_opts){ .argv = argv, .stdout_file = "/no/such/dir/out" };
	assert_null(net_proc_spawn(l, &opts, on_exit_of, NULL, &err));
	assert_int_equal(err.code, PK_ENOENT);
	assert_int_equal(net_pid_kill(1, SIGTERM, &err), PK_EINVAL);
	assert_int_equal(net_pid_kill(-1, SIGTERM, &err), PK_EINVAL);
	net_loop_free(l);
}

static void test_a_detached_child_has_its_own_session_and_outlives_the_loop(void **state)
{
	struct net_loop *l = test_loop();
	struct ended e = { 0 };
	struct pk_err err = PK_ERR_INIT;
	const char *argv[] = { "sleep", "1000", NULL };
	struct net_proc_opts opts = { .argv = argv, .detached = true };
	struct net_proc *p = net_proc_spawn(l, &opts, on_exit_of, &e, &err);
	int pid;

	(void)state;
	assert_non_null(p);
	pid = net_proc_pid(p);
	assert_int_equal(getsid(pid), pid);
	net_proc_free(p);
	net_loop_run(l); /* nothing to wait for */
	net_loop_free(l);
	assert_int_equal(net_pid_kill(pid, SIGKILL, &err), 0);
	assert_int_equal(e.calls, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_child_runs_with_its_environment_directory_and_output),
		cmocka_unit_test(test_a_child_is_killed),
		cmocka_unit_test(test_a_child_has_none_of_our_descriptors_and_default_signals),
		cmocka_unit_test(test_what_cannot_start_says_why),
		cmocka_unit_test(test_a_detached_child_has_its_own_session_and_outlives_the_loop),
	};
	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
