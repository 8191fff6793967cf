/*
 * store/properties.h - text in the form of a Java properties file, which is what zoo.cfg is.
 *
 * Source: java.util.Properties.load (Java SE 17 API documentation): # and ! comments, a key ended
 * by an unescaped '=', ':' or blank, lines continued by an odd number of closing backslashes, the
 * escapes \t \n \r \f and \uXXXX, and any other escaped letter standing for itself. Where Java
 * reads a file as ISO 8859-1, bytes above 0x7f are kept as they are here, so UTF-8 stays UTF-8;
 * \uXXXX becomes UTF-8.
 */
#ifndef PK_STORE_PROPERTIES_H
#define PK_STORE_PROPERTIES_H

#include "base/bytes.h"
#include "base/err.h"

#define PROPERTIES_BYTES_MAX (1 << 20)
#define PROPERTIES_COUNT_MAX 10000

struct property {
	char *key;
	char *value;   /* "" when none; blanks before it are gone, blanks behind it are kept */
	unsigned line; /* where it starts, from 1 */
};

struct properties { /* owns its rows, in the order of the text, duplicates included */
	struct property *rows;
	size_t count;
};
#define PROPERTIES_INIT ((struct properties){ 0 })

/* PK_EINVAL for a broken \u escape or a zero byte, PK_ELIMIT for too much; *out untouched then. */
PK_CHECKED int properties_parse(struct properties *out, struct pk_bytes text, struct pk_err *err);
void properties_release(struct properties *p);

#endif
