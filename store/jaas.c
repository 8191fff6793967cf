#include "store/jaas.h"

#include <ctype.h>
#include <stdio.h>
#include <strings.h>

#include "base/mem.h"

enum token { TOKEN_END, TOKEN_WORD, TOKEN_TEXT, TOKEN_SIGN };

struct lexer {
	struct pk_bytes in;
	size_t at;
	unsigned line;
	size_t items;
	enum token kind;
	char sign;
	struct pk_buf text; /* of a word or quoted text */
};

static int peek(const struct lexer *x, size_t ahead)
{
	return x->at + ahead < x->in.len ? x->in.data[x->at + ahead] : -1;
}

static int wrong(const struct lexer *x, struct pk_err *err, const char *what)
{
	return pk_err_set(err, PK_EINVAL, "line %u: %s", x->line, what);
}

static int skip_space(struct lexer *x, struct pk_err *err)
{
	for (;;) {
		int c = peek(x, 0);

		if (c == '\n')
			x->line++;
		if (c >= 0 && isspace(c)) {
			x->at++;
		} else if (c == '#' || (c == '/' && peek(x, 1) == '/')) {
			while (peek(x, 0) >= 0 && peek(x, 0) != '\n')
				x->at++;
		} else if (c == '/' && peek(x, 1) == '*') {
			x->at += 2;
			while (peek(x, 0) >= 0 && !(peek(x, 0) == '*' && peek(x, 1) == '/')) {
				x->line += peek(x, 0) == '\n';
				x->at++;
			}
			if (peek(x, 0) < 0)
				return wrong(x, err, "a comment without its end");
			x->at += 2;
		} else {
			return 0;
		}
	}
}

static bool is_word(int c)
{
	return c >= 0 && (isalnum(c) || c > 0x7f || strchr("._$-*@/:", c) != NULL) && c != '\0';
}

static int quoted(struct lexer *x, struct pk_err *err)
{
	x->at++;
	for (;;) {
		int c = peek(x, 0);

		if (c < 0 || c == '\n' || c == '\0')
			return wrong(x, err, "a quoted text without its end");
		x->at++;
		if (c == '"')
			return 0;
		if (c == '\\') {
			c = peek(x, 0);
			if (c < 0 || c == '\n' || c == '\0')
				return wrong(x, err, "a quoted text without its end");
			x->at++;
			c = c == 'n' ? '\n' : c == 't' ? '\t' : c;
		}
		pk_buf_add_u8(&x->text, (uint8_t)c);
	}
}

static int next(struct lexer *x, struct pk_err *err)
{
	int rc = skip_space(x, err);
	int c = peek(x, 0);

	if (rc != 0)
		return rc;
	pk_buf_clear(&x->text);
	if (c < 0) {
		x->kind = TOKEN_END;
	} else if (c == '"') {
		x->kind = TOKEN_TEXT;
		return quoted(x, err);
	} else if (c == '{' || c == '}' || c == ';' || c == '=') {
		x->kind = TOKEN_SIGN;
		x->sign = (char)c;
		x->at++;
	} else if (is_word(c)) {
		x->kind = TOKEN_WORD;
		while (is_word(peek(x, 0)))
			pk_buf_add_u8(&x->text, x->in.data[x->at++]);
	} else {
		return wrong(x, err, "a letter that has no meaning here; put values in quotes");
	}
	return 0;
}

static bool is_sign(const struct lexer *x, char sign)
{
	return x->kind == TOKEN_SIGN && x->sign == sign;
}

static int sign(struct lexer *x, char want, const char *what, struct pk_err *err)
{
	return is_sign(x, want) ? next(x, err) : wrong(x, err, what);
}

/* The present word or text, owned; then on to the next. */
static int take(struct lexer *x, char **out, const char *what, struct pk_err *err)
{
	if (x->kind != TOKEN_WORD && x->kind != TOKEN_TEXT)
		return wrong(x, err, what);
	*out = pk_strdup(pk_buf_str(&x->text));
	return next(x, err);
}

