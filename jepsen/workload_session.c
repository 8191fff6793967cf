/* Workloads over sessions: lock, election, watches, sessions. */
#include "jepsen/workload.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"

#define VALUE_BYTES     48
#define NUMBER_BYTES    24
#define WATCH_FOLDERS   6
#define WATCH_CHILDREN  4
#define SEQUENCE_DIGITS 10

static int64_t number_of(struct pk_bytes text)
{
	int64_t value = 0;

	for (size_t i = 0; i < text.len && i < 18; i++)
		value = value * 10 + (text.data[i] - '0');
	return value;
}

static struct pk_bytes number_text(char *room, int64_t value)
{
	pk_ignore(snprintf(room, NUMBER_BYTES, "%" PRId64, value), "it fits");
	return pk_bytes_str(room);
}

/* ---- lock ---- */

/*
 *         create                     it is the lowest
 *   IDLE ───────▶ ASKED ──▶ QUEUED ─────────────────▶ HELD ──▶ IDLE
 *                   │ lost    ▲                         writes, then deletes its node
 *                   └▶ LOST ──┘ found by its name, or not: IDLE
 */
enum lock_state { LOCK_IDLE, LOCK_ASKED, LOCK_LOST, LOCK_QUEUED, LOCK_HELD };

struct lock {
	enum lock_state state;
	char name[64];                  /* before the sequence number */
	char node[WORKLOAD_PATH_BYTES]; /* the whole path */
	int64_t fence;                  /* its number: rises from holder to holder */
	uint32_t writes_left;
};

void lock_setup(struct client *c)
{
	call_create(c, "/lock", PK_BYTES_NONE, ZK_CREATE_PERSISTENT, NULL, 0);
	call_create(c, "/fenced", pk_bytes_str("-1"), ZK_CREATE_PERSISTENT, NULL, 0);
}

void lock_begin(struct client *c)
{
	if (c->mine == NULL)
		c->mine = pk_alloc(sizeof(struct lock));
	*(struct lock *)c->mine = (struct lock){ .state = LOCK_IDLE };
}

static int64_t sequence_of(struct pk_bytes name)
{
	if (name.len < SEQUENCE_DIGITS)
		return -1;
	return number_of(pk_bytes(name.data + name.len - SEQUENCE_DIGITS, SEQUENCE_DIGITS));
}

static void lock_made(struct lock *l, struct pk_bytes path)
{
	pk_ignore(
		snprintf(l->node, sizeof(l->node), "%.*s", (int)path.len, (const char *)path.data),
		"it fits, or will not be found");
	l->fence = sequence_of(path);
	l->state = LOCK_QUEUED;
}

/* Who is in the queue: are we the first? Else watch the one before us. */
static void lock_look(struct client *c, const struct zkc_result *r, int64_t arg)
{
	struct lock *l = c->mine;
	struct zk_strings left = r->names;
	struct pk_bytes name, before = PK_BYTES_NONE;
	int64_t mine = -1, nearest = -1;
	char path[WORKLOAD_PATH_BYTES];

	pk_ignore(arg, "there is one lock");
	if (r->err != ZK_OK || (l->state != LOCK_QUEUED && l->state != LOCK_LOST))
		return;
	while (zk_strings_next(&left, &name)) {
		if (pk_bytes_starts(name, pk_bytes_str(l->name)))
			mine = sequence_of(name);
	}
	if (mine < 0) {
		l->state = LOCK_IDLE; /* it was never made, or is gone */
		return;
	}
	if (l->state == LOCK_LOST) {
		pk_ignore(snprintf(path, sizeof(path), "/lock/%s%010" PRId64, l->name, mine),
			  "it fits");
		lock_made(l, pk_bytes_str(path));
	}
	left = r->names;
	while (zk_strings_next(&left, &name)) {
		int64_t other = sequence_of(name);

		if (other < mine && other > nearest) {
			nearest = other;
			before = name;
		}
	}
	if (nearest < 0) {
		l->state = LOCK_HELD;
		l->writes_left = 1 + (uint32_t)client_below(c, 4);
		return;
	}
	pk_ignore(snprintf(path, sizeof(path), "/lock/%.*s", (int)before.len,
			   (const char *)before.data),
		  "it fits, or is not watched, and looked at later");
	call_exists(c, path, true, NULL, 0);
}

