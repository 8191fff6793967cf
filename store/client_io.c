#include "store/client_io.h"

#include <stdio.h>
#include <sys/queue.h>
#include <uthash.h>

#include "base/log.h"
#include "base/mem.h"
#include "net/crypto.h"

#define LISTENERS_MAX         8
#define LINGER_MS             3000
#define MASK_BYTES            8
#define DIGEST_AUTH_BYTES_MAX 512

/* How many connections an address has. */
struct address {
	UT_hash_handle hh;
	char ip[NET_ADDR_TEXT_BYTES];
	size_t count;
};

struct client {
	struct clients *clients;
	struct net_stream *stream;
	struct conn *conn; /* NULL until the stream is open, and for words */
	struct zk_frame frame;
	struct address *address;
	void *sasl;
	bool started; /* its first bytes were judged */
	bool paused;
	bool held; /* in the list of those with frames to feed again */
	char text[NET_ADDR_TEXT_BYTES];
	TAILQ_ENTRY(client) link;
	TAILQ_ENTRY(client) held_link;
};

struct clients {
	struct net_loop *loop;
	struct clients_config cfg;
	struct server *server;
	struct net_listener *listeners[LISTENERS_MAX];
	size_t listener_count;
	TAILQ_HEAD(client_list, client) all;
	struct client_list held;
	struct address *addresses;
	struct clients_stats stats;
};

/* ---- bytes in ---- */

static void feed(struct client *c)
{
	struct pk_bytes body;
	struct pk_err err = PK_ERR_INIT;
	int rc = 0;

	while (!c->paused && !net_stream_is_closing(c->stream) &&
	       (rc = zk_frame_next(&c->frame, &body, &err)) == 1)
		server_conn_frame(c->conn, body);
	if (rc < 0) {
		c->clients->stats.bad_frames++;
		LOG_DEBUG("client.frame", "from=%s error=\"%s\"", c->text, err.text);
		server_conn_close(c->conn, err.text);
		return;
	}
	if (zk_frame_pending_bytes(&c->frame) > 0) {
		zk_frame_hold(&c->frame);
		if (c->paused && !c->held) {
			c->held = true;
			TAILQ_INSERT_TAIL(&c->clients->held, c, held_link);
		}
	}
}

/* true: it was a word, or there is not enough yet to know. */
static bool word_first(struct client *c)
{
	struct clients *cs = c->clients;
	enum zk_word word = zk_frame_word(&c->frame);
	struct pk_bytes taken, mask = PK_BYTES_NONE;
	struct pk_buf out = PK_BUF_INIT;

	if (word == ZK_WORD_NONE) {
		c->started = true;
		return false;
	}
	size_t want = word == ZK_WORD_STMK ? 4 + MASK_BYTES : 4;
	if (word == ZK_WORD_MORE || !zk_frame_take(&c->frame, want, &taken)) {
		zk_frame_hold(&c->frame);
		return true;
	}
	c->started = true;
	mask = pk_bytes(taken.data + 4, taken.len - 4);
	cs->stats.words++;
	cs->cfg.word(cs->cfg.owner, c, word, mask, &out);
	net_stream_write(c->stream, pk_buf_bytes(&out));
	net_stream_close_flushed(c->stream, LINGER_MS, "a four-letter word was answered");
	pk_buf_release(&out);
	return true;
}

static void on_bytes(void *owner, struct pk_bytes in)
{
	struct client *c = owner;

	server_now(c->clients->server, net_now_ms(c->clients->loop), net_wall_ms());
	zk_frame_feed(&c->frame, in);
	if (!c->started && word_first(c))
		return;
	feed(c);
}

static void on_open(void *owner)
{
	struct client *c = owner;
	struct clients *cs = c->clients;
	char ip[NET_ADDR_TEXT_BYTES];
	bool tls = net_stream_is_tls(c->stream);
	char *subject = tls ? net_stream_peer_subject(c->stream) : NULL;
	struct conn_info info = { .ip = net_addr_ip_text(net_stream_peer(c->stream), ip),
				  .secure = tls,
				  .x509_subject = subject };

	info.x509_super = subject != NULL && cs->cfg.x509_super != NULL &&
			  strcmp(subject, cs->cfg.x509_super) == 0;
	c->conn = server_conn_new(cs->server, c, &info);
	cs->stats.handshaking--;
	free(subject);
}

