/* Raft messages: there and back, and everything malformed refused. */
#include "tests/lib/test.h"

#include <stdio.h>

#include "base/rng.h"
#include "store/raft_msg.h"

static uint8_t word[16] = { 1, 2, 3, 4, 5, 6, 7, 8 };

static void conf_fill(struct raft_configuration *c)
{
	raft_configuration_init(c);
	assert_int_equal(raft_configuration_add(c, 1, "[::1]:2888", RAFT_VOTER), 0);
	assert_int_equal(raft_configuration_add(c, 2, "host-2:2888", RAFT_STANDBY), 0);
	assert_int_equal(raft_configuration_add(c, 9, "host-9:2888", RAFT_SPARE), 0);
}

/* One of each type, entries of each type in it. */
static void encode(struct pk_buf *out, unsigned type)
{
	struct raft_configuration conf;
	struct pk_buf conf_bytes = PK_BUF_INIT;
	struct raft_message m = { .type = (unsigned short)type, .server_id = 7 };
	struct raft_entry entries[3];

	conf_fill(&conf);
	raft_conf_encode(&conf, &conf_bytes);
	entries[0] = (struct raft_entry){ 4, RAFT_COMMAND, { word, 16 }, NULL };
	entries[1] = (struct raft_entry){ 5, RAFT_BARRIER, { word, 8 }, NULL };
	entries[2] = (struct raft_entry){
		5, RAFT_CHANGE, { conf_bytes.data, conf_bytes.len }, NULL
	};
	switch (type) {
	case RAFT_IO_APPEND_ENTRIES:
		m.append_entries = (struct raft_append_entries){ 5, 10, 4, 12, entries, 3 };
		break;
	case RAFT_IO_APPEND_ENTRIES_RESULT:
		m.append_entries_result = (struct raft_append_entries_result){ 5, 9, 8 };
		break;
	case RAFT_IO_REQUEST_VOTE:
		m.request_vote = (struct raft_request_vote){ 6, 3, 10, 5, false, true };
		break;
	case RAFT_IO_REQUEST_VOTE_RESULT:
		m.request_vote_result = (struct raft_request_vote_result){ 6, true,
									   raft_tribool_false };
		break;
	case RAFT_IO_INSTALL_SNAPSHOT:
		m.install_snapshot = (struct raft_install_snapshot){ 6,    100, 5,
								     conf, 90,  { word, 13 } };
		break;
	case RAFT_IO_TIMEOUT_NOW:
		m.timeout_now = (struct raft_timeout_now){ 6, 10, 5 };
		break;
	default:
		fail();
	}
	raft_msg_encode(out, 3, "host-3:2888", &m, SIZE_MAX);
	raft_configuration_close(&conf);
	pk_buf_release(&conf_bytes);
}

static void test_every_type_comes_back_as_it_was(void **state)
{
	(void)state;
	for (unsigned type = RAFT_IO_APPEND_ENTRIES; type <= RAFT_IO_TIMEOUT_NOW; type++) {
		struct pk_buf out = PK_BUF_INIT, again = PK_BUF_INIT;
		struct raft_message m;
		struct raft_msg_head head;
		struct pk_err err = PK_ERR_INIT;

		encode(&out, type);
		if (raft_msg_decode(&m, &head, pk_buf_bytes(&out), &err) != 0)
			fail_msg("%s", err.text);
		assert_int_equal(m.type, type);
		assert_int_equal(head.from_id, 3);
		assert_int_equal(head.to_id, 7);
		assert_string_equal(m.server_address, "host-3:2888");
		m.server_id = head.to_id;
		raft_msg_encode(&again, head.from_id, head.address, &m, SIZE_MAX);
		assert_true(pk_bytes_eq(pk_buf_bytes(&out), pk_buf_bytes(&again)));
		raft_msg_release(&m);
		pk_buf_release(&out);
		pk_buf_release(&again);
	}
}

static int decode(struct pk_bytes in)
{
	struct raft_message m;
	struct raft_msg_head head;
	struct pk_err err = PK_ERR_INIT;

	int rc = raft_msg_decode(&m, &head, in, &err);
	if (rc == 0)
		raft_msg_release(&m);
	return rc;
}

