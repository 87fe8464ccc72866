/* See replay_check.h. */
#include "bench/replay_check.h"

#include <stdlib.h>
#include <string.h>

#include "base/sb.h"

#define NONE SIZE_MAX

struct replay_check {
    const struct replay *r;
    struct replay_size *used; /* a host */
    size_t *host_of;          /* a VM */
    size_t *last_on, *below;  /* VMs on a host, the last first; or NONE */
    size_t *last_of, *before; /* placed VMs of a group, the last first; or NONE */
    struct replay_faults faults;
};

static bool
has_room(const struct replay_size *total, const struct replay_size *used, int64_t cpus, int64_t mib)
{
    return total->cpus - used->cpus >= cpus && total->mib - used->mib >= mib;
}

static void
take(struct replay_size *used, int64_t cpus, int64_t mib)
{
    used->cpus += cpus;
    used->mib += mib;
}

static size_t *
none(size_t len)
{
    size_t *v = xcalloc(len + 1, sizeof *v);

    for (size_t i = 0; i < len; i++)
        v[i] = NONE;
    return v;
}

struct replay_check *
replay_check_new(const struct replay *r)
{
    struct replay_check *c = xcalloc(1, sizeof *c);

    c->r = r;
    c->used = xcalloc(r->hosts_len + 1, sizeof *c->used);
    c->host_of = xcalloc(r->vms_len + 1, sizeof *c->host_of);
    c->before = xcalloc(r->vms_len + 1, sizeof *c->before);
    c->below = xcalloc(r->vms_len + 1, sizeof *c->below);
    c->last_of = none(r->groups_len);
    c->last_on = none(r->hosts_len);
    return c;
}

void
replay_check_free(struct replay_check *c)
{
    if (!c)
        return;
    free(c->used);
    free(c->host_of);
    free(c->last_of);
    free(c->before);
    free(c->last_on);
    free(c->below);
    free(c);
}

/* Does the VM on that host keep its group's rule with all that are placed? */
static bool
keeps_rule(const struct replay_check *c, size_t vm, size_t host)
{
    const struct replay_vm *v = &c->r->vms[vm];
    size_t rack = c->r->hosts[host].rack_index;

    if (v->rule == REPLAY_FREE)
        return true;
    for (size_t i = c->last_of[v->group_index]; i != NONE; i = c->before[i]) {
        bool same_rack = c->r->hosts[c->host_of[i]].rack_index == rack;

        if ((v->rule == REPLAY_AFFINITY && !same_rack) ||
            (v->rule == REPLAY_ANTI_AFFINITY && c->host_of[i] == host) ||
            (v->rule == REPLAY_FAULT_DOMAIN && same_rack &&
             strcmp(c->r->vms[i].domain, v->domain) != 0))
            return false;
    }
    return true;
}

static int
largest_part_first(const void *a, const void *b)
{
    const struct replay_size *x = a, *y = b;

    return (x->cpus < y->cpus) - (x->cpus > y->cpus);
}

/* On the fullest NUMA node that has room. */
static bool
take_part(const struct replay_host *h, struct replay_size used[REPLAY_NUMA],
          const struct replay_size *part)
{
    int64_t least = INT64_MAX;
    size_t best = REPLAY_NUMA;

    for (size_t i = 0; i < REPLAY_NUMA; i++) {
        int64_t left = h->numa[i].cpus - used[i].cpus;

        if (has_room(&h->numa[i], &used[i], part->cpus, part->mib) && left < least) {
            least = left;
            best = i;
        }
    }
    if (best < REPLAY_NUMA)
        take(&used[best], part->cpus, part->mib);
    return best < REPLAY_NUMA;
}

bool
replay_check_numa_fits(const struct replay_check *c, size_t host)
{
    struct replay_size used[REPLAY_NUMA] = {0};
    AUTO_FREE struct replay_size *parts = NULL;
    size_t len = 0;
    bool fits = true;

    for (size_t i = c->last_on[host]; i != NONE; i = c->below[i]) {
        const struct replay_vm *v = &c->r->vms[i];

        parts = xreallocarray(parts, len + v->numa, sizeof *parts);
        for (size_t k = 0; k < v->numa; k++)
            parts[len++] = (struct replay_size){v->size.cpus / v->numa, v->size.mib / v->numa};
    }
    if (len > 0)
        qsort(parts, len, sizeof *parts, largest_part_first);
    for (size_t i = 0; i < len && fits; i++)
        fits = take_part(&c->r->hosts[host], used, &parts[i]);
    return fits;
}

void
replay_check_place(struct replay_check *c, size_t vm, size_t host)
{
    const struct replay_vm *v = &c->r->vms[vm];
    const struct replay_host *h = &c->r->hosts[host];
    struct replay_size *used = &c->used[host];

    if (!keeps_rule(c, vm, host))
        c->faults.rule[v->rule]++;
    take(used, v->size.cpus, v->size.mib);
    if (used->cpus > h->all.cpus)
        c->faults.cpu++;
    if (used->mib > h->all.mib)
        c->faults.memory++;
    c->host_of[vm] = host;
    c->below[vm] = c->last_on[host];
    c->last_on[host] = vm;
    if (v->rule != REPLAY_FREE) {
        c->before[vm] = c->last_of[v->group_index];
        c->last_of[v->group_index] = vm;
    }
}

bool
replay_check_fits_somewhere(const struct replay_check *c, size_t vm)
{
    const struct replay_size *s = &c->r->vms[vm].size;

    for (size_t i = 0; i < c->r->hosts_len; i++)
        if (has_room(&c->r->hosts[i].all, &c->used[i], s->cpus, s->mib) && keeps_rule(c, vm, i))
            return true;
    return false;
}

const struct replay_faults *
replay_check_faults(const struct replay_check *c)
{
    return &c->faults;
}

size_t
replay_check_broken(const struct replay_check *c)
{
    size_t n = c->faults.cpu + c->faults.memory;

    for (size_t i = 0; i < REPLAY_RULES; i++)
        n += c->faults.rule[i];
    return n;
}

size_t
replay_check_hosts_used(const struct replay_check *c)
{
    size_t n = 0;

    for (size_t i = 0; i < c->r->hosts_len; i++)
        n += c->last_on[i] != NONE;
    return n;
}
