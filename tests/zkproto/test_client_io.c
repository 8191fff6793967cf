/* clang-format off */
#include "tests/lib/test.h"
/* clang-format on */

/*
 * The client's shell over real sockets, against a small server in the same loop that knows a
 * handful of requests.
 */
#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "net/stream.h"
#include "zkproto/client_io.h"
#include "zkproto/frame.h"
#include "zkproto/zk.h"

#define S(text)      pk_bytes_str(text)
#define TEST_WAIT_MS 20000

/* ---- the server ---- */

struct server {
	struct net_loop *loop;
	struct net_listener *listener;
	struct peer *peers[64];
	size_t peer_count;
	int sessions_new, sessions_resumed, closes, probes;
	bool read_only, silent;
	int64_t zxid;
	char address[64];
};

struct peer {
	struct server *server;
	struct net_stream *stream;
	struct zk_frame in;
	bool greeted;
};

static void peer_connect(struct peer *p, struct pk_bytes body, struct pk_buf *out)
{
	struct zk_rd r = zk_rd(body);
	struct zk_connect_req req;

	assert_int_equal(zk_connect_req_decode(&r, &req), 0);
	p->greeted = true;
	if (req.session_id == 0)
		p->server->sessions_new++;
	else
		p->server->sessions_resumed++;
	zk_connect_resp_encode(out, &(struct zk_connect_resp){ 0, req.timeout_ms, 0x77,
							       S("0123456789abcdef"), true,
							       p->server->read_only });
}

static void peer_request(struct peer *p, struct pk_bytes body, struct pk_buf *out)
{
	struct zk_rd r = zk_rd(body);
	struct zk_req_header header;
	struct zk_create_req create;
	struct zk_reply_header reply = { .zxid = ++p->server->zxid };
	struct zk_stat stat = { 0 };

	assert_int_equal(zk_req_header_decode(&r, &header), 0);
	reply.xid = header.xid;
	if (header.type == ZK_OP_CLOSE_SESSION)
		p->server->closes++;
	if (header.type == ZK_OP_GET_DATA)
		reply.err = ZK_ENONODE;
	zk_reply_header_encode(out, &reply);
	if (header.type == ZK_OP_CREATE2) {
		assert_int_equal(zk_create_req_decode(&r, &create), 0);
		zk_create2_resp_encode(out, &(struct zk_create2_resp){ create.path, stat });
	}
}

static void peer_on_bytes(void *owner, struct pk_bytes in)
{
	struct peer *p = owner;
	struct pk_err err = PK_ERR_INIT;
	struct pk_buf out = PK_BUF_INIT;
	struct pk_bytes body;

	zk_frame_feed(&p->in, in);
	if (!p->greeted && zk_frame_word(&p->in) == ZK_WORD_ISRO) {
		p->server->probes++;
		net_stream_write(p->stream, p->server->read_only ? S("ro") : S("rw"));
		net_stream_close_flushed(p->stream, 1000, "answered");
		return;
	}
	while (zk_frame_next(&p->in, &body, &err) == 1) {
		if (p->greeted && p->server->silent)
			continue;
		size_t at = zk_frame_begin(&out);

		if (p->greeted)
			peer_request(p, body, &out);
		else
			peer_connect(p, body, &out);
		zk_frame_end(&out, at);
	}
	net_stream_write(p->stream, pk_buf_bytes(&out));
	pk_buf_release(&out);
}

static void peer_on_close(void *owner, const char *reason)
{
	struct peer *p = owner;

	(void)reason;
	p->stream = NULL;
}

static const struct net_stream_ops peer_ops = {
	.on_bytes = peer_on_bytes,
	.on_close = peer_on_close,
};

static void on_accept(void *owner, struct net_stream *stream)
{
	struct server *s = owner;
	struct peer *p = pk_alloc(sizeof(*p));

	assert_true(s->peer_count < PK_COUNT(s->peers));
	p->server = s;
	p->stream = stream;
	zk_frame_init(&p->in, 0xfffff);
	s->peers[s->peer_count++] = p;
	net_stream_bind(stream, &peer_ops, p);
}

