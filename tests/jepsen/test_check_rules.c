#include "tests/lib/test.h"

#include <stdio.h>

#include "base/mem.h"
#include "tests/jepsen/story.h"

/*
 * For each rule a history that keeps it, and the same with one thing changed, which is refused by
 * that rule's name. The parameter tells which: false the good one.
 */

/* ---- telling ---- */

void wait_ms(struct story *s, int64_t ms)
{
	s->now_ms += ms;
}

void add(struct story *s, struct hist_event e)
{
	struct pk_err err = PK_ERR_INIT;

	e.time_ns = ++s->now_ms * 1000000;
	if (history_add(s->h, &e, &err) != 0)
		fail_msg("%s", err.text);
}

static void session_with(struct story *s, uint32_t p, enum hist_state state, uint32_t flags)
{
	add(s, (struct hist_event){ .kind = HIST_SESSION,
				    .process = p,
				    .session = 0x100 + p,
				    .server = p,
				    .state = state,
				    .flags = flags,
				    .timeout_ms = state == HIST_CONNECTED ? 4000 : 0 });
}

void session(struct story *s, uint32_t p, enum hist_state state)
{
	session_with(s, p, state, 0);
}

struct story story_new(void)
{
	struct story s = { .h = history_new(), .opts = CHECK_OPTS_INIT };

	for (uint32_t p = 1; p <= 3; p++) {
		add(&s, (struct hist_event){
				.kind = HIST_CLIENT, .process = p, .flags = HIST_CLIENT_ALL });
		session(&s, p, HIST_CONNECTED);
	}
	return s;
}

void story_end(struct story *s)
{
	check_report_release(&s->report);
	history_free(s->h);
}

static struct hist_event of(uint32_t p, enum hist_kind kind, uint64_t call)
{
	return (struct hist_event){ .kind = kind,
				    .process = p,
				    .session = 0x100 + p,
				    .server = p,
				    .call = call,
				    .xid = kind == HIST_INVOKE ? (int32_t)call : 0 };
}

uint64_t asks_multi(struct story *s, uint32_t p, const struct hist_part *parts, uint32_t count)
{
	struct hist_event e = of(p, HIST_INVOKE, ++s->call);

	e.part.op = ZK_OP_MULTI;
	e.parts = parts;
	e.part_count = count;
	add(s, e);
	return s->call;
}

uint64_t asks(struct story *s, uint32_t p, struct hist_part asked)
{
	struct hist_event e = of(p, HIST_INVOKE, ++s->call);

	e.part = asked;
	add(s, e);
	return s->call;
}

void ok(struct story *s, uint32_t p, uint64_t call, int64_t zxid, struct hist_part answer)
{
	struct hist_event e = of(p, HIST_OK, call);

	e.zxid = zxid;
	e.part = answer;
	add(s, e);
}

void ok_multi(struct story *s, uint32_t p, uint64_t call, int64_t zxid,
	      const struct hist_part *parts, uint32_t count)
{
	struct hist_event e = of(p, HIST_OK, call);

	e.zxid = zxid;
	e.parts = parts;
	e.part_count = count;
	add(s, e);
}

void fails(struct story *s, uint32_t p, uint64_t call, int64_t zxid, int32_t err)
{
	struct hist_event e = of(p, HIST_FAIL, call);

	e.zxid = zxid;
	e.part.err = err;
	add(s, e);
}

void lost(struct story *s, uint32_t p, uint64_t call)
{
	struct hist_event e = of(p, HIST_INFO, call);

	e.part.err = ZK_ECONNECTIONLOSS;
	add(s, e);
}

void told(struct story *s, uint32_t p, int32_t event, const char *path)
{
	struct hist_event e = of(p, HIST_WATCH, 0);

	e.event = event;
	e.part.path = TXT(path);
	add(s, e);
}

/* A request that nobody was told of, by the log; one part of a multi that made something. */
static void log_says(struct story *s, uint32_t p, uint64_t call, int32_t op, int64_t zxid,
		     const struct hist_part *made)
{
	struct hist_event e = { .kind = HIST_TXN,
				.process = 9,
				.session = 0x100 + p,
				.xid = (int32_t)call,
				.zxid = zxid,
				.part = { .op = op } };

	if (op == ZK_OP_MULTI) {
		e.parts = made;
		e.part_count = 1;
	} else if (made != NULL) {
		e.part.created = made->created;
	}
	add(s, e);
}

static void log_ends(struct story *s)
{
	add(s, (struct hist_event){ .kind = HIST_LOG, .process = 9 });
}

static struct hist_part part(int32_t op, const char *path)
{
	return (struct hist_part){ .op = op, .path = TXT(path), .version = ZK_VERSION_ANY };
}

static struct hist_part part_data(int32_t op, const char *path, const char *data)
{
	struct hist_part p = part(op, path);

	p.data = TXT(data);
	if (op != ZK_OP_SET_DATA)
		p.version = 0;
	return p;
}

void creates_mode(struct story *s, uint32_t p, const char *path, int32_t mode, const char *created,
		  int64_t zxid)
{
	struct hist_part asked = part_data(ZK_OP_CREATE, path, "");

	asked.mode = mode;
	uint64_t call = asks(s, p, asked);
	ok(s, p, call, zxid, (struct hist_part){ .created = TXT(created) });
}

void creates(struct story *s, uint32_t p, const char *path, const char *data, int64_t zxid)
{
	uint64_t call = asks(s, p, part_data(ZK_OP_CREATE, path, data));

	ok(s, p, call, zxid, (struct hist_part){ .created = TXT(path) });
}

void deletes(struct story *s, uint32_t p, const char *path, int64_t zxid)
{
	uint64_t call = asks(s, p, part(ZK_OP_DELETE, path));

	ok(s, p, call, zxid, (struct hist_part){ 0 });
}

void sets(struct story *s, uint32_t p, const char *path, const char *data, int64_t zxid)
{
	uint64_t call = asks(s, p, part_data(ZK_OP_SET_DATA, path, data));

	ok(s, p, call, zxid, (struct hist_part){ 0 });
}

void watches(struct story *s, uint32_t p, int32_t op, const char *path, int32_t watch,
	     const char *data, int64_t zxid)
{
	struct hist_part asked = part(op, path);

	asked.version = 0;
	asked.watch = watch;
	uint64_t call = asks(s, p, asked);
	if (data == NULL) {
		fails(s, p, call, zxid, ZK_ENONODE);
	} else {
		struct hist_part answer = { 0 };
		if (op == ZK_OP_GET_DATA)
			answer.data = TXT(data);
		ok(s, p, call, zxid, answer);
	}
}

void gets(struct story *s, uint32_t p, const char *path, const char *data, int64_t zxid)
{
	watches(s, p, ZK_OP_GET_DATA, path, HIST_WATCH_NONE, data, zxid);
}

void gets_stat(struct story *s, uint32_t p, const char *path, struct zk_stat stat, int64_t zxid)
{
	struct hist_part asked = part(ZK_OP_EXISTS, path);

	asked.version = 0;
	uint64_t call = asks(s, p, asked);
	ok(s, p, call, zxid, (struct hist_part){ .has_stat = true, .stat = stat });
}

void lists(struct story *s, uint32_t p, const char *path, const char *names, int64_t zxid)
{
	struct hist_part asked = part(ZK_OP_GET_CHILDREN, path);

	asked.version = 0;
	uint64_t call = asks(s, p, asked);
	ok(s, p, call, zxid, (struct hist_part){ .has_names = true, .names = TXT(names) });
}

void syncs(struct story *s, uint32_t p, int64_t zxid)
{
	uint64_t call = asks(s, p, (struct hist_part){ .op = ZK_OP_SYNC, .path = TXT("/a") });

	ok(s, p, call, zxid, (struct hist_part){ 0 });
}

static void judge(struct story *s)
{
	check_report_release(&s->report);
	check_run(s->h, &s->opts, &s->report);
}

static void show(struct story *s)
{
	struct pk_buf text = PK_BUF_INIT;

	check_report_text(&s->report, &text);
	print_message("%s", pk_buf_str(&text));
	pk_buf_release(&text);
}

void story_valid(struct story *s)
{
	judge(s);
	if (s->report.violations != 0)
		show(s);
	assert_int_equal(s->report.violations, 0);
}

void story_breaks(struct story *s, enum check_rule rule)
{
	judge(s);
	if (s->report.violations == 0 || s->report.by_rule[rule] != s->report.violations)
		show(s);
	assert_true(s->report.violations > 0);
	assert_int_equal(s->report.by_rule[rule], s->report.violations);
	assert_true(s->report.list_count > 0 && s->report.list[0].rule == rule);
}

/* ---- the rules ---- */

static void zxid_unique(struct story *s, bool wrong)
{
	uint64_t a = asks(s, 1, part_data(ZK_OP_CREATE, "/a", ""));
	uint64_t b = asks(s, 2, part_data(ZK_OP_CREATE, "/b", ""));

	ok(s, 1, a, Z(1), (struct hist_part){ .created = TXT("/a") });
	ok(s, 2, b, Z(wrong ? 1 : 2), (struct hist_part){ .created = TXT("/b") });
}

static void write_order(struct story *s, bool wrong)
{
	creates(s, 1, "/a", "", Z(2));
	creates(s, 2, "/b", "", Z(wrong ? 1 : 3)); /* asked for after the other was answered */
}

static void write_result(struct story *s, bool wrong)
{
	creates(s, 1, "/a", "", Z(1));
	deletes(s, 1, "/a", Z(2));
	uint64_t call = asks(s, 2, part(ZK_OP_DELETE, "/a"));
	if (wrong)
		ok(s, 2, call, Z(3), (struct hist_part){ 0 });
	else
		fails(s, 2, call, Z(3), ZK_ENONODE);
}

static void fifo(struct story *s, bool wrong)
{
	creates(s, 1, "/a", "", Z(1));
	uint64_t first = asks(s, 1, part_data(ZK_OP_SET_DATA, "/a", "1"));
	uint64_t second = asks(s, 1, part(ZK_OP_GET_DATA, "/a"));
	if (wrong) {
		ok(s, 1, second, Z(2), (struct hist_part){ .data = TXT("1") });
		ok(s, 1, first, Z(2), (struct hist_part){ 0 });
	} else {
		ok(s, 1, first, Z(2), (struct hist_part){ 0 });
		ok(s, 1, second, Z(2), (struct hist_part){ .data = TXT("1") });
	}
}

/* What was lost with a connection does not happen after the session went on elsewhere. */
static void fifo_late(struct story *s, bool wrong)
{
	creates(s, 1, "/a", "", Z(1));
	uint64_t call = asks(s, 1, part_data(ZK_OP_SET_DATA, "/a", "late"));
	session(s, 1, HIST_DISCONNECTED);
	lost(s, 1, call);
	session(s, 1, HIST_CONNECTED);
	syncs(s, 1, Z(4));
	struct zk_stat stat = { .czxid = Z(1),
				.mzxid = Z(wrong ? 5 : 3),
				.pzxid = Z(1),
				.version = 1,
				.data_length = 4 };
	gets_stat(s, 2, "/a", stat, Z(6));
}

/* A set of unknown outcome comes to light by the stat that a later setACL answers. */
static void set_before_an_acl(struct story *s, bool wrong)
{
	struct zk_stat stat = { .czxid = Z(1),
				.mzxid = Z(2),
				.pzxid = Z(1),
				.version = 1,
				.aversion = 1,
				.data_length = 1 };

	creates(s, 1, "/a", "", Z(1));
	if (!wrong)
		lost(s, 2, asks(s, 2, part_data(ZK_OP_SET_DATA, "/a", "x")));
	uint64_t call = asks(s, 1,
			     (struct hist_part){ .op = ZK_OP_SET_ACL,
						 .path = TXT("/a"),
						 .acl = TXT("31 world:anyone\n"),
						 .version = ZK_VERSION_ANY });
	ok(s, 1, call, Z(3), (struct hist_part){ .has_stat = true, .stat = stat });
}

