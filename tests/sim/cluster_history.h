/*
 * tests/sim/cluster_history.h - what the simulated clients did and saw, as a history for the
 * checker of jepsen/ (jepsen/history.h), which judges every run a second time, on its own terms.
 */
#ifndef PK_TESTS_SIM_CLUSTER_HISTORY_H
#define PK_TESTS_SIM_CLUSTER_HISTORY_H

#include "jepsen/history.h"
#include "tests/sim/cluster.h"

struct record; /* owns its history */

/* path: NULL, or a file that is given the same, a line of JSON for each event. */
struct record *record_new(struct sim *s, const char *path);
void record_free(struct record *r);
struct history *record_history(struct record *r); /* borrowed */

void record_client(struct record *r, int client);
void record_session(struct record *r, int client, uint64_t session, int server,
		    enum hist_state state, int32_t timeout_ms, bool no_barrier);
/* `body`: as on the wire; identity: of an auth request, as an ACL names it. */
void record_invoke(struct record *r, int client, uint64_t call, uint64_t session, int32_t xid,
		   int32_t op, struct pk_bytes body, struct pk_bytes identity);
void record_reply(struct record *r, int client, uint64_t call, uint64_t session, int32_t xid,
		  int server, int32_t op, uint64_t zxid, int32_t err, struct pk_bytes body);
void record_lost(struct record *r, int client, uint64_t call, int32_t op);
void record_watch(struct record *r, int client, uint64_t session, int32_t event,
		  struct pk_bytes path);
/* All of a server's tree: so many nodes follow, each as getData would answer it. */
void record_dump(struct record *r, int server, uint64_t zxid, size_t nodes);
void record_node(struct record *r, int server, const char *path, struct pk_bytes body);
/* A server has this tree at this zxid. */
void record_digest(struct record *r, int server, uint64_t zxid, uint64_t digest);
/* From then to then the cluster owed nobody the end of a session: name is a literal. */
void record_fault(struct record *r, const char *name, int64_t from_us, int64_t to_us);
/* What nobody asked for, from the model, and the faults; with `outcomes` also what became of the
 * requests that were never answered. Once, at the end. */
void record_log(struct record *r, bool outcomes);

#endif
