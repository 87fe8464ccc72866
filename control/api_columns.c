/* The columns of each kind: those of upstream's printers and resource definitions, and a few of our
 * own behind -o wide. See api_columns.h. */
#include "control/api_columns.h"

#include <string.h>

#include "api/names.h"
#include "api/quantity.h"

#define NAME                                                                   \
    {                                                                          \
        "Name", "string", 0, "metadata.name", NULL, NULL, "Name of the object" \
    }
#define AGE                                                                               \
    {                                                                                     \
        "Age", "date", 0, "metadata.creationTimestamp", NULL, NULL, "Time since creation" \
    }

#define TEXT(name, path, text)                    \
    {                                             \
        name, "string", 0, path, NULL, NULL, text \
    }
#define WIDE(name, path, text)                    \
    {                                             \
        name, "string", 1, path, NULL, NULL, text \
    }
#define COND(name, type, text)                    \
    {                                             \
        name, "string", 0, NULL, type, NULL, text \
    }
#define WIDE_COND(name, type, text)               \
    {                                             \
        name, "string", 1, NULL, type, NULL, text \
    }
#define CELL(name, fn, text)                    \
    {                                           \
        name, "string", 0, NULL, NULL, fn, text \
    }
#define WIDE_CELL(name, fn, text)               \
    {                                           \
        name, "string", 1, NULL, NULL, fn, text \
    }
#define END \
    {       \
        0   \
    }

static void vmim_transport(const struct tree *obj, struct sb *out);
static void vmim_encrypted(const struct tree *obj, struct sb *out);
static void vmim_round(const struct tree *obj, struct sb *out);
static void vmim_remaining(const struct tree *obj, struct sb *out);
static void vmim_rate(const struct tree *obj, struct sb *out);
static void vmim_dirty_rate(const struct tree *obj, struct sb *out);
static void vmim_downtime(const struct tree *obj, struct sb *out);
static void node_status(const struct tree *obj, struct sb *out);
static void node_roles(const struct tree *obj, struct sb *out);
static void node_internal_ip(const struct tree *obj, struct sb *out);
static void node_external_ip(const struct tree *obj, struct sb *out);
static void pvc_modes(const struct tree *obj, struct sb *out);
static void event_object(const struct tree *obj, struct sb *out);
static void priority_default(const struct tree *obj, struct sb *out);
static void pdb_min(const struct tree *obj, struct sb *out);
static void pdb_max(const struct tree *obj, struct sb *out);
static void pdb_allowed(const struct tree *obj, struct sb *out);
static void nncp_status(const struct tree *obj, struct sb *out);
static void nncp_reason(const struct tree *obj, struct sb *out);
static void nncp_since(const struct tree *obj, struct sb *out);
static void link_interface(const struct tree *obj, struct sb *out);
static void link_address(const struct tree *obj, struct sb *out);
static void link_mtu(const struct tree *obj, struct sb *out);
static void link_speed(const struct tree *obj, struct sb *out);
static void node_rdma(const struct tree *obj, struct sb *out);
static void pool_allocated(const struct tree *obj, struct sb *out);
static void configmap_data(const struct tree *obj, struct sb *out);

static const struct api_column name_age[] = {NAME, AGE, END};

static const struct api_column vm[] = {
    NAME, AGE, TEXT("Status", "status.printableStatus", "Human Readable Status"),
    COND("Ready", "Ready", "Whether the virtual machine runs"), END};

static const struct api_column vmi[] = {
    NAME,
    AGE,
    TEXT("Phase", "status.phase", "Phase of the instance"),
    TEXT("IP", "status.interfaces.0.ipAddress", "Address of the first interface"),
    TEXT("NodeName", "status.nodeName", "Node that the instance runs on"),
    COND("Ready", "Ready", "Whether the instance runs"),
    WIDE_COND("Live-Migratable", "LiveMigratable", "Whether it can be migrated while it runs"),
    WIDE_COND("Paused", "Paused", "Whether it is paused"),
    END};

