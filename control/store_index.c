/* Objects of one kind, sorted by "namespace/name": an array, since lists are read far more often
 * than objects come and go, and a namespace is then one run of it. See store_impl.h. */
#include <string.h>

#include "control/store_impl.h"

static bool find(const struct store_index *ix, const char *key, size_t *ret_pos);

const struct store_object *
store_index_get(const struct store_index *ix, const char *key)
{
    size_t pos;

    return find(ix, key, &pos) ? ix->items[pos] : NULL;
}

void
store_index_put(struct store_index *ix, const struct store_object *o)
{
    size_t pos;

    if (find(ix, o->key, &pos)) {
        store_object_unref(ix->items[pos]);
        ix->items[pos] = o;
        return;
    }
    if (ix->len == ix->cap) {
        ix->cap = ix->cap ? ix->cap * 2 : 16;
        ix->items = xreallocarray(ix->items, ix->cap, sizeof(*ix->items));
    }
    memmove(ix->items + pos + 1, ix->items + pos, (ix->len - pos) * sizeof(*ix->items));
    ix->items[pos] = o;
    ix->len++;
}

void
store_index_del(struct store_index *ix, const char *key)
{
    size_t pos;

    if (!find(ix, key, &pos))
        return;
    store_object_unref(ix->items[pos]);
    ix->len--;
    memmove(ix->items + pos, ix->items + pos + 1, (ix->len - pos) * sizeof(*ix->items));
}

size_t
store_index_lower(const struct store_index *ix, const char *key)
{
    size_t pos;

    find(ix, key, &pos);
    return pos;
}

void
store_index_done(struct store_index *ix)
{
    for (size_t i = 0; i < ix->len; i++)
        store_object_unref(ix->items[i]);
    free(ix->items);
    *ix = (struct store_index){0};
}

char *
store_key(const char *ns, const char *name)
{
    return ns && *ns ? xasprintf("%s/%s", ns, name) : xstrdup(name);
}

/* Binary search; the common case of appending in order is looked at first. */
static bool
find(const struct store_index *ix, const char *key, size_t *ret_pos)
{
    size_t lo = 0, hi = ix->len;

    if (hi > 0 && strcmp(ix->items[hi - 1]->key, key) < 0)
        lo = hi;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = strcmp(ix->items[mid]->key, key);

        if (c == 0) {
            *ret_pos = mid;
            return true;
        }
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    *ret_pos = lo;
    return false;
}
