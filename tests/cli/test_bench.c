#include "tests/lib/test.h"

#include <unistd.h>

#include "cli/bench_hist.h"
#include "cli/bench_proc_io.h"
#include "cli/bench_work.h"
#include "zkproto/frame.h"
#include "zkproto/zk.h"

static void test_percentile_is_within_a_64th_of_the_value(void **state)
{
	struct bench_hist h;

	(void)state;
	bench_hist_clear(&h);
	for (uint64_t ns = 1; ns <= 1000000; ns++)
		bench_hist_add(&h, ns);
	for (int i = 1; i <= 100; i++) {
		double share = i / 100.0, want = 1000000 * share;
		double got = (double)bench_hist_at(&h, share);

		assert_true(got >= want && got <= want * (1 + 1.0 / 64) + 1);
	}
	assert_int_equal(bench_hist_at(&h, 1.0), 1000000);
	assert_int_equal(h.count, 1000000);
}

static void test_every_power_of_two_has_a_bucket(void **state)
{
	struct bench_hist h;

	(void)state;
	for (unsigned int bit = 0; bit < 64; bit++) {
		uint64_t ns = UINT64_C(1) << bit;

		bench_hist_clear(&h);
		bench_hist_add(&h, ns - 1);
		bench_hist_add(&h, ns);
		bench_hist_add(&h, ns + 1);
		assert_int_equal(h.max_ns, ns + 1);
		assert_true(bench_hist_at(&h, 0.5) <= ns + 1);
		if (bit < BENCH_HIST_VALUE_BITS)
			assert_true(bench_hist_at(&h, 0.5) >= ns);
	}
}

static void test_nothing_added_has_no_percentiles(void **state)
{
	struct bench_hist h;

	(void)state;
	bench_hist_clear(&h);
	assert_int_equal(bench_hist_at(&h, 0.5), 0);
	assert_int_equal(bench_hist_at(&h, 1.0), 0);
}

static struct bench_work work_new(void)
{
	struct bench_work w;

	bench_work_init(&w);
	strcpy(w.folder, "/bench/here");
	w.keys = 1000;
	w.dirs = 7;
	w.value_bytes = 100;
	w.multi_count = 3;
	bench_work_prepare(&w);
	return w;
}

/* The body of the one frame in `out`, behind its request header. */
static struct zk_rd request_of(const struct pk_buf *out, int32_t xid, int32_t opcode)
{
	struct zk_rd r = zk_rd(pk_buf_bytes(out));
	struct zk_req_header header;

	assert_int_equal(zk_rd_int(&r), (int32_t)out->len - 4);
	assert_int_equal(zk_req_header_decode(&r, &header), 0);
	assert_int_equal(header.xid, xid);
	assert_int_equal(header.type, opcode);
	return r;
}

static void test_create_names_its_directory_and_number(void **state)
{
	struct bench_work w = work_new();
	struct bench_request q = { .op = BENCH_CREATE, .key = 25, .xid = 9 };
	struct pk_buf out = PK_BUF_INIT;
	struct zk_create_req req;

	(void)state;
	bench_work_encode(&w, &out, &q);
	struct zk_rd r = request_of(&out, 9, ZK_OP_CREATE);
	assert_int_equal(zk_create_req_decode(&r, &req), 0);
	assert_int_equal(r.in.len, 0);
	assert_true(pk_bytes_is(req.path, "/bench/here/d000004/n0000000025"));
	assert_int_equal(req.data.len, 100);
	pk_buf_release(&out);
	bench_work_release(&w);
}

static void test_folder_is_created_from_its_first_component_on(void **state)
{
	struct bench_work w = work_new();
	static const char *const paths[] = { "/bench", "/bench/here" };

	(void)state;
	assert_int_equal(bench_work_depth(&w), 2);
	for (uint32_t i = 0; i < 2; i++) {
		struct bench_request q = { .op = BENCH_CREATE_FOLDER, .key = i, .xid = 1 };
		struct pk_buf out = PK_BUF_INIT;
		struct zk_create_req req;

		bench_work_encode(&w, &out, &q);
		struct zk_rd r = request_of(&out, 1, ZK_OP_CREATE);
		assert_int_equal(zk_create_req_decode(&r, &req), 0);
		assert_true(pk_bytes_is(req.path, paths[i]));
		pk_buf_release(&out);
	}
	bench_work_release(&w);
}

