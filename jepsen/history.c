#include "jepsen/history.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/crc.h"
#include "base/mem.h"
#include "jepsen/history_impl.h"

/* Names, and the binary form: each field a tag and its value, tags rising. */

static const char *const kind_names[HIST_KINDS] = {
	[HIST_INVOKE] = "invoke",
	[HIST_OK] = "ok",
	[HIST_FAIL] = "fail",
	[HIST_INFO] = "info",
	[HIST_WATCH] = "watch",
	[HIST_SESSION] = "session",
	[HIST_FAULT_BEGIN] = "fault-begin",
	[HIST_FAULT_END] = "fault-end",
	[HIST_CLIENT] = "client",
	[HIST_TXN] = "txn",
	[HIST_FINAL] = "final",
	[HIST_DUMP] = "dump",
	[HIST_NODE] = "node",
	[HIST_DIGEST] = "digest",
	[HIST_NOTE] = "note",
	[HIST_LOG] = "log",
};

static const char *const state_names[HIST_STATES] = {
	[HIST_CONNECTED] = "connected", [HIST_DISCONNECTED] = "disconnected",
	[HIST_EXPIRED] = "expired",     [HIST_CLOSED] = "closed",
	[HIST_ABANDONED] = "abandoned",
};

static const char *const watch_names[HIST_WATCHES] = {
	[HIST_WATCH_NONE] = "none",           [HIST_WATCH_DATA] = "data",
	[HIST_WATCH_CHILD] = "child",         [HIST_WATCH_PERSISTENT] = "persistent",
	[HIST_WATCH_RECURSIVE] = "recursive",
};

static int named(const char *const *names, int count, struct pk_bytes name)
{
	for (int i = 0; i < count; i++)
		if (names[i] != NULL && pk_bytes_is(name, names[i]))
			return i;
	return -1;
}

const char *hist_kind_name(enum hist_kind kind)
{
	return kind < HIST_KINDS ? kind_names[kind] : NULL;
}

enum hist_kind hist_kind_named(struct pk_bytes name)
{
	int found = named(kind_names, HIST_KINDS, name);

	return found < 0 ? HIST_NONE : (enum hist_kind)found;
}

const char *hist_state_name(enum hist_state state)
{
	return state < HIST_STATES ? state_names[state] : NULL;
}

enum hist_state hist_state_named(struct pk_bytes name)
{
	int found = named(state_names, HIST_STATES, name);

	return found < 0 ? HIST_STATE_NONE : (enum hist_state)found;
}

const char *hist_watch_name(int32_t watch)
{
	return watch >= 0 && watch < HIST_WATCHES ? watch_names[watch] : NULL;
}

int32_t hist_watch_named(struct pk_bytes name)
{
	return named(watch_names, HIST_WATCHES, name);
}

uint64_t pk_hist_hash(struct pk_bytes data)
{
	uint64_t hash = 0xcbf29ce484222325u;

	for (size_t i = 0; i < data.len; i++)
		hash = (hash ^ data.data[i]) * 0x100000001b3u;
	return hash != 0 ? hash : 1;
}

void hist_acl_add(struct pk_buf *acl, int32_t perms, struct pk_bytes scheme, struct pk_bytes id)
{
	pk_buf_printf(acl, "%" PRId32 " ", perms);
	pk_buf_add_bytes(acl, scheme);
	pk_buf_add_u8(acl, ':');
	pk_buf_add_bytes(acl, id);
	pk_buf_add_u8(acl, '\n');
}

void hist_acls_add(struct pk_buf *acl, struct zk_acls list)
{
	struct zk_acl one;

	while (zk_acls_next(&list, &one))
		hist_acl_add(acl, one.perms, one.scheme, one.id);
}

void hist_name_add(struct pk_buf *names, struct pk_bytes name)
{
	pk_buf_add_bytes(names, name);
	pk_buf_add_u8(names, '\n');
}

void hist_names_add(struct pk_buf *names, struct zk_strings list)
{
	struct pk_bytes name;

	while (zk_strings_next(&list, &name))
		hist_name_add(names, name);
}

bool hist_name_next(struct pk_bytes *names, struct pk_bytes *name)
{
	const uint8_t *end = names->len > 0 ? memchr(names->data, '\n', names->len) : NULL;

	if (end == NULL)
		return false;
	*name = pk_bytes(names->data, (size_t)(end - names->data));
	names->len -= name->len + 1;
	names->data = end + 1;
	return true;
}

/* ---- what an event must be ---- */

