/*
 * paddock up, status and down.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/cluster_io.h"
#include "cli/cmd.h"
#include "cli/local_io.h"
#include "zkproto/client_io.h"

#define POLL_MS       50
#define ASK_MS        1000
#define KILL_AFTER_MS 15000
#define LOG_TAIL      1500
#define MAKE_TRIES    5

/* ---- waiting until it serves ---- */

static void on_timer(void *owner)
{
	bool *due = owner;

	*due = true;
}

void local_pause(struct net_loop *l, int64_t ms)
{
	bool due = false;
	struct net_timer *t = net_timer_new(l, on_timer, &due);

	net_timer_start(t, ms, 0);
	while (!due)
		net_loop_turn(l, true);
	net_timer_free(t);
}

struct probe {
	bool done;
	int32_t err;
};

static void on_synced(void *owner, const struct zkc_result *r)
{
	struct probe *p = owner;

	p->done = true;
	p->err = r->err;
}

/* A session and a sync: what clients will want. */
static bool takes_sessions(const struct cluster *c, struct net_loop *l, int64_t timeout_ms)
{
	struct pk_buf servers = PK_BUF_INIT;
	struct pk_err err = PK_ERR_INIT;
	struct probe p = { 0 };
	bool late = false;
	struct net_timer *t = net_timer_new(l, on_timer, &late);
	struct zkc_info info = { 0 };

	cluster_connect_string(c, &servers);
	struct zkc_io *io = zkc_io_new(
		l, &(struct zkc_io_config){ .servers = pk_buf_str(&servers) }, &err);
	PK_ASSERT(io != NULL); /* we wrote the string */
	zkc_sync(zkc_io_client(io), pk_bytes_str("/"), on_synced, &p);
	net_timer_start(t, timeout_ms > 0 ? timeout_ms : 1, 0);
	while (!late && !p.done)
		net_loop_turn(l, true);
	zkc_close(zkc_io_client(io));
	do
		zkc_info(zkc_io_client(io), &info);
	while (!late && info.state != ZKC_CLOSED && net_loop_turn(l, true));
	zkc_io_free(io);
	net_loop_turn(l, false); /* its stream closes */
	net_timer_free(t);
	pk_buf_release(&servers);
	return p.done && p.err == ZK_OK;
}

static void progress(bool tty, const struct health *h, size_t running, double seconds)
{
	if (tty)
		fprintf(stderr, "\r\033[K%zu of %zu servers run, %zu serve%s  %.1f s", running,
			h->count, h->serving, h->leader >= 0 ? ", one leads" : "", seconds);
}

int local_wait(struct cluster *c, struct net_loop *l, int64_t timeout_ms, bool quiet,
	       struct pk_err *err)
{
	struct health h = { 0 };
	bool tty = !quiet && isatty(STDERR_FILENO) == 1;
	int64_t begin_us = net_now_fresh_us();
	int64_t end_us = begin_us + timeout_ms * 1000;
	int rc = PK_EAGAIN;

	cluster_health_targets(c, &h);
	while (rc == PK_EAGAIN) {
		health_ask(&h, l, NULL, ASK_MS);
		progress(tty, &h, cluster_running(c),
			 (double)(net_now_fresh_us() - begin_us) / 1e6);
		for (size_t i = 0; i < c->count; i++) {
			const struct cluster_server *s = &c->servers[i];

			if (s->ended)
				rc = pk_err_set(err, PK_EIO,
						"server %d ended with %s %lld; its log says:",
						s->id, s->term_signal != 0 ? "signal" : "status",
						s->term_signal != 0 ? (long long)s->term_signal
								    : (long long)s->exit_status);
		}
		if (rc != PK_EAGAIN)
			break;
		int64_t left_ms = (end_us - net_now_fresh_us()) / 1000;
		if (h.verdict == HEALTH_OK && takes_sessions(c, l, left_ms))
			rc = 0;
		else if (left_ms <= 0)
			rc = pk_err_set(err, PK_ETIMEDOUT, "it does not serve after %lld s: %s",
					(long long)(timeout_ms / 1000), h.why);
		else
			local_pause(l, POLL_MS);
	}
	if (tty)
		fputs("\r\033[K", stderr);
	return rc;
}

