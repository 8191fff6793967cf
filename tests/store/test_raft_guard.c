/*
 * Each guard clause twice: left out, the defect of libraft 0.15.0 that it contains is there to see;
 * with it, it is gone. One real node; its peers are messages written here. The numbers are those
 * of docs/raft-guard.md.
 */
#include "tests/lib/test.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/raft_io.h"
#include "store/raft_node.h"
#include "tests/sim/mem_rlog.c"

struct sent {
	struct raft_message m;
	struct raft_msg_head head;
	bool refused; /* cannot be decoded */
};

struct lone {
	struct mem_store store;
	struct disk disk;
	struct rlog *log;
	struct raft_node *node;
	struct pk_rng rng;
	int64_t now_ms;
	struct sent sent[512];
	size_t sent_count;
	bool budget_spent, failed;
	uint64_t applied, term_applied, term_skipped;
	uint64_t installs;
	int lost, done;
	uint64_t term_floor; /* of a server that joins */
};

static void on_apply_(void *owner, uint64_t index, uint64_t term, struct pk_bytes data)
{
	struct lone *l = owner;

	(void)data;
	l->applied = index;
	l->term_applied = term;
}

static void on_skip(void *owner, uint64_t index, uint64_t term)
{
	struct lone *l = owner;

	l->applied = index;
	l->term_skipped = term;
}

static void on_role(void *owner, enum raft_node_role role, uint64_t term, uint64_t leader_id)
{
	(void)owner;
	(void)role;
	(void)term;
	(void)leader_id;
}

static bool on_send(void *owner, uint64_t peer_id, const char *address, struct pk_bytes data)
{
	struct lone *l = owner;
	struct pk_err err = PK_ERR_INIT;

	(void)peer_id;
	(void)address;
	assert_true(l->sent_count < PK_COUNT(l->sent));
	struct sent *s = &l->sent[l->sent_count++];
	*s = (struct sent){ 0 };
	s->refused = raft_msg_decode(&s->m, &s->head, data, &err) != 0;
	return !l->budget_spent;
}

static void on_members(void *owner, const struct raft_member *members, size_t count)
{
	(void)owner;
	(void)members;
	(void)count;
}

static bool on_snapshot_(void *owner, uint64_t *index, struct pk_buf *payload)
{
	(void)owner;
	(void)index;
	(void)payload;
	return false;
}

static int on_restore_(void *owner, uint64_t index, struct pk_bytes payload, struct pk_err *err)
{
	(void)owner;
	(void)index;
	(void)payload;
	(void)err;
	return 0;
}

static void on_install(void *owner, uint64_t from_id, uint64_t index, uint64_t term,
		       struct pk_bytes payload)
{
	struct lone *l = owner;

	(void)from_id;
	(void)index;
	(void)term;
	(void)payload;
	l->installs++;
}

static void on_fatal(void *owner, const struct pk_err *err)
{
	struct lone *l = owner;

	(void)err;
	l->failed = true;
}

static struct raft_member member(uint64_t id, int role)
{
	struct raft_member m = { .id = id, .role = role };

	snprintf(m.address, sizeof(m.address), "host-%d", (int)id);
	return m;
}

static void forget_sent(struct lone *l)
{
	while (l->sent_count > 0) {
		struct sent *s = &l->sent[--l->sent_count];
		if (!s->refused)
			raft_msg_release(&s->m);
	}
}

static void start(struct lone *l, uint32_t guard, const struct raft_member *members, size_t count)
{
	struct raft_node_config cfg = { .id = 1,
					.address = "host-1",
					.heartbeat_ms = 50,
					.election_ms = 500,
					.install_timeout_ms = 10000,
					.snapshot_log_bytes = 1 << 20,
					.trailing_entries = 10,
					.guard = guard,
					.mute = l->term_floor != 0,
					.term_floor = l->term_floor };
	struct raft_node_owner owner = {
		l,          on_apply_,    on_skip,     on_role,    on_send,
		on_members, on_snapshot_, on_restore_, on_install, on_fatal
	};
	struct rlog_config log_cfg = { .cluster_id = 1, .server_id = 1 };
	struct rlog_loaded loaded;
	struct pk_err err = PK_ERR_INIT;

	l->disk.impl = &l->store;
	pk_rng_seed(&l->rng, 1);
	assert_int_equal(rlog_open(&l->log, &l->disk, &log_cfg, &loaded, &err), 0);
	if (raft_node_open(&l->node, &cfg, &owner, l->log, &loaded, members, count, l->now_ms,
			   &l->rng, &err) != 0)
		fail_msg("%s", err.text);
	rlog_loaded_release(&loaded);
	while (mem_rlog_step(l->log, 0))
		;
}

static struct lone *lone_new(uint32_t guard, size_t voters)
{
	struct lone *l = pk_alloc(sizeof(*l));
	struct raft_member members[8];

	for (size_t i = 0; i < voters; i++)
		members[i] = member(i + 1, RAFT_NODE_VOTER);
	l->now_ms = 1000;
	start(l, guard, members, voters);
	return l;
}

