#include "store/rlog_format.h"

#include <inttypes.h>

#include "base/crc.h"
#include "base/mutant.h"

enum {
	AT_VERSION = 8,
	AT_CRC = 12,
	AT_CLUSTER = 16,
	AT_SERVER = 24,
	AT_FIELDS = 32,
	BATCH_MAGIC = 0x68637442, /* "Btch" */
};
static const char meta_magic[9] = "pkr-meta";
static const char segment_magic[9] = "pkr-log.";
static const char manifest_magic[9] = "pkr-mani";

uint64_t rlog_align(uint64_t bytes, uint64_t to)
{
	return (bytes + to - 1) & ~(to - 1);
}

uint64_t rlog_salt(uint64_t key, uint64_t segment_number)
{
	/* one to one in the number: two segments of one directory never share a salt */
	uint64_t z = key + segment_number * 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return (z ^ (z >> 31)) ^ key;
}

static uint32_t head_crc(const uint8_t *head)
{
	static const uint8_t zero[4];
	uint32_t crc = pk_crc32c(0, head, AT_CRC);

	crc = pk_crc32c(crc, zero, sizeof(zero));
	return pk_crc32c(crc, head + AT_CRC + 4, RLOG_HEAD_BYTES - AT_CRC - 4);
}

static void head_begin(uint8_t *to, const char *magic, const struct rlog_owner *who)
{
	memset(to, 0, RLOG_HEAD_BYTES);
	memcpy(to, magic, 8);
	pk_put_le32(to + AT_VERSION, RLOG_VERSION);
	pk_put_le64(to + AT_CLUSTER, who->cluster_id);
	pk_put_le64(to + AT_SERVER, who->server_id);
}

static void head_end(uint8_t *to)
{
	pk_put_le32(to + AT_CRC, head_crc(to));
}

static int head_check(struct pk_bytes in, const char *magic, const struct rlog_owner *who,
		      struct pk_err *err)
{
	if (in.len < RLOG_HEAD_BYTES)
		return pk_err_set(err, PK_ECORRUPT, "header: want %d bytes, have %zu",
				  RLOG_HEAD_BYTES, in.len);
	if (memcmp(in.data, magic, 8) != 0)
		return pk_err_set(err, PK_ECORRUPT,
				  "offset 0: magic: want %016" PRIx64 ", found %016" PRIx64,
				  pk_get_be64((const uint8_t *)magic), pk_get_be64(in.data));
	uint32_t want = head_crc(in.data), found = pk_get_le32(in.data + AT_CRC);
	if (want != found && !MUTANT(head_checksum_ignored))
		return pk_err_set(err, PK_ECORRUPT,
				  "offset 0: header crc: want %08x for its bytes, found %08x", want,
				  found);
	uint32_t version = pk_get_le32(in.data + AT_VERSION);
	if (version != RLOG_VERSION)
		return pk_err_set(err, PK_ESTATE,
				  "format version %u, and this program reads version %d: it was "
				  "written by a %s program",
				  version, RLOG_VERSION,
				  version > RLOG_VERSION ? "newer" : "older");
	uint64_t cluster = pk_get_le64(in.data + AT_CLUSTER);
	uint64_t server = pk_get_le64(in.data + AT_SERVER);
	if (cluster != who->cluster_id)
		return pk_err_set(err, PK_ESTATE,
				  "belongs to cluster %016" PRIx64 ", and we are of %016" PRIx64,
				  cluster, who->cluster_id);
	if (server != who->server_id)
		return pk_err_set(err, PK_ESTATE,
				  "belongs to server %" PRIu64 ", and we are server %" PRIu64,
				  server, who->server_id);
	return 0;
}

void rlog_meta_encode(uint8_t *to, const struct rlog_owner *who, const struct rlog_meta *m)
{
	head_begin(to, meta_magic, who);
	pk_put_le64(to + AT_FIELDS, m->put);
	pk_put_le64(to + AT_FIELDS + 8, m->term);
	pk_put_le64(to + AT_FIELDS + 16, m->voted_for);
	pk_put_le64(to + AT_FIELDS + 24, m->key);
	pk_put_le32(to + AT_FIELDS + 32, m->log_created ? 1 : 0);
	head_end(to);
}

int rlog_meta_decode(struct rlog_meta *m, const struct rlog_owner *who, struct pk_bytes in,
		     struct pk_err *err)
{
	int rc = head_check(in, meta_magic, who, err);

