"""The C client: story.c, compiled against Debian's libzookeeper-mt-dev."""
import os
import subprocess

from cluster import BUILD, need

HERE = os.path.dirname(os.path.abspath(__file__))


def program():
    """Compile once per change of the source; two runners at a time do not meet half a file."""
    need("/usr/include/zookeeper/zookeeper.h", "libzookeeper-mt-dev")
    source, out = os.path.join(HERE, "story.c"), os.path.join(BUILD, "clients", "story")
    if not os.path.exists(out) or os.path.getmtime(out) < os.path.getmtime(source):
        made = f"{out}.{os.getpid()}"
        subprocess.run(["gcc", "-std=gnu17", "-Wall", "-Wextra", "-Werror", "-O1", "-g", "-DTHREADED", "-o", made, source,
                        "-lzookeeper_mt", "-lpthread"], check=True)
        os.rename(made, out)
    return out


def plain(ctx):
    # one server: what is read must be what the same session wrote, and another session's too
    ctx.drive([program(), "plain", ctx.cluster.servers[0].host])


def events(ctx):
    ctx.drive([program(), "events", ctx.hosts()])


SCENARIOS = [("c-plain", plain), ("c-events", events)]
