/*
 * base/mutant.h - defects on purpose, to see that the tests notice them.
 *
 * MUTANT(name) is false in what we ship, and the compiler drops what hangs on it. A build with
 * -DPK_MUTANTS (make MUTANTS=1, into build/mutants) holds them all: there it is true for the one
 * that the environment variable PK_MUTANT names. tests/mutants/mutants.tbl says what each breaks
 * and who must catch it; make mutants shows it.
 */
#ifndef PK_BASE_MUTANT_H
#define PK_BASE_MUTANT_H

#include <stdbool.h>

#ifdef PK_MUTANTS
bool pk_mutant_selected(const char *name);
#define MUTANT(name)                                                                               \
	(__extension__({                                                                           \
		static int pk_mutant_; /* 1: selected, -1: not, 0: not asked yet */                \
		if (pk_mutant_ == 0)                                                               \
			pk_mutant_ = pk_mutant_selected(#name) ? 1 : -1;                           \
		pk_mutant_ > 0;                                                                    \
	}))
#else
#define MUTANT(name) false
#endif

#endif
