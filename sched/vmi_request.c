/* What a VMI asks of its node, as formulas over its spec: guest memory, the memory overhead of the
 * 4.15 documents, CPU under the allocation ratio, the CPU model by precedence. Pure; part of
 * place.h. Called by need.c, the CPU filter, control/ and cli/. Follows "Cluster resource
 * requirements", "CPU allocation ratio" and "Default CPU model" there. */
#include "sched/place.h"

#include <string.h>

#include "sched/need.h"

#define MIB                   (INT64_C(1) << 20)
#define OVERHEAD_BASE         (218 * MIB) /* the processes around QEMU; 146 MiB in 4.12 */
#define OVERHEAD_PER_VCPU     (8 * MIB)
#define OVERHEAD_PER_GRAPHICS (16 * MIB)
#define OVERHEAD_PER_DEVICE   (1024 * MIB) /* each SR-IOV interface and each GPU */
#define OVERHEAD_SEV          (256 * MIB)
#define OVERHEAD_TPM          (53 * MIB)
#define DEFAULT_RATIO         10

static const struct quantity *find(const struct resource_list *l, const char *name);
static int64_t requested_memory(const struct vmi_spec *s);
static int64_t vcpus(const struct vmi_spec *s);
static int64_t at_least_one(int64_t n);

int64_t
vmi_guest_memory_bytes(const struct vmi_spec *s)
{
    if (s->domain.guest_memory.set && s->domain.guest_memory.units > 0)
        return s->domain.guest_memory.units;
    return requested_memory(s);
}

int64_t
vmi_memory_request_bytes(const struct vmi_spec *s)
{
    const struct vmi_domain *d = &s->domain;
    int64_t asked = requested_memory(s), devices = 0, sum;

    /* 1.002 times, rounded up to a byte */
    sum = need_add(asked, asked / 500 + (asked % 500 != 0));
    sum = need_add(sum, OVERHEAD_BASE);
    sum = need_add(sum, need_mul(OVERHEAD_PER_VCPU, vcpus(s)));
    if (!d->has_autoattach_graphics || d->autoattach_graphics)
        sum = need_add(sum, OVERHEAD_PER_GRAPHICS);
    for (size_t i = 0; i < d->interfaces_len; i++)
        if (d->interfaces[i].binding && strcmp(d->interfaces[i].binding, "sriov") == 0)
            devices++;
    devices += (int64_t)d->gpus_len;
    sum = need_add(sum, need_mul(OVERHEAD_PER_DEVICE, devices));
    if (d->sev)
        sum = need_add(sum, OVERHEAD_SEV);
    if (d->has_tpm)
        sum = need_add(sum, OVERHEAD_TPM);
    return sum;
}

int64_t
vmi_cpu_request_milli(const struct vmi_spec *s, int64_t allocation_ratio)
{
    const struct vmi_cpu *cpu = &s->domain.cpu;
    const struct quantity *q = find(&s->domain.requests, "cpu");
    int64_t milli = need_mul(vcpus(s), 1000);

    if (cpu->dedicated_placement)
        return need_add(milli, cpu->isolate_emulator_thread ? 1000 : 0);
    if (q)
        return q->milli > 0 ? q->milli : 0;
    if (allocation_ratio <= 0)
        allocation_ratio = DEFAULT_RATIO;
    return milli / allocation_ratio + (milli % allocation_ratio != 0);
}

int64_t
vmi_align_milli(const struct vmi_spec *s, const struct hco *hco)
{
    const struct vmi_cpu *cpu = &s->domain.cpu;

    if (!hco || !hco->align_cpus || !cpu->dedicated_placement || !cpu->isolate_emulator_thread)
        return 0;
    return vmi_cpu_request_milli(s, 0) / 1000 % 2 != 0 ? 1000 : 0;
}

const char *
vmi_cpu_model(const struct vmi_spec *s, const struct hco *hco)
{
    if (s->domain.cpu.model && *s->domain.cpu.model)
        return s->domain.cpu.model;
    if (hco && hco->default_cpu_model && *hco->default_cpu_model)
        return hco->default_cpu_model;
    return "host-model";
}

static const struct quantity *
find(const struct resource_list *l, const char *name)
{
    for (size_t i = 0; i < l->len; i++)
        if (strcmp(l->items[i].name, name) == 0)
            return &l->items[i].q;
    return NULL;
}

/* What the formula calls "requested memory": resources.requests, else the guest's memory, else
 * resources.limits (a limit without a request is the request, as for Pods). */
static int64_t
requested_memory(const struct vmi_spec *s)
{
    const struct quantity *q = find(&s->domain.requests, "memory");

    if (!q && s->domain.guest_memory.set)
        q = &s->domain.guest_memory;
    if (!q)
        q = find(&s->domain.limits, "memory");
    return q && q->units > 0 ? q->units : 0;
}

/* sockets * cores * threads; without a topology the CPU limit or request, rounded up, as upstream
 * fills in the sockets. */
static int64_t
vcpus(const struct vmi_spec *s)
{
    const struct vmi_cpu *cpu = &s->domain.cpu;
    const struct quantity *q;

    if (cpu->sockets <= 0 && cpu->cores <= 0 && cpu->threads <= 0) {
        q = find(&s->domain.limits, "cpu");
        if (!q)
            q = find(&s->domain.requests, "cpu");
        if (q)
            return at_least_one(q->units);
    }
    return need_mul(need_mul(at_least_one(cpu->sockets), at_least_one(cpu->cores)),
                    at_least_one(cpu->threads));
}

static int64_t
at_least_one(int64_t n)
{
    return n > 0 ? n : 1;
}
