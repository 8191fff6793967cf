#include "base/mutant.h"
#include "store/tree_impl.h"
#include "zkproto/zk.h"

/*
 * Sessions are in kv (S<id>) and all of them in memory as well: every operation asks for one. Their
 * ephemerals are found by E<session><node id>, in the order of creation.
 */
struct session {
	UT_hash_handle hh;
	struct tree_session s;
};

#define RECORD_BYTES 36u
#define BODY_BYTES   20u /* timeout_ms le32, password */

static uint64_t session_extra(const struct tree_session *s)
{
	uint64_t a = mix64(s->id, s->gen);
	uint64_t b = mix64(s->owner, (uint64_t)(uint32_t)s->timeout_ms);

	return mix64(mix64(a, b), mix64(pk_get_le64(s->password), pk_get_le64(s->password + 8)));
}

static void encode(const struct tree_session *s, uint8_t out[RECORD_BYTES])
{
	pk_put_le64(out, s->gen);
	pk_put_le64(out + 8, s->owner);
	pk_put_le32(out + 16, (uint32_t)s->timeout_ms);
	memcpy(out + 20, s->password, sizeof(s->password));
}

static void decode(struct tree_session *s, struct pk_bytes key, struct pk_bytes val)
{
	PK_ASSERT(key.len == 9 && val.len == RECORD_BYTES);
	s->id = pk_get_be64(key.data + 1);
	s->gen = pk_get_le64(val.data);
	s->owner = pk_get_le64(val.data + 8);
	s->timeout_ms = (int32_t)pk_get_le32(val.data + 16);
	memcpy(s->password, val.data + 20, sizeof(s->password));
}

static struct session *find(struct tree *t, uint64_t id)
{
	struct session *s;

	HASH_FIND(hh, t->sessions, &id, sizeof(id), s);
	return s;
}

static struct session *add(struct tree *t, const struct tree_session *from)
{
	struct session *s = pk_alloc(sizeof(*s));

	s->s = *from;
	HASH_ADD(hh, t->sessions, s.id, sizeof(s->s.id), s);
	return s;
}

static void drop(struct tree *t, struct session *s)
{
	HASH_DEL(t->sessions, s);
	free(s);
}

static void save(struct tree *t, const struct tree_session *s)
{
	uint8_t key[9], val[RECORD_BYTES];

	encode(s, val);
	tree_put(t, pk_bytes(key, key_u64(key, 'S', s->id)), pk_bytes(val, sizeof(val)));
}

static struct kv_cur *sessions_cursor(struct tree *t)
{
	return kv_cur_open(t->kv, pk_bytes("S", 1), PK_BYTES_NONE);
}

void sessions_load(struct tree *t)
{
	struct kv_cur *cur = sessions_cursor(t);
	struct tree_session s;
	struct pk_bytes key, val;

	while (kv_cur_next(cur, &key, &val) == 1) {
		decode(&s, key, val);
		add(t, &s);
	}
	kv_cur_close(cur);
	PK_ASSERT(HASH_COUNT(t->sessions) == t->now.meta.sessions);
}

void sessions_release(struct tree *t)
{
	struct session *s, *next;

	HASH_ITER (hh, t->sessions, s, next)
		drop(t, s);
}

/* ---- checks ---- */

int32_t session_check(struct tree *t, const struct txn_op *op)
{
	if (op->session_id == 0 || op->gen == TXN_GEN_LOCAL)
		return 0;
	struct session *s = find(t, op->session_id);
	if (s == NULL)
		return ZK_ESESSIONEXPIRED;
	return s->s.gen == op->gen || MUTANT(moved_session_not_checked) ? 0 : ZK_ESESSIONMOVED;
}

/* The session that is to own an ephemeral. */
int32_t session_check_global(struct tree *t, const struct txn_op *op)
{
	if (op->session_id == 0)
		return ZK_ESESSIONEXPIRED;
	if (op->gen == TXN_GEN_LOCAL)
		return ZK_EEPHEMERALONLOCALSESSION;
	return session_check(t, op);
}

bool session_is(struct tree *t, uint64_t id, uint64_t gen)
{
	struct session *s = find(t, id);

	return s != NULL && (s->s.gen == gen || MUTANT(moved_session_expired));
}

/* ---- operations ---- */

static bool parse_body(struct pk_bytes body, int32_t *timeout_ms, const uint8_t **password)
{
	if (body.len != BODY_BYTES)
		return false;
	*timeout_ms = (int32_t)pk_get_le32(body.data);
	*password = body.data + 4;
	return true;
}

int32_t apply_create_session(struct tree *t, struct write *w)
{
	struct tree_session s = { .id = w->op->session_id, .gen = 1, .owner = w->op->origin };
	const uint8_t *password;

	if (!parse_body(w->op->body, &s.timeout_ms, &password))
		return ZK_EMARSHALLING;
	/* 0 is nobody, and the mark of containers would own them. */
	if (s.id == 0 || s.id == OWNER_CONTAINER)
		return ZK_EBADARGUMENTS;
	if (find(t, s.id) != NULL)
		return ZK_ENODEEXISTS;
	memcpy(s.password, password, sizeof(s.password));
	add(t, &s);
	save(t, &s);
	t->now.meta.sessions++;
	t->now.meta.extra += session_extra(&s);
	w->r->session_gen = s.gen;
	w->r->session_timeout_ms = s.timeout_ms;
	return 0;
}