static bool lines_whole(struct pk_bytes lines)
{
	return lines.len == 0 || lines.data[lines.len - 1] == '\n';
}

static bool acl_whole(struct pk_bytes acl)
{
	struct pk_bytes left = acl, one;

	if (!lines_whole(acl))
		return false;
	while (hist_name_next(&left, &one)) {
		size_t i = 0;
		while (i < one.len && one.data[i] >= '0' && one.data[i] <= '9')
			i++;
		if (i == 0 || i > 3 || i == one.len || one.data[i] != ' ' ||
		    memchr(one.data, ':', one.len) == NULL)
			return false;
	}
	return true;
}

static int part_check(const struct hist_part *p, bool auth, struct pk_err *err)
{
	if (p->op < INT16_MIN || p->op > INT16_MAX)
		return pk_err_set(err, PK_EINVAL, "op %" PRId32, p->op);
	if (p->path.len > 0 && p->path.data[0] != '/')
		return pk_err_set(err, PK_EINVAL, "path %.*s: no slash in front", (int)p->path.len,
				  p->path.data);
	if (p->created.len > 0 && p->created.data[0] != '/')
		return pk_err_set(err, PK_EINVAL, "created %.*s: no slash in front",
				  (int)p->created.len, p->created.data);
	if (p->mode < 0 || p->mode > UINT8_MAX)
		return pk_err_set(err, PK_EINVAL, "mode %" PRId32, p->mode);
	if (p->watch < 0 || p->watch >= HIST_WATCHES)
		return pk_err_set(err, PK_EINVAL, "watch %" PRId32, p->watch);
	if (p->data_bytes > INT32_MAX)
		return pk_err_set(err, PK_EINVAL, "data_bytes %" PRIu64, p->data_bytes);
	if (!auth && !acl_whole(p->acl))
		return pk_err_set(err, PK_EINVAL, "acl: not lines of PERMS SCHEME:ID");
	if (!lines_whole(p->names))
		return pk_err_set(err, PK_EINVAL, "names: the last has no newline");
	return 0;
}

int hist_event_check(const struct hist_event *e, struct pk_err *err)
{
	if (e->kind <= HIST_NONE || e->kind >= HIST_KINDS)
		return pk_err_set(err, PK_EINVAL, "kind %d", (int)e->kind);
	if (e->state >= HIST_STATES)
		return pk_err_set(err, PK_EINVAL, "state %d", (int)e->state);
	if (e->time_ns < 0)
		return pk_err_set(err, PK_EINVAL, "time %" PRId64, e->time_ns);
	if (e->part_count > HIST_PARTS_MAX)
		return pk_err_set(err, PK_ELIMIT, "%" PRIu32 " parts", e->part_count);
	if (e->part_count > 0 && (e->kind < HIST_INVOKE || e->kind > HIST_INFO) &&
	    e->kind != HIST_TXN)
		return pk_err_set(err, PK_EINVAL, "parts in kind %s", hist_kind_name(e->kind));
	for (uint32_t i = 0; i < e->part_count; i++)
		if (part_check(&e->parts[i], false, err) != 0)
			return err != NULL ? err->code : PK_EINVAL;
	/* The end of an auth does not say that it is one: its acl is looked at when it is joined.
	 */
	bool any = e->part.op == ZK_OP_AUTH || e->part.op == ZK_OP_SASL;
	if (e->kind == HIST_SESSION && (e->state == HIST_STATE_NONE || e->session == 0))
		return pk_err_set(err, PK_EINVAL, "a session event without state or session");
	if (e->kind == HIST_WATCH &&
	    (e->event < ZK_EVENT_CREATED || e->event > ZK_EVENT_PERSISTENT_WATCH_REMOVED ||
	     e->part.path.len == 0))
		return pk_err_set(err, PK_EINVAL, "a watch event of type %" PRId32 " for %.*s",
				  e->event, (int)e->part.path.len, e->part.path.data);
	if ((e->kind == HIST_DUMP || e->kind == HIST_NODE) && e->part.path.len == 0)
		return pk_err_set(err, PK_EINVAL, "a %s without path", hist_kind_name(e->kind));
	if ((e->kind == HIST_DUMP || e->kind == HIST_TXN || e->kind == HIST_DIGEST) && e->zxid <= 0)
		return pk_err_set(err, PK_EINVAL, "a %s without zxid", hist_kind_name(e->kind));
	return part_check(&e->part, any, err);
}

/* ---- writing ---- */

#define PREFIX_BYTES_MAX 14u /* a varint and a checksum */

