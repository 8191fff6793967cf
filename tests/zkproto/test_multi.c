/* clang-format off */
#include "tests/lib/test.h"
/* clang-format on */

#include "zkproto/multi.h"

#define S(text) pk_bytes_str(text)

static void add_check(struct pk_buf *b, const char *path)
{
	zk_multi_op_header(b, ZK_OP_CHECK);
	zk_check_req_encode(b, &(struct zk_check_req){ S(path), 4 });
}

static void add_read(struct pk_buf *b, const char *path)
{
	zk_multi_op_header(b, ZK_OP_GET_DATA);
	zk_path_watch_req_encode(b, &(struct zk_path_watch_req){ S(path), false });
}

static void test_operations_come_out_as_they_went_in(void **state)
{
	(void)state;
	struct pk_buf b = PK_BUF_INIT;
	struct zk_multi_op op = ZK_MULTI_OP_INIT;

	zk_multi_op_header(&b, ZK_OP_CREATE_TTL);
	zk_create_ttl_req_encode(&b, &(struct zk_create_ttl_req){ S("/t"), S("d"), zk_acls_open(),
								  ZK_CREATE_TTL, 99 });
	add_check(&b, "/c");
	zk_multi_end(&b);
	pk_buf_add_str(&b, "trailing");
	struct zk_rd r = zk_rd(pk_buf_bytes(&b));
	assert_int_equal(zk_multi_next(&r, &op), 1);
	assert_int_equal(op.type, ZK_OP_CREATE_TTL);
	assert_int_equal(op.index, 0);
	assert_int_equal(op.u.create_ttl.ttl_ms, 99);
	assert_int_equal(zk_multi_next(&r, &op), 1);
	assert_int_equal(op.index, 1);
	assert_true(pk_bytes_is(op.u.check.path, "/c"));
	assert_int_equal(op.body.len, 10);
	assert_int_equal(zk_multi_next(&r, &op), 0);
	pk_buf_release(&b);
}

static void test_an_empty_multi_is_fine(void **state)
{
	(void)state;
	struct pk_buf b = PK_BUF_INIT;
	struct zk_multi_op op = ZK_MULTI_OP_INIT;

	zk_multi_end(&b);
	struct zk_rd r = zk_rd(pk_buf_bytes(&b));
	assert_int_equal(zk_multi_next(&r, &op), 0);
	pk_buf_release(&b);
}

static void test_reads_among_writes_are_refused(void **state)
{
	(void)state;
	for (int first_is_read = 0; first_is_read < 2; first_is_read++) {
		struct pk_buf b = PK_BUF_INIT;
		struct zk_multi_op op = ZK_MULTI_OP_INIT;

		if (first_is_read)
			add_read(&b, "/r");
		add_check(&b, "/c");
		if (!first_is_read)
			add_read(&b, "/r");
		zk_multi_end(&b);
		struct zk_rd r = zk_rd(pk_buf_bytes(&b));
		assert_int_equal(zk_multi_next(&r, &op), 1);
		assert_int_equal(zk_multi_next(&r, &op), PK_EPROTO);
		pk_buf_release(&b);
	}
}

static void test_types_that_a_multi_cannot_carry_are_refused(void **state)
{
	(void)state;
	static const int32_t types[] = { ZK_OP_EXISTS, ZK_OP_MULTI, ZK_OP_SYNC, -1, 0, 9999 };

	for (size_t i = 0; i < PK_COUNT(types); i++) {
		struct pk_buf b = PK_BUF_INIT;
		struct zk_multi_op op = ZK_MULTI_OP_INIT;

		zk_multi_op_header(&b, types[i]);
		zk_path_watch_req_encode(&b, &(struct zk_path_watch_req){ S("/r"), false });
		zk_multi_end(&b);
		struct zk_rd r = zk_rd(pk_buf_bytes(&b));
		assert_int_equal(zk_multi_next(&r, &op), PK_EPROTO);
		pk_buf_release(&b);
	}
}

static void test_a_multi_without_its_end_is_refused(void **state)
{
	(void)state;
	struct pk_buf b = PK_BUF_INIT;

	add_check(&b, "/c");
	for (size_t cut = 0; cut <= b.len; cut++) {
		struct zk_multi_op op = ZK_MULTI_OP_INIT;
		struct zk_rd r = zk_rd(pk_bytes(b.data, cut));
		int rc;

		while ((rc = zk_multi_next(&r, &op)) == 1)
			assert_int_equal(cut, b.len);
		assert_int_equal(rc, PK_EPROTO);
	}
	pk_buf_release(&b);
}

static void test_results_come_out_as_they_went_in(void **state)
{
	(void)state;
	struct pk_buf b = PK_BUF_INIT;
	struct zk_multi_result out;

	zk_multi_result_error(&b, ZK_OK);
	zk_multi_result_error(&b, ZK_ENODEEXISTS);
	zk_multi_result_header(&b, ZK_OP_DELETE);
	zk_multi_result_header(&b, ZK_OP_CREATE);
	zk_path_resp_encode(&b, &(struct zk_path_resp){ S("/n") });
	zk_multi_end(&b);
	struct zk_rd r = zk_rd(pk_buf_bytes(&b));
	assert_int_equal(zk_multi_result_next(&r, &out), 1);
	assert_int_equal(out.type, ZK_OP_ERROR);
	assert_int_equal(out.err, 0);
	assert_int_equal(zk_multi_result_next(&r, &out), 1);
	assert_int_equal(out.err, ZK_ENODEEXISTS);
	assert_int_equal(zk_multi_result_next(&r, &out), 1);
	assert_int_equal(out.type, ZK_OP_DELETE);
	assert_int_equal(zk_multi_result_next(&r, &out), 1);
	assert_true(pk_bytes_is(out.u.create.path, "/n"));
	assert_int_equal(zk_multi_result_next(&r, &out), 0);
	pk_buf_release(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_operations_come_out_as_they_went_in),
		cmocka_unit_test(test_an_empty_multi_is_fine),
		cmocka_unit_test(test_reads_among_writes_are_refused),
		cmocka_unit_test(test_types_that_a_multi_cannot_carry_are_refused),
		cmocka_unit_test(test_a_multi_without_its_end_is_refused),
		cmocka_unit_test(test_results_come_out_as_they_went_in),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
