/*
 * The whole of kv against a sorted array that is searched from end to end: one seeded sequence of
 * puts, deletes, walks, freezes, commits, exports and crashes. A failure prints its seed; give it
 * back in KV_SEED.
 */
#include "tests/lib/test.h"

#include "tests/store/kv_fix.h"

enum { KEYS = 600, OPS = 200000, VAL_MAX = 3000 };

struct model {
	/* by key number; the key is its number, spelled so that one is another's prefix */
	uint32_t val[KEYS]; /* 0: none; else the seed of its value */
};

struct run {
	struct fix *f;
	struct pk_rng rng;
	uint32_t next_val;
	struct model now, frozen, durable;
	struct kv_job *job;
	bool job_ran;
	struct kv_export *export;
	struct model exported; /* what it must give */
	uint32_t export_at;
};

/* Key n: its digits in base 3, least first, each digit a byte run; sorted by key_order below. */
static size_t key_of(uint32_t n, uint8_t *to)
{
	size_t len = 0;

	to[len++] = 'k';
	for (; n > 0; n /= 5) {
		to[len++] = (uint8_t) "\0aAz\xff"[n % 5];
		if (n % 5 == 3) /* long ones too, past the sixteen bytes the tree compares first */
			for (int i = 0; i < 9; i++)
				to[len++] = 'z';
	}
	return len;
}

static uint32_t key_order[KEYS]; /* key numbers by rising key */

static int by_key(const void *a, const void *b)
{
	uint8_t ka[128], kb[128];
	size_t la = key_of(*(const uint32_t *)a, ka), lb = key_of(*(const uint32_t *)b, kb);

	return pk_bytes_cmp(pk_bytes(ka, la), pk_bytes(kb, lb));
}

static struct pk_bytes val_of(uint32_t seed, uint8_t *to)
{
	struct pk_rng rng;

	pk_rng_seed(&rng, seed);
	size_t len = pk_rng_chance(&rng, 20000) ? pk_rng_below(&rng, VAL_MAX)
						: pk_rng_below(&rng, 200);
	pk_rng_fill(&rng, to, len);
	return pk_bytes(to, len);
}

static void check_record(const struct model *m, uint32_t n, struct pk_bytes key,
			 struct pk_bytes val)
{
	uint8_t kb[128], vb[VAL_MAX];

	assert_true(m->val[n] != 0);
	assert_true(pk_bytes_eq(key, pk_bytes(kb, key_of(n, kb))));
	assert_true(pk_bytes_eq(val, val_of(m->val[n], vb)));
}

static void check_walk(struct run *r)
{
	uint8_t prefix_bytes[128], from_bytes[128], kb[128];
	struct pk_bytes prefix = pk_bytes(prefix_bytes, 0), from = pk_bytes(from_bytes, 0);
	struct pk_bytes key, val;

	if (pk_rng_chance(&r->rng, 700000)) {
		size_t len = key_of((uint32_t)pk_rng_below(&r->rng, KEYS), prefix_bytes);
		prefix.len = pk_rng_below(&r->rng, len + 1);
	}
	if (pk_rng_chance(&r->rng, 500000)) {
		from.len = key_of((uint32_t)pk_rng_below(&r->rng, KEYS), from_bytes);
		if (pk_rng_chance(&r->rng, 300000))
			from_bytes[from.len++] = 0;
	}
	uint64_t most = pk_rng_chance(&r->rng, 500000) ? 10 : KEYS;
	struct kv_cur *cur = kv_cur_open(r->f->kv, prefix, from);
	uint64_t count = 0;
	for (uint32_t i = 0; i < KEYS && count < most; i++) {
		uint32_t n = key_order[i];
		struct pk_bytes want = pk_bytes(kb, key_of(n, kb));

		if (r->now.val[n] == 0 || !pk_bytes_starts(want, prefix) ||
		    pk_bytes_cmp(want, from) < 0)
			continue;
		assert_int_equal(kv_cur_next(cur, &key, &val), 1);
		check_record(&r->now, n, key, val);
		count++;
	}
	if (count < most)
		assert_int_equal(kv_cur_next(cur, &key, &val), 0);
	kv_cur_close(cur);
}

