#include "jepsen/gen.h"

#include <stdio.h>
#include <sys/queue.h>
#include <uthash.h>

#include "base/mem.h"

/*
 * One log of transactions, one tree as of its end. A server is a zxid: what it has applied. It may
 * answer from there as long as what is asked for did not change since; else it first catches up.
 * Events wait at each client until its server has applied their change.
 */

#define PATH_BYTES  64
#define NS_PER_MS   1000000
#define TIMEOUT_MS  4000
#define EPOCH_BITS  32
#define QUEUE_LONG  60u /* children of a queue or lock, at most about this */
#define EVERY_WATCH 5u  /* one read in so many leaves a watch */
#define MULTI_PARTS 4u

struct client;

struct gwatch {
	struct client *client;
	uint64_t session; /* it ends with it */
	uint32_t kind;
};

struct gnode {
	UT_hash_handle hh;
	char path[PATH_BYTES];
	struct gnode *parent;
	bool there;
	struct zk_stat stat;
	int32_t creates;
	char data[24];
	int64_t changed; /* of it, or of its children */
	struct gnode **kids;
	uint32_t kid_count, kid_cap, kid_index;
	struct gwatch *watches;
	uint32_t watch_count, watch_cap;
	bool closed; /* its ACL lets only who has the word */
};

struct gevent {
	TAILQ_ENTRY(gevent) link;
	int64_t zxid;
	int32_t type;
	const struct gnode *node;
};

enum verb {
	V_CREATE,
	V_SEQ,
	V_EPHEMERAL,
	V_DELETE,
	V_TAKE, /* delete the first of a queue */
	V_SET,
	V_GET,
	V_EXISTS,
	V_CHILDREN,
	V_MULTI,
	V_SYNC,
	V_ADD_WATCH,
	V_CLOSED_SET,
	V_CHECKED_SET, /* with a version that may be wrong */
	V_LOCK_SEQ,    /* sequential and ephemeral */
};

struct gpart {
	int32_t op;
	struct gnode *node;
	char data[24];
	int32_t version;
};

struct request {
	STAILQ_ENTRY(request) link;
	uint64_t call;
	enum verb verb;
	struct gnode *node;
	char data[24];
	int32_t version, mode;
	uint32_t watch;
	uint32_t part_count;
	struct gpart parts[MULTI_PARTS];
};

struct client {
	uint32_t process;
	uint64_t session;
	uint32_t server;
	uint64_t calls;
	int64_t heard_ns; /* when it last sent */
	bool word;        /* has the identity that the closed nodes ask for */
	STAILQ_HEAD(, request) requests;
	uint32_t outstanding;
	TAILQ_HEAD(gevents, gevent) events;
	struct gnode **owned;
	uint32_t owned_count, owned_cap;
};

struct gen {
	struct gen_opts opts;
	struct pk_rng rng;
	gen_emit_f *emit;
	void *arg;
	int64_t now_ns, zxid, time_ms;
	int64_t *servers; /* applied */
	struct client *clients;
	struct gnode *nodes;
	struct gnode *root, *keys, *queue, *ephemerals, *locks, *closed_dir;
	uint64_t asked, values, sessions;
	struct dead { /* sessions whose client is gone */
		uint64_t session;
		int64_t due_ns;
		struct gnode **owned;
		uint32_t count;
		bool told;
	} * dead;
	uint32_t dead_count, dead_cap;
};

static const char closed_acl[] = "31 digest:word:hash\n1 world:anyone\n";

static uint64_t chance(struct gen *g, uint64_t bound)
{
	return pk_rng_below(&g->rng, bound);
}

static void tick(struct gen *g)
{
	g->now_ns += 1000 + (int64_t)chance(g, 40000);
	g->time_ms = g->now_ns / NS_PER_MS;
}

static void put(struct gen *g, struct hist_event *e)
{
	tick(g);
	e->time_ns = g->now_ns;
	g->emit(g->arg, e);
}

static void put_state(struct gen *g, const struct client *c, enum hist_state state)
{
	struct hist_event e = { .kind = HIST_SESSION,
				.process = c->process,
				.session = c->session,
				.server = c->server + 1,
				.state = state,
				.timeout_ms = state == HIST_CONNECTED ? TIMEOUT_MS : 0 };

	put(g, &e);
}

/* ---- the tree ---- */