void local_show_logs(const struct cluster *c, bool only_ended)
{
	for (size_t i = 0; i < c->count; i++) {
		struct pk_buf tail = PK_BUF_INIT;

		if (only_ended && !c->servers[i].ended)
			continue;
		cluster_log_tail(c, i, LOG_TAIL, &tail);
		fprintf(stderr, "--- %s/server.%d/log\n%s", c->dir, c->servers[i].id,
			pk_buf_str(&tail));
		pk_buf_release(&tail);
	}
}

/* ---- up ---- */

static void say_ready(const struct cli *cli, const struct cluster *c, bool was_up, double seconds)
{
	struct pk_buf servers = PK_BUF_INIT;
	const char *bold = cli_colour(cli, CLI_BOLD), *plain = cli_colour(cli, CLI_PLAIN);

	cluster_connect_string(c, &servers);
	if (was_up)
		printf("%zu server%s already up and serving, in %s\n", c->count,
		       c->count == 1 ? " is" : "s are", c->dir);
	else
		printf("%zu server%s up and serving after %.1f s, in %s\n", c->count,
		       c->count == 1 ? " is" : "s are", seconds, c->dir);
	printf("connect to  %s%s%s\n", bold, pk_buf_str(&servers), plain);
	printf("try         paddock zk create /hello world && paddock zk get /hello\n"
	       "            zkCli.sh -server %s\n"
	       "            paddock status; paddock down\n",
	       pk_buf_str(&servers));
	pk_buf_release(&servers);
}

int local_up(struct cluster *c, struct net_loop *l, const char *store, int64_t timeout_ms,
	     size_t *started, struct pk_err *err)
{
	int rc = 0;

	*started = 0;
	for (size_t i = 0; rc == 0 && i < c->count; i++) {
		if (proc_alive(&c->servers[i].proc))
			continue;
		rc = cluster_start(c, i, store, l, err);
		*started += rc == 0;
		if (rc == 0)
			rc = cluster_save(c, err); /* each at once: nothing may run unknown */
	}
	return rc == 0 ? local_wait(c, l, timeout_ms, false, err) : rc;
}

static bool port_was_taken(const struct cluster *c)
{
	bool taken = false;

	for (size_t i = 0; i < c->count; i++) {
		struct pk_buf tail = PK_BUF_INIT;

		if (c->servers[i].ended)
			cluster_log_tail(c, i, LOG_TAIL, &tail);
		taken = taken || strstr(pk_buf_str(&tail), "address already in use") != NULL;
		pk_buf_release(&tail);
	}
	return taken;
}

int local_make(struct cluster *c, struct net_loop *l, const char *store,
	       const struct cli_settings *set, int64_t timeout_ms, size_t *started,
	       struct pk_err *err)
{
	for (int tries = 1;; tries++) {
		int rc = cluster_make(c, (size_t)set->count, set->base_port, &set->set, err);

		if (rc == 0)
			rc = local_up(c, l, store, timeout_ms, started, err);
		/* Ports are looked at before they are used: somebody may come between. */
		if (rc != PK_EIO || set->base_port != 0 || tries == MAKE_TRIES ||
		    !port_was_taken(c))
			return rc;
		pk_ignore(cluster_stop(c, 0, c->count, KILL_AFTER_MS), "all are gone now");
		/* with the data: they remember each other's ports */
		rc = cluster_remove_servers(c, err);
		cluster_forget(c);
		if (rc != 0)
			return rc;
	}
}

/* Opens the cluster in the folder asked for. *found tells whether there is one. */
static int open_cluster(const struct cli *cli, struct cluster *c, bool lock, bool *found,
			struct pk_err *err)
{
	char *dir = NULL;
	int rc = cluster_dir(cli->set.dir, &dir, err);

	*found = false;
	if (rc != 0)
		return rc;
	c->dir = dir;
	if (lock)
		rc = cluster_lock(c, err);
	if (rc == 0) {
		rc = cluster_load(c, pk_strdup(c->dir), err);
		*found = rc == 0;
		if (rc == PK_ENOENT)
			rc = 0;
	}
	return rc;
}

