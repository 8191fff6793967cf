#include <inttypes.h>

#include "base/crc.h"
#include "base/mutant.h"
#include "store/tree_impl.h"
#include "zkproto/zk.h"

/*
 * ACL lists are stored once each: A<id> holds the count of uses and the list as ZooKeeper encodes
 * it; H<keyed hash><id> finds a list by its bytes. Counts move in memory and reach kv at
 * tree_flush. An id is never used again; a list that loses its last use is gone at the end of that
 * operation, on every replica alike.
 */
struct acl_list {
	UT_hash_handle by_id;
	UT_hash_handle by_list;
	uint64_t uses;
	uint32_t id;
	int32_t world;   /* what world:anyone may do: most checks end here */
	bool stored;     /* kv has it */
	bool dirty;      /* kv has another count */
	bool zero_noted; /* in acl_zero */
	size_t event_at; /* where it is among the events' bytes, in that round */
	uint64_t event_round;
	uint32_t bytes;
	uint8_t list[];
};

#define HASH_KEY_BYTES 13u

static size_t list_key(uint8_t key[5], uint32_t id)
{
	key[0] = 'A';
	pk_put_be32(key + 1, id);
	return 5;
}

static size_t hash_key(const struct tree *t, uint8_t key[HASH_KEY_BYTES], struct pk_bytes list,
		       uint32_t id)
{
	key[0] = 'H';
	pk_put_be64(key + 1, keyed_hash(t->now.meta.state_id, list));
	pk_put_be32(key + 9, id);
	return HASH_KEY_BYTES;
}

uint64_t acl_extra(uint32_t id, struct pk_bytes list)
{
	uint64_t crcs = (uint64_t)pk_crc32c(0, list.data, list.len) << 32 |
			pk_crc32(0, list.data, list.len);

	return mix64(crcs, (uint64_t)id << 8 | 'A');
}

static struct zk_acls items_of(struct pk_bytes list)
{
	struct zk_rd r = zk_rd(list);
	struct zk_acls items = zk_rd_acls(&r);

	PK_ASSERT(!r.bad && r.in.len == 0);
	return items;
}

static struct acl_list *cache_add(struct tree *t, uint32_t id, struct pk_bytes list)
{
	struct acl_list *l = pk_alloc(sizeof(*l) + list.len);
	struct zk_acls items = items_of(list);
	struct zk_acl acl;

	l->id = id;
	l->bytes = (uint32_t)list.len;
	memcpy(l->list, list.data, list.len);
	while (zk_acls_next(&items, &acl))
		if (pk_bytes_is(acl.scheme, "world") && pk_bytes_is(acl.id, "anyone"))
			l->world |= acl.perms;
	HASH_ADD(by_id, t->acl_by_id, id, sizeof(l->id), l);
	HASH_ADD_KEYPTR(by_list, t->acl_by_list, l->list, l->bytes, l);
	return l;
}

static void cache_drop(struct tree *t, struct acl_list *l)
{
	HASH_DELETE(by_id, t->acl_by_id, l);
	HASH_DELETE(by_list, t->acl_by_list, l);
	free(l);
}

static struct acl_list *by_id(struct tree *t, uint32_t id)
{
	struct acl_list *l;
	uint8_t key[5];
	struct pk_bytes val;

	HASH_FIND(by_id, t->acl_by_id, &id, sizeof(id), l);
	if (l != NULL)
		return l;
	int found = kv_get(t->kv, pk_bytes(key, list_key(key, id)), &val);
	PK_ASSERT(found == 1 && val.len > 8);
	l = cache_add(t, id, pk_bytes(val.data + 8, val.len - 8));
	l->uses = pk_get_le64(val.data);
	l->stored = true;
	return l;
}

static struct acl_list *by_list(struct tree *t, struct pk_bytes list)
{
	struct acl_list *l, *found = NULL;
	uint8_t prefix[HASH_KEY_BYTES];
	struct pk_bytes key, val;

	HASH_FIND(by_list, t->acl_by_list, list.data, list.len, l);
	if (l != NULL)
		return l;
	hash_key(t, prefix, list, 0);
	struct kv_cur *cur = kv_cur_open(t->kv, pk_bytes(prefix, 9), PK_BYTES_NONE);
	while (found == NULL && kv_cur_next(cur, &key, &val) == 1) {
		l = by_id(t, pk_get_be32(key.data + 9));
		if (pk_bytes_eq(pk_bytes(l->list, l->bytes), list))
			found = l;
	}
	kv_cur_close(cur);
	return found;
}

