#include "tests/lib/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "store/memory_io.h"

/* A /proc and a /sys of our own. */
static void put(const char *root, const char *path, const char *text)
{
	char command[600];
	char file[400];

	snprintf(file, sizeof(file), "%s/%s", root, path);
	snprintf(command, sizeof(command), "mkdir -p \"$(dirname '%s')\"", file);
	assert_int_equal(system(command), 0);
	FILE *f = fopen(file, "we");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static uint64_t with(const char *const files[][2])
{
	char root[] = "/tmp/test-memory-XXXXXX", command[64];

	assert_non_null(mkdtemp(root));
	for (size_t i = 0; files[i][0] != NULL; i++)
		put(root, files[i][0], files[i][1]);
	uint64_t bytes = memory_may_have(root);
	snprintf(command, sizeof(command), "rm -rf '%s'", root);
	assert_int_equal(system(command), 0);
	return bytes;
}

static uint64_t machine(void)
{
	return (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void test_without_groups_it_is_the_machines(void **state)
{
	(void)state;
	assert_int_equal(with((const char *const[][2]){ { NULL, NULL } }), machine());
}

static void test_the_tightest_group_above_counts(void **state)
{
	(void)state;
	assert_int_equal(
		with((const char *const[][2]){
			{ "proc/self/cgroup", "0::/system.slice/paddock.service\n" },
			{ "sys/fs/cgroup/memory.max", "max\n" },
			{ "sys/fs/cgroup/system.slice/memory.max", "100000000\n" },
			{ "sys/fs/cgroup/system.slice/paddock.service/memory.max", "200000000\n" },
			{ NULL, NULL } }),
		100000000);
}

static void test_a_group_without_a_limit_is_none(void **state)
{
	(void)state;
	assert_int_equal(with((const char *const[][2]){ { "proc/self/cgroup", "0::/a\n" },
							{ "sys/fs/cgroup/a/memory.max", "max\n" },
							{ NULL, NULL } }),
			 machine());
}

static void test_groups_of_version_1_are_read(void **state)
{
	(void)state;
	assert_int_equal(
		with((const char *const[][2]){
			{ "proc/self/cgroup", "9:cpu,cpuacct:/x\n8:hugetlb,memory:/a/b\n" },
			{ "sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n" },
			{ "sys/fs/cgroup/memory/a/memory.limit_in_bytes", "67108864\n" },
			{ "sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "134217728\n" },
			{ NULL, NULL } }),
		67108864);
}

static void test_what_slows_a_group_down_is_a_limit_as_well(void **state)
{
	(void)state;
	assert_int_equal(
		with((const char *const[][2]){ { "proc/self/cgroup", "0::/a\n" },
					       { "sys/fs/cgroup/a/memory.max", "134217728\n" },
					       { "sys/fs/cgroup/a/memory.high", "100663296\n" },
					       { NULL, NULL } }),
		100663296);
}

static void test_a_path_that_is_the_hosts_leaves_the_mounted_group(void **state)
{
	(void)state;
	assert_int_equal(with((const char *const[][2]){
				 { "proc/self/cgroup", "8:memory:/docker/0123\n" },
				 { "sys/fs/cgroup/memory/memory.limit_in_bytes", "67108864\n" },
				 { NULL, NULL } }),
			 67108864);
}

static void test_what_cannot_be_read_limits_nothing(void **state)
{
	(void)state;
	assert_int_equal(with((const char *const[][2]){
				 { "proc/self/cgroup", "no colons\n1:\n0::/a\n8:memoryx,mem:/b\n" },
				 { "sys/fs/cgroup/a/memory.max", "" },
				 { "sys/fs/cgroup/memory/b/memory.limit_in_bytes", "1\n" },
				 { NULL, NULL } }),
			 machine());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_without_groups_it_is_the_machines),
		cmocka_unit_test(test_the_tightest_group_above_counts),
		cmocka_unit_test(test_a_group_without_a_limit_is_none),
		cmocka_unit_test(test_groups_of_version_1_are_read),
		cmocka_unit_test(test_what_slows_a_group_down_is_a_limit_as_well),
		cmocka_unit_test(test_a_path_that_is_the_hosts_leaves_the_mounted_group),
		cmocka_unit_test(test_what_cannot_be_read_limits_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
