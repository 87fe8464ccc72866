/* Checks trees against the field tables: known and unknown fields, types, required fields, allowed
 * values. The rules that take more than one field to state are in the tables' own check functions.
 * How problems are worded and collected is in check.c. */
#include "api/schema.h"

#include <string.h>
#include <strings.h>

#include "api/limits.h"
#include "base/strmap.h"

#define NAME_MAX_BYTES 64 /* of fields; longer ones are not compared for "did you mean" */

static void drop_nulls(const struct schema *s, struct tree *map);
static const struct field *field_find(const struct schema *s, const char *key);
static const char *kept_find(const struct schema *s, const char *key);
static void check_unknown(const struct schema *s, struct check *c, const struct tree *map,
                          size_t i);
static void check_required_fields(const struct schema *s, struct check *c, const struct tree *map);
static bool check_field(const struct field *f, struct check *c, struct tree *map,
                        struct tree **value);
static bool check_string(const struct field *f, struct check *c, struct tree *v);
static bool check_int(const struct field *f, struct check *c, struct tree *v);
static bool check_quantity_field(const struct field *f, struct check *c, struct tree *map,
                                 struct tree **value);
static bool check_quantity_text(struct check *c, struct tree *v);
static bool check_strings(const struct field *f, struct check *c, struct tree *v);
static bool check_kv(struct check *c, struct tree *map);
static bool check_resources(struct check *c, struct tree *map);
static bool check_list(const struct field *f, struct check *c, struct tree *list);
static void check_unique_names(struct check *c, struct tree *list);
static bool want_type(struct check *c, const struct tree *v, enum tree_type type);
static const char *similar_field(const struct schema *s, const char *key);
static bool similar(const char *a, const char *b);
static void name_once(struct check *c, const void *what);

void
schema_check(const struct schema *s, struct check *c, struct tree *map)
{
    drop_nulls(s, map);
    if (s->prepare)
        s->prepare(c, map);
    for (size_t i = 0; i < tree_len(map); i++) {
        const char *key = tree_key_at(map, i);
        const struct field *f = field_find(s, key);
        struct tree *value = tree_at(map, i);
        struct path p;

        if (!f) {
            check_unknown(s, c, map, i);
            continue;
        }
        if ((f->flags & FIELD_STATUS) && !(c->flags & VALIDATE_STATUS))
            continue;
        check_enter(c, &p, key);
        if (f->flags & FIELD_LATER)
            name_once(c, f);
        if (check_field(f, c, map, &value) && f->check)
            f->check(c, value);
        check_leave(c);
    }
    check_required_fields(s, c, map);
    if (s->check)
        s->check(c, map);
}

static void
drop_nulls(const struct schema *s, struct tree *map)
{
    for (size_t i = tree_len(map); i-- > 0;)
        if (tree_type(tree_at(map, i)) == TREE_NULL && field_find(s, tree_key_at(map, i)))
            tree_del(map, tree_key_at(map, i));
}

static const struct field *
field_find(const struct schema *s, const char *key)
{
    for (const struct field *f = s->fields; f->name; f++)
        if (strcmp(f->name, key) == 0)
            return f;
    return NULL;
}

static const char *
kept_find(const struct schema *s, const char *key)
{
    for (const char *const *k = s->kept; k && *k; k++)
        if (strcmp(*k, key) == 0)
            return *k;
    return NULL;
}

static void
check_unknown(const struct schema *s, struct check *c, const struct tree *map, size_t i)
{
    const char *key = tree_key_at(map, i), *kept = kept_find(s, key);
    struct path p;

    if (s->open && !kept)
        return;
    check_enter(c, &p, key);
    p.raw = !kept;
    if (kept)
        name_once(c, kept);
    else
        check_unknown_field(c, tree_key_pos_at(map, i), similar_field(s, key));
    check_leave(c);
}

static void
check_required_fields(const struct schema *s, struct check *c, const struct tree *map)
{
    for (const struct field *f = s->fields; f->name; f++) {
        if (!(f->flags & FIELD_REQUIRED) || tree_get(map, f->name))
            continue;
        if ((f->flags & FIELD_ONLINE) && (c->flags & VALIDATE_OFFLINE))
            continue;
        check_field_required(c, map, f->name, NULL);
    }
}

