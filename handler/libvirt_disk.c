/* The volumes of a VirtualMachineInstance as files of this host: decisions only, see libvirt_disk.h.
 * Claims are libvirt_disk_claim.c's, cloud-init data libvirt_disk_seed.c's, files libvirt_disk_make.c's. */
#include "handler/libvirt_disk_int.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "api/quantity.h"
#include "handler/libvirt_disk_seed.h"
#include "handler/libvirt_target_name.h"
#include "handler/limits.h"

#define PATH_LEN_MAX 1024
#define MIB          (UINT64_C(1) << 20)

struct planner {
    const struct lv_disk_config *c;
    const struct hv_want *w;
    const char *volume;      /* its name */
    const struct tree *disk; /* the item of devices.disks that uses it, or NULL */
    struct hv_refusal *why;
};

static int plan_volume(struct planner *p, const struct tree *volume, struct lv_disk *d);
static int claim(struct planner *p, const struct tree *source, struct lv_disk *d);
static int data_volume(struct planner *p, const struct tree *source, struct lv_disk *d);
static int host_disk(struct planner *p, const struct tree *source, struct lv_disk *d);
static int container_disk(struct planner *p, const struct tree *source, struct lv_disk *d);
static int empty_disk(struct planner *p, const struct tree *source, struct lv_disk *d);
static int ephemeral(struct planner *p, const struct tree *source, struct lv_disk *d);
static int no_cloud(struct planner *p, const struct tree *source, struct lv_disk *d);
static int config_drive(struct planner *p, const struct tree *source, struct lv_disk *d);
static int seed(struct planner *p, const struct tree *source, bool drive, struct lv_disk *d);
static void under_overlay(struct planner *p, struct lv_disk *d);
static int plan_boot(const struct lv_disk_config *c, const struct tree *vmi, struct lv_boot *boot,
                     struct hv_refusal *why);
static int image_path(const struct lv_disk_config *c, const char *what, const char *image,
                      char **ret, struct hv_refusal *why);
static int inside_path(const char *what, const char *field, const char *path,
                       struct hv_refusal *why);
static int no_path_twice(const struct lv_disks *d, struct hv_refusal *why);
static const struct tree *disk_of(const struct tree *vmi, const char *volume);
static bool name_ok(const char *name);

static const struct {
    const char *source;
    int (*plan)(struct planner *p, const struct tree *source, struct lv_disk *d);
} sources[] = {
    {"persistentVolumeClaim", claim}, {"dataVolume", data_volume},
    {"hostDisk", host_disk},          {"containerDisk", container_disk},
    {"emptyDisk", empty_disk},        {"ephemeral", ephemeral},
    {"cloudInitNoCloud", no_cloud},   {"cloudInitConfigDrive", config_drive},
};

int
lv_disks_plan(const struct lv_disk_config *c, const struct hv_want *w, struct lv_disks *ret,
              struct hv_refusal *why)
{
    const struct tree *volumes = tree_find(w->vmi, "spec", "volumes", NULL);
    struct lv_disks d = {0};
    size_t n = tree_len(volumes);
    int rc;

    d.items = xcalloc(n + 1, sizeof(*d.items));
    for (size_t i = 0; i < n; i++) {
        const struct tree *volume = tree_at(volumes, i);
        struct planner p = {
            .c = c, .w = w, .volume = tree_get_string(tree_get(volume, "name"), ""), .why = why};

        p.disk = disk_of(w->vmi, p.volume);
        rc = plan_volume(&p, volume, &d.items[d.len++]);
        if (rc) {
            lv_disks_done(&d);
            return rc;
        }
    }
    rc = plan_boot(c, w->vmi, &d.boot, why);
    if (rc == 0)
        rc = no_path_twice(&d, why);
    if (rc) {
        lv_disks_done(&d);
        return rc;
    }
    *ret = d;
    return 0;
}

size_t
lv_disks_to_copy(const struct lv_disks *d, const struct tree *vmi, char (*ret)[16], size_t max)
{
    const struct tree *disks = tree_find(vmi, "spec", "domain", "devices", "disks", NULL);
    size_t n = 0;

    for (size_t i = 0; i < tree_len(disks) && n < max; i++) {
        const char *name = tree_get_string(tree_get(tree_at(disks, i), "name"), "");

        for (size_t k = 0; k < d->len; k++)
            if (strcmp(d->items[k].name, name) == 0 && !d->items[k].shared &&
                !d->items[k].read_only)
                lv_target_of_disk(disks, i, ret[n++]);
    }
    return n;
}

