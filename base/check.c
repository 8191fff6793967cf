#include "base/check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MARK_BYTES_MAX 4200

static char mark_file[MARK_BYTES_MAX], mark_dir[MARK_BYTES_MAX];
static atomic_flag stopping = ATOMIC_FLAG_INIT;

void pk_assert_fail(const char *file, int line, const char *text)
{
	fprintf(stderr, "%s:%d: invariant broken: %s\n", file, line, text);
	fflush(stderr);
	abort();
}

void pk_damage_mark_at(const char *dir, const char *name)
{
	mark_file[0] = 0;
	if (dir == NULL || strlen(dir) + strlen(name) + 2 > sizeof(mark_file))
		return; /* damage then leaves no mark, and ends with the status for a person */
	snprintf(mark_dir, sizeof(mark_dir), "%s", dir);
	snprintf(mark_file, sizeof(mark_file), "%s/%s", dir, name);
}

/* ---- from here on: only what a signal handler may call ---- */

static bool write_all(int fd, const char *text, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, text, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		text += n;
		len -= (size_t)n;
	}
	return true;
}

static bool sync_and_close(int fd)
{
	bool done = fd >= 0 && fsync(fd) == 0;

	if (fd >= 0)
		close(fd);
	return done;
}

int pk_damage_mark(const char *text)
{
	if (mark_file[0] == 0)
		return PK_EXIT_DAMAGE;
	int fd = open(mark_file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return PK_EXIT_DAMAGE;
	/* That it is there is what counts; its text is for people. */
	bool told = write_all(fd, text, strlen(text));
	bool synced = sync_and_close(fd);
	synced = sync_and_close(open(mark_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) && synced;
	return told && synced ? PK_EXIT_HEAL : PK_EXIT_DAMAGE;
}

static void add(char *to, size_t *at, size_t most, const char *text)
{
	for (; *text != 0 && *at + 1 < most; text++)
		to[(*at)++] = *text;
	to[*at] = 0;
}

void pk_damage_stop(const char *file, int line, const char *text)
{
	char said[1024], digits[16];
	size_t at = 0, digit = sizeof(digits);
	unsigned left = line > 0 ? (unsigned)line : 0;

	if (atomic_flag_test_and_set(&stopping)) {
		/* Another thread is at it, or a fault met us in the middle of it. */
		nanosleep(&(struct timespec){ .tv_sec = 2 }, NULL);
		_exit(PK_EXIT_DAMAGE);
	}
	digits[--digit] = 0;
	do {
		digits[--digit] = (char)('0' + left % 10);
		left /= 10;
	} while (left > 0);
	add(said, &at, sizeof(said) - 1, file);
	add(said, &at, sizeof(said) - 1, ":");
	add(said, &at, sizeof(said) - 1, digits + digit);
	add(said, &at, sizeof(said) - 1, ": stored data is damaged: ");
	add(said, &at, sizeof(said) - 1, text);
	said[at++] = '\n';
	pk_ignore(write_all(STDERR_FILENO, said, at), "the status tells it as well");
	said[at - 1] = 0;
	_exit(pk_damage_mark(said));
}
