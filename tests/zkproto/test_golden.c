/* clang-format off */
#include "tests/lib/test.h"
/* clang-format on */

/*
 * Bytes that others make for the same values: requests as kazoo 2.8.0 serialises them, replies and
 * what kazoo lacks as ZooKeeper 3.8.0's own jute classes do.
 */
#include <stdio.h>

#include "zkproto/multi.h"

static struct pk_buf made = { 0 };

static void wants(const char *hex)
{
	char got[4096];

	assert_true(made.len * 2 < sizeof(got));
	for (size_t i = 0; i < made.len; i++)
		snprintf(got + 2 * i, 3, "%02x", made.data[i]);
	got[2 * made.len] = 0;
	assert_string_equal(got, hex);
	pk_buf_clear(&made);
}

#define S(text) pk_bytes_str(text)
#define STAT_BYTES                                                                                 \
	"0000000000000001000000000000000200000000000000030000000000000004000000050000000600000007" \
	"0000000000000008000000090000000a000000000000000b"
#define OPEN "0000001f00000005776f726c6400000006616e796f6e65"
#define BOB                                                                                        \
	"00000001000000066469676573740000000"                                                      \
	"8626f623a5a6d3976"

static const struct zk_stat stat = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 };

static struct zk_acls two_acls(struct pk_buf *items)
{
	zk_acl_encode(items, &(struct zk_acl){ ZK_PERM_ALL, S("world"), S("anyone") });
	zk_acl_encode(items, &(struct zk_acl){ ZK_PERM_READ, S("digest"), S("bob:Zm9v") });
	return (struct zk_acls){ .count = 2, .raw = pk_buf_bytes(items) };
}

static void test_connection_records_are_the_bytes_others_make(void **state)
{
	(void)state;
	zk_connect_req_encode(&made,
			      &(struct zk_connect_req){ 0, 0x100000002, 10000, 0x1234567890abcdef,
							S("0123456789abcdef"), true, true });
	wants("000000000000000100000002000027101234567890abcdef0000001030313233343536373839616263"
	      "64656601");
	zk_connect_resp_encode(&made, &(struct zk_connect_resp){
					      0, 4000, 0x55, S("0123456789abcdef"), false, false });
	wants("0000000000000fa000000000000000550000001030313233343536373839616263646566");
	zk_reply_header_encode(&made, &(struct zk_reply_header){ 5, 0x100000002, -101 });
	wants("000000050000000100000002ffffff9b");
	zk_watcher_event_encode(&made, &(struct zk_watcher_event){ 3, 3, S("/a") });
	wants("0000000300000003000000022f61");
	zk_auth_req_encode(&made, &(struct zk_auth_req){ 0, S("digest"), S("bob:foo") });
	wants("000000000000000664696765737400000007626f623a666f6f");
	zk_sasl_req_encode(&made, &(struct zk_sasl_req){ pk_bytes("\1\2", 2) });
	wants("000000020102");
	zk_sasl_resp_encode(&made, &(struct zk_sasl_resp){ PK_BYTES_NONE });
	wants("ffffffff");
	size_t at = zk_wr_vector_begin(&made);
	zk_id_encode(&made, &(struct zk_id){ S("ip"), S("127.0.0.1") });
	zk_id_encode(&made, &(struct zk_id){ S("digest"), S("bob") });
	zk_wr_vector_end(&made, at, 2);
	wants("00000002000000026970000000093132372e302e302e310000000664696765737400000003626f62");
}

static void test_write_requests(void **state)
{
	(void)state;
	struct pk_buf items = PK_BUF_INIT;
	struct zk_acls acl = two_acls(&items);

	zk_create_req_encode(&made, &(struct zk_create_req){ S("/a/b"), S("data"), acl, 3 });
	wants("000000042f612f62000000046461746100000002" OPEN BOB "00000003");
	zk_create_req_encode(
		&made, &(struct zk_create_req){ S("/a"), PK_BYTES_NONE, (struct zk_acls){ 0 }, 0 });
	wants("000000022f61ffffffff0000000000000000");
	zk_create_ttl_req_encode(
		&made, &(struct zk_create_ttl_req){ S("/t"), S("d"), zk_acls_open(), 5, 60000 });
	wants("000000022f74000000016400000001" OPEN "00000005000000000000ea60");
	zk_delete_req_encode(&made, &(struct zk_delete_req){ S("/a"), -1 });
	wants("000000022f61ffffffff");
	zk_set_data_req_encode(&made, &(struct zk_set_data_req){ S("/a"), S("xyz"), 7 });
	wants("000000022f610000000378797a00000007");
	zk_set_acl_req_encode(&made, &(struct zk_set_acl_req){ S("/a"), acl, 5 });
	wants("000000022f6100000002" OPEN BOB "00000005");
	zk_check_req_encode(&made, &(struct zk_check_req){ S("/a"), 3 });
	wants("000000022f6100000003");
	zk_reconfig_req_encode(&made, &(struct zk_reconfig_req){ S("server.4=h:1:2;3"), S("5"),
								 PK_BYTES_NONE, 0x100000000 });
	wants("000000107365727665722e343d683a313a323b330000000135ffffffff0000000100000000");
	pk_buf_release(&items);
}

