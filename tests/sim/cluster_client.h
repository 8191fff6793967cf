/*
 * tests/sim/cluster_client.h - a simulated client: real frames, one session, many connections.
 *
 * It connects, sends requests, pings, goes to another server after a break with its session and
 * sets its watches again. Every reply and event is judged by the model at the zxid it carries:
 *     C1 replies in the order of the requests, and no write's zxid was seen before it     C2 zxids
 * never fall in a session, over all servers C3 a write's reply is what the log says     C4 a write
 * is later than all that was of the operation at that zxid               acknowledged to anybody
 * before it was sent C5 a read shows the model at its zxid       C6 a sync's zxid is at or behind
 * the same line C7 the events that came before a reply are exactly those that the watches set here
 * call for up to its zxid, in order, one-shot ones once; setWatches tells what was missed C8 a
 * session is refused only when the log ended it (or its password is wrong)
 */
#ifndef PK_TESTS_SIM_CLUSTER_CLIENT_H
#define PK_TESTS_SIM_CLUSTER_CLIENT_H

#include "tests/sim/cluster.h"
#include "zkproto/record.h"

#define CLIENT_IDS_MAX 4
#define SIM_CLIENT_IP  "10.0.0.1"     /* everybody comes from there */
#define SIM_SUPER      "super:secret" /* who says that in addauth may do all */

struct client;

enum client_state { CLIENT_IDLE, CLIENT_CONNECTING, CLIENT_CONNECTED, CLIENT_ENDED };

struct client_reply {
	int32_t op, xid, err;
	const char *path; /* asked for */
	uint64_t zxid;
	struct pk_bytes body;
	bool lost; /* the connection went first: err is ZK_ECONNECTIONLOSS */
};

struct client_owner {
	void *owner;
	void (*reply)(void *owner, const struct client_reply *r);
	void (*event)(void *owner, int32_t type, struct pk_bytes path);
	/* why: "connected", "expired", "closed", "broken", "refused" */
	void (*state)(void *owner, enum client_state state, const char *why);
};

struct client *client_new(struct sim *s, int index, int32_t timeout_ms,
			  const struct client_owner *owner);
void client_free(struct client *c);

void client_connect(struct client *c, int server); /* from IDLE */
void client_drop(struct client *c);                /* let go of the connection; back to IDLE */
void client_break(struct client *c);               /* the same, but both sides find out */
void client_pings(struct client *c, bool on);      /* by itself, each third of the timeout */
void client_forget_session(struct client *c);      /* the next connect asks for a new one */

enum client_state client_state(const struct client *c);
uint64_t client_session(const struct client *c);
int32_t client_timeout(const struct client *c);
int client_server(const struct client *c);
struct sim_conn *client_wire(struct client *c);
size_t client_outstanding(const struct client *c);
uint64_t client_zxid(const struct client *c);
/* While it has no connection: "user:password" is said on each from now on; borrowed. */
void client_identify(struct client *c, const char *auth);
void client_may_read_only(struct client *c, bool may);
void client_spoil_password(struct client *c, bool spoil);
void client_claim_zxid(struct client *c, uint64_t zxid); /* said in the next connect request */
int64_t client_quiet_since_us(const struct client *c);   /* the last frame it sent */

/* Requests; only while CONNECTED. Data NULL is null. */
void client_create(struct client *c, int32_t op, const char *path, const char *data, int32_t mode);
void client_delete(struct client *c, const char *path, int32_t version);
void client_set(struct client *c, const char *path, const char *data, int32_t version);
/* exists, getData, getACL, getChildren, getChildren2, getAllChildrenNumber, getEphemerals, sync */
void client_ask(struct client *c, int32_t op, const char *path, bool watch);
void client_add_watch(struct client *c, const char *path, bool recursive);
void client_check_watches(struct client *c, int32_t op, const char *path, int32_t type);
void client_multi(struct client *c, int32_t op, struct pk_bytes body); /* or multiRead */
void client_make(struct client *c, int32_t op, const struct zk_create_ttl_req *r);
void client_set_acl(struct client *c, const char *path, struct zk_acls acl, int32_t version);
void client_reconfig(struct client *c, const struct zk_reconfig_req *r);
void client_whoami(struct client *c);
void client_delete_container(struct client *c, const char *path); /* as no client may */
void client_ping(struct client *c);
void client_auth(struct client *c, const char *scheme, const char *auth);
void client_end(struct client *c);                                   /* closeSession */
void client_raw(struct client *c, int32_t op, struct pk_bytes body); /* not judged but by C1 */
size_t client_watches(const struct client *c);

#endif
