#include "cli/zk_io.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "cli/cluster_io.h"
#include "cli/local_io.h"
#include "zkproto/path.h"
#include "zkproto/sasl_digest_io.h"

#define SERVERS_DEFAULT "127.0.0.1:2181"
#define REPLY_BYTES_MAX (256u << 20)
#define STDIN_BYTES_MAX (64u << 20)
#define PATIENCE_MS     1500 /* before a person is told what we wait for */
#define WHY_MS          1000

struct zks {
	const struct cli *cli;
	struct net_loop *loop;
	struct zkc_io *io;
	struct net_tls *tls;
	struct zkc_sasl_digest *sasl;
	struct net_signal *signals[3];
	char *servers;
	bool interrupted, timed_out, told;
	enum zkc_state state;
	void (*on_state)(void *owner, enum zkc_state state);
	void *owner;
};

/* ---- answers ---- */

void zk_answer_take(void *owner, const struct zkc_result *r)
{
	struct zk_answer *a = owner;
	struct pk_bytes items = r->names.raw;

	a->done = true;
	a->err = r->err;
	a->zxid = r->zxid;
	a->number = r->number;
	a->count = r->names.count;
	if (r->acl.count > 0) {
		items = r->acl.raw;
		a->count = r->acl.count;
	} else if (r->ids.count > 0) {
		items = r->ids.raw;
		a->count = r->ids.count;
	}
	pk_buf_clear(&a->path);
	pk_buf_clear(&a->data);
	pk_buf_clear(&a->raw);
	pk_buf_add_bytes(&a->path, r->path);
	pk_buf_add_bytes(&a->data, r->data);
	pk_buf_add_bytes(&a->raw, items);
	if (r->stat != NULL)
		a->stat = *r->stat;
}

void zk_answer_release(struct zk_answer *a)
{
	pk_buf_release(&a->path);
	pk_buf_release(&a->data);
	pk_buf_release(&a->raw);
	*a = ZK_ANSWER_INIT;
}

struct zk_strings zk_answer_names(struct zk_answer *a)
{
	return (struct zk_strings){ .count = a->count, .raw = pk_buf_bytes(&a->raw) };
}

struct zk_acls zk_answer_acl(struct zk_answer *a)
{
	return (struct zk_acls){ .count = a->count, .raw = pk_buf_bytes(&a->raw) };
}

struct zk_ids zk_answer_ids(struct zk_answer *a)
{
	return (struct zk_ids){ .count = a->count, .raw = pk_buf_bytes(&a->raw) };
}

/* ---- the session ---- */

static void on_state(void *owner, enum zkc_state state)
{
	struct zks *z = owner;

	z->state = state;
	if (z->on_state != NULL)
		z->on_state(z->owner, state);
}

static void on_signal(void *owner, int signum)
{
	struct zks *z = owner;

	pk_ignore(signum, "all mean: stop");
	z->interrupted = true;
}

static void on_timeout(void *owner)
{
	struct zks *z = owner;

	z->timed_out = true;
}

static void on_patience(void *owner)
{
	struct zks *z = owner;

	if (z->state == ZKC_CONNECTING && isatty(STDERR_FILENO) == 1) {
		z->told = true;
		fprintf(stderr, "waiting for %s ...", z->servers);
	}
}

static bool is_final(enum zkc_state s)
{
	return s == ZKC_AUTH_FAILED || s == ZKC_EXPIRED || s == ZKC_CLOSED;
}

static char *choose_servers(const struct cli *c)
{
	struct cluster local = CLUSTER_INIT;
	struct pk_buf text = PK_BUF_INIT;
	struct pk_err err = PK_ERR_INIT;
	char *dir = NULL, *out;

	if (c->set.server != NULL)
		return pk_strdup(c->set.server);
	if (cluster_dir(c->set.dir, &dir, &err) == 0 && cluster_load(&local, dir, &err) == 0)
		cluster_connect_string(&local, &text);
	else
		pk_buf_add_str(&text, SERVERS_DEFAULT);
	out = pk_strdup(pk_buf_str(&text));
	pk_buf_release(&text);
	cluster_release(&local);
	return out;
}

