#include "store/node_io.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rng.h"
#include "net/crypto.h"
#include "store/applier_io.h"
#include "store/budget.h"
#include "store/client_io.h"
#include "store/commands_io.h"
#include "store/disk_io.h"
#include "store/found.h"
#include "store/heal_io.h"
#include "store/members_io.h"
#include "store/memory_io.h"
#include "store/metrics.h"
#include "store/peer_io.h"
#include "store/sasl_io.h"
#include "store/server.h"
#include "store/state_dir_io.h"

#define STOP_WAIT_MS       5000 /* for connections to close, once told */
#define TRAILING_ENTRIES   4096
#define COVERED_ENTRIES    256 /* below the manifest that a restart still reads: who lags by them, */
#define COVERED_BYTES      (1u << 20) /* or by so much, is not in need of the whole state */
#define INSTALL_TIMEOUT_MS 600000
#define WATCHES_MAX        (16u << 20)
#define DISK_CHECK_MS      1000
#define ASK_TELL_MS        5000
#define DISK_ABOVE_BYTES   (64u << 20)

struct node {
	struct net_loop *loop;
	const struct store_config *cfg;
	struct pk_rng rng;

	/* Who would found a new cluster, or join one that is there: start_raft. */
	struct raft_member members[SERVERS_MAX];
	size_t member_count;
	uint64_t members_hash;
	struct rlog_loaded loaded;
	bool joining;
	struct found found;
	uint64_t leader_id; /* where it says that it is */
	char leader_address[256];
	int64_t tell_ms; /* what is awaited, next */

	/* Damage was found, and the others are asked before it is set aside: node_ask. Nothing that
	 * follows below is open then, but the peers. */
	net_call_f *healed;
	void *healed_owner;
	struct pk_err damage;

	struct budget budget;
	struct state_dir *states;
	struct kv *kv;
	struct applier *applier;
	struct disk_io *disk;
	struct rlog *log;
	struct raft_node *raft;
	struct server *server;
	struct peers *peers;
	struct clients *clients;
	struct commands *commands;
	struct sasl *sasl;
	struct net_tls *client_tls, *peer_tls_server, *peer_tls_client;

	struct net_timer *tick;
	struct net_hook *turn;
	int64_t disk_check_ms;
	bool disk_low;
	bool importing; /* finish is running on a pool thread */
	struct pk_err import_err;

	bool stopping, told_to_go, committed, sealing, sealed;
	uint64_t quiet_index; /* the log's end a moment ago */
	int64_t stop_by_ms;
	net_call_f *stopped;
	void *stopped_owner;
};

static uint64_t my_id(const struct store_config *cfg)
{
	return cfg->my_id > 0 ? (uint64_t)cfg->my_id : 1;
}

static void now(struct node *n)
{
	server_now(n->server, net_now_ms(n->loop), net_wall_ms());
}

/* ---- what the server asks for ---- */

/*
 * Who was away while the members changed, or fetched a state of before, hears from servers that its
 * log does not name, or names under another address: a leader, or one that asks for its vote. It
 * answers where they say they are, or would never hear of the change, nor they of its vote.
 */
static void know_peer(struct node *n, uint64_t id, const char *address)
{
	struct server_spec spec;
	struct pk_err err = PK_ERR_INIT;

	if (server_spec_parse(&spec, (int64_t)id, pk_bytes_str(address), &err) != 0) {
		LOG_ERROR("peer.address", "id=%" PRIu64 " error=\"%s\"", id, err.text);
		return;
	}
	LOG_INFO("peer.says", "id=%" PRIu64 " address=%s", id, address);
	peers_add(n->peers, id, spec.addrs, spec.addr_count);
}

/* Who does not lead sends to those it knows, and answers. */
static void know_who_is_answered(struct node *n, uint64_t id, const char *address)
{
	if (raft_node_role(n->raft) == RAFT_NODE_LEADER)
		return;
	if (raft_node_leader(n->raft) == id) {
		if (n->leader_id == id && strcmp(n->leader_address, address) == 0)
			return;
		n->leader_id = id;
		snprintf(n->leader_address, sizeof(n->leader_address), "%s", address);
		know_peer(n, id, address);
	} else if (!peers_knows(n->peers, id)) {
		know_peer(n, id, address);
	}
}

static bool owner_peer_send(void *owner, uint64_t peer_id, const char *address,
			    enum server_message type, struct pk_bytes bytes)
{
	struct node *n = owner;

	if (address != NULL && n->peers != NULL && n->raft != NULL)
		know_who_is_answered(n, peer_id, address);
	return n->peers != NULL && peers_send(n->peers, peer_id, (uint8_t)type, bytes);
}

static void owner_commit(void *owner, struct kv_job *job)
{
	struct node *n = owner;

	applier_submit(n->applier, job);
}

static void on_committed(void *owner, struct kv_job *job, const struct pk_err *err, int64_t took_us)
{
	struct node *n = owner;

	now(n);
	pk_summary_record(server_metrics(n->server), M_SNAPSHOTTIME, took_us / 1000);
	pk_summary_record(server_metrics(n->server), M_PADDOCK_STATE_COMMIT_US, took_us);
	if (took_us > n->cfg->fsync_warn_ms * 1000)
		LOG_WARN("store.commit_slow", "took_ms=%" PRId64, took_us / 1000);
	server_commit_done(n->server, job, err->code, err);
}

static void owner_secret(void *owner, void *to, size_t len)
{
	struct pk_err err = PK_ERR_INIT;

	pk_ignore(owner, "the kernel is asked");
	if (pk_random_secret(to, len, &err) != 0) {
		LOG_ERROR("node.fatal", "error=\"%s\"", err.text);
		_exit(NODE_EXIT_FATAL);
	}
}

static void owner_import_begin(void *owner)
{
	struct node *n = owner;
	struct pk_err err = PK_ERR_INIT;

	if (state_dir_import_begin(n->states, &err) != 0)
		LOG_ERROR("state.import", "error=\"%s\"",
			  err.text); /* the first chunk then fails */
}

static int owner_import_chunk(void *owner, struct pk_bytes records, struct pk_err *err)
{
	struct node *n = owner;

	return state_dir_import_add(n->states, records, err);
}

static void import_work(void *owner)
{
	struct node *n = owner;

	n->import_err = PK_ERR_INIT;
	pk_ignore(state_dir_import_finish(n->states, &n->import_err), "told from import_err");
}

static void import_worked(void *owner)
{
	struct node *n = owner;

	n->importing = false;
	if (n->stopping)
		return;
	now(n);
	server_import_ready(n->server, n->import_err.code, &n->import_err);
}

