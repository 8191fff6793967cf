#include "tests/net/net_test.h"

#include <malloc.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static void test_what_is_sent_comes_back(void **state)
{
	struct net_loop *l = test_loop();
	struct acceptor a = { .peers = { { .echo = true } } };
	struct net_listener *n = test_listen(l, "127.0.0.1", &a);
	struct peer c = { 0 };
	char text[NET_ADDR_TEXT_BYTES];
	struct net_addr local;

	(void)state;
	peer_dial(&c, l, "127.0.0.1", net_listener_port(n));
	net_stream_write(c.s, pk_bytes_str("before open, ")); /* kept until then */
	RUN_UNTIL(l, c.opens == 1 && a.count == 1);
	net_stream_write(c.s, pk_bytes_str("after"));
	RUN_UNTIL(l, c.in.len == strlen("before open, after"));
	assert_true(pk_bytes_is(pk_buf_bytes(&c.in), "before open, after"));
	assert_int_equal(net_stream_local(c.s, &local, NULL), 0);
	assert_int_equal(net_stream_peer(a.peers[0].s)->port, local.port);
	assert_string_equal(net_addr_ip_text(net_stream_peer(a.peers[0].s), text), "127.0.0.1");
	assert_int_equal(net_stream_peer(c.s)->port, net_listener_port(n));
	net_stream_close(c.s, "done");
	RUN_UNTIL(l, c.closes == 1 && a.peers[0].closes == 1);
	assert_string_equal(c.reason, "done");
	assert_string_equal(a.peers[0].reason, "closed by peer");
	net_listener_close(n);
	net_loop_free(l);
	peer_release(&c);
	acceptor_release(&a);
}

static void test_writes_of_one_turn_arrive_as_one(void **state)
{
	struct net_loop *l = test_loop();
	struct acceptor a = { 0 };
	struct net_listener *n = test_listen(l, "127.0.0.1", &a);
	struct peer c = { 0 };

	(void)state;
	peer_dial(&c, l, "127.0.0.1", net_listener_port(n));
	RUN_UNTIL(l, c.opens == 1 && a.count == 1);
	for (int i = 0; i < 100; i++)
		net_stream_write(c.s, pk_bytes_str("0123456789"));
	assert_int_equal(net_stream_queued_bytes(c.s),
			 1000); /* nothing leaves before the turn ends */
	RUN_UNTIL(l, a.peers[0].in.len == 1000);
	assert_int_equal(a.peers[0].reads, 1);
	net_stream_write(c.s, pk_bytes_str("now"));
	net_stream_flush(c.s);
	assert_int_equal(net_stream_queued_bytes(c.s), 0);
	net_listener_close(n);
	net_loop_free(l);
	peer_release(&c);
	acceptor_release(&a);
}

static void write_hook(void *owner)
{
	struct peer *p = owner;
	if (p->reads == 1 && p->s != NULL) {
		p->reads++;
		net_stream_write(p->s, pk_bytes_str("from the hook"));
	}
}

static void test_what_a_turn_hook_writes_leaves_in_that_turn(void **state)
{
	struct net_loop *l = test_loop();
	struct acceptor a = { 0 };
	struct net_listener *n = test_listen(l, "127.0.0.1", &a);
	struct net_hook *hook = net_loop_on_turn(l, write_hook, &a.peers[0]);
	struct peer c = { 0 };

	(void)state;
	peer_dial(&c, l, "127.0.0.1", net_listener_port(n));
	net_stream_write(c.s, pk_bytes_str("ask"));
	RUN_UNTIL(l, a.peers[0].reads >= 1);
	RUN_UNTIL(l, a.peers[0].reads == 2);
	assert_int_equal(net_stream_queued_bytes(a.peers[0].s), 0);
	RUN_UNTIL(l, c.in.len == strlen("from the hook"));
	net_hook_free(hook);
	net_listener_close(n);
	net_loop_free(l);
	peer_release(&c);
	acceptor_release(&a);
}

