/*
 * tests/lib/test.h - cmocka with the headers it wants before it. Every unit test includes this
 * first.
 */
#ifndef PK_TESTS_TEST_H
#define PK_TESTS_TEST_H

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#endif
