#include "tests/lib/test.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/crc.h"
#include "base/mem.h"
#include "store/rlog.h"
#include "store/rlog_format.h"
#include "tests/lib/sim_disk.h"

enum { SEGMENT_BYTES = 16384, DATA_BYTES_MAX = 3 * SEGMENT_BYTES };

/* A log on a simulated disk, whose record i holds bytes made from i and its term. */
struct rig {
	uint64_t covered_count, covered_bytes; /* of rlog_config */
	struct sim_disk *disk;
	struct rlog *log;
	struct rlog_loaded got;
	struct pk_err err;
	size_t asked, answered, failed; /* callbacks */
	int last_rc;
	bool inside; /* a call of rlog is on the stack */
};

static const struct rlog_config config = {
	.segment_bytes = SEGMENT_BYTES, .cluster_id = 0x77, .server_id = 2, .secret = 12345
};

static uint8_t scratch[DATA_BYTES_MAX];

static struct pk_bytes data_of(uint64_t index, uint64_t term, size_t len)
{
	struct pk_rng r;

	pk_rng_seed(&r, index * 1000 + term);
	pk_rng_fill(&r, scratch, len);
	return pk_bytes(scratch, len);
}

static int try_open(struct rig *r)
{
	r->err = PK_ERR_INIT;
	r->log = NULL;
	struct rlog_config c = config;
	c.covered_count = r->covered_count;
	c.covered_bytes = r->covered_bytes;
	return rlog_open(&r->log, sim_disk_disk(r->disk), &c, &r->got, &r->err);
}

static void open_log(struct rig *r)
{
	if (try_open(r) != 0)
		fail_msg("does not open: %s", r->err.text);
}

static void close_log(struct rig *r)
{
	rlog_loaded_release(&r->got);
	rlog_close(r->log);
	r->log = NULL;
}

static struct rig rig_new(uint64_t seed)
{
	struct rig r = { .disk = sim_disk_new(seed) };

	open_log(&r);
	sim_disk_run(r.disk);
	return r;
}

static void rig_free(struct rig *r)
{
	close_log(r);
	sim_disk_free(r->disk);
}

static void on_done(void *owner, int rc, const struct pk_err *err)
{
	struct rig *r = owner;

	assert_false(r->inside);
	assert_true((rc != 0) == (err != NULL));
	if (rc == 0)
		assert_int_equal(r->failed, 0); /* never again after a failure */
	r->answered++;
	r->failed += rc != 0;
	r->last_rc = rc;
}

/* Records first .. first + count - 1 of `len` bytes each, as one append. */
static void append(struct rig *r, uint64_t first, size_t count, uint64_t term, size_t len)
{
	struct rlog_record *records = pk_alloc(count * sizeof(*records));

	for (size_t i = 0; i < count; i++) {
		struct pk_bytes data = data_of(first + i, term, len);
		records[i] = (struct rlog_record){ .index = first + i,
						   .term = term,
						   .type = 1,
						   .data = pk_bytes(pk_memdup(data.data, data.len),
								    data.len) };
	}
	r->asked++;
	r->inside = true;
	rlog_append(r->log, records, count, on_done, r);
	r->inside = false;
	for (size_t i = 0; i < count; i++)
		free((void *)(uintptr_t)records[i].data.data);
	free(records);
}

static void put_manifest(struct rig *r, uint64_t index, uint64_t term, uint64_t keep, bool reset)
{
	r->asked++;
	r->inside = true;
	rlog_manifest_put(r->log,
			  &(struct rlog_manifest){ .index = index,
						   .term = term,
						   .conf_index = 1,
						   .conf = pk_bytes_str("three servers"),
						   .payload = pk_bytes_str("a state") },
			  keep, reset, on_done, r);
	r->inside = false;
}

static void check_record(const struct rlog_loaded *got, uint64_t index, uint64_t term, size_t len)
{
	assert_true(index >= got->start_index && index < got->start_index + got->record_count);
	const struct rlog_record *rec = &got->records[index - got->start_index];
	assert_int_equal(rec->index, index);
	assert_int_equal(rec->term, term);
	assert_true(pk_bytes_eq(rec->data, data_of(index, term, len)));
}

static void crash_and_open(struct rig *r)
{
	close_log(r);
	sim_disk_crash(r->disk, NULL, NULL);
	open_log(r);
}

static void test_appended_records_come_back(void **state)
{
	(void)state;
	struct rig r = rig_new(1);

	assert_int_equal(r.got.record_count, 0);
	assert_int_equal(r.got.start_index, 1);
	assert_int_equal(rlog_set_term(r.log, 3, &r.err), 0);
	assert_int_equal(rlog_set_vote(r.log, 9, &r.err), 0);
	for (uint64_t i = 1; i <= 300; i++) {
		append(&r, i, 1, 3, i % 100);
		if (i % 7 == 0)
			sim_disk_run(r.disk);
	}
	sim_disk_run(r.disk);
	assert_int_equal(r.answered, 300);
	crash_and_open(&r);
	assert_int_equal(r.got.term, 3);
	assert_int_equal(r.got.voted_for, 9);
	assert_int_equal(r.got.record_count, 300);
	for (uint64_t i = 1; i <= 300; i++)
		check_record(&r.got, i, 3, i % 100);
	rig_free(&r);
}