static void test_a_full_queue_drains_and_says_so_once(void **state)
{
	struct net_loop *l = test_loop();
	struct acceptor a = { 0 };
	struct net_listener *n = test_listen(l, "127.0.0.1", &a);
	struct peer c = { 0 };
	const size_t total = 20u * 1024 * 1024;
	uint8_t *bytes = pk_alloc(total);
	bool same = true;

	(void)state;
	for (size_t i = 0; i < total; i++)
		bytes[i] = (uint8_t)(i * 31 + i / 4096);
	peer_dial(&c, l, "127.0.0.1", net_listener_port(n));
	RUN_UNTIL(l, a.count == 1 && c.opens == 1);
	net_stream_pause(a.peers[0].s);
	net_stream_write(c.s, pk_bytes(bytes, total));
	for (int i = 0; i < 3; i++)
		net_loop_turn(l, false);
	assert_true(net_stream_queued_bytes(c.s) > NET_DRAIN_BYTES);
	assert_int_equal(c.drains, 0);
	net_stream_resume(a.peers[0].s);
	RUN_UNTIL(l, a.peers[0].in.len == total && c.drains > 0);
	assert_int_equal(c.drains, 1);
	same = memcmp(a.peers[0].in.data, bytes, total) == 0;
	assert_true(same);
	free(bytes);
	net_listener_close(n);
	net_loop_free(l);
	peer_release(&c);
	acceptor_release(&a);
}

static void test_a_queue_over_its_limit_closes_the_stream(void **state)
{
	struct net_loop *l = test_loop();
	struct acceptor a = { 0 };
	struct net_listener *n = test_listen(l, "127.0.0.1", &a);
	struct peer c = { 0 };
	struct net_connect_opts opts = { .host = "127.0.0.1",
					 .port = net_listener_port(n),
					 .limits = { .queued_bytes_max = 1000 } };

	(void)state;
	c.s = net_connect(l, &opts, &peer_ops, &c);
	RUN_UNTIL(l, c.opens == 1);
	for (int i = 0; i < 11; i++)
		net_stream_write(c.s, pk_bytes((const uint8_t[100]){ 0 }, 100));
	assert_int_equal(c.closes, 0); /* not on the caller's stack */
	assert_true(net_stream_is_closing(c.s));
	RUN_UNTIL(l, c.closes == 1);
	assert_non_null(strstr(c.reason, "1000 bytes queued and 100 more, at most 1000"));
	net_listener_close(n);
	net_loop_free(l);
	peer_release(&c);
	acceptor_release(&a);
}

static void test_the_first_reason_is_kept_and_told_once(void **state)
{
	struct net_loop *l = test_loop();
	struct acceptor a = { .peers = { { .close_on_bytes = true } } };
	struct net_listener *n = test_listen(l, "127.0.0.1", &a);
	struct peer c = { 0 };

	(void)state;
	peer_dial(&c, l, "127.0.0.1", net_listener_port(n));
	RUN_UNTIL(l, c.opens == 1);
	net_stream_close(c.s, "first %d", 1);
	net_stream_close(c.s, "second");
	net_stream_close_flushed(c.s, 10, "third");
	net_stream_write(c.s, pk_bytes_str("dropped"));
	assert_int_equal(c.closes, 0);
	RUN_UNTIL(l, c.closes == 1);
	assert_string_equal(c.reason, "first 1");
	net_loop_turn(l, false);
	assert_int_equal(c.closes, 1);
	/* closing inside on_bytes */
	peer_dial(&c, l, "127.0.0.1", net_listener_port(n));
	struct peer *second = &a.peers[1];
	second->close_on_bytes = true;
	net_stream_write(c.s, pk_bytes_str("x"));
	RUN_UNTIL(l, second->closes == 1);
	assert_string_equal(second->reason, "enough");
	net_listener_close(n);
	net_loop_free(l);
	peer_release(&c);
	acceptor_release(&a);
}

