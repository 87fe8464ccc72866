/* The table of kinds: names, versions, what people type for them, and their field tables. */
#include "api/object.h"

#include <string.h>
#include <strings.h>

#include "api/schema.h"
#include "base/sb.h"

#define NAMES(...) ((const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

static bool version_known(const struct kind_info *k, const char *version);
static bool word_is(const struct kind_info *k, const char *word);

static const struct kind_info kinds[KIND_COUNT] = {
    [KIND_VM] = {.kind = KIND_VM,
                 .group = "kubevirt.io",
                 .version = "v1",
                 .name = "VirtualMachine",
                 .plural = "virtualmachines",
                 .singular = "virtualmachine",
                 .short_names = NAMES("vm", "vms"),
                 .other_versions = NAMES("v1alpha3"),
                 .namespaced = true,
                 .stored = true,
                 .has_status = true},
    [KIND_VMI] = {.kind = KIND_VMI,
                  .group = "kubevirt.io",
                  .version = "v1",
                  .name = "VirtualMachineInstance",
                  .plural = "virtualmachineinstances",
                  .singular = "virtualmachineinstance",
                  .short_names = NAMES("vmi", "vmis"),
                  .other_versions = NAMES("v1alpha3"),
                  .namespaced = true,
                  .stored = true,
                  .has_status = true},
    [KIND_VMIM] = {.kind = KIND_VMIM,
                   .group = "kubevirt.io",
                   .version = "v1",
                   .name = "VirtualMachineInstanceMigration",
                   .plural = "virtualmachineinstancemigrations",
                   .singular = "virtualmachineinstancemigration",
                   .short_names = NAMES("vmim", "vmims"),
                   .other_versions = NAMES("v1alpha3"),
                   .namespaced = true,
                   .stored = true,
                   .has_status = true},
    [KIND_KUBEVIRT] = {.kind = KIND_KUBEVIRT,
                       .group = "kubevirt.io",
                       .version = "v1",
                       .name = "KubeVirt",
                       .plural = "kubevirts",
                       .singular = "kubevirt",
                       .short_names = NAMES("kv", "kvs"),
                       .other_versions = NAMES("v1alpha3"),
                       .namespaced = true,
                       .stored = true,
                       .has_status = true},
    [KIND_POLICY] = {.kind = KIND_POLICY,
                     .group = "migrations.kubevirt.io",
                     .version = "v1alpha1",
                     .name = "MigrationPolicy",
                     .plural = "migrationpolicies",
                     .singular = "migrationpolicy",
                     .short_names = NAMES(),
                     .other_versions = NAMES(),
                     .stored = true,
                     .has_status = true},
    [KIND_HCO] = {.kind = KIND_HCO,
                  .group = "hco.kubevirt.io",
                  .version = "v1beta1",
                  .name = "HyperConverged",
                  .plural = "hyperconvergeds",
                  .singular = "hyperconverged",
                  .short_names = NAMES("hco", "hcos"),
                  .other_versions = NAMES(),
                  .namespaced = true,
                  .stored = true,
                  .has_status = true},
    [KIND_NAD] = {.kind = KIND_NAD,
                  .group = "k8s.cni.cncf.io",
                  .version = "v1",
                  .name = "NetworkAttachmentDefinition",
                  .plural = "network-attachment-definitions",
                  .singular = "network-attachment-definition",
                  .short_names = NAMES("net-attach-def"),
                  .other_versions = NAMES(),
                  .namespaced = true,
                  .stored = true},
    [KIND_NNCP] = {.kind = KIND_NNCP,
                   .group = "nmstate.io",
                   .version = "v1",
                   .name = "NodeNetworkConfigurationPolicy",
                   .plural = "nodenetworkconfigurationpolicies",
                   .singular = "nodenetworkconfigurationpolicy",
                   .short_names = NAMES("nncp"),
                   .other_versions = NAMES("v1beta1", "v1alpha1"),
                   .stored = true,
                   .has_status = true},
    [KIND_MAINTENANCE] = {.kind = KIND_MAINTENANCE,
                          .group = "nodemaintenance.medik8s.io",
                          .version = "v1beta1",
                          .name = "NodeMaintenance",
                          .plural = "nodemaintenances",
                          .singular = "nodemaintenance",
                          .short_names = NAMES("nm"),
                          .other_versions = NAMES(),
                          .stored = true,
                          .has_status = true},
    [KIND_DESCHEDULER] = {.kind = KIND_DESCHEDULER,
                          .group = "operator.openshift.io",
                          .version = "v1",
                          .name = "KubeDescheduler",
                          .plural = "kubedeschedulers",
                          .singular = "kubedescheduler",
                          .short_names = NAMES(),
                          .other_versions = NAMES(),
                          .namespaced = true,
                          .stored = true,
                          .has_status = true},
    [KIND_NODE] = {.kind = KIND_NODE,
                   .group = "",
                   .version = "v1",
                   .name = "Node",
                   .plural = "nodes",
                   .singular = "node",
                   .short_names = NAMES("no"),
                   .other_versions = NAMES(),
                   .stored = true,
                   .has_status = true},
    [KIND_NAMESPACE] = {.kind = KIND_NAMESPACE,
                        .group = "",
                        .version = "v1",
                        .name = "Namespace",
                        .plural = "namespaces",
                        .singular = "namespace",
                        .short_names = NAMES("ns"),
                        .other_versions = NAMES(),
                        .stored = true,
                        .has_status = true},
    [KIND_PVC] = {.kind = KIND_PVC,
                  .group = "",
                  .version = "v1",
                  .name = "PersistentVolumeClaim",
                  .plural = "persistentvolumeclaims",
                  .singular = "persistentvolumeclaim",
                  .short_names = NAMES("pvc"),
                  .other_versions = NAMES(),
                  .namespaced = true,
                  .stored = true,
                  .has_status = true},
    [KIND_EVENT] = {.kind = KIND_EVENT,
                    .group = "",
                    .version = "v1",
                    .name = "Event",
                    .plural = "events",
                    .singular = "event",
                    .short_names = NAMES("ev"),
                    .other_versions = NAMES(),
                    .namespaced = true,
                    .stored = true},
    [KIND_POD] = {.kind = KIND_POD,
                  .group = "",
                  .version = "v1",
                  .name = "Pod",
                  .plural = "pods",
                  .singular = "pod",
                  .short_names = NAMES("po"),
                  .other_versions = NAMES(),
                  .namespaced = true,
                  .has_status = true},
    [KIND_PRIORITY] = {.kind = KIND_PRIORITY,
                       .group = "scheduling.k8s.io",
                       .version = "v1",
                       .name = "PriorityClass",
                       .plural = "priorityclasses",
                       .singular = "priorityclass",
                       .short_names = NAMES("pc"),
                       .other_versions = NAMES(),
                       .stored = true},
    [KIND_PDB] = {.kind = KIND_PDB,
                  .group = "policy",
                  .version = "v1",
                  .name = "PodDisruptionBudget",
                  .plural = "poddisruptionbudgets",
                  .singular = "poddisruptionbudget",
                  .short_names = NAMES("pdb"),
                  .other_versions = NAMES(),
                  .namespaced = true,
                  .stored = true,
                  .has_status = true},
    [KIND_PV] = {.kind = KIND_PV,
                 .group = "",
                 .version = "v1",
                 .name = "PersistentVolume",
                 .plural = "persistentvolumes",
                 .singular = "persistentvolume",
                 .short_names = NAMES("pv"),
                 .other_versions = NAMES(),
                 .stored = true,
                 .has_status = true},
    [KIND_STORAGE_CLASS] = {.kind = KIND_STORAGE_CLASS,
                            .group = "storage.k8s.io",
                            .version = "v1",
                            .name = "StorageClass",
                            .plural = "storageclasses",
                            .singular = "storageclass",
                            .short_names = NAMES("sc"),
                            .other_versions = NAMES(),
                            .stored = true},
    [KIND_NNS] = {.kind = KIND_NNS,
                  .group = "nmstate.io",
                  .version = "v1beta1",
                  .name = "NodeNetworkState",
                  .plural = "nodenetworkstates",
                  .singular = "nodenetworkstate",
                  .short_names = NAMES("nns"),
                  .other_versions = NAMES("v1alpha1"),
                  .stored = true,
                  .has_status = true},
    [KIND_NNCE] = {.kind = KIND_NNCE,
                   .group = "nmstate.io",
                   .version = "v1beta1",
                   .name = "NodeNetworkConfigurationEnactment",
                   .plural = "nodenetworkconfigurationenactments",
                   .singular = "nodenetworkconfigurationenactment",
                   .short_names = NAMES("nnce"),
                   .other_versions = NAMES("v1alpha1"),
                   .stored = true,
                   .has_status = true},
    [KIND_IPPOOL] = {.kind = KIND_IPPOOL,
                     .group = "whereabouts.cni.cncf.io",
                     .version = "v1alpha1",
                     .name = "IPPool",
                     .plural = "ippools",
                     .singular = "ippool",
                     .short_names = NAMES(),
                     .other_versions = NAMES(),
                     .namespaced = true,
                     .stored = true},
    [KIND_CONFIGMAP] = {.kind = KIND_CONFIGMAP,
                        .group = "",
                        .version = "v1",
                        .name = "ConfigMap",
                        .plural = "configmaps",
                        .singular = "configmap",
                        .short_names = NAMES("cm"),
                        .other_versions = NAMES(),
                        .namespaced = true,
                        .stored = true},
    [KIND_SCHED_CONFIG] = {.kind = KIND_SCHED_CONFIG,
                           .group = "kubescheduler.config.k8s.io",
                           .version = "v1",
                           .name = "KubeSchedulerConfiguration",
                           .plural = "kubeschedulerconfigurations",
                           .singular = "kubeschedulerconfiguration",
                           .short_names = NAMES(),
                           .other_versions = NAMES(),
                           .unserved = true},
};

