/*
 * cli/ask_io.h - four-letter words: many questions at once, each on a connection of its own.
 */
#ifndef PK_CLI_ASK_IO_H
#define PK_CLI_ASK_IO_H

#include "net/loop.h"
#include "net/stream.h"
#include "net/tls.h"

#define ASK_ANSWER_BYTES_MAX (1u << 20)

struct ask {
	const char *host; /* borrowed */
	uint16_t port;
	const char *word;     /* "srvr"; "" only connects */
	struct pk_buf answer; /* the caller releases it */
	bool connected;
	bool done;
	char error[256]; /* why it was not, or not completely, answered; "" otherwise */
	struct net_stream *stream;
};

/* Returns when all are answered or have failed, after timeout_ms at the latest. */
void ask_all(struct net_loop *l, struct net_tls *tls, struct ask *asks, size_t count,
	     int64_t timeout_ms);

#endif
