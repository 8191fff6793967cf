#include "store/heal_io.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/opt.h"
#include "store/members_io.h"
#include "store/rlog_format.h"

#define HEALING          "healing"
#define HEALED           "healed"
#define FOLDER           "damaged-"
#define RECORD_BYTES_MAX 4096
#define SAME_SECOND_MAX  100
#define TREE_DEPTH_FDS   8

/* ---- small things, durable ---- */

static bool go_on(const struct heal_dirs *d, struct pk_err *err)
{
	if (d->go_on == NULL || d->go_on(d->arg))
		return true;
	pk_ignore(pk_err_set(err, PK_ECLOSED, "stopped"), "the caller returns it");
	return false;
}

static int write_file(const char *path, struct pk_bytes text, struct pk_err *err)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	int rc = 0;

	if (fd < 0)
		return pk_err_sys(err, errno, "create %s", path);
	if ((text.len > 0 && write(fd, text.data, text.len) != (ssize_t)text.len) || fsync(fd) != 0)
		rc = pk_err_sys(err, errno, "write %s", path);
	close(fd);
	return rc;
}

/* What is not there was moved before. */
static int move(const char *from_dir, const char *name, const char *to_dir, struct pk_err *err)
{
	char *from = pk_asprintf("%s/%s", from_dir, name);
	char *to = pk_asprintf("%s/%s", to_dir, name);
	int rc = rename(from, to) == 0 || errno == ENOENT
			 ? 0
			 : pk_err_sys(err, errno, "rename %s to %s", from, to);

	if (rc == 0)
		rc = pk_dir_sync(to_dir, err);
	if (rc == 0)
		rc = pk_dir_sync(from_dir, err);
	free(from);
	free(to);
	return rc;
}

static int make_folder(const char *path, struct pk_err *err)
{
	return mkdir(path, 0700) == 0 || errno == EEXIST ? 0
							 : pk_err_sys(err, errno, "make %s", path);
}

/* ---- the record ---- */

static void put_record(const struct heal_record *r, struct pk_buf *out)
{
	pk_buf_printf(out, "%" PRId64 " %" PRIu64 " %s\n", r->time_s, r->count, r->folder);
	for (const char *c = r->why; *c != 0; c++)
		pk_buf_add(out, iscntrl((unsigned char)*c) ? " " : c, 1);
	pk_buf_add_str(out, "\n");
}

static int parse_record(const char *path, const char *text, struct heal_record *out,
			struct pk_err *err)
{
	struct heal_record r = { 0 };
	int at = 0;

	if (sscanf(text, "%" SCNd64 " %" SCNu64 " %47s%n", &r.time_s, &r.count, r.folder, &at) !=
		    3 ||
	    text[at] != '\n' || strncmp(r.folder, FOLDER, strlen(FOLDER)) != 0 ||
	    strchr(r.folder, '/') != NULL)
		return pk_err_set(err, PK_EINVAL, "%s is not a record of damage set aside", path);
	snprintf(r.why, sizeof(r.why), "%.*s", (int)strcspn(text + at + 1, "\n"), text + at + 1);
	*out = r;
	return 0;
}

/* PK_ENOENT: there is none. */
static int read_record(const char *dir, const char *name, struct heal_record *out,
		       struct pk_err *err)
{
	char *path = pk_asprintf("%s/%s", dir, name);
	struct pk_buf text = PK_BUF_INIT;
	int rc = pk_file_read(path, RECORD_BYTES_MAX, &text, err);

	if (rc == 0)
		rc = parse_record(path, pk_buf_str(&text), out, err);
	pk_buf_release(&text);
	free(path);
	return rc;
}

void heal_last(const struct heal_dirs *d, struct heal_record *out)
{
	*out = (struct heal_record){ 0 };
	pk_ignore(read_record(d->data, HEALED, out, NULL), "without one there was no last time");
}

int heal_marked(const struct heal_dirs *d, struct pk_err *err)
{
	char *path = pk_asprintf("%s/" HEAL_MARK, d->data);
	struct pk_buf text = PK_BUF_INIT;
	struct pk_err why = PK_ERR_INIT;
	int rc = pk_file_read(path, RECORD_BYTES_MAX, &text, &why);

	free(path);
	for (size_t i = 0; i < text.len; i++)
		if (iscntrl(text.data[i]))
			text.data[i] = ' ';
	if (rc == PK_ENOENT)
		rc = 0;
	else
		rc = pk_err_set(err, PK_ECORRUPT, "found while it ran: %.400s",
				rc == 0 ? pk_buf_str(&text) : why.text);
	pk_buf_release(&text);
	return rc;
}

