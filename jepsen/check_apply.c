#include <inttypes.h>
#include <stdio.h>

#include "jepsen/check_int.h"

/*
 * What transactions do to the tree, and what they must be answered. Semantics: Apache ZooKeeper
 * release-3.8.0, PrepRequestProcessor and DataTree, told once more and independently of store/.
 */

uint32_t check_session(const struct check *c, int64_t owner)
{
	const struct hsession *s;
	uint64_t id = (uint64_t)owner;

	HASH_FIND(hh, c->h->session_by_id, &id, sizeof(id), s);
	return s != NULL ? s->index : NONE;
}

/* ---- lists ---- */

void kid_link(struct check *c, struct node *n)
{
	if (n->in_tree || n->parent == NONE)
		return;
	struct node *p = &c->nodes[n->parent];
	n->next_kid = p->first_kid;
	n->prev_kid = NONE;
	if (p->first_kid != NONE)
		c->nodes[p->first_kid].prev_kid = n->path;
	p->first_kid = n->path;
	p->s.kids_hash += n->name_hash;
	p->s.kid_count++;
	n->in_tree = true;
}

void kid_unlink(struct check *c, struct node *n)
{
	if (!n->in_tree)
		return;
	struct node *p = &c->nodes[n->parent];
	if (n->prev_kid != NONE)
		c->nodes[n->prev_kid].next_kid = n->next_kid;
	else
		p->first_kid = n->next_kid;
	if (n->next_kid != NONE)
		c->nodes[n->next_kid].prev_kid = n->prev_kid;
	p->s.kids_hash -= n->name_hash;
	p->s.kid_count--;
	n->in_tree = false;
}

/* Remembered below n: who comes or goes. */
void kid_note(struct check *c, struct node *n, int64_t zxid, int way)
{
	uint32_t index = c->kid_changes.count;

	*HIST_PUSH(&c->kid_changes) = (struct kid_change){ .zxid = zxid,
							   .older = n->kid_log,
							   .way = (int8_t)way };
	n->kid_log = index;
}

void kids_drop(struct check *c, struct node *n)
{
	struct node *at = n;

	while (n->first_kid != NONE) {
		while (at->first_kid != NONE)
			at = &c->nodes[at->first_kid];
		struct node *above = &c->nodes[at->parent];
		kid_unlink(c, at);
		owner_unlink(c, at);
		at->s.there = THERE_NO;
		at->s.known = 0;
		at = above;
	}
}

void owner_link(struct check *c, struct node *n)
{
	uint32_t session = n->s.owner != 0 ? check_session(c, n->s.owner) : NONE;

	if (session == NONE || n->owner_prev != n->path)
		return; /* nobody we know, or linked already */
	struct csession *s = &c->sessions[session];
	n->owner_next = s->ephemerals;
	n->owner_prev = NONE;
	if (s->ephemerals != NONE)
		c->nodes[s->ephemerals].owner_prev = n->path;
	s->ephemerals = n->path;
}

void owner_unlink(struct check *c, struct node *n)
{
	if (n->owner_prev == n->path)
		return; /* not linked: it is marked by pointing at itself */
	if (n->owner_prev != NONE)
		c->nodes[n->owner_prev].owner_next = n->owner_next;
	else
		c->sessions[check_session(c, n->s.owner)].ephemerals = n->owner_next;
	if (n->owner_next != NONE)
		c->nodes[n->owner_next].owner_prev = n->owner_prev;
	n->owner_prev = n->path;
}

/* ---- its list of rights ---- */

/* May a request of which nobody knows whether it happened have changed it, up to this zxid, since
 * it was last seen? */
static bool acl_may_differ(const struct check *c, const struct node *n, int64_t zxid)
{
	for (uint32_t i = n->cands; i != NONE; i = c->cands.at[i].next) {
		const struct cand *k = &c->cands.at[i];
		if (!k->used && k->floor < zxid && n->acl_seen < zxid && n->acl_seen < k->most &&
		    (k->kind == CAND_ACL || k->kind == CAND_CREATE || k->kind == CAND_DELETE))
			return true;
	}
	return false;
}

