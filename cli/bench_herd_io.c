#include "cli/bench_herd_io.h"

#include <inttypes.h>

#include "base/mem.h"

/* Each connection once, about its own node. */
static int each(struct bench_load *l, struct bench_work *w, enum bench_op op, bool awaits_events,
		struct bench_result *one, struct pk_err *err)
{
	struct bench_phase phase = {
		.op = op, .once_each = true, .own_key = true, .awaits_events = awaits_events
	};
	int rc = bench_load_run(l, w, &phase, one, err);

	if (rc == 0 && one->lost > 0)
		return pk_err_set(err, PK_ECLOSED,
				  "%" PRIu64 " requests were lost before all was set up or judged",
				  one->lost);
	return rc;
}

int bench_herd_run(struct bench_load *l, struct bench_work *w, const struct bench_pids *pids,
		   int64_t stand_ms, struct bench_herd *herd, struct bench_result *result,
		   struct pk_err *err)
{
	struct bench_result *one = pk_alloc(sizeof(*one));
	struct bench_phase stand = { .mix = BENCH_MIX_IDLE,
				     .run_ms = stand_ms,
				     .awaits_back = true };
	uint64_t begun_ns = bench_proc_now_ns();

	int rc = each(l, w, BENCH_CREATE_OWN, false, one, err);
	if (rc == 0)
		rc = each(l, w, BENCH_WATCH, false, one, err);
	herd->made_ns = bench_proc_now_ns() - begun_ns;
	herd->standing = bench_proc_use(pids);
	if (rc == 0)
		rc = bench_load_run(l, w, &stand, result, err);
	bench_load_go_on(); /* a signal ends how long they stand, not the look at what is left */
	if (rc == 0 && result->sessions_lost == 0) {
		rc = each(l, w, BENCH_EXISTS_OWN, false, one, err);
		if (rc == 0)
			rc = each(l, w, BENCH_SET, true, one, err);
		herd->told = one->events;
	}
	free(one);
	return rc;
}