static void owner_import_finish(void *owner)
{
	struct node *n = owner;

	n->importing = true;
	net_work_run(n->loop, import_work, import_worked, n);
}

static struct kv *owner_import_swap(void *owner, struct pk_err *err)
{
	struct node *n = owner;
	struct kv *fresh = NULL;

	if (state_dir_swap(n->states, n->kv, &fresh, err) != 0)
		return NULL;
	n->kv = fresh;
	return fresh;
}

static void owner_import_drop(void *owner)
{
	struct node *n = owner;

	PK_ASSERT(!n->importing);
	state_dir_import_drop(n->states);
}

static void owner_members(void *owner, const struct raft_member *members, size_t count)
{
	struct node *n = owner;
	struct server_spec spec;
	struct pk_err err = PK_ERR_INIT;

	n->leader_id = 0; /* looked at again */
	if (n->cfg->distributed && count > 0 &&
	    members_save(n->cfg->data_dir, members, count, &err) != 0)
		LOG_WARN("node.members",
			 "error=\"%s\" note=\"if this server's data is damaged, it asks those of "
			 "its "
			 "server lines\"",
			 err.text);
	for (size_t i = 0; n->peers != NULL && i < count; i++) {
		if (members[i].id == my_id(n->cfg))
			continue;
		if (server_spec_parse(&spec, (int64_t)members[i].id,
				      pk_bytes_str(members[i].address), &err) != 0) {
			LOG_ERROR("peer.address", "id=%" PRIu64 " error=\"%s\"", members[i].id,
				  err.text);
			continue;
		}
		peers_add(n->peers, members[i].id, spec.addrs, spec.addr_count);
	}
	for (uint64_t id = 1; n->peers != NULL && n->raft != NULL && count > 0 && id < 256; id++) {
		bool member = false;

		for (size_t i = 0; i < count; i++)
			member |= members[i].id == id;
		if (!member && peers_knows(n->peers, id)) {
			LOG_INFO("peer.removed", "id=%" PRIu64, id);
			peers_remove(n->peers, id);
		}
	}
}

static void owner_role(void *owner, enum raft_node_role role, uint64_t term, uint64_t leader_id,
		       bool serving)
{
	static const char *const names[] = { "follower", "candidate", "leader" };

	pk_ignore(owner, "only told");
	LOG_INFO("raft.role", "role=%s term=%" PRIu64 " leader=%" PRIu64 " serving=%d", names[role],
		 term, leader_id, serving);
}

static void owner_fatal(void *owner, const struct pk_err *err)
{
	pk_ignore(owner, "nothing of it may be trusted any more");
	LOG_ERROR("node.fatal", "error=\"%s\"", err->text);
	/* Not exit(): handlers would run code over state that is wrong. */
	_exit(err->code == PK_ECORRUPT ? pk_damage_mark(err->text) : NODE_EXIT_FATAL);
}

static int64_t owner_clock_us(void *owner)
{
	pk_ignore(owner, "the kernel is asked");
	return net_now_fresh_us();
}

static void owner_note(void *owner, int level, const char *event, const char *text)
{
	pk_ignore(owner, "only told");
	if (level <= (int)pk_log_level_now())
		pk_log_write((enum pk_log_level)level, event, "%s", text);
}

static char *joining_path(const struct node *n)
{
	return pk_asprintf("%s/" HEAL_JOINING, n->cfg->data_dir);
}

static void owner_joined(void *owner)
{
	struct node *n = owner;
	char *path = joining_path(n);

	n->joining = false;
	if (unlink(path) != 0)
		LOG_WARN("node.joined",
			 "path=%s error=\"%s\" note=\"the next start is mute again\"", path,
			 strerror(errno));
	free(path);
}

/* ---- peers ---- */

static void probe_step(struct node *n);
static void tell_what_is_awaited(const struct node *n);

static int on_peer_frame(void *owner, uint64_t from_id, uint8_t type, struct pk_bytes body,
			 struct pk_err *err)
{
	struct node *n = owner;

	if (type == 0 || type >= SERVER_MSG_TYPES)
		return pk_err_set(err, PK_EPROTO, "message type %u is not known", type);
	if (n->server == NULL) /* nobody is there to hear it: Raft sends again */
		return 0;
	now(n);
	return server_peer_recv(n->server, from_id, (enum server_message)type, body, err);
}

/* db.autocreate=false: only where a person left the file initialize may a cluster begin. */
static bool may_found(const struct node *n)
{
	return n->cfg->db_autocreate || n->cfg->has_initialize;
}

static struct found_answer on_welcome(void *owner, uint64_t peer_id, uint64_t peer_life)
{
	struct node *n = owner;

	return found_answer(&n->found, n->raft, n->joining, may_found(n) ? n->members_hash : 0,
			    peer_id, peer_life);
}

static void on_welcomed(void *owner, uint64_t peer_id, const struct found_answer *answer)
{
	struct node *n = owner;

	if (n->raft != NULL || n->stopping)
		return;
	int rc = found_peer(&n->found, peer_id, answer);
	if (rc == PK_ENOENT)
		LOG_WARN("node.members",
			 "peer=%" PRIu64 " note=\"it holds nothing and has no file initialize "
			 "(db.autocreate=false): it does not count for a new cluster\"",
			 peer_id);
	else if (rc != 0)
		LOG_ERROR("node.members",
			  "peer=%" PRIu64 " note=\"its server lines differ from ours: a new "
			  "cluster begins only among "
			  "servers with the same list\"",
			  peer_id);
	if (n->healed == NULL)
		probe_step(n);
}

static void on_peer_down(void *owner, uint64_t peer_id, const char *reason)
{
	struct node *n = owner;

	pk_ignore(reason, "logged where it happened");
	if (n->stopping || n->server == NULL)
		return;
	now(n);
	server_peer_down(n->server, peer_id);
}

/* ---- time ---- */

/* Writes are refused before the log can fail: it needs room for the next segment and LMDB for a
 * commit. */
static void check_disk(struct node *n)
{
	const struct disk *d = disk_io_disk(n->disk);
	uint64_t free_bytes = d->free_bytes(d->impl);
	uint64_t low = (uint64_t)n->cfg->disk_low_bytes;
	/* Some way above, so that it does not flutter. */
	uint64_t above = low / 4 < DISK_ABOVE_BYTES ? low / 4 : DISK_ABOVE_BYTES;

	if (!n->disk_low && free_bytes < low) {
		n->disk_low = true;
		LOG_ERROR("disk.low", "free_bytes=%" PRIu64 " paddock.diskLowWaterBytes=%" PRIu64,
			  free_bytes, low);
		server_refuse_writes(n->server, true);
	} else if (n->disk_low && free_bytes > low + above) {
		n->disk_low = false;
		LOG_INFO("disk.ok", "free_bytes=%" PRIu64, free_bytes);
		server_refuse_writes(n->server, false);
	}
}

