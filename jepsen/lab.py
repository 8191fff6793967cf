"""The lab: servers and clients as hosts of their own, on one machine, with nothing of that machine touched.

The whole run lives in namespaces of its own (processes, mounts, network): jepsen/run starts itself again as the first
process of a new set. Whatever ends that process, kill -9 included, ends every server and client, unmounts every file
system and takes every network device away with it: the kernel cleans up, no list of ours can be incomplete.

Inside it:

    s1 10.77.0.1 ──veth──┐
    s2 10.77.0.2 ──veth──┤ br0 10.77.0.254 (the orchestrator; its packets are never dropped)
    ...                  │   nft table bridge lab: pairs (from, to) in the set `cut` are dropped in flight
    c1 10.77.0.101 ──────┘

One nft transaction changes the whole network at once, each direction of each pair by itself.
"""
import base64
import ctypes
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tests", "clients"))
from cluster import BUILD, JAVA_LIB, four_letters, mode_of, wait_for  # noqa: E402

NETNS = "/run/netns"
CLONE_NEWNET = 0x40000000
CLIENT_PORT, SECURE_PORT = 2181, 2281
INSIDE = "PADDOCK_LAB_INSIDE"
NO_LAB = 77         # exit status: this machine cannot have one
TICK_MS = 1000
SUPER = "super:lab"         # who may change the membership
SUPER_DIGEST = "super:" + base64.b64encode(hashlib.sha1(SUPER.encode()).digest()).decode()

_libc = ctypes.CDLL(None, use_errno=True)


class NoLab(Exception):
    """This machine cannot have a lab; the text says in one sentence what is missing."""


class Refused(Exception):
    """A server ended by itself, without a fault that explains it."""


def command(*arguments, text=None):
    """Run a tool of the system; NoLab with what it said when it fails."""
    try:
        done = subprocess.run(arguments, input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=30)
    except FileNotFoundError:
        raise NoLab(f"{arguments[0]} is not installed") from None
    if done.returncode != 0:
        raise NoLab(f"`{' '.join(arguments)}` failed: {done.stdout.strip()}")
    return done.stdout


def wrapping():
    """The command line that puts a process into namespaces of its own; its death is the death of all in them."""
    return ["unshare", "--mount", "--pid", "--net", "--fork", "--kill-child=SIGKILL", "--mount-proc"]


def possible():
    """NoLab when this machine cannot have one."""
    if os.geteuid() != 0:
        raise NoLab("network namespaces and packet filters need root")
    for tool in ("unshare", "mount", "ip", "nft"):
        if shutil.which(tool) is None:
            raise NoLab(f"the program {tool} is not installed (Debian packages util-linux, mount, iproute2, nftables)")
    if not os.path.exists("/dev/net/tun"):
        raise NoLab("there is no /dev/net/tun, which slow links need")
    probe = subprocess.run([*wrapping(), "nft", "add", "table", "bridge", "lab"], stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True)
    if probe.returncode != 0:
        raise NoLab(f"the kernel gives no namespaces or no packet filter on bridges: {probe.stdout.strip()}")


def enter():
    """By the first process in new namespaces: names of networks that nobody else sees."""
    assert os.environ.get(INSIDE) == "1" and os.getpid() == 1
    os.makedirs(NETNS, exist_ok=True)
    command("mount", "-t", "tmpfs", "lab", NETNS)


def enter_network(name):
    """For preexec_fn: into that host's network. (No PR_SET_PDEATHSIG: it kills when the thread that started us ends; the
    end of the process namespace is what ends everything.)"""
    handle = os.open(os.path.join(NETNS, name), os.O_RDONLY)

    def before_exec():
        if _libc.setns(handle, CLONE_NEWNET) != 0:
            os._exit(126)
        signal.signal(signal.SIGINT, signal.SIG_IGN)       # Ctrl-C is for the orchestrator
        os.setpgid(0, 0)
    return before_exec, handle


