/*
 * Which faults happen when.
 *
 * What is kept within what the design promises: at most a minority loses its disk, one at a time,
 * and only while another server is up that has data (store/found.h says why).
 */
#include "store/raft_node.h"
#include "tests/lib/sim_disk.h"
#include "tests/sim/cluster_run.h"

static int any_server(struct run *r)
{
	int leader = sim_leader(r->sim);

	int i = (int)below(&r->rng, sim_servers(r->sim));

	if (leader >= 0 && chance(&r->rng, 50))
		return leader;
	while (!sim_placed(r->sim, i))
		i = (i + 1) % (int)sim_servers(r->sim);
	return i;
}

static int down_count(struct run *r)
{
	int down = 0;

	for (int i = 0; i < (int)sim_servers(r->sim); i++)
		down += sim_placed(r->sim, i) && !sim_up(r->sim, i);
	return down;
}

static void restart(struct sim *s, void *arg, uint64_t server)
{
	struct run *r = arg;

	if (!r->healed && !sim_damaged(s, (int)server))
		sim_start(s, (int)server);
}

static void crash(struct run *r)
{
	struct sim *s = r->sim;
	int n = (int)sim_servers(s), first = any_server(r);
	int count = chance(&r->rng, 70)   ? 1
		    : chance(&r->rng, 50) ? n
					  : 1 + (int)below(&r->rng, (uint64_t)n);

	for (int i = 0; i < count; i++) {
		int j = (first + i) % n;
		sim_crash(s, j, chance(&r->rng, 50));
		if (chance(&r->rng, 85))
			sim_call_at(s, (int64_t)below(&r->rng, 4000) * SIM_MS, restart, r,
				    (uint64_t)j);
	}
}

static bool others_have_data(struct run *r, int but, bool reconfiguring)
{
	struct sim *s = r->sim;
	int with = 0, others = 0, voters = 0;

	if (sim_leader(s) < 0 || (!sim_members_settled(s) && !reconfiguring))
		return false;

	for (int i = 0; i < (int)sim_servers(s); i++) {
		voters += sim_group_role(s, i) == RAFT_NODE_VOTER;
		if (i == but || (!sim_member(s, i) && sim_group_role(s, i) < 0))
			continue;
		others++;
		if (sim_joining(s, i) || !sim_up(s, i))
			return false;
		with += tree_meta(server_tree(sim_server(s, i)))->index > 1;
	}
	return with == others && (voters > 2 || sim_group_role(s, but) != RAFT_NODE_VOTER);
}

static bool others_ail(struct run *r, int but)
{
	bool any = false;

	for (int i = 0; i < (int)sim_servers(r->sim); i++)
		any |= i != but && (sim_ailing(r->sim, i) || sim_damaged(r->sim, i));
	return any;
}

void operate(struct run *r)
{
	struct sim *s = r->sim;

	for (int i = 0; i < (int)sim_servers(s); i++) {
		if (!sim_damaged(s, i) || !others_have_data(r, i, true))
			continue;
		sim_wipe(s, i);
		sim_start(s, i);
	}
}

/* Everybody else follows one leader, and holds all that this one, which is down, ever had. */
static bool others_hold_all(struct run *r, int but, uint64_t index)
{
	struct sim *s = r->sim;
	int leader = sim_leader(s);

	if (leader < 0)
		return false;
	for (int i = 0; i < (int)sim_servers(s); i++) {
		if (i == but || sim_group_role(s, i) < 0)
			continue;
		struct raft_node *raft = sim_up(s, i) ? server_raft(sim_server(s, i)) : NULL;
		if (raft == NULL || sim_joining(s, i) ||
		    raft_node_leader(raft) != (uint64_t)leader + 1 ||
		    raft_node_commit_index(raft) < index)
			return false;
	}
	return true;
}

/*
 * An old copy of a server's own folders is put back. It takes back votes and acknowledgements,
 * which nobody can tell; what is promised is that the others bring it up to date if they need
 * nothing of that.
 */
