#include "zkproto/frame.h"

#define LENGTH_BYTES 4u

void zk_frame_init(struct zk_frame *f, size_t bytes_max)
{
	PK_ASSERT(bytes_max <= INT32_MAX);
	*f = (struct zk_frame){ .bytes_max = bytes_max };
}

void zk_frame_release(struct zk_frame *f)
{
	pk_buf_release(&f->held);
	f->held_read = 0;
	f->in = PK_BYTES_NONE;
}

static size_t held_left(const struct zk_frame *f)
{
	return f->held.len - f->held_read;
}

size_t zk_frame_pending_bytes(const struct zk_frame *f)
{
	return held_left(f) + f->in.len;
}

size_t zk_frame_held_bytes(const struct zk_frame *f)
{
	return f->held.cap;
}

void zk_frame_feed(struct zk_frame *f, struct pk_bytes in)
{
	zk_frame_hold(f);
	f->in = in;
}

/* Move the first `len` of the fed bytes behind what is held. */
static void pull(struct zk_frame *f, size_t len)
{
	PK_ASSERT(len <= f->in.len);
	if (len == 0)
		return;
	/* Bytes that were handed out before make room first, so held stays within one frame. */
	pk_buf_drop(&f->held, f->held_read);
	f->held_read = 0;
	pk_buf_add(&f->held, f->in.data, len);
	f->in.data += len;
	f->in.len -= len;
}

void zk_frame_hold(struct zk_frame *f)
{
	pull(f, f->in.len);
	f->in = PK_BYTES_NONE;
}

/* Take len bytes if they are all there; in one piece, copying only what the end of a feed cut. */
bool zk_frame_take(struct zk_frame *f, size_t len, struct pk_bytes *out)
{
	if (held_left(f) == 0 && f->held.cap > 0) {
		pk_buf_release(&f->held);
		f->held_read = 0;
	}
	if (zk_frame_pending_bytes(f) < len)
		return false;
	if (held_left(f) == 0) {
		*out = pk_bytes(f->in.data, len);
		if (len > 0)
			f->in.data += len;
		f->in.len -= len;
		return true;
	}
	if (held_left(f) < len)
		pull(f, len - held_left(f));
	*out = pk_bytes(f->held.data + f->held_read, len);
	f->held_read += len;
	return true;
}

/* Look at the next four bytes without taking them. */
static bool peek(const struct zk_frame *f, uint8_t out[LENGTH_BYTES])
{
	size_t held = held_left(f);

	if (held + f->in.len < LENGTH_BYTES)
		return false;
	for (size_t i = 0; i < LENGTH_BYTES; i++)
		out[i] = i < held ? f->held.data[f->held_read + i] : f->in.data[i - held];
	return true;
}

int zk_frame_next(struct zk_frame *f, struct pk_bytes *body, struct pk_err *err)
{
	uint8_t length[LENGTH_BYTES];
	struct pk_bytes whole;

	if (peek(f, length)) {
		int32_t len = (int32_t)pk_get_be32(length);

		if (len < 0 || (size_t)len > f->bytes_max)
			return pk_err_set(err, PK_ELIMIT, "frame of %d bytes, the limit is %zu",
					  len, f->bytes_max);
		if (zk_frame_take(f, LENGTH_BYTES + (size_t)len, &whole)) {
			*body = pk_bytes(whole.data + LENGTH_BYTES, (size_t)len);
			return 1;
		}
	}
	zk_frame_hold(f);
	if (held_left(f) == 0)
		zk_frame_release(f);
	return 0;
}

size_t zk_frame_begin(struct pk_buf *b)
{
	size_t at = b->len;

	pk_buf_add_be32(b, 0);
	return at;
}

void zk_frame_end(struct pk_buf *b, size_t at)
{
	PK_ASSERT(at + LENGTH_BYTES <= b->len);
	size_t len = b->len - at - LENGTH_BYTES;
	PK_ASSERT(len <= INT32_MAX);
	pk_put_be32(b->data + at, (uint32_t)len);
}

/* ---- four-letter words ---- */

static const char *const word_names[ZK_WORDS_END] = {
#define WORD(ident, text, about) [ZK_WORD_##ident] = text,
#include "zkproto/words.tbl"
#undef WORD
};

const char *zk_word_name(enum zk_word word)
{
	return (unsigned)word < ZK_WORDS_END ? word_names[word] : NULL;
}

enum zk_word zk_word_parse(struct pk_bytes name)
{
	for (int i = ZK_WORD_MORE + 1; i < ZK_WORDS_END; i++)
		if (pk_bytes_is(name, word_names[i]))
			return (enum zk_word)i;
	return ZK_WORD_NONE;
}

enum zk_word zk_frame_word(struct zk_frame *f)
{
	uint8_t first[LENGTH_BYTES];

	if (!peek(f, first)) {
		zk_frame_hold(f);
		return ZK_WORD_MORE;
	}
	return zk_word_parse(pk_bytes(first, LENGTH_BYTES));
}
