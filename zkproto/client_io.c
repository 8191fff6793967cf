#include "zkproto/client_io.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/queue.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/rng.h"
#include "net/addr.h"
#include "net/stream.h"

#define CONN_MAGIC  0x5a4b434eu
#define PROBE_MAGIC 0x5a4b5042u

struct server {
	char host[ZKC_IO_HOST_BYTES];
	uint16_t port;
	char text[ZKC_IO_HOST_BYTES + 8]; /* [host]:port */
};

/* One connection; it outlives io when io is freed before the stream has closed. */
struct conn {
	uint32_t magic;
	struct zkc_io *io; /* NULL: nobody listens any more */
	uint32_t id;
	struct net_stream *stream;
	LIST_ENTRY(conn) link; /* of io->conns, while io is there */
};

/* One question "isro" to a server. */
struct probe {
	uint32_t magic;
	struct zkc_io *io;
	uint32_t server;
	struct net_stream *stream;
	char answer[4];
	size_t answer_bytes;
};

struct zkc_io {
	struct net_loop *loop;
	struct net_tls *tls;
	struct net_timer *timer;
	struct net_hook *hook;
	struct server servers[ZKC_SERVERS_MAX];
	uint32_t server_count;
	struct zkc *client;
	struct conn *conn;       /* NULL: none */
	LIST_HEAD(, conn) conns; /* all, also those that are closing */
	struct probe *probe;
	void (*on_state)(void *owner, enum zkc_state state);
	void *owner;
	int64_t timer_at_ms; /* INT64_MAX: it does not run */
	int inside;          /* callbacks of ours that are running */
	bool dying;          /* freed from inside a callback */
};

static void io_destroy(struct zkc_io *io)
{
	PK_ASSERT(io->inside == 0);
	while (!LIST_EMPTY(&io->conns)) {
		struct conn *conn = LIST_FIRST(&io->conns);

		LIST_REMOVE(conn, link);
		conn->io = NULL;
		if (conn == io->conn)
			net_stream_close(conn->stream, "client gone");
	}
	if (io->probe != NULL) {
		io->probe->io = NULL;
		net_stream_close(io->probe->stream, "client gone");
	}
	net_hook_free(io->hook);
	net_timer_free(io->timer);
	zkc_free(io->client);
	net_tls_free(io->tls);
	free(io);
}

static void io_enter(struct zkc_io *io)
{
	io->inside++;
}

/* io is gone behind this if it was freed meanwhile. */
static void io_leave(struct zkc_io *io)
{
	io->inside--;
	if (io->dying && io->inside == 0)
		io_destroy(io);
}

/* ---- the connection ---- */

static struct conn *conn_of(void *owner)
{
	struct conn *conn = owner;

	PK_ASSERT(conn->magic == CONN_MAGIC);
	return conn;
}

static void conn_on_open(void *owner)
{
	struct conn *conn = conn_of(owner);
	struct zkc_io *io = conn->io;

	if (io == NULL)
		return;
	io_enter(io);
	zkc_on_open(io->client, conn->id, net_now_ms(io->loop));
	io_leave(io);
}

static void conn_on_bytes(void *owner, struct pk_bytes in)
{
	struct conn *conn = conn_of(owner);
	struct zkc_io *io = conn->io;

	if (io == NULL)
		return;
	io_enter(io);
	zkc_on_bytes(io->client, conn->id, in, net_now_ms(io->loop));
	io_leave(io);
}

static void conn_on_close(void *owner, const char *reason)
{
	struct conn *conn = conn_of(owner);
	struct zkc_io *io = conn->io;

	if (io != NULL) {
		io_enter(io);
		LIST_REMOVE(conn, link);
		if (io->conn == conn)
			io->conn = NULL;
		zkc_on_closed(io->client, conn->id, reason, net_now_ms(io->loop));
		io_leave(io);
	}
	conn->magic = 0;
	free(conn);
}

static const struct net_stream_ops conn_ops = {
	.on_open = conn_on_open,
	.on_bytes = conn_on_bytes,
	.on_close = conn_on_close,
};

static void conn_start(struct zkc_io *io, uint32_t id, uint32_t server)
{
	struct conn *conn = pk_alloc(sizeof(*conn));

	LOG_DEBUG("zkc.dial", "server=%s", io->servers[server].text);
	conn->magic = CONN_MAGIC;
	conn->io = io;
	conn->id = id;
	LIST_INSERT_HEAD(&io->conns, conn, link);
	io->conn = conn;
	conn->stream = net_connect(io->loop,
				   &(struct net_connect_opts){ .host = io->servers[server].host,
							       .port = io->servers[server].port,
							       .tls = io->tls },
				   &conn_ops, conn);
}

