# make sim SEEDS=1000       seeded runs under faults; SEED=x replays one and tells what happens
SEEDS ?= 200
SEED ?=
FROM ?= 1
SIM_PROGRAMS := $(O)/tests/sim/raft_sim

$(O)/tests/sim/%.o: tests/sim/%.c $(O)/inc/store/.made
	@mkdir -p $(@D) && echo "  CC   $<" && $(CC) $(CPPFLAGS) $(CFLAGS) $(store_CFLAGS) -I$(O)/inc/store -I. -MMD -MP -c -o $@ $<
$(O)/tests/sim/%_sim: $(O)/tests/sim/%_sim.o $(O)/tests/lib/sim_disk.o $(call archives,store)
	@$(CC) $(LDFLAGS) -o $@ $^ $(call libs,store)

.PHONY: sim
sim: $(SIM_PROGRAMS)
	@for p in $^; do $$p $(if $(SEED),--seed $(SEED) -v,--seeds $(SEEDS) --from $(FROM)) || exit 1; done

# make sim-raft-asserts RAFT_SOURCE=dir   the same groups on a libraft with its assertions, which
# Debian's is built without; dir holds the source of the installed version (apt-get source raft).
# Its accessors of bytes alias as C forbids, so the compiler is told.
RAFT_CORE := byte client configuration convert election entry err heap log membership progress raft recv \
 recv_append_entries recv_append_entries_result recv_install_snapshot recv_request_vote recv_request_vote_result \
 recv_timeout_now replication snapshot start state tick tracing
$(O)/raft-asserts/%.o: $(RAFT_SOURCE)/src/%.c
	@mkdir -p $(@D) && $(CC) -std=c11 -D_GNU_SOURCE -O2 -g -fno-strict-aliasing -UNDEBUG -I$(RAFT_SOURCE)/include -iquote $(RAFT_SOURCE)/src -c -o $@ $<
$(O)/tests/sim/raft_sim_asserts: $(O)/tests/sim/raft_sim.o $(O)/tests/lib/sim_disk.o $(call archives,store) $(RAFT_CORE:%=$(O)/raft-asserts/%.o)
	@$(CC) $(LDFLAGS) -o $@ $^ $(filter-out -lraft,$(call libs,store))
.PHONY: sim-raft-asserts
sim-raft-asserts: $(if $(RAFT_SOURCE),$(O)/tests/sim/raft_sim_asserts)
	@cmp '$(RAFT_SOURCE)/include/raft.h' "$$(pkg-config --variable=includedir raft)/raft.h" || \
	 { echo "RAFT_SOURCE is to be a folder with the source of libraft $$(pkg-config --modversion raft)"; exit 1; }
	@$(O)/tests/sim/raft_sim_asserts $(if $(SEED),--seed $(SEED) -v,--seeds $(SEEDS) --from $(FROM))
