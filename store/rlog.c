#include "store/rlog.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/crc.h"
#include "base/mem.h"
#include "base/mutant.h"
#include "store/rlog_impl.h"

/* ---- small things ------------------------------------------------------------------------------
 */

void rlog_reserve(void **array, size_t count, size_t *cap, size_t element_bytes)
{
	if (count < *cap)
		return;
	*cap = *cap > 0 ? *cap * 2 : 8;
	*array = pk_realloc(*array, *cap * element_bytes);
}

void *rlog_aligned(void **memory, size_t bytes)
{
	const uintptr_t align = 4096;

	*memory = pk_alloc(bytes + align);
	return (void *)(((uintptr_t)*memory + align - 1) & ~(align - 1));
}

void rlog_segment_name(char *name, uint64_t number)
{
	snprintf(name, DISK_NAME_BYTES_MAX, "seg-%016" PRIx64, number);
}

void rlog_spare_name(char *name, uint64_t number)
{
	snprintf(name, DISK_NAME_BYTES_MAX, "spare-%" PRIu64, number);
}

void rlog_garbage_add(struct rlog *l, const char *name, uint64_t bytes)
{
	struct rlog_file *f = RLOG_PUSH(l->garbage, l->garbage_count, l->garbage_cap);

	*f = (struct rlog_file){ .bytes = bytes };
	snprintf(f->name, sizeof(f->name), "%s", name);
}

uint64_t rlog_term_at(const struct rlog *l, uint64_t index)
{
	for (size_t i = l->run_count; i-- > 0;)
		if (l->runs[i].first_index <= index)
			return l->runs[i].term;
	return l->base_term;
}

void rlog_run_add(struct rlog *l, uint64_t index, uint64_t term)
{
	if (l->run_count > 0 ? l->runs[l->run_count - 1].term == term : l->base_term == term)
		return;
	*RLOG_PUSH(l->runs, l->run_count, l->run_cap) = (struct rlog_run){ .first_index = index,
									   .term = term };
}

void rlog_run_cut(struct rlog *l, uint64_t index)
{
	while (l->run_count > 0 && l->runs[l->run_count - 1].first_index >= index)
		l->run_count--;
}

void rlog_mark_add(struct rlog *l, uint64_t last_index, uint64_t span)
{
	l->written_bytes += span;
	*RLOG_PUSH(l->marks, l->mark_count,
		   l->mark_cap) = (struct rlog_mark){ .index = last_index,
						      .bytes = l->written_bytes };
}

void rlog_mark_truncate(struct rlog *l, uint64_t index)
{
	while (l->mark_count > l->mark_first && l->marks[l->mark_count - 1].index >= index)
		l->mark_count--;
}

void rlog_cut(struct rlog *l, uint64_t index)
{
	/* They go one by one, oldest first, and each time what is left must be a log that starts at
	 * or below index + 1: after truncations a later segment may start lower than this one. */
	size_t keep = 0;

	while (l->mark_first < l->mark_count && l->marks[l->mark_first].index <= index)
		l->cut_bytes = l->marks[l->mark_first++].bytes;
	if (l->mark_first > 1024 && l->mark_first > l->mark_count / 2) {
		memmove(l->marks, l->marks + l->mark_first,
			(l->mark_count - l->mark_first) * sizeof(l->marks[0]));
		l->mark_count -= l->mark_first;
		l->mark_first = 0;
	}
	while (keep + 1 < l->segment_count && l->segments[keep + 1].first_index <= index + 1)
		keep++;
	for (size_t i = 0; i < keep; i++) {
		char name[DISK_NAME_BYTES_MAX];
		rlog_segment_name(name, l->segments[i].number);
		rlog_garbage_add(l, name, l->segments[i].bytes);
	}
	memmove(l->segments, l->segments + keep,
		(l->segment_count - keep) * sizeof(l->segments[0]));
	l->segment_count -= keep;
}

/* ---- requests ----------------------------------------------------------------------------------
 */

