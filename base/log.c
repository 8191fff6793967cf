#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"

#define LINE_BYTES 2048

static _Atomic int level_now = PK_LOG_INFO;
static _Atomic int format_now = PK_LOG_TEXT;
static const char *const level_names[] = { "error", "warn", "info", "debug" };

void pk_log_setup(enum pk_log_level level, enum pk_log_format format)
{
	atomic_store(&level_now, level);
	atomic_store(&format_now, format);
}

void pk_log_set_level(enum pk_log_level level)
{
	atomic_store(&level_now, level);
}

enum pk_log_level pk_log_level_now(void)
{
	return (enum pk_log_level)atomic_load_explicit(&level_now, memory_order_relaxed);
}

int pk_log_level_parse(const char *name)
{
	for (int i = 0; i < (int)PK_COUNT(level_names); i++)
		if (strcmp(name, level_names[i]) == 0)
			return i;
	return -1;
}

static void add_json_char(struct pk_buf *b, unsigned char c)
{
	if (c == '"' || c == '\\')
		pk_buf_printf(b, "\\%c", c);
	else if (c < 0x20)
		pk_buf_printf(b, "\\u%04x", c);
	else
		pk_buf_add_u8(b, c);
}

/* Turn `key=value key="a \"b\""` into `,"key":"value",...`. What is not of that form goes in
 * "text". */
static void add_json_keys(struct pk_buf *b, const char *at)
{
	struct pk_buf rest = PK_BUF_INIT;

	while (*at != 0) {
		size_t key = strcspn(at, "= ");

		if (key == 0 || at[key] != '=') { /* a bare word */
			if (rest.len > 0)
				pk_buf_add_u8(&rest, ' ');
			if (key == 0 && *at != ' ')
				key = 1;
			pk_buf_add(&rest, at, key);
			at += key;
			at += strspn(at, " ");
			continue;
		}
		pk_buf_add_str(b, ",\"");
		for (size_t i = 0; i < key; i++)
			add_json_char(b, (unsigned char)at[i]);
		pk_buf_add_str(b, "\":\"");
		at += key + 1;
		if (*at == '"') {
			for (at++; *at != 0 && *at != '"'; at++) {
				if (*at == '\\' && at[1] != 0)
					at++;
				add_json_char(b, (unsigned char)*at);
			}
			at += *at == '"';
		} else {
			for (; *at != 0 && *at != ' '; at++)
				add_json_char(b, (unsigned char)*at);
		}
		pk_buf_add_str(b, "\"");
		at += strspn(at, " ");
	}
	if (rest.len > 0) {
		pk_buf_add_str(b, ",\"text\":\"");
		for (size_t i = 0; i < rest.len; i++)
			add_json_char(b, rest.data[i]);
		pk_buf_add_str(b, "\"");
	}
	pk_buf_release(&rest);
}

void pk_log_write(enum pk_log_level level, const char *event, const char *fmt, ...)
{
	char text[LINE_BYTES];
	va_list args;
	struct timespec now;
	struct tm utc;
	char stamp[40];

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	for (char *c = text; *c != 0; c++)
		if (*c == '\n' || *c == '\r')
			*c = ' ';
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &utc);

	struct pk_buf line = PK_BUF_INIT;
	if (atomic_load(&format_now) == PK_LOG_JSON) {
		pk_buf_printf(&line, "{\"ts\":\"%s.%03ldZ\",\"level\":\"%s\",\"event\":\"%s\"",
			      stamp, now.tv_nsec / 1000000, level_names[level], event);
		add_json_keys(&line, text);
		pk_buf_add_str(&line, "}\n");
	} else {
		pk_buf_printf(&line, "%s.%03ldZ %-5s %s %s\n", stamp, now.tv_nsec / 1000000,
			      level_names[level], event, text);
	}
	pk_ignore(write(STDERR_FILENO, line.data, line.len), "there is nowhere left to say it");
	pk_buf_release(&line);
}
