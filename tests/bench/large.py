#!/usr/bin/python3
"""make bench-large: our servers with much in them: many znodes, many children, many sessions, large values, little memory.

    PARTS=tree,herd           some of: tree children herd values memory snapshots; all without it
    NODES=10000000            znodes of the tree
    CHILDREN=1000000          of one directory
    SESSIONS=10000            of the herd
    LARGE_MS=6000             a window of load
    MEMORY_NODES=3000000      znodes of the server that is allowed a quarter of its state's size
    SPREAD_NODES=1000000      znodes that writes are spread over, and that an emptied follower fetches
    WRITE=1                   write docs/bench.md though the sizes are not these

What a part measured is kept in build/bench/large.jsonl with commit, date and how busy others kept the machine. The page has
of each part the last that was measured at full size. A part that fails does not keep the others from running; the status is
1 then. Nothing stays behind: servers, generators, folders and the control group go also on Ctrl-C.
"""
import contextlib
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
sys.path[:0] = [os.path.join(TESTS, "accept"), os.path.join(TESTS, "diff")]

from load import (MIB, Cluster, NeverHappened, bench, bench_finish, bench_start, disk_bytes, empty,  # noqa: E402
                  on_signals_exit, start_timed, wait_for, words)
from bench import Machine, cpu_s, wait_for_rest  # noqa: E402
import cluster as clusters  # noqa: E402
import large_page as page  # noqa: E402
from large_cgroup import Group, NoGroups  # noqa: E402
from large_wire import Client, Witness, child_watch_cost, exists_watch_cost  # noqa: E402

FULL = {"NODES": 10000000, "CHILDREN": 1000000, "SESSIONS": 10000, "LARGE_MS": 6000, "MEMORY_NODES": 3000000,
        "SPREAD_NODES": 1000000}
SIZES = {name: int(os.environ.get(name, str(default))) for name, default in FULL.items()}
NODES, CHILDREN, SESSIONS, LARGE_MS, MEMORY_NODES, SPREAD_NODES = (SIZES[x] for x in FULL)
SETTINGS = {"tickTime": 2000, "znode.container.checkIntervalMs": 60000}
MANY = ["-c", 64, "-p", 16]
SOME = ["-c", 16, "-p", 4]
WINDOW = ["-t", f"{LARGE_MS}ms", "-w", f"{LARGE_MS // 3}ms"]
SHORT = ["-t", f"{LARGE_MS // 2}ms", "-w", f"{LARGE_MS // 6}ms"]
DISK_BYTES = 1500           # that a node may take on three servers together, log included
SMALL = 20000               # nodes of the directories that a large one is compared with, a hundred in each
SMALL_DIRS = 200
TOUCHED = min(20000, CHILDREN)      # creates and deletes in a directory
WATCH_ROUNDS = 15
HERD_DIRS = 16
HERD_S, EXPIRY_S = 20, 10    # session timeouts: of those that come back, of those that do not
VALUE_BYTES = 1047552       # the request stays below jute.maxbuffer
SMALL_SETS, SMALL_GETS = 300, 1000      # a second, beside something else
STEADY_SETS, STEADY_GETS = 2000, 4000   # while snapshots are taken and sent
UNDER_WAY_SETS = 5000       # and then it is killed
PRESSED_SETS = 200000       # about three times the log that brings a commit at the latest
PRESSED_LARGE_SETS, PRESSED_BYTES = 60000, 1024
PRESSED_ELECTION_MS = 5000  # with a slow disk under all three a page fault may take as long as elections else do
LEAST_LIMIT = 96 * MIB      # what a server needs whatever its tree
PROGRESS_S = 10
FILES_SPARE = 500


def say(text):
    print(f"  {time.strftime('%H:%M:%S')} {text}", flush=True)


# ---- what servers hold --------------------------------------------------------------------------

def memory_of(server):
    """(resident, of it anonymous) bytes: the rest are pages of the state's file, which the kernel may drop."""
    found = {}
    with open(f"/proc/{server.process.pid}/status") as f:
        for line in f:
            key, _, value = line.partition(":")
            if key in ("VmRSS", "RssAnon"):
                found[key] = int(value.split()[0]) * 1024
    return found["VmRSS"], found["RssAnon"]


def memory_mean(servers):
    every = [memory_of(s) for s in servers]
    return tuple(statistics.mean(x) for x in zip(*every))


def rss_sum(servers):
    return sum(memory_of(s)[0] for s in servers)


def state_bytes(server):
    data = os.path.join(server.folder, "data")
    return sum(disk_bytes(os.path.join(data, name)) for name in os.listdir(data)
               if name.startswith("state-") and os.path.isdir(os.path.join(data, name)))


def told(server, key):
    return int(float(words(server, "mntr").get(key, "0")))


def zxid(server):
    return int(words(server, "srvr").get("Zxid", "-1"), 16)


