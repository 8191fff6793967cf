#include "tests/lib/sim_disk.h"

#include <stdio.h>

#include "base/mem.h"

struct file {
	char name[DISK_NAME_BYTES_MAX];
	struct pk_buf now;   /* what a reader sees */
	struct pk_buf safe;  /* what is synced */
	struct pk_buf dirty; /* one byte per sector of `now`: written since the last sync */
};

struct sim_disk {
	struct disk disk;
	struct pk_rng rng;
	struct file **files;
	size_t file_count, file_cap;
	struct disk_req *first, **end;
	size_t op_at; /* in the first request */
	int rc;       /* of the first request so far */
	struct pk_err err;
	int broken; /* a request failed: the later ones fail too */
	uint64_t ops, reads;
	bool dead;
	struct sim_disk_faults faults;
};

/* ---- files -------------------------------------------------------------------------------------
 */

static struct file *find(const struct sim_disk *d, const char *name)
{
	for (size_t i = 0; i < d->file_count; i++)
		if (strcmp(d->files[i]->name, name) == 0)
			return d->files[i];
	return NULL;
}

static void file_free(struct file *f)
{
	pk_buf_release(&f->now);
	pk_buf_release(&f->safe);
	pk_buf_release(&f->dirty);
	free(f);
}

void sim_disk_drop(struct sim_disk *d, const char *name)
{
	for (size_t i = 0; i < d->file_count; i++) {
		if (strcmp(d->files[i]->name, name) != 0)
			continue;
		file_free(d->files[i]);
		d->file_count--;
		memmove(d->files + i, d->files + i + 1, (d->file_count - i) * sizeof(d->files[0]));
		return;
	}
}

static struct file *add(struct sim_disk *d, const char *name)
{
	sim_disk_drop(d, name);
	if (d->file_count == d->file_cap) {
		d->file_cap = d->file_cap > 0 ? d->file_cap * 2 : 16;
		d->files = pk_realloc(d->files, d->file_cap * sizeof(d->files[0]));
	}
	struct file *f = pk_alloc(sizeof(*f));
	snprintf(f->name, sizeof(f->name), "%s", name);
	d->files[d->file_count++] = f;
	return f;
}

static void buf_resize(struct pk_buf *b, uint64_t len)
{
	if (len > b->len) {
		size_t more = (size_t)len - b->len;
		memset(pk_buf_grow(b, more), 0, more);
	}
	b->len = (size_t)len;
}

static void file_resize(struct file *f, uint64_t len)
{
	buf_resize(&f->now, len);
	buf_resize(&f->dirty, (len + SIM_SECTOR_BYTES - 1) / SIM_SECTOR_BYTES);
}

static void file_sync(struct file *f)
{
	pk_buf_clear(&f->safe);
	pk_buf_add_bytes(&f->safe, pk_buf_bytes(&f->now));
	if (f->dirty.len > 0)
		memset(f->dirty.data, 0, f->dirty.len);
}

static void file_write(struct file *f, uint64_t offset, struct pk_bytes data)
{
	if (data.len == 0)
		return;
	if (offset + data.len > f->now.len)
		file_resize(f, offset + data.len);
	memcpy(f->now.data + offset, data.data, data.len);
	for (uint64_t s = offset / SIM_SECTOR_BYTES;
	     s <= (offset + data.len - 1) / SIM_SECTOR_BYTES; s++)
		f->dirty.data[s] = 1;
}

static uint64_t space_used(const struct sim_disk *d)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < d->file_count; i++)
		sum += d->files[i]->now.len;
	return sum;
}

/* ---- operations --------------------------------------------------------------------------------
 */