static void on_disk(struct disk_req *req, int rc, const struct pk_err *err);

static const char *keep_name(struct rlog *l, const char *name)
{
	PK_ASSERT(l->name_count < RLOG_NAMES_MAX);
	char *to = l->names[l->name_count++];
	snprintf(to, DISK_NAME_BYTES_MAX, "%s", name);
	return to;
}

static void add_op(struct rlog *l, struct disk_op op)
{
	PK_ASSERT(l->op_count < RLOG_OPS_MAX);
	l->ops[l->op_count++] = op;
}

static void add_synced_write(struct rlog *l, const char *name, uint64_t offset, const void *data,
			     size_t len)
{
	add_op(l, (struct disk_op){ .kind = DISK_WRITE,
				    .name = name,
				    .offset = offset,
				    .data = pk_bytes(data, len) });
	if (!MUTANT(log_not_synced))
		add_op(l, (struct disk_op){ .kind = DISK_SYNC, .name = name });
}

static void launch(struct rlog *l, enum rlog_flight flight)
{
	PK_ASSERT(l->flight == RLOG_IDLE);
	l->flight = flight;
	l->req = (struct disk_req){
		.ops = l->ops, .op_count = l->op_count, .done = on_disk, .owner = l
	};
	l->op_count = 0;
	l->name_count = 0;
	l->disk->submit(l->disk->impl, &l->req);
}

static uint64_t segment_room(const struct rlog *l)
{
	return l->segments[l->segment_count - 1].bytes - l->offset;
}

static uint64_t segment_capacity(const struct rlog *l)
{
	return l->segment_bytes - RLOG_SEGMENT_HEAD_BYTES;
}

static uint64_t span_of(const struct rlog *l, uint64_t record_bytes)
{
	return rlog_align(RLOG_BATCH_HEAD_BYTES + record_bytes, l->disk->block_bytes);
}

/*
 * Begin the next segment: write its header into a spare, sync, and give it its name. A crash before
 * the rename leaves a spare, whose content means nothing; after it, an empty last segment.
 */
static const char *add_roll(struct rlog *l, const struct rlog_segment_head *h, uint64_t bytes)
{
	char name[DISK_NAME_BYTES_MAX];
	const char *spare, *segment;

	if (bytes == l->segment_bytes) {
		PK_ASSERT(l->spare_count > 0);
		rlog_spare_name(name, l->spares[0]);
		l->spare_count--;
		memmove(l->spares, l->spares + 1, l->spare_count * sizeof(l->spares[0]));
		spare = keep_name(l, name);
	} else { /* for one large record: made on the spot */
		rlog_spare_name(name, l->next_spare++);
		spare = keep_name(l, name);
		add_op(l, (struct disk_op){ .kind = DISK_CREATE, .name = spare, .bytes = bytes });
	}
	rlog_segment_name(name, h->number);
	segment = keep_name(l, name);
	memset(l->head, 0, RLOG_SEGMENT_HEAD_BYTES);
	rlog_segment_encode(l->head, &l->who, h);
	add_synced_write(l, spare, 0, l->head, RLOG_SEGMENT_HEAD_BYTES);
	add_op(l, (struct disk_op){ .kind = DISK_RENAME, .name = spare, .to = segment });

	*RLOG_PUSH(l->segments, l->segment_count, l->segment_cap) = (struct rlog_segment){
		.number = h->number, .first_index = h->first_index, .bytes = bytes
	};
	l->offset = RLOG_SEGMENT_HEAD_BYTES;
	return segment;
}

/* A write buffer of at least `bytes`; an outsized one is given back when it is not needed. */
static void batch_room(struct rlog *l, size_t bytes)
{
	size_t cap = bytes > RLOG_BATCH_BYTES_MAX ? bytes : RLOG_BATCH_BYTES_MAX;

	if (l->batch_cap >= cap && l->batch_cap <= 4 * cap)
		return;
	free(l->batch_memory);
	l->batch = rlog_aligned(&l->batch_memory, cap);
	l->batch_cap = cap;
}

