/*
 * Streams of every kind, with both ends doing random things at random times. What must hold
 * whatever happens: every bound stream hears on_close exactly once and nothing after it, and (under
 * the sanitizers) no memory is touched late or lost.
 */
#include "tests/net/net_test.h"

#include "base/rng.h"
#include "net/tls.h"

#define PAIRS       24
#define ROUNDS      40
#define PAIRS_TOTAL (PAIRS * ROUNDS)

struct end {
	struct net_stream *s;
	struct chaos *chaos;
	bool closed;
	bool opened;
	bool paused;
};

struct chaos {
	struct net_loop *l;
	struct pk_rng rng;
	struct end ends[2 * PAIRS_TOTAL];
	int end_count;
	int closes, opens, reads, drains, eofs;
	uint8_t bytes[300000];
};

static void act(struct end *e)
{
	struct pk_rng *r = &e->chaos->rng;

	if (e->s == NULL)
		return;
	switch (pk_rng_below(r, 16)) {
	case 0:
		net_stream_close(e->s, "chaos");
		break;
	case 1:
		net_stream_close_flushed(e->s, (int64_t)pk_rng_below(r, 20), "slow chaos");
		break;
	case 2:
		net_stream_pause(e->s);
		e->paused = true;
		break;
	case 3:
	case 4:
		net_stream_resume(e->s);
		e->paused = false;
		break;
	case 5:
		net_stream_flush(e->s);
		break;
	case 6:
	case 7:
		net_stream_write(e->s, pk_bytes(e->chaos->bytes, pk_rng_below(r, 300000)));
		break;
	default:
		net_stream_write(e->s, pk_bytes(e->chaos->bytes, pk_rng_below(r, 2000)));
		break;
	}
}

static void chaos_open(void *owner)
{
	struct end *e = owner;
	assert_false(e->closed || e->opened);
	e->opened = true;
	e->chaos->opens++;
	act(e);
}

static void chaos_bytes(void *owner, struct pk_bytes in)
{
	struct end *e = owner;
	assert_true(in.len > 0 && e->opened && !e->closed && !e->paused);
	e->chaos->reads++;
	assert_false(net_stream_is_closing(e->s));
	act(e);
	act(&e->chaos->ends[pk_rng_below(&e->chaos->rng, (uint64_t)e->chaos->end_count)]);
}

static void chaos_drain(void *owner)
{
	struct end *e = owner;
	assert_true(e->opened && !e->closed);
	e->chaos->drains++;
	act(e);
}

static void chaos_eof(void *owner)
{
	struct end *e = owner;
	assert_true(e->opened && !e->closed && !e->paused);
	e->chaos->eofs++;
	act(e);
}

static void chaos_close(void *owner, const char *reason)
{
	struct end *e = owner;
	assert_false(e->closed);
	assert_true(reason[0] != '\0');
	e->closed = true;
	act(e); /* no-ops by now, and harmless */
	e->s = NULL;
	e->chaos->closes++;
}

static const struct net_stream_ops chaos_ops = {
	.on_open = chaos_open,
	.on_bytes = chaos_bytes,
	.on_drain = chaos_drain,
	.on_close = chaos_close,
};

static const struct net_stream_ops chaos_eof_ops = {
	.on_open = chaos_open,
	.on_bytes = chaos_bytes,
	.on_eof = chaos_eof,
	.on_close = chaos_close,
};

static struct end *end_new(struct chaos *c)
{
	struct end *e = &c->ends[c->end_count++];

	assert_true(c->end_count <= (int)PK_COUNT(c->ends));
	e->chaos = c;
	return e;
}

static const struct net_stream_ops *some_ops(struct chaos *c)
{
	return pk_rng_chance(&c->rng, 500000) ? &chaos_ops : &chaos_eof_ops;
}

static void chaos_accept(void *owner, struct net_stream *s)
{
	struct chaos *c = owner;

	if (pk_rng_chance(&c->rng, 50000))
		return; /* not wanted */
	struct end *e = end_new(c);
	e->s = s;
	net_stream_bind(s, some_ops(c), e);
	if (pk_rng_chance(&c->rng, 50000))
		act(e);
}

static void chaos_run(uint64_t seed, bool to_the_end)
{
	struct chaos *c = pk_alloc(sizeof(*c));
	struct pk_err err = PK_ERR_INIT;
	struct net_tls *tls = net_tls_psk_new(pk_bytes_str("a key that both of them know"), "k",
					      &err);
	struct net_tls *wrong = net_tls_psk_new(pk_bytes_str("a key that one of them knows"), "k",
						&err);
	struct net_listener *n[3];

	assert_true(tls != NULL && wrong != NULL);
	pk_rng_seed(&c->rng, seed);
	c->l = test_loop();
	for (int i = 0; i < 3; i++) {
		struct net_listen_opts opts = { .host = "127.0.0.1",
						.tls = i > 0 ? tls : NULL,
						.sniff_tls = i == 2,
						.limits = { .queued_bytes_max = 1000000,
							    .drain_bytes = 1000,
							    .handshake_timeout_ms = 50 } };
		n[i] = net_listen(c->l, &opts, chaos_accept, c, &err);
		assert_non_null(n[i]);
	}
	for (int round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < PAIRS / 2; i++) {
			uint64_t kind = pk_rng_below(&c->rng, 3);
			struct net_connect_opts to = {
				.host = pk_rng_chance(&c->rng, 100000) ? "localhost" : "127.0.0.1",
				.port = net_listener_port(n[kind]),
				.timeout_ms = 1 + (int64_t)pk_rng_below(&c->rng, 200),
				.tls = pk_rng_chance(&c->rng, 500000) ? tls : NULL,
				.limits = { .queued_bytes_max = 500000, .drain_bytes = 5000 },
			};
			struct end *e = end_new(c);

			if (pk_rng_chance(&c->rng, 100000))
				to.tls = wrong;
			e->s = net_connect(c->l, &to, some_ops(c), e);
			act(e);
		}
		for (int i = 0; i < 4; i++) {
			net_loop_turn(c->l, false);
			act(&c->ends[pk_rng_below(&c->rng, (uint64_t)c->end_count)]);
		}
	}
	if (to_the_end) {
		for (int i = 0; i < 3; i++)
			net_listener_close(n[i]);
		for (int i = 0; i < c->end_count; i++) {
			if (c->ends[i].s != NULL)
				net_stream_close(c->ends[i].s, "the end");
		}
		RUN_UNTIL(c->l, c->closes == c->end_count);
	}
	/* the dice must have let enough happen */
	assert_true(c->opens > 100 && c->reads > 300 && c->drains > 10 && c->eofs > 5);
	net_loop_free(c->l);
	for (int i = 0; to_the_end && i < c->end_count; i++)
		assert_true(c->ends[i].closed);
	net_tls_free(tls);
	net_tls_free(wrong);
	free(c);
}

static void test_every_stream_ends_once_whatever_happens(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 6; seed++)
		chaos_run(seed, true);
}

static void test_the_loop_may_go_whatever_is_under_way(void **state)
{
	(void)state;
	for (uint64_t seed = 11; seed <= 16; seed++)
		chaos_run(seed, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_stream_ends_once_whatever_happens),
		cmocka_unit_test(test_the_loop_may_go_whatever_is_under_way),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