static void old_copy(struct run *r, int i)
{
	struct sim *s = r->sim;

	sim_crash(s, i, chance(&r->rng, 50));
	sim_disk_keep(s, i);
	sim_start(s, i);
	sim_run(s, (int64_t)below(&r->rng, 8000));
	if (sim_violation(s) != NULL || !others_have_data(r, i, false) || !sim_up(s, i))
		return;
	struct raft_node *raft = server_raft(sim_server(s, i));
	uint64_t last = raft != NULL ? raft_node_last_index(raft) : UINT64_MAX;
	sim_crash(s, i, chance(&r->rng, 50));
	for (int wait = 0; wait < 20 && !others_hold_all(r, i, last); wait++)
		sim_run(s, 200);
	if (others_hold_all(r, i, last) && sim_violation(s) == NULL) {
		sim_disk_put_back(s, i);
		sim_stats(s)->old_copies++;
	}
	sim_start(s, i);
}

/* One server's log is damaged, or its disk fails: a minority, and of no more than one at a time. */
static void damage(struct run *r)
{
	struct sim *s = r->sim;
	int i = any_server(r), n = (int)sim_servers(s);
	uint64_t next = 1 + below(&r->rng, 30);
	struct sim_disk_faults f = { 0 };

	if (!others_have_data(r, i, false) || sim_joining(s, i) || others_ail(r, i) ||
	    !sim_up(s, i))
		return;
	uint64_t kind = below(&r->rng, 9);
	if (r->members && kind != 0 && kind != 1 && kind != 3)
		return; /* found later, when a group that shrank meanwhile may need just this one */
	switch (kind) {
	case 0:
	case 1:
		f.fail_at = sim_disk_op(s, i) + next;
		sim_disk_fault(s, i, &f);
		break;
	case 2:
		f.misdirect_at = sim_disk_op(s, i) + next;
		f.misdirect_by = SIM_SECTOR_BYTES * pk_rng_range(&r->rng, -16, 16);
		sim_disk_fault(s, i, &f);
		break;
	case 3:
		sim_disk_full(s, i, 1000 + below(&r->rng, 1 << 20));
		break;
	case 4:
		for (uint64_t bits = 1 + below(&r->rng, 4); bits > 0; bits--)
			sim_disk_flip(s, i);
		break;
	case 5: /* a bit is read wrongly when it starts */
		sim_crash(s, i, chance(&r->rng, 50));
		f.flip_read_at = sim_disk_read(s, i) + 1 + below(&r->rng, 8);
		sim_disk_fault(s, i, &f);
		sim_start(s, i);
		break;
	case 6:
	case 7:
		old_copy(r, i);
		break;
	default:
		sim_crash(s, i, true);
		sim_disk_copy(s, i, (i + 1 + (int)below(&r->rng, (uint64_t)n - 1)) % n);
		sim_start(s, i);
		break;
	}
}

/*
 * The worst moment to lose a disk: of three, one is behind, and with the vote of the one that
 * forgot it could lead once the third is gone too.
 */
static bool wipe_at_worst(struct run *r)
{
	struct sim *s = r->sim;
	int leader = sim_leader(s), others[2], n = 0;

	if (others_ail(r, -1) || sim_reconfiguring(s))
		return false;
	for (int i = 0; i < (int)sim_servers(s); i++) {
		if (!sim_voter(s, i) || i == leader)
			continue;
		if (n == 2 || !sim_up(s, i) || sim_joining(s, i))
			return false;
		others[n++] = i;
	}
	if (leader < 0 || n != 2 || !sim_voter(s, leader))
		return false;
	int forgets = others[below(&r->rng, 2)], behind = others[0] + others[1] - forgets;
	sim_heal(s);
	sim_cut(s, leader, behind, true);
	sim_cut(s, behind, leader, true);
	sim_run(s, 50 + (int64_t)below(&r->rng, 400));
	if (sim_violation(s) != NULL || !others_have_data(r, forgets, false))
		return true;
	sim_disk_slow(s, forgets, (int64_t)below(&r->rng, 100000), 0);
	sim_crash(s, forgets, true);
	sim_wipe(s, forgets);
	sim_start(s, forgets);
	sim_run(s, (int64_t)below(&r->rng, 1000));
	sim_crash(s, leader, true);
	sim_call_at(s, (2000 + (int64_t)below(&r->rng, 4000)) * SIM_MS, restart, r,
		    (uint64_t)leader);
	return true;
}