static void test_close_flushed_delivers_everything_first(void **state)
{
	struct net_loop *l = test_loop();
	struct acceptor a = { 0 };
	struct net_listener *n = test_listen(l, "127.0.0.1", &a);
	struct peer c = { 0 };
	const size_t total = 8u * 1024 * 1024;
	uint8_t *bytes = pk_alloc(total);

	(void)state;
	peer_dial(&c, l, "127.0.0.1", net_listener_port(n));
	RUN_UNTIL(l, a.count == 1);
	net_stream_write(a.peers[0].s, pk_bytes(bytes, total));
	net_stream_close_flushed(a.peers[0].s, TEST_WAIT_MS, "good bye");
	/* the other side talks on meanwhile: nobody listens, and it does no harm */
	net_stream_write(c.s, pk_bytes(bytes, 100000));
	RUN_UNTIL(l, c.closes == 1 && a.peers[0].closes == 1);
	assert_int_equal(c.in.len, total);
	assert_int_equal(a.peers[0].in.len, 0);
	assert_string_equal(a.peers[0].reason, "good bye");
	assert_string_equal(c.reason, "closed by peer");
	free(bytes);
	net_listener_close(n);
	net_loop_free(l);
	peer_release(&c);
	acceptor_release(&a);
}

static void test_close_flushed_waits_no_longer_than_asked(void **state)
{
	struct net_loop *l = test_loop();
	struct acceptor a = { 0 };
	struct net_listener *n = test_listen(l, "127.0.0.1", &a);
	struct peer c = { 0 };
	const size_t total = 20u * 1024 * 1024;
	uint8_t *bytes = pk_alloc(total);

	(void)state;
	peer_dial(&c, l, "127.0.0.1", net_listener_port(n));
	RUN_UNTIL(l, a.count == 1 && c.opens == 1);
	net_stream_pause(c.s); /* never reads */
	net_stream_write(a.peers[0].s, pk_bytes(bytes, total));
	net_stream_close_flushed(a.peers[0].s, 30, "hurry");
	RUN_UNTIL(l, a.peers[0].closes == 1);
	assert_string_equal(a.peers[0].reason, "hurry");
	free(bytes);
	net_listener_close(n);
	net_loop_free(l);
	peer_release(&c);
	acceptor_release(&a);
}

static void test_a_half_closed_peer_still_gets_its_answer(void **state)
{
	struct net_loop *l = test_loop();
	struct acceptor a = { .ops = &peer_eof_ops };
	struct net_listener *n = test_listen(l, "127.0.0.1", &a);
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons(net_listener_port(n)),
				  .sin_addr = { htonl(INADDR_LOOPBACK) } };
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	char got[16] = "";

	(void)state;
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	assert_int_equal(write(fd, "ruok", 4), 4);
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	RUN_UNTIL(l, a.peers[0].eofs == 1);
	assert_true(pk_bytes_is(pk_buf_bytes(&a.peers[0].in), "ruok"));
	net_stream_write(a.peers[0].s, pk_bytes_str("imok"));
	net_stream_close_flushed(a.peers[0].s, 1000, "answered");
	RUN_UNTIL(l, a.peers[0].closes == 1);
	assert_int_equal(read(fd, got, sizeof(got)), 4);
	assert_memory_equal(got, "imok", 4);
	assert_int_equal(read(fd, got, sizeof(got)), 0);
	close(fd);
	net_listener_close(n);
	net_loop_free(l);
	acceptor_release(&a);
}

