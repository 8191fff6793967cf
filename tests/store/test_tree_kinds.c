#include "tests/lib/test.h"

#include <stdio.h>

#include "tests/lib/tree_fix.h"

/* Containers, TTL nodes, quotas, the configuration node. */

static int32_t container(struct fix *f, const char *path)
{
	return create_as(f, ZK_OP_CREATE_CONTAINER, path, pk_bytes_str(""), zk_acls_open(),
			 ZK_CREATE_CONTAINER, 0);
}

static int32_t with_ttl(struct fix *f, const char *path, int32_t mode, int64_t ttl_ms)
{
	return create_as(f, ZK_OP_CREATE_TTL, path, pk_bytes_str(""), zk_acls_open(), mode, ttl_ms);
}

static int32_t clean_up_as(struct fix *f, uint64_t session, const struct tree_removal *r)
{
	struct pk_buf b = PK_BUF_INIT;

	tree_removal_encode(&b, r);
	int32_t err = op_from(f, ZK_OP_DELETE_CONTAINER, session, 1, pk_buf_bytes(&b));
	pk_buf_release(&b);
	return err;
}

/* Of what is there now, whatever the time. */
static int32_t clean_up(struct fix *f, uint64_t session, const char *path)
{
	int64_t mzxid = path[0] == '/' && there(f, path) ? stat_of(f, path).mzxid : 0;

	return clean_up_as(f, session,
			   &(struct tree_removal){ pk_bytes_str(path), mzxid, INT64_MIN });
}

static char expired_text[4096];
static struct tree_removal last_expired; /* but for the path */

static void note_expired(void *arg, const struct tree_removal *r)
{
	(void)arg;
	snprintf(expired_text + strlen(expired_text), sizeof(expired_text) - strlen(expired_text),
		 "%.*s ", (int)r->path.len, r->path.data);
	last_expired = *r;
}

static const char *expired(struct fix *f, int64_t now_ms, int64_t never_used_ms, size_t most)
{
	expired_text[0] = '\0';
	tree_expired_nodes(f->t, now_ms, never_used_ms, most, note_expired, NULL);
	return expired_text;
}

static void test_a_container_hides_its_mark_and_answers_with_a_stat(void **state)
{
	struct fix *f = *state;
	struct zk_create2_resp resp;

	assert_int_equal(container(f, "/c"), 0);
	struct zk_rd r = zk_rd(pk_buf_bytes(&f->r.body));
	assert_int_equal(zk_create2_resp_decode(&r, &resp), 0);
	assert_int_equal(resp.stat.ephemeral_owner, 0);
	assert_int_equal(stat_of(f, "/c").ephemeral_owner, 0);
	assert_int_equal(create(f, "/c/x", "", 0), 0);
	assert_int_equal(tree_meta(f->t)->ephemerals, 0);
}

static void test_outside_a_multi_the_operation_decides_about_containers(void **state)
{
	struct fix *f = *state;

	assert_int_equal(create(f, "/plain", "", ZK_CREATE_CONTAINER), 0);
	assert_int_equal(create_as(f, ZK_OP_CREATE_CONTAINER, "/real", pk_bytes_str(""),
				   zk_acls_open(), 0, 0),
			 0);
	assert_string_equal(expired(f, 100000, 1, 10), "/real ");
}

static void test_an_empty_container_is_found_once_it_was_used(void **state)
{
	struct fix *f = *state;

	f->time_ms = 10000;
	assert_int_equal(container(f, "/c"), 0);
	assert_string_equal(expired(f, 99999999, 0, 10), "");
	assert_string_equal(expired(f, 10500, 500, 10), "");
	assert_string_equal(expired(f, 10501, 500, 10), "/c ");
	assert_int_equal(create(f, "/c/x", "", 0), 0);
	assert_string_equal(expired(f, 99999999, 500, 10), "");
	assert_int_equal(del(f, "/c/x", -1), 0);
	assert_string_equal(expired(f, 10000, 0, 10), "/c ");
	assert_int_equal(clean_up(f, 0, "/c"), 0);
	assert_true(f->r.silent);
	assert_string_equal(events(f), "deleted /c, children /");
	assert_string_equal(expired(f, 99999999, 500, 10), "");
}

