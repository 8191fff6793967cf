#include "tests/lib/test.h"

#include <ctype.h>

#include "store/metrics.h"

static const struct pk_metric_row zookeeper[] = {
#define ZK_METRIC(name_, type_) { .name = (name_), .type = PK_METRIC_##type_ },
#include "tests/store/zookeeper_metrics.tbl"
};

static void test_every_metric_of_zookeeper_is_there_with_its_type(void **state)
{
	(void)state;
	assert_true(PK_COUNT(zookeeper) > 150);
	for (size_t i = 0; i < PK_COUNT(zookeeper); i++) {
		size_t found = 0;

		for (size_t j = 0; j < STORE_METRIC_COUNT; j++) {
			if (strcmp(store_metric_rows[j].name, zookeeper[i].name) == 0) {
				found++;
				assert_int_equal(store_metric_rows[j].type, zookeeper[i].type);
			}
		}
		if (found != 1)
			fail_msg("%zu rows named %s", found, zookeeper[i].name);
	}
}

static void test_names_and_helps_are_fit_to_be_shown(void **state)
{
	(void)state;
	for (size_t i = 0; i < STORE_METRIC_COUNT; i++) {
		const struct pk_metric_row *row = &store_metric_rows[i];

		for (const char *c = row->name; *c != '\0'; c++)
			assert_true(islower((unsigned char)*c) || isdigit((unsigned char)*c) ||
				    *c == '_');
		assert_true(isupper((unsigned char)row->help[0]));
		assert_int_equal(row->help[strlen(row->help) - 1], '.');
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(row->name, store_metric_rows[j].name);
	}
}

/* What the reference's mntr prints for these at a start: taken from its output. */
static void test_a_fresh_registry_prints_what_the_reference_does(void **state)
{
	static const char *const lines[] = {
		"zk_looking_count\t0\n",           "zk_avg_fsynctime\t0.0\n",
		"zk_cnt_readlatency\t0\n",         "zk_p999_readlatency\t0\n",
		"zk_sum_fsynctime\t0\n",           "zk_response_bytes\t0\n",
		"zk_avg_jvm_pause_time_ms\t0.0\n",
	};
	struct pk_metrics *m = store_metrics_new();
	struct pk_buf out = PK_BUF_INIT;

	(void)state;
	pk_metrics_mntr(m, &out);
	for (size_t i = 0; i < PK_COUNT(lines); i++)
		assert_non_null(strstr(pk_buf_str(&out), lines[i]));
	assert_null(strstr(pk_buf_str(&out), "zk_leader_uptime"));
	assert_null(strstr(pk_buf_str(&out), "zk_p50_fsynctime"));
	pk_buf_release(&out);
	pk_metrics_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_metric_of_zookeeper_is_there_with_its_type),
		cmocka_unit_test(test_names_and_helps_are_fit_to_be_shown),
		cmocka_unit_test(test_a_fresh_registry_prints_what_the_reference_does),
	};
	return cmocka_run_group_tests_name("store_metrics", tests, NULL, NULL);
}
