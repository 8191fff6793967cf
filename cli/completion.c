/*
 * paddock completion SHELL: a script for the shell, made from the tables of commands and options.
 */
#include <stdio.h>

#include "cli/bench_io.h"
#include "cli/cmd.h"

#define NAME_BYTES 64

struct described {
	struct pk_opt rows[CLI_OPTS_MAX];
	struct pk_cmd cmd;
	char name[NAME_BYTES];
};

static const struct pk_cmd *describe(struct described *d, size_t i)
{
	cli_command_describe(&cli_commands[i], d->rows, d->name, sizeof(d->name), &d->cmd);
	return &d->cmd;
}

/* In single quotes, the same for all three shells: an apostrophe in it is made a typographic one.
 */
static void quoted(const char *text, size_t len)
{
	putchar('\'');
	for (size_t i = 0; i < len; i++) {
		if (text[i] == '\'')
			fputs("\u2019", stdout);
		else if (text[i] != '\\')
			putchar(text[i]);
	}
	putchar('\'');
}

/* The words that may follow `group`: "" or "zk". */
static void words(const char *group)
{
	size_t len = strlen(group);

	for (size_t i = 0; i < cli_command_count; i++) {
		const char *name = cli_commands[i].name;

		if (len == 0 && strchr(name, ' ') == NULL)
			printf("%s ", name);
		else if (len > 0 && strncmp(name, group, len) == 0 && name[len] == ' ')
			printf("%s ", name + len + 1);
	}
	if (len == 0)
		printf("zk");
}

/* The words that a command's arguments are chosen from, each with a blank before it. */
static bool has_arguments(const char *name)
{
	return strcmp(name, "completion") == 0 || strcmp(name, "bench") == 0;
}

static void arguments(const char *name)
{
	if (strcmp(name, "completion") == 0)
		printf(" bash zsh fish");
	for (size_t i = 0; strcmp(name, "bench") == 0 && i < bench_row_count(); i++)
		printf(" %s", bench_row_name(i));
}

static void bash(void)
{
	struct described d;

	printf("# bash completion for paddock, made by: paddock completion bash\n"
	       "_paddock() {\n"
	       "\tlocal cur=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]} words=\n"
	       "\tif [ \"$COMP_CWORD\" -gt 2 ] && [ \"$command\" = zk ]; then\n"
	       "\t\tcommand=\"zk ${COMP_WORDS[2]}\"\n"
	       "\telif [ \"$COMP_CWORD\" = 1 ]; then\n"
	       "\t\tcommand=\n"
	       "\tfi\n"
	       "\tcase $command in\n"
	       "\t'') words='");
	words("");
	printf(" --help --version' ;;\n\tzk) words='");
	words("zk");
	printf(" --help' ;;\n");
	for (size_t i = 0; i < cli_command_count; i++) {
		const struct pk_cmd *cmd = describe(&d, i);

		printf("\t'%s') words='", cli_commands[i].name);
		for (size_t k = 0; k < cmd->opts_count; k++)
			printf("--%s ", cmd->opts[k].name);
		printf("--help");
		arguments(cli_commands[i].name);
		printf("' ;;\n");
	}
	printf("\tesac\n"
	       "\tmapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
	       "\tif [ ${#COMPREPLY[@]} = 0 ] && [[ $cur != -* ]]; then compopt -o default "
	       "2>/dev/null; "
	       "fi\n"
	       "\treturn 0\n"
	       "}\n"
	       "complete -F _paddock paddock\n");
}

static void zsh_list(const char *group)
{
	size_t len = strlen(group);

	for (size_t i = 0; i < cli_command_count; i++) {
		const struct cli_command *c = &cli_commands[i];
		bool in = len == 0 ? strchr(c->name, ' ') == NULL
				   : strncmp(c->name, group, len) == 0 && c->name[len] == ' ';
		char text[256];

		if (!in)
			continue;
		snprintf(text, sizeof(text), "%s:%.*s", c->name + (len > 0 ? len + 1 : 0),
			 (int)cli_sentence(cli_command_about(c)), cli_command_about(c));
		printf("\t\t");
		quoted(text, strlen(text));
		putchar('\n');
	}
}

