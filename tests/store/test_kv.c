#include "tests/lib/test.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "tests/store/kv_fix.h"

/* ---- layers ----------------------------------------------------------------------------------*/

static void test_a_put_is_seen_at_once_and_after_each_step_of_a_commit(void **state)
{
	struct fix *f = *state;
	struct pk_err err = PK_ERR_INIT;

	put(f, "a", "1");
	expect(f, "a", "1");
	struct kv_job *job = begin(f);
	expect(f, "a", "1");
	assert_int_equal(kv_commit_run(job, &err), 0);
	expect(f, "a", "1");
	kv_commit_end(f->kv, job);
	expect(f, "a", "1");
	expect(f, "b", NULL);
	kv_check(f->kv);
}

static void test_the_newest_layer_wins(void **state)
{
	struct fix *f = *state;

	put(f, "k", "lmdb");
	put(f, "only", "lmdb");
	commit(f);
	put(f, "k", "frozen");
	struct kv_job *job = begin(f);
	expect(f, "k", "frozen");
	put(f, "k", "active");
	expect(f, "k", "active");
	expect_walk(f, "", "", "k=active only=lmdb");
	kv_check(f->kv);
	end(f, job);
	expect(f, "k", "active");
	commit(f);
	expect(f, "k", "active");
	expect_walk(f, "", "", "k=active only=lmdb");
}

static void test_a_tombstone_hides_lower_layers_and_a_put_lifts_it(void **state)
{
	struct fix *f = *state;

	put(f, "a", "1");
	put(f, "b", "2");
	put(f, "c", "3");
	commit(f);
	del(f, "b");
	expect(f, "b", NULL);
	expect_walk(f, "", "", "a=1 c=3");
	struct kv_job *job = begin(f);
	expect(f, "b", NULL);
	expect_walk(f, "", "", "a=1 c=3");
	put(f, "b", "4");
	del(f, "a");
	expect_walk(f, "", "", "b=4 c=3");
	end(f, job);
	expect_walk(f, "", "", "b=4 c=3");
	commit(f);
	expect_walk(f, "", "", "b=4 c=3");
	kv_check(f->kv);
}

static void test_deleting_what_is_not_there_leaves_nothing_to_write(void **state)
{
	struct fix *f = *state;

	del(f, "nobody");
	assert_null(kv_commit_begin(f->kv));
	assert_int_equal(kv_overlay_bytes(f->kv), 0);
	put(f, "a", "1");
	struct kv_job *job = begin(f);
	assert_null(kv_commit_begin(f->kv));
	put(f, "b", "1");
	assert_null(kv_commit_begin(f->kv));
	end(f, job);
	commit(f);
}

static void test_a_key_put_and_deleted_between_commits_never_reaches_the_disk(void **state)
{
	struct fix *f = *state;

	put(f, "a", "1");
	del(f, "a");
	put(f, "b", "1");
	commit(f);
	expect_walk(f, "", "", "b=1");
}

static void test_prefix_and_from_bound_a_walk(void **state)
{
	struct fix *f = *state;

	put(f, "a", "0");
	put(f, "ab", "1");
	put(f, "ab1", "2");
	commit(f);
	put(f, "ab2", "3");
	put(f, "ac", "4");
	struct kv_job *job = begin(f);
	put(f, "ab3", "5");
	expect_walk(f, "ab", "", "ab=1 ab1=2 ab2=3 ab3=5");
	expect_walk(f, "ab", "ab", "ab=1 ab1=2 ab2=3 ab3=5");
	expect_walk(f, "ab", "ab1", "ab1=2 ab2=3 ab3=5");
	expect_walk(f, "ab", "ab11", "ab2=3 ab3=5");
	expect_walk(f, "ab", "a", "ab=1 ab1=2 ab2=3 ab3=5");
	expect_walk(f, "ab", "ac", "");
	expect_walk(f, "ab", "zz", "");
	expect_walk(f, "b", "", "");
	expect_walk(f, "", "ab3", "ab3=5 ac=4");
	end(f, job);
}

