#include "store/commands_format.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <time.h>

#include "base/check.h"
#include "zkproto/zk.h"

const char *command_address(const char *text, char out[COMMAND_ADDRESS_BYTES])
{
	char host[INET6_ADDRSTRLEN + 1];
	const char *end = text[0] == '[' ? strpbrk(text, "]%") : NULL;
	const char *port = text[0] == '[' ? strchr(text, ']') : NULL;
	struct in6_addr a;
	const uint8_t *b = a.s6_addr;

	snprintf(out, COMMAND_ADDRESS_BYTES, "%s", text);
	if (end == NULL || port == NULL || (size_t)(end - text) > sizeof(host))
		return out;
	memcpy(host, text + 1, (size_t)(end - text) - 1);
	host[end - text - 1] = 0;
	if (inet_pton(AF_INET6, host, &a) != 1)
		return out;
	snprintf(out, COMMAND_ADDRESS_BYTES, "[%x:%x:%x:%x:%x:%x:%x:%x%.*s%s", b[0] << 8 | b[1],
		 b[2] << 8 | b[3], b[4] << 8 | b[5], b[6] << 8 | b[7], b[8] << 8 | b[9],
		 b[10] << 8 | b[11], b[12] << 8 | b[13], b[14] << 8 | b[15], (int)(port - end), end,
		 port);
	return out;
}

void command_date(int64_t wall_ms, struct pk_buf *out)
{
	time_t t = (time_t)(wall_ms / 1000);
	char text[64];
	struct tm tm;

	if (localtime_r(&t, &tm) == NULL ||
	    strftime(text, sizeof(text), "%a %b %d %T %Z %Y", &tm) == 0)
		snprintf(text, sizeof(text), "%lld", (long long)wall_ms);
	pk_buf_add_str(out, text);
}

const char *command_op_name(int32_t op)
{
	static const struct {
		int32_t op;
		const char *name;
	} names[] = {
		{ ZK_OP_PING, "PING" },
		{ ZK_OP_CREATE_SESSION, "SESS" },
		{ ZK_OP_CLOSE_SESSION, "CLOS" },
		{ ZK_OP_MULTI, "MULT" },
		{ ZK_OP_MULTI_READ, "MLTR" },
		{ ZK_OP_CREATE, "CREA" },
		{ ZK_OP_CREATE2, "CREA" },
		{ ZK_OP_CREATE_TTL, "CREA" },
		{ ZK_OP_CREATE_CONTAINER, "CREA" },
		{ ZK_OP_DELETE, "DELE" },
		{ ZK_OP_DELETE_CONTAINER, "DELE" },
		{ ZK_OP_SET_DATA, "SETD" },
		{ ZK_OP_RECONFIG, "RECO" },
		{ ZK_OP_SET_ACL, "SETA" },
		{ ZK_OP_SYNC, "SYNC" },
		{ ZK_OP_CHECK, "CHEC" },
		{ ZK_OP_EXISTS, "EXIS" },
		{ ZK_OP_GET_DATA, "GETD" },
		{ ZK_OP_SET_WATCHES, "SETW" },
		{ ZK_OP_SET_WATCHES2, "STW2" },
		{ ZK_OP_ADD_WATCH, "ADDW" },
		{ ZK_OP_GET_ACL, "GETA" },
		{ ZK_OP_GET_CHILDREN, "GETC" },
		{ ZK_OP_GET_CHILDREN2, "GETC" },
		{ ZK_OP_GET_ALL_CHILDREN_NUMBER, "GETACN" },
		{ ZK_OP_CHECK_WATCHES, "CHKW" },
		{ ZK_OP_REMOVE_WATCHES, "REMW" },
		{ ZK_OP_WHOAMI, "HOMI" },
		{ ZK_OP_GET_EPHEMERALS, "GETE" },
	};

	for (size_t i = 0; i < PK_COUNT(names); i++)
		if (names[i].op == op)
			return names[i].name;
	return "NA";
}

int64_t command_round_up(int64_t at_ms, int64_t tick_ms)
{
	return (at_ms / tick_ms + 1) * tick_ms;
}