/* False when the value is of the wrong type, so that no further rule applies. */
static bool
check_field(const struct field *f, struct check *c, struct tree *map, struct tree **value)
{
    struct tree *v = *value;

    switch ((enum field_type)f->type) {
    case F_STRING:
    case F_OPERATOR:
        return check_string(f, c, v);
    case F_BOOL:
        return want_type(c, v, TREE_BOOL);
    case F_INT:
        return check_int(f, c, v);
    case F_QUANTITY:
    case F_UNITS:
        return check_quantity_field(f, c, map, value);
    case F_DURATION: {
        int64_t us;
        struct err why;

        if (!want_type(c, v, TREE_STRING))
            return false;
        if (duration_parse(tree_get_string(v, ""), &us, &why) != 0)
            check_invalid(c, v, "%s", why.msg);
        return true;
    }
    case F_TIME: {
        int64_t us;
        struct err why;

        if (!want_type(c, v, TREE_STRING))
            return false;
        if (time_parse(tree_get_string(v, ""), &us, &why) != 0)
            check_invalid(c, v, "%s", why.msg);
        return true;
    }
    case F_STRINGS:
        return check_strings(f, c, v);
    case F_KV:
        return check_kv(c, v);
    case F_RESOURCES:
        return check_resources(c, v);
    case F_MAP:
    case F_POINTER:
    case F_VARIANT:
    case F_FEATURE:
        if (!want_type(c, v, TREE_MAP))
            return false;
        if (f->sub)
            schema_check(f->sub, c, v);
        return true;
    case F_LIST:
        return check_list(f, c, v);
    case F_ANY:
    default:
        return true;
    }
}

static bool
check_string(const struct field *f, struct check *c, struct tree *v)
{
    if (!want_type(c, v, TREE_STRING))
        return false;
    if ((f->flags & FIELD_NONEMPTY) && !*tree_get_string(v, ""))
        check_required(c, tree_pos(v), NULL);
    else if (f->values && !check_is_one_of(tree_get_string(v, ""), f->values))
        check_unsupported(c, v, f->values, NULL);
    else
        return true;
    return false;
}

static bool
check_int(const struct field *f, struct check *c, struct tree *v)
{
    if (!want_type(c, v, TREE_INT))
        return false;
    int64_t i = tree_get_int(v, 0);

    if (f->max == 0 || (f->flags & FIELD_CLAMP) || (i >= f->min && i <= f->max))
        return true;
    if (f->max >= INT32_MAX)
        check_invalid(c, v, i < f->min ? "must be greater than or equal to %lld" : "is too large",
                      (long long)f->min);
    else
        check_invalid(c, v, "must be between %lld and %lld", (long long)f->min, (long long)f->max);
    return false;
}

/* A number is as good as a text; it is stored as a text, as upstream does. */
static bool
check_quantity_field(const struct field *f, struct check *c, struct tree *map, struct tree **value)
{
    struct tree *v = *value;

    if (tree_type(v) == TREE_INT || tree_type(v) == TREE_FLOAT) {
        AUTO_SB struct sb text = SB_INIT;

        tree_to_json(v, 0, &text);
        *value = tree_string(sb_str(&text));
        tree_set_pos(*value, tree_pos(v));
        tree_set(map, f->name, *value);
        v = *value;
    }
    if (!check_quantity_text(c, v))
        return false;
    if (f->type == F_UNITS)
        check_not_negative(c, v);
    return true;
}

static bool
check_quantity_text(struct check *c, struct tree *v)
{
    struct quantity q;
    struct err why;

    if (tree_type(v) == TREE_INT || tree_type(v) == TREE_FLOAT)
        return true;
    if (tree_type(v) != TREE_STRING) {
        check_type(c, v, "want a quantity such as 64Mi");
        return false;
    }
    if (quantity_parse(tree_get_string(v, ""), &q, &why) == 0)
        return true;
    check_invalid(c, v, "%s", why.msg);
    return false;
}

static bool
check_strings(const struct field *f, struct check *c, struct tree *v)
{
    bool ok = true;

    if (!want_type(c, v, TREE_LIST))
        return false;
    if ((f->flags & FIELD_NONEMPTY) && tree_len(v) == 0)
        check_required(c, tree_pos(v), NULL);
    if (tree_len(v) > API_MAX_LIST_ITEMS) {
        check_too_many(c, v, API_MAX_LIST_ITEMS);
        return false;
    }
    for (size_t i = 0; i < tree_len(v); i++) {
        struct tree *item = tree_at(v, i);
        struct path p;

        check_enter_item(c, &p, i);
        if (!want_type(c, item, TREE_STRING))
            ok = false;
        else if (f->values && !check_is_one_of(tree_get_string(item, ""), f->values))
            check_unsupported(c, item, f->values, NULL);
        check_leave(c);
    }
    return ok;
}

static bool
check_kv(struct check *c, struct tree *map)
{
    bool ok = true;

    if (!want_type(c, map, TREE_MAP))
        return false;
    for (size_t i = 0; i < tree_len(map); i++) {
        struct tree *v = tree_at(map, i);
        struct path p;

        if (tree_type(v) == TREE_STRING)
            continue;
        check_enter(c, &p, tree_key_at(map, i));
        if (tree_type(v) == TREE_NULL) {
            struct tree *empty = tree_string("");

            check_warn(c, "has no value, which counts as \"\"");
            tree_set_pos(empty, tree_pos(v));
            tree_set(map, tree_key_at(map, i), empty);
        } else {
            ok = want_type(c, v, TREE_STRING) && ok;
        }
        check_leave(c);
    }
    return ok;
}

