#include "store/config.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>

#include "base/mem.h"
#include "store/config_table.h"
#include "store/properties.h"

#define ZK_PREFIX  "zookeeper."
#define OUR_PREFIX "paddock."
#define ENV_PREFIX "PADDOCK_"

#define SUGGESTIONS_MAX  20  /* looking for a neighbour costs a while, and 20 are enough to read */
#define REPEATS_ROWS_MAX 500 /* in later rows repeats go unremarked: the search is quadratic */

const struct pk_opt store_options[] = {
#define KEY(field, name, type, dflt, least, most, unit, group, help)                               \
	PK_OPT_ROW(struct store_config, field, name, type, dflt, least, most, unit, group, help)
#include "store/options.tbl"
};
const size_t store_options_count = PK_COUNT(store_options);

const struct config_other config_others[] = {
#define NOOP(name_, group_, reason_)                                                               \
	{ .name = (name_), .fine = NULL, .group = (group_), .reason = (reason_) },
#define DENY(name_, fine_, group_, reason_)                                                        \
	{ .name = (name_), .fine = (fine_), .group = (group_), .reason = (reason_) },
#include "store/options.tbl"
};
const size_t config_others_count = PK_COUNT(config_others);

const struct config_alias config_aliases[] = {
#define ALIAS(name_, row_) { .name = (name_), .row = (row_) },
#include "store/options.tbl"
};
const size_t config_aliases_count = PK_COUNT(config_aliases);

const struct config_family config_families[] = {
	{ "server.", "One server of the ensemble: see above." },
	{ "group.", "Refused unless there is one group: hierarchical quorums are not offered, "
		    "so give every server one vote." },
	{ "weight.", "Refused unless all weights are equal: every voting server has one vote." },
	{ "authProvider.", "ZooKeeper's own SASL, x509, digest and ip providers are known; other "
			   "Java classes cannot be loaded and are refused." },
	{ "superUser.", "One more SASL user who passes every access check." },
};
const size_t config_families_count = PK_COUNT(config_families);

/* ---- finding rows ------------------------------------------------------------------------------
 */

struct found {
	const struct pk_opt *opt;           /* honoured */
	const struct config_other *other;   /* or taken without effect, or refused */
	const struct config_family *family; /* or one of a numbered family */
};

static const char *bare(const char *key)
{
	return strncmp(key, ZK_PREFIX, strlen(ZK_PREFIX)) == 0 ? key + strlen(ZK_PREFIX) : key;
}

static struct found find(const char *key)
{
	struct found f = { 0 };

	key = bare(key);
	for (size_t i = 0; i < config_aliases_count; i++) {
		if (strcmp(config_aliases[i].name, key) == 0)
			key = config_aliases[i].row;
	}
	f.opt = pk_opt_find(store_options, store_options_count, key);
	for (size_t i = 0; f.opt == NULL && i < config_others_count; i++) {
		if (strcmp(config_others[i].name, key) == 0)
			f.other = &config_others[i];
	}
	for (size_t i = 0; f.opt == NULL && f.other == NULL && i < config_families_count; i++) {
		size_t len = strlen(config_families[i].prefix);

		if (strncmp(config_families[i].prefix, key, len) == 0 && key[len] != '\0')
			f.family = &config_families[i];
	}
	return f;
}

enum store_key_kind store_config_key(const char *key, const char **why)
{
	struct found f = find(key);
	const char *ignored;

	why = why != NULL ? why : &ignored;
	if (f.opt != NULL) {
		*why = f.opt->help;
		return STORE_KEY_HONOURED;
	}
	if (f.other != NULL) {
		*why = f.other->reason;
		return f.other->fine == NULL ? STORE_KEY_NOOP : STORE_KEY_DENIED;
	}
	if (f.family != NULL) {
		*why = f.family->help;
		return STORE_KEY_HONOURED;
	}
	*why = NULL;
	return STORE_KEY_UNKNOWN;
}