static void multi_atomic(struct story *s, bool wrong)
{
	creates(s, 1, "/a", "", Z(1));
	creates(s, 1, "/b", "", Z(2));
	struct hist_part parts[] = { part_data(ZK_OP_SET_DATA, "/a", "1"),
				     part_data(ZK_OP_SET_DATA, "/b", "1") };
	struct hist_part results[] = { { .op = ZK_OP_SET_DATA }, { .op = ZK_OP_SET_DATA } };
	uint64_t call = asks_multi(s, 1, parts, 2);
	ok_multi(s, 1, call, Z(3), results, 2);
	gets(s, 2, "/a", "1", Z(3));
	gets(s, 2, "/b", wrong ? "" : "1", Z(3));
}

/* Also when nobody was told that it happened. */
static void multi_atomic_lost(struct story *s, bool wrong)
{
	creates(s, 1, "/a", "", Z(1));
	creates(s, 1, "/b", "", Z(2));
	struct hist_part parts[] = { part_data(ZK_OP_SET_DATA, "/a", "1"),
				     part_data(ZK_OP_SET_DATA, "/b", "1") };
	uint64_t call = asks_multi(s, 1, parts, 2);
	lost(s, 1, call);
	struct zk_stat stat = { .czxid = Z(2), .mzxid = Z(wrong ? 2 : 3), .pzxid = Z(2) };
	stat.version = wrong ? 0 : 1;
	stat.data_length = wrong ? 0 : 1;
	gets_stat(s, 2, "/b", stat, Z(4));
	stat = (struct zk_stat){ .czxid = Z(1), .mzxid = Z(3), .pzxid = Z(1), .version = 1 };
	stat.data_length = 1;
	gets_stat(s, 2, "/a", stat, Z(4));
}

/* A child that came later is no change of the node's own: the lost multi's part was done to it. */
static void multi_atomic_lost_below_a_parent(struct story *s, bool wrong)
{
	creates(s, 1, "/a", "", Z(1));
	creates(s, 1, "/b", "", Z(2));
	struct hist_part parts[] = { part_data(ZK_OP_SET_DATA, "/a", "1"),
				     part_data(ZK_OP_SET_DATA, "/b", "1") };
	lost(s, 1, asks_multi(s, 1, parts, 2));
	creates(s, 2, "/a/x", "", Z(4));
	struct zk_stat stat = { .czxid = Z(2), .mzxid = Z(3), .pzxid = Z(2), .version = 1 };
	stat.data_length = 1;
	gets_stat(s, 2, "/b", stat, Z(5));
	stat = (struct zk_stat){ .czxid = Z(1), .mzxid = Z(wrong ? 1 : 3), .pzxid = Z(4) };
	stat.version = wrong ? 0 : 1;
	stat.data_length = wrong ? 0 : 1;
	stat.cversion = stat.num_children = 1;
	gets_stat(s, 2, "/a", stat, Z(5));
}

/* The lost multi deleted a node and made it again, which its third part brings to light. */
static void multi_atomic_lost_made_again(struct story *s, bool wrong)
{
	creates(s, 1, "/a", "0", Z(1));
	creates(s, 1, "/b", "", Z(2));
	struct hist_part parts[] = { part(ZK_OP_DELETE, "/a"), part_data(ZK_OP_CREATE, "/a", "1"),
				     part_data(ZK_OP_SET_DATA, "/b", "1") };
	lost(s, 1, asks_multi(s, 1, parts, 3));
	lost(s, 1, asks(s, 1, part_data(ZK_OP_CREATE, "/a", "2")));
	struct zk_stat stat = { .czxid = Z(2), .mzxid = Z(3), .pzxid = Z(2), .version = 1 };
	stat.data_length = 1;
	gets_stat(s, 2, "/b", stat, Z(4));
	gets(s, 2, "/a", wrong ? "0" : "1", Z(4));
}

/* Another set, lost as well, may have been what a part of the lost multi would have done, but not
 * one that asked for a version that the node did not have. */
/* A multi that removes a node and makes it anew, found out by what it made; another delete that was
 * lost could have made room as well. */
static void multi_atomic_lost_made_room(struct story *s, bool wrong)
{
	struct hist_part parts[] = { part(ZK_OP_DELETE, "/a"), part_data(ZK_OP_CREATE, "/a", "2") };
	struct zk_stat stat = { .czxid = Z(4), .mzxid = Z(4), .pzxid = Z(4), .data_length = 1 };

	creates(s, 1, "/a", "1", Z(1));
	lost(s, 3, asks(s, 3, part(ZK_OP_DELETE, "/a")));
	lost(s, 2, asks_multi(s, 2, parts, wrong ? 1 : 2));
	gets_stat(s, 1, "/a", stat, Z(5));
	gets(s, 1, "/a", "2", Z(5));
}

static void set_by_another_than_the_multi(struct story *s, bool wrong)
{
	creates(s, 1, "/a", "", Z(1));
	creates(s, 1, "/b", "", Z(2));
	struct hist_part set = part_data(ZK_OP_SET_DATA, "/a", "1");
	set.version = wrong ? 7 : 0;
	lost(s, 1, asks(s, 1, set));
	struct hist_part parts[] = { part_data(ZK_OP_SET_DATA, "/a", "1"),
				     part_data(ZK_OP_SET_DATA, "/b", "1") };
	lost(s, 3, asks_multi(s, 3, parts, 2));
	gets_stat(s, 2, "/b", (struct zk_stat){ .czxid = Z(2), .mzxid = Z(2), .pzxid = Z(2) },
		  Z(4));
	struct zk_stat stat = { .czxid = Z(1), .mzxid = Z(3), .pzxid = Z(1), .version = 1 };
	stat.data_length = 1;
	gets_stat(s, 2, "/a", stat, Z(4));
}

static void read_state(struct story *s, bool wrong)
{
	creates(s, 1, "/a", "0", Z(1));
	sets(s, 1, "/a", "1", Z(2));
	gets(s, 2, "/a", wrong ? "1" : "0", Z(1));
	gets(s, 2, "/a", "1", Z(2));
}

static void read_list(struct story *s, bool wrong)
{
	creates(s, 1, "/a", "", Z(1));
	creates(s, 1, "/a/x", "", Z(2));
	creates(s, 1, "/a/y", "", Z(3));
	deletes(s, 1, "/a/x", Z(4));
	lists(s, 2, "/a", wrong ? "x\ny\n" : "y\n", Z(4));
}

static void zxid_monotonic(struct story *s, bool wrong)
{
	creates(s, 1, "/a", "0", Z(1));
	sets(s, 1, "/a", "1", Z(2));
	gets(s, 2, "/a", "1", Z(2));
	session(s, 2, HIST_DISCONNECTED);
	session(s, 2, HIST_CONNECTED); /* to one that lags */
	gets(s, 2, "/a", wrong ? "0" : "1", Z(wrong ? 1 : 2));
}

static void sync_rule(struct story *s, bool wrong)
{
	creates(s, 1, "/a", "0", Z(1));
	sets(s, 1, "/a", "1", Z(2));
	syncs(s, 2, Z(wrong ? 1 : 2));
	gets(s, 2, "/a", wrong ? "0" : "1", Z(wrong ? 1 : 2));
}

static void stat_rule(struct story *s, bool wrong)
{
	creates(s, 1, "/a", "12", Z(1));
	creates(s, 1, "/a/x", "", Z(2));
	creates(s, 1, "/a/y", "", Z(3));
	deletes(s, 1, "/a/x", Z(4));
	struct zk_stat stat = { .czxid = Z(1),
				.mzxid = Z(1),
				.pzxid = Z(4),
				.cversion = wrong ? 1 : 3,
				.num_children = 1,
				.data_length = 2 };
	gets_stat(s, 2, "/a", stat, Z(4));
}

static void sequence(struct story *s, bool wrong)
{
	creates(s, 1, "/q", "", Z(1));
	creates_mode(s, 1, "/q/n-", ZK_CREATE_SEQUENTIAL, "/q/n-0000000000", Z(2));
	deletes(s, 1, "/q/n-0000000000", Z(3));
	creates_mode(s, 2, "/q/n-", ZK_CREATE_SEQUENTIAL,
		     wrong ? "/q/n-0000000000" : "/q/n-0000000001", Z(4));
}

static void logs_in(struct story *s, uint32_t p)
{
	struct hist_part asked = { .op = ZK_OP_AUTH, .acl = TXT("digest:a:b") };

	ok(s, p, asks(s, p, asked), 0, (struct hist_part){ 0 });
}

static void acl(struct story *s, bool wrong)
{
	struct hist_part asked = part_data(ZK_OP_CREATE, "/a", "");

	logs_in(s, 1);
	asked.acl = TXT("31 digest:a:b\n1 world:anyone\n");
	ok(s, 1, asks(s, 1, asked), Z(1), (struct hist_part){ .created = TXT("/a") });
	sets(s, 1, "/a", "1", Z(2));
	gets(s, 2, "/a", "1", Z(2));
	uint64_t call = asks(s, 2, part_data(ZK_OP_SET_DATA, "/a", "2"));
	if (wrong)
		ok(s, 2, call, Z(3), (struct hist_part){ 0 });
	else
		fails(s, 2, call, Z(3), ZK_ENOAUTH);
}

static void watch_first(struct story *s, bool wrong)
{
	creates(s, 1, "/a", "0", Z(1));
	watches(s, 2, ZK_OP_GET_DATA, "/a", HIST_WATCH_DATA, "0", Z(1));
	sets(s, 1, "/a", "1", Z(2));
	if (!wrong)
		told(s, 2, ZK_EVENT_DATA_CHANGED, "/a");
	gets(s, 2, "/a", "1", Z(2));
}

static void watch_first_late(struct story *s, bool wrong)
{
	creates(s, 1, "/a", "", Z(1));
	watches(s, 2, ZK_OP_GET_CHILDREN, "/a", HIST_WATCH_CHILD, "", Z(1));
	creates(s, 1, "/a/x", "", Z(2));
	if (!wrong)
		told(s, 2, ZK_EVENT_CHILDREN_CHANGED, "/a");
	lists(s, 2, "/a", "x\n", Z(2));
}

static void watch_once(struct story *s, bool wrong)
{
	creates(s, 1, "/a", "0", Z(1));
	watches(s, 2, ZK_OP_GET_DATA, "/a", HIST_WATCH_DATA, "0", Z(1));
	sets(s, 1, "/a", "1", Z(2));
	told(s, 2, ZK_EVENT_DATA_CHANGED, "/a");
	sets(s, 1, "/a", "2", Z(3));
	if (wrong)
		told(s, 2, ZK_EVENT_DATA_CHANGED, "/a");
	gets(s, 2, "/a", "2", Z(3));
}

static void watch_once_for_nothing(struct story *s, bool wrong)
{
	creates(s, 1, "/a", "0", Z(1));
	watches(s, 2, ZK_OP_GET_DATA, "/a", HIST_WATCH_DATA, "0", Z(1));
	if (wrong)
		told(s, 2, ZK_EVENT_DELETED, "/a");
	gets(s, 2, "/a", "0", Z(1));
}

static void watch_persistent(struct story *s, bool wrong)
{
	creates(s, 1, "/a", "0", Z(1));
	watches(s, 2, ZK_OP_ADD_WATCH, "/a", HIST_WATCH_PERSISTENT, "", Z(1));
	sets(s, 1, "/a", "1", Z(2));
	told(s, 2, ZK_EVENT_DATA_CHANGED, "/a");
	sets(s, 1, "/a", "2", Z(3));
	if (!wrong)
		told(s, 2, ZK_EVENT_DATA_CHANGED, "/a");
	gets(s, 2, "/a", "2", Z(3));
}

