#include "store/sasl_io.h"

#include <errno.h>
#include <krb5.h>
#include <sasl/sasl.h>
#include <sasl/saslplug.h>
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "zkproto/zk.h"

#define STORE_NAME "paddock" /* of our user database, as libsasl2 knows it */

struct sasl {
	const struct store_config *cfg;
	const char *mechanism;
	char service[128], host[256];
	char realm[256]; /* of Kerberos, the system's default */
	sasl_callback_t callbacks[4];
	size_t slots;
};

struct exchange {
	struct sasl *sasl;
	sasl_conn_t *conn;
	bool begun, done;
};

/* libsasl2 looks users up by a plugin that it knows by name, so the plugin finds us here. */
static struct sasl *the_sasl;

/* ---- the users, as libsasl2 asks for them ---- */

static const char *password_of(const struct store_config *cfg, const char *user, size_t len)
{
	if (cfg->sasl_super_password != NULL && pk_bytes_is(pk_bytes(user, len), "super"))
		return cfg->sasl_super_password;
	for (size_t i = 0; i < cfg->sasl.user_count; i++)
		if (pk_bytes_is(pk_bytes(user, len), cfg->sasl.users[i].name))
			return cfg->sasl.users[i].password;
	return NULL;
}

static int user_lookup(void *context, sasl_server_params_t *params, unsigned flags,
		       const char *user, unsigned user_len)
{
	pk_ignore(context, "one in a process: the_sasl");
	const char *password = password_of(the_sasl->cfg, user, user_len);
	const struct propval *wanted = params->utils->prop_get(params->propctx);
	int rc = password != NULL ? SASL_OK : SASL_NOUSER;

	/* Secrets carry a star: they are of the one who logs in, not of the name acted for. */
	if (password == NULL || wanted == NULL || (flags & SASL_AUXPROP_AUTHZID) != 0)
		return password != NULL ? SASL_OK : SASL_NOUSER;
	for (; wanted->name != NULL && rc == SASL_OK; wanted++)
		if (strcmp(wanted->name, "*" SASL_AUX_PASSWORD_PROP) == 0 && wanted->values == NULL)
			rc = params->utils->prop_set(params->propctx, wanted->name, password,
						     (int)strlen(password));
	return rc;
}

static int users_init(const sasl_utils_t *utils, int version_max, int *version,
		      sasl_auxprop_plug_t **out, const char *name)
{
	static char plugin_name[] = STORE_NAME;
	static sasl_auxprop_plug_t plugin = { .auxprop_lookup = user_lookup, .name = plugin_name };

	pk_ignore(utils, "nothing of it is kept");
	pk_ignore(name, "it is ours");
	if (version_max < SASL_AUXPROP_PLUG_VERSION)
		return SASL_BADVERS;
	*version = SASL_AUXPROP_PLUG_VERSION;
	*out = &plugin;
	return SASL_OK;
}

static int option(void *context, const char *plugin, const char *name, const char **out,
		  unsigned *len)
{
	const struct sasl *s = context;
	const char *value = NULL;

	pk_ignore(plugin, "the names are unlike enough");
	if (strcmp(name, "auxprop_plugin") == 0)
		value = STORE_NAME;
	else if (strcmp(name, "mech_list") == 0)
		value = s->mechanism;
	else if (strcmp(name, "keytab") == 0)
		value = s->cfg->sasl.keytab;
	if (value == NULL)
		return SASL_FAIL;
	*out = value;
	if (len != NULL)
		*len = (unsigned)strlen(value);
	return SASL_OK;
}

static int log_line(void *context, int level, const char *text)
{
	pk_ignore(context, "only told");
	if (level != SASL_LOG_NONE && level != SASL_LOG_PASS)
		LOG_DEBUG("sasl.library", "level=%d text=\"%s\"", level, text);
	return SASL_OK;
}

/* ZooKeeper lets nobody act for another: whom the client asks to be does not matter, who it is
 * does. */
