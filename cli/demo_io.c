/*
 * paddock demo: three servers, a client that writes without pause, the leader killed under it; what
 * the client saw, and whether all that was acknowledged is there afterwards.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "cli/cluster_io.h"
#include "cli/cmd.h"
#include "cli/local_io.h"
#include "zkproto/client_io.h"

#define WARM_UP_MS     1000
#define UP_TIMEOUT_MS  60000
#define KILL_AFTER_MS  15000
#define SESSION_MS     10000
#define ANSWER_MS      20000
#define WRITES_MAX     1000000u
#define ROOT           "/demo"
#define EPHEMERAL_PATH "/demo-alive"

enum outcome { NOT_ASKED, ASKED, DONE, UNKNOWN, REFUSED };

struct demo {
	const struct cli *c;
	struct net_loop *loop;
	struct cluster cluster;
	char *store;
	struct zkc_io *io;
	enum zkc_state state;
	bool ours; /* the folder has nothing but what we put there */
	bool interrupted, late;
	/* the writer: one write at a time, the next when the answer is there */
	bool writing;
	uint8_t *outcomes; /* enum outcome of write i */
	uint32_t asked;
	uint64_t counts[REFUSED + 1];
	int64_t answered_us, gap_us;
	int32_t refusal;
	/* the answer of a question */
	bool done;
	int32_t err, children;
	int64_t owner;
};

static void say(const struct demo *d, const char *fmt, ...) PK_PRINTF(2, 3);
static void say(const struct demo *d, const char *fmt, ...)
{
	va_list ap;

	printf("%s==>%s ", cli_colour(d->c, CLI_BLUE), cli_colour(d->c, CLI_PLAIN));
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
}

static void on_signal(void *owner, int signum)
{
	struct demo *d = owner;

	pk_ignore(signum, "all mean: stop");
	d->interrupted = true;
}

static void on_state(void *owner, enum zkc_state state)
{
	struct demo *d = owner;

	d->state = state;
}

static void on_late(void *owner)
{
	struct demo *d = owner;

	d->late = true;
}

/* ---- the writer ---- */

static void write_next(struct demo *d);

static void on_written(void *owner, const struct zkc_result *r)
{
	struct demo *d = owner;
	int64_t now_us = net_now_fresh_us();
	enum outcome o = REFUSED;

	if (r->err == ZK_OK)
		o = DONE;
	else if (r->err == ZK_ECONNECTIONLOSS)
		o = UNKNOWN;
	else
		d->refusal = r->err;
	d->outcomes[d->asked - 1] = (uint8_t)o;
	d->counts[o]++;
	if (o == DONE) {
		if (d->answered_us > 0 && now_us - d->answered_us > d->gap_us)
			d->gap_us = now_us - d->answered_us;
		d->answered_us = now_us;
	}
	if (d->writing && o != REFUSED && d->asked < WRITES_MAX)
		write_next(d);
	else
		d->writing = false;
}

static void write_next(struct demo *d)
{
	char path[64], data[32];

	snprintf(path, sizeof(path), ROOT "/%07u", d->asked);
	snprintf(data, sizeof(data), "write %u", d->asked);
	d->outcomes[d->asked++] = ASKED;
	zkc_create(zkc_io_client(d->io), pk_bytes_str(path), pk_bytes_str(data), zk_acls_open(),
		   ZK_CREATE_PERSISTENT, 0, on_written, d);
}

/* ---- questions ---- */

static void on_answer(void *owner, const struct zkc_result *r)
{
	struct demo *d = owner;

	d->done = true;
	d->err = r->err;
	d->children = (int32_t)r->names.count;
	d->owner = r->stat != NULL ? r->stat->ephemeral_owner : 0;
}

