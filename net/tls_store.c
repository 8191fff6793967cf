/* Key and trust stores: files to certificates, keys and revocation lists. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/tls_impl.h"

#define STORE_BYTES_MAX (4u * 1024 * 1024)

static const uint8_t jks_magic[4] = { 0xfe, 0xed, 0xfe, 0xed };
static const uint8_t jceks_magic[4] = { 0xce, 0xce, 0xce, 0xce };

static int file_read(const char *path, struct pk_buf *out, struct pk_err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc = 0;
	ssize_t n;

	if (fd < 0)
		return pk_err_sys(err, errno, "%s", path);
	do {
		pk_buf_reserve(out, 16384);
		n = read(fd, out->data + out->len, 16384);
		if (n < 0)
			rc = pk_err_sys(err, errno, "%s", path);
		else
			out->len += (size_t)n;
		if (out->len > STORE_BYTES_MAX)
			rc = pk_err_set(err, PK_ELIMIT, "%s: over %u bytes", path, STORE_BYTES_MAX);
	} while (n > 0 && rc == 0);
	pk_ignore(close(fd), "only read");
	if (rc == 0 && out->len == 0)
		rc = pk_err_set(err, PK_EINVAL, "%s: empty file", path);
	return rc;
}

static void secret_release(struct pk_buf *b)
{
	if (b->data != NULL)
		OPENSSL_cleanse(b->data, b->cap);
	pk_buf_release(b);
}

/*
 * What the bytes are decides, not the name: Java's keytool has written PKCS12 into files called
 * .jks for years. Fills *is_pkcs12.
 */
static int store_kind(const char *path, const struct pk_buf *b, enum net_store_type want,
		      bool *is_pkcs12, struct pk_err *err)
{
	bool pem = memmem(b->data, b->len, "-----BEGIN ", 11) != NULL;
	bool jks = b->len >= 4 &&
		   (memcmp(b->data, jks_magic, 4) == 0 || memcmp(b->data, jceks_magic, 4) == 0);
	bool der = b->data[0] == 0x30;

	if (jks)
		return pk_err_set(
			err, PK_EINVAL,
			"%s: a Java JKS store, which only Java reads; convert it once: keytool "
			"-importkeystore -srckeystore %s -destkeystore %s.p12 -deststoretype "
			"PKCS12",
			path, path, path);
	if (!der && !pem)
		return pk_err_set(err, PK_EINVAL, "%s: neither PEM nor PKCS12", path);
	if (der && want == NET_STORE_PEM)
		return pk_err_set(err, PK_EINVAL, "%s: want PEM, but it is binary (PKCS12?)", path);
	if (!der && (want == NET_STORE_PKCS12 || want == NET_STORE_JKS))
		return pk_err_set(err, PK_EINVAL, "%s: want PKCS12, but it is PEM", path);
	*is_pkcs12 = der;
	return 0;
}

/* Never asks a terminal. A NULL password is "none given". */
static int on_password(char *to, int size, int rwflag, void *password)
{
	size_t len = password != NULL ? strlen(password) : 0;

	(void)rwflag;
	if (password == NULL || len > (size_t)size)
		return -1;
	memcpy(to, password, len);
	return (int)len;
}

static int pkcs12_load(const char *path, const struct pk_buf *b, const char *password,
		       EVP_PKEY **key, X509 **cert, STACK_OF(X509) * *rest, struct pk_err *err)
{
	const unsigned char *at = b->data;
	PKCS12 *p12 = d2i_PKCS12(NULL, &at, (long)b->len);
	int rc = 0;

	if (p12 == NULL) {
		ERR_clear_error();
		return pk_err_set(err, PK_EINVAL, "%s: not a PKCS12 store", path);
	}
	if (PKCS12_parse(p12, password != NULL ? password : "", key, cert, rest) != 1) {
		int reason = ERR_GET_REASON(ERR_peek_last_error());

		if (reason == PKCS12_R_MAC_VERIFY_FAILURE)
			rc = pk_err_set(err, PK_EAUTH, "%s: wrong password", path);
		else if (ERR_GET_REASON(ERR_peek_error()) == ERR_R_UNSUPPORTED)
			rc = pk_err_set(
				err, PK_EINVAL,
				"%s: encrypted in an outdated way; write it anew with keytool "
				"-importkeystore of Java 17, or openssl pkcs12 -legacy",
				path);
		else
			rc = tls_err(err, PK_EINVAL, path);
		ERR_clear_error();
	}
	PKCS12_free(p12);
	return rc;
}

