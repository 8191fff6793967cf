#include "store/recover_io.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/crypto.h"
#include "store/disk_io.h"
#include "store/heal_io.h"
#include "store/node_io.h"
#include "store/raft_recover.h"
#include "store/state_dir_io.h"
#include "store/tree.h"
#include "store/txn.h"
#include "zkproto/zk.h"

struct recovery {
	const struct store_config *cfg;
	const char *path;
	uint64_t me;
	char address[sizeof(((struct raft_member *)0)->address)];
	char *log_dir;
	struct net_loop *loop;
	struct disk_io *disk;
	struct rlog *log;
	struct rlog_loaded loaded;
	struct tree_meta state;
	struct raft_recover raft;
	int rc; /* of the request under way */
	struct pk_err *err;
};

static const char *const role_names[] = { [RAFT_NODE_STANDBY] = "observer",
					  [RAFT_NODE_VOTER] = "voter",
					  [RAFT_NODE_SPARE] = "not caught up" };

/* ---- what is there ---- */

static int open_log(struct recovery *r, struct pk_err *err)
{
	struct rlog_config lc = { .segment_bytes = (uint64_t)r->cfg->segment_bytes,
				  .cluster_id = node_cluster_id(r->cfg),
				  .server_id = r->me };

	r->log_dir = pk_asprintf("%s/log",
				 r->cfg->log_dir != NULL ? r->cfg->log_dir : r->cfg->data_dir);
	if (access(r->log_dir, F_OK) != 0)
		return pk_err_sys(err, errno, "%s", r->log_dir);
	int rc = pk_random_secret(&lc.secret, sizeof(lc.secret), err);
	if (rc == 0)
		rc = disk_io_open(&r->disk, r->log_dir, r->loop, err);
	if (rc == PK_ESTATE)
		return pk_err_wrap(err, "the server is running: stop it first");
	if (rc == 0)
		rc = rlog_open(&r->log, disk_io_disk(r->disk), &lc, &r->loaded, err);
	if (rc == 0)
		rc = raft_recover_read(&r->raft, &r->loaded, err);
	return rc == 0 ? 0 : pk_err_wrap(err, "the log in %s", r->log_dir);
}

static int read_state(struct recovery *r, struct pk_err *err)
{
	struct kv_config kv_cfg = { .map_bytes = (uint64_t)r->cfg->map_bytes,
				    .map_bytes_most = 1ull << 44,
				    .sync = true };
	struct tree_config tree_cfg = { .path_depth_max = (uint32_t)r->cfg->path_depth_max };
	struct state_dir *states = NULL;
	struct kv *kv = NULL;
	struct tree *tree = NULL;

	pk_put_le64(tree_cfg.state_id, node_cluster_id(r->cfg));
	int rc = state_dir_open(&states, r->cfg->data_dir, &kv_cfg, err);
	if (rc == 0)
		rc = state_dir_kv(states, &kv, err);
	if (rc == 0)
		rc = tree_open(&tree, kv, &tree_cfg, err);
	if (rc == 0) {
		r->state = *tree_meta(tree);
		tree_close(tree);
	}
	if (kv != NULL)
		kv_close(kv);
	state_dir_close(states);
	return rc == 0 ? 0 : pk_err_wrap(err, "the state in %s", r->cfg->data_dir);
}

/* A copy that is not whole may not be what everything else is thrown away for. */
static int check_whole(const struct recovery *r, struct pk_err *err)
{
	char *joining = pk_asprintf("%s/" HEAL_JOINING, r->cfg->data_dir);
	char *damage = pk_asprintf("%s/" HEAL_MARK, r->cfg->data_dir);
	bool incomplete = access(joining, F_OK) == 0;
	int rc = 0;

	if (incomplete)
		rc = pk_err_set(err, PK_ESTATE,
				"this server had not caught up with the others (%s is there): use "
				"another one's copy, or remove that file to go on with what it has",
				joining);
	else if (access(damage, F_OK) == 0)
		rc = pk_err_set(
			err, PK_ESTATE,
			"this server's data was found damaged (%s says how): use another one's "
			"copy, or remove that file to go on with what it has",
			damage);
	else if (r->loaded.has_manifest && r->state.index < r->loaded.manifest.index)
		rc = pk_err_set(err, PK_ESTATE,
				"the log begins behind index %" PRIu64
				", and the state in %s ends at %" PRIu64
				": what lies between is lost",
				r->loaded.manifest.index, r->cfg->data_dir, r->state.index);
	else if (r->state.index > r->raft.last_index)
		rc = pk_err_set(err, PK_ESTATE,
				"the state in %s is at index %" PRIu64 ", the log ends at %" PRIu64
				": it was fetching state when it stopped",
				r->cfg->data_dir, r->state.index, r->raft.last_index);
	free(joining);
	free(damage);
	return rc;
}

