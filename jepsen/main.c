/*
 * paddock-check - is this history what a ZooKeeper promises?
 */
#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>

#include "base/mem.h"
#include "base/opt.h"
#include "jepsen/check.h"
#include "jepsen/edn.h"
#include "jepsen/gen.h"

#define NS_PER_S 1e9

enum exit_status { EXIT_VALID = 0, EXIT_INVALID = 1, EXIT_USAGE = 2, EXIT_UNREADABLE = 3 };

struct settings {
#define OPT(letter, field, name, type, dflt, least, most, unit, group, help)                       \
	PK_OPT_FIELD(type, field)
#include "jepsen/options.tbl"
#undef OPT
};

static const struct pk_opt option_rows[] = {
#define OPT(letter, field, name, type, dflt, least, most, unit, group, help)                       \
	PK_OPT_ROW_LETTER(struct settings, letter, field, name, type, dflt, least, most, unit,     \
			  group, help)
#include "jepsen/options.tbl"
#undef OPT
};

static const struct pk_cmd command = {
	.name = "paddock-check",
	.args = "[FILE...]",
	.about =
		"Judges what clients saw of a cluster against what ZooKeeper promises: order, "
		"reads, "
		"watches, sessions, ephemeral and sequential nodes, multi, ACLs. The files are the "
		"histories of one run, one or more clients in each, binary or lines of JSON; all "
		"of "
		"them are judged together. Exit status: 0 no violation, 1 violations, 2 wrong "
		"usage, 3 a file that cannot be read.",
	.opts = option_rows,
	.opts_count = PK_COUNT(option_rows),
	.args_least = 0,
	.args_most = 4096,
};

static double now_s(void)
{
	struct timespec t;

	PK_ASSERT(clock_gettime(CLOCK_MONOTONIC, &t) == 0);
	return (double)t.tv_sec + (double)t.tv_nsec / NS_PER_S;
}

