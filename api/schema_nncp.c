/* Field table of NodeNetworkConfigurationPolicy (nmstate.io). Fields that nodes act on
 * (netpolicy/nncp.c) have their types and ranges here, so that a mistake is known by file, line and
 * column; other fields of nmstate are known by name, so that a misplaced one is found (seeds A6.3), and
 * a warning says that a node refuses a policy with them. Which fields belong to which type of interface,
 * and what the host must have for it, is netpolicy's to judge. */
#include "api/schema.h"

#include <string.h>

#include "api/ifname.h"

#define LINKS_MAX     256 /* of one desired state */
#define PORTS_MAX     64  /* of one bridge or bond */
#define ADDRESSES_MAX 64  /* of one interface and family */
#define MIIMON_MAX    60000

static void check_refused(struct check *c, struct tree *v);
static void check_ifname(struct check *c, struct tree *v);
static void check_controller(struct check *c, struct tree *v);
static void check_port_names(struct check *c, struct tree *list);
static void check_link_type(struct check *c, struct tree *v);
static void check_bond_mode(struct check *c, struct tree *v);
static void check_miimon(struct check *c, struct tree *v);
static void check_max_unavailable(struct check *c, struct tree *v);
static void check_capture(struct check *c, struct tree *v);

/* nmstate has it, and no node does it. */
#define REFUSED(n)                                       \
    {                                                    \
        .name = n, .type = F_ANY, .check = check_refused \
    }

/* --- addresses --- */

static const struct field address_fields[] = {
    {.name = "ip", .type = F_STRING, .flags = FIELD_REQUIRED | FIELD_NONEMPTY},
    {.name = "prefix-length", .type = F_INT, .flags = FIELD_REQUIRED, .min = 1, .max = 128},
    REFUSED("valid-life-time"),
    REFUSED("preferred-life-time"),
    REFUSED("mptcp-flags"),
    {0},
};
static const struct schema address_schema = {.fields = address_fields};

static const struct field ip_fields[] = {
    {.name = "enabled", .type = F_BOOL},
    {.name = "address", .type = F_LIST, .sub = &address_schema, .max = ADDRESSES_MAX},
    {.name = "dhcp", .type = F_BOOL, .check = check_refused},
    {.name = "autoconf", .type = F_BOOL, .check = check_refused},
    REFUSED("auto-dns"),
    REFUSED("auto-gateway"),
    REFUSED("auto-routes"),
    REFUSED("auto-route-table-id"),
    REFUSED("auto-route-metric"),
    REFUSED("dhcp-client-id"),
    REFUSED("dhcp-duid"),
    REFUSED("dhcp-send-hostname"),
    REFUSED("dhcp-custom-hostname"),
    REFUSED("addr-gen-mode"),
    REFUSED("allow-extra-address"),
    REFUSED("forwarding"),
    REFUSED("token"),
    {0},
};
static const struct schema ip_schema = {.fields = ip_fields};

/* --- bridges and bonds --- */

static const struct field stp_fields[] = {
    {.name = "enabled", .type = F_BOOL},
    REFUSED("forward-delay"),
    REFUSED("hello-time"),
    REFUSED("max-age"),
    REFUSED("priority"),
    {0},
};
static const struct schema stp_schema = {.fields = stp_fields};

static const struct field bridge_option_fields[] = {
    {.name = "stp", .type = F_MAP, .sub = &stp_schema},
    REFUSED("gc-timer"),
    REFUSED("group-addr"),
    REFUSED("group-forward-mask"),
    REFUSED("group-fwd-mask"),
    REFUSED("hash-elasticity"),
    REFUSED("hash-max"),
    REFUSED("hello-timer"),
    REFUSED("mac-ageing-time"),
    REFUSED("multicast-last-member-count"),
    REFUSED("multicast-last-member-interval"),
    REFUSED("multicast-membership-interval"),
    REFUSED("multicast-querier"),
    REFUSED("multicast-querier-interval"),
    REFUSED("multicast-query-interval"),
    REFUSED("multicast-query-response-interval"),
    REFUSED("multicast-query-use-ifaddr"),
    REFUSED("multicast-router"),
    REFUSED("multicast-snooping"),
    REFUSED("multicast-startup-query-count"),
    REFUSED("multicast-startup-query-interval"),
    REFUSED("vlan-default-pvid"),
    REFUSED("vlan-protocol"),
    {0},
};
static const struct schema bridge_option_schema = {.fields = bridge_option_fields};

