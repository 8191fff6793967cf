#include "tests/sim/cluster_watches.h"

#include <inttypes.h>
#include <stdio.h>

#include "tests/sim/cluster_rules.h"
#include "zkproto/record.h"

#define WHY_BYTES 300

enum { HALF_DATA = 1, HALF_CHILD = 2 };

struct watched_path {
	char *path;
	enum watched kind;
	int fired_by;    /* place in the group of events being looked at; -1: none */
	bool spent;      /* it fired for what this client may not hear of: it is with us alone */
	unsigned halves; /* of one that stays: removeWatches takes them one by one */
};

struct told {
	int32_t type;
	char *path;
	bool taken;
};

struct watches {
	struct sim *sim;
	const struct whose *who;
	struct watched_path *all;
	size_t count;
	struct told *came; /* not explained yet */
	size_t came_count;
	uint64_t cursor; /* events up to here were explained */
	uint64_t seen;   /* said in setWatches2 */
	bool again;      /* its reply is due */
};

struct watches *watches_new(struct sim *s, const struct whose *who)
{
	struct watches *w = pk_alloc(sizeof(*w));

	w->sim = s;
	w->who = who;
	return w;
}

static void came_drop(struct watches *w, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(w->came[i].path);
	w->came_count -= count;
	if (w->came_count > 0)
		memmove(w->came, w->came + count, w->came_count * sizeof(*w->came));
}

void watches_free(struct watches *w)
{
	for (size_t i = 0; i < w->count; i++)
		free(w->all[i].path);
	free(w->all);
	came_drop(w, w->came_count);
	free(w->came);
	free(w);
}

size_t watches_count(const struct watches *w)
{
	return w->count;
}

static void drop_at(struct watches *w, size_t i)
{
	free(w->all[i].path);
	w->count--;
	if (i < w->count)
		memmove(w->all + i, w->all + i + 1, (w->count - i) * sizeof(*w->all));
}

void watches_set(struct watches *w, const char *path, enum watched kind)
{
	bool data = kind == WATCHED_DATA || kind == WATCHED_EXIST;

	bool stays = kind == WATCHED_PERSISTENT || kind == WATCHED_RECURSIVE;

	for (size_t i = 0; i < w->count; i++) {
		struct watched_path *p = &w->all[i];
		bool same = p->kind == kind ||
			    (data && (p->kind == WATCHED_DATA || p->kind == WATCHED_EXIST)) ||
			    (stays &&
			     (p->kind == WATCHED_PERSISTENT || p->kind == WATCHED_RECURSIVE));
		if (same && strcmp(p->path, path) == 0) {
			p->kind = kind;
			p->spent = false;
			p->halves = HALF_DATA | HALF_CHILD;
			return;
		}
	}
	w->all = pk_realloc(w->all, (w->count + 1) * sizeof(*w->all));
	w->all[w->count++] = (struct watched_path){ .path = pk_strdup(path),
						    .kind = kind,
						    .fired_by = -1,
						    .halves = HALF_DATA | HALF_CHILD };
}

bool watches_has(struct watches *w, const char *path, int32_t type, bool take)
{
	unsigned halves = type == 1 ? HALF_CHILD : type == 2 ? HALF_DATA : HALF_CHILD | HALF_DATA;
	bool found = false;

	for (size_t i = w->count; i-- > 0;) {
		struct watched_path *p = &w->all[i];
		bool stays = p->kind == WATCHED_PERSISTENT || p->kind == WATCHED_RECURSIVE;
		unsigned has = stays                      ? p->halves
			       : p->kind == WATCHED_CHILD ? HALF_CHILD
							  : HALF_DATA;
		if ((has & halves) == 0 || p->spent || strcmp(p->path, path) != 0)
			continue;
		found = true;
		p->halves &= ~halves;
		if (!take)
			p->halves |= has & halves;
		else if (!stays || p->halves == 0)
			drop_at(w, i);
	}
	/* With it the library forgets those of which it does not know that they are spent. */
	for (size_t i = w->count; found && take && i-- > 0;) {
		const struct watched_path *p = &w->all[i];
		unsigned has = p->kind == WATCHED_CHILD ? HALF_CHILD : HALF_DATA;
		if (p->spent && (has & halves) != 0 && strcmp(p->path, path) == 0)
			drop_at(w, i);
	}
	return found;
}

bool watches_event(struct watches *w, int32_t type, struct pk_bytes path, char *why)
{
	if (path.len > 200) {
		snprintf(why, WHY_BYTES, "an event for a path of %zu bytes", path.len);
		return false;
	}
	w->came = pk_realloc(w->came, (w->came_count + 1) * sizeof(*w->came));
	w->came[w->came_count++] = (struct told){ type,
						  pk_strndup((const char *)path.data, path.len),
						  false };
	return true;
}

/* ---- what the log calls for ---- */