/* As many waiting items as fit, as one batch: one write, one sync. */
static void launch_batch(struct rlog *l)
{
	struct rlog_item *item = STAILQ_FIRST(&l->queue);
	char segment_name[DISK_NAME_BYTES_MAX];
	const char *segment;
	uint64_t span = span_of(l, item->bytes.len);

	if (span > segment_room(l)) {
		uint64_t bytes = l->segment_bytes;
		if (span > segment_capacity(l))
			bytes = rlog_align(RLOG_SEGMENT_HEAD_BYTES + span, 4096);
		segment = add_roll(l,
				   &(struct rlog_segment_head){
					   .key = l->meta.key,
					   .number = l->segments[l->segment_count - 1].number + 1,
					   .first_index = item->next_before,
					   .prev_term = item->term_before,
					   .first_batch = l->batch_number,
					   .prev_end = l->offset,
					   .chain = item->chain,
				   },
				   bytes);
	} else {
		rlog_segment_name(segment_name, l->segments[l->segment_count - 1].number);
		segment = keep_name(l, segment_name);
	}

	struct rlog_batch b = {
		.salt = rlog_salt(l->meta.key, l->segments[l->segment_count - 1].number),
		.number = l->batch_number++,
		.offset = l->offset,
		.bytes = RLOG_BATCH_HEAD_BYTES,
		.chain = item->chain,
	};
	uint64_t bytes_max = span > RLOG_BATCH_BYTES_MAX ? span : RLOG_BATCH_BYTES_MAX;
	if (bytes_max > segment_room(l))
		bytes_max = segment_room(l);
	uint64_t last_index = 0;
	batch_room(l, (size_t)bytes_max);
	while (item != NULL && item->kind == RLOG_ITEM_RECORDS &&
	       rlog_align(b.bytes + item->bytes.len, l->disk->block_bytes) <= bytes_max) {
		if (item->bytes.len > 0)
			memcpy(l->batch + b.bytes, item->bytes.data, item->bytes.len);
		b.bytes += item->bytes.len;
		b.count += item->count;
		b.chain_end = item->chain_end;
		if (item->truncated_to > 0)
			rlog_mark_truncate(l, item->truncated_to);
		last_index = item->next_after - 1;
		STAILQ_REMOVE_HEAD(&l->queue, link);
		STAILQ_INSERT_TAIL(&l->flying, item, link);
		item = STAILQ_FIRST(&l->queue);
	}
	PK_ASSERT(!STAILQ_EMPTY(&l->flying));
	b.span = rlog_align(b.bytes, l->disk->block_bytes);
	PK_ASSERT(b.span <= l->batch_cap);
	memset(l->batch + b.bytes, 0, b.span - b.bytes);
	rlog_batch_encode(l->batch, &b);
	add_synced_write(l, segment, l->offset, l->batch, b.span);
	l->offset += b.span;
	PK_ASSERT(l->offset <= l->segments[l->segment_count - 1].bytes);
	rlog_mark_add(l, last_index, b.span);
	l->chore_turn = true;
	launch(l, RLOG_BATCH);
}

/*
 * Write the manifest over the older of the two files. With reset, begin the new log behind it: the
 * manifest names the segment that the log starts with, so once it is durable everything before
 * is void, and start-up finishes what a crash cut short.
 */
