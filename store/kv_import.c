#include <errno.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "store/kv_lmdb.h"

/* A transaction keeps its dirty pages in memory, so it ends at about this many bytes of records. */
enum { TXN_BYTES_MOST = 8 << 20 };

struct kv_import {
	struct kv_env e;
	MDB_txn *txn; /* NULL between transactions */
	MDB_cursor *cur;
	size_t txn_bytes;
	bool failed; /* an add returned an error: nothing but finish and drop may follow */
	size_t last_len;
	uint8_t last[KV_KEY_BYTES_MAX];
};

int kv_import_open(struct kv_import **out, const struct kv_config *cfg, struct pk_err *err)
{
	char *path = pk_asprintf("%s/data.mdb", cfg->dir);
	struct stat st;
	int rc = 0;

	if (stat(path, &st) == 0)
		rc = pk_err_set(err, PK_EEXIST, "%s exists: an import fills an empty directory",
				path);
	else if (errno != ENOENT)
		rc = pk_err_sys(err, errno, "stat %s", path);
	free(path);
	if (rc != 0)
		return rc;
	struct kv_import *im = pk_alloc(sizeof(*im));
	rc = kv_env_open(&im->e, cfg, true, err);
	if (rc != 0) {
		free(im);
		return pk_err_wrap(err, "open an import");
	}
	*out = im;
	return 0;
}

static int end_txn(struct kv_import *im, struct pk_err *err)
{
	if (im->txn == NULL)
		return 0;
	mdb_cursor_close(im->cur);
	int rc = mdb_txn_commit(im->txn);
	im->txn = NULL;
	im->txn_bytes = 0;
	return rc == 0 ? 0 : kv_env_err(err, rc, "commit an import", &im->e);
}

static int begin_txn(struct kv_import *im, size_t record_bytes, struct pk_err *err)
{
	/* Pages that are appended are at least half full; branches and freed pages are few. */
	uint64_t most = record_bytes > TXN_BYTES_MOST ? record_bytes : TXN_BYTES_MOST;

	kv_env_grow(&im->e, 3 * most + (1 << 20));
	int rc = mdb_txn_begin(im->e.env, NULL, 0, &im->txn);
	if (rc != 0) {
		im->txn = NULL;
		return kv_env_err(err, rc, "begin an import", &im->e);
	}
	rc = mdb_cursor_open(im->txn, im->e.dbi, &im->cur);
	if (rc != 0) {
		mdb_txn_abort(im->txn);
		im->txn = NULL;
		return kv_env_err(err, rc, "begin an import", &im->e);
	}
	return 0;
}

static int add_record(struct kv_import *im, struct pk_bytes key, struct pk_bytes val,
		      struct pk_err *err)
{
	size_t bytes = key.len + val.len + 16 + KV_SUM_BYTES; /* with what its node costs */
	int rc = 0;

	if (im->txn_bytes > 0 && im->txn_bytes + bytes > TXN_BYTES_MOST)
		rc = end_txn(im, err);
	if (rc == 0 && im->txn == NULL)
		rc = begin_txn(im, bytes, err);
	if (rc != 0)
		return rc;
	rc = kv_env_put(im->cur, key, val, MDB_APPEND);
	if (rc != 0)
		return kv_env_err(err, rc, "import", &im->e);
	im->txn_bytes += bytes;
	memcpy(im->last, key.data, key.len);
	im->last_len = key.len;
	return 0;
}

static int add_chunk(struct kv_import *im, struct pk_bytes chunk, struct pk_err *err)
{
	struct pk_rd rd = { .in = chunk };
	int rc = 0;

	while (rc == 0 && rd.in.len > 0) {
		size_t at = chunk.len - rd.in.len;
		uint16_t key_len = pk_rd_le16(&rd);
		uint32_t val_len = pk_rd_le32(&rd);
		struct pk_bytes key = pk_rd_bytes(&rd, key_len);
		struct pk_bytes val = pk_rd_bytes(&rd, val_len);

		if (rd.bad)
			return pk_err_set(err, PK_EPROTO,
					  "chunk: the record at %zu of %zu bytes is cut short", at,
					  chunk.len);
		if (key_len == 0 || key_len > KV_KEY_BYTES_MAX)
			return pk_err_set(err, PK_EPROTO,
					  "chunk: the record at %zu has a key of %u bytes", at,
					  key_len);
		if (val_len > KV_VAL_BYTES_MAX)
			return pk_err_set(err, PK_EPROTO,
					  "chunk: the record at %zu has a value of %u bytes", at,
					  val_len);
		if (pk_bytes_cmp(pk_bytes(im->last, im->last_len), key) >= 0)
			return pk_err_set(err, PK_EPROTO,
					  "chunk: the key at %zu is not above the one before it",
					  at);
		rc = add_record(im, key, val, err);
	}
	return rc;
}

int kv_import_add(struct kv_import *im, struct pk_bytes chunk, struct pk_err *err)
{
	if (im->failed)
		return pk_err_set(err, PK_ESTATE, "the import has failed before");
	int rc = add_chunk(im, chunk, err);
	im->failed = rc != 0;
	return rc;
}

int kv_import_finish(struct kv_import *im, struct pk_err *err)
{
	int rc = im->failed ? pk_err_set(err, PK_ESTATE, "the import has failed before") : 0;

	if (rc == 0)
		rc = end_txn(im, err);
	if (rc == 0) {
		int mdb_rc = mdb_env_sync(im->e.env, 1);

		if (mdb_rc != 0)
			rc = kv_env_err(err, mdb_rc, "sync an import", &im->e);
	}
	kv_import_drop(im);
	return rc;
}

void kv_import_drop(struct kv_import *im)
{
	if (im == NULL)
		return;
	if (im->txn != NULL) {
		mdb_cursor_close(im->cur);
		mdb_txn_abort(im->txn);
	}
	kv_env_close(&im->e);
	free(im);
}
