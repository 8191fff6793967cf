#include "store/disk_io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/mem.h"

enum {
	MAGIC = 0x6f696b64,
	OPEN_FILES = 4, /* kept open by the log thread */
	ZERO_BYTES = 1 << 20,
};

/* A file the log thread has open; name "" when free. */
struct open_file {
	char name[DISK_NAME_BYTES_MAX];
	int fd;
	int direct;    /* -1: not on this file system */
	uint64_t used; /* when, for choosing which to close */
};

struct disk_io {
	uint32_t magic;
	struct disk disk;
	struct net_async *async;
	char *path;
	int dir;
	bool direct_works;
	pthread_t thread;

	/* the log thread's */
	struct open_file files[OPEN_FILES];
	uint64_t uses;

	pthread_mutex_t lock; /* for all below */
	pthread_cond_t wake;
	struct disk_req *first, **end;     /* to do */
	struct disk_req *done, **done_end; /* to be told of */
	bool stopping;
	bool names_moved; /* by a synchronous call: what the thread has open may be another file */
	struct disk_io_stats stats;
	int64_t times_us[DISK_IO_TIMES];
	size_t time_count;

	int broken; /* the log thread's: the first failure, and its text */
	struct pk_err failure;
};

static uint8_t zeros[ZERO_BYTES] __attribute__((aligned(4096)));

/* ---- operations, on any thread
 * -------------------------------------------------------------------- */

static int sync_dir(const struct disk_io *d, struct pk_err *err)
{
	if (fsync(d->dir) != 0)
		return pk_err_sys(err, errno, "sync directory %s", d->path);
	return 0;
}

static bool can_be_direct(const struct disk_io *d, uint64_t offset, struct pk_bytes data)
{
	uint64_t mask = d->disk.block_bytes - 1;

	return ((offset | data.len | (uintptr_t)data.data) & mask) == 0;
}

/* All of `data`; with `sync` it is durable then. direct is -1 where it cannot be used. */
static int write_all(int fd, int direct, const char *name, uint64_t offset, struct pk_bytes data,
		     bool sync, struct pk_err *err)
{
	const uint64_t start = offset;
	const size_t len = data.len;
	bool dsync = sync && direct >= 0;

	while (data.len > 0) {
		struct iovec part = { .iov_base = (void *)(uintptr_t)data.data,
				      .iov_len = data.len };
		int to = direct >= 0 ? direct : fd;
		ssize_t n = pwritev2(to, &part, 1, (off_t)offset, dsync ? RWF_DSYNC : 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && dsync && (errno == EOPNOTSUPP || errno == ENOSYS)) {
			dsync = false;
			continue;
		}
		if (n < 0 && direct >= 0 && errno == EINVAL) {
			direct = -1; /* alignment after a short write, or a file system's whim */
			dsync = false;
			continue;
		}
		if (n <= 0)
			return pk_err_sys(err, n == 0 ? EIO : errno,
					  "write %zu bytes at %llu of %s", len,
					  (unsigned long long)start, name);
		data.data += n;
		data.len -= (size_t)n;
		offset += (uint64_t)n;
	}
	if (sync && !dsync && fdatasync(fd) != 0)
		return pk_err_sys(err, errno, "sync %s", name);
	return 0;
}

static int create_file(const struct disk_io *d, const char *name, uint64_t bytes,
		       struct pk_err *err)
{
	int rc = 0;
	int fd = openat(d->dir, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0)
		return pk_err_sys(err, errno, "create %s", name);
	for (uint64_t at = 0; at < bytes && rc == 0;) {
		size_t len = bytes - at < ZERO_BYTES ? (size_t)(bytes - at) : ZERO_BYTES;
		rc = write_all(fd, -1, name, at, pk_bytes(zeros, len), false, err);
		at += len;
	}
	if (rc == 0 && fsync(fd) != 0)
		rc = pk_err_sys(err, errno, "sync %s", name);
	close(fd);
	return rc == 0 ? sync_dir(d, err) : rc;
}

