/* Counters by topology; see topo.h. */
#include "sched/topo.h"

#include <string.h>

#include "base/sb.h"
#include "base/strmap.h"

struct topo_key {
    char *key;
    struct strmap *values; /* value -> int64_t * */
    struct topo_key *next;
};

struct topo {
    struct topo_key *keys;
};

static const struct topo_key *find(const struct topo *t, const char *key);
static const int64_t *counter(const struct topo_key *k, const struct node_labels *node);

struct topo *
topo_new(void)
{
    return xcalloc(1, sizeof(struct topo));
}

void
topo_free(struct topo *t)
{
    if (!t)
        return;
    while (t->keys) {
        struct topo_key *k = t->keys;

        t->keys = k->next;
        strmap_free(k->values, free);
        free(k->key);
        free(k);
    }
    free(t);
}

void
topo_add(struct topo *t, const char *key, const struct node_labels *node, int64_t n)
{
    const char *value = node_labels_get(node, key);
    struct topo_key *k = t->keys;
    int64_t *count;

    if (!value)
        return;
    while (k && strcmp(k->key, key) != 0)
        k = k->next;
    if (!k) {
        k = xcalloc(1, sizeof(*k));
        k->key = xstrdup(key);
        k->values = strmap_new();
        k->next = t->keys;
        t->keys = k;
    }
    count = strmap_get(k->values, value);
    if (!count) {
        count = xcalloc(1, sizeof(*count));
        strmap_put(k->values, value, count);
    }
    *count += n;
}

int64_t
topo_get(const struct topo *t, const char *key, const struct node_labels *node)
{
    const int64_t *count = counter(find(t, key), node);

    return count ? *count : 0;
}

bool
topo_has(const struct topo *t, const char *key, const struct node_labels *node)
{
    return counter(find(t, key), node) != NULL;
}

bool
topo_empty(const struct topo *t)
{
    return t->keys == NULL;
}

size_t
topo_domains(const struct topo *t, const char *key, int64_t *ret_min)
{
    const struct topo_key *k = find(t, key);
    void *value;
    size_t it = 0;
    bool first = true;

    *ret_min = 0;
    if (!k)
        return 0;
    while (strmap_next(k->values, &it, NULL, &value)) {
        int64_t n = *(int64_t *)value;

        if (first || n < *ret_min)
            *ret_min = n;
        first = false;
    }
    return strmap_len(k->values);
}

int64_t
topo_sum(const struct topo *t, const struct node_labels *node)
{
    int64_t sum = 0;

    for (const struct topo_key *k = t->keys; k; k = k->next) {
        const int64_t *count = counter(k, node);

        sum += count ? *count : 0;
    }
    return sum;
}

bool
topo_any(const struct topo *t, const struct node_labels *node)
{
    for (const struct topo_key *k = t->keys; k; k = k->next) {
        const int64_t *count = counter(k, node);

        if (count && *count > 0)
            return true;
    }
    return false;
}

static const struct topo_key *
find(const struct topo *t, const char *key)
{
    const struct topo_key *k = t->keys;

    while (k && strcmp(k->key, key) != 0)
        k = k->next;
    return k;
}

static const int64_t *
counter(const struct topo_key *k, const struct node_labels *node)
{
    const char *value = k ? node_labels_get(node, k->key) : NULL;

    return value ? strmap_get(k->values, value) : NULL;
}
