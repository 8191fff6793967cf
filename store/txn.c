#include "store/txn.h"

#include <uthash.h>

#include "base/crc.h"
#include "base/mem.h"

#define MAGIC        0x4e585450u /* "PTXN" */
#define FORMAT       1u
#define HEADER_BYTES 72u
#define CRC_AT       12u
#define ID_BYTES_MIN 6u  /* two lengths */
#define OP_BYTES_MIN 46u /* an op without identities and body */

static_assert(HEADER_BYTES % 8 == 0, "entries are whole words");

/* An identity that is in the entry already. The key follows: le32 scheme length, scheme, id. */
struct pack_id {
	UT_hash_handle hh;
	uint16_t index;
	uint32_t key_bytes;
	uint8_t key[];
};

struct txn_pack {
	struct pk_buf ids;
	struct pk_buf ops;
	struct pk_buf entry;
	struct pk_buf key;
	struct pack_id *seen;
	uint32_t id_count;
	uint32_t op_count;
};

struct txn_pack *txn_pack_new(void)
{
	return pk_alloc(sizeof(struct txn_pack));
}

void txn_pack_clear(struct txn_pack *p)
{
	struct pack_id *id, *next;

	HASH_ITER (hh, p->seen, id, next) {
		HASH_DEL(p->seen, id);
		free(id);
	}
	pk_buf_clear(&p->ids);
	pk_buf_clear(&p->ops);
	pk_buf_clear(&p->entry);
	p->id_count = 0;
	p->op_count = 0;
}

void txn_pack_free(struct txn_pack *p)
{
	if (p == NULL)
		return;
	txn_pack_clear(p);
	pk_buf_release(&p->ids);
	pk_buf_release(&p->ops);
	pk_buf_release(&p->entry);
	pk_buf_release(&p->key);
	free(p);
}

static struct pack_id *find(struct txn_pack *p, const struct txn_id *id)
{
	struct pack_id *found;

	pk_buf_clear(&p->key);
	pk_buf_add_le32(&p->key, (uint32_t)id->scheme.len);
	pk_buf_add_bytes(&p->key, id->scheme);
	pk_buf_add_bytes(&p->key, id->id);
	HASH_FIND(hh, p->seen, p->key.data, p->key.len, found);
	return found;
}

static uint16_t intern(struct txn_pack *p, const struct txn_id *id)
{
	struct pack_id *found = find(p, id);

	if (found != NULL)
		return found->index;
	PK_ASSERT(p->id_count < TXN_IDS_MAX);
	found = pk_alloc(sizeof(*found) + p->key.len);
	found->index = (uint16_t)p->id_count++;
	found->key_bytes = (uint32_t)p->key.len;
	memcpy(found->key, p->key.data, p->key.len);
	HASH_ADD_KEYPTR(hh, p->seen, found->key, found->key_bytes, found);
	pk_buf_add_le16(&p->ids, (uint16_t)id->scheme.len);
	pk_buf_add_le32(&p->ids, (uint32_t)id->id.len);
	pk_buf_add_bytes(&p->ids, id->scheme);
	pk_buf_add_bytes(&p->ids, id->id);
	return found->index;
}

size_t txn_pack_count(const struct txn_pack *p)
{
	return p->op_count;
}

size_t txn_pack_bytes(const struct txn_pack *p)
{
	return (HEADER_BYTES + p->ids.len + p->ops.len + 7) & ~(size_t)7;
}

/* Would it fit, all of its identities counted as new? */
static bool fits(const struct txn_pack *p, const struct txn_op *op, const struct txn_id *ids,
		 size_t id_count)
{
	size_t room = TXN_ENTRY_BYTES_MAX - txn_pack_bytes(p);
	size_t want = OP_BYTES_MIN + 2 * id_count + 8;

	if (p->op_count >= TXN_OPS_MAX || id_count > TXN_OP_IDS_MAX ||
	    p->id_count + id_count > TXN_IDS_MAX || op->body.len > TXN_ENTRY_BYTES_MAX)
		return false;
	want += op->body.len;
	for (size_t i = 0; i < id_count; i++) {
		if (ids[i].scheme.len > UINT16_MAX || ids[i].id.len > TXN_ENTRY_BYTES_MAX)
			return false;
		want += ID_BYTES_MIN + ids[i].scheme.len + ids[i].id.len;
	}
	return want <= room;
}

