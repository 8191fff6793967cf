#!/usr/bin/python3
"""paddock, the program, from the outside (make cli-check): a local cluster of three servers in a temporary folder,
every zk command with its errors, status, the leader killed, and what is left behind. Each check is a line of output;
the last line counts them. All that was started is stopped by process id, whatever happens."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

O = os.environ.get("O", "build")
PADDOCK = os.path.abspath(f"{O}/paddock")
WAIT_S = 30
passed, failed = 0, 0
here = tempfile.mkdtemp(prefix="paddock-cli-")
DIR = f"{here}/a cluster"  # with a blank: it must not matter
ENV = {**os.environ, "PADDOCK_DIR": DIR, "TZ": "UTC"}


def check(name, ok, detail=""):
    global passed, failed
    if ok:
        passed += 1
    else:
        failed += 1
        print(f"FAILED: {name}\n{detail}", flush=True)


def run(*args, stdin=b"", timeout=90):
    return subprocess.run([PADDOCK, *args], input=stdin, capture_output=True, env=ENV, timeout=timeout)


def expect(name, args, status=0, out=None, err=None, stdin=b""):
    """Runs; status, and what both outputs are: bytes or a JSON value exactly, a compiled pattern somewhere."""
    r = run(*args, stdin=stdin)
    ok = r.returncode == status
    for want, got in ((out, r.stdout), (err, r.stderr)):
        if isinstance(want, bytes):
            ok = ok and got == want
        elif isinstance(want, re.Pattern):
            ok = ok and want.search(got.decode(errors="replace")) is not None
        elif want is not None:
            ok = ok and json.loads(got or b"null") == want
    check(name, ok, f"  {args}: status {r.returncode}, wanted {status}\n  out: {r.stdout[:800]!r}\n  err: {r.stderr[:800]!r}")
    return r


def zk(name, *args, **kw):
    return expect(name, ["zk", *args], **kw)


def R(text):
    return re.compile(text, re.M)


def status():
    return json.loads(run("status", "--json").stdout)


def wait_until(name, cond):
    end = time.monotonic() + WAIT_S
    while not cond():
        if time.monotonic() > end:
            check(name, False, "  it never came true")
            return
        time.sleep(0.05)  # polls another process: there is no event to wait for
    check(name, True)


def free_block(n=500):
    """A base for paddock's blocks of ports; below the ports that the kernel gives to connections."""
    base = 11000 + os.getpid() % 190 * 100
    while any(taken(p) for p in range(base, base + n, 100)):
        base += 100
    return base


def taken(port):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def test_usage():
    expect("no command shows what there is", [], 2, err=R("^usage: paddock COMMAND"))
    expect("help", ["--help"], 0, out=R("^  up  "))
    expect("version", ["--version"], 0, out=R(r"^paddock \d+\."))
    expect("a mistyped command", ["stauts"], 2, err=R("did you mean status"))
    expect("a mistyped zk command", ["zk", "gte", "/"], 2, err=R("unknown command gte: did you mean get"))
    expect("a mistyped option", ["up", "--servres", "3"], 2, err=R("did you mean --servers"))
    expect("a value out of range", ["up", "--servers", "99"], 2, err=R("1 to 7"))
    expect("a missing argument", ["zk", "get"], 2, err=R("usage: paddock zk get"))
    expect("help of a zk command", ["zk", "create", "--help"], 0, out=R("-e, --ephemeral"))
    expect("no cluster: status", ["status"], 4, err=R("there is no cluster"))
    expect("no cluster: down", ["down"], 4, err=R("there is no cluster"))
    check("and none was made by asking", not os.path.exists(DIR))
    expect("nobody answers", ["zk", "ls", "-S", "127.0.0.1:1", "-t", "300ms"], 3, err=R("refused"))
    expect("help of bench", ["bench", "--help"], 0, out=R("^  sync-get  .*counted as one"))
    expect("a mistyped row", ["bench", "crate"], 2, err=R("paddock bench: there is no row crate: did you mean create"))
    row = json.loads(expect("bench of a server that does nothing",
                            ["bench", "--yardstick", "--json", "-t", "200ms", "-w", "50ms", "-p", "16", "get"]).stdout or "{}")
    check("bench says what it saw", row.get("ops", 0) > 1000 and row["p50_ms"] <= row["p99_ms"] <= row["max_ms"], row)
    for shell in ("bash", "zsh", "fish"):
        expect(f"completion for {shell}", ["completion", shell], 0, out=R("base-port"))
    expect("completion for another shell", ["completion", "tcsh"], 2, err=R("bash, zsh, fish"))


