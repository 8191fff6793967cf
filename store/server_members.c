/*
 * The leader's part in reconfig: from the members the Raft group has to those that the tree says it
 * should have, one change at a time, adding before removing, itself last.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/log.h"
#include "store/server_int.h"
#include "store/server_spec.h"

#define RETRY_MS 200
#define GIVE_UP_MS                                                                                 \
	60000 /* a server that cannot be reached or does not catch up by then is not taken in */

static void spec_text(const struct server_spec *spec, char *to, size_t bytes)
{
	struct pk_buf text = PK_BUF_INIT;

	server_spec_format(spec, &text);
	snprintf(to, bytes, "%s", pk_buf_str(&text));
	pk_buf_release(&text);
}

static const struct raft_member *member_of(const struct raft_member *all, size_t count, uint64_t id)
{
	for (size_t i = 0; i < count; i++)
		if (all[i].id == id)
			return &all[i];
	return NULL;
}

/* Its part aside: that is the role, and the text that the group has may tell an older one. */
static bool same_place(const struct raft_member *m, const struct server_spec *spec)
{
	struct server_spec there;

	if (server_spec_parse(&there, spec->id, pk_bytes_str(m->address), NULL) != 0)
		return false;
	there.observer = spec->observer;
	return server_spec_eq(&there, spec);
}

/* Somebody other than ourselves who is in the group and not in the list: true with *m filled. */
static bool stray(struct server *s, const struct server_set *want, struct raft_member *m)
{
	struct raft_member have[RAFT_NODE_MEMBERS_MAX];
	size_t count = raft_node_members(s->raft, have, PK_COUNT(have));

	for (size_t i = 0; i < count; i++)
		if (have[i].id != s->cfg.id && server_set_find(want, (int64_t)have[i].id) == NULL) {
			*m = have[i];
			m->role = -1;
			return true;
		}
	return false;
}

/* The next single change on the way to `want`: true with *m filled (role -1 removes). */
static bool next_change(struct server *s, const struct server_set *want, struct raft_member *m)
{
	struct raft_member have[RAFT_NODE_MEMBERS_MAX];
	size_t count = raft_node_members(s->raft, have, PK_COUNT(have));
	const struct server_spec *mine = server_set_find(want, (int64_t)s->cfg.id);
	const struct raft_member *me = member_of(have, count, s->cfg.id);

	for (size_t i = 0; i < want->count; i++) {
		const struct server_spec *spec = &want->all[i];
		const struct raft_member *there = member_of(have, count, (uint64_t)spec->id);
		int role = spec->observer ? RAFT_NODE_STANDBY : RAFT_NODE_VOTER;

		if (spec == mine)
			continue;
		*m = (struct raft_member){ .id = (uint64_t)spec->id, .role = role };
		spec_text(spec, m->address, sizeof(m->address));
		if (there == NULL || there->role != role)
			return true;
		/* It moved: out under the old address, and in again under the new one with the next
		 * step. Our own address is what the others dial; it changes with the next leader.
		 */
		if (!same_place(there, spec)) {
			m->role = -1;
			return true;
		}
	}
	if (stray(s, want, m))
		return true;
	if (mine == NULL || me == NULL || (me->role != RAFT_NODE_VOTER) == mine->observer)
		return false;
	*m = (struct raft_member){ .id = s->cfg.id, .role = RAFT_NODE_STANDBY };
	spec_text(mine, m->address, sizeof(m->address));
	return true;
}

/*
 * Of two voters the leader cannot give its own vote away (G12), so it cannot leave one voter alone
 * behind: refused before anything is changed. The other one leads, or a third votes, first.
 */
static bool beyond_us(struct server *s, const struct server_set *want)
{
	const struct server_spec *mine = server_set_find(want, (int64_t)s->cfg.id);

	return (mine == NULL || mine->observer) && server_set_voters(want) == 1;
}

static void on_changed(void *owner, int rc, const struct pk_err *err)
{
	struct server *s = owner;

	s->members.changing = false;
	s->members.asked_for = 0; /* for the next change they are asked anew */
	if (rc == 0 || rc == PK_EEXIST)
		return;
	server_note(s, PK_LOG_WARN, "members.change", "error=\"%s\"", err->text);
	s->members.retry_at_ms = s->now_ms + RETRY_MS;
	s->members.failed = rc != PK_EAGAIN;
}