static int wait_for(struct demo *d, struct pk_err *err)
{
	struct net_timer *t = net_timer_new(d->loop, on_late, d);

	d->late = false;
	net_timer_start(t, ANSWER_MS, 0);
	while (!d->done && !d->late && !d->interrupted)
		net_loop_turn(d->loop, true);
	net_timer_free(t);
	if (d->interrupted)
		return pk_err_set(err, PK_ECLOSED, "interrupted");
	if (!d->done)
		return pk_err_set(err, PK_ETIMEDOUT, "no answer in %d s", ANSWER_MS / 1000);
	return d->err == ZK_OK ? 0 : pk_err_set(err, PK_EIO, "%s", zk_error_text(d->err));
}

static int connect_to(struct demo *d, const char *servers, struct pk_err *err)
{
	struct zkc_io_config cfg = {
		.servers = servers,
		.client = { .timeout_ms = SESSION_MS, .on_state = on_state, .owner = d },
	};

	d->state = ZKC_CONNECTING;
	d->io = zkc_io_new(d->loop, &cfg, err);
	return d->io != NULL ? 0 : err->code;
}

static void disconnect(struct demo *d)
{
	if (d->io == NULL)
		return;
	zkc_close(zkc_io_client(d->io));
	while (d->state != ZKC_CLOSED && d->state != ZKC_EXPIRED && d->state != ZKC_AUTH_FAILED)
		net_loop_turn(d->loop, true);
	zkc_io_free(d->io);
	net_loop_turn(d->loop, false); /* its stream closes */
	d->io = NULL;
}

/* ---- the acts ---- */

static int begin(struct demo *d, struct pk_err *err)
{
	struct pk_buf servers = PK_BUF_INIT;
	size_t started;
	int rc = cluster_lock(&d->cluster, err);

	if (rc == 0 && cluster_exists(&d->cluster))
		return pk_err_set(err, PK_EEXIST, "there is a cluster in %s already",
				  d->cluster.dir);
	d->ours = rc == 0;
	say(d, "starting %d servers in %s", d->c->set.count, d->cluster.dir);
	if (rc == 0)
		rc = local_make(&d->cluster, d->loop, d->store, &d->c->set, UP_TIMEOUT_MS, &started,
				err);
	if (rc != 0)
		return rc;
	cluster_connect_string(&d->cluster, &servers);
	say(d, "they serve at %s; a client creates nodes, one after the other",
	    pk_buf_str(&servers));
	rc = connect_to(d, pk_buf_str(&servers), err);
	pk_buf_release(&servers);
	for (int i = 0; rc == 0 && i < 2; i++) {
		d->done = false;
		zkc_create(zkc_io_client(d->io), pk_bytes_str(i == 0 ? ROOT : EPHEMERAL_PATH),
			   PK_BYTES_NONE, zk_acls_open(),
			   i == 0 ? ZK_CREATE_PERSISTENT : ZK_CREATE_EPHEMERAL, 0, on_answer, d);
		rc = wait_for(d, err);
	}
	return rc;
}

static void write_for(struct demo *d, int64_t ms)
{
	struct net_timer *t = net_timer_new(d->loop, on_late, d);

	d->late = false;
	net_timer_start(t, ms, 0);
	while (d->writing && !d->late && !d->interrupted)
		net_loop_turn(d->loop, true);
	net_timer_free(t);
}

