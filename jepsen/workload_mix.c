/* Workload mix: everything at once, and what no other workload asks: access lists, containers, time
 * to live. */
#include "jepsen/workload.h"

#include <inttypes.h>
#include <stdio.h>

#define VALUE_BYTES 48
#define MIX_NODES   8

static void mix_path(struct client *c, char *path)
{
	pk_ignore(snprintf(path, WORKLOAD_PATH_BYTES, "/mix/%" PRIu64, client_below(c, MIX_NODES)),
		  "it fits");
}

/* Everybody, with some of the rights; appended to items. */
static struct zk_acls some_rights(struct client *c, struct pk_buf *items)
{
	static const int32_t rights[] = { ZK_PERM_ALL,
					  ZK_PERM_READ | ZK_PERM_ADMIN | ZK_PERM_DELETE,
					  ZK_PERM_ALL & ~ZK_PERM_READ,
					  ZK_PERM_ALL & ~ZK_PERM_WRITE };
	struct zk_acl acl = { .scheme = pk_bytes_str("world"), .id = pk_bytes_str("anyone") };

	acl.perms = rights[client_below(c, PK_COUNT(rights))];
	zk_acl_encode(items, &acl);
	return (struct zk_acls){ .count = 1, .raw = pk_buf_bytes(items) };
}

void mix_setup(struct client *c)
{
	register_setup(c);
	set_setup(c);
	counter_setup(c);
	queue_setup(c);
	bank_setup(c);
	watches_setup(c);
	sessions_setup(c);
	call_create(c, "/mix", PK_BYTES_NONE, ZK_CREATE_PERSISTENT, NULL, 0);
}

void mix_begin(struct client *c)
{
	watches_begin(c);
}

static void mix_own(struct client *c)
{
	char path[WORKLOAD_PATH_BYTES], child[WORKLOAD_PATH_BYTES + 4], room[VALUE_BYTES];
	struct pk_buf items = PK_BUF_INIT;
	uint64_t what = client_below(c, 100);

	mix_path(c, path);
	pk_ignore(snprintf(child, sizeof(child), "%s/c", path), "it fits");
	if (what < 15)
		call_create_acl(c, path, client_value(c, room), some_rights(c, &items),
				ZK_CREATE_PERSISTENT, 0, NULL, 0);
	else if (what < 20)
		call_create_acl(c, path, client_value(c, room), zk_acls_open(), ZK_CREATE_CONTAINER,
				0, NULL, 0);
	else if (what < 25)
		call_create_acl(c, child, client_value(c, room), zk_acls_open(), ZK_CREATE_TTL,
				3600000, NULL, 0);
	else if (what < 40)
		call_set_acl(c, path, some_rights(c, &items), ZK_VERSION_ANY, NULL, 0);
	else if (what < 55)
		call_get_acl(c, path, NULL, 0);
	else if (what < 70)
		call_set(c, path, client_value(c, room), ZK_VERSION_ANY, NULL, 0);
	else if (what < 85)
		call_get(c, path, false, NULL, 0);
	else if (what < 92)
		call_delete(c, child, ZK_VERSION_ANY, NULL, 0);
	else
		call_delete(c, path, ZK_VERSION_ANY, NULL, 0);
	pk_buf_release(&items);
}

void mix_step(struct client *c)
{
	static void (*const steps[])(struct client *) = { register_step, set_step,  counter_step,
							  queue_step,    bank_step, watches_step,
							  sessions_step, mix_own };

	steps[client_below(c, PK_COUNT(steps))](c);
}
