"""Four-letter words, AdminServer and metrics: ours beside the reference's, key by key and line by line.

Alone and with three servers, after the same story: sessions, ephemerals, watches, 300 writes. What may differ is in
intended.py, each with its reason; anything else ends this with status 1.
"""
import http.client
import json
import os
import re
import socket
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "clients"), os.path.join(HERE, "..", "diff")]

import cluster  # noqa: E402
import intended  # noqa: E402
import metrics_doc  # noqa: E402
import wire  # noqa: E402

WORDS = "ruok srvr stat mntr conf cons crst dump envi isro srst wchs wchc wchp dirs hash gtmk".split()
MASK = b"\0\0\0\0\0\0\x01\x32"
COMMANDS = {
    "configuration": "conf config", "connection_stat_reset": "crst", "connections": "cons", "dirs": "", "dump": "",
    "environment": "env envi", "get_trace_mask": "gtmk", "hash": "", "initial_configuration": "icfg",
    "is_read_only": "isro", "last_snapshot": "lsnp", "leader": "lead", "monitor": "mntr",
    "observer_connection_stat_reset": "orst", "observers": "obsr", "ruok": "", "server_stats": "srvr",
    "set_trace_mask": "stmk", "stat_reset": "srst", "stats": "stat", "system_properties": "sysp", "voting_view": "",
    "watch_summary": "wchs", "watches": "wchc", "watches_by_path": "wchp", "zabstate": "",
}
RESETS = {"connection_stat_reset", "stat_reset", "crst", "srst"}  # after everything that they would reset

checks = 0
differences = []
used = set()


def differ(text):
    differences.append(text)
    print(f"DIFFERENT {text}", flush=True)


def check(where, what, reference, ours):
    global checks
    checks += 1
    if reference != ours:
        differ(f"{where}: {what}: the reference has {reference!r}, ours {ours!r}")


def explained(table, name, where, key):
    for row in table:
        if where in row[0].split() and re.fullmatch(row[1], key):
            used.add((name, row[0], row[1]))
            return True
    return False


def compare_maps(where, label, reference, ours):
    """Two dicts of key -> type or value: every key on both sides, and alike."""
    global checks
    for key in sorted(reference.keys() | ours.keys()):
        checks += 1
        if key not in ours:
            if not explained(intended.MISSING, "MISSING", where, key):
                differ(f"{label} {where}: {key} is missing")
        elif key not in reference:
            if not explained(intended.EXTRA, "EXTRA", where, key):
                differ(f"{label} {where}: {key} is there, but not in the reference")
        elif reference[key] != ours[key] and not explained(intended.CHANGED, "CHANGED", where, key):
            differ(f"{label} {where}: {key}: the reference has {reference[key]!r}, ours {ours[key]!r}")


# ---- asking -------------------------------------------------------------------------------------
def ask(server, word, more=b""):
    with socket.create_connection(("127.0.0.1", server.client_port), 10) as s:
        s.sendall(word.encode() + more)
        answer = b""
        while True:
            part = s.recv(65536)
            if not part:
                return answer.decode()
            answer += part


def get(server, path, method="GET"):
    c = http.client.HTTPConnection("127.0.0.1", server.admin_port, timeout=10)
    c.request(method, path)
    r = c.getresponse()
    body = r.read().decode()
    c.close()
    return r.status, r.getheader("Content-Type"), body


def command(server, name):
    status, kind, body = get(server, f"/commands/{name}")
    if status != 200 or kind != "application/json":
        return {"status": status}
    return json.loads(body)


# ---- shapes -------------------------------------------------------------------------------------
def shape(line):
    """A line without what changes: numbers, times, addresses, paths of nodes, our version."""
    line = re.sub(r"3\.8\.0-.*, built on \S+ \S+ UTC", "VERSION", line)
    line = re.sub(r"\w{3} \w{3} \d\d \d\d:\d\d:\d\d \w+ \d{4}", "DATE", line)
    line = re.sub(r"/?127\.0\.0\.1:\d+", "ADDRESS", line)
    line = re.sub(r"\[[0-9a-f]+\]\(queued", "[OPS](queued", line)
    line = re.sub(r"0x[0-9a-f]+", "HEX", line)
    line = re.sub(r"^[0-9a-f]+: -?\d+$", "ZXID: DIGEST", line)
    line = re.sub(r"\b\d+\.\d+\b", "REAL", line)
    line = re.sub(r"(?<![A-Za-z])-?\d+", "N", line)
    return re.sub(r"^(\t?)/\S*$", r"\1PATH", line)


