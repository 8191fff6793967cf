#include "base/bytes.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"

bool pk_bytes_eq(struct pk_bytes a, struct pk_bytes b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

int pk_bytes_cmp(struct pk_bytes a, struct pk_bytes b)
{
	size_t shared = a.len < b.len ? a.len : b.len;
	int order = shared > 0 ? memcmp(a.data, b.data, shared) : 0;

	if (order != 0)
		return order;
	return a.len < b.len ? -1 : a.len > b.len;
}

bool pk_bytes_starts(struct pk_bytes text, struct pk_bytes prefix)
{
	return text.len >= prefix.len && pk_bytes_eq(pk_bytes(text.data, prefix.len), prefix);
}

bool pk_bytes_is(struct pk_bytes a, const char *text)
{
	return pk_bytes_eq(a, pk_bytes_str(text));
}

void pk_buf_release(struct pk_buf *b)
{
	free(b->data);
	*b = PK_BUF_INIT;
}

void pk_buf_clear(struct pk_buf *b)
{
	b->len = 0;
}

void pk_buf_enlarge(struct pk_buf *b, size_t more)
{
	size_t cap = b->cap > 0 ? b->cap : 64;

	PK_ASSERT(more <= SIZE_MAX / 4 - b->len);
	while (cap < b->len + more)
		cap *= 2;
	b->data = pk_realloc(b->data, cap);
	b->cap = cap;
}

void pk_buf_add_str(struct pk_buf *b, const char *text)
{
	pk_buf_add(b, text, strlen(text));
}

void pk_buf_printf(struct pk_buf *b, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	int len = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	PK_ASSERT(len >= 0);
	char *to = (char *)pk_buf_reserve(b, (size_t)len + 1);
	va_start(args, fmt);
	vsnprintf(to, (size_t)len + 1, fmt, args);
	va_end(args);
	b->len += (size_t)len;
}

void pk_buf_drop(struct pk_buf *b, size_t count)
{
	PK_ASSERT(count <= b->len);
	if (count > 0 && count < b->len)
		memmove(b->data, b->data + count, b->len - count);
	b->len -= count;
}

struct pk_bytes pk_buf_bytes(const struct pk_buf *b)
{
	return pk_bytes(b->data, b->len);
}

const char *pk_buf_str(struct pk_buf *b)
{
	*pk_buf_reserve(b, 1) = 0;
	return (const char *)b->data;
}

void pk_buf_add_u8(struct pk_buf *b, uint8_t v)
{
	*pk_buf_grow(b, 1) = v;
}

void pk_buf_add_le16(struct pk_buf *b, uint16_t v)
{
	pk_put_le16(pk_buf_grow(b, 2), v);
}

void pk_buf_add_le32(struct pk_buf *b, uint32_t v)
{
	pk_put_le32(pk_buf_grow(b, 4), v);
}

void pk_buf_add_le64(struct pk_buf *b, uint64_t v)
{
	pk_put_le64(pk_buf_grow(b, 8), v);
}

struct pk_bytes pk_rd_bytes(struct pk_rd *r, size_t len)
{
	if (r->bad || r->in.len < len) {
		r->bad = true;
		r->in.len = 0;
		return PK_BYTES_NONE;
	}
	struct pk_bytes out = pk_bytes(r->in.data, len);
	if (len > 0)
		r->in.data += len;
	r->in.len -= len;
	return out;
}

uint8_t pk_rd_u8(struct pk_rd *r)
{
	struct pk_bytes b = pk_rd_bytes(r, 1);

	return r->bad ? 0 : b.data[0];
}

uint16_t pk_rd_le16(struct pk_rd *r)
{
	struct pk_bytes b = pk_rd_bytes(r, 2);

	return r->bad ? 0 : pk_get_le16(b.data);
}

uint32_t pk_rd_le32(struct pk_rd *r)
{
	struct pk_bytes b = pk_rd_bytes(r, 4);

	return r->bad ? 0 : pk_get_le32(b.data);
}

uint64_t pk_rd_le64(struct pk_rd *r)
{
	struct pk_bytes b = pk_rd_bytes(r, 8);

	return r->bad ? 0 : pk_get_le64(b.data);
}