static void note_zero(struct tree *t, struct acl_list *l)
{
	if (l->zero_noted)
		return;
	if (t->acl_zero_count == t->acl_zero_cap) {
		t->acl_zero_cap = t->acl_zero_cap > 0 ? 2 * t->acl_zero_cap : 16;
		t->acl_zero = pk_realloc(t->acl_zero, t->acl_zero_cap * sizeof(*t->acl_zero));
	}
	t->acl_zero[t->acl_zero_count++] = l->id;
	l->zero_noted = true;
}

static void count(struct tree *t, struct acl_list *l, int32_t delta)
{
	l->uses += (uint64_t)(int64_t)delta;
	l->dirty = true;
	if (l->uses == 0)
		note_zero(t, l);
	if (!t->stage.on)
		return;
	if (t->acl_undo_count == t->acl_undo_cap) {
		t->acl_undo_cap = t->acl_undo_cap > 0 ? 2 * t->acl_undo_cap : 64;
		t->acl_undo = pk_realloc(t->acl_undo, t->acl_undo_cap * sizeof(*t->acl_undo));
	}
	t->acl_undo[t->acl_undo_count++] = (struct acl_undo){ l->id, delta };
}

uint32_t acl_take(struct tree *t, struct pk_bytes list)
{
	struct acl_list *l = by_list(t, list);

	if (l == NULL) {
		l = cache_add(t, t->now.acl_next++, list);
		t->now.meta.extra += acl_extra(l->id, list);
	}
	count(t, l, 1);
	return l->id;
}

void acl_give(struct tree *t, uint32_t id)
{
	struct acl_list *l = by_id(t, id);

	PK_ASSERT(l->uses > 0);
	count(t, l, -1);
}

struct pk_bytes acl_bytes(struct tree *t, uint32_t id)
{
	struct acl_list *l = by_id(t, id);

	return pk_bytes(l->list, l->bytes);
}

void acl_settle(struct tree *t)
{
	uint8_t key[HASH_KEY_BYTES];

	PK_ASSERT(!t->stage.on);
	t->acl_undo_count = 0;
	for (size_t i = 0; i < t->acl_zero_count; i++) {
		struct acl_list *l = by_id(t, t->acl_zero[i]);
		struct pk_bytes list = pk_bytes(l->list, l->bytes);

		l->zero_noted = false;
		if (l->uses > 0)
			continue;
		t->now.meta.extra -= acl_extra(l->id, list);
		if (l->stored) {
			kv_del(t->kv, pk_bytes(key, hash_key(t, key, list, l->id)));
			kv_del(t->kv, pk_bytes(key, list_key(key, l->id)));
		}
		cache_drop(t, l);
	}
	t->acl_zero_count = 0;
}

/* The multi failed; meta, with the digest and the next id, was put back by the caller: so lists
 * that were made in it go without a trace. */
void acl_undo_all(struct tree *t)
{
	PK_ASSERT(!t->stage.on);
	for (size_t i = t->acl_undo_count; i-- > 0;) {
		struct acl_undo *u = &t->acl_undo[i];
		by_id(t, u->id)->uses -= (uint64_t)(int64_t)u->delta;
	}
	for (size_t i = 0; i < t->acl_zero_count; i++)
		by_id(t, t->acl_zero[i])->zero_noted = false;
	t->acl_zero_count = 0;
	for (size_t i = 0; i < t->acl_undo_count; i++) {
		struct acl_list *l;

		HASH_FIND(by_id, t->acl_by_id, &t->acl_undo[i].id, sizeof(uint32_t), l);
		if (l == NULL || l->id < t->now.acl_next)
			continue;
		PK_ASSERT(l->uses == 0 && !l->stored);
		cache_drop(t, l);
	}
	t->acl_undo_count = 0;
}

void acl_flush(struct tree *t)
{
	bool full = HASH_CNT(by_id, t->acl_by_id) > ACL_CACHE_MAX;
	struct acl_list *l, *next;
	uint8_t key[HASH_KEY_BYTES];

	PK_ASSERT(t->acl_zero_count == 0);
	HASH_ITER (by_id, t->acl_by_id, l, next) {
		struct pk_bytes list = pk_bytes(l->list, l->bytes);

		if (l->dirty) {
			pk_buf_clear(&t->record);
			pk_buf_add_le64(&t->record, l->uses);
			pk_buf_add_bytes(&t->record, list);
			kv_put(t->kv, pk_bytes(key, list_key(key, l->id)),
			       pk_buf_bytes(&t->record));
			if (!l->stored)
				kv_put(t->kv, pk_bytes(key, hash_key(t, key, list, l->id)),
				       PK_BYTES_NONE);
			l->stored = true;
			l->dirty = false;
		}
		if (full)
			cache_drop(t, l);
	}
}

