#include "store/raft_io.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"

#define RIO_MAGIC 0x52494f31u

struct rio_sent {
	TAILQ_ENTRY(rio_sent) link;
	struct raft_io_send *req;
	raft_io_send_cb cb;
	int status;
	/* AppendEntries of which only the first part was sent: where the peer really is. */
	uint64_t peer_id, term, next_all, next_sent;
	uint64_t first; /* AppendEntries that was not sent: what it began with */
};

struct rio_write {
	TAILQ_ENTRY(rio_write) link;
	struct rio *io;
	uint64_t term; /* in which it was submitted */
	bool follower;
	struct raft_io_append *append;
	raft_io_append_cb append_cb;
	struct raft_io_snapshot_put *put;
	raft_io_snapshot_put_cb put_cb;
	bool install;
	struct raft_buffer *bufs; /* of an install: libraft forgets the array when it stops */
	uint64_t conf_index;
	struct pk_buf conf, payload;
};

struct rio_later {
	struct raft_message m;
	char address[RAFT_MSG_ADDRESS_BYTES_MAX + 1];
};

static struct rio *rio_of(struct raft_io *raft_io)
{
	struct rio *io = raft_io->impl;

	PK_ASSERT(io->magic == RIO_MAGIC);
	return io;
}

void rio_fail(struct rio *io, int code, const char *fmt, ...)
{
	struct pk_err err = { .code = code };
	va_list args;

	if (io->failed)
		return;
	io->failed = true;
	va_start(args, fmt);
	pk_ignore(vsnprintf(err.text, sizeof(err.text), fmt, args), "a cut text is still a text");
	va_end(args);
	io->fatal(io->owner, &err);
}

void rio_enter(struct rio *io)
{
	io->inside++;
}

void rio_leave(struct rio *io)
{
	PK_ASSERT(io->inside > 0);
	if (--io->inside == 0 && !io->closing)
		io->settled(io);
}

/* ---- start ---- */

static int io_init(struct raft_io *raft_io, raft_id id, const char *address)
{
	(void)raft_io;
	(void)id;
	(void)address;
	return 0;
}

static struct raft_entry entry_of(uint64_t term, uint16_t type, struct pk_bytes data)
{
	struct raft_entry e = { .term = term, .type = type };

	/* Each its own memory: libraft looks for the rest of a batch by walking the whole log. */
	e.buf.len = data.len;
	e.buf.base = raft_malloc(data.len);
	PK_ASSERT(e.buf.base != NULL);
	memcpy(e.buf.base, data.data, data.len);
	return e;
}

static struct raft_snapshot *snapshot_of(const struct rlog_manifest *m)
{
	struct raft_snapshot *s = raft_calloc(1, sizeof(*s));
	struct pk_err err = PK_ERR_INIT;

	PK_ASSERT(s != NULL);
	s->index = m->index;
	s->term = m->term;
	s->configuration_index = m->conf_index;
	int rc = raft_conf_decode(&s->configuration, m->conf, &err);
	PK_ASSERT(rc == 0); /* looked at before it was stored, and when it was loaded */
	s->bufs = raft_malloc(sizeof(*s->bufs));
	PK_ASSERT(s->bufs != NULL);
	s->n_bufs = 1;
	s->bufs[0].len = m->payload.len;
	s->bufs[0].base = raft_malloc(m->payload.len + 1);
	PK_ASSERT(s->bufs[0].base != NULL);
	if (m->payload.len > 0)
		memcpy(s->bufs[0].base, m->payload.data, m->payload.len);
	return s;
}

static int io_load(struct raft_io *raft_io, raft_term *term, raft_id *voted_for,
		   struct raft_snapshot **snapshot, raft_index *start_index,
		   struct raft_entry *entries[], size_t *n_entries)
{
	struct rio *io = rio_of(raft_io);
	const struct rlog_loaded *l = io->loaded;
	bool fresh = io->bootstrap.len > 0;

