#include "store/config_table.h"

#include <inttypes.h>
#include <strings.h>

#include "base/mem.h"

#define HEARTBEAT_MS        50 /* DESIGN 2.3; when tickTime is not given */
#define HEARTBEAT_MS_LEAST  20
#define HEARTBEAT_MS_MOST   100
#define TICKS_PER_HEARTBEAT 40 /* a tick is so many heartbeats */
#define ELECTION_HEARTBEATS 10
#define ID_SHOWN_MOST       255 /* session ids hold eight bits of the server's id */

static int refuse(struct pk_err *err, const char *text)
{
	return pk_err_set(err, PK_EINVAL, "%s", text);
}

static int check_times(struct store_config *c, struct pk_err *err)
{
	if (c->session_timeout_min_ms < 0)
		c->session_timeout_min_ms = 2 * c->tick_ms;
	if (c->session_timeout_max_ms < 0)
		c->session_timeout_max_ms = 20 * c->tick_ms;
	if (c->session_timeout_min_ms > c->session_timeout_max_ms)
		return pk_err_set(err, PK_EINVAL,
				  "minSessionTimeout (%" PRId64 " ms) is above maxSessionTimeout "
				  "(%" PRId64 " ms)",
				  c->session_timeout_min_ms, c->session_timeout_max_ms);
	if (c->heartbeat_ms == 0) {
		int64_t ms = c->tick_given ? c->tick_ms / TICKS_PER_HEARTBEAT : HEARTBEAT_MS;

		ms = ms < HEARTBEAT_MS_LEAST ? HEARTBEAT_MS_LEAST : ms;
		c->heartbeat_ms = ms > HEARTBEAT_MS_MOST ? HEARTBEAT_MS_MOST : ms;
	}
	if (c->election_ms == 0)
		c->election_ms = ELECTION_HEARTBEATS * c->heartbeat_ms;
	if (c->election_ms < 2 * c->heartbeat_ms)
		return pk_err_set(err, PK_EINVAL,
				  "paddock.electionTimeoutMs (%" PRId64 ") must be at least twice "
				  "paddock.heartbeatMs (%" PRId64 ")",
				  c->election_ms, c->heartbeat_ms);
	return 0;
}

#define PART_BYTES_LEAST 1048576

/* 0 leaves it to budget.c. */
static int check_part(const char *key, int64_t bytes, struct pk_err *err)
{
	if (bytes > 0 && bytes < PART_BYTES_LEAST)
		return pk_err_set(err, PK_EINVAL,
				  "%s (%" PRId64
				  ") must be at least %d, or 0 for a part of the memory",
				  key, bytes, PART_BYTES_LEAST);
	return 0;
}

static int check_parts(const struct store_config *c, struct pk_err *err)
{
	int rc = check_part("paddock.snapshotLogBytes", c->snapshot_log_bytes, err);

	return rc != 0 ? rc
		       : check_part("paddock.replyQueuesBytes", c->reply_queues_bytes_max, err);
}

static int check_weights(const struct store_config *c, struct pk_err *err)
{
	if (c->group_count > 1)
		return refuse(err,
			      "group.N is refused: hierarchical quorums are not offered; remove "
			      "the group and weight lines, every server then has one vote");
	if (c->weight_count > 0 &&
	    (c->weights_differ || c->weight == 0 ||
	     (c->weight != 1 && c->weight_count < server_set_voters(&c->servers))))
		return refuse(err,
			      "weight.N is refused: votes cannot weigh differently; remove the "
			      "group and weight lines, and make a server that should not "
			      "vote an observer");
	return 0;
}

static int check_servers(struct store_config *c, struct pk_buf *notes, struct pk_err *err)
{
	size_t voters = server_set_voters(&c->servers);
	int rc = 0;

	for (size_t i = 0; i < c->servers.count; i++) {
		const struct server_spec *s = &c->servers.all[i];

		if (s->addr_count > 1 && !c->multi_address)
			return pk_err_set(err, PK_EINVAL,
					  "server.%" PRId64 " has several addresses: set "
					  "multiAddress.enabled=true to allow them",
					  s->id);
		for (size_t j = 0; rc == 0 && j < i; j++)
			rc = server_spec_conflict(&c->servers.all[j], s, err);
	}
	if (rc != 0)
		return rc;
	if (voters == 0 && !c->standalone_enabled)
		return refuse(err, "standaloneEnabled=false wants at least one server.N line");
	if (voters == 0 && c->servers.count > 0)
		return refuse(err, "all server lines are observers: at least one must take part in "
				   "votes");
	if (voters == 1 && c->standalone_enabled && c->servers.count > 1)
		return refuse(err,
			      "one voting server and observers: set standaloneEnabled=false to "
			      "run them as an ensemble");
	c->distributed = voters > 1 || (voters == 1 && !c->standalone_enabled);
	if (!c->distributed) {
		if (voters == 1)
			config_note(notes, "info: one server line: this server runs on its own "
					   "(standaloneEnabled=false makes it an ensemble of one)");
		return 0;
	}
	if (voters == 2)
		config_note(notes, "warn: two voting servers: the loss of either stops writes; "
				   "three survive one");
	else if (voters % 2 == 0)
		config_note(notes, "info: %zu voting servers survive no more losses than %zu would",
			    voters, voters - 1);
	return 0;
}

