#include "jepsen/check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "jepsen/check_int.h"

/* Preparation, the walks one after the other, and digests. */

#define NS_PER_MS  1000000
#define RADIX_BITS 11u

void check_sort(struct sort_item *items, size_t count)
{
	enum { BUCKETS = 1 << RADIX_BITS };
	struct sort_item *spare = pk_alloc((count + 1) * sizeof(*spare)), *from = items,
			 *to = spare;
	size_t *starts = pk_alloc(BUCKETS * sizeof(*starts));
	uint64_t all_or = 0, all_and = UINT64_MAX;

	for (size_t i = 0; i < count; i++) {
		all_or |= items[i].key;
		all_and &= items[i].key;
	}
	for (unsigned shift = 0; shift < 64; shift += RADIX_BITS) {
		if ((((all_or ^ all_and) >> shift) & (BUCKETS - 1)) == 0)
			continue; /* all the same there */
		memset(starts, 0, BUCKETS * sizeof(*starts));
		for (size_t i = 0; i < count; i++)
			starts[(from[i].key >> shift) & (BUCKETS - 1)]++;
		size_t sum = 0;
		for (size_t b = 0; b < BUCKETS; b++) {
			size_t n = starts[b];
			starts[b] = sum;
			sum += n;
		}
		for (size_t i = 0; i < count; i++)
			to[starts[(from[i].key >> shift) & (BUCKETS - 1)]++] = from[i];
		struct sort_item *swap = from;
		from = to;
		to = swap;
	}
	if (from != items)
		memcpy(items, from, count * sizeof(*items));
	free(spare);
	free(starts);
}

/* ---- telling ---- */

static void add_violation(struct check *c, enum check_rule rule, uint32_t process, int64_t time_ns,
			  int64_t zxid, char *text)
{
	struct check_report *r = c->report;

	r->violations++;
	r->by_rule[rule]++;
	if (r->list_count >= c->opts.violations_max) {
		free(text);
		return;
	}
	r->list = pk_realloc(r->list, (r->list_count + 1) * sizeof(*r->list));
	r->list[r->list_count++] = (struct check_violation){ rule, process, time_ns, zxid, text };
}

void check_bad(struct check *c, enum check_rule rule, uint32_t process, int64_t time_ns,
	       int64_t zxid, const char *fmt, ...)
{
	char *text;
	va_list args;

	va_start(args, fmt);
	int n = vasprintf(&text, fmt, args);
	va_end(args);
	PK_ASSERT(n >= 0);
	add_violation(c, rule, process, time_ns, zxid, text);
}

static void put_value(struct pk_buf *b, const struct history *h, const struct hop *op)
{
	if (op->data != NONE)
		pk_buf_printf(b, " \"%.*s\"", (int)op->data_bytes, h->blobs.data + op->data + 4);
	else if (op->data_hash != 0)
		pk_buf_printf(b, " (%" PRIu32 " bytes, hash %#" PRIx64 ")", op->data_bytes,
			      op->data_hash);
}

static void put_op(struct pk_buf *b, const struct check *c, const struct hop *op)
{
	const struct history *h = c->h;
	const char *name = zk_opcode_name(op->op);
	struct pk_bytes path = hist_path(h, op->path);

	pk_buf_printf(b, "%s %.*s", name != NULL ? name : "?", (int)path.len, path.data);
	put_value(b, h, op);
	if (op->op == ZK_OP_SET_DATA || op->op == ZK_OP_DELETE || op->op == ZK_OP_CHECK)
		pk_buf_printf(b, " version %" PRId32, op->version);
}

void check_bad_op(struct check *c, enum check_rule rule, uint32_t index, const char *fmt, ...)
{
	const struct hop *op = &c->h->ops.at[index];
	struct pk_buf b = PK_BUF_INIT;
	va_list args;
	char *why;

	va_start(args, fmt);
	int n = vasprintf(&why, fmt, args);
	va_end(args);
	PK_ASSERT(n >= 0);
	pk_buf_printf(&b, "process %" PRIu32, c->h->procs.at[op->process]->id);
	if (op->session != NONE)
		pk_buf_printf(&b, " session %#" PRIx64, c->sessions[op->session].id);
	if (op->server != 0)
		pk_buf_printf(&b, " server %u", op->server);
	pk_buf_printf(&b, " at %.6f s: ", (double)op->invoke_ns / 1e9);
	put_op(&b, c, op);
	if (op->status == HOP_OK || op->status == HOP_FAIL)
		pk_buf_printf(&b, " -> %s zxid %#" PRIx64, zk_error_name(op->err),
			      (uint64_t)c->zxids[index]);
	pk_buf_printf(&b, ": %s", why);
	free(why);
	add_violation(c, rule, c->h->procs.at[op->process]->id, op->invoke_ns, c->zxids[index],
		      pk_strdup(pk_buf_str(&b)));
	pk_buf_release(&b);
}

