/*
 * Start-up: read all that is still needed, decide what a crash left and what is damage, then
 * repair. Nothing is written before all of it was read and found good. The rules are argued in
 * docs/disk-format.md.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/crc.h"
#include "base/mem.h"
#include "base/mutant.h"
#include "store/rlog_impl.h"

enum { WINDOW_BYTES = 1 << 20 };

struct opening {
	struct rlog *l;
	struct rlog_loaded *out;
	struct rlog_file *files; /* as listed */
	size_t file_count, file_cap;
	bool too_many;

	struct rlog_segment *segments; /* all of them, in order of number */
	struct rlog_segment_head *heads;
	size_t segment_count, segment_cap;
	uint64_t void_number;        /* the last of those that a reset made void; 0: none */
	bool copies_differ;          /* meta must be written again */
	bool any_meta, any_manifest; /* files of that name, good or bad */
	uint64_t covered_count, covered_bytes; /* rlog_config */
	uint64_t not_wanted;                   /* records up to this index are not loaded */

	size_t record_cap;
	size_t *places; /* of the records' data in out->memory */
	size_t place_cap;
};

/* ---- reading -----------------------------------------------------------------------------------
 */

/* A window over one file, moved forward as needed. */
struct window {
	struct disk *disk;
	const char *name;
	uint64_t file_bytes;
	uint64_t at; /* of buf in the file */
	bool narrow; /* nothing is read ahead */
	struct pk_buf buf;
};

/* `len` bytes at `offset`, borrowed until the next call; fewer at the end of the file. */
static int window_read(struct window *w, uint64_t offset, uint64_t len, struct pk_bytes *out,
		       struct pk_err *err)
{
	if (offset > w->file_bytes)
		offset = w->file_bytes;
	if (len > w->file_bytes - offset)
		len = w->file_bytes - offset;
	if (len > 0 && (offset < w->at || offset + len > w->at + w->buf.len)) {
		uint64_t start = offset & ~(uint64_t)4095;
		uint64_t want = offset + len - start;
		size_t got = 0;

		want = want > WINDOW_BYTES || w->narrow ? rlog_align(want, 4096) : WINDOW_BYTES;
		if (want > w->file_bytes - start)
			want = w->file_bytes - start;
		pk_buf_clear(&w->buf);
		uint8_t *to = pk_buf_reserve(&w->buf, (size_t)want);
		int rc = w->disk->read(w->disk->impl, w->name, start, to, (size_t)want, &got, err);
		if (rc != 0)
			return pk_err_wrap(err, "%s: read at %" PRIu64, w->name, start);
		w->at = start;
		w->buf.len = got;
		if (got < want) /* it got shorter since it was listed */
			w->file_bytes = start + got;
		if (offset > w->file_bytes)
			offset = w->file_bytes;
		if (len > w->file_bytes - offset)
			len = w->file_bytes - offset;
	}
	*out = len > 0 ? pk_bytes(w->buf.data + (offset - w->at), (size_t)len) : PK_BYTES_NONE;
	return 0;
}

static void on_file(void *arg, const char *name, uint64_t bytes)
{
	struct opening *o = arg;

	if (o->file_count >= RLOG_FILES_MAX) {
		o->too_many = true;
		return;
	}
	if (strlen(name) >= DISK_NAME_BYTES_MAX)
		return; /* not one of ours */
	struct rlog_file *f = RLOG_PUSH(o->files, o->file_count, o->file_cap);
	*f = (struct rlog_file){ .bytes = bytes };
	snprintf(f->name, sizeof(f->name), "%s", name);
}

static const struct rlog_file *file_named(const struct opening *o, const char *name)
{
	for (size_t i = 0; i < o->file_count; i++)
		if (strcmp(o->files[i].name, name) == 0)
			return &o->files[i];
	return NULL;
}

/* One copy was bad, and the other one is enough: say so. */
static void add_note(struct opening *o, const char *what)
{
	struct pk_err *note = &o->out->note;

	if (note->code == 0)
		pk_err_set(note, PK_ECORRUPT, "%s", what);
	else
		pk_err_set(note, PK_ECORRUPT, "%s; %s", note->text, what);
}

/* ---- term and vote
 * ------------------------------------------------------------------------------- */

