#include "store/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

#define MYID_BYTES_MAX     4096
#define PASSWORD_BYTES_MAX 4096

static int load_text(struct store_config *c, const char *path, struct pk_buf *notes,
		     struct pk_err *err)
{
	struct pk_buf text = PK_BUF_INIT;
	int rc = pk_file_read(path, STORE_CONFIG_BYTES_MAX, &text, err);

	if (rc == 0)
		rc = store_config_text(c, path, pk_buf_bytes(&text), notes, err);
	pk_buf_release(&text);
	return rc;
}

static int load_sets(struct store_config *c, char *const *environment, const struct pk_strs *sets,
		     struct pk_buf *notes, struct pk_err *err)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && environment != NULL && environment[i] != NULL; i++)
		rc = store_config_env(c, environment[i], notes, err);
	for (size_t i = 0; rc == 0 && sets != NULL && i < sets->count; i++) {
		const char *equals = strchr(sets->items[i], '=');
		char *key;

		if (equals == NULL || equals == sets->items[i])
			return pk_err_set(err, PK_EINVAL, "--set %.80s: want key=value",
					  sets->items[i]);
		key = pk_strndup(sets->items[i], (size_t)(equals - sets->items[i]));
		rc = store_config_set(c, "--set", key, equals + 1, notes, err);
		free(key);
	}
	return rc;
}

static int load_dynamic(struct store_config *c, struct pk_buf *notes, struct pk_err *err)
{
	struct pk_buf text = PK_BUF_INIT;
	int rc;

	rc = pk_file_read(c->dynamic_config_file, STORE_CONFIG_BYTES_MAX, &text, err);
	if (rc == 0)
		rc = store_config_dynamic(c, c->dynamic_config_file, pk_buf_bytes(&text), notes,
					  err);
	pk_buf_release(&text);
	return rc;
}

/* Environment and flags, which may also name the dynamic file or replace some of its lines. */
static int load_overrides(struct store_config *c, char *const *environment,
			  const struct pk_strs *sets, struct pk_buf *notes, struct pk_err *err)
{
	bool in_file = c->servers.count > 0;
	struct server_set given;
	int rc = load_sets(c, environment, sets, notes, err);

	if (rc != 0 || c->dynamic_config_file == NULL)
		return rc;
	if (in_file)
		return pk_err_set(err, PK_EINVAL,
				  "dynamicConfigFile is set, so server lines belong in %s",
				  c->dynamic_config_file);
	given = c->servers;
	c->servers = SERVER_SET_INIT;
	rc = load_dynamic(c, notes, err);
	for (size_t i = 0; rc == 0 && i < given.count; i++)
		rc = server_set_put(&c->servers, &given.all[i], err);
	server_set_release(&given);
	return rc;
}

static int load_data_dir(struct store_config *c, struct pk_err *err)
{
	struct pk_buf text = PK_BUF_INIT;
	struct stat st;
	char *path;
	int rc = 0;

	if (c->data_dir == NULL)
		return 0; /* store_config_check says so */
	path = pk_asprintf("%s/myid", c->data_dir);
	if (stat(path, &st) == 0) {
		rc = pk_file_read(path, MYID_BYTES_MAX, &text, err);
		if (rc == 0) {
			rc = store_config_myid(c, pk_buf_bytes(&text), err);
			if (rc != 0)
				pk_err_wrap(err, "%s", c->data_dir);
		}
	} else if (errno != ENOENT && errno != ENOTDIR) {
		rc = pk_err_sys(err, errno, "read %s", path);
	}
	free(path);
	path = pk_asprintf("%s/initialize", c->data_dir);
	c->has_initialize = stat(path, &st) == 0;
	free(path);
	pk_buf_release(&text);
	return rc;
}

static int load_jaas(struct store_config *c, struct pk_err *err)
{
	struct pk_buf text = PK_BUF_INIT;
	int rc;

	if (c->jaas_file == NULL)
		return 0;
	rc = pk_file_read(c->jaas_file, JAAS_BYTES_MAX, &text, err);
	if (rc == 0) {
		rc = store_config_jaas(c, pk_buf_bytes(&text), err);
		if (rc != 0)
			pk_err_wrap(err, "%s", c->jaas_file);
	}
	if (text.len > 0)
		explicit_bzero(text.data, text.len);
	pk_buf_release(&text);
	return rc;
}

/* The first line of a password file replaces the password given in plain. */
static int load_password(const char *file, char **password, struct pk_err *err)
{
	struct pk_buf text = PK_BUF_INIT;
	size_t len = 0;
	int rc;

	if (file == NULL)
		return 0;
	rc = pk_file_read(file, PASSWORD_BYTES_MAX, &text, err);
	if (rc == 0) {
		while (len < text.len && text.data[len] != '\n' && text.data[len] != '\r')
			len++;
		free(*password);
		*password = pk_strndup(len > 0 ? (const char *)text.data : "", len);
	}
	if (text.len > 0)
		explicit_bzero(text.data, text.len);
	pk_buf_release(&text);
	return rc;
}

static int load_passwords(struct store_config *c, struct pk_err *err)
{
	int rc = load_password(c->ssl_cert_password_file, &c->ssl_cert_password, err);

	if (rc == 0)
		rc = load_password(c->ssl_trust_password_file, &c->ssl_trust_password, err);
	if (rc == 0)
		rc = load_password(c->peer_ssl_cert_password_file, &c->peer_ssl_cert_password, err);
	if (rc == 0)
		rc = load_password(c->peer_ssl_trust_password_file, &c->peer_ssl_trust_password,
				   err);
	return rc;
}

int store_config_load(struct store_config *out, const char *path, char *const *environment,
		      const struct pk_strs *sets, struct pk_buf *notes, struct pk_err *err)
{
	struct store_config c;
	int rc;

	store_config_init(&c);
	rc = load_text(&c, path, notes, err);
	if (rc == 0)
		rc = load_overrides(&c, environment, sets, notes, err);
	if (rc == 0)
		rc = load_data_dir(&c, err);
	if (rc == 0)
		rc = load_jaas(&c, err);
	if (rc == 0)
		rc = load_passwords(&c, err);
	if (rc == 0) {
		c.path = pk_strdup(path);
		rc = store_config_check(&c, notes, err);
		if (rc != 0)
			pk_err_wrap(err, "%s", path);
	}
	if (rc != 0)
		store_config_release(&c);
	else
		*out = c;
	return rc;
}
