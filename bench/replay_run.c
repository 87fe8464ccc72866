/* See replay_run.h. */
#include "bench/replay_run.h"

#include <stdlib.h>
#include <string.h>

#include "api/names.h"
#include "base/clock.h"
#include "base/strmap.h"
#include "bench/sched_engine.h"
#include "bench/sched_world.h"
#include "sched/need.h"
#include "sched/numa.h"
#include "sched/profile.h"

#define PAGES        "2Mi"
#define MIB          (INT64_C(1) << 20)
#define OVERHEAD_GIB 64   /* of a host, for what KubeVirt adds to its VMs */
#define VMS_A_HOST   1000 /* no limit */
#define GROUP        "group"
#define DOMAIN       "domain"

struct run {
    const struct replay *r;
    const struct replay_options *o;
    struct arena *a;
    struct vmi *vms;
    size_t *order; /* the VM of each step */
    size_t *host;  /* where each step's went, or hosts_len */
    struct cluster *cluster;
    struct strmap *hosts; /* name -> struct replay_host * */
};

static void make_cluster(struct run *run);
static struct node *make_node(struct run *run, const struct replay_host *h);
static void make_vm(struct run *run, size_t i);
static void add_rule(struct run *run, const struct replay_vm *v, struct vmi *ret);
static void make_order(struct run *run);
static int place_all(struct run *run, struct replay_result *ret, struct err *err);
static void check_all(const struct run *run, struct replay_result *ret);

/* CPU and huge pages decide, and the plugins have kube-scheduler's weights. */
static const struct profile *
make_profile(bool most, struct arena *a)
{
    static struct sched_config_resource both[] = {{.name = "cpu"}, {.name = "hugepages-" PAGES}};
    struct sched_config_args args[] = {
        {.name = "NodeResourcesFit",
         .strategy = most ? "MostAllocated" : "LeastAllocated",
         .resources = both,
         .resources_len = ARRAY_LEN(both)},
        {.name = "NodeResourcesBalancedAllocation",
         .resources = both,
         .resources_len = ARRAY_LEN(both)},
    };
    struct sched_config_profile profile = {.args = args, .args_len = ARRAY_LEN(args)};

    return profile_compile(&(struct sched_config){&profile, 1}, a);
}

int
replay_run(const struct replay *r, const struct replay_options *o, struct replay_result *ret,
           struct err *err)
{
    struct run run = {.r = r, .o = o, .a = arena_new(), .hosts = strmap_new()};
    int rc;

    *ret = (struct replay_result){0};
    make_cluster(&run);
    run.vms = arena_calloc(run.a, r->vms_len, sizeof *run.vms);
    run.order = arena_calloc(run.a, r->vms_len, sizeof *run.order);
    run.host = arena_calloc(run.a, r->vms_len, sizeof *run.host);
    for (size_t i = 0; i < r->vms_len; i++)
        make_vm(&run, i);
    make_order(&run);
    rc = place_all(&run, ret, err);
    if (rc == 0)
        check_all(&run, ret);
    cluster_free(run.cluster);
    strmap_free(run.hosts, NULL);
    arena_free(run.a);
    return rc;
}

static void
make_cluster(struct run *run)
{
    run->cluster = cluster_new();
    cluster_set_profile(run->cluster, make_profile(run->o->most, run->a));
    for (size_t i = 0; i < run->r->hosts_len; i++) {
        struct replay_host *h = &run->r->hosts[i];

        strmap_put(run->hosts, h->name, h);
        cluster_add_node(run->cluster, make_node(run, h));
    }
}

static const char *
cells_text(const struct replay_host *h, struct arena *a)
{
    const char *text = "[";

    for (size_t i = 0; i < REPLAY_NUMA; i++)
        text =
            arena_printf(a, "%s%s{\"cpu\": \"%lld\", \"hugepages-" PAGES "\": \"%lldMi\"}", text,
                         i > 0 ? ", " : "", (long long)h->numa[i].cpus, (long long)h->numa[i].mib);
    return arena_printf(a, "%s]", text);
}

static struct node *
make_node(struct run *run, const struct replay_host *h)
{
    struct node *n = arena_alloc(run->a, sizeof *n);
    struct kv labels[] = {{LABEL_HOSTNAME, h->name},
                          {SCHED_WORLD_RACK, h->rack},
                          {LABEL_SCHEDULABLE, "true"},
                          {LABEL_CPUMANAGER, "true"}};
    struct kv cells = {NUMA_ANN_CELLS, cells_text(h, run->a)};
    struct resource has[] = {
        sched_world_resource("cpu", h->all.cpus),
        sched_world_resource("memory", OVERHEAD_GIB * 1024 * MIB),
        sched_world_resource("hugepages-" PAGES, h->all.mib * MIB),
        sched_world_resource("pods", VMS_A_HOST),
        sched_world_resource(NEED_KVM, VMS_A_HOST),
    };

    n->meta.name = h->name;
    n->meta.labels = sched_world_pairs(run->a, ARRAY_LEN(labels), labels);
    n->meta.annotations = sched_world_pairs(run->a, 1, &cells);
    n->allocatable.items = arena_calloc(run->a, ARRAY_LEN(has), sizeof *has);
    memcpy(n->allocatable.items, has, sizeof has);
    n->allocatable.len = ARRAY_LEN(has);
    return n;
}

