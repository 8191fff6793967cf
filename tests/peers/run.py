#!/usr/bin/python3
"""make peers-check: servers prove to each other who they are, by a shared key or by certificates; others stay out.

    ONLY=key    scenarios whose name begins with one of these
"""
import hashlib
import os
import re
import socket
import struct
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "clients"))
from cluster import Cluster, die_with_parent, need, our_command, wait_for  # noqa: E402
from scenarios import Broken, expect, run, scenario  # noqa: E402
from kazoo.client import KazooClient  # noqa: E402

OPENSSL = "/usr/bin/openssl"


def set_keys(server, **keys):
    """Write keys (with _ for .) into its zoo.cfg, in place of what they were."""
    path = os.path.join(server.folder, "zoo.cfg")
    with open(path) as f:
        lines = f.read().splitlines()
    for key, value in keys.items():
        key = key.replace("_", ".")
        lines = [x for x in lines if not x.startswith(key + "=")] + [f"{key}={value}"]
    with open(path, "w") as f:
        f.write("\n".join(lines) + "\n")


def hosts_apart(cluster):
    """Server N at 127.0.0.N, as if each were a machine of its own."""
    for server in cluster.servers:
        set_keys(server, **{f"server_{s.number}": f"127.0.0.{s.number}:{s.peer_port}:{s.election_port}"
                            for s in cluster.servers})


def key_file(cluster, name):
    path = os.path.join(cluster.folder, name)
    with open(path, "w") as f:
        f.write(os.urandom(32).hex() + "\n")
    return path


def openssl(folder, *arguments):
    done = subprocess.run([need(OPENSSL, "openssl"), *arguments], cwd=folder, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=60)
    expect(f"openssl {arguments[0]}: status, after saying {done.stdout!r}", done.returncode, 0)


def authority(folder, name):
    openssl(folder, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
            "-subj", f"/CN={name}", "-addext", "basicConstraints=critical,CA:TRUE", "-keyout", f"{name}.key",
            "-out", f"{name}.pem")


def certificate(folder, signer, name, names):
    """name.pem: key and certificate, signed by `signer`, for these subject alternative names."""
    with open(os.path.join(folder, f"{name}.ext"), "w") as f:
        f.write(f"subjectAltName={names}\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth,clientAuth\n")
    openssl(folder, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
            "-keyout", f"{name}.key", "-out", f"{name}.csr")
    openssl(folder, "x509", "-req", "-days", "30", "-in", f"{name}.csr", "-CA", f"{signer}.pem", "-CAkey",
            f"{signer}.key", "-CAcreateserial", "-extfile", f"{name}.ext", "-out", f"{name}.crt")
    path = os.path.join(folder, f"{name}.pem")
    with open(path, "w") as out:
        for part in ("crt", "key"):
            with open(os.path.join(folder, f"{name}.{part}")) as f:
                out.write(f.read())
    return path


def connect(*servers):
    client = KazooClient(",".join(s.host for s in servers), timeout=10)
    client.start(timeout=20)
    return client


def end(client):
    client.stop()
    client.close()


def logged(server, pattern):
    with open(server.log_path, errors="replace") as f:
        text = f.read()
    return re.search(pattern, text[text.rindex("---- start"):])


def kill_one_and_go_on(cluster):
    """What a cluster is for, over whatever the peers speak."""
    victim = cluster.leader()
    client = connect(*cluster.servers)
    client.create("/before", b"1")
    victim.kill()
    others = [s for s in cluster.servers if s is not victim]
    wait_for("another leader", lambda: "leader" in [s.mode() for s in others], 30)
    other = connect(*others)
    other.create("/while", b"2")
    end(other)
    cluster.restart(victim)
    back = connect(victim)
    back.sync("/")
    expect("what the victim holds", (back.get("/before")[0], back.get("/while")[0]), (b"1", b"2"))
    end(back)
    end(client)


WELCOME_BYTES = 27  # store/peer_greet.h


def hello(me, other):
    cluster_id = int.from_bytes(hashlib.sha256(b"paddock").digest()[:8], "little") | 1
    return struct.pack("<IIQQQQ", 0x4b444150, 2, cluster_id, me, other, 0)


def welcome_of(server, host="127.0.0.1"):
    """What the peer port answers to a greeting in plain TCP that is right in everything else."""
    with socket.create_connection((host, server.peer_port), 5) as s:
        s.settimeout(15)
        s.sendall(hello(server.number % 3 + 1, server.number))
        answer = b""
        try:
            while len(answer) < WELCOME_BYTES:
                part = s.recv(64)
                if not part:
                    break
                answer += part
        except ConnectionResetError:
            pass
        return answer


def stays_out(stranger, others):
    """It never serves, and the others go on without it."""
    client = connect(*others)
    begin = time.monotonic()
    at = 0
    while time.monotonic() < begin + 3:
        expect(f"server {stranger.number} serves", stranger.mode(), None)
        client.create(f"/without-{at}", b"")
        at += 1
    end(client)


@scenario
def plain_on_loopback():
    """The greeting of this test is right: a server without security answers it."""
    with Cluster("ours", 3) as cluster:
        cluster.start()
        expect("bytes of its welcome", len(welcome_of(cluster.servers[0])), WELCOME_BYTES)
        cluster.stop()


