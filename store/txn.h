/*
 * store/txn.h - the packed entry: many operations in one Raft entry.
 *
 * Layout (little-endian; the whole padded with zeros to a multiple of 8; format in
 * docs/disk-format.md): header   magic, format, flags, cluster id, proposer id, proposer's term,
 * the index this entry expects, time, identity count, op count, total bytes, crc32c of all of it
 *     ids      identities (scheme, id) that ops refer to, each once per entry
 *     ops      type, xid, session id, generation, origin server and sequence, identities, body
 *
 * The proposer stamps everything that replicas must agree on: time, random bytes, feature flags.
 * The body of a client's operation is the client's own request body as it came off the wire
 * (ZooKeeper's encoding); what it means is decided where it is applied.
 */
#ifndef PK_STORE_TXN_H
#define PK_STORE_TXN_H

#include "base/bytes.h"
#include "base/err.h"

#define TXN_ENTRY_BYTES_MAX (64u << 20)
#define TXN_OPS_MAX         65535u
#define TXN_IDS_MAX         65535u
#define TXN_OP_IDS_MAX      64u /* identities of one connection */

/* Feature settings of the proposer at that time; every replica follows the entry, not its own file.
 */
enum txn_flag {
	TXN_ENFORCE_QUOTA = 1u << 0,
	TXN_SKIP_ACL = 1u << 1,
	TXN_EXTENDED_TYPES = 1u << 2, /* TTL nodes allowed */
	TXN_RECONFIG_ENABLED = 1u << 3,
	TXN_DIGEST_SHA256 = 1u << 4,
	TXN_SCHEME_X509 =
		1u << 5, /* there is an authentication provider for x509: ACLs may name it */
	TXN_SCHEME_SASL = 1u << 6, /* the same for sasl; world, auth and ip always are */
	TXN_NO_DIGEST = 1u << 7,   /* digest is not offered */
	TXN_STANDALONE = 1u << 8,  /* configured as a server alone: no reconfig */
};

/* As a session's generation: a local session. It is in no table: it owns no ephemerals and its
 * connection's server vouches for it. */
#define TXN_GEN_LOCAL UINT64_MAX

/* Types of ours, beside ZooKeeper's opcodes (zkproto/zk.h; createSession -10, closeSession -11). */
enum txn_type {
	TXN_ATTACH = 1001, /* a session comes to the origin server: body timeout le32, password 16
			      bytes */
	TXN_EPOCH = 1002,  /* first op of a new leader: epoch + 1, counter 0 */
	TXN_SYNC = 1003,   /* nothing; its place in the log is the answer */
	TXN_DIGEST = 1004, /* body: applied index le64, tree digest le64: replicas compare */
	TXN_CONFIG = 1005, /* the leader is done with a reconfig: session and xid are its request's;
			      body: le32 error; with no request under way the text of
			      /zookeeper/config that the cluster begins with, at first or after
			      recover */
	TXN_EXPIRE = 1006, /* the leader ends a session that was silent, if its generation is still
			      this */
	TXN_REFUSED = 1007, /* in place of an operation that the leader would not have: body le32
			       error */
};
/*
 * Bodies: createSession: timeout_ms le32, password 16 bytes. closeSession, TXN_EPOCH, TXN_SYNC,
 * TXN_EXPIRE: empty. deleteContainer (20) with session_id 0 comes from the leader's own clean-up
 * (struct tree_removal).
 */

struct txn_id {
	struct pk_bytes scheme, id;
};

struct txn_header {
	uint64_t cluster_id;
	uint64_t proposer_id; /* server id of the leader that packed it */
	uint64_t term;
	uint64_t index;  /* where the proposer expects it; a mismatch stops the replica */
	int64_t time_ms; /* wall clock of the proposer, never below the entry before it */
	uint32_t flags;
};

struct txn_op {
	int32_t type;
	int32_t xid;
	uint64_t session_id;
	uint64_t gen;        /* generation of the session's attachment; another one: SessionMoved */
	uint64_t origin;     /* server id that holds the client's connection */
	uint64_t seq;        /* the origin's own number for it; comes back with the result */
	const uint16_t *ids; /* indexes into the entry's identities */
	uint16_t id_count;
	struct pk_bytes body;
};

/* ---- writing ---- */
struct txn_pack;
struct txn_pack *txn_pack_new(void); /* returns owned */
void txn_pack_free(struct txn_pack *p);
void txn_pack_clear(struct txn_pack *p);
/* Copies; op->ids is not read, the identities come in `ids` and are interned. false: the entry is
 * full (limits above), nothing added. */
bool txn_pack_add(struct txn_pack *p, const struct txn_op *op, const struct txn_id *ids,
		  size_t id_count);
size_t txn_pack_count(const struct txn_pack *p);
size_t txn_pack_bytes(const struct txn_pack *p); /* about what finish will give */
/* The entry: borrowed until the pack changes. */
struct pk_bytes txn_pack_finish(struct txn_pack *p, const struct txn_header *header);

/* ---- reading ---- */
struct txn_entry {
	struct txn_header header;
	uint32_t op_count;
	uint32_t id_count;
	struct txn_id *ids; /* owned by the entry; bytes borrowed from the input */
	struct pk_rd rest;
	uint32_t op_next;
	struct pk_bytes whole;
	uint16_t op_ids[TXN_OP_IDS_MAX];
};

/* Check magic, format, lengths and checksum. PK_ECORRUPT with err filled. Borrows `in` until
 * txn_entry_release. */
PK_CHECKED int txn_entry_open(struct txn_entry *e, struct pk_bytes in, struct pk_err *err);
/* The next op (borrowed until the next call): 1, 0 after the last, or PK_ECORRUPT. */
PK_CHECKED int txn_entry_next(struct txn_entry *e, struct txn_op *op, struct pk_err *err);
void txn_entry_release(struct txn_entry *e);

#endif
