/*
 * The load of cluster_sim: what the clients ask for. Each draws from its own numbers, so that the
 * others do the same things without it.
 */
#include <inttypes.h>
#include <stdio.h>

#include "tests/sim/cluster_run.h"
#include "zkproto/multi.h"

#define MULTI_MOST 4

static const char *any_path(struct load *l)
{
	static char path[64];
	unsigned a = (unsigned)below(&l->rng, 4), b = (unsigned)below(&l->rng, 3);

	switch (below(&l->rng, 10)) {
	case 0:
	case 1:
		snprintf(path, sizeof(path), "/a%u", a);
		break;
	case 2:
	case 3:
	case 4:
	case 5:
		snprintf(path, sizeof(path), "/a%u/b%u", a, b);
		break;
	case 6:
		snprintf(path, sizeof(path), chance(&l->rng, 50) ? "/p%u" : "/p%u/b%u", a, b);
		break;
	case 7: /* containers, TTL nodes, and what is below them */
		snprintf(path, sizeof(path), chance(&l->rng, 50) ? "/%c%u" : "/%c%u/b%u",
			 chance(&l->rng, 50) ? 'c' : 't', b, a);
		break;
	default:
		snprintf(path, sizeof(path), "/e%u", b);
		break;
	}
	return path;
}

static const char *any_data(struct load *l)
{
	static char data[4200];
	size_t len = chance(&l->rng, 3) ? (size_t)below(&l->rng, 4000) : (size_t)below(&l->rng, 20);

	if (chance(&l->rng, 5))
		return NULL;
	for (size_t i = 0; i < len; i++)
		data[i] = (char)('a' + below(&l->rng, 26));
	data[len] = 0;
	return data;
}

static int32_t any_version(struct load *l)
{
	return chance(&l->rng, 70) ? -1 : (int32_t)below(&l->rng, 4);
}

static struct pk_bytes text(const char *t)
{
	return t != NULL ? pk_bytes_str(t) : PK_BYTES_NONE;
}

/* A list that shuts some out: open, the creator's, one user's, one for reading; or none at all. */
static struct zk_acls any_list(struct load *l, struct pk_buf *items)
{
	struct zk_acl world = { (int32_t)below(&l->rng, 32), pk_bytes_str("world"),
				pk_bytes_str("anyone") };
	struct zk_acl user = { (int32_t)below(&l->rng, 32), pk_bytes_str("digest"),
			       pk_bytes_str(chance(&l->rng, 50) ? "u1:a" : "u2:b") };
	struct zk_acl here = { ZK_PERM_ALL, pk_bytes_str("ip"), pk_bytes_str(SIM_CLIENT_IP) };
	struct zk_acl auth = { ZK_PERM_ALL, pk_bytes_str("auth"), pk_bytes_str("") };
	const struct zk_acl *all[] = { &world, &user, &here, &auth };
	uint32_t count = 0;

	pk_buf_clear(items);
	if (chance(&l->rng, 20))
		return zk_acls_open();
	if (chance(&l->rng, 25))
		return zk_acls_creator();
	for (uint64_t n = below(&l->rng, 4); n > 0; n--, count++)
		zk_acl_encode(items, all[below(&l->rng, PK_COUNT(all))]);
	return (struct zk_acls){ .count = count, .raw = pk_buf_bytes(items) };
}

static int32_t any_create(struct load *l, struct zk_create_ttl_req *r, bool in_multi)
{
	uint64_t pick = below(&l->rng, 100);
	static char path[16];

	*r = (struct zk_create_ttl_req){ text(any_path(l)), text(any_data(l)), zk_acls_open(),
					 ZK_CREATE_PERSISTENT, -1 };
	if (pick < 50)
		return chance(&l->rng, 50) ? ZK_OP_CREATE : ZK_OP_CREATE2;
	if (pick < 68) {
		r->flags = ZK_CREATE_EPHEMERAL;
		return ZK_OP_CREATE;
	}
	if (pick < 84) {
		r->flags = chance(&l->rng, 50) ? ZK_CREATE_SEQUENTIAL
					       : ZK_CREATE_EPHEMERAL_SEQUENTIAL;
		return ZK_OP_CREATE2;
	}
	bool ttl = chance(&l->rng, 50);
	snprintf(path, sizeof(path), "/%c%u", ttl ? 't' : 'c', (unsigned)below(&l->rng, 3));
	r->path = text(path);
	if (ttl) {
		r->flags = chance(&l->rng, 80) ? ZK_CREATE_TTL : ZK_CREATE_TTL_SEQUENTIAL;
		r->ttl_ms = pk_rng_range(&l->rng, 1, 10000);
		return ZK_OP_CREATE_TTL;
	}
	r->flags = ZK_CREATE_CONTAINER;
	return in_multi && chance(&l->rng, 30) ? ZK_OP_CREATE : ZK_OP_CREATE_CONTAINER;
}

