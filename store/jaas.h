/*
 * store/jaas.h - the JAAS login file, as far as a ZooKeeper server is described by one.
 *
 *     Server {
 *             org.apache.zookeeper.server.auth.DigestLoginModule required
 *             user_super="secret"
 *             user_bob="secret";
 *     };
 *
 * Also com.sun.security.auth.module.Krb5LoginModule with keyTab and principal. Comments are those
 * of C and C++, and '#' to the end of the line. Quoted text knows the escapes \" \\ \n \t.
 * Source: javax.security.auth.login.Configuration (Java SE 17 API documentation);
 * ZooKeeper 3.8.0, SaslServerCallbackHandler (user_ options).
 */
#ifndef PK_STORE_JAAS_H
#define PK_STORE_JAAS_H

#include "base/bytes.h"
#include "base/err.h"

#define JAAS_BYTES_MAX (1 << 20)
#define JAAS_ITEMS_MAX 10000 /* sections, modules and options in all */

struct jaas_option {
	char *name;
	char *value;
};

struct jaas_module {
	char *class_name;
	char *flag; /* required, requisite, sufficient, optional */
	struct jaas_option *options;
	size_t option_count;
};

struct jaas_section {
	char *name;
	struct jaas_module *modules;
	size_t module_count;
};

struct jaas { /* owns everything below it */
	struct jaas_section *sections;
	size_t count;
};
#define JAAS_INIT ((struct jaas){ 0 })

/* PK_EINVAL naming the line, PK_ELIMIT; *out untouched then. */
PK_CHECKED int jaas_parse(struct jaas *out, struct pk_bytes text, struct pk_err *err);
void jaas_release(struct jaas *j);
const struct jaas_section *jaas_find(const struct jaas *j, const char *name); /* or NULL */

/* What a section says to a server. */
struct jaas_user {
	char *name;
	char *password;
};
struct jaas_server {             /* owns */
	struct jaas_user *users; /* DIGEST-MD5 */
	size_t user_count;
	char *keytab;    /* GSSAPI when set: a path, */
	char *principal; /* and service/host@REALM */
};
#define JAAS_SERVER_INIT ((struct jaas_server){ 0 })
/* PK_EINVAL for a module we do not know, or Kerberos without keyTab or principal. */
PK_CHECKED int jaas_server_of(struct jaas_server *out, const struct jaas_section *section,
			      struct pk_err *err);
void jaas_server_release(struct jaas_server *s);

#endif
