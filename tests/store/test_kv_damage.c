/*
 * Bits that flip in the state's file: what is read is what was written, or the process ends with
 * the status for damage. Never another answer, never another end.
 */
#include "tests/lib/test.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/rng.h"
#include "tests/store/kv_fix.h"

enum {
	KEYS = 1000,
	LARGE_EVERY = 100,
	PAGE_BYTES = 4096,
	HEAD_BYTES = 16,
	FLAGS_AT = 10,
	LOWER_AT = 12,
	BRANCH = 1,
	LEAF = 2,
	SPAN_MAX = 10, /* bytes of one damage */
	ANSWERED = 0,
	WRONG = 1,
	ASTRAY = 2, /* a signal from elsewhere than LMDB's pages */
};

/* Odd ones are not there. */
static struct pk_bytes key_of(char key[16], int i)
{
	snprintf(key, 16, "k%05d", i);
	return pk_bytes_str(key);
}

static size_t value_of(uint8_t *val, int i)
{
	size_t len = (size_t)(i % 60) + (i % LARGE_EVERY == 0 ? 10000 : 0);

	for (size_t k = 0; k < len; k++)
		val[k] = (uint8_t)(i + (int)k);
	return len;
}

static void fill(struct fix *f)
{
	uint8_t val[20000];
	char key[16];

	for (int i = 0; i < 2 * KEYS; i += 2)
		kv_put(f->kv, key_of(key, i), pk_bytes(val, value_of(val, i)));
	commit(f);
	kv_close(f->kv);
	f->kv = NULL;
}

static bool right(struct pk_bytes val, int i)
{
	uint8_t want[20000];

	return pk_bytes_eq(val, pk_bytes(want, value_of(want, i)));
}

static int look_up_all(struct kv *kv)
{
	struct pk_bytes val;
	char key[16];

	for (int i = 0; i < 2 * KEYS; i++) {
		int found = kv_get(kv, key_of(key, i), &val);

		if (found != (i % 2 == 0) || (found == 1 && !right(val, i)))
			return WRONG;
	}
	return ANSWERED;
}

static int walk_all(struct kv *kv)
{
	int status = ANSWERED;
	char key[16];

	for (int from = 0; status == ANSWERED && from < 2 * KEYS; from += KEYS / 2) {
		struct kv_cur *cur = kv_cur_open(kv, pk_bytes_str("k"), key_of(key, from));
		struct pk_bytes k, val;
		int i = from;

		while (status == ANSWERED && kv_cur_next(cur, &k, &val) == 1) {
			if (!pk_bytes_eq(k, key_of(key, i)) || !right(val, i))
				status = WRONG;
			i += 2;
		}
		if (i < 2 * KEYS)
			status = WRONG;
		kv_cur_close(cur);
	}
	return status;
}

static int export_all(struct kv *kv)
{
	struct kv_export *ex = kv_export_open(kv);
	struct pk_buf out = PK_BUF_INIT;

	while (kv_export_next(ex, 1 << 16, &out) == 1)
		;
	kv_export_close(ex);
	pk_buf_release(&out);
	return ANSWERED;
}

static void on_signal(int signum)
{
	pk_ignore(signum, "either");
	_exit(kv_in_pages() ? PK_EXIT_DAMAGE : ASTRAY);
}

/* ANSWERED, PK_EXIT_DAMAGE, or what must not be. */
static int read_in_a_child(struct fix *f, int (*read)(struct kv *))
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct pk_err err = PK_ERR_INIT;

		signal(SIGABRT, SIG_DFL);
		signal(SIGSEGV, on_signal);
		signal(SIGBUS, on_signal);
		pk_ignore(freopen("/dev/null", "w", stderr), "only to keep the output short");
		if (kv_open(&f->kv, &f->cfg, &err) != 0)
			_exit(err.code == PK_ECORRUPT ? PK_EXIT_DAMAGE : WRONG);
		_exit(read(f->kv));
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/* ---- damage ----------------------------------------------------------------------------------*/

struct file {
	int fd;
	off_t bytes;
};

static struct file file_open(const struct fix *f)
{
	char *path = pk_asprintf("%s/data.mdb", f->dir);
	struct file file = { .fd = open(path, O_RDWR | O_CLOEXEC) };

	assert_true(file.fd >= 0);
	file.bytes = lseek(file.fd, 0, SEEK_END);
	free(path);
	return file;
}

static uint16_t u16_at(const struct file *file, off_t at)
{
	uint16_t v;

	assert_int_equal(pread(file->fd, &v, sizeof(v), at), sizeof(v));
	return v;
}

/* Turn these bits over; a second time puts them back. */
static void turn(const struct file *file, off_t at, const uint8_t *mask, size_t len)
{
	uint8_t bytes[SPAN_MAX];

	assert_int_equal(pread(file->fd, bytes, len, at), len);
	for (size_t i = 0; i < len; i++)
		bytes[i] ^= mask[i];
	assert_int_equal(pwrite(file->fd, bytes, len, at), len);
}