static const struct api_column vmim[] = {
    NAME,
    TEXT("Phase", "status.phase", "The current phase of VM instance migration"),
    TEXT("VMI", "spec.vmiName", "The name of the VMI to perform the migration on"),
    WIDE("Source", "status.migrationState.sourceNode", "Node that the VM comes from"),
    WIDE("Target", "status.migrationState.targetNode", "Node that it goes to"),
    WIDE("Address", "status.migrationState.targetNodeAddress", "Where the target listens"),
    WIDE("Policy", "status.migrationState.migrationPolicyName", "MigrationPolicy that applies"),
    WIDE("Mode", "status.migrationState.mode", "How memory travels"),
    WIDE_CELL("Transport", vmim_transport, "What carries memory"),
    WIDE_CELL("Encrypted", vmim_encrypted, "Whether that is; RDMA never is"),
    WIDE_CELL("Round", vmim_round, "Round of copying"),
    WIDE_CELL("Remaining", vmim_remaining, "Memory that is not at the target yet"),
    WIDE_CELL("Rate", vmim_rate, "Bytes a second that are sent"),
    WIDE_CELL("Dirty-Rate", vmim_dirty_rate, "Bytes a second that the guest writes"),
    WIDE_CELL("Downtime", vmim_downtime, "As the guest saw it; predicted (~) while it runs"),
    {"Age", "date", 1, "metadata.creationTimestamp", NULL, NULL, "Time since creation"},
    END};

static const struct api_column kubevirt[] = {
    NAME, AGE, TEXT("Phase", "status.phase", "Phase of the deployment"), END};

static const struct api_column policy[] = {
    NAME,
    AGE,
    WIDE("Bandwidth", "spec.bandwidthPerMigration", "Bytes a second"),
    WIDE("Timeout-Per-GiB", "spec.completionTimeoutPerGiB", "Seconds for each GiB"),
    WIDE("Auto-Converge", "spec.allowAutoConverge", "Whether guests may be slowed down"),
    WIDE("Post-Copy", "spec.allowPostCopy", "Whether memory may follow the switchover"),
    END};

static const struct api_column hco[] = {
    NAME, AGE,
    WIDE("Network", "spec.liveMigrationConfig.network", "The dedicated migration network"), END};

static const struct api_column nncp[] = {NAME, CELL("Status", nncp_status, "Condition that holds"),
                                         CELL("Reason", nncp_reason, "Why"), END};

static const struct api_column nnce[] = {
    NAME,
    CELL("Status", nncp_status, "Condition that holds"),
    {"Status Age", "date", 0, NULL, NULL, nncp_since, "Since when it holds"},
    CELL("Reason", nncp_reason, "Why"),
    END};

static const struct api_column ippool[] = {
    NAME, AGE, WIDE("Range", "spec.range", "Addresses that are given out"),
    WIDE_CELL("Allocated", pool_allocated, "How many have been given to nodes"), END};

static const struct api_column configmap[] = {
    NAME, CELL("Data", configmap_data, "Number of its keys"), AGE, END};

static const struct api_column maintenance[] = {
    NAME,
    TEXT("Node", "spec.nodeName", "Node under maintenance"),
    TEXT("Phase", "status.phase", "Running until the node is empty"),
    AGE,
    WIDE("Reason", "spec.reason", "Why"),
    WIDE("Error", "status.lastError", "What is in the way"),
    END};