int heal_ours(const struct heal_dirs *d, uint64_t cluster_id, uint64_t server_id,
	      struct pk_err *err)
{
	static const char *const names[] = { "meta-1", "meta-2" };
	const struct rlog_owner who = { .cluster_id = cluster_id, .server_id = server_id };
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < PK_COUNT(names); i++) {
		char *path = pk_asprintf("%s/log/%s", d->log, names[i]);
		struct pk_buf bytes = PK_BUF_INIT;
		struct pk_err why = PK_ERR_INIT;
		struct rlog_meta meta;

		if (pk_file_read(path, 1u << 20, &bytes, NULL) == 0 &&
		    rlog_meta_decode(&meta, &who, pk_buf_bytes(&bytes), &why) == PK_ESTATE)
			rc = pk_err_set(err, PK_ESTATE, "%s: %.400s", path, why.text);
		pk_buf_release(&bytes);
		free(path);
	}
	return rc;
}

/* ---- folders ---- */

/* One that we made: damaged-20261121T181530Z, perhaps with -2 behind it. Others are a person's. */
static bool is_folder(const char *name)
{
	static const char shape[] = FOLDER "dddddddd"
					   "T"
					   "dddddd"
					   "Z";

	for (size_t i = 0; i < sizeof(shape) - 1; i++) {
		bool digit = shape[i] == 'd' && i >= strlen(FOLDER);

		if (digit ? !isdigit((unsigned char)name[i]) : name[i] != shape[i])
			return false;
	}
	name += sizeof(shape) - 1;
	return *name == 0 ||
	       (*name == '-' && name[1] != 0 && name[1 + strspn(name + 1, "0123456789")] == 0);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	pk_ignore(st, "whatever it is");
	pk_ignore(at, "however deep");
	return kind == FTW_DP ? rmdir(path) : unlink(path);
}

static int remove_older(const struct heal_dirs *d, const char *dir, const char *keep,
			struct pk_err *err)
{
	DIR *all = opendir(dir);
	struct dirent *e;
	int rc = 0;

	if (all == NULL)
		return pk_err_sys(err, errno, "open %s", dir);
	while (rc == 0 && (e = readdir(all)) != NULL) {
		if (!is_folder(e->d_name) || strcmp(e->d_name, keep) == 0)
			continue;
		if (!go_on(d, err)) {
			rc = err->code;
			break;
		}
		char *path = pk_asprintf("%s/%s", dir, e->d_name);
		if (nftw(path, remove_one, TREE_DEPTH_FDS, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) != 0)
			rc = pk_err_sys(err, errno, "remove %s", path);
		free(path);
	}
	closedir(all);
	return rc;
}

static bool is_there(const char *dir, const char *name)
{
	char *path = pk_asprintf("%s/%s", dir, name);
	bool there = access(path, F_OK) == 0;

	free(path);
	return there;
}

static int name_folder(const struct heal_dirs *d, int64_t now_s, char *name, size_t most,
		       struct pk_err *err)
{
	time_t now = (time_t)now_s;
	char stamp[32];
	struct tm tm;

	strftime(stamp, sizeof(stamp), FOLDER "%Y%m%dT%H%M%SZ", gmtime_r(&now, &tm));
	snprintf(name, most, "%s", stamp);
	for (int i = 2; is_there(d->data, name) || is_there(d->log, name); i++) {
		if (i > SAME_SECOND_MAX)
			return pk_err_set(err, PK_EEXIST, "%s/%s is there already", d->data, name);
		snprintf(name, most, "%s-%d", stamp, i);
	}
	return is_folder(name) ? 0 : pk_err_set(err, PK_EINVAL, "the clock says %s", name);
}

/* ---- the steps ---- */

/* With whom to ask, if that is known (members_io.h). Torn by a crash, it is written again. */
static int write_joining(const struct heal_dirs *d, struct pk_err *err)
{
	char *members = pk_asprintf("%s/" MEMBERS_FILE, d->data);
	char *path = pk_asprintf("%s/" HEAL_JOINING, d->data);
	struct pk_buf text = PK_BUF_INIT;

	if (pk_file_read(members, MEMBERS_BYTES_MAX, &text, NULL) != 0)
		pk_buf_clear(&text);
	int rc = write_file(path, pk_buf_bytes(&text), err);
	if (rc == 0)
		rc = pk_dir_sync(d->data, err);
	pk_buf_release(&text);
	free(members);
	free(path);
	return rc;
}

/* Held while things move: disk_io.c takes the same lock. -1 in *fd: there is no log any more. */
static int lock_log(const struct heal_dirs *d, int *fd, struct pk_err *err)
{
	char *path = pk_asprintf("%s/log", d->log);
	int rc = 0;

	*fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*fd < 0 && errno != ENOENT)
		rc = pk_err_sys(err, errno, "open directory %s", path);
	else if (*fd >= 0 && flock(*fd, LOCK_EX | LOCK_NB) != 0)
		rc = errno == EWOULDBLOCK
			     ? pk_err_set(err, PK_ESTATE, "directory %s: another process uses it",
					  path)
			     : pk_err_sys(err, errno, "lock directory %s", path);
	if (rc != 0 && *fd >= 0) {
		close(*fd);
		*fd = -1;
	}
	free(path);
	return rc;
}