	*term = io->raft->current_term; /* put there by raft_node_open, which may have raised it */
	*voted_for = io->raft->voted_for;
	*snapshot = l->has_manifest ? snapshot_of(&l->manifest) : NULL;
	*start_index = fresh ? 1 : l->start_index;
	*n_entries = fresh ? 1 : l->record_count;
	*entries = NULL;
	if (*n_entries > 0) {
		*entries = raft_calloc(*n_entries, sizeof(**entries));
		PK_ASSERT(*entries != NULL);
	}
	if (fresh)
		(*entries)[0] = entry_of(1, RAFT_CHANGE, io->bootstrap);
	for (size_t i = 0; !fresh && i < l->record_count; i++)
		(*entries)[i] = entry_of(l->records[i].term, l->records[i].type,
					 l->records[i].data);
	io->loaded = NULL;
	return 0;
}

static int io_start(struct raft_io *raft_io, unsigned ms, raft_io_tick_cb tick,
		    raft_io_recv_cb recv)
{
	struct rio *io = rio_of(raft_io);

	(void)ms;
	io->tick = tick;
	io->recv = recv;
	return 0;
}

/* raft_node_open puts entry 1 in itself, and nothing here ever recovers by force. */
static int io_bootstrap(struct raft_io *raft_io, const struct raft_configuration *conf)
{
	(void)raft_io;
	(void)conf;
	return RAFT_CANTBOOTSTRAP;
}

/* ---- term and vote ---- */

/*
 * The library makes a candidate whose term or vote was not stored a follower again, and then frees
 * the address of its leader: there, in the same place, is whether it may disrupt one.
 */
static int not_stored(struct rio *io)
{
	if (io->raft->state == RAFT_CANDIDATE)
		io->raft->candidate_state.disrupt_leader = false;
	return RAFT_IOERR;
}

static int io_set_term(struct raft_io *raft_io, raft_term term)
{
	struct rio *io = rio_of(raft_io);
	struct pk_err err = PK_ERR_INIT;

	if (io->failed)
		return not_stored(io);
	int rc = rlog_set_term(io->log, term, &err);
	if (rc != 0) {
		rio_fail(io, rc, "store term %llu: %s", term, err.text);
		return not_stored(io);
	}
	return 0;
}

static int io_set_vote(struct raft_io *raft_io, raft_id id)
{
	struct rio *io = rio_of(raft_io);
	struct pk_err err = PK_ERR_INIT;

	if (io->failed)
		return not_stored(io);
	int rc = rlog_set_vote(io->log, id, &err);
	if (rc != 0) {
		rio_fail(io, rc, "store vote for %llu: %s", id, err.text);
		return not_stored(io);
	}
	return 0;
}

/* ---- sending ---- */

/*
 * A membership leaves the leader only once it is durable here (G12). Otherwise two voters becoming
 * one can end with the new membership on the one that lost its vote, which never asks for votes and
 * whose log the other cannot overtake.
 */
static unsigned entries_to_send(const struct rio *io, const struct raft_append_entries *a)
{
	unsigned n = 0;

	while (n < a->n_entries && (a->entries[n].type != RAFT_CHANGE ||
				    a->prev_log_index + 1 + n <= io->raft->last_stored ||
				    !(io->guard.on & RAFT_GUARD_CHANGE)))
		n++;
	return n;
}

/* The manifest that is sent may be newer than the library's: what it waits for is that one. */
static void manifest_sent(struct raft *r, const struct raft_message *m)
{
	enum { SNAPSHOT = 2 }; /* libraft's PROGRESS__SNAPSHOT */

	for (unsigned i = 0; r->state == RAFT_LEADER && i < r->configuration.n; i++) {
		struct raft_progress *p = &r->leader_state.progress[i];
		if (r->configuration.servers[i].id == m->server_id && p->state == SNAPSHOT)
			p->snapshot_index = m->install_snapshot.last_index;
	}
}

