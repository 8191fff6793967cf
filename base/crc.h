/*
 * base/crc.h - the two checksums: CRC-32C (Castagnoli) for our disk and peer formats, by hardware
 * where the CPU has it, and CRC-32 (zlib's) where ZooKeeper's formats ask for it.
 * Both chain: crc(crc(0, a), b) == crc(0, a followed by b).
 */
#ifndef PK_BASE_CRC_H
#define PK_BASE_CRC_H

#include "base/bytes.h"

uint32_t pk_crc32c(uint32_t crc, const void *data, size_t len);
uint32_t pk_crc32(uint32_t crc, const void *data, size_t len);

#endif
