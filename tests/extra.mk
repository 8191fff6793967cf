# The proofs that need real servers: unmodified clients, the differential tester, the crash loop.
# Each compares with, or can run against, Debian's zookeeper: TARGET=reference checks the test itself.
PYTHON ?= /usr/bin/python3
PROVE = O=$(O) PYTHONDONTWRITEBYTECODE=1 $(PYTHON)

.PHONY: clients diff crash failover
# CLIENTS_ONLY=kazoo-lock,zkcli  SERVERS=1
clients: $(PROGRAMS)
	@$(PROVE) tests/clients/run.py

# What kv costs per call; DIR=/folder on the disk to measure.
.PHONY: bench-kv
bench-kv: $(O)/bench_kv
	@$(O)/bench_kv $(DIR)
$(O)/bench_kv: tests/bench/bench_kv.c $(call archives,store)
	@echo "  LD   $@" && $(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -I$(O)/inc/store -o $@ $^ $(call libs,store)

# SEED=1 OPS=100000 SERVERS=1,3  REPLAY=file SHRINK=1
diff: $(PROGRAMS)
	@$(PROVE) tests/diff/difftest.py

# ROUNDS=200 SEED=1; KILLS=20
crash: $(PROGRAMS)
	@$(PROVE) tests/crash/crash.py
failover: $(PROGRAMS)
	@$(PROVE) tests/crash/crash.py --failover

# Appends per second of the Raft log; DIR=/folder on the disk to measure.
.PHONY: bench-rlog
bench-rlog: $(O)/bench_rlog
	@$(O)/bench_rlog $(DIR)
$(O)/bench_rlog: tests/bench/bench_rlog.c $(call archives,store)
	@echo "  LD   $@" && $(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -I$(O)/inc/store -I. -o $@ $^ $(call libs,store)

# Logins, limits, local sessions, read-only mode, a full disk, garbage on every port.
# ONLY=sasl,limits  TARGET=reference
.PHONY: features
features: $(PROGRAMS)
	@$(PROVE) tests/features/features.py

# Four-letter words, admin server and metrics beside the reference's, key by key.
.PHONY: admin-check
admin-check: $(PROGRAMS)
	@$(PROVE) tests/admin/check.py
.PHONY: docs-metrics
docs: docs-metrics
docs-metrics:
	@PYTHONDONTWRITEBYTECODE=1 $(PYTHON) tests/admin/metrics_doc.py

include tests/sim/cluster.mk
include tests/mutants/mutants.mk

# paddock, the program, from the outside.
.PHONY: cli-check
cli-check: $(PROGRAMS)
	@$(PROVE) tests/cli/run.py

# Every configuration in examples/, as it is. ONLY=tls,sasl
.PHONY: examples-check
examples-check: $(PROGRAMS)
	@$(PROVE) tests/examples/run.py

# A lost majority, and what paddock-store recover makes of it. ONLY=lost,tail
.PHONY: recover-check
recover-check: $(PROGRAMS)
	@$(PROVE) tests/recover/run.py

# Keys and certificates between servers, and who is kept out. ONLY=key,certificates
.PHONY: peers-check
peers-check: $(PROGRAMS)
	@$(PROVE) tests/peers/run.py

# How fast the checker is: CHECK_OPS operations made up and judged, in one process on one core.
CHECK_OPS ?= 10000000
.PHONY: checker-bench
checker-bench: $(O)/paddock-check
	@$< --generate $(CHECK_OPS)