static void on_sealed(void *owner, int rc, const struct pk_err *err)
{
	struct node *n = owner;

	if (rc != 0)
		LOG_ERROR("log.seal", "error=\"%s\"", err->text);
	n->sealed = true;
}

static void stop_step(struct node *n)
{
	if (!n->told_to_go) {
		if (!server_drain(n->server) && net_now_ms(n->loop) < n->stop_by_ms)
			return;
		n->told_to_go = true;
		n->stop_by_ms = net_now_ms(n->loop) + STOP_WAIT_MS;
		clients_close_all(n->clients, "the server is stopping");
	}
	if (clients_count(n->clients) > 0 && net_now_ms(n->loop) < n->stop_by_ms)
		return;
	if (!n->committed)
		n->committed = server_commit_now(n->server);
	if (!n->committed || applier_busy(n->applier) || n->importing)
		return;
	if (!n->sealing) {
		n->sealing = true;
		rlog_seal(n->log, on_sealed, n);
	}
	if (!n->sealed)
		return;
	net_timer_stop(n->tick);
	n->stopped(n->stopped_owner);
}

/* Once nothing was written for a while, damage to the last write is made to differ from tearing. */
static void seal_when_quiet(struct node *n)
{
	uint64_t last = rlog_last_index(n->log);

	if (last == n->quiet_index)
		rlog_seal(n->log, NULL, NULL);
	n->quiet_index = last;
}

static void on_tick(void *owner)
{
	struct node *n = owner;

	now(n);
	server_tick(n->server);
	peers_tick(n->peers);
	commands_tick(n->commands);
	if (n->raft == NULL && !n->stopping && net_now_ms(n->loop) >= n->tell_ms) {
		if (n->tell_ms != 0)
			tell_what_is_awaited(n);
		n->tell_ms = net_now_ms(n->loop) + ASK_TELL_MS;
	}
	if (net_now_ms(n->loop) >= n->disk_check_ms) {
		n->disk_check_ms = net_now_ms(n->loop) + DISK_CHECK_MS;
		check_disk(n);
		seal_when_quiet(n);
	}
	if (n->stopping)
		stop_step(n);
}

static void on_turn(void *owner)
{
	struct node *n = owner;

	now(n);
	clients_turn(n->clients);
	server_turn(n->server);
}

/* ---- starting ---- */

static int make_dir(const char *path, bool may, struct pk_err *err)
{
	struct stat st;

	if (stat(path, &st) == 0)
		return S_ISDIR(st.st_mode)
			       ? 0
			       : pk_err_set(err, PK_EINVAL, "%s is not a directory", path);
	if (!may)
		return pk_err_set(err, PK_ENOENT,
				  "%s does not exist, and datadir.autocreate is off", path);
	char *part = pk_strdup(path);
	int rc = 0;
	for (char *c = part + 1; rc == 0; c++) {
		if (*c != '/' && *c != 0)
			continue;
		bool last = *c == 0;
		*c = 0;
		if (mkdir(part, 0750) != 0 && errno != EEXIST)
			rc = pk_err_sys(err, errno, "make %s", part);
		if (last)
			break;
		*c = '/';
	}
	free(part);
	return rc;
}

static struct heal_dirs heal_dirs(const struct store_config *cfg)
{
	return (struct heal_dirs){ .data = cfg->data_dir, .log = cfg->log_dir };
}

static void tell_aside(const struct store_config *cfg, const struct heal_record *r)
{
	const struct heal_dirs d = heal_dirs(cfg);

	LOG_ERROR("damage.aside",
		  "error=\"%s\" state=%s/%s log=%s/%s heals=%" PRIu64
		  " note=\"this server fetches everything anew from the others\"",
		  r->why, d.data, r->folder, d.log, r->folder, r->count);
}

/* What an earlier life left: damaged data that is not quite set aside, or the word that it found
 * some. */
static int check_damage(const struct node *n, struct pk_err *err)
{
	const struct heal_dirs d = heal_dirs(n->cfg);
	struct heal_record r;
	int rc = heal_resume(&d, &r, err);

	if (rc < 0)
		return rc;
	if (rc == 1)
		tell_aside(n->cfg, &r);
	return heal_marked(&d, err);
}

static int start_dirs(struct node *n, char **log_dir, struct pk_err *err)
{
	const struct store_config *cfg = n->cfg;
	struct stat st;
	struct kv_config kv_cfg = { .map_bytes = (uint64_t)cfg->map_bytes,
				    .map_bytes_most = 1ull << 44,
				    .sync = true };
	char *peers_data = pk_asprintf("%s/version-2", cfg->data_dir);
	int rc = 0;

	if (stat(peers_data, &st) == 0)
		rc = pk_err_set(err, PK_EINVAL,
				"%s holds the data of a ZooKeeper: paddock-store does not read it; "
				"give it a dataDir "
				"of its own",
				peers_data);
	free(peers_data);
	if (rc == 0)
		rc = make_dir(cfg->data_dir, cfg->dir_autocreate, err);
	if (rc == 0)
		rc = check_damage(n, err);
	*log_dir = pk_asprintf("%s/log", cfg->log_dir);
	if (rc == 0)
		rc = make_dir(*log_dir, true, err);
	if (rc == 0)
		rc = state_dir_open(&n->states, cfg->data_dir, &kv_cfg, err);
	if (rc == 0)
		rc = state_dir_kv(n->states, &n->kv, err);
	return rc;
}

uint64_t node_cluster_id(const struct store_config *cfg)
{
	uint8_t hash[NET_DIGEST_BYTES_MAX];
	int len = net_digest("SHA256", pk_bytes_str(cfg->cluster_name), hash, NULL);

	PK_ASSERT(len >= 8);
	return pk_get_le64(hash) | 1;
}

static uint32_t txn_flags(const struct store_config *cfg)
{
	return (cfg->enforce_quota ? TXN_ENFORCE_QUOTA : 0) | (cfg->skip_acl ? TXN_SKIP_ACL : 0) |
	       (cfg->extended_types ? TXN_EXTENDED_TYPES : 0) |
	       (cfg->reconfig_enabled ? TXN_RECONFIG_ENABLED : 0) |
	       (cfg->distributed ? 0 : TXN_STANDALONE) | (cfg->auth_x509 ? TXN_SCHEME_X509 : 0) |
	       (cfg->auth_sasl ? TXN_SCHEME_SASL : 0) | (cfg->digest_auth ? 0 : TXN_NO_DIGEST);
}

