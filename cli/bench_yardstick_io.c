#include "cli/bench_yardstick_io.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "zkproto/frame.h"
#include "zkproto/multi.h"

#define READ_BYTES      262144
#define FRAME_BYTES_MAX (4U << 20)
#define EVENTS_PER_TURN 512
#define BACKLOG         1024

struct guest {
	int fd;
	bool greeted, watches, waits; /* waits: to be written to */
	LIST_ENTRY(guest) watcher;
	struct zk_frame in;
	struct pk_buf out;
	size_t out_sent;
};

struct yard {
	const struct bench_work *work;
	int epoll_fd, listen_fd;
	int64_t zxid;
	int64_t sessions;
	uint8_t *read_buf, *value;
	struct pk_buf children;
	LIST_HEAD(, guest) watchers; /* of the one node that a fan-out sets */
};

static void guest_drop(struct guest *g)
{
	if (g->watches)
		LIST_REMOVE(g, watcher);
	pk_ignore(close(g->fd), "nothing is owed");
	zk_frame_release(&g->in);
	pk_buf_release(&g->out);
	free(g);
}

static struct zk_stat stat_of(const struct yard *y)
{
	return (struct zk_stat){ .mzxid = y->zxid, .data_length = (int32_t)y->work->value_bytes };
}

/* The number at the end of ".../n0000000042". */
static uint64_t key_of(struct pk_bytes path)
{
	uint64_t key = 0;
	size_t at = path.len;

	while (at > 0 && path.data[at - 1] >= '0' && path.data[at - 1] <= '9')
		at--;
	for (; at < path.len; at++)
		key = key * 10 + (uint64_t)(path.data[at] - '0');
	return key;
}

static int answer_multi(struct yard *y, struct zk_rd *r, struct pk_buf *out)
{
	struct zk_multi_op op = ZK_MULTI_OP_INIT;
	int rc;

	while ((rc = zk_multi_next(r, &op)) == 1) {
		zk_multi_result_header(out, ZK_OP_SET_DATA);
		zk_stat_resp_encode(out, &(struct zk_stat_resp){ .stat = stat_of(y) });
	}
	zk_multi_end(out);
	return rc;
}

static bool guest_flush(struct yard *y, struct guest *g);

static void watch(struct yard *y, struct guest *g)
{
	if (!g->watches)
		LIST_INSERT_HEAD(&y->watchers, g, watcher);
	g->watches = true;
}

/* Each is sent its event, as by a server: the one whose set it was has its reply behind it. */
static void tell_watchers(struct yard *y, const struct guest *setter, struct pk_bytes path)
{
	struct guest *g, *next;

	for (g = LIST_FIRST(&y->watchers); g != NULL; g = next) {
		next = LIST_NEXT(g, watcher);
		size_t frame = zk_frame_begin(&g->out);
		zk_reply_header_encode(&g->out, &(struct zk_reply_header){
							.xid = ZK_XID_NOTIFICATION, .zxid = -1 });
		zk_watcher_event_encode(&g->out,
					&(struct zk_watcher_event){ .type = ZK_EVENT_DATA_CHANGED,
								    .state = ZK_STATE_CONNECTED,
								    .path = path });
		zk_frame_end(&g->out, frame);
		LIST_REMOVE(g, watcher);
		g->watches = false;
		if (g != setter)
			pk_ignore(guest_flush(y, g), "one that is gone is dropped in its own turn");
	}
}

static int answer_body(struct yard *y, struct guest *g, int32_t opcode, struct zk_rd *r,
		       struct pk_buf *out)
{
	struct zk_path_watch_req read;
	struct pk_bytes path;

	switch (opcode) {
	case ZK_OP_CREATE:
	case ZK_OP_SYNC:
		path = zk_rd_ustring(r);
		zk_path_resp_encode(out, &(struct zk_path_resp){ .path = path });
		return r->bad ? PK_EPROTO : 0;
	case ZK_OP_SET_DATA:
	case ZK_OP_EXISTS:
		zk_stat_resp_encode(out, &(struct zk_stat_resp){ .stat = stat_of(y) });
		return 0;
	case ZK_OP_GET_DATA:
		if (zk_path_watch_req_decode(r, &read) != 0)
			return PK_EPROTO;
		if (read.watch)
			watch(y, g);
		bench_work_value(y->work, key_of(read.path), 0, y->value);
		zk_get_data_resp_encode(out,
					&(struct zk_get_data_resp){
						.data = pk_bytes(y->value, y->work->value_bytes),
						.stat = stat_of(y) });
		return 0;
	case ZK_OP_GET_CHILDREN:
		pk_buf_add_bytes(out, pk_buf_bytes(&y->children));
		return 0;
	case ZK_OP_MULTI:
		return answer_multi(y, r, out);
	default:
		return 0;
	}
}

/* Before the reply to a set: the events of its node. */
static int before_answer(struct yard *y, struct guest *g, struct zk_rd r)
{
	struct zk_req_header header;
	struct pk_bytes path;

	if (LIST_EMPTY(&y->watchers) || zk_req_header_decode(&r, &header) != 0 ||
	    header.type != ZK_OP_SET_DATA)
		return 0;
	path = zk_rd_ustring(&r);
	if (r.bad)
		return PK_EPROTO;
	tell_watchers(y, g, path);
	return 0;
}

