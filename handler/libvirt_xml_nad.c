/* CNI configurations as interfaces; see libvirt_xml_nad.h. Plugins: bridge and cnv-bridge
 * (containernetworking, OpenShift), macvlan, macvtap (KubeVirt's, whose link is named by its resource), tap. */
#include "handler/libvirt_xml_nad.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api/ifname.h"
#include "api/object.h"

#define RESOURCE_NAME  "k8s.v1.cni.cncf.io/resourceName"
#define MACVTAP_PREFIX "macvtap.network.kubevirt.io/"
#define LARGEST_MTU    65535

static const struct tree *find_nad(const struct tree *nads, const char *name,
                                   const char *namespace_);
static int read_plugin(const struct tree *nad, const struct tree *plugin, struct lv_nad *ret,
                       struct err *err);
static int read_bridge(const struct tree *plugin, struct lv_nad *ret, struct err *err);
static int read_macvlan(const struct tree *plugin, struct lv_nad *ret, struct err *err);
static int read_macvtap(const struct tree *nad, const struct tree *plugin, struct lv_nad *ret,
                        struct err *err);
static int read_tap(const struct tree *plugin, struct lv_nad *ret, struct err *err);
static int read_common(const struct tree *plugin, struct lv_nad *ret, struct err *err);
static int set_device(struct lv_nad *ret, const char *name, const char *field, struct err *err);

int
lv_nad_read(const struct tree *nads, const char *name, const char *namespace_, struct lv_nad *ret,
            struct err *err)
{
    const struct tree *nad = find_nad(nads, name, namespace_), *plugins, *plugin;
    const char *text = tree_find_string(nad, "", "spec", "config", NULL);
    AUTO_TREE struct tree *config = NULL;
    struct lv_nad n = {.mode = "bridge"};
    int rc;

    if (!nad)
        return err_set(err, -ENOENT, "there is no NetworkAttachmentDefinition of this name");
    if (tree_from_json(text, strlen(text), &config, err) != 0)
        return err_prefix(err, -EINVAL, "spec.config");
    plugins = tree_get(config, "plugins");
    plugin = plugins ? tree_at(plugins, 0) : config;
    for (size_t i = 1; i < tree_len(plugins); i++)
        if (strcmp(tree_find_string(tree_at(plugins, i), "", "type", NULL), "tuning") != 0)
            return err_set(err, -ENOTSUP, "spec.config: plugin %.32s: want none after the first",
                           tree_find_string(tree_at(plugins, i), "", "type", NULL));
    rc = read_plugin(nad, plugin, &n, err);
    if (rc == 0)
        rc = read_common(plugin, &n, err);
    if (rc == 0)
        *ret = n;
    return rc;
}

static const struct tree *
find_nad(const struct tree *nads, const char *name, const char *namespace_)
{
    const char *slash = strchr(name, '/');
    AUTO_FREE char *in = slash ? xstrndup(name, (size_t)(slash - name)) : xstrdup(namespace_);

    for (size_t i = 0; i < tree_len(nads); i++)
        if (strcmp(object_name(tree_at(nads, i)), slash ? slash + 1 : name) == 0 &&
            strcmp(object_namespace(tree_at(nads, i)), in) == 0)
            return tree_at(nads, i);
    return NULL;
}

static int
read_plugin(const struct tree *nad, const struct tree *plugin, struct lv_nad *ret, struct err *err)
{
    const char *type = tree_find_string(plugin, "", "type", NULL);

    if (strcmp(type, "bridge") == 0 || strcmp(type, "cnv-bridge") == 0)
        return read_bridge(plugin, ret, err);
    if (strcmp(type, "macvlan") == 0)
        return read_macvlan(plugin, ret, err);
    if (strcmp(type, "macvtap") == 0)
        return read_macvtap(nad, plugin, ret, err);
    if (strcmp(type, "tap") == 0)
        return read_tap(plugin, ret, err);
    return err_set(err, -ENOTSUP,
                   "spec.config.type: \"%.32s\": want bridge, cnv-bridge, macvlan, macvtap or tap",
                   type);
}

