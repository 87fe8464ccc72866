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
    "  bandwidthPerMigration: 32Mi\n"
    "  selectors: {virtualMachineInstanceSelector: {speed: slow}}\n"
    "---\n"
    "apiVersion: migrations.kubevirt.io/v1alpha1\n"
    "kind: MigrationPolicy\n"
    "metadata: {name: hasty}\n"
    "spec:\n"
    "  bandwidthPerMigration: 16Mi\n"
    "  completionTimeoutPerGiB: 10\n"
    "  selectors: {virtualMachineInstanceSelector: {speed: hasty}}\n"
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

/* 56 MiB of random data at 32 MiB/s: 1.75 s; the bytes that were sent tell the rate. */
static void
bandwidth_is_kept(struct sys *s)
{
    AUTO_TREE struct tree *m = NULL, *r = NULL;
    const char *json;
    double rate, limit = 32.0 * 1024 * 1024;

    make_vm(s, "slow", "slow");
    migrate(s, "slow", "m-slow");
    expect_phase(s, "m-slow", "Succeeded", 30);
    m = sys_get(s, KIND_VMIM, "default", "m-slow");
    json = object_annotation(m, ANN_MIGRATION_RESULT);
    if (!json || tree_from_json(json, strlen(json), &r, NULL) != 0)
        sys_die(s, "no result is written on the migration");
    rate = (double)tree_get_int(tree_get(r, "sentBytes"), 0) * 1000.0 /
           (double)tree_get_int(tree_get(r, "totalMs"), 1);
    printf("  m-slow: %.1f MiB/s under a limit of 32, policy %s\n", rate / 1048576,
           tree_find_string(m, "", "status", "migrationState", "migrationPolicyName", NULL));
    if (rate > limit * 1.05 || rate < limit * 0.5)
        sys_die(s, "the limit of 32Mi a second was not kept");
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

static int
cut_network(void *ctx, struct err *err)
{
    (void)ctx;
    return nl_link_del("migration0", err);
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
    static struct sys s; /* until after main: it is torn down at exit */

    sys_up(&s, 2);
    sys_apply(&s, world);
    bandwidth_is_kept(&s);
    completion_timeout_aborts(&s);
    deleting_cancels(&s);
    no_address_no_migration(&s);
    return 0;
}
