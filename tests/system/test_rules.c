/* The rules of a migration on the real daemons: a policy's bandwidth is kept, the completion timeout and a
 * cancel end it with their own reason and the VM stays where it was, and without an address in the migration
 * network nothing goes another way. */
#include <errno.h>
#include <string.h>

#include "api/names.h"
#include "api/object.h"
#include "base/clock.h"
#include "netpolicy/nl_link.h"
#include "tests/system/cluster.h"

static const char world[] =
    "apiVersion: hco.kubevirt.io/v1beta1\n"
    "kind: HyperConverged\n"
    "metadata: {name: kubevirt-hyperconverged, namespace: openshift-cnv}\n"
    "spec: {liveMigrationConfig: {network: migration-network}}\n"
    "---\n"
    "apiVersion: k8s.cni.cncf.io/v1\n"
    "kind: NetworkAttachmentDefinition\n"
    "metadata: {name: migration-network, namespace: openshift-cnv}\n"
    "spec:\n"
    "  config: '{\"cniVersion\":\"0.3.1\",\"name\":\"migration-bridge\",\"type\":\"macvlan\",\n"
    "    \"master\":\"eth1\",\"mode\":\"bridge\",\"ipam\":{\"type\":\"whereabouts\",\n"
    "    \"range\":\"10.200.5.0/24\"}}'\n"
    "---\n"
    "apiVersion: migrations.kubevirt.io/v1alpha1\n"
    "kind: MigrationPolicy\n"
    "metadata: {name: slow}\n"
    "spec:\n"
    "  bandwidthPerMigration: 20Mi\n"
    "  selectors: {virtualMachineInstanceSelector: {speed: slow}}\n"
    "---\n"
    "apiVersion: migrations.kubevirt.io/v1alpha1\n"
    "kind: MigrationPolicy\n"
    "metadata: {name: hasty}\n"
    "spec:\n"
    "  bandwidthPerMigration: 16Mi\n"
    "  completionTimeoutPerGiB: 10\n"
    "  selectors: {virtualMachineInstanceSelector: {speed: hasty}}\n"
    "---\n"
    "apiVersion: migrations.kubevirt.io/v1alpha1\n"
    "kind: MigrationPolicy\n"
    "metadata: {name: heavy, annotations: {drover.io/weight: \"3\", drover.io/encoding: raw}}\n"
    "spec: {selectors: {virtualMachineInstanceSelector: {speed: heavy}}}\n"
    "---\n"
    "apiVersion: migrations.kubevirt.io/v1alpha1\n"
    "kind: MigrationPolicy\n"
    "metadata: {name: light, annotations: {drover.io/encoding: raw}}\n"
    "spec: {selectors: {virtualMachineInstanceSelector: {speed: light}}}\n"
    "---\n";

static const char vm_template[] =
    "apiVersion: kubevirt.io/v1\n"
    "kind: VirtualMachine\n"
    "metadata: {name: %s, namespace: default}\n"
    "spec:\n"
    "  runStrategy: Always\n"
    "  template:\n"
    "    metadata:\n"
    "      labels: {speed: %s}\n"
    "      annotations: {drover.io/workload: hotcold, drover.io/workload-rate: 2Mi,\n"
    "        drover.io/workload-set: 8Mi, drover.io/workload-fill: 56Mi}\n"
    "    spec:\n"
    "      domain: {memory: {guest: 64Mi}, devices: {}}\n";

struct look {
    struct sys *s;
    const char *vm, *migration, *phase;
};

static bool
vm_runs(void *ctx)
{
    struct look *l = ctx;
    char buf[32];

    return strcmp(sys_phase(l->s, KIND_VMI, "default", l->vm, buf, sizeof buf), "Running") == 0;
}

static bool
migration_in_phase(void *ctx)
{
    struct look *l = ctx;
    char buf[32];

    return strcmp(sys_phase(l->s, KIND_VMIM, "default", l->migration, buf, sizeof buf), l->phase) ==
           0;
}

static bool
migration_gone(void *ctx)
{
    struct look *l = ctx;
    AUTO_TREE struct tree *m = sys_get(l->s, KIND_VMIM, "default", l->migration);

    return m == NULL;
}

static void
make_vm(struct sys *s, const char *name, const char *speed)
{
    AUTO_FREE char *yaml = xasprintf(vm_template, name, speed);
    struct look l = {.s = s, .vm = name};

    sys_apply(s, yaml);
    sys_wait(s, 30, "the VM runs", vm_runs, &l);
}

