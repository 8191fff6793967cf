/*
 * store/peer_greet.h - the bytes of a channel between servers, encoded and decoded.
 *
 *     HELLO    le32 magic "PADK" | le32 version | le64 cluster id | le64 from id | le64 to id
 *              | le64 life of a server that asks (store/found.h), otherwise 0
 *     WELCOME  u8 version | u8 bits: 1 has data, 2 founded, 4 founded with you
 *              | le64 members hash | le64 life | le64 term | u8 terms needed
 *
 *     frame    le32 length | u8 type | so many bytes; after the hello
 *
 * The welcome comes again when it has changed, to one that asks.
 */
#ifndef PK_STORE_PEER_GREET_H
#define PK_STORE_PEER_GREET_H

#include "store/found.h"

#define PEER_VERSION       2
#define PEER_HELLO_BYTES   40
#define PEER_WELCOME_BYTES 27

#define PEER_FRAME_HEAD_BYTES 5
#define PEER_FRAME_BYTES_MAX  (72u << 20) /* without its head */

struct peer_hello {
	uint64_t cluster_id, from_id, to_id, life;
};

void peer_hello_encode(uint8_t to[PEER_HELLO_BYTES], const struct peer_hello *h);
/* PK_EPROTO: not this protocol, or another version of it. */
PK_CHECKED int peer_hello_decode(struct peer_hello *h, const uint8_t in[PEER_HELLO_BYTES],
				 struct pk_err *err);
void peer_welcome_encode(uint8_t to[PEER_WELCOME_BYTES], const struct found_answer *a);
PK_CHECKED int peer_welcome_decode(struct found_answer *a, const uint8_t in[PEER_WELCOME_BYTES],
				   struct pk_err *err);

void peer_frame_head(uint8_t to[PEER_FRAME_HEAD_BYTES], uint8_t type, size_t bytes);
/* The frame at the beginning of `in`: 1 with *body borrowed; 0: more bytes are needed; PK_EPROTO:
 * it is longer than any may be. */
PK_CHECKED int peer_frame_decode(struct pk_bytes in, uint8_t *type, struct pk_bytes *body,
				 struct pk_err *err);

#endif
