# Paddock's one Makefile. `make help` lists what it can do; each module says its sources, libraries
# and the modules below it in its own module.mk, and sees the headers of those modules only.
SHELL := /bin/bash
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:

CC ?= gcc
ifeq ($(origin CC),default)
CC := gcc
endif
SAN ?=
comma := ,
space := $(subst ,, )
ccname := $(notdir $(firstword $(CC)))
MUTANTS ?=
O ?= build$(if $(MUTANTS),/mutants)$(if $(filter-out gcc cc,$(ccname)),/$(ccname))$(if $(SAN),/san-$(subst $(comma),-,$(SAN)))

WARN := -Wall -Wextra -Werror -Wshadow -Wvla -Wpointer-arith -Wstrict-prototypes \
        -Wmissing-prototypes -Wformat=2 -Wundef -Wwrite-strings -Wdeclaration-after-statement
WARN := $(filter-out -Wdeclaration-after-statement,$(WARN))
CPPFLAGS += -D_GNU_SOURCE -DPADDOCK_VERSION='"$(VERSION)"' $(if $(MUTANTS),-DPK_MUTANTS)
CFLAGS_OPT ?= -O2 -g
CFLAGS += -std=c17 $(CFLAGS_OPT) $(WARN) -fno-omit-frame-pointer -fstack-protector-strong -pthread
LDFLAGS += -pthread -rdynamic
ifneq ($(SAN),)
CFLAGS += -fsanitize=$(SAN) -fno-sanitize-recover=all
LDFLAGS += -fsanitize=$(SAN)
else
CPPFLAGS += -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
endif
VERSION := $(shell cat VERSION)

MODULES := base net zkproto store cli jepsen
FUZZ_CC ?= clang

# ---- modules -----------------------------------------------------------------------------------
# $(1)_SRCS    sources in its folder (main.c files are named in PROGRAMS instead)
# $(1)_DEPS    modules whose headers it may include; order: nearest first, for linking
# $(1)_PKGS    pkg-config packages; $(1)_LIBS what has no .pc file
define module
$(1)_OBJS := $$(addprefix $(O)/$(1)/,$$($(1)_SRCS:.c=.o))
$(1)_CFLAGS := $$(if $$($(1)_PKGS),$$(shell pkg-config --cflags $$($(1)_PKGS)))
$(1)_LINK := $$(if $$($(1)_PKGS),$$(shell pkg-config --libs $$($(1)_PKGS))) $$($(1)_LIBS)
$(O)/inc/$(1)/.made: $(1)/module.mk
	@rm -rf $$(@D) && mkdir -p $$(@D) && ln -sfn $$(addprefix $(CURDIR)/,$(1) $$($(1)_DEPS)) $$(@D)/ && touch $$@
$(O)/$(1)/%.o: $(1)/%.c $(O)/inc/$(1)/.made
	@mkdir -p $$(@D) && echo "  CC   $$<" && $$(CC) $$(CPPFLAGS) $$(CFLAGS) $$($(1)_CFLAGS) -I$(O)/inc/$(1) -MMD -MP -c -o $$@ $$<
$(O)/lib$(1).a: $$($(1)_OBJS)
	@mkdir -p $$(@D) && rm -f $$@ && ar rcs $$@ $$^
endef
$(foreach m,$(MODULES),$(eval include $(m)/module.mk))
$(foreach m,$(MODULES),$(eval $(call module,$(m))))

# all the archives and libraries that a module needs to be linked, itself first
archives = $(addprefix $(O)/lib,$(addsuffix .a,$(1) $($(1)_DEPS)))
libs = $($(1)_LINK) $(foreach d,$($(1)_DEPS),$($(d)_LINK))

# ---- programs: NAME = module/file_with_main -------------------------------------------------------
define program
$(O)/$(1): $(O)/$(2)/$(3).o $(call archives,$(2))
	@echo "  LD   $$@" && $$(CC) $$(LDFLAGS) -o $$@ $$^ $(call libs,$(2))
PROGRAMS += $(O)/$(1)
endef
PROGRAMS :=
$(foreach p,$(foreach m,$(MODULES),$(addprefix $(m)=,$($(m)_PROGRAMS))),$(eval \
  $(call program,$(word 2,$(subst =, ,$(p))),$(word 1,$(subst =, ,$(p))),$(word 3,$(subst =, ,$(p))))))

.PHONY: all
all: $(PROGRAMS)

