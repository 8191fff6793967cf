#include "cli/bench_hist.h"

#include <string.h>

#define SUB (1U << BENCH_HIST_SUB_BITS)

/* Values below 2 * SUB have a bucket each; above, the top SUB_BITS + 1 bits say which. */
static size_t bucket_of(uint64_t ns)
{
	unsigned int shift;

	if (ns >= UINT64_C(1) << BENCH_HIST_VALUE_BITS)
		ns = (UINT64_C(1) << BENCH_HIST_VALUE_BITS) - 1;
	if (ns < SUB)
		return (size_t)ns;
	shift = 63U - (unsigned int)__builtin_clzll(ns) - BENCH_HIST_SUB_BITS;
	return ((size_t)shift << BENCH_HIST_SUB_BITS) + (size_t)(ns >> shift);
}

static uint64_t bucket_top(size_t bucket)
{
	unsigned int shift;

	if (bucket < SUB)
		return bucket;
	shift = (unsigned int)(bucket >> BENCH_HIST_SUB_BITS) - 1;
	return ((uint64_t)(bucket - ((size_t)shift << BENCH_HIST_SUB_BITS)) + 1) << shift;
}

void bench_hist_clear(struct bench_hist *h)
{
	memset(h, 0, sizeof(*h));
}

void bench_hist_add(struct bench_hist *h, uint64_t ns)
{
	size_t bucket = bucket_of(ns);

	PK_ASSERT(bucket < BENCH_HIST_BUCKETS);
	h->buckets[bucket]++;
	h->count++;
	if (ns > h->max_ns)
		h->max_ns = ns;
}

void bench_hist_merge(struct bench_hist *to, const struct bench_hist *from)
{
	for (size_t i = 0; i < BENCH_HIST_BUCKETS; i++)
		to->buckets[i] += from->buckets[i];
	to->count += from->count;
	if (from->max_ns > to->max_ns)
		to->max_ns = from->max_ns;
}

uint64_t bench_hist_at(const struct bench_hist *h, double share)
{
	double want = share * (double)h->count;
	uint64_t seen = 0;

	if (h->count == 0)
		return 0;
	for (size_t i = 0; i < BENCH_HIST_BUCKETS; i++) {
		seen += h->buckets[i];
		if (h->buckets[i] != 0 && (double)seen >= want) {
			uint64_t top = bucket_top(i);

			return top < h->max_ns ? top : h->max_ns;
		}
	}
	return h->max_ns;
}
