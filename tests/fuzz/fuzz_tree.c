/*
 * tests/fuzz/fuzz_tree.c - the input as a row of operations on an empty tree: one byte says which,
 * one who, two (little-endian) how long the body is. Whatever the bodies are, no assertion trips,
 * and tree_check finds a whole tree in the end, also after it was opened again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/tree.h"
#include "zkproto/zk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const int32_t writes[] = {
	ZK_OP_CREATE,
	ZK_OP_CREATE2,
	ZK_OP_CREATE_CONTAINER,
	ZK_OP_CREATE_TTL,
	ZK_OP_DELETE,
	ZK_OP_SET_DATA,
	ZK_OP_SET_ACL,
	ZK_OP_CHECK,
	ZK_OP_MULTI,
	ZK_OP_DELETE_CONTAINER,
	ZK_OP_CREATE_SESSION,
	ZK_OP_CLOSE_SESSION,
	ZK_OP_RECONFIG,
	TXN_ATTACH,
	TXN_EPOCH,
	TXN_SYNC,
	TXN_DIGEST,
	TXN_CONFIG,
	TXN_EXPIRE,
	4711,
};
static const int32_t reads[] = {
	ZK_OP_EXISTS,
	ZK_OP_GET_DATA,
	ZK_OP_GET_ACL,
	ZK_OP_GET_CHILDREN,
	ZK_OP_GET_CHILDREN2,
	ZK_OP_GET_EPHEMERALS,
	ZK_OP_GET_ALL_CHILDREN_NUMBER,
	ZK_OP_MULTI_READ,
	4711,
};
static const uint64_t sessions[] = { 0, 1, 2, 0xff00000000000001u };

static const struct txn_id ids[] = {
	{ { (const uint8_t *)"ip", 2 }, { (const uint8_t *)"127.0.0.1", 9 } },
	{ { (const uint8_t *)"digest", 6 }, { (const uint8_t *)"u:h", 3 } },
	{ { (const uint8_t *)"super", 5 }, { (const uint8_t *)"", 0 } }
};
static const uint16_t index_of[] = { 0, 1, 2 };

static char dir[] = "/tmp/fuzz_tree.XXXXXX";

static void open_all(struct kv **kv, struct tree **t)
{
	struct kv_config cfg = {
		.dir = dir, .map_bytes = 1 << 20, .map_bytes_most = 1 << 28, .sync = false
	};
	struct tree_config tree_cfg = { .path_depth_max = 64 };
	struct pk_err err = PK_ERR_INIT;

	PK_ASSERT(kv_open(kv, &cfg, &err) == 0);
	PK_ASSERT(tree_open(t, *kv, &tree_cfg, &err) == 0);
}

static void count(void *arg, const struct tree_removal *r)
{
	*(size_t *)arg += r->path.len;
}

static void one(struct tree *t, uint8_t what, uint8_t who, struct pk_bytes body, uint64_t index)
{
	static struct tree_result r;
	static struct pk_buf out;
	struct tree_read read = { .out = &out };
	size_t seen = 0;
	uint64_t session = sessions[who % PK_COUNT(sessions)];
	uint16_t id_count = (uint16_t)(who >> 2 & 3);

	if (what >= 128) {
		pk_buf_clear(&out);
		tree_read(t, reads[what % PK_COUNT(reads)], body, session, ids, id_count,
			  who >= 128, 4096, &read);
		PK_ASSERT(out.len <= 4096 && (read.err == 0 || out.len == 0));
		tree_expired_nodes(t, 1000000, 1, 4, count, &seen);
		return;
	}
	struct txn_header h = { .index = index, .time_ms = (int64_t)index, .flags = who >> 3 };
	struct txn_op op = { .type = writes[what % PK_COUNT(writes)],
			     .session_id = session,
			     .gen = who >= 240 ? TXN_GEN_LOCAL : 1u + (who >= 224),
			     .ids = index_of,
			     .id_count = id_count,
			     .body = body };
	PK_ASSERT(tree_entry_begin(t, &h, index, 1));
	tree_apply(t, &op, ids, &r);
	tree_entry_end(t);
	PK_ASSERT(r.err == 0 || (r.body.len == 0 && r.event_count == 0));
}

static void remove_all(void)
{
	static const char *const names[] = { "data.mdb", "lock.mdb", "lock" };
	char path[64];

	for (size_t i = 0; i < PK_COUNT(names); i++) {
		pk_ignore(snprintf(path, sizeof(path), "%s/%s", dir, names[i]), "it fits");
		pk_ignore(unlink(path), "left over at worst");
	}
	pk_ignore(rmdir(dir), "left over at worst");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pk_rd in = { .in = pk_bytes(data, size) };
	struct kv *kv;
	struct tree *t;
	uint64_t index = 0;

	if (dir[sizeof(dir) - 2] == 'X') {
		PK_ASSERT(mkdtemp(dir) != NULL);
		PK_ASSERT(atexit(remove_all) == 0);
	}
	open_all(&kv, &t);
	one(t, 10, 1, pk_bytes("\0\x10\0\0passwordpassword", 20), ++index);
	while (in.in.len >= 4) {
		uint8_t what = pk_rd_u8(&in), who = pk_rd_u8(&in);
		size_t bytes = pk_rd_le16(&in);

		bytes = bytes < in.in.len ? bytes : in.in.len;
		one(t, what, who, pk_rd_bytes(&in, bytes), what < 128 ? ++index : index);
	}
	tree_check(t);
	tree_flush(t);
	struct tree_meta before = *tree_meta(t);
	struct tree_config cfg = { .path_depth_max = 64 };
	struct pk_err err = PK_ERR_INIT;
	tree_close(t);
	PK_ASSERT(tree_open(&t, kv, &cfg, &err) == 0);
	PK_ASSERT(memcmp(&before, tree_meta(t), sizeof(before)) == 0);
	tree_check(t);
	tree_close(t);
	kv_close(kv);
	return 0;
}
