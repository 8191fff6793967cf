"""docs/metrics.md from store/metrics.tbl and intended.py. Run: prints it; check() tells whether the file is current."""
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import intended  # noqa: E402

PAGE = os.path.join(HERE, "..", "..", "docs", "metrics.md")

HEAD = """\
# Commands and metrics

<!-- made by `make docs` from store/metrics.tbl and tests/admin/intended.py -->

A server tells about itself in three ways, in ZooKeeper 3.8.0's words, so that dashboards and scripts go on working:

| how | where | settings |
| --- | --- | --- |
| four-letter words | the client ports: `echo mntr \\| nc HOST 2181` | `4lw.commands.whitelist` (default: `srvr` alone) |
| admin server | `http://HOST:8080/commands`, and `/metrics` | `admin.enableServer`, `admin.serverAddress`, `admin.serverPort`, `admin.commandURL` |
| Prometheus | `http://HOST:7000/metrics` | `metricsProvider.className`, `metricsProvider.httpHost`, `metricsProvider.httpPort` |

The admin server speaks plain HTTP without a password, as ZooKeeper's does: bind it to loopback where the network is
not yours. A taken admin port is logged and done without; a taken Prometheus port is an error at start. A list with
more than 100000 entries (sessions, watches, connections) is not made: the answer says how many there are.
`srst` sets counters and summaries back, gauges stay.
Of an observer the leader's `observers` command tells address, id, queued bytes and how far its log is
(`log_index`); ZooKeeper counts its packets and requests too. Bytes and counts `per_namespace` are those of single
operations, not of the parts of a multi. Over 1000000 watches `wchc` and `wchp` list only so many, `wchs` counts all.

`make admin-check` compares every word, command and metric with Debian's zookeeper 3.8.0, alone, in an ensemble,
without a leader and with a whitelist. The version reads `3.8.0-paddock-VERSION, built on DATE UTC`, the date being
that of the program file.

## What to watch

| question | metric |
| --- | --- |
| Does it serve? | `paddock_serving` 1; `ruok` only says that the process runs |
| Who leads, since when? | `server_state`, `paddock_leader_id`, `leader_uptime`; `looking_count` and `election_time` for how often |
| Is a follower behind? | `paddock_commit_index` - `paddock_applied_index`; on the leader `synced_followers` |
| Is the disk slow? | `paddock_log_sync_us` (each write waits for it), `fsynctime`, `paddock_state_commit_us` (nobody waits, but for those that `paddock_state_wait_ms` counts) |
| Is the disk full? | `paddock_disk_free_bytes`; `paddock_writes_refused` 1 while writes are refused |
| How long does a restart take? | it replays what lies between `paddock_durable_index` and `paddock_applied_index` |
| How fast are requests? | `paddock_read_latency_us`, `paddock_write_latency_us`, `paddock_commit_latency_us` |
| Does anything block the loop? | `paddock_loop_stall_ms` |
| Are clients or peers too slow? | `paddock_reply_queue_pauses`, `paddock_peer_queue_bytes` |
| Does somebody send garbage? | `paddock_bad_frames`, `auth_failed_count`, `connection_rejected` |

In `mntr` a name begins with `zk_`; a summary shows as `avg_`, `min_`, `max_`, `cnt_`, `sum_` and, where it has
percentiles, `p50_`, `p95_`, `p99_`, `p999_` before the name; one kept for each key as `KEY_name`. Prometheus has them
as `name{quantile="0.5"}`, `name_count`, `name_sum`, and the label `key`. Percentiles are over everything since the
start or `srst`, exact below 32 and within 1/32 of the value above.
"""

TYPES = {"COUNTER": "counter", "GAUGE": "gauge", "GAUGE_REAL": "gauge", "SUMMARY": "summary",
         "SUMMARY_ADV": "summary with percentiles", "COUNTER_SET": "counter for each key",
         "GAUGE_SET": "gauge for each key", "SUMMARY_SET": "summary for each key",
         "SUMMARY_ADV_SET": "summary with percentiles for each key"}


def rows():
    with open(os.path.join(HERE, "..", "..", "store", "metrics.tbl")) as f:
        found = re.findall(r'^METRIC\((\w+), "(\w+)", (\w+),\s*((?:"[^"]*"\s*)+)\)', f.read(), re.M)
    return [(name, TYPES[kind], "".join(re.findall(r'"([^"]*)"', text))) for _, name, kind, text in found]


def table(out, head, lines):
    out.append("| " + " | ".join(head) + " |")
    out.append("| " + " | ".join("---" for _ in head) + " |")
    out += ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
    out.append("")


def page():
    out = [HEAD]
    all_rows = rows()
    out.append("## Ours\n")
    table(out, ("metric", "type", "meaning"), [(f"`{n}`", k, h) for n, k, h in all_rows if n.startswith("paddock_")])
    out.append("## ZooKeeper's\n")
    table(out, ("metric", "type", "meaning here"),
          [(f"`{n}`", k, h) for n, k, h in all_rows if not n.startswith("paddock_") and not h.startswith("Always")])
    out.append("## ZooKeeper's that are there and stay empty\n")
    out.append("Their names stay, so that no dashboard breaks.\n")
    table(out, ("metric", "why"), [(f"`{n}`", h) for n, _, h in all_rows
                                   if not n.startswith("paddock_") and h.startswith("Always")])
    out.append("## What differs from the reference\n")
    said = {"MISSING": "not here", "EXTRA": "only here", "CHANGED": "another value"}
    table(out, ("where", "key", "difference", "why"),
          [(where, f"`{pattern}`", said[name], why) for name in said for where, pattern, why in getattr(intended, name)] +
          [(where, f"`{line}`", "sometimes not here", why) for where, line, why in intended.SHAPES] +
          [(where, "without a leader", "another answer", why) for where, why in intended.NOT_SERVING])
    return "\n".join(out).rstrip() + "\n"


def is_current():
    with open(PAGE) as f:
        return f.read() == page()


if __name__ == "__main__":
    with open(PAGE, "w") as f:
        f.write(page())
    print("docs/metrics.md")
