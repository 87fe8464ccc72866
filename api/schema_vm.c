/* Field tables and rules of the virtual machine kinds: VirtualMachine, VirtualMachineInstance and its
 * VirtualMachineInstanceMigration. Names and rules follow kubevirt.io/api/core/v1 and KubeVirt's admission
 * webhooks; the places of seeds-scheduling P14 are moved before the check (object_convert.c). */
#include "api/schema.h"

#include <string.h>

static void check_vm_spec(struct check *c, struct tree *spec);
static void check_vmi(struct check *c, struct tree *vmi);
static void warn_running(struct check *c);
static bool has_memory(const struct tree *spec);

/* --- status of a migration, in VMIs and VMIMs --- */

static const struct field options_fields[] = {
    MIGRATION_OPTION_FIELDS(struct migration_state, configuration),
    MIGRATION_CLUSTER_FIELDS(struct migration_state, configuration),
    DISABLE_TLS_FIELD(struct migration_state, configuration),
    {0},
};
static const struct schema options_schema = {.fields = options_fields, .open = true};

#define STATE_TEXT(n, member)                                                 \
    {                                                                         \
        .name = n, .type = F_STRING, .at = AT(struct migration_state, member) \
    }
#define STATE_FLAG(n, member)                                               \
    {                                                                       \
        .name = n, .type = F_BOOL, .at = AT(struct migration_state, member) \
    }

static const struct field state_fields[] = {
    STATE_TEXT("migrationUid", migration_uid),
    STATE_TEXT("sourceNode", source_node),
    STATE_TEXT("targetNode", target_node),
    STATE_TEXT("targetNodeAddress", target_node_address),
    STATE_TEXT("migrationPolicyName", policy_name),
    STATE_TEXT("mode", mode),
    STATE_TEXT("failureReason", failure_reason),
    STATE_TEXT("abortStatus", abort_status),
    {.name = "startTimestamp", .type = F_TIME, .at = AT(struct migration_state, start_us)},
    {.name = "endTimestamp", .type = F_TIME, .at = AT(struct migration_state, end_us)},
    STATE_FLAG("completed", completed),
    STATE_FLAG("failed", failed),
    STATE_FLAG("abortRequested", abort_requested),
    STATE_FLAG("targetNodeDomainDetected", target_domain_detected),
    {.name = "migrationConfiguration", .type = F_MAP, .at = FLAT, .sub = &options_schema},
    {0},
};

static const struct schema migration_state_schema = {.fields = state_fields, .open = true};

/* --- VirtualMachineInstance --- */

static const struct field topology_hints_fields[] = {
    {.name = "tscFrequency",
     .type = F_INT,
     .at = AT(struct vmi_status, tsc_frequency_hz),
     .max = INT64_MAX},
    {0},
};
static const struct schema topology_hints_schema = {.fields = topology_hints_fields, .open = true};

static const struct field vmi_status_fields[] = {
    {.name = "topologyHints", .type = F_MAP, .at = FLAT, .sub = &topology_hints_schema},
    {.name = "phase", .type = F_STRING, .at = AT(struct vmi_status, phase)},
    {.name = "nodeName", .type = F_STRING, .at = AT(struct vmi_status, node_name)},
    {.name = "reason", .type = F_STRING, .at = AT(struct vmi_status, reason)},
    {.name = "evacuationNodeName", .type = F_STRING, .at = AT(struct vmi_status, evacuation_node)},
    {.name = "migrationMethod", .type = F_STRING, .at = AT(struct vmi_status, migration_method)},
    {.name = "conditions",
     .type = F_LIST,
     .at = AT(struct vmi_status, conditions.items),
     .second = AT(struct vmi_status, conditions.len),
     .sub = &condition_schema},
    {.name = "migrationState",
     .type = F_MAP,
     .at = AT(struct vmi_status, migration),
     .second = AT(struct vmi_status, migration.present),
     .sub = &migration_state_schema},
    {0},
};

