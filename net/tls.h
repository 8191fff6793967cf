/*
 * net/tls.h - who we are and whom we trust: TLS contexts for net/stream.h.
 *
 * A context is shared by any number of streams and counted by reference: net_tls_free drops the
 * caller's. OpenSSL never sees a socket; bytes go through memory.
 */
#ifndef PK_NET_TLS_H
#define PK_NET_TLS_H

#include "base/bytes.h"
#include "base/err.h"

struct net_tls;

enum net_store_type {
	NET_STORE_AUTO, /* by the file's ending, then by its first bytes */
	NET_STORE_PEM,
	NET_STORE_PKCS12, /* .p12 .pfx */
	NET_STORE_JKS,    /* refused, naming the keytool command that makes a PKCS12 of it */
};

/* What a server demands of its clients' certificates (ZooKeeper: ssl.clientAuth). */
enum net_client_auth { NET_CLIENT_AUTH_NEED, NET_CLIENT_AUTH_WANT, NET_CLIENT_AUTH_NONE };

struct net_tls_opts {
	bool server;
	/* Certificate with its chain, and key; both in one PEM file, or key_file apart, or a
	 * PKCS12. A server must have one; a client may. */
	const char *cert_file;
	const char *key_file; /* PEM only; NULL: in cert_file */
	enum net_store_type cert_type;
	const char *key_password; /* NULL: none */
	/* Who may sign the peer: PEM (many certificates) or PKCS12; NULL: the system's. */
	const char *trust_file;
	enum net_store_type trust_type;
	const char *trust_password;
	const char *crl_file; /* PEM revocation lists: every certificate of the chain is checked */
	enum net_client_auth client_auth;
	/* A client checks the certificate's names against the host it dialled; a server, if asked
	 * to, checks a client's certificate against the client's IP address. */
	bool no_hostname_check;
	bool check_client_host;
	bool no_verify; /* client: take any server. For tests and `--insecure` */
	/* "TLSv1.2", "TLSv1.3" (or "TLSv1", "TLSv1.1" where the system allows); NULL: TLSv1.2 and
	 * up. A comma-separated list: the lowest and highest are the bounds. */
	const char *protocols;
	/* OpenSSL names or Java's TLS_..._WITH_... names, comma or colon separated; NULL: OpenSSL's
	 * default. A name that neither knows is refused. */
	const char *ciphers;
};

/* NULL with err filled: PK_ENOENT, PK_EINVAL (a file is not what it should be), PK_EAUTH (wrong
 * password, key does not fit the certificate). */
struct net_tls *net_tls_new(const struct net_tls_opts *opts, struct pk_err *err);

/*
 * Both sides prove that they hold the same key; nothing else is accepted. TLS 1.3 only, external
 * PSK with (EC)DHE (RFC 8446 section 2.2), TLS_AES_128_GCM_SHA256. The PSK is HKDF-SHA256 over
 * `key` (a key file's bytes; white space at its end does not count; at least NET_PSK_BYTES_MIN).
 * The context serves and dials.
 */
#define NET_PSK_BYTES_MIN 16
#define NET_PSK_BYTES_MAX 65536
struct net_tls *net_tls_psk_new(struct pk_bytes key, const char *identity, struct pk_err *err);

/* Read the files again. New handshakes use what they say now; running streams go on. On failure the
 * old ones stay in use and err says why. */
PK_CHECKED int net_tls_reload(struct net_tls *t, struct pk_err *err);

struct net_tls *net_tls_ref(struct net_tls *t); /* returns t; NULL is allowed in both */
void net_tls_free(struct net_tls *t);

#endif
