/* A link of the migration network flaps ten times while a VM of 2 GiB moves, pre-copy and post-copy:
 * at moments that its progress gives, by turns the source's cable and the target's. Every other time it comes back when the node has said so; the other times not before the
 * source has given its connections up. Nothing is lost: the migration succeeds, every byte of the guest
 * is right, and the node's condition has followed each time. */
#include <stdlib.h>
#include <string.h>

#include "api/names.h"
#include "api/object.h"
#include "tests/system/network.h"

#define FLAPS      10
#define FILL_BYTES (INT64_C(1984) << 20)

static const char vm_yaml[] =
    "apiVersion: kubevirt.io/v1\n"
    "kind: VirtualMachine\n"
    "metadata: {name: " NETWORK_VM ", namespace: default}\n"
    "spec:\n"
    "  runStrategy: Always\n"
    "  template:\n"
    "    metadata:\n"
    "      labels: {test: network}\n"
    "      annotations: {drover.io/workload: mix, drover.io/workload-rate: 2Mi,\n"
    "        drover.io/workload-set: 32Mi, drover.io/workload-fill: 1984Mi}\n"
    "    spec:\n"
    "      domain: {cpu: {cores: 1}, memory: {guest: 2Gi}, devices: {}}\n";

struct flap {
    struct sys *s;
    struct network_move m;
    bool post_copy;
    char from[64], node[64]; /* node: whose link it is */
    const char *want;        /* the condition's status */
    int64_t moved_bytes;     /* so much must have arrived, or been sent */
    const char *word;        /* of the decision log */
    unsigned times;          /* that it must have been said */
};

static struct tree *
annotation(struct flap *f, const char *key)
{
    AUTO_TREE struct tree *obj = sys_get(f->s, KIND_VMIM, "default", f->m.name);
    const char *json = obj ? object_annotation(obj, key) : NULL;
    struct tree *t = NULL;

    if (!json || tree_from_json(json, strlen(json), &t, NULL) != 0)
        return NULL;
    return t;
}

static void
must_run(struct flap *f)
{
    network_move_look(f->s, &f->m);
    if (network_move_over(&f->m))
        sys_die(f->s, "%s is over before all flaps were: %s %s", f->m.name, f->m.phase,
                f->m.failure);
}

static bool
has_moved(void *ctx)
{
    struct flap *f = ctx;
    AUTO_TREE struct tree *t = annotation(f, ANN_MIGRATION_PROGRESS);
    const struct tree *missing = tree_get(t, "missingBytes");

    must_run(f);
    if (f->post_copy)
        return missing && tree_get_int(missing, 0) <= FILL_BYTES - f->moved_bytes;
    return tree_get_int(tree_get(t, "sentBytes"), 0) >= f->moved_bytes;
}

static unsigned
said(struct flap *f, const char *word)
{
    AUTO_TREE struct tree *t = annotation(f, ANN_MIGRATION_DECISIONS);
    unsigned n = 0;

    for (size_t i = 0; i < tree_len(t); i++)
        n += strstr(tree_find_string(tree_at(t, i), "", "text", NULL), word) != NULL;
    return n;
}

static bool
was_said(void *ctx)
{
    struct flap *f = ctx;

    must_run(f);
    return said(f, f->word) >= f->times;
}

static bool
condition_follows(void *ctx)
{
    struct flap *f = ctx;

    return network_is(f->s, f->node, f->want, NULL);
}

static void
wait_said(struct flap *f, const char *word, unsigned times)
{
    f->word = word;
    f->times = times;
    sys_wait(f->s, 60, word, was_said, f);
}

/* The cable between the node and its switch: an interface that is set down at the node its handler
 * brings up again. */
static void
set_link(struct flap *f, const char *state)
{
    network_ip(f->s, NULL, "link set mig%c %s", f->node[1], state);
}

static void
one(struct sys *s, bool post_copy)
{
    struct flap f = {.s = s, .post_copy = post_copy};
    char to[64], text[1024];
    unsigned lost = 0;

    network_policy(s, post_copy, "160Mi");
    network_vm_node(s, f.from, sizeof f.from);
    snprintf(to, sizeof to, "%s", strcmp(f.from, "n1") == 0 ? "n2" : "n1");
    network_move_start(s, post_copy ? "post-copy" : "pre-copy", &f.m);
    for (unsigned i = 1; i <= FLAPS; i++) {
        bool source = i % 4 < 2, until_lost = i % 2 == 0;

        memcpy(f.node, source ? f.from : to, sizeof f.node);
        f.moved_bytes = FILL_BYTES / (FLAPS + 1) * i;
        sys_wait(s, 120, "so much has moved", has_moved, &f);
        lost = said(&f, "the connection is lost");
        set_link(&f, "down");
        f.want = "False";
        sys_wait(s, 20, "the condition says that the network is down", condition_follows, &f);
        if (until_lost)
            wait_said(&f, "the connection is lost", lost + 1);
        set_link(&f, "up");
        f.want = "True";
        sys_wait(s, 20, "the condition says that the network is back", condition_follows, &f);
        if (until_lost)
            wait_said(&f, "and made again after", lost + 1);
    }
    network_move_wait(s, &f.m, 180);
    if (strcmp(f.m.phase, "Succeeded") != 0)
        sys_die(s, "%s: %s", f.m.name, f.m.failure);
    network_vm_node(s, f.node, sizeof f.node);
    if (strcmp(f.node, to) != 0)
        sys_die(s, "%s succeeded, but the VM is on %s", f.m.name, f.node);
    if (!sys_verify(s, "default", NETWORK_VM, text, sizeof text))
        sys_die(s, "%s: memory: %s", f.m.name, text);
    printf("  %s of 2 GiB, %u flaps, connections lost and made again %u times: Succeeded, memory "
           "right\n",
           f.m.name, FLAPS, said(&f, "and made again after"));
    fflush(stdout);
}

static bool
vm_runs(void *ctx)
{
    char buf[32];

    return strcmp(sys_phase(ctx, KIND_VMI, "default", NETWORK_VM, buf, sizeof buf), "Running") == 0;
}

int
main(void)
{
    static struct sys s; /* until after main: it is torn down at exit */

    sys_up(&s, 2);
    network_up(&s);
    sys_apply(&s, vm_yaml);
    sys_wait(&s, 90, "the VM runs", vm_runs, &s);
    for (int post_copy = 0; post_copy < 2; post_copy++)
        one(&s, post_copy);
    return 0;
}
