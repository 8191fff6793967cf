/*
 * paddock - a person's way to a cluster: start one, look at it, read and write its nodes.
 */
#include <errno.h>
#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "cli/cmd.h"

#define NAME_BYTES 64

/* Words of the command line that are `name`'s: 0 when they are not. */
static int words_of(const char *name, int argc, char *const *argv)
{
	int words = 0;

	for (const char *at = name; *at != '\0'; words++) {
		size_t len = strcspn(at, " ");

		if (words + 1 >= argc || strlen(argv[words + 1]) != len ||
		    memcmp(argv[words + 1], at, len) != 0)
			return 0;
		at += len;
		at += *at == ' ';
	}
	return words;
}

static bool in_group(const char *name, const char *group)
{
	size_t len = strlen(group);

	return len == 0 ? strchr(name, ' ') == NULL
			: strncmp(name, group, len) == 0 && name[len] == ' ';
}

static bool is_group(const char *word)
{
	for (size_t i = 0; i < cli_command_count; i++) {
		if (in_group(cli_commands[i].name, word))
			return true;
	}
	return false;
}

static void overview(FILE *to, const char *group)
{
	if (*group == '\0')
		fprintf(to,
			"usage: paddock COMMAND [options] [arguments]\n\n"
			"Starts and shows a local cluster of the Paddock store, and talks to any "
			"ZooKeeper.\n\n");
	else
		fprintf(to, "usage: paddock %s COMMAND [options] [arguments]\n\n", group);
	for (size_t i = 0; i < cli_command_count; i++) {
		const char *name = cli_commands[i].name;

		if (!in_group(name, group))
			continue;
		const char *about = cli_command_about(&cli_commands[i]);
		fprintf(to, "  %-12s %.*s.\n", *group == '\0' ? name : name + strlen(group) + 1,
			(int)cli_sentence(about), about);
	}
	if (*group == '\0')
		fprintf(to, "  %-12s %s\n", "zk ...",
			"Reads, writes and watches nodes; see paddock zk --help.");
	fprintf(to, "\npaddock %s%sCOMMAND --help says more about each; paddock --version.\n",
		group, *group == '\0' ? "" : " ");
}

static int unknown(const char *group, const char *word)
{
	struct pk_nearest near = pk_nearest_to(word);

	for (size_t i = 0; i < cli_command_count; i++) {
		if (in_group(cli_commands[i].name, group))
			pk_nearest_try(&near, cli_commands[i].name +
						      (*group == '\0' ? 0 : strlen(group) + 1));
	}
	if (*group == '\0')
		pk_nearest_try(&near, "zk");
	fprintf(stderr, "paddock%s%s: unknown command %s", *group == '\0' ? "" : " ", group, word);
	if (near.best != NULL)
		fprintf(stderr, ": did you mean %s?\n", near.best);
	else
		fprintf(stderr, ": see paddock %s%s--help\n", group, *group == '\0' ? "" : " ");
	return CLI_USAGE;
}

static int run(const struct cli_command *command, int argc, char *const *argv)
{
	struct cli c = { 0 };
	struct pk_opt rows[CLI_OPTS_MAX];
	struct pk_cmd cmd;
	char name[NAME_BYTES];
	struct pk_err err = PK_ERR_INIT;
	struct pk_buf text = PK_BUF_INIT;
	int status = CLI_OK;

	cli_command_describe(command, rows, name, sizeof(name), &cmd);
	if (command->own_run != NULL)
		return command->own_run(name, argc, argv);
	c.command = name;
	c.set.if_version = -1; /* for commands that do not take the option */
	pk_opt_defaults(cmd.opts, cmd.opts_count, &c.set);
	int rc = pk_cmd_parse(&cmd, argc, argv, &c.set, &c.args, &err);
	if (rc < 0) {
		status = cli_fail(&c, CLI_USAGE, "%s", err.text);
	} else if (rc == PK_CMD_HELP) {
		pk_cmd_help(&cmd, &text);
		fputs(pk_buf_str(&text), stdout);
	} else if (rc == PK_CMD_VERSION) {
		printf("paddock %s\n", PADDOCK_VERSION);
	} else {
		pk_log_setup(c.set.verbose ? PK_LOG_DEBUG : PK_LOG_ERROR, PK_LOG_TEXT);
		status = command->run(&c);
		if (fflush(stdout) != 0 && status == CLI_OK)
			status = cli_fail(&c, CLI_FAILED, "standard output: %s", strerror(errno));
	}
	pk_buf_release(&text);
	pk_strs_release(&c.args);
	pk_opt_release(cmd.opts, cmd.opts_count, &c.set);
	return status;
}

int main(int argc, char **argv)
{
	const struct cli_command *best = NULL;
	int words = 0;

	for (size_t i = 0; i < cli_command_count; i++) {
		int n = words_of(cli_commands[i].name, argc, argv);

		if (n > words) {
			words = n;
			best = &cli_commands[i];
		}
	}
	if (best != NULL)
		return run(best, argc - words, argv + words);
	if (argc < 2) {
		overview(stderr, "");
		return CLI_USAGE;
	}
	if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "version") == 0) {
		printf("paddock %s\n", PADDOCK_VERSION);
		return CLI_OK;
	}
	bool help = strcmp(argv[1], "help") == 0 || strcmp(argv[1], "-h") == 0 ||
		    strcmp(argv[1], "--help") == 0;
	if (help) {
		overview(stdout, "");
		return CLI_OK;
	}
	if (!is_group(argv[1]))
		return unknown("", argv[1]);
	if (argc < 3 || strcmp(argv[2], "-h") == 0 || strcmp(argv[2], "--help") == 0 ||
	    strcmp(argv[2], "help") == 0) {
		overview(argc < 3 ? stderr : stdout, argv[1]);
		return argc < 3 ? CLI_USAGE : CLI_OK;
	}
	return unknown(argv[1], argv[2]);
}
