#include "store/peer_io.h"

#include <inttypes.h>
#include <sys/queue.h>

#include "base/log.h"
#include "base/mem.h"

#define HELLO_WAIT_MS  5000
#define RETRY_LEAST_MS 50
#define RETRY_MOST_MS  1000
#define ACCEPTED_MAX   (2 * PEERS_MAX)

/* Our outgoing connection to one peer. */
struct peer {
	struct peers *peers;
	uint64_t id;
	struct server_addr addrs[SERVER_ADDRS_MAX];
	size_t addr_count, addr_at; /* which is dialled */
	struct net_stream *stream;  /* NULL between attempts */
	struct net_timer *retry;
	int64_t retry_ms;
	bool welcome; /* greeted: frames may flow */
	uint8_t greeting[PEER_WELCOME_BYTES];
	size_t greeting_len;
	bool told_once; /* a failure was logged; the next ones only at debug */
	size_t queued_before;
	int64_t moved_ms; /* its queue last shrank, or was empty */
	LIST_ENTRY(peer) link;
};

/* A connection that a peer dialled. */
struct inlet {
	struct peers *peers;
	struct net_stream *stream;
	uint64_t from; /* 0 until the hello */
	uint64_t life; /* it asks: told anew when the answer changes */
	uint8_t told[PEER_WELCOME_BYTES];
	struct pk_buf in;
	int64_t since_ms;
	LIST_ENTRY(inlet) link;
};

struct peers {
	struct net_loop *loop;
	struct peers_config cfg;
	struct peers_owner owner;
	struct net_listener *listeners[8];
	size_t listener_count;
	LIST_HEAD(, peer) all;
	LIST_HEAD(, inlet) inlets;
	size_t inlet_count;
	uint64_t life;
	bool closing;
};

static const struct server_addr *addr(const struct peer *p)
{
	return &p->addrs[p->addr_at];
}

static const struct net_stream_limits limits = { .queued_bytes_max = PEER_BUDGET_BYTES +
								     PEER_FRAME_BYTES_MAX };

/* ---- dialling ---- */

static void dial(void *owner);

static void hello(struct peer *p)
{
	uint8_t h[PEER_HELLO_BYTES];

	peer_hello_encode(h, &(struct peer_hello){ .cluster_id = p->peers->cfg.cluster_id,
						   .from_id = p->peers->cfg.server_id,
						   .to_id = p->id,
						   .life = p->peers->life });
	net_stream_write(p->stream, pk_bytes(h, sizeof(h)));
}

static void on_dialled(void *owner)
{
	hello(owner);
}

static int welcomed(struct peer *p, struct pk_err *err)
{
	struct found_answer answer;
	int rc = peer_welcome_decode(&answer, p->greeting, err);

	p->greeting_len = 0;
	if (rc != 0)
		return rc;
	if (!p->welcome) {
		p->welcome = true;
		p->told_once = false;
		p->retry_ms = RETRY_LEAST_MS;
		p->moved_ms = net_now_ms(p->peers->loop);
		p->queued_before = 0;
		LOG_INFO("peer.up", "id=%" PRIu64 " host=%s port=%u", p->id, addr(p)->host,
			 addr(p)->peer_port);
	}
	p->peers->owner.welcomed(p->peers->owner.owner, p->id, &answer);
	return 0;
}

/* Nothing but welcomes comes here: the connection is ours to speak on. */
static void on_dialler_bytes(void *owner, struct pk_bytes in)
{
	struct peer *p = owner;
	struct pk_err err = PK_ERR_INIT;

	while (in.len > 0) {
		size_t room = sizeof(p->greeting) - p->greeting_len;
		size_t len = in.len < room ? in.len : room;

		memcpy(p->greeting + p->greeting_len, in.data, len);
		p->greeting_len += len;
		in = pk_bytes(in.data + len, in.len - len);
		if (p->greeting_len == sizeof(p->greeting) && welcomed(p, &err) != 0) {
			net_stream_close(p->stream, "%s", err.text);
			return;
		}
	}
}