void acl_confirm(struct node *n, const struct zk_stat *stat, int64_t zxid)
{
	const unsigned need = K_ACL | K_CZXID | K_AVERSION;

	if (n->s.there == THERE_YES && (n->s.known & need) == need && n->s.czxid == stat->czxid &&
	    n->s.aversion == stat->aversion && zxid > n->acl_seen)
		n->acl_seen = zxid;
}

/* ---- changes, as watchers see them ---- */

static bool below_a_root(const struct check *c, const struct node *n)
{
	if (!c->recursive_watches)
		return false;
	for (;;) {
		if (n->watch_root)
			return true;
		if (n->parent == NONE || n->parent == n->path)
			return false;
		n = &c->nodes[n->parent];
	}
}

static void tell_change(struct check *c, struct node *n, int32_t type, int64_t zxid, int64_t lo,
			int64_t hi)
{
	bool open = (n->s.known & K_ACL) != 0 && n->s.acl == NONE &&
		    !acl_may_differ(c, n, zxid != ZXID_UNKNOWN ? zxid : hi);

	if (!n->watched && (type == ZK_EVENT_CHILDREN_CHANGED || !below_a_root(c, n)))
		return;
	*HIST_PUSH(&c->changes) = (struct change){ .path = n->path,
						   .type = type,
						   .lo = zxid != ZXID_UNKNOWN ? zxid - 1 : lo,
						   .hi = zxid != ZXID_UNKNOWN ? zxid : hi,
						   .sure = zxid != ZXID_UNKNOWN && open,
						   .open = open };
}

/* ZooKeeper's reads may see an older state: it is kept. */
static void keep_version(struct check *c, struct node *n, int64_t until)
{
	if (c->opts.peer != CHECK_ZOOKEEPER)
		return;
	uint32_t index = c->versions.count;
	*HIST_PUSH(
		&c->versions) = (struct version){ .s = n->s, .until = until, .older = n->versions };
	n->versions = index;
}

/* ---- what transactions do ---- */

static void changed(struct check *c, struct node *n, int64_t zxid)
{
	if (zxid == ZXID_UNKNOWN)
		return;
	n->changed = zxid;
	n->by_multi = c->in_multi;
	if (zxid > n->seen)
		n->seen = zxid;
}

/*
 * A child came (+1) or went (-1). When the change is inferred and its zxid unknown, the parent's
 * numbers count it only if they were last seen before the child's state was: else they may have
 * counted it already.
 */
static void kid_changed(struct check *c, struct node *n, int way, int64_t zxid, int64_t kid_seen,
			int64_t hi)
{
	if (n->parent == NONE)
		return;
	struct node *p = &c->nodes[n->parent];
	keep_version(c, p, zxid != ZXID_UNKNOWN ? zxid : hi);
	bool counted = c->inferring &&
		       (zxid != ZXID_UNKNOWN ? zxid <= p->kids_seen : p->kids_seen > kid_seen);
	kid_note(c, p, zxid != ZXID_UNKNOWN ? zxid : hi, zxid != ZXID_UNKNOWN ? way : 0);
	if (way > 0)
		kid_link(c, n);
	else
		kid_unlink(c, n);
	if (counted && zxid == ZXID_UNKNOWN) {
		p->s.known &= (uint16_t) ~(K_COUNT | K_CREATES | K_PZXID);
	} else if (!counted) {
		p->s.num_children += way;
		p->s.creates += way > 0;
		if (zxid == ZXID_UNKNOWN) {
			p->s.known &= (uint16_t)~K_PZXID;
		} else if (!c->inferring || ((p->s.known & K_PZXID) != 0 && zxid > p->s.pzxid)) {
			p->s.pzxid = zxid;
			p->s.pzxid_least = 0;
			p->s.known |= K_PZXID;
		}
	}
	if (zxid > p->changed) {
		p->changed = zxid;
		p->by_multi = c->in_multi;
	}
	tell_change(c, p, ZK_EVENT_CHILDREN_CHANGED, zxid, kid_seen, hi);
}