def test_completion():
    script = subprocess.run([PADDOCK, "completion", "bash"], capture_output=True).stdout.decode()
    ask = script + "\nCOMP_WORDS=(paddock zk cre); COMP_CWORD=2; _paddock; echo \"${COMPREPLY[@]}\"\n" \
        "COMP_WORDS=(paddock up --ser); COMP_CWORD=2; _paddock; echo \"${COMPREPLY[@]}\"\n" \
        "COMP_WORDS=(paddock bench fan); COMP_CWORD=2; _paddock; echo \"${COMPREPLY[@]}\"\n"
    out = subprocess.run(["bash", "-c", ask], capture_output=True).stdout.decode().split("\n")
    check("bash completes commands and options", out[0].strip() == "create" and out[1].strip() == "--servers", out)
    check("bash completes rows", out[2].strip() == "fan-out", out)


def test_up():
    refused = run("up", "--servers", "1", "--set", "forceSync=no")
    check("a refused configuration is shown and leaves nothing",
          refused.returncode == 1 and b"forceSync" in refused.stderr and not os.path.exists(DIR),
          refused.stderr.decode())
    base = free_block()
    expect("up", ["up", "--base-port", str(base)], 0, out=R(rf"connect to  127.0.0.1:{base},127.0.0.1:{base + 1},"))
    expect("up again says so", ["up"], 0, out=R("already up"))
    expect("up with another number is refused", ["up", "-n", "5"], 1, err=R("has 3 servers"))
    r = expect("status", ["status"], 0, out=R("^ok .*3 serve; 1 may fail"))
    check("status has a line for each", len(re.findall(r"^\d+ +127", r.stdout.decode(), re.M)) == 3, r.stdout)
    s = status()
    check("one leads", [x["mode"] for x in s["servers"]].count("leader") == 1 and s["health"] == "ok", s)
    check("none lags", all(x["lag"] == 0 for x in s["servers"]), s)
    expect("status of named servers", ["status", "--server", f"127.0.0.1:{base},127.0.0.1:1"], 1
           if s["servers"][0]["mode"] == "leader" else 3, out=R("127.0.0.1:1 +down"))
    for row, more in (("get", []), ("multi", []), ("sync-get", []), ("session", []), ("idle", []), ("fan-out", ["-n", "3"]),
                      ("herd", []), ("set", ["--rate", "100"])):
        r = expect(f"bench {row}", ["bench", "--json", "-S", ",".join(f"127.0.0.1:{base + i}" for i in range(3)), "-c", "5",
                                    "--keys", "50", "-t", "300ms", "-w", "0", "--session-timeout", "4s", "-f", "/rows", "--clean", *more, row])
        got = json.loads(r.stdout or b"{}")
        check(f"bench {row} did something", got.get("ops", 0) >= (15 if row == "fan-out" else 1), r.stdout)
        if row == "herd":
            check("each of the herd was told of its node", got.get("told") == 5 and got["sessions_lost"] == 0, got)
        if "--rate" in more:
            check("no more than the rate was sent", got.get("ops", 0) <= 31, got)
    first = ["bench", "--json", "--yardstick", "-c", "1", "-p", "1", "-w", "0", "--rate", "10", "-n", "1", "get"]
    check("the first request at a rate is sent when it is due, not when a turn of the loop ends for want of work",
          any(json.loads(run(*first).stdout)["max_ms"] < 40 for _ in range(5)))
    r = expect("bench fan-out of the yardstick", ["bench", "--json", "--yardstick", "-c", "20", "-n", "3", "fan-out"], 0)
    check("every watcher was told in each round", json.loads(r.stdout or b"{}").get("ops") == 60, r.stdout)
    server = ["bench", "--json", "-S", f"127.0.0.1:{base}", "-c", "2", "--dirs", "1", "-f", "/list"]
    expect("bench fill", [*server, "-n", "40", "fill"], 0)
    expect("bench fill goes on behind it", [*server, "-n", "9", "--first", "40", "fill"], 0)
    r = expect("bench children of what is there", [*server, "-n", "1", "--filled", "--children", "49", "children"], 0)
    check("its answer has every name", 49 * 15 < json.loads(r.stdout or b"{}").get("received_bytes_per_op", 0) < 60 * 15, r.stdout)
    expect("bench get of what is there", [*server, "-n", "60", "--filled", "--keys", "49", "get"], 0)
    expect("bench delete", [*server, "-n", "9", "--first", "40", "delete"], 0)
    expect("bench says what is missing", [*server, "-n", "49", "verify"], 1, err=R("get of node 4[0-8]: NoNode"))
    expect("bench delete of the rest", [*server, "-n", "40", "delete"], 0)
    zk("and of what held them", "rm", "-r", "/list")
    return base


