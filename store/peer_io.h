/*
 * store/peer_io.h - the channels between servers: one listener, one outgoing connection to each
 * peer.
 *
 * A server speaks on the connections it dialled and hears on those it accepted, so nobody has to
 * agree on who calls whom. Both are mutual TLS (a certificate each, or a shared cluster key);
 * without either, loopback addresses only, which the configuration has checked. A certificate is
 * bound to its server by the host in the server's line (ssl.quorum.hostnameVerification): the
 * dialler checks whom it reached, the acceptor who says it is that server.
 *
 *     dialler                         acceptor
 *       HELLO (store/peer_greet.h)        ->    not ours: closes, says why in its log
 *                                        <-  WELCOME, and again when it changed, if asked to
 *       le32 bytes | u8 type | body ...                   ->    handed up in order
 *
 * Bounds: PEER_FRAME_BYTES_MAX a frame, PEER_BUDGET_BYTES queued per peer (beyond: peer_send says
 * no), PEER_STALL_MS without progress ends a connection. A connection that ends is dialled again
 * after 50 ms, doubling to 1 s; its end is told once (down), for what was on it may be lost.
 */
#ifndef PK_STORE_PEER_IO_H
#define PK_STORE_PEER_IO_H

#include "net/stream.h"
#include "net/tls.h"
#include "store/peer_greet.h"
#include "store/server_spec.h"

#define PEER_BUDGET_BYTES (64u << 20)
#define PEER_STALL_MS     10000
#define PEERS_MAX         64

struct peers;

struct peers_owner {
	void *owner;
	/* A frame from an accepted, greeted connection. Nonzero: it broke the protocol, close it.
	 */
	int (*recv)(void *owner, uint64_t from_id, uint8_t type, struct pk_bytes body,
		    struct pk_err *err);
	/* What a peer that greets us, in a life of its own when it is asking, is told of us. */
	struct found_answer (*welcome)(void *owner, uint64_t peer_id, uint64_t peer_life);
	/* A peer told us, on a connection that is up from now on. */
	void (*welcomed)(void *owner, uint64_t peer_id, const struct found_answer *answer);
	void (*down)(void *owner, uint64_t peer_id, const char *reason);
};

struct peers_config {
	uint64_t cluster_id, server_id;
	struct net_tls *tls_server, *tls_client; /* both NULL: plain; references are taken */
	/* With certificates: who says it is a server that we know must carry one of the hosts that
	 * we know it by. (A dialler checks likewise whom it reached: net_tls_opts.) A server that
	 * we do not know yet is new, and is taken at its word: its certificate is one that
	 * our authority signed. */
	bool check_names;
	int64_t connect_timeout_ms;
};

struct peers *peers_new(struct net_loop *loop, const struct peers_config *cfg,
			const struct peers_owner *owner);
/* Listen on host:port (several calls for several addresses). */
PK_CHECKED int peers_listen(struct peers *p, const char *host, uint16_t port, struct pk_err *err);
/* This server asks (store/found.h), in this life: told with every hello from now on. 0: no more. */
void peers_ask(struct peers *p, uint64_t life);
/* Know a peer, or its new addresses, which are tried in turn, and keep a connection to it. */
void peers_add(struct peers *p, uint64_t id, const struct server_addr *addrs, size_t count);
void peers_remove(struct peers *p, uint64_t id);
bool peers_knows(const struct peers *p, uint64_t id);
/* Copies. false: not connected, or over its budget. */
bool peers_send(struct peers *p, uint64_t id, uint8_t type, struct pk_bytes body);
bool peers_connected(const struct peers *p, uint64_t id);
size_t peers_queued_bytes(const struct peers *p, uint64_t id);
void peers_tick(struct peers *p);
/* Close everything; no callback after it. */
void peers_free(struct peers *p);

#endif
