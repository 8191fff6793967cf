#include "base/opt.h"

#include <ctype.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <strings.h>

#include "base/mem.h"

#define NAME_BYTES_MAX 64 /* of a name that we look for a neighbour of */
#define SHOWN_BYTES    80 /* of a wrong value in an error */

void pk_strs_add(struct pk_strs *s, struct pk_bytes item)
{
	s->items = pk_realloc(s->items, (s->count + 1) * sizeof(*s->items));
	s->items[s->count++] = pk_strndup((const char *)item.data, item.len);
}

void pk_strs_release(struct pk_strs *s)
{
	for (size_t i = 0; i < s->count; i++)
		free(s->items[i]);
	free(s->items);
	*s = PK_STRS_INIT;
}

static void *field_of(const struct pk_opt *row, void *owner)
{
	return (char *)owner + row->offset;
}

static const void *field_of_const(const struct pk_opt *row, const void *owner)
{
	return (const char *)owner + row->offset;
}

static struct pk_bytes trimmed(struct pk_bytes text)
{
	while (text.len > 0 && isspace(text.data[0])) {
		text.data++;
		text.len--;
	}
	while (text.len > 0 && isspace(text.data[text.len - 1]))
		text.len--;
	return text;
}

static bool is_word(struct pk_bytes text, const char *word)
{
	return strlen(word) == text.len &&
	       (text.len == 0 || strncasecmp((const char *)text.data, word, text.len) == 0);
}

static bool bool_of(struct pk_bytes text, bool *out)
{
	static const char *const yes[] = { "true", "yes", "on", "1" };
	static const char *const no[] = { "false", "no", "off", "0" };

	for (size_t i = 0; i < PK_COUNT(yes); i++) {
		if (is_word(text, yes[i]) || is_word(text, no[i])) {
			*out = is_word(text, yes[i]);
			return true;
		}
	}
	return false;
}

/* A signed number, decimal or 0x; what follows it goes to *rest. False: no number, or too large. */
static bool number_of(struct pk_bytes text, int64_t *out, struct pk_bytes *rest)
{
	size_t at = 0;
	bool minus = false;
	uint64_t base = 10;
	uint64_t v = 0;
	size_t digits = 0;

	if (at < text.len && (text.data[at] == '-' || text.data[at] == '+'))
		minus = text.data[at++] == '-';
	if (at + 2 < text.len && text.data[at] == '0' && (text.data[at + 1] | 0x20) == 'x') {
		base = 16;
		at += 2;
	}
	for (; at < text.len; at++, digits++) {
		uint8_t c = text.data[at];
		uint64_t d;

		if (c >= '0' && c <= '9')
			d = c - '0';
		else if (base == 16 && isxdigit(c))
			d = (uint64_t)((c | 0x20) - 'a') + 10;
		else
			break;
		if (v > ((uint64_t)INT64_MAX - d) / base)
			return false;
		v = v * base + d;
	}
	if (digits == 0)
		return false;
	*out = minus ? -(int64_t)v : (int64_t)v;
	*rest = pk_bytes(text.data + at, text.len - at);
	return true;
}

struct suffix {
	const char *name;
	int64_t factor;
};
static const struct suffix ms_suffixes[] = {
	{ "", 1 }, { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 }, { NULL, 0 },
};
static const struct suffix bytes_suffixes[] = {
	{ "", 1 },          { "b", 1 },        { "k", 1 << 10 },   { "kb", 1 << 10 },
	{ "kib", 1 << 10 }, { "m", 1 << 20 },  { "mb", 1 << 20 },  { "mib", 1 << 20 },
	{ "g", 1 << 30 },   { "gb", 1 << 30 }, { "gib", 1 << 30 }, { NULL, 0 },
};
static const struct suffix no_suffixes[] = { { "", 1 }, { NULL, 0 } };

static bool scaled_of(struct pk_bytes text, const struct suffix *suffixes, int64_t *out)
{
	int64_t v;
	struct pk_bytes rest;

	if (!number_of(text, &v, &rest))
		return false;
	rest = trimmed(rest);
	for (const struct suffix *s = suffixes; s->name != NULL; s++) {
		if (is_word(rest, s->name))
			return !__builtin_mul_overflow(v, s->factor, out);
	}
	return false;
}

