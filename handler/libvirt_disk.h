/* The files behind a domain: each volume of a VirtualMachineInstance as a path on this host, made when
 * it is ours to make (overlays, empty disks, cloud-init images), checked when it is the user's. And what
 * kernelBoot names. Pure decisions in libvirt_disk.c (lv_disks_plan), the making in libvirt_disk_make.c.
 *
 *  persistentVolumeClaim  the PersistentVolume it is bound to: spec.hostPath.path or spec.local.path (a
 *                         directory holds disk.img, as KubeVirt has it; a file or block device is the
 *                         disk itself), else the claim's annotation drover.io/path. Format: by probing
 *                         is a hole (a guest could write a qcow2 header): raw, unless the PV or PVC says
 *                         drover.io/format: qcow2.
 *  hostDisk               path; type Disk (must be there) or DiskOrCreate (capacity); shared
 *  containerDisk          <images>/<image reference, its tag and digest included>{,.qcow2,.raw,.img}, read
 *                         only, under an overlay of this guest's (ephemeral, thrown away with it)
 *  emptyDisk              capacity; ephemeral
 *  cloudInitNoCloud, cloudInitConfigDrive  userData, userDataBase64, networkData, ...: an ISO image with
 *                         the label that cloud-init looks for (libarchive)
 *  ephemeral              an overlay over a PVC, read only
 *  others                 refused by name: VolumeSourceNotSupported */
#ifndef HANDLER_LIBVIRT_DISK_H
#define HANDLER_LIBVIRT_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "handler/hv.h"

struct lv_disk {
    char *name;                          /* of the volume (and of the disk that uses it) */
    char *path;                          /* file or block device on this host */
    char *backing;                       /* read-only file under it, NULL = none */
    const char *format, *backing_format; /* "raw" "qcow2" */
    bool block;                          /* path is a block device */
    bool read_only;
    bool ours;      /* made by us, in the guest's directory: removed with it */
    bool shared;    /* the other hosts see the same bytes: not copied by a migration. A cloud-init
                           image is made anew at the target instead, and counts as shared */
    uint64_t bytes; /* virtual size; 0 = whatever the file has */
    char *content;  /* cloud-init: what the image holds, made by plan; NULL else */
};

struct lv_boot { /* kernelBoot; all NULL: none */
    char *kernel, *initrd, *args;
};

struct lv_disks {
    struct lv_disk *items;
    size_t len;
    struct lv_boot boot;
};

struct lv_disk_config {
    const char *dir;    /* of this guest: its own files go here */
    const char *images; /* directory of containerDisk and kernelBoot images */
};

/* What w's volumes come to on this host: no file is looked at. 0; -EINVAL with why. Any thread. */
int lv_disks_plan(const struct lv_disk_config *c, const struct hv_want *w, struct lv_disks *ret,
                  struct hv_refusal *why);
/* Checks that the user's files are there and usable (kind, size, readable; one that is in use by another
 * domain is libvirt's to refuse) and makes ours. incoming: overlays and empty disks that a migration fills
 * are made with the right size and empty. On an error nothing of ours stays. -ENOENT VolumeNotFound,
 * -ENOSPC NotEnoughSpace, ...: the text names volume and path. */
int lv_disks_make(const struct lv_disks *d, bool incoming, struct hv_refusal *why, struct err *err);
/* Removes ours; goes on after errors. */
void lv_disks_remove(const struct lv_disks *d);
void lv_disks_done(struct lv_disks *d); /* frees; zeroed is fine */

/* The targets (vda, sdb, ...) of disks that a migration has to copy because the hosts do not share them:
 * VIR_MIGRATE_PARAM_MIGRATE_DISKS. Names as lv_xml_domain gives them; n is 0: no block migration. */
size_t lv_disks_to_copy(const struct lv_disks *d, const struct tree *vmi, char (*ret)[16],
                        size_t max);

#endif
