"""Every difference of our commands and metrics from ZooKeeper 3.8.0 that we mean, with its reason.

Each row: (where, pattern of the key, reason). `where` is a word, an admin command or "prometheus"; the pattern is
matched against a key or a line's shape that only one of the two servers has. docs/metrics.md tells people the same.
A row that explains nothing any more is an error.
"""

MISSING = [  # the reference has it, we do not
    ("envi environment", r"java\..*", "there is no Java runtime"),
    ("system_properties", r"(?!zookeeper\.).*", "there is no Java runtime: the settings in use are shown instead"),
    ("system_properties", r"zookeeper\.(server\.\d+|DigestAuthenticationProvider.*)",
     "server lines are in voting_view; a key that is not set is not shown"),
    ("system_properties", r"zookeeper\.(snapCount|preAllocSize)", "taken without effect: docs/configuration.md"),
    ("mntr monitor", r"(avg|min|max|cnt|sum|p50|p95|p99|p999)_\d+_learner_handler_qp_(size|time_ms)",
     "the queue to another server is one of bytes: N_paddock_peer_queue_bytes"),
]

EXTRA = [  # we have it, the reference does not
    ("envi environment", r"paddock\.version", "our version beside the ZooKeeper version that we speak"),
    ("system_properties", r".*", "every setting in use, under the name it would have as a Java property"),
    ("mntr monitor", r"((avg|min|max|cnt|sum|p50|p95|p99|p999)_)?(\d+_)?paddock_.*", "our own metrics"),
]

CHANGED = [  # both have it, differently
    ("conf", r"dataDir|dataLogDir|dataDirSize|dataLogSize", "our files lie elsewhere: docs/disk-format.md"),
    ("configuration", r"data_dir|data_log_dir", "our files lie elsewhere: docs/disk-format.md"),
]

# Shapes of lines: of these the reference prints some more, or we do.
SHAPES = [
    ("dump", "N expire at DATE:", "an empty bucket is not shown"),
]

NOT_SERVING = [
    ("monitor", "the reference answers 500 with a stack trace; ours the sentence that the other commands give"),
]
