#include "tests/lib/test.h"

#include <stdio.h>

#include "base/mem.h"
#include "tests/lib/tree_fix.h"

/* ---- the empty tree ---- */

static void test_an_empty_tree_has_zookeepers_own_nodes(void **state)
{
	struct fix *f = *state;

	assert_string_equal(children_of(f, "/"), "zookeeper");
	assert_string_equal(children_of(f, "/zookeeper"), "config quota");
	assert_string_equal(acl_of(f, "/"), "31 world anyone");
	assert_string_equal(acl_of(f, "/zookeeper/config"), "1 world anyone");
	assert_int_equal(tree_meta(f->t)->nodes, 4);
	assert_int_equal(tree_meta(f->t)->data_bytes, 44);
	assert_int_equal(stat_of(f, "/zookeeper/config").aversion, -1);
}

static void test_the_root_starts_with_a_shown_cversion_of_minus_one(void **state)
{
	struct fix *f = *state;

	assert_int_equal(stat_of(f, "/").cversion, -1);
	assert_int_equal(create(f, "/a", "", 0), 0);
	assert_int_equal(stat_of(f, "/").cversion, 0);
}

/* ---- create ---- */

static void test_create_gives_path_and_a_stat_of_its_own_zxid(void **state)
{
	struct fix *f = *state;

	f->time_ms = 5000;
	assert_int_equal(create(f, "/a", "hello", 0), 0);
	assert_string_equal(created(f), "/a");
	struct zk_stat s = stat_of(f, "/a");
	assert_int_equal(s.czxid, f->r.zxid);
	assert_int_equal(s.mzxid, f->r.zxid);
	assert_int_equal(s.pzxid, f->r.zxid);
	assert_int_equal(s.ctime, 5000);
	assert_int_equal(s.mtime, 5000);
	assert_int_equal(s.version, 0);
	assert_int_equal(s.cversion, 0);
	assert_int_equal(s.aversion, 0);
	assert_int_equal(s.ephemeral_owner, 0);
	assert_int_equal(s.data_length, 5);
	assert_int_equal(s.num_children, 0);
	assert_string_equal(data_of(f, "/a"), "hello");
	assert_int_equal(stat_of(f, "/").pzxid, f->r.zxid);
	assert_string_equal(events(f), "created /a, children /");
}

static void test_create2_answers_with_the_stat(void **state)
{
	struct fix *f = *state;
	struct zk_create2_resp resp;

	assert_int_equal(
		create_as(f, ZK_OP_CREATE2, "/a", pk_bytes_str("xy"), zk_acls_open(), 0, 0), 0);
	struct zk_rd r = zk_rd(pk_buf_bytes(&f->r.body));
	assert_int_equal(zk_create2_resp_decode(&r, &resp), 0);
	assert_int_equal(resp.stat.data_length, 2);
	assert_int_equal(resp.stat.czxid, f->r.zxid);
	assert_int_equal(r.in.len, 0);
}

static void test_null_data_stays_null_and_empty_stays_empty(void **state)
{
	struct fix *f = *state;

	assert_int_equal(create_as(f, ZK_OP_CREATE, "/n", PK_BYTES_NONE, zk_acls_open(), 0, 0), 0);
	assert_int_equal(create(f, "/e", "", 0), 0);
	assert_string_equal(data_of(f, "/n"), "(null)");
	assert_string_equal(data_of(f, "/e"), "");
	fix_reopen(f);
	assert_string_equal(data_of(f, "/n"), "(null)");
	assert_string_equal(data_of(f, "/e"), "");
}

