/*
 * base/log.h - one event, one line: a dotted name, then key=value.
 *
 *     LOG_WARN("session.expired", "id=%#" PRIx64 " timeout_ms=%d", id, timeout_ms);
 *
 * error: a person must act. warn: we coped, and a counter moved. info: leadership, membership,
 * start and stop. debug: each request. Cores do not log; shells log the effects they run.
 * Lines go to standard error, as text or as JSON objects {"ts","level","event",...keys}; a value
 * with a space or a quote in it is written "quoted". Safe from any thread (one write(2) per line).
 */
#ifndef PK_BASE_LOG_H
#define PK_BASE_LOG_H

#include "base/check.h"

enum pk_log_level { PK_LOG_ERROR, PK_LOG_WARN, PK_LOG_INFO, PK_LOG_DEBUG };
enum pk_log_format { PK_LOG_TEXT, PK_LOG_JSON };

void pk_log_setup(enum pk_log_level level, enum pk_log_format format);
void pk_log_set_level(enum pk_log_level level);
enum pk_log_level pk_log_level_now(void);
/* "error", "warn", "info" or "debug"; -1 for anything else. */
int pk_log_level_parse(const char *name);
void pk_log_write(enum pk_log_level level, const char *event, const char *fmt, ...) PK_PRINTF(3, 4);

#define PK_LOG_(level, ...)                                                                        \
	do {                                                                                       \
		if ((level) <= pk_log_level_now())                                                 \
			pk_log_write((level), __VA_ARGS__);                                        \
	} while (0)
#define LOG_ERROR(...) PK_LOG_(PK_LOG_ERROR, __VA_ARGS__)
#define LOG_WARN(...)  PK_LOG_(PK_LOG_WARN, __VA_ARGS__)
#define LOG_INFO(...)  PK_LOG_(PK_LOG_INFO, __VA_ARGS__)
#define LOG_DEBUG(...) PK_LOG_(PK_LOG_DEBUG, __VA_ARGS__)

#endif