static void test_appends_that_wait_share_one_write_and_one_sync(void **state)
{
	(void)state;
	struct rig r = rig_new(2);
	uint64_t before = sim_disk_ops(r.disk);

	append(&r, 1, 1, 1, 20);
	for (uint64_t i = 2; i <= 60; i++)
		append(&r, i, 1, 1, 20);
	sim_disk_run(r.disk);
	assert_int_equal(r.answered, 60);
	assert_int_equal(sim_disk_ops(r.disk) - before, 4); /* two writes, two syncs */
	rig_free(&r);
}

static void test_a_record_larger_than_a_segment_gets_one_of_its_own(void **state)
{
	(void)state;
	struct rig r = rig_new(3);

	append(&r, 1, 1, 1, 100);
	append(&r, 2, 1, 1, 2 * SEGMENT_BYTES);
	append(&r, 3, 1, 1, 100);
	append(&r, 4, 3, 1, SEGMENT_BYTES - 5000);
	sim_disk_run(r.disk);
	crash_and_open(&r);
	assert_int_equal(r.got.record_count, 6);
	check_record(&r.got, 2, 1, 2 * SEGMENT_BYTES);
	check_record(&r.got, 3, 1, 100);
	check_record(&r.got, 6, 1, SEGMENT_BYTES - 5000);
	rig_free(&r);
}

static void test_truncated_records_do_not_come_back(void **state)
{
	(void)state;
	struct rig r = rig_new(4);

	append(&r, 1, 20, 2, 50);
	rlog_truncate(r.log, 11);
	assert_int_equal(rlog_last_index(r.log), 10);
	append(&r, 11, 3, 5, 50);
	sim_disk_run(r.disk);
	crash_and_open(&r);
	assert_int_equal(r.got.record_count, 13);
	check_record(&r.got, 10, 2, 50);
	check_record(&r.got, 11, 5, 50);
	check_record(&r.got, 13, 5, 50);
	/* and again, after more has been written behind it */
	rlog_truncate(r.log, 1);
	append(&r, 1, 1, 4, 50);
	sim_disk_run(r.disk);
	crash_and_open(&r);
	assert_int_equal(r.got.record_count, 1);
	check_record(&r.got, 1, 4, 50);
	rig_free(&r);
}

static void test_installed_snapshot_replaces_the_log(void **state)
{
	(void)state;
	struct rig r = rig_new(5);

	append(&r, 1, 30, 2, 600);
	put_manifest(&r, 100, 7, 0, true);
	assert_int_equal(rlog_last_index(r.log), 100);
	append(&r, 101, 2, 7, 30);
	sim_disk_run(r.disk);
	assert_int_equal(r.answered, 3);
	assert_true(pk_bytes_is(rlog_manifest_get(r.log)->payload, "a state"));
	crash_and_open(&r);
	assert_true(r.got.has_manifest);
	assert_int_equal(r.got.manifest.index, 100);
	assert_true(pk_bytes_is(r.got.manifest.conf, "three servers"));
	assert_int_equal(r.got.start_index, 101);
	assert_int_equal(r.got.record_count, 2);
	rig_free(&r);
}

static uint64_t segments_of(struct sim_disk *d)
{
	char name[DISK_NAME_BYTES_MAX];
	uint64_t count = 0;
	size_t len;

	for (unsigned i = 1; i < 200; i++) {
		snprintf(name, sizeof(name), "seg-%016x", i);
		count += sim_disk_file(d, name, &len) != NULL;
	}
	return count;
}

static void test_segments_that_a_manifest_covers_are_not_read(void **state)
{
	(void)state;
	struct rig r = rig_new(21);
	size_t len;

	for (uint64_t i = 1; i <= 100; i++) {
		append(&r, i, 1, 1, 1000);
		sim_disk_run(r.disk);
	}
	put_manifest(&r, 90, 1, 90, false); /* cuts nothing */
	sim_disk_run(r.disk);
	uint64_t before = segments_of(r.disk);
	assert_true(before > 5);
	close_log(&r);
	sim_disk_file(r.disk, "seg-0000000000000002", &len)[5000] ^= 1;
	assert_int_equal(try_open(&r), PK_ECORRUPT);
	r.covered_count = 4;
	r.covered_bytes = 1 << 20;
	open_log(&r);
	assert_int_equal(r.got.start_index, 87);
	assert_int_equal(r.got.record_count, 14);
	check_record(&r.got, 87, 1, 1000);
	check_record(&r.got, 100, 1, 1000);
	assert_true(rlog_bytes(r.log) < 30 * 1536);
	sim_disk_run(r.disk); /* they go */
	assert_true(segments_of(r.disk) < before / 2);
	append(&r, 101, 1, 2, 10);
	sim_disk_run(r.disk);
	r.covered_count = 0; /* and what is left is a log of its own */
	crash_and_open(&r);
	check_record(&r.got, 87, 1, 1000);
	check_record(&r.got, 101, 2, 10);
	rig_free(&r);
}