	if (rc != 0)
		return rc;
	const uint8_t *at = in.data + AT_FIELDS;
	*m = (struct rlog_meta){
		.put = pk_get_le64(at),
		.term = pk_get_le64(at + 8),
		.voted_for = pk_get_le64(at + 16),
		.key = pk_get_le64(at + 24),
		.log_created = (pk_get_le32(at + 32) & 1) != 0,
	};
	return 0;
}

void rlog_segment_encode(uint8_t *to, const struct rlog_owner *who,
			 const struct rlog_segment_head *h)
{
	head_begin(to, segment_magic, who);
	pk_put_le64(to + AT_FIELDS, h->key);
	pk_put_le64(to + AT_FIELDS + 8, h->number);
	pk_put_le64(to + AT_FIELDS + 16, h->first_index);
	pk_put_le64(to + AT_FIELDS + 24, h->prev_term);
	pk_put_le64(to + AT_FIELDS + 32, h->first_batch);
	pk_put_le64(to + AT_FIELDS + 40, h->prev_end);
	pk_put_le32(to + AT_FIELDS + 48, h->chain);
	pk_put_le32(to + AT_FIELDS + 52, h->reset ? 1 : 0);
	head_end(to);
}

int rlog_segment_decode(struct rlog_segment_head *h, const struct rlog_owner *who,
			struct pk_bytes in, struct pk_err *err)
{
	int rc = head_check(in, segment_magic, who, err);

	if (rc != 0)
		return rc;
	const uint8_t *at = in.data + AT_FIELDS;
	*h = (struct rlog_segment_head){
		.key = pk_get_le64(at),
		.number = pk_get_le64(at + 8),
		.first_index = pk_get_le64(at + 16),
		.prev_term = pk_get_le64(at + 24),
		.first_batch = pk_get_le64(at + 32),
		.prev_end = pk_get_le64(at + 40),
		.chain = pk_get_le32(at + 48),
		.reset = (pk_get_le32(at + 52) & 1) != 0,
	};
	return 0;
}

void rlog_manifest_encode(uint8_t *to, const struct rlog_owner *who,
			  const struct rlog_manifest_head *h)
{
	head_begin(to, manifest_magic, who);
	pk_put_le64(to + AT_FIELDS, h->put);
	pk_put_le64(to + AT_FIELDS + 8, h->index);
	pk_put_le64(to + AT_FIELDS + 16, h->term);
	pk_put_le64(to + AT_FIELDS + 24, h->conf_index);
	pk_put_le64(to + AT_FIELDS + 32, h->first_segment);
	pk_put_le32(to + AT_FIELDS + 40, h->conf_bytes);
	pk_put_le32(to + AT_FIELDS + 44, h->payload_bytes);
	pk_put_le32(to + AT_FIELDS + 48, h->data_crc);
	head_end(to);
}

int rlog_manifest_decode(struct rlog_manifest_head *h, const struct rlog_owner *who,
			 struct pk_bytes in, struct pk_err *err)
{
	int rc = head_check(in, manifest_magic, who, err);

	if (rc != 0)
		return rc;
	const uint8_t *at = in.data + AT_FIELDS;
	*h = (struct rlog_manifest_head){
		.put = pk_get_le64(at),
		.index = pk_get_le64(at + 8),
		.term = pk_get_le64(at + 16),
		.conf_index = pk_get_le64(at + 24),
		.first_segment = pk_get_le64(at + 32),
		.conf_bytes = pk_get_le32(at + 40),
		.payload_bytes = pk_get_le32(at + 44),
		.data_crc = pk_get_le32(at + 48),
	};
	return 0;
}

void rlog_batch_encode(uint8_t *to, const struct rlog_batch *b)
{
	memset(to, 0, RLOG_BATCH_HEAD_BYTES);
	pk_put_le32(to, BATCH_MAGIC);
	pk_put_le64(to + 8, b->salt);
	pk_put_le64(to + 16, b->number);
	pk_put_le64(to + 24, b->offset);
	pk_put_le64(to + 32, b->bytes);
	pk_put_le64(to + 40, b->span);
	pk_put_le32(to + 48, b->count);
	pk_put_le32(to + 52, b->chain);
	pk_put_le32(to + 56, b->chain_end);
	pk_put_le32(to + 4, pk_crc32c(0, to + 8, RLOG_BATCH_HEAD_BYTES - 8));
}