static int add_auths(struct zks *z)
{
	const struct pk_strs *list = &z->cli->set.auth;

	for (size_t i = 0; i < list->count; i++) {
		const char *text = list->items[i];
		const char *colon = strchr(text, ':');
		struct zk_answer a = ZK_ANSWER_INIT;

		if (colon == NULL || colon == text)
			return cli_fail(z->cli, CLI_USAGE,
					"--auth %s: want SCHEME:TEXT, such as digest:user:password",
					text);
		char *scheme = pk_strndup(text, (size_t)(colon - text));
		zkc_add_auth(zks_client(z), scheme, pk_bytes_str(colon + 1), zk_answer_take, &a);
		free(scheme);
		if (zks_wait(z, &a) != ZK_OK)
			return zks_refused(z, "--auth", a.err);
		zk_answer_release(&a);
	}
	return CLI_OK;
}

static int set_up(struct zks *z, struct pk_err *err)
{
	const struct cli *c = z->cli;
	struct zkc_io_config cfg = {
		.servers = z->servers,
		.client = { .timeout_ms = (int32_t)c->set.session_ms,
			    .read_only = c->set.read_only,
			    .reply_bytes_max = REPLY_BYTES_MAX,
			    .on_state = on_state,
			    .owner = z },
	};
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	int rc = local_tls(c, &z->tls, err);

	if (rc == 0 && c->set.sasl != NULL) {
		const char *colon = strchr(c->set.sasl, ':');

		if (colon == NULL || colon == c->set.sasl)
			return pk_err_set(err, PK_EINVAL, "--sasl: want USER:PASSWORD");
		char *user = pk_strndup(c->set.sasl, (size_t)(colon - c->set.sasl));
		z->sasl = zkc_sasl_digest_new(user, colon + 1, err);
		free(user);
		if (z->sasl == NULL)
			return err->code;
		cfg.client.sasl = &zkc_sasl_digest_ops;
		cfg.client.sasl_owner = z->sasl;
	}
	for (size_t i = 0; rc == 0 && i < PK_COUNT(signals); i++) {
		z->signals[i] = net_signal_on(z->loop, signals[i], on_signal, z, err);
		rc = z->signals[i] != NULL ? 0 : err->code;
	}
	if (rc != 0)
		return rc;
	cfg.tls = z->tls;
	z->io = zkc_io_new(z->loop, &cfg, err);
	return z->io != NULL ? 0 : err->code;
}

/* The client tries again and again and keeps the reasons to itself: ask once more, for a person. */
static int no_connection(struct zks *z)
{
	struct health h = { 0 };
	struct pk_err err = PK_ERR_INIT;
	struct ask asks[HEALTH_SERVERS_MAX] = { 0 };
	const char *why = "it takes connections, but no session: is a majority up?";

	if (z->state == ZKC_AUTH_FAILED)
		return cli_fail(z->cli, CLI_DENIED, "%s: login refused", z->servers);
	if (health_parse_servers(&h, z->servers, &err) != 0)
		return cli_fail(z->cli, CLI_USAGE, "%s", err.text);
	for (size_t i = 0; i < h.count; i++)
		asks[i] = (struct ask){ .host = h.servers[i].host,
					.port = h.servers[i].port,
					.word = "" };
	ask_all(z->loop, z->tls, asks, h.count, WHY_MS);
	size_t refused = 0;
	for (size_t i = 0; i < h.count; i++) {
		refused += !asks[i].connected;
		pk_buf_release(&asks[i].answer);
	}
	if (refused == h.count)
		why = asks[0].error;
	return cli_fail(z->cli, CLI_NO_ANSWER, "no session with %s in %" PRId64 " ms: %s",
			z->servers, z->cli->set.timeout_ms, why);
}

int zks_open(struct zks **out, const struct cli *c)
{
	struct zks *z = pk_alloc(sizeof(*z));
	struct pk_err err = PK_ERR_INIT;

	z->cli = c;
	z->state = ZKC_CONNECTING;
	z->servers = choose_servers(c);
	z->loop = net_loop_new(&err);
	int rc = z->loop != NULL ? set_up(z, &err) : err.code;
	if (rc != 0) {
		int status = cli_fail(c, rc == PK_EINVAL ? CLI_USAGE : CLI_FAILED, "%s", err.text);

		return zks_close(z, status);
	}
	struct net_timer *end = net_timer_new(z->loop, on_timeout, z);
	struct net_timer *patience = net_timer_new(z->loop, on_patience, z);
	net_timer_start(end, c->set.timeout_ms, 0);
	net_timer_start(patience, PATIENCE_MS, 0);
	while (z->state == ZKC_CONNECTING && !z->timed_out && !z->interrupted)
		net_loop_turn(z->loop, true);
	net_timer_free(end);
	net_timer_free(patience);
	if (z->told)
		fputs("\r\033[K", stderr);
	if (z->interrupted)
		return zks_close(z, CLI_NO_ANSWER);
	if (z->state != ZKC_CONNECTED && z->state != ZKC_CONNECTED_READ_ONLY)
		return zks_close(z, no_connection(z));
	int status = add_auths(z);
	if (status != CLI_OK)
		return zks_close(z, status);
	*out = z;
	return CLI_OK;
}

