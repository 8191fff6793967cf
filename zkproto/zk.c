#include "zkproto/zk.h"

struct opcode_row {
	int32_t opcode;
	enum zk_op_class op_class;
	const char *name;
};

static const struct opcode_row opcode_rows[] = {
#define OP(ident, number, name, class) { number, ZK_CLASS_##class, name },
#include "zkproto/opcodes.tbl"
#undef OP
};

static const struct opcode_row *opcode_find(int32_t opcode)
{
	for (size_t i = 0; i < PK_COUNT(opcode_rows); i++)
		if (opcode_rows[i].opcode == opcode)
			return &opcode_rows[i];
	return NULL;
}

const char *zk_opcode_name(int32_t opcode)
{
	const struct opcode_row *row = opcode_find(opcode);

	return row != NULL ? row->name : NULL;
}

enum zk_op_class zk_opcode_class(int32_t opcode)
{
	const struct opcode_row *row = opcode_find(opcode);

	return row != NULL ? row->op_class : ZK_CLASS_NONE;
}

bool zk_opcode_parse(const char *name, int32_t *out)
{
	for (size_t i = 0; i < PK_COUNT(opcode_rows); i++)
		if (strcmp(opcode_rows[i].name, name) == 0) {
			*out = opcode_rows[i].opcode;
			return true;
		}
	return false;
}

struct error_row {
	int32_t code;
	const char *name;
	const char *text;
};

static const struct error_row error_rows[] = {
#define E(ident, number, name, text) { number, name, text },
#include "zkproto/errors.tbl"
#undef E
};

static const struct error_row *error_find(int32_t code)
{
	for (size_t i = 0; i < PK_COUNT(error_rows); i++)
		if (error_rows[i].code == code)
			return &error_rows[i];
	return NULL;
}

bool zk_error_known(int32_t code)
{
	return error_find(code) != NULL;
}

const char *zk_error_name(int32_t code)
{
	const struct error_row *row = error_find(code);

	return row != NULL ? row->name : "Unknown";
}

const char *zk_error_text(int32_t code)
{
	const struct error_row *row = error_find(code);

	return row != NULL ? row->text : "the server gave a code that nobody knows";
}

const char *zk_event_name(int32_t type)
{
	switch (type) {
	case ZK_EVENT_NONE:
		return "None";
	case ZK_EVENT_CREATED:
		return "NodeCreated";
	case ZK_EVENT_DELETED:
		return "NodeDeleted";
	case ZK_EVENT_DATA_CHANGED:
		return "NodeDataChanged";
	case ZK_EVENT_CHILDREN_CHANGED:
		return "NodeChildrenChanged";
	case ZK_EVENT_DATA_WATCH_REMOVED:
		return "DataWatchRemoved";
	case ZK_EVENT_CHILD_WATCH_REMOVED:
		return "ChildWatchRemoved";
	case ZK_EVENT_PERSISTENT_WATCH_REMOVED:
		return "PersistentWatchRemoved";
	}
	return "Unknown";
}

const char *zk_state_name(int32_t state)
{
	switch (state) {
	case ZK_STATE_DISCONNECTED:
		return "Disconnected";
	case ZK_STATE_CONNECTED:
		return "SyncConnected";
	case ZK_STATE_AUTH_FAILED:
		return "AuthFailed";
	case ZK_STATE_CONNECTED_READ_ONLY:
		return "ConnectedReadOnly";
	case ZK_STATE_SASL_AUTHENTICATED:
		return "SaslAuthenticated";
	case ZK_STATE_CLOSED:
		return "Closed";
	case ZK_STATE_EXPIRED:
		return "Expired";
	}
	return "Unknown";
}
