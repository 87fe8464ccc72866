/* Field tables of storage, as far as it decides where a VM can run: PersistentVolumeClaim, PersistentVolume,
 * StorageClass. Names follow k8s.io/api/core/v1 and storage/v1. Nothing here binds a claim or mounts a volume: that
 * is the storage operators' work. */
#include "api/schema.h"

/* --- PersistentVolumeClaim --- */

static const char *const access_modes[] = {"ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany",
                                           "ReadWriteOncePod", NULL};
static const char *const volume_modes[] = {"Filesystem", "Block", NULL};

static const struct field storage_request_fields[] = {
    {.name = "storage",
     .type = F_QUANTITY,
     .flags = FIELD_REQUIRED | FIELD_ONLINE,
     .at = AT(struct pvc, request),
     .check = check_positive},
    {0},
};
static const struct schema storage_request_schema = {.fields = storage_request_fields,
                                                     .open = true};
static const struct field claim_resources_fields[] = {
    {.name = "requests",
     .type = F_MAP,
     .flags = FIELD_REQUIRED | FIELD_ONLINE,
     .at = FLAT,
     .sub = &storage_request_schema},
    {.name = "limits", .type = F_RESOURCES, .check = check_not_negative},
    {0},
};
static const struct schema claim_resources_schema = {.fields = claim_resources_fields};

static const struct field pvc_spec_fields[] = {
    {.name = "accessModes",
     .type = F_STRINGS,
     .flags = FIELD_REQUIRED | FIELD_NONEMPTY,
     .at = AT(struct pvc, access_modes),
     .values = access_modes},
    {.name = "resources",
     .type = F_MAP,
     .flags = FIELD_REQUIRED | FIELD_ONLINE,
     .at = FLAT,
     .sub = &claim_resources_schema},
    {.name = "volumeMode",
     .type = F_STRING,
     .at = AT(struct pvc, volume_mode),
     .values = volume_modes},
    {.name = "volumeName", .type = F_STRING, .at = AT(struct pvc, volume_name)},
    {.name = "storageClassName", .type = F_STRING, .at = AT(struct pvc, storage_class)},
    {0},
};
static const char *const pvc_kept[] = {"selector", "dataSource", "dataSourceRef",
                                       "volumeAttributesClassName", NULL};
static const struct schema pvc_spec_schema = {.fields = pvc_spec_fields, .kept = pvc_kept};

static const struct field pvc_status_fields[] = {
    {.name = "phase", .type = F_STRING, .at = AT(struct pvc, phase)}, {0}};
static const struct schema pvc_status_schema = {.fields = pvc_status_fields, .open = true};

static const struct field pvc_fields[] = {
    OBJECT_FIELDS(struct pvc),
    {.name = "spec", .type = F_MAP, .flags = FIELD_REQUIRED, .at = FLAT, .sub = &pvc_spec_schema},
    {.name = "status", .type = F_MAP, .flags = FIELD_STATUS, .at = FLAT, .sub = &pvc_status_schema},
    {0},
};
const struct schema pvc_schema = {.fields = pvc_fields, .size = sizeof(struct pvc)};

/* --- PersistentVolume --- */

static const struct field capacity_fields[] = {
    {.name = "storage",
     .type = F_QUANTITY,
     .flags = FIELD_REQUIRED | FIELD_ONLINE,
     .at = AT(struct pv, capacity),
     .check = check_positive},
    {0},
};
static const struct schema capacity_schema = {.fields = capacity_fields, .open = true};

static const struct field claim_ref_fields[] = {
    {.name = "namespace", .type = F_STRING, .at = AT(struct pv, claim_namespace)},
    {.name = "name", .type = F_STRING, .at = AT(struct pv, claim_name)},
    TEXT("kind"),
    TEXT("apiVersion"),
    TEXT("uid"),
    TEXT("resourceVersion"),
    TEXT("fieldPath"),
    {0},
};
static const struct schema claim_ref_schema = {.fields = claim_ref_fields};

static const struct field volume_selector_fields[] = {
    {.name = "nodeSelectorTerms",
     .type = F_LIST,
     .flags = FIELD_REQUIRED | FIELD_NONEMPTY,
     .at = AT(struct pv, node_required),
     .second = AT(struct pv, node_required_len),
     .sub = &node_term_schema},
    {0},
};
static const struct schema volume_selector_schema = {.fields = volume_selector_fields};

static const struct field volume_affinity_fields[] = {
    {.name = "required",
     .type = F_MAP,
     .at = FLAT,
     .second = AT(struct pv, has_node_required),
     .sub = &volume_selector_schema},
    {0},
};
static const struct schema volume_affinity_schema = {.fields = volume_affinity_fields};