class Network:
    """Hosts on one bridge, and what is cut between them."""

    def __init__(self):
        self.hosts = {}                 # name -> address
        self.cut_now = set()
        command("ip", "link", "set", "lo", "up")
        command("ip", "link", "add", "br0", "type", "bridge", "forward_delay", "0")
        command("ip", "addr", "add", "10.77.0.254/24", "dev", "br0")
        command("ip", "link", "set", "br0", "up")
        command("nft", "-f", "-", text="table bridge lab {\n"
                " set cut { type ipv4_addr . ipv4_addr; }\n"
                " chain forward { type filter hook forward priority 0; policy accept;\n"
                "  ip saddr . ip daddr @cut counter drop\n }\n}\n")

    def add_host(self, name, last):
        address = f"10.77.0.{last}"
        command("ip", "netns", "add", name)
        command("ip", "link", "add", f"v{name}", "type", "veth", "peer", "name", "eth0", "netns", name)
        command("ip", "link", "set", f"v{name}", "master", "br0", "up")
        command("ip", "-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
        command("ip", "-n", name, "link", "set", "eth0", "up")
        command("ip", "-n", name, "link", "set", "lo", "up")
        self.hosts[name] = address
        return address

    def cut(self, pairs):
        """These (from, to) pairs of host names are dropped from now on, and no others. () heals."""
        pairs = set(pairs)
        text = "flush set bridge lab cut\n"
        if pairs:
            elements = ", ".join(f"{self.hosts[a]} . {self.hosts[b]}" for a, b in sorted(pairs))
            text += "add element bridge lab cut { " + elements + " }\n"
        command("nft", "-f", "-", text=text)
        self.cut_now = pairs

    def dropped(self):
        """Packets dropped so far: a partition that dropped none was none."""
        for line in command("nft", "list", "chain", "bridge", "lab", "forward").splitlines():
            words = line.split()
            if "packets" in words:
                return int(words[words.index("packets") + 1])
        return 0

    def popen(self, host, arguments, log_path, env=None, cwd=None):
        before_exec, handle = enter_network(host)
        try:
            with open(log_path, "ab") as log:
                return subprocess.Popen(arguments, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=env,
                                        cwd=cwd, preexec_fn=before_exec)
        finally:
            os.close(handle)


def reference_command(config_path):
    """ZooKeeper as Debian ships it, with a small heap and a compiler that is quick to start."""
    jars = [f"{JAVA_LIB}/zookeeper.jar", f"{JAVA_LIB}/slf4j-simple.jar"]
    return ["/usr/bin/java", "-Xms64m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData",
            "-Xshare:auto", "-Djava.net.preferIPv4Stack=true", "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-cp", ":".join(jars), "org.apache.zookeeper.server.quorum.QuorumPeerMain", config_path]


class Server:
    """One host with a server on it. `wanted`: it should be running; faults say when it should not."""

    def __init__(self, cluster, number):
        self.cluster = cluster
        self.number = number
        self.name = f"s{number}"
        self.folder = os.path.join(cluster.folder, self.name)
        self.data = os.path.join(self.folder, "data")
        self.address = cluster.network.add_host(self.name, number)
        self.process = None
        self.paused = False
        self.wanted = False
        self.damaged = False            # by us: it may end with the status that asks for a start, and heals
        self.heals = 0
        self.observer = False
        self.starts = 0
        self.slow_process = None
        self.clock_path = os.path.join(self.folder, "clock")
        os.makedirs(self.data)
        with open(self.clock_path, "wb") as f:
            f.write(bytes(48))

    @property
    def log_path(self):
        return os.path.join(self.folder, "server.log")

    @property
    def config_path(self):
        return os.path.join(self.folder, "zoo.cfg")

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    @property
    def spec(self):
        """Its server line, as reconfig takes it."""
        role = "observer" if self.observer else "participant"
        return f"server.{self.number}={self.address}:2888:3888:{role};{CLIENT_PORT}"

    def write_config(self, settings, members):
        lines = [f"{k}={v}" for k, v in settings.items()] + [f"dataDir={self.data}"]
        dynamic = [s.spec for s in members]
        if self.cluster.peer:
            path = os.path.join(self.folder, "zoo.cfg.dynamic")
            with open(path, "w") as f:
                f.write("\n".join(dynamic) + "\n")
            lines.append(f"dynamicConfigFile={path}")
        else:
            lines += [f"clientPort={CLIENT_PORT}", f"clientPortAddress={self.address}"]
            lines += [line.rsplit(";", 1)[0] for line in dynamic]
        with open(self.config_path, "w") as f:
            f.write("\n".join(lines) + "\n")
        self.write_myid()

    def write_myid(self):
        with open(os.path.join(self.data, "myid"), "w") as f:
            f.write(f"{self.number}\n")

    def start(self):
        assert not self.running
        self.starts += 1
        self.wanted = True
        environment = dict(os.environ)
        environment.pop(INSIDE, None)
        if self.cluster.clock_shim:
            environment.update(LD_PRELOAD=self.cluster.clock_shim, PADDOCK_CLOCK=self.clock_path)
        arguments = reference_command(self.config_path) if self.cluster.peer else [
            self.cluster.program, self.config_path]
        with open(self.log_path, "a") as log:
            log.write(f"---- start {self.starts}\n")
        self.process = self.cluster.network.popen(self.name, arguments, self.log_path, environment, self.folder)
        self.paused = False

    def signal(self, number):
        if self.running:
            self.process.send_signal(number)

    def pause(self):
        self.signal(signal.SIGSTOP)
        self.paused = True

    def resume(self):
        self.signal(signal.SIGCONT)
        self.paused = False

    def kill(self):
        """kill -9, and wait until it is gone."""
        self.wanted = False
        if self.process is not None:
            self.signal(signal.SIGKILL)
            self.process.wait()
            self.process = None
        self.paused = False

    def stop(self, seconds=20):
        """SIGTERM; Refused when that does not end it."""
        self.wanted = False
        if not self.running:
            self.process = None
            return
        if self.paused:
            self.resume()
        self.signal(signal.SIGTERM)
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Refused(f"{self.name} did not stop within {seconds} s of SIGTERM") from None
        self.process = None
        if status not in (0, 143):      # Java ends a SIGTERM with 143
            raise Refused(f"{self.name} ended with status {status} on SIGTERM")

    def wipe(self):
        """An empty disk, but for the number it is known by."""
        assert not self.running
        for name in os.listdir(self.data):
            path = os.path.join(self.data, name)
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path)
            else:
                os.unlink(path)
        self.damaged = False
        self.write_myid()

    def words(self, word, seconds=1.0):
        return four_letters(self.address, CLIENT_PORT, word, seconds)

    def mode(self):
        """As mode_of; None also while it is down or paused."""
        return mode_of(self.words("srvr")) if self.running and not self.paused else None

    def mntr(self):
        values = {}
        for line in self.words("mntr").splitlines():
            key, _, value = line.partition("\t")
            if value:
                values[key] = value.strip()
        return values

    def log_tail(self, lines=25):
        try:
            with open(self.log_path, errors="replace") as f:
                return "".join([x[:400] for x in f if "INFO org.apache" not in x][-lines:])
        except OSError:
            return ""


