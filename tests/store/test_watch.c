#include "tests/lib/test.h"

#include <stdio.h>

#include "base/mem.h"
#include "store/watch.h"
#include "zkproto/zk.h"

struct ear {
	struct watcher w;
	char heard[256];
};

static void tell(void *owner, int32_t event, struct pk_bytes path, void *arg)
{
	struct ear *e = owner;
	size_t len = strlen(e->heard);

	(void)arg;
	snprintf(e->heard + len, sizeof(e->heard) - len, "%d%.*s ", event, (int)path.len,
		 (const char *)path.data);
}

struct fixture {
	struct watch_table *t;
	struct ear a, b;
};

static int set_up(void **state)
{
	struct fixture *f = pk_alloc(sizeof(*f));

	f->t = watch_table_new(1000);
	watcher_init(&f->a.w, &f->a);
	watcher_init(&f->b.w, &f->b);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	watch_check(f->t);
	watcher_drop(f->t, &f->a.w);
	watcher_drop(f->t, &f->b.w);
	watch_table_free(f->t);
	free(f);
	return 0;
}

static void add(struct fixture *f, struct ear *e, const char *path, enum watch_mode mode)
{
	assert_true(watch_add(f->t, &e->w, pk_bytes_str(path), mode));
}

static size_t fire(struct fixture *f, int32_t event, const char *path)
{
	size_t told = watch_fire(f->t, event, pk_bytes_str(path), tell, NULL);

	watch_check(f->t);
	return told;
}

static void test_data_watch_fires_once(void **state)
{
	struct fixture *f = *state;

	add(f, &f->a, "/x", WATCH_DATA);
	assert_int_equal(fire(f, ZK_EVENT_CHILDREN_CHANGED, "/x"), 0);
	assert_int_equal(fire(f, ZK_EVENT_DATA_CHANGED, "/x"), 1);
	assert_int_equal(fire(f, ZK_EVENT_DATA_CHANGED, "/x"), 0);
	assert_string_equal(f->a.heard, "3/x ");
	assert_int_equal(watch_count(f->t), 0);
}

static void test_delete_tells_data_and_child_watcher_once(void **state)
{
	struct fixture *f = *state;

	add(f, &f->a, "/x", WATCH_DATA);
	add(f, &f->a, "/x", WATCH_CHILD);
	add(f, &f->b, "/x", WATCH_CHILD);
	assert_int_equal(fire(f, ZK_EVENT_DELETED, "/x"), 2);
	assert_string_equal(f->a.heard, "2/x ");
	assert_string_equal(f->b.heard, "2/x ");
	assert_int_equal(watch_count(f->t), 0);
}

static void test_persistent_watch_stays_and_hears_of_children(void **state)
{
	struct fixture *f = *state;

	add(f, &f->a, "/x", WATCH_PERSISTENT);
	fire(f, ZK_EVENT_CREATED, "/x");
	fire(f, ZK_EVENT_CHILDREN_CHANGED, "/x");
	fire(f, ZK_EVENT_CREATED, "/x/y");
	fire(f, ZK_EVENT_DELETED, "/x");
	assert_string_equal(f->a.heard, "1/x 4/x 2/x ");
	assert_int_equal(watch_modes(f->t, &f->a.w, pk_bytes_str("/x")), WATCH_PERSISTENT);
}

static void test_recursive_watch_hears_of_the_subtree_but_not_of_children(void **state)
{
	struct fixture *f = *state;

	add(f, &f->a, "/x", WATCH_RECURSIVE);
	add(f, &f->b, "/", WATCH_RECURSIVE);
	fire(f, ZK_EVENT_CREATED, "/x/y/z");
	fire(f, ZK_EVENT_CHILDREN_CHANGED, "/x/y");
	fire(f, ZK_EVENT_CREATED, "/xy");
	assert_string_equal(f->a.heard, "1/x/y/z ");
	assert_string_equal(f->b.heard, "1/x/y/z 1/xy ");
}

static void test_one_shot_does_not_cancel_a_persistent_watch(void **state)
{
	struct fixture *f = *state;

	add(f, &f->a, "/x", WATCH_PERSISTENT);
	add(f, &f->a, "/x", WATCH_DATA);
	assert_int_equal(fire(f, ZK_EVENT_DATA_CHANGED, "/x"), 1);
	assert_int_equal(fire(f, ZK_EVENT_DATA_CHANGED, "/x"), 1);
	assert_string_equal(f->a.heard, "3/x 3/x ");
}

static void test_remove_takes_only_what_was_named(void **state)
{
	struct fixture *f = *state;

	add(f, &f->a, "/x", WATCH_DATA);
	add(f, &f->a, "/x", WATCH_CHILD);
	assert_int_equal(
		watch_remove(f->t, &f->a.w, pk_bytes_str("/x"), WATCH_CHILD | WATCH_PERSISTENT),
		WATCH_CHILD);
	assert_int_equal(watch_modes(f->t, &f->a.w, pk_bytes_str("/x")), WATCH_DATA);
	assert_int_equal(watch_remove(f->t, &f->b.w, pk_bytes_str("/x"), WATCH_DATA), 0);
}