/* The index of `text` among "a|b|c", or -1. */
static int enum_of(const char *names, struct pk_bytes text)
{
	int index = 0;

	for (const char *at = names; *at != '\0'; index++) {
		size_t len = strcspn(at, "|");

		if (len == text.len && memcmp(at, text.data, len) == 0)
			return index;
		at += len;
		at += *at == '|';
	}
	return -1;
}

static struct pk_bytes enum_name(const char *names, int index)
{
	const char *at = names;

	for (; index > 0; index--) {
		at += strcspn(at, "|");
		PK_ASSERT(*at == '|');
		at++;
	}
	return pk_bytes(at, strcspn(at, "|"));
}

static const char *unit_word(const struct pk_opt *row)
{
	return row->unit != NULL ? row->unit : "";
}

static bool is_secret(const struct pk_opt *row)
{
	return row->type == PK_OPT_STRING && strcmp(unit_word(row), "secret") == 0;
}

static bool is_boundless(const struct pk_opt *row)
{
	int64_t most = row->type == PK_OPT_INT ? INT_MAX : INT64_MAX;

	return row->most >= most;
}

void pk_opt_format_allowed(const struct pk_opt *row, struct pk_buf *out)
{
	const char *unit = unit_word(row);

	switch (row->type) {
	case PK_OPT_BOOL:
		pk_buf_add_str(out, "true or false");
		return;
	case PK_OPT_ENUM:
		for (const char *at = unit; *at != '\0'; at++) {
			if (*at == '|')
				pk_buf_add_str(out, ", ");
			else
				pk_buf_add(out, at, 1);
		}
		return;
	case PK_OPT_STRING:
	case PK_OPT_LIST:
		if (row->most > 0)
			pk_buf_printf(out, "%" PRId64 " to %" PRId64 " bytes", row->least,
				      row->most);
		else
			pk_buf_add_str(out, "text");
		return;
	case PK_OPT_MS:
		unit = "ms";
		break;
	case PK_OPT_BYTES:
		unit = "bytes";
		break;
	case PK_OPT_INT:
	case PK_OPT_I64:
		break;
	}
	if (is_boundless(row))
		pk_buf_printf(out, "%" PRId64 " or more", row->least);
	else
		pk_buf_printf(out, "%" PRId64 " to %" PRId64, row->least, row->most);
	if (*unit != '\0')
		pk_buf_printf(out, " %s", unit);
}

static int refuse(const struct pk_opt *row, struct pk_bytes text, int code, struct pk_err *err)
{
	struct pk_buf allowed = PK_BUF_INIT;
	bool cut = text.len > SHOWN_BYTES;
	int shown = (int)(cut ? SHOWN_BYTES : text.len);

	pk_opt_format_allowed(row, &allowed);
	if (is_secret(row)) {
		text = pk_bytes_str("***");
		shown = 3;
		cut = false;
	}
	pk_err_set(err, code, "%s=%.*s%s: %s %s", row->name, shown,
		   text.len > 0 ? (const char *)text.data : "", cut ? "..." : "",
		   code == PK_ELIMIT ? "allowed is" : "want", pk_buf_str(&allowed));
	pk_buf_release(&allowed);
	return code;
}

int pk_opt_set(const struct pk_opt *row, void *to, struct pk_bytes text, struct pk_err *err)
{
	void *field = field_of(row, to);
	const struct suffix *suffixes = no_suffixes;
	int64_t v = 0;
	bool flag;
	int index;

	text = trimmed(text);
	switch (row->type) {
	case PK_OPT_BOOL:
		if (!bool_of(text, &flag))
			return refuse(row, text, PK_EINVAL, err);
		*(bool *)field = flag;
		return 0;
	case PK_OPT_ENUM:
		index = enum_of(unit_word(row), text);
		if (index < 0)
			return refuse(row, text, PK_EINVAL, err);
		*(int *)field = index;
		return 0;
	case PK_OPT_STRING:
	case PK_OPT_LIST:
		if (row->most > 0 &&
		    (text.len < (size_t)row->least || text.len > (size_t)row->most))
			return refuse(row, text, PK_ELIMIT, err);
		if (text.len > 0 && memchr(text.data, '\0', text.len) != NULL)
			return pk_err_set(err, PK_EINVAL, "%s: a zero byte in the value",
					  row->name);
		if (row->type == PK_OPT_LIST) {
			pk_strs_add(field, text);
			return 0;
		}
		free(*(char **)field);
		*(char **)field = pk_strndup((const char *)text.data, text.len);
		return 0;
	case PK_OPT_MS:
		suffixes = ms_suffixes;
		break;
	case PK_OPT_BYTES:
		suffixes = bytes_suffixes;
		break;
	case PK_OPT_INT:
	case PK_OPT_I64:
		break;
	}
	if (!scaled_of(text, suffixes, &v))
		return refuse(row, text, PK_EINVAL, err);
	if (v < row->least || v > row->most)
		return refuse(row, text, PK_ELIMIT, err);
	if (row->type == PK_OPT_INT) {
		PK_ASSERT(v >= INT_MIN && v <= INT_MAX);
		*(int *)field = (int)v;
	} else {
		*(int64_t *)field = v;
	}
	return 0;
}

