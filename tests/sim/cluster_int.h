/*
 * tests/sim/cluster_int.h - what cluster.c, cluster_server.c and cluster_link.c share.
 */
#ifndef PK_TESTS_SIM_CLUSTER_INT_H
#define PK_TESTS_SIM_CLUSTER_INT_H

#include <sys/queue.h>

#include "store/found.h"
#include "store/kv.h"
#include "store/peer_greet.h"
#include "store/state_dir_io.h"
#include "tests/lib/sim_disk.h"
#include "tests/sim/cluster.h"
#include "tests/sim/cluster_log.h"
#include "zkproto/frame.h"

#define SIM_JUTE_BYTES 0xfffff

struct event;
typedef void event_f(struct sim *s, struct event *e);

struct event {
	int64_t at_us;
	uint64_t seq;
	event_f *run;
	int server;    /* whose thread it runs on; -1: nobody's, and no pause holds it */
	uint64_t life; /* of that server; 0: any */
	void *p;
	uint64_t n;
};

/* One connection between servers, in the direction in which it carries frames. */
struct frame {
	STAILQ_ENTRY(frame) link;
	int64_t at_us; /* arrives */
	uint8_t type;
	size_t len, come; /* with its head; what of it has arrived */
	uint8_t bytes[];
};
STAILQ_HEAD(frames, frame);

struct wire { /* one connection: it outlives its end by what is under way */
	LIST_ENTRY(wire) link;
	int from, to;
	uint64_t from_life, to_life;
	struct frames frames;
	struct pk_buf in; /* of a frame that is not whole yet */
	size_t queued_bytes;
	int64_t last_at_us, moved_us;
	uint64_t life; /* of a dialler that asks */
	struct found_answer told;
	bool greeted;
	bool up;    /* the dialler may send */
	bool ended; /* nothing after what is in `frames` */
	bool pumping;
};

struct dialler {
	struct wire *wire; /* NULL between attempts */
	int64_t retry_ms;
	uint64_t attempt;
};

struct sim_conn {
	LIST_ENTRY(sim_conn) link;
	struct sim *sim;
	int to;
	uint64_t life;
	struct sim_conn_owner owner;
	struct conn *conn;
	struct frames in, out;         /* to the server, to the client */
	struct zk_frame in_at, out_at; /* what has arrived there, cut into frames */
	int64_t in_last_us, out_last_us, stalled_until_us, frame_us;
	size_t out_bytes;
	uint32_t scale;
	bool paused, was_high;
	bool server_closed; /* owner->close was called */
	bool cut;           /* it broke, and nothing gets into it any more */
	bool server_gone;   /* server_conn_gone was called, or its server is no more */
	bool client_gone;   /* the client let go, or was told */
	bool pump_in, pump_out;
	uint32_t events; /* that point here */
};

struct sim_server {
	int index;
	struct sim *sim;
	uint64_t id, life;
	uint64_t waits; /* of this life, counted */
	bool up, failed;
	char dir[96];
	struct pk_rng rng;
	struct sim_disk *disk;
	struct state_dir *states;
	struct kv *kv;
	struct rlog *log;
	struct rlog_loaded loaded;
	struct raft_node *raft;
	struct raft_node_owner ro; /* the server's; ours go around it */
	struct server *server;
	struct found found;
	bool joining; /* durable */
	bool importing, turn_due, disk_busy, crashing;
	int64_t disk_extra_us, commit_us, paused_until_us, wall_offset_ms;
	uint64_t checked_index;
	int64_t leading_since_us; /* its clock of sessions began */
	bool was_serving;
	struct dialler dial[SIM_SERVERS_MAX];
	bool knows[SIM_SERVERS_MAX]; /* its peers: those in its list, then the members */
	bool placed;
	bool latent;         /* there may be damage on its log's disk */
	bool ailing;         /* its log's disk may hold damage, or fail */
	bool damaged;        /* it does not start, and says so */
	uint64_t acked;      /* the end of its log, as it told a leader */
	uint64_t acked_term; /* of that leader */
	struct {
		struct sim_disk *disk; /* NULL: none is */
		uint64_t acked;
		bool ailing, latent;
	} kept; /* a copy of its folders, the other one beside them */
	uint64_t space_bytes;
	int64_t disk_check_ms, started_wall_ms;
	bool rewind, disk_low;
	struct raft_member list[SIM_SERVERS_MAX]; /* its configuration file's */
	size_t list_count;
	uint64_t list_hash;
	struct touch *touched; /* as the leader heard of them */
};

