/*
 * base/file.h - small files, whole, and names that outlive a crash. For start-up: it blocks.
 */
#ifndef PK_BASE_FILE_H
#define PK_BASE_FILE_H

#include "base/bytes.h"
#include "base/err.h"

/* Append the whole of a regular file (a FIFO would hang us) of at most bytes_max. PK_ENOENT,
 * PK_EINVAL (not a regular file), PK_ELIMIT, PK_EIO, with the path in the text; out may have grown
 * then. */
PK_CHECKED int pk_file_read(const char *path, size_t bytes_max, struct pk_buf *out,
			    struct pk_err *err);

/* What was made, renamed or removed in the directory is durable when it returns. The code of the
 * errno, with the path in the text. */
PK_CHECKED int pk_dir_sync(const char *path, struct pk_err *err);

#endif
