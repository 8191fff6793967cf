# make sim-cluster SEEDS=100   whole clusters with clients under faults; SEED=x replays one and tells
# what happens; ONLY=3,7-9 CLIENTS=n SERVERS=n with less of it, as a failure says; CALM=1 without faults; TWICE=1 each
# seed two times, which must be the same; MINUTES=120 instead of SEEDS for as long; J=2 at once; UNTOLD=1 the checker
# is not told what became of requests that were never answered, and must find out, as for a real cluster.
# make sim runs these too.
CLUSTER_OBJS := $(patsubst %,$(O)/tests/sim/cluster%.o,_client _history _link _log _model _rules _server _watches) $(O)/tests/sim/cluster.o

CLUSTER_RUN_OBJS := $(patsubst %,$(O)/tests/sim/cluster_%.o,sim load faults shrink)

$(O)/tests/sim/cluster_sim: $(CLUSTER_RUN_OBJS) $(CLUSTER_OBJS) $(O)/tests/lib/sim_disk.o $(O)/libjepsen.a $(call archives,store)
	@echo "  LD   $@" && $(CC) $(LDFLAGS) -o $@ $^ $(call libs,store) $(jepsen_LINK)

sim: $(O)/tests/sim/cluster_sim
.PHONY: sim-cluster
sim-cluster: $(O)/tests/sim/cluster_sim
	@$< $(if $(SEED),--seed $(SEED) -v,$(if $(MINUTES),--minutes $(MINUTES),--seeds $(SEEDS)) --from $(FROM) $(if $(J),--jobs $(J))) $(if $(ONLY),--only $(ONLY)) $(if $(CLIENTS),--clients $(CLIENTS)) $(if $(SERVERS),--servers $(SERVERS)) $(if $(CALM),--calm) $(if $(TWICE),--twice) $(if $(WHOLE),--whole) $(if $(UNTOLD),--untold)

# Tests of the server run on simulated clusters.
$(O)/tests/store/test_server $(O)/tests/store/test_scenarios: $(O)/tests/store/test_%: $(O)/tests/store/test_%.o $(CLUSTER_OBJS) $(O)/libjepsen.a $(O)/libtests.a $(call archives,store)
	@$(CC) $(LDFLAGS) -o $@ $^ $(call libs,store) $(jepsen_LINK) -lcmocka
