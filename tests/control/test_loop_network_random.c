/* Random lives of the migration network, seeded: nodes come and go, definitions come, go and change
 * their range, the network is set, unset and changed, and the controller is killed after any write.
 * At no time have two Nodes one address of one network in their annotations; when it is quiet, every
 * node has what the objects ask for. LOOP_SEED=n runs one seed. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/names.h"
#include "api/object.h"
#include "base/rng.h"
#include "base/sb.h"
#include "loop_world.h"
#include "netpolicy/ipam.h"

#define NS     "openshift-cnv"
#define HCO    "kubevirt-hyperconverged"
#define NODES  7
#define EVENTS 60
#define SEEDS  150

static const char *const ranges[] = {
    "\"range\": \"10.200.5.0/30\"",
    "\"range\": \"10.200.5.0/29\"",
    "\"range\": \"10.200.5.0/29\", \"exclude\": [\"10.200.5.1/32\", \"10.200.5.4/31\"]",
    "\"range\": \"10.200.5.0/24\"",
    "\"range\": \"10.200.5.0/24\", \"range_start\": \"10.200.5.2\", \"range_end\": \"10.200.5.4\"",
    "\"range\": \"10.200.5.0/24\", \"exclude\": [\"10.200.5.2/31\"]",
    "\"range\": \"10.201.0.0/24\"",
    "\"range\": \"fd00:5::/125\"",
    "\"range\": \"nonsense\"",
};
static const char *const names[] = {"a", "b"};

struct life {
    struct world *w;
    struct rng rng;
    uint64_t seed;
};

static int
pick(struct life *f, int n)
{
    return (int)rng_below(&f->rng, (uint64_t)n);
}

/* --- all the time --- */

struct seen {
    uint64_t seed;
    struct arena *a;
    const char *told[2 * NODES];
    const char *node[2 * NODES];
    size_t len;
};

/* "network address" of the annotation, NULL when there is no address in it. */
static const char *
told_address(const struct tree *node, struct arena *a)
{
    const char *json = object_annotation(node, ANN_MIGRATION_ADDRESS), *address;
    AUTO_TREE struct tree *t = NULL;

    if (!json)
        return NULL;
    assert_int_equal(tree_from_json(json, strlen(json), &t, NULL), 0);
    address = tree_find_string(t, "", "address", NULL);
    if (!*address)
        return NULL;
    return arena_printf(a, "%s %.*s", tree_find_string(t, "", "network", NULL),
                        (int)strcspn(address, "/"), address);
}

static bool
see_node(void *ctx, const struct tree *node)
{
    struct seen *s = ctx;
    const char *told = told_address(node, s->a);

    if (!told)
        return true;
    for (size_t i = 0; i < s->len; i++)
        if (strcmp(s->told[i], told) == 0)
            fail_msg("seed %llu: %s and %s both have %s", (unsigned long long)s->seed, s->node[i],
                     object_name(node), told);
    s->node[s->len] = object_name(node);
    s->told[s->len++] = told;
    return true;
}

static void
on_event(void *ctx, const struct store_event *ev)
{
    struct life *f = ctx;
    struct seen s = {.seed = f->seed};

    if (ev->kind != KIND_NODE)
        return;
    s.a = arena_new();
    store_list(f->w->store, KIND_NODE, NULL, see_node, &s);
    arena_free(s.a);
}

/* --- what happens --- */

static char *
config(const char *name, const char *range)
{
    return xasprintf("{\"name\": \"%s\", \"type\": \"macvlan\", \"master\": \"eth1\", \"ipam\": "
                     "{\"type\": \"whereabouts\", %s}}",
                     name, range);
}

