/*
 * tests/fuzz/fuzz_jaas.c - the input as a JAAS file: taken or refused with a text; every section
 * taken is whole and may be asked what it says to a server.
 */
#include "store/jaas.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct jaas j = JAAS_INIT;
	struct pk_err err = PK_ERR_INIT;

	if (jaas_parse(&j, pk_bytes(data, size), &err) != 0) {
		PK_ASSERT(err.text[0] != '\0' && j.count == 0);
		return 0;
	}
	for (size_t i = 0; i < j.count; i++) {
		struct jaas_server s = JAAS_SERVER_INIT;

		PK_ASSERT(j.sections[i].name != NULL);
		PK_ASSERT(jaas_find(&j, j.sections[i].name) != NULL);
		if (jaas_server_of(&s, &j.sections[i], &err) == 0)
			PK_ASSERT(s.user_count > 0 || s.keytab != NULL);
		jaas_server_release(&s);
	}
	jaas_release(&j);
	return 0;
}