static int check_me(struct store_config *c, struct pk_buf *notes, struct pk_err *err)
{
	const struct server_spec *me;

	if (c->my_id > ID_SHOWN_MOST)
		config_note(notes,
			    "warn: myid %" PRId64 " is above %d: its session ids look like "
			    "those of server %" PRId64,
			    c->my_id, ID_SHOWN_MOST, c->my_id & 0xff);
	if (!c->distributed)
		return 0;
	if (c->my_id == 0)
		return pk_err_set(err, PK_EINVAL,
				  "%s/myid is missing: write this server's number into it, the N "
				  "of its server.N line",
				  c->data_dir);
	me = server_set_find(&c->servers, c->my_id);
	if (me == NULL)
		return pk_err_set(err, PK_EINVAL,
				  "myid is %" PRId64 ", but there is no server.%" PRId64 " line",
				  c->my_id, c->my_id);
	c->me = *me;
	if (c->me.observer != (c->peer_type == 1)) {
		if (c->peer_type == 1)
			config_note(notes,
				    "warn: peerType=observer, but the line of server.%" PRId64
				    " makes it a participant, which counts",
				    c->my_id);
		c->peer_type = c->me.observer;
	}
	return 0;
}

static bool is_any(const char *host)
{
	return *host == '\0' || strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0 ||
	       strcmp(host, "0:0:0:0:0:0:0:0") == 0;
}

/* Where clients connect: clientPort, or what this server's line says. */
static int check_ports(struct store_config *c, struct pk_err *err)
{
	const char *host = c->client_address != NULL ? c->client_address : "";
	const char *secure = c->secure_client_address != NULL ? c->secure_client_address : "";
	int port = c->client_port;

	if (port == 0 && c->client_address != NULL)
		return refuse(err, "clientPortAddress is set but clientPort is not");
	if (c->secure_client_port == 0 && c->secure_client_address != NULL)
		return refuse(err, "secureClientPortAddress is set but secureClientPort is not");
	if (c->distributed && c->me.has_client) {
		if (port != 0 && (port != c->me.client_port ||
				  (!is_any(host) && strcasecmp(host, c->me.client_host) != 0)))
			return pk_err_set(err, PK_EINVAL,
					  "clientPort says %s:%d, the line of server.%" PRId64
					  " %s:%u: remove one of them",
					  *host != '\0' ? host : "*", port, c->my_id,
					  c->me.client_host, c->me.client_port);
		host = is_any(c->me.client_host) ? "" : c->me.client_host;
		port = c->me.client_port;
	}
	if (port == 0 && c->secure_client_port == 0)
		return refuse(err, "no port for clients: set clientPort=2181");
	if (port != 0 && port == c->secure_client_port &&
	    (is_any(host) || is_any(secure) || strcasecmp(host, secure) == 0))
		return pk_err_set(err, PK_EINVAL,
				  "clientPort and secureClientPort are both %d: for one port that "
				  "serves both use clientPort with client.portUnification=true",
				  port);
	if (port == 0 && c->client_port_unified)
		return refuse(err, "client.portUnification=true wants a clientPort");
	c->client_host = pk_strdup(host);
	c->secure_client_host = pk_strdup(secure);
	c->client_port_effective = port;
	return 0;
}

