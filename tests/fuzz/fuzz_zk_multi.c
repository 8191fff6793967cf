/*
 * tests/fuzz/fuzz_zk_multi.c - the input as a multi request and as a multi reply; a request that
 * decodes must come out the same when its bodies are put together again.
 */
#include "zkproto/multi.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct zk_rd r = zk_rd(pk_bytes(data, size));
	struct zk_multi_op op = ZK_MULTI_OP_INIT, again = ZK_MULTI_OP_INIT;
	struct zk_multi_result result;
	struct pk_buf b = PK_BUF_INIT;
	uint32_t count = 0;
	int rc;

	while ((rc = zk_multi_next(&r, &op)) == 1) {
		PK_ASSERT(op.index == count++);
		zk_multi_op_header(&b, op.type);
		pk_buf_add_bytes(&b, op.body);
	}
	if (rc == 0) {
		zk_multi_end(&b);
		r = zk_rd(pk_buf_bytes(&b));
		for (uint32_t i = 0; i < count; i++)
			PK_ASSERT(zk_multi_next(&r, &again) == 1);
		PK_ASSERT(zk_multi_next(&r, &again) == 0 && r.in.len == 0);
	}
	pk_buf_release(&b);

	r = zk_rd(pk_bytes(data, size));
	while ((rc = zk_multi_result_next(&r, &result)) == 1)
		PK_ASSERT(result.type == ZK_OP_ERROR || result.err == 0);
	return 0;
}
