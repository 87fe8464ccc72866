/* The CNI configuration of a NetworkAttachmentDefinition, from JSON text to struct nad_config; see
 * nad.h. The addresses of its range are in nad_range.c. */
#include "netpolicy/nad.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "api/limits.h"
#include "api/tree.h"

/* A map inside the configuration, and what errors call it: "config", "config.plugins[0]". */
struct place {
    const struct tree *map;
    const char *path;
    struct arena *arena;
    struct err *err;
};

static int read_config(const struct tree *doc, struct nad_config *c, struct arena *a,
                       struct err *err);
static int read_plugin(const struct place *p, struct nad_config *c);
static int read_ipam(const struct place *p, struct nad_config *c);
static int read_whereabouts(const struct place *p, struct nad_config *c);
static int read_host_local(const struct place *p, struct nad_config *c);
static int read_static(const struct place *p, struct nad_config *c);
static int read_bounds(const struct place *p, const char *start_key, const char *end_key,
                       struct nad_config *c);

int
nad_config_parse(const struct nad *nad, struct nad_config *ret, struct arena *a, struct err *err)
{
    AUTO_TREE struct tree *doc = NULL;
    struct nad_config c = {0};
    const char *name = nad->meta.name ? nad->meta.name : "";
    const char *ns = nad->meta.namespace_ ? nad->meta.namespace_ : "";
    size_t len = nad->config ? strlen(nad->config) : 0;
    int rc;

    if (len == 0)
        rc = err_set(err, -EINVAL, "config: want a CNI configuration as JSON text; it is empty");
    else if (len > NAD_MAX_CONFIG_BYTES)
        rc = err_set(err, -EINVAL, "config: %zu bytes; at most %u are read", len,
                     NAD_MAX_CONFIG_BYTES);
    else if ((rc = tree_from_json(nad->config, len, &doc, err)) != 0)
        rc = err_prefix(err, rc, "config is not valid JSON");
    else
        rc = read_config(doc, &c, a, err);
    if (rc != 0)
        return err_prefix(err, rc, "NetworkAttachmentDefinition %s/%s", ns, name);
    *ret = c;
    return 0;
}

void
nad_ref_split(const char *ref, const char *dflt_ns, struct arena *a, const char **ret_ns,
              const char **ret_name)
{
    const char *slash = strchr(ref, '/');

    *ret_ns = slash ? arena_strndup(a, ref, (size_t)(slash - ref)) : arena_strdup(a, dflt_ns);
    *ret_name = arena_strdup(a, slash ? slash + 1 : ref);
}

/* --- fields: absent and null leave the output alone --- */

static int
field_text(const struct place *p, const char *key, const char **ret)
{
    const struct tree *t = tree_get(p->map, key);
    const char *s;

    if (tree_type(t) == TREE_NULL)
        return 0;
    if (tree_type(t) != TREE_STRING)
        return err_set(p->err, -EINVAL, "%s.%s: want text, found %s", p->path, key,
                       tree_type_name(tree_type(t)));
    s = tree_get_string(t, "");
    if (*s)
        *ret = arena_strdup(p->arena, s);
    return 0;
}

static int
field_int(const struct place *p, const char *key, int64_t min, int64_t max, int64_t *ret)
{
    const struct tree *t = tree_get(p->map, key);
    int64_t v;

    if (tree_type(t) == TREE_NULL)
        return 0;
    if (tree_type(t) != TREE_INT)
        return err_set(p->err, -EINVAL, "%s.%s: want a whole number, found %s", p->path, key,
                       tree_type_name(tree_type(t)));
    v = tree_get_int(t, 0);
    if (v != 0 && (v < min || v > max))
        return err_set(p->err, -EINVAL, "%s.%s: %lld: want %lld to %lld", p->path, key,
                       (long long)v, (long long)min, (long long)max);
    *ret = v;
    return 0;
}

static int
field_ifname(const struct place *p, const char *key, bool required, const char **ret)
{
    int rc = field_text(p, key, ret);
    const char *s = *ret;
    bool ok = true;

    if (rc != 0)
        return rc;
    if (!s)
        return required ? err_set(p->err, -EINVAL, "%s.%s: is missing: want an interface's name",
                                  p->path, key)
                        : 0;
    for (const char *q = s; *q; q++)
        if (*q == '/' || *q == ':' || isspace((unsigned char)*q) || !isprint((unsigned char)*q))
            ok = false;
    if (!ok || strlen(s) >= NL_IFNAME_SIZE || strcmp(s, ".") == 0 || strcmp(s, "..") == 0)
        return err_set(p->err, -EINVAL,
                       "%s.%s: \"%.64s\": want an interface's name: 1 to %d bytes without blanks, "
                       "'/' and ':'",
                       p->path, key, s, NL_IFNAME_SIZE - 1);
    return 0;
}