static struct gnode *node_at(struct gen *g, const char *path)
{
	struct gnode *n;

	HASH_FIND_STR(g->nodes, path, n);
	if (n != NULL)
		return n;
	n = pk_alloc(sizeof(*n));
	pk_ignore(snprintf(n->path, sizeof(n->path), "%s", path), "paths are short");
	HASH_ADD_STR(g->nodes, path, n);
	const char *slash = strrchr(path, '/');
	if (slash != path) {
		char above[PATH_BYTES];
		pk_ignore(snprintf(above, sizeof(above), "%.*s", (int)(slash - path), path),
			  "paths are short");
		n->parent = node_at(g, above);
	} else if (path[1] != 0) {
		n->parent = node_at(g, "/");
	}
	return n;
}

static void tell(struct gen *g, struct gnode *n, int32_t type)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < n->watch_count; i++) {
		struct gwatch w = n->watches[i];
		if (w.session != w.client->session)
			continue;
		bool fires = w.kind == HIST_WATCH_PERSISTENT ||
			     (w.kind == HIST_WATCH_DATA && type != ZK_EVENT_CHILDREN_CHANGED) ||
			     (w.kind == HIST_WATCH_CHILD &&
			      (type == ZK_EVENT_CHILDREN_CHANGED || type == ZK_EVENT_DELETED));
		const struct gevent *last = TAILQ_LAST(&w.client->events, gevents);
		bool again = last != NULL && last->zxid == g->zxid && last->node == n &&
			     last->type == type; /* one client is told once */
		if (fires && !again) {
			struct gevent *e = pk_alloc(sizeof(*e));
			*e = (struct gevent){ .zxid = g->zxid, .type = type, .node = n };
			TAILQ_INSERT_TAIL(&w.client->events, e, link);
		}
		if (!fires || w.kind == HIST_WATCH_PERSISTENT)
			n->watches[kept++] = w;
	}
	n->watch_count = kept;
}

static void watch(struct gnode *n, struct client *c, uint32_t kind)
{
	for (uint32_t i = 0; i < n->watch_count; i++)
		if (n->watches[i].client == c && n->watches[i].kind == kind &&
		    n->watches[i].session == c->session)
			return;
	if (n->watch_count == n->watch_cap) {
		n->watch_cap = n->watch_cap > 0 ? 2 * n->watch_cap : 4;
		n->watches = pk_realloc(n->watches, n->watch_cap * sizeof(*n->watches));
	}
	n->watches[n->watch_count++] = (struct gwatch){ c, c->session, kind };
}

static void do_create(struct gen *g, struct gnode *n, const char *data, struct client *owner)
{
	struct gnode *p = n->parent;

	n->there = true;
	n->creates = 0;
	n->stat = (struct zk_stat){ .czxid = g->zxid,
				    .mzxid = g->zxid,
				    .pzxid = g->zxid,
				    .ctime = g->time_ms,
				    .mtime = g->time_ms,
				    .data_length = (int32_t)strlen(data),
				    .ephemeral_owner = owner != NULL ? (int64_t)owner->session
								     : 0 };
	pk_ignore(snprintf(n->data, sizeof(n->data), "%s", data), "values are short");
	n->changed = p->changed = g->zxid;
	if (p->kid_count == p->kid_cap) {
		p->kid_cap = p->kid_cap > 0 ? 2 * p->kid_cap : 8;
		p->kids = pk_realloc(p->kids, p->kid_cap * sizeof(struct gnode *));
	}
	n->kid_index = p->kid_count;
	p->kids[p->kid_count++] = n;
	p->creates++;
	p->stat.num_children = (int32_t)p->kid_count;
	p->stat.cversion = 2 * p->creates - (int32_t)p->kid_count;
	p->stat.pzxid = g->zxid;
	if (owner != NULL) {
		if (owner->owned_count == owner->owned_cap) {
			owner->owned_cap = owner->owned_cap > 0 ? 2 * owner->owned_cap : 8;
			owner->owned = pk_realloc(owner->owned,
						  owner->owned_cap * sizeof(struct gnode *));
		}
		owner->owned[owner->owned_count++] = n;
	}
	tell(g, n, ZK_EVENT_CREATED);
	tell(g, p, ZK_EVENT_CHILDREN_CHANGED);
}