def shapes(text):
    """The shapes of an answer's lines in order of their first coming, and whether its last line ends."""
    seen = []
    for line in text.split("\n")[:-1]:
        if shape(line) not in seen:
            seen.append(shape(line))
    return seen, shape(text.split("\n")[-1])


def mntr_keys(text):
    keys = {}
    for line in text.splitlines():
        m = re.fullmatch(r"zk_(\w+)\t(.*)", line)
        if m is None:
            differ(f"mntr: a line that is no key and value: {line!r}")
            continue
        keys[m[1]] = shape(m[2])
    return {k: "N" if v == "REAL" and not k.startswith("avg_") else v for k, v in keys.items()}


def types(value, prefix=""):
    """{"server_stats.uptime": "int"}; of a list the first item, of maps keyed by ids and paths any one."""
    out = {}
    if isinstance(value, dict):
        for key, v in value.items():
            name = "ID" if re.fullmatch(r"-?\d+", key) else "PATH" if key.startswith("/") else key
            out[prefix + name] = type(v).__name__
            out.update(types(v, f"{prefix}{name}."))
    elif isinstance(value, list) and value:
        out[prefix + "[]"] = type(value[0]).__name__
        out.update(types(value[0], prefix + "[]."))
    return out


# ---- the story ----------------------------------------------------------------------------------
class Session:
    def __init__(self, server):
        self.connection = wire.Connection(server.client_port)
        self.connection.send(wire.frame(wire.connect_request(timeout=30000)))
        assert wire.decode_connect(self.connection.receive())[2] != 0
        self.xid = 0

    def call(self, opcode, body):
        self.xid += 1
        self.connection.send(wire.frame(wire.request(self.xid, opcode, body)))
        while True:
            payload = self.connection.receive()
            if wire.header(payload)[0] == self.xid:
                return wire.header(payload)[2]

    def create(self, path, data=b"", flags=0):
        err = self.call(wire.CREATE, wire.create_body(path, data, wire.WORLD, flags))
        assert err == 0, (path, err)


def tell_story(servers):
    """Leaves its sessions open: they are what the commands show."""
    first, last = Session(servers[0]), Session(servers[-1])
    first.create("/app")
    first.create("/app/x", b"data")
    first.create("/zookeeper/quota/app")
    first.create("/zookeeper/quota/app/zookeeper_limits", b"count=1000,bytes=-1")
    first.create("/zookeeper/quota/app/zookeeper_stats", b"count=2,bytes=4")
    for name in ("e1", "e2"):
        first.create(f"/app/{name}", flags=1)
    last.create("/app/e3", flags=1)
    for s in (first, last):
        for opcode, path in ((wire.SYNC, ""), (wire.GET_DATA, "/app/x"), (wire.EXISTS, "/app/none"),
                             (wire.GET_CHILDREN, "/app"), (wire.GET_DATA, "/app/e3")):
            if opcode == wire.SYNC:
                s.call(opcode, wire.text("/app"))
            else:
                s.call(opcode, wire.text(path) + wire.boolean(True))
    for i in range(300):
        first.call(wire.SET_DATA, wire.text("/app/e1") + wire.buffer(b"v" * i) + wire.int32(-1))
    for s in (first, last):     # every server has seen it all, and every session did something last
        s.call(wire.SYNC, wire.text("/app"))
        s.call(wire.EXISTS, wire.text("/app/e2") + wire.boolean(True))
    return first, last


# ---- comparing one server with one --------------------------------------------------------------
def compare_words(label, reference, ours):
    for word in sorted(WORDS, key=lambda w: w in RESETS):
        a, b = ask(reference, word), ask(ours, word)
        if word == "mntr":
            compare_maps(word, label, mntr_keys(a), mntr_keys(b))
        elif word in ("conf", "envi"):
            check(label, f"{word}, last line", a.endswith("\n"), b.endswith("\n"))
            for text in (a, b):
                if word == "envi" and not text.startswith("Environment:\n"):
                    differ(f"{label} envi begins with {text[:20]!r}")
            compare_maps(word, label, *({k: (v if word == "conf" and "ort" not in k and
                                             k not in ("version", "serverId") and not k.startswith("server.") else "") for k, _, v in
                                         (line.partition("=") for line in text.splitlines())} for text in (a, b)))
        else:
            (lines_a, end_a), (lines_b, end_b) = shapes(a), shapes(b)
            for where, line, _ in intended.SHAPES:
                if where == word and (line in lines_a) != (line in lines_b):
                    used.add(("SHAPES", where, line))
                    lines_a, lines_b = ([s for s in side if s != line] for side in (lines_a, lines_b))
            if word == "cons":      # the reference keeps its connections in no order
                lines_a, lines_b = sorted(lines_a), sorted(lines_b)
            check(label, f"{word}, lines", lines_a, lines_b)
            check(label, f"{word}, its end", end_a, end_b)
    for more in (MASK, MASK[::-1]):
        check(label, "stmk", ask(reference, "stmk", more), ask(ours, "stmk", more))
        check(label, "gtmk after it", ask(reference, "gtmk"), ask(ours, "gtmk"))


