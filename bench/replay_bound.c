/* See replay_bound.h. */
#include "bench/replay_bound.h"

#include <stdlib.h>

#include "base/sb.h"

struct sizes { /* of one resource, the largest first */
    int64_t *v;
    size_t len;
};

static int
largest_first(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x < y) - (x > y);
}

static int64_t
amount(const struct replay_size *s, bool memory)
{
    return memory ? s->mib : s->cpus;
}

/* numa: NUMA nodes instead of hosts. Free v. */
static struct sizes
sizes_of_hosts(const struct replay *r, bool memory, bool numa)
{
    struct sizes s = {.v = xcalloc(REPLAY_NUMA * r->hosts_len + 1, sizeof *s.v)};

    for (size_t i = 0; i < r->hosts_len; i++) {
        if (!numa)
            s.v[s.len++] = amount(&r->hosts[i].all, memory);
        for (size_t k = 0; numa && k < REPLAY_NUMA; k++)
            s.v[s.len++] = amount(&r->hosts[i].numa[k], memory);
    }
    qsort(s.v, s.len, sizeof *s.v, largest_first);
    return s;
}

/* numa: what must come whole from one NUMA node. Free v. */
static struct sizes
sizes_of_vms(const struct replay *r, bool memory, bool numa)
{
    struct sizes s = {.v = xcalloc(REPLAY_NUMA * r->vms_len + 1, sizeof *s.v)};

    for (size_t i = 0; i < r->vms_len; i++) {
        unsigned parts = numa ? r->vms[i].numa : 1;

        for (unsigned k = 0; k < parts; k++)
            s.v[s.len++] = amount(&r->vms[i].size, memory) / parts;
    }
    qsort(s.v, s.len, sizeof *s.v, largest_first);
    return s;
}

size_t
replay_bound_sums(const struct replay *r)
{
    size_t most = 0;

    for (int memory = 0; memory < 2; memory++) {
        struct sizes hosts = sizes_of_hosts(r, memory, false), vms = sizes_of_vms(r, memory, false);
        int64_t left = 0;
        size_t n = 0;

        for (size_t i = 0; i < vms.len; i++)
            left += vms.v[i];
        for (; left > 0 && n < hosts.len; n++)
            left -= hosts.v[n];
        n += left > 0; /* more than all hosts */
        most = n > most ? n : most;
        free(hosts.v);
        free(vms.v);
    }
    return most;
}

/* For the threshold k: what is above room - k shares a bin with nothing that counts; what is above half
 * of the room does not share one with its like; the rest, down to k, fills what the latter leave, and
 * then more. */
static size_t
l2_at(const struct sizes *s, int64_t room, int64_t k)
{
    size_t alone = 0, half = 0;
    int64_t left = 0, rest = 0;

    for (size_t i = 0; i < s->len && s->v[i] >= k; i++) {
        if (s->v[i] > room - k) {
            alone++;
        } else if (s->v[i] > room / 2) {
            half++;
            left += room - s->v[i];
        } else {
            rest += s->v[i];
        }
    }
    return alone + half + (rest > left ? (size_t)((rest - left + room - 1) / room) : 0);
}

/* Thresholds: 0, and each size up to half of the room. */
static size_t
l2(const struct sizes *s, int64_t room)
{
    size_t most = l2_at(s, room, 0);

    for (size_t i = 0; i < s->len; i++) {
        size_t n;

        if (s->v[i] > room / 2 || (i > 0 && s->v[i] == s->v[i - 1]))
            continue;
        n = l2_at(s, room, s->v[i]);
        most = n > most ? n : most;
    }
    return most;
}

size_t
replay_bound_l2(const struct replay *r, bool numa)
{
    size_t most = 0;

    for (int memory = 0; memory < 2 && r->hosts_len > 0; memory++) {
        struct sizes hosts = sizes_of_hosts(r, memory, numa), vms = sizes_of_vms(r, memory, numa);
        bool alike = hosts.v[0] == hosts.v[hosts.len - 1] && hosts.v[0] > 0;
        size_t n = alike ? l2(&vms, hosts.v[0]) : 0;

        if (numa)
            n = (n + REPLAY_NUMA - 1) / REPLAY_NUMA;
        most = n > most ? n : most;
        free(hosts.v);
        free(vms.v);
    }
    return most;
}
