/*
 * The load of cluster_sim: what the clients ask for. Each draws from its own numbers, so that the
 * others do the same things without it.
 */
#include <inttypes.h>
#include <stdio.h>

#include "tests/sim/cluster_run.h"

static const char *any_path(struct load *l)
{
	static char path[64];
	uint64_t a = below(&l->rng, 4), b = below(&l->rng, 3);

	switch (below(&l->rng, 4)) {
	case 0:
		snprintf(path, sizeof(path), "/a%" PRIu64, a);
		break;
	case 1:
	case 2:
		snprintf(path, sizeof(path), "/a%" PRIu64 "/b%" PRIu64, a, b);
		break;
	default:
		snprintf(path, sizeof(path), "/e%" PRIu64, b);
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

static void multi_one(struct load *l, struct pk_buf *b)
{
	struct zk_create_req create = { .acl = zk_acls_open() };
	struct zk_delete_req del;
	struct zk_set_data_req set;
	struct zk_check_req check;
	const char *data;

	switch (below(&l->rng, 4)) {
	case 0:
		create.path = pk_bytes_str(any_path(l));
		create.flags = (int32_t)below(&l->rng, 4);
		zk_multi_op_header(b, chance(&l->rng, 50) ? ZK_OP_CREATE : ZK_OP_CREATE2);
		zk_create_req_encode(b, &create);
		break;
	case 1:
		del = (struct zk_delete_req){ pk_bytes_str(any_path(l)), any_version(l) };
		zk_multi_op_header(b, ZK_OP_DELETE);
		zk_delete_req_encode(b, &del);
		break;
	case 2:
		data = any_data(l);
		set = (struct zk_set_data_req){ pk_bytes_str(any_path(l)),
						data != NULL ? pk_bytes_str(data) : PK_BYTES_NONE,
						any_version(l) };
		zk_multi_op_header(b, ZK_OP_SET_DATA);
		zk_set_data_req_encode(b, &set);
		break;
	default:
		check = (struct zk_check_req){ pk_bytes_str(any_path(l)), any_version(l) };
		zk_multi_op_header(b, ZK_OP_CHECK);
		zk_check_req_encode(b, &check);
		break;
	}
}

static void request(struct load *l)
{
	static const int32_t reads[] = { ZK_OP_EXISTS,         ZK_OP_GET_DATA,
					 ZK_OP_GET_CHILDREN,   ZK_OP_GET_CHILDREN2,
					 ZK_OP_GET_EPHEMERALS, ZK_OP_GET_ALL_CHILDREN_NUMBER };
	struct client *c = l->client;
	struct pk_buf b = PK_BUF_INIT;
	uint64_t pick = below(&l->rng, 100);

	if (pick < 18) {
		client_create(c, chance(&l->rng, 50) ? ZK_OP_CREATE : ZK_OP_CREATE2, any_path(l),
			      any_data(l), ZK_CREATE_PERSISTENT);
	} else if (pick < 24) {
		client_create(c, ZK_OP_CREATE, any_path(l), any_data(l), ZK_CREATE_EPHEMERAL);
	} else if (pick < 30) {
		client_create(c, ZK_OP_CREATE2, any_path(l), "q",
			      chance(&l->rng, 50) ? ZK_CREATE_SEQUENTIAL
						  : ZK_CREATE_EPHEMERAL_SEQUENTIAL);
	} else if (pick < 40) {
		client_delete(c, any_path(l), any_version(l));
	} else if (pick < 55) {
		client_set(c, any_path(l), any_data(l), any_version(l));
	} else if (pick < 62) {
		for (uint64_t n = 1 + below(&l->rng, 4); n > 0; n--)
			multi_one(l, &b);
		zk_multi_end(&b);
		client_multi(c, pk_buf_bytes(&b));
		pk_buf_release(&b);
	} else if (pick < 68) {
		client_ask(c, ZK_OP_SYNC, "/", false);
	} else if (pick < 72 && client_watches(c) < 12) {
		client_add_watch(c, chance(&l->rng, 20) ? "/" : any_path(l), chance(&l->rng, 50));
	} else if (pick < 75) {
		client_check_watches(
			c, chance(&l->rng, 50) ? ZK_OP_REMOVE_WATCHES : ZK_OP_CHECK_WATCHES,
			any_path(l), (int32_t)(1 + below(&l->rng, 3)));
	} else {
		int32_t op = reads[below(&l->rng, PK_COUNT(reads))];
		client_ask(c, op, any_path(l), chance(&l->rng, 50));
	}
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

	if (number != l->number || l->silent)
		return;
	switch (client_state(l->client)) {
	case CLIENT_IDLE:
		if (!l->done)
			client_connect(l->client, (int)below(&l->rng, sim_servers(s)));
		break;
	case CLIENT_CONNECTING:
		break;
	case CLIENT_CONNECTED:
		if (l->stopping) {
			if (!l->last_sent)
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
	later(l, 500 * SIM_MS);
}
