/* <interface> elements; see libvirt_xml.h. A network is the pod's, which here is QEMU's user network (or
 * a bridge of the host), or one that a NetworkAttachmentDefinition names: libvirt_xml_nad.c. */
#include "handler/libvirt_xml_int.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "api/mac.h"
#include "api/object.h"
#include "handler/libvirt_xml_nad.h"

static const char *const bindings[] = {"masquerade", "bridge", "slirp", "macvtap", NULL};

static const char *const states[] = {"up", "down", "absent", "", NULL};

struct nic { /* one item of spec.domain.devices.interfaces */
    const struct tree *t, *network;
    size_t network_index;
    const char *binding;
    char path[64];
};

static void write_interface(struct lv_xml *x, struct nic *n);
static void write_pod(struct lv_xml *x, const struct nic *n);
static void write_subnet(struct lv_xml *x, const struct nic *n, const char *key, int family,
                         unsigned longest);
static void write_multus(struct lv_xml *x, const struct nic *n);
static void write_rest(struct lv_xml *x, const struct nic *n, bool user, unsigned mtu);
static void write_mac(struct lv_xml *x, const struct nic *n);
static const struct tree *find_network(struct lv_xml *x, const char *name, size_t *ret_index);

void
lv_xml_interfaces(struct lv_xml *x)
{
    const struct tree *interfaces = tree_get(x->devices, "interfaces");

    for (size_t i = 0; i < tree_len(interfaces); i++) {
        struct nic n = {.t = tree_at(interfaces, i)};
        const char *state = tree_find_string(n.t, "", "state", NULL);

        snprintf(n.path, sizeof n.path, "spec.domain.devices.interfaces[%zu]", i);
        if (!lv_is_one_of(state, states))
            lv_refuse(x, LV_INVALID, "%s.state: \"%.32s\": want up, down or absent", n.path, state);
        if (strcmp(state, "absent") != 0)
            write_interface(x, &n);
    }
    if (tree_len(interfaces) == 0 && tree_len(tree_get(x->spec, "networks")) == 0 &&
        tree_get_bool(tree_get(x->devices, "autoattachPodInterface"), true)) {
        AUTO_TREE struct tree *dflt = tree_map();
        struct nic n = {.t = dflt, .path = "spec.domain.devices.autoattachPodInterface"};

        tree_set(dflt, "name", tree_string("default"));
        xw_begin(&x->w, "interface", "type", "user", NULL);
        write_rest(x, &n, true, 0);
    }
}

static void
write_interface(struct lv_xml *x, struct nic *n)
{
    const char *name = tree_find_string(n->t, "", "name", NULL);

    n->network = find_network(x, name, &n->network_index);
    for (size_t i = 0; bindings[i] && !n->binding; i++)
        if (tree_get(n->t, bindings[i]))
            n->binding = bindings[i];
    if (!n->network)
        lv_refuse(x, LV_INVALID, "%s.name: no network is named \"%.64s\"", n->path, name);
    else if (tree_get(n->network, "multus"))
        write_multus(x, n);
    else
        write_pod(x, n);
}

static void
write_pod(struct lv_xml *x, const struct nic *n)
{
    const char *b = n->binding ? n->binding : "masquerade";

    if (strcmp(b, "masquerade") == 0 || strcmp(b, "slirp") == 0) {
        xw_begin(&x->w, "interface", "type", "user", NULL);
        write_subnet(x, n, "vmNetworkCIDR", AF_INET, 32);
        write_subnet(x, n, "vmIPv6NetworkCIDR", AF_INET6, 128);
        write_rest(x, n, true, 0);
    } else if (strcmp(b, "bridge") == 0) {
        if (!x->c->vm_bridge)
            lv_refuse(
                x, LV_UNSUPPORTED,
                "%s.bridge: this host has no bridge for pod networks (drover-handler --vm-bridge): "
                "want masquerade, or a multus network",
                n->path);
        xw_begin(&x->w, "interface", "type", "bridge", NULL);
        xw_leaf(&x->w, "source", "bridge", x->c->vm_bridge, NULL);
        write_rest(x, n, false, 0);
    } else {
        lv_refuse(x, LV_UNSUPPORTED,
                  "%s.%s: is not made here on the pod network: want masquerade or bridge", n->path,
                  b);
    }
}

