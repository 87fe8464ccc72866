/* The table of the fields of a VirtualMachineInstance's spec, for lv_xml_domain, the tests and the
 * documents. Pure; any thread. */
#ifndef HANDLER_LIBVIRT_XML_FIELDS_H
#define HANDLER_LIBVIRT_XML_FIELDS_H

#include <stddef.h>

enum lv_field_fate {
    LV_FIELD_MADE,    /* the domain is made by it, or its files are */
    LV_FIELD_INTO,    /* only its own fields count */
    LV_FIELD_CLUSTER, /* not the guest's: the controller's, the scheduler's; not looked into */
    LV_FIELD_REFUSED  /* known, and not made: why says so, and what is */
};

struct lv_xml_field {
    const char *path; /* "spec.domain.devices.disks[].cache" */
    enum lv_field_fate fate;
    const char *why;
};

/* All of them. Borrowed, constant. */
const struct lv_xml_field *lv_xml_field_table(size_t *ret_len);
const struct lv_xml_field *lv_xml_field_find(const char *path); /* NULL: unknown */

#endif
