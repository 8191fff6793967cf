#include "net/crypto.h"

#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#define BASE64_BYTES_MAX (256u * 1024 * 1024)

static_assert(NET_DIGEST_BYTES_MAX >= EVP_MAX_MD_SIZE, "room for every digest");

int net_digest(const char *name, struct pk_bytes in, uint8_t out[NET_DIGEST_BYTES_MAX],
	       struct pk_err *err)
{
	EVP_MD *md = EVP_MD_fetch(NULL, name, NULL);
	unsigned len = 0;
	int rc;

	if (md == NULL) {
		ERR_clear_error();
		return pk_err_set(err, PK_EINVAL, "digest %s is not known", name);
	}
	rc = EVP_Digest(in.data, in.len, out, &len, md, NULL);
	EVP_MD_free(md);
	PK_ASSERT(rc == 1);
	return (int)len;
}

void net_hmac_sha256(struct pk_bytes key, struct pk_bytes in, uint8_t out[32])
{
	static const uint8_t none[1];
	unsigned len = 0;
	unsigned char *rc;

	PK_ASSERT(key.len <= INT_MAX);
	rc = HMAC(EVP_sha256(), key.len > 0 ? key.data : none, (int)key.len, in.data, in.len, out,
		  &len);
	PK_ASSERT(rc == out && len == 32);
}

void net_base64_encode(struct pk_bytes in, struct pk_buf *out)
{
	size_t len = (in.len + 2) / 3 * 4;
	int n;

	PK_ASSERT(in.len <= BASE64_BYTES_MAX);
	pk_buf_reserve(out, len + 1); /* OpenSSL adds a NUL */
	n = EVP_EncodeBlock(out->data + out->len, in.data, (int)in.len);
	PK_ASSERT(n >= 0 && (size_t)n == len);
	out->len += len;
}

static bool is_base64(uint8_t c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
	       c == '+' || c == '/';
}

int net_base64_decode(struct pk_bytes in, struct pk_buf *out, struct pk_err *err)
{
	size_t padding = 0, len;
	int n;

	if (in.len > BASE64_BYTES_MAX)
		return pk_err_set(err, PK_ELIMIT, "base64: %zu bytes, at most %u", in.len,
				  BASE64_BYTES_MAX);
	if (in.len % 4 != 0)
		return pk_err_set(err, PK_EINVAL, "base64: %zu bytes, not a multiple of 4", in.len);
	while (padding < 2 && padding < in.len && in.data[in.len - 1 - padding] == '=')
		padding++;
	for (size_t i = 0; i < in.len - padding; i++) {
		if (!is_base64(in.data[i]))
			return pk_err_set(err, PK_EINVAL, "base64: byte %zu is not of its alphabet",
					  i);
	}
	len = in.len / 4 * 3;
	pk_buf_reserve(out, len + 1);
	n = EVP_DecodeBlock(out->data + out->len, in.data, (int)in.len);
	PK_ASSERT(n >= 0 && (size_t)n == len); /* every byte was checked above */
	out->len += len - padding;
	return 0;
}

bool net_secret_eq(struct pk_bytes a, struct pk_bytes b)
{
	return a.len == b.len && (a.len == 0 || CRYPTO_memcmp(a.data, b.data, a.len) == 0);
}