static void
definition(struct life *f)
{
    const char *name = names[pick(f, 2)];
    AUTO_FREE char *text = config(name, ranges[pick(f, (int)ARRAY_LEN(ranges))]);
    AUTO_TREE struct tree *patch = tree_map();
    AUTO_SB struct sb json = SB_INIT;

    if (!store_get(f->w->store, KIND_NAD, NS, name)) {
        world_applyf(f->w,
                     "apiVersion: k8s.cni.cncf.io/v1\n"
                     "kind: NetworkAttachmentDefinition\n"
                     "metadata: {name: %s, namespace: " NS "}\n"
                     "spec: {config: '%s'}\n",
                     name, text);
    } else if (pick(f, 6) == 0) {
        world_delete(f->w, KIND_NAD, NS, name);
    } else {
        tree_set_path(patch, tree_string(text), "spec", "config", NULL);
        tree_to_json(patch, 0, &json);
        world_patch(f->w, KIND_NAD, NS, name, sb_str(&json));
    }
}

static void
node(struct life *f)
{
    AUTO_FREE char *name = xasprintf("n%d", 1 + pick(f, NODES));

    if (store_get(f->w->store, KIND_NODE, NULL, name))
        world_delete(f->w, KIND_NODE, NULL, name);
    else
        world_applyf(f->w, "apiVersion: v1\nkind: Node\nmetadata: {name: %s}\n", name);
}

/* The handler has set up what it was told, or still has what it was told before. */
static void
handler(struct life *f)
{
    AUTO_FREE char *name = xasprintf("n%d", 1 + pick(f, NODES));
    const struct tree *obj = store_get(f->w->store, KIND_NODE, NULL, name);
    struct arena *a = arena_new();
    const char *told = obj ? told_address(obj, a) : NULL;

    if (told)
        world_patch(f->w, KIND_NODE, NULL, name,
                    arena_printf(a,
                                 "{\"status\":{\"addresses\":[{\"type\":\"MigrationIP\","
                                 "\"address\":\"%s\"}]}}",
                                 strchr(told, ' ') + 1));
    arena_free(a);
}

/* A host has an address by hand, another one, or none any more. */
static void
by_hand(struct life *f)
{
    AUTO_FREE char *name = xasprintf("n%d", 1 + pick(f, NODES));
    AUTO_FREE char *json =
        xasprintf("{\"status\":{\"currentState\":{\"interfaces\":[{\"name\":\"eth1\","
                  "\"ipv4\":{\"address\":[{\"ip\":\"10.200.%d.%d\"}]}}]}}}",
                  pick(f, 3) ? 5 : 6, 1 + pick(f, 6));

    if (!store_get(f->w->store, KIND_NNS, NULL, name))
        world_applyf(f->w,
                     "apiVersion: nmstate.io/v1beta1\nkind: NodeNetworkState\n"
                     "metadata: {name: %s}\n",
                     name);
    world_patch(f->w, KIND_NNS, NULL, name, json);
}

static bool
any_name(void *ctx, const struct tree *pool)
{
    snprintf(ctx, 64, "%s", object_name(pool));
    return true;
}

static void
mistake(struct life *f)
{
    char pool[64] = "";

    store_list(f->w->store, KIND_IPPOOL, NULL, any_name, pool);
    if (*pool)
        world_delete(f->w, KIND_IPPOOL, NS, pool);
}

static void
setting(struct life *f)
{
    int which = pick(f, 4);
    AUTO_FREE char *json =
        xasprintf("{\"spec\":{\"liveMigrationConfig\":{\"network\":%s}}}", which == 0   ? "null"
                                                                           : which == 1 ? "\"b\""
                                                                                        : "\"a\"");

    world_patch(f->w, KIND_HCO, NS, HCO, json);
}

static void
something_happens(struct life *f)
{
    switch (pick(f, 10)) {
    case 0:
        setting(f);
        break;
    case 1:
    case 2:
        definition(f);
        break;
    case 3:
    case 4:
    case 5:
        node(f);
        break;
    case 6:
        by_hand(f);
        break;
    case 7:
        mistake(f);
        break;
    default:
        handler(f);
        break;
    }
    if (pick(f, 3) == 0 && f->w->loops && !f->w->crash_at)
        f->w->crash_at = f->w->writes + 1 + (unsigned)pick(f, 6);
}

/* --- when it is quiet --- */

struct settled {
    struct life *f;
    const struct nad_config *c; /* NULL: no usable network */
    const char *ref;            /* NULL: none is set */
    size_t with, without;
};

