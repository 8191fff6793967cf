#include "tests/lib/tree_fix.h"

#include "tests/lib/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"

static void open_kv(struct fix *f)
{
	struct kv_config cfg = {
		.dir = f->dir, .map_bytes = 1 << 20, .map_bytes_most = 1u << 30, .sync = false
	};
	struct pk_err err = PK_ERR_INIT;

	if (kv_open(&f->kv, &cfg, &err) != 0)
		fail_msg("%s", err.text);
}

static void open_tree(struct fix *f)
{
	struct tree_config cfg = { .path_depth_max = f->depth_max, .state_id = "0123456789abcde" };
	struct pk_err err = PK_ERR_INIT;

	if (tree_open(&f->t, f->kv, &cfg, &err) != 0)
		fail_msg("%s", err.text);
	tree_check(f->t);
}

static void make_session(struct fix *f, uint64_t id)
{
	uint8_t body[20] = { 0 };

	pk_put_le32(body, 30000);
	memset(body + 4, (int)(id & 0xff), 16);
	assert_int_equal(op_from(f, ZK_OP_CREATE_SESSION, id, 0, pk_bytes(body, sizeof(body))), 0);
	assert_int_equal(f->r.session_gen, 1);
}

int fix_setup(void **state)
{
	struct fix *f = pk_alloc(sizeof(*f));

	snprintf(f->dir, sizeof(f->dir), "/tmp/test_tree.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->time_ms = 1000;
	f->depth_max = 100;
	open_kv(f);
	open_tree(f);
	make_session(f, ALICE);
	make_session(f, BOB);
	as(f, ALICE);
	*state = f;
	return 0;
}

int fix_teardown(void **state)
{
	struct fix *f = *state;
	char path[96];

	tree_result_release(&f->r);
	pk_buf_release(&f->out);
	pk_buf_release(&f->body);
	tree_close(f->t);
	kv_close(f->kv);
	static const char *const files[] = { "data.mdb", "lock.mdb", "lock" };
	for (size_t i = 0; i < PK_COUNT(files); i++) {
		snprintf(path, sizeof(path), "%s/%s", f->dir, files[i]);
		pk_ignore(unlink(path), "it may not be there");
	}
	assert_int_equal(rmdir(f->dir), 0);
	free(f);
	return 0;
}

void fix_reopen(struct fix *f)
{
	struct tree_meta before = *tree_meta(f->t);
	struct pk_err err = PK_ERR_INIT;

	tree_flush(f->t);
	struct kv_job *job = kv_commit_begin(f->kv);
	assert_non_null(job);
	if (kv_commit_run(job, &err) != 0)
		fail_msg("%s", err.text);
	kv_commit_end(f->kv, job);
	tree_close(f->t);
	kv_close(f->kv);
	open_kv(f);
	open_tree(f);
	assert_memory_equal(&before, tree_meta(f->t), sizeof(before));
}

void as(struct fix *f, uint64_t session)
{
	f->session = session;
	f->gen = 1;
	f->id_count = 0;
	add_identity(f, "ip", "127.0.0.1");
}

void add_identity(struct fix *f, const char *scheme, const char *id)
{
	assert_true(f->id_count < PK_COUNT(f->ids));
	f->ids[f->id_count++] = (struct txn_id){ pk_bytes_str(scheme), pk_bytes_str(id) };
}

int32_t op_from(struct fix *f, int32_t type, uint64_t session, uint64_t gen, struct pk_bytes body)
{
	uint16_t index[8] = { 0, 1, 2, 3, 4, 5, 6, 7 };
	struct txn_op o = { .type = type,
			    .session_id = session,
			    .gen = gen,
			    .origin = 1,
			    .ids = index,
			    .id_count = (uint16_t)f->id_count,
			    .body = body };
	struct txn_header h = {
		.term = 1, .index = ++f->index, .time_ms = f->time_ms, .flags = f->flags
	};

	assert_true(tree_entry_begin(f->t, &h, f->index, 1));
	tree_apply(f->t, &o, f->ids, &f->r);
	tree_entry_end(f->t);
	if (!f->lazy)
		tree_check(f->t);
	return f->r.err;
}

int32_t op(struct fix *f, int32_t type, struct pk_bytes body)
{
	return op_from(f, type, f->session, f->gen, body);
}

int32_t create_as(struct fix *f, int32_t type, const char *path, struct pk_bytes data,
		  struct zk_acls acl, int32_t mode, int64_t ttl_ms)
{
	struct zk_create_ttl_req req = { path != NULL ? pk_bytes_str(path) : PK_BYTES_NONE, data,
					 acl, mode, ttl_ms };

	pk_buf_clear(&f->body);
	if (type == ZK_OP_CREATE_TTL)
		zk_create_ttl_req_encode(&f->body, &req);
	else
		zk_create_req_encode(&f->body, &(struct zk_create_req){ req.path, req.data, req.acl,
									req.flags });
	return op(f, type, pk_buf_bytes(&f->body));
}

int32_t create(struct fix *f, const char *path, const char *data, int32_t mode)
{
	return create_as(f, ZK_OP_CREATE, path, pk_bytes_str(data), zk_acls_open(), mode, 0);
}

static const char *text_of(struct pk_bytes in)
{
	static char text[4][4096];
	static int at;
	char *to = text[at++ % 4];

	if (in.data == NULL)
		return "(null)";
	size_t bytes = in.len < 4095 ? in.len : 4095;
	if (bytes > 0)
		memcpy(to, in.data, bytes);
	to[bytes] = '\0';
	return to;
}

const char *created(struct fix *f)
{
	struct zk_rd r = zk_rd(pk_buf_bytes(&f->r.body));

	return text_of(zk_rd_ustring(&r));
}

int32_t del(struct fix *f, const char *path, int32_t version)
{
	pk_buf_clear(&f->body);
	zk_delete_req_encode(&f->body, &(struct zk_delete_req){ pk_bytes_str(path), version });
	return op(f, ZK_OP_DELETE, pk_buf_bytes(&f->body));
}

int32_t set_bytes(struct fix *f, const char *path, struct pk_bytes data, int32_t version)
{
	pk_buf_clear(&f->body);
	zk_set_data_req_encode(&f->body,
			       &(struct zk_set_data_req){ pk_bytes_str(path), data, version });
	return op(f, ZK_OP_SET_DATA, pk_buf_bytes(&f->body));
}

int32_t set(struct fix *f, const char *path, const char *data, int32_t version)
{
	return set_bytes(f, path, pk_bytes_str(data), version);
}

int32_t set_acl(struct fix *f, const char *path, struct zk_acls acl, int32_t version)
{
	pk_buf_clear(&f->body);
	zk_set_acl_req_encode(&f->body,
			      &(struct zk_set_acl_req){ pk_bytes_str(path), acl, version });
	return op(f, ZK_OP_SET_ACL, pk_buf_bytes(&f->body));
}

struct zk_acls acls(const char *text)
{
	static uint8_t memory[4][4096];
	static int at;
	struct pk_buf items = PK_BUF_INIT;
	struct zk_acls list = { 0 };
	char scheme[64], id[256];
	int perms, used;

	while (sscanf(text, " %d %63s %255[^;]%n", &perms, scheme, id, &used) == 3) {
		zk_acl_encode(&items,
			      &(struct zk_acl){ perms, pk_bytes_str(scheme), pk_bytes_str(id) });
		list.count++;
		text += used;
		if (*text == ';')
			text++;
	}
	assert_true(items.len <= sizeof(memory[0]));
	if (items.len > 0)
		memcpy(memory[at % 4], items.data, items.len);
	list.raw = pk_bytes(memory[at++ % 4], items.len);
	pk_buf_release(&items);
	return list;
}

int32_t ask(struct fix *f, int32_t opcode, const char *path, bool watch)
{
	struct pk_bytes p = path != NULL ? pk_bytes_str(path) : PK_BYTES_NONE;

	pk_buf_clear(&f->body);
	zk_path_watch_req_encode(&f->body, &(struct zk_path_watch_req){ p, watch });
	pk_buf_clear(&f->out);
	f->read.out = &f->out;
	tree_read(f->t, opcode, pk_buf_bytes(&f->body), f->session, f->ids, f->id_count, false,
		  1 << 20, &f->read);
	return f->read.err;
}

struct zk_stat stat_of(struct fix *f, const char *path)
{
	struct zk_stat stat;

	assert_int_equal(ask(f, ZK_OP_EXISTS, path, false), 0);
	struct zk_rd r = zk_rd(pk_buf_bytes(&f->out));
	assert_int_equal(zk_stat_decode(&r, &stat), 0);
	assert_int_equal(r.in.len, 0);
	return stat;
}

bool there(struct fix *f, const char *path)
{
	int32_t err = ask(f, ZK_OP_EXISTS, path, false);

	assert_true(err == 0 || err == ZK_ENONODE);
	return err == 0;
}

const char *data_of(struct fix *f, const char *path)
{
	assert_int_equal(ask(f, ZK_OP_GET_DATA, path, false), 0);
	struct zk_rd r = zk_rd(pk_buf_bytes(&f->out));
	return text_of(zk_rd_buffer(&r));
}

const char *children_of(struct fix *f, const char *path)
{
	static char text[4096];
	struct pk_bytes name;
	size_t at = 0;

	assert_int_equal(ask(f, ZK_OP_GET_CHILDREN, path, false), 0);
	struct zk_rd r = zk_rd(pk_buf_bytes(&f->out));
	struct zk_strings names = zk_rd_strings(&r);
	text[0] = '\0';
	while (zk_strings_next(&names, &name))
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%.*s", at > 0 ? " " : "",
				       (int)name.len, name.data);
	return text;
}

