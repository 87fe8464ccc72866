/* A step of a plan in words; see net_plan.h. */
#include <stdio.h>

#include "netpolicy/net_plan.h"

static void
text_add(const struct net_link *l, char *buf, size_t size)
{
    switch (l->kind) {
    case NET_VLAN:
        snprintf(buf, size, "make vlan %s on %s (%u)", l->name, l->base, l->vlan_id);
        return;
    case NET_MACVLAN:
        snprintf(buf, size, "make macvlan %s on %s (%s)", l->name, l->base,
                 l->macvlan_mode ? l->macvlan_mode : "bridge");
        return;
    case NET_BOND:
        snprintf(buf, size, "make bond %s (%s)", l->name, net_bond_mode_name(l->bond_mode));
        return;
    case NET_BRIDGE:
        snprintf(buf, size, "make bridge %s", l->name);
        return;
    case NET_ETHERNET:
    case NET_LOOPBACK:
    case NET_OTHER:
        break;
    }
    snprintf(buf, size, "make %s %s", net_kind_name(l->kind), l->name);
}

void
net_step_text(const struct net_step *s, char *buf, size_t size)
{
    const struct net_link *l = &s->link;
    struct cidr c = {.base = s->addr.ip, .prefix = s->addr.prefix, .v4 = ip_is_v4(&s->addr.ip)};
    char addr[CIDR_TEXT_SIZE];

    switch (s->op) {
    case NET_OP_ADD:
        text_add(l, buf, size);
        return;
    case NET_OP_DEL:
        snprintf(buf, size, "remove %s", l->name);
        return;
    case NET_OP_UP:
        snprintf(buf, size, "bring up %s", l->name);
        return;
    case NET_OP_DOWN:
        snprintf(buf, size, "take down %s", l->name);
        return;
    case NET_OP_MTU:
        snprintf(buf, size, "set mtu %u on %s", l->mtu, l->name);
        return;
    case NET_OP_MAC:
        snprintf(buf, size, "set mac address %02x:%02x:%02x:%02x:%02x:%02x on %s", l->mac[0],
                 l->mac[1], l->mac[2], l->mac[3], l->mac[4], l->mac[5], l->name);
        return;
    case NET_OP_CONTROLLER:
        if (*l->controller)
            snprintf(buf, size, "put %s into %s", l->name, l->controller);
        else
            snprintf(buf, size, "take %s out of its controller", l->name);
        return;
    case NET_OP_BRIDGE:
        snprintf(buf, size, "set stp %s, vlan filtering %s on %s", l->stp ? "on" : "off",
                 l->vlan_filtering ? "on" : "off", l->name);
        return;
    case NET_OP_BOND:
        snprintf(buf, size, "set miimon %u on %s", l->bond_miimon, l->name);
        return;
    case NET_OP_ADDR_ADD:
    case NET_OP_ADDR_DEL:
        cidr_format(&c, addr, sizeof addr);
        snprintf(buf, size,
                 s->op == NET_OP_ADDR_ADD ? "add address %s to %s" : "take address %s from %s",
                 addr, l->name);
        return;
    case NET_OP_SHAPE:
        if (l->shape.rate_bytes_per_s > 0)
            snprintf(buf, size, "limit %s to %llu bytes/s", l->name,
                     (unsigned long long)l->shape.rate_bytes_per_s);
        else
            snprintf(buf, size, "take the limit from %s", l->name);
        return;
    case NET_OP_ARP_IGNORE:
        snprintf(buf, size, "set arp_ignore %s on %s", l->arp_ignore ? "on" : "off", l->name);
        return;
    }
    snprintf(buf, size, "step %d on %s", (int)s->op, l->name);
}
