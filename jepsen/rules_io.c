/*
 * paddock-rules [--points FILE] HISTORY... - the rules of rules.h over the files of a run, as JSON
 * on standard output: what was asked and answered, how long it took, each rule.
 *
 * --points writes a line for each operation, for the pictures: begin and end in ns, process,
 * "read" or "write", "ok", "refused" or "unknown". Exit status 1 when a rule is broken, 2 when a
 * file cannot be read.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <uthash.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/opt.h"
#include "jepsen/rules.h"

#define FILE_BYTES_MAX ((size_t)4 << 30)

struct options {
	char *points;
};

static const struct pk_opt option_rows[] = {
	{ .name = "points",
	  .type = PK_OPT_STRING,
	  .least = 1,
	  .most = 4096,
	  .unit = "FILE",
	  .group = "Options",
	  .help = "Write when each operation began and ended.",
	  .offset = offsetof(struct options, points) },
};

static const struct pk_cmd command = {
	.name = "paddock-rules",
	.args = "HISTORY...",
	.about = "What must hold of a workload beyond paddock-check's rules, and numbers of a run.",
	.opts = option_rows,
	.opts_count = PK_COUNT(option_rows),
	.args_least = 1,
	.args_most = 1024,
};

/* A request that waits for its answer. */
struct open_call {
	UT_hash_handle hh;
	struct {
		uint64_t call;
		uint64_t process;
	} key;
	struct pk_buf invoke; /* encoded */
};

enum { KIND_READ, KIND_WRITE, KINDS };
enum { END_OK, END_REFUSED, END_UNKNOWN, ENDS };
static const char *const kind_texts[KINDS] = { "read", "write" };
static const char *const end_texts[ENDS] = { "ok", "refused", "unknown" };

struct times {
	int64_t *ns; /* owned */
	size_t count, cap;
};

struct tally {
	struct rules *rules;
	struct open_call *open;
	struct hist_scratch invoke_scratch;
	FILE *points; /* NULL: none */
	uint64_t counts[KINDS][ENDS], events, watches, connects, expired, closed, abandoned;
	struct times times[KINDS]; /* of successes */
	int64_t last_ns;
};

static int kind_of(int32_t op)
{
	return zk_opcode_class(op) == ZK_CLASS_WRITE ? KIND_WRITE : KIND_READ;
}

static void tally_end(struct tally *t, const struct hist_event *invoke, int64_t end_ns, int end)
{
	int kind = kind_of(invoke->part.op);

	t->counts[kind][end]++;
	if (end == END_OK) {
		struct times *times = &t->times[kind];

		if (times->count == times->cap) {
			times->cap = times->cap == 0 ? 1024 : 2 * times->cap;
			times->ns = pk_realloc(times->ns, times->cap * sizeof(*times->ns));
		}
		times->ns[times->count++] = end_ns - invoke->time_ns;
	}
	if (t->points != NULL)
		fprintf(t->points, "%" PRId64 " %" PRId64 " %" PRIu32 " %s %s\n", invoke->time_ns,
			end_ns, invoke->process, kind_texts[kind], end_texts[end]);
}

static void call_free(struct tally *t, struct open_call *o)
{
	HASH_DEL(t->open, o);
	pk_buf_release(&o->invoke);
	free(o);
}

static int call_decode(struct tally *t, struct open_call *o, struct hist_event *invoke,
		       struct pk_err *err)
{
	struct pk_bytes in = pk_buf_bytes(&o->invoke);

	return hist_decode(&in, invoke, &t->invoke_scratch, err) == 1 ? 0 : PK_ECORRUPT;
}

