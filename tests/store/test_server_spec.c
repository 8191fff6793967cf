#include "tests/lib/test.h"

#include "store/server_spec.h"

static void expect_same(const char *in, const char *canonical)
{
	struct server_spec s;
	struct pk_err err = PK_ERR_INIT;
	struct pk_buf out = PK_BUF_INIT;
	struct server_spec again;

	if (server_spec_parse(&s, 1, pk_bytes_str(in), &err) != 0)
		fail_msg("%s", err.text);
	server_spec_format(&s, &out);
	assert_string_equal(pk_buf_str(&out), canonical);
	assert_int_equal(server_spec_parse(&again, 1, pk_buf_bytes(&out), &err), 0);
	assert_true(server_spec_eq(&s, &again));
	pk_buf_release(&out);
}

static void test_the_canonical_text_is_zookeepers(void **state)
{
	(void)state;
	expect_same("127.0.0.1:2888:3888;2181", "127.0.0.1:2888:3888:participant;0.0.0.0:2181");
	expect_same("a.example:2888:3888:OBSERVER", "a.example:2888:3888:observer");
	expect_same("[::1]:2888:3888;[::]:2181",
		    "[0:0:0:0:0:0:0:1]:2888:3888:participant;[0:0:0:0:0:0:0:0]:2181");
	expect_same("[fe80::1%eth0]:1:2", "[fe80:0:0:0:0:0:0:1%eth0]:1:2:participant");
	expect_same("[a]:1:2", "a:1:2:participant");
	expect_same("[2001:DB8::0010]:1:2", "[2001:db8:0:0:0:0:0:10]:1:2:participant");
	expect_same("[::ffff:10.0.0.1]:1:2", "10.0.0.1:1:2:participant");
	expect_same("b:1:2|a:3:4", "a:3:4|b:1:2:participant");
	expect_same("a:1:2|a:1:2;10.0.0.1:9", "a:1:2:participant;10.0.0.1:9");
	expect_same("a:1:2;", "a:1:2:participant"); /* Java's split drops an empty end */
	expect_same(" a:1:2 ", "a:1:2:participant");
}

static void test_every_broken_form_is_refused_and_says_why(void **state)
{
	static const char *const bad[] = {
		"",
		"a",
		"a:1",
		":1:2",
		"a:0:2",
		"a:1:65536",
		"a:1:x",
		"a:1:1",
		"a:1:2:leader",
		"a:1:2:participant:x",
		"a:1:2;x",
		"a:1:2;b:",
		"a:1:2;b:1:2",
		"a:1:2;0",
		"[::1:1:2",
		"[::1]1:2",
		"[]:1:2",
		"[%R]:1:2",
		"[1:2]:1:2",
		"[::1%]:1:2",
		"a b:1:2",
		"::1:1:2",
		"a:1:2|b:1:2:observer|c:1:2:participant",
		"a:-1:2",
		"a:+1:2",
		"a:1:2,b:1:2",
	};

	(void)state;
	for (size_t i = 0; i < PK_COUNT(bad); i++) {
		struct server_spec s;
		struct pk_err err = PK_ERR_INIT;

		if (server_spec_parse(&s, 1, pk_bytes_str(bad[i]), &err) == 0)
			fail_msg("taken: %s", bad[i]);
		assert_true(err.code < 0 && strlen(err.text) > 10);
	}
}

static void test_reconfig_lines_carry_their_id(void **state)
{
	struct server_spec s;
	struct pk_err err = PK_ERR_INIT;

	(void)state;
	assert_int_equal(
		server_spec_parse_line(&s, pk_bytes_str("server.12=h:1:2:observer;3"), &err), 0);
	assert_int_equal(s.id, 12);
	assert_true(s.observer);
	assert_int_equal(server_spec_parse_line(&s, pk_bytes_str("server.0=h:1:2"), &err),
			 PK_EINVAL);
	assert_int_equal(server_spec_parse_line(&s, pk_bytes_str("12=h:1:2"), &err), PK_EINVAL);
	assert_int_equal(
		server_spec_parse_line(&s, pk_bytes_str("server.9999999999999999999=h:1:2"), &err),
		PK_EINVAL);
	assert_int_equal(server_spec_parse_line(&s, PK_BYTES_NONE, &err), PK_EINVAL);
	assert_int_equal(server_key_id("server.1x"), -1);
	assert_int_equal(server_key_id("server."), -1);
}

