#include "tests/lib/test.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/opt.h"

struct settings {
	bool loud;
	int count;
	int64_t big;
	int64_t wait_ms;
	int64_t room_bytes;
	int colour;
	char *name;
	char *password;
	struct pk_strs sets;
};

static const struct pk_opt rows[] = {
	PK_OPT_ROW(struct settings, loud, "loud", BOOL, "false", 0, 1, "", "Voice", "Speak up.")
		PK_OPT_ROW(struct settings, count, "count", INT, "3", 1, 10, "turns", "Voice",
			   "How often.") PK_OPT_ROW(struct settings, big, "big", I64, "0",
						    INT64_MIN, INT64_MAX, "", "Voice", "Any.")
			PK_OPT_ROW(struct settings, wait_ms, "wait", MS, "2s", 0, 60000, "ms",
				   "Time", "Pause.") PK_OPT_ROW(struct settings, room_bytes, "room",
								BYTES, "64KiB", 1, INT64_MAX,
								"bytes", "Time", "Space.")
				PK_OPT_ROW(struct settings, colour, "colour", ENUM, "green", 0, 0,
					   "red|green|blue", "Looks",
					   "Paint.") PK_OPT_ROW(struct settings, name, "name",
								STRING, NULL, 0, 8, "", "Looks",
								"A word.")
					PK_OPT_ROW(struct settings, password, "password", STRING,
						   NULL, 0, 64, "secret", "Looks", "Hidden.")
						PK_OPT_ROW(struct settings, sets, "set", LIST, NULL,
							   0, 0, "KEY=VALUE", "Looks", "Any.")
};

static const struct pk_cmd cmd = {
	.name = "try",
	.args = "FILE",
	.about = "Tries things.",
	.opts = rows,
	.opts_count = PK_COUNT(rows),
	.args_least = 0,
	.args_most = 2,
};

static int set(struct settings *s, const char *name, const char *text, struct pk_err *err)
{
	const struct pk_opt *row = pk_opt_find(rows, PK_COUNT(rows), name);

	assert_non_null(row);
	return pk_opt_set(row, s, pk_bytes_str(text), err);
}

static int setup(void **state)
{
	struct settings *s = calloc(1, sizeof(*s));

	pk_opt_defaults(rows, PK_COUNT(rows), s);
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	pk_opt_release(rows, PK_COUNT(rows), *state);
	free(*state);
	return 0;
}

static void test_defaults_come_from_the_table(void **state)
{
	struct settings *s = *state;

	assert_false(s->loud);
	assert_int_equal(s->count, 3);
	assert_int_equal(s->wait_ms, 2000);
	assert_int_equal(s->room_bytes, 65536);
	assert_int_equal(s->colour, 1);
	assert_null(s->name);
	assert_int_equal(s->sets.count, 0);
}

static void test_each_type_reads_its_forms(void **state)
{
	struct settings *s = *state;
	static const char *const yes[] = { "true", "YES", "on", "1", " true " };

	for (size_t i = 0; i < PK_COUNT(yes); i++) {
		s->loud = false;
		assert_int_equal(set(s, "loud", yes[i], NULL), 0);
		assert_true(s->loud);
	}
	assert_int_equal(set(s, "loud", "No", NULL), 0);
	assert_false(s->loud);
	assert_int_equal(set(s, "count", "0xa", NULL), 0);
	assert_int_equal(s->count, 10);
	assert_int_equal(set(s, "big", "-9223372036854775807", NULL), 0);
	assert_true(s->big == -INT64_MAX);
	assert_int_equal(set(s, "wait", "1 m", NULL), 0);
	assert_int_equal(s->wait_ms, 60000);
	assert_int_equal(set(s, "room", "2GiB", NULL), 0);
	assert_true(s->room_bytes == (int64_t)2 << 30);
	assert_int_equal(set(s, "colour", "blue", NULL), 0);
	assert_int_equal(s->colour, 2);
	assert_int_equal(set(s, "name", " ann ", NULL), 0);
	assert_string_equal(s->name, "ann");
	assert_int_equal(set(s, "set", "a=b", NULL), 0);
	assert_int_equal(set(s, "set", "c", NULL), 0);
	assert_int_equal(s->sets.count, 2);
	assert_string_equal(s->sets.items[1], "c");
}

static void test_a_wrong_form_is_refused_and_nothing_changes(void **state)
{
	struct settings *s = *state;
	static const char *const bad[] = {
		"", "x", "3x", "--3", "0x", "3 3", "9223372036854775808", "1e3", "3.0", "+", "3s"
	};

	for (size_t i = 0; i < PK_COUNT(bad); i++) {
		struct pk_err err = PK_ERR_INIT;

		assert_int_equal(set(s, "count", bad[i], &err), PK_EINVAL);
		assert_int_equal(s->count, 3);
		assert_non_null(strstr(err.text, "1 to 10 turns"));
	}
	assert_int_equal(set(s, "loud", "maybe", NULL), PK_EINVAL);
	assert_int_equal(set(s, "colour", "pink", NULL), PK_EINVAL);
	assert_int_equal(set(s, "colour", "", NULL), PK_EINVAL);
	assert_int_equal(set(s, "wait", "9223372036854775807h", NULL), PK_EINVAL);
	assert_int_equal(set(s, "room", "9223372036854775807k", NULL), PK_EINVAL);
}

