/* clang-format off */
#include "tests/lib/test.h"
/* clang-format on */

#include <sasl/sasl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "store/sasl_io.h"
#include "zkproto/sasl_digest_io.h"
#include "zkproto/zk.h"

static struct store_config cfg;
static struct sasl *sasl;

static const char jaas[] = "Server {\n"
			   "  org.apache.zookeeper.server.auth.DigestLoginModule required\n"
			   "  user_super=\"adm\" user_alice=\"wonder\" user_bob=\"build\";\n"
			   "};\n";

static int begin(void **state)
{
	struct pk_err err = PK_ERR_INIT;

	pk_ignore(state, "globals");
	store_config_init(&cfg);
	assert_int_equal(store_config_jaas(&cfg, pk_bytes_str(jaas), &err), 0);
	assert_int_equal(store_config_set(&cfg, "test", "superUser", "bob", NULL, &err), 0);
	assert_int_equal(sasl_start(&sasl, &cfg, &err), 0);
	return 0;
}

static int end(void **state)
{
	pk_ignore(state, "globals");
	sasl_free(sasl);
	store_config_release(&cfg);
	return 0;
}

/* Our own client's half against libsasl2's: what the server says at the end. */
static int32_t login(const char *user, const char *password, struct server_auth_result *result)
{
	struct pk_err err = PK_ERR_INIT;
	struct zkc_sasl_digest *client = zkc_sasl_digest_new(user, password, &err);
	struct pk_buf token = PK_BUF_INIT, answer = PK_BUF_INIT;
	void *slot = NULL;
	bool none;
	int32_t rc;

	assert_non_null(client);
	*result = (struct server_auth_result){ 0 };
	int more = zkc_sasl_digest_ops.start(client, 0, &token);
	do {
		pk_buf_clear(&answer);
		rc = sasl_step(sasl, &slot, pk_buf_bytes(&token), &answer, &none, result);
		if (rc != 0)
			break;
		assert_false(none);
		pk_buf_clear(&token);
		more = zkc_sasl_digest_ops.step(client, pk_buf_bytes(&answer), &token);
		assert_true(more >= 0); /* the server proved that it knows the password */
	} while (more == 1);
	assert_true(rc != 0 || more == 0);
	assert_int_equal(rc == 0, result->ok);
	if (slot != NULL)
		sasl_step_free(slot);
	zkc_sasl_digest_free(client);
	pk_buf_release(&token);
	pk_buf_release(&answer);
	return rc;
}

static void test_a_user_of_the_jaas_file_becomes_a_sasl_identity(void **state)
{
	struct server_auth_result r;

	pk_ignore(state, "globals");
	assert_int_equal(login("alice", "wonder", &r), 0);
	assert_int_equal(r.count, 1);
	assert_string_equal(r.ids[0].scheme, "sasl");
	assert_string_equal(r.ids[0].id, "alice");
}

static void test_a_wrong_password_and_an_unknown_user_fail(void **state)
{
	struct server_auth_result r;

	pk_ignore(state, "globals");
	assert_int_equal(login("alice", "Wonder", &r), ZK_EAUTHFAILED);
	assert_int_equal(r.count, 0);
	assert_int_equal(login("mallory", "wonder", &r), ZK_EAUTHFAILED);
	assert_int_equal(r.count, 0);
}

static void test_a_super_user_is_super_besides(void **state)
{
	struct server_auth_result r;

	pk_ignore(state, "globals");
	assert_int_equal(login("bob", "build", &r), 0);
	assert_int_equal(r.count, 2);
	assert_string_equal(r.ids[0].id, "bob");
	assert_string_equal(r.ids[1].scheme, "super");
	assert_string_equal(r.ids[1].id, "");
}

static void test_the_super_password_wins_over_the_file(void **state)
{
	struct server_auth_result r;
	struct pk_err err = PK_ERR_INIT;

	pk_ignore(state, "globals");
	assert_int_equal(login("super", "adm", &r), 0);
	assert_int_equal(store_config_set(&cfg, "test", "SASLAuthenticationProvider.superPassword",
					  "other", NULL, &err),
			 0);
	assert_int_equal(login("super", "adm", &r), ZK_EAUTHFAILED);
	assert_int_equal(login("super", "other", &r), 0);
}

static void test_everyone_is_the_reader_where_one_is_named(void **state)
{
	struct server_auth_result r;
	struct pk_err err = PK_ERR_INIT;

	pk_ignore(state, "globals");
	assert_int_equal(store_config_set(&cfg, "test", "letAnySaslUserDoX", "anyone", NULL, &err),
			 0);
	assert_int_equal(login("alice", "wonder", &r), 0);
	assert_int_equal(r.count, 2);
	assert_string_equal(r.ids[1].scheme, "sasl");
	assert_string_equal(r.ids[1].id, "anyone");
}

static void test_a_finished_or_failed_exchange_takes_no_more_tokens(void **state)
{
	struct server_auth_result r = { 0 };
	struct pk_buf out = PK_BUF_INIT;
	void *slot = NULL;
	bool none;

	pk_ignore(state, "globals");
	assert_int_equal(sasl_step(sasl, &slot, PK_BYTES_NONE, &out, &none, &r), 0);
	assert_int_equal(sasl_step(sasl, &slot, pk_bytes_str("nonsense"), &out, &none, &r),
			 ZK_EAUTHFAILED);
	assert_int_equal(sasl_step(sasl, &slot, PK_BYTES_NONE, &out, &none, &r), ZK_EAUTHFAILED);
	assert_false(r.ok);
	sasl_step_free(slot);
	slot = NULL;
	/* the first token is no token of DIGEST-MD5 */
	assert_int_equal(sasl_step(sasl, &slot, pk_bytes_str("nonsense"), &out, &none, &r),
			 ZK_EAUTHFAILED);
	assert_null(slot);
	pk_buf_release(&out);
}

