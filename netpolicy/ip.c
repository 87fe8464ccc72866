/* Addresses and prefixes; see ip.h. IPv4 is kept in its mapped form, so that both families are
 * 128-bit numbers and one arithmetic serves both. */
#include "netpolicy/ip.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

static unsigned mapped_prefix(const struct cidr *c);
static struct ip with_host_bits(const struct cidr *c, bool ones);

int
ip_parse(const char *s, struct ip *ret, bool *ret_v4)
{
    struct in_addr v4;
    struct in6_addr v6;

    if (inet_pton(AF_INET, s, &v4) == 1) {
        memset(&ret->a, 0, sizeof ret->a);
        memset(ret->a.s6_addr + 10, 0xff, 2);
        memcpy(ret->a.s6_addr + 12, &v4, 4);
    } else if (inet_pton(AF_INET6, s, &v6) == 1 && !IN6_IS_ADDR_V4MAPPED(&v6)) {
        ret->a = v6;
    } else {
        return -EINVAL;
    }
    if (ret_v4)
        *ret_v4 = ip_is_v4(ret);
    return 0;
}

void
ip_format(const struct ip *a, char *buf, size_t size)
{
    const void *p = ip_is_v4(a) ? a->a.s6_addr + 12 : a->a.s6_addr;

    if (!inet_ntop(ip_is_v4(a) ? AF_INET : AF_INET6, p, buf, (socklen_t)size) && size > 0)
        buf[0] = '\0';
}

bool
ip_is_v4(const struct ip *a)
{
    return IN6_IS_ADDR_V4MAPPED(&a->a);
}

bool
ip_is_assignable(const struct ip *a)
{
    const uint8_t *b = a->a.s6_addr;

    if (ip_is_v4(a)) /* 0/8, 127/8, 224/4 and what comes after it */
        return b[12] != 0 && b[12] != 127 && b[12] < 224;
    return !IN6_IS_ADDR_UNSPECIFIED(&a->a) && !IN6_IS_ADDR_LOOPBACK(&a->a) &&
           !IN6_IS_ADDR_MULTICAST(&a->a) && !IN6_IS_ADDR_LINKLOCAL(&a->a);
}

int
ip_cmp(const struct ip *a, const struct ip *b)
{
    return memcmp(a->a.s6_addr, b->a.s6_addr, 16);
}

bool
ip_equal(const struct ip *a, const struct ip *b)
{
    return ip_cmp(a, b) == 0;
}

struct ip
ip_next(const struct ip *a)
{
    struct ip n = *a;

    for (int i = 15; i >= 0; i--)
        if (++n.a.s6_addr[i] != 0)
            break;
    return n;
}

int
cidr_parse(const char *s, struct cidr *ret, struct err *err)
{
    const char *slash = strchr(s, '/');
    char addr[IP_TEXT_SIZE];
    struct cidr c = {0};
    unsigned max;

    if (!slash || slash == s || (size_t)(slash - s) >= sizeof addr)
        goto bad;
    memcpy(addr, s, (size_t)(slash - s));
    addr[slash - s] = '\0';
    if (ip_parse(addr, &c.base, &c.v4) != 0)
        goto bad;
    max = c.v4 ? 32 : 128;
    if (slash[1] == '\0' || strlen(slash + 1) > 3 || (slash[1] == '0' && slash[2] != '\0'))
        goto bad;
    for (const char *p = slash + 1; *p; p++) {
        if (*p < '0' || *p > '9')
            goto bad;
        c.prefix = c.prefix * 10 + (unsigned)(*p - '0');
    }
    if (c.prefix > max)
        return err_set(err, -EINVAL, "\"%s\": want a prefix length of 0 to %u", s, max);
    *ret = c;
    return 0;
bad:
    return err_set(err, -EINVAL,
                   "\"%.100s\": want an address and a prefix length, such as 10.200.5.0/24", s);
}

void
cidr_format(const struct cidr *c, char *buf, size_t size)
{
    char addr[IP_TEXT_SIZE];

    ip_format(&c->base, addr, sizeof addr);
    snprintf(buf, size, "%s/%u", addr, c->prefix);
}

bool
cidr_contains(const struct cidr *c, const struct ip *a)
{
    unsigned prefix = mapped_prefix(c);
    unsigned bytes = prefix / 8, bits = prefix % 8;
    const uint8_t *x = c->base.a.s6_addr, *y = a->a.s6_addr;

    if (c->v4 != ip_is_v4(a) || memcmp(x, y, bytes) != 0)
        return false;
    return bits == 0 || ((x[bytes] ^ y[bytes]) >> (8 - bits)) == 0;
}

bool
cidr_overlap(const struct cidr *a, const struct cidr *b)
{
    /* One of two prefixes that meet contains the other. */
    return cidr_contains(a, &b->base) || cidr_contains(b, &a->base);
}

struct ip
cidr_first(const struct cidr *c)
{
    return with_host_bits(c, false);
}

struct ip
cidr_last(const struct cidr *c)
{
    return with_host_bits(c, true);
}

static unsigned
mapped_prefix(const struct cidr *c)
{
    return c->v4 ? c->prefix + 96 : c->prefix;
}

static struct ip
with_host_bits(const struct cidr *c, bool ones)
{
    struct ip r = c->base;

    for (unsigned i = mapped_prefix(c); i < 128; i++) {
        uint8_t bit = (uint8_t)(0x80 >> (i % 8));

        if (ones)
            r.a.s6_addr[i / 8] |= bit;
        else
            r.a.s6_addr[i / 8] &= (uint8_t)~bit;
    }
    return r;
}
