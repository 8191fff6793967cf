#include "tests/lib/test.h"

#include <stdio.h>

#include "tests/lib/tree_fix.h"

static void test_all_operations_share_one_zxid_and_answer_in_order(void **state)
{
	struct fix *f = *state;
	uint64_t zxid = tree_meta(f->t)->zxid;

	multi_begin(f);
	multi_create(f, ZK_OP_CREATE, "/a", "1", 0);
	multi_create(f, ZK_OP_CREATE2, "/a/b", "2", 0);
	multi_check(f, "/a", 0);
	multi_set(f, "/a", "3", 0);
	multi_create(f, ZK_OP_CREATE, "/a/s", "", ZK_CREATE_SEQUENTIAL);
	multi_delete(f, "/a/b", 0);
	assert_int_equal(multi_go(f), 0);
	assert_string_equal(results(f),
			    "create:/a create:/a/b check set:v1 create:/a/s0000000001 delete");
	assert_string_equal(events(f), "created /a, children /, created /a/b, children /a, "
				       "changed /a, created /a/s0000000001, children /a, "
				       "deleted /a/b, children /a");
	assert_int_equal(f->r.zxid, zxid + 1);
	assert_int_equal(tree_meta(f->t)->zxid, zxid + 1);
	assert_string_equal(data_of(f, "/a"), "3");
	assert_int_equal(stat_of(f, "/a").czxid, zxid + 1);
	assert_int_equal(stat_of(f, "/a").cversion, 3);
}

static void test_one_failure_undoes_everything(void **state)
{
	struct fix *f = *state;

	assert_int_equal(create(f, "/q", "old", 0), 0);
	struct tree_meta before = *tree_meta(f->t);
	multi_begin(f);
	multi_create(f, ZK_OP_CREATE, "/q/n", "", ZK_CREATE_SEQUENTIAL);
	multi_set(f, "/q", "new", -1);
	multi_delete(f, "/nope", -1);
	multi_create(f, ZK_OP_CREATE, "/z", "", 0);
	assert_int_equal(multi_go(f), 0);
	assert_string_equal(results(f), "error:0 error:0 error:-101 error:-2");
	assert_int_equal(f->r.event_count, 0);
	assert_string_equal(data_of(f, "/q"), "old");
	assert_string_equal(children_of(f, "/q"), "");
	before.zxid++;
	before.index++;
	assert_memory_equal(&before, tree_meta(f->t), sizeof(before));
	/* The sequence starts where it was. */
	assert_int_equal(create(f, "/q/n", "", ZK_CREATE_SEQUENTIAL), 0);
	assert_string_equal(created(f), "/q/n0000000000");
}

static void test_a_failure_gives_back_new_acl_lists_and_ephemerals(void **state)
{
	struct fix *f = *state;
	struct tree_meta before = *tree_meta(f->t);

	multi_begin(f);
	zk_multi_op_header(&f->body, ZK_OP_CREATE);
	zk_create_req_encode(&f->body,
			     &(struct zk_create_req){ pk_bytes_str("/e"), PK_BYTES_NONE,
						      acls("31 digest u:h"), ZK_CREATE_EPHEMERAL });
	multi_delete(f, "/e", 7);
	assert_int_equal(multi_go(f), 0);
	assert_string_equal(results(f), "error:0 error:-103");
	assert_int_equal(tree_session_ephemerals(f->t, ALICE), 0);
	assert_int_equal(tree_meta(f->t)->extra, before.extra);
	assert_int_equal(tree_meta(f->t)->ephemerals, 0);
	fix_reopen(f);
}

static void test_an_empty_multi_takes_a_zxid(void **state)
{
	struct fix *f = *state;
	uint64_t zxid = tree_meta(f->t)->zxid;

	multi_begin(f);
	assert_int_equal(multi_go(f), 0);
	assert_string_equal(results(f), "");
	assert_int_equal(f->r.zxid, zxid + 1);
}

static void test_what_a_multi_cannot_carry_refuses_all_of_it(void **state)
{
	struct fix *f = *state;
	uint64_t zxid = tree_meta(f->t)->zxid;

	multi_begin(f);
	multi_create(f, ZK_OP_CREATE, "/a", "", 0);
	zk_multi_op_header(&f->body, ZK_OP_SET_ACL);
	zk_set_acl_req_encode(&f->body,
			      &(struct zk_set_acl_req){ pk_bytes_str("/a"), zk_acls_open(), -1 });
	assert_int_equal(multi_go(f), ZK_EMARSHALLING);
	multi_begin(f);
	multi_create(f, ZK_OP_CREATE, "/a", "", 0);
	zk_multi_op_header(&f->body, ZK_OP_MULTI);
	assert_int_equal(multi_go(f), ZK_EMARSHALLING);
	multi_begin(f);
	multi_create(f, ZK_OP_CREATE, "/a", "", 0);
	zk_multi_op_header(&f->body, ZK_OP_DELETE);
	zk_delete_req_encode(&f->body, &(struct zk_delete_req){ PK_BYTES_NONE, -1 });
	assert_int_equal(multi_go(f), ZK_EMARSHALLING);
	multi_begin(f);
	zk_multi_op_header(&f->body, ZK_OP_GET_DATA);
	zk_path_watch_req_encode(&f->body, &(struct zk_path_watch_req){ pk_bytes_str("/"), 0 });
	assert_int_equal(multi_go(f), ZK_EMARSHALLING);
	assert_int_equal(f->r.body.len, 0);
	assert_false(there(f, "/a"));
	assert_int_equal(tree_meta(f->t)->zxid, zxid + 4);
}

