/*
 * tests/fuzz/fuzz_net_x500.c - the input as the DER form of a subject name: whatever OpenSSL lets
 * through becomes a text without unescaped NULs.
 */
#include <openssl/x509.h>

#include "base/mem.h"
#include "net/tls_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const unsigned char *at = data;
	X509_NAME *name = d2i_X509_NAME(NULL, &at, (long)size);

	if (name == NULL)
		return 0;
	char *text = x500_name(name);
	PK_ASSERT(text != NULL);
	PK_ASSERT(X509_NAME_entry_count(name) == 0 || strchr(text, '=') != NULL);
	free(text);
	X509_NAME_free(name);
	return 0;
}
