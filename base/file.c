#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

int pk_file_read(const char *path, size_t most, struct pk_buf *out, struct pk_err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	ssize_t n = 1;
	int rc = 0;

	if (fd < 0)
		return pk_err_sys(err, errno, "read %s", path);
	if (fstat(fd, &st) != 0)
		rc = pk_err_sys(err, errno, "read %s", path);
	else if (!S_ISREG(st.st_mode))
		rc = pk_err_set(err, PK_EINVAL, "%s is not a file", path);
	while (rc == 0 && n > 0) {
		uint8_t *to = pk_buf_reserve(out, 4096);

		n = read(fd, to, 4096);
		if (n < 0)
			rc = pk_err_sys(err, errno, "read %s", path);
		else if (n > 0)
			out->len += (size_t)n;
		if (rc == 0 && out->len > most)
			rc = pk_err_set(err, PK_ELIMIT, "%s: more than %zu bytes", path, most);
	}
	pk_ignore(close(fd), "it was only read");
	return rc;
}

int pk_dir_sync(const char *path, struct pk_err *err)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return pk_err_sys(err, errno, "open %s", path);
	int rc = fsync(fd) == 0 ? 0 : pk_err_sys(err, errno, "sync directory %s", path);
	pk_ignore(close(fd), "it was only read");
	return rc;
}