static void test_clean_up_takes_only_what_may_go(void **state)
{
	struct fix *f = *state;
	uint64_t zxid;

	assert_int_equal(create(f, "/p", "", 0), 0);
	assert_int_equal(create(f, "/e", "", ZK_CREATE_EPHEMERAL), 0);
	assert_int_equal(container(f, "/c"), 0);
	assert_int_equal(create(f, "/c/x", "", 0), 0);
	zxid = f->r.zxid;
	assert_int_equal(clean_up(f, 0, "/p"), ZK_EBADVERSION);
	assert_int_equal(clean_up(f, 0, "/e"), ZK_EBADVERSION);
	assert_int_equal(clean_up(f, 0, "/c"), ZK_ENOTEMPTY);
	assert_int_equal(clean_up(f, 0, "/nope"), ZK_ENONODE);
	assert_int_equal(clean_up(f, 0, "/"), ZK_EBADARGUMENTS);
	assert_int_equal(clean_up(f, 0, "bad"), ZK_EBADARGUMENTS);
	assert_int_equal(tree_meta(f->t)->zxid, zxid + 6);
}

static void test_a_clients_clean_up_is_refused(void **state)
{
	struct fix *f = *state;

	assert_int_equal(container(f, "/c"), 0);
	assert_int_equal(clean_up(f, ALICE, "/c"), ZK_EUNIMPLEMENTED);
	assert_false(f->r.silent);
	assert_true(there(f, "/c"));
}

static void test_ttl_nodes_want_the_feature_and_a_sound_ttl(void **state)
{
	struct fix *f = *state;

	assert_int_equal(with_ttl(f, "/t", ZK_CREATE_TTL, 100), ZK_EUNIMPLEMENTED);
	f->flags = TXN_EXTENDED_TYPES;
	assert_int_equal(with_ttl(f, "/t", ZK_CREATE_TTL, 0), ZK_EBADARGUMENTS);
	assert_int_equal(with_ttl(f, "/t", ZK_CREATE_TTL, -1), ZK_EBADARGUMENTS);
	assert_int_equal(with_ttl(f, "/t", ZK_CREATE_TTL, 0x10000000000), ZK_EBADARGUMENTS);
	assert_int_equal(with_ttl(f, "/t", 0, 5), ZK_EBADARGUMENTS);
	assert_int_equal(with_ttl(f, "/t", 0, -1), ZK_EBADARGUMENTS);
	assert_int_equal(create(f, "/t", "", ZK_CREATE_TTL), ZK_EBADARGUMENTS);
	assert_int_equal(with_ttl(f, "/t", ZK_CREATE_TTL, 0xffffffffff), 0);
	assert_int_equal(stat_of(f, "/t").ephemeral_owner, 0);
	assert_int_equal(with_ttl(f, "/s-", ZK_CREATE_TTL_SEQUENTIAL, 1), 0);
	assert_string_equal(created(f), "/s-0000000001");
}

static void test_a_ttl_counts_from_the_last_write_while_there_are_no_children(void **state)
{
	struct fix *f = *state;

	f->flags = TXN_EXTENDED_TYPES;
	f->time_ms = 1000;
	assert_int_equal(with_ttl(f, "/t", ZK_CREATE_TTL, 100), 0);
	assert_string_equal(expired(f, 1100, 0, 10), "");
	assert_string_equal(expired(f, 1101, 0, 10), "/t ");
	f->time_ms = 2000;
	assert_int_equal(set(f, "/t", "x", -1), 0);
	assert_string_equal(expired(f, 2100, 0, 10), "");
	assert_int_equal(create(f, "/t/x", "", 0), 0);
	assert_string_equal(expired(f, 9999, 0, 10), "");
	assert_int_equal(del(f, "/t/x", -1), 0);
	assert_int_equal(clean_up(f, 0, "/t"), 0);
}

/* What the leader would remove may be another node when its entry is applied. */
static int32_t clean_up_late(struct fix *f, const char *path)
{
	struct tree_removal r = last_expired;

	r.path = pk_bytes_str(path);
	return clean_up_as(f, 0, &r);
}

