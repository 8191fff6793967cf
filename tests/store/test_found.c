/* store/found.c: who founds, who joins, who waits; and the greeting that carries the answers. */
#include "tests/lib/test.h"

#include "store/peer_greet.h"

#define HASH 77

static struct found asking(uint64_t me, size_t voters, bool joining)
{
	struct raft_member members[RAFT_NODE_MEMBERS_MAX];
	struct found f;

	for (size_t i = 0; i < voters; i++)
		members[i] = (struct raft_member){ .id = i + 1, .role = RAFT_NODE_VOTER };
	found_init(&f, me, 100 + me, members, voters, HASH, joining);
	return f;
}

static struct found_answer asks_too(uint64_t life)
{
	return (struct found_answer){ .members_hash = HASH, .life = life };
}

static struct found_answer founded(bool counted)
{
	return (struct found_answer){
		.members_hash = HASH, .founded = true, .counted = counted, .term = 1
	};
}

static struct found_answer has_data_in(uint64_t term, uint8_t needed)
{
	return (struct found_answer){ .members_hash = HASH,
				      .has_data = true,
				      .founded = true,
				      .term = term,
				      .terms_needed = needed };
}

static struct found_answer has_data(uint64_t term)
{
	return has_data_in(term, 2);
}

static void hear(struct found *f, uint64_t from, struct found_answer a)
{
	assert_int_equal(found_peer(f, from, &a), 0);
}

static void test_alone_in_its_list_it_founds_at_once(void **state)
{
	(void)state;
	struct found f = asking(1, 1, false);

	assert_int_equal(found_verdict(&f), FOUND_NEW);
}

static void test_a_majority_of_new_servers_founds(void **state)
{
	(void)state;
	struct found f = asking(1, 5, false);

	hear(&f, 2, asks_too(5));
	hear(&f, 2, asks_too(6)); /* its next life is no other server */
	assert_int_equal(found_verdict(&f), FOUND_WAIT);
	hear(&f, 4, asks_too(7));
	assert_int_equal(found_verdict(&f), FOUND_NEW);
}

static void test_who_founded_is_new_only_to_those_it_founded_with(void **state)
{
	(void)state;
	struct found f = asking(1, 3, false);

	hear(&f, 2, founded(false)); /* perhaps with us, before our disk was lost */
	assert_int_equal(found_verdict(&f), FOUND_WAIT);
	hear(&f, 2, founded(true));
	assert_int_equal(found_verdict(&f), FOUND_NEW);
}

static void test_one_that_has_data_is_not_enough_to_join(void **state)
{
	(void)state;
	struct found f = asking(1, 3, false);

	hear(&f, 2, has_data(4));
	assert_int_equal(found_verdict(&f), FOUND_WAIT);
	hear(&f, 2, has_data(4));
	assert_int_equal(found_terms_known(&f), 1);
	assert_int_equal(found_terms_needed(&f), 2);
	hear(&f, 3, has_data(6));
	assert_int_equal(found_verdict(&f), FOUND_JOIN);
	assert_int_equal(found_term(&f), 6);
}

static void test_how_many_are_needed_is_told_by_who_is_furthest_on(void **state)
{
	(void)state;
	struct found f = asking(1, 5, false);

	hear(&f, 2, has_data_in(4, 3));
	hear(&f, 3, has_data_in(1000, 1)); /* after recover it is the only voter */
	assert_int_equal(found_verdict(&f), FOUND_JOIN);
	hear(&f, 4, has_data_in(1000, 4));
	assert_int_equal(found_verdict(&f), FOUND_WAIT);
	struct found short_list = asking(1, 2, false);
	hear(&short_list, 2, has_data_in(7, 2));
	assert_int_equal(found_verdict(&short_list), FOUND_JOIN);
}

static void test_who_asks_itself_has_no_term_to_tell(void **state)
{
	(void)state;
	struct found f = asking(1, 3, false);

	hear(&f, 2, has_data(4));
	hear(&f, 3, asks_too(9));
	assert_int_equal(found_verdict(&f), FOUND_WAIT); /* two of three lost their disks */
}

static void test_every_quorum_meets_those_whose_term_is_known(void **state)
{
	(void)state;
	for (size_t n = 2; n <= 9; n++) {
		struct found f = asking(1, n, true);
		size_t quorum = n / 2 + 1, needed = found_terms_needed(&f);
		/* those asked and the rest of a quorum that had us are more than all others */
		assert_true(needed + (quorum - 1) > n - 1);
		assert_true(needed - 1 + (quorum - 1) <= n - 1); /* and no more than it takes */
	}
	struct found outside = asking(9, 3, false); /* in nobody's list yet */
	assert_int_equal(found_terms_needed(&outside), 2);
}

