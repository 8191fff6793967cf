#!/usr/bin/python3
"""make clients: every scenario against the reference ZooKeeper and against ours; transcripts must agree.

    CLIENTS_ONLY=kazoo-lock,zkcli   only scenarios whose name begins with one of these
    SERVERS=1 (or 3)                only on so many servers; default both
    TARGET=reference                compare the reference with itself: checks the suite, not the server
    KEEP=1                          leave server folders behind

Transcripts stay in build/clients/KIND-N/NAME.txt. Exit status 0 only if every scenario ran on both kinds
without an error and both told the same story.
"""
import difflib
import importlib
import os
import shutil
import subprocess
import sys
import threading
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import BUILD, Cluster, NeverHappened, die_with_parent, on_signals_exit, wait_for  # noqa: E402

MODULES = ["zkcli", "kazoo_basics", "kazoo_recipes", "kazoo_events", "c_client", "curator", "node_client"]
SCENARIO_SECONDS = 60
OUT = os.path.join(BUILD, "clients")


class Context:
    """What a scenario gets: the servers, a folder for itself, and say() to tell its story."""

    def __init__(self, cluster, name, folder):
        self.cluster = cluster
        self.name = name
        self.folder = folder
        self.lines = []
        self.names = {}
        self.killed = None
        self._lock = threading.Lock()

    def say(self, *words):
        line = " ".join(str(w) for w in words)
        with self._lock:
            self.lines.append(line)

    def alias(self, kind, value):
        """A steady name for a value that differs from run to run: the first session is s1, and so on."""
        known = self.names.setdefault(kind, {})
        return known.setdefault(value, f"{kind}{len(known) + 1}")

    def hosts(self, first=0):
        """The connect string. One server is named four times: a reference that is still starting may take a
        connection and never answer, and clients give up on it after the session timeout divided by the hosts."""
        hosts = self.cluster.hosts(first)
        return ",".join([hosts] * 4) if len(self.cluster.servers) == 1 else hosts

    def drive(self, command, **popen):
        """Run a client program whose output lines are the story; a line '@ACTION' asks us to do something
        to the servers, and is answered 'ok' on its stdin. Its standard error goes to a log."""
        log_path = os.path.join(self.folder, f"{self.name}.stderr")
        with open(log_path, "w") as log:
            child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
                                     preexec_fn=die_with_parent, **popen)
            timer = threading.Timer(SCENARIO_SECONDS, child.kill)
            timer.start()
            try:
                for line in child.stdout:
                    line = line.rstrip("\n")
                    if line.startswith("@"):
                        self.say(line)
                        self.act(line[1:])
                        child.stdin.write("ok\n")
                        child.stdin.flush()
                    else:
                        self.say(line)
                status = child.wait()
            finally:
                timer.cancel()
                child.kill()
                child.wait()
                child.stdout.close()
                try:
                    child.stdin.close()
                except OSError:
                    pass
        if status != 0:
            with open(log_path, errors="replace") as log:
                tail = "".join(log.readlines()[-30:])
            raise RuntimeError(f"{command[0]} ended with status {status}\n{tail}")

    def act(self, action):
        """Something that happens to the servers during a scenario."""
        cluster = self.cluster
        if action == "kill leader":
            self.killed = cluster.leader()
            cluster.kill(self.killed)
            if len(cluster.servers) > 1:
                cluster.wait_ready()
            else:
                cluster.restart(self.killed)
        elif action == "start killed":
            if not self.killed.running:
                cluster.restart(self.killed)
            self.killed = None
        elif action == "restart all":
            cluster.stop()
            cluster.start()
        elif action.startswith("restart "):
            server = cluster.servers[(int(action.split()[1]) - 1) % len(cluster.servers)]
            server.stop()
            cluster.restart(server)
        else:
            raise RuntimeError(f"unknown action: {action}")

    def heal(self):
        """Whatever the scenario did or failed to undo, the next one finds all servers up."""
        for server in self.cluster.servers:
            if server.paused:
                server.resume()
        self.cluster.start()


def scenarios():
    only = [o for o in os.environ.get("CLIENTS_ONLY", "").split(",") if o]
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        for name, function in module.SCENARIOS:
            if not only or any(name.startswith(o) for o in only):
                yield name, function


