/* Field tables and rules of what configures the cluster: HyperConverged, KubeVirt, MigrationPolicy,
 * KubeDescheduler, NodeMaintenance. Names follow the operators' own APIs; defaults are not filled in here
 * (netpolicy knows them, and a deleted key restores its default). */
#include "api/schema.h"

#include <string.h>

static void check_policy_spec(struct check *c, struct tree *spec);
static void check_gates(struct check *c, struct tree *map);

/* --- HyperConverged --- */

#define HCO_PLACEMENT(member) AT(struct hco, workloads.member)

static const struct field node_placement_fields[] = {
    {.name = "nodeSelector",
     .type = F_KV,
     .at = HCO_PLACEMENT(node_selector),
     .check = check_labels},
    {.name = "affinity", .type = F_MAP, .at = HCO_PLACEMENT(affinity), .sub = &affinity_schema},
    {.name = "tolerations",
     .type = F_LIST,
     .at = HCO_PLACEMENT(tolerations),
     .second = HCO_PLACEMENT(tolerations_len),
     .sub = &toleration_schema},
    {0},
};
static const struct schema node_placement_schema = {.fields = node_placement_fields};

static const struct field workloads_fields[] = {
    {.name = "nodePlacement", .type = F_MAP, .at = FLAT, .sub = &node_placement_schema},
    {0},
};
static const struct schema workloads_schema = {.fields = workloads_fields};

/* The same shape, checked but not decoded: there are no infrastructure pods here. */
static const struct field infra_fields[] = {
    {.name = "nodePlacement", .type = F_MAP, .flags = FIELD_LATER, .sub = &node_placement_schema},
    {0},
};
static const struct schema infra_schema = {.fields = infra_fields};

static const struct field live_migration_fields[] = {
    MIGRATION_OPTION_FIELDS(struct hco, live_migration),
    MIGRATION_CLUSTER_FIELDS(struct hco, live_migration),
    DISABLE_TLS_FIELD(struct hco, live_migration),
    {0},
};
static const struct schema live_migration_schema = {.fields = live_migration_fields};

static const struct field obsolete_fields[] = {
    {.name = "cpuModels", .type = F_STRINGS, .at = AT(struct hco, obsolete_cpu_models)},
    {.name = "minCPUModel", .type = F_STRING, .at = AT(struct hco, min_cpu_model)},
    {0},
};
static const struct schema obsolete_schema = {.fields = obsolete_fields};

static const struct field requirements_fields[] = {
    {.name = "vmiCPUAllocationRatio",
     .type = F_INT,
     .at = AT(struct hco, cpu_allocation_ratio),
     .second = AT(struct hco, has_cpu_ratio),
     .min = 1,
     .max = INT32_MAX},
    {0},
};
static const char *const requirements_kept[] = {"storageWorkloads",
                                                "autoCPULimitNamespaceLabelSelector", NULL};
static const struct schema requirements_schema = {.fields = requirements_fields,
                                                  .kept = requirements_kept};

static const char *const update_methods[] = {"LiveMigrate", "Evict", NULL};
static const struct field update_fields[] = {
    {.name = "workloadUpdateMethods",
     .type = F_STRINGS,
     .at = AT(struct hco, workload_update_methods),
     .second = AT(struct hco, has_workload_update_methods),
     .values = update_methods},
    {.name = "batchEvictionSize", .type = F_INT, .max = INT32_MAX},
    {.name = "batchEvictionInterval", .type = F_DURATION},
    {0},
};
static const struct schema update_schema = {.fields = update_fields};

/* Others come and go with each version: any name is taken. */
static const struct field gates_fields[] = {
    {.name = "alignCPUs", .type = F_BOOL, .at = AT(struct hco, align_cpus)}, {0}};
static const struct schema gates_schema = {
    .fields = gates_fields, .check = check_gates, .open = true};

