#!/usr/bin/python3
"""make recover-check: the majority is lost, `paddock-store recover` goes on from one server; damage, which a minority
heals by itself.

    ONLY=tail    scenarios whose name begins with one of these
"""
import os
import random
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "clients"))
from cluster import Cluster, die_with_parent, our_command, wait_for  # noqa: E402
from scenarios import Broken, expect, run, scenario  # noqa: E402
from kazoo.client import KazooClient  # noqa: E402
from kazoo.exceptions import KazooException  # noqa: E402

SETTINGS = {"reconfigEnabled": "true", "skipACL": "yes"}
NODES = 2000
CLI_NO_ANSWER = 3      # of paddock zk: nobody served it in time


def paddock_zk(*arguments):
    program = os.path.join(os.path.dirname(our_command("")[0]), "paddock")
    return subprocess.run([program, "zk", *arguments], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=60, preexec_fn=die_with_parent)


def recover(server, *options):
    """(status, what it printed, what it complained of)"""
    program = our_command("")[0]
    done = subprocess.run([program, "recover", os.path.join(server.folder, "zoo.cfg"), *options], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, preexec_fn=die_with_parent)
    return done.returncode, done.stdout, done.stderr


def data(server):
    return os.path.join(server.folder, "data")


def wipe(server):
    """What the printed commands say: everything but myid."""
    for name in os.listdir(data(server)):
        if name != "myid":
            path = os.path.join(data(server), name)
            shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)


def log_of(server):
    with open(server.log_path, errors="replace") as f:
        return f.read().rsplit("---- start", 1)[-1]


def connect(*servers):
    client = KazooClient(",".join(s.host for s in servers), timeout=10)
    client.start(timeout=20)
    return client


def end(client):
    client.stop()
    client.close()


def line_of(server):
    return f"server.{server.number}=127.0.0.1:{server.peer_port}:{server.election_port}"


def servers_listed(client):
    return re.findall(r"^server\.(\d+)=", client.get("/zookeeper/config")[0].decode(), re.M)


def tree(client, path="/"):
    """Every node below path but the server's own, with data and stat."""
    found = {}
    for name in client.get_children(path):
        if path == "/" and name == "zookeeper":
            continue
        child = path.rstrip("/") + "/" + name
        found[child] = client.get(child)
        found.update(tree(client, child))
    return found


def fill(client, count=NODES):
    client.ensure_path("/a")
    sent = [client.create_async(f"/a/{i:05}", f"value {i}".encode()) for i in range(count)]
    for one in sent:
        one.get(30)


def filled(client, count=NODES):
    expect("nodes that were acknowledged", sorted(client.get_children("/a"))[:count],
           [f"{i:05}" for i in range(count)])
    for i in range(0, count, 97):
        expect(f"/a/{i:05}", client.get(f"/a/{i:05}")[0], f"value {i}".encode())


def take_in(client, server):
    client.reconfig(joining=line_of(server), leaving=None, new_members=None)
    wait_for(f"server {server.number} follows", lambda: server.mode() == "follower", 30)


def same_everywhere(cluster):
    trees = []
    for server in cluster.servers:
        client = connect(server)
        client.sync("/")
        trees.append(tree(client))
        end(client)
    for server, one in zip(cluster.servers, trees):
        if one != trees[0]:
            odd = sorted(set(one.items()) ^ set(trees[0].items()))[:5]
            raise Broken(f"server {server.number} has another tree than server 1: {odd}")
    return trees[0]


