# make jepsen TIME=s [WORKLOAD= NEMESIS= SERVERS= SEED= PAIRS=short J= TLS=1 PEER=1]: real servers under real faults.
$(O)/jepsen-clock.so: jepsen/clock_shim_io.c
	@echo "  LD   $@" && $(CC) $(CPPFLAGS) -std=c17 -O2 -fPIC -shared $(WARN) -o $@ $<
.PHONY: jepsen
jepsen: $(PROGRAMS) $(O)/jepsen-clock.so
	@$(PROVE) jepsen/run
