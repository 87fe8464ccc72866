/* The policy that applies to a VM of the input; see offline_policy.h. The rules are netpolicy's. */
#include "cli/offline_policy.h"

#include <string.h>

#include "sched/evict.h"
#include "sched/place.h"

static int find_subject(struct offline *o, struct offline_policy *s);
static int64_t migrating_disks(struct offline *o, const struct vmi *vmi);

int
offline_policy(struct offline *o, int64_t memory_bytes, struct offline_policy *ret)
{
    const struct migration_policy **policies = arena_calloc(o->arena, o->len + 1, sizeof *policies);
    size_t policies_len = 0;
    int64_t bytes;
    int rc;

    memset(ret, 0, sizeof *ret);
    for (size_t i = 0; i < o->len; i++)
        if (o->items[i].kind == KIND_POLICY)
            policies[policies_len++] = o->items[i].policy;
    rc = find_subject(o, ret);
    if (rc != EXIT_DONE)
        return rc;
    if (memory_bytes > 0)
        ret->memory_bytes = memory_bytes;
    if (__builtin_add_overflow(ret->memory_bytes, ret->disk_bytes, &bytes))
        bytes = INT64_MAX;
    policy_decide(policies, policies_len, ret->hco, ret->kubevirt, ret->ns, ret->vmi, bytes,
                  &ret->decision, o->arena);
    return EXIT_DONE;
}

static int
find_subject(struct offline *o, struct offline_policy *s)
{
    for (size_t i = 0; i < o->len; i++) {
        const struct offline_item *it = &o->items[i];

        if (it->kind == KIND_NAMESPACE &&
            strcmp(it->meta->name, o->vm_ns ? o->vm_ns : "default") == 0)
            s->ns = it->ns;
        else if (it->kind == KIND_HCO)
            s->hco = o->hco;
        else if (it->kind == KIND_KUBEVIRT)
            s->kubevirt = it->kubevirt;
    }
    if (!o->vm_name) {
        struct vmi *any = arena_alloc(o->arena, sizeof *any);

        any->meta.name = "vm";
        any->meta.namespace_ = "default";
        s->vmi = any;
        return EXIT_DONE;
    }
    s->vmi = offline_vmi(o, o->vm_ns, o->vm_name);
    if (!s->vmi)
        return offline_errorf("virtual machine %s/%s: not in the input", o->vm_ns, o->vm_name);
    s->memory_bytes = vmi_guest_memory_bytes(&s->vmi->spec);
    s->disk_bytes = migrating_disks(o, s->vmi);
    return EXIT_DONE;
}

/* Disks travel with the VM only where its migration method is BlockMigration. */
static int64_t
migrating_disks(struct offline *o, const struct vmi *vmi)
{
    const struct pvc *const *claims;
    size_t len = offline_claims(o, o->vm_ns, &claims);
    struct migratable m = vmi_migratable(vmi, claims, len, o->arena);
    const struct tree *vm = NULL;

    if (strcmp(m.method, "BlockMigration") != 0)
        return 0;
    for (size_t i = 0; i < o->len; i++) {
        const struct offline_item *it = &o->items[i];

        if ((it->kind == KIND_VM || it->kind == KIND_VMI) &&
            strcmp(it->meta->name, o->vm_name) == 0 &&
            strcmp(it->meta->namespace_, o->vm_ns) == 0 && (!vm || it->kind == KIND_VMI))
            vm = it->tree;
    }
    return policy_disk_bytes(vm, o->trees);
}
