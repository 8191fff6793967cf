#include <inttypes.h>
#include <stdio.h>

#include "jepsen/check_int.h"

/*
 * The tree as the history has it, walked by zxid: at each zxid first what happened, then what was
 * read there. A look that differs from the tree must be explained by a write of unknown outcome, by
 * a session that may have ended, or by a container's or TTL node's end; the explanation is then
 * part of the tree. There is no other way back: what cannot be explained is a violation.
 */

/* ---- nodes ---- */

/* It is there, or not, or who knows; nothing else is known but which children are. */
static void forget(struct check *c, struct node *n, enum there there)
{
	if (there == THERE_NO)
		kids_drop(c, n);
	n->s = (struct state){ .there = (uint8_t)there,
			       .kids_hash = n->s.kids_hash,
			       .kid_count = n->s.kid_count };
}

/* A node that was never looked at is there or not as its parent's list says, if that is known. */
static void resolve(struct check *c, struct node *n)
{
	if (n->s.there != THERE_UNKNOWN || n->parent == NONE || n->parent == n->path ||
	    n->first_kid != NONE)
		return;
	struct node *p = &c->nodes[n->parent];
	resolve(c, p);
	if (p->s.there == THERE_NO || (p->s.there == THERE_YES && (p->s.known & K_KIDS) != 0))
		forget(c, n, THERE_NO);
}

struct node *check_node(struct check *c, uint32_t path)
{
	struct node *n = &c->nodes[path];

	resolve(c, n);
	return n;
}

static void nodes_new(struct check *c)
{
	const struct history *h = c->h;

	c->nodes = pk_alloc(h->paths.count * sizeof(*c->nodes));
	for (uint32_t i = 0; i < h->paths.count; i++) {
		struct node *n = &c->nodes[i];
		struct pk_bytes path = hist_path(h, i);
		const uint8_t *slash = path.len > 1 ? memrchr(path.data, '/', path.len) : NULL;
		*n = (struct node){ .path = i,
				    .parent = NONE,
				    .first_kid = NONE,
				    .owner_next = NONE,
				    .owner_prev = i,
				    .cands = NONE,
				    .kid_cands = NONE,
				    .kid_log = NONE,
				    .versions = NONE };
		struct pk_bytes zookeeper = pk_bytes_str("/zookeeper");
		n->system = pk_bytes_starts(path, zookeeper) &&
			    (path.len == zookeeper.len || path.data[zookeeper.len] == '/');
		if (slash == NULL)
			continue;
		size_t above = (size_t)(slash - path.data);
		n->parent = above == 0 ? HIST_ROOT
				       : htext_find(&h->paths, pk_bytes(path.data, above));
		n->name_hash = pk_hist_hash(pk_bytes(slash + 1, path.len - above - 1));
	}
	c->nodes[HIST_ROOT].s.there = THERE_YES;
	c->report->nodes = h->paths.count;
}

static void mark_watched(struct check *c, const struct hop *op)
{
	if (op->watch != HIST_WATCH_NONE)
		c->nodes[op->path].watched = true;
	if (op->watch == HIST_WATCH_RECURSIVE)
		c->nodes[op->path].watch_root = c->recursive_watches = true;
}

/* ---- what may have happened ---- */

static void add_cand(struct check *c, uint32_t op, uint32_t sub, const struct hop *asked,
		     int64_t most)
{
	enum cand_kind kind;

	switch (asked->op) {
	case ZK_OP_CREATE:
	case ZK_OP_CREATE2:
	case ZK_OP_CREATE_CONTAINER:
	case ZK_OP_CREATE_TTL:
		kind = zk_create_mode_sequential(asked->mode) ? CAND_CREATE_SEQ : CAND_CREATE;
		break;
	case ZK_OP_DELETE:
		kind = CAND_DELETE;
		break;
	case ZK_OP_SET_DATA:
		kind = CAND_SET;
		break;
	case ZK_OP_SET_ACL:
		kind = CAND_ACL;
		break;
	default: /* changes no node of its own */
		return;
	}
	uint32_t index = c->cands.count, path = asked->path;
	struct node *n = &c->nodes[path];
	struct cand *k = HIST_PUSH(&c->cands);
	*k = (struct cand){ .op = op,
			    .sub = sub,
			    .path = path,
			    .next = NONE,
			    .next_kid = NONE,
			    .floor = c->floors[op],
			    .most = most,
			    .kind = kind };
	uint32_t parent = n->parent;
	if (kind == CAND_CREATE_SEQ) {
		/* The path asked for is a prefix: its parent is what counts. "/q/" has the name "".
		 */
		struct pk_bytes asked_path = hist_path(c->h, path);
		const uint8_t *slash = memrchr(asked_path.data, '/', asked_path.len);
		size_t above = (size_t)(slash - asked_path.data);
		parent = above == 0 ? HIST_ROOT
				    : htext_find(&c->h->paths, pk_bytes(asked_path.data, above));
	} else {
		k->next = n->cands;
		n->cands = index;
		n->foggy = true;
	}
	if (parent != NONE && kind != CAND_SET && kind != CAND_ACL) {
		k->next_kid = c->nodes[parent].kid_cands;
		c->nodes[parent].kid_cands = index;
		c->nodes[parent].foggy = true;
	}
}

/* The log tells of it: neither before it was asked for, nor behind what came after it. */
static void judge_fate(struct check *c, uint32_t op, int64_t most)
{
	int64_t zxid = c->fates[op];

	if (zxid == FATE_NEVER)
		return;
	check_judged(c, CHECK_WRITE_ORDER);
	if (zxid <= c->floors[op])
		check_bad_op(c, CHECK_WRITE_ORDER, op,
			     "it was done at zxid %#" PRIx64 ", and %#" PRIx64
			     " had been told before it was asked for",
			     (uint64_t)zxid, (uint64_t)c->floors[op]);
	check_judged(c, CHECK_FIFO);
	if (zxid > most)
		check_bad_op(
			c, CHECK_FIFO, op,
			"it was done at zxid %#" PRIx64
			", after a later request of its session had been answered with %#" PRIx64,
			(uint64_t)zxid, (uint64_t)most);
}

static void find_cands(struct check *c)
{
	const struct history *h = c->h;
	/* by session: the least zxid of what was answered to later requests of it */
	int64_t *next = pk_alloc((h->sessions.count + 1) * sizeof(*next));
	unsigned need = HIST_CLIENT_FIFO | HIST_CLIENT_ORDERED;

	for (uint32_t i = 0; i < h->sessions.count; i++)
		next[i] = INT64_MAX;
	for (uint32_t i = h->ops.count; i-- > 0;) {
		const struct hop *op = &h->ops.at[i];
		bool ordered = op->session != NONE && c->opts.peer == CHECK_PADDOCK &&
			       (h->procs.at[op->process]->flags & need) == need;
		bool told = c->zxids[i] > 0;
		if (told && ordered && !op->no_barrier && op->op != ZK_OP_AUTH &&
		    op->op != ZK_OP_SASL)
			next[op->session] = c->zxids[i];
		if (!check_is_write(op->op) || told || op->status == HOP_FAIL)
			continue;
		int64_t most = ordered ? next[op->session] : INT64_MAX;
		if (c->fates[i] != 0) {
			judge_fate(c, i, most);
			continue;
		}
		if (op->op != ZK_OP_MULTI)
			add_cand(c, i, NONE, op, most);
		for (uint32_t s = 0; op->op == ZK_OP_MULTI && s < op->sub_count; s++)
			add_cand(c, i, op->subs + s, &h->subs.at[op->subs + s], most);
		if (op->status == HOP_OK)
			c->report->writes_unjudged++;
	}
	free(next);
}

static bool digits(struct pk_bytes text)
{
	for (size_t i = 0; i < text.len; i++)
		if (text.data[i] < '0' || text.data[i] > '9')
			return false;
	return true;
}

bool check_foggy(const struct check *c, const struct node *n)
{
	struct pk_bytes path = hist_path(c->h, n->path);

	if (n->foggy || n->parent == NONE)
		return n->foggy;
	for (uint32_t i = c->nodes[n->parent].kid_cands; i != NONE; i = c->cands.at[i].next_kid) {
		struct pk_bytes prefix = hist_path(c->h, c->cands.at[i].path);
		if (c->cands.at[i].kind == CAND_CREATE_SEQ && pk_bytes_starts(path, prefix) &&
		    path.len == prefix.len + SEQUENCE_DIGITS &&
		    digits(pk_bytes(path.data + prefix.len, SEQUENCE_DIGITS)))
			return true;
	}
	return false;
}

static const struct hop *cand_asked(const struct check *c, const struct cand *k)
{
	return k->sub != NONE ? &c->h->subs.at[k->sub] : &c->h->ops.at[k->op];
}

static bool usable(const struct cand *k, enum cand_kind kind, int64_t zxid)
{
	return !k->used && k->kind == kind && k->floor < zxid;
}

