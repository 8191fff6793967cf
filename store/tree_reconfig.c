/*
 * Membership as the tree sees it: a reconfig request is judged and kept (key R) where it stands in
 * the log; the leader then changes the Raft group one member at a time, and its TXN_CONFIG ends it:
 * /zookeeper/config says the new list, or the request gets its error. Whoever leads finds the kept
 * request, so a leader that dies half-way leaves nothing undone.
 *
 * Source: Apache ZooKeeper at 53a78e36f, PrepRequestProcessor (reconfig), order of checks included.
 */
#include "store/server_spec.h"
#include "store/tree_impl.h"
#include "zkproto/record.h"

#define CONFIG_PATH "/zookeeper/config"
#define HEAD_BYTES  12 /* session le64, xid le32; then the list's text */

static const uint8_t key_bytes[] = { 'R' };

static struct pk_bytes pending_key(void)
{
	return pk_bytes(key_bytes, sizeof(key_bytes));
}

bool tree_reconfig_pending(struct tree *t, struct tree_reconfig *out)
{
	struct pk_bytes val;

	if (tree_get(t, pending_key(), &val) != 1)
		return false;
	PK_ASSERT(val.len > HEAD_BYTES);
	out->session_id = pk_get_le64(val.data);
	out->xid = (int32_t)pk_get_le32(val.data + 8);
	out->members = pk_bytes(val.data + HEAD_BYTES, val.len - HEAD_BYTES);
	return true;
}

void tree_config_text(struct tree *t, struct pk_buf *out)
{
	struct node n;
	bool found = node_find(t, pk_bytes_str(CONFIG_PATH), &n);

	PK_ASSERT(found);
	pk_buf_add_bytes(out, node_data(t, &n));
}

/* "1, 3": each goes out of the set; one that is not there is as good as gone. */
static int32_t take_out(struct server_set *set, struct pk_bytes leaving)
{
	size_t at = 0;

	while (at < leaving.len) {
		int64_t id = 0;
		size_t digits = 0;

		while (at < leaving.len && (leaving.data[at] == ' ' || leaving.data[at] == ','))
			at++;
		for (; at < leaving.len && leaving.data[at] >= '0' && leaving.data[at] <= '9' &&
		       digits < 18;
		     at++, digits++)
			id = id * 10 + (leaving.data[at] - '0');
		if (digits == 0 && at < leaving.len)
			return ZK_EBADARGUMENTS;
		while (at < leaving.len && leaving.data[at] == ' ')
			at++;
		if (at < leaving.len && leaving.data[at] != ',')
			return ZK_EBADARGUMENTS;
		if (digits > 0)
			pk_ignore(server_set_remove(set, id), "not there is fine");
	}
	return 0;
}

/* "server.4=...,server.5=...": each replaces the one with its id. */
static int32_t put_in(struct server_set *set, struct pk_bytes joining)
{
	while (joining.len > 0) {
		const uint8_t *comma = memchr(joining.data, ',', joining.len);
		size_t len = comma != NULL ? (size_t)(comma - joining.data) : joining.len;
		struct server_spec spec;

		if (server_spec_parse_line(&spec, pk_bytes(joining.data, len), NULL) != 0)
			return ZK_EBADARGUMENTS;
		for (size_t i = 0; i < set->count; i++)
			if (set->all[i].id != spec.id &&
			    server_spec_conflict(&set->all[i], &spec, NULL) != 0)
				return ZK_EBADARGUMENTS;
		if (server_set_put(set, &spec, NULL) != 0)
			return ZK_EBADARGUMENTS;
		len += comma != NULL;
		joining.data += len;
		joining.len -= len;
	}
	return 0;
}

static int32_t change_set(struct server_set *set, const struct zk_reconfig_req *req)
{
	int32_t err = 0;

	if (req->members.data != NULL) {
		struct server_set fresh;
		if (server_set_parse(&fresh, req->members, NULL) != 0)
			return ZK_EBADARGUMENTS;
		server_set_release(set);
		*set = fresh;
	} else {
		if (req->leaving.data != NULL)
			err = take_out(set, req->leaving);
		if (err == 0 && req->joining.data != NULL)
			err = put_in(set, req->joining);
	}
	return err != 0 || server_set_voters(set) > 0 ? err : ZK_EBADARGUMENTS;
}

