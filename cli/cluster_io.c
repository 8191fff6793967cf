#include "cli/cluster_io.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/opt.h"

#define JSON_BYTES_MAX (1u << 20)
#define FORMAT         1
#define BLOCK_STEP     1000 /* between blocks of ports that are tried */
#define BLOCK_FIRST    2181
#define BLOCK_SECOND   12181
#define BLOCK_LAST     31181
#define PORT_KIND_STEP 100 /* client ports at base, peer ports at base + 100, ... */
#define STOP_POLL_MS   20
#define PROGRAM        "paddock-store"
#define LOG_BYTES_MAX  (64u << 20)

extern char **environ;

/* ---- folders ---- */

int cluster_dir(const char *dir, char **out, struct pk_err *err)
{
	const char *env = getenv("PADDOCK_DIR");
	const char *data = getenv("XDG_DATA_HOME");
	const char *home = getenv("HOME");
	char *path;

	if (dir == NULL && env != NULL && *env != '\0')
		dir = env;
	if (dir != NULL)
		path = pk_strdup(dir);
	else if (data != NULL && *data == '/')
		path = pk_asprintf("%s/paddock/cluster", data);
	else if (home != NULL && *home == '/')
		path = pk_asprintf("%s/.local/share/paddock/cluster", home);
	else
		return pk_err_set(err, PK_ENOENT, "no folder for the cluster: give --dir");
	if (*path != '/') {
		char *here = getcwd(NULL, 0);
		char *whole;

		if (here == NULL) {
			free(path);
			return pk_err_sys(err, errno, "the current folder");
		}
		whole = pk_asprintf("%s/%s", here, path);
		free(here);
		free(path);
		path = whole;
	}
	for (const char *c = path; *c != '\0'; c++) {
		if ((unsigned char)*c < ' ') {
			free(path);
			return pk_err_set(err, PK_EINVAL,
					  "the folder's name has a control character in it");
		}
	}
	*out = path;
	return 0;
}

static int make_dirs(const char *path, struct pk_err *err)
{
	char *part = pk_strdup(path);
	int rc = 0;

	for (char *c = part + 1; rc == 0; c++) {
		bool last = *c == '\0';

		if (*c != '/' && !last)
			continue;
		*c = '\0';
		if (mkdir(part, 0750) != 0 && errno != EEXIST)
			rc = pk_err_sys(err, errno, "make %s", part);
		if (last)
			break;
		*c = '/';
	}
	free(part);
	return rc;
}

static int write_file(const char *path, struct pk_bytes text, struct pk_err *err)
{
	char *tmp = pk_asprintf("%s.new", path);
	FILE *f = fopen(tmp, "we");
	int rc = 0;

	if (f == NULL) {
		rc = pk_err_sys(err, errno, "write %s", tmp);
		free(tmp);
		return rc;
	}
	if (fwrite(text.data, 1, text.len, f) != text.len || fflush(f) != 0)
		rc = pk_err_sys(err, errno, "write %s", tmp);
	if (fclose(f) != 0 && rc == 0)
		rc = pk_err_sys(err, errno, "write %s", tmp);
	if (rc == 0 && rename(tmp, path) != 0)
		rc = pk_err_sys(err, errno, "rename %s to %s", tmp, path);
	free(tmp);
	return rc;
}

/* ---- cluster.json ---- */

