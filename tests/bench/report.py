"""docs/bench.md and its plots, from what bench.py measured."""
import datetime
import math
import os
import platform
import statistics
import subprocess
import sys

from rows import COLUMNS, FIGURES

BEGIN, END = "<!-- begin: make bench -->", "<!-- end: make bench -->"
NOISY_PERCENT = 5       # of the machine, used by others
WIDE = 1.5              # the largest of a figure over the smallest
OURS, THEIRS, INK, QUIET = "#0b6e8f", "#c8742b", "#222222", "#8a8a8a"


def capacity(got):
    """Requests a second of a whole core of the generator."""
    return got["ops_per_s"] * 100 / max(0.1, got["generator_cpu_percent"])


def unit_of(figure):
    return FIGURES[figure][1], FIGURES[figure][2]


def number(x, digits):
    return f"{x:,.{digits}f}"


def ratio_text(r):
    return f"{r:.2f}" if r < 9.95 else f"{r:.0f}"


def spread(values, digits):
    """median (least–most)"""
    if len(values) == 1:
        return number(values[0], digits)
    return f"{number(statistics.median(values), digits)} ({number(min(values), digits)}–{number(max(values), digits)})"


def values(pairs, kind, figure):
    return [p[kind][figure] for p in pairs if figure in p[kind]]


def ratios(pairs, figure):
    return [p["ours"][figure] / p["reference"][figure] for p in pairs
            if p["reference"].get(figure, 0) > 0 and figure in p["ours"]]


def judge(target, pairs):
    """(what was found as text, what was wanted, verdict) of one target, or None when there is nothing to judge."""
    found = ratios(pairs, target.figure) if target.how == "x" else values(pairs, "ours", target.figure)
    if not found:
        return None
    unit, digits = unit_of(target.figure)
    median = statistics.median(found)
    sign = "≤" if target.most else "≥"
    if target.how == "x":
        text = ratio_text(median) + (f" ({ratio_text(min(found))}–{ratio_text(max(found))})" if len(found) > 1 else "") + "x"
        want, stretch = f"{sign} {target.target:.2g}x", f"{target.stretch:.2g}x"
    else:
        text = f"{spread(found, digits)} {unit}".strip()
        want, stretch = f"{sign} {target.target:g} {unit}".strip(), f"{target.stretch:g}"

    def reached(limit):
        return median <= limit if target.most else median >= limit
    verdict = "**missed**" if not reached(target.target) else "stretch" if reached(target.stretch) else "reached"
    return text, want, stretch, verdict


def cpu_model_free_machine():
    """Cores, memory and kernel; nothing that names the machine."""
    with open("/proc/meminfo") as f:
        gib = int(f.readline().split()[1]) / (1 << 20)
    return f"{os.cpu_count()} cores, {gib:.0f} GiB, Linux {platform.release().split('-')[0]}, {platform.machine()}"


