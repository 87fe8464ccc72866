/* How interfaces were before drover touched them: looking up, and the form that the handler's journal
 * keeps; see net_plan.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "netpolicy/net_plan.h"
#include "netpolicy/net_state_tree.h"

/* In the order of their bits. */
static const char *const field_names[] = {
    "up",     "mtu",  "mac",  "controller", "ipv4",      "ipv6",
    "bridge", "bond", "base", "limit",      "arpIgnore",
};

static int before_from_tree(const struct tree *t, struct arena *a, struct net_before *ret,
                            struct err *err);

const struct net_before *
net_baseline_find(const struct net_baseline *b, const char *name)
{
    size_t low = 0, high = b->len;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int d = strcmp(name, b->items[mid].name);

        if (d == 0)
            return &b->items[mid];
        if (d < 0)
            high = mid;
        else
            low = mid + 1;
    }
    return NULL;
}

struct tree *
net_baseline_tree(const struct net_baseline *b)
{
    struct tree *t = tree_map(), *list = tree_list();

    for (size_t i = 0; i < b->len; i++) {
        struct tree *item = tree_map(), *fields = tree_list();

        for (unsigned bit = 0; bit < ARRAY_LEN(field_names); bit++)
            if (b->items[i].fields & (1u << bit))
                tree_append(fields, tree_string(field_names[bit]));
        tree_set(item, "existed", tree_bool(b->items[i].existed));
        tree_set(item, "changed", fields);
        tree_set(item, "interface", net_link_tree(&b->items[i].link, NULL));
        tree_append(list, item);
    }
    tree_set(t, "before", list);
    return t;
}

static int
compare_before(const void *x, const void *y)
{
    const struct net_before *a = x, *b = y;

    return strcmp(a->name, b->name);
}

int
net_baseline_from_tree(const struct tree *t, struct arena *a, struct net_baseline *ret,
                       struct err *err)
{
    const struct tree *list = tree_get(t, "before");
    struct net_baseline b = {0};
    int rc;

    if (tree_type(t) != TREE_MAP || tree_type(list) != TREE_LIST)
        return err_set(err, -EINVAL, "baseline: want a map with a list \"before\"");
    if (tree_len(list) > NET_MAX_LINKS)
        return err_set(err, -E2BIG, "before: %zu interfaces; at most %d are read", tree_len(list),
                       NET_MAX_LINKS);
    b.items = arena_calloc(a, tree_len(list), sizeof *b.items);
    for (; b.len < tree_len(list); b.len++)
        if ((rc = before_from_tree(tree_at(list, b.len), a, &b.items[b.len], err)) != 0)
            return err_prefix(err, rc, "before[%zu]", b.len);
    if (b.len > 0)
        qsort(b.items, b.len, sizeof *b.items, compare_before);
    for (size_t i = 1; i < b.len; i++)
        if (compare_before(&b.items[i - 1], &b.items[i]) == 0)
            return err_set(err, -EINVAL, "before: \"%s\" is there twice", b.items[i].name);
    *ret = b;
    return 0;
}

static int
before_from_tree(const struct tree *t, struct arena *a, struct net_before *ret, struct err *err)
{
    const struct tree *fields = tree_get(t, "changed");
    struct net_before b = {0};
    int rc;

    if (tree_type(tree_get(t, "existed")) != TREE_BOOL || tree_type(fields) != TREE_LIST)
        return err_set(err, -EINVAL, "want \"existed\" (true or false) and a list \"changed\"");
    b.existed = tree_get_bool(tree_get(t, "existed"), false);
    for (size_t i = 0; i < tree_len(fields); i++) {
        const char *name = tree_get_string(tree_at(fields, i), "");
        unsigned bit = 0;

        while (bit < ARRAY_LEN(field_names) && strcmp(name, field_names[bit]) != 0)
            bit++;
        if (bit == ARRAY_LEN(field_names))
            return err_set(err, -EINVAL, "changed[%zu]: \"%.64s\" is no attribute", i, name);
        b.fields |= 1u << bit;
    }
    if ((rc = net_link_from_tree(tree_get(t, "interface"), a, &b.link, err)) != 0)
        return rc;
    memcpy(b.name, b.link.name, sizeof b.name);
    *ret = b;
    return 0;
}
