/* Interfaces and wishes in one line each, for tables of cases:
 *   "eth1 up mtu=9000 10.0.0.1/24; br1 bridge up ports=eth1"
 * name, then any of: ethernet bridge bond vlan macvlan loopback other, up down absent, mtu= max= mac=
 * ctl= on= mode= id= bmode= miimon= limit= stp arp route qdisc, addresses (dhcp: before a foreign
 * one), no4 no6 (an empty set), ports=a,b. State of an interface: ethernet, up, mtu 1500 unless said
 * otherwise. */
#ifndef TESTS_NETPOLICY_NET_TEXT_H
#define TESTS_NETPOLICY_NET_TEXT_H

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/sb.h"
#include "netpolicy/net_plan.h"

static inline int
text_kind(const char *word)
{
    static const char *const words[] = {"ethernet", "loopback", "bridge", "bond",
                                        "vlan",     "macvlan",  "other"};

    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (strcmp(word, words[i]) == 0)
            return (int)i;
    return -1;
}

static inline const char *
text_value(const char *word, const char *key)
{
    size_t len = strlen(key);

    return strncmp(word, key, len) == 0 ? word + len : NULL;
}

static inline void
text_ports(struct net_want *w, const char *v, struct arena *a)
{
    char *list = arena_strdup(a, v), *save = NULL;

    w->has_ports = true;
    w->ports = arena_calloc(a, 16, sizeof *w->ports);
    for (char *p = strtok_r(list, ",", &save); p; p = strtok_r(NULL, ",", &save))
        w->ports[w->ports_len++] = p;
}

static inline void
text_addr(struct net_want *w, const char *word, bool foreign, struct arena *a)
{
    struct net_addr *all = arena_calloc(a, w->link.addrs_len + 1, sizeof *all);
    struct net_link one = {.addrs = all, .addrs_len = 1};
    struct cidr c;

    if (cidr_parse(word, &c, NULL) != 0) {
        fprintf(stderr, "test text: what is \"%s\"?\n", word);
        abort();
    }
    all[0] = (struct net_addr){.ip = c.base, .prefix = c.prefix, .foreign = foreign};
    for (size_t i = 0; i < w->link.addrs_len; i++)
        all[one.addrs_len++] = w->link.addrs[i];
    w->link.addrs_len = 0;
    net_link_take(&w->link, &one, NET_F_ADDRS4 | NET_F_ADDRS6, a);
    w->fields |= c.v4 ? NET_F_ADDRS4 : NET_F_ADDRS6;
}

