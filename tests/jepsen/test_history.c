#include "tests/lib/test.h"

#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/rng.h"
#include "jepsen/history.h"

/* Both forms, and what a history in memory refuses. */

#define S(text) pk_bytes_str(text)

static bool part_same(const struct hist_part *a, const struct hist_part *b)
{
	return a->op == b->op && pk_bytes_eq(a->path, b->path) && pk_bytes_eq(a->data, b->data) &&
	       a->data_bytes == b->data_bytes && a->data_hash == b->data_hash &&
	       a->version == b->version && a->mode == b->mode && a->ttl_ms == b->ttl_ms &&
	       pk_bytes_eq(a->acl, b->acl) && a->watch == b->watch && a->err == b->err &&
	       a->has_stat == b->has_stat && memcmp(&a->stat, &b->stat, sizeof(a->stat)) == 0 &&
	       a->has_names == b->has_names && pk_bytes_eq(a->names, b->names) &&
	       pk_bytes_eq(a->created, b->created) &&
	       (a->data.data == NULL) == (b->data.data == NULL);
}

static bool event_same(const struct hist_event *a, const struct hist_event *b)
{
	bool same = a->kind == b->kind && a->time_ns == b->time_ns && a->process == b->process &&
		    a->call == b->call && a->session == b->session && a->server == b->server &&
		    a->zxid == b->zxid && a->xid == b->xid && a->state == b->state &&
		    a->timeout_ms == b->timeout_ms && a->event == b->event &&
		    a->flags == b->flags && a->count == b->count && a->digest == b->digest &&
		    pk_bytes_eq(a->name, b->name) && pk_bytes_eq(a->text, b->text) &&
		    part_same(&a->part, &b->part) && a->part_count == b->part_count;

	for (uint32_t i = 0; same && i < a->part_count; i++)
		same = part_same(&a->parts[i], &b->parts[i]);
	return same;
}

static int32_t some(struct pk_rng *r)
{
	return (int32_t)pk_rng_next(r) >> pk_rng_below(r, 32);
}

static int64_t some64(struct pk_rng *r)
{
	return (int64_t)(pk_rng_next(r) >> 1) >> pk_rng_below(r, 63);
}

static void random_part(struct pk_rng *r, struct hist_part *p)
{
	static const char *const texts[] = { "/", "/a", "/a/b c", "/\xc3\xa4" };

	memset(p, 0, sizeof(*p));
	p->op = (int32_t)pk_rng_below(r, 25);
	p->path = S(texts[pk_rng_below(r, 4)]);
	if (pk_rng_below(r, 2) == 0) {
		p->data = S(pk_rng_below(r, 2) == 0 ? "" : "a value \"quoted\"");
		p->data_bytes = p->data.len;
		p->data_hash = pk_hist_hash(p->data);
	} else if (pk_rng_below(r, 2) == 0) {
		p->data_bytes = pk_rng_below(r, INT32_MAX);
		p->data_hash = pk_rng_next(r) | 1;
	}
	p->version = some(r);
	p->mode = (int32_t)pk_rng_below(r, 7);
	p->ttl_ms = some64(r);
	if (pk_rng_below(r, 3) == 0)
		p->acl = S("31 world:anyone\n1 digest:a:b c\n");
	p->watch = (int32_t)pk_rng_below(r, HIST_WATCHES);
	p->err = -(int32_t)pk_rng_below(r, 130);
	if (pk_rng_below(r, 2) == 0) {
		p->has_stat = true;
		p->stat = (struct zk_stat){
			some64(r), some64(r), some64(r), some64(r),
			some(r),   some(r),   some(r),   (int64_t)pk_rng_next(r),
			some(r),   some(r),   some64(r)
		};
	}
	if (pk_rng_below(r, 3) == 0) {
		p->has_names = true;
		p->names = S(pk_rng_below(r, 2) == 0 ? "" : "x\ny z\n");
	}
	if (pk_rng_below(r, 3) == 0)
		p->created = S("/a/q0000000001");
}