static int
field_ip(const struct place *p, const char *key, bool *has, struct ip *ret)
{
    const char *s = NULL;
    int rc = field_text(p, key, &s);

    if (rc != 0 || !s)
        return rc;
    if (ip_parse(s, ret, NULL) != 0)
        return err_set(p->err, -EINVAL, "%s.%s: \"%.64s\": want an address such as 10.200.5.10",
                       p->path, key, s);
    *has = true;
    return 0;
}

static int
field_list(const struct place *p, const char *key, size_t max, const struct tree **ret)
{
    const struct tree *t = tree_get(p->map, key);

    *ret = NULL;
    if (tree_type(t) == TREE_NULL)
        return 0;
    if (tree_type(t) != TREE_LIST)
        return err_set(p->err, -EINVAL, "%s.%s: want a list, found %s", p->path, key,
                       tree_type_name(tree_type(t)));
    if (tree_len(t) > max)
        return err_set(p->err, -EINVAL, "%s.%s: %zu items; at most %zu are read", p->path, key,
                       tree_len(t), max);
    *ret = t;
    return 0;
}

/* Item i of a list as a place. */
static int
item_place(const struct place *p, const char *key, const struct tree *list, size_t i,
           struct place *ret)
{
    *ret = *p;
    ret->map = tree_at(list, i);
    ret->path = arena_printf(p->arena, "%s.%s[%zu]", p->path, key, i);
    if (tree_type(ret->map) != TREE_MAP)
        return err_set(p->err, -EINVAL, "%s: want an object, found %s", ret->path,
                       tree_type_name(tree_type(ret->map)));
    return 0;
}

/* --- the configuration --- */

static int
read_config(const struct tree *doc, struct nad_config *c, struct arena *a, struct err *err)
{
    struct place top = {.map = doc, .path = "config", .arena = a, .err = err};
    struct place plugin = top;
    const struct tree *plugins;
    const char *version = NULL;
    int rc;

    if (tree_type(doc) != TREE_MAP)
        return err_set(err, -EINVAL, "config: want a JSON object, found %s",
                       tree_type_name(tree_type(doc)));
    if ((rc = field_text(&top, "cniVersion", &version)) != 0 ||
        (rc = field_text(&top, "name", &c->name)) != 0 ||
        (rc = field_list(&top, "plugins", NAD_MAX_PLUGINS, &plugins)) != 0)
        return rc;
    if (!c->name)
        return err_set(err, -EINVAL, "config.name: is missing: want the network's name");
    if (!plugins)
        return read_plugin(&top, c);

    if (tree_get(doc, "type"))
        return err_set(err, -EINVAL, "config: has both type and plugins: want one of them");
    if (tree_len(plugins) == 0)
        return err_set(err, -EINVAL, "config.plugins: is empty: want at least one plugin");
    /* The first makes the interface; those after it (tuning, cnv-tuning) only change it. */
    for (size_t i = tree_len(plugins); i-- > 0;) {
        const char *type = NULL;

        if ((rc = item_place(&top, "plugins", plugins, i, &plugin)) != 0 ||
            (rc = field_text(&plugin, "type", &type)) != 0)
            return rc;
        if (!type)
            return err_set(err, -EINVAL, "%s.type: is missing: want a plugin's name", plugin.path);
    }
    return read_plugin(&plugin, c);
}

static int
one_of(const struct place *p, const char *key, const char *value, const char *const *allowed,
       const char *text)
{
    for (; *allowed; allowed++)
        if (strcmp(value, *allowed) == 0)
            return 0;
    return err_set(p->err, -EINVAL, "%s.%s: \"%.64s\": want %s", p->path, key, value, text);
}

