/*
 * tests/bench/bench_kv.c - what kv costs per call. One run prints a table; `make bench-kv`.
 *
 * Keys look like a znode's: 'N', a parent's id in eight bytes, a name; about 30 bytes, with values
 * of 120. Every figure is of one thread, in random key order unless it says otherwise.
 */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/rng.h"
#include "store/kv.h"
#include "store/kv_overlay.h"

enum { VAL_BYTES = 120, KEY_BYTES = 30 };

struct bench {
	uint8_t *keys; /* count times KEY_BYTES */
	uint32_t *order;
	uint32_t count;
	uint8_t val[VAL_BYTES];
	double begin;
	uint64_t sum; /* of what was read, so that reading is not left out */
};

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double cpu_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void begin(struct bench *b)
{
	b->begin = now_s();
}

static double end(struct bench *b, const char *what, uint64_t ops)
{
	double s = now_s() - b->begin;

	printf("%-58s %9.0f ns/op %9.3f M/s\n", what, s / (double)ops * 1e9,
	       (double)ops / s * 1e-6);
	fflush(stdout);
	return s;
}

static struct pk_bytes key_at(const struct bench *b, uint32_t i)
{
	return pk_bytes(b->keys + (size_t)i * KEY_BYTES, KEY_BYTES);
}

static void make_keys(struct bench *b, uint32_t count)
{
	struct pk_rng rng;

	pk_rng_seed(&rng, 1);
	b->count = count;
	b->keys = pk_realloc(b->keys, (size_t)count * KEY_BYTES);
	b->order = pk_realloc(b->order, count * sizeof(*b->order));
	for (uint32_t i = 0; i < count; i++) {
		uint8_t *k = b->keys + (size_t)i * KEY_BYTES;
		char name[KEY_BYTES - 9 + 1];

		k[0] = 'N';
		pk_put_be64(k + 1, 1 + i % 100); /* a hundred parents */
		snprintf(name, sizeof(name), "instance-%010u--", i);
		memcpy(k + 9, name, KEY_BYTES - 9);
		b->order[i] = i;
	}
	for (uint32_t i = count - 1; i > 0; i--) {
		uint32_t j = (uint32_t)pk_rng_below(&rng, i + 1), t = b->order[i];

		b->order[i] = b->order[j];
		b->order[j] = t;
	}
}

static void bench_overlay(struct bench *b)
{
	enum { SEED = 99, ROUNDS = 20 };
	struct kv_overlay *o = kv_overlay_new();
	struct pk_bytes val = pk_bytes(b->val, VAL_BYTES);
	double worst = 0;

	begin(b);
	for (uint32_t i = 0; i < b->count; i++) {
		struct pk_bytes key = key_at(b, b->order[i]);

		kv_overlay_put(o, kv_overlay_hash(SEED, key), key, val);
	}
	end(b, "overlay: put of new keys", b->count);
	begin(b);
	for (uint32_t r = 0; r < ROUNDS; r++)
		for (uint32_t i = 0; i < b->count; i++) {
			struct pk_bytes key = key_at(b, b->order[i]);

			b->sum += kv_overlay_find(o, kv_overlay_hash(SEED, key), key)->val[0];
		}
	end(b, "overlay: find by hash", (uint64_t)b->count * ROUNDS);
	begin(b);
	for (uint32_t r = 0; r < ROUNDS / 4; r++)
		for (uint32_t i = 0; i < b->count; i++)
			b->sum += kv_overlay_find_ordered(o, key_at(b, b->order[i]))->val[0];
	end(b, "overlay: find by B+tree", (uint64_t)b->count * (ROUNDS / 4));
	begin(b);
	uint64_t steps = 0;
	for (uint32_t r = 0; r < ROUNDS; r++) {
		struct kv_overlay_pos pos = kv_overlay_seek(o, PK_BYTES_NONE);

		for (; kv_overlay_at(pos) != NULL; kv_overlay_step(&pos), steps++)
			b->sum += kv_overlay_at(pos)->val_len;
	}
	end(b, "overlay: walk", steps);
	printf("%-58s %9.0f bytes a key\n", "overlay: memory",
	       (double)kv_overlay_memory(o) / (double)b->count);
	begin(b);
	kv_overlay_free(o);
	printf("%-58s %9.0f us\n", "overlay: drop", (now_s() - b->begin) * 1e6);

	/* The worst single put, a growth of the hash table, while one fills. */
	o = kv_overlay_new();
	for (uint32_t i = 0; i < b->count; i++) {
		struct pk_bytes key = key_at(b, b->order[i]);
		double t = cpu_s();

		kv_overlay_put(o, kv_overlay_hash(SEED, key), key, val);
		t = cpu_s() - t;
		worst = t > worst ? t : worst;
	}
	printf("%-58s %9.0f us\n", "overlay: longest single put, CPU time", worst * 1e6);
	kv_overlay_free(o);
}

