#!/usr/bin/python3
"""make bench: our servers and the reference's in turn, on this machine, row by row; docs/bench.md and its plots.

    ROWS=get,create-64x16     rows whose name begins so; all without it (names: make bench ROWS=?)
    ROUNDS=3                  how often each is measured with each, ours and the reference in turn
    BENCH_MINUTES=28          windows and fills are sized to fit; when time is over the rest is left for another run
    HEAP=2g                   the reference's heap
    FRESH=1                   forget what earlier runs of these very programs measured
    WRITE=1                   write docs/bench.md though rows are missing

Three servers each, the same zoo.cfg for both, every write synced by both. Both clusters run while rows of load are
measured, and only one is loaded at a time; for rows about size and memory each has the machine for itself. Every pair
that is complete is kept in build/bench/results.jsonl, so a run that was cut short goes on where it was.
"""
import hashlib
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "accept"))

from load import (BENCH, BUILD, MIB, ROOT, Cluster, NeverHappened, bench, bench_finish, bench_start,  # noqa: E402
                  disk_bytes, empty, on_signals_exit, rss_bytes, start_timed, wait_for, words)
import cluster as clusters  # noqa: E402
import report  # noqa: E402
from rows import ROWS  # noqa: E402

KINDS = ["ours", "reference"]
ROUNDS = int(os.environ.get("ROUNDS", "3"))
MINUTES = float(os.environ.get("BENCH_MINUTES", "28"))
HEAP = os.environ.get("HEAP", "2g")
SCALE = MINUTES / 28
WINDOW_MS = int(os.environ.get("WINDOW_MS", str(int(min(4000, max(500, 2500 * SCALE))))))
WARM_MS = WINDOW_MS * 2 // 5
NODES = int(os.environ.get("NODES", "1000000" if SCALE >= 0.9 else "300000" if SCALE >= 0.5 else "50000"))
MANY = int(os.environ.get("MANY", "10000" if SCALE >= 0.5 else "2000"))
FILES_SPARE = 500       # open files beside the sessions
IDLE_MS = int(min(10000, max(3000, 10000 * SCALE)))
FAN_OUT_ROUNDS = 5
KILLS = 2               # of the leader, for one measurement
REST_SHARE = 0.1        # of a core, all servers together: nothing goes on behind a fill any more
REST_STEP_S = 1
REST_S = 30             # by then
GAP_LOAD_S = 9          # what a fail-over may take, at most
FILL = ["-c", 64, "-p", 16]
SETTINGS = {"tickTime": int(os.environ.get("TICK", "2000")), "snapCount": 100000, "preAllocSize": 65536}
FOR_SCENARIOS = ("-Xms", "-Xmx", "-XX:")    # small and quick to start: not how one would run it
NS_TICK = os.sysconf("SC_CLK_TCK")


def reference_at_full_speed(config_path, usual=clusters.reference_command):
    java, *rest = usual(config_path)
    return [java, f"-Xmx{HEAP}", *[x for x in rest if not x.startswith(FOR_SCENARIOS)]]


def cpu_s(servers):
    """CPU seconds that these servers have used so far."""
    total = 0
    for s in servers:
        with open(f"/proc/{s.process.pid}/stat") as f:
            fields = f.read().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / NS_TICK


def wait_for_rest(servers):
    """Until they used less than REST_SHARE of a core from one look to the next."""
    used = [float("-inf")]

    def at_rest():
        used.append(cpu_s(servers))
        return used[-1] - used[-2] < REST_SHARE * REST_STEP_S
    wait_for("the servers to come to rest", at_rest, REST_S, REST_STEP_S)


