#!/usr/bin/python3
"""make diff: the same seeded sequence of operations into the reference ZooKeeper and into ours.

    SEED=7 OPS=100000 SERVERS=1     what to run (SERVERS=1,3 runs both)
    TARGET=reference                compare the reference with itself: checks the tester
    REPLAY=build/diff/7-1.batches   the batches of a log in place of a seed
    SHRINK=1                        after a difference, look for a shorter sequence that still shows one
    ACLS=0                          leave out lists that deny, to look past differences in who may see what
    MAX_DIFFERENCES=10              stop after so many differing batches

Compared: header error and zxid (relative to the start), the whole body, every Stat field (times by their
consistency: one time per zxid, never backwards), watch events with their place among the replies, connect
replies, and whether the connection lived. Lists that are sets (children, ephemerals) are compared as sets.
After each batch every session does one small write, the fence: its answer proves that its server has applied
all there was, so events must have come before it.
"""
import ast
import os
import re
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "clients"))
import generate  # noqa: E402
import intended  # noqa: E402
import wire  # noqa: E402
from cluster import BUILD, ROOT, Cluster, NeverHappened, on_signals_exit, wait_for  # noqa: E402

OUT = os.path.join(BUILD, "diff")
TIMEOUT_MS = 40000
FENCE_XID = 0x70000000
SILENCE_SECONDS = float(os.environ.get("SILENCE", "10"))
SETTINGS = {
    "tickTime": 2000, "initLimit": 10, "syncLimit": 10,
    # containers and TTL nodes are only made here, not swept: sweeping takes its own time
    "znode.container.checkIntervalMs": 3600000,
    "enforceQuota": "true",
    # what is damaged on purpose must not cost a second per request
    "request_throttler.shutdownTimeout": 1000,
}


class Session:
    """One logical session on one side: its connection, ids, and the answers it owes."""

    def __init__(self, server):
        self.server = server            # index of the server it talks to
        self.conn = None
        self.id = 0
        self.password = b"\0" * 16
        self.xid = 0
        self.last_zxid = 0
        self.pokes = 0                  # pings sent to wake a server, whose answers are still to come


