/* The migration network and policies are made, changed and deleted in random order with a real
 * controller and real handlers, which are killed in between. After every few changes each host's
 * kernel has exactly what the objects of that moment ask for: the plan from it to them is empty. When all
 * objects are gone, each host is as it was at first.
 *     SEEDS=7 build/release/systest/test_network_random    one seed again
 *     SEEDS=1-100 CHANGES=200 ...                          a campaign */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "api/names.h"
#include "api/object.h"
#include "base/fs.h"
#include "base/rng.h"
#include "netpolicy/net_plan.h"
#include "netpolicy/net_want.h"
#include "netpolicy/nl_state.h"
#include "tests/system/network.h"

#define NODES  2
#define SETTLE 40 /* seconds: a handler that fails tries again later and later */

/* What may stand in each object; version 0: it is not there. */
#define NAD(name, rest)                                                                           \
    "{\"apiVersion\":\"k8s.cni.cncf.io/v1\",\"kind\":\"NetworkAttachmentDefinition\","            \
    "\"metadata\":{\"name\":\"" name "\",\"namespace\":\"" NETWORK_NS "\"},\"spec\":{\"config\":" \
    "\"{\\\"cniVersion\\\":\\\"0.3.1\\\",\\\"name\\\":\\\"" name "\\\"," rest "}\"}}"
#define MACVLAN(master, range, rest)                                                        \
    "\\\"type\\\":\\\"macvlan\\\",\\\"master\\\":\\\"" master "\\\"" rest ",\\\"ipam\\\":{" \
    "\\\"type\\\":\\\"whereabouts\\\",\\\"range\\\":\\\"" range "\\\"}"
#define ON_BRIDGE(range)                                                                     \
    "\\\"type\\\":\\\"cnv-bridge\\\",\\\"bridge\\\":\\\"br1\\\",\\\"ipam\\\":{\\\"type\\\":" \
    "\\\"whereabouts\\\",\\\"range\\\":\\\"" range "\\\"}"
#define NNCP(name, spec)                                                             \
    "{\"apiVersion\":\"nmstate.io/v1\",\"kind\":\"NodeNetworkConfigurationPolicy\"," \
    "\"metadata\":{\"name\":\"" name "\"},\"spec\":{" spec "}}"
#define DESIRED(interface) "\"desiredState\":{\"interfaces\":[{" interface "}]}"
#define BRIDGE(name, rest) \
    DESIRED("\"name\":\"" name "\",\"type\":\"linux-bridge\",\"state\":\"up\"" rest)

