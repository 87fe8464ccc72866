/* The network fails while a VM moves: the interface of a node goes down, with everything that runs over
 * it (the migration's connections, the controller's), and comes back. Pre-copy goes on, post-copy's guest
 * waits for missing pages only, and every byte is right in the end. */
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "api/names.h"
#include "api/object.h"
#include "tests/system/cluster.h"

#define VM "t"
#define NS "default"

static const char vm_yaml[] =
    "apiVersion: kubevirt.io/v1\n"
    "kind: VirtualMachine\n"
    "metadata: {name: t, namespace: default}\n"
    "spec:\n"
    "  runStrategy: Always\n"
    "  template:\n"
    "    metadata:\n"
    "      labels: {test: cut}\n"
    "      annotations: {drover.io/workload: mix, drover.io/workload-rate: 4Mi,\n"
    "        drover.io/workload-set: 16Mi, drover.io/workload-fill: 96Mi}\n"
    "    spec:\n"
    "      domain: {cpu: {cores: 2}, memory: {guest: 128Mi}, devices: {}}\n";
static const char policy_yaml[] = "apiVersion: migrations.kubevirt.io/v1alpha1\n"
                                  "kind: MigrationPolicy\n"
                                  "metadata: {name: cut%s}\n"
                                  "spec:\n"
                                  "  allowPostCopy: %s\n"
                                  "  bandwidthPerMigration: 16Mi\n"
                                  "  selectors: {virtualMachineInstanceSelector: {test: cut}}\n";

struct cut {
    struct sys *s;
    char migration[32], from[64], owner[64], phase[32];
    bool post_copy;
};

static void
look(struct cut *c)
{
    AUTO_TREE struct tree *vmi = sys_get(c->s, KIND_VMI, NS, VM);
    AUTO_TREE struct tree *m = sys_get(c->s, KIND_VMIM, NS, c->migration);

    snprintf(c->owner, sizeof c->owner, "%s",
             tree_find_string(vmi, "", "status", "nodeName", NULL));
    snprintf(c->phase, sizeof c->phase, "%s", tree_find_string(m, "", "status", "phase", NULL));
}

static bool
vm_runs(void *ctx)
{
    struct cut *c = ctx;
    char buf[32];

    return strcmp(sys_phase(c->s, KIND_VMI, NS, VM, buf, sizeof buf), "Running") == 0;
}

/* So far that a cut hits the middle of it: some memory has gone, or the guest runs at the target. */
static bool
in_the_midst(void *ctx)
{
    struct cut *c = ctx;
    AUTO_TREE struct tree *vmi = sys_get(c->s, KIND_VMI, NS, VM);
    AUTO_TREE struct tree *m = sys_get(c->s, KIND_VMIM, NS, c->migration);

    if (c->post_copy)
        return tree_get_bool(
            tree_find(vmi, "status", "migrationState", "targetNodeDomainDetected", NULL), false);
    return object_annotation(m, ANN_MIGRATION_PROGRESS) != NULL;
}

static bool
succeeded(void *ctx)
{
    struct cut *c = ctx;

    look(c);
    if (strcmp(c->phase, "Failed") == 0)
        sys_die(c->s, "%s failed", c->migration);
    return strcmp(c->phase, "Succeeded") == 0;
}

static void
link_is(struct sys *s, const char *node, const char *state)
{
    struct dev_node *n = dev_cluster_node(s->c, node);
    AUTO_FREE char *cmd = xasprintf("ip netns exec %s ip link set mgmt0 %s", n->netns, state);

    if (system(cmd) != 0) /* NOLINT(cert-env33-c): a test's own words */
        sys_die(s, "%s", cmd);
}

/* Down for so long that both ends know it, then up again. */
static void
one(struct sys *s, bool post_copy, bool source, unsigned n)
{
    struct cut c = {.s = s, .post_copy = post_copy};
    AUTO_TREE struct tree *m = tree_map();
    struct err err = {0};
    char text[1024], to[64];
    const char *victim;

    look(&c);
    memcpy(c.from, c.owner, sizeof c.from);
    snprintf(to, sizeof to, "%s", strcmp(c.from, "n1") == 0 ? "n2" : "n1");
    victim = source ? c.from : to;
    snprintf(c.migration, sizeof c.migration, "m%u", n);
    tree_set(m, "apiVersion", tree_string("kubevirt.io/v1"));
    tree_set(m, "kind", tree_string("VirtualMachineInstanceMigration"));
    tree_set_path(m, tree_string(c.migration), "metadata", "name", NULL);
    tree_set_path(m, tree_string(NS), "metadata", "namespace", NULL);
    tree_set_path(m, tree_string(VM), "spec", "vmiName", NULL);
    if (client_create(s->client, kind_info(KIND_VMIM), NS, m, NULL, &err) != 0)
        sys_die(s, "%s: %s", c.migration, err_msg(&err));
    sys_wait(s, 40, "the migration is in the midst of it", in_the_midst, &c);
    link_is(s, victim, "down");
    poll(NULL, 0, 3000); /* the time that the link is away: nothing to wait for */
    link_is(s, victim, "up");
    sys_wait(s, 90, "it goes on and succeeds", succeeded, &c);
    if (strcmp(c.owner, to) != 0)
        sys_die(s, "%s succeeded, but the VM is on %s", c.migration, c.owner);
    if (!sys_verify(s, NS, VM, text, sizeof text))
        sys_die(s, "%s: memory: %s", c.migration, text);
    printf("  %s, the %s node's link away for 3 s: Succeeded, memory right\n",
           post_copy ? "post-copy" : "pre-copy", source ? "source" : "target");
    fflush(stdout);
}

static void
policy(struct sys *s, bool post_copy)
{
    struct err err = {0};
    AUTO_FREE char *yaml =
        xasprintf(policy_yaml, post_copy ? ", annotations: {drover.io/post-copy: immediate}" : "",
                  post_copy ? "true" : "false");

    (void)client_delete(s->client, kind_info(KIND_POLICY), NULL, "cut", NULL, &err);
    sys_apply(s, yaml);
}

int
main(void)
{
    static struct sys s; /* until after main: it is torn down at exit */
    struct cut c = {.s = &s};
    unsigned n = 0;

    sys_up(&s, 2);
    sys_apply(&s, vm_yaml);
    sys_wait(&s, 30, "the VM runs", vm_runs, &c);
    for (int post_copy = 1; post_copy >= 0; post_copy--) {
        policy(&s, post_copy);
        for (int source = 0; source < 2; source++)
            one(&s, post_copy, source, ++n);
    }
    return 0;
}
