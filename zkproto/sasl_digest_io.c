#include "zkproto/sasl_digest_io.h"

#include <stdio.h>

#include "base/mem.h"
#include "base/rng.h"
#include "net/crypto.h"

#define DIGEST_URI   "zookeeper/zk-sasl-md5"
#define MD5_BYTES    16
#define CNONCE_BYTES 16
#define NONCE_COUNT  "00000001" /* each exchange has a nonce of its own */
#define VALUE_BYTES  1024       /* longest value in a challenge */

enum step { STEP_CHALLENGE, STEP_PROOF, STEP_DONE };

struct zkc_sasl_digest {
	char *user, *password;
	enum step step;
	char proof[33]; /* what the server must answer */
};

static void md5(struct pk_buf *text, uint8_t out[MD5_BYTES])
{
	uint8_t digest[NET_DIGEST_BYTES_MAX];
	int len = net_digest("MD5", pk_buf_bytes(text), digest, NULL);

	PK_ASSERT(len == MD5_BYTES); /* OpenSSL has it, or the process is misconfigured */
	memcpy(out, digest, MD5_BYTES);
	explicit_bzero(text->data, text->len);
	pk_buf_clear(text);
}

static void hex(const uint8_t in[MD5_BYTES], char out[33])
{
	for (int i = 0; i < MD5_BYTES; i++)
		snprintf(out + 2 * i, 3, "%02x", in[i]);
}

void zkc_digest_answer(const struct zkc_digest_input *in, char out[33])
{
	struct pk_buf b = PK_BUF_INIT;
	uint8_t digest[MD5_BYTES];
	char ha1[33], ha2[33];

	pk_buf_printf(&b, "%s:%s:%s", in->user, in->realm, in->password);
	md5(&b, digest);
	pk_buf_add(&b, digest, sizeof(digest));
	pk_buf_printf(&b, ":%s:%s", in->nonce, in->cnonce);
	md5(&b, digest);
	hex(digest, ha1);
	pk_buf_printf(&b, "%s:%s", in->a2, in->uri);
	md5(&b, digest);
	hex(digest, ha2);
	pk_buf_printf(&b, "%s:%s:" NONCE_COUNT ":%s:auth:%s", ha1, in->nonce, in->cnonce, ha2);
	md5(&b, digest);
	hex(digest, out);
	explicit_bzero(ha1, sizeof(ha1));
	pk_buf_release(&b);
}

/*
 * The value of `key` in a challenge, key=value or key="value" (with \ before " and \), separated by
 * commas. False when it is not there, or too long.
 */
static bool challenge_value(struct pk_bytes in, const char *key, char out[VALUE_BYTES])
{
	const char *p = (const char *)in.data, *end = p + in.len;

	while (p < end) {
		while (p < end && (*p == ',' || *p == ' ' || *p == '\t'))
			p++;
		const char *name = p;
		while (p < end && *p != '=')
			p++;
		size_t name_len = (size_t)(p - name), len = 0;
		if (p == end)
			return false;
		p++;
		bool quoted = p < end && *p == '"';
		bool wanted = name_len == strlen(key) && memcmp(name, key, name_len) == 0;

		p += quoted;
		while (p < end && (quoted ? *p != '"' : *p != ',')) {
			if (quoted && *p == '\\' && p + 1 < end)
				p++;
			if (len + 1 >= VALUE_BYTES || *p == 0)
				return false;
			out[len++] = *p++;
		}
		if (quoted && p == end)
			return false;
		p += quoted;
		if (wanted) {
			out[len] = 0;
			return true;
		}
	}
	return false;
}

static bool printable(const char *text)
{
	for (; *text != 0; text++)
		if (*text < 0x20 || *text > 0x7e)
			return false;
	return true;
}

struct zkc_sasl_digest *zkc_sasl_digest_new(const char *user, const char *password,
					    struct pk_err *err)
{
	if (user[0] == 0 || !printable(user) || !printable(password)) {
		pk_err_set(err, PK_EINVAL, "DIGEST-MD5: user and password must be printable ASCII");
		return NULL;
	}
	struct zkc_sasl_digest *d = pk_alloc(sizeof(*d));
	d->user = pk_strdup(user);
	d->password = pk_strdup(password);
	return d;
}