static void test_who_began_to_join_never_founds(void **state)
{
	(void)state;
	struct found f = asking(1, 3, true);

	hear(&f, 2, asks_too(5));
	hear(&f, 3, asks_too(6));
	assert_int_equal(found_verdict(&f), FOUND_WAIT);
	struct found_answer ours = found_answer(&f, NULL, true, HASH, 2, 5);
	assert_true(ours.has_data); /* the others do not either */
	assert_false(ours.founded);
	assert_int_equal(ours.term, 0);
}

static void test_another_list_is_told_apart(void **state)
{
	(void)state;
	struct found f = asking(1, 3, false);
	struct found_answer a = { .members_hash = HASH + 1, .life = 5 };

	assert_int_equal(found_peer(&f, 2, &a), PK_ESTATE);
	a.members_hash = 0;
	assert_int_equal(found_peer(&f, 2, &a), PK_ENOENT);
	assert_int_equal(found_verdict(&f), FOUND_WAIT);
	hear(&f, 9, asks_too(5)); /* not a voter of ours */
	assert_int_equal(found_verdict(&f), FOUND_WAIT);
}

static void test_greetings_come_back_as_they_were_sent(void **state)
{
	(void)state;
	struct peer_hello h = { 1, 2, 3, UINT64_MAX }, hh;
	struct found_answer a = has_data(1ull << 40), aa;
	uint8_t hello[PEER_HELLO_BYTES], welcome[PEER_WELCOME_BYTES];
	struct pk_err err = PK_ERR_INIT;

	peer_hello_encode(hello, &h);
	assert_int_equal(peer_hello_decode(&hh, hello, &err), 0);
	assert_memory_equal(&h, &hh, sizeof(h));
	hello[4]++;
	assert_int_equal(peer_hello_decode(&hh, hello, &err), PK_EPROTO);
	hello[0]++;
	assert_int_equal(peer_hello_decode(&hh, hello, &err), PK_EPROTO);
	peer_welcome_encode(welcome, &a);
	assert_int_equal(peer_welcome_decode(&aa, welcome, &err), 0);
	assert_true(aa.has_data && aa.founded && !aa.counted);
	assert_int_equal(aa.members_hash, HASH);
	assert_int_equal(aa.term, 1ull << 40);
	welcome[1] = 4; /* founded with us, but not founded */
	assert_int_equal(peer_welcome_decode(&aa, welcome, &err), PK_EPROTO);
	welcome[1] = 8;
	assert_int_equal(peer_welcome_decode(&aa, welcome, &err), PK_EPROTO);
}

static void test_a_frame_is_whole_with_its_last_byte(void **state)
{
	(void)state;
	uint8_t sent[PEER_FRAME_HEAD_BYTES + 3] = { 0 }, type;
	struct pk_err err = PK_ERR_INIT;
	struct pk_bytes body;

	peer_frame_head(sent, 7, 3);
	memcpy(sent + PEER_FRAME_HEAD_BYTES, "abc", 3);
	for (size_t len = 0; len < sizeof(sent); len++)
		assert_int_equal(peer_frame_decode(pk_bytes(sent, len), &type, &body, &err), 0);
	assert_int_equal(peer_frame_decode(pk_bytes(sent, sizeof(sent)), &type, &body, &err), 1);
	assert_int_equal(type, 7);
	assert_true(pk_bytes_is(body, "abc"));
	pk_put_le32(sent, PEER_FRAME_BYTES_MAX + 1);
	assert_int_equal(peer_frame_decode(pk_bytes(sent, 5), &type, &body, &err), PK_EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_alone_in_its_list_it_founds_at_once),
		cmocka_unit_test(test_a_majority_of_new_servers_founds),
		cmocka_unit_test(test_who_founded_is_new_only_to_those_it_founded_with),
		cmocka_unit_test(test_one_that_has_data_is_not_enough_to_join),
		cmocka_unit_test(test_how_many_are_needed_is_told_by_who_is_furthest_on),
		cmocka_unit_test(test_who_asks_itself_has_no_term_to_tell),
		cmocka_unit_test(test_every_quorum_meets_those_whose_term_is_known),
		cmocka_unit_test(test_who_began_to_join_never_founds),
		cmocka_unit_test(test_another_list_is_told_apart),
		cmocka_unit_test(test_greetings_come_back_as_they_were_sent),
		cmocka_unit_test(test_a_frame_is_whole_with_its_last_byte),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
