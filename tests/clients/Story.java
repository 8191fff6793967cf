import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.atomic.AtomicValue;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicLong;
import org.apache.curator.framework.recipes.barriers.DistributedBarrier;
import org.apache.curator.framework.recipes.barriers.DistributedDoubleBarrier;
import org.apache.curator.framework.recipes.cache.ChildData;
import org.apache.curator.framework.recipes.cache.CuratorCache;
import org.apache.curator.framework.recipes.cache.CuratorCacheListener;
import org.apache.curator.framework.recipes.cache.NodeCache;
import org.apache.curator.framework.recipes.cache.PathChildrenCache;
import org.apache.curator.framework.recipes.cache.TreeCache;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessReadWriteLock;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreV2;
import org.apache.curator.framework.recipes.locks.Lease;
import org.apache.curator.framework.recipes.nodes.PersistentNode;
import org.apache.curator.framework.recipes.nodes.PersistentTtlNode;
import org.apache.curator.framework.recipes.queue.DistributedQueue;
import org.apache.curator.framework.recipes.queue.QueueBuilder;
import org.apache.curator.framework.recipes.queue.QueueConsumer;
import org.apache.curator.framework.recipes.queue.QueueSerializer;
import org.apache.curator.framework.recipes.shared.SharedCount;
import org.apache.curator.framework.recipes.watch.PersistentWatcher;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.curator.framework.api.transaction.CuratorTransactionResult;
import org.apache.curator.retry.RetryNTimes;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;

/** Curator tells what happened, line by line; '@' lines ask the runner to do something to the servers. */
public final class Story {
    private static final long SECONDS = 30;
    private static final ExecutorService POOL = Executors.newCachedThreadPool(r -> {
        Thread t = new Thread(r);
        t.setDaemon(true);
        return t;
    });
    private static String[] hosts;
    private static String all;

    private Story() {
    }

    private static void say(String format, Object... values) {
        System.out.println(String.format(format, values));
        System.out.flush();
    }

    private static void ask(String action) throws Exception {
        say("@%s", action);
        StringBuilder line = new StringBuilder();
        for (int c = System.in.read(); c != '\n'; c = System.in.read()) {
            if (c < 0) {
                throw new IllegalStateException("the runner went away");
            }
            line.append((char) c);
        }
    }

    private static CuratorFramework client(String where) throws Exception {
        CuratorFramework c = CuratorFrameworkFactory.builder().connectString(where).sessionTimeoutMs(10000)
                .connectionTimeoutMs(15000).retryPolicy(new RetryNTimes(200, 50)).build();
        c.start();
        if (!c.blockUntilConnected((int) SECONDS, TimeUnit.SECONDS)) {
            throw new IllegalStateException("not connected");
        }
        return c;
    }

    /** A client of the n-th server alone. */
    private static CuratorFramework client(int n) throws Exception {
        return client(hosts[n % hosts.length]);
    }

    private static void until(String what, Callable<Boolean> condition) throws Exception {
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(SECONDS);
        while (!condition.call()) {
            if (System.nanoTime() > end) {
                throw new IllegalStateException("waited in vain: " + what);
            }
            Thread.sleep(10);
        }
    }

