#include "tests/lib/test.h"

#include <math.h>
#include <stdio.h>

#include "base/metrics.h"

enum { HITS, LEVEL, SHARE, SIZE, TIME, BY_KEY, LEVELS, SIZES, TIMES, METRICS };

static const struct pk_metric_row rows[] = {
	[HITS] = { "hits", PK_METRIC_COUNTER, "Times hit." },
	[LEVEL] = { "level", PK_METRIC_GAUGE, "How full." },
	[SHARE] = { "share", PK_METRIC_GAUGE_REAL, "How much." },
	[SIZE] = { "size", PK_METRIC_SUMMARY, "How large." },
	[TIME] = { "time", PK_METRIC_SUMMARY_ADV, "How long." },
	[BY_KEY] = { "by_key", PK_METRIC_COUNTER_SET, "Which." },
	[LEVELS] = { "levels", PK_METRIC_GAUGE_SET, "How full each." },
	[SIZES] = { "sizes", PK_METRIC_SUMMARY_SET, "How large each." },
	[TIMES] = { "times", PK_METRIC_SUMMARY_ADV_SET, "How long each." },
};

static int setup(void **state)
{
	*state = pk_metrics_new(rows, METRICS);
	return 0;
}

static int teardown(void **state)
{
	pk_metrics_free(*state);
	return 0;
}

static void expect(struct pk_buf *have, const char *want)
{
	assert_string_equal(pk_buf_str(have), want);
	pk_buf_release(have);
}

static void test_mntr_has_zookeepers_names(void **state)
{
	struct pk_metrics *m = *state;
	struct pk_buf out = PK_BUF_INIT;

	pk_counter_add(m, HITS, 3);
	pk_gauge_set(m, LEVEL, 7);
	pk_summary_record(m, SIZE, 1);
	pk_summary_record(m, SIZE, 2);
	pk_summary_record(m, SIZE, 2);
	pk_metrics_mntr(m, &out);
	expect(&out, "zk_hits\t3\nzk_level\t7\n"
		     "zk_avg_size\t1.6667\nzk_min_size\t1\nzk_max_size\t2\nzk_cnt_size\t3\n"
		     "zk_sum_size\t5\n"
		     "zk_avg_time\t0.0\nzk_min_time\t0\nzk_max_time\t0\nzk_cnt_time\t0\n"
		     "zk_sum_time\t0\nzk_p50_time\t0\nzk_p95_time\t0\nzk_p99_time\t0\n"
		     "zk_p999_time\t0\n");
}

static void test_prometheus_text_has_quantiles_count_and_sum(void **state)
{
	struct pk_metrics *m = *state;
	struct pk_buf out = PK_BUF_INIT;

	pk_counter_add(m, HITS, 10000000);
	pk_summary_record(m, TIME, 4);
	pk_counter_add_key(m, BY_KEY, pk_bytes_str("a\"b\\c\nd"), 2);
	pk_summary_record_key(m, SIZES, pk_bytes_str("k"), 9);
	pk_metrics_prometheus(m, &out);
	expect(&out, "# HELP hits Times hit.\n# TYPE hits counter\nhits 1.0E7\n"
		     "# HELP size How large.\n# TYPE size summary\nsize{quantile=\"0.5\"} NaN\n"
		     "size_count 0.0\nsize_sum 0.0\n"
		     "# HELP time How long.\n# TYPE time summary\ntime{quantile=\"0.5\"} 4.0\n"
		     "time{quantile=\"0.9\"} 4.0\ntime{quantile=\"0.99\"} 4.0\n"
		     "time_count 1.0\ntime_sum 4.0\n"
		     "# HELP by_key Which.\n# TYPE by_key counter\n"
		     "by_key{key=\"a\\\"b\\\\c\\nd\"} 2.0\n"
		     "# HELP sizes How large each.\n# TYPE sizes summary\n"
		     "sizes{key=\"k\",quantile=\"0.5\"} 9.0\nsizes_count{key=\"k\"} 1.0\n"
		     "sizes_sum{key=\"k\"} 9.0\n");
}

static bool half(void *owner, double *value)
{
	*value = 0.5;
	return *(bool *)owner;
}

static void find(void *owner, const char *name, struct pk_metric_value value)
{
	if (strcmp(name, "level") == 0)
		*(double *)owner = value.d;
}

static void test_a_gauge_shows_only_while_it_has_a_value(void **state)
{
	struct pk_metrics *m = *state;
	bool there = true;
	double seen = -1;

	pk_metrics_each(m, find, &seen);
	assert_true(seen == -1);
	pk_gauge_call(m, LEVEL, half, &there);
	pk_metrics_each(m, find, &seen);
	assert_true(seen == 0.5);
	there = false;
	seen = -1;
	pk_metrics_each(m, find, &seen);
	assert_true(seen == -1);
	pk_gauge_set(m, LEVEL, 2);
	pk_metrics_each(m, find, &seen);
	assert_true(seen == 2);
	pk_gauge_hide(m, LEVEL);
	seen = -1;
	pk_metrics_each(m, find, &seen);
	assert_true(seen == -1);
}

static void test_a_real_gauge_keeps_its_point(void **state)
{
	struct pk_metrics *m = *state;
	struct pk_buf out = PK_BUF_INIT;

	pk_gauge_set(m, SHARE, 0);
	pk_metrics_mntr(m, &out);
	assert_non_null(strstr(pk_buf_str(&out), "zk_share\t0.0\n"));
	pk_buf_release(&out);
}

