#include <inttypes.h>

#include "jepsen/history_impl.h"

/* A history in memory: events in, joined operations out. */

#define OPS_MAX   (1u << 29) /* an item's index has 30 bits */
#define BLOBS_MAX (UINT32_MAX - HIST_RECORD_BYTES_MAX)

void hist_grow(void **at, uint32_t *cap, uint32_t count, size_t size)
{
	if (count == *cap) {
		PK_ASSERT(*cap < UINT32_MAX / 2);
		*cap = *cap > 0 ? 2 * *cap : 16;
		*at = pk_realloc(*at, *cap * size);
	}
	memset((char *)*at + count * size, 0, size);
}

/* ---- texts ---- */

static struct htext *text_find(const struct htexts *t, struct pk_bytes text)
{
	struct htext *found;

	if (text.len == 0)
		text.data = (const uint8_t *)"";
	HASH_FIND(hh, t->by_text, text.data, text.len, found);
	return found;
}

uint32_t htext_find(const struct htexts *t, struct pk_bytes text)
{
	struct htext *found = text_find(t, text);

	return found != NULL ? found->id : HIST_NO_INDEX;
}

uint32_t htext_id(struct htexts *t, struct pk_bytes text)
{
	struct htext *found = text_find(t, text);

	if (found != NULL)
		return found->id;
	found = pk_alloc(sizeof(*found) + text.len + 1);
	found->id = t->count;
	found->len = (uint32_t)text.len;
	if (text.len > 0)
		memcpy(found->text, text.data, text.len);
	hist_grow((void **)&t->by_id, &t->cap, t->count, sizeof(*t->by_id));
	t->by_id[t->count++] = found;
	HASH_ADD_KEYPTR(hh, t->by_text, found->text, found->len, found);
	return found->id;
}

static void texts_release(struct htexts *t)
{
	HASH_CLEAR(hh, t->by_text);
	for (uint32_t i = 0; i < t->count; i++)
		free(t->by_id[i]);
	free(t->by_id);
}

/* Those above it are known as well: whoever climbs finds them. */
static uint32_t path_id(struct history *h, struct pk_bytes path)
{
	uint32_t id;

	if (path.len == 0)
		return HIST_ROOT;
	id = htext_find(&h->paths, path);
	if (id != HIST_NO_INDEX)
		return id;
	id = htext_id(&h->paths, path);
	for (size_t len = path.len; len-- > 1;)
		if (path.data[len] == '/' &&
		    htext_find(&h->paths, pk_bytes(path.data, len)) == HIST_NO_INDEX)
			pk_ignore(htext_id(&h->paths, pk_bytes(path.data, len)), "it is there now");
	return id;
}

/* ---- life ---- */

struct history *history_new(void)
{
	struct history *h = pk_alloc(sizeof(*h));

	h->final_ns = INT64_MAX;
	PK_ASSERT(htext_id(&h->paths, pk_bytes_str("/")) == HIST_ROOT);
	return h;
}

void history_free(struct history *h)
{
	HASH_CLEAR(hh, h->proc_by_id);
	for (uint32_t i = 0; i < h->procs.count; i++) {
		free(h->procs.at[i]->open);
		free(h->procs.at[i]);
	}
	HASH_CLEAR(hh, h->session_by_id);
	for (uint32_t i = 0; i < h->sessions.count; i++)
		free(h->sessions.at[i]);
	texts_release(&h->paths);
	texts_release(&h->texts);
	pk_buf_release(&h->blobs);
	free(h->ops.at);
	free(h->subs.at);
	free(h->stats.at);
	free(h->items.at);
	free(h->watches.at);
	free(h->states.at);
	free(h->txns.at);
	free(h->dumps.at);
	free(h->nodes.at);
	free(h->digests.at);
	free(h->faults.at);
	free(h->procs.at);
	free(h->sessions.at);
	free(h);
}

size_t history_op_count(const struct history *h)
{
	return h->ops.count;
}

size_t history_event_count(const struct history *h)
{
	return h->events;
}

/* ---- who ---- */

static struct hproc *proc_find(struct history *h, uint32_t id)
{
	struct hproc *p;

	HASH_FIND(hh, h->proc_by_id, &id, sizeof(id), p);
	return p;
}

