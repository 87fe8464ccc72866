/* See net_peers.h. */
#include "handler/net_peers.h"

#include <stdio.h>
#include <string.h>

#define NAMED 3 /* in a message */

static bool
drop(struct net_peers *p, size_t i)
{
    p->items[i] = p->items[--p->len];
    return true;
}

bool
net_peers_event(struct net_peers *p, const struct nl_event *e, uint64_t now_us)
{
    size_t i = 0;

    while (i < p->len && !ip_equal(&p->items[i].ip, &e->ip))
        i++;
    if (e->gone) /* the kernel tidies up; a failed one is kept until it answers or is forgotten */
        return i < p->len && !p->items[i].failed && drop(p, i);
    if (!e->neigh_failed && !e->neigh_reachable)
        return false;
    if (i == p->len) {
        if (p->len == HANDLER_MAX_PEERS)
            return false;
        p->items[p->len++] = (struct net_peer){.ip = e->ip};
    } else if (p->items[i].failed == e->neigh_failed) {
        return false;
    }
    p->items[i].failed = e->neigh_failed;
    p->items[i].since_us = now_us;
    return true;
}

bool
net_peers_expire(struct net_peers *p, uint64_t now_us)
{
    bool any = false;

    for (size_t i = 0; i < p->len;)
        if (p->items[i].failed && now_us - p->items[i].since_us >= HANDLER_PEER_FORGET_US)
            any = drop(p, i);
        else
            i++;
    return any;
}

size_t
net_peers_failed(const struct net_peers *p, char *ret_text, size_t size)
{
    size_t n = 0, at = 0;

    ret_text[0] = '\0';
    for (size_t i = 0; i < p->len; i++) {
        char ip[IP_TEXT_SIZE];

        if (!p->items[i].failed || ++n > NAMED || at >= size)
            continue;
        ip_format(&p->items[i].ip, ip, sizeof ip);
        at += (size_t)snprintf(ret_text + at, size - at, "%s%s", n > 1 ? ", " : "", ip);
    }
    if (n > NAMED && at < size)
        snprintf(ret_text + at, size - at, " and %zu more", n - NAMED);
    return n;
}