class Machine:
    """How much others used the machine while something was measured."""

    def __init__(self, servers):
        self.servers = servers
        self.begun, self.mine, self.total = time.monotonic(), self.own(), self.machine()

    def own(self):
        t = os.times()
        return t.user + t.system + t.children_user + t.children_system + sum(
            cpu_s([s]) for s in self.servers if s.running)

    @staticmethod
    def machine():
        """(busy, stolen) CPU seconds of the whole machine since it started."""
        with open("/proc/stat") as f:
            user, nice, system, _, _, irq, softirq, steal, *_ = [int(x) for x in f.readline().split()[1:]]
        return (user + nice + system + irq + softirq) / NS_TICK, steal / NS_TICK

    def foreign_percent(self):
        """Of all cores, by others and by the hypervisor."""
        busy, steal = (b - a for a, b in zip(self.total, self.machine()))
        others = busy - (self.own() - self.mine) + steal
        return max(0.0, 100 * others / (os.cpu_count() * max(0.001, time.monotonic() - self.begun)))


# ---- one measurement each -----------------------------------------------------------------------

def with_mib(row):
    row["server_rss_mib"] = row["server_rss_bytes"] / MIB
    return row


def run_load(cluster, row):
    return with_mib(bench(cluster, row.options[-1], "-t", f"{WINDOW_MS}ms", "-w", f"{WARM_MS}ms", "--clean",
                          *row.options[:-1]))


def run_fan_out(cluster, row):
    return with_mib(bench(cluster, "fan-out", "-c", MANY - 1, "-n", FAN_OUT_ROUNDS, "--session-timeout", "40s", "--clean"))


def run_failover(cluster, row):
    gaps, lost = [], 0
    for _ in range(KILLS):
        leader = cluster.leader()
        load = bench_start(cluster, "set", "-c", 6, "-p", 4, "-t", f"{GAP_LOAD_S}s", "-w", 0, "--keys", 200,
                           "--session-timeout", "30s", "--reconnect")
        try:
            first = int(words(leader, "srvr")["Zxid"], 16)
            wait_for("writes", lambda: int(words(leader, "srvr").get("Zxid", "0"), 16) > first + 2000, 20)
            leader.kill()
            others = [s for s in cluster.servers if s is not leader]
            wait_for("a new leader", lambda: any(s.mode() == "leader" for s in others), GAP_LOAD_S)
            lead = next(s for s in others if s.mode() == "leader")
            since = int(words(lead, "srvr").get("Zxid", "0"), 16)
            wait_for("writes again", lambda: int(words(lead, "srvr").get("Zxid", "0"), 16) > since + 500, GAP_LOAD_S)
        finally:
            load.send_signal(signal.SIGINT)
        got = bench_finish(load)
        if got["longest_gap_ms"] <= 0:
            raise NeverHappened("the load ended before it had measured anything")
        gaps.append(got["longest_gap_ms"])
        lost += got["sessions_lost"]
        cluster.restart(leader)
    return {"longest_gap_ms": statistics.median(gaps), "gaps_ms": gaps, "sessions_lost": lost}


def run_idle(cluster, row):
    got = with_mib(bench(cluster, "idle", "-c", MANY, "-t", f"{IDLE_MS}ms", "-w", "1s", "--session-timeout", "30s"))
    got["session_kib"] = max(0, got["server_rss_bytes_sum"] - got["server_rss_bytes_sum_before"]) / 1024 / MANY
    got["core_percent"] = 100 * got["server_cpu_s"] / got["seconds"]
    return got


def run_fill(cluster, row):
    before = cpu_s(cluster.servers)
    got = with_mib(bench(cluster, "fill", "-n", NODES, *FILL))
    wait_for_rest(cluster.servers)  # what a fill leaves to be done belongs to its cost
    got["cpu_s"] = cpu_s(cluster.servers) - before
    got["rss_mib"] = statistics.mean(rss_bytes(s) for s in cluster.servers) / MIB
    got["disk_mib"] = statistics.mean(disk_bytes(s.folder) for s in cluster.servers) / MIB
    return got


def run_restart(cluster, row):
    for server in cluster.servers:
        server.kill()
    times = start_timed(cluster.servers, 300)
    cluster.wait_ready()
    bench(cluster, "verify", "-n", min(NODES, 100000), *FILL)
    return {"restart_s": max(times.values())}