static void end_job(struct run *r)
{
	struct pk_err err = PK_ERR_INIT;

	if (r->job == NULL)
		return;
	if (!r->job_ran) {
		if (kv_commit_run(r->job, &err) != 0)
			fail_msg("%s", err.text);
		r->durable = r->frozen;
		r->job_ran = true;
		return; /* and the end comes another time */
	}
	kv_commit_end(r->f->kv, r->job);
	r->job = NULL;
}

static void export_some(struct run *r)
{
	struct pk_buf out = PK_BUF_INIT;

	if (r->export == NULL) {
		r->export = kv_export_open(r->f->kv);
		assert_non_null(r->export);
		r->exported = r->durable;
		r->export_at = 0;
	}
	int more = kv_export_next(r->export, pk_rng_below(&r->rng, 4000), &out);
	struct pk_rd rd = { .in = pk_buf_bytes(&out) };
	while (rd.in.len > 0) {
		while (r->exported.val[key_order[r->export_at]] == 0)
			r->export_at++;
		uint16_t key_len = pk_rd_le16(&rd);
		uint32_t val_len = pk_rd_le32(&rd);
		struct pk_bytes key = pk_rd_bytes(&rd, key_len), val = pk_rd_bytes(&rd, val_len);
		assert_false(rd.bad);
		check_record(&r->exported, key_order[r->export_at++], key, val);
	}
	if (more == 0) {
		while (r->export_at < KEYS)
			assert_int_equal(r->exported.val[key_order[r->export_at++]], 0);
		kv_export_close(r->export);
		r->export = NULL;
	}
	pk_buf_release(&out);
}

static void crash(struct run *r)
{
	kv_export_close(r->export);
	r->export = NULL;
	kv_close(r->f->kv);
	fix_open(r->f);
	r->job = NULL;
	r->now = r->durable;
}

static void step(struct run *r)
{
	uint8_t kb[128], vb[VAL_MAX];
	uint32_t n = (uint32_t)pk_rng_below(&r->rng, KEYS);
	struct pk_bytes key = pk_bytes(kb, key_of(n, kb)), val;
	uint64_t what = pk_rng_below(&r->rng, 1000);

	if (what < 450) {
		r->now.val[n] = ++r->next_val;
		kv_put(r->f->kv, key, val_of(r->next_val, vb));
	} else if (what < 650) {
		r->now.val[n] = 0;
		kv_del(r->f->kv, key);
	} else if (what < 960) {
		assert_int_equal(kv_get(r->f->kv, key, &val), r->now.val[n] != 0);
		if (r->now.val[n] != 0)
			check_record(&r->now, n, key, val);
	} else if (what < 974) {
		check_walk(r);
	} else if (what < 980) {
		export_some(r);
	} else if (what < 985) {
		struct kv_job *job = kv_commit_begin(r->f->kv);
		if (job != NULL) {
			r->job = job;
			r->job_ran = false;
			r->frozen = r->now;
		}
	} else if (what < 999) {
		end_job(r);
	} else if (pk_rng_chance(&r->rng, 100000)) {
		crash(r);
	} else {
		kv_check(r->f->kv);
	}
}

static void test_any_sequence_of_calls_equals_a_sorted_array(void **state)
{
	const char *text = getenv("KV_SEED");
	uint64_t seed = text != NULL ? strtoull(text, NULL, 0) : 20240611;
	struct run *r = pk_alloc(sizeof(*r));

	r->f = *state;
	pk_rng_seed(&r->rng, seed);
	for (uint32_t i = 0; i < KEYS; i++)
		key_order[i] = i;
	qsort(key_order, KEYS, sizeof(key_order[0]), by_key);
	print_message("KV_SEED=%llu\n", (unsigned long long)seed);
	for (int i = 0; i < OPS; i++)
		step(r);
	crash(r);
	check_walk(r);
	kv_check(r->f->kv);
	free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_any_sequence_of_calls_equals_a_sorted_array,
						setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
