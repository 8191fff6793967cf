/* Elections, replication, restarts, snapshots and membership of small groups in virtual time. */
#include "tests/lib/test.h"

#include "store/raft_io.h"
#include "tests/sim/raft_cluster.c"

static struct cluster *group(size_t count)
{
	return cluster_new(&(struct cluster_options){ .count = count,
						      .seed = 42,
						      .guard = RAFT_GUARD_ALL,
						      .snapshot_log_bytes = 64 << 20,
						      .trailing_entries = 1000 });
}

static void finish(struct cluster *c)
{
	if (cluster_violation(c) != NULL)
		print_error("%s\n", cluster_violation(c));
	assert_null(cluster_violation(c));
	cluster_free(c);
}

static void write_some(struct cluster *c, int count)
{
	for (int i = 0; i < count; i++) {
		int l = cluster_leader(c);
		if (l >= 0)
			pk_ignore(cluster_propose(c, l, 1 + (size_t)i % 16), "refused when busy");
		cluster_run(c, 5);
	}
}

static void test_three_servers_elect_one_leader(void **state)
{
	(void)state;
	struct cluster *c = group(3);

	assert_int_not_equal(cluster_elect(c, 5000), -1);
	assert_true(cluster_settle(c, 1000));
	finish(c);
}

static void test_a_lone_server_leads_with_its_first_tick(void **state)
{
	(void)state;
	struct cluster *c = group(1);

	assert_int_equal(cluster_elect(c, 100), 0);
	write_some(c, 50);
	assert_true(cluster_settle(c, 1000));
	assert_true(cluster_acked(c) >= 50);
	finish(c);
}

static void test_what_the_leader_takes_is_applied_everywhere(void **state)
{
	(void)state;
	struct cluster *c = group(3);

	assert_int_not_equal(cluster_elect(c, 5000), -1);
	write_some(c, 200);
	assert_true(cluster_settle(c, 1000));
	assert_true(cluster_acked(c) > 150);
	finish(c);
}

static void test_the_leader_dies_and_another_goes_on(void **state)
{
	(void)state;
	struct cluster *c = group(3);
	int first = cluster_elect(c, 5000);

	write_some(c, 20);
	cluster_crash(c, first);
	cluster_run(c, 500);
	int second = cluster_elect(c, 5000);
	assert_int_not_equal(second, -1);
	assert_int_not_equal(second, first);
	write_some(c, 20);
	cluster_start(c, first);
	assert_true(cluster_settle(c, 3000));
	finish(c);
}

/* A group whose leader went silent, of whose followers the first `told` saw its channel close. */
static int64_t leaderless_ms(size_t count, int told)
{
	struct cluster *c = group(count);
	int first = cluster_elect(c, 5000);

	write_some(c, 20);
	for (int i = 0; i < (int)count; i++) {
		cluster_link(c, first, i, false);
		cluster_link(c, i, first, false);
	}
	for (int i = 0; i < (int)count && told > 0; i++) {
		if (i == first)
			continue;
		cluster_peer_down(c, i, first);
		told--;
	}
	int64_t since = cluster_now(c);
	uint64_t term = raft_node_term(cluster_raft(c, first));
	while (cluster_leader(c) == first ||
	       raft_node_term(cluster_raft(c, cluster_leader(c))) == term)
		cluster_run(c, 1);
	int64_t passed = cluster_now(c) - since;
	finish(c);
	return passed;
}

static void test_a_leader_whose_channel_closed_is_followed_before_the_timeout(void **state)
{
	(void)state;
	assert_in_range(leaderless_ms(3, 0), 450, 2000);
	assert_in_range(leaderless_ms(3, 2), 25, 250);
	assert_in_range(leaderless_ms(5, 4), 25, 250);
	/* Two of the four would vote for it, with itself a majority: the others wait no longer. */
	assert_in_range(leaderless_ms(5, 3), 25, 350);
}