static void put_varint(struct pk_buf *b, uint64_t v)
{
	uint8_t *to = pk_buf_reserve(b, 10), *at = to;

	while (v >= 0x80) {
		*at++ = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	*at++ = (uint8_t)v;
	b->len += (size_t)(at - to);
}

static uint64_t fold(int64_t v)
{
	return ((uint64_t)v << 1) ^ (uint64_t)(v >> 63);
}

static int64_t unfold(uint64_t v)
{
	return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

static void put_bytes(struct pk_buf *b, struct pk_bytes v)
{
	put_varint(b, v.len);
	pk_buf_add_bytes(b, v);
}

static void put_stat(struct pk_buf *b, const struct zk_stat *s)
{
	put_varint(b, fold(s->czxid));
	put_varint(b, fold(s->mzxid - s->czxid));
	put_varint(b, fold(s->ctime));
	put_varint(b, fold(s->mtime - s->ctime));
	put_varint(b, fold(s->version));
	put_varint(b, fold(s->cversion));
	put_varint(b, fold(s->aversion));
	put_varint(b, (uint64_t)s->ephemeral_owner);
	put_varint(b, fold(s->data_length));
	put_varint(b, fold(s->num_children));
	put_varint(b, fold(s->pzxid - s->czxid));
}

#define PUT_NUMBER(tag, v)                                                                         \
	do {                                                                                       \
		if ((v) != 0) {                                                                    \
			put_varint(b, tag);                                                        \
			put_varint(b, (uint64_t)(v));                                              \
		}                                                                                  \
	} while (0)
#define PUT_FOLDED(tag, v)                                                                         \
	do {                                                                                       \
		if ((v) != 0) {                                                                    \
			put_varint(b, tag);                                                        \
			put_varint(b, fold(v));                                                    \
		}                                                                                  \
	} while (0)
#define PUT_TEXT(tag, v)                                                                           \
	do {                                                                                       \
		if ((v).data != NULL) {                                                            \
			put_varint(b, tag);                                                        \
			put_bytes(b, v);                                                           \
		}                                                                                  \
	} while (0)

#define PUT_KIND(tag, x, field)  PUT_NUMBER(tag, x->field)
#define PUT_STATE(tag, x, field) PUT_NUMBER(tag, x->field)
#define PUT_U32(tag, x, field)   PUT_NUMBER(tag, x->field)
#define PUT_U64(tag, x, field)   PUT_NUMBER(tag, x->field)
#define PUT_S32(tag, x, field)   PUT_FOLDED(tag, x->field)
#define PUT_S64(tag, x, field)   PUT_FOLDED(tag, x->field)
#define PUT_OP(tag, x, field)    PUT_FOLDED(tag, x->field)
#define PUT_WATCH(tag, x, field) PUT_FOLDED(tag, x->field)
#define PUT_BYTES(tag, x, field) PUT_TEXT(tag, x->field)
#define PUT_DATA(tag, x, field)  PUT_TEXT(tag, x->field)
#define PUT_STAT(tag, x, field)                                                                    \
	do {                                                                                       \
		if (x->has_stat) {                                                                 \
			put_varint(b, tag);                                                        \
			put_stat(b, &x->field);                                                    \
		}                                                                                  \
	} while (0)
#define PUT_NAMES(tag, x, field)                                                                   \
	do {                                                                                       \
		if (x->has_names) {                                                                \
			put_varint(b, tag);                                                        \
			put_bytes(b, x->field);                                                    \
		}                                                                                  \
	} while (0)

static void encode_part(struct pk_buf *b, const struct hist_part *part)
{
	struct hist_part own = *part, *p = &own;

	if (p->data.len > HIST_DATA_MAX) {
		p->data_bytes = p->data.len;
		p->data_hash = pk_hist_hash(p->data);
		p->data = PK_BYTES_NONE;
	} else if (p->data.data != NULL) {
		p->data_bytes = p->data_hash = 0; /* the reader makes them again */
	}
#define HF_PART(tag, field, type, json) PUT_##type(tag, p, field);
#include "jepsen/history_fields.tbl"
#undef HF_PART
}

void hist_encode(struct pk_buf *out, const struct hist_event *e)
{
	struct pk_buf *b = out;
	size_t at = out->len;

	pk_buf_grow(out, PREFIX_BYTES_MAX); /* closed up when the length is known */
#define HF_EVENT(tag, field, type, json) PUT_##type(tag, e, field);
#include "jepsen/history_fields.tbl"
#undef HF_EVENT
	encode_part(b, &e->part);
	for (uint32_t i = 0; i < e->part_count; i++) {
		struct pk_buf part = PK_BUF_INIT;

		encode_part(&part, &e->parts[i]);
		put_varint(b, HIST_TAG_PART);
		put_bytes(b, pk_buf_bytes(&part));
		pk_buf_release(&part);
	}
	uint8_t *body = out->data + at + PREFIX_BYTES_MAX;
	size_t len = out->len - at - PREFIX_BYTES_MAX;
	uint32_t crc = pk_crc32c(0, body, len);
	out->len = at;
	put_varint(out, len);
	pk_buf_add_le32(out, crc);
	memmove(out->data + out->len, body, len); /* room is there: it only shrank */
	out->len += len;
}

/* ---- reading ---- */

/* 0 with `bad` when it is not whole or does not fit 64 bits. */
static uint64_t get_varint(struct pk_rd *r)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 64 && !r->bad; shift += 7) {
		uint8_t byte = pk_rd_u8(r);
		if (r->bad)
			break;
		if (shift == 63 && byte > 1)
			break;
		v |= (uint64_t)(byte & 0x7f) << shift;
		if (byte < 0x80) {
			if (byte == 0 && shift > 0) /* a longer form than needed */
				break;
			return v;
		}
	}
	r->bad = true;
	return 0;
}