void pk_opt_defaults(const struct pk_opt *rows, size_t count, void *to)
{
	for (size_t i = 0; i < count; i++) {
		const struct pk_opt *row = &rows[i];
		void *field = field_of(row, to);
		struct pk_err err = PK_ERR_INIT;

		if (row->type == PK_OPT_STRING)
			*(char **)field = NULL;
		if (row->type == PK_OPT_LIST)
			*(struct pk_strs *)field = PK_STRS_INIT;
		else if (row->dflt != NULL)
			PK_ASSERT(pk_opt_set(row, to, pk_bytes_str(row->dflt), &err) == 0);
		else
			PK_ASSERT(row->type == PK_OPT_STRING);
	}
}

void pk_opt_release(const struct pk_opt *rows, size_t count, void *to)
{
	for (size_t i = 0; i < count; i++) {
		void *field = field_of(&rows[i], to);

		if (rows[i].type == PK_OPT_STRING) {
			free(*(char **)field);
			*(char **)field = NULL;
		} else if (rows[i].type == PK_OPT_LIST) {
			pk_strs_release(field);
		}
	}
}

const struct pk_opt *pk_opt_find(const struct pk_opt *rows, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(rows[i].name, name) == 0)
			return &rows[i];
	}
	return NULL;
}

void pk_opt_format(const struct pk_opt *row, const void *from, struct pk_buf *out)
{
	const void *field = field_of_const(row, from);
	const struct pk_strs *list;
	const char *text;

	switch (row->type) {
	case PK_OPT_BOOL:
		pk_buf_add_str(out, *(const bool *)field ? "true" : "false");
		return;
	case PK_OPT_INT:
		pk_buf_printf(out, "%d", *(const int *)field);
		return;
	case PK_OPT_I64:
	case PK_OPT_MS:
	case PK_OPT_BYTES:
		pk_buf_printf(out, "%" PRId64, *(const int64_t *)field);
		return;
	case PK_OPT_ENUM:
		pk_buf_add_bytes(out, enum_name(unit_word(row), *(const int *)field));
		return;
	case PK_OPT_STRING:
		text = *(char *const *)field;
		if (text != NULL)
			pk_buf_add_str(out, is_secret(row) ? "***" : text);
		return;
	case PK_OPT_LIST:
		list = field;
		for (size_t i = 0; i < list->count; i++)
			pk_buf_printf(out, "%s%s", i > 0 ? "," : "", list->items[i]);
		return;
	}
}

size_t pk_edit_distance(const char *a, const char *b)
{
	size_t la = strlen(a);
	size_t lb = strlen(b);
	/* rows of the table: before the last, the last, and the one being filled */
	size_t row[3][NAME_BYTES_MAX + 1];

	if (la > NAME_BYTES_MAX || lb > NAME_BYTES_MAX)
		return la > lb ? la : lb;
	for (size_t j = 0; j <= lb; j++)
		row[1][j] = j;
	for (size_t i = 1; i <= la; i++) {
		row[2][0] = i;
		for (size_t j = 1; j <= lb; j++) {
			int ca = tolower((unsigned char)a[i - 1]);
			int cb = tolower((unsigned char)b[j - 1]);
			size_t best = row[1][j - 1] + (ca != cb);

			if (row[1][j] + 1 < best)
				best = row[1][j] + 1;
			if (row[2][j - 1] + 1 < best)
				best = row[2][j - 1] + 1;
			if (i > 1 && j > 1 && ca == tolower((unsigned char)b[j - 2]) &&
			    cb == tolower((unsigned char)a[i - 2]) && row[0][j - 2] + 1 < best)
				best = row[0][j - 2] + 1;
			row[2][j] = best;
		}
		memcpy(row[0], row[1], sizeof(row[0]));
		memcpy(row[1], row[2], sizeof(row[1]));
	}
	return row[1][lb];
}