static void wipe(struct run *r)
{
	struct sim *s = r->sim;
	int i = any_server(r);

	if (others_ail(r, i))
		return;
	if (chance(&r->rng, 40) && wipe_at_worst(r))
		return;
	if (!others_have_data(r, i, false) || sim_joining(s, i))
		return;
	sim_crash(s, i, true);
	sim_wipe(s, i);
	sim_start(s, i);
}

static void cut(struct run *r)
{
	struct sim *s = r->sim;
	uint64_t kind = below(&r->rng, 6), side = pk_rng_next(&r->rng);
	int n = (int)sim_servers(s), one = any_server(r);
	bool breaks = chance(&r->rng, 50);

	if (kind != 3)
		sim_heal(s);
	sim_say(s, "cut kind %d around %d", (int)kind, one);
	for (int i = 0; i < n; i++) {
		for (int j = 0; j < n; j++) {
			bool is = kind == 1   ? ((side >> i) & 1) != ((side >> j) & 1)
				  : kind == 2 ? (i == one) != (j == one)
				  : kind == 3 ? i == one && chance(&r->rng, 60)
				  : kind == 4 ? j == one && chance(&r->rng, 60)
					      : false;
			if (i == j || !is)
				continue;
			sim_cut(s, i, j, true);
			if (breaks)
				sim_break(s, i, j);
		}
	}
}

static void net(struct run *r)
{
	struct sim_net to = { .delay_least_us = 50,
			      .delay_most_us = pk_rng_range(&r->rng, 200, 60000) };

	if (chance(&r->rng, 60))
		to.break_ppm = (uint32_t)below(&r->rng, 5000);
	if (chance(&r->rng, 40))
		to.delay_most_us = 1000;
	to.part_ppm = r->plan->seed % 3 == 0 ? 0 : 1u << (r->plan->seed % 20);
	sim_net_set(r->sim, to);
	if (chance(&r->rng, 40)) { /* one direction of one link is slow */
		int n = (int)sim_servers(r->sim), i = any_server(r);
		sim_slow(r->sim, i, (int)below(&r->rng, (uint64_t)n),
			 pk_rng_range(&r->rng, 0, 400000));
	}
	if (chance(&r->rng, 30))
		sim_break(r->sim, (int)below(&r->rng, sim_servers(r->sim)),
			  (int)below(&r->rng, sim_servers(r->sim)));
}

/* Also of a leader that none of its peers reaches when it wakes, and that believes to lead. */
static void pause_server(struct run *r)
{
	int i = any_server(r);
	bool cut_off = i == sim_leader(r->sim) && chance(&r->rng, 40);

	for (int j = 0; cut_off && j < (int)sim_servers(r->sim); j++) {
		if (j == i)
			continue;
		sim_cut(r->sim, i, j, true);
		sim_cut(r->sim, j, i, true);
	}
	/* now and then longer than every timeout there is */
	sim_pause(r->sim, i, pk_rng_range(&r->rng, 50, chance(&r->rng, 10) ? 45000 : 6000));
}

static void disk(struct run *r)
{
	int i = any_server(r);

	if (chance(&r->rng, 10)) {
		bool refuse = chance(&r->rng, 50);
		for (int j = 0; j < (int)sim_servers(r->sim); j++)
			if (!refuse || chance(&r->rng, 40))
				sim_refuse_writes(r->sim, j, refuse);
		return;
	}
	sim_disk_slow(r->sim, i, chance(&r->rng, 40) ? 0 : (int64_t)below(&r->rng, 300000),
		      chance(&r->rng, 40) ? 0 : (int64_t)below(&r->rng, 2000000));
}

