/* The generic tree: nodes, lists, and maps by key. No text formats (tree_json.c, tree_yaml.c), no patches
 * (tree_patch.c), no meaning of any field. How entries of maps are found is in tree_map.c. */
#include "api/tree.h"

#include <assert.h>
#include <stdarg.h>
#include <string.h>

#include "api/tree_priv.h"

static struct tree *node_new(enum tree_type type, size_t text_size);
static void map_clear(struct tree *t);
static struct tree *find_va(const struct tree *t, va_list ap);

struct tree *
tree_null(void)
{
    return node_new(TREE_NULL, 0);
}

struct tree *
tree_bool(bool v)
{
    struct tree *t = node_new(TREE_BOOL, 0);

    t->b = v;
    return t;
}

struct tree *
tree_int(int64_t v)
{
    struct tree *t = node_new(TREE_INT, 0);

    t->i = v;
    return t;
}

struct tree *
tree_float(double v)
{
    struct tree *t = node_new(TREE_FLOAT, 0);

    t->f = v;
    return t;
}

struct tree *
tree_string(const char *s)
{
    return s ? tree_stringn(s, strlen(s)) : tree_null();
}

struct tree *
tree_stringn(const char *s, size_t len)
{
    struct tree *t = node_new(TREE_STRING, len + 1);

    memcpy(t->text, s, len);
    return t;
}

struct tree *
tree_stringf(const char *fmt, ...)
{
    AUTO_SB struct sb sb = SB_INIT;
    va_list ap;

    va_start(ap, fmt);
    sb_vprintf(&sb, fmt, ap);
    va_end(ap);
    return tree_string(sb_str(&sb));
}

struct tree *
tree_list(void)
{
    return node_new(TREE_LIST, 0);
}

struct tree *
tree_map(void)
{
    return node_new(TREE_MAP, 0);
}

void
tree_free(struct tree *t)
{
    if (!t)
        return;
    if (t->type == TREE_LIST) {
        for (size_t i = 0; i < t->list.len; i++)
            tree_free(t->list.items[i]);
        free(t->list.items);
    } else if (t->type == TREE_MAP) {
        map_clear(t);
    }
    free(t);
}

void
tree_auto(struct tree **t)
{
    tree_free(*t);
}

struct tree *
tree_copy(const struct tree *t)
{
    if (!t)
        return NULL;
    struct tree *c;

    switch (t->type) {
    case TREE_BOOL:
        c = tree_bool(t->b);
        break;
    case TREE_INT:
        c = tree_int(t->i);
        break;
    case TREE_FLOAT:
        c = tree_float(t->f);
        break;
    case TREE_STRING:
        c = tree_string(t->text);
        break;
    case TREE_LIST:
        c = tree_list();
        for (size_t i = 0; i < t->list.len; i++)
            tree_append(c, tree_copy(t->list.items[i]));
        break;
    case TREE_MAP:
        c = tree_map();
        for (size_t i = 0; i < t->map.len; i++) {
            const struct tree_entry *e = &t->map.entries[i];

            tree_map_append(c, e->key, e->pos, tree_copy(e->value));
        }
        break;
    case TREE_NULL:
    default:
        c = tree_null();
        break;
    }
    c->pos = t->pos;
    return c;
}

bool
tree_equal(const struct tree *a, const struct tree *b)
{
    if (tree_type(a) != tree_type(b))
        return false;
    switch (tree_type(a)) {
    case TREE_BOOL:
        return a->b == b->b;
    case TREE_INT:
        return a->i == b->i;
    case TREE_FLOAT:
        return a->f <= b->f && a->f >= b->f;
    case TREE_STRING:
        return strcmp(a->text, b->text) == 0;
    case TREE_LIST:
        if (a->list.len != b->list.len)
            return false;
        for (size_t i = 0; i < a->list.len; i++)
            if (!tree_equal(a->list.items[i], b->list.items[i]))
                return false;
        return true;
    case TREE_MAP:
        if (a->map.len != b->map.len)
            return false;
        for (size_t i = 0; i < a->map.len; i++) {
            ptrdiff_t at = tree_map_find(b, a->map.entries[i].key);

            if (at < 0 || !tree_equal(a->map.entries[i].value, b->map.entries[at].value))
                return false;
        }
        return true;
    case TREE_NULL:
    default:
        return true;
    }
}