int cmd_up(const struct cli *cli)
{
	struct cluster c = CLUSTER_INIT;
	struct pk_err err = PK_ERR_INIT;
	struct net_loop *l = net_loop_new(&err);
	int64_t begin_us = net_now_fresh_us();
	int64_t timeout_ms = cli->set.timeout_ms > 30000 ? cli->set.timeout_ms : 30000;
	char *store = NULL;
	size_t started = 0;
	bool found = false;
	int status = CLI_OK;
	int rc = l != NULL ? cluster_find_store(&store, &err) : err.code;

	if (rc == 0)
		rc = open_cluster(cli, &c, true, &found, &err);
	if (rc == 0 && !found)
		rc = local_make(&c, l, store, &cli->set, timeout_ms, &started, &err);
	else if (rc == 0 && cli->set.set.count > 0)
		rc = pk_err_set(&err, PK_EEXIST,
				"the cluster in %s exists already: change its server.N/zoo.cfg, "
				"or remove it with paddock down --wipe",
				c.dir);
	if (rc == 0 && found && (size_t)cli->set.count != c.count && cli->set.count != 3)
		rc = pk_err_set(&err, PK_EEXIST,
				"the cluster in %s has %zu servers: remove it with paddock down "
				"--wipe, or give another --dir",
				c.dir, c.count);
	if (rc == 0 && found)
		rc = local_up(&c, l, store, timeout_ms, &started, &err);
	if (rc == 0) {
		say_ready(cli, &c, started == 0, (double)(net_now_fresh_us() - begin_us) / 1e6);
	} else {
		status = cli_fail(cli, rc == PK_ETIMEDOUT ? CLI_NO_ANSWER : CLI_FAILED, "%s",
				  err.text);
		if (started > 0)
			local_show_logs(&c, rc != PK_ETIMEDOUT);
		if (started > 0 && !found) { /* a new cluster that never served: leave nothing */
			pk_ignore(cluster_stop(&c, 0, c.count, KILL_AFTER_MS), "all are gone now");
			pk_ignore(cluster_wipe(&c, &err), "the error above matters more");
		}
	}
	cluster_release(&c);
	free(store);
	if (l != NULL)
		net_loop_free(l);
	return status;
}

/* ---- down ---- */

int cmd_down(const struct cli *cli)
{
	struct cluster c = CLUSTER_INIT;
	struct pk_err err = PK_ERR_INIT;
	bool found = false;
	char *dir = NULL;
	int rc = cluster_dir(cli->set.dir, &dir, &err);

	/* no folder, no cluster: do not make one only to lock it */
	if (rc == 0 && access(dir, F_OK) == 0)
		rc = open_cluster(cli, &c, true, &found, &err);
	if (rc != 0 || !found) {
		int status = rc != 0 ? cli_fail(cli, CLI_FAILED, "%s", err.text)
				     : cli_fail(cli, CLI_NO_CLUSTER, "there is no cluster in %s",
						dir);

		cluster_release(&c);
		free(dir);
		return status;
	}
	free(dir);
	size_t running = cluster_running(&c);
	int64_t begin_us = net_now_fresh_us();
	size_t killed = cluster_stop(&c, 0, c.count, KILL_AFTER_MS);

	rc = cluster_save(&c, &err);
	if (running == 0)
		printf("none of its %zu servers was running\n", c.count);
	else
		printf("%zu server%s stopped in %.1f s\n", running, running == 1 ? "" : "s",
		       (double)(net_now_fresh_us() - begin_us) / 1e6);
	if (killed > 0)
		printf("%zu did not stop within %d s and had to be killed\n", killed,
		       KILL_AFTER_MS / 1000);
	if (rc == 0 && cli->set.wipe) {
		rc = cluster_wipe(&c, &err);
		if (rc == 0)
			printf("deleted %s\n", c.dir);
	} else if (rc == 0) {
		printf("its data stay in %s; paddock up goes on from there\n", c.dir);
	}
	int status = rc == 0 ? CLI_OK : cli_fail(cli, CLI_FAILED, "%s", err.text);
	cluster_release(&c);
	return status;
}

