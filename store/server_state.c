/*
 * State transfer: a server that is too far behind for the log, or new, gets the records of a peer's
 * last LMDB commit, in key order, chunk by chunk, with at most STATE_WINDOW on the way.
 */
#include <inttypes.h>

#include "base/log.h"
#include "base/mutant.h"
#include "store/server_int.h"

#define STATE_CHUNK_BYTES     (256u << 10)
#define STATE_WINDOW          4
#define STATE_SILENCE_MS      15000
#define STATE_FAILED_PAUSE_MS 1000

struct state_export {
	struct state_export *next;
	uint64_t peer, id, least_index;
	uint64_t index; /* of the state being sent */
	struct kv_export *ex;
	uint32_t sent, acked;
	bool read_all;
	int64_t heard_ms;
};

static bool send_state(struct server *s, uint64_t peer, enum server_message type, uint64_t id,
		       uint32_t number, struct pk_bytes records)
{
	struct pk_buf b = PK_BUF_INIT;

	pk_buf_add_le64(&b, id);
	pk_buf_add_le32(&b, number);
	pk_buf_add_bytes(&b, records);
	bool sent = s->out.peer_send(s->out.owner, peer, NULL, type, pk_buf_bytes(&b));
	pk_buf_release(&b);
	return sent;
}

/* ---- giving ---- */

static void export_drop(struct server *s, struct state_export *x)
{
	struct state_export **at = &s->exports;

	while (*at != x)
		at = &(*at)->next;
	*at = x->next;
	if (x->ex != NULL)
		kv_export_close(x->ex);
	free(x);
}

static struct state_export *export_of(struct server *s, uint64_t peer)
{
	struct state_export *x = s->exports;

	while (x != NULL && x->peer != peer)
		x = x->next;
	return x;
}

static void export_ask(struct server *s, uint64_t peer, uint64_t id, uint64_t least_index)
{
	struct state_export *x = export_of(s, peer);

	if (x != NULL)
		export_drop(s, x);
	x = pk_alloc(sizeof(*x));
	*x = (struct state_export){ .peer = peer,
				    .id = id,
				    .least_index = least_index,
				    .heard_ms = s->now_ms,
				    .next = s->exports };
	s->exports = x;
	if (s->durable.index < least_index)
		s->commit_wanted = true;
}

/* Send what the window allows. */
static void export_step(struct server *s, struct state_export *x)
{
	if (x->ex == NULL) {
		if (s->durable.index < x->least_index)
			return; /* the commit that holds it is under way */
		x->ex = kv_export_open(s->kv);
		x->index = s->durable.index;
		s->stats.state_transfers_out++;
	}
	while (!x->read_all && x->sent - x->acked < STATE_WINDOW) {
		struct pk_buf chunk = PK_BUF_INIT;

		x->read_all = kv_export_next(x->ex, STATE_CHUNK_BYTES, &chunk) == 0;
		bool sent = chunk.len == 0 || send_state(s, x->peer, SERVER_MSG_STATE_CHUNK, x->id,
							 x->sent, pk_buf_bytes(&chunk));
		x->sent += chunk.len > 0;
		pk_buf_release(&chunk);
		if (!sent) { /* a lost chunk cannot be read again: the receiver asks anew after its
				silence */
			export_drop(s, x);
			return;
		}
	}
	if (x->read_all && x->sent == x->acked) {
		uint8_t index[8];

		pk_put_le64(index, x->index);
		pk_ignore(send_state(s, x->peer, SERVER_MSG_STATE_END, x->id, x->sent,
				     pk_bytes(index, sizeof(index))),
			  "the receiver asks anew after its silence");
		export_drop(s, x);
	}
}

/* ---- taking ---- */

