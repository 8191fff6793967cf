# Defects on purpose, and who notices them. M=name,name2 some of them, J=2 at once, DOC=1 writes docs/consistency.md
.PHONY: mutants mutants-programs
mutants-programs: $(O)/tests/sim/raft_sim $(O)/tests/sim/cluster_sim $(addprefix $(O)/tests/store/,$(filter test_%,$(shell sed -n 's/^[^\#|]*| *unit \([^|]*\)|.*/\1/p' tests/mutants/mutants.tbl 2>/dev/null)))
mutants:
	@$(MAKE) --no-print-directory MUTANTS=1 mutants-programs
	@O=build/mutants M='$(M)' J=$(J) DOC=$(DOC) PYTHONDONTWRITEBYTECODE=1 $(PYTHON) tests/mutants/run.py