static const struct field port_fields[] = {
    {.name = "name",
     .type = F_STRING,
     .flags = FIELD_REQUIRED | FIELD_NONEMPTY,
     .check = check_ifname},
    REFUSED("vlan"),
    REFUSED("stp-hairpin-mode"),
    REFUSED("stp-path-cost"),
    REFUSED("stp-priority"),
    {0},
};
static const struct schema port_schema = {.fields = port_fields};

#define BRIDGE_PORTS(n)                                                                         \
    {                                                                                           \
        .name = n, .type = F_LIST, .flags = FIELD_UNIQUE, .sub = &port_schema, .max = PORTS_MAX \
    }
static const struct field bridge_fields[] = {
    {.name = "options", .type = F_MAP, .sub = &bridge_option_schema},
    BRIDGE_PORTS("port"),
    BRIDGE_PORTS("ports"),
    BRIDGE_PORTS("slaves"),
    REFUSED("allow-extra-patch-ports"),
    {0},
};
static const struct schema bridge_schema = {.fields = bridge_fields};

static const struct field bond_option_fields[] = {
    {.name = "miimon", .type = F_ANY, .check = check_miimon},
    REFUSED("ad_actor_sys_prio"),
    REFUSED("ad_actor_system"),
    REFUSED("ad_select"),
    REFUSED("ad_user_port_key"),
    REFUSED("all_slaves_active"),
    REFUSED("arp_all_targets"),
    REFUSED("arp_interval"),
    REFUSED("arp_ip_target"),
    REFUSED("arp_missed_max"),
    REFUSED("arp_validate"),
    REFUSED("balance_slb"),
    REFUSED("downdelay"),
    REFUSED("fail_over_mac"),
    REFUSED("lacp_active"),
    REFUSED("lacp_rate"),
    REFUSED("lp_interval"),
    REFUSED("min_links"),
    REFUSED("num_grat_arp"),
    REFUSED("num_unsol_na"),
    REFUSED("packets_per_slave"),
    REFUSED("primary"),
    REFUSED("primary_reselect"),
    REFUSED("resend_igmp"),
    REFUSED("tlb_dynamic_lb"),
    REFUSED("updelay"),
    REFUSED("use_carrier"),
    REFUSED("xmit_hash_policy"),
    {0},
};
static const struct schema bond_option_schema = {.fields = bond_option_fields};

static const struct field bond_fields[] = {
    {.name = "mode", .type = F_ANY, .check = check_bond_mode},
    {.name = "options", .type = F_MAP, .sub = &bond_option_schema},
    {.name = "port", .type = F_STRINGS, .check = check_port_names},
    {.name = "ports", .type = F_STRINGS, .check = check_port_names},
    {.name = "slaves", .type = F_STRINGS, .check = check_port_names},
    REFUSED("ports-config"),
    {0},
};
static const struct schema bond_schema = {.fields = bond_fields};

/* --- what stands on another interface --- */

static const char *const vlan_protocols[] = {"802.1q", "802.1ad", NULL};
static const struct field vlan_fields[] = {
    {.name = "base-iface",
     .type = F_STRING,
     .flags = FIELD_REQUIRED | FIELD_NONEMPTY,
     .check = check_ifname},
    {.name = "id", .type = F_INT, .flags = FIELD_REQUIRED, .min = 1, .max = 4094},
    {.name = "protocol", .type = F_STRING, .values = vlan_protocols},
    REFUSED("loose-binding"),
    REFUSED("registration-protocol"),
    REFUSED("reorder-headers"),
    REFUSED("ingress-qos-map"),
    REFUSED("egress-qos-map"),
    {0},
};
static const struct schema vlan_schema = {.fields = vlan_fields};

static const char *const macvlan_modes[] = {"bridge",   "private", "vepa",
                                            "passthru", "source",  NULL};