static void zsh(void)
{
	struct described d;

	printf("#compdef paddock\n# zsh completion for paddock, made by: paddock completion zsh\n"
	       "_paddock() {\n\tlocal -a commands zk\n\tcommands=(\n");
	zsh_list("");
	printf("\t\t'zk:Reads, writes and watches nodes'\n\t)\n\tzk=(\n");
	zsh_list("zk");
	printf("\t)\n"
	       "\tif (( CURRENT == 2 )); then _describe command commands; return; fi\n"
	       "\tif (( CURRENT == 3 )) && [[ $words[2] == zk ]]; then _describe command zk; "
	       "return; fi\n"
	       "\tlocal command=$words[2]\n"
	       "\tif [[ $command == zk ]]; then command=\"zk $words[3]\"; shift words; (( "
	       "CURRENT-- )); fi\n"
	       "\tshift words; (( CURRENT-- ))\n"
	       "\tcase $command in\n");
	for (size_t i = 0; i < cli_command_count; i++) {
		const struct pk_cmd *cmd = describe(&d, i);

		printf("\t'%s') _arguments", cli_commands[i].name);
		for (size_t k = 0; k < cmd->opts_count; k++) {
			char text[512];
			const struct pk_opt *o = &cmd->opts[k];

			snprintf(text, sizeof(text), "--%s%s[%.*s]%s", o->name,
				 o->type == PK_OPT_BOOL ? "" : "=", (int)cli_sentence(o->help),
				 o->help, o->type == PK_OPT_BOOL ? "" : ":value:_files");
			printf(" \\\n\t\t");
			quoted(text, strlen(text));
		}
		printf(" '*:argument:");
		if (!has_arguments(cli_commands[i].name)) {
			printf("_files' ;;\n");
			continue;
		}
		putchar('(');
		arguments(cli_commands[i].name);
		printf(")' ;;\n");
	}
	printf("\tesac\n}\n_paddock \"$@\"\n");
}

static void fish(void)
{
	struct described d;

	printf("# fish completion for paddock, made by: paddock completion fish\n"
	       "complete -c paddock -f -n __fish_use_subcommand -a zk -d 'Reads, writes and "
	       "watches "
	       "nodes'\n");
	for (size_t i = 0; i < cli_command_count; i++) {
		const struct pk_cmd *cmd = describe(&d, i);
		const char *blank = strchr(cli_commands[i].name, ' ');
		const char *leaf = blank != NULL ? blank + 1 : cli_commands[i].name;
		char when[160];

		if (blank == NULL)
			snprintf(when, sizeof(when), "__fish_seen_subcommand_from %s", leaf);
		else
			snprintf(when, sizeof(when),
				 "__fish_seen_subcommand_from zk; and __fish_seen_subcommand_from "
				 "%s",
				 leaf);
		if (blank == NULL)
			printf("complete -c paddock -f -n __fish_use_subcommand -a %s -d ", leaf);
		else
			printf("complete -c paddock -f -n '__fish_seen_subcommand_from zk' -a %s "
			       "-d ",
			       leaf);
		quoted(cmd->about, cli_sentence(cmd->about));
		putchar('\n');
		if (has_arguments(cli_commands[i].name)) {
			printf("complete -c paddock -f -n '%s' -a '", when);
			arguments(cli_commands[i].name);
			printf("'\n");
		}
		for (size_t k = 0; k < cmd->opts_count; k++) {
			const struct pk_opt *o = &cmd->opts[k];

			printf("complete -c paddock -n '%s' -l %s ", when, o->name);
			if (o->letter != 0)
				printf("-s %c ", o->letter);
			printf("%s-d ", o->type == PK_OPT_BOOL ? "" : "-r ");
			quoted(o->help, cli_sentence(o->help));
			putchar('\n');
		}
	}
}

int cmd_completion(const struct cli *c)
{
	static const struct {
		const char *name;
		void (*print)(void);
	} shells[] = { { "bash", bash }, { "zsh", zsh }, { "fish", fish } };

	for (size_t i = 0; i < PK_COUNT(shells); i++) {
		if (strcmp(c->args.items[0], shells[i].name) == 0) {
			shells[i].print();
			return CLI_OK;
		}
	}
	return cli_fail(c, CLI_USAGE, "%s: known shells are bash, zsh, fish", c->args.items[0]);
}