static void test_a_set_keeps_servers_in_order_of_their_ids(void **state)
{
	struct server_set set = SERVER_SET_INIT;
	struct server_set again = SERVER_SET_INIT;
	struct pk_err err = PK_ERR_INIT;
	struct pk_buf out = PK_BUF_INIT;

	(void)state;
	assert_int_equal(server_set_parse(&set,
					  pk_bytes_str("server.3=c:1:2:observer\nserver.1=a:1:2;3\n"
						       "version=100000003\nserver.2=b:1:2"),
					  &err),
			 0);
	server_set_format(&set, &out);
	assert_string_equal(pk_buf_str(&out),
			    "server.1=a:1:2:participant;0.0.0.0:3\nserver.2=b:1:2:participant\n"
			    "server.3=c:1:2:observer\nversion=100000003");
	assert_int_equal(server_set_voters(&set), 2);
	assert_int_equal(server_set_parse(&again, pk_buf_bytes(&out), &err), 0);
	assert_true(server_set_eq(&set, &again));
	assert_true(server_set_remove(&again, 2));
	assert_false(server_set_remove(&again, 2));
	assert_null(server_set_find(&again, 2));
	assert_non_null(server_set_find(&again, 3));
	assert_false(server_set_eq(&set, &again));
	pk_buf_release(&out);
	server_set_release(&set);
	server_set_release(&again);
}

static void test_a_set_has_a_bound(void **state)
{
	struct server_set set = SERVER_SET_INIT;
	struct server_spec s;
	struct pk_err err = PK_ERR_INIT;

	(void)state;
	for (int64_t id = SERVERS_MAX; id > 0; id--) {
		assert_int_equal(server_spec_parse(&s, id, pk_bytes_str("h:1:2"), &err), 0);
		assert_int_equal(server_set_put(&set, &s, &err), 0);
	}
	assert_int_equal(server_set_put(&set, &s, &err), 0); /* replacing is no growth */
	s.id = SERVERS_MAX + 1;
	assert_int_equal(server_set_put(&set, &s, &err), PK_ELIMIT);
	for (size_t i = 1; i < set.count; i++)
		assert_true(set.all[i - 1].id < set.all[i].id);
	server_set_release(&set);
}

static void test_a_set_holds_nothing_but_servers_and_a_version(void **state)
{
	static const char *const bad[] = {
		"tickTime=1",     "version=x",  "version=11111111111111111",
		"server.x=a:1:2", "server.1=a", "group.1=1:2"
	};
	struct server_set set = SERVER_SET_INIT;

	(void)state;
	for (size_t i = 0; i < PK_COUNT(bad); i++) {
		struct pk_err err = PK_ERR_INIT;

		assert_int_equal(server_set_parse(&set, pk_bytes_str(bad[i]), &err), PK_EINVAL);
		assert_non_null(strstr(err.text, "line 1"));
	}
}

static void test_addresses_claimed_twice_are_found(void **state)
{
	struct server_spec a, b;
	struct pk_err err = PK_ERR_INIT;

	(void)state;
	assert_int_equal(server_spec_parse(&a, 1, pk_bytes_str("h:1:2;h:3"), &err), 0);
	assert_int_equal(server_spec_parse(&b, 2, pk_bytes_str("H:4:3"), &err), 0);
	assert_int_equal(server_spec_conflict(&a, &b, &err), PK_EINVAL);
	assert_string_equal(err.text, "server.1 and server.2 both claim h:3");
	assert_int_equal(server_spec_parse(&b, 2, pk_bytes_str("h:4:5"), &err), 0);
	assert_int_equal(server_spec_conflict(&a, &b, &err), 0);
	assert_int_equal(server_spec_parse(&a, 1, pk_bytes_str("127.0.0.1:1:2;3"), &err), 0);
	assert_int_equal(server_spec_parse(&b, 2, pk_bytes_str("127.0.0.1:1:2;3"), &err), 0);
	assert_int_equal(server_spec_conflict(&a, &b, &err), 0); /* as in ZooKeeper */
}

static void test_loopback_is_told_from_the_network(void **state)
{
	static const char *const near[] = { "localhost", "127.0.0.1", "127.9.9.9", "::1" };
	static const char *const far[] = { "0.0.0.0",    "128.0.0.1",         "localhost.example",
					   "::",         "127.0.0.1.example", "127.0.0",
					   "127.0.0.256" };

	(void)state;
	for (size_t i = 0; i < PK_COUNT(near); i++)
		assert_true(server_host_is_loopback(near[i]));
	for (size_t i = 0; i < PK_COUNT(far); i++)
		assert_false(server_host_is_loopback(far[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_canonical_text_is_zookeepers),
		cmocka_unit_test(test_every_broken_form_is_refused_and_says_why),
		cmocka_unit_test(test_reconfig_lines_carry_their_id),
		cmocka_unit_test(test_a_set_keeps_servers_in_order_of_their_ids),
		cmocka_unit_test(test_a_set_has_a_bound),
		cmocka_unit_test(test_a_set_holds_nothing_but_servers_and_a_version),
		cmocka_unit_test(test_addresses_claimed_twice_are_found),
		cmocka_unit_test(test_loopback_is_told_from_the_network),
	};
	return cmocka_run_group_tests_name("server_spec", tests, NULL, NULL);
}
