/*
 * base/mem.h - memory that is there or the process is not.
 *
 * Sizes that come from outside meet a limit before they come here; after that, running out of
 * memory ends the process, so that no untested branch hides behind a NULL. Free with free().
 */
#ifndef PK_BASE_MEM_H
#define PK_BASE_MEM_H

#include <stdlib.h>

#include "base/check.h"

void *pk_alloc(size_t bytes); /* returns owned, zeroed */
void *pk_realloc(void *old,
		 size_t bytes); /* takes old, returns owned; the new part is not zeroed */
void *pk_memdup(const void *data, size_t bytes); /* returns owned; NULL only when bytes is 0 */
char *pk_strdup(const char *text);               /* returns owned */
char *pk_strndup(const char *text, size_t len);  /* returns owned, NUL-terminated */
char *pk_asprintf(const char *fmt, ...) PK_PRINTF(1, 2); /* returns owned */

#endif