static int pem_key(const char *path, const struct pk_buf *b, const char *password, EVP_PKEY **key,
		   struct pk_err *err)
{
	BIO *bio = BIO_new_mem_buf(b->data, (int)b->len);
	int rc = 0;

	PK_ASSERT(bio != NULL);
	*key = PEM_read_bio_PrivateKey(bio, NULL, on_password, (void *)(uintptr_t)password);
	if (*key == NULL) {
		if (memmem(b->data, b->len, "PRIVATE KEY-----", 16) == NULL)
			rc = pk_err_set(err, PK_EINVAL, "%s: no private key in it", path);
		else if (password == NULL && memmem(b->data, b->len, "ENCRYPTED", 9) != NULL)
			rc = pk_err_set(err, PK_EAUTH,
					"%s: the key is encrypted and no password was given", path);
		else if (password != NULL)
			rc = pk_err_set(err, PK_EAUTH,
					"%s: the password does not open the private key", path);
		else
			rc = tls_err(err, PK_EINVAL, path);
	}
	ERR_clear_error();
	BIO_free(bio);
	return rc;
}

/* Every certificate of a PEM file, in its order. */
static int pem_certs(const char *path, const struct pk_buf *b, STACK_OF(X509) * certs,
		     struct pk_err *err)
{
	BIO *bio = BIO_new_mem_buf(b->data, (int)b->len);
	X509 *cert;
	int rc = 0;

	PK_ASSERT(bio != NULL);
	while ((cert = PEM_read_bio_X509(bio, NULL, on_password, NULL)) != NULL) {
		int pushed = sk_X509_push(certs, cert);

		PK_ASSERT(pushed > 0);
	}
	if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
		rc = tls_err(err, PK_EINVAL, path);
	else if (sk_X509_num(certs) == 0)
		rc = pk_err_set(err, PK_EINVAL, "%s: no certificate in it", path);
	ERR_clear_error();
	BIO_free(bio);
	return rc;
}

static int pem_identity(const struct net_tls_opts *o, const struct pk_buf *b, EVP_PKEY **key,
			X509 **cert, STACK_OF(X509) * *rest, struct pk_err *err)
{
	struct pk_buf key_bytes = PK_BUF_INIT;
	int rc;

	*rest = sk_X509_new_null();
	PK_ASSERT(*rest != NULL);
	rc = pem_certs(o->cert_file, b, *rest, err);
	if (rc == 0)
		*cert = sk_X509_shift(*rest);
	if (rc == 0 && o->key_file == NULL)
		rc = pem_key(o->cert_file, b, o->key_password, key, err);
	if (rc == 0 && o->key_file != NULL) {
		rc = file_read(o->key_file, &key_bytes, err);
		if (rc == 0)
			rc = pem_key(o->key_file, &key_bytes, o->key_password, key, err);
	}
	secret_release(&key_bytes);
	return rc;
}

