/*
 * The log against a model, with the power going at every operation of the disk.
 *
 * A run is a script made from a seed: appends, truncations, manifests, installed snapshots, seals,
 * votes. Whatever survives a crash must be the model's state after some step at or behind the last
 * one that was acknowledged: nothing lost, nothing invented.
 */
#include "tests/lib/test.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "store/rlog.h"
#include "tests/lib/sim_disk.h"

enum { STEPS_MAX = 4096, SEGMENT_BYTES = 8192 };

enum step_kind { STEP_ADD, STEP_TRUNCATE, STEP_MANIFEST, STEP_RESET };

struct step {
	enum step_kind kind;
	uint64_t index, term, keep;
	uint32_t len;
	uint32_t id; /* decides the bytes */
};

struct entry {
	uint64_t term;
	uint32_t id, len;
};

/* The log that must be found: entries base .. base + count - 1. */
struct model {
	uint64_t base, cut;
	size_t count;
	bool has_manifest;
	uint64_t manifest_index, manifest_term;
	uint32_t manifest_id;
	struct entry entries[STEPS_MAX];
};

struct run;

/* What a callback is of: the steps up to step_count. */
struct ack {
	struct run *run;
	size_t step_count;
};

struct run {
	uint64_t seed;
	struct pk_rng rng;
	struct sim_disk *disk;
	struct rlog *log;
	struct rlog_config cfg;
	struct step steps[STEPS_MAX];
	struct ack acks[STEPS_MAX + 1]; /* by step_count: each call makes a step at least */
	size_t step_count, acked;       /* steps[0 .. acked) are acknowledged */
	uint32_t next_id;
	struct model now;
	uint64_t term, vote;             /* as of the last call that returned */
	uint64_t term_asked, vote_asked; /* of one that did not */
	uint64_t forgotten;              /* by starts that left out what a manifest covers */
	bool asked;
	uint64_t appends_done, crashes;
	char where[160];
};

static void data_of(uint32_t id, uint32_t len, uint8_t *to)
{
	struct pk_rng r;

	pk_rng_seed(&r, id);
	pk_rng_fill(&r, to, len);
}

static void model_step(struct model *m, const struct step *s)
{
	switch (s->kind) {
	case STEP_ADD:
		assert_int_equal(s->index, m->base + m->count);
		m->entries[m->count++] = (struct entry){ .term = s->term,
							 .id = s->id,
							 .len = s->len };
		break;
	case STEP_TRUNCATE:
		m->count = (size_t)(s->index - m->base);
		break;
	case STEP_RESET:
		m->base = s->index + 1;
		m->count = 0;
		m->cut = s->index;
		/* fall through */
	case STEP_MANIFEST:
		m->has_manifest = true;
		m->manifest_index = s->index;
		m->manifest_term = s->term;
		m->manifest_id = s->id;
		if (s->index > s->keep && s->index - s->keep > m->cut)
			m->cut = s->index - s->keep;
		break;
	}
}

/* Of what the manifest covers, no more than the start was asked to load. */
static const char *covered_differs(const struct rlog_config *cfg, const struct rlog_loaded *got)
{
	uint64_t covered = 0, bytes = 0;

	for (size_t i = 0; i < got->record_count; i++) {
		if (got->records[i].index > got->manifest.index)
			break;
		covered++;
		bytes += got->records[i].data.len;
	}
	if (covered > cfg->covered_count)
		return "how many covered records were loaded";
	return bytes > cfg->covered_bytes ? "bytes of covered records" : NULL;
}

