"""The two pictures of a run, as SVG: what was done when, and how long it took.

Input: operations as (begin_ns, end_ns, session, kind, outcome), kind "read" or "write", outcome "ok", "refused" or
"unknown"; the nemesis's events; what each server was, sampled; all on one monotonic clock. Marks that fall on one pixel
are drawn once, so a picture of a million operations stays small.
"""
import collections
import html
import math

WIDTH, LEFT, RIGHT, LANE = 1200, 90, 20, 14
COLOURS = {"ok": "#2a7f62", "refused": "#8a8d91", "unknown": "#d1495b", "read": "#4477aa", "write": "#aa7a00",
           "leader": "#30638e", "follower": "#a9c5de", "observer": "#d9d2e9", "paused": "#e0a458", "down": "#3a3a3a",
           "electing": "#f0efeb"}
OUTCOMES = ("ok", "refused", "unknown")


class Picture:
    def __init__(self, begin_ns, end_ns, title):
        self.begin_ns, self.end_ns = begin_ns, max(end_ns, begin_ns + 1)
        self.title = title
        self.parts = []
        self.y = 30

    def x(self, ns):
        share = (ns - self.begin_ns) / (self.end_ns - self.begin_ns)
        return LEFT + min(max(share, 0), 1) * (WIDTH - LEFT - RIGHT)

    def text(self, x, y, text, anchor="start", size=10, fill="#333"):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{fill}">'
                          f'{html.escape(text)}</text>')

    def box(self, x, y, width, height, fill, title=None, opacity=1.0):
        inside = f"<title>{html.escape(title)}</title>" if title else ""
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.8):.1f}" height="{height:.1f}" '
                          f'fill="{fill}" fill-opacity="{opacity}">{inside}</rect>')

    def bands(self, events, top, bottom):
        """Behind everything: when a fault was there. A hover tells what was done."""
        behind = Picture(self.begin_ns, self.end_ns, "")
        for e in events:
            x = self.x(e["begin_ns"])
            behind.box(x, top, self.x(e["end_ns"]) - x, bottom - top, "#d1495b", f"{e['name']}: {e['what']}", 0.12)
        self.parts[:0] = behind.parts

    def names(self, events):
        """The faults' names, on as many lines as they need."""
        ends = []
        for e in sorted(events, key=lambda e: e["begin_ns"]):
            x, width = self.x(e["begin_ns"]), 5.6 * len(e["name"]) + 6
            row = next((i for i, end in enumerate(ends) if end <= x), len(ends))
            if row == len(ends):
                ends.append(0)
            ends[row] = x + width
            self.parts.append(f'<text x="{x:.1f}" y="{self.y + 10 + 11 * row}" font-size="9" fill="#9c2f3f">'
                              f'{html.escape(e["name"])}<title>{html.escape(e["what"])}</title></text>')
        self.y += 11 * max(1, len(ends)) + 6

    def seconds(self, y):
        total = (self.end_ns - self.begin_ns) / 1e9
        step = next(s for s in (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 1e9) if total / s <= 14)
        for i in range(int(total / step) + 1):
            x = self.x(self.begin_ns + i * step * 1e9)
            self.parts.append(f'<path d="M{x:.1f} {y}v4" stroke="#666"/>')
            self.text(x, y + 14, f"{i * step:g} s", "middle")

    def key(self, items):
        x = LEFT
        for name, colour in items:
            self.box(x, self.y, 9, 9, colour)
            self.text(x + 13, self.y + 8, name)
            x += 24 + 6.2 * len(name)
        self.y += 20

    def write(self, path, height):
        with open(path, "w", encoding="utf-8") as f:
            f.write(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
                    f'font-family="sans-serif"><rect width="100%" height="100%" fill="#fff"/>'
                    f'<text x="{LEFT}" y="18" font-size="13" fill="#111">{html.escape(self.title)}</text>')
            f.write("".join(self.parts))
            f.write("</svg>\n")