static void on_dialler_close(void *owner, const char *reason)
{
	struct peer *p = owner;
	bool was_up = p->welcome;

	p->stream = NULL;
	p->welcome = false;
	p->greeting_len = 0;
	if (was_up || !p->told_once)
		LOG_WARN("peer.down", "id=%" PRIu64 " host=%s port=%u reason=\"%s\"", p->id,
			 addr(p)->host, addr(p)->peer_port, reason);
	else
		LOG_DEBUG("peer.down", "id=%" PRIu64 " reason=\"%s\"", p->id, reason);
	p->told_once = true;
	if (!was_up)
		p->addr_at = (p->addr_at + 1) % p->addr_count;
	net_timer_start(p->retry, p->retry_ms, 0);
	p->retry_ms = p->retry_ms * 2 < RETRY_MOST_MS ? p->retry_ms * 2 : RETRY_MOST_MS;
	if (was_up)
		p->peers->owner.down(p->peers->owner.owner, p->id, reason);
}

static const struct net_stream_ops dialler_ops = { .on_open = on_dialled,
						   .on_bytes = on_dialler_bytes,
						   .on_close = on_dialler_close };

static void dial(void *owner)
{
	struct peer *p = owner;
	struct net_connect_opts opts = { .host = addr(p)->host,
					 .port = addr(p)->peer_port,
					 .timeout_ms = p->peers->cfg.connect_timeout_ms,
					 .tls = p->peers->cfg.tls_client,
					 .limits = limits };

	PK_ASSERT(p->stream == NULL);
	p->stream = net_connect(p->peers->loop, &opts, &dialler_ops, p);
}

static struct peer *peer_find(const struct peers *ps, uint64_t id)
{
	struct peer *p;

	LIST_FOREACH (p, &ps->all, link)
		if (p->id == id)
			return p;
	return NULL;
}

/* Callbacks go nowhere from here on; the stream closes by itself. */
static void on_nothing_bytes(void *owner, struct pk_bytes in)
{
	pk_ignore(owner, "the peer was removed");
	pk_ignore(in.len, "likewise");
}

static void on_nothing_close(void *owner, const char *reason)
{
	pk_ignore(owner, "the peer was removed");
	pk_ignore(reason, "likewise");
}

static const struct net_stream_ops nothing_ops = { .on_bytes = on_nothing_bytes,
						   .on_close = on_nothing_close };

static void peer_free(struct peer *p)
{
	if (p->stream != NULL) {
		net_stream_bind(p->stream, &nothing_ops, NULL);
		net_stream_close(p->stream, "removed");
	}
	net_timer_free(p->retry);
	LIST_REMOVE(p, link);
	free(p);
}

static bool same_addrs(const struct peer *p, const struct server_addr *addrs, size_t count)
{
	bool same = p->addr_count == count;

	for (size_t i = 0; same && i < count; i++)
		same = strcmp(p->addrs[i].host, addrs[i].host) == 0 &&
		       p->addrs[i].peer_port == addrs[i].peer_port;
	return same;
}

void peers_add(struct peers *ps, uint64_t id, const struct server_addr *addrs, size_t count)
{
	struct peer *p = peer_find(ps, id);

	PK_ASSERT(id != 0 && id != ps->cfg.server_id);
	PK_ASSERT(count > 0 && count <= SERVER_ADDRS_MAX);
	if (p != NULL && same_addrs(p, addrs, count))
		return;
	if (p != NULL)
		peer_free(p);
	p = pk_alloc(sizeof(*p));
	p->peers = ps;
	p->id = id;
	p->retry_ms = RETRY_LEAST_MS;
	memcpy(p->addrs, addrs, count * sizeof(*addrs));
	p->addr_count = count;
	p->retry = net_timer_new(ps->loop, dial, p);
	LIST_INSERT_HEAD(&ps->all, p, link);
	net_timer_start(p->retry, 0, 0);
}

void peers_ask(struct peers *ps, uint64_t life)
{
	ps->life = life;
}

void peers_remove(struct peers *ps, uint64_t id)
{
	struct peer *p = peer_find(ps, id);

	if (p != NULL)
		peer_free(p);
}

bool peers_knows(const struct peers *ps, uint64_t id)
{
	return peer_find(ps, id) != NULL;
}

bool peers_connected(const struct peers *ps, uint64_t id)
{
	struct peer *p = peer_find(ps, id);

	return p != NULL && p->welcome;
}

size_t peers_queued_bytes(const struct peers *ps, uint64_t id)
{
	struct peer *p = peer_find(ps, id);

	return p != NULL && p->stream != NULL ? net_stream_queued_bytes(p->stream) : 0;
}