static int load_meta(struct opening *o, struct pk_err *err)
{
	struct rlog *l = o->l;
	struct rlog_meta copy[2];
	bool good[2] = { false, false };
	struct pk_err why[2] = { PK_ERR_INIT, PK_ERR_INIT };

	for (int i = 0; i < 2; i++) {
		const struct rlog_file *f = file_named(o, i == 0 ? "meta-1" : "meta-2");
		if (f == NULL)
			continue;
		o->any_meta = true;
		struct window w = { .disk = l->disk, .name = f->name, .file_bytes = f->bytes };
		struct pk_bytes in;
		int rc = window_read(&w, 0, RLOG_HEAD_BYTES, &in, err);
		if (rc == 0) {
			rc = rlog_meta_decode(&copy[i], &l->who, in, &why[i]);
			good[i] = rc == 0;
			if (rc != 0)
				pk_err_wrap(&why[i], "%s", f->name);
			if (rc == PK_ECORRUPT)
				rc = 0;
			else if (rc != 0)
				pk_err_set(err, rc, "%s", why[i].text);
		}
		pk_buf_release(&w.buf);
		if (rc != 0)
			return rc;
	}
	if (good[0] && good[1]) {
		uint64_t gap = copy[0].put > copy[1].put ? copy[0].put - copy[1].put
							 : copy[1].put - copy[0].put;
		if (gap > 1 || copy[0].key != copy[1].key)
			return pk_err_set(err, PK_ECORRUPT,
					  "meta-1 and meta-2: want one write apart at most, found "
					  "writes %" PRIu64 " and %" PRIu64,
					  copy[0].put, copy[1].put);
		l->meta = copy[copy[1].put > copy[0].put];
		l->meta_first = copy[1].put < copy[0].put;
		o->copies_differ = gap != 0;
	} else if (good[0] || good[1]) {
		l->meta = copy[good[1]];
		l->meta_first = good[0];
		o->copies_differ = true;
		if (why[good[0]].code != 0)
			add_note(o, why[good[0]].text);
	} else if (o->any_meta) {
		/* At the very first start the first copy may be torn: then there is nothing else.
		 */
		const char *text = why[0].code != 0 ? why[0].text : why[1].text;
		for (size_t i = 0; i < o->file_count; i++)
			if (strncmp(o->files[i].name, "seg-", 4) == 0 ||
			    strncmp(o->files[i].name, "manifest-", 9) == 0)
				return pk_err_set(err, PK_ECORRUPT,
						  "term and vote: neither copy is good: %s", text);
		if (file_named(o, "meta-1") != NULL && file_named(o, "meta-2") != NULL)
			return pk_err_set(err, PK_ECORRUPT,
					  "term and vote: neither copy is good: %s", text);
		o->any_meta = false;
	}
	return 0;
}

/* ---- the manifest
 * --------------------------------------------------------------------------------- */

static int load_one_manifest(struct opening *o, const struct rlog_file *f,
			     struct rlog_manifest_head *h, struct pk_buf *data, struct pk_err *err)
{
	struct window w = { .disk = o->l->disk, .name = f->name, .file_bytes = f->bytes };
	struct pk_bytes in;

	int rc = window_read(&w, 0, RLOG_HEAD_BYTES, &in, err);
	if (rc == 0)
		rc = rlog_manifest_decode(h, &o->l->who, in, err);
	if (rc == 0 &&
	    (h->conf_bytes > RLOG_PAYLOAD_BYTES_MAX || h->payload_bytes > RLOG_PAYLOAD_BYTES_MAX))
		rc = pk_err_set(err, PK_ECORRUPT, "lengths %u and %u: want at most %u",
				h->conf_bytes, h->payload_bytes, RLOG_PAYLOAD_BYTES_MAX);
	if (rc == 0 && (h->index > INT64_MAX - 1 || h->first_segment > INT64_MAX - 1))
		rc = pk_err_set(err, PK_ECORRUPT, "index %" PRIu64 ", segment %" PRIu64, h->index,
				h->first_segment);
	uint64_t len = rc == 0 ? (uint64_t)h->conf_bytes + h->payload_bytes : 0;
	if (rc == 0)
		rc = window_read(&w, RLOG_HEAD_BYTES, len, &in, err);
	if (rc == 0 && in.len < len)
		rc = pk_err_set(err, PK_ECORRUPT, "data: want %" PRIu64 " bytes, have %zu", len,
				in.len);
	if (rc == 0 && pk_crc32c(0, in.data, in.len) != h->data_crc)
		rc = pk_err_set(err, PK_ECORRUPT, "offset %d: data crc: want %08x, found %08x",
				RLOG_HEAD_BYTES, h->data_crc, pk_crc32c(0, in.data, in.len));
	if (rc == 0)
		pk_buf_add_bytes(data, in);
	pk_buf_release(&w.buf);
	return rc == 0 ? 0 : pk_err_wrap(err, "%s", f->name);
}

static int load_manifests(struct opening *o, struct pk_err *err)
{
	struct rlog *l = o->l;

	for (unsigned slot = 0; slot < 2; slot++) {
		const struct rlog_file *f = file_named(o, slot == 0 ? "manifest-1" : "manifest-2");
		struct rlog_manifest_head h;
		struct pk_buf data = PK_BUF_INIT;
		struct pk_err why = PK_ERR_INIT;
		if (f == NULL)
			continue;
		o->any_manifest = true;
		l->manifest_file_bytes[slot] = f->bytes;
		int rc = load_one_manifest(o, f, &h, &data, &why);
		if (rc == PK_ECORRUPT) {
			/* Torn when it was written, or damaged later. Whether the other one, or
			 * the whole log, is enough shows when the segments are read. */
			add_note(o, why.text);
			continue;
		}
		if (rc != 0)
			return pk_err_set(err, rc, "%s", why.text);
		if (!l->has_manifest || h.put > l->manifest_put) {
			pk_buf_release(&l->manifest_memory);
			l->has_manifest = true;
			l->manifest_put = h.put;
			l->manifest_first_segment = h.first_segment;
			l->manifest_memory = data;
			const uint8_t *payload = /* both parts may be empty, and the memory none */
				data.data != NULL ? data.data + h.conf_bytes : NULL;
			l->manifest = (struct rlog_manifest){
				.index = h.index,
				.term = h.term,
				.conf_index = h.conf_index,
				.conf = pk_bytes(data.data, h.conf_bytes),
				.payload = pk_bytes(payload, h.payload_bytes),
			};
		} else {
			pk_buf_release(&data);
		}
	}
	return 0;
}

