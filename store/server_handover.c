#include "store/server_int.h"

#include <inttypes.h>

#include "base/log.h"

/*
 * Who has room, and who should lead. Each voter tells the leader twice a tick how it is. A leader
 * whose own disk is low, whose commits take so long that it may take no more writes, or that is
 * about to stop, hands over to one that is better off and has the whole log. Writes are refused
 * when a majority could not keep them: then, and while there is nobody to hand over to.
 */

#define HEALTH_FRESH_MS 3000  /* what a voter told counts so long */
#define WAIT_MOST_MS    5000  /* a leader that waits longer for a commit hands over */
#define TRY_MS          1000  /* no writes are taken while one is asked to be elected */
#define AGAIN_MS        10000 /* after one that came to nothing */

enum health { HEALTH_DISK_LOW = 1, HEALTH_WAITS = 2 };

static uint8_t own_health(const struct server *s)
{
	return (uint8_t)((s->handover.disk_low ? HEALTH_DISK_LOW : 0) |
			 (s->wait.on ? HEALTH_WAITS : 0));
}

void handover_tell(struct server *s)
{
	uint8_t body = own_health(s);

	if (s->leader_id == 0 || s->leading)
		return;
	pk_ignore(s->out.peer_send(s->out.owner, s->leader_id, NULL, SERVER_MSG_HEALTH,
				   pk_bytes(&body, 1)),
		  "told again half a tick later");
}

int handover_recv(struct server *s, uint64_t from_id, struct pk_bytes bytes, struct pk_err *err)
{
	size_t i = 0;

	if (bytes.len != 1)
		return pk_err_set(err, PK_EPROTO, "a report of %zu bytes", bytes.len);
	while (i < s->handover.count && s->handover.of[i].id != from_id)
		i++;
	if (i == RAFT_NODE_MEMBERS_MAX)
		return 0;
	if (i == s->handover.count)
		s->handover.count++;
	s->handover.of[i].id = from_id;
	s->handover.of[i].at_ms = s->now_ms;
	s->handover.of[i].flags = bytes.data[0];
	return 0;
}

/* What it told lately; -1: nothing. */
static int health_of(const struct server *s, uint64_t id)
{
	for (size_t i = 0; i < s->handover.count; i++)
		if (s->handover.of[i].id == id &&
		    s->now_ms - s->handover.of[i].at_ms <= HEALTH_FRESH_MS)
			return s->handover.of[i].flags;
	return -1;
}

struct group {
	size_t voters, low;
	uint64_t successor; /* of those that are well the one with most of the log; 0: nobody */
};

static struct group look_around(const struct server *s)
{
	struct raft_member members[RAFT_NODE_MEMBERS_MAX];
	size_t count = raft_node_members(s->raft, members, PK_COUNT(members));
	struct group g = { 0 };
	uint64_t most = 0, match;

	for (size_t i = 0; i < count; i++) {
		bool self = members[i].id == s->cfg.id, recent;
		if (members[i].role != RAFT_NODE_VOTER)
			continue;
		int health = self ? own_health(s) : health_of(s, members[i].id);
		g.voters++;
		g.low += health > 0 && (health & HEALTH_DISK_LOW) != 0;
		if (!self && health == 0 &&
		    raft_node_progress(s->raft, members[i].id, &match, &recent) && recent &&
		    match > most) {
			most = match;
			g.successor = members[i].id;
		}
	}
	return g;
}

static const char *reason(const struct server *s)
{
	if (s->draining)
		return "stopping";
	if (s->handover.disk_low)
		return "disk";
	return s->wait.on && s->now_ms - s->wait.since_ms >= WAIT_MOST_MS ? "commit" : NULL;
}

static void refuse(struct server *s, const struct group *g)
{
	bool now = g->low > g->voters - (g->voters / 2 + 1) ||
		   (s->handover.disk_low && g->successor == 0);

	if (now != s->write_refused)
		server_note(s, now ? PK_LOG_WARN : PK_LOG_INFO, "writes.refused",
			    "begin=%d low_disks=%zu voters=%zu", now, g->low, g->voters);
	s->write_refused = now;
}

void handover_tick(struct server *s)
{
	struct group g = look_around(s);
	const char *why = reason(s);
	struct pk_err err = PK_ERR_INIT;

	refuse(s, &g);
	if (why == NULL || g.successor == 0) {
		s->handover.to = 0;
		return;
	}
	if (s->handover.to == 0) {
		if (s->now_ms < s->handover.again_ms)
			return;
		s->handover.to = g.successor;
		s->handover.asked = false;
		s->handover.give_up_ms = s->now_ms + TRY_MS;
		s->handover.again_ms = s->handover.give_up_ms + AGAIN_MS;
		server_note(s, PK_LOG_INFO, "leader.hand_over", "to=%" PRIu64 " reason=%s",
			    s->handover.to, why);
	}
	if (!s->handover.asked)
		s->handover.asked = raft_node_hand_over(s->raft, s->handover.to, &err) == 0;
	if (s->now_ms >= s->handover.give_up_ms) {
		server_note(s, PK_LOG_WARN, "leader.hand_over", "to=%" PRIu64 " failed=1%s%s",
			    s->handover.to, err.text[0] != 0 ? " error=" : "", err.text);
		s->handover.to = 0;
	}
}

bool handover_is_due(const struct server *s)
{
	return s->established && (s->handover.to != 0 || (s->now_ms >= s->handover.again_ms &&
							  look_around(s).successor != 0));
}

void handover_end(struct server *s)
{
	s->handover.to = 0;
	s->handover.again_ms = 0;
	s->write_refused = false;
}

void server_refuse_writes(struct server *s, bool refuse)
{
	s->handover.disk_low = refuse;
	if (s->established)
		handover_tick(s);
	else
		handover_tell(s);
}
