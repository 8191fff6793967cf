/*
 * paddock zk ls, tree, get, stat, acl, count, ephemerals, whoami, config, sync.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/zk_io.h"
#include "cli/zk_text.h"
#include "zkproto/path.h"

#define CONFIG_PATH "/zookeeper/config"

static const char *arg_or_root(const struct cli *c)
{
	return c->args.count > 0 ? c->args.items[0] : "/";
}

/* Opens the session and the path that most commands begin with. */
static int begin(const struct cli *c, const char *text, struct zks **z, char **path)
{
	*z = NULL;
	*path = zks_path(c, text);
	if (*path == NULL)
		return CLI_USAGE;
	int status = zks_open(z, c);
	if (status != CLI_OK)
		free(*path);
	return status;
}

static int end(struct zks *z, char *path, struct zk_answer *a, int status)
{
	if (a != NULL)
		zk_answer_release(a);
	free(path);
	return zks_close(z, status);
}

static void print_json(json_t *o)
{
	pk_ignore(json_dumpf(o, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY), "main looks at stdout");
	putchar('\n');
	json_decref(o);
}

/* A name of the server's on a terminal must not be able to move its cursor. */
static void print_name(const char *name, size_t len)
{
	for (size_t i = 0; i < len; i++)
		putchar((unsigned char)name[i] < ' ' || name[i] == 127 ? '?' : name[i]);
}

static const char *kind_colour(const struct cli *c, const struct zk_stat *s)
{
	if (s->ephemeral_owner != 0)
		return cli_colour(c, CLI_YELLOW);
	return s->num_children > 0 ? cli_colour(c, CLI_BLUE) : "";
}

/* ---- ls, tree ---- */

static void ls_line(const struct cli *c, const struct walk_node *n)
{
	const char *name = strrchr(n->path, '/') + 1;
	const char *colour = kind_colour(c, &n->stat);
	char at[40];

	if (c->set.lengthy)
		printf("%-10s %7d %9d %8d  %s  ", zk_kind(&n->stat), n->stat.version,
		       n->stat.data_length, n->stat.num_children, zk_time(n->stat.mtime, at));
	fputs(colour, stdout);
	print_name(name, strlen(name));
	fputs(*colour != '\0' ? cli_colour(c, CLI_PLAIN) : "", stdout);
	putchar('\n');
}

static json_t *node_json(const struct walk_node *n, const char *name)
{
	json_t *o = json_object();

	json_object_set_new(o, "name", json_string(name));
	json_object_set_new(o, "stat", zk_stat_json(&n->stat));
	return o;
}

int cmd_zk_ls(const struct cli *c)
{
	struct zks *z;
	char *path;
	struct walk w = { 0 };
	int status = begin(c, arg_or_root(c), &z, &path);

	if (status != CLI_OK)
		return status;
	int32_t err = zks_walk(z, path, 1, &w);
	if (err == ZK_OK && w.count > 0 && w.nodes[0].err != ZK_OK)
		err = w.nodes[0].err;
	json_t *list = json_array();
	if (err != ZK_OK)
		status = zks_refused(z, path, err);
	else if (c->set.lengthy && !c->set.json && w.count > 1)
		printf("%s%-10s %7s %9s %8s  %-23s  name%s\n", cli_colour(c, CLI_DIM), "kind",
		       "version", "bytes", "children", "changed", cli_colour(c, CLI_PLAIN));
	for (size_t i = 1; err == ZK_OK && i < w.count; i++) {
		const char *name = strrchr(w.nodes[i].path, '/') + 1;

		if (!c->set.json)
			ls_line(c, &w.nodes[i]);
		else if (c->set.lengthy)
			json_array_append_new(list, node_json(&w.nodes[i], name));
		else
			json_array_append_new(list, json_string(name));
	}
	if (c->set.json && err == ZK_OK)
		print_json(json_incref(list));
	json_decref(list);
	walk_release(&w);
	return end(z, path, NULL, status);
}

/* Is there a later sibling of node i at `level`? That decides which line is drawn. */
static bool more_at(const struct walk *w, size_t i, size_t level)
{
	for (size_t k = i + 1; k < w->count; k++) {
		size_t d = zk_path_depth(pk_bytes_str(w->nodes[k].path));

		if (d < level)
			return false;
		if (d == level)
			return true;
	}
	return false;
}