static bool
check_resources(struct check *c, struct tree *map)
{
    bool ok = true;

    if (!want_type(c, map, TREE_MAP))
        return false;
    if (tree_len(map) > API_MAX_RESOURCES) {
        check_too_many(c, map, API_MAX_RESOURCES);
        return false;
    }
    for (size_t i = 0; i < tree_len(map); i++) {
        static const struct field any = {.name = ""};
        struct tree *v = tree_at(map, i);
        struct field f = any;
        struct path p;

        f.name = tree_key_at(map, i);
        check_enter(c, &p, f.name);
        ok = check_quantity_field(&f, c, map, &v) && ok;
        check_leave(c);
    }
    return ok;
}

static bool
check_list(const struct field *f, struct check *c, struct tree *list)
{
    size_t max = f->max > 0 ? (size_t)f->max : API_MAX_LIST_ITEMS;
    bool ok = true;

    if (!want_type(c, list, TREE_LIST))
        return false;
    if (tree_len(list) > max) {
        check_too_many(c, list, max);
        return false;
    }
    if ((f->flags & FIELD_NONEMPTY) && tree_len(list) == 0)
        check_required(c, tree_pos(list), "must have at least one item");
    for (size_t i = 0; i < tree_len(list); i++) {
        struct path p;

        check_enter_item(c, &p, i);
        if (want_type(c, tree_at(list, i), TREE_MAP))
            schema_check(f->sub, c, tree_at(list, i));
        else
            ok = false;
        check_leave(c);
    }
    if ((f->flags & FIELD_UNIQUE) && ok)
        check_unique_names(c, list);
    return ok;
}

static void
check_unique_names(struct check *c, struct tree *list)
{
    struct strmap *seen = strmap_new();

    for (size_t i = 0; i < tree_len(list); i++) {
        struct tree *v = tree_get(tree_at(list, i), "name");
        const char *name = tree_get_string(v, NULL);
        struct path item, field;

        if (!name || !strmap_put(seen, name, v))
            continue;
        check_enter_item(c, &item, i);
        check_enter(c, &field, "name");
        check_duplicate(c, v);
        check_leave(c);
        check_leave(c);
    }
    strmap_free(seen, NULL);
}

static bool
want_type(struct check *c, const struct tree *v, enum tree_type type)
{
    static const char *const want[] = {
        [TREE_BOOL] = "want true or false", [TREE_INT] = "want an integer",
        [TREE_STRING] = "want a string",    [TREE_LIST] = "want a list",
        [TREE_MAP] = "want a map",
    };

    if (tree_type(v) == type)
        return true;
    check_type(c, v, want[type]);
    return false;
}

/* The field's name that was probably meant, or NULL. */
static const char *
similar_field(const struct schema *s, const char *key)
{
    for (const struct field *f = s->fields; f->name; f++)
        if (similar(f->name, key))
            return f->name;
    for (const char *const *k = s->kept; k && *k; k++)
        if (similar(*k, key))
            return *k;
    return NULL;
}

/* Equal but for case, or one edit apart (two in long names): Levenshtein, two rows. */
static bool
similar(const char *a, const char *b)
{
    size_t la = strlen(a), lb = strlen(b), allowed = la > 7 ? 2 : 1;
    unsigned char rows[2][NAME_MAX_BYTES + 1];

    if (strcasecmp(a, b) == 0)
        return true;
    if (la < 4 || la > NAME_MAX_BYTES || lb > NAME_MAX_BYTES || la > lb + allowed ||
        lb > la + allowed)
        return false;
    for (size_t j = 0; j <= lb; j++)
        rows[0][j] = (unsigned char)j;
    for (size_t i = 1; i <= la; i++) {
        const unsigned char *above = rows[(i - 1) % 2];
        unsigned char *row = rows[i % 2];

        row[0] = (unsigned char)i;
        for (size_t j = 1; j <= lb; j++) {
            unsigned best = above[j - 1] + (a[i - 1] != b[j - 1]);

            if (above[j] + 1u < best)
                best = above[j] + 1u;
            if (row[j - 1] + 1u < best)
                best = row[j - 1] + 1u;
            row[j] = (unsigned char)best;
        }
    }
    return rows[la % 2][lb] <= allowed;
}

/* One warning a field and object, however many items of a list have it. */
static void
name_once(struct check *c, const void *what)
{
    if (!c->warn)
        return;
    for (size_t i = 0; i < c->named_len; i++)
        if (c->named[i] == what)
            return;
    if (c->named_len == CHECK_WARNINGS_MAX)
        return;
    c->named[c->named_len++] = what;
    check_warn(c, "is kept, but not acted on yet");
}
