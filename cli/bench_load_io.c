#include "cli/bench_load_io.h"

#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/addr.h"
#include "zkproto/frame.h"
#include "zkproto/zk.h"

#define HOST_BYTES        256
#define READ_BYTES        262144
#define FRAME_BYTES_MAX   (64U << 20) /* replies with many children are long */
#define EVENTS_PER_TURN   512
#define OPENING_MAX       64 /* connections under way at once: below any listen queue */
#define TURN_MS           50
#define TURN_SOON_MS      5 /* when there are retries or pings to be sent in time */
#define PINGS_PER_TIMEOUT 3
#define RETRY_NS          UINT64_C(10000000)
#define RETRY_CONNS       256  /* so many may try again in RETRY_NS; of more, each waits longer */
#define RETRYING_MAX      1024 /* tries under way at once */
#define TIMER_SLACK_NS    1000
#define NS_PER_S          UINT64_C(1000000000)
#define SILENCE_NS_MAX    UINT64_C(60000000000)
#define CLOSE_NS_MAX      UINT64_C(5000000000)
#define NS_PER_MS         UINT64_C(1000000)

/*
 *          connect(2)            answer to the session request
 *   IDLE ─────────────▶ OPENING ─────────────▶ READY
 *     ▲                    │                     │
 *     └────────────────────┴─────────────────────┘  broken, or closed by us
 */
enum conn_state { CONN_IDLE, CONN_OPENING, CONN_READY };

struct conn {
	struct bench_load *load;
	uint32_t index;
	int fd; /* -1: none */
	enum conn_state state;
	uint32_t interest; /* what epoll watches for */
	bool watching;     /* an event of node watch_key is due */
	bool rewatch;      /* it was, when the connection broke */
	uint64_t watch_key;
	uint64_t broke_ns;  /* not back since then; 0: nothing broke */
	int64_t session_id; /* 0: none yet */
	uint8_t password[ZK_PASSWORD_BYTES];
	size_t server;
	int32_t xid_last;
	int64_t zxid_last;
	uint64_t opened_ns;
	uint64_t retry_ns; /* IDLE: when to try again; 0: not */
	struct pk_buf out;
	size_t out_sent;
	struct zk_frame in;
	struct bench_request *ring; /* outstanding, oldest at head; owned */
	uint32_t ring_mask, head, count;
};

struct server {
	struct sockaddr_storage addr;
	socklen_t addr_bytes;
};

struct bench_load {
	struct bench_load_config config;
	struct server servers[BENCH_SERVERS_MAX];
	size_t server_count;
	int epoll_fd;
	struct conn *conns; /* owned, config.conns */
	uint8_t *read_buf;  /* owned, READ_BYTES */
	uint32_t opening;   /* connections in OPENING */
	uint32_t ready;
	uint32_t watching; /* connections that wait for an event */
	uint32_t away;     /* connections that broke and are not back */
	bool ending;       /* connections may break now */
	uint64_t heard_ns; /* when something last came in */
	/* of the phase under way; phase is NULL outside */
	const struct bench_phase *phase;
	struct bench_work *work;
	struct bench_result *result;
	uint32_t conns_used, slots;
	uint64_t outstanding;       /* over all connections; sessions: those not IDLE */
	uint64_t begun_ns, done_ns; /* the phase; the last operation */
	uint64_t due_ns; /* with a rate: of the next request; 0: when there is room for it */
	bool issuing, counting;
};

static volatile sig_atomic_t stop_soon;

void bench_load_stop_soon(void)
{
	stop_soon = 1;
}

void bench_load_go_on(void)
{
	stop_soon = 0;
}