static void tree_line(const struct cli *c, const struct walk *w, size_t i, size_t base, bool *open)
{
	const struct walk_node *n = &w->nodes[i];
	size_t depth = zk_path_depth(pk_bytes_str(n->path));
	const char *name = i == 0 ? n->path : strrchr(n->path, '/') + 1;
	const char *colour = kind_colour(c, &n->stat);

	for (size_t level = base + 1; level < depth; level++)
		fputs(open[level - base] ? "│   " : "    ", stdout);
	if (depth > base) {
		open[depth - base] = more_at(w, i, depth);
		fputs(open[depth - base] ? "├── " : "└── ", stdout);
	}
	fputs(colour, stdout);
	print_name(name, strlen(name));
	fputs(*colour != '\0' ? cli_colour(c, CLI_PLAIN) : "", stdout);
	if (n->err != ZK_OK)
		printf("  [%s]", zk_error_name(n->err));
	else if (c->set.lengthy)
		printf("  %s(%d bytes, version %d)%s", cli_colour(c, CLI_DIM), n->stat.data_length,
		       n->stat.version, cli_colour(c, CLI_PLAIN));
	putchar('\n');
}

int cmd_zk_tree(const struct cli *c)
{
	struct zks *z;
	char *path;
	struct walk w = { 0 };
	int status = begin(c, arg_or_root(c), &z, &path);

	if (status != CLI_OK)
		return status;
	int32_t err = zks_walk(z, path, (size_t)c->set.depth, &w);
	size_t base = zk_path_depth(pk_bytes_str(path)), deepest = base;
	json_t *list = json_array();

	if (err != ZK_OK)
		status = zks_refused(z, path, err);
	for (size_t i = 0; i < w.count; i++) {
		size_t d = zk_path_depth(pk_bytes_str(w.nodes[i].path));
		deepest = d > deepest ? d : deepest;
	}
	bool *open = pk_alloc(deepest - base + 2);
	for (size_t i = 0; err == ZK_OK && i < w.count; i++) {
		if (c->set.json && c->set.lengthy)
			json_array_append_new(list, node_json(&w.nodes[i], w.nodes[i].path));
		else if (c->set.json)
			json_array_append_new(list, json_string(w.nodes[i].path));
		else
			tree_line(c, &w, i, base, open);
	}
	if (c->set.json && err == ZK_OK)
		print_json(json_incref(list));
	json_decref(list);
	free(open);
	walk_release(&w);
	return end(z, path, NULL, status);
}

/* ---- one node ---- */

int cmd_zk_get(const struct cli *c)
{
	struct zks *z;
	char *path;
	struct zk_answer a = ZK_ANSWER_INIT;
	int status = begin(c, c->args.items[0], &z, &path);

	if (status != CLI_OK)
		return status;
	zkc_get(zks_client(z), pk_bytes_str(path), ZKC_NO_WATCH, zk_answer_take, &a);
	if (zks_wait(z, &a) != ZK_OK)
		return end(z, path, &a, zks_refused(z, path, a.err));
	if (c->set.json) {
		json_t *o = json_object();

		json_object_set_new(o, "path", json_string(path));
		zk_data_json(o, pk_buf_bytes(&a.data));
		json_object_set_new(o, "stat", zk_stat_json(&a.stat));
		print_json(o);
	} else {
		if (a.data.len > 0)
			pk_ignore(fwrite(a.data.data, 1, a.data.len, stdout),
				  "main looks at stdout");
		/* exactly the bytes for programs; for a person, the prompt on a line of its own */
		if (a.data.len > 0 && a.data.data[a.data.len - 1] != '\n' &&
		    isatty(STDOUT_FILENO) == 1)
			putchar('\n');
		if (c->set.stat) {
			struct pk_buf text = PK_BUF_INIT;

			zk_stat_text(&a.stat, &text);
			fflush(stdout);
			fputs(pk_buf_str(&text), stderr);
			pk_buf_release(&text);
		}
	}
	return end(z, path, &a, CLI_OK);
}

int cmd_zk_stat(const struct cli *c)
{
	struct zks *z;
	char *path;
	struct zk_answer a = ZK_ANSWER_INIT;
	int status = begin(c, c->args.items[0], &z, &path);

	if (status != CLI_OK)
		return status;
	zkc_exists(zks_client(z), pk_bytes_str(path), ZKC_NO_WATCH, zk_answer_take, &a);
	if (zks_wait(z, &a) != ZK_OK)
		return end(z, path, &a, zks_refused(z, path, a.err));
	if (c->set.json) {
		json_t *o = zk_stat_json(&a.stat);

		json_object_set_new(o, "path", json_string(path));
		print_json(o);
	} else {
		struct pk_buf text = PK_BUF_INIT;

		zk_stat_text(&a.stat, &text);
		printf("%s%s%s\n%s", cli_colour(c, CLI_BOLD), path, cli_colour(c, CLI_PLAIN),
		       pk_buf_str(&text));
		pk_buf_release(&text);
	}
	return end(z, path, &a, CLI_OK);
}

