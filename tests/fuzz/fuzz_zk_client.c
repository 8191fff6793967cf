/*
 * tests/fuzz/fuzz_zk_client.c - a client in simulated time whose server says whatever the fuzzer
 * likes. After the handshake the input is a list of commands: feed bytes as they are, feed them as
 * a reply to the oldest request, let time pass, lose the connection, ask for something.
 */
#include "zkproto/client.h"
#include "zkproto/frame.h"
#include "zkproto/zk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct run {
	struct zkc *c;
	int64_t now;
	uint32_t conn;
	int32_t xid; /* of the next request to answer, as the client counts */
	size_t asked, answered;
};

static void on_done(void *owner, const struct zkc_result *r)
{
	struct run *run = owner;
	struct zk_strings names = r->names;
	struct zk_acls acl = r->acl;
	struct zk_acl one_acl;
	struct pk_bytes name;

	run->answered++;
	while (zk_strings_next(&names, &name))
		PK_ASSERT(name.data != NULL || name.len == 0);
	while (zk_acls_next(&acl, &one_acl))
		PK_ASSERT(one_acl.id.data != NULL || one_acl.id.len == 0);
}

static void on_watch(void *owner, const struct zkc_event *e)
{
	(void)owner;
	PK_ASSERT(e->type == ZK_EVENT_NONE || e->path.len > 0);
}

static void run_effects(struct run *r)
{
	struct zkc_effect fx;

	while (zkc_effect_next(r->c, &fx))
		if (fx.type == ZKC_FX_CONNECT)
			r->conn = fx.conn;
	zkc_check(r->c);
}

static void feed(struct run *r, struct pk_bytes in)
{
	zkc_on_bytes(r->c, r->conn, in, r->now);
	run_effects(r);
}

static void greet(struct run *r)
{
	struct pk_buf b = PK_BUF_INIT;
	size_t at = zk_frame_begin(&b);

	zk_connect_resp_encode(&b, &(struct zk_connect_resp){ 0, 4000, 0x77,
							      pk_bytes_str("0123456789abcdef"),
							      true, false });
	zk_frame_end(&b, at);
	zkc_on_open(r->c, r->conn, r->now);
	run_effects(r);
	feed(r, pk_buf_bytes(&b));
	pk_buf_release(&b);
}

static void answer(struct run *r, int32_t err, struct pk_bytes body)
{
	struct pk_buf b = PK_BUF_INIT;
	size_t at = zk_frame_begin(&b);

	zk_reply_header_encode(&b, &(struct zk_reply_header){ ++r->xid, 9, err });
	pk_buf_add_bytes(&b, body);
	zk_frame_end(&b, at);
	feed(r, pk_buf_bytes(&b));
	pk_buf_release(&b);
}

static void ask(struct run *r, uint8_t which)
{
	struct zkc_watch watch = { on_watch, r };
	struct pk_bytes path = pk_bytes_str(which & 0x10 ? "/a" : "/a/b");
	struct zkc_multi *m;

	r->asked++;
	switch (which & 0x0f) {
	case 0:
		zkc_get(r->c, path, watch, on_done, r);
		break;
	case 1:
		zkc_exists(r->c, path, watch, on_done, r);
		break;
	case 2:
		zkc_children(r->c, path, watch, on_done, r);
		break;
	case 3:
		zkc_create(r->c, path, path, zk_acls_open(), 0, 0, on_done, r);
		break;
	case 4:
		zkc_add_watch(r->c, path, ZK_ADD_WATCH_RECURSIVE, watch, on_done, r);
		break;
	case 5:
		zkc_remove_watches(r->c, path, ZK_WATCHER_ANY, watch, on_done, r);
		break;
	case 6:
		zkc_get_acl(r->c, path, on_done, r);
		break;
	case 7:
		zkc_whoami(r->c, on_done, r);
		break;
	case 8:
		m = zkc_multi_new(r->c);
		zkc_multi_delete(m, path, -1);
		zkc_multi_send(m, on_done, r);
		break;
	case 9:
		zkc_add_auth(r->c, "digest", path, on_done, r);
		break;
	case 10:
		zkc_close(r->c);
		r->asked--;
		break;
	default:
		zkc_sync(r->c, path, on_done, r);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct run r = { .now = 1000 };
	struct zkc_config cfg = { .server_count = 2,
				  .seed = 1,
				  .timeout_ms = 4000,
				  .reply_bytes_max = 4096,
				  .watches_max = 50 };
	struct pk_err err = PK_ERR_INIT;

	r.c = zkc_new(&cfg, &err);
	PK_ASSERT(r.c != NULL);
	zkc_step(r.c, r.now);
	run_effects(&r);
	greet(&r);
	while (size >= 2) {
		uint8_t what = data[0] % 7, arg = data[1];
		size_t len = arg < size - 2 ? arg : size - 2;
		struct pk_bytes in = pk_bytes(data + 2, len);

		data += 2;
		size -= 2;
		if (what == 0)
			feed(&r, in);
		else if (what == 1)
			answer(&r, ZK_OK, in);
		else if (what == 2)
			answer(&r, ZK_ENONODE, PK_BYTES_NONE);
		else if (what == 3)
			r.now += arg * 16;
		else if (what == 4)
			zkc_on_closed(r.c, r.conn, "fuzz", r.now);
		else if (what == 5)
			ask(&r, arg);
		else
			greet(&r);
		if (what < 2) {
			data += len;
			size -= len;
		}
		zkc_step(r.c, r.now);
		run_effects(&r);
	}
	/* Whatever happened, everything that was asked is answered once the client closes. */
	zkc_close(r.c);
	for (int i = 0; i < 4; i++) {
		r.now += ZKC_CLOSE_MS;
		zkc_step(r.c, r.now);
		run_effects(&r);
	}
	PK_ASSERT(r.asked == r.answered);
	zkc_free(r.c);
	return 0;
}
