base_SRCS := bytes.c check.c crc.c err.c file.c log.c mem.c metrics.c opt.c rng.c
base_SRCS += $(if $(MUTANTS),mutant.c) # base/mutant.h
base_DEPS :=
base_PKGS := zlib
base_LIBS := -lm