static int
read_bridge(const struct tree *plugin, struct lv_nad *ret, struct err *err)
{
    const char *bridge = tree_find_string(plugin, "cni0", "bridge", NULL);

    /* Linux bridges have VLANs in libvirt from 11.0 on, and spoof checks only with nwfilter */
    if (tree_get_int(tree_get(plugin, "vlan"), 0) != 0 ||
        tree_len(tree_get(plugin, "vlanTrunk")) > 0)
        return err_set(err, -ENOTSUP,
                       "spec.config.vlan: is not made here: want a bridge over the VLAN's link");
    if (tree_get_bool(tree_get(plugin, "macspoofchk"), false))
        return err_set(err, -ENOTSUP, "spec.config.macspoofchk: is not made here: want false");
    ret->kind = LV_NAD_BRIDGE;
    return set_device(ret, bridge, "bridge", err);
}

static int
read_macvlan(const struct tree *plugin, struct lv_nad *ret, struct err *err)
{
    static const char *const modes[] = {"bridge", "vepa", "private", "passthru"};
    static const char *const ours[] = {"bridge", "vepa", "private", "passthrough"};
    const char *mode = tree_find_string(plugin, "bridge", "mode", NULL);

    ret->kind = LV_NAD_DIRECT;
    for (size_t i = 0; i < ARRAY_LEN(modes); i++)
        if (strcmp(mode, modes[i]) == 0) {
            ret->mode = ours[i];
            return set_device(ret, tree_find_string(plugin, "", "master", NULL), "master", err);
        }
    return err_set(err, -EINVAL,
                   "spec.config.mode: \"%.32s\": want bridge, vepa, private or passthru", mode);
}

/* The link is the last part of the device plugin's resource. */
static int
read_macvtap(const struct tree *nad, const struct tree *plugin, struct lv_nad *ret, struct err *err)
{
    const char *resource = object_annotation(nad, RESOURCE_NAME);
    const char *master = tree_find_string(plugin, NULL, "master", NULL);

    ret->kind = LV_NAD_DIRECT;
    if (master)
        return set_device(ret, master, "master", err);
    if (!resource || strncmp(resource, MACVTAP_PREFIX, strlen(MACVTAP_PREFIX)) != 0)
        return err_set(err, -EINVAL,
                       "metadata.annotations: " RESOURCE_NAME ": want " MACVTAP_PREFIX "LINK");
    return set_device(ret, resource + strlen(MACVTAP_PREFIX), "master", err);
}

static int
read_tap(const struct tree *plugin, struct lv_nad *ret, struct err *err)
{
    const char *bridge = tree_find_string(plugin, NULL, "bridge", NULL);
    const char *device = tree_find_string(plugin, NULL, "device", NULL);

    ret->kind = bridge ? LV_NAD_BRIDGE : LV_NAD_TAP;
    if (bridge)
        return set_device(ret, bridge, "bridge", err);
    return device ? set_device(ret, device, "device", err) : 0;
}

static int
read_common(const struct tree *plugin, struct lv_nad *ret, struct err *err)
{
    const char *ipam = tree_find_string(plugin, "", "ipam", "type", NULL);
    int64_t mtu = tree_get_int(tree_get(plugin, "mtu"), 0);

    if (*ipam)
        return err_set(err, -ENOTSUP,
                       "spec.config.ipam: \"%.32s\": guests are given no addresses here: want none",
                       ipam);
    if (mtu != 0 && (mtu < 68 || mtu > LARGEST_MTU))
        return err_set(err, -EINVAL, "spec.config.mtu: want 68 to %d", LARGEST_MTU);
    ret->mtu = (unsigned)mtu;
    return 0;
}

static int
set_device(struct lv_nad *ret, const char *name, const char *field, struct err *err)
{
    if (!ifname_valid(name))
        return err_set(err, -EINVAL, "spec.config.%s: \"%.32s\": %s", field, name, IFNAME_TEXT);
    snprintf(ret->device, sizeof ret->device, "%s", name);
    return 0;
}