static void test_a_leader_that_is_heard_stays_when_a_channel_to_it_closes(void **state)
{
	(void)state;
	struct cluster *c = group(3);
	int l = cluster_elect(c, 5000);
	uint64_t term = raft_node_term(cluster_raft(c, l));

	/* Every follower loses its channel to the leader, which they go on hearing. */
	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < 3; i++)
			if (i != l)
				cluster_peer_down(c, i, l);
		cluster_run(c, 37);
	}
	/* One is cut off from it, for less than its election timeout: the other still hears it. */
	int alone = (l + 1) % 3;
	cluster_link(c, l, alone, false);
	cluster_link(c, alone, l, false);
	cluster_peer_down(c, alone, l);
	cluster_run(c, 300);
	assert_int_equal(raft_node_leader(cluster_raft(c, alone)), 0);
	cluster_heal(c);
	write_some(c, 40);
	assert_true(cluster_settle(c, 3000));
	assert_int_equal(cluster_leader(c), l);
	assert_int_equal(raft_node_term(cluster_raft(c, l)), term);
	finish(c);
}

static int hand_over(struct cluster *c, int from, int to)
{
	struct pk_err err = PK_ERR_INIT;

	return raft_node_hand_over(cluster_raft(c, from), (uint64_t)to + 1, &err);
}

static void hand_over_to_each(size_t count)
{
	struct cluster *c = group(count);
	int l = cluster_elect(c, 5000);

	for (int i = 0; i < (int)count; i++) {
		write_some(c, 20);
		assert_true(cluster_settle(c, 1000));
		cluster_run(c, 100); /* until the leader has heard that they have it */
		if (i == l)
			continue;
		uint64_t term = raft_node_term(cluster_raft(c, l));
		assert_int_equal(hand_over(c, l, i), 0);
		cluster_run(c, 20);
		assert_int_equal(raft_node_role(cluster_raft(c, i)), RAFT_NODE_LEADER);
		assert_int_equal(raft_node_role(cluster_raft(c, l)), RAFT_NODE_FOLLOWER);
		assert_int_equal(raft_node_term(cluster_raft(c, i)), term + 1);
		l = i;
	}
	write_some(c, 20);
	assert_true(cluster_settle(c, 1000));
	finish(c);
}

static void test_a_leader_hands_over_to_whom_it_names(void **state)
{
	(void)state;
	hand_over_to_each(2);
	hand_over_to_each(3);
	hand_over_to_each(5);
}

static void test_a_leader_hands_over_to_nobody_who_lags_or_may_not_lead(void **state)
{
	(void)state;
	struct cluster *c = group(3);
	int l = cluster_elect(c, 5000), a = (l + 1) % 3, b = (l + 2) % 3;

	assert_true(cluster_settle(c, 1000));
	assert_int_equal(hand_over(c, a, b), PK_ESTATE);
	assert_int_equal(hand_over(c, l, l), PK_ESTATE);
	assert_int_equal(hand_over(c, l, 6), PK_ESTATE);
	cluster_link(c, l, a, false);
	write_some(c, 3);
	cluster_run(c, 50);
	assert_int_equal(hand_over(c, l, a), PK_EAGAIN);
	assert_int_equal(hand_over(c, l, b), 0);
	cluster_heal(c);
	cluster_run(c, 100);
	assert_int_equal(cluster_leader(c), b);
	assert_int_equal(cluster_change(c, a, RAFT_NODE_STANDBY), 0);
	cluster_run(c, 500);
	assert_int_equal(hand_over(c, b, a), PK_ESTATE);
	finish(c);
}

/* Whoever was asked is gone: the leader goes on. */
static void test_a_leader_whose_heir_is_gone_leads_on(void **state)
{
	(void)state;
	struct cluster *c = group(3);
	int l = cluster_elect(c, 5000);

	assert_true(cluster_settle(c, 1000));
	uint64_t term = raft_node_term(cluster_raft(c, l));
	cluster_link(c, l, (l + 1) % 3, false);
	assert_int_equal(hand_over(c, l, (l + 1) % 3), 0);
	cluster_run(c, 200);
	cluster_heal(c);
	write_some(c, 20);
	assert_int_equal(cluster_leader(c), l);
	assert_int_equal(raft_node_term(cluster_raft(c, l)), term);
	finish(c);
}