void zkc_sasl_digest_free(struct zkc_sasl_digest *d)
{
	if (d == NULL)
		return;
	explicit_bzero(d->password, strlen(d->password));
	free(d->user);
	free(d->password);
	free(d);
}

static int digest_start(void *owner, uint32_t server, struct pk_buf *out)
{
	struct zkc_sasl_digest *d = owner;

	(void)server;
	(void)out; /* the server speaks first: an empty token asks it to */
	d->step = STEP_CHALLENGE;
	return 1;
}

static void add_quoted(struct pk_buf *out, const char *key, const char *value)
{
	pk_buf_printf(out, "%s=\"", key);
	for (; *value != 0; value++) {
		if (*value == '"' || *value == '\\')
			pk_buf_add_u8(out, '\\');
		pk_buf_add_u8(out, (uint8_t)*value);
	}
	pk_buf_add_str(out, "\",");
}

/* A list such as "auth,auth-int": is `auth` in it? */
static bool offers_auth(const char *list)
{
	while (*list != 0) {
		size_t len = strcspn(list, ", ");

		if (len == 4 && memcmp(list, "auth", 4) == 0)
			return true;
		list += len;
		list += strspn(list, ", ");
	}
	return false;
}

static int answer_challenge(struct zkc_sasl_digest *d, struct pk_bytes challenge,
			    struct pk_buf *out)
{
	char realm[VALUE_BYTES], nonce[VALUE_BYTES], value[VALUE_BYTES];
	uint8_t secret[CNONCE_BYTES];
	char cnonce[2 * CNONCE_BYTES + 1], response[33];

	if (!challenge_value(challenge, "nonce", nonce))
		return PK_EPROTO;
	if (!challenge_value(challenge, "algorithm", value) || strcmp(value, "md5-sess") != 0)
		return PK_EPROTO;
	if (challenge_value(challenge, "qop", value) && !offers_auth(value))
		return PK_EPROTO;
	if (!challenge_value(challenge, "realm", realm))
		realm[0] = 0;
	int rc = pk_random_secret(secret, sizeof(secret), NULL);
	if (rc != 0)
		return rc;
	static_assert(CNONCE_BYTES == MD5_BYTES, "hex() is for both");
	hex(secret, cnonce);

	struct zkc_digest_input in = { d->user, realm,      d->password,   nonce,
				       cnonce,  DIGEST_URI, "AUTHENTICATE" };
	zkc_digest_answer(&in, response);
	in.a2 = "";
	zkc_digest_answer(&in, d->proof);
	pk_buf_add_str(out, "charset=utf-8,");
	add_quoted(out, "username", d->user);
	add_quoted(out, "realm", realm);
	add_quoted(out, "nonce", nonce);
	add_quoted(out, "cnonce", cnonce);
	add_quoted(out, "digest-uri", DIGEST_URI);
	pk_buf_printf(out, "nc=" NONCE_COUNT ",qop=auth,maxbuf=65536,response=%s", response);
	d->step = STEP_PROOF;
	return 1;
}

static int digest_step(void *owner, struct pk_bytes challenge, struct pk_buf *out)
{
	struct zkc_sasl_digest *d = owner;
	char proof[VALUE_BYTES];

	/* A null token: a server that has no SASL configured answers so. */
	if (challenge.data == NULL || challenge.len > ZKC_SASL_CHALLENGE_BYTES_MAX)
		return PK_EAUTH;
	switch (d->step) {
	case STEP_CHALLENGE:
		return answer_challenge(d, challenge, out);
	case STEP_PROOF:
		if (!challenge_value(challenge, "rspauth", proof) ||
		    !net_secret_eq(pk_bytes_str(proof), pk_bytes_str(d->proof)))
			return PK_EAUTH;
		d->step = STEP_DONE;
		return 0;
	case STEP_DONE:
		break;
	}
	return PK_EPROTO;
}

const struct zkc_sasl_ops zkc_sasl_digest_ops = { digest_start, digest_step };
