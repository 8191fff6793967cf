/*
 * tests/sim/mem_rlog.h - an rlog in memory: what was completed survives a crash, of the rest any
 * first part may. Included by exactly one file of a program, instead of linking store/rlog.c.
 * The struct disk's impl is a struct mem_store.
 */
#ifndef PK_TESTS_SIM_MEM_RLOG_H
#define PK_TESTS_SIM_MEM_RLOG_H

#include "base/rng.h"
#include "store/rlog.h"

struct mem_record {
	uint64_t term;
	uint16_t type;
	struct pk_buf data;
};

struct mem_store {
	uint64_t term, voted_for;
	bool has_manifest;
	uint64_t m_index, m_term, m_conf_index;
	struct pk_buf m_conf, m_payload;
	uint64_t start; /* index of records[0] */
	struct mem_record *records;
	size_t count;
};

enum mem_op_kind { MEM_APPEND, MEM_TRUNCATE, MEM_MANIFEST };

struct mem_op {
	enum mem_op_kind kind;
	uint64_t index; /* truncate */
	struct mem_record *records;
	size_t count;
	struct mem_store manifest; /* its fields only */
	uint64_t keep;
	bool reset;
	rlog_done_f *done;
	void *owner;
	struct mem_op *next;
};

struct rlog {
	struct mem_store *store;
	struct mem_op *first, **last;
	size_t ops;
	uint64_t next_index, bytes;
	struct rlog_manifest manifest;
	bool votes_fail; /* no more terms and votes are stored */
};

/* Complete the oldest request: durable, then told. False: there is none. rc != 0: fail it instead.
 */
bool mem_rlog_step(struct rlog *l, int rc);
/* A crash: of what is outstanding, a random first part is durable, nobody is told. */
void mem_rlog_crash(struct rlog *l, struct pk_rng *rng);
void mem_store_release(struct mem_store *s);

#endif