static int read_server(struct cluster_server *s, const json_t *from, struct pk_err *err)
{
	int client, peer, election, admin, metrics, id, pid = 0;
	json_int_t start = 0;
	const char *boot = "";
	json_error_t why;

	if (json_unpack_ex((json_t *)(uintptr_t)from, &why, 0,
			   "{s:i, s:i, s:i, s:i, s:i, s:i, s?i, s?I, s?s}", "id", &id,
			   "client_port", &client, "peer_port", &peer, "election_port", &election,
			   "admin_port", &admin, "metrics_port", &metrics, "pid", &pid,
			   "start_ticks", &start, "boot_id", &boot) != 0)
		return pk_err_set(err, PK_ECORRUPT, "%s", why.text);
	const int ports[] = { client, peer, election, admin, metrics };
	for (size_t i = 0; i < PK_COUNT(ports); i++) {
		if (ports[i] < 1 || ports[i] > 65535)
			return pk_err_set(err, PK_ECORRUPT, "port %d", ports[i]);
	}
	if (id < 1 || id > 255)
		return pk_err_set(err, PK_ECORRUPT, "server id %d", id);
	*s = (struct cluster_server){ .id = id,
				      .client_port = (uint16_t)client,
				      .peer_port = (uint16_t)peer,
				      .election_port = (uint16_t)election,
				      .admin_port = (uint16_t)admin,
				      .metrics_port = (uint16_t)metrics };
	s->proc.pid = pid;
	s->proc.start_ticks = (uint64_t)start;
	snprintf(s->proc.boot, sizeof(s->proc.boot), "%s", boot);
	return 0;
}

int cluster_load(struct cluster *c, char *dir, struct pk_err *err)
{
	char *path = pk_asprintf("%s/cluster.json", dir);
	struct pk_buf text = PK_BUF_INIT;
	json_error_t why;
	json_t *root = NULL;

	free(c->dir);
	c->dir = dir;
	int rc = pk_file_read(path, JSON_BYTES_MAX, &text, err);
	if (rc != 0)
		goto out;
	root = json_loadb((const char *)text.data, text.len, 0, &why);
	const json_t *list = json_object_get(root, "servers");
	if (root == NULL)
		rc = pk_err_set(err, PK_ECORRUPT, "%s: %s", path, why.text);
	else if (json_integer_value(json_object_get(root, "format")) != FORMAT)
		rc = pk_err_set(err, PK_ECORRUPT, "%s: written by another version of paddock",
				path);
	else if (json_array_size(list) < 1 || json_array_size(list) > CLUSTER_SERVERS_MAX)
		rc = pk_err_set(err, PK_ECORRUPT, "%s: %zu servers", path, json_array_size(list));
	c->count = 0;
	for (size_t i = 0; rc == 0 && i < json_array_size(list); i++) {
		rc = read_server(&c->servers[i], json_array_get(list, i), err);
		if (rc != 0)
			pk_ignore(pk_err_wrap(err, "%s: server %zu", path, i + 1), "rc has it");
		else
			c->count++;
	}
out:
	json_decref(root);
	pk_buf_release(&text);
	free(path);
	return rc;
}

bool cluster_exists(const struct cluster *c)
{
	char *path = pk_asprintf("%s/cluster.json", c->dir);
	bool there = access(path, F_OK) == 0;

	free(path);
	return there;
}

int cluster_save(const struct cluster *c, struct pk_err *err)
{
	json_t *list = json_array();
	char *path = pk_asprintf("%s/cluster.json", c->dir);

	for (size_t i = 0; i < c->count; i++) {
		const struct cluster_server *s = &c->servers[i];
		json_t *one = json_pack("{s:i, s:i, s:i, s:i, s:i, s:i}", "id", s->id,
					"client_port", s->client_port, "peer_port", s->peer_port,
					"election_port", s->election_port, "admin_port",
					s->admin_port, "metrics_port", s->metrics_port);
		PK_ASSERT(one != NULL);
		if (s->proc.pid != 0) {
			json_object_set_new(one, "pid", json_integer(s->proc.pid));
			json_object_set_new(one, "start_ticks",
					    json_integer((json_int_t)s->proc.start_ticks));
			json_object_set_new(one, "boot_id", json_string(s->proc.boot));
		}
		json_array_append_new(list, one);
	}
	json_t *root = json_pack("{s:i, s:o}", "format", FORMAT, "servers", list);
	PK_ASSERT(root != NULL);
	char *text = json_dumps(root, JSON_INDENT(2));
	PK_ASSERT(text != NULL);
	int rc = write_file(path, pk_bytes_str(text), err);
	free(text);
	free(path);
	json_decref(root);
	return rc;
}

