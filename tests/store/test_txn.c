#include "tests/lib/test.h"

#include <stdlib.h>

#include "base/crc.h"
#include "base/mem.h"
#include "store/txn.h"

static const struct txn_id alice[] = {
	{ { (const uint8_t *)"ip", 2 }, { (const uint8_t *)"10.0.0.1", 8 } },
	{ { (const uint8_t *)"digest", 6 }, { (const uint8_t *)"a:b", 3 } }
};

static struct txn_op make(int32_t xid, const char *body)
{
	return (struct txn_op){ .type = 1,
				.xid = xid,
				.session_id = 0xfedcba9876543210u,
				.gen = 3,
				.origin = 2,
				.seq = 99,
				.body = pk_bytes_str(body) };
}

static const struct txn_header header = { .cluster_id = 1,
					  .proposer_id = 2,
					  .term = 3,
					  .index = 4,
					  .time_ms = -5,
					  .flags = TXN_SKIP_ACL };

static struct pk_buf packed(size_t ops)
{
	struct txn_pack *p = txn_pack_new();
	struct pk_buf copy = PK_BUF_INIT;

	for (size_t i = 0; i < ops; i++) {
		struct txn_op op = make((int32_t)i, "body");
		assert_true(txn_pack_add(p, &op, alice, i % 3));
	}
	pk_buf_add_bytes(&copy, txn_pack_finish(p, &header));
	txn_pack_free(p);
	return copy;
}

static int walk(struct pk_bytes in, size_t *ops)
{
	struct txn_entry e;
	struct txn_op op;
	struct pk_err err = PK_ERR_INIT;
	int rc = txn_entry_open(&e, in, &err);

	*ops = 0;
	if (rc != 0)
		return rc;
	while ((rc = txn_entry_next(&e, &op, &err)) == 1)
		++*ops;
	txn_entry_release(&e);
	return rc;
}

static void test_what_is_packed_is_read_back(void **state)
{
	struct pk_buf b = packed(3);
	struct txn_entry e;
	struct txn_op op;
	struct pk_err err = PK_ERR_INIT;

	(void)state;
	assert_int_equal(b.len % 8, 0);
	assert_int_equal(txn_entry_open(&e, pk_buf_bytes(&b), &err), 0);
	assert_memory_equal(&e.header, &header, sizeof(header));
	assert_int_equal(e.op_count, 3);
	assert_int_equal(e.id_count, 2);
	for (int32_t i = 0; i < 3; i++) {
		assert_int_equal(txn_entry_next(&e, &op, &err), 1);
		assert_int_equal(op.xid, i);
		assert_int_equal(op.type, 1);
		assert_true(op.session_id == 0xfedcba9876543210u);
		assert_int_equal(op.gen, 3);
		assert_int_equal(op.origin, 2);
		assert_int_equal(op.seq, 99);
		assert_true(pk_bytes_is(op.body, "body"));
		assert_int_equal(op.id_count, i);
		for (int32_t k = 0; k < i; k++)
			assert_true(pk_bytes_eq(e.ids[op.ids[k]].id, alice[k].id));
	}
	assert_int_equal(txn_entry_next(&e, &op, &err), 0);
	txn_entry_release(&e);
	pk_buf_release(&b);
}

static void test_identities_are_in_an_entry_once(void **state)
{
	struct txn_pack *p = txn_pack_new();
	struct txn_op op = make(1, "");
	struct txn_entry e;
	struct pk_err err = PK_ERR_INIT;

	(void)state;
	for (int i = 0; i < 100; i++)
		assert_true(txn_pack_add(p, &op, alice, 2));
	assert_int_equal(txn_pack_count(p), 100);
	struct pk_bytes entry = txn_pack_finish(p, &header);
	assert_int_equal(entry.len, txn_pack_bytes(p));
	assert_int_equal(txn_entry_open(&e, entry, &err), 0);
	assert_int_equal(e.id_count, 2);
	txn_entry_release(&e);
	txn_pack_free(p);
}

static void test_scheme_and_id_do_not_run_together(void **state)
{
	static const struct txn_id ids[] = {
		{ { (const uint8_t *)"ab", 2 }, { (const uint8_t *)"c", 1 } },
		{ { (const uint8_t *)"a", 1 }, { (const uint8_t *)"bc", 2 } }
	};
	struct txn_pack *p = txn_pack_new();
	struct txn_op op = make(1, "");
	struct txn_entry e;
	struct pk_err err = PK_ERR_INIT;

	(void)state;
	assert_true(txn_pack_add(p, &op, ids, 2));
	assert_int_equal(txn_entry_open(&e, txn_pack_finish(p, &header), &err), 0);
	assert_int_equal(e.id_count, 2);
	txn_entry_release(&e);
	txn_pack_free(p);
}

static void test_a_cleared_pack_starts_over(void **state)
{
	struct txn_pack *p = txn_pack_new();
	struct txn_op op = make(1, "x");
	size_t ops;

	(void)state;
	assert_true(txn_pack_add(p, &op, alice, 2));
	txn_pack_clear(p);
	assert_int_equal(txn_pack_count(p), 0);
	assert_int_equal(walk(txn_pack_finish(p, &header), &ops), 0);
	assert_int_equal(ops, 0);
	txn_pack_free(p);
}

