#include "cli/ask_io.h"

#include <stdio.h>

static void on_open(void *owner)
{
	struct ask *a = owner;

	a->connected = true;
	if (*a->word != '\0')
		net_stream_write(a->stream, pk_bytes_str(a->word));
	else
		net_stream_close(a->stream, "connected");
}

static void on_bytes(void *owner, struct pk_bytes in)
{
	struct ask *a = owner;

	if (a->answer.len + in.len > ASK_ANSWER_BYTES_MAX)
		net_stream_close(a->stream, "the answer is longer than %u bytes",
				 ASK_ANSWER_BYTES_MAX);
	else
		pk_buf_add_bytes(&a->answer, in);
}

static void on_close(void *owner, const char *reason)
{
	struct ask *a = owner;

	a->stream = NULL;
	a->done = true;
	if (!a->connected || (*a->word != '\0' && a->answer.len == 0))
		snprintf(a->error, sizeof(a->error), "%s", reason);
}

static const struct net_stream_ops ask_ops = {
	.on_open = on_open,
	.on_bytes = on_bytes,
	.on_close = on_close,
};

static void on_timer(void *owner)
{
	bool *late = owner;

	*late = true;
}

static bool all_done(const struct ask *asks, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (!asks[i].done)
			return false;
	}
	return true;
}

void ask_all(struct net_loop *l, struct net_tls *tls, struct ask *asks, size_t count,
	     int64_t timeout_ms)
{
	bool late = false;
	struct net_timer *timer = net_timer_new(l, on_timer, &late);

	for (size_t i = 0; i < count; i++) {
		struct net_connect_opts opts = { .host = asks[i].host,
						 .port = asks[i].port,
						 .timeout_ms = timeout_ms,
						 .tls = tls };
		asks[i].stream = net_connect(l, &opts, &ask_ops, &asks[i]);
	}
	net_timer_start(timer, timeout_ms, 0);
	while (!late && !all_done(asks, count))
		net_loop_turn(l, true);
	for (size_t i = 0; i < count; i++) {
		if (asks[i].stream != NULL)
			net_stream_close(asks[i].stream, "no answer in %lld ms",
					 (long long)timeout_ms);
	}
	while (!all_done(asks, count))
		net_loop_turn(l, true);
	net_timer_free(timer);
}
