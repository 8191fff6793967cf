#!/usr/bin/python3
"""Clients by kazoo, which we did not write, in the same run; what they did goes into a history of JSON lines.

    kazoo_client.py HOSTS WORKLOAD HISTORY FIRST SESSIONS RATE SEED [CA CERT]

Each client is a thread with one request under way at a time, so that the zxid in the header of an answer, which kazoo
does not show, belongs to the call that waits. Ends on SIGTERM, when every call is answered. Prints the same status line
as paddock-workload.
"""
import json
import logging
import os
import random
import signal
import socket
import sys
import threading
import time

from kazoo.client import KazooClient
from kazoo.exceptions import (AuthFailedError, ConnectionClosedError, ConnectionLoss, KazooException, OperationTimeoutError,
                              SessionExpiredError)
from kazoo.protocol.connection import ConnectionHandler
from kazoo.protocol.states import KazooState
from kazoo.retry import KazooRetry

FIFO = 4
ANSWER_SECONDS = 30
STATUS_SECONDS = 0.5
UNKNOWN = (ConnectionLoss, ConnectionClosedError, SessionExpiredError, OperationTimeoutError, AuthFailedError)
stop = threading.Event()


def keep_header(original):
    """kazoo reads the header of an answer and keeps it to itself. Which session it is an answer in is known only here: a
    call that meets the end of its session waits for the next one."""
    def read(self, header, buffer, offset):
        self.client.lab_zxid, self.client.lab_session = header.zxid, self.client._session_id
        return original(self, header, buffer, offset)
    return read


ConnectionHandler._read_response = keep_header(ConnectionHandler._read_response)


class History:
    def __init__(self, path):
        self.file = open(path, "w", encoding="utf-8")
        self.lock = threading.Lock()

    def write(self, **event):
        with self.lock:
            event["time"] = time.monotonic_ns()
            self.file.write(json.dumps(event, separators=(",", ":")) + "\n")

    def flush(self):
        with self.lock:
            self.file.flush()

    def close(self):
        with self.lock:
            self.file.close()


def stat_of(stat):
    return list(stat)