static void watch_recursive(struct story *s, bool wrong)
{
	creates(s, 1, "/a", "", Z(1));
	watches(s, 2, ZK_OP_ADD_WATCH, "/a", HIST_WATCH_RECURSIVE, "", Z(1));
	creates(s, 1, "/a/x", "", Z(2));
	creates(s, 1, "/a/x/y", "", Z(3));
	told(s, 2, ZK_EVENT_CREATED, "/a/x");
	if (!wrong)
		told(s, 2, ZK_EVENT_CREATED, "/a/x/y");
	gets(s, 2, "/a/x/y", "", Z(3));
}

/* From a server that has nothing yet (or through a library that hides zxids): from where on it
 * tells is not known. */
static void watch_set_at_no_zxid(struct story *s, bool wrong)
{
	watches(s, 2, ZK_OP_ADD_WATCH, "/", wrong ? HIST_WATCH_NONE : HIST_WATCH_RECURSIVE, "", 0);
	session(s, 2, HIST_DISCONNECTED);
	session(s, 2, HIST_CONNECTED);
	syncs(s, 2, Z(1));
	creates(s, 1, "/a", "", Z(2));
	told(s, 2, ZK_EVENT_CREATED, "/a");
}

static void watch_order(struct story *s, bool wrong)
{
	creates(s, 1, "/a", "0", Z(1));
	creates(s, 1, "/b", "0", Z(2));
	watches(s, 2, ZK_OP_GET_DATA, "/a", HIST_WATCH_DATA, "0", Z(2));
	watches(s, 2, ZK_OP_GET_DATA, "/b", HIST_WATCH_DATA, "0", Z(2));
	sets(s, 1, "/a", "1", Z(3));
	sets(s, 1, "/b", "1", Z(4));
	told(s, 2, ZK_EVENT_DATA_CHANGED, wrong ? "/b" : "/a");
	told(s, 2, ZK_EVENT_DATA_CHANGED, wrong ? "/a" : "/b");
	gets(s, 2, "/a", "1", Z(4));
}

static void watch_reconnect(struct story *s, bool wrong)
{
	creates(s, 1, "/a", "0", Z(1));
	watches(s, 2, ZK_OP_GET_DATA, "/a", HIST_WATCH_DATA, "0", Z(1));
	session(s, 2, HIST_DISCONNECTED);
	sets(s, 1, "/a", "1", Z(2));
	session(s, 2, HIST_CONNECTED);
	if (!wrong)
		told(s, 2, ZK_EVENT_DATA_CHANGED, "/a");
	gets(s, 2, "/a", "1", Z(2));
}

static void sets_acl(struct story *s, uint32_t p, const char *path, const char *list, int64_t zxid)
{
	struct hist_part asked = part(ZK_OP_SET_ACL, path);

	asked.acl = TXT(list);
	ok(s, p, asks(s, p, asked), zxid, (struct hist_part){ 0 });
}

/* A node that went unheard is told for the watch of its children that is set again; one that waits
 * for it to come is there all the same. */
static void watch_reconnect_waits_for_it(struct story *s, bool wrong)
{
	logs_in(s, 1);
	creates(s, 1, "/a", "", Z(1));
	watches(s, 2, ZK_OP_GET_CHILDREN, "/a", HIST_WATCH_CHILD, "", Z(1));
	sets_acl(s, 1, "/a", "31 digest:a:b\n", Z(2));
	deletes(s, 1, "/a", Z(3));
	if (!wrong)
		watches(s, 2, ZK_OP_EXISTS, "/a", HIST_WATCH_DATA, NULL, Z(3));
	session(s, 2, HIST_DISCONNECTED);
	session(s, 2, HIST_CONNECTED);
	told(s, 2, ZK_EVENT_DELETED, "/a");
	creates(s, 1, "/a", "", Z(4));
	told(s, 2, ZK_EVENT_CREATED, "/a");
	syncs(s, 2, Z(4));
}

/* What was missed is told for the one-shot watch; what happens before the next answer, for the
 * recursive one. */
static void watch_reconnect_beside_a_lasting(struct story *s, bool wrong)
{
	creates(s, 1, "/a", "0", Z(1));
	watches(s, 2, ZK_OP_ADD_WATCH, "/", HIST_WATCH_RECURSIVE, "", Z(1));
	watches(s, 2, ZK_OP_GET_DATA, "/a", HIST_WATCH_DATA, "0", Z(1));
	session(s, 2, HIST_DISCONNECTED);
	deletes(s, 1, "/a", Z(2));
	creates(s, 1, "/a", "1", Z(3));
	session(s, 2, HIST_CONNECTED);
	told(s, 2, ZK_EVENT_DATA_CHANGED, "/a");
	sets(s, 1, "/a", "2", Z(4));
	told(s, 2, ZK_EVENT_DATA_CHANGED, "/a");
	gets(s, 2, "/a", "2", Z(4));
	if (wrong)
		told(s, 2, ZK_EVENT_DATA_CHANGED, "/a");
}

/* A node that came, and that a request without an answer may have taken away again, may have been
 * gone when the watch was set again: nothing tells of it. */
static void watch_reconnect_maybe_gone(struct story *s, bool wrong)
{
	watches(s, 2, ZK_OP_EXISTS, "/a", HIST_WATCH_DATA, NULL, Z(1));
	session(s, 2, HIST_DISCONNECTED);
	creates(s, 1, "/a", "", Z(2));
	if (!wrong)
		lost(s, 3, asks(s, 3, part(ZK_OP_DELETE, "/a")));
	session(s, 2, HIST_CONNECTED);
	syncs(s, 2, Z(4));
	if (wrong)
		lost(s, 3, asks(s, 3, part(ZK_OP_DELETE, "/a")));
	syncs(s, 1, Z(6));
}

/* It is seen to be gone only later. */
static void watch_reconnect_seen_gone(struct story *s, bool wrong)
{
	struct zk_stat stat = { .czxid = Z(2), .mzxid = Z(2), .pzxid = Z(2) };

	watches(s, 2, ZK_OP_EXISTS, "/a", HIST_WATCH_DATA, NULL, Z(1));
	session(s, 2, HIST_DISCONNECTED);
	creates(s, 1, "/a", "", Z(2));
	lost(s, 3, asks(s, 3, part(ZK_OP_DELETE, "/a")));
	session(s, 2, HIST_CONNECTED);
	syncs(s, 2, Z(4));
	if (wrong)
		gets_stat(s, 1, "/a", stat, Z(5));
	gets(s, 1, "/a", NULL, Z(6));
}

/* It is seen to be there to the end. */
static void watch_reconnect_not_gone(struct story *s, bool wrong)
{
	struct zk_stat stat = { .czxid = Z(2), .mzxid = Z(2), .pzxid = Z(2) };

	watches(s, 2, ZK_OP_EXISTS, "/a", HIST_WATCH_DATA, NULL, Z(1));
	session(s, 2, HIST_DISCONNECTED);
	creates(s, 1, "/a", "", Z(2));
	lost(s, 3, asks(s, 3, part(ZK_OP_DELETE, "/a")));
	session(s, 2, HIST_CONNECTED);
	if (!wrong)
		told(s, 2, ZK_EVENT_CREATED, "/a");
	syncs(s, 2, Z(4));
	gets_stat(s, 1, "/a", stat, Z(6));
}

/* What a one-shot watch tells after a reconnect says nothing of what a lasting one missed. */
static void watch_reconnect_lasting(struct story *s, bool wrong)
{
	creates(s, 1, "/a", "", Z(1));
	creates(s, 1, "/a/x", "0", Z(2));
	watches(s, 2, ZK_OP_ADD_WATCH, "/a", HIST_WATCH_RECURSIVE, "", Z(2));
	watches(s, 2, ZK_OP_GET_DATA, "/a/x", HIST_WATCH_DATA, "0", Z(2));
	session(s, 2, HIST_DISCONNECTED);
	sets(s, 1, "/a", "missed", Z(3));
	sets(s, 1, "/a/x", "1", Z(4));
	sets(s, 1, "/a", "missed, too", Z(5));
	session(s, 2, HIST_CONNECTED);
	told(s, 2, ZK_EVENT_DATA_CHANGED, "/a/x");
	gets(s, 2, "/a/x", "1", Z(5));
	sets(s, 1, "/a", "told", Z(6));
	if (!wrong)
		told(s, 2, ZK_EVENT_DATA_CHANGED, "/a");
	gets(s, 2, "/a/x", "1", Z(6));
}

/* Where a session goes on without an entry of the log, less may have been done than it was told of:
 * that is told again, to watches that stay. What an answer had seen is not. */
static void watch_told_again_without_a_barrier(struct story *s, bool wrong)
{
	creates(s, 1, "/a", "0", Z(1));
	creates(s, 1, "/b", "0", Z(2));
	watches(s, 2, ZK_OP_ADD_WATCH, "/a", HIST_WATCH_PERSISTENT, "", Z(2));
	watches(s, 2, ZK_OP_ADD_WATCH, "/", HIST_WATCH_RECURSIVE, "", Z(2));
	sets(s, 1, "/b", "1", Z(3));
	told(s, 2, ZK_EVENT_DATA_CHANGED, "/b");
	gets(s, 2, "/b", "1", Z(3));
	sets(s, 1, "/a", "1", Z(4));
	told(s, 2, ZK_EVENT_DATA_CHANGED, "/a");
	session(s, 2, HIST_DISCONNECTED);
	session_with(s, 2, HIST_CONNECTED, HIST_NO_BARRIER);
	told(s, 2, ZK_EVENT_DATA_CHANGED, wrong ? "/b" : "/a");
	syncs(s, 2, Z(4));
}

/* Elsewhere nothing is told twice. */
static void watch_not_told_again_behind_a_barrier(struct story *s, bool wrong)
{
	creates(s, 1, "/a", "0", Z(1));
	watches(s, 2, ZK_OP_ADD_WATCH, "/a", HIST_WATCH_PERSISTENT, "", Z(1));
	sets(s, 1, "/a", "1", Z(2));
	told(s, 2, ZK_EVENT_DATA_CHANGED, "/a");
	session(s, 2, HIST_DISCONNECTED);
	session_with(s, 2, HIST_CONNECTED, wrong ? 0 : HIST_NO_BARRIER);
	told(s, 2, ZK_EVENT_DATA_CHANGED, "/a");
	syncs(s, 2, Z(2));
}

/* Taken off by the library alone, which asks no server: the answer has no zxid. */
static void watch_removed_by_the_library(struct story *s, bool wrong)
{
	creates(s, 1, "/a", "", Z(1));
	watches(s, 2, ZK_OP_GET_CHILDREN, "/a", HIST_WATCH_CHILD, "", Z(1));
	uint64_t call = asks(s, 2,
			     (struct hist_part){ .op = ZK_OP_REMOVE_WATCHES,
						 .path = TXT("/a"),
						 .mode = ZK_WATCHER_CHILDREN });
	ok(s, 2, call, 0, (struct hist_part){ 0 });
	creates(s, 1, "/a/x", "", Z(2));
	if (wrong)
		told(s, 2, ZK_EVENT_CHILDREN_CHANGED, "/a");
	lists(s, 2, "/a", "x\n", Z(2));
}

/* addWatch on a path that has such a watch changes its mode: it is one, not two. */
static void watch_changes_its_mode(struct story *s, bool wrong)
{
	creates(s, 1, "/a", "", Z(1));
	watches(s, 2, ZK_OP_ADD_WATCH, "/a", HIST_WATCH_PERSISTENT, "", Z(1));
	watches(s, 2, ZK_OP_ADD_WATCH, "/a", HIST_WATCH_RECURSIVE, "", Z(1));
	creates(s, 1, "/a/x", "", Z(2));
	told(s, 2, ZK_EVENT_CREATED, "/a/x");
	if (wrong)
		told(s, 2, ZK_EVENT_CHILDREN_CHANGED, "/a");
	gets(s, 2, "/a/x", "", Z(2));
}

static void removes_half(struct story *s, uint32_t p, const char *path, int32_t type, int64_t zxid)
{
	struct hist_part asked = part(ZK_OP_REMOVE_WATCHES, path);

	asked.mode = type;
	asked.version = 0;
	ok(s, p, asks(s, p, asked), zxid, (struct hist_part){ 0 });
}

