/* kubectl --field-selector: terms "path=value", "path==value" and "path!=value", all of which must
 * hold, against the scalars of a tree. Unlike upstream any path may be asked for. Part of selector.h. */
#include "api/selector.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/tree.h"
#include "base/sb.h"

#define TERMS_MAX 32

struct term {
    char *path; /* with NULs in place of the dots; parts of them */
    size_t parts;
    char *value;
    bool negated;
};

struct field_selector {
    struct term terms[TERMS_MAX];
    size_t len;
};

static int parse_term(struct field_selector *s, const char *text, size_t len, struct err *err);
static bool term_matches(const struct term *t, const struct tree *object);
static const char *scalar_text(const struct tree *t, char *buf, size_t size);
static void auto_selector(struct field_selector **s);

int
field_selector_parse(const char *text, struct field_selector **ret, struct err *err)
{
    CLEANUP(auto_selector)
    struct field_selector *s = xcalloc(1, sizeof *s);

    while (*text) {
        size_t len = strcspn(text, ",");

        if (len > 0) {
            int rc = parse_term(s, text, len, err);

            if (rc != 0)
                return rc;
        }
        text += len + (text[len] == ',');
    }
    *ret = TAKE_PTR(s);
    return 0;
}

bool
field_selector_matches(const struct field_selector *s, const struct tree *object)
{
    for (size_t i = 0; i < s->len; i++)
        if (!term_matches(&s->terms[i], object))
            return false;
    return true;
}

void
field_selector_free(struct field_selector *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->len; i++) {
        free(s->terms[i].path);
        free(s->terms[i].value);
    }
    free(s);
}

static int
parse_term(struct field_selector *s, const char *text, size_t len, struct err *err)
{
    size_t path_len = strcspn(text, "=!,");
    const char *op = text + path_len, *value;
    bool negated = *op == '!';

    if (path_len >= len || (negated && op[1] != '='))
        return err_set(err, -EINVAL, "field selector \"%.*s\": want path=value or path!=value",
                       (int)(len > 200 ? 200 : len), text);
    if (path_len == 0 || text[0] == '.' || text[path_len - 1] == '.' ||
        memmem(text, path_len, "..", 2) || memchr(text, ' ', path_len))
        return err_set(err, -EINVAL,
                       "field selector \"%.*s\": the path is names joined by dots, such as "
                       "status.phase",
                       (int)(len > 200 ? 200 : len), text);
    if (s->len == TERMS_MAX)
        return err_set(err, -E2BIG, "a field selector has at most %d terms", TERMS_MAX);
    value = op + 1 + (op[1] == '=');
    struct term *t = &s->terms[s->len++];

    t->negated = negated;
    t->path = xstrndup(text, path_len);
    t->value = xstrndup(value, len - (size_t)(value - text));
    t->parts = 1;
    for (char *c = t->path; *c; c++) {
        if (*c == '.') {
            *c = '\0';
            t->parts++;
        }
    }
    return 0;
}

static bool
term_matches(const struct term *t, const struct tree *object)
{
    char buf[32];
    const char *part = t->path;

    for (size_t i = 0; i < t->parts; i++, part += strlen(part) + 1)
        object = tree_get(object, part);
    bool equal = strcmp(scalar_text(object, buf, sizeof buf), t->value) == 0;

    return equal != t->negated;
}

static const char *
scalar_text(const struct tree *t, char *buf, size_t size)
{
    if (tree_type(t) == TREE_BOOL)
        return tree_get_bool(t, false) ? "true" : "false";
    if (tree_type(t) == TREE_INT) {
        snprintf(buf, size, "%" PRId64, tree_get_int(t, 0));
        return buf;
    }
    return tree_get_string(t, "");
}

static void
auto_selector(struct field_selector **s)
{
    field_selector_free(*s);
}