static int io_send(struct raft_io *raft_io, struct raft_io_send *req,
		   const struct raft_message *message, raft_io_send_cb cb)
{
	struct rio *io = rio_of(raft_io);
	struct raft_message m = *message;
	struct rio_sent *s = pk_alloc(sizeof(*s));

	*s = (struct rio_sent){ .req = req, .cb = cb };
	/* A refusal is never answered on the spot: on some paths libraft frees its entries both
	 * before and after a send that fails at once. */
	if (io->failed || !raft_guard_send(&io->guard, io->raft, &m)) {
		s->status = RAFT_NOCONNECTION;
	} else {
		pk_buf_clear(&io->scratch);
		if (m.type == RAFT_IO_APPEND_ENTRIES)
			m.append_entries.n_entries = entries_to_send(io, &m.append_entries);
		if (m.type == RAFT_IO_INSTALL_SNAPSHOT)
			manifest_sent(io->raft, &m);
		size_t n = raft_msg_encode(&io->scratch, io->id, io->address, &m,
					   RIO_ENTRY_BYTES_MAX);
		if (m.type == RAFT_IO_APPEND_ENTRIES && n < message->append_entries.n_entries) {
			s->peer_id = m.server_id;
			s->term = m.append_entries.term;
			s->next_sent = m.append_entries.prev_log_index + 1 + n;
			s->next_all = m.append_entries.prev_log_index + 1 +
				      message->append_entries.n_entries;
		}
		bool sent = io->send(io->owner, m.server_id, m.server_address,
				     pk_buf_bytes(&io->scratch));
		if (!sent && (io->guard.on & RAFT_GUARD_BUDGET)) {
			s->status = RAFT_NOCONNECTION;
			if (m.type == RAFT_IO_APPEND_ENTRIES) {
				s->peer_id = m.server_id;
				s->term = m.append_entries.term;
				s->first = m.append_entries.prev_log_index + 1;
			}
		}
	}
	TAILQ_INSERT_TAIL(&io->sent, s, link);
	return 0;
}

static void sent_complete(struct rio *io, struct rio_sent *s)
{
	struct raft *r = io->raft;

	/* Only a part of the entries went: the next message to this peer starts behind that part,
	 * not where libraft believes to be. match_index, which commits, is not touched. */
	for (unsigned i = 0; s->next_all != 0 && r->state == RAFT_LEADER &&
			     r->current_term == s->term && i < r->configuration.n;
	     i++) {
		struct raft_progress *p = &r->leader_state.progress[i];
		if (r->configuration.servers[i].id == s->peer_id && p->next_index == s->next_all &&
		    p->match_index < s->next_sent)
			p->next_index = s->next_sent;
	}
	if (s->cb != NULL)
		s->cb(s->req, s->status);
	/* libraft has gone back to behind match_index. Of a peer that it has not heard in this term
	 * that is 0: it would begin with the first entry of all, or with a manifest. */
	for (unsigned i = 0;
	     s->first != 0 && (io->guard.on & RAFT_GUARD_PLACE) && r->state == RAFT_LEADER &&
	     r->current_term == s->term && i < r->configuration.n;
	     i++) {
		struct raft_progress *p = &r->leader_state.progress[i];
		if (r->configuration.servers[i].id == s->peer_id && p->match_index == 0 &&
		    p->next_index < s->first)
			p->next_index = s->first;
	}
	free(s);
}

/* ---- appending ---- */

static struct rio_write *write_new(struct rio *io)
{
	struct rio_write *w = pk_alloc(sizeof(*w));

	w->io = io;
	w->term = io->raft->current_term;
	w->follower = io->raft->state != RAFT_LEADER;
	TAILQ_INSERT_TAIL(&io->writes, w, link);
	return w;
}

static void write_free(struct rio_write *w)
{
	TAILQ_REMOVE(&w->io->writes, w, link);
	pk_buf_release(&w->conf);
	pk_buf_release(&w->payload);
	free(w);
}

static void on_append_done(void *owner, int rc, const struct pk_err *err)
{
	struct rio_write *w = owner;
	struct rio *io = w->io;

	PK_ASSERT(io->magic == RIO_MAGIC && io->inside == 0);
	if (io->failed)
		return;
	if (rc != 0 && (io->guard.on & RAFT_GUARD_WRITE)) {
		rio_fail(io, rc, "append to the log: %s", err->text);
		return;
	}
	rio_enter(io);
	io->guard.completing_term = w->follower ? w->term : 0;
	w->append_cb(w->append, rc == 0 ? 0 : RAFT_IOERR);
	io->guard.completing_term = 0;
	write_free(w);
	rio_leave(io);
}