/* `whole`: false when the power goes, or the operation fails, in the middle of it. */
static int carry_out(struct sim_disk *d, const struct disk_op *op, bool whole, struct pk_err *err)
{
	struct file *f = find(d, op->name), *to;
	bool done = whole || pk_rng_chance(&d->rng, 500000);
	uint64_t bytes;

	PK_ASSERT(strlen(op->name) < DISK_NAME_BYTES_MAX);
	switch (op->kind) {
	case DISK_WRITE:
		if (f == NULL)
			return pk_err_set(err, PK_ENOENT, "write %s: no such file", op->name);
		bytes = op->offset + op->data.len;
		if (d->faults.space_bytes > 0 && bytes > f->now.len &&
		    space_used(d) + bytes - f->now.len > d->faults.space_bytes)
			return pk_err_set(err, PK_ENOSPC, "write %s: disk full", op->name);
		bytes = op->offset;
		if (d->ops == d->faults.misdirect_at)
			bytes = (int64_t)bytes + d->faults.misdirect_by < 0
					? 0
					: (uint64_t)((int64_t)bytes + d->faults.misdirect_by);
		file_write(f, bytes, op->data);
		return 0;
	case DISK_SYNC:
		if (f == NULL)
			return pk_err_set(err, PK_ENOENT, "sync %s: no such file", op->name);
		if (whole)
			file_sync(f);
		return 0;
	case DISK_CREATE:
		bytes = space_used(d) + op->bytes - (f != NULL ? f->now.len : 0);
		if (d->faults.space_bytes > 0 && bytes > d->faults.space_bytes)
			return pk_err_set(err, PK_ENOSPC, "create %s: disk full", op->name);
		if (!done)
			return 0;
		f = add(d, op->name);
		bytes = whole ? op->bytes : pk_rng_below(&d->rng, op->bytes + 1);
		file_resize(f, bytes);
		file_sync(f);
		return 0;
	case DISK_RENAME:
		if (f == NULL)
			return pk_err_set(err, PK_ENOENT, "rename %s: no such file", op->name);
		PK_ASSERT(strlen(op->to) < DISK_NAME_BYTES_MAX);
		if (!done)
			return 0;
		to = find(d, op->to);
		if (to != NULL && to != f)
			sim_disk_drop(d, op->to);
		snprintf(f->name, sizeof(f->name), "%s", op->to);
		return 0;
	case DISK_REMOVE:
		if (done)
			sim_disk_drop(d, op->name);
		return 0;
	case DISK_TRUNCATE:
		if (f == NULL)
			return pk_err_set(err, PK_ENOENT, "truncate %s: no such file", op->name);
		if (!done)
			return 0;
		file_resize(f, op->bytes);
		file_sync(f);
		return 0;
	}
	PK_ASSERT(!"an operation of no kind");
	return PK_EINVAL;
}

static int do_op(struct sim_disk *d, const struct disk_op *op, struct pk_err *err)
{
	if (d->dead)
		return pk_err_set(err, PK_EIO, "the power is off");
	if (d->broken != 0)
		return pk_err_set(err, d->broken, "%s", d->err.text);
	d->ops++;
	if (d->ops == d->faults.crash_at) {
		pk_ignore(carry_out(d, op, false, err), "nobody learns of it");
		d->dead = true;
		return pk_err_set(err, PK_EIO, "the power went");
	}
	if (d->ops == d->faults.fail_at) {
		int code = d->faults.fail_code != 0 ? d->faults.fail_code : PK_EIO;
		pk_ignore(carry_out(d, op, false, err), "it failed half-way");
		return pk_err_set(err, code, "operation %llu on %s fails as told",
				  (unsigned long long)d->ops, op->name);
	}
	return carry_out(d, op, true, err);
}

static int sim_list(void *impl, disk_each_f *each, void *arg, struct pk_err *err)
{
	struct sim_disk *d = impl;

	if (d->dead)
		return pk_err_set(err, PK_EIO, "the power is off");
	for (size_t i = 0; i < d->file_count; i++)
		each(arg, d->files[i]->name, d->files[i]->now.len);
	return 0;
}

static int sim_read(void *impl, const char *name, uint64_t offset, void *to, size_t len,
		    size_t *got, struct pk_err *err)
{
	struct sim_disk *d = impl;
	const struct file *f = find(d, name);

	if (d->dead)
		return pk_err_set(err, PK_EIO, "the power is off");
	if (f == NULL)
		return pk_err_set(err, PK_ENOENT, "read %s: no such file", name);
	if (offset > f->now.len)
		offset = f->now.len;
	*got = len < f->now.len - offset ? len : (size_t)(f->now.len - offset);
	if (*got > 0)
		memcpy(to, f->now.data + offset, *got);
	if (++d->reads == d->faults.flip_read_at && *got > 0)
		((uint8_t *)to)[pk_rng_below(&d->rng, *got)] ^= (uint8_t)(1u << pk_rng_below(
										  &d->rng, 8));
	return 0;
}

