#include <inttypes.h>

#include "jepsen/check_int.h"

/*
 * Each client's watches against the changes that the walk by zxid found. A watch is armed by the
 * answer of the request that sets it; from then on every sure change of what it watches is due: its
 * event must have come before the first answer whose zxid is not below the change's. An event that
 * came must be of a change that is due to a watch that is armed.
 *
 * After a reconnect one-shot watches are due all that happened since (setWatches looks at the
 * node, so which event tells it is open, and a node that came and went again may be told or not);
 * persistent ones miss what happened meanwhile, as in ZooKeeper.
 */

struct armed {
	UT_hash_handle hh;
	struct armed_key {
		uint32_t session, path, kind;
	} key;
	int64_t from;    /* changes above it are told */
	int64_t must;    /* and those above this must be */
	bool absent;     /* set by exists of what was not there */
	bool away;       /* there was a reconnect since */
	bool maybe;      /* its event may have been told, or may still come */
	bool lone;       /* the client may have dropped it, the server has it: nothing is due */
	unsigned halves; /* of one that stays: removeWatches takes them one by one */
	uint32_t next;   /* of its list: the first change not told yet */
	HIST_VEC(uint32_t) told;    /* of persistent ones: later changes that were told already */
	HIST_VEC(uint32_t) excused; /* and those that an event came for that may be another's */
	uint32_t heap;              /* its entry there is of this generation */
	struct armed *of_session, *of_session_prev;
};

struct due {
	int64_t zxid;
	struct armed_key key; /* it may be gone by then, or be another: heap tells */
	uint32_t heap;
};

struct watcher { /* a session */
	HIST_VEC(struct due) heap;
	struct armed *armed;
	int64_t answered;  /* the highest zxid of an answer */
	int64_t last_told; /* zxid of the last event's change */
	int64_t ahead;     /* the highest zxid told of since the last answer */
	uint32_t generation;
	bool catching_up; /* connected again, nothing answered yet */
	bool connected;
	bool unplaced; /* it set a watch, and the answer had no zxid */
};

struct list {
	uint32_t first, count;
};

struct watching {
	struct check *c;
	struct watcher *watchers;
	struct armed *by_key;
	struct sort_item *own;   /* changes by path and zxid */
	struct sort_item *below; /* changes by watched root and zxid */
	struct list *own_of, *below_of;
	int64_t *next_zxid; /* by event: of the next answer on its connection, INT64_MAX */
};

/* ---- lists of changes ---- */

static struct list *list_up(struct check *c, struct sort_item *items, size_t count)
{
	struct list *lists = pk_alloc((c->h->paths.count + 1) * sizeof(*lists));
	struct sort_item *keyed = pk_alloc((count + 1) * sizeof(*keyed));

	/* by zxid, then by path: the sort is stable; key holds the path already */
	for (size_t i = 0; i < count; i++)
		keyed[i] = (struct sort_item){ (uint64_t)c->changes.at[items[i].val].hi,
					       (uint32_t)i };
	check_sort(keyed, count);
	for (size_t i = 0; i < count; i++)
		keyed[i] = items[keyed[i].val];
	check_sort(keyed, count);
	if (count > 0)
		memcpy(items, keyed, count * sizeof(*items));
	free(keyed);
	for (size_t i = 0; i < count; i++) {
		struct list *l = &lists[items[i].key];
		if (l->count++ == 0)
			l->first = (uint32_t)i;
	}
	return lists;
}

static void lists_make(struct watching *w)
{
	struct check *c = w->c;
	HIST_VEC(struct sort_item) below = { 0 };

	w->own = pk_alloc((c->changes.count + 1) * sizeof(*w->own));
	for (uint32_t i = 0; i < c->changes.count; i++) {
		const struct change *change = &c->changes.at[i];
		w->own[i] = (struct sort_item){ change->path, i };
		if (!c->recursive_watches || change->type == ZK_EVENT_CHILDREN_CHANGED)
			continue;
		for (uint32_t at = change->path; at != NONE; at = c->nodes[at].parent)
			if (c->nodes[at].watch_root)
				*HIST_PUSH(&below) = (struct sort_item){ at, i };
	}
	w->own_of = list_up(c, w->own, c->changes.count);
	w->below_of = list_up(c, below.at, below.count);
	w->below = below.at;
}

