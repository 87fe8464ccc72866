/* NoExecute taints at run time, through the whole controller on virtual time: who goes at once, who
 * later, who stays, and what is called off. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "api/names.h"
#include "api/object.h"
#include "loop_world.h"
#include "sched/evict.h"

#define TAINTS(list) "{\"spec\":{\"taints\":[" list "]}}"
#define TAINT(key)   "{\"key\":\"" key "\",\"effect\":\"NoExecute\"}"
#define EVENT        "TaintManagerEviction"

/* vm runs on n1; n2 comes later and is empty. extra: lines of its spec. */
static struct world *
cluster(const char *extra)
{
    struct world *w = world_new(1);

    world_node(w, "n1", 64);
    world_vm(w, "vm", "Always", "1Gi", extra);
    world_run(w, 2);
    assert_string_equal(world_runs_on(w, "vm"), "n1");
    world_node(w, "n2", 64);
    world_run(w, 1);
    return w;
}

static void
taint(struct world *w, const char *taints)
{
    world_patch(w, KIND_NODE, NULL, "n1", taints);
}

static void
test_not_tolerated_goes_at_once(void **unused)
{
    struct world *w = cluster("");
    const char *newest;

    (void)unused;
    taint(w, TAINTS(TAINT("broken")));
    world_run(w, 1);
    assert_int_equal(world_migrations(w, "vm", &newest), 1);
    assert_string_equal(
        object_annotation(store_get(w->store, KIND_VMIM, "shop", newest), ANN_EVACUATION_CAUSE),
        "taint");
    assert_int_equal(world_event(w, "vm", EVENT,
                                 "Marking for deletion VirtualMachineInstance shop/vm: node n1 has "
                                 "taint {broken: }:NoExecute"),
                     1);
    world_run(w, 10);
    assert_string_equal(world_runs_on(w, "vm"), "n2");
    assert_int_equal(world_event(w, "vm", EVENT, "Cancelling"), 0);
    assert_string_equal(world_text(w, KIND_VMI, "shop", "vm", "status", "evacuationNodeName"), "");
    assert_int_equal(world_migrations(w, "vm", NULL), 1);
    world_validate(w);
    world_free(w);
}

static void
test_other_effects_move_nobody(void **unused)
{
    struct world *w = cluster("");

    (void)unused;
    taint(w, TAINTS("{\"key\":\"a\",\"effect\":\"NoSchedule\"},"
                    "{\"key\":\"b\",\"effect\":\"PreferNoSchedule\"}"));
    world_run(w, 400);
    assert_string_equal(world_runs_on(w, "vm"), "n1");
    assert_int_equal(world_migrations(w, "vm", NULL), 0);
    world_free(w);
}

static void
test_tolerated_for_ever(void **unused)
{
    struct world *w = cluster("      tolerations: [{key: broken, operator: Exists}]\n");

    (void)unused;
    taint(w, TAINTS(TAINT("broken")));
    world_run(w, 4000);
    assert_string_equal(world_runs_on(w, "vm"), "n1");
    assert_int_equal(world_event(w, "vm", EVENT, ""), 0);
    world_free(w);
}

static void
test_tolerated_for_a_while(void **unused)
{
    struct world *w =
        cluster("      tolerations:\n"
                "      - {key: a, operator: Exists, effect: NoExecute, tolerationSeconds: 100}\n"
                "      - {key: b, operator: Exists, effect: NoExecute, tolerationSeconds: 50}\n"
                "      - {key: c, operator: Exists}\n");

    (void)unused;
    taint(w, TAINTS(TAINT("a") "," TAINT("b") "," TAINT("c")));
    world_run(w, 48);
    assert_int_equal(world_migrations(w, "vm", NULL), 0);
    world_run(w, 4); /* the smallest counts */
    assert_int_equal(world_migrations(w, "vm", NULL), 1);
    assert_int_equal(world_event(w, "vm", EVENT, "taint {b: }"), 1);
    world_run(w, 10);
    assert_string_equal(world_runs_on(w, "vm"), "n2");
    world_free(w);
}

static void
test_the_clock_starts_with_the_first_taint(void **unused)
{
    struct world *w =
        cluster("      tolerations:\n"
                "      - {key: a, operator: Exists, effect: NoExecute, tolerationSeconds: 100}\n"
                "      - {key: b, operator: Exists, effect: NoExecute, tolerationSeconds: 50}\n");

    (void)unused;
    taint(w, TAINTS(TAINT("a")));
    world_run(w, 30);
    taint(w, TAINTS(TAINT("a") "," TAINT("b")));
    world_run(w, 17);
    assert_int_equal(world_migrations(w, "vm", NULL), 0);
    world_run(w, 5);
    assert_int_equal(world_migrations(w, "vm", NULL), 1);
    world_free(w);
}

