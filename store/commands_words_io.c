/* The four-letter words, each as the class of its name in ZooKeeper's server/command prints it. */
#include <inttypes.h>

#include "store/commands_int.h"
#include "store/metrics.h"
#include "store/metrics_io.h"
#include "store/session.h"

#define WORD_SESSION "0x%" PRIx64

struct to { /* where a walk prints */
	struct commands *c;
	struct pk_buf *out;
	struct client *from;
	bool brief;
	uint64_t last_id;
	size_t count;
};

static bool full(const struct pk_buf *out)
{
	return out->len > COMMAND_BYTES_MAX;
}

/* ---- srvr, stat, cons ---- */

static void print_conn(void *arg, const struct command_conn *one)
{
	struct to *t = arg;
	const struct conn_stats *s = &one->stats;
	bool asks = one->client == t->from; /* the word itself was its one request */

	if (full(t->out))
		return;
	pk_buf_printf(t->out, " /%s[%x](queued=%" PRIu64 ",recved=%" PRIu64 ",sent=%" PRIu64,
		      one->address, asks ? 0 : one->interest, s->queued,
		      s->received + (asks ? 1 : 0), s->sent);
	if (!t->brief && s->session_id != 0) {
		pk_buf_printf(t->out, ",sid=" WORD_SESSION ",lop=%s,est=%" PRId64 ",to=%" PRId32,
			      s->session_id, command_op_name(s->last_op), s->established_wall_ms,
			      s->timeout_ms);
		if (s->last_xid >= 0)
			pk_buf_printf(t->out, ",lcxid=0x%" PRIx32, (uint32_t)s->last_xid);
		pk_buf_printf(t->out,
			      ",lzxid=0x%" PRIx64 ",lresp=%" PRId64 ",llat=%" PRId64
			      ",minlat=%" PRId64 ",avglat=%" PRId64 ",maxlat=%" PRId64,
			      s->last_zxid, s->last_response_ms, s->last_latency_us / 1000,
			      s->min_latency_us / 1000, one->latency_avg_ms,
			      s->max_latency_us / 1000);
	}
	pk_buf_add_str(t->out, ")\n");
}

static void word_cons(struct to *t)
{
	command_conns(t->c, print_conn, t);
	pk_buf_add_str(t->out, "\n");
}

static void word_srvr(struct to *t, bool with_clients)
{
	struct command_figures f;
	char avg[PK_DOUBLE_TEXT_BYTES];

	command_figures(t->c, &f);
	pk_buf_printf(t->out, "Zookeeper version: %s\n", t->c->version);
	if (f.read_only)
		pk_buf_add_str(t->out, "READ-ONLY mode; serving only read-only clients\n");
	if (with_clients) {
		pk_buf_add_str(t->out, "Clients:\n");
		t->brief = true;
		word_cons(t);
	}
	pk_buf_printf(t->out, "Latency min/avg/max: %" PRId64 "/%s/%" PRId64 "\n", f.latency_min_ms,
		      pk_double_text(f.latency_avg_ms, avg), f.latency_max_ms);
	pk_buf_printf(t->out,
		      "Received: %" PRIu64 "\nSent: %" PRIu64 "\nConnections: %" PRIu64
		      "\nOutstanding: %" PRIu64 "\nZxid: 0x%" PRIx64
		      "\nMode: %s\nNode count: %" PRIu64 "\n",
		      f.received, f.sent, f.connections, f.server.outstanding, f.tree->zxid, f.mode,
		      f.node_count);
	if (strcmp(f.mode, "leader") == 0)
		pk_buf_printf(t->out,
			      "Proposal sizes last/min/max: %" PRId64 "/%" PRId64 "/%" PRId64 "\n",
			      f.server.proposal_last, f.server.proposal_min, f.server.proposal_max);
}

/* ---- conf, dirs, envi ---- */

