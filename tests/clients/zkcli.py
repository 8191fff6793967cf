"""zkCli.sh from Debian's zookeeper package, fed one command at a time.

A command may be a pair (command, N): after it, N watch events are waited for. After each command we send
`printwatches`, whose one line of answer marks the end of the command's own output.
"""
import os
import queue
import re
import subprocess
import threading

from cluster import NeverHappened, die_with_parent, need

ZKCLI = "/usr/share/zookeeper/bin/zkCli.sh"
MARK = "printwatches is on"
SECONDS = 30


class ZkCli:
    def __init__(self, ctx, hosts, *options):
        self.ctx = ctx
        self.lines = queue.Queue()
        env = dict(os.environ, CLIENT_JVMFLAGS="-Xmx128m -XX:TieredStopAtLevel=1 -Xshare:auto")
        self.process = subprocess.Popen([need(ZKCLI, "zookeeper"), *options, "-server", hosts], env=env,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        text=True, cwd=ctx.folder, preexec_fn=die_with_parent)
        threading.Thread(target=self._read, daemon=True).start()
        # connecting is itself an event; until then commands would race with it
        self._until_event("state:SyncConnected type:None")

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def _next(self):
        try:
            line = self.lines.get(timeout=SECONDS)
        except queue.Empty:
            raise NeverHappened("zkCli.sh says nothing more") from None
        if line is None:
            raise NeverHappened("zkCli.sh ended")
        return line

    def _until_event(self, text):
        while text not in self._next():
            pass

    def run(self, command, events=0):
        self.ctx.say(f"$ {command}")
        self.process.stdin.write(f"{command}\nprintwatches\n")
        self.process.stdin.flush()
        seen, answer, marked = [], [], False
        while not marked or len(seen) < events:
            line = self._next()
            if line.endswith(MARK):     # some errors are printed without an end of line
                marked = True
                line = line[:-len(MARK)]
            if line == "":
                continue
            if line.startswith("WatchedEvent "):
                seen.append(line)
            elif line != "WATCHER::":
                answer.append("  " + self._normal(line))
        if command == "whoami":         # a set: its order is the server's own
            answer[1:] = sorted(answer[1:])
        for line in answer:
            self.ctx.say(line)
        for line in seen:
            self.ctx.say("  event: " + line)

    def _normal(self, line):
        """Ids, zxids and times by name; they may differ from run to run, their sameness may not."""
        line = re.sub(r"((?:cZxid|mZxid|pZxid) = )(0x[0-9a-f]+)",
                      lambda m: m[1] + self.ctx.alias("zxid", m[2]), line)
        line = re.sub(r"((?:ctime|mtime) = ).*", r"\1a time", line)
        line = re.sub(r"(ephemeralOwner = )(0x[0-9a-f]{8,})", lambda m: m[1] + self.ctx.alias("session", m[2]), line)
        line = re.sub(r"127\.0\.0\.1:(\d+):(\d+)", "127.0.0.1:PEER:ELECTION", line)
        if line.startswith("[/"):       # the paths of getEphemerals, a set too
            line = "[" + ", ".join(sorted(line[1:-1].split(", "))) + "]"
        return line

    def quit(self):
        self.process.stdin.write("quit\n")
        self.process.stdin.flush()
        self.process.wait(SECONDS)
        self.ctx.say(f"quit: status {self.process.returncode}")

    def close(self):
        self.process.kill()
        self.process.wait()


def session(ctx, commands, *options, first=0, chroot=""):
    cli = ZkCli(ctx, ctx.hosts(first) + chroot, *options)
    try:
        for command in commands:
            cli.run(*command) if isinstance(command, tuple) else cli.run(command)
        cli.quit()
    finally:
        cli.close()


def nodes(ctx):
    session(ctx, [
        "create /zkcli hello", "create /zkcli again", "create /zkcli/a one", "create /zkcli/a/deep two",
        "create /none/x y", "create -s /zkcli/seq- s", "create -s /zkcli/seq- t", "create -e /zkcli/eph e",
        "create -e -s /zkcli/es- es", "create /zkcli/eph/child no", "create -c /zkcli/container",
        "create -t 60000 /zkcli/ttl t", "create -s -t 60000 /zkcli/ttlseq- t", "create -e -t 10 /zkcli/bad x",
        "create -e -c /zkcli/bad2 x", "create /zkcli/empty", "create /zkcli/noslash/ x", "create noslash x",
        "ls /", "ls /zkcli", "ls -s /zkcli", "ls -R /zkcli", "ls /missing", "ls /zookeeper", "ls -R /zookeeper",
        "get /zkcli", "get -s /zkcli", "get /missing", "get -s /zkcli/eph", "get -s /zkcli/container",
        "get -s /zkcli/ttl", "stat /zkcli", "stat /zkcli/eph", "stat /missing", "stat /", "stat /zookeeper",
        "set /zkcli changed", "set -s /zkcli again", "set -v 1 /zkcli stale", "set -v 2 /zkcli right",
        "set -s -v 3 /zkcli right2", "set /missing x", "get -s /zkcli", "sync /zkcli", "sync /missing",
        "delete -v 9 /zkcli/a/deep", "delete /zkcli/a", "delete -v 0 /zkcli/a/deep", "delete /missing",
        "delete /zookeeper", "delete /", "getEphemerals", "getEphemerals /zkcli", "getEphemerals /other",
        "getAllChildrenNumber /", "getAllChildrenNumber /zkcli", "getAllChildrenNumber /missing",
        "stat /zkcli", "deleteall /zkcli", "ls /", "history",
    ])
    session(ctx, ["ls /", "create /zkcli-root x", "stat /zkcli-root", "delete /zkcli-root"])