static void finish(struct server *s, const struct tree_reconfig *r, int32_t error)
{
	uint8_t body[4];
	struct txn_op op = { .type = TXN_CONFIG,
			     .session_id = r->session_id,
			     .xid = r->xid,
			     .body = pk_bytes(body, sizeof(body)) };

	pk_put_le32(body, (uint32_t)error);
	server_submit(s, &op, NULL, 0, NULL);
	s->members.finishing = true;
	server_note(s, PK_LOG_INFO, "members.done", "error=%d", error);
}

static void begin_config(struct server *s)
{
	struct raft_member have[RAFT_NODE_MEMBERS_MAX];
	size_t count = raft_node_members(s->raft, have, PK_COUNT(have));
	struct server_set set = SERVER_SET_INIT;
	struct server_spec spec;
	struct pk_buf body = PK_BUF_INIT;
	struct pk_err err = PK_ERR_INIT;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < count; i++) {
		rc = server_spec_parse(&spec, (int64_t)have[i].id, pk_bytes_str(have[i].address),
				       &err);
		spec.observer = have[i].role != RAFT_NODE_VOTER;
		if (rc == 0)
			rc = server_set_put(&set, &spec, &err);
	}
	if (rc == 0) {
		pk_buf_add_le32(&body, 0);
		server_set_format(&set, &body);
		server_submit(s,
			      &(struct txn_op){ .type = TXN_CONFIG, .body = pk_buf_bytes(&body) },
			      NULL, 0, NULL);
	} else {
		server_note(s, PK_LOG_ERROR, "members.text", "error=\"%s\"", err.text);
	}
	s->members.finishing = rc == 0;
	pk_buf_release(&body);
	server_set_release(&set);
}

void members_begin(struct server *s)
{
	s->members.changing = s->members.finishing = s->members.failed = false;
	s->members.retry_at_ms = 0;
	s->members.asked_for = 0;
	s->members.give_up_ms = 0;
}

/* A TXN_CONFIG was applied. */
void members_applied(struct server *s)
{
	members_begin(s);
}

/*
 * A server that joins with an empty disk is mute until it has caught up, and may be mute still when
 * its log is level. A group that needs its vote by then may elect nobody, ever. So who counts is
 * asked, for each change anew: `subject` is whose vote is given or taken.
 */
static bool may_vote(struct server *s, uint64_t subject, uint64_t id)
{
	uint8_t body[8];

	if (s->members.asked_for != subject) {
		s->members.asked_for = subject;
		s->members.nonce++;
		s->members.told_count = 0;
	}
	for (size_t i = 0; i < s->members.told_count; i++)
		if (s->members.told[i] == id)
			return true;
	pk_put_le64(body, s->members.nonce);
	pk_ignore(s->out.peer_send(s->out.owner, id, NULL, SERVER_MSG_JOIN_ASK,
				   pk_bytes(body, sizeof(body))),
		  "asked again");
	return false;
}

void members_told(struct server *s, uint64_t from_id, uint64_t nonce)
{
	if (s->members.asked_for == 0 || nonce != s->members.nonce)
		return;
	for (size_t i = 0; i < s->members.told_count; i++)
		if (s->members.told[i] == from_id)
			return;
	if (s->members.told_count < PK_COUNT(s->members.told))
		s->members.told[s->members.told_count++] = from_id;
	if (!s->members.failed)
		s->members.retry_at_ms = 0;
}

/* Can those who would vote then decide anything: is a majority of them here, up to date and not
 * mute? A vote that is taken cannot be given back when they cannot. */
static bool quorum_without(struct server *s, uint64_t id)
{
	struct raft_member have[RAFT_NODE_MEMBERS_MAX];
	size_t count = raft_node_members(s->raft, have, PK_COUNT(have)), voters = 0, ready = 0;

	for (size_t i = 0; i < count; i++) {
		uint64_t match = 0;
		bool recent = false;

		if (have[i].role != RAFT_NODE_VOTER || have[i].id == id)
			continue;
		voters++;
		ready += have[i].id == s->cfg.id ||
			 (raft_node_progress(s->raft, have[i].id, &match, &recent) && recent &&
			  match >= tree_meta(s->tree)->index && may_vote(s, id, have[i].id));
	}
	return ready > voters / 2;
}

