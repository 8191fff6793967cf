#include "store/metrics_io.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uthash.h>

#include "base/log.h"
#include "store/commands_int.h"
#include "store/metrics.h"

#define QUOTA_PATH "/zookeeper/quota/"
#define STALL_MS   10 /* no turn of the loop should take longer */

static double open_files(void)
{
	DIR *d = opendir("/proc/self/fd");
	double count = -3; /* ".", ".." and this one */

	if (d == NULL)
		return -1;
	while (readdir(d) != NULL)
		count++;
	pk_ignore(closedir(d), "only read");
	return count;
}

static double resident_bytes(void)
{
	unsigned long long size = 0, resident = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (f == NULL)
		return 0;
	if (fscanf(f, "%llu %llu", &size, &resident) != 2)
		resident = 0;
	pk_ignore(fclose(f), "only read");
	return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

/* A counter whose total is kept elsewhere: the registry gets what is new, and may be reset. */
static void catch_up(struct commands *c, struct pk_metrics *m, enum store_metric id, uint64_t total)
{
	if (total > c->seen[id])
		pk_counter_add(m, id, (int64_t)(total - c->seen[id]));
	c->seen[id] = total;
}

/* Of the leader alone: other servers do not show these. */
static void gather_leader(struct commands *c, struct pk_metrics *m, const struct server_stats *s)
{
	static const enum store_metric mine[] = {
		M_LEARNERS,          M_SYNCED_FOLLOWERS,  M_SYNCED_NON_VOTING_FOLLOWERS,
		M_PENDING_SYNCS,     M_LEADER_UPTIME,     M_LAST_PROPOSAL_SIZE,
		M_MAX_PROPOSAL_SIZE, M_MIN_PROPOSAL_SIZE, M_SYNCED_OBSERVERS,
	};
	struct raft_node *raft = server_raft(c->cfg.server);
	struct raft_member members[RAFT_NODE_MEMBERS_MAX];
	double learners = 0, followers = 0, spares = 0, observers = 0;

	if (!c->cfg.cfg->distributed || s->role != RAFT_NODE_LEADER) {
		for (size_t i = 0; i < PK_COUNT(mine); i++)
			pk_gauge_hide(m, mine[i]);
		return;
	}
	size_t count = raft_node_members(raft, members, PK_COUNT(members));
	for (size_t i = 0; i < count; i++) {
		uint64_t match = 0;
		bool recent = false;

		if (members[i].id == c->cfg.id)
			continue;
		learners += peers_connected(c->cfg.peers, members[i].id);
		if (!raft_node_progress(raft, members[i].id, &match, &recent) || !recent)
			continue;
		if (members[i].role == RAFT_NODE_VOTER)
			followers++;
		else if (members[i].role == RAFT_NODE_STANDBY)
			observers++;
		else
			spares++;
	}
	pk_gauge_set(m, M_LEARNERS, learners);
	pk_gauge_set(m, M_SYNCED_FOLLOWERS, followers);
	pk_gauge_set(m, M_SYNCED_NON_VOTING_FOLLOWERS, spares);
	pk_gauge_set(m, M_SYNCED_OBSERVERS, observers);
	pk_gauge_set(m, M_PENDING_SYNCS, (double)s->pending_syncs);
	pk_gauge_set(m, M_LEADER_UPTIME,
		     s->leading_since_ms > 0
			     ? (double)(net_now_ms(c->cfg.loop) - s->leading_since_ms)
			     : 0);
	pk_gauge_set(m, M_LAST_PROPOSAL_SIZE, (double)s->proposal_last);
	pk_gauge_set(m, M_MAX_PROPOSAL_SIZE, (double)s->proposal_max);
	pk_gauge_set(m, M_MIN_PROPOSAL_SIZE, (double)s->proposal_min);
}

static void gather_group(struct commands *c, struct pk_metrics *m, const struct server_stats *s)
{
	struct raft_node *raft = server_raft(c->cfg.server);
	struct raft_member members[RAFT_NODE_MEMBERS_MAX];
	size_t voters = 0, count;

	if (raft == NULL) /* it asks the others whether there is a group to join */
		return;
	count = raft_node_members(raft, members, PK_COUNT(members));
	for (size_t i = 0; i < count; i++)
		voters += members[i].role == RAFT_NODE_VOTER;
	if (c->cfg.cfg->distributed)
		pk_gauge_set(m, M_QUORUM_SIZE, (double)voters);
	pk_gauge_clear_keys(m, M_PADDOCK_PEER_QUEUE_BYTES);
	for (size_t i = 0; i < count; i++) {
		char id[24];

		if (members[i].id == c->cfg.id)
			continue;
		snprintf(id, sizeof(id), "%" PRIu64, members[i].id);
		pk_gauge_set_key(m, M_PADDOCK_PEER_QUEUE_BYTES, pk_bytes_str(id),
				 (double)peers_queued_bytes(c->cfg.peers, members[i].id));
	}
	pk_gauge_set(m, M_PADDOCK_TERM, (double)s->term);
	pk_gauge_set(m, M_PADDOCK_COMMIT_INDEX, (double)raft_node_commit_index(raft));
	gather_leader(c, m, s);
}

/* ---- quotas: as QuotaMetricsUtils, summed up for each top-level node ---- */

struct quota {
	UT_hash_handle hh;
	double count_limit, bytes_limit, count_usage, bytes_usage;
	size_t name_len;
	char name[];
};

struct quotas {
	struct commands *c;
	struct quota *all;
	struct pk_buf data;
};

/* The number behind `name` in "count=5,bytes=-1;byteHardLimit=10"; -1 when there is none. */
static double quota_number(const char *text, const char *name)
{
	size_t len = strlen(name);

	for (const char *at = text; (at = strstr(at, name)) != NULL; at += len)
		if ((at == text || at[-1] == ',' || at[-1] == ';') && at[len] == '=')
			return strtod(at + len + 1, NULL);
	return -1;
}

static bool ends_with(struct pk_bytes path, const char *end)
{
	size_t len = strlen(end);

	return path.len >= len && memcmp(path.data + path.len - len, end, len) == 0;
}

static void one_quota(void *arg, struct pk_bytes path)
{
	struct quotas *q = arg;
	const size_t prefix = strlen(QUOTA_PATH);
	bool limits = ends_with(path, "/zookeeper_limits");
	struct quota *one;

	if ((!limits && !ends_with(path, "/zookeeper_stats")) || path.len <= prefix + 1)
		return;
	struct pk_bytes name = pk_bytes(path.data + prefix, path.len - prefix);
	const uint8_t *end = memchr(name.data, '/', name.len);
	if (end == NULL || end == name.data) /* of the root: it has no name */
		return;
	char *text = pk_strndup((const char *)path.data, path.len);
	name.len = (size_t)(end - name.data);
	pk_buf_clear(&q->data);
	bool found = command_node_data(q->c, text, &q->data);
	free(text);
	if (!found)
		return;
	HASH_FIND(hh, q->all, name.data, name.len, one);
	if (one == NULL) {
		one = pk_alloc(sizeof(*one) + name.len);
		one->name_len = name.len;
		memcpy(one->name, name.data, name.len);
		HASH_ADD_KEYPTR(hh, q->all, one->name, one->name_len, one);
	}
	const char *data = pk_buf_str(&q->data);
	double count = quota_number(data, "count"), bytes = quota_number(data, "bytes");
	if (limits) {
		double count_hard = quota_number(data, "countHardLimit");
		double bytes_hard = quota_number(data, "byteHardLimit");

		one->count_limit += count_hard > -1 ? count_hard : count;
		one->bytes_limit += bytes_hard > -1 ? bytes_hard : bytes;
	} else {
		one->count_usage += count;
		one->bytes_usage += bytes;
	}
}

static void gather_quotas(struct commands *c, struct pk_metrics *m)
{
	struct quotas q = { .c = c };
	struct quota *one, *next;

	pk_gauge_clear_keys(m, M_QUOTA_COUNT_LIMIT_PER_NAMESPACE);
	pk_gauge_clear_keys(m, M_QUOTA_BYTES_LIMIT_PER_NAMESPACE);
	pk_gauge_clear_keys(m, M_QUOTA_COUNT_USAGE_PER_NAMESPACE);
	pk_gauge_clear_keys(m, M_QUOTA_BYTES_USAGE_PER_NAMESPACE);
	if (server_tree(c->cfg.server) == NULL)
		return;
	tree_walk(server_tree(c->cfg.server), pk_bytes_str("/zookeeper/quota"), one_quota, &q);
	HASH_ITER (hh, q.all, one, next) {
		struct pk_bytes name = pk_bytes(one->name, one->name_len);

		pk_gauge_set_key(m, M_QUOTA_COUNT_LIMIT_PER_NAMESPACE, name, one->count_limit);
		pk_gauge_set_key(m, M_QUOTA_BYTES_LIMIT_PER_NAMESPACE, name, one->bytes_limit);
		pk_gauge_set_key(m, M_QUOTA_COUNT_USAGE_PER_NAMESPACE, name, one->count_usage);
		pk_gauge_set_key(m, M_QUOTA_BYTES_USAGE_PER_NAMESPACE, name, one->bytes_usage);
		HASH_DELETE(hh, q.all, one);
		free(one);
	}
	pk_buf_release(&q.data);
}

void metrics_gather(struct commands *c)
{
	struct pk_metrics *m = server_metrics(c->cfg.server);
	const struct disk *disk = disk_io_disk(c->cfg.disk);
	struct command_figures f;
	struct clients_stats clients;
	struct rlimit files = { 0 };
	const struct server_stats *s = &f.server;

	command_figures(c, &f);
	clients_stats(c->cfg.clients, &clients);
	pk_gauge_set(m, M_AVG_LATENCY, f.latency_avg_ms);
	pk_gauge_set(m, M_MAX_LATENCY, (double)f.latency_max_ms);
	pk_gauge_set(m, M_MIN_LATENCY, (double)f.latency_min_ms);
	pk_gauge_set(m, M_PACKETS_RECEIVED, (double)f.received);
	pk_gauge_set(m, M_PACKETS_SENT, (double)f.sent);
	pk_gauge_set(m, M_NUM_ALIVE_CONNECTIONS, (double)f.connections);
	pk_gauge_set(m, M_OUTSTANDING_REQUESTS, (double)s->outstanding);
	pk_gauge_set(m, M_UPTIME, (double)f.uptime_ms);
	pk_gauge_set(m, M_ZNODE_COUNT, (double)f.node_count);
	pk_gauge_set(m, M_WATCH_COUNT, (double)s->watches);
	pk_gauge_set(m, M_EPHEMERALS_COUNT, (double)f.tree->ephemerals);
	pk_gauge_set(m, M_APPROXIMATE_DATA_SIZE, (double)f.tree->data_bytes);
	pk_gauge_set(m, M_GLOBAL_SESSIONS, (double)f.tree->sessions);
	pk_gauge_set(m, M_LOCAL_SESSIONS, (double)s->local_sessions);
	pk_gauge_set(m, M_OPEN_FILE_DESCRIPTOR_COUNT, open_files());
	if (getrlimit(RLIMIT_NOFILE, &files) == 0)
		pk_gauge_set(m, M_MAX_FILE_DESCRIPTOR_COUNT, (double)files.rlim_cur);
	pk_gauge_set(m, M_CONNECTION_DROP_PROBABILITY, 0);
	pk_gauge_set(m, M_LAST_CLIENT_RESPONSE_SIZE, (double)s->reply_last);
	pk_gauge_set(m, M_MAX_CLIENT_RESPONSE_SIZE, (double)s->reply_max);
	pk_gauge_set(m, M_MIN_CLIENT_RESPONSE_SIZE, (double)s->reply_min);
	pk_gauge_set(m, M_OUTSTANDING_TLS_HANDSHAKE, (double)clients.handshaking);
	pk_gauge_set(m, M_AUTH_FAILED_COUNT, (double)s->auth_failures);
	pk_gauge_set(m, M_NON_MTLS_REMOTE_CONN_COUNT, (double)s->no_cert_remote);
	pk_gauge_set(m, M_NON_MTLS_LOCAL_CONN_COUNT, (double)s->no_cert_local);
	catch_up(c, m, M_CONNECTION_REJECTED, clients.refused_limit);
	catch_up(c, m, M_UNSUCCESSFUL_HANDSHAKE, clients.handshakes_failed);
	catch_up(c, m, M_SNAP_COUNT, s->state_transfers_out);

	pk_gauge_set(m, M_PADDOCK_DISK_FREE_BYTES, (double)disk->free_bytes(disk->impl));
	pk_gauge_set(m, M_PADDOCK_LOG_BYTES, (double)rlog_bytes(c->cfg.log));
	pk_gauge_set(m, M_PADDOCK_OVERLAY_BYTES, (double)s->overlay_bytes);
	pk_gauge_set(m, M_PADDOCK_STATE_BYTES, (double)s->state_bytes);
	pk_gauge_set(m, M_PADDOCK_DURABLE_INDEX, (double)s->durable_index);
	pk_gauge_set(m, M_PADDOCK_LEADER_ID, (double)s->leader_id);
	pk_gauge_set(m, M_PADDOCK_SERVING, s->serving);
	pk_gauge_set(m, M_PADDOCK_WRITES_REFUSED, s->write_refused);
	catch_up(c, m, M_PADDOCK_SLOW_READERS_CLOSED, s->slow_readers_closed);
	catch_up(c, m, M_PADDOCK_BAD_FRAMES, s->bad_frames + clients.bad_frames);
	catch_up(c, m, M_PADDOCK_STATE_COMMITS, s->commits);
	catch_up(c, m, M_PADDOCK_STATE_TRANSFERS_IN, s->state_transfers_in);
	catch_up(c, m, M_PADDOCK_STATE_TRANSFERS_OUT, s->state_transfers_out);
	catch_up(c, m, M_PADDOCK_CONNECTIONS_LOST_LEADER, s->connections_lost_leader);
	pk_gauge_set(m, M_PADDOCK_APPLIED_INDEX, (double)f.tree->index);
	pk_gauge_set(m, M_PADDOCK_RESIDENT_BYTES, resident_bytes());
	gather_group(c, m, s);
	gather_quotas(c, m);
}

void metrics_measure(struct commands *c)
{
	struct pk_metrics *m = server_metrics(c->cfg.server);
	int64_t us[DISK_IO_TIMES], stall_ms = net_loop_stall_max_us(c->cfg.loop) / 1000;
	size_t count = disk_io_times(c->cfg.disk, us);

	for (size_t i = 0; i < count; i++) {
		pk_summary_record(m, M_FSYNCTIME, us[i] / 1000);
		pk_summary_record(m, M_PADDOCK_LOG_SYNC_US, us[i]);
		pk_summary_record(m, M_SYNC_PROCESSOR_QUEUE_FLUSH_TIME_MS, us[i] / 1000);
		if (us[i] / 1000 <= c->cfg.cfg->fsync_warn_ms)
			continue;
		c->slow_syncs++;
		LOG_WARN("log.sync_slow", "took_ms=%" PRId64, us[i] / 1000);
	}
	if (stall_ms >= STALL_MS) {
		pk_summary_record(m, M_PADDOCK_LOOP_STALL_MS, stall_ms);
		pk_summary_record(m, M_JVM_PAUSE_TIME_MS, stall_ms);
	}
}

uint64_t metrics_slow_syncs(const struct commands *c)
{
	return c->slow_syncs;
}