static void test_all_restart_and_nothing_is_lost(void **state)
{
	(void)state;
	struct cluster *c = group(3);

	assert_int_not_equal(cluster_elect(c, 5000), -1);
	write_some(c, 100);
	for (int i = 0; i < 3; i++)
		cluster_crash(c, i);
	for (int i = 0; i < 3; i++)
		cluster_start(c, i);
	assert_int_not_equal(cluster_elect(c, 5000), -1);
	assert_true(cluster_settle(c, 1000));
	finish(c);
}

static void test_a_cut_off_leader_steps_down_and_its_proposals_are_not_acknowledged(void **state)
{
	(void)state;
	struct cluster *c = group(3);
	int l = cluster_elect(c, 5000);

	assert_true(cluster_settle(c, 1000));
	for (int i = 0; i < 3; i++) {
		cluster_link(c, l, i, false);
		cluster_link(c, i, l, false);
	}
	uint64_t acked = cluster_acked(c);
	assert_int_equal(cluster_propose(c, l, 2), 0);
	cluster_run(c, 3000);
	assert_int_not_equal(raft_node_role(cluster_raft(c, l)), RAFT_NODE_LEADER);
	assert_int_equal(raft_node_inflight(cluster_raft(c, l)), 0);
	assert_true(cluster_acked(c) <= acked + 1); /* the new leader's own first entry */
	cluster_heal(c);
	assert_int_not_equal(cluster_elect(c, 5000), -1);
	assert_true(cluster_settle(c, 2000));
	finish(c);
}

static void test_proposals_have_a_bound(void **state)
{
	(void)state;
	struct cluster *c = group(3);
	int l = cluster_elect(c, 5000);

	assert_true(cluster_settle(c, 1000));
	for (int i = 0; i < RAFT_NODE_INFLIGHT_MAX; i++)
		assert_int_equal(cluster_propose(c, l, 1), 0);
	assert_int_equal(cluster_propose(c, l, 1), PK_EAGAIN);
	assert_int_equal(cluster_propose(c, (l + 1) % 3, 1), PK_ESTATE);
	finish(c);
}

static struct cluster *small_log_group(size_t count)
{
	return cluster_new(&(struct cluster_options){ .count = count,
						      .seed = 7,
						      .guard = RAFT_GUARD_ALL,
						      .snapshot_log_bytes = 16384,
						      .trailing_entries = 10 });
}

static void test_the_log_is_cut_behind_the_durable_state(void **state)
{
	(void)state;
	struct cluster *c = small_log_group(3);

	assert_int_not_equal(cluster_elect(c, 5000), -1);
	write_some(c, 2000);
	assert_true(cluster_settle(c, 1000));
	assert_true(cluster_snapshots(c) > 10);
	for (int i = 0; i < 3; i++)
		assert_true(rlog_bytes(c->nodes[i].log) < 40000);
	finish(c);
}

static void test_a_follower_far_behind_gets_state_from_the_leader(void **state)
{
	(void)state;
	struct cluster *c = small_log_group(3);
	int l = cluster_elect(c, 5000);
	int behind = (l + 1) % 3;

	cluster_crash(c, behind);
	write_some(c, 1000);
	cluster_start(c, behind);
	assert_true(cluster_settle(c, 20000));
	assert_true(cluster_installs(c) > 0);
	write_some(c, 100);
	cluster_crash(c, behind);
	cluster_start(c, behind);
	assert_true(cluster_settle(c, 5000));
	finish(c);
}

