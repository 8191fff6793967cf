/*
 * cli/cluster_io.h - a cluster of servers on this machine, in a folder:
 *
 *     cluster.json          servers, their ports, and the processes that were started
 *     server.N/zoo.cfg      written once; a person may change it
 *     server.N/data/        dataDir
 *     server.N/log          what the server said, all runs
 *     lock                  held by the command that is changing something
 */
#ifndef PK_CLI_CLUSTER_IO_H
#define PK_CLI_CLUSTER_IO_H

#include "base/opt.h"
#include "cli/health_io.h"
#include "cli/proc_io.h"
#include "net/proc.h"

#define CLUSTER_SERVERS_MAX 7

struct cluster_server {
	int id;
	uint16_t client_port, peer_port, election_port, admin_port, metrics_port;
	struct proc_id proc;
	/* while we are its parent */
	struct net_proc *child; /* owned */
	bool ended;
	int64_t exit_status;
	int term_signal;
};

struct cluster {
	char *dir; /* owned, absolute */
	struct cluster_server servers[CLUSTER_SERVERS_MAX];
	size_t count;
	int lock; /* descriptor, or -1 */
};

#define CLUSTER_INIT ((struct cluster){ .lock = -1 })

/* `dir` of the command line or NULL; then $PADDOCK_DIR, $XDG_DATA_HOME, $HOME. PK_ENOENT when none
 * says anything. Returns owned text in *out. */
PK_CHECKED int cluster_dir(const char *dir, char **out, struct pk_err *err);
/* Reads cluster.json; PK_ENOENT when there is none. c->dir is taken. */
PK_CHECKED int cluster_load(struct cluster *c, char *dir, struct pk_err *err);
bool cluster_exists(const struct cluster *c); /* is there a cluster.json in c->dir? */
/* Folders and ports of a new one; with `lines` for each zoo.cfg. c->dir is set. PK_EEXIST: the
 * ports asked for are taken. */
PK_CHECKED int cluster_make(struct cluster *c, size_t count, int base_port,
			    const struct pk_strs *lines, struct pk_err *err);
/* Let go of the children and of what the table of servers says; files and lock stay. */
void cluster_forget(struct cluster *c);
PK_CHECKED int cluster_save(const struct cluster *c, struct pk_err *err);
/* Makes the folder if need be. PK_EAGAIN: another command is at it. */
PK_CHECKED int cluster_lock(struct cluster *c, struct pk_err *err);
void cluster_release(struct cluster *c);

/* The program paddock-store: beside ours, else in PATH. PK_ENOENT. */
PK_CHECKED int cluster_find_store(char **out, struct pk_err *err);
PK_CHECKED int cluster_start(struct cluster *c, size_t i, const char *store, struct net_loop *l,
			     struct pk_err *err);
size_t cluster_running(const struct cluster *c);
/* SIGTERM to those of servers first..first+count-1 that run, SIGKILL to those still there after
 * kill_after_ms. Returns how many had to be killed. */
size_t cluster_stop(struct cluster *c, size_t first, size_t count, int64_t kill_after_ms);

void cluster_connect_string(const struct cluster *c, struct pk_buf *out);
void cluster_health_targets(const struct cluster *c, struct health *h);
/* The last lines of a server's log, at most `bytes`. */
void cluster_log_tail(const struct cluster *c, size_t i, size_t bytes, struct pk_buf *out);
/* Delete the folders of the servers. */
PK_CHECKED int cluster_remove_servers(struct cluster *c, struct pk_err *err);
/* Those, our own files, and the folder if nothing else is in it. */
PK_CHECKED int cluster_wipe(struct cluster *c, struct pk_err *err);

#endif
