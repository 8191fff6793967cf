#include "tests/lib/test.h"

#include "tests/lib/tree_fix.h"

static int32_t create_acl(struct fix *f, const char *path, const char *acl)
{
	return create_as(f, ZK_OP_CREATE, path, pk_bytes_str("secret"), acls(acl), 0, 0);
}

static void test_an_empty_or_null_list_is_invalid(void **state)
{
	struct fix *f = *state;
	struct zk_acls null = { .is_null = true };

	assert_int_equal(create_acl(f, "/a", ""), ZK_EINVALIDACL);
	assert_int_equal(create_as(f, ZK_OP_CREATE, "/a", PK_BYTES_NONE, null, 0, 0),
			 ZK_EINVALIDACL);
	/* before the parent is looked up, behind the look at the path */
	assert_int_equal(create_acl(f, "/no/a", ""), ZK_EINVALIDACL);
	assert_int_equal(create_acl(f, "a", ""), ZK_EBADARGUMENTS);
}

static void test_schemes_have_their_own_idea_of_an_id(void **state)
{
	struct fix *f = *state;
	static const struct {
		const char *acl;
		bool good;
	} cases[] = {
		{ "31 world anyone", true },      { "31 world somebody", false },
		{ "31 nobody x", false },         { "31 super x", false },
		{ "31 digest user:hash", true },  { "31 digest user", false },
		{ "31 digest user:", false },     { "31 digest :hash", true },
		{ "31 digest a:b:", true },       { "31 digest a:b:c", false },
		{ "31 digest ::", false },        { "31 ip 10.0.0.1", true },
		{ "31 ip 10.0.0.1/0", true },     { "31 ip 10.0.0.1/32", true },
		{ "31 ip 10.0.0.1/33", false },   { "31 ip 10.0.0.1/-1", false },
		{ "31 ip 10.0.0.1/", false },     { "31 ip 10.0.0.256", false },
		{ "31 ip 10.0.0", false },        { "31 ip 10.0.0.1.2", false },
		{ "31 ip +1.02.3.4", true },      { "31 ip ::1", true },
		{ "31 ip fd00::/8", true },       { "31 ip 0:0:0:0:0:0:0:1", true },
		{ "31 ip 1::2::3", false },       { "31 ip fd00::/129", false },
		{ "31 ip 1:2:3:4:5:6:7", false }, { "31 ip 1:2:3:4:5:6:7:8:9", false },
		{ "31 ip ::12345", false },       { "31 x509 CN=a", false },
		{ "31 sasl user", false },
	};

	for (size_t i = 0; i < PK_COUNT(cases); i++) {
		int32_t err = create_acl(f, "/a", cases[i].acl);

		if (err != (cases[i].good ? 0 : ZK_EINVALIDACL))
			fail_msg("%s: %d", cases[i].acl, err);
		if (err == 0)
			assert_int_equal(del(f, "/a", -1), 0);
	}
}

static void test_x509_and_sasl_count_where_the_leader_has_a_provider(void **state)
{
	struct fix *f = *state;
	static const struct {
		const char *acl;
		bool good;
	} cases[] = {
		{ "31 x509 CN=a,OU=b", true },  { "31 x509 cn=a+1.2.3=x", true },
		{ "31 x509 nonsense", false },  { "31 x509 FOO=x", false },
		{ "31 x509 CN=\"a,b\"", true }, { "31 x509 CN=\"a", false },
		{ "31 sasl user", true },       { "31 sasl user/host@REALM", true },
		{ "31 sasl a@b@c", false },     { "31 sasl a/b/c@R", false },
	};

	f->flags = TXN_SCHEME_X509 | TXN_SCHEME_SASL;
	for (size_t i = 0; i < PK_COUNT(cases); i++) {
		int32_t err = create_acl(f, "/a", cases[i].acl);

		if (err != (cases[i].good ? 0 : ZK_EINVALIDACL))
			fail_msg("%s: %d", cases[i].acl, err);
		if (err == 0)
			assert_int_equal(del(f, "/a", -1), 0);
	}
}

static void test_duplicates_fold_and_order_stays(void **state)
{
	struct fix *f = *state;

	assert_int_equal(create_acl(f, "/a",
				    "1 world anyone; 31 digest a:b; 1 world anyone; "
				    "2 world anyone; 31 digest a:b"),
			 0);
	add_identity(f, "digest", "a:b");
	assert_string_equal(acl_of(f, "/a"), "1 world anyone; 31 digest a:b; 2 world anyone");
}