static const char *const reclaim_policies[] = {"Retain", "Delete", "Recycle", NULL};

static const struct field pv_spec_fields[] = {
    {.name = "capacity",
     .type = F_MAP,
     .flags = FIELD_REQUIRED | FIELD_ONLINE,
     .at = FLAT,
     .sub = &capacity_schema},
    {.name = "accessModes",
     .type = F_STRINGS,
     .flags = FIELD_REQUIRED | FIELD_NONEMPTY,
     .at = AT(struct pv, access_modes),
     .values = access_modes},
    {.name = "volumeMode",
     .type = F_STRING,
     .at = AT(struct pv, volume_mode),
     .values = volume_modes},
    {.name = "storageClassName", .type = F_STRING, .at = AT(struct pv, storage_class)},
    {.name = "claimRef", .type = F_MAP, .at = FLAT, .sub = &claim_ref_schema},
    {.name = "nodeAffinity", .type = F_MAP, .at = FLAT, .sub = &volume_affinity_schema},
    {.name = "persistentVolumeReclaimPolicy", .type = F_STRING, .values = reclaim_policies},
    ANYTHING("mountOptions"),
    TEXT("volumeAttributesClassName"),
    /* where the bytes are: nothing here mounts them */
    ANYTHING("local"),
    ANYTHING("hostPath"),
    ANYTHING("nfs"),
    ANYTHING("csi"),
    ANYTHING("iscsi"),
    ANYTHING("fc"),
    ANYTHING("rbd"),
    ANYTHING("cephfs"),
    ANYTHING("flexVolume"),
    ANYTHING("glusterfs"),
    ANYTHING("gcePersistentDisk"),
    ANYTHING("awsElasticBlockStore"),
    ANYTHING("azureDisk"),
    ANYTHING("azureFile"),
    ANYTHING("cinder"),
    ANYTHING("vsphereVolume"),
    ANYTHING("portworxVolume"),
    ANYTHING("storageos"),
    {0},
};
static const struct schema pv_spec_schema = {.fields = pv_spec_fields};

static const struct field pv_fields[] = {
    OBJECT_FIELDS(struct pv),
    {.name = "spec", .type = F_MAP, .flags = FIELD_REQUIRED, .at = FLAT, .sub = &pv_spec_schema},
    ANYTHING("status"),
    {0},
};
const struct schema pv_schema = {.fields = pv_fields, .size = sizeof(struct pv)};

/* --- StorageClass --- */

static const char *const binding_modes[] = {"Immediate", "WaitForFirstConsumer", NULL};

/* Without an operator: the label's value is one of these. */
static const struct field topology_label_fields[] = {
    {.name = "key",
     .type = F_STRING,
     .flags = FIELD_REQUIRED,
     .at = AT(struct requirement, key),
     .check = check_label_key},
    {.name = "values",
     .type = F_STRINGS,
     .flags = FIELD_REQUIRED | FIELD_NONEMPTY,
     .at = AT(struct requirement, values)},
    {0},
};
static const struct schema topology_label_schema = {.fields = topology_label_fields,
                                                    .size = sizeof(struct requirement)};
_Static_assert(SEL_IN == 0, "a requirement without an operator is In");

static const struct field topology_term_fields[] = {
    {.name = "matchLabelExpressions",
     .type = F_LIST,
     .at = AT(struct node_term, exprs),
     .second = AT(struct node_term, exprs_len),
     .sub = &topology_label_schema},
    {0},
};
static const struct schema topology_term_schema = {.fields = topology_term_fields,
                                                   .size = sizeof(struct node_term)};

static const struct field storage_class_fields[] = {
    OBJECT_FIELDS(struct storage_class),
    {.name = "provisioner",
     .type = F_STRING,
     .flags = FIELD_REQUIRED | FIELD_NONEMPTY,
     .at = AT(struct storage_class, provisioner)},
    {.name = "volumeBindingMode",
     .type = F_STRING,
     .at = AT(struct storage_class, volume_binding_mode),
     .values = binding_modes},
    {.name = "allowedTopologies",
     .type = F_LIST,
     .at = AT(struct storage_class, allowed_topologies),
     .second = AT(struct storage_class, allowed_topologies_len),
     .sub = &topology_term_schema},
    {.name = "reclaimPolicy", .type = F_STRING, .values = reclaim_policies},
    {.name = "allowVolumeExpansion", .type = F_BOOL},
    ANYTHING("parameters"),
    ANYTHING("mountOptions"),
    {0},
};
const struct schema storage_class_schema = {.fields = storage_class_fields,
                                            .size = sizeof(struct storage_class)};