static void
migrate(struct sys *s, const char *vm, const char *name)
{
    AUTO_FREE char *yaml =
        xasprintf("apiVersion: kubevirt.io/v1\nkind: VirtualMachineInstanceMigration\n"
                  "metadata: {name: %s, namespace: default}\nspec: {vmiName: %s}\n",
                  name, vm);

    sys_apply(s, yaml);
}

static void
expect_phase(struct sys *s, const char *migration, const char *phase, unsigned seconds)
{
    struct look l = {.s = s, .migration = migration, .phase = phase};
    AUTO_FREE char *what = xasprintf("migration %s is %s", migration, phase);

    sys_wait(s, seconds, what, migration_in_phase, &l);
}

static void
expect_reason(struct sys *s, const char *migration, const char *part)
{
    AUTO_TREE struct tree *m = sys_get(s, KIND_VMIM, "default", migration);
    const char *why = tree_find_string(m, "", "status", "migrationState", "failureReason", NULL);

    if (!strstr(why, part))
        sys_die(s, "migration %s: the reason is \"%s\", it should say \"%s\"", migration, why,
                part);
    printf("  %s: %s\n", migration, why);
}

static void
expect_unmoved(struct sys *s, const char *vm, const char *node)
{
    AUTO_TREE struct tree *vmi = sys_get(s, KIND_VMI, "default", vm);
    const char *on = tree_find_string(vmi, "", "status", "nodeName", NULL);
    char text[1024];

    if (strcmp(on, node) != 0)
        sys_die(s, "%s is on %s, it should have stayed on %s", vm, on, node);
    if (!sys_verify(s, "default", vm, text, sizeof text))
        sys_die(s, "%s: memory: %s", vm, text);
}

static char *
node_of(struct sys *s, const char *vm)
{
    AUTO_TREE struct tree *vmi = sys_get(s, KIND_VMI, "default", vm);

    return xstrdup(tree_find_string(vmi, "", "status", "nodeName", NULL));
}

/* 56 MiB of random data at 20 MiB/s: 2.8 s; the bytes that were sent tell the rate. */
static void
bandwidth_is_kept(struct sys *s)
{
    AUTO_TREE struct tree *m = NULL, *r = NULL;
    const char *json;
    double rate, limit = 20.0 * 1024 * 1024;

    make_vm(s, "slow", "slow");
    migrate(s, "slow", "m-slow");
    expect_phase(s, "m-slow", "Succeeded", 30);
    m = sys_get(s, KIND_VMIM, "default", "m-slow");
    json = object_annotation(m, ANN_MIGRATION_RESULT);
    if (!json || tree_from_json(json, strlen(json), &r, NULL) != 0)
        sys_die(s, "no result is written on the migration");
    rate = (double)tree_get_int(tree_get(r, "sentBytes"), 0) * 1000.0 /
           (double)tree_get_int(tree_get(r, "totalMs"), 1);
    printf("  m-slow: %.1f MiB/s under a limit of 20, policy %s\n", rate / 1048576,
           tree_find_string(m, "", "status", "migrationState", "migrationPolicyName", NULL));
    if (rate > limit * 1.05 || rate < limit * 0.5)
        sys_die(s, "the limit of 20Mi a second was not kept");
}

/* 10 s a GiB are 1 s for 64 MiB (rounded up), and 56 MiB at 16 MiB/s take 3.5 s. */
static void
completion_timeout_aborts(struct sys *s)
{
    AUTO_FREE char *node = NULL;

    make_vm(s, "hasty", "hasty");
    node = node_of(s, "hasty");
    migrate(s, "hasty", "m-hasty");
    expect_phase(s, "m-hasty", "Failed", 20);
    expect_reason(s, "m-hasty", "completionTimeoutPerGiB");
    expect_unmoved(s, "hasty", node);
}

static void
deleting_cancels(struct sys *s)
{
    struct look l = {.s = s, .migration = "m-cancel"};
    AUTO_FREE char *node = node_of(s, "slow");
    struct err err = {0};

    migrate(s, "slow", "m-cancel");
    expect_phase(s, "m-cancel", "Running", 20);
    if (client_delete(s->client, kind_info(KIND_VMIM), "default", "m-cancel", NULL, &err) != 0)
        sys_die(s, "delete: %s", err_msg(&err));
    sys_wait(s, 20, "the cancelled migration is gone", migration_gone, &l);
    expect_unmoved(s, "slow", node);
    printf("  m-cancel: cancelled, the VM stayed on %s\n", node);
}

