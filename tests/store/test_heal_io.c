#include "tests/lib/test.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "store/heal_io.h"
#include "store/members_io.h"
#include "store/rlog_format.h"

#define NOW_S      1795284930 /* 2026-11-21T18:15:30Z */
#define FOLDER     "damaged-20261121T181530Z"
#define OLDER      "damaged-20260101T000000Z"
#define STEPS_MOST 40

struct fix {
	char root[256], data[300], log[300];
	struct heal_dirs d;
	int left; /* changes on disk until a crash */
	struct pk_err err;
};

static bool go_on(void *arg)
{
	struct fix *f = arg;

	return f->left-- > 0;
}

static char *at(const struct fix *f, const char *name)
{
	return pk_asprintf("%s/%s", f->root, name);
}

static void put(const struct fix *f, const char *name, const char *text)
{
	char *path = at(f, name);
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
	free(path);
}

static void folder(const struct fix *f, const char *name)
{
	char *path = at(f, name);

	assert_int_equal(mkdir(path, 0700), 0);
	free(path);
}

static bool there(const struct fix *f, const char *name)
{
	char *path = at(f, name);
	bool is = access(path, F_OK) == 0;

	free(path);
	return is;
}

static void holds(const struct fix *f, const char *name, const char *want)
{
	char *path = at(f, name);
	struct pk_buf text = PK_BUF_INIT;

	assert_int_equal(pk_file_read(path, 1u << 20, &text, NULL), 0);
	assert_string_equal(pk_buf_str(&text), want);
	pk_buf_release(&text);
	free(path);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
	(void)st;
	(void)where;
	return kind == FTW_DP ? rmdir(path) : unlink(path);
}

/* A server's folders: its log and state, what it was told to keep, and what earlier damage left. */
static void make(struct fix *f, bool log_apart)
{
	const char *tmp = getenv("TMPDIR");

	if (access("/dev/shm", W_OK) == 0) /* hundreds of syncs */
		tmp = "/dev/shm";
	*f = (struct fix){ .left = 1 << 20 };
	snprintf(f->root, sizeof(f->root), "%s/heal-XXXXXX", tmp != NULL ? tmp : "/tmp");
	assert_non_null(mkdtemp(f->root));
	snprintf(f->data, sizeof(f->data), "%s/data", f->root);
	snprintf(f->log, sizeof(f->log), "%s/%s", f->root, log_apart ? "logs" : "data");
	f->d = (struct heal_dirs){ .data = f->data, .log = f->log, .go_on = go_on, .arg = f };
	folder(f, "data");
	if (log_apart)
		folder(f, "logs");
	folder(f, log_apart ? "logs/log" : "data/log");
	put(f, log_apart ? "logs/log/seg-1" : "data/log/seg-1", "records");
	folder(f, "data/state-7");
	put(f, "data/state-7/data.mdb", "pages");
	put(f, "data/state-current", "7\n");
	put(f, "data/myid", "3\n");
	put(f, "data/members", "who they are");
	put(f, "data/damage", "a page");
	put(f, "data/recover.log", "a person was here");
	folder(f, "data/" OLDER);
	folder(f, "data/" OLDER "/state-6");
	put(f, "data/" OLDER "/state-6/data.mdb", "old pages");
	folder(f, "data/damaged-by-me");
	if (log_apart)
		folder(f, "logs/" OLDER);
}