/* ---- the probe ---- */

static struct probe *probe_of(void *owner)
{
	struct probe *probe = owner;

	PK_ASSERT(probe->magic == PROBE_MAGIC);
	return probe;
}

static void probe_on_open(void *owner)
{
	struct probe *probe = probe_of(owner);

	net_stream_write(probe->stream, pk_bytes_str("isro"));
}

static void probe_on_bytes(void *owner, struct pk_bytes in)
{
	struct probe *probe = probe_of(owner);
	size_t room = sizeof(probe->answer) - probe->answer_bytes;
	size_t len = in.len < room ? in.len : room;

	memcpy(probe->answer + probe->answer_bytes, in.data, len);
	probe->answer_bytes += len;
	if (probe->answer_bytes >= 2)
		net_stream_close(probe->stream, "answered");
}

static void probe_on_close(void *owner, const char *reason)
{
	struct probe *probe = probe_of(owner);
	struct zkc_io *io = probe->io;
	bool read_write = probe->answer_bytes >= 2 && memcmp(probe->answer, "rw", 2) == 0;

	if (io != NULL) {
		LOG_DEBUG("zkc.probe", "server=%s read_write=%d reason=%s",
			  io->servers[probe->server].text, read_write, reason);
		io_enter(io);
		io->probe = NULL;
		zkc_on_probe(io->client, probe->server, read_write, net_now_ms(io->loop));
		io_leave(io);
	}
	probe->magic = 0;
	free(probe);
}

static const struct net_stream_ops probe_ops = {
	.on_open = probe_on_open,
	.on_bytes = probe_on_bytes,
	.on_close = probe_on_close,
};

static void probe_start(struct zkc_io *io, uint32_t server)
{
	struct probe *probe = pk_alloc(sizeof(*probe));

	PK_ASSERT(io->probe == NULL); /* the core asks for one at a time */
	probe->magic = PROBE_MAGIC;
	probe->io = io;
	probe->server = server;
	io->probe = probe;
	probe->stream = net_connect(io->loop,
				    &(struct net_connect_opts){ .host = io->servers[server].host,
								.port = io->servers[server].port,
								.timeout_ms = ZKC_IO_PROBE_MS,
								.tls = io->tls },
				    &probe_ops, probe);
}

/* ---- time and effects ---- */

static void run_effects(struct zkc_io *io)
{
	struct zkc_effect fx;

	while (zkc_effect_next(io->client, &fx)) {
		switch (fx.type) {
		case ZKC_FX_CONNECT:
			conn_start(io, fx.conn, fx.server);
			break;
		case ZKC_FX_SEND:
			if (io->conn != NULL && io->conn->id == fx.conn)
				net_stream_write(io->conn->stream, fx.bytes);
			break;
		case ZKC_FX_CLOSE:
			if (io->conn == NULL || io->conn->id != fx.conn)
				break;
			LOG_INFO("zkc.close", "reason=\"%s\"", fx.reason);
			net_stream_close(io->conn->stream, "%s", fx.reason);
			io->conn = NULL; /* its on_close finds that it is a stale one */
			break;
		case ZKC_FX_PROBE:
			probe_start(io, fx.server);
			break;
		}
	}
}

static void set_timer(struct zkc_io *io)
{
	int64_t now_ms = net_now_ms(io->loop);
	int64_t at_ms = zkc_deadline_ms(io->client);

	if (at_ms == INT64_MAX) {
		net_timer_stop(io->timer);
	} else if (at_ms != io->timer_at_ms || at_ms <= now_ms) {
		net_timer_start(io->timer, at_ms > now_ms ? at_ms - now_ms : 0, 0);
	}
	io->timer_at_ms = at_ms;
}

static void on_turn(void *owner)
{
	struct zkc_io *io = owner;

	io_enter(io);
	if (zkc_deadline_ms(io->client) <= net_now_ms(io->loop))
		zkc_step(io->client, net_now_ms(io->loop));
	if (!io->dying) {
		run_effects(io);
		set_timer(io);
	}
	io_leave(io);
}

/* Does the work at once: libuv may run timers as the last thing of a turn, and with no other handle
 * open there would be no next one for the hook. */
