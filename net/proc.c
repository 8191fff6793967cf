#include "net/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/loop_impl.h"

#define PROC_MAGIC 0x50524f43u

struct net_proc {
	struct net_handle h;
	struct net_loop *loop;
	net_exit_f *on_exit;
	void *owner;
	bool ended;
	bool forgotten; /* by its owner; we stay to collect its exit status */
	uv_process_t uv;
};

static void on_proc_closed(uv_handle_t *uv)
{
	free(PK_CONTAINER(uv, struct net_proc, uv));
}

static void proc_abandon(struct net_handle *h)
{
	struct net_proc *p = (struct net_proc *)(void *)h;

	PK_ASSERT(h->magic == PROC_MAGIC);
	h->magic = 0;
	uv_close((uv_handle_t *)&p->uv, on_proc_closed);
}

static void on_uv_exit(uv_process_t *uv, int64_t exit_status, int term_signal)
{
	struct net_proc *p = PK_CONTAINER(uv, struct net_proc, uv);

	PK_ASSERT(p->h.magic == PROC_MAGIC);
	loop_enter(p->loop);
	p->ended = true;
	if (p->forgotten)
		proc_abandon(&p->h);
	else if (p->on_exit != NULL)
		p->on_exit(p->owner, exit_status, term_signal);
}

/* Descriptor to give to the child, -1: none. *opened: ours to close after the spawn. */
static int output_open(const char *path, int fd, bool *opened, int *out, struct pk_err *err)
{
	*opened = path != NULL;
	*out = fd > 0 ? fd : -1;
	if (path == NULL)
		return 0;
	*out = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (*out < 0) {
		*opened = false;
		return pk_err_sys(err, errno, "open %s", path);
	}
	return 0;
}

struct net_proc *net_proc_spawn(struct net_loop *l, const struct net_proc_opts *opts,
				net_exit_f *on_exit, void *owner, struct pk_err *err)
{
	bool opened[3] = { false, false, false };
	int fds[3] = { -1, -1, -1 }, rc;
	uv_stdio_container_t stdio[3];
	uv_process_options_t o = { 0 };
	struct net_proc *p = NULL;

	PK_ASSERT(opts->argv != NULL && opts->argv[0] != NULL);
	rc = output_open(opts->stdout_file, opts->stdout_fd, &opened[1], &fds[1], err);
	if (rc == 0)
		rc = output_open(opts->stderr_file, opts->stderr_fd, &opened[2], &fds[2], err);
	if (rc != 0)
		goto out;
	for (int i = 0; i < 3; i++) {
		/* UV_IGNORE opens /dev/null there */
		stdio[i].flags = fds[i] >= 0 ? UV_INHERIT_FD : UV_IGNORE;
		stdio[i].data.fd = fds[i];
	}
	o.file = opts->argv[0];
	o.args = (char **)(uintptr_t)opts->argv;
	o.env = (char **)(uintptr_t)opts->env;
	o.cwd = opts->cwd;
	o.stdio = stdio;
	o.stdio_count = 3;
	o.flags = opts->detached ? UV_PROCESS_DETACHED : 0;
	o.exit_cb = on_uv_exit;
	p = pk_alloc(sizeof(*p));
	p->h = (struct net_handle){ .magic = PROC_MAGIC, .abandon = proc_abandon };
	p->loop = l;
	p->on_exit = on_exit;
	p->owner = owner;
	rc = uv_spawn(&l->uv, &p->uv, &o);
	p->uv.data = &p->h;
	if (rc != 0) {
		pk_ignore(net_err_uv(err, rc, opts->cwd != NULL ? "start %s in %s" : "start %s",
				     opts->argv[0], opts->cwd),
			  "NULL tells it");
		proc_abandon(&p->h);
		p = NULL;
	} else if (opts->detached) {
		uv_unref((uv_handle_t *)&p->uv);
	}
out:
	for (int i = 1; i < 3; i++) {
		if (opened[i])
			pk_ignore(close(fds[i]), "the child has its own");
	}
	return p;
}

int net_proc_pid(const struct net_proc *p)
{
	PK_ASSERT(p->h.magic == PROC_MAGIC);
	return p->uv.pid;
}

int net_proc_kill(struct net_proc *p, int signum, struct pk_err *err)
{
	int rc;

	PK_ASSERT(p->h.magic == PROC_MAGIC);
	if (p->ended) /* the id may be another's by now */
		return pk_err_set(err, PK_ENOENT, "process %d has ended", p->uv.pid);
	rc = uv_process_kill(&p->uv, signum);
	return rc == 0 ? 0 : net_err_uv(err, rc, "signal %d to process %d", signum, p->uv.pid);
}

void net_proc_free(struct net_proc *p)
{
	if (p == NULL)
		return;
	PK_ASSERT(p->h.magic == PROC_MAGIC && !p->forgotten);
	p->forgotten = true;
	if (p->ended)
		proc_abandon(&p->h);
	else
		uv_unref((uv_handle_t *)&p->uv);
}

int net_pid_kill(int pid, int signum, struct pk_err *err)
{
	if (pid < 2)
		return pk_err_set(err, PK_EINVAL, "process %d: not one of ours", pid);
	if (kill(pid, signum) == 0)
		return 0;
	if (errno == ESRCH)
		return pk_err_set(err, PK_ENOENT, "process %d: no such process", pid);
	return pk_err_sys(err, errno, "signal %d to process %d", signum, pid);
}