static void lock_created(struct client *c, const struct zkc_result *r, int64_t arg)
{
	struct lock *l = c->mine;

	pk_ignore(arg, "there is one lock");
	if (l->state != LOCK_ASKED)
		return;
	if (r->err == ZK_OK)
		lock_made(l, r->path);
	else
		l->state = r->err == ZK_ECONNECTIONLOSS ? LOCK_LOST : LOCK_IDLE;
}

static void lock_released(struct client *c, const struct zkc_result *r, int64_t arg)
{
	struct lock *l = c->mine;

	pk_ignore(arg, "there is one lock");
	if (l->state == LOCK_HELD && (r->err == ZK_OK || r->err == ZK_ENONODE))
		l->state = LOCK_IDLE;
}

/* The write that the lock guards: it holds only while our node is there. */
static void lock_write(struct client *c, struct lock *l)
{
	struct call_multi *m = call_multi_new(c);
	char room[NUMBER_BYTES];

	call_multi_check(m, l->node, ZK_VERSION_ANY);
	call_multi_set(m, "/fenced", number_text(room, l->fence), ZK_VERSION_ANY);
	call_multi_send(m, NULL, 0);
	l->writes_left--;
}

void lock_step(struct client *c)
{
	struct lock *l = c->mine;
	char path[WORKLOAD_PATH_BYTES], room[VALUE_BYTES];

	if (client_chance(c, 25)) {
		call_get(c, "/fenced", false, NULL, 0);
		return;
	}
	switch (l->state) {
	case LOCK_IDLE: {
		struct pk_bytes value = client_value(c, room);

		pk_ignore(snprintf(l->name, sizeof(l->name), "%.*s-", (int)value.len,
				   (const char *)value.data),
			  "it fits");
		pk_ignore(snprintf(path, sizeof(path), "/lock/%s", l->name), "it fits");
		l->state = LOCK_ASKED;
		call_create(c, path, value, ZK_CREATE_EPHEMERAL_SEQUENTIAL, lock_created, 0);
		break;
	}
	case LOCK_ASKED:
		break;
	case LOCK_LOST:
	case LOCK_QUEUED:
		call_sync(c, "/lock", NULL, 0);
		call_children(c, "/lock", false, lock_look, 0);
		break;
	case LOCK_HELD:
		if (l->writes_left > 0)
			lock_write(c, l);
		else
			call_delete(c, l->node, ZK_VERSION_ANY, lock_released, 0);
		break;
	}
}

void lock_event(struct client *c, const struct zkc_event *event)
{
	struct lock *l = c->mine;

	if (event->type == ZK_EVENT_DELETED && l->state == LOCK_QUEUED)
		call_children(c, "/lock", false, lock_look, 0);
}

/* ---- election ---- */

struct election {
	bool leads, asked;
	int32_t epoch; /* the version of /election/epoch that is ours */
};

void election_setup(struct client *c)
{
	call_create(c, "/election", PK_BYTES_NONE, ZK_CREATE_PERSISTENT, NULL, 0);
	call_create(c, "/election/epoch", PK_BYTES_NONE, ZK_CREATE_PERSISTENT, NULL, 0);
	call_create(c, "/election/work", pk_bytes_str("0"), ZK_CREATE_PERSISTENT, NULL, 0);
}

void election_begin(struct client *c)
{
	if (c->mine == NULL)
		c->mine = pk_alloc(sizeof(struct election));
	*(struct election *)c->mine = (struct election){ 0 };
}

/* The epoch is ours when its version is the one that our write made. */
static void election_epoch_set(struct client *c, const struct zkc_result *r, int64_t arg)
{
	struct election *e = c->mine;

	pk_ignore(arg, "there is one office");
	if (r->err != ZK_OK)
		return;
	e->leads = true;
	e->epoch = r->stat->version;
}