static const struct field hco_spec_fields[] = {
    {.name = "liveMigrationConfig", .type = F_MAP, .at = FLAT, .sub = &live_migration_schema},
    {.name = "evictionStrategy",
     .type = F_STRING,
     .at = AT(struct hco, eviction_strategy),
     .check = check_eviction_strategy},
    {.name = "defaultCPUModel", .type = F_STRING, .at = AT(struct hco, default_cpu_model)},
    {.name = "obsoleteCPUs", .type = F_MAP, .at = FLAT, .sub = &obsolete_schema},
    {.name = "resourceRequirements", .type = F_MAP, .at = FLAT, .sub = &requirements_schema},
    {.name = "workloads", .type = F_MAP, .at = FLAT, .sub = &workloads_schema},
    {.name = "infra", .type = F_MAP, .sub = &infra_schema},
    {.name = "workloadUpdateStrategy",
     .type = F_MAP,
     .flags = FIELD_LATER,
     .at = FLAT,
     .sub = &update_schema},
    {.name = "featureGates", .type = F_MAP, .at = FLAT, .sub = &gates_schema},
    {0},
};

/* configuration: where the 4.15 documents print ksmConfiguration (seeds-scheduling R25). */
static const char *const hco_kept[] = {"localStorageClassName",
                                       "tuningPolicy",
                                       "permittedHostDevices",
                                       "mediatedDevicesConfiguration",
                                       "certConfig",
                                       "scratchSpaceStorageClass",
                                       "vddkInitImage",
                                       "defaultRuntimeClass",
                                       "commonTemplatesNamespace",
                                       "storageImport",
                                       "dataImportCronTemplates",
                                       "filesystemOverhead",
                                       "uninstallStrategy",
                                       "logVerbosityConfig",
                                       "tlsSecurityProfile",
                                       "tektonPipelinesNamespace",
                                       "tektonTasksNamespace",
                                       "kubeSecondaryDNSNameServerIP",
                                       "vmStateStorageClass",
                                       "virtualMachineOptions",
                                       "commonBootImageNamespace",
                                       "ksmConfiguration",
                                       "networkBinding",
                                       "applicationAwareConfig",
                                       "higherWorkloadDensity",
                                       "enableCommonBootImageImport",
                                       "instancetypeConfig",
                                       "CommonInstancetypesDeployment",
                                       "deployVmConsoleProxy",
                                       "enableApplicationAwareQuota",
                                       "version",
                                       "configuration",
                                       NULL};

static const struct schema hco_spec_schema = {.fields = hco_spec_fields, .kept = hco_kept};

static const struct field hco_fields[] = {
    OBJECT_FIELDS(struct hco),
    {.name = "spec", .type = F_MAP, .at = FLAT, .sub = &hco_spec_schema},
    {.name = "status", .type = F_ANY},
    {0},
};
const struct schema hco_schema = {.fields = hco_fields, .size = sizeof(struct hco)};

/* --- KubeVirt --- */

static const struct field kv_migrations_fields[] = {
    MIGRATION_OPTION_FIELDS(struct kubevirt, migrations),
    MIGRATION_CLUSTER_FIELDS(struct kubevirt, migrations),
    DISABLE_TLS_FIELD(struct kubevirt, migrations),
    {0},
};
static const char *const kv_migrations_kept[] = {"nodeDrainTaintKey",
                                                 "utilityVolumesTimeout",
                                                 "unsafeMigrationOverride",
                                                 "matchSELinuxLevelOnMigration",
                                                 "crossClusterNetwork",
                                                 "decentralizedLiveMigrationDatapath",
                                                 "experimental",
                                                 NULL};
static const struct schema kv_migrations_schema = {.fields = kv_migrations_fields,
                                                   .kept = kv_migrations_kept};