/* A persistent watch is one of data and one of children; after a reconnect it is whole. */
static void watch_half_removed(struct story *s, bool wrong)
{
	creates(s, 1, "/a", "0", Z(1));
	watches(s, 2, ZK_OP_ADD_WATCH, "/a", HIST_WATCH_PERSISTENT, "", Z(1));
	removes_half(s, 2, "/a", ZK_WATCHER_DATA, Z(1));
	sets(s, 1, "/a", "1", Z(2));
	creates(s, 1, "/a/x", "", Z(3));
	told(s, 2, ZK_EVENT_CHILDREN_CHANGED, "/a");
	gets(s, 2, "/a", "1", Z(3));
	session(s, 2, HIST_DISCONNECTED);
	session(s, 2, HIST_CONNECTED);
	sets(s, 1, "/a", "1, still", Z(4));
	told(s, 2, ZK_EVENT_DATA_CHANGED, "/a");
	gets(s, 2, "/a", "1, still", Z(4));
	sets(s, 1, "/a", "2", Z(5));
	if (!wrong)
		told(s, 2, ZK_EVENT_DATA_CHANGED, "/a");
	gets(s, 2, "/a", "2", Z(5));
}

static void watch_half_still_tells(struct story *s, bool wrong)
{
	creates(s, 1, "/a", "0", Z(1));
	watches(s, 2, ZK_OP_ADD_WATCH, "/a", HIST_WATCH_PERSISTENT, "", Z(1));
	removes_half(s, 2, "/a", ZK_WATCHER_CHILDREN, Z(1));
	sets(s, 1, "/a", "1", Z(2));
	told(s, 2, ZK_EVENT_DATA_CHANGED, "/a");
	creates(s, 1, "/a/x", "", Z(3));
	if (wrong)
		told(s, 2, ZK_EVENT_CHILDREN_CHANGED, "/a");
	gets(s, 2, "/a", "1", Z(3));
}

/* Process 2 watches /a, which then only process 1 may read; up to Z(2). */
static void watches_and_is_shut_out(struct story *s)
{
	logs_in(s, 1);
	creates(s, 1, "/a", "0", Z(1));
	watches(s, 2, ZK_OP_GET_DATA, "/a", HIST_WATCH_DATA, "0", Z(1));
	sets_acl(s, 1, "/a", "31 digest:a:b\n", Z(2));
}

/* It is set, or not, while process 2 may not read it; up to Z(4). */
static void watches_what_is_hidden(struct story *s, bool set)
{
	watches_and_is_shut_out(s);
	if (set)
		sets(s, 1, "/a", "hidden", Z(3));
	sets_acl(s, 1, "/a", "31 world:anyone\n", Z(4));
}

/* A one-shot watch goes with a change that its client may not hear of. */
static void watch_spent_unheard(struct story *s, bool wrong)
{
	watches_what_is_hidden(s, !wrong);
	sets(s, 1, "/a", "2", Z(5));
	gets(s, 2, "/a", "2", Z(5));
}

/* The same behind a reconnect, before the first answer there: it may have been set again before
 * that change, or after. */
static void watch_spent_behind_a_reconnect(struct story *s, bool wrong)
{
	watches_and_is_shut_out(s);
	session(s, 2, HIST_DISCONNECTED);
	session(s, 2, HIST_CONNECTED);
	if (!wrong)
		sets(s, 1, "/a", "hidden", Z(3));
	syncs(s, 2, Z(4));
	sets_acl(s, 1, "/a", "31 world:anyone\n", Z(5));
	sets(s, 1, "/a", "2", Z(6));
	gets(s, 2, "/a", "2", Z(6));
}

/* Set again it is there again. */
static void watch_spent_unheard_and_set(struct story *s, bool wrong)
{
	watches_what_is_hidden(s, true);
	sets(s, 1, "/a", "unheard", Z(5));
	watches(s, 2, ZK_OP_GET_DATA, "/a", HIST_WATCH_DATA, "unheard", Z(5));
	sets(s, 1, "/a", "2", Z(6));
	if (!wrong)
		told(s, 2, ZK_EVENT_DATA_CHANGED, "/a");
	gets(s, 2, "/a", "2", Z(6));
}

/* One that may have gone so does not tell of what its client has seen since: another one does. */
static void watch_spent_unheard_beside_another(struct story *s, bool wrong)
{
	watches_what_is_hidden(s, true);
	creates(s, 1, "/b", "0", Z(5));
	sets(s, 1, "/a", "unheard", Z(6));
	watches(s, 2, ZK_OP_ADD_WATCH, "/", HIST_WATCH_RECURSIVE, "", Z(6));
	sets(s, 1, "/b", "1", Z(7));
	told(s, 2, ZK_EVENT_DATA_CHANGED, "/b");
	sets(s, 1, "/a", "2", Z(8));
	if (!wrong)
		told(s, 2, ZK_EVENT_DATA_CHANGED, "/a");
	gets(s, 2, "/a", "2", Z(8));
}

static void may_close(struct story *s, const char *path)
{
	struct hist_part asked = part(ZK_OP_SET_ACL, path);

	asked.acl = TXT("26 world:anyone\n"); /* not to be read */
	asked.version = ZK_VERSION_ANY;
	lost(s, 3, asks(s, 3, asked));
}

/* A spent one is no reason to take an event of a lasting watch for that of an older change. */
static void watch_spent_beside_a_lasting(struct story *s, bool wrong)
{
	watches_what_is_hidden(s, true);
	sets(s, 1, "/a", "unheard", Z(5));
	watches(s, 2, ZK_OP_ADD_WATCH, "/a", HIST_WATCH_PERSISTENT, "", Z(5));
	sets(s, 1, "/a", "2", Z(6));
	if (!wrong)
		told(s, 2, ZK_EVENT_DATA_CHANGED, "/a");
	gets(s, 2, "/a", "2", Z(6));
}

/* Its client takes it off with the event of the lasting one, and does not set it again. */
static void watch_spent_and_taken_off(struct story *s, bool wrong)
{
	watch_spent_beside_a_lasting(s, false);
	if (wrong)
		watches(s, 2, ZK_OP_GET_DATA, "/a", HIST_WATCH_DATA, "2", Z(6));
	session(s, 2, HIST_DISCONNECTED);
	sets(s, 1, "/a", "3", Z(7));
	session(s, 2, HIST_CONNECTED);
	gets(s, 2, "/a", "3", Z(7));
}

/* A setACL of unknown outcome, which the set's stat tells of, hides what was set. */
static void watch_closed_by_a_lost_set_acl(struct story *s, bool wrong)
{
	struct zk_stat stat = { .czxid = Z(1),
				.mzxid = Z(3),
				.pzxid = Z(1),
				.version = 1,
				.aversion = wrong ? 0 : 1,
				.data_length = 1 };

	creates(s, 1, "/a", "", Z(1));
	watches(s, 2, ZK_OP_ADD_WATCH, "/a", HIST_WATCH_RECURSIVE, "", Z(1));
	may_close(s, "/a");
	ok(s, 1, asks(s, 1, part_data(ZK_OP_SET_DATA, "/a", "x")), Z(3),
	   (struct hist_part){ .has_stat = true, .stat = stat });
	syncs(s, 2, Z(3));
}

/* Where no stat tells of it, it may have, until it can have no more. */
static void watch_maybe_closed_by_a_lost_set_acl(struct story *s, bool wrong)
{
	struct zk_stat stat = { .czxid = Z(1), .mzxid = Z(1), .pzxid = Z(1) };

	creates(s, 1, "/a", "", Z(1));
	watches(s, 2, ZK_OP_ADD_WATCH, "/a", HIST_WATCH_PERSISTENT, "", Z(1));
	may_close(s, "/a");
	if (wrong)
		syncs(s, 3, Z(3));
	gets_stat(s, 1, "/a", stat, Z(3));
	deletes(s, 1, "/a", Z(5));
	syncs(s, 2, Z(5));
}

/* After a reconnect a node that is gone is told for each one-shot watch on it. */
/* What the client may not read at one reconnect it may be told of at the next, logged in. */
static void watch_told_after_a_login(struct story *s, bool wrong)
{
	struct hist_part hidden = part_data(ZK_OP_CREATE, wrong ? "/b" : "/a", "");

	hidden.acl = TXT("31 digest:u:p\n");
	watches(s, 2, ZK_OP_EXISTS, "/a", HIST_WATCH_DATA, NULL, Z(1));
	ok(s, 1, asks(s, 1, hidden), Z(2), (struct hist_part){ .created = hidden.path });
	session(s, 2, HIST_DISCONNECTED);
	session(s, 2, HIST_CONNECTED);
	syncs(s, 2, Z(3));
	session(s, 2, HIST_DISCONNECTED);
	session(s, 2, HIST_CONNECTED);
	told(s, 2, ZK_EVENT_CREATED, "/a");
	syncs(s, 2, Z(4));
}

static void watch_reconnect_twice(struct story *s, bool wrong)
{
	creates(s, 1, "/a", "", Z(1));
	watches(s, 2, ZK_OP_GET_DATA, "/a", HIST_WATCH_DATA, "", Z(1));
	watches(s, 2, ZK_OP_GET_CHILDREN, "/a", HIST_WATCH_CHILD, "", Z(1));
	session(s, 2, HIST_DISCONNECTED);
	deletes(s, 1, "/a", Z(2));
	session(s, 2, HIST_CONNECTED);
	told(s, 2, ZK_EVENT_DELETED, "/a");
	told(s, 2, ZK_EVENT_DELETED, "/a");
	if (wrong)
		told(s, 2, ZK_EVENT_DELETED, "/a");
	gets(s, 2, "/a", NULL, Z(2));
}

/* Made by a request without an answer, under a name that only the event tells. */
static void watch_of_an_unknown_sequence(struct story *s, bool wrong)
{
	struct hist_part asked = part_data(ZK_OP_CREATE, "/q/n-", "");

	creates(s, 1, "/q", "", Z(1));
	watches(s, 2, ZK_OP_ADD_WATCH, "/q", HIST_WATCH_RECURSIVE, "", Z(1));
	asked.mode = ZK_CREATE_SEQUENTIAL;
	lost(s, 1, asks(s, 1, asked));
	told(s, 2, ZK_EVENT_CREATED, wrong ? "/q/m-0000000000" : "/q/n-0000000000");
	gets(s, 2, "/q", "", Z(2));
}

/* What a request without an answer did was told: that is no word of a later change. */
static void watch_of_an_unknown_change(struct story *s, bool wrong)
{
	creates(s, 1, "/a", "0", Z(1));
	watches(s, 2, ZK_OP_ADD_WATCH, "/a", HIST_WATCH_PERSISTENT, "", Z(1));
	lost(s, 1, asks(s, 1, part_data(ZK_OP_SET_DATA, "/a", "1")));
	told(s, 2, ZK_EVENT_DATA_CHANGED, "/a");
	creates(s, 2, "/b", "", Z(3));
	sets(s, 3, "/a", "2", Z(4));
	if (!wrong)
		told(s, 2, ZK_EVENT_DATA_CHANGED, "/a");
	gets(s, 2, "/a", "2", Z(4));
}

/* An event that may be another's excuses one change, and makes no later one due at once. */
static void watch_of_an_excused_change(struct story *s, bool wrong)
{
	creates(s, 1, "/a", "", Z(1));
	creates(s, 1, "/b", "0", Z(2));
	watches(s, 2, ZK_OP_ADD_WATCH, "/", HIST_WATCH_RECURSIVE, "", Z(2));
	watches(s, 2, ZK_OP_ADD_WATCH, "/a", HIST_WATCH_RECURSIVE, "", Z(2));
	lost(s, 1, asks(s, 1, part_data(ZK_OP_CREATE, "/a/x", "")));
	deletes(s, 3, "/a/x", Z(4));
	told(s, 2, ZK_EVENT_DELETED, "/a/x");
	sets(s, 3, "/b", "1", Z(5));
	told(s, 2, ZK_EVENT_DATA_CHANGED, "/b");
	creates(s, 3, "/a/x", "", Z(6));
	told(s, 2, ZK_EVENT_CREATED, "/a/x");
	gets(s, 2, "/a/x", "", Z(6));
	sets(s, 3, "/b", "2", Z(7));
	if (!wrong)
		told(s, 2, ZK_EVENT_DATA_CHANGED, "/b");
	gets(s, 2, "/b", "2", Z(7));
}

