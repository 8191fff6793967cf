#include "tests/lib/test.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/rng.h"
#include "store/disk_io.h"
#include "store/rlog.h"

struct rig {
	char path[256];
	struct net_loop *loop;
	struct disk_io *io;
	struct disk *disk;
	struct pk_err err;
	int answered, wanted;
	int last_rc;
	char last_text[PK_ERR_TEXT_BYTES];
	struct disk_req *order[64];
};

static void make_dir(struct rig *r)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(r->path, sizeof(r->path), "%s/disk-io-XXXXXX", tmp != NULL ? tmp : "/tmp");
	assert_non_null(mkdtemp(r->path));
}

static void remove_dir(const struct rig *r)
{
	struct dirent *entry;
	DIR *dir = opendir(r->path);

	assert_non_null(dir);
	while ((entry = readdir(dir)) != NULL)
		if (entry->d_name[0] != '.')
			assert_int_equal(unlinkat(dirfd(dir), entry->d_name, 0), 0);
	closedir(dir);
	assert_int_equal(rmdir(r->path), 0);
}

static void rig_open(struct rig *r)
{
	r->loop = net_loop_new(&r->err);
	assert_non_null(r->loop);
	if (disk_io_open(&r->io, r->path, r->loop, &r->err) != 0)
		fail_msg("%s", r->err.text);
	r->disk = disk_io_disk(r->io);
}

static void rig_close(struct rig *r)
{
	disk_io_close(r->io);
	net_loop_free(r->loop);
}

static void on_done(struct disk_req *req, int rc, const struct pk_err *err)
{
	struct rig *r = req->owner;

	if (r->answered < (int)PK_COUNT(r->order))
		r->order[r->answered] = req;
	r->answered++;
	r->last_rc = rc;
	snprintf(r->last_text, sizeof(r->last_text), "%s", err != NULL ? err->text : "");
	if (r->answered == r->wanted)
		net_loop_stop(r->loop);
}

static void run_ops(struct rig *r, struct disk_op *ops, size_t count)
{
	struct disk_req req = { .ops = ops, .op_count = count, .done = on_done, .owner = r };

	r->answered = 0;
	r->wanted = 1;
	r->disk->submit(r->disk->impl, &req);
	assert_int_equal(r->answered, 0); /* never inside submit */
	net_loop_run(r->loop);
	assert_int_equal(r->answered, 1);
}

static void check_bytes(struct rig *r, const char *name, uint64_t offset, const char *want)
{
	char got[64];
	size_t len;

	assert_int_equal(
		r->disk->read(r->disk->impl, name, offset, got, strlen(want), &len, &r->err), 0);
	assert_int_equal(len, strlen(want));
	assert_memory_equal(got, want, len);
}

static void test_operations_do_what_they_say_in_order(void **state)
{
	(void)state;
	static uint8_t block[4096] __attribute__((aligned(4096)));
	struct rig r = { 0 };
	size_t len;
	char byte;

	make_dir(&r);
	rig_open(&r);
	memcpy(block, "direct", 6);
	struct disk_op ops[] = {
		{ .kind = DISK_CREATE, .name = "a", .bytes = 3 << 20 },
		{ .kind = DISK_WRITE, .name = "a", .offset = 4096, .data = { block, 4096 } },
		{ .kind = DISK_SYNC, .name = "a" },
		{ .kind = DISK_WRITE, .name = "a", .offset = 9001, .data = { block, 6 } },
		{ .kind = DISK_SYNC, .name = "a" },
		{ .kind = DISK_RENAME, .name = "a", .to = "b" },
		{ .kind = DISK_WRITE, .name = "b", .offset = 4099, .data = { block + 3, 1 } },
		{ .kind = DISK_CREATE, .name = "a", .bytes = 5 },
		{ .kind = DISK_CREATE, .name = "c", .bytes = 0 },
		{ .kind = DISK_WRITE, .name = "c", .offset = 4096, .data = { block, 4096 } },
		{ .kind = DISK_TRUNCATE, .name = "c", .bytes = 4100 },
		{ .kind = DISK_REMOVE, .name = "a" },
		{ .kind = DISK_REMOVE, .name = "never was" },
	};
	run_ops(&r, ops, PK_COUNT(ops));
	assert_int_equal(r.last_rc, 0);
	check_bytes(&r, "b", 4096, "direct");
	check_bytes(&r, "b", 9001, "direct");
	check_bytes(&r, "c", 4096, "dire");
	assert_int_equal(r.disk->read(r.disk->impl, "c", 4099, block, 100, &len, &r.err), 0);
	assert_int_equal(len, 1);
	assert_int_equal(r.disk->read(r.disk->impl, "b", (3 << 20) - 1, &byte, 1, &len, &r.err), 0);
	assert_int_equal(len, 1);
	assert_int_equal(byte, 0);
	assert_int_equal(r.disk->read(r.disk->impl, "a", 0, &byte, 1, &len, &r.err), PK_ENOENT);
	assert_true(r.disk->free_bytes(r.disk->impl) > 0);
	rig_close(&r);
	remove_dir(&r);
}