static void
write_subnet(struct lv_xml *x, const struct nic *n, const char *key, int family, unsigned longest)
{
    const char *cidr = tree_find_string(n->network, NULL, "pod", key, NULL);
    char address[INET6_ADDRSTRLEN] = "";
    unsigned char raw[16];
    unsigned prefix = 0;
    int end = 0;

    if (!cidr)
        return;
    if (sscanf(cidr, "%45[0-9a-fA-F.:]/%3u%n", address, &prefix, &end) != 2 || cidr[end] ||
        inet_pton(family, address, raw) != 1 || prefix > longest)
        lv_refuse(x, LV_INVALID,
                  "spec.networks[%zu].pod.%s: \"%.64s\": want an %s network such as %s",
                  n->network_index, key, cidr, family == AF_INET ? "IPv4" : "IPv6",
                  family == AF_INET ? "10.0.2.0/24" : "fd10:0:2::/64");
    xw_leaf(&x->w, "ip", "family", family == AF_INET ? "ipv4" : "ipv6", "address", address,
            "prefix", XW_NUM(prefix), NULL);
}

static void
write_multus(struct lv_xml *x, const struct nic *n)
{
    const char *b = n->binding ? n->binding : "bridge";
    const char *name = tree_find_string(n->network, "", "multus", "networkName", NULL);
    struct lv_nad nad;
    struct err why;
    int rc;

    if (strcmp(b, "bridge") != 0 && strcmp(b, "macvtap") != 0) {
        lv_refuse(x, LV_UNSUPPORTED,
                  "%s.%s: is not made here on a multus network: want bridge or macvtap", n->path,
                  b);
        return;
    }
    rc = lv_nad_read(x->want->nads, name, object_namespace(x->want->vmi), &nad, &why);
    if (rc != 0) {
        lv_refuse(x,
                  rc == -ENOENT    ? "NetworkNotFound"
                  : rc == -ENOTSUP ? LV_UNSUPPORTED
                                   : LV_INVALID,
                  "%s: network %.128s: %s", n->path, name, why.msg);
        return;
    }
    if (strcmp(b, "macvtap") == 0 && nad.kind != LV_NAD_DIRECT)
        lv_refuse(x, LV_INVALID, "%s.macvtap: network %.128s is of another kind: want bridge",
                  n->path, name);
    switch (nad.kind) {
    case LV_NAD_BRIDGE:
        xw_begin(&x->w, "interface", "type", "bridge", NULL);
        xw_leaf(&x->w, "source", "bridge", nad.device, NULL);
        break;
    case LV_NAD_DIRECT:
        xw_begin(&x->w, "interface", "type", "direct", NULL);
        xw_leaf(&x->w, "source", "dev", nad.device, "mode", nad.mode, NULL);
        break;
    case LV_NAD_TAP:
    default:
        xw_begin(&x->w, "interface", "type", "ethernet", NULL);
        if (*nad.device)
            xw_leaf(&x->w, "target", "dev", nad.device, "managed", "no", NULL);
    }
    write_rest(x, n, false, nad.mtu);
}