static void server_start_with(struct server *s, struct net_tls *tls)
{
	struct pk_err err = PK_ERR_INIT;

	pk_log_setup(PK_LOG_ERROR, PK_LOG_TEXT);
	*s = (struct server){ .zxid = 100 };
	s->loop = net_loop_new(&err);
	assert_non_null(s->loop);
	s->listener = net_listen(s->loop,
				 &(struct net_listen_opts){ .host = "127.0.0.1", .tls = tls },
				 on_accept, s, &err);
	assert_non_null(s->listener);
	snprintf(s->address, sizeof(s->address), "127.0.0.1:%u", net_listener_port(s->listener));
}

static void server_start(struct server *s)
{
	server_start_with(s, NULL);
}

static void server_hang_up(struct server *s)
{
	for (size_t i = 0; i < s->peer_count; i++)
		if (s->peers[i]->stream != NULL)
			net_stream_close(s->peers[i]->stream, "hang up");
}

static void server_end(struct server *s)
{
	net_listener_close(s->listener);
	server_hang_up(s);
	net_loop_run(s->loop); /* until every stream has closed */
	for (size_t i = 0; i < s->peer_count; i++) {
		zk_frame_release(&s->peers[i]->in);
		free(s->peers[i]);
	}
	net_loop_free(s->loop);
}

static void on_tick(void *owner)
{
	(void)owner; /* only wakes the loop, to see the condition */
}