/* ---- segments -----------------------------------------------------------------------------------
 */

static bool parse_number(const char *text, int base, size_t digits, uint64_t *out)
{
	char *end;

	if (text[0] == '\0' || strspn(text, "0123456789abcdef") != strlen(text))
		return false;
	*out = strtoull(text, &end, base);
	return *end == '\0' && (digits == 0 ? strlen(text) <= 18 : strlen(text) == digits);
}

static int by_number(const void *a, const void *b)
{
	const struct rlog_segment *x = a, *y = b;

	return x->number < y->number ? -1 : x->number > y->number;
}

/* Sort the files into segments, spares and the rest. */
static int sort_files(struct opening *o, struct pk_err *err)
{
	struct rlog *l = o->l;

	for (size_t i = 0; i < o->file_count; i++) {
		const struct rlog_file *f = &o->files[i];
		uint64_t number;
		if (strncmp(f->name, "seg-", 4) == 0) {
			if (!parse_number(f->name + 4, 16, 16, &number) || number == 0 ||
			    number > INT64_MAX - 1)
				return pk_err_set(err, PK_ECORRUPT, "%s: not the name of a segment",
						  f->name);
			*RLOG_PUSH(o->segments, o->segment_count,
				   o->segment_cap) = (struct rlog_segment){ .number = number,
									    .bytes = f->bytes };
		} else if (strncmp(f->name, "spare-", 6) == 0) {
			if (!parse_number(f->name + 6, 10, 0, &number) || number > INT64_MAX - 1)
				return pk_err_set(err, PK_ECORRUPT, "%s: not the name of a spare",
						  f->name);
			if (number >= l->next_spare)
				l->next_spare = number + 1;
			/* Half-made ones, and those of another size, go. */
			if (f->bytes == l->segment_bytes && l->spare_count < RLOG_SPARES_MAX)
				l->spares[l->spare_count++] = number;
			else
				rlog_garbage_add(l, f->name, f->bytes);
		}
	}
	if (o->segment_count > 0)
		qsort(o->segments, o->segment_count, sizeof(o->segments[0]), by_number);
	return 0;
}

static int corrupt(const struct rlog_segment *s, uint64_t offset, struct pk_err *err)
{
	char name[DISK_NAME_BYTES_MAX];

	rlog_segment_name(name, s->number);
	return pk_err_wrap(err, "%s: offset %" PRIu64, name, offset);
}

/* Read the heads of those that count; those before a reset are left-overs of it. */
static int load_heads(struct opening *o, struct pk_err *err)
{
	struct rlog *l = o->l;
	size_t keep = 0;

	if (!o->any_meta && (o->segment_count > 0 || o->any_manifest))
		return pk_err_set(err, PK_ECORRUPT, "term and vote: meta-1 and meta-2 are missing");
	for (size_t i = 0; i < o->segment_count; i++) {
		struct rlog_segment *s = &o->segments[i];
		char name[DISK_NAME_BYTES_MAX];
		rlog_segment_name(name, s->number);
		if (l->has_manifest && s->number < l->manifest_first_segment) {
			rlog_garbage_add(l, name, s->bytes);
			o->void_number = s->number;
			continue;
		}
		o->segments[keep++] = *s;
	}
	o->segment_count = keep;
	o->heads = pk_alloc((keep > 0 ? keep : 1) * sizeof(o->heads[0]));
	for (size_t i = 0; i < keep; i++) {
		struct rlog_segment *s = &o->segments[i];
		struct rlog_segment_head *h = &o->heads[i];
		char name[DISK_NAME_BYTES_MAX];
		struct pk_bytes in;
		rlog_segment_name(name, s->number);
		struct window w = {
			.disk = l->disk, .name = name, .file_bytes = s->bytes, .narrow = true
		};
		int rc = window_read(&w, 0, RLOG_HEAD_BYTES, &in, err);
		if (rc == 0)
			rc = rlog_segment_decode(h, &l->who, in, err);
		if (rc == 0 && s->bytes < RLOG_SEGMENT_HEAD_BYTES)
			rc = pk_err_set(err, PK_ECORRUPT, "want %d bytes at least, have %" PRIu64,
					RLOG_SEGMENT_HEAD_BYTES, s->bytes);
		if (rc == 0 && (h->number != s->number || h->key != l->meta.key))
			rc = pk_err_set(err, PK_ECORRUPT,
					"header: want segment %016" PRIx64 " of key %016" PRIx64
					", found %016" PRIx64 " of %016" PRIx64,
					s->number, l->meta.key, h->number, h->key);
		if (rc == 0 && (h->first_index == 0 || h->first_index > INT64_MAX))
			rc = pk_err_set(err, PK_ECORRUPT, "header: first index %" PRIu64,
					h->first_index);
		pk_buf_release(&w.buf);
		if (rc != 0)
			return pk_err_wrap(err, "%s", name);
		s->first_index = h->first_index;
		if (i > 0 && s->number != o->segments[i - 1].number + 1)
			return pk_err_set(err, PK_ECORRUPT,
					  "%s: the segment before it is missing: the one before "
					  "that is %016" PRIx64,
					  name, o->segments[i - 1].number);
		if (i > 0 && h->reset)
			return pk_err_set(err, PK_ECORRUPT,
					  "%s: begins a new log, but no manifest says so", name);
	}
	return 0;
}

