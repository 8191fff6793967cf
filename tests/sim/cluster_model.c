#include "tests/sim/cluster_model.h"

#include <stdio.h>
#include <uthash.h>

#include "base/mem.h"

struct node {
	UT_hash_handle hh;
	char *path;
	struct node *parent; /* NULL: of "/" itself */
	struct node **children;
	size_t child_count;
	struct model_node *versions;
	size_t version_count;
	bool touched; /* by the operation under way */
};

struct session {
	UT_hash_handle hh;
	struct model_session s;
};

struct model {
	struct node *nodes;
	struct node **all; /* in the order in which they were first named */
	size_t node_count;
	struct session *sessions;
	struct model_op *ops;
	size_t op_count, op_cap;
	struct model_event *events;
	size_t event_count, event_cap;
	struct node **touched;
	size_t touched_count;
	uint64_t index, zxid;
	int64_t time_ms, now_us;
};

static struct node *node_of(struct model *m, const char *path)
{
	struct node *n;

	HASH_FIND_STR(m->nodes, path, n);
	return n;
}

static struct node *node_name(struct model *m, const char *path)
{
	struct node *n = node_of(m, path);

	if (n != NULL)
		return n;
	n = pk_alloc(sizeof(*n));
	n->path = pk_strdup(path);
	HASH_ADD_KEYPTR(hh, m->nodes, n->path, strlen(n->path), n);
	m->all = pk_realloc(m->all, (m->node_count + 1) * sizeof(*m->all));
	m->all[m->node_count++] = n;
	const char *slash = strrchr(path, '/');
	if (strcmp(path, "/") != 0) {
		char *up = slash == path ? pk_strdup("/")
					 : pk_strndup(path, (size_t)(slash - path));
		n->parent = node_name(m, up);
		free(up);
		struct node *p = n->parent;
		p->children = pk_realloc(p->children, (p->child_count + 1) * sizeof(*p->children));
		p->children[p->child_count++] = n;
	}
	return n;
}

static struct model_node *newest(struct node *n)
{
	return n != NULL && n->version_count > 0 ? &n->versions[n->version_count - 1] : NULL;
}

static bool is_there(struct node *n)
{
	struct model_node *v = newest(n);

	return v != NULL && v->there;
}

/* The version that this operation may write to. */
static struct model_node *touch(struct model *m, struct node *n)
{
	if (n->touched)
		return newest(n);
	struct model_node v = { 0 };
	if (newest(n) != NULL) {
		v = *newest(n);
		v.data = PK_BUF_INIT;
		pk_buf_add_bytes(&v.data, pk_buf_bytes(&newest(n)->data));
	}
	v.zxid = m->zxid;
	n->versions = pk_realloc(n->versions, (n->version_count + 1) * sizeof(v));
	n->versions[n->version_count++] = v;
	n->touched = true;
	m->touched = pk_realloc(m->touched, (m->touched_count + 1) * sizeof(struct node *));
	m->touched[m->touched_count++] = n;
	return newest(n);
}

static void touched_end(struct model *m, bool undo)
{
	for (size_t i = 0; i < m->touched_count; i++) {
		struct node *n = m->touched[i];

		n->touched = false;
		if (undo) {
			pk_buf_release(&newest(n)->data);
			n->version_count--;
		}
	}
	m->touched_count = 0;
}

static void event_add(struct model *m, int32_t type, struct node *n)
{
	if (m->event_count == m->event_cap) {
		m->event_cap = m->event_cap * 2 + 64;
		m->events = pk_realloc(m->events, m->event_cap * sizeof(*m->events));
	}
	m->events[m->event_count++] = (struct model_event){ .zxid = m->zxid,
							    .type = type,
							    .path = n->path };
}

/* ---- operations ---- */

