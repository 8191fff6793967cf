/* clang-format off */
#include "tests/lib/test.h"
/* clang-format on */

#include "base/mem.h"
#include "base/rng.h"
#include "zkproto/frame.h"

static void add_frame(struct pk_buf *b, const char *text)
{
	size_t at = zk_frame_begin(b);

	pk_buf_add_str(b, text);
	zk_frame_end(b, at);
}

static void test_whole_frames_are_handed_out_where_they_lie(void **state)
{
	(void)state;
	struct zk_frame f;
	struct pk_buf in = PK_BUF_INIT;
	struct pk_bytes body;
	struct pk_err err = PK_ERR_INIT;

	zk_frame_init(&f, 100);
	add_frame(&in, "one");
	add_frame(&in, "");
	add_frame(&in, "three");
	zk_frame_feed(&f, pk_buf_bytes(&in));
	assert_int_equal(zk_frame_next(&f, &body, &err), 1);
	assert_true(pk_bytes_is(body, "one"));
	assert_ptr_equal(body.data, in.data + 4);
	assert_int_equal(zk_frame_next(&f, &body, &err), 1);
	assert_int_equal(body.len, 0);
	assert_int_equal(zk_frame_next(&f, &body, &err), 1);
	assert_true(pk_bytes_is(body, "three"));
	assert_int_equal(zk_frame_next(&f, &body, &err), 0);
	assert_int_equal(zk_frame_held_bytes(&f), 0);
	zk_frame_release(&f);
	pk_buf_release(&in);
}

static void test_a_stream_cut_anywhere_gives_the_same_frames(void **state)
{
	(void)state;
	static const char *const texts[] = { "a", "", "bcdefghijklm", "nop", "qrstuvwxyz" };
	struct pk_buf in = PK_BUF_INIT;
	struct pk_err err = PK_ERR_INIT;

	for (size_t i = 0; i < PK_COUNT(texts); i++)
		add_frame(&in, texts[i]);
	for (size_t step = 1; step <= in.len; step++) {
		struct zk_frame f;
		struct pk_bytes body;
		size_t seen = 0;

		zk_frame_init(&f, 100);
		for (size_t at = 0; at < in.len; at += step) {
			size_t len = in.len - at < step ? in.len - at : step;
			uint8_t *piece = pk_memdup(in.data + at, len);

			zk_frame_feed(&f, pk_bytes(piece, len));
			while (zk_frame_next(&f, &body, &err) == 1)
				assert_true(pk_bytes_is(body, texts[seen++]));
			free(piece); /* nothing may be borrowed from it any more */
		}
		assert_int_equal(seen, PK_COUNT(texts));
		assert_int_equal(zk_frame_held_bytes(&f), 0);
		zk_frame_release(&f);
	}
	pk_buf_release(&in);
}

static void test_held_bytes_go_on_after_the_caller_paused(void **state)
{
	(void)state;
	struct zk_frame f;
	struct pk_buf in = PK_BUF_INIT;
	struct pk_bytes body;
	struct pk_err err = PK_ERR_INIT;

	zk_frame_init(&f, 100);
	add_frame(&in, "first");
	add_frame(&in, "second");
	add_frame(&in, "third");
	size_t cut = in.len - 2;
	zk_frame_feed(&f, pk_bytes(in.data, cut));
	assert_int_equal(zk_frame_next(&f, &body, &err), 1);
	zk_frame_hold(&f);
	assert_int_equal(zk_frame_pending_bytes(&f), cut - 9);
	zk_frame_feed(&f, pk_bytes(in.data + cut, 2));
	assert_int_equal(zk_frame_next(&f, &body, &err), 1);
	assert_true(pk_bytes_is(body, "second"));
	assert_int_equal(zk_frame_next(&f, &body, &err), 1);
	assert_true(pk_bytes_is(body, "third"));
	assert_int_equal(zk_frame_next(&f, &body, &err), 0);
	assert_int_equal(zk_frame_held_bytes(&f), 0);
	zk_frame_release(&f);
	pk_buf_release(&in);
}

static void test_lengths_over_the_limit_or_negative_end_the_stream(void **state)
{
	(void)state;
	static const uint8_t over[] = { 0, 0, 0, 101 }, negative[] = { 0xff, 0xff, 0xff, 0xff };
	static const uint8_t limit[] = { 0, 0, 0, 100 };
	struct zk_frame f;
	struct pk_bytes body;
	struct pk_err err = PK_ERR_INIT;

	zk_frame_init(&f, 100);
	zk_frame_feed(&f, pk_bytes(over, 4));
	assert_int_equal(zk_frame_next(&f, &body, &err), PK_ELIMIT);
	assert_string_equal(err.text, "frame of 101 bytes, the limit is 100");
	zk_frame_release(&f);

	zk_frame_init(&f, 100);
	zk_frame_feed(&f, pk_bytes(negative, 4));
	assert_int_equal(zk_frame_next(&f, &body, &err), PK_ELIMIT);
	zk_frame_release(&f);

	zk_frame_init(&f, 100);
	zk_frame_feed(&f, pk_bytes(limit, 4));
	assert_int_equal(zk_frame_next(&f, &body, &err), 0);
	zk_frame_release(&f);
}

