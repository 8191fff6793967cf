#include "store/members_io.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/crc.h"
#include "base/file.h"
#include "base/mem.h"

#define HEAD       "paddock-members 1 "
#define HEAD_BYTES (sizeof(HEAD) - 1 + 8 + 1)

static void put_text(const struct raft_member *members, size_t count, struct pk_buf *out)
{
	struct pk_buf lines = PK_BUF_INIT;

	for (size_t i = 0; i < count; i++)
		pk_buf_printf(&lines, "%" PRIu64 " %d %s\n", members[i].id, (int)members[i].role,
			      members[i].address);
	pk_buf_printf(out, HEAD "%08x\n", pk_crc32c(0, lines.data, lines.len));
	pk_buf_add_bytes(out, pk_buf_bytes(&lines));
	pk_buf_release(&lines);
}

int members_save(const char *dir, const struct raft_member *members, size_t count,
		 struct pk_err *err)
{
	char *path = pk_asprintf("%s/" MEMBERS_FILE, dir);
	char *fresh = pk_asprintf("%s/" MEMBERS_FILE ".new", dir);
	struct pk_buf text = PK_BUF_INIT, old = PK_BUF_INIT;
	int rc = 0;

	put_text(members, count, &text);
	if (pk_file_read(path, MEMBERS_BYTES_MAX, &old, NULL) != 0 ||
	    !pk_bytes_eq(pk_buf_bytes(&old), pk_buf_bytes(&text))) {
		int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);

		if (fd < 0 || write(fd, text.data, text.len) != (ssize_t)text.len ||
		    fsync(fd) != 0 || rename(fresh, path) != 0)
			rc = pk_err_sys(err, errno, "write %s", path);
		if (fd >= 0)
			close(fd);
		if (rc == 0)
			rc = pk_dir_sync(dir, err);
	}
	pk_buf_release(&text);
	pk_buf_release(&old);
	free(path);
	free(fresh);
	return rc;
}

static int parse(const char *path, const struct pk_buf *text, struct raft_member *members,
		 size_t *count, struct pk_err *err)
{
	const char *at = (const char *)text->data;
	struct raft_member found[RAFT_NODE_MEMBERS_MAX] = { 0 };
	unsigned crc = 0;
	size_t n = 0;

	if (text->len < HEAD_BYTES || memcmp(at, HEAD, sizeof(HEAD) - 1) != 0 ||
	    sscanf(at + sizeof(HEAD) - 1, "%8x", &crc) != 1 ||
	    crc != pk_crc32c(0, text->data + HEAD_BYTES, text->len - HEAD_BYTES))
		return pk_err_set(err, PK_ECORRUPT, "%s: its checksum is wrong", path);
	for (at += HEAD_BYTES; *at != 0; at += strcspn(at, "\n") + 1) {
		struct raft_member *m = &found[n];
		int role;

		if (n == PK_COUNT(found) ||
		    sscanf(at, "%" SCNu64 " %d %255s", &m->id, &role, m->address) != 3)
			return pk_err_set(err, PK_ECORRUPT, "%s: member %zu cannot be read", path,
					  n + 1);
		m->role = role;
		n++;
	}
	memcpy(members, found, n * sizeof(*found));
	*count = n;
	return 0;
}

int members_load(const char *dir, const char *file, struct raft_member *members, size_t *count,
		 struct pk_err *err)
{
	char *path = pk_asprintf("%s/%s", dir, file);
	struct pk_buf text = PK_BUF_INIT;
	int rc = pk_file_read(path, MEMBERS_BYTES_MAX, &text, err);

	pk_ignore(pk_buf_str(&text), "it ends in a NUL from here on");
	if (rc == 0 && text.len == 0) /* one that began to join before it knew of anybody */
		rc = pk_err_set(err, PK_ENOENT, "%s names nobody", path);
	if (rc == 0)
		rc = parse(path, &text, members, count, err);
	pk_buf_release(&text);
	free(path);
	return rc;
}