enum tree_type
tree_type(const struct tree *t)
{
    return t ? t->type : TREE_NULL;
}

const char *
tree_type_name(enum tree_type type)
{
    static const char *const names[] = {
        [TREE_NULL] = "null",    [TREE_BOOL] = "boolean",  [TREE_INT] = "integer",
        [TREE_FLOAT] = "number", [TREE_STRING] = "string", [TREE_LIST] = "list",
        [TREE_MAP] = "map",
    };

    return type >= 0 && type < ARRAY_LEN(names) ? names[type] : "unknown";
}

struct tree_pos
tree_pos(const struct tree *t)
{
    return t ? t->pos : (struct tree_pos){0};
}

void
tree_set_pos(struct tree *t, struct tree_pos pos)
{
    t->pos = pos;
}

bool
tree_get_bool(const struct tree *t, bool dflt)
{
    return tree_type(t) == TREE_BOOL ? t->b : dflt;
}

int64_t
tree_get_int(const struct tree *t, int64_t dflt)
{
    return tree_type(t) == TREE_INT ? t->i : dflt;
}

double
tree_get_float(const struct tree *t, double dflt)
{
    if (tree_type(t) == TREE_INT)
        return (double)t->i;
    return tree_type(t) == TREE_FLOAT ? t->f : dflt;
}

const char *
tree_get_string(const struct tree *t, const char *dflt)
{
    return tree_type(t) == TREE_STRING ? t->text : dflt;
}

size_t
tree_len(const struct tree *t)
{
    if (tree_type(t) == TREE_LIST)
        return t->list.len;
    return tree_type(t) == TREE_MAP ? t->map.len : 0;
}

struct tree *
tree_at(const struct tree *t, size_t i)
{
    if (tree_type(t) == TREE_LIST)
        return i < t->list.len ? t->list.items[i] : NULL;
    return tree_type(t) == TREE_MAP && i < t->map.len ? t->map.entries[i].value : NULL;
}

const char *
tree_key_at(const struct tree *t, size_t i)
{
    return tree_type(t) == TREE_MAP && i < t->map.len ? t->map.entries[i].key : NULL;
}

struct tree_pos
tree_key_pos_at(const struct tree *t, size_t i)
{
    return tree_type(t) == TREE_MAP && i < t->map.len ? t->map.entries[i].pos
                                                      : (struct tree_pos){0};
}

void
tree_set_key_pos_at(struct tree *t, size_t i, struct tree_pos pos)
{
    if (tree_type(t) == TREE_MAP && i < t->map.len)
        t->map.entries[i].pos = pos;
}

struct tree *
tree_get(const struct tree *t, const char *key)
{
    ptrdiff_t at = tree_map_find(t, key);

    return at >= 0 ? t->map.entries[at].value : NULL;
}

struct tree *
tree_find(const struct tree *t, ...)
{
    va_list ap;

    va_start(ap, t);
    struct tree *found = find_va(t, ap);

    va_end(ap);
    return found;
}

const char *
tree_find_string(const struct tree *t, const char *dflt, ...)
{
    va_list ap;

    va_start(ap, dflt);
    const char *s = tree_get_string(find_va(t, ap), dflt);

    va_end(ap);
    return s;
}

void
tree_append(struct tree *list, struct tree *item)
{
    assert(list->type == TREE_LIST && item);
    if (list->list.len == list->list.cap) {
        list->list.cap = list->list.cap ? list->list.cap * 2 : 4;
        list->list.items =
            xreallocarray(list->list.items, list->list.cap, sizeof *list->list.items);
    }
    list->list.items[list->list.len++] = item;
}