/* --- shares --- */

/* What the annotation of a migration says; -1 when it is not there. */
static int64_t
progress(struct sys *s, const char *migration, const char *key)
{
    AUTO_TREE struct tree *m = sys_get(s, KIND_VMIM, "default", migration), *t = NULL;
    const char *json = m ? object_annotation(m, ANN_MIGRATION_PROGRESS) : NULL;

    if (!json || tree_from_json(json, strlen(json), &t, NULL) != 0)
        return -1;
    return tree_get_int(tree_get(t, key), -1);
}

struct limits {
    struct sys *s;
    int64_t heavy, light; /* in MiB a second; -1 = whatever */
};

static bool
limits_are(void *ctx)
{
    struct limits *l = ctx;
    int64_t heavy = progress(l->s, "m-heavy", "limitBytesPerSecond");
    int64_t light = progress(l->s, "m-light", "limitBytesPerSecond");

    return (l->heavy < 0 || heavy / 1048576 == l->heavy) && light / 1048576 == l->light;
}

static void
set_bandwidth(struct sys *s, const char *migration, const char *value)
{
    AUTO_TREE struct tree *patch = tree_map();
    struct err err = {0};

    tree_set_path(patch, tree_string(value), "metadata", "annotations", ANN_BANDWIDTH_OVERRIDE,
                  NULL);
    if (client_patch(s->client, kind_info(KIND_VMIM), "default", migration, NULL, patch, NULL,
                     &err) != 0)
        sys_die(s, "%s: %s", migration, err_msg(&err));
}

/* Onto the node that the other one runs on, when it is elsewhere. */
static void
bring_together(struct sys *s, const char *vm, const char *other)
{
    AUTO_FREE char *here = node_of(s, vm), *there = node_of(s, other);
    AUTO_FREE char *yaml =
        xasprintf("apiVersion: kubevirt.io/v1\nkind: VirtualMachineInstanceMigration\n"
                  "metadata: {name: m-together, namespace: default, annotations: {%s: %s}}\n"
                  "spec: {vmiName: %s}\n",
                  ANN_MIGRATION_TARGET, there, vm);

    if (strcmp(here, there) == 0)
        return;
    sys_apply(s, yaml);
    expect_phase(s, "m-together", "Succeeded", 40);
}

/* Two migrations leave one node with a cap of 24 MiB a second, 3 to 1. A limit that a user sets
 * while they run counts at once, and the other one has what is left; the log says so. */
static void
node_cap_is_shared(struct sys *s)
{
    struct limits l = {s, 18, 6};
    AUTO_TREE struct tree *m = NULL;
    const char *log;

    make_vm(s, "heavy", "heavy");
    make_vm(s, "light", "light");
    bring_together(s, "light", "heavy");
    migrate(s, "heavy", "m-heavy");
    migrate(s, "light", "m-light");
    sys_wait(s, 20, "two migrations share 24 MiB a second as 18 and 6", limits_are, &l);
    set_bandwidth(s, "m-light", "2Mi");
    l = (struct limits){s, 22, 2};
    sys_wait(s, 20, "one is limited to 2 MiB a second, the other has 22", limits_are, &l);
    set_bandwidth(s, "m-light", "0");
    expect_phase(s, "m-heavy", "Succeeded", 40);
    expect_phase(s, "m-light", "Succeeded", 40);
    m = sys_get(s, KIND_VMIM, "default", "m-light");
    log = object_annotation(m, ANN_MIGRATION_DECISIONS);
    if (!log || !strstr(log, "start: 64 MiB of memory") ||
        !strstr(log, "bandwidth: 2Mi bytes a second from now on") ||
        !strstr(log, "bandwidth: unlimited from now on"))
        sys_die(s, "the decision log does not say what was decided: %s", log ? log : "none");
    printf("  m-heavy, m-light: 18 and 6, then 22 and 2 MiB/s of the node's 24\n");
}