static void do_delete(struct gen *g, struct gnode *n)
{
	struct gnode *p = n->parent;

	n->there = false;
	n->changed = p->changed = g->zxid;
	p->kids[n->kid_index] = p->kids[--p->kid_count];
	p->kids[n->kid_index]->kid_index = n->kid_index;
	p->stat.num_children = (int32_t)p->kid_count;
	p->stat.cversion = 2 * p->creates - (int32_t)p->kid_count;
	p->stat.pzxid = g->zxid;
	tell(g, n, ZK_EVENT_DELETED);
	tell(g, p, ZK_EVENT_CHILDREN_CHANGED);
}

static void do_set(struct gen *g, struct gnode *n, const char *data)
{
	n->stat.mzxid = g->zxid;
	n->stat.mtime = g->time_ms;
	n->stat.version++;
	n->stat.data_length = (int32_t)strlen(data);
	pk_ignore(snprintf(n->data, sizeof(n->data), "%s", data), "values are short");
	n->changed = g->zxid;
	tell(g, n, ZK_EVENT_DATA_CHANGED);
}

static void end_nodes(struct gen *g, uint64_t session, struct gnode **owned, uint32_t count)
{
	g->zxid++;
	for (uint32_t i = 0; i < count; i++)
		if (owned[i]->there && owned[i]->stat.ephemeral_owner == (int64_t)session)
			do_delete(g, owned[i]);
	if (g->opts.tell_transactions) {
		struct hist_event e = { .kind = HIST_TXN,
					.process = 0,
					.zxid = g->zxid,
					.session = session,
					.part = { .op = ZK_OP_CLOSE_SESSION } };
		put(g, &e);
	}
}

/* ---- what is asked ---- */

static struct gnode *some_key(struct gen *g)
{
	char path[PATH_BYTES];

	pk_ignore(snprintf(path, sizeof(path), "/t/r/k%u", (unsigned)chance(g, g->opts.keys)),
		  "it fits");
	return node_at(g, path);
}

static struct gnode *some_ephemeral(struct gen *g)
{
	char path[PATH_BYTES];

	pk_ignore(snprintf(path, sizeof(path), "/t/e/n%u", (unsigned)chance(g, 20)), "it fits");
	return node_at(g, path);
}

static void new_value(struct gen *g, char out[24])
{
	pk_ignore(snprintf(out, 24, "v%llu", (unsigned long long)++g->values), "it fits");
}

static void choose(struct gen *g, struct request *r)
{
	uint64_t dice = chance(g, 100);

	r->version = ZK_VERSION_ANY;
	new_value(g, r->data);
	if (dice < 35) {
		r->verb = V_GET;
		r->node = chance(g, 8) == 0 ? some_ephemeral(g) : some_key(g);
	} else if (dice < 45) {
		r->verb = V_EXISTS;
		r->node = chance(g, 4) == 0 ? some_ephemeral(g) : some_key(g);
	} else if (dice < 50) {
		struct gnode *dirs[] = { g->keys, g->queue, g->ephemerals, g->locks };
		r->verb = V_CHILDREN;
		r->node = dirs[chance(g, 4)];
	} else if (dice < 65) {
		r->verb = V_SET;
		r->node = some_key(g);
	} else if (dice < 70) {
		r->verb = V_CHECKED_SET;
		r->node = some_key(g);
		r->version = r->node->stat.version - (int32_t)chance(g, 2);
	} else if (dice < 76) {
		r->verb = V_CREATE;
		r->node = some_key(g);
	} else if (dice < 79) {
		r->verb = V_DELETE;
		r->node = some_key(g);
	} else if (dice < 83) {
		r->verb = g->queue->kid_count < QUEUE_LONG ? V_SEQ : V_TAKE;
		r->node = g->queue;
	} else if (dice < 86 && g->queue->kid_count > 0) {
		r->verb = V_TAKE;
		r->node = g->queue;
	} else if (dice < 89) {
		r->verb = V_EPHEMERAL;
		r->mode = ZK_CREATE_EPHEMERAL;
		r->node = some_ephemeral(g);
	} else if (dice < 91 && g->locks->kid_count < QUEUE_LONG) {
		r->verb = V_LOCK_SEQ;
		r->mode = ZK_CREATE_EPHEMERAL_SEQUENTIAL;
		r->node = g->locks;
	} else if (dice < 95) {
		r->verb = V_MULTI;
		r->part_count = 1 + (uint32_t)chance(g, MULTI_PARTS);
		r->node = g->root;
		for (uint32_t i = 0; i < r->part_count; i++) {
			struct gpart *p = &r->parts[i];
			bool again = true;
			while (again) { /* each of another node */
				again = false;
				p->node = some_key(g);
				for (uint32_t k = 0; k < i; k++)
					again |= r->parts[k].node == p->node;
			}
			p->op = p->node->there ? (chance(g, 5) == 0 ? ZK_OP_DELETE : ZK_OP_SET_DATA)
					       : ZK_OP_CREATE;
			if (chance(g, 6) == 0)
				p->op = ZK_OP_CHECK;
			p->version = ZK_VERSION_ANY;
			new_value(g, p->data);
		}
	} else if (dice < 97) {
		r->verb = V_SYNC;
		r->node = some_key(g);
	} else if (dice < 98) {
		r->verb = V_ADD_WATCH;
		r->node = some_key(g);
		r->watch = HIST_WATCH_PERSISTENT;
	} else {
		r->verb = V_CLOSED_SET;
		r->node = g->closed_dir;
	}
	if ((r->verb == V_GET || r->verb == V_EXISTS || r->verb == V_CHILDREN) &&
	    chance(g, EVERY_WATCH) == 0)
		r->watch = r->verb == V_CHILDREN ? HIST_WATCH_CHILD : HIST_WATCH_DATA;
}

