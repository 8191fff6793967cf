#include "cli/bench_proc_io.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"

#define PROC_FILE_BYTES_MAX 65536
#define NS_PER_S            UINT64_C(1000000000)
#define STAT_FIELDS_BEFORE  11 /* between the name and utime */

int bench_pids_parse(struct bench_pids *to, const char *text, struct pk_err *err)
{
	struct bench_pids out = { .count = 0 };
	const char *at = text;

	while (*at != '\0') {
		char *end;
		long pid;

		errno = 0;
		pid = strtol(at, &end, 10);
		if (end == at || errno != 0 || pid <= 0 || pid > INT32_MAX ||
		    (*end != ',' && *end != '\0'))
			return pk_err_set(err, PK_EINVAL,
					  "pids %s: want process ids separated by commas", text);
		if (out.count == BENCH_PIDS_MAX)
			return pk_err_set(err, PK_ELIMIT, "pids %s: at most %d", text,
					  BENCH_PIDS_MAX);
		out.pids[out.count++] = (pid_t)pid;
		at = *end == ',' ? end + 1 : end;
	}
	*to = out;
	return 0;
}

/* The text of /proc/PID/name, or NULL. */
static const char *proc_text(pid_t pid, const char *name, struct pk_buf *to)
{
	char path[64];

	pk_ignore(snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name), "it fits");
	pk_buf_clear(to);
	return pk_file_read(path, PROC_FILE_BYTES_MAX, to, NULL) == 0 ? pk_buf_str(to) : NULL;
}

static void add_process(struct bench_proc_use *use, pid_t pid, struct pk_buf *buf)
{
	const char *text = proc_text(pid, "stat", buf);
	uint64_t ticks = (uint64_t)sysconf(_SC_CLK_TCK);
	uint64_t user, kernel, pages, bytes;

	text = text != NULL ? strrchr(text, ')') : NULL;
	for (int i = 0; text != NULL && i <= STAT_FIELDS_BEFORE; i++)
		text = strchr(text + 1, ' ');
	if (text != NULL && sscanf(text, " %" SCNu64 " %" SCNu64, &user, &kernel) == 2)
		use->cpu_ns += (user + kernel) * (NS_PER_S / ticks);

	text = proc_text(pid, "statm", buf);
	if (text != NULL && sscanf(text, "%*u %" SCNu64, &pages) == 1) {
		bytes = pages * (uint64_t)sysconf(_SC_PAGESIZE);
		use->rss_bytes_sum += bytes;
		if (bytes > use->rss_bytes)
			use->rss_bytes = bytes;
	}

	text = proc_text(pid, "io", buf);
	text = text != NULL ? strstr(text, "\nwrite_bytes: ") : NULL;
	if (text != NULL && sscanf(text, "\nwrite_bytes: %" SCNu64, &bytes) == 1)
		use->written_bytes += bytes;
}

struct bench_proc_use bench_proc_use(const struct bench_pids *pids)
{
	struct bench_proc_use use = { 0 };
	struct pk_buf buf = PK_BUF_INIT;

	for (size_t i = 0; i < pids->count; i++)
		add_process(&use, pids->pids[i], &buf);
	pk_buf_release(&buf);
	return use;
}

struct bench_proc_use bench_proc_since(const struct bench_proc_use *earlier,
				       const struct bench_proc_use *later)
{
	struct bench_proc_use use = *later;

	/* a server that ended meanwhile took its share with it */
	use.cpu_ns = later->cpu_ns > earlier->cpu_ns ? later->cpu_ns - earlier->cpu_ns : 0;
	use.written_bytes = later->written_bytes > earlier->written_bytes
				    ? later->written_bytes - earlier->written_bytes
				    : 0;
	return use;
}

uint64_t bench_proc_own_cpu_ns(void)
{
	struct timespec t;

	PK_ASSERT(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t) == 0);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

uint64_t bench_proc_now_ns(void)
{
	struct timespec t;

	PK_ASSERT(clock_gettime(CLOCK_MONOTONIC, &t) == 0);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}