bool peers_send(struct peers *ps, uint64_t id, uint8_t type, struct pk_bytes body)
{
	struct peer *p = peer_find(ps, id);
	uint8_t head[PEER_FRAME_HEAD_BYTES];

	if (p == NULL || !p->welcome || body.len > PEER_FRAME_BYTES_MAX ||
	    net_stream_queued_bytes(p->stream) > PEER_BUDGET_BYTES)
		return false;
	peer_frame_head(head, type, body.len);
	net_stream_write(p->stream, pk_bytes(head, sizeof(head)));
	net_stream_write(p->stream, body);
	return true;
}

/* ---- listening ---- */

static bool named_right(const struct inlet *in, uint64_t from, struct pk_err *err)
{
	const struct peer *p = peer_find(in->peers, from);

	if (!in->peers->cfg.check_names || p == NULL)
		return true;
	for (size_t i = 0; i < p->addr_count; i++)
		if (net_stream_peer_has_name(in->stream, p->addrs[i].host))
			return true;
	char *subject = net_stream_peer_subject(in->stream);
	pk_ignore(pk_err_set(err, PK_EAUTH,
			     "it says it is server %" PRIu64
			     ", but its certificate (%s) does not carry that server's name %s",
			     from, subject != NULL ? subject : "none", p->addrs[0].host),
		  "told by the result");
	free(subject);
	return false;
}

static int greet(struct inlet *in, struct pk_err *err)
{
	const struct peers_config *cfg = &in->peers->cfg;
	struct peer_hello h;
	int rc = peer_hello_decode(&h, in->in.data, err);

	if (rc != 0)
		return rc;
	if (h.cluster_id != cfg->cluster_id)
		return pk_err_set(err, PK_EPROTO,
				  "it belongs to cluster %016" PRIx64 ", we to %016" PRIx64
				  " (paddock.clusterName)",
				  h.cluster_id, cfg->cluster_id);
	if (h.to_id != cfg->server_id)
		return pk_err_set(err, PK_EPROTO,
				  "it wants server %" PRIu64 ", we are %" PRIu64
				  ": check the server.N lines and myid",
				  h.to_id, cfg->server_id);
	if (h.from_id == 0 || h.from_id == cfg->server_id)
		return pk_err_set(err, PK_EPROTO, "it says it is server %" PRIu64 ", which we are",
				  h.from_id);
	if (!named_right(in, h.from_id, err))
		return err->code;
	in->from = h.from_id;
	in->life = h.life;
	return 0;
}

static void tell(struct inlet *in, bool again)
{
	struct peers_owner *owner = &in->peers->owner;
	struct found_answer answer = owner->welcome(owner->owner, in->from, in->life);
	uint8_t now[PEER_WELCOME_BYTES];

	peer_welcome_encode(now, &answer);
	if (again && memcmp(now, in->told, sizeof(now)) == 0)
		return;
	memcpy(in->told, now, sizeof(now));
	net_stream_write(in->stream, pk_bytes(now, sizeof(now)));
}

static int inlet_frames(struct inlet *in, struct pk_err *err)
{
	struct peers *ps = in->peers;
	struct pk_bytes body;
	size_t at = 0;
	uint8_t type;
	int rc = 0;

	if (in->from == 0) {
		if (in->in.len < PEER_HELLO_BYTES)
			return 0;
		rc = greet(in, err);
		if (rc != 0)
			return rc;
		at = PEER_HELLO_BYTES;
		tell(in, false);
	}
	while (rc == 0) {
		struct pk_bytes left = pk_bytes(in->in.data + at, in->in.len - at);

		rc = peer_frame_decode(left, &type, &body, err);
		if (rc <= 0)
			break;
		rc = ps->owner.recv(ps->owner.owner, in->from, type, body, err);
		at += PEER_FRAME_HEAD_BYTES + body.len;
	}
	pk_buf_drop(&in->in, at);
	if (in->in.len == 0 &&
	    in->in.cap > (1u << 20)) /* one large frame must not keep its memory */
		pk_buf_release(&in->in);
	return rc;
}