static int32_t session_err(struct model *m, const struct txn_op *op)
{
	struct session *s;

	if (op->session_id == 0)
		return 0;
	HASH_FIND(hh, m->sessions, &op->session_id, sizeof(op->session_id), s);
	if (s == NULL || s->s.ended_zxid != 0)
		return ZK_ESESSIONEXPIRED;
	return s->s.gen == op->gen ? 0 : ZK_ESESSIONMOVED;
}

static void stat_settle(struct model_node *v)
{
	v->stat.cversion = (int32_t)(2 * v->creates - v->stat.num_children);
	v->stat.data_length = (int32_t)v->data.len;
}

static int32_t create(struct model *m, const struct txn_op *op, const struct zk_create_req *req,
		      struct pk_buf *real)
{
	int32_t err = session_err(m, op);

	if (err != 0)
		return err;
	char *path = pk_strndup((const char *)req->path.data, req->path.len);
	struct node *parent = node_name(m, path)->parent;
	if (!is_there(parent)) {
		free(path);
		return ZK_ENONODE;
	}
	if (zk_create_mode_sequential(req->flags)) {
		char *with = pk_asprintf("%s%010d", path, (int32_t)newest(parent)->creates);
		free(path);
		path = with;
	}
	struct node *n = node_name(m, path);
	pk_buf_clear(real);
	pk_buf_add_str(real, path);
	free(path);
	if (is_there(n))
		return ZK_ENODEEXISTS;
	if (newest(parent)->stat.ephemeral_owner != 0)
		return ZK_ENOCHILDRENFOREPHEMERALS;
	struct model_node *p = touch(m, parent);
	p->creates++;
	p->stat.num_children++;
	p->stat.pzxid = (int64_t)m->zxid;
	stat_settle(p);
	struct model_node *v = touch(m, n);
	v->there = true;
	v->creates = 0;
	v->stat = (struct zk_stat){ .czxid = (int64_t)m->zxid,
				    .mzxid = (int64_t)m->zxid,
				    .pzxid = (int64_t)m->zxid,
				    .ctime = m->time_ms,
				    .mtime = m->time_ms };
	if (zk_create_mode_ephemeral(req->flags))
		v->stat.ephemeral_owner = (int64_t)op->session_id;
	pk_buf_clear(&v->data);
	pk_buf_add_bytes(&v->data, req->data);
	v->data_null = req->data.data == NULL;
	stat_settle(v);
	event_add(m, ZK_EVENT_CREATED, n);
	event_add(m, ZK_EVENT_CHILDREN_CHANGED, parent);
	return 0;
}

static void take_away(struct model *m, struct node *n)
{
	struct model_node *v = touch(m, n);

	v->there = false;
	pk_buf_clear(&v->data);
	struct model_node *p = touch(m, n->parent);
	p->stat.num_children--;
	p->stat.pzxid = (int64_t)m->zxid;
	stat_settle(p);
	event_add(m, ZK_EVENT_DELETED, n);
	event_add(m, ZK_EVENT_CHILDREN_CHANGED, n->parent);
}

static struct node *find(struct model *m, struct pk_bytes path)
{
	char *text = pk_strndup((const char *)path.data, path.len);
	struct node *n = node_of(m, text);

	free(text);
	return is_there(n) ? n : NULL;
}

static int32_t del(struct model *m, const struct txn_op *op, const struct zk_delete_req *req)
{
	int32_t err = session_err(m, op);
	struct node *n = find(m, req->path);

	if (err != 0)
		return err;
	if (n == NULL)
		return ZK_ENONODE;
	if (req->version != -1 && req->version != newest(n)->stat.version)
		return ZK_EBADVERSION;
	if (newest(n)->stat.num_children > 0)
		return ZK_ENOTEMPTY;
	take_away(m, n);
	return 0;
}