/* Does what we have before the first segment reach up to it? */
static int check_start(struct opening *o, struct pk_err *err)
{
	struct rlog *l = o->l;

	if (o->segment_count == 0) {
		/* A reset that was cut short leaves the old log in place. */
		if (l->meta.log_created && (!l->has_manifest || o->void_number == 0 ||
					    o->void_number + 1 != l->manifest_first_segment))
			return pk_err_set(err, PK_ECORRUPT, "the segments of the log are missing");
		if (!l->meta.log_created && o->any_manifest)
			return pk_err_set(err, PK_ECORRUPT,
					  "a manifest without a log: segments are missing");
		return 0;
	}
	const struct rlog_segment_head *h = &o->heads[0];
	char name[DISK_NAME_BYTES_MAX];
	rlog_segment_name(name, h->number);
	uint64_t covered = l->has_manifest ? l->manifest.index : 0;
	if (h->first_index - 1 > covered)
		return pk_err_set(err, PK_ECORRUPT,
				  "%s: starts at index %" PRIu64
				  ", and what is before it is missing: the newest good manifest "
				  "ends at %" PRIu64 "%s%s",
				  name, h->first_index, covered, o->out->note.code != 0 ? "; " : "",
				  o->out->note.text);
	return 0;
}

/* About how many bytes of a segment hold records up to `index`: as if they were as large as those
 * of the segment before. */
static uint64_t covered_in(const struct opening *o, size_t i, uint64_t index)
{
	if (i == 0 || o->segments[i].first_index > index ||
	    o->segments[i].first_index <= o->segments[i - 1].first_index)
		return 0;
	uint64_t records = o->segments[i].first_index - o->segments[i - 1].first_index;
	uint64_t each = o->heads[i].prev_end / records;
	uint64_t count = index - o->segments[i].first_index + 1;
	return each > 0 && count > o->covered_bytes / each ? o->covered_bytes : count * each;
}

/*
 * Segments that hold nothing but records which a manifest covers, and so old that nobody is given
 * them, need not be good any more: they go unread, as rlog_cut would have let them go.
 */
static void leave_covered(struct opening *o)
{
	struct rlog *l = o->l;
	uint64_t covered = l->manifest.index, bytes = 0;
	size_t front = 0;

	if (!l->has_manifest || o->covered_count == 0)
		return;
	o->not_wanted = covered > o->covered_count ? covered - o->covered_count : 0;
	while (front + 1 < o->segment_count && o->segments[front + 1].first_index <= covered + 1)
		front++;
	bytes = covered_in(o, front, covered);
	while (front > 0 && o->segments[front].first_index > o->not_wanted + 1 &&
	       bytes < o->covered_bytes) {
		bytes += o->heads[front].prev_end;
		front--;
	}
	if (front == 0)
		return;
	for (size_t i = 0; i < front; i++) {
		char name[DISK_NAME_BYTES_MAX];
		rlog_segment_name(name, o->segments[i].number);
		rlog_garbage_add(l, name, o->segments[i].bytes);
	}
	o->segment_count -= front;
	memmove(o->segments, o->segments + front, o->segment_count * sizeof(o->segments[0]));
	memmove(o->heads, o->heads + front, o->segment_count * sizeof(o->heads[0]));
}

static void record_loaded(struct opening *o, const struct rlog_record_head *h,
			  struct pk_bytes payload)
{
	struct rlog_loaded *out = o->out;
	struct rlog_record *r;

	if (h->index <= o->not_wanted) {
		PK_ASSERT(out->record_count == 0);
		out->start_index = h->index + 1;
		return;
	}
	rlog_reserve((void **)&o->places, out->record_count, &o->place_cap, sizeof(size_t));
	o->places[out->record_count] = out->memory.len;
	r = RLOG_PUSH(out->records, out->record_count, o->record_cap);
	*r = (struct rlog_record){
		.index = h->index, .term = h->term, .type = h->type, .data = payload
	};
	size_t padded = (size_t)rlog_align(payload.len, 8);
	if (padded == 0)
		return;
	uint8_t *to = pk_buf_grow(&out->memory, padded);
	memcpy(to, payload.data, payload.len);
	memset(to + payload.len, 0, padded - payload.len);
}

