/*
 * store/state_dir_io.h - where the state lives: one directory a generation, and the word which one
 * counts.
 *
 *     <dir>/state-<n>/data.mdb   a generation; a fetched state is filled beside the one in use
 *     <dir>/state-current        its number; replaced by rename, so it is one or the other
 *
 * Directories that the word does not name are leftovers of a crash: removed at open.
 */
#ifndef PK_STORE_STATE_DIR_IO_H
#define PK_STORE_STATE_DIR_IO_H

#include "store/kv.h"

struct state_dir;

/* Open (making it when new) and sweep. `cfg.dir` is not read. */
PK_CHECKED int state_dir_open(struct state_dir **out, const char *dir, const struct kv_config *cfg,
			      struct pk_err *err);
PK_CHECKED int state_dir_kv(struct state_dir *d, struct kv **out,
			    struct pk_err *err); /* open the current one */
/* The same three steps as server_owner's import. finish may run on any thread. */
PK_CHECKED int state_dir_import_begin(struct state_dir *d, struct pk_err *err);
PK_CHECKED int state_dir_import_add(struct state_dir *d, struct pk_bytes records,
				    struct pk_err *err);
PK_CHECKED int state_dir_import_finish(struct state_dir *d, struct pk_err *err);
/* After finish: it is the current one from now on. Takes `old`, closes and removes it. */
PK_CHECKED int state_dir_swap(struct state_dir *d, struct kv *old, struct kv **out,
			      struct pk_err *err);
void state_dir_import_drop(struct state_dir *d); /* nothing begun: fine */
void state_dir_close(struct state_dir *d);

#endif
