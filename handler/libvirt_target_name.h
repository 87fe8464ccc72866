/* What a disk is called inside its domain (<target dev=.../>): one rule for the XML and for the list of
 * disks that a migration copies. As KubeVirt names them: a letter sequence for each prefix, in the order
 * of spec.domain.devices.disks. Pure; any thread. */
#ifndef HANDLER_LIBVIRT_TARGET_NAME_H
#define HANDLER_LIBVIRT_TARGET_NAME_H

#include <stddef.h>

#include "api/tree.h"

#define LV_TARGET_NAME_SIZE 16

/* index counts from 0 among the disks with the same prefix (sata, scsi and usb share "sd"):
 * ("virtio", 0) -> "vda", ("sata", 27) -> "sdab". */
void lv_target_name(const char *bus, size_t index, char ret[LV_TARGET_NAME_SIZE]);
/* The bus of one item of spec.domain.devices.disks: what disk, cdrom or lun says, else "sata", as
 * KubeVirt's default for amd64. Borrowed. */
const char *lv_target_bus(const struct tree *disk);
/* The name of item i of spec.domain.devices.disks. */
void lv_target_of_disk(const struct tree *disks, size_t i, char ret[LV_TARGET_NAME_SIZE]);

#endif
