#!/usr/bin/python3
"""make features: what needs a whole server to show: logins, limits, local sessions, read-only mode, a full disk,
garbage on every port.

    ONLY=sasl,limits     scenarios whose name begins with one of these
    TARGET=reference     those that ZooKeeper itself can show, on it: checks the expectations, not the server
    SEED=1               of the garbage
"""
import base64
import contextlib
import hashlib
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "clients"))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "diff"))
import wire  # noqa: E402
from cluster import Cluster, NeverHappened, die_with_parent, free_port, need, on_signals_exit, wait_for  # noqa: E402

KIND = os.environ.get("TARGET", "ours")
SCENARIOS = []
NOWHERE = {}


class Broken(Exception):
    """A promise was not kept."""


def scenario(on_reference):
    """Marks one; on_reference: ZooKeeper 3.8.0 can show it, too."""
    def add(f):
        SCENARIOS.append((f.__name__.replace("_", "-"), on_reference, f))
        return f
    return add


def expect(what, got, want):
    if got != want:
        raise Broken(f"{what}: got {got!r}, want {want!r}")


class Client:
    """A raw session: one request, one answer."""

    def __init__(self, server, timeout=10000, session=0, password=b"\0" * 16, read_only=False, seconds=10.0):
        self.conn = wire.Connection(server.client_port, seconds)
        self.xid = 0
        self.events = []
        self.conn.send(wire.frame(wire.connect_request(timeout, session, password, read_only=read_only)))
        reply = self.conn.receive()
        _, self.timeout, self.id, self.password, self.read_only = wire.decode_connect(reply)

    def send(self, code, body=b"", xid=None):
        self.xid += 1
        self.conn.send(wire.frame(wire.request(self.xid if xid is None else xid, code, body)))

    def reply(self, seconds=None):
        while True:
            payload = self.conn.receive(seconds)
            xid, zxid, err = wire.header(payload)
            if xid != wire.XID_EVENT:
                return err, payload
            self.events.append(wire.decode_event(payload))

    def call(self, code, body=b"", xid=None, seconds=None):
        self.send(code, body, xid)
        err, payload = self.reply(seconds)
        return err, (wire.Reader(payload, 16).body(code) if err == 0 else None)

    def create(self, path, data=b"", flags=0, acl=wire.WORLD):
        return self.call(wire.CREATE, wire.create_body(path, data, acl, flags))[0]

    def get(self, path):
        return self.call(wire.GET_DATA, wire.text(path) + wire.boolean(False))

    def exists(self, path):
        return self.call(wire.EXISTS, wire.text(path) + wire.boolean(False))[0]

    def set(self, path, data):
        return self.call(wire.SET_DATA, wire.text(path) + wire.buffer(data) + wire.int32(-1))[0]

    def ping(self):
        return self.call(wire.PING, xid=wire.XID_PING)[0]

    def whoami(self):
        return self.call(wire.WHO_AM_I)[1][0]

    def add_auth(self, scheme, auth):
        return self.call(wire.AUTH, wire.int32(0) + wire.text(scheme) + wire.buffer(auth), xid=wire.XID_AUTH)[0]

    def closed(self, seconds=5.0):
        """True when the server closes the connection in time; what it sends until then is dropped."""
        try:
            while True:
                self.conn.receive(seconds)
        except wire.Closed:
            return True
        except wire.Silence:
            return False

    def close(self):
        self.conn.close()

    def end(self):
        """End the session."""
        expect("closeSession", self.call(wire.CLOSE_SESSION)[0], 0)
        self.close()


# ---- logins ----------------------------------------------------------------------------------------
def digest_md5(user, password, challenge):
    """RFC 2831's answer to a challenge, and what the server must say to it."""
    fields = {}
    for part in challenge.decode().split(","):
        key, _, value = part.partition("=")
        fields[key] = value.strip('"')
    realm, nonce, cnonce, uri = fields["realm"], fields["nonce"], "c0ffee", "zookeeper/zk-sasl-md5"

    def answer(a2):
        a1 = hashlib.md5(f"{user}:{realm}:{password}".encode()).digest() + f":{nonce}:{cnonce}".encode()
        ha1, ha2 = hashlib.md5(a1).hexdigest(), hashlib.md5(a2.encode()).hexdigest()
        return hashlib.md5(f"{ha1}:{nonce}:00000001:{cnonce}:auth:{ha2}".encode()).hexdigest()
    token = (f'charset=utf-8,username="{user}",realm="{realm}",nonce="{nonce}",nc=00000001,cnonce="{cnonce}",'
             f'digest-uri="{uri}",maxbuf=65536,response={answer("AUTHENTICATE:" + uri)},qop=auth')
    return token.encode(), f"rspauth={answer(':' + uri)}".encode()


def sasl_login(client, user, password):
    """The error code of the last reply; checks the server's proof."""
    err, body = client.call(wire.SASL, wire.buffer(b""))
    expect("error of the challenge", err, 0)
    token, proof = digest_md5(user, password, body[0])
    err, body = client.call(wire.SASL, wire.buffer(token))
    if err == 0 and body[0] is not None:
        expect("the server's proof", body[0], proof)
    return err


JAAS_SERVER = """Server {
  org.apache.zookeeper.server.auth.DigestLoginModule required
  user_super="adm" user_alice="wonder" user_bob="build";
};
"""


