#include "tests/lib/test.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "tests/store/kv_fix.h"

static void put_number(struct fix *f, uint32_t n, uint32_t round)
{
	uint8_t val[300];
	char key[32];
	struct pk_rng rng;

	snprintf(key, sizeof(key), "key-%06u", n * 7919 % 100003);
	pk_rng_seed(&rng, (uint64_t)n << 32 | round);
	pk_rng_fill(&rng, val, sizeof(val));
	kv_put(f->kv, pk_bytes_str(key), pk_bytes(val, pk_rng_below(&rng, sizeof(val))));
}

static void commit_round(struct fix *f, uint32_t round, uint32_t count)
{
	for (uint32_t n = 0; n < count; n++)
		put_number(f, n, round);
	commit(f);
}

/* Export all in chunks of about bytes_max; returns how many chunks. */
static int export_all(struct kv *kv, size_t bytes_max, struct pk_buf *all)
{
	struct kv_export *ex = kv_export_open(kv);
	int chunks = 0, more;

	assert_non_null(ex);
	do {
		size_t before = all->len;

		more = kv_export_next(ex, bytes_max, all);
		chunks += all->len > before;
	} while (more == 1);
	assert_int_equal(kv_export_next(ex, bytes_max, all), 0);
	kv_export_close(ex);
	return chunks;
}

struct target {
	char dir[64];
	struct kv_config cfg;
};

static void target_make(struct target *t)
{
	snprintf(t->dir, sizeof(t->dir), "/tmp/test_kv_to.XXXXXX");
	assert_non_null(mkdtemp(t->dir));
	t->cfg = (struct kv_config){
		.dir = t->dir, .map_bytes = 1 << 20, .map_bytes_most = 64 << 20, .sync = true
	};
}

static void expect_same(struct kv *a, struct kv *b)
{
	struct pk_bytes ka, va, kb, vb;
	struct kv_cur *ca = kv_cur_open(a, PK_BYTES_NONE, PK_BYTES_NONE);
	struct kv_cur *cb = kv_cur_open(b, PK_BYTES_NONE, PK_BYTES_NONE);

	while (kv_cur_next(ca, &ka, &va) == 1) {
		assert_int_equal(kv_cur_next(cb, &kb, &vb), 1);
		assert_true(pk_bytes_eq(ka, kb) && pk_bytes_eq(va, vb));
	}
	assert_int_equal(kv_cur_next(cb, &kb, &vb), 0);
	kv_cur_close(ca);
	kv_cur_close(cb);
}

static void test_what_is_exported_and_imported_is_the_same_and_writable(void **state)
{
	struct fix *f = *state;
	struct pk_err err = PK_ERR_INIT;
	struct kv_import *im;
	struct target t;
	uint8_t *big = pk_alloc(12 << 20); /* beyond one transaction of an import */

	commit_round(f, 1, 20000);
	kv_put(f->kv, pk_bytes_str("big"), pk_bytes(big, 12 << 20));
	kv_put(f->kv, pk_bytes_str("empty"), PK_BYTES_NONE);
	commit(f);
	target_make(&t);
	assert_int_equal(kv_import_open(&im, &t.cfg, &err), 0);
	struct kv_export *ex = kv_export_open(f->kv);
	struct pk_buf chunk = PK_BUF_INIT;
	int more;
	do {
		pk_buf_clear(&chunk);
		more = kv_export_next(ex, 64 * 1024, &chunk);
		assert_true(chunk.len <= 64 * 1024 || chunk.len > 12 << 20);
		if (kv_import_add(im, pk_buf_bytes(&chunk), &err) != 0)
			fail_msg("%s", err.text);
	} while (more == 1);
	kv_export_close(ex);
	if (kv_import_finish(im, &err) != 0)
		fail_msg("%s", err.text);

	struct fix to = { .cfg = t.cfg };
	fix_open(&to);
	expect_same(f->kv, to.kv);
	commit_round(&to, 2, 5000);
	commit_round(f, 2, 5000);
	expect_same(f->kv, to.kv);
	kv_check(to.kv);
	kv_close(to.kv);
	remove_dir(t.dir);
	pk_buf_release(&chunk);
	free(big);
}