static inline void
text_word(struct net_want *w, const char *word, struct arena *a)
{
    struct net_link *l = &w->link;
    const char *v;

    if (text_kind(word) >= 0) {
        l->kind = (enum net_kind)text_kind(word);
        w->has_kind = true;
    } else if (strcmp(word, "up") == 0 || strcmp(word, "down") == 0) {
        l->up = *word == 'u';
        w->presence = l->up ? NET_UP : NET_DOWN;
    } else if (strcmp(word, "absent") == 0) {
        w->presence = NET_ABSENT;
    } else if ((v = text_value(word, "mtu="))) {
        l->mtu = (uint32_t)atoi(v);
        w->fields |= NET_F_MTU;
    } else if ((v = text_value(word, "max="))) {
        l->max_mtu = (uint32_t)atoi(v);
    } else if ((v = text_value(word, "mac="))) {
        l->mac[0] = 2;
        l->mac[5] = (uint8_t)atoi(v);
        w->fields |= NET_F_MAC;
    } else if ((v = text_value(word, "ctl="))) {
        snprintf(l->controller, sizeof l->controller, "%s", v);
        w->fields |= NET_F_CONTROLLER;
    } else if ((v = text_value(word, "on="))) {
        snprintf(l->base, sizeof l->base, "%s", v);
        w->fields |= NET_F_BASE;
    } else if ((v = text_value(word, "mode="))) {
        l->macvlan_mode = net_macvlan_mode(v);
    } else if ((v = text_value(word, "id="))) {
        l->vlan_id = (uint16_t)atoi(v);
    } else if ((v = text_value(word, "bmode="))) {
        l->bond_mode = (uint8_t)atoi(v);
        w->fields |= NET_F_BOND;
    } else if ((v = text_value(word, "miimon="))) {
        l->bond_miimon = (uint32_t)atoi(v);
        w->fields |= NET_F_BOND;
    } else if ((v = text_value(word, "limit="))) {
        l->shape.rate_bytes_per_s = (uint64_t)atoi(v);
        w->fields |= NET_F_SHAPE;
    } else if ((v = text_value(word, "ports="))) {
        text_ports(w, v, a);
    } else if (strcmp(word, "stp") == 0) {
        l->stp = true;
        w->fields |= NET_F_BRIDGE;
    } else if (strcmp(word, "arp") == 0) {
        l->arp_ignore = true;
        w->fields |= NET_F_ARP_IGNORE;
    } else if (strcmp(word, "route") == 0) {
        l->default_route = true;
    } else if (strcmp(word, "qdisc") == 0) {
        l->shape_foreign = true;
    } else if (strcmp(word, "no4") == 0 || strcmp(word, "no6") == 0) {
        w->fields |= word[2] == '4' ? NET_F_ADDRS4 : NET_F_ADDRS6;
    } else if ((v = text_value(word, "dhcp:"))) {
        text_addr(w, v, true, a);
    } else {
        text_addr(w, word, false, a);
    }
}

static inline void
text_wants(const char *text, struct arena *a, struct net_wants *ret)
{
    char *all = arena_strdup(a, text), *save = NULL;

    *ret = (struct net_wants){.items = arena_calloc(a, 64, sizeof *ret->items)};
    for (char *line = strtok_r(all, ";", &save); line; line = strtok_r(NULL, ";", &save)) {
        struct net_want *w = &ret->items[ret->len];
        char *inner = NULL, *name = strtok_r(line, " ", &inner);

        if (!name)
            continue;
        snprintf(w->link.name, sizeof w->link.name, "%s", name);
        w->origin = "policy";
        w->field = arena_printf(a, "interfaces[%zu]", ret->len);
        for (char *word = strtok_r(NULL, " ", &inner); word; word = strtok_r(NULL, " ", &inner))
            text_word(w, word, a);
        ret->len++;
    }
}

static inline int
text_compare_links(const void *x, const void *y)
{
    const struct net_link *a = x, *b = y;

    return strcmp(a->name, b->name);
}

static inline void
text_state(const char *text, struct arena *a, struct net_state *ret)
{
    struct net_wants w;

    text_wants(text, a, &w);
    *ret = (struct net_state){.links = arena_calloc(a, w.len, sizeof *ret->links), .len = w.len};
    for (size_t i = 0; i < w.len; i++) {
        struct net_link *l = &ret->links[i];

        *l = w.items[i].link;
        l->up = w.items[i].presence == NET_UP;
        if (!(w.items[i].fields & NET_F_MTU))
            l->mtu = 1500;
        if (l->kind == NET_MACVLAN && !l->macvlan_mode)
            l->macvlan_mode = net_macvlan_mode("bridge");
        l->ifindex = (int)i + 2;
    }
    if (ret->len > 0)
        qsort(ret->links, ret->len, sizeof *ret->links, text_compare_links);
}

/* The steps, joined by "; ". */
static inline const char *
text_plan(const struct net_plan *p, struct arena *a)
{
    AUTO_SB struct sb sb = SB_INIT;

    for (size_t i = 0; i < p->len; i++) {
        char step[128];

        net_step_text(&p->steps[i], step, sizeof step);
        sb_printf(&sb, "%s%s", i > 0 ? "; " : "", step);
    }
    return arena_strdup(a, sb_str(&sb));
}

#endif
