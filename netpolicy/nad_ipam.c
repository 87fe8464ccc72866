/* The "ipam" part of a CNI configuration; see nad_ipam.h. Fields as in the documents of whereabouts
 * ("extended configuration") and of the CNI plugins host-local and static. Upstream's host-local
 * gives out addresses for each host apart; here the range is the cluster's for all three. */
#include "netpolicy/nad_ipam.h"

#include <errno.h>
#include <string.h>

#include "api/limits.h"

static int read_whereabouts(const struct place *p, struct nad_config *c);
static int read_host_local(const struct place *p, struct nad_config *c);
static int read_static(const struct place *p, struct nad_config *c);
static int read_bounds(const struct place *p, const char *start_key, const char *end_key,
                       struct nad_config *c);
static int read_excluded(const struct place *range, const struct place *ipam, const char *key,
                         struct nad_config *c);

int
nad_ipam_read(const struct place *plugin, struct nad_config *c)
{
    static const char *const types[] = {"whereabouts", "host-local", "static", NULL};
    static int (*const readers[])(const struct place *, struct nad_config *) = {
        read_whereabouts, read_host_local, read_static};
    const char *want = "whereabouts, host-local or static", *type = NULL;
    struct place p;
    int rc;

    if ((rc = place_map(plugin, "ipam", &p)) != 0 || !p.map ||
        (rc = place_text(&p, "type", &type)) != 0)
        return rc;
    if (!type) /* "ipam": {} means none; a range without a type means a mistake */
        return tree_len(p.map) == 0
                   ? 0
                   : err_set(p.err, -EINVAL, "%s.type: is missing: want %s", p.path, want);
    if ((rc = place_one_of(&p, "type", type, types, want)) != 0)
        return rc;
    c->ipam_type = types[place_index_of(type, types)];
    return readers[place_index_of(type, types)](&p, c);
}

/* A range of addresses to hand out: its network, with room for at least two hosts. */
static int
set_range(const struct place *p, const char *key, const char *text, struct nad_config *c)
{
    struct ip first, last;
    struct cidr r;
    int rc = cidr_parse(text, &r, p->err);

    if (rc != 0)
        return err_prefix(p->err, rc, "%s.%s", p->path, key);
    if (r.prefix > (r.v4 ? 30u : 126u) || r.prefix == 0)
        return err_set(p->err, -EINVAL, "%s.%s: \"%.64s\": want a prefix length of 1 to %u",
                       p->path, key, text, r.v4 ? 30u : 126u);
    r.base = cidr_first(&r);
    first = ip_next(&r.base);
    last = cidr_last(&r);
    if (!ip_is_assignable(&first) || !ip_is_assignable(&last))
        return err_set(p->err, -EINVAL,
                       "%s.%s: \"%.64s\": want addresses that hosts can have (not loopback, "
                       "link-local or multicast)",
                       p->path, key, text);
    c->range = r;
    c->has_range = true;
    return 0;
}

/* whereabouts also takes "FIRST-LAST/PREFIX". */
static int
read_range_text(const struct place *p, const char *text, struct nad_config *c)
{
    const char *dash = strchr(text, '-');
    struct cidr last;
    int rc = set_range(p, "range", dash ? dash + 1 : text, c);

    if (rc != 0 || !dash)
        return rc;
    if (cidr_parse(dash + 1, &last, p->err) != 0 ||
        ip_parse(arena_strndup(p->arena, text, (size_t)(dash - text)), &c->range_start, NULL) != 0)
        return err_set(p->err, -EINVAL,
                       "%s.range: \"%.64s\": want FIRST-LAST/PREFIX, such as "
                       "10.200.5.10-10.200.5.20/24",
                       p->path, text);
    c->range_end = last.base;
    c->has_range_start = c->has_range_end = true;
    return 0;
}

static int
read_whereabouts(const struct place *p, struct nad_config *c)
{
    const struct tree *ranges;
    struct place r = *p;
    const char *text = NULL;
    int rc;

    if ((rc = place_text(p, "range", &text)) != 0 ||
        (rc = place_list(p, "ipRanges", API_MAX_LIST_ITEMS, &ranges)) != 0)
        return rc;
    if (tree_len(ranges) + (text != NULL) > 1)
        return err_set(p->err, -EINVAL, "%s.ipRanges: %zu ranges: one is supported", p->path,
                       tree_len(ranges) + (text != NULL));
    if (tree_len(ranges) == 1 && ((rc = place_item(p, "ipRanges", ranges, 0, &r)) != 0 ||
                                  (rc = place_text(&r, "range", &text)) != 0))
        return rc;
    if (!text)
        return err_set(p->err, -EINVAL,
                       "%s.range: is missing: want a network such as 10.200.5.0/24", r.path);
    if ((rc = read_range_text(&r, text, c)) != 0 ||
        (rc = read_bounds(&r, "range_start", "range_end", c)) != 0)
        return rc;
    return read_excluded(&r, p, "exclude", c);
}

