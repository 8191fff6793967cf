"""The records of make bench-large, and its part of docs/bench.md."""
import datetime
import json
import os
import sys
import time

import report
from load import BUILD, MIB, ROOT

BEGIN, END = "<!-- begin: make bench-large -->", "<!-- end: make bench-large -->"
FOLDER = os.path.join(BUILD, "bench")
RECORDS = os.path.join(FOLDER, "large.jsonl")


def mib(count):
    return f"{count / MIB:,.0f} MiB" if count < 10000 * MIB else f"{count / MIB / 1024:,.1f} GiB"


def latency(row):
    return f"p50 {row['p50_ms']:.2f}, p99 {row['p99_ms']:.2f}, longest {row['max_ms']:.1f} ms"


def rate(row):
    return f"{row['ops_per_s']:,.0f}/s, p50 {row['p50_ms']:.2f}, p99 {row['p99_ms']:.2f} ms"


def table(title, head, rows):
    return {"title": title, "head": head, "rows": rows}


def as_text(t):
    lines = [t["head"], *t["rows"]]
    wide = [max(len(line[i]) for line in lines) for i in range(len(t["head"]))]
    return "\n".join([t["title"]] + ["  " + "  ".join(cell.ljust(w) for cell, w in zip(line, wide)).rstrip() for line in lines])


def as_page(t):
    lines = [f"### {t['title']}", "", "| " + " | ".join(t["head"]) + " |", "|---|" + "---|" * (len(t["head"]) - 1)]
    return lines + ["| " + " | ".join(row) + " |" for row in t["rows"]] + [""]


def keep(record):
    os.makedirs(FOLDER, exist_ok=True)
    record.update({"time": int(time.time()), "commit": report.commit(ROOT), "machine": report.cpu_model_free_machine()})
    with open(RECORDS, "a") as f:
        f.write(json.dumps(record) + "\n")


def latest(full, any_size):
    """The last record of each part."""
    found = {}
    if os.path.exists(RECORDS):
        with open(RECORDS) as f:
            for line in f:
                record = json.loads(line)
                if any_size or record["sizes"] == full:
                    found[record["part"]] = record
    return found


def circumstances(record):
    day = datetime.datetime.fromtimestamp(record["time"], datetime.timezone.utc).strftime("%Y-%m-%d")
    foreign = record["foreign_percent"]
    noise = "" if foreign is None else f", others used {foreign:.0f} % of it"
    if foreign is not None and foreign > report.NOISY_PERCENT:
        noise += ": **noisy, times are not to be trusted**"
    return f"{day} at {record['commit']}; {record['machine']}, load {record['load']:.1f}{noise}; {record['took_s']:.0f} s."


def write(parts, full, force=False):
    """docs/bench.md when there are records of the full sizes (or of any, when forced); else a copy beside the records."""
    found = latest(full, any_size=force)
    target = os.path.join(ROOT, "docs")
    if not found:
        found, target = latest(full, any_size=True), FOLDER
    if not found:
        return
    lines = [BEGIN, ""]
    missing = [p for p in parts if p not in found]
    if missing:
        lines += [f"Not measured: {', '.join(missing)}.", ""]
    for part in parts:
        for i, t in enumerate(found[part]["tables"] if part in found else []):
            shown = as_page(t)
            lines += [*shown[:2], *([f"`make bench-large PARTS={part}`: {circumstances(found[part])}", ""] if i == 0 else []),
                      *shown[2:]]
    with open(os.path.join(ROOT, "docs", "bench.md"), encoding="utf-8") as f:
        text = f.read()
    if BEGIN not in text or END not in text:
        print(f"docs/bench.md has no place for this: want {BEGIN} and {END}", file=sys.stderr)
        raise SystemExit(1)
    text = text[:text.index(BEGIN)] + "\n".join(lines + [END]) + text[text.index(END) + len(END):]
    path = os.path.join(target, "bench.md" if target != FOLDER else "large.md")
    with open(path + ".new", "w", encoding="utf-8") as f:
        f.write(text)
    os.rename(path + ".new", path)
    print(f"bench-large: {os.path.relpath(path, ROOT)} is written"
          + ("" if target != FOLDER else "; docs/bench.md gets it at full size, or with WRITE=1"))