static void test_auth_becomes_the_identities_that_were_proved(void **state)
{
	struct fix *f = *state;

	assert_int_equal(create_acl(f, "/a", "31 auth x"), ZK_EINVALIDACL); /* ip proves nothing */
	add_identity(f, "digest", "u:h");
	add_identity(f, "super", "");
	add_identity(f, "digest", "v:i");
	add_identity(f, "sasl", "kate"); /* no provider: does not count */
	assert_int_equal(create_acl(f, "/a", "31 auth x; 1 world anyone"), 0);
	assert_string_equal(acl_of(f, "/a"), "31 digest u:h; 31 digest v:i; 1 world anyone");
	f->flags = TXN_SCHEME_SASL;
	assert_int_equal(set_acl(f, "/a", acls("4 auth x"), -1), 0);
	assert_string_equal(acl_of(f, "/a"), "4 digest u:h; 4 digest v:i; 4 sasl kate");
}

static void test_each_permission_guards_its_operations(void **state)
{
	struct fix *f = *state;

	assert_int_equal(create_acl(f, "/a", "31 digest u:h"), 0);
	assert_int_equal(ask(f, ZK_OP_GET_DATA, "/a", false), ZK_ENOAUTH);
	assert_int_equal(ask(f, ZK_OP_GET_CHILDREN, "/a", false), ZK_ENOAUTH);
	assert_int_equal(ask(f, ZK_OP_GET_CHILDREN2, "/a", false), ZK_ENOAUTH);
	assert_int_equal(ask(f, ZK_OP_GET_ACL, "/a", false), ZK_ENOAUTH);
	assert_int_equal(ask(f, ZK_OP_GET_ALL_CHILDREN_NUMBER, "/a", false), ZK_ENOAUTH);
	assert_int_equal(ask(f, ZK_OP_EXISTS, "/a", false), 0);
	assert_int_equal(set(f, "/a", "", -1), ZK_ENOAUTH);
	assert_int_equal(set_acl(f, "/a", acls("31 world anyone"), -1), ZK_ENOAUTH);
	assert_int_equal(create(f, "/a/b", "", 0), ZK_ENOAUTH);
	assert_int_equal(del(f, "/a/b", -1), ZK_ENOAUTH); /* before it is seen to be missing */
	assert_int_equal(tree_access(f->t, pk_bytes_str("/a"), ZK_PERM_READ, f->ids, f->id_count),
			 ZK_ENOAUTH);
	assert_int_equal(tree_access(f->t, pk_bytes_str("/b"), ZK_PERM_READ, f->ids, f->id_count),
			 ZK_ENONODE);
	add_identity(f, "digest", "u:h");
	assert_int_equal(set(f, "/a", "", -1), 0);
	assert_int_equal(create(f, "/a/b", "", 0), 0);
	assert_int_equal(del(f, "/a/b", -1), 0);
	assert_int_equal(set_acl(f, "/a", acls("1 world anyone"), 0), 0);
	assert_int_equal(stat_of(f, "/a").aversion, 1);
	assert_int_equal(set_acl(f, "/a", acls("31 world anyone"), -1), ZK_ENOAUTH);
	assert_int_equal(create(f, "/a/b", "", 0), ZK_ENOAUTH);
}

static void test_deleting_asks_the_parent_and_not_the_node(void **state)
{
	struct fix *f = *state;

	assert_int_equal(create_acl(f, "/a", "31 world anyone"), 0);
	assert_int_equal(create_acl(f, "/a/b", "1 digest u:h"), 0);
	assert_int_equal(del(f, "/a/b", -1), 0);
	assert_int_equal(create_acl(f, "/a/b", "31 world anyone"), 0);
	assert_int_equal(set_acl(f, "/a", acls("23 world anyone"), -1), 0);
	assert_int_equal(del(f, "/a/b", -1), ZK_ENOAUTH);
}

static void test_super_and_skip_acl_may_do_everything(void **state)
{
	struct fix *f = *state;

	assert_int_equal(create_acl(f, "/a", "1 digest u:h"), 0);
	assert_int_equal(set(f, "/a", "x", -1), ZK_ENOAUTH);
	f->flags = TXN_SKIP_ACL;
	assert_int_equal(set(f, "/a", "x", -1), 0);
	f->flags = 0;
	add_identity(f, "super", "anything");
	assert_int_equal(set(f, "/a", "y", -1), 0);
	assert_string_equal(data_of(f, "/a"), "y");
}

