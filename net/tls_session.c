#include <limits.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>

#include "base/mem.h"
#include "net/tls_impl.h"

struct tls_session {
	struct net_tls *tls;
	SSL *ssl;
	struct pk_bytes in; /* borrowed from the stream until the next feed */
	struct pk_buf out;
};

int tls_err(struct pk_err *err, int code, const char *what)
{
	unsigned long e = ERR_get_error();
	const char *reason = ERR_reason_error_string(e);
	char number[32];

	if (e != 0 && ERR_SYSTEM_ERROR(e))
		reason = strerror(ERR_GET_REASON(e));
	if (reason == NULL) {
		snprintf(number, sizeof(number), "OpenSSL error %lx", e);
		reason = e != 0 ? number : "no reason given";
	}
	code = pk_err_set(err, code, "%s: %s", what, reason);
	ERR_clear_error();
	return code;
}

/* ---- OpenSSL's view of the wire: a BIO that reads what was fed and appends to out --------------
 */

static int bio_read(BIO *b, char *to, int len)
{
	struct tls_session *s = BIO_get_data(b);
	size_t n = s->in.len < (size_t)len ? s->in.len : (size_t)len;

	BIO_clear_retry_flags(b);
	if (len <= 0)
		return 0;
	if (n == 0) {
		BIO_set_retry_read(b);
		return -1;
	}
	memcpy(to, s->in.data, n);
	s->in = pk_bytes(s->in.data + n, s->in.len - n);
	return (int)n;
}

static int bio_write(BIO *b, const char *from, int len)
{
	struct tls_session *s = BIO_get_data(b);

	BIO_clear_retry_flags(b);
	if (len > 0)
		pk_buf_add(&s->out, from, (size_t)len);
	return len;
}

static long bio_ctrl(BIO *b, int cmd, long num, void *ptr)
{
	(void)b;
	(void)num;
	(void)ptr;
	return cmd == BIO_CTRL_FLUSH ? 1 : 0;
}

static BIO_METHOD *bio_method(void)
{
	static BIO_METHOD *method; /* one per process, for its whole life */

	if (method == NULL) {
		int type = BIO_get_new_index();

		PK_ASSERT(type != -1);
		method = BIO_meth_new(type | BIO_TYPE_SOURCE_SINK, "paddock stream");
		PK_ASSERT(method != NULL);
		int rc = BIO_meth_set_read(method, bio_read) &&
			 BIO_meth_set_write(method, bio_write) &&
			 BIO_meth_set_ctrl(method, bio_ctrl);
		PK_ASSERT(rc == 1);
	}
	return method;
}

/* ---- life ------------------------------------------------------------------------------------ */

static int expect_name(SSL *ssl, const char *name, struct pk_err *err)
{
	X509_VERIFY_PARAM *param = SSL_get0_param(ssl);

	X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	if (X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1)
		return 0;
	ERR_clear_error(); /* not an address, so a name */
	if (X509_VERIFY_PARAM_set1_host(param, name, 0) != 1)
		return tls_err(err, PK_EINVAL, "TLS: expected name");
	if (SSL_set_tlsext_host_name(ssl, name) != 1)
		return tls_err(err, PK_EINVAL, "TLS: server name");
	return 0;
}

static int session_setup(struct tls_session *s, bool server, const char *name,
			 const struct net_addr *peer, struct pk_err *err)
{
	char ip[NET_ADDR_TEXT_BYTES];
	BIO *bio;
	int rc = 0;

	s->ssl = SSL_new(s->tls->ctx);
	bio = BIO_new(bio_method());
	if (s->ssl == NULL || bio == NULL) {
		BIO_free(bio);
		return tls_err(err, PK_EIO, "TLS session");
	}
	BIO_set_data(bio, s);
	BIO_set_init(bio, 1);
	SSL_set_bio(s->ssl, bio, bio); /* takes it */
	SSL_set_app_data(s->ssl, s->tls);
	if (server) {
		SSL_set_accept_state(s->ssl);
		if (!s->tls->psk && s->tls->opts.check_client_host)
			rc = expect_name(s->ssl, net_addr_ip_text(peer, ip), err);
	} else {
		SSL_set_connect_state(s->ssl);
		if (!s->tls->psk && !s->tls->opts.no_hostname_check)
			rc = expect_name(s->ssl, name, err);
		else if (!s->tls->psk &&
			 net_addr_parse(&(struct net_addr){ 0 }, name, 0, NULL) != 0 &&
			 SSL_set_tlsext_host_name(s->ssl, name) != 1)
			rc = tls_err(err, PK_EINVAL, "TLS: server name");
	}
	return rc;
}

