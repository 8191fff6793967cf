/* store/server*.c on simulated clusters: order, queues, leaders that go, servers that lose things.
 */
#include "tests/lib/test.h"

#include <stdio.h>

#include "tests/sim/cluster_client.h"
#include "tests/sim/cluster_int.h"

#define MOST 8

struct who {
	struct client *c;
	struct pk_buf said; /* "create:0 getData:-101 closed " */
};

struct world {
	struct sim *s;
	struct who all[MOST];
};

static void on_reply(void *owner, const struct client_reply *r)
{
	struct who *w = owner;
	const char *name = zk_opcode_name(r->op);

	if (!r->lost && r->op != ZK_OP_PING)
		pk_buf_printf(&w->said, "%s:%d ", name != NULL ? name : "?", r->err);
}

static void on_event(void *owner, int32_t type, struct pk_bytes path)
{
	struct who *w = owner;

	pk_buf_printf(&w->said, "%s%.*s ", zk_event_name(type), (int)path.len, path.data);
}

static void on_state(void *owner, enum client_state state, const char *why)
{
	struct who *w = owner;

	(void)state;
	pk_buf_printf(&w->said, "%s ", why);
}

static struct sim_options options(size_t servers, uint64_t log_bytes)
{
	return (struct sim_options){ .seed = 11,
				     .servers = servers,
				     .tick_ms = 2000,
				     .commit_overlay_bytes = log_bytes / 2,
				     .commit_log_bytes = log_bytes / 2,
				     .commit_pages_bytes = 1 << 20,
				     .waiting_bytes_max = 1 << 30,
				     .backlog_bytes_max = 64 << 20,
				     .snapshot_log_bytes = log_bytes,
				     .trailing_entries = 10,
				     .segment_bytes = 65536 };
}

static int world_new(void **state, struct sim_options o)
{
	o.verbose = getenv("SIM_VERBOSE") != NULL;
	struct world *w = pk_alloc(sizeof(*w));

	w->s = sim_new(&o);
	for (int i = 0; i < MOST; i++) {
		struct client_owner owner = { &w->all[i], on_reply, on_event, on_state };
		w->all[i].c = client_new(w->s, i, 4000, &owner);
	}
	for (int i = 0; i < 100 && !sim_settled(w->s); i++)
		sim_run(w->s, 100);
	assert_true(sim_settled(w->s));
	*state = w;
	return 0;
}

static int setup1(void **state)
{
	return world_new(state, options(1, 1 << 20));
}

static int setup3(void **state)
{
	return world_new(state, options(3, 1 << 20));
}

static int setup_small(void **state)
{
	return world_new(state, options(3, 20000));
}

/* Commits that only a pause brings, and then hardly any log that a start reads. */
static int setup_quiet(void **state)
{
	struct sim_options o = options(3, 64 << 20);

	o.covered_count = 4;
	return world_new(state, o);
}

/* Commits that only the pages bring which they would change, and little that may wait for one. */
static struct sim_options options_pages(size_t servers)
{
	struct sim_options o = options(servers, 256 << 20);

	o.commit_pages_bytes = 1 << 17;
	o.waiting_bytes_max = 1 << 18;
	return o;
}

static int setup_pages(void **state)
{
	return world_new(state, options_pages(1));
}

static int setup_pages3(void **state)
{
	return world_new(state, options_pages(3));
}

/* No commits while it serves. */
static int setup_roomy(void **state)
{
	struct sim_options o = options(1, 256 << 20);

	o.commit_pages_bytes = o.waiting_bytes_max = 1 << 30;
	return world_new(state, o);
}

static int setup_auth(void **state)
{
	struct sim_options o = options(1, 1 << 20);

	o.auth_required = true;
	return world_new(state, o);
}

static int setup_local(void **state)
{
	struct sim_options o = options(3, 1 << 20);

	o.local_sessions = o.local_upgrade = true;
	return world_new(state, o);
}

static int teardown(void **state)
{
	struct world *w = *state;
	bool fine = sim_violation(w->s) == NULL;

	if (!fine)
		print_message("%s\n", sim_violation(w->s));
	for (int i = 0; i < MOST; i++) {
		client_drop(w->all[i].c);
		client_free(w->all[i].c);
		pk_buf_release(&w->all[i].said);
	}
	sim_free(w->s);
	free(w);
	return fine ? 0 : -1;
}

static struct client *join(struct world *w, int who, int server)
{
	struct client *c = w->all[who].c;

	for (int i = 0; i < 50 && client_state(c) != CLIENT_CONNECTED; i++) {
		if (client_state(c) == CLIENT_IDLE)
			client_connect(c, server);
		sim_run(w->s, 100);
	}
	assert_int_equal(client_state(c), CLIENT_CONNECTED);
	pk_buf_clear(&w->all[who].said);
	return c;
}

static void expect(struct world *w, int who, const char *said)
{
	assert_string_equal(pk_buf_str(&w->all[who].said), said);
	pk_buf_clear(&w->all[who].said);
}

static int follower(struct world *w)
{
	return (sim_leader(w->s) + 1) % 3;
}

/* ---- order ---- */

static void test_replies_come_in_the_order_of_pipelined_requests(void **state)
{
	struct world *w = *state;
	struct client *c = join(w, 0, follower(w));

	client_create(c, ZK_OP_CREATE, "/a", "1", 0);
	client_ask(c, ZK_OP_GET_DATA, "/a", false);
	client_set(c, "/a", "2", -1);
	client_ask(c, ZK_OP_GET_DATA, "/a", false); /* the model says it is 2 */
	client_ask(c, ZK_OP_EXISTS, "/b", false);
	client_delete(c, "/a", -1);
	client_ask(c, ZK_OP_EXISTS, "/a", false);
	sim_run(w->s, 1000);
	expect(w, 0, "create:0 getData:0 setData:0 getData:0 exists:-101 delete:0 exists:-101 ");
}

static void test_reads_wait_for_own_writes_only(void **state)
{
	struct world *w = *state;
	int f = follower(w), l = sim_leader(w->s);
	struct client *a = join(w, 0, f), *b = join(w, 1, f);

	sim_cut(w->s, f, l, true); /* what it forwards waits */
	client_create(a, ZK_OP_CREATE, "/a", "1", 0);
	client_ask(a, ZK_OP_EXISTS, "/a", false);
	client_ask(b, ZK_OP_EXISTS, "/a", false);
	sim_run(w->s, 100);
	expect(w, 0, "");
	expect(w, 1, "exists:-101 ");
	sim_cut(w->s, f, l, false);
	sim_run(w->s, 500);
	expect(w, 0, "create:0 exists:0 ");
}

