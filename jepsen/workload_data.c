/* Workloads over data: register, set, counter, queue, bank. */
#include "jepsen/workload.h"

#include <inttypes.h>
#include <stdio.h>

#define REGISTERS    5
#define SET_SIZE     100 /* members of one set; then the next is begun */
#define COUNTER_SIZE 500
#define QUEUE_LOOK   10 /* elements at the front among which a taker picks */
#define VALUE_BYTES  48

static void path_of(char *out, const char *folder, uint64_t number)
{
	pk_ignore(snprintf(out, WORKLOAD_PATH_BYTES, "%s/%" PRIu64, folder, number), "it fits");
}

/* ---- register ---- */

void register_setup(struct client *c)
{
	char path[WORKLOAD_PATH_BYTES];

	call_create(c, "/register", PK_BYTES_NONE, ZK_CREATE_PERSISTENT, NULL, 0);
	for (uint64_t i = 0; i < REGISTERS; i++) {
		path_of(path, "/register", i);
		call_create(c, path, pk_bytes_str("0"), ZK_CREATE_PERSISTENT, NULL, 0);
	}
}

/* A write on condition of the version just read: compare and set. */
static void register_swap(struct client *c, const struct zkc_result *r, int64_t arg)
{
	char path[WORKLOAD_PATH_BYTES], room[VALUE_BYTES];

	if (r->err != ZK_OK)
		return;
	path_of(path, "/register", (uint64_t)arg);
	call_set(c, path, client_value(c, room), r->stat->version, NULL, 0);
}

void register_step(struct client *c)
{
	char path[WORKLOAD_PATH_BYTES], room[VALUE_BYTES];
	uint64_t what = client_below(c, 100), which = client_below(c, REGISTERS);

	path_of(path, "/register", which);
	if (what < 40) {
		call_get(c, path, false, NULL, 0);
	} else if (what < 70) {
		call_set(c, path, client_value(c, room), ZK_VERSION_ANY, NULL, 0);
	} else if (what < 85) {
		call_get(c, path, false, register_swap, (int64_t)which);
	} else {
		call_sync(c, path, NULL, 0);
		call_get(c, path, false, NULL, 0);
	}
}

/* ---- set ---- */

/* All clients add to the same sets, each at the one that its own count says. */
void set_setup(struct client *c)
{
	call_create(c, "/set", PK_BYTES_NONE, ZK_CREATE_PERSISTENT, NULL, 0);
	call_create(c, "/set/0", PK_BYTES_NONE, ZK_CREATE_PERSISTENT, NULL, 0);
}

static uint64_t set_now(struct client *c)
{
	return c->unique / (SET_SIZE / 10);
}

void set_step(struct client *c)
{
	char folder[WORKLOAD_PATH_BYTES], path[WORKLOAD_PATH_BYTES + VALUE_BYTES],
		room[VALUE_BYTES];
	uint64_t what = client_below(c, 100);

	path_of(folder, "/set", set_now(c));
	if (what < 60) {
		struct pk_bytes value = client_value(c, room);

		if (c->unique % (SET_SIZE / 10) == 0) {
			path_of(folder, "/set", set_now(c));
			call_create(c, folder, PK_BYTES_NONE, ZK_CREATE_PERSISTENT, NULL, 0);
		}
		pk_ignore(snprintf(path, sizeof(path), "%s/%.*s", folder, (int)value.len,
				   (const char *)value.data),
			  "it fits");
		call_create(c, path, value, ZK_CREATE_PERSISTENT, NULL, 0);
	} else if (what < 90) {
		call_children(c, folder, false, NULL, 0);
	} else {
		call_sync(c, folder, NULL, 0);
		call_children(c, folder, false, NULL, 0);
	}
}

/* ---- counter ---- */

void counter_setup(struct client *c)
{
	call_create(c, "/counter", pk_bytes_str("0"), ZK_CREATE_PERSISTENT, NULL, 0);
	call_create(c, "/sequence", PK_BYTES_NONE, ZK_CREATE_PERSISTENT, NULL, 0);
	call_create(c, "/sequence/0", PK_BYTES_NONE, ZK_CREATE_PERSISTENT, NULL, 0);
}

static void counter_add(struct client *c, const struct zkc_result *r, int64_t arg)
{
	char text[VALUE_BYTES];
	uint64_t value = 0;

	pk_ignore(arg, "there is one counter");
	if (r->err != ZK_OK)
		return;
	for (size_t i = 0; i < r->data.len && i < 18; i++)
		value = value * 10 + (uint64_t)(r->data.data[i] - '0');
	pk_ignore(snprintf(text, sizeof(text), "%" PRIu64, value + 1), "it fits");
	call_set(c, "/counter", pk_bytes_str(text), r->stat->version, NULL, 0);
}

void counter_step(struct client *c)
{
	char folder[WORKLOAD_PATH_BYTES], path[WORKLOAD_PATH_BYTES + 8], room[VALUE_BYTES];
	uint64_t what = client_below(c, 100), part = c->unique / (COUNTER_SIZE / 10);

	path_of(folder, "/sequence", part);
	pk_ignore(snprintf(path, sizeof(path), "%s/n-", folder), "it fits");
	if (what < 50) {
		struct pk_bytes value = client_value(c, room);

		if (c->unique % (COUNTER_SIZE / 10) == 0) {
			path_of(folder, "/sequence", c->unique / (COUNTER_SIZE / 10));
			call_create(c, folder, PK_BYTES_NONE, ZK_CREATE_PERSISTENT, NULL, 0);
		}
		call_create(c, path, value, ZK_CREATE_SEQUENTIAL, NULL, 0);
	} else if (what < 70) {
		call_get(c, "/counter", false, counter_add, 0);
	} else if (what < 80) {
		call_children_number(c, folder, NULL, 0);
	} else if (what < 90) {
		call_sync(c, "/counter", NULL, 0);
		call_get(c, "/counter", false, NULL, 0);
	} else {
		call_exists(c, folder, false, NULL, 0);
	}
}

