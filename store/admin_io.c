#include "store/admin_io.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "base/log.h"
#include "net/http.h"
#include "store/commands_int.h"
#include "store/metrics.h"
#include "store/metrics_io.h"
#include "store/session.h"

#define JSON_TYPE    "application/json"
#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

struct run {
	struct commands *c;
	struct net_http_req *req;
	json_t *out; /* fields in the order in which they are shown */
};

/* ---- JSON ---- */

static void put(json_t *object, const char *key, json_t *value)
{
	pk_ignore(json_object_set_new_nocheck(object, key, value), "fails only without memory");
}

static void add(json_t *array, json_t *value)
{
	pk_ignore(json_array_append_new(array, value), "fails only without memory");
}

static json_t *text(const char *s)
{
	return json_string(s);
}

static json_t *integer(uint64_t v)
{
	return json_integer((json_int_t)v);
}

/* A path: clients may have put bytes into it that are no UTF-8. */
static json_t *bytes_text(struct pk_bytes b)
{
	json_t *v = json_stringn((const char *)b.data, b.len);

	if (v == NULL) {
		char *safe = pk_alloc(b.len + 1);

		for (size_t i = 0; i < b.len; i++)
			safe[i] = b.data[i] < 0x80 ? (char)b.data[i] : '?';
		v = json_string(safe);
		free(safe);
	}
	return v;
}

static json_t *session_key_array(json_t *object, uint64_t id)
{
	char key[24];

	snprintf(key, sizeof(key), "%" PRId64, (int64_t)id);
	json_t *list = json_object_get(object, key);
	if (list == NULL) {
		list = json_array();
		put(object, key, list);
	}
	return list;
}

static bool too_many(struct run *r, const char *what, uint64_t count)
{
	char line[128];

	if (count <= ADMIN_ITEMS_MAX)
		return false;
	snprintf(line, sizeof(line), "too many %s to list: %" PRIu64, what, count);
	put(r->out, "error", text(line));
	return true;
}

/* ---- connections ---- */

struct conn_lists {
	json_t *plain, *secure;
	bool brief;
};

static void add_conn(void *arg, const struct command_conn *one)
{
	struct conn_lists *lists = arg;
	const struct conn_stats *s = &one->stats;
	json_t *o = json_object();

	put(o, "remote_socket_address", text(one->address));
	put(o, "interest_ops", integer(one->interest));
	put(o, "outstanding_requests", integer(s->queued));
	put(o, "packets_received", integer(s->received));
	put(o, "packets_sent", integer(s->sent));
	if (!lists->brief) {
		put(o, "session_id", integer(s->session_id));
		put(o, "last_operation", text(command_op_name(s->last_op)));
		put(o, "established", json_integer(s->established_wall_ms));
		put(o, "session_timeout", json_integer(s->timeout_ms));
		put(o, "last_cxid", json_integer(s->last_xid));
		put(o, "last_zxid", integer(s->last_zxid));
		put(o, "last_response_time", json_integer(s->last_response_ms));
		put(o, "last_latency", json_integer(s->last_latency_us / 1000));
		put(o, "min_latency", json_integer(s->min_latency_us / 1000));
		put(o, "avg_latency", json_integer(one->latency_avg_ms));
		put(o, "max_latency", json_integer(s->max_latency_us / 1000));
	}
	add(s->secure ? lists->secure : lists->plain, o);
}

static void put_connections(struct run *r, bool brief)
{
	struct conn_lists lists = { .brief = brief };

	if (too_many(r, "connections", clients_count(r->c->cfg.clients)))
		return;
	lists.plain = json_array();
	lists.secure = json_array();
	command_conns(r->c, add_conn, &lists);
	put(r->out, "connections", lists.plain);
	put(r->out, "secure_connections", lists.secure);
}

static void run_connections(struct run *r)
{
	put_connections(r, false);
}

static void run_connection_stat_reset(struct run *r)
{
	command_reset_conns(r->c);
}

static void run_stat_reset(struct run *r)
{
	command_reset_stats(r->c);
}

/* ---- the server ---- */

static json_t *sizes(int64_t last, int64_t least, int64_t most)
{
	json_t *o = json_object();

	put(o, "last_buffer_size", json_integer(last));
	put(o, "min_buffer_size", json_integer(least));
	put(o, "max_buffer_size", json_integer(most));
	return o;
}

