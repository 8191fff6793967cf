#include "tests/lib/test.h"

#include "tests/lib/tree_fix.h"

#define GOLDEN_SESSION 72057790025891840u
#define GOLDEN_DIGEST  93655443797u

struct row {
	int32_t type;
	const char *path, *data;
	int32_t mode;
	int64_t time_ms;
};

static const struct row rows[] = {
#define ROW(type, path, data, mode, time_ms) { ZK_OP_##type, path, data, mode, time_ms },
#include "tests/store/golden_digest.tbl"
#undef ROW
};

/* A tree without the sessions that fix_setup makes: they would take zxids. */
static void start_over(struct fix *f)
{
	struct tree_config cfg = { .path_depth_max = 100 };
	struct pk_err err = PK_ERR_INIT;

	tree_close(f->t);
	assert_int_equal(tree_open(&f->t, f->kv, &cfg, &err), 0);
	f->index = 0;
}

static void fresh_kv(struct fix *f)
{
	struct pk_bytes key, val;
	struct pk_buf copy = PK_BUF_INIT;

	for (;;) {
		struct kv_cur *cur = kv_cur_open(f->kv, PK_BYTES_NONE, PK_BYTES_NONE);
		int any = kv_cur_next(cur, &key, &val);
		pk_buf_clear(&copy);
		if (any == 1)
			pk_buf_add_bytes(&copy, key);
		kv_cur_close(cur);
		if (any == 0)
			break;
		kv_del(f->kv, pk_buf_bytes(&copy));
	}
	pk_buf_release(&copy);
	start_over(f);
}

static void test_the_digest_equals_zookeepers_after_the_same_operations(void **state)
{
	struct fix *f = *state;
	uint8_t session[20] = { 0 };

	fresh_kv(f);
	assert_int_equal(op_from(f, ZK_OP_CREATE_SESSION, GOLDEN_SESSION, 0, pk_bytes(session, 20)),
			 0);
	as(f, GOLDEN_SESSION);
	for (size_t i = 0; i < PK_COUNT(rows); i++) {
		const struct row *r = &rows[i];

		f->time_ms = r->time_ms != 0 ? r->time_ms : f->time_ms;
		if (r->type == ZK_OP_CREATE)
			pk_ignore(create(f, r->path, r->data, r->mode),
				  "one of them fails there too");
		else if (r->type == ZK_OP_SET_DATA)
			assert_int_equal(set(f, r->path, r->data, r->mode), 0);
		else
			assert_int_equal(del(f, r->path, -1), 0);
	}
	assert_int_equal(tree_meta(f->t)->zxid, 128);
	assert_int_equal(tree_meta(f->t)->digest, GOLDEN_DIGEST);
}

static void test_nodes_below_zookeeper_count_only_for_the_extra_digest(void **state)
{
	struct fix *f = *state;
	struct tree_meta before = *tree_meta(f->t);

	assert_int_equal(create(f, "/zookeeper/quota/a", "1", 0), 0);
	assert_int_equal(set(f, "/zookeeper/quota/a", "2", -1), 0);
	assert_int_equal(tree_meta(f->t)->digest, before.digest);
	assert_int_not_equal(tree_meta(f->t)->extra, before.extra);
	uint64_t extra = tree_meta(f->t)->extra;
	assert_int_equal(set(f, "/zookeeper/quota/a", "3", -1), 0);
	assert_int_not_equal(tree_meta(f->t)->extra, extra);
}

static void test_an_acl_or_a_session_moves_the_extra_digest_and_back(void **state)
{
	struct fix *f = *state;
	uint8_t session[20] = { 0 };

	assert_int_equal(create(f, "/a", "1", 0), 0);
	uint64_t extra = tree_meta(f->t)->extra;
	assert_int_equal(set_acl(f, "/a", acls("1 world anyone; 16 ip 127.0.0.1"), -1), 0);
	assert_int_not_equal(tree_meta(f->t)->extra, extra);
	assert_int_equal(set_acl(f, "/a", acls("31 world anyone"), -1), 0);
	assert_int_equal(tree_meta(f->t)->extra, extra);
	assert_int_equal(op_from(f, ZK_OP_CREATE_SESSION, 77, 0, pk_bytes(session, 20)), 0);
	assert_int_not_equal(tree_meta(f->t)->extra, extra);
	assert_int_equal(op_from(f, ZK_OP_CLOSE_SESSION, 77, 1, PK_BYTES_NONE), 0);
	assert_int_equal(tree_meta(f->t)->extra, extra);
}

#define T(name) cmocka_unit_test_setup_teardown(name, fix_setup, fix_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_the_digest_equals_zookeepers_after_the_same_operations),
		T(test_nodes_below_zookeeper_count_only_for_the_extra_digest),
		T(test_an_acl_or_a_session_moves_the_extra_digest_and_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