static const struct field macvlan_fields[] = {
    {.name = "base-iface",
     .type = F_STRING,
     .flags = FIELD_REQUIRED | FIELD_NONEMPTY,
     .check = check_ifname},
    {.name = "mode", .type = F_STRING, .flags = FIELD_REQUIRED, .values = macvlan_modes},
    {.name = "promiscuous", .type = F_BOOL},
    REFUSED("allowed-mac-addresses"),
    {0},
};
static const struct schema macvlan_schema = {.fields = macvlan_fields};

/* --- interfaces --- */

static const char *const states[] = {"up", "down", "absent", "ignore", NULL};

static const struct field interface_fields[] = {
    {.name = "name",
     .type = F_STRING,
     .flags = FIELD_REQUIRED | FIELD_NONEMPTY,
     .check = check_ifname},
    {.name = "type", .type = F_STRING, .check = check_link_type},
    {.name = "state", .type = F_STRING, .values = states},
    {.name = "description", .type = F_STRING},
    {.name = "mtu", .type = F_INT, .min = 68, .max = 65535},
    {.name = "mac-address", .type = F_STRING},
    {.name = "controller", .type = F_STRING, .check = check_controller},
    {.name = "ipv4", .type = F_MAP, .sub = &ip_schema},
    {.name = "ipv6", .type = F_MAP, .sub = &ip_schema},
    {.name = "bridge", .type = F_MAP, .sub = &bridge_schema},
    {.name = "link-aggregation", .type = F_MAP, .sub = &bond_schema},
    {.name = "vlan", .type = F_MAP, .sub = &vlan_schema},
    {.name = "mac-vlan", .type = F_MAP, .sub = &macvlan_schema},
    {.name = "identifier", .type = F_STRING},
    /* what nmstate reports and never applies */
    ANYTHING("permanent-mac-address"),
    ANYTHING("min-mtu"),
    ANYTHING("max-mtu"),
    ANYTHING("profile-name"),
    ANYTHING("driver"),
    REFUSED("ethernet"),
    REFUSED("copy-mac-from"),
    REFUSED("pci-address"),
    REFUSED("alt-names"),
    REFUSED("accept-all-mac-addresses"),
    REFUSED("wait-ip"),
    REFUSED("mptcp"),
    REFUSED("lldp"),
    REFUSED("ethtool"),
    REFUSED("dispatch"),
    REFUSED("802.1x"),
    REFUSED("ovs-db"),
    REFUSED("patch"),
    REFUSED("vxlan"),
    REFUSED("vrf"),
    REFUSED("veth"),
    REFUSED("infiniband"),
    REFUSED("mac-vtap"),
    REFUSED("macsec"),
    REFUSED("ipvlan"),
    REFUSED("libreswan"),
    REFUSED("hsr"),
    REFUSED("linux-bridge"),
    {0},
};
static const struct schema interface_schema = {.fields = interface_fields};

static const struct field desired_fields[] = {
    {.name = "interfaces", .type = F_LIST, .sub = &interface_schema, .max = LINKS_MAX},
    REFUSED("routes"),
    REFUSED("route-rules"),
    REFUSED("dns-resolver"),
    REFUSED("ovs-db"),
    REFUSED("ovn"),
    REFUSED("hostname"),
    {0},
};
static const struct schema desired_schema = {.fields = desired_fields};

static const struct field nncp_spec_fields[] = {
    {.name = "nodeSelector", .type = F_KV, .check = check_labels},
    {.name = "desiredState", .type = F_MAP, .sub = &desired_schema},
    {.name = "maxUnavailable", .type = F_ANY, .check = check_max_unavailable},
    {.name = "capture", .type = F_ANY, .check = check_capture},
    {0},
};
static const struct schema nncp_spec_schema = {.fields = nncp_spec_fields};

static const struct field nncp_fields[] = {
    OBJECT_FIELDS(struct nad), /* only metadata is looked at */
    {.name = "spec", .type = F_MAP, .sub = &nncp_spec_schema},
    {.name = "status", .type = F_ANY},
    {0},
};
const struct schema nncp_schema = {.fields = nncp_fields};

/* --- rules --- */

