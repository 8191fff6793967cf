/* What the server counts of itself, for store/metrics.tbl. Nothing here decides anything. */
#include "store/server_int.h"
#include "zkproto/wire.h"

/* "app" of "/app/x"; nothing of the root. */
static struct pk_bytes namespace_of(struct pk_bytes body)
{
	struct zk_rd in = zk_rd(body);
	struct pk_bytes path = zk_rd_ustring(&in);
	const uint8_t *end;

	if (path.len < 2 || path.data[0] != '/')
		return PK_BYTES_NONE;
	path.data++;
	path.len--;
	end = memchr(path.data, '/', path.len);
	return pk_bytes(path.data, end != NULL ? (size_t)(end - path.data) : path.len);
}

void count_read(struct server *s, int32_t op, struct pk_bytes body, size_t reply_bytes)
{
	switch (op) {
	case ZK_OP_EXISTS:
	case ZK_OP_GET_DATA:
	case ZK_OP_GET_ACL:
	case ZK_OP_GET_CHILDREN:
	case ZK_OP_GET_CHILDREN2:
	case ZK_OP_GET_ALL_CHILDREN_NUMBER: {
		struct pk_bytes name = namespace_of(body);

		if (name.len > 0)
			pk_summary_record_key(s->metrics, M_READ_PER_NAMESPACE, name,
					      (int64_t)reply_bytes);
		break;
	}
	default: /* of no one path */
		break;
	}
}

static void count_write(struct server *s, const struct txn_op *op)
{
	switch (op->type) {
	case ZK_OP_CREATE:
	case ZK_OP_CREATE2:
	case ZK_OP_CREATE_CONTAINER:
	case ZK_OP_CREATE_TTL:
	case ZK_OP_DELETE:
	case ZK_OP_SET_DATA: {
		struct pk_bytes name = namespace_of(op->body);

		if (name.len > 0)
			pk_summary_record_key(s->metrics, M_WRITE_PER_NAMESPACE, name,
					      (int64_t)op->body.len);
		break;
	}
	default: /* of no one path, or of none */
		break;
	}
}

void count_latency_us(struct server *s, bool write, int64_t us)
{
	pk_summary_record(s->metrics, write ? M_UPDATELATENCY : M_READLATENCY, us / 1000);
	if (write)
		pk_summary_record(s->metrics, M_WRITE_COMMITPROC_TIME_MS, us / 1000);
	pk_summary_record(s->metrics,
			  write ? M_PADDOCK_WRITE_LATENCY_US : M_PADDOCK_READ_LATENCY_US, us);
}

void count_queued(struct server *s)
{
	if (s->leading) {
		pk_counter_add(s->metrics, M_PREP_PROCESSOR_REQUEST_QUEUED, 1);
		if (s->outbox_at_us == 0)
			s->outbox_at_us = server_clock_us(s);
	}
	pk_summary_record(s->metrics, M_WRITE_COMMIT_PROC_REQ_QUEUED, (int64_t)s->pending_count);
}

void count_proposed(struct server *s, size_t bytes, size_t ops, int64_t begun_us)
{
	uint64_t index = raft_node_last_index(s->raft);
	int64_t n = (int64_t)bytes, now_us = server_clock_us(s);

	if (s->outbox_at_us != 0)
		pk_summary_record(s->metrics, M_PREP_PROCESSOR_QUEUE_TIME_MS,
				  (begun_us - s->outbox_at_us) / 1000);
	s->outbox_at_us = 0;
	pk_summary_record(s->metrics, M_PROPOSAL_PROCESS_TIME, (now_us - begun_us) / 1000);

	s->stats.entries++;
	s->stats.proposal_last = n;
	if (s->stats.proposal_min < 0 || n < s->stats.proposal_min)
		s->stats.proposal_min = n;
	if (n > s->stats.proposal_max)
		s->stats.proposal_max = n;
	s->proposed[index % PK_COUNT(s->proposed)].index = index;
	s->proposed[index % PK_COUNT(s->proposed)].at_us = begun_us;
	pk_counter_add(s->metrics, M_PROPOSAL_COUNT, 1);
	pk_counter_add(s->metrics, M_SYNC_PROCESSOR_REQUEST_QUEUED, 1);
	pk_summary_record(s->metrics, M_PREP_PROCESSOR_QUEUE_SIZE, (int64_t)ops);
	pk_summary_record(s->metrics, M_PADDOCK_ENTRY_OPS, (int64_t)ops);
}

