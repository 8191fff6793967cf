/*
 * Transcripts in simulated time: every tests/scenarios/NAME.t, line by line, on the real server.
 *
 *     cluster N [tick=MSms]                 first line; servers 0 .. N-1, a leader is there
 *     connect WHO [server=I|leader|follower] [timeout=MSms] -> why
 *     WHO OP [PATH] [DATA] [words...] -> answer     OP: create set delete get exists children sync
 * ... WHO <- event PATH, event PATH         all that WHO was told since the last such line cut WHO
 * | drop WHO | elapse MSms | kill S | start S | isolate S | heal | settle check sessions=N nodes=N
 * ephemerals=N watches=N leader=other What stands behind # is for the reader.
 */
#include "tests/lib/test.h"

#include <dirent.h>
#include <stdio.h>

#include "tests/sim/cluster_client.h"

#define DIR_NAME  "tests/scenarios"
#define WORDS_MAX 24
#define WHO_MAX   16

struct who {
	char name[16];
	struct client *c;
	struct pk_buf answer, events, state;
	int32_t timeout_ms;
};

struct play {
	struct sim *s;
	struct who all[WHO_MAX];
	size_t count;
	char *words[WORDS_MAX];
	size_t word_count;
	const char *file;
	int line, first_leader;
	char *want;
};

static void wrong(struct play *p, const char *what, const char *got)
{
	fail_msg("%s:%d: %s: %s", p->file, p->line, what, got);
}

/* ---- what clients hear ---- */

static void say_names(struct pk_buf *out, struct zk_strings names)
{
	struct pk_bytes name;

	while (zk_strings_next(&names, &name))
		pk_buf_printf(out, " %.*s", (int)name.len, name.data);
}

static void on_reply(void *owner, const struct client_reply *r)
{
	struct who *w = owner;
	struct pk_buf *b = &w->answer;
	struct zk_rd in = zk_rd(r->body);
	struct pk_bytes data;

	if (r->lost || r->op == ZK_OP_PING || r->op == ZK_OP_SET_WATCHES2)
		return;
	if (b->len > 0)
		pk_buf_printf(b, "; ");
	if (r->err != 0) {
		pk_buf_printf(b, "%s", zk_error_name(r->err));
		return;
	}
	pk_buf_printf(b, "ok");
	switch (r->op) {
	case ZK_OP_CREATE:
		data = zk_rd_ustring(&in);
		if (!pk_bytes_is(data, r->path))
			pk_buf_printf(b, " %.*s", (int)data.len, data.data);
		break;
	case ZK_OP_GET_DATA:
		data = zk_rd_buffer(&in);
		pk_buf_printf(b, " %.*s v%d", (int)data.len, data.data, zk_rd_stat(&in).version);
		break;
	case ZK_OP_GET_CHILDREN:
	case ZK_OP_GET_EPHEMERALS:
		say_names(b, zk_rd_strings(&in));
		break;
	case ZK_OP_MULTI: {
		struct zk_multi_result m;
		while (zk_multi_result_next(&in, &m) == 1)
			pk_buf_printf(b, " %s",
				      m.type == ZK_OP_ERROR ? zk_error_name(m.err) : "ok");
		break;
	}
	default: /* ok is all there is to say */
		break;
	}
}

static void on_event(void *owner, int32_t type, struct pk_bytes path)
{
	static const char *const names[] = { "?", "created", "deleted", "changed", "children" };
	struct who *w = owner;

	pk_buf_printf(&w->events, "%s%s %.*s", w->events.len > 0 ? ", " : "",
		      names[type > 0 && type < 5 ? type : 0], (int)path.len, path.data);
}

static void on_state(void *owner, enum client_state state, const char *why)
{
	struct who *w = owner;

	(void)state;
	pk_buf_clear(&w->state);
	pk_buf_add_str(&w->state, why);
}

/* ---- words ---- */

static struct who *who_of(struct play *p, const char *name)
{
	for (size_t i = 0; i < p->count; i++)
		if (strcmp(p->all[i].name, name) == 0)
			return &p->all[i];
	wrong(p, "nobody is called", name);
	return NULL;
}

static const char *option(struct play *p, const char *key)
{
	size_t len = strlen(key);

	for (size_t i = 1; i < p->word_count; i++)
		if (strncmp(p->words[i], key, len) == 0 && p->words[i][len] == '=')
			return p->words[i] + len + 1;
	return NULL;
}

static bool flag(struct play *p, const char *word)
{
	for (size_t i = 1; i < p->word_count; i++)
		if (strcmp(p->words[i], word) == 0)
			return true;
	return false;
}