static void test_a_ttl_node_that_was_written_meanwhile_stays(void **state)
{
	struct fix *f = *state;

	f->flags = TXN_EXTENDED_TYPES;
	f->time_ms = 1000;
	assert_int_equal(with_ttl(f, "/t", ZK_CREATE_TTL, 100), 0);
	assert_string_equal(expired(f, 1101, 0, 10), "/t ");
	f->time_ms = 1101;
	assert_int_equal(set(f, "/t", "again", -1), 0);
	f->time_ms = 5000;
	assert_int_equal(clean_up_late(f, "/t"), ZK_EBADVERSION);
	assert_true(there(f, "/t"));
	assert_string_equal(expired(f, 5000, 0, 10), "/t ");
	assert_int_equal(clean_up_late(f, "/t"), 0);
}

static void test_a_ttl_node_goes_at_a_time_of_the_log_behind_its_own(void **state)
{
	struct fix *f = *state;

	f->flags = TXN_EXTENDED_TYPES;
	f->time_ms = 1000;
	assert_int_equal(with_ttl(f, "/t", ZK_CREATE_TTL, 100), 0);
	assert_string_equal(expired(f, 1101, 0, 10), "/t ");
	f->time_ms = 1100; /* the leader's clock went back before it wrote the entry */
	assert_int_equal(clean_up_late(f, "/t"), ZK_EBADVERSION);
	f->time_ms = 1101;
	assert_int_equal(clean_up_late(f, "/t"), 0);
}

static void test_a_container_made_anew_meanwhile_stays(void **state)
{
	struct fix *f = *state;

	assert_int_equal(container(f, "/c"), 0);
	assert_int_equal(create(f, "/c/x", "", 0), 0);
	assert_int_equal(del(f, "/c/x", -1), 0);
	assert_string_equal(expired(f, 1, 0, 10), "/c ");
	assert_int_equal(del(f, "/c", -1), 0);
	assert_int_equal(container(f, "/c"), 0);
	assert_int_equal(clean_up_late(f, "/c"), ZK_EBADVERSION);
	assert_true(there(f, "/c"));
}

static void test_a_clean_up_without_its_node_is_malformed(void **state)
{
	struct fix *f = *state;
	struct pk_buf b = PK_BUF_INIT;

	assert_int_equal(container(f, "/c"), 0);
	zk_path_req_encode(&b, &(struct zk_path_req){ pk_bytes_str("/c") });
	assert_int_equal(op_from(f, ZK_OP_DELETE_CONTAINER, 0, 1, pk_buf_bytes(&b)),
			 ZK_EMARSHALLING);
	pk_buf_release(&b);
}

static void test_expired_nodes_come_in_portions(void **state)
{
	struct fix *f = *state;
	char path[16];

	for (int i = 0; i < 5; i++) {
		snprintf(path, sizeof(path), "/c%d", i);
		assert_int_equal(container(f, path), 0);
	}
	assert_string_equal(expired(f, 99999, 1, 2), "/c0 /c1 ");
	assert_string_equal(expired(f, 99999, 1, 2), "/c2 /c3 ");
	assert_string_equal(expired(f, 99999, 1, 2), "/c4 ");
	assert_string_equal(expired(f, 99999, 1, 2), "/c0 /c1 ");
}

/* ---- quotas ---- */

static void set_quota(struct fix *f, const char *limits)
{
	assert_int_equal(create(f, "/zookeeper/quota/a", "", 0), 0);
	assert_int_equal(create(f, "/zookeeper/quota/a/zookeeper_limits", limits, 0), 0);
	assert_int_equal(create(f, "/zookeeper/quota/a/zookeeper_stats", "count=0,bytes=0", 0), 0);
}

#define STATS "/zookeeper/quota/a/zookeeper_stats"

