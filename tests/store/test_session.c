#include "tests/lib/test.h"

#include "store/session.h"

struct heard {
	uint64_t ids[16];
	size_t count;
};

static void note(void *arg, uint64_t id, uint64_t gen)
{
	struct heard *h = arg;

	assert_int_equal(gen, 7);
	assert_in_range(h->count, 0, 15);
	h->ids[h->count++] = id;
}

static void test_silent_session_is_named_after_its_timeout_rounded_up(void **state)
{
	(void)state;
	struct session_clock *c = session_clock_new(2000);
	struct heard h = { 0 };

	session_clock_put(c, 1, 7, 4000, 1000);
	session_clock_tick(c, 5999, note, &h);
	assert_int_equal(h.count, 0);
	session_clock_tick(c, 6000, note, &h); /* (1000 + 4000) up to the next tick */
	assert_int_equal(h.count, 1);
	session_clock_free(c);
}

static void test_touched_session_lives_on(void **state)
{
	(void)state;
	struct session_clock *c = session_clock_new(1000);
	struct heard h = { 0 };

	session_clock_put(c, 1, 7, 4000, 0);
	session_clock_put(c, 2, 7, 4000, 0);
	session_clock_touch(c, 2, 3500);
	session_clock_touch(c, 99, 3500); /* unknown: nothing */
	session_clock_tick(c, 5000, note, &h);
	assert_int_equal(h.count, 1);
	assert_int_equal(h.ids[0], 1);
	session_clock_tick(c, 8000, note, &h);
	assert_int_equal(h.count, 2);
	assert_int_equal(h.ids[1], 2);
	session_clock_free(c);
}

static void test_named_again_only_after_another_timeout(void **state)
{
	(void)state;
	struct session_clock *c = session_clock_new(1000);
	struct heard h = { 0 };

	session_clock_put(c, 1, 7, 4000, 0);
	session_clock_tick(c, 5000, note, &h);
	session_clock_tick(c, 9000, note, &h);
	assert_int_equal(h.count, 1);
	session_clock_tick(c, 10000, note, &h);
	assert_int_equal(h.count, 2);
	session_clock_free(c);
}

static void test_removed_session_is_never_named(void **state)
{
	(void)state;
	struct session_clock *c = session_clock_new(1000);
	struct heard h = { 0 };

	for (uint64_t id = 1; id <= 5; id++)
		session_clock_put(c, id, 7, 4000, 0);
	session_clock_remove(c, 3);
	session_clock_tick(c, 100000, note, &h);
	assert_int_equal(h.count, 4);
	assert_int_equal(session_clock_count(c), 4);
	session_clock_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_silent_session_is_named_after_its_timeout_rounded_up),
		cmocka_unit_test(test_touched_session_lives_on),
		cmocka_unit_test(test_named_again_only_after_another_timeout),
		cmocka_unit_test(test_removed_session_is_never_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