bool txn_pack_add(struct txn_pack *p, const struct txn_op *op, const struct txn_id *ids,
		  size_t id_count)
{
	uint16_t index[TXN_OP_IDS_MAX];

	if (!fits(p, op, ids, id_count))
		return false;
	for (size_t i = 0; i < id_count; i++)
		index[i] = intern(p, &ids[i]);
	pk_buf_add_le32(&p->ops, (uint32_t)op->type);
	pk_buf_add_le32(&p->ops, (uint32_t)op->xid);
	pk_buf_add_le64(&p->ops, op->session_id);
	pk_buf_add_le64(&p->ops, op->gen);
	pk_buf_add_le64(&p->ops, op->origin);
	pk_buf_add_le64(&p->ops, op->seq);
	pk_buf_add_le16(&p->ops, (uint16_t)id_count);
	pk_buf_add_le32(&p->ops, (uint32_t)op->body.len);
	for (size_t i = 0; i < id_count; i++)
		pk_buf_add_le16(&p->ops, index[i]);
	pk_buf_add_bytes(&p->ops, op->body);
	p->op_count++;
	return true;
}

/* Over all of the entry but the checksum's own four bytes. */
static uint32_t checksum(struct pk_bytes entry)
{
	uint32_t crc = pk_crc32c(0, entry.data, CRC_AT);

	return pk_crc32c(crc, entry.data + CRC_AT + 4, entry.len - CRC_AT - 4);
}

struct pk_bytes txn_pack_finish(struct txn_pack *p, const struct txn_header *h)
{
	struct pk_buf *e = &p->entry;
	size_t bytes = txn_pack_bytes(p);

	PK_ASSERT(bytes <= TXN_ENTRY_BYTES_MAX);
	pk_buf_clear(e);
	pk_buf_add_le32(e, MAGIC);
	pk_buf_add_le32(e, FORMAT);
	pk_buf_add_le32(e, h->flags);
	pk_buf_add_le32(e, 0); /* the checksum */
	pk_buf_add_le64(e, h->cluster_id);
	pk_buf_add_le64(e, h->proposer_id);
	pk_buf_add_le64(e, h->term);
	pk_buf_add_le64(e, h->index);
	pk_buf_add_le64(e, (uint64_t)h->time_ms);
	pk_buf_add_le32(e, p->id_count);
	pk_buf_add_le32(e, p->op_count);
	pk_buf_add_le32(e, (uint32_t)bytes);
	pk_buf_add_le32(e, 0);
	PK_ASSERT(e->len == HEADER_BYTES);
	pk_buf_add_bytes(e, pk_buf_bytes(&p->ids));
	pk_buf_add_bytes(e, pk_buf_bytes(&p->ops));
	size_t pad = bytes - e->len;
	if (pad > 0)
		memset(pk_buf_grow(e, pad), 0, pad);
	pk_put_le32(e->data + CRC_AT, checksum(pk_buf_bytes(e)));
	return pk_buf_bytes(e);
}

/* ---- reading ---- */

static int open_ids(struct txn_entry *e, struct pk_err *err)
{
	if (e->id_count > TXN_IDS_MAX || e->id_count > e->rest.in.len / ID_BYTES_MIN)
		return pk_err_set(err, PK_ECORRUPT, "packed entry: %u identities in %zu bytes",
				  e->id_count, e->rest.in.len);
	if (e->id_count == 0)
		return 0;
	e->ids = pk_alloc(e->id_count * sizeof(*e->ids));
	for (uint32_t i = 0; i < e->id_count; i++) {
		size_t scheme_bytes = pk_rd_le16(&e->rest);
		size_t id_bytes = pk_rd_le32(&e->rest);

		e->ids[i].scheme = pk_rd_bytes(&e->rest, scheme_bytes);
		e->ids[i].id = pk_rd_bytes(&e->rest, id_bytes);
	}
	if (e->rest.bad)
		return pk_err_set(err, PK_ECORRUPT, "packed entry: identities pass the end");
	return 0;
}