    private static <T> T next(BlockingQueue<T> queue) throws Exception {
        T value = queue.poll(SECONDS, TimeUnit.SECONDS);
        if (value == null) {
            throw new IllegalStateException("nothing came");
        }
        return value;
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static String text(byte[] data) {
        return data == null ? "null" : new String(data, StandardCharsets.UTF_8);
    }

    private static String attempt(Callable<?> call) throws Exception {
        try {
            return String.valueOf(call.call());
        } catch (KeeperException e) {
            return e.code().toString();
        }
    }

    private static void remove(CuratorFramework c, String path) throws Exception {
        c.sync().forPath(path);
        c.delete().quietly().deletingChildrenIfNeeded().forPath(path);
    }

    private static void basics() throws Exception {
        try (CuratorFramework c = client(0)) {
            say("create: %s", attempt(() -> c.create().forPath("/cu", bytes("one"))));
            say("create again: %s", attempt(() -> c.create().forPath("/cu")));
            say("with parents: %s", attempt(() -> c.create().creatingParentsIfNeeded().forPath("/cu/a/b/c", bytes("x"))));
            say("with container parents: %s", attempt(() -> c.create().creatingParentContainersIfNeeded().forPath("/cu/k/l")));
            say("protected: %s", attempt(() -> c.create().withProtection().withMode(CreateMode.EPHEMERAL_SEQUENTIAL)
                    .forPath("/cu/p-").replaceAll("_c_[0-9a-f-]+-", "GUID-")));
            say("or set: %s", attempt(() -> c.create().orSetData().forPath("/cu", bytes("two"))));
            say("data: %s", text(c.getData().forPath("/cu")));
            say("wrong version: %s", attempt(() -> c.setData().withVersion(7).forPath("/cu", bytes("three"))));
            say("ttl: %s", attempt(() -> c.create().withTtl(60000).withMode(CreateMode.PERSISTENT_WITH_TTL).forPath("/cu/ttl")));
            List<String> names = new ArrayList<>(c.getChildren().forPath("/cu"));
            Collections.sort(names);
            say("children: %d", names.size());
            List<CuratorTransactionResult> results = c.transaction().forOperations(
                    c.transactionOp().create().forPath("/cu/t", bytes("t")),
                    c.transactionOp().setData().forPath("/cu/t", bytes("tt")),
                    c.transactionOp().check().withVersion(1).forPath("/cu/t"));
            for (CuratorTransactionResult r : results) {
                say("  %s %s %d", r.getType(), r.getForPath(), r.getError());
            }
            say("failing transaction: %s", attempt(() -> c.transaction().forOperations(
                    c.transactionOp().delete().forPath("/cu/t"), c.transactionOp().delete().forPath("/cu/none"))));
            say("still there: %s", text(c.getData().forPath("/cu/t")));
            BlockingQueue<String> done = new LinkedBlockingQueue<>();
            for (int i = 0; i < 100; i++) {
                c.create().inBackground((x, event) -> done.add(event.getResultCode() + event.getPath())).forPath("/cu/bg" + i);
            }
            boolean inOrder = true;
            for (int i = 0; i < 100; i++) {
                inOrder &= next(done).equals("0/cu/bg" + i);
            }
            say("100 in the background, in order: %s", inOrder);
            PersistentWatcher watcher = new PersistentWatcher(c, "/cu/a", true);
            BlockingQueue<String> events = new LinkedBlockingQueue<>();
            watcher.getListenable().addListener(e -> events.add(e.getType() + " " + e.getPath()));
            watcher.start();
            until("the persistent watch", () -> {
                c.setData().forPath("/cu/a", bytes("probe"));
                return !events.isEmpty();
            });
            c.sync().forPath("/cu");
            Thread.yield();
            c.create().forPath("/cu/a/new");
            String event = next(events);
            while (event.equals("NodeDataChanged /cu/a")) {
                event = next(events);
            }
            say("watched: %s", event);
            c.setData().forPath("/cu/a/b/c", bytes("y"));
            say("watched: %s", next(events));
            c.delete().forPath("/cu/a/new");
            say("watched: %s", next(events));
            watcher.close();
            remove(c, "/cu");
        }
    }

    private static void latch() throws Exception {
        List<CuratorFramework> clients = Arrays.asList(client(0), client(1), client(2));
        List<LeaderLatch> latches = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            LeaderLatch l = new LeaderLatch(clients.get(i), "/cul", "member" + i);
            l.start();
            int count = i + 1;
            until("participants", () -> latchesSee(l, count));
            latches.add(l);
        }
        for (int i = 0; i < 3; i++) {
            LeaderLatch l = latches.get(i);
            say("leads: %s", l.await(SECONDS, TimeUnit.SECONDS) ? l.getId() : "nobody");
            say("others lead: %d", latches.stream().filter(x -> x != l && x.hasLeadership()).count());
            if (i == 1) {
                clients.get(i).close();
            } else {
                l.close();
            }
        }
        remove(clients.get(0), "/cul");
        clients.get(0).close();
        clients.get(2).close();
    }

    private static boolean latchesSee(LeaderLatch l, int count) throws Exception {
        return l.getParticipants().size() == count;
    }

