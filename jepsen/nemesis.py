"""The nemeses: what happens to the cluster while clients use it.

A fault begins, lasts, and ends; between two there is calm. All chance comes from the run's seed, so the same seed gives
the same plan, though the machine's own timing decides what it meets. Faults that take a server's disk away or damage it
touch a minority, one server at a time, and end only when that server is whole again: losing a majority's disks loses
data in any such system, and shows nothing.
"""
import errno
import os
import signal
import struct
import subprocess
import threading
import time

from lab import SUPER, Refused, command, rng       # first: it knows where cluster.py is
from cluster import BUILD, NeverHappened, wait_for

JOIN_SECONDS = 60           # a server that lost its disk is level again within
SERVE_SECONDS = 45          # the cluster serves again within, once nothing is wrong with it
HEAL_STATUS = 71            # of a server that found damage while it ran: docs/failures.md


class Fault:
    """One kind. begin() returns a text that says what was done, for people. end() undoes it."""
    least, most = 2.0, 6.0  # how long it lasts, seconds
    needs = ()              # of the lab: "disk", "clock", "spare"
    peer = False            # makes sense against the reference too
    heals_alone = True      # the next fault may follow at once

    def __init__(self, nemesis):
        self.nemesis = nemesis
        self.cluster = nemesis.cluster
        self.network = nemesis.cluster.network
        self.random = nemesis.random
        self.servers = nemesis.cluster.founders

    def minority(self):
        """One server, or for five up to two, in random order."""
        most = (len(self.servers) - 1) // 2
        return self.random.sample(self.servers, self.random.randint(1, most))

    def suspect(self):
        """One of which we damaged what nobody has read yet: until it heals, no other may lose anything."""
        return next((s for s in self.servers if s.damaged), None)

    def client_hosts(self):
        return [c.host for c in self.nemesis.clients]

    def names(self, servers):
        return " ".join(s.name for s in servers)

    def begin(self):
        raise NotImplementedError

    def end(self):
        raise NotImplementedError


# ---- the network ---------------------------------------------------------------------------------

def both_ways(a, b):
    return {(x, y) for x in a for y in b} | {(y, x) for x in a for y in b}


class Partition(Fault):
    least, most = 1.5, 8.0
    peer = True

    def cuts(self):
        raise NotImplementedError

    def begin(self):
        pairs, text = self.cuts()
        self.network.cut(pairs)
        return text

    def end(self):
        self.network.cut(())

    def shuffled(self):
        names = [s.name for s in self.cluster.servers if s.wanted]
        self.random.shuffle(names)
        return names

    def with_clients(self, sides):
        """Half of the time clients are cut off with a side, otherwise they reach both."""
        clients = self.client_hosts()
        sides = [list(side) for side in sides]
        if self.random.random() < 0.5:
            for c in clients:
                self.random.choice(sides).append(c)
        return sides