def sasl_cluster(**settings):
    cluster = Cluster(KIND, 1, {
        "authProvider.1": "org.apache.zookeeper.server.auth.SASLAuthenticationProvider", **settings})
    path = os.path.join(cluster.folder, "server.jaas")
    with open(path, "w") as f:
        f.write(JAAS_SERVER)
    with open(os.path.join(cluster.servers[0].folder, "zoo.cfg"), "a") as f:
        f.write(f"java.security.auth.login.config={path}\n")
    return cluster


@scenario(on_reference=True)
def sasl():
    with sasl_cluster(superUser="bob") as cluster:
        server = cluster.start().servers[0]
        c = Client(server)
        expect("login", sasl_login(c, "alice", "wonder"), 0)
        expect("whoami", c.whoami(), [("ip", "127.0.0.1"), ("sasl", "alice")])
        expect("create", c.create("/alice", b"x", acl=[(31, "sasl", "alice")]), 0)
        expect("read by alice", c.get("/alice")[0], 0)
        stranger = Client(server)
        expect("read by a stranger", stranger.get("/alice")[0], -102)
        expect("login as bob", sasl_login(stranger, "bob", "build"), 0)
        expect("whoami of a super user", stranger.whoami(),
               [("ip", "127.0.0.1"), ("sasl", "bob"), ("super", "")])
        expect("read by a super user", stranger.get("/alice")[0], 0)
        bad_logins = [("alice", "wrong")]
        if KIND == "ours":      # 3.8.0 takes an unknown name for the user who logged in last
            bad_logins += [("nobody", "wonder"), ("nobody", "build"), ("", "wonder")]
        for user, password in bad_logins:
            bad = Client(server)
            expect(f"login {user}:{password}", sasl_login(bad, user, password), -115)
            expect("closed after it", bad.closed(), True)
        for client in (c, stranger):
            client.end()


@scenario(on_reference=True)
def sasl_failure_allowed():
    with sasl_cluster(allowSaslFailedClients="true") as cluster:
        server = cluster.start().servers[0]
        c = Client(server)
        expect("failed login", sasl_login(c, "alice", "wrong"), 0)
        expect("goes on without one", c.whoami(), [("ip", "127.0.0.1")])
        c.end()


@scenario(on_reference=True)
def sasl_required():
    with sasl_cluster(sessionRequireClientSASLAuth="true", allowSaslFailedClients="true") as cluster:
        server = cluster.servers[0]
        server.start()
        wait_for("server", lambda: server.four_letters("ruok") == "imok")
        for what, code, body in (("ping", wire.PING, b""), ("read", wire.EXISTS, wire.text("/") + b"\0")):
            c = wait_for("a session", lambda: session_or_none(server))
            expect(f"{what} before login", c.call(code, body)[0], -124)
            expect("closed after it", c.closed(), True)
        c = Client(server)
        expect("a failed login where one is required", sasl_login(c, "alice", "wrong"), -124)
        expect("closed after it", c.closed(), True)
        c = Client(server)
        expect("login", sasl_login(c, "alice", "wonder"), 0)
        expect("then a write", c.create("/a"), 0)
        c.end()


def session_or_none(server):
    try:
        c = Client(server, seconds=3)
    except (OSError, wire.Closed, wire.Silence):
        return None
    if c.id != 0:
        return c
    c.close()
    return None


@scenario(on_reference=True)
def enforced_schemes():
    with Cluster(KIND, 1, {"enforce.auth.enabled": "true", "enforce.auth.schemes": "digest"}) as cluster:
        server = cluster.servers[0]
        server.start()
        wait_for("server", lambda: server.four_letters("ruok") == "imok")
        c = wait_for("a session", lambda: session_or_none(server))
        expect("create before a login", c.create("/a"), -124)
        expect("closed after it", c.closed(), True)
        c = Client(server)
        expect("addauth", c.add_auth("digest", b"u:p"), 0)
        expect("create after it", c.create("/a"), 0)
        c.end()
    with Cluster(KIND, 1, {"enforce.auth.enabled": "true", "enforce.auth.schemes": "digest, ip"}) as cluster:
        server = cluster.start().servers[0]
        c = Client(server)
        expect("an address is a login where ip is among the schemes", c.create("/a"), 0)
        c.end()


@scenario(on_reference=True)
def digest_disabled_and_super():
    digest = base64.b64encode(hashlib.sha1(b"super:pw").digest()).decode()
    with Cluster(KIND, 1, {"DigestAuthenticationProvider.superDigest": f"super:{digest}"}) as cluster:
        server = cluster.start().servers[0]
        c = Client(server)
        expect("create for nobody", c.create("/x", acl=[(31, "digest", "u:aaaa")]), 0)
        expect("read without rights", c.get("/x")[0], -102)
        expect("addauth super", c.add_auth("digest", b"super:pw"), 0)
        expect("read as super", c.get("/x")[0], 0)
        c.end()
    with Cluster(KIND, 1, {"DigestAuthenticationProvider.enabled": "false"}) as cluster:
        server = cluster.start().servers[0]
        c = Client(server)
        expect("an access list that names digest", c.create("/x", acl=[(31, "digest", "u:aaaa")]), -114)
        expect("addauth", c.add_auth("digest", b"u:p"), -115)
        expect("closed after it", c.closed(), True)