static void launch_manifest(struct rlog *l)
{
	struct rlog_item *item = STAILQ_FIRST(&l->queue);
	const struct rlog_manifest *m = &item->manifest;
	uint64_t next_segment = l->segments[l->segment_count - 1].number + 1;
	unsigned slot = (unsigned)((l->manifest_put + 1) % 2);

	l->manifest_put++;
	if (item->reset)
		l->manifest_first_segment = next_segment;
	struct rlog_manifest_head h = {
		.put = l->manifest_put,
		.index = m->index,
		.term = m->term,
		.conf_index = m->conf_index,
		.first_segment = l->manifest_first_segment,
		.conf_bytes = (uint32_t)m->conf.len,
		.payload_bytes = (uint32_t)m->payload.len,
		.data_crc = pk_crc32c(0, item->memory.data + RLOG_HEAD_BYTES,
				      m->conf.len + m->payload.len),
	};
	rlog_manifest_encode(item->memory.data, &l->who, &h);

	const char *name = keep_name(l, slot == 0 ? "manifest-1" : "manifest-2");
	if (l->manifest_file_bytes[slot] < item->memory.len) {
		l->manifest_file_bytes[slot] = rlog_align(item->memory.len, 4096);
		add_op(l, (struct disk_op){ .kind = DISK_CREATE,
					    .name = name,
					    .bytes = l->manifest_file_bytes[slot] });
	}
	add_synced_write(l, name, 0, item->memory.data, item->memory.len);
	if (item->reset) {
		pk_ignore(add_roll(l,
				   &(struct rlog_segment_head){
					   .key = l->meta.key,
					   .number = next_segment,
					   .first_index = m->index + 1,
					   .prev_term = m->term,
					   .first_batch = l->batch_number,
					   .reset = true,
				   },
				   l->segment_bytes),
			  "nothing is written into it yet");
	}
	STAILQ_REMOVE_HEAD(&l->queue, link);
	STAILQ_INSERT_TAIL(&l->flying, item, link);
	l->chore_turn = true;
	launch(l, RLOG_PUT);
}

/* ---- chores: spares prepared ahead, garbage taken away
 * -------------------------------------------- */

static uint8_t zeros[RLOG_PIECE_BYTES] __attribute__((aligned(4096)));

static bool spare_wanted(const struct rlog *l)
{
	return l->spare_count == 0;
}

/* A file that the log has left behind becomes a spare, or goes. */
static void launch_sweep(struct rlog *l)
{
	struct rlog_file *f = &l->garbage[l->garbage_first++];
	const char *name = keep_name(l, f->name);

	if (f->bytes == l->segment_bytes && l->spare_count < RLOG_SPARES_MAX) {
		char spare[DISK_NAME_BYTES_MAX];
		rlog_spare_name(spare, l->next_spare);
		l->spares[l->spare_count++] = l->next_spare++;
		add_op(l, (struct disk_op){
				  .kind = DISK_RENAME, .name = name, .to = keep_name(l, spare) });
	} else {
		add_op(l, (struct disk_op){ .kind = DISK_REMOVE, .name = name });
	}
	if (l->garbage_first == l->garbage_count)
		l->garbage_first = l->garbage_count = 0;
}

/* A new spare, some zeros at a time, so that appends never wait for all of them. */
static void launch_piece(struct rlog *l)
{
	char text[DISK_NAME_BYTES_MAX];

	if (!l->preparing) {
		l->preparing = true;
		l->preparing_number = l->next_spare++;
		l->preparing_bytes = 0;
	}
	rlog_spare_name(text, l->preparing_number);
	const char *name = keep_name(l, text);
	if (l->preparing_bytes == 0)
		add_op(l, (struct disk_op){ .kind = DISK_CREATE, .name = name });
	for (int i = 0; i < RLOG_PIECES_MAX && l->preparing_bytes < l->segment_bytes; i++) {
		uint64_t left = l->segment_bytes - l->preparing_bytes;
		size_t len = left < RLOG_PIECE_BYTES ? (size_t)left : RLOG_PIECE_BYTES;
		add_op(l, (struct disk_op){ .kind = DISK_WRITE,
					    .name = name,
					    .offset = l->preparing_bytes,
					    .data = pk_bytes(zeros, len) });
		l->preparing_bytes += len;
	}
	if (l->preparing_bytes == l->segment_bytes)
		add_op(l, (struct disk_op){ .kind = DISK_SYNC, .name = name });
}

static bool chore_due(const struct rlog *l)
{
	return l->garbage_first < l->garbage_count || l->preparing || spare_wanted(l);
}