static void commit(struct bench *b, struct kv *kv, const char *what, uint64_t ops)
{
	struct pk_err err = PK_ERR_INIT;

	begin(b);
	struct kv_job *job = kv_commit_begin(kv);
	double begun = now_s() - b->begin;
	if (kv_commit_run(job, &err) != 0) {
		fprintf(stderr, "%s\n", err.text);
		exit(1);
	}
	double ran = now_s();
	kv_commit_end(kv, job);
	double ended = now_s() - ran;
	end(b, what, ops);
	printf("%-58s %9.0f us begin, %.0f us end\n", "   of it on the loop", begun * 1e6,
	       ended * 1e6);
}

static void bench_kv(struct bench *b, struct kv *kv)
{
	enum { ROUNDS = 10 };
	struct pk_bytes val = pk_bytes(b->val, VAL_BYTES), got;
	struct pk_buf out = PK_BUF_INIT;

	begin(b);
	for (uint32_t i = 0; i < b->count; i++)
		kv_put(kv, key_at(b, b->order[i]), val);
	end(b, "kv_put of new keys", b->count);
	begin(b);
	for (uint32_t r = 0; r < ROUNDS; r++)
		for (uint32_t i = 0; i < b->count; i++)
			kv_put(kv, key_at(b, b->order[i]), val);
	end(b, "kv_put of hot keys", (uint64_t)b->count * ROUNDS);
	begin(b);
	for (uint32_t r = 0; r < ROUNDS; r++)
		for (uint32_t i = 0; i < b->count; i++)
			b->sum += (uint64_t)kv_get(kv, key_at(b, b->order[i]), &got) + got.data[0];
	end(b, "kv_get of hot keys", (uint64_t)b->count * ROUNDS);
	commit(b, kv, "commit of all keys into an empty tree, synced", b->count);
	begin(b);
	for (uint32_t i = 0; i < b->count; i++)
		b->sum += (uint64_t)kv_get(kv, key_at(b, b->order[i]), &got) + got.data[0];
	end(b, "kv_get from LMDB, in memory", b->count);
	for (uint32_t i = 0; i < b->count; i += 2)
		kv_put(kv, key_at(b, b->order[i]), val);
	uint32_t walked = 0;
	struct pk_bytes key;
	begin(b);
	struct kv_cur *cur = kv_cur_open(kv, PK_BYTES_NONE, PK_BYTES_NONE);
	while (kv_cur_next(cur, &key, &got) == 1)
		walked++;
	kv_cur_close(cur);
	end(b, "kv_cur_next, half the keys in two layers", walked);
	begin(b);
	for (uint32_t i = 0; i < b->count; i++) {
		cur = kv_cur_open(kv, key_at(b, b->order[i]), PK_BYTES_NONE);
		b->sum += (uint64_t)kv_cur_next(cur, &key, &got);
		kv_cur_close(cur);
	}
	end(b, "cursor opened, one step, closed", b->count);
	commit(b, kv, "commit of half the keys, random, over all, synced", b->count / 2);
	for (uint32_t i = 0; i < 1000 && i < b->count; i++)
		kv_put(kv, key_at(b, b->order[i]), val);
	commit(b, kv, "commit of 1000 random keys, synced", 1000);
	begin(b);
	struct kv_export *ex = kv_export_open(kv);
	uint64_t bytes = 0;
	int more;
	do {
		pk_buf_clear(&out);
		more = kv_export_next(ex, 64 * 1024, &out);
		bytes += out.len;
	} while (more == 1);
	double s = end(b, "export", b->count);
	printf("%-58s %9.0f MB/s\n", "   of it", (double)bytes / s * 1e-6);
	kv_export_close(ex);
	pk_buf_release(&out);
}

int main(int argc, char **argv)
{
	struct pk_err err = PK_ERR_INIT;
	struct bench b = { 0 };
	static const uint32_t counts[] = { 100000, 400000 };

	for (size_t n = 0; n < PK_COUNT(counts); n++) {
		char *dir = pk_asprintf("%s/bench_kv.XXXXXX", argc > 1 ? argv[1] : "/tmp");
		struct kv *kv;

		if (mkdtemp(dir) == NULL) {
			perror(dir);
			return 1;
		}
		struct kv_config cfg = { .dir = dir,
					 .map_bytes = 1 << 20,
					 .map_bytes_most = (uint64_t)16 << 30,
					 .sync = true };
		make_keys(&b, counts[n]);
		printf("---- %" PRIu32 " keys of %d bytes, values of %d, in %s\n", counts[n],
		       KEY_BYTES, VAL_BYTES, dir);
		bench_overlay(&b);
		if (kv_open(&kv, &cfg, &err) != 0) {
			fprintf(stderr, "%s\n", err.text);
			return 1;
		}
		bench_kv(&b, kv);
		kv_close(kv);
		static const char *const names[] = { "data.mdb", "lock.mdb", "lock" };
		for (size_t i = 0; i < PK_COUNT(names); i++) {
			char *path = pk_asprintf("%s/%s", dir, names[i]);

			pk_ignore(unlink(path), "left over at worst");
			free(path);
		}
		pk_ignore(rmdir(dir), "left over at worst");
		free(dir);
	}
	free(b.keys);
	free(b.order);
	printf("(%" PRIu64 ")\n", b.sum);
	return 0;
}