static void drop(struct fix *f)
{
	assert_int_equal(nftw(f->root, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

/* All of it was done, once. */
static void check_aside(const struct fix *f, bool log_apart)
{
	struct heal_record r;

	holds(f, "data/" FOLDER "/state-7/data.mdb", "pages");
	holds(f, "data/" FOLDER "/state-current", "7\n");
	holds(f, log_apart ? "logs/" FOLDER "/log/seg-1" : "data/" FOLDER "/log/seg-1", "records");
	holds(f, "data/joining", "who they are");
	holds(f, "data/myid", "3\n");
	holds(f, "data/recover.log", "a person was here");
	assert_true(there(f, "data/damaged-by-me"));
	assert_false(there(f, "data/" OLDER));
	assert_false(there(f, "logs/" OLDER));
	assert_false(there(f, "data/state-7"));
	assert_false(there(f, "data/state-current"));
	assert_false(there(f, "data/log"));
	assert_false(there(f, "logs/log"));
	assert_false(there(f, "data/damage"));
	assert_false(there(f, "data/healing"));
	heal_last(&f->d, &r);
	assert_int_equal(r.time_s, NOW_S);
	assert_int_equal(r.count, 1);
	assert_string_equal(r.folder, FOLDER);
	assert_string_equal(r.why, "seg-1: offset 5: bad");
}

static void test_damaged_data_is_renamed_away_and_the_rest_stays(void **state)
{
	(void)state;
	for (int apart = 0; apart < 2; apart++) {
		struct fix f;
		struct heal_record r;

		make(&f, apart);
		assert_int_equal(heal_aside(&f.d, NOW_S, "seg-1: offset 5: bad", &r, &f.err), 0);
		assert_string_equal(r.folder, FOLDER);
		check_aside(&f, apart);
		assert_int_equal(heal_resume(&f.d, &r, &f.err), 0);
		drop(&f);
	}
}

/* For every change on disk: a crash before it, and again before each one of the next start. */
static void test_a_crash_between_any_two_steps_leads_to_the_same_end(void **state)
{
	(void)state;
	for (int apart = 0; apart < 2; apart++) {
		bool whole = false;

		for (int first = 0; !whole; first++) {
			assert_true(first < STEPS_MOST);
			for (int second = 0; second < STEPS_MOST; second++) {
				struct fix f;
				struct heal_record r;

				make(&f, apart);
				f.left = first;
				int rc = heal_aside(&f.d, NOW_S, "seg-1: offset 5: bad", &r,
						    &f.err);
				whole = rc == 0;
				assert_true(whole || rc == PK_ECLOSED);
				bool begun = there(&f, "data/healing") || whole;
				/* Never is anything gone before it can no longer found a cluster.
				 */
				if (!there(&f, "data/joining")) {
					assert_true(there(&f, apart ? "logs/log" : "data/log"));
					assert_true(there(&f, "data/state-7"));
					assert_true(there(&f, "data/" OLDER));
				}
				f.left = second;
				rc = heal_resume(&f.d, &r, &f.err);
				if (!begun)
					assert_int_equal(rc, 0);
				f.left = 1 << 20;
				if (rc < 0) {
					assert_int_equal(rc, PK_ECLOSED);
					assert_int_equal(heal_resume(&f.d, &r, &f.err), 1);
				}
				if (!begun) {
					assert_true(there(&f, "data/state-current"));
					assert_true(there(&f, "data/damage"));
					assert_int_equal(heal_aside(&f.d, NOW_S,
								    "seg-1: offset 5: bad", &r,
								    &f.err),
							 0);
				}
				check_aside(&f, apart);
				drop(&f);
				if (!begun || whole)
					break; /* the second crash would meet nothing */
			}
		}
	}
}

static void test_twice_in_a_second_takes_another_name_and_counts(void **state)
{
	struct fix f;
	struct heal_record r;

	(void)state;
	make(&f, false);
	assert_int_equal(heal_aside(&f.d, NOW_S, "one", &r, &f.err), 0);
	folder(&f, "data/log");
	put(&f, "data/log/seg-9", "newer records");
	assert_int_equal(heal_aside(&f.d, NOW_S, "two\nlines", &r, &f.err), 0);
	assert_string_equal(r.folder, FOLDER "-2");
	holds(&f, "data/" FOLDER "-2/log/seg-9", "newer records");
	assert_false(there(&f, "data/" FOLDER));
	heal_last(&f.d, &r);
	assert_int_equal(r.count, 2);
	assert_string_equal(r.why, "two lines");
	drop(&f);
}

static void test_nothing_moves_while_another_process_has_the_log(void **state)
{
	struct fix f;
	struct heal_record r;

	(void)state;
	make(&f, false);
	char *path = at(&f, "data/log");
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	assert_int_equal(heal_aside(&f.d, NOW_S, "why", &r, &f.err), PK_ESTATE);
	assert_non_null(strstr(f.err.text, "another process"));
	assert_false(there(&f, "data/healing"));
	assert_true(there(&f, "data/state-7"));
	close(fd);
	free(path);
	drop(&f);
}

static void test_a_record_that_names_a_path_is_refused(void **state)
{
	struct fix f;
	struct heal_record r;

	(void)state;
	make(&f, false);
	put(&f, "data/healing", "5 1 damaged-/../../x\nwhy\n");
	assert_int_equal(heal_resume(&f.d, &r, &f.err), PK_EINVAL);
	put(&f, "data/healing", "");
	assert_int_equal(heal_resume(&f.d, &r, &f.err), PK_EINVAL);
	assert_true(there(&f, "data/state-7"));
	drop(&f);
}

static void test_the_mark_is_told_with_its_text(void **state)
{
	struct fix f;

	(void)state;
	make(&f, false);
	assert_int_equal(heal_marked(&f.d, &f.err), PK_ECORRUPT);
	assert_string_equal(f.err.text, "found while it ran: a page");
	put(&f, "data/damage", ""); /* the crash came before its text */
	assert_int_equal(heal_marked(&f.d, &f.err), PK_ECORRUPT);
	char *path = at(&f, "data/damage");
	assert_int_equal(unlink(path), 0);
	free(path);
	assert_int_equal(heal_marked(&f.d, &f.err), 0);
	drop(&f);
}

static void test_another_servers_log_is_told_from_a_damaged_one(void **state)
{
	struct fix f;
	uint8_t head[RLOG_HEAD_BYTES];
	const struct rlog_owner who = { .cluster_id = 1, .server_id = 2 };

	(void)state;
	make(&f, false);
	rlog_meta_encode(head, &who, &(struct rlog_meta){ .put = 1 });
	char *path = at(&f, "data/log/meta-2");
	FILE *file = fopen(path, "we");
	assert_non_null(file);
	assert_int_equal(fwrite(head, sizeof(head), 1, file), 1);
	assert_int_equal(fclose(file), 0);
	free(path);
	assert_int_equal(heal_ours(&f.d, 1, 2, &f.err), 0);
	assert_int_equal(heal_ours(&f.d, 1, 3, &f.err), PK_ESTATE);
	assert_int_equal(heal_ours(&f.d, 7, 2, &f.err), PK_ESTATE);
	put(&f, "data/log/meta-2", "rubbish");
	assert_int_equal(heal_ours(&f.d, 7, 2, &f.err), 0);
	drop(&f);
}

/* ---- the mark, and the end ---- */

static int stopped_with(const struct fix *f, const char *dir)
{
	int status;
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		close(STDERR_FILENO);
		pk_damage_mark_at(dir, HEAL_MARK);
		pk_damage_stop("here.c", 42, "a page");
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	(void)f;
	return WEXITSTATUS(status);
}

static void test_damage_in_a_running_server_leaves_a_mark_where_it_may(void **state)
{
	struct fix f;

	(void)state;
	make(&f, false);
	char *path = at(&f, "data/damage");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(stopped_with(&f, NULL), PK_EXIT_DAMAGE);
	assert_false(there(&f, "data/damage"));
	assert_int_equal(stopped_with(&f, "/nowhere/at/all"), PK_EXIT_DAMAGE);
	assert_int_equal(stopped_with(&f, f.data), PK_EXIT_HEAL);
	holds(&f, "data/damage", "here.c:42: stored data is damaged: a page");
	free(path);
	drop(&f);
}

/* ---- the members ---- */

static void test_members_are_kept_and_read_back(void **state)
{
	struct fix f;
	const struct raft_member two[] = {
		{ .id = 1, .role = RAFT_NODE_VOTER, .address = "h1:1:2:participant" },
		{ .id = 9, .role = RAFT_NODE_STANDBY, .address = "h9:1:2:observer;5" },
	};
	struct raft_member back[RAFT_NODE_MEMBERS_MAX];
	size_t count = 77;

	(void)state;
	make(&f, false);
	assert_int_equal(members_load(f.data, "nothing", back, &count, &f.err), PK_ENOENT);
	assert_int_equal(members_load(f.data, MEMBERS_FILE, back, &count, &f.err), PK_ECORRUPT);
	assert_int_equal(count, 77);
	assert_int_equal(members_save(f.data, two, 2, &f.err), 0);
	assert_int_equal(members_load(f.data, MEMBERS_FILE, back, &count, &f.err), 0);
	assert_int_equal(count, 2);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(back[i].id, two[i].id);
		assert_int_equal(back[i].role, two[i].role);
		assert_string_equal(back[i].address, two[i].address);
	}
	drop(&f);
}

static void test_any_flipped_bit_in_the_members_is_seen(void **state)
{
	struct fix f;
	const struct raft_member one = { .id = 4, .role = RAFT_NODE_VOTER, .address = "h:1:2" };
	struct raft_member back[RAFT_NODE_MEMBERS_MAX];
	struct pk_buf text = PK_BUF_INIT;
	size_t count;

	(void)state;
	make(&f, false);
	assert_int_equal(members_save(f.data, &one, 1, &f.err), 0);
	char *path = at(&f, "data/members");
	assert_int_equal(pk_file_read(path, 4096, &text, NULL), 0);
	for (size_t bit = 0; bit < text.len * 8; bit++) {
		FILE *file = fopen(path, "we");

		assert_non_null(file);
		text.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_int_equal(fwrite(text.data, 1, text.len, file), text.len);
		assert_int_equal(fclose(file), 0);
		text.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		if (members_load(f.data, MEMBERS_FILE, back, &count, &f.err) == 0) {
			/* only where the checksum's own digits have another case, or the line its
			 * end */
			assert_int_equal(count, 1);
			assert_int_equal(back[0].id, 4);
			assert_string_equal(back[0].address, "h:1:2");
		}
	}
	for (size_t len = 0; len < text.len; len++) {
		assert_int_equal(truncate(path, (off_t)len), 0);
		assert_int_equal(members_load(f.data, MEMBERS_FILE, back, &count, &f.err),
				 len == 0 ? PK_ENOENT : PK_ECORRUPT); /* empty: names nobody */
		FILE *file = fopen(path, "we");
		assert_non_null(file);
		assert_int_equal(fwrite(text.data, 1, text.len, file), text.len);
		assert_int_equal(fclose(file), 0);
	}
	pk_buf_release(&text);
	free(path);
	drop(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_damaged_data_is_renamed_away_and_the_rest_stays),
		cmocka_unit_test(test_a_crash_between_any_two_steps_leads_to_the_same_end),
		cmocka_unit_test(test_twice_in_a_second_takes_another_name_and_counts),
		cmocka_unit_test(test_nothing_moves_while_another_process_has_the_log),
		cmocka_unit_test(test_a_record_that_names_a_path_is_refused),
		cmocka_unit_test(test_the_mark_is_told_with_its_text),
		cmocka_unit_test(test_another_servers_log_is_told_from_a_damaged_one),
		cmocka_unit_test(test_damage_in_a_running_server_leaves_a_mark_where_it_may),
		cmocka_unit_test(test_members_are_kept_and_read_back),
		cmocka_unit_test(test_any_flipped_bit_in_the_members_is_seen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