static void test_a_second_watch_that_stays_replaces_the_first(void **state)
{
	struct fixture *f = *state;

	add(f, &f->a, "/x", WATCH_RECURSIVE);
	add(f, &f->a, "/x", WATCH_PERSISTENT);
	fire(f, ZK_EVENT_CREATED, "/x/y");
	fire(f, ZK_EVENT_CHILDREN_CHANGED, "/x");
	assert_string_equal(f->a.heard, "4/x ");
	add(f, &f->a, "/x", WATCH_RECURSIVE);
	fire(f, ZK_EVENT_CREATED, "/x/z");
	fire(f, ZK_EVENT_CHILDREN_CHANGED, "/x");
	assert_string_equal(f->a.heard, "4/x 1/x/z ");
	assert_int_equal(watch_modes(f->t, &f->a.w, pk_bytes_str("/x")), WATCH_RECURSIVE);
}

static unsigned remove_type(struct fixture *f, const char *path, int32_t type)
{
	return watch_remove(f->t, &f->a.w, pk_bytes_str(path), watch_modes_of_type(type));
}

static void test_removing_by_type_children_leaves_the_data_half(void **state)
{
	struct fixture *f = *state;

	add(f, &f->a, "/x", WATCH_PERSISTENT);
	assert_int_not_equal(remove_type(f, "/x", 1), 0);
	assert_int_equal(remove_type(f, "/x", 1), 0);
	fire(f, ZK_EVENT_CHILDREN_CHANGED, "/x");
	fire(f, ZK_EVENT_DATA_CHANGED, "/x");
	fire(f, ZK_EVENT_DELETED, "/x");
	assert_string_equal(f->a.heard, "3/x 2/x ");
	assert_int_not_equal(remove_type(f, "/x", 2), 0);
	assert_int_equal(watch_count(f->t), 0);
}

static void test_removing_by_type_data_leaves_the_child_half(void **state)
{
	struct fixture *f = *state;

	add(f, &f->a, "/x", WATCH_PERSISTENT);
	add(f, &f->a, "/r", WATCH_RECURSIVE);
	assert_int_not_equal(remove_type(f, "/x", 2), 0);
	assert_int_not_equal(remove_type(f, "/r", 2), 0);
	fire(f, ZK_EVENT_CREATED, "/x");
	fire(f, ZK_EVENT_CHILDREN_CHANGED, "/x");
	fire(f, ZK_EVENT_DELETED, "/x");
	/* of a recursive one only the ends of nodes are left */
	fire(f, ZK_EVENT_CREATED, "/r/a");
	fire(f, ZK_EVENT_DATA_CHANGED, "/r");
	fire(f, ZK_EVENT_CHILDREN_CHANGED, "/r");
	fire(f, ZK_EVENT_DELETED, "/r/a");
	assert_string_equal(f->a.heard, "4/x 2/x 2/r/a ");
	assert_int_not_equal(remove_type(f, "/x", 3), 0);
	assert_int_not_equal(remove_type(f, "/r", 3), 0);
	assert_int_equal(watch_count(f->t), 0);
}

static void test_types_of_newer_clients_name_what_stays(void **state)
{
	struct fixture *f = *state;

	add(f, &f->a, "/x", WATCH_PERSISTENT);
	add(f, &f->a, "/x", WATCH_DATA);
	add(f, &f->a, "/r", WATCH_RECURSIVE);
	assert_int_equal(remove_type(f, "/x", 5), 0);
	assert_int_equal(remove_type(f, "/r", 4), 0);
	assert_int_equal(remove_type(f, "/x", 4), WATCH_PERSISTENT);
	assert_int_equal(remove_type(f, "/r", 5), WATCH_RECURSIVE);
	assert_int_equal(watch_modes(f->t, &f->a.w, pk_bytes_str("/x")), WATCH_DATA);
	assert_int_equal(watch_modes_of_type(0) | watch_modes_of_type(6) | watch_modes_of_type(-1),
			 0);
}

static void test_full_table_refuses_a_new_watch(void **state)
{
	struct fixture *f = *state;
	struct watch_table *small = watch_table_new(1);
	struct ear e = { 0 };

	(void)f;
	watcher_init(&e.w, &e);
	assert_true(watch_add(small, &e.w, pk_bytes_str("/a"), WATCH_DATA));
	assert_true(watch_add(small, &e.w, pk_bytes_str("/a"), WATCH_CHILD));
	assert_false(watch_add(small, &e.w, pk_bytes_str("/b"), WATCH_DATA));
	watcher_drop(small, &e.w);
	watch_table_free(small);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_data_watch_fires_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_delete_tells_data_and_child_watcher_once,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_persistent_watch_stays_and_hears_of_children,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_recursive_watch_hears_of_the_subtree_but_not_of_children, set_up,
			tear_down),
		cmocka_unit_test_setup_teardown(test_one_shot_does_not_cancel_a_persistent_watch,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_remove_takes_only_what_was_named, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_a_second_watch_that_stays_replaces_the_first,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_removing_by_type_children_leaves_the_data_half,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_removing_by_type_data_leaves_the_child_half,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_types_of_newer_clients_name_what_stays, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_full_table_refuses_a_new_watch, set_up,
						tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
