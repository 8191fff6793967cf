#!/usr/bin/python3
"""make bench-guard: how many instructions the store spends on an operation, beside what is recorded.

    ROWS=get,set     only these            RECORD=1   write tests/bench/guard.tbl anew
    PROFILE=20       print the functions that took most, so many for each row

One server, alone, runs under callgrind; paddock-bench does N operations on one connection, and in a second run 3 N.
The difference of the two totals over 2 N is what one operation costs: starting and stopping fall out. Counted is the
loop's thread, neither the kernel nor the threads that write log and state, whose batches depend on time. Fails when a
count rose by more than LIMIT.
"""
import collections
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "accept"))
from load import BENCH, NeverHappened, Cluster, on_signals_exit  # noqa: E402
import cluster as clusters  # noqa: E402

TABLE = os.path.join(HERE, "guard.tbl")
PAGE = os.path.join(os.path.dirname(os.path.dirname(HERE)), "docs", "bench.md")
BEGIN, END = "<!-- begin: make bench-guard -->", "<!-- end: make bench-guard -->"
LIMIT = 1.10
TRIES = 3       # a pause of the machine's brings timers and commits into a count, nothing takes any out: the least is the code's
STEP = 2        # the longer run does 1 + STEP times as many
# name -> (row of paddock-bench, outstanding requests, operations); so few that their log stays below what makes a pause
# commit the state (QUIET_LOG_BYTES in server.c): reads behind a commit cost other than before it
ROWS = {
    "create": ("create", 64, 320), "set": ("set", 64, 320), "get": ("get", 64, 2048),
    "children-100": ("children", 16, 256), "multi-10": ("multi", 16, 32), "mixed-90-10": ("mixed", 64, 2048), "get-1x1": ("get", 1, 512),
    "set-1x1": ("set", 1, 256), "session": ("session", 1, 256),
}
ABOUT = {
    "create": "create, 64 outstanding", "set": "set, 64 outstanding", "get": "get, 64 outstanding",
    "children-100": "children, 100 of them, 16 outstanding", "multi-10": "multi of 10 sets, 16 outstanding",
    "mixed-90-10": "mixed 90/10, 64 outstanding", "get-1x1": "get, one at a time", "set-1x1": "set, one at a time",
    "session": "session, opened and closed, one at a time",
}
SETTINGS = {"tickTime": 10000}      # few timers: the server runs some fifty times slower than usual
# the same string functions on every machine
TUNABLES = "glibc.cpu.hwcaps=-AVX2,-AVX,-AVX512F,-ERMS,-FSRM,-AVX_Fast_Unaligned_Load"


def under_callgrind(config_path):
    out = os.path.join(os.path.dirname(config_path), "callgrind.out")
    return ["/usr/bin/env", f"GLIBC_TUNABLES={TUNABLES}", clusters.need("/usr/bin/valgrind", "valgrind"), "-q",
            "--tool=callgrind", "--separate-threads=yes", f"--callgrind-out-file={out}", *clusters.our_command(config_path)]


