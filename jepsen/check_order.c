#include <inttypes.h>

#include "jepsen/check_int.h"

/*
 * What needs no tree: real time against zxids, each client's own order, sessions and the clock.
 */

struct order {
	struct check *c;
	uint32_t *last_done; /* by process: the operation answered last, NONE */
	int64_t *last_write; /* by process: the highest zxid of an answer of its present session */
	uint32_t *session;   /* and that session */
};

static void judge_write(struct order *o, uint32_t i)
{
	struct check *c = o->c;

	if (!check_verdict(c->h->ops.at[i].err))
		return;
	check_judged(c, CHECK_WRITE_ORDER);
	if (c->zxids[i] <= c->floors[i])
		check_bad_op(c, CHECK_WRITE_ORDER, i,
			     "zxid %#" PRIx64 " had been told before this was asked for",
			     (uint64_t)c->floors[i]);
}

static void judge_session(struct order *o, uint32_t i)
{
	struct check *c = o->c;
	const struct hop *op = &c->h->ops.at[i];
	struct csession *s = &c->sessions[op->session];
	int64_t zxid = c->zxids[i];

	check_judged(c, CHECK_ZXID_MONOTONIC);
	if (zxid < s->order_zxid)
		check_bad_op(c, CHECK_ZXID_MONOTONIC, i, "the session had seen %#" PRIx64,
			     (uint64_t)s->order_zxid);
	if (s->sync_need > 0 && op->op != ZK_OP_SYNC) {
		check_judged(c, CHECK_SYNC);
		if (zxid < s->sync_need)
			check_bad_op(c, CHECK_SYNC, i,
				     "%#" PRIx64 " was acknowledged before the sync was sent",
				     (uint64_t)s->sync_need);
	}
	if (op->op == ZK_OP_SYNC && op->status == HOP_OK) {
		if (c->opts.peer == CHECK_PADDOCK) {
			check_judged(c, CHECK_SYNC);
			if (zxid < c->floors[i])
				check_bad_op(c, CHECK_SYNC, i,
					     "%#" PRIx64
					     " was acknowledged before the sync was sent",
					     (uint64_t)c->floors[i]);
		}
		if (c->floors[i] > s->sync_need)
			s->sync_need = c->floors[i];
	}
}

/* Answers come in the order of the requests, and a write is later than all that was answered. */
static void judge_fifo(struct order *o, uint32_t i)
{
	struct check *c = o->c;
	const struct hop *op = &c->h->ops.at[i];
	uint32_t p = op->process;
	unsigned need = HIST_CLIENT_FIFO | HIST_CLIENT_ORDERED;

	if ((c->h->procs.at[p]->flags & need) != need)
		return;
	check_judged(c, CHECK_FIFO);
	if (o->last_done[p] != NONE && i < o->last_done[p])
		check_bad_op(c, CHECK_FIFO, i, "a later request was answered before it");
	else
		o->last_done[p] = i;
	if (o->session[p] != op->session) {
		o->session[p] = op->session;
		o->last_write[p] = 0;
	}
	if (check_is_write(op->op) && check_verdict(op->err) && c->zxids[i] <= o->last_write[p] &&
	    c->opts.peer == CHECK_PADDOCK)
		check_bad_op(c, CHECK_FIFO, i,
			     "an earlier request of this client was answered with %#" PRIx64,
			     (uint64_t)o->last_write[p]);
	if (c->zxids[i] > o->last_write[p])
		o->last_write[p] = c->zxids[i];
}

static void judge_done(struct order *o, uint32_t i)
{
	struct check *c = o->c;
	const struct hop *op = &c->h->ops.at[i];

	if (op->op == ZK_OP_AUTH || op->op == ZK_OP_SASL || c->zxids[i] <= 0)
		return;
	if (op->session != NONE)
		judge_session(o, i);
	judge_fifo(o, i);
	if (c->los != NULL && op->session != NONE)
		c->los[i] = c->sessions[op->session].order_zxid;
	if (check_is_write(op->op))
		judge_write(o, i);
	if (op->session != NONE && c->zxids[i] > c->sessions[op->session].order_zxid)
		c->sessions[op->session].order_zxid = c->zxids[i];
}