    private static void locks() throws Exception {
        try (CuratorFramework a = client(0); CuratorFramework b = client(1)) {
            InterProcessMutex ma = new InterProcessMutex(a, "/cum");
            InterProcessMutex mb = new InterProcessMutex(b, "/cum");
            say("a: %s", ma.acquire(SECONDS, TimeUnit.SECONDS));
            say("a again, reentrant: %s", ma.acquire(SECONDS, TimeUnit.SECONDS));
            say("b not: %s", mb.acquire(50, TimeUnit.MILLISECONDS));
            Future<Boolean> waits = POOL.submit(() -> {
                boolean got = mb.acquire(SECONDS, TimeUnit.SECONDS);
                mb.release();
                return got;
            });
            until("b to wait", () -> ma.getParticipantNodes().size() == 2);
            ma.release();
            ma.release();
            say("b: %s", waits.get(SECONDS, TimeUnit.SECONDS));
            InterProcessReadWriteLock ra = new InterProcessReadWriteLock(a, "/curw");
            InterProcessReadWriteLock rb = new InterProcessReadWriteLock(b, "/curw");
            say("two readers: %s %s", ra.readLock().acquire(SECONDS, TimeUnit.SECONDS), rb.readLock().acquire(SECONDS, TimeUnit.SECONDS));
            rb.readLock().release();
            say("writer not: %s", rb.writeLock().acquire(50, TimeUnit.MILLISECONDS));
            ra.readLock().release();
            say("writer: %s", rb.writeLock().acquire(SECONDS, TimeUnit.SECONDS));
            rb.writeLock().release();
            InterProcessSemaphoreV2 sa = new InterProcessSemaphoreV2(a, "/cus", 1);
            InterProcessSemaphoreV2 sb = new InterProcessSemaphoreV2(b, "/cus", 1);
            Lease lease = sa.acquire();
            say("semaphore full: %s", sb.acquire(50, TimeUnit.MILLISECONDS) == null);
            sa.returnLease(lease);
            Lease second = sb.acquire(SECONDS, TimeUnit.SECONDS);
            say("semaphore: %s", second != null);
            sb.returnLease(second);
            int[] inside = {0};
            List<Future<Integer>> runs = new ArrayList<>();
            for (InterProcessMutex m : Arrays.asList(ma, mb)) {
                runs.add(POOL.submit(() -> {
                    for (int i = 0; i < 20; i++) {
                        m.acquire();
                        inside[0]++;
                        m.release();
                    }
                    return 20;
                }));
            }
            for (Future<Integer> run : runs) {
                run.get(SECONDS, TimeUnit.SECONDS);
            }
            say("counted under the lock: %d", inside[0]);
            for (String path : Arrays.asList("/cum", "/curw", "/cus")) {
                remove(a, path);
            }
        }
    }

    private static void caches() throws Exception {
        // CuratorCache has a session of its own: in 3.8.0 a one-shot watch on the same path ends a persistent one
        try (CuratorFramework a = client(0); CuratorFramework b = client(1); CuratorFramework own = client(2)) {
            a.create().creatingParentsIfNeeded().forPath("/cuc/x", bytes("0"));
            until("all to see it", () -> b.checkExists().forPath("/cuc/x") != null && own.checkExists().forPath("/cuc/x") != null);
            BlockingQueue<String> paths = new LinkedBlockingQueue<>();
            BlockingQueue<String> trees = new LinkedBlockingQueue<>();
            BlockingQueue<String> nodes = new LinkedBlockingQueue<>();
            BlockingQueue<String> caches = new LinkedBlockingQueue<>();
            PathChildrenCache path = new PathChildrenCache(b, "/cuc", true);
            path.start(PathChildrenCache.StartMode.BUILD_INITIAL_CACHE);
            path.getListenable().addListener((c, e) -> paths.add(e.getType() + " " + describe(e.getData())));
            NodeCache node = new NodeCache(b, "/cuc/x");
            node.start(true);
            node.getListenable().addListener(() -> nodes.add(describe(node.getCurrentData())));
            TreeCache tree = new TreeCache(b, "/cuc");
            tree.getListenable().addListener((c, e) -> trees.add(e.getType() + " " + describe(e.getData())));
            tree.start();
            CuratorCache cache = CuratorCache.build(own, "/cuc");
            cache.listenable().addListener(CuratorCacheListener.builder().forInitialized(() -> caches.add("INITIALIZED"))
                    .forAll((type, before, now) -> caches.add(type + " " + describe(now == null ? before : now))).build());
            cache.start();
            for (int i = 0; i < 3; i++) {
                say("tree: %s", next(trees));
            }
            List<String> first = new ArrayList<>(Arrays.asList(next(caches), next(caches), next(caches)));
            Collections.sort(first);
            say("cache: %s", first);
            say("path cache: %d, node cache: %s", path.getCurrentData().size(), describe(node.getCurrentData()));
            step("set", () -> a.setData().forPath("/cuc/x", bytes("1")), Arrays.asList(paths, nodes, trees, caches));
            step("create", () -> a.create().forPath("/cuc/y", bytes("y")), Arrays.asList(paths, trees, caches));
            step("grandchild", () -> a.create().forPath("/cuc/y/z", bytes("z")), Arrays.asList(trees, caches));
            step("delete it", () -> a.delete().forPath("/cuc/y/z"), Arrays.asList(trees, caches));
            step("delete", () -> a.delete().forPath("/cuc/x"), Arrays.asList(paths, nodes, trees, caches));
            path.close();
            node.close();
            tree.close();
            cache.close();
            remove(a, "/cuc");
        }
    }