/* ---- questions ---- */

bool check_verdict(int32_t err)
{
	return err == ZK_OK || err == ZK_ENONODE || err == ZK_ENODEEXISTS ||
	       err == ZK_EBADVERSION || err == ZK_ENOTEMPTY || err == ZK_ENOAUTH ||
	       err == ZK_ENOCHILDRENFOREPHEMERALS;
}

bool check_is_write(int32_t op)
{
	return zk_opcode_class(op) == ZK_CLASS_WRITE;
}

int64_t check_zxid_after(const struct check *c, int64_t time_ns)
{
	uint32_t lo = 0, hi = c->asked_count;

	if (time_ns == INT64_MAX)
		return INT64_MAX;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		if ((int64_t)c->asked[mid].key < time_ns)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < c->asked_count ? c->least_after[lo] : INT64_MAX;
}

uint32_t check_known(const struct check *c, int64_t zxid)
{
	uint32_t lo = 0, hi = c->known_count;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		if ((int64_t)c->known[mid].key < zxid)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < c->known_count && (int64_t)c->known[lo].key == zxid ? c->known[lo].val : NONE;
}

int64_t check_fault_end(const struct check *c, int64_t from, int64_t to)
{
	int64_t end = from;

	for (uint32_t i = 0; i < c->h->faults.count; i++) {
		const struct hfault *f = &c->h->faults.at[i];
		if (f->begin_ns <= to && f->end_ns >= from && f->end_ns > end)
			end = f->end_ns;
	}
	return end;
}

int64_t check_least_silence(const struct check *c, const struct csession *s)
{
	return s->timeout_ns - s->timeout_ns / 3 - c->opts.session_early_ms * NS_PER_MS;
}

/* ---- preparation ---- */

static int64_t zxid_of(const struct check *c, const struct hop *op)
{
	if (op->status != HOP_OK && op->status != HOP_FAIL)
		return 0;
	if (op->zxid > 0)
		return op->zxid;
	if (op->status == HOP_OK && op->stat != NONE) { /* a library that hides it, and a stat */
		const struct zk_stat *s = &c->h->stats.at[op->stat];
		if (op->op == ZK_OP_SET_DATA)
			return s->mzxid;
		if (op->op == ZK_OP_CREATE2 || op->op == ZK_OP_CREATE ||
		    op->op == ZK_OP_CREATE_CONTAINER || op->op == ZK_OP_CREATE_TTL)
			return s->czxid;
	}
	return 0;
}

static bool answered_write(const struct check *c, uint32_t i)
{
	const struct hop *op = &c->h->ops.at[i];

	return check_is_write(op->op) && c->zxids[i] > 0 && check_verdict(op->err);
}

static void find_zxids(struct check *c)
{
	const struct history *h = c->h;
	uint32_t n = 0;

	c->zxids = pk_alloc((h->ops.count + 1) * sizeof(*c->zxids));
	for (uint32_t i = 0; i < h->ops.count; i++) {
		c->zxids[i] = zxid_of(c, &h->ops.at[i]);
		n += answered_write(c, i);
	}
	c->known = pk_alloc((n + h->txns.count + 1) * sizeof(*c->known));
	for (uint32_t i = 0; i < h->ops.count; i++)
		if (answered_write(c, i))
			c->known[c->known_count++] = (struct sort_item){ (uint64_t)c->zxids[i], i };
	c->report->zxids = c->known_count;
	for (uint32_t i = 0; i < h->txns.count; i++)
		c->known[c->known_count++] = (struct sort_item){ (uint64_t)h->txns.at[i].zxid,
								 NONE - 1 };
	check_sort(c->known, c->known_count);
	for (uint32_t i = 1; i < c->known_count; i++) {
		uint64_t a = c->known[i - 1].key, b = c->known[i].key;
		if (a >> 32 == b >> 32 && b > a)
			c->report->gaps += b - a - 1;
	}
}