@scenario
def lost_majority():
    """Two of three are gone with their disks; the third goes on, and two new ones come."""
    with Cluster("ours", 3, SETTINGS) as cluster:
        cluster.start()
        survivor = cluster.followers()[0]
        lost = [s for s in cluster.servers if s is not survivor]
        client = connect(survivor)
        fill(client)
        client.sync("/")    # the survivor is a follower: what it has not heard of nobody could bring back
        before = tree(client)
        status, _, said = recover(survivor, "--yes")
        expect("recover while the server runs", (status, "is running: stop it first" in said), (3, True))
        end(client)
        for s in lost:
            s.kill()
            wipe(s)
        survivor.stop()

        status, said, _ = recover(survivor)
        expect("recover without --yes", (status, "Nothing was changed" in said), (0, True))
        expect("members printed", re.findall(r"^member +(\d) voter", said, re.M), ["1", "2", "3"])
        survivor.start()
        wait_for("it asks for votes", lambda: "role=candidate" in log_of(survivor), 20)
        asked = paddock_zk("ls", "/", "--server", survivor.host, "--timeout", "3s")
        expect("a client that tries for 3 s, before recover", (asked.returncode, asked.stdout), (CLI_NO_ANSWER, ""))
        expect("alone, before recover, it serves nobody", survivor.mode(), None)
        survivor.stop()

        status, said, complaint = recover(survivor, "--yes")
        expect("recover", (status, complaint), (0, ""))
        for s in lost:
            if f"paddock zk reconfig --server HOST:PORT --add '{line_of(s)}" not in said:
                raise Broken(f"it does not say how to take in server {s.number}:\n{said}")
        with open(os.path.join(data(survivor), "recover.log")) as f:
            lines = f.read().splitlines()
        expect("lines in recover.log", len(lines), 2)
        for line, what in zip(lines, ("begun", "done")):
            pattern = (rf"\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ recover {what} uid={os.getuid()} user=\S+ .*"
                       rf"server={survivor.number} .*voters_before=1,2,3")
            if not re.fullmatch(pattern, line):
                raise Broken(f"recover.log: {line!r}")

        survivor.start()
        wait_for("the survivor leads", lambda: survivor.mode() == "leader", 20)
        client = connect(survivor)
        filled(client)
        expect("tree", tree(client), before)
        expect("servers in /zookeeper/config", servers_listed(client), [str(survivor.number)])
        client.create("/b", b"written alone")

        for s in lost:
            s.start()
            take_in(client, s)
        expect("servers in /zookeeper/config", servers_listed(client), ["1", "2", "3"])
        client.create("/c", b"written by three")
        after = same_everywhere(cluster)
        expect("nodes", len(after), len(before) + 2)

        # Any one may be lost again.
        survivor.kill()
        wait_for("another one leads", lambda: "leader" in [s.mode() for s in lost], 30)
        other = connect(*lost)
        other.create("/d", b"without the survivor")
        filled(other)
        end(other)
        end(client)
        cluster.restart(survivor)
        same_everywhere(cluster)
        cluster.stop()


@scenario
def tail_of_the_log():
    """Entries that no majority had count, too; asked twice, it does the same again."""
    with Cluster("ours", 3, SETTINGS) as cluster:
        cluster.start()
        survivor = cluster.leader()
        client = connect(survivor)
        fill(client, 100)
        for s in cluster.servers:
            if s is not survivor:
                s.pause()
        pending = client.create_async("/tail", b"only the leader heard of this")
        pending.wait(0.2)
        if pending.ready() and pending.exception is None:
            raise Broken("acknowledged by one server of three")
        for s in cluster.servers:
            s.kill()
        end(client)
        for i in (1, 2):
            status, said, complaint = recover(survivor, "--yes")
            expect(f"recover, time {i}", (status, complaint), (0, ""))
        expect("members the second time", re.findall(r"^member +(\d)", said, re.M), [str(survivor.number)])
        survivor.start()
        wait_for("it leads", lambda: survivor.mode() == "leader", 20)
        client = connect(survivor)
        filled(client, 100)
        expect("the tail", client.get("/tail")[0], b"only the leader heard of this")
        end(client)
        # Not wiped, against all advice: one old copy is a minority of its old group, and is overruled when taken in.
        old = [s for s in cluster.servers if s is not survivor]
        old[0].start()
        client = connect(survivor)
        take_in(client, old[0])
        wipe(old[1])
        old[1].start()
        take_in(client, old[1])
        end(client)
        expect("the tail everywhere", "/tail" in same_everywhere(cluster), True)


