/*
 * jepsen/edn.h - a history for Jepsen's own checkers: one EDN map a line, in the order of time.
 *
 *     {:index 0 :time 1000 :process 3 :type :invoke :f :write :value "v1"}
 *
 * EDN_REGISTER: what concerns one znode, for Knossos's register. create, setData: :write of the
 * value; delete: :write of nil; a refused one: :fail. A read counts only behind a sync of the same
 * client, from the sync's invocation on: that is what ZooKeeper's protocol promises to be
 * linearizable.
 * EDN_RW_REGISTER: every operation on values as a transaction, for Elle's rw-register: :f :txn
 * :value [[:w "/a" "v1"] [:r "/b" nil]]; a multi is one of several. Reads as they came, behind a
 * sync or not.
 *
 * A Jepsen process has one operation at a time and ends with :info, so processes there are not
 * ours: each operation takes a free number, and keeps it if its outcome is unknown.
 */
#ifndef PK_JEPSEN_EDN_H
#define PK_JEPSEN_EDN_H

#include "jepsen/history.h"

enum edn_form { EDN_REGISTER, EDN_RW_REGISTER };

struct edn_counts {
	uint64_t operations; /* written */
	uint64_t left_out;   /* reads without a sync, operations of other kinds */
};

/* Append all of it. PK_ENOENT: the history never speaks of this path. */
PK_CHECKED int edn_write(const struct history *h, enum edn_form form, struct pk_bytes path,
			 struct pk_buf *out, struct edn_counts *counts, struct pk_err *err);

#endif
