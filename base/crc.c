#include "base/crc.h"

#include <zlib.h>

#if defined(__x86_64__)
#include <nmmintrin.h>
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

uint32_t pk_crc32(uint32_t crc, const void *data, size_t len)
{
	/* zlib takes a NULL buffer as "give me the start value" */
	return len > 0 ? (uint32_t)crc32_z(crc, data, len) : crc;
}
