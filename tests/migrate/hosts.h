/* Two hosts, each a network namespace of this process' own, with cables between them: a veth pair a
 * network. What the calling thread does, and the threads that it starts, happens on the host that it
 * entered. */
#ifndef TESTS_MIGRATE_HOSTS_H
#define TESTS_MIGRATE_HOSTS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hosts {
    int home, ns[2];
};

/* Whether this process may make namespaces; why: what is missing. */
bool hosts_permitted(const char **why);
void hosts_make(struct hosts *h);
void hosts_free(struct hosts *h); /* comes home */
void hosts_enter(const struct hosts *h, int host);
/* A cable: an interface of this name on both hosts, addresses 198.18.NET.1 and .2 (v6:
 * fd00:NET::1 and ::2). The calling thread stays where it is. */
void hosts_cable(const struct hosts *h, const char *ifname, unsigned net, bool v6, uint32_t mtu);
void hosts_cut(const struct hosts *h, const char *ifname); /* and the cable is gone */
void hosts_link(const struct hosts *h, int host, const char *ifname, bool up);
/* The address of a host on that network. */
const char *hosts_ip(unsigned net, bool v6, int host, char buf[INET6_ADDRSTRLEN]);
/* Whether the kernel hands this interface large packets and receives them as such (TSO, GSO, GRO), as
 * good hardware does; off: each packet is one of the wire. */
void hosts_offload(const struct hosts *h, int host, const char *ifname, bool on);
/* What the interface has sent and received so far. */
struct nl_counters;
void hosts_counters(const struct hosts *h, int host, const char *ifname, struct nl_counters *ret);
/* Runs a command of ip(8) or tc(8) there; false when it fails. */
bool hosts_run(const struct hosts *h, int host, const char *command);

#endif