/* A set whose zxid another part of its multi told, when the node it changed was not yet known. */
static bool placed(const struct cand *k, const struct node *n, int64_t zxid)
{
	bool born = (n->s.known & K_CZXID) == 0 || n->s.czxid <= k->placed;

	return (k->kind == CAND_SET || k->kind == CAND_ACL) && k->placed > n->seen && born &&
	       k->placed <= zxid;
}

static uint32_t count_usable(const struct check *c, const struct node *n, enum cand_kind kind,
			     bool kids, int64_t zxid)
{
	uint32_t count = 0;

	for (uint32_t i = kids ? n->kid_cands : n->cands; i != NONE;
	     i = kids ? c->cands.at[i].next_kid : c->cands.at[i].next) {
		const struct cand *k = &c->cands.at[i];
		count += usable(k, kind, zxid) || (k->kind == kind && placed(k, n, zxid));
	}
	return count;
}

bool check_may_delete(const struct check *c, const struct node *n, int64_t zxid)
{
	return count_usable(c, n, CAND_DELETE, false, zxid) > 0;
}

static void resolve_group(struct check *c, const struct cand *k, int64_t zxid,
			  const struct look *at);
static bool may_be_gone(const struct check *c, const struct node *n, const struct look *at,
			uint32_t *session);

/* It happened: at zxid, or somewhere up to the look. */
static void use_cand(struct check *c, uint32_t index, uint32_t path, int64_t zxid,
		     const struct look *at)
{
	struct cand *k = &c->cands.at[index];
	const struct hop *asked = cand_asked(c, k);
	bool was_inferring = c->inferring, was_multi = c->in_multi;

	k->used = true;
	k->placed = 0;
	c->report->unknown_happened += k->sub == NONE || c->h->ops.at[k->op].subs == k->sub;
	if (zxid != ZXID_UNKNOWN && zxid > k->most)
		check_bad_op(
			c, CHECK_FIFO, k->op,
			"it happened at zxid %#" PRIx64
			", after a later request of its session had been answered with %#" PRIx64,
			(uint64_t)zxid, (uint64_t)k->most);
	c->inferring = true;
	c->in_multi = k->sub != NONE;
	switch (k->kind) {
	case CAND_CREATE:
	case CAND_CREATE_SEQ:
		check_apply_create(c, path, asked, k->op, zxid, at->zxid);
		break;
	case CAND_DELETE:
		check_apply_delete(c, path, zxid, at->zxid);
		break;
	case CAND_SET:
		apply_set(c, path, asked, zxid, at->zxid);
		break;
	case CAND_ACL:
		apply_acl(c, path, asked, zxid);
		break;
	}
	c->inferring = was_inferring;
	c->in_multi = was_multi;
	if (k->sub != NONE && zxid != ZXID_UNKNOWN) {
		c->nodes[path].part_zxid = zxid;
		resolve_group(c, &c->cands.at[index], zxid, at);
	}
}

/* Is the node surely without what this would have done to it at zxid? */
static bool without_it(const struct check *c, const struct node *n, uint32_t k, int64_t zxid)
{
	const unsigned need = K_CZXID | K_MZXID;

	if (n->cands != k || c->cands.at[k].next != NONE || n->s.kind != NODE_PLAIN)
		return false; /* there are others */
	switch (c->cands.at[k].kind) {
	case CAND_CREATE:
		return n->s.there == THERE_NO;
	case CAND_DELETE:
		return n->s.there == THERE_YES && (n->s.known & need) == need && n->s.czxid < zxid;
	case CAND_SET:
		return n->s.there == THERE_YES && (n->s.known & need) == need && n->s.mzxid < zxid;
	case CAND_CREATE_SEQ:
	case CAND_ACL:
		break;
	}
	return false;
}

/* When it, rather than its children, was changed last. */
static int64_t self_changed(const struct node *n)
{
	const unsigned need = K_CZXID | K_MZXID;

	if (n->s.there != THERE_YES || (n->s.known & need) != need)
		return n->changed;
	return n->s.mzxid > n->s.czxid ? n->s.mzxid : n->s.czxid;
}

/* It happened at zxid, but others came after it, or may have: what no look has shown since is not
 * known. */
static void blur(struct check *c, struct node *n, enum cand_kind kind, int64_t zxid)
{
	bool set_since = (n->s.known & K_MZXID) != 0 && n->s.mzxid > zxid;
	unsigned unknown = 0;

	switch (kind) {
	case CAND_SET:
		unknown = K_VERSION | (set_since ? 0 : K_MZXID | K_MTIME | K_DATA | K_BYTES);
		break;
	case CAND_ACL:
		unknown = K_AVERSION | K_ACL;
		break;
	case CAND_CREATE:
	case CAND_CREATE_SEQ:
	case CAND_DELETE: /* another node, maybe */
		unknown = K_ALL;
		if (n->parent != NONE && c->nodes[n->parent].kids_seen < zxid)
			c->nodes[n->parent].s.known &= (uint16_t) ~(K_CREATES | K_COUNT | K_PZXID);
		break;
	}
	if (n->s.there != THERE_YES || n->told >= zxid)
		return;
	if ((unknown & K_OWNER) != 0)
		owner_unlink(c, n);
	n->s.known &= (uint16_t)~unknown;
}

/* Is it open which node it is that is there: was it inferred, and may it have come and gone more
 * than once? */
static bool any_of_several(const struct check *c, const struct node *n, const struct look *at)
{
	uint32_t session;

	return n->s.there == THERE_YES && (n->s.known & K_CZXID) == 0 &&
	       (check_may_delete(c, n, at->zxid) || may_be_gone(c, n, at, &session));
}

/* Of an ephemeral node that is there, if whose it is is known; NONE. */
static uint32_t owner_session(const struct check *c, const struct node *n)
{
	bool owned = n->s.there == THERE_YES && (n->s.known & K_OWNER) != 0 && n->s.owner != 0;

	return owned ? check_session(c, n->s.owner) : NONE;
}

/* What comes to light only now may have been made by a session that is long over. */
static void end_with_its_session(struct check *c, struct node *n, const struct look *at)
{
	uint32_t session = owner_session(c, n);
	bool was = c->inferring;

	if (session == NONE || c->sessions[session].end_zxid == 0 ||
	    c->sessions[session].end_zxid > at->zxid)
		return;
	c->inferring = true;
	check_apply_delete(c, n->path, c->sessions[session].end_zxid, at->zxid);
	c->inferring = was;
}

/* The other parts of a multi of which one happened at zxid. */
static void resolve_group(struct check *c, const struct cand *first, int64_t zxid,
			  const struct look *at)
{
	uint32_t op = first->op;

	for (uint32_t i = 0; i < c->h->ops.at[op].sub_count; i++) {
		uint32_t sub = c->h->ops.at[op].subs + i;
		uint32_t path = c->h->subs.at[sub].path, k = c->nodes[path].cands;
		while (k != NONE && c->cands.at[k].sub != sub)
			k = c->cands.at[k].next;
		if (k == NONE || c->cands.at[k].used)
			continue;
		if (first->kind == CAND_CREATE && path == first->path && sub < first->sub) {
			c->cands.at[k].used = true; /* it made room for what was made */
			c->cands.at[k].placed = zxid;
			continue;
		}
		struct node *n = check_node(c, path);
		enum cand_kind kind = c->cands.at[k].kind;
		bool fits = kind == CAND_CREATE ? n->s.there != THERE_YES : n->s.there == THERE_YES;
		int64_t changed = kind == CAND_SET ? self_changed(n) : n->changed;
		/* What a part before it did to the same node is no look at what it did. */
		bool again = n->part_zxid == zxid && n->changed == zxid;
		int64_t seen = again ? zxid - 1 : n->seen;
		if (changed > zxid || n->learned >= zxid || (seen < zxid && !fits) ||
		    (n->s.there == THERE_YES && !(again && kind == CAND_DELETE) &&
		     (n->s.mzxid == zxid || n->s.czxid == zxid))) {
			c->cands.at[k].used = true; /* written over: nothing can be told of it */
			c->cands.at[k].placed = zxid;
			blur(c, n, kind, zxid);
		} else if (seen >= zxid && !without_it(c, n, k, zxid)) {
			c->cands.at[k].used = true; /* others may have undone it, or been it */
			blur(c, n, kind, zxid);
		} else if ((kind == CAND_SET || kind == CAND_ACL) && any_of_several(c, n, at)) {
			c->cands.at[k].used = true; /* perhaps it happened to an earlier one */
			blur(c, n, kind, zxid);
		} else if (seen >= zxid) {
			struct pk_bytes name = hist_path(c->h, path);
			check_bad_op(c, CHECK_MULTI_ATOMIC, op,
				     "a part happened at zxid %#" PRIx64
				     ", and %.*s was seen without "
				     "its part at %#" PRIx64,
				     (uint64_t)zxid, (int)name.len, name.data, (uint64_t)n->seen);
			c->cands.at[k].used = true;
		} else if (n->s.there != THERE_UNKNOWN || kind == CAND_CREATE) {
			use_cand(c, k, path, zxid, at);
			if (kind == CAND_CREATE)
				end_with_its_session(c, n, at);
		}
	}
}

