/*
 * paddock-slowlink - a slow and lossy link, for kernels without tc's netem.
 *
 * Runs as root in the network namespace of a host. It makes the tun device --tun; whoever started
 * it routes addresses into that device. Each packet that comes out of it waits for its delay, or is
 * lost, or sent twice, and leaves by --out, to which the raw socket is bound: the kernel then looks
 * for a route through that device only, so no packet comes back here. When the process ends the
 * device and the routes through it are gone, and the link is as it was.
 *
 * With --jitter and without --keep-order packets overtake each other. At most PACKETS_MAX wait;
 * more are lost, as in a real queue. Prints "ready" when the device is up. Facts: Linux
 * Documentation/networking/tuntap.rst; raw(7), IP_HDRINCL.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <poll.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/opt.h"
#include "base/rng.h"

#define PACKETS_MAX      8192u
#define PACKET_BYTES_MAX 2048u
#define NS_PER_MS        INT64_C(1000000)
#define PER_THOUSAND     1000u

struct options {
#define OPT(field, name, type, dflt, least, most, unit, group, help) PK_OPT_FIELD(type, field)
#include "jepsen/slowlink.tbl"
#undef OPT
};

static const struct pk_opt option_rows[] = {
#define OPT(field, name, type, dflt, least, most, unit, group, help)                               \
	PK_OPT_ROW(struct options, field, name, type, dflt, least, most, unit, group, help)
#include "jepsen/slowlink.tbl"
#undef OPT
};

static const struct pk_cmd command = {
	.name = "paddock-slowlink",
	.args = "",
	.about = "Delays, loses and doubles the packets that are routed into its tun device.",
	.opts = option_rows,
	.opts_count = PK_COUNT(option_rows),
};

struct packet {
	int64_t due_ns;
	uint64_t number; /* of arrival: among equal times the order stays */
	size_t len;
	uint8_t bytes[PACKET_BYTES_MAX];
};

/* Packets under way: a heap by due time. */
struct link {
	const struct options *opts;
	struct pk_rng rng;
	int tun, out;
	struct packet *heap[PACKETS_MAX];
	size_t count;
	uint64_t arrived;
	int64_t last_due_ns;
};

static int64_t now_ns(void)
{
	struct timespec t;

	PK_ASSERT(clock_gettime(CLOCK_MONOTONIC, &t) == 0);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static bool before(const struct packet *a, const struct packet *b)
{
	return a->due_ns < b->due_ns || (a->due_ns == b->due_ns && a->number < b->number);
}

static void link_put(struct link *l, const uint8_t *bytes, size_t len, int64_t due_ns)
{
	size_t i = l->count;
	struct packet *p;

	if (l->count == PACKETS_MAX)
		return; /* lost: the queue is full */
	p = pk_alloc(sizeof(*p));
	p->due_ns = due_ns;
	p->number = l->arrived++;
	p->len = len;
	memcpy(p->bytes, bytes, len);
	l->count++;
	for (; i > 0 && before(p, l->heap[(i - 1) / 2]); i = (i - 1) / 2)
		l->heap[i] = l->heap[(i - 1) / 2];
	l->heap[i] = p;
}

static struct packet *link_take(struct link *l)
{
	struct packet *first = l->heap[0], *last = l->heap[--l->count];
	size_t i = 0, child;

	for (; (child = 2 * i + 1) < l->count; i = child) {
		if (child + 1 < l->count && before(l->heap[child + 1], l->heap[child]))
			child++;
		if (!before(l->heap[child], last))
			break;
		l->heap[i] = l->heap[child];
	}
	l->heap[i] = last;
	return first;
}

/* Reads what the device has, and decides when each packet leaves. */
static void link_arrive(struct link *l)
{
	uint8_t bytes[PACKET_BYTES_MAX];
	ssize_t len;

	while ((len = read(l->tun, bytes, sizeof(bytes))) > 0) {
		int copies = pk_rng_below(&l->rng, PER_THOUSAND) < (uint64_t)l->opts->twice ? 2 : 1;

		if (pk_rng_below(&l->rng, PER_THOUSAND) < (uint64_t)l->opts->loss)
			continue;
		if ((size_t)len < sizeof(struct iphdr) || bytes[0] >> 4 != 4)
			continue; /* only IPv4 is routed here */
		while (copies-- > 0) {
			int64_t wait_ns = l->opts->delay_ms * NS_PER_MS;
			int64_t due_ns;

			if (l->opts->jitter_ms > 0)
				wait_ns += pk_rng_range(&l->rng, 0, l->opts->jitter_ms * NS_PER_MS);
			due_ns = now_ns() + wait_ns;
			if (l->opts->keep_order && due_ns < l->last_due_ns)
				due_ns = l->last_due_ns;
			l->last_due_ns = due_ns;
			link_put(l, bytes, (size_t)len, due_ns);
		}
	}
}

static void link_leave(struct link *l)
{
	while (l->count > 0 && l->heap[0]->due_ns <= now_ns()) {
		struct packet *p = link_take(l);
		struct iphdr ip;
		struct sockaddr_in to = { .sin_family = AF_INET };

		memcpy(&ip, p->bytes, sizeof(ip));
		to.sin_addr.s_addr = ip.daddr;
		pk_ignore(sendto(l->out, p->bytes, p->len, MSG_DONTWAIT, (struct sockaddr *)&to,
				 sizeof(to)),
			  "a packet that cannot leave is lost, which is what packets do");
		free(p);
	}
}

static int tun_open(const char *name, struct pk_err *err)
{
	struct ifreq request = { .ifr_flags = IFF_TUN | IFF_NO_PI };
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	int control = -1, rc = 0;

	if (fd < 0)
		return pk_err_sys(err, errno, "open /dev/net/tun");
	pk_ignore(snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name),
		  "the option table bounds its length");
	control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (control < 0 || ioctl(fd, TUNSETIFF, &request) != 0)
		rc = pk_err_sys(err, errno, "make device %s", name);
	if (rc == 0) {
		request.ifr_flags = IFF_UP | IFF_RUNNING;
		if (ioctl(control, SIOCSIFFLAGS, &request) != 0)
			rc = pk_err_sys(err, errno, "bring up %s", name);
	}
	if (control >= 0)
		close(control);
	if (rc != 0) {
		close(fd);
		return rc;
	}
	return fd;
}