static void import_ask(struct server *s)
{
	uint8_t body[16];

	s->import.id++;
	s->import.next_chunk = 0;
	s->import.heard_ms = s->now_ms;
	s->out.import_drop(s->out.owner);
	s->out.import_begin(s->out.owner);
	pk_put_le64(body, s->import.id);
	pk_put_le64(body + 8, s->import.index);
	pk_ignore(s->out.peer_send(s->out.owner, s->import.from, NULL, SERVER_MSG_STATE_ASK,
				   pk_bytes(body, sizeof(body))),
		  "asked again after a silence");
}

void state_install(struct server *s, uint64_t from_id, uint64_t index)
{
	s->import.wanted = index;
	if (MUTANT(install_without_state)) {
		raft_node_install_done(s->raft, 0);
		return;
	}
	if (s->import.step == IMPORT_SYNC || s->import.step == IMPORT_READY ||
	    (s->import.step == IMPORT_FETCH && s->import.from == from_id))
		return; /* what is on its way may be enough: looked at when it is here */
	s->import.from = from_id;
	s->import.index = index;
	server_note(s, PK_LOG_INFO, "state.fetch", "from=%" PRIu64 " index=%" PRIu64, from_id,
		    index);
	if (!MUTANT(install_keeps_clients))
		conns_close_all(s, "this server fetches its state anew");
	if (s->import.id == 0)
		s->import.id = (uint64_t)s->wall_ms << 16;
	s->import.step = IMPORT_FETCH;
	import_ask(s);
}

static void import_end(struct server *s, int rc)
{
	s->import.step = IMPORT_NONE;
	raft_node_install_done(s->raft, rc);
}

/* The leader would send again at once: a pause first. */
static void import_fail(struct server *s, const struct pk_err *err)
{
	server_note(s, PK_LOG_ERROR, "state.fetch", "from=%" PRIu64 " error=\"%s\"", s->import.from,
		    err->text);
	s->out.import_drop(s->out.owner);
	s->import.step = IMPORT_FAILED;
	s->import.heard_ms = s->now_ms;
}

static int chunk_recv(struct server *s, uint32_t number, struct pk_bytes records,
		      struct pk_err *err)
{
	if (number != s->import.next_chunk) {
		import_ask(s);
		return 0;
	}
	if (s->out.import_chunk(s->out.owner, records, err) != 0) {
		import_fail(s, err);
		return err->code == PK_EPROTO ? PK_EPROTO : 0;
	}
	s->import.next_chunk++;
	s->import.heard_ms = s->now_ms;
	pk_ignore(send_state(s, s->import.from, SERVER_MSG_STATE_ACK, s->import.id,
			     s->import.next_chunk, PK_BYTES_NONE),
		  "the sender gives up after a silence, and so do we");
	return 0;
}

static int end_recv(struct server *s, uint32_t count, struct pk_rd *in, struct pk_err *err)
{
	uint64_t index = pk_rd_le64(in);

	if (in->bad)
		return pk_err_set(err, PK_EPROTO, "the end of a state transfer without its index");
	if (count != s->import.next_chunk || index < s->import.index) {
		import_ask(s);
		return 0;
	}
	s->import.state_index = index;
	s->import.step = IMPORT_SYNC;
	s->out.import_finish(s->out.owner);
	return 0;
}

void server_import_ready(struct server *s, int rc, const struct pk_err *err)
{
	if (s->dead)
		return;
	PK_ASSERT(s->import.step == IMPORT_SYNC);
	if (rc != 0)
		import_fail(s, err);
	else
		s->import.step = IMPORT_READY;
}