static int server_add(struct bench_load *l, const char *text, struct pk_err *err)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found;
	char host[HOST_BYTES], service[8];
	uint16_t port;

	if (l->server_count == BENCH_SERVERS_MAX)
		return pk_err_set(err, PK_ELIMIT, "at most %d servers", BENCH_SERVERS_MAX);
	if (net_host_port_parse(text, 2181, host, sizeof(host), &port, err) != 0)
		return err->code;
	pk_ignore(snprintf(service, sizeof(service), "%u", port), "it fits");
	int rc = getaddrinfo(host, service, &hints, &found);
	if (rc != 0)
		return pk_err_set(err, PK_ENOENT, "%s: %s", text, gai_strerror(rc));
	struct server *s = &l->servers[l->server_count++];
	memcpy(&s->addr, found->ai_addr, found->ai_addrlen);
	s->addr_bytes = found->ai_addrlen;
	freeaddrinfo(found);
	return 0;
}

static int servers_add(struct bench_load *l, const char *list, struct pk_err *err)
{
	int rc = 0;

	for (const char *at = list; rc == 0 && at != NULL;) {
		size_t len = strcspn(at, ",");
		char *one = pk_strndup(at, len);

		rc = server_add(l, one, err);
		free(one);
		at = at[len] == ',' ? at + len + 1 : NULL;
	}
	return rc;
}

int bench_load_new(struct bench_load **out, const struct bench_load_config *config,
		   struct pk_err *err)
{
	struct bench_load *l = pk_alloc(sizeof(*l));
	uint32_t slots = 2; /* sync and get take two */

	PK_ASSERT(config->conns >= 1 && config->conns <= BENCH_CONNS_MAX);
	PK_ASSERT(config->pipeline >= 1 && config->pipeline <= BENCH_PIPELINE_MAX);
	l->config = *config;
	l->epoll_fd = -1;
	int rc = servers_add(l, config->servers, err);
	if (rc == 0) {
		l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
		if (l->epoll_fd < 0)
			rc = pk_err_sys(err, errno, "epoll");
	}
	if (rc != 0) {
		free(l);
		return rc;
	}
	while (slots < 2 * config->pipeline)
		slots *= 2;
	l->read_buf = pk_alloc(READ_BYTES);
	l->conns = pk_alloc(config->conns * sizeof(*l->conns));
	for (uint32_t i = 0; i < config->conns; i++) {
		struct conn *c = &l->conns[i];

		*c = (struct conn){ .load = l, .index = i, .fd = -1 };
		c->server = i % l->server_count;
		zk_frame_init(&c->in, FRAME_BYTES_MAX);
		c->ring = pk_alloc(slots * sizeof(*c->ring));
		c->ring_mask = slots - 1;
	}
	*out = l;
	return 0;
}

void bench_load_free(struct bench_load *l)
{
	for (uint32_t i = 0; i < l->config.conns; i++) {
		struct conn *c = &l->conns[i];

		if (c->fd >= 0)
			pk_ignore(close(c->fd), "we are done with it");
		zk_frame_release(&c->in);
		pk_buf_release(&c->out);
		free(c->ring);
	}
	pk_ignore(close(l->epoll_fd), "we are done with it");
	free(l->conns);
	free(l->read_buf);
	free(l);
}

/* ---- one connection ----------------------------------------------------------------------------
 */

/* Reset, not an orderly end: else this machine would run out of ports after 28,000 sessions. */
static void conn_drop(struct conn *c)
{
	struct bench_load *l = c->load;
	struct linger reset = { .l_onoff = 1, .l_linger = 0 };
	size_t bytes_max = c->in.bytes_max;

	if (c->state == CONN_OPENING)
		l->opening--;
	if (c->state == CONN_READY)
		l->ready--;
	pk_ignore(setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)),
		  "then it is an orderly end");
	pk_ignore(close(c->fd), "nothing is owed on it");
	c->fd = -1;
	c->state = CONN_IDLE;
	c->count = 0;
	if (c->watching) {
		l->watching--;
		c->rewatch = l->config.reconnect;
	}
	c->watching = false;
	if (!l->config.reconnect)
		c->session_id = 0;
	if (c->session_id == 0)
		c->zxid_last = 0;
	pk_buf_clear(&c->out);
	c->out_sent = 0;
	zk_frame_release(&c->in);
	zk_frame_init(&c->in, bytes_max);
}

