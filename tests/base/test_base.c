#include "tests/lib/test.h"
#include <zlib.h>

#include "base/bytes.h"
#include "base/crc.h"
#include "base/err.h"
#include "base/rng.h"

static void test_crc32c_matches_published_vector_and_chains(void **state)
{
	(void)state;
	assert_int_equal(pk_crc32c(0, "123456789", 9),
			 0xe3069283); /* RFC 3720 appendix B.4's check value */
	assert_int_equal(pk_crc32c(pk_crc32c(0, "1234", 4), "56789", 5), 0xe3069283);
}

static void test_crc32_matches_published_vector(void **state)
{
	(void)state;
	assert_int_equal(pk_crc32(0, "123456789", 9), 0xcbf43926);
	assert_int_equal(pk_crc32(7, NULL, 0), 7);
}

static void test_crc32_is_zlibs_at_every_length_and_place(void **state)
{
	uint8_t bytes[600];
	struct pk_rng rng;

	(void)state;
	pk_rng_seed(&rng, 1);
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)pk_rng_below(&rng, 256);
	for (size_t len = 0; len <= 530; len++) {
		for (size_t at = 0; at < 17; at++) {
			uint32_t start = (uint32_t)pk_rng_next(&rng);
			uint32_t want = len > 0 ? (uint32_t)crc32_z(start, bytes + at, len) : start;

			assert_int_equal(pk_crc32(start, bytes + at, len), want);
			/* and in two parts */
			size_t cut = len / 3;
			assert_int_equal(pk_crc32(pk_crc32(start, bytes + at, cut),
						  bytes + at + cut, len - cut),
					 want);
		}
	}
}

static void test_reader_never_passes_the_end(void **state)
{
	(void)state;
	uint8_t raw[5] = { 1, 0, 0, 0, 9 };
	struct pk_rd r = { .in = pk_bytes(raw, sizeof(raw)) };

	assert_int_equal(pk_rd_le32(&r), 1);
	assert_int_equal(pk_rd_le16(&r), 0);
	assert_true(r.bad);
	assert_int_equal(pk_rd_u8(&r), 0);
}

static void test_buffer_grows_drops_and_formats(void **state)
{
	(void)state;
	struct pk_buf b = PK_BUF_INIT;

	for (int i = 0; i < 100; i++)
		pk_buf_printf(&b, "%02d,", i);
	assert_int_equal(b.len, 300);
	pk_buf_drop(&b, 297);
	assert_string_equal(pk_buf_str(&b), "99,");
	pk_buf_release(&b);
}

static void test_error_gains_context_on_its_way_up(void **state)
{
	(void)state;
	struct pk_err err = PK_ERR_INIT;

	assert_int_equal(pk_err_set(&err, PK_ECORRUPT, "want %d bytes, have %d", 24, 7),
			 PK_ECORRUPT);
	assert_int_equal(pk_err_wrap(&err, "load %s", "snap.1f"), PK_ECORRUPT);
	assert_string_equal(err.text, "load snap.1f: want 24 bytes, have 7");
}

static void test_same_seed_gives_same_numbers(void **state)
{
	(void)state;
	struct pk_rng a, b;

	pk_rng_seed(&a, 42);
	pk_rng_seed(&b, 42);
	for (int i = 0; i < 1000; i++) {
		uint64_t v = pk_rng_next(&a);
		assert_true(v == pk_rng_next(&b));
		assert_in_range(pk_rng_below(&a, 10), 0, 9);
		pk_rng_below(&b, 10);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_crc32c_matches_published_vector_and_chains),
		cmocka_unit_test(test_crc32_matches_published_vector),
		cmocka_unit_test(test_crc32_is_zlibs_at_every_length_and_place),
		cmocka_unit_test(test_reader_never_passes_the_end),
		cmocka_unit_test(test_buffer_grows_drops_and_formats),
		cmocka_unit_test(test_error_gains_context_on_its_way_up),
		cmocka_unit_test(test_same_seed_gives_same_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
