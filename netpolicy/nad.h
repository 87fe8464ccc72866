/* NetworkAttachmentDefinition: the CNI configuration inside it, parsed and checked, and the addresses
 * of its range. Pure. Forms: seeds I03-I06, I18, I19. */
#ifndef NETPOLICY_NAD_H
#define NETPOLICY_NAD_H

#include <netinet/in.h>

#include "api/types.h"
#include "base/arena.h"
#include "base/err.h"

struct ip { /* IPv4 (as ::ffff:a.b.c.d inside) or IPv6 */
    struct in6_addr a;
};

struct cidr {
    struct ip base;
    unsigned prefix; /* in the address' own family: /24 is 24 for IPv4 */
    bool v4;
};

struct nad_config {
    const char *name, *type, *master, *mode, *bridge; /* type: macvlan, bridge, cnv-bridge, ... */
    int64_t mtu, vlan;                       /* 0 = not set */
    const char *ipam_type;                   /* whereabouts, host-local, static, or NULL */
    struct cidr range;
    bool has_range, has_range_start, has_range_end;
    struct ip range_start, range_end;
    struct cidr *exclude;
    size_t exclude_len;
    struct cidr *static_addresses;
    size_t static_len;
};

int cidr_parse(const char *s, struct cidr *ret, struct err *err);
int ip_parse(const char *s, struct ip *ret, bool *ret_v4);
void ip_format(const struct ip *a, char *buf, size_t size); /* buf of INET6_ADDRSTRLEN */
bool cidr_contains(const struct cidr *c, const struct ip *a);
bool cidr_overlap(const struct cidr *a, const struct cidr *b);

/* Parses nad->config. Errors name field and value. */
int nad_config_parse(const struct nad *nad, struct nad_config *ret, struct arena *a, struct err *err);
/* True when the address may be handed out by this configuration: inside range (and start/end), not excluded, neither
 * the network's nor (IPv4) the broadcast address. */
bool nad_address_allowed(const struct nad_config *c, const struct ip *a);
/* The n-th free address as whereabouts gives them: lowest that is allowed and not in `taken`.
 * -ENOSPC with the range's name when it is full. */
int nad_address_next(const struct nad_config *c, const struct ip *taken, size_t taken_len,
                     struct ip *ret, struct err *err);

/* "NS/NAME" or "NAME" (then dflt_ns) of liveMigrationConfig.network. */
void nad_ref_split(const char *ref, const char *dflt_ns, struct arena *a, const char **ret_ns,
                   const char **ret_name);

#endif
