/* See net_mig.h. */
#include "handler/net_mig.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "api/names.h"
#include "api/object.h"

struct assigned { /* the annotation */
    bool here, has_addr;
    struct ip addr;
    char code[64], message[400];
};

static bool read_config(const struct net_mig_objects *o, struct arena *a, struct nad_config *ret,
                        struct mignet *m);
static void read_assignment(const struct net_mig_objects *o, struct assigned *ret);
static const struct net_link *link_allowed(const struct net_state *now, const struct nad_config *c,
                                           const char *ifname, struct ip *ret);
static void as_found(struct net_mig_want *w, const struct net_link *l, const struct ip *ip);
static uint8_t dscp_of(const struct tree *nad);
static bool is_trusted(const struct tree *nad);

void
net_mig_want(const struct net_mig_objects *o, const struct net_state *now, struct arena *a,
             struct net_mig_want *ret)
{
    AUTO_FREE char *origin = xasprintf("NetworkAttachmentDefinition %s", o->ref);
    struct mignet *m = &ret->state;
    const struct net_link *l;
    struct nad_config c;
    struct assigned got;
    struct err err = {0};
    const char *ifname;
    struct ip ip;
    int rc;

    memset(ret, 0, sizeof *ret);
    snprintf(m->ref, sizeof m->ref, "%s", o->ref);
    if (!*o->ref) {
        m->state = MIGNET_NONE;
        snprintf(m->ip, sizeof m->ip, "%s", o->mgmt_ip);
        snprintf(m->code, sizeof m->code, "NoDedicatedNetwork");
        snprintf(m->reason, sizeof m->reason,
                 "liveMigrationConfig.network is not set: migrations use the management network");
        return;
    }
    if (!read_config(o, a, &c, m))
        return;
    ret->expect.urgent_dscp = dscp_of(o->nad);
    ret->expect.trusted = is_trusted(o->nad);
    rc = net_want_nad(&c, arena_strdup(a, origin), NULL, a, &ret->wants, &ifname, &err);
    if (rc != 0) {
        ret->wants.len = 0;
        net_mig_broken(m, o->ref, rc == -ENOTSUP ? NET_REASON_KIND : "NetworkInvalid", "%s",
                       err_msg(&err));
        return;
    }
    if (c.ipam_type && ip_parse(o->mgmt_ip, &ip, NULL) == 0 &&
        net_check_range_address(&c, &ip, "this host's management address", &err) != 0) {
        ret->wants.len = 0;
        net_mig_broken(m, o->ref, NET_REASON_OVERLAP, "%s", err_msg(&err));
        return;
    }
    read_assignment(o, &got);
    if (c.ipam_type && got.here && !got.has_addr) {
        ret->wants.len = 0;
        net_mig_broken(m, o->ref, got.code, "%s", got.message);
        return;
    }
    if (c.ipam_type && got.here && (l = net_state_with(now, &got.addr)) != NULL &&
        strcmp(l->name, ifname) != 0) {
        as_found(ret, l, &got.addr);
        return;
    }
    if (c.ipam_type && !got.here) {
        l = link_allowed(now, &c, ifname, &ip);
        if (l && strcmp(l->name, ifname) != 0) {
            as_found(ret, l, &ip);
            return;
        }
        if (!l) {
            ret->wants.len = 0;
            ret->keep = true;
            net_mig_broken(m, o->ref, "AddressPending",
                           "the controller has not given this node an address yet");
            return;
        }
        got.addr = ip;
    }
    if (c.ipam_type && net_check_range_host(&c, now, ifname, &err) != 0) {
        ret->wants.len = 0;
        net_mig_broken(m, o->ref, NET_REASON_OVERLAP, "%s", err_msg(&err));
        return;
    }
    if (c.ipam_type) {
        ret->expect.addr = got.addr;
        ret->expect.has_addr = true;
        rc = net_want_nad(&c, arena_strdup(a, origin), &got.addr, a, &ret->wants, &ifname, &err);
        if (rc != 0) {
            ret->wants.len = 0;
            net_mig_broken(m, o->ref, "NetworkInvalid", "%s", err_msg(&err));
            return;
        }
    }
    snprintf(ret->expect.ifname, sizeof ret->expect.ifname, "%s", ifname);
    ret->expect.mtu = (uint32_t)c.mtu;
    m->state = MIGNET_READY;
}