void zks_on_state(struct zks *z, void (*call)(void *owner, enum zkc_state state), void *owner)
{
	z->on_state = call;
	z->owner = owner;
}

int zks_close(struct zks *z, int status)
{
	if (z == NULL)
		return status;
	z->on_state = NULL;
	if (z->io != NULL) {
		if (z->state == ZKC_CONNECTED || z->state == ZKC_CONNECTED_READ_ONLY) {
			zkc_close(zks_client(z));
			while (!is_final(z->state)) /* after ZKC_CLOSE_MS in any case */
				net_loop_turn(z->loop, true);
		}
		zkc_io_free(z->io);
	}
	for (size_t i = 0; i < PK_COUNT(z->signals); i++)
		net_signal_free(z->signals[i]);
	if (z->loop != NULL) {
		net_loop_turn(z->loop, false);
		net_loop_free(z->loop);
	}
	net_tls_free(z->tls);
	zkc_sasl_digest_free(z->sasl);
	free(z->servers);
	free(z);
	return status;
}

struct zkc *zks_client(struct zks *z)
{
	return zkc_io_client(z->io);
}

const struct cli *zks_cli(const struct zks *z)
{
	return z->cli;
}

const char *zks_servers(const struct zks *z)
{
	return z->servers;
}

const char *zks_server(const struct zks *z)
{
	struct zkc_info info;

	zkc_info(zkc_io_client(z->io), &info);
	return zkc_io_server(z->io, info.server);
}

int32_t zks_wait(struct zks *z, struct zk_answer *a)
{
	struct net_timer *end = net_timer_new(z->loop, on_timeout, z);

	z->timed_out = false;
	net_timer_start(end, z->cli->set.timeout_ms, 0);
	while (!a->done && !z->timed_out && !z->interrupted)
		net_loop_turn(z->loop, true);
	net_timer_free(end);
	if (!a->done) {
		zkc_forget(zks_client(z), a);
		a->done = true;
		a->err = ZK_EREQUESTTIMEOUT;
	}
	return a->err;
}

bool zks_turn(struct zks *z)
{
	if (z->interrupted || is_final(z->state))
		return false;
	net_loop_turn(z->loop, true);
	return !z->interrupted && !is_final(z->state);
}

bool zks_interrupted(const struct zks *z)
{
	return z->interrupted;
}

int zks_refused(struct zks *z, const char *path, int32_t err)
{
	int status = CLI_FAILED;

	if (z->interrupted)
		return cli_fail(z->cli, CLI_NO_ANSWER, "%s: interrupted before the answer came",
				path);
	if (err == ZK_ENOAUTH || err == ZK_EAUTHFAILED || err == ZK_ESESSIONCLOSEDREQUIRESASLAUTH)
		status = CLI_DENIED;
	else if (err == ZK_ECONNECTIONLOSS || err == ZK_ESESSIONEXPIRED ||
		 err == ZK_EREQUESTTIMEOUT || err == ZK_ETIMEOUT)
		status = CLI_NO_ANSWER;
	return cli_fail(z->cli, status, "%s: %s (%s)", path, zk_error_text(err),
			zk_error_name(err));
}

char *zks_path(const struct cli *c, const char *text)
{
	size_t len = strlen(text);

	while (len > 1 && text[len - 1] == '/')
		len--;
	enum zk_path_fault fault = zk_path_check(pk_bytes(text, len), false);
	if (fault != ZK_PATH_OK) {
		pk_ignore(cli_fail(c, CLI_USAGE, "%s: %s", text, zk_path_fault_text(fault)),
			  "NULL tells it");
		return NULL;
	}
	return pk_strndup(text, len);
}

/* ---- walking ---- */

struct step {
	struct zk_answer a;
	size_t node;
};

