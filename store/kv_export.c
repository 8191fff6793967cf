#include "base/mem.h"
#include "base/mutant.h"
#include "store/kv_impl.h"

enum { RECORD_HEAD_BYTES = 2 + 4 };

struct kv_export {
	struct kv *kv;
	MDB_txn *txn;
	MDB_cursor *cur;
	struct pk_bytes key, val; /* the record that goes out next, unless ended */
	uint64_t count;           /* of records that went out, with that one */
	bool ended;
};

/* At the end: as many as LMDB counts. A page whose head hides some of its records shows here. */
static void assert_all(const struct kv_export *ex)
{
	MDB_stat stat;
	int rc = mdb_stat(ex->txn, ex->kv->e.dbi, &stat);

	PK_ASSERT(rc == 0);
	if (ex->count == stat.ms_entries)
		return;
	char *text = pk_asprintf("%s/data.mdb: %llu records, and it should hold %llu",
				 ex->kv->e.dir, (unsigned long long)ex->count,
				 (unsigned long long)stat.ms_entries);
	pk_damage_stop(__FILE__, __LINE__, text);
}

static void step(struct kv_export *ex, bool more)
{
	ex->ended = !more;
	if (more)
		ex->count++;
	else
		assert_all(ex);
}

static void next(struct kv_export *ex)
{
	step(ex, kv_env_next(&ex->kv->e, ex->cur, &ex->key, &ex->val));
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
	step(ex, kv_env_seek(&kv->e, ex->cur, PK_BYTES_NONE, &ex->key, &ex->val));
	return ex;
}

int kv_export_next(struct kv_export *ex, size_t bytes_max, struct pk_buf *out)
{
	size_t start = out->len;

	while (!ex->ended) {
		size_t bytes = RECORD_HEAD_BYTES + ex->key.len + ex->val.len;

		if (out->len > start && out->len - start + bytes > bytes_max)
			return 1;
		if (MUTANT(export_loses_records) && ex->val.len > 500) {
			next(ex);
			continue;
		}
		pk_buf_add_le16(out, (uint16_t)ex->key.len);
		pk_buf_add_le32(out, (uint32_t)ex->val.len);
		pk_buf_add_bytes(out, ex->key);
		pk_buf_add_bytes(out, ex->val);
		next(ex);
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
