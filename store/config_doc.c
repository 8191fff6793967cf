#include "store/config_table.h"

#include <inttypes.h>

/* Text into a cell of a Markdown table. */
static void cell(struct pk_buf *out, const char *text)
{
	for (; *text != '\0'; text++) {
		if (*text == '|')
			pk_buf_add_str(out, "\\|");
		else if (*text == '<')
			pk_buf_add_str(out, "&lt;");
		else
			pk_buf_add(out, text, 1);
	}
}

static void alias_names(struct pk_buf *out, const char *row)
{
	for (size_t i = 0; i < config_aliases_count; i++) {
		if (strcmp(config_aliases[i].row, row) == 0)
			pk_buf_printf(out, " (also `%s`)", config_aliases[i].name);
	}
}

static void honoured(struct pk_buf *out, const char *group)
{
	bool begun = false;

	for (size_t i = 0; i < store_options_count; i++) {
		const struct pk_opt *row = &store_options[i];
		struct pk_buf allowed = PK_BUF_INIT;

		if (strcmp(row->group, group) != 0)
			continue;
		if (!begun)
			pk_buf_add_str(out, "\n| key | default | allowed | meaning |\n"
					    "| --- | --- | --- | --- |\n");
		begun = true;
		pk_buf_printf(out, "| `%s`", row->name);
		alias_names(out, row->name);
		pk_buf_add_str(out, " | ");
		if (row->dflt != NULL && *row->dflt != '\0')
			pk_buf_printf(out, "`%s`", row->dflt);
		pk_buf_add_str(out, " | ");
		if (row->type == PK_OPT_STRING || row->type == PK_OPT_LIST)
			pk_buf_add_str(&allowed, row->unit[0] != '\0' ? row->unit : "text");
		else
			pk_opt_format_allowed(row, &allowed);
		cell(out, pk_buf_str(&allowed));
		pk_buf_add_str(out, " | ");
		cell(out, row->help);
		pk_buf_add_str(out, " |\n");
		pk_buf_release(&allowed);
	}
}

static void others(struct pk_buf *out, const char *group, bool refused)
{
	bool begun = false;

	for (size_t i = 0; i < config_others_count; i++) {
		const struct config_other *o = &config_others[i];

		if (strcmp(o->group, group) != 0 || (o->fine != NULL) != refused)
			continue;
		if (!begun)
			pk_buf_add_str(out,
				       refused ? "\nRefused:\n\n" : "\nTaken without effect:\n\n");
		begun = true;
		pk_buf_printf(out, "- `%s`", o->name);
		alias_names(out, o->name);
		if (refused && *o->fine != '\0') {
			pk_buf_add_str(out, ", unless ");
			cell(out, o->fine);
		}
		pk_buf_add_str(out, ": ");
		cell(out, o->reason);
		pk_buf_add_str(out, ".\n");
	}
}

static const char intro[] =
	"# Configuration\n"
	"\n"
	"This page is generated from `store/options.tbl` by `make docs`; change it there.\n"
	"\n"
	"`paddock-store CONFIG` reads a ZooKeeper 3.8 `zoo.cfg` as it is. Every key that ZooKeeper "
	"documents is in one of three lists below: honoured, taken without effect (a line in the "
	"log "
	"says why), or refused (the server does not start and says what to use instead). Keys that "
	"ZooKeeper takes as Java system properties may stand in the file, plainly or with their "
	"prefix `zookeeper.`. An unknown key is ignored with a warning that names the nearest "
	"known "
	"one. A key given twice counts as last written, with a warning. Our own keys begin with "
	"`paddock.`.\n"
	"\n"
	"Last wins: the default, the file and its `dynamicConfigFile`, the environment, the flag "
	"`--set key=value`. In the environment a key is `PADDOCK_` and its name in capitals, with "
	"`_` for dots and dashes: `PADDOCK_TICKTIME=2000`, `PADDOCK_ADMIN_SERVERPORT=8081`, "
	"`PADDOCK_SERVER_1=...`; keys of our own drop their prefix: `PADDOCK_LOGLEVEL=debug`.\n"
	"\n"
	"The file has the form of Java properties: `#` and `!` begin comments, `=`, `:` or a blank "
	"ends a key, a backslash at the end of a line joins it with the next, `\\uXXXX` and the "
	"usual "
	"escapes are known (so a backslash in a value is written twice). Durations are in "
	"milliseconds or end in `ms`, `s`, `m` or `h`; sizes are in bytes or end in `KiB`, `MiB` "
	"or "
	"`GiB`.\n"
	"\n"
	"## The servers\n"
	"\n"
	"```\n"
	"server.1=HOST:PEER-PORT:ELECTION-PORT[:participant|:observer][;[CLIENT-HOST:]CLIENT-PORT]"
	"\n"
	"server.2=[2001:db8::2]:2888:3888;2181\n"
	"server.3=10.0.0.3:2888:3888|10.1.0.3:2888:3888\n"
	"```\n"
	"\n"
	"The peer port is ours: all that servers say to each other goes over it. The election port "
	"is "
	"taken for compatibility and not opened. Several addresses of one server, joined by `|`, "
	"want "
	"`multiAddress.enabled=true`. The file `dataDir/myid` holds the number of this server. "
	"Lines "
	"`group.N` and `weight.N` are refused unless they give every voting server the same vote.\n"
	"\n"
	"With more than one server, servers must be able to prove who they are: either "
	"`paddock.peerKeyFile`, one key that all share, or certificates (`paddock.peerCert` and "
	"`paddock.peerCA`, or `sslQuorum=true` with the `ssl.quorum` keys). Without either, all "
	"peer "
	"addresses must be loopback ones, or the server does not start.\n"
	"\n"
	"`authProvider.N` may name ZooKeeper's SASL, x509, digest or ip provider; other Java "
	"classes "
	"are refused. `superUser.N` adds SASL administrators. Key stores of Java's own kind (JKS, "
	"BCFKS) are refused with the `keytool` command that converts them to PKCS12.\n"
	"\n"
	"## Derived times\n"
	"\n"
	"Session timeouts lie between 2 and 20 ticks unless set. Without `tickTime` a leader sends "
	"a sign of life each 50 ms; with it, each 40th of a tick, but no less than 20 and no more "
	"than 100 ms. An election is asked for after 10 of them in silence, or after one and a "
	"half when the leader's connection has closed. `paddock.heartbeatMs` and "
	"`paddock.electionTimeoutMs` set both directly.\n";

void store_config_markdown(struct pk_buf *out)
{
	const char *group = "";

	pk_buf_add_str(out, intro);
	for (size_t i = 0; i < store_options_count; i++) {
		if (strcmp(group, store_options[i].group) == 0)
			continue;
		group = store_options[i].group;
		pk_buf_printf(out, "\n## %s\n", group);
		honoured(out, group);
		others(out, group, true);
		others(out, group, false);
	}
}

void store_config_words(struct pk_buf *out)
{
	for (size_t i = 0; i < store_options_count; i++)
		pk_buf_printf(out, "%s\n", store_options[i].name);
}
