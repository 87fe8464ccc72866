/* The CNI configuration of a NetworkAttachmentDefinition, from JSON text to struct nad_config; see
 * nad.h. What its ipam says is read in nad_ipam.c; the addresses of its range are in nad_range.c. */
#include "netpolicy/nad.h"

#include <errno.h>
#include <string.h>

#include "api/tree.h"
#include "netpolicy/nad_ipam.h"

#define MTU_MIN      68
#define MTU_MIN_IPV6 1280 /* RFC 8200, section 5: the kernel takes IPv6 away from what has less */
#define MTU_MAX      65535
/* Of the bandwidth plugin, in bits (a second): a full frame a second at least, and upstream's bound
 * on bursts, which is what tc's 32-bit byte counts can hold. */
#define RATE_MIN  12000
#define RATE_MAX  8000000000000 /* 1 TB/s */
#define BURST_MIN 12000
#define BURST_MAX (8LL * (UINT32_MAX - 1))

static int read_config(const struct tree *doc, struct nad_config *c, struct arena *a,
                       struct err *err);
static int read_plugin(const struct place *p, struct nad_config *c);
static int read_chained(const struct place *p, const char *type, struct nad_config *c);
static int check_mtu(const struct place *p, const struct nad_config *c);

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

static int
read_config(const struct tree *doc, struct nad_config *c, struct arena *a, struct err *err)
{
    struct place top = {.map = doc, .path = "config", .arena = a, .err = err};
    struct place first = top;
    const struct tree *plugins;
    const char *version = NULL;
    int rc;

    if (tree_type(doc) != TREE_MAP)
        return err_set(err, -EINVAL, "config: want a JSON object, found %s",
                       tree_type_name(tree_type(doc)));
    if ((rc = place_text(&top, "cniVersion", &version)) != 0 ||
        (rc = place_text(&top, "name", &c->name)) != 0 ||
        (rc = place_list(&top, "plugins", NAD_MAX_PLUGINS, &plugins)) != 0)
        return rc;
    if (!c->name)
        return err_set(err, -EINVAL, "config.name: is missing: want the network's name");
    if (plugins && tree_get(doc, "type"))
        return err_set(err, -EINVAL, "config: has both type and plugins: want one of them");
    if (plugins && tree_len(plugins) == 0)
        return err_set(err, -EINVAL, "config.plugins: is empty: want at least one plugin");

    /* The first makes the interface; those after it change it. */
    if ((plugins && (rc = place_item(&top, "plugins", plugins, 0, &first)) != 0) ||
        (rc = read_plugin(&first, c)) != 0)
        return rc;
    for (size_t i = 1; i < tree_len(plugins); i++) {
        const char *type = NULL;
        struct place p;

        if ((rc = place_item(&top, "plugins", plugins, i, &p)) != 0 ||
            (rc = place_text(&p, "type", &type)) != 0 || (rc = read_chained(&p, type, c)) != 0)
            return rc;
    }
    return check_mtu(&first, c);
}

/* A field that some CNI plugin has, and that would change what is made: never just dropped. */
static int
refuse(const struct place *p, const char *key, const char *why)
{
    const struct tree *t = tree_get(p->map, key);

    if (place_is_nothing(t))
        return 0;
    return err_set(p->err, -EINVAL, "%s.%s: %s: %s", p->path, key, place_quote(p, t), why);
}

static int
read_mtu(const struct place *p, struct nad_config *c)
{
    int rc = place_int(p, "mtu", 0, MTU_MAX, &c->mtu);

    if (rc == 0 && c->mtu != 0 && c->mtu < MTU_MIN)
        rc = err_set(p->err, -EINVAL, "%s.mtu: %lld: want %d to %d", p->path, (long long)c->mtu,
                     MTU_MIN, MTU_MAX);
    return rc;
}

static int
check_mtu(const struct place *p, const struct nad_config *c)
{
    bool v6 = c->has_range && !c->range.v4;

    for (size_t i = 0; i < c->static_len; i++)
        v6 = v6 || !c->static_addresses[i].v4;
    if (v6 && c->mtu != 0 && c->mtu < MTU_MIN_IPV6)
        return err_set(p->err, -EINVAL, "%s.mtu: %lld: want %d to %d where addresses are IPv6",
                       p->path, (long long)c->mtu, MTU_MIN_IPV6, MTU_MAX);
    return 0;
}

/* --- the plugin that makes the interface --- */

static int
read_macvlan(const struct place *p, struct nad_config *c)
{
    static const char *const modes[] = {"bridge", "private", "vepa", "passthru", NULL};
    const char *mode = "bridge";
    int rc;

    if ((rc = place_ifname(p, "master", true, &c->master)) != 0 ||
        (rc = place_text(p, "mode", &mode)) != 0 ||
        (rc = place_one_of(p, "mode", mode, modes, "bridge, private, vepa or passthru")) != 0)
        return rc;
    c->mode = modes[place_index_of(mode, modes)];
    return refuse(p, "vlan",
                  "macvlan has no tag of its own: want type vlan, or a master that is a VLAN "
                  "interface");
}

