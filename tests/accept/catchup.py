#!/usr/bin/python3
"""Servers that missed 200,000 writes catch up while clients go on: one paused, one killed, one that lost its disk.

Three servers under continuous writes. Each time a follower goes away, WRITES writes pass, it comes back, and two times
are printed: until it holds what the leader held when it came back, and until it is level with the leader. At the
end the load stops, and all three must have the same last zxid and the same digests, and clients that are
connected to one of them each must read the same nodes with the same stats and values.
WRITES=200000 NODES=20000 ONLY=paused,killed,emptied.
"""
import os
import signal
import sys
import time

from kazoo.client import KazooClient

from load import (MIB, Cluster, NeverHappened, bench, bench_finish, bench_start, empty, on_signals_exit, rss_bytes, wait_for,
                  words)

WRITES = int(os.environ.get("WRITES", "200000"))
NODES = int(os.environ.get("NODES", "20000"))
KEYS = 2000
CATCH_UP_S = 120
LEVEL = 5000        # writes in flight and between two questions
GETS_AT_ONCE = 500
SHAPE = ["-c", 8, "-p", 8]


def zxid(server):
    """The last zxid that a server applied; -1 when it cannot be asked or does not serve."""
    return int(words(server, "srvr").get("Zxid", "-1"), 16)


def pause(server):
    server.pause()


def resume(server):
    server.resume()


def kill(server):
    server.kill()


def restart(server):
    server.start()


STAGES = {"paused": (pause, resume), "killed": (kill, restart), "emptied": (empty, restart)}


def catch_up(cluster, what):
    away, back = STAGES[what]
    victim = cluster.followers()[0]
    others = [s for s in cluster.servers if s is not victim]
    load = bench_start(cluster, "set", "-t", "600s", "-w", 0, "--reconnect", "--keys", KEYS, *SHAPE, servers=others)
    try:
        first = max(zxid(s) for s in others)
        away(victim)
        wait_for(f"{WRITES} writes", lambda: max(zxid(s) for s in others) - first >= WRITES, 300, 0.1)
        began = time.monotonic()
        target = max(zxid(s) for s in others)
        back(victim)
        wait_for(f"{what}: zxid {target:#x} on server {victim.number}", lambda: zxid(victim) >= target, CATCH_UP_S, 0.01)
        held = time.monotonic() - began
        wait_for(f"{what}: server {victim.number} level with the others",
                 lambda: zxid(victim) + LEVEL >= max(zxid(s) for s in others), CATCH_UP_S, 0.01)
        level = time.monotonic() - began
    finally:
        load.send_signal(signal.SIGINT)
    row = bench_finish(load)
    print(f"{what}: server {victim.number}, {target - first} writes behind, had them after {held:.2f} s and was level "
          f"after {level:.2f} s; clients meanwhile {row['ops_per_s']:.0f} writes/s, longest {row['max_ms']:.0f} ms, "
          f"{row['lost']} unanswered; its RSS {rss_bytes(victim) / MIB:.0f} MiB", flush=True)


def digests(server):
    """The word hash: digests of the tree at every 128th zxid, the latest 1024."""
    out = {}
    for line in server.four_letters("hash").splitlines():
        at, _, value = line.partition(": ")
        out[at] = value
    return out


def read_all(server, top):
    """Every node below `top` with its stat and value, read through this server alone."""
    client = KazooClient(hosts=server.host, timeout=30)
    client.start(timeout=30)
    try:
        client.sync(top)
        nodes, level = {}, [top]
        while level:
            deeper = []
            for begin in range(0, len(level), GETS_AT_ONCE):
                part = level[begin:begin + GETS_AT_ONCE]
                asked = [(p, client.get_async(p), client.get_children_async(p)) for p in part]
                for path, got, children in asked:
                    nodes[path] = got.get(30)
                    deeper += [f"{path}/{name}" for name in children.get(30)]
            level = deeper
        return nodes
    finally:
        client.stop()
        client.close()


def compare(cluster):
    def agreed():
        last = {zxid(s) for s in cluster.servers}
        return last.pop() if len(last) == 1 and -1 not in last else None
    last = wait_for("one last zxid on all servers", agreed, 30)
    lists = [digests(s) for s in cluster.servers]
    common = [at for at in lists[0] if all(at in x for x in lists)]
    differ = [at for at in common if len({x[at] for x in lists}) != 1]
    if differ or not common:
        raise NeverHappened(f"of {len(common)} digests that all servers have these differ: {differ[:5]}")
    print(f"last zxid {last:#x} on all; {len(common)} digests on each, all equal", flush=True)
    for server in cluster.servers:
        row = bench(cluster, "verify", "-n", NODES, *SHAPE, servers=[server])
        print(f"server {server.number}: {row['ops']} values read, each the one written", flush=True)
    trees = [read_all(s, "/bench") for s in cluster.servers]
    for tree in trees[1:]:
        odd = [p for p in set(tree) | set(trees[0]) if tree.get(p) != trees[0].get(p)]
        if odd:
            raise NeverHappened(f"{len(odd)} nodes differ, such as {odd[0]}")
    print(f"{len(trees[0])} nodes read through each server: equal stats and values", flush=True)


def main():
    on_signals_exit()
    with Cluster("ours", 3) as cluster:
        cluster.start()
        bench(cluster, "fill", "-n", NODES, *SHAPE)
        for what in os.environ.get("ONLY", ",".join(STAGES)).split(","):
            catch_up(cluster, what)
        compare(cluster)
    print("accept-catchup: passed")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except NeverHappened as e:
        print(f"FAILED {e}\naccept-catchup: failed")
        sys.exit(1)