static void random_event(struct pk_rng *r, struct hist_event *e, struct hist_part parts[3])
{
	static const enum hist_kind kinds[] = { HIST_INVOKE, HIST_OK,   HIST_FAIL, HIST_INFO,
						HIST_CLIENT, HIST_NOTE, HIST_NODE };

	memset(e, 0, sizeof(*e));
	random_part(r, &e->part);
	e->kind = kinds[pk_rng_below(r, PK_COUNT(kinds))];
	e->time_ns = some64(r) & INT64_MAX;
	e->process = (uint32_t)some(r);
	e->call = pk_rng_next(r) >> pk_rng_below(r, 64);
	e->session = pk_rng_next(r) >> pk_rng_below(r, 64);
	e->server = (uint32_t)pk_rng_below(r, 6);
	e->zxid = some64(r);
	e->xid = some(r);
	e->state = (enum hist_state)pk_rng_below(r, HIST_STATES);
	e->timeout_ms = some(r);
	e->event = some(r);
	e->flags = (uint32_t)some(r);
	e->count = pk_rng_next(r) >> pk_rng_below(r, 64);
	e->digest = pk_rng_next(r);
	if (pk_rng_below(r, 2) == 0)
		e->name = S("name");
	if (pk_rng_below(r, 2) == 0)
		e->text = S("a text, \xe2\x82\xac");
	if (e->kind >= HIST_INVOKE && e->kind <= HIST_INFO)
		e->part_count = (uint32_t)pk_rng_below(r, 4);
	for (uint32_t i = 0; i < e->part_count; i++)
		random_part(r, &parts[i]);
	e->parts = parts;
}

static void test_an_event_comes_back_from_either_form(void **state)
{
	struct hist_scratch scratch = HIST_SCRATCH_INIT;
	struct pk_err err = PK_ERR_INIT;
	struct pk_rng r;

	(void)state;
	pk_rng_seed(&r, 7);
	for (int i = 0; i < 3000; i++) {
		struct hist_part parts[3];
		struct hist_event e, back;
		struct pk_buf b = PK_BUF_INIT;
		random_event(&r, &e, parts);

		hist_encode(&b, &e);
		struct pk_bytes in = pk_buf_bytes(&b);
		assert_int_equal(hist_decode(&in, &back, &scratch, &err), 1);
		assert_int_equal(in.len, 0);
		assert_true(event_same(&e, &back));

		pk_buf_clear(&b);
		hist_encode_json(&b, &e);
		assert_int_equal(b.data[b.len - 1], '\n');
		if (hist_decode_json(pk_bytes(b.data, b.len - 1), &back, &scratch, &err) != 0)
			fail_msg("%s: %s", err.text, pk_buf_str(&b));
		assert_true(event_same(&e, &back));
		pk_buf_release(&b);
	}
	hist_scratch_release(&scratch);
}

