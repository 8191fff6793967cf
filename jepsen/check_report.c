#include <inttypes.h>

#include "base/mem.h"
#include "jepsen/check.h"

static const struct {
	const char *name, *text;
} rules[CHECK_RULES] = {
#define RULE(ident, name_, text_) [CHECK_##ident] = { .name = (name_), .text = (text_) },
#include "jepsen/check_rules.tbl"
#undef RULE
};

const char *check_rule_name(enum check_rule rule)
{
	PK_ASSERT(rule < CHECK_RULES);
	return rules[rule].name;
}

const char *check_rule_text(enum check_rule rule)
{
	PK_ASSERT(rule < CHECK_RULES);
	return rules[rule].text;
}

void check_report_release(struct check_report *r)
{
	for (uint32_t i = 0; i < r->list_count; i++)
		free(r->list[i].text);
	free(r->list);
	*r = (struct check_report){ 0 };
}

/* The counts, once for both forms. */
#define COUNTS(X)                                                                                  \
	X(operations, "operations")                                                                \
	X(writes, "writes answered")                                                               \
	X(writes_judged, "  judged")                                                               \
	X(writes_unjudged, "  not judged")                                                         \
	X(unknown, "writes of unknown outcome")                                                    \
	X(unknown_happened, "  found to have happened")                                            \
	X(reads, "reads answered")                                                                 \
	X(reads_judged, "  judged")                                                                \
	X(reads_unjudged, "  not judged")                                                          \
	X(zxids, "zxids of answered writes")                                                       \
	X(gaps, "zxids between them that no answer had")                                           \
	X(events, "watch events")                                                                  \
	X(events_judged, "  judged")                                                               \
	X(events_unjudged, "  not judged")                                                         \
	X(sessions, "sessions")                                                                    \
	X(sessions_ended, "  ended")                                                               \
	X(nodes, "nodes, ever")                                                                    \
	X(faults, "faults")

void check_report_text(const struct check_report *r, struct pk_buf *out)
{
	for (uint32_t i = 0; i < r->list_count; i++)
		pk_buf_printf(out, "VIOLATION %s: %s\n", rules[r->list[i].rule].name,
			      r->list[i].text);
	if (r->violations > r->list_count)
		pk_buf_printf(out, "... and %" PRIu64 " more\n", r->violations - r->list_count);
	if (r->list_count > 0)
		pk_buf_add_str(out, "\n");
#define X(field, text) pk_buf_printf(out, "%-40s %12" PRIu64 "\n", text, r->field);
	COUNTS(X)
#undef X
	pk_buf_printf(out, "\n%-20s %12s %12s\n", "rule", "judged", "violations");
	for (int i = 0; i < CHECK_RULES; i++)
		pk_buf_printf(out, "%-20s %12" PRIu64 " %12" PRIu64 "\n", rules[i].name,
			      r->judged[i], r->by_rule[i]);
	if (r->violations == 0)
		pk_buf_printf(out, "\nvalid: %" PRIu64 " operations, no violation\n",
			      r->operations);
	else
		pk_buf_printf(out, "\nINVALID: %" PRIu64 " violations\n", r->violations);
}

static void put_json_text(struct pk_buf *out, const char *text)
{
	pk_buf_add_u8(out, '"');
	for (const unsigned char *at = (const unsigned char *)text; *at != 0; at++) {
		if (*at == '"' || *at == '\\')
			pk_buf_printf(out, "\\%c", *at);
		else if (*at < 0x20 || *at >= 0x7f) /* values may be any bytes: shown one by one */
			pk_buf_printf(out, "\\u%04x", *at);
		else
			pk_buf_add_u8(out, *at);
	}
	pk_buf_add_u8(out, '"');
}

void check_report_json(const struct check_report *r, struct pk_buf *out)
{
	pk_buf_printf(out, "{\"valid\":%s,\"violations\":%" PRIu64 ",\"span_ns\":%" PRId64,
		      r->violations == 0 ? "true" : "false", r->violations, r->span_ns);
#define X(field, text) pk_buf_printf(out, ",\"%s\":%" PRIu64, #field, r->field);
	COUNTS(X)
#undef X
	pk_buf_add_str(out, ",\"rules\":{");
	for (int i = 0; i < CHECK_RULES; i++)
		pk_buf_printf(out, "%s\"%s\":{\"judged\":%" PRIu64 ",\"violations\":%" PRIu64 "}",
			      i > 0 ? "," : "", rules[i].name, r->judged[i], r->by_rule[i]);
	pk_buf_add_str(out, "},\"list\":[");
	for (uint32_t i = 0; i < r->list_count; i++) {
		const struct check_violation *v = &r->list[i];
		pk_buf_printf(out, "%s{\"rule\":\"%s\",\"time_ns\":%" PRId64 ",\"zxid\":%" PRId64,
			      i > 0 ? "," : "", rules[v->rule].name, v->time_ns, v->zxid);
		if (v->process != UINT32_MAX)
			pk_buf_printf(out, ",\"process\":%" PRIu32, v->process);
		pk_buf_add_str(out, ",\"text\":");
		put_json_text(out, v->text);
		pk_buf_add_str(out, "}");
	}
	pk_buf_add_str(out, "]}\n");
}