static bool concerns(const struct watched_path *p, const struct model_event *e)
{
	bool here = strcmp(p->path, e->path) == 0;
	size_t len = strlen(p->path);
	bool half = e->type == ZK_EVENT_DELETED            ? p->halves != 0
		    : e->type == ZK_EVENT_CHILDREN_CHANGED ? (p->halves & HALF_CHILD) != 0
							   : (p->halves & HALF_DATA) != 0;

	switch (p->kind) {
	case WATCHED_DATA:
	case WATCHED_EXIST:
		return here && e->type != ZK_EVENT_CHILDREN_CHANGED;
	case WATCHED_CHILD:
		return here &&
		       (e->type == ZK_EVENT_CHILDREN_CHANGED || e->type == ZK_EVENT_DELETED);
	case WATCHED_PERSISTENT:
		return here && half;
	case WATCHED_RECURSIVE:
		return half && e->type != ZK_EVENT_CHILDREN_CHANGED &&
		       (here ||
			(strncmp(p->path, e->path, len) == 0 && (e->path[len] == '/' || len == 1)));
	}
	return false;
}

static bool one_shot(enum watched k)
{
	return k == WATCHED_DATA || k == WATCHED_EXIST || k == WATCHED_CHILD;
}

/* Whatever it was sent for: who hears of it takes off all its one-shot watches that it could be of.
 */
static bool takes_off(const struct watched_path *p, const struct told *t)
{
	bool child = p->kind == WATCHED_CHILD;

	return one_shot(p->kind) && strcmp(p->path, t->path) == 0 &&
	       (t->type == ZK_EVENT_DELETED || child == (t->type == ZK_EVENT_CHILDREN_CHANGED));
}

/* The events of one zxid that this client is to be told of, in *out (room for `most`). */
static size_t group(struct watches *w, size_t from, size_t to, size_t *out)
{
	struct model *m = sim_model(w->sim);
	size_t n = 0;

	for (size_t i = from; i < to; i++) {
		const struct model_event *e = model_event(m, i);
		bool may = e->acl.len == 0 || acl_lets(pk_buf_bytes(&e->acl), ZK_PERM_READ, w->who);
		bool any = false;

		for (size_t j = 0; j < w->count; j++) {
			struct watched_path *p = &w->all[j];
			if (p->fired_by >= 0 || p->spent || !concerns(p, e))
				continue;
			any = may;
			if (one_shot(p->kind) && may)
				p->fired_by = (int)n;
			p->spent = one_shot(p->kind) && !may;
		}
		if (any)
			out[n++] = i;
	}
	return n;
}

/* Explain w->came[*at...] by one zxid's events; fewer may have come when `partly`. */
static bool explain(struct watches *w, size_t from, size_t to, size_t *at, bool partly, char *why)
{
	struct model *m = sim_model(w->sim);
	size_t *due = pk_alloc((to - from) * sizeof(*due));
	bool *done = pk_alloc(to - from);
	size_t n = group(w, from, to, due);
	bool ok = true;

	for (size_t i = 0; i < n && ok; i++) {
		/* the order within one zxid is the server's affair */
		if (*at == w->came_count) {
			ok = partly;
			if (!ok) {
				const struct model_event *e = NULL;
				for (size_t j = 0; j < n && e == NULL; j++)
					e = done[j] ? NULL : model_event(m, due[j]);
				snprintf(why, WHY_BYTES, "%s %s of zxid %#" PRIx64 " was not told",
					 zk_event_name(e->type), e->path, e->zxid);
			}
			break;
		}
		size_t j = 0;
		const struct told *t = &w->came[*at];
		for (; j < n; j++) {
			const struct model_event *e = model_event(m, due[j]);
			if (!done[j] && e->type == t->type && strcmp(e->path, t->path) == 0)
				break;
		}
		if (j == n) {
			const struct model_event *e = model_event(m, due[0]);
			snprintf(why, WHY_BYTES, "told of %s %s, due is %s %s of zxid %#" PRIx64,
				 zk_event_name(t->type), t->path, zk_event_name(e->type), e->path,
				 e->zxid);
			ok = false;
			break;
		}
		done[j] = true;
		for (size_t k = w->count; k-- > 0;)
			if (w->all[k].spent && takes_off(&w->all[k], t))
				drop_at(w, k);
		++*at;
	}
	for (size_t i = w->count; i-- > 0;) {
		int by = w->all[i].fired_by;
		w->all[i].fired_by = -1;
		if (by >= 0 && done[by])
			drop_at(w, i);
	}
	free(due);
	free(done);
	return ok;
}