static void test_a_reopened_kv_holds_the_last_freeze_whole(void **state)
{
	struct fix *f = *state;

	put(f, "a", "1");
	put(f, "b", "1");
	struct kv_job *job = begin(f);
	put(f, "c", "2");
	del(f, "a");
	end(f, job);
	kv_close(f->kv);
	fix_open(f);
	expect_walk(f, "", "", "a=1 b=1");
	put(f, "b", "3");
	begin(f);
	kv_close(f->kv);
	fix_open(f);
	expect_walk(f, "", "", "a=1 b=1");
}

/* ---- edges -----------------------------------------------------------------------------------*/

static void test_keys_of_511_bytes_and_keys_of_any_byte_keep_their_order(void **state)
{
	struct fix *f = *state;
	uint8_t big[KV_KEY_BYTES_MAX];
	struct pk_bytes key, val;

	memset(big, 0xff, sizeof(big));
	for (int layer = 0; layer < 3; layer++) {
		/* each layer takes keys of every third length */
		for (size_t len = 1 + (size_t)layer; len <= sizeof(big); len += 3)
			kv_put(f->kv, pk_bytes(big, len), pk_bytes(&len, sizeof(len)));
		if (layer < 2)
			commit(f);
	}
	uint8_t zero = 0;
	kv_put(f->kv, pk_bytes(&zero, 1), PK_BYTES_NONE);
	kv_check(f->kv);
	struct kv_cur *cur = kv_cur_open(f->kv, PK_BYTES_NONE, PK_BYTES_NONE);
	assert_int_equal(kv_cur_next(cur, &key, &val), 1);
	assert_int_equal(key.len, 1);
	assert_int_equal(val.len, 0);
	for (size_t len = 1; len <= sizeof(big); len++) {
		assert_int_equal(kv_cur_next(cur, &key, &val), 1);
		assert_int_equal(key.len, len);
		assert_memory_equal(val.data, &len, sizeof(len));
	}
	assert_int_equal(kv_cur_next(cur, &key, &val), 0);
	kv_cur_close(cur);

	/* a start or a prefix longer than any key */
	uint8_t longer[KV_KEY_BYTES_MAX + 9];
	memset(longer, 0xff, sizeof(longer));
	cur = kv_cur_open(f->kv, PK_BYTES_NONE, pk_bytes(longer, sizeof(longer)));
	assert_int_equal(kv_cur_next(cur, &key, &val), 0);
	kv_cur_close(cur);
	cur = kv_cur_open(f->kv, pk_bytes(longer, sizeof(longer)), PK_BYTES_NONE);
	assert_int_equal(kv_cur_next(cur, &key, &val), 0);
	kv_cur_close(cur);
	cur = kv_cur_open(f->kv, pk_bytes(longer, KV_KEY_BYTES_MAX), PK_BYTES_NONE);
	assert_int_equal(kv_cur_next(cur, &key, &val), 1);
	kv_cur_close(cur);
}

static void test_big_values_pass_all_layers_and_are_accounted(void **state)
{
	struct fix *f = *state;
	size_t bytes = (3 << 20) + 17;
	uint8_t *big = pk_alloc(bytes);
	struct pk_rng rng;
	struct pk_bytes val;

	pk_rng_seed(&rng, 7);
	pk_rng_fill(&rng, big, bytes);
	kv_put(f->kv, pk_bytes_str("big"), pk_bytes(big, bytes));
	assert_in_range(kv_overlay_bytes(f->kv), bytes, bytes + 64 * 1024);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(kv_get(f->kv, pk_bytes_str("big"), &val), 1);
		assert_true(pk_bytes_eq(val, pk_bytes(big, bytes)));
		kv_check(f->kv);
		if (i == 0)
			commit(f);
		if (i == 1) {
			kv_put(f->kv, pk_bytes_str("big"), pk_bytes(big, bytes));
			kv_put(f->kv, pk_bytes_str("big"), pk_bytes(big, 100));
			assert_in_range(kv_overlay_bytes(f->kv), 100, 64 * 1024);
			kv_put(f->kv, pk_bytes_str("big"), pk_bytes(big, bytes));
			kv_del(f->kv, pk_bytes_str("big"));
			assert_in_range(kv_overlay_bytes(f->kv), 100, 64 * 1024);
			kv_put(f->kv, pk_bytes_str("big"), pk_bytes(big, bytes));
		}
	}
	free(big);
}

