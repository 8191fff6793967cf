#include "jepsen/rules.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <uthash.h>

#include "base/mem.h"
#include "jepsen/workload.h"

#define TEXT_BYTES      256
#define SEQUENCE_DIGITS 10
#define NUMBER_DIGITS   18

enum rule { BANK_TOTAL, LOCK_ORDER, ELECTION_ORDER, QUEUE_ONCE, COUNTER_GAPS, RULES };

static const char *const rule_names[RULES] = {
	[BANK_TOTAL] = "bank-total",         [LOCK_ORDER] = "lock-order",
	[ELECTION_ORDER] = "election-order", [QUEUE_ONCE] = "queue-once",
	[COUNTER_GAPS] = "counter-gaps",
};

/* A node's value at the zxid that wrote it, as somebody wrote or saw it. */
struct fact {
	int64_t mzxid, value;
};

struct facts {
	struct fact *items; /* owned */
	size_t count, cap;
};

/* What is known of one path. */
struct about {
	UT_hash_handle hh;
	uint64_t made, taken, maybe_taken; /* queue: creates and deletes */
	uint64_t dumps;                    /* in how many dumps it is */
	uint64_t children, highest;        /* sequence folders, of the last dump that has it */
	bool highest_known;
	char path[];
};

struct rules {
	struct rule_result results[RULES];
	char texts[RULES][TEXT_BYTES];
	struct facts fences, epochs;
	struct about *paths;  /* by path */
	struct about *claims; /* epochs, by their version as text */
	uint64_t counted, maybe_counted;
	int64_t counter_value, counter_version; /* of the last dump; -1: none */
	int64_t bank_sum;                       /* of the dump under way */
	uint64_t bank_nodes;
	uint64_t queue_dumps, sequence_dumps;
	bool judged;
};

static void broken(struct rules *r, enum rule rule, const char *fmt, ...) PK_PRINTF(3, 4);

static void broken(struct rules *r, enum rule rule, const char *fmt, ...)
{
	va_list args;

	if (r->results[rule].broken++ > 0)
		return;
	va_start(args, fmt);
	pk_ignore(vsnprintf(r->texts[rule], TEXT_BYTES, fmt, args), "a text that is cut will do");
	va_end(args);
}

static void fact_add(struct facts *f, int64_t mzxid, int64_t value)
{
	if (f->count == f->cap) {
		f->cap = f->cap == 0 ? 256 : 2 * f->cap;
		f->items = pk_realloc(f->items, f->cap * sizeof(*f->items));
	}
	f->items[f->count++] = (struct fact){ mzxid, value };
}

static struct about *about_of(struct about **table, struct pk_bytes path)
{
	struct about *a;

	HASH_FIND(hh, *table, path.data, path.len, a);
	if (a != NULL)
		return a;
	a = pk_alloc(sizeof(*a) + path.len + 1);
	memcpy(a->path, path.data, path.len);
	HASH_ADD(hh, *table, path, path.len, a);
	return a;
}

static void table_free(struct about **table)
{
	struct about *a, *next;

	HASH_ITER (hh, *table, a, next) {
		HASH_DEL(*table, a);
		free(a);
	}
}

struct rules *rules_new(void)
{
	struct rules *r = pk_alloc(sizeof(*r));

	for (int i = 0; i < RULES; i++)
		r->results[i] = (struct rule_result){ .name = rule_names[i], .first = r->texts[i] };
	r->counter_value = r->counter_version = -1;
	return r;
}

void rules_free(struct rules *r)
{
	table_free(&r->paths);
	table_free(&r->claims);
	free(r->fences.items);
	free(r->epochs.items);
	free(r);
}

/* -1: no number. */
static int64_t number_of(struct pk_bytes text)
{
	int64_t value = 0;
	bool minus = text.len > 1 && text.data[0] == '-';

	if (minus)
		text = pk_bytes(text.data + 1, text.len - 1);
	if (text.len == 0 || text.len > NUMBER_DIGITS)
		return -1;
	for (size_t i = 0; i < text.len; i++) {
		if (text.data[i] < '0' || text.data[i] > '9')
			return -1;
		value = value * 10 + (text.data[i] - '0');
	}
	return minus ? -value : value;
}

/* ---- bank ---- */

static void bank_judge(struct rules *r, int64_t sum, uint64_t accounts, const char *where,
		       int64_t zxid)
{
	r->results[BANK_TOTAL].checked++;
	if (accounts != WORKLOAD_BANK_COUNT || sum != WORKLOAD_BANK_COUNT * WORKLOAD_BANK_DEPOSIT)
		broken(r, BANK_TOTAL,
		       "%s at zxid %#" PRIx64 " shows %" PRId64 " in %" PRIu64
		       " accounts, there are %d in %d",
		       where, (uint64_t)zxid, sum, accounts,
		       WORKLOAD_BANK_COUNT * WORKLOAD_BANK_DEPOSIT, WORKLOAD_BANK_COUNT);
}

