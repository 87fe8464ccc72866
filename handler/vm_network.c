/* What migrations do with the migration network: where their sockets are bound, how the urgent ones are
 * marked, and which of them hold connections over it. See handler.h; docs/bandwidth.md,
 * docs/postcopy.md. */
#include <errno.h>
#include <string.h>

#include "handler/handler.h"
#include "netpolicy/nl_shape.h"

unsigned
migrations_over_network(struct handler *h, bool *ret_cut_off)
{
    unsigned all = 0, connected = 0;
    size_t it = 0;
    void *v;

    while (strmap_next(h->vms, &it, NULL, &v)) {
        struct mig_stats st;

        if ((!source_stats(v, &st) && !target_stats(v, &st)) || st.link == MIG_LINK_FALLBACK)
            continue;
        all++;
        connected += st.link == MIG_LINK_MAIN;
    }
    *ret_cut_off = all > 0 && connected == 0;
    return all;
}

int
vm_place_now(const struct handler *h, struct vm_place *ret, struct err *err)
{
    const struct mignet *net = &h->net;

    memset(ret, 0, sizeof *ret);
    if (net->state != MIGNET_READY && net->state != MIGNET_NONE)
        return err_set(err, -ENETDOWN, "%s",
                       net->reason[0] ? net->reason : "the migration network is not known yet");
    if (!net->ip[0] || (net->state == MIGNET_READY && !net->ifname[0]))
        return err_set(err, -ENETDOWN, "the migration network %s has no %s here", net->ref,
                       net->ip[0] ? "interface" : "address");
    snprintf(ret->ip, sizeof ret->ip, "%s", net->ip);
    if (net->state == MIGNET_READY)
        snprintf(ret->device, sizeof ret->device, "%s", net->ifname);
    ret->trusted = net->state == MIGNET_READY && net->trusted;
    return 0;
}

bool
vm_place_equal(const struct vm_place *a, const struct vm_place *b)
{
    return strcmp(a->ip, b->ip) == 0 && strcmp(a->device, b->device) == 0 &&
           a->trusted == b->trusted;
}

const char *
vm_place_text(const struct vm_place *p, char *buf, size_t size)
{
    if (p->device[0])
        snprintf(buf, size, "%s on %s%s", p->ip, p->device, p->trusted ? ", trusted" : "");
    else
        snprintf(buf, size, "%s on the management network", p->ip);
    return buf;
}

void
vm_urgent_mark(const struct handler *h, uint32_t *ret_priority, uint8_t *ret_dscp)
{
    *ret_priority = h->net.limit_bytes_per_s ? NL_SHAPE_URGENT : 0;
    *ret_dscp = h->net.urgent_dscp;
}