enum node_kind kind_of(const struct hop *op)
{
	if (op->op == ZK_OP_CREATE_CONTAINER || op->op == ZK_OP_CREATE_TTL ||
	    op->mode == ZK_CREATE_CONTAINER || op->mode == ZK_CREATE_TTL ||
	    op->mode == ZK_CREATE_TTL_SEQUENTIAL)
		return NODE_REAPED;
	return zk_create_mode_ephemeral(op->mode) ? NODE_EPHEMERAL : NODE_PLAIN;
}

static void set_value(struct state *s, const struct hop *op)
{
	s->data_bytes = op->data_bytes;
	s->data_hash = op->data_bytes > 0 ? op->data_hash : 0;
	s->known |= K_DATA | K_BYTES;
	if (op->data_bytes > 0 && op->data_hash == 0)
		s->known &= (uint16_t)~K_DATA;
}

/* Lists that speak of "auth" are made of the asker's identities: which, we leave open. */
static void set_acl(struct check *c, struct state *s, const struct hop *op)
{
	s->known |= K_ACL;
	s->acl = op->acl == c->acl_open ? NONE : op->acl;
	if (s->acl == NONE)
		return;
	struct pk_bytes text = hist_text(c->h, s->acl);
	if (memmem(text.data, text.len, " auth:", 6) != NULL)
		s->known &= (uint16_t)~K_ACL;
}

/* May it end, ever in this history, without anybody being told at which zxid? */
static bool may_end_untold(const struct check *c, const struct csession *s)
{
	int64_t due = s->heard_ns + check_least_silence(c, s);

	return s->end_zxid == 0 && !c->h->log_told &&
	       (s->close_floor != INT64_MAX || s->timeout_ns == 0 || c->h->last_ns >= due);
}

void check_apply_create(struct check *c, uint32_t path, const struct hop *op, uint32_t op_index,
			int64_t zxid, int64_t hi)
{
	struct node *n = &c->nodes[path];
	int64_t was_seen = n->seen;
	uint32_t session = c->h->ops.at[op_index].session;

	keep_version(c, n, zxid != ZXID_UNKNOWN ? zxid : hi);
	owner_unlink(c, n); /* when it was there, which was told as a violation */
	kids_drop(c, n);
	n->s = (struct state){ .there = THERE_YES,
			       .kind = (uint8_t)kind_of(op),
			       .known = K_ALL & ~(K_CTIME | K_MTIME),
			       .czxid = zxid,
			       .mzxid = zxid,
			       .pzxid = zxid };
	if (zxid == ZXID_UNKNOWN)
		n->s.known &= (uint16_t) ~(K_CZXID | K_MZXID | K_PZXID);
	set_value(&n->s, op);
	set_acl(c, &n->s, op);
	if (n->s.kind == NODE_EPHEMERAL) {
		n->s.known &= (uint16_t) ~(session == NONE ? K_OWNER : 0);
		n->s.owner = session != NONE ? (int64_t)c->sessions[session].id : 0;
		owner_link(c, n);
		if (session == NONE || may_end_untold(c, &c->sessions[session])) {
			n->foggy = true; /* when it goes may never be told */
			if (n->parent != NONE)
				c->nodes[n->parent].foggy = true;
		}
	} else if (n->s.kind == NODE_REAPED && !c->h->log_told) {
		n->foggy = true;
		if (n->parent != NONE)
			c->nodes[n->parent].foggy = true;
	}
	changed(c, n, zxid);
	if (!c->inferring) {
		n->told = zxid;
		n->kid_log = NONE;
	}
	if (zxid > n->kids_seen)
		n->kids_seen = zxid;
	if (zxid > n->acl_seen)
		n->acl_seen = zxid;
	tell_change(c, n, ZK_EVENT_CREATED, zxid, was_seen, hi);
	kid_changed(c, n, +1, zxid, was_seen, hi);
}