static const struct field kv_configuration_fields[] = {
    {.name = "migrations", .type = F_MAP, .at = FLAT, .sub = &kv_migrations_schema},
    {.name = "evictionStrategy",
     .type = F_STRING,
     .at = AT(struct kubevirt, eviction_strategy),
     .check = check_eviction_strategy},
    {.name = "cpuModel", .type = F_STRING, .at = AT(struct kubevirt, default_cpu_model)},
    {0},
};
static const char *const kv_configuration_kept[] = {"cpuRequest",
                                                    "developerConfiguration",
                                                    "emulatedMachines",
                                                    "imagePullPolicy",
                                                    "machineType",
                                                    "network",
                                                    "ovmfPath",
                                                    "selinuxLauncherType",
                                                    "defaultRuntimeClass",
                                                    "smbios",
                                                    "architectureConfiguration",
                                                    "additionalGuestMemoryOverheadRatio",
                                                    "supportContainerResources",
                                                    "supportedGuestAgentVersions",
                                                    "memBalloonStatsPeriod",
                                                    "permittedHostDevices",
                                                    "mediatedDevicesConfiguration",
                                                    "minCPUModel",
                                                    "obsoleteCPUModels",
                                                    "virtualMachineInstancesPerNode",
                                                    "apiConfiguration",
                                                    "webhookConfiguration",
                                                    "controllerConfiguration",
                                                    "handlerConfiguration",
                                                    "tlsConfiguration",
                                                    "seccompConfiguration",
                                                    "vmStateStorageClass",
                                                    "virtualMachineOptions",
                                                    "ksmConfiguration",
                                                    "autoCPULimitNamespaceLabelSelector",
                                                    "liveUpdateConfiguration",
                                                    "vmRolloutStrategy",
                                                    "commonInstancetypesDeployment",
                                                    "virtTemplateDeployment",
                                                    "instancetype",
                                                    "hypervisors",
                                                    "changedBlockTrackingLabelSelectors",
                                                    "persistentReservationConfiguration",
                                                    "confidentialCompute",
                                                    "roleAggregationStrategy",
                                                    NULL};
static const struct schema kv_configuration_schema = {.fields = kv_configuration_fields,
                                                      .kept = kv_configuration_kept};

static const struct field kubevirt_spec_fields[] = {
    {.name = "configuration", .type = F_MAP, .at = FLAT, .sub = &kv_configuration_schema},
    {0},
};
static const char *const kubevirt_kept[] = {"imageTag",
                                            "imageRegistry",
                                            "imagePullPolicy",
                                            "imagePullSecrets",
                                            "monitorNamespace",
                                            "serviceMonitorNamespace",
                                            "monitorAccount",
                                            "workloadUpdateStrategy",
                                            "uninstallStrategy",
                                            "certificateRotateStrategy",
                                            "productVersion",
                                            "productName",
                                            "productComponent",
                                            "synchronizationPort",
                                            "infra",
                                            "workloads",
                                            "synchronizationPlacement",
                                            "customizeComponents",
                                            NULL};
static const struct schema kubevirt_spec_schema = {.fields = kubevirt_spec_fields,
                                                   .kept = kubevirt_kept};

static const struct field kubevirt_fields[] = {
    OBJECT_FIELDS(struct kubevirt),
    {.name = "spec", .type = F_MAP, .at = FLAT, .sub = &kubevirt_spec_schema},
    {.name = "status", .type = F_ANY},
    {0},
};
const struct schema kubevirt_schema = {.fields = kubevirt_fields, .size = sizeof(struct kubevirt)};

/* --- MigrationPolicy --- */

static const struct field selectors_fields[] = {
    {.name = "namespaceSelector",
     .type = F_KV,
     .at = AT(struct migration_policy, namespace_selector),
     .check = check_labels},
    {.name = "virtualMachineInstanceSelector",
     .type = F_KV,
     .at = AT(struct migration_policy, vmi_selector),
     .check = check_labels},
    {0},
};
static const struct schema selectors_schema = {.fields = selectors_fields};