class Client(threading.Thread):
    def __init__(self, hosts, workload, history, process, rate, seed, tls):
        super().__init__(daemon=True)
        self.history = history
        self.process = process
        self.pause = 1.0 / rate
        self.random = random.Random(f"{seed}/{process}")
        self.step = getattr(self, "step_" + workload, self.step_own)
        self.calls = self.unique = 0
        self.ok = self.refused = self.unknown = 0
        self.success = time.monotonic()
        self.session = 0
        quiet = logging.getLogger("quiet")
        quiet.addHandler(logging.NullHandler())
        quiet.propagate = False
        extra = dict(use_ssl=True, ca=tls[0], certfile=tls[1], keyfile=tls[1]) if tls else {}
        self.zk = KazooClient(hosts, timeout=8, logger=quiet, randomize_hosts=True, connection_retry=KazooRetry(
            max_tries=-1, delay=0.1, max_delay=1, backoff=1.5), **extra)
        self.zk.lab_zxid = self.zk.lab_session = 0
        self.history.write(kind="client", process=process, name="kazoo", flags=FIFO)
        self.zk.add_listener(self.on_state)

    def on_state(self, state):
        """From kazoo's connection thread."""
        event = {"kind": "session", "process": self.process}
        if state == KazooState.CONNECTED:
            self.session = self.zk._session_id
            event.update(state="connected", timeout=self.zk._session_timeout if self.zk._session_timeout > 100
                         else int(self.zk._session_timeout * 1000))
        elif state == KazooState.SUSPENDED:
            event.update(state="disconnected")
        elif self.zk.client_state == "EXPIRED_SESSION":
            event.update(state="expired")
        else:
            return              # closed: told when close is answered
        self.history.write(session=f"{self.session:#x}", **event)
        if event["state"] == "expired":
            self.session = 0

    def answered(self, head):
        if self.zk.lab_session:
            head["session"] = f"{self.zk.lab_session:#x}"
        return head

    def call(self, op, method, *arguments, answer=None, **asked):
        """One request, to its end. Returns the result, or None when it failed."""
        self.calls += 1
        number = self.calls
        head = {"process": self.process, "call": number, "session": f"{self.session:#x}"}
        self.history.write(kind="invoke", op=op, **head, **asked)
        self.zk.lab_zxid = self.zk.lab_session = 0
        try:
            result = method(*arguments)
        except UNKNOWN as e:
            self.unknown += 1
            self.history.write(kind="info", err=getattr(e, "code", -4), **head)
            return None
        except KazooException as e:
            self.refused += 1
            if getattr(e, "code", 0) in (-101, -110, -103, -111, -102):
                self.success = time.monotonic()
            if not getattr(e, "code", 0):
                self.history.write(kind="info", err=-4, **head)
                return None
            self.history.write(kind="fail", err=e.code, zxid=self.zk.lab_zxid, **self.answered(head))
            return None
        self.ok += 1
        self.success = time.monotonic()
        self.answered(head)
        self.history.write(kind="ok", zxid=self.zk.lab_zxid, **head, **(answer(result) if answer else {}))
        return result

    # -- operations
    def get(self, path):
        return self.call("getData", self.zk.get, path, path=path,
                         answer=lambda r: {"data": r[0].decode(), "stat": stat_of(r[1])})

    def set(self, path, value, version=-1):
        return self.call("setData", self.zk.set, path, value.encode(), version, path=path, data=value, version=version,
                         answer=lambda s: {"stat": stat_of(s)})

    def children(self, path):
        return self.call("getChildren", self.zk.get_children, path, path=path, answer=lambda r: {"names": r})

    def create(self, path, value, ephemeral=False, sequence=False):
        mode = (1 if ephemeral else 0) + (2 if sequence else 0)
        return self.call("create", lambda: self.zk.create(path, value.encode(), None, ephemeral, sequence), path=path,
                         data=value, mode=mode, answer=lambda r: {"created": r})

    def delete(self, path):
        return self.call("delete", self.zk.delete, path, path=path, version=-1)

    def exists(self, path):
        self.calls += 1         # None is an answer here: no such node
        head = {"process": self.process, "call": self.calls, "session": f"{self.session:#x}"}
        self.history.write(kind="invoke", op="exists", path=path, **head)
        self.zk.lab_zxid = self.zk.lab_session = 0
        try:
            stat = self.zk.exists(path)
        except KazooException as e:
            self.unknown += 1
            self.history.write(kind="info", err=getattr(e, "code", -4) or -4, **head)
            return None
        self.ok += 1
        self.success = time.monotonic()
        self.answered(head)
        if stat is None:
            self.history.write(kind="fail", err=-101, zxid=self.zk.lab_zxid, **head)
        else:
            self.history.write(kind="ok", zxid=self.zk.lab_zxid, stat=stat_of(stat), **head)
        return stat

    def sync(self, path):
        return self.call("sync", self.zk.sync, path, path=path)

    def value(self):
        self.unique += 1
        return f"{self.process}.{self.unique}"

    # -- workloads: the same nodes as in workload_*.c
    def step_register(self, folder="/register"):
        path = f"{folder}/{self.random.randrange(5)}"
        r = self.random.random()
        if r < 0.4:
            self.get(path)
        elif r < 0.7:
            self.set(path, self.value())
        elif r < 0.85:
            got = self.get(path)
            if got:
                self.set(path, self.value(), got[1].version)
        else:
            self.sync(path)
            self.get(path)

    def step_own(self):
        """Where the workload is about what kazoo cannot do: registers of its own."""
        self.step_register(f"/kazoo-{self.process}")

    def step_set(self):
        folder = f"/set/{self.unique // 10}"
        if self.random.random() < 0.6:
            value = self.value()
            if self.unique % 10 == 0:
                self.create(f"/set/{self.unique // 10}", "")
            self.create(f"/set/{self.unique // 10}/{value}", value)
        else:
            self.children(folder)

    def step_counter(self):
        if self.random.random() < 0.5:
            value = self.value()
            if self.unique % 50 == 0:
                self.create(f"/sequence/{self.unique // 50}", "")
            self.create(f"/sequence/{self.unique // 50}/n-", value, sequence=True)
        else:
            got = self.get("/counter")
            if got:
                self.set("/counter", str(int(got[0]) + 1), got[1].version)

    def step_queue(self):
        if self.random.random() < 0.45:
            self.create("/queue/e-", self.value(), sequence=True)
            return
        names = self.children("/queue")
        if names:
            path = "/queue/" + self.random.choice(sorted(names)[:10])
            self.get(path)
            self.delete(path)

    def step_bank(self):
        one, other = self.random.sample(range(8), 2)
        a, b = self.get(f"/bank/{one}"), self.get(f"/bank/{other}")
        if not a or not b or int(a[0]) <= 0:
            return
        amount = self.random.randint(1, int(a[0]))
        parts = [{"op": "setData", "path": f"/bank/{n}", "data": str(int(got[0]) + d), "version": got[1].version}
                 for n, got, d in ((one, a, -amount), (other, b, amount))]

        def commit():
            t = self.zk.transaction()
            for p in parts:
                t.set_data(p["path"], p["data"].encode(), p["version"])
            return t.commit()

        def answer(results):
            told = [{"op": "error", "err": getattr(x, "code", 0)} if isinstance(x, Exception) else
                    {"op": "setData", "stat": stat_of(x)} for x in results]
            return {"parts": told}
        self.call("multi", commit, parts=parts, answer=answer)

    def step_sessions(self):
        r = self.random.random()
        if r < 0.3:
            value = self.value()
            self.create(f"/session/{value}", value, ephemeral=True)
        elif r < 0.7:
            names = self.children("/session")
            if names:
                self.exists("/session/" + self.random.choice(names))
        else:
            names = self.children("/session")
            if names:
                self.delete("/session/" + self.random.choice(names))

    def begin(self):
        if self.step == self.step_own:
            self.create(f"/kazoo-{self.process}", "")
            for i in range(5):
                self.create(f"/kazoo-{self.process}/{i}", "0")

    def run(self):
        while not stop.is_set():
            try:
                self.zk.start(timeout=5)
                break
            except self.zk.handler.timeout_exception:
                continue
        if not stop.is_set():
            self.begin()
        while not stop.is_set():
            self.step()
            stop.wait(self.random.expovariate(1) * self.pause)
        self.close()

    def close(self):
        head = {"process": self.process, "call": self.calls + 1, "session": f"{self.session:#x}"}
        self.history.write(kind="invoke", op="closeSession", **head)
        connected = self.zk.connected
        self.zk.stop()
        self.zk.close()
        # stop() does not say whether a server answered: what may have been lost is told as abandoned
        self.history.write(kind="info", err=-4, **head)
        self.history.write(kind="session", process=self.process, session=head["session"], state="abandoned")
        return connected


