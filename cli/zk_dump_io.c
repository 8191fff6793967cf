/*
 * paddock zk export and import: a tree as lines of JSON, for backups a person can read, for moving
 * parts of a tree, and for tests.
 *
 * First line: {"paddock_export": 1, "root": "/x", "zxid": "0x..", "time_ms": n}; then one line a
 * node, parents first: {"path", "data" or "data_base64", "acl": ["world:anyone:cdrwa"]}. Ephemeral
 * nodes and /zookeeper are left out. It is not a picture of one moment: writes meanwhile may or may
 * not be in it. Versions, times and the kinds container and TTL are not kept.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "cli/zk_io.h"
#include "cli/zk_text.h"
#include "net/loop.h"
#include "zkproto/path.h"

#define FORMAT          1
#define RESERVED        "/zookeeper"
#define LINE_BYTES_MAX  (64u << 20)
#define ACL_ENTRIES_MAX 4096

struct fetch { /* of one node */
	struct zk_answer data, acl;
};

static void write_line(const char *path, struct fetch *f)
{
	json_t *o = json_object(), *list = json_array();
	struct zk_acls acls = zk_answer_acl(&f->acl);
	struct zk_acl acl;
	struct pk_buf text = PK_BUF_INIT;

	json_object_set_new(o, "path", json_string(path));
	zk_data_json(o, pk_buf_bytes(&f->data.data));
	while (zk_acls_next(&acls, &acl)) {
		pk_buf_clear(&text);
		zk_acl_text(&acl, &text);
		json_array_append_new(list, json_string(pk_buf_str(&text)));
	}
	json_object_set_new(o, "acl", list);
	pk_ignore(json_dumpf(o, stdout, JSON_COMPACT), "main looks at stdout");
	putchar('\n');
	pk_buf_release(&text);
	json_decref(o);
}

static bool left_out(const struct walk_node *n)
{
	return n->stat.ephemeral_owner != 0 ||
	       zk_path_under(pk_bytes_str(n->path), pk_bytes_str(RESERVED));
}

static int export_nodes(struct zks *z, const struct walk *w, size_t *written)
{
	struct fetch *fetches = pk_alloc(ZKS_WINDOW * sizeof(*fetches));
	size_t asked = 0, taken = 0;
	int status = CLI_OK;

	for (; status == CLI_OK && taken < w->count; taken++) {
		for (; asked < w->count && asked - taken < ZKS_WINDOW; asked++) {
			struct fetch *f = &fetches[asked % ZKS_WINDOW];
			struct pk_bytes path = pk_bytes_str(w->nodes[asked].path);

			f->data.done = f->acl.done = false;
			if (left_out(&w->nodes[asked]))
				continue;
			zkc_get(zks_client(z), path, ZKC_NO_WATCH, zk_answer_take, &f->data);
			zkc_get_acl(zks_client(z), path, zk_answer_take, &f->acl);
		}
		struct fetch *f = &fetches[taken % ZKS_WINDOW];
		if (left_out(&w->nodes[taken]))
			continue;
		int32_t err = zks_wait(z, &f->data);
		if (err == ZK_OK)
			err = zks_wait(z, &f->acl);
		else
			pk_ignore(zks_wait(z, &f->acl), "the first error counts");
		if (err == ZK_OK) {
			write_line(w->nodes[taken].path, f);
			(*written)++;
		} else if (err != ZK_ENONODE) {
			status = zks_refused(z, w->nodes[taken].path, err);
		}
	}
	for (size_t i = 0; i < ZKS_WINDOW; i++) {
		if (status != CLI_OK) {
			zkc_forget(zks_client(z), &fetches[i].data);
			zkc_forget(zks_client(z), &fetches[i].acl);
		}
		zk_answer_release(&fetches[i].data);
		zk_answer_release(&fetches[i].acl);
	}
	free(fetches);
	return status;
}

int cmd_zk_export(const struct cli *c)
{
	struct zks *z = NULL;
	struct zk_answer a = ZK_ANSWER_INIT;
	struct walk w = { 0 };
	size_t written = 0, ephemerals = 0;
	char *path = zks_path(c, c->args.count > 0 ? c->args.items[0] : "/");
	int status = path != NULL ? zks_open(&z, c) : CLI_USAGE;

	if (status == CLI_OK) {
		zkc_sync(zks_client(z), pk_bytes_str(path), zk_answer_take, &a);
		if (zks_wait(z, &a) != ZK_OK)
			status = zks_refused(z, path, a.err);
	}
	if (status == CLI_OK) {
		int32_t err = zks_walk(z, path, 0, &w);

		for (size_t i = 0; err == ZK_OK && i < w.count; i++) {
			/* what may not be read cannot be in a backup: say so rather than leave it
			 * out */
			err = left_out(&w.nodes[i]) ? ZK_OK : w.nodes[i].err;
			ephemerals += w.nodes[i].stat.ephemeral_owner != 0;
			if (err != ZK_OK)
				status = zks_refused(z, w.nodes[i].path, err);
		}
		if (err != ZK_OK && status == CLI_OK)
			status = zks_refused(z, path, err);
	}
	if (status == CLI_OK) {
		printf("{\"paddock_export\":%d,\"zxid\":\"0x%" PRIx64 "\",\"time_ms\":%" PRId64
		       "}\n",
		       FORMAT, (uint64_t)a.zxid, net_wall_ms());
		status = export_nodes(z, &w, &written);
	}
	if (status == CLI_OK)
		fprintf(stderr, "%zu nodes written, %zu ephemeral ones left out\n", written,
			ephemerals);
	walk_release(&w);
	zk_answer_release(&a);
	free(path);
	return z != NULL ? zks_close(z, status) : status;
}

