#include "tests/lib/test.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/config.h"
#include "store/properties.h"

/* The rows once more, apart from how config.c holds them. */
struct other {
	const char *name;
	const char *fine;
	const char *reason;
};
static const struct other noops[] = {
#define NOOP(name, group, reason) { name, NULL, reason },
#include "store/options.tbl"
};
static const struct other denied[] = {
#define DENY(name, fine, group, reason) { name, fine, reason },
#include "store/options.tbl"
};
static const struct other aliases[] = {
#define ALIAS(name, row) { name, row, NULL },
#include "store/options.tbl"
};
static const char *const zookeeper_keys[] = {
#define ZK_KEY(name) name,
#include "tests/store/zookeeper_keys.tbl"
};

struct fixture {
	struct store_config c;
	struct pk_buf notes;
	struct pk_err err;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	store_config_init(&f->c);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	store_config_release(&f->c);
	pk_buf_release(&f->notes);
	free(f);
	return 0;
}

static void again(struct fixture *f)
{
	store_config_release(&f->c);
	pk_buf_clear(&f->notes);
	f->err = PK_ERR_INIT;
	store_config_init(&f->c);
}

static int text(struct fixture *f, const char *t)
{
	return store_config_text(&f->c, "zoo.cfg", pk_bytes_str(t), &f->notes, &f->err);
}

/* From scratch: text, myid 1, check. */
static int whole(struct fixture *f, const char *t)
{
	int rc;

	again(f);
	rc = text(f, t);
	if (rc == 0)
		rc = store_config_myid(&f->c, pk_bytes_str("1\n"), &f->err);
	return rc == 0 ? store_config_check(&f->c, &f->notes, &f->err) : rc;
}

static void good(struct fixture *f, const char *t)
{
	if (whole(f, t) != 0)
		fail_msg("%s", f->err.text);
}

