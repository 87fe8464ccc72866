/* Node objects from files as the hosts of a dev cluster; see dev_cluster.h. */
#include <errno.h>
#include <string.h>

#include "api/names.h"
#include "api/object.h"
#include "cli/dev_cluster.h"

/* A handler gives these itself. */
static bool
is_own_label(const char *key)
{
    return strcmp(key, LABEL_HOSTNAME) == 0 || strcmp(key, LABEL_SCHEDULABLE) == 0;
}

static const char *
quantity_text(const struct tree *object, const char *resource, struct arena *a)
{
    const struct tree *q = tree_find(object, "status", "allocatable", resource, NULL);

    if (!q)
        q = tree_find(object, "status", "capacity", resource, NULL);
    if (tree_type(q) == TREE_INT)
        return arena_printf(a, "%lld", (long long)tree_get_int(q, 0));
    return arena_strdup(a, tree_get_string(q, NULL));
}

int
dev_nodes_load(const char *const *paths, size_t len, struct dev_node_config **ret, size_t *ret_len,
               struct arena *a, struct err *err)
{
    struct warnings warn = {.arena = a};
    AUTO_TREE struct tree *objects = NULL;
    struct dev_node_config *list;
    int rc = manifests_load(paths, len, &objects, &warn, err);

    if (rc != 0)
        return rc;
    list = arena_calloc(a, tree_len(objects), sizeof *list);
    *ret_len = 0;
    for (size_t i = 0; i < tree_len(objects); i++) {
        const struct tree *o = tree_at(objects, i);
        const struct kind_info *kind = object_kind(o);
        struct dev_node_config *n = &list[*ret_len];
        const struct node *node;

        if (!kind || kind->kind != KIND_NODE)
            continue;
        node = node_decode(o, a);
        n->name = node->meta.name;
        n->labels.items = arena_calloc(a, node->meta.labels.len, sizeof *n->labels.items);
        for (size_t k = 0; k < node->meta.labels.len; k++)
            if (!is_own_label(node->meta.labels.items[k].key))
                n->labels.items[n->labels.len++] = node->meta.labels.items[k];
        n->taints = node->taints;
        n->taints_len = node->taints_len;
        n->cpu = quantity_text(o, "cpu", a);
        n->memory = quantity_text(o, "memory", a);
        (*ret_len)++;
    }
    if (*ret_len == 0)
        return err_set(err, -EINVAL, "no Node among the %zu objects that were read",
                       tree_len(objects));
    *ret = list;
    return 0;
}
