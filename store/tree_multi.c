#include "base/mutant.h"
#include "store/tree_impl.h"
#include "zkproto/multi.h"
#include "zkproto/zk.h"

/*
 * multi: all operations or none. They run one behind the other against the stage, where each sees
 * what those before it did; if one fails, the stage, the counters and the uses of ACL lists go back
 * to what they were, and the reply has one error record per operation.
 * Source: PrepRequestProcessor.pRequestHelper, Op.Create (the type of a create follows its mode),
 * FinalRequestProcessor (results).
 */

/* Java decodes all of it before it looks at anything, and trips over a null path right after. */
static int32_t check_form(struct pk_bytes body, uint32_t *count)
{
	struct zk_rd r = zk_rd(body);
	struct zk_multi_op op = ZK_MULTI_OP_INIT;
	bool readable = true;
	int rc;

	while ((rc = zk_multi_next(&r, &op)) == 1) {
		struct pk_bytes path = PK_BYTES_NONE;

		switch (op.type) {
		case ZK_OP_CREATE:
		case ZK_OP_CREATE2:
		case ZK_OP_CREATE_CONTAINER:
			path = op.u.create.path;
			break;
		case ZK_OP_CREATE_TTL:
			path = op.u.create_ttl.path;
			break;
		case ZK_OP_DELETE:
			path = op.u.delete.path;
			break;
		case ZK_OP_SET_DATA:
			path = op.u.set_data.path;
			break;
		case ZK_OP_CHECK:
			path = op.u.check.path;
			break;
		default: /* a read */
			break;
		}
		if (path.data == NULL)
			readable = false;
	}
	*count = op.taken;
	return rc == 0 && readable ? 0 : ZK_EMARSHALLING;
}

/* The mode decides what it is, whatever the operation was called; a TTL that the mode does not ask
 * for is forgotten, one that is missing is a ClassCastException there. */
static int32_t run_create(struct tree *t, struct write *w, struct zk_create_ttl_req *req,
			  bool has_ttl)
{
	bool ttl_mode = req->flags == ZK_CREATE_TTL || req->flags == ZK_CREATE_TTL_SEQUENTIAL;
	int32_t type = ZK_OP_CREATE;

	if (ttl_mode && !has_ttl)
		return ZK_EMARSHALLING;
	if (ttl_mode)
		type = ZK_OP_CREATE_TTL;
	else if (req->flags == ZK_CREATE_CONTAINER)
		type = ZK_OP_CREATE_CONTAINER;
	if (!ttl_mode)
		req->ttl_ms = -1;
	return write_create(t, w, type, req);
}

static int32_t run_op(struct tree *t, struct write *w, struct zk_multi_op *op)
{
	const struct zk_create_req *c = &op->u.create;
	int32_t err;

	switch (op->type) {
	case ZK_OP_CREATE:
	case ZK_OP_CREATE2:
	case ZK_OP_CREATE_CONTAINER:
		return run_create(
			t, w, &(struct zk_create_ttl_req){ c->path, c->data, c->acl, c->flags, -1 },
			false);
	case ZK_OP_CREATE_TTL:
		return run_create(t, w, &op->u.create_ttl, true);
	case ZK_OP_DELETE:
		err = session_check(t, w->op);
		return err != 0 ? err : write_delete(t, w, &op->u.delete);
	case ZK_OP_SET_DATA:
		err = session_check(t, w->op);
		return err != 0 ? err : write_set_data(t, w, &op->u.set_data);
	case ZK_OP_CHECK:
		err = session_check(t, w->op);
		return err != 0 ? err : write_check(t, w, &op->u.check);
	default: /* check_form let nothing else through */
		return ZK_EMARSHALLING;
	}
}

static void roll_back(struct tree *t, struct write *w, const struct tree_state *before)
{
	stage_drop(&t->stage);
	t->now = *before;
	acl_undo_all(t);
	if (t->quota_dirty)
		quotas_load(t);
	pk_buf_clear(&t->quota_recount);
	pk_buf_clear(&w->r->body);
	result_events_clear(t, w->r);
}

static void error_results(struct write *w, uint32_t count, uint32_t failed, int32_t err)
{
	for (uint32_t i = 0; i < count; i++)
		zk_multi_result_error(&w->r->body, i < failed    ? ZK_OK
						   : i == failed ? err
								 : ZK_ERUNTIME);
	zk_multi_end(&w->r->body);
}

int32_t apply_multi(struct tree *t, struct write *w)
{
	struct zk_rd r = zk_rd(w->op->body);
	struct zk_multi_op op = ZK_MULTI_OP_INIT;
	struct tree_state before = t->now;
	uint32_t count;

	int32_t err = check_form(w->op->body, &count);
	if (err != 0)
		return err;
	w->in_multi = true;
	stage_begin(&t->stage);
	while (err == 0 && zk_multi_next(&r, &op) == 1)
		err = run_op(t, w, &op);
	if (err == 0 || MUTANT(multi_not_atomic)) {
		stage_keep(&t->stage, t->kv);
		t->acl_undo_count = 0;
		zk_multi_end(&w->r->body);
		if (err == 0)
			return 0;
		pk_buf_clear(&w->r->body);
		error_results(w, count, op.index, err);
		return 0;
	}
	roll_back(t, w, &before);
	/* These are no answer to one operation: the connection's, or the whole request's. */
	if (err == ZK_ESESSIONMOVED || err == ZK_EMARSHALLING)
		return err;
	error_results(w, count, op.index, err);
	return 0;
}
