/*
 * store/session.h - the leader's clock of sessions: who was heard when, and whose time is up.
 *
 * Only the leader runs one. It is filled from the tree when a leader begins, every session with its
 * whole timeout ahead; clients' signs of life arrive from all servers. A session that stayed
 * silent is named once; ending it is an operation in the log (TXN_EXPIRE), so that replicas agree.
 * Time is rounded up to the next tick as ZooKeeper does, so that many sessions share a bucket.
 * Source: ZooKeeper at 53a78e36f, ExpiryQueue.roundToNextInterval, SessionTrackerImpl.
 */
#ifndef PK_STORE_SESSION_H
#define PK_STORE_SESSION_H

#include "base/bytes.h"

struct session_clock;

struct session_clock *session_clock_new(int64_t tick_ms); /* returns owned */
void session_clock_free(struct session_clock *c);

/* Add, or change generation and timeout of one that is there; it was heard at now_ms. */
void session_clock_put(struct session_clock *c, uint64_t id, uint64_t gen, int32_t timeout_ms,
		       int64_t now_ms);
/* A sign of life. Unknown: ignored. */
void session_clock_touch(struct session_clock *c, uint64_t id, int64_t now_ms);
void session_clock_remove(struct session_clock *c, uint64_t id);
/*
 * Name every session whose time is up at now_ms, oldest first. It is given one more timeout before
 * it would be named again (should the log refuse the first).
 */
typedef void session_expired_f(void *arg, uint64_t id, uint64_t gen);
void session_clock_tick(struct session_clock *c, int64_t now_ms, session_expired_f *expired,
			void *arg);
size_t session_clock_count(const struct session_clock *c);
/* Buckets in order of expiry, for the dump command. */
typedef void session_bucket_f(void *arg, int64_t expiry_ms, uint64_t id);
void session_clock_each(struct session_clock *c, session_bucket_f *each, void *arg);

#endif