#define RUN_UNTIL(loop, cond)                                                                      \
	do {                                                                                       \
		struct net_timer *tick_ = net_timer_new((loop), on_tick, NULL);                    \
		int64_t end_us_ = net_now_fresh_us() + TEST_WAIT_MS * 1000;                        \
		net_timer_start(tick_, 20, 20);                                                    \
		while (!(cond)) {                                                                  \
			if (net_now_fresh_us() > end_us_)                                          \
				fail_msg("never came true: %s", #cond);                            \
			net_loop_turn((loop), true);                                               \
		}                                                                                  \
		net_timer_free(tick_);                                                             \
	} while (0)

/* ---- the client's user ---- */

struct user {
	struct zkc_io *io;
	enum zkc_state state;
	int state_calls;
	int done;
	int32_t err;
	char path[64];
	bool free_in_done;
};

static void on_state(void *owner, enum zkc_state state)
{
	struct user *u = owner;

	u->state = state;
	u->state_calls++;
}

static void on_done(void *owner, const struct zkc_result *r)
{
	struct user *u = owner;

	u->done++;
	u->err = r->err;
	snprintf(u->path, sizeof(u->path), "%.*s", (int)r->path.len, (const char *)r->path.data);
	if (u->free_in_done)
		zkc_io_free(u->io);
}

static void user_start_for(struct user *u, struct server *s, const char *servers, bool read_only,
			   int32_t timeout_ms)
{
	struct pk_err err = PK_ERR_INIT;
	struct zkc_io_config cfg = {
		.servers = servers,
		.client = { .timeout_ms = timeout_ms,
			    .read_only = read_only,
			    .on_state = on_state,
			    .owner = u },
	};

	*u = (struct user){ 0 };
	u->io = zkc_io_new(s->loop, &cfg, &err);
	if (u->io == NULL)
		fail_msg("%s", err.text);
}

static void user_start(struct user *u, struct server *s, const char *servers, bool read_only)
{
	user_start_for(u, s, servers, read_only, 10000);
}

/* ---- tests ---- */

static void test_a_request_goes_through_sockets_and_comes_back(void **state)
{
	(void)state;
	struct server s;
	struct user u;
	char servers[128];

	server_start(&s);
	snprintf(servers, sizeof(servers), "%s/app", s.address);
	user_start(&u, &s, servers, false);
	zkc_create(zkc_io_client(u.io), S("/n"), S("x"), zk_acls_open(), 0, 0, on_done, &u);
	RUN_UNTIL(s.loop, u.done == 1);
	assert_int_equal(u.err, 0);
	assert_string_equal(u.path, "/n");
	assert_int_equal(u.state, ZKC_CONNECTED);
	assert_string_equal(zkc_io_server(u.io, 0), s.address);
	zkc_io_free(u.io);
	server_end(&s);
}

static void test_tls_carries_the_same(void **state)
{
	(void)state;
	struct server s;
	struct user u = { 0 };
	struct pk_err err = PK_ERR_INIT;
	struct net_tls *tls = net_tls_psk_new(S("a key of at least sixteen bytes"), "test", &err);

	assert_non_null(tls);
	server_start_with(&s, tls);
	struct zkc_io_config cfg = { .servers = s.address,
				     .tls = tls,
				     .client = { .on_state = on_state, .owner = &u } };
	u.io = zkc_io_new(s.loop, &cfg, &err);
	assert_non_null(u.io);
	net_tls_free(tls); /* both ends have their own reference */
	zkc_create(zkc_io_client(u.io), S("/n"), S("x"), zk_acls_open(), 0, 0, on_done, &u);
	RUN_UNTIL(s.loop, u.done == 1);
	assert_int_equal(u.err, 0);
	assert_true(net_stream_is_tls(s.peers[0]->stream));
	zkc_io_free(u.io);
	server_end(&s);
}

/* A hook that was registered behind the client's, and asks in its first turn after `armed`. */
struct late {
	struct user *user;
	bool armed;
};

static void on_late_turn(void *owner)
{
	struct late *late = owner;

	if (!late->armed)
		return;
	late->armed = false;
	zkc_get(zkc_io_client(late->user->io), S("/n"), ZKC_NO_WATCH, on_done, late->user);
}

static void test_a_call_behind_the_clients_hook_does_not_wait_for_a_timer(void **state)
{
	(void)state;
	struct server s;
	struct user u;

	server_start(&s);
	user_start(&u, &s, s.address, false);
	struct late late = { .user = &u };
	struct net_hook *hook = net_loop_on_turn(s.loop, on_late_turn, &late);
	RUN_UNTIL(s.loop, u.state == ZKC_CONNECTED);
	late.armed = true;
	int turns = 0;
	while (u.done == 0 && turns < 50) { /* no ticks here: only what is there wakes the loop */
		net_loop_turn(s.loop, true);
		turns++;
	}
	assert_int_equal(u.done, 1);
	assert_int_equal(u.err, ZK_ENONODE);
	assert_true(turns < 20);
	net_hook_free(hook);
	zkc_io_free(u.io);
	server_end(&s);
}

static void test_a_lost_connection_is_made_again_with_the_same_session(void **state)
{
	(void)state;
	struct server s;
	struct user u;

	server_start(&s);
	user_start(&u, &s, s.address, false);
	RUN_UNTIL(s.loop, u.state == ZKC_CONNECTED);
	server_hang_up(&s);
	RUN_UNTIL(s.loop, s.sessions_resumed == 1 && u.state == ZKC_CONNECTED);
	assert_int_equal(s.sessions_new, 1);
	assert_int_equal(u.state_calls, 3);
	zkc_io_free(u.io);
	server_end(&s);
}

static void test_a_server_that_is_not_there_is_passed_over(void **state)
{
	(void)state;
	struct server s;
	struct user u;
	char servers[160];

	server_start(&s);
	/* a port that was free a moment ago */
	struct pk_err err = PK_ERR_INIT;
	struct net_listener *gone = net_listen(
		s.loop, &(struct net_listen_opts){ .host = "127.0.0.1" }, on_accept, &s, &err);
	snprintf(servers, sizeof(servers), "127.0.0.1:%u,%s,127.0.0.1:%u", net_listener_port(gone),
		 s.address, net_listener_port(gone));
	net_listener_close(gone);
	user_start(&u, &s, servers, false);
	RUN_UNTIL(s.loop, u.state == ZKC_CONNECTED);
	zkc_io_free(u.io);
	server_end(&s);
}

static void test_a_client_alone_on_its_loop_keeps_trying(void **state)
{
	(void)state;
	struct server s;
	struct user u;
	struct pk_err err = PK_ERR_INIT;

	server_start(&s);
	net_listener_close(s.listener); /* nothing but the client keeps the loop going */
	s.listener = NULL;
	struct zkc_io_config cfg = { .servers = s.address, .client = { .timeout_ms = 400 } };
	u = (struct user){ .io = zkc_io_new(s.loop, &cfg, &err) };
	zkc_get(zkc_io_client(u.io), S("/n"), ZKC_NO_WATCH, on_done, &u);
	int64_t end_us = net_now_fresh_us() + TEST_WAIT_MS * 1000;
	while (u.done == 0 && net_now_fresh_us() < end_us)
		assert_true(net_loop_turn(s.loop, true));
	assert_int_equal(u.err, ZK_ECONNECTIONLOSS);
	zkc_io_free(u.io);
	server_end(&s);
}

static void test_close_ends_the_session_on_the_server(void **state)
{
	(void)state;
	struct server s;
	struct user u;

	server_start(&s);
	user_start(&u, &s, s.address, false);
	RUN_UNTIL(s.loop, u.state == ZKC_CONNECTED);
	zkc_close(zkc_io_client(u.io));
	RUN_UNTIL(s.loop, u.state == ZKC_CLOSED);
	assert_int_equal(s.closes, 1);
	zkc_io_free(u.io);
	server_end(&s);
}

static void test_it_can_be_freed_from_a_callback(void **state)
{
	(void)state;
	struct server s;
	struct user u;

	server_start(&s);
	user_start(&u, &s, s.address, false);
	u.free_in_done = true;
	zkc_get(zkc_io_client(u.io), S("/a"), ZKC_NO_WATCH, on_done, &u);
	zkc_get(zkc_io_client(u.io), S("/b"), ZKC_NO_WATCH, on_done, &u);
	RUN_UNTIL(s.loop, u.done >= 1 && s.peers[0]->stream == NULL);
	assert_int_equal(u.done, 1);
	server_end(&s);
}

static void test_it_can_be_freed_while_a_connection_that_it_gave_up_still_closes(void **state)
{
	(void)state;
	struct server s;
	struct user u;

	server_start(&s);
	user_start_for(&u, &s, s.address, false, 300);
	RUN_UNTIL(s.loop, u.state == ZKC_CONNECTED);
	s.silent = true;
	zkc_get(zkc_io_client(u.io), S("/a"), ZKC_NO_WATCH, on_done, &u);
	RUN_UNTIL(s.loop, u.done == 1);
	assert_int_equal(u.err, ZK_ECONNECTIONLOSS);
	zkc_io_free(u.io);
	server_end(&s); /* runs until its stream has closed, too */
}

static void test_a_read_only_client_finds_the_server_that_takes_writes(void **state)
{
	(void)state;
	struct server s;
	struct user u;

	server_start(&s);
	s.read_only = true;
	user_start(&u, &s, s.address, true);
	RUN_UNTIL(s.loop, u.state == ZKC_CONNECTED_READ_ONLY && s.probes > 0);
	s.read_only = false;
	RUN_UNTIL(s.loop, u.state == ZKC_CONNECTED);
	zkc_io_free(u.io);
	server_end(&s);
}

static void test_bad_server_lists_are_refused_with_a_reason(void **state)
{
	(void)state;
	struct server s;
	static const char *const bad[] = {
		"", "/app", "h:port", "h:1,,h:2", "h:1/app/", "h:70000"
	};

	server_start(&s);
	for (size_t i = 0; i < PK_COUNT(bad); i++) {
		struct pk_err err = PK_ERR_INIT;
		struct zkc_io_config cfg = { .servers = bad[i] };

		assert_null(zkc_io_new(s.loop, &cfg, &err));
		assert_int_equal(err.code, PK_EINVAL);
		assert_memory_equal(err.text, "servers ", 8);
	}
	server_end(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_request_goes_through_sockets_and_comes_back),
		cmocka_unit_test(test_tls_carries_the_same),
		cmocka_unit_test(test_a_call_behind_the_clients_hook_does_not_wait_for_a_timer),
		cmocka_unit_test(test_a_lost_connection_is_made_again_with_the_same_session),
		cmocka_unit_test(test_a_server_that_is_not_there_is_passed_over),
		cmocka_unit_test(test_a_client_alone_on_its_loop_keeps_trying),
		cmocka_unit_test(test_close_ends_the_session_on_the_server),
		cmocka_unit_test(test_it_can_be_freed_from_a_callback),
		cmocka_unit_test(
			test_it_can_be_freed_while_a_connection_that_it_gave_up_still_closes),
		cmocka_unit_test(test_a_read_only_client_finds_the_server_that_takes_writes),
		cmocka_unit_test(test_bad_server_lists_are_refused_with_a_reason),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
