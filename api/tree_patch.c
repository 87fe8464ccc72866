/* Patches on trees: RFC 7386 merge patches, the merge patch between two trees, and Kubernetes'
 * strategic merge patch for core/v1 (sigs.k8s.io/structured-merge-diff's older sibling, apimachinery's
 * strategicpatch), as far as kubectl's label, annotate, taint, cordon, edit and apply send it. */
#include "api/tree.h"

#include <errno.h>
#include <string.h>

#include "api/limits.h"
#include "api/tree_priv.h"

/* Lists that merge: by a key of their items, or (key NULL) as sets of strings. */
static const struct merge_list {
    const char *parent, *name, *key;
} merge_lists[] = {
    {"metadata", "finalizers", NULL}, {"metadata", "ownerReferences", "uid"},
    {"status", "conditions", "type"}, {"status", "addresses", "type"},
    {"spec", "podCIDRs", NULL},
};

static struct tree *merge_value(struct tree *target, const struct tree *patch);
static int strategic_map(struct tree *target, const struct tree *patch, const char *name,
                         struct err *err);
static int strategic_value(struct tree *target, const char *parent, const char *key,
                           const struct tree *value, struct err *err);
static int strategic_keyed(struct tree *list, const struct tree *patch, const char *merge_key,
                           struct err *err);
static void strategic_set(struct tree *list, const struct tree *patch);
static void remove_strings(struct tree *list, const struct tree *gone);
static int set_order(struct tree *list, const struct tree *order, const char *merge_key);
static void retain_keys(struct tree *target, const struct tree *keys, const struct tree *patch);
static const struct merge_list *merge_list_find(const char *parent, const char *name);
static ptrdiff_t item_find(const struct tree *list, const char *merge_key, const struct tree *item);
static struct tree *without_directives(const struct tree *t);

/* --- RFC 7386 --- */

void
tree_merge_patch(struct tree *target, const struct tree *patch)
{
    bool dropped = false;

    for (size_t i = 0; i < tree_len(patch); i++) {
        const char *key = tree_key_at(patch, i);
        const struct tree *value = tree_at(patch, i);
        ptrdiff_t at = tree_map_find(target, key);

        if (tree_type(value) == TREE_NULL) {
            if (at >= 0)
                tree_map_drop(target, (size_t)at);
            dropped |= at >= 0;
        } else if (at >= 0) {
            target->map.entries[at].value = merge_value(target->map.entries[at].value, value);
        } else {
            tree_map_append(target, key, (struct tree_pos){0}, merge_value(NULL, value));
        }
    }
    if (dropped)
        tree_map_compact(target);
}

struct tree *
tree_merge_diff(const struct tree *from, const struct tree *to)
{
    if (tree_type(to) != TREE_MAP || tree_type(from) != TREE_MAP)
        return tree_equal(from, to) ? NULL : tree_copy(to);
    AUTO_TREE struct tree *diff = tree_map();

    for (size_t i = 0; i < to->map.len; i++) {
        const struct tree_entry *e = &to->map.entries[i];
        ptrdiff_t at = tree_map_find(from, e->key);

        if (e->value->type == TREE_NULL)
            continue; /* absent, to a merge patch */
        if (at < 0) {
            tree_map_append(diff, e->key, e->pos, tree_copy(e->value));
            continue;
        }
        struct tree *sub = tree_merge_diff(from->map.entries[at].value, e->value);

        if (sub)
            tree_map_append(diff, e->key, e->pos, sub);
    }
    for (size_t i = 0; i < from->map.len; i++) {
        const struct tree_entry *e = &from->map.entries[i];

        if (tree_type(tree_get(to, e->key)) == TREE_NULL)
            tree_map_append(diff, e->key, (struct tree_pos){0}, tree_null());
    }
    return diff->map.len > 0 ? TAKE_PTR(diff) : NULL;
}

/* What stands in target's place after the patch. Takes target (may be NULL). */
static struct tree *
merge_value(struct tree *target, const struct tree *patch)
{
    if (patch->type != TREE_MAP) {
        tree_free(target);
        return tree_copy(patch);
    }
    if (!target || target->type != TREE_MAP) {
        tree_free(target);
        target = tree_map();
        target->pos = patch->pos;
    }
    tree_merge_patch(target, patch);
    return target;
}

/* --- strategic --- */