static void test_ip_entries_match_by_their_bits(void **state)
{
	struct fix *f = *state;
	static const struct {
		const char *acl, *ip;
		bool match;
	} cases[] = {
		{ "1 ip 10.1.0.0/16", "10.1.2.3", true },
		{ "1 ip 10.1.0.0/16", "10.2.2.3", false },
		{ "1 ip 10.1.2.3", "10.1.2.3", true },
		{ "1 ip 10.1.2.3", "10.1.2.4", false },
		{ "1 ip 10.1.2.2/31", "10.1.2.3", true },
		{ "1 ip 10.1.2.2/31", "10.1.2.4", false },
		{ "1 ip 0.0.0.0/0", "1.2.3.4", true },
		{ "1 ip 0.0.0.0/0", "::1", false },
		{ "1 ip ::/0", "1.2.3.4", false },
		{ "1 ip fd00::/8", "fdab:0:0:0:0:0:0:1", true },
		{ "1 ip fd00::/8", "fc00::1", false },
		{ "1 ip ::1", "0:0:0:0:0:0:0:1", true },
		{ "1 ip fe80::1", "fe80:0:0:0:0:0:0:1%eth0", true },
		{ "1 ip ::1", "::2", false },
	};

	for (size_t i = 0; i < PK_COUNT(cases); i++) {
		as(f, ALICE);
		assert_int_equal(create_acl(f, "/a", cases[i].acl), 0);
		f->id_count = 0;
		add_identity(f, "ip", cases[i].ip);
		if (ask(f, ZK_OP_GET_DATA, "/a", false) != (cases[i].match ? 0 : ZK_ENOAUTH))
			fail_msg("%s for %s", cases[i].acl, cases[i].ip);
		assert_int_equal(del(f, "/a", -1), 0);
	}
}

static void test_the_sasl_user_super_matches_every_sasl_entry(void **state)
{
	struct fix *f = *state;

	f->flags = TXN_SCHEME_SASL;
	assert_int_equal(create_acl(f, "/a", "31 sasl kate"), 0);
	add_identity(f, "sasl", "joe");
	assert_int_equal(ask(f, ZK_OP_GET_DATA, "/a", false), ZK_ENOAUTH);
	add_identity(f, "sasl", "super");
	assert_int_equal(ask(f, ZK_OP_GET_DATA, "/a", false), 0);
}

static void test_get_acl_hides_hashes_from_who_may_not_change_the_list(void **state)
{
	struct fix *f = *state;

	assert_int_equal(create_acl(f, "/a", "31 digest u:secret; 1 world anyone"), 0);
	assert_string_equal(acl_of(f, "/a"), "31 digest u:x; 1 world anyone");
	add_identity(f, "digest", "u:secret");
	assert_string_equal(acl_of(f, "/a"), "31 digest u:secret; 1 world anyone");
}

static void test_set_acl_checks_form_list_node_rights_version(void **state)
{
	struct fix *f = *state;

	assert_int_equal(set_acl(f, "/a/", acls(""), -1), ZK_EBADARGUMENTS);
	assert_int_equal(set_acl(f, "/a", acls(""), -1), ZK_EINVALIDACL);
	assert_int_equal(set_acl(f, "/a", acls("31 world anyone"), -1), ZK_ENONODE);
	assert_int_equal(create_acl(f, "/a", "31 world anyone"), 0);
	assert_int_equal(set_acl(f, "/a", acls("31 world anyone"), 1), ZK_EBADVERSION);
	assert_int_equal(set_acl(f, "/a", acls("31 world anyone"), 0), 0);
	assert_int_equal(f->r.event_count, 0);
	assert_int_equal(stat_of(f, "/a").aversion, 1);
	assert_int_equal(stat_of(f, "/a").version, 0);
}

static void test_a_null_id_is_where_java_trips(void **state)
{
	struct fix *f = *state;
	struct pk_buf items = PK_BUF_INIT;
	struct zk_acls list = { .count = 1 };
	static const struct {
		const char *scheme;
		int32_t err;
	} cases[] = { { "world", ZK_EMARSHALLING },
		      { "digest", ZK_EMARSHALLING },
		      { "ip", ZK_EMARSHALLING },
		      { "nobody", ZK_EINVALIDACL },
		      { NULL, ZK_EINVALIDACL } };

	for (size_t i = 0; i < PK_COUNT(cases); i++) {
		struct pk_bytes scheme = cases[i].scheme != NULL ? pk_bytes_str(cases[i].scheme)
								 : PK_BYTES_NONE;

		pk_buf_clear(&items);
		zk_acl_encode(&items, &(struct zk_acl){ 31, scheme, PK_BYTES_NONE });
		list.raw = pk_buf_bytes(&items);
		assert_int_equal(create_as(f, ZK_OP_CREATE, "/a", PK_BYTES_NONE, list, 0, 0),
				 cases[i].err);
	}
	pk_buf_release(&items);
}