static const struct api_column node[] = {
    NAME,
    CELL("Status", node_status, "Ready, and whether VMs are scheduled there"),
    CELL("Roles", node_roles, "Roles, by its labels"),
    AGE,
    TEXT("Version", "status.nodeInfo.kubeletVersion", "Version of the node's agent"),
    WIDE_CELL("Internal-IP", node_internal_ip, "Address on the management network"),
    WIDE_CELL("External-IP", node_external_ip, "Address for the outside"),
    WIDE("OS-Image", "status.nodeInfo.osImage", "Operating system"),
    WIDE("Kernel-Version", "status.nodeInfo.kernelVersion", "Kernel"),
    WIDE_COND("Migration-Network", COND_MIGRATION_NETWORK, "Whether the dedicated network works"),
    WIDE_CELL("Migration-Interface", link_interface, "Interface of the dedicated network"),
    WIDE_CELL("Migration-Address", link_address, "Address on it"),
    WIDE_CELL("MTU", link_mtu, "Its largest packet, in bytes"),
    WIDE_CELL("Speed", link_speed, "Of its link, where the link says"),
    WIDE_CELL("RDMA", node_rdma, "Whether an RDMA device serves that address"),
    END};

static const struct api_column ns[] = {
    NAME, TEXT("Status", "status.phase", "Active or Terminating"), AGE, END};

static const struct api_column pvc[] = {
    NAME,
    TEXT("Status", "status.phase", "Bound or Pending"),
    TEXT("Volume", "spec.volumeName", "The volume"),
    TEXT("Capacity", "status.capacity.storage", "Its size"),
    CELL("Access Modes", pvc_modes, "Who may mount it"),
    TEXT("StorageClass", "spec.storageClassName", "Its class"),
    AGE,
    WIDE("VolumeMode", "spec.volumeMode", "Filesystem or Block"),
    END};

static const struct api_column pv[] = {
    NAME,
    TEXT("Capacity", "spec.capacity.storage", "Its size"),
    CELL("Access Modes", pvc_modes, "Who may mount it"),
    TEXT("Reclaim Policy", "spec.persistentVolumeReclaimPolicy", "What happens when it is freed"),
    TEXT("Status", "status.phase", "Available, Bound or Released"),
    TEXT("Claim", "spec.claimRef.name", "The claim that has it"),
    TEXT("StorageClass", "spec.storageClassName", "Its class"),
    AGE,
    WIDE("VolumeMode", "spec.volumeMode", "Filesystem or Block"),
    END};

static const struct api_column storage_class[] = {
    NAME,
    TEXT("Provisioner", "provisioner", "Who makes its volumes"),
    TEXT("ReclaimPolicy", "reclaimPolicy", "What happens when they are freed"),
    TEXT("VolumeBindingMode", "volumeBindingMode", "When a claim gets its volume"),
    AGE,
    END};

static const struct api_column event[] = {
    {"Last Seen", "date", 0, "lastTimestamp", NULL, NULL, "When it happened last"},
    TEXT("Type", "type", "Normal or Warning"),
    TEXT("Reason", "reason", "Why, in one word"),
    CELL("Object", event_object, "What it happened to"),
    WIDE("Subobject", "involvedObject.fieldPath", "Which part of it"),
    WIDE("Source", "source.component", "Who says so"),
    TEXT("Message", "message", "What happened"),
    {"First Seen", "date", 1, "firstTimestamp", NULL, NULL, "When it happened first"},
    {"Count", "integer", 1, "count", NULL, NULL, "How often"},
    WIDE("Name", "metadata.name", "Name of the event"),
    END};

static const struct api_column pod[] = {NAME,
                                        TEXT("Ready", "status.ready", "Containers that are ready"),
                                        TEXT("Status", "status.phase", "Phase"), AGE, END};

static const struct api_column priority[] = {
    NAME,
    {"Value", "integer", 0, "value", NULL, NULL, "The priority that it stands for"},
    CELL("Global-Default", priority_default, "Whether it is the class of those that name none"),
    AGE,
    WIDE("PreemptionPolicy", "preemptionPolicy", "Never: it waits until room is free"),
    END};

static const struct api_column pdb[] = {
    NAME,
    CELL("Min Available", pdb_min, "How many must be there"),
    CELL("Max Unavailable", pdb_max, "How many may be away"),
    CELL("Allowed Disruptions", pdb_allowed, "How many may be evicted now"),
    AGE,
    END};

