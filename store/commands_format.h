/*
 * store/commands_format.h - small texts as Java prints them, which tools read: addresses, dates,
 * names of operations.
 */
#ifndef PK_STORE_COMMANDS_FORMAT_H
#define PK_STORE_COMMANDS_FORMAT_H

#include <stdint.h>

#include "base/bytes.h"

#define COMMAND_ADDRESS_BYTES 160

/* "127.0.0.1:4711" stays; "[::1]:4711" becomes "[0:0:0:0:0:0:0:1]:4711", as
 * InetSocketAddress.toString shows it. Anything else stays too. Returns out. */
const char *command_address(const char *text, char out[COMMAND_ADDRESS_BYTES]);

/* "Sat Nov 21 12:48:11 UTC 2026" in the local zone, as Date.toString. */
void command_date(int64_t wall_ms, struct pk_buf *out);

/* The last operation of a connection: "GETD", "CREA", "NA" (FinalRequestProcessor). */
const char *command_op_name(int32_t op);

/* The first multiple of tick_ms behind at_ms (ExpiryQueue.roundToNextInterval). */
int64_t command_round_up(int64_t at_ms, int64_t tick_ms);

#endif
