#include "base/metrics.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <uthash.h>

#include "base/mem.h"

/*
 * The histogram: values below 32 have a bucket each, and every power of two above is cut in 16.
 * Negative values (a clock set back) count as 0 there, and as themselves in min and sum.
 */
#define EXACT   32
#define CUTS    16
#define BUCKETS (EXACT + (63 - 5) * CUTS)

struct summary {
	int64_t count, sum, min, max;
	uint32_t *buckets; /* made with the first value */
};

struct keyed {
	char *key;
	double value;  /* of a gauge */
	int64_t total; /* of a counter */
	struct summary summary;
	UT_hash_handle hh; /* iteration is in order of arrival */
};

struct metric {
	int64_t total;
	double value;
	bool shown; /* gauges */
	pk_gauge_f *call;
	void *owner;
	struct summary summary;
	struct keyed *keys;
};

struct pk_metrics {
	const struct pk_metric_row *rows;
	size_t count;
	struct metric *all;
};

static bool is_set(enum pk_metric_type type)
{
	return type >= PK_METRIC_COUNTER_SET;
}

static bool is_adv(enum pk_metric_type type)
{
	return type == PK_METRIC_SUMMARY_ADV || type == PK_METRIC_SUMMARY_ADV_SET;
}

static size_t bucket_of(int64_t value)
{
	unsigned log2;

	if (value < 0)
		return 0;
	if (value < EXACT)
		return (size_t)value;
	log2 = 63 - (unsigned)__builtin_clzll((unsigned long long)value);
	return EXACT + (log2 - 5) * CUTS + (size_t)((value >> (log2 - 4)) & (CUTS - 1));
}

/* The middle of a bucket. */
static int64_t bucket_value(size_t bucket)
{
	size_t log2;
	int64_t low;

	if (bucket < EXACT)
		return (int64_t)bucket;
	log2 = (bucket - EXACT) / CUTS + 5;
	low = (int64_t)(CUTS + (bucket - EXACT) % CUTS) << (log2 - 4);
	return low + ((int64_t)1 << (log2 - 4)) / 2;
}

static void summary_add(struct summary *s, int64_t value)
{
	if (s->buckets == NULL)
		s->buckets = pk_alloc(BUCKETS * sizeof(*s->buckets));
	if (s->count == 0 || value < s->min)
		s->min = value;
	if (s->count == 0 || value > s->max)
		s->max = value;
	s->count++;
	if (__builtin_add_overflow(s->sum, value, &s->sum))
		s->sum = value < 0 ? INT64_MIN : INT64_MAX;
	uint32_t *bucket = &s->buckets[bucket_of(value)];
	*bucket += *bucket < UINT32_MAX;
}

static void summary_release(struct summary *s)
{
	free(s->buckets);
	*s = (struct summary){ 0 };
}

static struct pk_summary_view summary_view(const struct summary *s)
{
	struct pk_summary_view v = { .count = s->count, .sum = s->sum };

	if (s->count > 0) {
		v.min = s->min;
		v.max = s->max;
		v.avg = round((double)s->sum / (double)s->count * 1e4) / 1e4;
	}
	return v;
}

static int64_t summary_percentile(const struct summary *s, unsigned per_mille)
{
	uint64_t total = 0;
	uint64_t want;
	uint64_t seen = 0;

	PK_ASSERT(per_mille <= 1000);
	if (s->count == 0)
		return 0;
	for (size_t i = 0; i < BUCKETS; i++)
		total += s->buckets[i];
	want = (total * per_mille + 999) / 1000;
	if (want == 0)
		want = 1;
	for (size_t i = 0; i < BUCKETS; i++) {
		seen += s->buckets[i];
		if (seen >= want) {
			int64_t v = bucket_value(i);

			if (v < s->min)
				v = s->min;
			return v > s->max ? s->max : v;
		}
	}
	return s->max;
}

static void keys_release(struct metric *one)
{
	struct keyed *k, *next;

	HASH_ITER (hh, one->keys, k, next) {
		HASH_DEL(one->keys, k);
		summary_release(&k->summary);
		free(k->key);
		free(k);
	}
}