static void test_pause_holds_bytes_back_and_resume_brings_them(void **state)
{
	struct net_loop *l = test_loop();
	struct acceptor a = { 0 };
	struct net_listener *n = test_listen(l, "127.0.0.1", &a);
	struct peer c = { 0 };

	(void)state;
	peer_dial(&c, l, "127.0.0.1", net_listener_port(n));
	RUN_UNTIL(l, a.count == 1 && c.opens == 1);
	net_stream_pause(a.peers[0].s);
	net_stream_write(c.s, pk_bytes_str("hello"));
	for (int i = 0; i < 5; i++)
		net_loop_turn(l, false);
	assert_int_equal(a.peers[0].in.len, 0);
	net_stream_resume(a.peers[0].s);
	assert_int_equal(a.peers[0].in.len, 0); /* not on the caller's stack */
	RUN_UNTIL(l, a.peers[0].in.len == 5);
	net_listener_close(n);
	net_loop_free(l);
	peer_release(&c);
	acceptor_release(&a);
}

static void test_a_refused_connection_says_where_and_why(void **state)
{
	struct net_loop *l = test_loop();
	struct acceptor a = { 0 };
	struct net_listener *n = test_listen(l, "127.0.0.1", &a);
	uint16_t port = net_listener_port(n);
	struct peer c = { 0 };
	char want[100];

	(void)state;
	net_listener_close(n);
	net_loop_turn(l, false);
	peer_dial(&c, l, "127.0.0.1", port);
	assert_int_equal(c.closes, 0);
	RUN_UNTIL(l, c.closes == 1);
	assert_int_equal(c.opens, 0);
	snprintf(want, sizeof(want), "connect 127.0.0.1:%u: 127.0.0.1:%u: connection refused", port,
		 port);
	assert_string_equal(c.reason, want);
	net_loop_free(l);
}

static void test_a_connection_that_is_not_answered_times_out(void **state)
{
	struct net_loop *l = test_loop();
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t len = sizeof(sa);
	int fd = socket(AF_INET, SOCK_STREAM, 0), fill[4];
	struct net_connect_opts opts = { .host = "127.0.0.1", .timeout_ms = 50 };
	struct peer c = { 0 };

	(void)state;
	/* A full backlog: the kernel drops what comes next, as a dead host would. */
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(fd, 0), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
	for (size_t i = 0; i < PK_COUNT(fill); i++) {
		fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		pk_ignore(connect(fill[i], (struct sockaddr *)&sa, sizeof(sa)),
			  "fills the backlog");
	}
	opts.port = ntohs(sa.sin_port);
	c.s = net_connect(l, &opts, &peer_ops, &c);
	RUN_UNTIL(l, c.closes == 1);
	assert_non_null(strstr(c.reason, "timed out"));
	for (size_t i = 0; i < PK_COUNT(fill); i++)
		close(fill[i]);
	close(fd);
	net_loop_free(l);
}

static void test_every_address_of_a_name_is_tried(void **state)
{
	struct net_loop *l = test_loop();
	struct acceptor a = { 0 };
	struct net_listener *n = test_listen(l, "127.0.0.1", &a); /* localhost may be ::1 first */
	struct peer c = { 0 };

	(void)state;
	peer_dial(&c, l, "localhost", net_listener_port(n));
	RUN_UNTIL(l, c.opens == 1 && a.count == 1);
	net_stream_close(c.s, "done");
	RUN_UNTIL(l, c.closes == 1);
	net_listener_close(n);
	net_loop_free(l);
}

static void test_an_unknown_name_says_so(void **state)
{
	struct net_loop *l = test_loop();
	struct net_listen_opts opts = { .host = "no-such-host.invalid" };
	struct pk_err err = PK_ERR_INIT;
	struct peer c = { 0 };

	(void)state;
	peer_dial(&c, l, "no-such-host.invalid", 1);
	RUN_UNTIL(l, c.closes == 1);
	assert_non_null(strstr(c.reason, "connect no-such-host.invalid:1: "));
	assert_null(net_listen(l, &opts, acceptor_accept, NULL, &err));
	assert_int_equal(err.code, PK_EINVAL);
	assert_non_null(strstr(err.text, "no-such-host.invalid"));
	net_loop_free(l);
}