static void test_values_of_every_size_are_replaced_in_place_or_moved(void **state)
{
	struct fix *f = *state;
	uint8_t bytes[40000];
	struct pk_bytes val;

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7);
	for (size_t len = 0; len <= sizeof(bytes); len += len < 300 ? 1 : 997) {
		kv_put(f->kv, pk_bytes_str("up"), pk_bytes(bytes, len));
		kv_put(f->kv, pk_bytes_str("down"), pk_bytes(bytes, sizeof(bytes) - len));
		assert_int_equal(kv_get(f->kv, pk_bytes_str("up"), &val), 1);
		assert_true(pk_bytes_eq(val, pk_bytes(bytes, len)));
		assert_int_equal(kv_get(f->kv, pk_bytes_str("down"), &val), 1);
		assert_true(pk_bytes_eq(val, pk_bytes(bytes, sizeof(bytes) - len)));
	}
	kv_check(f->kv);
}

static void test_a_hot_key_put_many_times_takes_no_more_memory(void **state)
{
	struct fix *f = *state;
	uint8_t bytes[1000] = { 0 };

	kv_put(f->kv, pk_bytes_str("hot"), pk_bytes(bytes, sizeof(bytes)));
	uint64_t once = kv_overlay_bytes(f->kv);
	for (size_t i = 0; i < 100000; i++)
		kv_put(f->kv, pk_bytes_str("hot"), pk_bytes(bytes, 900 + i % 100));
	assert_int_equal(kv_overlay_bytes(f->kv), once);
	for (size_t i = 0; i < 100000; i++) { /* growing, shrinking, dying: places are used again */
		kv_put(f->kv, pk_bytes_str("hot"), pk_bytes(bytes, i % 1000));
		if (i % 3 == 0)
			kv_del(f->kv, pk_bytes_str("hot"));
	}
	assert_in_range(kv_overlay_bytes(f->kv), 1, 32 * 1024);
	kv_check(f->kv);
}

/* ---- what a commit takes
 * ---------------------------------------------------------------------*/

/* What this process has given to write calls; a commit holds it in memory until then. */
static uint64_t written_bytes(void)
{
	uint64_t bytes = 0;
	FILE *io = fopen("/proc/self/io", "re");

	assert_non_null(io);
	assert_int_equal(fscanf(io, "rchar: %*u wchar: %" SCNu64, &bytes), 1);
	assert_int_equal(fclose(io), 0);
	return bytes;
}

static void put_number(struct fix *f, unsigned number, size_t len)
{
	uint8_t key[8], val[6000];

	memset(val, (int)number, sizeof(val));
	pk_put_be64(key, number);
	kv_put(f->kv, pk_bytes(key, sizeof(key)), pk_bytes(val, len));
}

/* Of what it was said to change at most, how much a commit wrote, in percent. */
static uint64_t commit_percent(struct fix *f)
{
	uint64_t said = kv_commit_bytes(f->kv), before = written_bytes();

	commit(f);
	return (written_bytes() - before) * 100 / said;
}