def long_lists(ctx):
    commands = ["create /zkmany"]
    commands += [f"create /zkmany/n{i:03d} value-{i}" for i in range(60)]
    commands += ["ls /zkmany", "ls -s /zkmany", "getAllChildrenNumber /zkmany", "deleteall /zkmany -b 10", "ls /"]
    session(ctx, commands)


def acls(ctx):
    session(ctx, [
        "create /zkacl x", "getAcl /zkacl", "getAcl -s /zkacl", "setAcl /zkacl world:anyone:cdrwa",
        "setAcl -s /zkacl world:anyone:cdr", "set /zkacl denied", "setAcl /zkacl world:anyone:cdrwa",
        "create /zkacl/bad x digest:nopassword:r", "create /zkacl/bad x nonsense:x:r", "create /zkacl/bad x world:me:r",
        "create /zkacl/auth x auth::cdrwa", "addauth digest ann:secret", "whoami",
        "create /zkacl/auth x auth::cdrwa", "getAcl /zkacl/auth", "get /zkacl/auth",
        "create /zkacl/ip x ip:127.0.0.1:cdrwa", "get /zkacl/ip", "create /zkacl/ip2 x ip:10.0.0.0/8:cdrwa",
        "get /zkacl/ip2", "set /zkacl/ip2 x", "delete /zkacl/ip2", "create /zkacl/ip2/child x",
        "setAcl -v 7 /zkacl/auth world:anyone:r", "setAcl -v 0 /zkacl/auth world:anyone:r",
        "setAcl -R /zkacl world:anyone:cdrwa", "getAcl /missing",
    ])
    session(ctx, [
        "create /zkacl/mine x digest:bob:4rsXV9JgUbFl9ZE40xENilxlRV8=:cdrwa", "get /zkacl/mine", "getAcl /zkacl/mine",
        "addauth digest bob:wrong", "get /zkacl/mine", "whoami", "addauth digest carl:pw", "whoami",
        "ls /zkacl/mine", "stat /zkacl/mine", "deleteall /zkacl", "addauth digest bob:builder", "getAcl /zkacl/mine",
        "deleteall /zkacl", "ls /",
    ], first=1)


def quotas(ctx):
    session(ctx, [
        "create /zkq x", "setquota -n 3 /zkq", "listquota /zkq", "create /zkq/1 aaaa", "create /zkq/2 bbbb",
        "create /zkq/3 over", "listquota /zkq", "setquota -b 10 /zkq", "listquota /zkq", "set /zkq/1 aaaaaaaaaaaaaa",
        "listquota /zkq", "setquota -N 5 /zkq", "setquota -B 1000 /zkq", "listquota /zkq",
        "get /zookeeper/quota/zkq/zookeeper_limits", "get /zookeeper/quota/zkq/zookeeper_stats",
        "ls -R /zookeeper/quota", "setquota -n 2 /zkq/1", "setquota -n 2 /missing", "delquota -n /zkq",
        "listquota /zkq", "delquota -b /zkq", "delquota /zkq", "listquota /zkq", "delquota /zkq",
        "ls -R /zookeeper/quota", "setquota -n 4 /zkq/1/deeper", "deleteall /zkq", "listquota /zkq", "ls /",
    ])


def watches(ctx):
    session(ctx, [
        "create /zkw x", "get -w /zkw", ("set /zkw y", 1), ("set /zkw z"), "stat -w /zkw/later",
        "stat -w /zkw", ("delete /zkw", 1), ("create /zkw again"),
        "ls -w /zkw", ("create /zkw/c1 x", 1), "create /zkw/c2 x", "get -w /zkw/c1", "ls -w /zkw",
        ("delete /zkw/c1", 2), "addWatch -m PERSISTENT /zkw", ("set /zkw 1", 1), ("set /zkw 2", 1),
        ("create /zkw/c3 x", 1), ("delete /zkw/c3", 1), ("removewatches /zkw", 1), "set /zkw 3",
        "addWatch -m PERSISTENT_RECURSIVE /zkw", ("create /zkw/d x", 1), ("create /zkw/d/e x", 1),
        ("set /zkw/d/e y", 1), ("delete /zkw/d/e", 1), ("removewatches /zkw", 1), "set /zkw 4", "get -w /zkw",
        "ls -w /zkw", "removewatches /missing",
        "config -w", "config -s", ("deleteall /zkw", 2), "ls /",
    ])


def administration(ctx):
    session(ctx, [
        "config", "version", "whoami", "reconfig -add server.9=127.0.0.1:1:2:participant;127.0.0.1:3",
        "reconfig -remove 3", "reconfig -members server.1=127.0.0.1:1:2:participant;3", "nonsense", "create",
        "create /", "set /zookeeper/config x", "get /zookeeper/config", "getAcl /zookeeper/config",
        "getAcl /zookeeper/quota", "getAcl /zookeeper", "delete /zookeeper/config", "create /zookeeper/x y",
        "delete /zookeeper/x", "redo 0",
    ])


def chroot(ctx):
    session(ctx, ["create /zkroot x", "create /zkroot/inner y"])
    session(ctx, ["ls /", "get /inner", "create /inner/more z", ("ls -w /"), ("create /second s", 1), "ls -R /",
                  "create -s /q- x", "delete /second", "getEphemerals"], first=1, chroot="/zkroot")
    session(ctx, ["ls -R /zkroot", "deleteall /zkroot"], first=2)


SCENARIOS = [
    ("zkcli-nodes", nodes), ("zkcli-long-lists", long_lists), ("zkcli-acls", acls), ("zkcli-quotas", quotas),
    ("zkcli-watches", watches), ("zkcli-administration", administration), ("zkcli-chroot", chroot),
]
