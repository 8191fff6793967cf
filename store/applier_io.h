/*
 * store/applier_io.h - the applier thread: it waits for the disk so that the loop need not.
 *
 *     loop:  kv_commit_begin -> applier_submit ... done(owner, job, err) -> kv_commit_end
 *
 * One job at a time, as kv has it. All functions belong to the loop's thread.
 */
#ifndef PK_STORE_APPLIER_IO_H
#define PK_STORE_APPLIER_IO_H

#include "base/err.h"
#include "net/loop.h"
#include "store/kv.h"

struct applier;

/*
 * On the loop, when the job was run: err->code is 0, and the owner calls kv_commit_end; or it is
 * what kv_commit_run returned, the durable state is as before, and the owner stops the process.
 * took_us is the time in kv_commit_run. The next job may be submitted from here.
 */
typedef void applier_done_f(void *owner, struct kv_job *job, const struct pk_err *err,
			    int64_t took_us);

/* The thread starts with all signals blocked. PK_EIO when there are no threads or descriptors left.
 * Borrows owner for life. */
PK_CHECKED int applier_start(struct applier **out, struct net_loop *loop, applier_done_f *done,
			     void *owner, struct pk_err *err);
/* Run the job on the thread. Asserts that the applier is not busy. */
void applier_submit(struct applier *a, struct kv_job *job);
bool applier_busy(const struct applier *a); /* submitted, and done not called yet */
/*
 * Wait for the job that is running, if any, and end the thread. No done comes after: a job that was
 * not reported stays with its kv, for kv_close. Takes a; NULL is allowed. Not from within done.
 */
void applier_stop(struct applier *a);

#endif