static void test_a_commit_changes_no_more_pages_than_was_said(void **state)
{
	enum { MANY = 60000, SOME = 1500 };
	struct fix *f = *state;
	struct pk_rng rng;

	pk_rng_seed(&rng, 3);
	assert_int_equal(kv_commit_bytes(f->kv), 0);
	for (unsigned i = 0; i < MANY; i++) /* new names in rising order */
		put_number(f, i * 16, 100);
	assert_in_range(commit_percent(f), 40, 100);
	for (int i = 0; i < SOME; i++) /* spread: nearly each on a page of its own */
		put_number(f, (unsigned)pk_rng_below(&rng, MANY) * 16, 100);
	assert_in_range(commit_percent(f), 50, 100);
	for (int i = 0; i < SOME; i++) /* new ones between them, and larger */
		put_number(f, (unsigned)pk_rng_below(&rng, MANY) * 16 + 5, 900);
	assert_in_range(commit_percent(f), 30, 100);
	for (int i = 0; i < SOME; i++) /* with pages of their own */
		put_number(f, (unsigned)pk_rng_below(&rng, MANY) * 16 + 5, 6000);
	assert_in_range(commit_percent(f), 30, 100);
	for (unsigned i = 0; i < MANY; i++) /* all of them: no page twice */
		put_number(f, i * 16, 90);
	assert_in_range(commit_percent(f), 30, 100);
	for (unsigned i = 0; i < SOME; i++) { /* neighbours, which share theirs */
		put_number(f, i * 16, 80);
	}
	assert_in_range(commit_percent(f), 1, 30);
}

/* ---- refusals: in a child, for an assertion ends the process
 * ------------------------------------*/

static void expect_abort(struct fix *f, void (*body)(struct fix *f))
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct rlimit none = { 0 };

		pk_ignore(setrlimit(RLIMIT_CORE, &none), "a core file would only be untidy");
		signal(SIGABRT, SIG_DFL);
		pk_ignore(freopen("/dev/null", "w", stderr), "only to keep the output short");
		body(f);
		_exit(0);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

/* Every page of the tree says that it is of a kind there is not: at mp_flags of LMDB's page header.
 */
static void damage_pages(struct fix *f)
{
	enum { PAGE_BYTES = 4096, META_PAGES = 2, FLAGS_AT = 10 };
	char *path = pk_asprintf("%s/data.mdb", f->dir);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	off_t size = lseek(fd, 0, SEEK_END);

	assert_true(fd >= 0);
	for (off_t at = META_PAGES * PAGE_BYTES; at < size; at += PAGE_BYTES)
		assert_int_equal(pwrite(fd, "\0\0", 2, at + FLAGS_AT), 2);
	close(fd);
	free(path);
}

static void test_damaged_pages_end_the_process_with_the_status_for_damage(void **state)
{
	struct fix *f = *state;
	char key[16];

	for (int i = 0; i < 2000; i++) {
		snprintf(key, sizeof(key), "k%05d", i);
		put(f, key, "a value of some length, so that there are several pages");
	}
	commit(f);
	kv_close(f->kv);
	f->kv = NULL;
	damage_pages(f);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct pk_bytes got;

		pk_ignore(freopen("/dev/null", "w", stderr), "only to keep the output short");
		fix_open(f);
		_exit(kv_get(f->kv, pk_bytes_str("k01000"), &got));
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), PK_EXIT_DAMAGE);
	char *path = pk_asprintf("%s/data.mdb", f->dir);
	assert_int_equal(unlink(path), 0);
	free(path);
	fix_open(f); /* for the teardown */
}

static void freeze_under_a_cursor(struct fix *f)
{
	put(f, "a", "1");
	kv_cur_open(f->kv, PK_BYTES_NONE, PK_BYTES_NONE);
	kv_commit_begin(f->kv);
}

static void put_under_a_cursor(struct fix *f)
{
	kv_cur_open(f->kv, PK_BYTES_NONE, PK_BYTES_NONE);
	put(f, "a", "1");
}

static void put_an_empty_key(struct fix *f)
{
	put(f, "", "1");
}

static void put_a_long_key(struct fix *f)
{
	uint8_t key[KV_KEY_BYTES_MAX + 1] = { 0 };

	kv_put(f->kv, pk_bytes(key, sizeof(key)), PK_BYTES_NONE);
}

static void end_before_run(struct fix *f)
{
	put(f, "a", "1");
	kv_commit_end(f->kv, begin(f));
}