static int
read_host_local(const struct place *p, struct nad_config *c)
{
    const struct tree *sets, *set = NULL;
    struct place r = *p;
    const char *text = NULL;
    int rc;

    if ((rc = place_list(p, "ranges", API_MAX_LIST_ITEMS, &sets)) != 0)
        return rc;
    if (sets) {
        set = tree_at(sets, 0);
        if (tree_len(sets) != 1 || tree_type(set) != TREE_LIST || tree_len(set) != 1)
            return err_set(p->err, -EINVAL,
                           "%s.ranges: want one list with one range: [[{\"subnet\": ...}]]",
                           p->path);
        if ((rc = place_item(p, "ranges[0]", set, 0, &r)) != 0)
            return rc;
    }
    if ((rc = place_text(&r, "subnet", &text)) != 0)
        return rc;
    if (!text)
        return err_set(p->err, -EINVAL,
                       "%s.subnet: is missing: want a network such as 10.200.5.0/24", r.path);
    if ((rc = set_range(&r, "subnet", text, c)) != 0 ||
        (rc = read_bounds(&r, "rangeStart", "rangeEnd", c)) != 0)
        return rc;
    return read_excluded(&r, &r, NULL, c);
}

static int
read_static(const struct place *p, struct nad_config *c)
{
    const struct tree *list;
    char text[IP_TEXT_SIZE];
    int rc = place_list(p, "addresses", NAD_MAX_STATIC, &list);

    if (rc != 0)
        return rc;
    if (tree_len(list) == 0)
        return err_set(p->err, -EINVAL, "%s.addresses: is missing: want at least one address",
                       p->path);
    c->static_addresses = arena_calloc(p->arena, tree_len(list), sizeof *c->static_addresses);
    for (size_t i = 0; i < tree_len(list); i++) {
        struct cidr *at = &c->static_addresses[i];
        const char *s = "";
        struct place item;

        if ((rc = place_item(p, "addresses", list, i, &item)) != 0 ||
            (rc = place_text(&item, "address", &s)) != 0)
            return rc;
        if ((rc = cidr_parse(s, at, p->err)) != 0)
            return err_prefix(p->err, rc, "%s.address", item.path);
        ip_format(&at->base, text, sizeof text);
        if (at->prefix == 0 || !ip_is_assignable(&at->base))
            return err_set(p->err, -EINVAL,
                           "%s.address: \"%.64s\": want an address that one host can have, and a "
                           "prefix length of 1 to %d",
                           item.path, s, at->v4 ? 32 : 128);
        for (size_t k = 0; k < i; k++)
            if (ip_equal(&c->static_addresses[k].base, &at->base))
                return err_set(p->err, -EINVAL, "%s.address: %s: stands in this list twice",
                               item.path, text);
        c->static_len++;
    }
    return 0;
}

/* --- parts of a range --- */

static int
check_inside(const struct place *p, const char *key, const struct nad_config *c, const struct ip *a)
{
    char range[CIDR_TEXT_SIZE], text[IP_TEXT_SIZE];

    if (cidr_contains(&c->range, a))
        return 0;
    cidr_format(&c->range, range, sizeof range);
    ip_format(a, text, sizeof text);
    return err_set(p->err, -EINVAL, "%s.%s: %s is not in %s", p->path, key, text, range);
}

static int
read_bounds(const struct place *p, const char *start_key, const char *end_key, struct nad_config *c)
{
    char text[IP_TEXT_SIZE];
    int rc;

    if ((rc = place_ip(p, start_key, &c->has_range_start, &c->range_start)) != 0 ||
        (rc = place_ip(p, end_key, &c->has_range_end, &c->range_end)) != 0)
        return rc;
    if (c->has_range_start && (rc = check_inside(p, start_key, c, &c->range_start)) != 0)
        return rc;
    if (c->has_range_end && (rc = check_inside(p, end_key, c, &c->range_end)) != 0)
        return rc;
    if (c->has_range_start && c->has_range_end && ip_cmp(&c->range_start, &c->range_end) > 0) {
        ip_format(&c->range_end, text, sizeof text);
        return err_set(p->err, -EINVAL, "%s.%s: %s is before the range's start", p->path, end_key,
                       text);
    }
    return 0;
}

/* What is never given out: the listed networks and addresses (key NULL: no such list), and the
 * gateway, which stands beside `exclude` or in `ipam` itself. */
static int
read_excluded(const struct place *range, const struct place *ipam, const char *key,
              struct nad_config *c)
{
    const struct tree *list = NULL;
    bool has_gateway = false;
    struct ip gateway;
    int rc;

    if (key && (rc = place_list(range, key, NAD_MAX_EXCLUDES, &list)) != 0)
        return rc;
    c->exclude = arena_calloc(range->arena, tree_len(list) + 1, sizeof *c->exclude);
    for (size_t i = 0; i < tree_len(list); i++) {
        const char *s = tree_get_string(tree_at(list, i), "");
        struct cidr *e = &c->exclude[c->exclude_len++];

        if (ip_parse(s, &e->base, &e->v4) == 0)
            e->prefix = e->v4 ? 32 : 128;
        else if ((rc = cidr_parse(s, e, range->err)) != 0)
            return err_prefix(range->err, rc, "%s.%s[%zu]", range->path, key, i);
    }
    if ((rc = place_ip(ipam, "gateway", &has_gateway, &gateway)) != 0 || !has_gateway)
        return rc;
    if ((rc = check_inside(ipam, "gateway", c, &gateway)) != 0)
        return rc;
    c->exclude[c->exclude_len++] = (struct cidr){
        .base = gateway, .prefix = ip_is_v4(&gateway) ? 32 : 128, .v4 = ip_is_v4(&gateway)};
    return 0;
}
