#!/usr/bin/python3
"""A few rows against our servers and the reference's, in turn on the same machine, and their ratios.

Three servers each, every write synced by both. Both clusters run all the time; only one is loaded at once. On a
machine with other work throughput says little: the ratios of one run, and CPU per operation, say more.
ROWS=create,set,get,mixed SHAPES=1x1,16x1,64x16 TIME=1s ROUNDS=1 SERVERS=3.
"""
import os
import statistics
import sys

from load import Cluster, bench, on_signals_exit
import cluster as clusters

ROWS = os.environ.get("ROWS", "create,set,get,mixed").split(",")
SHAPES = os.environ.get("SHAPES", "1x1,16x1,64x16").split(",")
TIME = os.environ.get("TIME", "1s")
WARM = os.environ.get("WARM", "500ms")
ROUNDS = int(os.environ.get("ROUNDS", "1"))
SERVERS = int(os.environ.get("SERVERS", "3"))
KINDS = ["ours", "reference"]
FOR_SCENARIOS = ("-Xms", "-Xmx", "-XX:")    # small and quick to start: not how one would run it


def reference_at_full_speed(config_path, usual=clusters.reference_command):
    java, *rest = usual(config_path)
    return [java, "-Xmx2g", *[x for x in rest if not x.startswith(FOR_SCENARIOS)]]


def measure(running, row, shape):
    """One median over the rounds for each kind and figure."""
    conns, pipeline = shape.split("x")
    got = {kind: [] for kind in KINDS}
    for _ in range(ROUNDS):
        for kind in KINDS:
            got[kind].append(bench(running[kind], row, "-c", conns, "-p", pipeline, "-t", TIME, "-w", WARM,
                                   "--keys", 2000, "--clean"))
    return {kind: {key: statistics.median(x[key] for x in rows)
                   for key in ("ops_per_s", "p50_ms", "p99_ms", "max_ms", "server_cpu_us_per_op")}
            for kind, rows in got.items()}


def main():
    on_signals_exit()
    clusters.COMMANDS["reference"] = reference_at_full_speed
    settings = {"tickTime": 2000, "snapCount": 100000, "preAllocSize": 65536}
    with Cluster("ours", SERVERS, settings) as ours, Cluster("reference", SERVERS, settings) as reference:
        running = {"ours": ours.start(), "reference": reference.start()}
        print(f"{'':14}{'operations/s':^30}{'p50 ms':^24}{'p99 ms':^26}{'CPU us/op, all servers':^28}")
        print(f"{'':14}" + f"{'ours':>10}{'reference':>11}{'x':>7}" + "  " + f"{'ours':>8}{'ref.':>8}{'x':>7} " * 3)
        for row in ROWS:
            for shape in SHAPES:
                m = measure(running, row, shape)
                line = f"{row:7}{shape:>6} "
                for key, width in (("ops_per_s", 10), ("p50_ms", 9), ("p99_ms", 9), ("server_cpu_us_per_op", 9)):
                    a, b = m["ours"][key], m["reference"][key]
                    digits = 0 if key == "ops_per_s" else 2
                    line += f"{a:>{width}.{digits}f}{b:>{width}.{digits}f}" + (f"{a / b:>7.2f}" if b else f"{'-':>7}")
                print(line, flush=True)
    print(f"load of the machine while this ran: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    return 0


if __name__ == "__main__":
    sys.exit(main())