void acl_check_uses(struct tree *t, uint32_t id, uint64_t uses)
{
	PK_ASSERT(by_id(t, id)->uses == uses);
}

void acl_release(struct tree *t)
{
	struct acl_list *l, *next;

	HASH_ITER (by_id, t->acl_by_id, l, next)
		cache_drop(t, l);
	free(t->acl_zero);
	free(t->acl_undo);
}

/* ---- addresses (scheme ip) ---- */

struct address {
	uint8_t bytes[16];
	size_t count; /* 4 or 16 */
};

/* A number as Java's Integer.parseInt takes it: a sign, then digits. */
static bool parse_int(struct pk_bytes text, int32_t *out)
{
	size_t at = text.len > 0 && (text.data[0] == '+' || text.data[0] == '-');
	int64_t v = 0;

	if (at == text.len)
		return false;
	for (size_t i = at; i < text.len; i++) {
		if (text.data[i] < '0' || text.data[i] > '9')
			return false;
		v = 10 * v + (text.data[i] - '0');
		if (v > (int64_t)INT32_MAX + 1)
			return false;
	}
	if (text.data[0] == '-')
		v = -v;
	if (v > INT32_MAX)
		return false;
	*out = (int32_t)v;
	return true;
}

/* Up to `sep`, taken off *rest with the separator; false when it was the last part. */
static bool cut(struct pk_bytes *rest, char sep, struct pk_bytes *part)
{
	const uint8_t *at = rest->len > 0 ? memchr(rest->data, sep, rest->len) : NULL;

	if (at == NULL) {
		*part = *rest;
		*rest = PK_BYTES_NONE;
		return false;
	}
	*part = pk_bytes(rest->data, (size_t)(at - rest->data));
	rest->data = at + 1;
	rest->len -= part->len + 1;
	return true;
}

static bool parse_v4(struct pk_bytes text, uint8_t out[4])
{
	struct pk_bytes part;
	int32_t v;

	for (int i = 0; i < 4; i++) {
		bool more = cut(&text, '.', &part);

		if (more != (i < 3) || !parse_int(part, &v) || v < 0 || v > 255)
			return false;
		out[i] = (uint8_t)v;
	}
	return true;
}

static int hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Groups of hex digits, one "::" at most; Java's long form and the short one. A zone (%eth0) says
 * nothing about the address and is ignored. */
static bool parse_v6(struct pk_bytes text, uint8_t out[16])
{
	uint16_t group[8] = { 0 };
	size_t groups = 0, gap = SIZE_MAX, at = 0;
	struct pk_bytes zone;

	cut(&text, '%', &zone);
	text = zone;
	if (text.len >= 2 && text.data[0] == ':' && text.data[1] == ':') {
		gap = 0;
		at = 2;
	}
	while (at < text.len) {
		uint32_t v = 0;
		size_t digits = 0;

		if (groups == 8)
			return false;
		while (at < text.len && digits < 5 && hex_digit(text.data[at]) >= 0) {
			v = v << 4 | (uint32_t)hex_digit(text.data[at++]);
			digits++;
		}
		if (digits == 0 || digits > 4)
			return false;
		group[groups++] = (uint16_t)v;
		if (at == text.len)
			break;
		if (text.data[at++] != ':' || at == text.len)
			return false;
		if (text.data[at] == ':') {
			if (gap != SIZE_MAX)
				return false;
			gap = groups;
			at++;
		}
	}
	if (gap == SIZE_MAX ? groups != 8 : groups > 7)
		return false;
	memset(out, 0, 16);
	for (size_t i = 0; i < groups; i++) {
		size_t to = i < gap ? i : i + 8 - groups;
		out[2 * to] = (uint8_t)(group[i] >> 8);
		out[2 * to + 1] = (uint8_t)group[i];
	}
	return true;
}

static bool parse_address(struct pk_bytes text, struct address *a)
{
	if (parse_v4(text, a->bytes))
		a->count = 4;
	else if (parse_v6(text, a->bytes))
		a->count = 16;
	else
		return false;
	return true;
}

