/* liveMigrationConfig.network is changed to a second network, unset and set again: handlers re-attach without
 * being restarted, migrations go over the network that holds when they start, and one that runs
 * meanwhile ends well. */
#include <string.h>

#include "tests/system/network.h"

static const char second[] =
    "apiVersion: k8s.cni.cncf.io/v1\n"
    "kind: NetworkAttachmentDefinition\n"
    "metadata: {name: second, namespace: " NETWORK_NS "}\n"
    "spec:\n"
    "  config: '{\"cniVersion\": \"0.3.1\", \"name\": \"second\", \"type\": \"macvlan\",\n"
    "    \"master\": \"eth2\", \"ipam\": {\"type\": \"whereabouts\", \"range\": "
    "\"198.18.5.0/24\"}}'\n";

/* A choice, what the nodes say of it, and where migrations go then. */
struct choice {
    const char *ref, *reason, *says, *address;
};
static const struct choice first = {"migration-network", "AddressFound",
                                    NETWORK_NS "/migration-network", "10.200.5."},
                           other = {NETWORK_NS "/second", "AddressFound", NETWORK_NS "/second",
                                    "198.18.5."},
                           none = {NULL, "NoDedicatedNetwork", "management network", "198.18.0."};

struct attached {
    struct sys *s;
    const struct choice *c;
};

static bool
all_attached(void *ctx)
{
    struct attached *a = ctx;

    for (size_t i = 0; i < a->s->c->nodes_len; i++) {
        struct network_state st;

        network_state(a->s, a->s->c->nodes[i].name, &st);
        if (strcmp(st.status, "True") != 0 || strcmp(st.reason, a->c->reason) != 0 ||
            !strstr(st.message, a->c->says))
            return false;
    }
    return true;
}

static bool
interface_is_gone(void *ctx)
{
    struct sys *s = ctx;
    struct nl_counters k;

    for (size_t i = 0; i < s->c->nodes_len; i++)
        if (dev_counters(s->c, s->c->nodes[i].name, "migration0", &k, NULL) == 0)
            return false;
    return true;
}

/* The same network, named by a KubeVirt object, as where there is no HyperConverged. */
static void
attach_by_kubevirt(struct sys *s, const struct choice *c)
{
    struct attached a = {s, c};
    struct err err = {0};

    if (client_delete(s->client, kind_info(KIND_HCO), NETWORK_NS, "kubevirt-hyperconverged", NULL,
                      &err) != 0)
        sys_die(s, "delete the HyperConverged: %s", err_msg(&err));
    sys_apply(s,
              "apiVersion: v1\nkind: Namespace\nmetadata: {name: kubevirt}\n---\n"
              "apiVersion: kubevirt.io/v1\nkind: KubeVirt\n"
              "metadata: {name: kubevirt, namespace: kubevirt}\n"
              "spec: {configuration: {migrations: {network: openshift-cnv/migration-network}}}\n");
    sys_wait(s, 20, "the network that a KubeVirt object names", all_attached, &a);
}

static void
attach(struct sys *s, const struct choice *c)
{
    struct attached a = {s, c};

    network_choose(s, c->ref);
    sys_wait(s, 20, c->ref ? c->ref : "no dedicated network", all_attached, &a);
    if (!c->ref)
        sys_wait(s, 20, "migration0, which the handlers made, to go", interface_is_gone, s);
}

static void
succeeded_over(struct sys *s, const struct network_move *m, const struct choice *c)
{
    char text[1024];

    if (strcmp(m->phase, "Succeeded") != 0)
        sys_die(s, "%s: %s: %s", m->name, m->phase, m->failure);
    if (strncmp(m->address, c->address, strlen(c->address)) != 0)
        sys_die(s, "%s went to %s, want %s*", m->name, m->address, c->address);
    if (c->ref ? !strstr(m->network, c->ref) : m->network[0] != '\0')
        sys_die(s, "%s says that its network was \"%s\"", m->name, m->network);
    if (!sys_verify(s, "default", NETWORK_VM, text, sizeof text))
        sys_die(s, "%s: memory: %s", m->name, text);
    printf("  %s: %s to %s, network %s\n", m->name, m->phase, m->address,
           m->network[0] ? m->network : "none");
    fflush(stdout);
}

static void
move(struct sys *s, const char *name, const struct choice *c)
{
    struct network_move m;

    network_move_start(s, name, &m);
    network_move_wait(s, &m, 40);
    succeeded_over(s, &m, c);
}

struct running {
    struct sys *s;
    struct network_move m;
};

static bool
is_running(void *ctx)
{
    struct running *r = ctx;

    network_move_look(r->s, &r->m);
    if (network_move_over(&r->m))
        sys_die(r->s, "%s is over too soon: %s", r->m.name, r->m.failure);
    return strcmp(r->m.phase, "Running") == 0;
}

int
main(void)
{
    static struct sys s; /* until after main: it is torn down at exit */
    struct running slow = {.s = &s};
    struct attached a = {&s, &other};

    sys_up(&s, 2);
    network_spare(&s);
    sys_apply(&s, second);
    network_up(&s);
    network_vm(&s);
    network_policy(&s, false, "0");
    move(&s, "over-the-first", &first);
    attach(&s, &other);
    move(&s, "over-the-second", &other);
    attach(&s, &none);
    move(&s, "over-management", &none);
    attach(&s, &first);
    move(&s, "over-the-first-again", &first);

    network_policy(&s, false, "32Mi");
    network_move_start(&s, "meanwhile", &slow.m);
    sys_wait(&s, 20, "it runs", is_running, &slow);
    network_choose(&s, other.ref);
    network_move_wait(&s, &slow.m, 60);
    sys_wait(&s, 20, "the second network", all_attached, &a);
    if (strncmp(slow.m.address, other.address, strlen(other.address)) == 0)
        succeeded_over(&s, &slow.m, &other); /* it moved at a round's end */
    else
        succeeded_over(&s, &slow.m, &first);
    network_policy(&s, false, "0");
    move(&s, "after-it", &other);
    attach_by_kubevirt(&s, &first);
    move(&s, "named-by-kubevirt", &first);
    for (size_t i = 0; i < s.c->nodes_len; i++)
        if (!dev_proc_alive(&s.c->nodes[i].handler))
            sys_die(&s, "the handler of %s was restarted", s.c->nodes[i].name);
    printf("  the handlers are the same processes as at first\n");
    return 0;
}
