/*
 * tests/fuzz/fuzz_raft_msg.c - the input as a Raft message from a peer: refused with a text, or
 * taken, and then what is encoded from it is what came in. Also as a membership.
 */
#include "store/raft_msg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_message(struct pk_bytes in)
{
	struct raft_message m;
	struct raft_msg_head head;
	struct pk_err err = PK_ERR_INIT;
	struct pk_buf out = PK_BUF_INIT;

	if (raft_msg_decode(&m, &head, in, &err) != 0) {
		PK_ASSERT(err.code == PK_EPROTO && err.text[0] != 0);
		return;
	}
	struct raft_message again = m;
	again.server_id = head.to_id;
	raft_msg_encode(&out, head.from_id, head.address, &again, SIZE_MAX);
	/* a membership's padding is free, so only its length is compared */
	PK_ASSERT(m.type == RAFT_IO_INSTALL_SNAPSHOT || pk_bytes_eq(in, pk_buf_bytes(&out)));
	pk_buf_release(&out);
	raft_msg_release(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct raft_configuration conf;
	struct pk_err err = PK_ERR_INIT;
	struct pk_buf out = PK_BUF_INIT;

	check_message(pk_bytes(data, size));
	if (raft_conf_decode(&conf, pk_bytes(data, size), &err) == 0) {
		raft_conf_encode(&conf, &out);
		PK_ASSERT(out.len < size + 8);
		pk_buf_release(&out);
		raft_configuration_close(&conf);
	}
	return 0;
}
