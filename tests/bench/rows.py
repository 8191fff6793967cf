"""What make bench measures, and what is wanted of it: the rows, their options for paddock-bench, their targets.

A target is (figure, how, target, stretch). How: "x" compares ours / the reference's, "abs" our own figure; "at least" for
what should be high. p99 is a target of every row that has one: never above the reference's, a third of it for stretch.
"""
from dataclasses import dataclass, field

KEYS = 2000
SMALL = ["--keys", KEYS]


@dataclass
class Target:
    figure: str
    how: str            # "x": ratio to the reference; "abs": our figure
    target: float
    stretch: float
    most: bool = True   # at most; else at least


@dataclass
class Row:
    name: str
    label: str
    kind: str           # load, fan-out, failover, idle, fill, restart, catch-up: how bench.py runs it
    options: list = field(default_factory=list)
    targets: list = field(default_factory=list)


def rate(target, stretch):
    return Target("ops_per_s", "x", target, stretch, most=False)


def most(figure, target, stretch):
    return Target(figure, "x", target, stretch)


def load(name, row, conns, pipeline, *targets, options=()):
    label = f"{name} {conns}x{pipeline}" if pipeline else f"{name}, {conns}"
    return Row(label.replace(" ", "-").replace(",", ""), label, "load",
               ["-c", conns, "-p", pipeline or 1, *(SMALL if row not in ("session", "children") else []), *options, row],
               [*targets, most("p99_ms", 1.0, 1 / 3)])


CPU = "server_cpu_us_per_op"

ROWS = [
    load("create", "create", 1, 1, most("p50_ms", 0.5, 0.35), most(CPU, 0.25, 0.1)),
    load("set", "set", 1, 1, most("p50_ms", 0.5, 0.35)),
    load("get", "get", 1, 1, most("p50_ms", 0.3, 0.1), rate(1.0, 3.0)),
    load("create", "create", 16, 1, rate(3, 5), most(CPU, 0.25, 0.13)),
    load("get", "get", 16, 1, rate(4, 6), most(CPU, 0.2, 0.2)),
    load("create", "create", 64, 16, rate(4, 8), most(CPU, 0.25, 0.25)),
    load("create of 1 KiB", "create", 64, 16, rate(4, 6), options=["-b", 1024]),
    load("set", "set", 64, 16, rate(4, 8)),
    load("multi of 10 sets", "multi", 64, 16, rate(4, 8)),
    load("get", "get", 64, 16, rate(5, 8)),
    load("exists", "exists", 64, 16, rate(5, 8)),
    load("children, 100 of them,", "children", 16, 4, rate(4, 8)),
    load("mixed 90/10", "mixed", 64, 16, rate(5, 8)),
    load("mixed 50/50", "mixed", 64, 16, rate(4, 8), options=["--reads", 50]),
    load("sync and get", "sync-get", 64, 16, rate(3, 5)),
    load("session open and close", "session", 64, 0, rate(3, 5)),
    Row("fan-out", "fan-out to {watchers} watchers", "fan-out", [], [most("last_p50_ms", 0.2, 0.1)]),
    Row("failover", "leader killed: longest gap between acknowledged sets", "failover", [],
        [most("longest_gap_ms", 0.8, 0.4), Target("longest_gap_ms", "abs", 1000, 300),
         Target("sessions_lost", "abs", 0, 0)]),
    Row("idle", "{sessions} idle sessions", "idle", [],
        [Target("session_kib", "abs", 4, 2), Target("core_percent", "abs", 2, 1)]),
    Row("fill", "fill of {nodes} znodes", "fill", [],
        [most("cpu_s", 0.25, 0.13), most("rss_mib", 0.25, 0.15), most("disk_mib", 0.3, 0.2), most("p99_ms", 1.0, 1 / 3)]),
    Row("restart", "all killed with {nodes} znodes: until all serve", "restart", [],
        [Target("restart_s", "abs", 1.0, 0.3), most("restart_s", 1.0, 0.1)]),
    Row("catch-up", "an emptied follower with {nodes} znodes: until it has them", "catch-up", [],
        [most("catch_up_s", 1.0, 0.3)]),
]

# figure -> (heading, unit, digits)
FIGURES = {
    "ops_per_s": ("operations/s", "/s", 0), "p50_ms": ("p50", "ms", 2), "p99_ms": ("p99", "ms", 2),
    "p999_ms": ("p99.9", "ms", 2), "max_ms": ("longest", "ms", 1),
    CPU: ("CPU of all servers", "µs/op", 2), "server_rss_mib": ("RSS of the largest", "MiB", 0),
    "server_written_bytes_per_op": ("written by all", "B/op", 0),
    "last_p50_ms": ("last event, p50", "ms", 1), "last_max_ms": ("last event, longest", "ms", 1),
    "longest_gap_ms": ("longest gap", "ms", 0), "sessions_lost": ("sessions lost", "", 0),
    "session_kib": ("memory of a session", "KiB", 1), "core_percent": ("CPU of all servers", "% of a core", 2),
    "cpu_s": ("CPU of all servers", "s", 1), "rss_mib": ("RSS, mean of the servers", "MiB", 0),
    "disk_mib": ("disk, mean of the servers", "MiB", 0), "restart_s": ("until all serve", "s", 2),
    "catch_up_s": ("until level", "s", 2),
}
# what the table of figures has a column for
COLUMNS = ["ops_per_s", "p50_ms", "p99_ms", "p999_ms", "max_ms", CPU, "server_rss_mib", "server_written_bytes_per_op"]