static void print_found(const struct recovery *r)
{
	const struct raft_recover *f = &r->raft;

	printf("server   %" PRIu64 " of cluster %s, %s\n", r->me, r->cfg->cluster_name, r->address);
	printf("state    zxid %#" PRIx64 ", %" PRIu64 " znodes, at index %" PRIu64
	       " of term %" PRIu64 "\n",
	       r->state.zxid, r->state.nodes + 1, r->state.index, r->state.term);
	printf("log      to index %" PRIu64 " of term %" PRIu64 ": %" PRIu64
	       " entries that the state does not show yet\n",
	       f->last_index, f->last_term, f->last_index - r->state.index);
	printf("term     %" PRIu64 " is the highest it has seen\n", f->term_seen);
	for (size_t i = 0; i < f->member_count; i++)
		printf("member   %" PRIu64 " %s, %s%s\n", f->members[i].id,
		       role_names[f->members[i].role], f->members[i].address,
		       f->members[i].id == r->me ? " (this server)" : "");
	if (r->loaded.note.code != 0)
		printf("damage   %s\n", r->loaded.note.text);
}

/* ---- the act ---- */

/* Epochs rise with each leader, as terms do; then the list of servers, whatever reconfig was under
 * way. */
static void add_command(const struct recovery *r, struct txn_pack *pack)
{
	struct txn_op epoch = { .type = TXN_EPOCH, .origin = r->me };
	struct pk_buf body = PK_BUF_INIT;
	struct server_set set = SERVER_SET_INIT;
	bool fits = true;

	for (int i = 0; i < RAFT_RECOVER_TERMS; i++)
		fits = txn_pack_add(pack, &epoch, NULL, 0) && fits;
	pk_buf_add_le32(&body, (uint32_t)ZK_ENEWCONFIGNOQUORUM);
	fits = txn_pack_add(pack,
			    &(struct txn_op){ .type = TXN_CONFIG, .body = pk_buf_bytes(&body) },
			    NULL, 0) &&
	       fits;
	pk_buf_clear(&body);
	pk_buf_add_le32(&body, 0);
	pk_ignore(server_set_put(&set, &r->cfg->me, NULL), "one fits");
	server_set_format(&set, &body);
	fits = txn_pack_add(pack,
			    &(struct txn_op){ .type = TXN_CONFIG, .body = pk_buf_bytes(&body) },
			    NULL, 0) &&
	       fits;
	PK_ASSERT(fits);
	server_set_release(&set);
	pk_buf_release(&body);
}

static int note(const struct recovery *r, const char *what, struct pk_err *err)
{
	char *path = pk_asprintf("%s/recover.log", r->cfg->data_dir);
	const struct passwd *pw = getpwuid(getuid());
	const char *sudo = getenv("SUDO_USER");
	struct pk_buf line = PK_BUF_INIT;
	time_t now = time(NULL);
	char when[32];
	struct tm tm;
	int rc = 0;

	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
	pk_buf_printf(&line,
		      "%s recover %s uid=%u user=%s sudo_user=%s cluster=%s cluster_id=%016" PRIx64
		      " server=%" PRIu64 " last_index=%" PRIu64 " last_term=%" PRIu64
		      " term=%" PRIu64 " zxid=%#" PRIx64 " voters_before=",
		      when, what, (unsigned)getuid(), pw != NULL ? pw->pw_name : "?",
		      sudo != NULL ? sudo : "-", r->cfg->cluster_name, node_cluster_id(r->cfg),
		      r->me, r->raft.last_index, r->raft.last_term, raft_recover_term(&r->raft),
		      r->state.zxid);
	for (size_t i = 0, n = 0; i < r->raft.member_count; i++)
		if (r->raft.members[i].role == RAFT_NODE_VOTER)
			pk_buf_printf(&line, "%s%" PRIu64, n++ > 0 ? "," : "",
				      r->raft.members[i].id);
	pk_buf_add_str(&line, "\n");
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
	if (fd < 0 || write(fd, line.data, line.len) != (ssize_t)line.len || fsync(fd) != 0)
		rc = pk_err_sys(err, errno, "write %s", path);
	if (fd >= 0)
		close(fd);
	pk_buf_release(&line);
	free(path);
	return rc;
}

static void on_sealed(void *owner, int rc, const struct pk_err *err)
{
	struct recovery *r = owner;

	r->rc = rc;
	if (rc != 0)
		*r->err = *err;
	net_loop_stop(r->loop);
}

static void on_appended(void *owner, int rc, const struct pk_err *err)
{
	struct recovery *r = owner;

	if (rc != 0)
		on_sealed(r, rc, err);
	else
		rlog_seal(r->log, on_sealed, r);
}

