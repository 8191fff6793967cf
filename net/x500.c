/* Subject names as Java prints them, because that is what x509 ACLs in a ZooKeeper tree contain. */
#include <openssl/objects.h>
#include <openssl/x509.h>
#include <stdio.h>

#include "base/mem.h"
#include "net/tls_impl.h"

/*
 * The types that Java gives a name in RFC 2253 form; every other type is its OID with a #hex value.
 * Source: OpenJDK 17, sun.security.x509.AVAKeyword (rfc2253Compliant), AVA.toRFC2253String.
 */
static const struct {
	int nid;
	const char *name;
} keywords[] = {
	{ NID_commonName, "CN" },        { NID_countryName, "C" },
	{ NID_localityName, "L" },       { NID_stateOrProvinceName, "ST" },
	{ NID_organizationName, "O" },   { NID_organizationalUnitName, "OU" },
	{ NID_streetAddress, "STREET" }, { NID_domainComponent, "DC" },
	{ NID_userId, "UID" },
};

static const char *keyword_of(const ASN1_OBJECT *type)
{
	int nid = OBJ_obj2nid(type);

	for (size_t i = 0; i < PK_COUNT(keywords); i++) {
		if (keywords[i].nid == nid)
			return keywords[i].name;
	}
	return NULL;
}

static bool is_text(const ASN1_STRING *value)
{
	switch (ASN1_STRING_type(value)) {
	case V_ASN1_PRINTABLESTRING:
	case V_ASN1_UTF8STRING:
	case V_ASN1_T61STRING:
	case V_ASN1_IA5STRING:
	case V_ASN1_GENERALSTRING:
	case V_ASN1_BMPSTRING:
	case V_ASN1_UNIVERSALSTRING:
		return true;
	default:
		return false;
	}
}

static void add_hex(struct pk_buf *out, const ASN1_STRING *value)
{
	ASN1_TYPE any = { .type = ASN1_STRING_type(value) };
	unsigned char *der = NULL;
	int len;

	any.value.asn1_string = (ASN1_STRING *)(uintptr_t)value;
	len = i2d_ASN1_TYPE(&any, &der);
	pk_buf_add_str(out, "#");
	for (int i = 0; i < len; i++)
		pk_buf_printf(out, "%02x", der[i]);
	OPENSSL_free(der);
}

/*
 * Bytes of one UTF-8 character at text, 1..4; 0 when it is malformed, *bad bytes of it becoming
 * one U+FFFD, as in Java's decoder (which counts a few overlong forms differently).
 */
static size_t utf8_len(const unsigned char *text, size_t left, size_t *bad)
{
	static const struct {
		unsigned char first, last, low, high; /* of the first byte, then of the second */
		size_t len;
	} forms[] = {
		{ 0x00, 0x7f, 0x00, 0x00, 1 }, { 0xc2, 0xdf, 0x80, 0xbf, 2 },
		{ 0xe0, 0xe0, 0xa0, 0xbf, 3 }, { 0xe1, 0xec, 0x80, 0xbf, 3 },
		{ 0xed, 0xed, 0x80, 0x9f, 3 }, { 0xee, 0xef, 0x80, 0xbf, 3 },
		{ 0xf0, 0xf0, 0x90, 0xbf, 4 }, { 0xf1, 0xf3, 0x80, 0xbf, 4 },
		{ 0xf4, 0xf4, 0x80, 0x8f, 4 },
	};

	*bad = 1;
	for (size_t i = 0; i < PK_COUNT(forms); i++) {
		size_t n = 1;

		if (text[0] < forms[i].first || text[0] > forms[i].last)
			continue;
		while (n < forms[i].len && n < left && text[n] >= (n == 1 ? forms[i].low : 0x80) &&
		       text[n] <= (n == 1 ? forms[i].high : 0xbf))
			n++;
		*bad = n;
		return n == forms[i].len ? n : 0;
	}
	return 0;
}

/*
 * Java reads the bytes of every string type as UTF-8, whatever the type says; escapes ,=+<>#;"\
 * anywhere, NUL as \00, and white space at both ends.
 */
static void add_escaped(struct pk_buf *out, const unsigned char *text, size_t len)
{
	size_t lead = 0, trail = len;

	while (lead < len && (text[lead] == ' ' || text[lead] == '\r'))
		lead++;
	while (trail > lead && (text[trail - 1] == ' ' || text[trail - 1] == '\r'))
		trail--;
	for (size_t i = 0; i < len;) {
		size_t bad, n = utf8_len(text + i, len - i, &bad);

		if (n == 0) {
			pk_buf_add_str(out, "\xef\xbf\xbd");
			i += bad;
			continue;
		}
		if (text[i] == '\0') {
			pk_buf_add_str(out, "\\00");
		} else {
			if (i < lead || i >= trail || strchr(",=+<>#;\"\\", text[i]) != NULL)
				pk_buf_add_str(out, "\\");
			pk_buf_add(out, text + i, n);
		}
		i += n;
	}
}

static void add_entry(struct pk_buf *out, const X509_NAME_ENTRY *entry)
{
	const ASN1_OBJECT *type = X509_NAME_ENTRY_get_object(entry);
	const ASN1_STRING *value = X509_NAME_ENTRY_get_data(entry);
	const char *keyword = keyword_of(type);
	char oid[128];

	if (keyword == NULL) {
		OBJ_obj2txt(oid, sizeof(oid), type, 1);
		keyword = oid;
	}
	pk_buf_add_str(out, keyword);
	pk_buf_add_str(out, "=");
	if (keyword == oid || !is_text(value))
		add_hex(out, value);
	else
		add_escaped(out, ASN1_STRING_get0_data(value), (size_t)ASN1_STRING_length(value));
}

char *x500_name(const X509_NAME *name)
{
	struct pk_buf out = PK_BUF_INIT;
	int count = X509_NAME_entry_count(name);

	/* RFC 2253: the last relative name first; within one, the order of the certificate, with
	 * '+'. */
	for (int end = count; end > 0;) {
		int first = end - 1, set;

		set = X509_NAME_ENTRY_set(X509_NAME_get_entry(name, first));
		while (first > 0 &&
		       X509_NAME_ENTRY_set(X509_NAME_get_entry(name, first - 1)) == set)
			first--;
		for (int i = first; i < end; i++) {
			if (out.len > 0)
				pk_buf_add_str(&out, i == first ? "," : "+");
			add_entry(&out, X509_NAME_get_entry(name, i));
		}
		end = first;
	}
	pk_buf_str(&out);
	return (char *)out.data; /* with its NUL; the caller frees */
}