static int tally_event(struct tally *t, const struct hist_event *e, struct pk_err *err)
{
	struct open_call *o = NULL;
	struct hist_event invoke;
	int rc = 0;

	t->events++;
	if (e->time_ns > t->last_ns)
		t->last_ns = e->time_ns;
	t->watches += e->kind == HIST_WATCH;
	if (e->kind == HIST_SESSION) {
		t->connects += e->state == HIST_CONNECTED;
		t->expired += e->state == HIST_EXPIRED;
		t->closed += e->state == HIST_CLOSED;
		t->abandoned += e->state == HIST_ABANDONED;
	}
	if (e->kind == HIST_INVOKE) {
		o = pk_alloc(sizeof(*o));
		o->key.call = e->call;
		o->key.process = e->process;
		hist_encode(&o->invoke, e);
		HASH_ADD(hh, t->open, key, sizeof(o->key), o);
		return 0;
	}
	if (e->kind == HIST_OK || e->kind == HIST_FAIL || e->kind == HIST_INFO) {
		struct open_call like = { .key = { .call = e->call, .process = e->process } };

		HASH_FIND(hh, t->open, &like.key, sizeof(like.key), o);
	}
	if (o != NULL)
		rc = call_decode(t, o, &invoke, err);
	if (rc != 0)
		return rc;
	rules_event(t->rules, e, o != NULL ? &invoke : NULL);
	if (o != NULL) {
		tally_end(t, &invoke, e->time_ns,
			  e->kind == HIST_OK     ? END_OK
			  : e->kind == HIST_FAIL ? END_REFUSED
						 : END_UNKNOWN);
		call_free(t, o);
	}
	return 0;
}

/* Requests that never had an answer. */
static int tally_close(struct tally *t, struct pk_err *err)
{
	struct open_call *o, *next;
	int rc = 0;

	HASH_ITER (hh, t->open, o, next) {
		struct hist_event invoke;

		if (rc == 0)
			rc = call_decode(t, o, &invoke, err);
		if (rc == 0)
			tally_end(t, &invoke, t->last_ns, END_UNKNOWN);
		call_free(t, o);
	}
	return rc;
}

static int tally_binary(struct tally *t, struct pk_bytes in, struct pk_err *err)
{
	struct hist_scratch scratch = HIST_SCRATCH_INIT;
	struct hist_event e;
	int rc;

	while ((rc = hist_decode(&in, &e, &scratch, err)) == 1)
		if ((rc = tally_event(t, &e, err)) != 0)
			break;
	hist_scratch_release(&scratch);
	return rc;
}

static int tally_json(struct tally *t, struct pk_bytes in, struct pk_err *err)
{
	struct hist_scratch scratch = HIST_SCRATCH_INIT;
	int rc = 0;

	while (rc == 0 && in.len > 0) {
		const uint8_t *newline = memchr(in.data, '\n', in.len);
		size_t len = newline != NULL ? (size_t)(newline - in.data) : in.len;
		struct hist_event e;

		if (newline == NULL)
			break; /* torn: its writer was killed */
		if (len > 0)
			rc = hist_decode_json(pk_bytes(in.data, len), &e, &scratch, err);
		if (rc == 0 && len > 0)
			rc = tally_event(t, &e, err);
		in = pk_bytes(in.data + len + 1, in.len - len - 1);
	}
	hist_scratch_release(&scratch);
	return rc;
}

static int tally_file(struct tally *t, const char *path, struct pk_err *err)
{
	struct pk_buf bytes = PK_BUF_INIT;
	int rc = pk_file_read(path, FILE_BYTES_MAX, &bytes, err);

	if (rc == 0) {
		struct pk_bytes in = pk_buf_bytes(&bytes);

		rc = pk_bytes_starts(in, pk_bytes_str(HIST_MAGIC))
			     ? tally_binary(t,
					    pk_bytes(in.data + HIST_MAGIC_BYTES,
						     in.len - HIST_MAGIC_BYTES),
					    err)
			     : tally_json(t, in, err);
	}
	pk_buf_release(&bytes);
	return rc == 0 ? 0 : pk_err_wrap(err, "%s", path);
}

/* ---- the answer ---- */

