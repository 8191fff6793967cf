#include "tests/lib/test.h"

#include <stdio.h>

#include "tests/lib/tree_fix.h"

static struct pk_bytes session_body(int32_t timeout_ms, uint8_t password)
{
	static uint8_t body[20];

	pk_put_le32(body, (uint32_t)timeout_ms);
	memset(body + 4, password, 16);
	return pk_bytes(body, sizeof(body));
}

static void test_creating_and_closing_a_session_take_a_zxid_each(void **state)
{
	struct fix *f = *state;
	uint64_t zxid = tree_meta(f->t)->zxid;

	assert_int_equal(op_from(f, ZK_OP_CREATE_SESSION, 7, 0, session_body(4000, 9)), 0);
	assert_int_equal(f->r.zxid, zxid + 1);
	assert_int_equal(f->r.session_timeout_ms, 4000);
	assert_int_equal(op_from(f, ZK_OP_CLOSE_SESSION, 7, 1, PK_BYTES_NONE), 0);
	assert_int_equal(f->r.zxid, zxid + 2);
}

static void test_a_session_id_is_given_once(void **state)
{
	struct fix *f = *state;

	assert_int_equal(op_from(f, ZK_OP_CREATE_SESSION, ALICE, 0, session_body(1, 1)),
			 ZK_ENODEEXISTS);
	assert_int_equal(op_from(f, ZK_OP_CREATE_SESSION, 0, 0, session_body(1, 1)),
			 ZK_EBADARGUMENTS);
}

static void test_attach_wants_the_password(void **state)
{
	struct fix *f = *state;
	uint64_t zxid = tree_meta(f->t)->zxid;

	assert_int_equal(op_from(f, TXN_ATTACH, ALICE, 0, session_body(9000, 2)), ZK_EAUTHFAILED);
	assert_int_equal(op_from(f, TXN_ATTACH, 12345, 0, session_body(9000, 1)),
			 ZK_ESESSIONEXPIRED);
	assert_int_equal(op_from(f, TXN_ATTACH, ALICE, 0, session_body(9000, 1)), 0);
	assert_int_equal(f->r.session_gen, 2);
	assert_int_equal(f->r.session_timeout_ms, 9000);
	assert_int_equal(tree_meta(f->t)->zxid, zxid);
}

static void test_after_an_attach_the_old_connection_has_lost_the_session(void **state)
{
	struct fix *f = *state;
	uint64_t zxid = tree_meta(f->t)->zxid;

	assert_int_equal(op_from(f, TXN_ATTACH, ALICE, 0, session_body(9000, 1)), 0);
	assert_int_equal(create(f, "/a", "", 0), ZK_ESESSIONMOVED);
	assert_int_equal(f->r.zxid, zxid + 1);
	assert_int_equal(op(f, ZK_OP_CLOSE_SESSION, PK_BYTES_NONE), ZK_ESESSIONMOVED);
	f->gen = 2;
	assert_int_equal(create(f, "/a", "", 0), 0);
}

static void test_an_expiry_that_came_too_late_never_happened(void **state)
{
	struct fix *f = *state;
	uint64_t zxid = tree_meta(f->t)->zxid;

	assert_int_equal(op_from(f, TXN_ATTACH, ALICE, 0, session_body(9000, 1)), 0);
	assert_int_equal(op_from(f, TXN_EXPIRE, ALICE, 1, PK_BYTES_NONE), ZK_ESESSIONMOVED);
	assert_true(f->r.silent);
	assert_int_equal(op_from(f, TXN_EXPIRE, 999, 1, PK_BYTES_NONE), ZK_ESESSIONEXPIRED);
	assert_int_not_equal(op_from(f, TXN_EXPIRE, 999, TXN_GEN_LOCAL, PK_BYTES_NONE), 0);
	assert_int_equal(tree_meta(f->t)->zxid, zxid);
	assert_int_equal(tree_meta(f->t)->sessions, 2);
}

static void test_an_expiry_in_time_ends_the_session_and_its_ephemerals(void **state)
{
	struct fix *f = *state;

	assert_int_equal(create(f, "/e", "", ZK_CREATE_EPHEMERAL), 0);
	uint64_t zxid = f->r.zxid;
	assert_int_equal(op_from(f, TXN_EXPIRE, ALICE, 1, PK_BYTES_NONE), 0);
	assert_int_equal(f->r.zxid, zxid + 1);
	assert_string_equal(events(f), "deleted /e, children /");
	assert_int_equal(tree_meta(f->t)->sessions, 1);
}

static void test_a_closed_session_cannot_do_anything(void **state)
{
	struct fix *f = *state;

	assert_int_equal(create(f, "/a", "", 0), 0);
	assert_int_equal(op(f, ZK_OP_CLOSE_SESSION, PK_BYTES_NONE), 0);
	assert_int_equal(op(f, ZK_OP_CLOSE_SESSION, PK_BYTES_NONE), ZK_ESESSIONEXPIRED);
	assert_int_equal(create(f, "/b", "", 0), ZK_ESESSIONEXPIRED);
	assert_int_equal(create(f, "/b", "", 99), ZK_EBADARGUMENTS);
	assert_int_equal(set(f, "/a", "", -1), ZK_ESESSIONEXPIRED);
	assert_int_equal(set_acl(f, "/a", acls("31 world anyone"), -1), ZK_ESESSIONEXPIRED);
	assert_int_equal(del(f, "/a", -1), ZK_ESESSIONEXPIRED);
}

static void test_a_local_session_writes_but_owns_no_ephemerals(void **state)
{
	struct fix *f = *state;

	f->session = 4711;
	f->gen = TXN_GEN_LOCAL;
	assert_int_equal(create(f, "/a", "", 0), 0);
	assert_int_equal(create(f, "/e", "", ZK_CREATE_EPHEMERAL), ZK_EEPHEMERALONLOCALSESSION);
	assert_int_equal(op(f, ZK_OP_CLOSE_SESSION, PK_BYTES_NONE), 0);
}

static void collect(void *arg, const struct tree_session *s)
{
	char *text = arg;

	sprintf(text + strlen(text), "%llx ", (unsigned long long)s->id);
}

static void test_sessions_are_listed_by_rising_id(void **state)
{
	struct fix *f = *state;
	char text[256] = "";

	assert_int_equal(op_from(f, ZK_OP_CREATE_SESSION, 7, 0, session_body(4000, 9)), 0);
	assert_int_equal(
		op_from(f, ZK_OP_CREATE_SESSION, 0xff00000000000001u, 0, session_body(4000, 9)), 0);
	tree_session_each(f->t, collect, text);
	assert_string_equal(text, "7 100000000000001 200000000000002 ff00000000000001 ");
	fix_reopen(f);
	text[0] = '\0';
	tree_session_each(f->t, collect, text);
	assert_string_equal(text, "7 100000000000001 200000000000002 ff00000000000001 ");
}

#define T(name) cmocka_unit_test_setup_teardown(name, fix_setup, fix_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_creating_and_closing_a_session_take_a_zxid_each),
		T(test_a_session_id_is_given_once),
		T(test_attach_wants_the_password),
		T(test_after_an_attach_the_old_connection_has_lost_the_session),
		T(test_an_expiry_that_came_too_late_never_happened),
		T(test_an_expiry_in_time_ends_the_session_and_its_ephemerals),
		T(test_a_closed_session_cannot_do_anything),
		T(test_a_local_session_writes_but_owns_no_ephemerals),
		T(test_sessions_are_listed_by_rising_id),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
