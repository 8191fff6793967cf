#include "cli/bench_work.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"
#include "zkproto/frame.h"
#include "zkproto/multi.h"

#define PATTERN_PERIOD 251 /* a prime: stamps that are near give bytes that differ */
#define PATH_BYTES     (BENCH_FOLDER_BYTES_MAX + 64)

static const char *const op_names[] = {
	[BENCH_CREATE] = "create",
	[BENCH_CREATE_FOLDER] = "create folder",
	[BENCH_CREATE_DIR] = "create directory",
	[BENCH_CREATE_OWN] = "create ephemeral",
	[BENCH_SET] = "set",
	[BENCH_GET] = "get",
	[BENCH_WATCH] = "watch",
	[BENCH_EXISTS] = "exists",
	[BENCH_EXISTS_OWN] = "exists of an ephemeral",
	[BENCH_REWATCH] = "setWatches",
	[BENCH_CHILDREN] = "children",
	[BENCH_MULTI] = "multi",
	[BENCH_SYNC] = "sync",
	[BENCH_DELETE] = "delete",
	[BENCH_DELETE_DIR] = "delete directory",
	[BENCH_DELETE_FOLDER] = "delete folder",
	[BENCH_PING] = "ping",
	[BENCH_CLOSE] = "close",
};

static const int32_t opcodes[] = {
	[BENCH_CREATE] = ZK_OP_CREATE,        [BENCH_CREATE_FOLDER] = ZK_OP_CREATE,
	[BENCH_CREATE_DIR] = ZK_OP_CREATE,    [BENCH_SET] = ZK_OP_SET_DATA,
	[BENCH_GET] = ZK_OP_GET_DATA,         [BENCH_WATCH] = ZK_OP_GET_DATA,
	[BENCH_EXISTS] = ZK_OP_EXISTS,        [BENCH_CHILDREN] = ZK_OP_GET_CHILDREN,
	[BENCH_MULTI] = ZK_OP_MULTI,          [BENCH_SYNC] = ZK_OP_SYNC,
	[BENCH_DELETE] = ZK_OP_DELETE,        [BENCH_DELETE_DIR] = ZK_OP_DELETE,
	[BENCH_DELETE_FOLDER] = ZK_OP_DELETE, [BENCH_PING] = ZK_OP_PING,
	[BENCH_CLOSE] = ZK_OP_CLOSE_SESSION,  [BENCH_CREATE_OWN] = ZK_OP_CREATE,
	[BENCH_EXISTS_OWN] = ZK_OP_EXISTS,    [BENCH_REWATCH] = ZK_OP_SET_WATCHES,
};

void bench_work_init(struct bench_work *w)
{
	*w = (struct bench_work){ .keys = 1, .dirs = 1, .multi_count = 1 };
	pk_rng_seed(&w->rng, 1);
	w->value_bytes = BENCH_VALUE_BYTES_MIN;
	bench_work_prepare(w);
}

void bench_work_release(struct bench_work *w)
{
	free(w->pattern);
	free(w->value);
	*w = (struct bench_work){ 0 };
}

void bench_work_prepare(struct bench_work *w)
{
	size_t len = (size_t)w->value_bytes + PATTERN_PERIOD;

	PK_ASSERT(w->value_bytes >= BENCH_VALUE_BYTES_MIN);
	PK_ASSERT(w->value_bytes <= BENCH_VALUE_BYTES_MAX);
	w->pattern = pk_realloc(w->pattern, len);
	w->value = pk_realloc(w->value, w->value_bytes);
	for (size_t i = 0; i < len; i++)
		w->pattern[i] = (uint8_t)(i % PATTERN_PERIOD * 167U >> 1);
}

uint32_t bench_work_depth(const struct bench_work *w)
{
	uint32_t depth = 0;

	for (const char *at = w->folder; *at != '\0'; at++)
		depth += *at == '/';
	return depth;
}

void bench_work_value(const struct bench_work *w, uint64_t key, uint64_t stamp, uint8_t *to)
{
	pk_put_be64(to, key);
	pk_put_be64(to + 8, stamp);
	memcpy(to + BENCH_VALUE_BYTES_MIN, w->pattern + stamp % PATTERN_PERIOD,
	       w->value_bytes - BENCH_VALUE_BYTES_MIN);
}

static bool value_is(const struct bench_work *w, uint64_t key, struct pk_bytes value)
{
	uint64_t stamp;

	if (value.len != w->value_bytes || pk_get_be64(value.data) != key)
		return false;
	stamp = pk_get_be64(value.data + 8);
	return memcmp(value.data + BENCH_VALUE_BYTES_MIN, w->pattern + stamp % PATTERN_PERIOD,
		      w->value_bytes - BENCH_VALUE_BYTES_MIN) == 0;
}

