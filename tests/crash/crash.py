#!/usr/bin/python3
"""make crash, make failover: kill -9 under load, and nothing acknowledged may be lost.

    ROUNDS=200        rounds of killing one, two or all of three servers, each followed by a full check
    KILLS=20          (make failover) kill only the leader, so often; check once at the end
    STOP=1            (make failover) stop it with SIGTERM instead
    SEED=1            the order of events; writes themselves follow the clock
    WRITERS=4         sessions that write all the time
    TARGET=reference  try it on the reference ZooKeeper

Writer i numbers its transactions. Number n is one multi: create /wi/n<n>, set /wi to n at version n-1, delete
/wi/n<n-KEEP>. So after any crash the state tells by itself what was done: /wi holds n, its version is n, its
children are exactly the last KEEP numbers, and n lies between the last acknowledged and the last sent. A session's
requests are carried out in order and at most once, or a version would not fit. Every 20th time it also makes a
sequential node under /seq. Each writer and two idle clients hold an ephemeral node; their sessions must live through
everything, as they reconnect at once with the same id and password.
"""
import collections
import os
import random
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "clients"))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "diff"))
import wire  # noqa: E402
from cluster import Cluster, NeverHappened, on_signals_exit, wait_for  # noqa: E402

WINDOW = 16
KEEP = 100
TIMEOUT_MS = 10000
SERVICE_SECONDS = 60
SEQUENCE_EVERY = 20


class Broken(Exception):
    """A promise was not kept."""


class Client:
    """A raw session that finds its way back to some server with the same id and password."""

    def __init__(self, cluster, first):
        self.cluster = cluster
        self.next_server = first
        self.conn = None
        self.id, self.password = 0, b"\0" * 16
        self.xid = 0
        self.last_zxid = 0
        self.heard = time.monotonic()
        self.closing = threading.Event()

    def connect(self):
        """Until some server takes the session; Broken when one says that it is gone."""
        if self.conn is not None:
            self.conn.close()
            self.conn = None
        end = time.monotonic() + SERVICE_SECONDS
        while not self.closing.is_set():
            if time.monotonic() > end:
                raise NeverHappened(f"no server took a session within {SERVICE_SECONDS} s")
            server = self.cluster.servers[self.next_server % len(self.cluster.servers)]
            self.next_server += 1
            try:
                conn = wire.Connection(server.client_port, 1.0)
            except OSError:
                time.sleep(0.01)        # nobody there: the next one, but not in a spin
                continue
            try:
                conn.send(wire.frame(wire.connect_request(TIMEOUT_MS, self.id, self.password, self.last_zxid)))
                _, timeout, sid, password, _ = wire.decode_connect(conn.receive(3.0))
            except (wire.Closed, wire.Silence):
                conn.close()
                time.sleep(0.01)
                continue
            if sid == 0 or timeout <= 0:
                away = time.monotonic() - self.heard
                raise Broken(f"session {self.id:#x} is gone after {away:.1f} s of {timeout or TIMEOUT_MS / 1000:g} s")
            self.id, self.password, self.conn = sid, password, conn
            self.heard = time.monotonic()
            return

    def send(self, code, body):
        self.xid += 1
        self.conn.send(wire.frame(wire.request(self.xid, code, body)))
        return self.xid

    def receive(self, seconds):
        """(xid, zxid, err, payload) of the next reply that is not an event."""
        while True:
            payload = self.conn.receive(seconds)
            xid, zxid, err = wire.header(payload)
            self.heard = time.monotonic()
            self.last_zxid = max(self.last_zxid, zxid)
            if xid != wire.XID_EVENT:
                return xid, zxid, err, payload

    def call(self, code, body, ok=(0,)):
        """One request and its answer, over any number of lost connections: only for what may be repeated."""
        while True:
            try:
                xid = self.send(code, body)
                while True:
                    got, zxid, err, payload = self.receive(5.0)
                    if got == xid:
                        break
            except (wire.Closed, wire.Silence):
                self.connect()
                continue
            if err not in ok:
                raise Broken(f"{wire.NAMES.get(code, code)} gave {err}")
            return zxid, err, payload

    def ping(self):
        self.conn.send(wire.frame(wire.request(wire.XID_PING, wire.PING)))

    def make(self, path, data=b"", flags=0):
        """Create, once or again."""
        self.call(wire.CREATE, wire.create_body(path, data, wire.WORLD, flags), ok=(0, -110))