static void launch_chore(struct rlog *l)
{
	l->chore_turn = false;
	if (l->garbage_first < l->garbage_count && !l->preparing)
		launch_sweep(l);
	else
		launch_piece(l);
	launch(l, RLOG_CHORE);
}

/* ---- the turn of things ------------------------------------------------------------------------
 */

static bool needs_spare(const struct rlog *l, const struct rlog_item *item)
{
	if (l->spare_count > 0)
		return false;
	if (item->kind == RLOG_ITEM_MANIFEST)
		return item->reset;
	uint64_t span = span_of(l, item->bytes.len);
	return span > segment_room(l) && span <= segment_capacity(l);
}

void rlog_step(struct rlog *l)
{
	if (l->flight != RLOG_IDLE)
		return;
	struct rlog_item *item = STAILQ_FIRST(&l->queue);
	if (l->failed != 0) {
		if (item != NULL)
			launch(l, RLOG_REFUSAL); /* nothing to do; the callbacks come from it */
		return;
	}
	bool chore = chore_due(l);
	if (item == NULL || needs_spare(l, item) || (chore && l->chore_turn)) {
		PK_ASSERT(item == NULL || chore);
		if (chore)
			launch_chore(l);
	} else if (item->kind == RLOG_ITEM_RECORDS) {
		launch_batch(l);
	} else {
		launch_manifest(l);
	}
}

static void item_free(struct rlog_item *item)
{
	pk_buf_release(&item->bytes);
	pk_buf_release(&item->memory);
	free(item);
}

static void manifest_stored(struct rlog *l, struct rlog_item *item)
{
	pk_buf_release(&l->manifest_memory);
	l->manifest = item->manifest;
	l->manifest_memory = item->memory;
	item->memory = PK_BUF_INIT;
	l->has_manifest = true;
	if (item->reset) {
		l->mark_first = l->mark_count = 0;
		l->cut_bytes = l->written_bytes;
		rlog_cut(l, UINT64_MAX - 1); /* all but the new segment */
	} else if (item->manifest.index > item->keep_count) {
		rlog_cut(l, item->manifest.index - item->keep_count +
				    (MUTANT(log_cut_too_far) ? 2 * item->keep_count : 0));
	}
}

static void on_disk(struct disk_req *req, int rc, const struct pk_err *err)
{
	struct rlog *l = req->owner;
	struct rlog_items done = STAILQ_HEAD_INITIALIZER(done);
	struct rlog_item *item;

	PK_ASSERT(l->magic == RLOG_MAGIC && l->flight != RLOG_IDLE);
	enum rlog_flight flight = l->flight;
	l->flight = RLOG_IDLE;
	STAILQ_CONCAT(&done, &l->flying);
	if (rc < 0 && l->failed == 0) {
		l->failed = rc;
		pk_err_set(&l->failure, rc, "%s", err != NULL ? err->text : "disk request failed");
		pk_err_wrap(&l->failure, "raft log");
	}
	if (l->failed != 0) {
		STAILQ_CONCAT(&done, &l->queue);
	} else if (flight == RLOG_PUT) {
		manifest_stored(l, STAILQ_FIRST(&done));
	} else if (flight == RLOG_CHORE && l->preparing && l->preparing_bytes == l->segment_bytes) {
		l->preparing = false;
		l->spares[l->spare_count++] = l->preparing_number;
	}
	rlog_step(l); /* the next write is on its way before anybody is told of the last one */

	const int code = l->failed;
	struct pk_err failure = l->failure;
	while ((item = STAILQ_FIRST(&done)) != NULL) {
		STAILQ_REMOVE_HEAD(&done, link);
		if (item->done != NULL)
			item->done(item->owner, code, code != 0 ? &failure : NULL);
		item_free(item);
	}
}

/* ---- what callers ask for -----------------------------------------------------------------------
 */

static struct rlog_item *item_new(struct rlog *l, enum rlog_item_kind kind)
{
	struct rlog_item *item = pk_alloc(sizeof(*item));