static void on_inlet_bytes(void *owner, struct pk_bytes bytes)
{
	struct inlet *in = owner;
	struct pk_err err = PK_ERR_INIT;
	char ip[NET_ADDR_TEXT_BYTES];

	pk_buf_add_bytes(&in->in, bytes);
	if (inlet_frames(in, &err) != 0) {
		LOG_WARN("peer.refused", "from=%s id=%" PRIu64 " reason=\"%s\"",
			 net_addr_ip_text(net_stream_peer(in->stream), ip), in->from, err.text);
		net_stream_close(in->stream, "%s", err.text);
	}
}

static void on_inlet_close(void *owner, const char *reason)
{
	struct inlet *in = owner;

	LOG_DEBUG("peer.inlet", "id=%" PRIu64 " closed=\"%s\"", in->from, reason);
	LIST_REMOVE(in, link);
	in->peers->inlet_count--;
	pk_buf_release(&in->in);
	free(in);
}

static const struct net_stream_ops inlet_ops = { .on_bytes = on_inlet_bytes,
						 .on_close = on_inlet_close };

static void on_accept(void *owner, struct net_stream *s)
{
	struct peers *ps = owner;

	if (ps->closing || ps->inlet_count >= ACCEPTED_MAX)
		return; /* unbound: it is closed */
	struct inlet *in = pk_alloc(sizeof(*in));
	in->peers = ps;
	in->stream = s;
	in->since_ms = net_now_ms(ps->loop);
	LIST_INSERT_HEAD(&ps->inlets, in, link);
	ps->inlet_count++;
	net_stream_bind(s, &inlet_ops, in);
}

int peers_listen(struct peers *ps, const char *host, uint16_t port, struct pk_err *err)
{
	struct net_listen_opts opts = {
		.host = host, .port = port, .tls = ps->cfg.tls_server, .limits = limits
	};

	if (ps->listener_count == PK_COUNT(ps->listeners))
		return pk_err_set(err, PK_ELIMIT, "more than %zu addresses to listen on for peers",
				  PK_COUNT(ps->listeners));
	struct net_listener *n = net_listen(ps->loop, &opts, on_accept, ps, err);
	if (n == NULL)
		return pk_err_wrap(err, "listen for peers on %s port %u", host != NULL ? host : "*",
				   port);
	ps->listeners[ps->listener_count++] = n;
	return 0;
}

/* ---- life ---- */

void peers_tick(struct peers *ps)
{
	int64_t now = net_now_ms(ps->loop);
	struct peer *p;
	struct inlet *in;

	LIST_FOREACH (p, &ps->all, link) {
		if (p->stream == NULL || !p->welcome)
			continue;
		size_t queued = net_stream_queued_bytes(p->stream);
		if (queued == 0 || queued < p->queued_before)
			p->moved_ms = now;
		p->queued_before = queued;
		if (now - p->moved_ms > PEER_STALL_MS)
			net_stream_close(p->stream, "it took nothing for %d ms", PEER_STALL_MS);
	}
	LIST_FOREACH (in, &ps->inlets, link) {
		if (in->from != 0 && in->life != 0)
			tell(in, true);
		if (in->from == 0 && now - in->since_ms > HELLO_WAIT_MS)
			net_stream_close(in->stream, "no greeting");
	}
}

struct peers *peers_new(struct net_loop *loop, const struct peers_config *cfg,
			const struct peers_owner *owner)
{
	struct peers *ps = pk_alloc(sizeof(*ps));

	ps->loop = loop;
	ps->cfg = *cfg;
	ps->cfg.tls_server = net_tls_ref(cfg->tls_server);
	ps->cfg.tls_client = net_tls_ref(cfg->tls_client);
	ps->owner = *owner;
	LIST_INIT(&ps->all);
	LIST_INIT(&ps->inlets);
	return ps;
}

void peers_free(struct peers *ps)
{
	if (ps == NULL)
		return;
	ps->closing = true;
	for (size_t i = 0; i < ps->listener_count; i++)
		net_listener_close(ps->listeners[i]);
	while (!LIST_EMPTY(&ps->all))
		peer_free(LIST_FIRST(&ps->all));
	while (!LIST_EMPTY(&ps->inlets)) {
		struct inlet *in = LIST_FIRST(&ps->inlets);

		net_stream_bind(in->stream, &nothing_ops, NULL);
		net_stream_close(in->stream, "stopping");
		LIST_REMOVE(in, link);
		pk_buf_release(&in->in);
		free(in);
	}
	net_tls_free(ps->cfg.tls_server);
	net_tls_free(ps->cfg.tls_client);
	free(ps);
}