static void word_conf(struct to *t)
{
	const struct store_config *cfg = t->c->cfg.cfg;
	struct pk_buf *out = t->out;
	char *log_dir = command_log_dir(t->c);

	pk_buf_printf(out, "clientPort=%d\nsecureClientPort=%d\n",
		      cfg->client_port_effective != 0 ? cfg->client_port_effective : -1,
		      cfg->secure_client_port != 0 ? cfg->secure_client_port : -1);
	pk_buf_printf(out, "dataDir=%s\ndataDirSize=%" PRIu64 "\n", cfg->data_dir,
		      command_dir_bytes(cfg->data_dir));
	pk_buf_printf(out, "dataLogDir=%s\ndataLogSize=%" PRIu64 "\n", log_dir,
		      command_dir_bytes(log_dir));
	pk_buf_printf(out, "tickTime=%" PRId64 "\nmaxClientCnxns=%" PRId64 "\n",
		      (int64_t)cfg->tick_ms, (int64_t)cfg->conns_per_address_max);
	pk_buf_printf(out, "minSessionTimeout=%" PRId64 "\nmaxSessionTimeout=%" PRId64 "\n",
		      command_session_min_ms(t->c), command_session_max_ms(t->c));
	pk_buf_printf(out, "clientPortListenBacklog=%" PRId64 "\nserverId=%" PRId64 "\n",
		      (int64_t)cfg->listen_backlog, cfg->my_id);
	if (cfg->distributed) {
		const struct server_addr *me = &cfg->me.addrs[0];

		pk_buf_printf(out, "initLimit=%" PRId64 "\nsyncLimit=%" PRId64 "\n",
			      (int64_t)cfg->init_limit, (int64_t)cfg->sync_limit);
		pk_buf_printf(out, "electionAlg=3\nelectionPort=%u\nquorumPort=%u\npeerType=%d\n",
			      me->election_port, me->peer_port, cfg->me.observer ? 1 : 0);
		pk_buf_add_str(out, "membership: \n");
		command_membership(t->c, out);
	}
	free(log_dir);
}

static void word_dirs(struct to *t)
{
	char *log_dir = command_log_dir(t->c);

	pk_buf_printf(t->out, "datadir_size: %" PRIu64 "\nlogdir_size: %" PRIu64 "\n",
		      command_dir_bytes(t->c->cfg.cfg->data_dir), command_dir_bytes(log_dir));
	free(log_dir);
}

static void print_property(void *arg, const char *name, const char *value)
{
	struct to *t = arg;

	pk_buf_printf(t->out, "%s=%s\n", name, value);
}

static void word_envi(struct to *t)
{
	pk_buf_add_str(t->out, "Environment:\n");
	command_environment(t->c, print_property, t);
}

/* ---- dump ---- */

struct bucket {
	int64_t expiry_ms;
	uint64_t session_id;
	char address[COMMAND_ADDRESS_BYTES]; /* of a connection */
};

struct buckets {
	struct bucket *all;
	size_t count, cap;
	int64_t now_ms, tick_ms, connect_wait_ms;
};

static struct bucket *bucket_add(struct buckets *b, int64_t expiry_ms, uint64_t id)
{
	if (b->count == b->cap) {
		b->cap = b->cap > 0 ? b->cap * 2 : 64;
		b->all = pk_realloc(b->all, b->cap * sizeof(*b->all));
	}
	struct bucket *one = &b->all[b->count++];
	*one = (struct bucket){ .expiry_ms = expiry_ms, .session_id = id };
	return one;
}

static int by_expiry(const void *a, const void *b)
{
	const struct bucket *x = a, *y = b;

	if (x->expiry_ms != y->expiry_ms)
		return x->expiry_ms < y->expiry_ms ? -1 : 1;
	return x->session_id < y->session_id ? -1 : x->session_id > y->session_id;
}

static void print_buckets(struct to *t, struct buckets *b, bool conns)
{
	int64_t wall_ms = net_wall_ms() - net_now_ms(t->c->cfg.loop);
	size_t sets = 0;

	if (b->count > 0)
		qsort(b->all, b->count, sizeof(*b->all), by_expiry);
	for (size_t i = 0; i < b->count; i++)
		sets += i == 0 || b->all[i].expiry_ms != b->all[i - 1].expiry_ms;
	pk_buf_printf(t->out, "Sets (%zu)/(%zu):\n", sets, b->count);
	for (size_t i = 0, end; i < b->count && !full(t->out); i = end) {
		for (end = i + 1; end < b->count && b->all[end].expiry_ms == b->all[i].expiry_ms;
		     end++)
			;
		pk_buf_printf(t->out, "%zu expire at ", end - i);
		command_date(b->all[i].expiry_ms + wall_ms, t->out);
		pk_buf_add_str(t->out, ":\n");
		for (size_t j = i; j < end; j++) {
			if (conns)
				pk_buf_printf(t->out, "\tip: /%s sessionId: " WORD_SESSION "\n",
					      b->all[j].address, b->all[j].session_id);
			else
				pk_buf_printf(t->out, "\t" WORD_SESSION "\n", b->all[j].session_id);
		}
	}
	free(b->all);
}