static void make(struct load *l)
{
	struct pk_buf items = PK_BUF_INIT;
	struct zk_create_ttl_req r;
	int32_t op = any_create(l, &r, false);

	if (r.path.data[1] == 'p')
		r.acl = any_list(l, &items);
	client_make(l->client, op, &r);
	pk_buf_release(&items);
}

static void multi_one(struct load *l, struct pk_buf *b)
{
	struct zk_create_ttl_req create;
	struct zk_delete_req del;
	struct zk_set_data_req set;
	struct zk_check_req check;
	const char *data;
	int32_t op;

	switch (below(&l->rng, 4)) {
	case 0:
		op = any_create(l, &create, true);
		zk_multi_op_header(b, op);
		if (op == ZK_OP_CREATE_TTL)
			zk_create_ttl_req_encode(b, &create);
		else
			zk_create_req_encode(b,
					     &(struct zk_create_req){ create.path, create.data,
								      create.acl, create.flags });
		break;
	case 1:
		del = (struct zk_delete_req){ text(any_path(l)), any_version(l) };
		zk_multi_op_header(b, ZK_OP_DELETE);
		zk_delete_req_encode(b, &del);
		break;
	case 2:
		data = any_data(l);
		set = (struct zk_set_data_req){ text(any_path(l)), text(data), any_version(l) };
		zk_multi_op_header(b, ZK_OP_SET_DATA);
		zk_set_data_req_encode(b, &set);
		break;
	default:
		check = (struct zk_check_req){ text(any_path(l)), any_version(l) };
		zk_multi_op_header(b, ZK_OP_CHECK);
		zk_check_req_encode(b, &check);
		break;
	}
}

static void multi_read_one(struct load *l, struct pk_buf *b)
{
	struct zk_path_watch_req r = { text(any_path(l)), false };

	zk_multi_op_header(b, chance(&l->rng, 50) ? ZK_OP_GET_DATA : ZK_OP_GET_CHILDREN);
	zk_path_watch_req_encode(b, &r);
}

static void multi(struct load *l, int32_t op)
{
	struct pk_buf b = PK_BUF_INIT;

	for (uint64_t n = 1 + below(&l->rng, MULTI_MOST); n > 0; n--) {
		if (op == ZK_OP_MULTI)
			multi_one(l, &b);
		else
			multi_read_one(l, &b);
	}
	zk_multi_end(&b);
	client_multi(l->client, op, pk_buf_bytes(&b));
	pk_buf_release(&b);
}

static void acl(struct load *l)
{
	struct pk_buf items = PK_BUF_INIT;
	char path[32];

	snprintf(path, sizeof(path), chance(&l->rng, 60) ? "/p%u" : "/p%u/b%u",
		 (unsigned)below(&l->rng, 4), (unsigned)below(&l->rng, 3));
	if (chance(&l->rng, 50))
		client_ask(l->client, ZK_OP_GET_ACL,
			   chance(&l->rng, 90) ? path : "/zookeeper/config", false);
	else
		client_set_acl(l->client, path, any_list(l, &items), any_version(l));
	pk_buf_release(&items);
}

/* Limits come and go; usage is made by somebody who wants to know. */
static void quota(struct load *l)
{
	char path[64], data[100];
	bool child = chance(&l->rng, 30);
	unsigned a = (unsigned)below(&l->rng, 4), b = (unsigned)below(&l->rng, 3);
	int at = snprintf(path, sizeof(path), "/zookeeper/quota/a%u", a);

	if (child)
		at += snprintf(path + at, sizeof(path) - (size_t)at, "/b%u", b);
	uint64_t what = below(&l->rng, 4);
	if (what > 0)
		snprintf(path + at, sizeof(path) - (size_t)at,
			 what == 1 ? "/zookeeper_stats" : "/zookeeper_limits");
	at = snprintf(data, sizeof(data), "count=%d,bytes=%d", (int)below(&l->rng, 8) - 1,
		      (int)below(&l->rng, 200) - 1);
	if (what > 1 && chance(&l->rng, 60))
		snprintf(data + at, sizeof(data) - (size_t)at,
			 "=;byteHardLimit=%d;countHardLimit=%d", (int)below(&l->rng, 300) - 1,
			 (int)below(&l->rng, 8) - 1);
	switch (below(&l->rng, 5)) {
	case 0:
		client_delete(l->client, path, -1);
		break;
	case 1:
		client_ask(l->client, ZK_OP_GET_DATA, path, false);
		break;
	case 2:
		if (what > 1) {
			client_set(l->client, path, data, -1);
			break;
		}
		/* fall through */
	default:
		client_create(l->client, ZK_OP_CREATE, path, what > 1 ? data : "",
			      ZK_CREATE_PERSISTENT);
		break;
	}
}