static int conn_broken(struct conn *c, struct pk_err *err)
{
	struct bench_load *l = c->load;
	bool sessions = l->phase != NULL && l->phase->mix == BENCH_MIX_SESSION;
	bool was_ready = c->state == CONN_READY;

	if (!l->ending && !l->config.reconnect)
		return pk_err_wrap(err, "connection %" PRIu32, c->index);
	if (l->phase != NULL) {
		l->outstanding -= sessions ? 1 : c->count;
		l->result->lost += c->count;
	}
	conn_drop(c);
	if (!l->ending) {
		uint64_t now_ns = bench_proc_now_ns();
		uint32_t crowd = was_ready ? 1 : 1 + l->config.conns / RETRY_CONNS;

		c->server = (c->server + 1) % l->server_count;
		c->retry_ns = now_ns + RETRY_NS * crowd;
		if (c->broke_ns == 0) {
			c->broke_ns = now_ns;
			l->away++;
		}
	}
	return 0;
}

static int conn_interest(struct conn *c, uint32_t interest, int op, struct pk_err *err)
{
	struct epoll_event event = { .events = interest, .data.ptr = c };

	if (op == EPOLL_CTL_MOD && c->interest == interest)
		return 0;
	c->interest = interest;
	if (epoll_ctl(c->load->epoll_fd, op, c->fd, &event) != 0)
		return pk_err_sys(err, errno, "epoll");
	return 0;
}

static int conn_flush(struct conn *c, struct pk_err *err)
{
	while (c->out_sent < c->out.len) {
		ssize_t n = send(c->fd, c->out.data + c->out_sent, c->out.len - c->out_sent,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == ENOTCONN))
			break;
		if (n < 0) {
			pk_ignore(pk_err_sys(err, errno, "send"), "conn_broken decides");
			return conn_broken(c, err);
		}
		c->out_sent += (size_t)n;
	}
	if (c->out_sent == c->out.len) {
		pk_buf_clear(&c->out);
		c->out_sent = 0;
		return conn_interest(c, EPOLLIN, EPOLL_CTL_MOD, err);
	}
	return conn_interest(c, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD, err);
}

static int conn_open(struct conn *c, struct pk_err *err)
{
	struct bench_load *l = c->load;
	const struct server *s = &l->servers[c->server];
	struct zk_connect_req req = {
		.last_zxid_seen = c->zxid_last,
		.timeout_ms = l->config.session_ms,
		.session_id = c->session_id,
		.password = pk_bytes(c->password, sizeof(c->password)),
		.has_read_only = true,
	};
	int one = 1;

	PK_ASSERT(c->state == CONN_IDLE && c->fd < 0);
	c->fd = socket(s->addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		return pk_err_sys(err, errno, "socket");
	pk_ignore(setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)),
		  "slower, not wrong");
	c->state = CONN_OPENING;
	c->retry_ns = 0;
	c->opened_ns = bench_proc_now_ns();
	c->xid_last = 0;
	l->opening++;
	if (l->phase != NULL && l->phase->mix == BENCH_MIX_SESSION)
		l->outstanding++;
	size_t at = zk_frame_begin(&c->out);
	zk_connect_req_encode(&c->out, &req);
	zk_frame_end(&c->out, at);
	int rc = connect(c->fd, (const struct sockaddr *)&s->addr, s->addr_bytes);
	if (rc != 0 && errno != EINPROGRESS) {
		pk_ignore(pk_err_sys(err, errno, "connect"), "conn_broken decides");
		return conn_broken(c, err);
	}
	return conn_interest(c, EPOLLIN | EPOLLOUT, EPOLL_CTL_ADD, err);
}

static int32_t xid_of(struct conn *c, enum bench_op op)
{
	if (op == BENCH_PING)
		return ZK_XID_PING;
	if (op == BENCH_REWATCH)
		return ZK_XID_SET_WATCHES;
	c->xid_last = c->xid_last == INT32_MAX ? 1 : c->xid_last + 1;
	return c->xid_last;
}

