"""kazoo, Debian's python3-kazoo: plain operations, transactions, watches, authentication."""
import queue

from kazoo import exceptions as kze
from kazoo.client import KazooClient
from kazoo.exceptions import KazooException
from kazoo.security import CREATOR_ALL_ACL, OPEN_ACL_UNSAFE, READ_ACL_UNSAFE, make_digest_acl

from cluster import NeverHappened

SECONDS = 30


def connect(ctx, server=0, timeout=10.0, spread=False, chroot="", **options):
    """A started client of one server (or, with spread, of all of them beginning there)."""
    servers = ctx.cluster.servers
    hosts = ctx.hosts(server) if spread else servers[server % len(servers)].host
    client = KazooClient(hosts=hosts + chroot, timeout=timeout, randomize_hosts=False, **options)
    client.start(SECONDS)
    return client


def leave(*clients):
    for client in clients:
        client.stop()
        client.close()


def attempt(ctx, words, function, *args, **kwargs):
    """Say what a call gave, or the name of its exception; return the value."""
    try:
        value = function(*args, **kwargs)
    except KazooException as e:
        ctx.say(f"{words}: {type(e).__name__}")
        return None
    except (TypeError, ValueError) as e:
        ctx.say(f"{words}: refused by the client, {type(e).__name__}")
        return None
    ctx.say(f"{words}: {show(ctx, value)}")
    return value


def show(ctx, value):
    """Replies as text; ids, zxids and times by name."""
    if isinstance(value, tuple) and hasattr(value, "czxid"):
        return ("stat(" + " ".join([
            f"czxid={ctx.alias('zxid', value.czxid)}", f"mzxid={ctx.alias('zxid', value.mzxid)}",
            f"pzxid={ctx.alias('zxid', value.pzxid)}", f"version={value.version}", f"cversion={value.cversion}",
            f"aversion={value.aversion}", f"length={value.dataLength}", f"children={value.numChildren}",
            "times=" + ("same" if value.ctime == value.mtime else "in order" if value.ctime < value.mtime else "WRONG"),
            "owner=" + (ctx.alias("session", value.ephemeralOwner) if value.ephemeralOwner else "none")]) + ")")
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return "(" + ", ".join(show(ctx, v) for v in value) + ")"
    if isinstance(value, list):
        shown = [show(ctx, v) for v in value]
        if all(isinstance(v, str) for v in value):
            shown.sort()                # children: a set, its order is the server's own
        return "[" + ", ".join(shown) + "]"
    if isinstance(value, KazooException):
        return type(value).__name__
    return repr(value)


class Events:
    """Watch events in the order in which they came."""

    def __init__(self, ctx, name=""):
        self.ctx = ctx
        self.name = name
        self.queue = queue.Queue()

    def __call__(self, event):
        self.queue.put(event)

    def say(self, count=1):
        """Wait for so many events and tell them; then there must be no more than that."""
        for _ in range(count):
            try:
                event = self.queue.get(timeout=SECONDS)
            except queue.Empty:
                raise NeverHappened(f"{self.name}: a watch event") from None
            self.ctx.say(f"  event{' ' + self.name if self.name else ''}: {event.type} {event.state} {event.path}")

    def none(self):
        self.ctx.say(f"  events left{' ' + self.name if self.name else ''}: {self.queue.qsize()}")