@scenario(on_reference=True)
def skip_acl():
    with Cluster(KIND, 1, {"skipACL": "yes"}) as cluster:
        server = cluster.start().servers[0]
        c = Client(server)
        expect("create for another", c.create("/x", b"data", acl=[(31, "digest", "u:aaaa")]), 0)
        expect("read it all the same", c.get("/x")[0], 0)
        expect("write it", c.set("/x", b"new"), 0)
        c.end()


@scenario(on_reference=True)
def sasl_zkcli():
    """The Java client itself, by its JAAS file."""
    with sasl_cluster() as cluster:
        server = cluster.start().servers[0]
        path = os.path.join(cluster.folder, "client.jaas")
        with open(path, "w") as f:
            f.write("Client { org.apache.zookeeper.server.auth.DigestLoginModule required\n"
                    'username="alice" password="wonder"; };\n')
        env = dict(os.environ, CLIENT_JVMFLAGS="-Xmx128m -XX:TieredStopAtLevel=1 -Xshare:auto "
                                               f"-Djava.security.auth.login.config={path}")
        done = subprocess.run([need("/usr/share/zookeeper/bin/zkCli.sh", "zookeeper"), "-server", server.host],
                              input="whoami\ncreate /a mine sasl:alice:cdrwa\nget /a\nquit\n", env=env, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, cwd=cluster.folder,
                              preexec_fn=die_with_parent)
        for line in ("sasl: alice", "Created /a", "mine"):
            if line not in done.stdout.splitlines():
                raise Broken(f"zkCli.sh did not say {line!r}:\n{done.stdout}")



REALM = "PADDOCK.TEST"