static char *put_number(char *to, uint64_t n, int digits)
{
	for (int i = digits - 1; i >= 0; i--, n /= 10)
		to[i] = (char)('0' + n % 10);
	return to + digits;
}

/* Without printf, which would take a third of the generator's time. */
static struct pk_bytes path_of(const struct bench_work *w, enum bench_op op, uint64_t key,
			       char *path)
{
	size_t len = strlen(w->folder);
	char *end = path + len;

	memcpy(path, w->folder, len);
	switch (op) {
	case BENCH_CREATE_FOLDER:
		for (end = path + 1; end < path + len; end++) {
			if (*end == '/' && key-- == 0)
				break;
		}
		break;
	case BENCH_DELETE_FOLDER:
	case BENCH_PING:
	case BENCH_CLOSE:
		break;
	case BENCH_CHILDREN:
		key = 0;
		/* fallthrough */
	case BENCH_CREATE_DIR:
	case BENCH_DELETE_DIR:
		memcpy(end, "/d", 2);
		end = put_number(end + 2, key, 6);
		break;
	case BENCH_CREATE:
	case BENCH_SET:
	case BENCH_GET:
	case BENCH_WATCH:
	case BENCH_EXISTS:
	case BENCH_CREATE_OWN:
	case BENCH_EXISTS_OWN:
	case BENCH_REWATCH:
	case BENCH_MULTI:
	case BENCH_SYNC:
	case BENCH_DELETE:
		memcpy(end, "/d", 2);
		end = put_number(end + 2, key % w->dirs, 6);
		memcpy(end, "/n", 2);
		end = put_number(end + 2, key, 10);
		break;
	}
	return pk_bytes(path, (size_t)(end - path));
}

static struct pk_bytes next_value(struct bench_work *w, uint64_t key)
{
	bench_work_value(w, key, ++w->stamp, w->value);
	return pk_bytes(w->value, w->value_bytes);
}

static void encode_multi(struct bench_work *w, struct pk_buf *out, uint64_t key)
{
	char path[PATH_BYTES];

	for (uint32_t i = 0; i < w->multi_count; i++) {
		uint64_t at = (key + i) % w->keys;
		struct zk_set_data_req req = {
			.path = path_of(w, BENCH_SET, at, path),
			.data = next_value(w, at),
			.version = ZK_VERSION_ANY,
		};

		zk_multi_op_header(out, ZK_OP_SET_DATA);
		zk_set_data_req_encode(out, &req);
	}
	zk_multi_end(out);
}

static void encode_rewatch(const struct bench_work *w, struct pk_buf *out, struct pk_bytes path)
{
	struct pk_buf items = PK_BUF_INIT;

	zk_wr_ustring(&items, path);
	zk_set_watches_req_encode(out, &(struct zk_set_watches_req){
					       .relative_zxid = w->zxid,
					       .data = { .count = 1, .raw = pk_buf_bytes(&items) },
				       });
	pk_buf_release(&items);
}

void bench_work_encode(struct bench_work *w, struct pk_buf *out, const struct bench_request *r)
{
	char path[PATH_BYTES];
	struct pk_bytes at = path_of(w, r->op, r->key, path);
	size_t frame = zk_frame_begin(out);

	zk_wr_int(out, r->xid);
	zk_wr_int(out, opcodes[r->op]);
	switch ((enum bench_op)r->op) {
	case BENCH_CREATE:
	case BENCH_CREATE_OWN:
		zk_create_req_encode(
			out, &(struct zk_create_req){
				     .path = at,
				     .data = next_value(w, r->key),
				     .acl = zk_acls_open(),
				     .flags = r->op == BENCH_CREATE_OWN ? ZK_CREATE_EPHEMERAL : 0,
			     });
		break;
	case BENCH_REWATCH:
		encode_rewatch(w, out, at);
		break;
	case BENCH_CREATE_FOLDER:
	case BENCH_CREATE_DIR:
		zk_create_req_encode(out, &(struct zk_create_req){ .path = at,
								   .data = pk_bytes_str(""),
								   .acl = zk_acls_open() });
		break;
	case BENCH_SET:
		zk_set_data_req_encode(out,
				       &(struct zk_set_data_req){ .path = at,
								  .data = next_value(w, r->key),
								  .version = ZK_VERSION_ANY });
		break;
	case BENCH_GET:
	case BENCH_WATCH:
	case BENCH_EXISTS:
	case BENCH_EXISTS_OWN:
	case BENCH_CHILDREN:
		zk_path_watch_req_encode(out, &(struct zk_path_watch_req){
						      .path = at, .watch = r->op == BENCH_WATCH });
		break;
	case BENCH_MULTI:
		encode_multi(w, out, r->key);
		break;
	case BENCH_SYNC:
		zk_path_req_encode(out, &(struct zk_path_req){ .path = at });
		break;
	case BENCH_DELETE:
	case BENCH_DELETE_DIR:
	case BENCH_DELETE_FOLDER:
		zk_delete_req_encode(
			out, &(struct zk_delete_req){ .path = at, .version = ZK_VERSION_ANY });
		break;
	case BENCH_PING:
	case BENCH_CLOSE:
		break;
	}
	zk_frame_end(out, frame);
}

