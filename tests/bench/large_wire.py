"""Clients on plain sockets for what the generator has no row for: watches in large directories, and who is told of an end."""
import os
import statistics
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "diff"))

import wire  # noqa: E402
from cluster import NeverHappened  # noqa: E402

TIMEOUT_MS = 40000
AT_ONCE = 500           # requests outstanding
FRAME_BYTES_MAX = 256 << 20
SILENCE_S = 5           # then it pings
CREATED, DELETED, DATA_CHANGED, CHILDREN_CHANGED = 1, 2, 3, 4


class Connection(wire.Connection):
    """Takes long frames without copying what it has at every piece that comes."""

    def piece(self, end):
        left = end - time.monotonic()
        if left <= 0:
            raise wire.Silence()
        self.sock.settimeout(left)
        try:
            part = self.sock.recv(1 << 20)
        except TimeoutError:
            raise wire.Silence() from None
        except OSError as e:
            raise wire.Closed(str(e)) from None
        if not part:
            raise wire.Closed("end of stream")
        return part

    def receive(self, seconds=None):
        end = time.monotonic() + (self.seconds if seconds is None else seconds)
        while len(self.pending) - self.at < 4:
            self.pending, self.at = self.pending[self.at:] + self.piece(end), 0
        n = int.from_bytes(self.pending[self.at:self.at + 4], "big", signed=True)
        if n < 0 or n > FRAME_BYTES_MAX:
            raise wire.Malformed(f"frame of {n} bytes")
        if len(self.pending) - self.at < 4 + n:
            parts = [self.pending[self.at:]]
            have = len(parts[0])
            try:
                while have < 4 + n:
                    parts.append(self.piece(end))
                    have += len(parts[-1])
            finally:
                self.pending, self.at = b"".join(parts), 0
        self.at += 4 + n
        return self.pending[self.at - n:self.at]


class Client:
    def __init__(self, port):
        self.connection = Connection(port, 60)
        self.connection.send(wire.frame(wire.connect_request(timeout=TIMEOUT_MS)))
        if wire.decode_connect(self.connection.receive())[2] == 0:
            raise NeverHappened("the server gave no session")
        self.xid = 0

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.close()

    def close(self):
        """Without a last request: the session ends by itself with its server."""
        self.connection.close()

    def send(self, opcode, body):
        self.xid += 1
        self.connection.send(wire.frame(wire.request(self.xid, opcode, body)))

    def reply(self, what):
        payload = self.connection.receive()
        xid, _, err = wire.header(payload)
        if xid != self.xid or err != 0:
            raise NeverHappened(f"{what}: a reply to {xid} with error {err}, want {self.xid} and 0")
        return wire.Reader(payload, 16)

    def call(self, what, opcode, body):
        self.send(opcode, body)
        return self.reply(what)

    def children(self, path, watch=False):
        return self.call(f"children of {path}", wire.GET_CHILDREN, wire.text(path) + wire.boolean(watch)).body(
            wire.GET_CHILDREN)[0]

    def event(self, kind, path):
        payload = self.connection.receive()
        if wire.header(payload)[0] != wire.XID_EVENT:
            raise NeverHappened(f"a reply where an event of {path} was due")
        event = wire.decode_event(payload)
        if event[1] != kind or event[3] != path:
            raise NeverHappened(f"event {event} where {kind} of {path} was due")


def costs(rounds, arm, change, heard):
    armed, took = [], []
    for i in range(rounds):
        began = time.monotonic()
        arm(i)
        armed.append((time.monotonic() - began) * 1000)
        began = time.monotonic()
        change(i)
        heard(i)
        took.append((time.monotonic() - began) * 1000)
    return {"arm_ms": statistics.median(armed), "event_ms": statistics.median(took), "event_max_ms": max(took)}


def child_watch_cost(port, path, rounds):
    """Lists with a watch, and how long after the create of a child, sent by another, the event is there."""
    with Client(port) as watcher, Client(port) as writer:
        def arm(i):
            # not parsed: what this measures is the server's, not this script's
            reply = watcher.call("list", wire.GET_CHILDREN, wire.text(path) + wire.boolean(True))
            if reply.int32() <= 0:
                raise NeverHappened(f"{path} has no children")

        def change(i):
            writer.send(wire.CREATE, wire.create_body(f"{path}/watched{i}", b"x" * 100, wire.WORLD, 0))

        def heard(i):
            watcher.event(CHILDREN_CHANGED, path)
            writer.reply("create")
        got = costs(rounds, arm, change, heard)
        for i in range(rounds):
            writer.call("delete", wire.DELETE, wire.text(f"{path}/watched{i}") + wire.int32(-1))
        return got


def exists_watch_cost(port, path, rounds):
    """The same of an exists watch on a child, which another sets."""
    with Client(port) as watcher, Client(port) as writer:
        def arm(i):
            watcher.call("exists", wire.EXISTS, wire.text(path) + wire.boolean(True))

        def change(i):
            writer.send(wire.SET_DATA, wire.text(path) + wire.buffer(b"x" * 100) + wire.int32(-1))

        def heard(i):
            watcher.event(DATA_CHANGED, path)
            writer.reply("set")
        return costs(rounds, arm, change, heard)


class Witness:
    """A session with a data watch on each of these nodes, which writes down when it was told of their end."""

    def __init__(self, port, paths):
        self.client = Client(port)
        self.paths = set(paths)
        self.times = []
        for begin in range(0, len(paths), AT_ONCE):
            part = paths[begin:begin + AT_ONCE]
            first = self.client.xid + 1
            for path in part:
                self.client.send(wire.GET_DATA, wire.text(path) + wire.boolean(True))
            for i, path in enumerate(part):
                xid, _, err = wire.header(self.client.connection.receive())
                if xid != first + i or err != 0:
                    raise NeverHappened(f"get of {path}: a reply to {xid} with error {err}")
        self.wrong = None
        self.thread = threading.Thread(target=self.listen, daemon=True)
        self.thread.start()

    def listen(self):
        try:
            while self.paths:
                try:
                    payload = self.client.connection.receive(SILENCE_S)
                except wire.Silence:
                    self.client.connection.send(wire.frame(wire.request(wire.XID_PING, wire.PING)))
                    continue
                if wire.header(payload)[0] == wire.XID_PING:
                    continue
                kind, path = wire.decode_event(payload)[1:4:2]
                if kind != DELETED:
                    raise NeverHappened(f"event {kind} of {path}")
                self.paths.remove(path)     # a second one of the same node is an error, too
                self.times.append(time.monotonic())
        except (NeverHappened, KeyError, wire.Closed, wire.Malformed) as e:
            self.wrong = f"{type(e).__name__}: {e}"

    def collect(self, seconds):
        self.thread.join(seconds)
        if self.wrong is not None or self.paths:
            raise NeverHappened(f"a witness was told of all but {len(self.paths)} ends: {self.wrong or 'and waits'}")

    def close(self):
        self.client.close()
        self.thread.join(2)

    events = property(lambda self: len(self.times))
    first = property(lambda self: self.times[0])
    last = property(lambda self: self.times[-1])

    def busiest(self):
        """The most that it was told within a second."""
        best, begin = 0, 0
        for end, at in enumerate(self.times):
            while at - self.times[begin] > 1:
                begin += 1
            best = max(best, end - begin + 1)
        return best