/* Judge a get of node `key` answered with `value` at zxid 50, last modified at mzxid. */
static int get_check(const struct bench_work *w, uint64_t key, struct pk_bytes value, int64_t mzxid,
		     int32_t code)
{
	struct bench_request q = { .op = BENCH_GET, .key = key };
	struct zk_reply_header header = { .zxid = 50, .err = code };
	struct zk_get_data_resp resp = { .data = value, .stat = { .mzxid = mzxid } };
	struct pk_buf body = PK_BUF_INIT;
	struct pk_err err = PK_ERR_INIT;

	zk_get_data_resp_encode(&body, &resp);
	struct zk_rd r = zk_rd(pk_buf_bytes(&body));
	int rc = bench_work_check(w, &q, &header, &r, &err);
	pk_buf_release(&body);
	return rc;
}

static void test_get_wants_a_whole_value_of_its_node_from_the_past(void **state)
{
	struct bench_work w = work_new();
	uint8_t value[100];
	struct pk_bytes all = pk_bytes(value, sizeof(value));

	(void)state;
	for (uint64_t stamp = 0; stamp < 600; stamp++) {
		bench_work_value(&w, 5, stamp, value);
		assert_int_equal(get_check(&w, 5, all, 50, ZK_OK), 0);
	}
	assert_int_equal(get_check(&w, 6, all, 50, ZK_OK), PK_EPROTO);
	assert_int_equal(get_check(&w, 5, all, 51, ZK_OK), PK_EPROTO);
	assert_int_equal(get_check(&w, 5, all, 50, ZK_ENONODE), PK_EPROTO);
	assert_int_equal(get_check(&w, 5, pk_bytes(value, 99), 50, ZK_OK), PK_EPROTO);
	assert_int_equal(get_check(&w, 5, PK_BYTES_NONE, 50, ZK_OK), PK_EPROTO);
	for (size_t i = 0; i < sizeof(value); i++) {
		value[i] ^= 1;
		/* a stamp that differs is another value: its bytes do not fit */
		assert_int_equal(get_check(&w, 5, all, 50, ZK_OK), PK_EPROTO);
		value[i] ^= 1;
	}
	bench_work_release(&w);
}

/* What is said of an answer to this request that holds a stat. */
static int stat_check(const struct bench_work *w, enum bench_op op, int64_t zxid,
		      struct zk_stat stat)
{
	struct bench_request q = { .op = op, .key = 1 };
	struct zk_reply_header header = { .zxid = zxid };
	struct zk_stat_resp resp = { .stat = stat };
	struct pk_buf body = PK_BUF_INIT;
	struct pk_err err = PK_ERR_INIT;

	zk_stat_resp_encode(&body, &resp);
	struct zk_rd r = zk_rd(pk_buf_bytes(&body));
	int rc = bench_work_check(w, &q, &header, &r, &err);
	pk_buf_release(&body);
	return rc;
}

static int set_check(const struct bench_work *w, int64_t zxid, int64_t mzxid, int32_t bytes)
{
	return stat_check(w, BENCH_SET, zxid,
			  (struct zk_stat){ .mzxid = mzxid, .data_length = bytes });
}

static void test_set_wants_its_own_zxid_and_size_back(void **state)
{
	struct bench_work w = work_new();

	(void)state;
	assert_int_equal(set_check(&w, 9, 9, 100), 0);
	assert_int_equal(set_check(&w, 9, 8, 100), PK_EPROTO);
	assert_int_equal(set_check(&w, 9, 9, 99), PK_EPROTO);
	bench_work_release(&w);
}

static int event_check(const struct bench_work *w, int32_t type, const char *path)
{
	struct zk_watcher_event event = { .type = type, .path = pk_bytes_str(path) };
	struct pk_buf body = PK_BUF_INIT;
	struct pk_err err = PK_ERR_INIT;

	zk_watcher_event_encode(&body, &event);
	struct zk_rd r = zk_rd(pk_buf_bytes(&body));
	int rc = bench_work_check_event(w, 25, &r, &err);
	pk_buf_release(&body);
	return rc;
}