static const char *nearest(const char *key)
{
	struct pk_nearest near = pk_nearest_to(bare(key));

	for (size_t i = 0; i < store_options_count; i++)
		pk_nearest_try(&near, store_options[i].name);
	for (size_t i = 0; i < config_others_count; i++)
		pk_nearest_try(&near, config_others[i].name);
	for (size_t i = 0; i < config_aliases_count; i++)
		pk_nearest_try(&near, config_aliases[i].name);
	return near.best;
}

void config_note(struct pk_buf *notes, const char *fmt, ...)
{
	struct pk_buf line = PK_BUF_INIT;
	va_list args;
	char text[1024];

	if (notes == NULL)
		return;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	for (char *c = text; *c != '\0'; c++) {
		if (iscntrl((unsigned char)*c))
			*c = ' '; /* a note is one line, whatever a key holds */
	}
	pk_buf_printf(&line, "%s\n", text);
	pk_buf_add_bytes(notes, pk_buf_bytes(&line));
	pk_buf_release(&line);
}

/* ---- setting one key
 * ----------------------------------------------------------------------------- */

static int set_other(const struct config_other *o, const char *source, const char *value,
		     struct pk_buf *notes, struct pk_err *err)
{
	if (o->fine == NULL) {
		config_note(notes, "info: %s: %s has no effect: %s", source, o->name, o->reason);
		return 0;
	}
	for (const char *at = o->fine; *at != '\0';) {
		size_t len = strcspn(at, "|");

		if (strlen(value) == len && strncasecmp(at, value, len) == 0)
			return 0;
		at += len;
		at += *at == '|';
	}
	return pk_err_set(err, PK_EINVAL, "%s=%.80s is refused: %s", o->name, value, o->reason);
}

static int set_server(struct store_config *c, const char *key, const char *value,
		      struct pk_err *err)
{
	struct server_spec spec;
	int64_t id = server_key_id(key);
	int rc;

	if (id < 0)
		return pk_err_set(err, PK_EINVAL,
				  "%.80s: want server.N with a number above 0 and below 10^18",
				  key);
	rc = server_spec_parse(&spec, id, pk_bytes_str(value), err);
	return rc != 0 ? rc : server_set_put(&c->servers, &spec, err);
}

static int set_weight(struct store_config *c, const char *key, const char *value,
		      struct pk_err *err)
{
	char *end;
	long weight = strtol(value, &end, 10);

	if (end == value || *end != '\0' || weight < 0)
		return pk_err_set(err, PK_EINVAL, "%.80s=%.80s: want a number from 0", key, value);
	if (c->weight_count++ == 0)
		c->weight = weight;
	c->weights_differ |= c->weight != weight;
	return 0;
}

#define AUTH_PACKAGE "org.apache.zookeeper.server.auth."

static int set_provider(struct store_config *c, const char *key, const char *value,
			struct pk_err *err)
{
	const char *name = value;

	if (strncmp(value, AUTH_PACKAGE, strlen(AUTH_PACKAGE)) == 0)
		name = value + strlen(AUTH_PACKAGE);
	if (strcmp(name, "SASLAuthenticationProvider") == 0)
		c->auth_sasl = true;
	else if (strcmp(name, "X509AuthenticationProvider") == 0)
		c->auth_x509 = true;
	else if (strcmp(name, "DigestAuthenticationProvider") != 0 &&
		 strcmp(name, "IPAuthenticationProvider") != 0)
		return pk_err_set(err, PK_EINVAL,
				  "%.80s=%.120s is refused: Java classes cannot be loaded; use "
				  "the schemes digest, ip, x509 or sasl",
				  key, value);
	return 0;
}