static void test_covered_records_are_loaded_up_to_a_size(void **state)
{
	(void)state;
	struct rig r = rig_new(22);

	append(&r, 1, 20, 1, 1000);
	put_manifest(&r, 15, 1, 15, false);
	sim_disk_run(r.disk);
	r.covered_count = 100;
	r.covered_bytes = 3500;
	crash_and_open(&r);
	assert_int_equal(r.got.start_index, 13);
	assert_int_equal(r.got.record_count, 8);
	r.covered_bytes = 0;
	crash_and_open(&r);
	assert_int_equal(r.got.start_index, 16);
	assert_int_equal(r.got.record_count, 5);
	check_record(&r.got, 16, 1, 1000);
	rig_free(&r);
}

static void test_a_truncation_below_the_loaded_part_is_followed(void **state)
{
	(void)state;
	struct rig r = rig_new(23);

	append(&r, 1, 40, 1, 1000);
	rlog_truncate(r.log, 11);
	append(&r, 11, 30, 2, 900);
	put_manifest(&r, 30, 2, 30, false);
	sim_disk_run(r.disk);
	r.covered_count = 2;
	r.covered_bytes = 1 << 20;
	crash_and_open(&r);
	assert_int_equal(r.got.start_index, 29);
	assert_int_equal(r.got.record_count, 12);
	check_record(&r.got, 29, 2, 900);
	check_record(&r.got, 40, 2, 900);
	rig_free(&r);
}

/* ---- the last write, torn
 * ------------------------------------------------------------------------ */

static bool keep_by_mask(void *arg, const char *name, uint64_t sector, uint64_t unsynced)
{
	(void)name;
	(void)sector;
	return (*(const uint64_t *)arg >> unsynced & 1) != 0;
}

/* `round` 0: a fresh segment; more: segments used before, with batches like these in them. */
static void tear_every_way(int rounds)
{
	struct rig r = rig_new(6);
	uint64_t next = 1;

	for (int round = 0; round < rounds; round++)
		for (int i = 0; i < 12; i++) {
			append(&r, next, 4, 1, 700);
			next += 4;
			sim_disk_run(r.disk);
			put_manifest(&r, next - 1, 1, 0, false);
			sim_disk_run(r.disk);
		}
	append(&r, next, 3, 1, 40);
	next += 3;
	sim_disk_run(r.disk);
	append(&r, next, 5, 2, 800); /* not acknowledged: written, but never synced */
	while (sim_disk_unsynced(r.disk) == 0)
		assert_true(sim_disk_step(r.disk));
	uint64_t sectors = sim_disk_unsynced(r.disk);
	assert_true(sectors >= 8 && sectors <= 10);
	size_t whole = 0;
	for (uint64_t mask = 0; mask < UINT64_C(1) << sectors; mask++) {
		struct rig c = { .disk = sim_disk_clone(r.disk, mask) };
		sim_disk_crash(c.disk, keep_by_mask, &mask);
		open_log(&c);
		size_t count = c.got.start_index + c.got.record_count - next;
		assert_true(count == 0 || count == 5);
		check_record(&c.got, next - 1, 1, 40);
		if (count == 5) {
			whole++;
			check_record(&c.got, next, 2, 800);
		}
		/* what is written over the torn one is what counts from then on */
		append(&c, next + count, 2, 3, mask % 2000);
		sim_disk_run(c.disk);
		crash_and_open(&c);
		assert_int_equal(c.got.start_index + c.got.record_count, next + count + 2);
		check_record(&c.got, next + count + 1, 3, mask % 2000);
		assert_false(c.got.torn_tail);
		rig_free(&c);
	}
	assert_true(whole >= 1);
	rig_free(&r);
}

static void test_any_sectors_of_the_last_write_may_be_missing(void **state)
{
	(void)state;
	tear_every_way(0);
}

static void test_any_sectors_may_be_missing_in_a_recycled_segment(void **state)
{
	(void)state;
	tear_every_way(4);
}

static const char *last_segment(const struct sim_disk *d)
{
	const char *last = NULL;

	for (size_t i = 0; i < sim_disk_file_count(d); i++) {
		const char *name = sim_disk_file_name(d, i);
		if (strncmp(name, "seg-", 4) == 0 && (last == NULL || strcmp(name, last) > 0))
			last = name;
	}
	return last;
}