static void test_a_sync_is_shared_by_those_who_ask_in_one_turn(void **state)
{
	struct world *w = *state;
	struct sim_conn *conns[3];
	struct sim_server *n = &w->s->servers[0];
	struct server_stats before, after;
	uint8_t sync[] = { 0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0, 1, '/' };
	uint8_t write[] = { 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 2, '/', 'x', 0xff, 0xff, 0xff, 0xff };

	for (int i = 0; i < 3; i++)
		conns[i] = client_wire(join(w, i, 0));
	server_stats(n->server, &before);
	server_enter(n);
	for (int i = 0; i < 3; i++)
		server_conn_frame(conns[i]->conn, pk_bytes(sync, sizeof(sync)));
	server_stats(n->server, &after);
	assert_int_equal(after.proposals - before.proposals, 1);
	/* behind a write of its own it needs a new one, which the others share */
	server_conn_frame(conns[0]->conn, pk_bytes(write, sizeof(write)));
	server_conn_frame(conns[0]->conn, pk_bytes(sync, sizeof(sync)));
	server_conn_frame(conns[1]->conn, pk_bytes(sync, sizeof(sync)));
	server_stats(n->server, &after);
	assert_int_equal(after.proposals - before.proposals, 3);
	assert_int_equal(after.outstanding - before.outstanding, 6);
	/* the clients did not ask: drop them before the answers come */
	for (int i = 0; i < 3; i++)
		client_drop(w->all[i].c);
	server_left(n);
	sim_run(w->s, 500);
}

struct raw {
	struct pk_buf said;
};

static void raw_frame(void *owner, struct pk_bytes body)
{
	struct raw *r = owner;

	pk_buf_printf(&r->said, "%zu ", body.len);
}

static void raw_closed(void *owner, const char *reason)
{
	struct raw *r = owner;

	pk_buf_printf(&r->said, "%s ", reason);
}

static void test_frames_that_come_while_joining_wait_for_the_session(void **state)
{
	struct world *w = *state;
	struct sim_server *n = &w->s->servers[0];
	struct raw raw = { PK_BUF_INIT };
	struct sim_conn_owner owner = { &raw, raw_frame, raw_closed };
	struct sim_conn *c = sim_connect(w->s, 0, &owner);
	struct zk_connect_req req = { .timeout_ms = 4000,
				      .password = pk_bytes("0123456789abcdef", 16) };
	uint8_t ping[] = { 0xff, 0xff, 0xff, 0xfe, 0, 0, 0, 11 };
	struct pk_buf frame = PK_BUF_INIT;
	struct server_stats st;

	zk_connect_req_encode(&frame, &req);
	server_enter(n);
	server_conn_frame(c->conn, pk_buf_bytes(&frame));
	server_conn_frame(c->conn, pk_bytes(ping, sizeof(ping)));
	server_stats(n->server, &st);
	assert_int_equal(st.connections_open, 0);
	assert_true(c->paused);
	server_left(n);
	sim_run(w->s, 500);
	assert_string_equal(pk_buf_str(&raw.said),
			    "36 16 "); /* the connect reply, then the ping's */
	assert_false(c->paused);
	sim_conn_close(c);
	pk_buf_release(&frame);
	pk_buf_release(&raw.said);
	sim_run(w->s, 100);
}

/* A ping's reply is 16 bytes, and begins with the ping's xid. */
static void ping_replied(void *owner, struct pk_bytes body)
{
	struct pk_buf *replies = owner;
	bool whole = body.len == 16 && (int32_t)pk_get_be32(body.data) == ZK_XID_PING;

	if (body.len == 36) /* the connect reply */
		return;
	pk_buf_add_str(replies, whole ? "." : "spliced ");
}

static void no_more(void *owner, const char *reason)
{
	(void)owner;
	(void)reason;
}

/* Not of the server, but of the links that it is tested with. */
static void test_nothing_comes_behind_what_a_broken_link_lost(void **state)
{
	struct world *w = *state;
	struct pk_buf replies = PK_BUF_INIT, frame = PK_BUF_INIT;
	struct sim_conn_owner owner = { &replies, ping_replied, no_more };
	struct zk_connect_req req = { .timeout_ms = 4000,
				      .password = pk_bytes("0123456789abcdef", 16) };
	uint8_t ping[] = { 0xff, 0xff, 0xff, 0xfe, 0, 0, 0, 11 };

	zk_connect_req_encode(&frame, &req);
	for (int i = 0; i < 40; i++) {
		struct sim_conn *c = sim_connect(w->s, 0, &owner);
		sim_conn_send(c, pk_buf_bytes(&frame));
		sim_run(w->s, 100);
		for (int k = 0; k < 10; k++)
			sim_conn_send(c, pk_bytes(ping, sizeof(ping)));
		server_enter(&w->s->servers[0]);
		for (int k = 0; k < 10; k++)
			server_conn_frame(c->conn, pk_bytes(ping, sizeof(ping)));
		server_left(&w->s->servers[0]);
		sim_conn_break(c);
		server_enter(&w->s->servers[0]);
		for (int k = 0; k < 10; k++)
			server_conn_frame(c->conn, pk_bytes(ping, sizeof(ping)));
		server_left(&w->s->servers[0]);
		sim_run(w->s, 100); /* and is gone */
	}
	assert_null(strstr(pk_buf_str(&replies), "spliced"));
	assert_in_range(replies.len, 1, 40 * 30 - 1); /* some came, some were lost */
	assert_true(sim_stats(w->s)->frames_cut > 0);
	pk_buf_release(&frame);
	pk_buf_release(&replies);
}

static void test_a_slow_reader_is_held_back_and_loses_nothing(void **state)
{
	struct world *w = *state;
	struct client *a = join(w, 0, 0), *b = join(w, 1, 0);
	char data[2001];
	struct pk_buf want = PK_BUF_INIT;

	memset(data, 'x', 2000);
	data[2000] = 0;
	client_create(a, ZK_OP_CREATE, "/a", data, 0);
	sim_run(w->s, 300);
	pk_buf_clear(&w->all[0].said);
	sim_conn_slow(client_wire(a), 20000, 600); /* one frame seems to fill it */
	for (int i = 0; i < 40; i++) {
		client_ask(a, ZK_OP_GET_DATA, "/a", false);
		pk_buf_printf(&want, "getData:0 ");
	}
	sim_run(w->s, 100);
	assert_int_equal(client_state(a), CLIENT_CONNECTED);
	assert_true(client_wire(a)->paused);
	client_ask(b, ZK_OP_EXISTS, "/a", false);
	sim_run(w->s, 100);
	expect(w, 1, "exists:0 ");
	sim_run(w->s, 2000);
	expect(w, 0, pk_buf_str(&want));
	assert_false(client_wire(a)->paused);
	pk_buf_release(&want);
}

static void test_a_slow_reader_does_not_see_its_own_later_write(void **state)
{
	struct world *w = *state;
	struct client *a = join(w, 0, 0);
	char data[2001];

	memset(data, 'x', 2000);
	data[2000] = 0;
	client_create(a, ZK_OP_CREATE, "/a", data, 0);
	sim_run(w->s, 300);
	pk_buf_clear(&w->all[0].said);
	sim_conn_slow(client_wire(a), 2000000, 600); /* one frame seems to fill it */
	sim_disk_slow(w->s, 0, 600000, 0);
	client_set(a, "/a", data, -1); /* what follows waits for it */
	client_ask(a, ZK_OP_GET_DATA, "/a", false);
	client_ask(a, ZK_OP_EXISTS, "/n", false); /* held back: the reply before it fills */
	client_create(a, ZK_OP_CREATE, "/n", "", 0);
	sim_run(w->s, 12000);
	expect(w, 0, "setData:0 getData:0 exists:-101 create:0 ");
}

