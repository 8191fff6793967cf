/*
 * paddock zk create, mkdir, set, rm.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/zk_io.h"
#include "cli/zk_text.h"
#include "zkproto/path.h"

#define ROOMS_FOR_PATH 4096 /* of a request, besides its data */

/* The data of argument i: itself, standard input for "-" (and, if `or_stdin`, for none). */
static int data_arg(const struct cli *c, size_t i, bool or_stdin, struct pk_buf *out)
{
	int status = CLI_OK;

	if (c->args.count > i && strcmp(c->args.items[i], "-") != 0)
		pk_buf_add_str(out, c->args.items[i]);
	else if (c->args.count > i || or_stdin)
		status = zks_read_stdin(c, out);
	if (status == CLI_OK && out->len > ZKC_REQUEST_BYTES_MAX - ROOMS_FOR_PATH)
		status = cli_fail(c, CLI_FAILED, "%zu bytes are more than a node may hold (%u)",
				  out->len, ZKC_REQUEST_BYTES_MAX - ROOMS_FOR_PATH);
	return status;
}

/* ---- create ---- */

static int mode_of(const struct cli *c)
{
	const struct cli_settings *s = &c->set;

	if (s->ephemeral + s->container + (s->ttl_ms > 0) > 1)
		return cli_fail(c, -1,
				"a node is ephemeral, a container, or has a TTL: one of these");
	if (s->container && s->sequential)
		return cli_fail(c, -1, "a container cannot be sequential");
	if (s->ttl_ms > 0)
		return s->sequential ? ZK_CREATE_TTL_SEQUENTIAL : ZK_CREATE_TTL;
	if (s->container)
		return ZK_CREATE_CONTAINER;
	return (s->ephemeral ? ZK_CREATE_EPHEMERAL : 0) |
	       (s->sequential ? ZK_CREATE_SEQUENTIAL : 0);
}

/* Creates what is missing above path. ZK_OK or a code. */
static int32_t create_parents(struct zks *z, const char *path)
{
	size_t room = strlen(path) / 2 + 1, count = 0;
	struct zk_answer *answers = pk_alloc(room * sizeof(*answers));
	int32_t err = ZK_OK;

	for (const char *slash = strchr(path + 1, '/'); slash != NULL;
	     slash = strchr(slash + 1, '/'))
		zkc_create(zks_client(z), pk_bytes(path, (size_t)(slash - path)), PK_BYTES_NONE,
			   zk_acls_open(), ZK_CREATE_PERSISTENT, 0, zk_answer_take,
			   &answers[count++]);
	for (size_t i = 0; i < count; i++) {
		int32_t one = zks_wait(z, &answers[i]);

		/* a parent that we may not create under may still have what we need below */
		if (err == ZK_OK && one != ZK_OK && one != ZK_ENODEEXISTS && one != ZK_ENOAUTH)
			err = one;
		zk_answer_release(&answers[i]);
	}
	free(answers);
	return err;
}

static void state_told(void *owner, enum zkc_state state)
{
	const struct cli *c = owner;

	if (state == ZKC_CONNECTING)
		fprintf(stderr, "%s: connection lost, looking for another server\n", c->command);
	else if (state == ZKC_CONNECTED)
		fprintf(stderr, "%s: connected again\n", c->command);
	else if (state == ZKC_EXPIRED)
		fprintf(stderr, "%s: the session has expired\n", c->command);
}

/* An ephemeral node would go with the session: hold it until somebody says stop. */
static int hold(struct zks *z, const struct cli *c)
{
	fflush(stdout);
	if (isatty(STDERR_FILENO) == 1)
		fprintf(stderr, "the node is there until you press Ctrl-C\n");
	zks_on_state(z, state_told, (void *)(uintptr_t)c);
	while (zks_turn(z))
		;
	return zks_interrupted(z) ? CLI_OK : CLI_NO_ANSWER;
}

int cmd_zk_create(const struct cli *c)
{
	struct zks *z = NULL;
	struct zk_answer a = ZK_ANSWER_INIT;
	struct pk_buf data = PK_BUF_INIT, items = PK_BUF_INIT;
	struct pk_err err = PK_ERR_INIT;
	struct zk_acls acl = zk_acls_open();
	const char *path = c->args.items[0];
	int mode = mode_of(c);
	int status = mode < 0 ? CLI_USAGE : CLI_OK;

	enum zk_path_fault fault = zk_path_check(pk_bytes_str(path), c->set.sequential);
	if (status == CLI_OK && fault != ZK_PATH_OK)
		status = cli_fail(c, CLI_USAGE, "%s: %s", path, zk_path_fault_text(fault));
	if (status == CLI_OK && c->set.acl != NULL) {
		if (zk_acl_parse(c->set.acl, &items, &acl.count, &err) != 0)
			status = cli_fail(c, CLI_USAGE, "%s", err.text);
		acl.raw = pk_buf_bytes(&items);
	}
	if (status == CLI_OK)
		status = data_arg(c, 1, false, &data);
	if (status == CLI_OK)
		status = zks_open(&z, c);
	if (status == CLI_OK && c->set.parents) {
		a.err = create_parents(z, path);
		if (a.err != ZK_OK)
			status = zks_refused(z, path, a.err);
	}
	if (status == CLI_OK) {
		zkc_create(zks_client(z), pk_bytes_str(path), pk_buf_bytes(&data), acl, mode,
			   c->set.ttl_ms, zk_answer_take, &a);
		if (zks_wait(z, &a) != ZK_OK)
			status = zks_refused(z, path, a.err);
		else
			printf("%s\n", pk_buf_str(&a.path));
		if (status == CLI_OK && c->set.ephemeral)
			status = hold(z, c);
	}
	zk_answer_release(&a);
	pk_buf_release(&data);
	pk_buf_release(&items);
	return zks_close(z, status);
}