static void bank_event(struct rules *r, const struct hist_event *e, const struct hist_event *invoke)
{
	int64_t sum = 0;

	if (e->kind != HIST_OK || invoke->part.op != ZK_OP_MULTI_READ || invoke->part_count == 0 ||
	    !pk_bytes_starts(invoke->parts[0].path, pk_bytes_str("/bank/")))
		return;
	for (uint32_t i = 0; i < e->part_count; i++)
		sum += number_of(e->parts[i].data);
	bank_judge(r, sum, e->part_count, "a read", e->zxid);
}

/* ---- lock, election: numbers written under a fence ---- */

static struct facts *facts_of(struct rules *r, struct pk_bytes path)
{
	if (pk_bytes_is(path, "/fenced"))
		return &r->fences;
	return pk_bytes_is(path, "/election/work") ? &r->epochs : NULL;
}

static void fence_event(struct rules *r, const struct hist_event *e,
			const struct hist_event *invoke)
{
	struct facts *f;

	if (e->kind != HIST_OK)
		return;
	if (invoke->part.op == ZK_OP_GET_DATA && e->part.has_stat) {
		f = facts_of(r, invoke->part.path);
		if (f != NULL)
			fact_add(f, e->part.stat.mzxid, number_of(e->part.data));
	}
	for (uint32_t i = 0;
	     invoke->part.op == ZK_OP_MULTI && i < invoke->part_count && i < e->part_count; i++) {
		const struct hist_part *asked = &invoke->parts[i], *got = &e->parts[i];

		f = asked->op == ZK_OP_SET_DATA ? facts_of(r, asked->path) : NULL;
		if (f != NULL && got->op == ZK_OP_SET_DATA && got->has_stat)
			fact_add(f, got->stat.mzxid, number_of(asked->data));
	}
	if (invoke->part.op == ZK_OP_SET_DATA && e->part.has_stat &&
	    pk_bytes_is(invoke->part.path, "/election/epoch")) {
		char text[24];

		pk_ignore(snprintf(text, sizeof(text), "%" PRId32, e->part.stat.version),
			  "it fits");
		struct about *a = about_of(&r->claims, pk_bytes_str(text));

		r->results[ELECTION_ORDER].checked++;
		if (a->made++ > 0)
			broken(r, ELECTION_ORDER, "epoch %s was claimed twice", text);
	}
}

static int by_mzxid(const void *a, const void *b)
{
	const struct fact *x = a, *y = b;

	return x->mzxid < y->mzxid ? -1 : x->mzxid > y->mzxid;
}

static void facts_judge(struct rules *r, enum rule rule, struct facts *f)
{
	if (f->count > 0)
		qsort(f->items, f->count, sizeof(*f->items), by_mzxid);
	for (size_t i = 1; i < f->count; i++) {
		const struct fact *a = &f->items[i - 1], *b = &f->items[i];

		r->results[rule].checked++;
		if (b->value < a->value || (a->mzxid == b->mzxid && a->value != b->value))
			broken(r, rule,
			       "%" PRId64 " at zxid %#" PRIx64 ", then %" PRId64 " at %#" PRIx64,
			       a->value, (uint64_t)a->mzxid, b->value, (uint64_t)b->mzxid);
	}
}

/* ---- queue ---- */

static bool in_queue(struct pk_bytes path)
{
	return pk_bytes_starts(path, pk_bytes_str("/queue/"));
}

static void queue_event(struct rules *r, const struct hist_event *e,
			const struct hist_event *invoke)
{
	const struct hist_part *p = &invoke->part;

	if (!in_queue(p->path))
		return;
	if (e->kind == HIST_OK && e->part.created.data != NULL)
		about_of(&r->paths, e->part.created)->made++;
	if (p->op != ZK_OP_DELETE)
		return;
	struct about *a = about_of(&r->paths, p->path);

	if (e->kind == HIST_OK)
		a->taken++;
	else if (e->kind == HIST_INFO)
		a->maybe_taken++;
}

static void queue_judge(struct rules *r, const struct about *a)
{
	r->results[QUEUE_ONCE].checked++;
	if (a->taken > 1)
		broken(r, QUEUE_ONCE, "%s was taken %" PRIu64 " times", a->path, a->taken);
	else if (a->taken > 0 && a->dumps > 0)
		broken(r, QUEUE_ONCE, "%s was taken, and is there at the end", a->path);
	else if (a->made > 0 && a->taken == 0 && a->maybe_taken == 0 && a->dumps < r->queue_dumps)
		broken(r, QUEUE_ONCE,
		       "%s was put in and not taken, and is in %" PRIu64 " of %" PRIu64 " dumps",
		       a->path, a->dumps, r->queue_dumps);
}

/* ---- counter ---- */

