#include "net/tls.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/kdf.h>

#include "base/mem.h"
#include "net/tls_impl.h"

#define TLS_MAGIC 0x544c5343u

static const uint8_t session_context[] = "paddock";

/* ---- the options of a person ------------------------------------------------------------------
 */

static const struct {
	const char *name;
	int version;
} protocol_names[] = {
	{ "TLSv1", TLS1_VERSION },
	{ "TLSv1.1", TLS1_1_VERSION },
	{ "TLSv1.2", TLS1_2_VERSION },
	{ "TLSv1.3", TLS1_3_VERSION },
};

/* Calls each for every item of a list with commas, colons or spaces between. */
static int each_item(const char *list, int (*each)(void *arg, const char *item, struct pk_err *err),
		     void *arg, struct pk_err *err)
{
	char *copy = pk_strdup(list), *save = NULL;
	int rc = 0;

	for (char *item = strtok_r(copy, ",: \t", &save); item != NULL && rc == 0;
	     item = strtok_r(NULL, ",: \t", &save))
		rc = each(arg, item, err);
	free(copy);
	return rc;
}

struct versions {
	int least, most;
};

static int each_protocol(void *arg, const char *item, struct pk_err *err)
{
	struct versions *v = arg;

	for (size_t i = 0; i < PK_COUNT(protocol_names); i++) {
		int version = protocol_names[i].version;

		if (strcmp(item, protocol_names[i].name) != 0)
			continue;
		if (v->least == 0 || version < v->least)
			v->least = version;
		if (version > v->most)
			v->most = version;
		return 0;
	}
	return pk_err_set(err, PK_EINVAL, "TLS protocol %s: want TLSv1.2 or TLSv1.3", item);
}

struct ciphers {
	struct pk_buf old;    /* up to TLS 1.2, OpenSSL's names */
	struct pk_buf suites; /* TLS 1.3 */
};

static int each_cipher(void *arg, const char *item, struct pk_err *err)
{
	struct ciphers *c = arg;
	const char *name = OPENSSL_cipher_name(item); /* from an RFC's name, which Java uses */
	bool tls13 = strncmp(item, "TLS_", 4) == 0 && strstr(item, "_WITH_") == NULL;
	struct pk_buf *to = tls13 ? &c->suites : &c->old;
	SSL_CTX *probe;
	int known;

	if (name == NULL || strcmp(name, "(NONE)") == 0)
		name = item;
	probe = SSL_CTX_new(TLS_method());
	PK_ASSERT(probe != NULL);
	known = tls13 ? SSL_CTX_set_ciphersuites(probe, name)
		      : SSL_CTX_set_cipher_list(probe, name);
	SSL_CTX_free(probe);
	ERR_clear_error();
	if (known != 1)
		return pk_err_set(err, PK_EINVAL, "TLS cipher %s is not known here", item);
	if (to->len > 0)
		pk_buf_add_str(to, ":");
	pk_buf_add_str(to, name);
	return 0;
}

static int set_ciphers(SSL_CTX *ctx, const char *list, struct versions *v, struct pk_err *err)
{
	struct ciphers c = { 0 };
	int rc = each_item(list, each_cipher, &c, err);

	if (rc == 0 && c.old.len == 0 && c.suites.len == 0)
		rc = pk_err_set(err, PK_EINVAL, "TLS ciphers: an empty list");
	if (rc == 0 && SSL_CTX_set_ciphersuites(ctx, pk_buf_str(&c.suites)) != 1)
		rc = tls_err(err, PK_EINVAL, "TLS ciphers");
	if (rc == 0 && c.old.len > 0 && SSL_CTX_set_cipher_list(ctx, pk_buf_str(&c.old)) != 1)
		rc = tls_err(err, PK_EINVAL, "TLS ciphers");
	/* A version without a cipher of its own is off, as in Java. */
	if (rc == 0 && c.old.len == 0)
		v->least = TLS1_3_VERSION;
	if (rc == 0 && c.suites.len == 0 && (v->most == 0 || v->most == TLS1_3_VERSION))
		v->most = TLS1_2_VERSION;
	if (rc == 0 && v->most != 0 && v->least > v->most)
		rc = pk_err_set(err, PK_EINVAL, "TLS ciphers: none is of the allowed protocols");
	pk_buf_release(&c.old);
	pk_buf_release(&c.suites);
	return rc;
}

static int verify_mode(const struct net_tls_opts *o)
{
	if (!o->server)
		return o->no_verify ? SSL_VERIFY_NONE : SSL_VERIFY_PEER;
	switch (o->client_auth) {
	case NET_CLIENT_AUTH_NEED:
		return SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
	case NET_CLIENT_AUTH_WANT:
		return SSL_VERIFY_PEER;
	case NET_CLIENT_AUTH_NONE:
		return SSL_VERIFY_NONE;
	}
	PK_ASSERT(!"a client_auth of net/tls.h");
	return SSL_VERIFY_PEER;
}

