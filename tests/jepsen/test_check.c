#include "tests/lib/test.h"

#include <stdio.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "jepsen/check.h"
#include "jepsen/edn.h"
#include "jepsen/gen.h"

/* Made-up histories: valid ones pass, and no single lie in them does. */

#define SEEDS 60u

enum lie {
	LIE_NONE,
	LIE_DATA,    /* a read shows another value */
	LIE_MISSING, /* a read finds nothing */
	LIE_VERSION, /* a stat's version is off by one */
	LIE_CVERSION,
	LIE_PZXID,
	LIE_CHILDREN,   /* a list lacks one */
	LIE_ZXID,       /* a write's zxid is one lower */
	LIE_DONE,       /* a refused write is said to have been done */
	LIE_EVENT_LOST, /* a watch event never comes */
	LIE_EVENT_TWICE,
	LIE_EVENT_TYPE,
	LIE_SEQUENCE, /* a number is used again */
	LIE_OLD_READ, /* the zxid of a read falls far back */
	LIES
};

static const char *const lie_names[LIES] = {
	"none", "data", "missing",    "version",     "cversion",   "pzxid",    "children",
	"zxid", "done", "event lost", "event twice", "event type", "sequence", "old read",
};

struct teller {
	struct history *h;
	enum lie lie;
	uint64_t chances, at; /* the lie is told at the at-th chance */
	bool told;
};

static bool is_chance(enum lie lie, const struct hist_event *e)
{
	bool ok = e->kind == HIST_OK;
	bool read = ok && e->part.has_stat && e->part.data.data != NULL;

	switch (lie) {
	case LIE_DATA:
	case LIE_MISSING:
		return read;
	case LIE_VERSION:
	case LIE_CVERSION:
	case LIE_PZXID:
		return ok && e->part.has_stat;
	case LIE_CHILDREN:
		return ok && e->part.has_names && e->part.names.len > 0;
	case LIE_ZXID:
		return ok && e->part.created.data != NULL;
	case LIE_DONE:
		return e->kind == HIST_FAIL && e->part.err == ZK_EBADVERSION;
	case LIE_EVENT_LOST:
	case LIE_EVENT_TWICE:
	case LIE_EVENT_TYPE:
		return e->kind == HIST_WATCH;
	case LIE_SEQUENCE:
		return ok && e->part.created.len > 10 &&
		       e->part.created.data[e->part.created.len - 1] == '7';
	case LIE_OLD_READ:
		return read;
	case LIE_NONE:
	case LIES:
		return false;
	}
	return false;
}

static void lie_about(struct teller *t, struct hist_event *e, struct pk_buf *b)
{
	struct pk_bytes name;

	switch (t->lie) {
	case LIE_DATA:
		e->part.data = pk_bytes_str("a lie");
		e->part.stat.data_length = 5;
		break;
	case LIE_MISSING:
		e->kind = HIST_FAIL;
		e->part = (struct hist_part){ .err = ZK_ENONODE };
		break;
	case LIE_VERSION:
		e->part.stat.version++;
		break;
	case LIE_CVERSION:
		e->part.stat.cversion += 2;
		break;
	case LIE_PZXID:
		e->part.stat.pzxid--;
		break;
	case LIE_CHILDREN:
		PK_ASSERT(hist_name_next(&e->part.names, &name));
		break;
	case LIE_ZXID:
		e->zxid--;
		break;
	case LIE_DONE:
		e->kind = HIST_OK;
		e->part.err = 0;
		break;
	case LIE_EVENT_TYPE:
		e->event = e->event == ZK_EVENT_DELETED ? ZK_EVENT_CREATED : ZK_EVENT_DELETED;
		break;
	case LIE_SEQUENCE:
		pk_buf_add_bytes(b, e->part.created);
		b->data[b->len - 1] = '6';
		e->part.created = pk_buf_bytes(b);
		break;
	case LIE_OLD_READ:
		e->zxid -= 1000;
		break;
	case LIE_EVENT_LOST:
	case LIE_EVENT_TWICE:
	case LIE_NONE:
	case LIES:
		break;
	}
}

static void tell(void *arg, const struct hist_event *event)
{
	struct teller *t = arg;
	struct hist_event e = *event;
	struct pk_err err = PK_ERR_INIT;
	struct pk_buf b = PK_BUF_INIT;
	int times = 1;

	if (is_chance(t->lie, &e) && t->chances++ == t->at) {
		t->told = true;
		lie_about(t, &e, &b);
		times = t->lie == LIE_EVENT_LOST ? 0 : t->lie == LIE_EVENT_TWICE ? 2 : 1;
	}
	for (int i = 0; i < times; i++)
		if (history_add(t->h, &e, &err) != 0)
			fail_msg("%s", err.text);
	pk_buf_release(&b);
}