static void test_synchronous_writes_create_and_replace(void **state)
{
	(void)state;
	struct rig r = { 0 };

	make_dir(&r);
	rig_open(&r);
	assert_int_equal(
		r.disk->write_now(r.disk->impl, "meta", 0, pk_bytes_str("hello world"), &r.err), 0);
	assert_int_equal(r.disk->write_now(r.disk->impl, "meta", 6, pk_bytes_str("there"), &r.err),
			 0);
	check_bytes(&r, "meta", 0, "hello there");
	rig_close(&r);
	remove_dir(&r);
}

static void count_file(void *arg, const char *name, uint64_t bytes)
{
	uint64_t *sum = arg;

	(void)name;
	*sum += 1000 + bytes;
}

static void test_list_gives_files_and_sizes(void **state)
{
	(void)state;
	struct rig r = { 0 };
	uint64_t sum = 0;

	make_dir(&r);
	rig_open(&r);
	struct disk_op one = { .kind = DISK_CREATE, .name = "one", .bytes = 7 };
	struct disk_op two = { .kind = DISK_CREATE, .name = "two", .bytes = 11 };
	assert_int_equal(r.disk->op_now(r.disk->impl, &one, &r.err), 0);
	assert_int_equal(r.disk->op_now(r.disk->impl, &two, &r.err), 0);
	assert_int_equal(r.disk->list(r.disk->impl, count_file, &sum, &r.err), 0);
	assert_int_equal(sum, 2018);
	rig_close(&r);
	remove_dir(&r);
}

static void test_requests_complete_in_order(void **state)
{
	(void)state;
	struct rig r = { 0 };
	struct disk_req reqs[50];
	struct disk_op ops[50];

	make_dir(&r);
	rig_open(&r);
	struct disk_op create = { .kind = DISK_CREATE, .name = "f", .bytes = 65536 };
	assert_int_equal(r.disk->op_now(r.disk->impl, &create, &r.err), 0);
	r.wanted = 50;
	for (size_t i = 0; i < 50; i++) {
		ops[i] = (struct disk_op){ .kind = DISK_WRITE,
					   .name = "f",
					   .offset = i,
					   .data = pk_bytes_str(i % 2 == 0 ? "x" : "y") };
		reqs[i] = (struct disk_req){ .ops = &ops[i],
					     .op_count = i % 10 == 9 ? 0 : 1,
					     .done = on_done,
					     .owner = &r };
		r.disk->submit(r.disk->impl, &reqs[i]);
	}
	net_loop_run(r.loop);
	assert_int_equal(r.answered, 50);
	for (size_t i = 0; i < 50; i++)
		assert_ptr_equal(r.order[i], &reqs[i]);
	struct disk_io_stats stats;
	disk_io_stats(r.io, &stats);
	assert_int_equal(stats.requests, 50);
	assert_int_equal(stats.written_bytes, 45);
	rig_close(&r);
	remove_dir(&r);
}