/*
 * Sessions are not resumed: every connection shows its certificate to the files as they are now,
 * and idle connections hold no tickets. Our connections live long, so a full handshake is cheap.
 */
static SSL_CTX *ctx_new(void)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_method());

	PK_ASSERT(ctx != NULL);
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
					 SSL_OP_NO_TICKET | SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	int rc = SSL_CTX_set_num_tickets(ctx, 0) == 1 &&
		 SSL_CTX_set_session_id_context(ctx, session_context, sizeof(session_context)) == 1;
	PK_ASSERT(rc == 1);
	return ctx;
}

static int set_versions(SSL_CTX *ctx, const struct versions *v, struct pk_err *err)
{
	int least = v->least != 0 ? v->least : TLS1_2_VERSION;

	if (v->most != 0 && v->most < least)
		least = v->most;
	if (SSL_CTX_set_min_proto_version(ctx, least) != 1 ||
	    SSL_CTX_set_max_proto_version(ctx, v->most) != 1)
		return tls_err(err, PK_EINVAL, "TLS protocol versions");
	return 0;
}

static int ctx_build(SSL_CTX **out, const struct net_tls_opts *o, struct pk_err *err)
{
	SSL_CTX *ctx = ctx_new();
	struct versions v = { 0 };
	int mode = verify_mode(o), rc = 0;

	ERR_clear_error();
	if (o->protocols != NULL)
		rc = each_item(o->protocols, each_protocol, &v, err);
	if (rc == 0 && o->ciphers != NULL)
		rc = set_ciphers(ctx, o->ciphers, &v, err);
	if (rc == 0)
		rc = set_versions(ctx, &v, err);
	if (rc == 0 && o->server && o->cert_file == NULL)
		rc = pk_err_set(err, PK_EINVAL, "TLS: a server needs a certificate and its key");
	if (rc == 0 && o->cert_file != NULL)
		rc = store_load_identity(ctx, o, err);
	if (rc == 0 && o->trust_file != NULL)
		rc = store_load_trust(ctx, o, err);
	else if (rc == 0 && o->server && mode != SSL_VERIFY_NONE)
		/* Java would take any public authority here, which lets the whole world in. */
		rc = pk_err_set(err, PK_EINVAL,
				"TLS: to check clients' certificates, name a trust store");
	else if (rc == 0 && mode != SSL_VERIFY_NONE && SSL_CTX_set_default_verify_paths(ctx) != 1)
		rc = tls_err(err, PK_EIO, "TLS: the system's trusted certificates");
	if (rc == 0 && o->crl_file != NULL)
		rc = store_load_crls(ctx, o, err);
	if (rc != 0) {
		SSL_CTX_free(ctx);
		return rc;
	}
	SSL_CTX_set_verify(ctx, mode, NULL);
	*out = ctx;
	return 0;
}

/* ---- life ------------------------------------------------------------------------------------ */

/* The strings of the options, to own them. */
static const char **opt_strings(struct net_tls_opts *o, size_t i)
{
	const char **all[] = { &o->cert_file,      &o->key_file, &o->key_password, &o->trust_file,
			       &o->trust_password, &o->crl_file, &o->protocols,    &o->ciphers };

	return i < PK_COUNT(all) ? all[i] : NULL;
}

struct net_tls *net_tls_new(const struct net_tls_opts *opts, struct pk_err *err)
{
	struct net_tls *t;
	SSL_CTX *ctx;

	if (ctx_build(&ctx, opts, err) != 0)
		return NULL;
	t = pk_alloc(sizeof(*t));
	t->magic = TLS_MAGIC;
	t->refs = 1;
	t->ctx = ctx;
	t->opts = *opts;
	for (size_t i = 0; opt_strings(&t->opts, i) != NULL; i++) {
		const char **text = opt_strings(&t->opts, i);

		if (*text != NULL)
			*text = pk_strdup(*text);
	}
	return t;
}

int net_tls_reload(struct net_tls *t, struct pk_err *err)
{
	SSL_CTX *ctx;
	int rc;

	PK_ASSERT(t->magic == TLS_MAGIC);
	if (t->psk)
		return pk_err_set(err, PK_ESTATE,
				  "a shared key is not read from files: make a new context");
	rc = ctx_build(&ctx, &t->opts, err);
	if (rc != 0)
		return pk_err_wrap(err, "TLS reload, the old files stay in use");
	SSL_CTX_free(t->ctx); /* running sessions hold a reference of their own */
	t->ctx = ctx;
	return 0;
}

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
	for (size_t i = 0; opt_strings(&t->opts, i) != NULL; i++) {
		char *text = (char *)(uintptr_t)*opt_strings(&t->opts, i);

		if (text != NULL)
			OPENSSL_cleanse(text, strlen(text)); /* passwords are among them */
		free(text);
	}
	free(t->psk_identity);
	OPENSSL_cleanse(t->psk_key, sizeof(t->psk_key));
	t->magic = 0;
	free(t);
}

