/*
 * Streams between servers, as peer_io.c keeps them, and between clients and servers, as client_io.c
 * does. A stream keeps order; what is cut waits; a break loses a tail, and may leave its beginning
 * to arrive while the next connection is up already.
 */
#include <inttypes.h>
#include <stdio.h>

#include "tests/sim/cluster_client.h"
#include "tests/sim/cluster_int.h"

#define RETRY_LEAST_MS 50
#define RETRY_MOST_MS  1000
#define STALL_MS       10000
#define BUDGET_BYTES   (64u << 20)
#define HELLO_WAIT_MS  5000
#define REPLY_BYTES    (64u << 20) /* a client takes no longer one */
#define PART_US        1000        /* at most, between parts of a frame */

/* ---- between servers ---- */

static void dial(struct sim *s, struct event *e);
static void wire_pump(struct sim *s, struct event *e);

static void dial_later(struct sim_server *n, int to)
{
	struct dialler *d = &n->dial[to];

	event_add(n->sim, d->retry_ms * SIM_MS, dial, n->index, NULL, (uint64_t)to);
	d->retry_ms = d->retry_ms * 2 < RETRY_MOST_MS ? d->retry_ms * 2 : RETRY_MOST_MS;
}

/* The dialler's side ends: told once if it was up. */
static void wire_end(struct sim_server *n, struct wire *w, const char *reason)
{
	struct dialler *d = &n->dial[w->to];
	bool was_up = w->up;

	w->ended = true;
	w->up = false;
	if (d->wire != w)
		return;
	d->wire = NULL;
	dial_later(n, w->to);
	if (was_up) {
		sim_say(n->sim, "link %d>%d down: %s", n->index, w->to, reason);
		server_enter(n);
		server_peer_down(n->server, (uint64_t)w->to + 1);
		server_left(n);
	}
}

static void wire_broken(struct sim *s, struct event *e)
{
	struct wire *w = e->p;

	if (server_alive(&s->servers[w->from], w->from_life))
		wire_end(&s->servers[w->from], w, "broken");
}

/* It breaks: of what is under way a first part arrives, and the dialler hears of it. */
static void wire_break(struct sim *s, struct wire *w, bool keep_all)
{
	size_t count = frames_count(&w->frames);

	if (w->ended)
		return;
	w->ended = true;
	frames_cut(s, &w->frames, keep_all ? count : (size_t)pk_rng_below(&s->rng, count + 1));
	event_add(s, sim_delay(s), wire_broken, w->from, w, 0);
}

static void wire_poke(struct sim *s, struct wire *w)
{
	struct frame *f = STAILQ_FIRST(&w->frames);

	if (w->pumping || f == NULL || s->cut[w->from][w->to])
		return;
	w->pumping = true;
	event_add(s, us_max(f->at_us - s->now_us, 0), wire_pump, w->to, w, f->len)->life = 0;
}

/* As peer_io.c: what is not whole yet waits for the rest, and goes with the connection. */
static void wire_take(struct sim_server *to, struct wire *w, struct pk_bytes part)
{
	struct pk_err err = PK_ERR_INIT;
	struct pk_bytes body;
	uint8_t type;

	if (w->in.len > 0) {
		pk_buf_add_bytes(&w->in, part);
		part = pk_buf_bytes(&w->in);
	}
	int rc = peer_frame_decode(part, &type, &body, &err);
	if (rc < 0) {
		sim_violate(to->sim, "server %d is sent by %d: %s", to->index, w->from, err.text);
	} else if (rc == 1) {
		PK_ASSERT(body.data + body.len == part.data + part.len);
		server_peer_frame(to, w->from, type, body);
		pk_buf_release(&w->in);
	} else if (w->in.len == 0) {
		pk_buf_add_bytes(&w->in, part);
	}
}

static void wire_pump(struct sim *s, struct event *e)
{
	struct wire *w = e->p;
	struct frame *f = STAILQ_FIRST(&w->frames);
	struct sim_server *to = &s->servers[w->to];

	w->pumping = false;
	if (f == NULL || s->cut[w->from][w->to])
		return;
	if (!server_alive(to, w->to_life)) {
		frames_free(&w->frames);
		pk_buf_release(&w->in);
		return;
	}
	struct pk_bytes part = frame_part(s, f);
	w->queued_bytes -= part.len;
	w->moved_us = s->now_us;
	wire_take(to, w, part);
	if (f->come == f->len) {
		STAILQ_REMOVE_HEAD(&w->frames, link);
		free(f);
	} else {
		f->at_us = s->now_us + pk_rng_range(&s->bytes_rng, 0, PART_US);
	}
	wire_poke(s, w);
}

