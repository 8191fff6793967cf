#include "cli/proc_io.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "net/proc.h"

#define STAT_BYTES      2048
#define STAT_STATE      0 /* fields behind the name, which may hold anything */
#define STAT_START_TIME 19

/* /proc's files have no length, so base/file.h cannot know them. */
static int slurp(const char *path, char *out, size_t room)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -1;
	n = read(fd, out, room - 1);
	pk_ignore(close(fd), "only read from");
	if (n < 0)
		return -1;
	out[n] = '\0';
	return 0;
}

static const char *field(const char *at, int index)
{
	for (int i = 0; at != NULL && i < index; i++) {
		at = strchr(at, ' ');
		at = at != NULL ? at + 1 : NULL;
	}
	return at;
}

int proc_id_of(int pid, struct proc_id *out, struct pk_err *err)
{
	char path[64], text[STAT_BYTES];
	struct proc_id id = { .pid = pid };
	const char *fields, *start;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (pid < 2 || slurp(path, text, sizeof(text)) != 0)
		return pk_err_set(err, PK_ENOENT, "no process %d", pid);
	fields = strrchr(text, ')');
	start = fields != NULL && fields[1] == ' ' ? field(fields + 2, STAT_START_TIME) : NULL;
	if (start == NULL || sscanf(start, "%" SCNu64, &id.start_ticks) != 1)
		return pk_err_set(err, PK_EIO, "%s: not as expected", path);
	if (fields[2 + STAT_STATE] == 'Z' || fields[2 + STAT_STATE] == 'X')
		return pk_err_set(err, PK_ENOENT, "process %d has ended", pid);
	if (slurp("/proc/sys/kernel/random/boot_id", id.boot, sizeof(id.boot)) != 0)
		return pk_err_set(err, PK_EIO, "no boot id in /proc");
	id.boot[strcspn(id.boot, "\n")] = '\0';
	*out = id;
	return 0;
}

bool proc_alive(const struct proc_id *id)
{
	struct proc_id now;
	struct pk_err err = PK_ERR_INIT;

	return id->pid > 1 && proc_id_of(id->pid, &now, &err) == 0 &&
	       now.start_ticks == id->start_ticks && strcmp(now.boot, id->boot) == 0;
}

bool proc_signal(const struct proc_id *id, int signum)
{
	struct pk_err err = PK_ERR_INIT;

	return proc_alive(id) && net_pid_kill(id->pid, signum, &err) == 0;
}