static void test_usage_starts_with_what_is_there_and_follows(void **state)
{
	struct fix *f = *state;

	assert_int_equal(create(f, "/a", "12345", 0), 0);
	assert_int_equal(create(f, "/a/b", "123", 0), 0);
	assert_int_equal(create(f, "/ab", "123", 0), 0);
	set_quota(f, "count=2,bytes=-1");
	assert_string_equal(data_of(f, STATS), "count=2,bytes=8");
	struct zk_stat before = stat_of(f, STATS);
	assert_int_equal(create(f, "/a/c", "1", 0), 0);
	assert_string_equal(data_of(f, STATS), "count=3,bytes=9");
	assert_int_equal(set(f, "/a/c", "12345", -1), 0);
	assert_string_equal(data_of(f, STATS), "count=3,bytes=13");
	assert_int_equal(del(f, "/a/b", -1), 0);
	assert_string_equal(data_of(f, STATS), "count=2,bytes=10");
	assert_int_equal(create(f, "/ab/c", "1", 0), 0);
	assert_string_equal(data_of(f, STATS), "count=2,bytes=10");
	/* Usage moves no stat and fires no watch. */
	struct zk_stat after = stat_of(f, STATS);
	assert_int_equal(after.mzxid, before.mzxid);
	assert_int_equal(after.version, before.version);
	fix_reopen(f);
	assert_int_equal(create(f, "/a/d", "1", 0), 0);
	assert_string_equal(data_of(f, STATS), "count=3,bytes=11");
	/* Without limits nobody counts. */
	assert_int_equal(del(f, "/zookeeper/quota/a/zookeeper_limits", -1), 0);
	assert_int_equal(create(f, "/a/e", "1", 0), 0);
	assert_string_equal(data_of(f, STATS), "count=3,bytes=11");
}

static void test_a_hard_limit_refuses_when_quotas_are_enforced(void **state)
{
	struct fix *f = *state;

	assert_int_equal(create(f, "/a", "", 0), 0);
	set_quota(f, "count=-1,bytes=-1=;byteHardLimit=10;countHardLimit=3");
	assert_int_equal(create(f, "/a/b", "12345", 0), 0);
	assert_int_equal(create(f, "/a/c", "", 0), 0);
	assert_int_equal(create(f, "/a/d", "", 0), 0); /* not enforced yet */
	assert_int_equal(del(f, "/a/d", -1), 0);
	f->flags = TXN_ENFORCE_QUOTA;
	assert_int_equal(create(f, "/a/d", "", 0), ZK_EQUOTAEXCEEDED);
	assert_int_equal(set(f, "/a/b", "12345678901", -1), ZK_EQUOTAEXCEEDED);
	assert_int_equal(set(f, "/a/b", "1234567890", -1), 0);
	assert_int_equal(set(f, "/a/b", "1", -1), 0);
	assert_int_equal(tree_quota_warnings(f->t), 2);
}

static void test_a_soft_limit_only_warns(void **state)
{
	struct fix *f = *state;

	assert_int_equal(create(f, "/a", "", 0), 0);
	set_quota(f, "count=1,bytes=2");
	f->flags = TXN_ENFORCE_QUOTA;
	assert_int_equal(create(f, "/a/b", "12", 0), 0);
	assert_int_equal(tree_quota_warnings(f->t), 1);
	assert_int_equal(set(f, "/a/b", "123", -1), 0);
	assert_int_equal(tree_quota_warnings(f->t), 2);
}

static void test_the_deepest_quota_governs(void **state)
{
	struct fix *f = *state;

	assert_int_equal(create(f, "/a", "", 0), 0);
	assert_int_equal(create(f, "/a/b", "", 0), 0);
	set_quota(f, "count=100,bytes=-1");
	assert_int_equal(create(f, "/zookeeper/quota/a/b", "", 0), 0);
	assert_int_equal(create(f, "/zookeeper/quota/a/b/zookeeper_limits",
				"count=-1,bytes=-1=;countHardLimit=1", 0),
			 0);
	assert_int_equal(create(f, "/zookeeper/quota/a/b/zookeeper_stats", "", 0), 0);
	f->flags = TXN_ENFORCE_QUOTA;
	assert_int_equal(create(f, "/a/b/c", "", 0), ZK_EQUOTAEXCEEDED);
	assert_int_equal(create(f, "/a/c", "", 0), 0);
}

