/*
 * cli/bench_load_io.h - connections that keep a server busy: each has a fixed number of requests
 * outstanding and sends the next when one is answered (a closed loop), or the requests of all come
 * at an even rate; all on one thread and one epoll, with one write per connection and turn.
 *
 * Every reply is checked: its xid is that of the oldest request, its zxid is not below the one
 * before on that connection, its content is what bench_work_check wants. The first that is not ends
 * the phase with PK_EPROTO. A connection that breaks ends it too, unless `reconnect`: then what was
 * outstanding counts as lost, and its session goes on with the next server (a new one when no
 * server knows it any more, which is counted), where it sets its watch again.
 */
#ifndef PK_CLI_BENCH_LOAD_IO_H
#define PK_CLI_BENCH_LOAD_IO_H

#include "cli/bench_hist.h"
#include "cli/bench_proc_io.h"
#include "cli/bench_work.h"

#define BENCH_CONNS_MAX    20000
#define BENCH_PIPELINE_MAX 4096
#define BENCH_SERVERS_MAX  16

enum bench_mix {
	BENCH_MIX_ONE,     /* `op`, its keys in order or by chance */
	BENCH_MIX_READS,   /* get for read_percent of all, else set; keys by chance */
	BENCH_MIX_SYNCED,  /* sync and get, counted as one; keys by chance */
	BENCH_MIX_SESSION, /* open a session, close it; needs a load without connections open */
	BENCH_MIX_IDLE,    /* nothing but a ping of each connection, three in a session's timeout */
};

/* What to do until `count` requests are answered (0: no such end) or run_ms is over (0 likewise).
 * The first warm_ms do not count. */
struct bench_phase {
	enum bench_mix mix;
	enum bench_op op;
	bool by_chance;
	bool once_each;     /* every connection sends one request: a barrier when that is a sync */
	bool own_key;       /* with once_each: connection i takes node i */
	bool awaits_back;   /* ends only when each connection that broke has its session again */
	bool awaits_events; /* ends when each watch that BENCH_WATCH left has told of its node */
	uint32_t read_percent;
	uint64_t first, count; /* keys in order begin at first */
	int64_t warm_ms, run_ms;
	uint64_t rate;            /* requests a second, of those with a key; 0: a closed loop */
	uint32_t conns, pipeline; /* at most what the load has; 0: all of it */
};

struct bench_result {
	uint64_t ops;           /* counted within the window */
	uint64_t sent;          /* requests in all, so keys first .. first + sent - 1 were used */
	uint64_t lost;          /* outstanding on connections that broke */
	uint64_t sessions_lost; /* that no server knew any more */
	uint64_t gap_ns;        /* longest time within the window without an operation done */
	uint64_t events;        /* of watches; their latency counts from the begin of the phase */
	uint64_t received_bytes;
	uint64_t elapsed_ns;
	uint64_t own_cpu_ns;
	struct bench_proc_use use; /* of the servers, within the window */
	struct bench_hist latency;
	struct bench_hist away; /* of connections that broke: until session and watch were back */
};

struct bench_load_config {
	const char
		*servers; /* HOST:PORT,...; connection i begins with number i modulo their count */
	uint32_t conns, pipeline;
	int32_t session_ms;
	bool reconnect;
	const struct bench_pids *pids;
};

struct bench_load;

/* Returns owned with no connection open yet. PK_EINVAL for a list that cannot be read, PK_ENOENT
 * for a name that is not known. */
PK_CHECKED int bench_load_new(struct bench_load **out, const struct bench_load_config *config,
			      struct pk_err *err);
void bench_load_free(struct bench_load *l);
/* Open every connection and session. PK_EIO or PK_EPROTO when a server refuses. */
PK_CHECKED int bench_load_open(struct bench_load *l, struct pk_err *err);
/* Close the sessions and the connections; a server that is gone is no error. */
void bench_load_close(struct bench_load *l);
/* Run one phase to its end and until nothing is outstanding. *result is filled as far as it went,
 * also on failure. */
PK_CHECKED int bench_load_run(struct bench_load *l, struct bench_work *w,
			      const struct bench_phase *phase, struct bench_result *result,
			      struct pk_err *err);

/* End the phase under way, and every later one, as if its time were over. For signal handlers. */
void bench_load_stop_soon(void);
/* Forget it: for phases that are due also after the one that was ended. */
void bench_load_go_on(void);

#endif
