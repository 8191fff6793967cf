#include "tests/lib/test.h"

#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/rng.h"
#include "store/kv.h"

/* ---- a directory and a kv in it --------------------------------------------------------------*/

struct fix {
	char dir[64];
	struct kv_config cfg;
	struct kv *kv;
};

static void fix_open(struct fix *f)
{
	struct pk_err err = PK_ERR_INIT;

	if (kv_open(&f->kv, &f->cfg, &err) != 0)
		fail_msg("%s", err.text);
}

static int setup(void **state)
{
	struct fix *f = pk_alloc(sizeof(*f));

	snprintf(f->dir, sizeof(f->dir), "/tmp/test_kv.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->cfg = (struct kv_config){
		.dir = f->dir, .map_bytes = 1 << 20, .map_bytes_most = 64 << 20, .sync = false
	};
	fix_open(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	static const char *const names[] = { "data.mdb", "lock.mdb", "lock" };
	struct fix *f = *state;

	kv_close(f->kv);
	for (size_t i = 0; i < PK_COUNT(names); i++) {
		char *path = pk_asprintf("%s/%s", f->dir, names[i]);

		pk_ignore(unlink(path), "a test may have removed it");
		free(path);
	}
	assert_int_equal(rmdir(f->dir), 0);
	free(f);
	return 0;
}

static void put(struct fix *f, const char *key, const char *val)
{
	kv_put(f->kv, pk_bytes_str(key), pk_bytes_str(val));
}

static void del(struct fix *f, const char *key)
{
	kv_del(f->kv, pk_bytes_str(key));
}

static void expect(struct fix *f, const char *key, const char *val)
{
	struct pk_bytes got;
	int rc = kv_get(f->kv, pk_bytes_str(key), &got);

	assert_int_equal(rc, val != NULL);
	if (val != NULL)
		assert_true(pk_bytes_is(got, val));
}

static struct kv_job *begin(struct fix *f)
{
	struct kv_job *job = kv_commit_begin(f->kv);

	assert_non_null(job);
	return job;
}

static void end(struct fix *f, struct kv_job *job)
{
	struct pk_err err = PK_ERR_INIT;

	if (kv_commit_run(job, &err) != 0)
		fail_msg("%s", err.text);
	kv_commit_end(f->kv, job);
}

static void commit(struct fix *f)
{
	end(f, begin(f));
}

/* The walk as text: "a=1 b=2". */
static void expect_walk(struct fix *f, const char *prefix, const char *from, const char *want)
{
	struct pk_buf got = PK_BUF_INIT;
	struct pk_bytes key, val;
	struct kv_cur *cur = kv_cur_open(f->kv, pk_bytes_str(prefix), pk_bytes_str(from));

	while (kv_cur_next(cur, &key, &val) == 1)
		pk_buf_printf(&got, "%s%.*s=%.*s", got.len > 0 ? " " : "", (int)key.len,
			      (const char *)key.data, (int)val.len, (const char *)val.data);
	assert_int_equal(kv_cur_next(cur, &key, &val), 0);
	kv_cur_close(cur);
	assert_string_equal(pk_buf_str(&got), want);
	pk_buf_release(&got);
}

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
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
