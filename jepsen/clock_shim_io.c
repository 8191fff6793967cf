/*
 * build/jepsen-clock.so - a wall clock that is wrong, for one process, and may jump while it runs.
 *
 * Preloaded into a server. PADDOCK_CLOCK names a file of six 64-bit little-endian numbers (struct
 * shift), mapped shared; whoever writes it moves the clocks at once. The wall clock jumps. The
 * monotonic one runs fast or slow by so many parts per million, and never jumps: a new rate begins
 * at a moment that lies ahead when it is written, with the offset that the old rate will have made
 * by then.
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
	_Atomic uint64_t sequence;  /* odd while it is being written */
	_Atomic int64_t wall_ns;    /* added to the wall clock */
	_Atomic int64_t anchor_ns;  /* true monotonic time at which the new rate begins */
	_Atomic int64_t offset_ns;  /* of the monotonic clock at that time */
	_Atomic int64_t before_ppm; /* how much faster it runs before that, and after */
	_Atomic int64_t after_ppm;
};

#define READ_TRIES_MAX 100000

static struct shift none;
static struct shift *shift = &none;

/* The kernel itself: the C library's own clock_gettime is what we stand in front of. */
static int true_clock(clockid_t id, struct timespec *out)
{
	return (int)syscall(SYS_clock_gettime, id, out);
}

static __attribute__((constructor)) void shift_map(void)
{
	const char *path = getenv("PADDOCK_CLOCK");
	int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
	void *at;

	if (fd < 0)
		return;
	at = mmap(NULL, sizeof(*shift), PROT_READ, MAP_SHARED, fd, 0);
	if (at != MAP_FAILED)
		shift = at;
	close(fd);
}

static int64_t get(const _Atomic int64_t *at)
{
	return atomic_load_explicit(at, memory_order_relaxed);
}

/* What a true monotonic time is off by. */
static int64_t drifted(int64_t monotonic_ns)
{
	int64_t off_ns = 0;

	for (int i = 0; i < READ_TRIES_MAX; i++) {
		uint64_t sequence = atomic_load_explicit(&shift->sequence, memory_order_acquire);
		int64_t since_ns = monotonic_ns - get(&shift->anchor_ns);
		int64_t ppm = get(since_ns < 0 ? &shift->before_ppm : &shift->after_ppm);

		off_ns = get(&shift->offset_ns) + since_ns / 1000 * ppm / 1000;
		atomic_thread_fence(memory_order_acquire);
		if (sequence % 2 == 0 &&
		    atomic_load_explicit(&shift->sequence, memory_order_relaxed) == sequence)
			break;
	}
	return off_ns;
}

int clock_gettime(clockid_t id, struct timespec *out)
{
	int rc = true_clock(id, out);
	int64_t ns;

	if (rc != 0)
		return rc;
	ns = out->tv_sec * NS_PER_S + out->tv_nsec;
	if (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)
		ns += get(&shift->wall_ns);
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
