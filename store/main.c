/*
 * paddock-store CONFIG - one server of the store, in the foreground, until SIGTERM.
 * paddock-store recover CONFIG --yes - go on from one server when the majority is lost.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "store/kv.h"
#include "store/node_io.h"
#include "store/recover_io.h"

#define WATCHDOG_SHARE 3 /* pings within one watchdog interval */

extern char **environ;

struct options {
	struct pk_strs set;
	bool check;
	bool list_keys;
	bool yes;
};

static const struct pk_opt option_rows[] = {
	{ .name = "set",
	  .type = PK_OPT_LIST,
	  .most = 65536,
	  .unit = "KEY=VALUE",
	  .group = "Options",
	  .help = "Set a key of the configuration, over the file and the environment; may be given "
		  "often.",
	  .offset = offsetof(struct options, set) },
	{ .name = "check",
	  .type = PK_OPT_BOOL,
	  .dflt = "false",
	  .group = "Options",
	  .help = "Read the configuration, say what is wrong with it, and exit.",
	  .offset = offsetof(struct options, check) },
	{ .name = "list-keys",
	  .type = PK_OPT_BOOL,
	  .dflt = "false",
	  .group = "Options",
	  .help = "Print every key that --set and the file know, one a line.",
	  .offset = offsetof(struct options, list_keys) },
	{ .name = "yes",
	  .type = PK_OPT_BOOL,
	  .dflt = "false",
	  .group = "Options",
	  .help = "recover: do it. Without it, it only says what this server has.",
	  .offset = offsetof(struct options, yes) },
};

static const struct pk_cmd command = {
	.name = "paddock-store",
	.args = "[recover] CONFIG",
	.about = "Runs one server of the replicated znode store, which any ZooKeeper client can "
		 "use. CONFIG is a "
		 "zoo.cfg; dataDir/myid says which of its server.N lines this is. Stops on "
		 "SIGTERM; SIGHUP reads "
		 "certificates and log level again. With the word recover, on a stopped server: "
		 "when the majority is "
		 "lost for good, makes this server the only voter.",
	.opts = option_rows,
	.opts_count = PK_COUNT(option_rows),
	.args_least = 0,
	.args_most = 2,
};

struct run {
	struct net_loop *loop;
	struct node *node;
	const char *path;
	const struct options *opts;
	struct net_timer *watchdog;
	bool healed;
};

static void on_stopped(void *owner)
{
	struct run *r = owner;

	net_loop_stop(r->loop);
}

static void on_healed(void *owner)
{
	struct run *r = owner;

	r->healed = true;
	net_loop_stop(r->loop);
}

static void on_signal(void *owner, int signum)
{
	struct run *r = owner;

	if (signum == SIGHUP) {
		struct store_config fresh;
		struct pk_err err = PK_ERR_INIT;

		if (store_config_load(&fresh, r->path, environ, &r->opts->set, NULL, &err) == 0) {
			pk_log_set_level((enum pk_log_level)fresh.log_level);
			store_config_release(&fresh);
		} else {
			LOG_ERROR("config.reload", "error=\"%s\"", err.text);
		}
		node_reload(r->node);
		return;
	}
	pk_ignore(sd_notify(0, "STOPPING=1"), "no service manager, nobody to tell");
	node_stop(r->node, on_stopped, r);
}

static void on_watchdog(void *owner)
{
	pk_ignore(owner, "that the loop runs is the whole message");
	pk_ignore(sd_notify(0, "WATCHDOG=1"), "no service manager, nobody to tell");
}

/*
 * A page of the mapped state is not in its file any more, or cannot be read from the disk: SIGBUS,
 * and nothing else of ours is mapped. A damaged page led LMDB out of the map: SIGSEGV inside it. It
 * has no answer to either.
 */
static void on_bad_page(int signum)
{
	if (signum == SIGSEGV && !kv_in_pages()) {
		signal(SIGSEGV, SIG_DFL); /* ours: it happens again, and ends the process */
		return;
	}
	pk_damage_stop("state", 0, "a page of it cannot be read");
}

/* One life of a server on a loop of its own; or, with what is wrong in *damage, asking the others
 * whether that may be set aside. *damage tells what a life that could not begin found. */
