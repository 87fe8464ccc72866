/* A large cluster on virtual time: nodes that beat, VMs that are created, started, drained and
 * deleted, with handlers that do at once what they are asked for. What one more VM costs must not
 * depend on how many there are that do not change.
 * LOOP_SCALE=2000,10000 sets the nodes and VMs, and prints what it took. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "api/names.h"
#include "api/object.h"
#include "base/loop.h"
#include "base/strmap.h"
#include "control/loops.h"
#include "control/store.h"

#define NODES   200
#define VMS     1000
#define BEAT_US 10000000
#define ONES    40 /* VMs that are started one after the other to see what one costs */

struct big {
    struct loop *loop;
    struct store *store;
    struct loops *loops;
    struct store_watch *watch;
    size_t nodes, vms; /* so many there are */
    uint64_t writes;
};

static double
cpu_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void
run(struct big *b, double seconds)
{
    loop_sim_run_until(b->loop, loop_now_us(b->loop) + (uint64_t)(seconds * 1e6));
}

static void
must_work(void *ctx, const struct store_result *res)
{
    (void)ctx;
    if (res->rc)
        fail_msg("%s", err_msg(res->err));
}

static void PRINTF_LIKE(2, 3) create(struct big *b, const char *fmt, ...)
{
    AUTO_SB struct sb text = SB_INIT;
    struct tree *t;
    struct err err = {0};
    va_list ap;

    va_start(ap, fmt);
    sb_vprintf(&text, fmt, ap);
    va_end(ap);
    if (tree_from_json(sb_str(&text), text.len, &t, &err) != 0)
        fail_msg("%s", err_msg(&err));
    store_create(b->store, t, must_work, NULL);
}

/* --- handlers --- */

static int
act(void *ctx, struct tree *vmi)
{
    struct big *b = ctx;
    struct tree *status = tree_ensure_map(vmi, "status"), *ms = tree_get(status, "migrationState");
    const char *phase = tree_get_string(tree_get(status, "phase"), "");
    char now[32];

    time_format(loop_wall_us(b->loop), false, now, sizeof(now));
    if (tree_find(vmi, "metadata", "deletionTimestamp", NULL)) {
        if (strcmp(phase, "Running") != 0)
            return 0;
        tree_set(status, "phase", tree_string("Succeeded"));
        return 1;
    }
    if (strcmp(phase, "Scheduled") == 0) {
        tree_set(status, "phase", tree_string("Running"));
        object_set_condition(vmi, "Ready", "True", "", "", loop_wall_us(b->loop));
        return 1;
    }
    if (!tree_get(ms, "migrationUid") || tree_get(ms, "completed"))
        return 0;
    if (!tree_get(ms, "targetNodeAddress")) {
        tree_set(ms, "targetNodeAddress", tree_string("10.0.0.1:4000"));
    } else if (!tree_get(ms, "startTimestamp")) {
        tree_set(ms, "startTimestamp", tree_string(now));
    } else {
        tree_set(ms, "targetNodeDomainDetected", tree_bool(true));
        tree_set(ms, "completed", tree_bool(true));
        tree_set(ms, "endTimestamp", tree_string(now));
    }
    return 1;
}

static void
on_event(void *ctx, const struct store_event *ev)
{
    struct big *b = ctx;

    b->writes++;
    if (ev->kind == KIND_VMI && ev->type != STORE_DELETED)
        store_mutate(b->store, KIND_VMI, object_namespace(ev->obj), object_name(ev->obj), 0, act,
                     NULL, b);
}

static int
beat(void *ctx, struct tree *node)
{
    struct big *b = ctx;
    char now[32];

    time_format(loop_wall_us(b->loop), false, now, sizeof(now));
    tree_set_path(node, tree_string(now), "metadata", "annotations", ANN_HEARTBEAT, NULL);
    return 1;
}

static void
on_beat(void *ctx)
{
    struct big *b = ctx;
    char name[32];

    loop_timer_add(b->loop, BEAT_US, on_beat, b);
    for (size_t i = 0; i < b->nodes; i++) {
        snprintf(name, sizeof(name), "n%05zu", i);
        store_mutate(b->store, KIND_NODE, NULL, name, 0, beat, NULL, b);
    }
}