/* NULL when what was loaded is the model's state, or what differs. */
static const char *model_differs(const struct run *r, const struct model *m,
				 const struct rlog_loaded *got)
{
	static uint8_t want[4 * SEGMENT_BYTES];
	uint64_t cut = m->cut > r->forgotten ? m->cut : r->forgotten;

	if (got->has_manifest != m->has_manifest)
		return "manifest there or not";
	if (m->has_manifest) {
		if (got->manifest.index != m->manifest_index ||
		    got->manifest.term != m->manifest_term)
			return "manifest index or term";
		data_of(m->manifest_id, 40, want);
		if (!pk_bytes_eq(got->manifest.payload, pk_bytes(want, 40)))
			return "manifest payload";
		if (!pk_bytes_eq(got->manifest.conf, pk_bytes(want, 7)))
			return "manifest membership";
		if (r->cfg.covered_count > 0) {
			const char *why = covered_differs(&r->cfg, got);
			if (why != NULL)
				return why;
			if (m->manifest_index > cut)
				cut = m->manifest_index;
		}
	}
	if (got->start_index < m->base || got->start_index > cut + 1)
		return "start index";
	if (got->start_index + got->record_count != m->base + m->count)
		return "last index";
	for (size_t i = 0; i < got->record_count; i++) {
		const struct rlog_record *rec = &got->records[i];
		const struct entry *e = &m->entries[got->start_index + i - m->base];
		if (rec->index != got->start_index + i || rec->term != e->term || rec->type != 1 ||
		    rec->data.len != e->len)
			return "a record's index, term, type or length";
		data_of(e->id, e->len, want);
		if (!pk_bytes_eq(rec->data, pk_bytes(want, e->len)))
			return "a record's bytes";
	}
	return NULL;
}

static void on_done(void *owner, int rc, const struct pk_err *err)
{
	struct ack *a = owner;

	if (rc != 0)
		fail_msg("%s: %s", a->run->where, err->text);
	assert_true(a->step_count >= a->run->acked);
	a->run->acked = a->step_count;
	a->run->appends_done++;
}

static struct ack *ack_new(struct run *r)
{
	struct ack *a = &r->acks[r->step_count];

	*a = (struct ack){ .run = r, .step_count = r->step_count };
	return a;
}

static struct step *step_add(struct run *r, struct step s)
{
	assert_true(r->step_count < STEPS_MAX);
	s.id = ++r->next_id;
	r->steps[r->step_count] = s;
	model_step(&r->now, &s);
	return &r->steps[r->step_count++];
}

static uint64_t last_term(const struct model *m)
{
	if (m->count > 0)
		return m->entries[m->count - 1].term;
	return m->has_manifest ? m->manifest_term : 1;
}

static void do_append(struct run *r)
{
	struct rlog_record records[6];
	uint8_t *data[6];
	size_t count = 1 + pk_rng_below(&r->rng, 6);

	for (size_t i = 0; i < count; i++) {
		uint64_t die = pk_rng_below(&r->rng, 100);
		uint32_t len = (uint32_t)(die < 60   ? pk_rng_below(&r->rng, 120)
					  : die < 95 ? pk_rng_below(&r->rng, 1500)
						     : pk_rng_below(&r->rng, 2 * SEGMENT_BYTES));
		struct step *s = step_add(
			r, (struct step){ .kind = STEP_ADD,
					  .index = r->now.base + r->now.count,
					  .term = last_term(&r->now) +
						  (pk_rng_below(&r->rng, 5) == 0 ? 1 : 0),
					  .len = len });
		data[i] = pk_alloc(len);
		data_of(s->id, len, data[i]);
		records[i] = (struct rlog_record){ .index = s->index,
						   .term = s->term,
						   .type = 1,
						   .data = pk_bytes(data[i], len) };
	}
	rlog_append(r->log, records, count, on_done, ack_new(r));
	for (size_t i = 0; i < count; i++)
		free(data[i]);
}

static void do_truncate(struct run *r)
{
	uint64_t next = r->now.base + r->now.count, least = r->now.base;

	if (r->now.has_manifest && r->now.manifest_index + 1 > least)
		least = r->now.manifest_index + 1;
	if (least + 12 < next)
		least = next - 12;
	uint64_t index = least + pk_rng_below(&r->rng, next - least + 1);
	step_add(r, (struct step){ .kind = STEP_TRUNCATE, .index = index });
	rlog_truncate(r->log, index);
}