static void test_a_cut_or_longer_message_is_refused(void **state)
{
	(void)state;
	for (unsigned type = RAFT_IO_APPEND_ENTRIES; type <= RAFT_IO_TIMEOUT_NOW; type++) {
		struct pk_buf out = PK_BUF_INIT;

		encode(&out, type);
		for (size_t len = 0; len < out.len; len++)
			assert_int_equal(decode(pk_bytes(out.data, len)), PK_EPROTO);
		pk_buf_add_u8(&out, 0);
		assert_int_equal(decode(pk_buf_bytes(&out)), PK_EPROTO);
		pk_buf_release(&out);
	}
}

static void test_changed_bytes_are_refused_or_taken_never_more(void **state)
{
	(void)state;
	struct pk_rng rng;

	pk_rng_seed(&rng, 3);
	for (int i = 0; i < 60000; i++) {
		struct pk_buf out = PK_BUF_INIT;

		encode(&out, 1 + (unsigned)i % 6);
		for (uint64_t n = 1 + pk_rng_below(&rng, 3); n > 0; n--)
			out.data[pk_rng_below(&rng, out.len)] = (uint8_t)pk_rng_next(&rng);
		int rc = decode(pk_buf_bytes(&out));
		assert_true(rc == 0 || rc == PK_EPROTO);
		pk_buf_release(&out);
	}
}

/* Of an AppendEntries with one change each. */
static int refused(unsigned n, const struct raft_entry *entries, uint64_t term, uint64_t prev,
		   uint64_t prev_term, uint64_t commit)
{
	struct raft_message m = { .type = RAFT_IO_APPEND_ENTRIES, .server_id = 7 };
	struct pk_buf out = PK_BUF_INIT;

	m.append_entries = (struct raft_append_entries){
		term, prev, prev_term, commit, (struct raft_entry *)(uintptr_t)entries, n
	};
	raft_msg_encode(&out, 3, "h", &m, SIZE_MAX);
	if (commit > prev + n) /* the encoder would not */
		pk_put_le64(out.data + 23 + 24, commit);
	int rc = decode(pk_buf_bytes(&out));
	pk_buf_release(&out);
	return rc;
}

static void test_what_no_leader_sends_is_refused(void **state)
{
	(void)state;
	struct raft_entry good = { 4, RAFT_COMMAND, { word, 8 }, NULL };
	struct raft_entry odd = { 4, RAFT_COMMAND, { word, 5 }, NULL };
	struct raft_entry empty = { 4, RAFT_COMMAND, { word, 0 }, NULL };
	struct raft_entry type = { 4, 9, { word, 8 }, NULL };
	struct raft_entry newer = { 6, RAFT_COMMAND, { word, 8 }, NULL };
	struct raft_entry conf = { 4, RAFT_CHANGE, { word, 16 }, NULL };
	struct raft_entry falling[] = { { 5, RAFT_COMMAND, { word, 8 }, NULL }, good };

	assert_int_equal(refused(1, &good, 5, 10, 4, 11), 0);
	assert_int_equal(refused(1, &odd, 5, 10, 4, 11), PK_EPROTO);
	assert_int_equal(refused(1, &empty, 5, 10, 4, 11), PK_EPROTO);
	assert_int_equal(refused(1, &type, 5, 10, 4, 11), PK_EPROTO);
	assert_int_equal(refused(1, &newer, 5, 10, 4, 11), PK_EPROTO);
	assert_int_equal(refused(1, &conf, 5, 10, 4, 11), PK_EPROTO);
	assert_int_equal(refused(2, falling, 5, 10, 4, 11), PK_EPROTO);
	assert_int_equal(refused(1, &good, 0, 10, 4, 11), PK_EPROTO);
	assert_int_equal(refused(1, &good, 5, 10, 0, 11), PK_EPROTO);
	assert_int_equal(refused(1, &good, 5, 0, 4, 1), PK_EPROTO);
	assert_int_equal(refused(1, &good, 5, 10, 4, 12), PK_EPROTO);
	assert_int_equal(refused(1, &good, RAFT_MSG_TERM_MAX + 1, 10, 4, 11), PK_EPROTO);
	assert_int_equal(refused(1, &good, 5, RAFT_MSG_INDEX_MAX + 1, 4, 11), PK_EPROTO);
}

