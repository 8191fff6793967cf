#include "tests/sim/cluster_model.h"

#include <inttypes.h>
#include <stdio.h>
#include <uthash.h>

#include "base/mem.h"
#include "tests/sim/cluster_rules.h"

#define QUOTA_TOP   "/zookeeper/quota"
#define CONFIG_PATH "/zookeeper/config"
/* A removal may come so long after the change that undid its reason. */

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
	char **recounts; /* subtrees whose usage node was made by the operation under way */
	size_t recount_count;
	uint64_t index, zxid;
	int64_t time_ms, now_us, never_used_ms;
	uint32_t flags; /* of the entry */
	const struct txn_id *ids;
	bool pending; /* a reconfig is under way */
	uint64_t pending_session;
	int32_t pending_xid;
	struct listed asked;
	uint64_t lists;
	char complaint[200];
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
		v.data = v.acl = PK_BUF_INIT;
		pk_buf_add_bytes(&v.data, pk_buf_bytes(&newest(n)->data));
		pk_buf_add_bytes(&v.acl, pk_buf_bytes(&newest(n)->acl));
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
			pk_buf_release(&newest(n)->acl);
			n->version_count--;
		}
	}
	m->touched_count = 0;
}

static bool is_path(const struct node *n, const char *path)
{
	return strcmp(n->path, path) == 0;
}

/* `list`: who may hear of it. */
static void event_add(struct model *m, int32_t type, struct node *n, const struct pk_buf *list)
{
	struct whose nobody = { 0 };

	if (m->event_count == m->event_cap) {
		m->event_cap = m->event_cap * 2 + 64;
		m->events = pk_realloc(m->events, m->event_cap * sizeof(*m->events));
	}
	struct model_event *e = &m->events[m->event_count++];
	*e = (struct model_event){ .zxid = m->zxid, .type = type, .path = n->path };
	if (!acl_lets(pk_buf_bytes(list), ZK_PERM_READ, &nobody))
		pk_buf_add_bytes(&e->acl, pk_buf_bytes(list));
}

static void events_cut(struct model *m, size_t count)
{
	while (m->event_count > count)
		pk_buf_release(&m->events[--m->event_count].acl);
}

static struct whose whose(struct model *m, const struct txn_op *op)
{
	return (struct whose){ m->ids, op->ids, op->id_count };
}

static int32_t allowed(struct model *m, const struct txn_op *op, struct node *n, int32_t perm)
{
	struct whose who = whose(m, op);

	return acl_lets(pk_buf_bytes(&newest(n)->acl), perm, &who) ? 0 : ZK_ENOAUTH;
}

/* ---- quotas ---- */

static struct node *quota_node(struct model *m, const char *path, const char *name)
{
	char *text = pk_asprintf(QUOTA_TOP "%s/%s", path, name);
	struct node *n = node_of(m, text);

	free(text);
	return is_there(n) ? n : NULL;
}

/* The deepest path at or above with limits: returns owned, or NULL. */
static char *governing(struct model *m, const char *path)
{
	char *at = pk_strdup(path);

	while (at[0] != 0 && quota_node(m, at, "zookeeper_limits") == NULL)
		*strrchr(at, '/') = 0;
	if (at[0] != 0)
		return at;
	free(at);
	return NULL;
}

static int32_t quota_check(struct model *m, const char *path, int64_t bytes, int64_t count)
{
	int32_t err = 0;
	char *top;

	if ((m->flags & TXN_ENFORCE_QUOTA) == 0 || (top = governing(m, path)) == NULL)
		return 0;
	struct node *usage = quota_node(m, top, "zookeeper_stats");
	if (usage != NULL) {
		struct node *limits = quota_node(m, top, "zookeeper_limits");
		struct quota_numbers most = quota_parse(pk_buf_bytes(&newest(limits)->data));
		struct quota_numbers now = quota_parse(pk_buf_bytes(&newest(usage)->data));
		err = quota_forbids(&most, &now, bytes, count) ? ZK_EQUOTAEXCEEDED : 0;
	}
	free(top);
	return err;
}