int store_load_identity(SSL_CTX *ctx, const struct net_tls_opts *o, struct pk_err *err)
{
	struct pk_buf b = PK_BUF_INIT;
	STACK_OF(X509) *rest = NULL;
	EVP_PKEY *key = NULL;
	X509 *cert = NULL;
	bool pkcs12 = false;
	int rc = file_read(o->cert_file, &b, err);

	if (rc == 0)
		rc = store_kind(o->cert_file, &b, o->cert_type, &pkcs12, err);
	if (rc == 0 && pkcs12)
		rc = pkcs12_load(o->cert_file, &b, o->key_password, &key, &cert, &rest, err);
	else if (rc == 0)
		rc = pem_identity(o, &b, &key, &cert, &rest, err);
	if (rc == 0 && (key == NULL || cert == NULL))
		rc = pk_err_set(err, PK_EINVAL, "%s: no certificate with a private key in it",
				o->cert_file);
	if (rc == 0 && X509_check_private_key(cert, key) != 1)
		rc = pk_err_set(err, PK_EAUTH,
				"%s: the private key does not belong to the certificate",
				o->cert_file);
	if (rc == 0 && SSL_CTX_use_cert_and_key(ctx, cert, key, rest, 1) != 1)
		rc = tls_err(err, PK_EINVAL, o->cert_file);
	ERR_clear_error();
	sk_X509_pop_free(rest, X509_free);
	X509_free(cert);
	EVP_PKEY_free(key);
	secret_release(&b);
	return rc;
}

int store_load_trust(SSL_CTX *ctx, const struct net_tls_opts *o, struct pk_err *err)
{
	STACK_OF(X509) *certs = NULL;
	struct pk_buf b = PK_BUF_INIT;
	EVP_PKEY *key = NULL;
	X509 *cert = NULL;
	bool pkcs12 = false;
	int rc = file_read(o->trust_file, &b, err);

	if (rc == 0)
		rc = store_kind(o->trust_file, &b, o->trust_type, &pkcs12, err);
	if (rc == 0 && pkcs12) {
		rc = pkcs12_load(o->trust_file, &b, o->trust_password, &key, &cert, &certs, err);
	} else if (rc == 0) {
		certs = sk_X509_new_null();
		PK_ASSERT(certs != NULL);
		rc = pem_certs(o->trust_file, &b, certs, err);
	}
	if (rc == 0 && cert != NULL && X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), cert) != 1)
		rc = tls_err(err, PK_EINVAL, o->trust_file);
	if (rc == 0 && cert == NULL && sk_X509_num(certs) <= 0)
		rc = pk_err_set(err, PK_EINVAL, "%s: no certificate in it", o->trust_file);
	for (int i = 0; rc == 0 && i < sk_X509_num(certs); i++) {
		X509 *ca = sk_X509_value(certs, i);

		if (X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), ca) != 1 ||
		    (o->server && SSL_CTX_add_client_CA(ctx, ca) != 1))
			rc = tls_err(err, PK_EINVAL, o->trust_file);
	}
	ERR_clear_error();
	sk_X509_pop_free(certs, X509_free);
	X509_free(cert);
	EVP_PKEY_free(key);
	secret_release(&b);
	return rc;
}

int store_load_crls(SSL_CTX *ctx, const struct net_tls_opts *o, struct pk_err *err)
{
	X509_STORE *store = SSL_CTX_get_cert_store(ctx);
	struct pk_buf b = PK_BUF_INIT;
	X509_CRL *crl;
	int count = 0, rc = file_read(o->crl_file, &b, err);

	if (rc == 0) {
		BIO *bio = BIO_new_mem_buf(b.data, (int)b.len);

		PK_ASSERT(bio != NULL);
		while (rc == 0 && (crl = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL)) != NULL) {
			if (X509_STORE_add_crl(store, crl) != 1)
				rc = tls_err(err, PK_EINVAL, o->crl_file);
			X509_CRL_free(crl);
			count++;
		}
		if (rc == 0 && ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
			rc = tls_err(err, PK_EINVAL, o->crl_file);
		BIO_free(bio);
	}
	if (rc == 0 && count == 0)
		rc = pk_err_set(err, PK_EINVAL, "%s: no revocation list in it", o->crl_file);
	if (rc == 0 &&
	    X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL) != 1)
		rc = tls_err(err, PK_EINVAL, o->crl_file);
	ERR_clear_error();
	pk_buf_release(&b);
	return rc;
}