static void test_event_is_about_the_data_of_the_watched_node(void **state)
{
	struct bench_work w = work_new();

	(void)state;
	assert_int_equal(event_check(&w, ZK_EVENT_DATA_CHANGED, "/bench/here/d000004/n0000000025"),
			 0);
	assert_int_equal(event_check(&w, ZK_EVENT_DELETED, "/bench/here/d000004/n0000000025"),
			 PK_EPROTO);
	assert_int_equal(event_check(&w, ZK_EVENT_DATA_CHANGED, "/bench/here/d000004/n0000000026"),
			 PK_EPROTO);
	bench_work_release(&w);
}

static void test_only_a_watch_asks_for_an_event(void **state)
{
	struct bench_work w = work_new();
	static const uint8_t ops[] = { BENCH_GET, BENCH_WATCH };

	(void)state;
	for (size_t i = 0; i < PK_COUNT(ops); i++) {
		struct bench_request q = { .op = ops[i], .key = 25, .xid = 9 };
		struct pk_buf out = PK_BUF_INIT;
		struct zk_path_watch_req req;

		bench_work_encode(&w, &out, &q);
		struct zk_rd r = request_of(&out, 9, ZK_OP_GET_DATA);
		assert_int_equal(zk_path_watch_req_decode(&r, &req), 0);
		assert_int_equal(req.watch, ops[i] == BENCH_WATCH);
		pk_buf_release(&out);
	}
	bench_work_release(&w);
}

static void test_own_node_is_made_ephemeral(void **state)
{
	struct bench_work w = work_new();
	static const uint8_t ops[] = { BENCH_CREATE, BENCH_CREATE_OWN };

	(void)state;
	for (size_t i = 0; i < PK_COUNT(ops); i++) {
		struct bench_request q = { .op = ops[i], .key = 25, .xid = 9 };
		struct pk_buf out = PK_BUF_INIT;
		struct zk_create_req req;

		bench_work_encode(&w, &out, &q);
		struct zk_rd r = request_of(&out, 9, ZK_OP_CREATE);
		assert_int_equal(zk_create_req_decode(&r, &req), 0);
		assert_true(pk_bytes_is(req.path, "/bench/here/d000004/n0000000025"));
		assert_int_equal(req.flags, ops[i] == BENCH_CREATE_OWN ? ZK_CREATE_EPHEMERAL : 0);
		pk_buf_release(&out);
	}
	bench_work_release(&w);
}

static int owner_check(const struct bench_work *w, int64_t owner)
{
	return stat_check(w, BENCH_EXISTS_OWN, 9,
			  (struct zk_stat){ .ephemeral_owner = owner, .data_length = 100 });
}

static void test_own_node_belongs_to_the_session_that_asks(void **state)
{
	struct bench_work w = work_new();

	(void)state;
	w.owner = 0x1234;
	assert_int_equal(owner_check(&w, 0x1234), 0);
	assert_int_equal(owner_check(&w, 0x1235), PK_EPROTO);
	assert_int_equal(owner_check(&w, 0), PK_EPROTO);
	bench_work_release(&w);
}

static void test_watch_is_set_again_from_the_last_zxid_seen(void **state)
{
	struct bench_work w = work_new();
	struct bench_request q = { .op = BENCH_REWATCH, .key = 25, .xid = ZK_XID_SET_WATCHES };
	struct pk_buf out = PK_BUF_INIT;
	struct zk_set_watches_req req;
	struct pk_bytes path;

	(void)state;
	w.zxid = 77;
	bench_work_encode(&w, &out, &q);
	struct zk_rd r = request_of(&out, ZK_XID_SET_WATCHES, ZK_OP_SET_WATCHES);
	assert_int_equal(zk_set_watches_req_decode(&r, &req), 0);
	assert_int_equal(r.in.len, 0);
	assert_int_equal(req.relative_zxid, 77);
	assert_int_equal(req.data.count, 1);
	assert_int_equal(req.exist.count + req.child.count, 0);
	assert_true(zk_strings_next(&req.data, &path));
	assert_true(pk_bytes_is(path, "/bench/here/d000004/n0000000025"));
	pk_buf_release(&out);
	bench_work_release(&w);
}