	item->kind = kind;
	item->chain = item->chain_end = l->chain;
	item->next_before = item->next_after = l->next_index;
	item->term_before = rlog_term_at(l, l->next_index - 1);
	return item;
}

static void item_record(struct rlog *l, struct rlog_item *item, struct rlog_record_head h,
			struct pk_bytes data)
{
	h.bytes = (uint32_t)data.len;
	h.chain = l->chain;
	l->chain = rlog_record_add(&item->bytes, &h, data);
	item->chain_end = l->chain;
	item->count++;
}

static void enqueue(struct rlog *l, struct rlog_item *item)
{
	item->next_after = l->next_index;
	STAILQ_INSERT_TAIL(&l->queue, item, link);
}

void rlog_append(struct rlog *l, const struct rlog_record *records, size_t count, rlog_done_f *done,
		 void *owner)
{
	uint64_t chunk_max = segment_capacity(l) - RLOG_BATCH_HEAD_BYTES;

	PK_ASSERT(l->magic == RLOG_MAGIC && count > 0);
	if (chunk_max > RLOG_BATCH_BYTES_MAX - 2 * RLOG_BATCH_HEAD_BYTES)
		chunk_max = RLOG_BATCH_BYTES_MAX - 2 * RLOG_BATCH_HEAD_BYTES;
	struct rlog_item *item = item_new(l, RLOG_ITEM_RECORDS);
	for (size_t i = 0; i < count; i++) {
		const struct rlog_record *r = &records[i];
		PK_ASSERT(r->index == l->next_index);
		PK_ASSERT(r->term >= rlog_term_at(l, l->next_index - 1));
		PK_ASSERT(r->data.len <= RLOG_RECORD_BYTES_MAX);
		if (item->bytes.len > 0 &&
		    item->bytes.len + RLOG_RECORD_HEAD_BYTES + r->data.len + 8 > chunk_max) {
			enqueue(l, item);
			item = item_new(l, RLOG_ITEM_RECORDS);
		}
		item_record(l, item,
			    (struct rlog_record_head){ .kind = RLOG_RECORD_DATA,
						       .type = r->type,
						       .term = r->term,
						       .index = r->index },
			    r->data);
		rlog_run_add(l, r->index, r->term);
		l->next_index++;
	}
	item->done = done;
	item->owner = owner;
	enqueue(l, item);
	l->sealed = false;
	rlog_step(l);
}

void rlog_truncate(struct rlog *l, uint64_t index)
{
	PK_ASSERT(l->magic == RLOG_MAGIC);
	PK_ASSERT(index >= l->start_index && index <= l->next_index);
	struct rlog_item *item = item_new(l, RLOG_ITEM_RECORDS);

	item_record(l, item,
		    (struct rlog_record_head){ .kind = RLOG_RECORD_TRUNCATE, .index = index },
		    PK_BYTES_NONE);
	item->truncated_to = index;
	rlog_run_cut(l, index);
	l->next_index = index;
	if (MUTANT(truncation_not_logged))
		pk_buf_clear(&item->bytes);
	enqueue(l, item);
	l->sealed = false;
	rlog_step(l);
}

void rlog_seal(struct rlog *l, rlog_done_f *done, void *owner)
{
	PK_ASSERT(l->magic == RLOG_MAGIC);
	if (l->sealed && done == NULL)
		return;
	struct rlog_item *item = item_new(l, RLOG_ITEM_RECORDS);

	item->done = done;
	item->owner = owner;
	enqueue(l, item);
	l->sealed = true;
	rlog_step(l);
}