static void sim_submit(void *impl, struct disk_req *req)
{
	struct sim_disk *d = impl;

	req->next = NULL;
	*d->end = req;
	d->end = &req->next;
}

static int sim_op_now(void *impl, struct disk_op *op, struct pk_err *err)
{
	return do_op(impl, op, err);
}

static int sim_write_now(void *impl, const char *name, uint64_t offset, struct pk_bytes data,
			 struct pk_err *err)
{
	struct sim_disk *d = impl;
	int rc = 0;

	if (find(d, name) == NULL)
		rc = do_op(d, &(struct disk_op){ .kind = DISK_CREATE, .name = name }, err);
	if (rc == 0)
		rc = do_op(
			d,
			&(struct disk_op){
				.kind = DISK_WRITE, .name = name, .offset = offset, .data = data },
			err);
	if (rc == 0)
		rc = do_op(d, &(struct disk_op){ .kind = DISK_SYNC, .name = name }, err);
	return rc;
}

static uint64_t sim_free_bytes(void *impl)
{
	struct sim_disk *d = impl;
	uint64_t used = space_used(d), all = d->faults.space_bytes;

	return all == 0 ? UINT64_C(1) << 40 : all > used ? all - used : 0;
}

/* ---- what tests call ----------------------------------------------------------------------------
 */

struct sim_disk *sim_disk_new(uint64_t seed)
{
	struct sim_disk *d = pk_alloc(sizeof(*d));

	pk_rng_seed(&d->rng, seed);
	d->end = &d->first;
	d->disk = (struct disk){
		.impl = d,
		.block_bytes = SIM_SECTOR_BYTES,
		.list = sim_list,
		.read = sim_read,
		.submit = sim_submit,
		.write_now = sim_write_now,
		.op_now = sim_op_now,
		.free_bytes = sim_free_bytes,
	};
	return d;
}

void sim_disk_free(struct sim_disk *d)
{
	if (d == NULL)
		return;
	while (d->file_count > 0)
		file_free(d->files[--d->file_count]);
	free(d->files);
	free(d);
}

struct sim_disk *sim_disk_clone(const struct sim_disk *d, uint64_t seed)
{
	struct sim_disk *c = sim_disk_new(seed);

	c->disk.block_bytes = d->disk.block_bytes;
	for (size_t i = 0; i < d->file_count; i++) {
		const struct file *from = d->files[i];
		struct file *f = add(c, from->name);
		pk_buf_add_bytes(&f->now, pk_buf_bytes(&from->now));
		pk_buf_add_bytes(&f->safe, pk_buf_bytes(&from->safe));
		pk_buf_add_bytes(&f->dirty, pk_buf_bytes(&from->dirty));
	}
	return c;
}

struct disk *sim_disk_disk(struct sim_disk *d)
{
	return &d->disk;
}

bool sim_disk_step(struct sim_disk *d)
{
	struct disk_req *req = d->first;
	struct pk_err err = PK_ERR_INIT;

	if (d->dead || req == NULL)
		return false;
	if (d->rc == 0 && d->op_at < req->op_count) {
		d->rc = do_op(d, &req->ops[d->op_at++], &err);
		if (d->rc != 0 && d->broken == 0) {
			d->broken = d->rc;
			d->err = err;
		}
		return !d->dead;
	}
	int rc = d->broken;
	d->first = req->next;
	if (d->first == NULL)
		d->end = &d->first;
	d->op_at = 0;
	d->rc = 0;
	err = d->err;
	req->done(req, rc, rc != 0 ? &err : NULL);
	return true;
}

void sim_disk_run(struct sim_disk *d)
{
	while (sim_disk_step(d))
		;
}

int64_t sim_disk_cost_us(const struct sim_disk *d)
{
	const struct disk_req *req = d->first;
	int64_t us = 5;

	if (req == NULL || d->op_at >= req->op_count)
		return us;
	const struct disk_op *op = &req->ops[d->op_at];
	if (op->kind == DISK_WRITE)
		us = 10 + (int64_t)(op->data.len / 1024);
	else if (op->kind == DISK_SYNC)
		us = 90;
	else
		us = 500 + (int64_t)(op->bytes / 1024);
	return us * (d->faults.slowness > 0 ? d->faults.slowness : 1);
}

