/* Field tables and rules of a VirtualMachineInstance's spec (what a VirtualMachine's template holds as well)
 * but for its hardware, which is in schema_domain.c. Names and rules follow kubevirt.io/api/core/v1. */
#include "api/schema.h"

#include <stdio.h>
#include <string.h>

#define VOLUMES_MAX 256 /* volumes, networks: upstream's limit */

static void check_vmi_spec(struct check *c, struct tree *spec);
static void check_disks_have_volumes(struct check *c, const struct tree *spec);
static void check_interfaces_have_networks(struct check *c, const struct tree *spec);
static void check_names_in(struct check *c, const struct tree *list, const struct tree *in,
                           const char *why);
static void check_one_pod_network(struct check *c, const struct tree *networks);
static void add_default_disks(const struct check *c, struct tree *spec);
static void check_cloud_init(struct check *c, struct tree *map);
static void check_volume(struct check *c, struct tree *map);
static void check_network(struct check *c, struct tree *map);
static bool has_name(const struct tree *list, const char *name);

/* --- volumes --- */

#define TEXT_FIELD(n, T, member)                                                                   \
    {                                                                                              \
        .name = n, .type = F_STRING, .flags = FIELD_REQUIRED | FIELD_NONEMPTY, .at = AT(T, member) \
    }

static const struct field claim_fields[] = {
    TEXT_FIELD("claimName", struct vmi_volume, claim),
    {.name = "readOnly", .type = F_BOOL},
    {.name = "hotpluggable", .type = F_BOOL},
    {0},
};
static const struct schema claim_schema = {.fields = claim_fields};

static const struct field data_volume_fields[] = {
    TEXT_FIELD("name", struct vmi_volume, claim),
    {.name = "hotpluggable", .type = F_BOOL},
    {0},
};
static const struct schema data_volume_schema = {.fields = data_volume_fields};

static const struct field container_disk_fields[] = {
    {.name = "image", .type = F_STRING, .flags = FIELD_REQUIRED | FIELD_NONEMPTY},
    {.name = "imagePullSecret", .type = F_STRING},
    {.name = "imagePullPolicy", .type = F_STRING},
    {.name = "path", .type = F_STRING},
    {0},
};
static const struct schema container_disk_schema = {.fields = container_disk_fields};

static const char *const host_disk_types[] = {"Disk", "DiskOrCreate", NULL};
static const struct field host_disk_fields[] = {
    {.name = "path", .type = F_STRING, .flags = FIELD_REQUIRED | FIELD_NONEMPTY},
    {.name = "type", .type = F_STRING, .flags = FIELD_REQUIRED, .values = host_disk_types},
    {.name = "capacity", .type = F_QUANTITY, .check = check_positive},
    {.name = "shared", .type = F_BOOL, .at = AT(struct vmi_volume, shared)},
    {0},
};
static const struct schema host_disk_schema = {.fields = host_disk_fields};

static const struct field empty_disk_fields[] = {
    {.name = "capacity", .type = F_QUANTITY, .flags = FIELD_REQUIRED, .check = check_positive},
    {0},
};
static const struct schema empty_disk_schema = {.fields = empty_disk_fields};

static const struct field ephemeral_fields[] = {
    {.name = "persistentVolumeClaim", .type = F_MAP, .at = FLAT, .sub = &claim_schema},
    {0},
};
static const struct schema ephemeral_schema = {.fields = ephemeral_fields};

static const struct field secret_ref_fields[] = {TEXT("name"), {0}};
static const struct schema secret_ref_schema = {.fields = secret_ref_fields};

static const struct field cloud_init_fields[] = {
    TEXT("userData"),
    TEXT("userDataBase64"),
    TEXT("networkData"),
    TEXT("networkDataBase64"),
    {.name = "secretRef", .type = F_MAP, .sub = &secret_ref_schema},
    {.name = "networkDataSecretRef", .type = F_MAP, .sub = &secret_ref_schema},
    {0},
};
static const struct schema cloud_init_schema = {.fields = cloud_init_fields,
                                                .check = check_cloud_init};