def commit(root):
    def git(*args):
        done = subprocess.run(["git", "-C", root, *args], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        return done.stdout.strip()
    dirty = git("status", "--porcelain", "--untracked-files=no", "--", "base", "net", "zkproto", "store", "cli")
    return git("rev-parse", "--short", "HEAD") + (" with changes" if dirty else "")


def noise_text(results, rows):
    pairs = [p for row in rows for p in results.of(row)]
    foreign = [p["foreign_percent"] for p in pairs if p["foreign_percent"] is not None] or [0]
    wide = [row.label for row in rows for kind in ("ours", "reference")
            for got in [values(results.of(row), kind, row.targets[0].figure)]
            if len(got) > 1 and min(got) > 0 and max(got) / min(got) > WIDE]
    wide = list(dict.fromkeys(wide))
    median = statistics.median(foreign)
    text = (f"Others used {median:.1f} % of the machine while it ran (median over all pairs; most {max(foreign):.0f} %)")
    if median > NOISY_PERCENT:
        text += ": **a noisy machine. Throughput and latencies are not to be trusted, their ratios a little, CPU for each " \
                "operation most.**"
    else:
        text += ": a quiet machine."
    if wide:
        text += f" Rows whose first figure differed by more than {WIDE:g} times between rounds: " + "; ".join(wide) + "."
    return text


def targets_table(results, rows):
    out = ["| row | figure | ours / ZooKeeper, or ours: median (least–most) | wanted | stretch | |", "|---|---|--:|--:|--:|---|"]
    counts = {}
    for row in rows:
        for target in row.targets:
            got = judge(target, results.of(row))
            if got is None:
                continue
            text, want, stretch, verdict = got
            counts[verdict] = counts.get(verdict, 0) + 1
            out.append(f"| {row.label} | {FIGURES[target.figure][0]} | {text} | {want} | {stretch} | {verdict} |")
    total = sum(counts.values())
    head = (f"{total} targets: {counts.get('stretch', 0)} beyond the stretch goal, {counts.get('reached', 0)} reached, "
            f"{counts.get('**missed**', 0)} missed.")
    return [head, "", *out]


def figures_tables(results, rows):
    out = ["| row | | " + " | ".join(f"{FIGURES[c][0]}, {FIGURES[c][1]}".replace(", /s", "") for c in COLUMNS) + " |",
           "|---|---|" + "--:|" * len(COLUMNS)]
    others = ["| what | ours | ZooKeeper | ratio |", "|---|--:|--:|--:|"]
    for row in rows:
        pairs = results.of(row)
        if not pairs:
            continue
        if row.kind == "load":
            for kind, name in (("ours", "ours"), ("reference", "ZooKeeper")):
                cells = [spread(values(pairs, kind, c), FIGURES[c][2]) if i < 3 else
                         number(statistics.median(values(pairs, kind, c)), FIGURES[c][2]) for i, c in enumerate(COLUMNS)]
                out.append(f"| {row.label if kind == 'ours' else ''} | {name} | " + " | ".join(cells) + " |")
            continue
        shown = list(dict.fromkeys([t.figure for t in row.targets] + {
            "fan-out": ["last_max_ms", "server_cpu_us_per_op"], "idle": ["server_rss_mib"], "fill": ["ops_per_s"]}.get(row.kind, [])))
        for figure in shown:
            heading, unit, digits = FIGURES[figure]
            r = ratios(pairs, figure)
            ratio = f"{ratio_text(statistics.median(r))}x" if r else ""
            others.append(f"| {row.label}: {heading}{', ' + unit if unit else ''} | "
                          f"{spread(values(pairs, 'ours', figure), digits)} | "
                          f"{spread(values(pairs, 'reference', figure), digits)} | {ratio} |")
    return out, others


def commands(rows, setup):
    """What was run for each row, as one would type it."""
    out = []
    window = f"-t {setup['window_ms']}ms -w {setup['warm_ms']}ms --clean"
    for row in rows:
        if row.kind == "load":
            *options, name = [str(x) for x in row.options]
            out.append(f"paddock bench -S $SERVERS --pids $PIDS {window} {' '.join(options)} {name}")
    return out


# ---- plots --------------------------------------------------------------------------------------

def text(x, y, s, anchor="start", colour=INK, size=12, weight=""):
    s = str(s).replace("&", "&amp;").replace("<", "&lt;")
    weight = f' font-weight="{weight}"' if weight else ""
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" fill="{colour}" font-size="{size}"{weight}>{s}</text>'


def line(x1, y1, x2, y2, colour, width=1, dash=""):
    dash = f' stroke-dasharray="{dash}"' if dash else ""
    return (f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
            f'stroke-width="{width}"{dash}/>')


def picture(width, height, parts):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            f'font-family="sans-serif">\n<rect width="{width}" height="{height}" fill="#ffffff"/>\n' + "\n".join(parts)
            + "\n</svg>\n")


LEFT, RIGHT, TOP, STEP = 230, 60, 62, 26


def axis(low, high, unit, bottom, width):
    """A logarithmic scale: (x of a value, the drawing)."""
    a, b = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    b = max(b, a + 1)

    def at(v):
        return LEFT + (math.log10(max(v, 10 ** a)) - a) / (b - a) * (width - LEFT - RIGHT)
    parts = []
    for power in range(a, b + 1):
        x = at(10 ** power)
        parts.append(line(x, TOP - 8, x, bottom, "#dddddd"))
        parts.append(text(x, bottom + 16, f"{10 ** power:g}{unit}", "middle", QUIET, 11))
    return at, parts


def throughput_plot(results, rows):
    """Bars: operations a second of ours over the reference's, with least and most, and the target."""
    rows = [r for r in rows if r.kind == "load" and ratios(results.of(r), "ops_per_s")]
    width, bottom = 860, TOP + STEP * len(rows)
    every = [x for r in rows for x in ratios(results.of(r), "ops_per_s")]
    at, parts = axis(min([0.5, *every]), max([10, *every]), "x", bottom, width)
    parts.append(text(16, 24, "Operations a second: ours / ZooKeeper's", size=15, weight="bold"))
    parts.append(text(16, 42, "median of the rounds, line: least to most, dash: target; 1x: as fast", colour=QUIET, size=11))
    for i, row in enumerate(rows):
        y, found = TOP + STEP * i, ratios(results.of(row), "ops_per_s")
        median = statistics.median(found)
        x0, x1 = sorted((at(1), at(median)))
        parts.append(text(LEFT - 10, y + 13, row.label, "end"))
        parts.append(f'<rect x="{x0:.1f}" y="{y + 3}" width="{max(1, x1 - x0):.1f}" height="14" '
                     f'fill="{OURS if median >= 1 else THEIRS}"/>')
        parts.append(line(at(min(found)), y + 10, at(max(found)), y + 10, INK, 1.5))
        for t in row.targets:
            if t.figure == "ops_per_s":
                parts.append(line(at(t.target), y, at(t.target), y + 20, INK, 2, "3 2"))
        parts.append(text(max(at(max(found)), x1) + 6, y + 14, ratio_text(median) + "x", size=11))
    parts.append(line(at(1), TOP - 8, at(1), bottom, INK, 1))
    return picture(width, bottom + 28, parts)


