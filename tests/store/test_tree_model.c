#include "tests/lib/test.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/rng.h"
#include "tests/lib/tree_fix.h"

/*
 * The tree against a model that could not be simpler: a list of nodes, searched from the front.
 * Seeded; a difference names its seed and step. What the model knows: existence, data, versions,
 * creates counted by parents, owners, zxids, sequence names, multi with roll-back, sessions.
 */

#define MODEL_NODES 512
#define STEPS       110000

struct m_node {
	bool used;
	char path[64];
	char data[24];
	int32_t version, creates, aversion;
	uint64_t owner, czxid, mzxid, pzxid;
};

struct model {
	struct m_node nodes[MODEL_NODES];
	uint64_t zxid;
	uint32_t session_gen[3]; /* 0: not there */
};

static struct m_node *m_find(struct model *m, const char *path)
{
	for (size_t i = 0; i < MODEL_NODES; i++)
		if (m->nodes[i].used && strcmp(m->nodes[i].path, path) == 0)
			return &m->nodes[i];
	return NULL;
}

static size_t m_children(struct model *m, const char *path)
{
	size_t bytes = strlen(path), count = 0;

	for (size_t i = 0; i < MODEL_NODES; i++) {
		const char *p = m->nodes[i].path;

		if (m->nodes[i].used && strncmp(p, path, bytes) == 0 && p[bytes] == '/' &&
		    strchr(p + bytes + 1, '/') == NULL)
			count++;
	}
	return count;
}

static size_t m_count(const struct model *m)
{
	size_t count = 0;

	for (size_t i = 0; i < MODEL_NODES; i++)
		count += m->nodes[i].used;
	return count;
}

static void m_parent(const char *path, char out[64])
{
	strcpy(out, path);
	*strrchr(out, '/') = '\0';
}

static int32_t m_create(struct model *m, const char *asked, const char *data, int32_t mode,
			uint64_t session, char out[64])
{
	char parent_path[64];
	size_t free_at = 0;

	m_parent(asked, parent_path);
	struct m_node *parent = m_find(m, parent_path);
	if (parent == NULL)
		return ZK_ENONODE;
	strcpy(out, asked);
	if (zk_create_mode_sequential(mode))
		sprintf(out + strlen(out), "%010d", parent->creates);
	if (m_find(m, out) != NULL)
		return ZK_ENODEEXISTS;
	if (parent->owner != 0)
		return ZK_ENOCHILDRENFOREPHEMERALS;
	while (m->nodes[free_at].used)
		free_at++;
	assert_true(free_at < MODEL_NODES - 1);
	parent->creates++;
	parent->pzxid = m->zxid;
	struct m_node *n = &m->nodes[free_at];
	*n = (struct m_node){ .used = true,
			      .owner = zk_create_mode_ephemeral(mode) ? session : 0,
			      .czxid = m->zxid,
			      .mzxid = m->zxid,
			      .pzxid = m->zxid };
	strcpy(n->path, out);
	strcpy(n->data, data);
	return 0;
}

static int32_t m_delete(struct model *m, const char *path, int32_t version)
{
	char parent_path[64];
	struct m_node *n = m_find(m, path);

	m_parent(path, parent_path);
	if (n == NULL)
		return ZK_ENONODE;
	if (version != -1 && version != n->version)
		return ZK_EBADVERSION;
	if (m_children(m, path) > 0)
		return ZK_ENOTEMPTY;
	n->used = false;
	m_find(m, parent_path)->pzxid = m->zxid;
	return 0;
}

static int32_t m_set(struct model *m, const char *path, const char *data, int32_t version)
{
	struct m_node *n = m_find(m, path);

	if (n == NULL)
		return ZK_ENONODE;
	if (version != -1 && version != n->version)
		return ZK_EBADVERSION;
	n->version++;
	n->mzxid = m->zxid;
	strcpy(n->data, data);
	return 0;
}

static void m_close(struct model *m, uint64_t session)
{
	for (size_t i = 0; i < MODEL_NODES; i++)
		if (m->nodes[i].used && m->nodes[i].owner == session)
			assert_int_equal(m_delete(m, m->nodes[i].path, -1), 0);
}

/* ---- both, side by side ---- */

struct run {
	struct fix *f;
	struct model m;
	struct pk_rng rng;
	uint32_t step;
};

static const uint64_t sessions[3] = { ALICE, BOB, 77 };

static int pick(struct run *r, int bound)
{
	return (int)pk_rng_below(&r->rng, (uint64_t)bound);
}