def run(row, pipeline, count):
    """Instructions by function, of one server's life with `count` operations in it."""
    with Cluster("guarded", 1, SETTINGS) as cluster:
        cluster.start()
        server = cluster.servers[0]
        done = subprocess.run([BENCH, "--json", "--server", server.host, "-c", "1", "-p", str(pipeline), "-n", str(count),
                               "--keys", "64", "-f", "/guard", "--session-timeout", "60s", row],
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            raise NeverHappened(f"paddock-bench {row}: {done.stderr.strip()}")
        server.stop(60)
        return functions(os.path.join(server.folder, "callgrind.out-01"))     # the first thread: the loop


def functions(path):
    """Self cost by function, from a file of callgrind's."""
    names, cost, function, called = {}, collections.Counter(), "?", False
    compressed = re.compile(r"\((\d+)\)(?: (.*))?$")

    def name_of(text):
        m = compressed.match(text)
        if m.group(2):
            names[m.group(1)] = m.group(2)
        return names.get(m.group(1), "?")

    with open(path, encoding="utf-8", errors="replace") as f:
        for line in f:
            if line.startswith("fn="):
                function = name_of(line[3:].rstrip("\n"))
            elif line.startswith("cfn="):
                name_of(line[4:].rstrip("\n"))
            elif line.startswith("calls="):
                called = True       # the next line is what the callee cost
            elif line[:1].isdigit() or line[:1] in "+-*":
                if not called:
                    cost[function] += int(line.split()[1])
                called = False
    return cost


def measure(name):
    row, pipeline, count = ROWS[name]
    short, long = run(row, pipeline, count), run(row, pipeline, (1 + STEP) * count)
    each = {f: (long[f] - short[f]) / (STEP * count) for f in long}
    return sum(each.values()), each


def recorded():
    out = {}
    if os.path.exists(TABLE):
        with open(TABLE, encoding="utf-8") as f:
            for line in f:
                if line.strip() and not line.startswith("#"):
                    name, count = line.split()
                    out[name] = int(count.replace(",", ""))
    return out


def record(counts):
    compiler = subprocess.run(["gcc", "--version"], stdout=subprocess.PIPE, text=True).stdout.splitlines()[0]
    with open(TABLE + ".new", "w", encoding="utf-8") as f:
        f.write("# Instructions of the loop of one server for one operation, by make bench-guard RECORD=1; values of 100 B.\n"
                f"# {compiler}, -O2, with Debian 12's libraries.\n")
        for name, count in counts.items():
            f.write(f"{name:13}{count:7d}\n")
    os.rename(TABLE + ".new", TABLE)
    with open(PAGE, encoding="utf-8") as f:
        page = f.read()
    table = ["| operation | instructions of the loop |", "|---|--:|"]
    table += [f"| {ABOUT[name]} | {count:,} |" for name, count in counts.items()]
    page = "\n".join([page[:page.index(BEGIN)] + BEGIN, "", *table, "", page[page.index(END):]])
    with open(PAGE, "w", encoding="utf-8") as f:
        f.write(page)


def main():
    on_signals_exit()
    clusters.COMMANDS["guarded"] = under_callgrind
    asked = [x for x in os.environ.get("ROWS", "").split(",") if x] or list(ROWS)
    profile = int(os.environ.get("PROFILE", "0"))
    known, counts, risen = recorded(), {}, []
    for name in asked:
        was = known.get(name)
        for tries in range(TRIES):
            total, each = min((total, each), measure(name), key=lambda x: x[0]) if tries else measure(name)
            if was is None or total <= LIMIT * was:
                break
        counts[name] = round(total)
        change = f", {100 * (total / was - 1):+.1f} % of {was}" if was else ", nothing recorded"
        print(f"{name:13}{total:9.0f} instructions{change}", flush=True)
        for function, count in sorted(each.items(), key=lambda x: -x[1])[:profile]:
            print(f"    {count:9.1f} {100 * count / total:5.1f} %  {function}")
        if was is None or total > LIMIT * was:
            risen.append(name)
    if os.environ.get("RECORD"):
        record({**known, **counts})
        print(f"bench-guard: recorded in {os.path.relpath(TABLE)}")
        return 0
    if risen:
        print(f"FAILED: {', '.join(risen)}: more than {100 * (LIMIT - 1):.0f} % above tests/bench/guard.tbl (or not in it).\n"
              f"See where with: make bench-guard ROWS={','.join(risen)} PROFILE=30\n"
              "If the rise is wanted, record it and say why in the commit: make bench-guard RECORD=1")
        return 1
    print(f"bench-guard: {len(asked)} rows, none more than {100 * (LIMIT - 1):.0f} % above what is recorded")
    return 0


if __name__ == "__main__":
    if shutil.which("valgrind") is None:
        print("bench-guard: valgrind is not there: make deps")
        sys.exit(1)
    sys.exit(main())
