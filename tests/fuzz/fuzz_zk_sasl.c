/*
 * tests/fuzz/fuzz_zk_sasl.c - the input as the challenge of a DIGEST-MD5 exchange, and again as the
 * server's proof: whatever it is, it is answered or refused, and a proof is never right by chance.
 */
#include "zkproto/sasl_digest_io.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pk_err err = PK_ERR_INIT;
	struct zkc_sasl_digest *d = zkc_sasl_digest_new("bob", "secret", &err);
	struct pk_buf out = PK_BUF_INIT;

	PK_ASSERT(d != NULL);
	PK_ASSERT(zkc_sasl_digest_ops.start(d, 0, &out) == 1);
	int rc = zkc_sasl_digest_ops.step(d, pk_bytes(data, size), &out);
	PK_ASSERT(rc == 1 || rc < 0);
	PK_ASSERT((rc == 1) == (out.len > 0));
	if (rc == 1)
		PK_ASSERT(zkc_sasl_digest_ops.step(d, pk_bytes(data, size), &out) < 0);
	pk_buf_release(&out);
	zkc_sasl_digest_free(d);
	return 0;
}
