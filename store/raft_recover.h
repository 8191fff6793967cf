/*
 * store/raft_recover.h - the majority is lost for good: one server's log becomes a group of one.
 *
 * Offline, on an open rlog that no raft_node uses. The log keeps everything it holds, whether a
 * majority had it or not; behind it goes a membership with this server as the only voter, in a term
 * far above all that it has seen. libraft's own raft_recover writes term 1 there, so that any old
 * copy outranks it (audit, S11); RAFT_RECOVER_TERMS outranks copies that went on without us for
 * that many elections. Older copies are still another group with the same name: they must go.
 */
#ifndef PK_STORE_RAFT_RECOVER_H
#define PK_STORE_RAFT_RECOVER_H

#include "store/raft_node.h"

#define RAFT_RECOVER_TERMS 1000

/* What a log says of the group it belongs to. */
struct raft_recover {
	uint64_t first_index; /* of the records; last_index + 1 when there are none */
	uint64_t last_index, last_term;
	uint64_t term_seen;  /* the highest, promised or written */
	uint64_t conf_index; /* where `members` come from */
	struct raft_member members[RAFT_NODE_MEMBERS_MAX];
	size_t member_count;
};

/* PK_ENOENT: it holds nothing. PK_ECORRUPT: a membership that cannot be read. */
PK_CHECKED int raft_recover_read(struct raft_recover *out, const struct rlog_loaded *loaded,
				 struct pk_err *err);
uint64_t raft_recover_term(const struct raft_recover *r); /* of the records that are appended */

/*
 * Append at last_index + 1 the membership, and behind it the packed entry `command` (not empty, a
 * multiple of 8, which expects last_index + 2 and that term). `done` once both are durable. An
 * error: nothing but the stored term has changed. Asked twice it does the same again, further up.
 */
PK_CHECKED int raft_recover_append(struct rlog *log, const struct raft_recover *r, uint64_t me,
				   const char *address, struct pk_bytes command, rlog_done_f *done,
				   void *owner, struct pk_err *err);

#endif