int txn_entry_open(struct txn_entry *out, struct pk_bytes in, struct pk_err *err)
{
	struct txn_entry e = { .whole = in, .rest = { .in = in } };
	struct pk_rd *r = &e.rest;

	if (in.len < HEADER_BYTES || in.len > TXN_ENTRY_BYTES_MAX || in.len % 8 != 0)
		return pk_err_set(err, PK_ECORRUPT, "packed entry: %zu bytes", in.len);
	uint32_t magic = pk_rd_le32(r);
	uint32_t format = pk_rd_le32(r);
	if (magic != MAGIC)
		return pk_err_set(err, PK_ECORRUPT, "packed entry: magic %08x", magic);
	if (format != FORMAT)
		return pk_err_set(err, PK_ECORRUPT, "packed entry: format %u, want %u", format,
				  FORMAT);
	e.header.flags = pk_rd_le32(r);
	uint32_t crc = pk_rd_le32(r);
	e.header.cluster_id = pk_rd_le64(r);
	e.header.proposer_id = pk_rd_le64(r);
	e.header.term = pk_rd_le64(r);
	e.header.index = pk_rd_le64(r);
	e.header.time_ms = (int64_t)pk_rd_le64(r);
	e.id_count = pk_rd_le32(r);
	e.op_count = pk_rd_le32(r);
	uint32_t bytes = pk_rd_le32(r);
	uint32_t reserved = pk_rd_le32(r);
	PK_ASSERT(!r->bad);
	if (bytes != in.len || reserved != 0)
		return pk_err_set(err, PK_ECORRUPT, "packed entry: says %u bytes, has %zu", bytes,
				  in.len);
	if (crc != checksum(in))
		return pk_err_set(err, PK_ECORRUPT, "packed entry: checksum %08x, want %08x",
				  checksum(in), crc);
	if (e.op_count > TXN_OPS_MAX)
		return pk_err_set(err, PK_ECORRUPT, "packed entry: %u operations", e.op_count);
	int rc = open_ids(&e, err);
	if (rc != 0) {
		free(e.ids);
		return rc;
	}
	*out = e;
	return 0;
}

static int at_end(const struct txn_entry *e, struct pk_err *err)
{
	for (size_t i = 0; i < e->rest.in.len; i++) {
		if (e->rest.in.data[i] != 0 || i == 7)
			return pk_err_set(err, PK_ECORRUPT,
					  "packed entry: %zu bytes behind the last operation",
					  e->rest.in.len);
	}
	return 0;
}

int txn_entry_next(struct txn_entry *e, struct txn_op *op, struct pk_err *err)
{
	struct pk_rd *r = &e->rest;
	struct txn_op next = { 0 };

	if (e->op_next == e->op_count)
		return at_end(e, err);
	next.type = (int32_t)pk_rd_le32(r);
	next.xid = (int32_t)pk_rd_le32(r);
	next.session_id = pk_rd_le64(r);
	next.gen = pk_rd_le64(r);
	next.origin = pk_rd_le64(r);
	next.seq = pk_rd_le64(r);
	next.id_count = pk_rd_le16(r);
	size_t body_bytes = pk_rd_le32(r);
	if (r->bad || next.id_count > TXN_OP_IDS_MAX)
		return pk_err_set(err, PK_ECORRUPT, "packed entry: operation %u of %u: its head",
				  e->op_next, e->op_count);
	for (uint16_t i = 0; i < next.id_count; i++) {
		e->op_ids[i] = pk_rd_le16(r);
		if (e->op_ids[i] >= e->id_count)
			return pk_err_set(err, PK_ECORRUPT,
					  "packed entry: operation %u of %u: identity %u of %u",
					  e->op_next, e->op_count, e->op_ids[i], e->id_count);
	}
	next.ids = e->op_ids;
	next.body = pk_rd_bytes(r, body_bytes);
	if (r->bad)
		return pk_err_set(err, PK_ECORRUPT, "packed entry: operation %u of %u: its body",
				  e->op_next, e->op_count);
	e->op_next++;
	*op = next;
	return 1;
}

void txn_entry_release(struct txn_entry *e)
{
	free(e->ids);
	*e = (struct txn_entry){ 0 };
}