static void lone_free(struct lone *l)
{
	forget_sent(l);
	raft_node_close(l->node, NULL, NULL);
	rlog_close(l->log);
	mem_store_release(&l->store);
	free(l);
}

static void stored(struct lone *l)
{
	while (mem_rlog_step(l->log, 0))
		;
}

static void elapse(struct lone *l, int64_t ms)
{
	for (int64_t until = l->now_ms + ms; l->now_ms < until;) {
		l->now_ms += 25;
		raft_node_tick(l->node, l->now_ms);
	}
}

static void say(struct lone *l, uint64_t from, struct raft_message *m)
{
	struct pk_buf out = PK_BUF_INIT;
	struct pk_err err = PK_ERR_INIT;
	char address[16];

	m->server_id = 1;
	snprintf(address, sizeof(address), "host-%d", (int)from);
	raft_msg_encode(&out, from, address, m, SIZE_MAX);
	if (raft_node_recv(l->node, from, pk_buf_bytes(&out), l->now_ms, &err) != 0)
		fail_msg("%s", err.text);
	pk_buf_release(&out);
}

static uint8_t eight[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };

/* Entries with these terms behind prev. */
static void say_append(struct lone *l, uint64_t from, uint64_t term, uint64_t prev,
		       uint64_t prev_term, uint64_t commit, unsigned n, const uint64_t *terms)
{
	struct raft_entry entries[8] = { 0 };
	struct raft_message m = { .type = RAFT_IO_APPEND_ENTRIES };

	for (unsigned i = 0; i < n; i++)
		entries[i] = (struct raft_entry){ .term = terms[i],
						  .type = RAFT_COMMAND,
						  .buf = { eight, sizeof(eight) } };
	m.append_entries = (struct raft_append_entries){ .term = term,
							 .prev_log_index = prev,
							 .prev_log_term = prev_term,
							 .leader_commit = commit,
							 .entries = entries,
							 .n_entries = n };
	say(l, from, &m);
}

static void say_result(struct lone *l, uint64_t from, uint64_t term, uint64_t last)
{
	struct raft_message m = { .type = RAFT_IO_APPEND_ENTRIES_RESULT };

	m.append_entries_result.term = term;
	m.append_entries_result.last_log_index = last;
	say(l, from, &m);
}

static void say_vote(struct lone *l, uint64_t from, uint64_t term, bool pre_vote)
{
	struct raft_message m = { .type = RAFT_IO_REQUEST_VOTE_RESULT };

	m.request_vote_result.term = term;
	m.request_vote_result.vote_granted = true;
	m.request_vote_result.pre_vote = TO_RAFT_TRIBOOL(pre_vote);
	say(l, from, &m);
}

static const struct sent *last_sent(const struct lone *l, unsigned type)
{
	for (size_t i = l->sent_count; i > 0; i--)
		if (!l->sent[i - 1].refused && l->sent[i - 1].m.type == type)
			return &l->sent[i - 1];
	return NULL;
}

/* Through pre-vote and vote of server 2. */
static void become_leader(struct lone *l)
{
	uint64_t term = raft_node_term(l->node);

	elapse(l, 1100);
	assert_int_equal(raft_node_role(l->node), RAFT_NODE_CANDIDATE);
	say_vote(l, 2, term + 1, true);
	assert_int_equal(raft_node_term(l->node), term + 1);
	say_vote(l, 2, term + 1, false);
	assert_int_equal(raft_node_role(l->node), RAFT_NODE_LEADER);
}

static void on_done(void *owner, enum raft_node_outcome outcome, uint64_t index)
{
	struct lone *l = owner;

	(void)index;
	l->done += outcome == RAFT_NODE_APPLIED;
	l->lost += outcome == RAFT_NODE_LOST;
}

static void propose(struct lone *l)
{
	struct pk_err err = PK_ERR_INIT;

	assert_int_equal(
		raft_node_propose(l->node, pk_bytes(eight, sizeof(eight)), on_done, l, &err), 0);
}

#define ALL_BUT(clause) (RAFT_GUARD_ALL & ~(uint32_t)(clause))

/* S1: what a new leader's heartbeat makes a follower with a stale tail of 2..5 acknowledge. */
static uint64_t acknowledged_of_a_stale_tail(uint32_t guard)
{
	struct lone *l = lone_new(guard, 3);

	say_append(l, 2, 2, 1, 1, 1, 4, (uint64_t[]){ 2, 2, 2, 2 });
	stored(l);
	forget_sent(l);
	say_append(l, 3, 3, 1, 1, 1, 0, NULL);
	const struct sent *s = last_sent(l, RAFT_IO_APPEND_ENTRIES_RESULT);
	assert_non_null(s);
	assert_int_equal(s->m.append_entries_result.rejected, 0);
	uint64_t last = s->m.append_entries_result.last_log_index;
	lone_free(l);
	return last;
}

static void test_g2_a_stale_tail_is_not_acknowledged(void **state)
{
	(void)state;
	assert_int_equal(acknowledged_of_a_stale_tail(ALL_BUT(RAFT_GUARD_ACK)), 5);
	assert_int_equal(acknowledged_of_a_stale_tail(RAFT_GUARD_ALL), 1);
}

