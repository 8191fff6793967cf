#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static PK_NORETURN void out_of_memory(size_t bytes)
{
	fprintf(stderr, "out of memory: %zu bytes refused\n", bytes);
	abort();
}

void *pk_alloc(size_t bytes)
{
	void *p = calloc(1, bytes > 0 ? bytes : 1);

	if (p == NULL)
		out_of_memory(bytes);
	return p;
}

void *pk_realloc(void *old, size_t bytes)
{
	void *p = realloc(old, bytes > 0 ? bytes : 1);

	if (p == NULL)
		out_of_memory(bytes);
	return p;
}

void *pk_memdup(const void *data, size_t bytes)
{
	if (bytes == 0)
		return NULL;
	void *p = malloc(bytes);
	if (p == NULL)
		out_of_memory(bytes);
	memcpy(p, data, bytes);
	return p;
}

char *pk_strndup(const char *text, size_t len)
{
	char *p = pk_alloc(len + 1);

	if (len > 0) /* of nothing, `text` may be NULL */
		memcpy(p, text, len);
	return p;
}

char *pk_strdup(const char *text)
{
	return pk_strndup(text, strlen(text));
}

char *pk_asprintf(const char *fmt, ...)
{
	va_list args;
	char *text = NULL;

	va_start(args, fmt);
	int len = vasprintf(&text, fmt, args);
	va_end(args);
	if (len < 0)
		out_of_memory(0);
	return text;
}
