/* See network.h. */
#include "tests/system/network.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "api/names.h"
#include "api/object.h"

static const char objects[] =
    "apiVersion: k8s.cni.cncf.io/v1\n"
    "kind: NetworkAttachmentDefinition\n"
    "metadata: {name: migration-network, namespace: " NETWORK_NS "}\n"
    "spec:\n"
    "  config: '{\"cniVersion\": \"0.3.1\", \"name\": \"migration-bridge\", \"type\": "
    "\"macvlan\",\n"
    "    \"master\": \"eth1\", \"mode\": \"bridge\", \"mtu\": 1500,\n"
    "    \"ipam\": {\"type\": \"whereabouts\", \"range\": \"" DEV_NET_MIG "\"}}'\n"
    "---\n"
    "apiVersion: hco.kubevirt.io/v1beta1\n"
    "kind: HyperConverged\n"
    "metadata: {name: kubevirt-hyperconverged, namespace: " NETWORK_NS "}\n"
    "spec: {liveMigrationConfig: {network: migration-network}}\n";
static const char vm[] =
    "apiVersion: kubevirt.io/v1\n"
    "kind: VirtualMachine\n"
    "metadata: {name: " NETWORK_VM ", namespace: default}\n"
    "spec:\n"
    "  runStrategy: Always\n"
    "  template:\n"
    "    metadata:\n"
    "      labels: {test: network}\n"
    "      annotations: {drover.io/workload: mix, drover.io/workload-rate: 4Mi,\n"
    "        drover.io/workload-set: 16Mi, drover.io/workload-fill: 96Mi}\n"
    "    spec:\n"
    "      domain: {cpu: {cores: 2}, memory: {guest: 128Mi}, devices: {}}\n";
static const char policy[] = "apiVersion: migrations.kubevirt.io/v1alpha1\n"
                             "kind: MigrationPolicy\n"
                             "metadata: {name: network%s}\n"
                             "spec:\n"
                             "  allowPostCopy: %s\n"
                             "  bandwidthPerMigration: %s\n"
                             "  selectors: {virtualMachineInstanceSelector: {test: network}}\n";

static bool
all_ready(void *ctx)
{
    struct sys *s = ctx;

    for (size_t i = 0; i < s->c->nodes_len; i++)
        if (!network_is(s, s->c->nodes[i].name, "True", "AddressFound"))
            return false;
    return true;
}

void
network_up(struct sys *s)
{
    struct err err = {0};

    sys_apply(s, objects);
    sys_wait(s, 20, "the migration network on all nodes", all_ready, s);
    if (dev_wait_ready(s->c, 0, NULL, &err) != 0) /* and where the nodes are on it */
        sys_die(s, "%s", err_msg(&err));
}

void
network_spare(struct sys *s)
{
    network_ip(s, NULL, "link add br-spare type bridge");
    network_ip(s, NULL, "link set br-spare up");
    for (size_t i = 0; i < s->c->nodes_len; i++) {
        const struct dev_node *n = &s->c->nodes[i];

        network_ip(s, NULL, "link add spare%zu type veth peer name eth2 netns %s", i, n->netns);
        network_ip(s, NULL, "link set spare%zu master br-spare up", i);
        network_ip(s, n->name, "addr add 198.18.1.%zu/24 dev eth2", i + 1);
        network_ip(s, n->name, "link set eth2 up");
    }
}

void
network_choose(struct sys *s, const char *ref)
{
    AUTO_TREE struct tree *patch = tree_map();
    struct err err = {0};

    tree_set_path(patch, ref ? tree_string(ref) : tree_null(), "spec", "liveMigrationConfig",
                  "network", NULL);
    if (client_patch(s->client, kind_info(KIND_HCO), NETWORK_NS, "kubevirt-hyperconverged", NULL,
                     patch, NULL, &err) != 0)
        sys_die(s, "liveMigrationConfig.network: %s", err_msg(&err));
}

static bool
vm_runs(void *ctx)
{
    char buf[32];

    return strcmp(sys_phase(ctx, KIND_VMI, "default", NETWORK_VM, buf, sizeof buf), "Running") == 0;
}

void
network_vm(struct sys *s)
{
    sys_apply(s, vm);
    sys_wait(s, 30, "the VM runs", vm_runs, s);
}

void
network_policy(struct sys *s, bool post_copy, const char *bandwidth)
{
    struct err err = {0};
    AUTO_FREE char *yaml =
        xasprintf(policy, post_copy ? ", annotations: {drover.io/post-copy: immediate}" : "",
                  post_copy ? "true" : "false", bandwidth);

    (void)client_delete(s->client, kind_info(KIND_POLICY), NULL, "network", NULL, &err);
    sys_apply(s, yaml);
}