static int kill_leader(struct demo *d, size_t *killed, struct pk_err *err)
{
	struct health h = { 0 };

	d->writing = true;
	write_next(d);
	write_for(d, WARM_UP_MS);
	uint64_t before = d->counts[DONE];
	int64_t normal_us = d->gap_us;
	cluster_health_targets(&d->cluster, &h);
	health_ask(&h, d->loop, NULL, 2000);
	if (h.leader < 0)
		return pk_err_set(err, PK_ESTATE, "nobody leads: %s", h.why);
	*killed = (size_t)h.leader;
	struct cluster_server *s = &d->cluster.servers[*killed];
	say(d,
	    "%" PRIu64
	    " writes in %.1f s, never more than %.1f ms apart; now kill -9 of server %d, "
	    "the leader (pid %d)",
	    before, WARM_UP_MS / 1000.0, (double)normal_us / 1000, s->id, s->proc.pid);
	if (!proc_signal(&s->proc, SIGKILL))
		return pk_err_set(err, PK_ESTATE, "the leader was gone already");
	d->gap_us = 0;
	write_for(d, d->c->set.seconds * 1000);
	if (d->interrupted)
		return pk_err_set(err, PK_ECLOSED, "interrupted");
	d->writing = false; /* after the write that is under way */
	bool open = d->outcomes[d->asked - 1] == ASKED;
	struct net_timer *t = net_timer_new(d->loop, on_late, d);
	d->late = false;
	net_timer_start(t, ANSWER_MS, 0);
	while (open && !d->late && !d->interrupted) {
		net_loop_turn(d->loop, true);
		open = d->outcomes[d->asked - 1] == ASKED;
	}
	net_timer_free(t);
	if (d->refusal != ZK_OK)
		return pk_err_set(err, PK_EIO, "a write was refused: %s",
				  zk_error_text(d->refusal));
	if (open || d->counts[DONE] <= before)
		return pk_err_set(err, PK_ETIMEDOUT,
				  "no write succeeded after the leader was killed");
	say(d,
	    "%" PRIu64 " more writes without it; the client waited %.0f ms for a new leader, and "
	    "%" PRIu64 " write%s in flight had an unknown outcome",
	    d->counts[DONE] - before, (double)d->gap_us / 1000, d->counts[UNKNOWN],
	    d->counts[UNKNOWN] == 1 ? "" : "s");
	return 0;
}

static int restart(struct demo *d, size_t i, struct pk_err *err)
{
	struct cluster_server *s = &d->cluster.servers[i];
	int64_t begin_us = net_now_fresh_us();

	s->ended = false;
	int rc = cluster_start(&d->cluster, i, d->store, d->loop, err);
	if (rc == 0)
		rc = local_wait(&d->cluster, d->loop, UP_TIMEOUT_MS, false, err);
	if (rc == 0)
		say(d, "server %d is back and in step after %.1f s", s->id,
		    (double)(net_now_fresh_us() - begin_us) / 1e6);
	return rc;
}

static void on_children(void *owner, const struct zkc_result *r)
{
	struct demo *d = owner;
	struct zk_strings names = r->names;
	struct pk_bytes name;
	uint32_t n;

	on_answer(owner, r);
	while (zk_strings_next(&names, &name)) {
		char text[16];

		snprintf(text, sizeof(text), "%.*s", (int)(name.len < 15 ? name.len : 15),
			 name.data);
		if (sscanf(text, "%u", &n) == 1 && n < d->asked && d->outcomes[n] == DONE)
			d->outcomes[n] = NOT_ASKED; /* ticked off */
	}
}

/* From the server that was killed, all that was acknowledged must be there. */
static int judge(struct demo *d, size_t killed, struct pk_err *err)
{
	struct zkc_info info;
	char where[64];
	uint64_t lost = 0;

	zkc_info(zkc_io_client(d->io), &info);
	d->done = false;
	zkc_exists(zkc_io_client(d->io), pk_bytes_str(EPHEMERAL_PATH), ZKC_NO_WATCH, on_answer, d);
	if (wait_for(d, err) != 0)
		return pk_err_wrap(err, "the client's ephemeral node");
	if (d->owner != info.session_id)
		return pk_err_set(err, PK_ESTATE, "the ephemeral node has another owner");
	int64_t connects = (int64_t)info.connects;
	disconnect(d);
	snprintf(where, sizeof(where), "127.0.0.1:%u", d->cluster.servers[killed].client_port);
	int rc = connect_to(d, where, err);
	if (rc == 0) {
		d->done = false;
		zkc_sync(zkc_io_client(d->io), pk_bytes_str(ROOT), on_answer, d);
		rc = wait_for(d, err);
	}
	if (rc == 0) {
		d->done = false;
		zkc_children(zkc_io_client(d->io), pk_bytes_str(ROOT), ZKC_NO_WATCH, on_children,
			     d);
		rc = wait_for(d, err);
	}
	if (rc != 0)
		return pk_err_wrap(err, "read from %s", where);
	for (uint32_t i = 0; i < d->asked; i++)
		lost += d->outcomes[i] == DONE;
	say(d,
	    "read from server %d: %d nodes, %" PRIu64 " of %" PRIu64
	    " acknowledged writes missing; the client kept its session over %" PRId64
	    " connection%s",
	    d->cluster.servers[killed].id, d->children, lost, d->counts[DONE], connects,
	    connects == 1 ? "" : "s");
	return lost == 0 ? 0 : pk_err_set(err, PK_ECORRUPT, "acknowledged writes were lost");
}