def test_nodes():
    zk("create", "create", "/a", "one", out=b"/a\n")
    zk("create what is there", "create", "/a", status=1, err=R("NodeExists"))
    zk("create under nothing", "create", "/x/y", status=1, err=R("NoNode"))
    zk("create with parents", "create", "-p", "/x/y/z", "deep", out=b"/x/y/z\n")
    zk("create sequential", "create", "-s", "/a/n-", out=b"/a/n-0000000000\n")
    zk("create from standard input", "create", "/bin", "-", stdin=b"\0\1\xff\n", out=b"/bin\n")
    zk("create a container", "create", "-c", "/box", out=b"/box\n")
    zk("create with a TTL", "create", "--ttl", "1h", "/brief", out=b"/brief\n")
    zk("contradicting kinds", "create", "-e", "-c", "/no", status=2, err=R("one of these"))
    zk("a bad path", "create", "no-slash", status=2, err=R("does not start with a slash"))
    zk("mkdir", "mkdir", "/m/n/o", "/a")
    zk("get exactly", "get", "/bin", out=b"\0\1\xff\n")
    zk("get adds nothing", "get", "/a", out=b"one")
    zk("get with stat", "get", "-s", "/a", out=b"one", err=R("^data +3 bytes, version 0"))
    r = zk("get as JSON", "get", "--json", "/bin")
    check("binary data in JSON", json.loads(r.stdout)["data_base64"] == "AAH/Cg==", r.stdout)
    zk("get what is not there", "get", "/nope", status=1, err=R("^paddock zk get: /nope: there is no such node"))
    zk("set", "set", "/a", "two")
    zk("set from standard input", "set", "/bin", stdin=b"\xfe" * 1000)
    zk("and back", "get", "/bin", out=b"\xfe" * 1000)
    zk("set at a version", "set", "/a", "three", "-v", "1")
    zk("set at a wrong version", "set", "/a", "four", "--if-version", "1", status=1, err=R("BadVersion"))
    zk("set too much", "set", "/a", status=1, stdin=b"x" * 2000000, err=R("more than a node may hold"))
    zk("ls", "ls", "/", out=b"a\nbin\nbox\nbrief\nm\nx\nzookeeper\n")
    zk("ls as JSON", "ls", "/a", "--json", out=["n-0000000000"])
    zk("ls -l", "ls", "-l", "/", out=R(r"^persistent +2 +5 +1 .* a$"))
    zk("ls of nothing", "ls", "/nope", status=1, err=R("NoNode"))
    zk("tree", "tree", "/x", out="/x\n└── y\n    └── z\n".encode())
    zk("tree to a depth", "tree", "/x", "-L", "1", "--json", out=["/x", "/x/y"])
    zk("stat", "stat", "/a", out=R("^children +1, version 1"))
    r = zk("stat as JSON", "stat", "/a", "--json")
    check("its version", json.loads(r.stdout)["version"] == 2, r.stdout)
    zk("stat of nothing", "stat", "/nope", status=1)
    zk("count", "count", "/x", out=b"2\n")
    zk("sync", "sync", "/")
    zk("whoami", "whoami", "--auth", "digest:me:pw", out=R("^identity +me$"))
    zk("config", "config")
    zk("reconfig wants a change", "reconfig", status=2, err=R("nothing to change"))
    zk("reconfig is off by default", "reconfig", "--remove", "3", status=1, err=R("ReconfigDisabled"))