/* ---- status ---- */

static const char *const verdict_names[] = {
	[HEALTH_OK] = "ok",
	[HEALTH_DEGRADED] = "degraded",
	[HEALTH_DOWN] = "down",
};

static void set_number(json_t *o, const char *key, int64_t v)
{
	json_object_set_new(o, key, v >= 0 ? json_integer(v) : json_null());
}

static void status_json(const struct health *h, const struct cluster *c)
{
	json_t *list = json_array();
	char zxid[32];

	for (size_t i = 0; i < h->count; i++) {
		const struct server_health *s = &h->servers[i];
		json_t *o = json_object();

		if (c != NULL) {
			json_object_set_new(o, "id", json_integer(c->servers[i].id));
			json_object_set_new(o, "pid",
					    proc_alive(&c->servers[i].proc)
						    ? json_integer(c->servers[i].proc.pid)
						    : json_null());
			json_object_set_new(o, "admin_port",
					    json_integer(c->servers[i].admin_port));
			json_object_set_new(o, "metrics_port",
					    json_integer(c->servers[i].metrics_port));
		}
		json_object_set_new(o, "host", json_string(s->host));
		json_object_set_new(o, "port", json_integer(s->port));
		json_object_set_new(o, "answers", json_boolean(s->answers));
		json_object_set_new(o, "serving", json_boolean(s->serving));
		json_object_set_new(o, "mode",
				    s->mode[0] != '\0' ? json_string(s->mode) : json_null());
		json_object_set_new(o, "version",
				    s->version[0] != '\0' ? json_string(s->version) : json_null());
		snprintf(zxid, sizeof(zxid), "0x%" PRIx64, (uint64_t)s->zxid);
		json_object_set_new(o, "zxid", s->serving ? json_string(zxid) : json_null());
		set_number(o, "lag", s->lag);
		set_number(o, "sessions", s->sessions);
		set_number(o, "connections", s->connections);
		set_number(o, "znodes", s->znodes);
		set_number(o, "ephemerals", s->ephemerals);
		set_number(o, "watches", s->watches);
		set_number(o, "data_bytes", s->data_bytes);
		set_number(o, "outstanding", s->outstanding);
		set_number(o, "open_files", s->fds);
		set_number(o, "uptime_ms", s->uptime_ms);
		json_object_set_new(o, "latency_avg_ms",
				    s->latency_avg_ms >= 0 ? json_real(s->latency_avg_ms)
							   : json_null());
		json_object_set_new(o, "error",
				    s->error[0] != '\0' ? json_string(s->error) : json_null());
		json_array_append_new(list, o);
	}
	json_t *root = json_pack("{s:s, s:s, s:o, s:o}", "health", verdict_names[h->verdict],
				 "summary", h->why, "leader",
				 h->leader >= 0 && c != NULL
					 ? json_integer(c->servers[h->leader].id)
				 : h->leader >= 0 ? json_integer(h->leader)
						  : json_null(),
				 "servers", list);
	PK_ASSERT(root != NULL);
	pk_ignore(json_dumpf(root, stdout, JSON_INDENT(2)), "main looks at stdout");
	putchar('\n');
	json_decref(root);
}

static void cell(int64_t v, int width)
{
	if (v >= 0)
		printf(" %*" PRId64, width, v);
	else
		printf(" %*s", width, "-");
}