bool
net_mig_find(const struct net_mig_objects *o, const struct net_state *now, struct arena *a,
             struct net_mig_expect *ret)
{
    const struct net_link *l;
    struct net_mig_want w = {0};
    struct nad_config c;
    struct assigned got;
    struct ip ip;

    if (!*o->ref || !read_config(o, a, &c, &w.state) || !c.ipam_type)
        return false;
    read_assignment(o, &got);
    if (got.here && !got.has_addr)
        return false;
    ip = got.addr;
    l = got.here ? net_state_with(now, &ip) : link_allowed(now, &c, NET_MIGRATION_IFNAME, &ip);
    if (!l)
        return false;
    as_found(&w, l, &ip);
    *ret = w.expect;
    ret->urgent_dscp = dscp_of(o->nad);
    ret->trusted = is_trusted(o->nad);
    return true;
}

void
net_mig_check(const struct net_mig_expect *e, const char *ref, const struct net_state *now,
              struct mignet *ret)
{
    const struct net_link *l = net_state_find(now, e->ifname);
    char ip[IP_TEXT_SIZE] = "";
    bool has = false;

    memset(ret, 0, sizeof *ret);
    snprintf(ret->ref, sizeof ret->ref, "%s", ref);
    snprintf(ret->ifname, sizeof ret->ifname, "%s", e->ifname);
    ret->urgent_dscp = e->urgent_dscp;
    ret->trusted = e->trusted;
    if (e->has_addr)
        ip_format(&e->addr, ip, sizeof ip);
    if (!l) {
        net_mig_broken(ret, ref, "LinkDown", "interface %s is gone", e->ifname);
        return;
    }
    snprintf(ret->base, sizeof ret->base, "%s", l->base);
    ret->mtu = l->mtu;
    ret->speed_mbps = l->speed_mbps;
    ret->limit_bytes_per_s = l->shape.rate_bytes_per_s;
    for (size_t i = 0; i < l->addrs_len && !has; i++) {
        has = !e->has_addr || ip_equal(&l->addrs[i].ip, &e->addr);
        if (has)
            ip_format(&l->addrs[i].ip, ip, sizeof ip);
    }
    if (!l->up)
        net_mig_broken(ret, ref, "LinkDown", "interface %s was set down", e->ifname);
    else if (!l->carrier)
        net_mig_broken(ret, ref, "LinkDown", "interface %s has no carrier", e->ifname);
    else if (!has && e->has_addr)
        net_mig_broken(ret, ref, "AddressLost", "%s is no longer on interface %s", ip, e->ifname);
    else if (!has)
        net_mig_broken(ret, ref, "AddressLost",
                       "interface %s has no address, and the definition has no ipam", e->ifname);
    else if (e->mtu != 0 && l->mtu != e->mtu)
        net_mig_broken(ret, ref, "MTUChanged", "interface %s has MTU %u, want %u", e->ifname,
                       l->mtu, e->mtu);
    else {
        ret->state = MIGNET_READY;
        snprintf(ret->ip, sizeof ret->ip, "%s", ip);
        snprintf(ret->code, sizeof ret->code, "AddressFound");
        snprintf(ret->reason, sizeof ret->reason, "%s on %s for %s", ip, e->ifname, ref);
    }
}

void
net_mig_broken(struct mignet *m, const char *ref, const char *code, const char *fmt, ...)
{
    size_t n;
    va_list ap;

    m->state = MIGNET_BROKEN;
    m->ip[0] = '\0';
    snprintf(m->code, sizeof m->code, "%s", code);
    n = (size_t)snprintf(m->reason, sizeof m->reason, "%s: ", ref);
    va_start(ap, fmt);
    if (n < sizeof m->reason)
        vsnprintf(m->reason + n, sizeof m->reason - n, fmt, ap);
    va_end(ap);
}