static void on_drain(void *owner)
{
	struct client *c = owner;

	if (c->conn != NULL)
		server_conn_drained(c->conn);
}

static void address_leave(struct clients *cs, struct address *a)
{
	if (--a->count == 0) {
		HASH_DELETE(hh, cs->addresses, a);
		free(a);
	}
}

static void client_free(struct client *c)
{
	struct clients *cs = c->clients;

	if (c->conn != NULL)
		server_conn_gone(c->conn);
	if (c->sasl != NULL)
		cs->cfg.sasl_free(c->sasl);
	if (c->held)
		TAILQ_REMOVE(&cs->held, c, held_link);
	TAILQ_REMOVE(&cs->all, c, link);
	address_leave(cs, c->address);
	cs->stats.now--;
	if (c->conn == NULL)
		cs->stats.handshaking--;
	zk_frame_release(&c->frame);
	free(c);
}

static void on_close(void *owner, const char *reason)
{
	struct client *c = owner;

	LOG_DEBUG("client.closed", "from=%s reason=\"%s\"", c->text, reason);
	c->clients->stats.handshakes_failed += c->conn == NULL;
	client_free(c);
}

static const struct net_stream_ops ops = {
	.on_open = on_open, .on_bytes = on_bytes, .on_drain = on_drain, .on_close = on_close
};

static void on_accept(void *owner, struct net_stream *s)
{
	struct clients *cs = owner;
	struct address *a;
	char ip[NET_ADDR_TEXT_BYTES];

	net_addr_ip_text(net_stream_peer(s), ip);
	HASH_FIND_STR(cs->addresses, ip, a);
	size_t of_address = a != NULL ? a->count : 0;
	if ((cs->cfg.conns_max > 0 && cs->stats.now >= cs->cfg.conns_max) ||
	    (cs->cfg.conns_per_address_max > 0 && of_address >= cs->cfg.conns_per_address_max)) {
		if (cs->stats.refused_limit++ % 1000 == 0)
			LOG_WARN("client.refused",
				 "from=%s connections=%zu of_address=%zu maxCnxns=%zu "
				 "maxClientCnxns=%zu",
				 ip, cs->stats.now, of_address, cs->cfg.conns_max,
				 cs->cfg.conns_per_address_max);
		return; /* unbound: it is closed */
	}
	if (cs->cfg.handshakes_max > 0 && net_stream_is_tls(s) &&
	    cs->stats.handshaking >= cs->cfg.handshakes_max) {
		if (cs->stats.refused_limit++ % 1000 == 0)
			LOG_WARN("client.refused",
				 "from=%s handshakes=%zu "
				 "netty.server.outstandingHandshake.limit=%zu",
				 ip, (size_t)cs->stats.handshaking, cs->cfg.handshakes_max);
		return;
	}
	if (a == NULL) {
		a = pk_alloc(sizeof(*a));
		snprintf(a->ip, sizeof(a->ip), "%s", ip);
		HASH_ADD_STR(cs->addresses, ip, a);
	}
	a->count++;
	struct client *c = pk_alloc(sizeof(*c));
	c->clients = cs;
	c->stream = s;
	c->address = a;
	net_addr_text(net_stream_peer(s), c->text);
	zk_frame_init(&c->frame, cs->cfg.frame_bytes_max);
	TAILQ_INSERT_TAIL(&cs->all, c, link);
	cs->stats.now++;
	cs->stats.handshaking++;
	cs->stats.accepted++;
	net_stream_bind(s, &ops, c);
}

/* ---- what the server asks for ---- */

static size_t owner_send(void *io, struct pk_bytes bytes)
{
	struct client *c = io;

	net_stream_write(c->stream, bytes);
	return net_stream_queued_bytes(c->stream);
}