static void run(uint64_t seed, enum lie lie, bool faults, enum check_peer peer,
		struct check_report *report, bool *told)
{
	struct gen_opts g = GEN_OPTS_INIT;
	struct check_opts opts = CHECK_OPTS_INIT;
	struct pk_rng r;
	struct teller t = { .h = history_new(), .lie = lie };

	pk_rng_seed(&r, seed);
	g.seed = seed;
	g.operations = 3000;
	g.faults = faults;
	g.tell_transactions = seed % 2 == 0;
	t.at = pk_rng_below(&r, lie == LIE_EVENT_TYPE || lie == LIE_DONE ? 20 : 60);
	if (lie == LIE_SEQUENCE)
		t.at %= 5;
	gen_run(&g, tell, &t);
	opts.peer = peer;
	check_run(t.h, &opts, report);
	*told = t.told;
	history_free(t.h);
}

static void show(const struct check_report *r)
{
	for (uint32_t i = 0; i < r->list_count && i < 5; i++)
		print_message("%s: %s\n", check_rule_name(r->list[i].rule), r->list[i].text);
}

static void test_valid_histories_pass_with_faults_and_without(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		for (int kind = 0; kind < 4; kind++) {
			struct check_report report;
			bool told;
			run(seed, LIE_NONE, kind % 2 == 1,
			    kind < 2 ? CHECK_PADDOCK : CHECK_ZOOKEEPER, &report, &told);
			if (report.violations != 0) {
				show(&report);
				fail_msg("seed %d kind %d", (int)seed, kind);
			}
			assert_true(report.reads_judged > 1000);
			assert_true(report.writes_judged > 1000);
			assert_true(report.events_judged > 100);
			assert_int_equal(report.reads_unjudged, 0);
			check_report_release(&report);
		}
	}
}

static void test_no_single_lie_passes(void **state)
{
	(void)state;
	for (int lie = LIE_NONE + 1; lie < LIES; lie++) {
		int tried = 0;
		for (uint64_t seed = 1; seed <= SEEDS; seed++) {
			struct check_report report;
			bool told;
			run(seed, (enum lie)lie, false, CHECK_PADDOCK, &report, &told);
			if (told && report.violations == 0)
				fail_msg("the lie about %s of seed %d was believed", lie_names[lie],
					 (int)seed);
			tried += told;
			check_report_release(&report);
		}
		if (tried < (int)SEEDS / 2)
			fail_msg("%s: told %d times only", lie_names[lie], tried);
	}
}

/* Where outcomes are unknown some lies could be true; few may be believed. */
static void test_few_lies_pass_among_faults(void **state)
{
	int tried = 0, believed = 0;

	(void)state;
	for (int lie = LIE_NONE + 1; lie < LIES; lie++) {
		for (uint64_t seed = 1; seed <= SEEDS / 2; seed++) {
			struct check_report report;
			bool told;
			run(seed, (enum lie)lie, true, CHECK_PADDOCK, &report, &told);
			tried += told;
			believed += told && report.violations == 0;
			check_report_release(&report);
		}
	}
	print_message("%d lies, %d believed\n", tried, believed);
	assert_true(tried > 200);
	assert_true(believed * 15 < tried);
}

static void test_zookeepers_reads_may_be_older_but_not_wrong(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= SEEDS / 2; seed++) {
		struct check_report report;
		bool told;
		run(seed, LIE_DATA, false, CHECK_ZOOKEEPER, &report, &told);
		assert_true(!told || report.violations > 0);
		check_report_release(&report);
		run(seed, LIE_VERSION, false, CHECK_ZOOKEEPER, &report, &told);
		assert_true(!told || report.violations > 0);
		check_report_release(&report);
	}
}

static void test_the_same_seed_gives_the_same_verdict(void **state)
{
	struct check_report a, b;
	bool told;

	(void)state;
	run(3, LIE_DATA, true, CHECK_PADDOCK, &a, &told);
	run(3, LIE_DATA, true, CHECK_PADDOCK, &b, &told);
	assert_int_equal(a.violations, b.violations);
	assert_true(a.list_count > 0);
	assert_string_equal(a.list[0].text, b.list[0].text);
	check_report_release(&a);
	check_report_release(&b);
}

static void test_an_empty_history_is_valid_and_hollow(void **state)
{
	struct history *h = history_new();
	struct check_opts opts = CHECK_OPTS_INIT;
	struct check_report report;

	(void)state;
	check_run(h, &opts, &report);
	assert_int_equal(report.violations, 0);
	for (int i = 0; i < CHECK_RULES; i++)
		assert_int_equal(report.judged[i], 0);
	check_report_release(&report);
	history_free(h);
}

