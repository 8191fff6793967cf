#include "tests/net/net_test.h"

#include "net/http.h"

struct site {
	struct net_loop *l;
	struct net_http *http;
	struct net_http_req *kept[4];
	int kept_count;
	int calls;
	bool keep;
	bool close_in_handler;
	char last[1024];
	size_t body_len;
};

static bool on_param(void *arg, const char *name, const char *value)
{
	struct pk_buf *b = arg;
	pk_buf_printf(b, "[%s=%s]", name, value != NULL ? value : "(null)");
	return true;
}

static void on_request(void *owner, struct net_http_req *r)
{
	struct site *site = owner;
	struct pk_buf b = PK_BUF_INIT;
	const char *q = net_http_query(r, "q"), *none = net_http_query(r, "none");
	const char *agent = net_http_header(r, "user-AGENT");
	char ip[NET_ADDR_TEXT_BYTES];

	site->calls++;
	site->body_len = net_http_body(r).len;
	if (site->keep) {
		assert_true(site->kept_count < 4);
		site->kept[site->kept_count++] = r;
		return;
	}
	pk_buf_printf(&b, "%s %s q=%s none=%s agent=%s from=%s ", net_http_method(r),
		      net_http_path(r), q != NULL ? q : "-", none != NULL ? none : "-",
		      agent != NULL ? agent : "-", net_addr_ip_text(net_http_peer(r), ip));
	net_http_query_each(r, on_param, &b);
	pk_buf_add_str(&b, " body=");
	if (site->body_len < 100)
		pk_buf_add_bytes(&b, net_http_body(r));
	if (site->close_in_handler)
		net_http_close(site->http);
	assert_int_equal(net_http_reply_header(r, "X-Test", "yes", NULL), 0);
	assert_int_equal(net_http_reply_header(r, "X-Bad", "a\r\nb", NULL), PK_EINVAL);
	net_http_reply(r, 200, "text/plain", pk_buf_bytes(&b));
	pk_buf_release(&b);
}

static void site_open(struct site *site, const struct net_http_opts *opts)
{
	struct pk_err err = PK_ERR_INIT;

	site->l = test_loop();
	site->http = net_http_listen(site->l, opts, on_request, site, &err);
	if (site->http == NULL)
		fail_msg("%s", err.text);
}

static const struct net_http_opts local = { .host = "127.0.0.1" };

static bool has(struct peer *p, const char *text)
{
	return p->in.len > 0 && memmem(p->in.data, p->in.len, text, strlen(text)) != NULL;
}

static void say(struct site *site, struct peer *p, const char *text)
{
	if (p->s == NULL)
		peer_dial(p, site->l, "127.0.0.1", net_http_port(site->http));
	net_stream_write(p->s, pk_bytes_str(text));
}

static void test_a_request_is_seen_and_answered(void **state)
{
	struct site site = { 0 };
	struct peer c = { 0 };

	(void)state;
	site_open(&site, &local);
	say(&site, &c,
	    "GET /commands/a%20b?q=1%262&none&x=%3D HTTP/1.1\r\nHost: h\r\n"
	    "User-Agent: me\r\n\r\n");
	RUN_UNTIL(site.l, has(&c, "body="));
	assert_true(has(&c, "HTTP/1.1 200 OK\r\n"));
	assert_true(has(&c, "X-Test: yes\r\n"));
	assert_false(has(&c, "X-Bad"));
	assert_true(has(&c, "Content-Type: text/plain\r\n"));
	assert_true(has(&c, "GET /commands/a b q=1&2 none= agent=me from=127.0.0.1 "
			    "[q=1&2][none=(null)][x==] body="));
	net_http_close(site.http);
	net_loop_free(site.l);
	peer_release(&c);
}

static void test_a_connection_serves_many_requests_with_bodies(void **state)
{
	struct site site = { 0 };
	struct peer c = { 0 };

	(void)state;
	site_open(&site, &local);
	say(&site, &c, "POST /one HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nfirst");
	RUN_UNTIL(site.l, has(&c, "POST /one") && has(&c, "body=first"));
	say(&site, &c,
	    "PUT /two HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
	    "3\r\nsec\r\n3\r\nond\r\n0\r\n\r\n"
	    "GET /three HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"); /* pipelined */
	RUN_UNTIL(site.l, c.closes == 1);
	assert_true(has(&c, "PUT /two") && has(&c, "body=second") && has(&c, "GET /three"));
	assert_int_equal(site.calls, 3);
	net_http_close(site.http);
	net_loop_free(site.l);
	peer_release(&c);
}