static void test_percentiles_are_exact_when_small_and_near_when_large(void **state)
{
	struct pk_metrics *m = *state;

	for (int64_t i = 1; i <= 20; i++)
		pk_summary_record(m, SIZE, i);
	assert_int_equal(pk_summary_percentile(m, SIZE, 500), 10);
	assert_int_equal(pk_summary_percentile(m, SIZE, 950), 19);
	assert_int_equal(pk_summary_percentile(m, SIZE, 1000), 20);
	for (int64_t i = 1; i <= 100000; i++)
		pk_summary_record(m, TIME, i * 1000);
	for (unsigned p = 10; p < 1000; p += 10) {
		double want = p * 100 * 1000.0;
		double have = (double)pk_summary_percentile(m, TIME, p);

		assert_true(fabs(have - want) <= want / 30);
	}
}

static void test_extreme_values_stay_in_range(void **state)
{
	struct pk_metrics *m = *state;
	struct pk_summary_view v;

	pk_summary_record(m, TIME, INT64_MAX);
	pk_summary_record(m, TIME, INT64_MAX);
	pk_summary_record(m, TIME, -5);
	v = pk_summary_view(m, TIME);
	assert_int_equal(v.count, 3);
	assert_true(v.min == -5 && v.max == INT64_MAX);
	assert_true(pk_summary_percentile(m, TIME, 999) > INT64_MAX / 32 * 31);
	assert_true(pk_summary_percentile(m, TIME, 0) <= 0);
}

static void test_reset_keeps_gauges(void **state)
{
	struct pk_metrics *m = *state;
	double seen = -1;

	pk_counter_add(m, HITS, 3);
	pk_gauge_set(m, LEVEL, 7);
	pk_summary_record(m, SIZE, 1);
	pk_summary_record_key(m, TIMES, pk_bytes_str("k"), 1);
	pk_metrics_reset(m);
	assert_int_equal(pk_counter_value(m, HITS), 0);
	assert_int_equal(pk_summary_view(m, SIZE).count, 0);
	pk_metrics_each(m, find, &seen);
	assert_true(seen == 7);
	pk_summary_record(m, SIZE, 5);
	assert_int_equal(pk_summary_view(m, SIZE).min, 5);
}

static void count_keys(void *owner, const char *name, struct pk_metric_value value)
{
	size_t *counts = owner;

	counts[0] += strstr(name, "_by_key") != NULL;
	if (strcmp(name, "_other_by_key") == 0)
		counts[1] = (size_t)value.i;
}

static void test_a_set_keeps_a_bounded_number_of_keys(void **state)
{
	struct pk_metrics *m = *state;
	size_t counts[2] = { 0 };

	for (int i = 0; i < PK_METRIC_KEYS_MAX + 50; i++) {
		char key[32];

		snprintf(key, sizeof(key), "key%d", i);
		pk_counter_add_key(m, BY_KEY, pk_bytes_str(key), 1);
	}
	pk_metrics_each(m, count_keys, counts);
	assert_int_equal(counts[0], PK_METRIC_KEYS_MAX + 1);
	assert_int_equal(counts[1], 50);
}

static void test_keyed_gauges_can_be_set_anew(void **state)
{
	struct pk_metrics *m = *state;
	struct pk_buf out = PK_BUF_INIT;

	pk_gauge_set_key(m, LEVELS, pk_bytes_str("old"), 1);
	pk_gauge_clear_keys(m, LEVELS);
	pk_gauge_set_key(m, LEVELS, pk_bytes_str("new"), 2.5);
	pk_metrics_mntr(m, &out);
	assert_null(strstr(pk_buf_str(&out), "old_levels"));
	assert_non_null(strstr(pk_buf_str(&out), "zk_new_levels\t2.5\n"));
	pk_buf_release(&out);
}

static void test_doubles_read_as_java_writes_them(void **state)
{
	static const struct {
		double v;
		const char *text;
	} cases[] = {
		{ 0, "0.0" },
		{ 1, "1.0" },
		{ -1.5, "-1.5" },
		{ 0.001, "0.001" },
		{ 0.0001, "1.0E-4" },
		{ 0.0123, "0.0123" },
		{ 9999999, "9999999.0" },
		{ 10000000, "1.0E7" },
		{ 12345678, "1.2345678E7" },
		{ 123.4567, "123.4567" },
		{ 1e300, "1.0E300" },
		{ 100, "100.0" },
		{ 0.1, "0.1" },
	};
	char text[PK_DOUBLE_TEXT_BYTES];

	(void)state;
	for (size_t i = 0; i < PK_COUNT(cases); i++)
		assert_string_equal(pk_double_text(cases[i].v, text), cases[i].text);
	assert_string_equal(pk_double_text((double)NAN, text), "NaN");
	assert_string_equal(pk_double_text((double)-INFINITY, text), "-Inf");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_mntr_has_zookeepers_names),
		T(test_prometheus_text_has_quantiles_count_and_sum),
		T(test_a_gauge_shows_only_while_it_has_a_value),
		T(test_a_real_gauge_keeps_its_point),
		T(test_percentiles_are_exact_when_small_and_near_when_large),
		T(test_extreme_values_stay_in_range),
		T(test_reset_keeps_gauges),
		T(test_a_set_keeps_a_bounded_number_of_keys),
		T(test_keyed_gauges_can_be_set_anew),
		T(test_doubles_read_as_java_writes_them),
	};
	return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