static void add_session(void *arg, int64_t expiry_ms, uint64_t id)
{
	pk_ignore(bucket_add(arg, expiry_ms, id)->address[0], "no connection");
}

static void add_conn(void *arg, const struct command_conn *one)
{
	struct buckets *b = arg;
	/* Without a session it may stay as long as a connect request may take. */
	int64_t timeout_ms = one->stats.session_id != 0 ? one->stats.timeout_ms
							: b->connect_wait_ms;
	struct bucket *to = bucket_add(
		b, command_round_up(one->stats.heard_ms + timeout_ms, b->tick_ms),
		one->stats.session_id);

	memcpy(to->address, one->address, sizeof(to->address));
}

static void print_session(void *arg, const struct tree_session *s)
{
	struct to *t = arg;

	if (!full(t->out))
		pk_buf_printf(t->out, WORD_SESSION "\t%" PRId32 "ms\n", s->id, s->timeout_ms);
}

static void count_session(void *arg, const struct tree_session *s)
{
	struct to *t = arg;

	t->count += tree_session_ephemerals(server_tree(t->c->cfg.server), s->id) > 0;
}

static void print_path(void *arg, struct pk_bytes path)
{
	struct to *t = arg;

	if (full(t->out))
		return;
	pk_buf_add_str(t->out, "\t");
	pk_buf_add_bytes(t->out, path);
	pk_buf_add_str(t->out, "\n");
}

static void print_ephemerals(void *arg, const struct tree_session *s)
{
	struct to *t = arg;
	struct tree *tree = server_tree(t->c->cfg.server);

	if (full(t->out) || tree_session_ephemerals(tree, s->id) == 0)
		return;
	pk_buf_printf(t->out, WORD_SESSION ":\n", s->id);
	tree_session_ephemeral_each(tree, s->id, print_path, t);
}

static void word_dump(struct to *t)
{
	struct server *server = t->c->cfg.server;
	struct tree *tree = server_tree(server);
	struct session_clock *clock = server_session_clock(server);
	struct buckets sessions = { 0 },
		       conns = { .tick_ms = t->c->cfg.cfg->tick_ms,
				 .connect_wait_ms = t->c->cfg.cfg->sessionless_timeout_ms };

	pk_buf_add_str(t->out, "SessionTracker dump:\n");
	if (clock != NULL) { /* the leader knows when they expire */
		session_clock_each(clock, add_session, &sessions);
		pk_buf_add_str(t->out, "Session ");
		print_buckets(t, &sessions, false);
	} else {
		pk_buf_printf(t->out, "Global Sessions(%" PRIu64 "):\n", tree_meta(tree)->sessions);
		tree_session_each(tree, print_session, t);
	}
	tree_session_each(tree, count_session, t);
	pk_buf_printf(t->out, "ephemeral nodes dump:\nSessions with Ephemerals (%zu):\n", t->count);
	tree_session_each(tree, print_ephemerals, t);
	pk_buf_add_str(t->out, "Connections dump:\nConnections ");
	command_conns(t->c, add_conn, &conns);
	print_buckets(t, &conns, true);
}

/* ---- watches ---- */

static void watches_end(struct to *t, const struct command_watches *w)
{
	if (w->total > w->count)
		pk_buf_printf(t->out, "(%" PRIu64 " more are not listed)\n", w->total - w->count);
	pk_buf_add_str(t->out, "\n");
}

static void word_wchs(struct to *t)
{
	struct command_watches w;

	command_watches(t->c, true, &w);
	pk_buf_printf(t->out,
		      "%" PRIu64 " connections watching %" PRIu64 " paths\nTotal watches:%" PRIu64
		      "\n",
		      w.sessions, w.paths, w.total);
	command_watches_release(&w);
}

