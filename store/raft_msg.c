#include "store/raft_msg.h"

#include <inttypes.h>

#define HEAD_MAGIC        'R'
#define CONF_VERSION      1 /* libraft's */
#define CONF_BYTES_MAX    (RAFT_MSG_MEMBERS_MAX * (8 + RAFT_MSG_ADDRESS_BYTES_MAX + 2) + 16)
#define PAYLOAD_BYTES_MAX (1u << 20)

/* ---- memberships ---- */

void raft_conf_encode(const struct raft_configuration *c, struct pk_buf *out)
{
	struct raft_buffer b;

	PK_ASSERT(c->n > 0);
	int rv = raft_configuration_encode(c, &b);
	PK_ASSERT(rv == 0);
	/* libraft leaves the padding as malloc gave it; the same membership shall be the same
	 * bytes. */
	size_t used = 9;
	for (unsigned i = 0; i < c->n; i++)
		used += 8 + strlen(c->servers[i].address) + 1 + 1;
	PK_ASSERT(used <= b.len);
	memset((uint8_t *)b.base + used, 0, b.len - used);
	pk_buf_add(out, b.base, b.len);
	raft_free(b.base);
}

static int conf_server(struct raft_configuration *c, struct pk_rd *r, struct pk_err *err)
{
	uint64_t id = pk_rd_le64(r);
	const uint8_t *end = r->bad || r->in.len == 0 ? NULL : memchr(r->in.data, 0, r->in.len);

	if (end == NULL)
		return pk_err_set(err, PK_EPROTO, "membership: address without an end");
	size_t len = (size_t)(end - r->in.data);
	const char *address = (const char *)pk_rd_bytes(r, len + 1).data;
	uint8_t role = pk_rd_u8(r);
	if (r->bad)
		return pk_err_set(err, PK_EPROTO, "membership: cut short");
	if (id == 0 || len == 0 || len > RAFT_MSG_ADDRESS_BYTES_MAX || role > RAFT_SPARE)
		return pk_err_set(err, PK_EPROTO,
				  "membership: server %" PRIu64 ", address of %zu bytes, role %u",
				  id, len, role);
	if (raft_configuration_add(c, id, address, role) != 0)
		return pk_err_set(err, PK_EPROTO, "membership: server %" PRIu64 " or %s twice", id,
				  address);
	return 0;
}

int raft_conf_decode(struct raft_configuration *c, struct pk_bytes in, struct pk_err *err)
{
	struct pk_rd r = { .in = in };
	struct raft_configuration got;
	unsigned voters = 0;
	int rc = 0;

	if (in.len > CONF_BYTES_MAX)
		return pk_err_set(err, PK_EPROTO, "membership: %zu bytes", in.len);
	raft_configuration_init(&got);
	uint8_t version = pk_rd_u8(&r);
	uint64_t count = pk_rd_le64(&r);
	if (r.bad || version != CONF_VERSION || count == 0 || count > RAFT_MSG_MEMBERS_MAX)
		rc = pk_err_set(err, PK_EPROTO, "membership: version %u, %" PRIu64 " servers",
				version, count);
	for (uint64_t i = 0; rc == 0 && i < count; i++)
		rc = conf_server(&got, &r, err);
	for (unsigned i = 0; rc == 0 && i < got.n; i++)
		voters += got.servers[i].role == RAFT_VOTER;
	if (rc == 0 && (voters == 0 || r.in.len >= 8))
		rc = pk_err_set(err, PK_EPROTO, "membership: %u voters, %zu bytes behind it",
				voters, r.in.len);
	if (rc == 0)
		*c = got;
	else
		raft_configuration_close(&got);
	return rc;
}

/* ---- encoding ---- */