struct pk_metrics *pk_metrics_new(const struct pk_metric_row *rows, size_t count)
{
	struct pk_metrics *m = pk_alloc(sizeof(*m));

	m->rows = rows;
	m->count = count;
	m->all = pk_alloc((count > 0 ? count : 1) * sizeof(*m->all));
	return m;
}

void pk_metrics_free(struct pk_metrics *m)
{
	if (m == NULL)
		return;
	for (size_t i = 0; i < m->count; i++) {
		summary_release(&m->all[i].summary);
		keys_release(&m->all[i]);
	}
	free(m->all);
	free(m);
}

size_t pk_metrics_count(const struct pk_metrics *m)
{
	return m->count;
}

const struct pk_metric_row *pk_metrics_row(const struct pk_metrics *m, size_t id)
{
	PK_ASSERT(id < m->count);
	return &m->rows[id];
}

static struct metric *metric_of(const struct pk_metrics *m, size_t id, enum pk_metric_type a,
				enum pk_metric_type b)
{
	PK_ASSERT(id < m->count);
	PK_ASSERT(m->rows[id].type == a || m->rows[id].type == b);
	return &m->all[id];
}

void pk_counter_add(struct pk_metrics *m, size_t id, int64_t delta)
{
	PK_ASSERT(delta >= 0);
	metric_of(m, id, PK_METRIC_COUNTER, PK_METRIC_COUNTER)->total += delta;
}

void pk_gauge_set(struct pk_metrics *m, size_t id, double value)
{
	struct metric *one = metric_of(m, id, PK_METRIC_GAUGE, PK_METRIC_GAUGE_REAL);

	one->value = value;
	one->call = NULL;
	one->shown = true;
}

void pk_gauge_hide(struct pk_metrics *m, size_t id)
{
	struct metric *one = metric_of(m, id, PK_METRIC_GAUGE, PK_METRIC_GAUGE_REAL);

	one->call = NULL;
	one->shown = false;
}

void pk_gauge_call(struct pk_metrics *m, size_t id, pk_gauge_f *call, void *owner)
{
	struct metric *one = metric_of(m, id, PK_METRIC_GAUGE, PK_METRIC_GAUGE_REAL);

	one->call = call;
	one->owner = owner;
	one->shown = true;
}

void pk_summary_record(struct pk_metrics *m, size_t id, int64_t value)
{
	summary_add(&metric_of(m, id, PK_METRIC_SUMMARY, PK_METRIC_SUMMARY_ADV)->summary, value);
}

static struct keyed *keyed_of(struct metric *one, struct pk_bytes key)
{
	struct keyed *k;
	size_t len = key.len < PK_METRIC_KEY_BYTES_MAX ? key.len : PK_METRIC_KEY_BYTES_MAX;
	const char *text = len > 0 ? (const char *)key.data : "";

	HASH_FIND(hh, one->keys, text, len, k);
	if (k == NULL && HASH_COUNT(one->keys) >= PK_METRIC_KEYS_MAX) {
		text = "_other";
		len = strlen(text);
		HASH_FIND(hh, one->keys, text, len, k);
	}
	if (k == NULL) {
		k = pk_alloc(sizeof(*k));
		k->key = pk_strndup(text, len);
		HASH_ADD_KEYPTR(hh, one->keys, k->key, len, k);
	}
	return k;
}

void pk_counter_add_key(struct pk_metrics *m, size_t id, struct pk_bytes key, int64_t delta)
{
	PK_ASSERT(delta >= 0);
	keyed_of(metric_of(m, id, PK_METRIC_COUNTER_SET, PK_METRIC_COUNTER_SET), key)->total +=
		delta;
}

void pk_gauge_set_key(struct pk_metrics *m, size_t id, struct pk_bytes key, double value)
{
	keyed_of(metric_of(m, id, PK_METRIC_GAUGE_SET, PK_METRIC_GAUGE_SET), key)->value = value;
}

