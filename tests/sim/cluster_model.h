/*
 * tests/sim/cluster_model.h - what the log means, told a second time and in the plainest way.
 *
 * Every entry is given to the model when the first server applies it; the model keeps each node's
 * whole history by zxid, every operation's outcome and every event, so that any reply can be judged
 * by the zxid it carries. It knows: sessions and their generations, create (persistent, ephemeral,
 * sequential, container, TTL), delete, setData, setACL, check, multi, quotas, reconfig, and what a
 * leader does by itself. Nothing of store/ is used but the entry's decoder.
 */
#ifndef PK_TESTS_SIM_CLUSTER_MODEL_H
#define PK_TESTS_SIM_CLUSTER_MODEL_H

#include "store/txn.h"
#include "zkproto/multi.h"

struct model;
struct listed;

enum model_kind { MODEL_PLAIN, MODEL_EPHEMERAL, MODEL_CONTAINER, MODEL_TTL };

struct model_node {
	uint64_t zxid; /* since when it is so */
	bool there;
	struct zk_stat stat;
	struct pk_buf data, acl; /* the list as ZooKeeper encodes it */
	bool data_null;
	enum model_kind kind;
	int64_t ttl_ms;
	int64_t creates; /* children ever created: the next sequence number */
};

struct model_op {
	uint64_t zxid;
	uint64_t session;
	int32_t type, xid, err;
	uint64_t origin, seq;
	int64_t time_ms;     /* of its entry */
	int64_t at_us;       /* when the first server applied it */
	size_t id_count;     /* identities that came along */
	bool deferred;       /* a reconfig that was taken on: its reply comes with the TXN_CONFIG */
	struct pk_buf reply; /* its body, to the byte; empty when err != 0; of a deleteContainer its
				path */
};

struct model_event {
	uint64_t zxid;
	int32_t type;
	const char *path;
	struct pk_buf acl; /* who may read by it is told; empty: everyone */
};

struct model_session {
	uint64_t id, gen, owner;
	int32_t timeout_ms;
	uint8_t password[16];
	uint64_t created_zxid, ended_zxid; /* 0: not ended */
	bool expired;
	int64_t ended_us;
};

/* never_used_ms: as server_config's container_never_used_ms. */
struct model *model_new(int64_t never_used_ms);
void model_free(struct model *m);
/* The next entry, or NULL data for an index without a command. */
void model_apply(struct model *m, uint64_t index, struct pk_bytes entry, int64_t now_us);
uint64_t model_index(const struct model *m);
uint64_t model_zxid(const struct model *m);
int64_t model_time_ms(const struct model *m); /* the last entry's */
/* What the log did that it must not, or NULL. */
const char *model_complaint(const struct model *m);
/* The servers as /zookeeper/config has them now; false: none yet, or a reconfig is under way. */
bool model_listed(struct model *m, struct listed *out);
uint64_t model_lists(const struct model *m); /* rises with each change of that */
/* How many nodes are below path. */
uint64_t model_below(struct model *m, const char *path, uint64_t zxid);

/* As of `zxid`; NULL: it was not there. */
const struct model_node *model_get(struct model *m, const char *path, uint64_t zxid);
/* Names of children as of `zxid`, sorted, each with a space behind it. */
void model_children(struct model *m, const char *path, uint64_t zxid, struct pk_buf *out);
/* The operation that took this zxid; NULL: none did. */
const struct model_op *model_op(struct model *m, uint64_t zxid);
size_t model_op_count(const struct model *m);
const struct model_op *model_op_at(const struct model *m, size_t i); /* by rising zxid */
size_t model_event_count(const struct model *m);
const struct model_event *model_event(const struct model *m, size_t i);
/* The place of the first event later than zxid. */
size_t model_event_after(const struct model *m, uint64_t zxid);

const struct model_session *model_session(struct model *m, uint64_t id);
typedef void model_session_f(void *arg, const struct model_session *s);
void model_session_each(struct model *m, model_session_f *each, void *arg);
typedef void model_path_f(void *arg, const char *path);
void model_path_each(struct model *m, model_path_f *each, void *arg); /* every path ever there */

#endif