static int server_of(struct play *p, const char *text)
{
	if (text == NULL || strcmp(text, "leader") == 0)
		return sim_leader(p->s);
	if (strcmp(text, "follower") == 0)
		return (sim_leader(p->s) + 1) % (int)sim_servers(p->s);
	if (strcmp(text, "third") == 0)
		return (sim_leader(p->s) + 2) % (int)sim_servers(p->s);
	return atoi(text);
}

static void expect(struct play *p, const char *got)
{
	if (p->want == NULL || strcmp(p->want, got) != 0)
		fail_msg("%s:%d: want \"%s\", got \"%s\"%s%s", p->file, p->line,
			 p->want != NULL ? p->want : "", got,
			 sim_violation(p->s) != NULL ? "; " : "",
			 sim_violation(p->s) != NULL ? sim_violation(p->s) : "");
}

/* ---- lines ---- */

static void do_cluster(struct play *p)
{
	const char *tick = option(p, "tick");
	struct sim_options o = { .seed = 7,
				 .servers = (size_t)atoi(p->words[1]),
				 .tick_ms = tick != NULL ? atoi(tick) : 2000,
				 .commit_overlay_bytes = 1 << 16,
				 .commit_log_bytes = 1 << 16,
				 .commit_pages_bytes = 1 << 20,
				 .waiting_bytes_max = 1 << 30,
				 .backlog_bytes_max = 64 << 20,
				 .snapshot_log_bytes = 1 << 17,
				 .trailing_entries = 100,
				 .segment_bytes = 65536,
				 .verbose = getenv("SIM_VERBOSE") != NULL };

	p->s = sim_new(&o);
	for (int i = 0; i < 100 && !sim_settled(p->s); i++)
		sim_run(p->s, 100);
	p->first_leader = sim_leader(p->s);
	assert_true(p->first_leader >= 0);
}

static void do_connect(struct play *p)
{
	const char *timeout = option(p, "timeout"), *zxid = option(p, "zxid");
	struct who *w = NULL;

	for (size_t i = 0; i < p->count; i++)
		if (strcmp(p->all[i].name, p->words[1]) == 0)
			w = &p->all[i];
	if (w == NULL) {
		PK_ASSERT(p->count < WHO_MAX);
		w = &p->all[p->count];
		snprintf(w->name, sizeof(w->name), "%s", p->words[1]);
		struct client_owner owner = { w, on_reply, on_event, on_state };
		w->c = client_new(p->s, (int)p->count, timeout != NULL ? atoi(timeout) : 10000,
				  &owner);
		p->count++;
	}
	if (flag(p, "new"))
		client_forget_session(w->c);
	client_spoil_password(w->c, flag(p, "wrong-password"));
	client_pings(w->c, true);
	if (zxid != NULL)
		client_claim_zxid(w->c, strtoull(zxid, NULL, 0));
	pk_buf_clear(&w->state);
	client_connect(w->c, server_of(p, option(p, "server")));
	for (int i = 0; i < 40 && w->state.len == 0; i++)
		sim_run(p->s, 50);
	if (client_state(w->c) == CLIENT_CONNECTED) {
		sim_run(p->s, 20); /* its watches are set again */
		pk_buf_printf(&w->state, " timeout=%dms", client_timeout(w->c));
	}
	client_spoil_password(w->c, false);
	expect(p, pk_buf_str(&w->state));
}

static void multi_add(struct pk_buf *b, const char *word)
{
	const char *path = strchr(word, ':') + 1;
	struct zk_create_req create = { pk_bytes_str(path), PK_BYTES_NONE, zk_acls_open(), 0 };
	struct zk_delete_req del = { pk_bytes_str(path), -1 };
	struct zk_set_data_req set = { pk_bytes_str(path), pk_bytes_str("m"), -1 };
	struct zk_check_req check = { pk_bytes_str(path), 0 };

	if (strncmp(word, "create:", 7) == 0) {
		zk_multi_op_header(b, ZK_OP_CREATE);
		zk_create_req_encode(b, &create);
	} else if (strncmp(word, "delete:", 7) == 0) {
		zk_multi_op_header(b, ZK_OP_DELETE);
		zk_delete_req_encode(b, &del);
	} else if (strncmp(word, "set:", 4) == 0) {
		zk_multi_op_header(b, ZK_OP_SET_DATA);
		zk_set_data_req_encode(b, &set);
	} else {
		zk_multi_op_header(b, ZK_OP_CHECK);
		zk_check_req_encode(b, &check);
	}
}

