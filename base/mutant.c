#include "base/mutant.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* That the code was come by at all is worth knowing of a mutant that nobody catches. */
static void note_reached(void)
{
	const char *mark = getenv("PK_MUTANT_REACHED");
	int fd = mark != NULL ? open(mark, O_WRONLY | O_CREAT | O_CLOEXEC, 0600) : -1;

	if (fd >= 0)
		close(fd);
}

bool pk_mutant_selected(const char *name)
{
	const char *want = getenv("PK_MUTANT");

	if (want == NULL || strcmp(want, name) != 0)
		return false;
	note_reached();
	return true;
}