static void welcomed(struct sim *s, struct event *e)
{
	struct wire *w = e->p;
	struct sim_server *n = &s->servers[w->from];

	if (n->dial[w->to].wire != w || w->ended)
		return;
	if (!w->up) {
		w->up = true;
		w->moved_us = s->now_us;
		n->dial[w->to].retry_ms = RETRY_LEAST_MS;
	}
	server_peer_told(n, w->to, &w->told);
}

static void greeted(struct sim *s, struct event *e)
{
	struct wire *w = e->p;
	struct sim_server *to = &s->servers[w->to];

	if (!server_alive(to, w->to_life) || s->cut[w->from][w->to] || s->cut[w->to][w->from])
		return; /* the dialler gives up by itself */
	w->greeted = true;
	w->told = server_answer(to, w->from, w->life);
	event_add(s, sim_delay(s), welcomed, w->from, w, 0);
}

/* Who asks is told anew what has changed. */
static void tell_again(struct sim_server *n)
{
	struct sim *s = n->sim;
	struct wire *w;

	LIST_FOREACH (w, &s->wires, link) {
		if (w->to != n->index || w->to_life != n->life || !w->greeted || w->ended ||
		    w->life == 0 || s->cut[w->to][w->from])
			continue;
		struct found_answer now = server_answer(n, w->from, w->life);
		if (now.has_data == w->told.has_data && now.founded == w->told.founded &&
		    now.counted == w->told.counted && now.term == w->told.term &&
		    now.terms_needed == w->told.terms_needed)
			continue;
		w->told = now;
		event_add(s, sim_delay(s), welcomed, w->from, w, 0);
	}
}

static void dial_timeout(struct sim *s, struct event *e)
{
	struct wire *w = e->p;
	struct sim_server *n = &s->servers[w->from];

	if (n->dial[w->to].wire == w && !w->up)
		wire_end(n, w, "no greeting");
}

static void dial(struct sim *s, struct event *e)
{
	struct sim_server *n = &s->servers[e->server];
	struct wire *w;
	int to = (int)e->n;

	if (!server_alive(n, e->life) || n->dial[to].wire != NULL || !n->knows[to])
		return;
	if (!s->servers[to].up) { /* refused */
		dial_later(n, to);
		return;
	}
	w = pk_alloc(sizeof(*w));
	w->from = n->index;
	w->to = to;
	w->from_life = n->life;
	w->to_life = s->servers[to].life;
	w->life = server_asks(n);
	STAILQ_INIT(&w->frames);
	LIST_INSERT_HEAD(&s->wires, w, link);
	n->dial[to].wire = w;
	event_add(s, 2 * sim_delay(s), greeted, to, w, 0);
	event_add(s, HELLO_WAIT_MS * SIM_MS, dial_timeout, n->index, w, 0);
}

void links_start(struct sim_server *n)
{
	for (int i = 0; i < (int)n->sim->o.servers; i++) {
		n->dial[i] = (struct dialler){ .retry_ms = RETRY_LEAST_MS };
		if (n->knows[i])
			event_add(n->sim, sim_delay(n->sim), dial, n->index, NULL, (uint64_t)i);
	}
}

void link_know(struct sim_server *n, int to, bool known)
{
	struct wire *w = n->dial[to].wire;

	if (n->knows[to] == known || to == n->index)
		return;
	sim_say(n->sim, "server %d %s %d", n->index, known ? "knows" : "forgets", to);
	n->knows[to] = known;
	n->dial[to].retry_ms = RETRY_LEAST_MS;
	if (known) {
		event_add(n->sim, 0, dial, n->index, NULL, (uint64_t)to);
	} else if (w != NULL) { /* closed here, and nobody is told */
		n->dial[to].wire = NULL;
		w->up = false;
		w->ended = true;
	}
}

void links_stop(struct sim_server *n)
{
	struct sim *s = n->sim;
	struct wire *w;
	struct sim_conn *c, *next;

	LIST_FOREACH (w, &s->wires, link) {
		if (w->from == n->index && w->from_life == n->life - 1) {
			w->ended =
				true; /* of what was written before a first part may still come */
			if (pk_rng_chance(&s->bytes_rng, 500000))
				frames_cut_anywhere(s, &w->frames);
		}
		if (w->to == n->index && w->to_life == n->life - 1)
			wire_break(s, w, false);
	}
	for (int i = 0; i < SIM_SERVERS_MAX; i++)
		n->dial[i].wire = NULL;
	for (c = LIST_FIRST(&s->conns); c != NULL; c = next) {
		next = LIST_NEXT(c, link);
		if (c->to != n->index || c->life != n->life - 1 || c->server_gone)
			continue;
		c->server_gone = c->server_closed = true;
		c->conn = NULL;
		sim_conn_break(c);
	}
}

