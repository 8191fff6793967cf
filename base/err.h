/*
 * base/err.h - the world failing: a negative code, and a text that gains context on its way up.
 *
 * A function that can fail returns 0 (or a documented value >= 0) on success and one of these codes
 * on failure, with *err filled. Outputs stay untouched on failure. An error is handled once, where
 * somebody can decide.
 */
#ifndef PK_BASE_ERR_H
#define PK_BASE_ERR_H

#include "base/check.h"

enum pk_code {
	PK_EIO = -1,      /* the system refused: disk, socket, child process */
	PK_EINVAL = -2,   /* input from a person or a file is not of the asked form */
	PK_ELIMIT = -3,   /* a named limit was met */
	PK_ECORRUPT = -4, /* stored bytes fail their checksum or format */
	PK_ENOENT = -5,   /* what was named is not there */
	PK_EPROTO = -6,   /* a peer broke the protocol */
	PK_ENOSPC = -7,   /* the disk is full */
	PK_EAGAIN = -8,   /* not now: try again after the documented event */
	PK_ETIMEDOUT = -9,
	PK_ECLOSED = -10, /* closed, or being closed */
	PK_EAUTH = -11,   /* a credential or certificate was refused */
	PK_EEXIST = -12,
	PK_ESTATE = -13,   /* not possible in the present state */
	PK_EFOREIGN = -14, /* sound, and not to be touched by us without a person's word */
};

#define PK_ERR_TEXT_BYTES 512

struct pk_err {
	int code; /* 0 or an enum pk_code */
	char text[PK_ERR_TEXT_BYTES];
};

#define PK_ERR_INIT ((struct pk_err){ 0 })

/* Fill *err (err may be NULL) and return `code`, so that `return pk_err_set(...)` reads well. */
int pk_err_set(struct pk_err *err, int code, const char *fmt, ...) PK_PRINTF(3, 4);
/* The same, with ": " and the text of errno value `error_number` added; code PK_ENOSPC, PK_ENOENT
 * or PK_EIO by it. */
int pk_err_sys(struct pk_err *err, int error_number, const char *fmt, ...) PK_PRINTF(3, 4);
/* Put "context: " before the text; the code stays. Returns the code. */
int pk_err_wrap(struct pk_err *err, const char *fmt, ...) PK_PRINTF(2, 3);
const char *pk_code_name(int code); /* "EIO"; never NULL */

#endif
