/* <disk> elements, and the threads that serve them; see libvirt_xml.h. Where a volume's bytes are is
 * decided in libvirt_disk.h; here is how the guest sees them. Defaults are KubeVirt's: bus sata, errors
 * stop the guest, unmap is passed on. The cache is none where nothing is said: libvirt migrates no other
 * without being told that it is safe. */
#include "handler/libvirt_xml_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "handler/libvirt_target_name.h"

#define LARGEST_BLOCK (2u << 20) /* QEMU's */

struct disk {                      /* one item of spec.domain.devices.disks */
    const struct tree *t, *device; /* device: what disk, cdrom or lun holds; or NULL */
    size_t index;
    const char *kind, *bus;
    const struct lv_disk *file;
    bool read_only;
    char path[64]; /* of the field */
};

static void write_disk(struct lv_xml *x, struct disk *d);
static void check_disk(struct lv_xml *x, struct disk *d);
static void write_driver(struct lv_xml *x, const struct disk *d);
static const char *choice(struct lv_xml *x, const struct disk *d, const char *key,
                          const char *const *values, const char *dflt);
static size_t io_thread(struct lv_xml *x, const struct disk *d);
static void write_source(struct lv_xml *x, const struct disk *d);
static void write_block_size(struct lv_xml *x, const struct disk *d);
static void write_boot_order(struct lv_xml *x, const struct disk *d);
static void write_serial(struct lv_xml *x, const struct disk *d);
static const struct lv_disk *find_file(const struct lv_disks *disks, const char *name);
static bool volume_is_used(struct lv_xml *x, const char *name);
static bool is_dedicated(const struct tree *disk);

void
lv_xml_io_threads(struct lv_xml *x)
{
    const struct tree *disks = tree_get(x->devices, "disks");
    const char *policy = tree_find_string(x->domain, "", "ioThreadsPolicy", NULL);
    size_t dedicated = 0, others = 0;

    for (size_t i = 0; i < tree_len(disks); i++) {
        dedicated += is_dedicated(tree_at(disks, i));
        others += !is_dedicated(tree_at(disks, i)) &&
                  strcmp(lv_target_bus(tree_at(disks, i)), "virtio") == 0;
    }
    if (*policy && strcmp(policy, "shared") != 0 && strcmp(policy, "auto") != 0)
        lv_refuse(x, LV_UNSUPPORTED, "spec.domain.ioThreadsPolicy: %.32s: want shared or auto",
                  policy);
    if (!*policy && dedicated == 0)
        return;
    /* upstream's: at most two threads a vCPU, and one of them for all that have none of their own */
    x->io_shared = others ? 1 : 0;
    if (strcmp(policy, "auto") == 0) {
        size_t room = 2 * (size_t)x->vcpus;

        room = room > dedicated ? room - dedicated : 1;
        x->io_shared = others < room ? others : room;
    }
    x->io_threads = x->io_shared + dedicated;
}

void
lv_xml_disks(struct lv_xml *x)
{
    const struct tree *disks = tree_get(x->devices, "disks");
    const struct tree *volumes = tree_get(x->spec, "volumes");

    for (size_t i = 0; i < tree_len(disks); i++) {
        static const char *const kinds[] = {"disk", "cdrom", "lun"};
        struct disk d = {.t = tree_at(disks, i), .index = i, .kind = "disk"};

        snprintf(d.path, sizeof d.path, "spec.domain.devices.disks[%zu]", i);
        for (size_t k = 0; k < ARRAY_LEN(kinds) && !d.device; k++)
            if ((d.device = tree_get(d.t, kinds[k])))
                d.kind = kinds[k];
        d.bus = lv_target_bus(d.t);
        write_disk(x, &d);
    }
    for (size_t i = 0; i < tree_len(volumes); i++) {
        const char *name = tree_find_string(tree_at(volumes, i), "", "name", NULL);

        if (!volume_is_used(x, name))
            lv_refuse(x, LV_INVALID,
                      "spec.volumes[%zu]: no disk of spec.domain.devices.disks is named \"%.64s\"",
                      i, name);
    }
}