static bool outcome_unknown(const struct hop *op)
{
	return check_is_write(op->op) && op->session != NONE && op->xid != 0 &&
	       (op->status == HOP_OPEN || op->status == HOP_INFO);
}

static uint64_t request_key(uint32_t session, int32_t xid)
{
	return (uint64_t)session << 32 | (uint32_t)xid;
}

/* What the log says of writes that nobody was told of. */
static void find_fates(struct check *c)
{
	const struct history *h = c->h;
	struct sort_item *open = pk_alloc((h->ops.count + 1) * sizeof(*open));
	uint32_t count = 0;

	c->fates = pk_alloc((h->ops.count + 1) * sizeof(*c->fates));
	c->fate_of_txn = pk_alloc((h->txns.count + 1) * sizeof(*c->fate_of_txn));
	for (uint32_t i = 0; i < h->ops.count; i++) {
		const struct hop *op = &h->ops.at[i];
		if (!outcome_unknown(op))
			continue;
		open[count++] = (struct sort_item){ request_key(op->session, op->xid), i };
		c->fates[i] = h->log_told ? FATE_NEVER : 0;
	}
	check_sort(open, count);
	for (uint32_t i = 0; i < h->txns.count; i++) {
		const struct htxn *t = &h->txns.at[i];
		uint64_t key = request_key(t->session, t->xid);
		uint32_t low = 0, high = count;
		c->fate_of_txn[i] = NONE;
		while (low < high) {
			uint32_t mid = low + (high - low) / 2;
			if (open[mid].key < key)
				low = mid + 1;
			else
				high = mid;
		}
		if (t->session == NONE || t->xid == 0 || low == count || open[low].key != key ||
		    h->ops.at[open[low].val].op != t->op)
			continue;
		uint32_t op = open[low].val;
		c->fate_of_txn[i] = op;
		if (c->fates[op] > 0)
			check_bad_op(c, CHECK_WRITE_RESULT, op,
				     "it was done at zxid %#" PRIx64 ", and again at %#" PRIx64,
				     (uint64_t)c->fates[op], (uint64_t)t->zxid);
		c->fates[op] = t->zxid;
	}
	free(open);
}

/* floors[i]: the highest zxid that anybody had been told before operation i was asked for. */
static void find_floors(struct check *c)
{
	const struct history *h = c->h;
	struct sort_item *done = pk_alloc((h->ops.count + 1) * sizeof(*done));
	struct sort_item *asked = pk_alloc((h->ops.count + 1) * sizeof(*asked));
	uint32_t done_count = 0, asked_count = 0;
	int64_t most = 0;

	for (uint32_t i = 0; i < h->ops.count; i++) {
		const struct hop *op = &h->ops.at[i];
		if (c->zxids[i] > 0)
			done[done_count++] = (struct sort_item){ (uint64_t)op->done_ns, i };
		if (check_is_write(op->op) || op->op == ZK_OP_SYNC)
			asked[asked_count++] = (struct sort_item){ (uint64_t)op->invoke_ns, i };
	}
	check_sort(done, done_count);
	check_sort(asked, asked_count);
	c->floors = pk_alloc((h->ops.count + 1) * sizeof(*c->floors));
	uint32_t d = 0;
	for (uint32_t i = 0; i < asked_count; i++) {
		while (d < done_count && done[d].key < asked[i].key) {
			if (c->zxids[done[d].val] > most)
				most = c->zxids[done[d].val];
			d++;
		}
		c->floors[asked[i].val] = most;
	}
	free(done);
	/* of them the answered writes, for check_zxid_after */
	for (uint32_t i = 0; i < asked_count; i++)
		if (answered_write(c, asked[i].val))
			asked[c->asked_count++] = asked[i];
	c->asked = asked;
	c->least_after = pk_alloc((c->asked_count + 1) * sizeof(*c->least_after));
	int64_t least = INT64_MAX;
	for (uint32_t i = c->asked_count; i-- > 0;) {
		if (c->zxids[asked[i].val] < least)
			least = c->zxids[asked[i].val];
		c->least_after[i] = least;
	}
}

