/* Maps of the generic tree: entries in the order of insertion, in an array; beyond a few keys a hash index
 * with a secret seed finds them, so that neither large nor hostile maps make lookups linear. */
#include "api/tree_priv.h"

#include <assert.h>
#include <string.h>

#include "base/rng.h"

#define INDEX_MIN_KEYS 12 /* smaller maps are searched one by one */

static void index_build(struct tree *map);
static void index_put(struct tree *map, size_t entry);
static void index_forget(struct tree *map);
static uint64_t hash_key(const char *key);
static uint64_t hash_secret(void);

ptrdiff_t
tree_map_find(const struct tree *map, const char *key)
{
    if (tree_type(map) != TREE_MAP)
        return -1;
    if (!map->map.index) {
        for (size_t i = 0; i < map->map.len; i++)
            if (strcmp(map->map.entries[i].key, key) == 0)
                return (ptrdiff_t)i;
        return -1;
    }
    size_t mask = map->map.index_size - 1;

    for (size_t at = hash_key(key) & mask; map->map.index[at]; at = (at + 1) & mask) {
        size_t i = map->map.index[at] - 1;

        if (strcmp(map->map.entries[i].key, key) == 0)
            return (ptrdiff_t)i;
    }
    return -1;
}

void
tree_map_append(struct tree *map, const char *key, struct tree_pos pos, struct tree *value)
{
    assert(map->type == TREE_MAP && value);
    if (map->map.len == map->map.cap) {
        map->map.cap = map->map.cap ? map->map.cap * 2 : 4;
        map->map.entries = xreallocarray(map->map.entries, map->map.cap, sizeof *map->map.entries);
    }
    map->map.entries[map->map.len++] =
        (struct tree_entry){.key = xstrdup(key), .value = value, .pos = pos};
    if (map->map.index && map->map.len * 2 <= map->map.index_size)
        index_put(map, map->map.len - 1);
    else if (map->map.len >= INDEX_MIN_KEYS)
        index_build(map);
}

void
tree_map_drop(struct tree *map, size_t i)
{
    struct tree_entry *e = &map->map.entries[i];

    tree_free(e->value);
    e->value = NULL;
}

void
tree_map_compact(struct tree *map)
{
    size_t kept = 0;

    for (size_t i = 0; i < map->map.len; i++) {
        struct tree_entry *e = &map->map.entries[i];

        if (e->value)
            map->map.entries[kept++] = *e;
        else
            free(e->key);
    }
    if (kept == map->map.len)
        return;
    map->map.len = kept;
    index_forget(map);
    if (kept >= INDEX_MIN_KEYS)
        index_build(map);
}

static void
index_build(struct tree *map)
{
    size_t size = 32;

    while (size < map->map.len * 4)
        size *= 2;
    index_forget(map);
    map->map.index = xcalloc(size, sizeof *map->map.index);
    map->map.index_size = size;
    for (size_t i = 0; i < map->map.len; i++)
        index_put(map, i);
}

static void
index_put(struct tree *map, size_t entry)
{
    size_t mask = map->map.index_size - 1;
    size_t at = hash_key(map->map.entries[entry].key) & mask;

    while (map->map.index[at])
        at = (at + 1) & mask;
    map->map.index[at] = (uint32_t)entry + 1;
}

static void
index_forget(struct tree *map)
{
    free(map->map.index);
    map->map.index = NULL;
    map->map.index_size = 0;
}

/* Eight bytes a step through a bijective mixer that starts from a secret: keys that collide cannot
 * be chosen from outside. The seed never shows, since the index does not order anything. */
static uint64_t
hash_key(const char *key)
{
    size_t len = strlen(key);
    uint64_t h = rng_mix(hash_secret() ^ len);

    while (len > 0) {
        uint64_t word = 0;
        size_t n = len < 8 ? len : 8;

        memcpy(&word, key, n);
        h = rng_mix(h ^ word);
        key += n;
        len -= n;
    }
    return h;
}

/* One value for the life of the process, whichever thread asks first. */
static uint64_t
hash_secret(void)
{
    static uint64_t secret;
    uint64_t now = __atomic_load_n(&secret, __ATOMIC_ACQUIRE);

    if (now != 0)
        return now;
    uint64_t drawn, none = 0;

    if (rng_secret(&drawn, sizeof drawn) != 0 || drawn == 0)
        drawn = rng_mix((uintptr_t)&drawn);
    if (__atomic_compare_exchange_n(&secret, &none, drawn, false, __ATOMIC_ACQ_REL,
                                    __ATOMIC_ACQUIRE))
        return drawn;
    return none;
}