static struct hproc *proc_of(struct history *h, uint32_t id)
{
	struct hproc *p = proc_find(h, id);

	if (p != NULL)
		return p;
	p = pk_alloc(sizeof(*p));
	p->id = id;
	p->index = h->procs.count;
	p->dump = HIST_NO_INDEX;
	p->name = htext_id(&h->texts, pk_bytes_str(""));
	*HIST_PUSH(&h->procs) = p;
	HASH_ADD(hh, h->proc_by_id, id, sizeof(p->id), p);
	return p;
}

static uint32_t session_of(struct history *h, uint64_t id)
{
	struct hsession *s;

	if (id == 0)
		return HIST_NO_INDEX;
	HASH_FIND(hh, h->session_by_id, &id, sizeof(id), s);
	if (s == NULL) {
		s = pk_alloc(sizeof(*s));
		s->id = id;
		s->index = h->sessions.count;
		*HIST_PUSH(&h->sessions) = s;
		HASH_ADD(hh, h->session_by_id, id, sizeof(s->id), s);
	}
	return s->index;
}

static uint8_t server_of(uint32_t server)
{
	return server < UINT8_MAX ? (uint8_t)server : UINT8_MAX;
}

static void add_item(struct history *h, const struct hproc *p, enum hist_item_type type,
		     uint32_t index)
{
	*HIST_PUSH(&h->items) = (struct hist_item){ .process = p->index,
						    .type = type,
						    .index = index };
}

/* ---- operations ---- */

static struct hop hop_empty(void)
{
	return (struct hop){
		.done_ns = INT64_MAX,
		.data = HIST_NO_INDEX,
		.session = HIST_NO_INDEX,
		.path = HIST_ROOT,
		.created = HIST_NO_INDEX,
		.acl = HIST_NO_INDEX,
		.acl_got = HIST_NO_INDEX,
		.stat = HIST_NO_INDEX,
		.names = HIST_NO_INDEX,
	};
}

static bool sequential(struct pk_bytes name)
{
	size_t digits = 0;

	while (digits < name.len && digits < SEQUENCE_DIGITS &&
	       name.data[name.len - 1 - digits] >= '0' && name.data[name.len - 1 - digits] <= '9')
		digits++;
	return digits == SEQUENCE_DIGITS;
}

/* Who is on a list is a node of its own even if no request names it, as those are that sequential
 * creates made whose answers were lost: it may be seen to come and go. */
static void names_known(struct history *h, const struct hop *op, struct pk_bytes names)
{
	struct pk_bytes above = hist_path(h, op->path), name;
	struct pk_buf path = PK_BUF_INIT;

	if (op->op != ZK_OP_GET_EPHEMERALS) {
		pk_buf_add_bytes(&path, above);
		if (above.len > 1)
			pk_buf_add_u8(&path, '/');
	}
	size_t len = path.len;
	while (hist_name_next(&names, &name)) {
		if (!sequential(name))
			continue;
		path.len = len;
		pk_buf_add_bytes(&path, name);
		pk_ignore(path_id(h, pk_buf_bytes(&path)), "it is there now");
	}
	pk_buf_release(&path);
}

static uint32_t put_blob(struct history *h, struct pk_bytes bytes)
{
	uint32_t at = (uint32_t)h->blobs.len;

	pk_buf_add_le32(&h->blobs, (uint32_t)bytes.len);
	pk_buf_add_bytes(&h->blobs, bytes);
	return at;
}

static void set_value(struct history *h, struct hop *op, const struct hist_part *p, bool keep)
{
	if (p->data.data != NULL) {
		op->data_bytes = (uint32_t)p->data.len;
		op->data_hash = p->data_hash != 0 ? p->data_hash : pk_hist_hash(p->data);
		if (keep && p->data.len <= HIST_DATA_MAX)
			op->data = put_blob(h, p->data);
	} else {
		op->data_bytes = (uint32_t)p->data_bytes;
		op->data_hash = p->data_hash;
	}
	op->data_given = true;
}

/* Does an operation of this kind bring a value, or get one? */
static bool asks_value(int32_t op)
{
	return op == ZK_OP_CREATE || op == ZK_OP_CREATE2 || op == ZK_OP_CREATE_CONTAINER ||
	       op == ZK_OP_CREATE_TTL || op == ZK_OP_SET_DATA;
}

