#include "tests/lib/test.h"

#include <stdio.h>

#include "jepsen/rules.h"
#include "jepsen/workload.h"

/* Each rule is kept by a good run, and broken by one that is wrong in one place. */

#define S(text) pk_bytes_str(text)

enum { BANK, LOCK, ELECTION, QUEUE, COUNTER };

static struct rule_result result_of(struct rules *r, size_t index)
{
	struct rule_result out;

	assert_true(rules_result(r, index, &out));
	return out;
}

static void expect(struct rules *r, size_t index, uint64_t checked, uint64_t broken)
{
	struct rule_result got = result_of(r, index);

	assert_int_equal(got.checked, checked);
	assert_int_equal(got.broken, broken);
	assert_int_equal(strlen(got.first) > 0, broken > 0);
	rules_free(r);
}

static void bank_read(struct rules *r, int64_t first)
{
	struct hist_part asked[WORKLOAD_BANK_COUNT], got[WORKLOAD_BANK_COUNT];
	char text[24];

	snprintf(text, sizeof(text), "%d", (int)first);
	for (int i = 0; i < WORKLOAD_BANK_COUNT; i++) {
		asked[i] = (struct hist_part){ .op = ZK_OP_GET_DATA, .path = S("/bank/0") };
		got[i] = (struct hist_part){ .op = ZK_OP_GET_DATA,
					     .data = i == 0 ? S(text) : S("100") };
	}
	struct hist_event invoke = { .kind = HIST_INVOKE,
				     .part.op = ZK_OP_MULTI_READ,
				     .parts = asked,
				     .part_count = WORKLOAD_BANK_COUNT };
	struct hist_event ok = { .kind = HIST_OK, .parts = got, .part_count = WORKLOAD_BANK_COUNT };
	rules_event(r, &ok, &invoke);
}

static void test_a_read_of_all_accounts_shows_the_money_there_is(void **state)
{
	struct rules *r = rules_new();

	pk_ignore(state, "no fixture");
	bank_read(r, 100);
	bank_read(r, 100);
	expect(r, BANK, 2, 0);
}

static void test_money_that_is_gone_is_told(void **state)
{
	struct rules *r = rules_new();

	pk_ignore(state, "no fixture");
	bank_read(r, 100);
	bank_read(r, 99);
	expect(r, BANK, 2, 1);
}

static void node(struct rules *r, const char *path, const char *data, int32_t version)
{
	struct hist_event e = { .kind = HIST_NODE,
				.part = { .path = S(path),
					  .data = S(data),
					  .has_stat = true,
					  .stat.version = version } };
	rules_event(r, &e, NULL);
}

static void dump(struct rules *r, const char *path)
{
	struct hist_event e = { .kind = HIST_DUMP, .part.path = S(path) };

	rules_event(r, &e, NULL);
}

static void test_a_dump_that_lacks_an_account_is_told(void **state)
{
	struct rules *r = rules_new();

	pk_ignore(state, "no fixture");
	dump(r, "/bank");
	node(r, "/bank/0", "800", 1);
	expect(r, BANK, 1, 1);
}

static void fenced(struct rules *r, int64_t mzxid, const char *fence)
{
	struct hist_part asked[] = {
		{ .op = ZK_OP_CHECK, .path = S("/lock/a-0000000001") },
		{ .op = ZK_OP_SET_DATA, .path = S("/fenced"), .data = S(fence) }
	};
	struct hist_part got[] = {
		{ .op = ZK_OP_CHECK },
		{ .op = ZK_OP_SET_DATA, .has_stat = true, .stat.mzxid = mzxid }
	};
	struct hist_event invoke = {
		.kind = HIST_INVOKE, .part.op = ZK_OP_MULTI, .parts = asked, .part_count = 2
	};
	struct hist_event ok = { .kind = HIST_OK, .parts = got, .part_count = 2 };

	rules_event(r, &ok, &invoke);
}

static void test_fences_that_rise_are_well_in_any_order_of_telling(void **state)
{
	struct rules *r = rules_new();

	pk_ignore(state, "no fixture");
	fenced(r, 7, "3");
	fenced(r, 5, "2");
	fenced(r, 6, "2");
	expect(r, LOCK, 2, 0);
}

static void test_a_write_of_an_earlier_holder_is_told(void **state)
{
	struct rules *r = rules_new();

	pk_ignore(state, "no fixture");
	fenced(r, 5, "2");
	fenced(r, 6, "3");
	fenced(r, 7, "2");
	expect(r, LOCK, 2, 1);
}

static void test_two_values_at_one_zxid_are_told(void **state)
{
	struct rules *r = rules_new();

	pk_ignore(state, "no fixture");
	fenced(r, 5, "2");
	fenced(r, 5, "3");
	expect(r, LOCK, 1, 1);
}

static void claim(struct rules *r, int32_t version)
{
	struct hist_event invoke = {
		.kind = HIST_INVOKE, .part = { .op = ZK_OP_SET_DATA, .path = S("/election/epoch") }
	};
	struct hist_event ok = { .kind = HIST_OK,
				 .part = { .has_stat = true, .stat.version = version } };

	rules_event(r, &ok, &invoke);
}

