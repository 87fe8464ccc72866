/* What a NetworkAttachmentDefinition comes to for a domain's interface: a bridge of the host, a macvtap
 * over one of its links, or a tap. Pure; any thread. Internal to handler/libvirt_xml*.c. */
#ifndef HANDLER_LIBVIRT_XML_NAD_H
#define HANDLER_LIBVIRT_XML_NAD_H

#include "api/tree.h"
#include "base/err.h"

enum lv_nad_kind { LV_NAD_BRIDGE, LV_NAD_DIRECT, LV_NAD_TAP };

struct lv_nad {
    enum lv_nad_kind kind;
    char device[64];  /* bridge, link, or tap; "" of a tap: libvirt names it */
    const char *mode; /* of LV_NAD_DIRECT: bridge, vepa, private, passthrough */
    unsigned mtu;     /* 0: as it is */
};

/* name as multus.networkName has it, "[namespace/]name"; nads as in struct hv_want. -ENOENT: not there;
 * -ENOTSUP, -EINVAL: what of its configuration is not made; err names the field. */
int lv_nad_read(const struct tree *nads, const char *name, const char *namespace_,
                struct lv_nad *ret, struct err *err);

#endif