static size_t encode_append_entries(struct pk_buf *out, const struct raft_append_entries *a,
				    size_t entry_bytes_max)
{
	size_t count = 0, bytes = 0;

	while (count < a->n_entries && count < RAFT_MSG_ENTRIES_MAX) {
		bytes += a->entries[count].buf.len;
		if (count > 0 && bytes > entry_bytes_max)
			break;
		count++;
	}
	uint64_t covers = a->prev_log_index + count;
	pk_buf_add_le64(out, a->term);
	pk_buf_add_le64(out, a->prev_log_index);
	pk_buf_add_le64(out, a->prev_log_term);
	pk_buf_add_le64(out, a->leader_commit < covers ? a->leader_commit : covers);
	pk_buf_add_le32(out, (uint32_t)count);
	for (size_t i = 0; i < count; i++) {
		const struct raft_entry *e = &a->entries[i];
		pk_buf_add_le64(out, e->term);
		pk_buf_add_le16(out, e->type);
		pk_buf_add_le32(out, (uint32_t)e->buf.len);
		pk_buf_add(out, e->buf.base, e->buf.len);
	}
	return count;
}

static void encode_install(struct pk_buf *out, const struct raft_install_snapshot *s)
{
	struct pk_buf conf = PK_BUF_INIT;

	raft_conf_encode(&s->conf, &conf);
	pk_buf_add_le64(out, s->term);
	pk_buf_add_le64(out, s->last_index);
	pk_buf_add_le64(out, s->last_term);
	pk_buf_add_le64(out, s->conf_index);
	pk_buf_add_le32(out, (uint32_t)conf.len);
	pk_buf_add_bytes(out, pk_buf_bytes(&conf));
	PK_ASSERT(s->data.len <= PAYLOAD_BYTES_MAX);
	pk_buf_add_le32(out, (uint32_t)s->data.len);
	pk_buf_add(out, s->data.base, s->data.len);
	pk_buf_release(&conf);
}

size_t raft_msg_encode(struct pk_buf *out, uint64_t from_id, const char *from_address,
		       const struct raft_message *m, size_t entry_bytes_max)
{
	size_t address_len = strlen(from_address);
	size_t entries = 0;

	PK_ASSERT(address_len <= RAFT_MSG_ADDRESS_BYTES_MAX);
	pk_buf_add_u8(out, HEAD_MAGIC);
	pk_buf_add_u8(out, RAFT_MSG_VERSION);
	pk_buf_add_u8(out, (uint8_t)m->type);
	pk_buf_add_u8(out, 0);
	pk_buf_add_le64(out, from_id);
	pk_buf_add_le64(out, m->server_id);
	pk_buf_add_le16(out, (uint16_t)address_len);
	pk_buf_add(out, from_address, address_len);
	switch (m->type) {
	case RAFT_IO_APPEND_ENTRIES:
		entries = encode_append_entries(out, &m->append_entries, entry_bytes_max);
		break;
	case RAFT_IO_APPEND_ENTRIES_RESULT:
		pk_buf_add_le64(out, m->append_entries_result.term);
		pk_buf_add_le64(out, m->append_entries_result.rejected);
		pk_buf_add_le64(out, m->append_entries_result.last_log_index);
		break;
	case RAFT_IO_REQUEST_VOTE:
		pk_buf_add_le64(out, m->request_vote.term);
		pk_buf_add_le64(out, m->request_vote.candidate_id);
		pk_buf_add_le64(out, m->request_vote.last_log_index);
		pk_buf_add_le64(out, m->request_vote.last_log_term);
		pk_buf_add_u8(out, m->request_vote.disrupt_leader);
		pk_buf_add_u8(out, m->request_vote.pre_vote);
		break;
	case RAFT_IO_REQUEST_VOTE_RESULT:
		pk_buf_add_le64(out, m->request_vote_result.term);
		pk_buf_add_u8(out, m->request_vote_result.vote_granted);
		pk_buf_add_u8(out, m->request_vote_result.pre_vote == raft_tribool_true);
		break;
	case RAFT_IO_INSTALL_SNAPSHOT:
		encode_install(out, &m->install_snapshot);
		break;
	case RAFT_IO_TIMEOUT_NOW:
		pk_buf_add_le64(out, m->timeout_now.term);
		pk_buf_add_le64(out, m->timeout_now.last_log_index);
		pk_buf_add_le64(out, m->timeout_now.last_log_term);
		break;
	default:
		PK_ASSERT(false);
	}
	return entries;
}