static int append(struct recovery *r, struct pk_err *err)
{
	struct txn_pack *pack = txn_pack_new();
	int64_t wall_ms = net_wall_ms();
	struct txn_header header = { .cluster_id = node_cluster_id(r->cfg),
				     .proposer_id = r->me,
				     .term = raft_recover_term(&r->raft),
				     .index = r->raft.last_index + 2,
				     .time_ms = wall_ms > r->state.time_ms ? wall_ms
									   : r->state.time_ms };

	add_command(r, pack);
	r->err = err;
	int rc = raft_recover_append(r->log, &r->raft, r->me, r->address,
				     txn_pack_finish(pack, &header), on_appended, r, err);
	txn_pack_free(pack);
	if (rc != 0)
		return rc;
	net_loop_run(r->loop);
	return r->rc;
}

static void print_next(const struct recovery *r)
{
	const struct raft_recover *f = &r->raft;

	printf("\nServer %" PRIu64 " is the only voter now; noted in %s/recover.log. Next:\n\n"
	       "1. On each of the other servers, before it is started again, remove what is left "
	       "of\n"
	       "   its data. Two old copies together would be a second cluster of the same name.\n"
	       "       rm -rf DATADIR/log DATADIR/state-* DATADIR/joining "
	       "DATADIR/damage\n"
	       "       (log: in dataLogDir if set)\n"
	       "2. Start this one; it serves at once:\n"
	       "       paddock-store %s\n"
	       "3. Start the others, empty, under the same or new addresses, with server lines "
	       "that\n"
	       "   name this server. They wait for this one to take them in.\n"
	       "4. Take them in, one after the other, by this server (wants reconfigEnabled=true, "
	       "and\n"
	       "   a super user or skipACL=yes; zkCli.sh does it, too: reconfig -add ...):\n",
	       r->me, r->cfg->data_dir, r->path);
	for (size_t i = 0; i < f->member_count; i++)
		if (f->members[i].id != r->me)
			printf("       paddock zk reconfig --server HOST:PORT --add "
			       "'server.%" PRIu64 "=%s'\n",
			       f->members[i].id, f->members[i].address);
}

static int recover(struct recovery *r, bool yes, struct pk_err *err)
{
	struct pk_buf text = PK_BUF_INIT;

	if (!r->cfg->distributed)
		return pk_err_set(err, PK_EINVAL,
				  "%s is a server on its own: it needs nobody's vote. recover is "
				  "for one of several servers, whose server.N lines the file names",
				  r->path);
	server_spec_format(&r->cfg->me, &text);
	bool fits = text.len < sizeof(r->address);
	if (fits)
		memcpy(r->address, pk_buf_str(&text), text.len + 1);
	pk_buf_release(&text);
	if (!fits)
		return pk_err_set(err, PK_ELIMIT,
				  "server.%" PRIu64 ": its addresses take more than %zu bytes",
				  r->me, sizeof(r->address) - 1);
	r->loop = net_loop_new(err);
	int rc = r->loop != NULL ? 0 : err->code;
	if (rc == 0)
		rc = open_log(r, err);
	if (rc == 0)
		rc = read_state(r, err);
	if (rc != 0)
		return rc;
	print_found(r);
	rc = check_whole(r, err);
	if (rc != 0)
		return rc;
	if (!yes) {
		printf("\nNothing was changed. With --yes this server becomes the only voter and "
		       "goes on from there:\n"
		       "- everything its log holds counts as written, also the last entries, of "
		       "which a majority\n  may never have heard;\n"
		       "- what only the others had is gone, though clients may have been told it "
		       "was written;\n"
		       "- every other copy must be removed before it is started again.\n"
		       "Only when a majority is lost for good: while one can be started, start it "
		       "instead. Of several\ncopies choose the one whose log ends with the highest "
		       "term, then the highest index.\n");
		return 0;
	}
	rc = note(r, "begun", err);
	if (rc == 0)
		rc = append(r, err);
	if (rc == 0)
		rc = note(r, "done", err);
	if (rc == 0)
		print_next(r);
	return rc;
}

int recover_run(const struct store_config *cfg, const char *path, bool yes)
{
	struct recovery r = { .cfg = cfg,
			      .path = path,
			      .me = cfg->my_id > 0 ? (uint64_t)cfg->my_id : 1 };
	struct pk_err err = PK_ERR_INIT;
	int rc = recover(&r, yes, &err);

	fflush(stdout);
	if (rc != 0)
		fprintf(stderr, "paddock-store: recover: %s\n", err.text);
	disk_io_close(r.disk);
	if (r.log != NULL)
		rlog_close(r.log);
	rlog_loaded_release(&r.loaded);
	if (r.loop != NULL)
		net_loop_free(r.loop);
	free(r.log_dir);
	if (rc == 0)
		return NODE_EXIT_OK;
	return rc == PK_ECORRUPT ? NODE_EXIT_DAMAGE : NODE_EXIT_START;
}