#define SOURCE(n, table)                                                              \
    {                                                                                 \
        .name = n, .type = F_VARIANT, .at = AT(struct vmi_volume, kind), .sub = table \
    }
#define SOURCE_LATER(n)                                                                       \
    {                                                                                         \
        .name = n, .type = F_VARIANT, .flags = FIELD_LATER, .at = AT(struct vmi_volume, kind) \
    }

static const struct field volume_fields[] = {
    {.name = "name",
     .type = F_STRING,
     .flags = FIELD_REQUIRED | FIELD_NONEMPTY,
     .at = AT(struct vmi_volume, name),
     .check = check_name_label},
    SOURCE("persistentVolumeClaim", &claim_schema),
    SOURCE("dataVolume", &data_volume_schema),
    SOURCE("containerDisk", &container_disk_schema),
    SOURCE("hostDisk", &host_disk_schema),
    SOURCE("emptyDisk", &empty_disk_schema),
    SOURCE("ephemeral", &ephemeral_schema),
    SOURCE("cloudInitNoCloud", &cloud_init_schema),
    SOURCE("cloudInitConfigDrive", &cloud_init_schema),
    SOURCE_LATER("sysprep"),
    SOURCE_LATER("configMap"),
    SOURCE_LATER("secret"),
    SOURCE_LATER("downwardAPI"),
    SOURCE_LATER("serviceAccount"),
    SOURCE_LATER("downwardMetrics"),
    SOURCE_LATER("memoryDump"),
    {0},
};

static const struct schema volume_schema = {
    .fields = volume_fields, .check = check_volume, .size = sizeof(struct vmi_volume)};

/* --- networks --- */

static const struct field pod_network_fields[] = {
    {.name = "vmNetworkCIDR", .type = F_STRING},
    {.name = "vmIPv6NetworkCIDR", .type = F_STRING},
    {0},
};
static const struct schema pod_network_schema = {.fields = pod_network_fields};

static const struct field multus_fields[] = {
    {.name = "networkName",
     .type = F_STRING,
     .flags = FIELD_REQUIRED | FIELD_NONEMPTY,
     .at = AT(struct vmi_network, multus_name),
     .check = check_network_name},
    {.name = "default", .type = F_BOOL},
    {0},
};
static const struct schema multus_schema = {.fields = multus_fields};

static const struct field network_fields[] = {
    {.name = "name",
     .type = F_STRING,
     .flags = FIELD_REQUIRED | FIELD_NONEMPTY,
     .at = AT(struct vmi_network, name)},
    {.name = "pod",
     .type = F_FEATURE,
     .at = AT(struct vmi_network, pod),
     .sub = &pod_network_schema},
    {.name = "multus", .type = F_MAP, .at = FLAT, .sub = &multus_schema},
    {0},
};

static const struct schema network_schema = {
    .fields = network_fields, .check = check_network, .size = sizeof(struct vmi_network)};

/* --- spec --- */