/* ---- sessions that may have ended ---- */

static bool may_have_ended(const struct check *c, uint32_t session, const struct look *at)
{
	const struct csession *s = &c->sessions[session];

	if (s->end_zxid != 0)
		return false; /* where it ended is known, and the walk was or will be there */
	if (at->zxid <= s->last_ack)
		return false;
	if (s->close_floor != INT64_MAX && at->zxid > s->close_floor)
		return true;
	int64_t now = at->op != NONE ? c->h->ops.at[at->op].done_ns : INT64_MAX;
	int64_t due = s->heard_ns + check_least_silence(c, s);
	return s->timeout_ns == 0 || now >= due;
}

/* Its owner, or whatever else removes nodes without being asked: may it have removed this one? */
static bool may_be_gone(const struct check *c, const struct node *n, const struct look *at,
			uint32_t *session)
{
	*session = NONE;
	if ((n->s.known & K_OWNER) == 0)
		return true;
	if (n->s.owner != 0) {
		*session = check_session(c, n->s.owner);
		return *session == NONE || may_have_ended(c, *session, at);
	}
	/* A container or TTL node goes when it is empty. */
	return n->s.kind == NODE_REAPED && (n->s.kid_count == 0 || (n->s.known & K_KIDS) == 0);
}

/* ---- forcing ---- */

static void session_end_inferred(struct check *c, uint32_t session, const struct look *at)
{
	bool was = c->inferring;

	c->inferring = true;
	apply_session_end(c, session, ZXID_UNKNOWN, at->zxid);
	c->inferring = was;
}

bool force_absent(struct check *c, uint32_t path, const struct look *at)
{
	struct node *n = check_node(c, path);
	uint32_t session;

	if (n->system)
		return true;
	if (n->s.there == THERE_UNKNOWN) {
		for (uint32_t kid; (kid = n->first_kid) != NONE;) /* who has some is there */
			if (!force_absent(c, kid, at) || n->first_kid == kid)
				return false;
		forget(c, n, THERE_NO);
	}
	if (n->s.there == THERE_NO)
		return true;
	if (path == HIST_ROOT)
		return false;
	for (uint32_t k = n->cands; k != NONE; k = c->cands.at[k].next) {
		if (usable(&c->cands.at[k], CAND_DELETE, at->zxid)) {
			use_cand(c, k, path, ZXID_UNKNOWN, at);
			return true;
		}
	}
	if (!may_be_gone(c, n, at, &session))
		return false;
	if (session != NONE) {
		session_end_inferred(c, session, at);
	} else {
		bool was = c->inferring;
		c->inferring = true;
		check_apply_delete(c, path, ZXID_UNKNOWN, at->zxid);
		c->inferring = was;
	}
	return n->s.there == THERE_NO;
}

/* Is the node's owner, if it is seen, who asked for this create? */
static bool owner_fits(const struct check *c, const struct cand *k, const struct seen *seen)
{
	uint32_t session = c->h->ops.at[k->op].session;
	bool ephemeral = zk_create_mode_ephemeral(cand_asked(c, k)->mode);
	int64_t owner;

	if (seen == NULL || (seen->stat == NULL && !seen->has_owner))
		return true;
	owner = seen->stat != NULL ? seen->stat->ephemeral_owner : seen->owner;
	return ephemeral == (owner != 0) &&
	       (!ephemeral || session == NONE || c->sessions[session].id == (uint64_t)owner);
}

/* A create of unknown outcome that may have made this path; seen NULL: nothing more is known. */
static uint32_t find_create(const struct check *c, const struct node *n, const struct look *at,
			    const struct seen *seen, uint32_t *fitting)
{
	const struct zk_stat *stat = seen != NULL ? seen->stat : NULL;
	uint32_t found = NONE;

	*fitting = 0;

	for (uint32_t k = n->cands; k != NONE; k = c->cands.at[k].next) {
		const struct cand *cand = &c->cands.at[k];
		const struct hop *asked = cand_asked(c, cand);
		if (!usable(cand, CAND_CREATE, stat != NULL ? stat->czxid : at->zxid) ||
		    !owner_fits(c, cand, seen))
			continue;
		if (stat != NULL && stat->version == 0 &&
		    (asked->data_bytes != (uint32_t)stat->data_length ||
		     (seen->has_data && asked->data_bytes > 0 &&
		      asked->data_hash != seen->data_hash)))
			continue;
		if (found == NONE || stat == NULL || stat->czxid <= cand->most)
			found = k;
		++*fitting;
	}
	if (n->parent == NONE)
		return found;
	struct pk_bytes path = hist_path(c->h, n->path);
	for (uint32_t k = c->nodes[n->parent].kid_cands; k != NONE; k = c->cands.at[k].next_kid) {
		const struct cand *cand = &c->cands.at[k];
		struct pk_bytes prefix = hist_path(c->h, cand->path);
		if (!usable(cand, CAND_CREATE_SEQ, stat != NULL ? stat->czxid : at->zxid) ||
		    path.len != prefix.len + 10 || !pk_bytes_starts(path, prefix) ||
		    !owner_fits(c, cand, seen))
			continue;
		const struct hop *asked = cand_asked(c, cand);
		if (seen != NULL && seen->has_data && stat != NULL && stat->version == 0 &&
		    asked->data_bytes > 0 && asked->data_hash != seen->data_hash)
			continue;
		if (found == NONE)
			found = k;
		++*fitting;
	}
	return found;
}

/* May one that goes by itself have made it? */
static bool maybe_fleeting(const struct check *c, const struct node *n, int64_t zxid)
{
	uint32_t k = n->cands;

	for (; k != NONE; k = c->cands.at[k].next)
		if (usable(&c->cands.at[k], CAND_CREATE, zxid) &&
		    kind_of(cand_asked(c, &c->cands.at[k])) != NODE_PLAIN)
			return true;
	k = n->parent != NONE ? c->nodes[n->parent].kid_cands : NONE;
	for (; k != NONE; k = c->cands.at[k].next_kid)
		if (usable(&c->cands.at[k], CAND_CREATE_SEQ, zxid) &&
		    kind_of(cand_asked(c, &c->cands.at[k])) != NODE_PLAIN)
			return true;
	return false;
}

/* One of several that may have made it: little but that it is there can be told, and none is used
 * up. */
static void create_by_some(struct check *c, uint32_t index, struct node *n, int64_t zxid,
			   const struct look *at)
{
	const struct cand *k = &c->cands.at[index];
	bool was = c->inferring;

	c->inferring = true;
	check_apply_create(c, n->path, cand_asked(c, k), k->op, zxid, at->zxid);
	c->inferring = was;
	n->s.known &= (uint16_t) ~(K_DATA | K_BYTES | K_ACL);
	if (!maybe_fleeting(c, n, at->zxid))
		return;
	owner_unlink(c, n);
	n->s.kind = NODE_UNKNOWN;
	n->s.known &= (uint16_t)~K_OWNER;
}

bool force_there(struct check *c, uint32_t path, const struct look *at)
{
	struct node *n = check_node(c, path);

	if (n->system || n->s.there == THERE_YES)
		return true;
	if (n->s.there == THERE_UNKNOWN) {
		forget(c, n, THERE_YES);
		kid_link(c, n);
		if (n->parent != NONE)
			kid_note(c, &c->nodes[n->parent], at->zxid, 0);
		return true;
	}
	uint32_t fitting, k = find_create(c, n, at, NULL, &fitting);
	if (k == NONE)
		return false;
	if (n->parent != NONE && !force_there(c, n->parent, at))
		return false;
	if (fitting > 1)
		create_by_some(c, k, n, ZXID_UNKNOWN, at);
	else
		use_cand(c, k, path, ZXID_UNKNOWN, at);
	return true;
}

/* Children whose fate may be unknown are forgotten; the list is not known any more. */
static void forget_kids(struct check *c, struct node *n, const struct look *at)
{
	uint32_t kid = n->first_kid, session;

	n->s.known &= (uint16_t)~K_KIDS;
	kid_note(c, n, at->zxid, 0);
	while (kid != NONE) {
		struct node *k = &c->nodes[kid];
		kid = k->next_kid;
		if (!check_may_delete(c, k, at->zxid) && !may_be_gone(c, k, at, &session))
			continue;
		owner_unlink(c, k);
		kid_unlink(c, k);
		forget(c, k, THERE_UNKNOWN);
	}
	/* and those that may have come */
	for (uint32_t i = n->kid_cands; i != NONE; i = c->cands.at[i].next_kid) {
		struct node *k = &c->nodes[c->cands.at[i].path];
		if (usable(&c->cands.at[i], CAND_CREATE, at->zxid) && k->s.there == THERE_NO)
			forget(c, k, THERE_UNKNOWN);
	}
}