/* The form of a key store, by its type or its file's ending; JKS is refused with the way out. */
static int check_store(const char *key, const char *file, int type, struct pk_err *err)
{
	static const struct {
		const char *ending;
		int type;
	} endings[] = {
		{ ".pem", STORE_KEYS_PEM },    { ".crt", STORE_KEYS_PEM },
		{ ".p12", STORE_KEYS_PKCS12 }, { ".pfx", STORE_KEYS_PKCS12 },
		{ ".jks", STORE_KEYS_JKS },    { ".bcfks", STORE_KEYS_BCFKS },
	};
	size_t len = strlen(file);

	for (size_t i = 0; type == STORE_KEYS_AUTO && i < PK_COUNT(endings); i++) {
		size_t n = strlen(endings[i].ending);

		if (len >= n && strcasecmp(file + len - n, endings[i].ending) == 0)
			type = endings[i].type;
	}
	if (type == STORE_KEYS_JKS || type == STORE_KEYS_BCFKS)
		return pk_err_set(err, PK_EINVAL,
				  "%s=%.120s is refused: Java key stores cannot be read; convert "
				  "it once: keytool -importkeystore -srckeystore %.120s "
				  "-destkeystore store.p12 -deststoretype PKCS12",
				  key, file, file);
	return 0;
}

static int check_client_tls(struct store_config *c, struct pk_err *err)
{
	struct store_tls_files *t = &c->client_tls;
	int rc;

	if (c->secure_client_port == 0 && !c->client_port_unified)
		return 0;
	c->auth_x509 = true;
	if (c->ssl_cert == NULL)
		return refuse(err, "a TLS client port wants a certificate: set "
				   "ssl.keyStore.location to a PEM or PKCS12 file");
	rc = check_store("ssl.keyStore.location", c->ssl_cert, c->ssl_cert_type, err);
	if (rc == 0 && c->ssl_trust != NULL)
		rc = check_store("ssl.trustStore.location", c->ssl_trust, c->ssl_trust_type, err);
	if (rc != 0)
		return rc;
	if (c->ssl_trust == NULL && c->ssl_client_auth != 2)
		return refuse(err, "clients must show certificates, but nothing says who may sign "
				   "them: set ssl.trustStore.location, or ssl.clientAuth=none");
	if (c->ssl_crl && c->crl_file == NULL)
		return refuse(err, "ssl.crl=true wants paddock.crlFile, a PEM file of revocation "
				   "lists");
	*t = (struct store_tls_files){
		.cert = c->ssl_cert,
		.cert_password = c->ssl_cert_password,
		.cert_type = c->ssl_cert_type,
		.trust = c->ssl_trust,
		.trust_password = c->ssl_trust_password,
		.trust_type = c->ssl_trust_type,
		.protocols = c->ssl_protocols != NULL ? c->ssl_protocols : c->ssl_protocol,
		.ciphers = c->ssl_ciphers,
		.crl_file = c->ssl_crl ? c->crl_file : NULL,
	};
	return 0;
}

static int check_peer_certs(struct store_config *c, struct pk_err *err)
{
	struct store_tls_files *t = &c->peer_tls;
	bool own = c->peer_cert != NULL; /* paddock.peerCert, else ssl.quorum.* */
	int rc;

	if (own ? c->peer_ca == NULL : c->peer_ssl_cert == NULL || c->peer_ssl_trust == NULL)
		return refuse(err, own ? "paddock.peerCert wants paddock.peerCA, the certificates "
					 "that may sign the other servers'"
				       : "sslQuorum=true wants ssl.quorum.keyStore.location and "
					 "ssl.quorum.trustStore.location, PEM or PKCS12 files");
	if (c->peer_ssl_crl && c->crl_file == NULL)
		return refuse(err, "ssl.quorum.crl=true wants paddock.crlFile, a PEM file of "
				   "revocation lists");
	*t = (struct store_tls_files){
		.cert = own ? c->peer_cert : c->peer_ssl_cert,
		.cert_key = own ? c->peer_cert_key : NULL,
		.cert_password = c->peer_ssl_cert_password,
		.cert_type = own ? STORE_KEYS_AUTO : c->peer_ssl_cert_type,
		.trust = own ? c->peer_ca : c->peer_ssl_trust,
		.trust_password = c->peer_ssl_trust_password,
		.trust_type = own ? STORE_KEYS_AUTO : c->peer_ssl_trust_type,
		.protocols = c->peer_ssl_protocols != NULL ? c->peer_ssl_protocols
							   : c->peer_ssl_protocol,
		.ciphers = c->peer_ssl_ciphers,
		.crl_file = c->peer_ssl_crl ? c->crl_file : NULL,
	};
	c->peer_security = STORE_PEERS_CERT;
	rc = check_store("the peer certificate", t->cert, t->cert_type, err);
	return rc != 0 ? rc : check_store("the peers' trust store", t->trust, t->trust_type, err);
}

