#include "tests/lib/test.h"

#include <stdio.h>

#include "tests/lib/tree_fix.h"

static void test_a_missing_node_can_be_watched_by_exists_alone(void **state)
{
	struct fix *f = *state;

	assert_int_equal(ask(f, ZK_OP_EXISTS, "/a", true), ZK_ENONODE);
	assert_int_equal(f->read.watch, TREE_WATCH_EXISTS);
	assert_true(pk_bytes_is(f->read.watch_path, "/a"));
	assert_int_equal(ask(f, ZK_OP_GET_DATA, "/a", true), ZK_ENONODE);
	assert_int_equal(f->read.watch, TREE_WATCH_NONE);
	assert_int_equal(ask(f, ZK_OP_GET_CHILDREN, "/a", true), ZK_ENONODE);
	assert_int_equal(f->read.watch, TREE_WATCH_NONE);
}

static void test_reads_say_which_watch_was_asked_for(void **state)
{
	struct fix *f = *state;

	assert_int_equal(create(f, "/a", "", 0), 0);
	assert_int_equal(ask(f, ZK_OP_EXISTS, "/a", true), 0);
	assert_int_equal(f->read.watch, TREE_WATCH_DATA);
	assert_int_equal(ask(f, ZK_OP_GET_DATA, "/a", true), 0);
	assert_int_equal(f->read.watch, TREE_WATCH_DATA);
	assert_int_equal(ask(f, ZK_OP_GET_CHILDREN, "/a", true), 0);
	assert_int_equal(f->read.watch, TREE_WATCH_CHILD);
	assert_int_equal(ask(f, ZK_OP_GET_CHILDREN2, "/a", true), 0);
	assert_int_equal(f->read.watch, TREE_WATCH_CHILD);
	assert_int_equal(ask(f, ZK_OP_GET_DATA, "/a", false), 0);
	assert_int_equal(f->read.watch, TREE_WATCH_NONE);
}

static void test_an_invalid_path_is_a_node_that_does_not_exist(void **state)
{
	struct fix *f = *state;
	static const char *const paths[] = { "a",   "//",          "/a/",  "/a//b",
					     "/..", "/zookeeper/", "/\x01" };

	assert_int_equal(create(f, "/a", "", 0), 0);
	for (size_t i = 0; i < PK_COUNT(paths); i++)
		assert_int_equal(ask(f, ZK_OP_GET_DATA, paths[i], false), ZK_ENONODE);
	assert_int_equal(ask(f, ZK_OP_GET_DATA, "", false), 0); /* the root's other name */
	assert_int_equal(ask(f, ZK_OP_GET_DATA, NULL, false), ZK_EMARSHALLING);
	assert_int_equal(ask(f, ZK_OP_EXISTS, NULL, false), ZK_EMARSHALLING);
	assert_int_equal(ask(f, ZK_OP_GET_ACL, NULL, false), ZK_EMARSHALLING);
	struct pk_bytes nul = pk_bytes("\0\0\0\3/\0a\1", 8);
	f->out.len = 0;
	f->read.out = &f->out;
	tree_read(f->t, ZK_OP_EXISTS, nul, ALICE, NULL, 0, false, 100, &f->read);
	assert_int_equal(f->read.err, ZK_EBADARGUMENTS);
	assert_int_equal(f->read.watch, TREE_WATCH_NONE);
}

static void test_children_come_in_order(void **state)
{
	struct fix *f = *state;
	static const char *const names[] = { "/c", "/a", "/b/", "/b", "/B", "/\xc3\xa9", "/ab" };

	for (size_t i = 0; i < PK_COUNT(names); i++)
		pk_ignore(create(f, names[i], "", 0), "one of them is no path");
	assert_string_equal(children_of(f, "/"), "B a ab b c zookeeper \xc3\xa9");
}

static void test_a_reply_over_the_bound_is_refused_whole(void **state)
{
	struct fix *f = *state;
	char path[32];

	for (int i = 0; i < 20; i++) {
		snprintf(path, sizeof(path), "/node%02d", i);
		assert_int_equal(create(f, path, "0123456789", 0), 0);
	}
	struct pk_bytes root = pk_bytes("\0\0\0\1/\1", 6);
	size_t fits = 4 + 20 * 10 + 13; /* the count, 20 names of 6 bytes, "zookeeper" */
	f->read.out = &f->out;
	f->out.len = 0;
	pk_buf_add_str(&f->out, "before");
	tree_read(f->t, ZK_OP_GET_CHILDREN, root, ALICE, NULL, 0, false, fits - 1, &f->read);
	assert_int_equal(f->read.err, ZK_EMARSHALLING);
	assert_int_equal(f->read.watch, TREE_WATCH_NONE);
	assert_int_equal(f->out.len, 6);
	tree_read(f->t, ZK_OP_GET_CHILDREN, root, ALICE, NULL, 0, false, fits, &f->read);
	assert_int_equal(f->read.err, 0);
	assert_int_equal(f->out.len, 6 + fits);
}

