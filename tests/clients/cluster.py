"""Start, stop, kill and pause ZooKeeper servers of two kinds, the reference and ours, in temporary folders.

    with Cluster("reference", 3) as cluster:
        cluster.start()
        cluster.hosts()              # "127.0.0.1:12001,127.0.0.1:12002,127.0.0.1:12003"
        cluster.kill(cluster.leader())

Both kinds read the same zoo.cfg; only the command line differs, so a scenario cannot tell them apart.
Nothing here sleeps for a fixed time: it waits for a condition, and says which one when it never comes.
Servers die with this process, however it ends (PR_SET_PDEATHSIG), and Cluster.close() ends them by pid.
"""
import ctypes
import glob
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get("O", "build"))
JAVA_LIB = "/usr/share/java"
TICK_MS = 500
READY_SECONDS = 60

_libc = ctypes.CDLL(None, use_errno=True)
_ports_given = set()


class Missing(Exception):
    """Something that the suite needs is not installed: always an error, never a skipped test."""


class NeverHappened(Exception):
    """A condition did not come true in time."""


def wait_for(what, condition, seconds=READY_SECONDS, step=0.02):
    """Return the first true value of condition(); raise NeverHappened, naming `what`, after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise NeverHappened(f"waited {seconds:g} s in vain: {what}")
        time.sleep(step)


def free_port():
    """A port that nobody listens on, below the range from which the kernel picks outgoing ports."""
    while True:
        port = random.SystemRandom().randrange(12000, 32000)
        if port in _ports_given:
            continue
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        _ports_given.add(port)
        return port


def four_letters(host, port, word, seconds):
    """The answer to a four-letter word, or '' when the server cannot be asked."""
    try:
        with socket.create_connection((host, port), seconds) as s:
            s.settimeout(seconds)
            s.sendall(word.encode())
            answer = b""
            while True:
                part = s.recv(65536)
                if not part:
                    return answer.decode("utf-8", "replace")
                answer += part
    except OSError:
        return ""


def mode_of(srvr):
    """standalone, leader, follower, observer, by the answer to srvr; None: it is not serving."""
    for line in srvr.splitlines():
        if line.startswith("Mode: "):
            return line[6:].strip()
    return None


def die_with_parent():
    """Run in the child before exec: SIGKILL when the parent thread's process is gone."""
    _libc.prctl(1, signal.SIGKILL, 0, 0, 0)


def need(path, package):
    if not os.path.exists(path):
        raise Missing(f"{path} is not there: install the Debian package {package}")
    return path


def reference_command(config_path):
    """ZooKeeper as Debian ships it, with a small heap and a compiler that is quick to start."""
    jars = [need(f"{JAVA_LIB}/zookeeper.jar", "zookeeper"), need(f"{JAVA_LIB}/slf4j-simple.jar", "libslf4j-java")]
    with open(config_path) as f:        # these it takes from Java alone; ours reads them in zoo.cfg
        properties = ["-D" + line.strip() for line in f if line.startswith(("znode.", "java.security.", "readonlymode."))]
    return ["/usr/bin/java", *properties, "-Xms64m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
            "-XX:-UsePerfData", "-Xshare:auto", "-Djava.net.preferIPv4Stack=true",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=info", "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-cp", ":".join(jars), "org.apache.zookeeper.server.quorum.QuorumPeerMain", config_path]


def our_command(config_path):
    program = os.environ.get("PADDOCK_STORE", os.path.join(BUILD, "paddock-store"))
    if not os.path.exists(program):
        raise Missing(f"{program} is not there: build it with make")
    return [program, config_path]


COMMANDS = {"reference": reference_command, "ours": our_command}


class Server:
    """One server: a folder with zoo.cfg, data and log, and at most one running process."""

    def __init__(self, cluster, number, folder):
        self.cluster = cluster
        self.number = number
        self.folder = folder
        self.client_port = free_port()
        self.peer_port = free_port()
        self.election_port = free_port()
        self.process = None
        self.paused = False
        self.starts = 0

    @property
    def host(self):
        return f"127.0.0.1:{self.client_port}"

    @property
    def log_path(self):
        return os.path.join(self.folder, "server.log")

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    def write_config(self, settings):
        data = os.path.join(self.folder, "data")
        os.makedirs(data, exist_ok=True)
        lines = [f"{k}={v}" for k, v in settings.items()]
        lines += [f"dataDir={data}", f"clientPort={self.client_port}", "clientPortAddress=127.0.0.1"]
        if len(self.cluster.servers) > 1:
            for s in self.cluster.servers:
                lines.append(f"server.{s.number}=127.0.0.1:{s.peer_port}:{s.election_port}")
            with open(os.path.join(data, "myid"), "w") as f:
                f.write(f"{self.number}\n")
        with open(os.path.join(self.folder, "zoo.cfg"), "w") as f:
            f.write("\n".join(lines) + "\n")

    def start(self):
        assert not self.running
        command = COMMANDS[self.cluster.kind](os.path.join(self.folder, "zoo.cfg"))
        self.starts += 1
        with open(self.log_path, "a") as log:
            log.write(f"---- start {self.starts}\n")
            log.flush()
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                            cwd=self.folder, preexec_fn=die_with_parent)
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
        if self.process is not None:
            self.signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def stop(self, seconds=20):
        """SIGTERM; SIGKILL and an error when that does not end it."""
        if not self.running:
            self.process = None
            return
        if self.paused:
            self.resume()
        self.signal(signal.SIGTERM)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise NeverHappened(f"server {self.number} did not stop within {seconds} s of SIGTERM")
        self.process = None

    def four_letters(self, word, seconds=2.0):
        return four_letters("127.0.0.1", self.client_port, word, seconds)

    def mode(self):
        """As mode_of; None also while it is down or paused."""
        return mode_of(self.four_letters("srvr")) if self.running and not self.paused else None

    def log_tail(self, lines=25):
        """The last lines; of the reference's many, those that warn."""
        try:
            with open(self.log_path, errors="replace") as f:
                return "".join([x[:400] for x in f if "] INFO org.apache" not in x][-lines:])
        except OSError:
            return ""