@scenario
def key_shared():
    with Cluster("ours", 3) as cluster:
        key = key_file(cluster, "cluster.key")
        for s in cluster.servers:
            set_keys(s, paddock_peerKeyFile=key)
        cluster.start()
        kill_one_and_go_on(cluster)
        for s in cluster.servers:
            answer = welcome_of(s)      # a TLS alert at the most
            if len(answer) >= 10 or answer[:1] == b"\x01":
                raise Broken(f"server {s.number} answers {answer!r} to a plain greeting")
        stranger = cluster.servers[2]
        others = cluster.servers[:2]
        stranger.stop()
        set_keys(stranger, paddock_peerKeyFile=key_file(cluster, "other.key"))
        wait_for("two go on", lambda: "leader" in [s.mode() for s in others], 30)
        stranger.start()
        stays_out(stranger, others)
        wait_for("the stranger's log says why", lambda: logged(stranger, r'peer\.down .*reason="[^\n]*TLS'), 10)
        set_keys(stranger, paddock_peerKeyFile=key)
        stranger.stop()
        cluster.restart(stranger)
        cluster.stop()


def certified(cluster):
    """Certificates for server N at 127.0.0.N, from one authority."""
    hosts_apart(cluster)
    authority(cluster.folder, "ca")
    for s in cluster.servers:
        set_keys(s, paddock_peerCert=certificate(cluster.folder, "ca", f"peer{s.number}", f"IP:127.0.0.{s.number}"),
                 paddock_peerCA=os.path.join(cluster.folder, "ca.pem"))


@scenario
def certificates():
    with Cluster("ours", 3) as cluster:
        certified(cluster)
        cluster.start()
        kill_one_and_go_on(cluster)
        for s in cluster.servers:
            answer = welcome_of(s, f"127.0.0.{s.number}")
            if len(answer) >= 10 or answer[:1] == b"\x01":
                raise Broken(f"server {s.number} answers {answer!r} to a plain greeting")
        stranger = cluster.servers[2]
        others = cluster.servers[:2]
        stranger.stop()
        authority(cluster.folder, "other")
        set_keys(stranger, paddock_peerCert=certificate(cluster.folder, "other", "stranger", "IP:127.0.0.3"))
        wait_for("two go on", lambda: "leader" in [s.mode() for s in others], 30)
        stranger.start()
        stays_out(stranger, others)
        cluster.stop()


@scenario
def certificates_of_another_server():
    """Signed by the right authority, with another server's name: refused by those it dials, too."""
    with Cluster("ours", 3) as cluster:
        certified(cluster)
        cluster.start()
        stranger = cluster.servers[2]
        others = cluster.servers[:2]
        stranger.stop()
        wait_for("two go on", lambda: "leader" in [s.mode() for s in others], 30)
        set_keys(stranger, paddock_peerCert=os.path.join(cluster.folder, "peer2.pem"))
        stranger.start()
        stays_out(stranger, others)
        for s in others:
            wait_for(f"server {s.number} says why", lambda: logged(
                s, r"peer\.refused .*says it is server 3, but its certificate \(CN=peer2\) does not carry that "
                   r"server's name 127\.0\.0\.3"), 10)
        # The one way to do without: said in the file, on every server.
        for s in cluster.servers:
            s.stop()
            set_keys(s, ssl_quorum_hostnameVerification="false")
        cluster.start()
        cluster.stop()


@scenario
def certificates_read_again():
    """SIGHUP: new connections between servers use the new certificates."""
    with Cluster("ours", 3) as cluster:
        certified(cluster)
        cluster.start()
        authority(cluster.folder, "ca2")
        bundle = os.path.join(cluster.folder, "ca.pem")
        with open(os.path.join(cluster.folder, "ca2.pem")) as new, open(bundle, "a") as f:
            f.write(new.read())
        for s in cluster.servers:       # first everybody trusts both, then certificates change
            s.signal(1)
            wait_for("it read them", lambda: logged(s, r"node\.reload"), 10)
        for s in cluster.servers:
            certificate(cluster.folder, "ca2", f"peer{s.number}", f"IP:127.0.0.{s.number}")
            s.signal(1)
        wait_for("they read them", lambda: all(len(re.findall("node.reload", open(s.log_path).read())) == 2
                                               for s in cluster.servers), 10)
        presented = subprocess.run(
            f"{OPENSSL} s_client -connect 127.0.0.1:{cluster.servers[0].peer_port} -cert peer2.pem -key peer2.pem "
            f"</dev/null 2>/dev/null | {OPENSSL} x509 -noout -issuer", shell=True, cwd=cluster.folder, text=True,
            stdout=subprocess.PIPE, timeout=30).stdout
        expect("issuer of what server 1 presents", presented.strip(), "issuer=CN = ca2")
        kill_one_and_go_on(cluster)
        cluster.stop()


@scenario
def nothing_over_the_network():
    """Addresses that are not loopback, and neither key nor certificate: it does not start, and says the cure."""
    with Cluster("ours", 3) as cluster:
        server = cluster.servers[0]
        set_keys(server, server_2="192.0.2.7:2888:3888")
        done = subprocess.run(our_command(os.path.join(server.folder, "zoo.cfg")), text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=30, preexec_fn=die_with_parent)
        expect("status", done.returncode, 2)
        said = [x for x in done.stderr.splitlines() if x.startswith("paddock-store: ")]
        expect("sentences", len(said), 1)
        for word in ("openssl rand -hex 32 > cluster.key", "paddock.peerKeyFile=cluster.key"):
            if word not in said[0]:
                raise Broken(f"the cure lacks {word!r}: {said[0]}")


if __name__ == "__main__":
    sys.exit(run("peers"))