static const struct field spec_fields[] = {
    {.name = "domain", .type = F_MAP, .at = AT(struct vmi_spec, domain), .sub = &domain_schema},
    {.name = "nodeSelector",
     .type = F_KV,
     .at = AT(struct vmi_spec, node_selector),
     .check = check_labels},
    {.name = "affinity",
     .type = F_MAP,
     .at = AT(struct vmi_spec, affinity),
     .sub = &affinity_schema},
    {.name = "tolerations",
     .type = F_LIST,
     .at = AT(struct vmi_spec, tolerations),
     .second = AT(struct vmi_spec, tolerations_len),
     .sub = &toleration_schema},
    {.name = "topologySpreadConstraints",
     .type = F_LIST,
     .at = AT(struct vmi_spec, spreads),
     .second = AT(struct vmi_spec, spreads_len),
     .sub = &spread_schema,
     .check = check_spreads},
    {.name = "schedulerName", .type = F_STRING, .at = AT(struct vmi_spec, scheduler_name)},
    {.name = "priorityClassName",
     .type = F_STRING,
     .at = AT(struct vmi_spec, priority_class),
     .check = check_name},
    {.name = "evictionStrategy",
     .type = F_STRING,
     .at = AT(struct vmi_spec, eviction_strategy),
     .check = check_eviction_strategy},
    {.name = "terminationGracePeriodSeconds",
     .type = F_INT,
     .at = AT(struct vmi_spec, grace_seconds),
     .second = AT(struct vmi_spec, has_grace),
     .max = INT64_MAX},
    {.name = "architecture", .type = F_STRING, .at = AT(struct vmi_spec, architecture)},
    {.name = "hostname",
     .type = F_STRING,
     .at = AT(struct vmi_spec, hostname),
     .check = check_name_label},
    {.name = "networks",
     .type = F_LIST,
     .flags = FIELD_UNIQUE,
     .at = AT(struct vmi_spec, networks),
     .second = AT(struct vmi_spec, networks_len),
     .sub = &network_schema,
     .max = VOLUMES_MAX},
    {.name = "volumes",
     .type = F_LIST,
     .flags = FIELD_UNIQUE,
     .at = AT(struct vmi_spec, volumes),
     .second = AT(struct vmi_spec, volumes_len),
     .sub = &volume_schema,
     .max = VOLUMES_MAX},
    {0},
};

static const char *const spec_kept[] = {"startStrategy",
                                        "livenessProbe",
                                        "readinessProbe",
                                        "subdomain",
                                        "dnsPolicy",
                                        "dnsConfig",
                                        "accessCredentials",
                                        "resourceClaims",
                                        "utilityVolumes",
                                        "serviceAccountName",
                                        NULL};

const struct schema vmi_spec_schema = {.fields = spec_fields,
                                       .kept = spec_kept,
                                       .check = check_vmi_spec,
                                       .size = sizeof(struct vmi_spec)};

/* --- rules --- */

static void
check_vmi_spec(struct check *c, struct tree *spec)
{
    check_disks_have_volumes(c, spec);
    check_interfaces_have_networks(c, spec);
    add_default_disks(c, spec);
}

/* A volume that no disk shows to the guest gets one, as upstream's admission gives it. */
static void
add_default_disks(const struct check *c, struct tree *spec)
{
    const struct tree *volumes = tree_get(spec, "volumes");
    struct tree *domain = tree_get(spec, "domain"), *devices = tree_get(domain, "devices");
    struct tree *disks = tree_get(devices, "disks");

    if (!(c->flags & VALIDATE_CREATE) || (c->flags & VALIDATE_OFFLINE) ||
        tree_type(domain) != TREE_MAP || (devices && tree_type(devices) != TREE_MAP) ||
        (disks && tree_type(disks) != TREE_LIST) || tree_len(volumes) > VOLUMES_MAX ||
        tree_len(disks) > VOLUMES_MAX)
        return;
    for (size_t i = 0; i < tree_len(volumes); i++) {
        const char *name = tree_get_string(tree_get(tree_at(volumes, i), "name"), NULL);
        struct tree *disk;

        if (!name || has_name(disks, name) || has_name(tree_get(devices, "filesystems"), name))
            continue;
        devices = tree_ensure_map(domain, "devices");
        if (!disks)
            tree_set(devices, "disks", disks = tree_list());
        disk = tree_map();
        tree_set(disk, "name", tree_string(name));
        tree_append(disks, disk);
    }
}

static void
check_cloud_init(struct check *c, struct tree *map)
{
    static const char *const sets[][3] = {
        {"userData", "userDataBase64", "secretRef"},
        {"networkData", "networkDataBase64", "networkDataSecretRef"}};

    for (size_t i = 0; i < 2; i++) {
        const char *first = NULL;

        for (size_t k = 0; k < 3; k++) {
            if (first && tree_get(map, sets[i][k])) {
                char text[80];

                snprintf(text, sizeof text, "must not be given together with %s", first);
                check_field_forbidden(c, map, sets[i][k], text);
            }
            first = first ? first : tree_get(map, sets[i][k]) ? sets[i][k] : NULL;
        }
    }
}

