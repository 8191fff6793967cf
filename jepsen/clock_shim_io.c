/*
 * build/jepsen-clock.so - a wall clock that is wrong, for one process, and may jump while it runs.
 *
 * Preloaded into a server. PADDOCK_CLOCK names a file of two 64-bit little-endian numbers, mapped
 * shared: nanoseconds to add to the wall clock, and a drift in parts per million by which the
 * monotonic clock runs fast (or slow), counted from the start of the process. Whoever writes the
 * file moves the clock at once.
 *
 * Why not libfaketime: it takes a semaphore and shared memory under /dev/shm at the start, which a
 * kill -9 leaves behind; it changes pthread_cond_timedwait and friends, in which it has hung
 * programs; and it moves all clocks, or none of them, by one rule. A time namespace moves no wall
 * clock. These are the three calls by which a program asks for the time, and nothing else. Waiting
 * (epoll_wait, nanosleep) goes by the true clock, as a drifting machine's would by its own.
 */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S INT64_C(1000000000)

struct shift {
	_Atomic int64_t wall_ns;
	_Atomic int64_t drift_ppm;
};

static struct shift none;
static struct shift *shift = &none;
static int64_t started_ns;

/* The kernel itself: the C library's own clock_gettime is what we stand in front of. */
static int true_clock(clockid_t id, struct timespec *out)
{
	return (int)syscall(SYS_clock_gettime, id, out);
}

static int64_t true_ns(clockid_t id)
{
	struct timespec t;

	return true_clock(id, &t) == 0 ? t.tv_sec * NS_PER_S + t.tv_nsec : 0;
}

static __attribute__((constructor)) void shift_map(void)
{
	const char *path = getenv("PADDOCK_CLOCK");
	int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
	void *at;

	started_ns = true_ns(CLOCK_MONOTONIC);
	if (fd < 0)
		return;
	at = mmap(NULL, sizeof(*shift), PROT_READ, MAP_SHARED, fd, 0);
	if (at != MAP_FAILED)
		shift = at;
	close(fd);
}

static int64_t drifted(int64_t monotonic_ns)
{
	int64_t ppm = atomic_load_explicit(&shift->drift_ppm, memory_order_relaxed);

	return (monotonic_ns - started_ns) / 1000 * ppm / 1000;
}

int clock_gettime(clockid_t id, struct timespec *out)
{
	int rc = true_clock(id, out);
	int64_t ns;

	if (rc != 0)
		return rc;
	ns = out->tv_sec * NS_PER_S + out->tv_nsec;
	if (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)
		ns += atomic_load_explicit(&shift->wall_ns, memory_order_relaxed);
	else if (id == CLOCK_MONOTONIC || id == CLOCK_MONOTONIC_COARSE || id == CLOCK_BOOTTIME)
		ns += drifted(ns);
	else
		return 0;
	out->tv_sec = ns / NS_PER_S;
	out->tv_nsec = ns % NS_PER_S;
	return 0;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone)
{
	struct timespec t;

	(void)zone;
	if (clock_gettime(CLOCK_REALTIME, &t) != 0)
		return -1;
	out->tv_sec = t.tv_sec;
	out->tv_usec = t.tv_nsec / 1000;
	return 0;
}

time_t time(time_t *out)
{
	struct timespec t;

	if (clock_gettime(CLOCK_REALTIME, &t) != 0)
		return -1;
	if (out != NULL)
		*out = t.tv_sec;
	return t.tv_sec;
}
