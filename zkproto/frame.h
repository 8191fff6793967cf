/*
 * zkproto/frame.h - cut a TCP byte stream into ZooKeeper frames.
 *
 * Wire: int32 big-endian body length, then the body. A length below 0 or above jute.maxbuffer
 * (0xfffff unless configured) ends the connection. The first four bytes that a client sends may
 * spell a four-letter word instead; each of those, read as a length, is far above any limit.
 * Source: Apache ZooKeeper release-3.8.0, NIOServerCnxn.readLength, BinaryInputArchive.maxBuffer.
 *
 * Nothing is copied while whole frames come in: they are handed out where they lie in the fed
 * bytes. Only a frame that is cut by the end of the fed bytes is kept, in memory that grows with
 * what has come (never with what a length promises) and goes when the frame is done.
 *
 *     zk_frame_feed(&f, in);
 *     while ((rc = zk_frame_next(&f, &body, &err)) == 1)
 *             ...
 *
 * Leaving the loop before zk_frame_next gave 0 needs a zk_frame_hold: the fed bytes are borrowed.
 */
#ifndef PK_ZKPROTO_FRAME_H
#define PK_ZKPROTO_FRAME_H

#include "base/bytes.h"
#include "base/err.h"

/* One per connection, part of it. */
struct zk_frame {
	struct pk_buf held; /* bytes that outlived the feed they came in */
	size_t held_read;   /* of these were handed out */
	struct pk_bytes in; /* borrowed, what is left of the last feed; comes behind held */
	size_t bytes_max;   /* longest body */
};

void zk_frame_init(struct zk_frame *f, size_t bytes_max);
void zk_frame_release(struct zk_frame *f);

/* Borrows `in` until zk_frame_next returned 0 or zk_frame_hold was called. */
void zk_frame_feed(struct zk_frame *f, struct pk_bytes in);
/*
 * The next whole body: 1 with *body borrowed until the next call for f or, if it lies in the fed
 * bytes, as long as those; 0 when more bytes are needed; PK_ELIMIT with err filled: the stream
 * cannot be read on from there.
 */
PK_CHECKED int zk_frame_next(struct zk_frame *f, struct pk_bytes *body, struct pk_err *err);
/* Copy what is left of the fed bytes, to go on with later. The caller stops feeding meanwhile: that
 * bounds what is held to one feed and one frame. */
void zk_frame_hold(struct zk_frame *f);
/* Bytes that were fed and not yet handed out. */
size_t zk_frame_pending_bytes(const struct zk_frame *f);
/* Memory held; 0 for an idle connection. */
size_t zk_frame_held_bytes(const struct zk_frame *f);

/* Writing: begin, append the body, end fills in the length. */
size_t zk_frame_begin(struct pk_buf *b); /* returns the place of the length, for the end */
void zk_frame_end(struct pk_buf *b, size_t at);

/* ---- four-letter words ---- */
enum zk_word {
	ZK_WORD_NONE, /* it is a frame */
	ZK_WORD_MORE, /* fewer than four bytes have come */
#define WORD(ident, text, about) ZK_WORD_##ident,
#include "zkproto/words.tbl"
#undef WORD
	ZK_WORDS_END
};

/* What the first bytes of the connection are; they stay where they are. Ask after the first feed
 * and, on ZK_WORD_MORE, again after the next. */
enum zk_word zk_frame_word(struct zk_frame *f);
/* Take len bytes as they are (a word, or the mask behind "stmk"); false when they are not there
 * yet. *out is borrowed as from zk_frame_next. */
bool zk_frame_take(struct zk_frame *f, size_t len, struct pk_bytes *out);
/* "ruok"; NULL for what is no word. */
const char *zk_word_name(enum zk_word word);
/* ZK_WORD_NONE when `name` is not exactly a word. */
enum zk_word zk_word_parse(struct pk_bytes name);

#endif