static void test_create_checks_the_parent_before_the_path(void **state)
{
	struct fix *f = *state;

	assert_int_equal(create(f, "/p//a", "", 0), ZK_ENONODE);
	assert_int_equal(create(f, "/p/./a", "", 0), ZK_ENONODE);
	assert_int_equal(create(f, "/a/b", "", 0), ZK_ENONODE);
	assert_int_equal(create(f, "a/b", "", 0), ZK_ENONODE);
	assert_int_equal(create(f, "//a", "", 0), ZK_EBADARGUMENTS);
	assert_int_equal(create(f, "/..", "", 0), ZK_EBADARGUMENTS);
	assert_int_equal(create(f, "/\x01", "", 0), ZK_EBADARGUMENTS);
	assert_int_equal(create(f, "abc", "", 0), ZK_EBADARGUMENTS);
	assert_int_equal(create(f, "", "", 0), ZK_EBADARGUMENTS);
	assert_int_equal(create(f, "/", "", 0), ZK_ENODEEXISTS);
	assert_int_equal(create(f, "/a", "", 0), 0);
	assert_int_equal(create(f, "/a/", "", 0), ZK_EBADARGUMENTS);
	assert_int_equal(create_as(f, ZK_OP_CREATE, NULL, PK_BYTES_NONE, zk_acls_open(), 0, 0),
			 ZK_EMARSHALLING);
}

static void test_a_nul_in_a_path_is_bad_before_anything_else(void **state)
{
	struct fix *f = *state;
	struct zk_create_req req = { pk_bytes("/x/\0y", 5), PK_BYTES_NONE, zk_acls_open(), 0 };

	pk_buf_clear(&f->body);
	zk_create_req_encode(&f->body, &req);
	assert_int_equal(op(f, ZK_OP_CREATE, pk_buf_bytes(&f->body)), ZK_EBADARGUMENTS);
}

static void test_a_refused_create_takes_its_zxid_and_changes_nothing(void **state)
{
	struct fix *f = *state;
	struct tree_meta before = *tree_meta(f->t);

	assert_int_equal(create(f, "/a/b", "", 0), ZK_ENONODE);
	assert_int_equal(f->r.zxid, before.zxid + 1);
	assert_int_equal(tree_meta(f->t)->zxid, before.zxid + 1);
	assert_int_equal(tree_meta(f->t)->digest, before.digest);
	assert_int_equal(f->r.event_count, 0);
	assert_int_equal(f->r.body.len, 0);
}

static void test_create_of_what_exists_is_node_exists(void **state)
{
	struct fix *f = *state;

	assert_int_equal(create(f, "/a", "1", 0), 0);
	assert_int_equal(create(f, "/a", "2", 0), ZK_ENODEEXISTS);
	assert_string_equal(data_of(f, "/a"), "1");
}

static void test_an_unknown_mode_is_bad_arguments(void **state)
{
	struct fix *f = *state;

	assert_int_equal(create(f, "/a", "", 7), ZK_EBADARGUMENTS);
	assert_int_equal(create(f, "/a", "", -1), ZK_EBADARGUMENTS);
}

static void test_the_path_depth_has_a_bound(void **state)
{
	struct fix *f = *state;
	char path[512] = "";

	for (int i = 0; i < 100; i++) {
		strcat(path, "/d");
		assert_int_equal(create(f, path, "", 0), 0);
	}
	strcat(path, "/d");
	assert_int_equal(create(f, path, "", 0), ZK_EBADARGUMENTS);
}

static void test_long_names_are_kept_whole(void **state)
{
	struct fix *f = *state;
	char a[900] = "/", b[900] = "/", child[910];

	memset(a + 1, 'x', 800);
	memset(b + 1, 'x', 800);
	b[800] = 'y';
	assert_int_equal(create(f, a, "a", 0), 0);
	assert_int_equal(create(f, b, "b", 0), 0);
	snprintf(child, sizeof(child), "%s/c", a);
	assert_int_equal(create(f, child, "c", 0), 0);
	assert_string_equal(data_of(f, a), "a");
	assert_string_equal(data_of(f, b), "b");
	assert_string_equal(data_of(f, child), "c");
	assert_int_equal(ask(f, ZK_OP_GET_CHILDREN, "/", false), 0);
	fix_reopen(f);
	assert_string_equal(data_of(f, b), "b");
	assert_int_equal(del(f, child, -1), 0);
	assert_int_equal(del(f, a, -1), 0);
	assert_false(there(f, a));
	assert_string_equal(data_of(f, b), "b");
}

