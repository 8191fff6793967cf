/*
 * zkproto/client_io.h - a ZooKeeper client on the event loop: zkproto/client.h over net/.
 *
 *     struct zkc_io *io = zkc_io_new(loop, &(struct zkc_io_config){ .servers = "h1:2181,h2/app" },
 *                                    &err);
 *     zkc_get(zkc_io_client(io), pk_bytes_str("/x"), ZKC_NO_WATCH, on_got, me);
 *
 * Calls on the client may be made at any time on the loop's thread; what they cause leaves at the
 * end of the turn, callbacks come from the loop. All limits are those of client.h.
 */
#ifndef PK_ZKPROTO_CLIENT_IO_H
#define PK_ZKPROTO_CLIENT_IO_H

#include "net/loop.h"
#include "net/tls.h"
#include "zkproto/client.h"

#define ZKC_IO_PORT_DEFAULT 2181
#define ZKC_IO_HOST_BYTES   256
#define ZKC_IO_PROBE_MS     2000 /* a probe for a read-write server takes this long at most */

struct zkc_io;

struct zkc_io_config {
	/* As Java's connect string: "host:port,[v6]:port,host/chroot". Names are looked up at each
	 * attempt. Copied. */
	const char *servers;
	struct net_tls *tls; /* a client context, or NULL: plain TCP. Takes a reference */
	/* The rest of the settings; server_count and chroot come from `servers`, and seed from the
	 * kernel if it is 0. */
	struct zkc_config client;
};

/* Returns owned; NULL with err: PK_EINVAL. The first attempt to connect is made in this turn. */
struct zkc_io *zkc_io_new(struct net_loop *l, const struct zkc_io_config *cfg, struct pk_err *err);
/* At any time, also from a callback; none comes after it. The session goes on until it times out:
 * to end it, zkc_close first and wait for ZKC_CLOSED. Its streams close in the
 * turns that follow: let the loop have one before net_loop_free. NULL is allowed. */
void zkc_io_free(struct zkc_io *io);
struct zkc *zkc_io_client(struct zkc_io *io); /* as long as io */
/* "host:port" of server i of the list; borrowed. */
const char *zkc_io_server(const struct zkc_io *io, uint32_t i);

#endif