/* "10.0.0.0/8", "10.1.2.3", "fd00::/8". */
static bool parse_net(struct pk_bytes text, struct address *a, int32_t *bits)
{
	struct pk_bytes host;
	bool has_bits = cut(&text, '/', &host);

	if (!parse_address(host, a))
		return false;
	*bits = (int32_t)(8 * a->count);
	return !has_bits ||
	       (parse_int(text, bits) && *bits >= 0 && *bits <= (int32_t)(8 * a->count));
}

static bool ip_matches(struct pk_bytes id, struct pk_bytes expr)
{
	struct address net, from;
	int32_t bits;

	if (!parse_net(expr, &net, &bits) || !parse_address(id, &from) || net.count != from.count)
		return false;
	for (int32_t i = 0; i < bits; i++)
		if (((net.bytes[i / 8] ^ from.bytes[i / 8]) >> (7 - i % 8) & 1) != 0)
			return false;
	return true;
}

/* ---- schemes ---- */

/* The provider of a scheme, as far as it is known here. */
enum scheme { SCHEME_NONE, SCHEME_IP, SCHEME_DIGEST, SCHEME_X509, SCHEME_SASL };

static enum scheme scheme_of(struct pk_bytes name)
{
	if (pk_bytes_is(name, "ip"))
		return SCHEME_IP;
	if (pk_bytes_is(name, "digest"))
		return SCHEME_DIGEST;
	if (pk_bytes_is(name, "x509"))
		return SCHEME_X509;
	if (pk_bytes_is(name, "sasl"))
		return SCHEME_SASL;
	return SCHEME_NONE;
}

static bool scheme_on(uint32_t flags, enum scheme s)
{
	switch (s) {
	case SCHEME_NONE:
		return false;
	case SCHEME_IP:
		return true;
	case SCHEME_DIGEST:
		return (flags & TXN_NO_DIGEST) == 0;
	case SCHEME_X509:
		return (flags & TXN_SCHEME_X509) != 0;
	case SCHEME_SASL:
		return (flags & TXN_SCHEME_SASL) != 0;
	}
	return false;
}

/* "user:hash", as Java's split(":") counts parts: empty ones at the end do not count. */
static bool digest_valid(struct pk_bytes id)
{
	struct pk_bytes rest = id, part;
	size_t parts = 0;

	while (rest.len > 0 && rest.data[rest.len - 1] == ':')
		rest.len--;
	if (rest.len == 0)
		return false;
	bool more = true;
	while (more) {
		more = cut(&rest, ':', &part);
		parts++;
	}
	return parts == 2;
}

/* KerberosName: service[/host]@REALM, or any name without '@'. */
static bool sasl_valid(struct pk_bytes id)
{
	const uint8_t *at = id.len > 0 ? memchr(id.data, '@', id.len) : NULL;

	if (at == NULL)
		return true;
	size_t slashes = 0;
	for (size_t i = 0; i < id.len; i++) {
		bool before = id.data + i < at;

		if (id.data[i] == '/' && (!before || ++slashes > 1))
			return false;
		if (id.data[i] == '@' && id.data + i != at)
			return false;
	}
	return true;
}

static bool x509_attribute_known(struct pk_bytes name)
{
	static const char *const known[] = {
		"CN",           "C",       "L",           "S",        "ST",         "O",
		"OU",           "T",       "IP",          "STREET",   "DC",         "DNQUALIFIER",
		"DNQ",          "SURNAME", "GIVENNAME",   "INITIALS", "GENERATION", "EMAIL",
		"EMAILADDRESS", "UID",     "SERIALNUMBER"
	};
	char upper[24];

	while (name.len > 0 && name.data[0] == ' ') {
		name.data++;
		name.len--;
	}
	while (name.len > 0 && name.data[name.len - 1] == ' ')
		name.len--;
	if (name.len == 0 || name.len >= sizeof(upper))
		return false;
	if (name.data[0] >= '0' && name.data[0] <= '2') { /* an object identifier */
		for (size_t i = 0; i < name.len; i++)
			if (name.data[i] != '.' && (name.data[i] < '0' || name.data[i] > '9'))
				return false;
		return name.data[name.len - 1] != '.';
	}
	for (size_t i = 0; i < name.len; i++)
		upper[i] = (char)(name.data[i] >= 'a' && name.data[i] <= 'z' ? name.data[i] - 32
									     : name.data[i]);
	for (size_t i = 0; i < PK_COUNT(known); i++)
		if (pk_bytes_is(pk_bytes(upper, name.len), known[i]))
			return true;
	return false;
}