static void test_closing_while_the_name_is_looked_up(void **state)
{
	struct net_loop *l = test_loop();
	struct peer c = { 0 };

	(void)state;
	peer_dial(&c, l, "localhost", 1);
	net_stream_close(c.s, "changed my mind");
	RUN_UNTIL(l, c.closes == 1);
	assert_string_equal(c.reason, "connect localhost:1: changed my mind");
	peer_dial(&c, l, "localhost", 1); /* and the loop may go at any time */
	net_loop_free(l);
	assert_int_equal(c.closes, 1);
}

static void test_ipv6_and_a_listener_on_every_address(void **state)
{
	struct net_loop *l = test_loop();
	struct acceptor a = { 0 };
	struct net_listener *n = test_listen(l, NULL, &a);
	struct peer c6 = { 0 }, c4 = { 0 };
	char text[NET_ADDR_TEXT_BYTES];

	(void)state;
	peer_dial(&c4, l, "127.0.0.1", net_listener_port(n));
	RUN_UNTIL(l, a.count == 1);
	/* a v4 client of a v6 socket is shown as v4 */
	assert_string_equal(net_addr_ip_text(net_stream_peer(a.peers[0].s), text), "127.0.0.1");
	peer_dial(&c6, l, "::1", net_listener_port(n));
	RUN_UNTIL(l, a.count == 2 || c6.closes == 1);
	if (c6.closes == 0)
		assert_string_equal(net_addr_ip_text(net_stream_peer(a.peers[1].s), text), "::1");
	net_listener_close(n);
	net_loop_free(l);
}

static void test_a_v6_only_listener_refuses_v4(void **state)
{
	struct net_loop *l = test_loop();
	struct acceptor a = { 0 };
	struct net_listen_opts opts = { .family = NET_V6_ONLY };
	struct pk_err err = PK_ERR_INIT;
	struct net_listener *n = net_listen(l, &opts, acceptor_accept, &a, &err);
	struct peer c = { 0 };

	(void)state;
	if (n == NULL) {
		net_loop_free(l);
		skip(); /* no IPv6 in this kernel */
	}
	peer_dial(&c, l, "127.0.0.1", net_listener_port(n));
	RUN_UNTIL(l, c.closes == 1);
	assert_non_null(strstr(c.reason, "connection refused"));
	net_listener_close(n);
	net_loop_free(l);
}

static void test_an_address_in_use_is_named(void **state)
{
	struct net_loop *l = test_loop();
	struct acceptor a = { 0 };
	struct net_listener *n = test_listen(l, "127.0.0.1", &a);
	struct net_listen_opts opts = { .host = "127.0.0.1", .port = net_listener_port(n) };
	struct pk_err err = PK_ERR_INIT;
	char want[100];

	(void)state;
	assert_null(net_listen(l, &opts, acceptor_accept, &a, &err));
	snprintf(want, sizeof(want), "listen on 127.0.0.1:%u: address already in use", opts.port);
	assert_string_equal(err.text, want);
	assert_int_equal(err.code, PK_EEXIST);
	net_listener_close(n);
	net_loop_free(l);
}

static void test_a_listener_on_a_name_shares_one_port(void **state)
{
	struct net_loop *l = test_loop();
	struct acceptor a = { 0 };
	struct net_listener *n = test_listen(l, "localhost", &a);

	(void)state;
	assert_true(net_listener_addr_count(n) >= 1);
	for (size_t i = 0; i < net_listener_addr_count(n); i++) {
		assert_int_equal(net_listener_addr(n, i)->port, net_listener_port(n));
		assert_true(net_addr_is_loopback(net_listener_addr(n, i)));
	}
	net_listener_close(n);
	net_loop_free(l);
}