/* ---- decoding ---- */

static bool term_ok(uint64_t term)
{
	return term > 0 && term <= RAFT_MSG_TERM_MAX;
}

static bool index_ok(uint64_t index)
{
	return index <= RAFT_MSG_INDEX_MAX;
}

/* A position in a log: both zero, or both given. */
static bool position_ok(uint64_t index, uint64_t term)
{
	return index_ok(index) && term <= RAFT_MSG_TERM_MAX && (index == 0) == (term == 0);
}

static bool flag_take(struct pk_rd *r, bool *flag)
{
	uint8_t v = pk_rd_u8(r);

	*flag = v == 1;
	return v <= 1;
}

static int entry_check(const struct raft_entry *e, uint64_t term_before, uint64_t term_most,
		       struct pk_err *err)
{
	struct raft_configuration conf;

	if (e->term < term_before || e->term > term_most || e->term == 0)
		return pk_err_set(err, PK_EPROTO,
				  "entry of term %llu between %" PRIu64 " and %" PRIu64, e->term,
				  term_before, term_most);
	if (e->type < RAFT_COMMAND || e->type > RAFT_CHANGE)
		return pk_err_set(err, PK_EPROTO, "entry of type %u", e->type);
	if (e->buf.len == 0 || e->buf.len % 8 != 0)
		return pk_err_set(err, PK_EPROTO, "entry of %zu bytes", e->buf.len);
	if (e->type != RAFT_CHANGE)
		return 0;
	if (raft_conf_decode(&conf, pk_bytes(e->buf.base, e->buf.len), err) != 0)
		return PK_EPROTO;
	raft_configuration_close(&conf);
	return 0;
}

static int decode_entries(struct raft_append_entries *a, struct pk_rd *r, uint32_t count,
			  struct pk_err *err)
{
	struct pk_rd scan = *r;
	size_t bytes = 0;

	if (count > RAFT_MSG_ENTRIES_MAX)
		return pk_err_set(err, PK_EPROTO, "%u entries", count);
	for (uint32_t i = 0; i < count && !scan.bad; i++) {
		pk_rd_le64(&scan);
		pk_rd_le16(&scan);
		bytes += pk_rd_bytes(&scan, pk_rd_le32(&scan)).len;
	}
	if (scan.bad)
		return pk_err_set(err, PK_EPROTO, "entries cut short");
	a->entries = NULL;
	a->n_entries = count;
	if (count == 0)
		return 0;

	uint64_t term = a->prev_log_term;
	uint8_t *to = raft_malloc(bytes + 1);
	uint8_t *batch = to;
	int rc = 0;

	a->entries = raft_calloc(count, sizeof(*a->entries));
	PK_ASSERT(to != NULL && a->entries != NULL);
	for (uint32_t i = 0; rc == 0 && i < count; i++) {
		struct raft_entry *e = &a->entries[i];
		e->term = pk_rd_le64(r);
		e->type = pk_rd_le16(r);
		struct pk_bytes data = pk_rd_bytes(r, pk_rd_le32(r));
		e->batch = batch;
		e->buf = (struct raft_buffer){ .base = to, .len = data.len };
		if (data.len > 0)
			memcpy(to, data.data, data.len);
		to += data.len;
		rc = entry_check(e, term, a->term, err);
		term = e->term;
	}
	if (rc != 0) {
		raft_free(batch);
		raft_free(a->entries);
		a->entries = NULL;
	}
	return rc;
}

static int decode_append_entries(struct raft_append_entries *a, struct pk_rd *r, struct pk_err *err)
{
	a->term = pk_rd_le64(r);
	a->prev_log_index = pk_rd_le64(r);
	a->prev_log_term = pk_rd_le64(r);
	a->leader_commit = pk_rd_le64(r);
	uint32_t count = pk_rd_le32(r);
	if (!term_ok(a->term) || !position_ok(a->prev_log_index, a->prev_log_term) ||
	    a->prev_log_term > a->term || a->leader_commit > a->prev_log_index + count)
		return pk_err_set(err, PK_EPROTO,
				  "term %llu, after %llu of term %llu, %u entries, commit %llu",
				  a->term, a->prev_log_index, a->prev_log_term, count,
				  a->leader_commit);
	return decode_entries(a, r, count, err);
}