bool link_send(struct sim_server *n, int to, uint8_t type, struct pk_bytes body)
{
	struct sim *s = n->sim;
	struct wire *w = n->dial[to].wire;
	uint8_t head[PEER_FRAME_HEAD_BYTES];

	if (w == NULL || !w->up || w->queued_bytes > BUDGET_BYTES)
		return false;
	if (type == s->lose_type)
		return true;
	if (w->ended) /* broken, and nobody has noticed: it goes nowhere */
		return true;
	peer_frame_head(head, type, body.len);
	struct frame *f = frame_new(type, pk_bytes(head, sizeof(head)), body);
	f->at_us = us_max(s->now_us + sim_delay(s) + s->slow_us[n->index][to], w->last_at_us);
	w->last_at_us = f->at_us;
	if (STAILQ_EMPTY(&w->frames))
		w->moved_us = s->now_us;
	STAILQ_INSERT_TAIL(&w->frames, f, link);
	w->queued_bytes += f->len;
	wire_poke(s, w);
	if (pk_rng_chance(&s->rng, s->net.break_ppm))
		wire_break(s, w, pk_rng_chance(&s->rng, 500000));
	return true;
}

void links_tick(struct sim_server *n)
{
	tell_again(n);
	for (int i = 0; i < (int)n->sim->o.servers && n->up; i++) {
		struct wire *w = n->dial[i].wire;
		if (w != NULL && w->up && !STAILQ_EMPTY(&w->frames) &&
		    n->sim->now_us - w->moved_us > STALL_MS * SIM_MS)
			wire_break(n->sim, w, true);
	}
}

void links_poke(struct sim *s)
{
	struct wire *w;

	LIST_FOREACH (w, &s->wires, link)
		wire_poke(s, w);
}

void sim_cut(struct sim *s, int from, int to, bool cut)
{
	s->cut[from][to] = cut;
	links_poke(s);
}

void sim_break(struct sim *s, int from, int to)
{
	struct wire *w = s->servers[from].dial[to].wire;

	if (w != NULL)
		wire_break(s, w, pk_rng_chance(&s->rng, 500000));
}

void sim_heal(struct sim *s)
{
	memset(s->cut, 0, sizeof(s->cut));
	memset(s->slow_us, 0, sizeof(s->slow_us));
	links_poke(s);
}

void sim_slow(struct sim *s, int from, int to, int64_t us)
{
	s->slow_us[from][to] = us;
}

void sim_lose(struct sim *s, enum server_message type)
{
	s->lose_type = (uint8_t)type;
}

/* ---- clients ---- */

static void pump_in(struct sim *s, struct event *e);
static void pump_out(struct sim *s, struct event *e);

static bool attached(const struct sim_conn *c)
{
	return !c->server_gone && server_alive(&c->sim->servers[c->to], c->life);
}

static void conn_free(struct sim_conn *c)
{
	LIST_REMOVE(c, link);
	frames_free(&c->in);
	frames_free(&c->out);
	zk_frame_release(&c->in_at);
	zk_frame_release(&c->out_at);
	free(c);
}

static void conn_settle(struct sim_conn *c)
{
	if (c->events > 0 || !c->server_gone || !c->client_gone)
		return;
	conn_free(c);
}

static void conn_event(struct sim_conn *c, int64_t in_us, event_f *run, int server, uint64_t n)
{
	c->events++;
	event_add(c->sim, in_us, run, server, c, n)->life = 0;
}

static void poke_in(struct sim_conn *c)
{
	struct frame *f = STAILQ_FIRST(&c->in);

	if (c->pump_in || f == NULL || c->paused || c->server_gone)
		return;
	c->pump_in = true;
	conn_event(c, us_max(us_max(f->at_us, c->stalled_until_us) - c->sim->now_us, 0), pump_in,
		   c->to, f->len);
}

static void poke_out(struct sim_conn *c)
{
	struct frame *f = STAILQ_FIRST(&c->out);

	if (c->pump_out || f == NULL || c->client_gone)
		return;
	c->pump_out = true;
	conn_event(c, us_max(us_max(f->at_us, c->stalled_until_us) - c->sim->now_us, 0), pump_out,
		   -1, f->len);
}