static void test_the_last_write_may_end_at_any_byte(void **state)
{
	(void)state;
	struct rig r = rig_new(7);
	size_t len;

	append(&r, 1, 3, 1, 40);
	sim_disk_run(r.disk);
	struct pk_buf before = PK_BUF_INIT;
	char name[64];
	snprintf(name, sizeof(name), "%s", last_segment(r.disk));
	uint8_t *file = sim_disk_file(r.disk, name, &len);
	pk_buf_add(&before, file, len);
	append(&r, 4, 3, 2, 300);
	sim_disk_run(r.disk);
	struct pk_buf after = PK_BUF_INIT;
	file = sim_disk_file(r.disk, name, &len);
	pk_buf_add(&after, file, len);
	size_t first = 0, last = 0;
	for (size_t i = 0; i < len; i++)
		if (before.data[i] != after.data[i]) {
			first = first == 0 ? i : first;
			last = i;
		}
	assert_true(last - first > 900);
	for (size_t cut = first; cut <= last + 1; cut++) {
		struct rig c = { .disk = sim_disk_clone(r.disk, cut) };
		file = sim_disk_file(c.disk, name, &len);
		memcpy(file + cut, before.data + cut, len - cut);
		open_log(&c);
		assert_int_equal(c.got.record_count, cut == last + 1 ? 6 : 3);
		rig_free(&c);
	}
	pk_buf_release(&before);
	pk_buf_release(&after);
	rig_free(&r);
}

static bool keep_none(void *arg, const char *name, uint64_t sector, uint64_t unsynced)
{
	(void)arg;
	(void)name;
	(void)sector;
	(void)unsynced;
	return false;
}

static void test_what_start_up_reports_outlives_a_power_cut(void **state)
{
	(void)state;
	size_t unsynced = 0;

	/* The process is killed after each operation; its successor reads what was not synced. */
	for (uint64_t n = 1; n <= 40; n++) {
		struct rig r = rig_new(30);
		append(&r, 1, 3, 1, 700);
		put_manifest(&r, 2, 1, 0, false);
		append(&r, 4, 3, 1, 700);
		put_manifest(&r, 50, 3, 0, true);
		append(&r, 51, 2, 3, 700);
		uint64_t end = sim_disk_ops(r.disk) + n;
		while (sim_disk_ops(r.disk) < end && sim_disk_step(r.disk))
			;
		close_log(&r);
		unsynced += sim_disk_unsynced(r.disk) > 0;
		sim_disk_kill(r.disk);
		open_log(&r);
		uint64_t last = rlog_last_index(r.log), start = r.got.start_index;
		uint64_t manifest = r.got.has_manifest ? r.got.manifest.index : 0;
		close_log(&r);
		sim_disk_crash(r.disk, keep_none, NULL);
		open_log(&r);
		assert_int_equal(rlog_last_index(r.log), last);
		assert_int_equal(r.got.start_index, start);
		assert_int_equal(r.got.has_manifest ? r.got.manifest.index : 0, manifest);
		rig_free(&r);
	}
	assert_true(unsynced >= 5);
}

/* ---- damage -------------------------------------------------------------------------------------
 */

/* What the files hold, for "changes nothing". */
static uint32_t disk_digest(struct sim_disk *d)
{
	uint32_t crc = 0;

	for (size_t i = 0; i < sim_disk_file_count(d); i++) {
		size_t len;
		const char *name = sim_disk_file_name(d, i);
		const uint8_t *data = sim_disk_file(d, name, &len);
		crc = pk_crc32c(crc, name, strlen(name));
		crc = pk_crc32c(crc, data, len);
	}
	return crc;
}

/* Mark the bytes of a segment that mean something; returns how many batches it has. */
static size_t mark_used(const uint8_t *file, size_t len, uint8_t *used)
{
	struct rlog_batch b;
	size_t batches = 0;

	memset(used, 1, RLOG_HEAD_BYTES);
	for (size_t at = RLOG_SEGMENT_HEAD_BYTES;
	     at + RLOG_BATCH_HEAD_BYTES <= len && rlog_batch_decode(&b, file + at) &&
	     b.offset == at;
	     at += b.span) {
		struct pk_bytes in = pk_bytes(file + at + RLOG_BATCH_HEAD_BYTES,
					      b.bytes - RLOG_BATCH_HEAD_BYTES);
		if (b.count == 0)
			break; /* a seal: holds nothing */
		memset(used + at, 1, RLOG_BATCH_HEAD_BYTES);
		while (in.len > 0) {
			struct rlog_record_head h;
			struct pk_bytes payload;
			size_t start = (size_t)(in.data - file);
			assert_int_equal(rlog_record_take(&in, &h, &payload, NULL), 0);
			memset(used + start, 1, RLOG_RECORD_HEAD_BYTES + payload.len);
		}
		batches++;
	}
	return batches;
}

