/* Names of disks inside a domain: see libvirt_target_name.h. */
#include "handler/libvirt_target_name.h"

#include <string.h>

#include "base/cleanup.h"

static const char *prefix(const char *bus);

void
lv_target_name(const char *bus, size_t index, char ret[LV_TARGET_NAME_SIZE])
{
    char letters[LV_TARGET_NAME_SIZE];
    size_t n = sizeof(letters);

    /* bijective base 26, from the last letter: z is followed by aa; the 13 that have room count to
     * 26^13, more than any size_t that counts disks */
    letters[--n] = '\0';
    for (;;) {
        letters[--n] = (char)('a' + index % 26);
        if (index < 26 || n == 2)
            break;
        index = index / 26 - 1;
    }
    memcpy(ret, prefix(bus), 2);
    memcpy(ret + 2, letters + n, sizeof(letters) - n);
}

const char *
lv_target_bus(const struct tree *disk)
{
    static const char *const kinds[] = {"disk", "cdrom", "lun"};

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        const char *bus = tree_find_string(disk, "", kinds[i], "bus", NULL);

        if (*bus)
            return bus;
    }
    return "sata";
}

void
lv_target_of_disk(const struct tree *disks, size_t i, char ret[LV_TARGET_NAME_SIZE])
{
    const char *bus = lv_target_bus(tree_at(disks, i));
    size_t index = 0;

    for (size_t k = 0; k < i; k++)
        if (strcmp(prefix(lv_target_bus(tree_at(disks, k))), prefix(bus)) == 0)
            index++;
    lv_target_name(bus, index, ret);
}

static const char *
prefix(const char *bus)
{
    return strcmp(bus, "virtio") == 0 ? "vd" : "sd";
}