void
network_state(struct sys *s, const char *node, struct network_state *ret)
{
    AUTO_TREE struct tree *obj = sys_get(s, KIND_NODE, NULL, node);
    const struct tree *c = object_condition(obj, COND_MIGRATION_NETWORK);

    snprintf(ret->status, sizeof ret->status, "%s", tree_find_string(c, "", "status", NULL));
    snprintf(ret->reason, sizeof ret->reason, "%s", tree_find_string(c, "", "reason", NULL));
    snprintf(ret->message, sizeof ret->message, "%s", tree_find_string(c, "", "message", NULL));
}

bool
network_is(struct sys *s, const char *node, const char *status, const char *reason)
{
    struct network_state st;

    network_state(s, node, &st);
    return strcmp(st.status, status) == 0 &&
           (reason ? strcmp(st.reason, reason) == 0 : strcmp(st.reason, "NoDedicatedNetwork") != 0);
}

void
network_move_start(struct sys *s, const char *name, struct network_move *ret)
{
    AUTO_TREE struct tree *m = tree_map();
    struct err err = {0};

    *ret = (struct network_move){0};
    snprintf(ret->name, sizeof ret->name, "%s", name);
    tree_set(m, "apiVersion", tree_string("kubevirt.io/v1"));
    tree_set(m, "kind", tree_string("VirtualMachineInstanceMigration"));
    tree_set_path(m, tree_string(name), "metadata", "name", NULL);
    tree_set_path(m, tree_string("default"), "metadata", "namespace", NULL);
    tree_set_path(m, tree_string(NETWORK_VM), "spec", "vmiName", NULL);
    if (client_create(s->client, kind_info(KIND_VMIM), "default", m, NULL, &err) != 0)
        sys_die(s, "%s: %s", name, err_msg(&err));
}

void
network_move_look(struct sys *s, struct network_move *m)
{
    AUTO_TREE struct tree *obj = sys_get(s, KIND_VMIM, "default", m->name);
    const struct tree *state = tree_find(obj, "status", "migrationState", NULL);
    const struct tree *waits = object_condition(obj, "Waiting");
    bool waiting = strcmp(tree_find_string(waits, "", "status", NULL), "True") == 0;

    snprintf(m->phase, sizeof m->phase, "%s", tree_find_string(obj, "", "status", "phase", NULL));
    snprintf(m->waits, sizeof m->waits, "%s",
             waiting ? tree_find_string(waits, "", "message", NULL) : "");
    snprintf(m->failure, sizeof m->failure, "%s",
             tree_find_string(state, "", "failureReason", NULL));
    snprintf(m->target, sizeof m->target, "%s", tree_find_string(state, "", "targetNode", NULL));
    snprintf(m->network, sizeof m->network, "%s",
             tree_find_string(state, "", "migrationConfiguration", "network", NULL));
    snprintf(m->address, sizeof m->address, "%s",
             tree_find_string(state, "", "targetNodeAddress", NULL));
}

bool
network_move_over(const struct network_move *m)
{
    return strcmp(m->phase, "Succeeded") == 0 || strcmp(m->phase, "Failed") == 0;
}

struct waited {
    struct sys *s;
    struct network_move *m;
};

static bool
is_over(void *ctx)
{
    struct waited *w = ctx;

    network_move_look(w->s, w->m);
    return network_move_over(w->m);
}

void
network_move_wait(struct sys *s, struct network_move *m, unsigned seconds)
{
    struct waited w = {s, m};

    if (!sys_poll(seconds, is_over, &w))
        sys_die(s, "%s is %s after %u s: %s", m->name, m->phase, seconds, m->waits);
}

void
network_vm_node(struct sys *s, char *buf, size_t size)
{
    AUTO_TREE struct tree *vmi = sys_get(s, KIND_VMI, "default", NETWORK_VM);

    snprintf(buf, size, "%s", tree_find_string(vmi, "", "status", "nodeName", NULL));
}

void
network_ip(struct sys *s, const char *node, const char *fmt, ...)
{
    AUTO_SB struct sb cmd = SB_INIT;
    va_list ap;

    sb_printf(&cmd, "ip netns exec %s ip ",
              node ? dev_cluster_node(s->c, node)->netns : s->c->netns);
    va_start(ap, fmt);
    sb_vprintf(&cmd, fmt, ap);
    va_end(ap);
    if (system(sb_str(&cmd)) != 0) /* NOLINT(cert-env33-c): a test's own words */
        sys_die(s, "%s", sb_str(&cmd));
}