static void test_nothing_works_after_a_failure(void **state)
{
	(void)state;
	struct rig r = { 0 };

	make_dir(&r);
	rig_open(&r);
	struct disk_op bad = { .kind = DISK_WRITE, .name = "missing", .data = pk_bytes_str("x") };
	struct disk_op good = { .kind = DISK_CREATE, .name = "fine", .bytes = 1 };
	run_ops(&r, &bad, 1);
	assert_int_equal(r.last_rc, PK_ENOENT);
	assert_non_null(strstr(r.last_text, "open missing: No such file"));
	run_ops(&r, &good, 1);
	assert_int_equal(r.last_rc, PK_ENOENT);
	assert_non_null(strstr(r.last_text, "open missing"));
	rig_close(&r);
	remove_dir(&r);
}

static void test_a_full_file_system_is_named_so(void **state)
{
	(void)state;
	struct rig r = { 0 };
	static uint8_t block[4096];

	/* The kernel's own full disk, behind a link: writes to it give ENOSPC. */
	make_dir(&r);
	rig_open(&r);
	char path[300];
	snprintf(path, sizeof(path), "%s/full", r.path);
	assert_int_equal(symlink("/dev/full", path), 0);
	struct disk_op op = { .kind = DISK_WRITE, .name = "full", .data = { block, 100 } };
	run_ops(&r, &op, 1);
	assert_int_equal(r.last_rc, PK_ENOSPC);
	rig_close(&r);
	remove_dir(&r);
}

static void test_a_directory_has_one_user(void **state)
{
	(void)state;
	struct rig r = { 0 };
	struct disk_io *second;

	make_dir(&r);
	rig_open(&r);
	assert_int_equal(disk_io_open(&second, r.path, r.loop, &r.err), PK_ESTATE);
	assert_non_null(strstr(r.err.text, "another process uses it"));
	rig_close(&r);
	rig_open(&r); /* free again */
	rig_close(&r);
	remove_dir(&r);
}

static void test_closing_forgets_what_was_not_done(void **state)
{
	(void)state;
	struct rig r = { 0 };
	struct disk_req reqs[20];
	struct disk_op op = { .kind = DISK_CREATE, .name = "f", .bytes = 1 << 20 };

	make_dir(&r);
	rig_open(&r);
	for (size_t i = 0; i < PK_COUNT(reqs); i++) {
		reqs[i] = (struct disk_req){
			.ops = &op, .op_count = 1, .done = on_done, .owner = &r
		};
		r.disk->submit(r.disk->impl, &reqs[i]);
	}
	rig_close(&r);
	assert_int_equal(r.answered, 0);
	remove_dir(&r);
}

/* ---- the log on it ------------------------------------------------------------------------------
 */

static const struct rlog_config log_config = { .segment_bytes = 1 << 20,
					       .cluster_id = 1,
					       .server_id = 1 };

static void on_appended(void *owner, int rc, const struct pk_err *err)
{
	struct rig *r = owner;

	if (rc != 0)
		fail_msg("%s", err->text);
	if (++r->answered == r->wanted)
		net_loop_stop(r->loop);
}

static void fill(uint8_t *to, size_t len, uint64_t index)
{
	struct pk_rng rng;

	pk_rng_seed(&rng, index);
	pk_rng_fill(&rng, to, len);
}

