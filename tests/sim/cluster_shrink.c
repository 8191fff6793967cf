/*
 * Delta debugging over a failing schedule: leave out ever smaller parts of its faults, then
 * clients and servers, as long as the run still fails in the same way.
 * Source: Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input", 2002.
 */
#include <ctype.h>
#include <stdio.h>
#include <time.h>

#include "tests/sim/cluster_run.h"

#define SHRINK_RUNS_MAX 600
#define SHRINK_S_MAX    120

struct shrink {
	struct plan best;
	char first[WHY_BYTES], why[WHY_BYTES];
	size_t runs;
	time_t until;
};

/* The words of a failure, without its numbers: 12 letters of them tell one from another. */
static size_t kind_of(const char *why, char *to)
{
	size_t n = 0;

	if (strncmp(why, "at ", 3) == 0 && strchr(why, ':') != NULL)
		why = strchr(why, ':') + 1;
	for (; *why != 0 && n < 12; why++)
		if (isalpha((unsigned char)*why))
			to[n++] = *why;
	to[n] = 0;
	return n;
}

static bool same_kind(const char *a, const char *b)
{
	char x[13], y[13];

	return kind_of(a, x) == kind_of(b, y) && strcmp(x, y) == 0;
}

/* Does it still fail? Then it is the new best. */
static bool try(struct shrink *k, const struct plan *plan)
{
	struct totals t;
	char why[WHY_BYTES];

	if (k->runs >= SHRINK_RUNS_MAX || time(NULL) > k->until)
		return false;
	k->runs++;
	if (run_apart(plan, &t, why) || !same_kind(why, k->first))
		return false;
	k->best = *plan;
	memcpy(k->why, why, sizeof(why));
	return true;
}

static size_t kept(const struct plan *p, uint32_t *to)
{
	size_t n = 0;

	for (uint32_t i = 0; i < FAULTS_MAX; i++)
		if (p->keep[i])
			to[n++] = i;
	return n;
}

static void shrink_faults(struct shrink *k)
{
	static uint32_t all[FAULTS_MAX];
	size_t n = kept(&k->best, all);

	for (size_t part = n; part > 0;) {
		bool any = false;

		n = kept(&k->best, all);
		for (size_t at = 0; at < n; at += part) {
			struct plan less = k->best;

			for (size_t i = at; i < at + part && i < n; i++)
				less.keep[all[i]] = false;
			any = try(k, &less) || any;
		}
		if (part == 1 && !any)
			break;
		part = part > 1 ? part / 2 : 1;
	}
}

void plan_shrink(struct plan *plan, size_t faults, char *why)
{
	static struct shrink shrink;
	struct shrink *k = &shrink;
	struct plan less;

	*k = (struct shrink){ .best = *plan, .until = time(NULL) + SHRINK_S_MAX };
	memcpy(k->first, why, WHY_BYTES);
	memcpy(k->why, why, WHY_BYTES);
	if (faults == 0) /* it died before it could say how many there were */
		faults = FAULTS_MAX;
	if (!plan->some) {
		k->best.some = true;
		for (size_t i = 0; i < faults && i < FAULTS_MAX; i++)
			k->best.keep[i] = true;
	}
	less = k->best;
	if (!try(k,
		 &less)) /* it died before it could say how many there were, or hangs on chance */
		return;
	shrink_faults(k);
	for (size_t clients = 1; clients < LOADS_MAX; clients++) {
		less = k->best;
		less.clients = clients;
		if (try(k, &less))
			break;
	}
	for (size_t servers = 1; servers <= 3; servers += 2) {
		less = k->best;
		less.servers = servers;
		if (try(k, &less))
			break;
	}
	shrink_faults(k);
	*plan = k->best;
	memcpy(why, k->why, WHY_BYTES);
}
