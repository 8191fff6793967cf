/*
 * tests/fuzz/fuzz_peer_greet.c - the first bytes of a peer: what decodes encodes to the same bytes,
 * and no answer of a peer's makes a server that asks found or join by itself.
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct raft_member members[3] = { { .id = 1, .role = RAFT_NODE_VOTER },
					  { .id = 2, .role = RAFT_NODE_VOTER },
					  { .id = 3, .role = RAFT_NODE_VOTER } };
	struct pk_err err = PK_ERR_INIT;
	struct found f;

	if (size >= PEER_HELLO_BYTES)
		greet(data);
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
