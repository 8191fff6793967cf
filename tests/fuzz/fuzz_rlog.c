/*
 * tests/fuzz/fuzz_rlog.c - a directory of arbitrary files is either refused, unchanged, or can be
 * appended to, and comes back with all it had.
 *
 * Input: a byte of flags, then pieces: file (1 byte), offset (2), length (2), bytes. The flags ask
 * for checksums to be put right in what was pieced together, so that mutations reach behind them:
 * 1 heads, 2 batches, 4 records and their chain, 8 salts.
 */
#include "base/crc.h"
#include "base/mem.h"
#include "store/rlog.h"
#include "store/rlog_format.h"
#include "tests/lib/sim_disk.h"

enum { FIX_HEADS = 1, FIX_BATCHES = 2, FIX_RECORDS = 4, FIX_SALTS = 8, FILES = 10 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const names[FILES] = { "meta-1",
					  "meta-2",
					  "manifest-1",
					  "manifest-2",
					  "seg-0000000000000001",
					  "seg-0000000000000002",
					  "seg-0000000000000003",
					  "seg-0000000000000004",
					  "spare-3",
					  "spare-4" };
static const struct rlog_config config = { .segment_bytes = 8192, .cluster_id = 1, .server_id = 1 };

static void fix_batch(uint8_t *file, size_t at, size_t len, uint32_t *chain, unsigned flags)
{
	uint64_t bytes = pk_get_le64(file + at + 32);

	if ((flags & FIX_SALTS) != 0) {
		pk_put_le64(file + at + 8,
			    rlog_salt(pk_get_le64(file + 32), pk_get_le64(file + 40)));
		pk_put_le64(file + at + 24, at);
	}
	if ((flags & FIX_RECORDS) != 0 && bytes <= len - at) {
		pk_put_le32(file + at + 52, *chain);
		for (size_t r = at + RLOG_BATCH_HEAD_BYTES; r + 32 <= at + bytes;) {
			uint64_t payload = pk_get_le32(file + r);
			if (payload > at + bytes - r - 32)
				break;
			pk_put_le32(file + r + 24, *chain);
			uint32_t crc = pk_crc32c(0, file + r, 28);
			*chain = pk_crc32c(crc, file + r + 32, (size_t)payload);
			pk_put_le32(file + r + 28, *chain);
			r += 32 + (size_t)rlog_align(payload, 8);
		}
		pk_put_le32(file + at + 56, *chain);
	}
	pk_put_le32(file + at + 4, pk_crc32c(0, file + at + 8, RLOG_BATCH_HEAD_BYTES - 8));
}

static void fix(struct sim_disk *d, unsigned flags)
{
	uint32_t chain = 0;

	for (int i = 0; i < FILES; i++) {
		size_t len;
		uint8_t *file = sim_disk_file(d, names[i], &len);
		if (file == NULL || len < RLOG_HEAD_BYTES)
			continue;
		if (i >= 4 && (flags & FIX_BATCHES) != 0) {
			chain = pk_get_le32(file + 80);
			for (size_t at = RLOG_SEGMENT_HEAD_BYTES; at + RLOG_BATCH_HEAD_BYTES <= len;
			     at += RLOG_SCAN_BYTES)
				if (memcmp(file + at, "Btch", 4) == 0)
					fix_batch(file, at, len, &chain, flags);
		}
		if ((flags & FIX_HEADS) != 0) {
			pk_put_le32(file + 12, 0);
			pk_put_le32(file + 12, pk_crc32c(0, file, RLOG_HEAD_BYTES));
		}
	}
}

static uint32_t digest_of(struct sim_disk *d)
{
	uint32_t crc = 0;

	for (size_t i = 0; i < sim_disk_file_count(d); i++) {
		size_t len;
		const char *name = sim_disk_file_name(d, i);
		const uint8_t *file = sim_disk_file(d, name, &len);
		crc = pk_crc32c(crc, name, strlen(name));
		crc = pk_crc32c(crc, file, len);
	}
	return crc;
}

static void on_done(void *owner, int rc, const struct pk_err *err)
{
	(void)err;
	PK_ASSERT(rc == 0);
	++*(int *)owner;
}

/* What was accepted can go on. */
static void go_on(struct sim_disk *d, struct rlog *l, const struct rlog_loaded *first)
{
	struct pk_err err = PK_ERR_INIT;
	struct rlog_loaded got;
	int done = 0;
	uint64_t last = rlog_last_index(l);
	uint64_t term = first->record_count > 0 ? first->records[first->record_count - 1].term
						: UINT64_MAX;

	rlog_append(l,
		    &(struct rlog_record){ .index = last + 1,
					   .term = term,
					   .type = 1,
					   .data = pk_bytes_str("one more") },
		    1, on_done, &done);
	sim_disk_run(d);
	PK_ASSERT(done == 1);
	rlog_close(l);
	sim_disk_crash(d, NULL, NULL);
	int rc = rlog_open(&l, sim_disk_disk(d), &config, &got, &err);
	PK_ASSERT(rc == 0);
	PK_ASSERT(got.start_index == first->start_index);
	PK_ASSERT(got.record_count == first->record_count + 1);
	for (size_t i = 0; i < first->record_count; i++)
		PK_ASSERT(got.records[i].term == first->records[i].term &&
			  pk_bytes_eq(got.records[i].data, first->records[i].data));
	PK_ASSERT(pk_bytes_is(got.records[first->record_count].data, "one more"));
	rlog_loaded_release(&got);
	rlog_close(l);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sim_disk *d = sim_disk_new(1);
	struct pk_rd in = { .in = pk_bytes(data, size) };
	unsigned flags = pk_rd_u8(&in);
	struct pk_buf files[FILES] = { 0 };
	struct pk_err err = PK_ERR_INIT;
	struct rlog_loaded got;
	struct rlog *l;

	while (!in.bad && in.in.len > 0) {
		unsigned i = pk_rd_u8(&in) % FILES;
		uint16_t offset = pk_rd_le16(&in), len = pk_rd_le16(&in);
		struct pk_bytes piece = pk_rd_bytes(&in, len);
		size_t end = (size_t)offset + piece.len;
		size_t least = i >= 4 ? 8192 : 512;
		if (end < least)
			end = least;
		if (end > files[i].len) {
			size_t more = end - files[i].len;
			memset(pk_buf_grow(&files[i], more), 0, more);
		}
		if (piece.len > 0)
			memcpy(files[i].data + offset, piece.data, piece.len);
	}
	for (int i = 0; i < FILES; i++) {
		if (files[i].len > 0)
			sim_disk_put(d, names[i], pk_buf_bytes(&files[i]));
		pk_buf_release(&files[i]);
	}
	fix(d, flags);
	uint32_t before = digest_of(d);
	int rc = rlog_open(&l, sim_disk_disk(d), &config, &got, &err);
	if (rc == 0) {
		go_on(d, l, &got);
		rlog_loaded_release(&got);
	} else {
		PK_ASSERT(rc == PK_ECORRUPT || rc == PK_ESTATE);
		PK_ASSERT(digest_of(d) == before);
	}
	sim_disk_free(d);
	return 0;
}