/* The operations on names, and those that are rare. */
static int name_op(const struct disk_io *d, const struct disk_op *op, struct pk_err *err)
{
	int fd, rc = 0;

	switch (op->kind) {
	case DISK_CREATE:
		return create_file(d, op->name, op->bytes, err);
	case DISK_RENAME:
		if (renameat(d->dir, op->name, d->dir, op->to) != 0)
			return pk_err_sys(err, errno, "rename %s to %s", op->name, op->to);
		return sync_dir(d, err);
	case DISK_REMOVE:
		if (unlinkat(d->dir, op->name, 0) != 0 && errno != ENOENT)
			return pk_err_sys(err, errno, "remove %s", op->name);
		return sync_dir(d, err);
	case DISK_WRITE:
	case DISK_SYNC:
	case DISK_TRUNCATE:
		fd = openat(d->dir, op->name, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			return pk_err_sys(err, errno, "open %s", op->name);
		if (op->kind == DISK_WRITE)
			rc = write_all(fd, -1, op->name, op->offset, op->data, false, err);
		else if (op->kind == DISK_TRUNCATE && ftruncate(fd, (off_t)op->bytes) != 0)
			rc = pk_err_sys(err, errno, "truncate %s", op->name);
		if (rc == 0 && op->kind != DISK_WRITE && fsync(fd) != 0)
			rc = pk_err_sys(err, errno, "sync %s", op->name);
		close(fd);
		return rc;
	}
	PK_ASSERT(!"an operation of no kind");
	return PK_EINVAL;
}

/* ---- the log thread ----------------------------------------------------------------------------
 */

static void close_file(struct open_file *f)
{
	if (f->name[0] == '\0')
		return;
	close(f->fd);
	if (f->direct >= 0)
		close(f->direct);
	f->name[0] = '\0';
}

static void forget_name(struct disk_io *d, const char *name)
{
	for (int i = 0; i < OPEN_FILES; i++)
		if (strcmp(d->files[i].name, name) == 0)
			close_file(&d->files[i]);
}

static int open_file(struct disk_io *d, const char *name, struct open_file **out,
		     struct pk_err *err)
{
	struct open_file *oldest = &d->files[0];

	PK_ASSERT(name[0] != '\0' && strlen(name) < DISK_NAME_BYTES_MAX);
	for (int i = 0; i < OPEN_FILES; i++) {
		struct open_file *f = &d->files[i];
		if (strcmp(f->name, name) == 0) {
			f->used = ++d->uses;
			*out = f;
			return 0;
		}
		if (f->name[0] == '\0' || (oldest->name[0] != '\0' && f->used < oldest->used))
			oldest = f;
	}
	close_file(oldest);
	int fd = openat(d->dir, name, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return pk_err_sys(err, errno, "open %s", name);
	oldest->fd = fd;
	oldest->direct = d->direct_works ? openat(d->dir, name, O_RDWR | O_DIRECT | O_CLOEXEC) : -1;
	oldest->used = ++d->uses;
	snprintf(oldest->name, sizeof(oldest->name), "%s", name);
	*out = oldest;
	return 0;
}

static int run_request(struct disk_io *d, struct disk_req *req, struct disk_io_stats *stats,
		       struct pk_err *err)
{
	for (size_t i = 0; i < req->op_count; i++) {
		const struct disk_op *op = &req->ops[i];
		struct open_file *f;
		int rc = 0;
		if (op->kind == DISK_WRITE) {
			/* with the sync behind it, if that is the next thing to do */
			bool sync = i + 1 < req->op_count && req->ops[i + 1].kind == DISK_SYNC &&
				    strcmp(req->ops[i + 1].name, op->name) == 0;
			rc = open_file(d, op->name, &f, err);
			if (rc == 0)
				rc = write_all(f->fd,
					       can_be_direct(d, op->offset, op->data) ? f->direct
										      : -1,
					       op->name, op->offset, op->data, sync, err);
			stats->written_bytes += op->data.len;
			stats->synced_writes += sync;
			i += sync;
		} else if (op->kind == DISK_SYNC) {
			rc = open_file(d, op->name, &f, err);
			if (rc == 0 && fdatasync(f->fd) != 0)
				rc = pk_err_sys(err, errno, "sync %s", op->name);
		} else {
			forget_name(d, op->name);
			if (op->kind == DISK_RENAME)
				forget_name(d, op->to);
			rc = name_op(d, op, err);
		}
		if (rc != 0)
			return rc;
	}
	return 0;
}

/* Runs on the log thread, without the lock. */
static void serve(struct disk_io *d, struct disk_req *req, struct disk_io_stats *stats)
{
	struct pk_err err = PK_ERR_INIT;
	int64_t start_us = net_now_fresh_us();

	if (d->broken == 0) {
		d->broken = run_request(d, req, stats, &err);
		if (d->broken != 0)
			d->failure = err;
	}
	req->rc = d->broken;
	stats->requests++;
	stats->request_us_max = net_now_fresh_us() - start_us;
}

static void *log_thread(void *arg)
{
	struct disk_io *d = arg;

	net_thread_block_signals();
	pthread_mutex_lock(&d->lock);
	for (;;) {
		while (d->first == NULL && !d->stopping)
			pthread_cond_wait(&d->wake, &d->lock);
		if (d->stopping)
			break;
		struct disk_req *req = d->first;
		struct disk_io_stats stats = { 0 }; /* of this request */
		bool moved = d->names_moved;
		d->first = req->next;
		if (d->first == NULL)
			d->end = &d->first;
		d->names_moved = false;
		pthread_mutex_unlock(&d->lock);

		if (moved)
			for (int i = 0; i < OPEN_FILES; i++)
				close_file(&d->files[i]);
		serve(d, req, &stats);
		req->next = NULL;
		req->err = req->rc != 0 ? pk_memdup(&d->failure, sizeof(d->failure)) : NULL;

		pthread_mutex_lock(&d->lock);
		d->stats.requests += stats.requests;
		d->stats.synced_writes += stats.synced_writes;
		d->stats.written_bytes += stats.written_bytes;
		if (stats.synced_writes > 0 && d->time_count < DISK_IO_TIMES)
			d->times_us[d->time_count++] = stats.request_us_max;
		if (stats.request_us_max > d->stats.request_us_max)
			d->stats.request_us_max = stats.request_us_max;
		bool was_empty = d->done == NULL;
		*d->done_end = req;
		d->done_end = &req->next;
		if (was_empty) { /* without the lock, or the loop would wake to wait for it */
			pthread_mutex_unlock(&d->lock);
			net_async_send(d->async);
			pthread_mutex_lock(&d->lock);
		}
	}
	pthread_mutex_unlock(&d->lock);
	for (int i = 0; i < OPEN_FILES; i++)
		close_file(&d->files[i]);
	return NULL;
}

/* ---- the loop ----------------------------------------------------------------------------------
 */

static void on_async(void *owner)
{
	struct disk_io *d = owner;

	PK_ASSERT(d->magic == MAGIC);
	pthread_mutex_lock(&d->lock);
	struct disk_req *req = d->done;
	d->done = NULL;
	d->done_end = &d->done;
	pthread_mutex_unlock(&d->lock);
	while (req != NULL) {
		struct disk_req *next = req->next;
		struct pk_err *err = req->err;
		req->next = NULL;
		req->err = NULL;
		req->done(req, req->rc, err); /* which may submit req again */
		free(err);
		req = next;
	}
}

static void io_submit(void *impl, struct disk_req *req)
{
	struct disk_io *d = impl;

	req->next = NULL;
	pthread_mutex_lock(&d->lock);
	*d->end = req;
	d->end = &req->next;
	pthread_mutex_unlock(&d->lock);
	pthread_cond_signal(
		&d->wake); /* without the lock, or the thread would wake to wait for it */
}

static int io_list(void *impl, disk_each_f *each, void *arg, struct pk_err *err)
{
	struct disk_io *d = impl;
	struct dirent *entry;
	int rc = 0;
	int fd = openat(d->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;

	if (dir == NULL) {
		rc = pk_err_sys(err, errno, "list %s", d->path);
		if (fd >= 0)
			close(fd);
		return rc;
	}
	while (errno = 0, rc == 0 && (entry = readdir(dir)) != NULL) {
		struct stat st;
		if (fstatat(d->dir, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
			rc = pk_err_sys(err, errno, "stat %s/%s", d->path, entry->d_name);
		else if (S_ISREG(st.st_mode))
			each(arg, entry->d_name, (uint64_t)st.st_size);
	}
	if (rc == 0 && errno != 0)
		rc = pk_err_sys(err, errno, "list %s", d->path);
	closedir(dir);
	return rc;
}

static int io_read(void *impl, const char *name, uint64_t offset, void *to, size_t len, size_t *got,
		   struct pk_err *err)
{
	struct disk_io *d = impl;
	int rc = 0;
	size_t sum = 0;
	int fd = openat(d->dir, name, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return pk_err_sys(err, errno, "open %s", name);
	/* What the disk has, not what a failed sync of an earlier process left in memory. */
	pk_ignore(posix_fadvise(fd, (off_t)offset, (off_t)len, POSIX_FADV_DONTNEED),
		  "a hint; pages that are still to be written stay, and are synced by the log");
	while (sum < len) {
		ssize_t n = pread(fd, (char *)to + sum, len - sum, (off_t)(offset + sum));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			rc = pk_err_sys(err, errno, "read %s at %llu", name,
					(unsigned long long)(offset + sum));
		if (n <= 0)
			break;
		sum += (size_t)n;
	}
	close(fd);
	if (rc == 0)
		*got = sum;
	return rc;
}

static int io_write_now(void *impl, const char *name, uint64_t offset, struct pk_bytes data,
			struct pk_err *err)
{
	struct disk_io *d = impl;
	int fd = openat(d->dir, name, O_RDWR | O_CLOEXEC);
	bool created = fd < 0 && errno == ENOENT;

	if (created)
		fd = openat(d->dir, name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return pk_err_sys(err, errno, "open %s", name);
	int rc = write_all(fd, -1, name, offset, data, true, err);
	close(fd);
	return rc == 0 && created ? sync_dir(d, err) : rc;
}

static int io_op_now(void *impl, struct disk_op *op, struct pk_err *err)
{
	struct disk_io *d = impl;

	pthread_mutex_lock(&d->lock);
	d->names_moved = true;
	pthread_mutex_unlock(&d->lock);
	return name_op(d, op, err);
}

static uint64_t io_free_bytes(void *impl)
{
	struct disk_io *d = impl;
	struct statvfs s;

	if (fstatvfs(d->dir, &s) != 0)
		return 0;
	return (uint64_t)s.f_bavail * s.f_frsize;
}

/* ---- opening and closing
 * ------------------------------------------------------------------------- */

/* The smallest block that a direct write may have, or 0: direct writes do not work here. */
static uint32_t probe_direct(int dir)
{
	static const uint32_t sizes[] = { 512, 1024, 2048, 4096 };
	int fd = openat(dir, ".", O_TMPFILE | O_RDWR | O_DIRECT | O_CLOEXEC, 0600);
	uint32_t found = 0;

	if (fd < 0)
		return 0;
	for (size_t i = 0; i < PK_COUNT(sizes) && found == 0; i++)
		if (pwrite(fd, zeros, sizes[i], sizes[i]) == (ssize_t)sizes[i])
			found = sizes[i];
	close(fd);
	return found;
}

int disk_io_open(struct disk_io **out, const char *path, struct net_loop *loop, struct pk_err *err)
{
	if (mkdir(path, 0700) != 0 && errno != EEXIST)
		return pk_err_sys(err, errno, "create directory %s", path);
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return pk_err_sys(err, errno, "open directory %s", path);
	if (flock(dir, LOCK_EX | LOCK_NB) != 0) {
		int rc = errno == EWOULDBLOCK
				 ? pk_err_set(err, PK_ESTATE,
					      "directory %s: another process uses it", path)
				 : pk_err_sys(err, errno, "lock directory %s", path);
		close(dir);
		return rc;
	}
	struct disk_io *d = pk_alloc(sizeof(*d));
	uint32_t block_bytes = probe_direct(dir);
	d->magic = MAGIC;
	d->dir = dir;
	d->path = pk_strdup(path);
	d->direct_works = block_bytes > 0;
	d->disk = (struct disk){
		.impl = d,
		.block_bytes = block_bytes > 0 ? block_bytes : 4096,
		.list = io_list,
		.read = io_read,
		.submit = io_submit,
		.write_now = io_write_now,
		.op_now = io_op_now,
		.free_bytes = io_free_bytes,
	};
	d->end = &d->first;
	d->done_end = &d->done;
	pthread_mutex_init(&d->lock, NULL);
	pthread_cond_init(&d->wake, NULL);
	d->async = net_async_new(loop, on_async, d);
	int rc = pthread_create(&d->thread, NULL, log_thread, d);
	if (rc != 0) {
		pk_err_sys(err, rc, "start the log thread");
		net_async_free(d->async);
		pthread_cond_destroy(&d->wake);
		pthread_mutex_destroy(&d->lock);
		close(dir);
		free(d->path);
		free(d);
		return PK_EIO;
	}
	*out = d;
	return 0;
}

struct disk *disk_io_disk(struct disk_io *d)
{
	return &d->disk;
}

void disk_io_close(struct disk_io *d)
{
	if (d == NULL)
		return;
	PK_ASSERT(d->magic == MAGIC);
	pthread_mutex_lock(&d->lock);
	d->stopping = true;
	pthread_cond_signal(&d->wake);
	pthread_mutex_unlock(&d->lock);
	pthread_join(d->thread, NULL);
	net_async_free(d->async);
	for (struct disk_req *req = d->done; req != NULL; req = req->next) {
		free(req->err);
		req->err = NULL;
	}
	pthread_cond_destroy(&d->wake);
	pthread_mutex_destroy(&d->lock);
	close(d->dir);
	d->magic = 0;
	free(d->path);
	free(d);
}

void disk_io_stats(struct disk_io *d, struct disk_io_stats *out)
{
	pthread_mutex_lock(&d->lock);
	*out = d->stats;
	d->stats.request_us_max = 0;
	pthread_mutex_unlock(&d->lock);
}

size_t disk_io_times(struct disk_io *d, int64_t us[DISK_IO_TIMES])
{
	pthread_mutex_lock(&d->lock);
	size_t count = d->time_count;
	memcpy(us, d->times_us, count * sizeof(us[0]));
	d->time_count = 0;
	pthread_mutex_unlock(&d->lock);
	return count;
}
