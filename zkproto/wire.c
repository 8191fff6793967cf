#include "zkproto/wire.h"

#include "zkproto/zk.h"

#define ACL_BYTES_MIN    12u /* perms and two lengths */
#define STRING_BYTES_MIN 4u  /* its length */
#define ID_BYTES_MIN     8u  /* two lengths */

static const uint8_t *take(struct zk_rd *r, size_t len)
{
	if (r->bad || r->in.len < len) {
		r->bad = true;
		r->in.len = 0;
		return NULL;
	}
	const uint8_t *at = r->in.data;
	if (len > 0)
		r->in.data += len;
	r->in.len -= len;
	return at;
}

int32_t zk_rd_int(struct zk_rd *r)
{
	const uint8_t *at = take(r, 4);

	return at != NULL ? (int32_t)pk_get_be32(at) : 0;
}

int64_t zk_rd_long(struct zk_rd *r)
{
	const uint8_t *at = take(r, 8);

	return at != NULL ? (int64_t)pk_get_be64(at) : 0;
}

bool zk_rd_bool(struct zk_rd *r)
{
	const uint8_t *at = take(r, 1);

	return at != NULL && at[0] != 0;
}

struct pk_bytes zk_rd_buffer(struct zk_rd *r)
{
	int32_t len = zk_rd_int(r);

	if (len < -1)
		r->bad = true;
	if (r->bad || len == -1)
		return PK_BYTES_NONE;
	/* Behind a length that was read, in.data is never NULL: so an empty one is not null. */
	const uint8_t *at = take(r, (size_t)len);
	return at != NULL ? pk_bytes(at, (size_t)len) : PK_BYTES_NONE;
}

struct pk_bytes zk_rd_ustring(struct zk_rd *r)
{
	return zk_rd_buffer(r);
}

void zk_wr_int(struct pk_buf *b, int32_t v)
{
	pk_buf_add_be32(b, (uint32_t)v);
}

void zk_wr_long(struct pk_buf *b, int64_t v)
{
	pk_buf_add_be64(b, (uint64_t)v);
}

void zk_wr_bool(struct pk_buf *b, bool v)
{
	pk_buf_add_u8(b, v);
}

void zk_wr_buffer(struct pk_buf *b, struct pk_bytes v)
{
	PK_ASSERT(v.len <= INT32_MAX);
	zk_wr_int(b, v.data == NULL ? -1 : (int32_t)v.len);
	pk_buf_add_bytes(b, v);
}

void zk_wr_ustring(struct pk_buf *b, struct pk_bytes v)
{
	zk_wr_buffer(b, v);
}

/* ---- vectors ---- */

/* The count, once it is known to fit into what is left; *is_null for -1. */
static uint32_t rd_count(struct zk_rd *r, size_t item_bytes_min, bool *is_null)
{
	int32_t count = zk_rd_int(r);

	*is_null = !r->bad && count == -1;
	if (r->bad || count <= 0)
		return 0;
	if ((size_t)count > r->in.len / item_bytes_min) {
		r->bad = true;
		return 0;
	}
	return (uint32_t)count;
}

static void rd_acl(struct zk_rd *r, struct zk_acl *out)
{
	out->perms = zk_rd_int(r);
	out->scheme = zk_rd_ustring(r);
	out->id = zk_rd_ustring(r);
}

static void rd_id(struct zk_rd *r, struct zk_id *out)
{
	out->scheme = zk_rd_ustring(r);
	out->id = zk_rd_ustring(r);
}

/* What was read since `start`; nothing when the reader went bad. */
static struct pk_bytes since(const struct zk_rd *r, struct pk_bytes start)
{
	return r->bad ? PK_BYTES_NONE : pk_bytes(start.data, start.len - r->in.len);
}

struct zk_acls zk_rd_acls(struct zk_rd *r)
{
	struct zk_acls v = { 0 };
	struct zk_acl acl;

	v.count = rd_count(r, ACL_BYTES_MIN, &v.is_null);
	struct pk_bytes start = r->in;
	for (uint32_t i = 0; i < v.count && !r->bad; i++)
		rd_acl(r, &acl);
	v.raw = since(r, start);
	return r->bad ? (struct zk_acls){ 0 } : v;
}

struct zk_strings zk_rd_strings(struct zk_rd *r)
{
	struct zk_strings v = { 0 };