/* How many children may have gone without our knowing. Those that are not known by name, counted or
 * not, came from creates of unknown outcome or were forgotten: their owners may have ended. */
static uint32_t kids_maybe_gone(struct check *c, struct node *n, const struct look *at)
{
	uint32_t count = count_usable(c, n, CAND_DELETE, true, at->zxid), session;

	if ((n->s.known & (K_KIDS | K_COUNT)) == K_COUNT &&
	    n->s.num_children > (int64_t)n->s.kid_count)
		count += (uint32_t)n->s.num_children - n->s.kid_count;
	count += (n->s.known & (K_KIDS | K_COUNT)) == 0;
	for (uint32_t kid = n->first_kid; kid != NONE; kid = c->nodes[kid].next_kid)
		count += may_be_gone(c, &c->nodes[kid], at, &session);
	return count;
}

static uint32_t kids_maybe_new(struct check *c, struct node *n, const struct look *at)
{
	return count_usable(c, n, CAND_CREATE, true, at->zxid) +
	       count_usable(c, n, CAND_CREATE_SEQ, true, at->zxid);
}

bool force_childless(struct check *c, uint32_t path, const struct look *at)
{
	struct node *n = check_node(c, path);

	if (n->s.there != THERE_YES || (n->s.known & K_COUNT) == 0 || n->s.num_children == 0)
		return true;
	uint32_t gone = kids_maybe_gone(c, n, at);
	if (gone < (uint32_t)n->s.num_children)
		return false;
	forget_kids(c, n, at);
	n->s.num_children = 0;
	n->s.known &= (uint16_t)~K_PZXID;
	n->kids_seen = at->lo;
	return true;
}

bool force_children(struct check *c, uint32_t path, const struct look *at)
{
	struct node *n = check_node(c, path);

	if (n->s.there != THERE_YES || (n->s.known & K_COUNT) == 0 || n->s.num_children > 0)
		return true;
	if (kids_maybe_new(c, n, at) == 0)
		return false;
	forget_kids(c, n, at);
	n->s.known &= (uint16_t) ~(K_COUNT | K_CREATES | K_PZXID);
	return true;
}

bool force_changed(struct check *c, uint32_t path, bool acl, const struct look *at)
{
	struct node *n = check_node(c, path);
	enum cand_kind kind = acl ? CAND_ACL : CAND_SET;

	if (count_usable(c, n, kind, false, at->zxid) == 0 &&
	    (count_usable(c, n, CAND_CREATE, false, at->zxid) == 0))
		return false;
	if (acl)
		n->s.known &= (uint16_t) ~(K_AVERSION | K_ACL);
	else
		n->s.known &= (uint16_t) ~(K_VERSION | K_MZXID | K_MTIME | K_DATA | K_BYTES);
	if (count_usable(c, n, CAND_CREATE, false, at->zxid) > 0)
		n->s.known = K_KIDS & n->s.known; /* it may be another node by now */
	return true;
}

bool force_creates(struct check *c, uint32_t parent, int32_t creates, const struct look *at)
{
	struct node *n = check_node(c, parent);
	int64_t more = (int64_t)creates - n->s.creates;

	if (more < 0 || more > kids_maybe_new(c, n, at))
		return false;
	forget_kids(c, n, at);
	n->s.creates = creates;
	n->s.known &= (uint16_t) ~(K_COUNT | K_PZXID);
	n->kids_seen = at->lo;
	return true;
}

/* ---- looking ---- */

#define D_THERE (1u << 16)
#define D_SELF                                                                                     \
	(K_CZXID | K_MZXID | K_CTIME | K_MTIME | K_VERSION | K_AVERSION | K_OWNER | K_DATA |       \
	 K_BYTES | K_ACL)
#define D_KIDS (K_PZXID | K_CREATES | K_COUNT | K_KIDS)

static int32_t creates_of(const struct zk_stat *s)
{
	return (int32_t)(((int64_t)s->cversion + s->num_children) / 2);
}

static uint64_t names_hash(struct pk_bytes names, uint32_t *count)
{
	struct pk_bytes name;
	uint64_t sum = 0;

	*count = 0;
	while (hist_name_next(&names, &name)) {
		sum += pk_hist_hash(name);
		++*count;
	}
	return sum;
}

static unsigned differ(const struct state *m, const struct seen *s)
{
	unsigned d = 0;

	if (s->absent)
		return m->there == THERE_YES || (m->there == THERE_UNKNOWN && m->kid_count > 0)
			       ? D_THERE
			       : 0;
	if (m->there == THERE_NO)
		return D_THERE;
	if (s->stat != NULL) {
		const struct zk_stat *t = s->stat;
		d |= m->czxid != t->czxid ? K_CZXID : 0;
		d |= m->mzxid != t->mzxid ? K_MZXID : 0;
		d |= m->pzxid != t->pzxid ? K_PZXID : 0;
		d |= m->ctime != t->ctime ? K_CTIME : 0;
		d |= m->mtime != t->mtime ? K_MTIME : 0;
		d |= m->version != t->version ? K_VERSION : 0;
		d |= m->aversion != t->aversion ? K_AVERSION : 0;
		d |= m->owner != t->ephemeral_owner ? K_OWNER : 0;
		d |= m->num_children != t->num_children ? K_COUNT : 0;
		d |= m->creates != creates_of(t) || (t->cversion + t->num_children) % 2 != 0
			     ? K_CREATES
			     : 0;
		d |= (int64_t)m->data_bytes != t->data_length ? K_BYTES : 0;
	}
	if (s->has_data) {
		d |= m->data_bytes != s->data_bytes ? K_BYTES : 0;
		d |= s->data_bytes > 0 && m->data_hash != s->data_hash ? K_DATA : 0;
	}
	if (s->has_names && (m->known & (K_KIDS | K_COUNT)) != 0) {
		uint32_t count;
		d |= names_hash(s->names, &count) != m->kids_hash || count != m->kid_count ? K_KIDS
											   : 0;
		d |= (int64_t)count != m->num_children ? K_COUNT : 0;
	}
	if (s->has_acl)
		d |= m->acl != s->acl ? K_ACL : 0;
	if (s->has_owner)
		d |= m->owner != s->owner ? K_OWNER : 0;
	return d & m->known;
}

static uint32_t child_id(struct check *c, const struct node *n, struct pk_bytes name)
{
	struct pk_buf path = PK_BUF_INIT;

	if (n->path != HIST_ROOT)
		pk_buf_add_bytes(&path, hist_path(c->h, n->path));
	pk_buf_add_u8(&path, '/');
	pk_buf_add_bytes(&path, name);
	uint32_t id = htext_find(&c->h->paths, pk_buf_bytes(&path));
	pk_buf_release(&path);
	return id;
}

/* The list is taken over: who is on it is there, nobody else. */
static void learn_kids(struct check *c, struct node *n, const struct look *at,
		       struct pk_bytes names)
{
	struct pk_bytes left = names, name;

	kid_note(c, n, at->zxid, 0);
	c->stamp++;
	while (hist_name_next(&left, &name)) {
		uint32_t id = child_id(c, n, name);
		if (id == NONE)
			continue;
		struct node *kid = &c->nodes[id];
		kid->stamp = c->stamp;
		if (kid->s.there != THERE_YES)
			forget(c, kid, THERE_YES);
		kid_link(c, kid);
	}
	for (uint32_t id = n->first_kid; id != NONE;) {
		struct node *kid = &c->nodes[id];
		id = kid->next_kid;
		if (kid->stamp == c->stamp)
			continue;
		owner_unlink(c, kid);
		kid_unlink(c, kid);
		forget(c, kid, THERE_NO);
	}
	n->s.kids_hash = names_hash(names, &n->s.kid_count);
	n->s.known |= K_KIDS;
}