static void session_done(struct check *c, uint32_t i)
{
	const struct hop *op = &c->h->ops.at[i];
	struct csession *s = &c->sessions[op->session];

	if (c->zxids[i] > s->last_ack)
		s->last_ack = c->zxids[i];
	/* Only what it wrote was surely heard by the leader (many may share a sync). */
	bool heard = c->zxids[i] > 0 && op->status == HOP_OK && check_is_write(op->op);
	if (heard && op->invoke_ns > s->heard_ns)
		s->heard_ns = op->invoke_ns;
	if (op->op == ZK_OP_CLOSE_SESSION && op->status == HOP_OK) {
		s->close_answered = true;
		if (c->zxids[i] > 0)
			s->end_zxid = c->zxids[i];
	}
}

static void session_state(struct check *c, const struct hstate *e)
{
	struct csession *s = &c->sessions[e->session];
	int64_t timeout_ns = (int64_t)e->timeout_ms * NS_PER_MS;

	switch ((enum hist_state)e->state) {
	case HIST_CONNECTED:
		if (timeout_ns > 0 && (s->timeout_ns == 0 || timeout_ns < s->timeout_ns))
			s->timeout_ns = timeout_ns;
		break;
	case HIST_EXPIRED:
	case HIST_CLOSED:
		if (e->time_ns < s->expired_ns)
			s->expired_ns = e->time_ns;
		if (e->state == HIST_CLOSED && s->end_zxid == 0 && s->close_floor == INT64_MAX)
			s->close_floor = s->last_ack;
		break;
	case HIST_ABANDONED:
		s->silent_ns = e->time_ns;
		break;
	case HIST_DISCONNECTED:
	case HIST_STATE_NONE:
	case HIST_STATES:
		break;
	}
}

/* When a session that went silent must be gone: faults stop the clock, and it starts anew. */
static int64_t late_ns(const struct check *c, const struct csession *s)
{
	int64_t from = s->silent_ns;

	if (from == INT64_MAX || s->timeout_ns == 0)
		return INT64_MAX;
	for (;;) {
		int64_t due = from + s->timeout_ns + c->opts.session_late_ms * NS_PER_MS;
		int64_t end = check_fault_end(c, from, due);
		if (end == INT64_MAX)
			return INT64_MAX;
		if (end <= from)
			return due;
		from = end;
	}
}

static void find_sessions(struct check *c)
{
	const struct history *h = c->h;

	c->sessions = pk_alloc((h->sessions.count + 1) * sizeof(*c->sessions));
	for (uint32_t i = 0; i < h->sessions.count; i++)
		c->sessions[i] = (struct csession){ .id = h->sessions.at[i]->id,
						    .silent_ns = INT64_MAX,
						    .expired_ns = INT64_MAX,
						    .close_floor = INT64_MAX,
						    .gone_zxid = INT64_MAX,
						    .late_zxid = INT64_MAX,
						    .ephemerals = NONE };
	for (uint32_t i = 0; i < h->items.count; i++) {
		const struct hist_item *item = &h->items.at[i];
		if (item->type == ITEM_DONE && h->ops.at[item->index].session != NONE)
			session_done(c, item->index);
		else if (item->type == ITEM_SESSION)
			session_state(c, &h->states.at[item->index]);
	}
	for (uint32_t i = 0; i < h->txns.count; i++) {
		const struct htxn *t = &h->txns.at[i];
		if (t->op == ZK_OP_CLOSE_SESSION && t->session != NONE) {
			c->sessions[t->session].end_zxid = t->zxid;
			c->sessions[t->session].end_ns = t->time_ns;
		}
	}
	for (uint32_t i = 0; i < h->ops.count; i++) { /* asked to end, and we do not know */
		const struct hop *op = &h->ops.at[i];
		if (op->op != ZK_OP_CLOSE_SESSION || op->session == NONE || op->status == HOP_FAIL)
			continue;
		c->sessions[op->session].close_asked = true;
		if (c->sessions[op->session].end_zxid != 0)
			continue;
		if (c->floors[i] < c->sessions[op->session].close_floor)
			c->sessions[op->session].close_floor = c->floors[i];
	}
	for (uint32_t i = 0; i < h->sessions.count; i++) {
		struct csession *s = &c->sessions[i];
		s->gone_zxid = check_zxid_after(c, s->expired_ns);
		s->late_zxid = check_zxid_after(c, late_ns(c, s));
	}
	c->report->sessions = h->sessions.count;
}

