/* clang-format off */
#include "tests/lib/test.h"
/* clang-format on */

#include <stdio.h>

#include "zkproto/sasl_digest_io.h"

#define S(text) pk_bytes_str(text)

static struct zkc_sasl_digest *begin(void)
{
	struct pk_err err = PK_ERR_INIT;
	struct zkc_sasl_digest *d = zkc_sasl_digest_new("bob", "secret", &err);
	struct pk_buf out = PK_BUF_INIT;

	assert_non_null(d);
	assert_int_equal(zkc_sasl_digest_ops.start(d, 0, &out), 1);
	assert_int_equal(out.len, 0);
	return d;
}

static int step(struct zkc_sasl_digest *d, const char *challenge, struct pk_buf *out)
{
	pk_buf_clear(out);
	return zkc_sasl_digest_ops.step(d, S(challenge), out);
}

#define CHALLENGE                                                                                  \
	"realm=\"zk-sasl-md5\",nonce=\"n0\\\"nce\",charset=utf-8,algorithm=md5-sess,"              \
	"qop=\"auth-int,auth\""

static void test_answers_are_those_of_the_rfc(void **state)
{
	(void)state;
	struct zkc_digest_input in = { "chris",          "elwood.innosoft.com",
				       "secret",         "OA6MG9tEQGm2hh",
				       "OA6MHXh6VqTrRk", "imap/elwood.innosoft.com",
				       "AUTHENTICATE" };
	char out[33];

	/* RFC 2831, section 4 */
	zkc_digest_answer(&in, out);
	assert_string_equal(out, "d388dad90d4bbd760a152321f2143af7");
	in.a2 = "";
	zkc_digest_answer(&in, out);
	assert_string_equal(out, "ea40f60335c427b5527b84dbabcdfffd");
}

/* What stands behind `key` in our answer, up to the quote or comma. */
static void value_of(struct pk_buf *answer, const char *key, char *to, size_t to_bytes)
{
	const char *at = strstr(pk_buf_str(answer), key);

	assert_non_null(at);
	at += strlen(key);
	snprintf(to, to_bytes, "%.*s", (int)strcspn(at, "\","), at);
}

static void test_a_server_that_knows_the_password_is_believed(void **state)
{
	(void)state;
	struct zkc_sasl_digest *d = begin();
	struct pk_buf out = PK_BUF_INIT;
	char cnonce[64], want[33], got[64], proof[64];

	assert_int_equal(step(d, CHALLENGE, &out), 1);
	value_of(&out, ",cnonce=\"", cnonce, sizeof(cnonce));
	value_of(&out, ",response=", got, sizeof(got));
	assert_non_null(strstr(pk_buf_str(&out), "nonce=\"n0\\\"nce\","));
	assert_non_null(strstr(pk_buf_str(&out), "digest-uri=\"zookeeper/zk-sasl-md5\""));
	struct zkc_digest_input in = { "bob",  "zk-sasl-md5",           "secret",      "n0\"nce",
				       cnonce, "zookeeper/zk-sasl-md5", "AUTHENTICATE" };
	zkc_digest_answer(&in, want);
	assert_string_equal(got, want);
	in.a2 = "";
	zkc_digest_answer(&in, want);
	snprintf(proof, sizeof(proof), "rspauth=%s", want);
	assert_int_equal(step(d, proof, &out), 0);
	pk_buf_release(&out);
	zkc_sasl_digest_free(d);
}

static void test_a_server_that_does_not_know_the_password_is_not(void **state)
{
	(void)state;
	struct zkc_sasl_digest *d = begin();
	struct pk_buf out = PK_BUF_INIT;

	assert_int_equal(step(d, CHALLENGE, &out), 1);
	assert_int_equal(step(d, "rspauth=ea40f60335c427b5527b84dbabcdfffd", &out), PK_EAUTH);
	pk_buf_release(&out);
	zkc_sasl_digest_free(d);
}

static void test_challenges_that_cannot_be_answered_fail(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"",
		"realm=\"r\",algorithm=md5-sess",                   /* no nonce */
		"nonce=\"n\",algorithm=md5",                        /* another algorithm */
		"nonce=\"n\",algorithm=md5-sess,qop=\"auth-conf\"", /* encryption only */
		"nonce=\"never closed,algorithm=md5-sess",
		"nonce",
	};

	for (size_t i = 0; i < PK_COUNT(bad); i++) {
		struct zkc_sasl_digest *d = begin();
		struct pk_buf out = PK_BUF_INIT;

		assert_true(step(d, bad[i], &out) < 0);
		pk_buf_release(&out);
		zkc_sasl_digest_free(d);
	}
}

static void test_a_server_without_sasl_is_refused(void **state)
{
	(void)state;
	struct zkc_sasl_digest *d = begin();
	struct pk_buf out = PK_BUF_INIT;

	assert_int_equal(zkc_sasl_digest_ops.step(d, PK_BYTES_NONE, &out), PK_EAUTH);
	pk_buf_release(&out);
	zkc_sasl_digest_free(d);
}

static void test_names_that_could_be_read_two_ways_are_refused(void **state)
{
	(void)state;
	struct pk_err err = PK_ERR_INIT;

	assert_null(zkc_sasl_digest_new("b\xc3\xb6"
					"b",
					"x", &err));
	assert_null(zkc_sasl_digest_new("", "x", &err));
	assert_null(zkc_sasl_digest_new("bob", "a\nb", &err));
	assert_int_equal(err.code, PK_EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers_are_those_of_the_rfc),
		cmocka_unit_test(test_a_server_that_knows_the_password_is_believed),
		cmocka_unit_test(test_a_server_that_does_not_know_the_password_is_not),
		cmocka_unit_test(test_challenges_that_cannot_be_answered_fail),
		cmocka_unit_test(test_a_server_without_sasl_is_refused),
		cmocka_unit_test(test_names_that_could_be_read_two_ways_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