static void conn_send(struct conn *c, enum bench_op op, uint64_t key, uint64_t now_ns, bool counted)
{
	struct bench_request *r = &c->ring[(c->head + c->count) & c->ring_mask];

	PK_ASSERT(c->count <= c->ring_mask);
	*r = (struct bench_request){
		.key = key,
		.start_ns = now_ns,
		.xid = xid_of(c, op),
		.op = (uint8_t)op,
		.counted = counted,
	};
	c->count++;
	c->load->work->zxid = c->zxid_last;
	bench_work_encode(c->load->work, &c->out, r);
}

static void conn_send_next(struct conn *c, uint64_t start_ns)
{
	struct bench_load *l = c->load;
	const struct bench_phase *p = l->phase;
	struct bench_work *w = l->work;
	uint64_t key = p->by_chance ? pk_rng_below(&w->rng, w->keys) : p->first + l->result->sent;
	uint32_t before = c->count;

	switch (p->mix) {
	case BENCH_MIX_READS:
		conn_send(c, pk_rng_below(&w->rng, 100) < p->read_percent ? BENCH_GET : BENCH_SET,
			  key, start_ns, true);
		break;
	case BENCH_MIX_SYNCED:
		conn_send(c, BENCH_SYNC, key, start_ns, false);
		conn_send(c, BENCH_GET, key, start_ns, true);
		break;
	case BENCH_MIX_ONE:
	case BENCH_MIX_SESSION:
	case BENCH_MIX_IDLE:
		conn_send(c, p->op, key, start_ns, !p->awaits_events);
		break;
	}
	l->outstanding += c->count - before;
	l->result->sent++;
	if (p->count != 0 && l->result->sent == p->count)
		l->issuing = false;
}

/* Send until as many requests are outstanding as may be. */
static void conn_fill(struct conn *c, uint64_t now_ns)
{
	struct bench_load *l = c->load;
	const struct bench_phase *p = l->phase;

	if (p == NULL || p->mix == BENCH_MIX_SESSION || p->mix == BENCH_MIX_IDLE || p->once_each ||
	    p->rate != 0 || c->index >= l->conns_used)
		return;
	while (l->issuing && c->count < l->slots)
		conn_send_next(c, now_ns);
}

static void count_done(struct bench_load *l, uint64_t start_ns, uint64_t now_ns)
{
	if (!l->counting)
		return;
	l->result->ops++;
	if (now_ns - l->done_ns > l->result->gap_ns)
		l->result->gap_ns = now_ns - l->done_ns;
	l->done_ns = now_ns;
	bench_hist_add(&l->result->latency, now_ns - start_ns);
}

/* Its session is there again after a break, and its watch, if it had one. */
static void conn_back(struct conn *c, uint64_t now_ns)
{
	struct bench_load *l = c->load;

	if (c->broke_ns == 0)
		return;
	if (l->result != NULL)
		bench_hist_add(&l->result->away, now_ns - c->broke_ns);
	c->broke_ns = 0;
	l->away--;
}

static int conn_session(struct conn *c, struct pk_bytes body, struct pk_err *err)
{
	struct bench_load *l = c->load;
	struct zk_rd r = zk_rd(body);
	struct zk_connect_resp resp;

	if (zk_connect_resp_decode(&r, &resp) != 0 || resp.password.len != ZK_PASSWORD_BYTES)
		return pk_err_set(err, PK_EPROTO, "an answer of %zu bytes to a session request",
				  body.len);
	if (resp.session_id == 0 && c->session_id != 0) { /* expired: begin anew */
		c->session_id = 0;
		c->rewatch = false;
		memset(c->password, 0, sizeof(c->password));
		if (l->result != NULL)
			l->result->sessions_lost++;
		pk_ignore(pk_err_set(err, PK_ECLOSED, "the session is gone"),
			  "conn_broken decides");
		return conn_broken(c, err);
	}
	if (resp.session_id == 0 || (c->session_id != 0 && resp.session_id != c->session_id))
		return pk_err_set(err, PK_EPROTO, "the server gave no session");
	c->session_id = resp.session_id;
	memcpy(c->password, resp.password.data, ZK_PASSWORD_BYTES);
	c->state = CONN_READY;
	l->opening--;
	l->ready++;
	if (c->rewatch && l->work != NULL) {
		conn_send(c, BENCH_REWATCH, c->watch_key, bench_proc_now_ns(), false);
		l->outstanding++;
	} else {
		conn_back(c, bench_proc_now_ns());
	}
	if (l->phase != NULL && l->phase->mix == BENCH_MIX_SESSION)
		conn_send(c, BENCH_CLOSE, 0, c->opened_ns, true);
	return 0;
}