static int io_append(struct raft_io *raft_io, struct raft_io_append *req,
		     const struct raft_entry entries[], unsigned n, raft_io_append_cb cb)
{
	struct rio *io = rio_of(raft_io);
	uint64_t index = raft_guard_last_index(io->raft) - n + 1;
	struct rlog_record *records = pk_alloc(n * sizeof(*records));
	struct rio_write *w = write_new(io);

	w->append = req;
	w->append_cb = cb;
	for (unsigned i = 0; i < n; i++) {
		const struct raft_entry *e = &entries[i];
		if (io->guard.on & RAFT_GUARD_LENGTH)
			PK_ASSERT(e->buf.len > 0 && e->buf.len % 8 == 0);
		records[i] = (struct rlog_record){ .index = index + i,
						   .term = e->term,
						   .type = e->type,
						   .data = pk_bytes(e->buf.base, e->buf.len) };
	}
	raft_guard_append(&io->guard, io->raft, entries, n, index);
	if (!io->failed)
		rlog_append(io->log, records, n, on_append_done, w);
	free(records);
	return 0;
}

static int io_truncate(struct raft_io *raft_io, raft_index index)
{
	struct rio *io = rio_of(raft_io);

	if (!io->failed)
		rlog_truncate(io->log, index);
	raft_guard_truncate(&io->guard, io->raft, index);
	return 0;
}

/* ---- manifests ---- */

static void on_put_done(void *owner, int rc, const struct pk_err *err)
{
	struct rio_write *w = owner;
	struct rio *io = w->io;

	PK_ASSERT(io->magic == RIO_MAGIC && io->inside == 0);
	if (io->failed)
		return;
	if (rc != 0) {
		rio_fail(io, rc, "store a manifest: %s", err->text);
		return;
	}
	rio_enter(io);
	io->guard.completing_term = w->install ? w->term : 0;
	if (w->install) {
		io->installing = false;
		raft_guard_installed(&io->guard, io->raft, w->conf_index, pk_buf_bytes(&w->conf));
	}
	w->put_cb(w->put, 0);
	io->guard.completing_term = 0;
	write_free(w);
	rio_leave(io);
}

static int io_snapshot_put(struct raft_io *raft_io, unsigned trailing,
			   struct raft_io_snapshot_put *req, const struct raft_snapshot *snapshot,
			   raft_io_snapshot_put_cb cb)
{
	struct rio *io = rio_of(raft_io);
	struct rio_write *w = write_new(io);

	w->put = req;
	w->put_cb = cb;
	w->install = trailing == 0; /* libraft's way to say: replace the log */
	w->bufs = snapshot->bufs;
	w->conf_index = snapshot->configuration_index;
	raft_conf_encode(&snapshot->configuration, &w->conf);
	for (unsigned i = 0; i < snapshot->n_bufs; i++)
		pk_buf_add(&w->payload, snapshot->bufs[i].base, snapshot->bufs[i].len);
	PK_ASSERT(w->payload.len <= RLOG_PAYLOAD_BYTES_MAX);
	struct rlog_manifest m = { .index = snapshot->index,
				   .term = snapshot->term,
				   .conf_index = w->conf_index,
				   .conf = pk_buf_bytes(&w->conf),
				   .payload = pk_buf_bytes(&w->payload) };
	if (w->install)
		io->installing = true;
	if (!io->failed)
		rlog_manifest_put(io->log, &m, trailing, w->install, on_put_done, w);
	return 0;
}

static int io_snapshot_get(struct raft_io *raft_io, struct raft_io_snapshot_get *req,
			   raft_io_snapshot_get_cb cb);

/* ---- the rest ---- */

static raft_time io_time(struct raft_io *raft_io)
{
	return (raft_time)rio_of(raft_io)->now_ms;
}

static int io_random(struct raft_io *raft_io, int least, int most)
{
	return (int)pk_rng_range(rio_of(raft_io)->rng, least, most);
}