static void
test_taken_away_in_time(void **unused)
{
    struct world *w = cluster("      tolerations: [{key: a, operator: Exists, effect: NoExecute, "
                              "tolerationSeconds: 60}]\n");

    (void)unused;
    taint(w, TAINTS(TAINT("a")));
    world_run(w, 40);
    taint(w, TAINTS(""));
    world_run(w, 400);
    assert_string_equal(world_runs_on(w, "vm"), "n1");
    assert_int_equal(world_migrations(w, "vm", NULL), 0);
    assert_int_equal(world_event(w, "vm", EVENT,
                                 "Cancelling deletion of VirtualMachineInstance "
                                 "shop/vm"),
                     1);
    taint(w, TAINTS(TAINT("a"))); /* and its time begins anew */
    world_run(w, 50);
    assert_int_equal(world_migrations(w, "vm", NULL), 0);
    world_run(w, 15);
    assert_int_equal(world_migrations(w, "vm", NULL), 1);
    world_free(w);
}

/* There is nowhere to go; the migration that waits for a target is taken back with the taint. */
static void
test_taken_away_before_it_could_go(void **unused)
{
    struct world *w = cluster("");

    (void)unused;
    world_patch(w, KIND_NODE, NULL, "n2", "{\"spec\":{\"unschedulable\":true}}");
    world_run(w, 1);
    taint(w, TAINTS(TAINT("a")));
    world_run(w, 5);
    assert_int_equal(world_migrations(w, "vm", NULL), 1);
    assert_string_equal(world_text(w, KIND_VMI, "shop", "vm", "status", "evacuationNodeName"),
                        "n1");
    taint(w, TAINTS(""));
    world_run(w, 5);
    assert_int_equal(world_migrations(w, "vm", NULL), 0);
    assert_string_equal(world_text(w, KIND_VMI, "shop", "vm", "status", "evacuationNodeName"), "");
    world_patch(w, KIND_NODE, NULL, "n2", "{\"spec\":{\"unschedulable\":false}}");
    world_run(w, 100);
    assert_string_equal(world_runs_on(w, "vm"), "n1");
    world_free(w);
}

static void
test_node_conditions_are_tolerated_for_300_s(void **unused)
{
    static const char *const keys[] = {TAINT("node.kubernetes.io/not-ready"),
                                       TAINT("node.kubernetes.io/unreachable")};

    (void)unused;
    for (size_t i = 0; i < 2; i++) {
        struct world *w = cluster("");
        AUTO_FREE char *patch = xasprintf(TAINTS("%s"), keys[i]);

        taint(w, patch);
        world_run(w, 298);
        assert_int_equal(world_migrations(w, "vm", NULL), 0);
        world_run(w, 4);
        assert_int_equal(world_migrations(w, "vm", NULL), 1);
        world_free(w);
    }
}

/* By strategy: shut down and started elsewhere; or blocked, and said once. */
static void
test_strategies(void **unused)
{
    struct world *w = cluster("      evictionStrategy: None\n");

    (void)unused;
    taint(w, TAINTS(TAINT("a")));
    world_run(w, 20);
    assert_string_equal(world_runs_on(w, "vm"), "n2");
    assert_int_equal(world_migrations(w, "vm", NULL), 0);
    assert_int_equal(world_event(w, "vm", "EvictionRequested", "the VM is shut down"), 1);
    world_free(w);

    w = cluster("      evictionStrategy: External\n");
    taint(w, TAINTS(TAINT("a")));
    world_run(w, 100);
    assert_string_equal(world_runs_on(w, "vm"), "n1");
    assert_string_equal(world_text(w, KIND_VMI, "shop", "vm", "status", "evacuationNodeName"),
                        "n1");
    assert_int_equal(world_event(w, "vm", EVENT, "but it stays"), 1);
    world_free(w);
}

/* A drain and a taint at once, and a controller that dies after any write: one migration. */
static void
test_with_a_drain_and_crashes(void **unused)
{
    (void)unused;
    for (unsigned crash = 0; crash < 12; crash++) {
        struct world *w = cluster("");

        if (crash)
            w->crash_at = w->writes + crash;
        world_apply(w, "apiVersion: nodemaintenance.medik8s.io/v1beta1\nkind: NodeMaintenance\n"
                       "metadata: {name: m}\nspec: {nodeName: n1}\n");
        taint(w, TAINTS(TAINT("a")));
        world_run(w, 30);
        assert_string_equal(world_runs_on(w, "vm"), "n2");
        assert_int_equal(world_migrations(w, "vm", NULL), 1);
        assert_string_equal(world_text(w, KIND_MAINTENANCE, NULL, "m", "status", "phase"),
                            "Succeeded");
        world_free(w);
    }
}

/* --- the rule alone --- */