static void counter_event(struct rules *r, const struct hist_event *e,
			  const struct hist_event *invoke)
{
	if (invoke->part.op != ZK_OP_SET_DATA || !pk_bytes_is(invoke->part.path, "/counter"))
		return;
	r->counted += e->kind == HIST_OK;
	r->maybe_counted += e->kind == HIST_INFO;
}

/* "/sequence/3/n-0000000012": counted under its folder. */
static void sequence_node(struct rules *r, struct pk_bytes path)
{
	size_t slash = path.len;
	int64_t number;
	struct about *a;

	while (slash > 0 && path.data[slash - 1] != '/')
		slash--;
	if (path.len < slash + SEQUENCE_DIGITS + 2)
		return;
	number = number_of(pk_bytes(path.data + path.len - SEQUENCE_DIGITS, SEQUENCE_DIGITS));
	a = about_of(&r->paths, pk_bytes(path.data, slash - 1));
	a->children++;
	if (number >= 0 && (!a->highest_known || (uint64_t)number > a->highest)) {
		a->highest = (uint64_t)number;
		a->highest_known = true;
	}
}

static void counter_judge(struct rules *r, const struct about *a)
{
	/* Children of all dumps together, which are equal or the checker says so. */
	uint64_t dumps = r->sequence_dumps;

	PK_ASSERT(dumps > 0); /* the children come from dumps */

	r->results[COUNTER_GAPS].checked++;
	if ((a->highest + 1) * dumps != a->children)
		broken(r, COUNTER_GAPS,
		       "%s has %" PRIu64 " nodes in %" PRIu64 " dumps, the highest is %" PRIu64,
		       a->path, a->children, dumps, a->highest);
}

static void counter_total_judge(struct rules *r)
{
	if (r->counter_value < 0)
		return;
	r->results[COUNTER_GAPS].checked++;
	if (r->counter_value != r->counter_version || (uint64_t)r->counter_value < r->counted ||
	    (uint64_t)r->counter_value > r->counted + r->maybe_counted)
		broken(r, COUNTER_GAPS,
		       "the counter is at %" PRId64 ", version %" PRId64 ", after %" PRIu64
		       " successes and %" PRIu64 " unknown outcomes",
		       r->counter_value, r->counter_version, r->counted, r->maybe_counted);
}

/* ---- dumps ---- */

static void bank_dump_end(struct rules *r)
{
	if (r->bank_nodes > 0)
		bank_judge(r, r->bank_sum, r->bank_nodes, "a dump", 0);
	r->bank_sum = 0;
	r->bank_nodes = 0;
}

static void dump_event(struct rules *r, const struct hist_event *e)
{
	struct pk_bytes path = e->part.path;

	if (e->kind == HIST_DUMP) {
		bank_dump_end(r);
		r->queue_dumps += pk_bytes_is(path, "/queue");
		r->sequence_dumps += pk_bytes_is(path, "/sequence");
		return;
	}
	if (pk_bytes_starts(path, pk_bytes_str("/bank/"))) {
		r->bank_nodes++;
		r->bank_sum += number_of(e->part.data);
	} else if (in_queue(path)) {
		about_of(&r->paths, path)->dumps++;
	} else if (pk_bytes_starts(path, pk_bytes_str("/sequence/"))) {
		sequence_node(r, path);
	} else if (pk_bytes_is(path, "/counter")) {
		r->counter_value = number_of(e->part.data);
		r->counter_version = e->part.stat.version;
	} else if (facts_of(r, path) != NULL) {
		fact_add(facts_of(r, path), e->part.stat.mzxid, number_of(e->part.data));
	}
}

void rules_event(struct rules *r, const struct hist_event *e, const struct hist_event *invoke)
{
	PK_ASSERT(!r->judged);
	if (e->kind == HIST_DUMP || e->kind == HIST_NODE)
		dump_event(r, e);
	if (invoke == NULL || (e->kind != HIST_OK && e->kind != HIST_FAIL && e->kind != HIST_INFO))
		return;
	bank_event(r, e, invoke);
	fence_event(r, e, invoke);
	queue_event(r, e, invoke);
	counter_event(r, e, invoke);
}

static void judge(struct rules *r)
{
	r->judged = true;
	bank_dump_end(r);
	facts_judge(r, LOCK_ORDER, &r->fences);
	facts_judge(r, ELECTION_ORDER, &r->epochs);
	for (struct about *a = r->paths; a != NULL; a = a->hh.next) {
		if (in_queue(pk_bytes_str(a->path)))
			queue_judge(r, a);
		else if (a->children > 0)
			counter_judge(r, a);
	}
	counter_total_judge(r);
}

bool rules_result(struct rules *r, size_t index, struct rule_result *out)
{
	if (!r->judged)
		judge(r);
	if (index >= RULES)
		return false;
	*out = r->results[index];
	return true;
}