void
lv_disks_done(struct lv_disks *d)
{
    for (size_t i = 0; i < d->len; i++) {
        free(d->items[i].name);
        free(d->items[i].path);
        free(d->items[i].backing);
        free(d->items[i].inside);
        lv_seed_free(d->items[i].seed);
    }
    free(d->items);
    free(d->boot.kernel);
    free(d->boot.initrd);
    free(d->boot.args);
    free(d->boot.root);
    *d = (struct lv_disks){0};
}

int
lv_disk_refuse(struct hv_refusal *why, const char *reason, const char *fmt, ...)
{
    va_list ap;

    if (why) {
        snprintf(why->reason, sizeof(why->reason), "%s", reason);
        va_start(ap, fmt);
        vsnprintf(why->text, sizeof(why->text), fmt, ap);
        va_end(ap);
    }
    return -EINVAL;
}

const char *
lv_format_of(const char *path)
{
    size_t len = strlen(path);

    return len > 6 && strcmp(path + len - 6, ".qcow2") == 0 ? "qcow2" : "raw";
}

int
lv_disk_size(const char *volume, const char *field, const struct tree *value, uint64_t *ret,
             struct hv_refusal *why)
{
    AUTO_FREE char *text = tree_type(value) == TREE_INT
                               ? xasprintf("%" PRId64, tree_get_int(value, 0))
                               : xstrdup(tree_get_string(value, ""));
    struct quantity q;
    struct err err = {0};

    if (quantity_parse(text, &q, &err))
        return lv_disk_refuse(why, LV_INVALID, "volume %s: %s '%.40s': %s", volume, field, text,
                              err_msg(&err));
    if (q.units <= 0 || (uint64_t)q.units > HANDLER_MAX_DISK_BYTES)
        return lv_disk_refuse(why, LV_INVALID, "volume %s: %s %s: want 1 to %llu bytes", volume,
                              field, text, HANDLER_MAX_DISK_BYTES);
    *ret = ((uint64_t)q.units + MIB - 1) / MIB * MIB;
    return 0;
}

int
lv_disk_path(const char *volume, const char *field, const char *path, struct hv_refusal *why)
{
    size_t len = strlen(path);
    bool up = strstr(path, "/../") || (len >= 3 && strcmp(path + len - 3, "/..") == 0);

    if (path[0] != '/' || up || len > PATH_LEN_MAX)
        return lv_disk_refuse(
            why, LV_INVALID,
            "volume %s: %s '%.200s': want an absolute path without '..' of at most "
            "%d characters",
            volume, field, path, PATH_LEN_MAX);
    return 0;
}

static int
plan_volume(struct planner *p, const struct tree *volume, struct lv_disk *d)
{
    const char *source = "";

    d->name = xstrdup(p->volume);
    d->format = "raw";
    if (!name_ok(p->volume))
        return lv_disk_refuse(
            p->why, LV_INVALID,
            "volume name '%.80s': want lower-case letters, digits and '-', at most 63", p->volume);
    d->read_only = tree_get(p->disk, "cdrom") ||
                   tree_get_bool(tree_find(p->disk, "disk", "readonly", NULL), false) ||
                   tree_get_bool(tree_find(p->disk, "lun", "readonly", NULL), false);
    d->shareable = tree_get_bool(tree_get(p->disk, "shareable"), false);
    for (size_t i = 0; i < tree_len(volume); i++) {
        source = tree_key_at(volume, i);
        for (size_t k = 0; k < ARRAY_LEN(sources); k++)
            if (strcmp(source, sources[k].source) == 0)
                return sources[k].plan(p, tree_at(volume, i), d);
        if (strcmp(source, "name") != 0)
            break;
    }
    return lv_disk_refuse(p->why, LV_SOURCE,
                          "volume %s: %s is not supported: want persistentVolumeClaim, dataVolume, "
                          "hostDisk, containerDisk, emptyDisk, ephemeral, cloudInitNoCloud or "
                          "cloudInitConfigDrive",
                          p->volume, strcmp(source, "name") == 0 ? "no source" : source);
}

static int
claim_named(struct planner *p, const char *name, bool read_only, struct lv_disk *d)
{
    int rc = lv_claim_plan(p->w, p->volume, name, d, p->why);

    if (rc)
        return rc;
    d->read_only = d->read_only || read_only;
    if (p->w->incoming && !d->shared)
        return lv_disk_refuse(
            p->why, LV_NOT_SHARED,
            "volume %s: claim %s is not shared between the hosts: a live migration "
            "wants access mode ReadWriteMany",
            p->volume, name);
    return 0;
}