static void learn(struct check *c, struct node *n, const struct look *at, const struct seen *s)
{
	const unsigned main_fields = K_CZXID | K_MZXID | K_VERSION;
	struct state *m = &n->s;

	bool value = s->stat != NULL || s->has_data; /* else nothing of its own was shown */
	if (m->there == THERE_UNKNOWN ||
	    (value && (m->known & main_fields) != main_fields && at->zxid > n->learned))
		n->learned = at->zxid;
	if (m->there == THERE_UNKNOWN) {
		forget(c, n, s->absent ? THERE_NO : THERE_YES);
		if (!s->absent && n->parent != NONE) {
			kid_link(c, n);
			kid_note(c, &c->nodes[n->parent], at->zxid, 0);
		}
	}
	if (s->absent)
		return;
	if (s->stat != NULL) {
		const struct zk_stat *t = s->stat;
		bool owner_new = (m->known & K_OWNER) == 0;
		if ((m->known & K_COUNT) == 0 &&
		    ((m->known & K_KIDS) == 0 || (int64_t)m->kid_count != t->num_children))
			forget_kids(c, n, at); /* who of them is counted is not told */
		m->czxid = t->czxid;
		m->mzxid = t->mzxid;
		m->pzxid = t->pzxid;
		m->pzxid_least = 0;
		m->ctime = t->ctime;
		m->mtime = t->mtime;
		m->version = t->version;
		m->aversion = t->aversion;
		m->num_children = t->num_children;
		m->creates = creates_of(t);
		m->data_bytes = (uint32_t)t->data_length;
		if (owner_new) {
			m->owner = t->ephemeral_owner;
			owner_link(c, n);
		}
		if (t->num_children == 0 && (m->known & K_KIDS) == 0)
			learn_kids(c, n, at, PK_BYTES_NONE);
		m->known |= K_ALL & ~(K_DATA | K_ACL | K_KIDS);
	}
	if (s->has_data) {
		m->data_hash = s->data_bytes > 0 ? s->data_hash : 0;
		m->data_bytes = s->data_bytes;
		m->known |= K_BYTES;
		if (s->data_bytes == 0 || s->data_hash != 0)
			m->known |= K_DATA;
	}
	if (s->has_names && (m->known & K_KIDS) == 0)
		learn_kids(c, n, at, s->names);
	if (s->has_acl) {
		m->acl = s->acl;
		m->known |= K_ACL;
	}
	if (s->has_owner && (m->known & K_OWNER) == 0) {
		m->owner = s->owner;
		m->known |= K_OWNER;
		owner_link(c, n);
	}
}

/* Seen to be just so, at a zxid where it surely was: what comes to light later came later. */
static void confirm(struct node *n, const struct look *at, const struct seen *s)
{
	if ((s->absent || s->stat != NULL) && at->lo > n->seen)
		n->seen = at->lo;
	if ((s->absent || s->stat != NULL) && at->lo > n->kids_seen)
		n->kids_seen = at->lo;
	if ((s->absent || s->stat != NULL) && at->lo > n->told)
		n->told = at->lo;
	if (s->has_names && at->lo > n->listed)
		n->listed = at->lo;
}

/* ---- explaining ---- */

/* May something that nobody was told of have happened at this zxid? */
static bool free_zxid(const struct check *c, int64_t zxid, int64_t after, const struct look *at)
{
	return zxid > after && zxid <= at->zxid && check_known(c, zxid) == NONE;
}

static bool explain_create(struct check *c, struct node *n, const struct look *at,
			   const struct seen *s)
{
	uint32_t fitting, k = find_create(c, n, at, s, &fitting);
	int64_t zxid = s->stat != NULL ? s->stat->czxid : ZXID_UNKNOWN;

	if (k == NONE || (s->stat != NULL && !free_zxid(c, s->stat->czxid, n->seen, at)))
		return false;
	if (n->parent != NONE && !force_there(c, n->parent, at))
		return false;
	if (fitting > 1)
		create_by_some(c, k, n, zxid, at);
	else
		use_cand(c, k, n->path, zxid, at);
	return true;
}

/* May this set have made what was seen: its value, and the version after the one it asked for? */
static bool set_fits(const struct hop *asked, const struct seen *s)
{
	return asked->data_bytes == (uint32_t)s->stat->data_length &&
	       (!s->has_data || asked->data_bytes == 0 || asked->data_hash == s->data_hash) &&
	       (asked->version == ZK_VERSION_ANY ||
		(int64_t)asked->version + 1 == s->stat->version);
}

/* One or more sets that nobody was told of. */
static bool explain_set(struct check *c, struct node *n, const struct look *at,
			const struct seen *s)
{
	const struct zk_stat *t = s->stat;
	uint32_t fits = NONE, fitting = 0, hashes = 0;
	uint64_t hash = 0;
	bool of_multi = false;

	if (t == NULL || ((n->s.known & K_MZXID) != 0 && !free_zxid(c, t->mzxid, n->seen, at)))
		return false;
	int64_t more = (int64_t)t->version - n->s.version;
	if ((n->s.known & K_VERSION) != 0 &&
	    (more < 1 || more > count_usable(c, n, CAND_SET, false, t->mzxid)))
		return false;
	for (uint32_t k = n->cands; k != NONE; k = c->cands.at[k].next) {
		const struct cand *cand = &c->cands.at[k];
		const struct hop *asked = cand_asked(c, cand);
		bool just = cand->kind == CAND_SET && cand->placed == t->mzxid;
		if ((!usable(cand, CAND_SET, t->mzxid) && !just) || !set_fits(asked, s))
			continue;
		if (just) {
			fits = k;
			hashes = 1;
			break;
		}
		hashes += fitting == 0 || asked->data_hash != hash;
		hash = asked->data_hash;
		of_multi |= cand->sub != NONE;
		fitting++;
		if (fits == NONE || t->mzxid <= cand->most)
			fits = k;
	}
	if (fits == NONE)
		return false;
	/* Which it was is open: nothing is used up, and no multi's other parts need have happened.
	 */
	if (hashes > 1 || more != 1 || (fitting > 1 && of_multi)) {
		struct state *m = &n->s;
		m->version = t->version;
		m->mzxid = t->mzxid;
		m->data_bytes = (uint32_t)t->data_length;
		m->known |= K_VERSION | K_MZXID | K_BYTES;
		m->known &= (uint16_t) ~(K_DATA | K_MTIME);
		n->changed = t->mzxid > n->changed ? t->mzxid : n->changed;
		return true;
	}
	use_cand(c, fits, n->path, t->mzxid, at);
	return true;
}

/* Sets between two that are known: only the version tells of them. */
static bool explain_version(struct check *c, struct node *n, const struct look *at,
			    const struct seen *s)
{
	int64_t more = (int64_t)s->stat->version - n->s.version;
	uint32_t most = count_usable(c, n, CAND_SET, false, at->zxid);

	if (more < 1 || more > most)
		return false;
	n->s.version = s->stat->version;
	for (uint32_t k = n->cands; k != NONE && more == most; k = c->cands.at[k].next) {
		if (!usable(&c->cands.at[k], CAND_SET, at->zxid))
			continue;
		c->cands.at[k].used = true; /* all of them, so it is known which */
		c->report->unknown_happened += c->cands.at[k].sub == NONE;
	}
	return true;
}

static bool explain_acl(struct check *c, struct node *n, const struct look *at,
			const struct seen *s)
{
	if (s->stat == NULL)
		return count_usable(c, n, CAND_ACL, false, at->zxid) > 0;
	int64_t more = (int64_t)s->stat->aversion - n->s.aversion;
	if (more < 1 || more > count_usable(c, n, CAND_ACL, false, at->zxid))
		return false;
	n->s.aversion = s->stat->aversion;
	n->s.known &= (uint16_t)~K_ACL;
	return true;
}

/* By name: who came and who went. */
static void explain_names(struct check *c, struct node *n, const struct look *at,
			  const struct seen *s)
{
	struct pk_bytes left = s->names, name;
	uint32_t stamp = ++c->stamp;

	while (hist_name_next(&left, &name)) {
		uint32_t id = child_id(c, n, name);
		if (id != NONE)
			c->nodes[id].stamp = stamp;
	}
	for (uint32_t id = n->first_kid; id != NONE;) {
		uint32_t next = c->nodes[id].next_kid;
		if (c->nodes[id].stamp != stamp && force_absent(c, id, at))
			next = n->first_kid; /* others may have gone with it */
		else if (c->nodes[id].stamp != stamp)
			return;
		id = next;
	}
	left = s->names;
	while (hist_name_next(&left, &name)) {
		uint32_t id = child_id(c, n, name);
		if (id != NONE && c->nodes[id].s.there != THERE_YES && !force_there(c, id, at))
			return;
	}
}

/* A session that ended there may have taken along what nobody was told that it had made. */
static bool session_end_at(const struct check *c, int64_t zxid, int64_t after)
{
	uint32_t op = check_known(c, zxid);

	if (op == NONE || zxid <= after)
		return false;
	return op == NONE - 1 || c->h->ops.at[op].op == ZK_OP_CLOSE_SESSION;
}

