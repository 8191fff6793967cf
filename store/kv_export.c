#include "base/mem.h"
#include "base/mutant.h"
#include "store/kv_impl.h"

enum { RECORD_HEAD_BYTES = 2 + 4 };

struct kv_export {
	struct kv *kv;
	MDB_txn *txn;
	MDB_cursor *cur;
	MDB_val key, val; /* the record that goes out next, unless ended */
	bool ended;
};

static void step(struct kv_export *ex, MDB_cursor_op op)
{
	int rc = mdb_cursor_get(ex->cur, &ex->key, &ex->val, op);

	if (rc == MDB_NOTFOUND)
		ex->ended = true;
	else if (rc != 0)
		kv_env_stop(rc, "export", &ex->kv->e);
}

/*
 * While an export is open the map cannot grow, and pages freed since it began are not used again.
 * So room is made beforehand, if nothing stands in the way: for the whole tree twice over, and no
 * less than ROOM_BYTES. It costs addresses, not memory or disk.
 */
static void make_room(struct kv *kv)
{
	const uint64_t ROOM_BYTES = 1 << 30;
	uint64_t used = kv->e.map_bytes - kv_env_headroom(&kv->e);

	if (kv->job == NULL && kv->cursors == 0 && kv->exports == 0)
		kv_grow(kv, 2 * used + ROOM_BYTES);
}

struct kv_export *kv_export_open(struct kv *kv)
{
	if (kv->exports == KV_EXPORTS_MAX)
		return NULL;
	make_room(kv);
	struct kv_export *ex = pk_alloc(sizeof(*ex));
	ex->kv = kv;
	int rc = mdb_txn_begin(kv->e.env, NULL, MDB_RDONLY, &ex->txn);
	if (rc == 0)
		rc = mdb_cursor_open(ex->txn, kv->e.dbi, &ex->cur);
	if (rc != 0)
		kv_env_stop(rc, "begin an export", &kv->e);
	kv->exports++;
	step(ex, MDB_FIRST);
	return ex;
}

int kv_export_next(struct kv_export *ex, size_t bytes_max, struct pk_buf *out)
{
	size_t start = out->len;

	while (!ex->ended) {
		size_t bytes = RECORD_HEAD_BYTES + ex->key.mv_size + ex->val.mv_size;

		if (out->len > start && out->len - start + bytes > bytes_max)
			return 1;
		if (MUTANT(export_loses_records) && ex->val.mv_size > 500) {
			step(ex, MDB_NEXT);
			continue;
		}
		pk_buf_add_le16(out, (uint16_t)ex->key.mv_size);
		pk_buf_add_le32(out, (uint32_t)ex->val.mv_size);
		pk_buf_add_bytes(out, kv_bytes(ex->key));
		pk_buf_add_bytes(out, kv_bytes(ex->val));
		step(ex, MDB_NEXT);
	}
	return 0;
}

void kv_export_close(struct kv_export *ex)
{
	if (ex == NULL)
		return;
	PK_ASSERT(ex->kv->exports > 0);
	ex->kv->exports--;
	mdb_cursor_close(ex->cur);
	mdb_txn_abort(ex->txn);
	free(ex);
}