def test_acl():
    acl = "digest:me:qX5gM7UJ+dFJY6lkXn0XKzWb0Uk=:cdrwa"
    zk("an ACL", "acl", "/a", out=b"world:anyone:cdrwa\n")
    digest = subprocess.run("printf me:pw | openssl dgst -sha1 -binary | base64", shell=True,
                            capture_output=True).stdout.decode().strip()
    acl = f"digest:me:{digest}:cdrwa"
    zk("create with an ACL", "create", "/mine", "secret", "--acl", acl, out=b"/mine\n")
    zk("not for others", "get", "/mine", status=4, err=R("NoAuth"))
    zk("with the password", "get", "/mine", "--auth", "digest:me:pw", out=b"secret")
    zk("set the ACL", "acl", "/mine", "world:anyone:r", "--auth", "digest:me:pw")
    zk("it is set", "acl", "/mine", "--json", out=["world:anyone:r"])
    zk("an ACL that is none", "acl", "/a", "world:anyone", status=2, err=R("SCHEME:ID:PERMS"))
    zk("letters that are none", "acl", "/a", "world:anyone:xyz", status=2, err=R("cdrwa"))
    zk("an unknown scheme", "get", "/a", "--auth", "bogus:x", status=4, err=R("authentication failed"))


def test_rm():
    zk("rm of a parent", "rm", "/x", status=1, err=R("NotEmpty"))
    zk("rm -r", "rm", "-r", "/x", "/m")
    zk("it is gone", "stat", "/x", status=1)
    zk("rm of nothing", "rm", "/x", status=1)
    zk("rm -f of nothing", "rm", "-f", "/x")
    zk("rm -rf of nothing", "rm", "-rf", "/x")
    zk("rm at a wrong version", "rm", "/bin", "-v", "7", status=1, err=R("BadVersion"))
    zk("rm of the root", "rm", "-r", "/", status=2, err=R("root"))


def test_export_import():
    zk("prepare", "mkdir", "/tree/b/c")
    zk("with bytes", "set", "/tree/b", stdin=b"\0\xff")
    r = zk("export", "export", "/tree", err=R("3 nodes"))
    zk("remove", "rm", "-r", "/tree")
    zk("import", "import", stdin=r.stdout, err=R("3 created"))
    zk("it is back", "get", "/tree/b", out=b"\0\xff")
    zk("import again changes nothing", "import", stdin=r.stdout, err=R("3 were there"))
    zk("other data", "set", "/tree/b", "other")
    zk("import over it", "import", "--replace", stdin=r.stdout, err=R("3 replaced"))
    zk("replaced", "get", "/tree/b", out=b"\0\xff")
    zk("import of something else", "import", stdin=b"{}\n", status=1, err=R("line 1"))
    zk("clean up", "rm", "-r", "/tree")


