"""Curator, Debian's libcurator-*-java: Story.java, compiled once into the build folder."""
import os
import subprocess

from cluster import BUILD, jars, need

HERE = os.path.dirname(os.path.abspath(__file__))


def class_path():
    return jars("curator-framework", "curator-recipes", "curator-client", "zookeeper", "zookeeper-jute", "guava",
                "slf4j-api", "slf4j-simple")


def program():
    need("/usr/bin/javac", "default-jdk-headless")
    source, out = os.path.join(HERE, "Story.java"), os.path.join(BUILD, "clients", "curator")
    done = os.path.join(out, "Story.class")
    if not os.path.exists(done) or os.path.getmtime(done) < os.path.getmtime(source):
        made = f"{out}.{os.getpid()}"
        subprocess.run(["/usr/bin/javac", "-proc:none", "-nowarn", "-cp", class_path(), "-d", made, source], check=True)
        os.makedirs(out, exist_ok=True)
        for name in sorted(os.listdir(made), key=lambda n: n == "Story.class"):
            os.rename(os.path.join(made, name), os.path.join(out, name))
        os.rmdir(made)
    return out


def story(name):
    def run(ctx):
        ctx.drive(["/usr/bin/java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto",
                   "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{program()}:{class_path()}",
                   "Story", name, ctx.hosts()])
    return run


SCENARIOS = [(f"curator-{name}", story(name)) for name in
             ("basics", "latch", "locks", "caches", "counters", "queues", "events")]
