#include "store/state_dir_io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

#define PATH_BYTES 4200
#define CURRENT    "state-current"

struct state_dir {
	char *dir;
	struct kv_config cfg;
	uint64_t current, filling; /* generations; filling 0: none */
	struct kv_import *import;
	bool finished;
};

static void generation_path(const struct state_dir *d, uint64_t generation, char *to)
{
	snprintf(to, PATH_BYTES, "%s/state-%" PRIu64, d->dir, generation);
}

static int make_generation(struct state_dir *d, uint64_t generation, struct pk_err *err)
{
	char path[PATH_BYTES];

	generation_path(d, generation, path);
	if (mkdir(path, 0700) != 0)
		return pk_err_sys(err, errno, "make %s", path);
	return pk_dir_sync(d->dir, err);
}

static void remove_tree(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *e;

	while (dir != NULL && (e = readdir(dir)) != NULL) {
		char file[PATH_BYTES + 300];

		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		snprintf(file, sizeof(file), "%s/%s", path, e->d_name);
		pk_ignore(unlink(file), "a leftover; swept again at the next start");
	}
	if (dir != NULL)
		closedir(dir);
	pk_ignore(rmdir(path), "a leftover; swept again at the next start");
}

/* 0 when there is no word yet. */
static int read_current(const struct state_dir *d, uint64_t *generation, struct pk_err *err)
{
	char path[PATH_BYTES], text[32] = "";
	char *end;

	snprintf(path, sizeof(path), "%s/" CURRENT, d->dir);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT) {
		*generation = 0;
		return 0;
	}
	if (fd < 0)
		return pk_err_sys(err, errno, "open %s", path);
	ssize_t n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n < 0)
		return pk_err_sys(err, errno, "read %s", path);
	*generation = strtoull(text, &end, 10);
	if (*generation == 0 || *end != '\n')
		return pk_err_set(err, PK_ECORRUPT,
				  "%s holds \"%s\", not the number of a generation", path, text);
	return 0;
}

static int write_current(const struct state_dir *d, uint64_t generation, struct pk_err *err)
{
	char path[PATH_BYTES], tmp[PATH_BYTES], text[32];
	int rc = 0;

	snprintf(path, sizeof(path), "%s/" CURRENT, d->dir);
	snprintf(tmp, sizeof(tmp), "%s/" CURRENT ".new", d->dir);
	int len = snprintf(text, sizeof(text), "%" PRIu64 "\n", generation);
	int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return pk_err_sys(err, errno, "create %s", tmp);
	if (write(fd, text, (size_t)len) != len || fdatasync(fd) != 0)
		rc = pk_err_sys(err, errno, "write %s", tmp);
	close(fd);
	if (rc == 0 && rename(tmp, path) != 0)
		rc = pk_err_sys(err, errno, "rename %s to %s", tmp, path);
	return rc == 0 ? pk_dir_sync(d->dir, err) : rc;
}

static void sweep(struct state_dir *d)
{
	DIR *dir = opendir(d->dir);
	struct dirent *e;

	while (dir != NULL && (e = readdir(dir)) != NULL) {
		char path[PATH_BYTES], *end;

		if (strncmp(e->d_name, "state-", 6) != 0)
			continue;
		uint64_t generation = strtoull(e->d_name + 6, &end, 10);
		if (*end != 0 || generation == 0 || generation == d->current)
			continue;
		generation_path(d, generation, path);
		remove_tree(path);
	}
	if (dir != NULL)
		closedir(dir);
}

int state_dir_open(struct state_dir **out, const char *dir, const struct kv_config *cfg,
		   struct pk_err *err)
{
	struct state_dir *d = pk_alloc(sizeof(*d));
	int rc;

	if (strlen(dir) > PATH_BYTES - 100) {
		free(d);
		return pk_err_set(err, PK_ELIMIT,
				  "the path of the data directory is longer than %d bytes",
				  PATH_BYTES - 100);
	}
	d->dir = pk_strdup(dir);
	d->cfg = *cfg;
	rc = read_current(d, &d->current, err);
	if (rc == 0)
		sweep(d);
	if (rc == 0 && d->current == 0) {
		rc = make_generation(d, 1, err);
		if (rc == 0)
			rc = write_current(d, 1, err);
		d->current = 1;
	}
	if (rc != 0) {
		state_dir_close(d);
		return rc;
	}
	*out = d;
	return 0;
}

static int open_generation(struct state_dir *d, uint64_t generation, struct kv **out,
			   struct pk_err *err)
{
	char path[PATH_BYTES];
	struct kv_config cfg = d->cfg;

	generation_path(d, generation, path);
	cfg.dir = path;
	int rc = kv_open(out, &cfg, err);
	return rc == 0 ? 0 : pk_err_wrap(err, "open the state in %s", path);
}

int state_dir_kv(struct state_dir *d, struct kv **out, struct pk_err *err)
{
	char path[PATH_BYTES];
	struct stat st;

	generation_path(d, d->current, path);
	if (stat(path, &st) != 0 && errno == ENOENT)
		return pk_err_set(err, PK_ECORRUPT, "%s/" CURRENT " names %s, which is not there",
				  d->dir, path);
	return open_generation(d, d->current, out, err);
}

int state_dir_import_begin(struct state_dir *d, struct pk_err *err)
{
	char path[PATH_BYTES];
	struct kv_config cfg = d->cfg;

	PK_ASSERT(d->filling == 0);
	d->filling = d->current + 1;
	generation_path(d, d->filling, path);
	remove_tree(path);
	int rc = make_generation(d, d->filling, err);
	cfg.dir = path;
	if (rc == 0)
		rc = kv_import_open(&d->import, &cfg, err);
	if (rc != 0)
		state_dir_import_drop(d);
	return rc;
}

int state_dir_import_add(struct state_dir *d, struct pk_bytes records, struct pk_err *err)
{
	if (d->import == NULL)
		return pk_err_set(err, PK_ESTATE, "no state is being fetched");
	return kv_import_add(d->import, records, err);
}

int state_dir_import_finish(struct state_dir *d, struct pk_err *err)
{
	struct kv_import *im = d->import;

	PK_ASSERT(im != NULL);
	d->import = NULL;
	int rc = kv_import_finish(im, err);
	d->finished = rc == 0;
	return rc;
}

int state_dir_swap(struct state_dir *d, struct kv *old, struct kv **out, struct pk_err *err)
{
	char path[PATH_BYTES];
	uint64_t was = d->current;

	PK_ASSERT(d->finished);
	int rc = write_current(d, d->filling, err);
	if (rc != 0)
		return rc;
	d->current = d->filling;
	d->filling = 0;
	d->finished = false;
	kv_close(old);
	generation_path(d, was, path);
	remove_tree(path);
	return open_generation(d, d->current, out, err);
}

void state_dir_import_drop(struct state_dir *d)
{
	char path[PATH_BYTES];

	if (d->import != NULL)
		kv_import_drop(d->import);
	d->import = NULL;
	if (d->filling != 0) {
		generation_path(d, d->filling, path);
		remove_tree(path);
	}
	d->filling = 0;
	d->finished = false;
}

void state_dir_close(struct state_dir *d)
{
	if (d == NULL)
		return;
	state_dir_import_drop(d);
	free(d->dir);
	free(d);
}