uint64_t sim_disk_ops(const struct sim_disk *d)
{
	return d->ops;
}

uint64_t sim_disk_reads(const struct sim_disk *d)
{
	return d->reads;
}

void sim_disk_set_faults(struct sim_disk *d, const struct sim_disk_faults *f)
{
	d->faults = *f;
}

bool sim_disk_dead(const struct sim_disk *d)
{
	return d->dead;
}

static void forget_requests(struct sim_disk *d)
{
	d->first = NULL;
	d->end = &d->first;
	d->op_at = 0;
	d->rc = 0;
	d->broken = 0;
	d->dead = false;
	d->faults = (struct sim_disk_faults){ 0 };
}

void sim_disk_kill(struct sim_disk *d)
{
	forget_requests(d);
}

uint64_t sim_disk_unsynced(const struct sim_disk *d)
{
	uint64_t count = 0;

	for (size_t i = 0; i < d->file_count; i++)
		for (size_t s = 0; s < d->files[i]->dirty.len; s++)
			count += d->files[i]->dirty.data[s];
	return count;
}

enum keep_mode { KEEP_ALL, KEEP_NONE, KEEP_PREFIX, KEEP_SUFFIX, KEEP_SOME, KEEP_MODES };

static bool keep_by_seed(struct sim_disk *d, enum keep_mode mode, uint64_t cut, uint64_t unsynced)
{
	switch (mode) {
	case KEEP_ALL:
		return true;
	case KEEP_PREFIX:
		return unsynced < cut;
	case KEEP_SUFFIX:
		return unsynced >= cut;
	case KEEP_SOME:
		return pk_rng_chance(&d->rng, 500000);
	case KEEP_NONE:
	case KEEP_MODES:
		break;
	}
	return false;
}

void sim_disk_crash(struct sim_disk *d, sim_disk_keep_f *keep, void *arg)
{
	enum keep_mode mode = (enum keep_mode)pk_rng_below(&d->rng, KEEP_MODES);
	uint64_t cut = pk_rng_below(&d->rng, sim_disk_unsynced(d) + 1), unsynced = 0;

	for (size_t i = 0; i < d->file_count; i++) {
		struct file *f = d->files[i];
		uint64_t len = f->safe.len;
		if (f->now.len < len)
			len = f->now.len;
		struct pk_buf after = PK_BUF_INIT;
		pk_buf_add(&after, f->safe.data, (size_t)len);
		for (size_t s = 0; s < f->dirty.len; s++) {
			size_t at = s * SIM_SECTOR_BYTES;
			size_t n = f->now.len - at;
			if (f->dirty.data[s] == 0) { /* as it is: damage at rest stays */
				if (at < len)
					memcpy(after.data + at, f->now.data + at,
					       len - at < SIM_SECTOR_BYTES ? (size_t)(len - at)
									   : SIM_SECTOR_BYTES);
				continue;
			}
			bool kept = keep != NULL ? keep(arg, f->name, s, unsynced)
						 : keep_by_seed(d, mode, cut, unsynced);
			unsynced++;
			if (!kept)
				continue;
			if (n > SIM_SECTOR_BYTES)
				n = SIM_SECTOR_BYTES;
			if (after.len < at + n)
				buf_resize(&after, at + n);
			memcpy(after.data + at, f->now.data + at, n);
		}
		pk_buf_release(&f->now);
		f->now = after;
		f->dirty.len = 0;
		file_resize(f, after.len);
		file_sync(f);
	}
	forget_requests(d);
}

size_t sim_disk_file_count(const struct sim_disk *d)
{
	return d->file_count;
}

const char *sim_disk_file_name(const struct sim_disk *d, size_t i)
{
	return d->files[i]->name;
}

uint8_t *sim_disk_file(struct sim_disk *d, const char *name, size_t *len)
{
	struct file *f = find(d, name);

	*len = f != NULL ? f->now.len : 0;
	return f != NULL ? f->now.data : NULL;
}

void sim_disk_put(struct sim_disk *d, const char *name, struct pk_bytes data)
{
	struct file *f = add(d, name);

	file_write(f, 0, data);
	file_sync(f);
}