static void client(struct run *r)
{
	struct load *l = &r->loads[below(&r->rng, r->load_count)];
	struct sim_conn *c = client_wire(l->client);

	if (c == NULL)
		return;
	switch (below(&r->rng, 5)) {
	case 0:
		client_drop(l->client);
		break;
	case 1:
		client_break(l->client);
		break;
	case 2:
		sim_conn_slow(c, (int64_t)below(&r->rng, 30000), 1u << below(&r->rng, 16));
		break;
	case 3:
		sim_conn_stall(c, (int64_t)below(&r->rng, 3000));
		break;
	default:
		client_pings(l->client, chance(&r->rng, 70));
		break;
	}
}

static void wall(struct run *r)
{
	int64_t ms = pk_rng_range(&r->rng, -100000, 100000);
	int i = any_server(r);

	if (chance(&r->rng, 25)) { /* as on a machine whose clock does not run while it is off */
		r->wall_slack_ms += 120000;
		sim_crash(r->sim, i, true);
		sim_wall_rewind(r->sim, i);
		sim_start(r->sim, i);
		return;
	}
	r->wall_slack_ms += ms < 0 ? -ms : ms;
	sim_wall_jump(r->sim, i, ms);
}

static void fault(struct run *r)
{
	uint64_t pick = below(&r->rng, r->crash + r->cut + r->pause + r->disk + r->net + r->wipe +
					       r->wall + r->client + r->damage);

	if (pick < r->crash) {
		int down = down_count(r);
		if (down > 0 && chance(&r->rng, 60)) {
			int i = (int)below(&r->rng, sim_servers(r->sim));
			while (sim_up(r->sim, i) || !sim_placed(r->sim, i))
				i = (i + 1) % (int)sim_servers(r->sim);
			if (!sim_damaged(r->sim, i))
				sim_start(r->sim, i);
		} else {
			crash(r);
		}
		return;
	}
	pick -= r->crash;
	if (pick < r->cut) {
		cut(r);
		return;
	}
	pick -= r->cut;
	if (pick < r->pause) {
		pause_server(r);
		return;
	}
	pick -= r->pause;
	if (pick < r->disk) {
		disk(r);
		return;
	}
	pick -= r->disk;
	if (pick < r->net) {
		net(r);
		return;
	}
	pick -= r->net;
	if (pick < r->damage) {
		damage(r);
		return;
	}
	pick -= r->damage;
	if (pick < r->wipe) {
		wipe(r);
		return;
	}
	pick -= r->wipe;
	if (pick < r->wall)
		wall(r);
	else
		client(r);
}

void faults_plan(struct run *r)
{
	uint32_t *weights[] = { &r->crash, &r->cut,  &r->pause,  &r->disk,  &r->net,
				&r->wipe,  &r->wall, &r->client, &r->damage };

	for (size_t i = 0; i < PK_COUNT(weights); i++)
		*weights[i] = chance(&r->rng, 60) ? (uint32_t)pk_rng_range(&r->rng, 1, 10) : 0;
	r->client++;
	r->fault_every_ms = pk_rng_range(&r->rng, 50, 3000);
}

/* A fault may have taken longer. */
static void run_until(struct sim *s, int64_t at_ms)
{
	if (at_ms > sim_now_ms(s))
		sim_run(s, at_ms - sim_now_ms(s));
}

void faults_until(struct run *r, int64_t until_ms)
{
	struct pk_rng times = r->rng;
	int64_t at_ms = sim_now_ms(r->sim);

	while (r->faults < FAULTS_MAX && !r->plan->calm) {
		at_ms += 1 + (int64_t)below(&times, (uint64_t)(2 * r->fault_every_ms));
		if (at_ms >= until_ms || sim_violation(r->sim) != NULL)
			break;
		run_until(r->sim, at_ms);
		size_t number = r->faults++;
		if ((r->plan->some && !r->plan->keep[number]) || sim_violation(r->sim) != NULL)
			continue;
		sim_say(r->sim, "fault %zu", number);
		pk_rng_seed(&r->rng, r->plan->seed << 12 ^ number ^ 0xfa017);
		fault(r);
		operate(r);
	}
	run_until(r->sim, until_ms);
}

