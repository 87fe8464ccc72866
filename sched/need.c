/* Resources as numbers; see need.h. A VMI's huge pages and devices become extended resources here;
 * a Pod's requests are the larger of what its containers and sidecars ask for together and what any
 * init container asks for with the sidecars before it, plus its overhead, as in kube-scheduler 1.31. */
#include "sched/need.h"

#include <stdlib.h>
#include <string.h>

#include "base/sb.h"
#include "sched/place.h"

#define ABSENT_CPU_MILLI    100
#define ABSENT_MEMORY_BYTES (INT64_C(200) << 20)

static void add_resource(struct need *n, const struct resource *r, struct arena *a);
static void add_extra(struct need *n, const char *name, int64_t value, bool if_listed,
                      struct arena *a);
static void add_container(struct need *sum, const struct pod_container *c, struct arena *a);
static void merge(struct need *into, const struct need *n, bool largest, struct arena *a);
static struct room_extra *room_extra(struct room *r, const char *name, struct strmap *names);
static struct room_extra *find_extra(const struct room *r, const char *name);
static int64_t units(const struct quantity *q);
static int64_t larger(int64_t x, int64_t y);

struct need
need_of_vmi(const struct vmi_spec *s, int64_t allocation_ratio, struct arena *a)
{
    const struct vmi_domain *d = &s->domain;
    struct need n = {0};

    n.cpu_milli = vmi_cpu_request_milli(s, allocation_ratio);
    n.memory_bytes = vmi_memory_request_bytes(s);
    if (d->hugepages_size && *d->hugepages_size) {
        int64_t guest = vmi_guest_memory_bytes(s);

        add_extra(&n, arena_printf(a, "hugepages-%s", d->hugepages_size), guest, false, a);
        /* the pages come out of the pool that the node keeps apart from its memory */
        n.memory_bytes = n.memory_bytes > guest ? n.memory_bytes - guest : 0;
    }
    for (size_t i = 0; i < d->requests.len; i++) {
        const char *name = d->requests.items[i].name;

        if (strcmp(name, "cpu") != 0 && strcmp(name, "memory") != 0)
            add_resource(&n, &d->requests.items[i], a);
    }
    for (size_t i = 0; i < d->gpus_len; i++)
        if (d->gpus[i].device_name)
            add_extra(&n, d->gpus[i].device_name, 1, false, a);
    for (size_t i = 0; i < d->host_devices_len; i++)
        if (d->host_devices[i].device_name)
            add_extra(&n, d->host_devices[i].device_name, 1, false, a);
    add_extra(&n, NEED_KVM, 1, true, a);
    if (d->sev)
        add_extra(&n, NEED_SEV, 1, true, a);
    n.score_cpu_milli = n.cpu_milli;
    n.score_memory_bytes = n.memory_bytes;
    return n;
}

struct need
need_of_pod(const struct pod *p, struct arena *a)
{
    struct need n = {0}, sidecars = {0}, start = {0};

    for (size_t i = 0; i < p->containers_len; i++)
        add_container(&n, &p->containers[i], a);
    /* while one init container runs, the sidecars before it do, too */
    for (size_t i = 0; i < p->init_containers_len; i++) {
        const struct pod_container *c = &p->init_containers[i];
        bool stays = c->restart_policy && strcmp(c->restart_policy, "Always") == 0;
        struct need one = {0};

        if (stays) {
            add_container(&n, c, a);
            add_container(&sidecars, c, a);
        } else {
            add_container(&one, c, a);
        }
        merge(&one, &sidecars, false, a);
        merge(&start, &one, true, a);
    }
    merge(&n, &start, true, a);
    for (size_t i = 0; i < p->overhead.len; i++) {
        struct need one = {0};

        add_resource(&one, &p->overhead.items[i], a);
        one.score_cpu_milli = one.cpu_milli;
        one.score_memory_bytes = one.memory_bytes;
        merge(&n, &one, false, a);
    }
    return n;
}

const char *
need_name(struct strmap *names, const char *name)
{
    char *known = strmap_get(names, name);

    if (!known) {
        known = xstrdup(name);
        strmap_put(names, name, known);
    }
    return known;
}

void
need_keep(struct need *n, struct strmap *names)
{
    struct need_extra *list = NULL;

    if (n->extras_len > 0)
        list = xreallocarray(NULL, n->extras_len, sizeof(*list));
    for (size_t i = 0; i < n->extras_len; i++) {
        list[i] = n->extras[i];
        list[i].name = need_name(names, list[i].name);
    }
    n->extras = list;
}

void
need_drop(struct need *n)
{
    free(n->extras);
    n->extras = NULL;
    n->extras_len = 0;
}

