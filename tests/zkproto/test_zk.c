/* clang-format off */
#include "tests/lib/test.h"
/* clang-format on */

#include "zkproto/zk.h"

static void test_opcodes_have_the_numbers_that_clients_send(void **state)
{
	(void)state;
	static const struct {
		int32_t opcode;
		const char *name;
	} want[] = {
		{ 1, "create" },         { 9, "sync" },       { 11, "ping" },
		{ 14, "multi" },         { 22, "multiRead" }, { 100, "auth" },
		{ 105, "setWatches2" },  { 107, "whoAmI" },   { -10, "createSession" },
		{ -11, "closeSession" }, { -1, "error" },
	};
	for (size_t i = 0; i < PK_COUNT(want); i++) {
		int32_t opcode = 0;

		assert_string_equal(zk_opcode_name(want[i].opcode), want[i].name);
		assert_true(zk_opcode_parse(want[i].name, &opcode));
		assert_int_equal(opcode, want[i].opcode);
	}
}

static void test_numbers_between_the_opcodes_are_none(void **state)
{
	(void)state;
	static const int32_t none[] = { 10, 23, 99, 108, -2, -12, INT32_MAX, INT32_MIN };
	int32_t opcode = 77;

	for (size_t i = 0; i < PK_COUNT(none); i++) {
		assert_null(zk_opcode_name(none[i]));
		assert_int_equal(zk_opcode_class(none[i]), ZK_CLASS_NONE);
	}
	assert_false(zk_opcode_parse("createsession", &opcode));
	assert_int_equal(opcode, 77);
}

static void test_classes_tell_writes_from_reads(void **state)
{
	(void)state;
	assert_int_equal(zk_opcode_class(ZK_OP_CREATE_TTL), ZK_CLASS_WRITE);
	assert_int_equal(zk_opcode_class(ZK_OP_CLOSE_SESSION), ZK_CLASS_WRITE);
	assert_int_equal(zk_opcode_class(ZK_OP_GET_CHILDREN2), ZK_CLASS_READ);
	assert_int_equal(zk_opcode_class(ZK_OP_PING), ZK_CLASS_CONN);
	assert_int_equal(zk_opcode_class(ZK_OP_CREATE_SESSION), ZK_CLASS_INTERNAL);
}

static void test_errors_have_names_and_texts(void **state)
{
	(void)state;
	assert_string_equal(zk_error_name(0), "Ok");
	assert_string_equal(zk_error_name(-101), "NoNode");
	assert_string_equal(zk_error_name(-112), "SessionExpired");
	assert_string_equal(zk_error_name(-127), "ThrottledOp");
	assert_string_equal(zk_error_name(-126), "Unknown");
	assert_string_equal(zk_error_text(-110), "the node exists already");
	assert_true(zk_error_known(-124));
	assert_false(zk_error_known(-9));
}

static void test_events_and_states_are_spelled_as_java_does(void **state)
{
	(void)state;
	assert_string_equal(zk_event_name(ZK_EVENT_CHILDREN_CHANGED), "NodeChildrenChanged");
	assert_string_equal(zk_event_name(ZK_EVENT_NONE), "None");
	assert_string_equal(zk_event_name(0), "Unknown");
	assert_string_equal(zk_state_name(ZK_STATE_CONNECTED), "SyncConnected");
	assert_string_equal(zk_state_name(ZK_STATE_EXPIRED), "Expired");
	assert_string_equal(zk_state_name(2), "Unknown");
}

static void test_create_modes_know_what_they_are(void **state)
{
	(void)state;
	assert_true(zk_create_mode_valid(6));
	assert_false(zk_create_mode_valid(7));
	assert_false(zk_create_mode_valid(-1));
	for (int32_t mode = 0; mode <= 6; mode++) {
		assert_int_equal(zk_create_mode_ephemeral(mode), mode == 1 || mode == 3);
		assert_int_equal(zk_create_mode_sequential(mode),
				 mode == 2 || mode == 3 || mode == 6);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_opcodes_have_the_numbers_that_clients_send),
		cmocka_unit_test(test_numbers_between_the_opcodes_are_none),
		cmocka_unit_test(test_classes_tell_writes_from_reads),
		cmocka_unit_test(test_errors_have_names_and_texts),
		cmocka_unit_test(test_events_and_states_are_spelled_as_java_does),
		cmocka_unit_test(test_create_modes_know_what_they_are),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