static int run_once(struct run *r, const struct store_config *cfg, struct pk_err *damage)
{
	struct pk_err err = PK_ERR_INIT;
	bool asks = damage->code != 0;
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP };
	struct net_signal *handles[PK_COUNT(signals)] = { NULL };
	uint64_t watchdog_us = 0;
	int status = NODE_EXIT_OK;

	r->node = NULL;
	r->watchdog = NULL;
	r->loop = net_loop_new(&err);
	int rc = r->loop != NULL ? 0 : err.code;
	for (size_t i = 0; rc == 0 && i < PK_COUNT(signals); i++) {
		handles[i] = net_signal_on(r->loop, signals[i], on_signal, r, &err);
		rc = handles[i] != NULL ? 0 : err.code;
	}
	if (rc == 0)
		rc = asks ? node_ask(&r->node, r->loop, cfg, damage->text, on_healed, r, &err)
			  : node_start(&r->node, r->loop, cfg, &err);
	if (rc != 0) {
		LOG_ERROR(asks ? "damage.stays" : "node.start", "error=\"%s\"", err.text);
		status = rc == PK_ECORRUPT || rc == PK_EFOREIGN ? NODE_EXIT_DAMAGE
								: NODE_EXIT_START;
		if (rc == PK_ECORRUPT)
			*damage = err;
	} else {
		if (sd_watchdog_enabled(0, &watchdog_us) > 0) {
			int64_t every_ms = (int64_t)(watchdog_us / 1000 / WATCHDOG_SHARE);

			r->watchdog = net_timer_new(r->loop, on_watchdog, r);
			net_timer_start(r->watchdog, every_ms, every_ms);
		}
		/* Also while it asks: a start that waits for others would time out. */
		pk_ignore(sd_notify(0, "READY=1"), "no service manager, nobody to tell");
		net_loop_run(r->loop);
		net_timer_free(r->watchdog);
		node_free(r->node);
		if (!r->healed)
			LOG_INFO("node.stopped", "status=0");
	}
	for (size_t i = 0; i < PK_COUNT(signals); i++)
		net_signal_free(handles[i]);
	if (r->loop != NULL)
		net_loop_free(r->loop);
	return status;
}

static int run(const struct store_config *cfg, const char *path, const struct options *opts)
{
	struct run r = { .path = path, .opts = opts };
	struct pk_err damage = PK_ERR_INIT;
	int status;

	PK_ASSERT(signal(SIGBUS, on_bad_page) != SIG_ERR);
	PK_ASSERT(signal(SIGSEGV, on_bad_page) != SIG_ERR);
	do {
		damage = PK_ERR_INIT;
		r.healed = false;
		status = run_once(&r, cfg, &damage);
		if (damage.code != 0)
			status = run_once(&r, cfg, &damage);
	} while (r.healed);
	return status;
}

static int start(const struct options *opts, const char *path, bool recovering)
{
	struct store_config cfg;
	struct pk_buf notes = PK_BUF_INIT;
	struct pk_err err = PK_ERR_INIT;
	int status = NODE_EXIT_OK;

	if (store_config_load(&cfg, path, environ, &opts->set, &notes, &err) != 0) {
		fprintf(stderr, "%spaddock-store: %s\n", pk_buf_str(&notes), err.text);
		pk_buf_release(&notes);
		return NODE_EXIT_USAGE;
	}
	pk_log_setup((enum pk_log_level)cfg.log_level, (enum pk_log_format)cfg.log_format);
	/* recover speaks for itself. */
	for (char *line = notes.len > 0 && !recovering
				  ? strtok((char *)(uintptr_t)pk_buf_str(&notes), "\n")
				  : NULL;
	     line != NULL; line = strtok(NULL, "\n"))
		LOG_WARN("config.note", "text=\"%s\"", line);
	if (opts->check)
		printf("%s: the configuration is in order\n", path);
	else if (recovering)
		status = recover_run(&cfg, path, opts->yes);
	else
		status = run(&cfg, path, opts);
	pk_buf_release(&notes);
	store_config_release(&cfg);
	return status;
}

int main(int argc, char **argv)
{
	struct options opts = { 0 };
	struct pk_strs args = PK_STRS_INIT;
	struct pk_err err = PK_ERR_INIT;
	struct pk_buf text = PK_BUF_INIT;
	int status = NODE_EXIT_OK;

	pk_opt_defaults(option_rows, PK_COUNT(option_rows), &opts);
	int rc = pk_cmd_parse(&command, argc, argv, &opts, &args, &err);
	if (rc < 0) {
		fprintf(stderr, "paddock-store: %s\n", err.text);
		status = NODE_EXIT_USAGE;
	} else if (rc == PK_CMD_HELP) {
		pk_cmd_help(&command, &text);
		fputs(pk_buf_str(&text), stdout);
	} else if (rc == PK_CMD_VERSION) {
		printf("paddock-store %s\n", PADDOCK_VERSION);
	} else if (opts.list_keys) {
		store_config_words(&text);
		fputs(pk_buf_str(&text), stdout);
	} else if (args.count == 2 && strcmp(args.items[0], "recover") == 0 && !opts.check) {
		status = start(&opts, args.items[1], true);
	} else if (opts.yes) {
		fprintf(stderr, "paddock-store: --yes goes with recover: paddock-store recover "
				"CONFIG --yes\n");
		status = NODE_EXIT_USAGE;
	} else if (args.count != 1) {
		fprintf(stderr, "paddock-store: name the configuration file: paddock-store CONFIG "
				"(see --help)\n");
		status = NODE_EXIT_USAGE;
	} else {
		status = start(&opts, args.items[0], false);
	}
	pk_buf_release(&text);
	pk_strs_release(&args);
	pk_opt_release(option_rows, PK_COUNT(option_rows), &opts);
	return status;
}
