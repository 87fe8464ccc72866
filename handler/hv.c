/* Names of hypervisors; see hv.h. */
#include "handler/hv.h"

#include <string.h>

static const char *const names[] = {[HV_NATIVE] = "native", [HV_LIBVIRT] = "libvirt"};

const char *
hv_kind_name(enum hv_kind k)
{
    return names[k];
}

bool
hv_kind_parse(const char *name, enum hv_kind *ret)
{
    for (int k = 0; name && k < HV_KIND_COUNT; k++)
        if (strcmp(name, names[k]) == 0) {
            *ret = (enum hv_kind)k;
            return true;
        }
    return false;
}

bool
hv_lives(struct hv_guest *g)
{
    struct hv_now now;

    if (!g)
        return false;
    g->ops->now(g, &now);
    return now.state != HV_ENDED;
}