void pk_gauge_clear_keys(struct pk_metrics *m, size_t id)
{
	keys_release(metric_of(m, id, PK_METRIC_GAUGE_SET, PK_METRIC_GAUGE_SET));
}

void pk_summary_record_key(struct pk_metrics *m, size_t id, struct pk_bytes key, int64_t value)
{
	struct metric *one = metric_of(m, id, PK_METRIC_SUMMARY_SET, PK_METRIC_SUMMARY_ADV_SET);

	summary_add(&keyed_of(one, key)->summary, value);
}

void pk_metrics_reset(struct pk_metrics *m)
{
	for (size_t i = 0; i < m->count; i++) {
		struct metric *one = &m->all[i];

		one->total = 0;
		summary_release(&one->summary);
		for (struct keyed *k = one->keys; k != NULL; k = k->hh.next) {
			k->total = 0;
			summary_release(&k->summary);
		}
	}
}

int64_t pk_counter_value(const struct pk_metrics *m, size_t id)
{
	return metric_of(m, id, PK_METRIC_COUNTER, PK_METRIC_COUNTER)->total;
}

struct pk_summary_view pk_summary_view(const struct pk_metrics *m, size_t id)
{
	return summary_view(&metric_of(m, id, PK_METRIC_SUMMARY, PK_METRIC_SUMMARY_ADV)->summary);
}

int64_t pk_summary_percentile(const struct pk_metrics *m, size_t id, unsigned per_mille)
{
	return summary_percentile(
		&metric_of(m, id, PK_METRIC_SUMMARY, PK_METRIC_SUMMARY_ADV)->summary, per_mille);
}

static bool gauge_now(const struct metric *one, double *value)
{
	if (!one->shown)
		return false;
	*value = one->value;
	return one->call == NULL || one->call(one->owner, value);
}

/* ---- mntr ------------------------------------------------------------------------------------ */

struct visit {
	pk_metric_visit_f *call;
	void *owner;
	struct pk_buf name;
};

static void say(struct visit *v, const char *prefix, const char *key, const char *name,
		struct pk_metric_value value)
{
	pk_buf_clear(&v->name);
	pk_buf_add_str(&v->name, prefix);
	if (key != NULL)
		pk_buf_printf(&v->name, "%s_", key);
	pk_buf_add_str(&v->name, name);
	v->call(v->owner, pk_buf_str(&v->name), value);
}

static struct pk_metric_value whole(int64_t i)
{
	return (struct pk_metric_value){ .whole = true, .i = i, .d = (double)i };
}

/* ZooKeeper's gauges are Java numbers of either kind: a whole value is shown as a whole number. */
static struct pk_metric_value number(double d)
{
	if (d == floor(d) && fabs(d) < 9e15)
		return whole((int64_t)d);
	return (struct pk_metric_value){ .d = d };
}

static void say_summary(struct visit *v, const struct summary *s, const char *key, const char *name,
			bool adv)
{
	struct pk_summary_view view = summary_view(s);

	say(v, "avg_", key, name, (struct pk_metric_value){ .d = view.avg });
	say(v, "min_", key, name, whole(view.min));
	say(v, "max_", key, name, whole(view.max));
	say(v, "cnt_", key, name, whole(view.count));
	say(v, "sum_", key, name, whole(view.sum));
	if (!adv)
		return;
	say(v, "p50_", key, name, whole(summary_percentile(s, 500)));
	say(v, "p95_", key, name, whole(summary_percentile(s, 950)));
	say(v, "p99_", key, name, whole(summary_percentile(s, 990)));
	say(v, "p999_", key, name, whole(summary_percentile(s, 999)));
}