def timeline(path, title, begin_ns, end_ns, operations, events, samples):
    """Lanes: each server with what it was, each session with its operations, then operations per second."""
    p = Picture(begin_ns, end_ns, title)
    p.key([(n, COLOURS[n]) for n in ("leader", "follower", "observer", "electing", "paused", "down")] +
          [(n, COLOURS[n]) for n in OUTCOMES] + [("fault", "#f5dde0")])
    p.names(events)
    top = p.y
    for server in sorted(samples):
        p.text(LEFT - 8, p.y + 11, server, "end")
        points = samples[server]
        for (at, state), after in zip(points, points[1:] + [(end_ns, None)]):
            x = p.x(at)
            p.box(x, p.y + 2, p.x(after[0]) - x, LANE - 4, COLOURS.get(state, "#fff"))
        p.y += LANE
    p.y += 6
    rows = collections.defaultdict(lambda: collections.defaultdict(set))
    bins = collections.Counter()
    pixels = WIDTH - LEFT - RIGHT
    for begin, end, session, _, outcome in operations:
        x = round(p.x(begin))
        rows[session][x].add(outcome)
        bins[round(p.x(end)), outcome] += 1
    order = sorted(rows)
    lane = max(3.0, min(9.0, 420 / max(1, len(order))))
    for i, session in enumerate(order):
        for outcome in OUTCOMES:            # the rarer on top, so that it is seen
            xs = sorted(x for x, found in rows[session].items() if outcome in found)
            path_data = "".join(f"M{x} {p.y:.1f}v{lane - 1:.1f}" for x in xs)
            if path_data:
                p.parts.append(f'<path d="{path_data}" stroke="{COLOURS[outcome]}"/>')
        if lane >= 7 or i % 5 == 0:
            p.text(LEFT - 8, p.y + lane, str(session), "end", 8)
        p.y += lane
    p.y += 12
    height = 90
    per_second = pixels / ((p.end_ns - p.begin_ns) / 1e9)
    most = max([sum(bins[x, o] for o in OUTCOMES) for x in range(LEFT, WIDTH)] + [1])
    for x in range(LEFT, WIDTH - RIGHT + 1):
        y = p.y + height
        for outcome in OUTCOMES:
            part = bins[x, outcome] / most * height
            if part:
                p.box(x, y - part, 1, part, COLOURS[outcome])
                y -= part
    p.text(LEFT - 8, p.y + 8, f"{most * per_second:.0f}/s", "end")
    p.text(LEFT - 8, p.y + height, "0", "end")
    p.y += height
    p.bands(events, top, p.y)
    p.seconds(p.y)
    p.write(path, p.y + 24)


def latency(path, title, begin_ns, end_ns, operations, events):
    """Each operation a dot: when it ended, how long it took (logarithmic)."""
    p = Picture(begin_ns, end_ns, title)
    p.key([("read", COLOURS["read"]), ("write", COLOURS["write"]), ("refused", COLOURS["refused"]),
           ("unknown outcome", COLOURS["unknown"]), ("fault", "#f5dde0")])
    p.names(events)
    top, height = p.y, 380
    least, most = 0.1, 60000.0

    def y(ms):
        share = math.log10(min(max(ms, least), most) / least) / math.log10(most / least)
        return top + height - share * height

    for ms in (0.1, 1, 10, 100, 1000, 10000, 60000):
        p.parts.append(f'<path d="M{LEFT} {y(ms):.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        p.text(LEFT - 8, y(ms) + 3, f"{ms:g} ms" if ms < 1000 else f"{ms / 1000:g} s", "end")
    dots = collections.defaultdict(set)
    for begin, end, _, kind, outcome in operations:
        colour = kind if outcome == "ok" else outcome
        dots[colour].add((round(p.x(end)), round(y((end - begin) / 1e6))))
    for colour in ("read", "write", "refused", "unknown"):
        data = "".join(f"M{x} {v}h1.6" for x, v in sorted(dots[colour]))
        if data:
            p.parts.append(f'<path d="{data}" stroke="{COLOURS[colour]}" stroke-width="1.6" stroke-opacity="0.8"/>')
    p.bands(events, top, top + height)
    p.seconds(top + height)
    p.write(path, top + height + 24)