@scenario
def clients_that_saw_more():
    """Epochs rise far enough for clients of the lost servers: nobody is told that he comes from the future."""
    with Cluster("ours", 3, SETTINGS) as cluster:
        cluster.start()
        survivor = cluster.followers()[0]
        survivor.kill()
        others = [s for s in cluster.servers if s is not survivor]
        for _ in range(3):      # elections that the survivor never hears of
            cluster.wait_ready()
            leader = cluster.leader()
            client = connect(leader)
            client.create("/x", b"", sequence=True)
            end(client)
            leader.kill()
            cluster.restart(leader)
        client = connect(*others, survivor)
        client.create("/lost", b"the survivor does not have this")
        session = client.client_id
        for s in others:
            s.kill()
            wipe(s)
        status, _, complaint = recover(survivor, "--yes")
        expect("recover", (status, complaint), (0, ""))
        survivor.start()
        wait_for("it leads", lambda: survivor.mode() == "leader", 20)
        wait_for("the client is connected to the survivor", lambda: client.connected, 30)
        expect("what only the others had", client.exists("/lost"), None)
        if client.client_id == session:
            raise Broken("a session that only the others knew of lives on")
        client.create("/new", b"")
        end(client)


@scenario
def backup_of_one_server():
    """A follower's files, copied while it was stopped, begin a new cluster: by the commands of docs/operations.md."""
    with Cluster("ours", 3, SETTINGS) as old, Cluster("ours", 3, SETTINGS) as new:
        old.start()
        client = connect(old.leader())
        fill(client, 300)
        at_backup = tree(client)
        follower = old.followers()[0]
        client.sync("/")
        wait_for("the follower has it all", lambda: f"Zxid: {client.last_zxid:#x}" in follower.four_letters("srvr"), 10)
        follower.stop()
        copy = os.path.join(old.folder, "copy")
        shutil.copytree(data(follower), copy)
        old.restart(follower)
        client.create("/later", b"not in the copy")
        end(client)
        old.stop()

        home = new.servers[follower.number - 1]     # a log knows its server's number
        shutil.rmtree(data(home))
        shutil.copytree(copy, data(home))
        status, said, complaint = recover(home, "--yes")
        expect("recover", (status, complaint), (0, ""))
        home.start()
        wait_for("it leads", lambda: home.mode() == "leader", 20)
        for s in new.servers:
            if s is home:
                continue
            s.start()
            done = paddock_zk("reconfig", "--server", home.host, "--add", f"{line_of(s)}:participant")
            expect(f"paddock zk reconfig, which said {done.stdout!r} {done.stderr!r}", done.returncode, 0)
        expect("the tree of the copy", same_everywhere(new), at_backup)
        client = connect(*new.servers)
        expect("servers in /zookeeper/config", servers_listed(client), ["1", "2", "3"])
        end(client)
        new.stop()


@scenario
def a_lost_disk_waits_for_both_others():
    """What two acknowledged and one of them forgot is nobody's to overwrite: the third is waited for."""
    with Cluster("ours", 3, SETTINGS) as cluster:
        cluster.start()
        leader = cluster.leader()
        wiped, other = cluster.followers()
        client = connect(leader)
        fill(client)
        end(client)
        wiped.kill()
        wipe(wiped)
        other.kill()
        wiped.start()
        wait_for("it says for whom it waits", lambda: "node.ask terms=1 needed=2" in log_of(wiped), 30)
        expect("it follows already", "raft.joined" in log_of(wiped) or wiped.mode() is not None, False)
        expect("the one with data serves alone", leader.mode(), None)
        other.start()
        wait_for("it joined", lambda: "raft.joined" in log_of(wiped), 30)
        for s in cluster.servers:
            wait_for(f"server {s.number} serves", lambda s=s: s.mode() in ("leader", "follower"), 30)
        client = connect(wiped)
        client.sync("/")
        filled(client)
        end(client)
        same_everywhere(cluster)
        cluster.stop()


