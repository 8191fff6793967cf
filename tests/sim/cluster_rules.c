#include "tests/sim/cluster_rules.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

/* ---- ACLs ---- */

static const struct txn_id *id_at(const struct whose *who, size_t i)
{
	return &who->ids[who->index != NULL ? who->index[i] : i];
}

bool acl_lets(struct pk_bytes list, int32_t perms, const struct whose *who)
{
	struct zk_rd r = zk_rd(list);
	struct zk_acls all = zk_rd_acls(&r);
	struct zk_acl a;

	for (size_t i = 0; i < who->count; i++)
		if (pk_bytes_is(id_at(who, i)->scheme, "super"))
			return true;
	while (zk_acls_next(&all, &a)) {
		if ((a.perms & perms) == 0)
			continue;
		if (pk_bytes_is(a.scheme, "world"))
			return true;
		for (size_t i = 0; i < who->count; i++)
			if (pk_bytes_eq(id_at(who, i)->scheme, a.scheme) &&
			    pk_bytes_eq(id_at(who, i)->id, a.id))
				return true;
	}
	return false;
}

static bool came_before(struct zk_acls all, uint32_t place, const struct zk_acl *a)
{
	struct zk_acl b;

	for (uint32_t i = 0; i < place && zk_acls_next(&all, &b); i++)
		if (a->perms == b.perms && pk_bytes_eq(a->scheme, b.scheme) &&
		    pk_bytes_eq(a->id, b.id))
			return true;
	return false;
}

int32_t acl_kept(struct zk_acls asked, const struct whose *who, struct pk_buf *out)
{
	struct zk_acls left = asked;
	struct zk_acl a;
	uint32_t place = 0, count = 0;

	pk_buf_clear(out);
	size_t at = zk_wr_vector_begin(out);
	for (; zk_acls_next(&left, &a); place++) {
		uint32_t before = count;

		if (came_before(asked, place, &a))
			continue;
		if (pk_bytes_is(a.scheme, "auth")) {
			for (size_t i = 0; i < who->count; i++) {
				const struct txn_id *id = id_at(who, i);
				if (!pk_bytes_is(id->scheme, "digest"))
					continue;
				zk_acl_encode(out, &(struct zk_acl){ a.perms, id->scheme, id->id });
				count++;
			}
		} else if (pk_bytes_is(a.scheme, "world") || pk_bytes_is(a.scheme, "digest") ||
			   pk_bytes_is(a.scheme, "ip")) {
			zk_acl_encode(out, &a);
			count++;
		}
		if (count == before)
			return ZK_EINVALIDACL;
	}
	zk_wr_vector_end(out, at, count);
	return count > 0 ? 0 : ZK_EINVALIDACL;
}

void acl_shown(struct pk_bytes list, struct pk_buf *out)
{
	struct zk_rd r = zk_rd(list);
	struct zk_acls all = zk_rd_acls(&r);
	struct zk_acl a;

	zk_wr_int(out, (int32_t)all.count);
	while (zk_acls_next(&all, &a)) {
		char id[80];
		const uint8_t *colon = a.id.len > 0 ? memchr(a.id.data, ':', a.id.len) : NULL;

		if (pk_bytes_is(a.scheme, "digest") && colon != NULL) {
			snprintf(id, sizeof(id), "%.*s:x", (int)(colon - a.id.data), a.id.data);
			a.id = pk_bytes_str(id);
		}
		zk_acl_encode(out, &a);
	}
}

/* ---- quotas ---- */

static const char *const quota_keys[] = { "count", "bytes", "countHardLimit", "byteHardLimit" };

struct quota_numbers quota_parse(struct pk_bytes text)
{
	struct quota_numbers q = { -1, -1, -1, -1 };
	int64_t *to[] = { &q.count, &q.bytes, &q.count_hard, &q.bytes_hard };
	char *copy = pk_strndup((const char *)text.data, text.len), *save = NULL;

