/*
 * base/check.h - assertions that stay on, and results that must be looked at.
 *
 * PK_ASSERT guards an invariant of ours: a false one ends the process with file, line and text,
 * because a stopped replica harms less than a wrong one. Input from outside never reaches an
 * assertion; it is refused with an error.
 */
#ifndef PK_BASE_CHECK_H
#define PK_BASE_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PK_CHECKED            __attribute__((warn_unused_result))
#define PK_PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))
#define PK_NORETURN           _Noreturn

PK_NORETURN void pk_assert_fail(const char *file, int line, const char *text);

/*
 * Stored data contradicts itself, found where there is no way to answer an error: says so and ends
 * the process. Where a mark can be left (pk_damage_mark_at), by which the next start knows and
 * heals, the status asks for that start; otherwise it is the one for damage, by which a supervisor
 * knows that a person must look. From any thread, also from a signal handler.
 */
#define PK_EXIT_DAMAGE 4
#define PK_EXIT_HEAL   71
PK_NORETURN void pk_damage_stop(const char *file, int line, const char *text);
/* The mark is to be the file `name` in `dir`; NULL: none (as at first). Copies. Before threads. */
void pk_damage_mark_at(const char *dir, const char *name);
/* Leaves the mark, with that text, durably; returns the status to end with. Async-signal-safe. */
PK_CHECKED int pk_damage_mark(const char *text);

#define PK_ASSERT(cond)                                                                            \
	do {                                                                                       \
		if (__builtin_expect(!(cond), 0))                                                  \
			pk_assert_fail(__FILE__, __LINE__, #cond);                                 \
	} while (0)

/* A result dropped on purpose; `why` is the sentence that says why it does not matter. */
#define pk_ignore(expr, why)                                                                       \
	do {                                                                                       \
		static_assert(sizeof(why) > 1, "say why the result does not matter");              \
		__auto_type pk_ignored_ = (expr);                                                  \
		(void)pk_ignored_;                                                                 \
	} while (0)

#define PK_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* The struct that embeds `member` at the address `ptr`. */
#define PK_CONTAINER(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#include <assert.h> /* static_assert, for pk_ignore */

#endif
