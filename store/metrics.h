/*
 * store/metrics.h - the server's metrics: enum values made from store/metrics.tbl, to be used with
 * base/metrics.h: pk_counter_add(metrics, M_PROPOSAL_COUNT, 1).
 *
 * A metric whose help begins with "Always" is there for dashboards and has no code behind it.
 */
#ifndef PK_STORE_METRICS_H
#define PK_STORE_METRICS_H

#include "base/metrics.h"

enum store_metric {
#define METRIC(id, name, type, help) M_##id,
#include "store/metrics.tbl"
#undef METRIC
	STORE_METRIC_COUNT
};

extern const struct pk_metric_row store_metric_rows[STORE_METRIC_COUNT];

/* The server's registry: pk_metrics_new over these rows. Returns owned; pk_metrics_free. */
struct pk_metrics *store_metrics_new(void);

#endif
