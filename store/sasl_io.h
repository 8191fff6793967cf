/*
 * store/sasl_io.h - SASL on the client port, by libsasl2: DIGEST-MD5 and GSSAPI, as a JAAS file
 * sets them up.
 */
#ifndef PK_STORE_SASL_IO_H
#define PK_STORE_SASL_IO_H

#include "store/config.h"

struct sasl;

/* PK_EINVAL when what the JAAS file asks for cannot be had. Borrows cfg. */
PK_CHECKED int sasl_start(struct sasl **out, const struct store_config *cfg, struct pk_err *err);
/*
 * One token of a connection's exchange; *slot is the connection's own, NULL at the start. Returns 0
 * with the next token in *out (or *out_null), or a ZooKeeper error; fills id once the exchange is
 * done.
 */
int32_t sasl_step(struct sasl *s, void **slot, struct pk_bytes token, struct pk_buf *out,
		  bool *out_null, char *id, size_t id_bytes);
void sasl_step_free(void *slot);
void sasl_free(struct sasl *s);

#endif
