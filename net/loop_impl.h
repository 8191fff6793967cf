/*
 * net/loop_impl.h - what the files of net/ share of a loop. Nobody outside includes this.
 */
#ifndef PK_NET_LOOP_IMPL_H
#define PK_NET_LOOP_IMPL_H

#include <sys/queue.h>
#include <uv.h>

#include "base/bytes.h"
#include "net/loop.h"

#define LOOP_READ_BYTES  (64 * 1024) /* the shared read buffer: one read(2) at most */
#define LOOP_PLAIN_BYTES (64 * 1024) /* the shared buffer that TLS decrypts into */
#define LOOP_SPARE_COUNT 64          /* output buffers kept for the next stream that writes */
#define LOOP_SPARE_BYTES (16 * 1024) /* and the largest that is kept */

/* Something to run in the next turn, off the caller's stack. Embedded in what it is about. */
struct net_defer {
	TAILQ_ENTRY(net_defer) link;
	void (*run)(struct net_defer *d);
	bool queued;
};

/* Something to do at the end of this turn: a stream with bytes to write. */
struct net_dirty {
	TAILQ_ENTRY(net_dirty) link;
	void (*flush)(struct net_dirty *d);
	bool queued;
};

TAILQ_HEAD(net_defer_list, net_defer);
TAILQ_HEAD(net_dirty_list, net_dirty);
TAILQ_HEAD(net_hook_list, net_hook);

struct net_loop {
	uint32_t magic;
	bool stopping;
	bool freeing; /* no callbacks to owners any more */
	bool in_hooks;
	bool hooks_dead; /* a hook was freed while hooks ran */
	uv_loop_t uv;
	uv_prepare_t prepare; /* the end of a turn */
	uv_idle_t idle;       /* active while defers wait, so that the loop does not block */
	struct net_defer_list defers;
	struct net_dirty_list dirties;
	struct net_hook_list hooks;
	int64_t turn_began_us; /* 0: no callback yet in this turn */
	int64_t stall_max_us;
	struct pk_buf spares[LOOP_SPARE_COUNT];
	size_t spare_count;
	uint8_t *read_buf;
	uint8_t *plain_buf; /* NULL until TLS is used */
};

/* First line of every callback that libuv makes: the turn's clock. */
static inline void loop_enter(struct net_loop *l)
{
	if (l->turn_began_us == 0)
		l->turn_began_us = net_now_fresh_us();
}

/* Everything that libuv knows carries one of these in handle->data, so that net_loop_free can close
 * what was left open. */
struct net_handle {
	uint32_t magic;
	void (*abandon)(struct net_handle *h); /* close without callbacks, free when closed */
};

void loop_defer(struct net_loop *l, struct net_defer *d, void (*run)(struct net_defer *d));
void loop_undefer(struct net_loop *l, struct net_defer *d);
void loop_dirty(struct net_loop *l, struct net_dirty *d, void (*flush)(struct net_dirty *d));
void loop_undirty(struct net_loop *l, struct net_dirty *d);
/* An empty output buffer, perhaps with memory; and back. */
struct pk_buf loop_buf_take(struct net_loop *l);
void loop_buf_give(struct net_loop *l, struct pk_buf *b);
/* Around every call that may start libuv's pool threads: they inherit a full signal mask. */
void loop_pool_mask(sigset_t *old);
void loop_pool_unmask(const sigset_t *old);
/* PK_EIO with ": " and libuv's text behind the message. */
int net_err_uv(struct pk_err *err, int uv_code, const char *fmt, ...) PK_PRINTF(3, 4);

#endif