int cmd_zk_mkdir(const struct cli *c)
{
	struct zks *z = NULL;
	int status = CLI_OK;

	for (size_t i = 0; status == CLI_OK && i < c->args.count; i++) {
		struct zk_answer a = ZK_ANSWER_INIT;
		char *path = zks_path(c, c->args.items[i]);

		if (path == NULL)
			return zks_close(z, CLI_USAGE);
		if (z == NULL)
			status = zks_open(&z, c);
		if (status == CLI_OK && path[1] != '\0') {
			a.err = create_parents(z, path);
			if (a.err == ZK_OK) {
				zkc_create(zks_client(z), pk_bytes_str(path), PK_BYTES_NONE,
					   zk_acls_open(), ZK_CREATE_PERSISTENT, 0, zk_answer_take,
					   &a);
				pk_ignore(zks_wait(z, &a), "a.err has it");
			}
			if (a.err != ZK_OK && a.err != ZK_ENODEEXISTS)
				status = zks_refused(z, path, a.err);
		}
		zk_answer_release(&a);
		free(path);
	}
	return zks_close(z, status);
}

/* ---- set ---- */

int cmd_zk_set(const struct cli *c)
{
	struct zks *z = NULL;
	struct zk_answer a = ZK_ANSWER_INIT;
	struct pk_buf data = PK_BUF_INIT;
	char *path = zks_path(c, c->args.items[0]);
	int status = path != NULL ? data_arg(c, 1, true, &data) : CLI_USAGE;

	if (status == CLI_OK)
		status = zks_open(&z, c);
	if (status == CLI_OK) {
		zkc_set(zks_client(z), pk_bytes_str(path), pk_buf_bytes(&data), c->set.if_version,
			zk_answer_take, &a);
		if (zks_wait(z, &a) != ZK_OK)
			status = zks_refused(z, path, a.err);
		else if (c->set.json) {
			json_t *o = zk_stat_json(&a.stat);

			json_object_set_new(o, "path", json_string(path));
			pk_ignore(json_dumpf(o, stdout, JSON_INDENT(2)), "main looks at stdout");
			putchar('\n');
			json_decref(o);
		}
	}
	zk_answer_release(&a);
	pk_buf_release(&data);
	free(path);
	return zks_close(z, status);
}

/* ---- rm ---- */

static int rm_one(struct zks *z, const char *path)
{
	struct zk_answer a = ZK_ANSWER_INIT;
	int status = CLI_OK;

	zkc_delete(zks_client(z), pk_bytes_str(path), zks_cli(z)->set.if_version, zk_answer_take,
		   &a);
	if (zks_wait(z, &a) != ZK_OK && (a.err != ZK_ENONODE || !zks_cli(z)->set.force))
		status = zks_refused(z, path, a.err);
	if (a.err == ZK_ENOTEMPTY)
		fprintf(stderr, "  -r deletes it with all that is below\n");
	zk_answer_release(&a);
	return status;
}

/* Children go before their parents: the walk backwards. */
static int rm_tree(struct zks *z, const char *path)
{
	struct walk w = { 0 };
	struct zk_answer *answers = pk_alloc(ZKS_WINDOW * sizeof(*answers));
	int32_t err = zks_walk(z, path, 0, &w);
	size_t asked = 0, taken = 0;
	int status = CLI_OK;

	if (err == ZK_ENONODE && zks_cli(z)->set.force)
		w.count = 0;
	else if (err != ZK_OK)
		status = zks_refused(z, path, err);
	while (status == CLI_OK && taken < w.count) {
		for (; asked < w.count && asked - taken < ZKS_WINDOW; asked++) {
			struct zk_answer *a = &answers[asked % ZKS_WINDOW];

			a->done = false;
			zkc_delete(zks_client(z), pk_bytes_str(w.nodes[w.count - 1 - asked].path),
				   ZK_VERSION_ANY, zk_answer_take, a);
		}
		int32_t one = zks_wait(z, &answers[taken % ZKS_WINDOW]);
		if (one != ZK_OK && one != ZK_ENONODE)
			status = zks_refused(z, w.nodes[w.count - 1 - taken].path, one);
		taken++;
	}
	for (size_t i = 0; i < ZKS_WINDOW; i++) {
		if (status != CLI_OK)
			zkc_forget(zks_client(z), &answers[i]);
		zk_answer_release(&answers[i]);
	}
	free(answers);
	walk_release(&w);
	return status;
}

int cmd_zk_rm(const struct cli *c)
{
	struct zks *z = NULL;
	int status = CLI_OK;

	if (c->set.recursive && c->set.if_version >= 0)
		return cli_fail(c, CLI_USAGE, "--if-version is for one node, -r for many");
	for (size_t i = 0; i < c->args.count; i++) { /* before anything is deleted */
		char *path = zks_path(c, c->args.items[i]);
		bool root = path != NULL && path[1] == '\0';

		free(path);
		if (path == NULL)
			return CLI_USAGE;
		if (root)
			return cli_fail(c, CLI_USAGE,
					"the root cannot be deleted: name its children");
	}
	status = zks_open(&z, c);
	for (size_t i = 0; status == CLI_OK && i < c->args.count; i++) {
		char *path = zks_path(c, c->args.items[i]);

		status = c->set.recursive ? rm_tree(z, path) : rm_one(z, path);
		free(path);
	}
	return status == CLI_OK || z != NULL ? zks_close(z, status) : status;
}