/* Whether a value asks for something; nodes pass over what does not (netpolicy/place.h). */
static bool
asks(const struct tree *v)
{
    switch (tree_type(v)) {
    case TREE_BOOL:
        return tree_get_bool(v, false);
    case TREE_INT:
        return tree_get_int(v, 0) != 0;
    case TREE_STRING:
        return *tree_get_string(v, "") != '\0';
    case TREE_LIST:
    case TREE_MAP:
        for (size_t i = 0; i < tree_len(v); i++)
            if (asks(tree_at(v, i)))
                return true;
        return false;
    case TREE_FLOAT:
        return true;
    case TREE_NULL:
    default:
        return false;
    }
}

static void
check_refused(struct check *c, struct tree *v)
{
    if (asks(v))
        check_warn(c, "is not supported: nodes refuse a policy that asks for it");
}

static void
check_ifname(struct check *c, struct tree *v)
{
    if (!ifname_valid(tree_get_string(v, "")))
        check_invalid(c, v, "%s", IFNAME_TEXT);
}

/* "": in none. */
static void
check_controller(struct check *c, struct tree *v)
{
    if (*tree_get_string(v, ""))
        check_ifname(c, v);
}

static void
check_port_names(struct check *c, struct tree *list)
{
    if (tree_len(list) > PORTS_MAX)
        check_too_many(c, list, PORTS_MAX);
    for (size_t i = 0; i < tree_len(list); i++) {
        struct path p;

        check_enter_item(c, &p, i);
        check_ifname(c, tree_at(list, i));
        check_leave(c);
    }
}

static void
check_link_type(struct check *c, struct tree *v)
{
    static const char *const made[] = {"ethernet", "linux-bridge", "bond", "vlan",
                                       "mac-vlan", "unknown",      NULL};
    static const char *const known[] = {"dummy",      "hsr",           "infiniband", "ipsec",
                                        "ipvlan",     "loopback",      "macsec",     "mac-vtap",
                                        "ovs-bridge", "ovs-interface", "tun",        "veth",
                                        "vrf",        "vxlan",         NULL};
    const char *type = tree_get_string(v, "");

    if (check_is_one_of(type, made))
        return;
    if (check_is_one_of(type, known))
        check_refused(c, v);
    else
        check_unsupported(c, v, made, NULL);
}

static void
check_bond_mode(struct check *c, struct tree *v)
{
    static const char *const modes[] = {"balance-rr",  "active-backup",
                                        "balance-xor", "broadcast",
                                        "802.3ad",     "balance-tlb",
                                        "balance-alb", "0",
                                        "1",           "2",
                                        "3",           "4",
                                        "5",           "6",
                                        NULL};
    int64_t n = tree_get_int(v, -1);

    if (tree_type(v) == TREE_STRING ? !check_is_one_of(tree_get_string(v, ""), modes)
                                    : n < 0 || n > 6)
        check_invalid(c, v,
                      "want balance-rr, active-backup, balance-xor, broadcast, 802.3ad, "
                      "balance-tlb, balance-alb, or 0 to 6");
}

static void
check_miimon(struct check *c, struct tree *v)
{
    const char *s = tree_get_string(v, "");
    int64_t ms = tree_get_int(v, -1);

    if (*s && strlen(s) <= 5 && s[strspn(s, "0123456789")] == '\0')
        ms = strtol(s, NULL, 10);
    if (ms < 0 || ms > MIIMON_MAX)
        check_invalid(c, v, "want 0 to %d (milliseconds)", MIIMON_MAX);
}

/* How many nodes change at a time: a number, or a part of those that match. */
static void
check_max_unavailable(struct check *c, struct tree *v)
{
    const char *s = tree_get_string(v, "");
    size_t digits = strspn(s, "0123456789");
    bool percent = digits > 0 && digits <= 3 && strcmp(s + digits, "%") == 0;

    if (tree_type(v) == TREE_INT ? tree_get_int(v, 0) < 0 || tree_get_int(v, 0) > INT32_MAX
                                 : !percent || strtol(s, NULL, 10) > 100)
        check_invalid(c, v, "want a number of nodes, or 0%% to 100%%, such as \"50%%\"");
}

static void
check_capture(struct check *c, struct tree *v)
{
    if (asks(v))
        check_forbidden(c, tree_pos(v),
                        "captures are not supported: name the interfaces in desiredState");
}