def filled(cluster, what, count, *options):
    """Fill, with a line of progress now and then."""
    load = bench_start(cluster, "fill", "-n", count, *options)
    base = told(cluster.servers[0], "zk_znode_count")
    while True:
        try:
            load.wait(PROGRESS_S)
            break
        except subprocess.TimeoutExpired:
            say(f"{what}: {told(cluster.servers[0], 'zk_znode_count') - base:,} of {count:,}")
    got = bench_finish(load)
    say(f"{what}: {count:,} in {got['seconds']:.1f} s, {got['ops_per_s']:,.0f}/s, p99 {got['p99_ms']:.2f} ms")
    return got


class Beside:
    """Loads that go on while the body runs, each at its rate, or for a window of so many ms; results after it. What fails
    in them is an error then."""

    def __init__(self, cluster, loads, servers=None, window_ms=None):
        self.cluster, self.loads, self.servers, self.window_ms = cluster, loads, servers, window_ms
        self.running, self.results = {}, {}

    def __enter__(self):
        time_option = "1h" if self.window_ms is None else f"{self.window_ms}ms"
        for name, (row, *options) in self.loads.items():
            self.running[name] = bench_start(self.cluster, row, "-t", time_option, "-w", 0, *options, servers=self.servers)
        return self

    def ended(self, name):
        """Wait until that load's window is over."""
        self.running[name].wait()

    def __exit__(self, kind, value, trace):
        for load in self.running.values():
            if kind is not None:
                load.kill()
            elif self.window_ms is None:
                load.send_signal(signal.SIGINT)
        for name, load in self.running.items():
            if kind is None:
                self.results[name] = bench_finish(load)
            else:
                load.communicate()

    def __getitem__(self, name):
        return self.results[name]


def small_loads(folder):
    return {"set": ("set", "-c", 4, "-p", 8, "--rate", SMALL_SETS, "--keys", 1000, "-f", f"{folder}-sets"),
            "get": ("get", "-c", 4, "-p", 8, "--rate", SMALL_GETS, "--keys", 1000, "-f", f"{folder}-gets")}


# ---- the parts ----------------------------------------------------------------------------------

def part_tree(watch):
    """Fill, rest, kill all, restart, read every value."""
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if free < NODES * DISK_BYTES:
        raise NeverHappened(f"{NODES:,} nodes on three servers want {page.mib(NODES * DISK_BYTES)} of disk, there are "
                            f"{page.mib(free)} in {tempfile.gettempdir()}: NODES=n, or another TMPDIR")
    with Cluster("ours", 3, SETTINGS) as cluster:
        watch(cluster.start().servers)
        servers = cluster.servers
        before = cpu_s(servers)
        fill = filled(cluster, "fill", NODES, *MANY)
        full = memory_mean(servers)
        wait_for_rest(servers)
        used = cpu_s(servers) - before
        rest, disk, state = (memory_mean(servers), statistics.mean(disk_bytes(s.folder) for s in servers),
                             statistics.mean(state_bytes(s) for s in servers))
        for server in servers:
            server.kill()
        times = start_timed(servers, 300)
        cluster.wait_ready()
        say(f"restart: all serve after {max(times.values()):.2f} s")
        started = memory_mean(servers)
        verify = bench(cluster, "verify", "-n", NODES, *MANY)
        say(f"verified {verify['ops']:,} values, {verify['ops_per_s']:,.0f}/s")
        read = memory_mean(servers)
    figures = {"fill": fill, "cpu_s": used, "memory_full": full, "memory_rest": rest, "memory_started": started,
               "memory_read": read, "disk": disk, "state": state, "restart_s": max(times.values()), "verify": verify}

    def each(pair):
        return f"{page.mib(pair[0])}, of it anonymous {page.mib(pair[1])}"
    rows = [
        ["time to fill, 64x16", f"{fill['seconds']:.1f} s, {fill['ops_per_s']:,.0f}/s"],
        ["latency while filling", page.latency(fill)],
        ["CPU of all servers, until they rest", f"{used:.1f} s, {used * 1e6 / NODES:.1f} µs a znode"],
        ["disk, a server", f"{page.mib(disk)} ({disk / NODES:.0f} B a znode), of it the state {page.mib(state)} "
                           f"({state / NODES:.0f} B)"],
        ["RSS of a server after the last create", each(full)],
        ["RSS at rest", f"{each(rest)}: {rest[0] / NODES:.0f} B a znode"],
        ["all killed: until all serve", f"{max(times.values()):.2f} s"],
        ["RSS after the restart", each(started)],
        ["all values read and compared, 64x16", f"{verify['seconds']:.1f} s, {verify['ops_per_s']:,.0f}/s, "
                                                f"{page.latency(verify)}"],
        ["RSS after that", each(read)],
    ]
    return figures, [page.table(f"{NODES:,} znodes of 100 B", ["", "three servers"], rows)]


def directory_rows(cluster, folder, dirs, first, keys):
    where = ["-f", folder, "--dirs", dirs]
    return {
        "create": bench(cluster, "fill", "-n", TOUCHED, "--first", first, *where, *SOME),
        "delete": bench(cluster, "delete", "-n", TOUCHED, "--first", first, *where, *SOME),
        "exists": bench(cluster, "exists", "--filled", "--keys", keys, *where, *SOME, *SHORT),
    }