/* S2: a leader with an entry of an older term, which two servers hold, and its own not stored. */
static uint64_t committed_by_counting(uint32_t guard, uint64_t *in_the_end)
{
	struct lone *l = lone_new(guard, 3);

	say_append(l, 3, 2, 1, 1, 1, 1, (uint64_t[]){ 2 });
	stored(l);
	become_leader(l);
	propose(l);
	say_result(l, 2, 3, 2);
	uint64_t committed = raft_node_commit_index(l->node);
	stored(l);
	say_result(l, 2, 3, 3);
	*in_the_end = raft_node_commit_index(l->node);
	lone_free(l);
	return committed;
}

static void test_g1_an_older_terms_entry_commits_only_with_one_of_the_leaders_own(void **state)
{
	(void)state;
	uint64_t end;

	assert_int_equal(committed_by_counting(ALL_BUT(RAFT_GUARD_COMMIT), &end), 2);
	assert_int_equal(committed_by_counting(RAFT_GUARD_ALL, &end), 1);
	assert_int_equal(end, 3);
}

/* S5: results sent to the leader of term 3 when a write of term 2 is done. */
static size_t results_of_a_late_write(uint32_t guard)
{
	struct lone *l = lone_new(guard, 3);

	say_append(l, 2, 2, 1, 1, 1, 1, (uint64_t[]){ 2 });
	say_append(l, 3, 3, 1, 1, 1, 0, NULL);
	forget_sent(l);
	stored(l);
	size_t count = l->sent_count;
	if (count > 0)
		assert_int_equal(l->sent[0].head.to_id, 3);
	lone_free(l);
	return count;
}

static void test_g3_a_write_of_an_older_term_answers_nobody(void **state)
{
	(void)state;
	assert_int_equal(results_of_a_late_write(ALL_BUT(RAFT_GUARD_LATE)), 1);
	assert_int_equal(results_of_a_late_write(RAFT_GUARD_ALL), 0);
}

/* S4 */
static void test_g4_a_failed_write_never_reaches_the_library(void **state)
{
	(void)state;
	for (int guarded = 0; guarded < 2; guarded++) {
		struct lone *l = lone_new(guarded ? RAFT_GUARD_ALL : ALL_BUT(RAFT_GUARD_WRITE), 3);

		become_leader(l);
		uint64_t index = raft_node_last_index(l->node) + 1;
		propose(l);
		assert_true(mem_rlog_step(l->log, PK_EIO));
		if (guarded) {
			assert_true(l->failed);
		} else {
			/* still the leader; the next entry takes the same index and term, while
			 * the others hold the first one */
			assert_false(l->failed);
			assert_int_equal(raft_node_role(l->node), RAFT_NODE_LEADER);
			assert_int_equal(raft_node_last_index(l->node) + 1, index);
		}
		lone_free(l);
	}
}

/* S6 */
static enum raft_node_role role_over_an_unfinished_write(uint32_t guard)
{
	struct lone *l = lone_new(guard, 3);

	say_append(l, 2, 2, 1, 1, 1, 1, (uint64_t[]){ 2 });
	elapse(l, 3000);
	enum raft_node_role role = raft_node_role(l->node);
	lone_free(l);
	return role;
}

static void test_g5_no_election_over_an_unfinished_write(void **state)
{
	(void)state;
	assert_int_equal(role_over_an_unfinished_write(ALL_BUT(RAFT_GUARD_HOLD)),
			 RAFT_NODE_CANDIDATE);
	assert_int_equal(role_over_an_unfinished_write(RAFT_GUARD_ALL), RAFT_NODE_FOLLOWER);
}

static void say_timeout_now(struct lone *l, uint64_t from, uint64_t term, uint64_t last,
			    uint64_t last_term)
{
	struct raft_message m = { .type = RAFT_IO_TIMEOUT_NOW };

	m.timeout_now = (struct raft_timeout_now){ term, last, last_term };
	say(l, from, &m);
}

/* Asked to be elected while what it would win with is still being written. */
static void test_g5_no_hand_over_to_an_unfinished_write(void **state)
{
	(void)state;
	for (int guarded = 0; guarded < 2; guarded++) {
		struct lone *l = lone_new(guarded ? RAFT_GUARD_ALL : ALL_BUT(RAFT_GUARD_HOLD), 3);

		say_append(l, 2, 2, 1, 1, 1, 1, (uint64_t[]){ 2 });
		say_timeout_now(l, 2, 2, 2, 2);
		assert_int_equal(raft_node_role(l->node),
				 guarded ? RAFT_NODE_FOLLOWER : RAFT_NODE_CANDIDATE);
		stored(l);
		if (guarded) {
			say_timeout_now(l, 2, 2, 2, 2);
			assert_int_equal(raft_node_role(l->node), RAFT_NODE_CANDIDATE);
			assert_int_equal(raft_node_term(l->node), 3);
		}
		lone_free(l);
	}
}