int cmd_zk_acl(const struct cli *c)
{
	struct zks *z;
	char *path;
	struct zk_answer a = ZK_ANSWER_INIT;
	struct pk_buf items = PK_BUF_INIT;
	struct pk_err err = PK_ERR_INIT;
	uint32_t count = 0;
	bool set = c->args.count == 2;

	if (set && zk_acl_parse(c->args.items[1], &items, &count, &err) != 0) {
		pk_buf_release(&items);
		return cli_fail(c, CLI_USAGE, "%s", err.text);
	}
	int status = begin(c, c->args.items[0], &z, &path);
	if (status != CLI_OK) {
		pk_buf_release(&items);
		return status;
	}
	if (set)
		zkc_set_acl(zks_client(z), pk_bytes_str(path),
			    (struct zk_acls){ .count = count, .raw = pk_buf_bytes(&items) },
			    c->set.if_version, zk_answer_take, &a);
	else
		zkc_get_acl(zks_client(z), pk_bytes_str(path), zk_answer_take, &a);
	pk_buf_release(&items);
	if (zks_wait(z, &a) != ZK_OK)
		return end(z, path, &a, zks_refused(z, path, a.err));
	json_t *list = json_array();
	struct zk_acls acls = zk_answer_acl(&a);
	struct zk_acl acl;
	struct pk_buf text = PK_BUF_INIT;
	while (!set && zk_acls_next(&acls, &acl)) {
		pk_buf_clear(&text);
		zk_acl_text(&acl, &text);
		if (c->set.json)
			json_array_append_new(list, json_string(pk_buf_str(&text)));
		else
			printf("%s\n", pk_buf_str(&text));
	}
	if (c->set.json && !set)
		print_json(json_incref(list));
	json_decref(list);
	pk_buf_release(&text);
	return end(z, path, &a, CLI_OK);
}

int cmd_zk_count(const struct cli *c)
{
	struct zks *z;
	char *path;
	struct zk_answer a = ZK_ANSWER_INIT;
	int status = begin(c, arg_or_root(c), &z, &path);

	if (status != CLI_OK)
		return status;
	zkc_children_number(zks_client(z), pk_bytes_str(path), zk_answer_take, &a);
	if (zks_wait(z, &a) != ZK_OK)
		return end(z, path, &a, zks_refused(z, path, a.err));
	printf("%d\n", a.number);
	return end(z, path, &a, CLI_OK);
}

int cmd_zk_sync(const struct cli *c)
{
	struct zks *z;
	char *path;
	struct zk_answer a = ZK_ANSWER_INIT;
	int status = begin(c, arg_or_root(c), &z, &path);

	if (status != CLI_OK)
		return status;
	zkc_sync(zks_client(z), pk_bytes_str(path), zk_answer_take, &a);
	if (zks_wait(z, &a) != ZK_OK)
		status = zks_refused(z, path, a.err);
	return end(z, path, &a, status);
}

int cmd_zk_ephemerals(const struct cli *c)
{
	struct zks *z;
	char *path;
	struct zk_answer a = ZK_ANSWER_INIT;
	int status = begin(c, arg_or_root(c), &z, &path);

	if (status != CLI_OK)
		return status;
	/* the call shows one session's own; of a new one there are none, so look at the tree */
	struct walk w = { 0 };
	int32_t err = zks_walk(z, path, 0, &w);
	json_t *list = json_array();

	if (err != ZK_OK)
		status = zks_refused(z, path, err);
	for (size_t i = 0; err == ZK_OK && i < w.count; i++) {
		const struct walk_node *n = &w.nodes[i];
		char owner[32];

		if (strcmp(zk_kind(&n->stat), "ephemeral") != 0)
			continue;
		snprintf(owner, sizeof(owner), "0x%" PRIx64, (uint64_t)n->stat.ephemeral_owner);
		if (c->set.json)
			json_array_append_new(
				list, json_pack("{s:s, s:s}", "path", n->path, "session", owner));
		else
			printf("%-20s %s\n", owner, n->path);
	}
	if (c->set.json && err == ZK_OK)
		print_json(json_incref(list));
	json_decref(list);
	walk_release(&w);
	return end(z, path, &a, status);
}