static bool advance(struct watches *w, uint64_t zxid, bool partly, char *why)
{
	struct model *m = sim_model(w->sim);
	size_t i = model_event_after(m, w->cursor), end = model_event_after(m, zxid), at = 0;
	bool ok = true;

	while (ok && i < end && !(partly && at == w->came_count)) {
		size_t to = i + 1;
		while (to < end && model_event(m, to)->zxid == model_event(m, i)->zxid)
			to++;
		ok = explain(w, i, to, &at, partly, why);
		i = to;
	}
	if (ok && at < w->came_count) {
		snprintf(why, WHY_BYTES, "told of %s %s, which nothing calls for up to %#" PRIx64,
			 zk_event_name(w->came[at].type), w->came[at].path, zxid);
		ok = false;
	}
	came_drop(w, at);
	w->cursor = zxid;
	return ok;
}

bool watches_to(struct watches *w, uint64_t zxid, char *why)
{
	if (w->again) {
		snprintf(why, WHY_BYTES, "a reply before that of setWatches");
		return false;
	}
	return advance(w, zxid, false, why);
}

void watches_lost(struct watches *w)
{
	char why[WHY_BYTES];

	if (w->again) { /* those that were told at once are gone */
		for (size_t i = 0; i < w->came_count; i++)
			for (size_t j = w->count; j-- > 0;)
				if (takes_off(&w->all[j], &w->came[i]))
					drop_at(w, j);
	} else if (!advance(w, model_zxid(sim_model(w->sim)), true, why)) {
		sim_violate(w->sim, "C7 when the connection was lost: %s", why);
	}
	w->again = false;
	came_drop(w, w->came_count);
}

/* ---- setWatches2 ---- */

static const enum watched order[] = { WATCHED_DATA, WATCHED_EXIST, WATCHED_CHILD,
				      WATCHED_PERSISTENT, WATCHED_RECURSIVE };

bool watches_stay(const struct watches *w)
{
	bool any = false;

	for (size_t i = 0; i < w->count; i++)
		any |= !one_shot(w->all[i].kind);
	return any;
}

void watches_again(struct watches *w, uint64_t seen_zxid, bool all, struct pk_buf *body)
{
	zk_wr_long(body, (int64_t)seen_zxid);
	for (size_t k = 0; k < (all ? PK_COUNT(order) : 3); k++) {
		size_t at = zk_wr_vector_begin(body);
		uint32_t n = 0;

		for (size_t i = 0; i < w->count; i++) {
			if (w->all[i].kind != order[k])
				continue;
			zk_wr_ustring(body, pk_bytes_str(w->all[i].path));
			n++;
		}
		zk_wr_vector_end(body, at, n);
	}
	w->seen = seen_zxid;
	w->again = true;
	PK_ASSERT(w->came_count == 0);
}

/* What the server says at once of a watch set again: 0, nothing. */
static int32_t at_once(struct watches *w, const struct watched_path *p, uint64_t zxid)
{
	const struct model_node *n = model_get(sim_model(w->sim), p->path, zxid);

	switch (p->kind) {
	case WATCHED_EXIST:
		return n != NULL ? ZK_EVENT_CREATED : 0;
	case WATCHED_DATA:
		return n == NULL                           ? ZK_EVENT_DELETED
		       : (uint64_t)n->stat.mzxid > w->seen ? ZK_EVENT_DATA_CHANGED
							   : 0;
	case WATCHED_CHILD:
		return n == NULL                           ? ZK_EVENT_DELETED
		       : (uint64_t)n->stat.pzxid > w->seen ? ZK_EVENT_CHILDREN_CHANGED
							   : 0;
	case WATCHED_PERSISTENT:
	case WATCHED_RECURSIVE:
		break;
	}
	return 0;
}

bool watches_set_again(struct watches *w, uint64_t zxid, char *why)
{
	size_t at = 0;
	bool ok = true;

	w->again = false;
	for (size_t i = 0; i < w->count; i++)
		w->all[i].spent = false, w->all[i].halves = HALF_DATA | HALF_CHILD;
	for (size_t k = 0; k < PK_COUNT(order) && ok; k++) {
		for (size_t i = 0; i < w->count && ok;) {
			int32_t type = w->all[i].kind == order[k] ? at_once(w, &w->all[i], zxid)
								  : 0;
			if (type == 0) {
				i++;
				continue;
			}
			ok = at < w->came_count && w->came[at].type == type &&
			     strcmp(w->came[at].path, w->all[i].path) == 0;
			if (!ok)
				snprintf(why, WHY_BYTES, "setWatches: %s %s was missed, told is %s",
					 zk_event_name(type), w->all[i].path,
					 at < w->came_count ? w->came[at].path : "nothing");
			at++;
			drop_at(w, i);
		}
	}
	if (ok && at != w->came_count) {
		snprintf(why, WHY_BYTES, "setWatches: told of %s %s, which did not happen",
			 zk_event_name(w->came[at].type), w->came[at].path);
		ok = false;
	}
	came_drop(w, w->came_count);
	w->cursor = zxid;
	return ok;
}