int32_t apply_attach(struct tree *t, struct write *w)
{
	struct session *s = find(t, w->op->session_id);
	const uint8_t *password;
	int32_t timeout_ms;
	uint8_t differs = 0;

	if (!parse_body(w->op->body, &timeout_ms, &password))
		return ZK_EMARSHALLING;
	if (s == NULL)
		return ZK_ESESSIONEXPIRED;
	for (size_t i = 0; i < sizeof(s->s.password); i++) /* no shortcut: time tells nothing */
		differs |= (uint8_t)(s->s.password[i] ^ password[i]);
	if (differs != 0 && !MUTANT(password_not_checked))
		return ZK_EAUTHFAILED;
	t->now.meta.extra -= session_extra(&s->s);
	s->s.gen++;
	s->s.owner = w->op->origin;
	s->s.timeout_ms = timeout_ms;
	t->now.meta.extra += session_extra(&s->s);
	save(t, &s->s);
	w->r->session_gen = s->s.gen;
	w->r->session_timeout_ms = timeout_ms;
	return 0;
}

static size_t ephemerals_prefix(uint8_t key[9], uint64_t id)
{
	return key_u64(key, 'E', id);
}

/* Paths of the session's ephemerals, each behind its le32 length, in *out. */
static void gather(struct tree *t, uint64_t id, struct pk_buf *out)
{
	uint8_t prefix[9];
	struct pk_bytes key, val;
	struct kv_cur *cur = kv_cur_open(t->kv, pk_bytes(prefix, ephemerals_prefix(prefix, id)),
					 PK_BYTES_NONE);

	while (kv_cur_next(cur, &key, &val) == 1) {
		pk_buf_add_le32(out, (uint32_t)val.len);
		pk_buf_add_bytes(out, val);
	}
	kv_cur_close(cur);
}

int32_t apply_close_session(struct tree *t, struct write *w)
{
	struct pk_buf paths = PK_BUF_INIT;
	struct session *s = find(t, w->op->session_id);
	uint8_t key[9];

	if (w->op->gen == TXN_GEN_LOCAL && w->op->type == ZK_OP_CLOSE_SESSION)
		return 0;
	if (s == NULL)
		return ZK_ESESSIONEXPIRED;
	if (s->s.gen != w->op->gen && !MUTANT(moved_session_expired))
		return ZK_ESESSIONMOVED;
	gather(t, s->s.id, &paths);
	struct pk_rd r = { .in = pk_buf_bytes(&paths) };
	while (r.in.len > 0) {
		size_t bytes = pk_rd_le32(&r);
		if (MUTANT(close_leaves_ephemeral) && r.in.len == bytes)
			break;
		tree_remove(t, pk_rd_bytes(&r, bytes), w->r);
	}
	PK_ASSERT(!r.bad);
	pk_buf_release(&paths);
	t->now.meta.sessions--;
	t->now.meta.extra -= session_extra(&s->s);
	tree_del(t, pk_bytes(key, key_u64(key, 'S', s->s.id)));
	drop(t, s);
	return 0;
}

/* ---- questions ---- */

bool tree_session_get(struct tree *t, uint64_t id, struct tree_session *out)
{
	struct session *s = find(t, id);

	if (s == NULL)
		return false;
	*out = s->s;
	return true;
}

void tree_session_each(struct tree *t, tree_session_each_f *each, void *arg)
{
	struct kv_cur *cur = sessions_cursor(t);
	struct tree_session s;
	struct pk_bytes key, val;

	while (kv_cur_next(cur, &key, &val) == 1) {
		decode(&s, key, val);
		each(arg, &s);
	}
	kv_cur_close(cur);
}

void tree_session_ephemeral_each(struct tree *t, uint64_t id, tree_path_each_f *each, void *arg)
{
	uint8_t prefix[9];
	struct pk_bytes key, val;
	struct kv_cur *cur = kv_cur_open(t->kv, pk_bytes(prefix, ephemerals_prefix(prefix, id)),
					 PK_BYTES_NONE);

	while (kv_cur_next(cur, &key, &val) == 1)
		each(arg, val);
	kv_cur_close(cur);
}

static void count_path(void *arg, struct pk_bytes path)
{
	(void)path;
	++*(size_t *)arg;
}

size_t tree_session_ephemerals(struct tree *t, uint64_t id)
{
	size_t count = 0;

	tree_session_ephemeral_each(t, id, count_path, &count);
	return count;
}

/* For tree_check: kv and memory hold the same sessions; their part of the digest. */
uint64_t sessions_extra(struct tree *t, uint64_t *count)
{
	struct kv_cur *cur = sessions_cursor(t);
	struct tree_session s;
	struct pk_bytes key, val;
	uint8_t again[RECORD_BYTES];
	uint64_t extra = 0;

	*count = 0;
	while (kv_cur_next(cur, &key, &val) == 1) {
		decode(&s, key, val);
		struct session *m = find(t, s.id);
		PK_ASSERT(m != NULL);
		encode(&m->s, again);
		PK_ASSERT(memcmp(again, val.data, sizeof(again)) == 0);
		extra += session_extra(&s);
		++*count;
	}
	kv_cur_close(cur);
	PK_ASSERT(HASH_COUNT(t->sessions) == *count);
	return extra;
}