static void test_an_export_holds_one_record_at_least_and_the_bound_else(void **state)
{
	struct fix *f = *state;
	struct pk_buf one = PK_BUF_INIT, many = PK_BUF_INIT;

	assert_int_equal(export_all(f->kv, 1000, &one), 0);
	assert_int_equal(one.len, 0);
	put(f, "a", "1");
	put(f, "b", "22");
	commit(f);
	assert_int_equal(export_all(f->kv, 1000, &one), 1);
	static const uint8_t want[] = {
		1, 0, 1, 0, 0, 0, 'a', '1', 1, 0, 2, 0, 0, 0, 'b', '2', '2'
	};
	assert_int_equal(one.len, sizeof(want));
	assert_memory_equal(one.data, want, sizeof(want));
	assert_int_equal(export_all(f->kv, 0, &many), 2);
	assert_int_equal(export_all(f->kv, sizeof(want) - 1, &many), 2);
	pk_buf_release(&one);
	pk_buf_release(&many);
}

static void test_an_export_is_its_snapshot_while_commits_go_on(void **state)
{
	struct fix *f = *state;
	struct pk_buf want = PK_BUF_INIT, got = PK_BUF_INIT;
	int more, round = 2, held = 0;

	commit_round(f, 1, 3000);
	export_all(f->kv, 100000, &want);
	put(f, "not durable", "yet");
	struct kv_export *ex = kv_export_open(f->kv);
	do {
		more = kv_export_next(ex, 4000, &got);
		for (uint32_t n = 0; n < 3000; n++)
			put_number(f, n, (uint32_t)round);
		del(f, "key-000000");
		struct kv_job *job = kv_commit_begin(f->kv);
		if (job != NULL) {
			assert_false(kv_commit_held(f->kv));
			end(f, job);
			round++;
		} else {
			assert_true(kv_commit_held(f->kv));
			held++;
		}
	} while (more == 1);
	assert_true(pk_bytes_eq(pk_buf_bytes(&want), pk_buf_bytes(&got)));
	assert_true(round > 2); /* commits went on, */
	assert_true(held > 0);  /* until the map was full of old pages, */
	kv_export_close(ex);
	commit(f); /* and go on once it may grow */
	kv_check(f->kv);
	pk_buf_release(&want);
	pk_buf_release(&got);
}

static void test_exports_are_counted(void **state)
{
	struct fix *f = *state;
	struct kv_export *open[KV_EXPORTS_MAX];

	for (int i = 0; i < KV_EXPORTS_MAX; i++) {
		open[i] = kv_export_open(f->kv);
		assert_non_null(open[i]);
	}
	assert_null(kv_export_open(f->kv));
	for (int i = 0; i < KV_EXPORTS_MAX; i++)
		kv_export_close(open[i]);
	kv_export_close(kv_export_open(f->kv));
}

static void expect_refused(struct pk_bytes chunk, const char *text)
{
	struct pk_err err = PK_ERR_INIT;
	struct kv_import *im;
	struct target t;

	target_make(&t);
	assert_int_equal(kv_import_open(&im, &t.cfg, &err), 0);
	assert_int_equal(kv_import_add(im, chunk, &err), PK_EPROTO);
	assert_non_null(strstr(err.text, text));
	assert_int_equal(kv_import_add(im, PK_BYTES_NONE, &err), PK_ESTATE);
	assert_int_equal(kv_import_finish(im, &err), PK_ESTATE);
	remove_dir(t.dir);
}

static void test_malformed_chunks_are_refused(void **state)
{
	(void)state;
	uint8_t good[] = { 1, 0, 1, 0, 0, 0, 'b', '1', 1, 0, 0, 0, 0, 0, 'c' };
	for (size_t len = 1; len < sizeof(good); len++)
		if (len != 8)
			expect_refused(pk_bytes(good, len), "cut short");
	good[14] = 'b';
	expect_refused(pk_bytes(good, sizeof(good)), "not above");
	good[14] = 'a';
	expect_refused(pk_bytes(good, sizeof(good)), "not above");
	uint8_t no_key[] = { 0, 0, 1, 0, 0, 0, '1' };
	expect_refused(pk_bytes(no_key, sizeof(no_key)), "key of 0");
	uint8_t long_key[6 + 512] = { 0, 2 };
	expect_refused(pk_bytes(long_key, sizeof(long_key)), "key of 512");
	uint8_t huge[] = { 1, 0, 0xff, 0xff, 0xff, 0xff, 'a', 0 };
	expect_refused(pk_bytes(huge, sizeof(huge)), "cut short");
}

