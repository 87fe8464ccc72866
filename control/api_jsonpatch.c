/* RFC 6902 JSON Patch; see api_jsonpatch.h. */
#include "control/api_jsonpatch.h"

#include <errno.h>
#include <string.h>

#include "api/limits.h"

/* Where a pointer leads: its parent and its last token. parent NULL: the whole document. */
struct place {
    struct tree *parent;
    char *token;
};

static int apply_one(struct tree **doc, const struct tree *op, size_t *budget, struct err *err);
static int locate(struct tree *doc, const char *pointer, struct place *ret, struct err *err);
static struct tree *look(const struct place *p, struct tree *doc);
static int add(struct tree **doc, const struct place *p, struct tree *value, size_t *budget,
               struct err *err);
static int take(struct tree **doc, const struct place *p, struct tree **ret, struct err *err);
static bool list_index(const char *token, size_t len, size_t *ret);
static char *next_token(const char **pointer);
static size_t count(const struct tree *t);

static void
place_done(struct place *p)
{
    free(p->token);
}
#define AUTO_PLACE CLEANUP(place_done)

int
api_jsonpatch_apply(struct tree **doc, const struct tree *patch, struct err *err)
{
    size_t budget = API_MAX_NODES;

    if (tree_type(patch) != TREE_LIST)
        return err_set(err, -EINVAL, "want a list of operations");
    if (tree_len(patch) > JSONPATCH_MAX_OPS)
        return err_set(err, -EINVAL, "%zu operations: at most %d are allowed", tree_len(patch),
                       JSONPATCH_MAX_OPS);
    for (size_t i = 0; i < tree_len(patch); i++) {
        const struct tree *op = tree_at(patch, i);

        if (apply_one(doc, op, &budget, err) != 0)
            return err_prefix(err, -EINVAL, "operation %zu, %.40s %.200s", i + 1,
                              tree_get_string(tree_get(op, "op"), "(none)"),
                              tree_get_string(tree_get(op, "path"), ""));
    }
    return 0;
}

/* Copies make documents grow, and insertions move items: both draw on one budget of nodes. */
static struct tree *
copy_within(const struct tree *t, size_t *budget)
{
    size_t n = count(t);

    if (n > *budget)
        return NULL;
    *budget -= n;
    return t ? tree_copy(t) : tree_null();
}

static int
apply_one(struct tree **doc, const struct tree *op, size_t *budget, struct err *err)
{
    const char *name = tree_get_string(tree_get(op, "op"), "");
    const char *path = tree_get_string(tree_get(op, "path"), NULL);
    const char *from = tree_get_string(tree_get(op, "from"), NULL);
    const struct tree *value = tree_get(op, "value");
    bool has_value =
        strcmp(name, "add") == 0 || strcmp(name, "replace") == 0 || strcmp(name, "test") == 0;
    bool has_from = strcmp(name, "move") == 0 || strcmp(name, "copy") == 0;
    AUTO_PLACE struct place p = {0}, f = {0};
    AUTO_TREE struct tree *v = NULL, *old = NULL;
    int rc;

    if (!has_value && !has_from && strcmp(name, "remove") != 0)
        return err_set(err, -EINVAL, "want op add, remove, replace, move, copy or test");
    if (!path)
        return err_set(err, -EINVAL, "want a path");
    if (has_value && !value)
        return err_set(err, -EINVAL, "want a value");
    if (has_from && !from)
        return err_set(err, -EINVAL, "want from");
    if (strcmp(name, "move") == 0 && strncmp(path, from, strlen(from)) == 0 &&
        path[strlen(from)] == '/')
        return err_set(err, -EINVAL, "a value cannot be moved into itself");
    if (has_from) {
        rc = locate(*doc, from, &f, err);
        if (rc)
            return rc;
        if (!look(&f, *doc))
            return err_set(err, -EINVAL, "there is nothing at %.200s", from);
        if (strcmp(name, "move") == 0 && (rc = take(doc, &f, &v, err)) != 0)
            return rc;
        value = look(&f, *doc);
    }
    if (!v && (has_value || has_from)) {
        v = copy_within(value, budget);
        if (!v)
            return err_set(err, -EINVAL, "the patch makes the object too large");
    }
    rc = locate(*doc, path, &p, err);
    if (rc)
        return rc;
    if (strcmp(name, "test") == 0)
        return look(&p, *doc) && tree_equal(look(&p, *doc), v)
                   ? 0
                   : err_set(err, -EINVAL, "the value is another one");
    if (strcmp(name, "remove") == 0)
        return take(doc, &p, &old, err);
    if (strcmp(name, "replace") == 0 && (rc = take(doc, &p, &old, err)) != 0)
        return rc;
    return add(doc, &p, TAKE_PTR(v), budget, err);
}