static int32_t opcode(enum verb verb)
{
	switch (verb) {
	case V_CREATE:
	case V_SEQ:
		return ZK_OP_CREATE;
	case V_EPHEMERAL:
	case V_LOCK_SEQ:
		return ZK_OP_CREATE2;
	case V_DELETE:
	case V_TAKE:
		return ZK_OP_DELETE;
	case V_SET:
	case V_CLOSED_SET:
	case V_CHECKED_SET:
		return ZK_OP_SET_DATA;
	case V_GET:
		return ZK_OP_GET_DATA;
	case V_EXISTS:
		return ZK_OP_EXISTS;
	case V_CHILDREN:
		return ZK_OP_GET_CHILDREN2;
	case V_MULTI:
		return ZK_OP_MULTI;
	case V_SYNC:
		return ZK_OP_SYNC;
	case V_ADD_WATCH:
		return ZK_OP_ADD_WATCH;
	}
	return 0;
}

static struct pk_bytes text(const char *t)
{
	return pk_bytes_str(t);
}

static void ask(struct gen *g, struct client *c)
{
	struct request *r = pk_alloc(sizeof(*r));
	char path[PATH_BYTES];
	struct hist_part parts[MULTI_PARTS] = { 0 };

	choose(g, r);
	r->call = ++c->calls;
	if (r->verb == V_TAKE && r->node->kid_count == 0)
		r->verb = V_SEQ;
	if (r->verb == V_TAKE)
		r->node = r->node->kids[chance(g, r->node->kid_count)];
	if (r->verb == V_SEQ)
		r->mode = ZK_CREATE_SEQUENTIAL;
	pk_ignore(snprintf(path, sizeof(path), "%.56s%s", r->node->path,
			   r->verb == V_SEQ || r->verb == V_LOCK_SEQ ? "/n-" : ""),
		  "paths are short");
	struct hist_event e = { .kind = HIST_INVOKE,
				.process = c->process,
				.call = r->call,
				.session = c->session,
				.xid = (int32_t)r->call,
				.part = { .op = opcode(r->verb),
					  .path = text(path),
					  .mode = r->mode,
					  .watch = (int32_t)r->watch } };
	int32_t op = e.part.op;
	if (op == ZK_OP_CREATE || op == ZK_OP_CREATE2 || op == ZK_OP_SET_DATA)
		e.part.data = text(r->data);
	if (op == ZK_OP_DELETE || op == ZK_OP_SET_DATA)
		e.part.version = r->version;
	for (uint32_t i = 0; i < r->part_count; i++) {
		struct gpart *p = &r->parts[i];
		parts[i] = (struct hist_part){ .op = p->op, .path = text(p->node->path) };
		if (p->op == ZK_OP_CREATE || p->op == ZK_OP_SET_DATA)
			parts[i].data = text(p->data);
		if (p->op != ZK_OP_CREATE)
			parts[i].version = p->version;
	}
	e.parts = parts;
	e.part_count = r->part_count;
	put(g, &e);
	c->heard_ns = g->now_ns;
	STAILQ_INSERT_TAIL(&c->requests, r, link);
	c->outstanding++;
	g->asked++;
}

