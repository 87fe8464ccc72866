/* Cloud-init data: what its image holds, from a volume of a manifest, and the image itself. Formats:
 * cloud-init's NoCloud (label cidata) and ConfigDrive (label config-2, OpenStack's layout), as KubeVirt makes
 * them. The same manifest makes the same bytes on every host and at every time, so that a target of a
 * migration makes the image anew. Pure but for libarchive's own temporary file; any thread. */
#ifndef HANDLER_LIBVIRT_DISK_SEED_H
#define HANDLER_LIBVIRT_DISK_SEED_H

#include <stddef.h>

#include "api/tree.h"
#include "base/sb.h"
#include "handler/hv.h"

#define LV_SEED_FILES 3

struct lv_seed_file {
    const char *path; /* in the image */
    char *data;       /* owned; may hold any bytes */
    size_t len;
};
struct lv_seed {
    const char *label;
    struct lv_seed_file files[LV_SEED_FILES];
    size_t len;
};

/* source: the volume's cloudInitNoCloud (config_drive false) or cloudInitConfigDrive; field: its name in
 * texts. The instance id is firmware.uuid, else NAME.NAMESPACE: the same after a restart, so that cloud-init
 * does not take the guest for a new one. 0 with *ret the caller's; -EINVAL with why. */
int lv_seed_new(const struct tree *vmi, const char *volume, const struct tree *source,
                bool config_drive, struct lv_seed **ret, struct hv_refusal *why);
void lv_seed_free(struct lv_seed *s); /* NULL is fine */

/* The image, appended to ret: ISO 9660 with Joliet and Rock Ridge, a multiple of 4096 bytes. -EIO. */
int lv_seed_image(const struct lv_seed *s, struct sb *ret, struct err *err);

#endif