static void
write_disk(struct lv_xml *x, struct disk *d)
{
    const char *name = tree_find_string(d->t, "", "name", NULL);
    char target[LV_TARGET_NAME_SIZE];

    d->file = find_file(x->disks, name);
    if (!d->file) {
        lv_refuse(x, LV_INVALID, "%s.name: no volume is named \"%.64s\"", d->path, name);
        return;
    }
    check_disk(x, d);
    lv_target_of_disk(tree_get(x->devices, "disks"), d->index, target);
    xw_begin(&x->w, "disk", "type", d->file->block ? "block" : "file", "device", d->kind, "model",
             strcmp(d->bus, "virtio") == 0 && x->transitional ? "virtio-transitional" : NULL, NULL);
    write_driver(x, d);
    write_source(x, d);
    xw_leaf(&x->w, "target", "dev", target, "bus", d->bus, "tray",
            tree_find_string(d->device, NULL, "tray", NULL), NULL);
    write_block_size(x, d);
    if (d->read_only)
        xw_leaf(&x->w, "readonly", NULL);
    if (tree_get_bool(tree_get(d->t, "shareable"), false))
        xw_leaf(&x->w, "shareable", NULL);
    write_boot_order(x, d);
    write_serial(x, d);
    if (tree_get(d->device, "pciAddress")) {
        AUTO_FREE char *path = xasprintf("%s.disk.pciAddress", d->path);

        if (strcmp(d->bus, "virtio") != 0)
            lv_refuse(x, LV_INVALID, "%s: bus is %.32s: want virtio", path, d->bus);
        lv_xml_pci(x, tree_get(d->device, "pciAddress"), path);
    }
    xw_end(&x->w, "disk");
}

/* What fits which kind and bus. Sets read_only. */
static void
check_disk(struct lv_xml *x, struct disk *d)
{
    static const char *const buses[] = {"virtio", "sata", "scsi", "usb", NULL};
    static const char *const trays[] = {"open", "closed", NULL};
    bool cdrom = strcmp(d->kind, "cdrom") == 0, lun = strcmp(d->kind, "lun") == 0;
    const char *tray = tree_find_string(d->device, "closed", "tray", NULL);
    bool asked = tree_get_bool(tree_get(d->device, "readonly"), cdrom);

    if (!lv_is_one_of(d->bus, buses))
        lv_refuse(x, LV_INVALID, "%s.%s.bus: \"%.32s\": want virtio, sata, scsi or usb", d->path,
                  d->kind, d->bus);
    if (cdrom && strcmp(d->bus, "virtio") == 0)
        lv_refuse(x, LV_INVALID, "%s.cdrom.bus: virtio: want sata, scsi or usb", d->path);
    if (cdrom && !asked)
        lv_refuse(x, LV_UNSUPPORTED, "%s.cdrom.readonly: false: a CD-ROM is read-only", d->path);
    if (!lv_is_one_of(tray, trays))
        lv_refuse(x, LV_INVALID, "%s.cdrom.tray: \"%.32s\": want open or closed", d->path, tray);
    if (lun && !d->file->block)
        lv_refuse(x, LV_INVALID,
                  "%s.lun: volume %.64s is a file: want a block device, or disk instead of lun",
                  d->path, d->file->name);
    if (lun && strcmp(d->bus, "scsi") != 0)
        lv_refuse(x, LV_UNSUPPORTED, "%s.lun.bus: %.32s: want scsi", d->path, d->bus);
    d->read_only = asked || (d->file->read_only && !d->file->ours);
    if (d->read_only && strcmp(d->kind, "disk") == 0 && strcmp(d->bus, "sata") == 0)
        lv_refuse(x, LV_INVALID,
                  "%s: volume %.64s is read-only, which a sata disk cannot be: want bus virtio or "
                  "scsi, or a cdrom",
                  d->path, d->file->name);
    if (tree_get_bool(tree_get(d->t, "shareable"), false) && strcmp(d->file->format, "raw") != 0)
        lv_refuse(x, LV_INVALID, "%s.shareable: volume %.64s is %s: want raw", d->path,
                  d->file->name, d->file->format);
}

static void
write_driver(struct lv_xml *x, const struct disk *d)
{
    static const char *const caches[] = {"none", "writethrough", "writeback", NULL};
    static const char *const ios[] = {"default", "native", "threads", NULL};
    static const char *const policies[] = {"stop", "ignore", "report", "enospace", NULL};
    bool virtio = strcmp(d->bus, "virtio") == 0;
    const char *cache = choice(x, d, "cache", caches, "none");
    const char *io = choice(x, d, "io", ios, "default");
    const char *errors = choice(x, d, "errorPolicy", policies, "stop");
    bool queues =
        virtio && x->vcpus > 1 && tree_get_bool(tree_get(x->devices, "blockMultiQueue"), false);
    size_t thread = io_thread(x, d);

    if (strcmp(io, "native") == 0 && strcmp(cache, "none") != 0)
        lv_refuse(x, LV_INVALID, "%s.io: native needs cache none, and it is %s", d->path, cache);
    xw_leaf(&x->w, "driver", "name", "qemu", "type", d->file->format, "cache", cache, "io",
            strcmp(io, "default") == 0 ? NULL : io, "error_policy", errors, "discard",
            d->read_only ? NULL : "unmap", "queues", queues ? XW_NUM(x->vcpus) : NULL, "iothread",
            thread ? XW_NUM(thread) : NULL, NULL);
}