class Kdc:
    """A Kerberos server of our own on loopback: principals and their key tables."""

    def __init__(self, folder):
        self.folder = folder
        self.port = free_port()
        self.process = None
        self.conf = self.path("krb5.conf")
        self.env = dict(os.environ, KRB5_CONFIG=self.conf, KRB5_KDC_PROFILE=self.path("kdc.conf"))
        with open(self.conf, "w") as f:
            f.write(f"[libdefaults]\n default_realm = {REALM}\n dns_lookup_kdc = false\n dns_lookup_realm = false\n"
                    f" rdns = false\n dns_canonicalize_hostname = false\n udp_preference_limit = 1\n"
                    f"[realms]\n {REALM} = {{\n  kdc = 127.0.0.1:{self.port}\n }}\n"
                    f"[domain_realm]\n localhost = {REALM}\n")
        with open(self.path("kdc.conf"), "w") as f:
            f.write(f"[kdcdefaults]\n kdc_listen = 127.0.0.1:{self.port}\n kdc_tcp_listen = 127.0.0.1:{self.port}\n"
                    f"[realms]\n {REALM} = {{\n  database_name = {self.path('principal')}\n"
                    f"  key_stash_file = {self.path('stash')}\n  acl_file = {self.path('acl')}\n }}\n")
        self.run("/usr/sbin/kdb5_util", "create", "-s", "-r", REALM, "-P", "master")
        self.process = subprocess.Popen([need("/usr/sbin/krb5kdc", "krb5-kdc"), "-n", "-r", REALM,
                                         "-P", self.path("pid")], env=self.env, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, preexec_fn=die_with_parent)
        wait_for("the KDC", self.answers, 20)

    def path(self, name):
        return os.path.join(self.folder, name)

    def answers(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def run(self, *command):
        subprocess.run([need(command[0], "krb5-kdc, krb5-admin-server"), *command[1:]], env=self.env, check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=30)

    def keytab(self, principal, name):
        self.run("/usr/sbin/kadmin.local", "-r", REALM, "-q", f"addprinc -randkey {principal}@{REALM}")
        self.run("/usr/sbin/kadmin.local", "-r", REALM, "-q", f"ktadd -k {self.path(name)} {principal}@{REALM}")
        return self.path(name)

    def close(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()


def kerberos_section(name, keytab, principal):
    return (f"{name} {{ com.sun.security.auth.module.Krb5LoginModule required useKeyTab=true storeKey=true "
            f'useTicketCache=false keyTab="{keytab}" principal="{principal}@{REALM}"; }};\n')


@scenario(on_reference=False)
def sasl_kerberos():
    """The Java client logs in with a ticket: its whole principal is its name, or what the options leave of it."""
    for settings, name in (({}, f"alice/laptop@{REALM}"),
                           ({"kerberos.removeHostFromPrincipal": "true", "kerberos.removeRealmFromPrincipal": "true"},
                            "alice")):
        with Cluster(KIND, 1, {**settings, "superUser": name}) as cluster:
            server = cluster.servers[0]
            folder = os.path.join(cluster.folder, "kdc")
            os.mkdir(folder)
            kdc = Kdc(folder)
            try:
                with open(kdc.path("server.jaas"), "w") as f:
                    f.write(kerberos_section("Server", kdc.keytab("zookeeper/localhost", "zk.keytab"),
                                             "zookeeper/localhost"))
                with open(kdc.path("client.jaas"), "w") as f:
                    f.write(kerberos_section("Client", kdc.keytab("alice/laptop", "alice.keytab"), "alice/laptop"))
                with open(os.path.join(server.folder, "zoo.cfg"), "a") as f:
                    f.write(f"java.security.auth.login.config={kdc.path('server.jaas')}\n"
                            f"java.security.krb5.conf={kdc.conf}\n")
                cluster.start()
                env = dict(os.environ, CLIENT_JVMFLAGS="-Xmx128m -XX:TieredStopAtLevel=1 -Xshare:auto "
                           f"-Djava.security.auth.login.config={kdc.path('client.jaas')} "
                           f"-Djava.security.krb5.conf={kdc.conf}")
                done = subprocess.run([need("/usr/share/zookeeper/bin/zkCli.sh", "zookeeper"), "-server",
                                       f"localhost:{server.client_port}"], input="whoami\nquit\n", env=env, text=True,
                                      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60,
                                      cwd=cluster.folder, preexec_fn=die_with_parent)
                for line in (f"sasl: {name}", "super: "):
                    if line not in done.stdout.splitlines():
                        raise Broken(f"zkCli.sh did not say {line!r}:\n{done.stdout}")
            finally:
                kdc.close()


# ---- limits ----------------------------------------------------------------------------------------
@scenario(on_reference=True)
def limits_new_sessions():
    with Cluster(KIND, 1, {"connection_throttle_tokens": 3, "connection_throttle_fill_time": 600000}) as cluster:
        server = cluster.servers[0]
        server.start()
        wait_for("server", lambda: "Mode" in server.four_letters("srvr"))
        clients = [Client(server) for _ in range(3)]
        try:
            Client(server)
            raise Broken("a fourth session was made of three tokens")
        except wire.Closed:
            pass
        expect("the others are served", [c.ping() for c in clients], [0, 0, 0])
        for c in clients:
            c.end()


@scenario(on_reference=False)
def limits_silent_connections():
    with Cluster(KIND, 1, {"nio.sessionlessCnxnTimeout": 300}) as cluster:
        server = cluster.start().servers[0]
        silent = wire.Connection(server.client_port)
        begin = time.monotonic()
        c = Client(server)
        try:
            silent.receive(5)
        except wire.Closed:
            pass
        expect("closed soon", 0.2 < time.monotonic() - begin < 2, True)
        expect("one with a session stays", c.ping(), 0)
        c.end()


@scenario(on_reference=True)
def limits_large_requests():
    with Cluster(KIND, 1, {"largeRequestThreshold": 1000, "largeRequestMaxBytes": 150000}) as cluster:
        server = cluster.start().servers[0]
        c = Client(server)
        expect("one large request", c.create("/a", b"x" * 100000), 0)
        expect("and another, after it", c.create("/b", b"x" * 100000), 0)
        c.conn.send(b"".join(wire.frame(wire.request(n, wire.CREATE, wire.create_body(
            f"/c{n}", b"x" * 100000, wire.WORLD, 0))) for n in range(100, 103)))
        expect("too many at once: closed", c.closed(), True)
        c = Client(server)
        expect("others are served", c.exists("/a"), 0)
        c.end()


@scenario(on_reference=True)
def limits_outstanding():
    """With room for two requests, three clients that send without waiting are all answered, in order."""
    with Cluster(KIND, 1, {"globalOutstandingLimit": 2}) as cluster:
        server = cluster.start().servers[0]
        clients = [Client(server) for _ in range(3)]
        for i, c in enumerate(clients):
            c.conn.send(b"".join(wire.frame(wire.request(n, wire.CREATE, wire.create_body(
                f"/s{i}-{n}", b"", wire.WORLD, 0))) for n in range(1000)))
        for i, c in enumerate(clients):
            for n in range(1000):
                payload = c.conn.receive(20)
                expect(f"client {i}", (wire.header(payload)[0], wire.header(payload)[2]), (n, 0))
            c.close()


@scenario(on_reference=False)
def limits_stop_answers_what_was_begun():
    """SIGTERM amid 3000 writes of one client: what was answered is there at the next start, and nothing else."""
    with Cluster(KIND, 1, {}) as cluster:
        server = cluster.start().servers[0]
        c = Client(server)
        c.conn.send(b"".join(wire.frame(wire.request(n, wire.CREATE, wire.create_body(
            f"/n{n}", b"x" * 100, wire.WORLD, 0))) for n in range(3000)))
        c.conn.receive()
        server.process.terminate()
        answered = 1
        try:
            while True:
                c.conn.receive(10)
                answered += 1
        except wire.Closed:
            pass
        server.process.wait(20)
        cluster.restart(server)
        c = Client(server)
        names = c.call(wire.GET_CHILDREN, wire.text("/") + wire.boolean(False))[1][0]
        expect("nodes", len(names) - 1, answered)
        c.end()


@scenario(on_reference=False)
def initialize_file():
    with Cluster(KIND, 3, {"db.autocreate": "false"}) as cluster:
        paths = [os.path.join(s.folder, "data", "initialize") for s in cluster.servers]
        for s in cluster.servers:
            s.start()
        # they found each other and say so, and still none leads
        for s in cluster.servers:
            wait_for("two that wait", lambda: s.log_tail(1000).count("does not count for a new cluster") >= 2, 10)
        expect("no leader", [s.mode() for s in cluster.servers], [None] * 3)
        cluster.stop()
        for path in paths:
            open(path, "w").close()
        cluster.start()
        expect("the files are gone", [os.path.exists(p) for p in paths], [False] * 3)
        c = Client(cluster.leader())
        expect("create", c.create("/a", b"kept"), 0)
        c.close()
        lost = cluster.followers()[0]
        lost.stop()
        data = os.path.join(lost.folder, "data")
        for name in os.listdir(data):
            if name != "myid":
                shutil.rmtree(os.path.join(data, name)) if os.path.isdir(os.path.join(data, name)) \
                    else os.unlink(os.path.join(data, name))
        cluster.restart(lost)
        c = Client(lost)
        wait_for("its copy", lambda: c.exists("/a") == 0)
        c.close()

@scenario(on_reference=False)
def several_addresses():
    """Where the first address of a server leads nowhere, the second is dialled."""
    with Cluster(KIND, 3, {"multiAddress.enabled": "true", "cnxTimeout": 500, "quorumListenOnAllIPs": "true"}) as cluster:
        key = os.path.join(cluster.folder, "cluster.key")
        with open(key, "w") as f:
            f.write("0123456789abcdef" * 4)
        for s in cluster.servers:
            path = os.path.join(s.folder, "zoo.cfg")
            with open(path) as f:
                lines = f.read().splitlines()
            with open(path, "w") as f:
                for line in lines:
                    name, _, value = line.partition("=")
                    if name.startswith("server."):
                        nowhere = f"240.0.0.1:{free_port()}:{free_port()}"
                        line = f"{name}={NOWHERE.setdefault(name, nowhere)}|{value}"
                    f.write(line + "\n")
                f.write(f"paddock.peerKeyFile={key}\n")
        cluster.start()
        c = Client(cluster.leader())
        expect("create", c.create("/a"), 0)
        c.end()


# ---- local sessions, read-only mode ----------------------------------------------------------------
EPHEMERAL = 1


def zxid_of(client):
    client.send(wire.EXISTS, wire.text("/") + wire.boolean(False))
    return wire.header(client.reply()[1])[1]


def ephemeral_in_multi(path):
    return wire.multi([(wire.CREATE, wire.create_body(path, b"", wire.WORLD, EPHEMERAL))])


@scenario(on_reference=True)
def local_sessions():
    with Cluster(KIND, 3, {"localSessionsEnabled": "true"}) as cluster:
        cluster.start()
        for server in (cluster.followers()[0], cluster.leader()):
            c = Client(server)
            before = zxid_of(c)
            others = [Client(server) for _ in range(5)]
            expect("sessions take no zxid", zxid_of(c), before)
            expect("a write", c.create(f"/w{server.number}", b"x"), 0)
            expect("an ephemeral", c.create("/e", b"", EPHEMERAL), -120)
            err, body = c.call(wire.MULTI, ephemeral_in_multi("/e"))
            # followers of 3.8.0 say -112 instead
            expect("in a multi", (err, KIND == "reference" or body[0]), (0, KIND == "reference" or [("error", -120, -120)]))
            expect("which makes nothing", c.exists("/e"), -101)
            again = Client(server, session=c.id, password=c.password)
            expect("back on the same server", again.id, c.id)
            expect("the older connection goes", c.closed(), True)
            expect("with a wrong password", Client(server, session=c.id, password=b"1" * 16).id, 0)
            if KIND == "ours" or server is cluster.followers()[0]:
                elsewhere = next(s for s in cluster.servers if s is not server)
                expect("on another server", Client(elsewhere, session=c.id, password=c.password).id, 0)
            for other in others:
                other.end()
            if KIND == "ours":      # 3.8.0 dropped it at the wrong password
                again.end()
        server = cluster.followers()[0]
        c = Client(server, timeout=1000)
        c.close()
        wait_for("its end", lambda: Client(server, 1000, c.id, c.password).id == 0, 10, 2.2)


@scenario(on_reference=True)
def local_sessions_upgrade():
    with Cluster(KIND, 3, {"localSessionsEnabled": "true", "localSessionsUpgradingEnabled": "true"}) as cluster:
        cluster.start()
        server = cluster.followers()[0]
        for how in ("create", "multi"):
            c = Client(server)
            path = f"/e-{how}"
            if how == "create":
                expect("an ephemeral", c.create(path, b"", EPHEMERAL), 0)
            else:
                expect("an ephemeral in a multi", c.call(wire.MULTI, ephemeral_in_multi(path))[0], 0)
            expect("its owner", c.get(path)[1][1][8], c.id)
            expect("another one", c.create(path + "2", b"", EPHEMERAL), 0)
            elsewhere = next(s for s in cluster.servers if s is not server)
            moved = Client(elsewhere, session=c.id, password=c.password)
            expect("now it may move", moved.id, c.id)
            expect("and owns it", moved.exists(path), 0)
            moved.end()
            reader = Client(elsewhere)
            expect("gone with its session", (reader.exists(path), reader.exists(path + "2")), (-101, -101))
            reader.end()


@scenario(on_reference=True)
def read_only_mode():
    # without local sessions 3.8.0 answers -119 in place of a connect reply; ours needs none for it
    settings = {} if KIND == "ours" else {"localSessionsEnabled": "true"}
    with Cluster(KIND, 3, {"readonlymode.enabled": "true", **settings}) as cluster:
        cluster.start()
        survivor = cluster.servers[0]
        c = Client(survivor)
        expect("read-only, with a leader", (c.read_only, survivor.four_letters("isro")), (False, "rw"))
        expect("create", c.create("/a", b"x"), 0)
        for s in cluster.servers[1:]:
            s.kill()
        expect("a session is disconnected", c.closed(20), True)
        wait_for("read-only mode", lambda: survivor.four_letters("isro") == "ro", 30)
        expect("mode", survivor.mode(), "read-only")
        try:
            Client(survivor)
            raise Broken("one who did not ask for it was let in")
        except wire.Closed:
            pass
        r = Client(survivor, read_only=True)
        expect("told so", (r.read_only, r.id != 0), (True, True))
        expect("a read", r.get("/a")[1][0], b"x")
        if KIND == "ours":          # 3.8.0 refuses sessions of the ensemble
            back = Client(survivor, session=c.id, password=c.password, read_only=True)
            expect("the old session", (back.read_only, back.id), (True, c.id))
            expect("a read", back.get("/a")[1][0], b"x")
            expect("its end", back.call(wire.CLOSE_SESSION)[0], -119)
            back.close()
            for session, password in ((c.id, b"1" * 16), (c.id + 1000, b"1" * 16)):
                try:
                    Client(survivor, session=session, password=password, read_only=True)
                    raise Broken("a session was taken by a wrong password, or said to be gone")
                except wire.Closed:
                    pass
        for what, code, body in (("create", wire.CREATE, wire.create_body("/b", b"", wire.WORLD, 0)),
                                 ("delete", wire.DELETE, wire.text("/a") + wire.int32(-1)),
                                 ("multi", wire.MULTI, ephemeral_in_multi("/e")),
                                 ("sync", wire.SYNC, wire.text("/"))):
            expect(what, r.call(code, body)[0], -119)
        cluster.servers[1].start()
        expect("disconnected when there is a leader again", r.closed(30), True)
        cluster.wait_ready()
        writer = Client(survivor, read_only=True)
        expect("told so", writer.read_only, False)
        expect("a write", writer.set("/a", b"y"), 0)
        writer.end()


# ---- a state that is cut short while it serves ------------------------------------------------------
@scenario(on_reference=False)
def state_cut_short():
    """Pages that are gone from under a running server end it with the status for damage, and another start says why."""
    with Cluster(KIND, 1, {"paddock.overlayBytes": 65536}) as cluster:
        server = cluster.servers[0]
        cluster.start()
        c = Client(server)
        for i in range(3000):
            expect("a write", c.create(f"/n{i}", b"x" * 200), 0)
        state = os.path.join(server.folder, "data", "state-1", "data.mdb")
        wait_for("a commit", lambda: os.path.getsize(state) > 400_000, 10)
        os.truncate(state, 16384)

        def ended():
            try:
                c.exists(f"/n{random.randrange(3000)}")
            except (wire.Closed, wire.Silence, OSError):
                pass
            return not server.running
        wait_for("the server to end", ended, 20)
        expect("its status", server.process.returncode, 4)
        server.process = None
        server.start()
        wait_for("the server to end again", lambda: not server.running, 20)
        expect("its status when it is started again", server.process.returncode, 4)
        server.process = None


# ---- a full disk -----------------------------------------------------------------------------------
MEMORY_DISK = "/dev/shm"
MIB = 1 << 20


def in_memory(server, low_bytes):
    """Moves its data to a file system that nobody else fills."""
    folder = tempfile.mkdtemp(prefix="paddock-full-", dir=MEMORY_DISK)
    shutil.move(os.path.join(server.folder, "data"), os.path.join(folder, "data"))
    os.symlink(os.path.join(folder, "data"), os.path.join(server.folder, "data"))
    with open(os.path.join(server.folder, "zoo.cfg"), "a") as f:
        f.write(f"paddock.diskLowWaterBytes={low_bytes}\n")
    return folder


def free_bytes():
    st = os.statvfs(MEMORY_DISK)
    return st.f_bavail * st.f_frsize


def fill(folder, count):
    path = os.path.join(folder, "filler")
    fd = os.open(path, os.O_CREAT | os.O_WRONLY)
    try:
        os.posix_fallocate(fd, 0, count)
    finally:
        os.close(fd)
    return path


@scenario(on_reference=False)
def disk_full():
    with Cluster(KIND, 1, {}) as cluster:
        server = cluster.servers[0]
        folder = in_memory(server, free_bytes() - 512 * MIB)
        try:
            cluster.start()
            c = Client(server)
            expect("a write", c.create("/before", b"x"), 0)
            filler = fill(folder, 640 * MIB)
            wait_for("refusal", lambda: c.set("/before", b"y") == -1, 5)
            expect("create", c.create("/more"), -1)
            expect("multi", c.call(wire.MULTI, wire.multi([(wire.DELETE, wire.text("/before") + wire.int32(-1))]))[0],
                   -1)
            expect("a read", c.get("/before")[0], 0)
            expect("sync", c.call(wire.SYNC, wire.text("/"))[0], 0)
            try:
                Client(server)
                raise Broken("a session was made with the disk full")
            except wire.Closed:
                pass
            moved = Client(server, session=c.id, password=c.password)
            expect("a session may move", moved.id, c.id)
            os.unlink(filler)
            wait_for("writes again", lambda: moved.set("/before", b"z") == 0, 5)
            expect("nothing was done meanwhile", moved.exists("/more"), -101)
            moved.end()
        finally:
            shutil.rmtree(folder)


@contextlib.contextmanager
def low_disks(roomy):
    """Three servers in memory, of which so many followers are never low; the function to fill the disk, and the leader."""
    with Cluster(KIND, 3, {}) as cluster:
        folders = []
        try:
            for s in cluster.servers:
                folders.append(in_memory(s, free_bytes() - 512 * MIB))
            cluster.start()
            leader = cluster.leader()
            rich = cluster.followers()[:roomy]
            for s in rich:
                s.stop()
                with open(os.path.join(s.folder, "zoo.cfg"), "a") as f:
                    f.write("paddock.diskLowWaterBytes=0\n")
                cluster.restart(s)
            if cluster.leader() is not leader:
                raise NeverHappened("the leader changed while the others restarted one by one")
            yield cluster, leader, rich, lambda: fill(folders[0], 640 * MIB)
        finally:
            for folder in folders:
                shutil.rmtree(folder)


@scenario(on_reference=False)
def disk_full_leader():
    """It hands over: clients of all three go on with their sessions, and new ones come."""
    with low_disks(roomy=2) as (cluster, leader, _, fill_it):
        clients = [Client(s) for s in cluster.servers]
        for i, c in enumerate(clients):
            expect("a write", c.create(f"/before{i}", b"x"), 0)
        fill_it()
        wait_for("another leader", lambda: cluster.leader() is not leader, 10)
        for i, s in enumerate(cluster.servers):
            again = Client(s, session=clients[i].id, password=clients[i].password)
            expect("the session", again.id, clients[i].id)
            expect("a write", again.set(f"/before{i}", b"y"), 0)
            again.end()
            Client(s).end()


@scenario(on_reference=False)
def disk_full_majority():
    """Two disks of three are full: what clients of the third write is refused, too, with an answer."""
    with low_disks(roomy=1) as (_, _, rich, fill_it):
        c = Client(rich[0])
        expect("a write", c.create("/before", b"x"), 0)
        filler = fill_it()

        def refused():
            nonlocal c
            try:
                return c.set("/before", b"y") == -1
            except wire.Closed:  # the leader may have handed over to the other one, which had not noticed yet
                c = Client(rich[0], session=c.id, password=c.password)
                return False
        wait_for("refusal", refused, 10)
        expect("a read", c.get("/before")[0], 0)
        try:
            Client(rich[0])
            raise Broken("a session was made with the disks of a majority full")
        except wire.Closed:
            pass
        os.unlink(filler)
        wait_for("writes again", lambda: c.set("/before", b"z") == 0, 5)
        c.end()


# ---- who does harm ---------------------------------------------------------------------------------
def rss_mib(server):
    with open(f"/proc/{server.process.pid}/status") as f:
        for line in f:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) // 1024
    raise NeverHappened("no VmRSS")


@scenario(on_reference=False)
def slow_readers():
    """100 clients ask for 500 lists of 520 kB each and never read; half of them write behind it."""
    with Cluster(KIND, 1, {"paddock.replyQueuesBytes": "64MiB"}) as cluster:
        server = cluster.start().servers[0]
        good = Client(server)
        good.create("/big")
        name = "x" * 480
        for n in range(1060):
            good.send(wire.CREATE, wire.create_body(f"/big/{name}{n:04}", b"", wire.WORLD, 0))
        for n in range(1060):
            good.reply()
        expect("bytes of a list", 500000 < sum(4 + len(x) for x in good.call(
            wire.GET_CHILDREN, wire.text("/big") + wire.boolean(False))[1][0]) < 540000, True)
        before = rss_mib(server)
        body = wire.text("/big") + wire.boolean(False)
        asks = b"".join(wire.frame(wire.request(n, wire.GET_CHILDREN, body)) for n in range(500))
        write = wire.frame(wire.request(500, wire.SET_DATA, wire.text("/big") + wire.buffer(b"x") + wire.int32(-1)))
        bad = [Client(server) for _ in range(100)]
        most = before
        for i, b in enumerate(bad):
            b.conn.sock.setblocking(False)
            try:
                b.conn.sock.send(asks + (write if i % 2 else b""))
            except OSError:
                pass                # closed already, or full
            most = max(most, rss_mib(server))
        for _ in range(50):
            begin = time.monotonic()
            expect("the good one", good.set("/big", b"y"), 0)
            expect("is served soon", time.monotonic() - begin < 2, True)
            most = max(most, rss_mib(server))
        print(f"    RSS {before} MiB before, {most} MiB at most, {rss_mib(server)} MiB after", flush=True)
        closed = [line for line in server.four_letters("mntr").splitlines() if "slow_readers_closed" in line]
        expect("some were closed for it", len(closed) == 1 and int(float(closed[0].split("\t")[1])) > 0, True)
        expect("RSS stays near the limit", most - before < 64 + 64, True)
        slow = Client(server)       # not a reader in haste, but one who reads
        for n in range(20):
            slow.send(wire.GET_CHILDREN, body)
        for n in range(20):
            expect("a list", slow.reply(20)[0], 0)
        slow.end()
        good.end()


def garbage(rng, port_kind):
    """Bytes of no good: noise, frames with noise in them, good frames cut, doubled or changed."""
    if port_kind == "client" and rng.random() < 0.7:
        out = b"" if rng.random() < 0.1 else wire.frame(wire.connect_request(rng.randrange(-5, 60000)))
        for _ in range(rng.randrange(1, 20)):
            what = rng.random()
            code = rng.choice(list(range(-12, 25)) + list(range(99, 110)))
            if code in (wire.CREATE_SESSION,):
                continue
            path = rng.choice(["/", "/a", "/zookeeper", "a", "", "/a/../b", "/" + "x/" * 500 + "y", None])
            body = rng.choice([rng.randbytes(rng.randrange(60)), wire.text(path) + b"\0", wire.text(path),
                               wire.create_body(path, b"d", wire.WORLD, rng.randrange(-2, 9)),
                               wire.multi([(wire.CREATE, wire.create_body(path, None, wire.WORLD, 0))] * 3),
                               wire.int32(2 ** 31 - 1) + b"x"])
            frame = wire.frame(wire.request(rng.randrange(-9, 2 ** 31), code, body))
            if what < 0.1:
                frame = frame[:rng.randrange(len(frame))]
            elif what < 0.2:
                at = rng.randrange(len(frame))
                frame = frame[:at] + rng.randbytes(1) + frame[at + 1:]
            out += frame
        return out
    if port_kind == "admin" and rng.random() < 0.7:
        return (rng.choice([b"GET", b"POST", b"PUT", b"\0", b"HEAD", b"G" * 5000]) + b" " +
                rng.choice([b"/commands/mntr", b"/commands/" + rng.randbytes(20), b"/" * 9000, b"/metrics", b"*"]) +
                b" HTTP/1." + rng.choice([b"0", b"1", b"9"]) + b"\r\n" +
                rng.choice([b"", b"Host: x\r\n", b"Content-Length: 99999999999\r\n", b"X: " + b"y" * 20000 + b"\r\n",
                            b"Transfer-Encoding: chunked\r\n", rng.randbytes(50) + b"\r\n"]) + b"\r\n" +
                rng.randbytes(rng.randrange(100)))
    return rng.choice([rng.randbytes(rng.randrange(1, 3000)), b"\0\0\0\x2c" + rng.randbytes(44),
                       b"\x7f\xff\xff\xff" + b"x" * 100, b"\xff\xff\xff\xff", b"\0" * 1000, b"stat", b"mntr\n",
                       b"\x16\x03\x01\x02\x00\x01" + rng.randbytes(500),
                       b"PKRP" + rng.randbytes(200)])


@scenario(on_reference=False)
def garbage_on_every_port():
    """3000 connections full of it to one server of three, on three ports; the cluster goes on."""
    seed = int(os.environ.get("SEED", "1"))
    rng = random.Random(seed)
    admin_port = free_port()
    with Cluster(KIND, 3, {}) as cluster:
        for s in cluster.servers[:1]:
            with open(os.path.join(s.folder, "zoo.cfg"), "a") as f:
                f.write(f"admin.enableServer=true\nadmin.serverAddress=127.0.0.1\nadmin.serverPort={admin_port}\n")
        cluster.start()
        server = cluster.servers[0]
        good = Client(server)
        expect("create", good.create("/good", b"0"), 0)
        ports = {"client": server.client_port, "peer": server.peer_port, "admin": admin_port}
        before = most = rss_mib(server)
        pid = server.process.pid
        open_ones = []
        for n in range(3000):
            kind = rng.choice(["client", "client", "peer", "admin"])
            try:
                s = socket.create_connection(("127.0.0.1", ports[kind]), 5)
                s.settimeout(5)
                s.sendall(garbage(rng, kind))
            except OSError:
                s.close()
                continue            # closed on us: its right
            open_ones.append(s)
            if len(open_ones) > 100:
                open_ones.pop(rng.randrange(len(open_ones))).close()
            if n % 100 == 0:
                expect(f"seed {seed}, connection {n}: the good one writes", good.set("/good", str(n).encode()), 0)
                expect("and reads", good.get("/good")[1][0], str(n).encode())
                most = max(most, rss_mib(server))
        for s in open_ones:
            s.close()
        expect("all servers run", [s.running for s in cluster.servers], [True] * 3)
        expect("the same process", server.process.pid, pid)
        print(f"    RSS {before} MiB before, {most} MiB at most", flush=True)
        expect("RSS", most - before < 100, True)
        other = Client(cluster.servers[1])
        expect("sync", other.call(wire.SYNC, wire.text("/"))[0], 0)
        expect("the others agree", other.get("/good")[1][0], good.get("/good")[1][0])
        stats = dict(line.split("\t") for line in server.four_letters("mntr").splitlines())
        counted = sum(int(float(v)) for k, v in stats.items() if "bad_frames" in k or "unrecoverable" in k)
        expect("it left a trace", counted > 100, True)
        good.end()
        other.end()


# ---- running -------------------------------------------------------------------------------------------
def main():
    on_signals_exit()
    wanted = [w for w in os.environ.get("ONLY", "").split(",") if w]
    passed = failed = skipped = 0
    for name, on_reference, run in SCENARIOS:
        if wanted and not any(name.startswith(w) for w in wanted):
            continue
        if KIND == "reference" and not on_reference:
            skipped += 1
            print(f"  {name}: ours alone", flush=True)
            continue
        begin = time.monotonic()
        try:
            run()
            passed += 1
            print(f"  {name} ok ({time.monotonic() - begin:.1f} s)", flush=True)
        except (Broken, NeverHappened, wire.Closed, wire.Silence, wire.Malformed, OSError,
                subprocess.TimeoutExpired) as e:
            failed += 1
            print(f"  {name} FAILED: {type(e).__name__} {e}", flush=True)
            if not isinstance(e, Broken):
                traceback.print_exc()
    print(f"features: {passed} passed, {failed} failed, {skipped} not for {KIND}")
    return 0 if failed == 0 and passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
