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

/* Java escapes ,=+<>#;"\ anywhere, NUL as \00, and spaces at both ends. */
static void add_escaped(struct pk_buf *out, const unsigned char *text, size_t len)
{
	size_t lead = 0, trail = len;

	while (lead < len && (text[lead] == ' ' || text[lead] == '\r'))
		lead++;
	while (trail > lead && (text[trail - 1] == ' ' || text[trail - 1] == '\r'))
		trail--;
	for (size_t i = 0; i < len; i++) {
		if (text[i] == '\0') {
			pk_buf_add_str(out, "\\00");
			continue;
		}
		if (i < lead || i >= trail || strchr(",=+<>#;\"\\", text[i]) != NULL)
			pk_buf_add_str(out, "\\");
		pk_buf_add_u8(out, text[i]);
	}
}

static void add_entry(struct pk_buf *out, const X509_NAME_ENTRY *entry)
{
	const ASN1_OBJECT *type = X509_NAME_ENTRY_get_object(entry);
	const ASN1_STRING *value = X509_NAME_ENTRY_get_data(entry);
	const char *keyword = keyword_of(type);
	unsigned char *utf8 = NULL;
	char oid[128];
	int len;

	if (keyword == NULL) {
		OBJ_obj2txt(oid, sizeof(oid), type, 1);
		keyword = oid;
	}
	pk_buf_add_str(out, keyword);
	pk_buf_add_str(out, "=");
	if (keyword == oid || !is_text(value)) {
		add_hex(out, value);
		return;
	}
	len = ASN1_STRING_to_UTF8(&utf8, value);
	if (len < 0)
		add_hex(out, value); /* claims a form that it does not have */
	else
		add_escaped(out, utf8, (size_t)len);
	OPENSSL_free(utf8);
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
