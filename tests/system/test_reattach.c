/* liveMigrationConfig.network is changed while a VM moves. One that runs finishes over the network that it
 * began on, and the handlers attach to the new one afterwards. One that is cut off goes on over the new
 * one, pre-copy and post-copy. One that has nowhere to go fails, says which network, and the VM runs on
 * where it was. */
#include <stdlib.h>
#include <string.h>

#include "api/names.h"
#include "api/object.h"
#include "tests/system/network.h"

#define FIRST  "migration-network"
#define SECOND "second-network"
#define RANGE  "198.18.2." /* of the second */

static const char second_yaml[] =
    "apiVersion: k8s.cni.cncf.io/v1\n"
    "kind: NetworkAttachmentDefinition\n"
    "metadata: {name: " SECOND ", namespace: " NETWORK_NS "}\n"
    "spec:\n"
    "  config: '{\"cniVersion\": \"0.3.1\", \"name\": \"second\", \"type\": \"macvlan\",\n"
    "    \"master\": \"eth2\", \"mode\": \"bridge\",\n"
    "    \"ipam\": {\"type\": \"whereabouts\", \"range\": \"" RANGE "0/24\"}}'\n";

struct act {
    struct sys *s;
    struct network_move m;
    const char *network; /* that the nodes are to be attached to */
    bool post_copy;
};

static bool
in_the_midst(void *ctx)
{
    struct act *a = ctx;
    AUTO_TREE struct tree *vmi = sys_get(a->s, KIND_VMI, "default", NETWORK_VM);
    AUTO_TREE struct tree *m = sys_get(a->s, KIND_VMIM, "default", a->m.name), *t = NULL;
    const char *json = m ? object_annotation(m, ANN_MIGRATION_PROGRESS) : NULL;

    network_move_look(a->s, &a->m);
    if (network_move_over(&a->m))
        sys_die(a->s, "%s is over too soon: %s %s", a->m.name, a->m.phase, a->m.failure);
    if (a->post_copy &&
        !tree_get_bool(tree_find(vmi, "status", "migrationState", "targetNodeDomainDetected", NULL),
                       false))
        return false;
    return json && tree_from_json(json, strlen(json), &t, NULL) == 0 &&
           tree_get_int(tree_get(t, "sentBytes"), 0) > 4 << 20;
}

static bool
attached(void *ctx)
{
    struct act *a = ctx;

    for (size_t i = 0; i < 2; i++) {
        struct network_state st;

        network_state(a->s, a->s->c->nodes[i].name, &st);
        if (strcmp(st.status, "True") != 0 || !strstr(st.message, a->network))
            return false;
    }
    return true;
}

static bool
is_over(void *ctx)
{
    struct act *a = ctx;

    network_move_look(a->s, &a->m);
    return network_move_over(&a->m);
}

static bool
held(void *ctx)
{
    struct act *a = ctx;

    return network_is(a->s, "n1", "False", "Reattaching") &&
           network_is(a->s, "n2", "False", "Reattaching");
}

static void
cable(struct sys *s, const char *state)
{
    network_ip(s, NULL, "link set mig1 %s", state);
    network_ip(s, NULL, "link set mig2 %s", state);
}

static void
begin(struct act *a, const char *name, bool post_copy)
{
    a->post_copy = post_copy;
    network_policy(a->s, post_copy, "16Mi");
    network_move_start(a->s, name, &a->m);
    sys_wait(a->s, 40, "the migration is in the midst of it", in_the_midst, a);
}

static void
finish(struct act *a, const char *what, bool moved)
{
    char text[1024];

    if (!sys_poll(120, is_over, a))
        sys_die(a->s, "%s: %s is %s after two minutes", what, a->m.name, a->m.phase);
    if (strcmp(a->m.phase, "Succeeded") != 0)
        sys_die(a->s, "%s: %s", what, a->m.failure);
    if (moved != (strncmp(a->m.address, RANGE, strlen(RANGE)) == 0))
        sys_die(a->s, "%s: it ended at %s", what, a->m.address);
    if (!sys_verify(a->s, "default", NETWORK_VM, text, sizeof text))
        sys_die(a->s, "%s: memory: %s", what, text);
    printf("  %s: Succeeded at %s, memory right\n", what, a->m.address);
    fflush(stdout);
}

static void
attach(struct act *a, const char *network)
{
    network_choose(a->s, network);
    a->network = network;
    sys_wait(a->s, 60, network, attached, a);
}

/* The handlers hold the old one for as long as it is in use. */
static void
finishes(struct act *a)
{
    begin(a, "runs", false);
    network_choose(a->s, SECOND);
    sys_wait(a->s, 10, "the handlers hold the network that is in use", held, a);
    finish(a, "the network is changed under a running pre-copy", false);
    attach(a, SECOND);
    attach(a, FIRST);
}

static void
moves(struct act *a, bool post_copy)
{
    const char *what = post_copy ? "a post-copy that is cut off" : "a pre-copy that is cut off";

    begin(a, post_copy ? "post-copy" : "pre-copy", post_copy);
    cable(a->s, "down");
    attach(a, SECOND);
    finish(a, what, true);
    cable(a->s, "up");
    attach(a, FIRST);
}

static void
has_nowhere_to_go(struct act *a)
{
    char from[64], at[64], text[1024];

    network_vm_node(a->s, from, sizeof from);
    begin(a, "nowhere", false);
    cable(a->s, "down");
    network_choose(a->s, "no-such-network");
    if (!sys_poll(90, is_over, a))
        sys_die(a->s, "%s is %s after 90 s", a->m.name, a->m.phase);
    network_vm_node(a->s, at, sizeof at);
    if (strcmp(a->m.phase, "Failed") != 0 || strcmp(at, from) != 0 ||
        !strstr(a->m.failure, "the migration network: ") ||
        !strstr(a->m.failure, "no-such-network"))
        sys_die(a->s, "nowhere to go: %s, the VM is on %s: %s", a->m.phase, at, a->m.failure);
    if (!sys_verify(a->s, "default", NETWORK_VM, text, sizeof text))
        sys_die(a->s, "nowhere to go: memory: %s", text);
    printf("  nowhere to go: Failed (%s), the VM runs on\n", a->m.failure);
    cable(a->s, "up");
    attach(a, FIRST);
}

int
main(void)
{
    static struct sys s; /* until after main: it is torn down at exit */
    struct act a = {.s = &s};

    sys_up(&s, 2);
    network_spare(&s);
    network_up(&s);
    sys_apply(&s, second_yaml);
    network_vm(&s);
    finishes(&a);
    moves(&a, false);
    moves(&a, true);
    has_nowhere_to_go(&a);
    return 0;
}
