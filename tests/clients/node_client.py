"""node-zookeeper-client from npm, the version pinned in package-lock.json, installed into the build folder."""
import fcntl
import os
import shutil
import subprocess

from cluster import BUILD, Missing

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCES = ["package.json", "package-lock.json", "story.js"]


def program():
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            raise Missing(f"{tool} is not there: install Debian's nodejs and npm")
    out = os.path.join(BUILD, "clients", "node")
    os.makedirs(out, exist_ok=True)
    with open(os.path.join(out, ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        old = os.path.join(out, "package-lock.json")
        with open(os.path.join(HERE, "package-lock.json")) as f:
            fresh = f.read()
        installed = os.path.exists(os.path.join(out, "node_modules", "node-zookeeper-client", "index.js"))
        if installed and os.path.exists(old):
            with open(old) as f:
                installed = f.read() == fresh
        for name in SOURCES:
            shutil.copy(os.path.join(HERE, name), out)
        if not installed:
            done = subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=out,
                                  capture_output=True, text=True)
            if done.returncode != 0:
                raise Missing(f"npm ci failed:\n{done.stdout}{done.stderr}")
    return os.path.join(out, "story.js")


def story(name):
    def run(ctx):
        ctx.drive(["node", program(), name, ctx.hosts()])
    return run


SCENARIOS = [("node-plain", story("plain")), ("node-events", story("events"))]