enum { HALF_DATA = 1, HALF_CHILD = 2, HALF_BOTH = 3 };

static bool fires(const struct armed *a, int32_t type)
{
	bool half = type == ZK_EVENT_DELETED            ? a->halves != 0
		    : type == ZK_EVENT_CHILDREN_CHANGED ? (a->halves & HALF_CHILD) != 0
							: (a->halves & HALF_DATA) != 0;

	switch (a->key.kind) {
	case HIST_WATCH_DATA:
		return type != ZK_EVENT_CHILDREN_CHANGED;
	case HIST_WATCH_CHILD:
		return type == ZK_EVENT_CHILDREN_CHANGED || type == ZK_EVENT_DELETED;
	case HIST_WATCH_PERSISTENT:
		return half;
	case HIST_WATCH_RECURSIVE:
		return half && type != ZK_EVENT_CHILDREN_CHANGED;
	default: /* there are no others */
		return false;
	}
}

static bool one_shot(const struct armed *a)
{
	return a->key.kind == HIST_WATCH_DATA || a->key.kind == HIST_WATCH_CHILD;
}

static const struct change *change_at(const struct watching *w, const struct armed *a, uint32_t i)
{
	bool below = a->key.kind == HIST_WATCH_RECURSIVE;
	struct list l = below ? w->below_of[a->key.path] : w->own_of[a->key.path];

	if (i >= l.count)
		return NULL;
	return &w->c->changes.at[(below ? w->below : w->own)[l.first + i].val];
}