static int conn_event(struct conn *c, struct zk_rd *body, uint64_t now_ns, struct pk_err *err)
{
	struct bench_load *l = c->load;

	if ((!c->watching && !c->rewatch) || !l->phase->awaits_events)
		return pk_err_set(err, PK_EPROTO, "an event that nobody waits for");
	if (bench_work_check_event(l->work, c->watch_key, body, err) != 0)
		return err->code;
	if (c->watching)
		l->watching--;
	c->watching = false;
	c->rewatch = false; /* of what changed meanwhile, setWatches tells at once */
	l->result->events++;
	bench_hist_add(&l->result->latency, now_ns - l->begun_ns);
	return 0;
}

static int conn_reply(struct conn *c, struct pk_bytes body, uint64_t now_ns, struct pk_err *err)
{
	struct bench_load *l = c->load;
	struct zk_rd r = zk_rd(body);
	struct zk_reply_header header;
	struct bench_request *oldest = &c->ring[c->head & c->ring_mask];

	if (zk_reply_header_decode(&r, &header) != 0)
		return pk_err_set(err, PK_EPROTO, "a reply of %zu bytes", body.len);
	if (header.xid == ZK_XID_NOTIFICATION)
		return conn_event(c, &r, now_ns, err);
	if (c->count == 0 || header.xid != oldest->xid)
		return pk_err_set(err, PK_EPROTO, "a reply with xid %" PRId32 ", want %" PRId32,
				  header.xid, c->count == 0 ? 0 : oldest->xid);
	if (header.zxid < c->zxid_last)
		return pk_err_set(err, PK_EPROTO, "zxid fell from 0x%" PRIx64 " to 0x%" PRIx64,
				  (uint64_t)c->zxid_last, (uint64_t)header.zxid);
	c->zxid_last = header.zxid;
	l->work->owner = c->session_id;
	if (bench_work_check(l->work, oldest, &header, &r, err) != 0)
		return err->code;
	if (oldest->op == BENCH_WATCH || (oldest->op == BENCH_REWATCH && c->rewatch)) {
		c->watching = true;
		c->watch_key = oldest->key;
		l->watching++;
	}
	if (oldest->op == BENCH_REWATCH) {
		c->rewatch = false;
		conn_back(c, now_ns);
	}
	c->head++;
	c->count--;
	if (l->phase->mix != BENCH_MIX_SESSION)
		l->outstanding--;
	if (oldest->counted)
		count_done(l, oldest->start_ns, now_ns);
	return 0;
}

static int conn_readable(struct conn *c, struct pk_err *err)
{
	struct bench_load *l = c->load;
	ssize_t n = recv(c->fd, l->read_buf, READ_BYTES, MSG_DONTWAIT);
	struct pk_bytes body;
	int rc, got;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0) {
		if (n < 0)
			pk_ignore(pk_err_sys(err, errno, "receive"), "conn_broken decides");
		else
			pk_ignore(pk_err_set(err, PK_ECLOSED, "the server closed it"),
				  "conn_broken decides");
		return conn_broken(c, err);
	}
	uint64_t now_ns = bench_proc_now_ns();
	l->heard_ns = now_ns;
	if (l->counting)
		l->result->received_bytes += (uint64_t)n;
	zk_frame_feed(&c->in, pk_bytes(l->read_buf, (size_t)n));
	while ((got = zk_frame_next(&c->in, &body, err)) == 1) {
		if (l->work == NULL && c->state == CONN_READY)
			rc = pk_err_set(err, PK_EPROTO, "a frame that nobody asked for");
		else
			rc = c->state == CONN_READY ? conn_reply(c, body, now_ns, err)
						    : conn_session(c, body, err);
		if (rc != 0)
			return pk_err_wrap(err, "connection %" PRIu32, c->index);
		if (c->fd < 0) /* its session was gone */
			return 0;
	}
	if (got < 0)
		return pk_err_wrap(err, "connection %" PRIu32, c->index);
	bool sessions = l->phase != NULL && l->phase->mix == BENCH_MIX_SESSION;
	if (sessions && c->state == CONN_READY && c->count == 0) {
		c->session_id = 0;
		conn_drop(c);
		l->outstanding--;
		l->result->sent++;
		if (l->phase->count != 0 && l->result->sent >= l->phase->count)
			l->issuing = false;
		return l->issuing ? conn_open(c, err) : 0;
	}
	if (l->ending && c->count == 0) {
		conn_drop(c);
		return 0;
	}
	conn_fill(c, now_ns);
	return conn_flush(c, err);
}