static const struct schema *const schemas[KIND_COUNT] = {
    [KIND_VM] = &vm_schema,
    [KIND_VMI] = &vmi_schema,
    [KIND_VMIM] = &vmim_schema,
    [KIND_KUBEVIRT] = &kubevirt_schema,
    [KIND_POLICY] = &policy_schema,
    [KIND_HCO] = &hco_schema,
    [KIND_NAD] = &nad_schema,
    [KIND_NNCP] = &nncp_schema,
    [KIND_MAINTENANCE] = &maintenance_schema,
    [KIND_DESCHEDULER] = &descheduler_schema,
    [KIND_NODE] = &node_schema,
    [KIND_NAMESPACE] = &namespace_schema,
    [KIND_PVC] = &pvc_schema,
    [KIND_EVENT] = &event_schema,
    [KIND_POD] = &pod_schema,
    [KIND_PRIORITY] = &priority_class_schema,
    [KIND_PDB] = &pdb_schema,
    [KIND_PV] = &pv_schema,
    [KIND_STORAGE_CLASS] = &storage_class_schema,
    [KIND_SCHED_CONFIG] = &sched_config_schema,
    [KIND_NNS] = &nns_schema,
    [KIND_NNCE] = &nnce_schema,
    [KIND_IPPOOL] = &ippool_schema,
    [KIND_CONFIGMAP] = &configmap_schema,
};