def compare_commands(label, reference, ours):
    for name, aliases in sorted(COMMANDS.items(), key=lambda item: item[0] in RESETS):
        for one in [name] + aliases.split():
            a, b = command(reference, one), command(ours, one)
            where = name if one == name else f"{one}, an alias"
            check(label, f"{where}, command and error", (a.get("command"), a.get("error")),
                  (b.get("command"), b.get("error")))
            check(label, f"{where}, their places", list(a)[-2:], list(b)[-2:])
            if one != name:
                continue
            compare_maps(name, label, types(a), types(b))
            if name == "configuration":
                own = ("client_port", "server_id")
                compare_maps(name, label, *({k: v for k, v in d.items() if k not in own} for d in (a, b)))
    for name in ("nosuch", "ruok/x", "nosuch%20x", "set_trace_mask?traceMask=abc", "stmk?traceMask=12", "gtmk"):
        check(label, name, command(reference, name), command(ours, name))
    for path in ("/commands", "/commands/"):
        check(label, f"GET {path}", get(reference, path)[2].rstrip(), get(ours, path)[2].rstrip())
    for method, path in (("GET", "/"), ("GET", "/nothing"), ("POST", "/commands/ruok"), ("PUT", "/commands/ruok"),
                         ("HEAD", "/commands/ruok"), ("TRACE", "/commands/ruok")):
        check(label, f"{method} {path}, status", get(reference, path, method)[0], get(ours, path, method)[0])


def prometheus_names(server):
    status, kind, body = get(server, "/metrics")
    check("prometheus", "status and type", (200, True), (status, kind.startswith("text/plain; version=0.0.4")))
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", body, re.M))
    samples = re.findall(r"^([a-z_0-9]+)(?:\{[^}]*\})? (\S+)$", body, re.M)
    check("prometheus", "lines that are no sample", [],
          [line for line in body.splitlines() if not re.match(r"#|[a-z_0-9]+(\{[^}]*\})? -?[0-9.NaE+-]+$", line)])
    return kinds, {name for name, _ in samples}


def compare_prometheus(leader):
    """Debian's package lacks the Prometheus provider: its names are those in the table, taken from the source."""
    kinds, samples = prometheus_names(leader)
    with open(os.path.join(HERE, "..", "store", "zookeeper_metrics.tbl")) as f:
        rows = re.findall(r'^ZK_METRIC\("(\w+)", (\w+)\)', f.read(), re.M)
    assert len(rows) > 150
    for name, kind in rows:
        if kind.endswith("_SET") and name not in kinds:
            continue    # shown once there is a key
        want = "counter" if kind.startswith("COUNTER") else "gauge" if kind.startswith("GAUGE") else "summary"
        check("prometheus", name, want, kinds.get(name))
        if want == "summary":
            check("prometheus", f"{name}_count and _sum", {f"{name}_count", f"{name}_sum"},
                  {f"{name}_count", f"{name}_sum"} & samples)


# ---- clusters -----------------------------------------------------------------------------------
def reference_command(config_path):
    """As in cluster.py, with the one jar that the admin server lacks in Debian's package."""
    command = plain_reference(config_path)
    at = command.index("-cp") + 1
    command[at] += ":" + cluster.need(f"{cluster.JAVA_LIB}/servlet-api.jar", "libservlet-api-java")
    return command


plain_reference = cluster.COMMANDS["reference"]
cluster.COMMANDS["reference"] = reference_command


def make(kind, count, settings=None):
    made = cluster.Cluster(kind, count, {"admin.enableServer": "true", **(settings or {})})
    for server in made.servers:
        server.admin_port = cluster.free_port()
        with open(os.path.join(server.folder, "zoo.cfg"), "a") as f:
            f.write(f"admin.serverPort={server.admin_port}\n")
    return made