/* ---- all of them -------------------------------------------------------------------------------
 */

static int retry_idle(struct bench_load *l, uint64_t now_ns, struct pk_err *err)
{
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < l->config.conns && l->opening < RETRYING_MAX; i++) {
		struct conn *c = &l->conns[i];

		if (c->state == CONN_IDLE && c->retry_ns != 0 && c->retry_ns <= now_ns)
			rc = conn_open(c, err);
	}
	return rc;
}

static uint64_t turn_ns(const struct bench_load *l)
{
	bool soon = l->config.reconnect || (l->phase != NULL && l->phase->mix == BENCH_MIX_IDLE);
	uint64_t most_ns = (soon ? TURN_SOON_MS : TURN_MS) * NS_PER_MS;
	uint64_t now_ns = l->due_ns == 0 ? 0 : bench_proc_now_ns();

	if (l->due_ns == 0)
		return most_ns;
	if (l->due_ns <= now_ns)
		return 0;
	return l->due_ns - now_ns < most_ns ? l->due_ns - now_ns : most_ns;
}

static int turn(struct bench_load *l, struct pk_err *err)
{
	struct epoll_event events[EVENTS_PER_TURN];
	struct timespec wait = { .tv_nsec = (long)turn_ns(l) };
	int n = epoll_pwait2(l->epoll_fd, events, EVENTS_PER_TURN, &wait, NULL);
	int rc = 0;

	static_assert(TURN_MS < 1000, "tv_nsec is below a second");

	if (n < 0 && errno != EINTR)
		return pk_err_sys(err, errno, "epoll");
	for (int i = 0; rc == 0 && i < n; i++) {
		struct conn *c = events[i].data.ptr;

		/* one descriptor, one event a turn: nothing here can be about a closed one */
		if ((events[i].events & EPOLLOUT) != 0)
			rc = conn_flush(c, err);
		if (rc == 0 && c->fd >= 0 && (events[i].events & ~(uint32_t)EPOLLOUT) != 0)
			rc = conn_readable(c, err);
	}
	if (rc == 0 && l->config.reconnect && !l->ending)
		rc = retry_idle(l, bench_proc_now_ns(), err);
	return rc;
}

static int silence(const struct bench_load *l, uint64_t now_ns, struct pk_err *err)
{
	if (now_ns - l->heard_ns < SILENCE_NS_MAX)
		return 0;
	return pk_err_set(err, PK_ETIMEDOUT, "no server said anything for %d s",
			  (int)(SILENCE_NS_MAX / NS_PER_MS / 1000));
}

int bench_load_open(struct bench_load *l, struct pk_err *err)
{
	uint32_t next = 0;
	int rc = 0;

	l->heard_ns = bench_proc_now_ns();
	while (rc == 0 && l->ready < l->config.conns) {
		while (rc == 0 && next < l->config.conns && l->opening < OPENING_MAX)
			rc = conn_open(&l->conns[next++], err);
		if (rc == 0)
			rc = turn(l, err);
		if (rc == 0)
			rc = silence(l, bench_proc_now_ns(), err);
	}
	return rc;
}

