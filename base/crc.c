#include "base/crc.h"

#include <zlib.h>

#if defined(__x86_64__)
#include <nmmintrin.h>
#include <wmmintrin.h>
#endif

static uint32_t crc32c_table[256];

__attribute__((constructor)) static void crc32c_table_make(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;
		for (int k = 0; k < 8; k++)
			c = c & 1 ? (c >> 1) ^ 0x82f63b78u : c >> 1;
		crc32c_table[i] = c;
	}
}

static uint32_t crc32c_plain(uint32_t crc, const uint8_t *at, size_t len)
{
	while (len-- > 0)
		crc = crc32c_table[(crc ^ *at++) & 0xff] ^ (crc >> 8);
	return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc32c_sse42(uint32_t crc, const uint8_t *at,
							       size_t len)
{
	uint64_t c = crc;

	for (; len >= 8; at += 8, len -= 8)
		c = _mm_crc32_u64(c, pk_get_le64(at));
	for (; len > 0; at++, len--)
		c = _mm_crc32_u8((uint32_t)c, *at);
	return (uint32_t)c;
}
#endif

uint32_t pk_crc32c(uint32_t crc, const void *data, size_t len)
{
	crc = ~crc;
#if defined(__x86_64__)
	if (__builtin_cpu_supports("sse4.2"))
		return ~crc32c_sse42(crc, data, len);
#endif
	return ~crc32c_plain(crc, data, len);
}

#if defined(__x86_64__)
#define LANE_BYTES 16

/*
 * CRC-32 by carry-less multiplication, as in Gopal and others, "Fast CRC Computation for Generic
 * Polynomials Using PCLMULQDQ Instruction" (Intel, 2009): 128 bits are multiplied onto those behind
 * them, and what is left is reduced, first to 64 bits, then by Barrett. The factors are powers of x
 * modulo the polynomial, bit-reflected and shifted by one. zlib's tables take three instructions a
 * byte and eight KiB of the first cache; this takes less than one and none.
 */
#define CLMUL __attribute__((target("pclmul,sse4.1")))

CLMUL static inline __m128i lane(const uint8_t *at)
{
	return _mm_loadu_si128((const __m128i *)(const void *)at);
}

CLMUL static inline __m128i fold(__m128i x, __m128i by, __m128i onto)
{
	return _mm_xor_si128(onto, _mm_xor_si128(_mm_clmulepi64_si128(x, by, 0x00),
						 _mm_clmulepi64_si128(x, by, 0x11)));
}

/* len is a multiple of LANE_BYTES and not 0; crc as it is inside, inverted. */
CLMUL static uint32_t crc32_clmul(uint32_t crc, const uint8_t *at, size_t len)
{
	const __m128i by_4 = _mm_set_epi64x(0x1c6e41596, 0x154442bd4); /* x^480, x^544 */
	const __m128i by_1 = _mm_set_epi64x(0x0ccaa009e, 0x1751997d0); /* x^96, x^160 */
	const __m128i by_half = _mm_set_epi64x(0, 0x163cd6124);        /* x^64 */
	const __m128i barrett = _mm_set_epi64x(0x1f7011641, 0x1db710641);
	const __m128i low = _mm_set_epi32(0, -1, 0, -1);
	__m128i x = _mm_xor_si128(lane(at), _mm_cvtsi32_si128((int)crc));

	at += LANE_BYTES;
	len -= LANE_BYTES;
	if (len >= 7 * LANE_BYTES) { /* four sums at once: one would wait for each product */
		__m128i x1 = lane(at), x2 = lane(at + LANE_BYTES), x3 = lane(at + 2 * LANE_BYTES);

		at += 3 * LANE_BYTES;
		len -= 3 * LANE_BYTES;
		for (; len >= 4 * LANE_BYTES; at += 4 * LANE_BYTES, len -= 4 * LANE_BYTES) {
			x = fold(x, by_4, lane(at));
			x1 = fold(x1, by_4, lane(at + LANE_BYTES));
			x2 = fold(x2, by_4, lane(at + 2 * LANE_BYTES));
			x3 = fold(x3, by_4, lane(at + 3 * LANE_BYTES));
		}
		x = fold(fold(fold(x, by_1, x1), by_1, x2), by_1, x3);
	}
	for (; len > 0; at += LANE_BYTES, len -= LANE_BYTES)
		x = fold(x, by_1, lane(at));
	x = _mm_xor_si128(_mm_srli_si128(x, 8), _mm_clmulepi64_si128(x, by_1, 0x10));
	x = _mm_xor_si128(_mm_srli_si128(x, 4),
			  _mm_clmulepi64_si128(_mm_and_si128(x, low), by_half, 0x00));
	__m128i q = _mm_and_si128(_mm_clmulepi64_si128(_mm_and_si128(x, low), barrett, 0x10), low);
	x = _mm_xor_si128(x, _mm_clmulepi64_si128(q, barrett, 0x00));
	return (uint32_t)_mm_extract_epi32(x, 1);
}
#endif

uint32_t pk_crc32(uint32_t crc, const void *data, size_t len)
{
	const uint8_t *at = data;

#if defined(__x86_64__)
	size_t lanes = len & ~(size_t)(LANE_BYTES - 1);

	if (lanes > 0 && __builtin_cpu_supports("pclmul")) {
		crc = ~crc32_clmul(~crc, at, lanes);
		at += lanes;
		len -= lanes;
	}
#endif
	/* zlib takes a NULL buffer as "give me the start value" */
	return len > 0 ? (uint32_t)crc32_z(crc, at, len) : crc;
}