void check_apply_delete(struct check *c, uint32_t path, int64_t zxid, int64_t hi)
{
	struct node *n = &c->nodes[path];
	int64_t was_seen = n->seen;

	keep_version(c, n, zxid != ZXID_UNKNOWN ? zxid : hi);
	tell_change(c, n, ZK_EVENT_DELETED, zxid, was_seen, hi);
	owner_unlink(c, n);
	kids_drop(c, n); /* only when its children's fate was unknown */
	n->s.there = THERE_NO;
	n->s.known = 0;
	changed(c, n, zxid);
	if (!c->inferring)
		n->told = zxid;
	kid_changed(c, n, -1, zxid, was_seen, hi);
}

void apply_set(struct check *c, uint32_t path, const struct hop *op, int64_t zxid, int64_t hi)
{
	struct node *n = &c->nodes[path];

	keep_version(c, n, zxid != ZXID_UNKNOWN ? zxid : hi);
	tell_change(c, n, ZK_EVENT_DATA_CHANGED, zxid, n->seen, hi);
	n->s.version = (int32_t)((uint32_t)n->s.version + 1);
	n->s.mzxid = zxid;
	if (zxid != ZXID_UNKNOWN)
		n->s.known |= K_MZXID;
	else
		n->s.known &= (uint16_t)~K_MZXID;
	n->s.known &= (uint16_t)~K_MTIME;
	set_value(&n->s, op);
	changed(c, n, zxid);
}

void apply_acl(struct check *c, uint32_t path, const struct hop *op, int64_t zxid)
{
	struct node *n = &c->nodes[path];

	keep_version(c, n, zxid);
	n->s.aversion = (int32_t)((uint32_t)n->s.aversion + 1);
	set_acl(c, &n->s, op);
	if (zxid > n->acl_seen)
		n->acl_seen = zxid;
	int64_t seen = n->seen;
	changed(c, n, zxid);
	n->seen = seen; /* nothing of its value was: a set that nobody was told of may lie before */
}

/* If somebody may have deleted it before, it went at zxid or at any that is not told; it may even
 * have been made again. */
static void end_ephemeral(struct check *c, struct node *n, int64_t zxid, int64_t hi)
{
	if (zxid == ZXID_UNKNOWN || n->parent == NONE || !check_may_delete(c, n, zxid)) {
		check_apply_delete(c, n->path, zxid, hi);
		return;
	}
	struct state *p = &c->nodes[n->parent].s;
	int64_t pzxid = p->pzxid, least = p->pzxid_least;
	bool known = (p->known & K_PZXID) != 0;
	check_apply_delete(c, n->path, ZXID_UNKNOWN, zxid);
	if (!known)
		return;
	p->known |= K_PZXID;
	if (pzxid == zxid)
		return; /* another one of the session's: that says it all */
	p->pzxid = zxid;
	p->pzxid_least = least != 0 ? least : pzxid;
}

void apply_session_end(struct check *c, uint32_t session, int64_t zxid, int64_t hi)
{
	struct csession *s = &c->sessions[session];

	if (zxid == ZXID_UNKNOWN && (s->end_by == 0 || hi < s->end_by))
		s->end_by = hi;
	while (s->ephemerals != NONE)
		end_ephemeral(c, &c->nodes[s->ephemerals], zxid, hi);
}

/* ---- access ---- */

enum allowed { ALLOWED_NO, ALLOWED_YES, ALLOWED_UNKNOWN };

static bool has_identity(const struct check *c, uint32_t op, struct pk_bytes id)
{
	const struct who *w = &c->who[c->h->ops.at[op].process];

	for (uint32_t i = 0; i < w->count; i++)
		if (w->ops[i] < op && pk_bytes_eq(hist_text(c->h, w->ids[i]), id))
			return true;
	return false;
}

