/*
 * zkproto/record.h - every request and reply of the client port as a struct, with its decoder and
 * encoder, all made from records.tbl.
 *
 *     RECORD(delete_req, F(USTRING, path) F(INT, version))     becomes
 *
 *     struct zk_delete_req { struct pk_bytes path; int32_t version; };
 *     int zk_delete_req_decode(struct zk_rd *r, struct zk_delete_req *out);
 *     void zk_delete_req_encode(struct pk_buf *b, const struct zk_delete_req *in);
 *
 * Decoding returns 0, or PK_EPROTO with *out untouched when bytes are missing or a length makes no
 * sense; strings, buffers and vectors borrow from the input; nothing is allocated. Bytes behind the
 * record stay in the reader; at the end of a request they are ignored, as the reference does.
 * Encoding appends.
 */
#ifndef PK_ZKPROTO_RECORD_H
#define PK_ZKPROTO_RECORD_H

#include "base/err.h"
#include "zkproto/wire.h"

#define ZK_STAT_BYTES 68

struct zk_stat {
	int64_t czxid;
	int64_t mzxid;
	int64_t ctime; /* ms since 1970 */
	int64_t mtime;
	int32_t version;
	int32_t cversion;
	int32_t aversion;
	int64_t ephemeral_owner; /* session id; 0: not ephemeral */
	int32_t data_length;
	int32_t num_children;
	int64_t pzxid;
};

struct zk_stat zk_rd_stat(struct zk_rd *r);
void zk_wr_stat(struct pk_buf *b, const struct zk_stat *s);
PK_CHECKED int zk_stat_decode(struct zk_rd *r, struct zk_stat *out);
void zk_stat_encode(struct pk_buf *b, const struct zk_stat *in);

#define ZK_FIELD_INT     int32_t
#define ZK_FIELD_LONG    int64_t
#define ZK_FIELD_BOOL    bool
#define ZK_FIELD_BUFFER  struct pk_bytes
#define ZK_FIELD_USTRING struct pk_bytes
#define ZK_FIELD_ACLS    struct zk_acls
#define ZK_FIELD_STRINGS struct zk_strings
#define ZK_FIELD_IDS     struct zk_ids
#define ZK_FIELD_STAT    struct zk_stat

#define F(type, name) ZK_FIELD_##type name;
#define O(name)                                                                                    \
	bool has_##name;                                                                           \
	bool name;
#define RECORD(record, fields)                                                                     \
	struct zk_##record {                                                                       \
		fields                                                                             \
	};                                                                                         \
	PK_CHECKED int zk_##record##_decode(struct zk_rd *r, struct zk_##record *out);             \
	void zk_##record##_encode(struct pk_buf *b, const struct zk_##record *in);
#include "zkproto/records.tbl"
#undef RECORD
#undef O
#undef F

#endif