# ---- unit tests: tests/MODULE/test_X.c, one program each ---------------------------------------
TEST_LIB_OBJS := $(patsubst %.c,$(O)/%.o,$(wildcard tests/lib/*.c))
define test_module
$(1)_TESTS := $$(patsubst %.c,$(O)/%,$$(wildcard tests/$(1)/test_*.c))
$(O)/tests/$(1)/%.o: tests/$(1)/%.c $(O)/inc/$(1)/.made
	@mkdir -p $$(@D) && echo "  CC   $$<" && $$(CC) $$(CPPFLAGS) $$(CFLAGS) $$($(1)_CFLAGS) -I$(O)/inc/$(1) -I. -MMD -MP -c -o $$@ $$<
$(O)/tests/$(1)/test_%: $(O)/tests/$(1)/test_%.o $(O)/libtests.a $(call archives,$(1))
	@$$(CC) $$(LDFLAGS) -o $$@ $$^ $(call libs,$(1)) -lcmocka
TESTS += $$($(1)_TESTS)
endef
TESTS :=
$(foreach m,$(MODULES),$(eval $(call test_module,$(m))))
# an archive: a test links only the helpers it names, which may need more than its module has
$(O)/libtests.a: $(TEST_LIB_OBJS)
	@mkdir -p $(@D) && rm -f $@ && ar rcs $@ $^
$(O)/tests/lib/%.o: tests/lib/%.c $(O)/inc/store/.made
	@mkdir -p $(@D) && echo "  CC   $<" && $(CC) $(CPPFLAGS) $(CFLAGS) $(store_CFLAGS) -I$(O)/inc/store -I. -MMD -MP -c -o $@ $<

-include tests/extra.mk
include packaging/install.mk
-include tests/accept/accept.mk
-include tests/sim/sim.mk
-include jepsen/jepsen.mk

# ---- fuzzers: tests/fuzz/fuzz_X.c, one program each, by clang's libFuzzer ------------------------
# Seeds in tests/fuzz/corpus/X; what a longer run finds beyond them stays in build/fuzz.
FUZZ_SECONDS ?= 10
FUZZERS := $(patsubst tests/fuzz/%.c,$(O)/tests/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
$(O)/tests/fuzz/%.o: tests/fuzz/%.c $(O)/inc/store/.made
	@mkdir -p $(@D) && echo "  CC   $<" && $(CC) $(CPPFLAGS) $(CFLAGS) $(store_CFLAGS) $(net_CFLAGS) -I$(O)/inc/store -I. -MMD -MP -c -o $@ $<
$(O)/tests/fuzz/fuzz_%: $(O)/tests/fuzz/fuzz_%.o $(O)/libtests.a $(O)/libjepsen.a $(call archives,store)
	@$(CC) $(LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(call libs,store) $(jepsen_LINK)
.PHONY: fuzz fuzz-programs
fuzz-programs: $(FUZZERS)
# F=fuzz_zk_frame runs one
fuzz:
	@$(MAKE) --no-print-directory CC=clang SAN=fuzzer-no-link,address,undefined O=build/fuzz fuzz-programs
	@FUZZ_SECONDS=$(FUZZ_SECONDS) tests/run-fuzz build/fuzz/tests/fuzz $(F)

.PHONY: check
# MOD=store runs one module's tests, T='test_kv test_tree' those programs.
check: $(if $(T),$(filter $(addprefix %/,$(T)),$(TESTS)),$(if $(MOD),$($(MOD)_TESTS),$(TESTS))) $(PROGRAMS)
	@O=$(O) tests/run-units $(filter $(O)/tests/%,$^)

.PHONY: docs fmt fmt-check tidy clean help deps install
SOURCES := $(shell git ls-files -co --exclude-standard '*.c' '*.h' 2>/dev/null)
fmt:
	@clang-format -i $(SOURCES)
docs: $(O)/tests/store/test_config
	@mkdir -p docs && $< --docs > docs/configuration.md && echo "docs/configuration.md"
fmt-check:
	@clang-format --dry-run -Werror $(SOURCES) && echo "format: $(words $(SOURCES)) files as clang-format wants them"
tidy: $(foreach m,$(MODULES),$(O)/inc/$(m)/.made)
	@O=$(O) tests/tidy $(MODULES)
print-%:
	@echo $($*)
clean:
	@rm -rf build
deps:
	@tests/lib/deps
help:
	@printf '%s\n' 'make               build into $(O)/' \
	 'make deps          install what building and testing need (Debian packages)' \
	 'make check         unit tests; MOD=store, T=test_kv; SAN=address,undefined or SAN=thread' \
	 'make jepsen        TIME=60: real servers under real faults; WORKLOAD, NEMESIS, SERVERS, SEED, PAIRS=short' \
	 'make clients       real ZooKeeper clients against the reference server and ours' \
	 'make bench         ours and the reference in turn into docs/bench.md; ROWS=get, BENCH_MINUTES=28' \
	 'make bench-large   ten million znodes, a million children, ten thousand sessions; PARTS=tree,herd' \
	 'make bench-guard   instructions for each operation beside those recorded; RECORD=1 records' \
	 'make mutants       defects on purpose, and who notices them; M=name' \
	 'make fuzz          every decoder, FUZZ_SECONDS=n each' \
	 'make docs          the manual pages that come from tables' \
	 'make fmt tidy      layout, and the rules a machine can check' \
	 'make examples-check, peers-check, recover-check   examples; proof between servers; a lost majority' \
	 'make cli-check     paddock from the outside: a cluster, every command, the leader killed' \
	 'make checker-bench operations a second that paddock-check judges; CHECK_OPS=10000000' \
	 'make man           manual pages into $(O)/man' \
	 'make install       DESTDIR= PREFIX=/usr; make uninstall'

-include $(shell find $(O) -name '*.d' 2>/dev/null)
