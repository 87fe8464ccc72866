/* Where a PersistentVolumeClaim has its bytes on a host: see libvirt_disk.h. Nothing here mounts anything. */
#include "handler/libvirt_disk_int.h"

#include <errno.h>
#include <string.h>

#define ANN_PATH   "drover.io/path"
#define ANN_FORMAT "drover.io/format"

static const struct tree *named(const struct tree *list, const char *ns, const char *name);
static const struct tree *volume_of(const struct tree *pvs, const struct tree *pvc, const char *ns,
                                    const char *name);
static const char *path_of(const struct tree *pv, const struct tree *pvc);
static const char *annotation(const struct tree *object, const char *key);
static bool shared(const struct tree *pvc, bool *ret_read_only);

int
lv_claim_plan(const struct hv_want *w, const char *volume, const char *name, struct lv_disk *d,
              struct hv_refusal *why)
{
    const char *ns = tree_find_string(w->vmi, "default", "metadata", "namespace", NULL);
    const struct tree *pvc = named(w->pvcs, ns, name), *pv;
    const struct tree *size;
    const char *path, *format;
    bool read_only = false;

    if (!pvc)
        return lv_disk_refuse(why, LV_NO_CLAIM,
                              "volume %s: there is no PersistentVolumeClaim %s/%s", volume, ns,
                              name);
    pv = volume_of(w->pvs, pvc, ns, name);
    path = path_of(pv, pvc);
    if (!path)
        return lv_disk_refuse(
            why, LV_INVALID,
            "volume %s: PersistentVolumeClaim %s/%s %s: want a PersistentVolume with hostPath or "
            "local, or the annotation " ANN_PATH " on it or on the claim",
            volume, ns, name, pv ? "is bound to a volume without a path on hosts" : "is not bound");
    if (lv_disk_path(volume, "path of the claim", path, why))
        return -EINVAL;
    format = annotation(pv, ANN_FORMAT);
    if (!format)
        format = annotation(pvc, ANN_FORMAT);
    if (format && strcmp(format, "raw") != 0 && strcmp(format, "qcow2") != 0)
        return lv_disk_refuse(why, LV_INVALID,
                              "volume %s: " ANN_FORMAT " '%.40s' of claim %s/%s: want raw or qcow2",
                              volume, format, ns, name);
    size = tree_find(pvc, "status", "capacity", "storage", NULL);
    if (!size)
        size = tree_find(pvc, "spec", "resources", "requests", "storage", NULL);
    if (size && lv_disk_size(volume, "storage of the claim", size, &d->bytes, why))
        return -EINVAL;
    d->path = xstrdup(path);
    d->format = !format ? lv_format_of(path) : strcmp(format, "qcow2") == 0 ? "qcow2" : "raw";
    d->shared = shared(pvc, &read_only);
    d->read_only = d->read_only || read_only;
    if (strcmp(tree_find_string(pvc, "Filesystem", "spec", "volumeMode", NULL), "Block") != 0) {
        d->find = LV_FIND_CLAIM;
        d->create = size != NULL;
    }
    return 0;
}

static const struct tree *
named(const struct tree *list, const char *ns, const char *name)
{
    for (size_t i = 0; i < tree_len(list); i++) {
        const struct tree *o = tree_at(list, i);

        if (strcmp(tree_find_string(o, "", "metadata", "name", NULL), name) == 0 &&
            (!ns || strcmp(tree_find_string(o, "default", "metadata", "namespace", NULL), ns) == 0))
            return o;
    }
    return NULL;
}

/* Bound from either side; a volume that says it is another claim's is not this one's. */
static const struct tree *
volume_of(const struct tree *pvs, const struct tree *pvc, const char *ns, const char *name)
{
    const char *wanted = tree_find_string(pvc, "", "spec", "volumeName", NULL);

    for (size_t i = 0; i < tree_len(pvs); i++) {
        const struct tree *pv = tree_at(pvs, i);
        const char *of = tree_find_string(pv, "", "spec", "claimRef", "name", NULL);
        const char *of_ns = tree_find_string(pv, "", "spec", "claimRef", "namespace", NULL);
        bool refers = strcmp(of, name) == 0 && strcmp(of_ns, ns) == 0;

        if (*wanted ? strcmp(tree_find_string(pv, "", "metadata", "name", NULL), wanted) == 0 &&
                          (!*of || refers)
                    : refers)
            return pv;
    }
    return NULL;
}

static const char *
path_of(const struct tree *pv, const struct tree *pvc)
{
    const char *path = tree_find_string(pv, "", "spec", "hostPath", "path", NULL);

    if (!*path)
        path = tree_find_string(pv, "", "spec", "local", "path", NULL);
    if (*path)
        return path;
    path = annotation(pv, ANN_PATH);
    return path ? path : annotation(pvc, ANN_PATH);
}

static const char *
annotation(const struct tree *object, const char *key)
{
    return tree_find_string(object, NULL, "metadata", "annotations", key, NULL);
}

static bool
shared(const struct tree *pvc, bool *ret_read_only)
{
    const struct tree *modes = tree_find(pvc, "spec", "accessModes", NULL);
    bool all_read_only = tree_len(modes) > 0, any = false;

    for (size_t i = 0; i < tree_len(modes); i++) {
        const char *mode = tree_get_string(tree_at(modes, i), "");
        bool rox = strcmp(mode, "ReadOnlyMany") == 0;

        all_read_only = all_read_only && rox;
        any = any || rox || strcmp(mode, "ReadWriteMany") == 0;
    }
    *ret_read_only = all_read_only;
    return any;
}
