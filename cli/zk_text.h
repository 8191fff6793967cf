/*
 * cli/zk_text.h - nodes, stats and ACLs for people and for programs.
 */
#ifndef PK_CLI_ZK_TEXT_H
#define PK_CLI_ZK_TEXT_H

#include <jansson.h>

#include "base/bytes.h"
#include "base/err.h"
#include "zkproto/record.h"

/* "persistent" or "ephemeral". Containers and nodes with a TTL look persistent: stats do not tell
 * (Apache ZooKeeper release-3.8.0, DataNode.copyStat). */
const char *zk_kind(const struct zk_stat *stat);
/* "2026-01-31 12:00:00.123" in local time; "-" for 0. Returns out. */
const char *zk_time(int64_t ms, char out[40]);
void zk_stat_text(const struct zk_stat *stat, struct pk_buf *out); /* lines "name  value" */
json_t *zk_stat_json(const struct zk_stat *stat);
/* Sets "data" when it is text (UTF-8 without zero bytes), else "data_base64". */
void zk_data_json(json_t *object, struct pk_bytes data);
PK_CHECKED int zk_data_from_json(const json_t *object, struct pk_buf *out, struct pk_err *err);

/* "world:anyone:cdrwa" */
void zk_acl_text(const struct zk_acl *acl, struct pk_buf *out);
/* "a:b:cdrwa,..." appended as the items of a vector; the permissions are behind the last colon.
 * PK_EINVAL. */
PK_CHECKED int zk_acl_parse(const char *text, struct pk_buf *items, uint32_t *count,
			    struct pk_err *err);

#endif