static void
make_vm(struct run *run, size_t i)
{
    const struct replay_vm *v = &run->r->vms[i];
    struct vmi *ret = &run->vms[i];
    struct vmi_domain *d = &ret->spec.domain;

    ret->meta.namespace_ = "replay";
    ret->meta.name = arena_printf(run->a, "vm-%zu", i);
    d->cpu.sockets = v->numa;
    d->cpu.cores = v->size.cpus / v->numa;
    d->cpu.dedicated_placement = true;
    d->cpu.numa_passthrough = run->o->numa;
    d->guest_memory = sched_world_resource("", v->size.mib * MIB).q;
    d->hugepages_size = PAGES;
    if (v->rule != REPLAY_FREE)
        add_rule(run, v, ret);
}

static void
add_rule(struct run *run, const struct replay_vm *v, struct vmi *ret)
{
    struct kv labels[] = {{GROUP, v->group}, {DOMAIN, v->domain}};
    struct pod_term *t = arena_alloc(run->a, sizeof *t);
    struct affinity *aff = &ret->spec.affinity;

    ret->meta.labels = sched_world_pairs(run->a, v->domain ? 2 : 1, labels);
    t->selector = arena_alloc(run->a, sizeof *t->selector);
    t->selector->match_labels = sched_world_pairs(run->a, 1, labels);
    t->topology_key = v->rule == REPLAY_ANTI_AFFINITY ? LABEL_HOSTNAME : SCHED_WORLD_RACK;
    if (v->rule == REPLAY_FAULT_DOMAIN) { /* away from the group's other domains */
        struct requirement *other = arena_alloc(run->a, sizeof *other);

        *other = (struct requirement){.key = DOMAIN, .op = SEL_NOT_IN};
        other->values.items = arena_calloc(run->a, 1, sizeof *other->values.items);
        other->values.items[0] = v->domain;
        other->values.len = 1;
        t->selector->exprs = other;
        t->selector->exprs_len = 1;
    }
    if (v->rule == REPLAY_AFFINITY) {
        aff->pod_required = t;
        aff->pod_required_len = 1;
    } else {
        aff->pod_anti_required = t;
        aff->pod_anti_required_len = 1;
    }
}

struct ranked {
    const struct replay_vm *vm;
    size_t place;
};

static int
largest_first(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    const struct replay_size *s = &x->vm->size, *t = &y->vm->size;

    if (s->cpus != t->cpus)
        return s->cpus < t->cpus ? 1 : -1;
    if (s->mib != t->mib)
        return s->mib < t->mib ? 1 : -1;
    return (x->place > y->place) - (x->place < y->place);
}

static void
make_order(struct run *run)
{
    size_t len = run->r->vms_len;
    struct ranked *all = arena_calloc(run->a, len, sizeof *all);

    for (size_t i = 0; i < len; i++)
        all[i] = (struct ranked){&run->r->vms[i], i};
    if (run->o->decreasing)
        qsort(all, len, sizeof *all, largest_first);
    for (size_t i = 0; i < len; i++)
        run->order[i] = all[i].place;
}

/* The clocks stand while a decision is compared. */
static int
place_all(struct run *run, struct replay_result *ret, struct err *err)
{
    size_t len = run->r->vms_len, stretch = run->o->compare ? run->o->compare : len, i = 0;
    uint64_t cpu_ns = 0, wall_ns = 0;
    struct sched_engine e;
    int rc = 0;

    sched_engine_open(&e, run->cluster, false);
    while (i < len && rc == 0) {
        size_t end = i + stretch < len ? i + stretch : len;
        uint64_t cpu, wall;

        if (run->o->compare) {
            rc = sched_engine_agrees(&e, &run->vms[run->order[i]], err);
            ret->compared++;
        }
        wall = clock_mono_ns();
        cpu = clock_thread_ns();
        for (; i < end; i++) {
            const char *node = sched_engine_place(&e, &run->vms[run->order[i]], true);
            const struct replay_host *h = node ? strmap_get(run->hosts, node) : NULL;

            run->host[i] = h ? (size_t)(h - run->r->hosts) : run->r->hosts_len;
        }
        cpu_ns += clock_thread_ns() - cpu;
        wall_ns += clock_mono_ns() - wall;
    }
    sched_engine_close(&e);
    ret->cpu_per_s = cpu_ns ? (double)i * 1e9 / (double)cpu_ns : 0;
    ret->wall_per_s = wall_ns ? (double)i * 1e9 / (double)wall_ns : 0;
    return rc;
}

static void
check_all(const struct run *run, struct replay_result *ret)
{
    struct replay_check *c = replay_check_new(run->r);

    for (size_t i = 0; i < run->r->vms_len; i++) {
        size_t vm = run->order[i];

        if (run->host[i] < run->r->hosts_len) {
            replay_check_place(c, vm, run->host[i]);
            if (run->o->numa && !replay_check_numa_fits(c, run->host[i]))
                ret->broken++;
            ret->placed++;
            continue;
        }
        ret->rejected++;
        ret->rejected_by[run->r->vms[vm].rule]++;
        if (!run->o
                 ->numa) /* on NUMA nodes the checker knows one layout, not whether there is one */
            ret->wrongly += replay_check_fits_somewhere(c, vm);
    }
    ret->hosts_used = replay_check_hosts_used(c);
    ret->broken += replay_check_broken(c);
    for (size_t i = 0; i < run->r->hosts_len; i++)
        ret->numa_broken += !replay_check_numa_fits(c, i);
    replay_check_free(c);
}
