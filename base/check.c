#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void pk_assert_fail(const char *file, int line, const char *text)
{
	fprintf(stderr, "%s:%d: invariant broken: %s\n", file, line, text);
	fflush(stderr);
	abort();
}

void pk_damage_stop(const char *file, int line, const char *text)
{
	fprintf(stderr, "%s:%d: stored data is damaged: %s\n", file, line, text);
	fflush(stderr);
	_exit(PK_EXIT_DAMAGE);
}