static off_t page_of(off_t at)
{
	return at - at % PAGE_BYTES;
}

/* Where the head and index of the page end, if it is of this kind; else where it begins. */
static off_t index_end(const struct file *file, off_t page, int kind)
{
	return u16_at(file, page + FLAGS_AT) == kind ? page + u16_at(file, page + LOWER_AT) : page;
}

/* One bit, or some bytes in a row, so damaged that all is read or the process says what it is. */
static int damage_and_read(struct fix *f, const struct file *file, struct pk_rng *rng, off_t at,
			   bool one_bit)
{
	uint8_t mask[SPAN_MAX] = { 0 };
	size_t len = 1;
	int stopped = 0;

	mask[0] = (uint8_t)(1u << pk_rng_below(rng, 8));
	if (!one_bit) {
		len = 1 + pk_rng_below(rng, SPAN_MAX);
		pk_rng_fill(rng, mask, len);
	}
	if (at + (off_t)len > file->bytes)
		return 0;
	turn(file, at, mask, len);
	int looked_up = read_in_a_child(f, look_up_all), walked = read_in_a_child(f, walk_all);
	if ((looked_up != ANSWERED && looked_up != PK_EXIT_DAMAGE) ||
	    (walked != ANSWERED && walked != PK_EXIT_DAMAGE))
		fail_msg("%zu bytes at %lld of page %lld: lookups ended with %d, walks with %d",
			 len, (long long)(at % PAGE_BYTES), (long long)(at / PAGE_BYTES), looked_up,
			 walked);
	stopped = looked_up == PK_EXIT_DAMAGE || walked == PK_EXIT_DAMAGE;
	turn(file, at, mask, len);
	return stopped;
}

static void damage_many(struct fix *f, bool one_bit)
{
	enum { ROUNDS = 250 };
	struct pk_rng rng;
	int stopped = 0;

	pk_rng_seed(&rng, one_bit ? 1 : 2);
	fill(f);
	struct file file = file_open(f);
	for (int i = 0; i < ROUNDS; i++) {
		off_t at = (off_t)pk_rng_below(&rng, (uint64_t)file.bytes);

		/* what hides whole leaves is the export's and the digest's to notice */
		if (at >= index_end(&file, page_of(at), BRANCH))
			stopped += damage_and_read(f, &file, &rng, at, one_bit);
	}
	close(file.fd);
	assert_in_range(stopped, ROUNDS / 3, ROUNDS); /* the rest met free pages */
	fix_open(f);                                  /* for the teardown; whole again */
	assert_int_equal(look_up_all(f->kv), ANSWERED);
}

static void test_one_bit_is_noticed_or_does_not_matter(void **state)
{
	damage_many(*state, true);
}

static void test_bytes_in_a_row_are_noticed_or_do_not_matter(void **state)
{
	damage_many(*state, false);
}

static void test_a_leaf_that_hides_records_is_noticed(void **state)
{
	enum { PER_LEAF = 12 };
	struct fix *f = *state;
	struct pk_rng rng;
	int stopped = 0;

	pk_rng_seed(&rng, 3);
	fill(f);
	struct file file = file_open(f);
	for (off_t page = 2 * PAGE_BYTES; page < file.bytes; page += PAGE_BYTES) {
		off_t end = index_end(&file, page, LEAF);

		for (int i = 0; end > page && i < PER_LEAF; i++) {
			uint64_t most = (uint64_t)(i % 2 == 0 ? HEAD_BYTES : end - page);
			off_t at = page + (off_t)pk_rng_below(&rng, most);

			stopped += damage_and_read(f, &file, &rng, at, true);
		}
	}
	close(file.fd);
	assert_true(stopped > 100);
	fix_open(f);
}

static void test_a_branch_that_hides_leaves_is_noticed_by_an_export(void **state)
{
	struct fix *f = *state;
	int seen = 0;

	fill(f);
	struct file file = file_open(f);
	for (off_t page = 2 * PAGE_BYTES; page < file.bytes; page += PAGE_BYTES) {
		off_t end = index_end(&file, page, BRANCH);
		uint16_t was = (uint16_t)(end - page), less = (uint16_t)(was - 2),
			 mask = was ^ less;

		if (end <= page + HEAD_BYTES + 4)
			continue;
		turn(&file, page + LOWER_AT, (const uint8_t *)&mask, sizeof(mask));
		assert_int_equal(read_in_a_child(f, export_all), PK_EXIT_DAMAGE);
		turn(&file, page + LOWER_AT, (const uint8_t *)&mask, sizeof(mask));
		assert_int_equal(read_in_a_child(f, export_all), ANSWERED);
		seen++;
	}
	close(file.fd);
	assert_true(seen > 0);
	fix_open(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(test_one_bit_is_noticed_or_does_not_matter),
		T(test_bytes_in_a_row_are_noticed_or_do_not_matter),
		T(test_a_leaf_that_hides_records_is_noticed),
		T(test_a_branch_that_hides_leaves_is_noticed_by_an_export),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
