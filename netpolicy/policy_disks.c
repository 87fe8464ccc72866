/* How many bytes of disk travel with a VM under BlockMigration; see policy.h. Works on the objects
 * as written: sizes of volumes and claims are not part of the typed view. Seeds B03. */
#include <string.h>

#include "api/object.h"
#include "api/quantity.h"
#include "netpolicy/policy.h"

static int64_t volume_bytes(const struct tree *volume, const char *ns, const struct tree *objects);
static int64_t size_of(const struct tree *quantity);

int64_t
policy_disk_bytes(const struct tree *vm, const struct tree *objects)
{
    const struct tree *spec = tree_find(vm, "spec", "template", "spec", NULL);
    const struct tree *volumes = tree_get(spec ? spec : tree_get(vm, "spec"), "volumes");
    int64_t sum = 0;

    for (size_t i = 0; i < tree_len(volumes); i++) {
        int64_t n = volume_bytes(tree_at(volumes, i), object_namespace(vm), objects);

        if (__builtin_add_overflow(sum, n, &sum))
            return INT64_MAX;
    }
    return sum;
}

static int64_t
size_of(const struct tree *quantity)
{
    const char *s = tree_get_string(quantity, NULL);
    struct quantity q;

    if (!s)
        return tree_get_int(quantity, 0) > 0 ? tree_get_int(quantity, 0) : 0;
    if (quantity_parse(s, &q, NULL) != 0 || q.units < 0)
        return 0;
    return q.units;
}

static bool
is_shared(const struct tree *claim)
{
    const struct tree *modes = tree_find(claim, "spec", "accessModes", NULL);

    for (size_t i = 0; i < tree_len(modes); i++)
        if (strcmp(tree_get_string(tree_at(modes, i), ""), "ReadWriteMany") == 0)
            return true;
    return false;
}

static int64_t
claim_bytes(const char *name, const char *ns, const struct tree *objects)
{
    for (size_t i = 0; i < tree_len(objects); i++) {
        const struct tree *o = tree_at(objects, i);
        const struct kind_info *k = object_kind(o);

        if (!k || k->kind != KIND_PVC || strcmp(object_name(o), name) != 0 ||
            strcmp(object_namespace(o), ns) != 0)
            continue;
        return is_shared(o)
                   ? 0
                   : size_of(tree_find(o, "spec", "resources", "requests", "storage", NULL));
    }
    return 0;
}

static int64_t
volume_bytes(const struct tree *volume, const char *ns, const struct tree *objects)
{
    const struct tree *host = tree_get(volume, "hostDisk");
    const char *claim = tree_find_string(volume, NULL, "persistentVolumeClaim", "claimName", NULL);

    if (tree_get(volume, "emptyDisk"))
        return size_of(tree_find(volume, "emptyDisk", "capacity", NULL));
    if (host)
        return tree_get_bool(tree_get(host, "shared"), false) ? 0
                                                              : size_of(tree_get(host, "capacity"));
    if (!claim)
        claim = tree_find_string(volume, NULL, "dataVolume", "name", NULL);
    return claim ? claim_bytes(claim, ns, objects) : 0;
}