static void test_the_log_is_kept_for_a_follower_that_answers_within_a_bound(void **state)
{
	(void)state;
	struct cluster *c = small_log_group(3);
	int l = cluster_elect(c, 5000);
	int behind = (l + 1) % 3;

	write_some(c, 500);
	assert_true(cluster_settle(c, 1000));
	uint64_t before = cluster_applied(c, behind);
	raft_node_hold(cluster_raft(c, behind), true);
	write_some(c, 130); /* more than 16 KiB, which it keeps else: 512 bytes are the least */
	assert_true(cluster_applied(c, behind) < before + 10);
	assert_true(cluster_applied(c, l) > before + 100);
	raft_node_hold(cluster_raft(c, behind), false);
	assert_true(cluster_settle(c, 5000));
	assert_int_equal(cluster_installs(c), 0);

	raft_node_hold(cluster_raft(c, behind), true);
	write_some(c, 600); /* more than eight times that */
	assert_true(rlog_bytes(c->nodes[l].log) < 10 * 16384);
	raft_node_hold(cluster_raft(c, behind), false);
	assert_true(cluster_settle(c, 20000));
	assert_true(cluster_installs(c) > 0);
	assert_int_equal(cluster_leader(c), l); /* all the time it heard from it */
	finish(c);
}

static void test_a_restart_starts_from_manifest_and_tail(void **state)
{
	(void)state;
	struct cluster *c = small_log_group(3);

	assert_int_not_equal(cluster_elect(c, 5000), -1);
	for (int round = 0; round < 10; round++) {
		write_some(c, 300);
		for (int i = 0; i < 3; i++)
			cluster_crash(c, i);
		for (int i = 0; i < 3; i++)
			cluster_start(c, i);
		assert_int_not_equal(cluster_elect(c, 5000), -1);
	}
	assert_true(cluster_settle(c, 2000));
	finish(c);
}

/* The library never cuts its log, but the log's manifest follows the state. */
static struct cluster *checkpoint_group(size_t count)
{
	return cluster_new(&(struct cluster_options){ .count = count,
						      .seed = 9,
						      .guard = RAFT_GUARD_ALL,
						      .snapshot_log_bytes = 64 << 20,
						      .trailing_entries = 1000,
						      .checkpoints = true,
						      .covered_count = 8 });
}

static void test_a_restart_reads_the_log_from_the_durable_state_on(void **state)
{
	(void)state;
	struct cluster *c = checkpoint_group(3);

	assert_int_not_equal(cluster_elect(c, 5000), -1);
	for (int round = 0; round < 5; round++) {
		write_some(c, 500);
		assert_true(cluster_settle(c, 1000));
		cluster_run(c, 1000);
		for (int i = 0; i < 3; i++)
			cluster_crash(c, i);
		for (int i = 0; i < 3; i++) {
			cluster_start(c, i);
			/* what it still keeps, and perhaps the end, not known to be committed */
			assert_in_range(cluster_loaded(c, i), 8, 12);
		}
		assert_int_not_equal(cluster_elect(c, 5000), -1);
	}
	assert_true(cluster_settle(c, 2000));
	assert_int_equal(cluster_snapshots(c), 0);
	assert_int_equal(cluster_installs(c), 0);
	finish(c);
}

static void test_who_lags_behind_the_manifest_is_served_from_the_log(void **state)
{
	(void)state;
	struct cluster *c = checkpoint_group(3);
	int l = cluster_elect(c, 5000);

	assert_int_not_equal(l, -1);
	cluster_crash(c, (l + 1) % 3);
	write_some(c, 1000);
	cluster_run(c, 1000);
	assert_true(rlog_manifest_get(c->nodes[l].log)->index > 900);
	cluster_start(c, (l + 1) % 3);
	assert_true(cluster_settle(c, 5000));
	assert_int_equal(cluster_installs(c), 0);
	finish(c);
}