/* The library frees the flag that it may disrupt a leader, taking it for a leader's address. */
static void test_who_is_asked_to_be_elected_and_cannot_store_its_term_fails(void **state)
{
	struct lone *l = lone_new(RAFT_GUARD_ALL, 3);

	(void)state;
	say_append(l, 2, 2, 1, 1, 1, 1, (uint64_t[]){ 2 });
	stored(l);
	l->log->votes_fail = true;
	say_timeout_now(l, 2, 2, 2, 2);
	assert_true(l->failed);
	assert_int_not_equal(raft_node_role(l->node), RAFT_NODE_LEADER);
	lone_free(l);
}

static void say_install(struct lone *l, uint64_t from, uint64_t term, uint64_t index)
{
	struct raft_message m = { .type = RAFT_IO_INSTALL_SNAPSHOT };
	struct raft_install_snapshot *s = &m.install_snapshot;

	*s = (struct raft_install_snapshot){
		.term = term, .last_index = index, .last_term = term, .conf_index = 1
	};
	raft_configuration_init(&s->conf);
	for (int i = 1; i <= 3; i++)
		assert_int_equal(raft_configuration_add(&s->conf, (raft_id)i,
							i == 1   ? "host-1"
							: i == 2 ? "host-2"
								 : "host-3",
							RAFT_VOTER),
				 0);
	s->data = (struct raft_buffer){ eight, sizeof(eight) };
	say(l, from, &m);
	raft_configuration_close(&s->conf);
}

/* C1 */
static enum raft_node_role role_while_a_manifest_is_stored(uint32_t guard)
{
	struct lone *l = lone_new(guard, 3);

	say_install(l, 2, 2, 100);
	assert_int_equal(l->installs, 1);
	raft_node_install_done(l->node, 0);
	elapse(l, 3000);
	enum raft_node_role role = raft_node_role(l->node);
	lone_free(l);
	return role;
}

static void test_g5_no_election_while_a_manifest_is_stored(void **state)
{
	(void)state;
	assert_int_equal(role_while_a_manifest_is_stored(ALL_BUT(RAFT_GUARD_HOLD)),
			 RAFT_NODE_CANDIDATE);
	assert_int_equal(role_while_a_manifest_is_stored(RAFT_GUARD_ALL), RAFT_NODE_FOLLOWER);
}

/* S8 */
static void propose_five_bytes(uint32_t guard)
{
	struct lone *l = lone_new(guard, 3);
	struct pk_err err = PK_ERR_INIT;

	become_leader(l);
	forget_sent(l);
	say_result(l, 2, raft_node_term(l->node), 1);
	assert_int_equal(raft_node_propose(l->node, pk_bytes(eight, 5), on_done, l, &err), 0);
	elapse(l, 200);
	/* in our log, and nobody takes it from us */
	assert_true(l->sent_count > 0 && l->sent[l->sent_count - 1].refused);
	lone_free(l);
}

static void test_g6_a_length_that_is_no_multiple_of_8_stops_the_process(void **state)
{
	(void)state;
	int status;

	propose_five_bytes(ALL_BUT(RAFT_GUARD_LENGTH));
	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (freopen("/dev/null", "w", stderr) == NULL)
			_exit(0);
		propose_five_bytes(RAFT_GUARD_ALL);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) != 0);
}

static void say_ask_vote(struct lone *l, uint64_t from, uint64_t term, uint64_t last,
			 uint64_t last_term, bool disrupt)
{
	struct raft_message m = { .type = RAFT_IO_REQUEST_VOTE };

	m.request_vote = (struct raft_request_vote){ .term = term,
						     .candidate_id = from,
						     .last_log_index = last,
						     .last_log_term = last_term,
						     .disrupt_leader = disrupt };
	say(l, from, &m);
}

/* S10: the vote stored by a leader that transfers leadership, after its transferee asked. */
static uint64_t vote_of_a_transferring_leader(uint32_t guard)
{
	struct lone *l = lone_new(guard, 3);
	struct raft_transfer transfer;

	become_leader(l);
	propose(l);
	stored(l);
	say_result(l, 2, 2, 2);
	assert_int_equal(l->store.voted_for, 1);
	assert_int_equal(raft_transfer(raft_node_library(l->node), &transfer, 2, NULL), 0);
	say_ask_vote(l, 2, 2, 2, 2, true);
	assert_int_equal(raft_node_term(l->node), 2);
	uint64_t vote = l->store.voted_for;
	lone_free(l);
	return vote;
}

static void test_g7_one_vote_in_a_term(void **state)
{
	(void)state;
	assert_int_equal(vote_of_a_transferring_leader(ALL_BUT(RAFT_GUARD_VOTE)), 2);
	assert_int_equal(vote_of_a_transferring_leader(RAFT_GUARD_ALL), 1);
}

static uint64_t next_index_of_2(struct lone *l)
{
	return raft_node_library(l->node)->leader_state.progress[1].next_index;
}

static uint64_t next_index_after_a_refused_send(uint32_t guard)
{
	struct lone *l = lone_new(guard, 3);

	become_leader(l);
	propose(l);
	stored(l);
	say_result(l, 2, 2, 2); /* 2 is sent entries as they come from now on */
	l->budget_spent = true;
	propose(l);
	elapse(l, 25);
	uint64_t next = next_index_of_2(l);
	lone_free(l);
	return next;
}