static int decode_install(struct raft_install_snapshot *s, struct pk_rd *r, struct pk_err *err)
{
	s->term = pk_rd_le64(r);
	s->last_index = pk_rd_le64(r);
	s->last_term = pk_rd_le64(r);
	s->conf_index = pk_rd_le64(r);
	struct pk_bytes conf = pk_rd_bytes(r, pk_rd_le32(r));
	struct pk_bytes data = pk_rd_bytes(r, pk_rd_le32(r));
	if (r->bad || !term_ok(s->term) || s->last_index == 0 ||
	    !position_ok(s->last_index, s->last_term) || s->last_term > s->term ||
	    s->conf_index == 0 || s->conf_index > s->last_index || data.len > PAYLOAD_BYTES_MAX)
		return pk_err_set(err, PK_EPROTO,
				  "snapshot at %llu of term %llu, membership of %llu, %zu bytes",
				  s->last_index, s->last_term, s->conf_index, data.len);
	int rc = raft_conf_decode(&s->conf, conf, err);
	if (rc != 0)
		return rc;
	s->data.len = data.len;
	s->data.base = raft_malloc(data.len + 1);
	PK_ASSERT(s->data.base != NULL);
	if (data.len > 0)
		memcpy(s->data.base, data.data, data.len);
	return 0;
}

static int decode_vote(struct raft_request_vote *v, const struct raft_msg_head *head,
		       struct pk_rd *r, struct pk_err *err)
{
	v->term = pk_rd_le64(r);
	v->candidate_id = pk_rd_le64(r);
	v->last_log_index = pk_rd_le64(r);
	v->last_log_term = pk_rd_le64(r);
	if (!flag_take(r, &v->disrupt_leader) || !flag_take(r, &v->pre_vote) || !term_ok(v->term) ||
	    v->candidate_id != head->from_id || !position_ok(v->last_log_index, v->last_log_term) ||
	    v->last_log_term > v->term)
		return pk_err_set(err, PK_EPROTO, "vote for %llu in term %llu at %llu of term %llu",
				  v->candidate_id, v->term, v->last_log_index, v->last_log_term);
	return 0;
}

static int decode_vote_result(struct raft_request_vote_result *v, struct pk_rd *r,
			      struct pk_err *err)
{
	bool pre_vote = false;

	v->term = pk_rd_le64(r);
	if (!flag_take(r, &v->vote_granted) || !flag_take(r, &pre_vote) || !term_ok(v->term))
		return pk_err_set(err, PK_EPROTO, "vote in term %llu", v->term);
	v->pre_vote = TO_RAFT_TRIBOOL(pre_vote);
	return 0;
}

static int decode_body(struct raft_message *m, const struct raft_msg_head *head, struct pk_rd *r,
		       struct pk_err *err)
{
	struct raft_append_entries_result *result = &m->append_entries_result;
	struct raft_timeout_now *now = &m->timeout_now;

	switch (m->type) {
	case RAFT_IO_APPEND_ENTRIES:
		return decode_append_entries(&m->append_entries, r, err);
	case RAFT_IO_APPEND_ENTRIES_RESULT:
		result->term = pk_rd_le64(r);
		result->rejected = pk_rd_le64(r);
		result->last_log_index = pk_rd_le64(r);
		if (!term_ok(result->term) || !index_ok(result->rejected) ||
		    !index_ok(result->last_log_index))
			return pk_err_set(err, PK_EPROTO, "result of term %llu for %llu, last %llu",
					  result->term, result->rejected, result->last_log_index);
		return 0;
	case RAFT_IO_REQUEST_VOTE:
		return decode_vote(&m->request_vote, head, r, err);
	case RAFT_IO_REQUEST_VOTE_RESULT:
		return decode_vote_result(&m->request_vote_result, r, err);
	case RAFT_IO_INSTALL_SNAPSHOT:
		return decode_install(&m->install_snapshot, r, err);
	case RAFT_IO_TIMEOUT_NOW:
		now->term = pk_rd_le64(r);
		now->last_log_index = pk_rd_le64(r);
		now->last_log_term = pk_rd_le64(r);
		if (!term_ok(now->term) || !position_ok(now->last_log_index, now->last_log_term))
			return pk_err_set(err, PK_EPROTO, "timeout-now of term %llu", now->term);
		return 0;
	default:
		return pk_err_set(err, PK_EPROTO, "type %u", m->type);
	}
}