static void set_asked(struct history *h, struct hop *op, const struct hist_part *p)
{
	op->op = (int16_t)p->op;
	op->path = path_id(h, p->path);
	op->version = p->version;
	op->mode = (uint8_t)p->mode;
	op->ttl_ms = p->ttl_ms;
	op->watch = (uint8_t)p->watch;
	if (p->acl.data != NULL)
		op->acl = htext_id(&h->texts, p->acl);
	if (asks_value(p->op))
		set_value(h, op, p, true);
}

static void set_answered(struct history *h, struct hop *op, const struct hist_part *p)
{
	op->err = p->err;
	if (p->created.len > 0)
		op->created = path_id(h, p->created);
	if (p->acl.data != NULL)
		op->acl_got = htext_id(&h->texts, p->acl);
	if (p->has_stat) {
		op->stat = h->stats.count;
		*HIST_PUSH(&h->stats) = p->stat;
	}
	if (p->has_names) {
		op->names = put_blob(h, p->names);
		names_known(h, op, p->names);
	}
	/* A value that is not told, of a node that has one, is one that was not kept. */
	if (op->op == ZK_OP_GET_DATA && p->err == 0 &&
	    (p->data.data != NULL || p->data_hash != 0 ||
	     (p->has_stat && p->stat.data_length == 0)))
		set_value(h, op, p, true);
}

static int refuse_full(struct history *h, struct pk_err *err)
{
	if (h->ops.count >= OPS_MAX || h->subs.count >= OPS_MAX ||
	    h->items.count >= UINT32_MAX / 2 || h->blobs.len >= BLOBS_MAX)
		return pk_err_set(err, PK_ELIMIT, "a history of more than this memory can index");
	return 0;
}

static uint32_t open_find(const struct hproc *p, uint64_t call)
{
	for (uint32_t i = 0; i < p->open_count; i++)
		if (p->open[p->open_first + i].call == call)
			return i;
	return HIST_NO_INDEX;
}

static void open_add(struct hproc *p, uint64_t call, uint32_t op)
{
	if (p->open_first + p->open_count == p->open_cap) {
		if (p->open_first >= p->open_cap / 2 && p->open_first > 0) {
			memmove(p->open, p->open + p->open_first, p->open_count * sizeof(*p->open));
			p->open_first = 0;
		} else {
			p->open_cap = p->open_cap > 0 ? 2 * p->open_cap : 16;
			p->open = pk_realloc(p->open, p->open_cap * sizeof(*p->open));
		}
	}
	p->open[p->open_first + p->open_count].call = call;
	p->open[p->open_first + p->open_count++].op = op;
}

static void open_remove(struct hproc *p, uint32_t i)
{
	if (i == 0) {
		p->open_first++;
	} else {
		memmove(&p->open[p->open_first + i], &p->open[p->open_first + i + 1],
			(p->open_count - i - 1) * sizeof(*p->open));
	}
	if (--p->open_count == 0)
		p->open_first = 0;
}

static int add_invoke(struct history *h, struct hproc *p, const struct hist_event *e,
		      struct pk_err *err)
{
	if (open_find(p, e->call) != HIST_NO_INDEX)
		return pk_err_set(err, PK_EINVAL,
				  "process %" PRIu32 ": call %" PRIu64 " is open already", p->id,
				  e->call);
	enum zk_op_class class = zk_opcode_class(e->part.op);
	if (class == ZK_CLASS_NONE || class == ZK_CLASS_INTERNAL || e->part.op == 0)
		return pk_err_set(err, PK_EINVAL, "process %" PRIu32 ": op %" PRId32, p->id,
				  e->part.op);
	uint32_t index = h->ops.count;
	struct hop op = hop_empty();
	op.invoke_ns = e->time_ns;
	op.process = p->index;
	op.session = session_of(h, e->session);
	op.server = server_of(e->server);
	op.xid = e->xid;
	set_asked(h, &op, &e->part);
	op.subs = h->subs.count;
	op.sub_count = e->part_count;
	for (uint32_t i = 0; i < e->part_count; i++) {
		struct hop sub = hop_empty();
		set_asked(h, &sub, &e->parts[i]);
		*HIST_PUSH(&h->subs) = sub;
	}
	*HIST_PUSH(&h->ops) = op;
	open_add(p, e->call, index);
	add_item(h, p, ITEM_INVOKE, index);
	return 0;
}