static int policy(sasl_conn_t *conn, void *context, const char *asked, unsigned asked_len,
		  const char *who, unsigned who_len, const char *realm, unsigned realm_len,
		  struct propctx *props)
{
	pk_ignore(conn, "see above");
	pk_ignore(context, "see above");
	pk_ignore(asked, "see above");
	pk_ignore(asked_len, "see above");
	pk_ignore(who, "see above");
	pk_ignore(who_len, "see above");
	pk_ignore(realm, "see above");
	pk_ignore(realm_len, "see above");
	pk_ignore(props, "see above");
	return SASL_OK;
}

/* ---- starting ---- */

/* service/host@REALM */
static int split_principal(struct sasl *s, const char *principal, struct pk_err *err)
{
	size_t service = strcspn(principal, "/@");
	const char *host = principal + service + (principal[service] == '/');
	size_t host_len = strcspn(host, "@");

	if (principal[service] != '/' || service == 0 || host_len == 0 ||
	    service >= sizeof(s->service) || host_len >= sizeof(s->host))
		return pk_err_set(err, PK_EINVAL,
				  "principal %.200s: a server's is service/host@REALM", principal);
	snprintf(s->service, sizeof(s->service), "%.*s", (int)service, principal);
	snprintf(s->host, sizeof(s->host), "%.*s", (int)host_len, host);
	return 0;
}

/* libsasl2's GSSAPI drops this realm from names, and ZooKeeper does not: it must be put back, and
 * must be the very one. */
static int default_realm(struct sasl *s, struct pk_err *err)
{
	krb5_context context;
	char *realm = NULL;
	int rc = 0;

	krb5_error_code code = krb5_init_context(&context);
	if (code != 0)
		return pk_err_set(err, PK_EINVAL,
				  "Kerberos cannot be set up: error %d of krb5.conf", (int)code);
	code = krb5_get_default_realm(context, &realm);
	if (code != 0 || strlen(realm) >= sizeof(s->realm))
		rc = pk_err_set(err, PK_EINVAL,
				"Kerberos has no default_realm: set it in krb5.conf "
				"(java.security.krb5.conf names another file)");
	else
		snprintf(s->realm, sizeof(s->realm), "%s", realm);
	krb5_free_default_realm(context, realm);
	krb5_free_context(context);
	return rc;
}

static int start_kerberos(struct sasl *s, struct pk_err *err)
{
	const struct store_config *cfg = s->cfg;

	s->mechanism = "GSSAPI";
	if (access(cfg->sasl.keytab, R_OK) != 0)
		return pk_err_sys(err, errno, "key table %s", cfg->sasl.keytab);
	/* The Kerberos library takes these from the environment alone; nothing else reads it now.
	 */
	if (setenv("KRB5_KTNAME", cfg->sasl.keytab, 1) != 0 ||
	    (cfg->krb5_conf != NULL && setenv("KRB5_CONFIG", cfg->krb5_conf, 1) != 0))
		return pk_err_sys(err, errno, "set KRB5_KTNAME");
	int rc = split_principal(s, cfg->sasl.principal, err);
	return rc == 0 ? default_realm(s, err) : rc;
}

static bool mechanism_there(const char *name)
{
	for (const char **m = sasl_global_listmech(); m != NULL && *m != NULL; m++)
		if (strcmp(*m, name) == 0)
			return true;
	return false;
}

