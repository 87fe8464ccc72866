/* Enactments of NodeNetworkConfigurationPolicies: who gets one, how many at a time, what becomes of
 * them and of the policy's status; and random lives of them. LOOP_SEED=n runs one seed. */
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

static void
policy(struct world *w, const char *name, const char *spec)
{
    world_applyf(w,
                 "apiVersion: nmstate.io/v1\n"
                 "kind: NodeNetworkConfigurationPolicy\n"
                 "metadata: {name: %s}\n"
                 "spec:\n"
                 "  desiredState:\n"
                 "    interfaces:\n"
                 "    - {name: br1, type: linux-bridge, state: up, mtu: 1500}\n"
                 "%s",
                 name, spec);
}

static const char *
enactment(struct world *w, const char *node, const char *name, const char *type, const char *field)
{
    AUTO_FREE char *nnce = xasprintf("%s.%s", node, name);

    return world_condition(w, KIND_NNCE, NULL, nnce, type, field);
}

static bool
waits(struct world *w, const char *node, const char *name)
{
    return strcmp(enactment(w, node, name, "Pending", "status"), "True") == 0;
}

/* The node's handler has done it, or has failed. */
static void
handle(struct world *w, const char *node, const char *name, bool well)
{
    AUTO_FREE char *nnce = xasprintf("%s.%s", node, name);
    int64_t generation = tree_get_int(
        tree_find(store_get(w->store, KIND_NNCE, NULL, nnce), "status", "policyGeneration", NULL),
        0);
    AUTO_FREE char *json = xasprintf(
        "{\"status\":{\"handledGeneration\":%lld,\"conditions\":["
        "{\"type\":\"Failing\",\"status\":\"%s\",\"reason\":\"%s\",\"message\":\"\"},"
        "{\"type\":\"Available\",\"status\":\"%s\",\"reason\":\"%s\",\"message\":\"\"},"
        "{\"type\":\"Progressing\",\"status\":\"False\",\"reason\":\"x\",\"message\":\"\"},"
        "{\"type\":\"Pending\",\"status\":\"False\",\"reason\":\"x\",\"message\":\"\"}]}}",
        (long long)generation, well ? "False" : "True",
        well ? "SuccessfullyConfigured" : "FailedToConfigure", well ? "True" : "False",
        well ? "SuccessfullyConfigured" : "FailedToConfigure");

    world_patch(w, KIND_NNCE, NULL, nnce, json);
    world_run(w, 0.1);
}

/* "TYPE REASON: MESSAGE" of the policy's condition that is True. */
static const char *
status(struct world *w, const char *name)
{
    static const char *const types[] = {"Available", "Degraded", "Progressing", "Ignored"};
    static char text[300];
    int holds = 0;

    text[0] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        if (strcmp(world_condition(w, KIND_NNCP, NULL, name, types[i], "status"), "True") != 0)
            continue;
        holds++;
        snprintf(text, sizeof(text), "%s %s: %s", types[i],
                 world_condition(w, KIND_NNCP, NULL, name, types[i], "reason"),
                 world_condition(w, KIND_NNCP, NULL, name, types[i], "message"));
    }
    assert_in_range(holds, 0, 1);
    return text;
}

