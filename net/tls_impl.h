/*
 * net/tls_impl.h - one stream's TLS session, between net/tls.c and net/stream.c.
 *
 * Bytes in: tls_feed borrows what came from the socket, and tls_handshake or tls_read consume it.
 * Bytes out: everything OpenSSL has to say is appended to tls_out, for the stream to send.
 */
#ifndef PK_NET_TLS_IMPL_H
#define PK_NET_TLS_IMPL_H

#include <openssl/ssl.h>

#include "net/addr.h"
#include "net/tls.h"

struct tls_session;

struct net_tls {
	uint32_t magic;
	unsigned refs;
	SSL_CTX *ctx;             /* swapped by a reload; sessions hold their own reference */
	struct net_tls_opts opts; /* its strings are owned */
	bool psk;                 /* from net_tls_psk_new: opts is not used */
	char *psk_identity;
	uint8_t psk_key[32];
};

#define TLS_READ_END INT32_MIN /* the peer said close_notify */

/*
 * name: what a client expects in the certificate (NULL with a server); peer: checked by a server
 * that wants to. NULL with err when OpenSSL refuses.
 */
struct tls_session *tls_session_new(struct net_tls *t, bool server, const char *name,
				    const struct net_addr *peer, struct pk_err *err);
void tls_session_free(struct tls_session *s);
void tls_feed(struct tls_session *s, struct pk_bytes in); /* what was fed before is consumed */
struct pk_bytes tls_unread(const struct tls_session *s);
struct pk_buf *tls_out(struct tls_session *s);
/* 1: agreed; 0: more bytes are needed; else an error (and an alert in tls_out). */
PK_CHECKED int tls_handshake(struct tls_session *s, struct pk_err *err);
/* Bytes decrypted (> 0), 0: more bytes are needed, TLS_READ_END, or an error. */
PK_CHECKED int tls_read(struct tls_session *s, uint8_t *to, size_t cap, struct pk_err *err);
PK_CHECKED int tls_write(struct tls_session *s, struct pk_bytes bytes, struct pk_err *err);
void tls_say_goodbye(struct tls_session *s); /* close_notify into tls_out */
const char *tls_version(const struct tls_session *s);
char *tls_peer_subject(const struct tls_session *s);
bool tls_peer_has_name(const struct tls_session *s, const char *name);
/* X500Principal.getName() of a certificate's subject; returns owned. net/x500.c */
char *x500_name(const X509_NAME *name);
/* "what: OpenSSL's own words", the oldest error of the queue, which is emptied. */
int tls_err(struct pk_err *err, int code, const char *what);
/* net/tls_store.c: the files of the options into ctx. */
PK_CHECKED int store_load_identity(SSL_CTX *ctx, const struct net_tls_opts *o, struct pk_err *err);
PK_CHECKED int store_load_trust(SSL_CTX *ctx, const struct net_tls_opts *o, struct pk_err *err);
PK_CHECKED int store_load_crls(SSL_CTX *ctx, const struct net_tls_opts *o, struct pk_err *err);
bool tls_peer_cert(const struct tls_session *s, struct pk_buf *out);

#endif