/* ---- what comes of it ---- */

struct outcome {
	int32_t err;
	struct gnode *created;
	struct gnode *stat_of;
	int32_t part_errs[MULTI_PARTS];
	struct zk_stat part_stats[MULTI_PARTS];
};

static int32_t part_verdict(const struct gpart *p)
{
	if (p->op == ZK_OP_CREATE)
		return p->node->there ? ZK_ENODEEXISTS : 0;
	return p->node->there ? 0 : ZK_ENONODE;
}

static void run_multi(struct gen *g, struct request *r, struct outcome *o)
{
	uint32_t failed = r->part_count;

	for (uint32_t i = 0; i < r->part_count && failed == r->part_count; i++)
		if (part_verdict(&r->parts[i]) != 0)
			failed = i;
	for (uint32_t i = 0; i < r->part_count; i++) {
		struct gpart *p = &r->parts[i];
		o->part_errs[i] = failed == r->part_count ? 0
				  : i < failed            ? 0
				  : i == failed           ? part_verdict(p)
							  : ZK_ERUNTIME;
		if (failed < r->part_count)
			continue;
		if (p->op == ZK_OP_CREATE)
			do_create(g, p->node, p->data, NULL);
		else if (p->op == ZK_OP_DELETE)
			do_delete(g, p->node);
		else if (p->op == ZK_OP_SET_DATA)
			do_set(g, p->node, p->data);
		o->part_stats[i] = p->node->stat;
	}
}

static struct gnode *next_of(struct gen *g, struct gnode *dir)
{
	char path[PATH_BYTES];

	pk_ignore(snprintf(path, sizeof(path), "%.40s/n-%010d", dir->path, dir->creates),
		  "it fits");
	return node_at(g, path);
}

/* A write takes the next zxid, and happens or is refused. */
static void run_write(struct gen *g, struct client *c, struct request *r, struct outcome *o)
{
	struct gnode *n = r->node;

	g->zxid++;
	switch (r->verb) {
	case V_CREATE:
	case V_EPHEMERAL:
		o->err = n->there ? ZK_ENODEEXISTS : 0;
		if (o->err == 0)
			do_create(g, n, r->data, r->verb == V_EPHEMERAL ? c : NULL);
		o->created = o->stat_of = n;
		break;
	case V_SEQ:
	case V_LOCK_SEQ:
		o->created = o->stat_of = next_of(g, n);
		do_create(g, o->created, r->data, r->verb == V_LOCK_SEQ ? c : NULL);
		break;
	case V_DELETE:
	case V_TAKE:
		o->err = n->there ? 0 : ZK_ENONODE;
		if (o->err == 0)
			do_delete(g, n);
		break;
	case V_SET:
	case V_CHECKED_SET:
	case V_CLOSED_SET:
		o->stat_of = n;
		if (!n->there)
			o->err = ZK_ENONODE;
		else if (n->closed && !c->word)
			o->err = ZK_ENOAUTH;
		else if (r->version != ZK_VERSION_ANY && r->version != n->stat.version)
			o->err = ZK_EBADVERSION;
		else
			do_set(g, n, r->data);
		break;
	case V_MULTI:
		run_multi(g, r, o);
		break;
	case V_GET:
	case V_EXISTS:
	case V_CHILDREN:
	case V_SYNC:
	case V_ADD_WATCH:
		break;
	}
}

static bool is_write(enum verb verb)
{
	return verb != V_GET && verb != V_EXISTS && verb != V_CHILDREN && verb != V_SYNC &&
	       verb != V_ADD_WATCH;
}

static void deliver(struct gen *g, struct client *c, int64_t zxid)
{
	struct gevent *e;

	while ((e = TAILQ_FIRST(&c->events)) != NULL && e->zxid <= zxid) {
		struct hist_event out = { .kind = HIST_WATCH,
					  .process = c->process,
					  .session = c->session,
					  .event = e->type,
					  .part = { .path = text(e->node->path) } };
		put(g, &out);
		TAILQ_REMOVE(&c->events, e, link);
		free(e);
	}
}