/* --- the cluster --- */

static struct big *
big_new(size_t nodes)
{
    struct big *b = xcalloc(1, sizeof(*b));

    b->loop = loop_sim_new(1);
    b->store = store_open_mem(b->loop);
    b->watch = store_watch(b->store, KIND_NONE, on_event, b);
    b->loops = loops_start(b->loop, b->store, NULL);
    create(b, "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"shop\"}}");
    for (b->nodes = 0; b->nodes < nodes; b->nodes++)
        create(b,
               "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"n%05zu\","
               "\"labels\":{\"kubernetes.io/hostname\":\"n%05zu\",\"zone\":\"z%zu\","
               "\"kubevirt.io/schedulable\":\"true\","
               "\"host-model-cpu.node.kubevirt.io/Haswell\":\"true\","
               "\"cpu-model.node.kubevirt.io/Haswell\":\"true\","
               "\"cpu-model-migration.node.kubevirt.io/Haswell\":\"true\"}},"
               "\"status\":{\"allocatable\":{\"cpu\":\"64\",\"memory\":\"256Gi\",\"pods\":\"110\"},"
               "\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}",
               b->nodes, b->nodes, b->nodes % 8);
    on_beat(b);
    run(b, 1);
    return b;
}

static void
big_free(struct big *b)
{
    loops_stop(b->loops);
    store_unwatch(b->watch);
    store_free(b->store);
    loops_free(b->loops);
    loop_free(b->loop);
    free(b);
}

static void
create_vm(struct big *b, char prefix, size_t number, int memory_gib)
{
    create(b,
           "{\"apiVersion\":\"kubevirt.io/v1\",\"kind\":\"VirtualMachine\",\"metadata\":{\"name\":"
           "\"%c%06zu\",\"namespace\":\"shop\"},\"spec\":{\"runStrategy\":\"Always\",\"template\":{"
           "\"metadata\":{\"labels\":{\"app\":\"a%zu\"}},\"spec\":{\"domain\":{\"devices\":{},"
           "\"memory\":{\"guest\":\"%dGi\"}}}}}}",
           prefix, number, number % 20, memory_gib);
}

static void
add_vm(struct big *b)
{
    create_vm(b, 'v', b->vms++, 2);
}

static bool
count_phase(void *ctx, const struct tree *obj)
{
    struct {
        const char *phase;
        size_t len;
    } *c = ctx;

    c->len += strcmp(tree_find_string(obj, "", "status", "phase", NULL), c->phase) == 0;
    return true;
}

static size_t
in_phase(struct big *b, enum kind kind, const char *phase)
{
    struct {
        const char *phase;
        size_t len;
    } c = {phase, 0};

    store_list(b->store, kind, NULL, count_phase, &c);
    return c.len;
}

static void
add_vms(struct big *b, size_t until)
{
    while (b->vms < until) {
        for (size_t i = 0; i < 250 && b->vms < until; i++)
            add_vm(b);
        run(b, 0.1);
    }
    run(b, 5);
    assert_int_equal(in_phase(b, KIND_VMI, "Running"), b->vms);
}

/* CPU seconds for one VM that is created and started alone. */
static double
cost_of_one(struct big *b)
{
    double best = 1e9;

    for (int i = 0; i < ONES; i++) {
        double start = cpu_s(), took;

        add_vm(b);
        run(b, 0.1);
        took = cpu_s() - start;
        best = took < best ? took : best;
    }
    assert_int_equal(in_phase(b, KIND_VMI, "Running"), b->vms);
    return best;
}