static const struct field policy_spec_fields[] = {
    MIGRATION_OPTION_FIELDS(struct migration_policy, options),
    {.name = "selectors",
     .type = F_MAP,
     .at = FLAT,
     .second = AT(struct migration_policy, has_selectors),
     .sub = &selectors_schema},
    {0},
};
static const char *const policy_kept[] = {"experimental", NULL};
static const struct schema policy_spec_schema = {
    .fields = policy_spec_fields, .kept = policy_kept, .check = check_policy_spec};

static const struct field policy_fields[] = {
    OBJECT_FIELDS(struct migration_policy),
    {.name = "spec",
     .type = F_MAP,
     .flags = FIELD_REQUIRED,
     .at = FLAT,
     .sub = &policy_spec_schema},
    {.name = "status", .type = F_ANY},
    {0},
};
const struct schema policy_schema = {.fields = policy_fields,
                                     .size = sizeof(struct migration_policy)};

/* --- NodeMaintenance --- */

static const struct field maintenance_spec_fields[] = {
    {.name = "nodeName",
     .type = F_STRING,
     .flags = FIELD_REQUIRED | FIELD_NONEMPTY,
     .at = AT(struct maintenance, node_name),
     .check = check_name},
    {.name = "reason", .type = F_STRING, .at = AT(struct maintenance, reason)},
    {0},
};
static const struct schema maintenance_spec_schema = {.fields = maintenance_spec_fields};

static const struct field maintenance_status_fields[] = {
    {.name = "phase", .type = F_STRING, .at = AT(struct maintenance, phase)},
    {0},
};
static const struct schema maintenance_status_schema = {.fields = maintenance_status_fields,
                                                        .open = true};

static const struct field maintenance_fields[] = {
    OBJECT_FIELDS(struct maintenance),
    {.name = "spec",
     .type = F_MAP,
     .flags = FIELD_REQUIRED,
     .at = FLAT,
     .sub = &maintenance_spec_schema},
    {.name = "status",
     .type = F_MAP,
     .flags = FIELD_STATUS,
     .at = FLAT,
     .sub = &maintenance_status_schema},
    {0},
};
const struct schema maintenance_schema = {.fields = maintenance_fields,
                                          .size = sizeof(struct maintenance)};

/* --- KubeDescheduler: checked and kept; nothing acts on it yet --- */

static const char *const modes[] = {"Predictive", "Automatic", NULL};
static const struct field descheduler_spec_fields[] = {
    {.name = "deschedulingIntervalSeconds", .type = F_INT, .flags = FIELD_LATER, .max = INT32_MAX},
    {.name = "profiles", .type = F_STRINGS, .flags = FIELD_LATER},
    {.name = "mode", .type = F_STRING, .flags = FIELD_LATER, .values = modes},
    {0},
};
static const char *const descheduler_kept[] = {"managementState",
                                               "logLevel",
                                               "operatorLogLevel",
                                               "unsupportedConfigOverrides",
                                               "observedConfig",
                                               "evictionLimits",
                                               "profileCustomizations",
                                               "flags",
                                               "image",
                                               "policy",
                                               "strategies",
                                               NULL};
static const struct schema descheduler_spec_schema = {.fields = descheduler_spec_fields,
                                                      .kept = descheduler_kept};

static const struct field descheduler_fields[] = {
    OBJECT_FIELDS(struct maintenance), /* only metadata is looked at */
    {.name = "spec", .type = F_MAP, .sub = &descheduler_spec_schema},
    {.name = "status", .type = F_ANY},
    {0},
};
const struct schema descheduler_schema = {.fields = descheduler_fields};

/* --- rules --- */

static void
check_gates(struct check *c, struct tree *map)
{
    for (size_t i = 0; i < tree_len(map); i++) {
        struct path p;

        if (strcmp(tree_key_at(map, i), "alignCPUs") == 0)
            continue;
        check_enter(c, &p, tree_key_at(map, i));
        check_warn(c, "is kept, but not acted on yet");
        check_leave(c);
    }
}

static void
check_policy_spec(struct check *c, struct tree *spec)
{
    if (!tree_get(spec, "selectors"))
        check_warn(c, "has no selectors: the policy matches nothing");
}