static void test_memory_follows_what_came_not_what_was_promised(void **state)
{
	(void)state;
	static const uint8_t promise[] = { 0, 0x0f, 0xff, 0xff, 'x' };
	struct zk_frame f;
	struct pk_bytes body;
	struct pk_err err = PK_ERR_INIT;

	zk_frame_init(&f, 0xfffff);
	zk_frame_feed(&f, pk_bytes(promise, sizeof(promise)));
	assert_int_equal(zk_frame_next(&f, &body, &err), 0);
	assert_true(zk_frame_held_bytes(&f) <= 64);
	zk_frame_release(&f);
}

static void test_words_are_known_by_their_first_four_bytes(void **state)
{
	(void)state;
	struct zk_frame f;
	struct pk_bytes taken;
	static const uint8_t connect[] = { 0, 0, 0, 44, 0 };

	zk_frame_init(&f, 100);
	zk_frame_feed(&f, pk_bytes("ru", 2));
	assert_int_equal(zk_frame_word(&f), ZK_WORD_MORE);
	zk_frame_feed(&f, pk_bytes("ok\n", 3));
	assert_int_equal(zk_frame_word(&f), ZK_WORD_RUOK);
	assert_true(zk_frame_take(&f, 4, &taken));
	assert_true(pk_bytes_is(taken, "ruok"));
	assert_false(zk_frame_take(&f, 8, &taken));
	zk_frame_release(&f);

	zk_frame_init(&f, 100);
	zk_frame_feed(&f, pk_bytes(connect, sizeof(connect)));
	assert_int_equal(zk_frame_word(&f), ZK_WORD_NONE);
	zk_frame_release(&f);
	assert_string_equal(zk_word_name(ZK_WORD_MNTR), "mntr");
	assert_null(zk_word_name(ZK_WORD_NONE));
	assert_int_equal(zk_word_parse(pk_bytes_str("ruo")), ZK_WORD_NONE);
}

static void test_random_cuts_holds_and_frames_agree_with_a_plain_split(void **state)
{
	(void)state;
	struct pk_rng rng;

	pk_rng_seed(&rng, 7);
	for (int round = 0; round < 300; round++) {
		struct pk_buf in = PK_BUF_INIT, want = PK_BUF_INIT, got = PK_BUF_INIT;
		struct pk_err err = PK_ERR_INIT;
		struct pk_bytes body;
		struct zk_frame f;
		int rc;

		for (uint64_t i = pk_rng_below(&rng, 12); i > 0; i--) {
			size_t at = zk_frame_begin(&in), len = pk_rng_below(&rng, 90);

			pk_rng_fill(&rng, pk_buf_grow(&in, len), len);
			zk_frame_end(&in, at);
			pk_buf_add(&want, in.data + at + 4, len);
			pk_buf_add_u8(&want, '|');
		}
		zk_frame_init(&f, 90);
		for (size_t at = 0; at < in.len;) {
			size_t len = 1 + pk_rng_below(&rng, 60);

			if (len > in.len - at)
				len = in.len - at;
			uint8_t *piece = pk_memdup(in.data + at, len);
			zk_frame_feed(&f, pk_bytes(piece, len));
			while ((rc = zk_frame_next(&f, &body, &err)) == 1) {
				pk_buf_add_bytes(&got, body);
				pk_buf_add_u8(&got, '|');
				if (pk_rng_chance(&rng, 200000)) {
					zk_frame_hold(&f);
					break;
				}
			}
			free(piece);
			at += len;
		}
		while (zk_frame_next(&f, &body, &err) == 1) {
			pk_buf_add_bytes(&got, body);
			pk_buf_add_u8(&got, '|');
		}
		assert_true(pk_bytes_eq(pk_buf_bytes(&want), pk_buf_bytes(&got)));
		assert_int_equal(zk_frame_held_bytes(&f), 0);
		zk_frame_release(&f);
		pk_buf_release(&in);
		pk_buf_release(&want);
		pk_buf_release(&got);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole_frames_are_handed_out_where_they_lie),
		cmocka_unit_test(test_a_stream_cut_anywhere_gives_the_same_frames),
		cmocka_unit_test(test_held_bytes_go_on_after_the_caller_paused),
		cmocka_unit_test(test_lengths_over_the_limit_or_negative_end_the_stream),
		cmocka_unit_test(test_memory_follows_what_came_not_what_was_promised),
		cmocka_unit_test(test_words_are_known_by_their_first_four_bytes),
		cmocka_unit_test(test_random_cuts_holds_and_frames_agree_with_a_plain_split),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