static void ask(struct play *p, struct who *w)
{
	const char *op = p->words[1], *path = p->word_count > 2 ? p->words[2] : NULL;
	const char *version = option(p, "version"), *data = option(p, "data");
	int32_t v = version != NULL ? atoi(version) : -1;
	bool watch = flag(p, "watch");
	struct pk_buf b = PK_BUF_INIT;

	if (strcmp(op, "create") == 0) {
		client_create(w->c, ZK_OP_CREATE, path, data,
			      (flag(p, "ephemeral") ? 1 : 0) + (flag(p, "sequential") ? 2 : 0));
	} else if (strcmp(op, "set") == 0) {
		client_set(w->c, path, data, v);
	} else if (strcmp(op, "delete") == 0) {
		client_delete(w->c, path, v);
	} else if (strcmp(op, "get") == 0) {
		client_ask(w->c, ZK_OP_GET_DATA, path, watch);
	} else if (strcmp(op, "exists") == 0) {
		client_ask(w->c, ZK_OP_EXISTS, path, watch);
	} else if (strcmp(op, "children") == 0) {
		client_ask(w->c, ZK_OP_GET_CHILDREN, path, watch);
	} else if (strcmp(op, "ephemerals") == 0) {
		client_ask(w->c, ZK_OP_GET_EPHEMERALS, path, false);
	} else if (strcmp(op, "sync") == 0) {
		client_ask(w->c, ZK_OP_SYNC, path, false);
	} else if (strcmp(op, "addwatch") == 0) {
		client_add_watch(w->c, path, flag(p, "recursive"));
	} else if (strcmp(op, "unwatch") == 0) {
		client_check_watches(w->c, ZK_OP_REMOVE_WATCHES, path, ZK_WATCHER_ANY);
	} else if (strcmp(op, "close") == 0) {
		client_end(w->c);
	} else if (strcmp(op, "multi") == 0) {
		for (size_t i = 2; i < p->word_count; i++)
			multi_add(&b, p->words[i]);
		zk_multi_end(&b);
		client_multi(w->c, ZK_OP_MULTI, pk_buf_bytes(&b));
		pk_buf_release(&b);
	} else {
		wrong(p, "no such operation", op);
	}
}

static void do_ask(struct play *p)
{
	struct who *w = who_of(p, p->words[0]);

	if (client_state(w->c) != CLIENT_CONNECTED)
		wrong(p, "is not connected", p->words[0]);
	pk_buf_clear(&w->answer);
	ask(p, w);
	for (int i = 0; i < 200 && client_outstanding(w->c) > 0; i++)
		sim_run(p->s, 5);
	sim_run(p->s, 20); /* for others to hear of it */
	expect(p, pk_buf_str(&w->answer));
}

static void count_session(void *arg, const struct model_session *m)
{
	*(int *)arg += m->ended_zxid == 0;
}

static void do_check(struct play *p)
{
	struct pk_buf got = PK_BUF_INIT, want = PK_BUF_INIT;
	int leader = sim_leader(p->s), sessions = 0;
	uint64_t watches = 0;

	model_session_each(sim_model(p->s), count_session, &sessions);
	for (int i = 0; i < (int)sim_servers(p->s); i++)
		if (sim_up(p->s, i))
			watches += watch_count(server_watches(sim_server(p->s, i)));
	const struct tree_meta *m = tree_meta(server_tree(sim_server(p->s, leader)));
	for (size_t i = 1; i < p->word_count; i++) {
		const char *w = p->words[i];
		pk_buf_printf(&want, "%s ", w);
		if (strncmp(w, "sessions=", 9) == 0)
			pk_buf_printf(&got, "sessions=%d ", sessions);
		else if (strncmp(w, "ephemerals=", 11) == 0)
			pk_buf_printf(&got, "ephemerals=%d ", (int)m->ephemerals);
		else if (strncmp(w, "watches=", 8) == 0)
			pk_buf_printf(&got, "watches=%d ", (int)watches);
		else if (strncmp(w, "leader=", 7) == 0)
			pk_buf_printf(&got, "leader=%s ",
				      leader == p->first_leader ? "same" : "other");
		else
			wrong(p, "nothing to check is called", w);
	}
	p->want = (char *)(uintptr_t)pk_buf_str(&want);
	expect(p, pk_buf_str(&got));
	pk_buf_release(&got);
	pk_buf_release(&want);
}

static void isolate(struct play *p, int one)
{
	for (int i = 0; i < (int)sim_servers(p->s); i++) {
		if (i == one)
			continue;
		sim_cut(p->s, i, one, true);
		sim_cut(p->s, one, i, true);
	}
}

