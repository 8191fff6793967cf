"""A control group with a memory limit, version 2 or 1, made below the one that we are in and removed with all in it."""
import os

from load import wait_for

REMOVE_S = 10


class NoGroups(Exception):
    """No group can be had here, and why."""


def mounts(kind, option=None):
    """Where file systems of that kind are mounted; of version 1 those with that controller."""
    found = []
    with open("/proc/self/mountinfo") as f:
        for line in f:
            before, _, after = line.partition(" - ")
            fields = after.split()
            if fields[0] == kind and (option is None or option in fields[2].split(",")):
                found.append(before.split()[4])
    return found


def own_path(controller):
    """Our group in the hierarchy of that controller; "" is version 2's."""
    with open("/proc/self/cgroup") as f:
        for line in f:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            if controller in controllers.split(","):
                return path.lstrip("/")
    return ""


def candidates():
    """(folder to make a group in, version)"""
    for mount in mounts("cgroup2"):
        at = os.path.join(mount, own_path(""))
        while at.startswith(mount):
            try:
                with open(os.path.join(at, "cgroup.subtree_control")) as f:
                    if "memory" in f.read().split():
                        yield at, 2
            except OSError:
                pass
            if at.rstrip("/") == mount.rstrip("/"):
                break
            at = os.path.dirname(at.rstrip("/"))
    for mount in mounts("cgroup", "memory"):
        at = os.path.join(mount, own_path("memory"))
        yield (at if os.path.isdir(at) else mount), 1


class Group:
    NAMES = {1: {"limit": "memory.limit_in_bytes", "peak": "memory.max_usage_in_bytes", "kills": "memory.oom_control",
                 "anon": "total_rss", "faults": "total_pgmajfault"},
             2: {"limit": "memory.max", "peak": "memory.peak", "kills": "memory.events", "anon": "anon",
                 "faults": "pgmajfault"}}

    def __init__(self, name):
        self.name = f"{name}-{os.getpid()}"
        self.path = None

    def __enter__(self):
        why = "no hierarchy has the memory controller for groups of ours"
        for folder, version in candidates():
            path = os.path.join(folder, self.name)
            try:
                os.mkdir(path)
            except OSError as e:
                why = f"{folder}: {e.strerror}"
                continue
            self.path, self.names = path, self.NAMES[version]
            if os.access(os.path.join(path, self.names["limit"]), os.W_OK):
                return self
            why = f"{path} has no {self.names['limit']} that we may write"
            self.remove()
        raise NoGroups(f"no control group with a memory limit: {why}")

    def __exit__(self, kind, value, trace):
        self.remove()

    def remove(self):
        """Who is in it has been ended; the kernel may take a moment to notice."""
        def gone():
            try:
                os.rmdir(self.path)
            except OSError:
                return False
            return True
        if self.path is not None:
            wait_for(f"{self.path} to be without processes", gone, REMOVE_S)
            self.path = None

    def read(self, name):
        with open(os.path.join(self.path, name)) as f:
            return f.read()

    def value(self, file, key):
        for line in self.read(file).splitlines():
            if line.split()[0] == key:
                return int(line.split()[1])
        return 0

    def limit(self, count):
        with open(os.path.join(self.path, self.names["limit"]), "w") as f:
            f.write(str(count))

    def command(self, command):
        """The command, run by a shell that enters the group first and is replaced by it."""
        return ["/bin/sh", "-c", 'echo $$ > "$0" && exec "$@"', os.path.join(self.path, "cgroup.procs"), *command]

    def anonymous_bytes(self):
        return self.value("memory.stat", self.names["anon"])

    def major_faults(self):
        return self.value("memory.stat", self.names["faults"])

    def kills(self):
        return self.value(self.names["kills"], "oom_kill")

    def peak_bytes(self):
        try:
            return int(self.read(self.names["peak"]))
        except OSError:         # version 2 before Linux 5.19
            return 0