static void test_a_state_that_is_long_on_its_way_amid_writes_is_fetched_once(void **state)
{
	(void)state;
	struct cluster *c = cluster_new(&(struct cluster_options){ .count = 3,
								   .seed = 5,
								   .guard = RAFT_GUARD_ALL,
								   .snapshot_log_bytes = 256 << 10,
								   .trailing_entries = 10,
								   .checkpoints = true,
								   .covered_count = 8,
								   .fetch_ms = 12000 });
	int l = cluster_elect(c, 5000);

	assert_int_not_equal(l, -1);
	cluster_crash(c, (l + 1) % 3);
	write_some(c, 1500); /* of 512 bytes: the log is cut */
	assert_int_equal(cluster_leader(c), l);
	cluster_start(c, (l + 1) % 3);
	write_some(c, 2500); /* 12.5 s; a leader sends a manifest again after 5 s */
	assert_int_equal(cluster_leader(c), l);
	cluster_run(c, 500); /* hardly a heartbeat or two later it has everything, from the log */
	assert_true(cluster_applied(c, (l + 1) % 3) + 5 > cluster_applied(c, l));
	assert_int_equal(cluster_installs(c), 1);
	assert_true(cluster_settle(c, 2000));
	finish(c);
}

static void test_who_lags_behind_what_a_restart_read_gets_state(void **state)
{
	(void)state;
	struct cluster *c = checkpoint_group(3);
	int l = cluster_elect(c, 5000);

	assert_int_not_equal(l, -1);
	cluster_crash(c, (l + 1) % 3);
	write_some(c, 1000);
	cluster_run(c, 1000);
	cluster_crash(c, l);
	cluster_crash(c, (l + 2) % 3);
	for (int i = 0; i < 3; i++)
		cluster_start(c, i);
	assert_int_not_equal(cluster_elect(c, 5000), -1);
	write_some(c, 10);
	assert_true(cluster_settle(c, 20000));
	assert_true(cluster_installs(c) > 0);
	finish(c);
}

/* What a leader sends is the log's manifest, newer than the library's. When the state behind it
 * cannot be had, the library must take the refusal for its own. */
static void test_a_manifest_that_is_refused_is_sent_again_at_once(void **state)
{
	(void)state;
	struct cluster *c = cluster_new(&(struct cluster_options){ .count = 3,
								   .seed = 11,
								   .guard = RAFT_GUARD_ALL,
								   .snapshot_log_bytes = 65536,
								   .trailing_entries = 4,
								   .checkpoints = true });
	int l = cluster_elect(c, 5000);
	int behind = (l + 1) % 3;

	assert_int_not_equal(l, -1);
	cluster_crash(c, behind);
	for (int i = 0; i < 5000 && cluster_snapshots(c) < 4; i++)
		write_some(c, 1);
	write_some(c, 100);
	cluster_run(c, 1000);
	assert_true(rlog_manifest_get(c->nodes[l].log)->index >
		    raft_node_library(c->nodes[l].raft)->log.snapshot.last_index);
	c->fetches_fail = 3;
	cluster_start(c, behind);
	int64_t begun_ms = cluster_now(c);
	while (cluster_applied(c, behind) < cluster_committed(c) &&
	       cluster_now(c) < begun_ms + 20000)
		cluster_run(c, 10);
	assert_int_equal(c->fetches_fail, 0);
	assert_in_range(cluster_now(c) - begun_ms, 1, 3000); /* 5000 is when it would be sent again
								unasked */
	finish(c);
}

static void test_an_unknown_server_becomes_spare_then_standby_then_voter(void **state)
{
	(void)state;
	struct cluster *c = small_log_group(3);

	assert_int_not_equal(cluster_elect(c, 5000), -1);
	write_some(c, 500);
	int joiner = cluster_add(c);
	assert_int_equal(cluster_change(c, joiner, RAFT_NODE_VOTER), 0);
	assert_int_equal(cluster_change(c, joiner, RAFT_NODE_VOTER), PK_EAGAIN);
	for (int i = 0; i < 100 && cluster_changes(c) == 0; i++)
		write_some(c, 20);
	assert_int_equal(cluster_changes(c), 1);
	assert_true(cluster_settle(c, 5000));
	struct raft_member members[8];
	assert_int_equal(raft_node_members(cluster_raft(c, joiner), members, 8), 4);
	assert_int_equal(members[3].role, RAFT_NODE_VOTER);
	finish(c);
}

