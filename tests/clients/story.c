/*
 * tests/clients/story.c - the ZooKeeper C client (libzookeeper-mt) tells what happened, line by
 * line.
 *
 * usage: story plain|events HOSTS. A line that begins with '@' asks the runner for something to
 * happen to the servers; it answers with a line. Times, zxids and session ids are not printed: they
 * differ from run to run.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zookeeper/zookeeper.h>

#define MANY         500
#define WAIT_SECONDS 30

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

/* What the library's threads told us; read under the lock. */
static struct told {
	int connected; /* 1 while connected */
	int connects;  /* how often it became so */
	int expired;
	int done;         /* completions since the last reset */
	int rc_wrong;     /* completions that were not ZOK */
	int out_of_order; /* completions that overtook an earlier one */
	int events;
	char event_text[64][256];
} told;

static void die(const char *what)
{
	printf("GAVE UP: %s\n", what);
	exit(1);
}

/* Wait until *value reaches at least `want`. */
static void await(const int *value, int want, const char *what)
{
	struct timespec end;
	int rc = 0;

	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += WAIT_SECONDS;
	pthread_mutex_lock(&lock);
	while (*value < want && rc == 0)
		rc = pthread_cond_timedwait(&changed, &lock, &end);
	pthread_mutex_unlock(&lock);
	if (rc != 0)
		die(what);
}

static void reset(void)
{
	pthread_mutex_lock(&lock);
	told.done = told.rc_wrong = told.out_of_order = told.events = 0;
	pthread_mutex_unlock(&lock);
}

static const char *type_name(int type)
{
	return type == ZOO_CREATED_EVENT       ? "created"
	       : type == ZOO_DELETED_EVENT     ? "deleted"
	       : type == ZOO_CHANGED_EVENT     ? "changed"
	       : type == ZOO_CHILD_EVENT       ? "child"
	       : type == ZOO_NOTWATCHING_EVENT ? "notwatching"
					       : "other";
}