static void test_more_than_an_entry_holds_goes_in_several(void **state)
{
	struct world *w = *state;
	struct client *c = join(w, 0, follower(w));
	uint64_t entries = sim_stats(w->s)->entries;
	char *data = pk_alloc(100001);
	struct pk_buf want = PK_BUF_INIT;

	memset(data, 'x', 100000);
	client_create(c, ZK_OP_CREATE, "/a", NULL, 0);
	for (int i = 0; i < 60; i++) {
		client_set(c, "/a", data, -1);
		client_ask(c, ZK_OP_EXISTS, "/a", false);
		pk_buf_printf(&want, "setData:0 exists:0 ");
	}
	sim_run(w->s, 10000);
	pk_buf_drop(&w->all[0].said, strlen("create:0 "));
	expect(w, 0, pk_buf_str(&want));
	assert_in_range(sim_stats(w->s)->entries - entries, 6, 80);
	pk_buf_release(&want);
	free(data);
}

/* ---- leaders that go ---- */

static void test_who_waited_for_a_lost_leader_is_closed_and_nobody_else(void **state)
{
	struct world *w = *state;
	int f = follower(w), l = sim_leader(w->s);
	struct client *a = join(w, 0, f), *b = join(w, 1, f), *c = join(w, 2, f);

	client_ask(b, ZK_OP_EXISTS, "/a", true);
	sim_run(w->s, 100);
	expect(w, 1, "exists:-101 ");
	sim_cut(w->s, f, l, true);
	client_create(a, ZK_OP_CREATE, "/a", "1", 0); /* is sent to it, arrives or not */
	sim_run(w->s, 30);
	sim_crash(w->s, l, false);
	sim_run(w->s, 100);
	expect(w, 0, "closed ");
	client_create(c, ZK_OP_CREATE, "/a", "2", 0); /* waits here for the next one */
	sim_heal(w->s);
	sim_run(w->s, 2500);
	expect(w, 2, "create:0 ");
	expect(w, 1, "NodeCreated/a "); /* its watch is still there, and so is it */
}

static void test_the_leaders_own_clients_are_closed_with_its_leadership(void **state)
{
	struct world *w = *state;
	int l = sim_leader(w->s);
	struct client *a = join(w, 0, l), *b = join(w, 1, l);

	for (int i = 0; i < 3; i++) {
		sim_cut(w->s, l, i, i != l);
		sim_cut(w->s, i, l, i != l);
	}
	client_create(a, ZK_OP_CREATE, "/a", "1", 0);
	sim_run(w->s, 2000);
	expect(w, 0, "closed ");
	assert_int_equal(client_state(b), CLIENT_CONNECTED);
	sim_heal(w->s);
	sim_run(w->s, 3000);
	client_ask(b, ZK_OP_EXISTS, "/a", false);
	sim_run(w->s, 500);
	expect(w, 1, "exists:-101 ");
}

/* ---- refusals ---- */

static void test_an_unknown_operation_ends_the_connection(void **state)
{
	struct world *w = *state;
	struct client *c = join(w, 0, 0);

	client_raw(c, 999, PK_BYTES_NONE);
	sim_run(w->s, 300);
	expect(w, 0, "?:-6 closed ");
}

static void test_a_request_before_required_authentication_ends_the_connection(void **state)
{
	struct world *w = *state;
	struct client *a = join(w, 0, 0), *b = join(w, 1, 0);

	client_raw(a, ZK_OP_PING, PK_BYTES_NONE);
	client_auth(b, "digest", "u:p");
	client_ask(b, ZK_OP_EXISTS, "/a", false);
	sim_run(w->s, 300);
	assert_non_null(strstr(pk_buf_str(&w->all[0].said), "closed"));
	expect(w, 1, "auth:0 exists:-101 ");
}

enum { SPREAD = 192, WAVE = 16 };

/* Nodes of which hardly four are on one page. */
static struct client *spread_on(struct world *w, int server)
{
	struct client *c = join(w, 0, server);
	char path[16], value[1000];

	memset(value, 'v', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	for (int i = 0; i < SPREAD; i++) {
		snprintf(path, sizeof(path), "/n%03d", i);
		client_create(c, ZK_OP_CREATE, path, value, 0);
		sim_run(w->s, 2);
	}
	sim_run(w->s, 1000);
	pk_buf_clear(&w->all[0].said);
	return c;
}

static struct client *spread(struct world *w)
{
	return spread_on(w, 0);
}

static void set_some(struct world *w, struct client *c, int first)
{
	char path[16];

	for (int i = first; i < first + WAVE; i++) {
		snprintf(path, sizeof(path), "/n%03d", i % SPREAD);
		client_set(c, path, "x", -1);
	}
	sim_run(w->s, 20);
}

static size_t answered(const struct world *w)
{
	return w->all[0].said.len / strlen("setData:0 ");
}

static void test_changes_on_many_pages_bring_a_commit(void **state)
{
	struct world *w = *state;
	struct client *c = spread(w);
	uint64_t before = w->s->stats.commits;

	for (int i = 0; i < SPREAD; i += WAVE)
		set_some(w, c, i);
	sim_run(w->s, 500);
	assert_int_equal(answered(w), SPREAD);
	assert_true(w->s->stats.commits >= before + 3);
}

static struct server_stats stats_of(const struct world *w, int i)
{
	struct server_stats stats;