static void test_any_flipped_bit_in_sealed_data_is_damage(void **state)
{
	(void)state;
	struct rig r = rig_new(8);
	size_t len, flips = 0, batches = 0;

	for (uint64_t i = 0; i < 16; i++) {
		append(&r, 1 + 3 * i, 3, 1, 333);
		sim_disk_run(r.disk);
	}
	rlog_seal(r.log, NULL, NULL);
	sim_disk_run(r.disk);
	for (size_t i = 0; i < sim_disk_file_count(r.disk); i++) {
		const char *name = sim_disk_file_name(r.disk, i);
		if (strncmp(name, "seg-", 4) != 0)
			continue;
		uint8_t *file = sim_disk_file(r.disk, name, &len);
		uint8_t *used = pk_alloc(len);
		batches += mark_used(file, len, used);
		for (size_t at = 0; at < len; at++) {
			if (!used[at] && at % 97 != 0)
				continue;
			struct rig c = { .disk = sim_disk_clone(r.disk, at) };
			file = sim_disk_file(c.disk, name, &len);
			file[at] ^= (uint8_t)(1u << (at * 7 + at / 8) % 8);
			uint32_t digest = disk_digest(c.disk);
			int rc = try_open(&c);
			if (used[at]) {
				if (rc != PK_ECORRUPT || strstr(c.err.text, "seg-") == NULL ||
				    digest != disk_digest(c.disk))
					fail_msg("%s: flip at %zu: rc %d: %s", name, at, rc,
						 c.err.text);
				flips++;
			} else {
				assert_int_equal(rc, 0);
				assert_int_equal(c.got.record_count, 48);
			}
			if (rc == 0)
				close_log(&c);
			sim_disk_free(c.disk);
		}
		free(used);
	}
	assert_int_equal(batches, 16);
	assert_true(flips > 48 * 333);
	rig_free(&r);
}

static void test_the_last_write_is_protected_once_it_is_sealed(void **state)
{
	(void)state;
	struct rig r = rig_new(9);
	size_t len;

	append(&r, 1, 1, 1, 100);
	sim_disk_run(r.disk);
	append(&r, 2, 1, 1, 100);
	sim_disk_run(r.disk);
	for (int sealed = 0; sealed < 2; sealed++) {
		if (sealed) {
			rlog_seal(r.log, on_done, &r);
			r.asked++;
			sim_disk_run(r.disk);
		}
		struct rig c = { .disk = sim_disk_clone(r.disk, 1) };
		uint8_t *file = sim_disk_file(c.disk, last_segment(c.disk), &len);
		file[RLOG_SEGMENT_HEAD_BYTES + SIM_SECTOR_BYTES + 120] ^= 4; /* in record 2 */
		int rc = try_open(&c);
		if (sealed) {
			assert_int_equal(rc, PK_ECORRUPT);
		} else { /* it looks like a write that was never finished */
			assert_int_equal(rc, 0);
			assert_true(c.got.torn_tail);
			assert_int_equal(c.got.record_count, 1);
			close_log(&c);
		}
		sim_disk_free(c.disk);
	}
	assert_int_equal(r.answered, r.asked);
	rig_free(&r);
}

static void test_damage_is_named_by_file_offset_and_finding(void **state)
{
	(void)state;
	struct rig r = rig_new(10);
	size_t len;

	append(&r, 1, 1, 1, 100);
	sim_disk_run(r.disk);
	append(&r, 2, 1, 1, 100);
	sim_disk_run(r.disk);
	close_log(&r);
	uint8_t *file = sim_disk_file(r.disk, last_segment(r.disk), &len);
	file[RLOG_SEGMENT_HEAD_BYTES + 120] ^= 4;
	assert_int_equal(try_open(&r), PK_ECORRUPT);
	assert_non_null(strstr(r.err.text, "raft log: seg-0000000000000001: offset 4096: damaged: "
					   "want batch 1; batch 2 at offset 4608 was written after "
					   "it: record crc: want "));
	sim_disk_free(r.disk);
}

static void test_one_copy_of_term_and_vote_is_enough(void **state)
{
	(void)state;
	struct rig r = rig_new(11);
	size_t len;

	assert_int_equal(rlog_set_term(r.log, 8, &r.err), 0);
	assert_int_equal(rlog_set_vote(r.log, 3, &r.err), 0);
	for (int copy = 0; copy < 2; copy++) {
		struct rig c = { .disk = sim_disk_clone(r.disk, 1) };
		const char *name = copy == 0 ? "meta-1" : "meta-2";
		uint8_t *file = sim_disk_file(c.disk, name, &len);
		file[41] ^= 1;
		open_log(&c);
		assert_int_equal(c.got.term, 8);
		assert_int_equal(c.got.voted_for, 3);
		assert_non_null(strstr(c.got.note.text, name));
		close_log(&c);
		open_log(&c); /* it was repaired */
		assert_int_equal(c.got.note.code, 0);
		close_log(&c);
		/* both at once */
		sim_disk_file(c.disk, "meta-1", &len)[41] ^= 1;
		sim_disk_file(c.disk, "meta-2", &len)[50] ^= 1;
		assert_int_equal(try_open(&c), PK_ECORRUPT);
		sim_disk_free(c.disk);
	}
	rig_free(&r);
}

