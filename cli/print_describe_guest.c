/* What `drover describe` says of the guest itself: what runs it and how it is, its disks and
 * interfaces, whether it can move, and how to see its console. See print_describe.h. */
#include <string.h>

#include "api/mac.h"
#include "api/names.h"
#include "cli/print_describe.h"
#include "cli/print_table.h"

static const char *
text(const struct tree *t, const char *key)
{
    return tree_get_string(tree_get(t, key), "");
}

static bool
is(const struct tree *vmi, const char *type, const char *status)
{
    return strcmp(text(object_condition(vmi, type), "status"), status) == 0;
}

/* The element of a list that has this name. */
static const struct tree *
named(const struct tree *list, const char *name)
{
    for (size_t i = 0; i < tree_len(list); i++)
        if (strcmp(text(tree_at(list, i), "name"), name) == 0)
            return tree_at(list, i);
    return NULL;
}

/* The first key that is not one of the common ones: which of its kinds a volume, disk or interface
 * is; NULL: it does not say. */
static const char *
variant(const struct tree *t, const struct tree **ret)
{
    static const char *const common[] = {"name",  "bootOrder", "serial",           "cache",
                                         "io",    "tag",       "macAddress",       "model",
                                         "ports", "shareable", "dedicatedIOThread"};

    for (size_t i = 0; i < tree_len(t); i++) {
        bool skip = false;

        for (size_t k = 0; k < ARRAY_LEN(common) && !skip; k++)
            skip = strcmp(tree_key_at(t, i), common[k]) == 0;
        if (!skip) {
            *ret = tree_at(t, i);
            return tree_key_at(t, i);
        }
    }
    *ret = NULL;
    return NULL;
}

static void
describe_disks(struct describe *d, const struct tree *spec)
{
    static const char *const wheres[] = {"claimName", "image", "path", "name", "capacity"};
    const struct tree *disks = tree_find(spec, "domain", "devices", "disks", NULL);
    AUTO_TABLE struct table *t = NULL;

    if (!tree_len(disks)) {
        describe_line(d, "  Disks", "<none>");
        return;
    }
    sb_puts(&d->out, "  Disks:\n");
    t = table_new();
    table_column(t, "NAME", false);
    table_column(t, "DEVICE", false);
    table_column(t, "BUS", false);
    table_column(t, "VOLUME", false);
    for (size_t i = 0; i < tree_len(disks); i++) {
        const struct tree *disk = tree_at(disks, i), *device, *source;
        const struct tree *volume = named(tree_get(spec, "volumes"), text(disk, "name"));
        const char *kind = variant(disk, &device), *what = variant(volume, &source), *where = "";

        for (size_t k = 0; k < ARRAY_LEN(wheres) && !*where; k++)
            where = text(source, wheres[k]);
        table_cell(t, text(disk, "name"));
        table_cell(t, kind ? kind : "disk");
        table_cell(t, *text(device, "bus") ? text(device, "bus") : "-");
        if (what)
            table_cellf(t, "%s%s%s", what, *where ? " " : "", where);
        else
            table_cell(t, volume ? "<unknown>" : "<none of that name>");
    }
    table_flush(t, 4, &d->out);
}

static void
describe_nics(struct describe *d, const struct tree *spec, const struct tree *vmi)
{
    const struct tree *nics = tree_find(spec, "domain", "devices", "interfaces", NULL);
    AUTO_TABLE struct table *t = NULL;

    if (!tree_len(nics)) {
        describe_line(d, "  Interfaces", "<none>");
        return;
    }
    sb_puts(&d->out, "  Interfaces:\n");
    t = table_new();
    table_column(t, "NAME", false);
    table_column(t, "BINDING", false);
    table_column(t, "MODEL", false);
    table_column(t, "MAC", false);
    table_column(t, "NETWORK", false);
    for (size_t i = 0; i < tree_len(nics); i++) {
        const struct tree *nic = tree_at(nics, i), *binding, *source;
        const struct tree *network = named(tree_get(spec, "networks"), text(nic, "name"));
        const char *how = variant(nic, &binding), *what = variant(network, &source);
        char mac[MAC_SIZE];

        mac_of_interface(object_uid(vmi), text(nic, "name"), mac);
        table_cell(t, text(nic, "name"));
        table_cell(t, how ? how : "-");
        table_cell(t, *text(nic, "model") ? text(nic, "model") : "virtio");
        /* one that runs has what its hosts make of it */
        table_cell(t, *text(nic, "macAddress") ? text(nic, "macAddress") : vmi ? mac : "-");
        if (what)
            table_cellf(t, "%s%s%s", what, *text(source, "networkName") ? " " : "",
                        text(source, "networkName"));
        else
            table_cell(t, "-");
    }
    table_flush(t, 4, &d->out);
}

static void
describe_guest_state(struct describe *d, const struct tree *vmi)
{
    const struct tree *paused = object_condition(vmi, "Paused");
    const struct tree *refused = object_condition(vmi, "Synchronized");
    const struct tree *ready = object_condition(vmi, "Ready");
    const char *phase = tree_find_string(vmi, "", "status", "phase", NULL);

    if (!vmi)
        describe_line(d, "  State", "not there: the VM does not run");
    else if (is(vmi, "Synchronized", "False"))
        describe_line(d, "  State", "not made: %s: %s", text(refused, "reason"),
                      text(refused, "message"));
    else if (strcmp(phase, "Running") != 0)
        describe_line(d, "  State", "%s", *phase ? phase : "<unknown>");
    else if (is(vmi, "Paused", "True"))
        describe_line(d, "  State", "paused: %s: %s", text(paused, "reason"),
                      text(paused, "message"));
    else if (is(vmi, "Ready", "Unknown"))
        describe_line(d, "  State", "not known: %s", text(ready, "message"));
    else
        describe_line(d, "  State", "running");
}

void
describe_guest(struct describe *d, const struct tree *obj, const struct tree *spec,
               const struct tree *annotations, const struct tree *vmi)
{
    const struct tree *migratable = object_condition(vmi, "LiveMigratable");
    const char *runs_on = vmi ? object_annotation(vmi, ANN_RUNS_ON) : NULL;
    const char *wants = text(annotations, ANN_HYPERVISOR);
    const char *method = tree_find_string(vmi, "", "status", "migrationMethod", NULL);
    bool serial =
        tree_get_bool(tree_find(spec, "domain", "devices", "autoattachSerialConsole", NULL), true);

    describe_section(d, "Guest");
    describe_line(d, "  Hypervisor", "%s",
                  runs_on  ? runs_on
                  : *wants ? wants
                           : "as the node that starts it has it");
    describe_guest_state(d, vmi);
    if (vmi && strcmp(runs_on ? runs_on : "", "libvirt") == 0)
        describe_line(d, "  Agent", "%s",
                      is(vmi, "AgentConnected", "True") ? "connected" : "not connected");
    if (migratable && is(vmi, "LiveMigratable", "True"))
        describe_line(d, "  Migratable", "yes%s%s", *method ? ", " : "", method);
    else if (migratable)
        describe_line(d, "  Migratable", "no: %s: %s", text(migratable, "reason"),
                      text(migratable, "message"));
    describe_disks(d, spec);
    describe_nics(d, spec, vmi);
    if (!serial)
        describe_line(d, "  Console", "none: autoattachSerialConsole is false");
    else if (strcmp(runs_on ? runs_on : wants, "native") == 0)
        describe_line(d, "  Console", "none: native guests have none");
    else
        describe_line(d, "  Console", "drover console %s -n %s", object_name(obj),
                      object_namespace(obj));
}