static void test_out_of_range_names_key_value_and_range(void **state)
{
	struct settings *s = *state;
	struct pk_err err = PK_ERR_INIT;

	assert_int_equal(set(s, "count", "11", &err), PK_ELIMIT);
	assert_string_equal(err.text, "count=11: allowed is 1 to 10 turns");
	assert_int_equal(set(s, "wait", "-1", &err), PK_ELIMIT);
	assert_string_equal(err.text, "wait=-1: allowed is 0 to 60000 ms");
	assert_int_equal(set(s, "name", "123456789", &err), PK_ELIMIT);
	assert_null(s->name);
}

static void test_a_secret_is_never_shown(void **state)
{
	struct settings *s = *state;
	struct pk_buf out = PK_BUF_INIT;
	struct pk_err err = PK_ERR_INIT;
	char longer[100];

	memset(longer, 'q', sizeof(longer));
	longer[99] = '\0';
	assert_int_equal(set(s, "password", "hunter2", NULL), 0);
	pk_opt_format(pk_opt_find(rows, PK_COUNT(rows), "password"), s, &out);
	assert_string_equal(pk_buf_str(&out), "***");
	assert_int_equal(set(s, "password", longer, &err), PK_ELIMIT);
	assert_null(strstr(err.text, "qq"));
	pk_buf_release(&out);
}

static void test_format_gives_what_set_reads(void **state)
{
	struct settings *s = *state;

	assert_int_equal(set(s, "name", "ann", NULL), 0);
	for (size_t i = 0; i < PK_COUNT(rows); i++) {
		struct pk_buf one = PK_BUF_INIT;
		struct pk_buf two = PK_BUF_INIT;

		if (rows[i].type == PK_OPT_LIST || strcmp(rows[i].name, "password") == 0)
			continue;
		pk_opt_format(&rows[i], s, &one);
		assert_int_equal(pk_opt_set(&rows[i], s, pk_buf_bytes(&one), NULL), 0);
		pk_opt_format(&rows[i], s, &two);
		assert_string_equal(pk_buf_str(&one), pk_buf_str(&two));
		pk_buf_release(&one);
		pk_buf_release(&two);
	}
}

static void test_edit_distance_counts_changes_and_swaps(void **state)
{
	(void)state;
	assert_int_equal(pk_edit_distance("", "abc"), 3);
	assert_int_equal(pk_edit_distance("tickTime", "ticktime"), 0);
	assert_int_equal(pk_edit_distance("tikcTime", "tickTime"), 1);
	assert_int_equal(pk_edit_distance("kitten", "sitting"), 3);
}

static int parse(struct settings *s, struct pk_strs *args, struct pk_err *err,
		 const char *const *words)
{
	char *argv[16];
	int argc = 0;

	argv[argc++] = (char *)(uintptr_t) "try";
	for (; words[argc - 1] != NULL; argc++)
		argv[argc] = (char *)(uintptr_t)words[argc - 1];
	return pk_cmd_parse(&cmd, argc, argv, s, args, err);
}
#define PARSE(...) parse(s, &args, &err, (const char *const[]){ __VA_ARGS__, NULL })

static void test_a_command_line_mixes_flags_and_arguments(void **state)
{
	struct settings *s = *state;
	struct pk_strs args = PK_STRS_INIT;
	struct pk_err err = PK_ERR_INIT;

	assert_int_equal(PARSE("--loud", "file", "--count", "7", "--name=bo", "--set", "a=1",
			       "--set=b=2", "--", "--x"),
			 PK_CMD_RUN);
	assert_true(s->loud);
	assert_int_equal(s->count, 7);
	assert_string_equal(s->name, "bo");
	assert_string_equal(s->sets.items[1], "b=2");
	assert_int_equal(args.count, 2);
	assert_string_equal(args.items[0], "file");
	assert_string_equal(args.items[1], "--x");
	pk_strs_release(&args);
	assert_int_equal(PARSE("--no-loud", "-1", "-"), PK_CMD_RUN);
	assert_false(s->loud);
	assert_string_equal(args.items[0], "-1");
	assert_string_equal(args.items[1], "-");
	pk_strs_release(&args);
}