/* As client_io.c. */
static void conn_take(struct sim_conn *c, struct pk_bytes part)
{
	struct pk_err err = PK_ERR_INIT;
	struct pk_bytes body;
	int rc = 0;

	zk_frame_feed(&c->in_at, part);
	while (!c->server_closed && (rc = zk_frame_next(&c->in_at, &body, &err)) == 1) {
		uint64_t session = conn_session_id(c->conn);
		/* who was removed tells no leader of it */
		if (session != 0 && sim_member(c->sim, c->to))
			sim_session_heard(c->sim, session);
		server_conn_frame(c->conn, body);
	}
	if (rc < 0)
		server_conn_close(c->conn, err.text);
	zk_frame_hold(&c->in_at);
}

/* Its rest comes later, or it is done. */
static void part_done(struct sim_conn *c, struct frames *frames, struct frame *f)
{
	if (f->come < f->len) {
		f->at_us = c->sim->now_us + pk_rng_range(&c->sim->bytes_rng, 0, PART_US);
		return;
	}
	STAILQ_REMOVE_HEAD(frames, link);
	free(f);
}

static void pump_in(struct sim *s, struct event *e)
{
	struct sim_conn *c = e->p;
	struct frame *f = STAILQ_FIRST(&c->in);

	c->pump_in = false;
	if (!attached(c) || f == NULL || c->server_closed) {
		c->events--;
		conn_settle(c);
		return;
	}
	/* paused since: now and then it was read before the pause came */
	if (c->stalled_until_us > s->now_us || (c->paused && !pk_rng_chance(&s->rng, 250000))) {
		poke_in(c);
		c->events--;
		return;
	}
	struct sim_server *n = &s->servers[c->to];
	server_enter(n);
	conn_take(c, frame_part(s, f));
	server_left(n);
	part_done(c, &c->in, f);
	poke_in(c);
	c->events--;
	conn_settle(c);
}

static void drained(struct sim *s, struct event *e)
{
	struct sim_conn *c = e->p;

	c->events--;
	if (attached(c) && c->conn != NULL && !c->server_closed) {
		server_enter(&s->servers[c->to]);
		server_conn_drained(c->conn);
		server_left(&s->servers[c->to]);
	}
	conn_settle(c);
}

static void server_lets_go(struct sim *s, struct event *e)
{
	struct sim_conn *c = e->p;

	c->events--;
	if (attached(c) && c->conn != NULL) {
		server_enter(&s->servers[c->to]);
		server_conn_gone(c->conn);
		c->conn = NULL;
		c->server_gone = true;
		server_left(&s->servers[c->to]);
	}
	conn_settle(c);
}

static void client_hears(struct sim *s, struct event *e)
{
	struct sim_conn *c = e->p;

	(void)s;
	if (!c->client_gone) {
		c->client_gone = true;
		c->owner.closed(c->owner.owner, c->server_closed ? "closed" : "broken");
	}
	c->events--;
	conn_settle(c);
}

static void out_took(struct sim_conn *c, size_t bytes)
{
	c->out_bytes -= bytes;
	if (c->was_high && c->out_bytes * c->scale <= SIM_OUT_BYTES_MAX / 2) {
		c->was_high = false;
		conn_event(c, 10, drained, c->to, 0);
	}
}

static void pump_out(struct sim *s, struct event *e)
{
	struct sim_conn *c = e->p;
	struct frame *f = STAILQ_FIRST(&c->out);

	/* counted as under way until the end: the client may let go meanwhile */
	c->pump_out = false;
	if (f != NULL && !c->client_gone && c->stalled_until_us > s->now_us) {
		poke_out(c);
		c->events--;
		return;
	}
	if (f != NULL && !c->client_gone) {
		struct pk_bytes part = frame_part(s, f), body;
		struct pk_err err = PK_ERR_INIT;
		int rc;

		out_took(c, part.len);
		sim_mix(s, part.len);
		zk_frame_feed(&c->out_at, part);
		while ((rc = zk_frame_next(&c->out_at, &body, &err)) == 1)
			c->owner.frame(c->owner.owner, body);
		if (rc < 0)
			sim_violate(s, "a client is sent by server %d: %s", c->to, err.text);
		zk_frame_hold(&c->out_at);
		part_done(c, &c->out, f);
		poke_out(c);
	}
	if (STAILQ_EMPTY(&c->out) && c->server_closed && !c->client_gone) {
		c->client_gone = true;
		c->owner.closed(c->owner.owner, "closed");
	}
	c->events--;
	conn_settle(c);
}

struct sim_conn *sim_connect(struct sim *s, int i, const struct sim_conn_owner *owner)
{
	struct sim_server *n = &s->servers[i];
	struct conn_info info = { .ip = SIM_CLIENT_IP };
	struct sim_conn *c;