	v.count = rd_count(r, STRING_BYTES_MIN, &v.is_null);
	struct pk_bytes start = r->in;
	for (uint32_t i = 0; i < v.count && !r->bad; i++)
		zk_rd_ustring(r);
	v.raw = since(r, start);
	return r->bad ? (struct zk_strings){ 0 } : v;
}

struct zk_ids zk_rd_ids(struct zk_rd *r)
{
	struct zk_ids v = { 0 };
	struct zk_id id;

	v.count = rd_count(r, ID_BYTES_MIN, &v.is_null);
	struct pk_bytes start = r->in;
	for (uint32_t i = 0; i < v.count && !r->bad; i++)
		rd_id(r, &id);
	v.raw = since(r, start);
	return r->bad ? (struct zk_ids){ 0 } : v;
}

static void wr_vector(struct pk_buf *b, uint32_t count, bool is_null, struct pk_bytes raw)
{
	PK_ASSERT(count <= INT32_MAX);
	PK_ASSERT(!is_null || count == 0);
	zk_wr_int(b, is_null ? -1 : (int32_t)count);
	if (count > 0)
		pk_buf_add_bytes(b, raw);
}

void zk_wr_acls(struct pk_buf *b, struct zk_acls v)
{
	wr_vector(b, v.count, v.is_null, v.raw);
}

void zk_wr_strings(struct pk_buf *b, struct zk_strings v)
{
	wr_vector(b, v.count, v.is_null, v.raw);
}

void zk_wr_ids(struct pk_buf *b, struct zk_ids v)
{
	wr_vector(b, v.count, v.is_null, v.raw);
}

bool zk_acls_next(struct zk_acls *v, struct zk_acl *out)
{
	if (v->count == 0)
		return false;
	struct zk_rd r = zk_rd(v->raw);
	rd_acl(&r, out);
	PK_ASSERT(!r.bad); /* Z2: the items of a vector were checked when it was read */
	v->raw = r.in;
	v->count--;
	return true;
}

bool zk_strings_next(struct zk_strings *v, struct pk_bytes *out)
{
	if (v->count == 0)
		return false;
	struct zk_rd r = zk_rd(v->raw);
	*out = zk_rd_ustring(&r);
	PK_ASSERT(!r.bad); /* Z2 */
	v->raw = r.in;
	v->count--;
	return true;
}

bool zk_ids_next(struct zk_ids *v, struct zk_id *out)
{
	if (v->count == 0)
		return false;
	struct zk_rd r = zk_rd(v->raw);
	rd_id(&r, out);
	PK_ASSERT(!r.bad); /* Z2 */
	v->raw = r.in;
	v->count--;
	return true;
}

void zk_acl_encode(struct pk_buf *items, const struct zk_acl *acl)
{
	zk_wr_int(items, acl->perms);
	zk_wr_ustring(items, acl->scheme);
	zk_wr_ustring(items, acl->id);
}

void zk_id_encode(struct pk_buf *items, const struct zk_id *id)
{
	zk_wr_ustring(items, id->scheme);
	zk_wr_ustring(items, id->id);
}

size_t zk_wr_vector_begin(struct pk_buf *b)
{
	size_t at = b->len;

	zk_wr_int(b, 0);
	return at;
}

void zk_wr_vector_end(struct pk_buf *b, size_t at, uint32_t count)
{
	PK_ASSERT(at + 4 <= b->len);
	PK_ASSERT(count <= INT32_MAX);
	pk_put_be32(b->data + at, count);
}

/* One ACL each, as it stands on the wire. */
static const uint8_t open_item[] = "\0\0\0\x1f\0\0\0\5world\0\0\0\6anyone";
static const uint8_t read_item[] = "\0\0\0\x01\0\0\0\5world\0\0\0\6anyone";
static const uint8_t creator_item[] = "\0\0\0\x1f\0\0\0\4auth\0\0\0\0";
static_assert(ZK_PERM_ALL == 0x1f && ZK_PERM_READ == 1, "the bytes above say so");

struct zk_acls zk_acls_open(void)
{
	return (struct zk_acls){ .count = 1, .raw = pk_bytes(open_item, sizeof(open_item) - 1) };
}

struct zk_acls zk_acls_read(void)
{
	return (struct zk_acls){ .count = 1, .raw = pk_bytes(read_item, sizeof(read_item) - 1) };
}

struct zk_acls zk_acls_creator(void)
{
	return (struct zk_acls){ .count = 1,
				 .raw = pk_bytes(creator_item, sizeof(creator_item) - 1) };
}
