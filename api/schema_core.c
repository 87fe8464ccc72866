/* Field tables and rules of Kubernetes' own kinds, as far as they matter here: Node, Namespace, Event, Pod
 * (storage is in schema_volume.c). Names follow k8s.io/api/core/v1. What only a kubelet looks at
 * is accepted without a word, so that the output of `kubectl get -o yaml` can be used as input. */
#include "api/resource_rules.h"

#include <string.h>

static void check_containers_ports(struct check *c, struct tree *list);
static void check_container_resources(struct check *c, struct tree *map);
static void check_gates(struct check *c, struct tree *list);
static void check_pod_spec(struct check *c, struct tree *spec);

/* --- Node --- */

static const struct field node_spec_fields[] = {
    {.name = "unschedulable", .type = F_BOOL, .at = AT(struct node, unschedulable)},
    {.name = "taints",
     .type = F_LIST,
     .at = AT(struct node, taints),
     .second = AT(struct node, taints_len),
     .sub = &taint_schema,
     .check = check_taints},
    TEXT("podCIDR"),
    ANYTHING("podCIDRs"),
    TEXT("providerID"),
    TEXT("externalID"),
    ANYTHING("configSource"),
    {0},
};
static const struct schema node_spec_schema = {.fields = node_spec_fields};

static const struct field address_fields[] = {
    {.name = "type",
     .type = F_STRING,
     .flags = FIELD_REQUIRED,
     .at = AT(struct node_address, type)},
    {.name = "address",
     .type = F_STRING,
     .flags = FIELD_REQUIRED,
     .at = AT(struct node_address, address)},
    {0},
};
static const struct schema address_schema = {.fields = address_fields,
                                             .size = sizeof(struct node_address)};

static const struct field node_status_fields[] = {
    {.name = "capacity",
     .type = F_RESOURCES,
     .at = AT(struct node, capacity),
     .check = resources_of_node},
    {.name = "allocatable",
     .type = F_RESOURCES,
     .at = AT(struct node, allocatable),
     .check = resources_of_node},
    {.name = "conditions",
     .type = F_LIST,
     .at = AT(struct node, conditions.items),
     .second = AT(struct node, conditions.len),
     .sub = &condition_schema},
    {.name = "addresses",
     .type = F_LIST,
     .at = AT(struct node, addresses),
     .second = AT(struct node, addresses_len),
     .sub = &address_schema},
    {0},
};
static const struct schema node_status_schema = {.fields = node_status_fields, .open = true};

static const struct field node_fields[] = {
    OBJECT_FIELDS(struct node),
    {.name = "spec", .type = F_MAP, .at = FLAT, .sub = &node_spec_schema},
    {.name = "status",
     .type = F_MAP,
     .flags = FIELD_STATUS,
     .at = FLAT,
     .sub = &node_status_schema},
    {0},
};
const struct schema node_schema = {.fields = node_fields, .size = sizeof(struct node)};

/* --- Namespace --- */

static const struct field namespace_spec_fields[] = {{.name = "finalizers", .type = F_STRINGS},
                                                     {0}};
static const struct schema namespace_spec_schema = {.fields = namespace_spec_fields};

static const struct field namespace_fields[] = {
    OBJECT_FIELDS(struct namespace_),
    {.name = "spec", .type = F_MAP, .sub = &namespace_spec_schema},
    ANYTHING("status"),
    {0},
};
const struct schema namespace_schema = {.fields = namespace_fields,
                                        .size = sizeof(struct namespace_)};

/* --- Event --- */

static const struct field reference_fields[] = {
    TEXT("kind"),       TEXT("namespace"),       TEXT("name"),      TEXT("uid"),
    TEXT("apiVersion"), TEXT("resourceVersion"), TEXT("fieldPath"), {0},
};
static const struct schema reference_schema = {.fields = reference_fields};

