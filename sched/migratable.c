/* LiveMigratable: can this VMI be moved while it runs, and if not, what is in the way? Part of
 * evict.h. Texts are upstream's (virt-handler), but for the interface's, which is the documents'. */
#include "sched/evict.h"

#include <string.h>

#include "api/names.h"
#include "base/sb.h"
#include "sched/node_terms.h"
#include "sched/place.h"

#define ANN_POD_BRIDGE "kubevirt.io/allow-pod-bridge-network-live-migration"
#define LABEL_TSC      LABEL_CPU_TIMER "tsc-frequency"
#define ALL_MUST_SHARE \
    "live migration requires that all PVCs must be shared (using ReadWriteMany access mode)"

static bool interface_ok(const struct vmi *v);
static const char *host_model_problem(const struct vmi *v, const struct migratable_facts *facts,
                                      struct arena *a);
static const char *disk_problem(const struct vmi *v, const struct migratable_facts *facts,
                                struct arena *a, bool *ret_block);
static const char *claim_problem(const struct vmi *v, const char *claim,
                                 const struct migratable_facts *facts, struct arena *a);
static bool read_only(const struct vmi *v, const char *volume);
static bool reserves(const struct vmi_domain *d);
static bool has_label(const struct node *n, const char *key);
static bool is(const char *s, const char *want);

struct migratable
vmi_migratable(const struct vmi *v, const struct pvc *const *pvcs, size_t pvcs_len, struct arena *a)
{
    struct migratable_facts facts = {.pvcs = pvcs, .pvcs_len = pvcs_len};

    return vmi_migratable_with(v, &facts, a);
}

struct migratable
vmi_migratable_with(const struct vmi *v, const struct migratable_facts *facts, struct arena *a)
{
    const struct vmi_domain *d = &v->spec.domain;
    bool block = false;
    const char *disks = disk_problem(v, facts, a, &block);
    const char *host_model = host_model_problem(v, facts, a);
    bool tsc_known =
        v->status.tsc_frequency_hz > 0 || (facts->node && has_label(facts->node, LABEL_TSC));
    const struct {
        bool holds;
        const char *reason, *message;
    } checks[] = {
        {!interface_ok(v), "InterfaceNotLiveMigratable",
         "cannot migrate VMI which does not use masquerade to connect to the pod network"},
        {host_model != NULL, "CPUModeLiveMigratable", host_model},
        {d->host_devices_len + d->gpus_len > 0, "HostDeviceNotLiveMigratable",
         "VMI uses a PCI host devices"},
        {d->sev, "SEVNotLiveMigratable", "VMI uses SEV"},
        {d->tdx, "TDXNotLiveMigratable", "VMI uses TDX"},
        {d->secure_execution, "SecureExecutionNotLiveMigratable", "VMI uses Secure Execution"},
        {reserves(d), "PersistentReservationNotLiveMigratable",
         "VMI uses SCSI persistent reservation"},
        {d->hyperv_reenlightenment && !tsc_known, "NoTSCFrequencyNotLiveMigratable",
         "HyperV Reenlightenment VMIs cannot migrate when TSC Frequency is not exposed on the "
         "cluster: guest timers might be inconsistent"},
        {d->hyperv_passthrough, "HypervPassthroughNotLiveMigratable",
         "VMI uses hyperv passthrough"},
    };
    AUTO_SB struct sb storage = SB_INIT;
    struct migratable m = {.ok = true,
                           .reason = "",
                           .message = "",
                           .method = block ? "BlockMigration" : "LiveMigration"};

    for (size_t i = 0; i < ARRAY_LEN(checks); i++) {
        if (!checks[i].holds)
            continue;
        if (m.ok) {
            m.reason = checks[i].reason;
            m.message = checks[i].message;
        }
        m.ok = false;
        sb_printf(&storage, "%s%s: %s", storage.len ? ", " : "", checks[i].reason,
                  checks[i].message);
    }
    m.storage = arena_strdup(a, sb_str(&storage));
    if (m.ok && disks) {
        m.ok = false;
        m.reason = "DisksNotLiveMigratable";
        m.message = disks;
    }
    return m;
}

/* The pod network only by masquerade; other networks do not matter. A pod network without an
 * interface is connected to nothing. */