/* Within one zxid the order of events is the server's affair, those that nobody is owed too. */
static void watch_order_in_one_zxid(struct story *s, bool wrong)
{
	struct hist_part hidden = part_data(ZK_OP_CREATE, "/x", "");

	watches(s, 2, ZK_OP_ADD_WATCH, "/", HIST_WATCH_RECURSIVE, "", Z(1));
	hidden.mode = ZK_CREATE_EPHEMERAL;
	hidden.acl = TXT("31 ip:10.0.0.1\n");
	ok(s, 1, asks(s, 1, hidden), Z(2), (struct hist_part){ .created = TXT("/x") });
	told(s, 2, ZK_EVENT_CREATED, "/x");
	creates_mode(s, 1, "/y", ZK_CREATE_EPHEMERAL, "/y", Z(3));
	told(s, 2, ZK_EVENT_CREATED, "/y");
	ok(s, 1, asks(s, 1, (struct hist_part){ .op = ZK_OP_CLOSE_SESSION }), Z(4),
	   (struct hist_part){ 0 });
	if (!wrong)
		told(s, 2, ZK_EVENT_DELETED, "/y");
	told(s, 2, ZK_EVENT_DELETED, "/x");
	syncs(s, 2, Z(4));
}

/* What was told may be a set that nobody saw, before what nobody is owed; not a set after that. */
static void watch_tells_a_lost_set_before_the_next(struct story *s, bool wrong)
{
	struct hist_part hidden = part_data(ZK_OP_CREATE, "/x", "");

	creates(s, 3, "/a", "0", Z(1));
	watches(s, 2, ZK_OP_ADD_WATCH, "/", HIST_WATCH_RECURSIVE, "", Z(1));
	if (!wrong)
		lost(s, 1, asks(s, 1, part_data(ZK_OP_SET_DATA, "/a", "1")));
	told(s, 2, ZK_EVENT_DATA_CHANGED, "/a");
	hidden.acl = TXT("31 ip:10.0.0.1\n");
	ok(s, 3, asks(s, 3, hidden), Z(4), (struct hist_part){ .created = TXT("/x") });
	told(s, 2, ZK_EVENT_CREATED, "/x");
	sets(s, 3, "/a", "2", Z(5));
	if (!wrong)
		told(s, 2, ZK_EVENT_DATA_CHANGED, "/a");
	syncs(s, 2, Z(5));
}

static void watch_order_in_one_zxid_turned(struct story *s, bool wrong)
{
	struct hist_part hidden = part_data(ZK_OP_CREATE, "/x", "");

	watches(s, 2, ZK_OP_ADD_WATCH, "/", HIST_WATCH_RECURSIVE, "", Z(1));
	creates_mode(s, 1, "/y", ZK_CREATE_EPHEMERAL, "/y", Z(2));
	told(s, 2, ZK_EVENT_CREATED, "/y");
	hidden.mode = ZK_CREATE_EPHEMERAL;
	hidden.acl = TXT("31 ip:10.0.0.1\n");
	ok(s, 1, asks(s, 1, hidden), Z(3), (struct hist_part){ .created = TXT("/x") });
	told(s, 2, ZK_EVENT_CREATED, "/x");
	ok(s, 1, asks(s, 1, (struct hist_part){ .op = ZK_OP_CLOSE_SESSION }), Z(4),
	   (struct hist_part){ 0 });
	told(s, 2, ZK_EVENT_DELETED, "/y");
	told(s, 2, ZK_EVENT_DELETED, "/x");
	if (wrong)
		told(s, 2, ZK_EVENT_DELETED, "/y");
	syncs(s, 2, Z(4));
}

/* The end of its session tells nobody of an ephemeral that was deleted before. */
static void watch_of_an_ephemeral_gone_before(struct story *s, bool wrong)
{
	creates_mode(s, 3, "/e", ZK_CREATE_EPHEMERAL, "/e", Z(1));
	watches(s, 2, ZK_OP_ADD_WATCH, "/e", HIST_WATCH_PERSISTENT, "", Z(1));
	session(s, 2, HIST_DISCONNECTED); /* and nobody tells it of what it misses */
	if (!wrong)
		lost(s, 1, asks(s, 1, part(ZK_OP_DELETE, "/e")));
	session(s, 2, HIST_CONNECTED);
	creates(s, 2, "/b", "", Z(3));
	ok(s, 3, asks(s, 3, (struct hist_part){ .op = ZK_OP_CLOSE_SESSION }), Z(4),
	   (struct hist_part){ 0 });
	gets(s, 2, "/e", NULL, Z(4));
}

/* What the log tells of a request without an answer is as good as an answer. */
static void lost_and_told(struct story *s, bool wrong)
{
	creates(s, 1, "/a", "0", Z(1));
	uint64_t call = asks(s, 2, part_data(ZK_OP_SET_DATA, "/a", "1"));
	lost(s, 2, call);
	gets(s, 1, "/a", wrong ? "0" : "1", Z(3));
	log_says(s, 2, call, ZK_OP_SET_DATA, Z(2), NULL);
}

static void lost_and_told_of_none(struct story *s, bool wrong)
{
	creates(s, 1, "/a", "0", Z(1));
	lost(s, 2, asks(s, 2, part(ZK_OP_DELETE, "/a")));
	gets(s, 1, "/a", NULL, Z(3));
	if (wrong)
		log_ends(s); /* it was not done */
}

static void lost_and_told_twice(struct story *s, bool wrong)
{
	creates(s, 1, "/a", "0", Z(1));
	uint64_t call = asks(s, 2, part_data(ZK_OP_SET_DATA, "/a", "1"));
	lost(s, 2, call);
	log_says(s, 2, call, ZK_OP_SET_DATA, Z(2), NULL);
	if (wrong)
		log_says(s, 2, call, ZK_OP_SET_DATA, Z(3), NULL);
}

static void lost_and_told_of_too_late(struct story *s, bool wrong)
{
	uint64_t call = asks(s, 2, part_data(ZK_OP_CREATE, "/a", ""));

	lost(s, 2, call);
	syncs(s, 2, wrong ? Z(1) : Z(2));
	struct hist_part made = { .created = TXT("/a") };
	log_says(s, 2, call, ZK_OP_CREATE, Z(2), &made);
}

static void lost_and_told_of_too_early(struct story *s, bool wrong)
{
	syncs(s, 1, wrong ? Z(3) : Z(1));
	uint64_t call = asks(s, 2, part_data(ZK_OP_CREATE, "/a", ""));
	lost(s, 2, call);
	struct hist_part made = { .created = TXT("/a") };
	log_says(s, 2, call, ZK_OP_CREATE, Z(2), &made);
}

static void lost_multi_and_told(struct story *s, bool wrong)
{
	struct hist_part asked = part_data(ZK_OP_CREATE, "/q", "");
	struct hist_part made = { .op = ZK_OP_CREATE, .created = TXT("/q0000000000") };

	asked.mode = ZK_CREATE_SEQUENTIAL;
	uint64_t call = asks_multi(s, 2, &asked, 1);
	lost(s, 2, call);
	log_says(s, 2, call, ZK_OP_MULTI, Z(2), &made);
	log_ends(s);
	gets(s, 1, "/q0000000000", wrong ? NULL : "", Z(2));
}

/* A watch on what a lost request changed is owed its event. */
static void lost_and_told_is_watched(struct story *s, bool wrong)
{
	creates(s, 1, "/a", "0", Z(1));
	watches(s, 3, ZK_OP_GET_DATA, "/a", HIST_WATCH_DATA, "0", Z(1));
	uint64_t call = asks(s, 2, part_data(ZK_OP_SET_DATA, "/a", "1"));
	lost(s, 2, call);
	if (!wrong)
		told(s, 3, ZK_EVENT_DATA_CHANGED, "/a");
	syncs(s, 3, Z(2));
	log_says(s, 2, call, ZK_OP_SET_DATA, Z(2), NULL);
}

static void session_early(struct story *s, bool wrong)
{
	creates(s, 1, "/a", "", Z(1));
	sets(s, 2, "/a", "1", Z(2));
	session(s, 2, HIST_DISCONNECTED);
	wait_ms(s, wrong ? 1500 : 5000); /* its timeout is 4000 */
	session(s, 2, HIST_EXPIRED);
}

/* Who asked for the end, and was not answered, is told the same as one that was silent. */
static void session_early_asked(struct story *s, bool wrong)
{
	creates(s, 1, "/a", "", Z(1));
	sets(s, 2, "/a", "1", Z(2));
	if (!wrong)
		lost(s, 2, asks(s, 2, (struct hist_part){ .op = ZK_OP_CLOSE_SESSION }));
	session(s, 2, HIST_DISCONNECTED);
	add(s, (struct hist_event){ .kind = HIST_TXN,
				    .process = 9,
				    .session = 0x102,
				    .zxid = Z(3),
				    .part = { .op = ZK_OP_CLOSE_SESSION } });
	session(s, 2, HIST_EXPIRED);
}

static void session_late(struct story *s, bool wrong)
{
	creates_mode(s, 2, "/e", ZK_CREATE_EPHEMERAL, "/e", Z(1));
	session(s, 2, HIST_ABANDONED);
	wait_ms(s, wrong ? 30000 : 10000); /* 4 s and 15 s */
	creates(s, 1, "/a", "", Z(2));
	gets(s, 1, "/e", "", Z(2));
}

/* Nobody was told of the end, but for the log. */
static void session_early_by_the_log(struct story *s, bool wrong)
{
	sets(s, 2, "/a", "1", Z(2));
	wait_ms(s, wrong ? 1500 : 5000); /* its timeout is 4000 */
	add(s, (struct hist_event){ .kind = HIST_TXN,
				    .process = 9,
				    .session = 0x102,
				    .zxid = Z(3),
				    .part = { .op = ZK_OP_CLOSE_SESSION } });
}

/* Where it ended is known from the log; a fault in between starts the clock anew. */
static void session_late_by_the_log(struct story *s, bool wrong)
{
	struct hist_event fault = { .process = 9, .call = 1, .name = TXT("election") };

	creates(s, 2, "/a", "", Z(1));
	session(s, 2, HIST_ABANDONED);
	wait_ms(s, 10000);
	fault.kind = HIST_FAULT_BEGIN;
	if (!wrong)
		add(s, fault);
	wait_ms(s, 4000);
	fault.kind = HIST_FAULT_END;
	if (!wrong)
		add(s, fault);
	wait_ms(s, 10000); /* 4 s and 15 s */
	creates(s, 1, "/b", "", Z(2));
	add(s, (struct hist_event){ .kind = HIST_TXN,
				    .process = 9,
				    .session = 0x102,
				    .zxid = Z(3),
				    .part = { .op = ZK_OP_CLOSE_SESSION } });
}

static void ephemeral_early(struct story *s, bool wrong)
{
	creates_mode(s, 2, "/e", ZK_CREATE_EPHEMERAL, "/e", Z(1));
	creates(s, 1, "/a", "", Z(2));
	gets(s, 1, "/e", wrong ? NULL : "", Z(3));
	sets(s, 2, "/a", "it lives", Z(4));
}

static void ephemeral_stays(struct story *s, bool wrong)
{
	creates_mode(s, 2, "/e", ZK_CREATE_EPHEMERAL, "/e", Z(1));
	uint64_t call = asks(s, 2, (struct hist_part){ .op = ZK_OP_CLOSE_SESSION });
	ok(s, 2, call, Z(2), (struct hist_part){ 0 });
	gets(s, 1, "/e", wrong ? "" : NULL, Z(2));
}