static int
read_plugin(const struct place *p, struct nad_config *c)
{
    static const char *const types[] = {"macvlan",     "bridge", "cnv-bridge",
                                        "host-device", "vlan",   NULL};
    static const char *const modes[] = {"bridge", "private", "vepa", "passthru", NULL};
    const char *want = "macvlan, bridge, cnv-bridge, host-device or vlan";
    int rc;

    if ((rc = field_text(p, "type", &c->type)) != 0)
        return rc;
    if (!c->type)
        return err_set(p->err, -EINVAL, "%s.type: is missing: want %s", p->path, want);
    if ((rc = one_of(p, "type", c->type, types, want)) != 0 ||
        (rc = field_int(p, "mtu", 68, 65535, &c->mtu)) != 0)
        return rc;

    if (strcmp(c->type, "macvlan") == 0) {
        if ((rc = field_ifname(p, "master", true, &c->master)) != 0 ||
            (rc = field_text(p, "mode", &c->mode)) != 0)
            return rc;
        if (!c->mode)
            c->mode = "bridge";
        rc = one_of(p, "mode", c->mode, modes, "bridge, private, vepa or passthru");
    } else if (strcmp(c->type, "vlan") == 0) {
        if ((rc = field_ifname(p, "master", true, &c->master)) == 0)
            rc = field_int(p, "vlanId", 1, 4094, &c->vlan);
        if (rc == 0 && c->vlan == 0)
            rc = err_set(p->err, -EINVAL, "%s.vlanId: is missing: want 1 to 4094", p->path);
    } else if (strcmp(c->type, "host-device") == 0) {
        rc = field_ifname(p, "device", true, &c->master);
    } else {
        if ((rc = field_ifname(p, "bridge", true, &c->bridge)) == 0)
            rc = field_int(p, "vlan", 0, 4095, &c->vlan);
    }
    return rc != 0 ? rc : read_ipam(p, c);
}

/* --- addresses --- */

static int
read_ipam(const struct place *p, struct nad_config *c)
{
    const char *want = "whereabouts, host-local or static";
    struct place q = *p;
    int rc;

    q.map = tree_get(p->map, "ipam");
    q.path = arena_printf(p->arena, "%s.ipam", p->path);
    if (tree_type(q.map) == TREE_NULL)
        return 0;
    if (tree_type(q.map) != TREE_MAP)
        return err_set(p->err, -EINVAL, "%s: want an object, found %s", q.path,
                       tree_type_name(tree_type(q.map)));
    if ((rc = field_text(&q, "type", &c->ipam_type)) != 0)
        return rc;
    if (!c->ipam_type) /* "ipam": {} means none; a range without a type means a mistake */
        return tree_len(q.map) == 0
                   ? 0
                   : err_set(p->err, -EINVAL, "%s.type: is missing: want %s", q.path, want);
    if (strcmp(c->ipam_type, "whereabouts") == 0)
        return read_whereabouts(&q, c);
    if (strcmp(c->ipam_type, "host-local") == 0)
        return read_host_local(&q, c);
    if (strcmp(c->ipam_type, "static") == 0)
        return read_static(&q, c);
    return err_set(p->err, -EINVAL, "%s.type: \"%.64s\": want %s", q.path, c->ipam_type, want);
}

/* A range of addresses to hand out: its network, with room for at least two hosts. */
static int
set_range(const struct place *p, const char *key, const char *text, struct nad_config *c)
{
    struct cidr r;
    int rc = cidr_parse(text, &r, p->err);

    if (rc != 0)
        return err_prefix(p->err, rc, "%s.%s", p->path, key);
    if (r.prefix > (r.v4 ? 30u : 126u) || r.prefix == 0)
        return err_set(p->err, -EINVAL, "%s.%s: \"%.64s\": want a prefix length of 1 to %u",
                       p->path, key, text, r.v4 ? 30u : 126u);
    r.base = cidr_first(&r);
    c->range = r;
    c->has_range = true;
    return 0;
}

static int
read_whereabouts(const struct place *p, struct nad_config *c)
{
    const struct tree *ranges, *exclude;
    struct place r = *p;
    const char *text = NULL, *net;
    int rc;

    if ((rc = field_text(p, "range", &text)) != 0 ||
        (rc = field_list(p, "ipRanges", API_MAX_LIST_ITEMS, &ranges)) != 0)
        return rc;
    if (!text && tree_len(ranges) > 0) {
        if (tree_len(ranges) > 1)
            return err_set(p->err, -EINVAL, "%s.ipRanges: %zu ranges: one is supported", p->path,
                           tree_len(ranges));
        if ((rc = item_place(p, "ipRanges", ranges, 0, &r)) != 0 ||
            (rc = field_text(&r, "range", &text)) != 0)
            return rc;
    }
    if (!text)
        return err_set(p->err, -EINVAL,
                       "%s.range: is missing: want a network such as 10.200.5.0/24", r.path);
    /* whereabouts also takes "FIRST-LAST/PREFIX". */
    net = strchr(text, '-');
    if ((rc = set_range(&r, "range", net ? net + 1 : text, c)) != 0)
        return rc;
    if (net) {
        struct cidr last;
        const char *first = arena_strndup(p->arena, text, (size_t)(net - text));

        if (cidr_parse(net + 1, &last, p->err) != 0 || ip_parse(first, &c->range_start, NULL) != 0)
            return err_set(p->err, -EINVAL,
                           "%s.range: \"%.64s\": want FIRST-LAST/PREFIX, such as "
                           "10.200.5.10-10.200.5.20/24",
                           r.path, text);
        c->range_end = last.base;
        c->has_range_start = c->has_range_end = true;
    }
    if ((rc = read_bounds(&r, "range_start", "range_end", c)) != 0 ||
        (rc = field_list(&r, "exclude", NAD_MAX_EXCLUDES, &exclude)) != 0)
        return rc;

    c->exclude = arena_calloc(p->arena, tree_len(exclude), sizeof *c->exclude);
    for (size_t i = 0; i < tree_len(exclude); i++) {
        const char *s = tree_get_string(tree_at(exclude, i), "");
        struct cidr *e = &c->exclude[c->exclude_len++];

        if (ip_parse(s, &e->base, &e->v4) == 0)
            e->prefix = e->v4 ? 32 : 128;
        else if ((rc = cidr_parse(s, e, p->err)) != 0)
            return err_prefix(p->err, rc, "%s.exclude[%zu]", r.path, i);
    }
    return 0;
}