#define VERSIONS 3
static const struct thing {
    const char *name;
    enum kind kind;
    const char *versions[VERSIONS];
    bool refused; /* no host can have it: it must change nothing */
    bool n1_only; /* by its nodeSelector */
} things[] = {
    {"a",
     KIND_NAD,
     {NAD("a", MACVLAN("eth1", DEV_NET_MIG, "")),
      NAD("a", MACVLAN("eth1", DEV_NET_MIG, ",\\\"mtu\\\":1400")),
      NAD("a", MACVLAN("eth2", DEV_NET_MIG, ",\\\"mode\\\":\\\"private\\\""))},
     false,
     false},
    {"b",
     KIND_NAD,
     {NAD("b", MACVLAN("eth2", "198.18.5.0/24", "")),
      NAD("b", MACVLAN("eth2", "198.18.6.0/24", "")),
      NAD("b", MACVLAN("eth1", "198.18.5.0/24", ",\\\"mtu\\\":1280"))},
     false,
     false},
    {"br1",
     KIND_NNCP,
     {NNCP("br1", BRIDGE("br1", ",\"bridge\":{\"port\":[{\"name\":\"eth3\"}]}")),
      NNCP("br1", BRIDGE("br1", ",\"mtu\":1400,\"bridge\":{\"options\":{\"stp\":{\"enabled\":"
                                "true}},\"port\":[]}")),
      NNCP("br1",
           BRIDGE("br1", ",\"ipv4\":{\"enabled\":true,\"address\":[{\"ip\":\"198.18.20.1\","
                         "\"prefix-length\":24}]},\"bridge\":{\"port\":[{\"name\":\"eth3\"}]}"))},
     false,
     false},
    {"br2",
     KIND_NNCP,
     {NNCP("br2", "\"nodeSelector\":{\"pick\":\"me\"}," BRIDGE("br2", ",\"bridge\":{\"port\":[]}")),
      NNCP("br2", "\"nodeSelector\":{\"pick\":\"me\"}," BRIDGE("br2", ",\"mtu\":1300")),
      NNCP("br2", "\"nodeSelector\":{\"pick\":\"me\"},\"maxUnavailable\":2," BRIDGE("br3", ""))},
     false,
     true},
    {"eth2",
     KIND_NNCP,
     {NNCP("eth2",
           DESIRED("\"name\":\"eth2\",\"type\":\"ethernet\",\"state\":\"up\",\"mtu\":1490")),
      NNCP("eth2",
           DESIRED("\"name\":\"eth2\",\"type\":\"ethernet\",\"state\":\"up\",\"ipv4\":{"
                   "\"enabled\":true,\"address\":[{\"ip\":\"198.18.21.1\",\"prefix-length\":"
                   "24}]}")),
      NNCP("eth2", DESIRED("\"name\":\"mv0\",\"type\":\"mac-vlan\",\"state\":\"up\",\"mac-vlan\":{"
                           "\"base-iface\":\"eth2\",\"mode\":\"bridge\"}"))},
     false,
     false},
    {"wrong",
     KIND_NNCP,
     {NNCP("wrong", BRIDGE("br9", ",\"bridge\":{\"port\":[{\"name\":\"eth9\"}]}")),
      NNCP("wrong", DESIRED("\"name\":\"eth9\",\"type\":\"ethernet\",\"state\":\"up\"")),
      NNCP("wrong", DESIRED("\"name\":\"mv9\",\"type\":\"mac-vlan\",\"mac-vlan\":{"
                            "\"base-iface\":\"eth9\",\"mode\":\"bridge\"}"))},
     true,
     false},
};
#define THINGS (sizeof things / sizeof things[0])

static const char *const choices[] = {NULL, "a", "b"};

struct world {
    struct sys *s;
    struct rng rng;
    unsigned version[THINGS]; /* 0: not there */
    const char *choice;
    char why[512]; /* what is missing yet */
};

/* --- the host's side --- */

struct look {
    struct world *w;
    struct arena *a;
    size_t node;
    struct net_wants wants;
    char *why;
    size_t size;
};

/* The plan from what the namespace has to what the objects ask for: steps that are missing. */
static int
plan_here(void *ctx, struct err *err)
{
    struct look *l = ctx;
    const struct net_baseline none = {0};
    struct net_target target;
    struct net_state now;
    struct net_plan plan;
    const char *reason;
    int rc;

    if ((rc = nl_state_read(l->a, &now, err)) != 0 ||
        (rc = net_compose(&now, &none, &l->wants, NULL, l->a, &target, &reason, err)) != 0)
        return rc;
    net_plan_make(&now, &target.state, l->a, &plan);
    if (plan.len) {
        char text[160];

        net_step_text(&plan.steps[0], text, sizeof text);
        snprintf(l->why, l->size, "%s lacks %zu steps, the first: %s",
                 l->w->s->c->nodes[l->node].name, plan.len, text);
        return -EAGAIN;
    }
    return 0;
}

static struct tree *
object_of(const struct world *w, size_t i)
{
    const char *json = things[i].versions[w->version[i] - 1];
    struct tree *t = NULL;
    struct err err = {0};

    if (tree_from_json(json, strlen(json), &t, &err) != 0)
        sys_die(w->s, "%s: %s", json, err_msg(&err));
    return t;
}

static void
add_wants(struct look *l, const struct net_wants *more)
{
    struct net_want *all = arena_calloc(l->a, l->wants.len + more->len + 1, sizeof *all);

    for (size_t i = 0; i < l->wants.len; i++)
        all[i] = l->wants.items[i];
    for (size_t i = 0; i < more->len; i++)
        all[l->wants.len + i] = more->items[i];
    l->wants.items = all;
    l->wants.len += more->len;
}