@scenario
def refusals():
    """What it will not do, and leaves as it was."""
    with Cluster("ours", 1) as cluster:
        status, _, said = recover(cluster.servers[0], "--yes")
        expect("a server on its own", (status, "needs nobody's vote" in said), (3, True))
    with Cluster("ours", 3, SETTINGS) as cluster:
        server = cluster.servers[0]
        status, _, said = recover(server, "--yes")
        expect("no data", (status, "No such file" in said), (3, True))
        cluster.start()
        cluster.stop()
        with open(os.path.join(data(server), "joining"), "w"):
            pass
        status, _, said = recover(server, "--yes")
        expect("not caught up", (status, "had not caught up" in said), (3, True))
        os.unlink(os.path.join(data(server), "joining"))
        expect("recover.log", os.path.exists(os.path.join(data(server), "recover.log")), False)
        done = subprocess.run([our_command("")[0], os.path.join(server.folder, "zoo.cfg"), "--yes"], text=True,
                              stderr=subprocess.PIPE, timeout=60, preexec_fn=die_with_parent)
        expect("--yes without recover", (done.returncode, "goes with recover" in done.stderr), (2, True))
        cluster.start()     # nothing of it was harmed
        cluster.stop()


# ---- damage ------------------------------------------------------------------------------------------
NO_MAJORITY = r"damage\.stays .*are no majority without this one"
AGAIN = {**SETTINGS, "paddock.healIntervalMs": 0}


def flip_in_log(server):
    """A bit among what was written to the newest segment; returns what undoes it."""
    folder = os.path.join(data(server), "log")
    path = os.path.join(folder, max(n for n in os.listdir(folder) if n.startswith("seg-")))
    with open(path, "r+b") as f:
        whole = f.read()
        at = len(whole.rstrip(b"\0")) * 2 // 3
        while whole[at] == 0:
            at += 1
        f.seek(at)
        f.write(bytes([whole[at] ^ 1]))

    def undo():
        with open(path, "r+b") as f:
            f.seek(at)
            f.write(whole[at:at + 1])
    return undo


def state_file(server):
    with open(os.path.join(data(server), "state-current")) as f:
        return os.path.join(data(server), f"state-{f.read().strip()}", "data.mdb")