static void
test_one_after_the_other(void **unused)
{
    struct world *w = world_cluster(1, 2);
    const struct tree *e;

    (void)unused;
    policy(w, "br1", "");
    world_run(w, 1);
    e = store_get(w->store, KIND_NNCE, NULL, "n1.br1");
    assert_non_null(e);
    assert_string_equal(object_label(e, LABEL_NMSTATE_NODE), "n1");
    assert_string_equal(object_label(e, LABEL_NMSTATE_POLICY), "br1");
    assert_true(tree_equal(
        tree_find(e, "status", "desiredState", NULL),
        tree_find(store_get(w->store, KIND_NNCP, NULL, "br1"), "spec", "desiredState", NULL)));
    assert_int_equal(tree_get_int(tree_find(e, "status", "policyGeneration", NULL), 0), 1);
    assert_string_equal(enactment(w, "n1", "br1", "Progressing", "reason"),
                        "ConfigurationProgressing");
    assert_false(waits(w, "n1", "br1"));
    assert_true(waits(w, "n2", "br1"));
    assert_string_equal(enactment(w, "n2", "br1", "Pending", "reason"),
                        "MaxUnavailableLimitReached");
    assert_string_equal(status(w, "br1"), "Progressing ConfigurationProgressing: Policy is "
                                          "progressing 0/2 nodes finished, 1 pending");
    handle(w, "n1", "br1", true);
    assert_false(waits(w, "n2", "br1"));
    assert_string_equal(
        status(w, "br1"),
        "Progressing ConfigurationProgressing: Policy is progressing 1/2 nodes finished");
    handle(w, "n2", "br1", true);
    assert_string_equal(status(w, "br1"),
                        "Available SuccessfullyConfigured: 2/2 nodes successfully configured");
    assert_int_equal(world_event(w, "br1", "SuccessfullyConfigured", "2/2"), 1);

    /* Changed: again one after the other, and what was done for the old one does not count. */
    world_patch(w, KIND_NNCP, NULL, "br1",
                "{\"spec\":{\"desiredState\":{\"interfaces\":[{\"name\":\"br1\",\"type\":"
                "\"linux-bridge\",\"state\":\"up\",\"mtu\":9000}]}}}");
    world_run(w, 1);
    assert_false(waits(w, "n1", "br1"));
    assert_true(waits(w, "n2", "br1"));
    assert_string_equal(status(w, "br1"), "Progressing ConfigurationProgressing: Policy is "
                                          "progressing 0/2 nodes finished, 1 pending");
    handle(w, "n1", "br1", false);
    assert_false(waits(w, "n2", "br1")); /* n1 has gone back: it is not away */
    handle(w, "n2", "br1", true);
    assert_string_equal(status(w, "br1"),
                        "Degraded FailedToConfigure: 1/2 nodes failed to configure");
    assert_int_equal(world_event(w, "br1", "FailedToConfigure", "1/2"), 1);
    handle(w, "n1", "br1", true);
    assert_string_equal(status(w, "br1"),
                        "Available SuccessfullyConfigured: 2/2 nodes successfully configured");
    world_validate(w);

    world_delete(w, KIND_NNCP, NULL, "br1");
    world_run(w, 1);
    assert_null(store_get(w->store, KIND_NNCE, NULL, "n1.br1"));
    assert_null(store_get(w->store, KIND_NNCE, NULL, "n2.br1"));
    world_free(w);
}

static const struct {
    const char *max;
    int nodes, at_once;
} limits[] = {
    {"", 5, 3},
    {"  maxUnavailable: 1\n", 5, 1},
    {"  maxUnavailable: 4\n", 5, 4},
    {"  maxUnavailable: 0\n", 5, 1},
    {"  maxUnavailable: 0%\n", 5, 1},
    {"  maxUnavailable: 1%\n", 5, 1},
    {"  maxUnavailable: 50%\n", 1, 1},
    {"  maxUnavailable: 100%\n", 5, 5},
    {"  maxUnavailable: 10\n", 5, 5},
};

static void
test_max_unavailable(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        struct world *w = world_cluster(2, limits[i].nodes);
        int go = 0;

        policy(w, "br1", limits[i].max);
        world_run(w, 1);
        for (int n = 1; n <= limits[i].nodes; n++) {
            char name[8];

            snprintf(name, sizeof(name), "n%d", n);
            go += !waits(w, name, "br1");
        }
        if (go != limits[i].at_once)
            fail_msg("%s of %d: %d at once", limits[i].max, limits[i].nodes, go);
        world_free(w);
    }
}

static void
test_who(void **unused)
{
    struct world *w = world_cluster(3, 3);

    (void)unused;
    world_patch(w, KIND_NODE, NULL, "n2", "{\"metadata\":{\"labels\":{\"nic\":\"fast\"}}}");
    policy(w, "br1", "  maxUnavailable: 5\n  nodeSelector: {nic: fast}\n");
    policy(w, "nowhere", "  nodeSelector: {nic: slow}\n");
    world_run(w, 1);
    assert_null(store_get(w->store, KIND_NNCE, NULL, "n1.br1"));
    assert_non_null(store_get(w->store, KIND_NNCE, NULL, "n2.br1"));
    assert_string_equal(status(w, "nowhere"),
                        "Ignored NoMatchingNode: Policy does not match any node");
    assert_string_equal(world_condition(w, KIND_NNCP, NULL, "nowhere", "Available", "status"),
                        "False");
    /* Added later, labelled later, not labelled any more, gone. */
    world_patch(w, KIND_NODE, NULL, "n1", "{\"metadata\":{\"labels\":{\"nic\":\"fast\"}}}");
    world_patch(w, KIND_NODE, NULL, "n2", "{\"metadata\":{\"labels\":{\"nic\":null}}}");
    world_apply(w, "apiVersion: v1\nkind: Node\nmetadata: {name: n4, labels: {nic: fast}}\n"
                   "status: {conditions: [{type: Ready, status: 'True'}]}\n");
    world_run(w, 1);
    assert_non_null(store_get(w->store, KIND_NNCE, NULL, "n1.br1"));
    assert_null(store_get(w->store, KIND_NNCE, NULL, "n2.br1"));
    assert_false(waits(w, "n4", "br1"));
    world_delete(w, KIND_NODE, NULL, "n4");
    world_run(w, 1);
    assert_null(store_get(w->store, KIND_NNCE, NULL, "n4.br1"));
    assert_string_equal(
        status(w, "br1"),
        "Progressing ConfigurationProgressing: Policy is progressing 0/1 nodes finished");
    world_free(w);
}