class Cluster:
    """`count` voters, and `spare` hosts that may be taken in by reconfig. peer: the reference instead of ours."""

    def __init__(self, network, folder, count, peer=False, tls=False, small_disk_bytes=0, clock_shim=None, spare=0,
                 settings=None):
        self.network = network
        self.folder = folder
        self.peer = peer
        self.tls = tls
        self.clock_shim = clock_shim
        self.restarts = None            # of the nemesis: a server that may have ended
        self.program = os.environ.get("PADDOCK_STORE", os.path.join(BUILD, "paddock-store"))
        self.small_disk_bytes = small_disk_bytes
        self.servers = [Server(self, n) for n in range(1, count + spare + 1)]
        self.founders = self.servers[:count]
        self.spares = self.servers[count:]
        self.settings = {
            "tickTime": TICK_MS, "initLimit": 20, "syncLimit": 10, "maxClientCnxns": 0, "4lw.commands.whitelist": "*",
            "admin.enableServer": "false", "extendedTypesEnabled": "true", "reconfigEnabled": "true",
            "standaloneEnabled": "false",
        }
        if peer:
            self.settings.update({"snapCount": 1000, "preAllocSize": 4096})
        else:
            # small, so that a short run commits to LMDB, recycles segments, and fetches whole states
            self.settings.update({"DigestAuthenticationProvider.superDigest": SUPER_DIGEST,
                                  "paddock.segmentBytes": "1MiB", "paddock.overlayBytes": "64KiB",
                                  "paddock.snapshotLogBytes": "1MiB", "paddock.peerKeyFile": f"{folder}/cluster.key",
                                  "paddock.diskLowWaterBytes": "2MiB" if small_disk_bytes else "64MiB",
                                  "paddock.healIntervalMs": 0})     # one server may be damaged again and again
            with open(f"{folder}/cluster.key", "w") as f:
                f.write(os.urandom(32).hex() + "\n")
        if tls:
            self.make_certificates()
        self.settings.update(settings or {})
        if small_disk_bytes:
            for s in self.servers:
                command("mount", "-t", "tmpfs", "-o", f"size={small_disk_bytes}", f"disk-{s.name}", s.data)
        for s in self.servers:
            members = self.founders + ([s] if s in self.spares else [])
            s.write_config(dict(self.settings, **self.own_settings(s)), members)

    def own_settings(self, server):
        if not self.tls:
            return {}
        pem = f"{self.folder}/{server.name}.pem"
        return {"paddock.peerCert": pem, "paddock.peerCA": f"{self.folder}/ca.pem",
                "secureClientPort": SECURE_PORT, "secureClientPortAddress": server.address,
                "ssl.keyStore.location": pem, "ssl.trustStore.location": f"{self.folder}/ca.pem",
                "ssl.clientAuth": "need"}

    def openssl(self, *arguments):
        command("openssl", *arguments)

    def make_certificates(self):
        """An authority, and a certificate for each server and for the clients, as they live for this run alone."""
        folder = self.folder
        self.settings.pop("paddock.peerKeyFile", None)
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        self.openssl("req", "-x509", *curve, "-days", "2", "-subj", "/CN=lab", "-addext",
                     "basicConstraints=critical,CA:TRUE", "-keyout", f"{folder}/ca.key", "-out", f"{folder}/ca.pem")
        for name, address in [(s.name, s.address) for s in self.servers] + [("client", "127.0.0.1")]:
            with open(f"{folder}/{name}.ext", "w") as f:
                f.write(f"subjectAltName=IP:{address}\nbasicConstraints=CA:FALSE\n"
                        "extendedKeyUsage=serverAuth,clientAuth\n")
            self.openssl("req", *curve, "-subj", f"/CN={name}", "-keyout", f"{folder}/{name}.key",
                         "-out", f"{folder}/{name}.csr")
            self.openssl("x509", "-req", "-days", "2", "-in", f"{folder}/{name}.csr", "-CA", f"{folder}/ca.pem",
                         "-CAkey", f"{folder}/ca.key", "-CAcreateserial", "-extfile", f"{folder}/{name}.ext",
                         "-out", f"{folder}/{name}.crt")
            with open(f"{folder}/{name}.pem", "w") as out:
                for part in ("crt", "key"):
                    with open(f"{folder}/{name}.{part}") as f:
                        out.write(f.read())

    def start(self):
        for s in self.founders:
            s.start()
        self.wait_ready(60)

    def wait_ready(self, seconds):
        """Until every server that should run serves, and one leads."""
        def ready():
            self.complain()
            wanted = [s for s in self.servers if s.wanted]
            modes = [s.mode() for s in wanted]
            return all(modes) and modes.count("leader") == 1
        wait_for("every server serving, one leading: " + ", ".join(
            f"{s.name}" for s in self.servers if s.wanted), ready, seconds)

    def complain(self):
        """Refused when a server that should run has ended by itself, and is not started again by who did that to it."""
        for s in self.servers:
            if s.wanted and not s.running and not (self.restarts and self.restarts(s)):
                status = s.process.returncode if s.process else None
                raise Refused(f"{s.name} ended by itself, status {status}; its last lines:\n{s.log_tail(15)}")

    def leader(self):
        for s in self.servers:
            if s.mode() == "leader":
                return s
        return None

    def hosts(self):
        port = SECURE_PORT if self.tls else CLIENT_PORT
        return ",".join(f"{s.address}:{port}" for s in self.founders)

    def close(self):
        for s in self.servers:
            if s.slow_process is not None:
                s.slow_process.kill()
                s.slow_process.wait()
            s.kill()
            if self.small_disk_bytes:
                command("umount", "-l", s.data)


def rng(seed, what):
    """An own stream of chance for each purpose: adding one does not change the others."""
    return random.Random(f"{seed}/{what}")