static int add_done(struct history *h, struct hproc *p, const struct hist_event *e,
		    struct pk_err *err)
{
	uint32_t at = open_find(p, e->call);

	if (at == HIST_NO_INDEX)
		return pk_err_set(err, PK_EINVAL,
				  "process %" PRIu32 ": an answer to call %" PRIu64
				  ", which is not open",
				  p->id, e->call);
	uint32_t index = p->open[p->open_first + at].op;
	struct hop *op = &h->ops.at[index];
	if (e->part_count > 0 && e->part_count != op->sub_count)
		return pk_err_set(err, PK_EINVAL,
				  "process %" PRIu32 " call %" PRIu64 ": %" PRIu32
				  " results of %" PRIu32 " operations",
				  p->id, e->call, e->part_count, op->sub_count);
	if (e->kind == HIST_OK && e->part.err != 0)
		return pk_err_set(err, PK_EINVAL,
				  "process %" PRIu32 " call %" PRIu64 ": ok, with error %" PRId32,
				  p->id, e->call, e->part.err);
	op->status = e->kind == HIST_OK ? HOP_OK : e->kind == HIST_FAIL ? HOP_FAIL : HOP_INFO;
	op->done_ns = e->time_ns;
	op->zxid = op->status == HOP_INFO ? 0 : e->zxid;
	if (e->session != 0)
		op->session = session_of(h, e->session);
	if (e->server != 0)
		op->server = server_of(e->server);
	op->no_barrier = p->no_barrier;
	set_answered(h, op, &e->part);
	for (uint32_t i = 0; i < e->part_count; i++) {
		struct hop *sub = &h->subs.at[op->subs + i];
		sub->result = true;
		set_answered(h, sub, &e->parts[i]);
	}
	open_remove(p, at);
	add_item(h, p, ITEM_DONE, index);
	return 0;
}

/* ---- the other kinds ---- */

static int add_fault_end(struct history *h, const struct hist_event *e, struct pk_err *err)
{
	uint32_t name = htext_find(&h->texts, e->name);

	for (uint32_t i = h->faults.count; i-- > 0;) {
		struct hfault *f = &h->faults.at[i];
		if (f->call == e->call && f->name == name && f->end_ns == INT64_MAX) {
			f->end_ns = e->time_ns;
			return 0;
		}
	}
	return pk_err_set(err, PK_EINVAL, "fault %.*s %" PRIu64 " ends and did not begin",
			  (int)e->name.len, e->name.data, e->call);
}

static int add_node(struct history *h, struct hproc *p, const struct hist_event *e,
		    struct pk_err *err)
{
	if (p->dump == HIST_NO_INDEX || h->dumps.at[p->dump].given == h->dumps.at[p->dump].count)
		return pk_err_set(err, PK_EINVAL, "process %" PRIu32 ": node %.*s of no dump",
				  p->id, (int)e->part.path.len, e->part.path.data);
	struct hnode n = { .path = path_id(h, e->part.path),
			   .dump = p->dump,
			   .stat = HIST_NO_INDEX,
			   .acl = HIST_NO_INDEX };
	struct hop value = hop_empty();
	if (e->part.has_stat) {
		n.stat = h->stats.count;
		*HIST_PUSH(&h->stats) = e->part.stat;
	}
	if (e->part.acl.data != NULL)
		n.acl = htext_id(&h->texts, e->part.acl);
	if (e->part.data.data != NULL || e->part.data_hash != 0 ||
	    (e->part.has_stat && e->part.stat.data_length == 0))
		set_value(h, &value, &e->part, false);
	n.data_given = value.data_given;
	n.data_hash = value.data_hash;
	n.data_bytes = value.data_bytes;
	*HIST_PUSH(&h->nodes) = n;
	h->dumps.at[p->dump].given++;
	return 0;
}