/* Servers prove who they are, or never leave this machine. */
static int check_peers(struct store_config *c, struct pk_err *err)
{
	bool loopback = true;

	c->peer_security = STORE_PEERS_LOOPBACK;
	if (c->peer_key_file != NULL && (c->peer_cert != NULL || c->peer_ssl))
		return refuse(err, "paddock.peerKeyFile and certificates between servers exclude "
				   "each other: remove one");
	if ((c->peer_ca != NULL || c->peer_cert_key != NULL) && c->peer_cert == NULL)
		return refuse(err, "paddock.peerCA and paddock.peerKey want paddock.peerCert");
	if (c->peer_cert != NULL && c->peer_ssl)
		return refuse(err, "paddock.peerCert and sslQuorum exclude each other: remove one");
	if (c->peer_key_file != NULL) {
		c->peer_security = STORE_PEERS_KEY;
		return 0;
	}
	if (c->peer_cert != NULL || c->peer_ssl)
		return check_peer_certs(c, err);
	if (!c->distributed)
		return 0;
	for (size_t i = 0; i < c->servers.count; i++)
		loopback = loopback && server_spec_is_loopback(&c->servers.all[i]);
	if (!loopback || c->peer_listen_all)
		return refuse(err, "servers would talk over the network without proof of who they "
				   "are: on one server run `openssl rand -hex 32 > cluster.key`, "
				   "copy the file to all and set paddock.peerKeyFile=cluster.key");
	return 0;
}

static int check_auth(struct store_config *c, struct pk_buf *notes, struct pk_err *err)
{
	static const char *const schemes[] = { "digest", "sasl", "x509", "ip" };
	size_t known = 0;
	size_t named = 0;

	if ((c->auth_sasl || c->sasl_required) && c->jaas_file == NULL && c->sasl.user_count == 0 &&
	    c->sasl.keytab == NULL)
		return refuse(err,
			      "SASL is asked for, but its users are not: name the JAAS file in "
			      "java.security.auth.login.config");
	if (c->auth_enforced) {
		for (size_t i = 0; i < PK_COUNT(schemes); i++)
			known += config_list_has(c->auth_schemes, schemes[i]);
		for (const char *at = c->auth_schemes; at != NULL && *at != '\0';) {
			at += strspn(at, ", \t");
			named += *at != '\0';
			at += strcspn(at, ", \t");
		}
		if (named == 0 || known != named)
			return refuse(err,
				      "enforce.auth.enabled=true wants enforce.auth.schemes: one "
				      "or more of digest, sasl, x509, ip, each once");
	}
	if (c->super_digest != NULL && strncmp(c->super_digest, "super:", 6) != 0)
		config_note(notes, "warn: DigestAuthenticationProvider.superDigest does not begin "
				   "with super: and fits nobody");
	if (c->skip_acl)
		config_note(notes, "warn: skipACL: every client may read and change everything");
	return 0;
}

static void check_words(const struct store_config *c, struct pk_buf *notes)
{
	static const char *const words[] = { "ruok", "srvr", "stat", "mntr", "conf", "cons", "crst",
					     "dump", "envi", "isro", "srst", "wchs", "wchc", "wchp",
					     "dirs", "hash", "gtmk", "stmk", "*" };

	for (const char *at = c->words_allowed; at != NULL && *at != '\0';) {
		size_t len;
		bool known = false;

		at += strspn(at, ", \t");
		len = strcspn(at, ", \t");
		for (size_t i = 0; i < PK_COUNT(words); i++)
			known |= strlen(words[i]) == len && memcmp(words[i], at, len) == 0;
		if (len > 0 && !known)
			config_note(notes,
				    "warn: 4lw.commands.whitelist: %.*s is no four-letter word",
				    (int)(len < 40 ? len : 40), at);
		at += len;
	}
}

int store_config_check(struct store_config *c, struct pk_buf *notes, struct pk_err *err)
{
	int rc;

	if (c->data_dir == NULL)
		return refuse(err, "dataDir is not set: it is where the data goes");
	if (c->log_dir == NULL)
		c->log_dir = pk_strdup(c->data_dir);
	rc = check_times(c, err);
	if (rc == 0)
		rc = check_parts(c, err);
	if (rc == 0)
		rc = check_weights(c, err);
	if (rc == 0)
		rc = check_servers(c, notes, err);
	if (rc == 0)
		rc = check_me(c, notes, err);
	if (rc == 0)
		rc = check_ports(c, err);
	if (rc == 0)
		rc = check_client_tls(c, err);
	if (rc == 0)
		rc = check_peers(c, err);
	if (rc == 0)
		rc = check_auth(c, notes, err);
	if (rc == 0)
		check_words(c, notes);
	return rc;
}
