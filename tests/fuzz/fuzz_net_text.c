/*
 * tests/fuzz/fuzz_net_text.c - the texts that net/ reads: addresses, host:port and base64. What is
 * accepted says the same when it is written and read again.
 */
#include "base/mem.h"
#include "net/addr.h"
#include "net/crypto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void addr_there_and_back(const char *text)
{
	char again[NET_ADDR_TEXT_BYTES], host[64], with_port[NET_ADDR_TEXT_BYTES];
	struct net_addr a, b;
	struct sockaddr_storage ss;
	uint16_t port;

	if (net_addr_parse(&a, text, 2181, NULL) != 0)
		return;
	PK_ASSERT(a.ip_bytes == 4 || a.ip_bytes == 16);
	net_addr_to_sockaddr(&a, &ss);
	PK_ASSERT(net_addr_from_sockaddr(&b, (struct sockaddr *)&ss, NULL) == 0);
	PK_ASSERT(net_addr_ip_eq(&a, &b) && b.port == 2181);
	if (a.ip_bytes == 4 && a.scope_id != 0)
		return; /* a scope on a mapped address means nothing */
	PK_ASSERT(net_addr_parse(&b, net_addr_ip_text(&a, again), 2181, NULL) == 0);
	PK_ASSERT(net_addr_ip_eq(&a, &b));
	PK_ASSERT(net_host_port_parse(net_addr_text(&a, with_port), -1, host, sizeof(host), &port,
				      NULL) == 0);
	PK_ASSERT(port == 2181 && strcmp(host, again) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = pk_strndup((const char *)data, size);
	struct pk_buf once = PK_BUF_INIT, twice = PK_BUF_INIT;
	char host[64];
	uint16_t port;

	addr_there_and_back(text);
	if (net_host_port_parse(text, 2181, host, sizeof(host), &port, NULL) == 0)
		PK_ASSERT(strlen(host) > 0 && strlen(host) < sizeof(host));
	if (net_base64_decode(pk_bytes(data, size), &once, NULL) == 0)
		PK_ASSERT(once.len <= size / 4 * 3);
	pk_buf_clear(&once);
	net_base64_encode(pk_bytes(data, size), &once);
	PK_ASSERT(net_base64_decode(pk_buf_bytes(&once), &twice, NULL) == 0);
	PK_ASSERT(pk_bytes_eq(pk_buf_bytes(&twice), pk_bytes(data, size)));
	pk_buf_release(&once);
	pk_buf_release(&twice);
	free(text);
	return 0;
}
