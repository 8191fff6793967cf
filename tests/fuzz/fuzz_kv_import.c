/*
 * tests/fuzz/fuzz_kv_import.c - what an import accepts comes out of an export as the same bytes;
 * all else is refused with PK_EPROTO. The first two bytes say where the input is cut into two
 * chunks.
 */
#include "store/kv.h"

#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void remove_all(const char *dir)
{
	static const char *const names[] = { "data.mdb", "lock.mdb", "lock" };

	for (size_t i = 0; i < PK_COUNT(names); i++) {
		char *path = pk_asprintf("%s/%s", dir, names[i]);

		pk_ignore(unlink(path), "left over at worst");
		free(path);
	}
	pk_ignore(rmdir(dir), "left over at worst");
}

static void expect_export(const struct kv_config *cfg, struct pk_bytes want)
{
	struct pk_err err = PK_ERR_INIT;
	struct pk_buf got = PK_BUF_INIT;
	struct kv *kv;

	int rc = kv_open(&kv, cfg, &err);
	PK_ASSERT(rc == 0);
	kv_check(kv);
	struct kv_export *ex = kv_export_open(kv);
	while (kv_export_next(ex, 1000, &got) == 1)
		;
	kv_export_close(ex);
	PK_ASSERT(pk_bytes_eq(pk_buf_bytes(&got), want));
	pk_buf_release(&got);
	kv_close(kv);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *tmp = getenv("TMPDIR");
	char *dir = pk_asprintf("%s/fuzz_kv.XXXXXX", tmp != NULL ? tmp : "/tmp");
	struct pk_err err = PK_ERR_INIT;
	struct kv_import *im;

	if (size < 2 || mkdtemp(dir) == NULL) {
		free(dir);
		return 0;
	}
	struct kv_config cfg = {
		.dir = dir, .map_bytes = 1 << 20, .map_bytes_most = 64 << 20, .sync = false
	};
	size_t cut = pk_get_le16(data);
	struct pk_bytes in = pk_bytes(data + 2, size - 2);
	if (cut > in.len)
		cut = in.len;
	int rc = kv_import_open(&im, &cfg, &err);
	PK_ASSERT(rc == 0);
	rc = kv_import_add(im, pk_bytes(in.data, cut), &err);
	if (rc == 0)
		rc = kv_import_add(im, pk_bytes(in.data + cut, in.len - cut), &err);
	if (rc == 0) {
		rc = kv_import_finish(im, &err);
		PK_ASSERT(rc == 0);
		expect_export(&cfg, in);
	} else {
		PK_ASSERT(rc == PK_EPROTO && err.code == rc && err.text[0] != '\0');
		kv_import_drop(im);
	}
	remove_all(dir);
	free(dir);
	return 0;
}