static void bad(struct fixture *f, const char *t, const char *says)
{
	if (whole(f, t) == 0)
		fail_msg("taken: %s", t);
	if (strstr(f->err.text, says) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", f->err.text, says);
}

static void noted(struct fixture *f, const char *says)
{
	if (strstr(pk_buf_str(&f->notes), says) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", pk_buf_str(&f->notes), says);
}

#define ALONE "dataDir=/d\nclientPort=2181\n"
#define THREE                                                                                      \
	"dataDir=/d\nclientPort=2181\nserver.1=127.0.0.1:1:2\nserver.2=127.0.0.1:3:4\n"            \
	"server.3=127.0.0.1:5:6\n"
#define APART                                                                                      \
	"dataDir=/d\nclientPort=2181\nserver.1=10.0.0.1:1:2\nserver.2=10.0.0.2:1:2\n"              \
	"server.3=10.0.0.3:1:2\n"

/* ---- the table ------------------------------------------------------------------------------- */

static void test_every_key_of_zookeeper_is_known(void **state)
{
	char prefixed[200];

	(void)state;
	assert_true(PK_COUNT(zookeeper_keys) > 200);
	for (size_t i = 0; i < PK_COUNT(zookeeper_keys); i++) {
		const char *why = NULL;

		if (store_config_key(zookeeper_keys[i], &why) == STORE_KEY_UNKNOWN)
			fail_msg("unknown: %s", zookeeper_keys[i]);
		assert_true(strlen(why) > 10);
		snprintf(prefixed, sizeof(prefixed), "zookeeper.%s", zookeeper_keys[i]);
		assert_int_equal(store_config_key(prefixed, NULL),
				 store_config_key(zookeeper_keys[i], NULL));
	}
}

/* A value the row takes: its default, or one made for it. */
static void value_for(const struct pk_opt *row, struct pk_buf *out)
{
	pk_buf_clear(out);
	if (row->dflt != NULL)
		pk_buf_add_str(out, row->dflt);
	else
		pk_buf_add_str(out, "x");
}

static void test_every_honoured_key_is_taken_with_either_spelling(void **state)
{
	struct fixture *f = *state;
	struct pk_buf value = PK_BUF_INIT;

	for (size_t i = 0; i < store_options_count; i++) {
		const struct pk_opt *row = &store_options[i];
		char line[400];

		value_for(row, &value);
		again(f);
		snprintf(line, sizeof(line), "%s=%s\n", row->name, pk_buf_str(&value));
		assert_int_equal(text(f, line), 0);
		snprintf(line, sizeof(line), "zookeeper.%s = %s\n", row->name, pk_buf_str(&value));
		assert_int_equal(text(f, line), 0);
		assert_string_equal(pk_buf_str(&f->notes), "");
		assert_int_equal(store_config_key(row->name, NULL), STORE_KEY_HONOURED);
	}
	pk_buf_release(&value);
}

static void test_every_number_out_of_range_is_refused_with_key_value_range_and_line(void **state)
{
	struct fixture *f = *state;
	struct pk_buf allowed = PK_BUF_INIT;
	size_t tried = 0;

	for (size_t i = 0; i < store_options_count; i++) {
		const struct pk_opt *row = &store_options[i];
		char line[400];
		char shown[400];

		if (row->type == PK_OPT_BOOL || row->type == PK_OPT_ENUM ||
		    row->type == PK_OPT_STRING || row->type == PK_OPT_LIST)
			continue;
		pk_buf_clear(&allowed);
		pk_opt_format_allowed(row, &allowed);
		for (int side = 0; side < 2; side++) {
			int64_t v;

			if (side == 0 ? __builtin_sub_overflow(row->least, 1, &v)
				      : __builtin_add_overflow(row->most, 1, &v))
				continue;
			again(f);
			snprintf(line, sizeof(line), "\n%s=%" PRId64, row->name, v);
			assert_int_equal(text(f, line), PK_ELIMIT);
			snprintf(shown, sizeof(shown),
				 "zoo.cfg line 2: %s=%" PRId64 ": allowed is %s", row->name, v,
				 pk_buf_str(&allowed));
			assert_string_equal(f->err.text, shown);
			tried++;
		}
		again(f);
		snprintf(line, sizeof(line), "%s=12x", row->name);
		assert_int_equal(text(f, line), PK_EINVAL);
	}
	assert_true(tried > 60);
	pk_buf_release(&allowed);
}

static void test_every_key_without_effect_says_so_once_and_changes_nothing(void **state)
{
	struct fixture *f = *state;
	struct pk_buf before = PK_BUF_INIT;
	struct pk_buf after = PK_BUF_INIT;

	for (size_t i = 0; i < store_options_count; i++)
		pk_opt_format(&store_options[i], &f->c, &before);
	for (size_t i = 0; i < PK_COUNT(noops); i++) {
		char line[400];

		pk_buf_clear(&f->notes);
		snprintf(line, sizeof(line), "%s=7", noops[i].name);
		assert_int_equal(text(f, line), 0);
		snprintf(line, sizeof(line), "info: zoo.cfg line 1: %s has no effect: %s\n",
			 noops[i].name, noops[i].reason);
		assert_string_equal(pk_buf_str(&f->notes), line);
	}
	for (size_t i = 0; i < store_options_count; i++)
		pk_opt_format(&store_options[i], &f->c, &after);
	assert_string_equal(pk_buf_str(&before), pk_buf_str(&after));
	pk_buf_release(&before);
	pk_buf_release(&after);
}

static void test_every_refused_key_says_what_to_use_instead(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < PK_COUNT(denied); i++) {
		char line[400];

		again(f);
		snprintf(line, sizeof(line), "zookeeper.%s=surely not", denied[i].name);
		assert_int_equal(text(f, line), PK_EINVAL);
		assert_non_null(strstr(f->err.text, denied[i].reason));
		assert_true(strchr(denied[i].reason, ':') != NULL); /* reason: what to do */
		for (const char *at = denied[i].fine; *at != '\0';) {
			size_t len = strcspn(at, "|");

			again(f);
			snprintf(line, sizeof(line), "%s=%.*s", denied[i].name, (int)len, at);
			assert_int_equal(text(f, line), 0);
			at += len;
			at += *at == '|';
		}
	}
}

static void test_every_alias_leads_to_a_row_that_is_no_alias(void **state)
{
	(void)state;
	for (size_t i = 0; i < PK_COUNT(aliases); i++) {
		assert_int_not_equal(store_config_key(aliases[i].fine, NULL), STORE_KEY_UNKNOWN);
		assert_int_equal(store_config_key(aliases[i].name, NULL),
				 store_config_key(aliases[i].fine, NULL));
		for (size_t j = 0; j < PK_COUNT(aliases); j++)
			assert_string_not_equal(aliases[i].fine, aliases[j].name);
	}
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void test_no_name_stands_for_two_rows(void **state)
{
	const char *names[1000];
	size_t n = 0;

	(void)state;
	for (size_t i = 0; i < store_options_count; i++)
		names[n++] = store_options[i].name;
	for (size_t i = 0; i < PK_COUNT(noops); i++)
		names[n++] = noops[i].name;
	for (size_t i = 0; i < PK_COUNT(denied); i++)
		names[n++] = denied[i].name;
	for (size_t i = 0; i < PK_COUNT(aliases); i++)
		names[n++] = aliases[i].name;
	qsort(names, n, sizeof(*names), by_text);
	for (size_t i = 1; i < n; i++)
		assert_string_not_equal(names[i - 1], names[i]);
}

/* ---- one key --------------------------------------------------------------------------------- */

static void test_an_unknown_key_warns_with_the_nearest_name(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(text(f, "tikcTime=5\nzookeeper.snapcount=3\nqqqqqqqq=1\n"), 0);
	noted(f, "warn: zoo.cfg line 1: unknown key tikcTime is ignored: did you mean tickTime?\n");
	noted(f, "line 2: unknown key zookeeper.snapcount is ignored: did you mean snapCount?\n");
	noted(f, "line 3: unknown key qqqqqqqq is ignored\n");
	assert_int_equal(f->c.tick_ms, 3000);
}

static void test_the_last_of_two_counts_and_a_warning_says_so(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(text(f, "tickTime=1\n\nzookeeper.tickTime=2\n"), 0);
	assert_int_equal(f->c.tick_ms, 2);
	noted(f, "warn: zoo.cfg line 3: zookeeper.tickTime was set in line 1 already; the last one "
		 "counts\n");
	again(f);
	assert_int_equal(
		text(f, "requestThrottleLimit=1\nrequest_throttle_max_requests=2\nserver.1=a:1:2\n"
			"server.1=b:1:2"),
		0);
	assert_int_equal(f->c.throttle_requests_max, 2);
	assert_string_equal(f->c.servers.all[0].addrs[0].host, "b");
	noted(f, "line 2: request_throttle_max_requests was set in line 1");
	noted(f, "line 4: server.1 was set in line 3");
}

static void test_zookeepers_defaults_are_ours(void **state)
{
	struct fixture *f = *state;

	good(f, ALONE);
	assert_int_equal(f->c.tick_ms, 3000); /* ZooKeeperServer.DEFAULT_TICK_TIME */
	assert_int_equal(f->c.session_timeout_min_ms, 6000);
	assert_int_equal(f->c.session_timeout_max_ms, 60000);
	assert_int_equal(f->c.conns_per_address_max, 60);
	assert_int_equal(f->c.jute_maxbuffer, 0xfffff);
	assert_int_equal(f->c.outstanding_max, 1000);
	assert_int_equal(f->c.admin_port, 8080);
	assert_int_equal(f->c.metrics_port, 7000);
	assert_string_equal(f->c.words_allowed, "srvr");
	assert_string_equal(f->c.log_dir, "/d");
	assert_false(f->c.distributed);
	assert_false(f->c.skip_acl);
	assert_false(f->c.reconfig_enabled);
	assert_true(f->c.standalone_enabled);
}

static void test_super_users_and_providers_gather(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(
		text(f,
		     "superUser=a\nsuperUser.1=b\n"
		     "authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider\n"
		     "authProvider.x509="
		     "org.apache.zookeeper.server.auth.X509AuthenticationProvider\n"),
		0);
	assert_int_equal(f->c.super_users.count, 2);
	assert_true(f->c.auth_sasl && f->c.auth_x509);
	bad(f, ALONE "authProvider.1=com.example.Mine\n", "Java classes cannot be loaded");
	bad(f, ALONE "authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider\n",
	    "java.security.auth.login.config");
}

static void test_four_letter_words_go_by_the_list(void **state)
{
	struct fixture *f = *state;

	good(f, ALONE "4lw.commands.whitelist=stat, ruok,mntr , oops\n");
	assert_true(store_config_word_allowed(&f->c, "ruok"));
	assert_true(store_config_word_allowed(&f->c, "mntr"));
	assert_false(store_config_word_allowed(&f->c, "srvr"));
	assert_false(store_config_word_allowed(&f->c, "mnt"));
	noted(f, "oops is no four-letter word");
	good(f, ALONE "4lw.commands.whitelist=*\n");
	assert_true(store_config_word_allowed(&f->c, "conf"));
	good(f, ALONE "4lw.commands.whitelist=\n");
	assert_false(store_config_word_allowed(&f->c, "srvr"));
}

/* ---- the form of the file ----------------------------------------------------------------------
 */

static void expect_property(const char *line, const char *key, const char *value)
{
	struct properties p = PROPERTIES_INIT;
	struct pk_err err = PK_ERR_INIT;

	if (properties_parse(&p, pk_bytes_str(line), &err) != 0)
		fail_msg("%s", err.text);
	assert_int_equal(p.count, 1);
	assert_string_equal(p.rows[0].key, key);
	assert_string_equal(p.rows[0].value, value);
	properties_release(&p);
}

static void test_properties_read_as_java_reads_them(void **state)
{
	(void)state;
	expect_property("a=b", "a", "b");
	expect_property("a:b", "a", "b");
	expect_property("a b", "a", "b");
	expect_property(" \t a \t = \f b c ", "a", "b c ");
	expect_property("a==b", "a", "=b");
	expect_property("a : = b", "a", "= b");
	expect_property("a", "a", "");
	expect_property("=b", "", "b");
	expect_property("# x=y \\\n! z\na=b\r\n\r\n", "a", "b");
	expect_property("a=b\\\n   c\\\r\n\td", "a", "bcd");
	expect_property("a=b\\\\\n", "a", "b\\");
	expect_property("a=b\\\n# c", "a", "b# c");
	expect_property("a=b\\", "a", "b");
	expect_property("\\\n\na=b", "a", "b");
	expect_property("a\\=\\:\\ b=c", "a=: b", "c");
	expect_property("a=\\t\\n\\r\\f\\q\\\"", "a", "\t\n\r\fq\"");
	expect_property("a=\\u00e9\\u20ac\\ud83d\\ude00", "a",
			"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
	expect_property("p=C:\\\\zk", "p", "C:\\zk");
	expect_property("a=\xc3\xa9", "a", "\xc3\xa9");
}

static void test_broken_properties_name_the_line(void **state)
{
	static const char *const broken[] = { "\n\\u12=x",   "\na=\\u12g4", "\na=\\u0000",
					      "\na=\\ud83d", "\na=\\ude00", "\na=\\ud83d\\u0041" };
	struct properties p = PROPERTIES_INIT;

	(void)state;
	for (size_t i = 0; i < PK_COUNT(broken); i++) {
		struct pk_err err = PK_ERR_INIT;

		assert_int_equal(properties_parse(&p, pk_bytes_str(broken[i]), &err), PK_EINVAL);
		assert_non_null(strstr(err.text, "line 2"));
	}
	assert_int_equal(properties_parse(&p, pk_bytes("a=\0", 3), NULL), PK_EINVAL);
}

static void test_a_text_without_end_is_refused(void **state)
{
	struct properties p = PROPERTIES_INIT;
	struct pk_buf b = PK_BUF_INIT;

	(void)state;
	for (int i = 0; i <= PROPERTIES_COUNT_MAX; i++)
		pk_buf_add_str(&b, "a\n");
	assert_int_equal(properties_parse(&p, pk_buf_bytes(&b), NULL), PK_ELIMIT);
	memset(pk_buf_grow(&b, PROPERTIES_BYTES_MAX), 'a', PROPERTIES_BYTES_MAX);
	assert_int_equal(properties_parse(&p, pk_buf_bytes(&b), NULL), PK_ELIMIT);
	pk_buf_release(&b);
}

/* ---- what only shows together ------------------------------------------------------------------
 */

static void test_a_part_of_the_memory_is_a_mebibyte_at_least_if_it_is_said(void **state)
{
	struct fixture *f = *state;

	good(f, ALONE "");
	assert_int_equal(f->c.snapshot_log_bytes, 0);
	good(f, ALONE "paddock.snapshotLogBytes=1MiB\n");
	assert_int_equal(f->c.snapshot_log_bytes, 1 << 20);
	bad(f, ALONE "paddock.snapshotLogBytes=1048575\n", "must be at least 1048576, or 0");
	bad(f, ALONE "paddock.replyQueuesBytes=1\n", "must be at least 1048576, or 0");
}

static void test_times_derive_from_a_given_tick(void **state)
{
	struct fixture *f = *state;

	good(f, ALONE);
	assert_int_equal(f->c.heartbeat_ms, 50);
	assert_int_equal(f->c.election_ms, 500);
	good(f, ALONE "tickTime=2000\n");
	assert_int_equal(f->c.heartbeat_ms, 50);
	assert_int_equal(f->c.session_timeout_min_ms, 4000);
	assert_int_equal(f->c.session_timeout_max_ms, 40000);
	good(f, ALONE "tickTime=200\n");
	assert_int_equal(f->c.heartbeat_ms, 20);
	assert_int_equal(f->c.election_ms, 200);
	good(f, ALONE "tickTime=60000\n");
	assert_int_equal(f->c.heartbeat_ms, 100);
	good(f, ALONE "paddock.heartbeatMs=30\n");
	assert_int_equal(f->c.election_ms, 300);
	bad(f, ALONE "paddock.heartbeatMs=30\npaddock.electionTimeoutMs=40\n", "at least twice");
	bad(f, ALONE "minSessionTimeout=70000\n", "above maxSessionTimeout");
}

static void test_directories_and_ports_are_asked_for(void **state)
{
	struct fixture *f = *state;

	bad(f, "clientPort=1\n", "dataDir is not set");
	bad(f, "dataDir=/d\n", "no port for clients");
	bad(f, "dataDir=/d\nclientPortAddress=::1\n", "clientPort is not");
	bad(f, ALONE "secureClientPortAddress=::1\n", "secureClientPort is not");
	bad(f, ALONE "secureClientPort=2181\n", "both 2181");
	bad(f, "dataDir=/d\nclientPort=x\n", "line 2: clientPort=x: want 0 to 65535");
	good(f, ALONE "clientPortAddress=10.0.0.1\n");
	assert_string_equal(f->c.client_host, "10.0.0.1");
	assert_int_equal(f->c.client_port_effective, 2181);
}

static void test_an_ensemble_is_told_from_a_server_alone(void **state)
{
	struct fixture *f = *state;

	good(f, THREE);
	assert_true(f->c.distributed);
	assert_int_equal(f->c.me.id, 1);
	assert_int_equal(f->c.client_port_effective, 2181);
	good(f, ALONE "server.1=127.0.0.1:1:2\n");
	assert_false(f->c.distributed);
	good(f, ALONE "server.1=127.0.0.1:1:2\nstandaloneEnabled=false\n");
	assert_true(f->c.distributed);
	bad(f, ALONE "standaloneEnabled=false\n", "at least one server.N");
	bad(f, ALONE "server.1=127.0.0.1:1:2:observer\n", "observers");
	bad(f, ALONE "server.1=127.0.0.1:1:2\nserver.2=127.0.0.1:3:4:observer\n",
	    "standaloneEnabled=false");
	good(f, ALONE "server.1=127.0.0.1:1:2\nserver.2=127.0.0.1:3:4\n");
	noted(f, "warn: two voting servers");
}

static void test_a_server_finds_itself_by_its_myid(void **state)
{
	struct fixture *f = *state;

	again(f);
	assert_int_equal(text(f, THREE), 0);
	assert_int_equal(store_config_check(&f->c, NULL, &f->err), PK_EINVAL);
	assert_non_null(strstr(f->err.text, "/d/myid is missing"));
	again(f);
	assert_int_equal(text(f, THREE), 0);
	assert_int_equal(store_config_myid(&f->c, pk_bytes_str("9 \r\nx"), &f->err), 0);
	assert_int_equal(store_config_check(&f->c, NULL, &f->err), PK_EINVAL);
	assert_string_equal(f->err.text, "myid is 9, but there is no server.9 line");
	assert_int_equal(store_config_myid(&f->c, pk_bytes_str(""), &f->err), PK_EINVAL);
	assert_int_equal(store_config_myid(&f->c, pk_bytes_str("0"), &f->err), PK_EINVAL);
	assert_int_equal(store_config_myid(&f->c, pk_bytes_str("one"), &f->err), PK_EINVAL);
	assert_int_equal(store_config_myid(&f->c, pk_bytes_str("-1"), &f->err), PK_EINVAL);
	assert_int_equal(store_config_myid(&f->c, pk_bytes_str("1111111111111111111"), &f->err),
			 PK_EINVAL);
}

static void test_the_client_port_may_come_from_the_server_line(void **state)
{
	struct fixture *f = *state;
#define LINE "dataDir=/d\nserver.2=127.0.0.1:3:4\nserver.1=127.0.0.1:1:2;10.0.0.1:2183\n"

	good(f, LINE);
	assert_int_equal(f->c.client_port_effective, 2183);
	assert_string_equal(f->c.client_host, "10.0.0.1");
	good(f, LINE "clientPort=2183\n");
	bad(f, LINE "clientPort=2184\n", "remove one of them");
	bad(f, LINE "clientPort=2183\nclientPortAddress=10.0.0.2\n", "remove one of them");
}

static void test_votes_weigh_the_same(void **state)
{
	struct fixture *f = *state;

	good(f, THREE "group.1=1:2:3\nweight.1=1\nweight.2=1\nweight.3=1\n");
	good(f, THREE "weight.1=2\nweight.2=2\nweight.3=2\n");
	bad(f, THREE "weight.1=2\n", "weight.N is refused");
	bad(f, THREE "weight.1=1\nweight.2=0\n", "weight.N is refused");
	bad(f, THREE "weight.1=x\n", "want a number");
	bad(f, THREE "group.1=1:2\ngroup.2=3\n", "group.N is refused");
}

static void test_several_addresses_want_their_switch(void **state)
{
	struct fixture *f = *state;

	bad(f, THREE "server.4=127.0.0.1:7:8|127.0.0.2:7:8\n", "multiAddress.enabled=true");
	good(f, THREE "server.4=127.0.0.1:7:8|127.0.0.2:7:8\nmultiAddress.enabled=true\n");
}

static void test_servers_apart_must_prove_who_they_are(void **state)
{
	struct fixture *f = *state;

	bad(f, APART, "paddock.peerKeyFile=cluster.key");
	bad(f, THREE "quorumListenOnAllIPs=true\n", "paddock.peerKeyFile=cluster.key");
	good(f, THREE);
	assert_int_equal(f->c.peer_security, STORE_PEERS_LOOPBACK);
	good(f, APART "paddock.peerKeyFile=k\n");
	assert_int_equal(f->c.peer_security, STORE_PEERS_KEY);
	good(f, APART "paddock.peerCert=c.pem\npaddock.peerCA=ca.pem\npaddock.peerKey=k.pem\n");
	assert_int_equal(f->c.peer_security, STORE_PEERS_CERT);
	assert_string_equal(f->c.peer_tls.cert_key, "k.pem");
	assert_string_equal(f->c.peer_tls.trust, "ca.pem");
	good(f, APART "sslQuorum=true\nssl.quorum.keyStore.location=c.p12\n"
		      "ssl.quorum.trustStore.location=t.pem\nssl.quorum.keyStore.password=x\n");
	assert_string_equal(f->c.peer_tls.cert, "c.p12");
	assert_string_equal(f->c.peer_tls.cert_password, "x");
	bad(f, APART "sslQuorum=true\n", "ssl.quorum.keyStore.location");
	bad(f, APART "ssl.quorum.keyStore.location=c.p12\n", "paddock.peerKeyFile");
	bad(f, APART "paddock.peerCert=c.pem\n", "paddock.peerCA");
	bad(f, APART "paddock.peerCA=c.pem\n", "paddock.peerCert");
	bad(f, APART "paddock.peerKeyFile=k\nsslQuorum=true\n", "exclude each other");
	bad(f,
	    APART "sslQuorum=true\nssl.quorum.keyStore.location=c.jks\n"
		  "ssl.quorum.trustStore.location=t.jks\n",
	    "keytool -importkeystore -srckeystore c.jks");
}

static void test_a_tls_port_wants_its_files(void **state)
{
	struct fixture *f = *state;
#define TLS ALONE "secureClientPort=2281\n"

	bad(f, TLS, "ssl.keyStore.location");
	bad(f, TLS "ssl.keyStore.location=s.pem\n", "ssl.trustStore.location");
	good(f, TLS "ssl.keyStore.location=s.pem\nssl.clientAuth=none\n");
	assert_true(f->c.auth_x509);
	good(f, TLS "ssl.keyStore.location=s.pem\nssl.trustStore.location=t.pem\n"
		    "ssl.protocol=TLSv1.2\nssl.enabledProtocols=TLSv1.2,TLSv1.3\n");
	assert_string_equal(f->c.client_tls.protocols, "TLSv1.2,TLSv1.3");
	bad(f, TLS "ssl.keyStore.location=s.JKS\nssl.clientAuth=none\n", "keytool");
	bad(f, TLS "ssl.keyStore.location=s\nssl.keyStore.type=BCFKS\nssl.clientAuth=none\n",
	    "keytool");
	bad(f, TLS "ssl.keyStore.location=s.pem\nssl.clientAuth=none\nssl.crl=true\n",
	    "paddock.crlFile");
	bad(f, ALONE "ssl.clientAuth=maybe\n", "want need, want, none");
	bad(f, ALONE "client.portUnification=true\n", "ssl.keyStore.location");
}

static void test_enforced_schemes_are_known_ones(void **state)
{
	struct fixture *f = *state;

	bad(f, ALONE "enforce.auth.enabled=true\n", "enforce.auth.schemes");
	bad(f, ALONE "enforce.auth.enabled=true\nenforce.auth.schemes=digest,magic\n",
	    "enforce.auth.schemes");
	good(f, ALONE "enforce.auth.enabled=true\nenforce.auth.schemes=digest, x509\n");
	assert_true(store_config_scheme_enforced(&f->c, "x509"));
	assert_false(store_config_scheme_enforced(&f->c, "sasl"));
}

static void test_a_dynamic_file_holds_servers_and_its_name_the_version(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(store_config_dynamic(&f->c, "conf/zoo.cfg.dynamic.10000000a",
					      pk_bytes_str("server.1=a:1:2\nserver.2=b:1:2;3\n"),
					      NULL, &f->err),
			 0);
	assert_int_equal(f->c.servers.count, 2);
	assert_true(f->c.servers.version == 0x10000000a);
	assert_int_equal(
		store_config_dynamic(&f->c, "x.dynamic", pk_bytes_str("tickTime=1"), NULL, &f->err),
		PK_EINVAL);
	assert_int_equal(
		store_config_dynamic(&f->c, "x.dynamic", pk_bytes_str("version=1"), NULL, &f->err),
		PK_EINVAL);
	bad(f, THREE "dynamicConfigFile=x\n", "server lines belong in x");
}

/* ---- JAAS
 * ---------------------------------------------------------------------------------------- */

static int jaas(struct fixture *f, const char *t)
{
	f->err = PK_ERR_INIT;
	return store_config_jaas(&f->c, pk_bytes_str(t), &f->err);
}

static void test_a_jaas_file_names_users_and_key_table(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(
		jaas(f, "/* all */ Client { a.B required; };\n// next\n# and\nServer {\n"
			"  org.apache.zookeeper.server.auth.DigestLoginModule required\n"
			"  user_super=\"s \\\"x\\\" \\\\\" user_bob=bob;\n"
			"  com.sun.security.auth.module.Krb5LoginModule Required useKeyTab=true\n"
			"  keyTab=\"/etc/zk.keytab\" principal=\"zookeeper/h@EXAMPLE.COM\";\n};\n"),
		0);
	assert_true(f->c.auth_sasl);
	assert_int_equal(f->c.sasl.user_count, 2);
	assert_string_equal(f->c.sasl.users[0].name, "super");
	assert_string_equal(f->c.sasl.users[0].password, "s \"x\" \\");
	assert_string_equal(f->c.sasl.users[1].password, "bob");
	assert_string_equal(f->c.sasl.keytab, "/etc/zk.keytab");
	assert_string_equal(f->c.sasl.principal, "zookeeper/h@EXAMPLE.COM");
}

static void test_a_broken_jaas_file_is_refused_with_its_line(void **state)
{
	static const char *const broken[] = {
		"\nServer",
		"\nServer {",
		"\nServer { }",
		"\nServer { a.B };",
		"\nServer { a.B required };",
		"\nServer { a.B perhaps; };",
		"\nServer { a.B required x; };",
		"\nServer { a.B required x=; };",
		"\nServer { a.B required x=\"y; };",
		"\nServer { a.B required x=\"${home}/y\"; };",
		"\n/* never ends",
		"\n%",
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < PK_COUNT(broken); i++) {
		assert_int_equal(jaas(f, broken[i]), PK_EINVAL);
		assert_non_null(strstr(f->err.text, "line 2"));
	}
	assert_int_equal(jaas(f, "Client { a.DigestLoginModule required user_a=b; };"), PK_EINVAL);
	assert_string_equal(f->err.text, "there is no section named Server");
	assert_int_equal(jaas(f, "Server { a.Other required; };"), PK_EINVAL);
	assert_non_null(strstr(f->err.text, "a.Other is not known"));
	assert_int_equal(jaas(f, "Server { a.Krb5LoginModule required keyTab=x; };"), PK_EINVAL);
	assert_int_equal(jaas(f, "Server { a.DigestLoginModule required; };"), PK_EINVAL);
	assert_false(f->c.auth_sasl);
}

/* ---- files, environment, flags ------------------------------------------------------------------
 */

struct dir {
	char path[64];
};

static struct dir dir_new(void)
{
	struct dir d = { "/tmp/paddock-config-XXXXXX" };

	assert_non_null(mkdtemp(d.path));
	return d;
}

static void dir_file(const struct dir *d, const char *name, const char *content)
{
	char path[200];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", d->path, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(content, f);
	assert_int_equal(fclose(f), 0);
}

static void dir_remove(const struct dir *d)
{
	static const char *const names[] = {
		"zoo.cfg", "myid", "initialize", "dyn.a", "jaas", "pw"
	};
	char path[200];

	for (size_t i = 0; i < PK_COUNT(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", d->path, names[i]);
		pk_ignore(unlink(path), "not every test makes every file");
	}
	assert_int_equal(rmdir(d->path), 0);
}

static void test_load_reads_all_the_files_then_environment_then_flags(void **state)
{
	struct fixture *f = *state;
	struct dir d = dir_new();
	char path[200];
	char cfg[2000];
	struct pk_strs sets = PK_STRS_INIT;
	char *env[] = { (char *)(uintptr_t) "PADDOCK_TICKTIME=2000",
			(char *)(uintptr_t) "PADDOCK_LOGLEVEL=debug",
			(char *)(uintptr_t) "PADDOCK_4LW_COMMANDS_WHITELIST=ruok",
			(char *)(uintptr_t) "PADDOCK_JVM_PAUSE_WARN_THRESHOLD_MS=1",
			(char *)(uintptr_t) "PADDOCK_SERVER_3=127.0.0.1:15:16",
			(char *)(uintptr_t) "PADDOCK_NOTHING=1",
			(char *)(uintptr_t) "TICKTIME=9",
			NULL };

	store_config_release(&f->c);
	snprintf(path, sizeof(path), "%s/zoo.cfg", d.path);
	snprintf(cfg, sizeof(cfg),
		 "dataDir=%s\nclientPort=2181\ntickTime=1000\ninitLimit=3\n"
		 "dynamicConfigFile=%s/dyn.a\njava.security.auth.login.config=%s/jaas\n"
		 "ssl.keyStore.passwordPath=%s/pw\nssl.keyStore.password=other\n",
		 d.path, d.path, d.path, d.path);
	dir_file(&d, "zoo.cfg", cfg);
	dir_file(&d, "dyn.a",
		 "server.1=127.0.0.1:1:2\nserver.2=127.0.0.1:3:4\nserver.3=127.0.0.1:5:6\n");
	dir_file(&d, "myid", "2\n");
	dir_file(&d, "initialize", "");
	dir_file(&d, "jaas", "Server { x.DigestLoginModule required user_a=\"b\"; };");
	dir_file(&d, "pw", "hunter2\nignored\n");
	pk_strs_add(&sets, pk_bytes_str("tickTime=4000"));
	pk_strs_add(&sets, pk_bytes_str("server.1=127.0.0.1:21:22"));

	if (store_config_load(&f->c, path, env, &sets, &f->notes, &f->err) != 0)
		fail_msg("%s", f->err.text);
	assert_int_equal(f->c.tick_ms, 4000);
	assert_int_equal(f->c.init_limit, 3);
	assert_int_equal(f->c.log_level, 3);
	assert_true(store_config_word_allowed(&f->c, "ruok"));
	assert_int_equal(f->c.my_id, 2);
	assert_true(f->c.has_initialize);
	assert_true(f->c.servers.version == 0xa);
	assert_int_equal(f->c.servers.all[0].addrs[0].peer_port, 21);
	assert_int_equal(f->c.servers.all[1].addrs[0].peer_port, 3);
	assert_int_equal(f->c.servers.all[2].addrs[0].peer_port, 15);
	assert_string_equal(f->c.sasl.users[0].password, "b");
	assert_string_equal(f->c.ssl_cert_password, "hunter2");
	assert_string_equal(f->c.text, cfg);
	noted(f, "PADDOCK_NOTHING names no setting");
	noted(f, "jvm.pause.warn-threshold.ms has no effect");
	pk_strs_release(&sets);
	dir_remove(&d);
}

static void test_a_failed_load_leaves_the_output_alone(void **state)
{
	struct fixture *f = *state;
	struct dir d = dir_new();
	char path[200];
	struct pk_strs sets = PK_STRS_INIT;
	struct store_config *c = &f->c;

	snprintf(path, sizeof(path), "%s/zoo.cfg", d.path);
	c->tick_ms = 77;
	assert_int_equal(store_config_load(c, path, NULL, NULL, NULL, &f->err), PK_ENOENT);
	assert_int_equal(store_config_load(c, d.path, NULL, NULL, NULL, &f->err), PK_EINVAL);
	dir_file(&d, "zoo.cfg", "dataDir=/nowhere\nclientPort=0x10000\n");
	assert_int_equal(store_config_load(c, path, NULL, NULL, NULL, &f->err), PK_ELIMIT);
	dir_file(&d, "zoo.cfg", ALONE);
	pk_strs_add(&sets, pk_bytes_str("tickTime"));
	assert_int_equal(store_config_load(c, path, NULL, &sets, NULL, &f->err), PK_EINVAL);
	assert_non_null(strstr(f->err.text, "want key=value"));
	dir_file(&d, "zoo.cfg", ALONE "java.security.auth.login.config=/nowhere/jaas\n");
	assert_int_equal(store_config_load(c, path, NULL, NULL, NULL, &f->err), PK_ENOENT);
	assert_int_equal(c->tick_ms, 77);
	pk_strs_release(&sets);
	dir_remove(&d);
}

static void test_the_examples_load_as_they_are(void **state)
{
	static const char *const examples[] = {
		"standalone", "three-1",    "three-2",    "three-3",    "tls",
		"sasl",       "observer-1", "observer-2", "observer-3", "observer-4",
	};
	struct fixture *f = *state;
	bool ports[65536] = { false };

	/* their paths start in their own folder */
	assert_int_equal(chdir("examples"), 0);

	for (size_t i = 0; i < PK_COUNT(examples); i++) {
		char path[100];
		int used[4];

		snprintf(path, sizeof(path), "%s.cfg", examples[i]);
		store_config_release(&f->c);
		pk_buf_clear(&f->notes);
		if (store_config_load(&f->c, path, NULL, NULL, &f->notes, &f->err) != 0)
			fail_msg("%s", f->err.text);
		assert_null(strstr(pk_buf_str(&f->notes), "warn:"));
		assert_true(strncmp(f->c.data_dir, "./data-", 7) == 0);
		used[0] = f->c.client_port_effective;
		used[1] = f->c.secure_client_port;
		used[2] = f->c.admin_port;
		used[3] = f->c.distributed ? f->c.me.addrs[0].peer_port : 0;
		for (size_t p = 0; p < PK_COUNT(used); p++) {
			assert_false(used[p] != 0 && ports[used[p]]);
			ports[used[p]] = true;
		}
	}
	assert_int_equal(chdir(".."), 0);
}

static void test_the_manual_is_fresh(void **state)
{
	struct pk_buf want = PK_BUF_INIT;
	FILE *file = fopen("docs/configuration.md", "r");
	size_t len;
	char *have;

	(void)state;
	assert_non_null(file);
	store_config_markdown(&want);
	have = pk_alloc(want.len + 2);
	len = fread(have, 1, want.len + 1, file);
	assert_int_equal(fclose(file), 0);
	if (len != want.len || memcmp(have, want.data, len) != 0)
		fail_msg("docs/configuration.md is old: run make docs");
	free(have);
	pk_buf_release(&want);
}

int main(int argc, char **argv)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_every_key_of_zookeeper_is_known),
		T(test_every_honoured_key_is_taken_with_either_spelling),
		T(test_every_number_out_of_range_is_refused_with_key_value_range_and_line),
		T(test_every_key_without_effect_says_so_once_and_changes_nothing),
		T(test_every_refused_key_says_what_to_use_instead),
		T(test_every_alias_leads_to_a_row_that_is_no_alias),
		T(test_no_name_stands_for_two_rows),
		T(test_an_unknown_key_warns_with_the_nearest_name),
		T(test_the_last_of_two_counts_and_a_warning_says_so),
		T(test_zookeepers_defaults_are_ours),
		T(test_super_users_and_providers_gather),
		T(test_four_letter_words_go_by_the_list),
		T(test_properties_read_as_java_reads_them),
		T(test_broken_properties_name_the_line),
		T(test_a_text_without_end_is_refused),
		T(test_a_part_of_the_memory_is_a_mebibyte_at_least_if_it_is_said),
		T(test_times_derive_from_a_given_tick),
		T(test_directories_and_ports_are_asked_for),
		T(test_an_ensemble_is_told_from_a_server_alone),
		T(test_a_server_finds_itself_by_its_myid),
		T(test_the_client_port_may_come_from_the_server_line),
		T(test_votes_weigh_the_same),
		T(test_several_addresses_want_their_switch),
		T(test_servers_apart_must_prove_who_they_are),
		T(test_a_tls_port_wants_its_files),
		T(test_enforced_schemes_are_known_ones),
		T(test_a_dynamic_file_holds_servers_and_its_name_the_version),
		T(test_a_jaas_file_names_users_and_key_table),
		T(test_a_broken_jaas_file_is_refused_with_its_line),
		T(test_load_reads_all_the_files_then_environment_then_flags),
		T(test_a_failed_load_leaves_the_output_alone),
		T(test_the_examples_load_as_they_are),
		T(test_the_manual_is_fresh),
	};

	if (argc == 2 && strcmp(argv[1], "--docs") == 0) { /* make docs */
		struct pk_buf out = PK_BUF_INIT;

		store_config_markdown(&out);
		fwrite(out.data, 1, out.len, stdout);
		pk_buf_release(&out);
		return 0;
	}
	return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