bool rlog_batch_decode(struct rlog_batch *b, const uint8_t *from)
{
	if (pk_get_le32(from) != BATCH_MAGIC ||
	    (pk_get_le32(from + 4) != pk_crc32c(0, from + 8, RLOG_BATCH_HEAD_BYTES - 8) &&
	     !MUTANT(batch_checksum_ignored)))
		return false;
	*b = (struct rlog_batch){
		.salt = pk_get_le64(from + 8),
		.number = pk_get_le64(from + 16),
		.offset = pk_get_le64(from + 24),
		.bytes = pk_get_le64(from + 32),
		.span = pk_get_le64(from + 40),
		.count = pk_get_le32(from + 48),
		.chain = pk_get_le32(from + 52),
		.chain_end = pk_get_le32(from + 56),
	};
	return true;
}

uint32_t rlog_record_add(struct pk_buf *to, const struct rlog_record_head *h,
			 struct pk_bytes payload)
{
	PK_ASSERT(h->bytes == payload.len);
	size_t padded = (size_t)rlog_align(payload.len, 8);
	uint8_t *at = pk_buf_grow(to, RLOG_RECORD_HEAD_BYTES + padded);

	pk_put_le32(at, h->bytes);
	pk_put_le16(at + 4, h->type);
	pk_put_le16(at + 6, h->kind);
	pk_put_le64(at + 8, h->term);
	pk_put_le64(at + 16, h->index);
	pk_put_le32(at + 24, h->chain);
	if (payload.len > 0)
		memcpy(at + RLOG_RECORD_HEAD_BYTES, payload.data, payload.len);
	memset(at + RLOG_RECORD_HEAD_BYTES + payload.len, 0, padded - payload.len);

	uint32_t crc = pk_crc32c(0, at, RLOG_RECORD_HEAD_BYTES - 4);
	crc = pk_crc32c(crc, payload.data, payload.len);
	pk_put_le32(at + 28, crc);
	return crc;
}

static struct rlog_record_head record_head(const uint8_t *at)
{
	return (struct rlog_record_head){
		.bytes = pk_get_le32(at),
		.type = pk_get_le16(at + 4),
		.kind = pk_get_le16(at + 6),
		.term = pk_get_le64(at + 8),
		.index = pk_get_le64(at + 16),
		.chain = pk_get_le32(at + 24),
		.crc = pk_get_le32(at + 28),
	};
}

static void record_pass(struct pk_bytes *in, uint32_t bytes, struct pk_bytes *payload)
{
	size_t padded = (size_t)rlog_align(bytes, 8);

	PK_ASSERT(in->len >= RLOG_RECORD_HEAD_BYTES && in->len - RLOG_RECORD_HEAD_BYTES >= padded);
	*payload = pk_bytes(in->data + RLOG_RECORD_HEAD_BYTES, bytes);
	in->data += RLOG_RECORD_HEAD_BYTES + padded;
	in->len -= RLOG_RECORD_HEAD_BYTES + padded;
}

int rlog_record_take(struct pk_bytes *in, struct rlog_record_head *h, struct pk_bytes *payload,
		     struct pk_err *err)
{
	if (in->len < RLOG_RECORD_HEAD_BYTES)
		return pk_err_set(err, PK_ECORRUPT, "record header: want %d bytes, have %zu",
				  RLOG_RECORD_HEAD_BYTES, in->len);
	const uint8_t *at = in->data;
	struct rlog_record_head found = record_head(at);
	if (rlog_align(found.bytes, 8) > in->len - RLOG_RECORD_HEAD_BYTES)
		return pk_err_set(err, PK_ECORRUPT,
				  "record length: want at most %zu bytes, found %u",
				  in->len - RLOG_RECORD_HEAD_BYTES, found.bytes);
	uint32_t crc = pk_crc32c(0, at, RLOG_RECORD_HEAD_BYTES - 4);
	crc = pk_crc32c(crc, at + RLOG_RECORD_HEAD_BYTES, found.bytes);
	if (crc != found.crc && !MUTANT(record_checksum_ignored))
		return pk_err_set(err, PK_ECORRUPT,
				  "record crc: want %08x for its bytes, found %08x", crc,
				  found.crc);
	*h = found;
	record_pass(in, found.bytes, payload);
	return 0;
}

void rlog_record_again(struct pk_bytes *in, struct rlog_record_head *h, struct pk_bytes *payload)
{
	PK_ASSERT(in->len >= RLOG_RECORD_HEAD_BYTES);
	*h = record_head(in->data);
	record_pass(in, h->bytes, payload);
}