struct tls_session *tls_session_new(struct net_tls *t, bool server, const char *name,
				    const struct net_addr *peer, struct pk_err *err)
{
	struct tls_session *s = pk_alloc(sizeof(*s));

	ERR_clear_error();
	s->tls = net_tls_ref(t);
	if (session_setup(s, server, name, peer, err) != 0) {
		tls_session_free(s);
		return NULL;
	}
	return s;
}

void tls_session_free(struct tls_session *s)
{
	if (s == NULL)
		return;
	SSL_free(s->ssl);
	pk_buf_release(&s->out);
	net_tls_free(s->tls);
	free(s);
}

/* ---- bytes ----------------------------------------------------------------------------------- */

void tls_feed(struct tls_session *s, struct pk_bytes in)
{
	s->in = in;
}

struct pk_bytes tls_unread(const struct tls_session *s)
{
	return s->in;
}

struct pk_buf *tls_out(struct tls_session *s)
{
	return &s->out;
}

/* The verifier's words when it was the verifier, else OpenSSL's. */
static int session_err(struct tls_session *s, struct pk_err *err, const char *what)
{
	long verdict = SSL_get_verify_result(s->ssl);

	if (verdict != X509_V_OK && SSL_get_verify_mode(s->ssl) != SSL_VERIFY_NONE) {
		ERR_clear_error();
		return pk_err_set(err, PK_EAUTH, "%s: peer certificate: %s", what,
				  X509_verify_cert_error_string(verdict));
	}
	return tls_err(err, PK_EAUTH, what);
}

int tls_handshake(struct tls_session *s, struct pk_err *err)
{
	int rc;

	ERR_clear_error();
	rc = SSL_do_handshake(s->ssl);
	if (rc == 1) {
		/* An external PSK shows as a resumed session; a certificate never does here. */
		if (s->tls->psk &&
		    (SSL_session_reused(s->ssl) != 1 || SSL_version(s->ssl) != TLS1_3_VERSION))
			return pk_err_set(err, PK_EAUTH,
					  "TLS handshake: peer did not prove the shared key");
		return 1;
	}
	if (SSL_get_error(s->ssl, rc) == SSL_ERROR_WANT_READ)
		return 0;
	return session_err(s, err, "TLS handshake");
}

int tls_read(struct tls_session *s, uint8_t *to, size_t cap, struct pk_err *err)
{
	int rc, why;

	ERR_clear_error();
	rc = SSL_read(s->ssl, to, cap > INT_MAX ? INT_MAX : (int)cap);
	if (rc > 0)
		return rc;
	why = SSL_get_error(s->ssl, rc);
	if (why == SSL_ERROR_WANT_READ)
		return 0;
	if (why == SSL_ERROR_ZERO_RETURN)
		return TLS_READ_END;
	return session_err(s, err, "TLS");
}

int tls_write(struct tls_session *s, struct pk_bytes bytes, struct pk_err *err)
{
	size_t done = 0;

	ERR_clear_error();
	/* The BIO takes everything, so a write is whole or an error. */
	if (SSL_write_ex(s->ssl, bytes.data, bytes.len, &done) != 1)
		return session_err(s, err, "TLS");
	PK_ASSERT(done == bytes.len);
	return 0;
}

void tls_say_goodbye(struct tls_session *s)
{
	ERR_clear_error();
	pk_ignore(SSL_shutdown(s->ssl), "a courtesy: the stream ends either way");
	ERR_clear_error();
}

/* ---- facts ----------------------------------------------------------------------------------- */

const char *tls_version(const struct tls_session *s)
{
	return SSL_get_version(s->ssl);
}

static X509 *verified_peer(const struct tls_session *s)
{
	X509 *cert = SSL_get0_peer_certificate(s->ssl);

	return SSL_get_verify_result(s->ssl) == X509_V_OK ? cert : NULL;
}

char *tls_peer_subject(const struct tls_session *s)
{
	X509 *cert = verified_peer(s);

	return cert != NULL ? x500_name(X509_get_subject_name(cert)) : NULL;
}

bool tls_peer_has_name(const struct tls_session *s, const char *name)
{
	X509 *cert = verified_peer(s);

	if (cert == NULL)
		return false;
	int is = X509_check_ip_asc(cert, name, 0);
	if (is == -2) /* not an address */
		is = X509_check_host(cert, name, 0, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, NULL);
	ERR_clear_error();
	return is == 1;
}

bool tls_peer_cert(const struct tls_session *s, struct pk_buf *out)
{
	X509 *cert = verified_peer(s);
	unsigned char *der = NULL;
	int len = cert != NULL ? i2d_X509(cert, &der) : -1;

	if (len < 0)
		return false;
	pk_buf_add(out, der, (size_t)len);
	OPENSSL_free(der);
	return true;
}
