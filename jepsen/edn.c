#include "jepsen/edn.h"

#include <inttypes.h>

#include "jepsen/check_int.h"

struct line {
	uint32_t op;
	bool end;
};

struct writing {
	const struct history *h;
	enum edn_form form;
	uint32_t path;
	int64_t *begins; /* by operation: when it is invoked there; -1: it is left out */
	uint32_t *process;
	HIST_VEC(uint32_t) idle;
	uint32_t processes;
	struct pk_buf *out;
	uint64_t index;
};

static void put_text(struct pk_buf *out, struct pk_bytes text)
{
	pk_buf_add_u8(out, '"');
	for (size_t i = 0; i < text.len; i++) {
		uint8_t byte = text.data[i];
		if (byte == '"' || byte == '\\')
			pk_buf_printf(out, "\\%c", byte);
		else if (byte < 0x20 || byte == 0x7f)
			pk_buf_printf(out, "\\u%04x", byte);
		else
			pk_buf_add_u8(out, byte);
	}
	pk_buf_add_u8(out, '"');
}

/* A value that is too long to be kept goes by its hash. */
static void put_value(struct writing *w, const struct hop *op)
{
	if (op->data != NONE)
		put_text(w->out, pk_bytes(w->h->blobs.data + op->data + 4, op->data_bytes));
	else if (op->data_given && op->data_bytes == 0)
		pk_buf_add_str(w->out, "\"\"");
	else
		pk_buf_printf(w->out, "\"%" PRIu32 " bytes, hash %016" PRIx64 "\"", op->data_bytes,
			      op->data_hash);
}

static bool is_set(int32_t op)
{
	return op == ZK_OP_SET_DATA || op == ZK_OP_CREATE || op == ZK_OP_CREATE2 ||
	       op == ZK_OP_CREATE_CONTAINER || op == ZK_OP_CREATE_TTL;
}

static bool is_value_op(const struct hop *op)
{
	return is_set(op->op) || op->op == ZK_OP_DELETE || op->op == ZK_OP_GET_DATA;
}

static uint32_t place_of(const struct hop *op)
{
	return op->created != NONE ? op->created : op->path;
}

/* One micro-operation: [:w "/a" "v"]. A read's value is known at its end. */
static void put_micro(struct writing *w, const struct hop *op, bool end)
{
	pk_buf_printf(w->out, "[:%s ", op->op == ZK_OP_GET_DATA ? "r" : "w");
	put_text(w->out, hist_path(w->h, place_of(op)));
	pk_buf_add_u8(w->out, ' ');
	if (op->op == ZK_OP_DELETE || (op->op == ZK_OP_GET_DATA && (!end || op->err != ZK_OK)))
		pk_buf_add_str(w->out, "nil");
	else
		put_value(w, op);
	pk_buf_add_u8(w->out, ']');
}

static void put_transaction(struct writing *w, const struct hop *op, bool end)
{
	pk_buf_add_str(w->out, ":f :txn :value [");
	if (op->op != ZK_OP_MULTI && op->op != ZK_OP_MULTI_READ)
		put_micro(w, op, end);
	for (uint32_t i = 0, n = 0; i < op->sub_count; i++) {
		const struct hop *sub = &w->h->subs.at[op->subs + i];
		if (!is_value_op(sub))
			continue;
		if (n++ > 0)
			pk_buf_add_u8(w->out, ' ');
		put_micro(w, sub, end);
	}
	pk_buf_add_u8(w->out, ']');
}

static void put_register(struct writing *w, const struct hop *op, bool end)
{
	bool read = op->op == ZK_OP_GET_DATA;

	pk_buf_printf(w->out, ":f :%s :value ", read ? "read" : "write");
	if (op->op == ZK_OP_DELETE || (read && (!end || op->err != ZK_OK)))
		pk_buf_add_str(w->out, "nil");
	else
		put_value(w, op);
}

static const char *type_of(const struct hop *op)
{
	if (op->status == HOP_OPEN || op->status == HOP_INFO)
		return "info";
	for (uint32_t i = 0; i < op->sub_count; i++)
		if (op->op == ZK_OP_MULTI && op->status == HOP_FAIL)
			return "fail";
	/* That there is nothing is what a read can find. */
	if (op->op == ZK_OP_GET_DATA && op->err == ZK_ENONODE)
		return "ok";
	return op->status == HOP_OK ? "ok" : "fail";
}