static void run_server_stats(struct run *r)
{
	struct command_figures f;
	char *log_dir = command_log_dir(r->c);
	json_t *o = json_object();

	command_figures(r->c, &f);
	put(r->out, "version", text(r->c->version));
	put(r->out, "read_only", json_boolean(f.read_only));
	put(o, "packets_sent", integer(f.sent));
	put(o, "packets_received", integer(f.received));
	put(o, "fsync_threshold_exceed_count", integer(metrics_slow_syncs(r->c)));
	put(o, "client_response_stats",
	    sizes(f.server.reply_last, f.server.reply_min, f.server.reply_max));
	put(o, "data_dir_size", integer(command_dir_bytes(r->c->cfg.cfg->data_dir)));
	put(o, "log_dir_size", integer(command_dir_bytes(log_dir)));
	put(o, "last_processed_zxid", integer(f.tree->zxid));
	put(o, "outstanding_requests", integer(f.server.outstanding));
	put(o, "server_state", text(f.mode));
	put(o, "avg_latency", json_real(f.latency_avg_ms));
	put(o, "max_latency", json_integer(f.latency_max_ms));
	put(o, "min_latency", json_integer(f.latency_min_ms));
	put(o, "num_alive_client_connections", integer(f.connections));
	put(o, "provider_null", json_false());
	put(o, "uptime", json_integer(f.uptime_ms));
	put(o, "auth_failed_count", integer(f.server.auth_failures));
	put(o, "non_mtlsremote_conn_count", json_integer(0));
	put(o, "non_mtlslocal_conn_count", json_integer(0));
	put(r->out, "server_stats", o);
	put(r->out, "client_response",
	    sizes(f.server.reply_last, f.server.reply_min, f.server.reply_max));
	if (strcmp(f.mode, "leader") == 0)
		put(r->out, "proposal_stats",
		    sizes(f.server.proposal_last, f.server.proposal_min, f.server.proposal_max));
	put(r->out, "node_count", integer(f.node_count));
	free(log_dir);
}

static void run_stats(struct run *r)
{
	run_server_stats(r);
	put_connections(r, true);
}

static void run_configuration(struct run *r)
{
	const struct store_config *cfg = r->c->cfg.cfg;
	char *log_dir = command_log_dir(r->c);

	put(r->out, "client_port",
	    json_integer(cfg->client_port_effective != 0 ? cfg->client_port_effective : -1));
	put(r->out, "data_dir", text(cfg->data_dir));
	put(r->out, "data_log_dir", text(log_dir));
	put(r->out, "tick_time", json_integer(cfg->tick_ms));
	put(r->out, "max_client_cnxns", json_integer(cfg->conns_per_address_max));
	put(r->out, "min_session_timeout", json_integer(command_session_min_ms(r->c)));
	put(r->out, "max_session_timeout", json_integer(command_session_max_ms(r->c)));
	put(r->out, "server_id", json_integer(cfg->my_id));
	put(r->out, "client_port_listen_backlog", json_integer(cfg->listen_backlog));
	free(log_dir);
}

static void run_initial_configuration(struct run *r)
{
	const struct store_config *cfg = r->c->cfg.cfg;

	/* Only a server alone tells it, in ZooKeeper as here. */
	put(r->out, "initial_configuration",
	    cfg->distributed || cfg->text == NULL ? json_null()
						  : bytes_text(pk_bytes_str(cfg->text)));
}

static void run_dirs(struct run *r)
{
	char *log_dir = command_log_dir(r->c);

	put(r->out, "datadir_size", integer(command_dir_bytes(r->c->cfg.cfg->data_dir)));
	put(r->out, "logdir_size", integer(command_dir_bytes(log_dir)));
	free(log_dir);
}

static void put_property(void *arg, const char *name, const char *value)
{
	put(arg, name, bytes_text(pk_bytes_str(value)));
}

static void run_environment(struct run *r)
{
	command_environment(r->c, put_property, r->out);
}

/* There are no Java properties: the settings of the configuration take their place, under the names
 * they would have there. Secrets are not shown. */