static void test_malformed_limits_and_usage_harm_nobody(void **state)
{
	struct fix *f = *state;
	static const char *const texts[] = { "",
					     "=",
					     "count",
					     "count=x,bytes=1",
					     "count=,,;",
					     "\1\2\3",
					     "count==1",
					     "bytes=9999999999999"
					     "99999999999999" };

	assert_int_equal(create(f, "/a", "", 0), 0);
	set_quota(f, "count=1,bytes=1");
	f->flags = TXN_ENFORCE_QUOTA;
	for (size_t i = 0; i < PK_COUNT(texts); i++) {
		assert_int_equal(set(f, STATS, texts[i], -1), 0);
		assert_int_equal(set(f, "/zookeeper/quota/a/zookeeper_limits", texts[i], -1), 0);
		assert_int_equal(create(f, "/a/x", "1", 0), 0);
		assert_int_equal(del(f, "/a/x", -1), 0);
	}
	assert_int_equal(create(f, "/zookeeper/quota/zookeeper_limits", "count=1", 0), 0);
	assert_int_equal(create(f, "/zookeeper/zookeeper_limits", "count=1", 0), 0);
	assert_int_equal(del(f, "/zookeeper/quota/zookeeper_limits", -1), 0);
	assert_int_equal(del(f, "/zookeeper/zookeeper_limits", -1), 0);
}

static void test_a_quota_made_in_a_multi_that_fails_was_never_there(void **state)
{
	struct fix *f = *state;

	assert_int_equal(create(f, "/a", "", 0), 0);
	assert_int_equal(create(f, "/zookeeper/quota/a", "", 0), 0);
	multi_begin(f);
	multi_create(f, ZK_OP_CREATE, "/zookeeper/quota/a/zookeeper_limits",
		     "count=-1,bytes=-1=;countHardLimit=1", 0);
	multi_create(f, ZK_OP_CREATE, STATS, "count=0,bytes=0", 0);
	multi_check(f, "/nope", 0);
	assert_int_equal(multi_go(f), 0);
	f->flags = TXN_ENFORCE_QUOTA;
	assert_int_equal(create(f, "/a/b", "", 0), 0);
	/* And one that succeeds is. */
	multi_begin(f);
	multi_create(f, ZK_OP_CREATE, "/zookeeper/quota/a/zookeeper_limits",
		     "count=-1,bytes=-1=;countHardLimit=2", 0);
	multi_create(f, ZK_OP_CREATE, STATS, "count=0,bytes=0", 0);
	assert_int_equal(multi_go(f), 0);
	assert_string_equal(data_of(f, STATS), "count=2,bytes=0");
	assert_int_equal(create(f, "/a/c", "", 0), ZK_EQUOTAEXCEEDED);
}

/* ---- the configuration node ---- */

#define LIST "server.1=h1:1:2:participant\nserver.2=h2:1:2:participant"

static int32_t config(struct fix *f, int32_t err, const char *text)
{
	struct pk_buf body = PK_BUF_INIT;

	pk_buf_add_le32(&body, (uint32_t)err);
	pk_buf_add_str(&body, text);
	int32_t rc = op_from(f, TXN_CONFIG, 0, 0, pk_buf_bytes(&body));
	pk_buf_release(&body);
	return rc;
}

static int32_t reconfig(struct fix *f, const char *joining, const char *leaving, int64_t from)
{
	struct zk_reconfig_req req = { .config_id = from };
	struct pk_buf body = PK_BUF_INIT;

	if (joining != NULL)
		req.joining = pk_bytes_str(joining);
	if (leaving != NULL)
		req.leaving = pk_bytes_str(leaving);
	zk_reconfig_req_encode(&body, &req);
	int32_t rc = op(f, ZK_OP_RECONFIG, pk_buf_bytes(&body));
	pk_buf_release(&body);
	return rc;
}

static void test_the_first_list_is_text_with_version_minus_one(void **state)
{
	struct fix *f = *state;

	assert_int_equal(config(f, 0, LIST "\nversion=0"), 0);
	assert_string_equal(data_of(f, "/zookeeper/config"), LIST "\nversion=0");
	assert_int_equal(stat_of(f, "/zookeeper/config").version, -1);
	assert_string_equal(events(f), "changed /zookeeper/config");
}

static void test_a_reconfig_is_kept_until_the_leader_is_done(void **state)
{
	struct fix *f = *state;
	struct tree_reconfig r;

	f->flags = TXN_RECONFIG_ENABLED;
	assert_int_equal(config(f, 0, LIST "\nversion=0"), 0);
	add_identity(f, "super", "");
	assert_int_equal(reconfig(f, "server.3=h3:1:2:observer", "1", -1), 0);
	assert_true(f->r.deferred);
	assert_true(tree_reconfig_pending(f->t, &r));
	assert_int_equal(r.session_id, ALICE);
	assert_int_equal(reconfig(f, NULL, "2", -1), ZK_ERECONFIGINPROGRESS);
	assert_string_equal(data_of(f, "/zookeeper/config"), LIST "\nversion=0");
	assert_int_equal(config(f, 0, ""), 0);
	assert_false(tree_reconfig_pending(f->t, &r));
	const char *text = data_of(f, "/zookeeper/config");
	assert_non_null(
		strstr(text, "server.2=h2:1:2:participant\nserver.3=h3:1:2:observer\nversion="));
	assert_null(strstr(text, "server.1="));
}