static void test_a_damaged_manifest_is_survived_only_if_the_log_is_whole_without_it(void **state)
{
	(void)state;
	struct rig r = rig_new(12);
	size_t len;

	append(&r, 1, 4, 1, 100);
	put_manifest(&r, 2, 1, 0, false); /* manifest-2; the only segment stays */
	sim_disk_run(r.disk);
	sim_disk_file(r.disk, "manifest-2", &len)[530] ^= 1;
	close_log(&r);
	open_log(&r);
	assert_false(r.got.has_manifest);
	assert_int_equal(r.got.record_count, 4);
	assert_non_null(strstr(r.got.note.text, "manifest-2"));
	for (uint64_t i = 5; i < 40; i++) {
		append(&r, i, 1, 1, 1500);
		sim_disk_run(r.disk);
	}
	put_manifest(&r, 39, 1, 0, false);
	sim_disk_run(r.disk); /* now earlier segments are gone */
	close_log(&r);
	sim_disk_file(r.disk, "manifest-2", &len)[530] ^= 1;
	assert_int_equal(try_open(&r), PK_ECORRUPT);
	assert_non_null(strstr(r.err.text, "what is before it is missing"));
	sim_disk_free(r.disk);
}

static void test_missing_segments_are_noticed(void **state)
{
	(void)state;
	struct rig r = rig_new(13);
	size_t dropped = 0;

	for (uint64_t i = 1; i <= 40; i++) {
		append(&r, i, 1, 1, 1500);
		sim_disk_run(r.disk);
	}
	close_log(&r);
	char last[64];
	snprintf(last, sizeof(last), "%s", last_segment(r.disk));
	for (size_t i = 0; i < sim_disk_file_count(r.disk); i++) {
		char name[64];
		snprintf(name, sizeof(name), "%s", sim_disk_file_name(r.disk, i));
		if (strncmp(name, "seg-", 4) != 0 || strcmp(name, last) == 0)
			continue;
		struct rig c = { .disk = sim_disk_clone(r.disk, 1) };
		sim_disk_drop(c.disk, name);
		assert_int_equal(try_open(&c), PK_ECORRUPT);
		assert_non_null(strstr(c.err.text, "missing"));
		sim_disk_free(c.disk);
		dropped++;
	}
	assert_true(dropped >= 3);
	/* all of them, and term and vote */
	while (last_segment(r.disk) != NULL) {
		snprintf(last, sizeof(last), "%s", last_segment(r.disk));
		sim_disk_drop(r.disk, last);
	}
	assert_int_equal(try_open(&r), PK_ECORRUPT);
	sim_disk_free(r.disk);
}

static void test_files_of_others_are_refused(void **state)
{
	(void)state;
	struct rig r = rig_new(14);
	struct rlog_config other = config;
	struct rlog *l;

	append(&r, 1, 1, 1, 10);
	sim_disk_run(r.disk);
	close_log(&r);
	uint32_t digest = disk_digest(r.disk);
	other.cluster_id++;
	assert_int_equal(rlog_open(&l, sim_disk_disk(r.disk), &other, &r.got, &r.err), PK_ESTATE);
	assert_non_null(strstr(r.err.text, "belongs to cluster 0000000000000077, and we are of "
					   "0000000000000078"));
	other = config;
	other.server_id = 5;
	r.err = PK_ERR_INIT;
	assert_int_equal(rlog_open(&l, sim_disk_disk(r.disk), &other, &r.got, &r.err), PK_ESTATE);
	assert_non_null(strstr(r.err.text, "belongs to server 2, and we are server 5"));
	assert_int_equal(disk_digest(r.disk), digest);
	sim_disk_free(r.disk);
}

static void test_a_newer_format_is_refused(void **state)
{
	(void)state;
	struct rig r = rig_new(15);
	size_t len;

	close_log(&r);
	for (int i = 0; i < 2; i++) {
		uint8_t *file = sim_disk_file(r.disk, i == 0 ? "meta-1" : "meta-2", &len);
		pk_put_le32(file + 8, 2);
		pk_put_le32(file + 12, 0);
		pk_put_le32(file + 12, pk_crc32c(0, file, RLOG_HEAD_BYTES));
	}
	assert_int_equal(try_open(&r), PK_ESTATE);
	assert_non_null(strstr(r.err.text, "written by a newer program"));
	sim_disk_free(r.disk);
}

