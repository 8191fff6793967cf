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
