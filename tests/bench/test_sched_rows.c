/* The scheduler's rows at a tiny size: the synthetic cluster is what it says, its loads ask what they
 * say, and each row comes out whole. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/strmap.h"
#include "bench/bench_rows.h"
#include "bench/sched_engine.h"
#include "bench/sched_load.h"

#define NODES 120

static const char *
label(const struct kv_list *l, const char *key)
{
    for (size_t i = 0; i < l->len; i++)
        if (strcmp(l->items[i].key, key) == 0)
            return l->items[i].value;
    return "";
}

static void
test_world(void **state)
{
    struct sched_world *w = sched_world_new(NODES, 50, 1), *again = sched_world_new(NODES, 50, 1);
    struct strmap *zones = strmap_new(), *racks = strmap_new();
    size_t tainted = 0;

    (void)state;
    for (size_t i = 0; i < NODES; i++) {
        const struct kv_list *l = &w->nodes[i].meta.labels;

        assert_string_equal(label(l, "kubernetes.io/hostname"), w->nodes[i].meta.name);
        assert_string_equal(label(l, "kubevirt.io/schedulable"), "true");
        strmap_put(zones, label(l, SCHED_WORLD_ZONE), w);
        strmap_put(racks, label(l, SCHED_WORLD_RACK), w);
        tainted += w->nodes[i].taints_len;
        assert_string_equal(label(l, SCHED_WORLD_DISK),
                            label(&again->nodes[i].meta.labels, SCHED_WORLD_DISK));
    }
    assert_int_equal(strmap_len(zones), 3);
    assert_int_equal(strmap_len(racks), 3);
    assert_int_equal(tainted, NODES / 16);
    for (size_t i = 0; i < w->vms_len; i++)
        assert_string_equal(w->vms[i].status.node_name, again->vms[i].status.node_name);
    strmap_free(zones, NULL);
    strmap_free(racks, NULL);
    sched_world_free(w);
    sched_world_free(again);
}

/* Every load but the last is placed as a whole; of the last nothing is. */
static void
test_loads(void **state)
{
    struct sched_world *w = sched_world_new(NODES, NODES, 1);

    (void)state;
    for (enum sched_load l = 0; l < SCHED_LOADS; l++) {
        struct cluster *c = sched_world_cluster(w);
        const struct vmi *vms = sched_load_make(l, 0, 60, w->arena);
        struct sched_engine e;
        struct err err = {0};

        sched_world_fill(w, c);
        sched_engine_open(&e, c, false);
        for (size_t i = 0; i < 60; i++) {
            const char *node = sched_engine_place(&e, &vms[i], true);

            if ((node == NULL) != (l == SCHED_LOAD_NONE))
                fail_msg("load %d, VM %zu: %s", (int)l, i, node ? node : "nowhere");
        }
        if (sched_engine_agrees(&e, &vms[0], &err) != 0)
            fail_msg("%s", err_msg(&err));
        sched_engine_close(&e);
        cluster_free(c);
    }
    sched_world_free(w);
}

/* Cold VMs differ in what they ask, warm ones of a class do not; and names never repeat. */
static void
test_classes(void **state)
{
    struct arena *a = arena_new();
    const struct vmi *cold = sched_load_make(SCHED_LOAD_COLD, 0, 2000, a);
    const struct vmi *more = sched_load_make(SCHED_LOAD_COLD, 2000, 1, a);
    const struct vmi *warm = sched_load_make(SCHED_LOAD_WARM, 0, 20, a);
    struct strmap *sizes = strmap_new(), *names = strmap_new();

    (void)state;
    for (size_t i = 0; i <= 2000; i++) {
        const struct vmi *v = i < 2000 ? &cold[i] : more;
        char *size = arena_printf(a, "%lld %lld", (long long)vmi_cpu_request_milli(&v->spec, 0),
                                  (long long)vmi_memory_request_bytes(&v->spec));

        assert_null(strmap_put(sizes, size, a));
        assert_null(strmap_put(names, v->meta.name, a));
    }
    assert_int_equal(vmi_memory_request_bytes(&warm[3].spec),
                     vmi_memory_request_bytes(&warm[13].spec));
    assert_string_not_equal(warm[3].meta.name, warm[13].meta.name);
    strmap_free(sizes, NULL);
    strmap_free(names, NULL);
    arena_free(a);
}

static void
run(struct bench_report *r, const struct bench_options *o,
    int (*row)(struct bench_run *b, struct err *err))
{
    struct bench_run b = {.o = o, .report = r};
    struct err err = {0};

    if (row(&b, &err) != 0)
        fail_msg("%s", err_msg(&err));
}

static void
test_row(void **state)
{
    struct bench_options o = {.nodes = NODES, .runs = 1};
    struct bench_report r = {0};

    (void)state;
    run(&r, &o, bench_row_sched);
    assert_int_equal(r.row_len, 1);
    assert_int_equal(r.rows[0].check_len, 2); /* memory: there is no figure to reach at this size */
    assert_non_null(strstr(r.rows[0].note, "12 decisions compared"));
    for (size_t i = 0; i < r.rows[0].figure_len; i++) {
        const struct bench_figure *f = &r.rows[0].figures[i];

        if (f->samples.len != 1 || !(f->samples.v[0] > 0))
            fail_msg("%s: no figure", f->what);
    }
    bench_report_done(&r);
}

static void
test_replay_without_data(void **state)
{
    struct bench_options o = {.data = "/nonexistent"};
    struct bench_report r = {0};

    (void)state;
    run(&r, &o, bench_row_replay);
    assert_int_equal(r.row_len, 2);
    for (size_t i = 0; i < r.row_len; i++) {
        assert_false(r.rows[i].failed);
        assert_non_null(strstr(r.rows[i].absent, "/nonexistent/"));
        assert_non_null(strstr(r.rows[i].absent, "No such file"));
    }
    bench_report_done(&r);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_world),
        cmocka_unit_test(test_loads),
        cmocka_unit_test(test_classes),
        cmocka_unit_test(test_row),
        cmocka_unit_test(test_replay_without_data),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