static void test_an_entry_has_a_bound_on_bytes(void **state)
{
	struct txn_pack *p = txn_pack_new();
	uint8_t *body = pk_alloc(1 << 20);
	struct txn_op op = make(1, "");
	size_t ops, added = 0;

	(void)state;
	op.body = pk_bytes(body, 1 << 20);
	while (txn_pack_add(p, &op, alice, 1))
		added++;
	assert_int_equal(added, 63);
	struct pk_bytes entry = txn_pack_finish(p, &header);
	assert_true(entry.len <= TXN_ENTRY_BYTES_MAX);
	assert_int_equal(walk(entry, &ops), 0);
	assert_int_equal(ops, added);
	free(body);
	txn_pack_free(p);
}

static void test_an_entry_has_a_bound_on_operations_and_identities(void **state)
{
	struct txn_pack *p = txn_pack_new();
	struct txn_op op = make(1, "");
	struct txn_id many[TXN_OP_IDS_MAX + 1];
	size_t added = 0;

	(void)state;
	for (size_t i = 0; i < PK_COUNT(many); i++)
		many[i] = alice[0];
	assert_false(txn_pack_add(p, &op, many, TXN_OP_IDS_MAX + 1));
	assert_true(txn_pack_add(p, &op, many, TXN_OP_IDS_MAX));
	while (txn_pack_add(p, &op, NULL, 0))
		added++;
	assert_int_equal(added + 1, TXN_OPS_MAX);
	txn_pack_free(p);
}

static void test_any_changed_bit_is_found(void **state)
{
	struct pk_buf b = packed(3);
	size_t ops;

	(void)state;
	for (size_t i = 0; i < b.len * 8; i++) {
		b.data[i / 8] ^= (uint8_t)(1 << i % 8);
		assert_int_equal(walk(pk_buf_bytes(&b), &ops), PK_ECORRUPT);
		b.data[i / 8] ^= (uint8_t)(1 << i % 8);
	}
	pk_buf_release(&b);
}

static void test_a_cut_entry_is_corrupt(void **state)
{
	struct pk_buf b = packed(3);
	size_t ops;

	(void)state;
	for (size_t len = 0; len < b.len; len++)
		assert_int_equal(walk(pk_bytes(b.data, len), &ops), PK_ECORRUPT);
	pk_buf_release(&b);
}

/* Bytes that lie about themselves and have a good checksum. */
static void resign(struct pk_buf *b)
{
	uint32_t crc = pk_crc32c(0, b->data, 12);

	pk_put_le32(b->data + 12, pk_crc32c(crc, b->data + 16, b->len - 16));
}

static void test_lying_counts_are_corrupt(void **state)
{
	static const size_t fields[] = { 56, 60, 64 }; /* identities, operations, bytes */
	static const uint32_t lies[] = { 1, 4, 65535, 65536, 0xffffffffu };
	size_t ops;

	(void)state;
	for (size_t i = 0; i < PK_COUNT(fields); i++) {
		for (size_t k = 0; k < PK_COUNT(lies); k++) {
			struct pk_buf b = packed(3);

			pk_put_le32(b.data + fields[i], lies[k]);
			resign(&b);
			assert_int_equal(walk(pk_buf_bytes(&b), &ops), PK_ECORRUPT);
			pk_buf_release(&b);
		}
	}
}

static void test_an_identity_out_of_range_is_corrupt(void **state)
{
	struct txn_pack *p = txn_pack_new();
	struct txn_op op = make(1, "");
	struct pk_buf b = PK_BUF_INIT;
	size_t ops;

	(void)state;
	assert_true(txn_pack_add(p, &op, alice, 1));
	pk_buf_add_bytes(&b, txn_pack_finish(p, &header));
	txn_pack_free(p);
	size_t at = 72 + 6 + 2 + 8 + 46; /* head, the identity, the operation's head */
	assert_int_equal(pk_get_le16(b.data + at), 0);
	pk_put_le16(b.data + at, 1);
	resign(&b);
	assert_int_equal(walk(pk_buf_bytes(&b), &ops), PK_ECORRUPT);
	pk_buf_release(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_packed_is_read_back),
		cmocka_unit_test(test_identities_are_in_an_entry_once),
		cmocka_unit_test(test_scheme_and_id_do_not_run_together),
		cmocka_unit_test(test_a_cleared_pack_starts_over),
		cmocka_unit_test(test_an_entry_has_a_bound_on_bytes),
		cmocka_unit_test(test_an_entry_has_a_bound_on_operations_and_identities),
		cmocka_unit_test(test_any_changed_bit_is_found),
		cmocka_unit_test(test_a_cut_entry_is_corrupt),
		cmocka_unit_test(test_lying_counts_are_corrupt),
		cmocka_unit_test(test_an_identity_out_of_range_is_corrupt),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