static void
test_silent_nodes(void **unused)
{
    struct world *w = world_cluster(4, 3);

    (void)unused;
    world_patch(w, KIND_NODE, NULL, "n1",
                "{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"Unknown\"}]}}");
    world_fake(w, "n1")->down = true;
    policy(w, "br1", "  maxUnavailable: 1\n");
    world_run(w, 1);
    assert_string_equal(enactment(w, "n1", "br1", "Pending", "reason"), "NodeNotReady");
    assert_false(waits(w, "n2", "br1"));
    /* It falls silent while it works: the others go on. */
    world_fake(w, "n2")->down = true;
    world_patch(w, KIND_NODE, NULL, "n2",
                "{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"Unknown\"}]}}");
    world_run(w, 1);
    assert_false(waits(w, "n3", "br1"));
    handle(w, "n3", "br1", true);
    assert_string_equal(status(w, "br1"),
                        "Available SuccessfullyConfigured: 1/3 nodes successfully configured, 2 "
                        "nodes ignored due to NotReady state");
    world_fake(w, "n1")->down = false;
    world_run(w, 15);
    assert_false(waits(w, "n1", "br1"));
    handle(w, "n1", "br1", true);
    handle(w, "n2", "br1", true);
    assert_string_equal(status(w, "br1"),
                        "Available SuccessfullyConfigured: 3/3 nodes successfully configured, 1 "
                        "nodes ignored due to NotReady state");
    world_free(w);
}

static void
test_what_is_not_ours(void **unused)
{
    struct world *w = world_cluster(5, 1);

    (void)unused;
    world_apply(w, "apiVersion: nmstate.io/v1beta1\n"
                   "kind: NodeNetworkConfigurationEnactment\n"
                   "metadata: {name: mine}\n");
    /* Two that make one name: neither is written again and again. */
    world_apply(w, "apiVersion: v1\nkind: Node\nmetadata: {name: n1.x}\n");
    policy(w, "x.y", "  nodeSelector: {kubernetes.io/hostname: n1}\n");
    policy(w, "y", "");
    world_run(w, 1);
    unsigned writes = w->writes;
    world_run(w, 5);
    assert_in_range(w->writes, writes, writes + 2); /* heartbeats */
    assert_non_null(store_get(w->store, KIND_NNCE, NULL, "mine"));
    world_free(w);
}

/* --- random lives --- */

#define NODES  5
#define EVENTS 50
#define SEEDS  60

struct life {
    struct world *w;
    struct rng rng;
    uint64_t seed;
    int max; /* of policy a; b has the default */
};

static int
pick(struct life *f, int n)
{
    return (int)rng_below(&f->rng, (uint64_t)n);
}

struct running {
    const struct life *f;
    int len;
};

static bool
count_running(void *ctx, const struct tree *e)
{
    struct running *r = ctx;
    const struct tree *st = tree_get(e, "status");
    struct world *w = r->f->w;
    AUTO_FREE char *name = xstrdup(object_name(e));

    if (strcmp(object_label(e, LABEL_NMSTATE_POLICY), "a") == 0 &&
        strcmp(world_condition(w, KIND_NNCE, NULL, name, "Pending", "status"), "True") != 0 &&
        tree_get_int(tree_get(st, "policyGeneration"), 0) !=
            tree_get_int(tree_get(st, "handledGeneration"), 0))
        r->len++;
    return true;
}

static void
on_event(void *ctx, const struct store_event *ev)
{
    struct life *f = ctx;
    struct running r = {.f = f};

    if (ev->kind != KIND_NNCE)
        return;
    store_list(f->w->store, KIND_NNCE, NULL, count_running, &r);
    if (r.len > f->max)
        fail_msg("seed %llu: %d nodes at once", (unsigned long long)f->seed, r.len);
}

static bool
add_running(void *ctx, const struct tree *e)
{
    struct sb *names = ctx;
    const struct tree *list = tree_find(e, "status", "conditions", NULL);

    for (size_t i = 0; i < tree_len(list); i++)
        if (strcmp(tree_find_string(tree_at(list, i), "", "type", NULL), "Pending") == 0 &&
            strcmp(tree_find_string(tree_at(list, i), "", "status", NULL), "False") == 0)
            sb_printf(names, "%s\n", object_name(e));
    return true;
}

