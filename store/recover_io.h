/*
 * store/recover_io.h - `paddock-store recover CONFIG [--yes]`: go on from one server when the
 * majority is lost for good.
 *
 * Prints what this server has; with `yes` makes it the only voter (store/raft_recover.h), raises
 * the epoch so that no client has seen more than it will say, sets /zookeeper/config to this server
 * alone, notes who did it in dataDir/recover.log, and prints what to do next. The server must not
 * run: its directories are locked meanwhile.
 */
#ifndef PK_STORE_RECOVER_IO_H
#define PK_STORE_RECOVER_IO_H

#include "store/config.h"

/* `path`: of the configuration, for what is printed. An exit status of enum node_exit. */
PK_CHECKED int recover_run(const struct store_config *cfg, const char *path, bool yes);

#endif
