/* A policy that cuts its host off from the controller is undone by the handler itself, is said to have
 * failed, and is not tried again; the other host never notices. One that is plainly wrong is refused
 * before anything is done. */
#include <string.h>

#include "tests/system/network.h"

/* n2 takes the controller's own address: it talks to itself from then on. */
static const char cuts_off[] =
    "apiVersion: nmstate.io/v1\n"
    "kind: NodeNetworkConfigurationPolicy\n"
    "metadata: {name: cuts-off}\n"
    "spec:\n"
    "  nodeSelector: {kubernetes.io/hostname: n2}\n"
    "  desiredState: {interfaces: [{name: br9, type: linux-bridge, state: up,\n"
    "    ipv4: {enabled: true, address: [{ip: " DEV_NET_CONTROLLER ", prefix-length: 32}]}}]}\n";
static const char refused[] =
    "apiVersion: nmstate.io/v1\n"
    "kind: NodeNetworkConfigurationPolicy\n"
    "metadata: {name: refused}\n"
    "spec:\n"
    "  nodeSelector: {kubernetes.io/hostname: n2}\n"
    "  desiredState: {interfaces: [{name: mgmt0, type: ethernet, state: up,\n"
    "    ipv4: {enabled: true, address: [{ip: 198.18.9.9, prefix-length: 24}]}}]}\n";

struct outcome {
    struct sys *s;
    const char *enactment, *says;
    char message[1024];
};

static bool
has_failed(void *ctx)
{
    struct outcome *o = ctx;
    AUTO_TREE struct tree *e = sys_get(o->s, KIND_NNCE, NULL, o->enactment);
    const struct tree *list = tree_find(e, "status", "conditions", NULL);

    for (size_t i = 0; i < tree_len(list); i++) {
        const struct tree *c = tree_at(list, i);

        if (strcmp(tree_find_string(c, "", "type", NULL), "Failing") != 0 ||
            strcmp(tree_find_string(c, "", "status", NULL), "True") != 0)
            continue;
        snprintf(o->message, sizeof o->message, "%s", tree_find_string(c, "", "message", NULL));
        return strstr(o->message, o->says) != NULL;
    }
    return false;
}

static bool
has_link(struct sys *s, const char *name)
{
    struct nl_counters k;

    return dev_counters(s->c, "n2", name, &k, NULL) == 0;
}

static bool
bridge_is_there(void *ctx)
{
    return has_link(ctx, "br9");
}

int
main(void)
{
    static const char *const args[] = {"--network-probe-timeout", "2s", NULL};
    static struct sys s; /* until after main: it is torn down at exit */
    struct outcome cut = {.s = &s, .enactment = "n2.cuts-off", .says = "did not answer"};
    struct outcome no = {.s = &s, .enactment = "n2.refused", .says = "management address"};
    AUTO_TREE struct tree *other = NULL;

    sys_up_with(&s, 2, args);
    sys_apply(&s, cuts_off);
    sys_wait(&s, 20, "the bridge", bridge_is_there, &s);
    sys_wait(&s, 30, "the way back", has_failed, &cut);
    printf("  n2.cuts-off: %s\n", cut.message);
    if (has_link(&s, "br9"))
        sys_die(&s, "br9 is still there");
    other = sys_get(&s, KIND_NNCE, NULL, "n1.cuts-off");
    if (other)
        sys_die(&s, "n1 was asked, too");

    sys_apply(&s, refused);
    sys_wait(&s, 20, "the refusal", has_failed, &no);
    printf("  n2.refused: %s\n", no.message);
    if (has_link(&s, "br9"))
        sys_die(&s, "what cut it off was tried again with the next policy");
    return 0;
}
