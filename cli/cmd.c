#include "cli/cmd.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/bench_io.h"

enum {
	OPT_NONE,
#define OPT(ident, letter, field, name, type, dflt, least, most, unit, group, help) OPT_##ident,
#include "cli/options.tbl"
#undef OPT
};

static const struct pk_opt all_opts[] = {
#define OPT(ident, letter_, field, name, type, dflt, least, most, unit, group, help)               \
	[OPT_##ident] = { name,   PK_OPT_##type, dflt,                                             \
			  least,  most,          unit,                                             \
			  group,  help,          offsetof(struct cli_settings, field),             \
			  letter_ },
#include "cli/options.tbl"
#undef OPT
};

#define O(ident) OPT_##ident
const struct cli_command cli_commands[] = {
#define CMD(name, run, args, least, most, about, ...)                                              \
	{ name, run, args, least, most, about, { __VA_ARGS__ }, NULL, NULL },
#define CMD_OWN(name, run, cmd) { name, NULL, NULL, 0, 0, NULL, { OPT_NONE }, &(cmd), run },
#include "cli/commands.tbl"
#undef CMD
#undef CMD_OWN
};
const size_t cli_command_count = PK_COUNT(cli_commands);

void cli_command_describe(const struct cli_command *command, struct pk_opt *rows, char *name,
			  size_t name_bytes, struct pk_cmd *cmd)
{
	size_t count = 0;

	if (command->own != NULL) {
		snprintf(name, name_bytes, "paddock %s", command->name);
		*cmd = *command->own;
		cmd->name = name;
		return;
	}
	for (; command->opts[count] != OPT_NONE; count++) {
		PK_ASSERT(count < CLI_OPTS_MAX);
		rows[count] = all_opts[command->opts[count]];
	}
	snprintf(name, name_bytes, "paddock %s", command->name);
	*cmd = (struct pk_cmd){
		.name = name,
		.args = command->args,
		.about = command->about,
		.opts = rows,
		.opts_count = count,
		.args_least = command->args_least,
		.args_most = command->args_most,
	};
}

const char *cli_command_about(const struct cli_command *command)
{
	return command->own != NULL ? command->own->about : command->about;
}

size_t cli_sentence(const char *text)
{
	size_t len = 0;

	for (; text[len] != '\0'; len++) {
		bool ends = text[len + 1] == ' ' || text[len + 1] == '\0';

		if (text[len] == ';' || ((text[len] == '.' || text[len] == ':') && ends))
			break;
	}
	return len;
}

int cli_fail(const struct cli *c, int status, const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fprintf(stderr, "%s: ", c->command);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return status;
}

const char *cli_colour(const struct cli *c, enum cli_colour colour)
{
	static const char *const codes[] = {
		[CLI_PLAIN] = "\033[0m",   [CLI_BOLD] = "\033[1m",   [CLI_DIM] = "\033[2m",
		[CLI_RED] = "\033[31m",    [CLI_GREEN] = "\033[32m", [CLI_YELLOW] = "\033[33m",
		[CLI_BLUE] = "\033[1;34m",
	};
	static const int always = 1, never = 2; /* of "auto|always|never" */
	const char *term = getenv("TERM");

	if (c->set.colour == never)
		return "";
	if (c->set.colour != always && (isatty(STDOUT_FILENO) != 1 || getenv("NO_COLOR") != NULL ||
					term == NULL || strcmp(term, "dumb") == 0))
		return "";
	return codes[colour];
}
