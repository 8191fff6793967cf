#include "store/commands_io.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>
#include <uthash.h>

#include "store/admin_io.h"
#include "store/commands_int.h"
#include "store/metrics.h"
#include "store/metrics_io.h"
#include "zkproto/record.h"

#define DIR_DEPTH_MAX 8

/* ---- figures ---- */

bool command_running(const struct commands *c)
{
	return server_serving(c->cfg.server) || server_read_only(c->cfg.server);
}

/* What the members say; the file only knew how it began. */
static bool observes(const struct commands *c)
{
	struct raft_member all[RAFT_NODE_MEMBERS_MAX];
	const struct raft_node *raft = server_raft(c->cfg.server);
	size_t count = raft != NULL ? raft_node_members(raft, all, PK_COUNT(all)) : 0;

	for (size_t i = 0; i < count && i < PK_COUNT(all); i++)
		if (all[i].id == c->cfg.id)
			return all[i].role != RAFT_NODE_VOTER;
	return c->cfg.cfg->me.observer;
}

static const char *mode_name(const struct commands *c, const struct server_stats *s)
{
	if (!c->cfg.cfg->distributed)
		return "standalone";
	if (s->read_only)
		return "read-only";
	if (s->role == RAFT_NODE_LEADER)
		return "leader";
	return observes(c) ? "observer" : "follower";
}

void command_figures(struct commands *c, struct command_figures *f)
{
	static const struct tree_meta no_tree;
	struct server_stats *s = &f->server;

	server_stats(c->cfg.server, s);
	struct tree *tree = server_tree(c->cfg.server);
	f->tree = tree != NULL ? tree_meta(tree) : &no_tree; /* being replaced */
	f->mode = mode_name(c, s);
	f->read_only = s->read_only;
	f->received = s->packets_received + c->words_received;
	f->sent = s->packets_sent + c->words_sent;
	f->connections = clients_count(c->cfg.clients);
	f->latency_min_ms = s->latency_min_us / 1000;
	f->latency_max_ms = s->latency_max_us / 1000;
	f->latency_avg_ms = 0;
	if (s->latency_count > 0) { /* four decimals, as AvgMinMaxCounter */
		double ms = (double)s->latency_sum_us / 1000 / (double)s->latency_count;

		f->latency_avg_ms = (double)(int64_t)(ms * 10000 + 0.5) / 10000;
	}
	f->uptime_ms = net_now_ms(c->cfg.loop) - s->started_ms;
	f->node_count = f->tree->nodes + 1;
}

const char *command_zab_state(const struct commands *c)
{
	struct server_stats s;

	server_stats(c->cfg.server, &s);
	if (s.leader_id == 0)
		return "election";
	return s.serving ? "broadcast" : "synchronization";
}

const char *command_peer_state(const struct commands *c)
{
	struct server_stats s;

	server_stats(c->cfg.server, &s);
	if (!c->cfg.cfg->distributed)
		return NULL;
	if (s.leader_id == 0)
		return "looking - election";
	if (s.role == RAFT_NODE_LEADER)
		return s.serving ? "leading - broadcast" : "leading - synchronization";
	if (observes(c))
		return s.serving ? "observing - broadcast" : "observing - synchronization";
	return s.serving ? "following - broadcast" : "following - synchronization";
}

static uint64_t dir_bytes(int at, const char *name, int depth)
{
	uint64_t sum = 0;
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *e;

	if (d == NULL) {
		if (fd >= 0)
			pk_ignore(close(fd), "only read");
		return 0;
	}
	while ((e = readdir(d)) != NULL) {
		struct stat st;

		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
		    fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
			continue;
		if (S_ISDIR(st.st_mode) && depth < DIR_DEPTH_MAX)
			sum += dir_bytes(fd, e->d_name, depth + 1);
		else if (S_ISREG(st.st_mode))
			sum += (uint64_t)st.st_size;
	}
	pk_ignore(closedir(d), "only read");
	return sum;
}

uint64_t command_dir_bytes(const char *path)
{
	return dir_bytes(AT_FDCWD, path, 0);
}

char *command_log_dir(const struct commands *c)
{
	const struct store_config *cfg = c->cfg.cfg;

	return pk_asprintf("%s/log", cfg->log_dir);
}

int64_t command_session_min_ms(const struct commands *c)
{
	const struct store_config *cfg = c->cfg.cfg;

	return cfg->session_timeout_min_ms >= 0 ? cfg->session_timeout_min_ms : 2 * cfg->tick_ms;
}

int64_t command_session_max_ms(const struct commands *c)
{
	const struct store_config *cfg = c->cfg.cfg;

	return cfg->session_timeout_max_ms >= 0 ? cfg->session_timeout_max_ms : 20 * cfg->tick_ms;
}

