#include "base/mutant.h"
#include "store/server_int.h"
#include "zkproto/record.h"

/* One-shot watches that a read asked for. A full table refuses nothing: the client just sees no
 * event, so the connection is closed instead and sets its watches elsewhere. */
static bool add(struct conn *c, struct pk_bytes path, enum watch_mode mode)
{
	if (watch_add(c->server->watches, &c->watcher, path, mode))
		return true;
	conn_close(c, true, "the table of watches is full");
	return false;
}

void watch_from_read(struct conn *c, const struct tree_read *r)
{
	switch (r->watch) {
	case TREE_WATCH_NONE:
		break;
	case TREE_WATCH_DATA:
	case TREE_WATCH_EXISTS:
		add(c, r->watch_path, WATCH_DATA);
		break;
	case TREE_WATCH_CHILD:
		add(c, r->watch_path, WATCH_CHILD);
		break;
	}
}

static void tell_one(struct conn *c, int32_t event, struct pk_bytes path)
{
	pk_buf_clear(&c->server->event_frame);
	c->server->event_acl = PK_BYTES_NONE; /* the reference asks nobody here either */
	conn_tell(c, event, path, c->server);
}

enum rule { RULE_DATA, RULE_EXISTS, RULE_CHILD };

/* What was missed while away is told now, the rest is watched again (DataTree.setWatches). */
static void set_one(struct conn *c, struct pk_bytes path, enum rule rule, uint64_t seen_zxid)
{
	uint64_t czxid, mzxid, pzxid;
	bool there = tree_stat_zxids(c->server->tree, path, &czxid, &mzxid, &pzxid);

	if (rule == RULE_EXISTS) {
		if (there)
			tell_one(c, ZK_EVENT_CREATED, path);
		else
			add(c, path, WATCH_DATA);
	} else if (!there) {
		tell_one(c, ZK_EVENT_DELETED, path);
	} else if (rule == RULE_DATA && (int64_t)mzxid > (int64_t)seen_zxid) {
		tell_one(c, ZK_EVENT_DATA_CHANGED, path);
	} else if (rule == RULE_CHILD && (int64_t)pzxid > (int64_t)seen_zxid &&
		   !MUTANT(missed_event_not_told)) {
		tell_one(c, ZK_EVENT_CHILDREN_CHANGED, path);
	} else if (!MUTANT(watch_lost_on_reconnect)) {
		add(c, path, rule == RULE_DATA ? WATCH_DATA : WATCH_CHILD);
	}
}

static void set_all(struct conn *c, struct zk_strings paths, enum rule rule, uint64_t seen_zxid)
{
	struct pk_bytes path;

	while (c->state != CONN_CLOSED && zk_strings_next(&paths, &path))
		set_one(c, path, rule, seen_zxid);
}

static void add_all(struct conn *c, struct zk_strings paths, enum watch_mode mode)
{
	struct pk_bytes path;

	while (c->state != CONN_CLOSED && zk_strings_next(&paths, &path))
		add(c, path, mode);
}

int32_t watch_request(struct conn *c, int32_t op, struct pk_bytes body, struct pk_buf *out)
{
	struct watch_table *t = c->server->watches;
	struct zk_rd in = zk_rd(body);

	switch (op) {
	case ZK_OP_SET_WATCHES: {
		struct zk_set_watches_req r;
		if (zk_set_watches_req_decode(&in, &r) != 0)
			return ZK_EMARSHALLING;
		set_all(c, r.data, RULE_DATA, (uint64_t)r.relative_zxid);
		set_all(c, r.exist, RULE_EXISTS, (uint64_t)r.relative_zxid);
		set_all(c, r.child, RULE_CHILD, (uint64_t)r.relative_zxid);
		return 0;
	}
	case ZK_OP_SET_WATCHES2: {
		struct zk_set_watches2_req r;
		if (zk_set_watches2_req_decode(&in, &r) != 0)
			return ZK_EMARSHALLING;
		set_all(c, r.data, RULE_DATA, (uint64_t)r.relative_zxid);
		set_all(c, r.exist, RULE_EXISTS, (uint64_t)r.relative_zxid);
		set_all(c, r.child, RULE_CHILD, (uint64_t)r.relative_zxid);
		add_all(c, r.persistent, WATCH_PERSISTENT);
		add_all(c, r.recursive, WATCH_RECURSIVE);
		return 0;
	}
	case ZK_OP_ADD_WATCH: {
		struct zk_add_watch_req r;
		if (zk_add_watch_req_decode(&in, &r) != 0 || (r.mode != 0 && r.mode != 1))
			return ZK_EMARSHALLING;
		add(c, r.path, r.mode == 0 ? WATCH_PERSISTENT : WATCH_RECURSIVE);
		pk_buf_add_be32(out, 0); /* ErrorResponse(0) */
		return 0;
	}
	default: { /* checkWatches, removeWatches */
		struct zk_watches_req r;
		if (zk_watches_req_decode(&in, &r) != 0 || watch_modes_of_type(r.type) == 0)
			return ZK_EMARSHALLING;
		unsigned found = op == ZK_OP_CHECK_WATCHES
					 ? watch_modes(t, &c->watcher, r.path) &
						   watch_modes_of_type(r.type)
					 : watch_remove(t, &c->watcher, r.path,
							watch_modes_of_type(r.type));
		return found != 0 ? 0 : ZK_ENOWATCHER;
	}
	}
}