/* argv is not const, and string literals are */
#define W(word) (char *)(uintptr_t)(word)
static void test_letters_stand_alone_together_and_with_a_value(void **state)
{
	struct {
		bool all, brief;
		int count;
	} s = { 0 };
	const struct pk_opt short_rows[] = {
		{ .name = "all",
		  .type = PK_OPT_BOOL,
		  .dflt = "false",
		  .letter = 'a',
		  .group = "G",
		  .help = "All." },
		{ .name = "brief",
		  .type = PK_OPT_BOOL,
		  .dflt = "false",
		  .letter = 'b',
		  .group = "G",
		  .help = "Brief.",
		  .offset = offsetof(__typeof__(s), brief) },
		{ .name = "count",
		  .type = PK_OPT_INT,
		  .dflt = "1",
		  .most = 9,
		  .letter = 'n',
		  .group = "G",
		  .help = "Often.",
		  .offset = offsetof(__typeof__(s), count) },
	};
	const struct pk_cmd short_cmd = { .name = "try",
					  .args = "",
					  .about = "",
					  .opts = short_rows,
					  .opts_count = 3,
					  .args_most = 2 };
	struct pk_strs args = PK_STRS_INIT;
	struct pk_err err = PK_ERR_INIT;
	struct pk_buf help = PK_BUF_INIT;

	(void)state;
	char *both[] = { W("try"), W("-abn"), W("3"), W("x") };
	assert_int_equal(pk_cmd_parse(&short_cmd, 4, both, &s, &args, &err), PK_CMD_RUN);
	assert_true(s.all && s.brief && s.count == 3 && args.count == 1);
	char *joined[] = { W("try"), W("-n7"), W("-1") };
	assert_int_equal(pk_cmd_parse(&short_cmd, 3, joined, &s, &args, &err), PK_CMD_RUN);
	assert_int_equal(s.count, 7);
	assert_int_equal(args.count, 2);
	char *none[] = { W("try"), W("-n") };
	assert_int_equal(pk_cmd_parse(&short_cmd, 2, none, &s, &args, &err), PK_EINVAL);
	assert_string_equal(err.text, "-n wants a value");
	char *wrong[] = { W("try"), W("-ax") };
	assert_int_equal(pk_cmd_parse(&short_cmd, 2, wrong, &s, &args, &err), PK_EINVAL);
	assert_string_equal(err.text, "unknown option -x in -ax: see try --help");
	pk_cmd_help(&short_cmd, &help);
	assert_non_null(strstr(pk_buf_str(&help), "-n, --count N"));
	pk_buf_release(&help);
	pk_strs_release(&args);
}

static void test_help_and_version_are_told_apart(void **state)
{
	struct settings *s = *state;
	struct pk_strs args = PK_STRS_INIT;
	struct pk_err err = PK_ERR_INIT;

	assert_int_equal(PARSE("-h"), PK_CMD_HELP);
	assert_int_equal(PARSE("--help"), PK_CMD_HELP);
	assert_int_equal(PARSE("--version"), PK_CMD_VERSION);
}

static void test_an_unknown_option_suggests_the_nearest(void **state)
{
	struct settings *s = *state;
	struct pk_strs args = PK_STRS_INIT;
	struct pk_err err = PK_ERR_INIT;

	assert_int_equal(PARSE("--colur=red"), PK_EINVAL);
	assert_string_equal(err.text, "unknown option --colur: did you mean --colour?");
	assert_int_equal(PARSE("--zzzzzz"), PK_EINVAL);
	assert_string_equal(err.text, "unknown option --zzzzzz: see try --help");
	assert_int_equal(PARSE("-x"), PK_EINVAL);
	assert_int_equal(PARSE("--no-count"), PK_EINVAL);
	assert_int_equal(PARSE("--count"), PK_EINVAL);
	assert_string_equal(err.text, "--count wants a value");
	assert_int_equal(PARSE("a", "b", "c"), PK_EINVAL);
	assert_string_equal(err.text, "usage: try [options] FILE");
	pk_strs_release(&args);
}

static void test_help_and_words_show_every_option(void **state)
{
	struct pk_buf help = PK_BUF_INIT;
	struct pk_buf words = PK_BUF_INIT;

	(void)state;
	pk_cmd_help(&cmd, &help);
	pk_cmd_words(&cmd, &words);
	for (size_t i = 0; i < PK_COUNT(rows); i++) {
		char flag[80];

		snprintf(flag, sizeof(flag), "--%s", rows[i].name);
		assert_non_null(strstr(pk_buf_str(&help), flag));
		assert_non_null(strstr(pk_buf_str(&help), rows[i].help));
		snprintf(flag, sizeof(flag), "--%s\n", rows[i].name);
		assert_non_null(strstr(pk_buf_str(&words), flag));
	}
	pk_buf_release(&help);
	pk_buf_release(&words);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_defaults_come_from_the_table),
		T(test_each_type_reads_its_forms),
		T(test_a_wrong_form_is_refused_and_nothing_changes),
		T(test_out_of_range_names_key_value_and_range),
		T(test_a_secret_is_never_shown),
		T(test_format_gives_what_set_reads),
		T(test_edit_distance_counts_changes_and_swaps),
		T(test_a_command_line_mixes_flags_and_arguments),
		T(test_letters_stand_alone_together_and_with_a_value),
		T(test_help_and_version_are_told_apart),
		T(test_an_unknown_option_suggests_the_nearest),
		T(test_help_and_words_show_every_option),
	};
	return cmocka_run_group_tests_name("opt", tests, NULL, NULL);
}
