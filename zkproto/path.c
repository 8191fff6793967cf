#include "zkproto/path.h"

/* The code point at p (p < end) and how many bytes it takes; 0 bytes: malformed UTF-8. */
static size_t utf8_decode(const uint8_t *p, const uint8_t *end, uint32_t *out)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t len;
	uint32_t c;

	if (p[0] < 0x80) {
		*out = p[0];
		return 1;
	}
	if ((p[0] & 0xe0) == 0xc0)
		len = 2, c = p[0] & 0x1f;
	else if ((p[0] & 0xf0) == 0xe0)
		len = 3, c = p[0] & 0x0f;
	else if ((p[0] & 0xf8) == 0xf0)
		len = 4, c = p[0] & 0x07;
	else
		return 0;
	if ((size_t)(end - p) < len)
		return 0;
	for (size_t i = 1; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	if (c < least[len])
		return 0;
	*out = c;
	return len;
}

static bool character_allowed(uint32_t c)
{
	return c > 0x1f && !(c >= 0x7f && c <= 0x9f) && !(c >= 0xd800 && c <= 0xf8ff) && c < 0xfff0;
}

/* Are the eight bytes at p all from the space to '~'? The lowest one that is not sets the top bit
 * of its own place, whatever happens above it: by itself from 0x80 on, by the sum at 0x7f, by the
 * difference below the space. */
static bool eight_printable(const uint8_t *p)
{
	uint64_t ones = UINT64_C(0x0101010101010101), all = pk_get_le64(p);

	return ((all | (all + ones) | (all - 0x20 * ones)) & 0x80 * ones) == 0;
}

static bool characters_allowed(struct pk_bytes path)
{
	const uint8_t *p = path.data;
	const uint8_t *end = path.data + path.len;
	uint32_t c;

	while (p < end) {
		if (end - p >= 8 && eight_printable(p)) { /* most paths are nothing else */
			p += 8;
			continue;
		}
		size_t len = utf8_decode(p, end, &c);

		if (len == 0 || !character_allowed(c))
			return false;
		p += len;
	}
	return true;
}

enum zk_path_fault zk_path_check(struct pk_bytes path, bool sequential)
{
	if (path.data == NULL)
		return ZK_PATH_NULL;
	if (path.len == 0)
		return sequential ? ZK_PATH_NO_SLASH : ZK_PATH_EMPTY;
	if (path.data[0] != '/')
		return ZK_PATH_NO_SLASH;
	if (path.len == 1)
		return ZK_PATH_OK;
	if (path.data[path.len - 1] == '/' && !sequential)
		return ZK_PATH_END_SLASH;
	if (!characters_allowed(path))
		return ZK_PATH_CHARACTER;

	for (size_t start = 1, i; start <= path.len; start = i + 1) { /* of a name */
		const uint8_t *name = path.data + start;
		const uint8_t *slash = memchr(name, '/', path.len - start);
		size_t len = slash != NULL ? (size_t)(slash - name) : path.len - start;

		i = start + len;
		bool grows = sequential && i == path.len; /* digits will follow this one */

		if (!grows && (len == 0 || (len == 1 && name[0] == '.') ||
			       (len == 2 && name[0] == '.' && name[1] == '.')))
			return ZK_PATH_NAME;
	}
	return ZK_PATH_OK;
}

bool zk_path_valid(struct pk_bytes path)
{
	return zk_path_check(path, false) == ZK_PATH_OK;
}

const char *zk_path_fault_text(enum zk_path_fault fault)
{
	switch (fault) {
	case ZK_PATH_OK:
		return "the path is valid";
	case ZK_PATH_NULL:
		return "there is no path";
	case ZK_PATH_EMPTY:
		return "the path is empty";
	case ZK_PATH_NO_SLASH:
		return "the path does not start with a slash";
	case ZK_PATH_END_SLASH:
		return "the path ends with a slash";
	case ZK_PATH_NAME:
		return "a name in the path is empty, \".\" or \"..\"";
	case ZK_PATH_CHARACTER:
		return "a character in the path is not allowed";
	}
	return "unknown";
}

bool zk_path_is_root(struct pk_bytes path)
{
	return path.len == 1 && path.data[0] == '/';
}

/* Where the last '/' is. */
static size_t last_slash(struct pk_bytes path)
{
	PK_ASSERT(path.len > 0 && path.data[0] == '/');
	size_t i = path.len - 1;
	while (path.data[i] != '/')
		i--;
	return i;
}

struct pk_bytes zk_path_parent(struct pk_bytes path)
{
	size_t slash = last_slash(path);

	return pk_bytes(path.data, slash > 0 ? slash : 1);
}

struct pk_bytes zk_path_name(struct pk_bytes path)
{
	size_t slash = last_slash(path);

	return pk_bytes(path.data + slash + 1, path.len - slash - 1);
}

bool zk_path_next(struct pk_bytes *rest, struct pk_bytes *name)
{
	if (rest->len <= 1)
		return false;
	PK_ASSERT(rest->data[0] == '/');
	const uint8_t *start = rest->data + 1;
	const uint8_t *slash = memchr(start, '/', rest->len - 1);
	size_t len = slash != NULL ? (size_t)(slash - start) : rest->len - 1;

	*name = pk_bytes(start, len);
	rest->data += 1 + len;
	rest->len -= 1 + len;
	return true;
}

size_t zk_path_depth(struct pk_bytes path)
{
	struct pk_bytes name;
	size_t depth = 0;

	while (zk_path_next(&path, &name))
		depth++;
	return depth;
}

bool zk_path_under(struct pk_bytes path, struct pk_bytes above)
{
	if (zk_path_is_root(above))
		return true;
	return pk_bytes_starts(path, above) &&
	       (path.len == above.len || path.data[above.len] == '/');
}

void zk_path_add_chroot(struct pk_buf *out, struct pk_bytes chroot, struct pk_bytes path)
{
	pk_buf_add_bytes(out, chroot);
	if (chroot.len == 0 || !zk_path_is_root(path))
		pk_buf_add_bytes(out, path);
}

bool zk_path_strip_chroot(struct pk_bytes chroot, struct pk_bytes path, struct pk_bytes *out)
{
	if (chroot.len == 0) {
		*out = path;
		return true;
	}
	if (!zk_path_under(path, chroot))
		return false;
	*out = path.len == chroot.len ? pk_bytes_str("/")
				      : pk_bytes(path.data + chroot.len, path.len - chroot.len);
	return true;
}
