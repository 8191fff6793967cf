/*
 * jepsen/gen.h - valid histories out of nothing: a small cluster told as a story, with servers that
 * lag, clients that send ahead, watches, sessions that move and die, and answers that get lost.
 *
 * For the checker's own tests and its yardstick; shares no code with it. The same seed gives the
 * same history.
 */
#ifndef PK_JEPSEN_GEN_H
#define PK_JEPSEN_GEN_H

#include "base/rng.h"
#include "jepsen/history.h"

struct gen_opts {
	uint64_t operations; /* about so many are asked */
	uint64_t seed;
	uint32_t clients, servers, keys;
	uint32_t window;        /* requests a client has outstanding, at most */
	bool faults;            /* lost answers, moves, expiries */
	bool tell_transactions; /* HIST_TXN for what nobody asked for */
};
#define GEN_OPTS_INIT                                                                              \
	((struct gen_opts){ .operations = 10000,                                                   \
			    .seed = 1,                                                             \
			    .clients = 10,                                                         \
			    .servers = 3,                                                          \
			    .keys = 50,                                                            \
			    .window = 4,                                                           \
			    .faults = true })

typedef void gen_emit_f(void *arg, const struct hist_event *e); /* borrows until it returns */
void gen_run(const struct gen_opts *opts, gen_emit_f *emit, void *arg);

#endif
