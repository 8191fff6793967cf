#include "tests/lib/test.h"

#include <stdlib.h>
#include <time.h>

#include "store/commands_format.h"
#include "zkproto/zk.h"

static void test_addresses_are_written_as_java_does(void **state)
{
	static const struct {
		const char *text, *want;
	} rows[] = {
		{ "127.0.0.1:4711", "127.0.0.1:4711" },
		{ "[::1]:4711", "[0:0:0:0:0:0:0:1]:4711" },
		{ "[2001:db8::ff00:42]:1", "[2001:db8:0:0:0:0:ff00:42]:1" },
		{ "[fe80::1%2]:65535", "[fe80:0:0:0:0:0:0:1%2]:65535" },
		{ "unknown", "unknown" },
		{ "[", "[" },
		{ "[nonsense]:1", "[nonsense]:1" },
		{ "[::1", "[::1" },
		{ "[1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa]:1",
		  "[1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa]:1" },
	};
	char out[COMMAND_ADDRESS_BYTES];

	(void)state;
	for (size_t i = 0; i < PK_COUNT(rows); i++)
		assert_string_equal(command_address(rows[i].text, out), rows[i].want);
}

static void test_dates_are_written_as_java_does(void **state)
{
	struct pk_buf out = PK_BUF_INIT;

	(void)state;
	assert_int_equal(setenv("TZ", "UTC", 1), 0);
	tzset();
	command_date(1795265291999, &out);
	assert_string_equal(pk_buf_str(&out), "Sat Nov 21 12:48:11 UTC 2026");
	pk_buf_clear(&out);
	command_date(86400000, &out); /* a day of one digit has its zero */
	assert_string_equal(pk_buf_str(&out), "Fri Jan 02 00:00:00 UTC 1970");
	pk_buf_release(&out);
}

static void test_operations_have_zookeepers_short_names(void **state)
{
	static const struct {
		int32_t op;
		const char *want;
	} rows[] = {
		{ ZK_OP_GET_DATA, "GETD" },
		{ ZK_OP_CREATE2, "CREA" },
		{ ZK_OP_PING, "PING" },
		{ ZK_OP_CREATE_SESSION, "SESS" },
		{ ZK_OP_MULTI, "MULT" },
		{ ZK_OP_GET_ALL_CHILDREN_NUMBER, "GETACN" },
		{ 0, "NA" },
		{ 9999, "NA" },
		{ INT32_MIN, "NA" },
	};

	(void)state;
	for (size_t i = 0; i < PK_COUNT(rows); i++)
		assert_string_equal(command_op_name(rows[i].op), rows[i].want);
}

static void test_expiry_is_rounded_to_the_next_tick(void **state)
{
	(void)state;
	assert_int_equal(command_round_up(0, 500), 500);
	assert_int_equal(command_round_up(499, 500), 500);
	assert_int_equal(command_round_up(500, 500), 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses_are_written_as_java_does),
		cmocka_unit_test(test_dates_are_written_as_java_does),
		cmocka_unit_test(test_operations_have_zookeepers_short_names),
		cmocka_unit_test(test_expiry_is_rounded_to_the_next_tick),
	};
	return cmocka_run_group_tests_name("commands", tests, NULL, NULL);
}