void count_entry(struct server *s, const struct txn_header *header, int64_t begun_us)
{
	const size_t at = header->index % PK_COUNT(s->proposed);
	int64_t now_us = server_clock_us(s);

	if (!server_serving(s)) /* replayed, or catching up: how long it took says nothing */
		return;
	pk_counter_add(s->metrics, M_REQUEST_COMMIT_QUEUED, 1);
	pk_summary_record(s->metrics, M_WRITE_BATCH_TIME_IN_COMMIT_PROCESSOR,
			  (now_us - begun_us) / 1000);
	if (!s->leading) {
		pk_counter_add(s->metrics, M_LEARNER_PROPOSAL_RECEIVED_COUNT, 1);
		pk_counter_add(s->metrics, M_LEARNER_COMMIT_RECEIVED_COUNT, 1);
		return;
	}
	pk_counter_add(s->metrics, M_COMMIT_COUNT, 1);
	if (s->proposed[at].index == header->index && header->proposer_id == s->cfg.id) {
		int64_t us = begun_us - s->proposed[at].at_us;

		pk_summary_record(s->metrics, M_QUORUM_ACK_LATENCY, us / 1000);
		pk_summary_record(s->metrics, M_PADDOCK_COMMIT_LATENCY_US, us);
	}
}

void count_op(struct server *s, const struct txn_header *header, const struct txn_op *op,
	      const struct tree_result *r)
{
	int64_t late_ms = s->wall_ms - header->time_ms;

	s->stats.ops_applied++;
	if (!server_serving(s))
		return;
	if (op->type < 1000) /* a client's */
		pk_summary_record(s->metrics, M_PROPAGATION_LATENCY, late_ms > 0 ? late_ms : 0);
	if (r->err == 0)
		count_write(s, op);
	else if (r->err == ZK_EQUOTAEXCEEDED && namespace_of(op->body).len > 0)
		pk_counter_add_key(s->metrics, M_QUOTA_EXCEEDED_ERROR_PER_NAMESPACE,
				   namespace_of(op->body), 1);
	if (s->leading && op->type == TXN_ATTACH)
		pk_counter_add(s->metrics, M_REVALIDATE_COUNT, 1);
}

void count_watches(struct server *s, int32_t event, size_t told)
{
	static const struct {
		int32_t event;
		enum store_metric metric;
	} of[] = {
		{ ZK_EVENT_CREATED, M_NODE_CREATED_WATCH_COUNT },
		{ ZK_EVENT_DELETED, M_NODE_DELETED_WATCH_COUNT },
		{ ZK_EVENT_DATA_CHANGED, M_NODE_CHANGED_WATCH_COUNT },
		{ ZK_EVENT_CHILDREN_CHANGED, M_NODE_CHILDREN_WATCH_COUNT },
	};

	for (size_t i = 0; told > 0 && i < PK_COUNT(of); i++)
		if (of[i].event == event)
			pk_summary_record(s->metrics, of[i].metric, (int64_t)told);
}

void count_leader(struct server *s, bool was_leading, uint64_t leader_before)
{
	if (s->leader_id == 0 && leader_before != 0)
		pk_counter_add(s->metrics, M_LOOKING_COUNT, 1);
	if (s->leader_id != 0 && s->leaderless_since_ms != 0) {
		pk_summary_record(s->metrics, M_ELECTION_TIME, s->now_ms - s->leaderless_since_ms);
		s->led_since_ms = s->now_ms;
	}
	if (was_leading)
		s->outbox_at_us = 0; /* given up, or sent to another leader */
	if (was_leading && s->role != RAFT_NODE_LEADER)
		pk_counter_add(s->metrics, M_QUIT_LEADING_DUE_TO_DISLOYAL_VOTER, 1);
}

void count_serving(struct server *s)
{
	bool serving = server_serving(s);

	if (serving == s->was_serving)
		return;
	s->was_serving = serving;
	if (!serving) {
		s->unserving_since_ms = s->now_ms;
		return;
	}
	int64_t ms = s->now_ms - s->unserving_since_ms;
	pk_summary_record(s->metrics, M_UNAVAILABLE_TIME, ms);
	if (s->leading)
		pk_summary_record(s->metrics, M_LEADER_UNAVAILABLE_TIME, ms);
	else
		pk_summary_record(s->metrics, M_FOLLOWER_SYNC_TIME, s->now_ms - s->led_since_ms);
}