/* Both states are here and durable, no commit is under way: the newer one stays. */
static void import_swap(struct server *s)
{
	struct pk_err err = PK_ERR_INIT;
	struct tree *t = NULL;

	if (tree_meta(s->tree)->index >= s->import.state_index) {
		/* Another leader's log brought us further meanwhile. */
		s->out.import_drop(s->out.owner);
		import_end(s, tree_meta(s->tree)->index >= s->import.wanted ? 0 : PK_ESTATE);
		return;
	}
	/* Whoever came while it was fetched: events between the two states would not be told, and
	 * operations that are in the new one already are never seen applied. */
	if (!MUTANT(install_keeps_clients))
		conns_close_all(s, "this server fetched its state anew");
	pending_fail_all(s, "this server fetched its state anew");
	state_release(s);
	tree_close(s->tree);
	s->tree = NULL;
	s->kv = s->out.import_swap(s->out.owner, &err);
	struct tree_config cfg = { .path_depth_max = s->cfg.path_depth_max };
	pk_put_le64(cfg.state_id, s->cfg.cluster_id);
	if (s->kv == NULL || tree_open(&t, s->kv, &cfg, &err) != 0) {
		pk_ignore(pk_err_wrap(&err, "open the fetched state"), "passed on");
		server_fatal(s, &err);
		return;
	}
	server_set_tree(s, t);
	s->stats.state_transfers_in++;
	server_note(s, PK_LOG_INFO, "state.fetched",
		    "index=%" PRIu64 " zxid=%#" PRIx64 " nodes=%" PRIu64, tree_meta(t)->index,
		    tree_meta(t)->zxid, tree_meta(t)->nodes);
	import_end(s, tree_meta(t)->index >= s->import.wanted ? 0 : PK_ESTATE);
}

/* ---- messages, time ---- */

int state_peer_recv(struct server *s, uint64_t from, enum server_message type,
		    struct pk_bytes bytes, struct pk_err *err)
{
	struct pk_rd in = { .in = bytes };
	uint64_t id = pk_rd_le64(&in);

	if (type == SERVER_MSG_STATE_ASK) {
		uint64_t least = pk_rd_le64(&in);

		if (in.bad)
			return pk_err_set(err, PK_EPROTO, "a state request of %zu bytes",
					  bytes.len);
		export_ask(s, from, id, least);
		return 0;
	}
	uint32_t number = pk_rd_le32(&in);
	if (in.bad)
		return pk_err_set(err, PK_EPROTO, "a state message of %zu bytes", bytes.len);
	if (type == SERVER_MSG_STATE_ACK) {
		struct state_export *x = export_of(s, from);

		if (x != NULL && x->id == id && number <= x->sent && number > x->acked) {
			x->acked = number;
			x->heard_ms = s->now_ms;
			export_step(s, x);
		}
		return 0;
	}
	if (s->import.step != IMPORT_FETCH || from != s->import.from || id != s->import.id)
		return 0; /* of a transfer that was given up */
	return type == SERVER_MSG_STATE_CHUNK ? chunk_recv(s, number, in.in, err)
					      : end_recv(s, number, &in, err);
}

void state_turn(struct server *s)
{
	struct state_export *x, *next;

	for (x = s->exports; x != NULL; x = next) {
		next = x->next;
		if (x->ex == NULL)
			export_step(s, x);
	}
	if (s->import.step == IMPORT_READY && s->job == NULL)
		import_swap(s);
}

void state_tick(struct server *s)
{
	struct state_export *x, *next;

	for (x = s->exports; x != NULL; x = next) {
		next = x->next;
		if (s->now_ms - x->heard_ms > 2 * STATE_SILENCE_MS)
			export_drop(s, x);
	}
	if (s->import.step == IMPORT_FETCH && s->now_ms - s->import.heard_ms > STATE_SILENCE_MS)
		import_ask(s);
	if (s->import.step == IMPORT_FAILED &&
	    s->now_ms - s->import.heard_ms > STATE_FAILED_PAUSE_MS)
		import_end(s, PK_EIO);
}

void state_peer_down(struct server *s, uint64_t peer_id)
{
	struct state_export *x = export_of(s, peer_id);

	if (x != NULL)
		export_drop(s, x);
	if (s->import.step == IMPORT_FETCH && s->import.from == peer_id)
		s->import.heard_ms = s->now_ms - STATE_SILENCE_MS + 1000; /* ask again soon */
}

void state_release(struct server *s)
{
	while (s->exports != NULL)
		export_drop(s, s->exports);
}