static int start_server(struct node *n, struct pk_err *err)
{
	const struct store_config *cfg = n->cfg;
	int32_t tick = (int32_t)cfg->tick_ms;
	struct server_config sc = {
		.id = my_id(cfg),
		.cluster_id = node_cluster_id(cfg),
		.tick_ms = tick,
		.session_min_ms = cfg->session_timeout_min_ms >= 0
					  ? (int32_t)cfg->session_timeout_min_ms
					  : 2 * tick,
		.session_max_ms = cfg->session_timeout_max_ms >= 0
					  ? (int32_t)cfg->session_timeout_max_ms
					  : 20 * tick,
		.leader_grace_ms = 6 * cfg->election_ms > 3000 ? 6 * cfg->election_ms : 3000,
		.commit_overlay_bytes = (uint64_t)cfg->overlay_bytes,
		.commit_log_bytes = n->budget.snapshot_log_bytes / 4,
		.commit_pages_bytes = n->budget.commit_pages_bytes,
		.waiting_bytes_max = n->budget.waiting_bytes,
		.backlog_bytes_max = n->budget.backlog_bytes,
		.txn_flags = txn_flags(cfg),
		.jute_bytes_max = (uint32_t)cfg->jute_maxbuffer,
		.response_bytes_max = CLIENT_QUEUE_BYTES_MAX / 2,
		.out_bytes_max = (size_t)cfg->reply_queue_bytes_max,
		.out_total_max = n->budget.reply_queues_bytes,
		.connect_wait_ms = cfg->sessionless_timeout_ms,
		.outstanding_max = (uint64_t)(cfg->throttle_requests_max > 0 &&
							      cfg->throttle_requests_max <
								      cfg->outstanding_max
						      ? cfg->throttle_requests_max
						      : cfg->outstanding_max),
		.large_bytes = cfg->large_request_bytes,
		.large_bytes_max = cfg->large_requests_bytes_max,
		.conn_tokens = cfg->conn_tokens,
		.conn_fill_ms = cfg->conn_fill_ms,
		.conn_fill_count = cfg->conn_fill_count,
		.watches_max = WATCHES_MAX,
		.container_check_ms = cfg->container_check_ms,
		.container_never_used_ms = cfg->container_unused_max_ms,
		.container_per_minute = (uint32_t)cfg->container_per_minute,
		.path_depth_max = (uint32_t)cfg->path_depth_max,
		.auth_required = cfg->auth_enforced || cfg->sasl_required,
		/* sessionRequireClientSASLAuth wins (AuthenticationHelper.initConfigurations) */
		.auth_schemes = cfg->sasl_required ? "sasl" : cfg->auth_schemes,
		.sasl_failed_ok = cfg->sasl_failed_ok,
		.standalone = !cfg->distributed,
		/* A server alone has neither, in ZooKeeper as here. */
		.read_only_mode = cfg->readonly_mode && cfg->distributed,
		.local_sessions = cfg->local_sessions && cfg->distributed,
		.local_sessions_upgrade = cfg->local_sessions_upgrade && cfg->distributed,
	};
	struct server_owner so = {
		.owner = n,
		.peer_send = owner_peer_send,
		.commit = owner_commit,
		.secret = owner_secret,
		.import_begin = owner_import_begin,
		.import_chunk = owner_import_chunk,
		.import_finish = owner_import_finish,
		.import_swap = owner_import_swap,
		.import_drop = owner_import_drop,
		.joined = owner_joined,
		.members = owner_members,
		.role = owner_role,
		.fatal = owner_fatal,
		.clock_us = owner_clock_us,
		.note = owner_note,
	};

	clients_server_owner(&so);
	return server_open(&n->server, &sc, &so, n->kv, &n->rng, net_now_ms(n->loop), net_wall_ms(),
			   err);
}

static int start_peers(struct node *n, struct pk_err *err)
{
	const struct store_config *cfg = n->cfg;
	struct peers_owner po = { .owner = n,
				  .recv = on_peer_frame,
				  .welcome = on_welcome,
				  .welcomed = on_welcomed,
				  .down = on_peer_down };
	int rc = 0;

	if (cfg->peer_security == STORE_PEERS_KEY) {
		struct pk_buf key = PK_BUF_INIT;

		rc = pk_file_read(cfg->peer_key_file, NET_PSK_BYTES_MAX, &key, err);
		if (rc == 0) {
			n->peer_tls_server = net_tls_psk_new(pk_buf_bytes(&key), "paddock-peer",
							     err);
			n->peer_tls_client = net_tls_ref(n->peer_tls_server);
			rc = n->peer_tls_server != NULL ? 0 : err->code;
		}
		explicit_bzero(key.data, key.len);
		pk_buf_release(&key);
		if (rc != 0)
			return pk_err_wrap(err, "paddock.peerKeyFile %s", cfg->peer_key_file);
	} else if (cfg->peer_security == STORE_PEERS_CERT) {
		struct net_tls_opts opts = {
			.server = true,
			.cert_file = cfg->peer_tls.cert,
			.key_file = cfg->peer_tls.cert_key,
			.cert_type = (enum net_store_type)cfg->peer_tls.cert_type,
			.key_password = cfg->peer_tls.cert_password,
			.trust_file = cfg->peer_tls.trust,
			.trust_type = (enum net_store_type)cfg->peer_tls.trust_type,
			.trust_password = cfg->peer_tls.trust_password,
			.crl_file = cfg->peer_tls.crl_file,
			.client_auth = NET_CLIENT_AUTH_NEED,
			.no_hostname_check = !cfg->peer_ssl_host_check,
			.protocols = cfg->peer_tls.protocols,
			.ciphers = cfg->peer_tls.ciphers
		};
		n->peer_tls_server = net_tls_new(&opts, err);
		opts.server = false;
		if (n->peer_tls_server != NULL)
			n->peer_tls_client = net_tls_new(&opts, err);
		if (n->peer_tls_client == NULL)
			return pk_err_wrap(err, "certificates for the other servers");
	}
	struct peers_config pc = { .cluster_id = node_cluster_id(cfg),
				   .server_id = my_id(cfg),
				   .tls_server = n->peer_tls_server,
				   .tls_client = n->peer_tls_client,
				   .check_names = cfg->peer_security == STORE_PEERS_CERT &&
						  cfg->peer_ssl_host_check,
				   .connect_timeout_ms = cfg->peer_connect_timeout_ms };
	n->peers = peers_new(n->loop, &pc, &po);
	if (!cfg->distributed)
		return 0;
	for (size_t i = 0; rc == 0 && i < cfg->me.addr_count; i++)
		rc = peers_listen(n->peers, cfg->peer_listen_all ? NULL : cfg->me.addrs[i].host,
				  cfg->me.addrs[i].peer_port, err);
	return rc;
}