class Side:
    """One of the two clusters under comparison."""

    def __init__(self, label, cluster):
        self.label = label
        self.cluster = cluster
        self.sessions = [Session(i % len(cluster.servers)) for i in range(generate.SESSIONS)]
        self.owners = {}                # session id -> name
        self.base = None
        self.newest = 0                 # highest zxid seen
        self.times = {}                 # zxid -> time of it, from stats
        self.poked = 0                  # how often it needed another request to answer the one before
        self.wrong = []                 # complaints about one side alone

    # ---- values -----------------------------------------------------------------------------
    def relative(self, zxid):
        if zxid <= 0 or self.base is None:
            return zxid
        self.newest = max(self.newest, zxid)
        return ("+", zxid - self.base)

    def note_time(self, zxid, ms):
        if zxid <= 0:
            return
        known = self.times.setdefault(zxid, ms)
        if known != ms:
            self.wrong.append(f"two times for zxid {zxid:#x}: {known} and {ms}")

    def normal(self, value):
        """A decoded body with zxids relative, times checked and left out, session ids by name."""
        if isinstance(value, tuple) and value and value[0] == "stat":
            _, czxid, mzxid, ctime, mtime, version, cversion, aversion, owner, length, children, pzxid = value
            self.note_time(czxid, ctime)
            self.note_time(mzxid, mtime)
            return ("stat", self.relative(czxid), self.relative(mzxid), version, cversion, aversion,
                    self.owners.get(owner, owner), length, children, self.relative(pzxid))
        if isinstance(value, tuple):
            return tuple(self.normal(v) for v in value)
        if isinstance(value, list):
            return [self.normal(v) for v in value]
        return value

    def check_times(self):
        last = (0, 0)
        for zxid in sorted(self.times):
            if self.times[zxid] < last[1]:
                self.wrong.append(f"time goes back from {last[1]} at {last[0]:#x} to {self.times[zxid]} at {zxid:#x}")
            last = (zxid, self.times[zxid])

    # ---- sessions ---------------------------------------------------------------------------
    def connect(self, session, name=None):
        """Open a new session (name given) or continue the old one. Returns what to compare."""
        if session.conn is not None:
            session.conn.close()
        session.conn = wire.Connection(self.cluster.servers[session.server].client_port, SILENCE_SECONDS)
        session.pokes = 0
        if name is not None:
            session.id, session.password = 0, b"\0" * 16
        session.conn.send(wire.frame(wire.connect_request(TIMEOUT_MS, session.id, session.password, session.last_zxid)))
        try:
            version, timeout, sid, password, read_only = wire.decode_connect(session.conn.receive())
        except (wire.Closed, wire.Silence, wire.Malformed) as e:
            return ("connect", type(e).__name__)
        same = sid == session.id and password == session.password
        session.id, session.password = sid, password
        if name is not None:
            self.owners[sid] = name
            same = None
        return ("connect", version, timeout, sid != 0, len(password or b""), read_only, same)

    def await_zxid(self, session):
        """Until its server has applied all that the session saw: one that lags behind turns it away."""
        server = self.cluster.servers[session.server]

        def caught_up():
            zxid = re.search(r"^Zxid: 0x([0-9a-f]+)$", server.four_letters("srvr"), re.M)
            return zxid is not None and int(zxid[1], 16) >= session.last_zxid
        wait_for(f"{self.label} server {server.number} at zxid {session.last_zxid:#x}", caught_up, SILENCE_SECONDS)

    def knock(self, spec):
        """Another connection, in some odd way; what came of it."""
        spec = dict(spec)
        of, cut = spec.pop("of", None), spec.pop("cut", None)
        if of is not None:
            spec["session"] = self.sessions[of].id
        payload = wire.connect_request(**{"timeout": TIMEOUT_MS, **spec})
        if cut is not None:
            payload = payload[:cut]
        conn = wire.Connection(self.cluster.servers[0].client_port, SILENCE_SECONDS)
        out = []
        try:
            conn.send(wire.frame(payload))
            version, timeout, sid, password, read_only = wire.decode_connect(conn.receive())
            out.append(("connect", version, timeout, sid != 0, len(password or b""), read_only))
            if sid:                     # end it again, so that no session dies later in the middle of things
                conn.send(wire.frame(wire.request(1, wire.CLOSE_SESSION)))
                out.append(("reply", wire.header(conn.receive())[2]))
            conn.receive()
            out.append(("more than that",))
        except wire.Closed:
            out.append(("closed",))
        except wire.Silence:
            out.append(("silence",))
        except wire.Malformed as e:
            out.append(("malformed", str(e)))
        conn.close()
        return out

    # ---- a batch ----------------------------------------------------------------------------
    def send(self, batch):
        """Send a batch's requests in one write; returns the codes of the answers awaited, in order."""
        session = self.sessions[batch["session"]]
        awaited, out = [], []
        for op in batch["ops"]:
            kind = op[0]
            if kind == "req":
                session.xid += 1
                awaited.append((session.xid, op[1]))
                out.append(wire.frame(wire.request(session.xid, op[1], op[2])))
            elif kind == "ping":
                awaited.append((wire.XID_PING, wire.PING))
                out.append(wire.frame(wire.request(wire.XID_PING, wire.PING)))
            elif kind == "watches":
                awaited.append((wire.XID_SET_WATCHES, op[1]))
                body = wire.int64(self.newest - op[2]) + b"".join(wire.vector(each) for each in op[3])
                out.append(wire.frame(wire.request(wire.XID_SET_WATCHES, op[1], body)))
            elif kind == "auth":
                awaited.append((wire.XID_AUTH, wire.AUTH))
                out.append(wire.frame(wire.request(wire.XID_AUTH, wire.AUTH,
                                                   wire.int32(0) + wire.text(op[1]) + wire.buffer(op[2]))))
            elif kind == "raw":
                awaited.append((None, None))
                if op[1] is None:
                    out.append(wire.int32(-5))
                elif isinstance(op[1], int):
                    out.append(wire.int32(op[1]))
                else:
                    out.append(wire.frame(op[1]))
            elif kind == "close":
                session.xid += 1
                awaited.append((session.xid, wire.CLOSE_SESSION))
                out.append(wire.frame(wire.request(session.xid, wire.CLOSE_SESSION)))
        try:
            if out:
                session.conn.send(b"".join(out))
        except wire.Closed:
            pass                        # seen again when the answers are read
        return awaited

    def collect(self, session, awaited):
        """The stream of one session until all awaited answers came, it closed, or it fell silent."""
        items = []
        waiting = list(awaited)
        done = 0
        while done < len(waiting):
            try:
                payload = self.receive(session)
                xid, zxid, err = wire.header(payload)
                if xid == wire.XID_PING and session.pokes and waiting[done][0] not in (xid, None):
                    session.pokes -= 1
                    continue
                if xid == wire.XID_EVENT:
                    items.append(wire.decode_event(payload) + ((zxid, err),))
                    continue
                if waiting[done][0] not in (xid, None):
                    later = [n for n in range(done, len(waiting)) if waiting[n][0] == xid]
                    items.append(("out of order", f"{xid} came while {waiting[done][0]} was due"))
                    if not later:
                        done += 1
                        continue
                    waiting.insert(done, waiting.pop(later[0]))
                code = waiting[done][1]
                done += 1
                session.last_zxid = max(session.last_zxid, zxid)
                body = ()
                if err == 0 and code is not None:
                    r = wire.Reader(payload, 16)
                    body = self.normal(r.body(code))
                    if r.at != len(payload):
                        raise wire.Malformed(f"{len(payload) - r.at} bytes too many in a reply to {code}")
                elif code == wire.MULTI_READ and len(payload) != 16:
                    body = ("what was read before the error",)
                elif len(payload) != 16:
                    body = ("body with an error", payload[16:])
                items.append(("reply", xid, self.relative(zxid), err, body))
            except wire.Closed:
                items.append(("closed",))
                break
            except wire.Silence:
                items.append(("silence",))
                break
            except wire.Malformed as e:
                items.append(("malformed", str(e)))
                break
        return items

    def receive(self, session):
        """The next frame. A follower of 3.8.0 sometimes sits on an answer until it gets another request: after a
        while a ping is sent to wake it. Ours must not need that, and is reported if it does."""
        try:
            return session.conn.receive(SILENCE_SECONDS / 4)
        except wire.Silence:
            self.poked += 1
            session.pokes += 1
            session.conn.send(wire.frame(wire.request(wire.XID_PING, wire.PING)))
            return session.conn.receive()

    def fence(self, index):
        session = self.sessions[index]
        session.xid += 1
        session.conn.send(wire.frame(wire.request(FENCE_XID + session.xid, wire.DELETE,
                                                  wire.text("/fence-is-never-there") + wire.int32(-1))))
        return (FENCE_XID + session.xid, wire.DELETE)


