/*
 * tests/jepsen/story.h - histories told by hand, a call for each thing that happens.
 *
 * Process p has session 0x100 + p and server p. Each call is one or two events, a millisecond
 * apart.
 */
#ifndef PK_TESTS_JEPSEN_STORY_H
#define PK_TESTS_JEPSEN_STORY_H

#include "jepsen/check.h"

#define Z(n) (0x100000000 + (n)) /* the n-th zxid */

struct story {
	struct history *h;
	int64_t now_ms;
	uint64_t call;
	struct check_opts opts;
	struct check_report report;
};

struct story story_new(void); /* processes 1 to 3 are there, and connected */
void story_end(struct story *s);

/* ---- one event ---- */
void wait_ms(struct story *s, int64_t ms);
void add(struct story *s, struct hist_event e); /* at its time; it must be taken */
uint64_t asks(struct story *s, uint32_t p, struct hist_part asked);
uint64_t asks_multi(struct story *s, uint32_t p, const struct hist_part *parts, uint32_t count);
void ok(struct story *s, uint32_t p, uint64_t call, int64_t zxid, struct hist_part answer);
void ok_multi(struct story *s, uint32_t p, uint64_t call, int64_t zxid,
	      const struct hist_part *parts, uint32_t count);
void fails(struct story *s, uint32_t p, uint64_t call, int64_t zxid, int32_t err);
void lost(struct story *s, uint32_t p, uint64_t call); /* its outcome is not known */
void told(struct story *s, uint32_t p, int32_t event, const char *path);
void session(struct story *s, uint32_t p, enum hist_state state);

/* ---- asked and answered ---- */
void creates(struct story *s, uint32_t p, const char *path, const char *data, int64_t zxid);
void creates_mode(struct story *s, uint32_t p, const char *path, int32_t mode, const char *created,
		  int64_t zxid);
void deletes(struct story *s, uint32_t p, const char *path, int64_t zxid);
void sets(struct story *s, uint32_t p, const char *path, const char *data, int64_t zxid);
/* data NULL: NoNode */
void gets(struct story *s, uint32_t p, const char *path, const char *data, int64_t zxid);
void gets_stat(struct story *s, uint32_t p, const char *path, struct zk_stat stat, int64_t zxid);
void watches(struct story *s, uint32_t p, int32_t op, const char *path, int32_t watch,
	     const char *data, int64_t zxid);
void lists(struct story *s, uint32_t p, const char *path, const char *names, int64_t zxid);
void syncs(struct story *s, uint32_t p, int64_t zxid);

#define TXT(text) pk_bytes_str(text)

/* ---- the verdict ---- */
void story_valid(struct story *s);
/* At least one violation, and all of them of this rule. */
void story_breaks(struct story *s, enum check_rule rule);

#endif
