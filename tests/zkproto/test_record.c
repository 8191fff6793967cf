/* clang-format off */
#include "tests/lib/test.h"
/* clang-format on */

#include "tests/zkproto/random_record.h"

#include "zkproto/zk.h"

#define ROUNDS 200

/* Value -> bytes -> value -> bytes: the two byte strings are one, and every shorter input is
 * refused (but one that only lacks the optional last byte). */
#define F(type, name)
#define O(name) optional = 1;
#define RECORD(record, fields)                                                                     \
	static void test_##record##_survives_the_wire(void **state)                                \
	{                                                                                          \
		(void)state;                                                                       \
		static struct arena a;                                                             \
		struct pk_buf once = PK_BUF_INIT, twice = PK_BUF_INIT;                             \
		size_t optional = 0;                                                               \
		fields pk_rng_seed(&a.rng, 20240611);                                              \
		for (int i = 0; i < ROUNDS; i++) {                                                 \
			struct zk_##record in = random_##record(&a), out, untouched;               \
                                                                                                   \
			pk_buf_clear(&once);                                                       \
			pk_buf_clear(&twice);                                                      \
			zk_##record##_encode(&once, &in);                                          \
			struct zk_rd r = zk_rd(pk_buf_bytes(&once));                               \
			assert_int_equal(zk_##record##_decode(&r, &out), 0);                       \
			assert_int_equal(r.in.len, 0);                                             \
			zk_##record##_encode(&twice, &out);                                        \
			assert_int_equal(once.len, twice.len);                                     \
			assert_memory_equal(once.data, twice.data, once.len);                      \
			memset(&untouched, 0x5a, sizeof(untouched));                               \
			for (size_t cut = 0; cut + optional < once.len; cut++) {                   \
				r = zk_rd(pk_bytes(once.data, cut));                               \
				assert_int_equal(zk_##record##_decode(&r, &untouched), PK_EPROTO); \
			}                                                                          \
			for (size_t b = 0; b < sizeof(untouched); b++)                             \
				assert_int_equal(((uint8_t *)&untouched)[b], 0x5a);                \
			arena_release(&a);                                                         \
		}                                                                                  \
		pk_buf_release(&once);                                                             \
		pk_buf_release(&twice);                                                            \
	}
#include "zkproto/records.tbl"
#undef RECORD
#undef O
#undef F

static void test_a_missing_read_only_byte_is_told_from_false(void **state)
{
	(void)state;
	struct zk_connect_req req = { .password = pk_bytes_str("") }, out;
	struct pk_buf b = PK_BUF_INIT;

	zk_connect_req_encode(&b, &req);
	struct zk_rd r = zk_rd(pk_buf_bytes(&b));
	assert_int_equal(zk_connect_req_decode(&r, &out), 0);
	assert_false(out.has_read_only);
	zk_wr_bool(&b, false);
	r = zk_rd(pk_buf_bytes(&b));
	assert_int_equal(zk_connect_req_decode(&r, &out), 0);
	assert_true(out.has_read_only);
	assert_false(out.read_only);
	pk_buf_release(&b);
}

static void test_null_and_empty_buffers_differ(void **state)
{
	(void)state;
	static const uint8_t null_path[] = { 0xff, 0xff, 0xff, 0xff };
	static const uint8_t empty_path[] = { 0, 0, 0, 0 };
	struct zk_path_req out;

	struct zk_rd r = zk_rd(pk_bytes(null_path, 4));
	assert_int_equal(zk_path_req_decode(&r, &out), 0);
	assert_null(out.path.data);
	r = zk_rd(pk_bytes(empty_path, 4));
	assert_int_equal(zk_path_req_decode(&r, &out), 0);
	assert_non_null(out.path.data);
	assert_int_equal(out.path.len, 0);
}

static void test_lengths_below_minus_one_are_refused(void **state)
{
	(void)state;
	static const uint8_t bytes[] = { 0xff, 0xff, 0xff, 0xfe, 'a', 'b' };
	struct zk_path_req out;
	struct zk_rd r = zk_rd(pk_bytes(bytes, sizeof(bytes)));

	assert_int_equal(zk_path_req_decode(&r, &out), PK_EPROTO);
}

static void test_counts_that_cannot_fit_are_refused_before_walking(void **state)
{
	(void)state;
	static const uint8_t bytes[] = { 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0 };
	struct zk_rd r = zk_rd(pk_bytes(bytes, sizeof(bytes)));

	struct zk_strings v = zk_rd_strings(&r);
	assert_true(r.bad);
	assert_int_equal(v.count, 0);
}

static void test_a_count_below_minus_one_is_an_empty_vector_as_in_java(void **state)
{
	(void)state;
	static const uint8_t bytes[] = { 0xff, 0xff, 0xff, 0xfe, 0, 0, 0, 7 };
	struct zk_rd r = zk_rd(pk_bytes(bytes, sizeof(bytes)));

	struct zk_acls v = zk_rd_acls(&r);
	assert_false(r.bad);
	assert_false(v.is_null);
	assert_int_equal(v.count, 0);
	assert_int_equal(zk_rd_int(&r), 7);
}

static void test_trailing_bytes_stay_in_the_reader(void **state)
{
	(void)state;
	static const uint8_t bytes[] = { 0, 0, 0, 1, '/', 0, 0, 0, 9, 0xee };
	struct zk_delete_req out;
	struct zk_rd r = zk_rd(pk_bytes(bytes, sizeof(bytes)));

	assert_int_equal(zk_delete_req_decode(&r, &out), 0);
	assert_int_equal(out.version, 9);
	assert_int_equal(r.in.len, 1);
}

static void test_a_reader_that_went_bad_stays_bad(void **state)
{
	(void)state;
	static const uint8_t bytes[] = { 1, 2, 3 };
	struct zk_rd r = zk_rd(pk_bytes(bytes, sizeof(bytes)));

	assert_int_equal(zk_rd_int(&r), 0);
	assert_true(r.bad);
	assert_false(zk_rd_bool(&r));
	assert_int_equal(zk_rd_long(&r), 0);
	assert_null(zk_rd_buffer(&r).data);
	assert_true(r.bad);
}

static void test_vectors_are_walked_item_by_item(void **state)
{
	(void)state;
	struct pk_buf items = PK_BUF_INIT;
	struct zk_acl one = { ZK_PERM_READ, pk_bytes_str("world"), pk_bytes_str("anyone") };
	struct zk_acl two = { ZK_PERM_ALL, pk_bytes_str("digest"), pk_bytes_str("u:x") }, got;

	zk_acl_encode(&items, &one);
	zk_acl_encode(&items, &two);
	struct zk_acls v = { .count = 2, .raw = pk_buf_bytes(&items) };
	assert_true(zk_acls_next(&v, &got));
	assert_int_equal(got.perms, ZK_PERM_READ);
	assert_true(pk_bytes_is(got.id, "anyone"));
	assert_true(zk_acls_next(&v, &got));
	assert_true(pk_bytes_is(got.scheme, "digest"));
	assert_false(zk_acls_next(&v, &got));
	pk_buf_release(&items);
}

static void test_the_three_common_acls_say_what_they_should(void **state)
{
	(void)state;
	struct zk_acls lists[] = { zk_acls_open(), zk_acls_read(), zk_acls_creator() };
	static const int32_t perms[] = { 31, 1, 31 };
	static const char *const schemes[] = { "world", "world", "auth" };
	static const char *const ids[] = { "anyone", "anyone", "" };

	for (size_t i = 0; i < 3; i++) {
		struct zk_acl acl;

		assert_true(zk_acls_next(&lists[i], &acl));
		assert_int_equal(acl.perms, perms[i]);
		assert_true(pk_bytes_is(acl.scheme, schemes[i]));
		assert_true(pk_bytes_is(acl.id, ids[i]));
		assert_int_equal(lists[i].raw.len, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define F(type, name)
#define O(name)
#define RECORD(record, fields) cmocka_unit_test(test_##record##_survives_the_wire),
#include "zkproto/records.tbl"
#undef RECORD
#undef O
#undef F
		cmocka_unit_test(test_a_missing_read_only_byte_is_told_from_false),
		cmocka_unit_test(test_null_and_empty_buffers_differ),
		cmocka_unit_test(test_lengths_below_minus_one_are_refused),
		cmocka_unit_test(test_counts_that_cannot_fit_are_refused_before_walking),
		cmocka_unit_test(test_a_count_below_minus_one_is_an_empty_vector_as_in_java),
		cmocka_unit_test(test_trailing_bytes_stay_in_the_reader),
		cmocka_unit_test(test_a_reader_that_went_bad_stays_bad),
		cmocka_unit_test(test_vectors_are_walked_item_by_item),
		cmocka_unit_test(test_the_three_common_acls_say_what_they_should),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
