/* How fast an interface's hardware says that it is; see nl_link.h. */
#include "netpolicy/nl_link.h"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netlink/netlink.h>
#include <netlink/route/link.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "netpolicy/nl_priv.h"

uint32_t
nlp_driver_mbit(const char *ifname)
{
    struct ethtool_cmd cmd = {.cmd = ETHTOOL_GSET};
    struct ifreq req = {.ifr_data = (char *)&cmd};
    AUTO_FD int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    uint32_t mbit;

    snprintf(req.ifr_name, sizeof req.ifr_name, "%s", ifname);
    if (fd < 0 || ioctl(fd, SIOCETHTOOL, &req) < 0)
        return 0;
    /* not by ethtool_cmd_speed, which shifts into an int's sign where the speed is not known */
    mbit = (uint32_t)cmd.speed_hi << 16 | cmd.speed;
    return mbit == (uint32_t)SPEED_UNKNOWN ? 0 : mbit;
}

/* Software that has no speed of its own, whatever it reports: a veth says 10 Gb/s. */
static bool
lies_upon_another(const char *kind)
{
    static const char *const kinds[] = {"vlan", "macvlan", "macvtap", "ipvlan"};

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (strcmp(kind, kinds[i]) == 0)
            return true;
    return false;
}

uint64_t
nl_link_speed(const char *ifname)
{
    AUTO_NLP struct nlp nl = {0};
    char name[NL_IFNAME_SIZE];
    uint64_t mbit = 0;

    snprintf(name, sizeof name, "%s", ifname);
    if (nlp_open(&nl, NULL) != 0)
        return 0;
    for (int i = 0; i < NLP_STACKED_MAX; i++) {
        struct rtnl_link *l = NULL;
        int32_t netns;
        const char *kind;
        int below;

        if (rtnl_link_get_kernel(nl.sk, 0, name, &l) < 0)
            break;
        kind = rtnl_link_get_type(l);
        below = rtnl_link_get_link(l);
        if (!kind || strcmp(kind, "bond") == 0) {
            mbit = nlp_driver_mbit(name);
        } else if (lies_upon_another(kind) && below > 0 &&
                   rtnl_link_get_link_netnsid(l, &netns) != 0 &&
                   if_indextoname((unsigned)below, name)) {
            rtnl_link_put(l);
            continue;
        }
        rtnl_link_put(l);
        break;
    }
    return mbit * 1000000 / 8;
}