const struct api_column *
api_columns(enum kind kind)
{
    static const struct api_column *const tables[KIND_COUNT] = {
        [KIND_VM] = vm,
        [KIND_VMI] = vmi,
        [KIND_VMIM] = vmim,
        [KIND_KUBEVIRT] = kubevirt,
        [KIND_POLICY] = policy,
        [KIND_HCO] = hco,
        [KIND_NNCP] = nncp,
        [KIND_NNCE] = nnce,
        [KIND_IPPOOL] = ippool,
        [KIND_CONFIGMAP] = configmap,
        [KIND_MAINTENANCE] = maintenance,
        [KIND_NODE] = node,
        [KIND_NAMESPACE] = ns,
        [KIND_PVC] = pvc,
        [KIND_EVENT] = event,
        [KIND_POD] = pod,
        [KIND_PV] = pv,
        [KIND_STORAGE_CLASS] = storage_class,
        [KIND_PRIORITY] = priority,
        [KIND_PDB] = pdb,
    };

    return tables[kind] ? tables[kind] : name_age;
}

/* --- cells that are more than a field --- */

/* A number in the JSON of an annotation; -1 when it is not there. */
static int64_t
annotated(const struct tree *obj, const char *annotation, const char *key)
{
    AUTO_TREE struct tree *t = object_annotation_json(obj, annotation);

    return (int64_t)tree_get_float(tree_get(t, key), -1);
}

static bool
vmim_over(const struct tree *obj)
{
    return tree_get_bool(tree_find(obj, "status", "migrationState", "completed", NULL), false) ||
           tree_get_bool(tree_find(obj, "status", "migrationState", "failed", NULL), false);
}

static void
put_human(const struct tree *obj, const char *key, const char *unit, struct sb *out)
{
    int64_t bytes = annotated(obj, ANN_MIGRATION_PROGRESS, key);
    char text[32];

    if (bytes < 0 || vmim_over(obj))
        return;
    quantity_format_human((uint64_t)bytes, text, sizeof(text));
    sb_printf(out, "%s%s", text, unit);
}

/* As its source said last; NULL: it has not said anything yet. The caller's. */
static struct tree *
vmim_said(const struct tree *obj)
{
    struct tree *t = object_annotation_json(obj, ANN_MIGRATION_RESULT);

    if (tree_get(t, "tls"))
        return t;
    tree_free(t); /* a handler that was restarted knows the outcome alone */
    return object_annotation_json(obj, ANN_MIGRATION_PROGRESS);
}

static void
vmim_transport(const struct tree *obj, struct sb *out)
{
    AUTO_TREE struct tree *t = vmim_said(obj);

    sb_puts(out, tree_find_string(t, "", "transport", NULL));
}

static void
vmim_encrypted(const struct tree *obj, struct sb *out)
{
    AUTO_TREE struct tree *t = vmim_said(obj);
    const char *transport = tree_find_string(t, "", "transport", NULL);

    if (!tree_get(t, "encrypted"))
        return;
    sb_puts(out, tree_get_bool(tree_get(t, "encrypted"), false) ? "yes"
                 : !tree_find_string(t, "", "tls", NULL)[0]     ? "no"
                 : strcmp(transport, "rdma") == 0               ? "control-only"
                                                                : "in-part");
}

static void
vmim_round(const struct tree *obj, struct sb *out)
{
    int64_t round = annotated(obj, ANN_MIGRATION_RESULT, "rounds");

    if (round < 0)
        round = annotated(obj, ANN_MIGRATION_PROGRESS, "round");
    if (round > 0)
        sb_printf(out, "%lld", (long long)round);
}

static void
vmim_remaining(const struct tree *obj, struct sb *out)
{
    put_human(obj, "remainingBytes", "", out);
}

