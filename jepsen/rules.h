/*
 * jepsen/rules.h - what must hold of a workload beyond what check.h asks of every history.
 *
 *     bank-total      every read of all accounts at once, and every dump, shows the money there was
 *     lock-order      fences written under the lock never fall, in the order of zxids
 *     election-order  epochs in which work was done never fall; an epoch is claimed once
 *     queue-once      an element is taken at most once, and one that was put in and not taken is
 *                     there at the end
 *     counter-gaps    sequence numbers of nodes that are never deleted have no gap, and the counter
 *                     was counted up once for each success, at most once for each unknown outcome
 *
 * Fed with the events of all files of a run, in any order between processes. A core.
 */
#ifndef PK_JEPSEN_RULES_H
#define PK_JEPSEN_RULES_H

#include "jepsen/history.h"

struct rules; /* owned by who made it */

struct rule_result {
	const char *name;
	uint64_t checked; /* facts that were looked at; 0: the rule had nothing to say */
	uint64_t broken;
	const char *first; /* the first that was broken, in words; "" if none. Borrowed */
};

struct rules *rules_new(void);
void rules_free(struct rules *r);
/* An answer (OK, FAIL, INFO) comes with the INVOKE it belongs to, others with NULL. */
void rules_event(struct rules *r, const struct hist_event *e, const struct hist_event *invoke);
/* After the last event: false when there is no rule of that index. */
bool rules_result(struct rules *r, size_t index, struct rule_result *out);

#endif