static int list_members(struct node *n, struct pk_err *err)
{
	const struct store_config *cfg = n->cfg;
	struct pk_buf text = PK_BUF_INIT;
	uint8_t hash[NET_DIGEST_BYTES_MAX];
	int rc = 0;

	if (!cfg->distributed) {
		n->members[0] = (struct raft_member){ .id = my_id(cfg), .role = RAFT_NODE_VOTER };
		snprintf(n->members[0].address, sizeof(n->members[0].address),
			 "127.0.0.1:1:2:participant");
		n->member_count = 1;
		return 0;
	}
	for (size_t i = 0; rc == 0 && i < cfg->servers.count; i++) {
		const struct server_spec *s = &cfg->servers.all[i];
		struct raft_member *m = &n->members[n->member_count++];

		pk_buf_clear(&text);
		server_spec_format(s, &text);
		if (text.len >= sizeof(m->address))
			rc = pk_err_set(err, PK_ELIMIT,
					"server.%" PRId64
					": its addresses take more than %zu bytes",
					s->id, sizeof(m->address) - 1);
		else
			snprintf(m->address, sizeof(m->address), "%s", pk_buf_str(&text));
		m->id = (uint64_t)s->id;
		m->role = s->observer ? RAFT_NODE_STANDBY : RAFT_NODE_VOTER;
	}
	if (rc == 0 && server_set_find(&cfg->servers, (int64_t)my_id(cfg)) == NULL)
		rc = pk_err_set(err, PK_EINVAL, "no server.%" PRIu64 " line for the id in myid",
				my_id(cfg));
	pk_buf_clear(&text);
	server_set_format(&cfg->servers, &text);
	if (rc == 0 && net_digest("SHA256", pk_buf_bytes(&text), hash, err) > 0)
		n->members_hash = pk_get_le64(hash);
	pk_buf_release(&text);
	return rc;
}

/*
 * Who lost its data asks those that it last knew, where that is on record (members_io.h): the
 * server lines may be of before a reconfig. Where a server is, they know better, and also of
 * ourselves.
 */
static void list_last_known(struct node *n, const char *file)
{
	struct raft_member known[RAFT_NODE_MEMBERS_MAX], all[RAFT_NODE_MEMBERS_MAX];
	size_t known_count, count = 0;
	struct pk_err err = PK_ERR_INIT;
	bool mine = false;

	int rc = members_load(n->cfg->data_dir, file, known, &known_count, &err);
	if (rc != 0) {
		if (rc != PK_ENOENT)
			LOG_INFO("node.members", "text=\"%s\" note=\"the server lines count\"",
				 err.text);
		return;
	}
	for (size_t i = 0; i < known_count; i++) {
		struct raft_member *m = &all[count++];

		*m = known[i];
		mine |= m->id == my_id(n->cfg);
		for (size_t k = 0; k < n->member_count; k++)
			if (n->members[k].id == m->id)
				memcpy(m->address, n->members[k].address, sizeof(m->address));
	}
	for (size_t k = 0; !mine && k < n->member_count && count < PK_COUNT(all); k++)
		if (n->members[k].id == my_id(n->cfg)) {
			mine = true;
			all[count++] = n->members[k];
		}
	if (!mine)
		return;
	memcpy(n->members, all, count * sizeof(all[0]));
	n->member_count = count;
}

/* Who lost its data has no vote until it has caught up, which takes a leader: the others must be a
 * majority without it. */
static bool others_suffice(const struct node *n)
{
	size_t voters = 0, others = 0;

	for (size_t i = 0; i < n->member_count; i++) {
		bool voter = n->members[i].role == RAFT_NODE_VOTER;

		voters += voter;
		others += voter && n->members[i].id != my_id(n->cfg);
	}
	return others > voters / 2;
}

static void know_members(struct node *n)
{
	struct server_spec spec;
	struct pk_err err = PK_ERR_INIT;

	for (size_t i = 0; i < n->member_count; i++) {
		const struct raft_member *m = &n->members[i];

		if (m->id == my_id(n->cfg))
			continue;
		if (server_spec_parse(&spec, (int64_t)m->id, pk_bytes_str(m->address), &err) == 0)
			peers_add(n->peers, m->id, spec.addrs, spec.addr_count);
		else
			LOG_ERROR("peer.address", "id=%" PRIu64 " error=\"%s\"", m->id, err.text);
	}
}

static void started(struct node *n, enum store_metric metric, int64_t begun_us)
{
	pk_summary_record(server_metrics(n->server), metric,
			  (net_now_fresh_us() - begun_us) / 1000);
}

/* A server that fetches its state has that before it has a log. */
static bool has_joining_mark(const struct node *n)
{
	char *path = joining_path(n);
	bool there = access(path, F_OK) == 0;

	free(path);
	return there;
}

