#include "store/properties.h"

#include <ctype.h>

#include "base/mem.h"

static bool is_blank(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\f';
}

static bool is_eol(uint8_t c)
{
	return c == '\n' || c == '\r';
}

struct reader {
	struct pk_bytes in;
	size_t at;
	unsigned line;
};

static void skip_eol(struct reader *r)
{
	if (r->at < r->in.len && r->in.data[r->at] == '\r') {
		r->at++;
		if (r->at < r->in.len && r->in.data[r->at] == '\n')
			r->at++;
		r->line++;
	} else if (r->at < r->in.len && r->in.data[r->at] == '\n') {
		r->at++;
		r->line++;
	}
}

static void skip_blanks(struct reader *r)
{
	while (r->at < r->in.len && is_blank(r->in.data[r->at]))
		r->at++;
}

/* Past blank lines and comments, to where a line begins. False at the end. */
static bool skip_to_line(struct reader *r)
{
	for (;;) {
		skip_blanks(r);
		if (r->at >= r->in.len)
			return false;
		if (is_eol(r->in.data[r->at])) {
			skip_eol(r);
		} else if (r->in.data[r->at] == '#' || r->in.data[r->at] == '!') {
			while (r->at < r->in.len && !is_eol(r->in.data[r->at]))
				r->at++;
			skip_eol(r);
		} else {
			return true;
		}
	}
}

/* The line that begins here, continuations joined, escapes still in it. */
static void join_line(struct reader *r, struct pk_buf *out)
{
	for (;;) {
		size_t from = r->at;
		bool escaped = false;

		while (r->at < r->in.len && !is_eol(r->in.data[r->at])) {
			escaped = r->in.data[r->at] == '\\' && !escaped;
			r->at++;
		}
		pk_buf_add(out, r->in.data + from, r->at - from);
		skip_eol(r);
		if (!escaped)
			return;
		out->len--; /* the backslash that joins; Java drops a last one too */
		if (out->len == 0)
			return;
		skip_blanks(r);
	}
}

/* The next logical line that holds anything: a backslash alone on its line begins none. */
static bool logical_line(struct reader *r, struct pk_buf *out, unsigned *line)
{
	pk_buf_clear(out);
	while (out->len == 0) {
		if (!skip_to_line(r))
			return false;
		*line = r->line;
		join_line(r, out);
	}
	return true;
}

static void add_utf8(struct pk_buf *out, uint32_t c)
{
	if (c < 0x80) {
		pk_buf_add_u8(out, (uint8_t)c);
	} else if (c < 0x800) {
		pk_buf_add_u8(out, (uint8_t)(0xc0 | c >> 6));
		pk_buf_add_u8(out, (uint8_t)(0x80 | (c & 0x3f)));
	} else if (c < 0x10000) {
		pk_buf_add_u8(out, (uint8_t)(0xe0 | c >> 12));
		pk_buf_add_u8(out, (uint8_t)(0x80 | (c >> 6 & 0x3f)));
		pk_buf_add_u8(out, (uint8_t)(0x80 | (c & 0x3f)));
	} else {
		pk_buf_add_u8(out, (uint8_t)(0xf0 | c >> 18));
		pk_buf_add_u8(out, (uint8_t)(0x80 | (c >> 12 & 0x3f)));
		pk_buf_add_u8(out, (uint8_t)(0x80 | (c >> 6 & 0x3f)));
		pk_buf_add_u8(out, (uint8_t)(0x80 | (c & 0x3f)));
	}
}

