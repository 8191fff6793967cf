#include "zkproto/multi.h"

bool zk_multi_type_is_read(int32_t type)
{
	return type == ZK_OP_GET_DATA || type == ZK_OP_GET_CHILDREN;
}

static int decode_op(struct zk_rd *r, struct zk_multi_op *op)
{
	switch (op->type) {
	case ZK_OP_CREATE:
	case ZK_OP_CREATE2:
	case ZK_OP_CREATE_CONTAINER:
		return zk_create_req_decode(r, &op->u.create);
	case ZK_OP_CREATE_TTL:
		return zk_create_ttl_req_decode(r, &op->u.create_ttl);
	case ZK_OP_DELETE:
		return zk_delete_req_decode(r, &op->u.delete);
	case ZK_OP_SET_DATA:
		return zk_set_data_req_decode(r, &op->u.set_data);
	case ZK_OP_CHECK:
		return zk_check_req_decode(r, &op->u.check);
	case ZK_OP_GET_DATA:
	case ZK_OP_GET_CHILDREN:
		return zk_path_watch_req_decode(r, &op->u.read);
	default: /* a number from outside, not an enum of ours */
		return PK_EPROTO;
	}
}

int zk_multi_next(struct zk_rd *r, struct zk_multi_op *op)
{
	struct zk_multi_header head;
	struct zk_multi_op next = { .index = op->taken, .taken = op->taken + 1 };

	int rc = zk_multi_header_decode(r, &head);
	if (rc != 0)
		return rc;
	if (head.done)
		return 0;
	next.type = head.type;
	if (op->taken > 0 && zk_multi_type_is_read(op->type) != zk_multi_type_is_read(next.type))
		return PK_EPROTO;
	struct pk_bytes start = r->in;
	rc = decode_op(r, &next);
	if (rc != 0)
		return rc;
	next.body = pk_bytes(start.data, start.len - r->in.len);
	*op = next;
	return 1;
}

static void header(struct pk_buf *b, int32_t type, bool done, int32_t err)
{
	zk_multi_header_encode(b, &(struct zk_multi_header){ type, done, err });
}

void zk_multi_op_header(struct pk_buf *b, int32_t type)
{
	header(b, type, false, -1);
}

void zk_multi_end(struct pk_buf *b)
{
	header(b, -1, true, -1);
}

void zk_multi_result_header(struct pk_buf *b, int32_t type)
{
	header(b, type, false, 0);
}

void zk_multi_result_error(struct pk_buf *b, int32_t code)
{
	header(b, ZK_OP_ERROR, false, code);
	zk_error_resp_encode(b, &(struct zk_error_resp){ code });
}

static int decode_result(struct zk_rd *r, struct zk_multi_result *out)
{
	struct zk_error_resp error;

	switch (out->type) {
	case ZK_OP_CREATE:
		return zk_path_resp_decode(r, &out->u.create);
	case ZK_OP_CREATE2:
		return zk_create2_resp_decode(r, &out->u.create2);
	case ZK_OP_SET_DATA:
		return zk_stat_resp_decode(r, &out->u.set_data);
	case ZK_OP_GET_DATA:
		return zk_get_data_resp_decode(r, &out->u.get_data);
	case ZK_OP_GET_CHILDREN:
		return zk_get_children_resp_decode(r, &out->u.get_children);
	case ZK_OP_DELETE:
	case ZK_OP_CHECK:
		return 0;
	case ZK_OP_ERROR:
		if (zk_error_resp_decode(r, &error) != 0)
			return PK_EPROTO;
		out->err = error.err;
		return 0;
	default: /* a number from outside, not an enum of ours */
		return PK_EPROTO;
	}
}

int zk_multi_result_next(struct zk_rd *r, struct zk_multi_result *out)
{
	struct zk_multi_header head;
	struct zk_multi_result next = { 0 };

	int rc = zk_multi_header_decode(r, &head);
	if (rc != 0)
		return rc;
	if (head.done)
		return 0;
	next.type = head.type;
	rc = decode_result(r, &next);
	if (rc != 0)
		return rc;
	*out = next;
	return 1;
}