/* A distinguished name: attribute=value, joined by ',', ';' or '+', with quotes and escapes. */
static bool x509_valid(struct pk_bytes id)
{
	size_t at = 0;

	if (id.len == 0)
		return true; /* X500Principal takes the empty name */
	for (;;) {
		const uint8_t *eq = at < id.len ? memchr(id.data + at, '=', id.len - at) : NULL;
		bool quoted = false;

		if (eq == NULL ||
		    !x509_attribute_known(pk_bytes(id.data + at, (size_t)(eq - (id.data + at)))))
			return false;
		for (at = (size_t)(eq - id.data) + 1; at < id.len; at++) {
			uint8_t c = id.data[at];

			if (c == '\\' && ++at == id.len)
				return false;
			else if (c == '"')
				quoted = !quoted;
			else if (!quoted && (c == ',' || c == ';' || c == '+'))
				break;
		}
		if (quoted)
			return false;
		if (at == id.len)
			return true;
		at++;
	}
}

static bool id_valid(enum scheme s, struct pk_bytes id)
{
	struct address a;
	int32_t bits;

	switch (s) {
	case SCHEME_NONE:
		return false;
	case SCHEME_IP:
		return parse_net(id, &a, &bits);
	case SCHEME_DIGEST:
		return digest_valid(id);
	case SCHEME_X509:
		return x509_valid(id);
	case SCHEME_SASL:
		return sasl_valid(id);
	}
	return false;
}

static bool id_matches(enum scheme s, struct pk_bytes id, struct pk_bytes expr)
{
	switch (s) {
	case SCHEME_NONE:
		return false;
	case SCHEME_IP:
		return ip_matches(id, expr);
	case SCHEME_DIGEST:
	case SCHEME_X509:
		return pk_bytes_eq(id, expr);
	case SCHEME_SASL:
		return pk_bytes_is(id, "super") || pk_bytes_eq(id, expr);
	}
	return false;
}

/* ---- fix-up ---- */

static bool same(const struct zk_acl *a, const struct zk_acl *b)
{
	return a->perms == b->perms && (a->scheme.data == NULL) == (b->scheme.data == NULL) &&
	       (a->id.data == NULL) == (b->id.data == NULL) && pk_bytes_eq(a->scheme, b->scheme) &&
	       pk_bytes_eq(a->id, b->id);
}

static uint32_t item_hash(const struct zk_acl *a)
{
	uint32_t crc = pk_crc32c((uint32_t)a->perms, a->scheme.data, a->scheme.len);

	return pk_crc32c(crc, a->id.data, a->id.len);
}

/* Java compares field by field and trips over a null where the fields before it are equal. */
static bool java_trips(const struct zk_acl *items, size_t count, const struct zk_acl *a)
{
	if (a->scheme.data != NULL && a->id.data != NULL)
		return false;
	for (size_t i = 0; i < count; i++)
		if (items[i].perms == a->perms &&
		    (a->scheme.data == NULL ||
		     (items[i].scheme.data != NULL && pk_bytes_eq(items[i].scheme, a->scheme))))
			return true;
	return false;
}

/* The entries of a list without those that came before: returns owned, *count of them. *err is
 * ZK_EMARSHALLING where Java could not tell. */
static struct zk_acl *unique(const struct zk_acls *in, size_t *count, int32_t *err)
{
	struct zk_acl *items = pk_alloc(in->count * sizeof(*items));
	size_t size = 16;

	while (size < 2 * (size_t)in->count)
		size *= 2;
	uint32_t *table = pk_alloc(size * sizeof(*table));
	struct zk_acls left = *in;
	struct zk_acl acl;
	*count = 0;
	while (zk_acls_next(&left, &acl)) {
		size_t at = item_hash(&acl) & (size - 1);

		if (java_trips(items, *count, &acl))
			*err = ZK_EMARSHALLING;
		while (table[at] != 0 && !same(&items[table[at] - 1], &acl))
			at = (at + 1) & (size - 1);
		if (table[at] != 0)
			continue;
		items[(*count)++] = acl;
		table[at] = (uint32_t)*count;
	}
	free(table);
	return items;
}

/* "auth": one entry for each identity of the connection that was proved. */
static int32_t expand_auth(struct tree *t, const struct who *who, int32_t perms, uint32_t *count)
{
	bool any = false;

	for (size_t i = 0; i < who->count; i++) {
		const struct txn_id *id = who_at(who, i);
		enum scheme s = scheme_of(id->scheme);

		if (s == SCHEME_IP || !scheme_on(t->flags, s))
			continue;
		zk_acl_encode(&t->acl, &(struct zk_acl){ perms, id->scheme, id->id });
		any = true;
		(*count)++;
	}
	return any ? 0 : ZK_EINVALIDACL;
}