/* ---- sequences ---- */

static void test_sequential_name_pads_the_parents_count_of_creates(void **state)
{
	struct fix *f = *state;

	assert_int_equal(create(f, "/q", "", 0), 0);
	assert_int_equal(create(f, "/q/n-", "", ZK_CREATE_SEQUENTIAL), 0);
	assert_string_equal(created(f), "/q/n-0000000000");
	assert_int_equal(create(f, "/q/x", "", 0), 0);
	assert_int_equal(create(f, "/q/", "", ZK_CREATE_SEQUENTIAL), 0);
	assert_string_equal(created(f), "/q/0000000002");
	assert_string_equal(events(f), "created /q/0000000002, children /q");
}

static void test_deletes_do_not_move_the_sequence_but_the_shown_cversion(void **state)
{
	struct fix *f = *state;

	assert_int_equal(create(f, "/q", "", 0), 0);
	assert_int_equal(create(f, "/q/a", "", 0), 0);
	assert_int_equal(stat_of(f, "/q").cversion, 1);
	assert_int_equal(del(f, "/q/a", -1), 0);
	assert_int_equal(stat_of(f, "/q").cversion, 2);
	assert_int_equal(stat_of(f, "/q").pzxid, f->r.zxid);
	assert_int_equal(create(f, "/q/n", "", ZK_CREATE_SEQUENTIAL), 0);
	assert_string_equal(created(f), "/q/n0000000001");
}

/* ---- ephemerals ---- */

static void test_an_ephemeral_shows_its_owner_and_has_no_children(void **state)
{
	struct fix *f = *state;

	assert_int_equal(create(f, "/e", "", ZK_CREATE_EPHEMERAL), 0);
	assert_int_equal(stat_of(f, "/e").ephemeral_owner, ALICE);
	assert_int_equal(create(f, "/e/x", "", 0), ZK_ENOCHILDRENFOREPHEMERALS);
	assert_int_equal(tree_meta(f->t)->ephemerals, 1);
	assert_int_equal(tree_session_ephemerals(f->t, ALICE), 1);
}

static void test_closing_a_session_removes_its_ephemerals_in_one_zxid(void **state)
{
	struct fix *f = *state;

	assert_int_equal(create(f, "/p", "", 0), 0);
	assert_int_equal(create(f, "/p/b", "", ZK_CREATE_EPHEMERAL), 0);
	assert_int_equal(create(f, "/a", "", ZK_CREATE_EPHEMERAL), 0);
	uint64_t zxid = f->r.zxid;
	assert_int_equal(op(f, ZK_OP_CLOSE_SESSION, PK_BYTES_NONE), 0);
	assert_int_equal(f->r.zxid, zxid + 1);
	assert_string_equal(events(f), "deleted /p/b, children /p, deleted /a, children /");
	assert_false(there(f, "/p/b"));
	assert_int_equal(stat_of(f, "/p").pzxid, zxid + 1);
	assert_int_equal(tree_meta(f->t)->ephemerals, 0);
	assert_int_equal(tree_meta(f->t)->sessions, 1);
	assert_int_equal(create(f, "/z", "", 0), ZK_ESESSIONEXPIRED);
}

static void test_a_deleted_ephemeral_is_no_longer_its_sessions(void **state)
{
	struct fix *f = *state;

	assert_int_equal(create(f, "/e", "", ZK_CREATE_EPHEMERAL), 0);
	as(f, BOB);
	assert_int_equal(del(f, "/e", -1), 0);
	assert_int_equal(tree_session_ephemerals(f->t, ALICE), 0);
	as(f, ALICE);
	assert_int_equal(op(f, ZK_OP_CLOSE_SESSION, PK_BYTES_NONE), 0);
	assert_int_equal(f->r.event_count, 0);
}

