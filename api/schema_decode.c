/* Trees -> typed structs, by the field tables. Takes any tree, checked or not: what is of the wrong
 * type counts as absent, a number beyond its range as the nearest one within. Everything is copied
 * into the arena. */
#include "api/schema.h"

#include <stdlib.h>
#include <string.h>

#include "api/limits.h"
#include "api/selector.h"

static void decode_field(const struct field *f, const struct tree *v, char *base, struct arena *a);
static void decode_int(const struct field *f, const struct tree *v, char *base);
static void decode_strings(const struct tree *v, struct str_list *ret, struct arena *a);
static void decode_kv(const struct tree *v, struct kv_list *ret, struct arena *a);
static void decode_resources(const struct tree *v, struct resource_list *ret, struct arena *a);
static void decode_list(const struct field *f, const struct tree *v, char *base, struct arena *a);
static enum sel_op operator_of(const char *s);
static void *place(char *base, unsigned short at);
static void set_has(const struct field *f, char *base);

void
schema_decode(const struct schema *s, const struct tree *map, void *base, struct arena *a)
{
    for (size_t i = 0; i < tree_len(map); i++) {
        const char *key = tree_key_at(map, i);

        if (!key)
            return; /* a list */
        for (const struct field *f = s->fields; f->name; f++) {
            if (strcmp(f->name, key) == 0) {
                if (f->at || f->second)
                    decode_field(f, tree_at(map, i), base, a);
                break;
            }
        }
    }
}

static void
decode_field(const struct field *f, const struct tree *v, char *base, struct arena *a)
{
    void *at = place(base, f->at);
    bool is_map = tree_type(v) == TREE_MAP;
    int64_t us;

    switch ((enum field_type)f->type) {
    case F_STRING:
    case F_DURATION:
        if (tree_type(v) == TREE_STRING)
            *(const char **)at = arena_strdup(a, tree_get_string(v, ""));
        break;
    case F_OPERATOR:
        *(enum sel_op *)at = operator_of(tree_get_string(v, ""));
        break;
    case F_BOOL:
        if (tree_type(v) == TREE_BOOL) {
            *(bool *)at = tree_get_bool(v, false);
            set_has(f, base);
        }
        break;
    case F_INT:
    case F_UNITS:
        decode_int(f, v, base);
        break;
    case F_QUANTITY:
        *(struct quantity *)at = check_quantity(v);
        break;
    case F_TIME:
        if (time_parse(tree_get_string(v, ""), &us, NULL) == 0)
            *(int64_t *)at = us;
        break;
    case F_STRINGS:
        if (tree_type(v) == TREE_LIST) {
            decode_strings(v, at, a);
            set_has(f, base);
        }
        break;
    case F_KV:
        decode_kv(v, at, a);
        break;
    case F_RESOURCES:
        decode_resources(v, at, a);
        break;
    case F_MAP:
        if (is_map) {
            if (at)
                schema_decode(f->sub, v, at, a);
            set_has(f, base);
        }
        break;
    case F_POINTER:
        if (is_map) {
            void *p = arena_alloc(a, f->sub->size);

            schema_decode(f->sub, v, p, a);
            *(void **)at = p;
        }
        break;
    case F_LIST:
        decode_list(f, v, base, a);
        break;
    case F_VARIANT:
        if (is_map) {
            *(const char **)at = f->name;
            if (f->sub)
                schema_decode(f->sub, v, base, a);
        }
        break;
    case F_FEATURE:
        if (is_map) {
            *(bool *)at = tree_get_bool(tree_get(v, "enabled"), true);
            if (f->sub)
                schema_decode(f->sub, v, base, a);
        }
        break;
    case F_ANY:
    default:
        break;
    }
}

static void
decode_int(const struct field *f, const struct tree *v, char *base)
{
    int64_t *at = place(base, f->at);

    if (f->type == F_UNITS) {
        struct quantity q = check_quantity(v);

        if (!q.set)
            return;
        *at = q.units;
    } else if (tree_type(v) == TREE_INT) {
        int64_t i = tree_get_int(v, 0);

        if (f->max != 0)
            i = i < f->min ? f->min : i > f->max ? f->max : i;
        *at = i;
    } else {
        return;
    }
    set_has(f, base);
}

static void
decode_strings(const struct tree *v, struct str_list *ret, struct arena *a)
{
    *ret = (struct str_list){.items = arena_calloc(a, tree_len(v), sizeof *ret->items)};
    for (size_t i = 0; i < tree_len(v); i++)
        if (tree_type(tree_at(v, i)) == TREE_STRING)
            ret->items[ret->len++] = arena_strdup(a, tree_get_string(tree_at(v, i), ""));
}

static void
decode_kv(const struct tree *v, struct kv_list *ret, struct arena *a)
{
    if (tree_type(v) != TREE_MAP)
        return;
    *ret = (struct kv_list){.items = arena_calloc(a, tree_len(v), sizeof *ret->items)};
    for (size_t i = 0; i < tree_len(v); i++) {
        const struct tree *value = tree_at(v, i);

        if (tree_type(value) == TREE_STRING || tree_type(value) == TREE_NULL)
            ret->items[ret->len++] =
                (struct kv){.key = arena_strdup(a, tree_key_at(v, i)),
                            .value = arena_strdup(a, tree_get_string(value, ""))};
    }
    qsort(ret->items, ret->len, sizeof *ret->items, kv_by_key);
}

static void
decode_resources(const struct tree *v, struct resource_list *ret, struct arena *a)
{
    if (tree_type(v) != TREE_MAP || tree_len(v) > API_MAX_RESOURCES)
        return;
    *ret = (struct resource_list){.items = arena_calloc(a, tree_len(v), sizeof *ret->items)};
    for (size_t i = 0; i < tree_len(v); i++) {
        struct quantity q = check_quantity(tree_at(v, i));

        if (q.set)
            ret->items[ret->len++] =
                (struct resource){.name = arena_strdup(a, tree_key_at(v, i)), .q = q};
    }
}

static void
decode_list(const struct field *f, const struct tree *v, char *base, struct arena *a)
{
    if (tree_type(v) != TREE_LIST)
        return;
    char *items = arena_calloc(a, tree_len(v), f->sub->size);
    size_t len = 0;

    for (size_t i = 0; i < tree_len(v); i++)
        if (tree_type(tree_at(v, i)) == TREE_MAP)
            schema_decode(f->sub, tree_at(v, i), items + len++ * f->sub->size, a);
    *(void **)place(base, f->at) = items;
    *(size_t *)place(base, f->second) = len;
}

static enum sel_op
operator_of(const char *s)
{
    static const char *const names[] = {
        [SEL_IN] = "In",         [SEL_NOT_IN] = "NotIn",
        [SEL_EXISTS] = "Exists", [SEL_DOES_NOT_EXIST] = "DoesNotExist",
        [SEL_GT] = "Gt",         [SEL_LT] = "Lt",
    };

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(names[i], s) == 0)
            return (enum sel_op)i;
    return SEL_UNKNOWN;
}

static void *
place(char *base, unsigned short at)
{
    return at ? base + at - 1 : NULL;
}

static void
set_has(const struct field *f, char *base)
{
    if (f->second)
        *(bool *)place(base, f->second) = true;
}
