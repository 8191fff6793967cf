#include "tests/sim/mem_rlog.h"

#include "base/mem.h"

static void store_cut(struct mem_store *s, size_t count)
{
	while (s->count > count)
		pk_buf_release(&s->records[--s->count].data);
}

static void store_drop(struct mem_store *s, size_t count)
{
	for (size_t i = 0; i < count; i++)
		pk_buf_release(&s->records[i].data);
	memmove(s->records, s->records + count, (s->count - count) * sizeof(*s->records));
	s->count -= count;
	s->start += count;
}

void mem_store_release(struct mem_store *s)
{
	store_cut(s, 0);
	free(s->records);
	pk_buf_release(&s->m_conf);
	pk_buf_release(&s->m_payload);
	*s = (struct mem_store){ 0 };
}

static void store_append(struct mem_store *s, const struct mem_record *rec)
{
	if (s->count % 64 == 0)
		s->records = pk_realloc(s->records, (s->count + 64) * sizeof(*s->records));
	struct mem_record *to = &s->records[s->count++];
	*to = (struct mem_record){ .term = rec->term, .type = rec->type };
	pk_buf_add_bytes(&to->data, pk_buf_bytes(&rec->data));
}

static void store_manifest(struct mem_store *s, const struct mem_op *op)
{
	const struct mem_store *m = &op->manifest;

	s->has_manifest = true;
	s->m_index = m->m_index;
	s->m_term = m->m_term;
	s->m_conf_index = m->m_conf_index;
	pk_buf_clear(&s->m_conf);
	pk_buf_add_bytes(&s->m_conf, pk_buf_bytes(&m->m_conf));
	pk_buf_clear(&s->m_payload);
	pk_buf_add_bytes(&s->m_payload, pk_buf_bytes(&m->m_payload));
	if (op->reset) {
		store_cut(s, 0);
		s->start = m->m_index + 1;
	} else if (m->m_index > op->keep && m->m_index - op->keep >= s->start) {
		store_drop(s, m->m_index - op->keep - s->start + 1);
	}
}

/* `most` records of an append at most. */
static void op_apply(struct mem_store *s, const struct mem_op *op, size_t most)
{
	switch (op->kind) {
	case MEM_APPEND:
		for (size_t i = 0; i < op->count && i < most; i++)
			store_append(s, &op->records[i]);
		break;
	case MEM_TRUNCATE:
		PK_ASSERT(op->index >= s->start && op->index <= s->start + s->count);
		store_cut(s, op->index - s->start);
		break;
	case MEM_MANIFEST:
		store_manifest(s, op);
		break;
	}
}

static void op_free(struct mem_op *op)
{
	for (size_t i = 0; i < op->count; i++)
		pk_buf_release(&op->records[i].data);
	free(op->records);
	pk_buf_release(&op->manifest.m_conf);
	pk_buf_release(&op->manifest.m_payload);
	free(op);
}

static struct mem_op *op_new(struct rlog *l, enum mem_op_kind kind)
{
	struct mem_op *op = pk_alloc(sizeof(*op));

	op->kind = kind;
	*l->last = op;
	l->last = &op->next;
	l->ops++;
	return op;
}

static struct mem_op *op_take(struct rlog *l)
{
	struct mem_op *op = l->first;

	if (op != NULL) {
		l->first = op->next;
		if (l->first == NULL)
			l->last = &l->first;
		l->ops--;
	}
	return op;
}

static void manifest_refresh(struct rlog *l)
{
	const struct mem_store *s = l->store;

	l->manifest = (struct rlog_manifest){ .index = s->m_index,
					      .term = s->m_term,
					      .conf_index = s->m_conf_index,
					      .conf = pk_buf_bytes(&s->m_conf),
					      .payload = pk_buf_bytes(&s->m_payload) };
}

static void bytes_refresh(struct rlog *l)
{
	l->bytes = 0;
	for (size_t i = 0; i < l->store->count; i++)
		l->bytes += l->store->records[i].data.len;
}

bool mem_rlog_step(struct rlog *l, int rc)
{
	struct pk_err err = PK_ERR_INIT;
	struct mem_op *op = op_take(l);

	if (op == NULL)
		return false;
	if (rc == 0)
		op_apply(l->store, op, SIZE_MAX);
	else
		pk_err_set(&err, rc, "as the test asked");
	if (op->kind == MEM_MANIFEST) {
		manifest_refresh(l);
		bytes_refresh(l);
	}
	if (op->done != NULL)
		op->done(op->owner, rc, &err);
	op_free(op);
	return true;
}