void rlog_manifest_put(struct rlog *l, const struct rlog_manifest *m, uint64_t keep_count,
		       bool reset, rlog_done_f *done, void *owner)
{
	PK_ASSERT(l->magic == RLOG_MAGIC);
	PK_ASSERT(m->payload.len <= RLOG_PAYLOAD_BYTES_MAX);
	PK_ASSERT(m->conf.len <= RLOG_PAYLOAD_BYTES_MAX);
	PK_ASSERT(reset ? keep_count == 0 : m->index < l->next_index);
	struct rlog_item *item = item_new(l, RLOG_ITEM_MANIFEST);

	memset(pk_buf_grow(&item->memory, RLOG_HEAD_BYTES), 0, RLOG_HEAD_BYTES);
	pk_buf_add_bytes(&item->memory, m->conf);
	pk_buf_add_bytes(&item->memory, m->payload);
	const uint8_t *data = item->memory.data + RLOG_HEAD_BYTES;
	item->manifest = *m;
	item->manifest.conf = pk_bytes(data, m->conf.len);
	item->manifest.payload = pk_bytes(data + m->conf.len, m->payload.len);
	item->keep_count = keep_count;
	item->reset = reset;
	item->done = done;
	item->owner = owner;
	if (reset) {
		l->next_index = m->index + 1;
		l->start_index = l->next_index;
		l->base_term = m->term;
		l->run_count = 0;
		l->chain = 0;
		l->sealed = true;
	}
	enqueue(l, item);
	rlog_step(l);
}

const struct rlog_manifest *rlog_manifest_get(const struct rlog *l)
{
	return l->has_manifest ? &l->manifest : NULL;
}

int rlog_meta_put(struct rlog *l, struct rlog_meta next, struct pk_err *err)
{
	uint8_t block[RLOG_HEAD_BYTES];

	/* A crash between the two leaves one copy newer, or torn, and the other one as it was; both
	 * answers are right, for nobody has been told yet. */
	next.put = l->meta.put + 1;
	rlog_meta_encode(block, &l->who, &next);
	for (unsigned i = 0; i < (MUTANT(term_in_one_copy) ? 1 : 2); i++) {
		const char *name = i == l->meta_first ? "meta-1" : "meta-2";
		int rc = l->disk->write_now(l->disk->impl, name, 0, pk_bytes(block, sizeof(block)),
					    err);
		if (rc != 0) {
			l->failed = rc;
			pk_err_set(&l->failure, rc, "raft log: write %s: %s", name,
				   err != NULL ? err->text : "failed");
			return pk_err_wrap(err, "raft log: write %s", name);
		}
	}
	l->meta = next;
	l->meta_first = 0;
	return 0;
}

int rlog_set_term(struct rlog *l, uint64_t term, struct pk_err *err)
{
	struct rlog_meta next = l->meta;

	if (l->failed != 0)
		return pk_err_set(err, l->failed, "%s", l->failure.text);
	PK_ASSERT(term >= l->meta.term);
	next.term = term;
	next.voted_for = 0;
	if (MUTANT(term_not_stored)) {
		l->meta = next;
		return 0;
	}
	return rlog_meta_put(l, next, err);
}

int rlog_set_vote(struct rlog *l, uint64_t server_id, struct pk_err *err)
{
	struct rlog_meta next = l->meta;

	if (l->failed != 0)
		return pk_err_set(err, l->failed, "%s", l->failure.text);
	next.voted_for = MUTANT(vote_not_stored) ? 0 : server_id;
	return rlog_meta_put(l, next, err);
}

uint64_t rlog_bytes(const struct rlog *l)
{
	return l->written_bytes - l->cut_bytes;
}

uint64_t rlog_last_index(const struct rlog *l)
{
	return l->next_index - 1;
}

static void items_free(struct rlog_items *items)
{
	struct rlog_item *item;

	while ((item = STAILQ_FIRST(items)) != NULL) {
		STAILQ_REMOVE_HEAD(items, link);
		item_free(item);
	}
}

void rlog_close(struct rlog *l)
{
	if (l == NULL)
		return;
	PK_ASSERT(l->magic == RLOG_MAGIC);
	l->magic = 0;
	items_free(&l->queue);
	items_free(&l->flying);
	pk_buf_release(&l->manifest_memory);
	free(l->runs);
	free(l->segments);
	free(l->marks);
	free(l->garbage);
	free(l->head_memory);
	free(l->batch_memory);
	free(l);
}