const char *acl_of(struct fix *f, const char *path)
{
	static char text[4096];
	struct zk_acl acl;
	size_t at = 0;

	assert_int_equal(ask(f, ZK_OP_GET_ACL, path, false), 0);
	struct zk_rd r = zk_rd(pk_buf_bytes(&f->out));
	struct zk_acls list = zk_rd_acls(&r);
	text[0] = '\0';
	while (zk_acls_next(&list, &acl))
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%d %.*s %.*s",
				       at > 0 ? "; " : "", acl.perms, (int)acl.scheme.len,
				       acl.scheme.data, (int)acl.id.len, acl.id.data);
	return text;
}

const char *events(struct fix *f)
{
	static const char *const names[] = { "", "created", "deleted", "changed", "children" };
	static char text[65536];
	size_t at = 0;

	text[0] = '\0';
	for (size_t i = 0; i < f->r.event_count; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s %.*s", i > 0 ? ", " : "",
				       names[f->r.events[i].type], (int)f->r.events[i].path.len,
				       f->r.events[i].path.data);
	return text;
}

/* ---- multi ---- */

void multi_begin(struct fix *f)
{
	pk_buf_clear(&f->body);
}

void multi_create(struct fix *f, int32_t type, const char *path, const char *data, int32_t mode)
{
	zk_multi_op_header(&f->body, type);
	zk_create_req_encode(&f->body,
			     &(struct zk_create_req){ pk_bytes_str(path), pk_bytes_str(data),
						      zk_acls_open(), mode });
}

