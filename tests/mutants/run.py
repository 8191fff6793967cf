#!/usr/bin/python3
"""Does somebody notice? (make mutants; M=name,name2 for some, J=2 at once, DOC=1 writes the
table into docs/consistency.md)

Each line of mutants.tbl names a defect that a mutants build holds (base/mutant.h) and the catcher that must see it:
    raft N [from S]      tests/sim/raft_sim, N seeds from S (1)
    cluster N [from S]   tests/sim/cluster_sim
    calm N [from S]      the same without faults
    unit X [Y...]        unit test programs
First every catcher runs with no mutant, over at least the seeds that will count, and must pass; then each mutant alone.
A catcher that finds nothing, or does not end in its time, has not caught it. Times are processor seconds.
"""
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

HERE = os.path.dirname(os.path.abspath(__file__))
O = os.environ.get("O", "build/mutants")
DOC = "docs/consistency.md"
HEAD = "## Mutants"
PROGRAMS = {"raft": "`raft_sim`", "cluster": "`cluster_sim`", "calm": "`cluster_sim --calm`"}
PATIENCE = 10  # so many seconds by the wall for each second of the table: others may use the machine too


class Mutant:
    def __init__(self, line, where):
        parts = [p.strip() for p in line.split("|")]
        if len(parts) != 5:
            sys.exit(f"{where}: want 5 columns, found {len(parts)}")
        self.name, catcher, seconds, self.breaks, self.recreates = parts
        self.kind, *self.args = catcher.split()
        self.seconds = int(seconds)

    def command(self, seeds=None):
        return command(self.kind, self.args, seeds)


def load():
    out = []
    path = os.path.join(HERE, "mutants.tbl")
    with open(path, encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            if line.strip() and not line.startswith("#"):
                out.append(Mutant(line, f"{path}:{number}"))
    return out


def seeds_of(args):
    return int(args[0]), int(args[2]) if len(args) == 3 else 1


def command(kind, args, seeds=None):
    if kind == "unit":
        return ["sh", "-c", " && ".join(f"{O}/tests/store/{t}" for t in args)]
    count, first = seeds or seeds_of(args)
    program = "raft_sim" if kind == "raft" else "cluster_sim"
    calm = ["--calm"] if kind == "calm" else []
    return [f"{O}/tests/sim/{program}", "--seeds", str(count), "--from", str(first), "--first", *calm]


def run(argv, seconds, mutant=None, reached=None):
    """(noticed or None when it did not end, what it said, seconds)"""
    env = dict(os.environ, CMOCKA_MESSAGE_OUTPUT="stdout")
    env.pop("PK_MUTANT", None)
    if mutant:
        env.update(PK_MUTANT=mutant, PK_MUTANT_REACHED=reached)
    with tempfile.TemporaryFile() as said:
        p = subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT,
                             start_new_session=True)
        late = threading.Event()

        def end():
            late.set()
            os.killpg(p.pid, 9)  # our own child and its children

        watch = threading.Timer(PATIENCE * seconds, end)
        watch.start()
        status, used = os.wait4(p.pid, 0)[1:]
        watch.cancel()
        p.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        out = said.read().decode(errors="replace")
    return None if late.is_set() else p.returncode != 0, out, used.ru_utime + used.ru_stime


def reason(kind, out):
    """(seed or test, sentence)"""
    broken = re.search(r"([\w./]+:\d+): invariant broken: (.*)", out)
    if kind == "unit":
        names = re.findall(r"\[\s+FAILED\s+\] (?:\d+ test\S* *:? *)?(test_\w+|\w+)", out)
        test = names[0] if names else "?"
        return test, "assertion " + broken.group(2) if broken and not names else test.replace("_", " ")
    failed = re.search(r"FAILED seed (\d+): (.*)", out)
    if failed is None:
        return "?", out.strip().split("\n")[-1]
    why = failed.group(2)
    if re.match(r"it died|signal", why) and broken:
        why = f"{broken.group(1)}: assertion {broken.group(2)}"
    return failed.group(1), why