class Difference:
    def __init__(self, batch_index, op, where, reference, ours):
        self.batch_index = batch_index
        self.op = op
        self.where = where
        self.reference = reference
        self.ours = ours


def words_of(op):
    kind = op[0]
    if kind == "req":
        return op[3]
    if kind == "raw":
        return op[3]
    return repr(op)


class Tester:
    def __init__(self, sides):
        self.a, self.b = sides
        self.count = 0
        self.batch_index = -1
        self.generation = 0
        self.differences = []
        self.explained = {}

    def start(self):
        for i in range(generate.SESSIONS):
            self.open(i)
        for side in (self.a, self.b):
            side.base = 0
            self.fence_all(side, range(generate.SESSIONS))
            side.base = side.newest
            side.times.clear()

    def open(self, i):
        self.generation += 1
        name = f"session{i}.{self.generation}"
        answers = [side.connect(side.sessions[i], name) for side in (self.a, self.b)]
        self.compare(("open", i), "new session", [answers[0]], [answers[1]])

    def resume(self, i):
        answers = [side.connect(side.sessions[i]) for side in (self.a, self.b)]
        self.compare(("resume", i), "session continued", [answers[0]], [answers[1]])
        for side in (self.a, self.b):
            if side.sessions[i].id == 0 or answers[0][1] == "Closed":
                raise NeverHappened(f"{side.label}: session {i} could not be continued: {answers}")

    def fence_all(self, side, indexes):
        """Fence these sessions at once. Returns {index: items before the fence}, sorted relative zxids."""
        awaited = {}
        for i in indexes:
            try:
                awaited[i] = side.fence(i)
            except wire.Closed:
                awaited[i] = (None, None)
        items, zxids = {}, []
        for i, one in awaited.items():
            got = side.collect(side.sessions[i], [one])
            if got and got[-1][0] == "reply":
                last = got.pop()
                zxids.append((last[2], last[3]))
            items[i] = got
        return items, sorted(zxids, key=repr)

    def run_batch(self, batch, next_session):
        self.batch_index += 1
        sides = (self.a, self.b)
        i = batch["session"]
        ops = batch["ops"]
        self.count += len(ops)
        kind = ops[0][0]
        unordered = kind == "close"
        if kind in ("drop", "move"):
            for side in sides:
                session = side.sessions[i]
                if kind == "move":
                    session.server = (session.server + ops[0][1]) % len(side.cluster.servers)
                    side.await_zxid(session)
            self.resume(i)
        elif kind == "knock":
            got = [side.knock(ops[0][1]) for side in sides]
            self.compare(ops[0], "knock", *got)
            if "of" in ops[0][1]:       # 3.8.0 cuts the owner off; cut it on both sides
                self.resume(i)
        else:
            awaited = [side.send(batch) for side in sides]
            if kind == "raw":           # read until it closes
                awaited = [each + [(None, None)] for each in awaited]
            got = [side.collect(side.sessions[i], each) for side, each in zip(sides, awaited)]
            if unordered:               # the order in which a closing session's nodes go is nobody's promise
                got = [sorted(each, key=lambda item: (item[0] != "event", repr(item))) for each in got]
            self.compare_stream(batch, *got)
            if got[0] == got[1] and got[0] and got[0][-1][0] in ("silence", "malformed"):
                n = sum(1 for item in got[0] if item[0] == "reply")
                self.differences.append(Difference(self.batch_index, ops[min(n, len(ops) - 1)],
                                                   "neither answers", got[0][-1:], got[1][-1:]))
            if kind == "close":
                # the connection ends after the reply
                ends = []
                for side in sides:
                    ends.append(side.collect(side.sessions[i], [(None, None)]))
                self.compare(ops[0], "after closeSession", *ends)
            elif any(each and each[-1][0] in ("closed", "silence", "malformed") for each in got) or (
                    kind == "auth" and any(each[-1][3] != 0 for each in got)):
                self.resume(i)
        others = [j for j in range(generate.SESSIONS) if not (j == i and kind == "close")]
        fenced = [self.fence_all(side, others) for side in sides]
        for j in others:
            items = [each[0][j] for each in fenced]
            if unordered:
                items = [sorted(each, key=repr) for each in items]
            self.compare(("events", words_of(ops[-1])), f"events at session {j}", *items)
        self.compare(("fences",), "zxids of the fences", fenced[0][1], fenced[1][1])
        if kind == "close":
            self.open(i)
        if len(self.a.cluster.servers) > 1:
            # the next speaker's server must have applied all of that before it is asked anything
            for side in sides:
                self.fence_all(side, [next_session])
        for side in sides:
            for complaint in side.wrong[:3]:
                self.differences.append(Difference(self.batch_index, ("times",), f"{side.label} alone", [complaint], []))
            side.wrong.clear()

    def compare_stream(self, batch, ref, ours):
        """Two streams of the speaking session: align them op by op so that a difference names its op."""
        if ref == ours:
            return
        split = []
        for items in (ref, ours):
            groups, current = [], []
            for item in items:
                current.append(item)
                if item[0] != "event":
                    groups.append(current)
                    current = []
            if current:
                groups.append(current)
            split.append(groups)
        for n in range(max(len(split[0]), len(split[1]))):
            a = split[0][n] if n < len(split[0]) else []
            b = split[1][n] if n < len(split[1]) else []
            op = batch["ops"][n] if n < len(batch["ops"]) else batch["ops"][-1]
            self.compare(op, f"op {n} of session {batch['session']}", a, b)

    def compare(self, op, where, ref, ours):
        if ref == ours:
            return
        name = intended.explain(op, ref, ours)
        if name is not None:
            self.explained[name] = self.explained.get(name, 0) + 1
            return
        self.differences.append(Difference(self.batch_index, op, where, ref, ours))

    def compare_trees(self):
        """At the end: both trees, node by node, as a superuser of nothing but what anyone may read."""
        trees = [dump(side) for side in (self.a, self.b)]
        for path in sorted(set(trees[0]) | set(trees[1])):
            one, other = trees[0].get(path), trees[1].get(path)
            if one != other:
                self.differences.append(Difference(self.batch_index, ("tree", path), "trees at the end", [one], [other]))
        return len(trees[0])