int
tree_strategic_patch(struct tree *target, const struct tree *patch, struct err *err)
{
    if (tree_type(target) != TREE_MAP || tree_type(patch) != TREE_MAP)
        return err_set(err, -EINVAL, "a strategic merge patch must be a map, not a %s",
                       tree_type_name(tree_type(patch)));
    return strategic_map(target, patch, "", err);
}

/* name: the field that target stands in; a merging list is known by it and its own name. */
static int
strategic_map(struct tree *target, const struct tree *patch, const char *name, struct err *err)
{
    const char *directive = tree_get_string(tree_get(patch, "$patch"), NULL);

    if (directive && strcmp(directive, "replace") != 0 && strcmp(directive, "merge") != 0 &&
        strcmp(directive, "delete") != 0)
        return err_set(err, -EINVAL, "$patch: \"%.60s\": want replace, merge or delete", directive);
    if (directive && strcmp(directive, "merge") != 0) {
        for (size_t i = 0; i < target->map.len; i++)
            tree_map_drop(target, i);
        tree_map_compact(target);
        if (strcmp(directive, "delete") == 0)
            return 0;
    }
    if (tree_get(patch, "$retainKeys"))
        retain_keys(target, tree_get(patch, "$retainKeys"), patch);
    for (size_t i = 0; i < patch->map.len; i++) {
        const char *key = patch->map.entries[i].key;

        if (key[0] == '$')
            continue;
        int rc = strategic_value(target, name, key, patch->map.entries[i].value, err);

        if (rc != 0)
            return rc;
    }
    for (size_t i = 0; i < patch->map.len; i++) {
        const char *key = patch->map.entries[i].key;
        const struct tree *value = patch->map.entries[i].value;
        const char *slash = strchr(key, '/');

        if (key[0] != '$')
            continue;
        if (slash && strncmp(key, "$deleteFromPrimitiveList/", 25) == 0) {
            remove_strings(tree_get(target, slash + 1), value);
        } else if (slash && strncmp(key, "$setElementOrder/", 17) == 0) {
            const struct merge_list *m = merge_list_find(name, slash + 1);

            if (m && set_order(tree_get(target, slash + 1), value, m->key) != 0)
                return err_set(err, -EINVAL, "%.100s: want a list of at most %d items", key,
                               API_MAX_MERGE_ITEMS);
        } else if (strcmp(key, "$patch") != 0 && strcmp(key, "$retainKeys") != 0) {
            return err_set(err, -EINVAL, "%.100s: unknown directive", key);
        }
    }
    return 0;
}

/* The selector of a PodDisruptionBudget: patchStrategy replace. */
static bool
is_replaced(const char *parent, const char *key)
{
    return strcmp(parent, "spec") == 0 && strcmp(key, "selector") == 0;
}

static int
strategic_value(struct tree *target, const char *parent, const char *key, const struct tree *value,
                struct err *err)
{
    const struct merge_list *m = merge_list_find(parent, key);
    struct tree *old = tree_get(target, key);

    if (value->type == TREE_NULL) {
        tree_del(target, key);
        return 0;
    }
    if (value->type == TREE_MAP) {
        const char *directive = tree_get_string(tree_get(value, "$patch"), "");

        if (strcmp(directive, "delete") == 0) {
            tree_del(target, key);
            return 0;
        }
        if (is_replaced(parent, key))
            tree_del(target, key);
        return strategic_map(tree_ensure_map(target, key), value, key, err);
    }
    if (value->type != TREE_LIST || !m) {
        tree_set(target, key, without_directives(value));
        return 0;
    }
    if (tree_len(value) > API_MAX_MERGE_ITEMS || tree_len(old) > API_MAX_MERGE_ITEMS)
        return err_set(err, -E2BIG, "%s.%s: at most %d items", parent, key, API_MAX_MERGE_ITEMS);
    if (tree_type(old) != TREE_LIST) {
        old = tree_list();
        tree_set(target, key, old);
    }
    if (!m->key) {
        strategic_set(old, value);
        return 0;
    }
    return strategic_keyed(old, value, m->key, err);
}