static void test_what_is_stripped_is_what_a_leader_might_have_sent(void **state)
{
	(void)state;
	struct pk_buf out = PK_BUF_INIT;
	struct raft_message m;
	struct raft_msg_head head;
	struct pk_err err = PK_ERR_INIT;

	encode(&out, RAFT_IO_APPEND_ENTRIES);
	assert_int_equal(raft_msg_decode(&m, &head, pk_buf_bytes(&out), &err), 0);
	for (int i = 0; i < 2; i++) { /* a second time as well */
		raft_msg_strip(&m);
		assert_int_equal(m.append_entries.term, 5);
		assert_int_equal(m.append_entries.prev_log_index, 10);
		assert_int_equal(m.append_entries.prev_log_term, 4);
		assert_int_equal(m.append_entries.leader_commit, 10);
		assert_int_equal(m.append_entries.n_entries, 0);
	}
	pk_buf_clear(&out);
	m.server_id = head.to_id;
	raft_msg_encode(&out, head.from_id, head.address, &m, SIZE_MAX);
	assert_int_equal(decode(pk_buf_bytes(&out)), 0);
	raft_msg_release(&m);
	pk_buf_release(&out);
}

static int conf_of(const char *address, uint64_t id, uint8_t role, uint64_t count)
{
	struct pk_buf b = PK_BUF_INIT;
	struct raft_configuration c;
	struct pk_err err = PK_ERR_INIT;

	pk_buf_add_u8(&b, 1);
	pk_buf_add_le64(&b, count);
	pk_buf_add_le64(&b, 1);
	pk_buf_add(&b, "a:1", 4);
	pk_buf_add_u8(&b, RAFT_VOTER);
	pk_buf_add_le64(&b, id);
	pk_buf_add(&b, address, strlen(address) + 1);
	pk_buf_add_u8(&b, role);
	int rc = raft_conf_decode(&c, pk_buf_bytes(&b), &err);
	if (rc == 0)
		raft_configuration_close(&c);
	pk_buf_release(&b);
	return rc;
}

static void test_memberships_are_read_strictly(void **state)
{
	(void)state;
	char much[300];

	memset(much, 'x', sizeof(much) - 1);
	much[sizeof(much) - 1] = 0;
	assert_int_equal(conf_of("b:1", 2, RAFT_STANDBY, 2), 0);
	assert_int_equal(conf_of("b:1", 1, RAFT_STANDBY, 2), PK_EPROTO); /* id twice */
	assert_int_equal(conf_of("a:1", 2, RAFT_STANDBY, 2), PK_EPROTO); /* address twice */
	assert_int_equal(conf_of("", 2, RAFT_STANDBY, 2), PK_EPROTO);
	assert_int_equal(conf_of(much, 2, RAFT_STANDBY, 2), PK_EPROTO);
	assert_int_equal(conf_of("b:1", 0, RAFT_STANDBY, 2), PK_EPROTO);
	assert_int_equal(conf_of("b:1", 2, 3, 2), PK_EPROTO);
	assert_int_equal(conf_of("b:1", 2, RAFT_STANDBY, 3), PK_EPROTO); /* cut */
	assert_int_equal(conf_of("b:1", 2, RAFT_STANDBY, 1), PK_EPROTO); /* bytes behind */
	assert_int_equal(conf_of("b:1", 2, RAFT_STANDBY, UINT64_MAX), PK_EPROTO);
	assert_int_equal(conf_of("b:1", 2, RAFT_STANDBY, 0), PK_EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_type_comes_back_as_it_was),
		cmocka_unit_test(test_a_cut_or_longer_message_is_refused),
		cmocka_unit_test(test_changed_bytes_are_refused_or_taken_never_more),
		cmocka_unit_test(test_what_no_leader_sends_is_refused),
		cmocka_unit_test(test_what_is_stripped_is_what_a_leader_might_have_sent),
		cmocka_unit_test(test_memberships_are_read_strictly),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