	for (char *p = strtok_r(copy, ",;", &save); p != NULL; p = strtok_r(NULL, ",;", &save)) {
		char *eq = strchr(p, '=');

		if (eq == NULL)
			break; /* the load writes nothing that is malformed before a number */
		for (size_t k = 0; k < PK_COUNT(to); k++)
			if (strlen(quota_keys[k]) == (size_t)(eq - p) &&
			    strncmp(p, quota_keys[k], (size_t)(eq - p)) == 0)
				*to[k] = strtoll(eq + 1, NULL, 10); /* up to a second '=' */
	}
	free(copy);
	return q;
}

void quota_format(const struct quota_numbers *q, struct pk_buf *out)
{
	pk_buf_clear(out);
	pk_buf_printf(out, "count=%" PRId64 ",bytes=%" PRId64, q->count, q->bytes);
	if (q->bytes_hard != -1 || q->count_hard != -1)
		pk_buf_add_str(out, "=");
	if (q->bytes_hard != -1)
		pk_buf_printf(out, ";byteHardLimit=%" PRId64, q->bytes_hard);
	if (q->count_hard != -1)
		pk_buf_printf(out, ";countHardLimit=%" PRId64, q->count_hard);
}

bool quota_forbids(const struct quota_numbers *limits, const struct quota_numbers *used,
		   int64_t bytes, int64_t count)
{
	return (count != 0 && limits->count_hard > -1 &&
		used->count + count > limits->count_hard) ||
	       (bytes != 0 && limits->bytes_hard > -1 && used->bytes + bytes > limits->bytes_hard);
}

/* ---- lists of servers ---- */

static void put_line(struct listed *l, const char *line)
{
	unsigned id;
	uint64_t version;
	int at;

	if (sscanf(line, "server.%u=%n", &id, &at) == 1 && id < LISTED_MAX)
		snprintf(l->spec[id], sizeof(l->spec[id]), "%s", line + at);
	else if (sscanf(line, "version=%" SCNx64, &version) == 1)
		l->version = version;
}

static void put_lines(struct listed *l, struct pk_bytes text, const char *between)
{
	char *copy = pk_strndup((const char *)text.data, text.len), *save = NULL;

	for (char *p = strtok_r(copy, between, &save); p != NULL;
	     p = strtok_r(NULL, between, &save))
		put_line(l, p);
	free(copy);
}

void listed_parse(struct listed *l, struct pk_bytes text)
{
	*l = (struct listed){ 0 };
	put_lines(l, text, "\n");
}

void listed_format(const struct listed *l, struct pk_buf *out)
{
	for (unsigned id = 0; id < LISTED_MAX; id++)
		if (l->spec[id][0] != 0)
			pk_buf_printf(out, "server.%u=%s\n", id, l->spec[id]);
	pk_buf_printf(out, "version=%" PRIx64, l->version);
}

int32_t listed_change(struct listed *l, const struct zk_reconfig_req *req)
{
	bool voters = false;

	if (req->members.data != NULL) {
		listed_parse(l, req->members);
	} else {
		char *copy = pk_strndup((const char *)req->leaving.data, req->leaving.len);
		char *save = NULL;

		for (char *p = strtok_r(copy, ",", &save); p != NULL;
		     p = strtok_r(NULL, ",", &save))
			l->spec[strtoul(p, NULL, 10) % LISTED_MAX][0] = 0;
		free(copy);
		if (req->joining.data != NULL)
			put_lines(l, req->joining, ",");
	}
	for (unsigned id = 0; id < LISTED_MAX; id++)
		voters |= listed_votes(l, id);
	return voters ? 0 : ZK_EBADARGUMENTS;
}

bool listed_has(const struct listed *l, uint64_t id)
{
	return id < LISTED_MAX && l->spec[id][0] != 0;
}

bool listed_votes(const struct listed *l, uint64_t id)
{
	return listed_has(l, id) && strstr(l->spec[id], ":observer") == NULL;
}