void bench_load_close(struct bench_load *l)
{
	struct bench_work w;
	struct bench_result *result = pk_alloc(sizeof(*result));
	struct bench_phase phase = { .mix = BENCH_MIX_ONE, .op = BENCH_CLOSE };
	struct pk_err err = PK_ERR_INIT;
	uint64_t start_ns = bench_proc_now_ns();
	int rc = 0;

	bench_work_init(&w);
	l->ending = true;
	l->issuing = false;
	l->work = &w;
	l->phase = &phase;
	l->result = result;
	l->outstanding = 0;
	for (uint32_t i = 0; rc == 0 && i < l->config.conns; i++) {
		struct conn *c = &l->conns[i];

		if (c->state != CONN_READY)
			continue;
		if (c->count != 0) { /* the phase failed: its replies are not ours to judge */
			conn_drop(c);
			continue;
		}
		conn_send(c, BENCH_CLOSE, 0, start_ns, false);
		l->outstanding++;
		rc = conn_flush(c, &err);
	}
	while (rc == 0 && l->ready > 0 && bench_proc_now_ns() - start_ns < CLOSE_NS_MAX)
		rc = turn(l, &err);
	l->phase = NULL;
	l->work = NULL;
	l->result = NULL;
	l->ending = false;
	free(result);
	bench_work_release(&w);
}

struct window {
	uint64_t begin_ns, end_ns; /* end 0: when the count is reached */
	uint64_t opened_ns, own_cpu_ns;
	struct bench_proc_use use;
	bool done;
};

static void window_open(struct bench_load *l, struct window *win)
{
	win->use = bench_proc_use(l->config.pids);
	win->own_cpu_ns = bench_proc_own_cpu_ns();
	win->opened_ns = bench_proc_now_ns();
	l->done_ns = win->opened_ns;
	l->counting = true;
}

static void window_shut(struct bench_load *l, struct window *win)
{
	struct bench_proc_use now = bench_proc_use(l->config.pids);

	uint64_t now_ns = bench_proc_now_ns();

	l->result->elapsed_ns = now_ns - win->opened_ns;
	if (win->end_ns != 0 && now_ns - l->done_ns > l->result->gap_ns)
		l->result->gap_ns = now_ns - l->done_ns;
	l->result->own_cpu_ns = bench_proc_own_cpu_ns() - win->own_cpu_ns;
	l->result->use = bench_proc_since(&win->use, &now);
	l->counting = false;
	win->done = true;
}

static void window_step(struct bench_load *l, struct window *win)
{
	uint64_t now_ns = bench_proc_now_ns();

	if (!l->counting && !win->done && now_ns >= win->begin_ns)
		window_open(l, win);
	if (stop_soon || (win->end_ns != 0 && now_ns >= win->end_ns)) {
		if (l->counting)
			window_shut(l, win);
		l->issuing = false;
	}
}

static int run_begin(struct bench_load *l, uint64_t now_ns, struct pk_err *err)
{
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < l->conns_used; i++) {
		struct conn *c = &l->conns[i];

		if (l->phase->mix == BENCH_MIX_SESSION) {
			if (l->issuing)
				rc = conn_open(c, err);
		} else if (c->state == CONN_READY) {
			if (l->phase->once_each) {
				conn_send(c, l->phase->op,
					  l->phase->first + (l->phase->own_key ? i : 0), now_ns,
					  !l->phase->awaits_events);
				l->outstanding++;
				l->result->sent++;
			} else {
				conn_fill(c, now_ns);
			}
			rc = conn_flush(c, err);
		}
	}
	if (l->phase->once_each)
		l->issuing = false;
	return rc;
}

