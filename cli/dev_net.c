/* See dev_net.h. */
#include "cli/dev_net.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <linux/capability.h>

#include "base/fs.h"
#include "base/sb.h"
#include "netpolicy/nl_link.h"

struct node_job {
    size_t i;
    int node_fd;
    struct ip mgmt;
};

static int make_bridges(void *ctx, struct err *err);
static int make_ports(void *ctx, struct err *err);
static int make_host_side(void *ctx, struct err *err);
static int cut_ports(void *ctx, struct err *err);
static void port_names(size_t i, char mgmt[NL_IFNAME_SIZE], char mig[NL_IFNAME_SIZE]);

#define TRY(call)            \
    do {                     \
        int try_rc = (call); \
        if (try_rc != 0)     \
            return try_rc;   \
    } while (0)

int
dev_net_permitted(struct err *err)
{
    AUTO_FREE char *text = NULL;
    const char *line;
    uint64_t caps = 0;
    bool sys, net;
    size_t len;
    int rc = fs_read_all("/proc/self/status", 65536, &text, &len, err);

    if (rc != 0)
        return rc;
    line = strstr(text, "\nCapEff:");
    if (line && sscanf(line, "\nCapEff: %" SCNx64, &caps) != 1)
        caps = 0;
    sys = caps >> CAP_SYS_ADMIN & 1;
    net = caps >> CAP_NET_ADMIN & 1;
    if (sys && net)
        return 0;
    return err_set(err, -EPERM, "run this as root: %s%s%s %s missing",
                   sys ? "" : "CAP_SYS_ADMIN (it makes network namespaces)",
                   sys || net ? "" : " and ", net ? "" : "CAP_NET_ADMIN (it makes interfaces)",
                   sys || net ? "is" : "are");
}

struct ip
dev_net_mgmt_address(size_t i)
{
    struct cidr c = {0};

    cidr_parse(DEV_NET_MGMT, &c, NULL);
    c.base.a.s6_addr[15] = (uint8_t)(DEV_NET_FIRST_NODE + i);
    return c.base;
}

int
dev_net_make_switch(const char *netns, struct err *err)
{
    AUTO_FD int fd = -1;

    TRY(netns_add(netns, err));
    fd = netns_open(netns, err);
    return fd < 0 ? fd : netns_call(fd, make_bridges, NULL, err);
}

int
dev_net_make_node(const char *switch_netns, const char *netns, size_t i, struct err *err)
{
    AUTO_FD int switch_fd = -1;
    AUTO_FD int node_fd = -1;
    struct node_job job = {.i = i, .mgmt = dev_net_mgmt_address(i)};

    TRY(netns_add(netns, err));
    if ((switch_fd = netns_open(switch_netns, err)) < 0)
        return switch_fd;
    if ((node_fd = netns_open(netns, err)) < 0)
        return node_fd;
    job.node_fd = node_fd;
    TRY(netns_call(switch_fd, make_ports, &job, err));
    return netns_call(node_fd, make_host_side, &job, err);
}

void
dev_net_cut_node(const char *switch_netns, size_t i)
{
    AUTO_FD int fd = netns_open(switch_netns, NULL);

    if (fd >= 0)
        netns_call(fd, cut_ports, &i, NULL);
}

static void
port_names(size_t i, char mgmt[NL_IFNAME_SIZE], char mig[NL_IFNAME_SIZE])
{
    snprintf(mgmt, NL_IFNAME_SIZE, "mgmt%u", (unsigned)(i + 1) % 1000);
    snprintf(mig, NL_IFNAME_SIZE, "mig%u", (unsigned)(i + 1) % 1000);
}

static int
make_bridges(void *ctx, struct err *err)
{
    struct ip ip;

    (void)ctx;
    ip_parse(DEV_NET_CONTROLLER, &ip, NULL);
    TRY(nl_bridge_add(DEV_NET_MGMT_BRIDGE, err));
    TRY(nl_addr_add(DEV_NET_MGMT_BRIDGE, &ip, 24, err));
    TRY(nl_link_up(DEV_NET_MGMT_BRIDGE, err));
    TRY(nl_bridge_add(DEV_NET_MIG_BRIDGE, err));
    return nl_link_up(DEV_NET_MIG_BRIDGE, err);
}

static int
make_ports(void *ctx, struct err *err)
{
    char mgmt[NL_IFNAME_SIZE], mig[NL_IFNAME_SIZE];
    const struct node_job *job = ctx;

    port_names(job->i, mgmt, mig);
    TRY(nl_veth_add(mgmt, "mgmt0", job->node_fd, err));
    TRY(nl_link_set_master(mgmt, DEV_NET_MGMT_BRIDGE, err));
    TRY(nl_link_up(mgmt, err));
    TRY(nl_veth_add(mig, "eth1", job->node_fd, err));
    TRY(nl_link_set_master(mig, DEV_NET_MIG_BRIDGE, err));
    return nl_link_up(mig, err);
}

static int
make_host_side(void *ctx, struct err *err)
{
    const struct node_job *job = ctx;

    TRY(nl_addr_add("mgmt0", &job->mgmt, 24, err));
    TRY(nl_link_up("mgmt0", err));
    return nl_link_up("eth1", err);
}

static int
cut_ports(void *ctx, struct err *err)
{
    char mgmt[NL_IFNAME_SIZE], mig[NL_IFNAME_SIZE];
    const size_t *i = ctx;

    port_names(*i, mgmt, mig);
    nl_link_del(mgmt, err);
    nl_link_del(mig, err);
    return 0;
}