	if (!n->up)
		return NULL;
	c = pk_alloc(sizeof(*c));
	c->sim = s;
	c->to = i;
	c->life = n->life;
	c->owner = *owner;
	c->scale = 1;
	c->in_last_us = s->now_us + 2 * sim_delay(s);
	STAILQ_INIT(&c->in);
	STAILQ_INIT(&c->out);
	zk_frame_init(&c->in_at, SIM_JUTE_BYTES);
	zk_frame_init(&c->out_at, REPLY_BYTES);
	LIST_INSERT_HEAD(&s->conns, c, link);
	server_enter(n);
	c->conn = server_conn_new(n->server, c, &info);
	server_left(n);
	s->stats.connects++;
	return c;
}

void sim_conn_send(struct sim_conn *c, struct pk_bytes body)
{
	struct sim *s = c->sim;
	struct frame *f;
	uint8_t head[4];

	if (c->server_closed || c->server_gone || c->cut)
		return; /* it will hear of it */
	pk_put_be32(head, (uint32_t)body.len);
	f = frame_new(0, pk_bytes(head, sizeof(head)), body);
	f->at_us = us_max(s->now_us + sim_delay(s), c->in_last_us);
	c->in_last_us = f->at_us;
	STAILQ_INSERT_TAIL(&c->in, f, link);
	poke_in(c);
}

void sim_conn_close(struct sim_conn *c)
{
	c->client_gone = true;
	if (!c->server_gone)
		conn_event(c, sim_delay(c->sim), server_lets_go, c->to, 0);
	conn_settle(c);
}

void sim_conn_break(struct sim_conn *c)
{
	struct sim *s = c->sim;

	if (pk_rng_chance(&s->bytes_rng, 500000)) {
		c->cut = true;
		frames_cut_anywhere(s, &c->in);
		frames_cut_anywhere(s, &c->out);
	}
	if (!c->client_gone)
		conn_event(c, sim_delay(s), client_hears, -1, 0);
	if (!c->server_gone)
		conn_event(c, sim_delay(s), server_lets_go, c->to, 0);
	conn_settle(c);
}

void sim_conn_slow(struct sim_conn *c, int64_t frame_us, uint32_t scale)
{
	c->frame_us = frame_us;
	c->scale = scale;
}

void sim_conn_stall(struct sim_conn *c, int64_t ms)
{
	c->stalled_until_us = c->sim->now_us + ms * SIM_MS;
}

/* The server's side: struct server_owner. */

size_t conn_out(void *io, struct pk_bytes bytes)
{
	struct sim_conn *c = io;
	struct sim *s = c->sim;

	if (s->servers[c->to].crashing || c->server_closed || c->cut)
		return 0;
	/* a frame each, as the server writes them */
	PK_ASSERT(bytes.len >= 4 && pk_get_be32(bytes.data) == bytes.len - 4);
	struct frame *f = frame_new(0, bytes, PK_BYTES_NONE);
	f->at_us = us_max(s->now_us + sim_delay(s), c->out_last_us + c->frame_us);
	c->out_last_us = f->at_us;
	c->out_bytes += f->len;
	STAILQ_INSERT_TAIL(&c->out, f, link);
	poke_out(c);
	size_t waiting = c->out_bytes * c->scale;
	c->was_high |= waiting > SIM_OUT_BYTES_MAX;
	return waiting;
}

void conn_shut(void *io, bool flush, const char *reason)
{
	struct sim_conn *c = io;
	struct sim *s = c->sim;

	if (s->servers[c->to].crashing)
		return;
	PK_ASSERT(!c->server_closed);
	sim_say(s, "server %d closes session %#" PRIx64 ": %s", c->to,
		c->conn != NULL ? conn_session_id(c->conn) : 0, reason);
	c->server_closed = true;
	if (!flush)
		frames_cut_anywhere(s, &c->out);
	if (STAILQ_EMPTY(&c->out) && !c->client_gone)
		conn_event(c, sim_delay(s), client_hears, -1, 1);
	conn_event(c, sim_delay(s), server_lets_go, c->to, 1);
}

void conn_pause(void *io, bool paused)
{
	struct sim_conn *c = io;

	c->paused = paused;
	poke_in(c);
}

void links_free(struct sim *s)
{
	struct wire *w;
	struct sim_conn *c;

	while ((w = LIST_FIRST(&s->wires)) != NULL) {
		LIST_REMOVE(w, link);
		frames_free(&w->frames);
		pk_buf_release(&w->in);
		free(w);
	}
	while ((c = LIST_FIRST(&s->conns)) != NULL)
		conn_free(c);
}