static void run_system_properties(struct run *r)
{
	struct pk_buf value = PK_BUF_INIT;

	command_environment(r->c, put_property, r->out);
	for (size_t i = 0; i < store_options_count; i++) {
		const struct pk_opt *o = &store_options[i];
		char *name;

		pk_buf_clear(&value);
		pk_opt_format(o, r->c->cfg.cfg, &value);
		if (value.len == 0)
			continue;
		name = strncmp(o->name, "paddock.", 8) == 0 ? pk_strdup(o->name)
							    : pk_asprintf("zookeeper.%s", o->name);
		put(r->out, name, bytes_text(pk_buf_bytes(&value)));
		free(name);
	}
	pk_buf_release(&value);
}

static void run_is_read_only(struct run *r)
{
	struct command_figures f;

	command_figures(r->c, &f);
	put(r->out, "read_only", json_boolean(f.read_only));
}

static void run_last_snapshot(struct run *r)
{
	struct command_figures f;
	char zxid[24];

	command_figures(r->c, &f);
	snprintf(zxid, sizeof(zxid), "%" PRIx64, f.server.durable_zxid);
	put(r->out, "zxid", text(zxid));
	put(r->out, "timestamp", json_integer(f.server.durable_wall_ms / 1000));
}

static void run_ruok(struct run *r)
{
	pk_ignore(r->out != NULL, "that it answers is the answer");
}

static void run_get_trace_mask(struct run *r)
{
	put(r->out, "tracemask", json_integer(r->c->trace_mask));
}

static void run_set_trace_mask(struct run *r)
{
	const char *value = net_http_query(r->req, "traceMask");
	char line[256], *end = NULL;

	if (value == NULL) {
		put(r->out, "error", text("setTraceMask requires long traceMask argument"));
		return;
	}
	errno = 0;
	long long mask = strtoll(value, &end, 10);
	if (end == value || *end != 0 || errno != 0 || *value == ' ') {
		snprintf(line, sizeof(line),
			 "setTraceMask requires long traceMask argument, got %.150s", value);
		put(r->out, "error", bytes_text(pk_bytes_str(line)));
		return;
	}
	r->c->trace_mask = mask;
	put(r->out, "tracemask", json_integer(mask));
}

static void add_metric(void *arg, const char *name, struct pk_metric_value value)
{
	put(arg, name, value.whole ? json_integer(value.i) : json_real(value.d));
}

static void run_monitor(struct run *r)
{
	const char *peer_state = command_peer_state(r->c);
	struct command_figures f;

	command_figures(r->c, &f);
	put(r->out, "version", text(r->c->version));
	put(r->out, "server_state", text(f.mode));
	if (peer_state != NULL)
		put(r->out, "peer_state", text(peer_state));
	if (r->c->cfg.cfg->metrics_provider == STORE_METRICS_NULL)
		return;
	metrics_gather(r->c);
	pk_metrics_each(server_metrics(r->c->cfg.server), add_metric, r->out);
}

static void add_digest(void *arg, const struct server_digest *d)
{
	json_t *o = json_object();

	put(o, "zxid", integer(d->zxid));
	put(o, "digest", integer(d->digest));
	put(o, "digest_version", json_integer(2));
	add(arg, o);
}

static void run_hash(struct run *r)
{
	json_t *list = json_array();

	server_digest_each(r->c->cfg.server, add_digest, list);
	put(r->out, "digests", list);
}

/* ---- sessions and watches ---- */

static void add_expiry(void *arg, int64_t expiry_ms, uint64_t id)
{
	char key[24];

	snprintf(key, sizeof(key), "%" PRId64, expiry_ms);
	json_t *list = json_object_get(arg, key);
	if (list == NULL) {
		list = json_array();
		put(arg, key, list);
	}
	add(list, integer(id));
}

static void add_path(void *arg, struct pk_bytes path)
{
	add(arg, bytes_text(path));
}

struct ephemerals {
	struct tree *tree;
	json_t *by_session;
};

static void add_ephemerals(void *arg, const struct tree_session *s)
{
	struct ephemerals *e = arg;

	if (tree_session_ephemerals(e->tree, s->id) > 0)
		tree_session_ephemeral_each(e->tree, s->id, add_path,
					    session_key_array(e->by_session, s->id));
}