static void test_a_flipped_bit_or_a_cut_is_seen(void **state)
{
	struct hist_event e = {
		.kind = HIST_OK,
		.time_ns = 5,
		.process = 1,
		.zxid = 0x100000001,
		.part = { .op = ZK_OP_GET_DATA, .data = S("value"), .has_stat = true }
	};
	struct hist_scratch scratch = HIST_SCRATCH_INIT;
	struct pk_err err = PK_ERR_INIT;
	struct hist_event back;
	struct pk_buf b = PK_BUF_INIT;

	(void)state;
	hist_encode(&b, &e);
	for (size_t cut = 0; cut < b.len; cut++) {
		struct pk_bytes in = pk_bytes(b.data, cut);
		assert_int_equal(hist_decode(&in, &back, &scratch, &err), 0);
	}
	for (size_t bit = 8; bit < 8 * b.len; bit++) { /* the first byte is the length */
		b.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		struct pk_bytes in = pk_buf_bytes(&b);
		assert_int_equal(hist_decode(&in, &back, &scratch, &err), PK_ECORRUPT);
		b.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	pk_buf_release(&b);
	hist_scratch_release(&scratch);
}

static void test_a_long_value_is_kept_as_length_and_hash(void **state)
{
	char value[1000];
	struct hist_event e = { .kind = HIST_INVOKE, .part = { .op = ZK_OP_SET_DATA } }, back;
	struct hist_scratch scratch = HIST_SCRATCH_INIT;
	struct pk_err err = PK_ERR_INIT;
	struct pk_buf b = PK_BUF_INIT;

	(void)state;
	memset(value, 'v', sizeof(value));
	e.part.data = pk_bytes(value, sizeof(value));
	hist_encode(&b, &e);
	assert_true(b.len < 100);
	struct pk_bytes in = pk_buf_bytes(&b);
	assert_int_equal(hist_decode(&in, &back, &scratch, &err), 1);
	assert_null(back.part.data.data);
	assert_int_equal(back.part.data_bytes, sizeof(value));
	assert_true(back.part.data_hash == pk_hist_hash(e.part.data));
	pk_buf_release(&b);
	hist_scratch_release(&scratch);
}

static int json(const char *line, struct hist_event *e, struct hist_scratch *scratch)
{
	struct pk_err err = PK_ERR_INIT;

	return hist_decode_json(S(line), e, scratch, &err);
}

static void test_json_takes_what_a_script_writes(void **state)
{
	struct hist_scratch scratch = HIST_SCRATCH_INIT;
	struct hist_event e;

	(void)state;
	assert_int_equal(
		json("{\"kind\": \"ok\", \"time\": 12, \"process\": 3, \"call\": 4, \"session\": "
		     "\"0x1000000000000001\", \"zxid\": \"0x100000002\", \"op\": \"getData\", "
		     "\"data64\": \"AAH/\", \"stat\": [1,2,3,4,5,6,7,8,9,10,11]}",
		     &e, &scratch),
		0);
	assert_int_equal(e.kind, HIST_OK);
	assert_true(e.session == 0x1000000000000001u);
	assert_true(e.zxid == 0x100000002);
	assert_int_equal(e.part.op, ZK_OP_GET_DATA);
	assert_true(pk_bytes_eq(e.part.data, pk_bytes("\0\1\xff", 3)));
	assert_int_equal(e.part.stat.num_children, 10);
	assert_int_equal(e.part.stat.pzxid, 11);
	assert_int_equal(json("{\"kind\":\"ok\",\"op\":\"getChildren\",\"names\":[\"a\",\"b\"]}",
			      &e, &scratch),
			 0);
	assert_true(pk_bytes_is(e.part.names, "a\nb\n"));
	hist_scratch_release(&scratch);
}

static void test_json_of_another_form_is_refused(void **state)
{
	static const char *const lines[] = {
		"",
		"[]",
		"{\"kind\":\"ok\"",
		"{\"kind\":\"okay\"}",
		"{\"time\":1}",
		"{\"kind\":\"ok\",\"tyme\":1}",
		"{\"kind\":\"ok\",\"time\":-1}",
		"{\"kind\":\"ok\",\"time\":1.5}",
		"{\"kind\":\"ok\",\"time\":1,\"time\":2}",
		"{\"kind\":\"ok\",\"process\":4294967296}",
		"{\"kind\":\"ok\",\"session\":\"0xg\"}",
		"{\"kind\":\"ok\",\"op\":\"frobnicate\"}",
		"{\"kind\":\"ok\",\"stat\":[1,2,3]}",
		"{\"kind\":\"ok\",\"stat\":[1,2,3,4,5,6,7,8,9,10,\"x\"]}",
		"{\"kind\":\"ok\",\"names\":[\"a\\nb\"]}",
		"{\"kind\":\"ok\",\"names\":\"a\"}",
		"{\"kind\":\"ok\",\"data64\":\"A\"}",
		"{\"kind\":\"ok\",\"data64\":\"====\"}",
		"{\"kind\":\"ok\",\"data\":\"a\",\"data_hash\":1}",
		"{\"kind\":\"invoke\",\"path\":\"a\"}",
		"{\"kind\":\"invoke\",\"acl\":[\"world:anyone\"]}",
		"{\"kind\":\"invoke\",\"watch\":\"often\"}",
		"{\"kind\":\"note\",\"parts\":[{}]}",
		"{\"kind\":\"ok\",\"parts\":[1]}",
		"{\"kind\":\"session\",\"state\":\"expired\"}",
		"{\"kind\":\"watch\",\"event\":0,\"path\":\"/a\"}",
	};
	struct hist_scratch scratch = HIST_SCRATCH_INIT;
	struct hist_event e;

	(void)state;
	for (size_t i = 0; i < PK_COUNT(lines); i++)
		if (json(lines[i], &e, &scratch) >= 0)
			fail_msg("taken: %s", lines[i]);
	hist_scratch_release(&scratch);
}

static struct hist_event invoke(uint32_t process, uint64_t call, int64_t time_ns)
{
	return (struct hist_event){ .kind = HIST_INVOKE,
				    .process = process,
				    .call = call,
				    .time_ns = time_ns,
				    .part = { .op = ZK_OP_GET_DATA, .path = S("/a") } };
}

static void test_answers_belong_to_what_was_asked(void **state)
{
	struct history *h = history_new();
	struct pk_err err = PK_ERR_INIT;
	struct hist_event e = invoke(1, 5, 100);

	(void)state;
	assert_int_equal(history_add(h, &e, &err), 0);
	assert_int_equal(history_add(h, &e, &err), PK_EINVAL); /* open already */
	e.time_ns = 99;
	e.call = 6;
	assert_int_equal(history_add(h, &e, &err), PK_EINVAL); /* time falls */
	e = (struct hist_event){ .kind = HIST_OK, .process = 1, .call = 6, .time_ns = 101 };
	assert_int_equal(history_add(h, &e, &err), PK_EINVAL); /* was not asked */
	e.call = 5;
	e.process = 2;
	assert_int_equal(history_add(h, &e, &err), PK_EINVAL); /* by this one */
	e.process = 1;
	e.part.err = ZK_ENONODE;
	assert_int_equal(history_add(h, &e, &err), PK_EINVAL); /* ok with an error */
	e.part.err = 0;
	assert_int_equal(history_add(h, &e, &err), 0);
	assert_int_equal(history_add(h, &e, &err), PK_EINVAL); /* once */
	assert_int_equal(history_op_count(h), 1);
	assert_int_equal(history_event_count(h), 2);
	history_free(h);
}

static void test_many_open_calls_find_their_answers(void **state)
{
	struct history *h = history_new();
	struct pk_err err = PK_ERR_INIT;

	(void)state;
	for (uint64_t round = 0; round < 50; round++) {
		for (uint64_t i = 0; i < 40; i++) {
			struct hist_event e = invoke(1, round * 100 + i, 1);
			assert_int_equal(history_add(h, &e, &err), 0);
		}
		for (uint64_t i = 40; i-- > 0;) {
			struct hist_event e = { .kind = HIST_INFO,
						.process = 1,
						.call = round * 100 + (i * 7) % 40,
						.time_ns = 1 };
			assert_int_equal(history_add(h, &e, &err), 0);
		}
	}
	assert_int_equal(history_op_count(h), 2000);
	history_free(h);
}

static void test_faults_end_that_began_and_nodes_belong_to_a_dump(void **state)
{
	struct history *h = history_new();
	struct pk_err err = PK_ERR_INIT;
	struct hist_event e = { .kind = HIST_FAULT_END, .name = S("kill"), .call = 1 };

	(void)state;
	assert_int_equal(history_add(h, &e, &err), PK_EINVAL);
	e.kind = HIST_FAULT_BEGIN;
	assert_int_equal(history_add(h, &e, &err), 0);
	e.kind = HIST_FAULT_END;
	assert_int_equal(history_add(h, &e, &err), 0);
	assert_int_equal(history_add(h, &e, &err), PK_EINVAL);
	e = (struct hist_event){ .kind = HIST_NODE, .part = { .path = S("/a") } };
	assert_int_equal(history_add(h, &e, &err), PK_EINVAL);
	struct hist_event dump = {
		.kind = HIST_DUMP, .zxid = 9, .count = 1, .part = { .path = S("/a") }
	};
	assert_int_equal(history_add(h, &dump, &err), 0);
	assert_int_equal(history_add(h, &e, &err), 0);
	assert_int_equal(history_add(h, &e, &err), PK_EINVAL); /* one was announced */
	history_free(h);
}

struct file {
	char path[64];
};

static struct file file_new(void)
{
	struct file f = { "/tmp/paddock-history-XXXXXX" };
	int fd = mkstemp(f.path);

	assert_true(fd >= 0);
	close(fd);
	return f;
}

static void test_a_file_comes_back_and_a_torn_end_is_told(void **state)
{
	struct file f = file_new();
	struct pk_err err = PK_ERR_INIT;
	struct hist_writer *w = hist_writer_open(f.path, &err);
	uint64_t torn = 99;

	(void)state;
	assert_non_null(w);
	for (uint64_t i = 0; i < 50000; i++) {
		struct hist_event e = invoke(1, i, (int64_t)i);
		hist_write(w, &e);
		e = (struct hist_event){
			.kind = HIST_INFO, .process = 1, .call = i, .time_ns = (int64_t)i
		};
		hist_write(w, &e);
	}
	assert_int_equal(hist_writer_close(w, &err), 0);
	struct history *h = history_new();
	assert_int_equal(history_load(h, f.path, &torn, &err), 0);
	assert_int_equal(torn, 0);
	assert_int_equal(history_op_count(h), 50000);
	history_free(h);

	FILE *file = fopen(f.path, "r+");
	assert_non_null(file);
	assert_int_equal(fseek(file, 0, SEEK_END), 0);
	long end = ftell(file);
	assert_int_equal(ftruncate(fileno(file), end - 3), 0);
	fclose(file);
	h = history_new();
	assert_int_equal(history_load(h, f.path, &torn, &err), 0);
	assert_true(torn > 0 && torn < 30);
	assert_int_equal(history_event_count(h), 99999);
	history_free(h);

	file = fopen(f.path, "r+");
	assert_non_null(file);
	assert_int_equal(fseek(file, end / 2, SEEK_SET), 0);
	assert_true(fputs("spoiled", file) >= 0);
	fclose(file);
	h = history_new();
	assert_true(history_load(h, f.path, &torn, &err) < 0);
	assert_non_null(strstr(err.text, f.path));
	history_free(h);
	unlink(f.path);
}

static void test_lines_of_json_load_as_a_history(void **state)
{
	struct file f = file_new();
	FILE *file = fopen(f.path, "w");
	struct pk_err err = PK_ERR_INIT;
	uint64_t torn = 0;

	(void)state;
	assert_non_null(file);
	fputs("{\"kind\":\"client\",\"process\":1,\"name\":\"kazoo\"}\n\n"
	      "{\"kind\":\"invoke\",\"process\":1,\"call\":1,\"op\":\"setData\",\"path\":\"/"
	      "a\",\"data\":\"x\"}\n"
	      "{\"kind\":\"info\",\"process\":1,\"call\":1}\n{\"kind\":\"inv",
	      file);
	fclose(file);
	struct history *h = history_new();
	assert_int_equal(history_load(h, f.path, &torn, &err), 0);
	assert_int_equal(torn, 12);
	assert_int_equal(history_event_count(h), 3);
	history_free(h);

	file = fopen(f.path, "a");
	assert_non_null(file);
	fputs("oke\"}\n", file);
	fclose(file);
	h = history_new();
	assert_int_equal(history_load(h, f.path, &torn, &err), PK_EINVAL);
	assert_non_null(strstr(err.text, "line 5"));
	history_free(h);

	file = fopen(f.path, "w");
	assert_non_null(file);
	fputs("neither of them", file);
	fclose(file);
	h = history_new();
	assert_int_equal(history_load(h, f.path, &torn, &err), PK_ECORRUPT);
	history_free(h);
	unlink(f.path);
	assert_null(hist_writer_open("/nonexistent/folder/file", &err));
	assert_int_equal(err.code, PK_ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_event_comes_back_from_either_form),
		cmocka_unit_test(test_a_flipped_bit_or_a_cut_is_seen),
		cmocka_unit_test(test_a_long_value_is_kept_as_length_and_hash),
		cmocka_unit_test(test_json_takes_what_a_script_writes),
		cmocka_unit_test(test_json_of_another_form_is_refused),
		cmocka_unit_test(test_answers_belong_to_what_was_asked),
		cmocka_unit_test(test_many_open_calls_find_their_answers),
		cmocka_unit_test(test_faults_end_that_began_and_nodes_belong_to_a_dump),
		cmocka_unit_test(test_a_file_comes_back_and_a_torn_end_is_told),
		cmocka_unit_test(test_lines_of_json_load_as_a_history),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
