#include "store/found.h"

void found_init(struct found *f, uint64_t me, uint64_t life, const struct raft_member *members,
		size_t count, uint64_t members_hash, bool joining)
{
	PK_ASSERT(count <= RAFT_NODE_MEMBERS_MAX && life != 0);
	*f = (struct found){
		.me = me, .life = life, .members_hash = members_hash, .data = joining
	};
	for (size_t i = 0; i < count; i++) {
		if (members[i].role != RAFT_NODE_VOTER)
			continue;
		f->voters[f->voter_count++] = (struct found_voter){
			.id = members[i].id, .fresh = members[i].id == me && members_hash != 0
		};
	}
}

static const struct found_voter *voter(const struct found *f, uint64_t id)
{
	for (size_t i = 0; i < f->voter_count; i++)
		if (f->voters[i].id == id)
			return &f->voters[i];
	return NULL;
}

int found_peer(struct found *f, uint64_t peer_id, const struct found_answer *a)
{
	struct found_voter *v = (struct found_voter *)voter(f, peer_id);

	if (a->term > f->term || (a->term == f->term && a->terms_needed > f->terms_needed)) {
		f->term = a->term;
		f->terms_needed = a->terms_needed;
	}
	if (v != NULL && a->term > v->term)
		v->term = a->term;
	if (a->has_data) {
		f->data = true;
		return 0;
	}
	if (a->founded && !a->counted)
		return 0; /* it may have founded with an earlier life of ours */
	if (a->members_hash == 0)
		return PK_ENOENT;
	if (a->members_hash != f->members_hash && f->members_hash != 0)
		return PK_ESTATE;
	if (v != NULL) {
		v->fresh = true;
		v->life = a->life;
	}
	return 0;
}

size_t found_fresh(const struct found *f)
{
	size_t count = 0;

	for (size_t i = 0; i < f->voter_count; i++)
		count += f->voters[i].fresh;
	return count;
}

/* n - q + 1 with q = n / 2 + 1, where n counts the asking server, whether it is a voter or not. */
static size_t needed_of(size_t others)
{
	return others > 0 ? others + 1 - (others + 1) / 2 : 0;
}

size_t found_terms_needed(const struct found *f)
{
	size_t others = f->voter_count - (voter(f, f->me) != NULL);

	if (f->term == 0)
		return needed_of(others);
	return f->terms_needed < others ? f->terms_needed : others;
}

size_t found_terms_known(const struct found *f)
{
	size_t count = 0;

	for (size_t i = 0; i < f->voter_count; i++)
		count += f->voters[i].term != 0 && f->voters[i].id != f->me;
	return count;
}

uint64_t found_term(const struct found *f)
{
	return f->term;
}

enum found_verdict found_verdict(const struct found *f)
{
	if (f->data)
		return found_terms_known(f) >= found_terms_needed(f) ? FOUND_JOIN : FOUND_WAIT;
	if (f->members_hash == 0 || found_fresh(f) <= f->voter_count / 2)
		return FOUND_WAIT;
	return FOUND_NEW;
}

struct found_answer found_answer(const struct found *f, const struct raft_node *raft, bool joining,
				 uint64_t members_hash, uint64_t to_id, uint64_t to_life)
{
	struct found_answer a = { .members_hash = members_hash };

	if (raft == NULL) {
		a.has_data = f->data;
		a.life = f->life;
		return a;
	}
	const struct found_voter *to = voter(f, to_id);
	struct raft_member members[RAFT_NODE_MEMBERS_MAX];
	size_t count = raft_node_members(raft, members, PK_COUNT(members)), others = 0;

	for (size_t i = 0; i < count; i++)
		others += members[i].role == RAFT_NODE_VOTER && members[i].id != to_id;
	a.terms_needed = (uint8_t)needed_of(others);
	/* The bootstrap entry alone is what any new server of this list would have. */
	a.has_data = joining || raft_node_last_index(raft) > 1;
	a.founded = true;
	a.counted = to != NULL && to_life != 0 && to->life == to_life;
	a.term = raft_node_term(raft);
	return a;
}