static void test_breaking_the_contract_stops_the_process(void **state)
{
	struct fix *f = *state;

	expect_abort(f, freeze_under_a_cursor);
	expect_abort(f, put_under_a_cursor);
	expect_abort(f, put_an_empty_key);
	expect_abort(f, put_a_long_key);
	expect_abort(f, end_before_run);
}

static void test_a_second_open_of_the_directory_is_refused(void **state)
{
	struct fix *f = *state;
	struct pk_err err = PK_ERR_INIT;
	struct kv *second = NULL;

	assert_int_equal(kv_open(&second, &f->cfg, &err), PK_ESTATE);
	assert_non_null(strstr(err.text, "/lock is held"));
	assert_null(second);
	put(f, "a", "1"); /* and the first is none the worse */
	commit(f);
	expect(f, "a", "1");
}

/* ---- damage ----------------------------------------------------------------------------------*/

static void fill(struct fix *f, int from, int to)
{
	char key[32], val[400];

	memset(val, 'v', sizeof(val));
	for (int i = from; i < to; i++) {
		snprintf(key, sizeof(key), "key-%08d", i);
		kv_put(f->kv, pk_bytes_str(key), pk_bytes(val, sizeof(val)));
	}
}

static off_t data_size(struct fix *f, off_t set)
{
	char *path = pk_asprintf("%s/data.mdb", f->dir);
	struct stat st;

	if (set >= 0)
		assert_int_equal(truncate(path, set), 0);
	assert_int_equal(stat(path, &st), 0);
	free(path);
	return st.st_size;
}

static int reopen(struct fix *f, struct pk_err *err)
{
	kv_close(f->kv);
	f->kv = NULL;
	return kv_open(&f->kv, &f->cfg, err);
}

static void test_a_file_that_is_no_database_is_corrupt(void **state)
{
	struct fix *f = *state;
	struct pk_err err = PK_ERR_INIT;

	kv_close(f->kv);
	f->kv = NULL;
	char *path = pk_asprintf("%s/data.mdb", f->dir);
	FILE *file = fopen(path, "w");
	for (int i = 0; i < 10000; i++)
		fprintf(file, "this is not a database\n");
	assert_int_equal(fclose(file), 0);
	free(path);
	assert_int_equal(kv_open(&f->kv, &f->cfg, &err), PK_ECORRUPT);
	assert_non_null(strstr(err.text, f->dir));
}

static void test_a_file_cut_short_is_corrupt_each_time_it_is_opened(void **state)
{
	struct fix *f = *state;
	struct pk_err err = PK_ERR_INIT;

	fill(f, 0, 1000);
	commit(f);
	off_t size = data_size(f, -1);
	for (off_t cut = 4096; cut < size; cut = cut * 2) {
		data_size(f, size - cut);
		if (f->kv != NULL)
			kv_close(f->kv);
		f->kv = NULL;
		for (int i = 0; i < 2; i++)
			assert_int_equal(kv_open(&f->kv, &f->cfg, &err), PK_ECORRUPT);
	}
}

static void test_a_file_that_lacks_only_free_pages_is_sound(void **state)
{
	struct fix *f = *state;
	struct pk_err err = PK_ERR_INIT;

	put(f, "a", "1");
	commit(f);
	fill(f, 0, 1000);
	commit(f);
	for (int i = 0; i < 1000; i++) {
		char key[32];

		snprintf(key, sizeof(key), "key-%08d", i);
		del(f, key);
	}
	commit(f);
	for (int i = 0; i < 8; i++) { /* what is left moves to the front */
		put(f, "a", "2");
		commit(f);
	}
	off_t size = data_size(f, -1);
	assert_true(size > 100 * 4096);
	data_size(f, size - 10 * 4096);
	if (reopen(f, &err) != 0)
		fail_msg("%s", err.text);
	expect_walk(f, "", "", "a=2");
	fill(f, 0, 2000);
	commit(f);
	kv_check(f->kv);
}

/* ---- the disk and the map
 * -------------------------------------------------------------------------*/