static void usage_put(struct model *m, struct node *usage, const struct quota_numbers *q)
{
	struct model_node *v = touch(m, usage);

	quota_format(q, &v->data);
	v->data_null = false;
	v->stat.data_length = (int32_t)v->data.len;
}

static void quota_update(struct model *m, const char *path, int64_t bytes, int64_t count)
{
	char *top = governing(m, path);
	struct node *usage = top != NULL ? quota_node(m, top, "zookeeper_stats") : NULL;

	if (usage != NULL) {
		struct quota_numbers q = quota_parse(pk_buf_bytes(&newest(usage)->data));
		q.count += count;
		q.bytes += bytes;
		usage_put(m, usage, &q);
	}
	free(top);
}

/* A usage node was made: at the end of the operation it says what is there. */
static void quota_made(struct model *m, const char *path)
{
	size_t top = strlen(QUOTA_TOP), tail = strlen("/zookeeper_stats"), len = strlen(path);

	if (len <= top + tail || strncmp(path, QUOTA_TOP "/", top + 1) != 0 ||
	    strcmp(path + len - tail, "/zookeeper_stats") != 0)
		return;
	m->recounts = pk_realloc(m->recounts, (m->recount_count + 1) * sizeof(*m->recounts));
	m->recounts[m->recount_count++] = pk_strndup(path + top, len - top - tail);
}

static bool at_or_below(const char *path, const char *top)
{
	size_t len = strlen(top);

	return strncmp(path, top, len) == 0 && (path[len] == 0 || path[len] == '/');
}

static void recounts_end(struct model *m, bool keep)
{
	for (size_t i = 0; i < m->recount_count; i++) {
		struct node *usage = quota_node(m, m->recounts[i], "zookeeper_stats");
		struct quota_numbers q = { 0, 0, -1, -1 };

		for (size_t j = 0; j < m->node_count; j++) {
			if (!is_there(m->all[j]) || !at_or_below(m->all[j]->path, m->recounts[i]))
				continue;
			q.count++;
			q.bytes += (int64_t)newest(m->all[j])->data.len;
		}
		if (keep && usage != NULL)
			usage_put(m, usage, &q);
		free(m->recounts[i]);
	}
	m->recount_count = 0;
}

/* ---- operations ---- */

