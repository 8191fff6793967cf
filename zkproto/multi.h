/*
 * zkproto/multi.h - requests and replies that carry several operations (multi, multiRead).
 *
 * Wire: for each operation a header {type int, done bool, err int} and a body; at the end the
 * header {-1, true, -1}. Requests carry err -1 and the body of the operation alone; replies carry
 * err 0 and the result, or, where one failed, type -1, the code, and the code once more as body.
 * Source: Apache ZooKeeper release-3.8.0, MultiOperationRecord, MultiResponse.
 */
#ifndef PK_ZKPROTO_MULTI_H
#define PK_ZKPROTO_MULTI_H

#include "zkproto/record.h"
#include "zkproto/zk.h"

/* One operation of a request. Start with ZK_MULTI_OP_INIT and hand in the same struct each time. */
struct zk_multi_op {
	int32_t type;         /* create, create2, createContainer, createTTL, delete, setData,
				 check, getData, getChildren */
	uint32_t index;       /* 0, 1, ... */
	struct pk_bytes body; /* as on the wire, without the header */
	union {
		struct zk_create_req create; /* create, create2, createContainer */
		struct zk_create_ttl_req create_ttl;
		struct zk_delete_req delete;
		struct zk_set_data_req set_data;
		struct zk_check_req check;
		struct zk_path_watch_req read; /* getData, getChildren; watch is ignored */
	} u;
	uint32_t taken; /* how many were read so far */
};

#define ZK_MULTI_OP_INIT ((struct zk_multi_op){ 0 })

/*
 * The next operation: 1 with *op filled (borrows the input), 0 behind the last, or PK_EPROTO for
 * bytes that are missing, a type that a multi cannot carry, and reads among writes: Java refuses
 * all of them while decoding.
 */
PK_CHECKED int zk_multi_next(struct zk_rd *r, struct zk_multi_op *op);
/* True for getData and getChildren. */
bool zk_multi_type_is_read(int32_t type);

/* Writing a request: per operation the header, then the operation's own record; then the end. */
void zk_multi_op_header(struct pk_buf *b, int32_t type);
void zk_multi_end(struct pk_buf *b);

/* Writing a reply: per operation the header, then its result record (create: zk_path_resp,
 * createContainer and createTTL: zk_create2_resp under type create2, setData: zk_stat_resp,
 * getData: zk_get_data_resp, getChildren: zk_get_children_resp, delete and check: nothing); then
 * zk_multi_end. */
void zk_multi_result_header(struct pk_buf *b, int32_t type);
void zk_multi_result_error(struct pk_buf *b, int32_t code); /* header and body */

/* One result of a reply. */
struct zk_multi_result {
	int32_t type; /* ZK_OP_ERROR: err is the code. 0 (ZK_OK) there: it was not this one that
			 failed */
	int32_t err;
	union {
		struct zk_path_resp create;
		struct zk_create2_resp create2;
		struct zk_stat_resp set_data;
		struct zk_get_data_resp get_data;
		struct zk_get_children_resp get_children;
	} u;
};

/* The next result: 1 with *out filled (borrows the input), 0 behind the last, or PK_EPROTO. */
PK_CHECKED int zk_multi_result_next(struct zk_rd *r, struct zk_multi_result *out);

#endif