def worker(kind, count, out):
    """All scenarios on one set of servers. Writes NAME.txt, and NAME.error when it went wrong."""
    on_signals_exit()
    with Cluster(kind, count) as cluster:
        cluster.start()
        for name, function in scenarios():
            print(f"start {name}", flush=True)
            context = Context(cluster, name, out)
            began = time.monotonic()
            try:
                function(context)
            except Exception:
                with open(os.path.join(out, f"{name}.error"), "w") as f:
                    traceback.print_exc(limit=-4, file=f)
                with open(os.path.join(out, f"{name}.servers.log"), "w") as f:
                    cluster.print_logs(f)
            with open(os.path.join(out, f"{name}.txt"), "w") as f:
                f.write("\n".join(context.lines) + "\n")
            with open(os.path.join(out, f"{name}.seconds"), "w") as f:
                f.write(f"{time.monotonic() - began:.1f}")
            context.heal()
    # client libraries may have left threads waiting: the story is told, end here
    sys.stdout.flush()
    os._exit(0)


def read(path):
    try:
        with open(path, errors="replace") as f:
            return f.read()
    except OSError:
        return None


def compare(count, sides):
    """Print one line per scenario and what went wrong; return (passed, failed)."""
    passed = failed = 0
    for name, _ in scenarios():
        texts, errors, seconds = [], [], []
        for label, folder in sides:
            texts.append(read(os.path.join(folder, f"{name}.txt")))
            seconds.append(read(os.path.join(folder, f"{name}.seconds")) or "-")
            error = read(os.path.join(folder, f"{name}.error"))
            if error is None and texts[-1] is None:
                error = "did not run\n"
            if error is not None:
                errors.append(f"  on {label}: {error.strip()}")
        where = f"{name} on {count} server{'s' if count > 1 else ''}"
        lines = len((texts[0] or "").splitlines())
        if not errors and texts[0] == texts[1] and lines > 1:
            passed += 1
            print(f"ok      {where}: {lines} lines, {sides[0][0]} {seconds[0]} s, {sides[1][0]} {seconds[1]} s")
            continue
        failed += 1
        print(f"FAILED  {where}")
        for error in errors:
            print(error)
        for line in difflib.unified_diff((texts[0] or "").splitlines(), (texts[1] or "").splitlines(),
                                         sides[0][0], sides[1][0], lineterm="", n=2):
            print(f"    {line}")
        print(f"  again: make clients CLIENTS_ONLY={name} SERVERS={count}")
    return passed, failed


def main():
    on_signals_exit()
    counts = [int(c) for c in os.environ.get("SERVERS", "1,3").split(",")]
    target = os.environ.get("TARGET", "ours")
    names = [name for name, _ in scenarios()]
    if not names:
        print("no scenario has such a name")
        return 1
    passed = failed = 0
    began = time.monotonic()
    for count in counts:
        sides, children = [], []
        for label, kind in (("reference", "reference"), ("ours" if target == "ours" else "again", target)):
            folder = os.path.join(OUT, f"{label}-{count}")
            shutil.rmtree(folder, ignore_errors=True)
            os.makedirs(folder)
            sides.append((label, folder))
            with open(os.path.join(folder, "worker.log"), "w") as log:
                children.append(subprocess.Popen(
                    [sys.executable, os.path.abspath(__file__), "--worker", kind, str(count), folder],
                    stdout=log, stderr=log, stdin=subprocess.DEVNULL, preexec_fn=die_with_parent))
        try:
            wait_for("scenarios to end", lambda: all(c.poll() is not None for c in children),
                     60 + SCENARIO_SECONDS * len(names), step=0.1)
        finally:
            for child in children:
                if child.poll() is None:
                    child.terminate()
                    try:
                        child.wait(15)
                    except subprocess.TimeoutExpired:
                        child.kill()
        for (label, folder), child in zip(sides, children):
            if child.returncode != 0:
                print(f"the {label} side ended with status {child.returncode}:")
                print("".join((read(os.path.join(folder, "worker.log")) or "").splitlines(True)[-40:]))
        p, f = compare(count, sides)
        passed += p
        failed += f
    print(f"clients: {len(names)} scenarios on {' and '.join(map(str, counts))} servers "
          f"in {time.monotonic() - began:.0f} s")
    print(f"{passed} passed, {failed} failed")
    return 0 if failed == 0 and passed > 0 else 1


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] == "--worker":
        worker(sys.argv[2], int(sys.argv[3]), sys.argv[4])
    else:
        try:
            sys.exit(main())
        except NeverHappened as e:
            print(e)
            sys.exit(1)