static int decode_head(struct raft_message *m, struct raft_msg_head *head, struct pk_rd *r,
		       struct pk_err *err)
{
	uint8_t magic = pk_rd_u8(r);
	uint8_t version = pk_rd_u8(r);

	m->type = pk_rd_u8(r);
	uint8_t zero = pk_rd_u8(r);
	head->from_id = pk_rd_le64(r);
	head->to_id = pk_rd_le64(r);
	struct pk_bytes address = pk_rd_bytes(r, pk_rd_le16(r));
	if (r->bad || magic != HEAD_MAGIC || version != RAFT_MSG_VERSION || zero != 0)
		return pk_err_set(err, PK_EPROTO, "not a message of version %u", RAFT_MSG_VERSION);
	if (head->from_id == 0 || head->to_id == 0 || address.len == 0 ||
	    address.len > RAFT_MSG_ADDRESS_BYTES_MAX ||
	    memchr(address.data, 0, address.len) != NULL)
		return pk_err_set(err, PK_EPROTO,
				  "from %" PRIu64 " to %" PRIu64 ", address of %zu bytes",
				  head->from_id, head->to_id, address.len);
	memset(head->address, 0, sizeof(head->address));
	memcpy(head->address, address.data, address.len);
	return 0;
}

int raft_msg_decode(struct raft_message *m, struct raft_msg_head *head, struct pk_bytes in,
		    struct pk_err *err)
{
	struct raft_message got = { 0 };
	struct raft_msg_head head_got;
	struct pk_rd r = { .in = in };

	if (in.len > RAFT_MSG_BYTES_MAX)
		return pk_err_set(err, PK_EPROTO, "raft message: %zu bytes", in.len);
	int rc = decode_head(&got, &head_got, &r, err);
	if (rc == 0)
		rc = decode_body(&got, &head_got, &r, err);
	if (rc == 0 && (r.bad || r.in.len != 0)) {
		rc = pk_err_set(err, PK_EPROTO, "type %u: %s", got.type,
				r.bad ? "cut short" : "bytes behind it");
		raft_msg_release(&got);
	}
	if (rc != 0) {
		pk_err_wrap(err, "raft message");
		return rc;
	}
	*head = head_got;
	*m = got;
	m->server_id = head->from_id;
	m->server_address = head->address;
	return 0;
}

static void release_entries(struct raft_append_entries *a)
{
	if (a->entries == NULL)
		return;
	raft_free(a->entries[0].batch);
	raft_free(a->entries);
	a->entries = NULL;
	a->n_entries = 0;
}

void raft_msg_strip(struct raft_message *m)
{
	struct raft_append_entries *a = &m->append_entries;

	PK_ASSERT(m->type == RAFT_IO_APPEND_ENTRIES);
	release_entries(a);
	if (a->leader_commit > a->prev_log_index)
		a->leader_commit = a->prev_log_index;
}

void raft_msg_release(struct raft_message *m)
{
	if (m->type == RAFT_IO_APPEND_ENTRIES) {
		release_entries(&m->append_entries);
	} else if (m->type == RAFT_IO_INSTALL_SNAPSHOT) {
		raft_configuration_close(&m->install_snapshot.conf);
		raft_configuration_init(&m->install_snapshot.conf);
		raft_free(m->install_snapshot.data.base);
		m->install_snapshot.data.base = NULL;
	}
}