/* Of both kinds on one path the newer takes the older's place, which the checker does not know. */
static void add_watch(struct load *l, const char *path)
{
	bool recursive = l->run->halves ? chance(&l->rng, 50) : strlen(path) % 2 == 0;

	client_add_watch(l->client, path, recursive);
}

static void watch(struct load *l)
{
	struct client *c = l->client;

	if (chance(&l->rng, 50) && client_watches(c) < 12)
		add_watch(l, chance(&l->rng, 20) ? "/" : any_path(l));
	else
		client_check_watches(
			c, chance(&l->rng, 50) ? ZK_OP_REMOVE_WATCHES : ZK_OP_CHECK_WATCHES,
			any_path(l),
			l->run->halves ? (int32_t)(1 + below(&l->rng, 3)) : ZK_WATCHER_ANY);
}

static void ask(struct load *l)
{
	static const int32_t reads[] = { ZK_OP_EXISTS,         ZK_OP_GET_DATA,
					 ZK_OP_GET_CHILDREN,   ZK_OP_GET_CHILDREN2,
					 ZK_OP_GET_EPHEMERALS, ZK_OP_GET_ALL_CHILDREN_NUMBER };
	uint64_t pick = below(&l->rng, 100);

	if (pick < 3)
		client_whoami(l->client);
	else if (pick < 10)
		client_ask(l->client, reads[below(&l->rng, PK_COUNT(reads))],
			   chance(&l->rng, 40) ? "/zookeeper/config" : "/", chance(&l->rng, 50));
	else
		client_ask(l->client, reads[below(&l->rng, PK_COUNT(reads))], any_path(l),
			   chance(&l->rng, 50));
}

/* ---- who is in ---- */

static void spec(struct load *l, int i, bool observer, struct pk_buf *out)
{
	char text_of[80];

	(void)l;
	sim_spec(i, observer, text_of, sizeof(text_of));
	pk_buf_printf(out, "server.%d=%s", i + 1, text_of);
}

/* A machine that is to be taken in is put up first, as an operator does; or its disk is emptied. */
static void put_up(struct load *l, int i)
{
	struct sim *s = l->run->sim;

	if (!sim_placed(s, i)) {
		sim_place(s, i);
	} else if (!sim_member(s, i) && sim_members_settled(s) && chance(&l->rng, 30)) {
		sim_crash(s, i, true);
		sim_wipe(s, i);
		sim_start(s, i);
	}
}

/* The whole list: whom it keeps, whom it adds, who changes its part. */
static void whole_list(struct load *l, struct pk_buf *out)
{
	struct sim *s = l->run->sim;
	bool voters = false;

	for (int i = 0; i < (int)sim_servers(s); i++) {
		bool in = sim_member(s, i) ? chance(&l->rng, 80) : chance(&l->rng, 40);
		bool observes = chance(&l->rng, 20);

		if (!in)
			continue;
		put_up(l, i);
		voters |= !observes;
		spec(l, i, observes, out);
		pk_buf_add_str(out, "\n");
	}
	if (!voters) /* refused */
		pk_buf_add_str(out, "\n");
}

static void reconfig(struct load *l)
{
	struct sim *s = l->run->sim;
	struct zk_reconfig_req r = { .config_id = chance(&l->rng, 85) ? -1 : 0 };
	struct pk_buf joining = PK_BUF_INIT, leaving = PK_BUF_INIT, members = PK_BUF_INIT;
	int i = (int)below(&l->rng, sim_servers(s));

	if (chance(&l->rng, 15)) {
		whole_list(l, &members);
		r.members = pk_buf_bytes(&members);
	} else if (sim_member(s, i) && chance(&l->rng, 60)) {
		pk_buf_printf(&leaving, "%d", i + 1);
		r.leaving = pk_buf_bytes(&leaving);
	} else { /* in, or to the other part */
		put_up(l, i);
		spec(l, i, sim_voter(s, i) || (!sim_member(s, i) && chance(&l->rng, 25)), &joining);
		r.joining = pk_buf_bytes(&joining);
		if (chance(&l->rng, 15)) { /* one for another */
			pk_buf_printf(&leaving, "%d", 1 + (i + 1) % (int)sim_servers(s));
			r.leaving = pk_buf_bytes(&leaving);
		}
	}
	client_reconfig(l->client, &r);
	l->reconfiguring = true;
	pk_buf_release(&joining);
	pk_buf_release(&leaving);
	pk_buf_release(&members);
}