static void
check_disks_have_volumes(struct check *c, const struct tree *spec)
{
    const struct tree *disks = tree_find(spec, "domain", "devices", "disks", NULL);
    const struct tree *volumes = tree_get(spec, "volumes");
    struct path p[3];

    check_enter(c, &p[0], "domain");
    check_enter(c, &p[1], "devices");
    check_enter(c, &p[2], "disks");
    /* a fragment, as the documents print them: nothing is wrong with what is there */
    if (tree_len(disks) > 0 && !volumes && (c->flags & VALIDATE_OFFLINE))
        check_warn(c, "has disks, but the manifest has no volumes");
    else
        check_names_in(c, disks, volumes, "there is no volume of this name");
    check_leave(c);
    check_leave(c);
    check_leave(c);
}

static void
check_interfaces_have_networks(struct check *c, const struct tree *spec)
{
    const struct tree *interfaces = tree_find(spec, "domain", "devices", "interfaces", NULL);
    const struct tree *networks = tree_get(spec, "networks");
    struct path p[3];

    check_enter(c, &p[0], "domain");
    check_enter(c, &p[1], "devices");
    check_enter(c, &p[2], "interfaces");
    check_names_in(c, interfaces, networks, "there is no network of this name");
    check_leave(c);
    check_leave(c);
    check_leave(c);
    check_enter(c, &p[0], "networks");
    check_names_in(c, networks, interfaces, "there is no interface of this name");
    check_one_pod_network(c, networks);
    check_leave(c);
}

/* Each item of list, which is at c->at, must have a namesake in the other. */
static void
check_names_in(struct check *c, const struct tree *list, const struct tree *in, const char *why)
{
    struct path item, field;

    if (tree_len(list) > VOLUMES_MAX || tree_len(in) > VOLUMES_MAX)
        return; /* that is an error already */
    for (size_t i = 0; i < tree_len(list); i++) {
        const struct tree *name = tree_get(tree_at(list, i), "name");

        if (tree_type(name) != TREE_STRING || has_name(in, tree_get_string(name, "")))
            continue;
        check_enter_item(c, &item, i);
        check_enter(c, &field, "name");
        check_invalid(c, name, "%s", why);
        check_leave(c);
        check_leave(c);
    }
}

static void
check_one_pod_network(struct check *c, const struct tree *networks)
{
    bool seen = false;

    for (size_t i = 0; i < tree_len(networks); i++) {
        const struct tree *pod = tree_get(tree_at(networks, i), "pod");
        struct path p;

        if (tree_type(pod) != TREE_MAP)
            continue;
        check_enter_item(c, &p, i);
        if (seen)
            check_field_forbidden(c, tree_at(networks, i), "pod",
                                  "more than one network is the pod network");
        seen = true;
        check_leave(c);
    }
}

static void
check_volume(struct check *c, struct tree *map)
{
    const char *first = NULL;

    for (size_t i = 0; i < tree_len(map); i++) {
        const char *key = tree_key_at(map, i);
        const struct field *f = volume_fields;

        while (f->name && !(f->type == F_VARIANT && strcmp(f->name, key) == 0))
            f++;
        if (!f->name)
            continue;
        if (first) {
            char text[120];

            snprintf(text, sizeof text, "a volume has one source, and %s is there", first);
            check_field_forbidden(c, map, key, text);
        }
        first = f->name;
    }
    if (!first)
        check_required(c, tree_pos(map), "a volume has one source, such as persistentVolumeClaim");
}

static void
check_network(struct check *c, struct tree *map)
{
    bool pod = tree_get(map, "pod"), multus = tree_get(map, "multus");

    if (pod && multus)
        check_field_forbidden(c, map, "multus", "a network is pod or multus, not both");
    else if (!pod && !multus)
        check_required(c, tree_pos(map), "a network is pod or multus");
}

static bool
has_name(const struct tree *list, const char *name)
{
    for (size_t i = 0; i < tree_len(list); i++)
        if (strcmp(tree_get_string(tree_get(tree_at(list, i), "name"), ""), name) == 0)
            return true;
    return false;
}
