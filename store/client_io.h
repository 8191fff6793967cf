/*
 * store/client_io.h - the client ports: sockets and frames on one side, store/server.h on the
 * other.
 *
 *     bytes -> frames (or a four-letter word) -> server_conn_frame -> server_turn -> bytes
 *
 * Bounds: connections in all and per address (maxCnxns, maxClientCnxns), a frame (jute.maxbuffer),
 * the reply queue of a slow reader (past paddock.replyQueueBytes its requests wait; past
 * CLIENT_QUEUE_BYTES_MAX it is closed), the time until a connection asks for a session.
 */
#ifndef PK_STORE_CLIENT_IO_H
#define PK_STORE_CLIENT_IO_H

#include "net/stream.h"
#include "net/tls.h"
#include "store/server.h"
#include "zkproto/frame.h"

#define CLIENT_QUEUE_BYTES_MAX (64u << 20)

struct clients;
struct client;

struct clients_config {
	size_t conns_max;             /* 0: no limit */
	size_t conns_per_address_max; /* 0: no limit */
	size_t frame_bytes_max;
	int64_t handshake_timeout_ms;
	int64_t sniff_timeout_ms; /* on a port for both, until the bytes that tell which */
	size_t handshakes_max;    /* of TLS under way; 0: no limit */
	const char *x509_super;   /* subject that is super, or NULL */
	/* Answer a four-letter word: append the text to *out. `mask` is what stmk carries. */
	void (*word)(void *owner, struct client *c, enum zk_word word, struct pk_bytes mask,
		     struct pk_buf *out);
	/* One SASL step and its end, see server_owner.sasl; *slot is the connection's own, NULL at
	 * first. */
	int32_t (*sasl)(void *owner, void **slot, struct pk_bytes token, struct pk_buf *out,
			bool *out_null, struct server_auth_result *result);
	void (*sasl_free)(void *slot);
	const char *super_digest; /* "super:base64", or NULL */
	const char *digest_alg;   /* of the digest scheme: "SHA1" */
	bool digest_disabled;
	void *owner;
};

struct clients_stats {
	uint64_t accepted, refused_limit, bad_frames, words;
	uint64_t handshakes_failed;
	size_t handshaking; /* not open yet */
	size_t now;
};

struct clients *clients_new(struct net_loop *loop, const struct clients_config *cfg);
void clients_set_server(struct clients *cs, struct server *s);
/* Several ports; tls NULL is plain, with sniff both on one. PK_EEXIST: the address is in use. */
PK_CHECKED int clients_listen(struct clients *cs, const char *host, uint16_t port, int backlog,
			      struct net_tls *tls, bool sniff, struct pk_err *err);
/* The bound port of the i-th listener. */
uint16_t clients_port(const struct clients *cs, size_t i);
/* "user:password" is whom? "user:base64(hash(user:password))" of the scheme digest, and super when
 * that is super_digest (DigestAuthenticationProvider). r is zero before; r->ok: it counts. */
void client_auth_digest(const struct clients_config *cfg, struct pk_bytes auth,
			struct server_auth_result *r);
/* Fill in send, close, pause, auth and sasl. */
void clients_server_owner(struct server_owner *out);
/* Frames that a pause held back are fed; call once a turn, before server_turn. */
void clients_turn(struct clients *cs);
void clients_stop_listening(struct clients *cs);
/* Every client is told to go, once what it is owed has been sent. */
void clients_close_all(struct clients *cs, const char *reason);
void clients_stats(const struct clients *cs, struct clients_stats *out);
size_t clients_count(const struct clients *cs);
/* Close everything, tell the server, no callback after it. */
void clients_free(struct clients *cs);

/* "127.0.0.1:4711" of one; borrows. */
const char *client_address(const struct client *c);
struct conn *client_conn(const struct client *c);   /* NULL before it is open */
bool client_paused(const struct client *c);         /* it is not read from */
size_t client_queued_bytes(const struct client *c); /* not yet taken by its reader */

#endif