static const struct field event_fields[] = {
    OBJECT_FIELDS(struct namespace_), /* only metadata is decoded */
    {.name = "involvedObject", .type = F_MAP, .flags = FIELD_REQUIRED, .sub = &reference_schema},
    {.name = "related", .type = F_MAP, .sub = &reference_schema},
    TEXT("reason"),
    TEXT("message"),
    TEXT("type"),
    TEXT("action"),
    TEXT("reportingComponent"),
    TEXT("reportingInstance"),
    {.name = "firstTimestamp", .type = F_TIME},
    {.name = "lastTimestamp", .type = F_TIME},
    {.name = "eventTime", .type = F_TIME},
    {.name = "count", .type = F_INT, .max = INT32_MAX},
    ANYTHING("source"),
    ANYTHING("series"),
    {0},
};
const struct schema event_schema = {.fields = event_fields};

/* --- Pod --- */

static const struct field container_resources_fields[] = {
    {.name = "requests",
     .type = F_RESOURCES,
     .at = AT(struct pod_container, requests),
     .check = resources_amounts},
    {.name = "limits", .type = F_RESOURCES, .check = resources_amounts},
    ANYTHING("claims"),
    {0},
};
static const struct schema container_resources_schema = {.fields = container_resources_fields,
                                                         .check = check_container_resources};

static const struct field container_fields[] = {
    {.name = "resources", .type = F_MAP, .at = FLAT, .sub = &container_resources_schema},
    TEXT("name"),
    TEXT("image"),
    {.name = "ports", .type = F_ANY, .check = check_containers_ports},
    ANYTHING("command"),
    ANYTHING("args"),
    ANYTHING("workingDir"),
    ANYTHING("envFrom"),
    ANYTHING("env"),
    ANYTHING("resizePolicy"),
    {.name = "restartPolicy", .type = F_STRING, .at = AT(struct pod_container, restart_policy)},
    ANYTHING("restartPolicyRules"),
    ANYTHING("volumeMounts"),
    ANYTHING("volumeDevices"),
    ANYTHING("livenessProbe"),
    ANYTHING("readinessProbe"),
    ANYTHING("startupProbe"),
    ANYTHING("lifecycle"),
    ANYTHING("terminationMessagePath"),
    ANYTHING("terminationMessagePolicy"),
    ANYTHING("imagePullPolicy"),
    ANYTHING("securityContext"),
    ANYTHING("stdin"),
    ANYTHING("stdinOnce"),
    ANYTHING("tty"),
    {0},
};
static const struct schema container_schema = {.fields = container_fields,
                                               .size = sizeof(struct pod_container)};

static const struct field gate_fields[] = {
    {.name = "name", .type = F_STRING, .flags = FIELD_REQUIRED | FIELD_NONEMPTY}, {0}};
static const struct schema gate_schema = {.fields = gate_fields};

static const char *const preemption_policies[] = {"PreemptLowerPriority", "Never", NULL};