int sasl_start(struct sasl **out, const struct store_config *cfg, struct pk_err *err)
{
	PK_ASSERT(the_sasl == NULL);
	struct sasl *s = pk_alloc(sizeof(*s));
	int rc = 0;

	s->cfg = cfg;
	if (cfg->sasl.keytab != NULL) {
		rc = start_kerberos(s, err);
	} else {
		s->mechanism = "DIGEST-MD5";
		snprintf(s->service, sizeof(s->service), "zookeeper");
		snprintf(s->host, sizeof(s->host), "zk-sasl-md5");
	}
	if (rc != 0) {
		free(s);
		return rc;
	}
	union { /* libsasl2 keeps callbacks of all shapes as int (*)(void) */
		sasl_getopt_t *option;
		sasl_log_t *log;
		sasl_authorize_t *policy;
		int (*any)(void);
	} f[] = { { .option = option }, { .log = log_line }, { .policy = policy } };
	s->callbacks[0] = (sasl_callback_t){ SASL_CB_GETOPT, f[0].any, s };
	s->callbacks[1] = (sasl_callback_t){ SASL_CB_LOG, f[1].any, s };
	s->callbacks[2] = (sasl_callback_t){ SASL_CB_PROXY_POLICY, f[2].any, s };
	s->callbacks[3] = (sasl_callback_t){ SASL_CB_LIST_END, NULL, NULL };
	the_sasl = s;
	int code = sasl_server_init(s->callbacks, NULL);
	if (code == SASL_OK)
		code = sasl_auxprop_add_plugin(STORE_NAME, users_init);
	if (code != SASL_OK)
		rc = pk_err_set(err, PK_EINVAL, "libsasl2: %s", sasl_errstring(code, NULL, NULL));
	else if (!mechanism_there(s->mechanism))
		rc = pk_err_set(err, PK_EINVAL,
				"libsasl2 does not know %s: install the Debian package %s",
				s->mechanism,
				cfg->sasl.keytab != NULL ? "libsasl2-modules-gssapi-mit"
							 : "libsasl2-modules");
	if (rc != 0) {
		sasl_free(s);
		return rc;
	}
	if (cfg->sasl.keytab != NULL && cfg->sasl.user_count > 0)
		LOG_WARN("sasl.users",
			 "note=\"the JAAS file names a key table and users: with Kerberos, as in "
			 "ZooKeeper, the users' passwords are not used\"");
	*out = s;
	return 0;
}

void sasl_free(struct sasl *s)
{
	if (s == NULL)
		return;
	PK_ASSERT(s == the_sasl && s->slots == 0);
	sasl_server_done();
	the_sasl = NULL;
	free(s);
}

/* ---- one exchange ---- */

static struct exchange *exchange_new(struct sasl *s)
{
	/* No layer on top of the connection: TLS is for that. Anonymous and plain have no place. */
	static const sasl_security_properties_t props = { .maxbufsize = SASL_TOKEN_BYTES_MAX,
							  .security_flags = SASL_SEC_NOPLAINTEXT |
									    SASL_SEC_NOANONYMOUS };
	struct exchange *x = pk_alloc(sizeof(*x));

	int rc = sasl_server_new(s->service, s->host, NULL, NULL, NULL, NULL, SASL_SUCCESS_DATA,
				 &x->conn);
	if (rc == SASL_OK)
		rc = sasl_setprop(x->conn, SASL_SEC_PROPS, &props);
	if (rc != SASL_OK) {
		LOG_WARN("sasl.begin", "error=\"%s\"", sasl_errstring(rc, NULL, NULL));
		if (x->conn != NULL)
			sasl_dispose(&x->conn);
		free(x);
		return NULL;
	}
	x->sasl = s;
	s->slots++;
	return x;
}

void sasl_step_free(void *slot)
{
	struct exchange *x = slot;

	PK_ASSERT(x->sasl->slots > 0);
	x->sasl->slots--;
	sasl_dispose(&x->conn);
	free(x);
}

static bool result_add(struct server_auth_result *r, const char *scheme, const char *id)
{
	if (r->count == PK_COUNT(r->ids) || strlen(id) >= sizeof(r->ids[0].id))
		return false;
	snprintf(r->ids[r->count].scheme, sizeof(r->ids[0].scheme), "%s", scheme);
	snprintf(r->ids[r->count].id, sizeof(r->ids[0].id), "%s", id);
	r->count++;
	return true;
}