/* The migration network with the address that the controller gave this node; false: none yet. */
static bool
want_network(struct look *l)
{
    struct world *w = l->w;
    const char *node = w->s->c->nodes[l->node].name;
    AUTO_TREE struct tree *obj = sys_get(w->s, KIND_NODE, NULL, node), *nad = NULL, *given = NULL;
    const char *json = object_annotation(obj, ANN_MIGRATION_ADDRESS), *ifname;
    struct nad_config c;
    struct net_wants wants;
    struct cidr address;
    struct err err = {0};

    for (size_t i = 0; i < THINGS; i++)
        if (things[i].kind == KIND_NAD && strcmp(things[i].name, w->choice) == 0 && w->version[i])
            nad = object_of(w, i);
    if (!nad)
        return true; /* it names none: nothing to make */
    if (nad_config_parse(nad_decode(nad, l->a), &c, l->a, &err) != 0)
        sys_die(w->s, "%s", err_msg(&err));
    if (!json || tree_from_json(json, strlen(json), &given, NULL) != 0 ||
        cidr_parse(tree_find_string(given, "", "address", NULL), &address, NULL) != 0 ||
        !nad_address_allowed(&c, &address.base)) {
        snprintf(l->why, l->size, "%s has no address for %s yet", node, w->choice);
        return false;
    }
    if (net_want_nad(&c, "network", &address.base, l->a, &wants, &ifname, &err) != 0)
        sys_die(w->s, "%s", err_msg(&err));
    add_wants(l, &wants);
    return true;
}

static bool
has_all(struct world *w, size_t node, char *why, size_t size)
{
    struct look l = {.w = w, .a = arena_new(), .node = node, .why = why, .size = size};
    struct err err = {0};
    bool ok = true;
    int rc;

    for (size_t i = 0; i < THINGS; i++) { /* in the order of their names */
        AUTO_TREE struct tree *obj = NULL;
        struct net_wants wants;

        if (things[i].kind != KIND_NNCP || !w->version[i] || things[i].refused ||
            (things[i].n1_only && node != 0))
            continue;
        obj = object_of(w, i);
        if (net_want_policy(tree_find(obj, "spec", "desiredState", NULL), things[i].name, l.a,
                            &wants, &err) != 0)
            sys_die(w->s, "%s", err_msg(&err));
        add_wants(&l, &wants);
    }
    if (w->choice)
        ok = want_network(&l);
    if (ok) {
        rc = dev_node_call(w->s->c, w->s->c->nodes[node].name, plan_here, &l, &err);
        if (rc != 0 && rc != -EAGAIN)
            snprintf(why, size, "%s: %s", w->s->c->nodes[node].name, err_msg(&err));
        ok = rc == 0;
    }
    arena_free(l.a);
    return ok;
}

static bool
all_have_all(void *ctx)
{
    struct world *w = ctx;

    for (size_t i = 0; i < NODES; i++)
        if (!has_all(w, i, w->why, sizeof w->why))
            return false;
    return true;
}

/* --- what a namespace looks like, by ip(8) --- */

static void
strip(struct tree *t)
{
    static const char *const passing[] = {"ifindex",         "link_index",          "operstate",
                                          "valid_life_time", "preferred_life_time", "tentative"};

    for (size_t i = 0; i < ARRAY_LEN(passing); i++)
        tree_del(t, passing[i]);
    for (size_t i = 0; i < tree_len(tree_get(t, "addr_info")); i++)
        strip(tree_at(tree_get(t, "addr_info"), i));
}

static char *
look_of(struct sys *s, size_t node)
{
    AUTO_FREE char *cmd = xasprintf("ip netns exec %s ip -j -d addr", s->c->nodes[node].netns);
    AUTO_TREE struct tree *t = NULL;
    AUTO_SB struct sb text = SB_INIT, out = SB_INIT;
    FILE *f = popen(cmd, "re"); /* NOLINT(cert-env33-c): a test's own words */
    struct err err = {0};
    char buf[4096];
    size_t n;

    while (f && (n = fread(buf, 1, sizeof buf, f)) > 0)
        sb_add(&text, buf, n);
    if (!f || pclose(f) != 0 || tree_from_json(sb_str(&text), text.len, &t, &err) != 0)
        sys_die(s, "%s: %s", cmd, err_msg(&err));
    for (size_t i = 0; i < tree_len(t); i++)
        strip(tree_at(t, i));
    tree_to_json(t, 2, &out);
    return xstrdup(sb_str(&out));
}

struct first {
    struct sys *s;
    char *looks[NODES];
};