/* Some of the handlers that may do so say how it went. */
static void
handlers(struct life *f, bool all)
{
    AUTO_SB struct sb names = SB_INIT;
    char *save = NULL;

    store_list(f->w->store, KIND_NNCE, NULL, add_running, &names);
    for (char *n = strtok_r((char *)(uintptr_t)sb_str(&names), "\n", &save); n;
         n = strtok_r(NULL, "\n", &save)) {
        char *dot = strchr(n, '.');

        if (!store_get(f->w->store, KIND_NNCE, NULL, n))
            continue; /* deleted meanwhile */
        *dot = '\0';
        if (all || pick(f, 2))
            handle(f->w, n, dot + 1, all || pick(f, 4) > 0);
    }
}

static void
something_happens(struct life *f)
{
    AUTO_FREE char *node = xasprintf("n%d", 1 + pick(f, NODES));
    AUTO_FREE char *mtu =
        xasprintf("{\"spec\":{\"desiredState\":{\"interfaces\":[{\"name\":\"br1\","
                  "\"type\":\"linux-bridge\",\"mtu\":%d}]}}}",
                  1000 + pick(f, 5));
    const char *name = pick(f, 2) ? "a" : "b";

    switch (pick(f, 6)) {
    case 0:
        if (store_get(f->w->store, KIND_NNCP, NULL, name))
            world_patch(f->w, KIND_NNCP, NULL, name, mtu);
        else
            policy(f->w, name, *name == 'a' ? "  maxUnavailable: 2\n" : "");
        break;
    case 1:
        if (store_get(f->w->store, KIND_NNCP, NULL, name) && pick(f, 3) == 0)
            world_delete(f->w, KIND_NNCP, NULL, name);
        break;
    case 2:
        if (store_get(f->w->store, KIND_NODE, NULL, node))
            world_delete(f->w, KIND_NODE, NULL, node);
        else
            world_applyf(f->w,
                         "apiVersion: v1\nkind: Node\nmetadata: {name: %s}\n"
                         "status: {conditions: [{type: Ready, status: 'True'}]}\n",
                         node);
        break;
    default:
        handlers(f, false);
        break;
    }
    if (pick(f, 3) == 0 && f->w->loops && !f->w->crash_at)
        f->w->crash_at = f->w->writes + 1 + (unsigned)pick(f, 6);
}

static bool
count_node(void *ctx, const struct tree *node)
{
    (void)node;
    ++*(int *)ctx;
    return true;
}

static void
check_settled(struct life *f)
{
    static const char *const names[] = {"a", "b"};
    int nodes = 0, enactments = 0, policies = 0;

    for (int i = 0; i < 3 * NODES; i++) {
        world_run(f->w, 1);
        handlers(f, true);
    }
    world_run(f->w, 1);
    store_list(f->w->store, KIND_NODE, NULL, count_node, &nodes);
    store_list(f->w->store, KIND_NNCE, NULL, count_node, &enactments);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        AUTO_FREE char *want = xasprintf("Available SuccessfullyConfigured: %d/%d nodes "
                                         "successfully configured",
                                         nodes, nodes);

        if (!store_get(f->w->store, KIND_NNCP, NULL, names[i]))
            continue;
        policies++;
        if (nodes > 0 && strcmp(status(f->w, names[i]), want) != 0)
            fail_msg("seed %llu: %s: %s", (unsigned long long)f->seed, names[i],
                     status(f->w, names[i]));
    }
    if (enactments != nodes * policies)
        fail_msg("seed %llu: %d enactments for %d nodes and %d policies",
                 (unsigned long long)f->seed, enactments, nodes, policies);
}

static void
live(uint64_t seed)
{
    struct life f = {.w = world_new(seed), .seed = seed, .max = 2};
    struct store_watch *watch = store_watch(f.w->store, KIND_NNCE, on_event, &f);

    rng_seed(&f.rng, seed);
    for (int i = 0; i < EVENTS; i++) {
        something_happens(&f);
        world_run(f.w, pick(&f, 4) * 0.01);
        if (pick(&f, 15) == 0)
            check_settled(&f);
    }
    check_settled(&f);
    world_validate(f.w);
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
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_after_the_other),
        cmocka_unit_test(test_max_unavailable),
        cmocka_unit_test(test_who),
        cmocka_unit_test(test_silent_nodes),
        cmocka_unit_test(test_what_is_not_ours),
        cmocka_unit_test(test_lives),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
