"""kazoo's recipes, two or more clients at a time; on three servers each client sits on another one."""
import datetime
import queue
import threading

from kazoo.recipe.cache import TreeCache, TreeEvent


from cluster import wait_for
from kazoo_basics import SECONDS, attempt, connect, leave


class Crowd:
    """n clients, each on the next server."""

    def __init__(self, ctx, count):
        self.clients = [connect(ctx, i) for i in range(count)]

    def __enter__(self):
        return self.clients

    def __exit__(self, *exc):
        leave(*self.clients)


def background(function, *args):
    thread = threading.Thread(target=function, args=args, daemon=True)
    thread.start()
    return thread


def join(*threads):
    for thread in threads:
        thread.join(SECONDS)
        assert not thread.is_alive(), "a client waits for ever"


def contenders_wait(lock, count):
    wait_for(f"{count} contenders", lambda: len(lock.contenders()) == count)


def lock(ctx):
    with Crowd(ctx, 3) as (a, b, c):
        locks = [zk.Lock("/kr/lock", name) for zk, name in ((a, "a"), (b, "b"), (c, "c"))]
        ctx.say("a acquires:", locks[0].acquire(timeout=SECONDS))
        ctx.say("b does not:", locks[1].acquire(blocking=False))
        order = queue.Queue()

        def hold(lk, name):
            with lk:
                order.put(name)

        b_waits = background(hold, locks[1], "b")
        contenders_wait(locks[0], 2)
        c_waits = background(hold, locks[2], "c")
        contenders_wait(locks[0], 3)
        ctx.say("contenders:", locks[0].contenders())
        locks[0].release()
        join(b_waits, c_waits)
        ctx.say("then in order:", [order.get(timeout=1) for _ in range(2)])
        ctx.say("a again:", locks[0].acquire(timeout=SECONDS))
        waiter = background(hold, locks[1], "b after a's session ended")
        contenders_wait(locks[0], 2)
        a.stop()
        join(waiter)
        ctx.say(order.get(timeout=1))
        read = [zk.ReadLock("/kr/rw", "r") for zk in (b, c)]
        ctx.say("two readers:", [r.acquire(timeout=SECONDS) for r in read])
        writer = b.WriteLock("/kr/rw", "w")
        ctx.say("writer not yet:", writer.acquire(blocking=False))
        for r in read:
            r.release()
        ctx.say("writer now:", writer.acquire(timeout=SECONDS))
        writer.release()

        def count_up(zk):
            lk = zk.Lock("/kr/count")
            for _ in range(10):
                with lk:
                    zk.sync("/kr/sum")
                    value = int(zk.get("/kr/sum")[0]) if zk.exists("/kr/sum") else None
                    if value is None:
                        zk.create("/kr/sum", b"1")
                    else:
                        zk.set("/kr/sum", b"%d" % (value + 1))

        join(background(count_up, b), background(count_up, c))
        ctx.say("20 times under the lock:", (b.sync("/kr/sum"), b.get("/kr/sum")[0])[1])
        b.delete("/kr", recursive=True)


def semaphore(ctx):
    with Crowd(ctx, 3) as clients:
        held = [zk.Semaphore("/ks", name, max_leases=2) for zk, name in zip(clients, "abc")]
        ctx.say("a, b:", [s.acquire(timeout=SECONDS) for s in held[:2]])
        clients[2].sync("/ks")
        ctx.say("c not:", held[2].acquire(blocking=False))
        clients[0].sync("/ks")
        ctx.say("holders:", sorted(held[0].lease_holders()))
        got = queue.Queue()
        waiter = background(lambda: got.put(held[2].acquire(timeout=SECONDS)))
        wait_for("c to wait", lambda: len(clients[0].get_children("/ks-__lock__")) > 0)
        held[0].release()
        join(waiter)
        ctx.say("c after a's release:", got.get(timeout=1))
        for s in held[1:]:
            s.release()
        clients[1].sync("/ks")
        clients[1].delete("/ks", recursive=True)
        clients[1].delete("/ks-__lock__", recursive=True)


def election(ctx):
    with Crowd(ctx, 3) as clients:
        elections = [zk.Election("/ke", name) for zk, name in zip(clients, "abc")]
        told = queue.Queue()
        release = {name: threading.Event() for name in "abc"}

        def lead(name):
            told.put(name)
            release[name].wait(SECONDS)

        threads = []
        for i, (e, name) in enumerate(zip(elections, "abc")):
            threads.append(background(e.run, lead, name))
            wait_for(f"{name} to stand", lambda: len(elections[0].contenders()) == i + 1)
        ctx.say("contenders:", elections[0].contenders())
        for name in "abc":
            ctx.say("leads:", told.get(timeout=SECONDS))
            release[name].set()
        join(*threads)
        clients[0].sync("/ke")
        clients[0].delete("/ke", recursive=True)


def barriers(ctx):
    with Crowd(ctx, 3) as (a, b, c):
        gate = a.Barrier("/kb/gate")
        ctx.say("open at first:", b.Barrier("/kb/gate").wait(SECONDS))
        gate.create()
        b.sync("/kb/gate")
        results = queue.Queue()
        waiter = background(lambda: results.put(b.Barrier("/kb/gate").wait(SECONDS)))
        ctx.say("remove:", gate.remove())
        join(waiter)
        ctx.say("waiter went through:", results.get(timeout=1))
        ctx.say("remove again:", gate.remove())
        steps = queue.Queue()

        def walk(zk, name):
            double = zk.DoubleBarrier("/kb/double", 3, identifier=name)
            double.enter()
            steps.put("in")
            double.leave()
            steps.put("out")

        join(*[background(walk, zk, name) for zk, name in ((a, "a"), (b, "b"), (c, "c"))])
        ctx.say("double barrier:", sorted(steps.get(timeout=1) for _ in range(6)))
        a.sync("/kb")
        a.delete("/kb", recursive=True)


