/*
 * store/config.h - what one server was told: a zoo.cfg of ZooKeeper 3.8, the environment and flags.
 *
 * The fields come from store/options.tbl; the manual is docs/configuration.md, made from it. Order
 * of precedence, last wins: defaults, the file (and its dynamicConfigFile), environment variables
 * (PADDOCK_ and the key in capitals with _ for . and -: PADDOCK_TICKTIME, PADDOCK_ADMIN_SERVERPORT,
 * PADDOCK_LOGLEVEL for paddock.logLevel), --set key=value.
 *
 * store_config_load does it all. The pieces below it are pure, for tests and other sources:
 * init, text and set as often as needed, myid, check; release at the end.
 */
#ifndef PK_STORE_CONFIG_H
#define PK_STORE_CONFIG_H

#include "base/opt.h"
#include "store/jaas.h"
#include "store/server_spec.h"

#define STORE_CONFIG_BYTES_MAX (1 << 20)

enum store_metrics_provider {
	STORE_METRICS_DEFAULT,
	STORE_METRICS_PROMETHEUS,
	STORE_METRICS_NULL,
};
enum store_keystore_type { /* as enum net_store_type, then what we refuse */
			   STORE_KEYS_AUTO,
			   STORE_KEYS_PEM,
			   STORE_KEYS_PKCS12,
			   STORE_KEYS_JKS,
			   STORE_KEYS_BCFKS,
};

enum store_peer_security {
	STORE_PEERS_LOOPBACK, /* neither key nor certificate: loopback addresses only */
	STORE_PEERS_KEY,      /* paddock.peerKeyFile */
	STORE_PEERS_CERT,     /* peer_tls below */
};

struct store_tls_files { /* borrows from the config */
	const char *cert;
	const char *cert_key; /* NULL: in cert */
	const char *cert_password;
	int cert_type;
	const char *trust;
	const char *trust_password;
	int trust_type;
	const char *protocols; /* NULL: TLSv1.2 and up */
	const char *ciphers;
	const char *crl_file; /* NULL: not checked */
};

struct store_config {
#define KEY(field, name, type, dflt, least, most, unit, group, help) PK_OPT_FIELD(type, field)
#include "store/options.tbl"

	struct server_set servers; /* from server.N lines, empty for a server alone */
	int64_t my_id;             /* dataDir/myid; 0: there is none */
	bool has_initialize;       /* dataDir/initialize is there */
	bool auth_sasl;            /* authProvider.N names SASL, or a JAAS section was found */
	bool auth_x509;            /* likewise, or a TLS client port is open */
	struct jaas_server sasl;   /* users and key table */
	char *path;                /* of the file; NULL when parsed from text */
	char *text; /* the file as it was, for the admin server's initial_configuration */

	/* Derived by store_config_check. */
	bool distributed;          /* an ensemble, not a server alone */
	struct server_spec me;     /* this server's line when distributed */
	char *client_host;         /* "" is every address; owned */
	int client_port_effective; /* 0: no plain client port */
	char *secure_client_host;  /* the same for TLS */
	enum store_peer_security peer_security;
	struct store_tls_files client_tls; /* cert NULL: no TLS for clients */
	struct store_tls_files peer_tls;

	/* What the checks need to know of how it was said; internal. */
	bool tick_given;
	size_t unknown_count;
	size_t group_count, weight_count;
	int64_t weight; /* the first one; below 0: none yet */
	bool weights_differ;
};

/* The rows, for help, docs, completion and the admin server's `configuration`. */
extern const struct pk_opt store_options[];
extern const size_t store_options_count;

enum store_key_kind { STORE_KEY_UNKNOWN, STORE_KEY_HONOURED, STORE_KEY_NOOP, STORE_KEY_DENIED };
/* What becomes of a key (with or without "zookeeper.", aliases and numbered keys included); *why
 * (may be NULL) becomes its sentence, borrowed and static. */
enum store_key_kind store_config_key(const char *key, const char **why);

void store_config_init(struct store_config *c); /* defaults */
void store_config_release(struct store_config *c);

/*
 * Take in a file's text. `source` names it in messages ("zoo.cfg line 3: ..."). Lines for the
 * person are appended to *notes, one per line, each begun with "warn: " or "info: "; NULL when
 * nobody cares.
 * PK_EINVAL, PK_ELIMIT with key, value, what is allowed and the line. After a failure c is only
 * fit for release.
 */
PK_CHECKED int store_config_text(struct store_config *c, const char *source, struct pk_bytes text,
				 struct pk_buf *notes, struct pk_err *err);
/* The text of dynamicConfigFile: server lines only. `source` is its path, whose ending in hex
 * digits is the version, as in ZooKeeper. */
PK_CHECKED int store_config_dynamic(struct store_config *c, const char *source,
				    struct pk_bytes text, struct pk_buf *notes, struct pk_err *err);
/* One key, from the environment or --set: `source` names where from. */
PK_CHECKED int store_config_set(struct store_config *c, const char *source, const char *key,
				const char *value, struct pk_buf *notes, struct pk_err *err);
/* "PADDOCK_TICKTIME=2000" and the like; 0 when it is ours and taken or not ours. */
PK_CHECKED int store_config_env(struct store_config *c, const char *assignment,
				struct pk_buf *notes, struct pk_err *err);
PK_CHECKED int store_config_myid(struct store_config *c, struct pk_bytes text, struct pk_err *err);
/* The JAAS file's text: fills c->sasl from the section named by sasl.serverconfig. */
PK_CHECKED int store_config_jaas(struct store_config *c, struct pk_bytes text, struct pk_err *err);
/* What only shows when everything is known, and the derived fields. */
PK_CHECKED int store_config_check(struct store_config *c, struct pk_buf *notes, struct pk_err *err);

/*
 * Read path and everything it points to; then the environment (NULL: none; usually `environ`), then
 * `sets` ("key=value"). Makes no directory and writes nothing. On failure *out is untouched; codes
 * PK_EINVAL, PK_ELIMIT, PK_ENOENT, PK_EIO. In store/config_io.c.
 */
PK_CHECKED int store_config_load(struct store_config *out, const char *path,
				 char *const *environment, const struct pk_strs *sets,
				 struct pk_buf *notes, struct pk_err *err);

/* True when the four-letter word may be answered. */
bool store_config_word_allowed(const struct store_config *c, const char *word);
/* True when `scheme` is one of enforce.auth.schemes. */
bool store_config_scheme_enforced(const struct store_config *c, const char *scheme);
/* docs/configuration.md. */
void store_config_markdown(struct pk_buf *out);
/* One key per line: completion words for --set. */
void store_config_words(struct pk_buf *out);

#endif
