/* The files behind a domain: each volume of a VirtualMachineInstance as a path on this host, made when
 * it is ours to make (overlays, empty disks, cloud-init images), checked when it is the user's. And what
 * kernelBoot names. Pure decisions in libvirt_disk.c (lv_disks_plan), the making in libvirt_disk_make.c.
 *
 *  persistentVolumeClaim, dataVolume
 *                         the PersistentVolume it is bound to: spec.hostPath.path or spec.local.path, else
 *                         the annotation drover.io/path of the PV or of the claim: where nfs, csi, ... are
 *                         mounted on every host. With volumeMode Filesystem a directory holds disk.img, which
 *                         is made at the claim's capacity when it is not there, as KubeVirt does; a file or
 *                         block device is the disk itself
 *  hostDisk               path; type Disk (must be there) or DiskOrCreate (capacity); shared
 *  containerDisk          <images>/<image reference, its tag and digest included>{,.qcow2,.raw,.img}, or a
 *                         directory of that name that holds `path` or one file in disk/; read only, under an
 *                         overlay of this guest's (ephemeral, thrown away with it); a CD-ROM needs none
 *  emptyDisk              capacity; ephemeral
 *  cloudInitNoCloud, cloudInitConfigDrive  userData, userDataBase64, networkData, ...: an ISO image with
 *                         the label that cloud-init looks for (libarchive)
 *  ephemeral              an overlay over a PVC, read only
 *  others                 refused by name: VolumeSourceNotSupported
 *
 * The format of a disk that a guest writes is never probed (a guest could write a qcow2 header): it is what
 * drover.io/format of the PV or PVC says, else qcow2 for a path that ends so, else raw.
 * kernelBoot: <images>/<image reference>/<kernelPath>.
 *
 * What is the user's is never removed, also where we made the file because the manifest asked for it. */
#ifndef HANDLER_LIBVIRT_DISK_H
#define HANDLER_LIBVIRT_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "handler/hv.h"

struct lv_seed; /* libvirt_disk_seed.h */

/* How make finds the file that is not ours: path, or backing where there is one. */
enum lv_disk_find {
    LV_FIND_FILE,  /* it is path itself */
    LV_FIND_CLAIM, /* a directory holds disk.img */
    LV_FIND_IMAGE  /* in the images directory: suffixes, a directory's one file */
};

struct lv_disk {
    char *name;                          /* of the volume (and of the disk that uses it) */
    char *path;                          /* file or block device on this host */
    char *backing;                       /* read-only file under it, NULL = none */
    const char *format, *backing_format; /* "raw" "qcow2" */
    bool block, backing_block;           /* path (backing) is a block device */
    bool read_only;
    bool ours; /* made by us, in the guest's directory: removed with it */
    bool
        shared; /* the other hosts see the same bytes: not copied by a migration. A cloud-init image is
                    made anew at the target instead, and counts as shared */
    bool create;    /* the user's, and made when it is not there; never at a migration's target */
    bool shareable; /* others may write to it at the same time */
    enum lv_disk_find find;
    char *inside;         /* LV_FIND_IMAGE: containerDisk.path; NULL = the one that is there */
    uint64_t bytes;       /* virtual size; 0 = whatever the file has */
    struct lv_seed *seed; /* cloud-init: what the image holds; NULL else */
};

struct lv_boot { /* kernelBoot; all NULL: none */
    char *kernel, *initrd, *args;
    char *root; /* of the image: kernel and initrd lie in it */
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
/* Checks that the user's files are there and usable (kind, readable, not written by another QEMU), and settles
 * path, format and block of each disk: the domain's XML is made after this. incoming: for a migration, which
 * finds everything of the user's there. -ENOENT VolumeNotFound, -EBUSY VolumeInUse, -EINVAL InvalidVolume:
 * the text names volume, path and host. Blocks (files); any thread. */
int lv_disks_check(struct lv_disks *d, bool incoming, struct hv_refusal *why, struct err *err);
/* Makes ours (for a migration the same, and empty), and the user's that the manifest asks for. After
 * lv_disks_check; the guest's directory is there. On an error nothing of ours stays. -ENOSPC NotEnoughSpace;
 * other errors leave why->reason empty where they are not the manifest's. Blocks (files, qemu-img). */
int lv_disks_make(const struct lv_disks *d, struct hv_refusal *why, struct err *err);
/* Removes ours; goes on after errors. */
void lv_disks_remove(const struct lv_disks *d);
void lv_disks_done(struct lv_disks *d); /* frees; zeroed is fine */

/* The targets (vda, sdb, ...) of disks that a migration has to copy because the hosts do not share them:
 * VIR_MIGRATE_PARAM_MIGRATE_DISKS. Names as lv_xml_domain gives them; 0: no block migration. The target
 * has the files under the overlays: VIR_MIGRATE_NON_SHARED_INC copies what is above them. */
size_t lv_disks_to_copy(const struct lv_disks *d, const struct tree *vmi, char (*ret)[16],
                        size_t max);

#endif