class Halves(Partition):
    name = "halves"

    def cuts(self):
        names = self.shuffled()
        a, b = self.with_clients([names[:len(names) // 2], names[len(names) // 2:]])
        return both_ways(a, b), " ".join(a) + " | " + " ".join(b)


class Ring(Partition):
    """Each sees itself and its two neighbours: a majority of five, and no two see the same."""
    name = "ring"

    def cuts(self):
        names = self.shuffled()
        n = len(names)
        seen = {(i + d) % n * n + i for i in range(n) for d in (-1, 0, 1)} if n > 3 else \
            {(i * n + j) for i in range(n) for j in range(n) if {i, j} != {0, 1}}
        pairs = {(names[i], names[j]) for i in range(n) for j in range(n) if i * n + j not in seen}
        pairs |= {(b, a) for a, b in pairs}
        return pairs, "ring " + " ".join(names)


class OneWay(Partition):
    """A server that others hear and that does not hear them, or the other way round."""
    name = "one-way"

    def cuts(self):
        leader = self.cluster.leader()
        names = self.shuffled()
        one = leader.name if leader and self.random.random() < 0.5 else names[0]
        others = [n for n in names if n != one]
        if self.random.random() < 0.3:
            others = others[:max(1, len(others) // 2)]
        if self.random.random() < 0.5:
            return {(one, o) for o in others}, f"{one} is not heard by {' '.join(others)}"
        return {(o, one) for o in others}, f"{one} does not hear {' '.join(others)}"


class Bridge(Partition):
    """Two sides that both see one server between them, and not each other."""
    name = "bridge"

    def cuts(self):
        names = self.shuffled()
        middle, rest = names[0], names[1:]
        a, b = rest[:len(rest) // 2], rest[len(rest) // 2:]
        return both_ways(a, b), f"{' '.join(a)} | {' '.join(b)}, both see {middle}"


class LeaderIsolated(Partition):
    """The leader cannot reach the other servers; clients may still reach it, and must not be told wrong things."""
    name = "leader-isolated"

    def cuts(self):
        leader = self.cluster.leader()
        one = leader.name if leader else self.shuffled()[0]
        others = [s.name for s in self.cluster.servers if s.name != one]
        pairs = both_ways([one], others)
        if self.random.random() < 0.3:
            pairs |= both_ways([one], self.client_hosts())
            return pairs, f"{one} alone, without clients"
        return pairs, f"{one} alone, with its clients"


class Slow(Fault):
    """Delay, jitter, loss and doubling on what one, some or all servers send; by paddock-slowlink."""
    name = "slow"
    least, most = 3.0, 9.0

    def begin(self):
        count = self.random.choice([1, 2, len(self.servers)])
        victims = self.random.sample(self.servers, min(count, len(self.servers)))
        delay, jitter = self.random.choice([(5, 10), (30, 30), (80, 150), (250, 400)])
        loss = self.random.choice([0, 5, 20, 100])
        twice = self.random.choice([0, 10])
        for s in victims:
            self.slow_down(s, ["--delay", f"{delay}ms", "--jitter", f"{jitter}ms", "--loss", str(loss), "--twice",
                               str(twice), "--seed", str(self.random.randrange(1 << 30))])
        return f"{self.names(victims)}: {delay}+{jitter} ms, {loss / 10:g}% lost, {twice / 10:g}% twice"

    def slow_down(self, server, arguments):
        path = os.path.join(server.folder, "slowlink.log")
        open(path, "wb").close()
        server.slow_process = self.network.popen(
            server.name, [os.path.join(BUILD, "paddock-slowlink"), *arguments], path)
        def ready():
            with open(path) as f:
                text = f.read()
            if server.slow_process.poll() is not None:
                raise Refused(f"paddock-slowlink on {server.name}: {text.strip()}")
            return text.startswith("ready")
        wait_for("slowlink", ready, 5)
        for name, address in self.network.hosts.items():
            if name != server.name:
                command("ip", "-n", server.name, "route", "add", f"{address}/32", "dev", "slow0", "src",
                        server.address)

    def end(self):
        for s in self.cluster.servers:
            if s.slow_process is not None:
                s.slow_process.kill()
                s.slow_process.wait()
                s.slow_process = None


# ---- processes -----------------------------------------------------------------------------------

class Kill(Fault):
    """kill -9, and another start a moment later."""
    least, most = 0.2, 4.0
    peer = True

    def victims(self):
        raise NotImplementedError

    def begin(self):
        self.killed = self.victims()
        for s in self.killed:
            s.kill()
        return self.names(self.killed)

    def end(self):
        for s in self.killed:
            s.start()


class KillOne(Kill):
    name = "kill-one"

    def victims(self):
        leader = self.cluster.leader()
        if leader in self.servers and self.random.random() < 0.6:
            return [leader]
        return [self.random.choice(self.servers)]


class KillSome(Kill):
    name = "kill-some"

    def victims(self):
        return self.random.sample(self.servers, self.random.randint(1, len(self.servers) - 1))


class KillAll(Kill):
    name = "kill-all"
    least, most = 0.1, 2.0

    def victims(self):
        return list(self.servers)


class Pause(Fault):
    """SIGSTOP: longer than an election, at times longer than a session."""
    name = "pause"
    least, most = 0.3, 9.0
    peer = True

    def begin(self):
        leader = self.cluster.leader()
        r = self.random.random()
        if leader in self.servers and r < 0.5:
            self.paused = [leader]
        elif r < 0.85:
            self.paused = self.minority()
        else:
            self.paused = self.random.sample(self.servers, len(self.servers) // 2 + 1)
        for s in self.paused:
            s.pause()
        return self.names(self.paused)

    def end(self):
        for s in self.paused:
            s.resume()


class Rolling(Fault):
    """SIGTERM and a new start, one server after the other, waiting for each as an operator would."""
    name = "rolling"
    least, most = 0.0, 0.5

    def begin(self):
        order = list(self.servers)
        self.random.shuffle(order)
        for s in order:
            if self.nemesis.stopping.is_set():
                break
            s.stop()
            s.start()
            self.nemesis.serving()
        return self.names(order)

    def end(self):
        pass


# ---- clients -------------------------------------------------------------------------------------

class ClientsCut(Partition):
    """Hosts of clients lose every server, at times for longer than their sessions live."""
    name = "clients-cut"
    least, most = 1.0, 12.0

    def cuts(self):
        hosts = self.random.sample(self.client_hosts(), self.random.choice([1, 1, 2, len(self.nemesis.clients)]))
        servers = [s.name for s in self.cluster.servers]
        if self.random.random() < 0.3:
            return {(s, h) for s in servers for h in hosts}, f"{' '.join(hosts)} hears no server"
        return both_ways(hosts, servers), f"{' '.join(hosts)} without any server"


class ClientsPause(Fault):
    """SIGSTOP for clients: they come back late, and some find their sessions gone."""
    name = "clients-pause"
    least, most = 1.0, 12.0
    peer = True

    def begin(self):
        self.paused = self.random.sample(self.nemesis.clients, self.random.choice([1, 1, len(self.nemesis.clients)]))
        for c in self.paused:
            c.process.send_signal(signal.SIGSTOP)
        return " ".join(c.host for c in self.paused)

    def end(self):
        for c in self.paused:
            c.process.send_signal(signal.SIGCONT)


# ---- clocks --------------------------------------------------------------------------------------

class Clock(Fault):
    """Wall clocks jump by milliseconds to years, to and fro, and monotonic ones run fast or slow by up to 5 %."""
    name = "clock"
    needs = ("clock",)

    def begin(self):
        text = []
        for s in self.random.sample(self.servers, self.random.randint(1, len(self.servers))):
            wall_s = self.random.choice([-1, 1]) * self.random.choice([0.05, 0.4, 3, 60, 3600, 86400 * 400])
            drift = self.random.choice([0, 0, 50000, -50000, 10000, -10000])
            self.set(s, wall_s, drift)
            text.append(f"{s.name} {wall_s:+g} s, {drift / 10000:+g}%")
        return "; ".join(text)

    def set(self, server, wall_s, drift_ppm):
        """The layout is that of clock_shim_io.c. The new rate begins a moment ahead, where the old one will have got."""
        with open(server.clock_path, "r+b", buffering=0) as f:
            sequence, _, anchor, offset, _, rate = struct.unpack("<Qqqqqq", f.read(48))
            begin = time.monotonic_ns() + 20_000_000
            moved = offset + (begin - anchor) // 1000 * rate // 1000
            os.pwrite(f.fileno(), struct.pack("<Q", sequence + 1), 0)
            os.pwrite(f.fileno(), struct.pack("<qqqqq", int(wall_s * 1e9), begin, moved, rate, drift_ppm), 8)
            os.pwrite(f.fileno(), struct.pack("<Q", sequence + 2), 0)

    def end(self):
        for s in self.servers:
            self.set(s, 0, 0)


# ---- disks ---------------------------------------------------------------------------------------

class DiskFull(Fault):
    """The servers' disks are small; a file takes what is left, all of it or nearly."""
    name = "disk-full"
    needs = ("disk",)
    heals_alone = False

    def begin(self):
        self.full = self.random.sample(self.servers, self.random.choice([1, 1, 2, len(self.servers)]))
        spare = self.random.choice([0, 0, 1 << 20])
        for s in self.full:
            self.fill(s.data, spare)
        self.nemesis.excused = {s for s in self.full}
        return f"{self.names(self.full)}, {spare >> 20} MiB left"

    @staticmethod
    def fill(folder, spare):
        with open(os.path.join(folder, "filler"), "wb") as f:
            while True:
                st = os.statvfs(folder)
                count = st.f_bavail * st.f_frsize - spare
                try:
                    if count > 0:
                        os.posix_fallocate(f.fileno(), 0, count)
                    return
                except OSError as e:        # the server took of it meanwhile
                    if e.errno != errno.ENOSPC:
                        raise

    def end(self):
        for s in self.full:
            path = os.path.join(s.data, "filler")
            if os.path.exists(path):
                os.unlink(path)

        def up():
            # One that was just starting may still end by what it met before there was room.
            self.nemesis.supervise()
            return all(s.mode() for s in self.full if s.wanted)
        wait_for(f"{self.names(self.full)} serving, now that there is room", up, SERVE_SECONDS)
        self.nemesis.excused = set()
        self.nemesis.serving()


class Damage(Fault):
    """A minority is stopped, its files are damaged, and it is started. It may serve, now or until it reads what is
    damaged; else it heals by itself, and all that is done for it is what systemd does: a start after HEAL_STATUS."""
    needs = ()
    least, most = 0.0, 0.5
    heals_alone = False

    def harm(self, server):
        raise NotImplementedError

    def begin(self):
        self.nemesis.serving()
        self.nemesis.count_heals()
        s = self.suspect() or self.random.choice(self.servers)
        s.kill()
        what = self.harm(s)
        before = self.nemesis.heals
        s.damaged = True
        s.start()

        def serves():
            self.cluster.complain()
            return s.mode()
        wait_for(f"{s.name} serving by itself after {what}", serves, JOIN_SECONDS)
        self.nemesis.count_heals()
        return f"{s.name}: {what}; {'healed' if self.nemesis.heals > before else 'it served as it was'}"

    def end(self):
        self.nemesis.serving()


def files_under(folder, suffix=""):
    found = []
    for at, _, names in os.walk(folder):
        found += [os.path.join(at, n) for n in names if n.endswith(suffix) and os.path.getsize(os.path.join(at, n)) > 0]
    return sorted(found)


class DamageLog(Damage):
    name = "damage-log"

    def harm(self, server):
        files = [f for f in files_under(os.path.join(server.data, "log")) if "lock" not in f and "spare" not in f]
        if not files:
            return "no log yet"
        path = self.random.choice(files)
        size = os.path.getsize(path)
        with open(path, "r+b") as f:
            kind = self.random.choice(["flip", "zero", "cut"])
            if kind == "cut":
                size = self.random.randrange(size)
                f.truncate(size)
                return f"{os.path.basename(path)} cut to {size} bytes"
            at = self.written(f, size)
            f.seek(at)
            if kind == "flip":
                byte = f.read(1)[0]
                f.seek(at)
                f.write(bytes([byte ^ (1 << self.random.randrange(8))]))
            else:
                f.write(bytes(min(512, size - at)))
            return f"{kind} at {at} of {os.path.basename(path)}"

    def written(self, f, size):
        """A place among what was written, when there is one: segments are made ahead, full of zeros."""
        for _ in range(50):
            at = self.random.randrange(size)
            f.seek(at)
            if f.read(1) != b"\0":
                return at
        return self.random.randrange(size)


class DamageState(Damage):
    name = "damage-state"

    def harm(self, server):
        files = [f for f in files_under(server.data)
                 if os.path.relpath(f, server.data).startswith("state-") and not f.endswith("lock.mdb")]
        if not files:
            return "no state yet"
        path = max(files, key=os.path.getsize)
        size = os.path.getsize(path)
        with open(path, "r+b") as f:
            kind = self.random.choice(["flip", "page", "cut"])
            if kind == "cut":
                size = self.random.randrange(1, size // 4096 + 1) * 4096 - self.random.choice([0, 4096, 1000])
                f.truncate(max(size, 100))
                return f"{os.path.relpath(path, server.data)} cut to {max(size, 100)} bytes"
            if kind == "page":
                page = self.random.randrange(size // 4096)
                f.seek(page * 4096)
                f.write(os.urandom(4096))
                return f"page {page} of {os.path.relpath(path, server.data)} overwritten"
            places = []
            for _ in range(8):
                at = self.random.randrange(size)
                f.seek(at)
                byte = f.read(1)[0]
                f.seek(at)
                f.write(bytes([byte ^ (1 << self.random.randrange(8))]))
                places.append(at)
            return f"bits flipped at {places} of {os.path.relpath(path, server.data)}"


class Wipe(Fault):
    """A server loses its disk. docs/operations.md: one at a time, while a majority of the others runs."""
    name = "wipe"
    least, most = 0.2, 3.0
    heals_alone = False

    def begin(self):
        self.nemesis.serving()
        self.nemesis.count_heals()
        leader = self.cluster.leader()
        self.victim = self.suspect() or (leader if leader in self.servers and self.random.random() < 0.4 else
                                         self.random.choice(self.servers))
        self.victim.kill()
        self.victim.wipe()
        return self.victim.name

    def end(self):
        zxid = max(zxid_of(s) for s in self.servers if s.running)
        self.victim.start()
        wait_for(f"{self.victim.name} level again after it lost its disk", lambda: self.nemesis.level(self.victim, zxid),
                 JOIN_SECONDS)


# ---- membership ----------------------------------------------------------------------------------

class Members(Fault):
    """A voter is removed, and taken in again as voter or observer; a spare server comes and goes."""
    name = "members"
    needs = ("spare",)
    least, most = 0.5, 3.0
    heals_alone = False

    def begin(self):
        self.nemesis.serving()
        leader = self.cluster.leader()
        if self.cluster.spares and self.random.random() < 0.4:
            spare = self.cluster.spares[0]
            if spare.wanted:
                self.reconfig(leaving=str(spare.number))
                spare.stop()
                spare.wipe()
                return f"{spare.name} removed"
            spare.observer = self.random.random() < 0.5
            spare.start()
            self.reconfig(joining=spare.spec)
            return f"{spare.spec} added"
        self.victim = leader if leader in self.servers and self.random.random() < 0.4 else \
            self.random.choice(self.servers)
        self.reconfig(leaving=str(self.victim.number))
        self.victim.stop()
        self.victim.wipe()
        self.gone = True
        return f"{self.victim.name} removed"

    gone = False

    def end(self):
        if self.gone:
            self.gone = False
            self.victim.start()
            self.reconfig(joining=self.victim.spec)
        self.nemesis.serving()

    def reconfig(self, joining=None, leaving=None):
        """By a client, again until it is done: a lost answer leaves open what happened."""
        from kazoo.client import KazooClient
        from kazoo.exceptions import KazooException
        end = time.monotonic() + JOIN_SECONDS
        what = f"reconfig joining={joining} leaving={leaving}"
        while True:
            hosts = ",".join(f"{s.address}:2181" for s in self.cluster.servers if s.wanted)
            client = KazooClient(hosts, timeout=10, logger=self.nemesis.quiet, auth_data=[("digest", SUPER)])
            try:
                client.start(timeout=10)
                config = client.get("/zookeeper/config")[0].decode()
                has = lambda spec: any(line.split(";")[0] == spec.split(";")[0] for line in config.splitlines())
                listed = [line.split("=")[0].split(".")[1] for line in config.splitlines() if line.startswith("server.")]
                if (joining and has(joining)) or (leaving and leaving not in listed):
                    return
                client.reconfig(joining=joining, leaving=leaving, new_members=None)
            except (KazooException, client.handler.timeout_exception) as e:
                if time.monotonic() > end:
                    raise NeverHappened(f"{what}: {type(e).__name__}: {e}") from None
            finally:
                client.stop()
                client.close()


FAULTS = {f.name: f for f in (Halves, Ring, OneWay, Bridge, LeaderIsolated, Slow, KillOne, KillSome, KillAll, Pause,
                              ClientsCut, ClientsPause, Rolling, Clock, DiskFull, DamageLog, DamageState, Wipe, Members)}
# What a person names on the command line: one kind, or several of which each turn takes one.
NEMESES = {
    "none": [],
    "partition": ["halves", "ring", "one-way", "bridge", "leader-isolated"],
    "kill": ["kill-one", "kill-some", "kill-all"],
    "clients": ["clients-cut", "clients-pause"],
    "damage": ["damage-log", "damage-state"],
    "all": [n for n in FAULTS if n != "disk-full"],     # which needs small disks
}
NEMESES.update({name: [name] for name in FAULTS})


class Nemesis(threading.Thread):
    """Runs faults one after the other until told to stop, and notes when each began and ended."""

    def __init__(self, cluster, clients, names, seed, quiet):
        super().__init__(name="nemesis", daemon=True)
        self.cluster = cluster
        self.clients = clients
        self.random = rng(seed, "nemesis")
        self.faults = [FAULTS[n](self) for n in names]
        self.stopping = threading.Event()
        self.events = []            # of the timeline: dicts with name, begin_ns, end_ns, what
        self.problem = None
        self.excused = set()        # servers that may end by themselves: their disk is full
        self.heals = 0              # times that a damaged server set its data aside and fetched everything anew
        self.quiet = quiet
        cluster.restarts = self.restarts
        self.now = None             # the event under way

    # -- what faults ask for
    def serving(self):
        """Wait until the cluster serves as a whole."""
        self.cluster.wait_ready(SERVE_SECONDS)

    def level(self, server, zxid):
        """Does it serve, and has it all up to there?"""
        return server.mode() is not None and zxid_of(server) >= zxid

    def supervise(self):
        """What systemd would do."""
        self.cluster.complain()

    def restarts(self, server):
        """Starts a server again that ended because its disk was full, or found itself damaged while it ran. False: it
        must not have ended, whatever systemd would make of that."""
        status = server.process.returncode if server.process else None
        if not (server in self.excused and status in (3, 70)) and not (server.damaged and status == HEAL_STATUS):
            return False
        if status == HEAL_STATUS:
            self.note_now(f"{server.name} stopped on its damage ({server.log_tail(1).strip()[:160]}), started again")
        server.process = None
        server.start()
        return True

    def count_heals(self):
        """By what the servers' logs say; a server that healed holds nothing any more that we damaged."""
        total = 0
        for s in self.cluster.servers:
            if s.starts == 0:       # a spare that was never needed
                continue
            with open(s.log_path, errors="replace") as f:
                healed = sum(" damage.aside " in line for line in f)
            if healed > s.heals:
                s.damaged = False
            s.heals = healed
            total += healed
        self.heals = total

    def note_now(self, text):
        now = time.monotonic_ns()
        self.events.append({"name": "operator", "begin_ns": now, "end_ns": now, "what": text})

    # -- the thread
    def calm(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.stopping.is_set():
            self.supervise()
            self.stopping.wait(0.2)

    def run(self):
        try:
            while not self.stopping.is_set() and self.faults:
                self.calm(self.random.uniform(1.0, 4.0))
                if self.stopping.is_set():
                    break
                self.one(self.random.choice(self.faults))
            while not self.stopping.is_set():
                self.calm(1.0)
        except (NeverHappened, Refused, subprocess.SubprocessError, OSError) as e:
            self.problem = f"{type(e).__name__}: {e}"
        except Exception as e:              # of the harness itself: told, never swallowed
            self.problem = f"the harness failed: {type(e).__name__}: {e}"
            raise

    def one(self, fault):
        event = {"name": fault.name, "begin_ns": time.monotonic_ns(), "end_ns": None, "what": ""}
        self.events.append(event)
        self.now = fault
        event["what"] = fault.begin()
        self.calm(self.random.uniform(fault.least, fault.most))
        fault.end()
        event["end_ns"] = time.monotonic_ns()
        self.now = None

    def finish(self):
        """Stop, and take back whatever is left: from here on nothing is wrong with the cluster, but that damage which
        nobody has read yet may still be found."""
        self.stopping.set()
        self.join(4 * JOIN_SECONDS)
        if self.is_alive():
            self.problem = self.problem or f"the nemesis did not come to an end: {self.now and self.now.name}"
        self.cluster.network.cut(())
        Slow(self).end()
        now = time.monotonic_ns()
        for e in self.events:
            e["end_ns"] = e["end_ns"] or now
        if self.problem is None:
            for s in self.cluster.servers:
                if s.paused:
                    s.resume()


def zxid_of(server):
    for line in server.words("srvr").splitlines():
        if line.startswith("Zxid: "):
            return int(line[6:], 16)
    return -1
