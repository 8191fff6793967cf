#include "tests/sim/cluster_log.h"

#include <inttypes.h>
#include <uthash.h>

#include "zkproto/zk.h"

#define REPORT_MS 1500 /* servers tell the leader of their clients twice a second */

struct known {
	UT_hash_handle hh;
	uint64_t id, gen; /* gen 0: it ended */
	uint8_t password[16];
	int32_t timeout_ms, last_xid;
};

struct log_rules {
	struct sim *sim;
	struct known *sessions;
	uint64_t term; /* of the last command */
};

struct log_rules *log_rules_new(struct sim *s)
{
	struct log_rules *r = pk_alloc(sizeof(*r));

	r->sim = s;
	return r;
}

void log_rules_free(struct log_rules *r)
{
	struct known *k, *next;

	HASH_ITER (hh, r->sessions, k, next) {
		HASH_DEL(r->sessions, k);
		free(k);
	}
	free(r);
}

/* L3 */
static void created(struct log_rules *r, struct known *k, const struct txn_op *op)
{
	if (k != NULL) {
		sim_violate(r->sim, "L3: server %" PRIu64 " gives out session %#" PRIx64 " again",
			    op->origin, op->session_id);
		return;
	}
	k = pk_alloc(sizeof(*k));
	*k = (struct known){ .id = op->session_id,
			     .gen = 1,
			     .timeout_ms = (int32_t)pk_get_le32(op->body.data) };
	memcpy(k->password, op->body.data + 4, sizeof(k->password));
	HASH_ADD(hh, r->sessions, id, sizeof(k->id), k);
}

/* L4 */
static void expired(struct log_rules *r, const struct known *k)
{
	int64_t heard = sim_session_heard_us(r->sim, k->id), now = sim_now_us(r->sim);

	if (heard >= sim_calm_since_us(r->sim) &&
	    now - heard < (int64_t)(k->timeout_ms - REPORT_MS) * SIM_MS)
		sim_violate(r->sim,
			    "L4: session %#" PRIx64 " of %d ms expired, heard %" PRId64 " ms ago",
			    k->id, k->timeout_ms, (now - heard) / SIM_MS);
}

static void judge(struct log_rules *r, const struct txn_op *op)
{
	struct known *k;

	HASH_FIND(hh, r->sessions, &op->session_id, sizeof(op->session_id), k);
	if (op->type == ZK_OP_CREATE_SESSION) {
		created(r, k, op);
		return;
	}
	if (k == NULL || k->gen == 0)
		return;
	if (op->type == TXN_ATTACH) {
		if (memcmp(k->password, op->body.data + 4, sizeof(k->password)) != 0)
			return;
		k->gen++;
		k->timeout_ms = (int32_t)pk_get_le32(op->body.data);
		return;
	}
	if (op->gen != k->gen)
		return; /* of a connection that the session has left: refused */
	if (op->type < 1000 && op->xid > 0) { /* L2 */
		if (op->xid <= k->last_xid)
			sim_violate(r->sim,
				    "L2: request %d of session %#" PRIx64
				    " enters the log after %d",
				    op->xid, op->session_id, k->last_xid);
		k->last_xid = op->xid;
	}
	if (op->type == TXN_EXPIRE)
		expired(r, k);
	if (op->type == TXN_EXPIRE || op->type == ZK_OP_CLOSE_SESSION)
		k->gen = 0;
}

void log_rules_entry(struct log_rules *r, uint64_t term, struct pk_bytes data)
{
	struct txn_entry entry;
	struct txn_op op;
	struct pk_err err = PK_ERR_INIT;
	bool first = term != r->term;
	int rc;

	if (data.data == NULL)
		return;
	rc = txn_entry_open(&entry, data, &err);
	PK_ASSERT(rc == 0);
	while ((rc = txn_entry_next(&entry, &op, &err)) == 1) {
		if (first && op.type != TXN_EPOCH) /* L1 */
			sim_violate(r->sim,
				    "L1: term %" PRIu64 " begins with an operation of type %d",
				    term, op.type);
		first = false;
		judge(r, &op);
	}
	PK_ASSERT(rc == 0);
	r->term = term;
	txn_entry_release(&entry);
}