class Meter:
    """When writes were acknowledged: for the gaps that a client would feel."""

    def __init__(self):
        self.lock = threading.Lock()
        self.count = 0
        self.last = time.monotonic()
        self.longest = 0.0

    def tick(self):
        now = time.monotonic()
        with self.lock:
            self.longest = max(self.longest, now - self.last)
            self.last = now
            self.count += 1

    def reset(self):
        with self.lock:
            self.last = time.monotonic()
            self.longest = 0.0

    def gap(self):
        with self.lock:
            return max(self.longest, time.monotonic() - self.last)


class Writer(threading.Thread):
    def __init__(self, cluster, index, meter):
        super().__init__(daemon=True)
        self.client = Client(cluster, index)
        self.index = index
        self.meter = meter
        self.node = f"/w{index}"
        self.acked = 0                  # all numbers up to here were acknowledged or found done
        self.sent = 0
        self.zxids = {}                 # number -> zxid of its acknowledgement
        self.sequence = {}              # acknowledged sequential name -> data
        self.sequence_unknown = set()   # data of sequential creates without an answer
        self.pause = threading.Event()
        self.paused = threading.Event()
        self.problem = None
        self.lost = 0                   # connections lost

    def setup(self):
        self.client.connect()
        for path in (self.node, "/seq", "/eph"):
            self.client.make(path)
        self.client.make(f"/eph/w{self.index}", flags=1)

    def run(self):
        try:
            while not self.client.closing.is_set():
                if self.pause.is_set():
                    self.idle()
                else:
                    self.write()
        except (Broken, NeverHappened, wire.Malformed, OSError) as e:
            self.problem = f"writer {self.index}: {type(e).__name__}: {e}"
            self.paused.set()

    def idle(self):
        """Paused: keep the session alive."""
        self.paused.set()
        try:
            self.client.ping()
            self.client.receive(5.0)
        except (wire.Closed, wire.Silence):
            self.client.connect()
        self.client.closing.wait(0.2)

    def transaction(self, n):
        ops = [(wire.CREATE, wire.create_body(f"{self.node}/n{n}", b"%d" % n, wire.WORLD, 0)),
               (wire.SET_DATA, wire.text(self.node) + wire.buffer(b"%d" % n) + wire.int32(n - 1))]
        if n > KEEP:
            ops.append((wire.DELETE, wire.text(f"{self.node}/n{n - KEEP}") + wire.int32(0)))
        return wire.multi(ops)

    def write(self):
        """Keep WINDOW transactions on their way until paused or the connection breaks."""
        self.paused.clear()
        flying = collections.deque()    # (xid, number or None, sequence data or None)
        try:
            while True:
                stop = self.pause.is_set() or self.client.closing.is_set()
                while not stop and len(flying) < WINDOW:
                    self.sent += 1
                    n = self.sent
                    flying.append((self.client.xid + 1, n, None))
                    self.client.send(wire.MULTI, self.transaction(n))
                    if n % SEQUENCE_EVERY == 0:
                        data = b"%d:%d:%d" % (self.index, n, self.client.xid)
                        flying.append((self.client.xid + 1, None, data))
                        self.client.send(wire.CREATE, wire.create_body("/seq/s-", data, wire.WORLD, 2))
                if not flying:
                    return
                xid, zxid, err, payload = self.client.receive(5.0)
                if xid != flying[0][0]:
                    raise Broken(f"answer to {xid} came before the one to {flying[0][0]}")
                if err != 0:
                    raise Broken(f"error {err} for transaction {flying[0][1:]}, last acknowledged {self.acked}")
                _, n, data = flying.popleft()
                if n is not None:
                    self.acked = n
                    self.zxids[n] = zxid
                    self.zxids.pop(n - KEEP, None)
                else:
                    self.sequence[wire.Reader(payload, 16).text()] = data
                self.meter.tick()
        except (wire.Closed, wire.Silence):
            self.lost += 1
            self.sequence_unknown.update(data for _, _, data in flying if data is not None)
            self.client.connect()
            self.resolve()

    def resolve(self):
        """After a lost connection: how far did the transactions get?"""
        self.client.call(wire.SYNC, wire.text(self.node))
        # a small write of our own is a stronger fence than 3.8.0's sync
        self.client.call(wire.DELETE, wire.text("/never-there") + wire.int32(-1), ok=(-101,))
        _, _, payload = self.client.call(wire.GET_DATA, wire.text(self.node) + b"\0")
        done = int(wire.Reader(payload, 16).buffer() or b"0")
        if not self.acked <= done <= self.sent:
            raise Broken(f"{self.node} is at {done}, acknowledged {self.acked}, sent {self.sent}")
        self.acked = self.sent = done