static int open_log(struct node *n, const char *log_dir, struct pk_err *err)
{
	const struct store_config *cfg = n->cfg;
	const struct tree_meta *state = tree_meta(server_tree(n->server));
	struct rlog_config lc = { .segment_bytes = (uint64_t)cfg->segment_bytes,
				  .cluster_id = node_cluster_id(cfg),
				  .server_id = my_id(cfg),
				  .covered_count = COVERED_ENTRIES,
				  .covered_bytes = COVERED_BYTES };

	uint8_t id[sizeof(state->state_id)] = { 0 };
	pk_put_le64(id, lc.cluster_id);
	if (state->index > 0 && memcmp(id, state->state_id, sizeof(id)) != 0)
		return pk_err_set(err, PK_EFOREIGN, "the state in %s belongs to another cluster",
				  cfg->data_dir);
	int64_t begun_us = net_now_fresh_us();
	int rc = pk_random_secret(&lc.secret, sizeof(lc.secret), err);
	if (rc == 0)
		rc = disk_io_open(&n->disk, log_dir, n->loop, err);
	if (rc == 0) {
		rc = rlog_open(&n->log, disk_io_disk(n->disk), &lc, &n->loaded, err);
		if (rc == PK_ESTATE) /* not damage: it must not be set aside */
			err->code = PK_EFOREIGN;
	}
	if (rc != 0)
		return pk_err_wrap(err, "open the log in %s", log_dir);
	started(n, M_STARTUP_TXNS_LOAD_TIME, begun_us);
	pk_summary_record(server_metrics(n->server), M_STARTUP_TXNS_LOADED,
			  (int64_t)n->loaded.record_count);
	if (n->loaded.torn_tail)
		LOG_INFO("log.torn_tail", "dir=%s note=\"an unfinished last write was cut off\"",
			 log_dir);
	if (n->loaded.record_count == 0 && !n->loaded.has_manifest && state->index > 0 &&
	    !has_joining_mark(n))
		/* In a folder of its own it may be a disk that is not mounted: the votes that it
		 * holds must not come back behind a server that healed without it. */
		return pk_err_set(
			err, strcmp(cfg->log_dir, cfg->data_dir) != 0 ? PK_EFOREIGN : PK_ECORRUPT,
			"the log in %s is empty, but the state in %s holds index %" PRIu64
			": the log was lost; if it is not on a disk that only needs "
			"mounting, remove "
			"both, and this server fetches everything anew",
			log_dir, cfg->data_dir, state->index);
	return 0;
}

static int open_raft(struct node *n, struct pk_err *err)
{
	const struct store_config *cfg = n->cfg;
	struct raft_node_owner ro;
	struct raft_node_config rc_cfg = { .id = my_id(cfg),
					   .heartbeat_ms = (unsigned)cfg->heartbeat_ms,
					   .election_ms = (unsigned)cfg->election_ms,
					   .install_timeout_ms = INSTALL_TIMEOUT_MS,
					   .snapshot_log_bytes = n->budget.snapshot_log_bytes,
					   .fetch_log_bytes = n->budget.fetch_log_bytes,
					   .trailing_entries = TRAILING_ENTRIES,
					   .guard = RAFT_GUARD_ALL,
					   .mute = n->joining,
					   .term_floor = n->joining ? found_term(&n->found) : 0 };

	for (size_t i = 0; i < n->member_count; i++)
		if (n->members[i].id == rc_cfg.id)
			rc_cfg.address = n->members[i].address;
	PK_ASSERT(rc_cfg.address != NULL);
	server_raft_owner(n->server, &ro);
	int rc = raft_node_open(&n->raft, &rc_cfg, &ro, n->log, &n->loaded, n->members,
				n->joining ? 0 : n->member_count, net_now_ms(n->loop), &n->rng,
				err);
	rlog_loaded_release(&n->loaded);
	if (rc == 0) {
		server_set_raft(n->server, n->raft, n->joining);
		peers_ask(n->peers, 0);
	}
	return rc;
}

static int write_joining(const struct node *n, struct pk_err *err)
{
	char *path = joining_path(n);
	int rc = 0;
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0 || fsync(fd) != 0)
		rc = pk_err_sys(err, errno, "create %s", path);
	if (fd >= 0)
		close(fd);
	if (rc == 0)
		rc = pk_dir_sync(n->cfg->data_dir, err);
	free(path);
	return rc;
}

/* It said that this server is meant to be new: once. */
static void drop_initialize(const struct node *n)
{
	char *path = pk_asprintf("%s/initialize", n->cfg->data_dir);

	if (n->cfg->has_initialize && unlink(path) != 0 && errno != ENOENT)
		LOG_WARN("node.initialize", "path=%s error=\"%s\" note=\"remove it\"", path,
			 strerror(errno));
	free(path);
}

static void tell_what_is_awaited(const struct node *n)
{
	if (n->found.data)
		LOG_WARN(
			"node.ask",
			"terms=%zu needed=%zu note=\"there is a cluster; before this server joins "
			"it, so many of the others must have told their term: start those that are "
			"down; if they are lost for good, see paddock-store recover\"",
			found_terms_known(&n->found), found_terms_needed(&n->found));
	else
		LOG_INFO("node.ask",
			 "new=%zu voters=%zu note=\"this server holds nothing, and waits for one "
			 "that does or for a majority as new as itself\"",
			 found_fresh(&n->found), n->found.voter_count);
}

/* A server that holds nothing asks the others first (store/found.h). */
static void probe_step(struct node *n)
{
	struct pk_err err = PK_ERR_INIT;
	int rc = 0;

	if (n->raft != NULL)
		return;
	switch (found_verdict(&n->found)) {
	case FOUND_WAIT:
		return;
	case FOUND_JOIN:
		n->joining = true;
		rc = write_joining(n, &err);
		LOG_INFO("node.join",
			 "term=%" PRIu64 " note=\"others have data: this server follows, and votes "
			 "once it has caught up\"",
			 found_term(&n->found));
		break;
	case FOUND_NEW:
		LOG_INFO("node.found", "voters=%zu new=%zu note=\"a new cluster begins\"",
			 n->found.voter_count, found_fresh(&n->found));
		break;
	}
	if (rc == 0)
		rc = open_raft(n, &err);
	if (rc != 0)
		owner_fatal(n, &err);
	else
		drop_initialize(n);
}

static int start_raft(struct node *n, const char *log_dir, struct pk_err *err)
{
	int rc = open_log(n, log_dir, err);

	n->joining = rc == 0 && has_joining_mark(n);
	if (rc != 0)
		return rc;
	bool no_members = n->loaded.record_count == 0 && !n->loaded.has_manifest;
	/* found or join: probe_step, once they answer; or it was killed when it had begun to join
	 * and knew no more than a term, and can answer only who it knows */
	if (n->cfg->distributed && no_members)
		know_members(n);
	if (!n->cfg->distributed || !no_members || n->loaded.term != 0)
		return open_raft(n, err);
	uint64_t life = 0;
	while (rc == 0 && life == 0)
		rc = pk_random_secret(&life, sizeof(life), err);
	if (rc != 0)
		return rc;
	found_init(&n->found, my_id(n->cfg), life, n->members, n->member_count,
		   may_found(n) ? n->members_hash : 0, n->joining);
	peers_ask(n->peers, life);
	probe_step(n); /* alone in its list, it waits for nobody */
	return 0;
}

static void on_word(void *owner, struct client *c, enum zk_word word, struct pk_bytes mask,
		    struct pk_buf *out)
{
	struct node *n = owner;

	now(n);
	commands_word(n->commands, c, word, mask, out);
}

static int32_t on_sasl(void *owner, void **slot, struct pk_bytes token, struct pk_buf *out,
		       bool *out_null, struct server_auth_result *result)
{
	struct node *n = owner;

	return sasl_step(n->sasl, slot, token, out, out_null, result);
}