static int32_t set_data(struct model *m, const struct txn_op *op, const struct zk_set_data_req *req)
{
	int32_t err = session_err(m, op);
	struct node *n = find(m, req->path);

	if (err != 0)
		return err;
	if (n == NULL)
		return ZK_ENONODE;
	if (req->version != -1 && req->version != newest(n)->stat.version)
		return ZK_EBADVERSION;
	struct model_node *v = touch(m, n);
	pk_buf_clear(&v->data);
	pk_buf_add_bytes(&v->data, req->data);
	v->data_null = req->data.data == NULL;
	v->stat.version++;
	v->stat.mzxid = (int64_t)m->zxid;
	v->stat.mtime = m->time_ms;
	stat_settle(v);
	event_add(m, ZK_EVENT_DATA_CHANGED, n);
	return 0;
}

static int32_t check(struct model *m, const struct txn_op *op, const struct zk_check_req *req)
{
	int32_t err = session_err(m, op);
	struct node *n = find(m, req->path);

	if (err != 0)
		return err;
	if (n == NULL)
		return ZK_ENONODE;
	return req->version == -1 || req->version == newest(n)->stat.version ? 0 : ZK_EBADVERSION;
}

static int32_t multi(struct model *m, const struct txn_op *op, struct pk_buf *results)
{
	struct zk_rd r = zk_rd(op->body);
	struct zk_multi_op one = ZK_MULTI_OP_INIT;
	struct pk_buf real = PK_BUF_INIT;
	size_t events = m->event_count;
	int32_t err = 0;
	uint32_t count = 0, failed = 0;

	while (zk_multi_next(&r, &one) == 1) {
		failed += err == 0;
		count++;
		if (err != 0)
			continue;
		switch (one.type) {
		case ZK_OP_CREATE:
		case ZK_OP_CREATE2:
			err = create(m, op, &one.u.create, &real);
			break;
		case ZK_OP_DELETE:
			err = del(m, op, &one.u.delete);
			break;
		case ZK_OP_SET_DATA:
			err = set_data(m, op, &one.u.set_data);
			break;
		case ZK_OP_CHECK:
			err = check(m, op, &one.u.check);
			break;
		default: /* the load sends nothing else */
			PK_ASSERT(false);
		}
	}
	pk_buf_release(&real);
	if (err != 0) {
		touched_end(m, true);
		m->event_count = events;
	}
	if (err == ZK_ESESSIONMOVED)
		return err;
	for (uint32_t i = 0; i < count; i++)
		pk_buf_add_le32(results, (uint32_t)(err == 0 || i + 1 < failed ? 0
						    : i + 1 == failed          ? err
									       : ZK_ERUNTIME));
	return 0;
}

static int32_t create_session(struct model *m, const struct txn_op *op)
{
	struct session *s;

	HASH_FIND(hh, m->sessions, &op->session_id, sizeof(op->session_id), s);
	if (s != NULL && s->s.ended_zxid == 0)
		return ZK_ENODEEXISTS;
	if (s == NULL) {
		s = pk_alloc(sizeof(*s));
		s->s.id = op->session_id;
		HASH_ADD(hh, m->sessions, s.id, sizeof(s->s.id), s);
	}
	s->s = (struct model_session){ .id = op->session_id,
				       .gen = 1,
				       .owner = op->origin,
				       .timeout_ms = (int32_t)pk_get_le32(op->body.data),
				       .created_zxid = m->zxid };
	memcpy(s->s.password, op->body.data + 4, 16);
	return 0;
}

static int32_t attach(struct model *m, const struct txn_op *op)
{
	struct session *s;

	HASH_FIND(hh, m->sessions, &op->session_id, sizeof(op->session_id), s);
	if (s == NULL || s->s.ended_zxid != 0)
		return ZK_ESESSIONEXPIRED;
	if (memcmp(s->s.password, op->body.data + 4, 16) != 0)
		return ZK_EAUTHFAILED;
	s->s.gen++;
	s->s.owner = op->origin;
	s->s.timeout_ms = (int32_t)pk_get_le32(op->body.data);
	return 0;
}