static int
strategic_keyed(struct tree *list, const struct tree *patch, const char *merge_key, struct err *err)
{
    for (size_t i = 0; i < tree_len(patch); i++) {
        const char *directive = tree_get_string(tree_get(tree_at(patch, i), "$patch"), "");

        if (strcmp(directive, "replace") == 0)
            while (tree_len(list) > 0)
                tree_list_remove(list, tree_len(list) - 1);
    }
    for (size_t i = 0; i < tree_len(patch); i++) {
        const struct tree *item = tree_at(patch, i);
        const char *directive = tree_get_string(tree_get(item, "$patch"), "");

        if (!tree_get_string(tree_get(item, merge_key), NULL)) {
            if (strcmp(directive, "replace") == 0)
                continue; /* the marker itself */
            return err_set(err, -EINVAL, "item %zu of a list that merges by \"%s\" has no \"%s\"",
                           i, merge_key, merge_key);
        }
        ptrdiff_t at = item_find(list, merge_key, item);

        if (strcmp(directive, "delete") == 0) {
            if (at >= 0)
                tree_list_remove(list, (size_t)at);
        } else if (at < 0) {
            tree_append(list, without_directives(item));
        } else {
            int rc = strategic_map(tree_at(list, (size_t)at), item, "", err);

            if (rc != 0)
                return rc;
        }
    }
    return 0;
}

static void
strategic_set(struct tree *list, const struct tree *patch)
{
    for (size_t i = 0; i < tree_len(patch); i++)
        if (item_find(list, NULL, tree_at(patch, i)) < 0)
            tree_append(list, without_directives(tree_at(patch, i)));
}

static void
remove_strings(struct tree *list, const struct tree *gone)
{
    for (size_t i = 0; i < tree_len(gone) && i < API_MAX_MERGE_ITEMS; i++) {
        ptrdiff_t at = item_find(list, NULL, tree_at(gone, i));

        if (at >= 0)
            tree_list_remove(list, (size_t)at);
    }
}

/* Items that the order names come first and in that order; the others keep theirs, behind. */
static int
set_order(struct tree *list, const struct tree *order, const char *merge_key)
{
    size_t placed = 0;

    if (tree_type(order) != TREE_LIST || tree_len(order) > API_MAX_MERGE_ITEMS)
        return -EINVAL;
    for (size_t i = 0; i < tree_len(order); i++) {
        ptrdiff_t at = item_find(list, merge_key, tree_at(order, i));

        if (at < 0 || (size_t)at < placed)
            continue;
        struct tree *item = list->list.items[at];

        memmove(list->list.items + placed + 1, list->list.items + placed,
                ((size_t)at - placed) * sizeof *list->list.items);
        list->list.items[placed++] = item;
    }
    return 0;
}

static void
retain_keys(struct tree *target, const struct tree *keys, const struct tree *patch)
{
    for (size_t i = 0; i < target->map.len; i++) {
        const char *key = target->map.entries[i].key;
        bool kept = tree_get(patch, key);

        for (size_t k = 0; k < tree_len(keys) && k < API_MAX_MERGE_ITEMS && !kept; k++)
            kept = strcmp(tree_get_string(tree_at(keys, k), ""), key) == 0;
        if (!kept)
            tree_map_drop(target, i);
    }
    tree_map_compact(target);
}

static const struct merge_list *
merge_list_find(const char *parent, const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(merge_lists); i++)
        if (strcmp(merge_lists[i].parent, parent) == 0 && strcmp(merge_lists[i].name, name) == 0)
            return &merge_lists[i];
    return NULL;
}

/* The item of list with item's value under merge_key; without a key, an equal item. -1: none. */
static ptrdiff_t
item_find(const struct tree *list, const char *merge_key, const struct tree *item)
{
    const struct tree *want = merge_key ? tree_get(item, merge_key) : item;

    if (tree_type(list) != TREE_LIST || !want)
        return -1;
    for (size_t i = 0; i < list->list.len; i++) {
        const struct tree *it = list->list.items[i];

        if (tree_equal(merge_key ? tree_get(it, merge_key) : it, want))
            return (ptrdiff_t)i;
    }
    return -1;
}

/* A copy as it is stored: no directives, and no nulls in maps, which only ask for deletion. */
static struct tree *
without_directives(const struct tree *t)
{
    struct tree *c;

    switch (tree_type(t)) {
    case TREE_MAP:
        c = tree_map();
        for (size_t i = 0; i < t->map.len; i++)
            if (t->map.entries[i].key[0] != '$' && t->map.entries[i].value->type != TREE_NULL)
                tree_map_append(c, t->map.entries[i].key, t->map.entries[i].pos,
                                without_directives(t->map.entries[i].value));
        return c;
    case TREE_LIST:
        c = tree_list();
        for (size_t i = 0; i < t->list.len; i++)
            tree_append(c, without_directives(t->list.items[i]));
        return c;
    case TREE_NULL:
    case TREE_BOOL:
    case TREE_INT:
    case TREE_FLOAT:
    case TREE_STRING:
    default:
        return tree_copy(t);
    }
}