void multi_delete(struct fix *f, const char *path, int32_t version)
{
	zk_multi_op_header(&f->body, ZK_OP_DELETE);
	zk_delete_req_encode(&f->body, &(struct zk_delete_req){ pk_bytes_str(path), version });
}

void multi_set(struct fix *f, const char *path, const char *data, int32_t version)
{
	zk_multi_op_header(&f->body, ZK_OP_SET_DATA);
	zk_set_data_req_encode(&f->body, &(struct zk_set_data_req){ pk_bytes_str(path),
								    pk_bytes_str(data), version });
}

void multi_check(struct fix *f, const char *path, int32_t version)
{
	zk_multi_op_header(&f->body, ZK_OP_CHECK);
	zk_check_req_encode(&f->body, &(struct zk_check_req){ pk_bytes_str(path), version });
}

int32_t multi_go(struct fix *f)
{
	zk_multi_end(&f->body);
	return op(f, ZK_OP_MULTI, pk_buf_bytes(&f->body));
}

const char *results(struct fix *f)
{
	static char text[8192];
	struct zk_rd r = zk_rd(pk_buf_bytes(&f->r.body));
	struct zk_multi_result result;
	size_t at = 0;
	int rc;

	text[0] = '\0';
	while ((rc = zk_multi_result_next(&r, &result)) == 1) {
		const char *sep = at > 0 ? " " : "";
		char *to = text + at;
		size_t room = sizeof(text) - at;

		switch (result.type) {
		case ZK_OP_CREATE:
			at += (size_t)snprintf(to, room, "%screate:%s", sep,
					       text_of(result.u.create.path));
			break;
		case ZK_OP_CREATE2:
			at += (size_t)snprintf(to, room, "%screate2:%s", sep,
					       text_of(result.u.create2.path));
			break;
		case ZK_OP_SET_DATA:
			at += (size_t)snprintf(to, room, "%sset:v%d", sep,
					       result.u.set_data.stat.version);
			break;
		case ZK_OP_DELETE:
			at += (size_t)snprintf(to, room, "%sdelete", sep);
			break;
		case ZK_OP_CHECK:
			at += (size_t)snprintf(to, room, "%scheck", sep);
			break;
		default:
			at += (size_t)snprintf(to, room, "%serror:%d", sep, result.err);
			break;
		}
	}
	assert_int_equal(rc, 0);
	assert_int_equal(r.in.len, 0);
	return text;
}