static void word_wchc(struct to *t)
{
	struct command_watches w;

	command_watches(t->c, false, &w);
	command_watches_by_session(&w);
	for (size_t i = 0; i < w.count && !full(t->out); i++) {
		if (i == 0 || w.all[i].session_id != w.all[i - 1].session_id)
			pk_buf_printf(t->out, WORD_SESSION "\n", w.all[i].session_id);
		print_path(t, w.all[i].path);
	}
	watches_end(t, &w);
	command_watches_release(&w);
}

static void word_wchp(struct to *t)
{
	struct command_watches w;

	command_watches(t->c, false, &w);
	for (size_t i = 0; i < w.count && !full(t->out); i++) {
		if (i == 0 || !pk_bytes_eq(w.all[i].path, w.all[i - 1].path)) {
			pk_buf_add_bytes(t->out, w.all[i].path);
			pk_buf_add_str(t->out, "\n");
		}
		pk_buf_printf(t->out, "\t" WORD_SESSION "\n", w.all[i].session_id);
	}
	watches_end(t, &w);
	command_watches_release(&w);
}

/* ---- mntr, hash ---- */

static void word_mntr(struct to *t)
{
	const char *peer_state = command_peer_state(t->c);
	struct command_figures f;

	command_figures(t->c, &f);
	pk_buf_printf(t->out, "zk_version\t%s\nzk_server_state\t%s\n", t->c->version, f.mode);
	if (peer_state != NULL)
		pk_buf_printf(t->out, "zk_peer_state\t%s\n", peer_state);
	if (t->c->cfg.cfg->metrics_provider == STORE_METRICS_NULL)
		return;
	metrics_gather(t->c);
	pk_metrics_mntr(server_metrics(t->c->cfg.server), t->out);
}

static void print_digest(void *arg, const struct server_digest *d)
{
	struct to *t = arg;

	pk_buf_printf(t->out, "%" PRIx64 ": %" PRId64 "\n", d->zxid, (int64_t)d->digest);
}

/* ---- all ---- */

void command_word(struct commands *c, struct client *from, enum zk_word word, struct pk_bytes mask,
		  struct pk_buf *out)
{
	struct to t = { .c = c, .out = out, .from = from };
	bool running = command_running(c);

	/* Those that need no state, and those with an answer of their own for when there is none.
	 */
	switch (word) {
	case ZK_WORD_RUOK:
		pk_buf_add_str(out, "imok");
		return;
	case ZK_WORD_ENVI:
		word_envi(&t);
		return;
	case ZK_WORD_GTMK:
		pk_buf_printf(out, "%" PRId64, c->trace_mask);
		return;
	case ZK_WORD_STMK:
		c->trace_mask = mask.len == 8 ? (int64_t)pk_get_be64(mask.data) : c->trace_mask;
		pk_buf_printf(out, "%" PRId64, c->trace_mask);
		return;
	case ZK_WORD_ISRO:
		pk_buf_add_str(out, !running                          ? "null"
				    : server_read_only(c->cfg.server) ? "ro"
								      : "rw");
		return;
	default: /* below */
		break;
	}
	if (!running) {
		pk_buf_add_str(out, NOT_SERVING);
		if (word != ZK_WORD_HASH)
			pk_buf_add_str(out, "\n");
		return;
	}
	switch (word) {
	case ZK_WORD_SRVR:
		word_srvr(&t, false);
		break;
	case ZK_WORD_STAT:
		word_srvr(&t, true);
		break;
	case ZK_WORD_CONS:
		word_cons(&t);
		break;
	case ZK_WORD_CONF:
		word_conf(&t);
		break;
	case ZK_WORD_CRST:
		command_reset_conns(c);
		pk_buf_add_str(out, "Connection stats reset.\n");
		break;
	case ZK_WORD_SRST:
		command_reset_stats(c);
		pk_buf_add_str(out, "Server stats reset.\n");
		break;
	case ZK_WORD_DIRS:
		word_dirs(&t);
		break;
	case ZK_WORD_DUMP:
		word_dump(&t);
		break;
	case ZK_WORD_HASH:
		server_digest_each(c->cfg.server, print_digest, &t);
		break;
	case ZK_WORD_MNTR:
		word_mntr(&t);
		break;
	case ZK_WORD_WCHS:
		word_wchs(&t);
		break;
	case ZK_WORD_WCHC:
		word_wchc(&t);
		break;
	case ZK_WORD_WCHP:
		word_wchp(&t);
		break;
	default: /* answered above, or no word */
		break;
	}
}