static void status_table(const struct cli *cli, const struct health *h, const struct cluster *c)
{
	static const enum cli_colour colours[] = { CLI_GREEN, CLI_YELLOW, CLI_RED };
	const char *plain = cli_colour(cli, CLI_PLAIN);

	printf("%s%-6s%s %s\n\n", cli_colour(cli, colours[h->verdict]), verdict_names[h->verdict],
	       plain, h->why);
	printf("%s%-3s %-21s %-11s %-14s %8s %8s %8s %7s %8s%s\n", cli_colour(cli, CLI_DIM),
	       c != NULL ? "id" : "#", "server", "is", "zxid", "lag", "sessions", "znodes",
	       "watches", "pid", plain);
	for (size_t i = 0; i < h->count; i++) {
		const struct server_health *s = &h->servers[i];
		char where[HEALTH_HOST_BYTES + 16], zxid[32];
		enum cli_colour colour = !s->serving           ? CLI_RED
					 : (int)i == h->leader ? CLI_GREEN
							       : CLI_PLAIN;
		int pid = c != NULL && proc_alive(&c->servers[i].proc) ? c->servers[i].proc.pid
								       : -1;

		snprintf(where, sizeof(where), strchr(s->host, ':') != NULL ? "[%s]:%u" : "%s:%u",
			 s->host, s->port);
		snprintf(zxid, sizeof(zxid), "0x%" PRIx64, (uint64_t)s->zxid);
		printf("%-3d %-21s %s%-11s%s %-14s", c != NULL ? c->servers[i].id : (int)i + 1,
		       where, cli_colour(cli, colour),
		       s->serving   ? s->mode
		       : s->answers ? "not serving"
		       : pid > 0    ? "silent"
				    : "down",
		       plain, s->serving ? zxid : "-");
		cell(s->lag, 8);
		cell(s->sessions, 8);
		cell(s->znodes, 8);
		cell(s->watches, 7);
		cell(pid, 8);
		putchar('\n');
		if (!s->serving && s->error[0] != '\0')
			printf("    %s%s%s\n", cli_colour(cli, CLI_DIM), s->error, plain);
	}
}

int cmd_status(const struct cli *cli)
{
	static const int exits[] = { CLI_OK, CLI_FAILED, CLI_NO_ANSWER };
	struct cluster c = CLUSTER_INIT;
	struct health h = { 0 };
	struct pk_err err = PK_ERR_INIT;
	struct net_loop *l = net_loop_new(&err);
	struct net_tls *tls = NULL;
	bool local = cli->set.server == NULL, found = false;
	int status = CLI_OK;
	int rc = l != NULL ? 0 : err.code;

	if (rc == 0 && local)
		rc = open_cluster(cli, &c, false, &found, &err);
	else if (rc == 0)
		rc = health_parse_servers(&h, cli->set.server, &err);
	if (rc == 0)
		rc = local_tls(cli, &tls, &err);
	if (rc != 0) {
		status = cli_fail(cli, rc == PK_EINVAL ? CLI_USAGE : CLI_FAILED, "%s", err.text);
	} else if (local && !found) {
		status = cli_fail(cli, CLI_NO_CLUSTER,
				  "there is no cluster in %s: start one with paddock up, or name "
				  "servers with --server",
				  c.dir);
	} else {
		if (local)
			cluster_health_targets(&c, &h);
		health_ask(&h, l, tls, cli->set.timeout_ms < 3000 ? cli->set.timeout_ms : 3000);
		if (cli->set.json)
			status_json(&h, local ? &c : NULL);
		else
			status_table(cli, &h, local ? &c : NULL);
		status = exits[h.verdict];
	}
	cluster_release(&c);
	net_tls_free(tls);
	if (l != NULL)
		net_loop_free(l);
	return status;
}

/* ---- TLS ---- */

int local_tls(const struct cli *cli, struct net_tls **out, struct pk_err *err)
{
	struct net_tls_opts opts = { .cert_file = cli->set.cert,
				     .key_file = cli->set.key,
				     .trust_file = cli->set.ca,
				     .no_hostname_check = cli->set.insecure,
				     .no_verify = cli->set.insecure };
	struct pk_buf password = PK_BUF_INIT;
	int rc = 0;

	*out = NULL;
	if (!cli->set.tls)
		return 0;
	if (cli->set.key_password_file != NULL) {
		rc = pk_file_read(cli->set.key_password_file, 4096, &password, err);
		while (password.len > 0 && password.data[password.len - 1] == '\n')
			password.len--;
		opts.key_password = opts.trust_password = pk_buf_str(&password);
	}
	if (rc == 0) {
		*out = net_tls_new(&opts, err);
		rc = *out != NULL ? 0 : err->code;
	}
	pk_buf_release(&password);
	return rc;
}