static void test_the_mode_decides_what_a_create_in_a_multi_is(void **state)
{
	struct fix *f = *state;

	multi_begin(f);
	multi_create(f, ZK_OP_CREATE, "/c", "", ZK_CREATE_CONTAINER);
	multi_create(f, ZK_OP_CREATE_CONTAINER, "/p", "", 0);
	assert_int_equal(multi_go(f), 0);
	assert_string_equal(results(f), "create2:/c create:/p");
	multi_begin(f);
	multi_create(f, ZK_OP_CREATE, "/x", "", 99);
	assert_int_equal(multi_go(f), 0);
	assert_string_equal(results(f), "error:-8");
}

static void test_a_ttl_mode_without_a_ttl_refuses_the_whole_request(void **state)
{
	struct fix *f = *state;

	f->flags = TXN_EXTENDED_TYPES;
	multi_begin(f);
	multi_create(f, ZK_OP_CREATE, "/a", "", 0);
	multi_create(f, ZK_OP_CREATE, "/t", "", ZK_CREATE_TTL);
	assert_int_equal(multi_go(f), ZK_EMARSHALLING);
	assert_false(there(f, "/a"));
	/* Not if it is never reached. */
	multi_begin(f);
	multi_delete(f, "/nope", -1);
	multi_create(f, ZK_OP_CREATE, "/t", "", ZK_CREATE_TTL);
	assert_int_equal(multi_go(f), 0);
	assert_string_equal(results(f), "error:-101 error:-2");
}

static void test_later_operations_see_earlier_ones(void **state)
{
	struct fix *f = *state;
	char path[32];

	multi_begin(f);
	multi_create(f, ZK_OP_CREATE, "/d", "", 0);
	for (int i = 0; i < 200; i++) {
		snprintf(path, sizeof(path), "/d/%d", i);
		multi_create(f, ZK_OP_CREATE, path, "x", 0);
		multi_set(f, path, "yy", 0);
	}
	for (int i = 0; i < 200; i++) {
		snprintf(path, sizeof(path), "/d/%d", i);
		multi_delete(f, path, 1);
	}
	multi_delete(f, "/d", 0);
	multi_create(f, ZK_OP_CREATE, "/d", "again", ZK_CREATE_EPHEMERAL);
	multi_create(f, ZK_OP_CREATE, "/d/x", "", 0);
	assert_int_equal(multi_go(f), 0);
	assert_string_equal(results(f) + strlen(results(f)) - 10, "error:-108");
	assert_string_equal(children_of(f, "/"), "zookeeper");
}

static void test_the_same_large_data_can_be_set_over_and_over(void **state)
{
	struct fix *f = *state;
	static char big[5000];

	memset(big, 'b', sizeof(big) - 1);
	assert_int_equal(create(f, "/a", big, 0), 0);
	multi_begin(f);
	for (int i = 0; i < 50; i++) {
		multi_set(f, "/a", "small", -1);
		multi_set(f, "/a", big, -1);
	}
	multi_check(f, "/a", 100);
	multi_set(f, "/a", "last", 100);
	assert_int_equal(multi_go(f), 0);
	assert_string_equal(data_of(f, "/a"), "last");
	fix_reopen(f);
}

static void test_a_moved_session_is_the_whole_requests_error(void **state)
{
	struct fix *f = *state;

	f->gen = 9;
	multi_begin(f);
	multi_create(f, ZK_OP_CREATE, "/a", "", 0);
	assert_int_equal(multi_go(f), ZK_ESESSIONMOVED);
	as(f, 4242);
	multi_begin(f);
	multi_create(f, ZK_OP_CREATE, "/a", "", 0);
	multi_delete(f, "/a", -1);
	assert_int_equal(multi_go(f), 0);
	assert_string_equal(results(f), "error:-112 error:-2");
}

#define T(name) cmocka_unit_test_setup_teardown(name, fix_setup, fix_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_all_operations_share_one_zxid_and_answer_in_order),
		T(test_one_failure_undoes_everything),
		T(test_a_failure_gives_back_new_acl_lists_and_ephemerals),
		T(test_an_empty_multi_takes_a_zxid),
		T(test_what_a_multi_cannot_carry_refuses_all_of_it),
		T(test_the_mode_decides_what_a_create_in_a_multi_is),
		T(test_a_ttl_mode_without_a_ttl_refuses_the_whole_request),
		T(test_later_operations_see_earlier_ones),
		T(test_the_same_large_data_can_be_set_over_and_over),
		T(test_a_moved_session_is_the_whole_requests_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