static int io_async_work(struct raft_io *raft_io, struct raft_io_async_work *req,
			 raft_io_async_work_cb cb)
{
	(void)raft_io;
	(void)req;
	(void)cb;
	return RAFT_INVALID; /* only a version 3 state machine asks for it */
}

static void io_close(struct raft_io *raft_io, raft_io_close_cb cb)
{
	struct rio *io = rio_of(raft_io);
	struct rio_sent *s;
	struct rio_write *w;

	io->closing = true;
	while ((s = TAILQ_FIRST(&io->sent)) != NULL) {
		TAILQ_REMOVE(&io->sent, s, link);
		sent_complete(io, s);
	}
	/* Status 0: in its final state libraft then only lets go of the memory; an error would
	 * make it cut its log, once per request. */
	while ((w = TAILQ_FIRST(&io->writes)) != NULL) {
		if (w->append != NULL)
			w->append_cb(w->append, 0);
		if (w->put != NULL)
			w->put_cb(w->put, 0);
		if (w->install)
			raft_free(w->bufs);
		write_free(w);
	}
	cb(raft_io);
}

void rio_init(struct rio *io, struct raft *raft)
{
	*io = (struct rio){ .magic = RIO_MAGIC, .raft = raft };
	TAILQ_INIT(&io->sent);
	TAILQ_INIT(&io->writes);
	io->io = (struct raft_io){
		.version = 2,
		.impl = io,
		.init = io_init,
		.close = io_close,
		.load = io_load,
		.start = io_start,
		.bootstrap = io_bootstrap,
		.recover = io_bootstrap,
		.set_term = io_set_term,
		.set_vote = io_set_vote,
		.send = io_send,
		.append = io_append,
		.truncate = io_truncate,
		.snapshot_put = io_snapshot_put,
		.snapshot_get = io_snapshot_get,
		.time = io_time,
		.random = io_random,
		.async_work = io_async_work,
	};
}

void rio_release(struct rio *io)
{
	for (size_t i = 0; i < io->later_count; i++)
		free(io->later[i]);
	raft_guard_release(&io->guard);
	pk_buf_release(&io->scratch);
	io->magic = 0;
}

/* ---- into the library ---- */

void rio_tick(struct rio *io, int64_t now_ms)
{
	struct raft *r = io->raft;

	if (io->failed)
		return;
	if (now_ms > io->now_ms)
		io->now_ms = now_ms;
	rio_enter(io);
	raft_guard_tick(&io->guard, r, !TAILQ_EMPTY(&io->writes), (uint64_t)io->now_ms);
	if (raft_guard_elects_itself(&io->guard, r, (uint64_t)io->now_ms) &&
	    io_set_term(&io->io, r->current_term + 1) == 0) {
		/* libraft makes a lone voter leader of the term that is: G11 */
		r->current_term++;
		r->voted_for = 0;
		if (io_set_vote(&io->io, r->id) == 0)
			r->voted_for = r->id;
	}
	if (!io->failed)
		io->tick(&io->io);
	rio_leave(io);
}

static void later_keep(struct rio *io, const struct raft_message *m)
{
	size_t i = 0;

	while (i < io->later_count && io->later[i]->m.server_id != m->server_id)
		i++;
	if (i == RAFT_MSG_MEMBERS_MAX)
		return; /* the peer sends another with the next heartbeat */
	if (i == io->later_count)
		io->later[io->later_count++] = pk_alloc(sizeof(struct rio_later));
	struct rio_later *l = io->later[i];
	l->m = *m;
	memcpy(l->address, m->server_address, strlen(m->server_address) + 1);
	l->m.server_address = l->address;
}

static bool is_heartbeat(const struct raft_message *m)
{
	return m->type == RAFT_IO_APPEND_ENTRIES && m->append_entries.n_entries == 0;
}

/* More of what the heartbeat said is committed could be applied once it is stored. */
static bool heartbeat_pends(const struct rio *io, const struct raft_message *m)
{
	const struct raft *r = io->raft;

	return r->state == RAFT_FOLLOWER && m->append_entries.term == r->current_term &&
	       m->append_entries.leader_commit > r->commit_index;
}