int cluster_lock(struct cluster *c, struct pk_err *err)
{
	char *path = pk_asprintf("%s/lock", c->dir);
	int rc = make_dirs(c->dir, err);

	if (rc == 0) {
		c->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
		if (c->lock < 0)
			rc = pk_err_sys(err, errno, "open %s", path);
		else if (flock(c->lock, LOCK_EX | LOCK_NB) != 0)
			rc = pk_err_set(err, PK_EAGAIN, "another paddock command is at work in %s",
					c->dir);
	}
	free(path);
	return rc;
}

void cluster_forget(struct cluster *c)
{
	for (size_t i = 0; i < c->count; i++) {
		net_proc_free(c->servers[i].child);
		c->servers[i] = (struct cluster_server){ 0 };
	}
	c->count = 0;
}

void cluster_release(struct cluster *c)
{
	cluster_forget(c);
	if (c->lock >= 0)
		pk_ignore(close(c->lock), "only a lock");
	c->lock = -1;
	free(c->dir);
	c->dir = NULL;
}

/* ---- a new one ---- */

static bool port_free(uint16_t port)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_port = htons(port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int on = 1;
	bool ok;

	if (fd < 0)
		return false;
	/* as the server does: ports of connections that have ended are free */
	pk_ignore(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), "then fewer are free");
	ok = bind(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0;
	pk_ignore(close(fd), "nothing was written");
	return ok;
}

static uint16_t *port_of(struct cluster_server *s, int kind)
{
	uint16_t *const ports[] = { &s->client_port, &s->peer_port, &s->election_port,
				    &s->admin_port, &s->metrics_port };
	return kind < (int)PK_COUNT(ports) ? ports[kind] : NULL;
}

/* The port that is taken, or 0 when the whole block is ours to use. */
static int take_block(struct cluster *c, int base)
{
	for (size_t i = 0; i < c->count; i++) {
		for (int kind = 0; port_of(&c->servers[i], kind) != NULL; kind++) {
			int port = base + kind * PORT_KIND_STEP + (int)i;

			if (port > 65535 || !port_free((uint16_t)port))
				return port;
			*port_of(&c->servers[i], kind) = (uint16_t)port;
		}
	}
	return 0;
}

static int choose_ports(struct cluster *c, int base_port, struct pk_err *err)
{
	int base = base_port != 0 ? base_port : BLOCK_FIRST;

	for (;;) {
		int taken = take_block(c, base);

		if (taken == 0)
			return 0;
		if (base_port != 0)
			return pk_err_set(err, PK_EEXIST,
					  "port %d is taken: give another --base-port", taken);
		base = base == BLOCK_FIRST ? BLOCK_SECOND : base + BLOCK_STEP;
		if (base > BLOCK_LAST)
			return pk_err_set(err, PK_EEXIST,
					  "no block of free ports: give --base-port");
	}
}

static char *server_path(const struct cluster *c, size_t i, const char *name)
{
	return pk_asprintf("%s/server.%d/%s", c->dir, c->servers[i].id, name);
}

static int write_config(const struct cluster *c, size_t i, const struct pk_strs *lines,
			struct pk_err *err)
{
	const struct cluster_server *s = &c->servers[i];
	struct pk_buf text = PK_BUF_INIT;
	char *data = server_path(c, i, "data");
	char *cfg = server_path(c, i, "zoo.cfg");
	char *myid = server_path(c, i, "data/myid");
	int rc = make_dirs(data, err);

