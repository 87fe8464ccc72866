/* Figures of the networks: what the kernel counts on the interface of the management network and of the
 * migration network, and how they are. Read at each scrape; nothing is kept. Where the kernel
 * cannot be asked, the figures are absent. */
#include "handler/node_metrics_figures.h"

#include <string.h>

#include "base/cleanup.h"
#include "handler/handler.h"
#include "netpolicy/nl_link.h"
#include "netpolicy/nl_shape.h"
#include "netpolicy/nl_state.h"

static const struct net_link *management_of(const struct net_state *s, const char *address);
static void put_network(const struct net_state *s, const char *network, const struct net_link *l,
                        struct metrics *m);
static void put_limit(const char *const *of, const struct net_link *l, struct metrics *m);
static void put_rdma(const struct node_rdma_facts *f, const char *ref, struct metrics *m);
static void put_types(const struct net_state *s, const char *node, struct metrics *m);

void
node_metrics_networks(const struct handler *h, struct metrics *m)
{
    const struct mignet *net = &h->net;
    const char *ref = net->ref[0] ? net->ref : "management";
    const struct net_link *l;
    struct net_state now;
    struct arena *a;

    for (size_t f = FIRST_OF_NET; f <= LAST_OF_NET; f++)
        metrics_clear(m, f);
    if (net->state != MIGNET_UNKNOWN)
        metrics_set(m, NETWORK_READY, (const char *[]){ref, net->code},
                    net->state != MIGNET_BROKEN ? 1 : 0);
    put_rdma(node_rdma_facts(h->rdma), ref, m);
    a = arena_new();
    if (nl_state_read(a, &now, NULL) == 0) {
        put_types(&now, h->cfg.node_name, m);
        if ((l = management_of(&now, h->cfg.address)))
            put_network(&now, "management", l, m);
        if (net->ref[0] && (l = net_state_find(&now, net->ifname)))
            put_network(&now, net->ref, l, m);
    }
    arena_free(a);
}

static const struct net_link *
management_of(const struct net_state *s, const char *address)
{
    struct ip ip;

    if (!address || ip_parse(address, &ip, NULL) != 0)
        return NULL;
    for (size_t i = 0; i < s->len; i++)
        for (size_t k = 0; k < s->links[i].addrs_len; k++)
            if (ip_cmp(&s->links[i].addrs[k].ip, &ip) == 0)
                return &s->links[i];
    return NULL;
}

/* Of a macvlan or VLAN the bytes are counted below it (nl_link_counters). */
static void
put_network(const struct net_state *s, const char *network, const struct net_link *l,
            struct metrics *m)
{
    const struct net_link *base = l->base[0] ? net_state_find(s, l->base) : NULL;
    const char *counted = base ? base->name : l->name;
    const char *of[] = {network, l->name};
    struct nl_counters c;

    metrics_set(m, NETWORK_UP, of, l->up && l->carrier);
    metrics_set(m, NETWORK_MTU, of, l->mtu);
    if (l->speed_mbps)
        metrics_set(m, NETWORK_SPEED, of, (double)l->speed_mbps * 1e6 / 8);
    put_limit(of, l, m);
    if (nl_link_counters(counted, &c, NULL) == 0) {
        metrics_set(m, NETWORK_BYTES, (const char *[]){network, counted, "received"},
                    (double)c.rx_bytes);
        metrics_set(m, NETWORK_BYTES, (const char *[]){network, counted, "sent"},
                    (double)c.tx_bytes);
    }
    if (nl_link_counters(l->name, &c, NULL) == 0) {
        metrics_set(m, NETWORK_DROPPED, (const char *[]){network, l->name, "received"},
                    (double)c.rx_dropped);
        metrics_set(m, NETWORK_DROPPED, (const char *[]){network, l->name, "sent"},
                    (double)c.tx_dropped);
    }
}

static void
put_limit(const char *const *of, const struct net_link *l, struct metrics *m)
{
    struct nl_shape_counters c;

    if (!l->shape.rate_bytes_per_s)
        return;
    metrics_set(m, NETWORK_LIMIT, of, (double)l->shape.rate_bytes_per_s);
    if (nl_shape_counters(l->name, &c, NULL) != 0)
        return;
    metrics_set(m, NETWORK_LIMIT_DROPPED, of, (double)c.dropped);
    metrics_set(m, NETWORK_LIMIT_OVER, of, (double)c.overlimits);
}

static void
put_types(const struct net_state *s, const char *node, struct metrics *m)
{
    for (size_t i = 0; i < s->len; i++)
        metrics_add(m, NETWORK_INTERFACES, (const char *[]){net_kind_name(s->links[i].kind), node},
                    1);
}

static void
put_rdma(const struct node_rdma_facts *f, const char *ref, struct metrics *m)
{
    struct node_rdma_condition c;

    node_rdma_say(f, &c);
    if (strcmp(c.status, "Unknown") != 0)
        metrics_set(m, NETWORK_RDMA, (const char *[]){ref, f->device, c.reason},
                    strcmp(c.status, "True") == 0);
}
