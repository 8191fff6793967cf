"""The seeded sequence: a list of batches, each a Python literal, so that a log of them replays as it is.

A batch is {"session": n, "ops": [...]}; only one session speaks at a time, which makes the outcome a function
of the seed. Ops:
    ("req", opcode, body, words)      a request; words describe it for people
    ("ping",)
    ("watches", opcode, back, lists)  setWatches or setWatches2, relative to `back` transactions ago
    ("auth", scheme, data)            alone in its batch: ZooKeeper answers it outside the request order
    ("raw", bytes, closes, words)     a frame as it is, alone when it ends the connection
    ("close",)                        closeSession, then a new session takes the place
    ("drop",), ("move", k)            cut the socket; continue the session on the same or another server
    ("knock", payload_spec, words)    another connection tries to connect in some odd way
"""
import base64
import hashlib
import os
import random

import wire

NAMES = ["a", "b", "c", "d"]
SESSIONS = 6
PERSISTENT = (4, 5)     # sessions that set persistent watches, and they alone: see intended.NOT_SENT

ODD_PATHS = [
    "", "x", "x/y", "/", "//", "//a", "/a//b", "/a/", "/a/.", "/a/..", "/./a", "/../a", "/a/./b", "/a/../b", "/.", "/..",
    "/a/.b", "/a/..b", "/a/b.", "/...", "/a\0b", "/a\u0001b", "/a\u001f", "/a\u007f", "/a\u0080", "/a\u009f", "/a\u00a0",
    "/a\u00e9", "/\u6f22", "/a\ue000", "/a\uf8ff", "/a\uf900", "/a\uffef", "/a\ufff0", "/a\uffff", "/a\ufffd",
    "/\U0001f600", "/a b", "/a%", "/zookeeper", "/zookeeper/", "/zookeeper/quota", "/zookeeper/quota/none",
    "/zookeeper/x", "/zookeeper/config/x", "/none", "/none/none", "/a/none/none", "/" + "n" * 300, "/" + "x" * 3000,
    None, b"/\xff", b"/a\xc3", b"/\xed\xa0\x80", b"/a\xc0\x80b", b"/\xf0\x9f\x98\x80", b"/a\xe2\x82",
]
READ_ONLY_PATHS = ["/zookeeper", "/zookeeper/quota", "/"]
VERSIONS = [-1, -1, -1, -1, -1, 0, 0, 1, 2, 3, -2, 2147483647, -2147483648]
OPCODES_UNKNOWN = [10, 21 + 2, 99, 108, 1000, -2, -3, -100, 2147483647, -2147483648]


def digest_id(user, password):
    h = hashlib.sha1(f"{user}:{password}".encode()).digest()
    return f"{user}:{base64.b64encode(h).decode()}"


ACLS = [
    [(31, "digest", digest_id("ann", "secret"))], [(31, "digest", digest_id("bob", "builder"))],
    [(31, "auth", "")], [(31, "auth", "ignored")], [(1, "world", "anyone")], [(31 - 1, "world", "anyone")],
    [(31 - 4, "world", "anyone")], [(31 - 2, "world", "anyone")], [(31 - 8, "world", "anyone")],
    [(31 - 16, "world", "anyone")],
    [(31, "ip", "127.0.0.1")], [(31, "ip", "127.0.0.0/8")], [(31, "ip", "10.0.0.0/8")], [(31, "ip", "10.1.2.3")],
    [(1, "world", "anyone"), (31, "digest", digest_id("ann", "secret"))],
    [(31, "world", "anyone"), (31, "world", "anyone")], [(1, "world", "anyone"), (31, "world", "anyone")],
    [(3, "digest", digest_id("bob", "builder")), (31, "auth", ""), (1, "world", "anyone")],
]
BAD_ACLS = [
    None, [], [(31, "world", "someone")], [(31, "nonsense", "x")], [(31, "digest", "nocolon")], [(31, "digest", "a:b:c")],
    [(31, "ip", "1.2.3")], [(31, "ip", "1.2.3.4/33")], [(31, "ip", "1.2.3.4/x")], [(31, "ip", "")], [(31, "ip", "300.1.1.1")],
    [(31, "", "")], [(31, None, "x")], [(31, "world", None)], [(0, "world", "anyone")], [(-1, "world", "anyone")],
    [(32, "world", "anyone")], [(31, "super", "x")], [(31, "x509", "CN=a")], [(31, "sasl", "user")], [(31, "sasl", "")],
    [(31, "auth", None)], [(31, "digest", ":")], [(31, "digest", "a:")],
]


