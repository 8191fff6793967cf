#!/usr/bin/python3
"""make examples-check: every configuration in examples/, started as it is, serves real clients and stops on SIGTERM.

The folder is copied, the files in it are not changed: their ports must be free.

    ONLY=tls,sasl        configurations whose name begins with one of these
"""
import glob
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "clients"))
from cluster import (Missing, NeverHappened, ROOT, die_with_parent, need, on_signals_exit,  # noqa: E402
                     our_command, wait_for)
from kazoo.client import KazooClient  # noqa: E402
from kazoo.exceptions import NoAuthError  # noqa: E402
from kazoo.handlers.threading import KazooTimeoutError  # noqa: E402

STOP_SECONDS = 10


class Broken(Exception):
    """An example does not do what it says."""


def expect(what, got, want):
    if got != want:
        raise Broken(f"{what}: got {got!r}, want {want!r}")


def settings_of(path):
    with open(path) as f:
        return dict(line.strip().split("=", 1) for line in f if "=" in line and not line.startswith("#"))


class Example:
    """One server, run from one file of examples/ in the copied folder."""

    def __init__(self, folder, name):
        self.folder, self.name = folder, name
        self.settings = settings_of(os.path.join(folder, name))
        self.port = int(self.settings["clientPort"])
        self.log_path = os.path.join(folder, name + ".log")
        self.process = None
        for port in self.ports():
            with socket.socket() as s:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    s.bind(("127.0.0.1", port))
                except OSError as e:
                    raise Broken(f"{name} wants port {port}, which is taken here ({e.strerror}): end what "
                                 f"listens there (ss -ltnp) and run this again") from None

    def ports(self):
        keys = ("clientPort", "secureClientPort", "admin.serverPort")
        ports = [int(self.settings[k]) for k in keys if k in self.settings]
        data = os.path.join(self.folder, self.settings["dataDir"], "myid")
        if os.path.exists(data):
            with open(data) as f:
                ports.append(int(self.settings["server." + f.read().strip()].split(":")[1]))
        return ports

    def start(self):
        with open(self.log_path, "a") as log:
            self.process = subprocess.Popen(our_command(self.name), stdout=log, stderr=log, cwd=self.folder,
                                            stdin=subprocess.DEVNULL, preexec_fn=die_with_parent)

    def words(self, word):
        try:
            with socket.create_connection(("127.0.0.1", self.port), 2) as s:
                s.settimeout(2)
                s.sendall(word.encode())
                answer = b""
                while part := s.recv(65536):
                    answer += part
                return answer.decode()
        except OSError:
            return ""

    def mode(self):
        if self.process.poll() is not None:
            raise Broken(f"{self.name} ended with status {self.process.returncode} by itself")
        found = re.search(r"^Mode: (\w+)$", self.words("srvr"), re.M)
        return found.group(1) if found else None

    def admin(self):
        """The admin server's answer to `ruok`: each example has a port of its own for it."""
        with socket.create_connection(("127.0.0.1", int(self.settings["admin.serverPort"])), 5) as s:
            s.sendall(b"GET /commands/ruok HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answer = b""
            while part := s.recv(65536):
                answer += part
        return answer.split(b"\r\n")[0].decode()

    def stop(self):
        begin = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            raise Broken(f"{self.name} did not stop within {STOP_SECONDS} s of SIGTERM") from None
        expect(f"{self.name}: status after SIGTERM", status, 0)
        self.process = None
        return time.monotonic() - begin

    def kill(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process = None


def warnings(example):
    with open(example.log_path, errors="replace") as f:
        return [line.strip() for line in f if "config.note" in line]


def kazoo(port, seconds=15, **options):
    client = KazooClient(f"127.0.0.1:{port}", timeout=10, **options)
    client.start(timeout=seconds)
    return client


def create_and_get(port, path, **options):
    client = kazoo(port, **options)
    try:
        client.create(path, b"from " + path.encode())
        expect(f"get {path}", client.get(path)[0], b"from " + path.encode())
    finally:
        client.stop()
        client.close()


def serving(servers, modes):
    """Until their modes are these, in any order."""
    wait_for(f"modes {modes} of {[s.name for s in servers]}",
             lambda: sorted(str(s.mode()) for s in servers) == sorted(modes), 30)
    for s in servers:
        expect(f"{s.name}: admin server", s.admin(), "HTTP/1.1 200 OK")
        expect(f"{s.name}: notes about the configuration", warnings(s), [])


# ---- the examples ----------------------------------------------------------------------------------
def standalone(folder, run):
    server = run("standalone.cfg")
    serving([server], ["standalone"])
    create_and_get(2181, "/standalone")


def three(folder, run):
    servers = [run(f"three-{i}.cfg") for i in (1, 2, 3)]
    serving(servers, ["follower", "follower", "leader"])
    for i, s in enumerate(servers):
        create_and_get(s.port, f"/three-{i}")
    clients = [kazoo(s.port) for s in servers]
    for c in clients:
        c.sync("/")
        expect("children everywhere", sorted(c.get_children("/")), ["three-0", "three-1", "three-2", "zookeeper"])
        c.stop()
        c.close()


def observer(folder, run):
    servers = [run(f"observer-{i}.cfg") for i in (1, 2, 3, 4)]
    serving(servers, ["follower", "follower", "leader", "observer"])
    fourth = servers[3]
    expect("who observes", fourth.mode(), "observer")
    create_and_get(fourth.port, "/through-the-observer")
    create_and_get(servers[0].port, "/through-a-voter")
    # One voter and the observer are half of the four servers and no majority of the three voters.
    client = kazoo(servers[0].port)
    for s in servers[1:3]:
        s.stop()
    request = client.create_async("/must-not-be", b"")
    wait_for("the last voter serves no more", lambda: servers[0].mode() is None, 30)
    wait_for("nor does the observer", lambda: fourth.mode() is None, 30)
    request.wait(3)
    if request.ready() and request.exception is None:
        raise Broken("a write was acknowledged by one voter of three and an observer")
    client.stop()
    client.close()
    servers[1].start()
    wait_for("two voters and the observer", lambda: [s.mode() for s in (servers[0], servers[1], fourth)].count(
        "leader") == 1 and fourth.mode() == "observer", 30)
    create_and_get(fourth.port, "/again")
    servers[2].start()
    wait_for("all", lambda: servers[2].mode() == "follower", 30)


def ruok_over_tls(folder, *options):
    """What `ruok` is answered over TLS; the connection stays open until the server closes it."""
    process = subprocess.Popen([need("/usr/bin/openssl", "openssl"), "s_client", "-connect", "127.0.0.1:2212",
                                "-CAfile", "certs/ca.pem", "-verify_return_error", "-verify_ip", "127.0.0.1",
                                "-quiet", *options],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=folder,
                               preexec_fn=die_with_parent)
    try:
        process.stdin.write(b"ruok")
        process.stdin.flush()
        return process.stdout.read()
    except BrokenPipeError:
        return process.stdout.read()
    finally:
        process.kill()
        process.communicate()


def presented(folder):
    """The serial number of the certificate that the TLS port presents."""
    done = subprocess.run("openssl s_client -connect 127.0.0.1:2212 -cert certs/client.pem -key certs/client.pem "
                          "</dev/null 2>/dev/null | openssl x509 -noout -serial", shell=True, cwd=folder,
                          stdout=subprocess.PIPE, text=True, timeout=30)
    return done.stdout.strip()


def tls(folder, run):
    make_certs(folder)
    server = run("tls.cfg")
    serving([server], ["standalone"])
    mine = {"use_ssl": True, "verify_certs": True, "ca": os.path.join(folder, "certs/ca.pem"),
            "certfile": os.path.join(folder, "certs/client.pem"), "keyfile": os.path.join(folder, "certs/client.pem")}
    create_and_get(2212, "/tls", **mine)
    create_and_get(2211, "/plain")
    expect("ruok with a certificate", ruok_over_tls(folder, "-cert", "certs/client.pem", "-key", "certs/client.pem"),
           b"imok")
    expect("ruok without one", ruok_over_tls(folder), b"")
    try:
        kazoo(2212, seconds=3, use_ssl=True, verify_certs=True, ca=mine["ca"]).stop()
        raise Broken("a client without a certificate got a session, though ssl.clientAuth=need")
    except KazooTimeoutError:
        pass
    # New files, then SIGHUP: new connections see the new certificate, sessions stay.
    client = kazoo(2212, **mine)
    before, session = presented(folder), client.client_id
    make_certs(folder)
    expect("until SIGHUP", presented(folder), before)
    server.process.send_signal(signal.SIGHUP)
    wait_for("another certificate", lambda: presented(folder) not in ("", before), 10)
    expect("get in the old session", client.get("/tls")[0], b"from /tls")
    expect("its session", client.client_id, session)
    client.stop()
    client.close()
    create_and_get(2212, "/tls-again", **mine)


def make_certs(folder):
    done = subprocess.run(["./make-certs.sh"], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    expect(f"make-certs.sh: status, after saying {done.stdout!r}", done.returncode, 0)


def zkcli(folder, port, jaas, script):
    with open(os.path.join(folder, "client.jaas"), "w") as f:
        f.write(jaas)
    env = dict(os.environ, CLIENT_JVMFLAGS="-Xmx128m -XX:TieredStopAtLevel=1 -Xshare:auto "
                                           "-Djava.security.auth.login.config=client.jaas")
    done = subprocess.run([need("/usr/share/zookeeper/bin/zkCli.sh", "zookeeper"), "-server", f"127.0.0.1:{port}"],
                          input=script, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=90, cwd=folder, preexec_fn=die_with_parent)
    return done.stdout


def sasl(folder, run):
    server = run("sasl.cfg")
    serving([server], ["standalone"])
    create_and_get(2221, "/nobody-in-particular")
    said = zkcli(folder, 2221, "Client { org.apache.zookeeper.server.auth.DigestLoginModule required\n"
                 'username="alice" password="change-me"; };\n',
                 "whoami\ncreate /alice mine sasl:alice:cdrwa\nget /alice\nquit\n")
    for line in ("sasl: alice", "Created /alice", "mine"):
        if line not in said.splitlines():
            raise Broken(f"zkCli.sh did not say {line!r}:\n{said}")
    client = kazoo(2221)
    try:
        client.get("/alice")
        raise Broken("somebody else read what is alice's")
    except NoAuthError:
        pass
    finally:
        client.stop()
        client.close()
    said = zkcli(folder, 2221, "Client { org.apache.zookeeper.server.auth.DigestLoginModule required\n"
                 'username="alice" password="wrong"; };\n', "get /alice\nquit\n")
    if "mine" in said.splitlines():
        raise Broken(f"a wrong password read what is alice's:\n{said}")


EXAMPLES = {"standalone": standalone, "three": three, "observer": observer, "tls": tls, "sasl": sasl}


def every_file_is_run():
    """A file that no example here starts is one that nobody knows to work."""
    names = {re.sub(r"-\d+$", "", os.path.basename(p)[:-4]) for p in glob.glob(os.path.join(ROOT, "examples", "*.cfg"))}
    expect("examples/*.cfg", names, set(EXAMPLES))


def run_one(name):
    running = []
    base = tempfile.mkdtemp(prefix="paddock-examples-")
    folder = os.path.join(base, "examples")
    shutil.copytree(os.path.join(ROOT, "examples"), folder,
                    ignore=lambda d, names: [n for n in names if n == "certs" or
                                             (os.path.basename(d).startswith("data-") and n != "myid")])

    def run(file):
        server = Example(folder, file)
        running.append(server)
        server.start()
        return server
    begin = time.monotonic()
    try:
        EXAMPLES[name](folder, run)
        slowest = max(s.stop() for s in running)
        print(f"ok    {name:<12} {len(running)} servers, {time.monotonic() - begin:.1f} s, "
              f"stopped within {slowest:.1f} s", flush=True)
        return True
    except Missing:
        raise
    except (Exception, subprocess.TimeoutExpired) as e:
        print(f"FAIL  {name}: {e}", flush=True)
        if not isinstance(e, (Broken, NeverHappened)):
            traceback.print_exc()
        for s in running:
            print(f"---- last lines of {s.name}")
            with open(s.log_path, errors="replace") as f:
                print("".join(f.readlines()[-15:]))
        return False
    finally:
        for s in running:
            s.kill()
        shutil.rmtree(base, ignore_errors=True)


def main():
    on_signals_exit()
    only = [x for x in os.environ.get("ONLY", "").split(",") if x]
    names = [n for n in EXAMPLES if not only or any(n.startswith(o) for o in only)]
    failed = 0
    try:
        every_file_is_run()
        failed = sum(not run_one(n) for n in names)
    except (Broken, Missing) as e:
        print(f"FAIL  {e}")
        failed += 1
    print(f"examples: {len(names)} run, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