static void test_a_reconfig_that_failed_leaves_the_list_as_it_was(void **state)
{
	struct fix *f = *state;
	struct tree_reconfig r;

	f->flags = TXN_RECONFIG_ENABLED;
	assert_int_equal(config(f, 0, LIST "\nversion=0"), 0);
	add_identity(f, "super", "");
	assert_int_equal(reconfig(f, NULL, "1", 0), 0);
	assert_int_equal(config(f, ZK_ENEWCONFIGNOQUORUM, ""), ZK_ENEWCONFIGNOQUORUM);
	assert_false(tree_reconfig_pending(f->t, &r));
	assert_string_equal(data_of(f, "/zookeeper/config"), LIST "\nversion=0");
}

static void test_a_reconfig_is_judged_in_the_reference_s_order(void **state)
{
	struct fix *f = *state;

	assert_int_equal(reconfig(f, NULL, "1", -1), ZK_ERECONFIGDISABLED);
	f->flags = TXN_RECONFIG_ENABLED | TXN_STANDALONE;
	assert_int_equal(reconfig(f, NULL, "1", -1), ZK_EUNIMPLEMENTED);
	f->flags = TXN_RECONFIG_ENABLED;
	assert_int_equal(op(f, ZK_OP_RECONFIG, PK_BYTES_NONE), ZK_EMARSHALLING);
	/* there is no list yet: what joins would be all of it */
	assert_int_equal(reconfig(f, "server.3=h3:1:2:participant", NULL, -1),
			 ZK_ERECONFIGINPROGRESS);
	assert_int_equal(config(f, 0, LIST "\nversion=0"), 0);
	assert_int_equal(reconfig(f, NULL, "1", 7), ZK_EBADVERSION);
	assert_int_equal(reconfig(f, "server.3=nonsense", NULL, -1), ZK_EBADARGUMENTS);
	assert_int_equal(reconfig(f, NULL, "1,x", -1), ZK_EBADARGUMENTS);
	assert_int_equal(reconfig(f, NULL, "1,2", -1), ZK_EBADARGUMENTS);
	assert_int_equal(reconfig(f, NULL, "1", -1), ZK_ENOAUTH);
}

#define T(name) cmocka_unit_test_setup_teardown(name, fix_setup, fix_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_a_container_hides_its_mark_and_answers_with_a_stat),
		T(test_outside_a_multi_the_operation_decides_about_containers),
		T(test_an_empty_container_is_found_once_it_was_used),
		T(test_clean_up_takes_only_what_may_go),
		T(test_a_clients_clean_up_is_refused),
		T(test_ttl_nodes_want_the_feature_and_a_sound_ttl),
		T(test_a_ttl_counts_from_the_last_write_while_there_are_no_children),
		T(test_a_ttl_node_that_was_written_meanwhile_stays),
		T(test_a_ttl_node_goes_at_a_time_of_the_log_behind_its_own),
		T(test_a_container_made_anew_meanwhile_stays),
		T(test_a_clean_up_without_its_node_is_malformed),
		T(test_expired_nodes_come_in_portions),
		T(test_usage_starts_with_what_is_there_and_follows),
		T(test_a_hard_limit_refuses_when_quotas_are_enforced),
		T(test_a_soft_limit_only_warns),
		T(test_the_deepest_quota_governs),
		T(test_malformed_limits_and_usage_harm_nobody),
		T(test_a_quota_made_in_a_multi_that_fails_was_never_there),
		T(test_the_first_list_is_text_with_version_minus_one),
		T(test_a_reconfig_is_kept_until_the_leader_is_done),
		T(test_a_reconfig_that_failed_leaves_the_list_as_it_was),
		T(test_a_reconfig_is_judged_in_the_reference_s_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