void faults_end(struct run *r)
{
	struct sim *s = r->sim;

	r->healed = true;
	sim_say(s, "healed");
	sim_net_set(s, (struct sim_net){ .delay_least_us = 100, .delay_most_us = 2000 });
	sim_heal(s);
	for (int i = 0; i < (int)sim_servers(s); i++) {
		sim_disk_slow(s, i, 0, 0);
		sim_pause(s, i, 0);
		sim_disk_full(s, i, 0);
		sim_refuse_writes(s, i, false);
		if (!sim_damaged(s, i))
			sim_start(s, i);
	}
	for (size_t i = 0; i < r->load_count; i++)
		client_pings(r->loads[i].client, true);
}

/* Whoever there is runs, belongs where it is, and has nothing that is damaged. */
static bool all_well(struct run *r)
{
	struct sim *s = r->sim;

	if (sim_leader(s) < 0 || sim_reconfiguring(s) || !sim_members_settled(s))
		return false;
	for (int i = 0; i < (int)sim_servers(s); i++)
		if (sim_member(s, i) && (!sim_up(s, i) || sim_joining(s, i) || sim_ailing(s, i)))
			return false;
	return true;
}

static size_t voters_up(struct run *r, const int *voters, size_t count)
{
	size_t up = 0;

	for (size_t i = 0; i < count; i++)
		up += sim_up(r->sim, voters[i]);
	return up;
}

/*
 * The logs of a majority are damaged while their servers are down. Who finds it does not start; if
 * too few are left nothing may be acknowledged, and what is read is judged as ever. Nobody could
 * repair it without losing something, so then the disks turn out to be well, and what was wrong was
 * the way to them.
 */
void damage_majority(struct run *r)
{
	struct sim *s = r->sim;
	int voters[SIM_SERVERS_MAX];
	size_t count = 0, number = r->faults;

	if (r->plan->calm || r->plan->seed % 8 != 3 || number >= FAULTS_MAX)
		return;
	r->faults++;
	if ((r->plan->some && !r->plan->keep[number]) || sim_violation(s) != NULL)
		return;
	faults_end(r);
	for (int i = 0; i < 120 && !all_well(r) && sim_violation(s) == NULL; i++) {
		sim_run(s, 500);
		operate(r);
	}
	if (!all_well(r) || sim_violation(s) != NULL)
		return; /* members that change, or a disk that still ails */
	sim_say(s, "fault %zu: a majority is damaged", number);
	pk_rng_seed(&r->rng, r->plan->seed << 12 ^ number ^ 0xfa017);
	for (int i = 0; i < (int)sim_servers(s); i++)
		if (sim_voter(s, i))
			voters[count++] = i;
	for (size_t i = count; i > 1; i--) { /* which of them come first */
		size_t j = below(&r->rng, i);
		int v = voters[j];
		voters[j] = voters[i - 1];
		voters[i - 1] = v;
	}
	size_t most = count / 2 + 1 + below(&r->rng, count - count / 2);
	for (size_t i = 0; i < most; i++)
		sim_crash(s, voters[i], chance(&r->rng, 50));
	for (size_t i = 0; i < most; i++) {
		sim_disk_keep(s, voters[i]);
		sim_disk_rot(s, voters[i]);
		sim_start(s, voters[i]);
	}
	sim_stats(s)->majorities++;
	sim_run(s, 5000); /* who led has noticed, who can lead does */
	bool stopped = voters_up(r, voters, count) <= count / 2;
	uint64_t entries = sim_stats(s)->entries; /* a slow reader may hear of older ones yet */
	sim_run(s, (int64_t)below(&r->rng, 20000));
	if (stopped && (sim_leader(s) >= 0 || sim_stats(s)->entries != entries))
		sim_violate(s, "something was committed though a majority is damaged");
	sim_stats(s)->stopped += stopped;
	for (size_t i = 0; i < most; i++) {
		if (sim_up(s, voters[i]))
			continue;
		sim_disk_put_back(s, voters[i]);
		sim_start(s, voters[i]);
	}
}