/* VMs that fit nowhere wait, and cost the others nothing. */
static void
wait_in_vain(struct big *b, size_t vms, double few, bool print)
{
    double start = cpu_s(), took;
    struct tree *patch = tree_map();
    char name[32];

    for (size_t i = 0; i < vms; i++) {
        create_vm(b, 'w', i, 400);
        if (i % 250 == 249)
            run(b, 0.1);
    }
    run(b, 20);
    took = cpu_s() - start;
    assert_int_equal(in_phase(b, KIND_VMI, "Scheduling"), vms);
    if (print)
        print_message("%zu VMs that fit nowhere: %.2f s\n", vms, took);
    took = cost_of_one(b);
    if (print)
        print_message("one VM while they wait: %.0f us\n", took * 1e6);
    assert_true(took < 3 * few);
    start = cpu_s();
    tree_set_path(patch, tree_string("true"), "metadata", "labels", "new", NULL);
    store_patch(b->store, KIND_NODE, NULL, "n00000", 0, patch, must_work, NULL);
    run(b, 20);
    if (print)
        print_message("a node has another label, all are tried again: %.2f s\n", cpu_s() - start);
    for (size_t i = 0; i < vms; i++) {
        snprintf(name, sizeof(name), "w%06zu", i);
        store_delete(b->store, KIND_VM, "shop", name, NULL, 0, must_work, NULL);
    }
    run(b, 5);
    assert_int_equal(in_phase(b, KIND_VMI, "Scheduling"), 0);
}

static void
test_scale(void **state)
{
    size_t nodes = NODES, vms = VMS;
    const char *scale = getenv("LOOP_SCALE");
    double start, took, few, many;
    uint64_t writes;
    struct big *b;

    (void)state;
    if (scale && sscanf(scale, "%zu,%zu", &nodes, &vms) != 2)
        fail_msg("LOOP_SCALE=%s: want NODES,VMS", scale);
    start = cpu_s();
    b = big_new(nodes);
    if (scale)
        print_message("%zu nodes: %.2f s\n", nodes, cpu_s() - start);
    add_vms(b, vms / 10);
    few = cost_of_one(b);

    start = cpu_s();
    writes = b->writes;
    add_vms(b, vms);
    took = cpu_s() - start;
    if (scale)
        print_message("%zu VMs more, created and running: %.2f s, %.0f a second, %" PRIu64
                      " writes\n",
                      vms - vms / 10 - ONES, took, (double)(vms - vms / 10 - ONES) / took,
                      b->writes - writes);
    many = cost_of_one(b);
    if (scale)
        print_message("one VM: %.0f us among %zu, %.0f us among %zu\n", few * 1e6, vms / 10,
                      many * 1e6, vms);
    assert_true(many < 3 * few);
    wait_in_vain(b, vms / 5, few, scale != NULL);

    start = cpu_s();
    writes = b->writes;
    for (int i = 0; i < 10; i++)
        create(b,
               "{\"apiVersion\":\"nodemaintenance.medik8s.io/v1beta1\",\"kind\":"
               "\"NodeMaintenance\",\"metadata\":{\"name\":\"m%d\"},\"spec\":{\"nodeName\":"
               "\"n%05d\"}}",
               i, i * 7);
    run(b, 60);
    took = cpu_s() - start;
    assert_int_equal(in_phase(b, KIND_MAINTENANCE, "Succeeded"), 10);
    if (scale)
        print_message("10 nodes drained, %zu migrations: %.2f s, %" PRIu64 " writes\n",
                      in_phase(b, KIND_VMIM, "Succeeded"), took, b->writes - writes);

    start = cpu_s();
    run(b, 600);
    if (scale)
        print_message("600 s in which only the nodes beat: %.2f s\n", cpu_s() - start);
    start = cpu_s();
    for (size_t i = 0; i < b->vms; i++) {
        char name[32];

        snprintf(name, sizeof(name), "v%06zu", i);
        store_delete(b->store, KIND_VM, "shop", name, NULL, 0, must_work, NULL);
    }
    run(b, 30);
    assert_int_equal(store_count(b->store, KIND_VMI), 0);
    if (scale)
        print_message("%zu VMs deleted: %.2f s\n", b->vms, cpu_s() - start);
    big_free(b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_scale)};

    return cmocka_run_group_tests_name("loop_scale", tests, NULL, NULL);
}
