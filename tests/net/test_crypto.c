#include "tests/net/net_test.h"

#include "net/crypto.h"

static void hex(char *out, const uint8_t *in, size_t len)
{
	for (size_t i = 0; i < len; i++)
		sprintf(out + 2 * i, "%02x", in[i]);
}

static void test_digests_are_the_published_ones(void **state)
{
	static const struct {
		const char *name, *want;
	} known[] = {
		{ "SHA1", "a9993e364706816aba3e25717850c26c9cd0d89d" },
		{ "MD5", "900150983cd24fb0d6963f7d28e17f72" },
		{ "SHA256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
		{ "SHA512-256",
		  "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23" },
	};
	uint8_t out[NET_DIGEST_BYTES_MAX];
	struct pk_err err = PK_ERR_INIT;
	char text[2 * NET_DIGEST_BYTES_MAX + 1];

	(void)state;
	for (size_t i = 0; i < PK_COUNT(known); i++) {
		int len = net_digest(known[i].name, pk_bytes_str("abc"), out, &err);
		assert_int_equal(len, strlen(known[i].want) / 2);
		hex(text, out, (size_t)len);
		assert_string_equal(text, known[i].want);
	}
	assert_int_equal(net_digest("NO-SUCH", PK_BYTES_NONE, out, &err), PK_EINVAL);
	assert_string_equal(err.text, "digest NO-SUCH is not known");
	assert_int_equal(net_digest("SHA1", PK_BYTES_NONE, out, &err), 20);
}

static void test_hmac_is_the_published_one(void **state)
{
	uint8_t out[32];
	char text[65];

	(void)state;
	/* RFC 4231, test case 2 */
	net_hmac_sha256(pk_bytes_str("Jefe"), pk_bytes_str("what do ya want for nothing?"), out);
	hex(text, out, sizeof(out));
	assert_string_equal(text,
			    "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	net_hmac_sha256(PK_BYTES_NONE, PK_BYTES_NONE, out);
}

static void test_base64_there_and_back(void **state)
{
	/* RFC 4648, section 10 */
	static const char *const known[][2] = { { "", "" },
						{ "f", "Zg==" },
						{ "fo", "Zm8=" },
						{ "foo", "Zm9v" },
						{ "foob", "Zm9vYg==" },
						{ "fooba", "Zm9vYmE=" },
						{ "foobar", "Zm9vYmFy" } };
	struct pk_buf b = PK_BUF_INIT;

	(void)state;
	for (size_t i = 0; i < PK_COUNT(known); i++) {
		pk_buf_clear(&b);
		pk_buf_add_str(&b, "kept");
		net_base64_encode(pk_bytes_str(known[i][0]), &b);
		assert_string_equal(pk_buf_str(&b) + 4, known[i][1]);
		pk_buf_clear(&b);
		pk_buf_add_str(&b, "kept");
		assert_int_equal(net_base64_decode(pk_bytes_str(known[i][1]), &b, NULL), 0);
		assert_string_equal(pk_buf_str(&b) + 4, known[i][0]);
	}
	pk_buf_release(&b);
}

static void test_what_is_not_base64_is_refused(void **state)
{
	static const char *const bad[] = { "Zg=",  "Zg",       "Zg==\n",   "Z===",
					   "====", "Zm9v Zm9", "Zm\xffv",  "=m9v",
					   "Z=9v", " Zm9",     "Zm8=Zm8=", "Zm9-" };
	struct pk_buf b = PK_BUF_INIT;

	(void)state;
	for (size_t i = 0; i < PK_COUNT(bad); i++)
		assert_int_equal(net_base64_decode(pk_bytes_str(bad[i]), &b, NULL), PK_EINVAL);
	assert_int_equal(b.len, 0);
	pk_buf_release(&b);
}

static void test_secrets_are_equal_or_not(void **state)
{
	(void)state;
	assert_true(net_secret_eq(pk_bytes_str("secret"), pk_bytes_str("secret")));
	assert_false(net_secret_eq(pk_bytes_str("secret"), pk_bytes_str("secreT")));
	assert_false(net_secret_eq(pk_bytes_str("secret"), pk_bytes_str("secret ")));
	assert_true(net_secret_eq(PK_BYTES_NONE, PK_BYTES_NONE));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_digests_are_the_published_ones),
		cmocka_unit_test(test_hmac_is_the_published_one),
		cmocka_unit_test(test_base64_there_and_back),
		cmocka_unit_test(test_what_is_not_base64_is_refused),
		cmocka_unit_test(test_secrets_are_equal_or_not),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