	pk_buf_printf(&text,
		      "# Server %d of a local cluster, written once by `paddock up`: what you "
		      "change here stays.\ntickTime=2000\ninitLimit=10\nsyncLimit=5\ndataDir=",
		      s->id);
	for (const char *p = data; *p != '\0'; p++) /* the file's form is that of Java properties */
		pk_buf_printf(&text, *p == '\\' ? "\\\\" : "%c", *p);
	pk_buf_printf(&text,
		      "\nclientPort=%u\nclientPortAddress=127.0.0.1\nmaxClientCnxns=0\n"
		      "admin.serverAddress=127.0.0.1\nadmin.serverPort=%u\n"
		      "metricsProvider.className="
		      "org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider\n"
		      "metricsProvider.httpHost=127.0.0.1\nmetricsProvider.httpPort=%u\n"
		      "4lw.commands.whitelist=*\nextendedTypesEnabled=true\n",
		      s->client_port, s->admin_port, s->metrics_port);
	for (size_t n = 0; c->count > 1 && n < c->count; n++)
		pk_buf_printf(&text, "server.%d=127.0.0.1:%u:%u\n", c->servers[n].id,
			      c->servers[n].peer_port, c->servers[n].election_port);
	for (size_t n = 0; n < lines->count; n++)
		pk_buf_printf(&text, "%s\n", lines->items[n]);
	if (rc == 0)
		rc = write_file(cfg, pk_buf_bytes(&text), err);
	pk_buf_clear(&text);
	pk_buf_printf(&text, "%d\n", s->id);
	if (rc == 0)
		rc = write_file(myid, pk_buf_bytes(&text), err);
	pk_buf_release(&text);
	free(data);
	free(cfg);
	free(myid);
	return rc;
}

int cluster_make(struct cluster *c, size_t count, int base_port, const struct pk_strs *lines,
		 struct pk_err *err)
{
	int rc;

	PK_ASSERT(count >= 1 && count <= CLUSTER_SERVERS_MAX);
	c->count = count;
	for (size_t i = 0; i < count; i++)
		c->servers[i] = (struct cluster_server){ .id = (int)i + 1 };
	rc = choose_ports(c, base_port, err);
	for (size_t i = 0; rc == 0 && i < count; i++)
		rc = write_config(c, i, lines, err);
	return rc == 0 ? cluster_save(c, err) : rc;
}

/* ---- processes ---- */

int cluster_find_store(char **out, struct pk_err *err)
{
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	const char *path = getenv("PATH");

	if (n > 0) {
		self[n] = '\0';
		*strrchr(self, '/') = '\0';
		char *beside = pk_asprintf("%s/" PROGRAM, self);
		if (access(beside, X_OK) == 0) {
			*out = beside;
			return 0;
		}
		free(beside);
	}
	for (const char *at = path; at != NULL && *at != '\0';) {
		size_t len = strcspn(at, ":");
		char *one = pk_asprintf("%.*s/" PROGRAM, (int)len, at);

		if (len > 0 && access(one, X_OK) == 0) {
			*out = one;
			return 0;
		}
		free(one);
		at += len;
		at += *at == ':';
	}
	return pk_err_set(err, PK_ENOENT,
			  "the program " PROGRAM " is neither beside this one nor in PATH");
}

static void on_exit_child(void *owner, int64_t exit_status, int term_signal)
{
	struct cluster_server *s = owner;

	s->ended = true;
	s->exit_status = exit_status;
	s->term_signal = term_signal;
}

/* Our environment but for PADDOCK_DIR: the server takes PADDOCK_... for settings of its own.
 * Borrows from environ. Returns owned. */
static const char **server_env(void)
{
	size_t count = 0, kept = 0;

	while (environ[count] != NULL)
		count++;
	const char **env = pk_alloc((count + 1) * sizeof(*env));
	for (size_t i = 0; i < count; i++) {
		if (strncmp(environ[i], "PADDOCK_DIR=", 12) != 0)
			env[kept++] = environ[i];
	}
	return env;
}

int cluster_start(struct cluster *c, size_t i, const char *store, struct net_loop *l,
		  struct pk_err *err)
{
	struct cluster_server *s = &c->servers[i];
	char *cfg = server_path(c, i, "zoo.cfg");
	char *log = server_path(c, i, "log");
	const char *argv[] = { store, cfg, NULL };
	const char **env = server_env();
	struct net_proc_opts opts = { .argv = argv,
				      .env = env,
				      .cwd = c->dir,
				      .stdout_file = log,
				      .stderr_file = log,
				      .detached = true };
	struct pk_err gone = PK_ERR_INIT;
	int rc = 0;