static void test_ephemerals_are_the_sessions_own_below_a_prefix(void **state)
{
	struct fix *f = *state;

	assert_int_equal(create(f, "/a", "", 0), 0);
	assert_int_equal(create(f, "/a/x", "", ZK_CREATE_EPHEMERAL), 0);
	assert_int_equal(create(f, "/b", "", ZK_CREATE_EPHEMERAL), 0);
	as(f, BOB);
	assert_int_equal(create(f, "/a/y", "", ZK_CREATE_EPHEMERAL), 0);
	as(f, ALICE);
	static const struct {
		const char *prefix, *want;
	} cases[] = { { NULL, "/a/x /b" }, { "", "/a/x /b" }, { " ", "/a/x /b" },
		      { "/", "/a/x /b" },  { "/a", "/a/x" },  { "/c", "" } };
	for (size_t i = 0; i < PK_COUNT(cases); i++) {
		char got[64] = "";
		struct pk_bytes path;

		assert_int_equal(ask(f, ZK_OP_GET_EPHEMERALS, cases[i].prefix, false), 0);
		struct zk_rd r = zk_rd(pk_buf_bytes(&f->out));
		struct zk_strings list = zk_rd_strings(&r);
		while (zk_strings_next(&list, &path))
			snprintf(got + strlen(got), sizeof(got) - strlen(got), "%s%.*s",
				 got[0] != '\0' ? " " : "", (int)path.len, path.data);
		assert_string_equal(got, cases[i].want);
	}
}

static int32_t number(struct fix *f, const char *path)
{
	assert_int_equal(ask(f, ZK_OP_GET_ALL_CHILDREN_NUMBER, path, false), 0);
	return (int32_t)pk_get_be32(f->out.data);
}

static void test_all_children_are_counted_through_every_level(void **state)
{
	struct fix *f = *state;

	assert_int_equal(create(f, "/a", "", 0), 0);
	assert_int_equal(create(f, "/a/b", "", 0), 0);
	assert_int_equal(create(f, "/a/b/c", "", 0), 0);
	assert_int_equal(create(f, "/ab", "", 0), 0);
	assert_int_equal(number(f, "/a"), 2);
	assert_int_equal(number(f, "/a/b/c"), 0);
	assert_int_equal(number(f, "/"), 7);
	assert_int_equal(number(f, ""), 8);
	assert_int_equal(ask(f, ZK_OP_GET_ALL_CHILDREN_NUMBER, "/x", false), ZK_ENONODE);
}

static void test_multi_read_answers_each_for_itself(void **state)
{
	struct fix *f = *state;
	struct zk_multi_result m;

	assert_int_equal(create(f, "/a", "data", 0), 0);
	pk_buf_clear(&f->body);
	zk_multi_op_header(&f->body, ZK_OP_GET_DATA);
	zk_path_watch_req_encode(&f->body, &(struct zk_path_watch_req){ pk_bytes_str("/a"), 1 });
	zk_multi_op_header(&f->body, ZK_OP_GET_DATA);
	zk_path_watch_req_encode(&f->body, &(struct zk_path_watch_req){ pk_bytes_str("/x"), 1 });
	zk_multi_op_header(&f->body, ZK_OP_GET_CHILDREN);
	zk_path_watch_req_encode(&f->body, &(struct zk_path_watch_req){ pk_bytes_str("/"), 1 });
	zk_multi_end(&f->body);
	f->out.len = 0;
	f->read.out = &f->out;
	tree_read(f->t, ZK_OP_MULTI_READ, pk_buf_bytes(&f->body), ALICE, NULL, 0, false, 1000,
		  &f->read);
	assert_int_equal(f->read.err, 0);
	assert_int_equal(f->read.watch, TREE_WATCH_NONE);
	struct zk_rd r = zk_rd(pk_buf_bytes(&f->out));
	assert_int_equal(zk_multi_result_next(&r, &m), 1);
	assert_int_equal(m.type, ZK_OP_GET_DATA);
	assert_true(pk_bytes_is(m.u.get_data.data, "data"));
	assert_int_equal(zk_multi_result_next(&r, &m), 1);
	assert_int_equal(m.err, ZK_ENONODE);
	assert_int_equal(zk_multi_result_next(&r, &m), 1);
	assert_int_equal(m.u.get_children.children.count, 2);
	assert_int_equal(zk_multi_result_next(&r, &m), 0);
}

static void test_a_write_in_a_multi_read_refuses_all_of_it(void **state)
{
	struct fix *f = *state;

	pk_buf_clear(&f->body);
	multi_delete(f, "/a", -1);
	zk_multi_end(&f->body);
	f->out.len = 0;
	f->read.out = &f->out;
	tree_read(f->t, ZK_OP_MULTI_READ, pk_buf_bytes(&f->body), ALICE, NULL, 0, false, 1000,
		  &f->read);
	assert_int_equal(f->read.err, ZK_EMARSHALLING);
	assert_int_equal(f->out.len, 0);
}

static void test_stat_zxids_tell_what_set_watches_asks(void **state)
{
	struct fix *f = *state;
	uint64_t c, m, p;

	assert_int_equal(create(f, "/a", "", 0), 0);
	uint64_t zxid = f->r.zxid;
	assert_int_equal(set(f, "/a", "x", -1), 0);
	assert_int_equal(create(f, "/a/b", "", 0), 0);
	assert_true(tree_stat_zxids(f->t, pk_bytes_str("/a"), &c, &m, &p));
	assert_int_equal(c, zxid);
	assert_int_equal(m, zxid + 1);
	assert_int_equal(p, zxid + 2);
	assert_false(tree_stat_zxids(f->t, pk_bytes_str("/x"), &c, &m, &p));
}

#define T(name) cmocka_unit_test_setup_teardown(name, fix_setup, fix_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_a_missing_node_can_be_watched_by_exists_alone),
		T(test_reads_say_which_watch_was_asked_for),
		T(test_an_invalid_path_is_a_node_that_does_not_exist),
		T(test_children_come_in_order),
		T(test_a_reply_over_the_bound_is_refused_whole),
		T(test_ephemerals_are_the_sessions_own_below_a_prefix),
		T(test_all_children_are_counted_through_every_level),
		T(test_multi_read_answers_each_for_itself),
		T(test_a_write_in_a_multi_read_refuses_all_of_it),
		T(test_stat_zxids_tell_what_set_watches_asks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