/* Send the pings that are due: number n, of connection n modulo their count, at an even pace. */
static int pings_step(struct bench_load *l, uint64_t *sent, struct pk_err *err)
{
	uint64_t step_ns = (uint64_t)l->config.session_ms * NS_PER_MS / PINGS_PER_TIMEOUT /
			   l->conns_used;
	uint64_t now_ns = bench_proc_now_ns();
	int rc = 0;

	for (; rc == 0 && l->issuing && l->begun_ns + *sent * step_ns <= now_ns; ++*sent) {
		struct conn *c = &l->conns[*sent % l->conns_used];

		if (c->state != CONN_READY || c->count > 0)
			continue; /* still at the one before: the longest latency will tell */
		conn_send(c, BENCH_PING, 0, now_ns, true);
		l->outstanding++;
		l->result->sent++;
		rc = conn_flush(c, err);
	}
	return rc;
}

/* The next connection that may send one more; NULL when none may. */
static struct conn *conn_with_room(struct bench_load *l, uint64_t after)
{
	for (uint32_t i = 0; i < l->conns_used; i++) {
		struct conn *c = &l->conns[(after + i) % l->conns_used];

		if (c->state == CONN_READY && c->count < l->slots)
			return c;
	}
	return NULL;
}

/* Send the requests that are due at the phase's rate. One that finds no room stays due: what it
 * waits counts. */
static int rate_step(struct bench_load *l, struct pk_err *err)
{
	double step_ns = (double)NS_PER_S / (double)l->phase->rate;
	uint64_t now_ns = bench_proc_now_ns();
	int rc = 0;

	l->due_ns = 0;
	while (rc == 0 && l->issuing) {
		uint64_t due_ns = l->begun_ns + (uint64_t)((double)l->result->sent * step_ns);
		struct conn *c = conn_with_room(l, l->result->sent);

		if (c == NULL)
			break;
		if (due_ns > now_ns) {
			l->due_ns = due_ns;
			break;
		}
		conn_send_next(c, due_ns);
		rc = conn_flush(c, err);
	}
	return rc;
}

int bench_load_run(struct bench_load *l, struct bench_work *w, const struct bench_phase *phase,
		   struct bench_result *result, struct pk_err *err)
{
	uint64_t now_ns = bench_proc_now_ns();
	struct window win = { .begin_ns = now_ns + (uint64_t)phase->warm_ms * NS_PER_MS };
	uint64_t pings = 0;
	uint32_t pipeline = phase->pipeline != 0 && phase->pipeline < l->config.pipeline
				    ? phase->pipeline
				    : l->config.pipeline;

	PK_ASSERT(phase->count != 0 || phase->run_ms != 0 || phase->once_each);
	if (phase->rate != 0)
		pk_ignore(prctl(PR_SET_TIMERSLACK, TIMER_SLACK_NS),
			  "latencies are a little longer");
	if (phase->run_ms != 0)
		win.end_ns = win.begin_ns + (uint64_t)phase->run_ms * NS_PER_MS;
	memset(result, 0, sizeof(*result));
	l->phase = phase;
	l->work = w;
	l->result = result;
	l->conns_used = phase->conns != 0 && phase->conns < l->config.conns ? phase->conns
									    : l->config.conns;
	l->slots = phase->mix == BENCH_MIX_SYNCED ? 2 * pipeline - 1 : pipeline;
	l->outstanding = 0;
	l->issuing = true;
	l->counting = false;
	l->heard_ns = now_ns;
	l->begun_ns = now_ns;
	window_step(l, &win);
	int rc = run_begin(l, now_ns, err);
	if (rc == 0 && phase->rate != 0)
		rc = rate_step(l, err); /* or the first would wait as long as a turn may */
	while (rc == 0 &&
	       (l->issuing || l->outstanding > 0 || (phase->awaits_events && l->watching > 0) ||
		(phase->awaits_back && l->away > 0))) {
		rc = turn(l, err);
		if (rc == 0 && phase->mix == BENCH_MIX_IDLE)
			rc = pings_step(l, &pings, err);
		if (rc == 0 && phase->rate != 0)
			rc = rate_step(l, err);
		window_step(l, &win);
		if (rc == 0)
			rc = silence(l, bench_proc_now_ns(), err);
	}
	if (l->counting)
		window_shut(l, &win);
	l->due_ns = 0;
	l->phase = NULL;
	l->work = NULL;
	l->result = NULL;
	return rc;
}