static void test_the_map_doubles_under_commits_until_its_most(void **state)
{
	struct fix *f = *state;

	for (int i = 0; i < 40; i++) { /* 40 times 1 MB of a map that began with 1 MiB */
		fill(f, i * 2500, (i + 1) * 2500);
		commit(f);
		struct kv_cur *cur = kv_cur_open(f->kv, PK_BYTES_NONE, PK_BYTES_NONE);
		struct pk_bytes key, val;
		int count = 0;
		while (kv_cur_next(cur, &key, &val) == 1)
			count++;
		kv_cur_close(cur);
		assert_int_equal(count, (i + 1) * 2500);
	}
	kv_check(f->kv);
	assert_in_range(kv_disk_bytes(f->kv), 40 << 20, 64 << 20);
}

static void test_new_keys_in_rising_order_fill_their_pages(void **state)
{
	enum { COMMITS = 4, KEYS = 3000, KEY_BYTES = 13, ENTRY_BYTES = 10, PAGE = 4096 };
	static const size_t sizes[] = { 16, 100, 230, 400, 700, 1024 };
	struct fix *f = *state;
	char key[32], val[1024];

	memset(val, 'v', sizeof(val));
	put(f, "z", "behind them, so that they are not the last of the tree");
	commit(f);
	for (size_t s = 0; s < PK_COUNT(sizes); s++) {
		uint64_t before = kv_disk_bytes(f->kv), ideal;
		size_t fit = (PAGE - 16) / (KEY_BYTES + sizes[s] + ENTRY_BYTES);

		for (int i = 0; i < COMMITS * KEYS; i++) {
			snprintf(key, sizeof(key), "%c-key-%07d", (char)('a' + s), i);
			kv_put(f->kv, pk_bytes_str(key), pk_bytes(val, sizes[s]));
			if (i % KEYS == KEYS - 1)
				commit(f);
		}
		/* most take 1.1 times that; twice, were each page split in its middle */
		ideal = COMMITS * KEYS / fit * PAGE;
		assert_in_range(kv_disk_bytes(f->kv) - before, ideal, ideal * 3 / 2);
	}
	kv_check(f->kv);
}

static void test_a_full_map_is_an_error_that_leaves_the_durable_state(void **state)
{
	struct fix *f = *state;
	struct pk_err err = PK_ERR_INIT;

	f->cfg.map_bytes_most = 2 << 20;
	assert_int_equal(reopen(f, &err), 0);
	put(f, "a", "1");
	commit(f);
	fill(f, 0, 20000);
	struct kv_job *job = begin(f);
	assert_int_equal(kv_commit_run(job, &err), PK_ENOSPC);
	assert_non_null(strstr(err.text, "map"));
	assert_int_equal(reopen(f, &err), 0);
	expect_walk(f, "", "", "a=1");
	put(f, "b", "2");
	commit(f);
	expect_walk(f, "", "", "a=1 b=2");
}

static void test_a_full_disk_is_an_error_that_leaves_the_durable_state(void **state)
{
	struct fix *f = *state;
	struct pk_err err = PK_ERR_INIT;
	struct rlimit before, small;

	put(f, "a", "1");
	commit(f);
	fill(f, 0, 20000);
	struct kv_job *job = begin(f);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	small = before;
	small.rlim_cur = 512 * 1024; /* a write beyond gets EFBIG */
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	void (*old)(int) = signal(SIGXFSZ, SIG_IGN);
	int rc = kv_commit_run(job, &err);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	signal(SIGXFSZ, old);
	assert_int_equal(rc, PK_ENOSPC);
	assert_int_equal(reopen(f, &err), 0);
	expect_walk(f, "", "", "a=1");
	fill(f, 0, 20000);
	commit(f);
	expect(f, "a", "1");
	kv_check(f->kv);
}

/* ---- a crash ---------------------------------------------------------------------------------*/