static int set_family(struct store_config *c, const struct config_family *f, const char *key,
		      const char *value, struct pk_err *err)
{
	const char *name = f->prefix;

	if (strcmp(name, "server.") == 0)
		return set_server(c, key, value, err);
	if (strcmp(name, "weight.") == 0)
		return set_weight(c, key, value, err);
	if (strcmp(name, "authProvider.") == 0)
		return set_provider(c, key, value, err);
	if (strcmp(name, "group.") == 0)
		c->group_count++;
	else
		pk_strs_add(&c->super_users, pk_bytes_str(value));
	return 0;
}

static int set_version(struct store_config *c, const char *value, struct pk_err *err)
{
	char *end;
	unsigned long long v = strtoull(value, &end, 16);

	if (!isxdigit((unsigned char)value[0]) || *end != '\0' || strlen(value) > 16)
		return pk_err_set(err, PK_EINVAL, "version=%.40s: want a hexadecimal number",
				  value);
	c->servers.version = v;
	return 0;
}

static int set_key(struct store_config *c, const char *source, const char *key,
		   const char *raw_value, struct pk_buf *notes, struct pk_err *err)
{
	struct found f = find(key);
	char *value;
	size_t len;
	int rc = 0;

	while (isspace((unsigned char)*raw_value))
		raw_value++;
	len = strlen(raw_value);
	while (len > 0 && isspace((unsigned char)raw_value[len - 1]))
		len--;
	value = pk_strndup(raw_value, len);

	if (f.opt != NULL) {
		rc = pk_opt_set(f.opt, c, pk_bytes_str(value), err);
		if (rc == 0 && f.opt->offset == offsetof(struct store_config, tick_ms))
			c->tick_given = true;
	} else if (f.other != NULL) {
		rc = set_other(f.other, source, value, notes, err);
	} else if (f.family != NULL) {
		rc = set_family(c, f.family, bare(key), value, err);
	} else if (strcmp(key, "version") == 0) {
		rc = set_version(c, value, err);
	} else {
		const char *near = c->unknown_count++ < SUGGESTIONS_MAX ? nearest(key) : NULL;

		config_note(notes, "warn: %s: unknown key %.80s is ignored%s%s%s", source, key,
			    near != NULL ? ": did you mean " : "", near != NULL ? near : "",
			    near != NULL ? "?" : "");
	}
	free(value);
	return rc;
}

int store_config_set(struct store_config *c, const char *source, const char *key, const char *value,
		     struct pk_buf *notes, struct pk_err *err)
{
	int rc = set_key(c, source, key, value, notes, err);

	return rc != 0 ? pk_err_wrap(err, "%s", source) : 0;
}

/* ---- whole texts
 * ----------------------------------------------------------------------------------- */

/* What makes two rows of a text the same setting: the row of our table, or the name. */
struct ident {
	const void *row;
	const char *name;
	bool many; /* each line adds one */
};

static struct ident ident_of(const char *key)
{
	struct found f = find(key);

	return (struct ident){
		.row = f.opt != NULL ? (const void *)f.opt : (const void *)f.other,
		.name = bare(key),
		.many = f.opt != NULL && f.opt->type == PK_OPT_LIST,
	};
}

/* A warning for each row that sets again what an earlier one set. */
static void note_repeats(const char *source, const struct properties *p, struct pk_buf *notes)
{
	struct ident all[REPEATS_ROWS_MAX];

	for (size_t i = 0; i < p->count && i < REPEATS_ROWS_MAX; i++) {
		all[i] = ident_of(p->rows[i].key);
		for (size_t j = i; j-- > 0 && !all[i].many;) {
			if (all[i].row != all[j].row ||
			    (all[i].row == NULL && strcmp(all[i].name, all[j].name) != 0))
				continue;
			config_note(notes,
				    "warn: %s line %u: %.80s was set in line %u already; the last "
				    "one counts",
				    source, p->rows[i].line, p->rows[i].key, p->rows[j].line);
			break;
		}
	}
}

static int take_rows(struct store_config *c, const char *source, struct pk_bytes text, bool dynamic,
		     struct pk_buf *notes, struct pk_err *err)
{
	struct properties p = PROPERTIES_INIT;
	int rc = properties_parse(&p, text, err);