void
tree_list_remove(struct tree *list, size_t i)
{
    if (tree_type(list) != TREE_LIST || i >= list->list.len)
        return;
    tree_free(list->list.items[i]);
    memmove(list->list.items + i, list->list.items + i + 1,
            (list->list.len - i - 1) * sizeof *list->list.items);
    list->list.len--;
}

struct tree *
tree_list_take(struct tree *list, size_t i)
{
    if (tree_type(list) != TREE_LIST || i >= list->list.len)
        return NULL;
    struct tree *item = list->list.items[i];

    list->list.items[i] = NULL;
    tree_list_remove(list, i);
    return item;
}

void
tree_set(struct tree *map, const char *key, struct tree *value)
{
    ptrdiff_t at = tree_map_find(map, key);

    if (at < 0) {
        tree_map_append(map, key, (struct tree_pos){0}, value);
        return;
    }
    struct tree *old = map->map.entries[at].value;

    map->map.entries[at].value = value;
    if (old != value)
        tree_free(old);
}

bool
tree_del(struct tree *map, const char *key)
{
    struct tree *value = tree_take(map, key);

    tree_free(value);
    return value;
}

struct tree *
tree_take(struct tree *map, const char *key)
{
    ptrdiff_t at = tree_map_find(map, key);

    if (at < 0)
        return NULL;
    struct tree *value = map->map.entries[at].value;

    map->map.entries[at].value = NULL;
    tree_map_drop(map, (size_t)at);
    tree_map_compact(map);
    return value;
}

struct tree *
tree_ensure_map(struct tree *map, const char *key)
{
    struct tree *child = tree_get(map, key);

    if (tree_type(child) != TREE_MAP) {
        child = tree_map();
        tree_set(map, key, child);
    }
    return child;
}

void
tree_set_path(struct tree *map, struct tree *value, ...)
{
    va_list ap;

    va_start(ap, value);
    const char *key = va_arg(ap, const char *);
    const char *next;

    while (key && (next = va_arg(ap, const char *))) {
        map = tree_ensure_map(map, key);
        key = next;
    }
    va_end(ap);
    if (key)
        tree_set(map, key, value);
    else
        tree_free(value);
}

/* --- shared with the other files of the tree --- */

void
tree_measure(const struct tree *t, struct tree_size *ret)
{
    size_t deepest = 0;

    *ret = (struct tree_size){.nodes = 1, .bytes = 1, .depth = 1};
    ret->bytes += strlen(tree_get_string(t, ""));
    for (size_t i = 0; i < tree_len(t); i++) {
        struct tree_size sub;

        tree_measure(tree_at(t, i), &sub);
        ret->nodes += sub.nodes;
        ret->bytes += sub.bytes;
        if (t->type == TREE_MAP)
            ret->bytes += strlen(t->map.entries[i].key);
        if (sub.depth > deepest)
            deepest = sub.depth;
    }
    ret->depth += deepest;
}

void
tree_one_line(char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            *s = '?';
}

/* --- inside --- */

static struct tree *
node_new(enum tree_type type, size_t text_size)
{
    struct tree *t = xcalloc(1, sizeof *t + text_size);

    t->type = type;
    return t;
}

static void
map_clear(struct tree *t)
{
    for (size_t i = 0; i < t->map.len; i++) {
        free(t->map.entries[i].key);
        tree_free(t->map.entries[i].value);
    }
    free(t->map.entries);
    free(t->map.index);
}

static struct tree *
find_va(const struct tree *t, va_list ap)
{
    const struct tree *at = t;
    const char *key;

    while (at && (key = va_arg(ap, const char *)))
        at = tree_get(at, key);
    return (struct tree *)(uintptr_t)at;
}