static int32_t fix_up_one(struct tree *t, const struct who *who, const struct zk_acl *a,
			  uint32_t *count)
{
	if (a->scheme.data == NULL)
		return ZK_EINVALIDACL;
	bool world = pk_bytes_is(a->scheme, "world");
	enum scheme s = scheme_of(a->scheme);
	/* Java trips over a null id wherever it looks at it. */
	if (a->id.data == NULL && (world || scheme_on(t->flags, s)))
		return ZK_EMARSHALLING;
	if (pk_bytes_is(a->scheme, "auth"))
		return expand_auth(t, who, a->perms, count);
	if (!(world && pk_bytes_is(a->id, "anyone")) &&
	    (!scheme_on(t->flags, s) || !id_valid(s, a->id)))
		return ZK_EINVALIDACL;
	zk_acl_encode(&t->acl, a);
	(*count)++;
	return 0;
}

int32_t acl_fix_up(struct tree *t, const struct who *who, const struct zk_acls *in)
{
	size_t unique_count;
	uint32_t out_count = 0;
	int32_t err = 0;

	if (in->count == 0 || in->count > ACL_ITEMS_MAX)
		return ZK_EINVALIDACL;
	pk_buf_clear(&t->acl);
	size_t at = zk_wr_vector_begin(&t->acl);
	if (in->count == 1) { /* nearly always */
		struct zk_acls left = *in;
		struct zk_acl acl;

		if (zk_acls_next(&left, &acl))
			err = fix_up_one(t, who, &acl, &out_count);
		if (err == 0 && t->acl.len > ACL_BYTES_MAX)
			err = ZK_EINVALIDACL;
	} else {
		struct zk_acl *items = unique(in, &unique_count, &err);

		for (size_t i = 0; err == 0 && i < unique_count; i++) {
			err = fix_up_one(t, who, &items[i], &out_count);
			if (err == 0 && t->acl.len > ACL_BYTES_MAX)
				err = ZK_EINVALIDACL;
		}
		free(items);
	}
	zk_wr_vector_end(&t->acl, at, out_count);
	return err;
}

/* ---- checks ---- */

static bool list_allows(struct pk_bytes list, int32_t perm, const struct who *who)
{
	struct zk_acls items = items_of(list);
	struct zk_acl acl;

	for (size_t i = 0; i < who->count; i++)
		if (pk_bytes_is(who_at(who, i)->scheme, "super"))
			return true;
	while (zk_acls_next(&items, &acl)) {
		if ((acl.perms & perm) == 0)
			continue;
		if (pk_bytes_is(acl.scheme, "world") && pk_bytes_is(acl.id, "anyone"))
			return true;
		enum scheme s = scheme_of(acl.scheme);
		for (size_t i = 0; i < who->count; i++)
			if (pk_bytes_eq(who_at(who, i)->scheme, acl.scheme) &&
			    id_matches(s, who_at(who, i)->id, acl.id))
				return true;
	}
	return false;
}

int32_t acl_check(struct tree *t, uint32_t id, int32_t perm, const struct who *who)
{
	if (who->skip_acl || MUTANT(acl_not_checked))
		return 0;
	struct acl_list *l = by_id(t, id);
	if ((l->world & perm) != 0)
		return 0;
	return list_allows(pk_bytes(l->list, l->bytes), perm, who) ? 0 : ZK_ENOAUTH;
}

bool tree_acl_allows(struct pk_bytes list, int32_t perm, const struct txn_id *ids, size_t id_count)
{
	return list_allows(list, perm, &(struct who){ .ids = ids, .count = id_count });
}

struct pk_bytes acl_of_event(struct tree *t, uint32_t id, struct pk_buf *bytes)
{
	if (id == ACL_OPEN) /* nearly always */
		return PK_BYTES_NONE;
	struct acl_list *l = by_id(t, id);
	if ((l->world & ZK_PERM_READ) != 0)
		return PK_BYTES_NONE;
	if (l->event_round != t->event_round) {
		l->event_round = t->event_round;
		l->event_at = bytes->len;
		pk_buf_add(bytes, l->list, l->bytes);
	}
	return pk_bytes((const uint8_t *)l->event_at, l->bytes);
}