static void some_path(struct run *r, char out[64])
{
	int depth = 1 + pick(r, 3);

	out[0] = '\0';
	for (int i = 0; i < depth; i++)
		sprintf(out + strlen(out), "/%c", 'a' + pick(r, 4));
	if (pick(r, 8) == 0) /* one that a sequence made */
		sprintf(out + strlen(out), "%010d", pick(r, 30));
}

static void same_node(struct run *r, const char *path)
{
	struct m_node *n = m_find(&r->m, path);

	assert_int_equal(there(r->f, path), n != NULL);
	if (n == NULL)
		return;
	struct zk_stat s = stat_of(r->f, path);
	size_t children = m_children(&r->m, path);
	assert_int_equal(s.version, n->version);
	assert_int_equal(s.czxid, n->czxid);
	assert_int_equal(s.mzxid, n->mzxid);
	assert_int_equal(s.pzxid, n->pzxid);
	assert_int_equal(s.num_children, children);
	assert_int_equal(s.cversion, 2 * n->creates - (int32_t)children);
	assert_int_equal(s.ephemeral_owner, n->owner);
	assert_string_equal(data_of(r->f, path), n->data);
}

static void same_all(struct run *r)
{
	uint64_t count = 0;

	tree_check(r->f->t);
	for (size_t i = 0; i < MODEL_NODES; i++) {
		if (!r->m.nodes[i].used)
			continue;
		count++;
		if (r->m.nodes[i].path[0] != '\0')
			same_node(r, r->m.nodes[i].path);
	}
	assert_int_equal(count + 3, tree_meta(r->f->t)->nodes); /* /zookeeper and below */
}

struct op {
	int kind; /* 0 create, 1 delete, 2 set, 3 check */
	char path[64], data[24];
	int32_t mode, version;
};

static struct op some_op(struct run *r)
{
	static const int32_t modes[] = {
		0, 0, 0, ZK_CREATE_EPHEMERAL, ZK_CREATE_SEQUENTIAL, ZK_CREATE_EPHEMERAL_SEQUENTIAL
	};
	struct op o = { .kind = pick(r, 8) < 4 ? 0 : 1 + pick(r, 2),
			.mode = modes[pick(r, 6)],
			.version = pick(r, 3) == 0 ? pick(r, 3) : -1 };

	some_path(r, o.path);
	size_t count = m_count(&r->m);
	if (count > 300 && o.kind == 0)
		o.kind = 1;
	if (o.kind != 0 && count > 1 && pick(r, 2) == 0) {
		size_t at = 1 + (size_t)pick(r, MODEL_NODES - 1);

		while (!r->m.nodes[at].used || at == 0)
			at = (at + 1) % MODEL_NODES;
		strcpy(o.path, r->m.nodes[at].path);
	}
	snprintf(o.data, sizeof(o.data), "%d", pick(r, 1000000));
	return o;
}

static int32_t model_op(struct run *r, const struct op *o, uint64_t session, char made[64])
{
	switch (o->kind) {
	case 0:
		return m_create(&r->m, o->path, o->data, o->mode, session, made);
	case 1:
		return m_delete(&r->m, o->path, o->version);
	case 2:
		return m_set(&r->m, o->path, o->data, o->version);
	default:
		return 0;
	}
}

static void step_single(struct run *r, uint64_t session)
{
	struct op o = some_op(r);
	char made[64];
	int32_t got, want;

	want = model_op(r, &o, session, made);
	if (o.kind == 0)
		got = create(r->f, o.path, o.data, o.mode);
	else if (o.kind == 1)
		got = del(r->f, o.path, o.version);
	else
		got = set(r->f, o.path, o.data, o.version);
	assert_int_equal(got, want);
	if (o.kind == 0 && want == 0)
		assert_string_equal(created(r->f), made);
	same_node(r, o.path);
}