/* state-<n> and state-current, and what a crash may have left beside them. Collected first: a
 * folder is not read while it changes. */
static int move_states(const struct heal_dirs *d, const char *to, struct pk_err *err)
{
	struct pk_strs names = PK_STRS_INIT;
	DIR *all = opendir(d->data);
	struct dirent *e;
	int rc = 0;

	if (all == NULL)
		return pk_err_sys(err, errno, "open %s", d->data);
	while ((e = readdir(all)) != NULL)
		if (strncmp(e->d_name, "state-", 6) == 0)
			pk_strs_add(&names, pk_bytes_str(e->d_name));
	closedir(all);
	for (size_t i = 0; rc == 0 && i < names.count; i++)
		rc = go_on(d, err) ? move(d->data, names.items[i], to, err) : err->code;
	pk_strs_release(&names);
	return rc;
}

static int move_all(const struct heal_dirs *d, const struct heal_record *r, struct pk_err *err)
{
	char *data_to = pk_asprintf("%s/%s", d->data, r->folder);
	char *log_to = pk_asprintf("%s/%s", d->log, r->folder);
	char *mark = pk_asprintf("%s/" HEAL_MARK, d->data);
	char *healing = pk_asprintf("%s/" HEALING, d->data);
	char *healed = pk_asprintf("%s/" HEALED, d->data);
	int rc = go_on(d, err) ? write_joining(d, err) : err->code;

	if (rc == 0)
		rc = remove_older(d, d->data, r->folder, err);
	if (rc == 0)
		rc = remove_older(d, d->log, r->folder, err);
	if (rc == 0)
		rc = go_on(d, err) ? make_folder(data_to, err) : err->code;
	if (rc == 0)
		rc = go_on(d, err) ? make_folder(log_to, err) : err->code;
	if (rc == 0)
		rc = go_on(d, err) ? move(d->log, "log", log_to, err) : err->code;
	if (rc == 0)
		rc = move_states(d, data_to, err);
	if (rc == 0)
		rc = !go_on(d, err) ? err->code
		     : unlink(mark) == 0 || errno == ENOENT
			     ? pk_dir_sync(d->data, err)
			     : pk_err_sys(err, errno, "remove %s", mark);
	if (rc == 0)
		rc = !go_on(d, err) ? err->code
		     : rename(healing, healed) == 0
			     ? pk_dir_sync(d->data, err)
			     : pk_err_sys(err, errno, "rename %s to %s", healing, healed);
	free(data_to);
	free(log_to);
	free(mark);
	free(healing);
	free(healed);
	return rc;
}

static int begin(const struct heal_dirs *d, const struct heal_record *r, struct pk_err *err)
{
	char *path = pk_asprintf("%s/" HEALING, d->data);
	char *fresh = pk_asprintf("%s/" HEALING ".new", d->data);
	struct pk_buf text = PK_BUF_INIT;

	put_record(r, &text);
	int rc = go_on(d, err) ? write_file(fresh, pk_buf_bytes(&text), err) : err->code;
	if (rc == 0)
		rc = !go_on(d, err) ? err->code
		     : rename(fresh, path) == 0
			     ? pk_dir_sync(d->data, err)
			     : pk_err_sys(err, errno, "rename %s to %s", fresh, path);
	pk_buf_release(&text);
	free(path);
	free(fresh);
	return rc;
}

static int with_lock(const struct heal_dirs *d, const struct heal_record *r, bool fresh,
		     struct pk_err *err)
{
	struct pk_err why = PK_ERR_INIT;
	int fd = -1;
	int rc = lock_log(d, &fd, &why);

	if (rc == 0 && fresh)
		rc = begin(d, r, &why);
	if (rc == 0)
		rc = move_all(d, r, &why);
	if (fd >= 0)
		close(fd);
	return rc == 0 ? 0 : pk_err_set(err, rc, "set damaged data aside: %.400s", why.text);
}

int heal_aside(const struct heal_dirs *d, int64_t now_s, const char *why, struct heal_record *out,
	       struct pk_err *err)
{
	struct heal_record r;

	heal_last(d, &r);
	r.count++;
	r.time_s = now_s;
	snprintf(r.why, sizeof(r.why), "%s", why);
	int rc = name_folder(d, now_s, r.folder, sizeof(r.folder), err);
	if (rc == 0)
		rc = with_lock(d, &r, true, err);
	if (rc == 0)
		*out = r;
	return rc;
}

int heal_resume(const struct heal_dirs *d, struct heal_record *out, struct pk_err *err)
{
	struct pk_err why = PK_ERR_INIT;
	struct heal_record r;
	int rc = read_record(d->data, HEALING, &r, &why);

	if (rc == PK_ENOENT)
		return 0;
	if (rc != 0)
		return pk_err_set(err, rc, "%s", why.text);
	rc = with_lock(d, &r, false, err);
	if (rc != 0)
		return rc;
	*out = r;
	return 1;
}