/* ---- import ---- */

struct load {
	struct zks *z;
	const struct cli *c;
	size_t created, replaced, skipped;
};

static int read_acl(const json_t *list, struct pk_buf *items, struct zk_acls *out,
		    struct pk_err *err)
{
	size_t count = json_array_size(list);

	if (count < 1 || count > ACL_ENTRIES_MAX)
		return pk_err_set(err, PK_EINVAL, "\"acl\" has %zu entries", count);
	*out = (struct zk_acls){ .count = 0 };
	for (size_t i = 0; i < count; i++) {
		const char *text = json_string_value(json_array_get(list, i));
		uint32_t n = 0;
		int rc = text == NULL || strchr(text, ',') != NULL
				 ? pk_err_set(err, PK_EINVAL, "\"acl\" has an entry that is none")
				 : zk_acl_parse(text, items, &n, err);

		if (rc != 0)
			return rc;
		out->count += n;
	}
	out->raw = pk_buf_bytes(items);
	return 0;
}

static int32_t put(struct load *l, const char *path, struct pk_bytes data, struct zk_acls acl)
{
	struct zk_answer a = ZK_ANSWER_INIT;
	struct zkc *k = zks_client(l->z);
	bool root = path[1] == '\0';

	zkc_create(k, pk_bytes_str(path), data, acl, ZK_CREATE_PERSISTENT, 0, zk_answer_take, &a);
	int32_t err = zks_wait(l->z, &a);
	if (err == ZK_OK) {
		l->created++;
	} else if (err == ZK_ENODEEXISTS && (!l->c->set.replace || root)) {
		l->skipped++;
		err = ZK_OK;
	} else if (err == ZK_ENODEEXISTS) {
		a.done = false;
		zkc_set(k, pk_bytes_str(path), data, ZK_VERSION_ANY, zk_answer_take, &a);
		err = zks_wait(l->z, &a);
		if (err == ZK_OK) {
			a.done = false;
			zkc_set_acl(k, pk_bytes_str(path), acl, ZK_VERSION_ANY, zk_answer_take, &a);
			err = zks_wait(l->z, &a);
		}
		l->replaced += err == ZK_OK;
	}
	zk_answer_release(&a);
	return err;
}

static int import_line(struct load *l, const char *line, size_t len, size_t number)
{
	json_error_t why;
	struct pk_err err = PK_ERR_INIT;
	struct pk_buf data = PK_BUF_INIT, items = PK_BUF_INIT;
	struct zk_acls acl;
	json_t *o = json_loadb(line, len, JSON_REJECT_DUPLICATES, &why);
	const char *path = json_string_value(json_object_get(o, "path"));
	int status = CLI_OK, rc = 0;

	if (o == NULL)
		rc = pk_err_set(&err, PK_EINVAL, "%s", why.text);
	else if (number == 1 && json_integer_value(json_object_get(o, "paddock_export")) != FORMAT)
		rc = pk_err_set(&err, PK_EINVAL, "not an export of paddock zk export");
	else if (number == 1)
		goto out;
	else if (path == NULL || !zk_path_valid(pk_bytes_str(path)))
		rc = pk_err_set(&err, PK_EINVAL, "\"path\" is missing or not valid");
	if (rc == 0)
		rc = zk_data_from_json(o, &data, &err);
	if (rc == 0)
		rc = read_acl(json_object_get(o, "acl"), &items, &acl, &err);
	if (rc != 0) {
		status = cli_fail(l->c, CLI_FAILED, "line %zu: %s", number, err.text);
	} else {
		int32_t refused = put(l, path, pk_buf_bytes(&data), acl);

		if (refused != ZK_OK)
			status = zks_refused(l->z, path, refused);
	}
out:
	pk_buf_release(&data);
	pk_buf_release(&items);
	json_decref(o);
	return status;
}

int cmd_zk_import(const struct cli *c)
{
	struct load l = { .c = c };
	int status = zks_open(&l.z, c);
	char *line = NULL;
	size_t room = 0, number = 0;
	ssize_t len;

	if (status != CLI_OK)
		return status;
	while (status == CLI_OK && (len = getline(&line, &room, stdin)) > 0) {
		number++;
		if ((size_t)len > LINE_BYTES_MAX)
			status = cli_fail(c, CLI_FAILED, "line %zu: longer than %u bytes", number,
					  LINE_BYTES_MAX);
		else
			status = import_line(&l, line, (size_t)len, number);
	}
	free(line);
	if (status == CLI_OK && number == 0)
		status = cli_fail(c, CLI_FAILED, "nothing on standard input");
	fprintf(stderr, "%zu created, %zu replaced, %zu were there\n", l.created, l.replaced,
		l.skipped);
	return zks_close(l.z, status);
}