static void election_epoch_seen(struct client *c, const struct zkc_result *r, int64_t arg)
{
	char room[VALUE_BYTES];

	pk_ignore(arg, "there is one office");
	if (r->err == ZK_OK)
		call_set(c, "/election/epoch", client_value(c, room), r->stat->version,
			 election_epoch_set, 0);
}

static void election_stood(struct client *c, const struct zkc_result *r, int64_t arg)
{
	struct election *e = c->mine;

	pk_ignore(arg, "there is one office");
	e->asked = false;
	if (r->err == ZK_OK)
		call_get(c, "/election/epoch", false, election_epoch_seen, 0);
	else if (r->err == ZK_ENODEEXISTS)
		call_exists(c, "/election/leader", true, NULL, 0);
}

/* A lost answer to our candidacy: the node may be ours all the same. */
static void election_looked(struct client *c, const struct zkc_result *r, int64_t arg)
{
	struct election *e = c->mine;

	pk_ignore(arg, "there is one office");
	if (r->err == ZK_OK && !e->leads && (uint64_t)r->stat->ephemeral_owner == c->session)
		call_get(c, "/election/epoch", false, election_epoch_seen, 0);
}

static void election_worked(struct client *c, const struct zkc_result *r, int64_t arg)
{
	struct election *e = c->mine;

	if (r->err == ZK_EBADVERSION && e->epoch == (int32_t)arg)
		e->leads = false;
}

static void election_resigned(struct client *c, const struct zkc_result *r, int64_t arg)
{
	struct election *e = c->mine;

	pk_ignore(arg, "there is one office");
	if (r->err == ZK_OK || r->err == ZK_ENONODE)
		e->leads = false;
}

static void election_stand(struct client *c, struct election *e)
{
	char room[VALUE_BYTES];

	if (e->asked)
		return;
	e->asked = true;
	call_create(c, "/election/leader", client_value(c, room), ZK_CREATE_EPHEMERAL,
		    election_stood, 0);
}

void election_step(struct client *c)
{
	struct election *e = c->mine;
	char room[NUMBER_BYTES];
	struct call_multi *m;

	if (client_chance(c, 30)) {
		call_get(c, "/election/work", false, NULL, 0);
	} else if (!e->leads && client_chance(c, 30)) {
		election_stand(c, e);
	} else if (!e->leads) {
		call_get(c, "/election/leader", false, election_looked, 0);
	} else if (client_chance(c, 4)) {
		call_delete(c, "/election/leader", ZK_VERSION_ANY, election_resigned, 0);
	} else {
		m = call_multi_new(c);
		call_multi_check(m, "/election/epoch", e->epoch);
		call_multi_set(m, "/election/work", number_text(room, e->epoch), ZK_VERSION_ANY);
		call_multi_send(m, election_worked, e->epoch);
	}
}

void election_event(struct client *c, const struct zkc_event *event)
{
	if (event->type == ZK_EVENT_DELETED)
		election_stand(c, c->mine);
}

/* ---- watches ---- */

/* One kind of lasting watch for each path: a second one of the other kind takes the first one's
 * place, as in ZooKeeper, and a reconnect sets both again. */
static int32_t watch_mode_of(const char *path)
{
	return (path[strlen(path) - 1] - '0') % 2 == 0 ? ZK_ADD_WATCH_PERSISTENT
						       : ZK_ADD_WATCH_RECURSIVE;
}

static void watch_path(struct client *c, char *folder, char *child)
{
	uint64_t i = client_below(c, WATCH_FOLDERS), j = client_below(c, WATCH_CHILDREN);

	pk_ignore(snprintf(folder, WORKLOAD_PATH_BYTES, "/watch/%" PRIu64, i), "it fits");
	pk_ignore(snprintf(child, WORKLOAD_PATH_BYTES, "/watch/%" PRIu64 "/%" PRIu64, i, j),
		  "it fits");
}

