/*
 * paddock zk watch: events as they come, until interrupted.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "cli/zk_io.h"
#include "cli/zk_text.h"
#include "net/loop.h"

struct watching {
	const struct cli *c;
	int left;    /* events to come; below 0: any number */
	bool broken; /* standard output is gone */
};

static void on_event(void *owner, const struct zkc_event *e)
{
	struct watching *w = owner;
	char at[40];
	char *path = pk_strndup((const char *)e->path.data, e->path.len);

	if (e->type == ZK_EVENT_NONE || w->left == 0) {
		free(path);
		return;
	}
	if (w->c->set.json) {
		json_t *o = json_pack("{s:I, s:s, s:s}", "ts_ms", (json_int_t)net_wall_ms(),
				      "event", zk_event_name(e->type), "path", path);
		PK_ASSERT(o != NULL);
		pk_ignore(json_dumpf(o, stdout, JSON_COMPACT), "looked at below");
		putchar('\n');
		json_decref(o);
	} else {
		enum cli_colour colour = e->type == ZK_EVENT_CREATED   ? CLI_GREEN
					 : e->type == ZK_EVENT_DELETED ? CLI_RED
								       : CLI_YELLOW;
		printf("%s  %s%-19s%s %s\n", zk_time(net_wall_ms(), at), cli_colour(w->c, colour),
		       zk_event_name(e->type), cli_colour(w->c, CLI_PLAIN), path);
	}
	w->broken = fflush(stdout) != 0;
	w->left -= w->left > 0;
	free(path);
}

static void on_state(void *owner, enum zkc_state state)
{
	struct watching *w = owner;

	if (state == ZKC_CONNECTING)
		fprintf(stderr, "%s: connection lost, looking for another server\n", w->c->command);
	else if (state == ZKC_CONNECTED)
		fprintf(stderr, "%s: connected again; events meanwhile may have been missed\n",
			w->c->command);
	else if (state == ZKC_EXPIRED)
		fprintf(stderr, "%s: the session has expired\n", w->c->command);
}

int cmd_zk_watch(const struct cli *c)
{
	struct watching w = { .c = c, .left = c->set.events > 0 ? c->set.events : -1 };
	struct zk_answer a = ZK_ANSWER_INIT;
	struct zks *z = NULL;
	char *path = zks_path(c, c->args.items[0]);
	int status = path != NULL ? zks_open(&z, c) : CLI_USAGE;

	if (status == CLI_OK) {
		zkc_add_watch(zks_client(z), pk_bytes_str(path),
			      c->set.recursive ? ZK_ADD_WATCH_RECURSIVE : ZK_ADD_WATCH_PERSISTENT,
			      (struct zkc_watch){ on_event, &w }, zk_answer_take, &a);
		if (zks_wait(z, &a) != ZK_OK)
			status = zks_refused(z, path, a.err);
	}
	if (status == CLI_OK) {
		fprintf(stderr, "watching %s%s; Ctrl-C ends it\n", path,
			c->set.recursive ? " and all below" : "");
		zks_on_state(z, on_state, &w);
		while (w.left != 0 && !w.broken && zks_turn(z))
			;
		status = w.broken                            ? CLI_FAILED
			 : zks_interrupted(z) || w.left == 0 ? CLI_OK
							     : CLI_NO_ANSWER;
		zks_on_state(z, NULL, NULL);
		zkc_forget(zks_client(z), &w);
	}
	zk_answer_release(&a);
	free(path);
	return z != NULL ? zks_close(z, status) : status;
}