def part_children(watch):
    """A directory with many children beside directories of a hundred."""
    large_path, small_path = "/large/d000000", "/small/d000000"
    with Cluster("ours", 3, SETTINGS) as cluster:
        watch(cluster.start().servers)
        fill = filled(cluster, "fill of one directory", CHILDREN, "--dirs", 1, "-f", "/large", *MANY)
        filled(cluster, "fill of small ones", SMALL, "--dirs", SMALL_DIRS, "-f", "/small", *MANY)
        wait_for_rest(cluster.servers)
        one = cluster.followers()[0]
        gets = {"get": ("get", "--filled", "-f", "/small", "--dirs", SMALL_DIRS, "--keys", SMALL, "--rate", SMALL_GETS,
                        "-c", 4, "-p", 8)}
        with Beside(cluster, gets, [one], LARGE_MS // 2) as quiet:
            pass
        with Beside(cluster, gets, [one]) as beside:
            lists = bench(cluster, "children", "--filled", "-f", "/large", "--children", CHILDREN, "-c", 1, *SHORT,
                          servers=[one])
        few = bench(cluster, "children", "--children", 100, "-c", 1, *SHORT, servers=[one])
        reply = [bench(cluster, "children", *more, "-c", 1, "-n", 3, servers=[one])["received_bytes_per_op"]
                 for more in (["--filled", "-f", "/large", "--children", CHILDREN], ["--children", 100])]
        say(f"list: {lists['p50_ms']:.1f} ms, {reply[0]:,.0f} bytes")
        large = directory_rows(cluster, "/large", 1, CHILDREN, CHILDREN)
        small = directory_rows(cluster, "/small", SMALL_DIRS, SMALL, SMALL)
        costs = {name: (child_watch_cost(one.client_port, path, WATCH_ROUNDS),
                        exists_watch_cost(one.client_port, f"{path}/n0000000000", WATCH_ROUNDS))
                 for name, path in (("large", large_path), ("small", small_path))}
        with Client(one.client_port) as client:
            if len(client.children(large_path)) != CHILDREN:
                raise NeverHappened("the large directory has not the children it had")
    figures = {"fill": fill, "list": lists, "list_100": few, "reply_bytes": reply, "gets_quiet": quiet["get"], "gets_beside": beside["get"],
               "large": large, "small": small, "watches": costs}
    rows = [["getChildren, one at a time", f"{lists['p50_ms']:.1f} ms, p99 {lists['p99_ms']:.1f} ms",
             f"{few['p50_ms']:.3f} ms, p99 {few['p99_ms']:.3f} ms"],
            ["CPU of the server for it", *(f"{x['server_cpu_us_per_op'] / 1000:,.2f} ms" for x in (lists, few))],
            ["its reply", *(f"{x:,.0f} B" for x in reply)],
            ["RSS of that server, longest list included", page.mib(lists["server_rss_bytes"]), ""],
            [f"others' gets on that server while one lists without a pause, {SMALL_GETS}/s", page.latency(beside["get"]),
             f"without lists: {page.latency(quiet['get'])}"]]
    for row in ("create", "delete", "exists"):
        rows.append([f"{row}, 16x4", page.rate(large[row]), page.rate(small[row])])
    for row in ("create", "delete"):
        rows.append([f"{row}: written by all, B/op", f"{large[row]['server_written_bytes_per_op']:,.0f}",
                     f"{small[row]['server_written_bytes_per_op']:,.0f}"])
    for i, what in enumerate(("child watch: to set it (a list)", "exists watch of a child: to set it")):
        rows.append([what, *(f"{costs[k][i]['arm_ms']:.2f} ms" for k in ("large", "small"))])
        rows.append(["from the change to its event", *(f"{costs[k][i]['event_ms']:.2f} ms, longest "
                                                       f"{costs[k][i]['event_max_ms']:.2f} ms" for k in ("large", "small"))])
    title = f"A directory with {CHILDREN:,} children (filled in {fill['seconds']:.1f} s)"
    return figures, [page.table(title, ["", "in it", "in directories of 100 to 200"], rows)]


def herd_start(cluster, folder, timeout_s, *more):
    load = bench_start(cluster, "herd", "-c", SESSIONS, "-t", "1h", "-f", folder, "--dirs", HERD_DIRS,
                       "--session-timeout", f"{timeout_s}s", *more)
    herd_back(cluster, load, "the herd to stand", 120)
    return load


def herd_back(cluster, load, what, seconds):
    """Until the servers that run have a watch for each session, and see each ephemeral."""
    def back():
        if load.poll() is not None:
            bench_finish(load)      # says why
            raise NeverHappened("the herd ended by itself")
        running = [words(s, "mntr") for s in cluster.servers if s.running]
        return (sum(int(w.get("zk_watch_count", 0)) for w in running) == SESSIONS
                and all(int(w.get("zk_ephemerals_count", -1)) == SESSIONS for w in running))
    wait_for(what, back, seconds, 0.02)


def herd_reconnects(cluster):
    before = rss_sum(cluster.servers)
    load = herd_start(cluster, "/herd", HERD_S, "--reconnect")
    try:
        rss = rss_sum(cluster.servers)
        say(f"{SESSIONS:,} sessions stand: {(rss - before) / SESSIONS / 1024:.1f} KiB each")
        victim = cluster.followers()[0]
        held = told(victim, "zk_watch_count")
        began = time.monotonic()
        victim.kill()
        herd_back(cluster, load, "those of a killed server to be back", 120)
        third_s = time.monotonic() - began
        say(f"a follower killed: its {held:,} sessions and watches are back after {third_s:.2f} s")
        cluster.restart(victim)
        began = time.monotonic()
        for server in cluster.servers:
            server.kill()
        for server in cluster.servers:
            server.start()
        herd_back(cluster, load, "all to be back", 120)
        all_s = time.monotonic() - began
        say(f"all killed and started: all sessions and watches are back after {all_s:.2f} s")
        load.send_signal(signal.SIGINT)
        end = bench_finish(load)
    finally:
        if load.poll() is None:
            load.kill()
            load.communicate()
    if end["sessions_lost"] != 0 or end["told"] != SESSIONS:
        raise NeverHappened(f"{end['sessions_lost']} sessions were lost, {end['told']} of {SESSIONS} watches told")
    return {"session_bytes": (rss - before) / SESSIONS, "made_s": end["made_s"], "open_s": end["open_s"], "held": held,
            "third_s": third_s, "all_s": all_s, "end": end}


def herd_expires(cluster):
    paths = [f"/dying/d{i % HERD_DIRS:06d}/n{i:010d}" for i in range(SESSIONS)]
    load = herd_start(cluster, "/dying", EXPIRY_S)
    witnesses = []
    try:
        for server in cluster.servers:
            witnesses.append(Witness(server.client_port, paths))
        def ordinary(folder):
            return {"set": ("set", "-c", 6, "-p", 8, "--rate", SMALL_SETS, "--keys", 1000, "-f", folder,
                            "--session-timeout", "30s")}
        with Beside(cluster, ordinary("/before"), window_ms=LARGE_MS // 2) as quiet:
            pass
        with Beside(cluster, ordinary("/meanwhile")) as meanwhile:
            began = time.monotonic()
            load.kill()
            load.communicate()
            for witness in witnesses:
                witness.collect(EXPIRY_S * 10)
            wait_for("no ephemeral to be left", lambda: all(told(s, "zk_ephemerals_count") == 0 for s in cluster.servers),
                     30, 0.01)
            gone_s = time.monotonic() - began
    finally:
        if load.poll() is None:
            load.kill()
            load.communicate()
        for witness in witnesses:
            witness.close()
    first, last = min(w.first for w in witnesses) - began, max(w.last for w in witnesses) - began
    say(f"mass expiry: first event {first:.2f} s after the kill, last {last:.2f} s")
    return {"first_s": first, "last_s": last, "gone_s": gone_s, "events": sum(w.events for w in witnesses),
            "busiest_s": max(w.busiest() for w in witnesses), "sets_quiet": quiet["set"], "sets": meanwhile["set"]}


def part_herd(watch):
    """Many sessions, each with an ephemeral and a watch: their memory, their coming back, their end."""
    with Cluster("ours", 3, SETTINGS) as cluster:
        watch(cluster.start().servers)
        back = herd_reconnects(cluster)
    with Cluster("ours", 3, SETTINGS) as cluster:
        watch(cluster.start().servers)
        end = herd_expires(cluster)
    away = back["end"]
    rows = [
        ["to open them, then to create and watch", f"{back['open_s']:.2f} s, {back['made_s']:.2f} s"],
        ["memory of all three servers, a session", f"{back['session_bytes'] / 1024:.1f} KiB"],
        [f"a follower killed: until its {back['held']:,} sessions and watches were on others", f"{back['third_s']:.2f} s"],
        ["all killed and started: until all sessions and watches were back", f"{back['all_s']:.2f} s"],
        ["a session's own time away, both times", f"p50 {away['away_p50_ms']:.0f}, p99 {away['away_p99_ms']:.0f}, longest "
                                                  f"{away['away_max_ms']:.0f} ms of {away['returned']:,}"],
        ["sessions, ephemerals, watches lost", f"{away['sessions_lost']}, 0, {SESSIONS - away['told']}"],
        [f"mass expiry: client killed, timeout {EXPIRY_S} s: first and last event",
         f"{end['first_s']:.2f} s, {end['last_s']:.2f} s: {end['last_s'] - EXPIRY_S:+.2f} s after the timeout"],
        [f"the {end['events']:,} events, one of each for a watcher on each server", "none missing; the busiest second "
         f"had {end['busiest_s']:,} of a watcher's {SESSIONS:,}"],
        ["until no server had an ephemeral left", f"{end['gone_s']:.2f} s: {end['gone_s'] - EXPIRY_S:+.2f} s after the timeout"],
        [f"an ordinary client's {SMALL_SETS} sets/s meanwhile", page.latency(end["sets"])],
        ["before", page.latency(end["sets_quiet"])],
    ]
    title = f"{SESSIONS:,} sessions, each with an ephemeral node and a data watch on it"
    return {"back": back, "expiry": end}, [page.table(title, ["", "three servers"], rows)]


def part_values(watch):
    """Values as large as a request allows, and what small requests see of them."""
    size = ["-b", VALUE_BYTES, "-c", 4, "-p", 1, *WINDOW]
    figures, rows = {}, []
    with Cluster("ours", 3, SETTINGS) as cluster:
        watch(cluster.start().servers)
        with Beside(cluster, small_loads("/before"), window_ms=LARGE_MS) as small:
            pass
        at_rest = memory_mean(cluster.servers)
        figures["alone"] = {"set": small["set"], "get": small["get"]}
        rows.append(["nothing large", "", "", "", page.mib(at_rest[0]), page.latency(small["set"]),
                     page.latency(small["get"])])
        for row in ("create", "set", "get"):
            with Beside(cluster, small_loads(f"/beside-{row}")) as small:
                got = bench(cluster, row, *size, *(["--keys", 64] if row != "create" else []), "--clean")
            say(f"{row}: {got['ops_per_s']:,.1f}/s, {got['ops_per_s'] * VALUE_BYTES / 1e6:,.0f} MB/s, p99 {got['p99_ms']:.1f} ms")
            figures[row] = {"large": got, "set": small["set"], "get": small["get"]}
            rows.append([f"{row}, 4x1", f"{got['ops_per_s']:,.1f}", f"{got['ops_per_s'] * VALUE_BYTES / 1e6:,.0f}",
                         page.latency(got), page.mib(got["server_rss_bytes"]), page.latency(small["set"]),
                         page.latency(small["get"])])
        wait_for_rest(cluster.servers)
        rows.append(["at rest again", "", "", "", page.mib(memory_mean(cluster.servers)[0]), "", ""])
    head = ["", "/s", "MB/s", "their latency", "RSS, largest server", f"small sets, {SMALL_SETS}/s", f"small gets, {SMALL_GETS}/s"]
    return figures, [page.table(f"Values of {VALUE_BYTES:,} B", head, rows)]


class Sampler:
    """The most that a group and the server in it held while the body ran."""

    def __init__(self, group, server):
        self.group, self.server, self.ended = group, server, threading.Event()
        self.anon, self.overlay, self.log = 0, 0, 0
        self.thread = threading.Thread(target=self.run)

    def run(self):
        rounds = 0
        while not self.ended.wait(0.05):
            self.anon = max(self.anon, self.group.anonymous_bytes())
            rounds += 1
            if rounds % 10 == 0:
                self.overlay = max(self.overlay, told(self.server, "zk_paddock_overlay_bytes"))
                self.log = max(self.log, disk_bytes(os.path.join(self.server.folder, "data", "log")))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, value, trace):
        self.ended.set()
        self.thread.join()


def pressed_rows(cluster):
    reads = ["--filled", "--keys", MEMORY_NODES, *SOME, *SHORT]
    return {row: bench(cluster, row, *reads) for row in ("get", "set")}


def pressed_work(cluster, server, out):
    """Start, gets, sets, sets for several whole logs, a kill amid sets and the restart, values, larger sets; into out."""
    out["start_s"] = start_timed([server])[server.number]
    out.update(pressed_rows(cluster))
    say(f"with the limit: gets {out['get']['ops_per_s']:,.0f}/s, sets {out['set']['ops_per_s']:,.0f}/s")
    commits = told(server, "zk_cnt_snapshottime")
    out["many"] = bench(cluster, "set", "--filled", "--keys", MEMORY_NODES, *MANY, "-n", PRESSED_SETS)
    out["commits"] = told(server, "zk_cnt_snapshottime") - commits
    before = zxid(server)
    load = bench_start(cluster, "set", "--filled", "--keys", MEMORY_NODES, *SOME, "-t", "1h", "-w", 0, "--reconnect")
    wait_for("sets to be under way", lambda: zxid(server) >= before + UNDER_WAY_SETS, 60)
    server.kill()
    out["restart_s"] = start_timed([server])[server.number]
    load.send_signal(signal.SIGINT)
    bench_finish(load)
    out["verify"] = bench(cluster, "verify", "-n", min(MEMORY_NODES, 1000000), *MANY)
    out["larger"] = bench(cluster, "set", "--filled", "--keys", MEMORY_NODES, *MANY, "-n", PRESSED_LARGE_SETS,
                          "-b", PRESSED_BYTES)


def pressed(cluster, limit):
    """The same work under the limit, which must not end the server."""
    server, usual, out = cluster.servers[0], clusters.COMMANDS["ours"], {}
    server.stop()
    drop_pages(server.folder)
    with Group("paddock-bench-large") as group:
        group.limit(limit)
        clusters.COMMANDS["ours"] = lambda config: group.command(usual(config))
        try:
            with Sampler(group, server) as sampler:
                pressed_work(cluster, server, out)
        except NeverHappened as e:
            if group.kills() > 0:
                raise NeverHappened(f"the limit of {page.mib(limit)} ended the server: highest anonymous memory "
                                    f"{page.mib(sampler.anon)}") from e
            raise
        finally:
            clusters.COMMANDS["ours"] = usual
            server.kill()
        out.update({"anon_peak": sampler.anon, "overlay_peak": sampler.overlay, "log_peak": sampler.log,
                    "peak": group.peak_bytes(), "faults": group.major_faults()})
    say(f"highest anonymous memory {page.mib(out['anon_peak'])}, overlay {page.mib(out['overlay_peak'])}")
    return out


def pressed_three(limit):
    """Three servers, each in a group with the limit from the start; a follower is emptied and fetches the state amid sets."""
    usual, nodes = clusters.COMMANDS["ours"], MEMORY_NODES // 2
    with contextlib.ExitStack() as stack:
        groups = [stack.enter_context(Group(f"paddock-bench-large-{i + 1}")) for i in range(3)]
        for group in groups:
            group.limit(limit)
        cluster = stack.enter_context(Cluster("ours", 3, {**SETTINGS, "paddock.electionTimeoutMs": PRESSED_ELECTION_MS}))
        number = {s.folder: i for i, s in enumerate(cluster.servers)}
        stack.callback(clusters.COMMANDS.__setitem__, "ours", usual)
        clusters.COMMANDS["ours"] = lambda config: groups[number[os.path.dirname(config)]].command(usual(config))
        samplers = [Sampler(group, server) for group, server in zip(groups, cluster.servers)]
        try:
            for sampler in samplers:
                stack.enter_context(sampler)
            cluster.start()
            fill = filled(cluster, "fill of three with the limit", nodes, *MANY)
            wait_for_rest(cluster.servers)
            state = state_bytes(cluster.servers[0])
            victim = cluster.followers()[0]
            others = [s for s in cluster.servers if s is not victim]
            with Beside(cluster, {"set": ("set", "--filled", "--keys", nodes, "--reconnect", *MANY)}, others) as beside:
                took = fetched(cluster, victim, others, LARGE_MS / 1000)
            waits = sum(told(s, "zk_cnt_paddock_state_wait_ms") for s in cluster.servers)
            bench(cluster, "verify", "-n", min(nodes, 100000), *MANY, servers=[victim])
        except NeverHappened as e:
            if sum(group.kills() for group in groups) > 0:
                raise NeverHappened(f"the limit of {page.mib(limit)} ended one of three servers") from e
            raise
        anon = max(sampler.anon for sampler in samplers)
    rows = [
        ["fill, 64x16", f"{page.rate(fill)}, longest {fill['max_ms']:.0f} ms"],
        [f"sets meanwhile, 64x16, of all {nodes:,}", f"{page.rate(beside['set'])}, longest {beside['set']['max_ms']:.0f} ms"],
        ["an emptied follower has it all", f"{len(took)} times, {statistics.median(took):.2f} s each"],
        ["waits for a commit, all servers", f"{waits}"],
        ["highest anonymous memory of a server", page.mib(anon)],
    ]
    title = f"Three servers with {nodes:,} znodes, a state of {page.mib(state)}, each with a limit of {page.mib(limit)}"
    return {"state": state, "fill": fill, "set": beside["set"], "fetched_s": took, "waits": waits, "anon_peak": anon}, \
        page.table(title, ["", "with the limit from the start"], rows)


def drop_pages(folder):
    """The kernel's copies of these files go, so that whoever reads them next is charged for them."""
    for path, _, names in os.walk(folder):
        for name in names:
            fd = os.open(os.path.join(path, name), os.O_RDONLY)
            try:
                os.fsync(fd)
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(fd)


def part_memory(watch):
    """One server that may use a quarter of its state's size, page cache included; three that may use half."""
    with Group("paddock-bench-large"):
        pass        # said before anything is filled, when there are none
    with Cluster("ours", 1, SETTINGS) as cluster:
        server = watch(cluster.start().servers)[0]
        filled(cluster, "fill", MEMORY_NODES, *MANY)
        wait_for_rest(cluster.servers)
        state = state_bytes(server)
        limit = max(state // 4, LEAST_LIMIT)
        bench(cluster, "verify", "-n", MEMORY_NODES, *MANY)     # it is all in memory then
        free = pressed_rows(cluster)
        wait_for_rest(cluster.servers)
        free_memory = memory_of(server)
        say(f"without a limit: gets {free['get']['ops_per_s']:,.0f}/s, sets {free['set']['ops_per_s']:,.0f}/s; the state has "
            f"{page.mib(state)}, the limit is {page.mib(limit)}")
        limited = pressed(cluster, limit)
    runs = (free, limited)

    def line(name, cell):
        """A cell for each run; nothing where it does not apply."""
        cells = []
        for run_ in runs:
            try:
                cells.append(cell(run_))
            except KeyError:
                cells.append("")
        return [name, *cells]
    rows = []
    for row in ("get", "set"):
        rows.append(line(f"{row} of all {MEMORY_NODES:,}, by chance, 16x4", lambda x: page.rate(x[row])))
        rows.append(line(f"{row}: p99.9, longest", lambda x: f"{x[row]['p999_ms']:.2f}, {x[row]['max_ms']:.1f} ms"))
    rows += [
        line("set: written, B/op", lambda x: f"{x['set']['server_written_bytes_per_op']:,.0f}"),
        line(f"{PRESSED_SETS:,} sets, 64x16", lambda x: f"{page.rate(x['many'])}, longest {x['many']['max_ms']:.0f} ms, "
                                                        f"{x['commits']} commits"),
        line(f"{PRESSED_LARGE_SETS:,} sets of {PRESSED_BYTES:,} B", lambda x: f"{page.rate(x['larger'])}, longest "
                                                                             f"{x['larger']['max_ms']:.0f} ms"),
        ["RSS without limit, of it anonymous", f"{page.mib(free_memory[0])}, {page.mib(free_memory[1])}", ""],
        line("highest anonymous memory", lambda x: page.mib(x["anon_peak"])),
        line("highest of overlay; log on disk", lambda x: f"{page.mib(x['overlay_peak'])}; {page.mib(x['log_peak'])}"),
        line("highest of the control group, page cache included", lambda x: page.mib(x["peak"])),
        line("pages read from disk on a fault", lambda x: f"{x['faults']:,}"),
        line("start, nothing in the page cache", lambda x: f"{x['start_s']:.2f} s"),
        line("killed amid sets: start", lambda x: f"{x['restart_s']:.2f} s"),
        line("values read and compared afterwards", lambda x: f"{x['verify']['ops']:,}, {x['verify']['ops_per_s']:,.0f}/s"),
    ]
    share = f"{state / limit:.1f} times the limit"
    title = f"One server with {MEMORY_NODES:,} znodes: a state of {page.mib(state)}, {share} of {page.mib(limit)}"
    head = ["", "no limit, all of it in the page cache", "with the limit"]
    three, table = pressed_three(limit)
    return ({"state": state, "limit": limit, "free": free, "free_memory": free_memory, "limited": limited, "three": three},
            [page.table(title, head, rows), table])


def steady(cluster, servers, window_ms=None, body=None):
    """Both loads over the whole tree, for a window or while the body runs; what they saw and how often the state was
    committed."""
    spread = ["--filled", "--keys", SPREAD_NODES, "-c", 6, "-p", 8]
    loads = {"set": ("set", *spread, "--rate", STEADY_SETS), "get": ("get", *spread, "--rate", STEADY_GETS)}
    before = {s.number: told(s, "zk_cnt_snapshottime") for s in servers}
    with Beside(cluster, loads, servers, window_ms) as beside:
        if body is not None:
            body()
        else:
            beside.ended("set")
        commits = sum(told(s, "zk_cnt_snapshottime") - before[s.number] for s in servers)
    return {"set": beside["set"], "get": beside["get"], "commits": commits}


def fetched(cluster, victim, others, seconds):
    """Empty a follower and let it fetch everything, again and again; how long each took."""
    end, took = time.monotonic() + seconds, []
    while time.monotonic() < end:
        empty(victim)
        target = max(zxid(s) for s in others)
        began = time.monotonic()
        victim.start()
        wait_for("the emptied follower to have everything", lambda: victim.mode() == "follower" and zxid(victim) >= target,
                 120, 0.01)
        took.append(time.monotonic() - began)
        say(f"an emptied follower has everything after {took[-1]:.2f} s")
    return took


def rewrite(server, settings):
    path = os.path.join(server.folder, "zoo.cfg")
    with open(path, "a") as f:
        f.write("".join(f"{k}={v}\n" for k, v in settings.items()))


def part_snapshots(watch):
    """What others see of commits and of a follower that fetches the state; what commits cost when writes are spread."""
    window_ms = LARGE_MS * 5 // 2
    took = []
    with Cluster("ours", 3, SETTINGS) as cluster:
        watch(cluster.start().servers)
        filled(cluster, "fill", SPREAD_NODES, *MANY)
        wait_for_rest(cluster.servers)
        state = state_bytes(cluster.servers[0])
        sets = {}
        for name, keys in (("spread", SPREAD_NODES), ("few", min(2000, SPREAD_NODES))):
            commits = told(cluster.servers[0], "zk_cnt_snapshottime")
            sets[name] = bench(cluster, "set", "--filled", "--keys", keys, *MANY, *WINDOW)
            sets[name]["commits"] = told(cluster.servers[0], "zk_cnt_snapshottime") - commits
            wait_for_rest(cluster.servers)
        say(f"sets over all: {sets['spread']['ops_per_s']:,.0f}/s, over few: {sets['few']['ops_per_s']:,.0f}/s")
        victim = cluster.followers()[0]
        others = [s for s in cluster.servers if s is not victim]
        usual = steady(cluster, others, window_ms)
        wait_for_rest(cluster.servers)
        sending = steady(cluster, others, body=lambda: took.extend(fetched(cluster, victim, others, window_ms / 1000)))
        bench(cluster, "verify", "-n", min(SPREAD_NODES, 100000), *MANY, servers=[victim])
        cluster.stop()
        for server in cluster.servers:      # no commit falls due within the window
            rewrite(server, {"paddock.snapshotLogBytes": 1 << 36, "paddock.overlayBytes": 1 << 32, "paddock.commitPagesBytes": 1 << 36})
        cluster.start()
        victim = cluster.followers()[0]
        others = [s for s in cluster.servers if s is not victim]
        wait_for_rest(cluster.servers)
        idle = steady(cluster, others, window_ms)
    figures = {"idle": idle, "usual": usual, "sending": sending, "fetched_s": took, "sets": sets, "state": state}
    names = [(f"nothing else ({idle['commits']} commits of two servers)", idle),
             (f"commits as always ({usual['commits']})", usual),
             (f"an emptied follower fetches {page.mib(state)} {len(took)} times, {statistics.median(took):.2f} s each "
              f"({sending['commits']} commits)", sending)]
    rows = []
    for row in ("set", "get"):
        for name, x in names:
            got = x[row]
            ratios = [f"{got[f] / idle[row][f]:.2f}x" if idle[row][f] > 0 else "" for f in ("p99_ms", "p999_ms")]
            rows.append([f"{row}s", name, *(f"{got[f]:.2f}" for f in ("p50_ms", "p99_ms", "p999_ms", "max_ms")),
                         *(["", ""] if x is idle else ratios)])
    head = ["", "meanwhile", "p50, ms", "p99", "p99.9", "longest", "p99, to nothing else", "p99.9"]
    title = f"{STEADY_SETS:,} sets/s and {STEADY_GETS:,} gets/s over {SPREAD_NODES:,} znodes"
    a, b = sets["spread"], sets["few"]
    costs = [["sets 64x16", page.rate(a), page.rate(b)],
             ["CPU of all, µs/op", f"{a['server_cpu_us_per_op']:.1f}", f"{b['server_cpu_us_per_op']:.1f}"],
             ["written by all, B/op", f"{a['server_written_bytes_per_op']:,.0f}", f"{b['server_written_bytes_per_op']:,.0f}"],
             ["commits of a server, warm-up included", f"{a['commits']}", f"{b['commits']}"]]
    return figures, [page.table(title, head, rows),
                     page.table("What commits cost", ["", f"over {SPREAD_NODES:,} znodes, by chance", "over 2,000"], costs)]


PARTS = {"tree": part_tree, "children": part_children, "herd": part_herd, "values": part_values, "memory": part_memory,
         "snapshots": part_snapshots}


def parts_asked():
    asked = [x for x in os.environ.get("PARTS", "").split(",") if x] or list(PARTS)
    for name in asked:
        if name not in PARTS:
            print(f"bench-large: there is no part {name}: want some of {' '.join(PARTS)}")
            raise SystemExit(2)
    return asked


def run(name):
    """One part; its record, or None when it failed."""
    machine = []

    def watch(servers):
        if not machine:
            machine.append(Machine(list(servers)))
        else:
            machine[0].servers += servers
        return servers
    began = time.monotonic()
    print(f"{name}: {PARTS[name].__doc__}", flush=True)
    try:
        figures, tables = PARTS[name](watch)
    except NoGroups as e:
        figures, tables = {"not_measured": str(e)}, [page.table(f"{name}: NOT MEASURED", ["why"], [[str(e)]])]
    except (NeverHappened, OSError, KeyError, ValueError, ArithmeticError, subprocess.SubprocessError) as e:
        print(f"FAILED {name}: {type(e).__name__}: {e}", file=sys.stderr, flush=True)
        return None
    record = {"part": name, "sizes": SIZES, "took_s": time.monotonic() - began, "load": os.getloadavg()[0],
              "foreign_percent": machine[0].foreign_percent() if machine else None, "figures": figures, "tables": tables}
    page.keep(record)
    for table in tables:
        print(page.as_text(table), flush=True)
    print(f"{name}: {record['took_s']:.0f} s", flush=True)
    return record


def main():
    on_signals_exit()
    signal.signal(signal.SIGINT, signal.default_int_handler)    # also where a shell had it ignored
    asked = parts_asked()
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if "herd" in asked and files != resource.RLIM_INFINITY and files < SESSIONS + FILES_SPARE:
        print(f"bench-large: {SESSIONS} sessions need as many open files, here {files} are allowed (ulimit -Hn): or SESSIONS=n")
        return 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))      # servers and generators inherit it
    failed = [name for name in asked if run(name) is None]
    page.write(list(PARTS), FULL, force=bool(os.environ.get("WRITE")))
    print("bench-large: " + (f"failed: {', '.join(failed)}" if failed else "passed"))
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("bench-large: interrupted", file=sys.stderr)
        sys.exit(130)
