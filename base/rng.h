/*
 * base/rng.h - seeded random numbers (xoshiro256**), the only randomness a core may use, handed in
 * by its owner. The same seed gives the same numbers on every machine. Not for secrets: those come
 * from pk_random_secret, which asks the kernel.
 * Source: Blackman and Vigna, "Scrambled linear pseudorandom number generators", 2018.
 */
#ifndef PK_BASE_RNG_H
#define PK_BASE_RNG_H

#include "base/err.h"

struct pk_rng {
	uint64_t s[4];
};

void pk_rng_seed(struct pk_rng *r, uint64_t seed);
uint64_t pk_rng_next(struct pk_rng *r);
uint64_t pk_rng_below(struct pk_rng *r, uint64_t bound); /* 0 <= result < bound; bound > 0 */
int64_t pk_rng_range(struct pk_rng *r, int64_t least, int64_t most); /* both included */
bool pk_rng_chance(struct pk_rng *r, uint32_t per_million);
void pk_rng_fill(struct pk_rng *r, void *to, size_t len);

/* Bytes nobody can guess, from getrandom(2). PK_EIO when the kernel refuses. */
PK_CHECKED int pk_random_secret(void *to, size_t len, struct pk_err *err);

#endif