def write_doc(rows, total):
    text = open(DOC, encoding="utf-8").read() if os.path.exists(DOC) else "# Consistency: what is promised, and what proves it\n"
    table = ["| mutant | what it breaks | caught by | at | s |", "|---|---|---|---|---|"]
    for m, by, at, seconds in rows:
        what = m.breaks + (f" *({m.recreates})*" if m.recreates else "")
        table.append(f"| `{m.name}` | {what} | {by} | {at} | {seconds:.1f} |")
    body = f"""{HEAD}

Defects on purpose, to see that somebody notices: a build with `MUTANTS=1` holds all of them, each behind
`MUTANT(name)` (`base/mutant.h`), and switches on the one that `PK_MUTANT` names. What we ship holds none. The list is
`tests/mutants/mutants.tbl`; `make mutants` runs every catcher without a mutant, where it must pass, and then against each
one; `make mutants M=name` shows one, `DOC=1` writes this table. In brackets: a published defect of others that it makes
again. *At*: the first seed from 1 (or from where the list says) that fails, or the test. *s*: processor seconds until then.
The simulators' rules are in `tests/sim/raft_cluster.h` (R), `cluster_client.h` (C) and `cluster_log.h` (L).

{chr(10).join(table)}

{len(rows)} of {total} caught.
"""
    start = text.find("\n" + HEAD + "\n")
    if start < 0:
        text = text.rstrip("\n") + "\n\n" + body
    else:
        end = text.find("\n## ", start + 4)
        text = text[: start + 1] + body + (text[end:] if end >= 0 else "")
    with open(DOC, "w", encoding="utf-8") as f:
        f.write(text)


def baseline(mutants):
    """Every catcher without a mutant. Simulators: the seeds that anybody may use."""
    spans = {}
    for m in mutants:
        key = (m.kind, *(m.args if m.kind == "unit" else ()))
        if m.kind == "unit":
            spans[key] = None
            continue
        count, first = seeds_of(m.args)
        spans.setdefault(key, set()).update(range(first, first + min(count, CAUGHT_BY.get(m.name, count))))
    return spans


CAUGHT_BY = {}


def main():
    mutants = load()
    names = [m.name for m in mutants]
    if len(set(names)) != len(names):
        sys.exit("mutants.tbl names one twice")
    only = [n for n in re.split(r"[ ,]+", os.environ.get("M", "")) if n]
    for n in only:
        if n not in names:
            sys.exit(f"no mutant {n}")
    mutants = [m for m in mutants if not only or m.name in only]
    rows, missed, begun = [], [], time.monotonic()
    with tempfile.TemporaryDirectory() as tmp:
        def one(m):
            return m, run(m.command(), m.seconds, m.name, os.path.join(tmp, m.name))

        with ThreadPoolExecutor(int(os.environ.get("J") or 1)) as pool:
            for m, (noticed, out, seconds) in pool.map(one, mutants):
                if not noticed:
                    how = "the code was never reached" if not os.path.exists(os.path.join(tmp, m.name)) else (
                        "nothing was noticed" if noticed is False else "no end within the time")
                    missed.append(m.name)
                    print(f"MISSED  {m.name:30} {m.kind:8} {'':6} {seconds:6.1f} s  {how}", flush=True)
                    continue
                at, why = reason(m.kind, out)
                if m.kind != "unit" and at != "?":
                    CAUGHT_BY[m.name] = int(at) - seeds_of(m.args)[1] + 1
                by = PROGRAMS.get(m.kind) or "`" + "`, `".join(m.args) + "`"
                rows.append((m, by, at if m.kind == "unit" else f"seed {at}", seconds))
                print(f"caught  {m.name:30} {m.kind:8} {at:6} {seconds:6.1f} s  {why[:160]}", flush=True)
    good = True
    for (kind, *args), seeds in baseline(mutants).items():
        if seeds is None:
            parts = [(command(kind, args), " ".join(args))]
        else:  # runs of seeds without gaps
            order, parts = sorted(seeds), []
            while order:
                n = 1
                while n < len(order) and order[n] == order[0] + n:
                    n += 1
                parts.append((command(kind, args, (n, order[0])), f"seeds {order[0]} to {order[0] + n - 1}"))
                order = order[n:]
        for argv, what in parts:
            noticed, out, seconds = run(argv, 300)
            if noticed is not False:
                good = False
                print(f"BROKEN  without a mutant {kind} {what} fails too: {reason(kind, out)[1][:200]}")
            else:
                print(f"passes  without a mutant {kind} {what} ({seconds:.1f} s)", flush=True)
    print(f"mutants: {len(rows)} of {len(mutants)} caught in {time.monotonic() - begun:.0f} s")
    if missed:
        print("missed: " + " ".join(missed))
    if os.environ.get("DOC") and not only:
        write_doc(rows, len(mutants))
        print(DOC)
    sys.exit(0 if good and not missed else 1)


main()
