/*
 * store/admin_io.h - ZooKeeper's AdminServer: the same figures as the four-letter words, as JSON
 * over HTTP, and the metrics as Prometheus reads them.
 *
 * GET <admin.commandURL> lists the commands, GET <admin.commandURL>/NAME runs one, /metrics shows
 * the metrics. Names, aliases, fields and the places of `command` and `error` are those of release
 * 3.8.0 (server/admin/Commands, JettyAdminServer); an error is said in the body, with status 200.
 */
#ifndef PK_STORE_ADMIN_IO_H
#define PK_STORE_ADMIN_IO_H

#include "base/err.h"

#define ADMIN_ITEMS_MAX 100000 /* entries of one list: of more only the number is told */

struct commands;

/* Opens the ports as configured. An admin port that cannot be opened is logged and done without, as
 * in ZooKeeper; a metrics port that cannot be opened is an error, likewise. */
PK_CHECKED int admin_start(struct commands *c, struct pk_err *err);
void admin_stop(struct commands *c);

#endif
