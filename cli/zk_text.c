#include "cli/zk_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "net/crypto.h"
#include "zkproto/zk.h"

static const char perm_letters[] = "cdrwa";
static const int32_t perm_bits[] = { ZK_PERM_CREATE, ZK_PERM_DELETE, ZK_PERM_READ, ZK_PERM_WRITE,
				     ZK_PERM_ADMIN };

const char *zk_kind(const struct zk_stat *stat)
{
	return stat->ephemeral_owner == 0 ? "persistent" : "ephemeral";
}

const char *zk_time(int64_t ms, char out[40])
{
	time_t seconds = (time_t)(ms / 1000);
	struct tm tm;
	char day[32];

	if (ms <= 0 || localtime_r(&seconds, &tm) == NULL ||
	    strftime(day, sizeof(day), "%Y-%m-%d %H:%M:%S", &tm) == 0)
		snprintf(out, 40, "-");
	else
		snprintf(out, 40, "%s.%03d", day, (int)(ms % 1000));
	return out;
}

void zk_stat_text(const struct zk_stat *s, struct pk_buf *out)
{
	char at[40];

	pk_buf_printf(out, "kind        %s", zk_kind(s));
	if (s->ephemeral_owner != 0)
		pk_buf_printf(out, ", of session 0x%" PRIx64, (uint64_t)s->ephemeral_owner);
	pk_buf_printf(out, "\ndata        %d bytes, version %d\n", s->data_length, s->version);
	pk_buf_printf(out, "children    %d, version %d\n", s->num_children, s->cversion);
	pk_buf_printf(out, "acl         version %d\n", s->aversion);
	pk_buf_printf(out, "created     %s  zxid 0x%" PRIx64 "\n", zk_time(s->ctime, at),
		      (uint64_t)s->czxid);
	pk_buf_printf(out, "changed     %s  zxid 0x%" PRIx64 "\n", zk_time(s->mtime, at),
		      (uint64_t)s->mzxid);
	pk_buf_printf(out, "children changed  zxid 0x%" PRIx64 "\n", (uint64_t)s->pzxid);
}

static void set_zxid(json_t *o, const char *key, int64_t zxid)
{
	char text[32];

	snprintf(text, sizeof(text), "0x%" PRIx64, (uint64_t)zxid);
	json_object_set_new(o, key, json_string(text));
}

json_t *zk_stat_json(const struct zk_stat *s)
{
	json_t *o = json_object();

	json_object_set_new(o, "kind", json_string(zk_kind(s)));
	set_zxid(o, "czxid", s->czxid);
	set_zxid(o, "mzxid", s->mzxid);
	set_zxid(o, "pzxid", s->pzxid);
	json_object_set_new(o, "ctime_ms", json_integer(s->ctime));
	json_object_set_new(o, "mtime_ms", json_integer(s->mtime));
	json_object_set_new(o, "version", json_integer(s->version));
	json_object_set_new(o, "cversion", json_integer(s->cversion));
	json_object_set_new(o, "aversion", json_integer(s->aversion));
	set_zxid(o, "ephemeral_owner", s->ephemeral_owner);
	json_object_set_new(o, "data_length", json_integer(s->data_length));
	json_object_set_new(o, "num_children", json_integer(s->num_children));
	return o;
}

void zk_data_json(json_t *object, struct pk_bytes data)
{
	json_t *text = NULL;

	if (data.len == 0)
		text = json_string("");
	else if (memchr(data.data, '\0', data.len) == NULL)
		text = json_stringn((const char *)data.data, data.len);
	if (text != NULL) {
		json_object_set_new(object, "data", text);
		return;
	}
	struct pk_buf b64 = PK_BUF_INIT;
	net_base64_encode(data, &b64);
	json_object_set_new(object, "data_base64", json_string(pk_buf_str(&b64)));
	pk_buf_release(&b64);
}

int zk_data_from_json(const json_t *object, struct pk_buf *out, struct pk_err *err)
{
	const json_t *text = json_object_get(object, "data");
	const json_t *b64 = json_object_get(object, "data_base64");

	if (json_is_string(text)) {
		pk_buf_add(out, json_string_value(text), json_string_length(text));
		return 0;
	}
	if (json_is_string(b64))
		return net_base64_decode(pk_bytes(json_string_value(b64), json_string_length(b64)),
					 out, err);
	return pk_err_set(err, PK_EINVAL, "neither \"data\" nor \"data_base64\"");
}

void zk_acl_text(const struct zk_acl *acl, struct pk_buf *out)
{
	pk_buf_add_bytes(out, acl->scheme);
	pk_buf_add_str(out, ":");
	pk_buf_add_bytes(out, acl->id);
	pk_buf_add_str(out, ":");
	for (size_t i = 0; i < PK_COUNT(perm_bits); i++) {
		if (acl->perms & perm_bits[i])
			pk_buf_add(out, &perm_letters[i], 1);
	}
}

static int parse_one(struct pk_bytes text, struct zk_acl *out, struct pk_err *err)
{
	const uint8_t *first = memchr(text.data, ':', text.len);
	const uint8_t *last = memrchr(text.data, ':', text.len);
	const uint8_t *end = text.data + text.len;

	if (first == NULL || first == last || first == text.data)
		return pk_err_set(err, PK_EINVAL, "ACL %.*s: want SCHEME:ID:PERMS", (int)text.len,
				  text.data);
	out->scheme = pk_bytes(text.data, (size_t)(first - text.data));
	out->id = pk_bytes(first + 1, (size_t)(last - first - 1));
	out->perms = 0;
	for (const uint8_t *c = last + 1; c < end; c++) {
		const char *at = strchr(perm_letters, (char)*c);

		if (*c == '\0' || at == NULL)
			return pk_err_set(err, PK_EINVAL,
					  "ACL %.*s: permissions are of the letters %s",
					  (int)text.len, text.data, perm_letters);
		out->perms |= perm_bits[at - perm_letters];
	}
	return 0;
}

int zk_acl_parse(const char *text, struct pk_buf *items, uint32_t *count, struct pk_err *err)
{
	uint32_t n = 0;

	for (const char *at = text; *at != '\0'; n++) {
		size_t len = strcspn(at, ",");
		struct zk_acl acl;
		int rc = parse_one(pk_bytes(at, len), &acl, err);

		if (rc != 0)
			return rc;
		zk_acl_encode(items, &acl);
		at += len;
		at += *at == ',';
	}
	if (n == 0)
		return pk_err_set(err, PK_EINVAL, "an ACL has at least one entry");
	*count = n;
	return 0;
}