static int
claim(struct planner *p, const struct tree *source, struct lv_disk *d)
{
    return claim_named(p, tree_get_string(tree_get(source, "claimName"), ""),
                       tree_get_bool(tree_get(source, "readOnly"), false), d);
}

/* The claim bears the data volume's name. */
static int
data_volume(struct planner *p, const struct tree *source, struct lv_disk *d)
{
    return claim_named(p, tree_get_string(tree_get(source, "name"), ""), false, d);
}

static int
host_disk(struct planner *p, const struct tree *source, struct lv_disk *d)
{
    const char *path = tree_get_string(tree_get(source, "path"), "");
    const char *type = tree_get_string(tree_get(source, "type"), "");
    const struct tree *capacity = tree_get(source, "capacity");

    if (lv_disk_path(p->volume, "hostDisk.path", path, p->why))
        return -EINVAL;
    if (strcmp(type, "DiskOrCreate") == 0) {
        if (!capacity)
            return lv_disk_refuse(p->why, LV_INVALID,
                                  "volume %s: hostDisk.type DiskOrCreate wants a capacity",
                                  p->volume);
        d->create = true;
    } else if (strcmp(type, "Disk") != 0) {
        return lv_disk_refuse(p->why, LV_INVALID,
                              "volume %s: hostDisk.type '%.40s': want Disk or DiskOrCreate",
                              p->volume, type);
    }
    if (capacity && lv_disk_size(p->volume, "hostDisk.capacity", capacity, &d->bytes, p->why))
        return -EINVAL;
    d->shared = tree_get_bool(tree_get(source, "shared"), false);
    if (p->w->incoming && !d->shared)
        return lv_disk_refuse(p->why, LV_NOT_SHARED,
                              "volume %s: hostDisk %s is not shared between the hosts: a live "
                              "migration wants hostDisk.shared",
                              p->volume, path);
    d->path = xstrdup(path);
    d->format = lv_format_of(path);
    return 0;
}

static int
container_disk(struct planner *p, const struct tree *source, struct lv_disk *d)
{
    const char *inside = tree_get_string(tree_get(source, "path"), "");
    AUTO_FREE char *what = xasprintf("volume %s: containerDisk", p->volume);

    if (image_path(p->c, what, tree_get_string(tree_get(source, "image"), ""), &d->path, p->why) ||
        (*inside && inside_path(what, "path", inside, p->why)))
        return -EINVAL;
    d->inside = *inside ? xstrdup(inside) : NULL;
    d->find = LV_FIND_IMAGE;
    d->shared = true; /* each host has the same images */
    if (d->read_only)
        return 0;
    under_overlay(p, d);
    return 0;
}

static int
empty_disk(struct planner *p, const struct tree *source, struct lv_disk *d)
{
    if (lv_disk_size(p->volume, "emptyDisk.capacity", tree_get(source, "capacity"), &d->bytes,
                     p->why))
        return -EINVAL;
    d->path = xasprintf("%s/%s.img", p->c->dir, p->volume);
    d->ours = true;
    return 0;
}

static int
ephemeral(struct planner *p, const struct tree *source, struct lv_disk *d)
{
    const char *name = tree_find_string(source, "", "persistentVolumeClaim", "claimName", NULL);
    int rc = lv_claim_plan(p->w, p->volume, name, d, p->why);

    if (rc)
        return rc;
    d->create = false;
    d->bytes = 0;
    under_overlay(p, d);
    return 0;
}

/* What d is so far becomes the file under an overlay of this guest's. */
static void
under_overlay(struct planner *p, struct lv_disk *d)
{
    d->backing = d->path;
    d->backing_format = d->format;
    d->path = xasprintf("%s/%s.qcow2", p->c->dir, p->volume);
    d->format = "qcow2";
    d->block = false;
    d->ours = true;
    d->shared = false;
}

static int
no_cloud(struct planner *p, const struct tree *source, struct lv_disk *d)
{
    return seed(p, source, false, d);
}

static int
config_drive(struct planner *p, const struct tree *source, struct lv_disk *d)
{
    return seed(p, source, true, d);
}