void watches_setup(struct client *c)
{
	char path[WORKLOAD_PATH_BYTES];

	call_create(c, "/watch", PK_BYTES_NONE, ZK_CREATE_PERSISTENT, NULL, 0);
	for (int i = 0; i < WATCH_FOLDERS; i++) {
		pk_ignore(snprintf(path, sizeof(path), "/watch/%d", i), "it fits");
		call_create(c, path, PK_BYTES_NONE, ZK_CREATE_PERSISTENT, NULL, 0);
	}
}

void watches_begin(struct client *c)
{
	if (c->index % 3 == 0)
		call_add_watch(c, "/watch", ZK_ADD_WATCH_RECURSIVE, NULL, 0);
	else if (c->index % 3 == 1)
		call_add_watch(c, "/watch/0", ZK_ADD_WATCH_PERSISTENT, NULL, 0);
}

void watches_step(struct client *c)
{
	static const int32_t kinds[] = { ZK_WATCHER_CHILDREN, ZK_WATCHER_DATA, ZK_WATCHER_ANY };
	char folder[WORKLOAD_PATH_BYTES], child[WORKLOAD_PATH_BYTES], room[VALUE_BYTES];
	uint64_t what = client_below(c, 100);

	watch_path(c, folder, child);
	if (what < 15)
		call_create(c, child, client_value(c, room),
			    client_chance(c, 25) ? ZK_CREATE_EPHEMERAL : ZK_CREATE_PERSISTENT, NULL,
			    0);
	else if (what < 28)
		call_delete(c, child, ZK_VERSION_ANY, NULL, 0);
	else if (what < 45)
		call_set(c, client_chance(c, 70) ? child : folder, client_value(c, room),
			 ZK_VERSION_ANY, NULL, 0);
	else if (what < 60)
		call_get(c, client_chance(c, 70) ? child : folder, true, NULL, 0);
	else if (what < 72)
		call_exists(c, child, true, NULL, 0);
	else if (what < 84)
		call_children(c, folder, true, NULL, 0);
	else if (what < 86)
		call_add_watch(c, folder, watch_mode_of(folder), NULL, 0);
	else if (what < 88)
		call_add_watch(c, child, watch_mode_of(child), NULL, 0);
	else if (what < 92)
		call_remove_watches(c, client_chance(c, 50) ? folder : child,
				    kinds[client_below(c, PK_COUNT(kinds))], NULL, 0);
	else
		call_get(c, child, false, NULL, 0);
}

/* ---- sessions ---- */

void sessions_setup(struct client *c)
{
	call_create(c, "/session", PK_BYTES_NONE, ZK_CREATE_PERSISTENT, NULL, 0);
}

/* Looks at one of the nodes that were listed, its own or another's. */
static void session_look(struct client *c, const struct zkc_result *r, int64_t arg)
{
	char path[WORKLOAD_PATH_BYTES];
	struct zk_strings left = r->names;
	struct pk_bytes name;

	if (r->err != ZK_OK || r->names.count == 0)
		return;
	for (uint64_t skip = client_below(c, r->names.count) + 1; skip > 0; skip--)
		if (!zk_strings_next(&left, &name))
			return;
	pk_ignore(snprintf(path, sizeof(path), "/session/%.*s", (int)name.len,
			   (const char *)name.data),
		  "it fits, or is not there");
	if (arg != 0)
		call_delete(c, path, ZK_VERSION_ANY, NULL, 0);
	else
		call_exists(c, path, false, NULL, 0);
}

void sessions_step(struct client *c)
{
	char path[WORKLOAD_PATH_BYTES], room[VALUE_BYTES];
	uint64_t what = client_below(c, 1000);

	if (what < 300) {
		struct pk_bytes value = client_value(c, room);

		pk_ignore(snprintf(path, sizeof(path), "/session/%.*s", (int)value.len,
				   (const char *)value.data),
			  "it fits");
		call_create(c, path, value, ZK_CREATE_EPHEMERAL, NULL, 0);
	} else if (what < 700) {
		call_children(c, "/session", false, session_look, 0);
	} else if (what < 850) {
		call_children(c, "/session", false, session_look, 1);
	} else if (what < 980) {
		call_ephemerals(c, "/session", NULL, 0);
	} else if (what < 990) {
		client_close(c);
	} else {
		client_abandon(c);
	}
}