/* The numbers alone: they must be such that those who may have come and gone make them. */
static bool explain_numbers(struct check *c, struct node *n, const struct look *at,
			    const struct seen *s)
{
	uint32_t maybe_new = kids_maybe_new(c, n, at), maybe_gone = kids_maybe_gone(c, n, at);
	int64_t created = 0, gone;
	struct state *m = &n->s;

	if (maybe_new == 0 && maybe_gone == 0 && m->pzxid_least == 0)
		return false;
	if (s->stat != NULL) {
		const struct zk_stat *t = s->stat;
		if ((m->known & K_CREATES) != 0)
			created = (int64_t)creates_of(t) - m->creates;
		if (created < 0 || created > maybe_new)
			return false;
		gone = (m->known & (K_COUNT | K_CREATES)) == (K_COUNT | K_CREATES)
			       ? created - ((int64_t)t->num_children - m->num_children)
			       : 0;
		/* who came may have gone again */
		if (gone < 0 || gone > (int64_t)maybe_gone + created)
			return false;
		int64_t last = m->pzxid_least != 0 ? m->pzxid_least : m->pzxid;
		int64_t after = last > n->kids_seen ? last : n->kids_seen;
		bool before = m->pzxid_least != 0 && t->pzxid == last && after == last;
		if ((m->known & K_PZXID) != 0 && t->pzxid != m->pzxid && !before &&
		    !free_zxid(c, t->pzxid, after, at) && !session_end_at(c, t->pzxid, after))
			return false;
		m->pzxid = t->pzxid;
		m->pzxid_least = 0;
		m->creates = creates_of(t);
		m->num_children = t->num_children;
		m->known |= K_PZXID | K_CREATES | K_COUNT;
		n->kids_seen = at->lo > n->kids_seen ? at->lo : n->kids_seen;
	} else {
		uint32_t count;
		pk_ignore(names_hash(s->names, &count) != 0, "who they are is known by now");
		gone = (m->known & K_COUNT) != 0 ? m->num_children - (int64_t)count : 0;
		if (gone > (int64_t)maybe_gone || -gone > (int64_t)maybe_new)
			return false;
		m->known &= (uint16_t) ~(K_PZXID | K_CREATES | K_COUNT);
	}
	forget_kids(c, n, at);
	return true;
}

/* Children that came, or were seen, behind this zxid are not those of a node that went before it:
 * they are taken out of its list. */
struct kids {
	HIST_VEC(uint32_t) ids;
};

static void kids_take(struct check *c, struct node *n, int64_t zxid, struct kids *out)
{
	for (uint32_t id = n->first_kid; id != NONE;) {
		struct node *kid = &c->nodes[id];
		bool came = (kid->s.known & K_CZXID) != 0 && kid->s.czxid > zxid;
		id = kid->next_kid;
		if (!came && kid->seen <= zxid && n->listed <= zxid)
			continue;
		kid_unlink(c, kid);
		*HIST_PUSH(&out->ids) = kid->path;
	}
}

/* They are back below the node that was made at that zxid, and what they did to its numbers is done
 * again. */
static void kids_give(struct check *c, struct node *n, int64_t zxid, struct kids *kids)
{
	bool unsure = false;
	struct state *m = &n->s;

	for (uint32_t i = 0; i < kids->ids.count; i++) {
		struct node *kid = &c->nodes[kids->ids.at[i]];
		if (kid->s.there == THERE_YES)
			kid_link(c, kid);
		else
			unsure = true;
	}
	free(kids->ids.at);
	for (uint32_t i = n->kid_log; i != NONE; i = c->kid_changes.at[i].older) {
		const struct kid_change *k = &c->kid_changes.at[i];
		if (k->zxid <= zxid)
			continue;
		unsure |= k->way == 0;
		m->num_children += k->way;
		m->creates += k->way > 0;
		m->pzxid = k->zxid > m->pzxid ? k->zxid : m->pzxid;
	}
	if (unsure)
		m->known &= (uint16_t) ~(K_KIDS | K_COUNT | K_CREATES | K_PZXID);
}

/* It is another node than was known: the one that was there went, and this one came. That may have
 * been long ago: all that is known to have happened below it since stays. */
static bool explain_made(struct check *c, struct node *n, const struct look *at,
			 const struct seen *s)
{
	int64_t seen = n->seen, zxid = s->stat != NULL ? s->stat->czxid : ZXID_UNKNOWN;
	bool gone = n->s.there != THERE_YES;
	struct look before = *at;
	struct kids kids = { 0 };

	if (!gone && zxid != ZXID_UNKNOWN) {
		if (!free_zxid(c, zxid, seen, at))
			return false;
		before.zxid = zxid;
		before.lo = zxid < at->lo ? zxid : at->lo;
		kids_take(c, n, zxid, &kids);
	}
	gone = gone || force_absent(c, n->path, &before);
	n->seen = gone ? seen : n->seen;
	bool made = gone && explain_create(c, n, at, s);
	if (made && zxid != ZXID_UNKNOWN) {
		kids_give(c, n, zxid, &kids);
		return true;
	}
	for (uint32_t i = 0; i < kids.ids.count; i++)
		kid_link(c, &c->nodes[kids.ids.at[i]]);
	free(kids.ids.at);
	return made;
}

void force_made(struct check *c, uint32_t path, const struct zk_stat *stat, const struct look *at)
{
	struct node *n = check_node(c, path);
	struct seen s = { .stat = stat };

	if ((differ(&n->s, &s) & (D_THERE | K_CZXID | K_OWNER)) != 0)
		pk_ignore(explain_made(c, n, at, &s), "the stat is looked at again");
}

static void explain(struct check *c, struct node *n, const struct look *at, const struct seen *s)
{
	unsigned d = differ(&n->s, s);

	if (s->absent) {
		pk_ignore(force_absent(c, n->path, at), "the caller looks again");
		return;
	}
	if ((d & (D_THERE | K_CZXID | K_OWNER)) != 0) {
		if (!explain_made(c, n, at, s))
			return;
		d = differ(&n->s, s);
	}
	unsigned value = d & (K_MZXID | K_VERSION | K_BYTES | K_DATA);
	if (value != 0) {
		bool told = (n->s.known & K_CZXID) != 0; /* else it may be another node */
		if (!(value == K_VERSION ? explain_version(c, n, at, s)
					 : explain_set(c, n, at, s)) &&
		    (told || !explain_made(c, n, at, s)))
			return;
		d = differ(&n->s, s);
	}
	if ((d & (K_AVERSION | K_ACL)) != 0) {
		if (!explain_acl(c, n, at, s))
			return;
		d = differ(&n->s, s);
	}
	if ((d & D_KIDS) != 0 && s->has_names) {
		explain_names(c, n, at, s);
		d = differ(&n->s, s);
	}
	if ((d & D_KIDS) != 0)
		pk_ignore(explain_numbers(c, n, at, s), "the caller looks again");
}

/* A read of ZooKeeper's shows some zxid from lo on. */
static bool was_so(const struct check *c, const struct node *n, const struct look *at,
		   const struct seen *s)
{
	for (uint32_t v = n->versions; v != NONE; v = c->versions.at[v].older) {
		const struct version *old = &c->versions.at[v];
		if (old->until <= at->lo)
			return false;
		if (old->s.there == THERE_UNKNOWN || differ(&old->s, s) == 0)
			return true;
	}
	return false;
}

/* ---- telling ---- */

enum check_rule check_why(struct check *c, const struct look *at, uint32_t path, bool absent)
{
	const struct node *n = &c->nodes[path];
	uint32_t session = n->s.owner != 0 ? check_session(c, n->s.owner) : NONE;

	if (session != NONE && n->s.kind == NODE_EPHEMERAL) {
		const struct csession *s = &c->sessions[session];
		if (absent)
			return s->end_by != 0 ? CHECK_EPHEMERAL_ATOMIC : CHECK_EPHEMERAL_EARLY;
		if (s->end_zxid != 0 && s->end_zxid <= at->zxid)
			return CHECK_EPHEMERAL_STAYS;
		if (s->end_by != 0)
			return CHECK_EPHEMERAL_ATOMIC;
	}
	if (at->final)
		return CHECK_ACKNOWLEDGED_LOST;
	return n->by_multi ? CHECK_MULTI_ATOMIC : CHECK_READ_STATE;
}

static enum check_rule why(struct check *c, const struct look *at, const struct node *n,
			   const struct seen *s, unsigned d)
{
	if ((d & D_THERE) != 0)
		return check_why(c, at, n->path, s->absent);
	if (d == K_ACL)
		return CHECK_ACL;
	if (s->has_owner)
		return CHECK_READ_STATE;
	unsigned content = K_CZXID | K_MZXID | K_DATA | (s->has_data ? K_BYTES : 0);
	if (at->final && (d & (content | K_KIDS)) != 0)
		return CHECK_ACKNOWLEDGED_LOST;
	if ((d & content) != 0)
		return n->by_multi ? CHECK_MULTI_ATOMIC : CHECK_READ_STATE;
	if ((d & K_KIDS) != 0 || (s->has_names && s->stat == NULL)) {
		/* A session's nodes gone in part are told as such. */
		struct pk_bytes left = s->names, name;
		uint32_t stamp = ++c->stamp;
		while (hist_name_next(&left, &name)) {
			uint32_t id = child_id(c, n, name);
			if (id == NONE)
				continue;
			c->nodes[id].stamp = stamp;
			if (c->nodes[id].s.there == THERE_NO) {
				enum check_rule r = check_why(c, at, id, false);
				if (r == CHECK_EPHEMERAL_ATOMIC || r == CHECK_EPHEMERAL_STAYS)
					return r;
			}
		}
		for (uint32_t id = n->first_kid; id != NONE; id = c->nodes[id].next_kid)
			if (c->nodes[id].stamp != stamp && c->nodes[id].s.kind == NODE_EPHEMERAL &&
			    c->nodes[id].s.owner != 0)
				return CHECK_EPHEMERAL_EARLY;
		return n->by_multi ? CHECK_MULTI_ATOMIC : CHECK_READ_STATE;
	}
	return CHECK_STAT;
}