static void test_the_log_comes_back_from_a_real_directory(void **state)
{
	(void)state;
	enum { COUNT = 3000, BYTES = 1000 };
	struct rig r = { 0 };
	struct rlog_loaded got;
	struct rlog *l;
	uint8_t data[BYTES];

	make_dir(&r);
	rig_open(&r);
	assert_int_equal(rlog_open(&l, r.disk, &log_config, &got, &r.err), 0);
	rlog_loaded_release(&got);
	r.wanted = COUNT + 1;
	for (uint64_t i = 1; i <= COUNT; i++) {
		fill(data, BYTES, i);
		rlog_append(
			l,
			&(struct rlog_record){
				.index = i, .term = 1, .type = 1, .data = pk_bytes(data, BYTES) },
			1, on_appended, &r);
		if (i % 64 == 0)
			net_loop_turn(r.loop, false);
	}
	rlog_manifest_put(l, &(struct rlog_manifest){ .index = 2500, .term = 1 }, 100, false,
			  on_appended, &r);
	net_loop_run(r.loop);
	assert_int_equal(r.answered, COUNT + 1);
	assert_int_equal(rlog_set_term(l, 4, &r.err), 0);
	rig_close(&r);
	rlog_close(l);

	rig_open(&r);
	if (rlog_open(&l, r.disk, &log_config, &got, &r.err) != 0)
		fail_msg("%s", r.err.text);
	assert_int_equal(got.term, 4);
	assert_int_equal(rlog_last_index(l), COUNT);
	assert_true(got.start_index <= 2401 && got.has_manifest);
	for (size_t i = 0; i < got.record_count; i++) {
		fill(data, BYTES, got.start_index + i);
		assert_true(pk_bytes_eq(got.records[i].data, pk_bytes(data, BYTES)));
	}
	rlog_loaded_release(&got);
	rig_close(&r);
	rlog_close(l);
	remove_dir(&r);
}

/* What a killed process had been told is durable is there. */
static void test_a_killed_process_leaves_what_was_acknowledged(void **state)
{
	(void)state;
	struct rig r = { 0 };
	uint64_t acknowledged = 0, before;
	int pipes[2];

	make_dir(&r);
	for (int round = 0; round < 3; round++) {
		assert_int_equal(pipe(pipes), 0);
		before = acknowledged;
		pid_t child = fork();
		if (child == 0) {
			/* append one after the other, and say each index once it is durable */
			struct rlog_loaded got;
			struct rlog *l;
			rig_open(&r);
			if (rlog_open(&l, r.disk, &log_config, &got, &r.err) != 0)
				_exit(2);
			for (;;) {
				uint64_t index = rlog_last_index(l) + 1;
				uint8_t data[300];
				fill(data, sizeof(data), index);
				r.answered = 0;
				r.wanted = 1;
				rlog_append(l,
					    &(struct rlog_record){
						    .index = index,
						    .term = 1,
						    .type = 1,
						    .data = pk_bytes(data, sizeof(data)) },
					    1, on_appended, &r);
				net_loop_run(r.loop);
				if (write(pipes[1], &index, sizeof(index)) != sizeof(index))
					_exit(3);
			}
		}
		close(pipes[1]);
		uint64_t index;
		while (read(pipes[0], &index, sizeof(index)) == sizeof(index)) {
			acknowledged = index;
			if (index == before + 300)
				assert_int_equal(kill(child, SIGKILL), 0);
		}
		close(pipes[0]);
		int status;
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFSIGNALED(status));
		assert_true(acknowledged >= before + 300);

		struct rlog_loaded got;
		struct rlog *l;
		rig_open(&r);
		if (rlog_open(&l, r.disk, &log_config, &got, &r.err) != 0)
			fail_msg("%s", r.err.text);
		assert_true(got.record_count >= acknowledged);
		assert_true(got.record_count <= acknowledged + 1);
		acknowledged = got.record_count;
		for (size_t i = 0; i < got.record_count; i++) {
			uint8_t data[300];
			fill(data, sizeof(data), i + 1);
			assert_true(pk_bytes_eq(got.records[i].data, pk_bytes(data, sizeof(data))));
		}
		rlog_loaded_release(&got);
		rig_close(&r);
		rlog_close(l);
	}
	remove_dir(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_operations_do_what_they_say_in_order),
		cmocka_unit_test(test_synchronous_writes_create_and_replace),
		cmocka_unit_test(test_list_gives_files_and_sizes),
		cmocka_unit_test(test_requests_complete_in_order),
		cmocka_unit_test(test_nothing_works_after_a_failure),
		cmocka_unit_test(test_a_full_file_system_is_named_so),
		cmocka_unit_test(test_a_directory_has_one_user),
		cmocka_unit_test(test_closing_forgets_what_was_not_done),
		cmocka_unit_test(test_the_log_comes_back_from_a_real_directory),
		cmocka_unit_test(test_a_killed_process_leaves_what_was_acknowledged),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