static void test_g9_a_send_over_budget_makes_the_leader_probe(void **state)
{
	(void)state;
	assert_int_equal(next_index_after_a_refused_send(ALL_BUT(RAFT_GUARD_BUDGET)), 4);
	assert_int_equal(next_index_after_a_refused_send(RAFT_GUARD_ALL), 3);
}

static void put_record(struct lone *l, uint64_t term, const struct raft_member *members,
		       size_t count)
{
	struct raft_configuration conf;
	struct mem_record rec = { .term = term, .type = RAFT_CHANGE };

	raft_configuration_init(&conf);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(raft_configuration_add(&conf, members[i].id, members[i].address,
							members[i].role),
				 0);
	raft_conf_encode(&conf, &rec.data);
	raft_configuration_close(&conf);
	l->store.start = 1;
	store_append(&l->store, &rec);
	pk_buf_release(&rec.data);
}

/* After a restart libraft takes the newest membership in the log for committed. */
static size_t members_after_a_rollback(uint32_t guard)
{
	struct lone *l = pk_alloc(sizeof(*l));
	struct raft_member members[4];

	for (size_t i = 0; i < 4; i++)
		members[i] = member(i + 1, RAFT_NODE_VOTER);
	l->store.term = 2;
	put_record(l, 1, members, 3);
	put_record(l, 2, members, 4);
	start(l, guard, NULL, 0);
	assert_int_equal(raft_node_members(l->node, NULL, 0), 4);
	say_append(l, 3, 3, 1, 1, 1, 1, (uint64_t[]){ 3 });
	stored(l);
	size_t count = raft_node_members(l->node, NULL, 0);
	lone_free(l);
	return count;
}

static void test_g10_a_membership_that_was_cut_off_is_forgotten_after_a_restart_too(void **state)
{
	(void)state;
	assert_int_equal(members_after_a_rollback(ALL_BUT(RAFT_GUARD_ROLLBACK)), 4);
	assert_int_equal(members_after_a_rollback(RAFT_GUARD_ALL), 3);
}

static uint64_t term_of_a_lone_voter(uint32_t guard)
{
	struct lone *l = lone_new(guard, 1);

	elapse(l, 25);
	assert_int_equal(raft_node_role(l->node), RAFT_NODE_LEADER);
	uint64_t term = l->store.term;
	assert_int_equal(raft_node_term(l->node), term);
	lone_free(l);
	return term;
}

static void test_g11_a_lone_voter_leads_in_a_term_of_its_own(void **state)
{
	(void)state;
	assert_int_equal(term_of_a_lone_voter(ALL_BUT(RAFT_GUARD_ALONE)), 1);
	assert_int_equal(term_of_a_lone_voter(RAFT_GUARD_ALL), 2);
}

static void on_change(void *owner, int rc, const struct pk_err *err)
{
	(void)owner;
	(void)rc;
	(void)err;
}

static unsigned changes_sent_before_they_are_stored(uint32_t guard)
{
	struct lone *l = lone_new(guard, 2);
	struct pk_err err = PK_ERR_INIT;
	unsigned count = 0;

	become_leader(l);
	propose(l);
	stored(l);
	say_result(l, 2, 2, 2);
	forget_sent(l);
	assert_int_equal(raft_node_change(l->node, 2, NULL, RAFT_NODE_STANDBY, on_change, l, &err),
			 0);
	elapse(l, 100);
	for (size_t i = 0; i < l->sent_count; i++)
		if (l->sent[i].m.type == RAFT_IO_APPEND_ENTRIES)
			count += l->sent[i].m.append_entries.n_entries;
	lone_free(l);
	return count;
}

static void test_g12_a_membership_leaves_the_leader_when_it_is_stored(void **state)
{
	(void)state;
	assert_true(changes_sent_before_they_are_stored(ALL_BUT(RAFT_GUARD_CHANGE)) > 0);
	assert_int_equal(changes_sent_before_they_are_stored(RAFT_GUARD_ALL), 0);
}

static bool grants(uint32_t guard, struct raft_member us)
{
	struct lone *l = pk_alloc(sizeof(*l));
	struct raft_member members[] = { us, member(2, RAFT_NODE_VOTER) };

	l->now_ms = 1000;
	start(l, guard, members, 2);
	say_append(l, 2, 2, 1, 1, 1, 0, NULL);
	elapse(l, 2000); /* the leader is silent */
	say_ask_vote(l, 2, 3, 2, 2, false);
	const struct sent *s = last_sent(l, RAFT_IO_REQUEST_VOTE_RESULT);
	assert_non_null(s);
	bool granted = s->m.request_vote_result.vote_granted;
	struct raft_member after[2];
	assert_int_equal(raft_node_members(l->node, after, 2), 2);
	assert_int_equal(after[0].role, us.role);
	lone_free(l);
	return granted;
}