/* Of this process: what a wall clock shows depends on who else is busy. */
static double cpu_s(void)
{
	struct rusage use;

	PK_ASSERT(getrusage(RUSAGE_SELF, &use) == 0);
	return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
	       (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
}

static void into_history(void *arg, const struct hist_event *e)
{
	struct pk_err err = PK_ERR_INIT;

	if (history_add(arg, e, &err) != 0) {
		fprintf(stderr, "paddock-check: generated: %s\n", err.text);
		abort();
	}
}

static void into_file(void *arg, const struct hist_event *e)
{
	hist_write(arg, e);
}

static struct gen_opts gen_opts(const struct settings *set)
{
	struct gen_opts o = GEN_OPTS_INIT;

	o.operations = (uint64_t)set->generate;
	o.seed = (uint64_t)set->seed;
	o.faults = !set->calm;
	if (o.operations > 100000) {
		o.clients = 50;
		o.keys = 2000;
	}
	return o;
}

static int generate_file(const struct settings *set)
{
	struct gen_opts o = gen_opts(set);
	struct pk_err err = PK_ERR_INIT;
	struct hist_writer *w = hist_writer_open(set->out, &err);

	if (w != NULL) {
		gen_run(&o, into_file, w);
		if (hist_writer_close(w, &err) == 0)
			return EXIT_VALID;
	}
	fprintf(stderr, "paddock-check: %s\n", err.text);
	return EXIT_UNREADABLE;
}

/* As lines of JSON, event by event as they stand in the files. */
static int print_lines(const struct pk_strs *files)
{
	struct pk_err err = PK_ERR_INIT;

	for (size_t i = 0; i < files->count; i++) {
		if (hist_copy_json(files->items[i], stdout, &err) != 0) {
			fprintf(stderr, "paddock-check: %s\n", err.text);
			return EXIT_UNREADABLE;
		}
	}
	return fflush(stdout) == 0 ? EXIT_VALID : EXIT_UNREADABLE;
}

static int load(const struct settings *set, const struct pk_strs *files, struct history *h)
{
	struct pk_err err = PK_ERR_INIT;

	if (set->generate > 0) {
		struct gen_opts o = gen_opts(set);
		gen_run(&o, into_history, h);
	}
	for (size_t i = 0; i < files->count; i++) {
		uint64_t torn = 0;
		if (history_load(h, files->items[i], &torn, &err) != 0) {
			fprintf(stderr, "paddock-check: %s\n", err.text);
			return EXIT_UNREADABLE;
		}
		if (torn > 0)
			fprintf(stderr,
				"paddock-check: %s: the last %" PRIu64
				" bytes are no whole event, and left out\n",
				files->items[i], torn);
	}
	return EXIT_VALID;
}

static int print_edn(const struct settings *set, const struct history *h)
{
	struct pk_err err = PK_ERR_INIT;
	struct pk_buf out = PK_BUF_INIT;
	struct edn_counts counts;
	bool one = set->edn == 1;
	int status = EXIT_VALID;

	if (one && set->path == NULL) {
		fprintf(stderr, "paddock-check: --edn register wants --path\n");
		return EXIT_USAGE;
	}
	if (edn_write(h, one ? EDN_REGISTER : EDN_RW_REGISTER,
		      one ? pk_bytes_str(set->path) : PK_BYTES_NONE, &out, &counts, &err) != 0) {
		fprintf(stderr, "paddock-check: %s\n", err.text);
		status = EXIT_USAGE;
	} else {
		if (fwrite(out.data, 1, out.len, stdout) != out.len || fflush(stdout) != 0)
			status = EXIT_UNREADABLE;
		fprintf(stderr, "paddock-check: %" PRIu64 " operations, %" PRIu64 " left out\n",
			counts.operations, counts.left_out);
	}
	pk_buf_release(&out);
	return status;
}

static int judge(const struct settings *set, const struct history *h, double load_s)
{
	struct check_opts opts = CHECK_OPTS_INIT;
	struct check_report report;
	struct pk_buf out = PK_BUF_INIT;
	struct rusage use;

	opts.peer = set->peer == 0 ? CHECK_PADDOCK : CHECK_ZOOKEEPER;
	opts.session_late_ms = set->late_ms;
	opts.session_early_ms = set->early_ms;
	opts.violations_max = (uint32_t)set->violations;
	double begin = now_s(), cpu_begin = cpu_s();
	check_run(h, &opts, &report);
	double check_s = now_s() - begin, core_s = cpu_s() - cpu_begin;
	if (set->json) {
		check_report_json(&report, &out);
	} else if (set->quiet) {
		for (uint32_t i = 0; i < report.list_count; i++)
			pk_buf_printf(&out, "VIOLATION %s: %s\n",
				      check_rule_name(report.list[i].rule), report.list[i].text);
		pk_buf_printf(&out, "%s: %" PRIu64 " operations, %" PRIu64 " violations\n",
			      report.violations == 0 ? "valid" : "INVALID", report.operations,
			      report.violations);
	} else {
		check_report_text(&report, &out);
		PK_ASSERT(getrusage(RUSAGE_SELF, &use) == 0);
		pk_buf_printf(&out,
			      "loaded in %.2f s, judged in %.2f s (%.2f s of one core): %.0f "
			      "operations a "
			      "second of it, %ld MiB\n",
			      load_s, check_s, core_s,
			      (double)report.operations / (core_s > 0 ? core_s : 1e-9),
			      use.ru_maxrss / 1024);
	}
	int status = report.violations == 0 ? EXIT_VALID : EXIT_INVALID;
	if (fwrite(out.data, 1, out.len, stdout) != out.len || fflush(stdout) != 0)
		status = EXIT_UNREADABLE;
	pk_buf_release(&out);
	check_report_release(&report);
	return status;
}

static int run(const struct settings *set, const struct pk_strs *files)
{
	if (files->count == 0 && set->generate == 0) {
		fprintf(stderr,
			"paddock-check: which history? Name its files, or --generate one\n");
		return EXIT_USAGE;
	}
	if (set->generate > 0 && files->count > 0) {
		fprintf(stderr, "paddock-check: a generated history, or files: not both\n");
		return EXIT_USAGE;
	}
	if (set->out != NULL && set->generate > 0)
		return generate_file(set);
	if (set->lines)
		return print_lines(files);
	struct history *h = history_new();
	double begin = now_s();
	int status = load(set, files, h);
	double load_s = now_s() - begin;
	if (status == EXIT_VALID)
		status = set->edn != 0 ? print_edn(set, h) : judge(set, h, load_s);
	history_free(h);
	return status;
}

int main(int argc, char **argv)
{
	struct settings set;
	struct pk_strs files = PK_STRS_INIT;
	struct pk_err err = PK_ERR_INIT;
	struct pk_buf help = PK_BUF_INIT;
	int status = EXIT_VALID;

	pk_opt_defaults(option_rows, PK_COUNT(option_rows), &set);
	int rc = pk_cmd_parse(&command, argc, argv, &set, &files, &err);
	if (rc < 0) {
		fprintf(stderr, "paddock-check: %s\n", err.text);
		status = EXIT_USAGE;
	} else if (rc == PK_CMD_HELP) {
		pk_cmd_help(&command, &help);
		pk_ignore(fwrite(help.data, 1, help.len, stdout), "nobody would hear of it");
	} else if (rc == PK_CMD_VERSION) {
		printf("paddock-check %s\n", PADDOCK_VERSION);
	} else {
		status = run(&set, &files);
	}
	pk_buf_release(&help);
	pk_strs_release(&files);
	pk_opt_release(option_rows, PK_COUNT(option_rows), &set);
	return status;
}
