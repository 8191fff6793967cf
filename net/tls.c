#include "net/tls.h"

#include <openssl/err.h>

#include "base/mem.h"
#include "net/tls_impl.h"

#define TLS_MAGIC 0x544c5343u

struct net_tls *net_tls_ref(struct net_tls *t)
{
	if (t == NULL)
		return NULL;
	PK_ASSERT(t->magic == TLS_MAGIC && t->refs > 0);
	t->refs++;
	return t;
}

void net_tls_free(struct net_tls *t)
{
	if (t == NULL)
		return;
	PK_ASSERT(t->magic == TLS_MAGIC && t->refs > 0);
	if (--t->refs > 0)
		return;
	SSL_CTX_free(t->ctx);
	free((char *)(uintptr_t)t->opts.cert_file);
	free(t->psk_identity);
	OPENSSL_cleanse(t->psk_key, sizeof(t->psk_key));
	t->magic = 0;
	free(t);
}