static void put_state(struct pk_buf *b, const struct state *m, const struct seen *s, unsigned d)
{
	static const struct {
		unsigned bit;
		const char *name;
	} names[] = { { K_CZXID, "czxid" },      { K_MZXID, "mzxid" },
		      { K_PZXID, "pzxid" },      { K_CTIME, "ctime" },
		      { K_MTIME, "mtime" },      { K_VERSION, "version" },
		      { K_CREATES, "cversion" }, { K_AVERSION, "aversion" },
		      { K_OWNER, "owner" },      { K_COUNT, "numChildren" },
		      { K_BYTES, "dataLength" }, { K_DATA, "data" },
		      { K_KIDS, "children" },    { K_ACL, "acl" } };
	const struct zk_stat none = { 0 }, *t = s->stat != NULL ? s->stat : &none;
	const int64_t seen[] = { t->czxid,
				 t->mzxid,
				 t->pzxid,
				 t->ctime,
				 t->mtime,
				 t->version,
				 t->cversion,
				 t->aversion,
				 t->ephemeral_owner,
				 t->num_children,
				 s->has_data ? (int64_t)s->data_bytes : t->data_length,
				 (int64_t)s->data_hash };
	const int64_t want[] = { m->czxid,
				 m->mzxid,
				 m->pzxid,
				 m->ctime,
				 m->mtime,
				 m->version,
				 2 * (int64_t)m->creates - m->num_children,
				 m->aversion,
				 m->owner,
				 m->num_children,
				 m->data_bytes,
				 (int64_t)m->data_hash };

	for (size_t i = 0; i < PK_COUNT(names); i++) {
		if ((d & names[i].bit) == 0)
			continue;
		if (i >= PK_COUNT(seen))
			pk_buf_printf(b, " %s", names[i].name);
		else
			pk_buf_printf(b, " %s %#" PRIx64 " not %#" PRIx64, names[i].name,
				      (uint64_t)seen[i], (uint64_t)want[i]);
	}
}

static void put_names(struct check *c, struct pk_buf *b, const struct node *n, const struct seen *s)
{
	struct pk_bytes left = s->names, name;
	uint32_t stamp = ++c->stamp;

	while (hist_name_next(&left, &name)) {
		uint32_t id = child_id(c, n, name);
		if (id != NONE)
			c->nodes[id].stamp = stamp;
		if ((id == NONE || c->nodes[id].s.there != THERE_YES) && b->len < 400)
			pk_buf_printf(b, " %.*s", (int)name.len, name.data);
	}
	pk_buf_add_str(b, " too many; missing:");
	for (uint32_t id = n->first_kid; id != NONE && b->len < 800; id = c->nodes[id].next_kid) {
		struct pk_bytes path = hist_path(c->h, id);
		if (c->nodes[id].stamp != stamp)
			pk_buf_printf(b, " %.*s", (int)path.len, path.data);
	}
}

static void tell(struct check *c, const struct look *at, const struct node *n, const struct seen *s,
		 unsigned d)
{
	enum check_rule rule = why(c, at, n, s, d);
	struct pk_bytes path = hist_path(c->h, n->path);
	struct pk_buf b = PK_BUF_INIT;

	if (s->absent)
		pk_buf_printf(&b, "%.*s is not there, and was last changed at %#" PRIx64,
			      (int)path.len, path.data, (uint64_t)n->changed);
	else if ((d & D_THERE) != 0)
		pk_buf_printf(&b, "%.*s is there, and was %s", (int)path.len, path.data,
			      n->changed > 0 ? "deleted" : "never created");
	else
		pk_buf_printf(&b, "%.*s shows", (int)path.len, path.data);
	put_state(&b, &n->s, s, d);
	if ((d & K_KIDS) != 0)
		put_names(c, &b, n, s);
	if (at->op != NONE)
		check_bad_op(c, rule, at->op, "%s", pk_buf_str(&b));
	else
		check_bad(c, rule, UINT32_MAX, 0, at->zxid, "dump at zxid %#" PRIx64 ": %s",
			  (uint64_t)at->zxid, pk_buf_str(&b));
	pk_buf_release(&b);
}

/* An ephemeral node must have an owner that may live at this zxid. */
static void judge_owner(struct check *c, const struct look *at, const struct node *n)
{
	uint32_t session = owner_session(c, n);

	if (session == NONE)
		return;
	const struct csession *s = &c->sessions[session];
	struct pk_bytes path = hist_path(c->h, n->path);
	check_judged(c, CHECK_EPHEMERAL_STAYS);
	enum check_rule rule = CHECK_RULES;
	if (at->lo >= s->gone_zxid || (s->end_zxid != 0 && at->lo >= s->end_zxid))
		rule = CHECK_EPHEMERAL_STAYS;
	else if (at->lo >= s->late_zxid)
		rule = CHECK_SESSION_LATE;
	if (s->late_zxid != INT64_MAX)
		check_judged(c, CHECK_SESSION_LATE);
	if (rule == CHECK_RULES)
		return;
	if (at->op != NONE)
		check_bad_op(c, rule, at->op, "%.*s of session %#" PRIx64 " is there",
			     (int)path.len, path.data, s->id);
	else
		check_bad(c, rule, UINT32_MAX, 0, at->zxid,
			  "dump: %.*s of session %#" PRIx64 " is there", (int)path.len, path.data,
			  s->id);
}

/* A list where not all children are known: is anybody on it who surely is not there, or not on it
 * who surely is? */
static bool names_contradict(struct check *c, const struct node *n, const struct seen *s)
{
	struct pk_bytes left = s->names, name;
	uint32_t stamp = ++c->stamp;

	while (hist_name_next(&left, &name)) {
		uint32_t id = child_id(c, n, name);
		if (id == NONE)
			continue;
		if (c->nodes[id].s.there == THERE_NO)
			return true;
		c->nodes[id].stamp = stamp;
	}
	for (uint32_t id = n->first_kid; id != NONE; id = c->nodes[id].next_kid)
		if (c->nodes[id].stamp != stamp)
			return true;
	return false;
}

bool check_look(struct check *c, const struct look *at, uint32_t path, const struct seen *s)
{
	struct node *n = check_node(c, path);

	if (n->system)
		return true;
	if (s->stat != NULL)
		check_judged(c, CHECK_STAT);
	if (at->final)
		check_judged(c, CHECK_ACKNOWLEDGED_LOST);
	if (!at->write && n->s.kind == NODE_EPHEMERAL) {
		check_judged(c, s->absent ? CHECK_EPHEMERAL_EARLY : CHECK_EPHEMERAL_ATOMIC);
	}
	unsigned d = differ(&n->s, s);
	if (d != 0 && !at->write && at->lo < at->zxid && was_so(c, n, at, s))
		return true; /* it says nothing of later */
	if (d != 0) {
		explain(c, n, at, s);
		d = differ(&n->s, s);
	}
	if (d == 0 && s->has_names && n->s.there == THERE_YES && (n->s.known & K_KIDS) == 0 &&
	    at->lo == at->zxid && names_contradict(c, n, s)) {
		explain_names(c, n, at, s);
		if (differ(&n->s, s) != 0) /* some came whom nobody counted */
			explain(c, n, at, s);
		d = names_contradict(c, n, s) ? K_KIDS : differ(&n->s, s);
	}
	if (d != 0) {
		if (at->lo < at->zxid && n->foggy && n->changed > at->lo)
			return true; /* an older state, of which not all was told */
		tell(c, at, n, s, d);
		return false;
	}
	if (s->stat != NULL)
		acl_confirm(n, s->stat, at->lo);
	learn(c, n, at, s);
	confirm(n, at, s);
	if (!s->absent)
		judge_owner(c, at, n);
	return true;
}

/* ---- the walk ---- */

/* What an item is: its two highest bits; an operation by its key, even for writes. */
enum walk { WALK_OPERATION, WALK_TXN, WALK_DUMP };
#define WALK_BITS 30

static bool read_verdict(const struct hop *op)
{
	return op->err == ZK_OK || op->err == ZK_ENONODE || op->err == ZK_ENOAUTH;
}

