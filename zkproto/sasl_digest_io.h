/*
 * zkproto/sasl_digest_io.h - SASL DIGEST-MD5 for the client: user and password, never sent.
 *
 * What ZooKeeper's server expects: service "zookeeper", host "zk-sasl-md5", qop "auth", the
 * exchange begun by an empty token. Proves the server, too: it must know the password to answer.
 * Source: RFC 2831, sections 2.1.1 to 2.1.3; Apache ZooKeeper release-3.8.0, ZooKeeperSaslClient,
 * SaslServerPrincipal (names).
 */
#ifndef PK_ZKPROTO_SASL_DIGEST_IO_H
#define PK_ZKPROTO_SASL_DIGEST_IO_H

#include "zkproto/client.h"

#define ZKC_SASL_CHALLENGE_BYTES_MAX 4096

struct zkc_sasl_digest;

/* Returns owned, to be the sasl_owner of one client. NULL with err (PK_EINVAL): characters outside
 * printable ASCII, whose encoding the two ends might disagree on. Copies. */
struct zkc_sasl_digest *zkc_sasl_digest_new(const char *user, const char *password,
					    struct pk_err *err);
void zkc_sasl_digest_free(struct zkc_sasl_digest *d); /* after the client */
extern const struct zkc_sasl_ops zkc_sasl_digest_ops;

/* The answer to a challenge: hex, computed for the client ("AUTHENTICATE") or, with a2 "", as the
 * server proves itself. */
struct zkc_digest_input {
	const char *user, *realm, *password, *nonce, *cnonce, *uri, *a2;
};
void zkc_digest_answer(const struct zkc_digest_input *in, char out[33]);

#endif