static void do_line(struct play *p, bool hears)
{
	const char *first = p->words[0], *second = p->word_count > 1 ? p->words[1] : "";

	if (hears) {
		struct who *w = who_of(p, first);
		expect(p, pk_buf_str(&w->events));
		pk_buf_clear(&w->events);
	} else if (strcmp(first, "cluster") == 0) {
		do_cluster(p);
	} else if (strcmp(first, "connect") == 0) {
		do_connect(p);
	} else if (strcmp(first, "cut") == 0) { /* nothing passes any more, and nobody is told */
		client_pings(who_of(p, second)->c, false);
		if (client_wire(who_of(p, second)->c) != NULL)
			sim_conn_stall(client_wire(who_of(p, second)->c), 10000000);
	} else if (strcmp(first, "drop") == 0) {
		client_drop(who_of(p, second)->c);
		sim_run(p->s, 20);
	} else if (strcmp(first, "elapse") == 0) {
		sim_run(p->s, atoi(second));
	} else if (strcmp(first, "kill") == 0) {
		sim_crash(p->s, server_of(p, second), false);
		sim_run(p->s, 20);
	} else if (strcmp(first, "start") == 0) {
		for (int i = 0; i < (int)sim_servers(p->s); i++)
			sim_start(p->s, i);
	} else if (strcmp(first, "isolate") == 0) {
		isolate(p, server_of(p, second));
	} else if (strcmp(first, "heal") == 0) {
		sim_heal(p->s);
	} else if (strcmp(first, "settle") == 0) {
		for (int i = 0; i < 200 && !sim_settled(p->s); i++)
			sim_run(p->s, 50);
		assert_true(sim_settled(p->s));
	} else if (strcmp(first, "check") == 0) {
		do_check(p);
	} else {
		do_ask(p);
	}
	if (sim_violation(p->s) != NULL)
		wrong(p, "violation", sim_violation(p->s));
}

static char *trimmed(char *text)
{
	size_t len;

	text += strspn(text, " \t");
	len = strlen(text);
	while (len > 0 && strchr(" \t\n", text[len - 1]) != NULL)
		text[--len] = 0;
	return text;
}

static void play_line(struct play *p, char *line)
{
	char *hash = strchr(line, '#'), *save = NULL;

	if (hash != NULL)
		*hash = 0;
	char *answer = strstr(line, "->"), *event = strstr(line, "<-");
	p->want = NULL;
	if (answer != NULL || event != NULL) {
		char *at = answer != NULL ? answer : event;
		*at = 0;
		p->want = trimmed(at + 2);
	}
	p->word_count = 0;
	for (char *w = strtok_r(line, " \t\n", &save); w != NULL && p->word_count < WORDS_MAX;
	     w = strtok_r(NULL, " \t\n", &save))
		p->words[p->word_count++] = w;
	if (p->word_count > 0)
		do_line(p, event != NULL);
}

static void test_transcript(void **state)
{
	struct play p = { .file = *state };
	char line[500];
	FILE *f = fopen(p.file, "r");

	assert_non_null(f);
	while (fgets(line, sizeof(line), f) != NULL) {
		p.line++;
		play_line(&p, line);
	}
	fclose(f);
	for (size_t i = 0; i < p.count; i++) {
		client_drop(p.all[i].c);
		client_free(p.all[i].c);
		pk_buf_release(&p.all[i].answer);
		pk_buf_release(&p.all[i].events);
		pk_buf_release(&p.all[i].state);
	}
	assert_non_null(p.s);
	sim_free(p.s);
}

static int is_transcript(const struct dirent *e)
{
	size_t len = strlen(e->d_name);

	return len > 2 && strcmp(e->d_name + len - 2, ".t") == 0;
}

int main(void)
{
	struct dirent **names;
	int n = scandir(DIR_NAME, &names, is_transcript, alphasort);
	struct CMUnitTest *tests;
	int failed = 0;

	if (n <= 0)
		return fprintf(stderr, "no transcripts in %s\n", DIR_NAME), 1;
	tests = pk_alloc((size_t)n * sizeof(*tests));
	for (int i = 0; i < n; i++) {
		char *path = pk_asprintf(DIR_NAME "/%s", names[i]->d_name);
		tests[i] = (struct CMUnitTest){ .name = path,
						.test_func = test_transcript,
						.initial_state = path };
		free(names[i]);
	}
	free(names);
	/* the count is known here only, so the group is run as the macro would */
	failed = _cmocka_run_group_tests("scenarios", tests, (size_t)n, NULL, NULL);
	for (int i = 0; i < n; i++)
		free((void *)(uintptr_t)tests[i].name);
	free(tests);
	return failed;
}