static void test_a_misdirected_write_is_noticed(void **state)
{
	(void)state;
	struct rig r = rig_new(16);

	append(&r, 1, 1, 1, 100);
	sim_disk_run(r.disk);
	sim_disk_set_faults(r.disk,
			    &(struct sim_disk_faults){ .misdirect_at = sim_disk_ops(r.disk) + 1,
						       .misdirect_by = 2048 });
	append(&r, 2, 1, 1, 100);
	sim_disk_run(r.disk);
	assert_int_equal(r.failed, 0); /* the disk said yes */
	close_log(&r);
	assert_int_equal(try_open(&r), PK_ECORRUPT);
	sim_disk_free(r.disk);
}

static void test_a_bit_flipped_in_reading_never_loses_a_record_in_silence(void **state)
{
	(void)state;
	struct rig r = rig_new(17);
	size_t noticed = 0;

	for (uint64_t i = 1; i <= 40; i++) {
		append(&r, i, 1, 1, 1500);
		sim_disk_run(r.disk);
	}
	put_manifest(&r, 30, 1, 20, false);
	rlog_seal(r.log, NULL, NULL);
	sim_disk_run(r.disk);
	for (uint64_t seed = 1; seed <= 30; seed++)
		for (uint64_t n = 1; n <= 14; n++) {
			struct rig c = { .disk = sim_disk_clone(r.disk, seed * 100 + n) };
			sim_disk_set_faults(c.disk, &(struct sim_disk_faults){ .flip_read_at = n });
			int rc = try_open(&c);
			if (rc == 0) {
				assert_int_equal(c.got.start_index + c.got.record_count, 41);
				check_record(&c.got, 40, 1, 1500);
				check_record(&c.got, 39, 1, 1500);
				close_log(&c);
			} else {
				assert_int_equal(rc, PK_ECORRUPT);
				noticed++;
			}
			sim_disk_free(c.disk);
		}
	assert_true(noticed > 50);
	rig_free(&r);
}

/* ---- recycling ---------------------------------------------------------------------------------
 */

static void test_segments_are_recycled_over_hundreds_of_rolls(void **state)
{
	(void)state;
	struct rig r = rig_new(18);
	size_t most_files = 0;

	for (uint64_t i = 1; i <= 3000; i++) {
		append(&r, i, 1, 1 + i / 100, 1800 + i % 200);
		sim_disk_run(r.disk);
		if (i % 20 == 0) {
			put_manifest(&r, i - 1, 1 + (i - 1) / 100, 5, false);
			sim_disk_run(r.disk);
		}
		if (sim_disk_file_count(r.disk) > most_files)
			most_files = sim_disk_file_count(r.disk);
		if (i % 301 == 0) {
			crash_and_open(&r);
			sim_disk_run(r.disk);
			assert_int_equal(rlog_last_index(r.log), i);
			check_record(&r.got, i, 1 + i / 100, 1800 + i % 200);
			assert_true(r.got.record_count >= 5 && r.got.record_count < 60);
		}
	}
	assert_int_equal(r.answered, r.asked);
	assert_true(strcmp(last_segment(r.disk), "seg-0000000000000200") > 0);
	assert_true(most_files <= 14); /* four of ours by name, the live segments, spares */
	assert_true(rlog_bytes(r.log) < 30 * 2560);
	rig_free(&r);
}

static void test_a_segment_is_ready_before_it_is_needed(void **state)
{
	(void)state;
	struct rig r = rig_new(19);

	/* Nothing between an append and its completion but its own write and sync, or those and the
	 * three operations that turn a spare into the next segment. */
	for (uint64_t i = 1; i <= 200; i++) {
		uint64_t before = sim_disk_ops(r.disk);
		size_t answered = r.answered;
		append(&r, i, 1, 1, 1800);
		while (r.answered == answered)
			assert_true(sim_disk_step(r.disk));
		assert_true(sim_disk_ops(r.disk) - before <= 5);
		sim_disk_run(r.disk); /* chores */
	}
	rig_free(&r);
}

/* ---- failure ------------------------------------------------------------------------------------
 */

/* A fixed story; returns how many appends were acknowledged before the first error. */
static size_t story(struct rig *r)
{
	for (uint64_t i = 1; i <= 40; i++) {
		append(r, i, 1, 1, 900);
		if (i % 3 == 0)
			sim_disk_run(r->disk);
		if (i == 25)
			put_manifest(r, 20, 1, 2, false);
	}
	sim_disk_run(r->disk);
	return r->answered - r->failed;
}

