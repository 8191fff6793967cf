/*
 * store/raft_guard.h - rules laid around libraft 0.15.0 that contain its known defects.
 *
 * docs/raft-guard.md tells each defect and the test that shows it. The guard looks at every
 * message before the library does, at every message the library sends, and at its state before a
 * tick; it reads and in a few places writes fields of the public struct raft, whose layout the
 * package fixes (asserted in raft_guard.c). Each clause can be left out, for the tests that show
 * what it is good for.
 */
#ifndef PK_STORE_RAFT_GUARD_H
#define PK_STORE_RAFT_GUARD_H

#include <raft.h>

#include "base/bytes.h"
#include "base/err.h"

enum raft_guard_clause {
	RAFT_GUARD_COMMIT = 1u << 1,    /* G1: no commit by counting before an own-term entry */
	RAFT_GUARD_ACK = 1u << 2,       /* G2: acknowledge only what this term's leader sent */
	RAFT_GUARD_LATE = 1u << 3,      /* G3: no result for an append of an older term */
	RAFT_GUARD_WRITE = 1u << 4,     /* G4: a failed write never reaches the library */
	RAFT_GUARD_HOLD = 1u << 5,      /* G5: no election over unfinished writes */
	RAFT_GUARD_LENGTH = 1u << 6,    /* G6: entries are not empty and a multiple of 8 */
	RAFT_GUARD_VOTE = 1u << 7,      /* G7: one vote in a term, whatever is being transferred */
	RAFT_GUARD_BUDGET = 1u << 9,    /* G9: a send over budget sends the peer back to probing */
	RAFT_GUARD_ROLLBACK = 1u << 10, /* G10: memberships are rolled back from our own record */
	RAFT_GUARD_ALONE = 1u << 11,    /* G11: a lone voter takes a new term too */
	RAFT_GUARD_CHANGE = 1u << 12,   /* G12: memberships are sent when durable; two voters
					   become one from the other's side only */
	RAFT_GUARD_GRANT = 1u << 13,    /* G13: who does not vote (yet) still grants votes */
	RAFT_GUARD_CUT = 1u << 14,      /* G14: nothing is cut off while it is being written */
	RAFT_GUARD_WAIT = 1u << 15,     /* G15: no waiting for an acknowledgement that came, or
					   that a lost disk cannot give */
	RAFT_GUARD_BELOW = 1u << 16,  /* G16: what lies below our manifest is not appended again */
	RAFT_GUARD_TERM = 1u << 18,   /* G18: a refused pre-vote says the newer term */
	RAFT_GUARD_PLACE = 1u << 17,  /* G17: a send that fails does not lose the peer's place */
	RAFT_GUARD_STORED = 1u << 19, /* G19: acknowledge only what is stored */
};

/* A membership that the log or the manifest holds. */
struct raft_guard_conf {
	uint64_t index;
	struct pk_buf bytes;
};

#define RAFT_GUARD_PEERS_MAX 64

/* Refusals in a row that say a peer's log ends below what it acknowledged. */
struct raft_guard_doubt {
	uint64_t id;
	unsigned count;
};

struct raft_guard {
	uint32_t on;
	struct raft_guard_doubt doubts[RAFT_GUARD_PEERS_MAX]; /* G15 */
	/* G1 */
	uint64_t own_term, own_first; /* the first entry of our own term as leader, 0: none yet */
	/* G2: what of the log is known to equal the leader's, in which term */
	uint64_t matched_term, matched;
	bool ae_active, ae_accepted; /* inside the library with an AppendEntries */
	uint64_t ae_covers;
	/* G3: the term in which the append that completes just now was submitted, 0: none */
	uint64_t completing_term;
	/* G10, by rising index; the first is the newest known to be committed */
	struct raft_guard_conf *confs;
	size_t conf_count;
	uint64_t uncommitted_saved;
	/* G13: while a vote is asked for, a membership of just ourselves stands in */
	struct raft_configuration conf_saved;
	struct raft_server stand_in;
	bool standing_in;
};

void raft_guard_release(struct raft_guard *g);

enum raft_guard_verdict { RAFT_GUARD_PASS, RAFT_GUARD_DROP, RAFT_GUARD_LATER };
/* Before anything else looks at a message: its entries that our manifest covers are taken off. */
void raft_guard_trim(struct raft_guard *g, struct raft *r, struct raft_message *m);
/* Before the library sees a message. LATER: a result to be shown again once own_first is stored.
 * `writing` as for raft_guard_tick. */
enum raft_guard_verdict raft_guard_recv(struct raft_guard *g, struct raft *r,
					const struct raft_message *m, bool writing);
void raft_guard_received(struct raft_guard *g, struct raft *r); /* after it has */
/* Own entry stored: results held back may go now. */
bool raft_guard_may_commit(const struct raft_guard *g, const struct raft *r);

/* A message the library sends; may be changed. False: do not send it. */
bool raft_guard_send(struct raft_guard *g, const struct raft *r, struct raft_message *m);

/* The library appends `n` entries, of which the first gets `index`. */
void raft_guard_append(struct raft_guard *g, struct raft *r, const struct raft_entry *entries,
		       unsigned n, uint64_t index);
/* Entries from `index` on are gone. */
void raft_guard_truncate(struct raft_guard *g, struct raft *r, uint64_t index);
/* A manifest replaced the log. */
void raft_guard_installed(struct raft_guard *g, struct raft *r, uint64_t index,
			  struct pk_bytes conf);

/* Memberships found at start, oldest first. */
void raft_guard_conf_add(struct raft_guard *g, uint64_t index, struct pk_bytes conf);
/* The newest membership in the log: its index (0: there is none), and its bytes. */
struct pk_bytes raft_guard_conf(const struct raft_guard *g);
uint64_t raft_guard_conf_index(const struct raft_guard *g);

/* Before a tick. `writing`: appends or an installed manifest are not durable yet. */
void raft_guard_tick(struct raft_guard *g, struct raft *r, bool writing, uint64_t now_ms);
/* G11: will this tick make the only voter leader without an election? Then a new term is due. */
bool raft_guard_elects_itself(const struct raft_guard *g, const struct raft *r, uint64_t now_ms);

/* libraft's log, read directly: 0 when it does not hold the index. */
uint64_t raft_guard_term_of(const struct raft *r, uint64_t index);
const struct raft_entry *raft_guard_entry(const struct raft *r, uint64_t index);
uint64_t raft_guard_last_index(const struct raft *r);

#endif
