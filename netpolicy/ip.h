/* IP addresses and prefixes of both families as values: parsing, printing, arithmetic. Pure. */
#ifndef NETPOLICY_IP_H
#define NETPOLICY_IP_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define IP_TEXT_SIZE   INET6_ADDRSTRLEN
#define CIDR_TEXT_SIZE (INET6_ADDRSTRLEN + 4)

struct ip { /* IPv4 (as ::ffff:a.b.c.d inside) or IPv6 */
    struct in6_addr a;
};

struct cidr {
    struct ip base;  /* as written: host bits are kept */
    unsigned prefix; /* in the address' own family: /24 is 24 for IPv4 */
    bool v4;
};

/* An address in text form. IPv6 text that maps an IPv4 address is refused: one address, one text. 0
 * or -EINVAL. ret_v4 may be NULL. */
int ip_parse(const char *s, struct ip *ret, bool *ret_v4);
void ip_format(const struct ip *a, char *buf, size_t size); /* buf of IP_TEXT_SIZE */
bool ip_is_v4(const struct ip *a);
/* Whether one interface can have it: not unspecified, loopback, multicast, broadcast, or an IPv6
 * link-local one (those are the kernel's to give). */
bool ip_is_assignable(const struct ip *a);
/* By value, as numbers; IPv4 comes before every IPv6 address in use. */
int ip_cmp(const struct ip *a, const struct ip *b);
bool ip_equal(const struct ip *a, const struct ip *b);
/* The address after a; the one after the last wraps to ::. */
struct ip ip_next(const struct ip *a);

/* "10.200.5.0/24", "fd00::/64". -EINVAL; the error says what is allowed. */
int cidr_parse(const char *s, struct cidr *ret, struct err *err);
void cidr_format(const struct cidr *c, char *buf, size_t size); /* buf of CIDR_TEXT_SIZE */
bool cidr_contains(const struct cidr *c, const struct ip *a);
bool cidr_overlap(const struct cidr *a, const struct cidr *b);
struct ip cidr_first(const struct cidr *c); /* the network's address */
struct ip cidr_last(const struct cidr *c);  /* IPv4: broadcast */

#endif