static const struct rule_row {
    const char *name, *taints, *tolerations;
    const char *key; /* NULL: it may stay */
    int64_t seconds;
} rule_rows[] = {
    {"no taint", "", "", NULL, 0},
    {"not tolerated", "{key: a, effect: NoExecute}", "", "a", 0},
    {"another effect is tolerated", "{key: a, effect: NoExecute}",
     "{key: a, operator: Exists, effect: NoSchedule}", "a", 0},
    {"any effect", "{key: a, effect: NoExecute}", "{key: a, operator: Exists}", NULL, 0},
    {"zero seconds: now", "{key: a, effect: NoExecute}",
     "{key: a, operator: Exists, effect: NoExecute, tolerationSeconds: 0}", "a", 0},
    {"less than zero: now", "{key: a, effect: NoExecute}",
     "{key: a, operator: Exists, effect: NoExecute, tolerationSeconds: -5}", "a", 0},
    {"the first that matches a taint counts", "{key: a, effect: NoExecute}",
     "{key: a, operator: Exists, effect: NoExecute, tolerationSeconds: 70}, {key: a, operator: "
     "Exists, effect: NoExecute, tolerationSeconds: 5}",
     "a", 70},
    {"the smallest of several taints",
     "{key: a, effect: NoExecute}, {key: b, effect: NoExecute}, {key: c, effect: NoExecute}",
     "{key: a, operator: Exists, tolerationSeconds: 70}, {key: b, operator: Exists, "
     "tolerationSeconds: 5}, {key: c, operator: Exists}",
     "b", 5},
    {"one of two is not tolerated", "{key: a, effect: NoExecute}, {key: b, effect: NoExecute}",
     "{key: a, operator: Exists}", "b", 0},
    {"not ready, by default", "{key: node.kubernetes.io/not-ready, effect: NoExecute}", "",
     "node.kubernetes.io/not-ready", 300},
    {"unreachable, by its own words", "{key: node.kubernetes.io/unreachable, effect: NoExecute}",
     "{key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, "
     "tolerationSeconds: 20}",
     "node.kubernetes.io/unreachable", 20},
    {"unreachable, tolerated with all the rest",
     "{key: node.kubernetes.io/unreachable, effect: NoExecute}", "{operator: Exists}", NULL, 0},
    {"what it says of the key leaves no room for the default",
     "{key: node.kubernetes.io/unreachable, value: x, effect: NoExecute}",
     "{key: node.kubernetes.io/unreachable, value: y}", "node.kubernetes.io/unreachable", 0},
    {"a toleration of the other key does",
     "{key: node.kubernetes.io/unreachable, effect: NoExecute}",
     "{key: node.kubernetes.io/not-ready, operator: Exists}", "node.kubernetes.io/unreachable",
     300},
};

static struct tree *
yaml(const char *text)
{
    struct tree *docs = NULL, *one;
    struct err err = {0};

    if (tree_from_yaml("test", text, strlen(text), &docs, &err) != 0)
        fail_msg("%s", err_msg(&err));
    one = tree_copy(tree_at(docs, 0));
    tree_free(docs);
    return one;
}

static void
test_rule(void **state)
{
    const struct rule_row *row = *state;
    AUTO_FREE char *node_text = xasprintf(
        "{apiVersion: v1, kind: Node, metadata: {name: n}, spec: {taints: [%s]}}", row->taints);
    AUTO_FREE char *vmi_text =
        xasprintf("{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstance, metadata: {name: "
                  "v}, spec: {tolerations: [%s]}}",
                  row->tolerations);
    AUTO_TREE struct tree *node = yaml(node_text), *vmi = yaml(vmi_text);
    struct arena *a = arena_new();
    struct evict_taint got = evict_by_taint(&vmi_decode(vmi, a)->spec, node_decode(node, a));

    if (row->key) {
        assert_non_null(got.taint);
        assert_string_equal(got.taint->key, row->key);
        assert_int_equal(got.seconds, row->seconds);
    } else {
        assert_null(got.taint);
    }
    arena_free(a);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_not_tolerated_goes_at_once),
        cmocka_unit_test(test_other_effects_move_nobody),
        cmocka_unit_test(test_tolerated_for_ever),
        cmocka_unit_test(test_tolerated_for_a_while),
        cmocka_unit_test(test_the_clock_starts_with_the_first_taint),
        cmocka_unit_test(test_taken_away_in_time),
        cmocka_unit_test(test_taken_away_before_it_could_go),
        cmocka_unit_test(test_node_conditions_are_tolerated_for_300_s),
        cmocka_unit_test(test_strategies),
        cmocka_unit_test(test_with_a_drain_and_crashes),
    };
    struct CMUnitTest rules[ARRAY_LEN(rule_rows)];

    for (size_t i = 0; i < ARRAY_LEN(rule_rows); i++) {
        union { /* cmocka takes a pointer to data that it does not change */
            const struct rule_row *in;
            void *out;
        } row = {.in = &rule_rows[i]};

        rules[i] = (struct CMUnitTest){
            .name = rule_rows[i].name, .test_func = test_rule, .initial_state = row.out};
    }
    return cmocka_run_group_tests_name("rule", rules, NULL, NULL) +
           cmocka_run_group_tests_name("controller", tests, NULL, NULL);
}