static enum allowed allowed(const struct check *c, const struct node *n, int32_t perm, uint32_t op)
{
	const struct who *w = &c->who[c->h->ops.at[op].process];
	enum allowed answer = ALLOWED_NO;
	struct pk_bytes acl, entry;

	if (n->system || n->s.there != THERE_YES || (n->s.known & K_ACL) == 0)
		return ALLOWED_UNKNOWN;
	if (n->s.acl == NONE || w->super)
		return ALLOWED_YES;
	acl = hist_text(c->h, n->s.acl);
	while (hist_name_next(&acl, &entry)) {
		int perms = 0;
		size_t i = 0;
		while (entry.data[i] != ' ')
			perms = perms * 10 + entry.data[i++] - '0';
		struct pk_bytes id = pk_bytes(entry.data + i + 1, entry.len - i - 1);
		if ((perms & perm) == 0)
			continue;
		if (pk_bytes_is(id, "world:anyone") || has_identity(c, op, id))
			return ALLOWED_YES;
		if (!pk_bytes_starts(id, pk_bytes_str("digest:")) || w->unsure)
			answer = ALLOWED_UNKNOWN; /* addresses, certificates: who it is is not told
						   */
	}
	return answer;
}

void check_acl_answer(struct check *c, uint32_t op, uint32_t path, int32_t perm, bool refused)
{
	const struct node *n = &c->nodes[path];
	enum allowed answer = allowed(c, n, perm, op);

	if (answer == ALLOWED_UNKNOWN || c->opts.peer == CHECK_ZOOKEEPER)
		return;
	check_judged(c, CHECK_ACL);
	int64_t zxid = c->zxids[op] > 0 ? c->zxids[op] : c->fates[op];
	if (refused != (answer == ALLOWED_NO) && !acl_may_differ(c, n, zxid)) {
		struct pk_bytes acl = n->s.acl == NONE ? pk_bytes_str("31 world:anyone\n")
						       : hist_text(c->h, n->s.acl);
		struct pk_bytes name = hist_path(c->h, path);
		check_bad_op(c, CHECK_ACL, op, "%s, but the ACL of %.*s is %.*s",
			     refused ? "refused" : "allowed", (int)name.len, name.data,
			     (int)acl.len - 1, acl.data);
	}
}

/* ---- answered writes ---- */

struct writing {
	struct check *c;
	uint32_t index;       /* of the operation */
	const struct hop *op; /* or its part */
	struct look at;
};

static void wrong(struct writing *w, enum check_rule rule, uint32_t path, const char *what)
{
	struct pk_bytes name = hist_path(w->c->h, path);
	const char *op = zk_opcode_name(w->op->op);

	check_bad_op(
		w->c, rule, w->index, "%s%s%.*s %s", w->op != &w->c->h->ops.at[w->index] ? op : "",
		w->op != &w->c->h->ops.at[w->index] ? ": " : "", (int)name.len, name.data, what);
}

static void want_there(struct writing *w, uint32_t path)
{
	if (path != NONE && !force_there(w->c, path, &w->at))
		wrong(w,
		      check_why(w->c, &w->at, path, false) == CHECK_READ_STATE
			      ? CHECK_WRITE_RESULT
			      : check_why(w->c, &w->at, path, false),
		      path, "is not there");
}

static void want_absent(struct writing *w, uint32_t path, enum check_rule rule)
{
	if (path != NONE && !force_absent(w->c, path, &w->at)) {
		enum check_rule why = check_why(w->c, &w->at, path, true);
		wrong(w, why == CHECK_EPHEMERAL_EARLY ? why : rule, path, "is there");
	}
}

static bool version_fits(const struct node *n, int32_t asked, bool acl, bool want)
{
	unsigned bit = acl ? K_AVERSION : K_VERSION;

	if ((n->s.known & bit) == 0)
		return true;
	bool same = asked == ZK_VERSION_ANY || asked == (acl ? n->s.aversion : n->s.version);
	return same == want;
}