/* Whose requests carry which identities: what an auth gave counts for all that its process asks
 * later, as libraries send it again on each connection. */
static void find_identities(struct check *c)
{
	const struct history *h = c->h;

	c->who = pk_alloc((h->procs.count + 1) * sizeof(*c->who));
	for (uint32_t i = 0; i < h->ops.count; i++) {
		const struct hop *op = &h->ops.at[i];
		struct who *w = &c->who[op->process];
		if (op->op != ZK_OP_AUTH && op->op != ZK_OP_SASL)
			continue;
		if (op->status == HOP_FAIL)
			continue;
		if (op->status != HOP_OK || op->acl == NONE || w->count == PK_COUNT(w->ids)) {
			w->unsure = true;
			continue;
		}
		w->ids[w->count] = op->acl;
		w->ops[w->count++] = i;
		w->super |= pk_bytes_starts(hist_text(h, op->acl), pk_bytes_str("super:"));
	}
}

static void count_operations(struct check *c)
{
	struct check_report *r = c->report;
	const struct history *h = c->h;

	r->operations = h->ops.count;
	r->faults = h->faults.count;
	r->events = h->watches.count;
	int64_t first = INT64_MAX;
	for (uint32_t i = 0; i < h->ops.count; i++) {
		const struct hop *op = &h->ops.at[i];
		bool write = check_is_write(op->op);
		if (op->invoke_ns < first)
			first = op->invoke_ns;
		if (op->status == HOP_OPEN || op->status == HOP_INFO)
			r->unknown += write;
		else if (write)
			r->writes++;
		else if (zk_opcode_class(op->op) == ZK_CLASS_READ)
			r->reads++;
	}
	r->span_ns = first == INT64_MAX ? 0 : h->last_ns - first;
}

/* ---- digests ---- */

static void check_digests(struct check *c)
{
	const struct history *h = c->h;
	struct sort_item *items = pk_alloc((h->digests.count + 1) * sizeof(*items));
	uint32_t first = 0;

	for (uint32_t i = 0; i < h->digests.count; i++)
		items[i] = (struct sort_item){ (uint64_t)h->digests.at[i].zxid, i };
	check_sort(items, h->digests.count);
	for (uint32_t i = 0; i < h->digests.count; i++) {
		const struct hdigest *b = &h->digests.at[items[i].val];
		if (items[i].key != items[first].key)
			first = i;
		for (uint32_t k = first; k < i; k++) {
			const struct hdigest *a = &h->digests.at[items[k].val];
			if (a->name != b->name)
				continue;
			check_judged(c, CHECK_DIGEST);
			if (a->digest != b->digest)
				check_bad(c, CHECK_DIGEST, UINT32_MAX, 0, b->zxid,
					  "at zxid %#" PRIx64 " server %" PRIu32
					  " has digest %#" PRIx64 " and server %" PRIu32
					  " has %#" PRIx64,
					  (uint64_t)b->zxid, a->server, a->digest, b->server,
					  b->digest);
			break; /* each with the first of its name: equality carries over */
		}
	}
	free(items);
}

/* ---- all of it ---- */

void check_run(const struct history *h, const struct check_opts *opts, struct check_report *out)
{
	struct check *c = pk_alloc(sizeof(*c));

	*out = (struct check_report){ 0 };
	c->h = h;
	c->opts = *opts;
	c->report = out;
	c->acl_open = htext_find(&h->texts, pk_bytes_str("31 world:anyone\n"));
	find_zxids(c);
	find_floors(c);
	find_sessions(c);
	find_identities(c);
	find_fates(c);
	count_operations(c);
	check_order(c);
	check_model(c);
	check_watches(c);
	check_digests(c);
	free(c->zxids);
	free(c->fates);
	free(c->fate_of_txn);
	free(c->floors);
	free(c->los);
	free(c->sessions);
	free(c->nodes);
	free(c->cands.at);
	free(c->versions.at);
	free(c->changes.at);
	free(c->kid_changes.at);
	free(c->asked);
	free(c->least_after);
	free(c->known);
	free(c->who);
	free(c);
}