static void records_truncated(struct opening *o, uint64_t index)
{
	struct rlog_loaded *out = o->out;
	/* Below the first segment left: a manifest has since covered what was there, and the
	 * records that came in its place follow. */
	if (index < o->l->start_index) {
		o->l->start_index = index;
		o->l->base_term = 0;
	}
	if (index < out->start_index)
		out->start_index = index;
	uint64_t keep = index - out->start_index;
	if (keep < out->record_count) {
		out->memory.len = o->places[keep];
		out->record_count = (size_t)keep;
	}
}

/* Check one record against the log so far. */
static int record_check(const struct rlog_record_head *h, uint32_t chain, uint64_t next,
			uint64_t last_term, struct pk_err *err)
{
	if (h->chain != chain)
		return pk_err_set(err, PK_ECORRUPT, "record chain: want %08x, found %08x", chain,
				  h->chain);
	switch ((enum rlog_record_kind)h->kind) {
	case RLOG_RECORD_DATA:
		if (h->index != next)
			return pk_err_set(err, PK_ECORRUPT,
					  "record index: want %" PRIu64 ", found %" PRIu64, next,
					  h->index);
		if (h->term < last_term)
			return pk_err_set(err, PK_ECORRUPT,
					  "record term: want %" PRIu64 " or more, found %" PRIu64,
					  last_term, h->term);
		if (h->bytes > RLOG_RECORD_BYTES_MAX)
			return pk_err_set(err, PK_ECORRUPT, "record of %u bytes", h->bytes);
		return 0;
	case RLOG_RECORD_TRUNCATE:
		if (h->index == 0 || h->index > next)
			return pk_err_set(err, PK_ECORRUPT,
					  "truncation: want an index from 1 to %" PRIu64
					  ", found %" PRIu64,
					  next, h->index);
		return 0;
	}
	return pk_err_set(err, PK_ECORRUPT, "record kind %u", h->kind);
}

/* What the records of a batch must be, before any of them is taken. */
static int batch_check(const struct opening *o, const struct rlog_batch *b, struct pk_bytes in,
		       struct pk_err *err)
{
	const struct rlog *l = o->l;
	uint32_t chain = l->chain, count = 0;
	uint64_t next = l->next_index, floor = next;
	uint64_t last_term = rlog_term_at(l, next - 1);

	if (b->chain != chain)
		return pk_err_set(err, PK_ECORRUPT, "batch chain: want %08x, found %08x", chain,
				  b->chain);
	while (in.len > 0) {
		struct rlog_record_head h;
		struct pk_bytes payload;
		int rc = rlog_record_take(&in, &h, &payload, err);
		if (rc == 0)
			rc = record_check(&h, chain, next, last_term, err);
		if (rc != 0)
			return rc;
		chain = h.crc;
		count++;
		if (h.kind == RLOG_RECORD_TRUNCATE) {
			next = h.index;
			if (next < floor)
				floor = next;
			/* The last record may be one of this batch now: its term is no less than
			 * that of the log below the batch. */
			last_term = floor < l->start_index ? 0 : rlog_term_at(l, floor - 1);
		} else {
			last_term = h.term;
			next++;
		}
	}
	if (count != b->count || chain != b->chain_end)
		return pk_err_set(err, PK_ECORRUPT,
				  "batch: want %u records ending in crc %08x, found %u and %08x",
				  b->count, b->chain_end, count, chain);
	return 0;
}

static void batch_take(struct opening *o, const struct rlog_batch *b, struct pk_bytes in)
{
	struct rlog *l = o->l;

	while (in.len > 0) {
		struct rlog_record_head h;
		struct pk_bytes payload;
		rlog_record_again(&in, &h, &payload); /* batch_check has been over it */
		if (h.kind == RLOG_RECORD_TRUNCATE) {
			records_truncated(o, h.index);
			rlog_run_cut(l, h.index);
			rlog_mark_truncate(l, h.index);
			l->next_index = h.index;
		} else {
			record_loaded(o, &h, payload);
			rlog_run_add(l, h.index, h.term);
			l->next_index++;
		}
		l->chain = h.crc;
	}
	rlog_mark_add(l, l->next_index - 1, b->span);
	l->sealed = b->count == 0;
	l->batch_number++;
	l->offset = b->offset + b->span;
}

/*
 * The batch at l->offset. 1: it was good, and taken. 0: there is no good one, and err says why, or
 * nothing (code 0) when nothing there looks like one. *span is how far it claims to reach.
 */
static int take_batch(struct opening *o, struct window *w, uint64_t salt, uint64_t *span,
		      struct pk_err *err)
{
	struct rlog *l = o->l;
	struct rlog_batch b;
	struct pk_bytes in;