struct pk_nearest pk_nearest_to(const char *name)
{
	return (struct pk_nearest){ .name = name, .distance = strlen(name) / 3 + 1 };
}

void pk_nearest_try(struct pk_nearest *n, const char *candidate)
{
	size_t mine = strlen(n->name);
	size_t its = strlen(candidate);
	size_t d = mine > its ? mine - its : its - mine; /* it cannot be nearer than that */

	if (d > n->distance)
		return;
	d = pk_edit_distance(n->name, candidate);
	if (d < n->distance || (n->best == NULL && d == n->distance && d == 1)) {
		n->distance = d;
		n->best = candidate;
	}
}

/* ---- command lines --------------------------------------------------------------------------- */

static const struct pk_opt *flag_find(const struct pk_cmd *cmd, struct pk_bytes name)
{
	for (size_t i = 0; i < cmd->opts_count; i++) {
		if (pk_bytes_is(name, cmd->opts[i].name))
			return &cmd->opts[i];
	}
	return NULL;
}

static int flag_unknown(const struct pk_cmd *cmd, struct pk_bytes name, struct pk_err *err)
{
	char shown[NAME_BYTES_MAX + 1];
	struct pk_nearest near;

	snprintf(shown, sizeof(shown), "%.*s", (int)(name.len < 64 ? name.len : 64),
		 name.len > 0 ? (const char *)name.data : "");
	near = pk_nearest_to(shown);
	for (size_t i = 0; i < cmd->opts_count; i++)
		pk_nearest_try(&near, cmd->opts[i].name);
	pk_nearest_try(&near, "help");
	pk_nearest_try(&near, "version");
	if (near.best != NULL)
		return pk_err_set(err, PK_EINVAL, "unknown option --%s: did you mean --%s?", shown,
				  near.best);
	return pk_err_set(err, PK_EINVAL, "unknown option --%s: see %s --help", shown, cmd->name);
}

/* One "--..." argument; *taken is set when the following word was its value. */
static int flag_read(const struct pk_cmd *cmd, const char *arg, const char *next, void *to,
		     bool *taken, struct pk_err *err)
{
	const char *equals = strchr(arg, '=');
	struct pk_bytes name = pk_bytes(arg, equals != NULL ? (size_t)(equals - arg) : strlen(arg));
	const struct pk_opt *row = flag_find(cmd, name);
	struct pk_bytes value;
	int rc;

	if (row == NULL && equals == NULL && strncmp(arg, "no-", 3) == 0) {
		row = flag_find(cmd, pk_bytes_str(arg + 3));
		if (row != NULL && row->type == PK_OPT_BOOL)
			return pk_opt_set(row, to, pk_bytes_str("false"), err);
		row = NULL;
	}
	if (row == NULL)
		return flag_unknown(cmd, name, err);
	if (equals != NULL) {
		value = pk_bytes_str(equals + 1);
	} else if (row->type == PK_OPT_BOOL) {
		value = pk_bytes_str("true");
	} else if (next != NULL) {
		value = pk_bytes_str(next);
		*taken = true;
	} else {
		return pk_err_set(err, PK_EINVAL, "--%s wants a value", row->name);
	}
	rc = pk_opt_set(row, to, value, err);
	return rc != 0 ? pk_err_wrap(err, "command line") : 0;
}

/* One word of letters, "-l", "-es", "-n5"; *taken as above. */
static int letters_read(const struct pk_cmd *cmd, const char *word, const char *next, void *to,
			bool *taken, struct pk_err *err)
{
	for (const char *c = word + 1; *c != '\0'; c++) {
		const struct pk_opt *row = NULL;
		const char *value = "true";

		for (size_t i = 0; i < cmd->opts_count; i++)
			row = cmd->opts[i].letter == *c ? &cmd->opts[i] : row;
		if (row == NULL)
			return pk_err_set(err, PK_EINVAL,
					  "unknown option -%c in %.64s: see %s --help", *c, word,
					  cmd->name);
		if (row->type != PK_OPT_BOOL) {
			value = c[1] != '\0' ? c + 1 : next;
			*taken = c[1] == '\0';
			if (value == NULL)
				return pk_err_set(err, PK_EINVAL, "-%c wants a value", *c);
		}
		if (pk_opt_set(row, to, pk_bytes_str(value), err) != 0)
			return pk_err_wrap(err, "command line");
		if (row->type != PK_OPT_BOOL)
			break;
	}
	return 0;
}