/* The four hex digits at in[at], or -1. */
static int32_t hex4(struct pk_bytes in, size_t at)
{
	int32_t v = 0;

	if (in.len < 4 || at > in.len - 4)
		return -1;
	for (size_t i = 0; i < 4; i++) {
		uint8_t c = in.data[at + i];

		if (!isxdigit(c))
			return -1;
		v = v * 16 + (c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
	}
	return v;
}

static int unicode(struct pk_bytes in, size_t *at, struct pk_buf *out, struct pk_err *err)
{
	int32_t c = hex4(in, *at);
	int32_t low;

	if (c < 0)
		return pk_err_set(err, PK_EINVAL, "\\u wants four hexadecimal digits");
	*at += 4;
	if (c == 0)
		return pk_err_set(err, PK_EINVAL, "\\u0000 cannot be part of a setting");
	if (c >= 0xd800 && c < 0xe000) {
		low = c < 0xdc00 && *at + 1 < in.len && in.data[*at] == '\\' &&
				      in.data[*at + 1] == 'u'
			      ? hex4(in, *at + 2)
			      : -1;
		if (low < 0xdc00 || low > 0xdfff)
			return pk_err_set(err, PK_EINVAL, "\\u%04x is half a character",
					  (unsigned)c);
		*at += 6;
		c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
	}
	add_utf8(out, (uint32_t)c);
	return 0;
}

static int unescape(struct pk_bytes in, char **out, struct pk_err *err)
{
	struct pk_buf b = PK_BUF_INIT;
	int rc = 0;

	for (size_t at = 0; at < in.len && rc == 0;) {
		uint8_t c = in.data[at++];

		if (c == '\0') {
			rc = pk_err_set(err, PK_EINVAL, "a zero byte");
		} else if (c != '\\' || at == in.len) {
			pk_buf_add_u8(&b, c);
		} else {
			c = in.data[at++];
			if (c == 'u')
				rc = unicode(in, &at, &b, err);
			else if (c == '\0')
				rc = pk_err_set(err, PK_EINVAL, "a zero byte");
			else
				pk_buf_add_u8(&b, c == 't'   ? '\t'
						  : c == 'n' ? '\n'
						  : c == 'r' ? '\r'
						  : c == 'f' ? '\f'
							     : c);
		}
	}
	if (rc == 0)
		*out = pk_strndup(b.len > 0 ? (const char *)b.data : "", b.len);
	pk_buf_release(&b);
	return rc;
}

static int split(struct pk_bytes line, struct property *p, struct pk_err *err)
{
	size_t key_end = 0;
	size_t value;
	bool escaped = false;
	char *key = NULL;
	int rc;

	for (; key_end < line.len; key_end++) {
		uint8_t c = line.data[key_end];

		if (!escaped && (c == '=' || c == ':' || is_blank(c)))
			break;
		escaped = c == '\\' && !escaped;
	}
	value = key_end;
	while (value < line.len && is_blank(line.data[value]))
		value++;
	if (value < line.len && (line.data[value] == '=' || line.data[value] == ':'))
		value++;
	while (value < line.len && is_blank(line.data[value]))
		value++;

	rc = unescape(pk_bytes(line.data, key_end), &key, err);
	if (rc == 0)
		rc = unescape(pk_bytes(line.data + value, line.len - value), &p->value, err);
	if (rc != 0)
		free(key);
	else
		p->key = key;
	return rc;
}

int properties_parse(struct properties *out, struct pk_bytes text, struct pk_err *err)
{
	struct reader r = { .in = text, .line = 1 };
	struct properties p = PROPERTIES_INIT;
	struct pk_buf line = PK_BUF_INIT;
	size_t cap = 0;
	unsigned number = 0;
	int rc = 0;

	if (text.len > PROPERTIES_BYTES_MAX)
		return pk_err_set(err, PK_ELIMIT, "%zu bytes: at most %d are read", text.len,
				  PROPERTIES_BYTES_MAX);
	while (rc == 0 && logical_line(&r, &line, &number)) {
		if (p.count == PROPERTIES_COUNT_MAX) {
			rc = pk_err_set(err, PK_ELIMIT, "more than %d settings",
					PROPERTIES_COUNT_MAX);
			break;
		}
		if (p.count == cap) {
			cap = cap == 0 ? 32 : cap * 2;
			p.rows = pk_realloc(p.rows, cap * sizeof(*p.rows));
		}
		p.rows[p.count] = (struct property){ .line = number };
		rc = split(pk_buf_bytes(&line), &p.rows[p.count], err);
		if (rc != 0)
			pk_err_wrap(err, "line %u", number);
		else
			p.count++;
	}
	pk_buf_release(&line);
	if (rc != 0)
		properties_release(&p);
	else
		*out = p;
	return rc;
}

void properties_release(struct properties *p)
{
	for (size_t i = 0; i < p->count; i++) {
		free(p->rows[i].key);
		free(p->rows[i].value);
	}
	free(p->rows);
	*p = PROPERTIES_INIT;
}