    private static String describe(ChildData d) {
        return d == null ? "nothing" : d.getPath() + "=" + text(d.getData()) + " v" + d.getStat().getVersion();
    }

    private static void step(String what, Callable<?> change, List<BlockingQueue<String>> heard) throws Exception {
        change.call();
        StringBuilder line = new StringBuilder(what + ":");
        for (BlockingQueue<String> queue : heard) {
            line.append(" | ").append(next(queue));
        }
        say("%s", line);
    }

    private static void counters() throws Exception {
        try (CuratorFramework a = client(0); CuratorFramework b = client(1)) {
            SharedCount ca = new SharedCount(a, "/cun-shared", 7);
            SharedCount cb = new SharedCount(b, "/cun-shared", 7);
            ca.start();
            until("the counter to exist", () -> b.checkExists().forPath("/cun-shared") != null);
            cb.start();
            ca.setCount(42);
            until("b to see it", () -> cb.getCount() == 42);
            say("shared: %d", cb.getCount());
            say("if unchanged: %s", cb.trySetCount(cb.getVersionedValue(), 43));
            until("a to see it", () -> ca.getCount() == 43);
            say("shared: %d", ca.getCount());
            List<Future<Integer>> runs = new ArrayList<>();
            for (CuratorFramework c : Arrays.asList(a, b)) {
                DistributedAtomicLong number = new DistributedAtomicLong(c, "/cun-long", new RetryNTimes(500, 1));
                runs.add(POOL.submit(() -> {
                    int good = 0;
                    for (int i = 0; i < 25; i++) {
                        AtomicValue<Long> value = number.increment();
                        good += value.succeeded() ? 1 : 0;
                    }
                    return good;
                }));
            }
            int sum = 0;
            for (Future<Integer> run : runs) {
                sum += run.get(SECONDS, TimeUnit.SECONDS);
            }
            a.sync().forPath("/cun-long");
            DistributedAtomicLong number = new DistributedAtomicLong(a, "/cun-long", new RetryNTimes(10, 10));
            until("a to have all", () -> number.get().postValue() == 50);
            say("atomic: %d of %d", number.get().postValue(), sum);
            ca.close();
            cb.close();
            remove(a, "/cun-shared");
            remove(a, "/cun-long");
        }
    }

    private static void queuesAndBarriers() throws Exception {
        try (CuratorFramework a = client(0); CuratorFramework b = client(1)) {
            BlockingQueue<String> got = new LinkedBlockingQueue<>();
            QueueSerializer<String> serializer = new QueueSerializer<String>() {
                @Override
                public byte[] serialize(String item) {
                    return bytes(item);
                }

                @Override
                public String deserialize(byte[] data) {
                    return text(data);
                }
            };
            QueueConsumer<String> consumer = new QueueConsumer<String>() {
                @Override
                public void consumeMessage(String message) {
                    got.add(message);
                }

                @Override
                public void stateChanged(CuratorFramework c, ConnectionState state) {
                }
            };
            DistributedQueue<String> in = QueueBuilder.builder(a, null, serializer, "/cuq").buildQueue();
            in.start();
            DistributedQueue<String> out = QueueBuilder.builder(b, consumer, serializer, "/cuq").buildQueue();
            out.start();
            for (int i = 0; i < 10; i++) {
                in.put("item" + i);
            }
            List<String> items = new ArrayList<>();
            for (int i = 0; i < 10; i++) {
                items.add(next(got));
            }
            Collections.sort(items);    // the consumer's own threads may swap neighbours
            say("queue: %s", items);
            in.close();
            out.close();
            DistributedBarrier ba = new DistributedBarrier(a, "/cub");
            ba.setBarrier();
            b.sync().forPath("/cub");
            Future<Boolean> waits = POOL.submit(() -> new DistributedBarrier(b, "/cub").waitOnBarrier(SECONDS, TimeUnit.SECONDS));
            ba.removeBarrier();
            say("barrier: %s", waits.get(SECONDS, TimeUnit.SECONDS));
            List<Future<String>> walks = new ArrayList<>();
            for (CuratorFramework c : Arrays.asList(a, b)) {
                DistributedDoubleBarrier d = new DistributedDoubleBarrier(c, "/cud", 2);
                walks.add(POOL.submit(() -> d.enter(SECONDS, TimeUnit.SECONDS) + " " + d.leave(SECONDS, TimeUnit.SECONDS)));
            }
            for (Future<String> walk : walks) {
                say("double barrier: %s", walk.get(SECONDS, TimeUnit.SECONDS));
            }
            for (String path : Arrays.asList("/cuq", "/cud")) {
                if (a.checkExists().forPath(path) != null) {
                    remove(a, path);
                }
            }
        }
    }

