/* Volumes of a manifest, and the claims and volumes that they name: planned or refused with a reason, and
 * whatever they say, a file of ours lies in the guest's directory, one of an image in the images'. Input:
 * {"vmi": ..., "pvcs": [...], "pvs": [...]}. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "handler/libvirt_disk.h"

#define GUEST  "/guest/u"
#define IMAGES "/images"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "broken: %s\n", what);
    abort();
}

static bool
below(const char *path, const char *dir)
{
    size_t len = strlen(dir);

    return strncmp(path, dir, len) == 0 && path[len] == '/' && !strstr(path, "/../") &&
           strcmp(path + strlen(path) - 3, "/..") != 0;
}

static void
check(const struct lv_disks *d)
{
    for (size_t i = 0; i < d->len; i++) {
        const struct lv_disk *k = &d->items[i];

        must(k->name && k->path && k->path[0] == '/' && k->format, "a disk without a path");
        must(!k->ours || (below(k->path, GUEST) && !strchr(k->path + strlen(GUEST) + 1, '/')),
             "ours, and not in the guest's directory");
        must(!k->ours || !k->create, "ours and the user's");
        if (k->find == LV_FIND_IMAGE)
            must(below(k->backing ? k->backing : k->path, IMAGES), "an image from elsewhere");
        must(!k->backing || k->ours, "an overlay that is not ours");
        must(!k->create || k->bytes > 0, "to be made without a size");
    }
    must(!d->boot.kernel || below(d->boot.kernel, IMAGES), "a kernel from elsewhere");
    must(!d->boot.initrd || below(d->boot.initrd, IMAGES), "an initrd from elsewhere");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct lv_disk_config c = {.dir = GUEST, .images = IMAGES};
    AUTO_TREE struct tree *in = NULL;

    if (tree_from_json((const char *)data, size, &in, NULL) != 0)
        return 0;
    for (int incoming = 0; incoming < 2; incoming++) {
        const struct hv_want w = {.vmi = tree_get(in, "vmi"),
                                  .pvcs = tree_get(in, "pvcs"),
                                  .pvs = tree_get(in, "pvs"),
                                  .incoming = incoming};
        struct hv_refusal why = {0};
        struct lv_disks d = {0};
        char names[8][16];

        if (lv_disks_plan(&c, &w, &d, &why)) {
            must(*why.reason && *why.text && !d.items, "refused without a reason");
            continue;
        }
        check(&d);
        must(lv_disks_to_copy(&d, w.vmi, names, 8) <= 8, "more names than there is room for");
        lv_disks_done(&d);
    }
    return 0;
}
