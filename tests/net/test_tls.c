#include "tests/net/net_test.h"

#include <sys/stat.h>
#include <unistd.h>

#include "net/tls.h"

static char dir[64];

static int sh(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static int sh(const char *fmt, ...)
{
	char cmd[2048], all[2200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	snprintf(all, sizeof(all), "cd %s && { %s; } >>log 2>&1", dir, cmd);
	return system(all);
}

static const char *file(const char *name)
{
	static char paths[8][128];
	static int next;
	char *path = paths[next++ % 8];

	snprintf(path, 128, "%s/%s", dir, name);
	return path;
}

static void make_ca(const char *ca)
{
	assert_int_equal(sh("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes "
			    "-days 30 -subj '/CN=%s' -keyout %s.key -out %s.pem",
			    ca, ca, ca),
			 0);
}

static void make_cert(const char *ca, const char *name, const char *subject, const char *alt)
{
	assert_int_equal(sh("openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -utf8 "
			    "-multivalue-rdn -subj '%s' -keyout %s.key -out %s.csr && "
			    "printf 'subjectAltName=%s\\n' >%s.ext && "
			    "openssl x509 -req -in %s.csr -CA %s.pem -CAkey %s.key -days 30 "
			    "-extfile %s.ext -out %s.pem && cat %s.pem %s.key >%s.both.pem",
			    subject, name, name, alt, name, name, ca, ca, name, name, name, name,
			    name),
			 0);
}

static int setup_certs(void **state)
{
	const char *tmp = getenv("TMPDIR");

	(void)state;
	snprintf(dir, sizeof(dir), "%.40s/pk-tls-XXXXXX", tmp != NULL ? tmp : "/tmp");
	assert_non_null(mkdtemp(dir));
	make_ca("ca");
	make_ca("other");
	make_cert("ca", "server", "/O=Paddock/CN=localhost", "DNS:localhost,IP:127.0.0.1");
	make_cert("ca", "elsewhere", "/CN=elsewhere.example", "DNS:elsewhere.example");
	make_cert("ca", "client", "/C=DE/O=A, B \"C\"/CN=client", "DNS:client");
	make_cert("other", "stranger", "/CN=stranger", "DNS:stranger");
	assert_int_equal(
		sh("openssl pkcs12 -export -in server.pem -inkey server.key -certfile ca.pem "
		   "-passout pass:secret -out server.p12"),
		0);
	assert_int_equal(sh("openssl ec -in server.key -aes256 -passout pass:secret -out "
			    "server.locked.key"),
			 0);
	return 0;
}

static int remove_certs(void **state)
{
	char cmd[128];

	(void)state;
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	return system(cmd);
}

/* One server, one client, and what each made of it. */
struct story {
	struct net_loop *l;
	struct net_tls *server, *client;
	struct net_listener *n;
	struct acceptor a;
	struct peer c;
	struct net_connect_opts to;
};

static void story_begin(struct story *y, struct net_tls *server, struct net_tls *client, bool sniff)
{
	struct net_listen_opts opts = { .host = "127.0.0.1", .tls = server, .sniff_tls = sniff };
	struct pk_err err = PK_ERR_INIT;

	y->l = test_loop();
	y->server = server;
	y->client = client;
	y->n = net_listen(y->l, &opts, acceptor_accept, &y->a, &err);
	assert_non_null(y->n);
	y->to = (struct net_connect_opts){ .host = "127.0.0.1",
					   .port = net_listener_port(y->n),
					   .tls = client,
					   .tls_name = "localhost" };
	y->c.s = net_connect(y->l, &y->to, &peer_ops, &y->c);
}

static void story_end(struct story *y)
{
	net_listener_close(y->n);
	net_loop_free(y->l);
	net_tls_free(y->server);
	net_tls_free(y->client);
	peer_release(&y->c);
	acceptor_release(&y->a);
}

static struct net_tls *tls_or_fail(const struct net_tls_opts *opts)
{
	struct pk_err err = PK_ERR_INIT;
	struct net_tls *t = net_tls_new(opts, &err);

	if (t == NULL)
		fail_msg("%s", err.text);
	return t;
}

static struct net_tls *plain_server(void)
{
	return tls_or_fail(&(struct net_tls_opts){ .server = true,
						   .cert_file = file("server.both.pem"),
						   .client_auth = NET_CLIENT_AUTH_NONE });
}

static struct net_tls *mutual_server(enum net_client_auth auth)
{
	return tls_or_fail(&(struct net_tls_opts){ .server = true,
						   .cert_file = file("server.pem"),
						   .key_file = file("server.key"),
						   .trust_file = file("ca.pem"),
						   .client_auth = auth });
}

static struct net_tls *trusting_client(const char *cert)
{
	return tls_or_fail(&(struct net_tls_opts){ .trust_file = file("ca.pem"),
						   .cert_file = cert != NULL ? file(cert) : NULL });
}

static void refused(const struct net_tls_opts *opts, int code, const char *want)
{
	struct pk_err err = PK_ERR_INIT;
	struct net_tls *t = net_tls_new(opts, &err);

	assert_null(t);
	if (strstr(err.text, want) == NULL || err.code != code)
		fail_msg("want %d \"%s\", have %d \"%s\"", code, want, err.code, err.text);
}

static void test_bytes_pass_through_tls(void **state)
{
	struct story y = { .a = { .peers = { { .echo = true } } } };
	const size_t total = 3u * 1024 * 1024 + 17;
	uint8_t *bytes = pk_alloc(total);
	bool same;

	(void)state;
	for (size_t i = 0; i < total; i++)
		bytes[i] = (uint8_t)(i * 7 + i / 1000);
	story_begin(&y, plain_server(), trusting_client(NULL), false);
	net_stream_write(y.c.s, pk_bytes(bytes, total)); /* before the handshake: kept */
	RUN_UNTIL(y.l, y.c.in.len == total || y.c.closes > 0);
	assert_string_equal(y.c.reason, "");
	same = memcmp(y.c.in.data, bytes, total) == 0;
	assert_true(same);
	assert_int_equal(y.c.opens, 1);
	assert_int_equal(y.a.peers[0].opens, 1);
	assert_true(net_stream_is_tls(y.c.s));
	assert_string_equal(net_stream_tls_version(y.c.s), "TLSv1.3");
	char *subject = net_stream_peer_subject(y.c.s);
	assert_string_equal(subject, "CN=localhost,O=Paddock");
	free(subject);
	assert_null(net_stream_peer_subject(y.a.peers[0].s)); /* the client showed none */
	net_stream_close_flushed(y.c.s, 1000, "done");
	RUN_UNTIL(y.l, y.c.closes == 1 && y.a.peers[0].closes == 1);
	assert_string_equal(y.a.peers[0].reason, "closed by peer");
	free(bytes);
	story_end(&y);
}

static void test_pause_holds_decrypted_bytes_back(void **state)
{
	struct story y = { .a = { .peers = { { .pause_on_bytes = true } } } };
	const size_t total = 1024 * 1024;
	uint8_t *bytes = pk_alloc(total);
	size_t had;

	(void)state;
	story_begin(&y, plain_server(), trusting_client(NULL), false);
	net_stream_write(y.c.s, pk_bytes(bytes, total));
	RUN_UNTIL(y.l, y.a.peers[0].reads == 1);
	had = y.a.peers[0].in.len;
	for (int i = 0; i < 20; i++)
		net_loop_turn(y.l, false);
	assert_int_equal(y.a.peers[0].reads, 1);
	assert_int_equal(y.a.peers[0].in.len, had);
	while (y.a.peers[0].in.len < total) {
		int reads = y.a.peers[0].reads;
		net_stream_resume(y.a.peers[0].s);
		RUN_UNTIL(y.l, y.a.peers[0].reads > reads);
	}
	assert_int_equal(y.a.peers[0].in.len, total);
	free(bytes);
	story_end(&y);
}

static void test_an_unknown_authority_is_refused(void **state)
{
	struct story y = { 0 };
	struct net_tls_opts opts = { .trust_file = file("other.pem") };

	(void)state;
	story_begin(&y, plain_server(), tls_or_fail(&opts), false);
	RUN_UNTIL(y.l, y.c.closes == 1 && y.a.peers[0].closes == 1);
	assert_int_equal(y.c.opens, 0);
	assert_non_null(strstr(y.c.reason, "peer certificate: unable to get local issuer"));
	assert_int_equal(y.a.peers[0].opens, 0);
	assert_non_null(strstr(y.a.peers[0].reason, "unknown ca")); /* it was told by an alert */
	story_end(&y);
}

static void test_a_certificate_of_another_name_is_refused(void **state)
{
	struct story y = { 0 }, z = { 0 };
	struct net_tls_opts server = { .server = true,
				       .cert_file = file("elsewhere.both.pem"),
				       .client_auth = NET_CLIENT_AUTH_NONE };
	struct net_tls_opts lax = { .trust_file = file("ca.pem"), .no_hostname_check = true };

	(void)state;
	story_begin(&y, tls_or_fail(&server), trusting_client(NULL), false);
	RUN_UNTIL(y.l, y.c.closes == 1);
	assert_non_null(strstr(y.c.reason, "hostname mismatch"));
	story_end(&y);
	story_begin(&z, tls_or_fail(&server), tls_or_fail(&lax), false);
	RUN_UNTIL(z.l, z.c.opens == 1 || z.c.closes == 1);
	assert_int_equal(z.c.opens, 1);
	story_end(&z);
}

static void test_an_address_is_checked_against_the_certificates_addresses(void **state)
{
	struct story y = { 0 };
	struct net_connect_opts to;

	(void)state;
	story_begin(&y, plain_server(), trusting_client(NULL), false);
	to = y.to;
	to.tls_name = NULL; /* so "127.0.0.1" */
	struct peer c = { 0 };
	c.s = net_connect(y.l, &to, &peer_ops, &c);
	RUN_UNTIL(y.l, c.opens == 1 || c.closes == 1);
	assert_int_equal(c.opens, 1);
	story_end(&y);
}

static void test_a_needed_client_certificate_is_shown_and_named(void **state)
{
	struct story y = { 0 };
	struct pk_buf der = PK_BUF_INIT;

	(void)state;
	story_begin(&y, mutual_server(NET_CLIENT_AUTH_NEED), trusting_client("client.both.pem"),
		    false);
	RUN_UNTIL(y.l, y.a.peers[0].opens == 1 || y.a.peers[0].closes == 1);
	char *subject = net_stream_peer_subject(y.a.peers[0].s);
	assert_string_equal(subject, "CN=client,O=A\\, B \\\"C\\\",C=DE");
	free(subject);
	assert_true(net_stream_peer_cert(y.a.peers[0].s, &der));
	assert_int_equal(der.data[0], 0x30);
	pk_buf_release(&der);
	story_end(&y);
}

static void test_no_client_certificate_where_one_is_needed(void **state)
{
	struct story y = { 0 };

	(void)state;
	story_begin(&y, mutual_server(NET_CLIENT_AUTH_NEED), trusting_client(NULL), false);
	RUN_UNTIL(y.l, y.c.closes == 1 && y.a.peers[0].closes == 1);
	assert_int_equal(y.a.peers[0].opens, 0);
	assert_non_null(strstr(y.a.peers[0].reason, "peer did not return a certificate"));
	story_end(&y);
}

static void test_a_strangers_client_certificate_is_refused(void **state)
{
	struct story y = { 0 };

	(void)state;
	story_begin(&y, mutual_server(NET_CLIENT_AUTH_WANT), trusting_client("stranger.both.pem"),
		    false);
	RUN_UNTIL(y.l, y.c.closes == 1 && y.a.peers[0].closes == 1);
	assert_int_equal(y.a.peers[0].opens, 0);
	assert_non_null(strstr(y.a.peers[0].reason, "peer certificate"));
	story_end(&y);
}

static void test_a_wanted_client_certificate_may_be_missing(void **state)
{
	struct story y = { 0 };

	(void)state;
	story_begin(&y, mutual_server(NET_CLIENT_AUTH_WANT), trusting_client(NULL), false);
	RUN_UNTIL(y.l, y.a.peers[0].opens == 1 || y.a.peers[0].closes == 1);
	assert_int_equal(y.a.peers[0].opens, 1);
	assert_null(net_stream_peer_subject(y.a.peers[0].s));
	story_end(&y);
}

static void test_a_revoked_certificate_is_refused(void **state)
{
	struct story y = { 0 };
	struct net_tls_opts opts = { .trust_file = file("ca.pem"), .crl_file = file("crl.pem") };

	(void)state;
	assert_int_equal(
		sh("printf '[ca]\\ndefault_ca=d\\n[d]\\ndatabase=%s/index\\ndefault_md=sha256\\n"
		   "default_crl_days=30\\n' >ca.cnf && : >index && "
		   "openssl ca -config ca.cnf -cert ca.pem -keyfile ca.key -revoke server.pem && "
		   "openssl ca -config ca.cnf -cert ca.pem -keyfile ca.key -gencrl -out crl.pem",
		   dir),
		0);
	story_begin(&y, plain_server(), tls_or_fail(&opts), false);
	RUN_UNTIL(y.l, y.c.closes == 1);
	assert_non_null(strstr(y.c.reason, "certificate revoked"));
	story_end(&y);
}

static void test_pkcs12_serves_and_protocols_and_ciphers_are_kept(void **state)
{
	struct story y = { 0 };
	struct net_tls_opts opts = { .server = true,
				     .cert_file = file("server.p12"),
				     .key_password = "secret",
				     .client_auth = NET_CLIENT_AUTH_NONE,
				     .protocols = "TLSv1.2",
				     .ciphers = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,"
						"ECDHE-ECDSA-AES256-GCM-SHA384" };

	(void)state;
	story_begin(&y, tls_or_fail(&opts), trusting_client(NULL), false);
	RUN_UNTIL(y.l, y.c.opens == 1 || y.c.closes == 1);
	assert_string_equal(y.c.reason, "");
	assert_string_equal(net_stream_tls_version(y.c.s), "TLSv1.2");
	story_end(&y);
}

static void test_a_java_truststore_of_pkcs12_is_read(void **state)
{
	struct story y = { 0 };

	(void)state;
	if (sh("command -v keytool && keytool -importcert -noprompt -alias ca -file ca.pem "
	       "-keystore "
	       "trust.jks -storetype PKCS12 -storepass changeit") != 0)
		skip();
	/* named .jks, as keytool's users do */
	struct net_tls_opts opts = { .trust_file = file("trust.jks"),
				     .trust_type = NET_STORE_JKS,
				     .trust_password = "changeit" };
	story_begin(&y, plain_server(), tls_or_fail(&opts), false);
	RUN_UNTIL(y.l, y.c.opens == 1 || y.c.closes == 1);
	assert_int_equal(y.c.opens, 1);
	story_end(&y);
}

static void test_bad_stores_are_refused_in_words(void **state)
{
	struct net_tls_opts o = { .server = true, .client_auth = NET_CLIENT_AUTH_NONE };

	(void)state;
	refused(&o, PK_EINVAL, "a server needs a certificate");
	o.cert_file = file("missing.pem");
	refused(&o, PK_ENOENT, "missing.pem: No such file");
	o.cert_file = file("server.pem");
	refused(&o, PK_EINVAL, "server.pem: no private key in it");
	o.key_file = file("client.key");
	refused(&o, PK_EAUTH, "the private key does not belong to the certificate");
	o.key_file = file("server.locked.key");
	refused(&o, PK_EAUTH, "server.locked.key: the key is encrypted and no password was given");
	o.key_password = "wrong";
	refused(&o, PK_EAUTH, "server.locked.key: the password does not open the private key");
	o.key_password = "secret";
	net_tls_free(tls_or_fail(&o));
	o.key_file = NULL;
	o.cert_file = file("server.p12");
	o.key_password = "wrong";
	refused(&o, PK_EAUTH, "server.p12: wrong password");
	o.cert_type = NET_STORE_PEM;
	refused(&o, PK_EINVAL, "want PEM, but it is binary");
	o.cert_type = NET_STORE_AUTO;
	o.cert_file = file("real.jks");
	assert_int_equal(sh("printf '\\376\\355\\376\\355\\0\\0\\0\\2' >real.jks"), 0);
	refused(&o, PK_EINVAL, "keytool -importkeystore");
	o.cert_file = file("junk");
	assert_int_equal(sh("echo junk >junk; : >empty"), 0);
	refused(&o, PK_EINVAL, "junk: neither PEM nor PKCS12");
	o.cert_file = file("empty");
	refused(&o, PK_EINVAL, "empty file");
	o.cert_file = file("server.both.pem");
	o.key_password = NULL;
	o.protocols = "TLSv1.2,SSLv3";
	refused(&o, PK_EINVAL, "TLS protocol SSLv3");
	o.protocols = NULL;
	o.ciphers = "TLS_NO_SUCH_WITH_NULL";
	refused(&o, PK_EINVAL, "TLS_NO_SUCH_WITH_NULL");
	o.ciphers = "TLS_AES_128_GCM_SHA256";
	o.protocols = "TLSv1.2";
	refused(&o, PK_EINVAL, "none is of the allowed protocols");
	o.ciphers = o.protocols = NULL;
	o.client_auth = NET_CLIENT_AUTH_NEED;
	refused(&o, PK_EINVAL, "name a trust store");
	o.trust_file = file("server.key");
	refused(&o, PK_EINVAL, "server.key: no certificate in it");
}

static void test_reload_serves_the_new_certificate_and_a_bad_one_changes_nothing(void **state)
{
	struct story y = { 0 };
	struct pk_err err = PK_ERR_INIT;
	struct peer c2 = { 0 }, c3 = { 0 };
	char *subject;

	(void)state;
	assert_int_equal(sh("cp server.both.pem live.pem"), 0);
	struct net_tls_opts opts = { .server = true,
				     .cert_file = file("live.pem"),
				     .client_auth = NET_CLIENT_AUTH_NONE };
	struct net_tls_opts lax = { .trust_file = file("ca.pem"), .no_hostname_check = true };
	story_begin(&y, tls_or_fail(&opts), tls_or_fail(&lax), false);
	RUN_UNTIL(y.l, y.c.opens == 1);
	assert_int_equal(sh("cp junk live.pem || echo junk >live.pem"), 0);
	assert_int_equal(net_tls_reload(y.server, &err), PK_EINVAL);
	assert_non_null(strstr(err.text, "the old files stay in use: "));
	c2.s = net_connect(y.l, &y.to, &peer_ops, &c2);
	RUN_UNTIL(y.l, c2.opens == 1);
	assert_int_equal(sh("cp elsewhere.both.pem live.pem"), 0);
	assert_int_equal(net_tls_reload(y.server, &err), 0);
	c3.s = net_connect(y.l, &y.to, &peer_ops, &c3);
	RUN_UNTIL(y.l, c3.opens == 1);
	subject = net_stream_peer_subject(c3.s);
	assert_string_equal(subject, "CN=elsewhere.example");
	free(subject);
	net_stream_write(y.c.s, pk_bytes_str("the first stream goes on"));
	RUN_UNTIL(y.l, y.a.peers[0].in.len == strlen("the first stream goes on"));
	story_end(&y);
}

static const char cluster_key[] = "0123456789abcdef0123456789abcdef";

static struct net_tls *psk(const char *key, const char *identity)
{
	struct pk_err err = PK_ERR_INIT;
	struct net_tls *t = net_tls_psk_new(pk_bytes_str(key), identity, &err);

	assert_non_null(t);
	return t;
}

static void test_a_shared_key_opens_and_a_final_newline_does_not_matter(void **state)
{
	struct story y = { .a = { .peers = { { .echo = true } } } };

	(void)state;
	story_begin(&y, psk(cluster_key, "peers"),
		    psk("0123456789abcdef0123456789abcdef\n", "peers"), false);
	net_stream_write(y.c.s, pk_bytes_str("hello"));
	RUN_UNTIL(y.l, y.c.in.len == 5 || y.c.closes == 1);
	assert_string_equal(y.c.reason, "");
	assert_string_equal(net_stream_tls_version(y.c.s), "TLSv1.3");
	story_end(&y);
}

static void psk_refused(struct net_tls *server, struct net_tls *client)
{
	struct story y = { 0 };

	story_begin(&y, server, client, false);
	RUN_UNTIL(y.l, y.c.closes == 1 && y.a.peers[0].closes == 1);
	assert_int_equal(y.c.opens, 0);
	assert_int_equal(y.a.peers[0].opens, 0);
	story_end(&y);
}

static void test_another_key_or_name_is_refused(void **state)
{
	(void)state;
	psk_refused(psk(cluster_key, "peers"), psk("another key, another cluster", "peers"));
	psk_refused(psk(cluster_key, "peers"), psk(cluster_key, "others"));
}

static void test_a_shared_key_takes_no_certificate_instead(void **state)
{
	struct net_tls_opts lax = { .no_verify = true };

	(void)state;
	psk_refused(psk(cluster_key, "peers"), tls_or_fail(&lax));
	psk_refused(plain_server(), psk(cluster_key, "peers"));
	psk_refused(mutual_server(NET_CLIENT_AUTH_NEED), psk(cluster_key, "peers"));
}

static void test_a_short_shared_key_is_refused(void **state)
{
	struct pk_err err = PK_ERR_INIT;

	(void)state;
	assert_null(net_tls_psk_new(pk_bytes_str("short    \n\n\n\n\n\n\n\n\n"), "peers", &err));
	assert_string_equal(err.text, "shared key: want 16 to 65536 bytes, have 5");
}

static void test_one_port_serves_tls_and_plain(void **state)
{
	struct story y = { .a = { .peers = { { .echo = true }, { .echo = true } } } };
	struct peer plain = { 0 };

	(void)state;
	story_begin(&y, plain_server(), trusting_client(NULL), true);
	net_stream_write(y.c.s, pk_bytes_str("over tls"));
	RUN_UNTIL(y.l, y.c.in.len == 8);
	assert_true(net_stream_is_tls(y.a.peers[0].s));
	peer_dial(&plain, y.l, "127.0.0.1", net_listener_port(y.n));
	net_stream_write(plain.s, pk_bytes_str("plain"));
	RUN_UNTIL(y.l, plain.in.len == 5);
	assert_false(net_stream_is_tls(y.a.peers[1].s));
	assert_int_equal(y.a.peers[1].opens, 1);
	peer_release(&plain);
	story_end(&y);
}

static void test_plain_bytes_on_a_tls_port_are_refused(void **state)
{
	struct story y = { 0 };
	struct peer plain = { 0 };

	(void)state;
	story_begin(&y, plain_server(), trusting_client(NULL), false);
	RUN_UNTIL(y.l, y.c.opens == 1);
	peer_dial(&plain, y.l, "127.0.0.1", net_listener_port(y.n));
	net_stream_write(plain.s, pk_bytes_str("GET / HTTP/1.1\r\n\r\n"));
	RUN_UNTIL(y.l, y.a.peers[1].closes == 1 && plain.closes == 1);
	assert_non_null(strstr(y.a.peers[1].reason, "TLS handshake: "));
	assert_int_equal(y.a.peers[1].opens, 0);
	peer_release(&plain);
	story_end(&y);
}

static void test_a_silent_client_is_dropped_after_the_handshake_time(void **state)
{
	struct net_loop *l = test_loop();
	struct acceptor a = { 0 };
	struct net_tls *t = plain_server();
	struct net_listen_opts opts = { .host = "127.0.0.1",
					.tls = t,
					.limits = { .handshake_timeout_ms = 20 } };
	struct net_listener *n = net_listen(l, &opts, acceptor_accept, &a, NULL);
	struct peer c = { 0 };

	(void)state;
	peer_dial(&c, l, "127.0.0.1", net_listener_port(n));
	RUN_UNTIL(l, a.peers[0].closes == 1);
	assert_string_equal(a.peers[0].reason, "TLS handshake timed out");
	net_listener_close(n);
	opts.sniff_tls = true;
	n = net_listen(l, &opts, acceptor_accept, &a, NULL);
	peer_dial(&c, l, "127.0.0.1", net_listener_port(n));
	RUN_UNTIL(l, a.peers[1].closes == 1);
	assert_string_equal(a.peers[1].reason, "no first byte within 20 ms");
	net_listener_close(n);
	net_loop_free(l);
	net_tls_free(t);
}

static void test_the_loop_may_go_in_the_middle_of_handshakes(void **state)
{
	(void)state;
	for (int turns = 0; turns < 8; turns++) {
		struct story y = { 0 };

		story_begin(&y, plain_server(), trusting_client(NULL), false);
		for (int i = 0; i < turns; i++)
			net_loop_turn(y.l, false);
		story_end(&y);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bytes_pass_through_tls),
		cmocka_unit_test(test_pause_holds_decrypted_bytes_back),
		cmocka_unit_test(test_an_unknown_authority_is_refused),
		cmocka_unit_test(test_a_certificate_of_another_name_is_refused),
		cmocka_unit_test(test_an_address_is_checked_against_the_certificates_addresses),
		cmocka_unit_test(test_a_needed_client_certificate_is_shown_and_named),
		cmocka_unit_test(test_no_client_certificate_where_one_is_needed),
		cmocka_unit_test(test_a_strangers_client_certificate_is_refused),
		cmocka_unit_test(test_a_wanted_client_certificate_may_be_missing),
		cmocka_unit_test(test_a_revoked_certificate_is_refused),
		cmocka_unit_test(test_pkcs12_serves_and_protocols_and_ciphers_are_kept),
		cmocka_unit_test(test_a_java_truststore_of_pkcs12_is_read),
		cmocka_unit_test(test_bad_stores_are_refused_in_words),
		cmocka_unit_test(
			test_reload_serves_the_new_certificate_and_a_bad_one_changes_nothing),
		cmocka_unit_test(test_a_shared_key_opens_and_a_final_newline_does_not_matter),
		cmocka_unit_test(test_another_key_or_name_is_refused),
		cmocka_unit_test(test_a_shared_key_takes_no_certificate_instead),
		cmocka_unit_test(test_a_short_shared_key_is_refused),
		cmocka_unit_test(test_one_port_serves_tls_and_plain),
		cmocka_unit_test(test_plain_bytes_on_a_tls_port_are_refused),
		cmocka_unit_test(test_a_silent_client_is_dropped_after_the_handshake_time),
		cmocka_unit_test(test_the_loop_may_go_in_the_middle_of_handshakes),
	};
	return cmocka_run_group_tests(tests, setup_certs, remove_certs);
}