static void test_the_page_has_every_rule_with_its_sentence(void **state)
{
	struct pk_buf page = PK_BUF_INIT;
	struct pk_err err = PK_ERR_INIT;

	(void)state;
	if (pk_file_read("docs/consistency.md", 1 << 20, &page, &err) != 0)
		fail_msg("%s", err.text);
	for (int i = 0; i < CHECK_RULES; i++) {
		char row[300];
		assert_true(snprintf(row, sizeof(row), "| `%s` | %s |",
				     check_rule_name((enum check_rule)i),
				     check_rule_text((enum check_rule)i)) < (int)sizeof(row));
		if (strstr(pk_buf_str(&page), row) == NULL)
			fail_msg("docs/consistency.md lacks: %s", row);
	}
	pk_buf_release(&page);
}

/* ---- EDN: read back by the grammar that Jepsen's reader has for it ---- */

struct edn_op {
	uint64_t index;
	int64_t time;
	uint32_t process;
	char type[8], f[8];
	bool nil;
	char value[64];
};

/* One map of a register's history; false at the end. Fails the test where it is none. */
static bool edn_next(const char **at, struct edn_op *o)
{
	int used = 0;
	unsigned long long index;
	long long time;

	if (**at == 0)
		return false;
	if (sscanf(*at, "{:index %llu :time %lld :process %u :type :%7[a-z] :f :%7[a-z] :value %n",
		   &index, &time, &o->process, o->type, o->f, &used) != 5 ||
	    used == 0)
		fail_msg("no map: %.80s", *at);
	o->index = index;
	o->time = time;
	*at += used;
	o->nil = strncmp(*at, "nil", 3) == 0;
	if (o->nil) {
		*at += 3;
	} else {
		size_t n = 0;
		assert_int_equal(**at, '"');
		for (++*at; **at != '"'; ++*at) {
			assert_true(**at != 0 && **at != '\n' && n + 1 < sizeof(o->value));
			if (**at == '\\')
				++*at;
			o->value[n++] = **at;
		}
		o->value[n] = 0;
		++*at;
	}
	assert_int_equal(strncmp(*at, "}\n", 2), 0);
	*at += 2;
	return true;
}

static void into(void *arg, const struct hist_event *e)
{
	struct pk_err err = PK_ERR_INIT;

	assert_int_equal(history_add(arg, e, &err), 0);
}

static void test_edn_is_a_history_that_knossos_can_read(void **state)
{
	struct gen_opts g = GEN_OPTS_INIT;
	struct history *h = history_new();
	struct pk_buf out = PK_BUF_INIT;
	struct pk_err err = PK_ERR_INIT;
	struct edn_counts counts;
	struct edn_op o;
	uint64_t lines = 0, invokes = 0, infos = 0;
	int64_t last = 0;
	enum { FREE, BUSY, GONE } state_of[4096] = { FREE };

	(void)state;
	g.operations = 5000;
	g.keys = 4;
	gen_run(&g, into, h);
	assert_int_equal(edn_write(h, EDN_REGISTER, pk_bytes_str("/t/r/k1"), &out, &counts, &err),
			 0);
	for (const char *at = pk_buf_str(&out); edn_next(&at, &o);) {
		assert_int_equal(o.index, lines);
		assert_true(o.time >= last && o.process < PK_COUNT(state_of));
		assert_true(strcmp(o.f, "read") == 0 || strcmp(o.f, "write") == 0);
		if (strcmp(o.type, "invoke") == 0) {
			assert_int_equal(state_of[o.process], FREE);
			state_of[o.process] = BUSY;
			assert_true(strcmp(o.f, "write") == 0 || o.nil);
			invokes++;
		} else {
			assert_int_equal(state_of[o.process], BUSY);
			bool info = strcmp(o.type, "info") == 0;
			assert_true(info || strcmp(o.type, "ok") == 0 ||
				    strcmp(o.type, "fail") == 0);
			state_of[o.process] = info ? GONE : FREE;
			infos += info;
		}
		last = o.time;
		lines++;
	}
	assert_int_equal(invokes, counts.operations);
	assert_int_equal(lines, 2 * invokes);
	assert_true(invokes > 100 && infos > 0);
	assert_int_equal(edn_write(h, EDN_REGISTER, pk_bytes_str("/none"), &out, &counts, &err),
			 PK_ENOENT);
	pk_buf_clear(&out);
	assert_int_equal(edn_write(h, EDN_RW_REGISTER, PK_BYTES_NONE, &out, &counts, &err), 0);
	assert_non_null(strstr(pk_buf_str(&out), ":f :txn :value [[:w \"/t/r/k1\" "));
	pk_buf_release(&out);
	history_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_valid_histories_pass_with_faults_and_without),
		cmocka_unit_test(test_no_single_lie_passes),
		cmocka_unit_test(test_few_lies_pass_among_faults),
		cmocka_unit_test(test_zookeepers_reads_may_be_older_but_not_wrong),
		cmocka_unit_test(test_the_same_seed_gives_the_same_verdict),
		cmocka_unit_test(test_an_empty_history_is_valid_and_hollow),
		cmocka_unit_test(test_the_page_has_every_rule_with_its_sentence),
		cmocka_unit_test(test_edn_is_a_history_that_knossos_can_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
