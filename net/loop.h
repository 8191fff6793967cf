/*
 * net/loop.h - one event loop: time, timers, wake-ups from other threads, signals, and the end of a
 * turn.
 *
 * A turn is everything between two waits of the loop:
 *
 *     wait for events -> I/O callbacks -> close callbacks -> due timers -> turn hooks
 *          ^                                                                  |
 *          └────────── one write(2) per stream that was written to <──────────┘
 *
 * So whatever a turn hook writes leaves in the same turn, and work that arrived together can be
 * handled together. All functions belong to the loop's thread, except net_async_send.
 *
 * Ownership: every _new returns owned; its _free may be called at any time, also from its own
 * callback; no callback comes after it, and the memory goes when libuv has let go of it. NULL may
 * be freed.
 *
 * Signals: the first loop makes the process ignore SIGPIPE. libuv's pool threads are started with
 * all signals blocked; a thread of your own calls net_thread_block_signals() first, so that signals
 * are taken by the main thread, and reach net_signal callbacks as ordinary events.
 */
#ifndef PK_NET_LOOP_H
#define PK_NET_LOOP_H

#include "base/err.h"

struct net_loop;
struct net_timer;
struct net_async;
struct net_signal;
struct net_hook;

typedef void net_call_f(void *owner);
typedef void net_signal_f(void *owner, int signum);

/* NULL with err filled when the system has no descriptors left. */
struct net_loop *net_loop_new(struct pk_err *err);
/*
 * After net_loop_run returned. What is still open is closed without any callback, and its memory is
 * freed too: pointers to it are dead. Waits for pool work that has begun (a DNS question, say).
 */
void net_loop_free(struct net_loop *l);
/* Until net_loop_stop, or until nothing is left to wait for. May be called again. */
void net_loop_run(struct net_loop *l);
/* One turn; waits for events only if `wait`. Returns false when nothing is left to wait for. */
bool net_loop_turn(struct net_loop *l, bool wait);
/* The turn is finished (hooks, writes), then net_loop_run returns. */
void net_loop_stop(struct net_loop *l);

/* Monotonic milliseconds, read once per turn: cheap, and the same for all callbacks of a batch. */
int64_t net_now_ms(const struct net_loop *l);
/* Monotonic microseconds, read now; the same clock. */
int64_t net_now_fresh_us(void);
/* Milliseconds since 1970 (CLOCK_REALTIME), which may jump. */
int64_t net_wall_ms(void);

/*
 * Once per turn, before the loop waits again: after I/O callbacks, close callbacks, wake-ups and
 * due timers, in the order of registration.
 */
struct net_hook *net_loop_on_turn(struct net_loop *l, net_call_f *call, void *owner);
void net_hook_free(struct net_hook *h);

/* The longest turn (first callback until the loop waits again), in microseconds, since the last
 * call of this function. */
int64_t net_loop_stall_max_us(struct net_loop *l);

/* Timers. Created stopped. */
struct net_timer *net_timer_new(struct net_loop *l, net_call_f *call, void *owner);
/* In after_ms (0: next turn), then every repeat_ms unless that is 0. A running timer starts anew.
 */
void net_timer_start(struct net_timer *t, int64_t after_ms, int64_t repeat_ms);
void net_timer_stop(struct net_timer *t);
bool net_timer_active(const struct net_timer *t);
void net_timer_free(struct net_timer *t);

/* Wake-ups. net_async_send may be called from any thread until net_async_free; sends that come
 * before the callback has run are coalesced into one call. */
struct net_async *net_async_new(struct net_loop *l, net_call_f *call, void *owner);
void net_async_send(struct net_async *a);
void net_async_free(struct net_async *a);

/* Signals, delivered as events on this loop. Does not keep the loop running. */
struct net_signal *net_signal_on(struct net_loop *l, int signum, net_signal_f *call, void *owner,
				 struct pk_err *err);
void net_signal_free(struct net_signal *s);
void net_thread_block_signals(void);

/*
 * Blocking work: `work` runs on a pool thread (it may touch nothing of the loop's), then `done` on
 * the loop, exactly once. The pool has four threads and is shared with name resolution.
 */
void net_work_run(struct net_loop *l, net_call_f *work, net_call_f *done, void *owner);

#endif