static void owner_close(void *io, bool flush, const char *reason)
{
	struct client *c = io;

	if (flush)
		net_stream_close_flushed(c->stream, LINGER_MS, "%s", reason);
	else
		net_stream_close(c->stream, "%s", reason);
}

static void owner_pause(void *io, bool paused)
{
	struct client *c = io;

	c->paused = paused;
	if (paused) {
		net_stream_pause(c->stream);
		return;
	}
	net_stream_resume(c->stream);
	/* Never feed from here: the server is in the middle of something. clients_turn does. */
	if (zk_frame_pending_bytes(&c->frame) > 0 && !c->held) {
		c->held = true;
		TAILQ_INSERT_TAIL(&c->clients->held, c, held_link);
	}
}

void client_auth_digest(const struct clients_config *cfg, struct pk_bytes auth,
			struct server_auth_result *r)
{
	const uint8_t *colon = auth.len > 0 ? memchr(auth.data, ':', auth.len) : NULL;
	uint8_t hash[NET_DIGEST_BYTES_MAX];
	struct pk_buf text = PK_BUF_INIT;
	int hash_len = -1;
	size_t user = colon != NULL ? (size_t)(colon - auth.data) : auth.len;

	/* A null buffer is nobody, an empty one somebody without a name (Java trips over null). A
	 * NUL would cut the name short where identities are C strings. */
	if (auth.data != NULL && auth.len <= DIGEST_AUTH_BYTES_MAX && !cfg->digest_disabled &&
	    (auth.len == 0 || memchr(auth.data, 0, auth.len) == NULL))
		hash_len = net_digest(cfg->digest_alg, auth, hash, NULL);
	if (hash_len > 0) {
		net_base64_encode(pk_bytes(hash, (size_t)hash_len), &text);
		size_t len = user + 1 + text.len;
		if (len < sizeof(r->ids[0].id)) {
			char *id = r->ids[r->count].id;

			if (user > 0)
				memcpy(id, auth.data, user);
			id[user] = ':';
			memcpy(id + user + 1, text.data, text.len);
			id[len] = 0;
			snprintf(r->ids[r->count].scheme, sizeof(r->ids[0].scheme), "digest");
			r->count++;
			r->ok = true;
			if (cfg->super_digest != NULL && strcmp(id, cfg->super_digest) == 0) {
				snprintf(r->ids[r->count].scheme, sizeof(r->ids[0].scheme),
					 "super");
				r->ids[r->count].id[0] = 0;
				r->count++;
			}
		}
	}
	pk_buf_release(&text);
}

static void owner_auth(void *owner, void *io, struct pk_bytes scheme, struct pk_bytes auth,
		       struct server_auth_result *r)
{
	struct client *c = io;

	pk_ignore(owner, "the connection knows its clients");
	*r = (struct server_auth_result){ 0 };
	if (pk_bytes_is(scheme, "digest")) {
		client_auth_digest(&c->clients->cfg, auth, r);
	} else if (pk_bytes_is(scheme, "ip")) { /* it has that identity already */
		r->ok = true;
	} else if (pk_bytes_is(scheme, "x509")) {
		char *subject = net_stream_peer_subject(c->stream);
		r->ok = subject != NULL; /* likewise */
		free(subject);
	}
}

static int32_t owner_sasl(void *owner, void *io, struct pk_bytes token, struct pk_buf *out,
			  bool *out_null, struct server_auth_result *result)
{
	struct client *c = io;
	struct clients_config *cfg = &c->clients->cfg;

	pk_ignore(owner, "the connection knows its clients");
	*out_null = true;
	*result = (struct server_auth_result){ 0 };
	if (cfg->sasl == NULL) /* not configured: a null token and no error, as ZooKeeper */
		return 0;
	return cfg->sasl(cfg->owner, &c->sasl, token, out, out_null, result);
}

void clients_server_owner(struct server_owner *out)
{
	out->send = owner_send;
	out->close = owner_close;
	out->pause = owner_pause;
	out->auth = owner_auth;
	out->sasl = owner_sasl;
}