static void test_g13_who_does_not_vote_grants_votes(void **state)
{
	(void)state;
	/* a standby; and one whose log does not name it yet */
	assert_false(grants(ALL_BUT(RAFT_GUARD_GRANT), member(1, RAFT_NODE_STANDBY)));
	assert_true(grants(RAFT_GUARD_ALL, member(1, RAFT_NODE_STANDBY)));
	assert_false(grants(ALL_BUT(RAFT_GUARD_GRANT), member(3, RAFT_NODE_VOTER)));
	assert_true(grants(RAFT_GUARD_ALL, member(3, RAFT_NODE_VOTER)));
}

static uint64_t term_of_an_entry_replaced_in_flight(uint32_t guard, uint64_t *in_the_end)
{
	struct lone *l = lone_new(guard, 3);

	say_append(l, 2, 2, 1, 1, 1, 1, (uint64_t[]){ 2 });
	say_append(l, 3, 3, 1, 1, 1, 1, (uint64_t[]){ 3 });
	uint64_t term = raft_guard_term_of(raft_node_library(l->node), 2);
	stored(l);
	say_append(l, 3, 3, 1, 1, 1, 1, (uint64_t[]){ 3 });
	stored(l);
	*in_the_end = raft_guard_term_of(raft_node_library(l->node), 2);
	lone_free(l);
	return term;
}

static void test_g14_nothing_is_cut_off_while_it_is_written(void **state)
{
	(void)state;
	uint64_t end;

	assert_int_equal(term_of_an_entry_replaced_in_flight(ALL_BUT(RAFT_GUARD_CUT), &end), 3);
	assert_int_equal(term_of_an_entry_replaced_in_flight(RAFT_GUARD_ALL, &end), 2);
	assert_int_equal(end, 3);
}

static void say_refusal(struct lone *l, uint64_t from, uint64_t term, uint64_t rejected,
			uint64_t last)
{
	struct raft_message m = { .type = RAFT_IO_APPEND_ENTRIES_RESULT };

	m.append_entries_result.term = term;
	m.append_entries_result.rejected = rejected;
	m.append_entries_result.last_log_index = last;
	say(l, from, &m);
}

/* What the leader believes of a peer that acknowledged index 2 and then lost its disk. */
static uint64_t match_of_a_wiped_peer(uint32_t guard)
{
	struct lone *l = lone_new(guard, 3);

	become_leader(l);
	propose(l);
	stored(l);
	say_result(l, 2, 2, 2);
	assert_int_equal(raft_node_library(l->node)->leader_state.progress[1].match_index, 2);
	say_refusal(l, 2, 2, 2, 0); /* once: it may be a late one */
	assert_int_equal(raft_node_library(l->node)->leader_state.progress[1].match_index, 2);
	for (int i = 0; i < 3; i++)
		say_refusal(l, 2, 2, 2, 0);
	uint64_t match = raft_node_library(l->node)->leader_state.progress[1].match_index;
	lone_free(l);
	return match;
}

static void test_g15_who_lost_its_disk_has_what_it_says(void **state)
{
	(void)state;
	assert_int_equal(match_of_a_wiped_peer(ALL_BUT(RAFT_GUARD_WAIT)), 2);
	assert_int_equal(match_of_a_wiped_peer(RAFT_GUARD_ALL), 0);
}

static uint64_t last_index_after_entries_that_the_manifest_covers(uint32_t guard)
{
	struct lone *l = lone_new(guard, 3);

	say_install(l, 2, 2, 100);
	assert_int_equal(l->installs, 1);
	raft_node_install_done(l->node, 0);
	stored(l);
	assert_int_equal(raft_node_last_index(l->node), 100);
	say_append(l, 2, 2, 0, 0, 1, 3, (uint64_t[]){ 2, 2, 2 });
	uint64_t last = raft_node_last_index(l->node);
	lone_free(l);
	return last;
}

static void test_g16_what_the_manifest_covers_is_not_appended_again(void **state)
{
	(void)state;
	int status;

	/* Without it the library writes behind the end of its own arrays, and may die of that. */
	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		signal(SIGSEGV, SIG_DFL);
		signal(SIGABRT, SIG_DFL);
		if (freopen("/dev/null", "w", stderr) == NULL)
			_exit(0);
		_exit(last_index_after_entries_that_the_manifest_covers(
			      ALL_BUT(RAFT_GUARD_BELOW)) != 100);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) != 0);
	assert_int_equal(last_index_after_entries_that_the_manifest_covers(RAFT_GUARD_ALL), 100);
}

/* Where the leader goes on with a peer that it has not heard in its term, after a failed send. */
static uint64_t next_index_of_a_silent_peer(uint32_t guard)
{
	struct lone *l = lone_new(guard, 3);

	l->budget_spent = true;
	become_leader(l);
	elapse(l, 100);
	uint64_t next = next_index_of_2(l);
	lone_free(l);
	return next;
}

static void test_g17_a_failed_send_does_not_lose_the_peers_place(void **state)
{
	(void)state;
	assert_int_equal(next_index_of_a_silent_peer(ALL_BUT(RAFT_GUARD_PLACE)), 1);
	assert_int_equal(next_index_of_a_silent_peer(RAFT_GUARD_ALL), 2);
}