static int32_t end_session(struct model *m, const struct txn_op *op)
{
	int32_t err = session_err(m, op);
	struct session *s;

	if (err != 0)
		return err;
	HASH_FIND(hh, m->sessions, &op->session_id, sizeof(op->session_id), s);
	for (size_t i = 0; i < m->node_count; i++)
		if (is_there(m->all[i]) &&
		    newest(m->all[i])->stat.ephemeral_owner == (int64_t)op->session_id)
			take_away(m, m->all[i]);
	s->s.ended_zxid = m->zxid;
	s->s.ended_us = m->now_us;
	s->s.expired = op->type == TXN_EXPIRE;
	return 0;
}

static void apply_op(struct model *m, const struct txn_op *op)
{
	struct zk_rd r = zk_rd(op->body);
	struct model_op done = { .session = op->session_id,
				 .type = op->type,
				 .xid = op->xid,
				 .origin = op->origin,
				 .seq = op->seq };
	union {
		struct zk_create_req create;
		struct zk_delete_req delete;
		struct zk_set_data_req set;
		struct zk_check_req check;
	} u;
	int rc = 0;

	if (op->type == TXN_EPOCH) {
		m->zxid = ((m->zxid >> 32) + 1) << 32;
		return;
	}
	if (op->type == TXN_SYNC || op->type == TXN_DIGEST || op->type == TXN_REFUSED)
		return;
	if (op->type == TXN_ATTACH) {
		pk_ignore(attach(m, op), "its answer carries no zxid");
		return;
	}
	if (op->type == TXN_EXPIRE && session_err(m, op) != 0)
		return;
	m->zxid++;
	done.zxid = m->zxid;
	switch (op->type) {
	case ZK_OP_CREATE:
	case ZK_OP_CREATE2:
		rc = zk_create_req_decode(&r, &u.create);
		if (rc == 0)
			done.err = create(m, op, &u.create, &done.path);
		break;
	case ZK_OP_DELETE:
		rc = zk_delete_req_decode(&r, &u.delete);
		if (rc == 0)
			done.err = del(m, op, &u.delete);
		break;
	case ZK_OP_SET_DATA:
		rc = zk_set_data_req_decode(&r, &u.set);
		if (rc == 0)
			done.err = set_data(m, op, &u.set);
		break;
	case ZK_OP_CHECK:
		rc = zk_check_req_decode(&r, &u.check);
		if (rc == 0)
			done.err = check(m, op, &u.check);
		break;
	case ZK_OP_MULTI:
		done.err = multi(m, op, &done.results);
		break;
	case TXN_CONFIG: /* the list of servers that every cluster begins with */
		event_add(m, ZK_EVENT_DATA_CHANGED, node_name(m, "/zookeeper/config"));
		break;
	case ZK_OP_CREATE_SESSION:
		done.err = create_session(m, op);
		break;
	case ZK_OP_CLOSE_SESSION:
	case TXN_EXPIRE:
		done.err = end_session(m, op);
		break;
	default: /* neither the load nor a scenario sends it */
		PK_ASSERT(false);
	}
	PK_ASSERT(rc == 0);
	touched_end(m, false);
	if (m->op_count == m->op_cap) {
		m->op_cap = m->op_cap * 2 + 64;
		m->ops = pk_realloc(m->ops, m->op_cap * sizeof(*m->ops));
	}
	m->ops[m->op_count++] = done;
}

void model_apply(struct model *m, uint64_t index, struct pk_bytes data, int64_t now_us)
{
	struct txn_entry entry;
	struct txn_op op;
	struct pk_err err = PK_ERR_INIT;
	int rc;

	PK_ASSERT(index == m->index + 1);
	m->index = index;
	m->now_us = now_us;
	if (data.data == NULL)
		return;
	rc = txn_entry_open(&entry, data, &err);
	PK_ASSERT(rc == 0);
	if (entry.header.time_ms > m->time_ms)
		m->time_ms = entry.header.time_ms;
	while ((rc = txn_entry_next(&entry, &op, &err)) == 1)
		apply_op(m, &op);
	PK_ASSERT(rc == 0);
	txn_entry_release(&entry);
}

