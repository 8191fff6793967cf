/*
 * tests/fuzz/fuzz_txn.c - the input as a packed entry, as it is and with its checksum and length
 * made good, so that what lies behind them is reached. What opens and reads to its end must come
 * out the same when it is packed again.
 */
#include "base/crc.h"
#include "base/mem.h"
#include "store/txn.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void again(const struct txn_header *h, struct txn_pack *p, size_t ops)
{
	struct txn_entry e;
	struct txn_op op;
	struct pk_err err = PK_ERR_INIT;
	size_t count = 0;

	PK_ASSERT(txn_entry_open(&e, txn_pack_finish(p, h), &err) == 0);
	PK_ASSERT(e.header.index == h->index && e.header.time_ms == h->time_ms);
	while (txn_entry_next(&e, &op, &err) == 1)
		count++;
	PK_ASSERT(count == ops && err.code == 0);
	txn_entry_release(&e);
}

static void read_all(struct pk_bytes in)
{
	struct txn_pack *p = txn_pack_new();
	struct txn_id ids[TXN_OP_IDS_MAX];
	struct txn_entry e;
	struct txn_op op;
	struct pk_err err = PK_ERR_INIT;
	size_t ops = 0;
	int rc = txn_entry_open(&e, in, &err);

	if (rc == 0) {
		while ((rc = txn_entry_next(&e, &op, &err)) == 1) {
			for (size_t i = 0; i < op.id_count; i++)
				ids[i] = e.ids[op.ids[i]];
			PK_ASSERT(txn_pack_add(p, &op, ids, op.id_count));
			ops++;
		}
		if (rc == 0)
			again(&e.header, p, ops);
		txn_entry_release(&e);
	}
	PK_ASSERT(rc == 0 || (rc == PK_ECORRUPT && err.text[0] != '\0'));
	txn_pack_free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	read_all(pk_bytes(data, size));
	if (size < 72)
		return 0;
	uint8_t *copy = pk_memdup(data, size);
	size &= ~(size_t)7;
	memcpy(copy, "PTXN\1\0\0\0", 8);
	pk_put_le32(copy + 64, (uint32_t)size);
	pk_put_le32(copy + 68, 0);
	pk_put_le32(copy + 12, pk_crc32c(pk_crc32c(0, copy, 12), copy + 16, size - 16));
	read_all(pk_bytes(copy, size));
	free(copy);
	return 0;
}