static const struct field pod_spec_fields[] = {
    {.name = "nodeName", .type = F_STRING, .at = AT(struct pod, node_name), .check = check_name},
    {.name = "schedulerName", .type = F_STRING, .at = AT(struct pod, scheduler_name)},
    {.name = "priorityClassName",
     .type = F_STRING,
     .at = AT(struct pod, priority_class),
     .check = check_name},
    {.name = "preemptionPolicy",
     .type = F_STRING,
     .at = AT(struct pod, preemption_policy),
     .values = preemption_policies},
    {.name = "priority",
     .type = F_INT,
     .at = AT(struct pod, priority),
     .second = AT(struct pod, has_priority),
     .min = INT32_MIN,
     .max = INT32_MAX},
    {.name = "nodeSelector",
     .type = F_KV,
     .at = AT(struct pod, node_selector),
     .check = check_labels},
    {.name = "affinity", .type = F_MAP, .at = AT(struct pod, affinity), .sub = &affinity_schema},
    {.name = "tolerations",
     .type = F_LIST,
     .at = AT(struct pod, tolerations),
     .second = AT(struct pod, tolerations_len),
     .sub = &toleration_schema},
    {.name = "topologySpreadConstraints",
     .type = F_LIST,
     .at = AT(struct pod, spreads),
     .second = AT(struct pod, spreads_len),
     .sub = &spread_schema,
     .check = check_spreads},
    {.name = "containers",
     .type = F_LIST,
     .flags = FIELD_REQUIRED | FIELD_NONEMPTY,
     .at = AT(struct pod, containers),
     .second = AT(struct pod, containers_len),
     .sub = &container_schema},
    {.name = "initContainers",
     .type = F_LIST,
     .at = AT(struct pod, init_containers),
     .second = AT(struct pod, init_containers_len),
     .sub = &container_schema},
    {.name = "overhead",
     .type = F_RESOURCES,
     .at = AT(struct pod, overhead),
     .check = resources_amounts},
    {.name = "schedulingGates",
     .type = F_LIST,
     .flags = FIELD_UNIQUE,
     .sub = &gate_schema,
     .check = check_gates},
    ANYTHING("volumes"),
    ANYTHING("ephemeralContainers"),
    ANYTHING("restartPolicy"),
    ANYTHING("terminationGracePeriodSeconds"),
    ANYTHING("activeDeadlineSeconds"),
    ANYTHING("dnsPolicy"),
    ANYTHING("dnsConfig"),
    ANYTHING("serviceAccountName"),
    ANYTHING("serviceAccount"),
    ANYTHING("automountServiceAccountToken"),
    ANYTHING("hostNetwork"),
    ANYTHING("hostPID"),
    ANYTHING("hostIPC"),
    ANYTHING("hostUsers"),
    ANYTHING("hostAliases"),
    ANYTHING("hostname"),
    ANYTHING("hostnameOverride"),
    ANYTHING("setHostnameAsFQDN"),
    ANYTHING("subdomain"),
    ANYTHING("shareProcessNamespace"),
    ANYTHING("securityContext"),
    ANYTHING("imagePullSecrets"),
    ANYTHING("readinessGates"),
    ANYTHING("runtimeClassName"),
    ANYTHING("enableServiceLinks"),
    ANYTHING("os"),
    {0},
};
static const char *const pod_kept[] = {"resourceClaims", "resources", NULL};
static const struct schema pod_spec_schema = {
    .fields = pod_spec_fields, .kept = pod_kept, .check = check_pod_spec};

static const struct field pod_status_fields[] = {
    {.name = "phase", .type = F_STRING, .at = AT(struct pod, phase)},
    {.name = "nominatedNodeName", .type = F_STRING, .at = AT(struct pod, nominated_node)},
    {.name = "startTime", .type = F_TIME, .at = AT(struct pod, start_us)},
    {.name = "conditions",
     .type = F_LIST,
     .at = AT(struct pod, conditions.items),
     .second = AT(struct pod, conditions.len),
     .sub = &condition_schema},
    {0},
};
static const struct schema pod_status_schema = {.fields = pod_status_fields, .open = true};

static const struct field pod_fields[] = {
    OBJECT_FIELDS(struct pod),
    {.name = "spec", .type = F_MAP, .flags = FIELD_REQUIRED, .at = FLAT, .sub = &pod_spec_schema},
    {.name = "status", .type = F_MAP, .flags = FIELD_STATUS, .at = FLAT, .sub = &pod_status_schema},
    {0},
};
const struct schema pod_schema = {.fields = pod_fields, .size = sizeof(struct pod)};

/* --- rules --- */

static void
check_container_resources(struct check *c, struct tree *map)
{
    resources_within_limits(c, map);
}

static void
check_gates(struct check *c, struct tree *list)
{
    for (size_t i = 0; i < tree_len(list); i++) {
        struct tree *name = tree_get(tree_at(list, i), "name");
        struct path item, field;

        if (!*tree_get_string(name, ""))
            continue;
        check_enter_item(c, &item, i);
        check_enter(c, &field, "name");
        check_label_key(c, name);
        check_leave(c);
        check_leave(c);
    }
}

static void
check_pod_spec(struct check *c, struct tree *spec)
{
    if (tree_get(spec, "nodeName") && tree_len(tree_get(spec, "schedulingGates")) > 0)
        check_field_forbidden(c, spec, "nodeName",
                              "cannot be set until all schedulingGates have been cleared");
}

/* Ports of the host would make two pods exclude each other; ports of the container say nothing. */
static void
check_containers_ports(struct check *c, struct tree *list)
{
    for (size_t i = 0; i < tree_len(list); i++) {
        struct path item, field;

        if (tree_get_int(tree_get(tree_at(list, i), "hostPort"), 0) == 0)
            continue;
        check_enter_item(c, &item, i);
        check_enter(c, &field, "hostPort");
        check_warn(c, "is kept, but not acted on yet");
        check_leave(c);
        check_leave(c);
    }
}
