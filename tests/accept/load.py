"""What the acceptance runs share: the load generator, sizes, and waiting for servers to serve."""
import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "clients"))

from cluster import BUILD, Cluster, NeverHappened, die_with_parent, on_signals_exit, wait_for  # noqa: E402,F401

BENCH = os.path.join(BUILD, "paddock-bench")
MIB = 1 << 20


def bench_command(cluster, row, *options, servers=None):
    servers = servers or cluster.servers
    return [BENCH, "--json", "--server", ",".join(s.host for s in servers),
            "--pids", ",".join(str(s.process.pid) for s in servers), *map(str, options), row]


def bench(cluster, row, *options, servers=None):
    """Run one row to its end; its figures. Whatever the generator finds wrong is an error here."""
    done = subprocess.run(bench_command(cluster, row, *options, servers=servers), stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, preexec_fn=die_with_parent)
    if done.returncode != 0:
        raise NeverHappened(f"paddock-bench {row}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def bench_start(cluster, row, *options, servers=None):
    return subprocess.Popen(bench_command(cluster, row, *options, servers=servers), stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, preexec_fn=die_with_parent)


def bench_finish(process):
    out, err = process.communicate()
    if process.returncode != 0:
        raise NeverHappened(f"paddock-bench: {err.strip()}")
    return json.loads(out)


def rss_bytes(server):
    with open(f"/proc/{server.process.pid}/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def disk_bytes(folder):
    """Blocks that the files hold, not their lengths: maps and logs have holes. One renamed or gone meanwhile has none."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += os.stat(os.path.join(path, name)).st_blocks * 512
    return total


def empty(server):
    """Kill it, and take its disk away: only its number is left."""
    server.kill()
    data = os.path.join(server.folder, "data")
    for name in os.listdir(data):
        path = os.path.join(data, name)
        if os.path.isdir(path):
            shutil.rmtree(path)
        elif name != "myid":
            os.unlink(path)


def words(server, word):
    """The answer to srvr or mntr as a dictionary."""
    out = {}
    for line in server.four_letters(word).splitlines():
        key, _, value = line.partition("\t" if word == "mntr" else ": ")
        out[key.strip()] = value.strip()
    return out


def start_timed(servers, seconds=120):
    """Start these servers at once; seconds from the first start until each serves, by number."""
    times = {}

    def watch(server):
        try:
            wait_for("it to serve or to end", lambda: server.mode() or not server.running, seconds, 0.002)
        except NeverHappened:
            return      # told below
        if server.running:
            times[server.number] = time.monotonic() - began

    began = time.monotonic()
    for server in servers:
        server.start()
    threads = [threading.Thread(target=watch, args=(s,)) for s in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for server in servers:
        if server.number not in times:
            raise NeverHappened(f"server {server.number} did not serve within {seconds} s:\n{server.log_tail()}")
    return times
