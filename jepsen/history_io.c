#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"
#include "jepsen/history.h"

/* Histories in files. */

#define WRITE_BYTES (64u << 10)
#define READ_BYTES  (1u << 20)

struct hist_writer {
	FILE *file;
	char *path;
	struct pk_buf buf;
	int error_number; /* the first that happened */
	uint64_t bytes;
};

struct hist_writer *hist_writer_open(const char *path, struct pk_err *err)
{
	FILE *file = fopen(path, "wbe");

	if (file == NULL) {
		pk_err_sys(err, errno, "history %s", path);
		return NULL;
	}
	struct hist_writer *w = pk_alloc(sizeof(*w));
	w->file = file;
	w->path = pk_strdup(path);
	pk_buf_add_str(&w->buf, HIST_MAGIC);
	return w;
}

static void push(struct hist_writer *w)
{
	if (w->buf.len > 0 && w->error_number == 0 &&
	    fwrite(w->buf.data, 1, w->buf.len, w->file) != w->buf.len)
		w->error_number = errno != 0 ? errno : EIO;
	pk_buf_clear(&w->buf);
}

void hist_write(struct hist_writer *w, const struct hist_event *e)
{
	hist_encode(&w->buf, e);
	if (w->buf.len >= WRITE_BYTES)
		push(w);
}

int hist_writer_flush(struct hist_writer *w, struct pk_err *err)
{
	push(w);
	if (w->error_number == 0 && fflush(w->file) != 0)
		w->error_number = errno != 0 ? errno : EIO;
	if (w->error_number != 0)
		return pk_err_sys(err, w->error_number, "history %s", w->path);
	return 0;
}

int hist_writer_close(struct hist_writer *w, struct pk_err *err)
{
	int rc = hist_writer_flush(w, err);

	if (fclose(w->file) != 0 && rc == 0)
		rc = pk_err_sys(err, errno, "history %s", w->path);
	free(w->path);
	pk_buf_release(&w->buf);
	free(w);
	return rc;
}

/* ---- reading ---- */

struct reading {
	struct history *h; /* NULL: it is printed */
	FILE *out;
	struct pk_buf line;
	struct hist_scratch scratch;
	struct pk_buf buf;
	bool json, known;
	uint64_t place; /* of buf's first byte; of JSON the number of lines before it */
};

static int take_event(struct reading *r, const struct hist_event *e, struct pk_err *err)
{
	if (r->h != NULL)
		return history_add(r->h, e, err);
	pk_buf_clear(&r->line);
	hist_encode_json(&r->line, e);
	if (fwrite(r->line.data, 1, r->line.len, r->out) != r->line.len)
		return pk_err_sys(err, errno, "write");
	return 0;
}

static int take_binary(struct reading *r, struct pk_err *err)
{
	struct pk_bytes in = pk_buf_bytes(&r->buf);
	struct hist_event e;
	int rc;

	while ((rc = hist_decode(&in, &e, &r->scratch, err)) == 1) {
		rc = take_event(r, &e, err);
		if (rc != 0)
			break;
	}
	size_t used = r->buf.len - in.len;
	if (rc < 0)
		return pk_err_wrap(err, "byte %" PRIu64, r->place + used);
	r->place += used;
	pk_buf_drop(&r->buf, used);
	return 0;
}

static int take_json(struct reading *r, struct pk_err *err)
{
	struct pk_bytes in = pk_buf_bytes(&r->buf), line;
	struct hist_event e;

	while (hist_name_next(&in, &line)) {
		r->place++;
		if (line.len == 0)
			continue;
		int rc = hist_decode_json(line, &e, &r->scratch, err);
		if (rc == 0)
			rc = take_event(r, &e, err);
		if (rc != 0)
			return pk_err_wrap(err, "line %" PRIu64, r->place);
	}
	if (in.len > HIST_RECORD_BYTES_MAX)
		return pk_err_set(err, PK_ELIMIT, "line %" PRIu64 ": more than %u bytes",
				  r->place + 1, HIST_RECORD_BYTES_MAX);
	pk_buf_drop(&r->buf, r->buf.len - in.len);
	return 0;
}

static int take(struct reading *r, struct pk_err *err)
{
	if (!r->known) {
		if (r->buf.len == 0 || (r->buf.data[0] != '{' && r->buf.len < HIST_MAGIC_BYTES))
			return 0;
		r->json = r->buf.data[0] == '{';
		r->known = true;
		if (!r->json && memcmp(r->buf.data, HIST_MAGIC, HIST_MAGIC_BYTES) != 0)
			return pk_err_set(err, PK_ECORRUPT, "neither a history nor lines of JSON");
		if (!r->json) {
			pk_buf_drop(&r->buf, HIST_MAGIC_BYTES);
			r->place = HIST_MAGIC_BYTES;
		}
	}
	return r->json ? take_json(r, err) : take_binary(r, err);
}

static int read_all(struct reading *r, FILE *file, struct pk_err *err)
{
	int rc = 0;

	while (rc == 0) {
		size_t n = fread(pk_buf_reserve(&r->buf, READ_BYTES), 1, READ_BYTES, file);
		r->buf.len += n;
		if (n == 0 && ferror(file))
			return pk_err_sys(err, errno, "read");
		if (n == 0)
			break;
		rc = take(r, err);
	}
	return rc;
}

static int load(struct reading *r, const char *path, uint64_t *torn_bytes, struct pk_err *err)
{
	FILE *file = fopen(path, "rbe");

	if (file == NULL)
		return pk_err_sys(err, errno, "history %s", path);
	int rc = read_all(r, file, err);
	if (rc == 0)
		*torn_bytes = r->buf.len;
	else
		pk_err_wrap(err, "history %s", path);
	pk_ignore(fclose(file), "it was only read");
	hist_scratch_release(&r->scratch);
	pk_buf_release(&r->buf);
	pk_buf_release(&r->line);
	return rc;
}

int history_load(struct history *h, const char *path, uint64_t *torn_bytes, struct pk_err *err)
{
	struct reading r = { .h = h };

	return load(&r, path, torn_bytes, err);
}

int hist_copy_json(const char *path, FILE *out, struct pk_err *err)
{
	struct reading r = { .out = out };
	uint64_t torn;

	return load(&r, path, &torn, err);
}