/* ---- libsasl2's own client ---- */

static int give_name(void *context, int id, const char **out, unsigned *len)
{
	pk_ignore(context, "one user");
	*out = id == SASL_CB_USER ? "" : "alice";
	if (len != NULL)
		*len = (unsigned)strlen(*out);
	return SASL_OK;
}

static int give_secret(sasl_conn_t *conn, void *context, int id, sasl_secret_t **out)
{
	static struct {
		sasl_secret_t s;
		char room[16];
	} secret;

	pk_ignore(conn, "one user");
	pk_ignore(context, "likewise");
	pk_ignore(id, "likewise");
	secret.s.len = 6;
	memcpy(secret.s.data, "wonder", 6);
	*out = &secret.s;
	return SASL_OK;
}

static int give_realm(void *context, int id, const char **offered, const char **out)
{
	pk_ignore(context, "the one that is offered");
	pk_ignore(id, "likewise");
	assert_string_equal(offered[0], "zk-sasl-md5");
	*out = offered[0];
	return SASL_OK;
}

static void test_the_client_of_libsasl2_logs_in(void **state)
{
	union {
		sasl_getsimple_t *name;
		sasl_getsecret_t *secret;
		sasl_getrealm_t *realm;
		int (*any)(void);
	} f[] = { { .name = give_name }, { .secret = give_secret }, { .realm = give_realm } };
	const sasl_callback_t callbacks[] = { { SASL_CB_USER, f[0].any, NULL },
					      { SASL_CB_AUTHNAME, f[0].any, NULL },
					      { SASL_CB_PASS, f[1].any, NULL },
					      { SASL_CB_GETREALM, f[2].any, NULL },
					      { SASL_CB_LIST_END, NULL, NULL } };
	struct server_auth_result r = { 0 };
	struct pk_buf answer = PK_BUF_INIT;
	sasl_conn_t *client = NULL;
	const char *out = NULL, *mech = NULL;
	unsigned len = 0;
	void *slot = NULL;
	bool none;

	pk_ignore(state, "globals");
	assert_int_equal(sasl_client_init(callbacks), SASL_OK);
	assert_int_equal(sasl_client_new("zookeeper", "zk-sasl-md5", NULL, NULL, NULL, 0, &client),
			 SASL_OK);
	int rc = sasl_client_start(client, "DIGEST-MD5", NULL, &out, &len, &mech);
	while (rc == SASL_CONTINUE) {
		pk_buf_clear(&answer);
		assert_int_equal(sasl_step(sasl, &slot, pk_bytes(out, len), &answer, &none, &r), 0);
		assert_false(none);
		rc = sasl_client_step(client, (const char *)answer.data, (unsigned)answer.len, NULL,
				      &out, &len);
		assert_true(rc == SASL_CONTINUE || rc == SASL_OK);
	}
	assert_int_equal(rc, SASL_OK);
	assert_true(r.ok);
	assert_string_equal(r.ids[0].id, "alice");
	sasl_step_free(slot);
	sasl_dispose(&client);
	sasl_client_done();
	pk_buf_release(&answer);
}

/* ---- Kerberos, as far as it goes without a server of tickets ---- */

static void kerberos_refused(const char *keytab, const char *principal, const char *want)
{
	struct store_config c;
	struct pk_err err = PK_ERR_INIT;
	struct pk_buf text = PK_BUF_INIT;
	struct sasl *none = NULL;

	store_config_init(&c);
	pk_buf_printf(&text,
		      "Server { com.sun.security.auth.module.Krb5LoginModule required "
		      "useKeyTab=true keyTab=\"%s\" principal=\"%s\"; };",
		      keytab, principal);
	assert_int_equal(store_config_jaas(&c, pk_buf_bytes(&text), &err), 0);
	assert_true(sasl_start(&none, &c, &err) < 0);
	assert_non_null(strstr(err.text, want));
	assert_null(none);
	pk_buf_release(&text);
	store_config_release(&c);
}

static void test_a_key_table_that_is_missing_or_a_user_principal_is_refused(void **state)
{
	char path[] = "/tmp/paddock-keytab-XXXXXX";
	int fd = mkstemp(path);

	pk_ignore(state, "nothing");
	assert_true(fd >= 0);
	kerberos_refused("/nowhere/zk.keytab", "zookeeper/host@REALM",
			 "key table /nowhere/zk.keytab");
	kerberos_refused(path, "zookeeper@REALM", "service/host@REALM");
	close(fd);
	assert_int_equal(unlink(path), 0);
}

#define WITH(test) cmocka_unit_test_setup_teardown(test, begin, end)

/* libsasl2's plugins keep what they set up in globals of theirs; unloaded, the leak sanitizer takes
 * that for lost. Here they stay. */
int dlclose(void *handle);
int dlclose(void *handle)
{
	return handle != NULL ? 0 : -1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH(test_a_user_of_the_jaas_file_becomes_a_sasl_identity),
		WITH(test_a_wrong_password_and_an_unknown_user_fail),
		WITH(test_a_super_user_is_super_besides),
		WITH(test_the_super_password_wins_over_the_file),
		WITH(test_everyone_is_the_reader_where_one_is_named),
		WITH(test_a_finished_or_failed_exchange_takes_no_more_tokens),
		WITH(test_the_client_of_libsasl2_logs_in),
		cmocka_unit_test(test_a_key_table_that_is_missing_or_a_user_principal_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