static int64_t get_folded(struct pk_rd *r, int64_t least, int64_t most)
{
	int64_t v = unfold(get_varint(r));

	if (v < least || v > most)
		r->bad = true;
	return r->bad ? 0 : v;
}

static uint64_t get_number(struct pk_rd *r, uint64_t most)
{
	uint64_t v = get_varint(r);

	if (v > most)
		r->bad = true;
	return r->bad ? 0 : v;
}

static struct pk_bytes get_bytes(struct pk_rd *r)
{
	uint64_t len = get_varint(r);

	if (len > r->in.len)
		r->bad = true;
	if (r->bad)
		return PK_BYTES_NONE;
	return pk_rd_bytes(r, (size_t)len);
}

static int64_t get_sum(struct pk_rd *r, int64_t base)
{
	return (int64_t)((uint64_t)base + (uint64_t)unfold(get_varint(r)));
}

static struct zk_stat get_stat(struct pk_rd *r)
{
	struct zk_stat s = { 0 };

	s.czxid = get_sum(r, 0);
	s.mzxid = get_sum(r, s.czxid);
	s.ctime = get_sum(r, 0);
	s.mtime = get_sum(r, s.ctime);
	s.version = (int32_t)get_folded(r, INT32_MIN, INT32_MAX);
	s.cversion = (int32_t)get_folded(r, INT32_MIN, INT32_MAX);
	s.aversion = (int32_t)get_folded(r, INT32_MIN, INT32_MAX);
	s.ephemeral_owner = (int64_t)get_varint(r);
	s.data_length = (int32_t)get_folded(r, INT32_MIN, INT32_MAX);
	s.num_children = (int32_t)get_folded(r, INT32_MIN, INT32_MAX);
	s.pzxid = get_sum(r, s.czxid);
	return s;
}

#define GET_KIND(x, field)  x->field = (enum hist_kind)get_number(r, HIST_KINDS - 1)
#define GET_STATE(x, field) x->field = (enum hist_state)get_number(r, HIST_STATES - 1)
#define GET_U32(x, field)   x->field = (uint32_t)get_number(r, UINT32_MAX)
#define GET_U64(x, field)   x->field = get_varint(r)
#define GET_S32(x, field)   x->field = (int32_t)get_folded(r, INT32_MIN, INT32_MAX)
#define GET_S64(x, field)   x->field = get_folded(r, INT64_MIN, INT64_MAX)
#define GET_OP(x, field)    x->field = (int32_t)get_folded(r, INT16_MIN, INT16_MAX)
#define GET_WATCH(x, field) x->field = (int32_t)get_folded(r, 0, HIST_WATCHES - 1)
#define GET_BYTES(x, field) x->field = get_bytes(r)
#define GET_DATA(x, field)  x->field = get_bytes(r)
#define GET_STAT(x, field)                                                                         \
	do {                                                                                       \
		x->field = get_stat(r);                                                            \
		x->has_stat = true;                                                                \
	} while (0)
#define GET_NAMES(x, field)                                                                        \
	do {                                                                                       \
		x->field = get_bytes(r);                                                           \
		x->has_names = true;                                                               \
	} while (0)