const struct kind_info *
kind_info(enum kind k)
{
    return k > KIND_NONE && k < KIND_COUNT ? &kinds[k] : NULL;
}

const struct schema *
schema_of(enum kind k)
{
    return k > KIND_NONE && k < KIND_COUNT ? schemas[k] : NULL;
}

const struct kind_info *
kind_by_gvk(const char *api_version, const char *name)
{
    const char *slash = strchr(api_version, '/');
    size_t group_len = slash ? (size_t)(slash - api_version) : 0;
    const char *version = slash ? slash + 1 : api_version;

    for (enum kind k = KIND_NONE + 1; k < KIND_COUNT; k++)
        if (strcmp(kinds[k].name, name) == 0 && strlen(kinds[k].group) == group_len &&
            memcmp(kinds[k].group, api_version, group_len) == 0 &&
            version_known(&kinds[k], version))
            return &kinds[k];
    return NULL;
}

const struct kind_info *
kind_by_word(const char *word)
{
    const char *dot = strchr(word, '.');
    AUTO_FREE char *head = dot ? xstrndup(word, (size_t)(dot - word)) : xstrdup(word);

    for (enum kind k = KIND_NONE + 1; k < KIND_COUNT; k++) {
        const struct kind_info *info = &kinds[k];
        const char *tail = dot ? dot + 1 : info->group;

        if (!word_is(info, head))
            continue;
        if (strcasecmp(tail, info->group) == 0)
            return info;
        /* with the version in between: virtualmachines.v1.kubevirt.io */
        const char *second = strchr(tail, '.');

        if (second && strcasecmp(second + 1, info->group) == 0) {
            AUTO_FREE char *version = xstrndup(tail, (size_t)(second - tail));

            if (version_known(info, version))
                return info;
        }
        if (!*info->group && version_known(info, tail))
            return info; /* pods.v1 */
    }
    return NULL;
}

const struct kind_info *
kind_by_resource(const char *group, const char *version, const char *plural)
{
    for (enum kind k = KIND_NONE + 1; k < KIND_COUNT; k++)
        if (!kinds[k].unserved && strcmp(kinds[k].plural, plural) == 0 &&
            strcmp(kinds[k].group, group) == 0 && version_known(&kinds[k], version))
            return &kinds[k];
    return NULL;
}

static bool
version_known(const struct kind_info *k, const char *version)
{
    return strcmp(k->version, version) == 0 || check_is_one_of(version, k->other_versions);
}

static bool
word_is(const struct kind_info *k, const char *word)
{
    if (strcasecmp(word, k->plural) == 0 || strcasecmp(word, k->singular) == 0 ||
        strcasecmp(word, k->name) == 0)
        return true;
    for (const char *const *s = k->short_names; *s; s++)
        if (strcasecmp(word, *s) == 0)
            return true;
    return false;
}