/* It ended: was it heard within its timeout? Who asked for the end has no claim. */
static void judge_early(struct check *c, uint32_t session, uint32_t process, int64_t ended_ns)
{
	const struct csession *s = &c->sessions[session];

	if (s->timeout_ns == 0 || s->close_asked || s->close_floor != INT64_MAX ||
	    s->close_answered || s->heard_ns == 0)
		return;
	check_judged(c, CHECK_SESSION_EARLY);
	int64_t silent_ns = ended_ns - s->heard_ns;
	if (silent_ns < check_least_silence(c, s))
		check_bad(c, CHECK_SESSION_EARLY, process, ended_ns, s->end_zxid,
			  "session %#" PRIx64 " expired, at most %.3f s after the leader heard it "
			  "(its timeout is %.3f s)",
			  s->id, (double)silent_ns / 1e9, (double)s->timeout_ns / 1e9);
}

static void judge_expired(struct check *c, const struct hstate *e)
{
	c->report->sessions_ended++;
	if (c->sessions[e->session].end_ns == 0) /* else the log tells it better */
		judge_early(c, e->session, c->h->procs.at[e->process]->id, e->time_ns);
}

/* A session that was ended exactly there takes no part in anything later. */
static void judge_ended(struct check *c)
{
	for (uint32_t i = 0; i < c->h->sessions.count; i++) {
		struct csession *s = &c->sessions[i];
		if (s->end_zxid == 0)
			continue;
		c->report->sessions_ended += s->expired_ns == INT64_MAX;
		if (s->end_ns != 0)
			judge_early(c, i, UINT32_MAX, s->end_ns);
		if (s->gone_zxid == INT64_MAX && s->late_zxid == INT64_MAX)
			continue;
		check_judged(c, CHECK_SESSION_LATE);
		if (s->end_zxid > s->gone_zxid || s->end_zxid > s->late_zxid)
			check_bad(c, CHECK_SESSION_LATE, UINT32_MAX, 0, s->end_zxid,
				  "session %#" PRIx64 " ended at zxid %#" PRIx64
				  ", later than it was due (by %#" PRIx64 ")",
				  s->id, (uint64_t)s->end_zxid,
				  (uint64_t)(s->gone_zxid < s->late_zxid ? s->gone_zxid
									 : s->late_zxid));
	}
}

static void judge_unique(struct check *c)
{
	for (uint32_t i = 0; i < c->known_count; i++) {
		if (c->known[i].val >= NONE - 1)
			continue;
		check_judged(c, CHECK_ZXID_UNIQUE);
		if (i > 0 && c->known[i - 1].key == c->known[i].key)
			check_bad_op(c, CHECK_ZXID_UNIQUE, c->known[i].val,
				     "another transaction has this zxid");
	}
}

void check_order(struct check *c)
{
	const struct history *h = c->h;
	uint32_t procs = h->procs.count + 1;
	struct order o = { .c = c,
			   .last_done = pk_alloc(procs * sizeof(uint32_t)),
			   .last_write = pk_alloc(procs * sizeof(int64_t)),
			   .session = pk_alloc(procs * sizeof(uint32_t)) };

	if (c->opts.peer == CHECK_ZOOKEEPER)
		c->los = pk_alloc((h->ops.count + 1) * sizeof(*c->los));
	memset(o.last_done, 0xff, procs * sizeof(uint32_t));
	memset(o.session, 0xff, procs * sizeof(uint32_t));
	for (uint32_t i = 0; i < h->items.count; i++) {
		const struct hist_item *item = &h->items.at[i];
		if (item->type == ITEM_DONE)
			judge_done(&o, item->index);
		else if (item->type == ITEM_SESSION &&
			 h->states.at[item->index].state == HIST_EXPIRED)
			judge_expired(c, &h->states.at[item->index]);
	}
	judge_unique(c);
	judge_ended(c);
	free(o.last_done);
	free(o.last_write);
	free(o.session);
}