	*span = RLOG_SCAN_BYTES;
	int rc = window_read(w, l->offset, RLOG_BATCH_HEAD_BYTES, &in, err);
	if (rc != 0)
		return rc;
	if (in.len < RLOG_BATCH_HEAD_BYTES)
		return 0;
	if (!rlog_batch_decode(&b, in.data)) {
		if (pk_get_le64(in.data + 8) == salt)
			pk_err_set(err, PK_ECORRUPT, "batch header crc is wrong");
		return 0;
	}
	if (b.salt != salt)
		return 0; /* of this file's earlier life */
	if (b.offset != l->offset || b.number != l->batch_number) {
		pk_err_set(err, PK_ECORRUPT,
			   "batch: want number %" PRIu64 " at %" PRIu64 ", found %" PRIu64
			   " at %" PRIu64,
			   l->batch_number, l->offset, b.number, b.offset);
		return 0;
	}
	uint64_t left = w->file_bytes - l->offset;
	if (b.bytes < RLOG_BATCH_HEAD_BYTES || b.bytes > left || b.span < b.bytes ||
	    b.span > left || b.span % RLOG_SCAN_BYTES != 0) {
		pk_err_set(err, PK_ECORRUPT,
			   "batch: %" PRIu64 " bytes, %" PRIu64
			   " to the next; the file has %" PRIu64 " from here",
			   b.bytes, b.span, left);
		return 0;
	}
	*span = b.span;
	rc = window_read(w, l->offset, b.bytes, &in, err);
	if (rc != 0)
		return rc;
	if (in.len < b.bytes) {
		pk_err_set(err, PK_ECORRUPT, "batch: want %" PRIu64 " bytes, have %zu", b.bytes,
			   in.len);
		return 0;
	}
	in.data += RLOG_BATCH_HEAD_BYTES;
	in.len -= RLOG_BATCH_HEAD_BYTES;
	if (batch_check(o, &b, in, err) != 0)
		return 0;
	batch_take(o, &b, in);
	return 1;
}

/*
 * There is no good batch at l->offset of the last segment. Any batch of this segment's salt behind
 * it was written after the one that is bad had been synced: damage. Otherwise it is the last
 * write, torn, or nothing at all.
 */
static int check_tail(struct opening *o, struct window *w, uint64_t salt, uint64_t span,
		      struct pk_err *err)
{
	struct rlog *l = o->l;

	for (uint64_t at = l->offset; at < w->file_bytes; at += RLOG_SCAN_BYTES) {
		struct rlog_batch b;
		struct pk_bytes in;
		struct pk_err why = PK_ERR_INIT;
		if (at > l->offset && at < l->offset + span)
			continue; /* what the batch at l->offset claims: its own data */
		int rc = window_read(w, at, RLOG_BATCH_HEAD_BYTES, &in, err);
		if (rc != 0)
			return rc;
		if (in.len < RLOG_BATCH_HEAD_BYTES || !rlog_batch_decode(&b, in.data) ||
		    b.salt != salt)
			continue;
		if (at == l->offset && b.offset == at && b.number == l->batch_number)
			continue; /* the torn one itself */
		if (MUTANT(damage_taken_for_torn))
			continue;
		if (err->code != 0)
			why = *err;
		return pk_err_set(err, PK_ECORRUPT,
				  "damaged: want batch %" PRIu64 "; batch %" PRIu64
				  " at offset %" PRIu64 " was written after it%s%s",
				  l->batch_number, b.number, at, why.code != 0 ? ": " : "",
				  why.text);
	}
	return 0;
}

static int load_segment(struct opening *o, size_t i, struct pk_err *err)
{
	struct rlog *l = o->l;
	const struct rlog_segment *s = &o->segments[i];
	bool last = i + 1 == o->segment_count;
	uint64_t salt = rlog_salt(l->meta.key, s->number);
	char name[DISK_NAME_BYTES_MAX];
	uint64_t span = RLOG_SCAN_BYTES;
	int rc;

	rlog_segment_name(name, s->number);
	struct window w = { .disk = l->disk, .name = name, .file_bytes = s->bytes };
	uint64_t end = last ? UINT64_MAX : o->heads[i + 1].prev_end;
	struct pk_err why = PK_ERR_INIT;
	l->offset = RLOG_SEGMENT_HEAD_BYTES;
	do {
		rc = l->offset < end ? take_batch(o, &w, salt, &span, &why) : 0;
	} while (rc == 1);
	if (rc < 0)
		*err = why;
	if (rc == 0 && last) {
		o->out->torn_tail = why.code != 0;
		rc = check_tail(o, &w, salt, span, &why);
		if (rc != 0) {
			*err = why;
			rc = corrupt(s, l->offset, err);
		}
	} else if (rc == 0 && l->offset != end) {
		*err = why;
		if (why.code == 0)
			pk_err_set(err, PK_ECORRUPT, "want batch %" PRIu64 ", found none",
				   l->batch_number);
		rc = corrupt(s, l->offset, err);
	} else if (rc == 0) {
		/* The next one was begun when this one was complete: its header repeats how. */
		const struct rlog_segment_head *h = &o->heads[i + 1];
		if (h->first_index != l->next_index || h->chain != l->chain ||
		    h->first_batch != l->batch_number)
			rc = pk_err_set(
				err, PK_ECORRUPT,
				"seg-%016" PRIx64 ": header: want index %" PRIu64 ", batch %" PRIu64
				", chain %08x, as %s ends, found %" PRIu64 ", %" PRIu64 ", %08x",
				h->number, l->next_index, l->batch_number, l->chain, name,
				h->first_index, h->first_batch, h->chain);
	}
	pk_buf_release(&w.buf);
	return rc;
}

