#include "base/rng.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

static uint64_t rotl(uint64_t x, int k)
{
	return (x << k) | (x >> (64 - k));
}

void pk_rng_seed(struct pk_rng *r, uint64_t seed)
{
	/* splitmix64, as the generator's authors advise, so that near seeds give far states */
	for (int i = 0; i < 4; i++) {
		seed += 0x9e3779b97f4a7c15u;
		uint64_t z = seed;
		z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
		z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
		r->s[i] = z ^ (z >> 31);
	}
}

uint64_t pk_rng_next(struct pk_rng *r)
{
	uint64_t *s = r->s;
	uint64_t result = rotl(s[1] * 5, 7) * 9;
	uint64_t t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotl(s[3], 45);
	return result;
}

uint64_t pk_rng_below(struct pk_rng *r, uint64_t bound)
{
	PK_ASSERT(bound > 0);
	/* The high half of a 128-bit product: bias below 2^-64 * bound, of no matter here. */
	return (uint64_t)(((unsigned __int128)pk_rng_next(r) * bound) >> 64);
}

int64_t pk_rng_range(struct pk_rng *r, int64_t least, int64_t most)
{
	PK_ASSERT(least <= most);
	uint64_t span = (uint64_t)most - (uint64_t)least + 1;

	return (int64_t)((uint64_t)least + (span == 0 ? pk_rng_next(r) : pk_rng_below(r, span)));
}

bool pk_rng_chance(struct pk_rng *r, uint32_t per_million)
{
	return pk_rng_below(r, 1000000) < per_million;
}

void pk_rng_fill(struct pk_rng *r, void *to, size_t len)
{
	uint8_t *at = to;

	while (len > 0) {
		uint64_t v = pk_rng_next(r);
		size_t n = len < sizeof(v) ? len : sizeof(v);
		memcpy(at, &v, n);
		at += n;
		len -= n;
	}
}

int pk_random_secret(void *to, size_t len, struct pk_err *err)
{
	uint8_t *at = to;

	while (len > 0) {
		ssize_t n = getrandom(at, len, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return pk_err_sys(err, errno, "getrandom %zu bytes", len);
		at += n;
		len -= (size_t)n;
	}
	return 0;
}