/* '/' below every other byte, so that a node's children come right behind it. */
static int path_cmp(const void *va, const void *vb)
{
	const unsigned char *a = (const unsigned char *)((const struct walk_node *)va)->path;
	const unsigned char *b = (const unsigned char *)((const struct walk_node *)vb)->path;

	while (*a != '\0' && *a == *b) {
		a++;
		b++;
	}
	if (*a == '\0' || *b == '\0')
		return (*a != '\0') - (*b != '\0');
	return (*a == '/' ? 0 : *a) - (*b == '/' ? 0 : *b);
}

static void walk_add(struct walk *w, size_t *room, char *path)
{
	if (w->count == *room) {
		*room = *room == 0 ? 64 : *room * 2;
		w->nodes = pk_realloc(w->nodes, *room * sizeof(*w->nodes));
	}
	w->nodes[w->count++] = (struct walk_node){ .path = path };
}

static size_t depth_below(const char *root, const char *path)
{
	return zk_path_depth(pk_bytes_str(path)) - zk_path_depth(pk_bytes_str(root));
}

int32_t zks_walk(struct zks *z, const char *root, size_t depth, struct walk *out)
{
	struct step *steps = pk_alloc(ZKS_WINDOW * sizeof(*steps));
	struct walk w = { 0 };
	size_t room = 0, asked = 0, taken = 0;
	int32_t err = ZK_OK;

	walk_add(&w, &room, pk_strdup(root));
	while (err == ZK_OK && taken < w.count) {
		for (; asked < w.count && asked - taken < ZKS_WINDOW; asked++) {
			struct step *s = &steps[asked % ZKS_WINDOW];
			struct pk_bytes path = pk_bytes_str(w.nodes[asked].path);

			s->a.done = false;
			s->node = asked;
			if (depth > 0 && depth_below(root, w.nodes[asked].path) >= depth)
				zkc_exists(zks_client(z), path, ZKC_NO_WATCH, zk_answer_take,
					   &s->a);
			else
				zkc_children(zks_client(z), path, ZKC_NO_WATCH, zk_answer_take,
					     &s->a);
		}
		struct step *s = &steps[taken % ZKS_WINDOW];
		struct walk_node *n = &w.nodes[taken++];
		n->err = zks_wait(z, &s->a);
		n->stat = s->a.stat;
		if (n->err != ZK_OK && n->err != ZK_ENOAUTH && (n->err != ZK_ENONODE || taken == 1))
			err = n->err;
		if (n->err != ZK_OK || s->a.count == 0)
			continue;
		struct zk_strings names = zk_answer_names(&s->a);
		struct pk_bytes name;
		const char *parent = n->path[1] == '\0' ? "" : n->path;
		char *parent_copy = pk_strdup(parent); /* nodes move when there are more */
		while (zk_strings_next(&names, &name))
			walk_add(&w, &room,
				 pk_asprintf("%s/%.*s", parent_copy, (int)name.len, name.data));
		free(parent_copy);
	}
	if (err != ZK_OK) { /* the answers still to come would land in freed memory */
		for (size_t i = 0; i < ZKS_WINDOW; i++)
			zkc_forget(zks_client(z), &steps[i].a);
	}
	for (size_t i = 0; i < ZKS_WINDOW; i++)
		zk_answer_release(&steps[i].a);
	free(steps);
	size_t kept = 0;
	for (size_t i = 0; i < w.count; i++) {
		if (w.nodes[i].err == ZK_ENONODE)
			free(w.nodes[i].path);
		else
			w.nodes[kept++] = w.nodes[i];
	}
	w.count = kept;
	if (w.count > 1)
		qsort(w.nodes, w.count, sizeof(*w.nodes), path_cmp);
	*out = w;
	return err;
}

void walk_release(struct walk *w)
{
	for (size_t i = 0; i < w->count; i++)
		free(w->nodes[i].path);
	free(w->nodes);
	*w = (struct walk){ 0 };
}

int zks_read_stdin(const struct cli *c, struct pk_buf *out)
{
	for (;;) {
		uint8_t *to = pk_buf_reserve(out, 65536);
		ssize_t n = read(STDIN_FILENO, to, 65536);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return cli_fail(c, CLI_FAILED, "standard input: %s", strerror(errno));
		if (n == 0)
			return CLI_OK;
		out->len += (size_t)n;
		if (out->len > STDIN_BYTES_MAX)
			return cli_fail(c, CLI_FAILED, "standard input: more than %u bytes",
					STDIN_BYTES_MAX);
	}
}
