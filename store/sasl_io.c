#include "store/sasl_io.h"

int sasl_start(struct sasl **out, const struct store_config *cfg, struct pk_err *err)
{
	*out = NULL;
	return pk_err_set(
		err, PK_EINVAL,
		"SASL (%s) is not offered by this version: remove it from the configuration",
		cfg->jaas_file != NULL ? cfg->jaas_file : "authProvider");
}

int32_t sasl_step(struct sasl *s, void **slot, struct pk_bytes token, struct pk_buf *out,
		  bool *out_null, char *id, size_t id_bytes)
{
	PK_ASSERT(s == NULL && *slot == NULL && id_bytes > 0 && token.len + out->len > 0 &&
		  id != NULL);
	*out_null = true;
	return 0;
}

void sasl_step_free(void *slot)
{
	PK_ASSERT(slot == NULL);
}

void sasl_free(struct sasl *s)
{
	PK_ASSERT(s == NULL);
}
