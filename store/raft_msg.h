/*
 * store/raft_msg.h - Raft messages between servers, in our own format, and memberships.
 *
 * Message: u8 'R', u8 version (1), u8 type (libraft's RAFT_IO_*), u8 0, u64 from, u64 to, u16
 * length and bytes of the sender's address, then the body by type, all little-endian, nothing
 * behind it. Entries travel as term, type, length, data. A membership is libraft's own encoding
 * (its log entries hold it), but decoded strictly here first: libraft's decoder trusts lengths.
 *
 * Decoding promises what libraft never checks: lengths within the message, counts within limits,
 * entries non-empty and a multiple of 8, terms that never fall and never pass the message's,
 * a commit index within what the message covers, memberships without duplicates.
 */
#ifndef PK_STORE_RAFT_MSG_H
#define PK_STORE_RAFT_MSG_H

#include <raft.h>

#include "base/bytes.h"
#include "base/err.h"

#define RAFT_MSG_VERSION           1
#define RAFT_MSG_BYTES_MAX         (256u << 20) /* a whole message */
#define RAFT_MSG_ENTRIES_MAX       65536u
#define RAFT_MSG_ADDRESS_BYTES_MAX 255
#define RAFT_MSG_TERM_MAX          (UINT64_C(1) << 48)
#define RAFT_MSG_INDEX_MAX         (UINT64_C(1) << 56)
#define RAFT_MSG_MEMBERS_MAX       64

struct raft_msg_head {
	uint64_t from_id, to_id;
	char address[RAFT_MSG_ADDRESS_BYTES_MAX + 1]; /* the sender's */
};

/*
 * Append the encoded message to `out`. Of AppendEntries only as many leading entries go in as fit
 * into entry_bytes_max (one always does) and RAFT_MSG_ENTRIES_MAX; the commit index is lowered to
 * what the message covers. Returns the number of entries that went in.
 */
size_t raft_msg_encode(struct pk_buf *out, uint64_t from_id, const char *from_address,
		       const struct raft_message *m, size_t entry_bytes_max);

/*
 * On success *m owns memory of raft_malloc as libraft wants it (one batch for all entries) and
 * m->server_address borrows head->address. PK_EPROTO otherwise, nothing owned.
 */
PK_CHECKED int raft_msg_decode(struct raft_message *m, struct raft_msg_head *head,
			       struct pk_bytes in, struct pk_err *err);
void raft_msg_release(struct raft_message *m);
/* Make AppendEntries what the leader might have sent instead: the same without entries, and with no
 * more committed than that covers. */
void raft_msg_strip(struct raft_message *m);

/* libraft's encoding of a membership, read strictly. *c is raft_malloc's, for
 * raft_configuration_close. */
PK_CHECKED int raft_conf_decode(struct raft_configuration *c, struct pk_bytes in,
				struct pk_err *err);
void raft_conf_encode(const struct raft_configuration *c, struct pk_buf *out); /* appends */

#endif