	if (rc != 0)
		return pk_err_wrap(err, "%s", source);
	if (notes != NULL)
		note_repeats(source, &p, notes);
	for (size_t i = 0; rc == 0 && i < p.count; i++) {
		const struct property *row = &p.rows[i];
		struct found f = find(row->key);
		char where[320];

		snprintf(where, sizeof(where), "%.256s line %u", source, row->line);
		if (dynamic && (f.family == NULL || (strcmp(f.family->prefix, "server.") != 0 &&
						     strcmp(f.family->prefix, "group.") != 0 &&
						     strcmp(f.family->prefix, "weight.") != 0)))
			rc = pk_err_set(err, PK_EINVAL,
					"%.80s: a dynamic file holds server lines only", row->key);
		else
			rc = set_key(c, where, row->key, row->value, notes, err);
		if (rc != 0)
			pk_err_wrap(err, "%s", where);
	}
	properties_release(&p);
	return rc;
}

int store_config_text(struct store_config *c, const char *source, struct pk_bytes text,
		      struct pk_buf *notes, struct pk_err *err)
{
	int rc = take_rows(c, source, text, false, notes, err);

	if (rc != 0)
		return rc;
	if (c->dynamic_config_file != NULL && c->servers.count > 0)
		return pk_err_set(err, PK_EINVAL,
				  "%s: dynamicConfigFile is set, so server lines belong in %s",
				  source, c->dynamic_config_file);
	free(c->text);
	c->text = pk_strndup(text.len > 0 ? (const char *)text.data : "", text.len);
	return 0;
}

int store_config_dynamic(struct store_config *c, const char *source, struct pk_bytes text,
			 struct pk_buf *notes, struct pk_err *err)
{
	const char *dot = strrchr(source, '.');
	int rc = take_rows(c, source, text, true, notes, err);

	if (rc == 0 && dot != NULL && strchr(dot, '/') == NULL)
		pk_ignore(set_version(c, dot + 1, NULL),
			  "a name that ends otherwise has no version");
	return rc;
}

/* "PADDOCK_CLIENTPORT": what the key is called in the environment. */
void config_env_name(const char *key, char out[CONFIG_ENV_BYTES])
{
	size_t at = (size_t)snprintf(out, CONFIG_ENV_BYTES, "%s", ENV_PREFIX);

	key = bare(key);
	if (strncmp(key, OUR_PREFIX, strlen(OUR_PREFIX)) == 0)
		key += strlen(OUR_PREFIX);
	for (; *key != '\0' && at < CONFIG_ENV_BYTES - 1; key++)
		out[at++] = *key == '.' || *key == '-' ? '_' : (char)toupper((unsigned char)*key);
	out[at] = '\0';
}

static bool env_is(const char *name, size_t len, const char *key)
{
	char want[CONFIG_ENV_BYTES];

	config_env_name(key, want);
	return strlen(want) == len && memcmp(want, name, len) == 0;
}

/* PADDOCK_SERVER_1 is server.1; PADDOCK_AUTHPROVIDER_SASL is authProvider.sasl. */
static bool env_family(const char *name, size_t len, char out[CONFIG_ENV_BYTES])
{
	for (size_t i = 0; i < config_families_count; i++) {
		char prefix[CONFIG_ENV_BYTES];
		size_t front;

		config_env_name(config_families[i].prefix, prefix);
		front = strlen(prefix);
		if (len <= front || memcmp(prefix, name, front) != 0)
			continue;
		snprintf(out, CONFIG_ENV_BYTES, "%s%.*s", config_families[i].prefix,
			 (int)(len - front < 64 ? len - front : 64), name + front);
		return true;
	}
	return false;
}

int store_config_env(struct store_config *c, const char *assignment, struct pk_buf *notes,
		     struct pk_err *err)
{
	const char *equals = strchr(assignment, '=');
	size_t len = equals != NULL ? (size_t)(equals - assignment) : 0;
	const char *key = NULL;
	char family[CONFIG_ENV_BYTES];
	char source[160];