static void test_head_has_no_body(void **state)
{
	struct site site = { 0 };
	struct peer c = { 0 };

	(void)state;
	site_open(&site, &local);
	say(&site, &c, "HEAD /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
	RUN_UNTIL(site.l, c.closes == 1);
	assert_true(has(&c, "Content-Length: "));
	assert_false(has(&c, "body="));
	net_http_close(site.http);
	net_loop_free(site.l);
	peer_release(&c);
}

static void test_a_kept_request_is_answered_later(void **state)
{
	struct site site = { .keep = true };
	struct peer c = { 0 }, d = { 0 };

	(void)state;
	site_open(&site, &local);
	say(&site, &c, "GET /slow HTTP/1.1\r\nHost: h\r\n\r\n");
	RUN_UNTIL(site.l, site.kept_count == 1);
	site.keep = false;
	say(&site, &d, "GET /quick HTTP/1.1\r\nHost: h\r\n\r\n");
	RUN_UNTIL(site.l, has(&d, "GET /quick"));
	assert_int_equal(c.in.len, 0);
	assert_string_equal(net_http_path(site.kept[0]), "/slow");
	net_http_reply(site.kept[0], 202, "text/plain", pk_bytes_str("at last"));
	RUN_UNTIL(site.l, has(&c, "at last"));
	assert_true(has(&c, "HTTP/1.1 202 "));
	say(&site, &c, "GET /again HTTP/1.1\r\nHost: h\r\n\r\n");
	RUN_UNTIL(site.l, has(&c, "GET /again"));
	net_http_close(site.http);
	net_loop_free(site.l);
	peer_release(&c);
	peer_release(&d);
}

static void test_a_client_may_go_before_its_answer(void **state)
{
	struct site site = { .keep = true };
	struct peer c = { 0 };

	(void)state;
	site_open(&site, &local);
	say(&site, &c, "GET /slow HTTP/1.1\r\nHost: h\r\n\r\n");
	RUN_UNTIL(site.l, site.kept_count == 1);
	net_stream_close(c.s, "impatient");
	RUN_UNTIL(site.l, c.closes == 1);
	for (int i = 0; i < 5; i++)
		net_loop_turn(site.l, false);
	net_http_reply(site.kept[0], 200, "text/plain", pk_bytes_str("to nobody"));
	for (int i = 0; i < 5; i++)
		net_loop_turn(site.l, false);
	net_http_close(site.http);
	net_loop_free(site.l);
	peer_release(&c);
}

static void test_closing_answers_those_who_wait(void **state)
{
	struct site site = { .keep = true };
	struct peer c = { 0 };

	(void)state;
	site_open(&site, &local);
	say(&site, &c, "GET /slow HTTP/1.1\r\nHost: h\r\n\r\n");
	RUN_UNTIL(site.l, site.kept_count == 1);
	net_http_close(site.http);
	RUN_UNTIL(site.l, c.closes == 1);
	assert_true(has(&c, "HTTP/1.1 503 "));
	net_loop_free(site.l);
	peer_release(&c);
}

static void test_closing_from_the_handler_and_with_the_loop(void **state)
{
	struct site site = { .close_in_handler = true }, other = { .keep = true };
	struct peer c = { 0 }, d = { 0 };

	(void)state;
	site_open(&site, &local);
	say(&site, &c, "GET /stop HTTP/1.1\r\nHost: h\r\n\r\n");
	RUN_UNTIL(site.l, c.closes == 1);
	assert_true(has(&c, "GET /stop"));
	net_loop_free(site.l);
	peer_release(&c);
	site_open(&other, &local);
	say(&other, &d, "GET /kept HTTP/1.1\r\nHost: h\r\n\r\n");
	RUN_UNTIL(other.l, other.kept_count == 1);
	net_loop_free(other.l); /* nothing was closed before */
	peer_release(&d);
}

static void test_limits_on_headers_and_bodies(void **state)
{
	struct site site = { 0 };
	struct net_http_opts opts = { .host = "127.0.0.1",
				      .header_bytes_max = 4096,
				      .body_bytes_max = 1000 };
	struct peer c[4] = { 0 };
	char *big = pk_alloc(20000);

	(void)state;
	site_open(&site, &opts);
	say(&site, &c[0], "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1001\r\n\r\n");
	RUN_UNTIL(site.l, c[0].closes == 1);
	assert_true(has(&c[0], "HTTP/1.1 413 "));
	memset(big, 'x', 9000);
	say(&site, &c[1], "GET / HTTP/1.1\r\nHost: h\r\nX-Big: ");
	say(&site, &c[1], big);
	say(&site, &c[1], "\r\n\r\n");
	RUN_UNTIL(site.l, c[1].closes == 1);
	assert_true(c[1].in.len == 0 || has(&c[1], "HTTP/1.1 431 "));
	say(&site, &c[2],
	    "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n7d0\r\n");
	big[2000] = '\0';
	say(&site, &c[2], big);
	RUN_UNTIL(site.l, c[2].closes == 1);
	say(&site, &c[3], "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n");
	big[1000] = '\0';
	say(&site, &c[3], big);
	RUN_UNTIL(site.l, has(&c[3], "body="));
	assert_int_equal(site.body_len, 1000);
	assert_int_equal(site.calls, 1);
	net_http_close(site.http);
	net_loop_free(site.l);
	for (int i = 0; i < 4; i++)
		peer_release(&c[i]);
	free(big);
}

static void test_connections_over_the_limit_wait_their_turn(void **state)
{
	struct site site = { 0 };
	struct net_http_opts opts = { .host = "127.0.0.1", .conns_max = 2 };
	struct peer c[3] = { 0 };

	(void)state;
	site_open(&site, &opts);
	for (int i = 0; i < 2; i++) {
		say(&site, &c[i], "GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
		RUN_UNTIL(site.l, has(&c[i], "GET /a"));
	}
	say(&site, &c[2], "GET /b HTTP/1.1\r\nHost: h\r\n\r\n");
	for (int i = 0; i < 10; i++)
		net_loop_turn(site.l, false);
	assert_int_equal(site.calls, 2);
	net_stream_close(c[0].s, "leave");
	RUN_UNTIL(site.l, has(&c[2], "GET /b") || c[2].closes == 1);
	assert_int_equal(site.calls, 3);
	net_http_close(site.http);
	net_loop_free(site.l);
	for (int i = 0; i < 3; i++)
		peer_release(&c[i]);
}

static void test_an_idle_connection_is_closed(void **state)
{
	struct site site = { 0 };
	struct net_http_opts opts = { .host = "127.0.0.1", .idle_timeout_s = 1 };
	struct peer c = { 0 };

	(void)state;
	site_open(&site, &opts);
	say(&site, &c, "GET / HT");
	RUN_UNTIL(site.l, c.closes == 1);
	assert_int_equal(site.calls, 0);
	net_http_close(site.http);
	net_loop_free(site.l);
	peer_release(&c);
}

static void test_nonsense_is_refused_and_the_server_goes_on(void **state)
{
	struct site site = { 0 };
	struct peer c[3] = { 0 };

	(void)state;
	site_open(&site, &local);
	say(&site, &c[0], "\x16\x03\x01 nonsense\r\n\r\n");
	RUN_UNTIL(site.l, c[0].closes == 1);
	say(&site, &c[1], "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -5\r\n\r\n");
	RUN_UNTIL(site.l, c[1].closes == 1);
	assert_int_equal(site.calls, 0);
	say(&site, &c[2], "GET /fine HTTP/1.1\r\nHost: h\r\n\r\n");
	RUN_UNTIL(site.l, has(&c[2], "GET /fine"));
	net_http_close(site.http);
	net_loop_free(site.l);
	for (int i = 0; i < 3; i++)
		peer_release(&c[i]);
}

static void test_a_port_in_use_and_an_unknown_host_are_named(void **state)
{
	struct site site = { 0 };
	struct pk_err err = PK_ERR_INIT;
	struct net_http_opts opts = local;
	char want[100];

	(void)state;
	site_open(&site, &local);
	opts.port = net_http_port(site.http);
	assert_null(net_http_listen(site.l, &opts, on_request, NULL, &err));
	snprintf(want, sizeof(want), "listen for HTTP on 127.0.0.1:%u: address already in use",
		 opts.port);
	assert_string_equal(err.text, want);
	opts.host = "no-such-host.invalid";
	assert_null(net_http_listen(site.l, &opts, on_request, NULL, &err));
	assert_int_equal(err.code, PK_EINVAL);
	net_http_close(site.http);
	net_loop_free(site.l);
}

static void test_every_address_means_both_kinds(void **state)
{
	struct site site = { 0 };
	struct net_http_opts opts = { .host = NULL };
	struct peer c = { 0 };

	(void)state;
	site_open(&site, &opts);
	say(&site, &c, "GET /v4 HTTP/1.1\r\nHost: h\r\n\r\n");
	RUN_UNTIL(site.l, has(&c, "from=127.0.0.1"));
	net_http_close(site.http);
	net_loop_free(site.l);
	peer_release(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_request_is_seen_and_answered),
		cmocka_unit_test(test_a_connection_serves_many_requests_with_bodies),
		cmocka_unit_test(test_head_has_no_body),
		cmocka_unit_test(test_a_kept_request_is_answered_later),
		cmocka_unit_test(test_a_client_may_go_before_its_answer),
		cmocka_unit_test(test_closing_answers_those_who_wait),
		cmocka_unit_test(test_closing_from_the_handler_and_with_the_loop),
		cmocka_unit_test(test_limits_on_headers_and_bodies),
		cmocka_unit_test(test_connections_over_the_limit_wait_their_turn),
		cmocka_unit_test(test_an_idle_connection_is_closed),
		cmocka_unit_test(test_nonsense_is_refused_and_the_server_goes_on),
		cmocka_unit_test(test_a_port_in_use_and_an_unknown_host_are_named),
		cmocka_unit_test(test_every_address_means_both_kinds),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