static void ephemeral_atomic(struct story *s, bool wrong)
{
	creates(s, 1, "/a", "", Z(1));
	creates_mode(s, 2, "/a/x", ZK_CREATE_EPHEMERAL, "/a/x", Z(2));
	creates_mode(s, 2, "/a/y", ZK_CREATE_EPHEMERAL, "/a/y", Z(3));
	session(s, 2, HIST_DISCONNECTED);
	wait_ms(s, 6000);
	gets(s, 1, "/a/x", NULL, Z(5));
	gets(s, 1, "/a/y", wrong ? "" : NULL, Z(6));
}

static void ephemeral_atomic_list(struct story *s, bool wrong)
{
	creates(s, 1, "/a", "", Z(1));
	creates_mode(s, 2, "/a/x", ZK_CREATE_EPHEMERAL, "/a/x", Z(2));
	creates_mode(s, 2, "/a/y", ZK_CREATE_EPHEMERAL, "/a/y", Z(3));
	session(s, 2, HIST_DISCONNECTED);
	wait_ms(s, 6000);
	lists(s, 1, "/a", wrong ? "y\n" : "", Z(5));
}

static void acknowledged_lost(struct story *s, bool wrong)
{
	creates(s, 1, "/a", "0", Z(1));
	creates(s, 1, "/b", "0", Z(2));
	add(s, (struct hist_event){ .kind = HIST_FINAL });
	wait_ms(s, 1);
	gets(s, 2, "/a", "0", Z(3));
	gets(s, 2, "/b", wrong ? NULL : "0", Z(3));
}

static void acknowledged_lost_dump(struct story *s, bool wrong)
{
	creates(s, 1, "/a", "0", Z(1));
	creates(s, 1, "/a/b", "0", Z(2));
	add(s, (struct hist_event){ .kind = HIST_DUMP,
				    .process = 9,
				    .server = 1,
				    .zxid = Z(3),
				    .count = wrong ? 1 : 2,
				    .part = { .path = TXT("/a") } });
	struct hist_event node = { .kind = HIST_NODE,
				   .process = 9,
				   .part = part_data(0, "/a", "0") };
	add(s, node);
	node.part = part_data(0, "/a/b", "0");
	if (!wrong)
		add(s, node);
}

static void digest(struct story *s, bool wrong)
{
	for (uint32_t server = 1; server <= 3; server++)
		add(s, (struct hist_event){ .kind = HIST_DIGEST,
					    .process = 9,
					    .server = server,
					    .zxid = Z(7),
					    .digest = wrong && server == 3 ? 8 : 7,
					    .name = TXT("tree") });
}

/* ---- what nobody was told of ---- */

static uint64_t asks_create(struct story *s, uint32_t p, const char *path, int32_t mode)
{
	struct hist_part asked = part_data(ZK_OP_CREATE, path, "");

	asked.mode = mode;
	return asks(s, p, asked);
}

static void closes(struct story *s, uint32_t p, int64_t zxid)
{
	uint64_t call = asks(s, p, (struct hist_part){ .op = ZK_OP_CLOSE_SESSION });

	ok(s, p, call, zxid, (struct hist_part){ 0 });
}

static void sets_stat(struct story *s, uint32_t p, const char *path, const char *data,
		      struct zk_stat stat, int64_t zxid)
{
	uint64_t call = asks(s, p, part_data(ZK_OP_SET_DATA, path, data));

	ok(s, p, call, zxid, (struct hist_part){ .has_stat = true, .stat = stat });
}

static void lists_ephemerals(struct story *s, uint32_t p, const char *names, int64_t zxid)
{
	uint64_t call = asks(s, p,
			     (struct hist_part){ .op = ZK_OP_GET_EPHEMERALS, .path = TXT("/") });

	ok(s, p, call, zxid, (struct hist_part){ .has_names = true, .names = TXT(names) });
}

/* A lost delete and a lost create come to light by the stat of a set; a create alone cannot. */
static void made_again_before_a_set(struct story *s, bool wrong)
{
	struct zk_stat stat = {
		.czxid = Z(3), .mzxid = Z(5), .pzxid = Z(3), .version = 1, .data_length = 1
	};

	creates(s, 1, "/a", "", Z(1));
	if (!wrong)
		lost(s, 2, asks(s, 2, part(ZK_OP_DELETE, "/a")));
	lost(s, 3, asks_create(s, 3, "/a", 0));
	sets_stat(s, 1, "/a", "x", stat, Z(5));
}

/* And only at a zxid that nobody else had. */
static void made_again_where_it_can_be(struct story *s, bool wrong)
{
	struct zk_stat stat = { .czxid = Z(wrong ? 4 : 3),
				.mzxid = Z(5),
				.pzxid = Z(wrong ? 4 : 3),
				.version = 1,
				.data_length = 1 };

	creates(s, 1, "/a", "", Z(1));
	lost(s, 2, asks(s, 2, part(ZK_OP_DELETE, "/a")));
	lost(s, 3, asks_create(s, 3, "/a", 0));
	creates(s, 1, "/b", "", Z(4));
	sets_stat(s, 1, "/a", "x", stat, Z(5));
}

/* The asking session's own, of a create that was lost; not another's. */
static void ephemeral_by_a_lost_create(struct story *s, bool wrong)
{
	creates(s, 1, "/q", "", Z(1));
	creates_mode(s, 2, "/q/e", ZK_CREATE_EPHEMERAL, "/q/e", Z(2));
	lost(s, wrong ? 3 : 2,
	     asks_create(s, wrong ? 3 : 2, "/q/n-", ZK_CREATE_EPHEMERAL_SEQUENTIAL));
	lists_ephemerals(s, 2, "/q/e\n/q/n-0000000001\n", Z(4));
}

static void ephemeral_not_listed(struct story *s, bool wrong)
{
	creates_mode(s, 2, "/e", ZK_CREATE_EPHEMERAL, "/e", Z(1));
	lost(s, 3, asks(s, 3, part(ZK_OP_DELETE, wrong ? "/f" : "/e")));
	lists_ephemerals(s, 2, "", Z(4));
}

/* A name that only a list has told of is a node with an owner. */
static void listed_and_gone(struct story *s, bool wrong)
{
	creates(s, 1, "/q", "", Z(1));
	lost(s, 2, asks_create(s, 2, "/q/n-", ZK_CREATE_EPHEMERAL_SEQUENTIAL));
	lists(s, 1, "/q", "n-0000000000\n", Z(3));
	if (wrong)
		syncs(s, 2, Z(4));
	else
		closes(s, 2, Z(4));
	lists(s, 1, "/q", "", Z(5));
}

/* Where not all who were there before are known, those who came and went since are. */
static void listed_where_not_all_are_known(struct story *s, bool wrong)
{
	creates(s, 1, "/q/x", "", Z(1));
	creates(s, 1, "/q/y", "", Z(2));
	deletes(s, 1, "/q/x", Z(3));
	lists(s, 2, "/q", wrong ? "before\nx\ny\n" : "before\ny\n", Z(4));
}

static void missing_where_not_all_are_known(struct story *s, bool wrong)
{
	creates(s, 1, "/q/x", "", Z(1));
	creates(s, 1, "/q/y", "", Z(2));
	lists(s, 2, "/q", wrong ? "before\ny\n" : "before\nx\ny\n", Z(4));
}

/* One that only the numbers have told of goes with whoever made it; two cannot. */
static void counted_and_gone(struct story *s, bool wrong)
{
	struct zk_stat stat = {
		.czxid = Z(1), .mzxid = Z(1), .pzxid = Z(3), .cversion = 2, .num_children = 2
	};

	creates(s, 1, "/q", "", Z(1));
	creates(s, 1, "/q/x", "", Z(2));
	lost(s, 2, asks_create(s, 2, "/q/n-", ZK_CREATE_EPHEMERAL_SEQUENTIAL));
	gets_stat(s, 1, "/q", stat, Z(4));
	closes(s, 2, Z(5));
	stat.pzxid = Z(5);
	stat.cversion = wrong ? 4 : 3;
	stat.num_children = wrong ? 0 : 1;
	gets_stat(s, 1, "/q", stat, Z(6));
}

/* A list that shows fewer than were counted tells who is not counted any more. */
static void counted_and_not_listed(struct story *s, bool wrong)
{
	struct zk_stat stat = {
		.czxid = Z(1), .mzxid = Z(1), .pzxid = Z(3), .cversion = 2, .num_children = 2
	};

	creates(s, 1, "/q", "", Z(1));
	creates(s, 1, "/q/x", "", Z(2));
	lost(s, 2, asks_create(s, 2, "/q/n-", ZK_CREATE_EPHEMERAL_SEQUENTIAL));
	gets_stat(s, 1, "/q", stat, Z(4));
	closes(s, 2, Z(5));
	lists(s, 1, "/q", wrong ? "" : "x\n", Z(6));
	stat.pzxid = Z(5);
	stat.cversion = 3;
	stat.num_children = 1;
	if (!wrong)
		gets_stat(s, 1, "/q", stat, Z(7));
}

/* A number that is the first to be seen holds all that was made before, told or not. */
static void sequence_learned(struct story *s, bool wrong)
{
	struct zk_stat stat = { .czxid = Z(2), .mzxid = Z(2), .pzxid = Z(2) };

	gets(s, 1, "/q/x", NULL, Z(1));
	lost(s, 2, asks_create(s, 2, "/q/x", 0));
	creates_mode(s, 1, "/q/n-", ZK_CREATE_SEQUENTIAL, "/q/n-0000000007", Z(3));
	gets_stat(s, 1, "/q/x", stat, Z(4));
	creates_mode(s, 1, "/q/n-", ZK_CREATE_SEQUENTIAL,
		     wrong ? "/q/n-0000000009" : "/q/n-0000000008", Z(5));
}

/* An ephemeral that somebody may have deleted was gone before its session's end, or with it. */
static void gone_before_its_session(struct story *s, bool wrong)
{
	struct zk_stat stat = {
		.czxid = Z(1), .mzxid = Z(1), .pzxid = Z(wrong ? 4 : 3), .cversion = 2
	};

	creates(s, 1, "/q", "", Z(1));
	creates_mode(s, 2, "/q/e", ZK_CREATE_EPHEMERAL, "/q/e", Z(2));
	lost(s, 3, asks(s, 3, part(ZK_OP_DELETE, "/q/e")));
	creates(s, 1, "/b", "", Z(4));
	closes(s, 2, Z(5));
	gets_stat(s, 1, "/q", stat, Z(6));
}

/* It may even have been made again, and stay. */
static void made_again_before_its_session_ended(struct story *s, bool wrong)
{
	struct zk_stat stat = { .czxid = Z(4), .mzxid = Z(4), .pzxid = Z(4) };

	creates_mode(s, 2, "/e", ZK_CREATE_EPHEMERAL, "/e", Z(1));
	lost(s, 3, asks(s, 3, part(ZK_OP_DELETE, "/e")));
	if (!wrong)
		lost(s, 3, asks_create(s, 3, "/e", 0));
	closes(s, 2, Z(5));
	gets_stat(s, 1, "/e", stat, Z(6));
}

/* Numbers that are looked at for the first time since a loss count who is there by now. */
static void numbers_after_a_loss(struct story *s, bool wrong)
{
	struct zk_stat stat = {
		.czxid = Z(1), .mzxid = Z(1), .pzxid = Z(6), .cversion = 13, .num_children = 1
	};

	creates_mode(s, 2, "/q/e", ZK_CREATE_EPHEMERAL, "/q/e", Z(2));
	lost(s, 3, asks(s, 3, part(ZK_OP_DELETE, "/q/e")));
	creates_mode(s, 1, "/q/n-", ZK_CREATE_SEQUENTIAL, "/q/n-0000000006", Z(6));
	gets_stat(s, 1, "/q", stat, Z(6));
	closes(s, 2, Z(7));
	stat.pzxid = wrong ? Z(7) : Z(6);
	stat.num_children = wrong ? -1 : 1;
	stat.cversion = wrong ? 15 : 13;
	gets_stat(s, 1, "/q", stat, Z(8));
}