def main():
    hosts, workload, path, first, sessions, rate, seed = sys.argv[1:8]
    tls = sys.argv[8:10]
    history = History(path)
    # Taken by sigtimedwait below, so no handler runs while this thread holds a lock; the clients' threads block it too.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    socket.setdefaulttimeout(30)
    clients = [Client(hosts, workload, history, int(first) + i, float(rate) / int(sessions), seed, tls)
               for i in range(int(sessions))]
    for c in clients:
        c.start()

    def status():
        now = time.monotonic()
        history.flush()
        print(f"ok={sum(c.ok for c in clients)} refused={sum(c.refused for c in clients)} "
              f"unknown={sum(c.unknown for c in clients)} idle_ms={int(1000 * max(now - c.success for c in clients))}",
              flush=True)
    # (What it returns when it was stopped for longer than it was to wait is not a signal that came.)
    while (told := signal.sigtimedwait({signal.SIGTERM}, STATUS_SECONDS)) is None or told.si_signo != signal.SIGTERM:
        status()
    stop.set()
    end = time.monotonic() + ANSWER_SECONDS
    for c in clients:
        c.join(max(0.0, end - time.monotonic()))
    status()
    late = [c.process for c in clients if c.is_alive()]
    if late:
        print(f"processes {late} have calls without an answer", file=sys.stderr)
    history.close()
    sys.stdout.flush()
    os._exit(4 if late else 0)      # kazoo's own threads may still wait for something


if __name__ == "__main__":
    main()
