/*
 * tests/bench/bench_rlog.c - appends per second of the Raft log on a real directory.
 *
 *     bench_rlog DIRECTORY [SECONDS [BYTES]]
 *
 * Prints one line for 1 and one for 64 appends outstanding: how many were synced per second, and
 * how long one took. The directory is left behind.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "store/disk_io.h"
#include "store/rlog.h"

enum { OUTSTANDING_MAX = 64, SAMPLES_MAX = 1 << 20 };

struct bench;

struct slot {
	struct bench *b;
	int64_t start_us;
};

struct bench {
	struct net_loop *loop;
	struct rlog *log;
	struct slot slots[OUTSTANDING_MAX];
	uint8_t *data;
	size_t bytes;
	int64_t end_us;
	uint64_t done, next_index;
	int outstanding;
	int32_t *samples;
	size_t sample_count;
	uint64_t manifest_at;
	bool manifest_busy;
};

static void die(const struct pk_err *err)
{
	fprintf(stderr, "bench_rlog: %s\n", err != NULL ? err->text : "?");
	exit(1);
}

static void on_manifest(void *owner, int rc, const struct pk_err *err)
{
	struct bench *b = owner;

	if (rc != 0)
		die(err);
	b->manifest_busy = false;
}

static void on_appended(void *owner, int rc, const struct pk_err *err);

static void append(struct slot *s)
{
	struct bench *b = s->b;

	s->start_us = net_now_fresh_us();
	b->outstanding++;
	rlog_append(b->log,
		    &(struct rlog_record){ .index = b->next_index++,
					   .term = 1,
					   .type = 1,
					   .data = pk_bytes(b->data, b->bytes) },
		    1, on_appended, s);
}

static void on_appended(void *owner, int rc, const struct pk_err *err)
{
	struct slot *s = owner;
	struct bench *b = s->b;
	int64_t now_us = net_now_fresh_us();

	if (rc != 0)
		die(err);
	b->outstanding--;
	b->done++;
	if (b->sample_count < SAMPLES_MAX)
		b->samples[b->sample_count++] = (int32_t)(now_us - s->start_us);
	/* as a state would: let the log go every 64 MiB */
	if (rlog_bytes(b->log) > 64u << 20 && !b->manifest_busy) {
		b->manifest_busy = true;
		rlog_manifest_put(b->log,
				  &(struct rlog_manifest){ .index = b->next_index - 1, .term = 1 },
				  1024, false, on_manifest, b);
	}
	if (now_us < b->end_us)
		append(s);
	else if (b->outstanding == 0)
		net_loop_stop(b->loop);
}

static int by_size(const void *a, const void *b)
{
	int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;

	return x < y ? -1 : x > y;
}

static void measure(struct bench *b, int outstanding, double seconds)
{
	int64_t start_us = net_now_fresh_us();

	b->done = 0;
	b->sample_count = 0;
	b->end_us = start_us + (int64_t)(seconds * 1e6);
	for (int i = 0; i < outstanding; i++) {
		b->slots[i].b = b;
		append(&b->slots[i]);
	}
	net_loop_run(b->loop);
	double took = (double)(net_now_fresh_us() - start_us) / 1e6;
	size_t n = b->sample_count;
	qsort(b->samples, n, sizeof(b->samples[0]), by_size);
	printf("%2d outstanding, %zu B: %.0f appends/s, p50 %d us, p99 %d us, p99.9 %d us, "
	       "max %d us\n",
	       outstanding, b->bytes, (double)b->done / took, b->samples[n / 2],
	       b->samples[n * 99 / 100], b->samples[n * 999 / 1000], b->samples[n - 1]);
}

int main(int argc, char **argv)
{
	struct pk_err err = PK_ERR_INIT;
	struct rlog_loaded loaded;
	struct disk_io *d;
	struct rlog_config cfg = { .cluster_id = 1, .server_id = 1 };
	struct bench b = { .bytes = argc > 3 ? (size_t)atoi(argv[3]) : 256 };
	double seconds = argc > 2 ? atof(argv[2]) : 3;

	if (argc < 2) {
		fprintf(stderr, "usage: bench_rlog DIRECTORY [SECONDS [BYTES]]\n");
		return 2;
	}
	b.loop = net_loop_new(&err);
	if (b.loop == NULL || disk_io_open(&d, argv[1], b.loop, &err) != 0 ||
	    rlog_open(&b.log, disk_io_disk(d), &cfg, &loaded, &err) != 0)
		die(&err);
	b.next_index = rlog_last_index(b.log) + 1;
	rlog_loaded_release(&loaded);
	b.data = pk_alloc(b.bytes);
	b.samples = pk_alloc(SAMPLES_MAX * sizeof(b.samples[0]));
	measure(&b, 1, seconds);
	measure(&b, OUTSTANDING_MAX, seconds);
	struct disk_io_stats stats;
	disk_io_stats(d, &stats);
	printf("disk: %" PRIu64 " synced writes, %" PRIu64 " MiB written, longest request %" PRId64
	       " us, block %u\n",
	       stats.synced_writes, stats.written_bytes >> 20, stats.request_us_max,
	       disk_io_disk(d)->block_bytes);
	disk_io_close(d);
	rlog_close(b.log);
	net_loop_free(b.loop);
	free(b.data);
	free(b.samples);
	return 0;
}