static void want_version(struct writing *w, uint32_t path, bool acl, bool want)
{
	struct node *n = check_node(w->c, path);

	if (version_fits(n, w->op->version, acl, want) || force_changed(w->c, path, acl, &w->at))
		return;
	char text[64];
	pk_ignore(snprintf(text, sizeof(text), "has version %" PRId32,
			   acl ? n->s.aversion : n->s.version),
		  "it fits");
	wrong(w, n->by_multi ? CHECK_MULTI_ATOMIC : CHECK_WRITE_RESULT, path, text);
}

/* After the change: the stat that came with the answer. */
static void look_at_stat(struct writing *w, uint32_t path)
{
	if (w->op->stat == NONE)
		return;
	struct seen seen = { .stat = &w->c->h->stats.at[w->op->stat] };
	pk_ignore(check_look(w->c, &w->at, path, &seen), "it was told");
}

/* The number behind a sequential node's name; false: it has none. */
static bool sequence_number(struct pk_bytes asked, struct pk_bytes created, int32_t *out)
{
	int64_t n = 0;

	if (!pk_bytes_starts(created, asked) || created.len != asked.len + SEQUENCE_DIGITS)
		return false;
	for (size_t i = asked.len; i < created.len; i++) {
		if (created.data[i] < '0' || created.data[i] > '9')
			return false;
		n = n * 10 + created.data[i] - '0';
	}
	*out = (int32_t)n;
	return n <= INT32_MAX;
}

static void judge_sequence(struct writing *w, uint32_t path, uint32_t parent)
{
	struct check *c = w->c;
	struct pk_bytes created = hist_path(c->h, path);
	int32_t number;

	check_judged(c, CHECK_SEQUENCE);
	if (!sequence_number(hist_path(c->h, w->op->path), created, &number)) {
		check_bad_op(c, CHECK_SEQUENCE, w->index, "it made %.*s", (int)created.len,
			     created.data);
		return;
	}
	if (parent == NONE)
		return;
	struct node *p = check_node(c, parent);
	if ((p->s.known & K_CREATES) == 0) { /* all that came before is in it */
		p->s.creates = number;
		p->s.known |= K_CREATES;
		p->s.known &= (uint16_t) ~(K_COUNT | K_PZXID);
		if (w->at.lo > p->kids_seen)
			p->kids_seen = w->at.lo;
	} else if (p->s.creates != number && !force_creates(c, parent, number, &w->at)) {
		check_bad_op(c, CHECK_SEQUENCE, w->index,
			     "number %" PRId32 ", and %" PRId32 " were created there before",
			     number, p->s.creates);
	}
}

static void do_create(struct writing *w)
{
	struct check *c = w->c;
	const struct hop *op = w->op;
	bool sequential = zk_create_mode_sequential(op->mode);
	uint32_t path = op->created != NONE ? op->created : op->path;
	uint32_t parent = c->nodes[path].parent;

	switch (op->err) {
	case ZK_OK:
		if (sequential && op->created == NONE)
			return; /* which one is not told */
		if (!sequential && path != op->path) {
			wrong(w, CHECK_WRITE_RESULT, path, "was made instead");
			return;
		}
		want_there(w, parent);
		if (parent != NONE)
			check_acl_answer(c, w->index, parent, ZK_PERM_CREATE, false);
		want_absent(w, path, sequential ? CHECK_SEQUENCE : CHECK_WRITE_RESULT);
		if (sequential)
			judge_sequence(w, path, parent);
		check_apply_create(c, path, op, w->index, w->at.zxid, w->at.zxid);
		look_at_stat(w, path);
		break;
	case ZK_ENODEEXISTS:
		if (!sequential)
			want_there(w, path);
		break;
	case ZK_ENONODE:
		want_absent(w, parent, CHECK_WRITE_RESULT);
		break;
	case ZK_ENOAUTH:
		if (parent != NONE)
			check_acl_answer(c, w->index, parent, ZK_PERM_CREATE, true);
		break;
	case ZK_ENOCHILDRENFOREPHEMERALS:
		want_there(w, parent);
		if (parent != NONE && c->nodes[parent].s.there == THERE_YES &&
		    (c->nodes[parent].s.known & K_OWNER) != 0 && c->nodes[parent].s.owner == 0)
			wrong(w, CHECK_WRITE_RESULT, parent, "is no ephemeral node");
		break;
	default: /* no verdict on the tree */
		break;
	}
}