static const char *
choice(struct lv_xml *x, const struct disk *d, const char *key, const char *const *values,
       const char *dflt)
{
    const char *text = tree_find_string(d->t, "", key, NULL);

    if (!*text)
        return dflt;
    if (lv_is_one_of(text, values))
        return text;
    AUTO_SB struct sb want = SB_INIT;

    for (size_t i = 0; values[i]; i++)
        sb_printf(&want, "%s%s", i == 0 ? "" : values[i + 1] ? ", " : " or ", values[i]);
    lv_refuse(x, LV_INVALID, "%s.%s: \"%.32s\": want %s", d->path, key, text, sb_str(&want));
    return dflt;
}

/* Counts from 1; 0: QEMU's main loop. The shared ones come first. */
static size_t
io_thread(struct lv_xml *x, const struct disk *d)
{
    const struct tree *disks = tree_get(x->devices, "disks");
    bool virtio = strcmp(d->bus, "virtio") == 0, dedicated = is_dedicated(d->t);
    size_t before = 0;

    if (dedicated && !virtio)
        lv_refuse(x, LV_UNSUPPORTED, "%s.dedicatedIOThread: bus is %.32s: want virtio", d->path,
                  d->bus);
    if (x->io_threads == 0 || !virtio)
        return 0;
    for (size_t i = 0; i < d->index; i++)
        before += strcmp(lv_target_bus(tree_at(disks, i)), "virtio") == 0 &&
                  is_dedicated(tree_at(disks, i)) == dedicated;
    return dedicated ? x->io_shared + before + 1 : before % x->io_shared + 1;
}

static void
write_source(struct lv_xml *x, const struct disk *d)
{
    const struct lv_disk *f = d->file;

    xw_leaf(&x->w, "source", f->block ? "dev" : "file", f->path, NULL);
    if (!f->backing)
        return;
    xw_begin(&x->w, "backingStore", "type", f->backing_block ? "block" : "file", NULL);
    xw_leaf(&x->w, "format", "type", f->backing_format, NULL);
    xw_leaf(&x->w, "source", f->backing_block ? "dev" : "file", f->backing, NULL);
    xw_leaf(&x->w, "backingStore", NULL);
    xw_end(&x->w, "backingStore");
}

static void
write_block_size(struct lv_xml *x, const struct disk *d)
{
    static const char *const keys[] = {"logical", "physical"};
    const struct tree *custom = tree_find(d->t, "blockSize", "custom", NULL);
    int64_t size[2];

    if (!custom)
        return;
    for (size_t i = 0; i < 2; i++) {
        size[i] = tree_get_int(tree_get(custom, keys[i]), 0);
        if (size[i] < 512 || size[i] > LARGEST_BLOCK || (size[i] & (size[i] - 1)))
            lv_refuse(x, LV_INVALID,
                      "%s.blockSize.custom.%s: %" PRId64 ": want a power of 2 of 512 to %u",
                      d->path, keys[i], size[i], LARGEST_BLOCK);
    }
    if (size[0] > size[1])
        lv_refuse(x, LV_INVALID,
                  "%s.blockSize.custom.logical: %" PRId64 ": want at most physical, %" PRId64,
                  d->path, size[0], size[1]);
    xw_leaf(&x->w, "blockio", "logical_block_size", XW_NUM((uint64_t)size[0]),
            "physical_block_size", XW_NUM((uint64_t)size[1]), NULL);
}

static void
write_boot_order(struct lv_xml *x, const struct disk *d)
{
    AUTO_FREE char *path = xasprintf("%s.bootOrder", d->path);

    lv_xml_boot_order(x, tree_get(d->t, "bootOrder"), path);
}

static void
write_serial(struct lv_xml *x, const struct disk *d)
{
    const char *serial = tree_find_string(d->t, NULL, "serial", NULL);

    if (!serial || !*serial)
        return;
    if (strspn(serial, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                       "_- ().+") != strlen(serial) ||
        strlen(serial) > 256)
        lv_refuse(x, LV_INVALID,
                  "%s.serial: \"%.64s\": want at most 256 letters, digits, blanks or _-().+",
                  d->path, serial);
    xw_text(&x->w, serial, "serial", NULL);
}

static const struct lv_disk *
find_file(const struct lv_disks *disks, const char *name)
{
    for (size_t i = 0; i < disks->len; i++)
        if (strcmp(disks->items[i].name, name) == 0)
            return &disks->items[i];
    return NULL;
}

static bool
volume_is_used(struct lv_xml *x, const char *name)
{
    const struct tree *disks = tree_get(x->devices, "disks");

    for (size_t i = 0; i < tree_len(disks); i++)
        if (strcmp(tree_find_string(tree_at(disks, i), "", "name", NULL), name) == 0)
            return true;
    return false;
}

static bool
is_dedicated(const struct tree *disk)
{
    return tree_get_bool(tree_get(disk, "dedicatedIOThread"), false);
}