static void do_manifest(struct run *r, bool reset)
{
	uint64_t next = r->now.base + r->now.count;
	uint64_t least = r->now.has_manifest ? r->now.manifest_index : r->now.base;
	struct step s = { .kind = reset ? STEP_RESET : STEP_MANIFEST };
	uint8_t data[40];

	if (reset) {
		s.index = next + pk_rng_below(&r->rng, 20);
		s.term = last_term(&r->now) + 1;
	} else {
		if (next <= least || r->now.count == 0)
			return;
		s.index = least + pk_rng_below(&r->rng, next - least);
		if (s.index < r->now.base)
			return;
		s.term = r->now.entries[s.index - r->now.base].term;
		s.keep = pk_rng_below(&r->rng, 4);
	}
	data_of(step_add(r, s)->id, sizeof(data), data);
	struct rlog_manifest m = { .index = s.index,
				   .term = s.term,
				   .conf_index = 1,
				   .conf = pk_bytes(data, 7),
				   .payload = pk_bytes(data, sizeof(data)) };
	rlog_manifest_put(r->log, &m, s.keep, reset, on_done, ack_new(r));
}

static void do_vote(struct run *r)
{
	struct pk_err err = PK_ERR_INIT;
	int rc;

	r->term_asked = r->term;
	r->vote_asked = pk_rng_below(&r->rng, 9);
	r->asked = true;
	if (pk_rng_chance(&r->rng, 500000)) {
		r->term_asked++;
		r->vote_asked = 0;
		rc = rlog_set_term(r->log, r->term_asked, &err);
	} else {
		rc = rlog_set_vote(r->log, r->vote_asked, &err);
	}
	if (rc == 0) {
		r->term = r->term_asked;
		r->vote = r->vote_asked;
		r->asked = false;
	} else {
		assert_true(sim_disk_dead(r->disk));
	}
}

/* False: the power went. */
static bool run_one(struct run *r)
{
	uint64_t die = pk_rng_below(&r->rng, 100);

	if (die < 68)
		do_append(r);
	else if (die < 78)
		do_truncate(r);
	else if (die < 86)
		do_manifest(r, false);
	else if (die < 88)
		do_manifest(r, true);
	else if (die < 94)
		rlog_seal(r->log, NULL, NULL);
	else
		do_vote(r);
	for (uint64_t n = pk_rng_below(&r->rng, 12); n > 0; n--)
		if (!sim_disk_step(r->disk))
			break;
	return !sim_disk_dead(r->disk);
}

/* Open, and find the step whose state this is. False: the power went meanwhile. */
static bool run_open(struct run *r)
{
	struct rlog_loaded got;
	struct pk_err err = PK_ERR_INIT;
	static struct model m;
	const char *why = "no state fits";

	r->cfg.covered_count = pk_rng_chance(&r->rng, 500000) ? 1 + pk_rng_below(&r->rng, 20) : 0;
	r->cfg.covered_bytes = pk_rng_below(&r->rng, 2 * SEGMENT_BYTES);
	int rc = rlog_open(&r->log, sim_disk_disk(r->disk), &r->cfg, &got, &err);
	if (rc != 0) {
		r->log = NULL;
		if (!sim_disk_dead(r->disk))
			fail_msg("%s: does not open: %s", r->where, err.text);
		return false;
	}
	bool term_ok = got.term == r->term && got.voted_for == r->vote;
	if (r->asked && !term_ok)
		term_ok = got.term == r->term_asked && got.voted_for == r->vote_asked;
	if (!term_ok)
		fail_msg("%s: term %" PRIu64 " vote %" PRIu64 ", want %" PRIu64 " and %" PRIu64,
			 r->where, got.term, got.voted_for, r->term, r->vote);
	r->term = got.term;
	r->vote = got.voted_for;
	r->asked = false;

	memset(&m, 0, sizeof(m));
	m.base = 1;
	size_t at = 0;
	for (; at < r->acked; at++)
		model_step(&m, &r->steps[at]);
	for (;; at++) {
		why = model_differs(r, &m, &got);
		if (why == NULL || at == r->step_count)
			break;
		model_step(&m, &r->steps[at]);
	}
	if (why != NULL)
		fail_msg("%s: acknowledged %zu of %zu steps; last compared: %s; found %" PRIu64
			 "+%zu, model %" PRIu64 "+%zu",
			 r->where, r->acked, r->step_count, why, got.start_index, got.record_count,
			 m.base, m.count);
	r->step_count = r->acked = at; /* what was found is what is, from now on */
	r->now = m;
	if (r->cfg.covered_count > 0 && m.has_manifest && m.manifest_index > r->forgotten)
		r->forgotten = m.manifest_index;
	assert_int_equal(rlog_last_index(r->log), m.base + m.count - 1);
	rlog_loaded_release(&got);
	return true;
}

