#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int pk_err_set(struct pk_err *err, int code, const char *fmt, ...)
{
	PK_ASSERT(code < 0);
	if (err == NULL)
		return code;
	/* The arguments may point into err->text, so it is written whole elsewhere first. */
	char text[PK_ERR_TEXT_BYTES];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	err->code = code;
	memcpy(err->text, text, sizeof(text));
	return code;
}

static int code_of_errno(int error_number)
{
	switch (error_number) {
	case ENOSPC:
	case EDQUOT:
		return PK_ENOSPC;
	case ENOENT:
		return PK_ENOENT;
	case EEXIST:
		return PK_EEXIST;
	case EAGAIN:
		return PK_EAGAIN;
	case ETIMEDOUT:
		return PK_ETIMEDOUT;
	default: /* errno is an open set */
		return PK_EIO;
	}
}

int pk_err_sys(struct pk_err *err, int error_number, const char *fmt, ...)
{
	int code = code_of_errno(error_number);

	if (err == NULL)
		return code;
	char text[PK_ERR_TEXT_BYTES];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	return pk_err_set(err, code, "%s: %s", text, strerror(error_number));
}

int pk_err_wrap(struct pk_err *err, const char *fmt, ...)
{
	if (err == NULL)
		return PK_EIO;
	PK_ASSERT(err->code < 0);
	char context[PK_ERR_TEXT_BYTES];
	va_list args;
	va_start(args, fmt);
	vsnprintf(context, sizeof(context), fmt, args);
	va_end(args);
	return pk_err_set(err, err->code, "%s: %s", context, err->text);
}

const char *pk_code_name(int code)
{
	static const char *const names[] = { "OK",      "EIO",    "EINVAL", "ELIMIT", "ECORRUPT",
					     "ENOENT",  "EPROTO", "ENOSPC", "EAGAIN", "ETIMEDOUT",
					     "ECLOSED", "EAUTH",  "EEXIST", "ESTATE", "EFOREIGN" };

	return code <= 0 && -code < (int)PK_COUNT(names) ? names[-code] : "unknown";
}