static void test_a_leader_removes_itself_and_the_rest_goes_on(void **state)
{
	(void)state;
	struct cluster *c = group(3);
	int l = cluster_elect(c, 5000);

	assert_int_equal(cluster_change(c, l, -1), 0);
	cluster_run(c, 5000);
	assert_int_equal(cluster_changes(c), 1);
	int next = cluster_elect(c, 5000);
	assert_int_not_equal(next, -1);
	assert_int_not_equal(next, l);
	assert_int_equal(raft_node_members(cluster_raft(c, next), NULL, 0), 2);
	write_some(c, 50);
	assert_true(cluster_settle(c, 2000));
	finish(c);
}

static void test_the_last_voter_stays(void **state)
{
	(void)state;
	struct cluster *c = group(1);

	assert_int_equal(cluster_elect(c, 1000), 0);
	assert_int_equal(cluster_change(c, 0, -1), PK_EINVAL);
	assert_int_equal(cluster_change(c, 0, RAFT_NODE_STANDBY), PK_EINVAL);
	finish(c);
}

static void test_a_failed_write_ends_the_server(void **state)
{
	(void)state;
	struct cluster *c = group(3);
	int l = cluster_elect(c, 5000);

	cluster_fail_disk(c, l);
	assert_int_equal(cluster_propose(c, l, 4), 0);
	cluster_run(c, 50);
	assert_true(cluster_failed(c, l));
	cluster_start(c, l);
	assert_int_not_equal(cluster_elect(c, 5000), -1);
	assert_true(cluster_settle(c, 5000));
	finish(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_three_servers_elect_one_leader),
		cmocka_unit_test(test_a_lone_server_leads_with_its_first_tick),
		cmocka_unit_test(test_what_the_leader_takes_is_applied_everywhere),
		cmocka_unit_test(test_the_leader_dies_and_another_goes_on),
		cmocka_unit_test(test_a_leader_whose_channel_closed_is_followed_before_the_timeout),
		cmocka_unit_test(test_a_leader_that_is_heard_stays_when_a_channel_to_it_closes),
		cmocka_unit_test(test_a_leader_hands_over_to_whom_it_names),
		cmocka_unit_test(test_a_leader_hands_over_to_nobody_who_lags_or_may_not_lead),
		cmocka_unit_test(test_a_leader_whose_heir_is_gone_leads_on),
		cmocka_unit_test(test_all_restart_and_nothing_is_lost),
		cmocka_unit_test(
			test_a_cut_off_leader_steps_down_and_its_proposals_are_not_acknowledged),
		cmocka_unit_test(test_proposals_have_a_bound),
		cmocka_unit_test(test_the_log_is_cut_behind_the_durable_state),
		cmocka_unit_test(test_a_follower_far_behind_gets_state_from_the_leader),
		cmocka_unit_test(test_the_log_is_kept_for_a_follower_that_answers_within_a_bound),
		cmocka_unit_test(test_a_restart_starts_from_manifest_and_tail),
		cmocka_unit_test(test_a_restart_reads_the_log_from_the_durable_state_on),
		cmocka_unit_test(test_who_lags_behind_the_manifest_is_served_from_the_log),
		cmocka_unit_test(test_a_state_that_is_long_on_its_way_amid_writes_is_fetched_once),
		cmocka_unit_test(test_who_lags_behind_what_a_restart_read_gets_state),
		cmocka_unit_test(test_a_manifest_that_is_refused_is_sent_again_at_once),
		cmocka_unit_test(test_an_unknown_server_becomes_spare_then_standby_then_voter),
		cmocka_unit_test(test_a_leader_removes_itself_and_the_rest_goes_on),
		cmocka_unit_test(test_the_last_voter_stays),
		cmocka_unit_test(test_a_failed_write_ends_the_server),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