void
need_room_of_node(struct room *r, const struct node *n, struct strmap *names)
{
    static const struct resource_list none;
    const struct resource_list *l = &none;

    if (n)
        l = n->allocatable.len > 0 ? &n->allocatable : &n->capacity;
    r->cpu_milli = r->memory_bytes = r->ephemeral_bytes = r->pods = 0;
    for (size_t i = 0; i < r->extras_len; i++) {
        r->extras[i].total = 0;
        r->extras[i].listed = false;
    }
    for (size_t i = 0; i < l->len; i++) {
        const struct resource *q = &l->items[i];

        if (strcmp(q->name, "cpu") == 0) {
            r->cpu_milli = larger(q->q.milli, 0);
        } else if (strcmp(q->name, "memory") == 0) {
            r->memory_bytes = units(&q->q);
        } else if (strcmp(q->name, "ephemeral-storage") == 0) {
            r->ephemeral_bytes = units(&q->q);
        } else if (strcmp(q->name, "pods") == 0) {
            r->pods = units(&q->q);
        } else {
            struct room_extra *e = room_extra(r, q->name, names);

            e->total = units(&q->q);
            e->listed = true;
        }
    }
}

void
need_take(struct room *r, const struct need *n, struct strmap *names)
{
    r->used_cpu_milli = need_add(r->used_cpu_milli, n->cpu_milli);
    r->used_memory_bytes = need_add(r->used_memory_bytes, n->memory_bytes);
    r->used_ephemeral_bytes = need_add(r->used_ephemeral_bytes, n->ephemeral_bytes);
    r->used_score_cpu_milli = need_add(r->used_score_cpu_milli, n->score_cpu_milli);
    r->used_score_memory_bytes = need_add(r->used_score_memory_bytes, n->score_memory_bytes);
    r->used_pods = need_add(r->used_pods, 1);
    for (size_t i = 0; i < n->extras_len; i++) {
        struct room_extra *e;

        if (n->extras[i].value == 0)
            continue;
        e = room_extra(r, n->extras[i].name, names);
        e->used = need_add(e->used, n->extras[i].value);
    }
}

bool
need_untake(struct room *r, const struct need *n)
{
    /* a sum at its end may stand for any larger one */
    if (r->used_cpu_milli == INT64_MAX || r->used_memory_bytes == INT64_MAX ||
        r->used_ephemeral_bytes == INT64_MAX || r->used_score_cpu_milli == INT64_MAX ||
        r->used_score_memory_bytes == INT64_MAX)
        return false;
    for (size_t i = 0; i < n->extras_len; i++) {
        const struct room_extra *e = find_extra(r, n->extras[i].name);

        if (e && e->used == INT64_MAX)
            return false;
    }
    r->used_cpu_milli -= n->cpu_milli;
    r->used_memory_bytes -= n->memory_bytes;
    r->used_ephemeral_bytes -= n->ephemeral_bytes;
    r->used_score_cpu_milli -= n->score_cpu_milli;
    r->used_score_memory_bytes -= n->score_memory_bytes;
    r->used_pods--;
    for (size_t i = 0; i < n->extras_len; i++) {
        struct room_extra *e = find_extra(r, n->extras[i].name);

        if (e) /* none: it took 0 of it */
            e->used -= n->extras[i].value;
    }
    return true;
}

void
need_room_empty(struct room *r)
{
    r->used_cpu_milli = r->used_memory_bytes = r->used_ephemeral_bytes = r->used_pods = 0;
    r->used_score_cpu_milli = r->used_score_memory_bytes = 0;
    for (size_t i = 0; i < r->extras_len; i++)
        r->extras[i].used = 0;
}

void
need_room_done(struct room *r)
{
    free(r->extras);
    *r = (struct room){0};
}

const struct room_extra *
need_room_extra(const struct room *r, const char *name)
{
    return find_extra(r, name);
}

const struct need_extra *
need_find_extra(const struct need *n, const char *name)
{
    for (size_t i = 0; i < n->extras_len; i++)
        if (strcmp(n->extras[i].name, name) == 0)
            return &n->extras[i];
    return NULL;
}

void
need_add_cpu(struct need *n, int64_t milli)
{
    n->cpu_milli = need_add(n->cpu_milli, milli);
    n->score_cpu_milli = need_add(n->score_cpu_milli, milli);
}

void
need_add_extra(struct need *n, const char *name, int64_t value, struct arena *a)
{
    add_extra(n, name, value, false, a);
}

