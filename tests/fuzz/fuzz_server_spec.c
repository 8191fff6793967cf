/*
 * tests/fuzz/fuzz_server_spec.c - the input as server lines: what is taken has a canonical text,
 * and that text reads back as the same servers.
 */
#include "store/server_spec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pk_bytes text = pk_bytes(data, size);
	struct server_set set = SERVER_SET_INIT;
	struct server_spec spec, back;
	struct pk_buf out = PK_BUF_INIT;
	struct pk_err err = PK_ERR_INIT;

	if (server_spec_parse_line(&spec, text, &err) == 0) {
		server_spec_format(&spec, &out);
		PK_ASSERT(server_spec_parse(&back, spec.id, pk_buf_bytes(&out), &err) == 0);
		PK_ASSERT(server_spec_eq(&spec, &back));
	} else {
		PK_ASSERT(err.text[0] != '\0');
	}
	pk_buf_clear(&out);
	if (server_set_parse(&set, text, &err) == 0) {
		struct server_set again = SERVER_SET_INIT;

		server_set_format(&set, &out);
		PK_ASSERT(server_set_parse(&again, pk_buf_bytes(&out), &err) == 0);
		PK_ASSERT(server_set_eq(&set, &again) && set.version == again.version);
		for (size_t i = 1; i < set.count; i++)
			PK_ASSERT(set.all[i - 1].id < set.all[i].id);
		server_set_release(&again);
		server_set_release(&set);
	}
	pk_buf_release(&out);
	return 0;
}
