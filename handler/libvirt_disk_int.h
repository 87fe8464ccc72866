/* What the parts of handler/libvirt_disk*.c share; included by them and libvirt_disk_seed.c only. */
#ifndef HANDLER_LIBVIRT_DISK_INT_H
#define HANDLER_LIBVIRT_DISK_INT_H

#include "handler/libvirt_disk.h"

/* Reasons of refusals: upstream's where it has one. */
#define LV_INVALID    "InvalidVolume"
#define LV_FIELD      "UnsupportedField"
#define LV_SOURCE     "VolumeSourceNotSupported"
#define LV_NOT_FOUND  "VolumeNotFound"
#define LV_NO_CLAIM   "FailedPvcNotFound" /* upstream's */
#define LV_NO_SPACE   "NotEnoughSpace"
#define LV_IN_USE     "VolumeInUse"
#define LV_NOT_SHARED "DisksNotLiveMigratable" /* upstream's */

/* Fills in why (may be NULL) and returns -EINVAL. */
int lv_disk_refuse(struct hv_refusal *why, const char *reason, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

/* libvirt_disk_claim.c: where the claim `name` of the VMI's namespace has its bytes: path, format, shared,
 * create and bytes of d (path is the caller's); find is LV_FIND_CLAIM. what: the field, for texts. */
int lv_claim_plan(const struct hv_want *w, const char *volume, const char *name, struct lv_disk *d,
                  struct hv_refusal *why);
/* The format that a name stands for: "qcow2" for *.qcow2, else "raw". */
const char *lv_format_of(const char *path);
/* A size from a manifest, rounded up to whole MiB, as images are made. */
int lv_disk_size(const char *volume, const char *field, const struct tree *value, uint64_t *ret,
                 struct hv_refusal *why);
/* A path of the host: absolute, without "..", of sensible length. */
int lv_disk_path(const char *volume, const char *field, const char *path, struct hv_refusal *why);

#endif