def dump(side):
    """path -> (data, stat, children, acl), over the first session, with its errors where it may not read."""
    session = side.sessions[0]
    tree, todo = {}, ["/"]
    while todo:
        requests = []
        level = todo
        for path in level:
            for code, body in ((wire.GET_DATA, wire.text(path) + b"\0"), (wire.GET_CHILDREN2, wire.text(path) + b"\0"),
                               (wire.GET_ACL, wire.text(path)), (wire.EXISTS, wire.text(path) + b"\0")):
                requests.append(("req", code, body, ""))
        todo = []
        for at in range(0, len(requests), 400):
            chunk = requests[at:at + 400]
            awaited = side.send({"session": 0, "ops": chunk})
            items = side.collect(session, awaited)
            if len(items) != len(chunk):
                raise NeverHappened(f"{side.label}: the tree could not be read: {items[-1]}")
            for n in range(0, len(items), 4):
                path = level[(at + n) // 4]
                answers = [(item[3], item[4]) for item in items[n:n + 4]]
                if path == "/zookeeper/config":
                    answers[0] = None       # ports
                tree[path] = answers
                if items[n + 1][3] == 0:
                    prefix = path if path.endswith("/") else path + "/"
                    todo += [prefix + name for name in items[n + 1][4][0]]
    return tree


def probe(side):
    """What may only be sent to ours; returns complaints."""
    complaints = []
    for name, function in intended.PROBES.items():
        session = Session(0)
        side.connect(session, "probe")

        def send(code, body):
            session.xid += 1
            session.conn.send(wire.frame(wire.request(session.xid, code, body)))
            try:
                while True:
                    payload = session.conn.receive()
                    xid, _, err = wire.header(payload)
                    if xid == session.xid:
                        return err, payload[16:]
            except (wire.Closed, wire.Silence):
                side.connect(session)
                return None
        complaint = function(send)
        session.conn.close()
        if complaint:
            complaints.append(f"probe {name}: {complaint}")
    return complaints


def run(batches, count, target, most, log_path=None):
    """Returns the tester after all batches, or after `most` differences."""
    with Cluster("reference", count, SETTINGS) as ref, Cluster(target, count, SETTINGS) as ours:
        ref.start()
        ours.start()
        tester = Tester([Side("reference", ref), Side("ours" if target == "ours" else "again", ours)])
        tester.nodes = 0
        tester.problem = None
        log = open(log_path, "w") if log_path else None
        try:
            tester.start()
            for n, batch in enumerate(batches):
                if log:
                    log.write(repr(batch) + "\n")
                following = batches[n + 1]["session"] if n + 1 < len(batches) else 0
                tester.run_batch(batch, following)
                if len({d.batch_index for d in tester.differences}) >= most:
                    break
            else:
                tester.nodes = tester.compare_trees()
                if target == "ours":
                    for complaint in probe(tester.b):
                        tester.differences.append(Difference(n, ("probe",), complaint, [], []))
                for side in (tester.a, tester.b):
                    side.check_times()
                    if side.poked and side.cluster.kind == "ours":
                        side.wrong.append(f"{side.poked} answers came only after another request")
                    for complaint in side.wrong[:3]:
                        tester.differences.append(Difference(n, ("times",), f"{side.label} alone", [complaint], []))
        except (NeverHappened, OSError, wire.Closed) as e:
            tester.problem = f"{type(e).__name__}: {e}"
            ours.print_logs()
        finally:
            if log:
                log.close()
        return tester


def text_of(items, most=6):
    return "\n".join(f"      {item!r}"[:1200] for item in items[:most]) or "      nothing"


def report(tester, log_path):
    for d in tester.differences[:int(os.environ.get("SHOW", "40"))]:
        print(f"  batch {d.batch_index}, {d.where}: {words_of(d.op)[:600] if d.op else ''}")
        print(f"    {tester.a.label}:\n{text_of(d.reference)}\n    {tester.b.label}:\n{text_of(d.ours)}")
    if tester.differences or tester.problem:
        print(f"  again: make diff SERVERS={len(tester.a.cluster.servers)} REPLAY={os.path.relpath(log_path, ROOT)}")


def shrink(batches, count, target, log_path):
    """Drop halves, quarters, ... of the batches, then of the last batch's ops, while a difference stays."""
    def shows(candidate):
        tester = run(candidate, count, target, 1)
        return bool(tester.differences or tester.problem)

    end = time.monotonic() + float(os.environ.get("SHRINK_SECONDS", "120"))

    def reduce(items, build):
        size = max(1, len(items) // 2)
        while size >= 1 and time.monotonic() < end:
            at = 0
            while at < len(items) and time.monotonic() < end:
                candidate = items[:at] + items[at + size:]
                if candidate and shows(build(candidate)):
                    items = candidate
                else:
                    at += size
            size //= 2
        return items

    batches = reduce(batches, lambda c: c)
    for n in range(len(batches)):
        ops = batches[n]["ops"]
        if len(ops) > 1:
            def build(c, n=n):
                return batches[:n] + [dict(batches[n], ops=c)] + batches[n + 1:]
            batches = build(reduce(ops, build))
    short_path = log_path + ".short"
    with open(short_path, "w") as f:
        f.writelines(repr(b) + "\n" for b in batches)
    print(f"  shrunk to {len(batches)} batches, {sum(len(b['ops']) for b in batches)} operations:")
    for b in batches:
        for op in b["ops"]:
            print(f"    session {b['session']}: {words_of(op)[:300]}")
    report(run(batches, count, target, 1), short_path)


def main():
    on_signals_exit()
    os.makedirs(OUT, exist_ok=True)
    seed, total = int(os.environ.get("SEED", "1")), int(os.environ.get("OPS", "100000"))
    target = os.environ.get("TARGET", "ours")
    most = int(os.environ.get("MAX_DIFFERENCES", "10"))
    failed = 0
    missing = intended.check_docs(ROOT)
    if missing:
        print(f"docs/differences.md does not mention: {', '.join(missing)}")
        failed += 1
    for count in [int(c) for c in os.environ.get("SERVERS", "1,3").split(",")]:
        replay = os.environ.get("REPLAY")
        if replay:
            with open(replay) as f:
                batches = [ast.literal_eval(line) for line in f]
            log_path = replay
        else:
            batches = list(generate.Generator(seed, total).batches())
            log_path = os.path.join(OUT, f"{seed}-{count}.batches")
        began = time.monotonic()
        tester = run(batches, count, target, most, None if replay else log_path)
        seconds = time.monotonic() - began
        report(tester, log_path)
        if tester.problem:
            print(f"  it ended early: {tester.problem}")
        explained = ", ".join(f"{n} {name}" for name, n in sorted(tester.explained.items())) or "none"
        print(f"diff: {tester.count} operations on {count} server{'s' if count > 1 else ''}, seed {seed}, "
              f"{tester.nodes} nodes at the end, {seconds:.0f} s; intended differences: {explained}; "
              f"{len(tester.differences)} unexplained differences")
        if tester.differences or tester.problem:
            failed += 1
            if os.environ.get("SHRINK"):
                shrink(batches[:tester.batch_index + 1], count, target, log_path)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