def run_catch_up(cluster, row):
    def zxid(server):
        return int(words(server, "srvr").get("Zxid", "-1"), 16)

    victim = cluster.followers()[0]
    empty(victim)
    target = max(zxid(s) for s in cluster.servers if s is not victim)
    began = time.monotonic()
    victim.start()
    wait_for("the emptied follower to have everything", lambda: victim.mode() == "follower" and zxid(victim) >= target,
             300, 0.01)
    took = time.monotonic() - began
    bench(cluster, "verify", "-n", min(NODES, 100000), *FILL, servers=[victim])
    return {"catch_up_s": took}


RUN = {"load": run_load, "fan-out": run_fan_out, "failover": run_failover, "idle": run_idle, "fill": run_fill,
       "restart": run_restart, "catch-up": run_catch_up}
TOGETHER = ("load", "fan-out", "failover")      # rows for which both clusters run


# ---- what was measured already ------------------------------------------------------------------

class Results:
    """results.jsonl: one line for each pair, of the programs and sizes that it was measured with."""

    def __init__(self):
        self.folder = os.path.join(BUILD, "bench")
        self.path = os.path.join(self.folder, "results.jsonl")
        os.makedirs(self.folder, exist_ok=True)
        self.id = self.identity()
        self.pairs = {}
        if os.environ.get("FRESH") and os.path.exists(self.path):
            os.unlink(self.path)
        if os.path.exists(self.path):
            with open(self.path) as f:
                for line in f:
                    pair = json.loads(line)
                    if pair["id"] == self.id:
                        self.pairs[(pair["row"], pair["round"])] = pair

    @staticmethod
    def identity():
        h = hashlib.sha256(json.dumps([WINDOW_MS, NODES, MANY, IDLE_MS, HEAP, SETTINGS]).encode())
        for program in (os.path.join(BUILD, "paddock-store"), BENCH):
            with open(program, "rb") as f:
                h.update(f.read())
        return h.hexdigest()[:16]

    def add(self, row, number, got, noise):
        pair = {"id": self.id, "row": row.name, "round": number, "time": int(time.time()), "foreign_percent": noise, **got}
        self.pairs[(row.name, number)] = pair
        with open(self.path, "a") as f:
            f.write(json.dumps(pair) + "\n")

    def has(self, row, number):
        return (row.name, number) in self.pairs

    def of(self, row):
        return [self.pairs[(row.name, n)] for n in range(ROUNDS) if (row.name, n) in self.pairs]


def say(row, number, got, noise):
    figure = row.targets[0].figure
    a, b = got["ours"][figure], got["reference"][figure]
    unit, digits = report.unit_of(figure)
    print(f"{row.name:28} round {number + 1}: ours {a:,.{digits}f}, reference {b:,.{digits}f} {unit}"
          + (f", {a / b:.2f}x" if b else "")
          + (f"; others used {noise:.0f} % of the machine" if noise is not None else ""), flush=True)


class OutOfTime(Exception):
    pass