static bool
interface_ok(const struct vmi *v)
{
    const struct vmi_domain *d = &v->spec.domain;
    bool bridge_allowed = false;

    for (size_t i = 0; i < v->meta.annotations.len; i++)
        if (is(v->meta.annotations.items[i].key, ANN_POD_BRIDGE))
            bridge_allowed = true;
    for (size_t i = 0; i < v->spec.networks_len; i++) {
        for (size_t j = 0; v->spec.networks[i].pod && j < d->interfaces_len; j++) {
            const struct vmi_interface *nic = &d->interfaces[j];

            if (is(nic->name, v->spec.networks[i].name) && !is(nic->binding, "masquerade") &&
                !(bridge_allowed && is(nic->binding, "bridge")))
                return false;
        }
    }
    return true;
}

/* A model that the manifest asks for must be known on the node. The default host-model counts only
 * where a labeller has run: guests that are no KVM guests have no CPU model to carry over. */
static const char *
host_model_problem(const struct vmi *v, const struct migratable_facts *facts, struct arena *a)
{
    const char *asked = v->spec.domain.cpu.model, *name = v->status.node_name;
    struct node_labels labels;
    bool labelled = false;
    size_t at = 0;

    if (!is(vmi_cpu_model(&v->spec, facts->hco), "host-model") || !name || !*name ||
        !(facts->node || facts->node_missing))
        return NULL;
    for (size_t i = 0; i < v->meta.annotations.len; i++)
        if (is(v->meta.annotations.items[i].key, PLACE_ANN_HOST_MODEL))
            return NULL;
    if (facts->node) {
        labels = node_labels_sorted(&facts->node->meta.labels, a);
        if (node_labels_next(&labels, LABEL_HOST_MODEL, &at))
            return NULL;
        labelled = node_labels_next(&labels, LABEL_CPU_MODEL, &(size_t){0}) ||
                   node_labels_next(&labels, LABEL_CPU_FEATURE, &(size_t){0});
    }
    if (!(asked && *asked) && !labelled)
        return NULL;
    return arena_printf(a, "the node \"%s\" does not allow migration with host-model", name);
}

/* The first disk that cannot go along; *ret_block when disks must be copied, or could not be shared. */
static const char *
disk_problem(const struct vmi *v, const struct migratable_facts *facts, struct arena *a,
             bool *ret_block)
{
    for (size_t i = 0; i < v->spec.volumes_len; i++) {
        const struct vmi_volume *vol = &v->spec.volumes[i];
        const char *why = NULL;

        if (is(vol->kind, "persistentVolumeClaim") || is(vol->kind, "dataVolume"))
            why = claim_problem(v, vol->claim ? vol->claim : "", facts, a);
        else if (is(vol->kind, "hostDisk"))
            why = vol->shared ? NULL : "cannot migrate VMI with non-shared HostDisk";
        else if (!read_only(v, vol->name))
            *ret_block = true;
        if (why) {
            *ret_block = true;
            return why;
        }
    }
    return NULL;
}

static const char *
claim_problem(const struct vmi *v, const char *claim, const struct migratable_facts *facts,
              struct arena *a)
{
    const struct pvc *found = NULL;

    for (size_t i = 0; i < facts->pvcs_len && !found; i++) {
        const struct meta *m = &facts->pvcs[i]->meta;

        if (is(m->name, claim) && is(m->namespace_, v->meta.namespace_ ? v->meta.namespace_ : ""))
            found = facts->pvcs[i];
    }
    if (!found)
        return arena_printf(
            a, "cannot migrate VMI: Unable to determine if PVC %s is shared, " ALL_MUST_SHARE,
            claim);
    for (size_t i = 0; i < found->access_modes.len; i++)
        if (is(found->access_modes.items[i], "ReadWriteMany"))
            return NULL;
    return arena_printf(a, "cannot migrate VMI: PVC %s is not shared, " ALL_MUST_SHARE, claim);
}

static bool
read_only(const struct vmi *v, const char *volume)
{
    const struct vmi_domain *d = &v->spec.domain;

    for (size_t i = 0; i < d->disks_len; i++)
        if (is(d->disks[i].name, volume ? volume : "") && is(d->disks[i].kind, "cdrom"))
            return true;
    return false;
}

static bool
reserves(const struct vmi_domain *d)
{
    for (size_t i = 0; i < d->disks_len; i++)
        if (d->disks[i].reservation)
            return true;
    return false;
}

static bool
has_label(const struct node *n, const char *key)
{
    for (size_t i = 0; i < n->meta.labels.len; i++)
        if (is(n->meta.labels.items[i].key, key))
            return true;
    return false;
}

static bool
is(const char *s, const char *want)
{
    return s && strcmp(s, want) == 0;
}