static int by_value(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static json_t *times_json(struct times *t)
{
	json_t *out = json_object();

	if (t->count == 0)
		return out;
	qsort(t->ns, t->count, sizeof(*t->ns), by_value);
	json_object_set_new(out, "median_ms", json_real((double)t->ns[t->count / 2] / 1e6));
	json_object_set_new(out, "p99_ms",
			    json_real((double)t->ns[t->count - 1 - t->count / 100] / 1e6));
	json_object_set_new(out, "most_ms", json_real((double)t->ns[t->count - 1] / 1e6));
	return out;
}

static bool tally_print(struct tally *t)
{
	json_t *out = json_object(), *rules = json_array();
	struct rule_result result;
	bool kept = true;

	for (int kind = 0; kind < KINDS; kind++) {
		json_t *one = times_json(&t->times[kind]);

		for (int end = 0; end < ENDS; end++)
			json_object_set_new(one, end_texts[end],
					    json_integer((json_int_t)t->counts[kind][end]));
		json_object_set_new(out, kind_texts[kind], one);
	}
	json_object_set_new(out, "events", json_integer((json_int_t)t->events));
	json_object_set_new(out, "watch_events", json_integer((json_int_t)t->watches));
	json_object_set_new(out, "connects", json_integer((json_int_t)t->connects));
	json_object_set_new(out, "expired", json_integer((json_int_t)t->expired));
	json_object_set_new(out, "closed", json_integer((json_int_t)t->closed));
	json_object_set_new(out, "abandoned", json_integer((json_int_t)t->abandoned));
	for (size_t i = 0; rules_result(t->rules, i, &result); i++) {
		json_t *one = json_object();

		json_object_set_new(one, "rule", json_string(result.name));
		json_object_set_new(one, "checked", json_integer((json_int_t)result.checked));
		json_object_set_new(one, "broken", json_integer((json_int_t)result.broken));
		json_object_set_new(one, "first", json_string(result.first));
		json_array_append_new(rules, one);
		kept = kept && result.broken == 0;
	}
	json_object_set_new(out, "rules", rules);
	json_dumpf(out, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(6));
	putchar('\n');
	json_decref(out);
	return kept;
}

static int run(const struct options *opts, const struct pk_strs *files, bool *kept,
	       struct pk_err *err)
{
	struct tally t = { .rules = rules_new() };
	int rc = 0;

	if (opts->points != NULL && (t.points = fopen(opts->points, "we")) == NULL)
		rc = pk_err_sys(err, errno, "%s", opts->points);
	for (size_t i = 0; rc == 0 && i < files->count; i++)
		rc = tally_file(&t, files->items[i], err);
	if (rc == 0)
		rc = tally_close(&t, err);
	if (t.points != NULL && fclose(t.points) != 0 && rc == 0)
		rc = pk_err_sys(err, errno, "%s", opts->points);
	if (rc == 0)
		*kept = tally_print(&t);
	while (t.open != NULL)
		call_free(&t, t.open);
	hist_scratch_release(&t.invoke_scratch);
	for (int kind = 0; kind < KINDS; kind++)
		free(t.times[kind].ns);
	rules_free(t.rules);
	return rc;
}

int main(int argc, char **argv)
{
	struct options opts;
	struct pk_strs files = PK_STRS_INIT;
	struct pk_err err = PK_ERR_INIT;
	struct pk_buf help = PK_BUF_INIT;
	bool kept = true;

	pk_opt_defaults(option_rows, PK_COUNT(option_rows), &opts);
	int rc = pk_cmd_parse(&command, argc, argv, &opts, &files, &err);
	if (rc == PK_CMD_HELP) {
		pk_cmd_help(&command, &help);
		fputs(pk_buf_str(&help), stdout);
		pk_buf_release(&help);
	} else if (rc == PK_CMD_RUN) {
		rc = run(&opts, &files, &kept, &err);
	}
	if (rc < 0)
		fprintf(stderr, "paddock-rules: %s\n", err.text);
	pk_opt_release(option_rows, PK_COUNT(option_rows), &opts);
	pk_strs_release(&files);
	return rc < 0 ? 2 : kept ? 0 : 1;
}
