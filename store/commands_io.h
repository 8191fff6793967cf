/*
 * store/commands_io.h - what operators ask a server: four-letter words, AdminServer, metrics.
 *
 * Formats, names and the whitelist are ZooKeeper 3.8's. Source: ZooKeeper at 53a78e36f,
 * the classes of server/command, server/admin/Commands, and the reference server's own answers.
 */
#ifndef PK_STORE_COMMANDS_IO_H
#define PK_STORE_COMMANDS_IO_H

#include "store/client_io.h"
#include "store/config.h"
#include "store/disk_io.h"
#include "store/peer_io.h"

struct commands;

struct commands_config { /* all borrowed for life */
	const struct store_config *cfg;
	struct net_loop *loop;
	struct server *server;
	struct clients *clients;
	struct peers *peers;
	struct rlog *log;
	struct disk_io *disk;
	uint64_t cluster_id, id;
};

/* Opens the admin and metrics ports as configured. */
PK_CHECKED int commands_start(struct commands **out, const struct commands_config *cfg,
			      struct pk_err *err);
/* The answer to a four-letter word, appended. */
void commands_word(struct commands *c, struct client *from, enum zk_word word, struct pk_bytes mask,
		   struct pk_buf *out);
/* Every few milliseconds: what the disk and the loop measured goes into the metrics. */
void commands_tick(struct commands *c);
void commands_free(struct commands *c);

#endif
