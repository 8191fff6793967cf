#include "store/memory_io.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"

#define PATH_BYTES 4096
#define GROUPS     "/sys/fs/cgroup"

/* A limit that a file holds; UINT64_MAX where there is none, or no such file. */
static uint64_t limit_in(const char *root, const char *folder, const char *name)
{
	char path[PATH_BYTES], text[32] = "", *end;
	int n = snprintf(path, sizeof(path), "%s%s/%s", root, folder, name);
	FILE *f = n > 0 && (size_t)n < sizeof(path) ? fopen(path, "re") : NULL;

	if (f == NULL)
		return UINT64_MAX;
	bool read = fgets(text, sizeof(text), f) != NULL;
	pk_ignore(fclose(f), "it was only read");
	errno = 0;
	uint64_t bytes = strtoull(text, &end, 10);
	return read && end != text && errno == 0 ? bytes : UINT64_MAX; /* "max" is no number */
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Of a group and all above it, up to where they are mounted. In a container the path is often the
 * host's, and its own group is mounted as the root. `group` is "/a/b", and is cut. */
static uint64_t limit_of(const char *root, const char *mounted, char *group,
			 const char *const names[])
{
	uint64_t limit = UINT64_MAX;

	for (;;) {
		char folder[PATH_BYTES];
		int n = snprintf(folder, sizeof(folder), "%s%s", mounted, group);
		for (size_t i = 0; n > 0 && (size_t)n < sizeof(folder) && names[i] != NULL; i++)
			limit = least(limit, limit_in(root, folder, names[i]));
		char *slash = strrchr(group, '/');
		if (slash == NULL)
			return limit;
		*slash = '\0';
	}
}

static bool names_memory(const char *controllers)
{
	for (const char *at = controllers; *at != '\0';) {
		size_t len = strcspn(at, ",");
		if (len == 6 && memcmp(at, "memory", 6) == 0)
			return true;
		at += len + (at[len] == ',');
	}
	return false;
}

static uint64_t limit_of_groups(const char *root)
{
	static const char *const version_1[] = { "memory.limit_in_bytes", NULL };
	static const char *const version_2[] = { "memory.max", "memory.high", NULL };
	char path[PATH_BYTES], line[PATH_BYTES];
	int n = snprintf(path, sizeof(path), "%s/proc/self/cgroup", root);
	FILE *f = n > 0 && (size_t)n < sizeof(path) ? fopen(path, "re") : NULL;
	uint64_t limit = UINT64_MAX;

	if (f == NULL)
		return limit;
	while (fgets(line, sizeof(line), f) != NULL) { /* number:controllers:path */
		char *controllers = strchr(line, ':');
		char *group = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
		if (group == NULL)
			continue;
		controllers++;
		*group++ = '\0';
		group[strcspn(group, "\n")] = '\0';
		if (*controllers == '\0')
			limit = least(limit, limit_of(root, GROUPS, group, version_2));
		else if (names_memory(controllers))
			limit = least(limit, limit_of(root, GROUPS "/memory", group, version_1));
	}
	pk_ignore(fclose(f), "it was only read");
	return limit;
}

uint64_t memory_may_have(const char *root)
{
	long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
	uint64_t machine = pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : UINT64_MAX;

	return least(machine, limit_of_groups(root));
}
