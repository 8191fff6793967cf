/*
 * tests/sim/cluster_rules.h - what the model knows of ACLs, quotas and lists of servers: plain
 * functions of bytes, told a second time and shared with the simulated clients.
 *
 * Known schemes: world, auth, digest, super; ip by the very address. A list of servers is the text
 * of /zookeeper/config without its version, lines in the order of ids.
 */
#ifndef PK_TESTS_SIM_CLUSTER_RULES_H
#define PK_TESTS_SIM_CLUSTER_RULES_H

#include "store/txn.h"
#include "zkproto/record.h"
#include "zkproto/zk.h"

struct whose { /* identities of a connection, in the order in which it got them */
	const struct txn_id *ids;
	const uint16_t *index; /* NULL: as they are */
	size_t count;
};

/* May they do one of `perms` by this list (as ZooKeeper encodes it)? */
bool acl_lets(struct pk_bytes list, int32_t perms, const struct whose *who);
/* The list as it is kept: without repetitions, "auth" replaced. 0 or ZK_EINVALIDACL. */
int32_t acl_kept(struct zk_acls asked, const struct whose *who, struct pk_buf *out);
/* As getACL shows it to who may not change it. */
void acl_shown(struct pk_bytes list, struct pk_buf *out);

struct quota_numbers {
	int64_t count, bytes, count_hard, bytes_hard; /* -1: not set */
};
struct quota_numbers quota_parse(struct pk_bytes text);
void quota_format(const struct quota_numbers *q, struct pk_buf *out);
/* Would `more` go beyond a hard limit? */
bool quota_forbids(const struct quota_numbers *limits, const struct quota_numbers *used,
		   int64_t bytes, int64_t count);

#define LISTED_MAX 32
struct listed { /* server N at [N]; "" is none */
	char spec[LISTED_MAX][80];
	uint64_t version;
};
void listed_parse(struct listed *l, struct pk_bytes text);
void listed_format(const struct listed *l, struct pk_buf *out);
/* A reconfig's change; 0 or ZK_EBADARGUMENTS. */
int32_t listed_change(struct listed *l, const struct zk_reconfig_req *req);
bool listed_has(const struct listed *l, uint64_t id);
bool listed_votes(const struct listed *l, uint64_t id);

#endif
