/*
 * tests/sim/cluster_log.h - what the log must look like, whatever the servers make of it.
 *
 * Given every entry when the first server applies it. L1 the first command of a term is its
 * leader's epoch L2 what a client asked enters the log once, and in the order in which it asked L3
 * a session id is given out once L4 while nothing is broken no session ends that was heard in time
 */
#ifndef PK_TESTS_SIM_CLUSTER_LOG_H
#define PK_TESTS_SIM_CLUSTER_LOG_H

#include "tests/sim/cluster.h"

struct log_rules;

struct log_rules *log_rules_new(struct sim *s);
void log_rules_free(struct log_rules *r);
void log_rules_entry(struct log_rules *r, uint64_t term, struct pk_bytes data);

#endif