static int
locate(struct tree *doc, const char *pointer, struct place *ret, struct err *err)
{
    struct tree *t = doc;

    if (!*pointer)
        return 0;
    if (*pointer != '/')
        return err_set(err, -EINVAL, "a pointer starts with '/'");
    for (;;) {
        char *token = next_token(&pointer);

        if (!token)
            return err_set(err, -EINVAL, "in a pointer, '~' is followed by 0 or 1");
        if (tree_type(t) != TREE_MAP && tree_type(t) != TREE_LIST) {
            free(token);
            return err_set(err, -EINVAL, "the path leads nowhere");
        }
        if (!*pointer) {
            *ret = (struct place){t, token};
            return 0;
        }

        struct place step = {t, token};

        t = look(&step, doc);
        free(token);
        if (!t)
            return err_set(err, -EINVAL, "the path leads nowhere");
    }
}

static struct tree *
look(const struct place *p, struct tree *doc)
{
    size_t i;

    if (!p->parent)
        return doc;
    if (tree_type(p->parent) == TREE_MAP)
        return tree_get(p->parent, p->token);
    return list_index(p->token, tree_len(p->parent), &i) ? tree_at(p->parent, i) : NULL;
}

/* Takes value. */
static int
add(struct tree **doc, const struct place *p, struct tree *value, size_t *budget, struct err *err)
{
    size_t len, i = 0;

    if (!p->parent) {
        tree_free(*doc);
        *doc = value;
        return 0;
    }
    if (tree_type(p->parent) == TREE_MAP) {
        tree_set(p->parent, p->token, value);
        return 0;
    }
    len = tree_len(p->parent);
    if (strcmp(p->token, "-") != 0 && !list_index(p->token, len + 1, &i)) {
        tree_free(value);
        return err_set(err, -EINVAL, "the list has %zu items", len);
    }
    tree_append(p->parent, value);
    if (strcmp(p->token, "-") == 0)
        return 0;
    if (len - i > *budget)
        return err_set(err, -EINVAL, "the patch moves too many list items");
    *budget -= len - i;
    for (size_t n = len - i; n > 0; n--) /* what was at i and after it goes behind the new item */
        tree_append(p->parent, tree_list_take(p->parent, i));
    return 0;
}

static int
take(struct tree **doc, const struct place *p, struct tree **ret, struct err *err)
{
    size_t i = 0;

    if (!look(p, *doc))
        return err_set(err, -EINVAL, "there is nothing");
    if (!p->parent) {
        *ret = *doc;
        *doc = tree_null();
    } else if (tree_type(p->parent) == TREE_MAP) {
        *ret = tree_take(p->parent, p->token);
    } else {
        list_index(p->token, tree_len(p->parent), &i);
        *ret = tree_list_take(p->parent, i);
    }
    return 0;
}

/* A list index below len, written as JSON Pointer wants it: no sign, no leading zeros. */
static bool
list_index(const char *token, size_t len, size_t *ret)
{
    size_t n = strlen(token), v = 0;

    if (n == 0 || n > 9 || strspn(token, "0123456789") != n || (*token == '0' && n > 1))
        return false;
    for (const char *c = token; *c; c++)
        v = v * 10 + (size_t)(*c - '0');
    *ret = v;
    return v < len;
}

/* The token after the '/' at *pointer, decoded; NULL when it is malformed. */
static char *
next_token(const char **pointer)
{
    const char *s = *pointer + 1;
    size_t n = strcspn(s, "/");
    char *token = xmalloc(n + 1), *to = token;

    for (const char *end = s + n; s < end; s++) {
        if (*s == '~' && s[1] != '0' && s[1] != '1') {
            free(token);
            return NULL;
        }
        if (*s == '~')
            *to++ = *++s == '0' ? '~' : '/';
        else
            *to++ = *s;
    }
    *to = '\0';
    *pointer = s;
    return token;
}

static size_t
count(const struct tree *t)
{
    size_t n = 1;

    for (size_t i = 0; i < tree_len(t); i++)
        n += count(tree_at(t, i));
    return n;
}