static bool multi_refused(const struct history *h, const struct hop *op)
{
	for (uint32_t i = 0; op->op == ZK_OP_MULTI && i < op->sub_count; i++)
		if (h->subs.at[op->subs + i].err != ZK_OK)
			return true;
	return false;
}

static void put_line(struct writing *w, const struct line *l, int64_t time_ns)
{
	const struct hop *op = &w->h->ops.at[l->op];
	const char *type = !l->end ? "invoke" : multi_refused(w->h, op) ? "fail" : type_of(op);

	if (!l->end)
		w->process[l->op] = w->idle.count > 0 ? w->idle.at[--w->idle.count]
						      : w->processes++;
	pk_buf_printf(w->out,
		      "{:index %" PRIu64 " :time %" PRId64 " :process %" PRIu32 " :type :%s ",
		      w->index++, time_ns, w->process[l->op], type);
	if (w->form == EDN_REGISTER)
		put_register(w, op, l->end);
	else
		put_transaction(w, op, l->end);
	pk_buf_add_str(w->out, "}\n");
	if (l->end && strcmp(type, "info") != 0)
		*HIST_PUSH(&w->idle) = w->process[l->op];
}

/* When each operation begins there, and which are left out. */
static void choose(struct writing *w, struct edn_counts *counts)
{
	const struct history *h = w->h;
	int64_t *synced = pk_alloc((h->procs.count + 1) * sizeof(*synced));

	for (uint32_t i = 0; i < h->procs.count; i++)
		synced[i] = -1;
	for (uint32_t i = 0; i < h->ops.count; i++) {
		const struct hop *op = &h->ops.at[i];
		bool read = op->op == ZK_OP_GET_DATA;
		w->begins[i] = -1;
		if (w->form == EDN_REGISTER) {
			bool here = is_value_op(op) && place_of(op) == w->path;
			if (here && (!read || synced[op->process] >= 0))
				w->begins[i] = read ? synced[op->process] : op->invoke_ns;
		} else if (is_value_op(op) || op->op == ZK_OP_MULTI || op->op == ZK_OP_MULTI_READ) {
			w->begins[i] = op->invoke_ns;
		}
		/* A read that failed tells nothing; nor does one of unknown outcome. */
		if (read && op->err != ZK_OK && op->err != ZK_ENONODE)
			w->begins[i] = -1;
		if (read && op->status != HOP_OK && op->status != HOP_FAIL)
			w->begins[i] = -1;
		if (op->op == ZK_OP_SYNC && op->status == HOP_OK)
			synced[op->process] = op->invoke_ns;
		else
			synced[op->process] = -1;
		if (w->begins[i] >= 0)
			counts->operations++;
		else
			counts->left_out++;
	}
	free(synced);
}

int edn_write(const struct history *h, enum edn_form form, struct pk_bytes path, struct pk_buf *out,
	      struct edn_counts *counts, struct pk_err *err)
{
	struct writing w = { .h = h, .form = form, .out = out };
	size_t n = 0;

	*counts = (struct edn_counts){ 0 };
	if (form == EDN_REGISTER) {
		w.path = htext_find(&h->paths, path);
		if (w.path == NONE)
			return pk_err_set(err, PK_ENOENT, "no operation is on %.*s", (int)path.len,
					  path.data);
	}
	w.begins = pk_alloc((h->ops.count + 1) * sizeof(*w.begins));
	w.process = pk_alloc((h->ops.count + 1) * sizeof(*w.process));
	choose(&w, counts);
	struct sort_item *items = pk_alloc((2 * counts->operations + 1) * sizeof(*items));
	struct line *lines = pk_alloc((2 * counts->operations + 1) * sizeof(*lines));
	for (uint32_t i = 0; i < h->ops.count; i++) {
		const struct hop *op = &h->ops.at[i];
		if (w.begins[i] < 0)
			continue;
		/* At one instant ends come behind beginnings: so they overlap. */
		items[n] = (struct sort_item){ 2 * (uint64_t)w.begins[i], (uint32_t)n };
		lines[n++] = (struct line){ i, false };
		int64_t end = op->done_ns == INT64_MAX ? h->last_ns : op->done_ns;
		items[n] = (struct sort_item){ 2 * (uint64_t)end + 1, (uint32_t)n };
		lines[n++] = (struct line){ i, true };
	}
	check_sort(items, n);
	for (size_t i = 0; i < n; i++)
		put_line(&w, &lines[items[i].val], (int64_t)(items[i].key / 2));
	free(items);
	free(lines);
	free(w.begins);
	free(w.process);
	free(w.idle.at);
	return 0;
}
