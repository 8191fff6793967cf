# make sim-cluster SEEDS=100   whole clusters with clients under faults; SEED=x replays one and tells
# what happens; CALM=1 without faults; TWICE=1 each seed two times, which must be the same
CLUSTER_SEEDS ?= $(or $(SEEDS),60)
CLUSTER_OBJS := $(patsubst %,$(O)/tests/sim/cluster%.o,_client _link _model _server _watches) $(O)/tests/sim/cluster.o

$(O)/tests/sim/%.o: tests/sim/%.c $(O)/inc/store/.made
	@mkdir -p $(@D) && echo "  CC   $<" && $(CC) $(CPPFLAGS) $(CFLAGS) $(store_CFLAGS) -I$(O)/inc/store -I. -MMD -MP -c -o $@ $<
$(O)/tests/sim/cluster_sim: $(O)/tests/sim/cluster_sim.o $(CLUSTER_OBJS) $(O)/tests/lib/sim_disk.o $(call archives,store)
	@echo "  LD   $@" && $(CC) $(LDFLAGS) -o $@ $^ $(call libs,store)

.PHONY: sim-cluster
sim-cluster: $(O)/tests/sim/cluster_sim
	@$< $(if $(SEED),--seed $(SEED) -v,--seeds $(CLUSTER_SEEDS) --from $(or $(FROM),1)) $(if $(CALM),--calm) $(if $(TWICE),--twice)