static int start_clients(struct node *n, struct pk_err *err)
{
	const struct store_config *cfg = n->cfg;
	/* in the order of the option's row */
	static const char *const algs[] = { "SHA1",     "SHA1",     "SHA1",     "SHA224",
					    "SHA256",   "SHA384",   "SHA512",   "SHA3-224",
					    "SHA3-256", "SHA3-384", "SHA3-512", "MD5" };
	struct clients_config cc = { .conns_max = (size_t)cfg->conns_max,
				     .conns_per_address_max = (size_t)cfg->conns_per_address_max,
				     .frame_bytes_max = (size_t)cfg->jute_maxbuffer,
				     .handshake_timeout_ms = cfg->sessionless_timeout_ms,
				     .sniff_timeout_ms = cfg->ssl_handshake_ms,
				     .handshakes_max = cfg->tls_handshakes_max > 0
							       ? (size_t)cfg->tls_handshakes_max
							       : 0,
				     .x509_super = cfg->x509_super_user,
				     .word = on_word,
				     .sasl = n->sasl != NULL ? on_sasl : NULL,
				     .sasl_free = sasl_step_free,
				     .super_digest = cfg->super_digest,
				     .digest_alg = algs[0],
				     .digest_disabled = !cfg->digest_auth,
				     .owner = n };
	int rc = 0;

	PK_ASSERT(cfg->digest_alg >= 0 && cfg->digest_alg < (int)PK_COUNT(algs));
	cc.digest_alg = algs[cfg->digest_alg];
	n->clients = clients_new(n->loop, &cc);
	clients_set_server(n->clients, n->server);
	if (cfg->client_tls.cert != NULL) {
		struct net_tls_opts opts = {
			.server = true,
			.cert_file = cfg->client_tls.cert,
			.key_file = cfg->client_tls.cert_key,
			.cert_type = (enum net_store_type)cfg->client_tls.cert_type,
			.key_password = cfg->client_tls.cert_password,
			.trust_file = cfg->client_tls.trust,
			.trust_type = (enum net_store_type)cfg->client_tls.trust_type,
			.trust_password = cfg->client_tls.trust_password,
			.crl_file = cfg->client_tls.crl_file,
			.client_auth = (enum net_client_auth)cfg->ssl_client_auth,
			.protocols = cfg->client_tls.protocols,
			.ciphers = cfg->client_tls.ciphers
		};
		n->client_tls = net_tls_new(&opts, err);
		if (n->client_tls == NULL)
			return pk_err_wrap(err, "certificates for clients");
	}
	if (cfg->client_port_effective != 0)
		rc = clients_listen(n->clients, cfg->client_host,
				    (uint16_t)cfg->client_port_effective, cfg->listen_backlog,
				    cfg->client_port_unified ? n->client_tls : NULL,
				    cfg->client_port_unified, err);
	if (rc == 0 && cfg->secure_client_port != 0)
		rc = clients_listen(n->clients, cfg->secure_client_host,
				    (uint16_t)cfg->secure_client_port, cfg->listen_backlog,
				    n->client_tls, false, err);
	return rc;
}

static int start_commands(struct node *n, struct pk_err *err)
{
	struct commands_config cc = { .cfg = n->cfg,
				      .loop = n->loop,
				      .server = n->server,
				      .clients = n->clients,
				      .peers = n->peers,
				      .log = n->log,
				      .disk = n->disk,
				      .cluster_id = node_cluster_id(n->cfg),
				      .id = my_id(n->cfg) };

	return commands_start(&n->commands, &cc, err);
}

static void share_memory(struct node *n)
{
	uint64_t bytes = memory_may_have("");

	n->budget = budget_of(n->cfg, bytes);
	LOG_INFO("node.memory",
		 "bytes=%" PRIu64 " commit_pages=%" PRIu64 " waiting=%" PRIu64 " log=%" PRIu64
		 " backlog=%" PRIu64 " replies=%" PRIu64,
		 bytes, n->budget.commit_pages_bytes, n->budget.waiting_bytes,
		 n->budget.snapshot_log_bytes, n->budget.backlog_bytes,
		 n->budget.reply_queues_bytes);
}

int node_start(struct node **out, struct net_loop *loop, const struct store_config *cfg,
	       struct pk_err *err)
{
	struct node *n = pk_alloc(sizeof(*n));
	char *log_dir = NULL;
	int64_t begun_us = net_now_fresh_us();
	uint64_t seed;

	n->loop = loop;
	n->cfg = cfg;
	share_memory(n);
	int rc = pk_random_secret(&seed, sizeof(seed), err);
	if (rc == 0) {
		pk_rng_seed(&n->rng, seed);
		rc = list_members(n, err);
	}
	if (rc == 0) {
		pk_damage_mark_at(cfg->heal_damage && others_suffice(n) ? cfg->data_dir : NULL,
				  HEAL_MARK);
		rc = start_dirs(n, &log_dir, err);
	}
	if (rc == 0)
		rc = applier_start(&n->applier, loop, on_committed, n, err);
	if (rc == 0)
		rc = start_server(n, err);
	if (rc == 0)
		started(n, M_STARTUP_SNAP_LOAD_TIME, begun_us);
	if (rc == 0 && cfg->auth_sasl)
		rc = sasl_start(&n->sasl, cfg, err);
	if (rc == 0)
		list_last_known(n, HEAL_JOINING);
	if (rc == 0)
		rc = start_peers(n, err);
	if (rc == 0)
		rc = start_raft(n, log_dir, err);
	if (rc == 0)
		rc = start_clients(n, err);
	if (rc == 0)
		rc = start_commands(n, err);
	free(log_dir);
	if (rc != 0) {
		node_free(n);
		return rc;
	}
	started(n, M_DBINITTIME, begun_us);
	n->turn = net_loop_on_turn(loop, on_turn, n);
	n->tick = net_timer_new(loop, on_tick, n);
	int64_t tick_ms = cfg->heartbeat_ms / 2 > 0 ? cfg->heartbeat_ms / 2 : 1;
	net_timer_start(n->tick, 0, tick_ms);
	const struct tree_meta *m = tree_meta(server_tree(n->server));
	const struct heal_dirs dirs = heal_dirs(cfg);
	struct heal_record last;
	heal_last(&dirs, &last);
	pk_gauge_set(server_metrics(n->server), M_PADDOCK_HEALS, (double)last.count);
	pk_gauge_set(server_metrics(n->server), M_PADDOCK_HEAL_TIME, (double)last.time_s);
	LOG_INFO("node.start",
		 "id=%" PRIu64 " version=%s clientPort=%u zxid=%#" PRIx64 " nodes=%" PRIu64
		 " index=%" PRIu64,
		 my_id(cfg), PADDOCK_VERSION, clients_port(n->clients, 0), m->zxid, m->nodes,
		 m->index);
	*out = n;
	return 0;
}