bool command_node_data(struct commands *c, const char *path, struct pk_buf *out)
{
	struct pk_buf request = PK_BUF_INIT, reply = PK_BUF_INIT;
	struct tree_read r = { .out = &reply };

	zk_wr_ustring(&request, pk_bytes_str(path));
	pk_buf_add_u8(&request, 0); /* no watch */
	tree_read(server_tree(c->cfg.server), ZK_OP_GET_DATA, pk_buf_bytes(&request), 0, NULL, 0,
		  true, COMMAND_BYTES_MAX, &r);
	bool found = r.err == 0 && reply.len >= 4;
	if (found) {
		uint32_t len = pk_get_be32(reply.data);

		if (len != UINT32_MAX && len <= reply.len - 4)
			pk_buf_add(out, reply.data + 4, len);
	}
	pk_buf_release(&request);
	pk_buf_release(&reply);
	return found;
}

void command_membership(struct commands *c, struct pk_buf *out)
{
	size_t before = out->len;

	if (!command_node_data(c, "/zookeeper/config", out) || out->len == before)
		server_set_format(&c->cfg.cfg->servers, out);
}

/* ---- connections ---- */

struct conns_each {
	command_conn_f *each;
	void *arg;
};

static void one_conn(void *arg, struct conn *conn, void *io, const struct conn_stats *stats)
{
	struct conns_each *e = arg;
	struct command_conn one = { .conn = conn, .client = io, .stats = *stats };

	command_address(client_address(io), one.address);
	one.interest = client_paused(io) ? 0 : 1;
	if (client_queued_bytes(io) > 0)
		one.interest |= 4;
	if (stats->count_latency > 0)
		one.latency_avg_ms = (int64_t)(stats->sum_latency_us / stats->count_latency / 1000);
	e->each(e->arg, &one);
}

void command_conns(struct commands *c, command_conn_f *each, void *arg)
{
	struct conns_each e = { .each = each, .arg = arg };

	server_conn_each(c->cfg.server, one_conn, &e);
}

static void reset_conn(void *arg, struct conn *conn, void *io, const struct conn_stats *stats)
{
	pk_ignore(arg, "every connection");
	pk_ignore(io, "likewise");
	pk_ignore(stats->queued, "likewise");
	conn_stats_reset(conn);
}

void command_reset_conns(struct commands *c)
{
	server_conn_each(c->cfg.server, reset_conn, NULL);
}

void command_reset_stats(struct commands *c)
{
	server_stats_reset(c->cfg.server);
	pk_metrics_reset(server_metrics(c->cfg.server));
	c->words_received = c->words_sent = 0;
}

/* ---- the environment ---- */

static const char *user_home(void)
{
	const char *home = getenv("HOME");

	return home != NULL ? home : "/";
}

void command_environment(const struct commands *c, command_property_f *each, void *arg)
{
	struct utsname un = { 0 };
	struct sysinfo si = { 0 };
	struct passwd pw, *found = NULL;
	char host[256] = "localhost", dir[4096] = "?", text[64], buf[1024];

	each(arg, "zookeeper.version", c->version);
	each(arg, "paddock.version", PADDOCK_VERSION);
	if (gethostname(host, sizeof(host) - 1) != 0)
		snprintf(host, sizeof(host), "localhost");
	each(arg, "host.name", host);
	if (uname(&un) == 0) {
		each(arg, "os.name", un.sysname);
		/* as Java names it, which tools compare */
		each(arg, "os.arch", strcmp(un.machine, "x86_64") == 0 ? "amd64" : un.machine);
		each(arg, "os.version", un.release);
	}
	if (getpwuid_r(geteuid(), &pw, buf, sizeof(buf), &found) == 0 && found != NULL) {
		each(arg, "user.name", pw.pw_name);
		each(arg, "user.home", pw.pw_dir);
	} else {
		snprintf(text, sizeof(text), "%u", (unsigned)geteuid());
		each(arg, "user.name", text);
		each(arg, "user.home", user_home());
	}
	each(arg, "user.dir", getcwd(dir, sizeof(dir)) != NULL ? dir : "?");
	if (sysinfo(&si) == 0) { /* the machine's: there is no heap of a fixed size */
		static const char *const names[] = { "os.memory.free", "os.memory.max",
						     "os.memory.total" };
		const uint64_t values[] = { si.freeram, si.totalram, si.totalram };

		for (size_t i = 0; i < PK_COUNT(names); i++) {
			snprintf(text, sizeof(text), "%" PRIu64 "MB",
				 values[i] * si.mem_unit >> 20);
			each(arg, names[i], text);
		}
	}
}

/* ---- watches ---- */

