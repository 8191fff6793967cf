/* clang-format off */
#include "tests/lib/test.h"
/* clang-format on */

/*
 * The client's core against a server that the test plays by hand, in simulated time. Everything the
 * client does becomes a line of a transcript; each test says what the lines must be.
 */
#include <inttypes.h>
#include <stdio.h>

#include "zkproto/client.h"
#include "zkproto/frame.h"
#include "zkproto/zk.h"

#define S(text) pk_bytes_str(text)

struct sim {
	struct zkc *c;
	struct zkc_config cfg;
	int64_t now;
	uint32_t conn;      /* of the last connect effect */
	bool in_handshake;  /* the next frame is a connect request */
	int32_t xid;        /* of the last request seen */
	size_t frames;      /* sent by the client */
	struct zk_frame in; /* what the client sent */
	struct pk_buf log;
	bool quiet; /* no lines for frames */
};

static void say(struct sim *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(struct sim *s, const char *fmt, ...)
{
	char line[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	pk_buf_add_str(&s->log, line);
	pk_buf_add_str(&s->log, "\n");
}

static void wants(struct sim *s, const char *lines)
{
	assert_string_equal(pk_buf_str(&s->log), lines);
	pk_buf_clear(&s->log);
}

static const char *text(struct pk_bytes b, char to[256])
{
	snprintf(to, 256, "%.*s", (int)b.len, b.data != NULL ? (const char *)b.data : "(null)");
	return to;
}

static const char *list(struct zk_strings v, char to[256])
{
	struct pk_bytes item;
	size_t at = 0;

	to[0] = 0;
	while (zk_strings_next(&v, &item))
		at += (size_t)snprintf(to + at, 256 - at, "%s%.*s", at > 0 ? "," : "",
				       (int)item.len, (const char *)item.data);
	return to;
}

/* A frame of the client as one line. */
static void say_frame(struct sim *s, struct pk_bytes body)
{
	struct zk_rd r = zk_rd(body);
	struct zk_connect_req connect;
	struct zk_req_header header;
	struct zk_set_watches2_req set;
	struct zk_auth_req auth;
	struct zk_sasl_req sasl;
	char t[5][256];

	s->frames++;
	if (s->in_handshake) {
		s->in_handshake = false;
		assert_int_equal(zk_connect_req_decode(&r, &connect), 0);
		assert_true(connect.has_read_only);
		say(s, "> connect session=%" PRIx64 " zxid=%" PRId64 " timeout=%d password=%s%s",
		    (uint64_t)connect.session_id, connect.last_zxid_seen, connect.timeout_ms,
		    connect.session_id != 0 ? text(connect.password, t[0]) : "-",
		    connect.read_only ? " read-only" : "");
		return;
	}
	assert_int_equal(zk_req_header_decode(&r, &header), 0);
	if (header.xid > 0)
		s->xid = header.xid;
	if (s->quiet)
		return;
	switch (header.type) {
	case ZK_OP_PING:
		assert_int_equal(header.xid, ZK_XID_PING);
		say(s, "> ping");
		break;
	case ZK_OP_SET_WATCHES2:
		assert_int_equal(header.xid, ZK_XID_SET_WATCHES);
		assert_int_equal(zk_set_watches2_req_decode(&r, &set), 0);
		say(s,
		    "> setWatches2 zxid=%" PRId64 " data=%s exist=%s child=%s persistent=%s "
		    "recursive=%s",
		    set.relative_zxid, list(set.data, t[0]), list(set.exist, t[1]),
		    list(set.child, t[2]), list(set.persistent, t[3]), list(set.recursive, t[4]));
		break;
	case ZK_OP_AUTH:
		assert_int_equal(header.xid, ZK_XID_AUTH);
		assert_int_equal(zk_auth_req_decode(&r, &auth), 0);
		say(s, "> auth %s %s", text(auth.scheme, t[0]), text(auth.auth, t[1]));
		break;
	case ZK_OP_SASL:
		assert_int_equal(zk_sasl_req_decode(&r, &sasl), 0);
		say(s, "> sasl '%s'", text(sasl.token, t[0]));
		break;
	case ZK_OP_CLOSE_SESSION:
		say(s, "> closeSession");
		break;
	case ZK_OP_MULTI:
	case ZK_OP_MULTI_READ:
	case ZK_OP_WHOAMI:
		say(s, "> %s", zk_opcode_name(header.type));
		break;
	default:
		say(s, "> %s %s", zk_opcode_name(header.type), text(zk_rd_ustring(&r), t[0]));
		break;
	}
}

static void run_effects(struct sim *s)
{
	struct zkc_effect fx;
	struct pk_err err = PK_ERR_INIT;
	struct pk_bytes body;

	while (zkc_effect_next(s->c, &fx)) {
		switch (fx.type) {
		case ZKC_FX_CONNECT:
			s->conn = fx.conn;
			s->in_handshake = true;
			zk_frame_release(&s->in);
			say(s, "connect %u", fx.server);
			break;
		case ZKC_FX_SEND:
			assert_int_equal(fx.conn, s->conn);
			zk_frame_feed(&s->in, fx.bytes);
			while (zk_frame_next(&s->in, &body, &err) == 1)
				say_frame(s, body);
			break;
		case ZKC_FX_CLOSE:
			say(s, "close: %s", fx.reason);
			break;
		case ZKC_FX_PROBE:
			say(s, "probe %u", fx.server);
			break;
		}
	}
	zkc_check(s->c);
}

static void step(struct sim *s)
{
	zkc_step(s->c, s->now);
	run_effects(s);
}

/* Let time pass as a shell would: step at every deadline on the way. */
static void elapse(struct sim *s, int64_t ms)
{
	int64_t until = s->now + ms;

	for (;;) {
		int64_t at = zkc_deadline_ms(s->c);

		if (at > until)
			break;
		if (at > s->now)
			s->now = at;
		step(s);
	}
	s->now = until;
	step(s);
}

static void opened(struct sim *s)
{
	zkc_on_open(s->c, s->conn, s->now);
	run_effects(s);
}

static void lost(struct sim *s)
{
	zkc_on_closed(s->c, s->conn, "cut", s->now);
	run_effects(s);
}

static void receive(struct sim *s, struct pk_buf *frame)
{
	zkc_on_bytes(s->c, s->conn, pk_buf_bytes(frame), s->now);
	pk_buf_release(frame);
	run_effects(s);
}

static void reply_connect_as(struct sim *s, int64_t session_id, int32_t timeout_ms, bool read_only)
{
	struct pk_buf b = PK_BUF_INIT;
	size_t at = zk_frame_begin(&b);

	zk_connect_resp_encode(&b,
			       &(struct zk_connect_resp){ 0, timeout_ms, session_id,
							  S("0123456789abcdef"), true, read_only });
	zk_frame_end(&b, at);
	receive(s, &b);
}

static void reply_connect(struct sim *s)
{
	reply_connect_as(s, 0xabc, 6000, false);
}

static size_t reply_begin(struct pk_buf *b, int32_t xid, int64_t zxid, int32_t err)
{
	size_t at = zk_frame_begin(b);

	zk_reply_header_encode(b, &(struct zk_reply_header){ xid, zxid, err });
	return at;
}

static void reply(struct sim *s, int32_t xid, int64_t zxid, int32_t err)
{
	struct pk_buf b = PK_BUF_INIT;

	zk_frame_end(&b, reply_begin(&b, xid, zxid, err));
	receive(s, &b);
}

static const struct zk_stat stat = { .czxid = 5, .mzxid = 6, .version = 3 };

static void reply_stat(struct sim *s, int32_t xid, int64_t zxid)
{
	struct pk_buf b = PK_BUF_INIT;
	size_t at = reply_begin(&b, xid, zxid, 0);

	zk_wr_stat(&b, &stat);
	zk_frame_end(&b, at);
	receive(s, &b);
}

static void reply_data(struct sim *s, int32_t xid, int64_t zxid, const char *data)
{
	struct pk_buf b = PK_BUF_INIT;
	size_t at = reply_begin(&b, xid, zxid, 0);

	zk_get_data_resp_encode(&b, &(struct zk_get_data_resp){ S(data), stat });
	zk_frame_end(&b, at);
	receive(s, &b);
}

static void reply_created(struct sim *s, int32_t xid, int64_t zxid, const char *path)
{
	struct pk_buf b = PK_BUF_INIT;
	size_t at = reply_begin(&b, xid, zxid, 0);

	zk_create2_resp_encode(&b, &(struct zk_create2_resp){ S(path), stat });
	zk_frame_end(&b, at);
	receive(s, &b);
}

static void event(struct sim *s, int32_t type, const char *path)
{
	struct pk_buf b = PK_BUF_INIT;
	size_t at = reply_begin(&b, ZK_XID_NOTIFICATION, -1, 0);

	zk_watcher_event_encode(&b, &(struct zk_watcher_event){ type, 3, S(path) });
	zk_frame_end(&b, at);
	receive(s, &b);
}

/* ---- callbacks ---- */

static struct sim the; /* the one that callbacks write to */

static void on_state(void *owner, enum zkc_state state)
{
	say(owner, "state %s", zkc_state_name(state));
}

static void on_done(void *owner, const struct zkc_result *r)
{
	char t[2][256];

	if (r->err != 0)
		say(&the, "done %s %s", (const char *)owner, zk_error_name(r->err));
	else
		say(&the, "done %s ok%s%s%s%s%s", (const char *)owner,
		    r->path.data != NULL ? " path=" : "",
		    r->path.data != NULL ? text(r->path, t[0]) : "",
		    r->data.data != NULL ? " data=" : "",
		    r->data.data != NULL ? text(r->data, t[1]) : "",
		    r->stat != NULL ? " stat" : "");
}

static void on_watch(void *owner, const struct zkc_event *e)
{
	char t[256];

	say(&the, "event %s %s %s", (const char *)owner, zk_event_name(e->type),
	    e->type == ZK_EVENT_NONE ? zkc_state_name(e->state) : text(e->path, t));
}

static struct zkc_watch watch(const char *tag)
{
	return (struct zkc_watch){ on_watch, (void *)(uintptr_t)tag };
}

static void *tag(const char *name)
{
	return (void *)(uintptr_t)name;
}

/* ---- begin and end ---- */

static struct sim *begin(struct zkc_config cfg)
{
	struct pk_err err = PK_ERR_INIT;

	the = (struct sim){ .now = 1000000 };
	zk_frame_init(&the.in, 0xffffff);
	cfg.on_state = on_state;
	cfg.owner = &the;
	cfg.seed = cfg.seed != 0 ? cfg.seed : 42;
	if (cfg.server_count == 0)
		cfg.server_count = 1;
	if (cfg.timeout_ms == 0)
		cfg.timeout_ms = 6000;
	the.c = zkc_new(&cfg, &err);
	assert_non_null(the.c);
	return &the;
}

static struct sim *begin_connected(struct zkc_config cfg)
{
	struct sim *s = begin(cfg);

	step(s);
	opened(s);
	reply_connect(s);
	pk_buf_clear(&s->log);
	return s;
}

static void end(struct sim *s)
{
	zkc_free(s->c);
	zk_frame_release(&s->in);
	pk_buf_release(&s->log);
}

/* ---- tests ---- */

static void test_a_session_begins_with_a_connect_request(void **state)
{
	(void)state;
	struct sim *s = begin((struct zkc_config){ 0 });
	struct zkc_info info;

	step(s);
	wants(s, "connect 0\n");
	opened(s);
	wants(s, "> connect session=0 zxid=0 timeout=6000 password=-\n");
	reply_connect_as(s, 0xabc, 4000, false);
	wants(s, "state connected\n");
	zkc_info(s->c, &info);
	assert_int_equal(info.session_id, 0xabc);
	assert_int_equal(info.timeout_ms, 4000);
	assert_true(pk_bytes_is(info.password, "0123456789abcdef"));
	end(s);
}

static void test_requests_made_before_the_session_go_when_it_is_there(void **state)
{
	(void)state;
	struct sim *s = begin((struct zkc_config){ 0 });

	zkc_get(s->c, S("/a"), ZKC_NO_WATCH, on_done, tag("get"));
	step(s);
	opened(s);
	pk_buf_clear(&s->log);
	reply_connect(s);
	wants(s, "state connected\n> getData /a\n");
	reply_data(s, s->xid, 7, "hello");
	wants(s, "done get ok data=hello stat\n");
	end(s);
}

static void test_requests_are_pipelined_and_answered_in_order(void **state)
{
	(void)state;
	struct sim *s = begin_connected((struct zkc_config){ 0 });

	zkc_create(s->c, S("/a"), S("x"), zk_acls_open(), ZK_CREATE_EPHEMERAL, 0, on_done,
		   tag("create"));
	zkc_set(s->c, S("/a"), S("y"), -1, on_done, tag("set"));
	zkc_delete(s->c, S("/a"), 1, on_done, tag("delete"));
	wants(s, ""); /* nothing happens inside the calls */
	step(s);
	wants(s, "> create2 /a\n> setData /a\n> delete /a\n");
	reply_created(s, s->xid - 2, 8, "/a");
	reply_stat(s, s->xid - 1, 9);
	reply(s, s->xid, 10, ZK_EBADVERSION);
	wants(s, "done create ok path=/a stat\ndone set ok stat\ndone delete BadVersion\n");
	end(s);
}

static void test_the_opcode_follows_the_kind_of_node(void **state)
{
	(void)state;
	struct sim *s = begin_connected((struct zkc_config){ 0 });

	zkc_create(s->c, S("/c"), S(""), zk_acls_open(), ZK_CREATE_CONTAINER, 0, NULL, NULL);
	zkc_create(s->c, S("/t"), S(""), zk_acls_open(), ZK_CREATE_TTL, 1000, NULL, NULL);
	zkc_create(s->c, S("/s-"), S(""), zk_acls_open(), ZK_CREATE_SEQUENTIAL, 0, NULL, NULL);
	step(s);
	wants(s, "> createContainer /c\n> createTTL /t\n> create2 /s-\n");
	end(s);
}

static void test_the_window_bounds_what_is_sent(void **state)
{
	(void)state;
	struct sim *s = begin_connected((struct zkc_config){ .window_max = 2 });

	for (int i = 0; i < 4; i++)
		zkc_exists(s->c, S("/a"), ZKC_NO_WATCH, on_done, tag("e"));
	step(s);
	wants(s, "> exists /a\n> exists /a\n");
	reply_stat(s, s->xid - 1, 5);
	wants(s, "done e ok stat\n> exists /a\n");
	end(s);
}

static void test_the_queue_has_a_limit(void **state)
{
	(void)state;
	struct sim *s = begin((struct zkc_config){ .requests_max = 2 });

	for (int i = 0; i < 3; i++)
		zkc_exists(s->c, S("/a"), ZKC_NO_WATCH, on_done, tag("e"));
	step(s);
	wants(s, "done e ThrottledOp\nconnect 0\n");
	end(s);
}

static void test_bad_paths_and_long_requests_are_refused_here(void **state)
{
	(void)state;
	struct sim *s = begin_connected((struct zkc_config){ .request_bytes_max = 200 });
	char big[300];

	memset(big, 'x', sizeof(big));
	zkc_get(s->c, S("no-slash"), ZKC_NO_WATCH, on_done, tag("one"));
	zkc_create(s->c, S("/a//b"), S(""), zk_acls_open(), 0, 0, on_done, tag("two"));
	zkc_set(s->c, S("/a"), pk_bytes(big, sizeof(big)), -1, on_done, tag("three"));
	zkc_create(s->c, S("/seq/"), S(""), zk_acls_open(), ZK_CREATE_SEQUENTIAL, 0, on_done,
		   tag("four"));
	step(s);
	wants(s, "done one BadArguments\ndone two BadArguments\ndone three BadArguments\n"
		 "> create2 /seq/\n");
	end(s);
}

static void test_pings_go_at_a_third_of_the_timeout_when_idle(void **state)
{
	(void)state;
	struct sim *s = begin_connected((struct zkc_config){ 0 });

	elapse(s, 1999);
	wants(s, "");
	elapse(s, 1);
	wants(s, "> ping\n");
	reply(s, ZK_XID_PING, 0, 0);
	zkc_exists(s->c, S("/a"), ZKC_NO_WATCH, NULL, NULL);
	elapse(s, 1000);
	reply_stat(s, s->xid, 5);
	pk_buf_clear(&s->log);
	elapse(s, 999); /* the request counts as one */
	wants(s, "");
	elapse(s, 1);
	wants(s, "> ping\n");
	end(s);
}

static void test_a_silent_server_is_left_at_two_thirds_of_the_timeout(void **state)
{
	(void)state;
	struct sim *s = begin_connected((struct zkc_config){ 0 });

	zkc_exists(s->c, S("/a"), ZKC_NO_WATCH, on_done, tag("e"));
	elapse(s, 3999);
	wants(s, "> exists /a\n> ping\n");
	elapse(s, 1);
	wants(s, "done e ConnectionLoss\nstate connecting\n"
		 "close: nothing came from the server for 2/3 of the session timeout\n");
	elapse(s, ZKC_RETRY_SPREAD_MS);
	wants(s, "connect 0\n");
	opened(s);
	wants(s, "> connect session=abc zxid=0 timeout=6000 password=0123456789abcdef\n");
	end(s);
}

static void test_a_lost_connection_fails_what_was_sent_and_what_was_behind_it(void **state)
{
	(void)state;
	struct sim *s = begin_connected((struct zkc_config){ .window_max = 1 });

	zkc_set(s->c, S("/config"), S("new"), -1, on_done, tag("sent"));
	zkc_create(s->c, S("/ready"), S(""), zk_acls_open(), 0, 0, on_done, tag("behind"));
	step(s);
	pk_buf_clear(&s->log);
	lost(s);
	wants(s, "done sent ConnectionLoss\ndone behind ConnectionLoss\nstate connecting\n");
	end(s);
}

static void test_a_request_without_a_connection_waits_as_long_as_the_session_timeout(void **state)
{
	(void)state;
	struct sim *s = begin_connected((struct zkc_config){ 0 });

	lost(s);
	pk_buf_clear(&s->log);
	zkc_exists(s->c, S("/a"), ZKC_NO_WATCH, on_done, tag("e"));
	int64_t from = s->now;
	while (s->log.len == 0 || strstr(pk_buf_str(&s->log), "done e") == NULL) {
		elapse(s, 10);
		if (s->in_handshake)
			lost(s);
		assert_true(s->now - from < 7000);
	}
	assert_true(s->now - from >= 6000);
	assert_non_null(strstr(pk_buf_str(&s->log), "done e ConnectionLoss"));
	end(s);
}

static void test_servers_take_turns_and_rounds_back_off(void **state)
{
	(void)state;
	struct sim *s = begin((struct zkc_config){ .server_count = 3 });
	int seen[3] = { 0 };
	int64_t gaps[12];

	for (int i = 0; i < 12; i++) {
		int64_t from = s->now;

		while (!s->in_handshake) {
			elapse(s, 1);
			assert_true(s->now - from < 10000);
		}
		gaps[i] = s->now - from;
		const char *line = pk_buf_str(&s->log);
		seen[line[strlen("connect ")] - '0']++;
		s->in_handshake = false;
		pk_buf_clear(&s->log);
		lost(s);
	}
	for (int i = 0; i < 3; i++)
		assert_int_equal(seen[i], 4);
	for (int i = 1; i < 3; i++)
		assert_true(gaps[i] <= ZKC_RETRY_SPREAD_MS);
	assert_true(gaps[10] > ZKC_BACKOFF_MIN_MS);
	end(s);
}

static void test_the_seed_decides_the_order_of_servers(void **state)
{
	(void)state;
	bool seen[5] = { false };
	size_t distinct = 0;

	for (uint64_t seed = 1; seed <= 40; seed++) {
		uint32_t first[2] = { 99, 99 };

		for (int again = 0; again < 2; again++) {
			struct sim *s = begin(
				(struct zkc_config){ .server_count = 5, .seed = seed });
			step(s);
			first[again] = (uint32_t)(pk_buf_str(&s->log)[8] - '0');
			end(s);
		}
		assert_int_equal(first[0], first[1]);
		distinct += !seen[first[0]];
		seen[first[0]] = true;
	}
	assert_int_equal(distinct, 5);
}

static void test_a_server_that_does_not_answer_the_handshake_is_left(void **state)
{
	(void)state;
	struct sim *s = begin((struct zkc_config){ .server_count = 2 });

	step(s);
	opened(s);
	pk_buf_clear(&s->log);
	elapse(s, 2999);
	wants(s, "");
	elapse(s, 1);
	wants(s, "close: the server does not answer\n");
	end(s);
}

static void test_expiry_is_final_and_told_to_everybody(void **state)
{
	(void)state;
	struct sim *s = begin_connected((struct zkc_config){ 0 });

	zkc_exists(s->c, S("/a"), watch("w"), NULL, NULL);
	step(s);
	reply(s, s->xid, 5, ZK_ENONODE);
	lost(s);
	zkc_exists(s->c, S("/b"), ZKC_NO_WATCH, on_done, tag("queued"));
	elapse(s, ZKC_RETRY_SPREAD_MS);
	opened(s);
	pk_buf_clear(&s->log);
	reply_connect_as(s, 0, 0, false);
	wants(s, "done queued SessionExpired\nevent w None expired\nstate expired\n"
		 "close: session expired\n");
	zkc_exists(s->c, S("/c"), ZKC_NO_WATCH, on_done, tag("after"));
	elapse(s, 100000);
	wants(s, "done after SessionExpired\n");
	end(s);
}

static void test_watches_fire_once_and_by_kind(void **state)
{
	(void)state;
	struct sim *s = begin_connected((struct zkc_config){ 0 });

	zkc_get(s->c, S("/a"), watch("data"), NULL, NULL);
	zkc_exists(s->c, S("/b"), watch("exist"), NULL, NULL);
	step(s);
	reply_data(s, s->xid - 1, 5, "x");
	reply(s, s->xid, 5, ZK_ENONODE);
	pk_buf_clear(&s->log);
	event(s, ZK_EVENT_CHILDREN_CHANGED, "/a");
	wants(s, "");
	event(s, ZK_EVENT_DATA_CHANGED, "/a");
	wants(s, "event data NodeDataChanged /a\n");
	event(s, ZK_EVENT_DATA_CHANGED, "/a");
	wants(s, "");
	event(s, ZK_EVENT_CREATED, "/b");
	wants(s, "event exist NodeCreated /b\n");
	end(s);
}

static void test_a_watch_that_sees_a_path_in_two_ways_hears_a_deletion_once(void **state)
{
	(void)state;
	struct sim *s = begin_connected((struct zkc_config){ 0 });
	struct pk_buf b = PK_BUF_INIT;

	zkc_get(s->c, S("/a"), watch("w"), NULL, NULL);
	zkc_children(s->c, S("/a"), watch("w"), NULL, NULL);
	step(s);
	reply_data(s, s->xid - 1, 5, "x");
	size_t at = reply_begin(&b, s->xid, 5, 0);
	zk_get_children2_resp_encode(&b, &(struct zk_get_children2_resp){ { 0 }, stat });
	zk_frame_end(&b, at);
	receive(s, &b);
	pk_buf_clear(&s->log);
	event(s, ZK_EVENT_DELETED, "/a");
	wants(s, "event w NodeDeleted /a\n");
	end(s);
}

static void test_get_on_a_missing_node_leaves_no_watch_but_exists_does(void **state)
{
	(void)state;
	struct sim *s = begin_connected((struct zkc_config){ 0 });
	struct zkc_info info;

	zkc_get(s->c, S("/a"), watch("get"), NULL, NULL);
	zkc_exists(s->c, S("/a"), watch("exists"), NULL, NULL);
	step(s);
	reply(s, s->xid - 1, 5, ZK_ENONODE);
	reply(s, s->xid, 5, ZK_ENONODE);
	zkc_info(s->c, &info);
	assert_int_equal(info.watches, 1);
	end(s);
}

static void test_recursive_watches_hear_the_subtree_but_no_child_events(void **state)
{
	(void)state;
	struct sim *s = begin_connected((struct zkc_config){ 0 });

	zkc_add_watch(s->c, S("/a"), ZK_ADD_WATCH_RECURSIVE, watch("rec"), NULL, NULL);
	zkc_add_watch(s->c, S("/a"), ZK_ADD_WATCH_PERSISTENT, watch("per"), NULL, NULL);
	step(s);
	reply(s, s->xid - 1, 5, 0);
	reply(s, s->xid, 5, 0);
	pk_buf_clear(&s->log);
	event(s, ZK_EVENT_CREATED, "/a/b/c");
	event(s, ZK_EVENT_CREATED, "/ab");
	event(s, ZK_EVENT_CHILDREN_CHANGED, "/a");
	event(s, ZK_EVENT_DATA_CHANGED, "/a");
	event(s, ZK_EVENT_DATA_CHANGED, "/a");
	wants(s, "event rec NodeCreated /a/b/c\n"
		 "event per NodeChildrenChanged /a\n"
		 "event per NodeDataChanged /a\nevent rec NodeDataChanged /a\n"
		 "event per NodeDataChanged /a\nevent rec NodeDataChanged /a\n");
	end(s);
}

/* One watch of each kind. */
static void set_five_watches(struct sim *s)
{
	struct pk_buf b = PK_BUF_INIT;

	zkc_get(s->c, S("/d"), watch("d"), NULL, NULL);
	zkc_exists(s->c, S("/e"), watch("e"), NULL, NULL);
	zkc_children(s->c, S("/c"), watch("c"), NULL, NULL);
	zkc_add_watch(s->c, S("/p"), ZK_ADD_WATCH_PERSISTENT, watch("p"), NULL, NULL);
	zkc_add_watch(s->c, S("/r"), ZK_ADD_WATCH_RECURSIVE, watch("r"), NULL, NULL);
	step(s);
	int32_t xid = s->xid - 4;
	reply_data(s, xid++, 77, "x");
	reply(s, xid++, 77, ZK_ENONODE);
	size_t at = reply_begin(&b, xid++, 77, 0);
	zk_get_children2_resp_encode(&b, &(struct zk_get_children2_resp){ { 0 }, stat });
	zk_frame_end(&b, at);
	receive(s, &b);
	reply(s, xid++, 77, 0);
	reply(s, xid++, 77, 0);
}

static void test_watches_are_set_again_after_a_reconnect(void **state)
{
	(void)state;
	struct sim *s = begin_connected((struct zkc_config){ 0 });

	set_five_watches(s);
	lost(s);
	elapse(s, ZKC_RETRY_SPREAD_MS);
	opened(s);
	pk_buf_clear(&s->log);
	zkc_exists(s->c, S("/x"), ZKC_NO_WATCH, NULL, NULL);
	reply_connect(s);
	wants(s, "state connected\n"
		 "> setWatches2 zxid=77 data=/d exist=/e child=/c persistent=/p recursive=/r\n"
		 "> exists /x\n");
	event(s, ZK_EVENT_DATA_CHANGED, "/d");
	reply(s, ZK_XID_SET_WATCHES, 80, 0);
	wants(s, "event d NodeDataChanged /d\n");
	end(s);
}

static void test_many_watches_are_set_again_in_several_frames(void **state)
{
	(void)state;
	struct sim *s = begin_connected((struct zkc_config){ 0 });
	char path[120];
	size_t count = 3000; /* of 104 bytes with their lengths: three frames of 128 KiB at most */

	for (size_t i = 0; i < count; i++) {
		snprintf(path, sizeof(path), "/%099zu", i);
		zkc_exists(s->c, S(path), watch("w"), NULL, NULL);
	}
	s->quiet = true;
	for (size_t answered = 0; answered < count;) {
		step(s);
		struct zkc_info info;
		zkc_info(s->c, &info);
		int32_t xid = s->xid - (int32_t)info.requests_sent + 1;
		reply(s, xid, 5, ZK_ENONODE);
		answered++;
	}
	lost(s);
	elapse(s, ZKC_RETRY_SPREAD_MS);
	opened(s);
	s->frames = 0;
	reply_connect(s);
	assert_int_equal(s->frames, 3);
	for (int i = 0; i < 3; i++)
		reply(s, ZK_XID_SET_WATCHES, 5, 0);
	struct zkc_info info;
	zkc_info(s->c, &info);
	assert_int_equal(info.watches, count);
	assert_int_equal(info.state, ZKC_CONNECTED);
	end(s);
}

static void test_the_table_of_watches_has_a_limit(void **state)
{
	(void)state;
	struct sim *s = begin_connected((struct zkc_config){ .watches_max = 2 });

	zkc_exists(s->c, S("/a"), watch("a"), on_done, tag("a"));
	zkc_exists(s->c, S("/b"), watch("b"), on_done, tag("b"));
	zkc_exists(s->c, S("/c"), watch("c"), on_done, tag("c"));
	step(s);
	wants(s, "done c ThrottledOp\n> exists /a\n> exists /b\n");
	end(s);
}

static void test_removing_the_last_watch_asks_the_server(void **state)
{
	(void)state;
	struct sim *s = begin_connected((struct zkc_config){ 0 });

	zkc_get(s->c, S("/a"), watch("one"), NULL, NULL);
	zkc_get(s->c, S("/a"), watch("two"), NULL, NULL);
	step(s);
	reply_data(s, s->xid - 1, 5, "x");
	reply_data(s, s->xid, 5, "x");
	pk_buf_clear(&s->log);
	zkc_remove_watches(s->c, S("/a"), ZK_WATCHER_DATA, watch("one"), on_done, tag("first"));
	elapse(s, 1);
	wants(s, "event one DataWatchRemoved /a\ndone first ok\n");
	zkc_remove_watches(s->c, S("/a"), ZK_WATCHER_ANY, watch("two"), on_done, tag("second"));
	elapse(s, 1);
	wants(s, "> removeWatches /a\n");
	reply(s, s->xid, 5, 0);
	wants(s, "event two DataWatchRemoved /a\ndone second ok\n");
	zkc_remove_watches(s->c, S("/a"), ZK_WATCHER_ANY, ZKC_NO_WATCH, on_done, tag("third"));
	elapse(s, 1);
	wants(s, "done third NoWatcher\n");
	end(s);
}

static void test_forgetting_an_owner_silences_requests_and_watches(void **state)
{
	(void)state;
	struct sim *s = begin_connected((struct zkc_config){ 0 });
	struct zkc_info info;
	static const char owner[] = "gone";

	zkc_get(s->c, S("/a"), watch(owner), on_done, tag(owner));
	zkc_get(s->c, S("/b"), watch(owner), on_done, tag(owner));
	step(s);
	reply_data(s, s->xid - 1, 5, "x");
	pk_buf_clear(&s->log);
	zkc_forget(s->c, owner);
	reply_data(s, s->xid, 5, "x");
	event(s, ZK_EVENT_DATA_CHANGED, "/a");
	wants(s, "");
	zkc_info(s->c, &info);
	assert_int_equal(info.watches, 0);
	end(s);
}

static void test_the_chroot_is_added_and_taken_off(void **state)
{
	(void)state;
	struct sim *s = begin_connected((struct zkc_config){ .chroot = "/app" });

	zkc_create(s->c, S("/n"), S(""), zk_acls_open(), 0, 0, on_done, tag("c"));
	zkc_get(s->c, S("/"), watch("w"), on_done, tag("g"));
	step(s);
	wants(s, "> create2 /app/n\n> getData /app\n");
	reply_created(s, s->xid - 1, 5, "/app/n");
	reply_data(s, s->xid, 5, "x");
	event(s, ZK_EVENT_DATA_CHANGED, "/app");
	wants(s, "done c ok path=/n stat\ndone g ok data=x stat\nevent w NodeDataChanged /\n");
	assert_true(pk_bytes_is(zkc_strip(s->c, S("/app/a/b")), "/a/b"));
	assert_true(pk_bytes_is(zkc_strip(s->c, S("/other")), "/other"));
	end(s);
}

static void test_identities_are_sent_on_every_connection_first(void **state)
{
	(void)state;
	struct sim *s = begin((struct zkc_config){ 0 });

	zkc_add_auth(s->c, "digest", S("bob:secret"), on_done, tag("auth"));
	zkc_exists(s->c, S("/a"), ZKC_NO_WATCH, NULL, NULL);
	step(s);
	opened(s);
	pk_buf_clear(&s->log);
	reply_connect(s);
	wants(s, "state connected\n> auth digest bob:secret\n> exists /a\n");
	reply(s, ZK_XID_AUTH, 0, 0);
	wants(s, "done auth ok\n");
	lost(s);
	elapse(s, ZKC_RETRY_SPREAD_MS);
	opened(s);
	pk_buf_clear(&s->log);
	reply_connect(s);
	wants(s, "state connected\n> auth digest bob:secret\n");
	reply(s, ZK_XID_AUTH, 0, 0);
	wants(s, "");
	end(s);
}

static void test_a_refused_identity_is_final(void **state)
{
	(void)state;
	struct sim *s = begin_connected((struct zkc_config){ 0 });

	zkc_add_auth(s->c, "nosuch", S("x"), on_done, tag("auth"));
	zkc_exists(s->c, S("/a"), ZKC_NO_WATCH, on_done, tag("e"));
	step(s);
	pk_buf_clear(&s->log);
	reply(s, ZK_XID_AUTH, 0, ZK_EAUTHFAILED);
	wants(s, "done auth AuthFailed\ndone e AuthFailed\nstate auth-failed\n"
		 "close: authentication failed\n");
	end(s);
}

static int sasl_start(void *owner, uint32_t server, struct pk_buf *out)
{
	(void)out;
	say(owner, "sasl start %u", server);
	return 1;
}

static int sasl_step(void *owner, struct pk_bytes challenge, struct pk_buf *out)
{
	char t[256];

	say(owner, "sasl step %s", text(challenge, t));
	if (pk_bytes_is(challenge, "done"))
		return 0;
	if (pk_bytes_is(challenge, "bad"))
		return -1;
	pk_buf_add_str(out, "answer");
	return 1;
}

static const struct zkc_sasl_ops sasl_ops = { sasl_start, sasl_step };

static void reply_token(struct sim *s, const char *token)
{
	struct pk_buf b = PK_BUF_INIT;
	size_t at = reply_begin(&b, s->xid, 0, 0);

	zk_sasl_resp_encode(&b, &(struct zk_sasl_resp){ S(token) });
	zk_frame_end(&b, at);
	receive(s, &b);
}

static void test_sasl_comes_before_everything_else(void **state)
{
	(void)state;
	struct sim *s = begin((struct zkc_config){ .sasl = &sasl_ops, .sasl_owner = &the });

	zkc_add_auth(s->c, "digest", S("a:b"), NULL, NULL);
	zkc_exists(s->c, S("/a"), ZKC_NO_WATCH, NULL, NULL);
	step(s);
	opened(s);
	pk_buf_clear(&s->log);
	reply_connect(s);
	wants(s, "sasl start 0\n> sasl ''\n");
	reply_token(s, "challenge");
	wants(s, "sasl step challenge\n> sasl 'answer'\n");
	reply_token(s, "done");
	wants(s, "sasl step done\nstate connected\n> auth digest a:b\n> exists /a\n");
	end(s);
}

static void test_a_failed_sasl_exchange_is_final(void **state)
{
	(void)state;
	struct sim *s = begin((struct zkc_config){ .sasl = &sasl_ops, .sasl_owner = &the });

	step(s);
	opened(s);
	reply_connect(s);
	pk_buf_clear(&s->log);
	reply_token(s, "bad");
	wants(s, "sasl step bad\nstate auth-failed\nclose: SASL: authentication failed\n");
	end(s);
}

static void test_a_read_only_server_will_do_until_there_is_a_better_one(void **state)
{
	(void)state;
	struct sim *s = begin((struct zkc_config){ .server_count = 2, .read_only = true });

	step(s);
	pk_buf_clear(&s->log);
	opened(s);
	wants(s, "> connect session=0 zxid=0 timeout=6000 password=- read-only\n");
	reply_connect_as(s, 0x55, 6000, true);
	wants(s, "state connected-read-only\n");
	elapse(s, ZKC_PROBE_MIN_MS);
	const char *line = pk_buf_str(&s->log);
	assert_memory_equal(line, "probe ", 6);
	pk_buf_clear(&s->log);
	zkc_on_probe(s->c, 0, false, s->now);
	run_effects(s);
	elapse(s, 2 * ZKC_PROBE_MIN_MS);
	assert_memory_equal(pk_buf_str(&s->log), "probe ", 6);
	pk_buf_clear(&s->log);
	zkc_on_probe(s->c, 1, true, s->now);
	run_effects(s);
	elapse(s, 0);
	wants(s, "state connecting\nclose: a server that takes writes was found\nconnect 1\n");
	opened(s);
	/* the session of a read-only server is worth nothing elsewhere */
	wants(s, "> connect session=0 zxid=0 timeout=6000 password=- read-only\n");
	reply_connect_as(s, 0x66, 6000, false);
	wants(s, "state connected\n");
	end(s);
}

static void test_a_read_only_refusal_is_only_another_server_to_try(void **state)
{
	(void)state;
	struct sim *s = begin((struct zkc_config){ 0 });

	step(s);
	opened(s);
	pk_buf_clear(&s->log);
	reply(s, 0, 0, ZK_ENOTREADONLY);
	wants(s, "close: the reply to connect makes no sense\n");
	elapse(s, ZKC_RETRY_SPREAD_MS);
	wants(s, "connect 0\n");
	end(s);
}

static void test_close_lets_earlier_requests_finish_and_ends_the_session(void **state)
{
	(void)state;
	struct sim *s = begin_connected((struct zkc_config){ 0 });

	zkc_set(s->c, S("/a"), S("x"), -1, on_done, tag("set"));
	zkc_close(s->c);
	zkc_set(s->c, S("/a"), S("x"), -1, on_done, tag("late"));
	step(s);
	wants(s, "done late SessionExpired\n> setData /a\n> closeSession\n");
	reply_stat(s, s->xid - 1, 5);
	reply(s, s->xid, 6, 0);
	wants(s, "done set ok stat\nstate closed\nclose: session closed\n");
	end(s);
}

static void test_close_without_a_server_does_not_wait_long(void **state)
{
	(void)state;
	struct sim *s = begin((struct zkc_config){ 0 });

	zkc_close(s->c);
	step(s);
	wants(s, "state closed\n");
	end(s);

	s = begin_connected((struct zkc_config){ 0 });
	lost(s);
	zkc_close(s->c);
	pk_buf_clear(&s->log);
	elapse(s, ZKC_CLOSE_MS);
	assert_non_null(strstr(pk_buf_str(&s->log), "state closed\n"));
	end(s);
}

static void test_close_goes_on_with_another_connection_when_one_is_lost(void **state)
{
	(void)state;
	struct sim *s = begin_connected((struct zkc_config){ .window_max = 1 });

	zkc_set(s->c, S("/a"), S("x"), -1, on_done, tag("set"));
	zkc_close(s->c);
	step(s);
	lost(s);
	wants(s, "> setData /a\ndone set ConnectionLoss\nstate connecting\n");
	elapse(s, ZKC_RETRY_SPREAD_MS);
	opened(s);
	pk_buf_clear(&s->log);
	reply_connect(s);
	wants(s, "state connected\n> closeSession\n");
	lost(s); /* it was sent: that is all that can be done */
	wants(s, "state closed\n");
	end(s);
}

static void test_close_during_the_handshake_ends_the_session_that_is_being_made(void **state)
{
	(void)state;
	struct sim *s = begin((struct zkc_config){ 0 });

	step(s);
	opened(s);
	zkc_close(s->c);
	step(s);
	pk_buf_clear(&s->log);
	reply_connect(s);
	wants(s, "state connected\n> closeSession\n");
	reply(s, s->xid, 6, 0);
	wants(s, "state closed\nclose: session closed\n");
	end(s);
}

static void test_the_window_bounds_bytes_too_but_lets_one_request_go(void **state)
{
	(void)state;
	struct sim *s = begin_connected((struct zkc_config){ .request_bytes_max = 20u << 20 });
	struct pk_buf big = PK_BUF_INIT;
	struct zkc_info info;

	memset(pk_buf_grow(&big, ZKC_WINDOW_BYTES_MAX + 1), 'x', ZKC_WINDOW_BYTES_MAX + 1);
	zkc_set(s->c, S("/a"), pk_buf_bytes(&big), -1, NULL, NULL);
	zkc_set(s->c, S("/b"), S("small"), -1, NULL, NULL);
	s->quiet = true;
	zk_frame_release(&s->in);
	zk_frame_init(&s->in, 20u << 20);
	step(s);
	zkc_info(s->c, &info);
	assert_int_equal(info.requests_sent, 1);
	assert_int_equal(info.requests_waiting, 1);
	reply_stat(s, s->xid, 5);
	zkc_info(s->c, &info);
	assert_int_equal(info.requests_sent, 1);
	assert_int_equal(info.requests_waiting, 0);
	pk_buf_release(&big);
	end(s);
}

static void test_a_removal_waits_for_the_watch_it_is_about(void **state)
{
	(void)state;
	struct sim *s = begin_connected((struct zkc_config){ 0 });

	zkc_get(s->c, S("/a"), watch("w"), NULL, NULL);
	zkc_remove_watches(s->c, S("/a"), ZK_WATCHER_ANY, watch("w"), on_done, tag("remove"));
	step(s);
	wants(s, "> getData /a\n");
	reply_data(s, s->xid, 5, "x");
	wants(s, "> removeWatches /a\n");
	end(s);
}

static void test_a_password_that_is_too_long_is_not_kept(void **state)
{
	(void)state;
	struct sim *s = begin((struct zkc_config){ 0 });
	struct pk_buf b = PK_BUF_INIT;
	char password[ZKC_PASSWORD_BYTES_MAX + 1];

	memset(password, 'p', sizeof(password));
	step(s);
	opened(s);
	pk_buf_clear(&s->log);
	size_t at = zk_frame_begin(&b);
	zk_connect_resp_encode(&b, &(struct zk_connect_resp){ 0, 6000, 5,
							      pk_bytes(password, sizeof(password)),
							      false, false });
	zk_frame_end(&b, at);
	receive(s, &b);
	wants(s, "close: the reply to connect makes no sense\n");
	end(s);
}

static void test_a_session_can_be_taken_up_by_another_process(void **state)
{
	(void)state;
	struct sim *s = begin((struct zkc_config){
		.session_id = 0xabc, .password = S("0123456789abcdef"), .last_zxid = 99 });

	step(s);
	pk_buf_clear(&s->log);
	opened(s);
	wants(s, "> connect session=abc zxid=99 timeout=6000 password=0123456789abcdef\n");
	reply_connect(s);
	wants(s, "state connected\n");
	end(s);
}

static void test_last_zxid_follows_replies_but_not_events_or_pings(void **state)
{
	(void)state;
	struct sim *s = begin_connected((struct zkc_config){ 0 });
	struct zkc_info info;

	zkc_exists(s->c, S("/a"), ZKC_NO_WATCH, NULL, NULL);
	step(s);
	reply(s, s->xid, 50, ZK_ENONODE);
	reply(s, ZK_XID_PING, 60, 0);
	event(s, ZK_EVENT_CREATED, "/q");
	zkc_info(s->c, &info);
	assert_int_equal(info.last_zxid, 50);
	end(s);
}

static void test_replies_that_make_no_sense_drop_the_connection(void **state)
{
	(void)state;
	struct sim *s = begin_connected((struct zkc_config){ 0 });

	zkc_exists(s->c, S("/a"), ZKC_NO_WATCH, on_done, tag("one"));
	step(s);
	pk_buf_clear(&s->log);
	reply(s, s->xid, 5, 0); /* no stat in it */
	wants(s, "done one MarshallingError\nstate connecting\nclose: a reply makes no sense\n");
	elapse(s, ZKC_RETRY_SPREAD_MS);
	opened(s);
	reply_connect(s);
	zkc_exists(s->c, S("/a"), ZKC_NO_WATCH, on_done, tag("two"));
	step(s);
	pk_buf_clear(&s->log);
	reply_stat(s, s->xid + 1, 5);
	wants(s, "done two ConnectionLoss\nstate connecting\n"
		 "close: a reply that is out of order\n");
	end(s);
}

static void on_multi(void *owner, const struct zkc_result *r)
{
	struct zk_multi_result one;
	struct zk_rd rd = r->multi;

	say(&the, "multi %s %s", (const char *)owner, zk_error_name(r->err));
	while (zk_multi_result_next(&rd, &one) == 1)
		say(&the, " %s %s", zk_opcode_name(one.type), zk_error_name(one.err));
}

static void test_a_failed_multi_names_the_operation_that_failed(void **state)
{
	(void)state;
	struct sim *s = begin_connected((struct zkc_config){ 0 });
	struct zkc_multi *m = zkc_multi_new(s->c);
	struct pk_buf b = PK_BUF_INIT;

	zkc_multi_create(m, S("/a"), S(""), zk_acls_open(), 0, 0);
	zkc_multi_check(m, S("/b"), 3);
	zkc_multi_delete(m, S("/c"), -1);
	zkc_multi_send(m, on_multi, tag("m"));
	step(s);
	wants(s, "> multi\n");
	size_t at = reply_begin(&b, s->xid, 9, 0);
	zk_multi_result_error(&b, ZK_OK);
	zk_multi_result_error(&b, ZK_EBADVERSION);
	zk_multi_result_error(&b, ZK_ERUNTIME);
	zk_multi_end(&b);
	zk_frame_end(&b, at);
	receive(s, &b);
	wants(s, "multi m BadVersion\n error Ok\n error BadVersion\n error RuntimeInconsistency\n");
	end(s);
}

static void test_multi_reads_go_by_their_own_opcode_and_do_not_mix(void **state)
{
	(void)state;
	struct sim *s = begin_connected((struct zkc_config){ 0 });
	struct zkc_multi *m = zkc_multi_new(s->c);

	zkc_multi_get(m, S("/a"));
	zkc_multi_children(m, S("/a"));
	zkc_multi_send(m, on_multi, tag("reads"));
	m = zkc_multi_new(s->c);
	zkc_multi_get(m, S("/a"));
	zkc_multi_delete(m, S("/a"), -1);
	zkc_multi_send(m, on_multi, tag("mixed"));
	m = zkc_multi_new(s->c);
	zkc_multi_delete(m, S("a"), -1);
	zkc_multi_send(m, on_multi, tag("path"));
	step(s);
	wants(s, "multi mixed BadArguments\nmulti path BadArguments\n> multiRead\n");
	end(s);
}

static void again(void *owner, const struct zkc_result *r)
{
	int *count = owner;

	(*count)++;
	assert_int_not_equal(r->err, 0);
	zkc_exists(the.c, S("bad"), ZKC_NO_WATCH, again, owner);
}

static void test_a_callback_that_tries_for_ever_does_not_hold_the_loop(void **state)
{
	(void)state;
	struct sim *s = begin_connected((struct zkc_config){ 0 });
	int count = 0;

	zkc_exists(s->c, S("bad"), ZKC_NO_WATCH, again, &count);
	step(s);
	assert_int_equal(count, 1);
	assert_true(zkc_deadline_ms(s->c) <= s->now);
	step(s);
	assert_int_equal(count, 2);
	end(s);
}

static void test_stale_connections_are_ignored(void **state)
{
	(void)state;
	struct sim *s = begin_connected((struct zkc_config){ 0 });
	uint32_t old = s->conn;

	lost(s);
	elapse(s, ZKC_RETRY_SPREAD_MS);
	pk_buf_clear(&s->log);
	zkc_on_open(s->c, old, s->now);
	zkc_on_bytes(s->c, old, S("junkjunkjunk"), s->now);
	zkc_on_closed(s->c, old, "again", s->now);
	run_effects(s);
	wants(s, "");
	end(s);
}

static void test_bad_settings_are_refused(void **state)
{
	(void)state;
	struct pk_err err = PK_ERR_INIT;

	assert_null(zkc_new(&(struct zkc_config){ .server_count = 1, .chroot = "app" }, &err));
	assert_string_equal(err.text, "chroot app: the path does not start with a slash");
	assert_null(zkc_new(&(struct zkc_config){ .server_count = 0 }, &err));
	assert_null(zkc_new(&(struct zkc_config){ .server_count = 1, .session_id = 5 }, &err));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_session_begins_with_a_connect_request),
		cmocka_unit_test(test_requests_made_before_the_session_go_when_it_is_there),
		cmocka_unit_test(test_requests_are_pipelined_and_answered_in_order),
		cmocka_unit_test(test_the_opcode_follows_the_kind_of_node),
		cmocka_unit_test(test_the_window_bounds_what_is_sent),
		cmocka_unit_test(test_the_queue_has_a_limit),
		cmocka_unit_test(test_bad_paths_and_long_requests_are_refused_here),
		cmocka_unit_test(test_pings_go_at_a_third_of_the_timeout_when_idle),
		cmocka_unit_test(test_a_silent_server_is_left_at_two_thirds_of_the_timeout),
		cmocka_unit_test(test_a_lost_connection_fails_what_was_sent_and_what_was_behind_it),
		cmocka_unit_test(
			test_a_request_without_a_connection_waits_as_long_as_the_session_timeout),
		cmocka_unit_test(test_servers_take_turns_and_rounds_back_off),
		cmocka_unit_test(test_the_seed_decides_the_order_of_servers),
		cmocka_unit_test(test_a_server_that_does_not_answer_the_handshake_is_left),
		cmocka_unit_test(test_expiry_is_final_and_told_to_everybody),
		cmocka_unit_test(test_watches_fire_once_and_by_kind),
		cmocka_unit_test(test_a_watch_that_sees_a_path_in_two_ways_hears_a_deletion_once),
		cmocka_unit_test(test_get_on_a_missing_node_leaves_no_watch_but_exists_does),
		cmocka_unit_test(test_recursive_watches_hear_the_subtree_but_no_child_events),
		cmocka_unit_test(test_watches_are_set_again_after_a_reconnect),
		cmocka_unit_test(test_many_watches_are_set_again_in_several_frames),
		cmocka_unit_test(test_the_table_of_watches_has_a_limit),
		cmocka_unit_test(test_removing_the_last_watch_asks_the_server),
		cmocka_unit_test(test_forgetting_an_owner_silences_requests_and_watches),
		cmocka_unit_test(test_the_chroot_is_added_and_taken_off),
		cmocka_unit_test(test_identities_are_sent_on_every_connection_first),
		cmocka_unit_test(test_a_refused_identity_is_final),
		cmocka_unit_test(test_sasl_comes_before_everything_else),
		cmocka_unit_test(test_a_failed_sasl_exchange_is_final),
		cmocka_unit_test(test_a_read_only_server_will_do_until_there_is_a_better_one),
		cmocka_unit_test(test_a_read_only_refusal_is_only_another_server_to_try),
		cmocka_unit_test(test_close_lets_earlier_requests_finish_and_ends_the_session),
		cmocka_unit_test(test_close_without_a_server_does_not_wait_long),
		cmocka_unit_test(test_close_goes_on_with_another_connection_when_one_is_lost),
		cmocka_unit_test(
			test_close_during_the_handshake_ends_the_session_that_is_being_made),
		cmocka_unit_test(test_the_window_bounds_bytes_too_but_lets_one_request_go),
		cmocka_unit_test(test_a_removal_waits_for_the_watch_it_is_about),
		cmocka_unit_test(test_a_password_that_is_too_long_is_not_kept),
		cmocka_unit_test(test_a_session_can_be_taken_up_by_another_process),
		cmocka_unit_test(test_last_zxid_follows_replies_but_not_events_or_pings),
		cmocka_unit_test(test_replies_that_make_no_sense_drop_the_connection),
		cmocka_unit_test(test_a_failed_multi_names_the_operation_that_failed),
		cmocka_unit_test(test_multi_reads_go_by_their_own_opcode_and_do_not_mix),
		cmocka_unit_test(test_a_callback_that_tries_for_ever_does_not_hold_the_loop),
		cmocka_unit_test(test_stale_connections_are_ignored),
		cmocka_unit_test(test_bad_settings_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
