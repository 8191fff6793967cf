#include "store/found.h"

void found_init(struct found *f, uint64_t me, const struct raft_member *members, size_t count,
		uint64_t members_hash)
{
	PK_ASSERT(count <= RAFT_NODE_MEMBERS_MAX);
	*f = (struct found){ .me = me, .members_hash = members_hash };
	for (size_t i = 0; i < count; i++) {
		if (members[i].role != RAFT_NODE_VOTER)
			continue;
		f->fresh[f->voter_count] = members[i].id == me && members_hash != 0;
		f->fresh_count += f->fresh[f->voter_count];
		f->voters[f->voter_count++] = members[i].id;
	}
}

int found_peer(struct found *f, uint64_t peer_id, bool has_data, uint64_t members_hash)
{
	if (has_data) {
		f->data = true;
		return 0;
	}
	if (members_hash == 0)
		return PK_ENOENT;
	if (members_hash != f->members_hash && f->members_hash != 0)
		return PK_ESTATE;
	for (size_t i = 0; i < f->voter_count; i++) {
		if (f->voters[i] != peer_id || f->fresh[i])
			continue;
		f->fresh[i] = true;
		f->fresh_count++;
	}
	return 0;
}

enum found_verdict found_verdict(const struct found *f)
{
	if (f->data)
		return FOUND_JOIN;
	if (f->members_hash == 0 || f->fresh_count <= f->voter_count / 2)
		return FOUND_WAIT;
	return FOUND_NEW;
}

size_t found_fresh(const struct found *f)
{
	return f->fresh_count;
}

bool found_has_data(const struct raft_node *raft, bool joining)
{
	/* The bootstrap entry alone is what any new server of this list would have. */
	return raft != NULL && (joining || raft_node_last_index(raft) > 1);
}