static void test_an_epoch_claimed_twice_is_told(void **state)
{
	struct rules *r = rules_new();

	pk_ignore(state, "no fixture");
	claim(r, 1);
	claim(r, 2);
	claim(r, 2);
	expect(r, ELECTION, 3, 1);
}

static void queue_put(struct rules *r, const char *path)
{
	struct hist_event invoke = { .kind = HIST_INVOKE,
				     .part = { .op = ZK_OP_CREATE2, .path = S("/queue/e-") } };
	struct hist_event ok = { .kind = HIST_OK, .part.created = S(path) };

	rules_event(r, &ok, &invoke);
}

static void queue_take(struct rules *r, const char *path, enum hist_kind kind)
{
	struct hist_event invoke = { .kind = HIST_INVOKE,
				     .part = { .op = ZK_OP_DELETE, .path = S(path) } };
	struct hist_event end = { .kind = kind };

	rules_event(r, &end, &invoke);
}

static void test_elements_taken_once_or_left_are_well(void **state)
{
	struct rules *r = rules_new();

	pk_ignore(state, "no fixture");
	queue_put(r, "/queue/e-0000000000");
	queue_put(r, "/queue/e-0000000001");
	queue_put(r, "/queue/e-0000000002");
	queue_take(r, "/queue/e-0000000000", HIST_OK);
	queue_take(r, "/queue/e-0000000000", HIST_FAIL);
	queue_take(r, "/queue/e-0000000001", HIST_INFO);
	dump(r, "/queue");
	node(r, "/queue/e-0000000002", "x", 0);
	expect(r, QUEUE, 3, 0);
}

static void test_an_element_taken_twice_is_told(void **state)
{
	struct rules *r = rules_new();

	pk_ignore(state, "no fixture");
	queue_put(r, "/queue/e-0000000000");
	queue_take(r, "/queue/e-0000000000", HIST_OK);
	queue_take(r, "/queue/e-0000000000", HIST_OK);
	expect(r, QUEUE, 1, 1);
}

static void test_an_element_that_vanished_is_told(void **state)
{
	struct rules *r = rules_new();

	pk_ignore(state, "no fixture");
	queue_put(r, "/queue/e-0000000000");
	dump(r, "/queue");
	expect(r, QUEUE, 1, 1);
}

static void test_an_element_that_came_back_is_told(void **state)
{
	struct rules *r = rules_new();

	pk_ignore(state, "no fixture");
	queue_put(r, "/queue/e-0000000000");
	queue_take(r, "/queue/e-0000000000", HIST_OK);
	dump(r, "/queue");
	node(r, "/queue/e-0000000000", "x", 0);
	expect(r, QUEUE, 1, 1);
}

static void test_a_gap_between_sequence_numbers_is_told(void **state)
{
	struct rules *r = rules_new();

	pk_ignore(state, "no fixture");
	for (int i = 0; i < 2; i++) { /* two servers, the same tree */
		dump(r, "/sequence");
		node(r, "/sequence/0/n-0000000000", "a", 0);
		node(r, "/sequence/0/n-0000000001", "b", 0);
		node(r, "/sequence/1/n-0000000000", "c", 0);
		node(r, "/sequence/1/n-0000000002", "d", 0);
	}
	expect(r, COUNTER, 2, 1);
}

static void count_up(struct rules *r, enum hist_kind kind)
{
	struct hist_event invoke = { .kind = HIST_INVOKE,
				     .part = { .op = ZK_OP_SET_DATA, .path = S("/counter") } };
	struct hist_event end = { .kind = kind };

	rules_event(r, &end, &invoke);
}

static void test_the_counter_lies_between_successes_and_what_may_have_been(void **state)
{
	struct rules *r = rules_new();

	pk_ignore(state, "no fixture");
	count_up(r, HIST_OK);
	count_up(r, HIST_OK);
	count_up(r, HIST_INFO);
	count_up(r, HIST_FAIL);
	node(r, "/counter", "3", 3);
	expect(r, COUNTER, 1, 0);
}

static void test_a_lost_count_is_told(void **state)
{
	struct rules *r = rules_new();

	pk_ignore(state, "no fixture");
	count_up(r, HIST_OK);
	count_up(r, HIST_OK);
	node(r, "/counter", "1", 1);
	expect(r, COUNTER, 1, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_read_of_all_accounts_shows_the_money_there_is),
		cmocka_unit_test(test_money_that_is_gone_is_told),
		cmocka_unit_test(test_a_dump_that_lacks_an_account_is_told),
		cmocka_unit_test(test_fences_that_rise_are_well_in_any_order_of_telling),
		cmocka_unit_test(test_a_write_of_an_earlier_holder_is_told),
		cmocka_unit_test(test_two_values_at_one_zxid_are_told),
		cmocka_unit_test(test_an_epoch_claimed_twice_is_told),
		cmocka_unit_test(test_elements_taken_once_or_left_are_well),
		cmocka_unit_test(test_an_element_taken_twice_is_told),
		cmocka_unit_test(test_an_element_that_vanished_is_told),
		cmocka_unit_test(test_an_element_that_came_back_is_told),
		cmocka_unit_test(test_a_gap_between_sequence_numbers_is_told),
		cmocka_unit_test(test_the_counter_lies_between_successes_and_what_may_have_been),
		cmocka_unit_test(test_a_lost_count_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