static void answer(struct gen *g, struct client *c)
{
	struct request *r = STAILQ_FIRST(&c->requests);
	struct outcome o = { 0 };
	struct hist_part parts[MULTI_PARTS] = { 0 };
	struct pk_buf names = PK_BUF_INIT;
	int64_t *applied = &g->servers[c->server];

	STAILQ_REMOVE_HEAD(&c->requests, link);
	c->outstanding--;
	if (is_write(r->verb)) {
		run_write(g, c, r, &o);
		*applied = g->zxid;
	} else if (r->verb == V_SYNC || r->verb == V_ADD_WATCH || r->node->changed > *applied) {
		*applied = g->zxid;
	} else if (chance(g, 3) == 0) {
		*applied += (int64_t)chance(g, (uint64_t)(g->zxid - *applied) + 1);
	}
	deliver(g, c, *applied);

	struct hist_event e = { .kind = HIST_OK,
				.process = c->process,
				.call = r->call,
				.session = c->session,
				.server = c->server + 1,
				.zxid = *applied };
	struct gnode *n = r->node;
	if (!is_write(r->verb) && r->verb != V_SYNC && r->verb != V_ADD_WATCH) {
		o.err = n->there ? 0 : ZK_ENONODE;
		o.stat_of = n;
	}
	if (r->watch != 0 && (o.err == 0 || r->verb == V_EXISTS))
		watch(n, c, r->watch);
	e.part.err = o.err;
	e.kind = o.err != 0 ? HIST_FAIL : HIST_OK;
	if (o.err == 0 && o.created != NULL)
		e.part.created = text(o.created->path);
	if (o.err == 0 && o.stat_of != NULL && r->verb != V_CREATE && r->verb != V_SEQ) {
		e.part.has_stat = true;
		e.part.stat = o.stat_of->stat;
	}
	if (o.err == 0 && r->verb == V_GET)
		e.part.data = text(n->data);
	if (o.err == 0 && r->verb == V_CHILDREN) {
		for (uint32_t i = 0; i < n->kid_count; i++)
			hist_name_add(&names, text(strrchr(n->kids[i]->path, '/') + 1));
		e.part.has_names = true;
		e.part.names = pk_buf_bytes(&names);
	}
	for (uint32_t i = 0; i < r->part_count; i++) {
		parts[i].op = o.part_errs[i] != 0 ? ZK_OP_ERROR : r->parts[i].op;
		parts[i].err = o.part_errs[i];
		parts[i].has_stat = r->parts[i].op == ZK_OP_SET_DATA && o.part_stats[i].czxid != 0;
		parts[i].stat = o.part_stats[i];
	}
	e.parts = parts;
	e.part_count = r->part_count;
	put(g, &e);
	pk_buf_release(&names);
	free(r);
}

/* ---- faults ---- */

/* The connection is lost: requests under way may have happened, up to some point. */
static void lose(struct gen *g, struct client *c)
{
	struct request *r;
	bool goes_on = true;

	while ((r = STAILQ_FIRST(&c->requests)) != NULL) {
		struct outcome o = { 0 };
		STAILQ_REMOVE_HEAD(&c->requests, link);
		goes_on = goes_on && chance(g, 2) == 0;
		if (goes_on && is_write(r->verb)) {
			g->zxid += (int64_t)chance(g, 2);
			run_write(g, c, r, &o);
		}
		struct hist_event e = { .kind = HIST_INFO,
					.process = c->process,
					.call = r->call,
					.session = c->session,
					.part = { .err = ZK_ECONNECTIONLOSS } };
		put(g, &e);
		free(r);
	}
	c->outstanding = 0;
	put_state(g, c, HIST_DISCONNECTED);
}

/* Its watches go with its session, by themselves. */
static void forget_events(struct client *c)
{
	struct gevent *e;

	while ((e = TAILQ_FIRST(&c->events)) != NULL) {
		TAILQ_REMOVE(&c->events, e, link);
		free(e);
	}
}

static void session_begin(struct gen *g, struct client *c)
{
	c->session = 0x1000000000000000u + ++g->sessions;
	g->zxid++; /* of its creation */
	c->server = (uint32_t)chance(g, g->opts.servers);
	g->servers[c->server] = g->zxid;
	put_state(g, c, HIST_CONNECTED);
	c->heard_ns = g->now_ns;
}