static int answer(struct yard *y, struct guest *g, struct pk_bytes body)
{
	static const uint8_t password[ZK_PASSWORD_BYTES];
	struct zk_rd r = zk_rd(body);
	struct zk_req_header header;
	int rc = g->greeted ? before_answer(y, g, r) : 0;
	size_t frame = zk_frame_begin(&g->out);

	if (rc != 0)
		return rc;

	if (!g->greeted) {
		g->greeted = true;
		zk_connect_resp_encode(
			&g->out,
			&(struct zk_connect_resp){ .timeout_ms = 30000,
						   .session_id = ++y->sessions,
						   .password = pk_bytes(password, sizeof(password)),
						   .has_read_only = true });
	} else {
		if (zk_req_header_decode(&r, &header) != 0)
			return PK_EPROTO;
		y->zxid++;
		zk_reply_header_encode(
			&g->out, &(struct zk_reply_header){ .xid = header.xid, .zxid = y->zxid });
		rc = answer_body(y, g, header.type, &r, &g->out);
	}
	zk_frame_end(&g->out, frame);
	return rc;
}

/* False when the guest is gone. */
static bool guest_flush(struct yard *y, struct guest *g)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = g };

	while (g->out_sent < g->out.len) {
		ssize_t n = send(g->fd, g->out.data + g->out_sent, g->out.len - g->out_sent,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EAGAIN) {
			event.events = EPOLLOUT; /* reads on only when this is out */
			break;
		}
		if (n < 0)
			return false;
		g->out_sent += (size_t)n;
	}
	bool waits = g->out_sent != g->out.len;
	if (!waits) {
		pk_buf_clear(&g->out);
		g->out_sent = 0;
	}
	if (waits == g->waits)
		return true;
	g->waits = waits;
	return epoll_ctl(y->epoll_fd, EPOLL_CTL_MOD, g->fd, &event) == 0;
}

static bool guest_serve(struct yard *y, struct guest *g)
{
	ssize_t n = recv(g->fd, y->read_buf, READ_BYTES, MSG_DONTWAIT);
	struct pk_bytes body;
	int rc;

	if (n < 0)
		return errno == EAGAIN;
	if (n == 0)
		return false;
	zk_frame_feed(&g->in, pk_bytes(y->read_buf, (size_t)n));
	while ((rc = zk_frame_next(&g->in, &body, NULL)) == 1) {
		if (answer(y, g, body) != 0)
			return false;
	}
	return rc == 0;
}

static void guests_accept(struct yard *y)
{
	int fd, one = 1;

	while ((fd = accept4(y->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct guest *g = pk_alloc(sizeof(*g));
		struct epoll_event event = { .events = EPOLLIN, .data.ptr = g };

		g->fd = fd;
		zk_frame_init(&g->in, FRAME_BYTES_MAX);
		pk_ignore(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)),
			  "slower, not wrong");
		if (epoll_ctl(y->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
			guest_drop(g);
	}
}

PK_NORETURN static void serve(struct yard *y)
{
	struct epoll_event events[EVENTS_PER_TURN];
	struct epoll_event listening = { .events = EPOLLIN, .data.ptr = NULL };

	y->read_buf = pk_alloc(READ_BYTES);
	y->value = pk_alloc(y->work->value_bytes);
	zk_wr_int(&y->children, (int32_t)y->work->children);
	for (uint32_t i = 0; i < y->work->children; i++) {
		char name[16];

		pk_ignore(snprintf(name, sizeof(name), "n%010u", i), "it fits");
		zk_wr_ustring(&y->children, pk_bytes_str(name));
	}
	if (epoll_ctl(y->epoll_fd, EPOLL_CTL_ADD, y->listen_fd, &listening) != 0)
		_exit(1);
	for (;;) {
		int n = epoll_wait(y->epoll_fd, events, EVENTS_PER_TURN, -1);

		for (int i = 0; i < n; i++) {
			struct guest *g = events[i].data.ptr;

			if (g == NULL)
				guests_accept(y);
			else if (((events[i].events & EPOLLIN) != 0 && !guest_serve(y, g)) ||
				 (events[i].events & (EPOLLERR | EPOLLHUP)) != 0 ||
				 !guest_flush(y, g))
				guest_drop(g);
		}
	}
}

int bench_yardstick_start(const struct bench_work *w, pid_t *pid, uint16_t *port,
			  struct pk_err *err)
{
	struct yard y = { .work = w, .children = PK_BUF_INIT };
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);
	pid_t parent = getpid(), child = -1;

	y.listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	y.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (y.listen_fd >= 0 && y.epoll_fd >= 0 &&
	    bind(y.listen_fd, (struct sockaddr *)&at, sizeof(at)) == 0 &&
	    listen(y.listen_fd, BACKLOG) == 0 &&
	    getsockname(y.listen_fd, (struct sockaddr *)&at, &len) == 0)
		child = fork();
	int error_number = errno;
	if (child == 0) {
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
			_exit(1);
		serve(&y);
	}
	if (y.listen_fd >= 0)
		pk_ignore(close(y.listen_fd), "the child has it");
	if (y.epoll_fd >= 0)
		pk_ignore(close(y.epoll_fd), "the child has it");
	if (child < 0)
		return pk_err_sys(err, error_number, "start the yardstick");
	*pid = child;
	*port = ntohs(at.sin_port);
	return 0;
}

void bench_yardstick_stop(pid_t pid)
{
	pk_ignore(kill(pid, SIGKILL), "it may have ended by itself");
	pk_ignore(waitpid(pid, NULL, 0), "how it ended does not matter");
}