static void run_dump(struct run *r)
{
	struct server *server = r->c->cfg.server;
	struct session_clock *clock = server_session_clock(server);
	struct ephemerals e = { .tree = server_tree(server) };
	const struct tree_meta *m = tree_meta(e.tree);

	if (too_many(r, "sessions", m->sessions) || too_many(r, "ephemeral nodes", m->ephemerals))
		return;
	json_t *expiry = json_object();
	if (clock != NULL) /* the leader knows */
		session_clock_each(clock, add_expiry, expiry);
	put(r->out, "expiry_time_to_session_ids", expiry);
	e.by_session = json_object();
	tree_session_each(e.tree, add_ephemerals, &e);
	put(r->out, "session_id_to_ephemeral_paths", e.by_session);
}

static void run_watch_summary(struct run *r)
{
	struct command_watches w;

	command_watches(r->c, true, &w);
	put(r->out, "num_connections", integer(w.sessions));
	put(r->out, "num_paths", integer(w.paths));
	put(r->out, "num_total_watches", integer(w.total));
	command_watches_release(&w);
}

static void run_watches(struct run *r)
{
	struct command_watches w;

	command_watches(r->c, false, &w);
	if (!too_many(r, "watches", w.total)) {
		json_t *o = json_object();

		command_watches_by_session(&w);
		for (size_t i = 0; i < w.count; i++)
			add_path(session_key_array(o, w.all[i].session_id), w.all[i].path);
		put(r->out, "session_id_to_watched_paths", o);
	}
	command_watches_release(&w);
}

static void run_watches_by_path(struct run *r)
{
	struct command_watches w;

	command_watches(r->c, false, &w);
	if (!too_many(r, "watches", w.total)) {
		json_t *o = json_object(), *list = NULL;

		for (size_t i = 0; i < w.count; i++) {
			if (i == 0 || !pk_bytes_eq(w.all[i].path, w.all[i - 1].path)) {
				json_t *path = bytes_text(w.all[i].path);

				list = json_array();
				put(o, json_string_value(path), list);
				json_decref(path);
			}
			add(list, integer(w.all[i].session_id));
		}
		put(r->out, "path_to_session_ids", o);
	}
	command_watches_release(&w);
}

/* ---- the ensemble ---- */

static struct server_set members(struct commands *c)
{
	struct server_set set = SERVER_SET_INIT;
	struct pk_buf config = PK_BUF_INIT;
	struct pk_err err = PK_ERR_INIT;

	command_membership(c, &config);
	if (server_set_parse(&set, pk_buf_bytes(&config), &err) != 0)
		set = server_set_copy(&c->cfg.cfg->servers);
	pk_buf_release(&config);
	return set;
}

static void host_port(const char *host, unsigned port, char out[COMMAND_ADDRESS_BYTES])
{
	if (strchr(host, ':') != NULL)
		snprintf(out, COMMAND_ADDRESS_BYTES, "[%.120s]:%u", host, port);
	else
		snprintf(out, COMMAND_ADDRESS_BYTES, "%.120s:%u", host, port);
}

static json_t *host_port_text(const char *host, unsigned port)
{
	char address[COMMAND_ADDRESS_BYTES];

	host_port(host, port, address);
	return text(address);
}

static json_t *client_address_text(struct commands *c, const struct server_spec *s)
{
	const struct store_config *cfg = c->cfg.cfg;

	if (s->has_client)
		return host_port_text(s->client_host[0] != 0 ? s->client_host : "0.0.0.0",
				      s->client_port);
	if ((uint64_t)s->id == c->cfg.id && cfg->client_port_effective != 0)
		return host_port_text(cfg->client_host != NULL && cfg->client_host[0] != 0
					      ? cfg->client_host
					      : "0.0.0.0",
				      (unsigned)cfg->client_port_effective);
	return text("");
}

static void run_voting_view(struct run *r)
{
	json_t *o = json_object();
	struct server_set set = r->c->cfg.cfg->distributed ? members(r->c) : SERVER_SET_INIT;

	for (size_t i = 0; i < set.count; i++) {
		const struct server_spec *s = &set.all[i];
		json_t *view = json_object(), *peer = json_array(), *election = json_array();
		char key[24];

		if (s->observer) {
			json_decref(view);
			json_decref(peer);
			json_decref(election);
			continue;
		}
		for (size_t j = 0; j < s->addr_count; j++) {
			add(peer, host_port_text(s->addrs[j].host, s->addrs[j].peer_port));
			add(election, host_port_text(s->addrs[j].host, s->addrs[j].election_port));
		}
		put(view, "server_addresses", peer);
		put(view, "election_addresses", election);
		put(view, "client_address", client_address_text(r->c, s));
		put(view, "learner_type", text("participant"));
		snprintf(key, sizeof(key), "%" PRId64, s->id);
		put(o, key, view);
	}
	put(r->out, "current_config", o);
	server_set_release(&set);
}