static void request(struct load *l)
{
	struct client *c = l->client;
	uint64_t pick = below(&l->rng, 1000);

	if (pick < 290)
		make(l);
	else if (pick < 390)
		client_delete(c, any_path(l), any_version(l));
	else if (pick < 530)
		client_set(c, any_path(l), any_data(l), any_version(l));
	else if (pick < 600)
		multi(l, ZK_OP_MULTI);
	else if (pick < 630)
		multi(l, ZK_OP_MULTI_READ);
	else if (pick < 670)
		acl(l);
	else if (pick < 710)
		quota(l);
	else if (pick < 712)
		client_delete_container(c, any_path(l));
	else if (pick < 718 && l->run->members && !l->reconfiguring && !l->run->healed &&
		 (l->admin || pick < 713))
		reconfig(l);
	else if (pick < 760)
		client_ask(c, ZK_OP_SYNC, "/", false);
	else if (pick < 820)
		watch(l);
	else
		ask(l);
}

/* Mostly one that is in. */
static int any_server_of(struct load *l)
{
	struct sim *s = l->run->sim;
	int i = (int)below(&l->rng, sim_servers(s));

	for (int tries = 0; tries < 8 && !sim_member(s, i) && chance(&l->rng, 90); tries++)
		i = (int)below(&l->rng, sim_servers(s));
	return i;
}

static void work(struct sim *s, void *arg, uint64_t number);

static void later(struct load *l, int64_t us)
{
	sim_call_at(l->run->sim, 1 + (int64_t)below(&l->rng, (uint64_t)(2 * us)), work, l,
		    l->number);
}

static void work(struct sim *s, void *arg, uint64_t number)
{
	struct load *l = arg;
	struct run *r = l->run;

	(void)s;
	if (number != l->number || l->silent)
		return;
	switch (client_state(l->client)) {
	case CLIENT_IDLE:
		if (client_session(l->client) != 0 && !r->plan->calm && !r->healed &&
		    chance(&l->rng, 2))
			client_spoil_password(l->client, true);
		if (!l->done)
			client_connect(l->client, any_server_of(l));
		break;
	case CLIENT_CONNECTING:
		break;
	case CLIENT_CONNECTED:
		if (l->stopping) {
			if (!l->last_sent && !r->quiet)
				client_create(l->client, ZK_OP_CREATE, "/last", "x",
					      ZK_CREATE_PERSISTENT);
			l->last_sent = true;
		} else if (client_outstanding(l->client) < l->window) {
			for (uint64_t n = 1 + (chance(&l->rng, 20) ? below(&l->rng, l->window) : 0);
			     n > 0; n--)
				request(l);
		}
		if (!r->plan->calm && !r->healed && chance(&l->rng, 1))
			client_end(l->client);
		break;
	case CLIENT_ENDED:
		if (!l->done)
			client_forget_session(l->client);
		break;
	}
	later(l, l->every_us);
}

static void on_reply(void *owner, const struct client_reply *r)
{
	struct load *l = owner;

	if (r->op == ZK_OP_RECONFIG)
		l->reconfiguring = false;
	if (l->stopping && r->op == ZK_OP_CREATE && strcmp(r->path, "/last") == 0) {
		l->last_sent = false;
		l->done = l->done || !r->lost;
	}
}

static void on_event(void *owner, int32_t type, struct pk_bytes path)
{
	(void)owner;
	(void)type;
	(void)path;
}

static void on_state(void *owner, enum client_state state, const char *why)
{
	struct load *l = owner;

	(void)why;
	(void)state;
	l->number++;
	l->last_sent = false;
	later(l, state == CLIENT_CONNECTED ? l->every_us : 100 * SIM_MS);
}

void load_start(struct run *r, int index)
{
	struct load *l = &r->loads[index];
	struct client_owner owner = { l, on_reply, on_event, on_state };

	*l = (struct load){ .run = r, .index = index };
	pk_rng_seed(&l->rng, r->plan->seed * LOADS_MAX + (uint64_t)index + 0x10ad);
	l->every_us = pk_rng_range(&l->rng, 5, 100) * SIM_MS;
	l->window = (size_t)pk_rng_range(&l->rng, 1, 12);
	l->client = client_new(r->sim, index, (int32_t)pk_rng_range(&l->rng, 1000, 12000), &owner);
	static const char *const users[] = { "u1:a", "u2:b" };
	for (size_t i = 0; i < PK_COUNT(users); i++)
		if (chance(&l->rng, 40))
			client_identify(l->client, users[i]);
	l->admin = index == 0;
	if (l->admin)
		client_identify(l->client, SIM_SUPER);
	client_may_read_only(l->client, chance(&l->rng, 50));
	later(l, 500 * SIM_MS);
}