def admin_answers(server):
    try:
        return get(server, "/commands")[0] == 200
    except OSError:
        return False


def start_both(reference, ours):
    """At once: the machine starts them side by side."""
    for c in (reference, ours):
        for server in c.servers:
            server.start()
    for c in (reference, ours):
        c.wait_ready()
        for server in c.servers:
            cluster.wait_for(f"{c.kind} admin server", lambda: admin_answers(server))


def run_serving(count):
    with make("reference", count) as reference, make("ours", count) as ours:
        start_both(reference, ours)
        open_sessions = []
        for c in (reference, ours):
            leader = c.leader()
            c.order = [leader] + [s for s in c.servers if s is not leader]
            open_sessions.append(tell_story(c.order))
        for role, a, b in zip(("leader" if count > 1 else "standalone", "follower"), reference.order, ours.order):
            compare_words(role, a, b)
        for c in (reference, ours):     # the words have reset what there was
            open_sessions.append(tell_more(c.order))
        for role, a, b in zip(("leader" if count > 1 else "standalone", "follower"), reference.order, ours.order):
            compare_commands(role, a, b)
        if count > 1:
            compare_prometheus(ours.order[0])


def tell_more(servers):
    first, last = Session(servers[0]), Session(servers[-1])
    for s in (first, last):
        for path in ("/app", "/app/x"):
            s.call(wire.EXISTS, wire.text(path) + wire.boolean(True))
    return first, last


def run_alone_of_three():
    """One of three servers: there is no leader."""
    with make("reference", 3) as reference, make("ours", 3) as ours:
        a, b = reference.servers[0], ours.servers[0]
        for server in (a, b):
            server.start()
        for server in (a, b):
            cluster.wait_for("a word's answer", lambda: server.four_letters("ruok") == "imok")
            cluster.wait_for("the admin server", lambda: admin_answers(server))
        for word in sorted(WORDS):
            if word != "envi":
                check("no leader", word, ask(a, word), ask(b, word))
        for name, aliases in sorted(COMMANDS.items()):
            if name in ("environment", "system_properties"):
                continue
            for one in [name] + aliases.split():
                x, y = command(a, one), command(b, one)
                if x != y and name in (row[0] for row in intended.NOT_SERVING):
                    used.add(("NOT_SERVING", name, ""))
                    check("no leader", one, ["command", "error"], list(y))
                    continue
                check("no leader", one, x, y)


def run_whitelist():
    settings = {"4lw.commands.whitelist": "ruok, isro"}
    with make("reference", 1, settings) as reference, make("ours", 1, settings) as ours:
        start_both(reference, ours)
        a, b = reference.servers[0], ours.servers[0]
        for word in sorted(WORDS):
            if word != "srvr":      # always allowed, compared elsewhere
                check("whitelist", word, ask(a, word), ask(b, word))
        check("whitelist", "stmk", ask(a, "stmk", MASK), ask(b, "stmk", MASK))


def run_prometheus_port():
    port = cluster.free_port()
    settings = {"metricsProvider.className": "org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider",
                "metricsProvider.httpHost": "127.0.0.1", "metricsProvider.httpPort": port}
    with make("ours", 1, settings) as ours:
        ours.start()
        server = ours.servers[0]
        on_admin = prometheus_names(server)
        server.admin_port = port
        check("prometheus port", "names", on_admin, prometheus_names(server))
        for method, path in (("GET", "/commands"), ("POST", "/metrics"), ("HEAD", "/metrics")):
            check("prometheus port", f"{method} {path}", {"/commands": 404}.get(path, 200 if method == "HEAD" else 405),
                  get(server, path, method)[0])


def unused_rows():
    for name in ("MISSING", "EXTRA", "CHANGED"):
        for row in getattr(intended, name):
            if (name, row[0], row[1]) not in used:
                differ(f"intended.py: {name} {row[0]} {row[1]} explains nothing any more")
    for row in intended.NOT_SERVING:
        if ("NOT_SERVING", row[0], "") not in used:
            differ(f"intended.py: NOT_SERVING {row[0]} explains nothing any more")


def main():
    cluster.on_signals_exit()
    begun = time.monotonic()
    run_serving(3)
    run_serving(1)
    run_alone_of_three()
    run_whitelist()
    run_prometheus_port()
    unused_rows()
    if not metrics_doc.is_current():
        differ("docs/metrics.md is not what the tables say: run make docs")
    print(f"admin-check: {checks} comparisons, {len(differences)} unexplained differences, "
          f"{time.monotonic() - begun:.0f} s")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