def test_watch_and_ephemeral():
    watch = subprocess.Popen([PADDOCK, "zk", "watch", "-r", "/", "-n", "4", "--json"], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, env=ENV)
    line = watch.stderr.readline()
    check("watch says when it watches", b"watching / and all below" in line, line)
    eph = subprocess.Popen([PADDOCK, "zk", "create", "-e", "/alive", "here"], stdout=subprocess.PIPE, env=ENV)
    check("an ephemeral node", eph.stdout.readline() == b"/alive\n")
    zk("ephemerals", "ephemerals", out=R("^0x[0-9a-f]+ +/alive$"))
    zk("change it", "set", "/alive", "changed")
    eph.send_signal(signal.SIGINT)
    check("an interrupt ends it well", eph.wait(WAIT_S) == 0)
    zk("it went with its session", "stat", "/alive", status=1, err=R("NoNode"))
    zk("one more", "create", "/last", out=b"/last\n")
    out = watch.communicate(timeout=WAIT_S)[0]
    events = [(e["event"], e["path"]) for e in map(json.loads, out.splitlines())]
    check("watch saw it all in order", watch.returncode == 0 and events == [
        ("NodeCreated", "/alive"), ("NodeDataChanged", "/alive"), ("NodeDeleted", "/alive"), ("NodeCreated", "/last")],
        events)


def test_leader_killed():
    s = status()
    leader = next(x for x in s["servers"] if x["mode"] == "leader")
    os.kill(leader["pid"], signal.SIGKILL)
    wait_until("another leads", lambda: status()["leader"] not in (None, leader["id"]))
    expect("status is not all well", ["status"], 1, out=R("^degraded"))
    zk("reads go on", "get", "/a", out=b"three")
    zk("writes go on", "create", "/after", out=b"/after\n")
    expect("up restarts what is down", ["up"], 0, out=R("up and serving"))
    s = status()
    check("all well again", s["health"] == "ok" and all(x["lag"] == 0 for x in s["servers"]), s)
    zk("the restarted one has what it missed", "sync", "-S", f"127.0.0.1:{leader['port']}")
    zk("and shows it", "stat", "/after", "-S", f"127.0.0.1:{leader['port']}")


def test_down():
    pids = [x["pid"] for x in status()["servers"]]
    # a number that became somebody else's must not be signalled
    stranger = subprocess.Popen(["sleep", "600"])
    with open(f"{DIR}/cluster.json", encoding="utf-8") as f:
        known = json.load(f)
    real = known["servers"][0]["pid"]
    known["servers"][0]["pid"] = stranger.pid
    with open(f"{DIR}/cluster.json", "w", encoding="utf-8") as f:
        json.dump(known, f)
    expect("down stops what is ours", ["down"], 0, out=R("2 servers stopped"))
    check("and only that", stranger.poll() is None)
    stranger.kill()
    stranger.wait()
    os.kill(real, signal.SIGTERM)
    wait_until("all ended", lambda: not any(running(p) for p in pids))
    expect("status when down", ["status"], 3, out=R("^down"))
    expect("up goes on from there", ["up"], 0, out=R("up and serving"))
    zk("the data are there", "get", "/a", out=b"three")
    expect("down --wipe", ["down", "--wipe"], 0, out=R("deleted"))
    check("nothing is left", not os.path.exists(DIR), os.listdir(here))