static int count_item(struct lexer *x, struct pk_err *err)
{
	if (++x->items > JAAS_ITEMS_MAX)
		return pk_err_set(err, PK_ELIMIT, "line %u: more than %d entries", x->line,
				  JAAS_ITEMS_MAX);
	return 0;
}

static int option(struct lexer *x, struct jaas_module *m, struct pk_err *err)
{
	struct jaas_option *o;
	int rc = count_item(x, err);

	if (rc != 0)
		return rc;
	m->options = pk_realloc(m->options, (m->option_count + 1) * sizeof(*m->options));
	o = &m->options[m->option_count++];
	*o = (struct jaas_option){ 0 };
	rc = take(x, &o->name, "want a name", err);
	if (rc == 0)
		rc = sign(x, '=', "want '=' behind an option's name", err);
	if (rc == 0)
		rc = take(x, &o->value, "want a value behind '='", err);
	if (rc == 0 && strstr(o->value, "${") != NULL)
		rc = wrong(x, err, "${...} is not replaced: write the value out");
	return rc;
}

static int module(struct lexer *x, struct jaas_section *s, struct pk_err *err)
{
	static const char *const flags[] = { "required", "requisite", "sufficient", "optional" };
	struct jaas_module *m;
	bool known = false;
	int rc = count_item(x, err);

	if (rc != 0)
		return rc;
	s->modules = pk_realloc(s->modules, (s->module_count + 1) * sizeof(*s->modules));
	m = &s->modules[s->module_count++];
	*m = (struct jaas_module){ 0 };
	rc = take(x, &m->class_name, "want the name of a login module", err);
	if (rc == 0)
		rc = take(x, &m->flag, "want required, requisite, sufficient or optional", err);
	for (size_t i = 0; rc == 0 && i < PK_COUNT(flags); i++)
		known |= strcasecmp(m->flag, flags[i]) == 0;
	if (rc == 0 && !known)
		rc = wrong(x, err, "want required, requisite, sufficient or optional");
	while (rc == 0 && !is_sign(x, ';'))
		rc = option(x, m, err);
	return rc == 0 ? next(x, err) : rc;
}

static int section(struct lexer *x, struct jaas *j, struct pk_err *err)
{
	struct jaas_section *s;
	int rc = count_item(x, err);

	if (rc != 0)
		return rc;
	j->sections = pk_realloc(j->sections, (j->count + 1) * sizeof(*j->sections));
	s = &j->sections[j->count++];
	*s = (struct jaas_section){ 0 };
	rc = take(x, &s->name, "want the name of a section", err);
	if (rc == 0)
		rc = sign(x, '{', "want '{' behind a section's name", err);
	while (rc == 0 && !is_sign(x, '}'))
		rc = module(x, s, err);
	if (rc == 0)
		rc = next(x, err);
	if (rc == 0)
		rc = sign(x, ';', "want ';' behind '}'", err);
	return rc;
}

int jaas_parse(struct jaas *out, struct pk_bytes text, struct pk_err *err)
{
	struct lexer x = { .in = text, .line = 1 };
	struct jaas j = JAAS_INIT;
	int rc;

	if (text.len > JAAS_BYTES_MAX)
		return pk_err_set(err, PK_ELIMIT, "%zu bytes: at most %d are read", text.len,
				  JAAS_BYTES_MAX);
	rc = next(&x, err);
	while (rc == 0 && x.kind != TOKEN_END)
		rc = section(&x, &j, err);
	pk_buf_release(&x.text);
	if (rc != 0)
		jaas_release(&j);
	else
		*out = j;
	return rc;
}

