/*
 * tests/fuzz/fuzz_peer_greet.c - the bytes of a peer: what decodes encodes to the same bytes, and
 * no answer of a peer's makes a server that asks found or join by itself.
 */
#include "store/peer_greet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void greet(const uint8_t *in)
{
	struct pk_err err = PK_ERR_INIT;
	uint8_t again[PEER_HELLO_BYTES];
	struct peer_hello h;

	if (peer_hello_decode(&h, in, &err) != 0)
		return;
	peer_hello_encode(again, &h);
	PK_ASSERT(memcmp(in, again, sizeof(again)) == 0);
}

static void frames(struct pk_bytes in)
{
	struct pk_err err = PK_ERR_INIT;
	uint8_t head[PEER_FRAME_HEAD_BYTES], type;
	struct pk_bytes body;

	while (peer_frame_decode(in, &type, &body, &err) == 1) {
		PK_ASSERT(body.len + sizeof(head) <= in.len);
		peer_frame_head(head, type, body.len);
		PK_ASSERT(memcmp(head, in.data, sizeof(head)) == 0);
		in = pk_bytes(body.data + body.len, in.len - sizeof(head) - body.len);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct raft_member members[3] = { { .id = 1, .role = RAFT_NODE_VOTER },
					  { .id = 2, .role = RAFT_NODE_VOTER },
					  { .id = 3, .role = RAFT_NODE_VOTER } };
	struct pk_err err = PK_ERR_INIT;
	struct found f;

	if (size >= PEER_HELLO_BYTES)
		greet(data);
	frames(pk_bytes(data, size));
	found_init(&f, 1, 1, members, 3, 0, false);
	for (uint64_t from = 2; size >= PEER_WELCOME_BYTES; from = from == 2 ? 3 : 2) {
		uint8_t again[PEER_WELCOME_BYTES];
		struct found_answer a;

		if (peer_welcome_decode(&a, data, &err) == 0) {
			peer_welcome_encode(again, &a);
			PK_ASSERT(memcmp(data, again, sizeof(again)) == 0);
			pk_ignore(found_peer(&f, from, &a), "the verdict is looked at");
			PK_ASSERT(found_verdict(&f) != FOUND_NEW); /* it may not found */
			PK_ASSERT(found_verdict(&f) == FOUND_WAIT || found_term(&f) > 0);
		}
		data += PEER_WELCOME_BYTES;
		size -= PEER_WELCOME_BYTES;
	}
	return 0;
}