void pk_metrics_each(const struct pk_metrics *m, pk_metric_visit_f *visit, void *owner)
{
	struct visit v = { .call = visit, .owner = owner };
	double d;

	for (size_t i = 0; i < m->count; i++) {
		const struct metric *one = &m->all[i];
		const char *name = m->rows[i].name;
		bool adv = is_adv(m->rows[i].type);

		switch (m->rows[i].type) {
		case PK_METRIC_COUNTER:
			say(&v, "", NULL, name, whole(one->total));
			break;
		case PK_METRIC_GAUGE:
			if (gauge_now(one, &d))
				say(&v, "", NULL, name, number(d));
			break;
		case PK_METRIC_GAUGE_REAL:
			if (gauge_now(one, &d))
				say(&v, "", NULL, name, (struct pk_metric_value){ .d = d });
			break;
		case PK_METRIC_SUMMARY:
		case PK_METRIC_SUMMARY_ADV:
			say_summary(&v, &one->summary, NULL, name, adv);
			break;
		case PK_METRIC_COUNTER_SET:
			for (struct keyed *k = one->keys; k != NULL; k = k->hh.next)
				say(&v, "", k->key, name, whole(k->total));
			break;
		case PK_METRIC_GAUGE_SET:
			for (struct keyed *k = one->keys; k != NULL; k = k->hh.next)
				say(&v, "", k->key, name, number(k->value));
			break;
		case PK_METRIC_SUMMARY_SET:
		case PK_METRIC_SUMMARY_ADV_SET:
			for (struct keyed *k = one->keys; k != NULL; k = k->hh.next)
				say_summary(&v, &k->summary, k->key, name, adv);
			break;
		}
	}
	pk_buf_release(&v.name);
}

static void mntr_line(void *owner, const char *name, struct pk_metric_value value)
{
	char text[PK_DOUBLE_TEXT_BYTES];

	if (value.whole)
		pk_buf_printf(owner, "zk_%s\t%" PRId64 "\n", name, value.i);
	else
		pk_buf_printf(owner, "zk_%s\t%s\n", name, pk_double_text(value.d, text));
}

void pk_metrics_mntr(const struct pk_metrics *m, struct pk_buf *out)
{
	pk_metrics_each(m, mntr_line, out);
}

/* ---- Prometheus ------------------------------------------------------------------------------ */

static void add_escaped(struct pk_buf *out, const char *text, bool quotes)
{
	for (; *text != '\0'; text++) {
		if (*text == '\\')
			pk_buf_add_str(out, "\\\\");
		else if (*text == '\n')
			pk_buf_add_str(out, "\\n");
		else if (*text == '"' && quotes)
			pk_buf_add_str(out, "\\\"");
		else
			pk_buf_add(out, text, 1);
	}
}

static void sample(struct pk_buf *out, const char *name, const char *suffix, const char *key,
		   const char *quantile, double value)
{
	char text[PK_DOUBLE_TEXT_BYTES];

	pk_buf_printf(out, "%s%s", name, suffix);
	if (key != NULL || quantile != NULL) {
		pk_buf_add_str(out, "{");
		if (key != NULL) {
			pk_buf_add_str(out, "key=\"");
			add_escaped(out, key, true);
			pk_buf_add_str(out, quantile != NULL ? "\"," : "\"");
		}
		if (quantile != NULL)
			pk_buf_printf(out, "quantile=\"%s\"", quantile);
		pk_buf_add_str(out, "}");
	}
	pk_buf_printf(out, " %s\n", pk_double_text(value, text));
}

static void sample_summary(struct pk_buf *out, const char *name, const char *key,
			   const struct summary *s, bool adv)
{
	static const struct {
		const char *text;
		unsigned per_mille;
	} quantiles[] = { { "0.5", 500 }, { "0.9", 900 }, { "0.99", 990 } };

	for (size_t i = 0; i < (adv ? PK_COUNT(quantiles) : 1); i++) {
		double v = s->count > 0 ? (double)summary_percentile(s, quantiles[i].per_mille)
					: (double)NAN;

		sample(out, name, "", key, quantiles[i].text, v);
	}
	sample(out, name, "_count", key, NULL, (double)s->count);
	sample(out, name, "_sum", key, NULL, (double)s->sum);
}

