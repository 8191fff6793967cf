/*
 * cli/cmd.h - what every command of paddock gets, and the table of them.
 *
 * A command is a row of commands.tbl; it takes some of the options of options.tbl, which all have
 * one place in struct cli_settings. Its function returns the process's exit status.
 */
#ifndef PK_CLI_CMD_H
#define PK_CLI_CMD_H

#include "base/opt.h"

/* Exit statuses, in the manual page. `status` gives CLI_FAILED for "serves, but not all is well".
 */
enum cli_exit {
	CLI_OK = 0,
	CLI_FAILED = 1, /* the server said no (no such node, wrong version); or something failed */
	CLI_USAGE = 2,  /* the command line makes no sense; nothing was done */
	CLI_NO_ANSWER = 3, /* no server could be reached, or the answer did not come: the outcome of
			      a write is unknown */
	CLI_DENIED =
		4, /* not permitted, or login refused; of status, up and down: no cluster there */
};
#define CLI_NO_CLUSTER CLI_DENIED

struct cli_settings {
#define OPT(ident, letter, field, name, type, dflt, least, most, unit, group, help)                \
	PK_OPT_FIELD(type, field)
#include "cli/options.tbl"
#undef OPT
};

struct cli {
	const char *command; /* "paddock zk get" */
	struct cli_settings set;
	struct pk_strs args;
};

typedef int cli_run_f(const struct cli *c);

#define CLI_OPTS_MAX 32

struct cli_command {
	const char *name; /* "zk get" */
	cli_run_f *run;
	const char *args;
	size_t args_least, args_most;
	const char *about;
	int opts[CLI_OPTS_MAX + 1]; /* indexes of cli_option + 1; 0 ends them */
	/* a command with options of its own: then it parses its command line itself */
	const struct pk_cmd *own;
	int (*own_run)(const char *program, int argc, char *const *argv);
};

extern const struct cli_command cli_commands[];
extern const size_t cli_command_count;
/* Fills *cmd and rows (room for CLI_OPTS_MAX) for base/opt; `name` must hold "paddock " and the
 * command's name. */
void cli_command_describe(const struct cli_command *command, struct pk_opt *rows, char *name,
			  size_t name_bytes, struct pk_cmd *cmd);

const char *cli_command_about(const struct cli_command *command);

/* Bytes of the first sentence of a help text, without its full stop. */
size_t cli_sentence(const char *text);

/* "paddock up: text" on standard error; returns `status`. */
int cli_fail(const struct cli *c, int status, const char *fmt, ...) PK_PRINTF(3, 4);

/* Escape sequences, or "" when there are to be no colours on that stream. */
enum cli_colour { CLI_PLAIN, CLI_BOLD, CLI_DIM, CLI_RED, CLI_GREEN, CLI_YELLOW, CLI_BLUE };
const char *cli_colour(const struct cli *c, enum cli_colour colour);

#define CMD(name, run, ...) cli_run_f run;
#define CMD_OWN(name, run, cmd)
#include "cli/commands.tbl"
#undef CMD
#undef CMD_OWN

#endif