static void run_leader(struct run *r)
{
	struct command_figures f;

	if (!r->c->cfg.cfg->distributed) {
		put(r->out, "error", text("server is not initialized"));
		return;
	}
	struct server_set set = members(r->c);
	command_figures(r->c, &f);
	const struct server_spec *s = server_set_find(&set, (int64_t)f.server.leader_id);
	put(r->out, "is_leader", json_boolean(f.server.role == RAFT_NODE_LEADER));
	put(r->out, "leader_id", integer(f.server.leader_id));
	put(r->out, "leader_ip", text(s != NULL && s->addr_count > 0 ? s->addrs[0].host : ""));
	server_set_release(&set);
}

/* What Jackson makes of ZooKeeper's MultipleAddresses: every getter. */
static json_t *addresses(const struct server_spec *s, bool election)
{
	json_t *o = json_object(), *all = json_array(), *wild = json_array(), *ports = json_array();
	json_t *hosts = json_array();

	for (size_t i = 0; i < s->addr_count; i++) {
		const struct server_addr *a = &s->addrs[i];
		unsigned port = election ? a->election_port : a->peer_port;

		add(all, host_port_text(a->host, port));
		add(wild, host_port_text("0.0.0.0", port));
		add(ports, json_integer(port));
		add(hosts, text(a->host));
	}
	put(o, "empty", json_boolean(s->addr_count == 0));
	put(o, "all_addresses", all);
	put(o, "all_reachable_addresses", json_deep_copy(all));
	if (s->addr_count > 0) {
		put(o, "one", json_incref(json_array_get(all, 0)));
		put(o, "reachable_address", json_incref(json_array_get(all, 0)));
		put(o, "reachable_or_one", json_incref(json_array_get(all, 0)));
	}
	put(o, "wildcard_addresses", wild);
	put(o, "all_ports", ports);
	put(o, "all_host_strings", hosts);
	put(o, "all_reachable_addresses_or_all", json_deep_copy(all));
	return o;
}

static void run_zabstate(struct run *r)
{
	struct command_figures f;
	char zxid[24];

	if (!r->c->cfg.cfg->distributed || !command_running(r->c)) {
		put(r->out, "voting", json_false());
		put(r->out, "zabstate", text(""));
		return;
	}
	struct server_set set = members(r->c);
	const struct server_spec *listed = server_set_find(&set, (int64_t)r->c->cfg.id);
	const struct server_spec *s = listed != NULL ? listed : &r->c->cfg.cfg->me;
	command_figures(r->c, &f);
	snprintf(zxid, sizeof(zxid), "0x%" PRIx64, f.tree->zxid);
	put(r->out, "myid", integer(r->c->cfg.id));
	put(r->out, "is_leader", json_boolean(f.server.role == RAFT_NODE_LEADER));
	put(r->out, "quorum_address", addresses(s, false));
	put(r->out, "election_address", addresses(s, true));
	put(r->out, "client_address", client_address_text(r->c, s));
	put(r->out, "voting", json_boolean(listed != NULL && !listed->observer));
	put(r->out, "last_zxid", text(zxid));
	put(r->out, "zab_epoch", integer(f.tree->zxid >> 32));
	put(r->out, "zab_counter", integer(f.tree->zxid & UINT32_MAX));
	put(r->out, "zabstate", text(command_zab_state(r->c)));
	server_set_release(&set);
}

/* Every server knows of the observers' places; only the leader hears from them. */
static void run_observers(struct run *r)
{
	struct raft_node *raft = server_raft(r->c->cfg.server);
	struct server_set set = r->c->cfg.cfg->distributed ? members(r->c) : SERVER_SET_INIT;
	json_t *list = json_array();

	for (size_t i = 0; i < set.count && raft_node_role(raft) == RAFT_NODE_LEADER; i++) {
		const struct server_spec *s = &set.all[i];
		uint64_t match = 0;
		bool recent = false;

		if (!s->observer || !raft_node_progress(raft, (uint64_t)s->id, &match, &recent) ||
		    !recent)
			continue;
		json_t *o = json_object();
		put(o, "remote_socket_address",
		    host_port_text(s->addrs[0].host, s->addrs[0].peer_port));
		put(o, "sid", json_integer(s->id));
		put(o, "queued_packets_size",
		    integer(peers_queued_bytes(r->c->cfg.peers, (uint64_t)s->id)));
		put(o, "log_index", integer(match));
		add(list, o);
	}
	put(r->out, "synced_observers", integer(json_array_size(list)));
	put(r->out, "observers", list);
	server_set_release(&set);
}