static void on_event(zhandle_t *zh, int type, int state, const char *path, void *context)
{
	(void)zh;
	(void)context;
	pthread_mutex_lock(&lock);
	if (type == ZOO_SESSION_EVENT) {
		if (state == ZOO_CONNECTED_STATE && !told.connected)
			told.connects++;
		told.connected = state == ZOO_CONNECTED_STATE;
		told.expired |= state == ZOO_EXPIRED_SESSION_STATE;
	} else if (told.events < 64) {
		snprintf(told.event_text[told.events++], sizeof told.event_text[0], "%s %s",
			 type_name(type), path);
	}
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

static void say_events(int count)
{
	await(&told.events, count, "watch events");
	for (int i = 0; i < count; i++)
		printf("  event: %s\n", told.event_text[i]);
	reset();
}

static void completed(int rc, const void *index)
{
	pthread_mutex_lock(&lock);
	told.rc_wrong += rc != ZOK;
	told.out_of_order += (int)(long)index != told.done;
	told.done++;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

static void on_string(int rc, const char *value, const void *index)
{
	(void)value;
	completed(rc, index);
}

static void on_stat(int rc, const struct Stat *stat, const void *index)
{
	(void)stat;
	completed(rc, index);
}

static void on_data(int rc, const char *value, int length, const struct Stat *stat,
		    const void *index)
{
	(void)stat;
	completed(rc == ZOK && (length != 2 || memcmp(value, "v2", 2) != 0) ? ZDATAINCONSISTENCY
									    : rc,
		  index);
}

static void on_void(int rc, const void *index)
{
	completed(rc, index);
}

static zhandle_t *open_session(const char *hosts, const clientid_t *id)
{
	zhandle_t *zh;

	told.connected = 0;
	zh = zookeeper_init(hosts, on_event, 10000, id, NULL, 0);
	if (zh == NULL)
		die("zookeeper_init");
	await(&told.connected, 1, "connection");
	return zh;
}

static void say(const char *what, int rc)
{
	printf("%s: %s\n", what, rc == ZOK ? "ok" : zerror(rc));
}

static void say_stat(const char *what, int rc, const struct Stat *s)
{
	if (rc != ZOK)
		say(what, rc);
	else
		printf("%s: version %d cversion %d aversion %d length %d children %d %s\n", what,
		       s->version, s->cversion, s->aversion, s->dataLength, s->numChildren,
		       s->ephemeralOwner ? "ephemeral" : "lasting");
}

static void remove_tree(zhandle_t *zh, const char *path)
{
	struct String_vector children = { 0, NULL };
	char child[512];

	if (zoo_get_children(zh, path, 0, &children) != ZOK)
		return;
	for (int i = 0; i < children.count; i++) {
		snprintf(child, sizeof child, "%s/%s", path, children.data[i]);
		remove_tree(zh, child);
	}
	deallocate_String_vector(&children);
	zoo_delete(zh, path, -1);
}

static void pipelined(zhandle_t *zh)
{
	char path[64];

	reset();
	for (long i = 0; i < MANY; i++) {
		snprintf(path, sizeof path, "/cc/n%03ld", i);
		zoo_acreate(zh, path, "v1", 2, &ZOO_OPEN_ACL_UNSAFE, 0, on_string, (void *)i);
	}
	await(&told.done, MANY, "creates");
	printf("%d creates: %d wrong, %d out of order\n", MANY, told.rc_wrong, told.out_of_order);
	reset();
	for (long i = 0; i < MANY; i++) {
		snprintf(path, sizeof path, "/cc/n%03ld", i);
		zoo_aset(zh, path, "v2", 2, 0, on_stat, (void *)(2 * i));
		zoo_aget(zh, path, 0, on_data, (void *)(2 * i + 1));
	}
	await(&told.done, 2 * MANY, "sets and gets");
	printf("%d sets, each read back behind it: %d wrong, %d out of order\n", MANY,
	       told.rc_wrong, told.out_of_order);
	reset();
	for (long i = 0; i < MANY; i++) {
		snprintf(path, sizeof path, "/cc/n%03ld", i);
		zoo_adelete(zh, path, 1, on_void, (void *)i);
	}
	await(&told.done, MANY, "deletes");
	printf("%d deletes: %d wrong, %d out of order\n", MANY, told.rc_wrong, told.out_of_order);
	reset();
}

static void transactions(zhandle_t *zh)
{
	zoo_op_t ops[4];
	zoo_op_result_t results[4];
	char made[128];
	struct Stat stat;
	int rc;

	zoo_create_op_init(&ops[0], "/cc/m", "x", 1, &ZOO_OPEN_ACL_UNSAFE, 0, made, sizeof made);
	zoo_set_op_init(&ops[1], "/cc/m", "yy", 2, 0, &stat);
	zoo_check_op_init(&ops[2], "/cc/m", 1);
	zoo_delete_op_init(&ops[3], "/cc/m", 1);
	rc = zoo_multi(zh, 4, ops, results);
	printf("multi: %s:", rc == ZOK ? "ok" : zerror(rc));
	for (int i = 0; i < 4; i++)
		printf(" %d", results[i].err);
	printf(" made %s version %d\n", made, stat.version);
	zoo_check_op_init(&ops[2], "/cc/m", 9);
	rc = zoo_multi(zh, 4, ops, results);
	printf("multi with a failing check: %s:", rc == ZOK ? "ok" : zerror(rc));
	for (int i = 0; i < 4; i++)
		printf(" %d", results[i].err);
	printf("\n");
	say("nothing of it is there", zoo_exists(zh, "/cc/m", 0, &stat));
}

static void watches(zhandle_t *zh)
{
	char data[64];
	int length = sizeof data;
	struct Stat stat;
	struct String_vector children = { 0, NULL };

	reset();
	say("exists with a watch", zoo_wexists(zh, "/cc/w", on_event, NULL, &stat));
	zoo_create(zh, "/cc/w", "1", 1, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0);
	say_events(1);
	zoo_wget(zh, "/cc/w", on_event, NULL, data, &length, &stat);
	zoo_set(zh, "/cc/w", "2", 1, -1);
	say_events(1);
	zoo_wget_children(zh, "/cc/w", on_event, NULL, &children);
	deallocate_String_vector(&children);
	zoo_create(zh, "/cc/w/c", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0);
	say_events(1);
	length = sizeof data;
	zoo_wget(zh, "/cc/w/c", on_event, NULL, data, &length, &stat);
	zoo_delete(zh, "/cc/w/c", -1);
	say_events(1);
	length = sizeof data;
	zoo_wget(zh, "/cc/w", on_event, NULL, data, &length, &stat);
	say("remove the watch",
	    zoo_remove_watches(zh, "/cc/w", ZWATCHTYPE_DATA, on_event, NULL, 0));
	say("remove it again", zoo_remove_watches(zh, "/cc/w", ZWATCHTYPE_DATA, on_event, NULL, 0));
	reset();
}

static void access_lists(zhandle_t *zh, const char *hosts)
{
	struct ACL_vector acl;
	struct Stat stat;
	char data[64];
	int length = sizeof data;
	zhandle_t *other;

	reset();
	say("create for the creator, unknown",
	    zoo_create(zh, "/cc/acl", "x", 1, &ZOO_CREATOR_ALL_ACL, 0, NULL, 0));
	zoo_add_auth(zh, "digest", "ann:secret", 10, on_void, NULL);
	await(&told.done, 1, "authentication");
	say("create for the creator",
	    zoo_create(zh, "/cc/acl", "x", 1, &ZOO_CREATOR_ALL_ACL, 0, NULL, 0));
	say("acl", zoo_get_acl(zh, "/cc/acl", &acl, &stat));
	for (int i = 0; i < acl.count; i++)
		printf("  %d %s %s\n", acl.data[i].perms, acl.data[i].id.scheme, acl.data[i].id.id);
	deallocate_ACL_vector(&acl);
	other = open_session(hosts, NULL);
	zoo_exists(other, "/cc/acl", 0, &stat);
	say("another reads", zoo_get(other, "/cc/acl", 0, data, &length, &stat));
	say("another writes", zoo_set(other, "/cc/acl", "y", 1, -1));
	reset();
	zoo_add_auth(other, "digest", "ann:secret", 10, on_void, NULL);
	await(&told.done, 1, "authentication");
	length = sizeof data;
	say("another with the password", zoo_get(other, "/cc/acl", 0, data, &length, &stat));
	zookeeper_close(other);
	say("set acl", zoo_set_acl(zh, "/cc/acl", 0, &ZOO_OPEN_ACL_UNSAFE));
	say("set acl, old version", zoo_set_acl(zh, "/cc/acl", 0, &ZOO_OPEN_ACL_UNSAFE));
	reset();
}

static void kinds(zhandle_t *zh)
{
	char made[128];
	struct Stat stat;
	struct timespec pause = { 0, 20 * 1000 * 1000 };
	int tries = 0;

	for (int i = 0; i < 3; i++) {
		say("sequence", zoo_create(zh, "/cc/s-", "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_SEQUENCE,
					   made, sizeof made));
		printf("  %s\n", made);
	}
	say_stat("create2 ephemeral sequence",
		 zoo_create2(zh, "/cc/es-", "abc", 3, &ZOO_OPEN_ACL_UNSAFE,
			     ZOO_EPHEMERAL | ZOO_SEQUENCE, made, sizeof made, &stat),
		 &stat);
	printf("  %s\n", made);
	say_stat("container",
		 zoo_create2(zh, "/cc/box", "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_CONTAINER, made,
			     sizeof made, &stat),
		 &stat);
	say_stat("ttl",
		 zoo_create2_ttl(zh, "/cc/ttl", "t", 1, &ZOO_OPEN_ACL_UNSAFE,
				 ZOO_PERSISTENT_WITH_TTL, 100, made, sizeof made, &stat),
		 &stat);
	say("in the container",
	    zoo_create(zh, "/cc/box/x", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0));
	say("out again", zoo_delete(zh, "/cc/box/x", -1));
	/* both are swept by the server in its own time */
	while ((zoo_exists(zh, "/cc/box", 0, &stat) == ZOK ||
		zoo_exists(zh, "/cc/ttl", 0, &stat) == ZOK) &&
	       tries++ < WAIT_SECONDS * 50)
		nanosleep(&pause, NULL);
	say("container, empty again", zoo_exists(zh, "/cc/box", 0, &stat));
	say("ttl, passed", zoo_exists(zh, "/cc/ttl", 0, &stat));
}

static void plain(const char *hosts)
{
	zhandle_t *zh = open_session(hosts, NULL);
	char data[64], path[600];
	int length = sizeof data;
	struct Stat stat;

	say("create", zoo_create(zh, "/cc", "hello", 5, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0));
	say("create again", zoo_create(zh, "/cc", "hello", 5, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0));
	say("without parent", zoo_create(zh, "/cc/x/y", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0));
	say_stat("get", zoo_get(zh, "/cc", 0, data, &length, &stat), &stat);
	printf("  %.*s\n", length, data);
	say_stat("set", zoo_set2(zh, "/cc", "bye", 3, 0, &stat), &stat);
	say("set, old version", zoo_set(zh, "/cc", "bye", 3, 0));
	say("no data at all",
	    zoo_create(zh, "/cc/null", NULL, -1, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0));
	length = sizeof data;
	say("get of it", zoo_get(zh, "/cc/null", 0, data, &length, &stat));
	printf("  length %d\n", length);
	memset(path, 'n', sizeof path);
	memcpy(path, "/cc/", 4);
	path[sizeof path - 1] = 0;
	say("a long name", zoo_create(zh, path, "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0));
	length = sizeof data;
	say("configuration", zoo_getconfig(zh, 0, data, &length, &stat));
	say("delete, not empty", zoo_delete(zh, "/cc", -1));
	reset();
	zoo_async(zh, "/cc", on_string, (void *)0);
	await(&told.done, 1, "sync");
	printf("sync: %d wrong\n", told.rc_wrong);
	pipelined(zh);
	transactions(zh);
	watches(zh);
	access_lists(zh, hosts);
	kinds(zh);
	remove_tree(zh, "/cc");
	say("all gone", zoo_exists(zh, "/cc", 0, &stat));
	say("close", zookeeper_close(zh));
}

static void ask(const char *action)
{
	char line[64];

	printf("@%s\n", action);
	if (fgets(line, sizeof line, stdin) == NULL)
		die("the runner went away");
}

/* Repeat a read or an idempotent write over the loss of a connection. */
static int again_while_lost(zhandle_t *zh, int (*call)(zhandle_t *, struct Stat *),
			    struct Stat *stat)
{
	int rc, tries = 0;

	while (((rc = call(zh, stat)) == ZCONNECTIONLOSS || rc == ZOPERATIONTIMEOUT) &&
	       tries++ < 1000)
		await(&told.connected, 1, "connection again");
	return rc;
}

static int call_exists_eph(zhandle_t *zh, struct Stat *stat)
{
	return zoo_exists(zh, "/ce/eph", 0, stat);
}

static int call_set(zhandle_t *zh, struct Stat *stat)
{
	return zoo_set2(zh, "/ce", "after", 5, -1, stat);
}

static void events(const char *hosts)
{
	zhandle_t *zh = open_session(hosts, NULL);
	clientid_t id = *zoo_client_id(zh), wrong;
	char data[64];
	int length = sizeof data;
	struct Stat stat;

	say("create", zoo_create(zh, "/ce", "0", 1, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0));
	say("ephemeral",
	    zoo_create(zh, "/ce/eph", "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL, NULL, 0));
	reset();
	zoo_wget(zh, "/ce", on_event, NULL, data, &length, &stat);
	ask("kill leader");
	say_stat("ephemeral after it", again_while_lost(zh, call_exists_eph, &stat), &stat);
	printf("same session: %d\n", zoo_client_id(zh)->client_id == id.client_id);
	say("a write", again_while_lost(zh, call_set, &stat));
	say_events(1);
	ask("start killed");
	say("a write with all servers", again_while_lost(zh, call_set, &stat));
	ask("restart 1");
	say("a write after a restart", again_while_lost(zh, call_set, &stat));
	ask("restart 2");
	say("and after another", again_while_lost(zh, call_set, &stat));
	say_stat("ephemeral", again_while_lost(zh, call_exists_eph, &stat), &stat);
	printf("same session: %d, expired: %d\n", zoo_client_id(zh)->client_id == id.client_id,
	       told.expired);

	/* continue the session from a new handle, by id and password: the old one must not
	 * reconnect */
	id = *zoo_client_id(zh);
	zoo_set_servers(zh, "127.0.0.1:1");
	zh = open_session(hosts, &id);
	printf("continued: %d\n", zoo_client_id(zh)->client_id == id.client_id);
	say_stat("ephemeral", again_while_lost(zh, call_exists_eph, &stat), &stat);
	say("close", zookeeper_close(zh));
	zh = open_session(hosts, NULL);
	reset();
	zoo_async(zh, "/ce", on_string, (void *)0);
	await(&told.done, 1, "sync");
	say("ephemeral after the close", zoo_exists(zh, "/ce/eph", 0, &stat));
	say("close", (remove_tree(zh, "/ce"), zookeeper_close(zh)));
	wrong = id;
	wrong.passwd[0] ^= 1;
	told.expired = 0;
	zh = zookeeper_init(hosts, on_event, 10000, &wrong, NULL, 0);
	await(&told.expired, 1, "word that the session is gone");
	printf("a session that is gone: expired\n");
	zookeeper_close(zh);
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	zoo_set_debug_level(ZOO_LOG_LEVEL_WARN);
	if (argc != 3)
		return 2;
	if (strcmp(argv[1], "plain") == 0)
		plain(argv[2]);
	else
		events(argv[2]);
	return 0;
}