class Idler(threading.Thread):
    """A client that only stays alive, with an ephemeral node."""

    def __init__(self, cluster, index):
        super().__init__(daemon=True)
        self.client = Client(cluster, index)
        self.index = index
        self.problem = None

    def run(self):
        try:
            self.client.connect()
            self.client.make("/eph")
            self.client.make(f"/eph/idle{self.index}", flags=1)
            while not self.client.closing.wait(0.3):
                try:
                    self.client.ping()
                    self.client.receive(5.0)
                except (wire.Closed, wire.Silence):
                    self.client.connect()
        except (Broken, NeverHappened, wire.Malformed, OSError) as e:
            self.problem = f"idle client {self.index}: {type(e).__name__}: {e}"


class Checker:
    """Reads the whole tree from each server and holds it against what the writers know."""

    def __init__(self, cluster):
        self.cluster = cluster

    def dump(self, index):
        """path -> (data, stat, acl) as one server sees it, after it has caught up."""
        client = Client(self.cluster, index)
        client.connect()
        if client.next_server != index + 1:
            raise Broken(f"server {index + 1} refused the checker")
        client.call(wire.SYNC, wire.text("/"))
        client.call(wire.DELETE, wire.text("/never-there") + wire.int32(-1), ok=(-101,))
        tree, level = {}, ["/"]
        while level:
            following = []
            for at in range(0, len(level), 200):
                part = level[at:at + 200]
                for path in part:
                    client.send(wire.GET_DATA, wire.text(path) + b"\0")
                    client.send(wire.GET_CHILDREN, wire.text(path) + b"\0")
                    client.send(wire.GET_ACL, wire.text(path))
                for path in part:
                    answers = [client.receive(10.0) for _ in range(3)]
                    if any(a[2] != 0 for a in answers):
                        raise Broken(f"server {index + 1}: {path} gave {[a[2] for a in answers]} in a tree at rest")
                    r = wire.Reader(answers[0][3], 16)
                    data, stat = r.buffer(), r.stat()
                    if stat[1] == 0:    # made by the server itself, not by a transaction: its time is its own
                        stat = stat[:2] + (0, 0) + stat[4:]
                    acl = wire.Reader(answers[2][3], 16).body(wire.GET_ACL)[0]
                    tree[path] = (data, stat, acl)
                    prefix = "/" if path == "/" else path + "/"
                    children = wire.Reader(answers[1][3], 16).body(wire.GET_CHILDREN)[0]
                    if len(children) != stat[9]:
                        raise Broken(f"server {index + 1}: {path} has {len(children)} children, its stat says {stat[9]}")
                    following += [prefix + name for name in children]
            level = following
        client.send(wire.CLOSE_SESSION, b"")
        client.receive(5.0)
        client.conn.close()
        return tree

    def check(self, writers, idlers):
        trees = [self.dump(i) for i in range(len(self.cluster.servers))]
        for i, tree in enumerate(trees[1:], 2):
            if tree != trees[0]:
                paths = [p for p in sorted(set(tree) | set(trees[0])) if tree.get(p) != trees[0].get(p)]
                raise Broken(f"servers 1 and {i} differ at {len(paths)} paths: " + "; ".join(
                    f"{p}: {trees[0].get(p)} against {tree.get(p)}" for p in paths[:3]))
        tree = trees[0]
        for w in writers:
            self.check_writer(w, tree)
        self.check_sequence(writers, tree)
        for path, client in [(f"/eph/w{w.index}", w.client) for w in writers] + [
                (f"/eph/idle{i.index}", i.client) for i in idlers]:
            if path not in tree:
                raise Broken(f"{path} is gone, its session {client.id:#x} is alive")
            if tree[path][1][7] != client.id:
                raise Broken(f"{path} belongs to {tree[path][1][7]:#x}, not to {client.id:#x}")
        return len(tree)

    @staticmethod
    def check_writer(w, tree):
        data, stat, _ = tree[w.node]
        n = int(data or b"0")
        if n != w.acked:
            raise Broken(f"{w.node} is at {n}, acknowledged {w.acked}")
        if stat[4] != n:
            raise Broken(f"{w.node} is at {n}, but its version is {stat[4]}: something was done twice or not at all")
        have = {path for path in tree if path.startswith(w.node + "/")}
        want = {f"{w.node}/n{k}" for k in range(max(1, n - KEEP + 1), n + 1)}
        if have != want:
            raise Broken(f"{w.node}: missing {sorted(want - have)[:5]}, too many {sorted(have - want)[:5]}")
        for k, zxid in w.zxids.items():
            path = f"{w.node}/n{k}"
            if path in tree and (tree[path][0] != b"%d" % k or tree[path][1][0] != zxid):
                raise Broken(f"{path} was acknowledged at {zxid:#x}, it says {tree[path][:2]}")

    @staticmethod
    def check_sequence(writers, tree):
        there = {path: tree[path][0] for path in tree if path.startswith("/seq/")}
        names = [name for w in writers for name in w.sequence]
        if len(names) != len(set(names)):
            raise Broken("a sequence number was given twice")
        unknown = set().union(*[w.sequence_unknown for w in writers])
        for w in writers:
            for name, data in w.sequence.items():
                if there.get(name) != data:
                    raise Broken(f"{name} was acknowledged to hold {data}, it holds {there.get(name)}")
            ordered = list(w.sequence)
            if ordered != sorted(ordered):
                raise Broken(f"the sequence numbers of writer {w.index} go backwards")
        acknowledged = set(names)
        for name, data in there.items():
            if name not in acknowledged and data not in unknown:
                raise Broken(f"{name} holds {data}, which nobody wrote")
        if len(set(there.values())) != len(there):
            raise Broken("one sequential create was done twice")


