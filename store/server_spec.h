/*
 * store/server_spec.h - who the servers are: the server.N lines, as zoo.cfg, reconfig requests and
 * the znode /zookeeper/config write them.
 *
 *     server.1=host:2888:3888:participant;0.0.0.0:2181
 *     server.N=ADDRESS[|ADDRESS...][;[CLIENT-HOST:]CLIENT-PORT]
 *     ADDRESS = HOST:PEER-PORT:ELECTION-PORT[:participant|:observer], HOST may be [IPv6]
 *
 * The peer port (ZooKeeper's quorum port) is where our one peer listener is; the election port is
 * kept, shown and not used. The canonical text is what ZooKeeper prints.
 * Source: Apache ZooKeeper 3.8.0, QuorumPeer.QuorumServer.initializeWithAddressString and toString,
 * ConfigUtils.getHostAndPort, QuorumMaj.toString.
 *
 * All of it is plain values: copy a struct server_spec by assignment. A struct server_set owns its
 * array, sorted by id.
 */
#ifndef PK_STORE_SERVER_SPEC_H
#define PK_STORE_SERVER_SPEC_H

#include "base/bytes.h"
#include "base/err.h"

#define SERVER_HOST_BYTES 256 /* with the NUL; DNS names end at 253 */
#define SERVER_ADDRS_MAX  8
#define SERVERS_MAX       64

struct server_addr {
	char host[SERVER_HOST_BYTES]; /* a name or an address; IPv6 as Java has it, 0:0:0:0:0:0:0:1
				       */
	uint16_t peer_port;
	uint16_t election_port;
};

struct server_spec {
	int64_t id; /* above 0: it also names the server in Raft */
	bool observer;
	bool has_client; /* false: the client address comes from clientPort and is not shown */
	uint16_t client_port;
	char client_host[SERVER_HOST_BYTES];
	size_t addr_count; /* at least 1 */
	struct server_addr addrs[SERVER_ADDRS_MAX];
};

struct server_set {
	uint64_t version; /* the zxid of the change that made it, 0 at first */
	size_t count;
	struct server_spec *all;
};
#define SERVER_SET_INIT ((struct server_set){ 0 })

/* What stands right of "server.N="; *out untouched on failure (PK_EINVAL with the reason). */
PK_CHECKED int server_spec_parse(struct server_spec *out, int64_t id, struct pk_bytes text,
				 struct pk_err *err);
/* A whole "server.N=..." as reconfig's joining servers have it. */
PK_CHECKED int server_spec_parse_line(struct server_spec *out, struct pk_bytes line,
				      struct pk_err *err);
/* The N of "server.N"; -1 for anything else. */
int64_t server_key_id(const char *key);
void server_spec_format(const struct server_spec *s, struct pk_buf *out); /* right of "=" */
bool server_spec_eq(const struct server_spec *a, const struct server_spec *b);
/* PK_EINVAL when two servers claim the same address; wildcard and loopback hosts are not compared,
 * as in QuorumServer.checkAddressDuplicate. */
PK_CHECKED int server_spec_conflict(const struct server_spec *a, const struct server_spec *b,
				    struct pk_err *err);
/* True when every peer address is one of this machine alone: 127.0.0.0/8, ::1 or "localhost". */
bool server_spec_is_loopback(const struct server_spec *s);
bool server_host_is_loopback(const char *host);

void server_set_release(struct server_set *s);
struct server_set server_set_copy(const struct server_set *s); /* returns owned */
/* The server with that id, or NULL; borrowed until the set changes. */
const struct server_spec *server_set_find(const struct server_set *s, int64_t id);
size_t server_set_voters(const struct server_set *s);
/* Add it, or replace the one with its id. PK_ELIMIT beyond SERVERS_MAX. */
PK_CHECKED int server_set_put(struct server_set *s, const struct server_spec *spec,
			      struct pk_err *err);
bool server_set_remove(struct server_set *s, int64_t id); /* false: was not there */
bool server_set_eq(const struct server_set *a, const struct server_set *b); /* version aside */
/* The text of /zookeeper/config: "server.1=...\nserver.2=...\nversion=100000003". */
void server_set_format(const struct server_set *s, struct pk_buf *out);
/*
 * The same text, or the newMembers of a reconfig request, read back: server.N and version lines,
 * nothing else. PK_EINVAL or PK_ELIMIT with the line; *out untouched then.
 */
PK_CHECKED int server_set_parse(struct server_set *out, struct pk_bytes text, struct pk_err *err);

#endif