static bool takes_vote(struct server *s, const struct raft_member *m)
{
	struct raft_member have[RAFT_NODE_MEMBERS_MAX];
	size_t count = raft_node_members(s->raft, have, PK_COUNT(have));
	const struct raft_member *there = member_of(have, count, m->id);

	return there != NULL && there->role == RAFT_NODE_VOTER && m->role != RAFT_NODE_VOTER;
}

/* A vote goes to who has told that it may use it. So it is taken in without a vote first. */
static bool may_get_vote(struct server *s, struct raft_member *m)
{
	struct raft_member have[RAFT_NODE_MEMBERS_MAX];
	size_t count = raft_node_members(s->raft, have, PK_COUNT(have));
	const struct raft_member *there = member_of(have, count, m->id);

	/* A spare is sent nothing, and would stay mute. */
	if (there == NULL || there->role == RAFT_NODE_SPARE) {
		m->role = RAFT_NODE_STANDBY;
		return true;
	}
	return may_vote(s, m->id, m->id);
}

static void change(struct server *s, struct raft_member *m)
{
	struct pk_err err = PK_ERR_INIT;

	if ((m->role == RAFT_NODE_VOTER && !may_get_vote(s, m)) ||
	    (takes_vote(s, m) && !quorum_without(s, m->id))) {
		s->members.retry_at_ms = s->now_ms +
					 RETRY_MS; /* until they may, or it is given up */
		return;
	}
	int rc = raft_node_change(s->raft, m->id, m->address, m->role, on_changed, s, &err);

	if (rc == 0) {
		s->members.changing = true;
		server_note(s, PK_LOG_INFO, "members.change", "id=%" PRIu64 " role=%d address=%s",
			    m->id, m->role, m->address);
		return;
	}
	s->members.retry_at_ms = s->now_ms + RETRY_MS;
	if (rc != PK_EAGAIN && rc != PK_EEXIST) {
		server_note(s, PK_LOG_WARN, "members.change", "id=%" PRIu64 " error=\"%s\"", m->id,
			    err.text);
		s->members.failed = true;
	}
}

/* Towards the list of a request; when that fails, back to the list that was, then the request gets
 * its error. */
static void step_request(struct server *s, const struct tree_reconfig *r,
			 const struct server_set *now)
{
	struct server_set want = SERVER_SET_INIT;
	struct raft_member m;

	if (s->members.give_up_ms == 0)
		s->members.give_up_ms = s->now_ms + GIVE_UP_MS;
	bool back = s->members.failed || s->now_ms > s->members.give_up_ms;
	if (!back && server_set_parse(&want, r->members, NULL) != 0)
		back = true; /* it was judged when it was kept: cannot be */
	if (!back && beyond_us(s, &want))
		back = s->members.failed = true;
	if (next_change(s, back ? now : &want, &m))
		change(s, &m);
	else if (!back && server_set_find(&want, (int64_t)s->cfg.id) == NULL &&
		 !quorum_without(s, s->cfg.id)) /* we leave when the list is made: not yet */
		s->members.retry_at_ms = s->now_ms + RETRY_MS;
	else
		finish(s, r, back ? ZK_ENEWCONFIGNOQUORUM : 0);
	server_set_release(&want);
}

void members_tick(struct server *s)
{
	struct tree_reconfig r;
	struct server_set now = SERVER_SET_INIT;
	struct pk_buf text = PK_BUF_INIT;
	struct raft_member m;

	if (!s->established || s->cfg.standalone || s->members.changing || s->members.finishing ||
	    s->now_ms < s->members.retry_at_ms)
		return;
	tree_config_text(s->tree, &text);
	bool known = server_set_parse(&now, pk_buf_bytes(&text), NULL) == 0 && now.count > 0;
	if (!known) {
		begin_config(s);
	} else if (tree_reconfig_pending(s->tree, &r)) {
		step_request(s, &r, &now);
	} else if (stray(s, &now, &m)) {
		change(s, &m); /* a leader that was to leave, and was lost before it had */
	} else if (server_set_find(&now, (int64_t)s->cfg.id) == NULL) {
		/* Everybody else is in place and the list is in the log: now the leader itself. */
		m = (struct raft_member){ .id = s->cfg.id, .role = -1 };
		change(s, &m);
	}
	server_set_release(&now);
	pk_buf_release(&text);
}
