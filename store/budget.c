#include "store/budget.h"

#define SHARE 16
#define MIB   UINT64_C(1048576)

/* What the configuration says, or a share within bounds. */
static uint64_t part(int64_t said, uint64_t memory_bytes, uint64_t least, uint64_t most)
{
	uint64_t bytes = memory_bytes / SHARE;

	if (said > 0)
		return (uint64_t)said;
	if (bytes < least)
		return least;
	return bytes < most ? bytes : most;
}

struct budget budget_of(const struct store_config *cfg, uint64_t memory_bytes)
{
	struct budget b = {
		.commit_pages_bytes = part(cfg->commit_pages_bytes, memory_bytes, 8 * MIB,
					   512 * MIB),
		.snapshot_log_bytes = part(cfg->snapshot_log_bytes, memory_bytes, 4 * MIB,
					   64 * MIB),
		.backlog_bytes = part(0, memory_bytes, 4 * MIB, 64 * MIB),
		.reply_queues_bytes = part(cfg->reply_queues_bytes_max, 2 * memory_bytes, 8 * MIB,
					   256 * MIB),
	};

	b.fetch_log_bytes = memory_bytes / 4;
	if (b.fetch_log_bytes < b.snapshot_log_bytes)
		b.fetch_log_bytes = b.snapshot_log_bytes;
	if (b.fetch_log_bytes > 8 * b.snapshot_log_bytes)
		b.fetch_log_bytes = 8 * b.snapshot_log_bytes;
	b.waiting_bytes = 4 * b.commit_pages_bytes;
	return b;
}