int64_t
need_add(int64_t a, int64_t b)
{
    int64_t sum;

    return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

int64_t
need_mul(int64_t a, int64_t b)
{
    int64_t product;

    return __builtin_mul_overflow(a, b, &product) ? INT64_MAX : product;
}

static void
add_resource(struct need *n, const struct resource *r, struct arena *a)
{
    if (strcmp(r->name, "cpu") == 0)
        n->cpu_milli = need_add(n->cpu_milli, larger(r->q.milli, 0));
    else if (strcmp(r->name, "memory") == 0)
        n->memory_bytes = need_add(n->memory_bytes, units(&r->q));
    else if (strcmp(r->name, "ephemeral-storage") == 0)
        n->ephemeral_bytes = need_add(n->ephemeral_bytes, units(&r->q));
    else
        add_extra(n, r->name, units(&r->q), false, a);
}

static void
add_extra(struct need *n, const char *name, int64_t value, bool if_listed, struct arena *a)
{
    struct need_extra *list;
    size_t at = 0;

    while (at < n->extras_len && strcmp(n->extras[at].name, name) < 0)
        at++;
    if (at < n->extras_len && strcmp(n->extras[at].name, name) == 0) {
        n->extras[at].value = need_add(n->extras[at].value, value);
        n->extras[at].if_listed = n->extras[at].if_listed && if_listed;
        return;
    }
    list = arena_calloc(a, n->extras_len + 1, sizeof(*list));
    if (n->extras_len > 0) {
        memcpy(list, n->extras, at * sizeof(*list));
        memcpy(list + at + 1, n->extras + at, (n->extras_len - at) * sizeof(*list));
    }
    list[at] = (struct need_extra){.name = name, .value = value, .if_listed = if_listed};
    n->extras = list;
    n->extras_len++;
}

static void
add_container(struct need *sum, const struct pod_container *c, struct arena *a)
{
    struct need one = {.score_cpu_milli = ABSENT_CPU_MILLI,
                       .score_memory_bytes = ABSENT_MEMORY_BYTES};

    for (size_t i = 0; i < c->requests.len; i++) {
        const struct resource *r = &c->requests.items[i];

        add_resource(&one, r, a);
        if (strcmp(r->name, "cpu") == 0)
            one.score_cpu_milli = one.cpu_milli;
        else if (strcmp(r->name, "memory") == 0)
            one.score_memory_bytes = one.memory_bytes;
    }
    merge(sum, &one, false, a);
}

/* into := into + n, or the larger of both, resource by resource */
static void
merge(struct need *into, const struct need *n, bool largest, struct arena *a)
{
    int64_t (*op)(int64_t, int64_t) = largest ? larger : need_add;

    into->cpu_milli = op(into->cpu_milli, n->cpu_milli);
    into->memory_bytes = op(into->memory_bytes, n->memory_bytes);
    into->ephemeral_bytes = op(into->ephemeral_bytes, n->ephemeral_bytes);
    into->score_cpu_milli = op(into->score_cpu_milli, n->score_cpu_milli);
    into->score_memory_bytes = op(into->score_memory_bytes, n->score_memory_bytes);
    for (size_t i = 0; i < n->extras_len; i++) {
        const struct need_extra *have = need_find_extra(into, n->extras[i].name);
        int64_t value = n->extras[i].value;

        if (largest && have)
            value = value > have->value ? value - have->value : 0;
        add_extra(into, n->extras[i].name, value, n->extras[i].if_listed, a);
    }
}

static struct room_extra *
room_extra(struct room *r, const char *name, struct strmap *names)
{
    struct room_extra *e = find_extra(r, name);

    if (e)
        return e;
    /* one that the node no longer lists and nobody uses gives its place */
    for (size_t i = 0; i < r->extras_len && !e; i++)
        if (!r->extras[i].listed && r->extras[i].used == 0)
            e = &r->extras[i];
    if (!e) {
        if (r->extras_len == r->extras_cap) {
            r->extras_cap = r->extras_cap ? 2 * r->extras_cap : 2;
            r->extras = xreallocarray(r->extras, r->extras_cap, sizeof(*r->extras));
        }
        e = &r->extras[r->extras_len++];
    }
    *e = (struct room_extra){.name = need_name(names, name)};
    return e;
}

static struct room_extra *
find_extra(const struct room *r, const char *name)
{
    for (size_t i = 0; i < r->extras_len; i++)
        if (r->extras[i].name == name || strcmp(r->extras[i].name, name) == 0)
            return &r->extras[i];
    return NULL;
}

static int64_t
units(const struct quantity *q)
{
    return larger(q->units, 0);
}

static int64_t
larger(int64_t x, int64_t y)
{
    return x > y ? x : y;
}