static void run_observer_connection_stat_reset(struct run *r)
{
	pk_ignore(r->out != NULL, "nothing of an observer's connection is counted from a reset on");
}

/* ---- the table ---- */

static const struct admin_command {
	const char *names[3]; /* the first is shown */
	void (*run)(struct run *r);
	bool always; /* also while there is no leader */
} commands[] = {
	{ { "configuration", "conf", "config" }, run_configuration, false },
	{ { "connection_stat_reset", "crst" }, run_connection_stat_reset, false },
	{ { "connections", "cons" }, run_connections, false },
	{ { "dirs" }, run_dirs, false },
	{ { "dump" }, run_dump, false },
	{ { "environment", "env", "envi" }, run_environment, true },
	{ { "get_trace_mask", "gtmk" }, run_get_trace_mask, true },
	{ { "hash" }, run_hash, false },
	{ { "initial_configuration", "icfg" }, run_initial_configuration, false },
	{ { "is_read_only", "isro" }, run_is_read_only, false },
	{ { "last_snapshot", "lsnp" }, run_last_snapshot, false },
	{ { "leader", "lead" }, run_leader, false },
	{ { "monitor", "mntr" }, run_monitor, false },
	{ { "observer_connection_stat_reset", "orst" }, run_observer_connection_stat_reset, false },
	{ { "observers", "obsr" }, run_observers, false },
	{ { "ruok" }, run_ruok, false },
	{ { "server_stats", "srvr" }, run_server_stats, false },
	{ { "set_trace_mask", "stmk" }, run_set_trace_mask, true },
	{ { "stat_reset", "srst" }, run_stat_reset, false },
	{ { "stats", "stat" }, run_stats, false },
	{ { "system_properties", "sysp" }, run_system_properties, true },
	{ { "voting_view" }, run_voting_view, false },
	{ { "watch_summary", "wchs" }, run_watch_summary, false },
	{ { "watches", "wchc" }, run_watches, false },
	{ { "watches_by_path", "wchp" }, run_watches_by_path, false },
	{ { "zabstate" }, run_zabstate, true },
};

static const struct admin_command *command_find(const char *name)
{
	for (size_t i = 0; i < PK_COUNT(commands); i++)
		for (size_t j = 0; j < PK_COUNT(commands[i].names); j++)
			if (commands[i].names[j] != NULL && strcmp(commands[i].names[j], name) == 0)
				return &commands[i];
	return NULL;
}

static void reply_json(struct net_http_req *req, json_t *body)
{
	char *dump = json_dumps(body, JSON_INDENT(2));

	if (dump == NULL)
		net_http_reply(req, 500, "text/plain", pk_bytes_str("the answer is no JSON\n"));
	else
		net_http_reply(req, 200, JSON_TYPE, pk_bytes_str(dump));
	free(dump);
	json_decref(body);
}

static void reply_command(struct commands *c, struct net_http_req *req, const char *name)
{
	const struct admin_command *cmd = command_find(name);
	struct run r = { .c = c, .req = req, .out = json_object() };
	char line[256];

	if (cmd == NULL) {
		snprintf(line, sizeof(line), "Unknown command: %.200s", name);
		put(r.out, "command", bytes_text(pk_bytes_str(name)));
		put(r.out, "error", bytes_text(pk_bytes_str(line)));
	} else if (!cmd->always && !command_running(c)) {
		put(r.out, "command", text(name));
		put(r.out, "error", text(NOT_SERVING));
	} else {
		cmd->run(&r);
		put(r.out, "command", text(cmd->names[0]));
		if (json_object_get(r.out, "error") == NULL)
			put(r.out, "error", json_null());
	}
	reply_json(req, r.out);
}

