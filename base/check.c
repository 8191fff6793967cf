#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>

void pk_assert_fail(const char *file, int line, const char *text)
{
	fprintf(stderr, "%s:%d: invariant broken: %s\n", file, line, text);
	fflush(stderr);
	abort();
}