static void step_multi(struct run *r, uint64_t session)
{
	static struct model before;
	struct op ops[6];
	int count = pick(r, 6), failed = -1;
	char made[64], want[1024] = "";
	int32_t err = 0;
	uint64_t digest = tree_meta(r->f->t)->digest;

	before = r->m;
	multi_begin(r->f);
	for (int i = 0; i < count; i++) {
		struct op *o = &ops[i];

		*o = some_op(r);
		if (o->kind == 0)
			multi_create(r->f, ZK_OP_CREATE, o->path, o->data, o->mode);
		else if (o->kind == 1)
			multi_delete(r->f, o->path, o->version);
		else
			multi_set(r->f, o->path, o->data, o->version);
		if (failed >= 0)
			continue;
		err = model_op(r, o, session, made);
		if (err != 0)
			failed = i;
		else if (o->kind == 0)
			sprintf(want + strlen(want), "%screate:%s", i > 0 ? " " : "", made);
		else if (o->kind == 1)
			sprintf(want + strlen(want), "%sdelete", i > 0 ? " " : "");
		else
			sprintf(want + strlen(want), "%sset:v%d", i > 0 ? " " : "",
				m_find(&r->m, o->path)->version);
	}
	assert_int_equal(multi_go(r->f), 0);
	if (failed >= 0) {
		uint64_t zxid = r->m.zxid;

		r->m = before;
		r->m.zxid = zxid;
		want[0] = '\0';
		for (int i = 0; i < count; i++)
			sprintf(want + strlen(want), "%serror:%d", i > 0 ? " " : "",
				i < failed    ? 0
				: i == failed ? err
					      : -2);
		assert_int_equal(tree_meta(r->f->t)->digest, digest);
	}
	assert_string_equal(results(r->f), want);
}

static void step_session(struct run *r, int which)
{
	uint8_t body[20] = { 0 };
	uint64_t id = sessions[which];

	if (r->m.session_gen[which] == 0) {
		assert_int_equal(op_from(r->f, ZK_OP_CREATE_SESSION, id, 0, pk_bytes(body, 20)), 0);
		r->m.session_gen[which] = 1;
	} else {
		m_close(&r->m, id);
		assert_int_equal(op_from(r->f, ZK_OP_CLOSE_SESSION, id, 1, PK_BYTES_NONE), 0);
		r->m.session_gen[which] = 0;
	}
}

static void run_model(struct fix *f, uint64_t seed)
{
	static struct run r;

	r = (struct run){ .f = f, .m = { .session_gen = { 1, 1, 0 } } };
	pk_rng_seed(&r.rng, seed);
	r.m.nodes[0] = (struct m_node){ .used = true }; /* the root, called "" */
	r.m.zxid = tree_meta(f->t)->zxid;
	f->lazy = true;
	for (r.step = 0; r.step < STEPS; r.step++) {
		int which = pick(&r, 3), dice = pick(&r, 100);

		r.m.zxid++;
		as(f, sessions[which]);
		if (dice < 2 || r.m.session_gen[which] == 0)
			step_session(&r, which);
		else if (dice < 20)
			step_multi(&r, sessions[which]);
		else
			step_single(&r, sessions[which]);
		assert_int_equal(tree_meta(f->t)->zxid, r.m.zxid);
		if (r.step % 500 == 0)
			same_all(&r);
		if (r.step % 10000 == 0)
			fix_reopen(f);
	}
	same_all(&r);
}

static void test_the_tree_does_what_a_simple_model_does(void **state)
{
	const char *seed = getenv("TREE_SEED");

	run_model(*state, seed != NULL ? strtoull(seed, NULL, 10) : 20220307);
}

/* Two trees, fed alike; one is flushed and opened again now and then: no difference. */
static void test_when_state_is_flushed_makes_no_difference(void **state)
{
	struct fix *a = *state, *b;
	void *other;
	struct pk_rng rng;
	char path[64];

	assert_int_equal(fix_setup(&other), 0);
	b = other;
	a->lazy = b->lazy = true;
	pk_rng_seed(&rng, 7);
	for (int i = 0; i < 3000; i++) {
		char who[32];
		int what = (int)pk_rng_below(&rng, 10);

		snprintf(path, sizeof(path), "/n%d", (int)pk_rng_below(&rng, 20));
		snprintf(who, sizeof(who), "31 digest u%d:h", (int)pk_rng_below(&rng, 5));
		for (int k = 0; k < 2; k++) {
			struct fix *f = k == 0 ? a : b;

			f->flags = TXN_SKIP_ACL;
			if (what < 5)
				pk_ignore(create_as(f, ZK_OP_CREATE, path, PK_BYTES_NONE, acls(who),
						    0, 0),
					  "the trees are compared, not the errors");
			else if (what < 8)
				pk_ignore(del(f, path, -1), "as above");
			else
				pk_ignore(set_acl(f, path, acls(who), -1), "as above");
		}
		if (i % 37 == 0)
			fix_reopen(a);
		assert_memory_equal(tree_meta(a->t), tree_meta(b->t), sizeof(struct tree_meta));
	}
	tree_check(a->t);
	tree_check(b->t);
	assert_int_equal(fix_teardown(&other), 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, fix_setup, fix_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_the_tree_does_what_a_simple_model_does),
		T(test_when_state_is_flushed_makes_no_difference),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