static void family(struct pk_buf *out, const struct pk_metric_row *row, const char *type)
{
	pk_buf_printf(out, "# HELP %s ", row->name);
	add_escaped(out, row->help, false);
	pk_buf_printf(out, "\n# TYPE %s %s\n", row->name, type);
}

void pk_metrics_prometheus(const struct pk_metrics *m, struct pk_buf *out)
{
	for (size_t i = 0; i < m->count; i++) {
		const struct metric *one = &m->all[i];
		const struct pk_metric_row *row = &m->rows[i];
		const char *name = row->name;
		double d;

		if (is_set(row->type) && one->keys == NULL)
			continue;
		switch (row->type) {
		case PK_METRIC_COUNTER:
			family(out, row, "counter");
			sample(out, name, "", NULL, NULL, (double)one->total);
			break;
		case PK_METRIC_GAUGE:
		case PK_METRIC_GAUGE_REAL:
			if (!gauge_now(one, &d))
				break;
			family(out, row, "gauge");
			sample(out, name, "", NULL, NULL, d);
			break;
		case PK_METRIC_SUMMARY:
		case PK_METRIC_SUMMARY_ADV:
			family(out, row, "summary");
			sample_summary(out, name, NULL, &one->summary, is_adv(row->type));
			break;
		case PK_METRIC_COUNTER_SET:
			family(out, row, "counter");
			for (struct keyed *k = one->keys; k != NULL; k = k->hh.next)
				sample(out, name, "", k->key, NULL, (double)k->total);
			break;
		case PK_METRIC_GAUGE_SET:
			family(out, row, "gauge");
			for (struct keyed *k = one->keys; k != NULL; k = k->hh.next)
				sample(out, name, "", k->key, NULL, k->value);
			break;
		case PK_METRIC_SUMMARY_SET:
		case PK_METRIC_SUMMARY_ADV_SET:
			family(out, row, "summary");
			for (struct keyed *k = one->keys; k != NULL; k = k->hh.next)
				sample_summary(out, name, k->key, &k->summary, is_adv(row->type));
			break;
		}
	}
}

/* ---- numbers ------------------------------------------------------------------------------- */

const char *pk_double_text(double v, char text[PK_DOUBLE_TEXT_BYTES])
{
	char sci[PK_DOUBLE_TEXT_BYTES];
	char digits[20];
	size_t count = 0;
	size_t at = 0;
	int exponent;

	if (isnan(v))
		return strcpy(text, "NaN");
	if (isinf(v))
		return strcpy(text, v > 0 ? "+Inf" : "-Inf");
	if (v == 0)
		return strcpy(text, "0.0");

	/* the shortest digits that read back as v */
	for (int precision = 0; precision <= 16; precision++) {
		snprintf(sci, sizeof(sci), "%.*e", precision, fabs(v));
		if (strtod(sci, NULL) == fabs(v))
			break;
	}
	exponent = atoi(strchr(sci, 'e') + 1);
	for (const char *c = sci; *c != 'e'; c++) {
		if (*c != '.')
			digits[count++] = *c;
	}
	while (count > 1 && digits[count - 1] == '0')
		count--;

	if (v < 0)
		text[at++] = '-';
	if (exponent >= -3 && exponent < 7) {
		int before = exponent + 1; /* digits before the point; below 1: zeros behind it */

		if (before <= 0)
			text[at++] = '0';
		for (int i = 0; i < before; i++)
			text[at++] = (size_t)i < count ? digits[i] : '0';
		text[at++] = '.';
		for (int i = before; i < 0; i++)
			text[at++] = '0';
		for (size_t i = before > 0 ? (size_t)before : 0; i < count; i++)
			text[at++] = digits[i];
		if (before > 0 && (size_t)before >= count)
			text[at++] = '0';
		text[at] = '\0';
		return text;
	}
	text[at++] = digits[0];
	text[at++] = '.';
	if (count == 1)
		text[at++] = '0';
	for (size_t i = 1; i < count; i++)
		text[at++] = digits[i];
	snprintf(text + at, PK_DOUBLE_TEXT_BYTES - at, "E%d", exponent);
	return text;
}