/* What is known to have happened below a node since it was made again happened to the new one. */
static void made_again_before_its_child(struct story *s, bool wrong)
{
	struct zk_stat stat = { .czxid = Z(3),
				.mzxid = Z(3),
				.pzxid = Z(wrong ? 3 : 5),
				.cversion = wrong ? 0 : 1,
				.num_children = wrong ? 0 : 1 };

	creates(s, 1, "/a", "", Z(1));
	lost(s, 2, asks(s, 2, part(ZK_OP_DELETE, "/a")));
	lost(s, 3, asks_create(s, 3, "/a", 0));
	creates(s, 1, "/a/x", "", Z(5));
	gets_stat(s, 1, "/a", stat, Z(6));
}

/* Those who were there before it are not among its children. */
static void made_again_behind_its_children(struct story *s, bool wrong)
{
	struct zk_stat stat = { .czxid = Z(4),
				.mzxid = Z(4),
				.pzxid = Z(5),
				.cversion = wrong ? 2 : 1,
				.num_children = wrong ? 2 : 1 };

	creates(s, 1, "/a", "", Z(1));
	creates(s, 1, "/a/x", "", Z(2));
	lost(s, 2, asks(s, 2, part(ZK_OP_DELETE, "/a/x")));
	lost(s, 2, asks(s, 2, part(ZK_OP_DELETE, "/a")));
	lost(s, 3, asks_create(s, 3, "/a", 0));
	creates(s, 1, "/a/y", "", Z(5));
	gets_stat(s, 1, "/a", stat, Z(6));
}

/* /b is there, /a perhaps, and both perhaps set by one multi; the stat of /b once it was. */
static struct zk_stat lost_creates_and_a_lost_multi(struct story *s)
{
	struct hist_part parts[] = { part_data(ZK_OP_SET_DATA, "/b", "1"),
				     part_data(ZK_OP_SET_DATA, "/a", "1") };
	struct zk_stat stat = {
		.czxid = Z(2), .mzxid = Z(4), .pzxid = Z(2), .version = 1, .data_length = 1
	};

	gets(s, 1, "/a", NULL, Z(1));
	creates(s, 1, "/b", "", Z(2));
	lost(s, 2, asks_create(s, 2, "/a", 0));
	lost(s, 3, asks_create(s, 3, "/a", 0));
	lost(s, 3, asks_multi(s, 3, parts, 2));
	return stat;
}

/* One of two creates made it, and a part of a multi that comes to light later changed it. */
static void lost_set_of_a_lost_create(struct story *s, bool wrong)
{
	struct zk_stat stat = lost_creates_and_a_lost_multi(s);

	lists(s, 1, "/a", "", Z(5));
	gets_stat(s, 1, "/b", stat, Z(6));
	stat.czxid = stat.pzxid = Z(3);
	stat.version = wrong ? 2 : 1;
	gets_stat(s, 1, "/a", stat, Z(6));
}

/* If it may have been made again since, the part may have been another's. */
static void lost_set_of_an_earlier_node(struct story *s, bool wrong)
{
	struct zk_stat stat = lost_creates_and_a_lost_multi(s);

	if (!wrong)
		lost(s, 2, asks(s, 2, part(ZK_OP_DELETE, "/a")));
	lists(s, 1, "/a", "", Z(7));
	gets_stat(s, 1, "/b", stat, Z(8));
	stat = (struct zk_stat){ .czxid = Z(6), .mzxid = Z(6), .pzxid = Z(6) };
	gets_stat(s, 1, "/a", stat, Z(8));
}

/* A value of another length than the create's was set in the same multi. */
static void set_where_it_was_made(struct story *s, bool wrong)
{
	struct hist_part parts[] = { part_data(ZK_OP_CREATE, "/a", "12"),
				     part_data(ZK_OP_SET_DATA, "/a", "1") };
	struct zk_stat stat = {
		.czxid = Z(3), .mzxid = Z(3), .pzxid = Z(3), .version = !wrong, .data_length = 1
	};

	gets(s, 1, "/a", NULL, Z(1));
	lost(s, 2, asks_multi(s, 2, parts, 2));
	gets_stat(s, 1, "/a", stat, Z(4));
}

/* A part of a multi whose zxid was told before the node that it changed was. */
static void lost_set_of_a_node_not_yet_known(struct story *s, bool wrong)
{
	struct zk_stat stat = lost_creates_and_a_lost_multi(s);

	lost(s, 2, asks(s, 2, part_data(ZK_OP_SET_DATA, "/a", "2")));
	gets_stat(s, 1, "/b", stat, Z(6));
	stat.czxid = stat.pzxid = Z(3);
	gets_stat(s, 1, "/a", stat, Z(6));
	stat.mzxid = Z(7);
	stat.version = wrong ? 3 : 2;
	gets_stat(s, 1, "/a", stat, Z(8));
}

static struct hist_part part_ephemeral(const char *path)
{
	struct hist_part p = part(ZK_OP_CREATE, path);

	p.mode = ZK_CREATE_EPHEMERAL;
	return p;
}

/* An ephemeral that its session does not list any more may be there as another's. */
static void made_again_by_another(struct story *s, bool wrong)
{
	struct zk_stat stat = {
		.czxid = Z(3), .mzxid = Z(3), .pzxid = Z(3), .ephemeral_owner = 0x103
	};

	creates_mode(s, 2, "/e", ZK_CREATE_EPHEMERAL, "/e", Z(1));
	lost(s, 3, asks(s, 3, part(ZK_OP_DELETE, "/e")));
	if (!wrong)
		lost(s, 3, asks(s, 3, part_ephemeral("/e")));
	lists_ephemerals(s, 2, "", Z(4));
	gets_stat(s, 1, "/e", stat, Z(4));
}

/* Whose it is may be all that was told of the one before it. */
static void made_again_by_another_and_set(struct story *s, bool wrong)
{
	struct zk_stat stat = { .czxid = Z(5),
				.mzxid = Z(6),
				.pzxid = Z(5),
				.version = 1,
				.ephemeral_owner = 0x103,
				.data_length = 1 };

	gets(s, 1, "/e", NULL, Z(1));
	lost(s, 2, asks(s, 2, part_ephemeral("/e")));
	lists_ephemerals(s, 2, "/e\n", Z(3));
	lost(s, 3, asks(s, 3, part(ZK_OP_DELETE, "/e")));
	if (!wrong)
		lost(s, 3, asks(s, 3, part_ephemeral("/e")));
	ok(s, 1, asks(s, 1, part_data(ZK_OP_SET_DATA, "/e", "1")), Z(6),
	   (struct hist_part){ .has_stat = true, .stat = stat });
}

/* A part of a multi that comes to light after its session's end made an ephemeral that went there.
 */
static void made_by_a_session_that_is_over(struct story *s, bool wrong)
{
	struct hist_part parts[] = { part_data(ZK_OP_SET_DATA, "/b", "1"), part_ephemeral("/e") };
	struct zk_stat stat = {
		.czxid = Z(2), .mzxid = Z(4), .pzxid = Z(2), .version = 1, .data_length = 1
	};

	gets(s, 1, "/e", NULL, Z(1));
	creates(s, 1, "/b", "", Z(2));
	lost(s, 3, asks_multi(s, 3, parts, 2));
	if (!wrong)
		add(s, (struct hist_event){ .kind = HIST_TXN,
					    .process = 9,
					    .session = 0x103,
					    .zxid = Z(6),
					    .part = { .op = ZK_OP_CLOSE_SESSION } });
	gets_stat(s, 1, "/b", stat, Z(8));
	gets(s, 1, "/e", NULL, Z(9));
}

/* A node that only a list has told of may be another by the time of its first stat. */
static void made_again_before_its_first_stat(struct story *s, bool wrong)
{
	struct hist_part first = part_data(ZK_OP_CREATE, "/a", "1");
	struct zk_stat stat = { .czxid = Z(5), .mzxid = Z(5), .pzxid = Z(5) };

	gets(s, 1, "/a", NULL, Z(1));
	lost(s, 2, asks(s, 2, first));
	lists(s, 1, "/a", "", Z(3));
	if (!wrong)
		lost(s, 2, asks(s, 2, part(ZK_OP_DELETE, "/a")));
	lost(s, 3, asks_create(s, 3, "/a", 0));
	gets_stat(s, 1, "/a", stat, Z(6));
}

static void may_go(struct story *s, const char *path)
{
	lost(s, 3, asks(s, 3, part(ZK_OP_DELETE, path)));
}

/* All that is known of /q is lost twice while an ephemeral is below it. Its session ends. */
static void ends_below_a_forgotten_parent(struct story *s,
					  void (*lose)(struct story *, const char *))
{
	struct zk_stat root = { .pzxid = Z(1), .cversion = 1, .num_children = 1 };
	struct zk_stat stat = {
		.czxid = Z(1), .mzxid = Z(1), .pzxid = Z(2), .cversion = 1, .num_children = 1
	};

	creates(s, 1, "/q", "", Z(1));
	creates_mode(s, 2, "/q/e", ZK_CREATE_EPHEMERAL, "/q/e", Z(2));
	lose(s, "/q/e");
	may_go(s, "/q");
	gets_stat(s, 1, "/", root, Z(3));
	gets_stat(s, 1, "/q", stat, Z(3));
	lost(s, 3, asks_create(s, 3, "/z", 0));
	root.pzxid = Z(4);
	root.cversion = root.num_children = 2;
	gets_stat(s, 1, "/", root, Z(5));
	creates(s, 1, "/q/x", "", Z(6));
	closes(s, 2, Z(7));
	syncs(s, 1, Z(7));
}

/* That somebody may have set its ACL makes nobody forget an ephemeral. */
static void ephemeral_not_forgotten(struct story *s, bool wrong)
{
	struct zk_stat stat = { .czxid = Z(1),
				.mzxid = Z(1),
				.pzxid = Z(wrong ? 6 : 7),
				.cversion = 3,
				.num_children = 1 };

	ends_below_a_forgotten_parent(s, may_close);
	gets_stat(s, 1, "/q", stat, Z(8));
}

/* One that may have been deleted went then, or with its session. */
static void ephemeral_forgotten(struct story *s, bool wrong)
{
	struct zk_stat stat = { .czxid = Z(1),
				.mzxid = Z(1),
				.pzxid = Z(wrong ? 8 : 7),
				.cversion = 3,
				.num_children = 1 };

	ends_below_a_forgotten_parent(s, may_go);
	creates(s, 1, "/b", "", Z(8));
	gets_stat(s, 1, "/q", stat, Z(9));
}

/* Who was there before, and was neither listed nor counted, goes with its session. */
static void untold_child_goes_with_its_session(struct story *s, bool wrong)
{
	struct zk_stat stat = { .czxid = Z(1),
				.mzxid = Z(1),
				.pzxid = Z(wrong ? 8 : 7),
				.cversion = 3,
				.num_children = 1 };

	creates(s, 1, "/q/x", "", Z(6));
	closes(s, 2, Z(7));
	creates(s, 1, "/b", "", Z(8));
	gets_stat(s, 1, "/q", stat, Z(9));
}

/* Where no transaction takes a session up again, what was lost before may still happen. */
static void fifo_without_a_barrier(struct story *s, bool wrong)
{
	creates(s, 1, "/a", "", Z(1));
	uint64_t call = asks(s, 1, part_data(ZK_OP_SET_DATA, "/a", "late"));
	session(s, 1, HIST_DISCONNECTED);
	lost(s, 1, call);
	session_with(s, 1, HIST_CONNECTED, wrong ? 0 : HIST_NO_BARRIER);
	gets(s, 1, "/a", "", Z(4));
	struct zk_stat stat = {
		.czxid = Z(1), .mzxid = Z(5), .pzxid = Z(1), .version = 1, .data_length = 4
	};
	gets_stat(s, 2, "/a", stat, Z(6));
}