static void heartbeat_hold(struct rio *io, const struct raft_message *m)
{
	io->heartbeat.held = heartbeat_pends(io, m);
	if (!io->heartbeat.held)
		return;
	size_t len = strlen(m->server_address) + 1;
	PK_ASSERT(len <= sizeof(io->heartbeat.address));
	memmove(io->heartbeat.address, m->server_address, len);
	io->heartbeat.m = *m;
	io->heartbeat.m.server_address = io->heartbeat.address;
	io->heartbeat.stored = io->raft->last_stored;
}

static bool heartbeat_again(struct rio *io)
{
	if (!io->heartbeat.held || io->raft->last_stored <= io->heartbeat.stored)
		return false;
	struct raft_message m = io->heartbeat.m;
	io->heartbeat.held = false;
	if (!heartbeat_pends(io, &m))
		return false;
	io->inside++;
	io->recv(&io->io, &m);
	raft_guard_received(&io->guard, io->raft);
	io->inside--;
	heartbeat_hold(io, &m);
	return true;
}

void rio_recv(struct rio *io, struct raft_message *m)
{
	struct raft_message heartbeat;

	if (io->failed) {
		raft_msg_release(m);
		return;
	}
	raft_guard_trim(&io->guard, io->raft, m);
	bool beat = is_heartbeat(m);
	if (beat)
		heartbeat = *m;
	rio_enter(io);
	switch (raft_guard_recv(&io->guard, io->raft, m, !TAILQ_EMPTY(&io->writes))) {
	case RAFT_GUARD_PASS:
		io->recv(&io->io, m);
		raft_guard_received(&io->guard, io->raft);
		if (beat)
			heartbeat_hold(io, &heartbeat);
		break;
	case RAFT_GUARD_LATER:
		later_keep(io, m);
		break;
	case RAFT_GUARD_DROP:
		raft_msg_release(m);
		break;
	}
	rio_leave(io);
}

/* ---- reading the manifest back, for a peer that is far behind ---- */

struct rio_get {
	struct raft_io_snapshot_get *req;
	raft_io_snapshot_get_cb cb;
	struct raft_snapshot *snapshot;
	struct raft_io_send send;
};

static void get_complete(struct raft_io_send *send, int status)
{
	struct rio_get *g = send->data;

	(void)status;
	g->cb(g->req, g->snapshot, g->snapshot != NULL ? 0 : RAFT_NOTFOUND);
	free(g);
}

static int io_snapshot_get(struct raft_io *raft_io, struct raft_io_snapshot_get *req,
			   raft_io_snapshot_get_cb cb)
{
	struct rio *io = rio_of(raft_io);
	const struct rlog_manifest *m = rlog_manifest_get(io->log);
	struct rio_get *g = pk_alloc(sizeof(*g));
	struct rio_sent *s = pk_alloc(sizeof(*s));

	/* Copied now, for a put may replace it; told later, as a send is. */
	*g = (struct rio_get){ .req = req, .cb = cb };
	g->snapshot = m != NULL ? snapshot_of(m) : NULL;
	g->send.data = g;
	*s = (struct rio_sent){ .req = &g->send, .cb = get_complete };
	TAILQ_INSERT_TAIL(&io->sent, s, link);
	return 0;
}

bool rio_drain(struct rio *io)
{
	bool any = !io->failed && heartbeat_again(io);
	struct rio_sent *s;

	while (!io->failed && (s = TAILQ_FIRST(&io->sent)) != NULL) {
		TAILQ_REMOVE(&io->sent, s, link);
		io->inside++;
		sent_complete(io, s);
		io->inside--;
		any = true;
	}
	while (!io->failed && io->later_count > 0) {
		struct rio_later *l = io->later[io->later_count - 1];
		bool stale = io->raft->state != RAFT_LEADER ||
			     l->m.append_entries_result.term != io->raft->current_term;
		if (!stale && !raft_guard_may_commit(&io->guard, io->raft))
			break;
		io->later_count--;
		if (!stale) {
			io->inside++;
			io->recv(&io->io, &l->m);
			raft_guard_received(&io->guard, io->raft);
			io->inside--;
		}
		free(l);
		any = true;
	}
	return any;
}
