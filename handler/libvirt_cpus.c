/* See libvirt_cpus.h. */
#include "handler/libvirt_cpus.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/sb.h"

struct candidate {
    struct lv_cpu cpu;
    bool broken; /* a sibling is taken */
};

static bool is_free(const struct lv_cpus_host *h, const struct lv_cpuset *taken, size_t i);
static int by_use(const void *a, const void *b);
static bool one_node(const struct candidate *c, size_t len, size_t n, unsigned *ret_node);

void
lv_cpuset_add(struct lv_cpuset *s, unsigned cpu)
{
    if (cpu < LV_CPUS_MAX)
        s->bits[cpu / 64] |= UINT64_C(1) << (cpu % 64);
}

bool
lv_cpuset_has(const struct lv_cpuset *s, unsigned cpu)
{
    return cpu < LV_CPUS_MAX && (s->bits[cpu / 64] >> (cpu % 64) & 1);
}

void
lv_cpuset_join(struct lv_cpuset *s, const struct lv_cpuset *other)
{
    for (size_t i = 0; i < ARRAY_LEN(s->bits); i++)
        s->bits[i] |= other->bits[i];
}

/* A number below LV_CPUS_MAX at *at, which is moved behind it. */
static bool
number(const char **at, unsigned *ret)
{
    char *end;
    unsigned long v;

    if (**at < '0' || **at > '9')
        return false;
    v = strtoul(*at, &end, 10);
    *at = end;
    *ret = (unsigned)v;
    return v < LV_CPUS_MAX;
}

int
lv_cpuset_parse(struct lv_cpuset *s, const char *list)
{
    struct lv_cpuset set = {0};
    const char *at = list;
    unsigned first, last;

    do {
        bool off = *at == '^';

        at += off;
        if (!number(&at, &first))
            return -EINVAL;
        last = first;
        if (*at == '-' && !off) {
            at++;
            if (!number(&at, &last) || last < first)
                return -EINVAL;
        }
        for (unsigned cpu = first; cpu <= last; cpu++) {
            lv_cpuset_add(&set, cpu);
            if (off)
                set.bits[cpu / 64] &= ~(UINT64_C(1) << (cpu % 64));
        }
    } while (*at++ == ',');
    if (at[-1] != '\0')
        return -EINVAL;
    lv_cpuset_join(s, &set);
    return 0;
}

int
lv_cpus_pick(const struct lv_cpus_host *h, const struct lv_cpuset *taken, size_t n, unsigned *ret,
             struct err *err)
{
    AUTO_FREE struct candidate *c = xcalloc(h->len + 1, sizeof(*c));
    size_t len = 0, got = 0;
    unsigned node = 0;
    bool within;

    for (size_t i = 1; i < h->len; i++) {
        if (!is_free(h, taken, i))
            continue;
        c[len].cpu = h->items[i];
        for (size_t k = 0; k < h->len; k++)
            c[len].broken |= h->items[k].node == h->items[i].node &&
                             h->items[k].socket == h->items[i].socket &&
                             h->items[k].core == h->items[i].core && !is_free(h, taken, k);
        len++;
    }
    if (len < n)
        return err_set(err, -EBUSY,
                       "%zu dedicated CPUs wanted: %zu of this host's %zu are free (the first one "
                       "is never given away)",
                       n, len, h->len);
    qsort(c, len, sizeof(*c), by_use);
    within = one_node(c, len, n, &node);
    for (size_t i = 0; i < len && got < n; i++)
        if (!within || c[i].cpu.node == node)
            ret[got++] = c[i].cpu.id;
    return 0;
}

/* The first one counts as taken. */
static bool
is_free(const struct lv_cpus_host *h, const struct lv_cpuset *taken, size_t i)
{
    return i > 0 && h->items[i].id < LV_CPUS_MAX && !lv_cpuset_has(taken, h->items[i].id);
}

static int
compare(unsigned a, unsigned b)
{
    return a < b ? -1 : a > b;
}

static int
by_use(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    int d = (int)x->broken - (int)y->broken;

    d = d ? d : compare(x->cpu.node, y->cpu.node);
    d = d ? d : compare(x->cpu.socket, y->cpu.socket);
    d = d ? d : compare(x->cpu.core, y->cpu.core);
    return d ? d : compare(x->cpu.id, y->cpu.id);
}

/* The node that has n and the fewest besides; the lowest number of several. */
static bool
one_node(const struct candidate *c, size_t len, size_t n, unsigned *ret_node)
{
    size_t best = 0;

    for (size_t i = 0; i < len; i++) {
        size_t here = 0;

        for (size_t k = 0; k < len; k++)
            here += c[k].cpu.node == c[i].cpu.node;
        if (here >= n &&
            (best == 0 || here < best || (here == best && c[i].cpu.node < *ret_node))) {
            best = here;
            *ret_node = c[i].cpu.node;
        }
    }
    return best > 0;
}
