/*
 * zkproto/wire.h - the primitive types of ZooKeeper's wire format, read and written.
 *
 * int and long are big-endian; a boolean is one byte, anything but 0 is true; a buffer or ustring
 * is an int length and its bytes, length -1 is null; a vector is an int count and its items, -1 is
 * null. Source: Apache ZooKeeper release-3.8.0, BinaryInputArchive, BinaryOutputArchive.
 *
 * Null and empty differ: a null buffer has data == NULL, an empty one has data != NULL (and the
 * same going out: beware that pk_buf_bytes of an untouched buffer is null).
 *
 * A ustring is kept as the bytes that came. Java replaces malformed UTF-8 by U+FFFD while decoding;
 * that character is not allowed in paths, so zk_path_check refuses the same paths as Java does,
 * and names outside paths (ACL ids, say) keep their bytes instead of folding together.
 *
 * Everything read borrows from the input. Nothing here allocates, except writers through pk_buf.
 */
#ifndef PK_ZKPROTO_WIRE_H
#define PK_ZKPROTO_WIRE_H

#include "base/bytes.h"

/* The first read that would pass the end, or a length that makes no sense, sets `bad`; from then on
 * every read gives 0, null or nothing, so one check at the end of a record is enough. */
struct zk_rd {
	struct pk_bytes in; /* what is left */
	bool bad;
};

static inline struct zk_rd zk_rd(struct pk_bytes in)
{
	return (struct zk_rd){ .in = in };
}

int32_t zk_rd_int(struct zk_rd *r);
int64_t zk_rd_long(struct zk_rd *r);
bool zk_rd_bool(struct zk_rd *r);
struct pk_bytes zk_rd_buffer(struct zk_rd *r); /* a length below -1 or past the end: bad */
struct pk_bytes zk_rd_ustring(struct zk_rd *r);

void zk_wr_int(struct pk_buf *b, int32_t v);
void zk_wr_long(struct pk_buf *b, int64_t v);
void zk_wr_bool(struct pk_buf *b, bool v);
void zk_wr_buffer(struct pk_buf *b, struct pk_bytes v);
void zk_wr_ustring(struct pk_buf *b, struct pk_bytes v);

/*
 * Vectors: a slice of the input whose items were all checked, and an iterator over them. The count
 * is compared with the bytes that are left before anything is walked. A count below -1 reads as
 * empty: so does Java, which only asks whether it is above 0.
 */
struct zk_acl {
	int32_t perms; /* ZK_PERM_* */
	struct pk_bytes scheme;
	struct pk_bytes id;
};

struct zk_id {
	struct pk_bytes scheme;
	struct pk_bytes id;
};

struct zk_acls {
	uint32_t count;
	bool is_null;
	struct pk_bytes raw; /* the items, without the count */
};

struct zk_strings {
	uint32_t count;
	bool is_null;
	struct pk_bytes raw;
};

struct zk_ids {
	uint32_t count;
	bool is_null;
	struct pk_bytes raw;
};

struct zk_acls zk_rd_acls(struct zk_rd *r);
struct zk_strings zk_rd_strings(struct zk_rd *r);
struct zk_ids zk_rd_ids(struct zk_rd *r);
void zk_wr_acls(struct pk_buf *b, struct zk_acls v);
void zk_wr_strings(struct pk_buf *b, struct zk_strings v);
void zk_wr_ids(struct pk_buf *b, struct zk_ids v);

/* Take the next item off v (a copy of the vector serves as the cursor); false when there is none.
 *
 *     struct zk_strings left = req.data_watches;
 *     while (zk_strings_next(&left, &path))
 */
bool zk_acls_next(struct zk_acls *v, struct zk_acl *out);
bool zk_strings_next(struct zk_strings *v, struct pk_bytes *out);
bool zk_ids_next(struct zk_ids *v, struct zk_id *out);

/* Items, to build a vector: append them to a buffer of their own, then
 * (struct zk_acls){ .count = n, .raw = pk_buf_bytes(&items) }. */
void zk_acl_encode(struct pk_buf *items, const struct zk_acl *acl);
void zk_id_encode(struct pk_buf *items, const struct zk_id *id);

/* Or write a vector of unknown length in place: begin, each item, end. */
size_t zk_wr_vector_begin(struct pk_buf *b); /* returns the place of the count, for the end */
void zk_wr_vector_end(struct pk_buf *b, size_t at, uint32_t count);

/* The three lists that Java's ZooDefs.Ids names; they borrow static memory. */
struct zk_acls zk_acls_open(void);    /* world:anyone may do all */
struct zk_acls zk_acls_read(void);    /* world:anyone may read */
struct zk_acls zk_acls_creator(void); /* who creates may do all: scheme auth, empty id */

#endif
