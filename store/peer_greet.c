#include "store/peer_greet.h"

#define MAGIC 0x4b444150u /* "PADK" */

enum { BIT_DATA = 1, BIT_FOUNDED = 2, BIT_COUNTED = 4, BITS_ALL = 7 };

void peer_hello_encode(uint8_t to[PEER_HELLO_BYTES], const struct peer_hello *h)
{
	pk_put_le32(to, MAGIC);
	pk_put_le32(to + 4, PEER_VERSION);
	pk_put_le64(to + 8, h->cluster_id);
	pk_put_le64(to + 16, h->from_id);
	pk_put_le64(to + 24, h->to_id);
	pk_put_le64(to + 32, h->life);
}

int peer_hello_decode(struct peer_hello *h, const uint8_t in[PEER_HELLO_BYTES], struct pk_err *err)
{
	struct pk_rd r = { .in = pk_bytes(in, PEER_HELLO_BYTES) };

	if (pk_rd_le32(&r) != MAGIC)
		return pk_err_set(err, PK_EPROTO, "it does not speak the peer protocol");
	uint32_t version = pk_rd_le32(&r);
	if (version != PEER_VERSION)
		return pk_err_set(err, PK_EPROTO,
				  "it speaks version %u of the peer protocol, we %d", version,
				  PEER_VERSION);
	h->cluster_id = pk_rd_le64(&r);
	h->from_id = pk_rd_le64(&r);
	h->to_id = pk_rd_le64(&r);
	h->life = pk_rd_le64(&r);
	return 0;
}

void peer_welcome_encode(uint8_t to[PEER_WELCOME_BYTES], const struct found_answer *a)
{
	to[0] = PEER_VERSION;
	to[1] = (uint8_t)((a->has_data ? BIT_DATA : 0) | (a->founded ? BIT_FOUNDED : 0) |
			  (a->counted ? BIT_COUNTED : 0));
	pk_put_le64(to + 2, a->members_hash);
	pk_put_le64(to + 10, a->life);
	pk_put_le64(to + 18, a->term);
	to[26] = a->terms_needed;
}

int peer_welcome_decode(struct found_answer *a, const uint8_t in[PEER_WELCOME_BYTES],
			struct pk_err *err)
{
	if (in[0] != PEER_VERSION || in[1] > BITS_ALL)
		return pk_err_set(err, PK_EPROTO,
				  "its welcome is of another version of the peer protocol");
	*a = (struct found_answer){ .has_data = (in[1] & BIT_DATA) != 0,
				    .founded = (in[1] & BIT_FOUNDED) != 0,
				    .counted = (in[1] & BIT_COUNTED) != 0,
				    .members_hash = pk_get_le64(in + 2),
				    .life = pk_get_le64(in + 10),
				    .term = pk_get_le64(in + 18),
				    .terms_needed = in[26] };
	if (a->founded != (a->term != 0) || (!a->founded && (a->counted || a->terms_needed != 0)) ||
	    a->terms_needed > RAFT_NODE_MEMBERS_MAX)
		return pk_err_set(err, PK_EPROTO, "its welcome contradicts itself");
	return 0;
}

void peer_frame_head(uint8_t to[PEER_FRAME_HEAD_BYTES], uint8_t type, size_t bytes)
{
	PK_ASSERT(bytes <= PEER_FRAME_BYTES_MAX);
	pk_put_le32(to, (uint32_t)bytes);
	to[4] = type;
}

int peer_frame_decode(struct pk_bytes in, uint8_t *type, struct pk_bytes *body, struct pk_err *err)
{
	if (in.len < PEER_FRAME_HEAD_BYTES)
		return 0;
	uint32_t len = pk_get_le32(in.data);
	if (len > PEER_FRAME_BYTES_MAX)
		return pk_err_set(err, PK_EPROTO, "a frame of %u bytes, at most %u may come", len,
				  PEER_FRAME_BYTES_MAX);
	if (in.len - PEER_FRAME_HEAD_BYTES < len)
		return 0;
	*type = in.data[4];
	*body = pk_bytes(in.data + PEER_FRAME_HEAD_BYTES, len);
	return 1;
}
