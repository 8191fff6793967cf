/*
 * net/crypto.h - digests and base64 on libcrypto, for shells.
 */
#ifndef PK_NET_CRYPTO_H
#define PK_NET_CRYPTO_H

#include "base/bytes.h"
#include "base/err.h"

#define NET_DIGEST_BYTES_MAX 64

/* name: "SHA1", "SHA256", "SHA512-256", "MD5", ... any digest that OpenSSL knows. Returns the
 * length, or PK_EINVAL for a name it does not know. */
PK_CHECKED int net_digest(const char *name, struct pk_bytes in, uint8_t out[NET_DIGEST_BYTES_MAX],
			  struct pk_err *err);
void net_hmac_sha256(struct pk_bytes key, struct pk_bytes in, uint8_t out[32]);

/* Append to out: standard alphabet, with padding, no line breaks. */
void net_base64_encode(struct pk_bytes in, struct pk_buf *out);
/* Append to out. PK_EINVAL unless `in` is exactly such a text; out is unchanged then. */
PK_CHECKED int net_base64_decode(struct pk_bytes in, struct pk_buf *out, struct pk_err *err);
/* Equal? In a time that depends on the length only. */
bool net_secret_eq(struct pk_bytes a, struct pk_bytes b);

#endif
