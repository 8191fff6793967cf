#include "tests/lib/test.h"

#include "store/client_io.h"

static void test_digest_makes_an_identity_of_name_and_password(void **state)
{
	struct clients_config cfg = { .digest_alg = "SHA1" };
	struct server_auth_result r = { 0 };

	(void)state;
	client_auth_digest(&cfg, pk_bytes_str("super:test"), &r);
	assert_true(r.ok);
	assert_int_equal(r.count, 1);
	assert_string_equal(r.ids[0].scheme, "digest");
	assert_string_equal(r.ids[0].id, "super:D/InIHSb7yEEbrWz8b9l71RjZJU=");
	/* the same text in the configuration makes it the superuser as well */
	cfg.super_digest = "super:D/InIHSb7yEEbrWz8b9l71RjZJU=";
	r = (struct server_auth_result){ 0 };
	client_auth_digest(&cfg, pk_bytes_str("super:test"), &r);
	assert_int_equal(r.count, 2);
	assert_string_equal(r.ids[1].scheme, "super");
}

static void test_digest_of_null_is_refused_and_of_nothing_is_not(void **state)
{
	struct clients_config cfg = { .digest_alg = "SHA1" };
	struct server_auth_result r = { 0 };

	(void)state;
	client_auth_digest(&cfg, PK_BYTES_NONE, &r);
	assert_false(r.ok);
	assert_int_equal(r.count, 0);
	client_auth_digest(&cfg, pk_bytes_str(""), &r);
	assert_true(r.ok);
	assert_string_equal(r.ids[0].id, ":2jmj7l5rSw0yVb/vlWAYkK/YBwk=");
}

static void test_digest_refuses_a_nul_and_what_was_switched_off(void **state)
{
	struct clients_config cfg = { .digest_alg = "SHA1" };
	struct server_auth_result r = { 0 };

	(void)state;
	client_auth_digest(&cfg, pk_bytes("a\0b:c", 5), &r);
	assert_false(r.ok);
	cfg.digest_disabled = true;
	client_auth_digest(&cfg, pk_bytes_str("a:b"), &r);
	assert_false(r.ok);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_digest_makes_an_identity_of_name_and_password),
		cmocka_unit_test(test_digest_of_null_is_refused_and_of_nothing_is_not),
		cmocka_unit_test(test_digest_refuses_a_nul_and_what_was_switched_off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