def latency_plot(results, rows):
    """For each row two lines, ours and the reference's, from p50 to p99."""
    rows = [r for r in rows if r.kind == "load" and results.of(r)]
    width, bottom = 860, TOP + STEP * len(rows)
    every = [statistics.median(values(results.of(r), k, f)) for r in rows for k in ("ours", "reference")
             for f in ("p50_ms", "p99_ms")]
    at, parts = axis(max(0.001, min(every, default=0.1)), max(every, default=10), " ms", bottom, width)
    parts.append(text(16, 24, "Latency, from p50 (dot) to p99 (bar)", size=15, weight="bold"))
    parts.append(text(16, 42, "ours", colour=OURS, size=12, weight="bold"))
    parts.append(text(52, 42, "ZooKeeper 3.8", colour=THEIRS, size=12, weight="bold"))
    for i, row in enumerate(rows):
        parts.append(text(LEFT - 10, TOP + STEP * i + 13, row.label, "end"))
        for kind, colour, dy in (("ours", OURS, 5), ("reference", THEIRS, 14)):
            y = TOP + STEP * i + dy
            p50, p99 = (statistics.median(values(results.of(row), kind, f)) for f in ("p50_ms", "p99_ms"))
            parts.append(line(at(p50), y, at(p99), y, colour, 3))
            parts.append(f'<circle cx="{at(p50):.1f}" cy="{y}" r="4" fill="{colour}"/>')
            parts.append(line(at(p99), y - 4, at(p99), y + 4, colour, 3))
    return picture(width, bottom + 28, parts)


# ---- the page -----------------------------------------------------------------------------------

def page_part(results, rows, rounds, setup, root):
    have = [r for r in rows if results.of(r)]
    complete = all(len(results.of(r)) == rounds for r in rows)
    dates = sorted(p["time"] for r in have for p in results.of(r))
    days = sorted({datetime.datetime.fromtimestamp(t, datetime.timezone.utc).strftime("%Y-%m-%d") for t in (dates[0], dates[-1])})
    out = [BEGIN, "",
           f"Measured {' to '.join(days)} at {commit(root)}. {cpu_model_free_machine()}. Reference: ZooKeeper 3.8 of Debian 12, "
           f"heap {setup['heap']}.", "", noise_text(results, have), ""]
    if not complete:
        out += ["Not all rows were measured in all rounds: "
                + ", ".join(f"{r.name} {len(results.of(r))}/{rounds}" for r in rows if len(results.of(r)) < rounds) + ".", ""]
    gen = ", ".join(f"{x['row']} {x['ops_per_s']:,.0f}/s with {x['generator_cpu_percent']:.0f} % of a core "
                    f"({capacity(x):,.0f}/s from a whole one)" for x in setup["generator"])
    out += [f"The generator against a server that does nothing, 64x16: {gen}.", "",
            "### Targets", "", *targets_table(results, have), "",
            "![operations a second](bench-throughput.svg)", "", "![latencies](bench-latency.svg)", ""]
    loads, others = figures_tables(results, have)
    out += ["### All figures", "",
            f"\"c x p\" is connections x outstanding requests of each. Median of {rounds} rounds (least–most). CPU and bytes are "
            "summed over the three servers.", "", *loads, "", *others, "",
            "### Commands", "", "`make bench` runs these on both clusters in turn, with the servers' addresses and processes:",
            "", "```sh", *commands(have, setup), "```", "",
            f"Fan-out is `paddock bench -c N fan-out`, idle sessions are `-c N idle`, fills `-n N fill` with 64x16. The leader is killed "
            f"{setup['kills']} times a round under 6x4 sets. zoo.cfg of both: "
            + ", ".join(f"`{k}={v}`" for k, v in setup["settings"].items()) + ".", "", END]
    return "\n".join(out), complete


def write(results, rows, rounds, setup, folder, root, force=False):
    if not any(results.of(r) for r in rows):
        return
    part, complete = page_part(results, rows, rounds, setup, root)
    docs = os.path.join(root, "docs")
    keep = complete or force
    where = docs if keep else folder
    with open(os.path.join(docs, "bench.md"), encoding="utf-8") as f:
        page = f.read()
    if BEGIN not in page or END not in page:
        print(f"docs/bench.md has no place for the table: want {BEGIN} and {END}", file=sys.stderr)
        raise SystemExit(1)
    page = page[:page.index(BEGIN)] + part + page[page.index(END) + len(END):]
    for name, content in (("bench.md", page), ("bench-throughput.svg", throughput_plot(results, rows)),
                          ("bench-latency.svg", latency_plot(results, rows))):
        if not content:
            continue
        path = os.path.join(where, name)
        with open(path + ".new", "w", encoding="utf-8") as f:
            f.write(content)
        os.rename(path + ".new", path)
    for heading in targets_table(results, rows)[2:]:
        print(heading)
    print(f"bench: {os.path.relpath(where, root)}/bench.md and its plots are written"
          + ("" if keep else "; docs/bench.md stays as it is until every row has all rounds (WRITE=1 writes it all the same)"))