	net_proc_free(s->child);
	s->ended = false;
	s->child = net_proc_spawn(l, &opts, on_exit_child, s, err);
	if (s->child == NULL)
		rc = err->code;
	else if (proc_id_of(net_proc_pid(s->child), &s->proc, &gone) != 0)
		s->proc = (struct proc_id){ 0 }; /* ended already: on_exit says how */
	free(env);
	free(cfg);
	free(log);
	return rc;
}

size_t cluster_running(const struct cluster *c)
{
	size_t n = 0;

	for (size_t i = 0; i < c->count; i++)
		n += proc_alive(&c->servers[i].proc);
	return n;
}

size_t cluster_stop(struct cluster *c, size_t first, size_t count, int64_t kill_after_ms)
{
	int64_t kill_us = net_now_fresh_us() + kill_after_ms * 1000;
	bool signalled[CLUSTER_SERVERS_MAX] = { false };
	size_t killed = 0, left = count;

	PK_ASSERT(first + count <= c->count);
	for (size_t i = first; i < first + count; i++)
		pk_ignore(proc_signal(&c->servers[i].proc, SIGTERM), "it may be gone already");
	while (left > 0) {
		bool late = net_now_fresh_us() >= kill_us;

		left = 0;
		for (size_t i = first; i < first + count; i++) {
			struct proc_id *p = &c->servers[i].proc;

			if (!proc_alive(p)) {
				*p = (struct proc_id){ 0 };
				continue;
			}
			left++;
			if (late && !signalled[i])
				killed += signalled[i] = proc_signal(p, SIGKILL);
		}
		if (left > 0)
			pk_ignore(usleep(STOP_POLL_MS * 1000),
				  "not our children: there is no event to wait for");
	}
	return killed;
}

void cluster_connect_string(const struct cluster *c, struct pk_buf *out)
{
	for (size_t i = 0; i < c->count; i++)
		pk_buf_printf(out, "%s127.0.0.1:%u", i > 0 ? "," : "", c->servers[i].client_port);
}

void cluster_health_targets(const struct cluster *c, struct health *h)
{
	h->count = c->count;
	for (size_t i = 0; i < c->count; i++) {
		snprintf(h->servers[i].host, sizeof(h->servers[i].host), "127.0.0.1");
		h->servers[i].port = c->servers[i].client_port;
	}
}

void cluster_log_tail(const struct cluster *c, size_t i, size_t bytes, struct pk_buf *out)
{
	char *path = server_path(c, i, "log");
	struct pk_buf text = PK_BUF_INIT;
	struct pk_err err = PK_ERR_INIT;

	if (pk_file_read(path, LOG_BYTES_MAX, &text, &err) == 0) {
		size_t from = text.len > bytes ? text.len - bytes : 0;

		while (from > 0 && from < text.len && text.data[from - 1] != '\n')
			from++;
		pk_buf_add(out, text.data + from, text.len - from);
	}
	pk_buf_release(&text);
	free(path);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	pk_ignore(st, "all go");
	pk_ignore(type, "all go");
	pk_ignore(ftw, "all go");
	return remove(path);
}

int cluster_remove_servers(struct cluster *c, struct pk_err *err)
{
	for (size_t i = 0; i < c->count; i++) {
		char *path = pk_asprintf("%s/server.%d", c->dir, c->servers[i].id);
		int rc = nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);

		if (rc != 0 && errno != ENOENT) {
			rc = pk_err_sys(err, errno, "delete %s", path);
			free(path);
			return rc;
		}
		free(path);
	}
	return 0;
}

int cluster_wipe(struct cluster *c, struct pk_err *err)
{
	/* Only what up made: a wrong --dir must not cost anybody a home directory. */
	int failed = cluster_remove_servers(c, err);
	if (failed != 0)
		return failed;
	static const char *const names[] = { "cluster.json", "lock" };
	for (size_t i = 0; i < PK_COUNT(names); i++) {
		char *path = pk_asprintf("%s/%s", c->dir, names[i]);

		if (unlink(path) != 0 && errno != ENOENT) {
			int rc = pk_err_sys(err, errno, "delete %s", path);

			free(path);
			return rc;
		}
		free(path);
	}
	pk_ignore(rmdir(c->dir), "somebody else's files in it stay");
	return 0;
}