static void test_connections_over_the_limit_are_closed(void **state)
{
	struct net_loop *l = test_loop();
	struct acceptor a = { 0 };
	struct net_listen_opts opts = { .host = "127.0.0.1", .conns_max = 1 };
	struct net_listener *n = net_listen(l, &opts, acceptor_accept, &a, NULL);
	struct peer c = { 0 }, d = { 0 };

	(void)state;
	peer_dial(&c, l, "127.0.0.1", net_listener_port(n));
	RUN_UNTIL(l, a.count == 1);
	peer_dial(&d, l, "127.0.0.1", net_listener_port(n));
	RUN_UNTIL(l, d.closes == 1);
	assert_int_equal(net_listener_refused(n), 1);
	assert_int_equal(a.count, 1);
	net_listener_close(n); /* its stream lives on */
	net_stream_write(c.s, pk_bytes_str("still here"));
	RUN_UNTIL(l, a.peers[0].in.len == 10);
	net_loop_free(l);
	acceptor_release(&a);
}

static void test_without_descriptors_clients_wait_and_the_loop_goes_on(void **state)
{
	struct net_loop *l = test_loop();
	struct acceptor a = { 0 };
	struct net_listener *n = test_listen(l, "127.0.0.1", &a);
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons(net_listener_port(n)),
				  .sin_addr = { htonl(INADDR_LOOPBACK) } };
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct rlimit before, none;
	struct peer c = { 0 };

	(void)state;
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0); /* in the backlog */
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = before;
	none.rlim_cur = 3; /* every descriptor above 2 is too many */
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	for (int i = 0; i < 5; i++)
		net_loop_turn(l, false);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(a.count, 0);
	assert_true(net_listener_refused(n) >= 1);
	RUN_UNTIL(l, a.count == 1);
	close(fd);
	peer_dial(&c, l, "127.0.0.1", net_listener_port(n));
	RUN_UNTIL(l, c.opens == 1 && a.count >= 1 && net_stream_is_open(a.peers[a.count - 1].s));
	net_listener_close(n);
	net_loop_free(l);
	acceptor_release(&a);
}

struct batch {
	struct net_stream *streams[3];
	int count, pending, answered_turns, pending_most;
};

static void batch_bytes(void *owner, struct pk_bytes in)
{
	struct batch *b = owner;
	b->pending += (int)in.len;
}

static void batch_close(void *owner, const char *reason)
{
	(void)owner;
	(void)reason;
}

static const struct net_stream_ops batch_ops = { .on_bytes = batch_bytes, .on_close = batch_close };

static void batch_accept(void *owner, struct net_stream *s)
{
	struct batch *b = owner;
	b->streams[b->count++] = s;
	net_stream_bind(s, &batch_ops, b);
}

static void batch_turn(void *owner)
{
	struct batch *b = owner;
	if (b->pending == 0)
		return;
	b->answered_turns++;
	b->pending_most = b->pending > b->pending_most ? b->pending : b->pending_most;
	b->pending = 0;
	for (int i = 0; i < b->count; i++)
		net_stream_write(b->streams[i], pk_bytes_str("done"));
}

static void test_what_arrives_in_one_turn_is_handled_as_one_batch(void **state)
{
	struct net_loop *l = test_loop();
	struct batch b = { 0 };
	struct net_listen_opts opts = { .host = "127.0.0.1" };
	struct net_listener *n = net_listen(l, &opts, batch_accept, &b, NULL);
	struct net_hook *hook = net_loop_on_turn(l, batch_turn, &b);
	struct peer c[3] = { 0 };

	(void)state;
	for (int i = 0; i < 3; i++)
		peer_dial(&c[i], l, "127.0.0.1", net_listener_port(n));
	RUN_UNTIL(l, b.count == 3 && c[0].opens + c[1].opens + c[2].opens == 3);
	for (int i = 0; i < 3; i++) /* all leave at the end of one turn, so all arrive in one */
		net_stream_write(c[i].s, pk_bytes_str("x"));
	RUN_UNTIL(l, c[0].in.len == 4 && c[1].in.len == 4 && c[2].in.len == 4);
	assert_int_equal(b.answered_turns, 1);
	assert_int_equal(b.pending_most, 3);
	net_hook_free(hook);
	net_listener_close(n);
	net_loop_free(l);
	for (int i = 0; i < 3; i++)
		peer_release(&c[i]);
}