static void test_longest_value_fits_the_usual_request(void **state)
{
	struct bench_work w = work_new();
	struct bench_request q = { .op = BENCH_CREATE, .key = 25, .xid = 9 };
	struct pk_buf out = PK_BUF_INIT;

	(void)state;
	memset(w.folder, 'a', BENCH_FOLDER_BYTES_MAX);
	w.folder[0] = '/';
	w.value_bytes = BENCH_VALUE_BYTES_MAX;
	bench_work_prepare(&w);
	bench_work_encode(&w, &out, &q);
	assert_true(out.len - 4 <= 0xfffff);
	pk_buf_release(&out);
	bench_work_release(&w);
}

static void test_merged_counts_are_those_of_both(void **state)
{
	struct bench_hist a, b;

	(void)state;
	bench_hist_clear(&a);
	bench_hist_clear(&b);
	for (uint64_t ns = 1; ns <= 10; ns++)
		bench_hist_add(ns <= 5 ? &a : &b, ns);
	bench_hist_merge(&a, &b);
	assert_int_equal(a.count, 10);
	assert_int_equal(a.max_ns, 10);
	assert_int_equal(bench_hist_at(&a, 0.5), 5);
}

static void test_only_folders_may_exist_before(void **state)
{
	struct bench_work w = work_new();
	struct zk_reply_header header = { .zxid = 9, .err = ZK_ENODEEXISTS };
	struct pk_err err = PK_ERR_INIT;
	struct zk_rd r = zk_rd(PK_BYTES_NONE);

	(void)state;
	assert_int_equal(bench_work_check(&w, &(struct bench_request){ .op = BENCH_CREATE_DIR },
					  &header, &r, &err),
			 0);
	assert_int_equal(bench_work_check(&w, &(struct bench_request){ .op = BENCH_CREATE },
					  &header, &r, &err),
			 PK_EPROTO);
	assert_non_null(strstr(err.text, "NodeExists"));
	bench_work_release(&w);
}

static void test_process_ids_are_numbers_between_commas(void **state)
{
	struct bench_pids pids;
	struct pk_err err = PK_ERR_INIT;
	static const char *const wrong[] = {
		"x", "1,x", "-1", "0", "1;2", ",1", "99999999999999999999"
	};

	(void)state;
	assert_int_equal(bench_pids_parse(&pids, "1,22,333", &err), 0);
	assert_int_equal(pids.count, 3);
	assert_int_equal(pids.pids[2], 333);
	assert_int_equal(bench_pids_parse(&pids, "", &err), 0);
	assert_int_equal(pids.count, 0);
	for (size_t i = 0; i < PK_COUNT(wrong); i++)
		assert_int_equal(bench_pids_parse(&pids, wrong[i], &err), PK_EINVAL);
}

static void test_our_own_process_has_memory_and_time(void **state)
{
	struct bench_pids pids = { .pids = { getpid() }, .count = 1 };
	struct bench_proc_use before = bench_proc_use(&pids), use;

	(void)state;
	assert_true(before.rss_bytes > 100000);
	do /* until the kernel has counted a tick of it */
		use = bench_proc_use(&pids);
	while (use.cpu_ns == before.cpu_ns);
	assert_true(bench_proc_since(&before, &use).cpu_ns <= bench_proc_own_cpu_ns());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_percentile_is_within_a_64th_of_the_value),
		cmocka_unit_test(test_every_power_of_two_has_a_bucket),
		cmocka_unit_test(test_nothing_added_has_no_percentiles),
		cmocka_unit_test(test_create_names_its_directory_and_number),
		cmocka_unit_test(test_folder_is_created_from_its_first_component_on),
		cmocka_unit_test(test_get_wants_a_whole_value_of_its_node_from_the_past),
		cmocka_unit_test(test_set_wants_its_own_zxid_and_size_back),
		cmocka_unit_test(test_event_is_about_the_data_of_the_watched_node),
		cmocka_unit_test(test_only_a_watch_asks_for_an_event),
		cmocka_unit_test(test_own_node_is_made_ephemeral),
		cmocka_unit_test(test_own_node_belongs_to_the_session_that_asks),
		cmocka_unit_test(test_watch_is_set_again_from_the_last_zxid_seen),
		cmocka_unit_test(test_longest_value_fits_the_usual_request),
		cmocka_unit_test(test_merged_counts_are_those_of_both),
		cmocka_unit_test(test_only_folders_may_exist_before),
		cmocka_unit_test(test_process_ids_are_numbers_between_commas),
		cmocka_unit_test(test_our_own_process_has_memory_and_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