static bool multi_is(const struct bench_work *w, const struct zk_reply_header *header,
		     struct zk_rd *body)
{
	struct zk_multi_result result;

	for (uint32_t i = 0; i < w->multi_count; i++) {
		if (zk_multi_result_next(body, &result) != 1 || result.type != ZK_OP_SET_DATA ||
		    result.u.set_data.stat.mzxid != header->zxid)
			return false;
	}
	return zk_multi_result_next(body, &result) == 0;
}

static bool body_is(const struct bench_work *w, const struct bench_request *r,
		    const struct zk_reply_header *header, struct zk_rd *body)
{
	union {
		struct zk_path_resp path;
		struct zk_stat_resp stat;
		struct zk_get_data_resp data;
		struct zk_get_children_resp children;
	} u;
	char path[PATH_BYTES];

	switch ((enum bench_op)r->op) {
	case BENCH_CREATE:
	case BENCH_CREATE_FOLDER:
	case BENCH_CREATE_DIR:
	case BENCH_CREATE_OWN:
	case BENCH_SYNC:
		return zk_path_resp_decode(body, &u.path) == 0 &&
		       pk_bytes_eq(u.path.path, path_of(w, r->op, r->key, path));
	case BENCH_SET:
		return zk_stat_resp_decode(body, &u.stat) == 0 &&
		       u.stat.stat.mzxid == header->zxid &&
		       u.stat.stat.data_length == (int32_t)w->value_bytes;
	case BENCH_GET:
	case BENCH_WATCH:
		return zk_get_data_resp_decode(body, &u.data) == 0 &&
		       u.data.stat.mzxid <= header->zxid && value_is(w, r->key, u.data.data);
	case BENCH_EXISTS:
		return zk_stat_resp_decode(body, &u.stat) == 0 &&
		       u.stat.stat.mzxid <= header->zxid &&
		       u.stat.stat.data_length == (int32_t)w->value_bytes;
	case BENCH_EXISTS_OWN:
		return zk_stat_resp_decode(body, &u.stat) == 0 &&
		       u.stat.stat.ephemeral_owner == w->owner;
	case BENCH_CHILDREN:
		return zk_get_children_resp_decode(body, &u.children) == 0 &&
		       u.children.children.count == w->children;
	case BENCH_MULTI:
		return multi_is(w, header, body);
	case BENCH_DELETE:
	case BENCH_DELETE_DIR:
	case BENCH_DELETE_FOLDER:
	case BENCH_PING:
	case BENCH_REWATCH:
	case BENCH_CLOSE:
		return body->in.len == 0;
	}
	return false;
}

int bench_work_check(const struct bench_work *w, const struct bench_request *r,
		     const struct zk_reply_header *header, struct zk_rd *body, struct pk_err *err)
{
	bool may_exist = r->op == BENCH_CREATE_FOLDER || r->op == BENCH_CREATE_DIR;

	if (header->err == ZK_ENODEEXISTS && may_exist)
		return 0;
	if (header->err != ZK_OK)
		return pk_err_set(err, PK_EPROTO, "%s of node %" PRIu64 ": %s", op_names[r->op],
				  r->key, zk_error_name(header->err));
	if (!body_is(w, r, header, body))
		return pk_err_set(err, PK_EPROTO,
				  "%s of node %" PRIu64 ": a reply that cannot be right",
				  op_names[r->op], r->key);
	return 0;
}

int bench_work_check_event(const struct bench_work *w, uint64_t key, struct zk_rd *body,
			   struct pk_err *err)
{
	struct zk_watcher_event event;
	char path[PATH_BYTES];

	if (zk_watcher_event_decode(body, &event) != 0 || event.type != ZK_EVENT_DATA_CHANGED ||
	    !pk_bytes_eq(event.path, path_of(w, BENCH_GET, key, path)))
		return pk_err_set(err, PK_EPROTO, "an event that cannot be right");
	return 0;
}