def crud(ctx):
    zk = connect(ctx)
    ctx.alias("session", zk.client_id[0])
    attempt(ctx, "create", zk.create, "/kz", b"one")
    attempt(ctx, "create again", zk.create, "/kz", b"one")
    attempt(ctx, "create without parent", zk.create, "/kz/x/y", b"")
    attempt(ctx, "create with parents", zk.create, "/kz/x/y", b"", makepath=True)
    attempt(ctx, "create with stat", zk.create, "/kz/st", b"abc", include_data=True)
    attempt(ctx, "exists", zk.exists, "/kz")
    attempt(ctx, "exists missing", zk.exists, "/kz/none")
    attempt(ctx, "get", zk.get, "/kz")
    attempt(ctx, "get missing", zk.get, "/kz/none")
    attempt(ctx, "set", zk.set, "/kz", b"two")
    attempt(ctx, "set wrong version", zk.set, "/kz", b"three", version=0)
    attempt(ctx, "set right version", zk.set, "/kz", b"three", version=1)
    attempt(ctx, "set missing", zk.set, "/kz/none", b"")
    for i in range(3):
        attempt(ctx, "sequence", zk.create, "/kz/seq-", b"", sequence=True)
    attempt(ctx, "delete a child", zk.delete, "/kz/seq-0000000003")
    attempt(ctx, "sequence after delete", zk.create, "/kz/seq-", b"", sequence=True)
    attempt(ctx, "sequence named by number alone", zk.create, "/kz/x/", b"", sequence=True)
    attempt(ctx, "ephemeral", zk.create, "/kz/eph", b"", ephemeral=True)
    attempt(ctx, "ephemeral sequence", zk.create, "/kz/es-", b"", ephemeral=True, sequence=True)
    attempt(ctx, "child of ephemeral", zk.create, "/kz/eph/no", b"")
    attempt(ctx, "stat of ephemeral", zk.exists, "/kz/eph")
    attempt(ctx, "children", zk.get_children, "/kz")
    attempt(ctx, "children and stat", zk.get_children, "/kz", include_data=True)
    attempt(ctx, "children of missing", zk.get_children, "/kz/none")
    attempt(ctx, "delete not empty", zk.delete, "/kz")
    attempt(ctx, "delete wrong version", zk.delete, "/kz/st", version=7)
    attempt(ctx, "delete", zk.delete, "/kz/st", version=0)
    attempt(ctx, "delete missing", zk.delete, "/kz/st")
    attempt(ctx, "sync", zk.sync, "/kz")
    attempt(ctx, "unicode name", zk.create, "/kz/gr\u00fc\u00df-\u6f22", "\u6f22".encode())
    attempt(ctx, "unicode get", zk.get, "/kz/gr\u00fc\u00df-\u6f22")
    attempt(ctx, "bad character", zk.create, "/kz/a\u0001b", b"")
    attempt(ctx, "outside the BMP", zk.create, "/kz/\U0001f600", b"")
    attempt(ctx, "nothing as data", zk.create, "/kz/nothing", b"")
    attempt(ctx, "nothing read", zk.get, "/kz/nothing")
    attempt(ctx, "large", zk.create, "/kz/large", b"x" * 900000)
    attempt(ctx, "large length", lambda: len(zk.get("/kz/large")[0]))
    attempt(ctx, "ensure_path", zk.ensure_path, "/kz/a/b/c/d")
    attempt(ctx, "stat of root", lambda: zk.exists("/").version)
    futures = [zk.create_async("/kz/p-", str(i).encode(), sequence=True) for i in range(200)]
    names = [f.get(SECONDS) for f in futures]
    ctx.say("200 pipelined creates in order:", names == sorted(names), names[0], names[-1])
    reads = [zk.get_async(n) for n in names]
    ctx.say("each with its data:", [r.get(SECONDS)[0] for r in reads] == [str(i).encode() for i in range(200)])
    attempt(ctx, "server version", lambda: zk.server_version()[:2] >= (3, 8))
    leave(zk)
    zk = connect(ctx, 1)
    zk.sync("/kz")
    attempt(ctx, "ephemerals went with their session", zk.exists, "/kz/eph")
    attempt(ctx, "delete all", zk.delete, "/kz", recursive=True)
    attempt(ctx, "gone", zk.exists, "/kz")
    leave(zk)


def transactions(ctx):
    zk = connect(ctx)
    zk.create("/kt", b"")

    def run(words, *steps):
        t = zk.transaction()
        for name, *args in steps:
            getattr(t, name)(*args)
        attempt(ctx, words, t.commit)

    run("all well", ("create", "/kt/a", b"1"), ("check", "/kt/a", 0), ("set_data", "/kt/a", b"2"), ("create", "/kt/b"))
    run("second fails", ("create", "/kt/c"), ("delete", "/kt/none"), ("create", "/kt/d"))
    run("check fails", ("check", "/kt/a", 5), ("set_data", "/kt/a", b"3"))
    run("check missing", ("check", "/kt/zz", 0))
    run("last fails", ("set_data", "/kt/a", b"3"), ("delete", "/kt/b", 0), ("create", "/kt/a"))
    run("empty")
    run("create and delete", ("create", "/kt/e"), ("delete", "/kt/e"))
    run("parent made inside", ("create", "/kt/p"), ("create", "/kt/p/q"), ("create", "/kt/p/q/r"))
    run("sequences", ("create", "/kt/s-", b"", None, False, True), ("create", "/kt/s-", b"", None, False, True))
    run("ephemeral", ("create", "/kt/eph", b"", None, True))
    run("child of ephemeral", ("create", "/kt/eph2", b"", None, True), ("create", "/kt/eph2/x"))
    attempt(ctx, "children", zk.get_children, "/kt", include_data=True)
    attempt(ctx, "a", zk.get, "/kt/a")
    events = Events(ctx)
    zk.get("/kt/a", watch=events)
    zk.get_children("/kt", watch=events)
    zk.exists("/kt/new", watch=events)
    run("watched", ("set_data", "/kt/a", b"9"), ("create", "/kt/new"), ("delete", "/kt/b"), ("set_data", "/kt/a", b"10"))
    events.say(3)
    zk.get("/kt/a", watch=events)
    run("failed, nothing fires", ("set_data", "/kt/a", b"9"), ("delete", "/kt/none"))
    zk.sync("/")
    events.none()
    zk.delete("/kt", recursive=True)
    leave(zk)