/* One read, or a part of a multiRead: is anything in it that can be looked at? */
static bool look_at_read(struct check *c, const struct look *at, const struct hop *op)
{
	const struct history *h = c->h;
	struct seen s = { 0 };

	if (op->err == ZK_ENONODE)
		s.absent = true;
	else if (op->err == ZK_ENOAUTH) {
		bool reads = op->op == ZK_OP_GET_DATA || op->op == ZK_OP_GET_CHILDREN ||
			     op->op == ZK_OP_GET_CHILDREN2;
		if (reads)
			check_acl_answer(c, at->op, op->path, ZK_PERM_READ, true);
		return reads;
	} else if (op->err != ZK_OK) {
		return false;
	}
	if (op->stat != NONE)
		s.stat = &h->stats.at[op->stat];
	if (op->op == ZK_OP_GET_DATA && op->data_given) {
		s.has_data = true;
		s.data_bytes = op->data_bytes;
		s.data_hash = op->data_hash;
	}
	if ((op->op == ZK_OP_GET_CHILDREN || op->op == ZK_OP_GET_CHILDREN2) && op->names != NONE) {
		s.has_names = true;
		s.names = hop_names(h, op);
	}
	if (op->op == ZK_OP_GET_ACL && op->acl_got != NONE &&
	    memmem(hist_text(h, op->acl_got).data, hist_text(h, op->acl_got).len, " digest:", 8) ==
		    NULL) { /* digests are hidden from some */
		s.has_acl = true;
		s.acl = op->acl_got == c->acl_open ? NONE : op->acl_got;
		check_judged(c, CHECK_ACL);
	}
	check_judged(c, CHECK_READ_STATE);
	bool fine = check_look(c, at, op->path, &s);
	if (fine && op->err == ZK_OK &&
	    (op->op == ZK_OP_GET_DATA || op->op == ZK_OP_GET_CHILDREN ||
	     op->op == ZK_OP_GET_CHILDREN2))
		check_acl_answer(c, at->op, op->path, ZK_PERM_READ, false);
	return true;
}

/* The ephemerals of the asking session below a prefix, all of them. */
static bool look_at_ephemerals(struct check *c, const struct look *at, const struct hop *op)
{
	HIST_VEC(uint32_t) gone = { 0 };
	struct pk_bytes prefix = hist_path(c->h, op->path), left, path;
	struct seen absent = { .absent = true }, there = { .has_owner = true };
	uint32_t stamp = ++c->stamp;

	if (op->err != ZK_OK || op->session == NONE || op->names == NONE || at->lo != at->zxid)
		return false;
	const struct csession *s = &c->sessions[op->session];
	left = hop_names(c->h, op);
	while (hist_name_next(&left, &path)) {
		uint32_t id = htext_find(&c->h->paths, path);
		if (id != NONE)
			c->nodes[id].stamp = stamp;
	}
	for (uint32_t i = s->ephemerals; i != NONE; i = c->nodes[i].owner_next)
		if (c->nodes[i].stamp != stamp && pk_bytes_starts(hist_path(c->h, i), prefix))
			*HIST_PUSH(&gone) = i;
	check_judged(c, CHECK_READ_STATE);
	for (uint32_t i = 0; i < gone.count; i++) {
		uint32_t fitting;
		struct node *n = check_node(c, gone.at[i]);
		/* Its own is not there, but one that somebody else made may be. */
		if (find_create(c, n, at, NULL, &fitting) == NONE ||
		    !force_absent(c, gone.at[i], at))
			pk_ignore(check_look(c, at, gone.at[i], &absent), "it was told");
	}
	free(gone.at);
	there.owner = (int64_t)s->id;
	left = hop_names(c->h, op);
	while (hist_name_next(&left, &path)) {
		uint32_t id = htext_find(&c->h->paths, path);
		if (id != NONE)
			pk_ignore(check_look(c, at, id, &there), "it was told");
	}
	return true;
}

static void walk_read(struct check *c, uint32_t index)
{
	const struct hop *op = &c->h->ops.at[index];
	struct look at = { .op = index,
			   .zxid = c->zxids[index],
			   .lo = c->zxids[index],
			   .final = op->invoke_ns >= c->h->final_ns };
	bool judged = false;

	if (c->los != NULL)
		at.lo = c->los[index] < at.lo ? c->los[index] : at.lo;
	if (op->op == ZK_OP_MULTI_READ) {
		for (uint32_t i = 0; i < op->sub_count; i++)
			if (c->h->subs.at[op->subs + i].result)
				judged |= look_at_read(c, &at, &c->h->subs.at[op->subs + i]);
	} else if (op->op == ZK_OP_GET_EPHEMERALS) {
		judged = look_at_ephemerals(c, &at, op);
	} else if (op->op != ZK_OP_GET_ALL_CHILDREN_NUMBER && read_verdict(op)) {
		judged = look_at_read(c, &at, op);
	}
	if (judged)
		c->report->reads_judged++;
	else
		c->report->reads_unjudged++;
}

static void walk_txn(struct check *c, uint32_t index)
{
	const struct htxn *t = &c->h->txns.at[index];

	if (c->fate_of_txn[index] != NONE) {
		apply_told(c, c->fate_of_txn[index], t);
		return;
	}
	if (t->op == ZK_OP_CLOSE_SESSION && t->session != NONE)
		apply_session_end(c, t->session, t->zxid, t->zxid);
	struct look at = { .op = NONE, .zxid = t->zxid, .lo = t->zxid, .write = true };
	if (t->op == ZK_OP_DELETE_CONTAINER && force_there(c, t->path, &at))
		check_apply_delete(c, t->path, t->zxid, t->zxid);
}

static void walk_dump(struct check *c, const struct hdump *d)
{
	struct look at = { .op = NONE, .zxid = d->zxid, .lo = d->zxid, .final = true };
	struct pk_bytes root = hist_path(c->h, d->path);
	uint32_t stamp = ++c->stamp;

	for (uint32_t i = 0; i < d->given; i++)
		c->nodes[c->h->nodes.at[d->first + i].path].stamp = stamp;
	for (uint32_t i = 0; d->given == d->count && i < c->h->paths.count; i++) {
		struct pk_bytes path = hist_path(c->h, i);
		struct seen gone = { .absent = true };
		bool below = pk_bytes_starts(path, root) &&
			     (d->path == HIST_ROOT || path.len == root.len ||
			      path.data[root.len] == '/');
		if (below && c->nodes[i].stamp != stamp && c->nodes[i].s.there == THERE_YES)
			pk_ignore(check_look(c, &at, i, &gone), "it was told");
	}
	for (uint32_t i = 0; i < d->given; i++) {
		const struct hnode *n = &c->h->nodes.at[d->first + i];
		struct seen s = { .stat = n->stat != NONE ? &c->h->stats.at[n->stat] : NULL,
				  .has_data = n->data_given,
				  .data_hash = n->data_hash,
				  .data_bytes = n->data_bytes,
				  .has_acl = n->acl != NONE,
				  .acl = n->acl == c->acl_open ? NONE : n->acl };
		pk_ignore(check_look(c, &at, n->path, &s), "it was told");
	}
}

void check_model(struct check *c)
{
	const struct history *h = c->h;
	size_t most = (size_t)h->ops.count + h->txns.count + h->dumps.count;
	struct sort_item *items = pk_alloc((most + 1) * sizeof(*items));
	size_t count = 0;

	nodes_new(c);
	for (uint32_t i = 0; i < h->ops.count; i++)
		mark_watched(c, &h->ops.at[i]);
	find_cands(c);
	for (uint32_t i = 0; i < h->ops.count; i++) {
		const struct hop *op = &h->ops.at[i];
		bool read = zk_opcode_class(op->op) == ZK_CLASS_READ;
		if (c->zxids[i] <= 0 || (op->status != HOP_OK && op->status != HOP_FAIL)) {
			c->report->reads_unjudged += read && op->status == HOP_OK;
			continue;
		}
		uint64_t key = 2 * (uint64_t)c->zxids[i];
		if (read)
			items[count++] = (struct sort_item){ key + 1, i };
		else if (check_is_write(op->op) && check_verdict(op->err))
			items[count++] = (struct sort_item){ key, i };
	}
	for (uint32_t i = 0; i < h->txns.count; i++)
		items[count++] = (struct sort_item){ 2 * (uint64_t)h->txns.at[i].zxid,
						     (uint32_t)WALK_TXN << WALK_BITS | i };
	for (uint32_t i = 0; i < h->dumps.count; i++)
		items[count++] = (struct sort_item){ 2 * (uint64_t)h->dumps.at[i].zxid + 1,
						     (uint32_t)WALK_DUMP << WALK_BITS | i };
	check_sort(items, count);
	for (size_t i = 0; i < count; i++) {
		uint32_t index = items[i].val & ((1u << WALK_BITS) - 1);
		uint32_t type = items[i].val >> WALK_BITS;
		if (type == WALK_TXN)
			walk_txn(c, index);
		else if (type == WALK_DUMP)
			walk_dump(c, &h->dumps.at[index]);
		else if ((items[i].key & 1) != 0)
			walk_read(c, index);
		else
			apply_write(c, index);
	}
	free(items);
}