static const struct schema vmi_status_schema = {.fields = vmi_status_fields, .open = true};

static const struct field vmi_fields[] = {
    OBJECT_FIELDS(struct vmi),
    {.name = "spec",
     .type = F_MAP,
     .flags = FIELD_REQUIRED,
     .at = AT(struct vmi, spec),
     .sub = &vmi_spec_schema},
    {.name = "status",
     .type = F_MAP,
     .flags = FIELD_STATUS,
     .at = AT(struct vmi, status),
     .sub = &vmi_status_schema},
    {0},
};

const struct schema vmi_schema = {
    .fields = vmi_fields, .check = check_vmi, .size = sizeof(struct vmi)};

/* --- VirtualMachine --- */

static const struct field template_meta_fields[] = {
    {.name = "labels", .type = F_KV, .at = AT(struct vm, template_labels), .check = check_labels},
    {.name = "annotations",
     .type = F_KV,
     .at = AT(struct vm, template_annotations),
     .check = check_annotations},
    {.name = "name", .type = F_STRING},
    {.name = "generateName", .type = F_STRING},
    {.name = "namespace", .type = F_STRING},
    {.name = "creationTimestamp", .type = F_TIME},
    {0},
};

static const char *const template_meta_kept[] = {
    "finalizers", "ownerReferences", "uid",      "resourceVersion",
    "generation", "managedFields",   "selfLink", NULL};

static const struct schema template_meta_schema = {.fields = template_meta_fields,
                                                   .kept = template_meta_kept};

static const struct field template_fields[] = {
    {.name = "metadata", .type = F_MAP, .at = FLAT, .sub = &template_meta_schema},
    {.name = "spec", .type = F_MAP, .at = AT(struct vm, spec), .sub = &vmi_spec_schema},
    {0},
};

static const struct schema template_schema = {.fields = template_fields};

static const char *const run_strategies[] = {"Always", "RerunOnFailure", "Manual",
                                             "Once",   "Halted",         NULL};

static const struct field vm_spec_fields[] = {
    {.name = "running", .type = F_BOOL},
    {.name = "runStrategy",
     .type = F_STRING,
     .at = AT(struct vm, run_strategy),
     .values = run_strategies},
    {.name = "template",
     .type = F_MAP,
     .flags = FIELD_REQUIRED | FIELD_ONLINE,
     .at = FLAT,
     .sub = &template_schema},
    {0},
};

static const char *const vm_spec_kept[] = {"instancetype", "preference", "dataVolumeTemplates",
                                           "updateVolumesStrategy", NULL};

static const struct schema vm_spec_schema = {
    .fields = vm_spec_fields, .kept = vm_spec_kept, .check = check_vm_spec};

static const struct field vm_status_fields[] = {
    {.name = "printableStatus", .type = F_STRING, .at = AT(struct vm, printable_status)},
    {.name = "created", .type = F_BOOL, .at = AT(struct vm, created)},
    {.name = "ready", .type = F_BOOL, .at = AT(struct vm, ready)},
    {.name = "conditions", .type = F_LIST, .sub = &condition_schema},
    {0},
};

static const struct schema vm_status_schema = {.fields = vm_status_fields, .open = true};

static const struct field vm_fields[] = {
    OBJECT_FIELDS(struct vm),
    {.name = "spec", .type = F_MAP, .flags = FIELD_REQUIRED, .at = FLAT, .sub = &vm_spec_schema},
    {.name = "status", .type = F_MAP, .flags = FIELD_STATUS, .at = FLAT, .sub = &vm_status_schema},
    {0},
};

const struct schema vm_schema = {.fields = vm_fields, .size = sizeof(struct vm)};

/* --- VirtualMachineInstanceMigration --- */

static const char *const priorities[] = {"system-critical", "user-triggered", "system-maintenance",
                                         NULL};