static void reply_index(struct commands *c, struct net_http_req *req)
{
	struct pk_buf page = PK_BUF_INIT;

	for (size_t i = 0; i < PK_COUNT(commands); i++)
		pk_buf_printf(&page, "<a href=\"%s/%s\">%s</a>\n<br/>\n", c->cfg.cfg->admin_url,
			      commands[i].names[0], commands[i].names[0]);
	net_http_reply(req, 200, "text/html;charset=utf-8", pk_buf_bytes(&page));
	pk_buf_release(&page);
}

static void reply_metrics(struct commands *c, struct net_http_req *req)
{
	struct pk_buf page = PK_BUF_INIT;

	if (c->cfg.cfg->metrics_provider != STORE_METRICS_NULL) {
		metrics_gather(c);
		pk_metrics_prometheus(server_metrics(c->cfg.server), &page);
	}
	net_http_reply(req, 200, METRICS_TYPE, pk_buf_bytes(&page));
	pk_buf_release(&page);
}

/* ---- requests ---- */

/* true: it was refused. */
static bool refuse_method(struct net_http_req *req)
{
	const char *method = net_http_method(req);
	struct pk_err err = PK_ERR_INIT;

	if (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0)
		return false;
	pk_ignore(net_http_reply_header(req, "Allow", "GET, HEAD", &err), "it has no line break");
	net_http_reply(req, strcmp(method, "TRACE") == 0 ? 403 : 405, "text/plain",
		       pk_bytes_str("only GET and HEAD are answered\n"));
	return true;
}

static void not_found(struct net_http_req *req)
{
	net_http_reply(req, 404, "text/plain", pk_bytes_str("there is nothing here\n"));
}

static void on_admin(void *owner, struct net_http_req *req)
{
	struct commands *c = owner;
	const char *url = c->cfg.cfg->admin_url, *path = net_http_path(req);
	size_t len = strlen(url);

	while (len > 0 && url[len - 1] == '/')
		len--;
	if (refuse_method(req))
		return;
	server_now(c->cfg.server, net_now_ms(c->cfg.loop), net_wall_ms());
	if (strncmp(path, url, len) == 0 && (path[len] == 0 || strcmp(path + len, "/") == 0))
		reply_index(c, req);
	else if (strncmp(path, url, len) == 0 && path[len] == '/')
		reply_command(c, req, path + len + 1);
	else if (strcmp(path, "/metrics") == 0)
		reply_metrics(c, req);
	else
		not_found(req);
}

static void on_prometheus(void *owner, struct net_http_req *req)
{
	struct commands *c = owner;

	if (refuse_method(req))
		return;
	server_now(c->cfg.server, net_now_ms(c->cfg.loop), net_wall_ms());
	if (strcmp(net_http_path(req), "/metrics") == 0)
		reply_metrics(c, req);
	else
		not_found(req);
}

int admin_start(struct commands *c, struct pk_err *err)
{
	const struct store_config *cfg = c->cfg.cfg;
	struct pk_err admin_err = PK_ERR_INIT;
	struct net_http_opts opts = { .host = cfg->admin_address,
				      .port = (uint16_t)cfg->admin_port,
				      .idle_timeout_s = (unsigned)(cfg->admin_idle_ms + 999) /
							1000 };

	if (cfg->admin_enabled) {
		c->admin = net_http_listen(c->cfg.loop, &opts, on_admin, c, &admin_err);
		if (c->admin == NULL)
			LOG_WARN("admin.listen",
				 "admin.serverAddress=%s admin.serverPort=%d error=\"%s\" "
				 "note=\"going on without the admin server\"",
				 cfg->admin_address, cfg->admin_port, admin_err.text);
		else
			LOG_INFO("admin.start", "port=%u url=%s", net_http_port(c->admin),
				 cfg->admin_url);
	}
	if (cfg->metrics_provider != STORE_METRICS_PROMETHEUS)
		return 0;
	opts = (struct net_http_opts){ .host = cfg->metrics_address,
				       .port = (uint16_t)cfg->metrics_port };
	c->prometheus = net_http_listen(c->cfg.loop, &opts, on_prometheus, c, err);
	if (c->prometheus == NULL)
		return pk_err_wrap(err, "metricsProvider.httpPort %d", cfg->metrics_port);
	LOG_INFO("metrics.start", "port=%u", net_http_port(c->prometheus));
	return 0;
}

void admin_stop(struct commands *c)
{
	net_http_close(c->admin);
	net_http_close(c->prometheus);
	c->admin = c->prometheus = NULL;
}
