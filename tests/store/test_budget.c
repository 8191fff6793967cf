#include "tests/lib/test.h"

#include "store/budget.h"

#define MIB UINT64_C(1048576)

static struct budget of(uint64_t memory_bytes)
{
	struct store_config cfg;

	store_config_init(&cfg);
	struct budget b = budget_of(&cfg, memory_bytes);
	store_config_release(&cfg);
	return b;
}

static void test_a_large_machine_gets_the_most_of_each(void **state)
{
	(void)state;
	struct budget b = of(UINT64_C(64) << 30);

	assert_int_equal(b.commit_pages_bytes, 512 * MIB);
	assert_int_equal(b.waiting_bytes, 2048 * MIB);
	assert_int_equal(b.snapshot_log_bytes, 64 * MIB);
	assert_int_equal(b.fetch_log_bytes, 512 * MIB);
	assert_int_equal(b.backlog_bytes, 64 * MIB);
	assert_int_equal(b.reply_queues_bytes, 256 * MIB);
}

static void test_parts_leave_room_whatever_the_limit(void **state)
{
	(void)state;
	for (uint64_t memory = 128 * MIB; memory <= 4096 * MIB; memory += 61 * MIB) {
		struct budget b = of(memory);

		assert_int_equal(b.commit_pages_bytes, memory / 16);
		assert_true(b.waiting_bytes + b.fetch_log_bytes + b.backlog_bytes +
				    b.reply_queues_bytes <=
			    memory / 16 * 11 + 16);
		assert_true(b.fetch_log_bytes >= b.snapshot_log_bytes);
	}
}

static void test_below_a_hundred_megabytes_parts_shrink_no_more(void **state)
{
	(void)state;
	struct budget b = of(16 * MIB);

	assert_int_equal(b.commit_pages_bytes, 8 * MIB);
	assert_int_equal(b.waiting_bytes, 32 * MIB);
	assert_int_equal(b.snapshot_log_bytes, 4 * MIB);
	assert_int_equal(b.fetch_log_bytes, 4 * MIB);
	assert_int_equal(b.backlog_bytes, 4 * MIB);
	assert_int_equal(b.reply_queues_bytes, 8 * MIB);
}

static void test_what_the_configuration_says_counts(void **state)
{
	(void)state;
	struct store_config cfg;

	store_config_init(&cfg);
	cfg.commit_pages_bytes = (int64_t)(100 * MIB);
	cfg.snapshot_log_bytes = (int64_t)(200 * MIB);
	cfg.reply_queues_bytes_max = (int64_t)(300 * MIB);
	struct budget b = budget_of(&cfg, 512 * MIB);
	store_config_release(&cfg);
	assert_int_equal(b.commit_pages_bytes, 100 * MIB);
	assert_int_equal(b.waiting_bytes, 400 * MIB);
	assert_int_equal(b.snapshot_log_bytes, 200 * MIB);
	assert_int_equal(b.fetch_log_bytes, 200 * MIB);
	assert_int_equal(b.reply_queues_bytes, 300 * MIB);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_large_machine_gets_the_most_of_each),
		cmocka_unit_test(test_parts_leave_room_whatever_the_limit),
		cmocka_unit_test(test_below_a_hundred_megabytes_parts_shrink_no_more),
		cmocka_unit_test(test_what_the_configuration_says_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