int cmd_zk_whoami(const struct cli *c)
{
	struct zks *z;
	struct zk_answer a = ZK_ANSWER_INIT;
	int status = zks_open(&z, c);
	struct zkc_info info;
	struct zk_id id;

	if (status != CLI_OK)
		return status;
	zkc_info(zks_client(z), &info);
	zkc_whoami(zks_client(z), zk_answer_take, &a);
	if (zks_wait(z, &a) != ZK_OK)
		return end(z, NULL, &a, zks_refused(z, zks_server(z), a.err));
	printf("%-10s %s\n%-10s 0x%" PRIx64 ", timeout %d ms\n", "server", zks_server(z), "session",
	       (uint64_t)info.session_id, info.timeout_ms);
	struct zk_ids ids = zk_answer_ids(&a);
	while (zk_ids_next(&ids, &id))
		printf("%-10s %.*s\n", pk_bytes_is(id.scheme, "ip") ? "ip" : "identity",
		       (int)id.id.len, id.id.data);
	return end(z, NULL, &a, CLI_OK);
}

/* ---- members ---- */

static void print_config(const struct cli *c, struct pk_bytes data)
{
	if (!c->set.json) {
		printf("%.*s%s", (int)data.len, data.data,
		       data.len > 0 && data.data[data.len - 1] == '\n' ? "" : "\n");
		return;
	}
	json_t *servers = json_array(), *root = json_object();
	for (size_t at = 0; at < data.len;) {
		const char *line = (const char *)data.data + at;
		const char *nl = memchr(line, '\n', data.len - at);
		size_t len = nl != NULL ? (size_t)(nl - line) : data.len - at;
		const char *eq = memchr(line, '=', len);

		at += len + 1;
		if (eq == NULL)
			continue;
		if (strncmp(line, "server.", 7) == 0) {
			json_t *s = json_object();

			json_object_set_new(s, "id", json_integer(atoi(line + 7)));
			json_object_set_new(s, "spec",
					    json_stringn(eq + 1, len - (size_t)(eq + 1 - line)));
			json_array_append_new(servers, s);
		} else if (strncmp(line, "version=", 8) == 0) {
			json_object_set_new(root, "version",
					    json_stringn(eq + 1, len - (size_t)(eq + 1 - line)));
		}
	}
	json_object_set_new(root, "servers", servers);
	print_json(root);
}

int cmd_zk_config(const struct cli *c)
{
	struct zks *z;
	struct zk_answer a = ZK_ANSWER_INIT;
	int status = zks_open(&z, c);

	if (status != CLI_OK)
		return status;
	zkc_get(zks_client(z), pk_bytes_str(CONFIG_PATH), ZKC_NO_WATCH, zk_answer_take, &a);
	if (zks_wait(z, &a) != ZK_OK)
		status = zks_refused(z, CONFIG_PATH, a.err);
	else
		print_config(c, pk_buf_bytes(&a.data));
	return end(z, NULL, &a, status);
}

static void join(const struct pk_strs *list, struct pk_buf *out)
{
	for (size_t i = 0; i < list->count; i++)
		pk_buf_printf(out, "%s%s", i > 0 ? "," : "", list->items[i]);
}

static struct pk_bytes text_or_null(const struct pk_buf *b)
{
	return b->len > 0 ? pk_buf_bytes(b) : PK_BYTES_NONE;
}

int cmd_zk_reconfig(const struct cli *c)
{
	struct zks *z;
	struct zk_answer a = ZK_ANSWER_INIT;
	struct pk_buf joining = PK_BUF_INIT, leaving = PK_BUF_INIT;

	if (c->set.add.count == 0 && c->set.remove.count == 0)
		return cli_fail(c, CLI_USAGE, "nothing to change: give --add or --remove");
	int status = zks_open(&z, c);
	if (status != CLI_OK)
		return status;
	join(&c->set.add, &joining);
	join(&c->set.remove, &leaving);
	zkc_reconfig(zks_client(z), text_or_null(&joining), text_or_null(&leaving), PK_BYTES_NONE,
		     -1, zk_answer_take, &a);
	if (zks_wait(z, &a) != ZK_OK)
		status = zks_refused(z, "members", a.err);
	else
		print_config(c, pk_buf_bytes(&a.data));
	pk_buf_release(&joining);
	pk_buf_release(&leaving);
	return end(z, NULL, &a, status);
}