static int
read_host_local(const struct place *p, struct nad_config *c)
{
    const struct tree *sets, *set = NULL;
    struct place r = *p;
    const char *text = NULL;
    int rc;

    if ((rc = field_list(p, "ranges", API_MAX_LIST_ITEMS, &sets)) != 0)
        return rc;
    if (sets) {
        set = tree_at(sets, 0);
        if (tree_len(sets) != 1 || tree_type(set) != TREE_LIST || tree_len(set) != 1)
            return err_set(p->err, -EINVAL,
                           "%s.ranges: want one list with one range: [[{\"subnet\": ...}]]",
                           p->path);
        if ((rc = item_place(p, "ranges[0]", set, 0, &r)) != 0)
            return rc;
    }
    if ((rc = field_text(&r, "subnet", &text)) != 0)
        return rc;
    if (!text)
        return err_set(p->err, -EINVAL,
                       "%s.subnet: is missing: want a network such as 10.200.5.0/24", r.path);
    if ((rc = set_range(&r, "subnet", text, c)) != 0)
        return rc;
    return read_bounds(&r, "rangeStart", "rangeEnd", c);
}

static int
read_static(const struct place *p, struct nad_config *c)
{
    const struct tree *list;
    int rc = field_list(p, "addresses", NAD_MAX_STATIC, &list);

    if (rc != 0)
        return rc;
    if (tree_len(list) == 0)
        return err_set(p->err, -EINVAL, "%s.addresses: is missing: want at least one address",
                       p->path);
    c->static_addresses = arena_calloc(p->arena, tree_len(list), sizeof *c->static_addresses);
    for (size_t i = 0; i < tree_len(list); i++) {
        const char *s = NULL;
        struct place item;

        if ((rc = item_place(p, "addresses", list, i, &item)) != 0 ||
            (rc = field_text(&item, "address", &s)) != 0)
            return rc;
        if ((rc = cidr_parse(s ? s : "", &c->static_addresses[c->static_len++], p->err)) != 0)
            return err_prefix(p->err, rc, "%s.address", item.path);
    }
    return 0;
}

static int
read_bounds(const struct place *p, const char *start_key, const char *end_key, struct nad_config *c)
{
    char range[CIDR_TEXT_SIZE], text[IP_TEXT_SIZE];
    int rc;

    if ((rc = field_ip(p, start_key, &c->has_range_start, &c->range_start)) != 0 ||
        (rc = field_ip(p, end_key, &c->has_range_end, &c->range_end)) != 0)
        return rc;
    cidr_format(&c->range, range, sizeof range);
    if (c->has_range_start && !cidr_contains(&c->range, &c->range_start)) {
        ip_format(&c->range_start, text, sizeof text);
        return err_set(p->err, -EINVAL, "%s.%s: %s is not in %s", p->path, start_key, text, range);
    }
    if (c->has_range_end && !cidr_contains(&c->range, &c->range_end)) {
        ip_format(&c->range_end, text, sizeof text);
        return err_set(p->err, -EINVAL, "%s.%s: %s is not in %s", p->path, end_key, text, range);
    }
    if (c->has_range_start && c->has_range_end && ip_cmp(&c->range_start, &c->range_end) > 0) {
        ip_format(&c->range_end, text, sizeof text);
        return err_set(p->err, -EINVAL, "%s.%s: %s is before the range's start", p->path, end_key,
                       text);
    }
    return 0;
}