/* To another server, which may not be behind what the session has seen. */
static void move(struct gen *g, struct client *c)
{
	lose(g, c);
	c->server = (uint32_t)chance(g, g->opts.servers);
	g->zxid++; /* the session is taken up there, by the log */
	g->servers[c->server] = g->zxid;
	put_state(g, c, HIST_CONNECTED);
	deliver(g, c, g->zxid); /* what it missed is told, or was on its way */
	c->heard_ns = g->now_ns;
}

static void die(struct gen *g, struct client *c, bool told)
{
	lose(g, c);
	if (g->dead_count == g->dead_cap) {
		g->dead_cap = g->dead_cap > 0 ? 2 * g->dead_cap : 8;
		g->dead = pk_realloc(g->dead, g->dead_cap * sizeof(*g->dead));
	}
	g->dead[g->dead_count++] = (struct dead){ .session = c->session,
						  .due_ns = g->now_ns +
							    (TIMEOUT_MS + 500) * (int64_t)NS_PER_MS,
						  .owned = c->owned,
						  .count = c->owned_count,
						  .told = told };
	c->owned = NULL;
	c->owned_count = c->owned_cap = 0;
	if (!told)
		put_state(g, c, HIST_ABANDONED);
	forget_events(c);
	session_begin(g, c);
}

static void bury(struct gen *g)
{
	for (uint32_t i = 0; i < g->dead_count; i++) {
		struct dead d = g->dead[i];
		if (d.due_ns > g->now_ns)
			continue;
		end_nodes(g, d.session, d.owned, d.count);
		free(d.owned);
		g->dead[i--] = g->dead[--g->dead_count];
	}
}

static void close_session(struct gen *g, struct client *c)
{
	while (c->outstanding > 0)
		answer(g, c);
	struct hist_event e = { .kind = HIST_INVOKE,
				.process = c->process,
				.call = ++c->calls,
				.session = c->session,
				.part = { .op = ZK_OP_CLOSE_SESSION } };
	bool told = g->opts.tell_transactions;

	put(g, &e);
	g->opts.tell_transactions = false; /* it is an answered one */
	end_nodes(g, c->session, c->owned, c->owned_count);
	g->opts.tell_transactions = told;
	c->owned_count = 0;
	g->servers[c->server] = g->zxid;
	deliver(g, c, g->zxid);
	e = (struct hist_event){ .kind = HIST_OK,
				 .process = c->process,
				 .call = c->calls,
				 .session = c->session,
				 .zxid = g->zxid };
	put(g, &e);
	put_state(g, c, HIST_CLOSED);
	forget_events(c);
	session_begin(g, c);
}

static void fault(struct gen *g, struct client *c)
{
	uint64_t dice = chance(g, 100);

	if (dice < 50)
		move(g, c);
	else if (dice < 70)
		die(g, c, false);
	else if (dice < 85)
		close_session(g, c);
	else /* a while in which nothing happens, but pings */
		g->now_ns += (int64_t)chance(g, 3000) * NS_PER_MS;
	if (dice >= 85)
		for (uint32_t i = 0; i < g->opts.clients; i++)
			g->clients[i].heard_ns = g->now_ns;
}

/* ---- the beginning ---- */

static void set_up(struct gen *g, struct client *c, struct gnode *n, const char *acl)
{
	struct hist_event e = { .kind = HIST_INVOKE,
				.process = c->process,
				.call = ++c->calls,
				.session = c->session,
				.part = { .op = ZK_OP_CREATE,
					  .path = text(n->path),
					  .data = text(""),
					  .acl = acl != NULL ? text(acl) : PK_BYTES_NONE } };

	put(g, &e);
	g->zxid++;
	do_create(g, n, "", NULL);
	n->closed = acl != NULL;
	g->servers[c->server] = g->zxid;
	e = (struct hist_event){ .kind = HIST_OK,
				 .process = c->process,
				 .call = c->calls,
				 .session = c->session,
				 .zxid = g->zxid,
				 .part = { .created = text(n->path) } };
	put(g, &e);
}

static void give_word(struct gen *g, struct client *c)
{
	struct hist_event e = { .kind = HIST_INVOKE,
				.process = c->process,
				.call = ++c->calls,
				.session = c->session,
				.part = { .op = ZK_OP_AUTH, .acl = text("digest:word:hash") } };

	put(g, &e);
	e = (struct hist_event){ .kind = HIST_OK, .process = c->process, .call = c->calls };
	put(g, &e);
	c->word = true;
}