static bool
as_at_first(void *ctx)
{
    struct first *f = ctx;

    for (size_t i = 0; i < NODES; i++) {
        AUTO_FREE char *now = look_of(f->s, i);

        if (strcmp(now, f->looks[i]) != 0)
            return false;
    }
    return true;
}

/* --- changes --- */

static const char *
ns_of(const struct thing *t)
{
    return t->kind == KIND_NAD ? NETWORK_NS : NULL;
}

static void
set_version(struct world *w, size_t i, unsigned version)
{
    const struct thing *t = &things[i];
    struct err err = {0};
    int rc = 0;

    /* What is there is deleted first: a new object of the same name. */
    if (w->version[i])
        rc = client_delete(w->s->client, kind_info(t->kind), ns_of(t), t->name, NULL, &err);
    w->version[i] = version;
    if (rc == 0 && version) {
        AUTO_TREE struct tree *obj = object_of(w, i);

        rc = client_create(w->s->client, kind_info(t->kind), ns_of(t), obj, NULL, &err);
    }
    if (rc != 0)
        sys_die(w->s, "%s: %s", t->name, err_msg(&err));
}

static void
patch_version(struct world *w, size_t i, unsigned version)
{
    const struct thing *t = &things[i];
    AUTO_TREE struct tree *obj = NULL, *patch = tree_map();
    struct err err = {0};

    w->version[i] = version;
    obj = object_of(w, i);
    tree_set(patch, "spec", tree_copy(tree_get(obj, "spec")));
    if (t->n1_only && !tree_find(patch, "spec", "maxUnavailable", NULL))
        tree_set_path(patch, tree_null(), "spec", "maxUnavailable", NULL);
    if (client_patch(w->s->client, kind_info(t->kind), ns_of(t), t->name, NULL, patch, NULL,
                     &err) != 0)
        sys_die(w->s, "%s: %s", t->name, err_msg(&err));
}

static void
kill_one(struct world *w)
{
    const char *node = w->s->c->nodes[rng_below(&w->rng, NODES)].name;
    struct err err = {0};

    printf(" kill %s", node);
    if (dev_kill_handler(w->s->c, node, &err) != 0 ||
        dev_start_handler(w->s->c, node, NULL, &err) != 0)
        sys_die(w->s, "%s: %s", node, err_msg(&err));
}

static void
change(struct world *w)
{
    size_t i = rng_below(&w->rng, THINGS + 1);

    if (i == THINGS) {
        w->choice = choices[rng_below(&w->rng, ARRAY_LEN(choices))];
        printf(" network=%s", w->choice ? w->choice : "none");
        network_choose(w->s, w->choice);
    } else {
        unsigned version = (unsigned)rng_below(&w->rng, VERSIONS + 1);

        printf(" %s=%u", things[i].name, version);
        if (version && w->version[i] && rng_below(&w->rng, 2))
            patch_version(w, i, version);
        else
            set_version(w, i, version);
    }
    if (rng_below(&w->rng, 4) == 0)
        kill_one(w);
}

static void
settle(struct world *w)
{
    w->why[0] = '\0';
    if (!sys_poll(SETTLE, all_have_all, w)) {
        printf("\n");
        sys_die(w->s, "after %d s: %s", SETTLE, w->why);
    }
}

/* What `drover plan network` says of each node, given all objects as the API has them. */
static bool
command_agrees(void *ctx)
{
    struct world *w = ctx;
    const char *bin = getenv("DROVER_BIN") ? getenv("DROVER_BIN") : "bin";

    for (size_t i = 0; i < NODES; i++) {
        AUTO_FREE char *cmd = xasprintf(
            "%s/drover -s %s get hco,net-attach-def,nncp,nodes,nns,ippools -A -o yaml >%s/all.yaml"
            " 2>%s/plan && %s/drover plan network -f %s/all.yaml --node %s >%s/plan 2>&1 &&"
            " grep -q '^Steps  *none' %s/plan",
            bin, w->s->c->url, w->s->dir, w->s->dir, bin, w->s->dir, w->s->c->nodes[i].name,
            w->s->dir, w->s->dir);

        if (system(cmd) != 0) /* NOLINT(cert-env33-c): a test's own words */
            return false;
    }
    return true;
}