class Loop:
    def __init__(self, cluster, seed):
        self.cluster = cluster
        self.random = random.Random(seed)
        self.meter = Meter()
        self.writers = [Writer(cluster, i, self.meter) for i in range(int(os.environ.get("WRITERS", "4")))]
        self.idlers = [Idler(cluster, i) for i in range(2)]
        self.checker = Checker(cluster)

    def start(self):
        for w in self.writers:
            w.setup()
            w.start()
        for i in self.idlers:
            i.start()
        self.served()

    def problems(self):
        return [t.problem for t in self.writers + self.idlers if t.problem]

    def complain(self):
        found = self.problems()
        if found:
            raise Broken("; ".join(found))

    def served(self, more=50):
        """Until so many more writes were acknowledged."""
        start = self.meter.count
        wait_for("writes to be acknowledged", lambda: self.problems() or self.meter.count >= start + more,
                 SERVICE_SECONDS)
        self.complain()

    def rest(self):
        """Stop writing and wait until every writer knows what became of its writes."""
        for w in self.writers:
            w.paused.clear()
            w.pause.set()
        wait_for("writers to rest", lambda: all(w.paused.is_set() for w in self.writers), SERVICE_SECONDS)
        self.complain()

    def go_on(self):
        for w in self.writers:
            w.pause.clear()

    def tidy(self):
        """Old sequential nodes are checked; drop them, so that the check stays short."""
        if sum(len(w.sequence) for w in self.writers) < 1000:
            return
        client = self.writers[0].client
        tree = self.checker.dump(0)
        helper = Client(self.cluster, 1)
        helper.connect()
        for path in [p for p in tree if p.startswith("/seq/")]:
            helper.call(wire.DELETE, wire.text(path) + wire.int32(-1), ok=(0, -101))
        helper.call(wire.CLOSE_SESSION, b"")
        helper.conn.close()
        assert client.conn is not None
        for w in self.writers:
            w.sequence.clear()
            w.sequence_unknown.clear()

    def pick(self):
        r = self.random.random()
        servers = list(self.cluster.servers)
        if r < 0.35:
            return "leader", [self.cluster.leader()]
        if r < 0.6:
            return "one", [self.random.choice(servers)]
        if r < 0.75:
            return "two", self.random.sample(servers, 2)
        return "all", servers

    def crash_round(self):
        """One round; returns (what was killed, longest gap in seconds, nodes checked)."""
        until = self.meter.count + self.random.randrange(50, 1500)
        wait_for("load", lambda: self.problems() or self.meter.count >= until, SERVICE_SECONDS)
        what, victims = self.pick()
        self.meter.reset()
        for server in victims:
            server.kill()
        if what in ("leader", "one"):
            if self.random.random() < 0.7:
                self.served(more=self.random.randrange(20, 500))
        for server in victims:
            server.start()
        self.served()
        gap = self.meter.gap()
        self.cluster.wait_ready()
        self.rest()
        nodes = self.checker.check(self.writers, self.idlers)
        self.tidy()
        self.go_on()
        return what, gap, nodes

    def failover(self):
        """Kill the leader, or stop it; returns the longest gap between two acknowledged writes."""
        until = self.meter.count + 500
        wait_for("load", lambda: self.problems() or self.meter.count >= until, SERVICE_SECONDS)
        leader = self.cluster.leader()
        self.meter.reset()
        if os.environ.get("STOP"):
            leader.stop()
        else:
            leader.kill()
        self.served(200)
        gap = self.meter.gap()
        self.cluster.restart(leader)
        self.served(200)
        return gap

    def close(self):
        for t in self.writers + self.idlers:
            t.client.closing.set()
        for t in self.writers + self.idlers:
            t.join(10)