static void begin(struct gen *g)
{
	g->zxid = (int64_t)1 << EPOCH_BITS;
	g->now_ns = NS_PER_MS;
	g->root = node_at(g, "/");
	g->root->there = true;
	for (uint32_t i = 0; i < g->opts.clients; i++) {
		struct client *c = &g->clients[i];
		c->process = i + 1;
		STAILQ_INIT(&c->requests);
		TAILQ_INIT(&c->events);
		struct hist_event e = { .kind = HIST_CLIENT,
					.process = c->process,
					.flags = HIST_CLIENT_ALL,
					.name = text("generated") };
		put(g, &e);
		session_begin(g, c);
		if (i % 2 == 0)
			give_word(g, c);
	}
	struct client *c = &g->clients[0];
	g->keys = node_at(g, "/t/r");
	set_up(g, c, node_at(g, "/t"), NULL);
	set_up(g, c, g->keys, NULL);
	set_up(g, c, g->queue = node_at(g, "/t/q"), NULL);
	set_up(g, c, g->ephemerals = node_at(g, "/t/e"), NULL);
	set_up(g, c, g->locks = node_at(g, "/t/l"), NULL);
	set_up(g, c, g->closed_dir = node_at(g, "/t/closed"), closed_acl);
	for (uint32_t i = 0; i < g->opts.keys / 2; i++) {
		char path[PATH_BYTES];
		pk_ignore(snprintf(path, sizeof(path), "/t/r/k%u", i), "it fits");
		set_up(g, c, node_at(g, path), NULL);
	}
}

static void release(struct gen *g)
{
	struct gnode *n, *next;

	HASH_ITER (hh, g->nodes, n, next) {
		HASH_DEL(g->nodes, n);
		free(n->kids);
		free(n->watches);
		free(n);
	}
	for (uint32_t i = 0; i < g->opts.clients; i++) {
		free(g->clients[i].owned);
		forget_events(&g->clients[i]);
	}
	for (uint32_t i = 0; i < g->dead_count; i++)
		free(g->dead[i].owned);
	free(g->dead);
	free(g->clients);
	free(g->servers);
	free(g);
}

/* The end: everybody's answers, then all of it is read once more by one that has synced. */
static void finish(struct gen *g)
{
	struct gnode *n;
	struct client *c = &g->clients[0];

	for (uint32_t i = 0; i < g->opts.clients; i++)
		while (g->clients[i].outstanding > 0)
			answer(g, &g->clients[i]);
	struct hist_event e = { .kind = HIST_FINAL };
	put(g, &e);
	tick(g);
	for (n = g->nodes; n != NULL; n = n->hh.next) {
		if (n == g->root)
			continue;
		struct request *r = pk_alloc(sizeof(*r));
		r->verb = V_GET;
		r->node = n;
		r->call = ++c->calls;
		e = (struct hist_event){ .kind = HIST_INVOKE,
					 .process = c->process,
					 .call = r->call,
					 .session = c->session,
					 .part = { .op = ZK_OP_GET_DATA, .path = text(n->path) } };
		put(g, &e);
		STAILQ_INSERT_TAIL(&c->requests, r, link);
		c->outstanding++;
		g->servers[c->server] = g->zxid;
		answer(g, c);
	}
}

void gen_run(const struct gen_opts *opts, gen_emit_f *emit, void *arg)
{
	struct gen *g = pk_alloc(sizeof(*g));

	g->opts = *opts;
	g->emit = emit;
	g->arg = arg;
	pk_rng_seed(&g->rng, opts->seed);
	g->clients = pk_alloc(opts->clients * sizeof(*g->clients));
	g->servers = pk_alloc(opts->servers * sizeof(*g->servers));
	begin(g);
	while (g->asked < opts->operations) {
		struct client *c = &g->clients[chance(g, opts->clients)];
		if (opts->faults && chance(g, 400) == 0)
			fault(g, c);
		if (g->dead_count > 0 && chance(g, 16) == 0)
			bury(g);
		if (c->outstanding < opts->window && chance(g, 2) == 0)
			ask(g, c);
		else if (c->outstanding > 0)
			answer(g, c);
	}
	finish(g);
	release(g);
}