static void
vmim_rate(const struct tree *obj, struct sb *out)
{
    put_human(obj, "transferBytesPerSecond", "/s", out);
}

static void
vmim_dirty_rate(const struct tree *obj, struct sb *out)
{
    put_human(obj, "dirtyBytesPerSecond", "/s", out);
}

static void
vmim_downtime(const struct tree *obj, struct sb *out)
{
    int64_t ms = annotated(obj, ANN_GUEST_RESULT, "downtimeMs");

    if (ms >= 0)
        sb_printf(out, "%lldms", (long long)ms);
    else if ((ms = annotated(obj, ANN_MIGRATION_PROGRESS, "predictedDowntimeMs")) > 0 &&
             !vmim_over(obj))
        sb_printf(out, "~%lldms", (long long)ms);
}

static void
node_status(const struct tree *obj, struct sb *out)
{
    const struct tree *ready = object_condition(obj, "Ready");

    if (!ready)
        sb_puts(out, "Unknown");
    else
        sb_puts(out, strcmp(tree_find_string(ready, "", "status", NULL), "True") == 0 ? "Ready"
                                                                                      : "NotReady");
    if (tree_get_bool(tree_find(obj, "spec", "unschedulable", NULL), false))
        sb_puts(out, ",SchedulingDisabled");
}

static void
node_roles(const struct tree *obj, struct sb *out)
{
    static const char prefix[] = "node-role.kubernetes.io/";
    const struct tree *labels = tree_find(obj, "metadata", "labels", NULL);
    size_t before = out->len;

    for (size_t i = 0; i < tree_len(labels); i++) {
        const char *key = tree_key_at(labels, i);

        if (strncmp(key, prefix, sizeof(prefix) - 1) == 0 && key[sizeof(prefix) - 1])
            sb_printf(out, "%s%s", out->len > before ? "," : "", key + sizeof(prefix) - 1);
    }
    if (out->len == before)
        sb_puts(out, "<none>");
}

static void
node_address(const struct tree *obj, const char *type, struct sb *out)
{
    const struct tree *list = tree_find(obj, "status", "addresses", NULL);

    for (size_t i = 0; i < tree_len(list); i++) {
        if (strcmp(tree_find_string(tree_at(list, i), "", "type", NULL), type) == 0) {
            sb_puts(out, tree_find_string(tree_at(list, i), "", "address", NULL));
            return;
        }
    }
    sb_puts(out, "<none>");
}

static void
node_internal_ip(const struct tree *obj, struct sb *out)
{
    node_address(obj, "InternalIP", out);
}

static void
node_external_ip(const struct tree *obj, struct sb *out)
{
    node_address(obj, "ExternalIP", out);
}

static void
pvc_modes(const struct tree *obj, struct sb *out)
{
    static const char *const modes[][2] = {{"ReadWriteOnce", "RWO"},
                                           {"ReadOnlyMany", "ROX"},
                                           {"ReadWriteMany", "RWX"},
                                           {"ReadWriteOncePod", "RWOP"}};
    const struct tree *list = tree_find(obj, "status", "accessModes", NULL);
    size_t before = out->len;

    if (tree_len(list) == 0)
        list = tree_find(obj, "spec", "accessModes", NULL);
    for (size_t m = 0; m < ARRAY_LEN(modes); m++)
        for (size_t i = 0; i < tree_len(list); i++)
            if (strcmp(tree_get_string(tree_at(list, i), ""), modes[m][0]) == 0)
                sb_printf(out, "%s%s", out->len > before ? "," : "", modes[m][1]);
}

static void
event_object(const struct tree *obj, struct sb *out)
{
    const char *kind = tree_find_string(obj, "", "involvedObject", "kind", NULL);

    for (; *kind; kind++)
        sb_putc(out, *kind >= 'A' && *kind <= 'Z' ? (char)(*kind + 'a' - 'A') : *kind);
    sb_printf(out, "/%s", tree_find_string(obj, "", "involvedObject", "name", NULL));
}

