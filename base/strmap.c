/* String map: open addressing over an insertion-ordered array of entries; see strmap.h. */
#include "base/strmap.h"

#include <stdint.h>
#include <string.h>

#include "base/sb.h"

struct entry {
    char *key; /* NULL: deleted */
    void *value;
    uint64_t hash;
};

struct strmap {
    struct entry *entries;
    size_t entries_len, entries_cap; /* with holes of deleted ones */
    size_t len;
    uint32_t *slots;   /* index + 1 into entries; 0 empty; UINT32_MAX was deleted */
    size_t slots_len;  /* a power of two */
    size_t slots_used; /* with deleted ones */
};

#define SLOT_DELETED UINT32_MAX

static uint64_t hash_of(const char *s);
static bool find(const struct strmap *m, const char *key, uint64_t h, size_t *slot);
static void rebuild(struct strmap *m);

struct strmap *
strmap_new(void)
{
    return xcalloc(1, sizeof(struct strmap));
}

void
strmap_free(struct strmap *m, void (*free_value)(void *))
{
    if (!m)
        return;
    for (size_t i = 0; i < m->entries_len; i++) {
        if (m->entries[i].key && free_value)
            free_value(m->entries[i].value);
        free(m->entries[i].key);
    }
    free(m->entries);
    free(m->slots);
    free(m);
}

size_t
strmap_len(const struct strmap *m)
{
    return m->len;
}

void *
strmap_get(const struct strmap *m, const char *key)
{
    size_t slot;

    return find(m, key, hash_of(key), &slot) ? m->entries[m->slots[slot] - 1].value : NULL;
}

void *
strmap_put(struct strmap *m, const char *key, void *value)
{
    uint64_t h = hash_of(key);
    size_t slot;

    if (find(m, key, h, &slot)) {
        struct entry *e = &m->entries[m->slots[slot] - 1];
        void *old = e->value;

        e->value = value;
        return old;
    }
    if ((m->slots_used + 1) * 4 > m->slots_len * 3 || m->entries_len == m->entries_cap) {
        rebuild(m);
        find(m, key, h, &slot);
    }
    if (m->slots[slot] == 0)
        m->slots_used++;
    m->entries[m->entries_len] = (struct entry){xstrdup(key), value, h};
    m->slots[slot] = (uint32_t)++m->entries_len;
    m->len++;
    return NULL;
}

void *
strmap_del(struct strmap *m, const char *key)
{
    size_t slot;

    if (!find(m, key, hash_of(key), &slot))
        return NULL;

    struct entry *e = &m->entries[m->slots[slot] - 1];
    void *value = e->value;

    free(e->key);
    *e = (struct entry){0};
    m->slots[slot] = SLOT_DELETED;
    m->len--;
    return value;
}

bool
strmap_next(const struct strmap *m, size_t *it, const char **key, void **value)
{
    for (; *it < m->entries_len; (*it)++) {
        const struct entry *e = &m->entries[*it];

        if (!e->key)
            continue;
        if (key)
            *key = e->key;
        if (value)
            *value = e->value;
        (*it)++;
        return true;
    }
    return false;
}

/* Where key is (true), or where it would go (false; only meaningful when there are slots). */
static bool
find(const struct strmap *m, const char *key, uint64_t h, size_t *slot)
{
    size_t mask = m->slots_len - 1, free_slot = SIZE_MAX;

    if (m->slots_len == 0)
        return false;
    for (size_t i = h & mask;; i = (i + 1) & mask) {
        uint32_t s = m->slots[i];

        if (s == 0) {
            *slot = free_slot != SIZE_MAX ? free_slot : i;
            return false;
        }
        if (s == SLOT_DELETED) {
            if (free_slot == SIZE_MAX)
                free_slot = i;
        } else if (m->entries[s - 1].hash == h && strcmp(m->entries[s - 1].key, key) == 0) {
            *slot = i;
            return true;
        }
    }
}

/* Closes the holes, doubles what is too small, and fills the slots anew. */
static void
rebuild(struct strmap *m)
{
    size_t n = 0;

    for (size_t i = 0; i < m->entries_len; i++)
        if (m->entries[i].key)
            m->entries[n++] = m->entries[i];
    m->entries_len = n;
    if (n + 1 > m->entries_cap / 2) {
        m->entries_cap = m->entries_cap ? m->entries_cap * 2 : 8;
        m->entries = xreallocarray(m->entries, m->entries_cap, sizeof *m->entries);
    }

    size_t want = 16;

    while (want * 3 < m->entries_cap * 4 + 4)
        want *= 2;
    free(m->slots);
    m->slots = xcalloc(want, sizeof *m->slots);
    m->slots_len = want;
    m->slots_used = n;
    for (size_t i = 0; i < n; i++) {
        size_t s = m->entries[i].hash & (want - 1);

        while (m->slots[s])
            s = (s + 1) & (want - 1);
        m->slots[s] = (uint32_t)i + 1;
    }
}

static uint64_t
hash_of(const char *s)
{
    uint64_t h = 0xcbf29ce484222325u; /* FNV-1a, then a finaliser: only our own keys get here */

    for (; *s; s++)
        h = (h ^ (unsigned char)*s) * 0x100000001b3u;
    h ^= h >> 32;
    return h * 0x9e3779b97f4a7c15u;
}