static int32_t reconfig(struct tree *t, struct write *w, const struct zk_reconfig_req *req,
			struct server_set *set, const struct node *config)
{
	if (req->config_id != -1 && (uint64_t)req->config_id != set->version)
		return ZK_EBADVERSION;
	int32_t err = change_set(set, req);
	if (err != 0)
		return err;
	err = acl_check(t, config->acl, ZK_PERM_WRITE, &w->who);
	if (err != 0)
		return err;
	struct pk_buf val = PK_BUF_INIT;
	pk_buf_add_le64(&val, w->op->session_id);
	pk_buf_add_le32(&val, (uint32_t)w->op->xid);
	server_set_format(set, &val);
	tree_put(t, pending_key(), pk_buf_bytes(&val));
	pk_buf_release(&val);
	w->r->deferred = true;
	return 0;
}

int32_t apply_reconfig(struct tree *t, struct write *w)
{
	struct zk_rd r = zk_rd(w->op->body);
	struct zk_reconfig_req req;
	struct tree_reconfig pending;
	struct server_set set = SERVER_SET_INIT;
	struct node config;

	if ((t->flags & TXN_RECONFIG_ENABLED) == 0)
		return ZK_ERECONFIGDISABLED;
	int32_t err = session_check(t, w->op);
	if (err != 0)
		return err;
	if (zk_reconfig_req_decode(&r, &req) != 0)
		return ZK_EMARSHALLING;
	if (t->flags & TXN_STANDALONE)
		return ZK_EUNIMPLEMENTED;
	if (tree_reconfig_pending(t, &pending))
		return ZK_ERECONFIGINPROGRESS;
	bool found = node_find(t, pk_bytes_str(CONFIG_PATH), &config);
	PK_ASSERT(found);
	/* The leader writes the list it began with right after its first entry; until then there is
	 * nothing to change. */
	if (config.data_bytes == 0 || server_set_parse(&set, node_data(t, &config), NULL) != 0)
		return ZK_ERECONFIGINPROGRESS;
	err = reconfig(t, w, &req, &set, &config);
	server_set_release(&set);
	return err;
}

/* The end of a kept request (its error, 0 for done), or the list that the cluster began with. */
int32_t apply_config(struct tree *t, struct write *w)
{
	struct pk_rd in = { .in = w->op->body };
	int32_t err = (int32_t)pk_rd_le32(&in);
	struct pk_bytes path = pk_bytes_str(CONFIG_PATH);
	struct tree_reconfig pending;
	struct pk_buf text = PK_BUF_INIT;
	bool first = false;
	struct node n;

	if (in.bad)
		return ZK_EMARSHALLING;
	if (tree_reconfig_pending(t, &pending)) {
		struct server_set set = SERVER_SET_INIT;

		if (err == 0 && server_set_parse(&set, pending.members, NULL) == 0) {
			set.version = t->now.meta.zxid;
			server_set_format(&set, &text);
		}
		server_set_release(&set);
		tree_del(t, pending_key());
	} else {
		struct server_set set = SERVER_SET_INIT;

		/* The list that a cluster begins with, or begins again with: recover. */
		tree_config_text(t, &text);
		first = text.len == 0;
		pk_buf_clear(&text);
		if (!first && server_set_parse(&set, in.in, NULL) == 0) {
			set.version = t->now.meta.zxid;
			server_set_format(&set, &text);
		} else {
			pk_buf_add_bytes(&text, in.in);
		}
		server_set_release(&set);
	}
	if (err == 0) {
		bool found = node_find(t, path, &n);
		PK_ASSERT(found);
		node_change_begin(t, &n);
		n.version = -1; /* as ZooKeeper leaves it */
		n.mtime = t->time_ms;
		/* The first list is of version 0, and so is its node
		 * (ZKDatabase.initConfigInZKDatabase). */
		n.mzxid = first ? 0 : (int64_t)t->now.meta.zxid;
		node_set_data(t, &n, path,
			      pk_bytes(text.data != NULL ? text.data : (uint8_t *)"", text.len));
		zk_wr_buffer(&w->r->body, pk_buf_bytes(&text));
		write_stat(&w->r->body, &n);
		result_event(t, w->r, ZK_EVENT_DATA_CHANGED, path, n.acl);
	}
	pk_buf_release(&text);
	return err;
}