static const struct {
	const char *name;
	enum check_rule rule;
	void (*tell)(struct story *s, bool wrong);
} stories[] = {
	{ "zxid_unique", CHECK_ZXID_UNIQUE, zxid_unique },
	{ "write_order", CHECK_WRITE_ORDER, write_order },
	{ "write_result", CHECK_WRITE_RESULT, write_result },
	{ "fifo", CHECK_FIFO, fifo },
	{ "set_before_an_acl", CHECK_READ_STATE, set_before_an_acl },
	{ "fifo_late", CHECK_FIFO, fifo_late },
	{ "multi_atomic", CHECK_MULTI_ATOMIC, multi_atomic },
	{ "multi_atomic_lost", CHECK_MULTI_ATOMIC, multi_atomic_lost },
	{ "multi_atomic_lost_below_a_parent", CHECK_MULTI_ATOMIC,
	  multi_atomic_lost_below_a_parent },
	{ "multi_atomic_lost_made_again", CHECK_MULTI_ATOMIC, multi_atomic_lost_made_again },
	{ "multi_atomic_lost_made_room", CHECK_READ_STATE, multi_atomic_lost_made_room },
	{ "set_by_another_than_the_multi", CHECK_MULTI_ATOMIC, set_by_another_than_the_multi },
	{ "read_state", CHECK_READ_STATE, read_state },
	{ "read_list", CHECK_READ_STATE, read_list },
	{ "zxid_monotonic", CHECK_ZXID_MONOTONIC, zxid_monotonic },
	{ "sync", CHECK_SYNC, sync_rule },
	{ "stat", CHECK_STAT, stat_rule },
	{ "sequence", CHECK_SEQUENCE, sequence },
	{ "acl", CHECK_ACL, acl },
	{ "made_again_before_a_set", CHECK_READ_STATE, made_again_before_a_set },
	{ "made_again_where_it_can_be", CHECK_READ_STATE, made_again_where_it_can_be },
	{ "ephemeral_by_a_lost_create", CHECK_READ_STATE, ephemeral_by_a_lost_create },
	{ "ephemeral_not_listed", CHECK_EPHEMERAL_EARLY, ephemeral_not_listed },
	{ "listed_and_gone", CHECK_EPHEMERAL_EARLY, listed_and_gone },
	{ "listed_where_not_all_are_known", CHECK_READ_STATE, listed_where_not_all_are_known },
	{ "missing_where_not_all_are_known", CHECK_READ_STATE, missing_where_not_all_are_known },
	{ "counted_and_gone", CHECK_STAT, counted_and_gone },
	{ "counted_and_not_listed", CHECK_READ_STATE, counted_and_not_listed },
	{ "sequence_learned", CHECK_SEQUENCE, sequence_learned },
	{ "gone_before_its_session", CHECK_STAT, gone_before_its_session },
	{ "made_again_before_its_session_ended", CHECK_EPHEMERAL_STAYS,
	  made_again_before_its_session_ended },
	{ "numbers_after_a_loss", CHECK_STAT, numbers_after_a_loss },
	{ "made_again_before_its_child", CHECK_STAT, made_again_before_its_child },
	{ "made_again_behind_its_children", CHECK_STAT, made_again_behind_its_children },
	{ "lost_set_of_a_lost_create", CHECK_STAT, lost_set_of_a_lost_create },
	{ "lost_set_of_an_earlier_node", CHECK_MULTI_ATOMIC, lost_set_of_an_earlier_node },
	{ "set_where_it_was_made", CHECK_READ_STATE, set_where_it_was_made },
	{ "lost_set_of_a_node_not_yet_known", CHECK_MULTI_ATOMIC,
	  lost_set_of_a_node_not_yet_known },
	{ "made_again_by_another", CHECK_READ_STATE, made_again_by_another },
	{ "made_again_by_another_and_set", CHECK_WRITE_RESULT, made_again_by_another_and_set },
	{ "made_by_a_session_that_is_over", CHECK_EPHEMERAL_EARLY, made_by_a_session_that_is_over },
	{ "made_again_before_its_first_stat", CHECK_STAT, made_again_before_its_first_stat },
	{ "ephemeral_not_forgotten", CHECK_STAT, ephemeral_not_forgotten },
	{ "ephemeral_forgotten", CHECK_STAT, ephemeral_forgotten },
	{ "untold_child_goes_with_its_session", CHECK_STAT, untold_child_goes_with_its_session },
	{ "fifo_without_a_barrier", CHECK_FIFO, fifo_without_a_barrier },
	{ "watch_first", CHECK_WATCH_FIRST, watch_first },
	{ "watch_first_late", CHECK_WATCH_FIRST, watch_first_late },
	{ "watch_once", CHECK_WATCH_ONCE, watch_once },
	{ "watch_once_for_nothing", CHECK_WATCH_ONCE, watch_once_for_nothing },
	{ "watch_persistent", CHECK_WATCH_PERSISTENT, watch_persistent },
	{ "watch_recursive", CHECK_WATCH_PERSISTENT, watch_recursive },
	{ "watch_set_at_no_zxid", CHECK_WATCH_ONCE, watch_set_at_no_zxid },
	{ "watch_spent_behind_a_reconnect", CHECK_WATCH_FIRST, watch_spent_behind_a_reconnect },
	{ "lost_and_told", CHECK_READ_STATE, lost_and_told },
	{ "lost_and_told_of_none", CHECK_READ_STATE, lost_and_told_of_none },
	{ "lost_and_told_twice", CHECK_WRITE_RESULT, lost_and_told_twice },
	{ "lost_and_told_of_too_late", CHECK_FIFO, lost_and_told_of_too_late },
	{ "lost_and_told_of_too_early", CHECK_WRITE_ORDER, lost_and_told_of_too_early },
	{ "lost_multi_and_told", CHECK_MULTI_ATOMIC, lost_multi_and_told },
	{ "lost_and_told_is_watched", CHECK_WATCH_FIRST, lost_and_told_is_watched },
	{ "watch_order", CHECK_WATCH_ORDER, watch_order },
	{ "watch_reconnect", CHECK_WATCH_RECONNECT, watch_reconnect },
	{ "watch_reconnect_waits_for_it", CHECK_WATCH_ONCE, watch_reconnect_waits_for_it },
	{ "watch_reconnect_beside_a_lasting", CHECK_WATCH_ONCE, watch_reconnect_beside_a_lasting },
	{ "watch_reconnect_maybe_gone", CHECK_WATCH_RECONNECT, watch_reconnect_maybe_gone },
	{ "watch_reconnect_seen_gone", CHECK_WATCH_RECONNECT, watch_reconnect_seen_gone },
	{ "watch_reconnect_not_gone", CHECK_WATCH_RECONNECT, watch_reconnect_not_gone },
	{ "watch_reconnect_lasting", CHECK_WATCH_PERSISTENT, watch_reconnect_lasting },
	{ "watch_told_again_without_a_barrier", CHECK_WATCH_ONCE,
	  watch_told_again_without_a_barrier },
	{ "watch_not_told_again_behind_a_barrier", CHECK_WATCH_ONCE,
	  watch_not_told_again_behind_a_barrier },
	{ "watch_removed_by_the_library", CHECK_WATCH_ONCE, watch_removed_by_the_library },
	{ "watch_changes_its_mode", CHECK_WATCH_ONCE, watch_changes_its_mode },
	{ "watch_half_removed", CHECK_WATCH_PERSISTENT, watch_half_removed },
	{ "watch_half_still_tells", CHECK_WATCH_ONCE, watch_half_still_tells },
	{ "watch_spent_unheard", CHECK_WATCH_FIRST, watch_spent_unheard },
	{ "watch_spent_unheard_and_set", CHECK_WATCH_FIRST, watch_spent_unheard_and_set },
	{ "watch_spent_unheard_beside_another", CHECK_WATCH_PERSISTENT,
	  watch_spent_unheard_beside_another },
	{ "watch_spent_beside_a_lasting", CHECK_WATCH_PERSISTENT, watch_spent_beside_a_lasting },
	{ "watch_spent_and_taken_off", CHECK_WATCH_RECONNECT, watch_spent_and_taken_off },
	{ "watch_tells_a_lost_set_before_the_next", CHECK_WATCH_ONCE,
	  watch_tells_a_lost_set_before_the_next },
	{ "watch_closed_by_a_lost_set_acl", CHECK_WATCH_PERSISTENT,
	  watch_closed_by_a_lost_set_acl },
	{ "watch_maybe_closed_by_a_lost_set_acl", CHECK_WATCH_PERSISTENT,
	  watch_maybe_closed_by_a_lost_set_acl },
	{ "watch_told_after_a_login", CHECK_WATCH_ONCE, watch_told_after_a_login },
	{ "watch_reconnect_twice", CHECK_WATCH_ONCE, watch_reconnect_twice },
	{ "watch_of_an_unknown_sequence", CHECK_WATCH_ONCE, watch_of_an_unknown_sequence },
	{ "watch_of_an_unknown_change", CHECK_WATCH_PERSISTENT, watch_of_an_unknown_change },
	{ "watch_of_an_excused_change", CHECK_WATCH_PERSISTENT, watch_of_an_excused_change },
	{ "watch_order_in_one_zxid", CHECK_WATCH_PERSISTENT, watch_order_in_one_zxid },
	{ "watch_order_in_one_zxid_turned", CHECK_WATCH_ONCE, watch_order_in_one_zxid_turned },
	{ "watch_of_an_ephemeral_gone_before", CHECK_WATCH_PERSISTENT,
	  watch_of_an_ephemeral_gone_before },
	{ "session_early", CHECK_SESSION_EARLY, session_early },
	{ "session_early_asked", CHECK_SESSION_EARLY, session_early_asked },
	{ "session_early_by_the_log", CHECK_SESSION_EARLY, session_early_by_the_log },
	{ "session_late_by_the_log", CHECK_SESSION_LATE, session_late_by_the_log },
	{ "session_late", CHECK_SESSION_LATE, session_late },
	{ "ephemeral_early", CHECK_EPHEMERAL_EARLY, ephemeral_early },
	{ "ephemeral_stays", CHECK_EPHEMERAL_STAYS, ephemeral_stays },
	{ "ephemeral_atomic", CHECK_EPHEMERAL_ATOMIC, ephemeral_atomic },
	{ "ephemeral_atomic_list", CHECK_EPHEMERAL_ATOMIC, ephemeral_atomic_list },
	{ "acknowledged_lost", CHECK_ACKNOWLEDGED_LOST, acknowledged_lost },
	{ "acknowledged_lost_dump", CHECK_ACKNOWLEDGED_LOST, acknowledged_lost_dump },
	{ "digest", CHECK_DIGEST, digest },
};

static void test_a_history_that_keeps_the_rule_is_valid_and_a_broken_one_is_not(void **state)
{
	size_t i = (size_t)(uintptr_t)*state;
	struct story good = story_new(), bad = story_new();

	stories[i].tell(&good, false);
	story_valid(&good);
	stories[i].tell(&bad, true);
	story_breaks(&bad, stories[i].rule);
	story_end(&good);
	story_end(&bad);
}

static void test_every_rule_has_its_story(void **state)
{
	(void)state;
	for (int rule = 0; rule < CHECK_RULES; rule++) {
		size_t found = 0;
		for (size_t i = 0; i < PK_COUNT(stories); i++)
			found += (int)stories[i].rule == rule;
		if (found == 0)
			fail_msg("%s has none", check_rule_name((enum check_rule)rule));
	}
}

int main(void)
{
	struct CMUnitTest tests[PK_COUNT(stories) + 1];

	for (size_t i = 0; i < PK_COUNT(stories); i++)
		tests[i] = (struct CMUnitTest){
			stories[i].name,
			test_a_history_that_keeps_the_rule_is_valid_and_a_broken_one_is_not, NULL,
			NULL, (void *)(uintptr_t)i
		};
	tests[PK_COUNT(stories)] = (struct CMUnitTest)cmocka_unit_test(
		test_every_rule_has_its_story);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
