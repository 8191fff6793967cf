"""The verdict page of a run: what was done, what was found, the pictures, and the files they were made from."""
import html

STYLE = """
body { font: 14px/1.45 sans-serif; color: #222; max-width: 1240px; margin: 24px auto; padding: 0 12px; }
h1 { font-size: 20px; } h2 { font-size: 16px; margin-top: 28px; }
.valid { color: #2a7f62; } .invalid { color: #b3261e; }
table { border-collapse: collapse; } td, th { text-align: left; padding: 2px 14px 2px 0; vertical-align: top; }
th { font-weight: 600; } pre { background: #f6f6f4; padding: 10px; overflow-x: auto; font-size: 12px; }
img { width: 100%; border: 1px solid #ddd; }
"""


def table(rows, head=()):
    out = ["<table>"]
    if head:
        out.append("<tr>" + "".join(f"<th>{html.escape(str(h))}</th>" for h in head) + "</tr>")
    for row in rows:
        out.append("<tr>" + "".join(f"<td>{html.escape(str(c))}</td>" for c in row) + "</tr>")
    return "".join(out) + "</table>"


def numbers(n):
    rows = []
    for kind in ("read", "write"):
        k = n.get(kind, {})
        rows.append((kind + "s", k.get("ok", 0), k.get("refused", 0), k.get("unknown", 0),
                     *[f"{k[x]:.1f}" if x in k else "" for x in ("median_ms", "p99_ms", "most_ms")]))
    return table(rows, ("", "ok", "refused", "unknown outcome", "median ms", "p99 ms", "longest ms"))


def write(path, v, files):
    n = v.get("numbers", {})
    word = "valid" if v["valid"] else "invalid"
    out = [f"<!doctype html><meta charset='utf-8'><title>{html.escape(v['title'])}</title><style>{STYLE}</style>",
           f"<h1><span class='{word}'>{word}</span>: {html.escape(v['title'])}</h1><p>{v['when']}</p>"]
    if v["problems"]:
        out.append("<h2 class='invalid'>What is wrong</h2><pre>" + html.escape("\n".join(v["problems"])) + "</pre>")
    out.append("<h2>Operations</h2>" + numbers(n))
    out.append(f"<p>{n.get('watch_events', 0)} watch events; sessions: {n.get('connects', 0)} times connected, "
               f"{n.get('expired', 0)} expired, {n.get('closed', 0)} closed, {n.get('abandoned', 0)} left silent; "
               f"{v['packets_dropped']} packets dropped between hosts; {v['digests']} digests compared; "
               f"{v['heals']} times a damaged server healed by itself.</p>")
    out.append("<img src='timeline.svg' alt='timeline'><p></p><img src='latency.svg' alt='latency'>")
    out.append("<h2>Faults</h2>" + table([(f"{f['at_s']:.1f}", f"{f['for_s']:.1f}", f["name"], f["what"])
                                          for f in v["faults"]], ("at s", "for s", "fault", "what was done")))
    out.append("<h2>Rules of the workload</h2>" + table(
        [(r["rule"], r["checked"], r["broken"], r["first"]) for r in n.get("rules", []) if r["checked"]],
        ("rule", "judged", "broken", "first")))
    out.append("<h2>The checker</h2><pre>" + html.escape(v["check"]["text"]) + "</pre>")
    out.append("<h2>Servers at the end</h2>" + table(
        [(s, " ".join(f"{k.removeprefix('zk_')}={x}" for k, x in sorted(d.items()))) for s, d in v["final"].items()]))
    out.append("<h2>Files</h2><p>" + " ".join(
        f"<a href='{html.escape(f)}'>{html.escape(f)}</a>" for f in files) + "</p>")
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join(out) + "\n")