def watches(ctx):
    zk, other = connect(ctx), connect(ctx, 1)
    events = Events(ctx)
    attempt(ctx, "exists watch", zk.exists, "/kw", watch=events)
    other.create("/kw", b"0")
    events.say()
    zk.get("/kw", watch=events)
    other.set("/kw", b"1")
    events.say()
    zk.get("/kw", watch=events)
    zk.get_children("/kw", watch=events)
    other.create("/kw/c", b"")
    events.say()
    other.delete("/kw/c")
    other.delete("/kw")
    events.say()
    events.none()
    other.create("/kw", b"again")
    zk.sync("/kw")

    datas, lists = queue.Queue(), queue.Queue()

    @zk.DataWatch("/kw/data")
    def on_data(data, stat, event):
        datas.put((data, stat.version if stat else None, event.type if event else None))

    @zk.ChildrenWatch("/kw")
    def on_children(children):
        lists.put(sorted(children))

    def told(q, words):
        try:
            ctx.say(words, q.get(timeout=SECONDS))
        except queue.Empty:
            raise NeverHappened(words) from None

    told(datas, "DataWatch first:")
    told(lists, "ChildrenWatch first:")
    other.create("/kw/data", b"v0")
    told(datas, "DataWatch created:")
    told(lists, "ChildrenWatch created:")
    for i in range(5):
        other.set("/kw/data", b"v%d" % (i + 1))
        told(datas, "DataWatch set:")
    other.delete("/kw/data")
    told(datas, "DataWatch deleted:")
    told(lists, "ChildrenWatch deleted:")
    many = Events(ctx, "many")
    for i in range(100):
        zk.exists(f"/kw/many{i}", watch=many)
    for i in range(100):
        other.create(f"/kw/many{i}", b"")
    zk.sync("/kw")
    order = [many.queue.get(timeout=SECONDS).path for _ in range(100)]
    ctx.say("100 events in the order of the writes:", order == [f"/kw/many{i}" for i in range(100)])
    zk.delete("/kw", recursive=True)
    leave(zk, other)


def authentication(ctx):
    ann = connect(ctx, auth_data=[("digest", "ann:secret")])
    bob = connect(ctx, 1)
    ann.create("/ka", b"", acl=OPEN_ACL_UNSAFE)
    only_ann = [make_digest_acl("ann", "secret", all=True)]
    attempt(ctx, "ann creates", ann.create, "/ka/ann", b"mine", acl=only_ann)
    attempt(ctx, "ann creates for the creator", ann.create, "/ka/creator", b"mine", acl=CREATOR_ALL_ACL)
    bob.sync("/ka")
    attempt(ctx, "bob for the creator", bob.create, "/ka/bobs", b"", acl=CREATOR_ALL_ACL)
    for name in ("get", "get_children", "delete", "get_acls", "exists"):
        attempt(ctx, f"bob {name}", getattr(bob, name), "/ka/ann")
    attempt(ctx, "bob set", bob.set, "/ka/ann", b"")
    attempt(ctx, "bob set_acls", bob.set_acls, "/ka/ann", OPEN_ACL_UNSAFE)
    ann.create("/ka/ann", b"", acl=only_ann) if not ann.exists("/ka/ann") else None
    attempt(ctx, "bob child", bob.create, "/ka/ann/x", b"")
    bob.add_auth("digest", "ann:wrong")
    attempt(ctx, "bob with a wrong password", bob.get, "/ka/ann")
    bob.add_auth("digest", "ann:secret")
    attempt(ctx, "bob with ann's password", lambda: bob.get("/ka/ann")[0])
    attempt(ctx, "acls", ann.get_acls, "/ka/ann")
    attempt(ctx, "acls of creator", ann.get_acls, "/ka/creator")
    attempt(ctx, "set_acls", ann.set_acls, "/ka/ann", READ_ACL_UNSAFE)
    attempt(ctx, "set_acls wrong version", ann.set_acls, "/ka/creator", READ_ACL_UNSAFE, version=4)
    attempt(ctx, "ann writes what is read only now", ann.set, "/ka/ann", b"")
    attempt(ctx, "acls now", ann.get_acls, "/ka/ann")
    attempt(ctx, "empty acl", ann.create, "/ka/noacl", b"", acl=[])
    mallory = connect(ctx, 2)
    try:
        mallory.add_auth("nonsense", "x:y")
        ctx.say("unknown scheme: accepted")
    except kze.AuthFailedError:
        ctx.say("unknown scheme: AuthFailedError")
    ctx.say("state after it:", mallory.state)
    leave(mallory)
    ann.delete("/ka", recursive=True)
    leave(ann, bob)


def chroot(ctx):
    top = connect(ctx)
    top.create("/kc", b"")
    zk = connect(ctx, 1, chroot="/kc")
    zk.sync("/")
    attempt(ctx, "create under chroot", zk.create, "/in", b"x")
    events = Events(ctx)
    zk.get("/in", watch=events)
    top.sync("/")
    top.set("/kc/in", b"y")
    events.say()
    attempt(ctx, "transaction", zk.transaction().commit)
    t = zk.transaction()
    t.create("/in/t", b"")
    attempt(ctx, "paths come back without chroot", t.commit)
    attempt(ctx, "children", zk.get_children, "/")
    top.delete("/kc", recursive=True)
    leave(zk, top)


SCENARIOS = [("kazoo-crud", crud), ("kazoo-transactions", transactions), ("kazoo-watches", watches),
             ("kazoo-authentication", authentication), ("kazoo-chroot", chroot)]