struct meta_seen {
	uint64_t hash, term; /* of the entry */
	uint64_t zxid, digest, extra;
	bool entry_known, meta_known;
};

struct sim {
	struct sim_options o;
	struct sim_net net;
	struct sim_stats stats;
	struct pk_rng rng, bytes_rng; /* the second: where streams are cut */
	int64_t now_us;
	uint64_t seq, hash;
	struct event **heap;
	size_t events, heap_cap;
	struct sim_server servers[SIM_SERVERS_MAX];
	uint8_t lose_type;
	int64_t slow_us[SIM_SERVERS_MAX][SIM_SERVERS_MAX];
	struct record *record;
	struct listed *list; /* /zookeeper/config, as of list_at */
	uint64_t list_at;
	bool cut[SIM_SERVERS_MAX][SIM_SERVERS_MAX];
	LIST_HEAD(, wire) wires;
	LIST_HEAD(, sim_conn) conns;
	struct model *model;
	struct log_rules *rules;
	int64_t calm_since_us;
	int64_t led_us; /* when an entry was last applied that its own term's leader committed */
	struct meta_seen *seen; /* by index */
	size_t seen_cap;
	struct heard *heard; /* by session */
	char root[64];
	char violation[600];
};

struct event *event_add(struct sim *s, int64_t in_us, event_f *run, int server, void *p,
			uint64_t n);
/* What a pause of this server has put off happens now. */
void events_wake(struct sim *s, int server);
void sim_mix(struct sim *s, uint64_t v);
struct frame *frame_new(uint8_t type, struct pk_bytes head, struct pk_bytes body);
void frames_free(struct frames *frames);
size_t frames_count(const struct frames *frames);
/* Of what is on its way the first `keep` frames arrive, and of the next one any part but all. */
void frames_cut(struct sim *s, struct frames *frames, size_t keep);
void frames_cut_anywhere(struct sim *s, struct frames *frames);
/* What arrives now: all that is left of the frame, or a part of it. */
struct pk_bytes frame_part(struct sim *s, struct frame *f);
int64_t sim_delay(struct sim *s);
static inline int64_t us_max(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* cluster_server.c */
void server_init(struct sim *s, int i);
void server_fini(struct sim *s, int i);
void server_enter(struct sim_server *n); /* before any call of its functions */
void server_left(struct sim_server *n);  /* after it */
void server_peer_frame(struct sim_server *n, int from, uint8_t type, struct pk_bytes body);
void server_peer_told(struct sim_server *n, int peer, const struct found_answer *answer);
struct found_answer server_answer(struct sim_server *n, int peer, uint64_t life);
uint64_t server_asks(const struct sim_server *n); /* its life while it does, otherwise 0 */
bool server_alive(const struct sim_server *n, uint64_t life);

/* cluster_link.c */
void links_start(struct sim_server *n);
void links_stop(struct sim_server *n); /* it is down: its peers and clients will hear of it */
void link_know(struct sim_server *n, int to, bool known);
bool link_send(struct sim_server *n, int to, uint8_t type, struct pk_bytes body);
void links_tick(struct sim_server *n);
size_t conn_out(void *io, struct pk_bytes bytes);
void conn_shut(void *io, bool flush, const char *reason);
void conn_pause(void *io, bool paused);
void links_free(struct sim *s);
void links_poke(struct sim *s); /* something healed: look again at what waits */

#endif
