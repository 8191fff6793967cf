#include "store/commands_io.h"

#include <inttypes.h>

#include "base/mem.h"

#define NOT_SERVING "This ZooKeeper instance is not currently serving requests\n"

struct commands {
	struct commands_config cfg;
};

static const char *mode_name(const struct commands *c)
{
	struct server_stats s;

	server_stats(c->cfg.server, &s);
	if (!c->cfg.cfg->distributed)
		return "standalone";
	if (s.role == RAFT_NODE_LEADER)
		return "leader";
	return c->cfg.cfg->me.observer ? "observer" : "follower";
}

static void word_srvr(struct commands *c, struct pk_buf *out)
{
	struct server_stats s;
	const struct tree_meta *m = tree_meta(server_tree(c->cfg.server));

	server_stats(c->cfg.server, &s);
	pk_buf_printf(out, "Zookeeper version: 3.8.0-paddock-%s, built on -\n", PADDOCK_VERSION);
	pk_buf_printf(
		out, "Latency min/avg/max: %" PRId64 "/%.4f/%" PRId64 "\n", s.latency_min_us / 1000,
		s.latency_count > 0 ? (double)s.latency_sum_us / 1000 / (double)s.latency_count
				    : 0.0,
		s.latency_max_us / 1000);
	pk_buf_printf(out, "Received: %" PRIu64 "\nSent: %" PRIu64 "\n", s.packets_received,
		      s.packets_sent);
	pk_buf_printf(out, "Connections: %zu\nOutstanding: %" PRIu64 "\n",
		      clients_count(c->cfg.clients), s.outstanding);
	pk_buf_printf(out, "Zxid: %#" PRIx64 "\nMode: %s\nNode count: %" PRIu64 "\n", m->zxid,
		      mode_name(c), m->nodes);
}

void commands_word(struct commands *c, struct client *from, enum zk_word word, struct pk_bytes mask,
		   struct pk_buf *out)
{
	const char *name = zk_word_name(word);

	pk_ignore(from, "no word here asks who asked");
	pk_ignore(mask.len, "likewise");
	if (!store_config_word_allowed(c->cfg.cfg, name)) {
		pk_buf_printf(out, "%s is not executed because it is not in the whitelist.\n",
			      name);
		return;
	}
	if (word == ZK_WORD_RUOK) {
		pk_buf_add_str(out, "imok");
		return;
	}
	if (!server_serving(c->cfg.server)) {
		pk_buf_add_str(out, NOT_SERVING);
		return;
	}
	if (word == ZK_WORD_SRVR)
		word_srvr(c, out);
}

int commands_start(struct commands **out, const struct commands_config *cfg, struct pk_err *err)
{
	struct commands *c = pk_alloc(sizeof(*c));

	pk_ignore(err, "nothing is opened yet");
	c->cfg = *cfg;
	*out = c;
	return 0;
}

void commands_free(struct commands *c)
{
	free(c);
}