struct watching {
	UT_hash_handle hh;
	struct watcher *watcher;
};

struct watches_walk {
	struct command_watches *out;
	struct watching *sessions;
	struct pk_bytes last_path;
};

static void one_watch(void *arg, struct pk_bytes path, struct watcher *w, unsigned modes)
{
	struct watches_walk *walk = arg;
	struct command_watches *out = walk->out;
	struct watching *one_session;

	if ((modes & WATCH_OF_DATA) == 0)
		return;
	out->total++;
	if (out->total == 1 || !pk_bytes_eq(walk->last_path, path))
		out->paths++;
	walk->last_path = path;
	HASH_FIND_PTR(walk->sessions, &w, one_session);
	if (one_session == NULL) {
		one_session = pk_alloc(sizeof(*one_session));
		one_session->watcher = w;
		HASH_ADD_PTR(walk->sessions, watcher, one_session);
		out->sessions++;
	}
	if (out->summary || out->count == COMMAND_WATCHES_MAX)
		return;
	if (out->count == out->cap) {
		out->cap = out->cap > 0 ? out->cap * 2 : 64;
		out->all = pk_realloc(out->all, out->cap * sizeof(*out->all));
	}
	struct command_watch *one = &out->all[out->count++];
	one->session_id = conn_session_id(w->owner);
	one->path = path; /* borrowed while nothing is watched anew */
}

static int by_session(const void *a, const void *b)
{
	const struct command_watch *x = a, *y = b;

	if (x->session_id != y->session_id)
		return x->session_id < y->session_id ? -1 : 1;
	return pk_bytes_cmp(x->path, y->path);
}

void command_watches(struct commands *c, bool summary, struct command_watches *out)
{
	struct watches_walk walk = { .out = out };
	struct watching *one, *next;

	*out = (struct command_watches){ .summary = summary };
	watch_each(server_watches(c->cfg.server), one_watch, &walk);
	HASH_ITER (hh, walk.sessions, one, next) {
		HASH_DELETE(hh, walk.sessions, one);
		free(one);
	}
}

void command_watches_by_session(struct command_watches *w)
{
	if (w->count > 0)
		qsort(w->all, w->count, sizeof(*w->all), by_session);
}

void command_watches_release(struct command_watches *w)
{
	free(w->all);
	*w = (struct command_watches){ 0 };
}

/* ---- words ---- */

/* ZooKeeper's own scripts and clients ask the two, so its whitelist cannot leave them out. */
static bool word_allowed(const struct commands *c, enum zk_word word)
{
	return word == ZK_WORD_SRVR || (word == ZK_WORD_ISRO && c->cfg.cfg->readonly_mode) ||
	       store_config_word_allowed(c->cfg.cfg, zk_word_name(word));
}

void commands_word(struct commands *c, struct client *from, enum zk_word word, struct pk_bytes mask,
		   struct pk_buf *out)
{
	const char *name = zk_word_name(word);

	c->words_received++;
	if (!word_allowed(c, word))
		pk_buf_printf(out, "%s is not executed because it is not in the whitelist.\n",
			      name);
	else
		command_word(c, from, word, mask, out);
	c->words_sent++;
	if (out->len > COMMAND_BYTES_MAX) {
		out->len = COMMAND_BYTES_MAX;
		pk_buf_add_str(out, "\n(cut off: the answer is too long)\n");
	}
}

void commands_tick(struct commands *c)
{
	metrics_measure(c);
}

/* ---- life ---- */

static void version_make(struct commands *c)
{
	struct stat st = { 0 };
	struct tm tm;
	char when[32] = "1970-01-01 00:00";

	/* Tools read the first three numbers, and some the date: the program file's. */
	if (stat("/proc/self/exe", &st) == 0 && gmtime_r(&st.st_mtime, &tm) != NULL)
		pk_ignore(strftime(when, sizeof(when), "%F %R", &tm), "it fits");
	snprintf(c->version, sizeof(c->version), "3.8.0-paddock-%s, built on %s UTC",
		 PADDOCK_VERSION, when);
}

int commands_start(struct commands **out, const struct commands_config *cfg, struct pk_err *err)
{
	struct commands *c = pk_alloc(sizeof(*c));

	c->cfg = *cfg;
	c->trace_mask = TRACE_MASK;
	c->seen = pk_alloc(STORE_METRIC_COUNT * sizeof(*c->seen));
	version_make(c);
	int rc = admin_start(c, err);
	if (rc != 0) {
		commands_free(c);
		return rc;
	}
	*out = c;
	return 0;
}

void commands_free(struct commands *c)
{
	if (c == NULL)
		return;
	admin_stop(c);
	free(c->seen);
	free(c);
}