static void run_begin(struct run *r, uint64_t seed)
{
	memset(r, 0, sizeof(*r));
	r->seed = seed;
	pk_rng_seed(&r->rng, seed);
	r->disk = sim_disk_new(seed);
	r->now.base = 1;
	r->cfg = (struct rlog_config){
		.segment_bytes = SEGMENT_BYTES, .cluster_id = 7, .server_id = 1, .secret = seed
	};
}

static void run_crash(struct run *r, bool power)
{
	rlog_close(r->log);
	r->log = NULL;
	r->crashes++;
	if (power)
		sim_disk_crash(r->disk, NULL, NULL);
	else
		sim_disk_kill(r->disk);
}

static void run_end(struct run *r)
{
	rlog_close(r->log);
	sim_disk_free(r->disk);
}

/* The whole life of one directory: crash at operation `first`, then at random ones. */
static uint64_t live(uint64_t seed, uint64_t first, size_t lives)
{
	static struct run r;
	uint64_t crash_at = first;

	run_begin(&r, seed);
	for (size_t life = 0; life < lives; life++) {
		snprintf(r.where, sizeof(r.where), "seed %" PRIu64 " crash at %" PRIu64 " life %zu",
			 seed, first, life);
		sim_disk_set_faults(r.disk, &(struct sim_disk_faults){
						    .crash_at = sim_disk_ops(r.disk) + crash_at });
		bool on = run_open(&r);
		for (int i = 0; on && i < 60; i++)
			on = run_one(&r);
		bool power = sim_disk_dead(r.disk) || pk_rng_chance(&r.rng, 500000);
		run_crash(&r, power);
		crash_at = pk_rng_below(&r.rng, 10) == 0 ? 1 + pk_rng_below(&r.rng, 12)
							 : 1 + pk_rng_below(&r.rng, 250);
	}
	/* and at last, in peace */
	snprintf(r.where, sizeof(r.where), "seed %" PRIu64 " crash at %" PRIu64 " at the end", seed,
		 first);
	assert_true(run_open(&r));
	sim_disk_run(r.disk);
	uint64_t crashes = r.crashes;
	run_end(&r);
	return crashes;
}

static void test_survives_a_crash_at_every_operation(void **state)
{
	(void)state;
	uint64_t crashes = 0;

	for (uint64_t seed = 1; seed <= 4; seed++)
		for (uint64_t first = 1; first <= 300; first++)
			crashes += live(seed, first, 3);
	assert_true(crashes > 3000);
}

static void test_survives_many_crashes_of_one_directory(void **state)
{
	(void)state;
	for (uint64_t seed = 100; seed < 140; seed++)
		live(seed, 50, 30);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_survives_a_crash_at_every_operation),
		cmocka_unit_test(test_survives_many_crashes_of_one_directory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
