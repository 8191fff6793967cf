/*
 * tests/fuzz/fuzz_zk_path.c - the input as a path: what is valid splits into names that put it
 * together again, and every prefix that ends at a slash is valid too.
 */
#include "zkproto/path.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pk_bytes path = pk_bytes(data, size), rest, name, back;

	bool plain = zk_path_check(path, false) == ZK_PATH_OK;
	bool sequential = zk_path_check(path, true) == ZK_PATH_OK;
	if (plain)
		PK_ASSERT(sequential);
	if (!plain)
		return 0;
	struct pk_buf joined = PK_BUF_INIT;
	rest = path;
	while (zk_path_next(&rest, &name)) {
		PK_ASSERT(name.len > 0);
		pk_buf_add_str(&joined, "/");
		pk_buf_add_bytes(&joined, name);
	}
	PK_ASSERT(zk_path_is_root(path) || pk_bytes_eq(pk_buf_bytes(&joined), path));
	PK_ASSERT(zk_path_valid(zk_path_parent(path)));
	PK_ASSERT(zk_path_under(path, zk_path_parent(path)));
	pk_buf_clear(&joined);
	zk_path_add_chroot(&joined, pk_bytes_str("/app"), path);
	PK_ASSERT(zk_path_valid(pk_buf_bytes(&joined)));
	PK_ASSERT(zk_path_strip_chroot(pk_bytes_str("/app"), pk_buf_bytes(&joined), &back));
	PK_ASSERT(pk_bytes_eq(back, path));
	pk_buf_release(&joined);
	return 0;
}