	server_stats(w->s->servers[i].server, &stats);
	return stats;
}

/* Sets until the server takes no more; how many were sent. */
static int set_until_it_waits(struct world *w, struct client *c, int i)
{
	int sent = 0;

	for (uint64_t before = stats_of(w, i).waits; stats_of(w, i).waits == before; sent += WAVE) {
		assert_in_range(sent, 0, 4 * SPREAD);
		set_some(w, c, sent);
	}
	return sent;
}

static void test_writes_wait_for_a_commit_that_takes_long_and_reads_do_not(void **state)
{
	struct world *w = *state;
	struct client *c = spread(w), *reads = join(w, 1, 0);

	client_pings(c, false); /* or it gives up: pings are answered behind its writes */
	sim_disk_slow(w->s, 0, 0, 60000000);
	uint64_t before = w->s->stats.commits;
	int sent = set_until_it_waits(w, c, 0);
	size_t taken = answered(w);
	set_some(w, c, 0);
	client_ask(reads, ZK_OP_GET_DATA, "/n000", false);
	client_ping(reads);
	sim_run(w->s, 500);
	assert_int_equal(w->s->stats.commits, before);
	assert_int_equal(answered(w), taken);
	expect(w, 1, "getData:0 ");
	assert_true(stats_of(w, 0).overlay_bytes < 1 << 18);
	sim_disk_slow(w->s, 0, 0, 0);
	sim_run(w->s, 80000);
	assert_int_equal(answered(w), (size_t)sent + WAVE);
}

static void test_a_session_does_not_expire_while_its_server_waits_for_a_commit(void **state)
{
	struct world *w = *state;
	struct client *c = spread(w), *back = join(w, 1, 0);

	sim_disk_slow(w->s, 0, 0, 120000000);
	uint64_t before = w->s->stats.commits;
	set_until_it_waits(w, c, 0);
	client_drop(back);
	sim_run(w->s, 10000); /* its timeout is 4 s */
	client_connect(back, 0);
	sim_run(w->s, 500);
	assert_int_equal(w->s->stats.commits, before); /* it still waits */
	assert_int_equal(stats_of(w, 0).sessions_expired, 0);
	sim_disk_slow(w->s, 0, 0, 0);
	for (int i = 0; i < 1500 && w->s->stats.commits == before; i++)
		sim_run(w->s, 100);
	join(w, 1, 0); /* or the model says that it should not have been refused */
	client_drop(back);
	sim_run(w->s, 10000);
	assert_true(stats_of(w, 0).sessions_expired >= 1); /* the clock goes on */
}

static void test_a_leader_whose_commit_takes_too_long_hands_over(void **state)
{
	struct world *w = *state;
	int l = sim_leader(w->s);
	struct client *c = spread_on(w, l);

	sim_disk_slow(w->s, l, 0, 60000000);
	set_until_it_waits(w, c, l);
	for (int ms = 0; ms < 10000 && sim_leader(w->s) == l; ms += 100)
		sim_run(w->s, 100);
	assert_int_not_equal(sim_leader(w->s), l);
	sim_run(w->s, 1000);
	struct client *more = join(w, 1, sim_leader(w->s));
	client_create(more, ZK_OP_CREATE, "/more", "1", 0);
	sim_run(w->s, 500);
	expect(w, 1, "create:0 ");
	sim_disk_slow(w->s, l, 0, 0);
	sim_run(w->s, 80000);
	assert_true(sim_settled(w->s));
}

static void test_a_lost_leadership_ends_nothing_but_the_wait(void **state)
{
	struct world *w = *state;
	int l = sim_leader(w->s);
	struct client *c = spread_on(w, l);

	sim_disk_slow(w->s, l, 0, 60000000);
	set_until_it_waits(w, c, l);
	set_some(w, c, 0);
	for (int i = 0; i < 3; i++) {
		sim_cut(w->s, l, i, i != l);
		sim_cut(w->s, i, l, i != l);
	}
	sim_run(w->s, 5000);
	assert_int_not_equal(client_state(c), CLIENT_CONNECTED);
	assert_int_not_equal(sim_leader(w->s), l);
	sim_heal(w->s);
	sim_disk_slow(w->s, l, 0, 0);
	sim_run(w->s, 80000);
	assert_true(sim_settled(w->s));
}

static void test_a_follower_whose_commits_take_long_leaves_entries_with_the_leader(void **state)
{
	struct world *w = *state;
	int f = follower(w), l = sim_leader(w->s);
	struct client *c = spread_on(w, l);
	struct server_stats before = stats_of(w, f);

	sim_disk_slow(w->s, f, 0, 60000000);
	for (int i = 0; i < 4 * SPREAD; i += WAVE) {
		set_some(w, c, i);
		assert_true(stats_of(w, f).overlay_bytes < 1 << 18);
	}
	sim_run(w->s, 3000);
	assert_int_equal(answered(w), 4 * SPREAD);
	assert_true(stats_of(w, f).waits > before.waits);
	assert_true(tree_meta(server_tree(w->s->servers[f].server))->index + 5 <
		    tree_meta(server_tree(w->s->servers[l].server))->index);
	/* nobody asks for an election meanwhile, and it has everything in the end */
	assert_int_equal(sim_leader(w->s), l);
	assert_int_equal(stats_of(w, f).term, before.term);
	sim_disk_slow(w->s, f, 0, 0);
	sim_run(w->s, 80000);
	assert_true(sim_settled(w->s));
	assert_int_equal(stats_of(w, f).term, before.term);
	assert_int_equal(tree_meta(server_tree(w->s->servers[f].server))->index,
			 tree_meta(server_tree(w->s->servers[l].server))->index);
}

static void test_a_start_with_less_memory_commits_while_it_replays(void **state)
{
	struct world *w = *state;
	struct client *c = spread(w);

	set_some(w, c, 0);
	assert_int_equal(stats_of(w, 0).commits, 0);
	sim_crash(w->s, 0, false);
	w->s->o.commit_pages_bytes = 1 << 15;
	w->s->o.waiting_bytes_max = 1 << 16;
	uint64_t before = w->s->stats.commits;
	sim_start(w->s, 0);
	for (int i = 0; i < 100 && !sim_settled(w->s); i++)
		sim_run(w->s, 10);
	/* those that are not the applier's */
	assert_true(stats_of(w, 0).commits >= w->s->stats.commits - before + 3);
	assert_true(stats_of(w, 0).overlay_bytes < 1 << 16);
	join(w, 1, 0);
	client_ask(w->all[1].c, ZK_OP_GET_DATA, "/n191", false);
	sim_run(w->s, 500);
	expect(w, 1, "getData:0 ");
}

static void test_a_full_disk_refuses_writes_and_answers_reads(void **state)
{
	struct world *w = *state;
	struct client *c = join(w, 0, follower(w));

	for (int i = 0; i < 3; i++)
		sim_refuse_writes(w->s, i, true);
	client_create(c, ZK_OP_CREATE, "/a", "1", 0);
	client_ask(c, ZK_OP_EXISTS, "/a", false);
	client_ask(c, ZK_OP_SYNC, "/", false);
	client_connect(w->all[1].c, follower(w));
	sim_run(w->s, 500);
	expect(w, 0, "create:-1 exists:-101 sync:0 ");
	expect(w, 1, "closed ");
	for (int i = 0; i < 3; i++)
		sim_refuse_writes(w->s, i, false);
	sim_run(w->s, 100); /* until the leader has heard of it */
	client_create(c, ZK_OP_CREATE, "/a", "1", 0);
	sim_run(w->s, 500);
	expect(w, 0, "create:0 ");
}

/* Until another one leads than l, which serves. */
static void until_another_leads(struct world *w, int l, int ms)
{
	for (; ms > 0 && (sim_leader(w->s) == l || sim_leader(w->s) < 0); ms -= 10)
		sim_run(w->s, 10);
	assert_int_not_equal(sim_leader(w->s), l);
	assert_true(sim_leader(w->s) >= 0);
	sim_run(w->s, 200);
}

static void test_a_leader_with_a_low_disk_hands_over(void **state)
{
	struct world *w = *state;
	int l = sim_leader(w->s);
	struct client *of_leader = join(w, 0, l), *other = join(w, 1, follower(w));

	sim_run(w->s, 2000); /* everybody has told how it is */
	sim_refuse_writes(w->s, l, true);
	until_another_leads(w, l, 500);
	client_create(of_leader, ZK_OP_CREATE, "/a", "1", 0);
	client_create(other, ZK_OP_CREATE, "/b", "1", 0);
	sim_run(w->s, 500);
	expect(w, 0, "create:0 ");
	expect(w, 1, "create:0 ");
}

static void test_two_low_disks_of_three_refuse_writes(void **state)
{
	struct world *w = *state;
	int l = sim_leader(w->s);
	struct client *c = join(w, 0, l);

	sim_refuse_writes(w->s, (l + 1) % 3, true);
	sim_run(w->s, 100);
	client_create(c, ZK_OP_CREATE, "/a", "1", 0);
	sim_run(w->s, 500);
	expect(w, 0, "create:0 ");
	sim_refuse_writes(w->s, (l + 2) % 3, true);
	sim_run(w->s, 100);
	client_create(c, ZK_OP_CREATE, "/b", "1", 0);
	sim_run(w->s, 500);
	expect(w, 0, "create:-1 ");
	assert_int_equal(sim_leader(w->s), l);
}

static void test_a_leader_that_stops_hands_over(void **state)
{
	struct world *w = *state;
	int l = sim_leader(w->s);
	struct client *c = join(w, 0, follower(w));

	sim_run(w->s, 2000);
	assert_false(server_drain(sim_server(w->s, l)));
	until_another_leads(w, l, 500);
	assert_true(server_drain(sim_server(w->s, l)));
	client_create(c, ZK_OP_CREATE, "/a", "1", 0);
	sim_run(w->s, 500);
	expect(w, 0, "create:0 ");
}

static void test_a_leader_that_nobody_can_take_over_from_stops(void **state)
{
	struct world *w = *state;
	int l = sim_leader(w->s);

	for (int i = 0; i < 3; i++)
		sim_refuse_writes(w->s, i, i != l);
	sim_run(w->s, 100);
	assert_true(server_drain(sim_server(w->s, l)));
}

static void test_a_leaders_full_disk_refuses_to_make_a_local_session_global(void **state)
{
	struct world *w = *state;
	struct client *c = join(w, 0, follower(w));

	sim_refuse_writes(w->s, sim_leader(w->s), true); /* and not the server that is asked */
	client_create(c, ZK_OP_CREATE, "/a", "1", ZK_CREATE_EPHEMERAL);
	sim_run(w->s, 500);
	expect(w, 0, "closed ");
	sim_refuse_writes(w->s, sim_leader(w->s), false);
	client_forget_session(c);
	c = join(w, 0, follower(w));
	client_create(c, ZK_OP_CREATE, "/a", "1", ZK_CREATE_EPHEMERAL);
	sim_run(w->s, 500);
	expect(w, 0, "create:0 ");
}

static void test_a_session_expires_though_the_leaders_disk_is_full(void **state)
{
	struct world *w = *state;
	int f = follower(w);
	struct client *dead = join(w, 0, f), *alive = join(w, 1, f);

	client_create(dead, ZK_OP_CREATE, "/lock", "1", ZK_CREATE_EPHEMERAL);
	sim_run(w->s, 500);
	expect(w, 0, "create:0 ");
	sim_refuse_writes(w->s, sim_leader(w->s), true);
	client_drop(dead);
	sim_run(w->s, 3 * client_timeout(dead));
	client_ask(alive, ZK_OP_EXISTS, "/lock", false);
	sim_run(w->s, 500);
	expect(w, 1, "exists:-101 ");
	assert_int_equal(tree_meta(server_tree(sim_server(w->s, f)))->sessions, 1);
}

static void test_nothing_behind_its_end_makes_a_local_session_global(void **state)
{
	struct world *w = *state;
	int f = follower(w);
	struct client *c = join(w, 0, f);

	client_create(c, ZK_OP_CREATE, "/a", "1", ZK_CREATE_PERSISTENT); /* the end waits for it */
	client_end(c);
	client_create(c, ZK_OP_CREATE, "/e", "1", ZK_CREATE_EPHEMERAL);
	sim_run(w->s, 500);
	expect(w, 0, "create:0 closeSession:0 closed ");
	assert_int_equal(tree_meta(server_tree(sim_server(w->s, f)))->sessions, 0);
	assert_int_equal(tree_meta(server_tree(sim_server(w->s, f)))->ephemerals, 0);
}

/* Who was heard is told to the leader twice a tick, which may be too late for one that was silent
 * for almost its timeout; a write goes there at once. */
static void test_a_write_is_heard_by_the_leader_without_a_report(void **state)
{
	struct world *w = *state;
	struct client *c = join(w, 0, follower(w));

	sim_lose(w->s, SERVER_MSG_TOUCH);
	client_pings(c, false);
	for (int ms = 0; ms < 3 * client_timeout(c); ms += 500) {
		client_create(c, ZK_OP_CREATE, "/s", "", ZK_CREATE_SEQUENTIAL);
		sim_run(w->s, 500);
		expect(w, 0, "create:0 ");
	}
	sim_run(w->s, 3 * client_timeout(c));
	assert_int_equal(tree_meta(server_tree(sim_server(w->s, 0)))->sessions, 0);
}

/* The same if it comes a moment before the session would end, and is done a moment later; also on
 * the leader's own connections. */
static void a_write_under_way_keeps_its_session(struct world *w, int server)
{
	struct client *c = join(w, 0, server);
	const int64_t tick_ms = 2000;

	sim_lose(w->s, SERVER_MSG_TOUCH);
	client_pings(c, false);
	sim_pause(w->s, server, 300); /* its reports do not come with its ticks any more */
	sim_run(w->s, 310);
	client_create(c, ZK_OP_CREATE, "/s", "", ZK_CREATE_SEQUENTIAL);
	sim_run(w->s, 10);
	expect(w, 0, "create:0 ");
	int64_t now_ms = sim_now_us(w->s) / 1000;
	int64_t end_ms = ((now_ms + client_timeout(c)) / tick_ms + 1) * tick_ms;
	sim_run(w->s, end_ms - 100 - now_ms);
	for (int i = 0; i < 3; i++)
		sim_disk_slow(w->s, i, 2000000, 0);
	client_create(c, ZK_OP_CREATE, "/s", "", ZK_CREATE_SEQUENTIAL);
	sim_run(w->s, 200);
	expect(w, 0, "");
	for (int i = 0; i < 3; i++)
		sim_disk_slow(w->s, i, 0, 0);
	sim_run(w->s, 3000);
	expect(w, 0, "create:0 ");
	assert_int_equal(tree_meta(server_tree(sim_server(w->s, server)))->sessions, 1);
}

static void test_a_write_under_way_keeps_the_session_of_a_followers_client(void **state)
{
	a_write_under_way_keeps_its_session(*state, follower(*state));
}

static void test_a_write_under_way_keeps_the_session_of_the_leaders_client(void **state)
{
	struct world *w = *state;

	a_write_under_way_keeps_its_session(w, sim_leader(w->s));
}

/* ---- members ---- */

static void write_some(struct world *w, int who, int count)
{
	struct client *c = w->all[who].c;

	for (int i = 0; i < count; i++) {
		client_create(c, ZK_OP_CREATE, "/s", "0123456789012345678901234567890123456789",
			      ZK_CREATE_SEQUENTIAL);
		if (i % 20 == 19)
			sim_run(w->s, 200);
	}
	sim_run(w->s, 500);
}

/* So many servers, the last of them a spare. */
static int setup_spare(void **state, size_t servers)
{
	struct sim_options o = options(servers, 1 << 20);
	struct world *w;

	o.spares = 1;
	o.txn_flags = TXN_RECONFIG_ENABLED;
	int rc = world_new(state, o);
	w = *state;
	client_identify(w->all[0].c, SIM_SUPER);
	return rc;
}

static int setup_members(void **state)
{
	return setup_spare(state, 4);
}

static void leave(struct world *w, const char *ids)
{
	client_reconfig(w->all[0].c,
			&(struct zk_reconfig_req){ .leaving = pk_bytes_str(ids), .config_id = -1 });
}

static void settle(struct world *w)
{
	for (int i = 0; i < 100 && !sim_settled(w->s); i++)
		sim_run(w->s, 100);
	assert_true(sim_settled(w->s));
}

static size_t members(struct world *w)
{
	struct raft_member all[RAFT_NODE_MEMBERS_MAX];

	return raft_node_members(w->s->servers[sim_leader(w->s)].raft, all, PK_COUNT(all));
}

static void test_a_leader_lost_before_it_has_left_is_removed_by_the_next(void **state)
{
	struct world *w = *state;
	int l = sim_leader(w->s);
	char id[16];

	join(w, 0, follower(w));
	snprintf(id, sizeof(id), "%d", l + 1);
	leave(w, id);
	for (int i = 0; i < 20000 && sim_member(w->s, l); i++)
		sim_run_us(w->s, 50);
	assert_false(sim_member(w->s, l));
	sim_crash(w->s, l, true); /* it still votes, as far as the others know */
	settle(w);
	assert_int_not_equal(sim_leader(w->s), l);
	assert_int_equal(members(w), 2);
	assert_false(w->s->servers[sim_leader(w->s)].knows[l]);
}

static void enter(struct world *w, int i)
{
	struct pk_buf text = PK_BUF_INIT;
	char spec[80];

	sim_spec(i, false, spec, sizeof(spec));
	pk_buf_printf(&text, "server.%d=%s", i + 1, spec);
	client_reconfig(w->all[0].c, &(struct zk_reconfig_req){ .joining = pk_buf_bytes(&text),
								.config_id = -1 });
	pk_buf_release(&text);
}

static void test_who_returns_hears_a_leader_that_its_log_does_not_name(void **state)
{
	struct world *w = *state;
	int gone = follower(w);
	char id[16];

	join(w, 0, sim_leader(w->s));
	snprintf(id, sizeof(id), "%d", gone + 1);
	leave(w, id);
	sim_run(w->s, 2000);
	sim_crash(w->s, gone, false);
	sim_place(w->s, 3);
	enter(w, 3);
	sim_run(w->s, 3000);
	expect(w, 0, "reconfig:0 reconfig:0 ");
	for (int i = 0; i < 40 && sim_leader(w->s) != 3; i++) {
		int l = sim_leader(w->s);
		sim_crash(w->s, l, false);
		sim_pause(w->s, 0 + 1 + 2 - gone - l, 300); /* it would ask for votes first */
		sim_run(w->s, 3000);
		sim_start(w->s, l);
		settle(w);
	}
	assert_int_equal(sim_leader(w->s), 3);
	for (int i = 0; i < 3; i++) { /* nothing but the new leader is left to tell it */
		if (i != gone)
			sim_cut(w->s, i, gone, true);
	}
	sim_start(w->s, gone);
	join(w, 0, 3);
	enter(w, gone);
	sim_run(w->s, 5000);
	expect(w, 0, "reconfig:0 ");
	sim_heal(w->s);
	settle(w);
	assert_true(sim_voter(w->s, gone));
}

static void test_a_vote_reaches_a_candidate_that_the_voters_log_does_not_name(void **state)
{
	struct world *w = *state;
	int behind = follower(w), l = sim_leader(w->s), other = 0 + 1 + 2 - behind - l;
	char id[16];

	join(w, 0, l);
	sim_crash(w->s, behind, false);
	sim_place(w->s, 3);
	enter(w, 3);
	sim_run(w->s, 3000);
	snprintf(id, sizeof(id), "%d", other + 1);
	leave(w, id);
	sim_run(w->s, 2000);
	expect(w, 0, "reconfig:0 reconfig:0 ");
	sim_crash(w->s, other, false);
	sim_crash(w->s, l, false);
	sim_start(w->s, behind); /* knows of those that are gone; without it there is no quorum */
	sim_run(w->s, 5000);
	assert_int_equal(sim_leader(w->s), 3);
}

static int setup_one_and_a_spare(void **state)
{
	return setup_spare(state, 2);
}

static void test_no_vote_is_given_to_one_that_may_not_use_it_yet(void **state)
{
	struct world *w = *state;
	struct raft_member all[RAFT_NODE_MEMBERS_MAX];
	struct raft_node *raft = w->s->servers[0].raft;

	join(w, 0, 0);
	sim_lose(w->s, SERVER_MSG_JOIN_TELL); /* so it stays mute, whatever else it has */
	sim_place(w->s, 1);
	enter(w, 1);
	sim_run(w->s, 2000);
	assert_int_equal(raft_node_members(raft, all, PK_COUNT(all)), 2);
	assert_int_equal(all[1].role, RAFT_NODE_STANDBY); /* of two, nobody is elected without it */
	sim_lose(w->s, 0);
	settle(w);
	raft_node_members(raft, all, PK_COUNT(all));
	assert_int_equal(all[1].role, RAFT_NODE_VOTER);
	assert_false(sim_joining(w->s, 1));
}

static void test_no_vote_is_taken_while_the_others_could_not_decide(void **state)
{
	struct world *w = *state;
	int l = sim_leader(w->s), dead = (l + 1) % 3;
	char id[16];

	join(w, 0, l);
	sim_crash(w->s, dead, false);
	snprintf(id, sizeof(id), "%d", (l + 2) % 3 + 1);
	leave(w, id); /* the one that is left with the leader */
	sim_run(w->s, 1500);
	expect(w, 0, "");
	assert_int_equal(members(w), 3);
	sim_start(w->s, dead);
	sim_run(w->s, 1000);
	expect(w, 0, "reconfig:0 ");
	assert_int_equal(members(w), 2);
	settle(w);
}

static void test_no_leader_leaves_behind_one_that_may_not_vote_yet(void **state)
{
	struct world *w = *state;
	int l = sim_leader(w->s), mute = (l + 1) % 3;
	char id[16];

	join(w, 0, (l + 2) % 3);
	sim_lose(w->s,
		 SERVER_MSG_JOIN_TELL); /* its log is level soon, and it is mute all the same */
	sim_crash(w->s, mute, true);
	sim_wipe(w->s, mute);
	sim_start(w->s, mute);
	sim_run(w->s, 3000);
	assert_true(sim_joining(w->s, mute));
	snprintf(id, sizeof(id), "%d", l + 1);
	leave(w, id);
	sim_run(w->s, 2000);
	expect(w, 0, "");
	assert_int_equal(sim_leader(w->s), l);
	sim_lose(w->s, 0);
	sim_run(w->s, 3000);
	expect(w, 0, "reconfig:0 ");
	settle(w);
	assert_int_not_equal(sim_leader(w->s), l);
	assert_int_equal(members(w), 2);
}

static void test_the_leader_of_two_voters_does_not_leave_one_alone(void **state)
{
	struct world *w = *state;
	int l = sim_leader(w->s);
	char ids[32];

	join(w, 0, l);
	snprintf(ids, sizeof(ids), "%d,%d", l + 1, (l + 1) % 3 + 1);
	leave(w, ids);
	sim_run(w->s, 2000);
	expect(w, 0, "reconfig:-13 ");
	settle(w);
	assert_int_equal(members(w), 3); /* nothing was changed */
	snprintf(ids, sizeof(ids), "%d,%d", (l + 1) % 3 + 1, (l + 2) % 3 + 1);
	leave(w, ids);
	sim_run(w->s, 2000);
	expect(w, 0, "reconfig:0 ");
	settle(w);
	assert_int_equal(members(w), 1);
}

/* ---- servers that lose things ---- */

static void test_a_wiped_server_comes_back_to_the_same_leader(void **state)
{
	struct world *w = *state;
	int f = follower(w), l = sim_leader(w->s);

	join(w, 0, l);
	write_some(w, 0, 600);
	assert_true(sim_settled(w->s));
	sim_crash(w->s, f, true);
	sim_wipe(w->s, f);
	sim_start(w->s, f);
	for (int i = 0; i < 30 && (!sim_settled(w->s) || sim_joining(w->s, f)); i++) {
		write_some(w, 0, 1);
		sim_run(w->s, 200);
	}
	assert_true(sim_settled(w->s));
	assert_false(sim_joining(w->s, f));
	assert_int_equal(sim_leader(w->s), l);
	assert_true(sim_stats(w->s)->imports > 0);
}

static bool on_its_way(struct world *w, int from, int to, enum server_message type)
{
	struct wire *wire = w->s->servers[from].dial[to].wire;
	struct frame *f;

	if (wire != NULL)
		STAILQ_FOREACH(f, &wire->frames, link)
	if (f->type == type)
		return true;
	return false;
}

/*
 * An acknowledged write on the leader and on one that loses its disk; the third lacks it. Fetched
 * back is the state, and it holds the write, but not yet the log behind the manifest: by that log
 * it would vote for the third, which would put another entry in the write's place. (Mutants
 * joins_by_its_state, which the cluster's seeds show too, and wiped_server_joins_early.)
 */
static void test_who_joins_has_no_vote_while_its_log_is_behind_its_state(void **state)
{
	struct world *w = *state;
	int forgets = follower(w), l = sim_leader(w->s), third = 3 - forgets - l;
	struct sim_server *n = &w->s->servers[forgets], *leader = &w->s->servers[l];
	struct raft_node *lacks = w->s->servers[third].raft;

	join(w, 0, l);
	write_some(w, 0, 600); /* more than the leader's log keeps */
	sim_cut(w->s, l, third, true);
	sim_cut(w->s, third, l, true);
	write_some(w, 0, 5);
	uint64_t acked = raft_node_commit_index(leader->raft);
	assert_true(raft_node_last_index(lacks) < acked);
	sim_crash(w->s, forgets, true);
	sim_wipe(w->s, forgets);
	sim_slow(w->s, forgets, l, 200000);
	sim_start(w->s, forgets);
	for (int i = 0; i < 20000 && !on_its_way(w, forgets, l, SERVER_MSG_STATE_ASK); i++)
		sim_run_us(w->s, 100);
	assert_true(rlog_manifest_get(leader->log)->index <= raft_node_last_index(lacks));
	assert_true(server_commit_now(leader->server)); /* the state goes on beyond the manifest */
	sim_lose(w->s, SERVER_MSG_RAFT);                /* what is behind it does not come */
	sim_slow(w->s, forgets, l, 0);
	for (int i = 0; i < 4000 && sim_stats(w->s)->imports == 0; i++)
		sim_run_us(w->s, 100);
	assert_true(tree_meta(server_tree(n->server))->index >= acked);
	assert_true(raft_node_last_index(n->raft) <= raft_node_last_index(lacks));
	sim_crash(w->s, l, true);
	sim_lose(w->s, 0);
	sim_heal(w->s);
	sim_run(w->s, 5000);
	assert_int_equal(sim_leader(w->s), -1);
	assert_true(sim_joining(w->s, forgets));
	sim_start(w->s, l);
	for (int i = 0; i < 100 && (!sim_settled(w->s) || sim_joining(w->s, forgets)); i++)
		sim_run(w->s, 100);
	assert_true(sim_settled(w->s));
	assert_false(sim_joining(w->s, forgets));
	assert_true(tree_meta(server_tree(n->server))->index > acked);
}

static void test_a_server_killed_when_it_had_just_begun_to_join_finds_the_others(void **state)
{
	struct world *w = *state;
	int f = follower(w);

	join(w, 0, sim_leader(w->s));
	write_some(w, 0, 20);
	sim_crash(w->s, f, true);
	sim_wipe(w->s, f);
	sim_start(w->s, f);
	for (int i = 0; i < 1000 && !sim_joining(w->s, f); i++)
		sim_run(w->s, 1);
	assert_true(sim_joining(w->s, f));
	assert_int_equal(raft_node_last_index(w->s->servers[f].raft), 0); /* but a term */
	sim_crash(w->s, f, false);
	sim_start(w->s, f);
	for (int i = 0; i < 100 && sim_joining(w->s, f); i++)
		sim_run(w->s, 100);
	assert_false(sim_joining(w->s, f));
	assert_true(sim_settled(w->s));
}

static void test_a_server_down_during_an_election_needs_no_state(void **state)
{
	struct world *w = *state;
	int f = follower(w), l = sim_leader(w->s), other = 3 - f - l;

	join(w, 0, other);
	write_some(w, 0, 300);
	sim_crash(w->s, f, false);
	sim_crash(w->s, l, false);
	sim_run(w->s, 100);
	sim_start(w->s, l);
	sim_run(w->s, 3000); /* a new term, without f */
	sim_start(w->s, f);
	sim_run(w->s, 3000);
	assert_true(sim_settled(w->s));
	assert_int_equal(sim_stats(w->s)->imports, 0);
}

static void test_a_restart_after_a_quiet_moment_has_nothing_to_replay(void **state)
{
	struct world *w = *state;
	struct client *c = join(w, 0, follower(w));
	char *data = pk_alloc(100001);
	uint64_t applied[3];

	memset(data, 'x', 100000);
	client_create(c, ZK_OP_CREATE, "/a", NULL, 0);
	for (int i = 0; i < 10; i++)
		client_set(c, "/a", data, -1);
	sim_run(w->s, 50);
	for (int i = 0; i < 3; i++) /* amid the writes there was no reason for it */
		assert_null(rlog_manifest_get(w->s->servers[i].log));
	sim_run(w->s, 2000);
	for (int i = 0; i < 3; i++) {
		const struct rlog_manifest *m = rlog_manifest_get(w->s->servers[i].log);
		applied[i] = tree_meta(server_tree(sim_server(w->s, i)))->index;
		assert_non_null(m);
		assert_int_equal(m->index, applied[i]);
	}
	for (int i = 0; i < 3; i++)
		sim_crash(w->s, i, true);
	for (int i = 0; i < 3; i++)
		sim_start(w->s, i);
	for (int i = 0; i < 3; i++) { /* nothing has been replayed yet */
		assert_int_equal(tree_meta(server_tree(sim_server(w->s, i)))->index, applied[i]);
		assert_int_equal(raft_node_last_index(server_raft(sim_server(w->s, i))),
				 applied[i]);
	}
	sim_run(w->s, 3000);
	assert_true(sim_settled(w->s));
	free(data);
}

static void test_who_came_while_the_state_was_fetched_is_sent_away_when_it_is_there(void **state)
{
	struct world *w = *state;
	int f = follower(w), l = sim_leader(w->s);
	struct client *c = w->all[1].c;

	join(w, 0, l);
	write_some(w, 0, 20);
	sim_crash(w->s, f, false);
	write_some(w, 0, 600);
	sim_disk_slow(w->s, f, 0, 2000000);
	sim_start(w->s, f);
	bool came = false;
	for (int i = 0; i < 400 && sim_stats(w->s)->imports == 0; i++) {
		if (w->s->servers[f].importing && client_state(c) == CLIENT_IDLE) {
			client_connect(c, f);
			came = true;
		}
		sim_run(w->s, 10);
	}
	assert_true(came);
	assert_int_equal(sim_stats(w->s)->imports, 1);
	sim_run(w->s, 50);
	assert_int_not_equal(client_state(c), CLIENT_CONNECTING); /* and not left to wait */
}

static void test_clients_do_not_stay_over_a_fetched_state(void **state)
{
	struct world *w = *state;
	int f = follower(w), l = sim_leader(w->s);
	struct client *writes = join(w, 0, l), *watches = join(w, 1, f);

	client_create(writes, ZK_OP_CREATE, "/w", "1", 0);
	sim_run(w->s, 500);
	client_ask(watches, ZK_OP_GET_DATA, "/w", true);
	sim_run(w->s, 500);
	expect(w, 1, "getData:0 ");
	/* so long that it needs a state, and no longer than clients stay */
	sim_cut(w->s, l, f, true);
	client_set(writes, "/w", "2", -1);
	for (int i = 0; i < 1000; i++) {
		client_create(writes, ZK_OP_CREATE, "/s", "01234567890123456789",
			      ZK_CREATE_SEQUENTIAL);
		if (i % 10 == 9)
			sim_run(w->s, 10);
	}
	assert_int_equal(client_state(watches), CLIENT_CONNECTED);
	frames_cut(w->s, &w->s->servers[l].dial[f].wire->frames, 0);
	sim_break(w->s, l, f); /* what waited is lost */
	sim_heal(w->s);
	for (int i = 0; i < 300 && sim_stats(w->s)->imports == 0; i++)
		sim_run(w->s, 10);
	assert_int_equal(sim_stats(w->s)->imports, 1);
	sim_run(w->s, 50);
	expect(w, 1, "closed "); /* the event of /w was in none of the entries that came */
}

int main(void)
{
#define T(name, setup) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_replies_come_in_the_order_of_pipelined_requests, setup3),
		T(test_reads_wait_for_own_writes_only, setup3),
		T(test_a_sync_is_shared_by_those_who_ask_in_one_turn, setup1),
		T(test_frames_that_come_while_joining_wait_for_the_session, setup1),
		T(test_nothing_comes_behind_what_a_broken_link_lost, setup1),
		T(test_a_slow_reader_is_held_back_and_loses_nothing, setup1),
		T(test_a_slow_reader_does_not_see_its_own_later_write, setup1),
		T(test_more_than_an_entry_holds_goes_in_several, setup3),
		T(test_who_waited_for_a_lost_leader_is_closed_and_nobody_else, setup3),
		T(test_the_leaders_own_clients_are_closed_with_its_leadership, setup3),
		T(test_an_unknown_operation_ends_the_connection, setup1),
		T(test_a_request_before_required_authentication_ends_the_connection, setup_auth),
		T(test_a_full_disk_refuses_writes_and_answers_reads, setup3),
		T(test_a_leader_with_a_low_disk_hands_over, setup3),
		T(test_two_low_disks_of_three_refuse_writes, setup3),
		T(test_a_leader_that_stops_hands_over, setup3),
		T(test_a_leader_that_nobody_can_take_over_from_stops, setup3),
		T(test_a_leaders_full_disk_refuses_to_make_a_local_session_global, setup_local),
		T(test_a_session_expires_though_the_leaders_disk_is_full, setup3),
		T(test_a_write_is_heard_by_the_leader_without_a_report, setup3),
		T(test_a_write_under_way_keeps_the_session_of_a_followers_client, setup3),
		T(test_a_write_under_way_keeps_the_session_of_the_leaders_client, setup3),
		T(test_nothing_behind_its_end_makes_a_local_session_global, setup_local),
		T(test_a_leader_lost_before_it_has_left_is_removed_by_the_next, setup_members),
		T(test_who_returns_hears_a_leader_that_its_log_does_not_name, setup_members),
		T(test_a_vote_reaches_a_candidate_that_the_voters_log_does_not_name, setup_members),
		T(test_no_vote_is_given_to_one_that_may_not_use_it_yet, setup_one_and_a_spare),
		T(test_no_vote_is_taken_while_the_others_could_not_decide, setup_members),
		T(test_no_leader_leaves_behind_one_that_may_not_vote_yet, setup_members),
		T(test_the_leader_of_two_voters_does_not_leave_one_alone, setup_members),
		T(test_a_wiped_server_comes_back_to_the_same_leader, setup_small),
		T(test_who_joins_has_no_vote_while_its_log_is_behind_its_state, setup_small),
		T(test_a_server_killed_when_it_had_just_begun_to_join_finds_the_others,
		  setup_small),
		T(test_changes_on_many_pages_bring_a_commit, setup_pages),
		T(test_writes_wait_for_a_commit_that_takes_long_and_reads_do_not, setup_pages),
		T(test_a_session_does_not_expire_while_its_server_waits_for_a_commit, setup_pages),
		T(test_a_leader_whose_commit_takes_too_long_hands_over, setup_pages3),
		T(test_a_lost_leadership_ends_nothing_but_the_wait, setup_pages3),
		T(test_a_follower_whose_commits_take_long_leaves_entries_with_the_leader,
		  setup_pages3),
		T(test_a_start_with_less_memory_commits_while_it_replays, setup_roomy),
		T(test_a_restart_after_a_quiet_moment_has_nothing_to_replay, setup_quiet),
		T(test_a_server_down_during_an_election_needs_no_state, setup_small),
		T(test_who_came_while_the_state_was_fetched_is_sent_away_when_it_is_there,
		  setup_small),
		T(test_clients_do_not_stay_over_a_fetched_state, setup_small),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