static int32_t session_err(struct model *m, const struct txn_op *op)
{
	struct session *s;

	if (op->session_id == 0 || op->gen == TXN_GEN_LOCAL)
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

static int32_t create_allowed(struct model *m, const struct txn_op *op, int32_t mode)
{
	if (!zk_create_mode_ephemeral(mode))
		return session_err(m, op);
	if (op->session_id == 0)
		return ZK_ESESSIONEXPIRED;
	return op->gen == TXN_GEN_LOCAL ? ZK_EEPHEMERALONLOCALSESSION : session_err(m, op);
}

static enum model_kind kind_of(int32_t type, int32_t mode, bool in_multi)
{
	if (zk_create_mode_ephemeral(mode))
		return MODEL_EPHEMERAL;
	if (type == ZK_OP_CREATE_TTL && (mode == ZK_CREATE_TTL || mode == ZK_CREATE_TTL_SEQUENTIAL))
		return MODEL_TTL;
	if (type == ZK_OP_CREATE_CONTAINER || (in_multi && mode == ZK_CREATE_CONTAINER))
		return MODEL_CONTAINER;
	return MODEL_PLAIN;
}

/* The node is there from now on. */
static void put_in(struct model *m, struct node *n, struct pk_bytes data, const struct pk_buf *list)
{
	struct model_node *p = touch(m, n->parent), *v = touch(m, n);

	p->creates++;
	p->stat.num_children++;
	p->stat.pzxid = (int64_t)m->zxid;
	stat_settle(p);
	v->there = true;
	v->creates = 0;
	v->ttl_ms = 0;
	v->stat = (struct zk_stat){ .czxid = (int64_t)m->zxid,
				    .mzxid = (int64_t)m->zxid,
				    .pzxid = (int64_t)m->zxid,
				    .ctime = m->time_ms,
				    .mtime = m->time_ms };
	pk_buf_clear(&v->data);
	pk_buf_add_bytes(&v->data, data);
	v->data_null = data.data == NULL;
	pk_buf_clear(&v->acl);
	pk_buf_add_bytes(&v->acl, pk_buf_bytes(list));
	stat_settle(v);
}

static void create_reply(const struct node *n, int32_t type, bool in_multi, struct pk_buf *reply)
{
	const struct model_node *v = &n->versions[n->version_count - 1];
	bool with_stat = v->kind == MODEL_CONTAINER || v->kind == MODEL_TTL ||
			 (type == ZK_OP_CREATE2 && !in_multi);

	if (in_multi)
		zk_multi_result_header(reply, with_stat ? ZK_OP_CREATE2 : ZK_OP_CREATE);
	zk_wr_ustring(reply, pk_bytes_str(n->path));
	if (with_stat)
		zk_wr_stat(reply, &v->stat);
}

static int32_t create(struct model *m, const struct txn_op *op, int32_t type, bool in_multi,
		      const struct zk_create_ttl_req *req, struct pk_buf *reply)
{
	struct whose who = whose(m, op);
	struct pk_buf list = PK_BUF_INIT;
	int32_t err = create_allowed(m, op, req->flags);

	if (err == 0)
		err = acl_kept(req->acl, &who, &list);
	if (err != 0) {
		pk_buf_release(&list);
		return err;
	}
	char *path = pk_strndup((const char *)req->path.data, req->path.len);
	struct node *parent = node_name(m, path)->parent;
	err = is_there(parent) ? allowed(m, op, parent, ZK_PERM_CREATE) : ZK_ENONODE;
	if (err == 0 && zk_create_mode_sequential(req->flags)) {
		char *with = pk_asprintf("%s%010d", path, (int32_t)newest(parent)->creates);
		free(path);
		path = with;
	}
	struct node *n = err == 0 ? node_name(m, path) : NULL;
	if (err == 0 && is_there(n))
		err = ZK_ENODEEXISTS;
	if (err == 0 && newest(parent)->kind == MODEL_EPHEMERAL)
		err = ZK_ENOCHILDRENFOREPHEMERALS;
	if (err == 0)
		err = quota_check(m, path, (int64_t)req->data.len, 1);
	if (err == 0) {
		put_in(m, n, req->data, &list);
		struct model_node *v = newest(n);
		v->kind = kind_of(type, req->flags, in_multi);
		if (v->kind == MODEL_EPHEMERAL)
			v->stat.ephemeral_owner = (int64_t)op->session_id;
		if (v->kind == MODEL_TTL)
			v->ttl_ms = req->ttl_ms;
		create_reply(n, type, in_multi, reply);
		event_add(m, ZK_EVENT_CREATED, n, &list);
		event_add(m, ZK_EVENT_CHILDREN_CHANGED, parent, &newest(parent)->acl);
		quota_made(m, path);
		quota_update(m, path, (int64_t)req->data.len, 1);
	}
	free(path);
	pk_buf_release(&list);
	return err;
}

static void take_away(struct model *m, struct node *n)
{
	struct model_node *v = touch(m, n), *p = touch(m, n->parent);
	int64_t bytes = (int64_t)v->data.len;

	v->there = false;
	p->stat.num_children--;
	p->stat.pzxid = (int64_t)m->zxid;
	stat_settle(p);
	event_add(m, ZK_EVENT_DELETED, n, &v->acl);
	event_add(m, ZK_EVENT_CHILDREN_CHANGED, n->parent, &p->acl);
	quota_update(m, n->path, -bytes, -1);
	pk_buf_clear(&newest(n)->data);
	pk_buf_clear(&newest(n)->acl);
}

/* The node's memory, there or not; NULL: never heard of. */
static struct node *named(struct model *m, struct pk_bytes path)
{
	char *text = pk_strndup((const char *)path.data, path.len);
	struct node *n = node_of(m, text);

	free(text);
	return n;
}

static struct node *find(struct model *m, struct pk_bytes path)
{
	struct node *n = named(m, path);

	return is_there(n) ? n : NULL;
}

static int32_t version_err(int32_t asked, int32_t now)
{
	return asked == -1 || asked == now ? 0 : ZK_EBADVERSION;
}

static int32_t del(struct model *m, const struct txn_op *op, const struct zk_delete_req *req)
{
	int32_t err = session_err(m, op);
	char *path = pk_strndup((const char *)req->path.data, req->path.len);
	struct node *n = node_name(m, path), *parent = n->parent;

	free(path);
	if (err != 0)
		return err;
	if (parent == NULL || is_path(n, "/zookeeper") || is_path(n, QUOTA_TOP) ||
	    is_path(n, CONFIG_PATH))
		return ZK_EBADARGUMENTS;
	if (!is_there(parent))
		return ZK_ENONODE;
	err = allowed(m, op, parent, ZK_PERM_DELETE);
	if (err == 0)
		err = is_there(n) ? version_err(req->version, newest(n)->stat.version) : ZK_ENONODE;
	if (err == 0 && newest(n)->stat.num_children > 0)
		err = ZK_ENOTEMPTY;
	if (err == 0)
		take_away(m, n);
	return err;
}

static bool overdue(const struct model *m, const struct model_node *v)
{
	int64_t elapsed_ms = m->time_ms - v->stat.mtime;

	if (!v->there || v->stat.num_children > 0)
		return false;
	if (v->kind == MODEL_CONTAINER)
		return v->creates > 0 || (m->never_used_ms != 0 && elapsed_ms > m->never_used_ms);
	return v->kind == MODEL_TTL && elapsed_ms > v->ttl_ms;
}

/* By the leader alone. */
static int32_t delete_container(struct model *m, const struct txn_op *op, struct pk_buf *path)
{
	struct zk_rd r = zk_rd(op->body);
	struct zk_path_req req;

	if (op->session_id != 0)
		return ZK_EUNIMPLEMENTED;
	int rc = zk_path_req_decode(&r, &req);
	int64_t mzxid = zk_rd_long(&r), until_ms = zk_rd_long(&r);
	PK_ASSERT(rc == 0 && !r.bad);
	struct node *n = find(m, req.path);
	if (n == NULL)
		return ZK_ENONODE;
	if (newest(n)->stat.num_children > 0)
		return ZK_ENOTEMPTY;
	if (newest(n)->kind != MODEL_CONTAINER && newest(n)->kind != MODEL_TTL)
		return ZK_EBADVERSION;
	if (newest(n)->stat.mzxid != mzxid || m->time_ms <= until_ms)
		return ZK_EBADVERSION;
	if (!overdue(m, newest(n)) && m->complaint[0] == 0)
		snprintf(m->complaint, sizeof(m->complaint),
			 "%s goes before its time: at %" PRId64 " ms, changed at %" PRId64
			 " ms, ttl %" PRId64,
			 n->path, m->time_ms, newest(n)->stat.mtime, newest(n)->ttl_ms);
	pk_buf_add_str(path, n->path);
	take_away(m, n);
	return 0;
}

static int32_t set_data(struct model *m, const struct txn_op *op, const struct zk_set_data_req *req,
			struct pk_buf *reply)
{
	int32_t err = session_err(m, op);
	struct node *n = find(m, req->path);

	if (err != 0)
		return err;
	if (n == NULL)
		return ZK_ENONODE;
	int64_t more = (int64_t)req->data.len - (int64_t)newest(n)->data.len;
	err = allowed(m, op, n, ZK_PERM_WRITE);
	if (err == 0)
		err = quota_check(m, n->path, more, 0);
	if (err == 0)
		err = version_err(req->version, newest(n)->stat.version);
	if (err != 0)
		return err;
	struct model_node *v = touch(m, n);
	pk_buf_clear(&v->data);
	pk_buf_add_bytes(&v->data, req->data);
	v->data_null = req->data.data == NULL;
	v->stat.version++;
	v->stat.mzxid = (int64_t)m->zxid;
	v->stat.mtime = m->time_ms;
	stat_settle(v);
	zk_wr_stat(reply, &v->stat);
	event_add(m, ZK_EVENT_DATA_CHANGED, n, &v->acl);
	quota_update(m, n->path, more, 0);
	return 0;
}

static int32_t set_acl(struct model *m, const struct txn_op *op, const struct zk_set_acl_req *req,
		       struct pk_buf *reply)
{
	struct whose who = whose(m, op);
	struct pk_buf list = PK_BUF_INIT;
	struct node *n = find(m, req->path);
	int32_t err = session_err(m, op);

	if (err == 0)
		err = acl_kept(req->acl, &who, &list);
	if (err == 0)
		err = n != NULL ? allowed(m, op, n, ZK_PERM_ADMIN) : ZK_ENONODE;
	if (err == 0)
		err = version_err(req->version, newest(n)->stat.aversion);
	if (err == 0) {
		struct model_node *v = touch(m, n);
		pk_buf_release(&v->acl);
		v->acl = list;
		v->stat.aversion++;
		zk_wr_stat(reply, &v->stat);
		return 0;
	}
	pk_buf_release(&list);
	return err;
}

static int32_t check(struct model *m, const struct txn_op *op, const struct zk_check_req *req)
{
	int32_t err = session_err(m, op);
	struct node *n = find(m, req->path);

	if (err == 0)
		err = n != NULL ? allowed(m, op, n, ZK_PERM_READ) : ZK_ENONODE;
	return err != 0 ? err : version_err(req->version, newest(n)->stat.version);
}

/* ---- the list of servers ---- */

static int32_t reconfig(struct model *m, const struct txn_op *op, bool *deferred)
{
	struct node *config = node_of(m, CONFIG_PATH);
	struct zk_rd r = zk_rd(op->body);
	struct zk_reconfig_req req;
	struct listed l;

	if ((m->flags & TXN_RECONFIG_ENABLED) == 0)
		return ZK_ERECONFIGDISABLED;
	int32_t err = session_err(m, op);
	if (err != 0)
		return err;
	int rc = zk_reconfig_req_decode(&r, &req);
	PK_ASSERT(rc == 0);
	if (m->pending || newest(config)->data.len == 0)
		return ZK_ERECONFIGINPROGRESS;
	listed_parse(&l, pk_buf_bytes(&newest(config)->data));
	if (req.config_id != -1 && (uint64_t)req.config_id != l.version)
		return ZK_EBADVERSION;
	err = listed_change(&l, &req);
	if (err == 0)
		err = allowed(m, op, config, ZK_PERM_WRITE);
	if (err != 0)
		return err;
	m->pending = *deferred = true;
	m->pending_session = op->session_id;
	m->pending_xid = op->xid;
	m->asked = l;
	m->lists++;
	return 0;
}

/* The leader is done with it, or says what the cluster begins with. */
static int32_t config(struct model *m, const struct txn_op *op, struct pk_buf *reply)
{
	struct node *n = node_of(m, CONFIG_PATH);
	int32_t err = (int32_t)pk_get_le32(op->body.data);
	bool first = newest(n)->data.len == 0;

	if (m->pending && (op->session_id != m->pending_session || op->xid != m->pending_xid) &&
	    m->complaint[0] == 0)
		snprintf(m->complaint, sizeof(m->complaint),
			 "the end of a reconfig that nobody asked for");
	if (err == 0) {
		struct model_node *v = touch(m, n);
		pk_buf_clear(&v->data);
		if (m->pending) {
			m->asked.version = m->zxid;
			listed_format(&m->asked, &v->data);
		} else {
			struct listed l;
			listed_parse(&l, pk_bytes(op->body.data + 4, op->body.len - 4));
			l.version = first ? 0 : m->zxid;
			listed_format(&l, &v->data);
		}
		v->stat.version = -1;
		v->stat.mtime = m->time_ms;
		v->stat.mzxid = first ? 0 : (int64_t)m->zxid;
		v->data_null = false;
		stat_settle(v);
		zk_wr_buffer(reply, pk_buf_bytes(&v->data));
		zk_wr_stat(reply, &v->stat);
		event_add(m, ZK_EVENT_DATA_CHANGED, n, &v->acl);
	}
	m->pending = false;
	m->lists++;
	return err;
}

uint64_t model_lists(const struct model *m)
{
	return m->lists;
}

bool model_listed(struct model *m, struct listed *out)
{
	struct node *n = node_of(m, CONFIG_PATH);

	listed_parse(out, pk_buf_bytes(&newest(n)->data));
	return newest(n)->data.len > 0 && !m->pending;
}

#define WITHOUT_TTL(c)                                                                             \
	{                                                                                          \
		(c).path, (c).data, (c).acl, (c).flags, -1                                         \
	}

static int32_t multi_one(struct model *m, const struct txn_op *op, struct zk_multi_op *one,
			 struct pk_buf *reply)
{
	int32_t err;

	switch (one->type) {
	case ZK_OP_CREATE:
	case ZK_OP_CREATE2:
	case ZK_OP_CREATE_CONTAINER:
		return create(m, op, one->type, true,
			      &(struct zk_create_ttl_req)WITHOUT_TTL(one->u.create), reply);
	case ZK_OP_CREATE_TTL:
		return create(m, op, one->type, true, &one->u.create_ttl, reply);
	case ZK_OP_DELETE:
		err = del(m, op, &one->u.delete);
		break;
	case ZK_OP_SET_DATA:
		zk_multi_result_header(reply, ZK_OP_SET_DATA);
		return set_data(m, op, &one->u.set_data, reply);
	default: /* the load sends nothing else */
		PK_ASSERT(one->type == ZK_OP_CHECK);
		err = check(m, op, &one->u.check);
		break;
	}
	if (err == 0)
		zk_multi_result_header(reply, one->type);
	return err;
}

static int32_t multi(struct model *m, const struct txn_op *op, struct pk_buf *reply)
{
	struct zk_rd r = zk_rd(op->body);
	struct zk_multi_op one = ZK_MULTI_OP_INIT;
	size_t events = m->event_count;
	int32_t err = 0;
	uint32_t count = 0, failed = 0;

	while (zk_multi_next(&r, &one) == 1) {
		count++;
		if (err != 0)
			continue;
		failed = one.index;
		err = multi_one(m, op, &one, reply);
	}
	if (err != 0) {
		touched_end(m, true);
		events_cut(m, events);
		recounts_end(m, false);
		pk_buf_clear(reply);
	}
	if (err == ZK_ESESSIONMOVED)
		return err;
	for (uint32_t i = 0; err != 0 && i < count; i++)
		zk_multi_result_error(reply, i < failed ? 0 : i == failed ? err : ZK_ERUNTIME);
	zk_multi_end(reply);
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

	if (err != 0 || op->gen == TXN_GEN_LOCAL)
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
				 .seq = op->seq,
				 .time_ms = m->time_ms,
				 .at_us = m->now_us,
				 .id_count = op->id_count };
	union {
		struct zk_create_req create;
		struct zk_create_ttl_req create_ttl;
		struct zk_set_acl_req set_acl;
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
	case ZK_OP_CREATE_CONTAINER:
		rc = zk_create_req_decode(&r, &u.create);
		if (rc == 0)
			done.err = create(m, op, op->type, false,
					  &(struct zk_create_ttl_req)WITHOUT_TTL(u.create),
					  &done.reply);
		break;
	case ZK_OP_CREATE_TTL:
		rc = zk_create_ttl_req_decode(&r, &u.create_ttl);
		if (rc == 0)
			done.err = create(m, op, op->type, false, &u.create_ttl, &done.reply);
		break;
	case ZK_OP_SET_ACL:
		rc = zk_set_acl_req_decode(&r, &u.set_acl);
		if (rc == 0)
			done.err = set_acl(m, op, &u.set_acl, &done.reply);
		break;
	case ZK_OP_DELETE_CONTAINER:
		done.err = delete_container(m, op, &done.reply);
		break;
	case ZK_OP_RECONFIG:
		done.err = reconfig(m, op, &done.deferred);
		break;
	case ZK_OP_DELETE:
		rc = zk_delete_req_decode(&r, &u.delete);
		if (rc == 0)
			done.err = del(m, op, &u.delete);
		break;
	case ZK_OP_SET_DATA:
		rc = zk_set_data_req_decode(&r, &u.set);
		if (rc == 0)
			done.err = set_data(m, op, &u.set, &done.reply);
		break;
	case ZK_OP_CHECK:
		rc = zk_check_req_decode(&r, &u.check);
		if (rc == 0)
			done.err = check(m, op, &u.check);
		break;
	case ZK_OP_MULTI:
		done.err = multi(m, op, &done.reply);
		break;
	case TXN_CONFIG:
		done.err = config(m, op, &done.reply);
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
	if (done.err != 0)
		pk_buf_clear(&done.reply);
	recounts_end(m, true);
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
	m->flags = entry.header.flags;
	m->ids = entry.ids;
	while ((rc = txn_entry_next(&entry, &op, &err)) == 1)
		apply_op(m, &op);
	PK_ASSERT(rc == 0);
	txn_entry_release(&entry);
}

/* ---- questions ---- */

const char *model_complaint(const struct model *m)
{
	return m->complaint[0] != 0 ? m->complaint : NULL;
}

int64_t model_time_ms(const struct model *m)
{
	return m->time_ms;
}

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

uint64_t model_below(struct model *m, const char *path, uint64_t zxid)
{
	size_t len = strcmp(path, "/") == 0 ? 0 : strlen(path);
	uint64_t count = 0;

	for (size_t i = 0; i < m->node_count; i++) {
		const char *p = m->all[i]->path;
		if (strncmp(p, path, len) == 0 && p[len] == '/' && p[len + 1] != 0)
			count += at(m->all[i], zxid) != NULL;
	}
	return count;
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

size_t model_op_count(const struct model *m)
{
	return m->op_count;
}

const struct model_op *model_op_at(const struct model *m, size_t i)
{
	PK_ASSERT(i < m->op_count);
	return &m->ops[i];
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

/* What every tree begins with. */
static void first_node(struct model *m, const char *path, struct zk_acls list, int32_t children,
		       int32_t aversion)
{
	struct model_node *v = touch(m, node_name(m, path));

	v->there = true;
	v->stat.num_children = children;
	v->stat.aversion = aversion;
	zk_wr_acls(&v->acl, list);
	stat_settle(v);
}

struct model *model_new(int64_t never_used_ms)
{
	struct model *m = pk_alloc(sizeof(*m));

	m->never_used_ms = never_used_ms;
	first_node(m, "/", zk_acls_open(), 1, 0);
	first_node(m, "/zookeeper", zk_acls_open(), 2, 0);
	first_node(m, QUOTA_TOP, zk_acls_open(), 0, 0);
	first_node(m, CONFIG_PATH, zk_acls_read(), 0, -1);
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
		for (size_t j = 0; j < n->version_count; j++) {
			pk_buf_release(&n->versions[j].data);
			pk_buf_release(&n->versions[j].acl);
		}
		free(n->versions);
		free(n->children);
		free(n->path);
		free(n);
	}
	for (size_t i = 0; i < m->op_count; i++) {
		pk_buf_release(&m->ops[i].reply);
	}
	events_cut(m, 0);
	free(m->recounts);
	free(m->all);
	free(m->ops);
	free(m->events);
	free(m->touched);
	free(m);
}