def cut_state(server):
    os.truncate(state_file(server), os.path.getsize(state_file(server)) // 2)


def set_aside(server):
    """The folders of damaged data, each with what is in it."""
    return {name: sorted(os.listdir(os.path.join(data(server), name))) for name in os.listdir(data(server))
            if name.startswith("damaged-")}


def heals(server):
    return int(re.search(r"zk_paddock_heals\s+(\d+)", server.four_letters("mntr"))[1])


def healed(server, client, count, what):
    """It serves again with everything, has said what was wrong, and the damaged data is still there."""
    wait_for(f"server {server.number} serves", lambda: server.mode() == "follower", 60)
    said = re.search(r"damage\.aside .*", log_of(server))
    if not said or not re.search(what, said[0]):
        raise Broken(f"it does not say what it set aside ({what}): {said and said[0]}")
    expect("times it healed", heals(server), count)
    wait_for(f"server {server.number} has caught up", lambda: "raft.joined" in log_of(server), 30)
    folders = set_aside(server)
    expect("folders of damaged data", len(folders), 1)
    (name, inside), = folders.items()
    expect("what is in it", {"log", "state-current"} - set(inside), set())
    expect("it says where", name in said[0], True)
    client.create(f"/after-{server.number}-{count}", b"")
    here = connect(server)
    here.sync("/")
    filled(here)
    end(here)


@scenario
def damaged_minority_heals():
    """Log, state, and a state that is damaged under a running server: each time it heals without anybody."""
    with Cluster("ours", 3, {**AGAIN, "paddock.overlayBytes": 65536}) as cluster:
        cluster.start()
        victim = cluster.followers()[0]
        others = [s for s in cluster.servers if s is not victim]
        client = connect(*others)
        fill(client)
        victim.stop()
        flip_in_log(victim)
        client.create("/while-down", b"")
        victim.start()
        healed(victim, client, 1, r"log/?:? .*seg-[0-9a-f]{16}: offset \d+")

        victim.stop()
        cut_state(victim)
        victim.start()
        healed(victim, client, 2, r"data\.mdb is cut short")

        os.truncate(state_file(victim), 8192)
        reader = connect(victim)

        def ended():
            try:
                reader.get_async("/a/01234")
                client.set("/a", b"x" * 1000)
            except KazooException:
                pass
            return not victim.running
        wait_for("the server to end", ended, 30)
        expect("its status: start it again", victim.process.returncode, 71)
        expect("the mark", os.path.exists(os.path.join(data(victim), "damage")), True)
        end(reader)
        victim.process = None
        victim.start()
        healed(victim, client, 3, r"found while it ran")
        expect("the mark", os.path.exists(os.path.join(data(victim), "damage")), False)
        end(client)
        same_everywhere(cluster)
        cluster.stop()


def empty_log(server):
    folder = os.path.join(data(server), "log")
    for name in os.listdir(folder):
        os.unlink(os.path.join(folder, name))


@scenario
def killed_while_it_fetched():
    """The state had come, and nothing of the log yet: it goes on where it was."""
    with Cluster("ours", 3, SETTINGS) as cluster:
        cluster.start()
        victim = cluster.followers()[0]
        others = [s for s in cluster.servers if s is not victim]
        client = connect(*others)
        fill(client)
        victim.stop()
        empty_log(victim)
        with open(os.path.join(data(victim), "joining"), "w"):
            pass
        client.create("/while-down", b"")
        victim.start()
        wait_for("it joined", lambda: "raft.joined" in log_of(victim), 30)
        wait_for("it serves", lambda: victim.mode() == "follower", 30)
        expect("what it set aside", set_aside(victim), {})
        end(client)
        same_everywhere(cluster)
        cluster.stop()


@scenario
def lost_log_beside_the_state():
    """It is damage like any other, for in the state's own folder there is no disk that could be mounted later."""
    with Cluster("ours", 3, AGAIN) as cluster:
        cluster.start()
        victim = cluster.followers()[0]
        client = connect(*[s for s in cluster.servers if s is not victim])
        fill(client)
        victim.stop()
        empty_log(victim)
        victim.start()
        healed(victim, client, 1, "the log was lost")
        end(client)
        same_everywhere(cluster)
        cluster.stop()


@scenario
def damaged_majority_stops():
    """Two of three are damaged: their data stays where it is, nobody serves, and it says what is awaited."""
    with Cluster("ours", 3, AGAIN) as cluster:
        cluster.start()
        client = connect(*cluster.servers)
        fill(client)
        end(client)
        one, two = cluster.servers[:2]
        whole = cluster.servers[2]
        cluster.stop()
        undo = flip_in_log(one)
        flip_in_log(two)
        for s in cluster.servers:
            s.start()
        for s in (one, two):
            wait_for(f"server {s.number} says for whom it waits",
                     lambda s=s: re.search(r"damage\.ask terms=1 needed=2 .*seg-.*recover", log_of(s)), 30)
        for s in cluster.servers:
            expect(f"server {s.number} serves", s.mode(), None)
        for s in (one, two):
            expect("damaged data is where it was", (set_aside(s), os.path.exists(os.path.join(data(s), "log", "meta-1"))),
                   ({}, True))
        one.stop()
        undo()
        one.start()
        for s in (one, whole):
            wait_for(f"server {s.number} serves", lambda s=s: s.mode() in ("leader", "follower"), 30)
        client = connect(one, whole)
        filled(client)
        healed(two, client, 1, r"seg-")
        end(client)
        same_everywhere(cluster)
        cluster.stop()


def signs_of_life(server):
    """What a damaged server shows on its way, from its first line to when it serves."""
    def said(text):
        return lambda: text in log_of(server)

    def there(name):
        return lambda: os.path.exists(os.path.join(data(server), name))
    return [said("Z "), said("damage"), there("healing"), there("joining"), said("damage.aside"), said("node.start"),
            said("raft.role"), server.mode]


@scenario
def killed_while_it_heals():
    """kill -9 at each sign of a damaged server's way, again and again: it is whole in the end."""
    with Cluster("ours", 3, AGAIN) as cluster:
        cluster.start()
        victim = cluster.followers()[0]
        others = [s for s in cluster.servers if s is not victim]
        client = connect(*others)
        fill(client, 500)
        chance = random.Random(7)
        for round in range(10):
            victim.stop()
            (flip_in_log if round % 2 else cut_state)(victim)
            for _ in range(3):
                victim.start()
                sign = chance.choice(signs_of_life(victim))     # or it had shown that before, and gets through
                wait_for("a sign of it", lambda: sign() or victim.mode() or not victim.running, 30, 0.001)
                victim.kill()
            victim.start()
            wait_for("it has caught up", lambda: victim.mode() == "follower" and
                     not os.path.exists(os.path.join(data(victim), "joining")), 30)
            expect("folders of damaged data", len(set_aside(victim)), 1)
            expect("times it healed, at least", heals(victim) >= round + 1, True)
            client.create(f"/round-{round}", b"")
        here = connect(victim)
        here.sync("/")
        filled(here, 500)
        end(here)
        end(client)
        same_everywhere(cluster)
        cluster.stop()


@scenario
def damage_after_a_reconfig():
    """Whom to ask it knows from before the damage: its server lines are older than two of five members."""
    with Cluster("ours", 5, AGAIN) as cluster:
        founders, later = cluster.servers[:3], cluster.servers[3:]
        for s in founders:
            path = os.path.join(s.folder, "zoo.cfg")
            with open(path) as f:
                lines = [x for x in f.read().splitlines() if not re.match(r"server\.[45]=", x)]
            with open(path, "w") as f:
                f.write("\n".join(lines) + "\n")
            s.start()
        cluster.wait_ready()
        client = connect(*founders)
        for s in later:
            s.start()
            take_in(client, s)
        fill(client)
        victim = founders[0]
        wait_for("it knows of all five", lambda: re.search(r"members", " ".join(os.listdir(data(victim)))) and len(
            open(os.path.join(data(victim), "members")).read().splitlines()) == 6, 10)
        end(client)
        for s in [victim, *later]:
            s.stop()
        flip_in_log(victim)
        victim.start()
        wait_for("it says for whom it waits", lambda: "damage.ask terms=2 needed=3 " in log_of(victim), 30)
        expect("folders of damaged data", set_aside(victim), {})
        later[0].start()
        wait_for("it waits for no more", lambda: "damage.aside" in log_of(victim), 30)
        later[1].start()
        cluster.wait_ready()
        client = connect(*founders[1:])
        if victim.mode() == "follower":
            healed(victim, client, 1, r"seg-")
        filled(client)
        end(client)
        same_everywhere(cluster)
        cluster.stop()


def put_another_tree(terms):
    """Its cluster went through so many more terms."""
    with Cluster("ours", 3, AGAIN) as cluster, Cluster("ours", 3, AGAIN) as other:
        other.start()
        client = connect(*other.servers)
        for i in range(200):        # its state is at a later index, or the start would tell
            client.create(f"/other{i}", b"")
        for _ in range(terms):
            leader = other.leader()
            leader.stop()
            other.restart(leader)
            client.create("/later", b"", sequence=True)
        end(client)
        cluster.start()
        client = connect(*cluster.servers)
        client.ensure_path("/a")
        victim = cluster.followers()[0]
        other.stop()
        victim.stop()
        shutil.copy(state_file(other.servers[victim.number - 1]), state_file(victim))
        victim.start()

        def ended():
            for _ in range(300):        # an entry each: they are compared every 1024 entries
                client.set("/a", b"")
            return not victim.running
        wait_for("the digests to be compared", ended, 60)
        expect("its status: start it again", victim.process.returncode, 71)
        expect("it says why", "tree differs from the leader's" in log_of(victim), True)
        victim.process = None
        victim.start()
        wait_for("it serves", lambda: victim.mode() == "follower", 30)
        expect("times it healed", heals(victim), 1)
        end(client)
        same_everywhere(cluster)
        cluster.stop()


@scenario
def another_tree():
    """A state of other contents, sound in itself, under a server whose log is its own: the digests tell, and it heals."""
    put_another_tree(terms=0)


@scenario
def another_tree_of_a_later_term():
    """The same, and what the log holds next is of an earlier term than the state."""
    put_another_tree(terms=3)


@scenario
def damage_for_a_person():
    """Too soon after the last time, switched off, alone, and what is not damage but another server's: status 4, and all
    stays where it was."""
    def refused(server, pattern):
        inside = sorted(os.listdir(data(server)))
        server.start()
        wait_for("the server to end", lambda: not server.running, 30)
        expect("its status", server.process.returncode, 4)
        server.process = None
        if not re.search(pattern, log_of(server)):
            raise Broken(f"it does not say {pattern}:\n{log_of(server)}")
        expect("its folder", sorted(os.listdir(data(server))), inside)

    with Cluster("ours", 3, SETTINGS) as cluster:
        cluster.start()
        victim, other = cluster.followers()
        client = connect(*cluster.servers)
        fill(client)
        victim.stop()
        flip_in_log(victim)
        victim.start()
        healed(victim, client, 1, r"seg-")
        victim.stop()
        undo = flip_in_log(victim)
        refused(victim, r"damage\.stays .*set damaged data aside \d+ s ago .*paddock\.healIntervalMs=600000")
        undo()
        victim.start()
        cluster.wait_ready()

        other.stop()
        undo = flip_in_log(other)
        config = os.path.join(other.folder, "zoo.cfg")
        with open(config) as f:
            text = f.read()
        with open(config, "w") as f:
            f.write(text + "paddock.healDamage=false\n")
        refused(other, r"damage\.stays .*paddock\.healDamage is false")
        with open(config, "w") as f:
            f.write(text)
        undo()

        # A port that is taken is no damage: it is tried again.
        with open(config, "w") as f:
            f.write(text.replace(f"clientPort={other.client_port}", f"clientPort={cluster.leader().client_port}"))
        other.start()
        wait_for("the server to end", lambda: not other.running, 30)
        expect("its status", other.process.returncode, 3)
        other.process = None
        with open(config, "w") as f:
            f.write(text)

        # A copy of another server's folder; its state damaged as well.
        victim.stop()
        shutil.move(data(other), data(other) + ".own")
        shutil.copytree(data(victim), data(other))
        shutil.copy(os.path.join(data(other) + ".own", "myid"), data(other))
        os.unlink(os.path.join(data(other), "healed"))
        refused(other, rf"belongs to server {victim.number}, and we are server {other.number}")
        cut_state(other)
        refused(other, rf"damage\.stays .*belongs to server {victim.number}, and we are server {other.number}")
        shutil.rmtree(data(other))
        shutil.move(data(other) + ".own", data(other))
        victim.start()
        other.start()
        cluster.wait_ready()
        filled(client)
        end(client)
        same_everywhere(cluster)
        cluster.stop()
    with Cluster("ours", 1, SETTINGS) as cluster:
        cluster.start()
        client = connect(cluster.servers[0])
        fill(client, 100)
        end(client)
        cluster.stop()
        flip_in_log(cluster.servers[0])
        refused(cluster.servers[0], NO_MAJORITY)
    with Cluster("ours", 2, SETTINGS) as cluster:
        cluster.start()
        victim = cluster.leader()
        client = connect(victim)
        fill(client, 100)
        end(client)
        victim.stop()
        flip_in_log(victim)
        refused(victim, NO_MAJORITY)


if __name__ == "__main__":
    sys.exit(run("recover"))