/* The first change of its list above a zxid. */
static uint32_t list_after(const struct watching *w, const struct armed *a, int64_t zxid)
{
	struct list l = a->key.kind == HIST_WATCH_RECURSIVE ? w->below_of[a->key.path]
							    : w->own_of[a->key.path];
	uint32_t lo = 0, hi = l.count;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		if (change_at(w, a, mid)->hi <= zxid)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* ---- what is due ---- */

static void heap_swap(struct watcher *s, uint32_t a, uint32_t b)
{
	struct due d = s->heap.at[a];

	s->heap.at[a] = s->heap.at[b];
	s->heap.at[b] = d;
}

static void heap_push(struct watcher *s, int64_t zxid, struct armed *a)
{
	a->heap = ++s->generation;
	*HIST_PUSH(&s->heap) = (struct due){ zxid, a->key, a->heap };
	for (uint32_t i = s->heap.count - 1; i > 0;) {
		uint32_t up = (i - 1) / 2;
		if (s->heap.at[up].zxid <= s->heap.at[i].zxid)
			break;
		heap_swap(s, i, up);
		i = up;
	}
}

static void heap_pop(struct watcher *s)
{
	s->heap.at[0] = s->heap.at[--s->heap.count];
	for (uint32_t i = 0;;) {
		uint32_t least = i;
		for (uint32_t kid = 2 * i + 1; kid <= 2 * i + 2; kid++)
			if (kid < s->heap.count && s->heap.at[kid].zxid < s->heap.at[least].zxid)
				least = kid;
		if (least == i)
			return;
		heap_swap(s, i, least);
		i = least;
	}
}

static bool was_told(const struct armed *a, uint32_t i)
{
	for (uint32_t k = 0; k < a->told.count; k++)
		if (a->told.at[k] == i)
			return true;
	return false;
}

static bool was_excused(const struct armed *a, uint32_t i)
{
	for (uint32_t k = 0; k < a->excused.count; k++)
		if (a->excused.at[k] == i)
			return true;
	return false;
}

/* The next change that must be told. */
static const struct change *next_due(const struct watching *w, const struct armed *a, uint32_t *at)
{
	const struct change *change;

	for (uint32_t i = a->next; (change = change_at(w, a, i)) != NULL; i++) {
		if (!fires(a, change->type) || was_told(a, i) || was_excused(a, i))
			continue;
		/* It went with that, and the client may not hear of it. Behind a reconnect, too:
		 * whether before its watch was set again or after that is not known. */
		if (one_shot(a) && !change->open)
			return NULL;
		if (change->hi <= a->must)
			continue;
		*at = i;
		if (change->sure)
			return change;
	}
	return NULL;
}

/* Its next sure change becomes due. */
static void schedule(struct watching *w, struct armed *a)
{
	const struct change *change;
	uint32_t at;

	a->heap = 0;
	if ((a->away && !one_shot(a)) || a->maybe || a->lone)
		return; /* nothing is due until it is caught up */
	change = next_due(w, a, &at);
	if (change != NULL)
		heap_push(&w->watchers[a->key.session], change->hi, a);
}

static void disarm(struct watching *w, struct armed *a)
{
	struct watcher *s = &w->watchers[a->key.session];

	HASH_DEL(w->by_key, a);
	if (a->of_session_prev != NULL)
		a->of_session_prev->of_session = a->of_session;
	else
		s->armed = a->of_session;
	if (a->of_session != NULL)
		a->of_session->of_session_prev = a->of_session_prev;
	free(a->told.at);
	free(a->excused.at);
	free(a);
}

static struct armed *find(struct watching *w, uint32_t session, uint32_t path, uint32_t kind)
{
	struct armed_key key = { session, path, kind };
	struct armed *a;

	HASH_FIND(hh, w->by_key, &key, sizeof(key), a);
	return a;
}

static void disarm_all(struct watching *w, uint32_t session)
{
	while (w->watchers[session].armed != NULL)
		disarm(w, w->watchers[session].armed);
	w->watchers[session].heap.count = 0;
}

static void arm(struct watching *w, uint32_t op_index, const struct hop *op)
{
	struct check *c = w->c;
	struct watcher *s = &w->watchers[op->session];

	struct armed *a = find(w, op->session, op->path, op->watch);
	if (a != NULL && !one_shot(a) && a->halves == HALF_BOTH)
		return;
	if (a != NULL)
		disarm(w, a); /* it is there and whole, from here on, whatever was of it */
	if (op->watch == HIST_WATCH_PERSISTENT || op->watch == HIST_WATCH_RECURSIVE) {
		uint32_t other = HIST_WATCH_PERSISTENT + HIST_WATCH_RECURSIVE - op->watch;
		struct armed *old = find(w, op->session, op->path, other);
		if (old != NULL)
			disarm(w, old); /* addWatch changes what there is */
	}
	a = pk_alloc(sizeof(*a));
	a->key = (struct armed_key){ op->session, op->path, op->watch };
	a->must = c->zxids[op_index];
	a->from = c->los != NULL ? c->los[op_index] : a->must;
	a->absent = op->err == ZK_ENONODE;
	a->halves = HALF_BOTH;
	a->next = list_after(w, a, a->from);
	a->of_session = s->armed;
	if (s->armed != NULL)
		s->armed->of_session_prev = a;
	s->armed = a;
	HASH_ADD(hh, w->by_key, key, sizeof(a->key), a);
	schedule(w, a);
}

/* ---- an answer came ---- */

static enum check_rule rule_of(const struct armed *a)
{
	if (a->away)
		return CHECK_WATCH_RECONNECT;
	return one_shot(a) ? CHECK_WATCH_FIRST : CHECK_WATCH_PERSISTENT;
}

/* Is there a request of unknown outcome that may have deleted it above `from`, below `to`? */
static bool may_have_gone(const struct check *c, const struct node *n, int64_t from, int64_t to)
{
	if (n->s.there == THERE_YES && (n->s.known & K_CZXID) != 0 && n->s.czxid <= from &&
	    n->seen >= to)
		return false; /* it is there to the end, and was seen */
	for (uint32_t i = n->cands; i != NONE; i = c->cands.at[i].next) {
		const struct cand *k = &c->cands.at[i];
		/* one that was found out is a change; a part of a multi may have been written over
		 */
		if (k->kind == CAND_DELETE && (!k->used || k->sub != NONE) && k->floor < to &&
		    k->most > from)
			return true;
	}
	return false;
}

/* Came and went while the client was away, as far as is known: setWatches sees nothing. */
static bool passed_by(const struct watching *w, const struct armed *a, int64_t zxid)
{
	const struct change *change;
	int64_t there = 0;
	bool gone = false;

	if (!a->away || !a->absent || a->key.kind != HIST_WATCH_DATA)
		return false;
	for (uint32_t i = a->next; (change = change_at(w, a, i)) != NULL; i++) {
		if (change->type == ZK_EVENT_DELETED && change->lo < zxid) {
			gone = true; /* when it went may not be told */
		} else if (change->sure && change->hi <= zxid) {
			gone = false;
			there = change->hi;
		}
	}
	return gone || may_have_gone(w->c, &w->c->nodes[a->key.path], there, zxid);
}

static void due_until(struct watching *w, uint32_t op_index, uint32_t session, int64_t zxid)
{
	struct check *c = w->c;
	struct watcher *s = &w->watchers[session];

	while (s->heap.count > 0 && s->heap.at[0].zxid <= zxid) {
		struct due d = s->heap.at[0];
		heap_pop(s);
		struct armed *a = find(w, d.key.session, d.key.path, d.key.kind);
		if (a == NULL || a->heap != d.heap)
			continue;
		uint32_t i;
		const struct change *change = next_due(w, a, &i);
		if (change == NULL || change->hi != d.zxid) { /* that one was excused since */
			schedule(w, a);
			continue;
		}
		if (s->catching_up && passed_by(w, a, zxid)) {
			a->next = list_after(w, a, zxid);
			schedule(w, a);
			continue;
		}
		check_judged(c, rule_of(a));
		struct pk_bytes path = hist_path(c->h, change->path);
		check_bad_op(c, rule_of(a), op_index,
			     "%s of %.*s at zxid %#" PRIx64 " was not told to the %s watch on it",
			     zk_event_name(change->type), (int)path.len, path.data,
			     (uint64_t)change->hi, hist_watch_name((int32_t)a->key.kind));
		if (one_shot(a)) {
			disarm(w, a);
		} else {
			*HIST_PUSH(&a->told) = i;
			schedule(w, a);
		}
	}
}

/* From where on its changes may still be told. What its client was not allowed to see a one-shot
 * watch tells at a later reconnect, if the client has logged in by then. */
static uint32_t untold_after(const struct watching *w, const struct armed *a)
{
	uint32_t next = list_after(w, a, a->must);

	for (uint32_t i = a->next; one_shot(a) && i < next; i++)
		if (!change_at(w, a, i)->open && fires(a, change_at(w, a, i)->type))
			return i;
	return next;
}

/* The first answer after a reconnect: what happened up to it was told, or is not to be told. */
static void caught_up(struct watching *w, uint32_t session, int64_t zxid)
{
	struct watcher *s = &w->watchers[session];

	for (struct armed *a = s->armed, *next; a != NULL; a = next) {
		next = a->of_session;
		if (a->maybe) {
			disarm(w, a);
			continue;
		}
		a->away = false;
		if (zxid > a->must)
			a->must = zxid;
		a->next = untold_after(w, a);
		a->told.count = a->excused.count = 0;
		schedule(w, a);
	}
	s->catching_up = false;
	s->last_told = 0;
}

static uint32_t kinds_of_type(int32_t type)
{
	switch (type) {
	case ZK_WATCHER_CHILDREN:
		return 1u << HIST_WATCH_CHILD;
	case ZK_WATCHER_DATA:
		return 1u << HIST_WATCH_DATA;
	case ZK_WATCHER_ANY:
		return UINT32_MAX;
	case 4:
		return 1u << HIST_WATCH_PERSISTENT;
	case 5:
		return 1u << HIST_WATCH_RECURSIVE;
	default: /* refused by servers */
		return 0;
	}
}

/* A watch that stays is one of data and one of children: it loses them one by one. */
static void take_off(struct watching *w, uint32_t session, uint32_t path, uint32_t kinds)
{
	unsigned halves = ((kinds & 1u << HIST_WATCH_DATA) != 0 ? HALF_DATA : 0) |
			  ((kinds & 1u << HIST_WATCH_CHILD) != 0 ? HALF_CHILD : 0);

	for (uint32_t kind = 1; kind < HIST_WATCHES; kind++) {
		struct armed *a = find(w, session, path, kind);
		if (a == NULL)
			continue;
		bool part = !one_shot(a) && (kinds & 1u << kind) == 0;
		if (part)
			a->halves &= ~halves;
		if (part ? a->halves == 0 : (kinds & 1u << kind) != 0)
			disarm(w, a);
		else if (part)
			schedule(w, a);
	}
}

/* The client's own events: a watch was removed. */
static void on_removed(struct watching *w, const struct hwatch *e)
{
	uint32_t kinds = 1u << HIST_WATCH_PERSISTENT | 1u << HIST_WATCH_RECURSIVE;

	if (e->event == ZK_EVENT_DATA_WATCH_REMOVED)
		kinds = 1u << HIST_WATCH_DATA;
	else if (e->event == ZK_EVENT_CHILD_WATCH_REMOVED)
		kinds = 1u << HIST_WATCH_CHILD;
	take_off(w, e->session, e->path, kinds);
}

static bool judged_process(const struct watching *w, uint32_t process)
{
	return (w->c->h->procs.at[process]->flags & HIST_CLIENT_ORDERED) != 0;
}

static void removed(struct watching *w, const struct hop *op)
{
	take_off(w, op->session, op->path, kinds_of_type(op->mode));
}

static void on_done(struct watching *w, uint32_t index)
{
	struct check *c = w->c;
	const struct hop *op = &c->h->ops.at[index];
	int64_t zxid = c->zxids[index];

	if (op->session == NONE || !judged_process(w, op->process) || op->op == ZK_OP_AUTH ||
	    op->op == ZK_OP_SASL)
		return;
	bool sets = op->watch != HIST_WATCH_NONE &&
		    (op->status == HOP_OK || op->status == HOP_FAIL) &&
		    (op->err == ZK_OK || (op->op == ZK_OP_EXISTS && op->err == ZK_ENONODE));
	if (zxid <= 0) {
		/* A server that has nothing yet, or a library that hides zxids. */
		if (sets)
			w->watchers[op->session].unplaced = true;
		/* The library took it off by itself: somebody else there still watches that path.
		 */
		if (op->op == ZK_OP_REMOVE_WATCHES && op->status == HOP_OK)
			removed(w, op);
		return;
	}
	struct watcher *s = &w->watchers[op->session];
	if (s->ahead > zxid && c->opts.peer == CHECK_PADDOCK)
		check_bad_op(c, CHECK_WATCH_ORDER, index,
			     "an event before it told of a change at zxid %#" PRIx64,
			     (uint64_t)s->ahead);
	s->ahead = 0;
	due_until(w, index, op->session, zxid);
	if (zxid > s->answered)
		s->answered = zxid;
	if (s->catching_up)
		caught_up(w, op->session, zxid);
	if (sets)
		arm(w, index, op);
	if (op->op == ZK_OP_REMOVE_WATCHES && op->status == HOP_OK)
		removed(w, op);
}

/* ---- an event came ---- */

static int64_t *next_zxids(const struct check *c)
{
	const struct history *h = c->h;
	int64_t *of_event = pk_alloc((h->watches.count + 1) * sizeof(*of_event));
	int64_t *next = pk_alloc((h->sessions.count + 1) * sizeof(*next));

	for (uint32_t i = 0; i < h->sessions.count; i++)
		next[i] = INT64_MAX;
	for (uint32_t i = h->items.count; i-- > 0;) {
		const struct hist_item *item = &h->items.at[i];
		uint32_t at = item->index;
		if (item->type == ITEM_SESSION) {
			next[h->states.at[at].session] = INT64_MAX;
		} else if (item->type == ITEM_WATCH && h->watches.at[at].session != NONE) {
			of_event[at] = next[h->watches.at[at].session];
		} else if (item->type == ITEM_DONE && h->ops.at[at].session != NONE &&
			   h->ops.at[at].op != ZK_OP_AUTH && h->ops.at[at].op != ZK_OP_SASL &&
			   c->zxids[at] > 0) {
			next[h->ops.at[at].session] = c->zxids[at];
		}
	}
	free(next);
	return of_event;
}

/* What it tells may be a change that nobody else saw; it is none of those behind the next answer.
 */
static bool comes_later(const struct watching *w, const struct hwatch *e,
			const struct change *change)
{
	return change->lo >= w->next_zxid[e - w->c->h->watches.at] &&
	       check_foggy(w->c, &w->c->nodes[e->path]);
}

/* Nobody owed it, and an answer came since that had seen it: no event tells it any more. */
static bool past(const struct watching *w, const struct armed *a, uint32_t i,
		 const struct change *change)
{
	return change->hi <= w->watchers[a->key.session].answered &&
	       (!change->sure || was_excused(a, i)) && !(a->away && one_shot(a));
}

/* The first change not told yet that this event may tell, and would have to; NULL: none. */
static const struct change *change_for(const struct watching *w, const struct armed *a,
				       const struct hwatch *e, uint32_t *at)
{
	const struct change *change;

	for (uint32_t i = a->next; (change = change_at(w, a, i)) != NULL; i++) {
		if (comes_later(w, e, change))
			return NULL;
		if (past(w, a, i, change))
			continue;
		if (change->path == e->path && change->type == e->event && !was_told(a, i)) {
			*at = i;
			return change;
		}
		/* A one-shot watch goes with the first; what is not sure may not have been. */
		if (one_shot(a) && change->sure && change->hi > a->must && !a->away &&
		    fires(a, change->type))
			return NULL;
	}
	return NULL;
}

/* After a reconnect any of a one-shot watch's events tells that something was missed. */
static bool missed_something(const struct watching *w, const struct armed *a)
{
	return a->away && change_at(w, a, a->next) != NULL;
}

/* Answers came over a sure change, and it was not told: the watch had gone before, with one that
 * its client may not hear of. The client does not know, and takes it off with the next event there.
 */
static bool spent(const struct watching *w, const struct armed *a)
{
	int64_t answered = w->watchers[a->key.session].answered;
	const struct change *change;

	if (!one_shot(a) || a->away)
		return false;
	for (uint32_t i = a->next; (change = change_at(w, a, i)) != NULL && change->hi <= answered;
	     i++)
		if (change->sure && change->hi > a->must && fires(a, change->type))
			return true;
	return false;
}

struct told {
	struct armed *watches[HIST_WATCHES + 64];
	uint32_t count;
};

static void gather(struct watching *w, const struct hwatch *e, struct told *t)
{
	t->count = 0;
	for (uint32_t kind = 1; kind < HIST_WATCH_RECURSIVE; kind++) {
		struct armed *a = find(w, e->session, e->path, kind);
		if (a == NULL || !fires(a, e->event))
			continue;
		if (spent(w, a))
			disarm(w, a);
		else
			t->watches[t->count++] = a;
	}
	if (!w->c->recursive_watches || e->event == ZK_EVENT_CHILDREN_CHANGED)
		return;
	for (uint32_t at = e->path; at != NONE; at = w->c->nodes[at].parent) {
		struct armed *a = w->c->nodes[at].watch_root
					  ? find(w, e->session, at, HIST_WATCH_RECURSIVE)
					  : NULL;
		if (a != NULL && fires(a, e->event) && t->count < PK_COUNT(t->watches))
			t->watches[t->count++] = a;
	}
}

static void tell(struct watching *w, const struct hwatch *e, uint32_t process, enum check_rule rule,
		 const char *what)
{
	struct check *c = w->c;
	struct pk_bytes path = hist_path(c->h, e->path);

	check_bad(c, rule, c->h->procs.at[process]->id, e->time_ns, 0,
		  "process %" PRIu32 " session %#" PRIx64 " at %.6f s: %s %.*s: %s",
		  c->h->procs.at[process]->id, c->sessions[e->session].id, (double)e->time_ns / 1e9,
		  zk_event_name(e->event), (int)path.len, path.data, what);
}

static void excuse_next(struct watching *w, struct armed *a, const struct hwatch *e)
{
	const struct change *change;

	for (uint32_t i = a->next; (change = change_at(w, a, i)) != NULL; i++) {
		if (change->path != e->path || change->type != e->event || !change->sure ||
		    was_told(a, i) || was_excused(a, i))
			continue;
		*HIST_PUSH(&a->excused) = i;
		return;
	}
}

static void forget(uint32_t *list, uint32_t *count, uint32_t what)
{
	for (uint32_t k = 0; k < *count; k++)
		if (list[k] == what)
			list[k] = list[--*count];
}

/* This watch was told: of `best`, if that could be found out. */
static void tell_watch(struct watching *w, struct armed *a, const struct hwatch *e,
		       const struct change *best, bool certain)
{
	const struct change *change, *skip;
	uint32_t at;

	check_judged(w->c, rule_of(a));
	if (one_shot(a) ||
	    (w->c->opts.peer == CHECK_ZOOKEEPER && a->key.path == e->path)) { /* it may be gone */
		disarm(w, a);
		return;
	}
	change = change_for(w, a, e, &at);
	if (change == NULL || best == NULL)
		return;
	if (change->hi != best->hi) {
		if (!certain)
			excuse_next(w, a, e);
		return;
	}
	*HIST_PUSH(&a->told) = at;
	/* It may as well have been of the next sure one: that is not due any more. */
	if (!certain)
		excuse_next(w, a, e);
	/* On over what was told, and over what may not have been, unless a set that nobody saw may
	 * be what was told: within one zxid the order is the server's affair. */
	bool foggy = check_foggy(w->c, &w->c->nodes[e->path]);
	while ((skip = change_at(w, a, a->next)) != NULL &&
	       (was_told(a, a->next) || past(w, a, a->next, skip) ||
		(!foggy && skip->hi <= change->lo && (!skip->sure || was_excused(a, a->next))))) {
		forget(&a->told.at[0], &a->told.count, a->next);
		forget(&a->excused.at[0], &a->excused.count, a->next);
		a->next++;
	}
	if (!w->watchers[a->key.session].catching_up) /* else nothing is due yet */
		schedule(w, a);
}

static void judge_event(struct watching *w, const struct hwatch *e, uint32_t process)
{
	struct check *c = w->c;
	struct watcher *s = &w->watchers[e->session];
	const struct change *best = NULL;
	const struct node *n = &c->nodes[e->path];
	bool missed = false, away = false, firm = false, certain = false;
	struct told t;
	uint32_t at;

	gather(w, e, &t);
	bool lenient = n->system || check_foggy(c, n);
	if (t.count == 0) {
		if (lenient || s->unplaced || c->opts.peer == CHECK_ZOOKEEPER) {
			c->report->events_unjudged++;
			return;
		}
		tell(w, e, process, CHECK_WATCH_ONCE, "this session has no watch there (any more)");
		return;
	}
	for (uint32_t i = 0; i < t.count; i++) {
		const struct change *change = change_for(w, t.watches[i], e, &at);
		if (change != NULL && (best == NULL || change->hi < best->hi)) {
			best = change;
			certain = change->sure && !was_excused(t.watches[i], at);
			firm = certain && change->hi > t.watches[i]->must;
		}
		missed |= missed_something(w, t.watches[i]) && one_shot(t.watches[i]);
		away |= t.watches[i]->away;
	}
	if (best == NULL && !missed) {
		if (lenient)
			c->report->events_unjudged++;
		else
			tell(w, e, process, CHECK_WATCH_ONCE,
			     "there was no such change to be told next");
	} else {
		c->report->events_judged++;
		check_judged(c, CHECK_WATCH_ONCE);
	}
	if (best != NULL && firm && !away && !s->catching_up && !lenient) {
		check_judged(c, CHECK_WATCH_ORDER);
		if (best->hi < s->last_told)
			tell(w, e, process, CHECK_WATCH_ORDER,
			     "an event of a later change came before it");
		s->last_told = best->hi;
		if (best->hi > s->ahead)
			s->ahead = best->hi;
	}
	for (uint32_t i = 0; i < t.count; i++) {
		/* What is not there cannot go: it was told for a watch of children, and a library
		 * that hears of it drops all that it has there. */
		if (e->event == ZK_EVENT_DELETED && t.count > 1 && t.watches[i]->absent) {
			t.watches[i]->lone = true;
			t.watches[i]->heap = 0;
			continue;
		}
		/* setWatches tells of a node that is gone for each watch on it; what happens after
		 * it, once for all. */
		if (s->catching_up && e->event == ZK_EVENT_DELETED && i > 0 &&
		    t.watches[i]->key.kind == HIST_WATCH_CHILD) {
			t.watches[i]->maybe = true;
			t.watches[i]->heap = 0;
		} else if (!s->catching_up || !missed || one_shot(t.watches[i])) {
			/* What setWatches tells a one-shot watch is nothing of those that stay. */
			tell_watch(w, t.watches[i], e, best, certain);
		}
	}
}

/* Connected where less may have been done than events told of: only answers say what a client has
 * seen. What came behind the last of them is told to watches that stay once more. */
static void untell(struct watching *w, struct armed *a)
{
	int64_t answered = w->watchers[a->key.session].answered;
	uint32_t next = list_after(w, a, answered > a->from ? answered : a->from);

	if (next < a->next)
		a->next = next;
	for (uint32_t k = a->told.count; k-- > 0;)
		if (a->told.at[k] >= next)
			a->told.at[k] = a->told.at[--a->told.count];
}

static void on_state(struct watching *w, const struct hstate *e)
{
	struct watcher *s = &w->watchers[e->session];
	bool again = (w->c->h->procs.at[e->process]->flags & HIST_CLIENT_REWATCH) != 0;

	switch ((enum hist_state)e->state) {
	case HIST_CONNECTED:
		if (s->connected && !again)
			disarm_all(w, e->session);
		if (s->connected && s->armed != NULL) {
			s->catching_up = true;
			for (struct armed *a = s->armed; a != NULL; a = a->of_session) {
				a->away = true;
				a->halves = HALF_BOTH; /* who took half of it off says it whole */
				if (one_shot(a))
					continue;
				a->heap = 0; /* nothing is due until it is caught up */
				if (e->no_barrier || w->c->opts.peer == CHECK_ZOOKEEPER)
					untell(w, a);
			}
		}
		s->connected = true;
		s->ahead = s->last_told = 0;
		break;
	case HIST_DISCONNECTED:
		s->ahead = 0;
		if (!again)
			disarm_all(w, e->session);
		break;
	case HIST_EXPIRED:
	case HIST_CLOSED:
	case HIST_ABANDONED:
		disarm_all(w, e->session);
		break;
	case HIST_STATE_NONE:
	case HIST_STATES:
		break;
	}
}

void check_watches(struct check *c)
{
	const struct history *h = c->h;
	struct watching w = { .c = c };

	w.watchers = pk_alloc((h->sessions.count + 1) * sizeof(*w.watchers));
	lists_make(&w);
	w.next_zxid = next_zxids(c);
	for (uint32_t i = 0; i < h->items.count; i++) {
		const struct hist_item *item = &h->items.at[i];
		if (item->type == ITEM_DONE) {
			on_done(&w, item->index);
		} else if (item->type == ITEM_SESSION) {
			on_state(&w, &h->states.at[item->index]);
		} else if (item->type == ITEM_WATCH) {
			const struct hwatch *e = &h->watches.at[item->index];
			if (e->session == NONE || !judged_process(&w, item->process))
				c->report->events_unjudged++;
			else if (e->event > ZK_EVENT_CHILDREN_CHANGED)
				on_removed(&w, e);
			else
				judge_event(&w, e, item->process);
		}
	}
	for (uint32_t i = 0; i < h->sessions.count; i++) {
		disarm_all(&w, i);
		free(w.watchers[i].heap.at);
	}
	free(w.watchers);
	free(w.next_zxid);
	free(w.own);
	free(w.below);
	free(w.own_of);
	free(w.below_of);
}