/* ---- questions ---- */

uint64_t model_index(const struct model *m)
{
	return m->index;
}

uint64_t model_zxid(const struct model *m)
{
	return m->zxid;
}

static const struct model_node *at(const struct node *n, uint64_t zxid)
{
	size_t low = 0, high = n != NULL ? n->version_count : 0;

	while (low < high) { /* the last version that is not later */
		size_t mid = (low + high) / 2;
		if (n->versions[mid].zxid <= zxid)
			low = mid + 1;
		else
			high = mid;
	}
	return low > 0 && n->versions[low - 1].there ? &n->versions[low - 1] : NULL;
}

const struct model_node *model_get(struct model *m, const char *path, uint64_t zxid)
{
	return at(node_of(m, path), zxid);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void model_children(struct model *m, const char *path, uint64_t zxid, struct pk_buf *out)
{
	struct node *n = node_of(m, path);
	size_t count = 0;
	const char **names = pk_alloc((n != NULL ? n->child_count + 1 : 1) * sizeof(*names));

	for (size_t i = 0; n != NULL && i < n->child_count; i++)
		if (at(n->children[i], zxid) != NULL)
			names[count++] = strrchr(n->children[i]->path, '/') + 1;
	qsort(names, count, sizeof(*names), by_name);
	for (size_t i = 0; i < count; i++)
		pk_buf_printf(out, "%s ", names[i]);
	free(names);
}

const struct model_op *model_op(struct model *m, uint64_t zxid)
{
	size_t low = 0, high = m->op_count;

	while (low < high) {
		size_t mid = (low + high) / 2;
		if (m->ops[mid].zxid < zxid)
			low = mid + 1;
		else
			high = mid;
	}
	return low < m->op_count && m->ops[low].zxid == zxid ? &m->ops[low] : NULL;
}

size_t model_event_count(const struct model *m)
{
	return m->event_count;
}

const struct model_event *model_event(const struct model *m, size_t i)
{
	PK_ASSERT(i < m->event_count);
	return &m->events[i];
}

size_t model_event_after(const struct model *m, uint64_t zxid)
{
	size_t low = 0, high = m->event_count;

	while (low < high) {
		size_t mid = (low + high) / 2;
		if (m->events[mid].zxid <= zxid)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

const struct model_session *model_session(struct model *m, uint64_t id)
{
	struct session *s;

	HASH_FIND(hh, m->sessions, &id, sizeof(id), s);
	return s != NULL ? &s->s : NULL;
}

void model_session_each(struct model *m, model_session_f *each, void *arg)
{
	struct session *s, *next;

	HASH_ITER (hh, m->sessions, s, next)
		each(arg, &s->s);
}

void model_path_each(struct model *m, model_path_f *each, void *arg)
{
	for (size_t i = 0; i < m->node_count; i++)
		each(arg, m->all[i]->path);
}

/* ---- life ---- */

struct model *model_new(void)
{
	struct model *m = pk_alloc(sizeof(*m));
	struct node *root = node_name(m, "/");

	touch(m, root)->there = true;
	touched_end(m, false);
	return m;
}

void model_free(struct model *m)
{
	struct session *s, *next;

	HASH_ITER (hh, m->sessions, s, next) {
		HASH_DEL(m->sessions, s);
		free(s);
	}
	HASH_CLEAR(hh, m->nodes);
	for (size_t i = 0; i < m->node_count; i++) {
		struct node *n = m->all[i];
		for (size_t j = 0; j < n->version_count; j++)
			pk_buf_release(&n->versions[j].data);
		free(n->versions);
		free(n->children);
		free(n->path);
		free(n);
	}
	for (size_t i = 0; i < m->op_count; i++) {
		pk_buf_release(&m->ops[i].path);
		pk_buf_release(&m->ops[i].results);
	}
	free(m->all);
	free(m->ops);
	free(m->events);
	free(m->touched);
	free(m);
}
