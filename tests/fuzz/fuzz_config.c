/*
 * tests/fuzz/fuzz_config.c - the input as a zoo.cfg: taken or refused with a text, and every note
 * is one whole line. What was taken is checked as a server would before it starts.
 */
#include "store/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct store_config c;
	struct pk_buf notes = PK_BUF_INIT;
	struct pk_err err = PK_ERR_INIT;
	struct pk_bytes text = pk_bytes(data, size);
	int rc;

	store_config_init(&c);
	rc = store_config_text(&c, "zoo.cfg", text, &notes, &err);
	if (rc == 0)
		rc = store_config_myid(&c, pk_bytes_str("1"), &err);
	if (rc == 0)
		rc = store_config_check(&c, &notes, &err);
	PK_ASSERT(rc == 0 ? err.text[0] == '\0' : err.code == rc && err.text[0] != '\0');
	if (rc == 0) {
		PK_ASSERT(c.data_dir != NULL && c.election_ms >= 2 * c.heartbeat_ms);
		PK_ASSERT(c.client_port_effective != 0 || c.secure_client_port != 0);
		for (size_t i = 0; c.distributed && c.peer_security == STORE_PEERS_LOOPBACK &&
				   i < c.servers.count;
		     i++)
			PK_ASSERT(server_spec_is_loopback(&c.servers.all[i]));
	}
	for (size_t i = 0; i < notes.len; i++)
		PK_ASSERT(i > 0 && notes.data[i - 1] != '\n'
				  ? true
				  : notes.data[i] == 'w' || notes.data[i] == 'i');
	store_config_release(&c);

	store_config_init(&c);
	err = PK_ERR_INIT;
	rc = store_config_dynamic(&c, "zoo.cfg.dynamic.1f", text, NULL, &err);
	PK_ASSERT(rc == 0 || err.text[0] != '\0');
	store_config_release(&c);
	pk_buf_release(&notes);
	return 0;
}