/* ---- queue ---- */

void queue_setup(struct client *c)
{
	call_create(c, "/queue", PK_BYTES_NONE, ZK_CREATE_PERSISTENT, NULL, 0);
}

/* Names sort by their numbers: take one of the first, not always the very first, so that takers
 * meet each other often but not only. */
static void queue_take(struct client *c, const struct zkc_result *r, int64_t arg)
{
	char first[QUEUE_LOOK][64], path[WORKLOAD_PATH_BYTES];
	struct zk_strings left = r->names;
	struct pk_bytes name;
	size_t count = 0;

	pk_ignore(arg, "there is one queue");
	if (r->err != ZK_OK)
		return;
	while (zk_strings_next(&left, &name)) {
		char text[64];
		size_t i = count;

		if (name.len >= sizeof(text))
			continue;
		memcpy(text, name.data, name.len);
		text[name.len] = '\0';
		if (count == QUEUE_LOOK && strcmp(text, first[count - 1]) >= 0)
			continue;
		if (count < QUEUE_LOOK)
			count++;
		else
			i = count - 1;
		for (; i > 0 && strcmp(text, first[i - 1]) < 0; i--)
			memcpy(first[i], first[i - 1], sizeof(first[i]));
		memcpy(first[i], text, sizeof(text));
	}
	if (count == 0)
		return;
	size_t which = client_chance(c, 60) ? 0 : client_below(c, count);

	pk_ignore(snprintf(path, sizeof(path), "/queue/%.63s", first[which]), "it fits");
	call_get(c, path, false, NULL, 0);
	call_delete(c, path, ZK_VERSION_ANY, NULL, 0);
}

void queue_step(struct client *c)
{
	char room[VALUE_BYTES];

	if (client_chance(c, 45))
		call_create(c, "/queue/e-", client_value(c, room), ZK_CREATE_SEQUENTIAL, NULL, 0);
	else
		call_children(c, "/queue", false, queue_take, 0);
}

/* ---- bank ---- */

void bank_setup(struct client *c)
{
	char path[WORKLOAD_PATH_BYTES], text[VALUE_BYTES];

	pk_ignore(snprintf(text, sizeof(text), "%d", WORKLOAD_BANK_DEPOSIT), "it fits");
	call_create(c, "/bank", PK_BYTES_NONE, ZK_CREATE_PERSISTENT, NULL, 0);
	for (uint64_t i = 0; i < WORKLOAD_BANK_COUNT; i++) {
		path_of(path, "/bank", i);
		call_create(c, path, pk_bytes_str(text), ZK_CREATE_PERSISTENT, NULL, 0);
	}
}

/* What one multiRead says of all accounts; false when it is not whole. */
static bool bank_read(const struct zkc_result *r, int64_t *balance, int32_t *version)
{
	struct zk_rd rd = r->multi;
	struct zk_multi_result one;
	size_t count = 0;

	while (zk_multi_result_next(&rd, &one) == 1) {
		if (one.type != ZK_OP_GET_DATA || count == WORKLOAD_BANK_COUNT)
			return false;
		struct pk_bytes text = one.u.get_data.data;

		balance[count] = 0;
		for (size_t i = 0; i < text.len && i < 9; i++)
			balance[count] = balance[count] * 10 + (text.data[i] - '0');
		version[count++] = one.u.get_data.stat.version;
	}
	return count == WORKLOAD_BANK_COUNT;
}

static void bank_set(struct call_multi *m, uint64_t account, int64_t balance, int32_t version)
{
	char path[WORKLOAD_PATH_BYTES], text[VALUE_BYTES];

	path_of(path, "/bank", account);
	pk_ignore(snprintf(text, sizeof(text), "%" PRId64, balance), "it fits");
	call_multi_set(m, path, pk_bytes_str(text), version);
}

static void bank_transfer(struct client *c, const struct zkc_result *r, int64_t arg)
{
	int64_t balance[WORKLOAD_BANK_COUNT];
	int32_t version[WORKLOAD_BANK_COUNT];
	uint64_t from = client_below(c, WORKLOAD_BANK_COUNT);
	uint64_t to = (from + 1 + client_below(c, WORKLOAD_BANK_COUNT - 1)) % WORKLOAD_BANK_COUNT;
	struct call_multi *m;
	int64_t sum;

	pk_ignore(arg, "there is one bank");
	if (r->err != ZK_OK || !bank_read(r, balance, version) || balance[from] <= 0)
		return;
	sum = 1 + (int64_t)client_below(c, (uint64_t)balance[from]);
	m = call_multi_new(c);
	bank_set(m, from, balance[from] - sum, version[from]);
	bank_set(m, to, balance[to] + sum, version[to]);
	call_multi_send(m, NULL, 0);
}

void bank_step(struct client *c)
{
	char path[WORKLOAD_PATH_BYTES];
	struct call_multi *m = call_multi_new(c);

	for (uint64_t i = 0; i < WORKLOAD_BANK_COUNT; i++) {
		path_of(path, "/bank", i);
		call_multi_get(m, path);
	}
	call_multi_send(m, client_chance(c, 60) ? bank_transfer : NULL, 0);
}