static int
read_vlan(const struct place *p, struct nad_config *c)
{
    int rc;

    if ((rc = place_ifname(p, "master", true, &c->master)) != 0 ||
        (rc = refuse(p, "vlan", "the field is called vlanId in type vlan")) != 0 ||
        (rc = place_int(p, "vlanId", 1, 4094, &c->vlan)) != 0)
        return rc;
    if (c->vlan == 0)
        return err_set(p->err, -EINVAL, "%s.vlanId: is missing: want 1 to 4094", p->path);
    return 0;
}

static int
read_host_device(const struct place *p, struct nad_config *c)
{
    static const char *const others[] = {"hwaddr", "pciBusID", "kernelpath"};
    int rc;

    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        if ((rc = refuse(p, others[i], "is not supported: name the interface under device")) != 0)
            return rc;
    if ((rc = refuse(p, "vlan", "a host-device has no tag: want type vlan")) != 0)
        return rc;
    return place_ifname(p, "device", true, &c->master);
}

static int
read_bridge(const struct place *p, struct nad_config *c)
{
    int rc;

    if ((rc = place_ifname(p, "bridge", true, &c->bridge)) != 0 ||
        (rc = place_int(p, "vlan", 0, 4094, &c->vlan)) != 0)
        return rc;
    return refuse(p, "vlanTrunk", "is not supported: want one tag under vlan");
}

static int
read_plugin(const struct place *p, struct nad_config *c)
{
    static const char *const types[] = {"macvlan",     "bridge", "cnv-bridge",
                                        "host-device", "vlan",   NULL};
    static int (*const readers[])(const struct place *, struct nad_config *) = {
        read_macvlan, read_bridge, read_bridge, read_host_device, read_vlan};
    const char *want = "macvlan, bridge, cnv-bridge, host-device or vlan", *type = NULL;
    int rc;

    c->path = arena_strdup(p->arena, p->path);
    if ((rc = place_text(p, "type", &type)) != 0)
        return rc;
    if (!type)
        return err_set(p->err, -EINVAL, "%s.type: is missing: want %s", p->path, want);
    if ((rc = place_one_of(p, "type", type, types, want)) != 0)
        return rc;
    c->type = types[place_index_of(type, types)];
    if ((rc = readers[place_index_of(type, types)](p, c)) != 0 || (rc = read_mtu(p, c)) != 0)
        return rc;
    return nad_ipam_read(p, c);
}

/* --- those after it --- */

static int
read_tuning(const struct place *p, struct nad_config *c)
{
    static const char *const others[] = {"mac", "sysctl", "promisc", "allmulti", "txQLen"};
    int rc;

    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        if ((rc = refuse(p, others[i], "is not supported: want mtu only")) != 0)
            return rc;
    return read_mtu(p, c);
}

static int
read_bandwidth(const struct place *p, struct nad_config *c)
{
    static const char *const ingress[] = {"ingressRate", "ingressBurst"};
    static const char *const subnets[] = {"shapedSubnets", "unshapedSubnets"};
    int64_t rate = 0, burst = 0;
    int rc;

    for (size_t i = 0; i < ARRAY_LEN(ingress); i++)
        if ((rc = refuse(p, ingress[i],
                         "what arrives is not limited, what leaves is, on every host: want "
                         "egressRate and egressBurst")) != 0)
            return rc;
    for (size_t i = 0; i < ARRAY_LEN(subnets); i++)
        if ((rc = refuse(p, subnets[i], "is not supported: the limit is the whole interface's")) !=
            0)
            return rc;
    if ((rc = place_int(p, "egressRate", 0, RATE_MAX, &rate)) != 0 ||
        (rc = place_int(p, "egressBurst", 0, BURST_MAX, &burst)) != 0)
        return rc;
    if ((rate == 0) != (burst == 0))
        return err_set(p->err, -EINVAL, "%s.%s: is missing beside %s: want both, or none", p->path,
                       rate == 0 ? "egressRate" : "egressBurst",
                       rate == 0 ? "egressBurst" : "egressRate");
    if (rate != 0 && rate < RATE_MIN)
        return err_set(p->err, -EINVAL, "%s.egressRate: %lld: want %d to %lld bits a second",
                       p->path, (long long)rate, RATE_MIN, (long long)RATE_MAX);
    if (burst != 0 && burst < BURST_MIN)
        return err_set(p->err, -EINVAL, "%s.egressBurst: %lld: want %d to %lld bits", p->path,
                       (long long)burst, BURST_MIN, (long long)BURST_MAX);
    c->limit_bytes_per_s = (uint64_t)rate / 8;
    c->burst_bytes = (uint64_t)burst / 8;
    return 0;
}

static int
read_chained(const struct place *p, const char *type, struct nad_config *c)
{
    /* firewall, portmap and sbr are about the traffic of pods: nothing to do on a host. */
    static const char *const types[] = {"bandwidth", "tuning", "cnv-tuning", "firewall",
                                        "portmap",   "sbr",    NULL};
    const char *want = "bandwidth, tuning, cnv-tuning, firewall, portmap or sbr";
    int rc;

    if (!type)
        return err_set(p->err, -EINVAL, "%s.type: is missing: want a plugin's name: %s", p->path,
                       want);
    if ((rc = place_one_of(p, "type", type, types, want)) != 0)
        return rc;
    if (strcmp(type, "bandwidth") == 0)
        return read_bandwidth(p, c);
    if (strstr(type, "tuning"))
        return read_tuning(p, c);
    return 0;
}