/* ---- delete ---- */

static void test_delete_of_fixed_nodes_is_bad_arguments(void **state)
{
	struct fix *f = *state;

	assert_int_equal(del(f, "/", -1), ZK_EBADARGUMENTS);
	assert_int_equal(del(f, "/zookeeper", -1), ZK_EBADARGUMENTS);
	assert_int_equal(del(f, "/zookeeper/quota", -1), ZK_EBADARGUMENTS);
	assert_int_equal(del(f, "/zookeeper/config", -1), ZK_EBADARGUMENTS);
	assert_int_equal(del(f, "", -1), ZK_EBADARGUMENTS);
}

static void test_delete_checks_the_version_before_the_children(void **state)
{
	struct fix *f = *state;

	assert_int_equal(create(f, "/a", "", 0), 0);
	assert_int_equal(create(f, "/a/b", "", 0), 0);
	assert_int_equal(del(f, "/a", 3), ZK_EBADVERSION);
	assert_int_equal(del(f, "/a", -2), ZK_EBADVERSION);
	assert_int_equal(del(f, "/a", 0), ZK_ENOTEMPTY);
	assert_int_equal(del(f, "/a/b", 0), 0);
	assert_string_equal(events(f), "deleted /a/b, children /a");
	assert_int_equal(del(f, "/a", -1), 0);
	assert_int_equal(del(f, "/a", -1), ZK_ENONODE);
	assert_int_equal(create(f, "/c", "", 0), 0);
	assert_int_equal(del(f, "//c", -1), ZK_ENONODE);
	assert_int_equal(del(f, "/c/", -1), ZK_ENONODE);
}

/* ---- setData ---- */

static void test_set_data_moves_version_mzxid_and_mtime_alone(void **state)
{
	struct fix *f = *state;

	assert_int_equal(create(f, "/a", "1", 0), 0);
	uint64_t czxid = f->r.zxid;
	f->time_ms = 9000;
	assert_int_equal(set(f, "/a", "three", 0), 0);
	struct zk_stat s = stat_of(f, "/a");
	assert_int_equal(s.version, 1);
	assert_int_equal(s.mzxid, f->r.zxid);
	assert_int_equal(s.czxid, czxid);
	assert_int_equal(s.pzxid, czxid);
	assert_int_equal(s.mtime, 9000);
	assert_int_equal(s.ctime, 1000);
	assert_int_equal(s.data_length, 5);
	assert_string_equal(events(f), "changed /a");
	assert_int_equal(set(f, "/a", "x", 0), ZK_EBADVERSION);
	assert_int_equal(set(f, "/b", "x", -1), ZK_ENONODE);
	assert_int_equal(set(f, "b", "x", -1), ZK_EBADARGUMENTS);
	assert_int_equal(set(f, "/", "root", -1), 0);
	assert_string_equal(data_of(f, "/"), "root");
}

static void test_large_data_moves_out_of_the_record_and_back(void **state)
{
	struct fix *f = *state;
	uint8_t *big = pk_alloc(100000);

	memset(big, 'b', 100000);
	assert_int_equal(create(f, "/a", "small", 0), 0);
	assert_int_equal(set_bytes(f, "/a", pk_bytes(big, 100000), -1), 0);
	assert_int_equal(stat_of(f, "/a").data_length, 100000);
	assert_int_equal(create(f, "/a/kid", "", 0), 0);
	fix_reopen(f);
	assert_int_equal(ask(f, ZK_OP_GET_DATA, "/a", false), 0);
	assert_int_equal(f->out.len, 100000 + 4 + ZK_STAT_BYTES);
	assert_memory_equal(f->out.data + 4, big, 100000);
	assert_int_equal(set_bytes(f, "/a", pk_bytes(big, 1025), -1), 0);
	assert_int_equal(set_bytes(f, "/a", pk_bytes(big, 1024), -1), 0);
	assert_int_equal(set_bytes(f, "/a", pk_bytes(big, 1025), -1), 0);
	assert_int_equal(del(f, "/a/kid", -1), 0);
	assert_int_equal(del(f, "/a", -1), 0);
	free(big);
}

