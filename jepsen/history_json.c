#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "jepsen/history_impl.h"

/*
 * The form of one JSON object a line. Numbers of 64 bits may be strings ("0x1234", or decimal),
 * a value is "data" (text) or "data64" (base64), lists are arrays of strings, a stat is an array of
 * its eleven fields in the order of the wire, parts of a multi are objects in "parts".
 */

#define STAT_FIELDS 11u

void hist_scratch_json_release(struct hist_scratch *s)
{
	json_decref(s->json);
	s->json = NULL;
}

/* ---- writing ---- */

static const char base64_digits[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void put_base64(struct pk_buf *out, struct pk_bytes in)
{
	for (size_t i = 0; i < in.len; i += 3) {
		size_t left = in.len - i;
		uint32_t v = (uint32_t)in.data[i] << 16;

		v |= left > 1 ? (uint32_t)in.data[i + 1] << 8 : 0;
		v |= left > 2 ? in.data[i + 2] : 0;
		pk_buf_add_u8(out, (uint8_t)base64_digits[v >> 18]);
		pk_buf_add_u8(out, (uint8_t)base64_digits[(v >> 12) & 63]);
		pk_buf_add_u8(out, left > 1 ? (uint8_t)base64_digits[(v >> 6) & 63] : '=');
		pk_buf_add_u8(out, left > 2 ? (uint8_t)base64_digits[v & 63] : '=');
	}
}

static json_t *text_of(struct pk_bytes text)
{
	return json_stringn(text.len > 0 ? (const char *)text.data : "", text.len);
}

/* `value` NULL: bytes that are no UTF-8, where only text is possible. */
static void put(json_t *to, const char *key, json_t *value)
{
	if (value == NULL)
		value = json_string("\xef\xbf\xbd");
	PK_ASSERT(json_object_set_new(to, key, value) == 0);
}

static json_t *u64_of(uint64_t v)
{
	char text[24];

	if (v <= INT64_MAX)
		return json_integer((json_int_t)v);
	pk_ignore(snprintf(text, sizeof(text), "0x%" PRIx64, v), "it fits");
	return json_string(text);
}

static json_t *lines_of(struct pk_bytes lines)
{
	json_t *array = json_array();
	struct pk_bytes one;

	while (hist_name_next(&lines, &one)) {
		json_t *text = text_of(one);
		PK_ASSERT(json_array_append_new(
				  array, text != NULL ? text : json_string("\xef\xbf\xbd")) == 0);
	}
	return array;
}

static json_t *stat_of(const struct zk_stat *s)
{
	const int64_t fields[STAT_FIELDS] = {
		s->czxid,       s->mzxid,        s->ctime,    s->mtime,
		s->version,     s->cversion,     s->aversion, s->ephemeral_owner,
		s->data_length, s->num_children, s->pzxid,
	};
	json_t *array = json_array();

	for (size_t i = 0; i < STAT_FIELDS; i++)
		PK_ASSERT(json_array_append_new(array, json_integer(fields[i])) == 0);
	return array;
}

static void put_data(json_t *to, struct pk_bytes data)
{
	json_t *text = data.data != NULL ? text_of(data) : NULL;

	if (data.data == NULL)
		return;
	if (text != NULL) {
		put(to, "data", text);
		return;
	}
	struct pk_buf b = PK_BUF_INIT;
	put_base64(&b, data);
	put(to, "data64", text_of(pk_buf_bytes(&b)));
	pk_buf_release(&b);
}

static json_t *name_or_number(const char *name, int64_t number)
{
	return name != NULL ? json_string(name) : json_integer(number);
}

#define JSON_NUMBER(x, field, key)                                                                 \
	do {                                                                                       \
		if (x->field != 0)                                                                 \
			put(to, key, json_integer(x->field));                                      \
	} while (0)
#define JSON_U32(x, field, key) JSON_NUMBER(x, field, key)
#define JSON_S32(x, field, key) JSON_NUMBER(x, field, key)
#define JSON_S64(x, field, key) JSON_NUMBER(x, field, key)
#define JSON_U64(x, field, key)                                                                    \
	do {                                                                                       \
		if (x->field != 0)                                                                 \
			put(to, key, u64_of(x->field));                                            \
	} while (0)
#define JSON_BYTES(x, field, key)                                                                  \
	do {                                                                                       \
		if (x->field.data != NULL)                                                         \
			put(to, key, text_of(x->field));                                           \
	} while (0)
#define JSON_KIND(x, field, key) put(to, key, json_string(hist_kind_name(x->field)))
#define JSON_STATE(x, field, key)                                                                  \
	do {                                                                                       \
		if (x->field != 0)                                                                 \
			put(to, key, json_string(hist_state_name(x->field)));                      \
	} while (0)
#define JSON_WATCH(x, field, key)                                                                  \
	do {                                                                                       \
		if (x->field != 0)                                                                 \
			put(to, key, json_string(hist_watch_name(x->field)));                      \
	} while (0)
#define JSON_OP(x, field, key)                                                                     \
	do {                                                                                       \
		if (x->field != 0)                                                                 \
			put(to, key, name_or_number(zk_opcode_name(x->field), x->field));          \
	} while (0)
#define JSON_DATA(x, field, key) put_data(to, x->field)
#define JSON_STAT(x, field, key)                                                                   \
	do {                                                                                       \
		if (x->has_stat)                                                                   \
			put(to, key, stat_of(&x->field));                                          \
	} while (0)
#define JSON_NAMES(x, field, key)                                                                  \
	do {                                                                                       \
		if (x->has_names)                                                                  \
			put(to, key, lines_of(x->field));                                          \
	} while (0)

static void part_to_json(json_t *to, const struct hist_part *part)
{
	struct hist_part own = *part, *p = &own;

	if (p->data.len > HIST_DATA_MAX) {
		p->data_bytes = p->data.len;
		p->data_hash = pk_hist_hash(p->data);
		p->data = PK_BYTES_NONE;
	} else if (p->data.data != NULL) {
		p->data_bytes = p->data_hash = 0;
	}
#define HF_PART(tag, field, type, json) JSON_##type(p, field, json);
#include "jepsen/history_fields.tbl"
#undef HF_PART
	/* A list where the table has a text: entries, not lines. An auth's is one identity. */
	if (p->acl.len > 0 && p->acl.data[p->acl.len - 1] == '\n')
		put(to, "acl", lines_of(p->acl));
}

void hist_encode_json(struct pk_buf *out, const struct hist_event *e)
{
	json_t *to = json_object();

#define HF_EVENT(tag, field, type, json) JSON_##type(e, field, json);
#include "jepsen/history_fields.tbl"
#undef HF_EVENT
	part_to_json(to, &e->part);
	if (e->part_count > 0) {
		json_t *parts = json_array();
		for (uint32_t i = 0; i < e->part_count; i++) {
			json_t *one = json_object();
			part_to_json(one, &e->parts[i]);
			PK_ASSERT(json_array_append_new(parts, one) == 0);
		}
		put(to, "parts", parts);
	}
	char *text = json_dumps(to, JSON_COMPACT | JSON_PRESERVE_ORDER);
	PK_ASSERT(text != NULL);
	pk_buf_add_str(out, text);
	pk_buf_add_u8(out, '\n');
	free(text);
	json_decref(to);
}

/* ---- reading ---- */

struct from {
	struct hist_scratch *scratch;
	struct pk_err *err;
};

static int wrong(struct from *f, const char *key)
{
	return pk_err_set(f->err, PK_EINVAL, "the value of \"%s\" is not of its form", key);
}

static bool text_number(const char *text, uint64_t *out)
{
	char *end;
	bool hex = text[0] == '0' && text[1] == 'x';
	const char *digits = hex ? text + 2 : text;

	if (*digits == 0 || strlen(digits) > 20 ||
	    strspn(digits, hex ? "0123456789abcdefABCDEF" : "0123456789") != strlen(digits))
		return false;
	errno = 0;
	*out = strtoull(digits, &end, hex ? 16 : 10);
	return errno == 0 && *end == 0;
}

static int read_u64(struct from *f, const char *key, const json_t *v, uint64_t *out)
{
	if (json_is_integer(v))
		*out = (uint64_t)json_integer_value(v);
	else if (!json_is_string(v) || !text_number(json_string_value(v), out))
		return wrong(f, key);
	return 0;
}

static int read_s64(struct from *f, const char *key, const json_t *v, int64_t least, int64_t most,
		    int64_t *out)
{
	uint64_t u;

	if (read_u64(f, key, v, &u) != 0)
		return f->err->code;
	if ((int64_t)u < least || (int64_t)u > most)
		return wrong(f, key);
	*out = (int64_t)u;
	return 0;
}

static int read_bytes(struct from *f, const char *key, const json_t *v, struct pk_bytes *out)
{
	if (!json_is_string(v))
		return wrong(f, key);
	*out = pk_bytes(json_string_value(v), json_string_length(v));
	return 0;
}

/* Joins into scratch->text, which has room for all that a line may hold. */
static int read_lines(struct from *f, const char *key, const json_t *v, struct pk_bytes *out)
{
	struct pk_buf *b = &f->scratch->text;
	size_t at = b->len, i;
	const json_t *one;

	if (!json_is_array(v))
		return wrong(f, key);
	json_array_foreach((json_t *)(uintptr_t)v, i, one)
	{
		struct pk_bytes text;
		if (read_bytes(f, key, one, &text) != 0)
			return f->err->code;
		if (text.len == 0 || memchr(text.data, '\n', text.len) != NULL)
			return wrong(f, key);
		PK_ASSERT(b->cap - b->len > text.len);
		hist_name_add(b, text);
	}
	PK_ASSERT(b->cap > b->len);
	*out = pk_bytes(b->data + at, b->len - at);
	return 0;
}

static int base64_value(char c)
{
	const char *at = c != 0 ? strchr(base64_digits, c) : NULL;

	return at != NULL ? (int)(at - base64_digits) : -1;
}

static int read_base64(struct from *f, const char *key, const json_t *v, struct pk_bytes *out)
{
	struct pk_buf *b = &f->scratch->text;
	size_t at = b->len, len = json_string_length(v);
	const char *text = json_string_value(v);

	if (!json_is_string(v) || len % 4 != 0)
		return wrong(f, key);
	PK_ASSERT(b->cap - b->len > len);
	for (size_t i = 0; i < len; i += 4) {
		size_t pads = i + 4 == len
				      ? (size_t)(text[i + 3] == '=') +
						(size_t)(text[i + 3] == '=' && text[i + 2] == '=')
				      : 0;
		uint32_t sum = 0;
		for (size_t k = 0; k < 4; k++) {
			int digit = k >= 4 - pads ? 0 : base64_value(text[i + k]);
			if (digit < 0)
				return wrong(f, key);
			sum = sum << 6 | (uint32_t)digit;
		}
		for (size_t k = 0; k < 3 - pads; k++)
			pk_buf_add_u8(b, (uint8_t)(sum >> (16 - 8 * k)));
	}
	*out = pk_bytes(b->data + at, b->len - at);
	return 0;
}

static int read_stat(struct from *f, const char *key, const json_t *v, struct zk_stat *s)
{
	int64_t n[STAT_FIELDS];

	if (!json_is_array(v) || json_array_size(v) != STAT_FIELDS)
		return wrong(f, key);
	for (size_t i = 0; i < STAT_FIELDS; i++) {
		bool small = (i >= 4 && i <= 6) || i == 8 || i == 9;
		if (read_s64(f, key, json_array_get(v, i), small ? INT32_MIN : INT64_MIN,
			     small ? INT32_MAX : INT64_MAX, &n[i]) != 0)
			return f->err->code;
	}
	*s = (struct zk_stat){ .czxid = n[0],
			       .mzxid = n[1],
			       .ctime = n[2],
			       .mtime = n[3],
			       .version = (int32_t)n[4],
			       .cversion = (int32_t)n[5],
			       .aversion = (int32_t)n[6],
			       .ephemeral_owner = n[7],
			       .data_length = (int32_t)n[8],
			       .num_children = (int32_t)n[9],
			       .pzxid = n[10] };
	return 0;
}

static int read_op(struct from *f, const char *key, const json_t *v, int32_t *out)
{
	int64_t n = 0;

	if (json_is_string(v))
		return zk_opcode_parse(json_string_value(v), out) ? 0 : wrong(f, key);
	if (read_s64(f, key, v, INT16_MIN, INT16_MAX, &n) != 0)
		return f->err->code;
	*out = (int32_t)n;
	return 0;
}

static int read_name(struct from *f, const char *key, const json_t *v, int found, int *out)
{
	if (!json_is_string(v) || found < 0)
		return wrong(f, key);
	*out = found;
	return 0;
}

static int as_u32(struct from *f, const char *key, const json_t *v, uint32_t *to)
{
	int64_t n = 0;
	int rc = read_s64(f, key, v, 0, UINT32_MAX, &n);

	*to = (uint32_t)n;
	return rc;
}

static int as_s32(struct from *f, const char *key, const json_t *v, int32_t *to)
{
	int64_t n = 0;
	int rc = read_s64(f, key, v, INT32_MIN, INT32_MAX, &n);

	*to = (int32_t)n;
	return rc;
}

static int as_s64(struct from *f, const char *key, const json_t *v, int64_t *to)
{
	return read_s64(f, key, v, INT64_MIN, INT64_MAX, to);
}

static struct pk_bytes string_of(const json_t *v)
{
	return json_is_string(v) ? pk_bytes(json_string_value(v), json_string_length(v))
				 : PK_BYTES_NONE;
}

#define FROM_U32(x, field)   return as_u32(f, key, v, &x->field)
#define FROM_S32(x, field)   return as_s32(f, key, v, &x->field)
#define FROM_S64(x, field)   return as_s64(f, key, v, &x->field)
#define FROM_U64(x, field)   return read_u64(f, key, v, &x->field)
#define FROM_BYTES(x, field) return read_bytes(f, key, v, &x->field)
#define FROM_DATA(x, field)  return read_bytes(f, key, v, &x->field)
#define FROM_OP(x, field)    return read_op(f, key, v, &x->field)
#define FROM_NAMED(x, field, type, found)                                                          \
	do {                                                                                       \
		int n = 0;                                                                         \
		int rc = read_name(f, key, v, found, &n);                                          \
		if (rc == 0)                                                                       \
			x->field = (type)n;                                                        \
		return rc;                                                                         \
	} while (0)
#define FROM_KIND(x, field) FROM_NAMED(x, field, enum hist_kind, (int)hist_kind_named(string_of(v)))
#define FROM_STATE(x, field)                                                                       \
	FROM_NAMED(x, field, enum hist_state, (int)hist_state_named(string_of(v)))
#define FROM_WATCH(x, field) FROM_NAMED(x, field, int32_t, hist_watch_named(string_of(v)))
#define FROM_STAT(x, field)                                                                        \
	do {                                                                                       \
		x->has_stat = true;                                                                \
		return read_stat(f, key, v, &x->field);                                            \
	} while (0)
#define FROM_NAMES(x, field)                                                                       \
	do {                                                                                       \
		x->has_names = true;                                                               \
		return read_lines(f, key, v, &x->field);                                           \
	} while (0)

static int read_part_field(struct from *f, const char *key, const json_t *v, struct hist_part *p)
{
	if (strcmp(key, "acl") == 0 && json_is_array(v))
		return read_lines(f, key, v, &p->acl);
	if (strcmp(key, "data64") == 0 && p->data.data == NULL)
		return read_base64(f, key, v, &p->data);
#define HF_PART(tag, field, type, name)                                                            \
	if (strcmp(key, name) == 0)                                                                \
		FROM_##type(p, field);
#include "jepsen/history_fields.tbl"
#undef HF_PART
	return pk_err_set(f->err, PK_EINVAL, "there is no field \"%s\"", key);
}

static int read_event_field(struct from *f, const char *key, const json_t *v, struct hist_event *e)
{
#define HF_EVENT(tag, field, type, name)                                                           \
	if (strcmp(key, name) == 0)                                                                \
		FROM_##type(e, field);
#include "jepsen/history_fields.tbl"
#undef HF_EVENT
	return read_part_field(f, key, v, &e->part);
}

/* A value of any length is told whole here: what is long becomes length and hash. */
static int part_finish(struct from *f, struct hist_part *p)
{
	if (p->data.data == NULL)
		return 0;
	if (p->data_hash != 0 || p->data_bytes != 0)
		return pk_err_set(f->err, PK_EINVAL, "data, and its length or hash beside it");
	p->data_bytes = p->data.len;
	p->data_hash = pk_hist_hash(p->data);
	if (p->data.len > HIST_DATA_MAX)
		p->data = PK_BYTES_NONE;
	return 0;
}

static int read_parts(struct from *f, const json_t *v, struct hist_event *e)
{
	size_t i;
	json_t *one, *value;
	const char *key;

	if (!json_is_array(v))
		return wrong(f, "parts");
	if (json_array_size(v) > HIST_PARTS_MAX)
		return pk_err_set(f->err, PK_ELIMIT, "more than %u parts", HIST_PARTS_MAX);
	json_array_foreach((json_t *)(uintptr_t)v, i, one)
	{
		struct hist_part p = { 0 };
		if (!json_is_object(one))
			return wrong(f, "parts");
		json_object_foreach(one, key, value) if (read_part_field(f, key, value, &p) !=
							 0) return f->err->code;
		if (part_finish(f, &p) != 0)
			return f->err->code;
		*hist_scratch_part(f->scratch, e->part_count++) = p;
	}
	return 0;
}

int hist_decode_json(struct pk_bytes line, struct hist_event *e, struct hist_scratch *scratch,
		     struct pk_err *err)
{
	struct pk_err own_err = PK_ERR_INIT;
	struct from f = { scratch, err != NULL ? err : &own_err };
	struct hist_event own = { 0 };
	json_error_t why;
	json_t *root, *value;
	const char *key;
	int rc = 0;

	if (line.len > HIST_RECORD_BYTES_MAX)
		return pk_err_set(f.err, PK_ELIMIT, "a line of more than %u bytes",
				  HIST_RECORD_BYTES_MAX);
	hist_scratch_json_release(scratch);
	root = json_loadb((const char *)line.data, line.len,
			  JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
	if (root == NULL)
		return pk_err_set(f.err, PK_EINVAL, "column %d: %s", why.column, why.text);
	scratch->json = root;
	if (!json_is_object(root))
		return pk_err_set(f.err, PK_EINVAL, "not an object");
	pk_buf_clear(&scratch->text);
	pk_buf_reserve(&scratch->text, 2 * line.len + 1);
	json_object_foreach(root, key, value)
	{
		rc = strcmp(key, "parts") == 0 ? read_parts(&f, value, &own)
					       : read_event_field(&f, key, value, &own);
		if (rc != 0)
			return rc;
	}
	own.parts = own.part_count > 0 ? scratch->parts : NULL;
	if (part_finish(&f, &own.part) != 0 || hist_event_check(&own, f.err) != 0)
		return f.err->code;
	*e = own;
	return 0;
}