int pk_cmd_parse(const struct pk_cmd *cmd, int argc, char *const *argv, void *to,
		 struct pk_strs *args, struct pk_err *err)
{
	bool only_args = false;

	for (int i = 1; i < argc; i++) {
		const char *arg = argv[i];
		const char *next = i + 1 < argc ? argv[i + 1] : NULL;
		bool taken = false;
		int rc;

		if (only_args || arg[0] != '-' || arg[1] == '\0' ||
		    isdigit((unsigned char)arg[1])) {
			pk_strs_add(args, pk_bytes_str(arg));
			continue;
		}
		if (strcmp(arg, "--") == 0) {
			only_args = true;
			continue;
		}
		if (strcmp(arg, "-h") == 0 || strcmp(arg, "--help") == 0)
			return PK_CMD_HELP;
		if (strcmp(arg, "--version") == 0)
			return PK_CMD_VERSION;
		if (arg[1] != '-')
			rc = letters_read(cmd, arg, next, to, &taken, err);
		else
			rc = flag_read(cmd, arg + 2, next, to, &taken, err);
		if (rc != 0)
			return rc;
		i += taken;
	}
	if (args->count < cmd->args_least || args->count > cmd->args_most)
		return pk_err_set(err, PK_EINVAL, "usage: %s [options] %s", cmd->name, cmd->args);
	return PK_CMD_RUN;
}

static void help_value(const struct pk_opt *row, struct pk_buf *out)
{
	switch (row->type) {
	case PK_OPT_BOOL:
		return;
	case PK_OPT_ENUM:
		pk_buf_printf(out, " %s", unit_word(row));
		return;
	case PK_OPT_INT:
	case PK_OPT_I64:
		pk_buf_add_str(out, " N");
		return;
	case PK_OPT_MS:
		pk_buf_add_str(out, " TIME");
		return;
	case PK_OPT_BYTES:
		pk_buf_add_str(out, " SIZE");
		return;
	case PK_OPT_STRING:
	case PK_OPT_LIST:
		pk_buf_printf(out, " %s", *unit_word(row) != '\0' ? unit_word(row) : "TEXT");
		return;
	}
}

static void help_line(struct pk_buf *left, const char *text, const char *dflt, struct pk_buf *out)
{
	pk_buf_printf(out, "  %-28s %s", pk_buf_str(left), text);
	if (dflt != NULL && *dflt != '\0')
		pk_buf_printf(out, " [%s]", dflt);
	pk_buf_add_str(out, "\n");
	pk_buf_clear(left);
}

void pk_cmd_help(const struct pk_cmd *cmd, struct pk_buf *out)
{
	struct pk_buf left = PK_BUF_INIT;
	const char *group = "";

	pk_buf_printf(out, "usage: %s [options]%s%s\n\n%s\n", cmd->name,
		      *cmd->args != '\0' ? " " : "", cmd->args, cmd->about);
	for (size_t i = 0; i < cmd->opts_count; i++) {
		const struct pk_opt *row = &cmd->opts[i];

		if (i == 0 || strcmp(group, row->group) != 0)
			pk_buf_printf(out, "\n%s:\n", row->group);
		group = row->group;
		if (row->letter != 0)
			pk_buf_printf(&left, "-%c, ", row->letter);
		pk_buf_printf(&left, "--%s", row->name);
		help_value(row, &left);
		help_line(&left, row->help, row->type == PK_OPT_BOOL ? NULL : row->dflt, out);
	}
	pk_buf_add_str(out, "\n");
	pk_buf_add_str(&left, "-h, --help");
	help_line(&left, "Show this text.", NULL, out);
	pk_buf_add_str(&left, "--version");
	help_line(&left, "Show the version.", NULL, out);
	pk_buf_release(&left);
}

void pk_cmd_words(const struct pk_cmd *cmd, struct pk_buf *out)
{
	for (size_t i = 0; i < cmd->opts_count; i++) {
		if (cmd->opts[i].letter != 0)
			pk_buf_printf(out, "-%c\n", cmd->opts[i].letter);
		pk_buf_printf(out, "--%s\n", cmd->opts[i].name);
	}
	pk_buf_add_str(out, "--help\n--version\n");
}