class Cluster:
    """`count` servers of one kind. settings: more zoo.cfg keys. keep: leave the folder behind."""

    def __init__(self, kind, count, settings=None, keep=None):
        self.kind = kind
        self.keep = bool(os.environ.get("KEEP")) if keep is None else keep
        self.folder = tempfile.mkdtemp(prefix=f"paddock-{kind}-")
        self.servers = []
        for number in range(1, count + 1):
            folder = os.path.join(self.folder, f"s{number}")
            os.mkdir(folder)
            self.servers.append(Server(self, number, folder))
        all_settings = {
            "tickTime": TICK_MS, "initLimit": 20, "syncLimit": 10, "maxClientCnxns": 0,
            "4lw.commands.whitelist": "*", "admin.enableServer": "false", "extendedTypesEnabled": "true",
            "snapCount": 100000, "preAllocSize": 4096,
            # two containers per second are looked at, so that a scenario need not wait a minute
            "znode.container.checkIntervalMs": 500,
        }
        all_settings.update(settings or {})
        for server in self.servers:
            server.write_config(all_settings)

    def __enter__(self):
        return self

    def __exit__(self, exc_type, exc, tb):
        if exc_type is not None and not issubclass(exc_type, (KeyboardInterrupt, SystemExit, Missing)):
            self.print_logs()
        self.close()

    def start(self):
        new = all(server.starts == 0 for server in self.servers)
        for server in self.servers:
            if not server.running:
                server.start()
        self.wait_ready()
        if new:     # one that came late joins what the others founded, and may not vote before it has
            wait_for("a vote for every server", lambda: not any(os.path.exists(os.path.join(s.folder, "data", "joining"))
                                                                for s in self.servers), READY_SECONDS)
        return self

    def wait_ready(self, seconds=READY_SECONDS):
        """Until every running server serves and, of several, one leads."""
        def ready():
            modes = []
            for server in self.servers:
                if server.process is None:
                    continue
                if server.process.poll() is not None:
                    raise NeverHappened(f"{self.kind} server {server.number} exited with status "
                                        f"{server.process.returncode}:\n{server.log_tail(15)}")
                if not server.paused:
                    modes.append(server.mode())
            return modes and all(modes) and (len(self.servers) == 1 or "leader" in modes)
        wait_for(f"{self.kind} servers ready", ready, seconds)

    def stop(self):
        for server in self.servers:
            server.stop()

    def close(self):
        for server in self.servers:
            if server.paused:
                server.resume()
            server.kill()
        if not self.keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    def hosts(self, first=0):
        """The connect string, beginning with the server at index `first`."""
        n = len(self.servers)
        return ",".join(self.servers[(first + i) % n].host for i in range(n))

    def leader(self):
        """The server that leads (or stands alone); waits for one."""
        def find():
            for server in self.servers:
                if server.mode() in ("leader", "standalone"):
                    return server
            return None
        return wait_for(f"a leader among {self.kind} servers", find)

    def followers(self):
        leader = self.leader()
        return [s for s in self.servers if s is not leader and s.mode() == "follower"]

    def kill(self, server):
        server.kill()

    def restart(self, server):
        """Start a server that was killed or stopped, and wait for the whole cluster."""
        server.start()
        self.wait_ready()

    def print_logs(self, file=sys.stderr):
        for server in self.servers:
            print(f"---- last lines of {self.kind} server {server.number} ({server.log_path})", file=file)
            print(server.log_tail(), file=file)


def on_signals_exit():
    """SIGTERM and Ctrl-C unwind the stack, so that every `with Cluster` closes."""
    def leave(number, frame):
        raise SystemExit(128 + number)
    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGHUP, leave)


def jars(*names):
    """A class path of Debian's jars; a missing one is an error."""
    found = []
    for name in names:
        matches = glob.glob(f"{JAVA_LIB}/{name}.jar")
        if not matches:
            raise Missing(f"{JAVA_LIB}/{name}.jar is not there")
        found += matches
    return ":".join(found)