static int
seed(struct planner *p, const struct tree *source, bool drive, struct lv_disk *d)
{
    d->path = xasprintf("%s/%s.iso", p->c->dir, p->volume);
    d->ours = true;
    d->shared = true;
    return lv_seed_new(p->w->vmi, p->volume, source, drive, &d->seed, p->why);
}

static int
plan_boot(const struct lv_disk_config *c, const struct tree *vmi, struct lv_boot *boot,
          struct hv_refusal *why)
{
    static const char what[] = "firmware.kernelBoot.container";
    const struct tree *kb = tree_find(vmi, "spec", "domain", "firmware", "kernelBoot", NULL);
    const char *args = tree_find_string(kb, "", "kernelArgs", NULL);
    const char *image = tree_find_string(kb, "", "container", "image", NULL);
    const char *kernel = tree_find_string(kb, "", "container", "kernelPath", NULL);
    const char *initrd = tree_find_string(kb, "", "container", "initrdPath", NULL);

    if (!kb)
        return 0;
    if (!*image || !*kernel)
        return lv_disk_refuse(
            why, LV_FIELD, "firmware.kernelBoot: want container.image and container.kernelPath%s",
            *initrd ? ": an initrd alone boots nothing" : "");
    if (image_path(c, what, image, &boot->root, why) ||
        inside_path(what, "kernelPath", kernel, why) ||
        (*initrd && inside_path(what, "initrdPath", initrd, why)))
        return -EINVAL;
    boot->kernel = xasprintf("%s/%s", boot->root, kernel + strspn(kernel, "/"));
    if (*initrd)
        boot->initrd = xasprintf("%s/%s", boot->root, initrd + strspn(initrd, "/"));
    if (*args)
        boot->args = xstrdup(args);
    return 0;
}

/* <images>/<reference>: the reference may not lead out of the directory. */
static int
image_path(const struct lv_disk_config *c, const char *what, const char *image, char **ret,
           struct hv_refusal *why)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  "._-:@/";
    const char *at = image;

    if (!c->images)
        return lv_disk_refuse(why, LV_NOT_FOUND,
                              "%s.image '%.200s': this host has no images directory (--images)",
                              what, image);
    if (!*image || image[strspn(image, allowed)] || strlen(image) > PATH_LEN_MAX)
        return lv_disk_refuse(why, LV_INVALID,
                              "%s.image '%.200s': want a reference such as registry/name:tag", what,
                              image);
    for (;;) {
        size_t len = strcspn(at, "/");

        if (len == 0 || at[0] == '.')
            return lv_disk_refuse(why, LV_INVALID,
                                  "%s.image '%.200s': no part of it may be empty or begin with '.'",
                                  what, image);
        if (!at[len])
            break;
        at += len + 1;
    }
    *ret = xasprintf("%s/%s", c->images, image);
    return 0;
}

/* A path in an image's directory: upstream writes them from the image's root. */
static int
inside_path(const char *what, const char *field, const char *path, struct hv_refusal *why)
{
    AUTO_FREE char *rooted = xasprintf("/%s", path + strspn(path, "/"));
    size_t len = strlen(rooted);

    if (len < 2 || len > PATH_LEN_MAX || strstr(rooted, "/../") ||
        strcmp(rooted + len - 3 + (len < 3), "/..") == 0)
        return lv_disk_refuse(why, LV_INVALID,
                              "%s.%s '%.200s': want a path in the image without '..'", what, field,
                              path);
    return 0;
}

/* QEMU would refuse the second one for its lock, in words that name no volume. */
static int
no_path_twice(const struct lv_disks *d, struct hv_refusal *why)
{
    for (size_t i = 0; i < d->len; i++)
        for (size_t k = i + 1; k < d->len; k++)
            if (strcmp(d->items[i].path, d->items[k].path) == 0 &&
                !(d->items[i].read_only && d->items[k].read_only))
                return lv_disk_refuse(why, LV_INVALID, "volumes %s and %s are the same file %s",
                                      d->items[i].name, d->items[k].name, d->items[i].path);
    return 0;
}

static const struct tree *
disk_of(const struct tree *vmi, const char *volume)
{
    const struct tree *disks = tree_find(vmi, "spec", "domain", "devices", "disks", NULL);

    for (size_t i = 0; i < tree_len(disks); i++)
        if (strcmp(tree_get_string(tree_get(tree_at(disks, i), "name"), ""), volume) == 0)
            return tree_at(disks, i);
    return NULL;
}

/* It becomes a file name. */
static bool
name_ok(const char *name)
{
    size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-");

    return len > 0 && len <= 63 && !name[len];
}
