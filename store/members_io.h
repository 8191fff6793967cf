/*
 * store/members_io.h - the members of the cluster as this server last knew them, in a file beside
 * its data: <dataDir>/members.
 *
 * A server that sets damaged data aside asks for the terms of the others (store/found.h), and whom
 * to ask is in the data that it cannot read; its server lines may be older than the last reconfig.
 * It takes the list along as the text of its file `joining`, until it has caught up.
 *
 *     paddock-members 1 CRC32C\n      of what follows
 *     ID ROLE ADDRESS\n               ROLE of enum raft_node_role's members; ADDRESS as server.N=
 * has it
 */
#ifndef PK_STORE_MEMBERS_IO_H
#define PK_STORE_MEMBERS_IO_H

#include "store/raft_node.h"

#define MEMBERS_FILE      "members"
#define MEMBERS_BYTES_MAX (1u << 20)

/* Replaced by rename, durable. Unchanged: nothing is written. */
PK_CHECKED int members_save(const char *dir, const struct raft_member *members, size_t count,
			    struct pk_err *err);
/* From `file`, which has that form. *count becomes how many, at most RAFT_NODE_MEMBERS_MAX.
 * PK_ENOENT: no such file, or an empty one. PK_ECORRUPT: not one of ours, whole; both untouched
 * then. */
PK_CHECKED int members_load(const char *dir, const char *file, struct raft_member *members,
			    size_t *count, struct pk_err *err);

#endif