static void do_delete(struct writing *w)
{
	struct check *c = w->c;
	uint32_t path = w->op->path;
	struct node *n = &c->nodes[path];

	switch (w->op->err) {
	case ZK_OK:
		want_there(w, path);
		if (n->parent != NONE)
			check_acl_answer(c, w->index, n->parent, ZK_PERM_DELETE, false);
		if (n->s.there != THERE_YES)
			return;
		want_version(w, path, false, true);
		if (!force_childless(c, path, &w->at))
			wrong(w, CHECK_WRITE_RESULT, path, "has children");
		check_apply_delete(c, path, w->at.zxid, w->at.zxid);
		break;
	case ZK_ENONODE:
		want_absent(w, path, CHECK_WRITE_RESULT);
		break;
	case ZK_EBADVERSION:
		want_there(w, path);
		want_version(w, path, false, false);
		break;
	case ZK_ENOTEMPTY:
		want_there(w, path);
		if (!force_children(c, path, &w->at))
			wrong(w, CHECK_WRITE_RESULT, path, "has no children");
		break;
	case ZK_ENOAUTH:
		if (n->parent != NONE)
			check_acl_answer(c, w->index, n->parent, ZK_PERM_DELETE, true);
		break;
	default: /* no verdict on the tree */
		break;
	}
}

/* setData, setACL, check: of one node that must be there. */
static void do_node(struct writing *w, int32_t perm)
{
	struct check *c = w->c;
	uint32_t path = w->op->path;
	bool acl = w->op->op == ZK_OP_SET_ACL;

	switch (w->op->err) {
	case ZK_OK:
		if (w->op->stat != NONE)
			force_made(c, path, &c->h->stats.at[w->op->stat], &w->at);
		want_there(w, path);
		check_acl_answer(c, w->index, path, perm, false);
		if (c->nodes[path].s.there != THERE_YES)
			return;
		want_version(w, path, acl, true);
		if (w->op->stat != NONE && !acl)
			acl_confirm(&c->nodes[path], &c->h->stats.at[w->op->stat], w->at.zxid);
		if (w->op->op == ZK_OP_SET_DATA)
			apply_set(c, path, w->op, w->at.zxid, w->at.zxid);
		else if (acl)
			apply_acl(c, path, w->op, w->at.zxid);
		look_at_stat(w, path);
		break;
	case ZK_ENONODE:
		want_absent(w, path, CHECK_WRITE_RESULT);
		break;
	case ZK_EBADVERSION:
		want_there(w, path);
		want_version(w, path, acl, false);
		break;
	case ZK_ENOAUTH:
		check_acl_answer(c, w->index, path, perm, true);
		break;
	default: /* no verdict on the tree */
		break;
	}
}

static void do_one(struct writing *w)
{
	if (w->c->nodes[w->op->path].system)
		return;
	switch (w->op->op) {
	case ZK_OP_CREATE:
	case ZK_OP_CREATE2:
	case ZK_OP_CREATE_CONTAINER:
	case ZK_OP_CREATE_TTL:
		do_create(w);
		break;
	case ZK_OP_DELETE:
		do_delete(w);
		break;
	case ZK_OP_SET_DATA:
		do_node(w, ZK_PERM_WRITE);
		break;
	case ZK_OP_SET_ACL:
		do_node(w, ZK_PERM_ADMIN);
		break;
	case ZK_OP_CHECK:
		do_node(w, ZK_PERM_READ);
		break;
	default: /* reconfig and the like leave the tree below /zookeeper's siblings alone */
		break;
	}
}

/* ---- multi ---- */

/* Does an earlier part of the same multi touch what part i looks at? Then its verdict is about a
 * state that never was. */