static void many_accept(void *owner, struct net_stream *s)
{
	net_stream_bind(s, &peer_ops, owner);
}

static size_t heap_bytes(void)
{
	return mallinfo2().uordblks; /* 0 under a sanitizer, which has its own heap */
}

static void test_a_thousand_idle_connections_are_small(void **state)
{
	struct net_loop *l = test_loop();
	struct peer all = { 0 }, clients = { 0 };
	struct net_listen_opts opts = { .host = "127.0.0.1" };
	struct net_listener *n = net_listen(l, &opts, many_accept, &all, NULL);
	struct net_connect_opts to = { .host = "127.0.0.1", .port = net_listener_port(n) };
	static struct net_stream *streams[1000];
	size_t before, after;

	(void)state;
	before = heap_bytes();
	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < PK_COUNT(streams); i++)
			streams[i] = net_connect(l, &to, &peer_ops, &clients);
		RUN_UNTIL(l, clients.opens == (int)PK_COUNT(streams) * (round + 1));
		for (size_t i = 0; i < PK_COUNT(streams); i++) /* all have used their buffers */
			net_stream_write(streams[i], pk_bytes((const uint8_t[8000]){ 0 }, 8000));
		RUN_UNTIL(l, all.in.len == PK_COUNT(streams) * 8000);
		pk_buf_release(&all.in);
		if (round == 0) {
			after = heap_bytes();
			/* both ends of 1000 connections, and what the loop keeps for all of them */
			if (after > before)
				assert_true(after - before < 2000u * 1024 + 1024 * 1024);
			for (size_t i = 0; i < PK_COUNT(streams); i++)
				net_stream_close(streams[i], "round");
			RUN_UNTIL(l, clients.closes == (int)PK_COUNT(streams) &&
					     all.closes == (int)PK_COUNT(streams));
		}
	}
	net_listener_close(n);
	net_loop_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_sent_comes_back),
		cmocka_unit_test(test_writes_of_one_turn_arrive_as_one),
		cmocka_unit_test(test_what_a_turn_hook_writes_leaves_in_that_turn),
		cmocka_unit_test(test_a_full_queue_drains_and_says_so_once),
		cmocka_unit_test(test_a_queue_over_its_limit_closes_the_stream),
		cmocka_unit_test(test_the_first_reason_is_kept_and_told_once),
		cmocka_unit_test(test_close_flushed_delivers_everything_first),
		cmocka_unit_test(test_close_flushed_waits_no_longer_than_asked),
		cmocka_unit_test(test_a_half_closed_peer_still_gets_its_answer),
		cmocka_unit_test(test_pause_holds_bytes_back_and_resume_brings_them),
		cmocka_unit_test(test_a_refused_connection_says_where_and_why),
		cmocka_unit_test(test_a_connection_that_is_not_answered_times_out),
		cmocka_unit_test(test_every_address_of_a_name_is_tried),
		cmocka_unit_test(test_an_unknown_name_says_so),
		cmocka_unit_test(test_closing_while_the_name_is_looked_up),
		cmocka_unit_test(test_ipv6_and_a_listener_on_every_address),
		cmocka_unit_test(test_a_v6_only_listener_refuses_v4),
		cmocka_unit_test(test_an_address_in_use_is_named),
		cmocka_unit_test(test_a_listener_on_a_name_shares_one_port),
		cmocka_unit_test(test_connections_over_the_limit_are_closed),
		cmocka_unit_test(test_without_descriptors_clients_wait_and_the_loop_goes_on),
		cmocka_unit_test(test_what_arrives_in_one_turn_is_handled_as_one_batch),
		cmocka_unit_test(test_a_thousand_idle_connections_are_small),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