static void add_txn(struct history *h, const struct hist_event *e)
{
	struct htxn t = { .zxid = e->zxid,
			  .time_ns = e->time_ns,
			  .session = session_of(h, e->session),
			  .path = path_id(h, e->part.path),
			  .op = e->part.op,
			  .xid = e->xid,
			  .created = HIST_NO_INDEX,
			  .subs = h->subs.count,
			  .sub_count = e->part_count };

	if (e->part.created.len > 0)
		t.created = path_id(h, e->part.created);
	for (uint32_t i = 0; i < e->part_count; i++) {
		struct hop sub = hop_empty();
		if (e->parts[i].created.len > 0)
			sub.created = path_id(h, e->parts[i].created);
		*HIST_PUSH(&h->subs) = sub;
	}
	*HIST_PUSH(&h->txns) = t;
}

static int add_kind(struct history *h, struct hproc *p, const struct hist_event *e,
		    struct pk_err *err)
{
	switch (e->kind) {
	case HIST_INVOKE:
		return add_invoke(h, p, e, err);
	case HIST_OK:
	case HIST_FAIL:
	case HIST_INFO:
		return add_done(h, p, e, err);
	case HIST_WATCH:
		add_item(h, p, ITEM_WATCH, h->watches.count);
		*HIST_PUSH(&h->watches) = (struct hwatch){ .time_ns = e->time_ns,
							   .session = session_of(h, e->session),
							   .path = path_id(h, e->part.path),
							   .event = e->event };
		return 0;
	case HIST_SESSION:
		p->no_barrier = e->state == HIST_CONNECTED && (e->flags & HIST_NO_BARRIER) != 0;
		add_item(h, p, ITEM_SESSION, h->states.count);
		*HIST_PUSH(&h->states) = (struct hstate){ .time_ns = e->time_ns,
							  .session = session_of(h, e->session),
							  .process = p->index,
							  .state = (uint8_t)e->state,
							  .server = server_of(e->server),
							  .no_barrier = p->no_barrier,
							  .timeout_ms = e->timeout_ms };
		return 0;
	case HIST_FAULT_BEGIN:
		*HIST_PUSH(&h->faults) = (struct hfault){ .begin_ns = e->time_ns,
							  .end_ns = INT64_MAX,
							  .call = e->call,
							  .name = htext_id(&h->texts, e->name),
							  .text = htext_id(&h->texts, e->text) };
		return 0;
	case HIST_FAULT_END:
		return add_fault_end(h, e, err);
	case HIST_CLIENT:
		p->flags = e->flags & HIST_CLIENT_ALL;
		p->name = htext_id(&h->texts, e->name);
		return 0;
	case HIST_TXN:
		add_txn(h, e);
		return 0;
	case HIST_FINAL:
		if (e->time_ns < h->final_ns)
			h->final_ns = e->time_ns;
		return 0;
	case HIST_DUMP:
		p->dump = h->dumps.count;
		*HIST_PUSH(&h->dumps) = (struct hdump){ .zxid = e->zxid,
							.path = path_id(h, e->part.path),
							.server = e->server,
							.count = e->count,
							.first = h->nodes.count };
		return 0;
	case HIST_NODE:
		return add_node(h, p, e, err);
	case HIST_DIGEST:
		*HIST_PUSH(&h->digests) = (struct hdigest){ .zxid = e->zxid,
							    .digest = e->digest,
							    .name = htext_id(&h->texts, e->name),
							    .server = e->server };
		return 0;
	case HIST_NOTE:
		return 0;
	case HIST_LOG:
		h->log_told = true;
		return 0;
	case HIST_NONE:
	case HIST_KINDS:
		break;
	}
	return pk_err_set(err, PK_EINVAL, "kind %d", (int)e->kind);
}

int history_add(struct history *h, const struct hist_event *e, struct pk_err *err)
{
	struct pk_err own = PK_ERR_INIT;

	if (err == NULL)
		err = &own;
	if (hist_event_check(e, err) != 0 || refuse_full(h, err) != 0)
		return err->code;
	const struct hproc *known = proc_find(h, e->process);
	if (known != NULL && e->time_ns < known->time_ns)
		return pk_err_set(err, PK_EINVAL,
				  "process %" PRIu32 ": time falls from %" PRId64 " to %" PRId64,
				  e->process, known->time_ns, e->time_ns);
	struct hproc *p = proc_of(h, e->process);
	int rc = add_kind(h, p, e, err);
	if (rc != 0)
		return rc;
	p->time_ns = e->time_ns;
	if (e->time_ns > h->last_ns)
		h->last_ns = e->time_ns;
	h->events++;
	return 0;
}