static bool touched_before(const struct check *c, const struct hop *multi, uint32_t part)
{
	const struct hop *a = &c->h->subs.at[multi->subs + part];

	for (uint32_t i = 0; i < part; i++) {
		const struct hop *b = &c->h->subs.at[multi->subs + i];
		uint32_t bp = c->nodes[b->path].parent, ap = c->nodes[a->path].parent;
		if (b->path == a->path || b->path == ap || bp == a->path ||
		    (ap == bp && ap != NONE))
			return true;
	}
	return false;
}

static void do_failed_multi(struct writing *w, const struct hop *multi)
{
	struct check *c = w->c;
	uint32_t failed = NONE;

	for (uint32_t i = 0; i < multi->sub_count; i++) {
		const struct hop *sub = &c->h->subs.at[multi->subs + i];
		if (!sub->result)
			return;
		if (failed == NONE && sub->err != ZK_OK)
			failed = i;
		else if (failed != NONE && sub->err != ZK_ERUNTIME) {
			check_bad_op(c, CHECK_MULTI_ATOMIC, w->index,
				     "part %" PRIu32 " failed, and part %" PRIu32
				     " has the result %s",
				     failed, i, zk_error_name(sub->err));
			return;
		}
	}
	if (failed == NONE || !check_verdict(c->h->subs.at[multi->subs + failed].err) ||
	    touched_before(c, multi, failed))
		return;
	w->op = &c->h->subs.at[multi->subs + failed];
	do_one(w);
}

static bool multi_failed(const struct check *c, const struct hop *multi)
{
	if (multi->err != 0 || multi->status == HOP_FAIL)
		return true;
	for (uint32_t i = 0; i < multi->sub_count; i++)
		if (c->h->subs.at[multi->subs + i].err != 0)
			return true;
	return false;
}

static void do_multi(struct writing *w, const struct hop *multi)
{
	struct check *c = w->c;

	check_judged(c, CHECK_MULTI_ATOMIC);
	if (multi_failed(c, multi)) {
		do_failed_multi(w, multi);
		return;
	}
	c->in_multi = true;
	for (uint32_t i = 0; i < multi->sub_count; i++) {
		w->op = &c->h->subs.at[multi->subs + i];
		do_one(w);
	}
	c->in_multi = false;
}

void apply_write(struct check *c, uint32_t index)
{
	const struct hop *op = &c->h->ops.at[index];
	struct writing w = {
		.c = c,
		.index = index,
		.op = op,
		.at = { .op = index, .zxid = c->zxids[index], .lo = c->zxids[index], .write = true }
	};

	c->report->writes_judged++;
	check_judged(c, CHECK_WRITE_RESULT);
	if (op->op == ZK_OP_MULTI) {
		do_multi(&w, op);
	} else if (op->op == ZK_OP_CLOSE_SESSION) {
		if (op->session != NONE && op->status == HOP_OK)
			apply_session_end(c, op->session, w.at.zxid, w.at.zxid);
	} else {
		do_one(&w);
	}
}

void apply_told(struct check *c, uint32_t index, const struct htxn *t)
{
	const struct hop *asked = &c->h->ops.at[index];
	struct hop op = *asked;
	struct writing w = { .c = c,
			     .index = index,
			     .op = &op,
			     .at = { .op = index, .zxid = t->zxid, .lo = t->zxid, .write = true } };

	c->report->unknown_happened++;
	op.err = ZK_OK;
	op.created = t->created;
	if (op.op != ZK_OP_MULTI) {
		do_one(&w);
		return;
	}
	check_judged(c, CHECK_MULTI_ATOMIC);
	c->in_multi = true;
	for (uint32_t i = 0; i < asked->sub_count; i++) {
		op = c->h->subs.at[asked->subs + i];
		op.err = ZK_OK;
		if (i < t->sub_count)
			op.created = c->h->subs.at[t->subs + i].created;
		do_one(&w);
	}
	c->in_multi = false;
}