static int load_segments(struct opening *o, struct pk_err *err)
{
	struct rlog *l = o->l;

	if (o->segment_count == 0)
		return 0;
	const struct rlog_segment_head *h = &o->heads[0];
	l->next_index = l->start_index = o->out->start_index = h->first_index;
	l->base_term = h->prev_term;
	l->chain = h->chain;
	l->batch_number = h->first_batch;
	l->sealed = true;
	for (size_t i = 0; i < o->segment_count; i++) {
		int rc = load_segment(o, i, err);
		if (rc != 0)
			return rc;
		*RLOG_PUSH(l->segments, l->segment_count, l->segment_cap) = o->segments[i];
	}
	if (l->has_manifest && l->next_index <= l->manifest.index)
		return pk_err_set(err, PK_ECORRUPT,
				  "the log ends at index %" PRIu64
				  ", and the manifest was taken at %" PRIu64
				  ": records in between are missing",
				  l->next_index - 1, l->manifest.index);
	return 0;
}

/* ---- making it ready ----------------------------------------------------------------------------
 */

/* A segment made on the spot, all of it synced before it gets its name. */
static int make_segment(struct rlog *l, const struct rlog_segment_head *h, struct pk_err *err)
{
	struct disk *d = l->disk;
	char spare[DISK_NAME_BYTES_MAX], name[DISK_NAME_BYTES_MAX];
	int rc = 0;

	rlog_segment_name(name, h->number);
	if (l->spare_count > 0) {
		rlog_spare_name(spare, l->spares[--l->spare_count]);
	} else {
		rlog_spare_name(spare, l->next_spare++);
		struct disk_op create = { .kind = DISK_CREATE,
					  .name = spare,
					  .bytes = l->segment_bytes };
		rc = d->op_now(d->impl, &create, err);
	}
	memset(l->head, 0, RLOG_SEGMENT_HEAD_BYTES);
	rlog_segment_encode(l->head, &l->who, h);
	if (rc == 0)
		rc = d->write_now(d->impl, spare, 0, pk_bytes(l->head, RLOG_SEGMENT_HEAD_BYTES),
				  err);
	struct disk_op rename = { .kind = DISK_RENAME, .name = spare, .to = name };
	if (rc == 0)
		rc = d->op_now(d->impl, &rename, err);
	if (rc != 0)
		return pk_err_wrap(err, "make segment %s", name);
	*RLOG_PUSH(l->segments, l->segment_count, l->segment_cap) = (struct rlog_segment){
		.number = h->number, .first_index = h->first_index, .bytes = l->segment_bytes
	};
	l->offset = RLOG_SEGMENT_HEAD_BYTES;
	return 0;
}

static int repair(struct opening *o, uint64_t secret, struct pk_err *err)
{
	struct rlog *l = o->l;
	struct disk *d = l->disk;
	int rc = 0;

	/* What was read may not be durable yet: the process may have died before its sync. */
	for (unsigned slot = 0; slot < 2 && rc == 0; slot++) {
		struct disk_op sync = { .kind = DISK_SYNC,
					.name = slot == 0 ? "manifest-1" : "manifest-2" };
		if (l->manifest_file_bytes[slot] > 0)
			rc = d->op_now(d->impl, &sync, err);
	}
	if (rc != 0)
		return rc;
	if (!o->any_meta) {
		l->meta = (struct rlog_meta){ .key = secret };
		rc = rlog_meta_put(l, l->meta, err);
	} else if (o->copies_differ) {
		rc = rlog_meta_put(l, l->meta, err);
	}
	if (rc != 0)
		return rc;
	if (l->segment_count == 0) {
		/* new, or an installed snapshot whose new log had not been begun yet */
		struct rlog_segment_head h = { .key = l->meta.key,
					       .number = 1,
					       .first_index = 1,
					       .first_batch = 1,
					       .reset = true };
		if (l->has_manifest) {
			h.number = l->manifest_first_segment;
			h.first_index = l->manifest.index + 1;
			h.prev_term = l->manifest.term;
		}
		rc = make_segment(l, &h, err);
		l->next_index = l->start_index = o->out->start_index = h.first_index;
		l->base_term = h.prev_term;
		l->batch_number = h.first_batch;
		l->chain = 0;
		l->sealed = true;
	} else {
		/* What was read may not be durable yet: the process may have died before its sync.
		 */
		char name[DISK_NAME_BYTES_MAX];
		struct rlog_segment *s = &l->segments[l->segment_count - 1];
		rlog_segment_name(name, s->number);
		struct disk_op sync = { .kind = DISK_SYNC, .name = name };
		rc = d->op_now(d->impl, &sync, err);
		/* Behind a torn batch may lie data that nobody has looked at; and a disk of larger
		 * blocks cannot go on where a smaller one stopped: begin a new segment. */
		if (rc == 0 && (o->out->torn_tail || l->offset % d->block_bytes != 0))
			rc = make_segment(l,
					  &(struct rlog_segment_head){
						  .key = l->meta.key,
						  .number = s->number + 1,
						  .first_index = l->next_index,
						  .prev_term = rlog_term_at(l, l->next_index - 1),
						  .first_batch = l->batch_number,
						  .prev_end = l->offset,
						  .chain = l->chain,
					  },
					  err);
	}
	if (rc == 0 && !l->meta.log_created) {
		struct rlog_meta next = l->meta;
		next.log_created = true;
		rc = rlog_meta_put(l, next, err);
	}
	return rc;
}