/* What all kinds share; closes the element. */
static void
write_rest(struct lv_xml *x, const struct nic *n, bool user, unsigned mtu)
{
    static const char *const models[] = {"virtio",   "e1000", "e1000e",  "igb",
                                         "ne2k_pci", "pcnet", "rtl8139", NULL};
    const char *model = tree_find_string(n->t, "virtio", "model", NULL);
    bool virtio = strcmp(model, "virtio") == 0;
    const struct tree *order = tree_get(n->t, "bootOrder"), *acpi = tree_get(n->t, "acpiIndex");
    AUTO_FREE char *order_path = xasprintf("%s.bootOrder", n->path);
    AUTO_FREE char *pci_path = xasprintf("%s.pciAddress", n->path);

    if (!lv_is_one_of(model, models))
        lv_refuse(
            x, LV_INVALID,
            "%s.model: \"%.32s\": want virtio, e1000, e1000e, igb, ne2k_pci, pcnet or rtl8139",
            n->path, model);
    write_mac(x, n);
    xw_leaf(&x->w, "model", "type", virtio ? lv_virtio(x) : model, NULL);
    if (x->vcpus > 1 && virtio &&
        tree_get_bool(tree_get(x->devices, "networkInterfaceMultiqueue"), false)) {
        if (user)
            lv_refuse(x, LV_UNSUPPORTED,
                      "spec.domain.devices.networkInterfaceMultiqueue: %s is on a user network, "
                      "which has one queue: leave it out, or use a bridge",
                      n->path);
        xw_leaf(&x->w, "driver", "name", "vhost", "queues", XW_NUM(x->vcpus < 256 ? x->vcpus : 256),
                NULL);
    }
    if (mtu)
        xw_leaf(&x->w, "mtu", "size", XW_NUM(mtu), NULL);
    if (strcmp(tree_find_string(n->t, "up", "state", NULL), "down") == 0)
        xw_leaf(&x->w, "link", "state", "down", NULL);
    if (acpi) {
        int64_t index = tree_get_int(acpi, 0);

        if (index < 1 || index > 16383)
            lv_refuse(x, LV_INVALID, "%s.acpiIndex: want 1 to 16383", n->path);
        xw_leaf(&x->w, "acpi", "index", XW_NUM((uint64_t)index), NULL);
    }
    lv_xml_boot_order(x, order, order_path);
    if (!order)
        xw_leaf(&x->w, "rom", "enabled", "no", NULL);
    if (tree_get(n->t, "pciAddress"))
        lv_xml_pci(x, tree_get(n->t, "pciAddress"), pci_path);
    xw_end(&x->w, "interface");
}

static void
write_mac(struct lv_xml *x, const struct nic *n)
{
    const char *asked = tree_find_string(n->t, "", "macAddress", NULL);
    unsigned b[6];
    char text[MAC_SIZE];
    int end = 0;

    mac_of_interface(object_uid(x->want->vmi), tree_find_string(n->t, "", "name", NULL), text);
    if (*asked && (sscanf(asked, "%2x%*[:-]%2x%*[:-]%2x%*[:-]%2x%*[:-]%2x%*[:-]%2x%n", &b[0], &b[1],
                          &b[2], &b[3], &b[4], &b[5], &end) != 6 ||
                   end != 17 || asked[end] || (b[0] & 1)))
        lv_refuse(x, LV_INVALID,
                  "%s.macAddress: \"%.32s\": want the address of one host such as "
                  "02:00:00:00:be:af",
                  n->path, asked);
    if (*asked)
        snprintf(text, sizeof text, "%02x:%02x:%02x:%02x:%02x:%02x", b[0] & 0xff, b[1] & 0xff,
                 b[2] & 0xff, b[3] & 0xff, b[4] & 0xff, b[5] & 0xff);
    xw_leaf(&x->w, "mac", "address", text, NULL);
}

static const struct tree *
find_network(struct lv_xml *x, const char *name, size_t *ret_index)
{
    const struct tree *networks = tree_get(x->spec, "networks");

    for (size_t i = 0; i < tree_len(networks); i++)
        if (strcmp(tree_find_string(tree_at(networks, i), "", "name", NULL), name) == 0) {
            *ret_index = i;
            return tree_at(networks, i);
        }
    return NULL;
}
