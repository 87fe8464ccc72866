/* Domain statistics, from virDomainListGetStats' names to handler/hv.h's. */
#ifndef HANDLER_LIBVIRT_STATS_H
#define HANDLER_LIBVIRT_STATS_H

#include "handler/hv.h"
#include "handler/libvirt_api.h"

/* The groups that lv_stats_of reads. */
#define LV_STATS_GROUPS                                                              \
    (VIR_DOMAIN_STATS_CPU_TOTAL | VIR_DOMAIN_STATS_BALLOON | VIR_DOMAIN_STATS_VCPU | \
     VIR_DOMAIN_STATS_INTERFACE | VIR_DOMAIN_STATS_BLOCK | VIR_DOMAIN_STATS_DIRTYRATE)

/* What the parameters say; what they do not say is not there (has_*). Any thread. */
void lv_stats_of(const struct libvirt_api *api, virTypedParameterPtr params, int len,
                 struct hv_stats *ret);

#endif