/* One field of a part; false for a tag that is none. */
static bool decode_part_field(struct pk_rd *r, uint64_t tag, struct hist_part *p)
{
	switch (tag) {
#define HF_PART(number, field, type, json)                                                         \
	case number:                                                                               \
		GET_##type(p, field);                                                              \
		return true;
#include "jepsen/history_fields.tbl"
#undef HF_PART
	default:
		return false;
	}
}

static void part_finish(struct hist_part *p, struct pk_rd *r)
{
	if (p->data.data == NULL)
		return;
	if (p->data.len > HIST_DATA_MAX || p->data_hash != 0 || p->data_bytes != 0)
		r->bad = true; /* long ones are not kept, of short ones nothing is said */
	p->data_bytes = p->data.len;
	p->data_hash = pk_hist_hash(p->data);
}

static bool decode_part(struct pk_bytes in, struct hist_part *p)
{
	struct pk_rd rd = { .in = in }, *r = &rd;
	uint64_t last = 0;

	*p = (struct hist_part){ 0 };
	while (!r->bad && r->in.len > 0) {
		uint64_t tag = get_varint(r);
		if (tag <= last || !decode_part_field(r, tag, p))
			r->bad = true;
		last = tag;
	}
	part_finish(p, r);
	return !r->bad;
}

struct hist_part *hist_scratch_part(struct hist_scratch *s, uint32_t index)
{
	if (index >= s->cap) {
		s->cap = s->cap > 0 ? 2 * s->cap : 8;
		s->parts = pk_realloc(s->parts, s->cap * sizeof(*s->parts));
	}
	return &s->parts[index];
}

void hist_scratch_release(struct hist_scratch *s)
{
	free(s->parts);
	pk_buf_release(&s->text);
	hist_scratch_json_release(s);
	*s = HIST_SCRATCH_INIT;
}

static bool decode_event_field(struct pk_rd *r, uint64_t tag, struct hist_event *e)
{
	switch (tag) {
#define HF_EVENT(number, field, type, json)                                                        \
	case number:                                                                               \
		GET_##type(e, field);                                                              \
		return true;
#include "jepsen/history_fields.tbl"
#undef HF_EVENT
	default:
		return decode_part_field(r, tag, &e->part);
	}
}

static int decode_body(struct pk_bytes body, struct hist_event *e, struct hist_scratch *scratch,
		       struct pk_err *err)
{
	struct pk_rd rd = { .in = body }, *r = &rd;
	uint64_t last = 0;

	while (!r->bad && r->in.len > 0) {
		uint64_t tag = get_varint(r);
		if (tag == HIST_TAG_PART && !r->bad) {
			if (e->part_count == HIST_PARTS_MAX)
				return pk_err_set(err, PK_ELIMIT, "more than %u parts",
						  HIST_PARTS_MAX);
			struct hist_part *p = hist_scratch_part(scratch, e->part_count++);
			if (!decode_part(get_bytes(r), p))
				r->bad = true;
		} else if (tag <= last || !decode_event_field(r, tag, e)) {
			r->bad = true;
		}
		last = tag;
	}
	part_finish(&e->part, r);
	e->parts = e->part_count > 0 ? scratch->parts : NULL;
	if (r->bad)
		return pk_err_set(err, PK_ECORRUPT, "a field is wrong near tag %" PRIu64, last);
	return 0;
}

int hist_decode(struct pk_bytes *in, struct hist_event *e, struct hist_scratch *scratch,
		struct pk_err *err)
{
	struct pk_rd r = { .in = *in };
	struct hist_event own = { 0 };
	uint64_t len = get_varint(&r);

	if (r.bad && in->len < 10)
		return 0;
	if (r.bad || len > HIST_RECORD_BYTES_MAX)
		return pk_err_set(err, PK_ELIMIT, "a record of more than %u bytes",
				  HIST_RECORD_BYTES_MAX);
	uint32_t crc = pk_rd_le32(&r);
	if (r.bad || len > r.in.len)
		return 0;
	struct pk_bytes body = pk_rd_bytes(&r, (size_t)len);
	if (pk_crc32c(0, body.data, body.len) != crc)
		return pk_err_set(err, PK_ECORRUPT, "the checksum of a record is wrong");
	int rc = decode_body(body, &own, scratch, err);
	if (rc == 0 && hist_event_check(&own, err) != 0) {
		rc = PK_ECORRUPT;
		if (err != NULL)
			err->code = rc;
	}
	if (rc != 0)
		return rc;
	*e = own;
	*in = r.in;
	return 1;
}
