# Acceptance runs with real servers and the load generator. They take minutes, so make check has none.
.PHONY: accept accept-fill accept-catchup
accept: accept-fill accept-catchup

# NODES=1000000 FEW=10000 ROUNDS=5 SERVERS=1,3
accept-fill: $(PROGRAMS)
	@$(PROVE) tests/accept/fill.py

# WRITES=200000 NODES=20000 ONLY=paused,killed,emptied
accept-catchup: $(PROGRAMS)
	@$(PROVE) tests/accept/catchup.py

# Ours and the reference in turn, every row, into docs/bench.md and its plots; goes on where it was when cut short.
# ROWS=get,create-64x16 ROUNDS=3 BENCH_MINUTES=28 HEAP=2g FRESH=1 WRITE=1; ROWS=? lists them
.PHONY: bench
bench: $(PROGRAMS)
	@tests/lib/deps
	@$(PROVE) tests/bench/bench.py

# Our servers alone, with much in them, into docs/bench.md: tree children herd values memory snapshots, about 12 minutes.
# PARTS=tree,herd NODES=10000000 CHILDREN=1000000 SESSIONS=10000 MEMORY_NODES=3000000 SPREAD_NODES=1000000 LARGE_MS=6000 WRITE=1
.PHONY: bench-large
bench-large: $(PROGRAMS)
	@tests/lib/deps
	@$(PROVE) tests/bench/large.py

# Instructions for each operation beside those recorded. ROWS=get PROFILE=30; RECORD=1 records
.PHONY: bench-guard
bench-guard: $(PROGRAMS)
	@$(PROVE) tests/bench/guard.py

# A few rows of these in a moment. ROWS=create,get SHAPES=1x1,64x16 TIME=1s ROUNDS=3
.PHONY: bench-quick
bench-quick: $(PROGRAMS)
	@$(PROVE) tests/accept/quick.py