static void test_read_requests_and_replies(void **state)
{
	(void)state;
	struct pk_buf items = PK_BUF_INIT;

	zk_path_watch_req_encode(&made, &(struct zk_path_watch_req){ S("/a"), true });
	wants("000000022f6101");
	zk_path_req_encode(&made, &(struct zk_path_req){ S("/a") });
	wants("000000022f61");
	zk_get_data_resp_encode(&made, &(struct zk_get_data_resp){ S(""), stat });
	wants("00000000" STAT_BYTES);
	zk_wr_ustring(&items, S("a"));
	zk_wr_ustring(&items, S("b"));
	zk_get_children2_resp_encode(
		&made, &(struct zk_get_children2_resp){ { .count = 2, .raw = pk_buf_bytes(&items) },
							stat });
	wants("0000000200000001610000000162" STAT_BYTES);
	zk_get_acl_resp_encode(&made, &(struct zk_get_acl_resp){ zk_acls_open(), stat });
	wants("00000001" OPEN STAT_BYTES);
	zk_create2_resp_encode(&made, &(struct zk_create2_resp){ S("/a"), stat });
	wants("000000022f61" STAT_BYTES);
	zk_children_number_resp_encode(&made, &(struct zk_children_number_resp){ 42 });
	wants("0000002a");
	pk_buf_release(&items);
}

static struct zk_strings one(struct pk_buf *item, const char *text)
{
	zk_wr_ustring(item, S(text));
	return (struct zk_strings){ .count = 1, .raw = pk_buf_bytes(item) };
}

static void test_watch_requests(void **state)
{
	(void)state;
	struct pk_buf a = PK_BUF_INIT, p = PK_BUF_INIT, r = PK_BUF_INIT;
	struct zk_set_watches2_req req = {
		.relative_zxid = 7,
		.data = one(&a, "/a"),
		.child = { .is_null = true },
		.persistent = one(&p, "/p"),
		.recursive = one(&r, "/r"),
	};

	zk_set_watches2_req_encode(&made, &req);
	wants("000000000000000700000001000000022f6100000000ffffffff00000001000000022f70000000010000"
	      "00"
	      "022f72");
	zk_add_watch_req_encode(&made, &(struct zk_add_watch_req){ S("/a"), 1 });
	wants("000000022f6100000001");
	zk_watches_req_encode(&made, &(struct zk_watches_req){ S("/a"), 3 });
	wants("000000022f6100000003");
	pk_buf_release(&a);
	pk_buf_release(&p);
	pk_buf_release(&r);
}

static void test_multi_requests(void **state)
{
	(void)state;
	struct pk_buf items = PK_BUF_INIT;

	zk_multi_op_header(&made, ZK_OP_CREATE);
	zk_create_req_encode(&made,
			     &(struct zk_create_req){ S("/t"), S("1"), two_acls(&items), 0 });
	zk_multi_op_header(&made, ZK_OP_SET_DATA);
	zk_set_data_req_encode(&made, &(struct zk_set_data_req){ S("/t"), S("2"), 0 });
	zk_multi_op_header(&made, ZK_OP_CHECK);
	zk_check_req_encode(&made, &(struct zk_check_req){ S("/t"), 1 });
	zk_multi_op_header(&made, ZK_OP_DELETE);
	zk_delete_req_encode(&made, &(struct zk_delete_req){ S("/t"), -1 });
	zk_multi_end(&made);
	wants("0000000100ffffffff000000022f74000000013100000002" OPEN BOB "00000000"
	      "0000000500ffffffff000000022f74000000013200000000"
	      "0000000d00ffffffff000000022f7400000001"
	      "0000000200ffffffff000000022f74ffffffff"
	      "ffffffff01ffffffff");
	pk_buf_release(&items);
}

static void test_multi_replies(void **state)
{
	(void)state;
	struct pk_buf items = PK_BUF_INIT;

	zk_multi_result_header(&made, ZK_OP_CREATE);
	zk_path_resp_encode(&made, &(struct zk_path_resp){ S("/a") });
	zk_multi_result_header(&made, ZK_OP_CREATE2);
	zk_create2_resp_encode(&made, &(struct zk_create2_resp){ S("/b"), stat });
	zk_multi_result_header(&made, ZK_OP_SET_DATA);
	zk_stat_resp_encode(&made, &(struct zk_stat_resp){ stat });
	zk_multi_result_header(&made, ZK_OP_DELETE);
	zk_multi_result_header(&made, ZK_OP_CHECK);
	zk_multi_result_error(&made, ZK_ENONODE);
	zk_multi_result_header(&made, ZK_OP_GET_CHILDREN);
	zk_get_children_resp_encode(&made, &(struct zk_get_children_resp){ one(&items, "x") });
	zk_multi_result_header(&made, ZK_OP_GET_DATA);
	zk_get_data_resp_encode(&made, &(struct zk_get_data_resp){ S("q"), stat });
	zk_multi_end(&made);
	wants("000000010000000000000000022f61"
	      "0000000f0000000000000000022f62" STAT_BYTES "000000050000000000" STAT_BYTES
	      "000000020000000000"
	      "0000000d0000000000"
	      "ffffffff00ffffff9bffffff9b"
	      "000000080000000000000000010000000178"
	      "0000000400000000000000000171" STAT_BYTES "ffffffff01ffffffff");
	pk_buf_release(&items);
}

static int release(void **state)
{
	(void)state;
	pk_buf_release(&made);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_connection_records_are_the_bytes_others_make),
		cmocka_unit_test(test_write_requests),
		cmocka_unit_test(test_read_requests_and_replies),
		cmocka_unit_test(test_watch_requests),
		cmocka_unit_test(test_multi_requests),
		cmocka_unit_test(test_multi_replies),
	};
	return cmocka_run_group_tests(tests, NULL, release);
}