void jaas_release(struct jaas *j)
{
	for (size_t i = 0; i < j->count; i++) {
		struct jaas_section *s = &j->sections[i];

		for (size_t k = 0; k < s->module_count; k++) {
			struct jaas_module *m = &s->modules[k];

			for (size_t o = 0; o < m->option_count; o++) {
				free(m->options[o].name);
				free(m->options[o].value);
			}
			free(m->options);
			free(m->class_name);
			free(m->flag);
		}
		free(s->modules);
		free(s->name);
	}
	free(j->sections);
	*j = JAAS_INIT;
}

const struct jaas_section *jaas_find(const struct jaas *j, const char *name)
{
	for (size_t i = 0; i < j->count; i++) {
		if (strcmp(j->sections[i].name, name) == 0)
			return &j->sections[i];
	}
	return NULL;
}

/* ---- what it says to a server ------------------------------------------------------------------
 */

static const char *value_of(const struct jaas_module *m, const char *name)
{
	for (size_t i = m->option_count; i-- > 0;) {
		if (strcmp(m->options[i].name, name) == 0)
			return m->options[i].value;
	}
	return NULL;
}

static void add_user(struct jaas_server *s, const char *name, const char *password)
{
	for (size_t i = 0; i < s->user_count; i++) {
		if (strcmp(s->users[i].name, name) == 0) {
			free(s->users[i].password);
			s->users[i].password = pk_strdup(password);
			return;
		}
	}
	s->users = pk_realloc(s->users, (s->user_count + 1) * sizeof(*s->users));
	s->users[s->user_count++] = (struct jaas_user){ .name = pk_strdup(name),
							.password = pk_strdup(password) };
}

static int digest(struct jaas_server *s, const struct jaas_module *m)
{
	for (size_t i = 0; i < m->option_count; i++) {
		const char *name = m->options[i].name;

		if (strncmp(name, "user_", 5) == 0 && name[5] != '\0')
			add_user(s, name + 5, m->options[i].value);
	}
	return 0;
}

static int kerberos(struct jaas_server *s, const struct jaas_module *m, struct pk_err *err)
{
	const char *keytab = value_of(m, "keyTab");
	const char *principal = value_of(m, "principal");

	if (keytab == NULL || principal == NULL)
		return pk_err_set(err, PK_EINVAL,
				  "Krb5LoginModule: a server wants keyTab=\"...\" and "
				  "principal=\"service/host@REALM\"");
	free(s->keytab);
	free(s->principal);
	s->keytab = pk_strdup(keytab);
	s->principal = pk_strdup(principal);
	return 0;
}

static bool is_class(const char *have, const char *want)
{
	const char *dot = strrchr(have, '.');

	return strcmp(dot != NULL ? dot + 1 : have, want) == 0;
}

int jaas_server_of(struct jaas_server *out, const struct jaas_section *section, struct pk_err *err)
{
	struct jaas_server s = JAAS_SERVER_INIT;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < section->module_count; i++) {
		const struct jaas_module *m = &section->modules[i];

		if (is_class(m->class_name, "DigestLoginModule"))
			rc = digest(&s, m);
		else if (is_class(m->class_name, "Krb5LoginModule"))
			rc = kerberos(&s, m, err);
		else
			rc = pk_err_set(err, PK_EINVAL,
					"login module %.120s is not known: want DigestLoginModule "
					"or Krb5LoginModule",
					m->class_name);
	}
	if (rc == 0 && s.user_count == 0 && s.keytab == NULL)
		rc = pk_err_set(err, PK_EINVAL,
				"section %.80s names no user_NAME=\"password\" and no key table",
				section->name);
	if (rc != 0)
		jaas_server_release(&s);
	else
		*out = s;
	return rc;
}

void jaas_server_release(struct jaas_server *s)
{
	for (size_t i = 0; i < s->user_count; i++) {
		free(s->users[i].name);
		free(s->users[i].password);
	}
	free(s->users);
	free(s->keytab);
	free(s->principal);
	*s = JAAS_SERVER_INIT;
}