def queues(ctx):
    with Crowd(ctx, 2) as (a, b):
        q = a.Queue("/kq/plain")
        for i in range(5):
            q.put(b"item %d" % i, priority=100 - i)
        other = b.Queue("/kq/plain")
        b.sync("/kq/plain")
        ctx.say("length:", len(other))
        ctx.say("by priority:", [other.get() for _ in range(5)])
        ctx.say("empty:", other.get())
        lq = a.LockingQueue("/kq/locking")
        ctx.say("put:", lq.put(b"one"), lq.put_all([b"two", b"three"]))
        lb = b.LockingQueue("/kq/locking")

        def take(zk, taker):  # the first that is free now, not what its server saw a moment ago
            zk.sync("/kq/locking")
            return taker.get(timeout=SECONDS)

        ctx.say("b takes:", take(b, lb))
        ctx.say("a takes:", take(a, lq))
        ctx.say("b consumes:", lb.consume(), "a releases:", lq.release())
        ctx.say("b takes:", take(b, lb), lb.holds_lock(), lb.consume())
        ctx.say("a takes:", take(a, lq), lq.consume())
        result = queue.Queue()
        waiter = background(lambda: result.put(lb.get(timeout=SECONDS)))
        lq.put(b"late")
        join(waiter)
        ctx.say("a waiting taker gets:", result.get(timeout=1), lb.consume())
        a.sync("/kq")
        a.delete("/kq", recursive=True)


def counter_and_party(ctx):
    with Crowd(ctx, 3) as clients:
        def count(zk):
            counter = zk.Counter("/kn/counter", default=100)
            for _ in range(10):
                counter += 2
                counter -= 1

        join(*[background(count, zk) for zk in clients])
        clients[0].sync("/kn/counter")
        ctx.say("counter:", clients[0].Counter("/kn/counter", default=100).value)
        floats = clients[1].Counter("/kn/float", default=1.5)
        floats += 2.25
        ctx.say("float:", floats.value)
        parties = [zk.Party("/kn/party", name) for zk, name in zip(clients, "abc")]
        for party in parties:
            party.join()
        clients[0].sync("/kn/party")
        ctx.say("party:", sorted(parties[0]), len(parties[0]))
        parties[1].leave()
        clients[2].stop()
        wait_for("c to be gone", lambda: len(parties[0]) == 1)
        ctx.say("after b left and c ended:", sorted(parties[0]))
        shallow = clients[0].ShallowParty("/kn/shallow", "me")
        shallow.join()
        ctx.say("shallow:", sorted(shallow))
        lease = clients[0].NonBlockingLease("/kn/lease", datetime.timedelta(seconds=60), "first")
        clients[1].sync("/kn/lease")
        second = clients[1].NonBlockingLease("/kn/lease", datetime.timedelta(seconds=60), "second")
        ctx.say("lease:", bool(lease), bool(second))
        clients[0].sync("/kn")
        clients[0].delete("/kn", recursive=True)


def partitioner(ctx):
    with Crowd(ctx, 2) as clients:
        parts = [zk.SetPartitioner("/kp", set=range(6), time_boundary=0.2, identifier=name)
                 for zk, name in zip(clients, "ab")]
        wait_for("both to have partitions", lambda: all(
            [p.wait_for_acquire(0.1) or p.acquired for p in parts]) and sum(len(list(p)) for p in parts) == 6
            if not any(p.release and p.release_set() for p in parts) else False)
        ctx.say("shares:", sorted(len(list(p)) for p in parts), sorted(x for p in parts for x in p))
        parts[1].finish()
        clients[1].stop()

        def alone():
            if parts[0].release:
                parts[0].release_set()
            parts[0].wait_for_acquire(0.1)
            return parts[0].acquired and len(list(parts[0])) == 6
        wait_for("the rest to be one's own", alone)
        ctx.say("alone:", sorted(parts[0]))
        parts[0].finish()
        clients[0].delete("/kp", recursive=True)


def tree_cache(ctx):
    with Crowd(ctx, 2) as (a, b):
        a.ensure_path("/kx/x/y")
        b.sync("/kx")
        cache, events = TreeCache(b, "/kx"), queue.Queue()
        ready = threading.Event()

        def listen(event):
            if event.event_type == TreeEvent.INITIALIZED:
                ready.set()
            elif ready.is_set():
                data = event.event_data
                events.put((event.event_type, data.path if data else None, data.data if data else None))

        cache.listen(listen)
        cache.start()
        assert ready.wait(SECONDS)
        ctx.say("cached:", sorted(cache.get_children("/kx")), cache.get_data("/kx/x/y").data)
        a.set("/kx/x", b"new")
        ctx.say(events.get(timeout=SECONDS))
        a.create("/kx/x/z", b"z")
        ctx.say(events.get(timeout=SECONDS))
        a.delete("/kx/x/y")
        ctx.say(events.get(timeout=SECONDS))
        wait_for("the cache to follow", lambda: sorted(cache.get_children("/kx/x")) == ["z"])
        ctx.say("cached:", cache.get_data("/kx/x").data, sorted(cache.get_children("/kx/x")))
        cache.close()
        a.delete("/kx", recursive=True)


SCENARIOS = [("kazoo-lock", lock), ("kazoo-semaphore", semaphore), ("kazoo-election", election),
             ("kazoo-barriers", barriers), ("kazoo-queues", queues), ("kazoo-counter-party", counter_and_party),
             ("kazoo-partitioner", partitioner), ("kazoo-tree-cache", tree_cache)]