bool
net_mig_equal(const struct mignet *a, const struct mignet *b)
{
    return a->state == b->state && strcmp(a->ip, b->ip) == 0 && strcmp(a->ifname, b->ifname) == 0 &&
           strcmp(a->base, b->base) == 0 && strcmp(a->ref, b->ref) == 0 &&
           strcmp(a->code, b->code) == 0 && strcmp(a->reason, b->reason) == 0 && a->mtu == b->mtu &&
           a->speed_mbps == b->speed_mbps && a->limit_bytes_per_s == b->limit_bytes_per_s &&
           a->urgent_dscp == b->urgent_dscp && a->trusted == b->trusted;
}

static bool
read_config(const struct net_mig_objects *o, struct arena *a, struct nad_config *ret,
            struct mignet *m)
{
    struct err err = {0};

    if (!o->nad)
        net_mig_broken(m, o->ref, "NetworkNotFound",
                       "liveMigrationConfig.network names it, but there is no such "
                       "NetworkAttachmentDefinition");
    else if (nad_config_parse(nad_decode(o->nad, a), ret, a, &err) != 0)
        net_mig_broken(m, o->ref, "NetworkInvalid", "%s", err_msg(&err));
    else
        return true;
    return false;
}

/* What is not for this network (any more), or cannot be read, is as if it were not there. */
static void
read_assignment(const struct net_mig_objects *o, struct assigned *ret)
{
    AUTO_TREE struct tree *t = NULL;
    struct cidr c;
    const char *address;

    memset(ret, 0, sizeof *ret);
    if (!o->assignment || tree_from_json(o->assignment, strlen(o->assignment), &t, NULL) != 0 ||
        strcmp(tree_find_string(t, "", "network", NULL), o->ref) != 0)
        return;
    address = tree_get_string(tree_get(t, "address"), "");
    if (*address) {
        ret->here = ret->has_addr = cidr_parse(address, &c, NULL) == 0;
        if (ret->here)
            ret->addr = c.base;
        return;
    }
    snprintf(ret->code, sizeof ret->code, "%.63s",
             tree_find_string(t, "AddressPending", "reason", NULL));
    snprintf(ret->message, sizeof ret->message, "%.399s",
             tree_find_string(t, "the controller gives no reason", "message", NULL));
    ret->here = true;
}

/* Of this interface if it has one, else of any. */
static const struct net_link *
link_allowed(const struct net_state *now, const struct nad_config *c, const char *ifname,
             struct ip *ret)
{
    const struct net_link *found = NULL;

    for (size_t i = 0; i < now->len; i++) {
        const struct net_link *l = &now->links[i];
        bool wanted = strcmp(l->name, ifname) == 0;

        if (l->kind == NET_LOOPBACK || (found && !wanted))
            continue;
        for (size_t k = 0; k < l->addrs_len; k++)
            if (nad_address_allowed(c, &l->addrs[k].ip)) {
                found = l;
                *ret = l->addrs[k].ip;
                break;
            }
    }
    return found;
}

static void
as_found(struct net_mig_want *w, const struct net_link *l, const struct ip *ip)
{
    w->wants.len = 0;
    w->expect.as_found = true;
    w->expect.has_addr = true;
    w->expect.addr = *ip;
    memcpy(w->expect.ifname, l->name, sizeof w->expect.ifname);
    w->state.state = MIGNET_READY;
}

static uint8_t
dscp_of(const struct tree *nad)
{
    const char *s = object_annotation(nad, ANN_URGENT_DSCP);
    char *end;
    long n = s && *s ? strtol(s, &end, 10) : 0;

    return s && *s && *end == '\0' && n >= 0 && n <= 63 ? (uint8_t)n : 0;
}

/* Only by the exact word: whatever else somebody wrote was refused, or is no declaration. */
static bool
is_trusted(const struct tree *nad)
{
    const char *s = object_annotation(nad, ANN_TRUSTED_NETWORK);

    return s && strcmp(s, "true") == 0;
}