/* The term in the answer to a pre-vote of an older term. */
static uint64_t term_in_a_refused_pre_vote(uint32_t guard)
{
	struct lone *l = lone_new(guard, 3);
	struct raft_message m = { .type = RAFT_IO_REQUEST_VOTE };

	say_ask_vote(l, 3, 9, 1, 1, false); /* it takes that term over */
	assert_int_equal(raft_node_term(l->node), 9);
	m.request_vote = (struct raft_request_vote){ .term = 3,
						     .candidate_id = 2,
						     .last_log_index = 5,
						     .last_log_term = 2,
						     .pre_vote = true };
	forget_sent(l);
	say(l, 2, &m);
	const struct sent *answer = last_sent(l, RAFT_IO_REQUEST_VOTE_RESULT);
	assert_non_null(answer);
	assert_false(answer->m.request_vote_result.vote_granted);
	uint64_t term = answer->m.request_vote_result.term;
	lone_free(l);
	return term;
}

static void test_g18_a_refused_pre_vote_says_the_newer_term(void **state)
{
	(void)state;
	assert_int_equal(term_in_a_refused_pre_vote(ALL_BUT(RAFT_GUARD_TERM)), 3);
	assert_int_equal(term_in_a_refused_pre_vote(RAFT_GUARD_ALL), 9);
}

static uint64_t acknowledged(const struct lone *l)
{
	const struct sent *s = last_sent(l, RAFT_IO_APPEND_ENTRIES_RESULT);

	assert_non_null(s);
	assert_int_equal(s->m.append_entries_result.rejected, 0);
	return s->m.append_entries_result.last_log_index;
}

/* A manifest at 4, while 2..5 are on their way to disk. What is on disk in the end is told. */
static uint64_t acknowledged_of_a_manifest_while_its_entries_are_written(uint32_t guard)
{
	struct lone *l = lone_new(guard, 3);

	say_append(l, 2, 2, 1, 1, 1, 4, (uint64_t[]){ 2, 2, 2, 2 });
	forget_sent(l);
	say_install(l, 2, 2, 4);
	assert_int_equal(l->installs, 0); /* it has the entries: there is nothing to fetch */
	uint64_t last = acknowledged(l);
	assert_int_equal(l->store.count, 1);
	forget_sent(l);
	stored(l);
	assert_int_equal(l->store.count, 5);
	assert_int_equal(acknowledged(l), 5);
	lone_free(l);
	return last;
}

static void test_g19_a_manifest_is_answered_with_what_is_stored(void **state)
{
	(void)state;
	assert_int_equal(acknowledged_of_a_manifest_while_its_entries_are_written(
				 ALL_BUT(RAFT_GUARD_STORED)),
			 4);
	assert_int_equal(acknowledged_of_a_manifest_while_its_entries_are_written(RAFT_GUARD_ALL),
			 1);
}

/* An entry that only the library reads, applied in the turn in which a fetched state replaces the
 * log. */
static void test_the_term_of_an_entry_is_told_before_a_manifest_replaces_it(void **state)
{
	(void)state;
	struct lone *l = lone_new(RAFT_GUARD_ALL, 3);
	struct raft_entry barrier = { .term = 2,
				      .type = RAFT_BARRIER,
				      .buf = { eight, sizeof(eight) } };
	struct raft_message m = { .type = RAFT_IO_APPEND_ENTRIES };

	m.append_entries = (struct raft_append_entries){ .term = 2,
							 .prev_log_index = 1,
							 .prev_log_term = 1,
							 .leader_commit = 2,
							 .entries = &barrier,
							 .n_entries = 1 };
	say(l, 2, &m);
	say_install(l, 2, 2, 100);
	assert_int_equal(l->installs, 1);
	raft_node_install_done(l->node, 0);
	assert_int_not_equal(raft_node_last_index(l->node), 100); /* the entry is being written */
	stored(l);
	assert_int_equal(raft_node_last_index(l->node), 100);
	assert_int_equal(l->applied, 2);
	assert_int_equal(l->term_skipped, 2);
	lone_free(l);
}

static void test_a_second_leader_of_our_term_is_refused(void **state)
{
	(void)state;
	struct lone *l = lone_new(RAFT_GUARD_ALL, 3);
	struct raft_message m = { .type = RAFT_IO_APPEND_ENTRIES, .server_id = 1 };
	struct pk_buf out = PK_BUF_INIT;
	struct pk_err err = PK_ERR_INIT;

	become_leader(l);
	m.append_entries.term = raft_node_term(l->node);
	m.append_entries.prev_log_index = m.append_entries.prev_log_term = 1;
	raft_msg_encode(&out, 3, "host-3", &m, 0);
	assert_int_equal(raft_node_recv(l->node, 3, pk_buf_bytes(&out), l->now_ms, &err),
			 PK_EPROTO);
	assert_int_equal(raft_node_recv(l->node, 2, pk_buf_bytes(&out), l->now_ms, &err),
			 PK_EPROTO); /* says it is from 3 */
	assert_int_equal(raft_node_role(l->node), RAFT_NODE_LEADER);
	pk_buf_release(&out);
	lone_free(l);
}