/* Of the covered records that were loaded, the oldest go until the rest is small enough. */
static void drop_covered(struct opening *o)
{
	struct rlog *l = o->l;
	struct rlog_loaded *out = o->out;
	size_t drop = 0;
	uint64_t bytes = 0;

	if (!l->has_manifest || o->covered_count == 0)
		return;
	if (out->start_index <= l->manifest.index)
		drop = (size_t)(l->manifest.index - out->start_index + 1);
	PK_ASSERT(drop <= out->record_count);
	while (drop > 0 && bytes + out->records[drop - 1].data.len <= o->covered_bytes)
		bytes += out->records[--drop].data.len;
	out->start_index += drop;
	out->record_count -= drop;
	if (drop > 0)
		memmove(out->records, out->records + drop,
			out->record_count * sizeof(out->records[0]));
	rlog_cut(l, out->start_index - 1);
}

static void fill_loaded(struct opening *o)
{
	struct rlog *l = o->l;
	struct rlog_loaded *out = o->out;

	out->term = l->meta.term;
	out->voted_for = l->meta.voted_for;
	for (size_t i = 0; i < out->record_count; i++)
		if (out->records[i].data.len > 0)
			out->records[i].data.data = out->memory.data + o->places[i];
		else
			out->records[i].data = PK_BYTES_NONE;
	drop_covered(o);
	out->has_manifest = l->has_manifest;
	if (l->has_manifest) {
		out->manifest = l->manifest;
		pk_buf_add_bytes(&out->manifest_memory, l->manifest.conf);
		pk_buf_add_bytes(&out->manifest_memory, l->manifest.payload);
		out->manifest.conf.data = out->manifest_memory.data;
		out->manifest.payload.data = out->manifest_memory.data;
		if (l->manifest.conf.len > 0)
			out->manifest.payload.data += l->manifest.conf.len;
	}
}

int rlog_open(struct rlog **out, struct disk *disk, const struct rlog_config *cfg,
	      struct rlog_loaded *loaded, struct pk_err *err)
{
	struct rlog_loaded found = { 0 };
	struct rlog *l = pk_alloc(sizeof(*l));
	struct opening o = { .l = l,
			     .out = &found,
			     .covered_count = cfg->covered_count,
			     .covered_bytes = cfg->covered_bytes };
	struct pk_err unwanted = PK_ERR_INIT;

	if (err == NULL)
		err = &unwanted;
	PK_ASSERT(disk->block_bytes >= RLOG_SCAN_BYTES && disk->block_bytes <= 4096 &&
		  (disk->block_bytes & (disk->block_bytes - 1)) == 0);
	l->magic = RLOG_MAGIC;
	l->disk = disk;
	l->who = (struct rlog_owner){ cfg->cluster_id, cfg->server_id };
	l->segment_bytes = cfg->segment_bytes > 0 ? cfg->segment_bytes : RLOG_SEGMENT_BYTES_DEFAULT;
	if (l->segment_bytes < RLOG_SEGMENT_BYTES_MIN)
		l->segment_bytes = RLOG_SEGMENT_BYTES_MIN;
	l->segment_bytes = rlog_align(l->segment_bytes, 4096);
	l->next_index = l->start_index = found.start_index = 1;
	l->head = rlog_aligned(&l->head_memory, RLOG_SEGMENT_HEAD_BYTES);
	STAILQ_INIT(&l->queue);
	STAILQ_INIT(&l->flying);

	int rc = disk->list(disk->impl, on_file, &o, err);
	if (rc == 0 && o.too_many)
		rc = pk_err_set(err, PK_ELIMIT, "more than %d files", RLOG_FILES_MAX);
	if (rc == 0)
		rc = load_meta(&o, err);
	if (rc == 0)
		rc = load_manifests(&o, err);
	if (rc == 0)
		rc = sort_files(&o, err);
	if (rc == 0)
		rc = load_heads(&o, err);
	if (rc == 0)
		rc = check_start(&o, err);
	if (rc == 0)
		leave_covered(&o);
	if (rc == 0)
		rc = load_segments(&o, err);
	if (rc == 0)
		rc = repair(&o, cfg->secret, err);
	if (rc == 0)
		fill_loaded(&o);
	free(o.files);
	free(o.segments);
	free(o.heads);
	free(o.places);
	if (rc != 0) {
		rlog_loaded_release(&found);
		rlog_close(l);
		return pk_err_wrap(err, "raft log");
	}
	*out = l;
	*loaded = found;
	rlog_step(l);
	return 0;
}

void rlog_loaded_release(struct rlog_loaded *loaded)
{
	free(loaded->records);
	pk_buf_release(&loaded->memory);
	pk_buf_release(&loaded->manifest_memory);
	*loaded = (struct rlog_loaded){ 0 };
}
