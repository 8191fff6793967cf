/*
 * tests/fuzz/fuzz_history.c - the input as records, as lines of JSON, and as the body of one record
 * whose length and checksum are made good. What is taken must come out the same when it is written
 * again in either form, and a history must take or refuse it. What it took is judged, as one of
 * ours and as one of ZooKeeper's: any verdict will do.
 */
#include "base/crc.h"
#include "base/mem.h"
#include "jepsen/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void again(const struct hist_event *e)
{
	struct hist_scratch scratch = HIST_SCRATCH_INIT;
	struct pk_buf once = PK_BUF_INIT, twice = PK_BUF_INIT;
	struct hist_event back;
	struct pk_err err = PK_ERR_INIT;

	hist_encode(&once, e);
	struct pk_bytes in = pk_buf_bytes(&once);
	PK_ASSERT(hist_decode(&in, &back, &scratch, &err) == 1 && in.len == 0);
	hist_encode(&twice, &back);
	PK_ASSERT(pk_bytes_eq(pk_buf_bytes(&once), pk_buf_bytes(&twice)));
	pk_buf_clear(&once);
	hist_encode_json(&once,
			 e); /* text that is no UTF-8 is replaced there, so it may be refused */
	pk_ignore(hist_decode_json(pk_bytes(once.data, once.len - 1), &back, &scratch, &err),
		  "it must only not crash");
	pk_buf_release(&once);
	pk_buf_release(&twice);
	hist_scratch_release(&scratch);
}

static void judge(const struct history *h)
{
	struct check_opts opts = CHECK_OPTS_INIT;
	struct check_report report;
	struct pk_buf text = PK_BUF_INIT;

	for (int peer = 0; peer < 2; peer++) {
		opts.peer = (enum check_peer)peer;
		check_run(h, &opts, &report);
		check_report_text(&report, &text);
		check_report_json(&report, &text);
		check_report_release(&report);
	}
	pk_buf_release(&text);
}

static void read_binary(struct pk_bytes in)
{
	struct history *h = history_new();
	struct hist_scratch scratch = HIST_SCRATCH_INIT;
	struct pk_err err = PK_ERR_INIT;
	struct hist_event e;
	int rc;

	while ((rc = hist_decode(&in, &e, &scratch, &err)) == 1) {
		again(&e);
		pk_ignore(history_add(h, &e, &err), "refused is as good");
	}
	PK_ASSERT(rc == 0 || err.text[0] != 0);
	hist_scratch_release(&scratch);
	judge(h);
	history_free(h);
}

static void read_json(struct pk_bytes in)
{
	struct history *h = history_new();
	struct hist_scratch scratch = HIST_SCRATCH_INIT;
	struct pk_err err = PK_ERR_INIT;
	struct hist_event e;
	struct pk_bytes line;

	while (hist_name_next(&in, &line)) {
		if (hist_decode_json(line, &e, &scratch, &err) != 0)
			continue;
		again(&e);
		pk_ignore(history_add(h, &e, &err), "refused is as good");
	}
	hist_scratch_release(&scratch);
	judge(h);
	history_free(h);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pk_buf one = PK_BUF_INIT;

	read_json(pk_bytes(data, size));
	read_binary(pk_bytes(data, size));
	if (size < 0x3fff) {
		if (size < 0x80) {
			pk_buf_add_u8(&one, (uint8_t)size);
		} else {
			pk_buf_add_u8(&one, (uint8_t)(size | 0x80));
			pk_buf_add_u8(&one, (uint8_t)(size >> 7));
		}
		pk_buf_add_le32(&one, pk_crc32c(0, data, size));
		pk_buf_add(&one, data, size);
		read_binary(pk_buf_bytes(&one));
	}
	pk_buf_release(&one);
	return 0;
}
