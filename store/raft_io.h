/*
 * store/raft_io.h - libraft's struct raft_io over an rlog and an owner that sends; the guard sits
 * in it. Internal to store/raft_*.c.
 *
 * Every entry into the library goes through here and is bracketed: `inside` counts how deep we
 * are, and when the outermost call returns `settled` is called, where everything that must not
 * happen on the library's stack happens: completed sends, results held back, role changes.
 * A failure ends in rio_fail, after which nothing enters the library any more.
 */
#ifndef PK_STORE_RAFT_IO_H
#define PK_STORE_RAFT_IO_H

#include <raft.h>
#include <sys/queue.h>

#include "base/rng.h"
#include "store/raft_guard.h"
#include "store/raft_msg.h"
#include "store/rlog.h"

#define RIO_ENTRY_BYTES_MAX (1u << 20) /* entries of one message, beyond the first */

struct rio_sent;  /* a send whose completion the library has not been told */
struct rio_write; /* an append or a manifest on its way to disk */
struct rio_later; /* a result that G1 holds back */
TAILQ_HEAD(rio_sent_list, rio_sent);
TAILQ_HEAD(rio_write_list, rio_write);

struct rio {
	uint32_t magic;
	struct raft_io io;
	struct raft *raft;
	struct raft_guard guard;
	struct rlog *log;
	struct pk_rng *rng;
	uint64_t id;
	const char *address;
	int64_t now_ms;
	raft_io_tick_cb tick;
	raft_io_recv_cb recv;

	void *owner;
	bool (*send)(void *owner, uint64_t peer_id, const char *address, struct pk_bytes data);
	void (*fatal)(void *owner, const struct pk_err *err);
	void (*settled)(struct rio *io); /* after the library has returned */

	const struct rlog_loaded *loaded; /* until load() */
	struct pk_bytes bootstrap;        /* entry 1 of a new log, until load() */

	unsigned inside;
	bool failed, closing;
	struct rio_sent_list sent;
	struct rio_write_list writes;
	bool installing; /* a leader's manifest is on its way to disk */
	struct rio_later *later[RAFT_MSG_MEMBERS_MAX];
	size_t later_count;
	/* A heartbeat whose commit index is ahead of what is stored here: libraft takes only as
	 * much of it as is stored, so it is looked at again when more is. */
	struct {
		bool held;
		raft_index stored; /* last_stored when it was last looked at */
		struct raft_message m;
		char address[RAFT_MSG_ADDRESS_BYTES_MAX + 1];
	} heartbeat;
	struct pk_buf scratch;
};

void rio_init(struct rio *io, struct raft *raft); /* fills io->io; the caller fills the rest */
void rio_release(struct rio *io);

/* The first failure is kept and told to the owner; later ones are dropped. */
void rio_fail(struct rio *io, int code, const char *fmt, ...) PK_PRINTF(3, 4);

void rio_enter(struct rio *io);
void rio_leave(struct rio *io); /* may call settled */

void rio_tick(struct rio *io, int64_t now_ms);
/* Takes the message's memory. */
void rio_recv(struct rio *io, struct raft_message *m);
/* Tell the library of completed sends, show it results held back. False: nothing to do. */
bool rio_drain(struct rio *io);

struct raft_node;
/* The library below a node, for the tests that show its defects. */
struct raft *raft_node_library(struct raft_node *n);

#endif