    /** A persistent node, a latch and a cache through the death of the leader and restarts. */
    private static void events() throws Exception {
        CuratorFramework a = client(all);
        CuratorFramework b = client(all);
        BlockingQueue<ConnectionState> states = new LinkedBlockingQueue<>();
        a.getConnectionStateListenable().addListener((c, s) -> states.add(s));
        long session = a.getZookeeperClient().getZooKeeper().getSessionId();
        PersistentNode node = new PersistentNode(a, CreateMode.EPHEMERAL, false, "/cue/node", bytes("here"), true);
        node.start();
        say("persistent node: %s", node.waitForInitialCreate(SECONDS, TimeUnit.SECONDS));
        PersistentTtlNode ttl = new PersistentTtlNode(a, "/cue/ttl", 60000, bytes("ttl"));
        ttl.start();
        say("ttl node: %s", ttl.waitForInitialCreate(SECONDS, TimeUnit.SECONDS));
        LeaderLatch latch = new LeaderLatch(a, "/cue/latch", "a");
        latch.start();
        say("latch: %s", latch.await(SECONDS, TimeUnit.SECONDS));
        ask("kill leader");
        until("a write", () -> {
            try {
                b.create().orSetData().creatingParentsIfNeeded().forPath("/cue/after", bytes("1"));
                return true;
            } catch (KeeperException.ConnectionLossException e) {
                return false;
            }
        });
        until("a connected", () -> a.getZookeeperClient().isConnected());
        a.sync().forPath("/cue");
        say("same session: %s", a.getZookeeperClient().getZooKeeper().getSessionId() == session);
        until("the ephemeral", () -> a.checkExists().forPath("/cue/node") != null);
        say("its owner is the session: %s", a.checkExists().forPath("/cue/node").getEphemeralOwner() == session);
        say("latch: %s", latch.await(SECONDS, TimeUnit.SECONDS));
        b.delete().forPath("/cue/node");
        until("the persistent node to come back", () -> a.checkExists().forPath("/cue/node") != null);
        say("deleted by another, made again");
        ask("start killed");
        ask("restart all");
        until("a write", () -> {
            try {
                b.create().orSetData().forPath("/cue/after", bytes("2"));
                return true;
            } catch (KeeperException.ConnectionLossException e) {
                return false;
            }
        });
        until("a connected", () -> a.getZookeeperClient().isConnected());
        say("same session: %s", a.getZookeeperClient().getZooKeeper().getSessionId() == session);
        until("the ephemeral", () -> a.checkExists().forPath("/cue/node") != null);
        say("lost: %s", states.contains(ConnectionState.LOST));
        say("data: %s", text(a.getData().forPath("/cue/node")));
        latch.close();
        ttl.close();
        node.close();
        a.close();
        remove(b, "/cue");
        b.close();
    }

    public static void main(String[] args) throws Exception {
        all = args[1];
        hosts = all.split(",");
        switch (args[0]) {
            case "basics": basics(); break;
            case "latch": latch(); break;
            case "locks": locks(); break;
            case "caches": caches(); break;
            case "counters": counters(); break;
            case "queues": queuesAndBarriers(); break;
            case "events": events(); break;
            default: throw new IllegalArgumentException(args[0]);
        }
        System.exit(0);
    }
}