	if (equals == NULL || strncmp(assignment, ENV_PREFIX, strlen(ENV_PREFIX)) != 0)
		return 0;
	snprintf(source, sizeof(source), "environment %.*s", (int)(len < 120 ? len : 120),
		 assignment);
	for (size_t i = 0; key == NULL && i < store_options_count; i++)
		key = env_is(assignment, len, store_options[i].name) ? store_options[i].name : NULL;
	for (size_t i = 0; key == NULL && i < config_others_count; i++)
		key = env_is(assignment, len, config_others[i].name) ? config_others[i].name : NULL;
	for (size_t i = 0; key == NULL && i < config_aliases_count; i++)
		key = env_is(assignment, len, config_aliases[i].name) ? config_aliases[i].row
								      : NULL;
	if (key == NULL && env_family(assignment, len, family))
		key = family;
	if (key == NULL) {
		config_note(notes, "warn: %s names no setting and is ignored", source);
		return 0;
	}
	return store_config_set(c, source, key, equals + 1, notes, err);
}

int store_config_myid(struct store_config *c, struct pk_bytes text, struct pk_err *err)
{
	int64_t id = 0;
	size_t len = 0;
	bool good;

	while (len < text.len && text.data[len] != '\n' && text.data[len] != '\r')
		len++;
	while (len > 0 && isspace(text.data[len - 1]))
		len--;
	good = len > 0 && len <= 18;
	for (size_t i = 0; good && i < len; i++) {
		good = isdigit(text.data[i]);
		id = id * 10 + (text.data[i] - '0');
	}
	if (!good || id == 0)
		return pk_err_set(err, PK_EINVAL,
				  "myid: want one line with this server's number, above 0 and "
				  "below 10^18");
	c->my_id = id;
	return 0;
}

int store_config_jaas(struct store_config *c, struct pk_bytes text, struct pk_err *err)
{
	struct jaas jaas = JAAS_INIT;
	struct jaas_server server = JAAS_SERVER_INIT;
	const struct jaas_section *section;
	int rc = jaas_parse(&jaas, text, err);

	if (rc != 0)
		return rc;
	section = jaas_find(&jaas, c->jaas_section);
	if (section == NULL)
		rc = pk_err_set(err, PK_EINVAL, "there is no section named %.80s", c->jaas_section);
	else
		rc = jaas_server_of(&server, section, err);
	jaas_release(&jaas);
	if (rc != 0)
		return rc;
	jaas_server_release(&c->sasl);
	c->sasl = server;
	c->auth_sasl = true;
	return 0;
}

void store_config_init(struct store_config *c)
{
	memset(c, 0, sizeof(*c));
	pk_opt_defaults(store_options, store_options_count, c);
}

void store_config_release(struct store_config *c)
{
	pk_opt_release(store_options, store_options_count, c);
	server_set_release(&c->servers);
	jaas_server_release(&c->sasl);
	free(c->path);
	free(c->text);
	free(c->client_host);
	free(c->secure_client_host);
	memset(c, 0, sizeof(*c));
}

/* ---- questions
 * ---------------------------------------------------------------------------------------- */

/* Is `word` in the comma-separated list? */
bool config_list_has(const char *list, const char *word)
{
	while (list != NULL && *list != '\0') {
		size_t len;

		list += strspn(list, ", \t");
		len = strcspn(list, ", \t");
		if (len > 0 && len == strlen(word) && memcmp(list, word, len) == 0)
			return true;
		list += len;
	}
	return false;
}

bool store_config_word_allowed(const struct store_config *c, const char *word)
{
	return config_list_has(c->words_allowed, "*") || config_list_has(c->words_allowed, word);
}

bool store_config_scheme_enforced(const struct store_config *c, const char *scheme)
{
	return c->auth_enforced && config_list_has(c->auth_schemes, scheme);
}
