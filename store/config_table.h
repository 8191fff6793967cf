/*
 * store/config_table.h - what config.c, config_check.c and config_doc.c share: the rows of
 * options.tbl that make no field. Nobody else includes it.
 */
#ifndef PK_STORE_CONFIG_TABLE_H
#define PK_STORE_CONFIG_TABLE_H

#include "store/config.h"

struct config_other {
	const char *name;
	const char *fine; /* NULL: without effect; else refused unless one of these "a|b" */
	const char *group;
	const char *reason;
};
struct config_alias {
	const char *name;
	const char *row;
};
struct config_family {
	const char *prefix; /* "server." */
	const char *help;
};
extern const struct config_other config_others[];
extern const size_t config_others_count;
extern const struct config_alias config_aliases[];
extern const size_t config_aliases_count;
extern const struct config_family config_families[];
extern const size_t config_families_count;

#define CONFIG_ENV_BYTES 128
void config_env_name(const char *key, char out[CONFIG_ENV_BYTES]);
bool config_list_has(const char *list, const char *word);
void config_note(struct pk_buf *notes, const char *fmt, ...) PK_PRINTF(2, 3);

#endif
