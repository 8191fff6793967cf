/*
 * Sessions that live on this server alone: with localSessionsEnabled all new ones, and those that a
 * server in read-only mode gives out. They are in no log: they cost no write, own no ephemerals,
 * and end with the server. The first ephemeral makes such a session global, where that is allowed
 * (ZooKeeper: QuorumZooKeeperServer.checkUpgradeSession, LocalSessionTracker).
 */
#include <inttypes.h>

#include "base/log.h"
#include "store/server_int.h"
#include "zkproto/multi.h"

struct local {
	UT_hash_handle hh;
	uint64_t id;
	int32_t timeout_ms;
	uint8_t password[16];
};

static struct local *find(struct server *s, uint64_t id)
{
	struct local *l;

	HASH_FIND(hh, s->locals, &id, sizeof(id), l);
	return l;
}

static void drop(struct server *s, struct local *l)
{
	session_clock_remove(s->local_clock, l->id);
	HASH_DELETE(hh, s->locals, l);
	explicit_bzero(l->password, sizeof(l->password));
	free(l);
}

void local_begin(struct conn *c)
{
	struct server *s = c->server;
	struct local *l = pk_alloc(sizeof(*l));

	PK_ASSERT(find(s, c->session_id) == NULL);
	l->id = c->session_id;
	l->timeout_ms = c->timeout_ms;
	memcpy(l->password, c->password, sizeof(l->password));
	HASH_ADD(hh, s->locals, id, sizeof(l->id), l);
	session_clock_put(s->local_clock, l->id, TXN_GEN_LOCAL, l->timeout_ms, s->now_ms);
}

enum local_rejoin local_rejoin(struct conn *c)
{
	struct server *s = c->server;
	struct local *l = find(s, c->session_id);

	if (l == NULL)
		return LOCAL_UNKNOWN;
	if (!password_eq(l->password, c->password))
		return LOCAL_WRONG;
	l->timeout_ms = c->timeout_ms;
	session_clock_put(s->local_clock, l->id, TXN_GEN_LOCAL, l->timeout_ms, s->now_ms);
	return LOCAL_OK;
}

void local_touch(struct conn *c)
{
	session_clock_touch(c->server->local_clock, c->session_id, c->server->now_ms);
}

void local_end(struct server *s, uint64_t id)
{
	struct local *l = find(s, id);

	if (l != NULL)
		drop(s, l);
}

static void expired(void *arg, uint64_t id, uint64_t gen)
{
	struct server *s = arg;
	struct conn *c = conn_of_session(s, id);

	PK_ASSERT(gen == TXN_GEN_LOCAL);
	server_note(s, PK_LOG_INFO, "session.expire", "id=%#" PRIx64 " local=1", id);
	s->stats.sessions_expired++;
	local_end(s, id);
	if (c != NULL)
		conn_close(c, true, "the session ended");
}

void local_tick(struct server *s)
{
	session_clock_tick(s->local_clock, s->now_ms, expired, s);
}

size_t local_count(const struct server *s)
{
	return HASH_COUNT(s->locals);
}

void local_end_all(struct server *s)
{
	struct local *l, *next;

	HASH_ITER (hh, s->locals, l, next)
		drop(s, l);
}

/* ---- becoming global ---- */

static bool ephemeral(int32_t flags)
{
	return flags == ZK_CREATE_EPHEMERAL || flags == ZK_CREATE_EPHEMERAL_SEQUENTIAL;
}

/* Does the request make an ephemeral node? One that cannot be read makes none. */
static bool makes_ephemeral(int32_t type, struct pk_bytes body)
{
	struct zk_rd in = zk_rd(body);
	struct zk_create_req create;
	struct zk_multi_op op = ZK_MULTI_OP_INIT;
	bool found = false;

	if (type == ZK_OP_CREATE || type == ZK_OP_CREATE2)
		return zk_create_req_decode(&in, &create) == 0 && ephemeral(create.flags);
	if (type != ZK_OP_MULTI)
		return false;
	while (!found && zk_multi_next(&in, &op) == 1)
		found = (op.type == ZK_OP_CREATE || op.type == ZK_OP_CREATE2) &&
			ephemeral(op.u.create.flags);
	return found;
}

int32_t local_upgrade(struct conn *c, int32_t type, struct pk_bytes body)
{
	struct server *s = c->server;
	struct local *l = find(s, c->session_id);
	uint8_t create[20];

	PK_ASSERT(l != NULL && c->gen == TXN_GEN_LOCAL);
	if (!makes_ephemeral(type, body))
		return 0;
	if (!s->cfg.local_sessions_upgrade) /* a multi says which of its operations */
		return type == ZK_OP_MULTI ? 0 : ZK_EEPHEMERALONLOCALSESSION;
	pk_put_le32(create, (uint32_t)l->timeout_ms);
	memcpy(create + 4, l->password, sizeof(l->password));
	server_submit(s,
		      &(struct txn_op){ .type = ZK_OP_CREATE_SESSION,
					.session_id = l->id,
					.body = pk_bytes(create, sizeof(create)) },
		      NULL, 0, c);
	c->gen = 1; /* as the log will have it, before anything that follows */
	server_note(s, PK_LOG_DEBUG, "session.upgrade", "id=%#" PRIx64, l->id);
	drop(s, l);
	return 0;
}
