"""kazoo while servers die, restart and move: sessions, ephemerals and watches must come through."""
import queue
import subprocess
import sys
import threading

from kazoo.client import KazooClient, KazooState

from cluster import NeverHappened, die_with_parent, wait_for
from kazoo_basics import SECONDS, Events, attempt, connect, leave


def states_of(zk):
    seen = queue.Queue()
    zk.add_listener(lambda state: seen.put(state))
    return seen


def until_connected(zk, states):
    """Consume state changes up to the next CONNECTED; returns their names."""
    names = []
    while True:
        try:
            state = states.get(timeout=SECONDS)
        except queue.Empty:
            raise NeverHappened(f"connection again, after {names}") from None
        if not names or names[-1] != state:
            names.append(state)
        if state == KazooState.CONNECTED:
            return names


def retried(zk, function, *args, **kwargs):
    """kazoo's own retry for what is safe to repeat."""
    return zk.retry(function, *args, **kwargs)


def leader_killed(ctx):
    """A session whose server (the leader) dies: same id, ephemerals and watches stay, writes go on."""
    leader = ctx.cluster.servers.index(ctx.cluster.leader())
    zk = connect(ctx, leader, timeout=10.0, spread=True)
    other = connect(ctx, leader + 1, timeout=10.0, spread=True)
    states = states_of(zk)
    session = zk.client_id
    zk.create("/ev", b"0")
    zk.create("/ev/eph", b"mine", ephemeral=True)
    zk.create("/ev/watched", b"")
    events = Events(ctx)
    zk.get("/ev/watched", watch=events)
    zk.get_children("/ev", watch=events)
    zk.exists("/ev/to-come", watch=events)
    for i in range(20):
        zk.set("/ev", b"%d" % i)
    ctx.say("kill the leader")
    ctx.act("kill leader")
    ctx.say("states:", until_connected(zk, states))
    ctx.say("same session:", zk.client_id == session)
    attempt(ctx, "last acknowledged write", lambda: retried(zk, zk.get, "/ev")[0])
    attempt(ctx, "ephemeral", lambda: retried(zk, zk.exists, "/ev/eph").ephemeralOwner == session[0])
    wait_for("the other client", lambda: other.connected)
    retried(other, other.set, "/ev/watched", b"after")
    events.say()
    retried(other, other.create, "/ev/to-come", b"")
    wait_for("two events", lambda: events.queue.qsize() >= 2)
    ctx.say("events:", sorted(events.queue.get().type for _ in range(2)))
    ctx.act("start killed")
    attempt(ctx, "a write with all servers", retried, zk, zk.set, "/ev", b"end")
    retried(other, other.sync, "/ev")
    attempt(ctx, "the other client sees", lambda: retried(other, other.get, "/ev")[0])
    zk.stop()
    wait_for("the ephemeral to go", lambda: (other.sync("/ev"), other.exists("/ev/eph"))[1] is None)
    ctx.say("ephemeral gone with its session")
    other.delete("/ev", recursive=True)
    leave(other)


def servers_restarted(ctx):
    """One server after the other stops and starts; then all at once."""
    zk = connect(ctx, 0, timeout=10.0, spread=True)
    session = zk.client_id
    zk.create("/rs", b"")
    zk.create("/rs/eph", b"", ephemeral=True)
    names = set()
    for number in range(1, len(ctx.cluster.servers) + 1):
        ctx.act(f"restart {number}")
        wait_for("the client", lambda: zk.connected)
        names.add(retried(zk, zk.create, f"/rs/n{number}-", b"", sequence=True))
    ctx.say("sequence names differ:", len(names) == len(ctx.cluster.servers))
    ctx.say("same session:", zk.client_id == session, "ephemeral:", retried(zk, zk.exists, "/rs/eph") is not None)
    ctx.act("restart all")
    wait_for("the client", lambda: zk.connected)
    ctx.say("after all stopped:", zk.client_id == session, retried(zk, zk.exists, "/rs/eph") is not None)
    attempt(ctx, "children", lambda: len(retried(zk, zk.get_children, "/rs")) - len(names))
    retried(zk, zk.delete, "/rs", recursive=True)
    leave(zk)


def moved(ctx):
    """The same session continued on another server by id and password; the old connection ends."""
    first = subprocess.Popen([sys.executable, __file__, ctx.cluster.servers[0].host], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent)
    with first:
        number, password = first.stdout.readline().split()
        session = (int(number, 16), bytes.fromhex(password))
        second = connect(ctx, 1, timeout=10.0, client_id=session)
        # left alone, the first client would take its session back: it dies without a word
        first.kill()
    ctx.say("same session:", second.client_id == session)
    attempt(ctx, "ephemeral here", lambda: second.exists("/mv/eph").ephemeralOwner == session[0])
    attempt(ctx, "write here", lambda: second.set("/mv", b"moved").version)
    attempt(ctx, "create ephemeral here", second.create, "/mv/eph2", b"", ephemeral=True)
    third = connect(ctx, 2, timeout=10.0)
    third.sync("/mv")
    attempt(ctx, "both ephemerals", lambda: sorted(third.get_children("/mv")))
    wrong = (session[0], b"\x01" * 16)
    intruder = connect(ctx, 1, timeout=10.0, client_id=wrong)
    ctx.say("with a wrong password one gets another session:", intruder.client_id[0] != session[0])
    leave(intruder)
    # the reference cuts the owner's connection here, and the owner comes back by itself
    attempt(ctx, "the owner is still served", lambda: retried(second, second.set, "/mv", b"still").version > 0)
    leave(second)
    wait_for("ephemerals to go", lambda: (third.sync("/mv"), third.get_children("/mv"))[1] == [])
    ctx.say("closed: ephemerals gone")
    third.delete("/mv", recursive=True)
    leave(third)


def expired(ctx):
    """A client that is silent for longer than its timeout loses session and ephemerals, and is told."""
    zk = connect(ctx, 0, timeout=1.0)
    other = connect(ctx, 1, timeout=10.0)
    states = states_of(zk)
    session = zk.client_id[0]
    zk.create("/xp", b"", ephemeral=True)
    other.sync("/xp")
    events = Events(ctx)
    other.exists("/xp", watch=events)
    blocked = threading.Event()
    # kazoo's own loop is held up: nothing is sent until the ephemeral is gone
    hold = zk._connection._send_ping
    zk._connection._send_ping = lambda *a: blocked.wait(SECONDS)
    events.say()
    blocked.set()
    zk._connection._send_ping = hold
    seen = []
    while KazooState.LOST not in seen:
        seen.append(states.get(timeout=SECONDS))
    ctx.say("told:", KazooState.LOST)
    wait_for("a new session", lambda: zk.connected and zk.client_id and zk.client_id[0] != session)
    ctx.say("a new session; old ephemeral:", zk.exists("/xp"))
    leave(zk, other)


SCENARIOS = [("kazoo-leader-killed", leader_killed), ("kazoo-servers-restarted", servers_restarted),
             ("kazoo-moved", moved), ("kazoo-expired", expired)]


def hold_a_session(host):
    """The first half of `moved`, a process of its own: tells id and password, then waits to be killed."""
    zk = KazooClient(hosts=host, timeout=10.0)
    zk.start(SECONDS)
    zk.create("/mv", b"")
    zk.create("/mv/eph", b"", ephemeral=True)
    print(f"{zk.client_id[0]:x} {zk.client_id[1].hex()}", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    hold_a_session(sys.argv[1])