def running(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def test_demo():
    r = expect("demo", ["demo", "--seconds", "2", "--base-port", str(free_block())], 0,
               out=R(r"\b0 of \d+ acknowledged writes missing"))
    where = re.search(r"servers in (\S+)", r.stdout.decode())
    check("demo cleans up", where and not os.path.exists(where.group(1)), r.stdout)


def test_install():
    root = f"{here}/root"
    r = subprocess.run(["make", "-s", "install", f"O={O}", f"DESTDIR={root}", "PREFIX=/usr"], capture_output=True)
    check("make install", r.returncode == 0, r.stderr.decode())
    for path in ("usr/bin/paddock", "usr/bin/paddock-store", "usr/lib/sysusers.d/paddock.conf",
                 "usr/share/bash-completion/completions/paddock", "usr/share/man/man5/paddock-store.cfg.5",
                 "usr/share/man/man8/paddock-store.8", "etc/paddock/store.cfg",
                 "usr/share/doc/paddock/examples/standalone.cfg"):
        check(f"installed {path}", os.path.getsize(f"{root}/{path}") > 0 if os.path.exists(f"{root}/{path}") else False)
    unit = open(f"{root}/usr/lib/systemd/system/paddock-store@.service", encoding="utf-8").read()
    check("the unit runs what was installed", "ExecStart=/usr/bin/paddock-store /etc/paddock/%i.cfg\n" in unit, unit)
    page = open(f"{root}/usr/share/man/man1/paddock-zk.1", encoding="utf-8").read()
    names = re.findall(r"^  ([a-z]+) ", run("zk", "--help").stdout.decode(), re.M)
    check("the manual has every zk command", len(names) > 10 and all(f".SS paddock zk {n} " in page for n in names), names)
    for page in ("man1/paddock.1", "man1/paddock-bench.1", "man1/paddock-zk.1", "man8/paddock-store.8"):
        text = subprocess.run(["groff", "-man", "-Tutf8", "-ww", f"{root}/usr/share/man/{page}"], capture_output=True) \
            if shutil.which("groff") else None
        check(f"{page} is clean roff", text is None or (text.returncode == 0 and not text.stderr),
              text and text.stderr.decode())
    with open(f"{root}/etc/paddock/store.cfg", "a", encoding="utf-8") as f:
        f.write("# mine\n")
    subprocess.run(["make", "-s", "install", f"O={O}", f"DESTDIR={root}", "PREFIX=/usr"], capture_output=True)
    check("configuration that is there stays", "# mine" in open(f"{root}/etc/paddock/store.cfg", encoding="utf-8").read())
    r = subprocess.run([f"{root}/usr/bin/paddock-store", "--check", f"{root}/etc/paddock/store.cfg"], capture_output=True)
    check("and is in order", r.returncode == 0, r.stderr.decode())
    subprocess.run(["make", "-s", "uninstall", f"O={O}", f"DESTDIR={root}", "PREFIX=/usr"], capture_output=True)
    left = [f for _, _, files in os.walk(root) for f in files]
    check("make uninstall leaves the configuration alone", left == ["store.cfg"], left)


def test_service():
    """What the systemd unit relies on: READY when it serves requests, WATCHDOG while the loop turns, STOPPING."""
    data = f"{here}/service"
    os.mkdir(data)
    with open(f"{data}/zoo.cfg", "w", encoding="utf-8") as f:
        f.write(f"tickTime=2000\ndataDir={data}/data\nclientPort={free_block()}\nclientPortAddress=127.0.0.1\n"
                "admin.enableServer=false\n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(f"{data}/notify")
        s.settimeout(WAIT_S)
        p = subprocess.Popen([f"{os.path.abspath(O)}/paddock-store", f"{data}/zoo.cfg"], stderr=subprocess.DEVNULL,
                             env={**ENV, "NOTIFY_SOCKET": f"{data}/notify", "WATCHDOG_USEC": "300000"})
        try:
            check("tells the supervisor that it is ready", s.recv(4096) == b"READY=1")
            check("and that it lives", s.recv(4096) == b"WATCHDOG=1")
            p.terminate()
            said = b""
            while said in (b"", b"WATCHDOG=1"):
                said = s.recv(4096)
            check("and that it stops", said == b"STOPPING=1", said)
            check("well", p.wait(WAIT_S) == 0)
        except TimeoutError:
            check("the supervisor hears something", False)
        finally:
            if p.poll() is None:
                p.kill()
                p.wait()


def clean_up():
    try:
        with open(f"{DIR}/cluster.json", encoding="utf-8") as f:
            for s in json.load(f)["servers"]:
                if "pid" in s and running(s["pid"]) and "paddock-store" in os.readlink(f"/proc/{s['pid']}/exe"):
                    os.kill(s["pid"], signal.SIGKILL)
    except OSError:
        pass
    shutil.rmtree(here, ignore_errors=True)


start = time.monotonic()
try:
    test_usage()
    test_completion()
    test_install()
    test_service()
    test_up()
    test_nodes()
    test_acl()
    test_rm()
    test_export_import()
    test_watch_and_ephemeral()
    test_leader_killed()
    test_down()
    test_demo()
finally:
    clean_up()
print(f"cli: {time.monotonic() - start:.1f} s")
print(f"{passed} passed, {failed} failed")
sys.exit(1 if failed or not passed else 0)