void clients_turn(struct clients *cs)
{
	struct client *c, *next, *last = TAILQ_LAST(&cs->held, client_list);

	for (c = TAILQ_FIRST(&cs->held); c != NULL; c = next) {
		next = c == last ? NULL : TAILQ_NEXT(c, held_link);
		if (c->paused)
			continue;
		TAILQ_REMOVE(&cs->held, c, held_link);
		c->held = false;
		if (!net_stream_is_closing(c->stream))
			feed(c);
	}
}

/* ---- life ---- */

struct clients *clients_new(struct net_loop *loop, const struct clients_config *cfg)
{
	struct clients *cs = pk_alloc(sizeof(*cs));

	cs->loop = loop;
	cs->cfg = *cfg;
	TAILQ_INIT(&cs->all);
	TAILQ_INIT(&cs->held);
	return cs;
}

void clients_set_server(struct clients *cs, struct server *s)
{
	cs->server = s;
}

int clients_listen(struct clients *cs, const char *host, uint16_t port, int backlog,
		   struct net_tls *tls, bool sniff, struct pk_err *err)
{
	int64_t handshake_ms = sniff && cs->cfg.sniff_timeout_ms < cs->cfg.handshake_timeout_ms
				       ? cs->cfg.sniff_timeout_ms
				       : cs->cfg.handshake_timeout_ms;
	struct net_listen_opts opts = { .host = host,
					.port = port,
					.backlog = backlog > 0 ? backlog : 0,
					.tls = tls,
					.sniff_tls = sniff,
					.limits = { .queued_bytes_max = CLIENT_QUEUE_BYTES_MAX,
						    .drain_bytes = CONN_OUT_COUNTED,
						    .handshake_timeout_ms = handshake_ms } };

	PK_ASSERT(cs->server != NULL);
	if (cs->listener_count == LISTENERS_MAX)
		return pk_err_set(err, PK_ELIMIT, "more than %d client ports", LISTENERS_MAX);
	struct net_listener *n = net_listen(cs->loop, &opts, on_accept, cs, err);
	if (n == NULL)
		return pk_err_wrap(err, "listen for clients on %s port %u",
				   host != NULL && *host != 0 ? host : "*", port);
	cs->listeners[cs->listener_count++] = n;
	return 0;
}

uint16_t clients_port(const struct clients *cs, size_t i)
{
	return i < cs->listener_count ? net_listener_port(cs->listeners[i]) : 0;
}

void clients_stop_listening(struct clients *cs)
{
	for (size_t i = 0; i < cs->listener_count; i++)
		net_listener_close(cs->listeners[i]);
	cs->listener_count = 0;
}

void clients_close_all(struct clients *cs, const char *reason)
{
	struct client *c;

	TAILQ_FOREACH (c, &cs->all, link) {
		if (c->conn != NULL)
			server_conn_close(c->conn, reason);
		else
			net_stream_close(c->stream, "%s", reason);
	}
}

void clients_stats(const struct clients *cs, struct clients_stats *out)
{
	*out = cs->stats;
}

size_t clients_count(const struct clients *cs)
{
	return cs->stats.now;
}

static void ignore_bytes(void *owner, struct pk_bytes in)
{
	pk_ignore(owner, "the client is gone");
	pk_ignore(in.len, "likewise");
}

static void ignore_close(void *owner, const char *reason)
{
	pk_ignore(owner, "the client is gone");
	pk_ignore(reason, "likewise");
}

static const struct net_stream_ops ignore_ops = { .on_bytes = ignore_bytes,
						  .on_close = ignore_close };

void clients_free(struct clients *cs)
{
	if (cs == NULL)
		return;
	clients_stop_listening(cs);
	while (!TAILQ_EMPTY(&cs->all)) {
		struct client *c = TAILQ_FIRST(&cs->all);

		net_stream_bind(c->stream, &ignore_ops, NULL);
		net_stream_close(c->stream, "stopping");
		client_free(c);
	}
	free(cs);
}

const char *client_address(const struct client *c)
{
	return c->text;
}

struct conn *client_conn(const struct client *c)
{
	return c->conn;
}

bool client_paused(const struct client *c)
{
	return c->paused;
}

size_t client_queued_bytes(const struct client *c)
{
	return net_stream_queued_bytes(c->stream);
}
