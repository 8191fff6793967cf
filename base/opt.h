/*
 * base/opt.h - option tables: what a person may set, kept once.
 *
 * A table is a list of rows in a .tbl file, one macro call each:
 *
 *     OPT(tick_ms, "tickTime", MS, "3000", 1, 3600000, "ms", "Timing", "One sentence, full stop.")
 *
 * and gives the typed struct fields, the parser, --help, the manual's page and completion words:
 *
 *     struct settings {
 *     #define OPT(field, name, type, dflt, least, most, unit, group, help) PK_OPT_FIELD(type,
 * field) #include "x/options.tbl" #undef OPT
 *     };
 *     static const struct pk_opt rows[] = {
 *     #define OPT(field, name, type, dflt, least, most, unit, group, help)                        \
 *             PK_OPT_ROW(struct settings, field, name, type, dflt, least, most, unit, group, help)
 *     #include "x/options.tbl"
 *     #undef OPT
 *     };
 *
 * Types and the fields they make:
 *   BOOL    bool      true|yes|on|1, false|no|off|0, any letter case
 *   INT     int       decimal or 0x hexadecimal, within least..most
 *   I64     int64_t   the same
 *   MS      int64_t   a duration: 1500, 1500ms, 3s, 2m, 1h
 *   BYTES   int64_t   a size: 4096, 64KiB, 64k, 16MiB, 1GiB
 *   ENUM    int       index into the names in `unit`, "text|json"; letter case as written
 *   STRING  char *    owned; NULL when the default is NULL and nothing was set; least and most
 * bound its length in bytes LIST    struct pk_strs   each setting adds one; the default is the
 * empty list A STRING whose unit is "secret" is never printed back by pk_opt_format.
 */
#ifndef PK_BASE_OPT_H
#define PK_BASE_OPT_H

#include "base/bytes.h"
#include "base/err.h"

struct pk_strs { /* owns its items; PK_STRS_INIT, then pk_strs_release */
	char **items;
	size_t count;
};
#define PK_STRS_INIT ((struct pk_strs){ 0 })
void pk_strs_add(struct pk_strs *s, struct pk_bytes item); /* copies */
void pk_strs_release(struct pk_strs *s);

enum pk_opt_type {
	PK_OPT_BOOL,
	PK_OPT_INT,
	PK_OPT_I64,
	PK_OPT_MS,
	PK_OPT_BYTES,
	PK_OPT_ENUM,
	PK_OPT_STRING,
	PK_OPT_LIST,
};

struct pk_opt {
	const char *name;
	enum pk_opt_type type;
	const char *dflt; /* as a person would write it; NULL: none */
	int64_t least, most;
	const char *unit; /* shown in the manual; for ENUM the names */
	const char *group;
	const char *help;
	size_t offset; /* of the field */
	char letter;   /* its short form on a command line, -l; 0: none */
};

#define PK_OPT_TYPE_BOOL   bool
#define PK_OPT_TYPE_INT    int
#define PK_OPT_TYPE_I64    int64_t
#define PK_OPT_TYPE_MS     int64_t
#define PK_OPT_TYPE_BYTES  int64_t
#define PK_OPT_TYPE_ENUM   int
#define PK_OPT_TYPE_STRING char *
#define PK_OPT_TYPE_LIST   struct pk_strs

#define PK_OPT_FIELD(type, field) PK_OPT_TYPE_##type field;
#define PK_OPT_ROW_LETTER(owner, letter_, field, name_, type_, dflt_, least_, most_, unit_,        \
			  group_, help_)                                                           \
	{ .name = (name_),                                                                         \
	  .type = PK_OPT_##type_,                                                                  \
	  .dflt = (dflt_),                                                                         \
	  .least = (least_),                                                                       \
	  .most = (most_),                                                                         \
	  .unit = (unit_),                                                                         \
	  .group = (group_),                                                                       \
	  .help = (help_),                                                                         \
	  .offset = offsetof(owner, field),                                                        \
	  .letter = (letter_) },
#define PK_OPT_ROW(owner, field, ...) PK_OPT_ROW_LETTER(owner, 0, field, __VA_ARGS__)

/* Set every field to its default. A default that its own row refuses is a bug of ours: asserted. */
void pk_opt_defaults(const struct pk_opt *rows, size_t count, void *to);
/* Free what strings and lists own; the fields are as before pk_opt_defaults. */
void pk_opt_release(const struct pk_opt *rows, size_t count, void *to);
const struct pk_opt *pk_opt_find(const struct pk_opt *rows, size_t count, const char *name);
/*
 * Parse text (spaces around it dropped) into the row's field. PK_EINVAL for a wrong form, PK_ELIMIT
 * out of range; the text of err names key, value and what is allowed. The field stays as it was.
 */
PK_CHECKED int pk_opt_set(const struct pk_opt *row, void *to, struct pk_bytes text,
			  struct pk_err *err);
/* Append the present value as pk_opt_set would read it; a secret as "***", no value as nothing. */
void pk_opt_format(const struct pk_opt *row, const void *from, struct pk_buf *out);
/* Append what may be set: "10 to 3600000 ms", "true or false", "text, json". */
void pk_opt_format_allowed(const struct pk_opt *row, struct pk_buf *out);

/* How many single-letter changes (change, insert, drop, swap of neighbours) part two names; letter
 * case is free. Names beyond 64 bytes count as wholly different. */
size_t pk_edit_distance(const char *a, const char *b);
/* Feed candidates one at a time; `best` is the nearest within a third of the name's length, or
 * NULL. */
struct pk_nearest {
	const char *name;
	const char *best; /* borrows the candidate */
	size_t distance;
};
struct pk_nearest pk_nearest_to(const char *name);
void pk_nearest_try(struct pk_nearest *n, const char *candidate);

/* ---- command lines --------------------------------------------------------------------------- */

struct pk_cmd {
	const char *name; /* "paddock-store", "paddock zk get" */
	const char
		*args; /* what follows the options, for the usage line: "CONFIG"; "" for nothing */
	const char *about; /* one or two sentences */
	const struct pk_opt *opts;
	size_t opts_count;
	size_t args_least, args_most;
};

enum { PK_CMD_RUN = 0, PK_CMD_HELP = 1, PK_CMD_VERSION = 2 };

/*
 * Read argv[1..] into the fields at `to` (which must hold its defaults) and the rest into *args:
 * --name value, --name=value, a BOOL also as --name and --no-name, rows with a letter also as -l
 * value, -lvalue and, of BOOLs, several in one word (-es), and "--" before arguments that begin
 * with a dash. A lone "-" and numbers such as -1 are arguments. Returns PK_CMD_RUN,
 * PK_CMD_HELP (-h, --help), PK_CMD_VERSION (--version), or PK_EINVAL/PK_ELIMIT with a text fit to
 * be shown, which suggests the nearest name for an unknown option.
 */
PK_CHECKED int pk_cmd_parse(const struct pk_cmd *cmd, int argc, char *const *argv, void *to,
			    struct pk_strs *args, struct pk_err *err);
void pk_cmd_help(const struct pk_cmd *cmd, struct pk_buf *out);  /* the --help text */
void pk_cmd_words(const struct pk_cmd *cmd, struct pk_buf *out); /* one "--name" per line */

#endif
