#include "store/raft_recover.h"

#include <inttypes.h>

#include "store/raft_msg.h"

static int members_read(struct raft_recover *out, uint64_t index, struct pk_bytes bytes,
			struct pk_err *err)
{
	struct raft_configuration conf;

	if (raft_conf_decode(&conf, bytes, err) != 0)
		return pk_err_set(err, PK_ECORRUPT, "the membership at index %" PRIu64, index);
	PK_ASSERT(conf.n <= PK_COUNT(out->members));
	out->conf_index = index;
	out->member_count = conf.n;
	for (unsigned i = 0; i < conf.n; i++) {
		struct raft_member *m = &out->members[i];
		size_t len = strlen(conf.servers[i].address);

		PK_ASSERT(len < sizeof(m->address));
		*m = (struct raft_member){ .id = conf.servers[i].id, .role = conf.servers[i].role };
		memcpy(m->address, conf.servers[i].address, len + 1);
	}
	raft_configuration_close(&conf);
	return 0;
}

int raft_recover_read(struct raft_recover *out, const struct rlog_loaded *l, struct pk_err *err)
{
	struct raft_recover r = { .first_index = l->start_index,
				  .last_index = l->start_index + l->record_count - 1,
				  .term_seen = l->term };
	int rc = 0;

	if (!l->has_manifest && l->record_count == 0)
		return pk_err_set(err, PK_ENOENT, "the log is empty: there is nothing to recover");
	if (l->has_manifest) {
		r.last_term = l->manifest.term;
		rc = members_read(&r, l->manifest.conf_index, l->manifest.conf, err);
	}
	for (size_t i = 0; rc == 0 && i < l->record_count; i++) {
		r.last_term = l->records[i].term;
		if (l->records[i].type == RAFT_CHANGE && l->records[i].index > r.conf_index)
			rc = members_read(&r, l->records[i].index, l->records[i].data, err);
	}
	if (rc == 0 && r.member_count == 0)
		rc = pk_err_set(err, PK_ECORRUPT, "the log holds no membership");
	if (rc != 0)
		return rc;
	if (r.last_term > r.term_seen)
		r.term_seen = r.last_term;
	*out = r;
	return 0;
}

uint64_t raft_recover_term(const struct raft_recover *r)
{
	return r->term_seen + RAFT_RECOVER_TERMS;
}

int raft_recover_append(struct rlog *log, const struct raft_recover *r, uint64_t me,
			const char *address, struct pk_bytes command, rlog_done_f *done,
			void *owner, struct pk_err *err)
{
	uint64_t term = raft_recover_term(r);
	struct raft_configuration conf;
	struct pk_buf bytes = PK_BUF_INIT;

	PK_ASSERT(me != 0 && strlen(address) > 0 && strlen(address) <= RAFT_MSG_ADDRESS_BYTES_MAX);
	PK_ASSERT(command.len > 0 && command.len % 8 == 0);
	if (term >= RAFT_MSG_TERM_MAX)
		return pk_err_set(err, PK_ELIMIT, "no term is left above %" PRIu64, r->term_seen);
	/* First the term: a log must not hold more than was promised. */
	int rc = rlog_set_term(log, term, err);
	if (rc != 0)
		return rc;
	raft_configuration_init(&conf);
	int rv = raft_configuration_add(&conf, me, address, RAFT_VOTER);
	PK_ASSERT(rv == 0);
	raft_conf_encode(&conf, &bytes);
	raft_configuration_close(&conf);
	const struct rlog_record records[] = {
		{ .index = r->last_index + 1,
		  .term = term,
		  .type = RAFT_CHANGE,
		  .data = pk_buf_bytes(&bytes) },
		{ .index = r->last_index + 2, .term = term, .type = RAFT_COMMAND, .data = command },
	};
	rlog_append(log, records, PK_COUNT(records), done, owner);
	pk_buf_release(&bytes);
	return 0;
}
