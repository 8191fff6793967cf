#include "tests/lib/test.h"

#include <stdio.h>

#include "store/rlog.h"
#include "tests/lib/sim_disk.h"

static void on_done(void *owner, int rc, const struct pk_err *err)
{
	int *count = owner;
	assert_int_equal(rc, 0);
	(void)err;
	++*count;
}

static void test_appended_records_come_back(void **state)
{
	(void)state;
	struct sim_disk *d = sim_disk_new(1);
	struct rlog_config cfg = { .segment_bytes = 16384, .cluster_id = 7, .server_id = 2 };
	struct rlog_loaded got;
	struct pk_err err = PK_ERR_INIT;
	struct rlog *l;
	int done = 0;

	assert_int_equal(rlog_open(&l, sim_disk_disk(d), &cfg, &got, &err), 0);
	assert_int_equal(got.record_count, 0);
	assert_int_equal(got.start_index, 1);
	rlog_loaded_release(&got);
	assert_int_equal(rlog_set_term(l, 3, &err), 0);
	assert_int_equal(rlog_set_vote(l, 9, &err), 0);
	for (uint64_t i = 1; i <= 300; i++) {
		char text[64];
		snprintf(text, sizeof(text), "record %llu", (unsigned long long)i);
		rlog_append(l,
			    &(struct rlog_record){
				    .index = i, .term = 3, .type = 1, .data = pk_bytes_str(text) },
			    1, on_done, &done);
		if (i % 7 == 0)
			sim_disk_run(d);
	}
	sim_disk_run(d);
	assert_int_equal(done, 300);
	rlog_close(l);
	sim_disk_crash(d, NULL, NULL);
	if (rlog_open(&l, sim_disk_disk(d), &cfg, &got, &err) != 0)
		fail_msg("%s", err.text);
	assert_int_equal(got.term, 3);
	assert_int_equal(got.voted_for, 9);
	assert_int_equal(got.record_count, 300);
	assert_true(pk_bytes_is(got.records[299].data, "record 300"));
	assert_int_equal(got.records[299].index, 300);
	rlog_loaded_release(&got);
	rlog_close(l);
	sim_disk_free(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_appended_records_come_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