static void test_keys_must_rise_from_chunk_to_chunk(void **state)
{
	(void)state;
	struct pk_err err = PK_ERR_INIT;
	struct kv_import *im;
	struct target t;
	const uint8_t chunk[] = { 1, 0, 0, 0, 0, 0, 'b' };

	target_make(&t);
	assert_int_equal(kv_import_open(&im, &t.cfg, &err), 0);
	assert_int_equal(kv_import_add(im, pk_bytes(chunk, sizeof(chunk)), &err), 0);
	assert_int_equal(kv_import_add(im, pk_bytes(chunk, sizeof(chunk)), &err), PK_EPROTO);
	kv_import_drop(im);
	assert_int_equal(kv_import_open(&im, &t.cfg, &err), PK_EEXIST);
	remove_dir(t.dir);
}

static void test_an_import_beyond_the_most_of_its_map_is_refused(void **state)
{
	(void)state;
	struct pk_err err = PK_ERR_INIT;
	struct kv_import *im;
	struct target t;
	struct pk_buf chunk = PK_BUF_INIT;
	int rc = 0;

	target_make(&t);
	t.cfg.map_bytes_most = 4 << 20;
	assert_int_equal(kv_import_open(&im, &t.cfg, &err), 0);
	for (uint32_t n = 0; rc == 0 && n < 200; n++) {
		pk_buf_clear(&chunk);
		pk_buf_add_le16(&chunk, 4);
		pk_buf_add_le32(&chunk, 100000);
		pk_buf_add_be32(&chunk, n);
		memset(pk_buf_grow(&chunk, 100000), 'v', 100000);
		rc = kv_import_add(im, pk_buf_bytes(&chunk), &err);
	}
	assert_int_equal(rc, PK_ENOSPC);
	assert_int_equal(kv_import_finish(im, &err), PK_ESTATE);
	remove_dir(t.dir);
	pk_buf_release(&chunk);
}

struct finishing {
	struct kv_import *im;
	struct pk_err err;
	int rc;
};

static void *finish_elsewhere(void *arg)
{
	struct finishing *f = arg;

	f->rc = kv_import_finish(f->im, &f->err);
	return NULL;
}

#define HOLES 4096

/* Whoever still writes to memory that was unmapped shall not meet something new there by luck. */
static void fill_holes(void **holes)
{
	for (int i = 0; i < HOLES; i++) {
		holes[i] = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		assert_true(holes[i] != MAP_FAILED);
	}
}

/* As the server does it: chunks come in on the loop, the end blocks and so runs in the pool. */
static void test_an_import_may_end_on_another_thread_than_it_began(void **state)
{
	struct pk_buf chunk = PK_BUF_INIT;
	struct finishing end = { .err = PK_ERR_INIT };
	struct target t;
	pthread_t thread;
	struct pk_bytes val;
	static void *holes[HOLES];

	(void)state;
	target_make(&t);
	assert_int_equal(kv_import_open(&end.im, &t.cfg, &end.err), 0);
	pk_buf_add_le16(&chunk, 3);
	pk_buf_add_le32(&chunk, 5);
	pk_buf_add_str(&chunk, "keyvalue");
	assert_int_equal(kv_import_add(end.im, pk_buf_bytes(&chunk), &end.err), 0);
	assert_int_equal(pthread_create(&thread, NULL, finish_elsewhere, &end), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(end.rc, 0);
	fill_holes(holes);

	struct fix to = { .cfg = t.cfg };
	fix_open(&to);
	assert_int_equal(kv_get(to.kv, pk_bytes_str("key"), &val), 1);
	assert_true(pk_bytes_is(val, "value"));
	kv_put(to.kv, pk_bytes_str("next"), pk_bytes_str("one"));
	commit(&to);
	kv_close(to.kv);
	for (int i = 0; i < HOLES; i++)
		assert_int_equal(munmap(holes[i], 4096), 0);
	remove_dir(t.dir);
	pk_buf_release(&chunk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(test_what_is_exported_and_imported_is_the_same_and_writable),
		T(test_an_export_holds_one_record_at_least_and_the_bound_else),
		T(test_an_export_is_its_snapshot_while_commits_go_on),
		T(test_exports_are_counted),
		cmocka_unit_test(test_malformed_chunks_are_refused),
		cmocka_unit_test(test_keys_must_rise_from_chunk_to_chunk),
		cmocka_unit_test(test_an_import_beyond_the_most_of_its_map_is_refused),
		cmocka_unit_test(test_an_import_may_end_on_another_thread_than_it_began),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