static void test_after_any_failed_operation_everything_fails(void **state)
{
	(void)state;
	bool failed = true;
	size_t failures = 0;

	for (uint64_t n = 1; failed; n++) {
		struct rig r = rig_new(20);
		sim_disk_set_faults(r.disk,
				    &(struct sim_disk_faults){ .fail_at = sim_disk_ops(r.disk) + n,
							       .fail_code = PK_EIO });
		size_t good = story(&r);
		assert_int_equal(r.answered, r.asked); /* each callback exactly once */
		failed = r.failed > 0;
		if (failed) {
			failures++;
			assert_int_equal(r.last_rc, PK_EIO);
			append(&r, 41, 1, 1, 10); /* answered later, not inside the call */
			assert_int_equal(r.answered + 1, r.asked);
			sim_disk_run(r.disk);
			assert_int_equal(r.answered, r.asked);
			assert_int_equal(rlog_set_term(r.log, 9, &r.err), PK_EIO);
			if (good > 25)
				good--; /* the manifest's */
		} else {
			good = 40;
		}
		crash_and_open(&r);
		assert_true(r.got.start_index + r.got.record_count - 1 >= good);
		for (uint64_t i = r.got.start_index; i <= good; i++)
			check_record(&r.got, i, 1, 900);
		rig_free(&r);
	}
	assert_true(failures > 60);
}

static void test_a_full_disk_is_an_error_that_says_so(void **state)
{
	(void)state;
	struct rig r = rig_new(21);
	uint64_t index = 1;

	sim_disk_set_faults(r.disk, &(struct sim_disk_faults){ .space_bytes = 5 * SEGMENT_BYTES });
	for (; r.failed == 0 && index < 200; index++) {
		append(&r, index, 1, 1, 2000);
		sim_disk_run(r.disk);
	}
	assert_int_equal(r.failed, 1);
	assert_int_equal(r.last_rc, PK_ENOSPC);
	assert_true(index > 8);
	crash_and_open(&r);
	assert_true(r.got.record_count >= index - 2);
	rig_free(&r);
}

static void test_a_failed_vote_is_an_error_and_never_half_there(void **state)
{
	(void)state;
	for (uint64_t n = 1; n <= 4; n++) {
		struct rig r = rig_new(22);
		assert_int_equal(rlog_set_term(r.log, 5, &r.err), 0);
		sim_disk_set_faults(
			r.disk, &(struct sim_disk_faults){ .fail_at = sim_disk_ops(r.disk) + n });
		assert_int_equal(rlog_set_vote(r.log, 7, &r.err), PK_EIO);
		crash_and_open(&r);
		assert_int_equal(r.got.term, 5);
		assert_true(r.got.voted_for == 0 || r.got.voted_for == 7);
		rig_free(&r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_appended_records_come_back),
		cmocka_unit_test(test_appends_that_wait_share_one_write_and_one_sync),
		cmocka_unit_test(test_a_record_larger_than_a_segment_gets_one_of_its_own),
		cmocka_unit_test(test_truncated_records_do_not_come_back),
		cmocka_unit_test(test_installed_snapshot_replaces_the_log),
		cmocka_unit_test(test_segments_that_a_manifest_covers_are_not_read),
		cmocka_unit_test(test_covered_records_are_loaded_up_to_a_size),
		cmocka_unit_test(test_a_truncation_below_the_loaded_part_is_followed),
		cmocka_unit_test(test_any_sectors_of_the_last_write_may_be_missing),
		cmocka_unit_test(test_any_sectors_may_be_missing_in_a_recycled_segment),
		cmocka_unit_test(test_the_last_write_may_end_at_any_byte),
		cmocka_unit_test(test_what_start_up_reports_outlives_a_power_cut),
		cmocka_unit_test(test_any_flipped_bit_in_sealed_data_is_damage),
		cmocka_unit_test(test_the_last_write_is_protected_once_it_is_sealed),
		cmocka_unit_test(test_damage_is_named_by_file_offset_and_finding),
		cmocka_unit_test(test_one_copy_of_term_and_vote_is_enough),
		cmocka_unit_test(
			test_a_damaged_manifest_is_survived_only_if_the_log_is_whole_without_it),
		cmocka_unit_test(test_missing_segments_are_noticed),
		cmocka_unit_test(test_files_of_others_are_refused),
		cmocka_unit_test(test_a_newer_format_is_refused),
		cmocka_unit_test(test_a_misdirected_write_is_noticed),
		cmocka_unit_test(test_a_bit_flipped_in_reading_never_loses_a_record_in_silence),
		cmocka_unit_test(test_segments_are_recycled_over_hundreds_of_rolls),
		cmocka_unit_test(test_a_segment_is_ready_before_it_is_needed),
		cmocka_unit_test(test_after_any_failed_operation_everything_fails),
		cmocka_unit_test(test_a_full_disk_is_an_error_that_says_so),
		cmocka_unit_test(test_a_failed_vote_is_an_error_and_never_half_there),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
