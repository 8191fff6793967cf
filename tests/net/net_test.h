/*
 * tests/net/net_test.h - what the tests of net/ share: a loop that runs until something is true,
 * and a peer that writes down what it hears.
 */
#ifndef PK_TESTS_NET_TEST_H
#define PK_TESTS_NET_TEST_H

#include "tests/lib/test.h"

#include <stdio.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "net/stream.h"

#define TEST_WAIT_MS 20000

/* Turns until `cond`; fails the test when it takes absurdly long. */
#define RUN_UNTIL(loop, cond)                                                                      \
	do {                                                                                       \
		struct net_timer *tick_ = net_timer_new((loop), test_tick, NULL);                  \
		int64_t end_us_ = net_now_fresh_us() + TEST_WAIT_MS * 1000;                        \
		net_timer_start(tick_, 5, 5);                                                      \
		while (!(cond)) {                                                                  \
			if (net_now_fresh_us() > end_us_)                                          \
				fail_msg("never came true: %s", #cond);                            \
			net_loop_turn((loop), true);                                               \
		}                                                                                  \
		net_timer_free(tick_);                                                             \
	} while (0)

static inline void test_tick(void *owner)
{
	(void)owner; /* only wakes the loop */
}

/* One end of a connection. */
struct peer {
	struct net_stream *s;
	struct pk_buf in;
	int opens, reads, eofs, drains, closes;
	char reason[512];
	bool echo;
	bool pause_on_bytes;
	bool close_on_bytes;
};

static inline void peer_on_open(void *owner)
{
	struct peer *p = owner;
	p->opens++;
}

static inline void peer_on_bytes(void *owner, struct pk_bytes in)
{
	struct peer *p = owner;
	assert_true(in.len > 0);
	p->reads++;
	pk_buf_add_bytes(&p->in, in);
	if (p->echo)
		net_stream_write(p->s, in);
	if (p->pause_on_bytes)
		net_stream_pause(p->s);
	if (p->close_on_bytes)
		net_stream_close(p->s, "enough");
}

static inline void peer_on_drain(void *owner)
{
	struct peer *p = owner;
	p->drains++;
}

static inline void peer_on_close(void *owner, const char *reason)
{
	struct peer *p = owner;
	p->closes++;
	snprintf(p->reason, sizeof(p->reason), "%s", reason);
	p->s = NULL;
}

static inline void peer_on_eof(void *owner)
{
	struct peer *p = owner;
	p->eofs++;
}

static const struct net_stream_ops peer_ops = {
	.on_open = peer_on_open,
	.on_bytes = peer_on_bytes,
	.on_drain = peer_on_drain,
	.on_close = peer_on_close,
};

static const struct net_stream_ops __attribute__((unused)) peer_eof_ops = {
	.on_open = peer_on_open,
	.on_bytes = peer_on_bytes,
	.on_eof = peer_on_eof,
	.on_close = peer_on_close,
};

/* The listening side: the i-th connection is bound to peers[i]. */
struct acceptor {
	struct peer peers[8];
	int count;
	const struct net_stream_ops *ops;
};

static inline void acceptor_accept(void *owner, struct net_stream *s)
{
	struct acceptor *a = owner;
	struct peer *p = &a->peers[a->count++];
	assert_true(a->count <= 8);
	p->s = s;
	net_stream_bind(s, a->ops != NULL ? a->ops : &peer_ops, p);
}

static inline void peer_dial(struct peer *p, struct net_loop *l, const char *host, uint16_t port)
{
	struct net_connect_opts opts = { .host = host, .port = port };
	p->s = net_connect(l, &opts, &peer_ops, p);
}

static inline void peer_release(struct peer *p)
{
	pk_buf_release(&p->in);
}

static inline void acceptor_release(struct acceptor *a)
{
	for (int i = 0; i < a->count; i++)
		peer_release(&a->peers[i]);
}

static inline struct net_loop *test_loop(void)
{
	struct pk_err err = PK_ERR_INIT;
	struct net_loop *l = net_loop_new(&err);
	assert_non_null(l);
	return l;
}

static inline struct net_listener *test_listen(struct net_loop *l, const char *host,
					       struct acceptor *a)
{
	struct net_listen_opts opts = { .host = host };
	struct pk_err err = PK_ERR_INIT;
	struct net_listener *n = net_listen(l, &opts, acceptor_accept, a, &err);
	if (n == NULL)
		fail_msg("%s", err.text);
	return n;
}

#endif