static void on_timer(void *owner)
{
	struct zkc_io *io = owner;

	io->timer_at_ms = INT64_MAX;
	on_turn(io);
}

/* Somebody asked for something: it may have been behind our hook of this turn. */
static void on_wake(void *owner)
{
	struct zkc_io *io = owner;

	io->timer_at_ms = INT64_MIN;
	net_timer_start(io->timer, 0, 0);
}

static void on_state(void *owner, enum zkc_state state)
{
	struct zkc_io *io = owner;
	struct zkc_info info;

	zkc_info(io->client, &info);
	LOG_INFO("zkc.state", "state=%s server=%s session=%#" PRIx64 " timeout_ms=%d",
		 zkc_state_name(state), io->servers[info.server].text, (uint64_t)info.session_id,
		 info.timeout_ms);
	if (io->on_state != NULL)
		io->on_state(io->owner, state);
}

/* ---- settings ---- */

static int parse_server(struct zkc_io *io, const char *text, size_t len, struct pk_err *err)
{
	struct server *s = &io->servers[io->server_count];

	if (io->server_count == ZKC_SERVERS_MAX)
		return pk_err_set(err, PK_EINVAL, "more than %u servers", ZKC_SERVERS_MAX);
	if (len == 0 || len >= ZKC_IO_HOST_BYTES)
		return pk_err_set(err, PK_EINVAL, "server name of %zu bytes", len);
	char *copy = pk_strndup(text, len);
	char host[ZKC_IO_HOST_BYTES];
	int rc = net_host_port_parse(copy, ZKC_IO_PORT_DEFAULT, host, sizeof(host), &s->port, err);
	if (rc == 0) {
		memcpy(s->host, host, sizeof(host));
		snprintf(s->text, sizeof(s->text), strchr(host, ':') != NULL ? "[%s]:%u" : "%s:%u",
			 host, s->port);
		io->server_count++;
	}
	free(copy);
	return rc;
}

/* "h1:2181,h2/chroot"; *chroot borrows from `text`. */
static int parse_servers(struct zkc_io *io, const char *text, const char **chroot,
			 struct pk_err *err)
{
	const char *slash = strchr(text, '/');
	const char *end = slash != NULL ? slash : text + strlen(text);

	*chroot = slash;
	while (text < end) {
		const char *comma = memchr(text, ',', (size_t)(end - text));
		const char *stop = comma != NULL ? comma : end;
		int rc = parse_server(io, text, (size_t)(stop - text), err);

		if (rc != 0)
			return rc;
		text = comma != NULL ? comma + 1 : end;
	}
	return io->server_count > 0 ? 0 : pk_err_set(err, PK_EINVAL, "no server given");
}

struct zkc_io *zkc_io_new(struct net_loop *l, const struct zkc_io_config *cfg, struct pk_err *err)
{
	struct zkc_io *io = pk_alloc(sizeof(*io));
	struct zkc_config core = cfg->client;

	int rc = parse_servers(io, cfg->servers, &core.chroot, err);
	if (rc == 0 && core.seed == 0)
		rc = pk_random_secret(&core.seed, sizeof(core.seed), err);
	if (rc == 0) {
		core.server_count = io->server_count;
		core.on_state = on_state;
		core.owner = io;
		core.wake = on_wake;
		core.wake_owner = io;
		io->client = zkc_new(&core, err);
	}
	if (io->client == NULL) {
		pk_err_wrap(err, "servers %s", cfg->servers);
		free(io);
		return NULL;
	}
	io->loop = l;
	io->tls = net_tls_ref(cfg->tls);
	io->on_state = cfg->client.on_state;
	io->owner = cfg->client.owner;
	io->timer = net_timer_new(l, on_timer, io);
	io->hook = net_loop_on_turn(l, on_turn, io);
	io->timer_at_ms = INT64_MIN;
	net_timer_start(io->timer, 0, 0); /* so that the loop has something to wait for */
	return io;
}

void zkc_io_free(struct zkc_io *io)
{
	if (io == NULL || io->dying)
		return;
	if (io->inside > 0) {
		io->dying = true;
		zkc_silence(io->client);
	} else {
		io_destroy(io);
	}
}

struct zkc *zkc_io_client(struct zkc_io *io)
{
	return io->client;
}

const char *zkc_io_server(const struct zkc_io *io, uint32_t i)
{
	PK_ASSERT(i < io->server_count);
	return io->servers[i].text;
}
