/*
 * base/bytes.h - the two shapes in which bytes travel.
 *
 * struct pk_bytes borrows: a pointer and a length, valid as long as its owner says.
 * struct pk_buf owns: it grows by doubling, and a front that was read can be dropped in place.
 */
#ifndef PK_BASE_BYTES_H
#define PK_BASE_BYTES_H

#include <string.h>

#include "base/check.h"

struct pk_bytes {
	const uint8_t *data; /* NULL is allowed when len is 0 */
	size_t len;
};

struct pk_buf {
	uint8_t *data;
	size_t len;
	size_t cap;
};

#define PK_BUF_INIT   ((struct pk_buf){ 0 })
#define PK_BYTES_NONE ((struct pk_bytes){ 0 })

static inline struct pk_bytes pk_bytes(const void *data, size_t len)
{
	return (struct pk_bytes){ data, len };
}

static inline struct pk_bytes pk_bytes_str(const char *text)
{
	return (struct pk_bytes){ (const uint8_t *)text, strlen(text) };
}

bool pk_bytes_eq(struct pk_bytes a, struct pk_bytes b);
/* As memcmp, a shorter prefix first. */
int pk_bytes_cmp(struct pk_bytes a, struct pk_bytes b);
bool pk_bytes_starts(struct pk_bytes text, struct pk_bytes prefix);
/* True when `a` spells exactly the C string `text`. */
bool pk_bytes_is(struct pk_bytes a, const char *text);

void pk_buf_release(struct pk_buf *b);              /* frees; b is as after PK_BUF_INIT */
void pk_buf_clear(struct pk_buf *b);                /* length 0, memory kept */
void pk_buf_enlarge(struct pk_buf *b, size_t more); /* what pk_buf_reserve does when it must */
/* Room for `more` bytes beyond len; returns where they go. len is unchanged. */
static inline uint8_t *pk_buf_reserve(struct pk_buf *b, size_t more)
{
	if (b->cap - b->len < more)
		pk_buf_enlarge(b, more);
	return b->data + b->len;
}
/* Grow len by `more`; returns the first of the new, unset bytes. */
static inline uint8_t *pk_buf_grow(struct pk_buf *b, size_t more)
{
	uint8_t *at = pk_buf_reserve(b, more);

	b->len += more;
	return at;
}
static inline void pk_buf_add(struct pk_buf *b, const void *data, size_t len)
{
	if (len > 0)
		memcpy(pk_buf_grow(b, len), data, len);
}
static inline void pk_buf_add_bytes(struct pk_buf *b, struct pk_bytes in)
{
	pk_buf_add(b, in.data, in.len);
}
void pk_buf_add_str(struct pk_buf *b, const char *text); /* without the NUL */
void pk_buf_printf(struct pk_buf *b, const char *fmt, ...) PK_PRINTF(2, 3);
/* Drop `count` bytes from the front (count <= len). */
void pk_buf_drop(struct pk_buf *b, size_t count);
struct pk_bytes pk_buf_bytes(const struct pk_buf *b); /* borrows until b changes */
/* The text with a NUL behind it (not counted in len); borrows until b changes. */
const char *pk_buf_str(struct pk_buf *b);

/* Fixed-width integers at an address, big-endian (ZooKeeper's wire, our keys). */
static inline void pk_put_be32(uint8_t *to, uint32_t v)
{
	v = __builtin_bswap32(v);
	memcpy(to, &v, sizeof(v));
}
static inline void pk_put_be64(uint8_t *to, uint64_t v)
{
	v = __builtin_bswap64(v);
	memcpy(to, &v, sizeof(v));
}
static inline uint32_t pk_get_be32(const uint8_t *from)
{
	uint32_t v;
	memcpy(&v, from, sizeof(v));
	return __builtin_bswap32(v);
}
static inline uint64_t pk_get_be64(const uint8_t *from)
{
	uint64_t v;
	memcpy(&v, from, sizeof(v));
	return __builtin_bswap64(v);
}
/* The same, little-endian (our disk and peer formats; the platform is little-endian too). */
static inline void pk_put_le16(uint8_t *to, uint16_t v)
{
	memcpy(to, &v, sizeof(v));
}
static inline void pk_put_le32(uint8_t *to, uint32_t v)
{
	memcpy(to, &v, sizeof(v));
}
static inline void pk_put_le64(uint8_t *to, uint64_t v)
{
	memcpy(to, &v, sizeof(v));
}
static inline uint16_t pk_get_le16(const uint8_t *from)
{
	uint16_t v;
	memcpy(&v, from, sizeof(v));
	return v;
}
static inline uint32_t pk_get_le32(const uint8_t *from)
{
	uint32_t v;
	memcpy(&v, from, sizeof(v));
	return v;
}
static inline uint64_t pk_get_le64(const uint8_t *from)
{
	uint64_t v;
	memcpy(&v, from, sizeof(v));
	return v;
}
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "disk and peer formats are little-endian");

/* Append forms. */
static inline void pk_buf_add_be32(struct pk_buf *b, uint32_t v)
{
	pk_put_be32(pk_buf_grow(b, 4), v);
}
static inline void pk_buf_add_be64(struct pk_buf *b, uint64_t v)
{
	pk_put_be64(pk_buf_grow(b, 8), v);
}
void pk_buf_add_u8(struct pk_buf *b, uint8_t v);
void pk_buf_add_le16(struct pk_buf *b, uint16_t v);
void pk_buf_add_le32(struct pk_buf *b, uint32_t v);
void pk_buf_add_le64(struct pk_buf *b, uint64_t v);

/*
 * A reader over borrowed bytes for formats of ours: it never reads past the end. The first read
 * that would sets `bad`, and every read from then on gives 0 or nothing, so one check at the end of
 * a record is enough.
 */
struct pk_rd {
	struct pk_bytes in; /* what is left */
	bool bad;
};
uint8_t pk_rd_u8(struct pk_rd *r);
uint16_t pk_rd_le16(struct pk_rd *r);
uint32_t pk_rd_le32(struct pk_rd *r);
uint64_t pk_rd_le64(struct pk_rd *r);
struct pk_bytes pk_rd_bytes(struct pk_rd *r, size_t len); /* borrows from the input */

#endif
