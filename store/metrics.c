#include "store/metrics.h"

const struct pk_metric_row store_metric_rows[STORE_METRIC_COUNT] = {
#define METRIC(id, name, type, help) PK_METRIC_ROW(id, name, type, help)
#include "store/metrics.tbl"
#undef METRIC
};

struct pk_metrics *store_metrics_new(void)
{
	return pk_metrics_new(store_metric_rows, STORE_METRIC_COUNT);
}
