#include "tests/net/net_test.h"

#include <openssl/pem.h>
#include <unistd.h>

#include "net/tls_impl.h"

/*
 * Subjects as `openssl req -subj` takes them, and what OpenJDK 17 printed for those certificates
 * (X509Certificate.getSubjectX500Principal().getName()).
 */
static const struct {
	const char *subject;
	const char *java;
} recorded[] = {
	{ "/C=DE/ST=Hessen/L=Frankfurt/O=A, B \"C\"/OU=x=y#z/CN=client",
	  "CN=client,OU=x\\=y\\#z,O=A\\, B \\\"C\\\",L=Frankfurt,ST=Hessen,C=DE" },
	{ "/CN= lead trail  "
	  "/emailAddress=me@example.org/DC=org/DC=example/UID=u1/street=Main/title=Dr",
	  "2.5.4.12=#0c024472,STREET=Main,UID=u1,DC=example,DC=org,1.2.840.113549.1.9.1="
	  "#160e6d65406578616d706c652e6f7267,CN=\\ lead trail\\ \\ " },
	{ "/CN=J\u00fcrgen M\u00fcller \u2603/serialNumber=12+OU=sales/O=a;b<c>d\\\\e",
	  "O=a\\;b\\<c\\>d\\\\e,2.5.4.5=#13023132+OU=sales,CN=J\u00fcrgen M\u00fcller \u2603" },
	{ "/CN=#hash+UID=z/dnQualifier=q/GN=given/SN=sur",
	  "2.5.4.4=#0c03737572,2.5.4.42=#0c05676976656e,2.5.4.46=#130171,CN=\\#hash+UID=z" },
	{ "/C=DE+O=multi+OU=three/CN=t.example.com/businessCategory=x",
	  "2.5.4.15=#0c0178,CN=t.example.com,C=DE+O=multi+OU=three" },
};

static void test_subjects_read_as_java_prints_them(void **state)
{
	const char *tmp = getenv("TMPDIR");
	char dir[64], cmd[1024], path[100];

	(void)state;
	snprintf(dir, sizeof(dir), "%.40s/pk-x500-XXXXXX", tmp != NULL ? tmp : "/tmp");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/cert.pem", dir);
	for (size_t i = 0; i < PK_COUNT(recorded); i++) {
		snprintf(cmd, sizeof(cmd),
			 "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes "
			 "-days 3 -utf8 "
			 "-multivalue-rdn -subj '%s' -keyout %s/key.pem -out %s 2>/dev/null",
			 recorded[i].subject, dir, path);
		assert_int_equal(system(cmd), 0);
		FILE *f = fopen(path, "r");
		assert_non_null(f);
		X509 *cert = PEM_read_X509(f, NULL, NULL, NULL);
		fclose(f);
		assert_non_null(cert);
		char *name = x500_name(X509_get_subject_name(cert));
		assert_string_equal(name, recorded[i].java);
		free(name);
		X509_free(cert);
	}
	snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	assert_int_equal(system(cmd), 0);
}

/* Java takes the bytes of every string type for UTF-8; recorded the same way. */
static void test_other_string_types_are_read_as_utf8(void **state)
{
	X509_NAME *name = X509_NAME_new();
	char *text;

	(void)state;
	assert_int_equal(X509_NAME_add_entry_by_NID(name, NID_commonName, V_ASN1_BMPSTRING,
						    (const unsigned char *)"\0B\0\xfc", 4, -1, 0),
			 1);
	assert_int_equal(X509_NAME_add_entry_by_NID(name, NID_organizationName, V_ASN1_T61STRING,
						    (const unsigned char *)"t\xc3\xa9st\xe9", 6, -1,
						    0),
			 1);
	text = x500_name(name);
	assert_string_equal(text, "O=t\u00e9st\ufffd,CN=\\00B\\00\ufffd");
	free(text);
	X509_NAME_free(name);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_subjects_read_as_java_prints_them),
		cmocka_unit_test(test_other_string_types_are_read_as_utf8),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
