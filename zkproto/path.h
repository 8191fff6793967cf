/*
 * zkproto/path.h - paths of znodes: which are valid, and taking them apart.
 *
 * Java judges paths as UTF-16 after decoding; we judge the UTF-8 bytes and come to the same
 * answers. Refused: an empty path; no '/' at the start; one at the end (but "/" itself is fine);
 * empty names; the names "." and ".."; U+0000-U+001F, U+007F-U+009F, U+D800-U+F8FF, U+FFF0-U+FFFF.
 * In UTF-16 all characters above U+FFFF are made of U+D800-U+DFFF, so they are refused; malformed
 * UTF-8 is decoded to U+FFFD by Java, so it is refused too.
 * Source: Apache ZooKeeper release-3.8.0, common/PathUtils.validatePath.
 */
#ifndef PK_ZKPROTO_PATH_H
#define PK_ZKPROTO_PATH_H

#include "base/bytes.h"
#include "base/err.h"

enum zk_path_fault {
	ZK_PATH_OK,
	ZK_PATH_NULL,      /* data is NULL */
	ZK_PATH_EMPTY,     /* "" */
	ZK_PATH_NO_SLASH,  /* does not start with '/' */
	ZK_PATH_END_SLASH, /* ends with '/' */
	ZK_PATH_NAME,      /* an empty name, "." or ".." */
	ZK_PATH_CHARACTER, /* a character that may not be in a path */
};

/* `sequential`: judge it as if digits followed, for a create that appends a number ("/a/" is fine
 * then, the name is the number alone). */
enum zk_path_fault zk_path_check(struct pk_bytes path, bool sequential);
bool zk_path_valid(struct pk_bytes path);
/* A sentence without a full stop: "the path ends with a slash". */
const char *zk_path_fault_text(enum zk_path_fault fault);

/* For all below, path starts with '/'; results borrow from it. */
bool zk_path_is_root(struct pk_bytes path);
/* "/a/b" -> "/a", "/a" -> "/", "/" -> "/". */
struct pk_bytes zk_path_parent(struct pk_bytes path);
/* "/a/b" -> "b", "/" -> "". */
struct pk_bytes zk_path_name(struct pk_bytes path);
/* Names from the left: *rest starts as the path; false behind the last.
 *     while (zk_path_next(&rest, &name)) */
bool zk_path_next(struct pk_bytes *rest, struct pk_bytes *name);
/* Names in the path: "/" 0, "/a/b" 2. */
size_t zk_path_depth(struct pk_bytes path);
/* Is path `above` itself or below it? "/a/b" under "/a": true; "/ab" under "/a": false. */
bool zk_path_under(struct pk_bytes path, struct pk_bytes above);

/*
 * A chroot is "" (none) or a valid path that is not "/". Append to out the path as the server sees
 * it: "/" under "/app" is "/app".
 */
void zk_path_add_chroot(struct pk_buf *out, struct pk_bytes chroot, struct pk_bytes path);
/* And back: "/app/x" is "/x", "/app" is "/". False when path is not under chroot; borrows. */
bool zk_path_strip_chroot(struct pk_bytes chroot, struct pk_bytes path, struct pk_bytes *out);

#endif