def summary(gaps):
    gaps = sorted(gaps)
    return f"median {gaps[len(gaps) // 2] * 1000:.0f} ms, longest {gaps[-1] * 1000:.0f} ms" if gaps else "none"


def main():
    on_signals_exit()
    failover = "--failover" in sys.argv
    target, seed = os.environ.get("TARGET", "ours"), int(os.environ.get("SEED", "1"))
    rounds = int(os.environ.get("KILLS", "20") if failover else os.environ.get("ROUNDS", "200"))
    began = time.monotonic()
    gaps = collections.defaultdict(list)
    done = 0
    with Cluster(target, 3) as cluster:
        cluster.start()
        loop = Loop(cluster, seed)
        try:
            loop.start()
            for n in range(1, rounds + 1):
                if failover:
                    gap = loop.failover()
                    gaps["leader"].append(gap)
                    print(f"leader {'stop' if os.environ.get('STOP') else 'kill'} {n}: {gap * 1000:.0f} ms without an acknowledged write", flush=True)
                else:
                    what, gap, nodes = loop.crash_round()
                    gaps[what].append(gap)
                    print(f"round {n}: killed {what}, {gap * 1000:.0f} ms without an acknowledged write, {nodes} nodes "
                          f"equal on 3 servers, {loop.meter.count} writes so far", flush=True)
                done = n
            if failover:
                loop.rest()
                nodes = loop.checker.check(loop.writers, loop.idlers)
                print(f"after it: {nodes} nodes equal on 3 servers")
        except (Broken, NeverHappened, wire.Closed, wire.Silence) as e:
            print(f"FAILED in round {done + 1} of {rounds}, seed {seed}: {type(e).__name__}: {e}")
            cluster.print_logs()
            loop.close()
            print(f"{done} passed, 1 failed")
            return 1
        lost = sum(w.lost for w in loop.writers)
        loop.close()
    for what in sorted(gaps):
        print(f"{len(gaps[what])} times {what} killed: {summary(gaps[what])} without an acknowledged write")
    print(f"{'failover' if failover else 'crash'}: {loop.meter.count} acknowledged writes, {lost} lost connections, no write "
          f"lost, no session lost, {time.monotonic() - began:.0f} s")
    print(f"{done} passed, 0 failed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