static const struct field vmim_spec_fields[] = {
    {.name = "vmiName",
     .type = F_STRING,
     .flags = FIELD_REQUIRED | FIELD_NONEMPTY,
     .at = AT(struct vmim, vmi_name),
     .check = check_name},
    {.name = "addedNodeSelector",
     .type = F_KV,
     .at = AT(struct vmim, added_node_selector),
     .check = check_labels},
    {.name = "priority", .type = F_STRING, .flags = FIELD_LATER, .values = priorities},
    {0},
};

static const char *const vmim_spec_kept[] = {"sendTo", "receive", NULL};

static const struct schema vmim_spec_schema = {.fields = vmim_spec_fields, .kept = vmim_spec_kept};

static const struct field vmim_status_fields[] = {
    {.name = "phase", .type = F_STRING, .at = AT(struct vmim, phase)},
    {.name = "conditions",
     .type = F_LIST,
     .at = AT(struct vmim, conditions.items),
     .second = AT(struct vmim, conditions.len),
     .sub = &condition_schema},
    {.name = "migrationState",
     .type = F_MAP,
     .at = AT(struct vmim, state),
     .second = AT(struct vmim, state.present),
     .sub = &migration_state_schema},
    {0},
};

static const struct schema vmim_status_schema = {.fields = vmim_status_fields, .open = true};

static const struct field vmim_fields[] = {
    OBJECT_FIELDS(struct vmim),
    {.name = "spec", .type = F_MAP, .flags = FIELD_REQUIRED, .at = FLAT, .sub = &vmim_spec_schema},
    {.name = "status",
     .type = F_MAP,
     .flags = FIELD_STATUS,
     .at = FLAT,
     .sub = &vmim_status_schema},
    {0},
};

const struct schema vmim_schema = {.fields = vmim_fields, .size = sizeof(struct vmim)};

/* --- rules --- */

static void
check_vm_spec(struct check *c, struct tree *spec)
{
    const struct tree *template = tree_find(spec, "template", "spec", NULL);

    if (tree_get(spec, "running") && tree_get(spec, "runStrategy"))
        check_field_invalid(c, spec, "running",
                            "running and runStrategy are mutually exclusive: leave running out");
    else if (tree_get(spec, "running"))
        warn_running(c);
    else if (!tree_get(spec, "runStrategy") && !(c->flags & VALIDATE_OFFLINE))
        check_warn(c, "has no runStrategy, which counts as Halted");
    /* upstream asks for memory when the instance is made, not in the template */
    if (!has_memory(template) && !tree_get(spec, "instancetype"))
        check_warn(c, "asks for no memory (template.spec.domain.memory.guest or "
                      "template.spec.domain.resources.requests.memory): it cannot start");
}

static void
warn_running(struct check *c)
{
    struct path p;

    check_enter(c, &p, "running");
    check_warn(c, "is deprecated: use spec.runStrategy");
    check_leave(c);
}

static void
check_vmi(struct check *c, struct tree *vmi)
{
    const struct tree *spec = tree_get(vmi, "spec");
    struct path p;

    if (!(c->flags & VALIDATE_CREATE) || tree_type(spec) != TREE_MAP || has_memory(spec))
        return;
    check_enter(c, &p, "spec");
    if (c->flags & VALIDATE_OFFLINE)
        check_warn(c, "asks for no memory (domain.memory.guest or "
                      "domain.resources.requests.memory): it cannot start");
    else
        check_required(c, tree_pos(spec),
                       "no memory requested, at least one of 'spec.domain.memory.guest' or "
                       "'spec.domain.resources.requests.memory' must be set");
    check_leave(c);
}

static bool
has_memory(const struct tree *spec)
{
    const struct tree *domain = tree_get(spec, "domain");

    return tree_find(domain, "memory", "guest", NULL) ||
           tree_find(domain, "resources", "requests", "memory", NULL) ||
           tree_find(domain, "resources", "limits", "memory", NULL);
}
