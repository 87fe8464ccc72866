/* The addresses that a configuration may hand out; see nad.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/sb.h"
#include "netpolicy/nad.h"

static const struct cidr *excluding(const struct nad_config *c, const struct ip *a);
static int cmp_ip(const void *x, const void *y);

bool
nad_address_allowed(const struct nad_config *c, const struct ip *a)
{
    struct ip first, last;

    for (size_t i = 0; i < c->static_len; i++)
        if (ip_equal(&c->static_addresses[i].base, a))
            return true;
    if (!c->has_range || !cidr_contains(&c->range, a))
        return false;
    first = cidr_first(&c->range);
    last = cidr_last(&c->range);
    if (ip_equal(a, &first) || (c->range.v4 && ip_equal(a, &last)))
        return false;
    if (c->has_range_start && ip_cmp(a, &c->range_start) < 0)
        return false;
    if (c->has_range_end && ip_cmp(a, &c->range_end) > 0)
        return false;
    return excluding(c, a) == NULL;
}

int
nad_address_next(const struct nad_config *c, const struct ip *taken, size_t taken_len,
                 struct ip *ret, struct err *err)
{
    AUTO_FREE struct ip *sorted = xcalloc(taken_len + 1, sizeof *sorted);
    char text[64 + CIDR_TEXT_SIZE];
    struct ip a, end;

    if (taken_len > 0) {
        memcpy(sorted, taken, taken_len * sizeof *sorted);
        qsort(sorted, taken_len, sizeof *sorted, cmp_ip);
    }
    for (size_t i = 0; i < c->static_len; i++) {
        a = c->static_addresses[i].base;
        if (!bsearch(&a, sorted, taken_len, sizeof *sorted, cmp_ip)) {
            *ret = a;
            return 0;
        }
    }
    if (c->has_range) {
        a = cidr_first(&c->range);
        if (c->has_range_start && ip_cmp(&c->range_start, &a) > 0)
            a = c->range_start;
        end = c->has_range_end ? c->range_end : cidr_last(&c->range);
        /* Each turn ends, or steps over one taken address, one edge or one whole exclusion: the
         * number of turns does not depend on the size of the range. */
        while (ip_cmp(&a, &end) <= 0) {
            const struct cidr *x = excluding(c, &a);
            struct ip last = x ? cidr_last(x) : a;

            if (nad_address_allowed(c, &a) &&
                !bsearch(&a, sorted, taken_len, sizeof *sorted, cmp_ip)) {
                *ret = a;
                return 0;
            }
            a = ip_next(&last);
            if (ip_cmp(&a, &last) <= 0)
                break; /* wrapped: the exclusion ended with the address space */
        }
    }
    nad_range_text(c, text, sizeof text);
    return err_set(err, -ENOSPC, "network %s: no free address in %s", c->name ? c->name : "", text);
}

void
nad_range_text(const struct nad_config *c, char *buf, size_t size)
{
    if (c->has_range)
        cidr_format(&c->range, buf, size);
    else
        snprintf(buf, size, "%s", c->static_len > 0 ? "its static addresses" : "no range at all");
}

static const struct cidr *
excluding(const struct nad_config *c, const struct ip *a)
{
    for (size_t i = 0; i < c->exclude_len; i++)
        if (cidr_contains(&c->exclude[i], a))
            return &c->exclude[i];
    return NULL;
}

static int
cmp_ip(const void *x, const void *y)
{
    return ip_cmp(x, y);
}