static int raw_open(const char *device, struct pk_err *err)
{
	int fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW); /* implies IP_HDRINCL */

	if (fd < 0)
		return pk_err_sys(err, errno, "raw socket");
	if (setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, (socklen_t)strlen(device)) != 0) {
		int rc = pk_err_sys(err, errno, "bind to %s", device);

		close(fd);
		return rc;
	}
	return fd;
}

static void link_run(struct link *l)
{
	for (;;) {
		struct pollfd p = { .fd = l->tun, .events = POLLIN };
		struct timespec wait = { 0 }, *at_most = NULL;

		if (l->count > 0) {
			int64_t left_ns = l->heap[0]->due_ns - now_ns();

			if (left_ns < 0)
				left_ns = 0;
			wait.tv_sec = left_ns / INT64_C(1000000000);
			wait.tv_nsec = left_ns % INT64_C(1000000000);
			at_most = &wait;
		}
		if (ppoll(&p, 1, at_most, NULL) < 0 && errno != EINTR)
			return;
		link_arrive(l);
		link_leave(l);
	}
}

int main(int argc, char **argv)
{
	struct options opts;
	struct pk_strs args = PK_STRS_INIT;
	struct pk_err err = PK_ERR_INIT;
	struct pk_buf help = PK_BUF_INIT;
	static struct link l;

	pk_opt_defaults(option_rows, PK_COUNT(option_rows), &opts);
	int rc = pk_cmd_parse(&command, argc, argv, &opts, &args, &err);
	if (rc == PK_CMD_HELP) {
		pk_cmd_help(&command, &help);
		fputs(pk_buf_str(&help), stdout);
		pk_buf_release(&help);
		return 0;
	}
	if (rc < 0) {
		fprintf(stderr, "paddock-slowlink: %s\n", err.text);
		return 2;
	}
	l.opts = &opts;
	pk_rng_seed(&l.rng, (uint64_t)opts.seed);
	l.tun = tun_open(opts.tun, &err);
	l.out = l.tun < 0 ? -1 : raw_open(opts.out, &err);
	if (l.tun < 0 || l.out < 0) {
		fprintf(stderr, "paddock-slowlink: %s\n", err.text);
		return 3;
	}
	puts("ready");
	fflush(stdout);
	link_run(&l);
	return 3;
}