class Generator:
    def __init__(self, seed, total, servers=1):
        self.r = random.Random(seed)
        self.total = total
        self.servers = servers
        self.count = 0
        self.open = os.environ.get("ACLS") == "0"
        self.session = 0                # for whom the present batch is
        self.whole = False              # inside a multi: no null path, see intended.NOT_SENT

    # ---- parts ----
    def path(self, new=False):
        path = self.any_path(new)
        while path is None and self.whole:
            path = self.any_path(new)
        return path

    def any_path(self, new):
        r = self.r
        x = r.random()
        if x < 0.04:
            return r.choice(ODD_PATHS)
        if x < 0.05:
            return r.choice(READ_ONLY_PATHS)
        top = r.choice(NAMES)
        depth = r.choice((1, 2, 2, 2, 3, 3, 4))
        path = "/" + "/".join([top] + [r.choice(NAMES) for _ in range(depth - 1)])
        if not new and r.random() < 0.08:       # what a sequential create may have made
            path += f"/s{r.randrange(12):010d}"
        return path

    def data(self):
        r = self.r
        x = r.random()
        if x < 0.1:
            return b""
        if x < 0.13:
            return None
        if x < 0.14:
            return bytes([r.randrange(256)]) * r.randrange(1, 20000)
        return bytes(r.randrange(32, 127) for _ in range(r.randrange(1, 24)))

    def acl(self):
        x = self.r.random()
        if x < 0.88 or self.open:
            return wire.WORLD
        return self.r.choice(ACLS) if x < 0.975 else self.r.choice(BAD_ACLS)

    def version(self):
        return self.r.choice(VERSIONS)

    # ---- requests: (opcode, body, words) ----
    def create(self, opcode=None):
        r = self.r
        path, data, acl = self.path(new=True), self.data(), self.acl()
        code = opcode or r.choice((wire.CREATE, wire.CREATE, wire.CREATE2, wire.CREATE2, wire.CREATE_CONTAINER,
                                   wire.CREATE_TTL))
        flags = r.choice((0, 0, 0, 0, 0, 1, 1, 2, 3))
        if code == wire.CREATE_CONTAINER:
            flags = 4 if r.random() < 0.93 else r.choice((0, 1, 5, 7, -1))
        elif code == wire.CREATE_TTL:
            flags = r.choice((5, 5, 5, 6, 6, 0, 4)) if r.random() < 0.2 else r.choice((5, 6))
        elif r.random() < 0.02:
            flags = r.choice((4, 5, 6, 7, -1, 64))
        if flags in (2, 3, 6) and isinstance(path, str) and len(path) > 1 and not path.endswith("/"):
            path = path[:path.rindex("/") + 1] + r.choice(("s", "s", "s", ""))
        body = wire.create_body(path, data, acl, flags)
        words = f"{wire.NAMES[code]} {path!r} flags={flags} data={short(data)} acl={acl_words(acl)}"
        if code == wire.CREATE_TTL:
            ttl = r.choice((1, 1000, 60000, 10**9, 10**9, 10**9, 10**9)) if r.random() < 0.9 else r.choice(
                (0, -1, 0xFFFFFFFFFF, 0x10000000000, 2**62))
            if ttl == -1 and flags not in (5, 6):
                ttl = 0                 # docs/differences.md: create-ttl-without
            body += wire.int64(ttl)
            words += f" ttl={ttl}"
        return code, body, words

    def delete(self):
        path, version = self.path(), self.version()
        return wire.DELETE, wire.text(path) + wire.int32(version), f"delete {path!r} version={version}"

    def set_data(self):
        path, data, version = self.path(), self.data(), self.version()
        return (wire.SET_DATA, wire.text(path) + wire.buffer(data) + wire.int32(version),
                f"setdata {path!r} {short(data)} version={version}")

    def set_acl(self):
        path, acl, version = self.path(), self.acl(), self.version()
        return (wire.SET_ACL, wire.text(path) + wire.acls(acl) + wire.int32(version),
                f"setacl {path!r} {acl_words(acl)} version={version}")

    def check(self):
        path, version = self.path(), self.version()
        return wire.CHECK, wire.text(path) + wire.int32(version), f"check {path!r} version={version}"

    def read(self, code=None):
        r = self.r
        code = code or r.choice((wire.EXISTS, wire.EXISTS, wire.GET_DATA, wire.GET_DATA, wire.GET_DATA,
                                 wire.GET_CHILDREN, wire.GET_CHILDREN2, wire.GET_CHILDREN2))
        path, watch = self.path(), r.random() < 0.25 and self.session not in PERSISTENT
        return code, wire.text(path) + wire.boolean(watch), f"{wire.NAMES[code]} {path!r}{' watch' if watch else ''}"

    def one_path(self, code):
        path = self.path()
        return code, wire.text(path), f"{wire.NAMES[code]} {path!r}"

    def multi(self):
        r = self.r
        ops = []
        self.whole = True
        for _ in range(r.choice((0, 1, 2, 2, 3, 3, 4, 6))):
            x = r.random()
            ops.append(self.create() if x < 0.5 else self.delete() if x < 0.65 else self.set_data() if x < 0.85
                       else self.check() if x < 0.99 else self.read())
        self.whole = False
        return (wire.MULTI, wire.multi([(c, b) for c, b, _ in ops]), "multi[" + "; ".join(w for _, _, w in ops) + "]")

    def multi_read(self):
        r = self.r
        ops = [self.read(r.choice((wire.GET_DATA, wire.GET_CHILDREN))) if r.random() < 0.98 else self.read()
               for _ in range(r.choice((0, 1, 2, 3, 5)))]
        return (wire.MULTI_READ, wire.multi([(c, b) for c, b, _ in ops]),
                "multiread[" + "; ".join(w for _, _, w in ops) + "]")

    def add_watch(self):
        if self.session not in PERSISTENT:
            return self.read()
        path, mode = self.path(), self.r.choice((0, 1, 1)) if self.r.random() < 0.95 else self.r.choice((2, -1))
        return wire.ADD_WATCH, wire.text(path) + wire.int32(mode), f"addwatch {path!r} mode={mode}"

    def remove_watches(self):
        path, kind = self.path(), self.r.choice((1, 2, 3, 3)) if self.r.random() < 0.95 else self.r.choice((0, 6, 9))
        code = wire.REMOVE_WATCHES if self.r.random() < 0.8 else wire.CHECK_WATCHES
        return code, wire.text(path) + wire.int32(kind), f"{wire.NAMES[code]} {path!r} type={kind}"

    def quota(self):
        """Limits, soft or hard, on one of the top nodes; usage is read back."""
        r = self.r
        node = "/zookeeper/quota/" + r.choice(NAMES)
        x = r.random()
        if x < 0.2:
            return (wire.CREATE, wire.create_body(node, b"", wire.WORLD, 0), f"create {node!r}")
        leaf = node + r.choice(("/zookeeper_limits", "/zookeeper_stats"))
        if x < 0.5:
            text = f"count={r.choice((-1, 5, 20))},bytes={r.choice((-1, 50, 400))}".encode()
            return (wire.CREATE, wire.create_body(leaf, text, wire.WORLD, 0), f"create {leaf!r} {text!r}")
        if x < 0.85:
            return (wire.GET_DATA, wire.text(leaf) + b"\0", f"get_data {leaf!r}")
        return (wire.DELETE, wire.text(r.choice((leaf, leaf, node))) + wire.int32(-1), f"delete {leaf!r} or its parent")

    def reconfig(self):
        r = self.r
        joining = r.choice((None, "", "server.9=127.0.0.1:1:2:participant;127.0.0.1:3", "nonsense"))
        leaving = r.choice((None, "", "3", "99"))
        return (wire.RECONFIG, wire.text(joining) + wire.text(leaving) + wire.text(None)
                + wire.int64(r.choice((-1, 0, 5))), f"reconfig {joining!r} {leaving!r}")

    def plain(self):
        r = self.r
        x = r.random()
        if x < 0.27:
            return self.create()
        if x < 0.39:
            return self.delete()
        if x < 0.51:
            return self.set_data()
        if x < 0.80:
            return self.read()
        if x < 0.83:
            return self.one_path(wire.GET_ACL)
        if x < 0.87:
            return self.multi_read()
        if x < 0.92:
            return self.set_data()
        if x < 0.94:
            return self.add_watch()
        if x < 0.955:
            return self.remove_watches()
        if x < 0.965:
            return self.one_path(wire.SYNC)
        if x < 0.972:
            return self.one_path(wire.GET_EPHEMERALS)
        if x < 0.979:
            return self.one_path(wire.ALL_CHILDREN_NUMBER)
        if x < 0.983:
            return wire.WHO_AM_I, b"", "whoami"
        if x < 0.999:
            return self.quota()
        return self.reconfig()

    def spoiled(self, whole=None):
        """A valid request cut short, lengthened, or with bytes changed. Its type stays."""
        r = self.r
        code, body, words = whole or self.plain()
        # intended.NOT_SENT: spoiled-reconfig; docs/differences.md: quota-text
        while code == wire.RECONFIG or "/zookeeper/quota/" in words and whole is None:
            code, body, words = self.plain()
        body = bytearray(body)
        x = r.random() * (0.5 if code == wire.MULTI else 1)     # changed, it might hold a null path
        if x < 0.4:
            del body[r.randrange(len(body) + 1):]
            how = "cut"
        elif x < 0.5:
            body += bytes(r.randrange(256) for _ in range(r.randrange(1, 9)))
            how = "lengthened"
        elif len(body) >= 4:
            at = r.randrange(0, len(body) - 3)
            body[at:at + 4] = r.choice((b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\0\0\0\0", b"\xff\xff\xff\xfe",
                                        b"\0\x10\0\0", b"\0\0\0\x01"))
            how = f"4 bytes changed at {at}"
        else:
            how = "as it was"
        return code, bytes(body), f"SPOILED ({how}) {words}"

    # ---- batches ----
    def ordinary(self, session):
        """Anything in one go. A multi or setACL only as the last write, because what 3.8.0 then decides about
        writes right behind it depends on timing: a failed multi sometimes makes it lose track of changes in flight
        (a later create of a node that exists gets no reply at all), and an ACL counts only once it is applied."""
        r = self.r
        ops = []
        for _ in range(r.randrange(20, 90)):
            x = r.random()
            if x < 0.03:
                ops.append(("req",) + self.spoiled())
            elif x < 0.035:
                ops.append(("ping",))
            elif x < 0.04:
                ops.append(self.set_watches())
            else:
                ops.append(("req",) + self.plain())
        if r.random() < 0.9:
            ops.append(("req",) + self.decider())
        return {"session": session, "ops": ops}

    def transaction(self, session):
        """One multi or setACL, and reads of what it did, which 3.8.0 answers from the applied state."""
        r = self.r
        ops = [("req",) + self.decider()]
        ops += [("req",) + (self.read() if r.random() < 0.9 else self.multi_read()) for _ in range(r.randrange(25))]
        return {"session": session, "ops": ops}

    def decider(self):
        op = self.multi() if self.r.random() < 0.7 else self.set_acl()
        return self.spoiled(op) if self.r.random() < 0.06 else op

    def set_watches(self):
        r = self.r
        code = r.choice((wire.SET_WATCHES, wire.SET_WATCHES2))
        lists = [[self.path() for _ in range(r.randrange(0, 4))] for _ in range(3 if code == wire.SET_WATCHES else 5)]
        lists = [[p for p in each if p is not None] for each in lists]
        for n in range(len(lists)):     # the first three are one-shot, the last two persistent
            if (n >= 3) != (self.session in PERSISTENT):
                lists[n] = []
        return ("watches", code, r.choice((0, 0, 3, 30, 300)), lists)

    def special(self, session):
        r = self.r
        x = r.random()
        if x < 0.22:
            op = r.choice((("auth", "digest", b"ann:secret"), ("auth", "digest", b"bob:builder"), ("auth", "digest", b"ann:wrong"),
                           ("auth", "digest", b"nocolon"), ("auth", "ip", b""), ("auth", "world", b"anyone"),
                           ("auth", "nonsense", b"x"), ("auth", "", b""), ("auth", "digest", b""), ("auth", "digest", None)))
        elif x < 0.42:
            op = ("close",)
        elif x < 0.57:
            op = ("drop",)
        elif x < 0.72:
            op = ("move", r.randrange(1, 3))
        elif x < 0.76:
            token = r.choice((b"", b"token", None))
            op = ("req", wire.SASL, wire.buffer(token), f"sasl {token!r}")
        elif x < 0.80:
            code = r.choice(OPCODES_UNKNOWN)
            op = ("raw", wire.request(77, code, b"\0" * r.randrange(0, 12)), True, f"unknown opcode {code}")
        elif x < 0.88:
            payload, words = r.choice((
                (b"", "an empty frame"), (b"\0\0\0", "a frame of 3 bytes"), (b"\0\0\0\x01\0\0", "half a header"),
                (None, "a negative frame length"), (2**31 - 1, "a huge frame length"), (0x100000, "1 MiB as length")))
            op = ("raw", payload, True, words)
        else:
            op = r.choice((
                ("knock", {"password": b"\x07" * 16, "of": session}, "this session with a wrong password"),
                ("knock", {"session": 0x123456789abc}, "an unknown session"),
                ("knock", {"last_zxid": 2**62}, "a client from the future"),
                ("knock", {"timeout": 0}, "no timeout"), ("knock", {"timeout": -5}, "a negative timeout"),
                ("knock", {"timeout": 2**31 - 1}, "a huge timeout"), ("knock", {"timeout": 1}, "a tiny timeout"),
                ("knock", {"password": b""}, "an empty password"), ("knock", {"password": None}, "no password"),
                ("knock", {"version": 7}, "protocol version 7"), ("knock", {"read_only": None}, "without the read-only byte"),
                ("knock", {"read_only": True}, "read-only allowed"), ("knock", {"cut": 20}, "half a connect request"),
                ("knock", {"password": b"x" * 40}, "a long password")))
        return {"session": session, "ops": [op]}

    def hard_quota(self, session):
        """An episode below /hard, one operation per batch: 3.8.0 checks a hard limit against what is applied, so
        what is still in flight would make the answer a matter of time."""
        r = self.r
        count, size = r.choice((-1, 3, 6)), r.choice((-1, 40, 200))
        limits = "/zookeeper/quota/hard/zookeeper_limits"
        usage = "/zookeeper/quota/hard/zookeeper_stats"
        text = f"count=-1,bytes=-1=;byteHardLimit={size};countHardLimit={count}".encode()

        def create(path, data=b"", flags=0):
            return (wire.CREATE, wire.create_body(path, data, wire.WORLD, flags), f"create {path!r} {short(data)} flags={flags}")

        def delete(path):
            return wire.DELETE, wire.text(path) + wire.int32(-1), f"delete {path!r}"

        def data():
            return None if r.random() < 0.1 else b"d" * r.choice((0, 1, 10, 30, 100))

        def put(path):
            value = data()
            return wire.SET_DATA, wire.text(path) + wire.buffer(value) + wire.int32(-1), f"setdata {path!r} {short(value)}"

        names = ["/hard/a", "/hard/b", "/hard/a/x", "/hard/c"]
        ops = [create("/hard", b"h"), create("/zookeeper/quota/hard"), create(limits, text),
               create(usage, b"count=1,bytes=1" if r.random() < 0.8 else b"")]
        for _ in range(r.randrange(10, 30)):
            x = r.random()
            ops.append(create(r.choice(names), data(), r.choice((0, 0, 1))) if x < 0.4 else put(r.choice(names + ["/hard"]))
                       if x < 0.65 else delete(r.choice(names)) if x < 0.85
                       else (wire.GET_DATA, wire.text(usage) + b"\0", f"get_data {usage!r}"))
        ops += [delete(limits), delete(usage), delete("/zookeeper/quota/hard")]
        ops += [delete(n) for n in reversed(names)] + [delete("/hard")]
        return [{"session": session, "ops": [("req",) + op]} for op in ops]

    def batches(self):
        while self.count < self.total:
            session = self.r.randrange(SESSIONS)
            self.session = session
            if self.r.random() < 0.01:
                for batch in self.hard_quota(session):
                    self.count += 1
                    yield batch
                continue
            x = self.r.random()
            batch = (self.special(session) if x < 0.2 else self.transaction(session) if x < 0.55
                     else self.ordinary(session))
            self.count += len(batch["ops"])
            yield batch


def short(data):
    if data is None or len(data) <= 24:
        return repr(data)
    return f"{data[:8]!r}..({len(data)} bytes)"


def acl_words(acl):
    return "world" if acl is wire.WORLD else repr(acl)