/* user, user@REALM or service/host@REALM, less what the configuration drops
 * (SaslServerCallbackHandler.handleAuthorizeCallback). */
static bool name_shorten(const struct store_config *cfg, const char *name, char *out, size_t bytes)
{
	size_t user = strcspn(name, "/@");
	const char *host = name + user, *realm = strchr(host, '@');
	size_t host_len = realm != NULL ? (size_t)(realm - host) : strlen(host);

	if (realm == NULL || cfg->krb_drop_realm)
		realm = "";
	if (cfg->krb_drop_host)
		host_len = 0;
	int len = snprintf(out, bytes, "%.*s%.*s%s", (int)user, name, (int)host_len, host, realm);
	return user > 0 && len > 0 && (size_t)len < bytes;
}

static bool super_user(const struct store_config *cfg, const char *id)
{
	for (size_t i = 0; i < cfg->super_users.count; i++)
		if (strcmp(cfg->super_users.items[i], id) == 0)
			return true;
	return false;
}

static bool succeed(struct exchange *x, struct server_auth_result *result)
{
	const struct store_config *cfg = x->sasl->cfg;
	const void *name = NULL;
	char id[sizeof(result->ids[0].id)];

	char whole[sizeof(id)];

	if (sasl_getprop(x->conn, SASL_AUTHUSER, &name) != SASL_OK || name == NULL)
		return false;
	bool add = cfg->sasl.keytab != NULL && strchr(name, '@') == NULL;
	int len = snprintf(whole, sizeof(whole), "%s%s%s", (const char *)name, add ? "@" : "",
			   add ? x->sasl->realm : "");
	if (len < 0 || (size_t)len >= sizeof(whole) || !name_shorten(cfg, whole, id, sizeof(id)) ||
	    !result_add(result, "sasl", id) ||
	    (super_user(cfg, id) && !result_add(result, "super", "")) ||
	    (cfg->sasl_reader != NULL && !result_add(result, "sasl", cfg->sasl_reader)))
		return false;
	LOG_INFO("sasl.login", "user=\"%s\" mechanism=%s", id, x->sasl->mechanism);
	result->ok = true;
	return true;
}

int32_t sasl_step(struct sasl *s, void **slot, struct pk_bytes token, struct pk_buf *out,
		  bool *out_null, struct server_auth_result *result)
{
	struct exchange *x = *slot;
	const char *answer = NULL;
	unsigned answer_len = 0;
	int rc;

	*out_null = true;
	if (token.len > SASL_TOKEN_BYTES_MAX || (x != NULL && x->done))
		return ZK_EAUTHFAILED;
	if (x == NULL && token.len > 0 && s->cfg->sasl.keytab == NULL)
		return ZK_EAUTHFAILED; /* in DIGEST-MD5 the server begins */
	if (x == NULL)
		x = *slot = exchange_new(s);
	if (x == NULL)
		return ZK_EAUTHFAILED;
	const char *in = token.len > 0 ? (const char *)token.data : "";
	if (x->begun) {
		rc = sasl_server_step(x->conn, in, (unsigned)token.len, &answer, &answer_len);
	} else {
		/* NULL, not empty: the mechanism then speaks first. */
		rc = sasl_server_start(x->conn, s->mechanism, token.len > 0 ? in : NULL,
				       (unsigned)token.len, &answer, &answer_len);
		x->begun = true;
	}
	x->done = rc != SASL_CONTINUE;
	if (rc != SASL_CONTINUE && (rc != SASL_OK || !succeed(x, result))) {
		LOG_WARN("sasl.refused", "mechanism=%s error=\"%s\"", s->mechanism,
			 rc == SASL_OK ? "its name cannot be used" : sasl_errdetail(x->conn));
		return ZK_EAUTHFAILED;
	}
	if (answer != NULL) {
		pk_buf_add(out, answer, answer_len);
		*out_null = false;
	}
	return 0;
}