class Run:
    def __init__(self, rows, results):
        self.rows, self.results = rows, results
        self.end = time.monotonic() + MINUTES * 60

    def in_time(self, needed_s=0):
        if time.monotonic() + needed_s > self.end:
            raise OutOfTime

    def missing(self, kinds):
        return [(n, row) for n in range(ROUNDS) for row in self.rows
                if row.kind in kinds and not self.results.has(row, n)]

    def together(self):
        todo = self.missing(TOGETHER)
        if not todo:
            return
        with Cluster("ours", 3, SETTINGS) as ours, Cluster("reference", 3, SETTINGS) as reference:
            running = {"ours": ours.start(), "reference": reference.start()}
            servers = ours.servers + reference.servers
            for kind in KINDS:      # a Java program needs to have run a while
                for row in ("mixed", "create"):
                    bench(running[kind], row, "-c", 64, "-p", 16, "-t", f"{WINDOW_MS}ms", "--keys", 2000, "--clean")
            for number, row in todo:
                self.in_time()
                machine = Machine(servers)
                got = {kind: RUN[row.kind](running[kind], row) for kind in KINDS}
                self.keep(row, number, got, None if row.kind == "failover" else machine.foreign_percent())

    def keep(self, row, number, got, noise):
        self.results.add(row, number, got, noise)
        say(row, number, got, noise)

    def alone(self):
        """idle, fill, restart, catch-up: one after the other in a cluster that did nothing before."""
        took_s = 0
        for number in range(ROUNDS):
            rows = [row for n, row in self.missing(("idle", "fill", "restart", "catch-up")) if n == number]
            if not rows:
                continue
            self.in_time(took_s)
            began = time.monotonic()
            if all(row.kind != "fill" for row in rows) and any(row.kind in ("restart", "catch-up") for row in rows):
                rows = [r for r in ROWS if r.kind == "fill"] + rows     # they need its nodes
            got, noise = {}, {}
            for kind in KINDS:
                with Cluster(kind, 3, SETTINGS) as cluster:
                    cluster.start()
                    for row in rows:
                        machine = Machine(cluster.servers)
                        got.setdefault(row.name, {})[kind] = RUN[row.kind](cluster, row)
                        noise.setdefault(row.name, []).append(
                            machine.foreign_percent() if row.kind in ("idle", "fill") else None)
            for row in rows:    # servers that end take their share of CPU time with them: then it cannot be told
                self.keep(row, number, got[row.name], None if None in noise[row.name] else max(noise[row.name]))
            took_s = time.monotonic() - began


def yardstick():
    """What the generator can do, and at what cost."""
    done = subprocess.run([BENCH, "--json", "--yardstick", "-c", "64", "-p", "16", "-t", "1s", "-w", "300ms", "get", "create"],
                          stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def rows_asked():
    asked = [x for x in os.environ.get("ROWS", "").split(",") if x]
    rows = [r for r in ROWS if not asked or any(r.name.startswith(x) for x in asked)]
    if not rows:
        print("the rows are: " + " ".join(r.name for r in ROWS))
        raise SystemExit(0 if asked == ["?"] else 2)
    for row in ROWS:
        row.label = row.label.format(watchers=f"{MANY - 1:,}", sessions=f"{MANY:,}", nodes=f"{NODES:,}")
    return rows


def main():
    on_signals_exit()
    clusters.COMMANDS["reference"] = reference_at_full_speed
    rows = rows_asked()
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if files != resource.RLIM_INFINITY and files < MANY + FILES_SPARE:
        print(f"bench: {MANY} sessions need as many open files, here {files} are allowed (ulimit -Hn): or say MANY=n")
        return 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))      # the servers inherit it
    results = Results()
    run = Run(rows, results)
    kept = sum(results.has(r, n) for r in rows for n in range(ROUNDS))
    print(f"bench: {len(rows)} rows, {ROUNDS} rounds, {kept} of {len(rows) * ROUNDS} pairs kept from earlier runs of these "
          f"programs; windows of {WINDOW_MS} ms, {NODES:,} nodes, {MANY:,} sessions", flush=True)
    generator = yardstick()
    for x in generator:
        print(f"generator against a server that does nothing: {x['row']} {x['ops_per_s']:,.0f}/s with "
              f"{x['generator_cpu_percent']:.0f} % of a core: {report.capacity(x):,.0f}/s from a whole one", flush=True)
    status = 0
    try:
        run.together()
        run.alone()
    except OutOfTime:
        print(f"bench: {MINUTES:g} minutes are over: what is missing comes with the next make bench", flush=True)
    except NeverHappened as e:
        print(f"FAILED {e}", file=sys.stderr)
        status = 1
    setup = {"window_ms": WINDOW_MS, "warm_ms": WARM_MS, "rounds": ROUNDS, "heap": HEAP, "settings": SETTINGS,
             "generator": generator, "minutes": MINUTES, "idle_ms": IDLE_MS, "kills": KILLS}
    report.write(results, ROWS, ROUNDS, setup, results.folder, ROOT, force=bool(os.environ.get("WRITE")))
    return status


if __name__ == "__main__":
    sys.exit(main())
