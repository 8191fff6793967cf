/*
 * net/proc.h - child processes.
 *
 * The child gets default signal handling, an empty signal mask, the three standard descriptors
 * asked for and no other of ours (all of net/ opens with O_CLOEXEC).
 */
#ifndef PK_NET_PROC_H
#define PK_NET_PROC_H

#include "net/loop.h"

struct net_proc;

/* Exited with exit_status, or was killed by term_signal (0: was not). */
typedef void net_exit_f(void *owner, int64_t exit_status, int term_signal);

struct net_proc_opts {
	const char *const *argv; /* argv[0] is looked up in PATH; ends with NULL */
	const char *const *env;  /* "NAME=value", ends with NULL; NULL: ours */
	const char *cwd;         /* NULL: ours */
	/* Where its output goes: append to a file (made 0644), or a descriptor of ours, or nowhere.
	 */
	const char *stdout_file;
	const char *stderr_file; /* may name the same file */
	int stdout_fd;           /* used if > 0 and no file is named */
	int stderr_fd;
	bool detached; /* setsid: outlives us and our terminal */
};

/*
 * Starts it. NULL with err: PK_ENOENT (no such program or directory), PK_EIO. on_exit (may be NULL)
 * comes once, when it has ended. A detached child does not keep the loop running.
 */
struct net_proc *net_proc_spawn(struct net_loop *l, const struct net_proc_opts *opts,
				net_exit_f *on_exit, void *owner, struct pk_err *err);
int net_proc_pid(const struct net_proc *p);
/* PK_ENOENT when it has ended. */
PK_CHECKED int net_proc_kill(struct net_proc *p, int signum, struct pk_err *err);
/* Forget it: it runs on, on_exit does not come. NULL is allowed. */
void net_proc_free(struct net_proc *p);

/* By process id, for children of an earlier run. Refuses ids below 2 (PK_EINVAL); PK_ENOENT when
 * there is no such process. Signal 0 only asks whether it exists. */
PK_CHECKED int net_pid_kill(int pid, int signum, struct pk_err *err);

#endif
