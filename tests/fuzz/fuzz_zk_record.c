/*
 * tests/fuzz/fuzz_zk_record.c - the first byte chooses a record of records.tbl, the rest is its
 * encoding. What decodes must encode to bytes that decode to the same bytes again, and its vectors
 * must walk.
 */
#include "zkproto/record.h"

#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void walk_ACLS(struct zk_acls v)
{
	struct zk_acl acl;

	while (zk_acls_next(&v, &acl))
		PK_ASSERT(acl.scheme.data != NULL || acl.scheme.len == 0);
	PK_ASSERT(v.raw.len == 0);
}

static void walk_STRINGS(struct zk_strings v)
{
	struct pk_bytes s;

	while (zk_strings_next(&v, &s))
		PK_ASSERT(s.data != NULL || s.len == 0);
	PK_ASSERT(v.raw.len == 0);
}

static void walk_IDS(struct zk_ids v)
{
	struct zk_id id;

	while (zk_ids_next(&v, &id))
		PK_ASSERT(id.id.data != NULL || id.id.len == 0);
	PK_ASSERT(v.raw.len == 0);
}

#define walk_INT(v)     (void)(v)
#define walk_LONG(v)    (void)(v)
#define walk_BOOL(v)    (void)(v)
#define walk_STAT(v)    (void)(v)
#define walk_BUFFER(v)  PK_ASSERT((v).data != NULL || (v).len == 0)
#define walk_USTRING(v) PK_ASSERT((v).data != NULL || (v).len == 0)

#define F(type, name) walk_##type(out.name);
#define O(name)       PK_ASSERT(out.has_##name || !out.name);
#define RECORD(record, fields)                                                                     \
	static void try_##record(struct zk_rd r)                                                   \
	{                                                                                          \
		struct zk_##record out, again;                                                     \
		struct pk_buf once = PK_BUF_INIT, twice = PK_BUF_INIT;                             \
                                                                                                   \
		if (zk_##record##_decode(&r, &out) != 0)                                           \
			return;                                                                    \
		fields zk_##record##_encode(&once, &out);                                          \
		struct zk_rd back = zk_rd(pk_buf_bytes(&once));                                    \
		PK_ASSERT(zk_##record##_decode(&back, &again) == 0 && back.in.len == 0);           \
		zk_##record##_encode(&twice, &again);                                              \
		PK_ASSERT(pk_bytes_eq(pk_buf_bytes(&once), pk_buf_bytes(&twice)));                 \
		pk_buf_release(&once);                                                             \
		pk_buf_release(&twice);                                                            \
	}
#include "zkproto/records.tbl"
#undef RECORD
#undef O
#undef F

static void (*const tries[])(struct zk_rd r) = {
#define F(type, name)
#define O(name)
#define RECORD(record, fields) try_##record,
#include "zkproto/records.tbl"
#undef RECORD
#undef O
#undef F
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	/* A copy of its own, so that a read behind the end is seen. */
	uint8_t *copy = pk_memdup(data + 1, size - 1);
	tries[data[0] % PK_COUNT(tries)](zk_rd(pk_bytes(copy, size - 1)));
	free(copy);
	return 0;
}