/* ---- the shared key ---------------------------------------------------------------------------
 */

static const unsigned char psk_cipher[2] = { 0x13, 0x01 }; /* TLS_AES_128_GCM_SHA256 */

static SSL_SESSION *psk_session(SSL *ssl)
{
	const struct net_tls *t = SSL_get_app_data(ssl);
	SSL_SESSION *session = SSL_SESSION_new();
	const SSL_CIPHER *cipher = SSL_CIPHER_find(ssl, psk_cipher);

	if (session == NULL || cipher == NULL ||
	    SSL_SESSION_set1_master_key(session, t->psk_key, sizeof(t->psk_key)) != 1 ||
	    SSL_SESSION_set1_id_context(session, session_context, sizeof(session_context)) != 1 ||
	    SSL_SESSION_set_cipher(session, cipher) != 1 ||
	    SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION) != 1) {
		SSL_SESSION_free(session);
		return NULL;
	}
	return session;
}

static int on_psk_use(SSL *ssl, const EVP_MD *md, const unsigned char **identity,
		      size_t *identity_bytes, SSL_SESSION **session)
{
	const struct net_tls *t = SSL_get_app_data(ssl);

	(void)md; /* the one cipher suite has SHA-256 */
	*session = psk_session(ssl);
	if (*session == NULL)
		return 0;
	*identity = (const unsigned char *)t->psk_identity;
	*identity_bytes = strlen(t->psk_identity);
	return 1;
}

static int on_psk_find(SSL *ssl, const unsigned char *identity, size_t identity_bytes,
		       SSL_SESSION **session)
{
	const struct net_tls *t = SSL_get_app_data(ssl);

	*session = NULL;
	/* Unknown: no session, and without a certificate the handshake ends here. */
	if (!pk_bytes_is(pk_bytes(identity, identity_bytes), t->psk_identity))
		return 1;
	*session = psk_session(ssl);
	return *session != NULL;
}

static void psk_derive(struct pk_bytes key, uint8_t out[32])
{
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(kdf);
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char[]){ "SHA256" }, 0),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)key.data,
						  key.len),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO,
						  (char[]){ "paddock cluster key" }, 19),
		OSSL_PARAM_construct_end(),
	};
	int rc = EVP_KDF_derive(ctx, out, 32, params);

	PK_ASSERT(rc == 1);
	EVP_KDF_CTX_free(ctx);
	EVP_KDF_free(kdf);
}

struct net_tls *net_tls_psk_new(struct pk_bytes key, const char *identity, struct pk_err *err)
{
	size_t identity_bytes = strlen(identity);
	struct net_tls *t;

	while (key.len > 0 && strchr(" \t\r\n", key.data[key.len - 1]) != NULL &&
	       key.data[key.len - 1] != '\0')
		key.len--;
	if (key.len < NET_PSK_BYTES_MIN || key.len > NET_PSK_BYTES_MAX) {
		pk_ignore(pk_err_set(err, PK_EINVAL, "shared key: want %d to %d bytes, have %zu",
				     NET_PSK_BYTES_MIN, NET_PSK_BYTES_MAX, key.len),
			  "NULL tells it");
		return NULL;
	}
	if (identity_bytes == 0 || identity_bytes > PSK_MAX_IDENTITY_LEN) {
		pk_ignore(pk_err_set(err, PK_EINVAL,
				     "shared key: its name has %zu bytes, want 1 to %d",
				     identity_bytes, PSK_MAX_IDENTITY_LEN),
			  "NULL tells it");
		return NULL;
	}
	t = pk_alloc(sizeof(*t));
	t->magic = TLS_MAGIC;
	t->refs = 1;
	t->psk = true;
	t->psk_identity = pk_strdup(identity);
	psk_derive(key, t->psk_key);
	t->ctx = ctx_new();
	int rc = SSL_CTX_set_min_proto_version(t->ctx, TLS1_3_VERSION) == 1 &&
		 SSL_CTX_set_max_proto_version(t->ctx, TLS1_3_VERSION) == 1 &&
		 SSL_CTX_set_ciphersuites(t->ctx, "TLS_AES_128_GCM_SHA256") == 1;
	PK_ASSERT(rc == 1);
	/* A peer that shows a certificate instead is refused: nothing is trusted. */
	SSL_CTX_set_verify(t->ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	SSL_CTX_set_psk_use_session_callback(t->ctx, on_psk_use);
	SSL_CTX_set_psk_find_session_callback(t->ctx, on_psk_find);
	return t;
}
