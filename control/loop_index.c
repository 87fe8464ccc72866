/* A map from key to items; see control/loop_index.h. */
#include "control/loop_index.h"

#include <string.h>

#include "base/sb.h"
#include "base/strmap.h"

struct bucket {
    void **items;
    size_t len, cap;
};

struct loop_index {
    struct strmap *buckets; /* none of them is empty */
};

static bool same(const struct loop_index_keys *held, const char *const *keys, size_t len);
static void add(struct loop_index *ix, void *item, const char *key);
static void drop(struct loop_index *ix, const void *item, const char *key);
static void bucket_free(void *p);

struct loop_index *
loop_index_new(void)
{
    struct loop_index *ix = xcalloc(1, sizeof(*ix));

    ix->buckets = strmap_new();
    return ix;
}

void
loop_index_free(struct loop_index *ix)
{
    if (!ix)
        return;
    strmap_free(ix->buckets, bucket_free);
    free(ix);
}

void
loop_index_set(struct loop_index *ix, void *item, struct loop_index_keys *held,
               const char *const *keys, size_t len)
{
    if (same(held, keys, len))
        return;
    for (size_t i = 0; i < held->len; i++) {
        drop(ix, item, held->items[i]);
        free(held->items[i]);
    }
    free(held->items);
    *held = (struct loop_index_keys){0};
    if (len == 0)
        return;
    held->items = xcalloc(len, sizeof(*held->items));
    held->len = len;
    for (size_t i = 0; i < len; i++) {
        held->items[i] = xstrdup(keys[i]);
        add(ix, item, keys[i]);
    }
}

void *
loop_index_next(const struct loop_index *ix, const char *key, size_t *it)
{
    const struct bucket *b = strmap_get(ix->buckets, key);

    return b && *it < b->len ? b->items[(*it)++] : NULL;
}

size_t
loop_index_count(const struct loop_index *ix, const char *key)
{
    const struct bucket *b = strmap_get(ix->buckets, key);

    return b ? b->len : 0;
}

static bool
same(const struct loop_index_keys *held, const char *const *keys, size_t len)
{
    if (held->len != len)
        return false;
    for (size_t i = 0; i < len; i++)
        if (strcmp(held->items[i], keys[i]) != 0)
            return false;
    return true;
}

static void
add(struct loop_index *ix, void *item, const char *key)
{
    struct bucket *b = strmap_get(ix->buckets, key);

    if (!b) {
        b = xcalloc(1, sizeof(*b));
        strmap_put(ix->buckets, key, b);
    }
    if (b->len == b->cap) {
        b->cap = b->cap ? 2 * b->cap : 4;
        b->items = xreallocarray(b->items, b->cap, sizeof(*b->items));
    }
    b->items[b->len++] = item;
}

static void
drop(struct loop_index *ix, const void *item, const char *key)
{
    struct bucket *b = strmap_get(ix->buckets, key);
    size_t at = 0;

    while (b->items[at] != item)
        at++;
    b->items[at] = b->items[--b->len];
    if (b->len == 0)
        bucket_free(strmap_del(ix->buckets, key));
}

static void
bucket_free(void *p)
{
    struct bucket *b = p;

    free(b->items);
    free(b);
}