/* ---- damage ---- */

static int may_heal(const struct node *n, struct pk_err *err)
{
	const struct store_config *cfg = n->cfg;
	const struct heal_dirs d = heal_dirs(cfg);
	struct heal_record last;

	heal_last(&d, &last);
	int64_t since_s = (int64_t)time(NULL) - last.time_s; /* below 0: the clock was set back */
	if (!cfg->heal_damage)
		return pk_err_set(err, PK_EFOREIGN, "paddock.healDamage is false");
	if (!cfg->distributed || !others_suffice(n))
		return pk_err_set(
			err, PK_EFOREIGN,
			"the other servers that vote are no majority without this one, so they "
			"cannot bring it up to date");
	if (last.time_s != 0 && since_s >= 0 && since_s < cfg->heal_interval_ms / 1000)
		return pk_err_set(err, PK_EFOREIGN,
				  "it set damaged data aside %" PRId64
				  " s ago (%.200s), and paddock.healIntervalMs=%" PRId64
				  " has not passed: look at its disk",
				  since_s, last.why, cfg->heal_interval_ms);
	if (heal_ours(&d, node_cluster_id(cfg), my_id(cfg), err) != 0)
		return err->code = PK_EFOREIGN;
	return 0;
}

static void set_aside(struct node *n)
{
	const struct heal_dirs d = heal_dirs(n->cfg);
	struct pk_err err = PK_ERR_INIT;
	struct heal_record r;

	if (heal_aside(&d, (int64_t)time(NULL), n->damage.text, &r, &err) != 0) {
		LOG_ERROR("damage.aside", "error=\"%s\"", err.text);
		_exit(NODE_EXIT_START);
	}
	tell_aside(n->cfg, &r);
	net_timer_stop(n->tick);
	n->healed(n->healed_owner);
}

static void on_ask_tick(void *owner)
{
	struct node *n = owner;

	peers_tick(n->peers);
	if (found_verdict(&n->found) == FOUND_JOIN) {
		set_aside(n);
		return;
	}
	if (net_now_ms(n->loop) < n->tell_ms)
		return;
	n->tell_ms = net_now_ms(n->loop) + ASK_TELL_MS;
	LOG_WARN(
		"damage.ask",
		"terms=%zu needed=%zu error=\"%s\" note=\"damaged data stays where it is, and this "
		"server does not serve, until so many of the others have told their term: start "
		"those that are down; if they are lost or damaged as well, see paddock-store "
		"recover\"",
		found_terms_known(&n->found), found_terms_needed(&n->found), n->damage.text);
}

int node_ask(struct node **out, struct net_loop *loop, const struct store_config *cfg,
	     const char *damage, net_call_f *healed, void *owner, struct pk_err *err)
{
	struct node *n = pk_alloc(sizeof(*n));
	uint64_t life = 0;

	n->loop = loop;
	n->cfg = cfg;
	n->healed = healed;
	n->healed_owner = owner;
	n->joining = true;
	pk_ignore(pk_err_set(&n->damage, PK_ECORRUPT, "%s", damage), "kept for what is told");
	int rc = list_members(n, err);
	if (rc == 0) {
		list_last_known(n, MEMBERS_FILE);
		rc = may_heal(n, err);
	}
	while (rc == 0 && life == 0)
		rc = pk_random_secret(&life, sizeof(life), err);
	if (rc == 0)
		rc = start_peers(n, err);
	if (rc != 0) {
		node_free(n);
		return rc;
	}
	/* As one that holds nothing and began to join: with that it can never found a cluster. */
	found_init(&n->found, my_id(cfg), life, n->members, n->member_count, 0, true);
	know_members(n);
	peers_ask(n->peers, life);
	n->tick = net_timer_new(loop, on_ask_tick, n);
	int64_t tick_ms = cfg->heartbeat_ms / 2 > 0 ? cfg->heartbeat_ms / 2 : 1;
	net_timer_start(n->tick, 0, tick_ms);
	n->tell_ms = net_now_ms(loop) + ASK_TELL_MS / 5;
	*out = n;
	return 0;
}

void node_stop(struct node *n, net_call_f *stopped, void *owner)
{
	if (n->stopping)
		return;
	if (n->healed != NULL) {
		n->stopping = true;
		net_timer_stop(n->tick);
		stopped(owner);
		return;
	}
	LOG_INFO("node.stop", "clients=%zu", clients_count(n->clients));
	n->stopping = true;
	n->stopped = stopped;
	n->stopped_owner = owner;
	n->stop_by_ms = net_now_ms(n->loop) + n->cfg->drain_timeout_ms;
	clients_stop_listening(n->clients);
	pk_ignore(server_drain(n->server), "stop_step asks again");
}

void node_reload(struct node *n)
{
	struct net_tls *all[] = { n->client_tls, n->peer_tls_server, n->peer_tls_client };
	struct pk_err err = PK_ERR_INIT;

	for (size_t i = 0; i < PK_COUNT(all); i++)
		if (all[i] != NULL && net_tls_reload(all[i], &err) != 0)
			LOG_ERROR("tls.reload",
				  "error=\"%s\" note=\"the certificates in use stay\"", err.text);
	LOG_INFO("node.reload", "done=1");
}

static void on_raft_closed(void *owner)
{
	struct node *n = owner;

	n->raft = NULL;
}

void node_free(struct node *n)
{
	if (n == NULL)
		return;
	n->stopping = true;
	net_timer_free(n->tick);
	net_hook_free(n->turn);
	commands_free(n->commands);
	peers_free(n->peers);
	disk_io_close(n->disk);
	if (n->raft != NULL)
		raft_node_close(n->raft, on_raft_closed, n);
	rlog_loaded_release(&n->loaded);
	if (n->log != NULL)
		rlog_close(n->log);
	clients_free(n->clients);
	applier_stop(n->applier);
	server_close(n->server);
	sasl_free(n->sasl);
	if (n->kv != NULL)
		kv_close(n->kv);
	state_dir_close(n->states);
	net_tls_free(n->client_tls);
	net_tls_free(n->peer_tls_server);
	net_tls_free(n->peer_tls_client);
	free(n);
}
