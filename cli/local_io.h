/*
 * cli/local_io.h - what up, status, down and demo share.
 */
#ifndef PK_CLI_LOCAL_IO_H
#define PK_CLI_LOCAL_IO_H

#include "base/file.h"
#include "cli/cluster_io.h"
#include "cli/cmd.h"

/* Runs the loop for so long. */
void local_pause(struct net_loop *l, int64_t ms);
/* Starts those that are down and waits; PK_EIO: one of them ended. */
PK_CHECKED int local_up(struct cluster *c, struct net_loop *l, const char *store,
			int64_t timeout_ms, size_t *started, struct pk_err *err);
/* The same for a new cluster, which is made first, as `set` asks: with other ports when somebody
 * takes those it had chosen meanwhile. */
PK_CHECKED int local_make(struct cluster *c, struct net_loop *l, const char *store,
			  const struct cli_settings *set, int64_t timeout_ms, size_t *started,
			  struct pk_err *err);
/* Until all serve and a session can be had. PK_ETIMEDOUT; PK_EIO: a server that we started ended.
 */
PK_CHECKED int local_wait(struct cluster *c, struct net_loop *l, int64_t timeout_ms, bool quiet,
			  struct pk_err *err);
void local_show_logs(const struct cluster *c, bool only_ended);
/* *out is NULL without --tls; else returned owned. */
PK_CHECKED int local_tls(const struct cli *cli, struct net_tls **out, struct pk_err *err);

#endif
