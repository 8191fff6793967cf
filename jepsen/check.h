/*
 * jepsen/check.h - is this what a ZooKeeper promises? A history in, violations out.
 *
 * No search: every reply carries a zxid, so the order is told, and the checker replays it. One walk
 * over all transactions and reads by zxid against one tree; a walk over each client's own order;
 * and one over its watches. Time n log n at most, memory about 400 bytes an operation.
 *
 * What is not known is not judged, and never a violation: operations with an unknown outcome may
 * have happened once at any zxid that the rest of the history leaves free; nodes that were there
 * before are learned from the first look at them; zxids that no recorded client had (sessions,
 * empty transactions) change nothing. One thing is taken for granted: below the paths that the
 * history's clients write to, nobody writes whose requests are not in the history. How much could
 * be judged is in the report, so that a hollow run shows.
 */
#ifndef PK_JEPSEN_CHECK_H
#define PK_JEPSEN_CHECK_H

#include "jepsen/history.h"

enum check_rule {
#define RULE(ident, name, text) CHECK_##ident,
#include "jepsen/check_rules.tbl"
#undef RULE
	CHECK_RULES
};

enum check_peer {
	CHECK_PADDOCK,   /* a read shows exactly the zxid of its reply */
	CHECK_ZOOKEEPER, /* it shows some zxid from the session's last one up to the reply's; sync's
			    reply has any; one-shot watches may take persistent ones along */
};

struct check_opts {
	enum check_peer peer;
	/* How long after its timeout a silent session may live, faults not counted. */
	int64_t session_late_ms;
	/* How much sooner than two thirds of its timeout after its last answered write a session
	 * may expire: servers' batching of whom they heard, and clocks that run at other rates. */
	int64_t session_early_ms;
	uint32_t violations_max; /* texts kept; all are counted */
};
#define CHECK_OPTS_INIT                                                                            \
	((struct check_opts){                                                                      \
		.session_late_ms = 15000, .session_early_ms = 600, .violations_max = 20 })

struct check_violation {
	enum check_rule rule;
	uint32_t process; /* of the operation or event; UINT32_MAX: none */
	int64_t time_ns, zxid;
	char *text; /* owned by the report: the whole story in a line */
};

struct check_report {
	uint64_t violations; /* 0: nothing was found */
	uint64_t by_rule[CHECK_RULES];
	uint64_t judged[CHECK_RULES]; /* how often each rule was put to the test */
	struct check_violation *list; /* the first violations_max */
	uint32_t list_count;

	uint64_t operations, writes, reads; /* writes and reads that were answered */
	uint64_t writes_judged, reads_judged;
	uint64_t reads_unjudged, writes_unjudged; /* no zxid, or it rests on what is not known */
	uint64_t unknown;                         /* writes whose outcome is unknown */
	uint64_t unknown_happened;                /* of those: found to have happened */
	uint64_t zxids, gaps; /* zxids of answered writes; zxids between the first and the last of
				 an epoch that no answered write had */
	uint64_t events, events_judged, events_unjudged; /* watch events */
	uint64_t sessions, sessions_ended;
	uint64_t nodes, faults;
	int64_t span_ns; /* from the first event to the last */
};

/* Judge. Never fails: what is wrong is in the report, which the caller releases. */
void check_run(const struct history *h, const struct check_opts *opts, struct check_report *out);
void check_report_release(struct check_report *r);
/* The verdict in a page, for people; appends. */
void check_report_text(const struct check_report *r, struct pk_buf *out);
/* The same as one JSON object in a line. */
void check_report_json(const struct check_report *r, struct pk_buf *out);

const char *check_rule_name(enum check_rule rule);
const char *check_rule_text(enum check_rule rule);

#endif
