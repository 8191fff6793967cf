/*
 * tests/fuzz/fuzz_zk_frame.c - a stream fed whole and fed in pieces gives the same frames. The
 * first byte says how long the pieces are.
 */
#include "zkproto/frame.h"

#include "base/mem.h"

#define FRAME_BYTES_MAX 1000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int drain(struct zk_frame *f, struct pk_buf *out)
{
	struct pk_err err = PK_ERR_INIT;
	struct pk_bytes body;
	int rc;

	while ((rc = zk_frame_next(f, &body, &err)) == 1) {
		PK_ASSERT(body.len <= FRAME_BYTES_MAX);
		pk_buf_add_be32(out, (uint32_t)body.len);
		pk_buf_add_bytes(out, body);
	}
	return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pk_buf whole = PK_BUF_INIT, pieces = PK_BUF_INIT;
	struct zk_frame f;

	if (size < 1)
		return 0;
	size_t step = 1 + data[0] % 17;
	bool pause = (data[0] & 0x80) != 0;
	data++;
	size--;
	zk_frame_init(&f, FRAME_BYTES_MAX);
	enum zk_word word_whole = ZK_WORD_MORE, word_pieces = ZK_WORD_MORE;
	zk_frame_feed(&f, pk_bytes(data, size));
	word_whole = zk_frame_word(&f);
	int rc_whole = drain(&f, &whole);
	zk_frame_release(&f);

	int rc_pieces = 0;
	zk_frame_init(&f, FRAME_BYTES_MAX);
	for (size_t at = 0; at < size && rc_pieces == 0; at += step) {
		size_t len = size - at < step ? size - at : step;
		uint8_t *piece = pk_memdup(data + at, len);

		zk_frame_feed(&f, pk_bytes(piece, len));
		if (word_pieces == ZK_WORD_MORE)
			word_pieces = zk_frame_word(&f);
		if (pause)
			zk_frame_hold(&f);
		/* Until the word is known, nothing may be taken, as a server does it. */
		if (word_pieces != ZK_WORD_MORE)
			rc_pieces = drain(&f, &pieces);
		zk_frame_hold(&f);
		free(piece);
		PK_ASSERT(zk_frame_held_bytes(&f) <= 4 * (FRAME_BYTES_MAX + 64));
	}
	PK_ASSERT(rc_whole == rc_pieces);
	PK_ASSERT(word_whole == word_pieces);
	PK_ASSERT(pk_bytes_eq(pk_buf_bytes(&whole), pk_buf_bytes(&pieces)));
	zk_frame_release(&f);
	pk_buf_release(&whole);
	pk_buf_release(&pieces);
	return 0;
}
