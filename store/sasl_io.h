/*
 * store/sasl_io.h - SASL on the client port, by libsasl2: DIGEST-MD5 with the users of a JAAS file,
 * or GSSAPI (Kerberos) with its key table.
 *
 * As ZooKeeper's server does it: DIGEST-MD5 is for service "zookeeper" on host "zk-sasl-md5" (which
 * is the realm, too), GSSAPI for what the principal names; with a key table GSSAPI alone is spoken.
 * The client begins with a token that may be empty. A user becomes the identity sasl:user, one of
 * superUser, superUser.N also super. Where letAnySaslUserDoX is X, everyone is sasl:X besides.
 * Source: Apache ZooKeeper release-3.8.0, ZooKeeperServer.processSasl, SecurityUtils
 * .createSaslServer, SaslServerCallbackHandler, SASLAuthenticationProvider.
 *
 * libsasl2 keeps its plugins in globals: one struct sasl in a process.
 */
#ifndef PK_STORE_SASL_IO_H
#define PK_STORE_SASL_IO_H

#include "store/config.h"
#include "store/server.h"

#define SASL_TOKEN_BYTES_MAX 65536

struct sasl;

/* PK_EINVAL when what the JAAS file asks for cannot be had. Borrows cfg. */
PK_CHECKED int sasl_start(struct sasl **out, const struct store_config *cfg, struct pk_err *err);
/*
 * One token of a connection's exchange; *slot is the connection's own, NULL at the start. Returns 0
 * with the next token in *out (or *out_null), or ZK_EAUTHFAILED; result->ok and the identities once
 * the exchange is done.
 */
int32_t sasl_step(struct sasl *s, void **slot, struct pk_bytes token, struct pk_buf *out,
		  bool *out_null, struct server_auth_result *result);
void sasl_step_free(void *slot);
void sasl_free(struct sasl *s); /* no slots may be left */

#endif
