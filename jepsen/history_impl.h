/*
 * jepsen/history_impl.h - how a history lies in memory, for history_*.c and the checker's files.
 *
 * Operations are joined: one struct hop for INVOKE and its end, in the order of the INVOKEs. What
 * each process saw come in (answers, watch events, session events) is a list of items in the order
 * of arrival; taken together with processes' own order that is all the order there is, besides
 * time.
 */
#ifndef PK_JEPSEN_HISTORY_IMPL_H
#define PK_JEPSEN_HISTORY_IMPL_H

#include <uthash.h>

#include "base/mem.h"
#include "jepsen/history.h"

#define HIST_NO_INDEX UINT32_MAX
#define HIST_ROOT     0u /* the path "/" */

/* Of the binary form: the tag before each part of a multi. */
#define HIST_TAG_PART 64u

#define SEQUENCE_DIGITS 10u /* at the end of a sequential node's name */

enum hop_status { HOP_OPEN, HOP_OK, HOP_FAIL, HOP_INFO };

/* One operation, or one part of a multi (then a hop of its own in `subs`). 128 bytes. */
struct hop {
	int64_t invoke_ns, done_ns; /* done: INT64_MAX while open or when unknown */
	int64_t zxid;
	uint64_t data_hash; /* of the value written or read; 0: none, or null */
	uint32_t data_bytes;
	uint32_t data;    /* place in blobs, if it is short; HIST_NO_INDEX */
	uint32_t process; /* index */
	uint32_t session; /* index, HIST_NO_INDEX: none */
	uint32_t path;    /* id */
	uint32_t created; /* path id, HIST_NO_INDEX */
	uint32_t acl;     /* asked: id of the text, HIST_NO_INDEX */
	uint32_t acl_got; /* answered */
	uint32_t stat;    /* index into stats, HIST_NO_INDEX */
	uint32_t names;   /* place in blobs (le32 length, bytes), HIST_NO_INDEX */
	uint32_t subs;    /* first of its parts in subs */
	uint32_t sub_count;
	int32_t version;
	int32_t err;
	int16_t op;
	uint8_t status; /* enum hop_status */
	uint8_t mode;
	uint8_t watch;
	uint8_t server;      /* index, 0: not known; 255: beyond */
	bool data_given;     /* a value, or surely none, was told */
	bool result : 1;     /* of a part: its result was told */
	bool no_barrier : 1; /* answered on a connection of HIST_NO_BARRIER */
	int32_t xid;
	int64_t ttl_ms;
};

enum hist_item_type { ITEM_DONE, ITEM_WATCH, ITEM_SESSION, ITEM_INVOKE };

struct hist_item {
	uint32_t process;
	uint32_t type : 2, index : 30;
};

struct hwatch {
	int64_t time_ns;
	uint32_t session, path;
	int32_t event;
};

struct hstate {
	int64_t time_ns;
	uint32_t session, process;
	uint8_t state; /* enum hist_state */
	uint8_t server;
	bool no_barrier; /* HIST_NO_BARRIER */
	int32_t timeout_ms;
};

struct htxn {
	int64_t zxid, time_ns;
	uint32_t session, path;
	int32_t op, xid;
	uint32_t created;         /* path id, HIST_NO_INDEX */
	uint32_t subs, sub_count; /* of a multi: what each part made */
};

struct hdump {
	int64_t zxid;
	uint32_t path, server;
	uint64_t count;
	uint32_t first, given; /* in nodes */
};

struct hnode {
	uint32_t path, dump;
	uint32_t stat, acl;
	uint64_t data_hash;
	uint32_t data_bytes;
	bool data_given;
};

struct hdigest {
	int64_t zxid;
	uint64_t digest;
	uint32_t name; /* acl-like id of the text */
	uint32_t server;
};

struct hfault {
	int64_t begin_ns, end_ns;
	uint64_t call;
	uint32_t name, text; /* text ids */
};

/* A text met before: paths, ACLs and names each have a table. */
struct htext {
	UT_hash_handle hh;
	uint32_t id;
	uint32_t len;
	char text[];
};
struct htexts {
	struct htext *by_text;
	struct htext **by_id;
	uint32_t count, cap;
};

struct hproc {
	UT_hash_handle hh;
	uint32_t id, index;
	uint32_t flags;
	uint32_t name; /* text id */
	int64_t time_ns;
	uint32_t dump;   /* open dump, HIST_NO_INDEX */
	bool no_barrier; /* its connection is one of HIST_NO_BARRIER */
	/* open calls, oldest first */
	struct {
		uint64_t call;
		uint32_t op;
	} * open;
	uint32_t open_first, open_count, open_cap;
};

struct hsession {
	UT_hash_handle hh;
	uint64_t id;
	uint32_t index;
};

#define HIST_VEC(type)                                                                             \
	struct {                                                                                   \
		type *at;                                                                          \
		uint32_t count, cap;                                                               \
	}

struct history {
	HIST_VEC(struct hop) ops;
	HIST_VEC(struct hop) subs;
	HIST_VEC(struct zk_stat) stats;
	HIST_VEC(struct hist_item) items;
	HIST_VEC(struct hwatch) watches;
	HIST_VEC(struct hstate) states;
	HIST_VEC(struct htxn) txns;
	HIST_VEC(struct hdump) dumps;
	HIST_VEC(struct hnode) nodes;
	HIST_VEC(struct hdigest) digests;
	HIST_VEC(struct hfault) faults;
	HIST_VEC(struct hproc *) procs;
	HIST_VEC(struct hsession *) sessions;
	struct pk_buf blobs;
	struct htexts paths, texts;
	struct hproc *proc_by_id;
	struct hsession *session_by_id;
	int64_t final_ns; /* INT64_MAX: there is no HIST_FINAL */
	bool log_told;    /* HIST_LOG */
	int64_t last_ns;
	uint64_t events;
};

/* One more at the end, zeroed; its address holds until the next. */
#define HIST_PUSH(vec)                                                                             \
	(hist_grow((void **)&(vec)->at, &(vec)->cap, (vec)->count, sizeof(*(vec)->at)),            \
	 &(vec)->at[(vec)->count++])
void hist_grow(void **at, uint32_t *cap, uint32_t count, size_t size);

static inline struct pk_bytes hist_path(const struct history *h, uint32_t id)
{
	return pk_bytes(h->paths.by_id[id]->text, h->paths.by_id[id]->len);
}
static inline struct pk_bytes hist_text(const struct history *h, uint32_t id)
{
	return pk_bytes(h->texts.by_id[id]->text, h->texts.by_id[id]->len);
}
/* The names of an answered list; null when there are none told. */
static inline struct pk_bytes hop_names(const struct history *h, const struct hop *op)
{
	if (op->names == HIST_NO_INDEX)
		return PK_BYTES_NONE;
	return pk_bytes(h->blobs.data + op->names + 4, pk_get_le32(h->blobs.data + op->names));
}
uint32_t htext_id(struct htexts *t, struct pk_bytes text);
/* HIST_NO_INDEX: not met. */
uint32_t htext_find(const struct htexts *t, struct pk_bytes text);

/* Shared by both forms: what a decoded event must satisfy, whoever made it. */
PK_CHECKED int hist_event_check(const struct hist_event *e, struct pk_err *err);
struct hist_part *hist_scratch_part(struct hist_scratch *s, uint32_t index);
void hist_scratch_json_release(struct hist_scratch *s);

#endif