static void
show_difference(struct sys *s, size_t node, const char *first)
{
    const char *name = s->c->nodes[node].name;
    AUTO_FREE char *now = look_of(s, node);
    AUTO_FREE char *a = xasprintf("%s/%s.first", s->dir, name);
    AUTO_FREE char *b = xasprintf("%s/%s.now", s->dir, name);
    AUTO_FREE char *cmd = xasprintf("diff -U 8 %s %s >&2", a, b);

    if (fs_replace(a, first, strlen(first), 0600, NULL) == 0 &&
        fs_replace(b, now, strlen(now), 0600, NULL) == 0 &&
        system(cmd) != 0) /* NOLINT(cert-env33-c): a test's own words */
        fprintf(stderr, "on %s\n", name);
}

static void
one_seed(struct sys *s, uint64_t seed, unsigned changes)
{
    struct world w = {.s = s};
    struct first first = {.s = s};

    rng_seed(&w.rng, seed);
    for (size_t i = 0; i < NODES; i++)
        first.looks[i] = look_of(s, i);
    printf("  SEEDS=%" PRIu64 ":", seed);
    for (unsigned n = 0; n < changes; n++) {
        change(&w);
        if (rng_below(&w.rng, 5) == 0 || n + 1 == changes) {
            settle(&w);
            printf(" ok");
        }
        fflush(stdout);
    }
    for (size_t i = 0; i < THINGS; i++) /* of what is refused the command says just that */
        if (w.version[i] && things[i].refused) {
            set_version(&w, i, 0);
        } else if (!w.version[i] && w.choice && strcmp(w.choice, things[i].name) == 0) {
            w.choice = NULL;
            network_choose(s, NULL);
        }
    if (!sys_poll(SETTLE, command_agrees, &w)) {
        AUTO_FREE char *plan = NULL, *path = xasprintf("%s/plan", s->dir);
        size_t len;

        (void)fs_read_all(path, 65536, &plan, &len, NULL);
        sys_die(s, "drover plan network: %s", plan ? plan : "nothing");
    }
    printf(" planned");
    for (size_t i = 0; i < THINGS; i++)
        if (w.version[i])
            set_version(&w, i, 0);
    w.choice = NULL;
    network_choose(s, NULL);
    if (!sys_poll(SETTLE, as_at_first, &first)) {
        printf("\n");
        for (size_t i = 0; i < NODES; i++)
            show_difference(s, i, first.looks[i]);
        sys_die(s, "all objects are gone, and after %d s a host is not as it was", SETTLE);
    }
    printf(" as at first\n");
    for (size_t i = 0; i < NODES; i++)
        free(first.looks[i]);
}

int
main(void)
{
    static struct sys s; /* until after main: it is torn down at exit */
    const char *seeds = getenv("SEEDS"), *changes = getenv("CHANGES");
    uint64_t from = 1, to = 5;
    AUTO_TREE struct tree *patch = tree_map();
    struct err err = {0};

    if (seeds && sscanf(seeds, "%" SCNu64 "-%" SCNu64, &from, &to) == 1)
        to = from;
    sys_up(&s, NODES);
    for (size_t i = 0; i < NODES; i++)
        for (unsigned k = 2; k <= 3; k++) { /* eth2, eth3: the switch's end is no part of this */
            network_ip(&s, NULL, "link add p%zu-%u type veth peer name eth%u netns %s", i, k, k,
                       s.c->nodes[i].netns);
            network_ip(&s, NULL, "link set p%zu-%u up", i, k);
            network_ip(&s, s.c->nodes[i].name, "link set eth%u up", k);
        }
    tree_set_path(patch, tree_string("me"), "metadata", "labels", "pick", NULL);
    if (client_patch(s.client, kind_info(KIND_NODE), NULL, s.c->nodes[0].name, NULL, patch, NULL,
                     &err) != 0)
        sys_die(&s, "%s", err_msg(&err));
    sys_apply(&s, "apiVersion: hco.kubevirt.io/v1beta1\n"
                  "kind: HyperConverged\n"
                  "metadata: {name: kubevirt-hyperconverged, namespace: " NETWORK_NS "}\n"
                  "spec: {}\n");
    for (uint64_t seed = from; seed <= to; seed++)
        one_seed(&s, seed, changes ? (unsigned)strtoul(changes, NULL, 10) : 40);
    return 0;
}