/* ---- the way of entries ---- */

static void test_an_entry_applied_before_is_skipped(void **state)
{
	struct fix *f = *state;
	struct txn_header h = { .term = 1, .index = f->index };

	assert_false(tree_entry_begin(f->t, &h, f->index, 1));
	uint64_t digest = tree_meta(f->t)->digest;
	tree_skip_index(f->t, f->index, 1);
	tree_skip_index(f->t, f->index + 1, 2);
	assert_int_equal(tree_meta(f->t)->index, f->index + 1);
	assert_int_equal(tree_meta(f->t)->term, 2);
	assert_int_equal(tree_meta(f->t)->digest, digest);
}

static void test_everything_is_there_after_a_reopen(void **state)
{
	struct fix *f = *state;

	assert_int_equal(create(f, "/a", "1", 0), 0);
	assert_int_equal(create(f, "/a/e", "2", ZK_CREATE_EPHEMERAL), 0);
	fix_reopen(f);
	assert_string_equal(data_of(f, "/a/e"), "2");
	assert_int_equal(tree_session_ephemerals(f->t, ALICE), 1);
	struct tree_session s;
	assert_true(tree_session_get(f->t, ALICE, &s));
	assert_int_equal(s.timeout_ms, 30000);
	assert_int_equal(s.password[3], 1);
	assert_int_equal(create(f, "/a/n", "", ZK_CREATE_SEQUENTIAL), 0);
	assert_string_equal(created(f), "/a/n0000000001");
}

static void test_meta_is_refused_when_a_bit_is_wrong(void **state)
{
	struct fix *f = *state;
	struct pk_buf b = PK_BUF_INIT;
	struct tree_meta m;
	struct pk_err err = PK_ERR_INIT;

	tree_meta_encode(tree_meta(f->t), &b);
	assert_int_equal(tree_meta_decode(&m, pk_buf_bytes(&b), &err), 0);
	assert_memory_equal(&m, tree_meta(f->t), sizeof(m));
	for (size_t i = 0; i < b.len; i++) {
		b.data[i] ^= 1;
		assert_int_equal(tree_meta_decode(&m, pk_buf_bytes(&b), &err), PK_ECORRUPT);
		b.data[i] ^= 1;
	}
	assert_int_equal(tree_meta_decode(&m, pk_bytes(b.data, b.len - 1), &err), PK_ECORRUPT);
	pk_buf_release(&b);
}

/* ---- zxids ---- */

static void test_the_zxid_counter_runs_over_into_a_new_epoch(void **state)
{
	struct fix *f = *state;
	uint64_t zxid = tree_meta(f->t)->zxid;

	assert_int_equal(zxid >> 32, 0);
	assert_int_equal(op_from(f, TXN_EPOCH, 0, 0, PK_BYTES_NONE), 0);
	assert_true(f->r.silent);
	assert_int_equal(tree_meta(f->t)->zxid, (uint64_t)1 << 32);
	assert_int_equal(create(f, "/a", "", 0), 0);
	assert_int_equal(f->r.zxid, ((uint64_t)1 << 32) + 1);

	/* 2^32 transactions are too many for a test: the counter is set in the stored meta. */
	struct pk_bytes record;
	struct pk_buf edited = PK_BUF_INIT;
	struct tree_meta m = *tree_meta(f->t);
	tree_flush(f->t);
	assert_int_equal(kv_get(f->kv, pk_bytes("M", 1), &record), 1);
	m.zxid = ((uint64_t)2 << 32) - 2;
	tree_meta_encode(&m, &edited);
	size_t meta_bytes = edited.len;
	pk_buf_add(&edited, record.data + meta_bytes, record.len - meta_bytes);
	kv_put(f->kv, pk_bytes("M", 1), pk_buf_bytes(&edited));
	pk_buf_release(&edited);
	struct tree_config cfg = { .path_depth_max = 100 };
	struct pk_err err = PK_ERR_INIT;
	tree_close(f->t);
	assert_int_equal(tree_open(&f->t, f->kv, &cfg, &err), 0);
	assert_int_equal(create(f, "/b", "", 0), 0);
	assert_int_equal(f->r.zxid, 0x1ffffffffu);
	assert_int_equal(create(f, "/c", "", 0), 0);
	assert_int_equal(f->r.zxid, 0x200000001u);
}