void mem_rlog_crash(struct rlog *l, struct pk_rng *rng)
{
	size_t whole = pk_rng_below(rng, l->ops + 1);
	struct mem_op *op;

	while ((op = op_take(l)) != NULL) {
		if (whole > 0)
			op_apply(l->store, op, SIZE_MAX);
		else if (op->kind == MEM_APPEND && pk_rng_chance(rng, 500000))
			op_apply(l->store, op, pk_rng_below(rng, op->count + 1));
		if (whole == 0) {
			op_free(op);
			break;
		}
		whole--;
		op_free(op);
	}
	while ((op = op_take(l)) != NULL)
		op_free(op);
	free(l);
}

int rlog_open(struct rlog **out, struct disk *disk, const struct rlog_config *cfg,
	      struct rlog_loaded *loaded, struct pk_err *err)
{
	struct rlog *l = pk_alloc(sizeof(*l));
	struct mem_store *s = disk->impl;

	(void)cfg;
	(void)err;
	if (s->start == 0)
		s->start = 1;
	l->store = s;
	l->last = &l->first;
	l->next_index = s->start + s->count;
	manifest_refresh(l);
	bytes_refresh(l);
	*loaded = (struct rlog_loaded){ .term = s->term,
					.voted_for = s->voted_for,
					.has_manifest = s->has_manifest,
					.manifest = l->manifest,
					.start_index = s->start,
					.record_count = s->count };
	loaded->records = pk_alloc((s->count + 1) * sizeof(*loaded->records));
	for (size_t i = 0; i < s->count; i++)
		loaded->records[i] = (struct rlog_record){ .index = s->start + i,
							   .term = s->records[i].term,
							   .type = s->records[i].type,
							   .data = pk_buf_bytes(
								   &s->records[i].data) };
	*out = l;
	return 0;
}

void rlog_loaded_release(struct rlog_loaded *loaded)
{
	free(loaded->records);
	pk_buf_release(&loaded->memory);
	*loaded = (struct rlog_loaded){ 0 };
}

int rlog_set_term(struct rlog *l, uint64_t term, struct pk_err *err)
{
	PK_ASSERT(term > l->store->term);
	if (l->votes_fail)
		return pk_err_set(err, PK_EIO, "the disk is gone");
	l->store->term = term;
	l->store->voted_for = 0;
	return 0;
}

int rlog_set_vote(struct rlog *l, uint64_t server_id, struct pk_err *err)
{
	if (l->votes_fail)
		return pk_err_set(err, PK_EIO, "the disk is gone");
	l->store->voted_for = server_id;
	return 0;
}

void rlog_append(struct rlog *l, const struct rlog_record *records, size_t count, rlog_done_f *done,
		 void *owner)
{
	struct mem_op *op = op_new(l, MEM_APPEND);

	op->records = pk_alloc(count * sizeof(*op->records));
	op->count = count;
	op->done = done;
	op->owner = owner;
	for (size_t i = 0; i < count; i++) {
		PK_ASSERT(records[i].index == l->next_index);
		op->records[i] = (struct mem_record){ .term = records[i].term,
						      .type = records[i].type };
		pk_buf_add_bytes(&op->records[i].data, records[i].data);
		l->bytes += records[i].data.len;
		l->next_index++;
	}
}

void rlog_truncate(struct rlog *l, uint64_t index)
{
	struct mem_op *op = op_new(l, MEM_TRUNCATE);

	PK_ASSERT(index < l->next_index);
	op->index = index;
	l->next_index = index;
}

void rlog_manifest_put(struct rlog *l, const struct rlog_manifest *m, uint64_t keep_count,
		       bool reset, rlog_done_f *done, void *owner)
{
	struct mem_op *op = op_new(l, MEM_MANIFEST);

	op->manifest.m_index = m->index;
	op->manifest.m_term = m->term;
	op->manifest.m_conf_index = m->conf_index;
	pk_buf_add_bytes(&op->manifest.m_conf, m->conf);
	pk_buf_add_bytes(&op->manifest.m_payload, m->payload);
	op->keep = keep_count;
	op->reset = reset;
	op->done = done;
	op->owner = owner;
	if (reset)
		l->next_index = m->index + 1;
}

const struct rlog_manifest *rlog_manifest_get(const struct rlog *l)
{
	return l->store->has_manifest ? &l->manifest : NULL;
}

uint64_t rlog_bytes(const struct rlog *l)
{
	return l->bytes;
}

uint64_t rlog_last_index(const struct rlog *l)
{
	return l->next_index - 1;
}

void rlog_close(struct rlog *l)
{
	struct mem_op *op;

	while ((op = op_take(l)) != NULL)
		op_free(op);
	free(l);
}