/* What is known of a migration afterwards is on its object. */
static void
figures_are_there(struct sys *s)
{
    static const char *const keys[] = {"rounds",    "sentBytes",          "downtimeMs",
                                       "cpuMs",     "encodings",          "mode",
                                       "encrypted", "limitBytesPerSecond"};
    AUTO_TREE struct tree *m = sys_get(s, KIND_VMIM, "default", "m-heavy"), *r = NULL, *t = NULL;
    const char *json = object_annotation(m, ANN_MIGRATION_RESULT);
    const char *target = object_annotation(m, ANN_TARGET_RESULT);

    if (!json || tree_from_json(json, strlen(json), &r, NULL) != 0 || !target ||
        tree_from_json(target, strlen(target), &t, NULL) != 0)
        sys_die(s, "no result of one of the sides");
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        if (!tree_get(r, keys[i]))
            sys_die(s, "the result has no %s: %s", keys[i], json);
    if (tree_get_int(tree_get(t, "receivedBytes"), 0) < 56 * 1048576 ||
        tree_get_float(tree_find(t, "downtime", "resumeMs", NULL), 0) <= 0 ||
        tree_get_float(tree_find(r, "downtime", "stopMs", NULL), 0) <= 0)
        sys_die(s, "figures are missing: %s; %s", json, target);
    if (strcmp(tree_find_string(m, "", "status", "migrationState", "mode", NULL), "PreCopy") != 0)
        sys_die(s, "status.migrationState.mode is not there");
}

static int
cut_network(void *ctx, struct err *err)
{
    (void)ctx;
    return nl_link_del("eth1", err); /* the handler would make migration0 anew, but not this */
}

static bool
node_says_broken(void *ctx)
{
    struct look *l = ctx;
    AUTO_TREE struct tree *n = sys_get(l->s, KIND_NODE, NULL, l->vm);
    const struct tree *conds = tree_find(n, "status", "conditions", NULL);

    for (size_t i = 0; i < tree_len(conds); i++)
        if (strcmp(tree_find_string(tree_at(conds, i), "", "type", NULL),
                   "MigrationNetworkReady") == 0)
            return strcmp(tree_find_string(tree_at(conds, i), "", "status", NULL), "False") == 0;
    return false;
}

/* The phase comes first, its condition a moment later. */
static bool
migration_waits(void *ctx)
{
    struct look *l = ctx;
    AUTO_TREE struct tree *m = sys_get(l->s, KIND_VMIM, "default", l->migration);

    return tree_len(tree_find(m, "status", "conditions", NULL)) > 0;
}

/* The only possible target has lost its address in the migration network: the node says so, and the
 * migration waits with that reason instead of using the management network. */
static void
no_address_no_migration(struct sys *s)
{
    AUTO_FREE char *from = node_of(s, "slow");
    const char *to = strcmp(from, "n1") == 0 ? "n2" : "n1";
    struct look l = {.s = s, .vm = to, .migration = "m-cut"};
    AUTO_TREE struct tree *m = NULL;
    AUTO_SB struct sb text = SB_INIT;
    struct err err = {0};

    if (dev_node_call(s->c, to, cut_network, NULL, &err) != 0)
        sys_die(s, "cut: %s", err_msg(&err));
    sys_wait(s, 20, "the node says that its migration network is broken", node_says_broken, &l);
    migrate(s, "slow", "m-cut");
    expect_phase(s, "m-cut", "Scheduling", 20);
    sys_wait(s, 20, "the waiting migration says what for", migration_waits, &l);
    m = sys_get(s, KIND_VMIM, "default", "m-cut");
    tree_to_json(tree_find(m, "status", "conditions", NULL), 0, &text);
    printf("  m-cut: %s\n", sb_str(&text));
    if (!strstr(sb_str(&text), "migration network"))
        sys_die(s, "the waiting migration does not name the migration network");
    if (client_delete(s->client, kind_info(KIND_VMIM), "default", "m-cut", NULL, &err) != 0)
        sys_die(s, "delete: %s", err_msg(&err));
    sys_wait(s, 20, "the migration is gone", migration_gone, &l);
    expect_unmoved(s, "slow", from);
}

int
main(void)
{
    static const char *const handler_args[] = {"--migration-bandwidth", "24Mi", NULL};
    static struct sys s; /* until after main: it is torn down at exit */

    sys_up_with(&s, 2, handler_args);
    sys_apply(&s, world);
    bandwidth_is_kept(&s);
    completion_timeout_aborts(&s);
    deleting_cancels(&s);
    node_cap_is_shared(&s);
    figures_are_there(&s);
    no_address_no_migration(&s);
    return 0;
}
