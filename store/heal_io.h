/*
 * store/heal_io.h - damaged log or state is set aside, and the server begins again as one that lost
 * its disk (store/found.h).
 *
 *     <dataDir>/damage        found while running (base/check.h); its text says what
 *     <dataDir>/healing       damaged data is being set aside: the record below
 *     <dataDir>/healed        the record of the last time
 *     <dataDir>/damaged-<UTC time>/state-*
 *     <dataLogDir, or dataDir>/damaged-<UTC time>/log
 *
 * The steps, each durable before the next. `healing` is the point of no return: heal_resume goes on
 * from wherever a crash left off, and every step may be done twice.
 *     1 `healing`, by rename            4 a new folder, in each of the two directories
 *     2 `joining`: it can never found   5 log, then each state-* into it, by rename
 *       a new cluster from here on      6 `damage` goes
 *     3 older damaged-* folders go      7 `healing` is renamed to `healed`
 *
 * When this may be done is decided elsewhere: node_io.h asks the other servers first, while the
 * damaged data is still where it was.
 */
#ifndef PK_STORE_HEAL_IO_H
#define PK_STORE_HEAL_IO_H

#include "base/bytes.h"
#include "base/err.h"

#define HEAL_MARK    "damage"
#define HEAL_JOINING "joining"

struct heal_dirs {
	const char *data; /* borrowed */
	const char *log;  /* what holds the folder `log`; may be the same */
	/* Asked before each change on disk: false is a crash there. For tests; NULL: go on. */
	bool (*go_on)(void *arg);
	void *arg;
};

struct heal_record {
	int64_t time_s; /* since 1970; 0: never */
	uint64_t count; /* of all times, this one included */
	char folder[48];
	char why[PK_ERR_TEXT_BYTES];
};

/* PK_ECORRUPT with the text of the mark; 0 without one. */
PK_CHECKED int heal_marked(const struct heal_dirs *d, struct pk_err *err);
/* The last time, all 0 when there was none or nobody can read it. */
void heal_last(const struct heal_dirs *d, struct heal_record *out);
/* PK_ESTATE: the log, as far as it can be read, is another server's or another cluster's. */
PK_CHECKED int heal_ours(const struct heal_dirs *d, uint64_t cluster_id, uint64_t server_id,
			 struct pk_err *err);
/* All of it. Nothing may have them open; PK_ESTATE when another process has. After a failure
 * heal_resume says whether it was begun. */
PK_CHECKED int heal_aside(const struct heal_dirs *d, int64_t now_s, const char *why,
			  struct heal_record *out, struct pk_err *err);
/* Go on where it was cut short. 1: it was, and is done; 0: nothing was. */
PK_CHECKED int heal_resume(const struct heal_dirs *d, struct heal_record *out, struct pk_err *err);

#endif
