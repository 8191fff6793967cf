/*
 * tests/store/kv_fix.h - a new directory and a kv in it, for each test.
 */
#ifndef PK_TESTS_STORE_KV_FIX_H
#define PK_TESTS_STORE_KV_FIX_H

#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/rng.h"
#include "store/kv.h"

struct fix {
	char dir[64];
	struct kv_config cfg;
	struct kv *kv;
};

static inline void remove_dir(const char *dir)
{
	static const char *const names[] = { "data.mdb", "lock.mdb", "lock" };

	for (size_t i = 0; i < PK_COUNT(names); i++) {
		char *path = pk_asprintf("%s/%s", dir, names[i]);

		pk_ignore(unlink(path), "a test may not have made it");
		free(path);
	}
	assert_int_equal(rmdir(dir), 0);
}

static inline void fix_open(struct fix *f)
{
	struct pk_err err = PK_ERR_INIT;

	if (kv_open(&f->kv, &f->cfg, &err) != 0)
		fail_msg("%s", err.text);
}

static inline int setup(void **state)
{
	struct fix *f = pk_alloc(sizeof(*f));

	snprintf(f->dir, sizeof(f->dir), "/tmp/test_kv.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->cfg = (struct kv_config){
		.dir = f->dir, .map_bytes = 1 << 20, .map_bytes_most = 64 << 20, .sync = false
	};
	fix_open(f);
	*state = f;
	return 0;
}

static inline int teardown(void **state)
{
	struct fix *f = *state;

	kv_close(f->kv);
	remove_dir(f->dir);
	free(f);
	return 0;
}

static inline void put(struct fix *f, const char *key, const char *val)
{
	kv_put(f->kv, pk_bytes_str(key), pk_bytes_str(val));
}

static inline void del(struct fix *f, const char *key)
{
	kv_del(f->kv, pk_bytes_str(key));
}

static inline void expect(struct fix *f, const char *key, const char *val)
{
	struct pk_bytes got;
	int rc = kv_get(f->kv, pk_bytes_str(key), &got);

	assert_int_equal(rc, val != NULL);
	if (val != NULL)
		assert_true(pk_bytes_is(got, val));
}

static inline struct kv_job *begin(struct fix *f)
{
	struct kv_job *job = kv_commit_begin(f->kv);

	assert_non_null(job);
	return job;
}

static inline void end(struct fix *f, struct kv_job *job)
{
	struct pk_err err = PK_ERR_INIT;

	if (kv_commit_run(job, &err) != 0)
		fail_msg("%s", err.text);
	kv_commit_end(f->kv, job);
}

static inline void commit(struct fix *f)
{
	end(f, begin(f));
}

/* The walk as text: "a=1 b=2". */
static inline void expect_walk(struct fix *f, const char *prefix, const char *from,
			       const char *want)
{
	struct pk_buf got = PK_BUF_INIT;
	struct pk_bytes key, val;
	struct kv_cur *cur = kv_cur_open(f->kv, pk_bytes_str(prefix), pk_bytes_str(from));

	while (kv_cur_next(cur, &key, &val) == 1)
		pk_buf_printf(&got, "%s%.*s=%.*s", got.len > 0 ? " " : "", (int)key.len,
			      (const char *)key.data, (int)val.len, (const char *)val.data);
	assert_int_equal(kv_cur_next(cur, &key, &val), 0);
	kv_cur_close(cur);
	assert_string_equal(pk_buf_str(&got), want);
	pk_buf_release(&got);
}

#endif