static int play(struct demo *d, struct pk_err *err)
{
	size_t killed = 0;
	int rc = cluster_find_store(&d->store, err);

	if (rc == 0)
		rc = begin(d, err);
	if (rc == 0)
		rc = kill_leader(d, &killed, err);
	if (rc == 0)
		rc = restart(d, killed, err);
	if (rc == 0)
		rc = judge(d, killed, err);
	return rc;
}

static int temp_dir(const struct cli *c, char **out, struct pk_err *err)
{
	const char *tmp = getenv("TMPDIR");

	if (c->set.dir != NULL)
		return cluster_dir(c->set.dir, out, err);
	char *path = pk_asprintf("%s/paddock-demo.XXXXXX",
				 tmp != NULL && *tmp == '/' ? tmp : "/tmp");
	if (mkdtemp(path) == NULL) {
		int rc = pk_err_sys(err, errno, "make %s", path);

		free(path);
		return rc;
	}
	*out = path;
	return 0;
}

int cmd_demo(const struct cli *c)
{
	struct demo d = { .c = c, .cluster = CLUSTER_INIT };
	struct pk_err err = PK_ERR_INIT, ignored = PK_ERR_INIT;
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	struct net_signal *handles[PK_COUNT(signals)] = { NULL };
	int status = CLI_OK;

	if (c->set.count < 3)
		return cli_fail(c, CLI_USAGE, "with fewer than 3 servers none may fail");
	d.loop = net_loop_new(&err);
	int rc = d.loop != NULL ? temp_dir(c, &d.cluster.dir, &err) : err.code;
	if (rc != 0) {
		if (d.loop != NULL)
			net_loop_free(d.loop);
		return cli_fail(c, CLI_FAILED, "%s", err.text);
	}
	for (size_t i = 0; i < PK_COUNT(signals); i++)
		handles[i] = net_signal_on(d.loop, signals[i], on_signal, &d, &ignored);
	d.outcomes = pk_alloc(WRITES_MAX);
	rc = play(&d, &err);
	if (rc != 0) {
		status = cli_fail(c, CLI_FAILED, "%s", err.text);
		if (!d.interrupted)
			local_show_logs(&d.cluster, false);
	}
	d.writing = false;
	disconnect(&d);
	if (c->set.keep && rc == 0) {
		rc = cluster_save(&d.cluster, &err);
		say(&d, "left running: paddock status --dir %s; paddock down --wipe --dir %s",
		    d.cluster.dir, d.cluster.dir);
	} else if (d.ours) {
		pk_ignore(cluster_stop(&d.cluster, 0, d.cluster.count, KILL_AFTER_MS),
			  "all are gone now");
		rc = cluster_wipe(&d.cluster, &err);
		if (status == CLI_OK)
			say(&d, "stopped and cleaned up");
	} else {
		rc = 0; /* the error was told */
	}
	if (rc != 0 && status == CLI_OK)
		status = cli_fail(c, CLI_FAILED, "%s", err.text);
	for (size_t i = 0; i < PK_COUNT(signals); i++)
		net_signal_free(handles[i]);
	cluster_release(&d.cluster);
	net_loop_free(d.loop);
	free(d.outcomes);
	free(d.store);
	return status;
}