static void test_lists_are_stored_once_and_go_with_their_last_use(void **state)
{
	struct fix *f = *state;
	uint64_t extra = tree_meta(f->t)->extra;

	assert_int_equal(create_acl(f, "/a", "31 digest u:h"), 0);
	assert_int_equal(create_acl(f, "/b", "31 digest u:h"), 0);
	fix_reopen(f);
	assert_int_equal(create_acl(f, "/c", "31 digest u:h"), 0);
	assert_int_equal(del(f, "/a", -1), 0);
	assert_int_equal(del(f, "/b", -1), 0);
	fix_reopen(f);
	assert_int_equal(del(f, "/c", -1), 0);
	assert_int_equal(tree_meta(f->t)->extra, extra);
	fix_reopen(f);
	assert_int_equal(create_acl(f, "/a", "31 digest u:h"), 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, fix_setup, fix_teardown)

/* Who may hear of each event of the last write: "*" for everyone, "+" for this identity, "-". */
static const char *heard(struct fix *f, const char *scheme, const char *id)
{
	static char text[64];
	struct txn_id who = { pk_bytes_str(scheme), pk_bytes_str(id) };

	PK_ASSERT(f->r.event_count < sizeof(text));
	for (size_t i = 0; i < f->r.event_count; i++) {
		struct pk_bytes list = f->r.events[i].acl;

		text[i] = list.len == 0                                  ? '*'
			  : tree_acl_allows(list, ZK_PERM_READ, &who, 1) ? '+'
									 : '-';
	}
	text[f->r.event_count] = '\0';
	return text;
}

static void test_an_event_is_for_those_who_may_read(void **state)
{
	struct fix *f = *state;

	assert_int_equal(create(f, "/open", "x", 0), 0);
	assert_string_equal(heard(f, "digest", "u:h"), "**");
	/* created: its own list; children: the parent's */
	assert_int_equal(create_acl(f, "/a", "1 digest u:h; 30 world anyone"), 0);
	assert_string_equal(events(f), "created /a, children /");
	assert_string_equal(heard(f, "digest", "u:h"), "+*");
	assert_string_equal(heard(f, "digest", "v:h"), "-*");
	assert_string_equal(heard(f, "super", ""), "+*");
	assert_int_equal(create(f, "/a/b", "x", 0), 0);
	assert_string_equal(heard(f, "digest", "u:h"), "*+");
	assert_string_equal(heard(f, "digest", "v:h"), "*-");
	assert_int_equal(set(f, "/a", "y", -1), 0);
	assert_string_equal(heard(f, "digest", "u:h"), "+");
	assert_string_equal(heard(f, "digest", "v:h"), "-");
	assert_int_equal(set_acl(f, "/a/b", acls("2 world anyone; 1 ip 10.0.0.0/8"), -1), 0);
	/* deleted: the list it had, though nobody uses it any more */
	assert_int_equal(del(f, "/a/b", -1), 0);
	assert_string_equal(events(f), "deleted /a/b, children /a");
	assert_string_equal(heard(f, "ip", "10.1.2.3"), "+-");
	assert_string_equal(heard(f, "ip", "11.1.2.3"), "--");
}

static void test_events_of_a_multi_share_the_bytes_of_a_list(void **state)
{
	struct fix *f = *state;

	assert_int_equal(create_acl(f, "/a", "30 world anyone; 1 digest u:h"), 0);
	multi_begin(f);
	multi_create(f, ZK_OP_CREATE, "/a/x", "", 0);
	multi_create(f, ZK_OP_CREATE, "/a/x", "", 0); /* fails: nothing of it is left */
	assert_int_equal(multi_go(f), 0);
	assert_int_equal(f->r.event_count, 0);
	multi_begin(f);
	multi_create(f, ZK_OP_CREATE, "/a/x", "", 0);
	multi_create(f, ZK_OP_CREATE, "/a/y", "", 0);
	multi_set(f, "/a", "z", -1);
	assert_int_equal(multi_go(f), 0);
	assert_string_equal(events(f),
			    "created /a/x, children /a, created /a/y, children /a, changed /a");
	assert_string_equal(heard(f, "digest", "u:h"), "*+*++");
	assert_string_equal(heard(f, "digest", "u:i"), "*-*--");
	assert_ptr_equal(f->r.events[1].acl.data, f->r.events[3].acl.data);
	assert_ptr_equal(f->r.events[1].acl.data, f->r.events[4].acl.data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_an_empty_or_null_list_is_invalid),
		T(test_schemes_have_their_own_idea_of_an_id),
		T(test_x509_and_sasl_count_where_the_leader_has_a_provider),
		T(test_duplicates_fold_and_order_stays),
		T(test_auth_becomes_the_identities_that_were_proved),
		T(test_each_permission_guards_its_operations),
		T(test_deleting_asks_the_parent_and_not_the_node),
		T(test_super_and_skip_acl_may_do_everything),
		T(test_ip_entries_match_by_their_bits),
		T(test_the_sasl_user_super_matches_every_sasl_entry),
		T(test_get_acl_hides_hashes_from_who_may_not_change_the_list),
		T(test_set_acl_checks_form_list_node_rights_version),
		T(test_a_null_id_is_where_java_trips),
		T(test_lists_are_stored_once_and_go_with_their_last_use),
		T(test_an_event_is_for_those_who_may_read),
		T(test_events_of_a_multi_share_the_bytes_of_a_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
