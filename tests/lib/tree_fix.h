/*
 * tests/lib/tree_fix.h - a tree over a real kv in a directory of its own, and short words for
 * operations on it. After every operation tree_check looks at all of it (unless fix->lazy).
 */
#ifndef PK_TESTS_TREE_FIX_H
#define PK_TESTS_TREE_FIX_H

#include "store/tree.h"
#include "zkproto/multi.h"
#include "zkproto/record.h"
#include "zkproto/zk.h"

#define ALICE 0x100000000000001u /* sessions that are there from the start, generation 1 */
#define BOB   0x200000000000002u

struct fix {
	char dir[64];
	struct kv *kv;
	struct tree *t;
	struct tree_result r; /* of the last write */
	struct pk_buf out;    /* of the last read */
	struct tree_read read;
	struct pk_buf body;
	uint64_t index;
	int64_t time_ms;
	uint32_t flags;
	bool lazy;
	uint64_t session, gen; /* who acts */
	struct txn_id ids[8];
	size_t id_count;
	uint32_t depth_max;
};

int fix_setup(void **state);
int fix_teardown(void **state);
/* Flush, commit, close, open: what is there must be the same. */
void fix_reopen(struct fix *f);

/* Act as this session from now on, with one identity "ip:127.0.0.1". */
void as(struct fix *f, uint64_t session);
void add_identity(struct fix *f, const char *scheme, const char *id);

/* One operation in an entry of its own; returns the error. */
int32_t op(struct fix *f, int32_t type, struct pk_bytes body);
int32_t op_from(struct fix *f, int32_t type, uint64_t session, uint64_t gen, struct pk_bytes body);

int32_t create(struct fix *f, const char *path, const char *data, int32_t mode);
int32_t create_as(struct fix *f, int32_t type, const char *path, struct pk_bytes data,
		  struct zk_acls acl, int32_t mode, int64_t ttl_ms);
/* The path in the last create's reply; a static buffer. */
const char *created(struct fix *f);
int32_t del(struct fix *f, const char *path, int32_t version);
int32_t set(struct fix *f, const char *path, const char *data, int32_t version);
int32_t set_bytes(struct fix *f, const char *path, struct pk_bytes data, int32_t version);
int32_t set_acl(struct fix *f, const char *path, struct zk_acls acl, int32_t version);

/* An ACL list in static memory: "31 world anyone; 1 digest u:h"; good until 4 calls later. */
struct zk_acls acls(const char *text);

/* Reads as the acting session; the error. */
int32_t ask(struct fix *f, int32_t opcode, const char *path, bool watch);
struct zk_stat stat_of(struct fix *f, const char *path); /* it must exist */
bool there(struct fix *f, const char *path);
/* Its data as a C string in a static buffer; "(null)" for null data; it must be readable. */
const char *data_of(struct fix *f, const char *path);
/* "a b c": names of its children. */
const char *children_of(struct fix *f, const char *path);
/* "0x1f world anyone; ..." */
const char *acl_of(struct fix *f, const char *path);
/* "created /a, children / ...": the last write's events. */
const char *events(struct fix *f);

/* Building a multi in f->body. */
void multi_begin(struct fix *f);
void multi_create(struct fix *f, int32_t type, const char *path, const char *data, int32_t mode);
void multi_delete(struct fix *f, const char *path, int32_t version);
void multi_set(struct fix *f, const char *path, const char *data, int32_t version);
void multi_check(struct fix *f, const char *path, int32_t version);
int32_t multi_go(struct fix *f);
/* "create:/a delete set check" or "error:0 error:-101 error:-2": the results. */
const char *results(struct fix *f);

#endif