static void test_sync_and_digest_take_no_zxid(void **state)
{
	struct fix *f = *state;
	uint64_t zxid = tree_meta(f->t)->zxid;

	assert_int_equal(op(f, TXN_SYNC, PK_BYTES_NONE), 0);
	assert_false(f->r.silent);
	assert_int_equal(op_from(f, TXN_DIGEST, 0, 0, PK_BYTES_NONE), 0);
	assert_true(f->r.silent);
	assert_int_equal(tree_meta(f->t)->zxid, zxid);
	assert_int_equal(op(f, 4711, PK_BYTES_NONE), ZK_EUNIMPLEMENTED);
	assert_int_equal(tree_meta(f->t)->zxid, zxid);
}

static void test_a_body_that_cannot_be_read_is_a_marshalling_error(void **state)
{
	struct fix *f = *state;
	static const int32_t types[] = { ZK_OP_CREATE, ZK_OP_CREATE2,       ZK_OP_CREATE_CONTAINER,
					 ZK_OP_DELETE, ZK_OP_SET_DATA,      ZK_OP_SET_ACL,
					 ZK_OP_CHECK,  ZK_OP_MULTI,         ZK_OP_CREATE_TTL,
					 TXN_ATTACH,   ZK_OP_CREATE_SESSION };

	for (size_t i = 0; i < PK_COUNT(types); i++)
		assert_int_equal(op(f, types[i], pk_bytes("\0\0\0\1", 4)), ZK_EMARSHALLING);
}

#define T(name) cmocka_unit_test_setup_teardown(name, fix_setup, fix_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_an_empty_tree_has_zookeepers_own_nodes),
		T(test_the_root_starts_with_a_shown_cversion_of_minus_one),
		T(test_create_gives_path_and_a_stat_of_its_own_zxid),
		T(test_create2_answers_with_the_stat),
		T(test_null_data_stays_null_and_empty_stays_empty),
		T(test_create_checks_the_parent_before_the_path),
		T(test_a_nul_in_a_path_is_bad_before_anything_else),
		T(test_a_refused_create_takes_its_zxid_and_changes_nothing),
		T(test_create_of_what_exists_is_node_exists),
		T(test_an_unknown_mode_is_bad_arguments),
		T(test_the_path_depth_has_a_bound),
		T(test_long_names_are_kept_whole),
		T(test_sequential_name_pads_the_parents_count_of_creates),
		T(test_deletes_do_not_move_the_sequence_but_the_shown_cversion),
		T(test_an_ephemeral_shows_its_owner_and_has_no_children),
		T(test_closing_a_session_removes_its_ephemerals_in_one_zxid),
		T(test_a_deleted_ephemeral_is_no_longer_its_sessions),
		T(test_delete_of_fixed_nodes_is_bad_arguments),
		T(test_delete_checks_the_version_before_the_children),
		T(test_set_data_moves_version_mzxid_and_mtime_alone),
		T(test_large_data_moves_out_of_the_record_and_back),
		T(test_an_entry_applied_before_is_skipped),
		T(test_everything_is_there_after_a_reopen),
		T(test_meta_is_refused_when_a_bit_is_wrong),
		T(test_the_zxid_counter_runs_over_into_a_new_epoch),
		T(test_sync_and_digest_take_no_zxid),
		T(test_a_body_that_cannot_be_read_is_a_marshalling_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