static void test_a_large_backlog_travels_in_parts(void **state)
{
	(void)state;
	struct lone *l = lone_new(RAFT_GUARD_ALL, 3);
	struct pk_err err = PK_ERR_INIT;
	size_t len = 600 << 10;
	uint8_t *big = pk_alloc(len);

	become_leader(l);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(raft_node_propose(l->node, pk_bytes(big, len), on_done, l, &err),
				 0);
		stored(l);
		say_result(l, 3, 2, raft_node_last_index(l->node));
		forget_sent(l);
	}
	assert_int_equal(raft_node_commit_index(l->node), 5);
	/* 2 has nothing of it: asked for, it comes entry by entry, each at once */
	say_result(l, 2, 2, 1);
	for (uint64_t have = 2; have <= 5; have++) {
		const struct sent *s = NULL;
		for (size_t i = 0; i < l->sent_count; i++)
			if (l->sent[i].head.to_id == 2)
				s = &l->sent[i];
		assert_non_null(s);
		assert_int_equal(s->m.append_entries.prev_log_index, have - 1);
		assert_int_equal(s->m.append_entries.n_entries, 1);
		forget_sent(l);
		say_result(l, 2, 2, have);
	}
	free(big);
	lone_free(l);
}

/* Where the log of a server that joins ends after a leader of term 4 sent it two entries. */
static uint64_t taken_from_a_deposed_leader(uint64_t term_floor, uint64_t *term)
{
	struct lone *l = pk_alloc(sizeof(*l));

	l->now_ms = 1000;
	l->term_floor = term_floor;
	start(l, RAFT_GUARD_ALL, NULL, 0);
	say_append(l, 3, 4, 0, 0, 2, 2, (uint64_t[]){ 3, 4 });
	stored(l);
	const struct sent *answer = last_sent(l, RAFT_IO_APPEND_ENTRIES_RESULT);
	uint64_t last = raft_node_last_index(l->node);
	*term = answer->m.append_entries_result.term; /* a newer one ends that leader's reign */
	if (last == 0) { /* nor after a restart, which knows of no floor */
		raft_node_close(l->node, NULL, NULL);
		rlog_close(l->log);
		l->term_floor = 0;
		start(l, RAFT_GUARD_ALL, NULL, 0);
		say_append(l, 3, 4, 0, 0, 2, 2, (uint64_t[]){ 3, 4 });
		stored(l);
		last = raft_node_last_index(l->node);
	}
	lone_free(l);
	return last;
}

static void test_who_joins_takes_nothing_from_a_leader_below_its_floor(void **state)
{
	(void)state;
	uint64_t term = 0;

	assert_int_equal(taken_from_a_deposed_leader(1, &term), 2);
	assert_int_equal(taken_from_a_deposed_leader(4, &term), 2);
	assert_int_equal(term, 4);
	assert_int_equal(taken_from_a_deposed_leader(5, &term), 0);
	assert_int_equal(term, 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_g1_an_older_terms_entry_commits_only_with_one_of_the_leaders_own),
		cmocka_unit_test(test_g2_a_stale_tail_is_not_acknowledged),
		cmocka_unit_test(test_g3_a_write_of_an_older_term_answers_nobody),
		cmocka_unit_test(test_g4_a_failed_write_never_reaches_the_library),
		cmocka_unit_test(test_g5_no_election_over_an_unfinished_write),
		cmocka_unit_test(test_g5_no_hand_over_to_an_unfinished_write),
		cmocka_unit_test(test_who_is_asked_to_be_elected_and_cannot_store_its_term_fails),
		cmocka_unit_test(test_g5_no_election_while_a_manifest_is_stored),
		cmocka_unit_test(test_g6_a_length_that_is_no_multiple_of_8_stops_the_process),
		cmocka_unit_test(test_g7_one_vote_in_a_term),
		cmocka_unit_test(test_g9_a_send_over_budget_makes_the_leader_probe),
		cmocka_unit_test(
			test_g10_a_membership_that_was_cut_off_is_forgotten_after_a_restart_too),
		cmocka_unit_test(test_g11_a_lone_voter_leads_in_a_term_of_its_own),
		cmocka_unit_test(test_g12_a_membership_leaves_the_leader_when_it_is_stored),
		cmocka_unit_test(test_g13_who_does_not_vote_grants_votes),
		cmocka_unit_test(test_g14_nothing_is_cut_off_while_it_is_written),
		cmocka_unit_test(test_g15_who_lost_its_disk_has_what_it_says),
		cmocka_unit_test(test_g16_what_the_manifest_covers_is_not_appended_again),
		cmocka_unit_test(test_g17_a_failed_send_does_not_lose_the_peers_place),
		cmocka_unit_test(test_g18_a_refused_pre_vote_says_the_newer_term),
		cmocka_unit_test(test_g19_a_manifest_is_answered_with_what_is_stored),
		cmocka_unit_test(test_the_term_of_an_entry_is_told_before_a_manifest_replaces_it),
		cmocka_unit_test(test_a_second_leader_of_our_term_is_refused),
		cmocka_unit_test(test_a_large_backlog_travels_in_parts),
		cmocka_unit_test(test_who_joins_takes_nothing_from_a_leader_below_its_floor),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
