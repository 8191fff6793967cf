/* clang-format off */
#include "tests/lib/test.h"
/* clang-format on */

#include "zkproto/path.h"

#define S(text) pk_bytes_str(text)

/* The verdicts are those of PathUtils.validatePath 3.8.0 (asked once for these and 44,000 more). */
static void test_paths_are_judged_as_java_does(void **state)
{
	(void)state;
	static const struct {
		const char *path;
		bool plain, sequential;
	} rows[] = {
		{ "/", true, true },
		{ "", false, false },
		{ "a", false, false },
		{ "/a", true, true },
		{ "/a/", false, true },
		{ "/a//b", false, false },
		{ "//", false, false },
		{ "/.", false, true },
		{ "/..", false, true },
		{ "/./a", false, false },
		{ "/a/../b", false, false },
		{ "/...", true, true },
		{ "/.a", true, true },
		{ "/a..", true, true },
		{ "/a\x01", false, false },
		{ "/a\x1f", false, false },
		{ "/a b~", true, true },
		{ "/a\x7f", false, false },
		{ "/\xc2\x9f", false, false },               /* U+009F */
		{ "/\xc2\xa0", true, true },                 /* U+00A0 */
		{ "/\xed\x9f\xbf", true, true },             /* U+D7FF */
		{ "/\xed\xa0\x80", false, false },           /* a surrogate: malformed */
		{ "/\xee\x80\x80", false, false },           /* U+E000 */
		{ "/\xef\xa3\xbf", false, false },           /* U+F8FF */
		{ "/\xef\xa4\x80", true, true },             /* U+F900 */
		{ "/\xef\xbf\xaf", true, true },             /* U+FFEF */
		{ "/\xef\xbf\xb0", false, false },           /* U+FFF0 */
		{ "/\xf0\x9f\x98\x80", false, false },       /* outside the BMP */
		{ "/\xc0\x80", false, false },               /* overlong */
		{ "/\xe4\xb8\xad\xe6\x96\x87", true, true }, /* U+4E2D U+6587 */
		{ "/\xe4\xb8", false, false },               /* cut */
		{ "/\x80", false, false },
	};

	for (size_t i = 0; i < PK_COUNT(rows); i++) {
		assert_int_equal(zk_path_check(S(rows[i].path), false) == ZK_PATH_OK,
				 rows[i].plain);
		assert_int_equal(zk_path_check(S(rows[i].path), true) == ZK_PATH_OK,
				 rows[i].sequential);
	}
	assert_int_equal(zk_path_check(pk_bytes("/a\0b", 4), false), ZK_PATH_CHARACTER);
	assert_int_equal(zk_path_check(PK_BYTES_NONE, false), ZK_PATH_NULL);
}

/* Eight bytes are looked at together: what one of them is must not hide in what the others are. */
static void test_a_byte_is_judged_alike_wherever_it_is(void **state)
{
	static const uint8_t others[] = { ' ', 'a', '~' };
	uint8_t path[20];

	(void)state;
	for (size_t o = 0; o < PK_COUNT(others); o++) {
		for (size_t at = 1; at < sizeof(path); at++) {
			for (unsigned int b = 0; b < 256; b++) {
				memset(path, others[o], sizeof(path));
				path[0] = '/';
				path[at] = (uint8_t)b;
				bool last_slash = b == '/' && (at == 1 || at == sizeof(path) - 1);

				assert_int_equal(zk_path_valid(pk_bytes(path, sizeof(path))),
						 b >= 0x20 && b < 0x7f && !last_slash);
			}
		}
	}
}

static void test_paths_come_apart_and_stay_borrowed(void **state)
{
	(void)state;
	assert_true(pk_bytes_is(zk_path_parent(S("/a/b")), "/a"));
	assert_true(pk_bytes_is(zk_path_parent(S("/a")), "/"));
	assert_true(pk_bytes_is(zk_path_parent(S("/")), "/"));
	assert_true(pk_bytes_is(zk_path_name(S("/a/bc")), "bc"));
	assert_int_equal(zk_path_name(S("/")).len, 0);
	assert_int_equal(zk_path_depth(S("/")), 0);
	assert_int_equal(zk_path_depth(S("/a/b/c")), 3);
}

static void test_names_come_from_the_left(void **state)
{
	(void)state;
	struct pk_bytes rest = S("/one/2/three"), name;

	assert_true(zk_path_next(&rest, &name) && pk_bytes_is(name, "one"));
	assert_true(zk_path_next(&rest, &name) && pk_bytes_is(name, "2"));
	assert_true(zk_path_next(&rest, &name) && pk_bytes_is(name, "three"));
	assert_false(zk_path_next(&rest, &name));
}

static void test_under_means_whole_names(void **state)
{
	(void)state;
	assert_true(zk_path_under(S("/a/b"), S("/a")));
	assert_true(zk_path_under(S("/a"), S("/a")));
	assert_true(zk_path_under(S("/a"), S("/")));
	assert_false(zk_path_under(S("/ab"), S("/a")));
	assert_false(zk_path_under(S("/"), S("/a")));
}

static void test_a_chroot_goes_on_and_comes_off(void **state)
{
	(void)state;
	static const struct {
		const char *chroot, *client, *server;
	} rows[] = {
		{ "", "/", "/" },           { "", "/x", "/x" },
		{ "/app", "/", "/app" },    { "/app", "/x/y", "/app/x/y" },
		{ "/a/b", "/c", "/a/b/c" },
	};
	struct pk_bytes back;

	for (size_t i = 0; i < PK_COUNT(rows); i++) {
		struct pk_buf out = PK_BUF_INIT;

		zk_path_add_chroot(&out, S(rows[i].chroot), S(rows[i].client));
		assert_true(pk_bytes_is(pk_buf_bytes(&out), rows[i].server));
		assert_true(zk_path_strip_chroot(S(rows[i].chroot), pk_buf_bytes(&out), &back));
		assert_true(pk_bytes_is(back, rows[i].client));
		pk_buf_release(&out);
	}
	assert_false(zk_path_strip_chroot(S("/app"), S("/apple"), &back));
	assert_false(zk_path_strip_chroot(S("/app"), S("/"), &back));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_paths_are_judged_as_java_does),
		cmocka_unit_test(test_a_byte_is_judged_alike_wherever_it_is),
		cmocka_unit_test(test_paths_come_apart_and_stay_borrowed),
		cmocka_unit_test(test_names_come_from_the_left),
		cmocka_unit_test(test_under_means_whole_names),
		cmocka_unit_test(test_a_chroot_goes_on_and_comes_off),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
