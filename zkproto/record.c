#include "zkproto/record.h"

struct zk_stat zk_rd_stat(struct zk_rd *r)
{
	struct zk_stat s;

	s.czxid = zk_rd_long(r);
	s.mzxid = zk_rd_long(r);
	s.ctime = zk_rd_long(r);
	s.mtime = zk_rd_long(r);
	s.version = zk_rd_int(r);
	s.cversion = zk_rd_int(r);
	s.aversion = zk_rd_int(r);
	s.ephemeral_owner = zk_rd_long(r);
	s.data_length = zk_rd_int(r);
	s.num_children = zk_rd_int(r);
	s.pzxid = zk_rd_long(r);
	return s;
}

void zk_wr_stat(struct pk_buf *b, const struct zk_stat *s)
{
	size_t start = b->len;

	zk_wr_long(b, s->czxid);
	zk_wr_long(b, s->mzxid);
	zk_wr_long(b, s->ctime);
	zk_wr_long(b, s->mtime);
	zk_wr_int(b, s->version);
	zk_wr_int(b, s->cversion);
	zk_wr_int(b, s->aversion);
	zk_wr_long(b, s->ephemeral_owner);
	zk_wr_int(b, s->data_length);
	zk_wr_int(b, s->num_children);
	zk_wr_long(b, s->pzxid);
	PK_ASSERT(b->len - start == ZK_STAT_BYTES);
}

int zk_stat_decode(struct zk_rd *r, struct zk_stat *out)
{
	struct zk_stat s = zk_rd_stat(r);

	if (r->bad)
		return PK_EPROTO;
	*out = s;
	return 0;
}

void zk_stat_encode(struct pk_buf *b, const struct zk_stat *in)
{
	zk_wr_stat(b, in);
}

#define RD_INT     zk_rd_int
#define RD_LONG    zk_rd_long
#define RD_BOOL    zk_rd_bool
#define RD_BUFFER  zk_rd_buffer
#define RD_USTRING zk_rd_ustring
#define RD_ACLS    zk_rd_acls
#define RD_STRINGS zk_rd_strings
#define RD_IDS     zk_rd_ids
#define RD_STAT    zk_rd_stat

#define F(type, name) v.name = RD_##type(r);
/* A boolean that old peers leave out: there only if a byte is. */
#define O(name)                                                                                    \
	v.has_##name = !r->bad && r->in.len > 0;                                                   \
	v.name = v.has_##name && zk_rd_bool(r);
#define RECORD(record, fields)                                                                     \
	int zk_##record##_decode(struct zk_rd *r, struct zk_##record *out)                         \
	{                                                                                          \
		struct zk_##record v;                                                              \
                                                                                                   \
		fields if (r->bad) return PK_EPROTO;                                               \
		*out = v;                                                                          \
		return 0;                                                                          \
	}
#include "zkproto/records.tbl"
#undef RECORD
#undef O
#undef F

#define WR_INT(b, v)     zk_wr_int(b, v)
#define WR_LONG(b, v)    zk_wr_long(b, v)
#define WR_BOOL(b, v)    zk_wr_bool(b, v)
#define WR_BUFFER(b, v)  zk_wr_buffer(b, v)
#define WR_USTRING(b, v) zk_wr_ustring(b, v)
#define WR_ACLS(b, v)    zk_wr_acls(b, v)
#define WR_STRINGS(b, v) zk_wr_strings(b, v)
#define WR_IDS(b, v)     zk_wr_ids(b, v)
#define WR_STAT(b, v)    zk_wr_stat(b, &(v))

#define F(type, name) WR_##type(b, in->name);
#define O(name)                                                                                    \
	if (in->has_##name)                                                                        \
		zk_wr_bool(b, in->name);
#define RECORD(record, fields)                                                                     \
	void zk_##record##_encode(struct pk_buf *b, const struct zk_##record *in)                  \
	{                                                                                          \
		fields                                                                             \
	}
#include "zkproto/records.tbl"
#undef RECORD
#undef O
#undef F
