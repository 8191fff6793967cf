/*
 * jepsen/workload.h - what clients do while the cluster suffers, and how every word of it is kept.
 *
 * A client is one place at which sessions live one after the other: a process of the history
 * (history.h). A workload (workload.tbl) is a few functions over clients: what to make before the
 * run, what to do next, what to do when an answer or a watch event comes. The calls below record
 * the request, hand it to zkproto's client, record what comes of it, and tell the workload.
 *
 *     workload_io.c    the program, its clients, time
 *     workload_call.c  calls and their records
 *     workload_*.c     the workloads; they see this header only
 *     rules.c          what must hold of a workload beyond the checker's rules
 */
#ifndef PK_JEPSEN_WORKLOAD_H
#define PK_JEPSEN_WORKLOAD_H

#include <sys/queue.h>

#include "base/rng.h"
#include "jepsen/history.h"
#include "zkproto/client.h"

#define WORKLOAD_PATH_BYTES   256
#define WORKLOAD_WINDOW_MAX   16 /* requests of a client that may be under way */
#define WORKLOAD_CLIENTS_MAX  256
#define WORKLOAD_BANK_COUNT   8 /* accounts of the bank */
#define WORKLOAD_BANK_DEPOSIT 100

struct run;
struct client;
struct call;
TAILQ_HEAD(calls, call);

/* An answer: borrowed until it returns. The call's `arg` comes back. */
typedef void then_f(struct client *c, const struct zkc_result *r, int64_t arg);

struct client {
	struct run *run; /* borrowed */
	uint32_t process;
	uint32_t index;    /* among the clients of the whole run */
	struct pk_rng rng; /* its own */
	struct zkc *zk;    /* NULL: between two sessions */
	bool connected;
	uint64_t session; /* 0: none yet */
	bool closing;     /* no more calls: its end was asked for */
	uint64_t unique;  /* the last number of client_unique */
	uint64_t call_last;
	struct calls calls; /* under way */
	uint32_t call_count;
	void *mine; /* the workload's, made by start; freed with free() */
};

struct workload {
	const char *name;
	const char *about;
	/* Makes what the workload needs; run once, by one client, before all others. */
	void (*setup)(struct client *c);
	/* A session begins; may be NULL. */
	void (*begin)(struct client *c);
	/* The next thing to do; called at random times, not when WORKLOAD_WINDOW_MAX are under way.
	 */
	void (*step)(struct client *c);
	/* A watch event; may be NULL. */
	void (*event)(struct client *c, const struct zkc_event *event);
};

#define W(name, about)                                                                             \
	void name##_setup(struct client *c);                                                       \
	void name##_step(struct client *c);
#define W_BEGIN(name) void name##_begin(struct client *c);
#define W_EVENT(name) void name##_event(struct client *c, const struct zkc_event *event);
#include "jepsen/workload.tbl"
#undef W
#undef W_BEGIN
#undef W_EVENT

/* NULL: none of that name. */
const struct workload *workload_find(const char *name);

/* ---- what a workload may ask for ---- */

uint64_t client_below(struct client *c, uint64_t bound);
bool client_chance(struct client *c, uint32_t percent);
/* A value that nobody else writes, ever: "process.number"; at least 48 bytes of room. */
struct pk_bytes client_value(struct client *c, char *room);
/* End the session and begin another. Calls under way are answered first when it is closed in order;
 * abandoned, it just falls silent, and its calls have an unknown outcome. */
void client_close(struct client *c);
void client_abandon(struct client *c);

/* then may be NULL. */
void call_create(struct client *c, const char *path, struct pk_bytes data, int32_t mode,
		 then_f *then, int64_t arg);
void call_create_acl(struct client *c, const char *path, struct pk_bytes data, struct zk_acls acl,
		     int32_t mode, int64_t ttl_ms, then_f *then, int64_t arg);
void call_delete(struct client *c, const char *path, int32_t version, then_f *then, int64_t arg);
void call_exists(struct client *c, const char *path, bool watch, then_f *then, int64_t arg);
void call_get(struct client *c, const char *path, bool watch, then_f *then, int64_t arg);
void call_children(struct client *c, const char *path, bool watch, then_f *then, int64_t arg);
void call_set(struct client *c, const char *path, struct pk_bytes data, int32_t version,
	      then_f *then, int64_t arg);
void call_sync(struct client *c, const char *path, then_f *then, int64_t arg);
void call_get_acl(struct client *c, const char *path, then_f *then, int64_t arg);
void call_set_acl(struct client *c, const char *path, struct zk_acls acl, int32_t version,
		  then_f *then, int64_t arg);
void call_ephemerals(struct client *c, const char *prefix, then_f *then, int64_t arg);
void call_children_number(struct client *c, const char *path, then_f *then, int64_t arg);
void call_add_watch(struct client *c, const char *path, int32_t mode, then_f *then, int64_t arg);
/* Of type ZK_WATCHER_*. */
void call_remove_watches(struct client *c, const char *path, int32_t type, then_f *then,
			 int64_t arg);

/* Several at once; call_multi_send takes it. */
struct call_multi;
struct call_multi *call_multi_new(struct client *c);
void call_multi_create(struct call_multi *m, const char *path, struct pk_bytes data, int32_t mode);
void call_multi_delete(struct call_multi *m, const char *path, int32_t version);
void call_multi_set(struct call_multi *m, const char *path, struct pk_bytes data, int32_t version);
void call_multi_check(struct call_multi *m, const char *path, int32_t version);
void call_multi_get(struct call_multi *m, const char *path);
void call_multi_children(struct call_multi *m, const char *path);
void call_multi_send(struct call_multi *m, then_f *then, int64_t arg);

/* ---- between workload_io.c and workload_call.c ---- */

/* Told to the history: process and time are filled in. */
void run_record(struct run *r, const struct client *c, struct hist_event *e);
void run_counted(struct run *r, struct client *c, int32_t err);
uint32_t client_server(const struct client *c);  /* 0: none */
struct zkc_watch client_watch(struct client *c); /* the one watch callback of a client */
/* Every call still under way ends with an unknown outcome; nobody is told. */
void calls_drop(struct client *c);

#endif