/* A child commits numbered states and is killed at any moment; a state is a freeze, whole. */
static void test_a_killed_process_leaves_exactly_one_of_its_freezes(void **state)
{
	struct fix *f = *state;
	struct pk_err err = PK_ERR_INIT;
	struct pk_bytes val;
	uint32_t last = 0;

	f->cfg.sync = true;
	for (int round = 0; round < 6; round++) {
		int told[2];

		kv_close(f->kv);
		f->kv = NULL;
		assert_int_equal(pipe(told), 0);
		pid_t pid = fork();
		assert_true(pid >= 0);
		if (pid == 0) {
			fix_open(f);
			for (uint32_t n = last + 1;; n++) {
				for (uint32_t i = 0; i < 50; i++) {
					char key[16];

					snprintf(key, sizeof(key), "k%02u", (i * 7 + n) % 60);
					if ((i + n) % 5 == 0)
						kv_del(f->kv, pk_bytes_str(key));
					else
						kv_put(f->kv, pk_bytes_str(key),
						       pk_bytes(&n, sizeof(n)));
				}
				kv_put(f->kv, pk_bytes_str("n"), pk_bytes(&n, sizeof(n)));
				commit(f);
				if (write(told[1], &n, sizeof(n)) != sizeof(n))
					_exit(1);
			}
		}
		close(told[1]);
		uint32_t seen = 0;
		for (int i = 0; i < 3 + round; i++)
			assert_int_equal(read(told[0], &seen, sizeof(seen)), sizeof(seen));
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		close(told[0]);

		if (kv_open(&f->kv, &f->cfg, &err) != 0)
			fail_msg("%s", err.text);
		assert_int_equal(kv_get(f->kv, pk_bytes_str("n"), &val), 1);
		memcpy(&last, val.data, sizeof(last));
		assert_true(last >= seen); /* what was told was durable */
		/* replay the states into a plain array and compare */
		uint32_t model[60] = { 0 };
		for (uint32_t n = 1; n <= last; n++)
			for (uint32_t i = 0; i < 50; i++)
				model[(i * 7 + n) % 60] = (i + n) % 5 == 0 ? 0 : n;
		for (uint32_t k = 0; k < 60; k++) {
			char key[16];

			snprintf(key, sizeof(key), "k%02u", k);
			int rc = kv_get(f->kv, pk_bytes_str(key), &val);
			assert_int_equal(rc, model[k] != 0);
			if (rc == 1)
				assert_memory_equal(val.data, &model[k], sizeof(model[k]));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(test_a_put_is_seen_at_once_and_after_each_step_of_a_commit),
		T(test_the_newest_layer_wins),
		T(test_a_tombstone_hides_lower_layers_and_a_put_lifts_it),
		T(test_deleting_what_is_not_there_leaves_nothing_to_write),
		T(test_a_key_put_and_deleted_between_commits_never_reaches_the_disk),
		T(test_prefix_and_from_bound_a_walk),
		T(test_a_reopened_kv_holds_the_last_freeze_whole),
		T(test_keys_of_511_bytes_and_keys_of_any_byte_keep_their_order),
		T(test_big_values_pass_all_layers_and_are_accounted),
		T(test_values_of_every_size_are_replaced_in_place_or_moved),
		T(test_a_hot_key_put_many_times_takes_no_more_memory),
		T(test_a_commit_changes_no_more_pages_than_was_said),
		T(test_breaking_the_contract_stops_the_process),
		T(test_a_second_open_of_the_directory_is_refused),
		T(test_a_file_that_is_no_database_is_corrupt),
		T(test_a_file_cut_short_is_corrupt_each_time_it_is_opened),
		T(test_a_file_that_lacks_only_free_pages_is_sound),
		T(test_the_map_doubles_under_commits_until_its_most),
		T(test_new_keys_in_rising_order_fill_their_pages),
		T(test_a_full_map_is_an_error_that_leaves_the_durable_state),
		T(test_a_full_disk_is_an_error_that_leaves_the_durable_state),
		T(test_a_killed_process_leaves_exactly_one_of_its_freezes),
		T(test_damaged_pages_end_the_process_with_the_status_for_damage),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