static void
priority_default(const struct tree *obj, struct sb *out)
{
    sb_puts(out, tree_get_bool(tree_get(obj, "globalDefault"), false) ? "true" : "false");
}

/* A number or a percentage. */
static void
put_disruptions(const struct tree *v, struct sb *out)
{
    if (tree_type(v) == TREE_INT)
        sb_printf(out, "%lld", (long long)tree_get_int(v, 0));
    else
        sb_puts(out, tree_get_string(v, "N/A"));
}

static void
pdb_min(const struct tree *obj, struct sb *out)
{
    put_disruptions(tree_find(obj, "spec", "minAvailable", NULL), out);
}

static void
pdb_max(const struct tree *obj, struct sb *out)
{
    put_disruptions(tree_find(obj, "spec", "maxUnavailable", NULL), out);
}

static void
pdb_allowed(const struct tree *obj, struct sb *out)
{
    sb_printf(out, "%lld",
              (long long)tree_get_int(tree_find(obj, "status", "disruptionsAllowed", NULL), 0));
}

/* The condition that is True, as nmstate's printer shows. */
static const struct tree *
true_condition(const struct tree *obj)
{
    const struct tree *list = tree_find(obj, "status", "conditions", NULL);

    for (size_t i = 0; i < tree_len(list); i++)
        if (strcmp(tree_find_string(tree_at(list, i), "", "status", NULL), "True") == 0)
            return tree_at(list, i);
    return NULL;
}

static void
nncp_status(const struct tree *obj, struct sb *out)
{
    sb_puts(out, tree_find_string(true_condition(obj), "", "type", NULL));
}

static void
nncp_reason(const struct tree *obj, struct sb *out)
{
    sb_puts(out, tree_find_string(true_condition(obj), "", "reason", NULL));
}

static void
nncp_since(const struct tree *obj, struct sb *out)
{
    sb_puts(out, tree_find_string(true_condition(obj), "", "lastTransitionTime", NULL));
}

static void
link_text(const struct tree *obj, const char *key, struct sb *out)
{
    AUTO_TREE struct tree *t = object_annotation_json(obj, ANN_MIGRATION_LINK);
    const char *text = tree_find_string(t, "", key, NULL);

    sb_puts(out, *text ? text : "<none>");
}

static void
link_number(const struct tree *obj, const char *key, const char *unit, const char *thousands,
            struct sb *out)
{
    int64_t n = annotated(obj, ANN_MIGRATION_LINK, key);

    if (n >= 1000 && thousands)
        sb_printf(out, "%g%s", (double)n / 1000, thousands);
    else if (n > 0)
        sb_printf(out, "%lld%s", (long long)n, unit);
    else
        sb_puts(out, "<none>");
}

static void
link_interface(const struct tree *obj, struct sb *out)
{
    link_text(obj, "interface", out);
}

static void
link_address(const struct tree *obj, struct sb *out)
{
    link_text(obj, "address", out);
}

static void
link_mtu(const struct tree *obj, struct sb *out)
{
    link_number(obj, "mtu", "", NULL, out);
}

static void
link_speed(const struct tree *obj, struct sb *out)
{
    link_number(obj, "speedMbps", "Mb/s", "Gb/s", out);
}

static void
node_rdma(const struct tree *obj, struct sb *out)
{
    sb_puts(out,
            tree_find_string(object_condition(obj, COND_MIGRATION_RDMA), "<none>", "status", NULL));
}

static void
pool_allocated(const struct tree *obj, struct sb *out)
{
    sb_printf(out, "%zu", tree_len(tree_find(obj, "spec", "allocations", NULL)));
}

static void
configmap_data(const struct tree *obj, struct sb *out)
{
    sb_printf(out, "%zu", tree_len(tree_get(obj, "data")) + tree_len(tree_get(obj, "binaryData")));
}
