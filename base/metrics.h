/*
 * base/metrics.h - counters, gauges and summaries, declared once in <module>/metrics.tbl.
 *
 * A row is METRIC(ID, "exported_name", TYPE, "help"): ID becomes an enum value, the index by which
 * the metric is updated. An update is an array access and a few additions, no lock and no clock:
 * one registry belongs to one thread. The shapes and names are ZooKeeper's (ServerMetrics.java,
 * DefaultMetricsProvider.java and PrometheusMetricsProvider.java at release 3.8.0):
 *
 *   COUNTER          only grows                   mntr: name
 *   GAUGE            a value, or a callback       mntr: name
 *   GAUGE_REAL       the same, shown as "0.0"     mntr: name
 *   SUMMARY          of recorded values           mntr: avg_ min_ max_ cnt_ sum_ before the name
 *   SUMMARY_ADV      the same with percentiles    mntr: and p50_ p95_ p99_ p999_
 *   *_SET            one of these for each key    mntr: key_name, and as above (avg_key_name)
 *
 * A gauge shows nothing until it was given a value or a callback, and nothing again after
 * pk_gauge_hide (what only a leader knows, say). A set keeps at most PK_METRIC_KEYS_MAX keys; what
 * comes for further keys is counted under the key "_other".
 *
 * Percentiles come from a histogram of fixed size: exact for whole values below 32, then within
 * 1/32 of the value; over everything recorded since the start or the last reset. (ZooKeeper takes
 * a random sample for mntr and a sliding window for Prometheus.)
 */
#ifndef PK_BASE_METRICS_H
#define PK_BASE_METRICS_H

#include "base/bytes.h"

enum pk_metric_type {
	PK_METRIC_COUNTER,
	PK_METRIC_GAUGE,
	PK_METRIC_GAUGE_REAL,
	PK_METRIC_SUMMARY,
	PK_METRIC_SUMMARY_ADV,
	PK_METRIC_COUNTER_SET,
	PK_METRIC_GAUGE_SET,
	PK_METRIC_SUMMARY_SET,
	PK_METRIC_SUMMARY_ADV_SET,
};

struct pk_metric_row {
	const char *name;
	enum pk_metric_type type;
	const char *help;
};

#define PK_METRIC_KEYS_MAX      1000
#define PK_METRIC_KEY_BYTES_MAX 256

struct pk_metrics;

/* rows are borrowed for the registry's life; ids are indexes into them. */
struct pk_metrics *pk_metrics_new(const struct pk_metric_row *rows, size_t count);
void pk_metrics_free(struct pk_metrics *m); /* NULL is fine */
size_t pk_metrics_count(const struct pk_metrics *m);
const struct pk_metric_row *pk_metrics_row(const struct pk_metrics *m, size_t id);

/* Updates. The type of the row must fit: asserted. */
void pk_counter_add(struct pk_metrics *m, size_t id, int64_t delta); /* delta >= 0 */
void pk_gauge_set(struct pk_metrics *m, size_t id, double value);
void pk_gauge_hide(struct pk_metrics *m, size_t id);
/* From now on the value is asked for when it is shown; a false result hides it that time. */
typedef bool pk_gauge_f(void *owner, double *value);
void pk_gauge_call(struct pk_metrics *m, size_t id, pk_gauge_f *call, void *owner);
void pk_summary_record(struct pk_metrics *m, size_t id, int64_t value);
void pk_counter_add_key(struct pk_metrics *m, size_t id, struct pk_bytes key, int64_t delta);
void pk_gauge_set_key(struct pk_metrics *m, size_t id, struct pk_bytes key, double value);
void pk_gauge_clear_keys(struct pk_metrics *m, size_t id); /* before setting them anew */
void pk_summary_record_key(struct pk_metrics *m, size_t id, struct pk_bytes key, int64_t value);
/* What `srst` does: counters and summaries start again, gauges stay. */
void pk_metrics_reset(struct pk_metrics *m);

/* Reading one: a counter's or gauge's value (0 when hidden), a summary's figures. */
int64_t pk_counter_value(const struct pk_metrics *m, size_t id);
struct pk_summary_view {
	int64_t count, sum, min, max; /* min and max are 0 while count is */
	double avg;                   /* rounded half up to 4 decimals */
};
struct pk_summary_view pk_summary_view(const struct pk_metrics *m, size_t id);
/* The value that a share of `per_mille` of the recorded values does not exceed; 0 when none. */
int64_t pk_summary_percentile(const struct pk_metrics *m, size_t id, unsigned per_mille);

/* Every shown value in table order, under its mntr name (without "zk_"). A whole number comes with
 * `whole` true. name is borrowed during the call. */
struct pk_metric_value {
	bool whole;
	int64_t i;
	double d; /* always set */
};
typedef void pk_metric_visit_f(void *owner, const char *name, struct pk_metric_value value);
void pk_metrics_each(const struct pk_metrics *m, pk_metric_visit_f *visit, void *owner);

/* "zk_name\tvalue\n" lines as the four-letter word mntr prints them. */
void pk_metrics_mntr(const struct pk_metrics *m, struct pk_buf *out);
/* The Prometheus text exposition format 0.0.4: quantiles 0.5, and for *_ADV 0.9 and 0.99, then
 * name_count and name_sum; sets carry the label key. */
void pk_metrics_prometheus(const struct pk_metrics *m, struct pk_buf *out);

/* A double as Java's Double.toString writes it, which is what both formats above show: "0.0",
 * "12.5", "1.0E7", "NaN". */
#define PK_DOUBLE_TEXT_BYTES 40
const char *pk_double_text(double v, char text[PK_DOUBLE_TEXT_BYTES]);

#define PK_METRIC_ROW(id, name_, type_, help_)                                                     \
	{ .name = (name_), .type = PK_METRIC_##type_, .help = (help_) },

#endif