static bool
settle_node(void *ctx, const struct tree *obj)
{
    struct settled *s = ctx;
    struct arena *a = arena_new();
    const char *told = told_address(obj, a);
    const char *json = object_annotation(obj, ANN_MIGRATION_ADDRESS);
    struct ip ip;

    if (!s->ref && json)
        fail_msg("seed %llu: no network, and %s has %s", (unsigned long long)s->f->seed,
                 object_name(obj), json);
    if (s->ref && !json)
        fail_msg("seed %llu: %s was told nothing", (unsigned long long)s->f->seed,
                 object_name(obj));
    s->with += told != NULL;
    s->without += told == NULL;
    if (told && (!s->c || ip_parse(strchr(told, ' ') + 1, &ip, NULL) != 0 ||
                 !nad_address_allowed(s->c, &ip) || strncmp(told, s->ref, strlen(s->ref)) != 0))
        fail_msg("seed %llu: %s has %s", (unsigned long long)s->f->seed, object_name(obj), told);
    arena_free(a);
    return true;
}

static bool
settle_pool(void *ctx, const struct tree *pool)
{
    struct life *f = ctx;
    const char *owner = object_annotation(pool, ANN_POOL_NETWORK);

    assert_non_null(owner);
    if (!store_get(f->w->store, KIND_NAD, NS, owner))
        fail_msg("seed %llu: the pool of %s is still there", (unsigned long long)f->seed, owner);
    return true;
}

static size_t
capacity(const struct nad_config *c)
{
    struct ip taken[16];
    size_t len = 0;

    while (len < ARRAY_LEN(taken) && nad_address_next(c, taken, len, &taken[len], NULL) == 0)
        len++;
    return len;
}

static void
check_settled(struct life *f)
{
    const char *name =
        world_text(f->w, KIND_HCO, NS, HCO, "spec", "liveMigrationConfig", "network");
    AUTO_FREE char *ref = xasprintf(NS "/%s", name);
    struct arena *a = arena_new();
    const struct tree *obj = store_get(f->w->store, KIND_NAD, NS, name);
    struct settled s = {.f = f, .ref = *name ? ref : NULL};
    struct nad_config c, other;
    bool overlap = false;

    if (*name && obj && nad_config_parse(nad_decode(obj, a), &c, a, NULL) == 0)
        s.c = &c;
    for (size_t i = 0; i < ARRAY_LEN(names) && s.c; i++) {
        obj = store_get(f->w->store, KIND_NAD, NS, names[i]);
        if (obj && strcmp(names[i], name) != 0 &&
            nad_config_parse(nad_decode(obj, a), &other, a, NULL) == 0)
            overlap = cidr_overlap(&c.range, &other.range);
    }
    store_list(f->w->store, KIND_NODE, NULL, settle_node, &s);
    store_list(f->w->store, KIND_IPPOOL, NULL, settle_pool, f);
    if (s.c && !overlap && s.without > 0 && s.with < capacity(&c))
        fail_msg("seed %llu: %zu nodes have no address, and %zu of %zu are given",
                 (unsigned long long)f->seed, s.without, s.with, capacity(&c));
    arena_free(a);
    world_validate(f->w);
}

static void
live(uint64_t seed)
{
    struct life f = {.w = world_new(seed), .seed = seed};
    struct store_watch *watch = store_watch(f.w->store, KIND_NODE, on_event, &f);

    rng_seed(&f.rng, seed);
    world_apply(f.w, "apiVersion: hco.kubevirt.io/v1beta1\n"
                     "kind: HyperConverged\n"
                     "metadata: {name: " HCO ", namespace: " NS "}\n"
                     "spec: {liveMigrationConfig: {network: a}}\n");
    for (int i = 0; i < EVENTS; i++) {
        something_happens(&f);
        world_run(f.w, pick(&f, 4) * 0.01);
        if (pick(&f, 10) != 0)
            continue;
        world_run(f.w, 3);
        check_settled(&f);
    }
    store_unwatch(watch);
    world_free(f.w);
}

static void
test_lives(void **unused)
{
    (void)unused;
    world_seeds(live, SEEDS);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lives)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
