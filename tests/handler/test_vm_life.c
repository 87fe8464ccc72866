/* A VM's life on one host: the handler's own reconcile (vm_world.h). Which hypervisor it gets, starts that
 * are refused, pause, the grace period, ends of all kinds, figures, and a hypervisor that is away. */
#include "tests/handler/vm_world.h"

/* --- which hypervisor --- */

static const struct choice {
    const char *name;
    const char *annotation, *workload;
    enum handler_hypervisor option;
    bool up;             /* libvirt answers */
    const char *runs_on; /* NULL: nothing is started */
    const char *says;    /* then: the condition */
} choices[] = {
    {"auto, libvirt answers", NULL, NULL, HANDLER_HV_AUTO, true, "libvirt", NULL},
    {"auto, it does not", NULL, NULL, HANDLER_HV_AUTO, false, "native", NULL},
    {"a workload is a native guest's", NULL, "mix", HANDLER_HV_AUTO, true, "native", NULL},
    {"... unless the VM says otherwise", "libvirt", "mix", HANDLER_HV_AUTO, true, "libvirt", NULL},
    {"asked for native", "native", NULL, HANDLER_HV_LIBVIRT, true, "native", NULL},
    {"the option native", NULL, NULL, HANDLER_HV_NATIVE, true, "native", NULL},
    {"the option libvirt", NULL, NULL, HANDLER_HV_LIBVIRT, true, "libvirt", NULL},
    {"the option libvirt, and it is away", NULL, NULL, HANDLER_HV_LIBVIRT, false, NULL,
     "False HypervisorNotReady: no libvirt guests on node n1 now: nobody answers"},
    {"asked for libvirt, and it is away", "libvirt", NULL, HANDLER_HV_AUTO, false, NULL,
     "False HypervisorNotReady: no libvirt guests on node n1 now: nobody answers"},
    {"an unknown word", "xen", NULL, HANDLER_HV_AUTO, true, NULL,
     "False InvalidAnnotation: annotation drover.io/hypervisor: \"xen\": want native or libvirt"},
};

static void
test_choice(void **state)
{
    const struct choice *c = *state;

    w.h.cfg.hypervisor = c->option;
    w.drivers[HV_LIBVIRT].up = c->up;
    if (c->annotation)
        annotate(ANN_HYPERVISOR, c->annotation);
    if (c->workload)
        annotate(ANN_WORKLOAD, c->workload);
    changed();
    run(5 * SECONDS);
    if (c->runs_on) {
        assert_string_equal(phase(), "Running");
        assert_string_equal(object_annotation(w.vmi, ANN_RUNS_ON), c->runs_on);
        assert_string_equal(hv_kind_name(entry()->j.hypervisor), c->runs_on);
        assert_string_equal(hv_kind_name(w.dom.kind), c->runs_on);
        assert_string_equal(condition("Synchronized"), "");
    } else {
        assert_false(w.dom.there);
        assert_string_equal(condition("Synchronized"), c->says);
    }
}

static void
test_choice_waits_for_libvirt(void **state)
{
    (void)state;
    w.drivers[HV_LIBVIRT].up = false;
    changed();
    run(SECONDS);
    assert_string_equal(phase(), "Scheduled"); /* it may answer yet */
    libvirt_is(true);
    run(SECONDS);
    assert_string_equal(object_annotation(w.vmi, ANN_RUNS_ON), "libvirt");
}

/* --- refused --- */

static void
test_refused_until_the_volume_is_there(void **state)
{
    struct fake_driver *d = &w.drivers[HV_LIBVIRT];
    unsigned starts;

    (void)state;
    d->refuse_rc = -EINVAL; /* the code of a manifest's faults, too: the reason counts */
    d->refuse = (struct hv_refusal){"FailedPvcNotFound", "volume root: no claim db-root"};
    tree_set_path(w.vmi, tree_list(), "spec", "volumes", NULL);
    tree_append(tree_get(tree_get(w.vmi, "spec"), "volumes"), tree_map());
    tree_set_path(tree_at(tree_get(tree_get(w.vmi, "spec"), "volumes"), 0), tree_string("db-root"),
                  "persistentVolumeClaim", "claimName", NULL);
    tree_set_path(w.vmi, tree_list(), "spec", "networks", NULL);
    tree_append(tree_get(tree_get(w.vmi, "spec"), "networks"), tree_map());
    tree_set_path(tree_at(tree_get(tree_get(w.vmi, "spec"), "networks"), 0),
                  tree_string("net/vlan5"), "multus", "networkName", NULL);
    changed();
    run(SECONDS / 2);
    assert_string_equal(phase(), "Scheduled");
    assert_string_equal(condition("Synchronized"),
                        "False FailedPvcNotFound: volume root: no claim db-root");
    assert_false(entry()->has_journal);
    run(600 * SECONDS); /* tried again, and less and less often */
    assert_in_range(d->starts, 10, 20);
    assert_string_equal(phase(), "Scheduled");

    starts = d->starts;
    d->refuse_rc = 0;
    put_object(w.h.pvcs, "{\"metadata\":{\"namespace\":\"shop\",\"name\":\"db-root\"},"
                         "\"spec\":{\"volumeName\":\"pv-7\"}}");
    put_object(w.h.pvcs, "{\"metadata\":{\"namespace\":\"other\",\"name\":\"db-root\"}}");
    put_object(w.h.pvs, "{\"metadata\":{\"name\":\"pv-7\"}}");
    put_object(w.h.nads, "{\"metadata\":{\"namespace\":\"net\",\"name\":\"vlan5\"}}");
    vm_refused_again(&w.h);
    run(SECONDS / 2);
    assert_int_equal(d->starts, starts + 1);
    assert_int_equal(d->pvcs, 1);
    assert_int_equal(d->pvs, 1);
    assert_int_equal(d->nads, 1);
    assert_string_equal(phase(), "Running");
    assert_string_equal(condition("Synchronized"), "");
}

/* The volume comes while a start without it is under way: that start's refusal is not waited out. */
static void
test_refused_while_the_volume_comes(void **state)
{
    struct fake_driver *d = &w.drivers[HV_LIBVIRT];

    (void)state;
    d->refuse_rc = -EINVAL;
    d->refuse = (struct hv_refusal){"FailedPvcNotFound", "volume root: no claim db-root"};
    changed();
    run(100 * SECONDS); /* the next try is far away */
    w.slow = true;
    vm_refused_again(&w.h);
    assert_true(entry()->busy);
    d->refuse_rc = 0;
    vm_refused_again(&w.h);
    run(SECONDS);
    assert_true(w.dom.there);
    w.slow = false;
    run(SECONDS);
}

static void
test_refused_for_good(void **state)
{
    struct fake_driver *d = &w.drivers[HV_LIBVIRT];

    (void)state;
    d->refuse_rc = -ENOTSUP;
    d->refuse = (struct hv_refusal){"UnsupportedField", "spec.domain.devices.gpus: not made here"};
    changed();
    run(SECONDS);
    assert_string_equal(phase(), "Failed");
    assert_string_equal(condition("Synchronized"),
                        "False UnsupportedField: spec.domain.devices.gpus: not made here");
    vm_refused_again(&w.h);
    run(300 * SECONDS);
    assert_int_equal(d->starts, 1);
    assert_false(entry()->has_journal);
}

/* --- pause --- */

static void
test_pause(void **state)
{
    (void)state;
    start();
    annotate(ANN_PAUSE_REQUEST, "true");
    run(SECONDS);
    assert_int_equal(w.dom.now.state, HV_PAUSED);
    assert_string_equal(condition("Paused"), "True PausedByUser: VMI was paused by user");
    assert_string_equal(phase(), "Running");

    handler_end(); /* a new handler finds it so, and leaves it so */
    handler_begin();
    libvirt_is(true);
    changed();
    run(SECONDS);
    assert_int_equal(w.dom.now.state, HV_PAUSED);

    annotate(ANN_PAUSE_REQUEST, "false");
    run(SECONDS);
    assert_int_equal(w.dom.now.state, HV_RUNNING);
    assert_string_equal(condition("Paused"), "");
    assert_null(object_annotation(w.vmi, ANN_PAUSE_REQUEST));
}

static void
test_pause_of_others(void **state)
{
    static const struct {
        enum hv_pause why;
        const char *says;
    } rows[] = {
        {HV_PAUSE_USER, "True PausedByUser: VMI was paused by user"},
        {HV_PAUSE_IO_ERROR, "True PausedIOError: VMI was paused, low-level IO error detected"},
        {HV_PAUSE_OTHER, "True PausedByHypervisor: VMI was paused by its hypervisor"},
    };

    (void)state;
    start();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        w.dom.now = (struct hv_now){.state = HV_PAUSED, .pause = rows[i].why};
        tell();
        run(SECONDS);
        assert_string_equal(condition("Paused"), rows[i].says);
        annotate(ANN_PAUSE_REQUEST, "false"); /* unpause */
        run(SECONDS);
        assert_int_equal(w.dom.now.state, HV_RUNNING);
        assert_string_equal(condition("Paused"), "");
        assert_null(object_annotation(w.vmi, ANN_PAUSE_REQUEST));
    }
}

/* A migration leaves a guest that it brought paused with a reason of its own. */
static void
test_pause_over_a_migration(void **state)
{
    (void)state;
    start();
    annotate(ANN_PAUSE_REQUEST, "true");
    run(SECONDS);
    w.dom.now.pause = HV_PAUSE_MIGRATION;
    tell();
    run(SECONDS);
    assert_int_equal(w.dom.now.state, HV_PAUSED);
    assert_string_equal(condition("Paused"), "True PausedByUser: VMI was paused by user");
    annotate(ANN_PAUSE_REQUEST, "false");
    run(SECONDS);
    assert_int_equal(w.dom.now.state, HV_RUNNING);

    w.dom.now = (struct hv_now){.state = HV_PAUSED, .pause = HV_PAUSE_MIGRATION};
    tell(); /* nobody wants it so */
    run(SECONDS);
    assert_int_equal(w.dom.now.state, HV_RUNNING);
    assert_string_equal(condition("Paused"), "");
}

static void
test_agent(void **state)
{
    (void)state;
    start();
    assert_string_equal(condition("AgentConnected"), "");
    w.dom.now.agent_connected = true;
    tell();
    run(SECONDS);
    assert_string_equal(condition("AgentConnected"), "True : ");
    w.dom.now.agent_connected = false;
    tell();
    run(SECONDS);
    assert_string_equal(condition("AgentConnected"), "");
}

/* --- the end --- */

static void
test_powers_off_in_time(void **state)
{
    (void)state;
    start();
    w.dom.obeys = true;
    delete_vmi();
    run(SECONDS);
    assert_int_equal(w.dom.shut_downs, 1);
    tell();
    run(SECONDS);
    assert_false(w.dom.there);
    assert_string_equal(phase(), "Succeeded");
}

static void
test_grace(void **state)
{
    static const struct {
        const char *name;
        int64_t seconds; /* -1: the default */
        uint64_t lives_s, gone_s;
        unsigned asked;
    } rows[] = {
        {"the default", -1, 29, 31, 3},
        {"its own", 12, 11, 13, 2},
        {"none", 0, 0, 1, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t began;

        if (i > 0) {
            teardown(NULL);
            setup(NULL);
        }
        if (rows[i].seconds >= 0)
            tree_set_path(w.vmi, tree_int(rows[i].seconds), "spec", "terminationGracePeriodSeconds",
                          NULL);
        start();
        run(SECONDS - loop_wall_us(w.h.l) % SECONDS); /* deletionTimestamp has whole seconds */
        began = loop_now_us(w.h.l);
        delete_vmi();
        if (rows[i].lives_s) {
            run(rows[i].lives_s * SECONDS);
            assert_true(w.dom.there);
        }
        run(began + rows[i].gone_s * SECONDS - loop_now_us(w.h.l));
        assert_false(w.dom.there);
        assert_int_equal(w.dom.shut_downs, rows[i].asked);
        run(SECONDS);
        assert_string_equal(phase(), "Succeeded");
    }
}

/* A handler that is restarted in between does not begin to wait anew. */
static void
test_grace_over_a_restart(void **state)
{
    (void)state;
    start();
    delete_vmi();
    run(20 * SECONDS);
    handler_end();
    handler_begin();
    libvirt_is(true);
    changed();
    run(8 * SECONDS);
    assert_true(w.dom.there);
    run(4 * SECONDS);
    assert_false(w.dom.there);
}

static void
test_no_grace_without_ears(void **state)
{
    (void)state;
    annotate(ANN_WORKLOAD, "idle");
    start();
    delete_vmi();
    run(SECONDS);
    assert_false(w.dom.there);
    assert_string_equal(phase(), "Succeeded");
}

static const struct ending {
    const char *name;
    enum hv_exit_kind kind;
    bool vanishes; /* nothing of it is left: undefined behind our back */
    const char *phase, *reason;
} endings[] = {
    {"powers itself off", HV_EXIT_QUIT, false, "Succeeded", "it ended"},
    {"crashes", HV_EXIT_CRASHED, false, "Failed", "it ended"},
    {"fails", HV_EXIT_FAILED, false, "Failed", "it ended"},
    {"is destroyed", HV_EXIT_KILLED, false, "Failed", "it ended"},
    {"is undefined", HV_EXIT_KILLED, true, "Failed", "it ended"},
    {"is migrated by others", HV_EXIT_MIGRATED, false, "Failed", "it ended"},
};

static void
test_ending(void **state)
{
    const struct ending *r = *state;

    start();
    ends(r->kind, "it ended");
    w.dom.there = !r->vanishes;
    tell();
    run(SECONDS);
    assert_string_equal(phase(), r->phase);
    assert_string_equal(tree_find_string(w.vmi, "", "status", "reason", NULL), r->reason);
    assert_non_null(strstr(condition("Ready"), "False GuestNotRunning"));
    changed();
    run(SECONDS);
    assert_false(w.dom.there);
    assert_false(entry()->has_journal);
}

static void
test_reboot(void **state)
{
    (void)state;
    start();
    w.dom.now.resets++;
    tell();
    run(SECONDS);
    assert_string_equal(phase(), "Running");
    assert_int_equal(w.drivers[HV_LIBVIRT].starts, 1);
}

/* --- a hypervisor that is away --- */

static void
test_away(void **state)
{
    (void)state;
    start();
    libvirt_is(false);
    run(300 * SECONDS);
    assert_string_equal(phase(), "Running");
    assert_string_equal(condition("Ready"), "Unknown HypervisorNotReady: nobody answers");
    libvirt_is(true);
    run(SECONDS);
    assert_string_equal(condition("Ready"), "True : ");
    assert_true(w.dom.there);
}

/* The handler was started anew and libvirt is not there: whatever the objects say, nothing is done. */
static void
test_away_at_start(void **state)
{
    static const bool deleted[] = {false, true};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(deleted); i++) {
        if (i > 0) {
            teardown(NULL);
            setup(NULL);
        }
        start();
        handler_end();
        w.drivers[HV_LIBVIRT].up = false;
        handler_begin();
        if (deleted[i])
            delete_vmi();
        changed();
        run(300 * SECONDS);
        assert_string_equal(phase(), "Running");
        assert_string_equal(condition("Ready"), "Unknown HypervisorNotReady: nobody answers");
        assert_int_equal(entry()->j.state, JOURNAL_RUNNING);
        assert_true(w.dom.there);
        assert_null(entry()->guest);

        libvirt_is(true);
        run(SECONDS);
        if (deleted[i]) {
            assert_false(w.dom.there); /* its grace period is long over */
            continue;
        }
        assert_non_null(entry()->guest);
        assert_string_equal(condition("Ready"), "True : ");
        assert_int_equal(w.drivers[HV_LIBVIRT].starts, 1);
    }
}

/* ... and when libvirt comes back without it, it is gone. */
static void
test_gone_at_start(void **state)
{
    (void)state;
    start();
    handler_end();
    w.drivers[HV_LIBVIRT].up = false;
    w.dom.there = false;
    handler_begin();
    changed();
    run(10 * SECONDS);
    assert_string_equal(phase(), "Running");
    libvirt_is(true);
    run(SECONDS);
    assert_string_equal(phase(), "Failed");
    assert_string_equal(tree_find_string(w.vmi, "", "status", "reason", NULL),
                        "the guest domain is gone");
}

/* libvirt ends the source's domain by itself: a handler that comes back after that does not know by its
 * journal. The target is asked; that the guest is dead is never concluded. */
static void
test_left_with_a_migration(void **state)
{
    static const char ms[] =
        "{\"migrationUid\":\"m-1\",\"sourceNode\":\"n1\",\"targetNode\":\"n2\","
        "\"targetNodeAddress\":\"198.18.0.2:49152\",\"startTimestamp\":\"2026-01-01T00:00:00Z\"}";
    struct tree *t;

    (void)state;
    start();
    handler_end();
    w.dom.there = false;
    handler_begin();
    assert_int_equal(tree_from_json(ms, strlen(ms), &t, NULL), 0);
    tree_set_path(w.vmi, t, "status", "migrationState", NULL);
    libvirt_is(true);
    changed();
    run(10 * SECONDS);
    assert_string_equal(phase(), "Running");
    assert_int_equal(entry()->j.state, JOURNAL_COMMITTED);
    assert_string_equal(entry()->j.migration_uid, "m-1");
}

/* --- figures --- */

static const char *
metrics(void)
{
    static struct sb out;

    sb_reset(&out);
    node_metrics_text(&w.h, &out);
    return sb_str(&out);
}

static void
test_figures(void **state)
{
    static const char cpu[] =
        "kubevirt_vmi_cpu_usage_seconds_total{node=\"n1\",namespace=\"shop\",name=\"db\"} 1.5\n";
    static const char available[] =
        "kubevirt_vmi_memory_available_bytes{node=\"n1\",namespace=\"shop\",name=\"db\"} 4096\n";
    static const char what[] = "drover_vmi_hypervisor{node=\"n1\",namespace=\"shop\",name=\"db\","
                               "hypervisor=\"libvirt\"} 1\n";

    (void)state;
    w.h.metrics = node_metrics_new();
    w.h.rdma = node_rdma_new(w.h.l, NULL, "", false, 1 << 30, NULL, NULL);
    w.h.share = share_new();
    start();
    assert_non_null(strstr(metrics(), what));
    assert_null(strstr(metrics(), "kubevirt_vmi_cpu"));
    vm_stats_start(&w.h);
    run(HANDLER_STATS_US + 1);
    assert_non_null(strstr(metrics(), cpu));
    assert_non_null(strstr(metrics(), available));
    assert_null(strstr(metrics(), "kubevirt_vmi_storage")); /* not known is not 0 */

    libvirt_is(false); /* nobody is asked who does not answer, and old figures are no news */
    w.dom.looks = 0;
    run(3 * HANDLER_STATS_US);
    assert_int_equal(w.dom.looks, 0);
    assert_null(strstr(metrics(), "kubevirt_vmi_cpu"));
    libvirt_is(true);
    run(2 * HANDLER_STATS_US);
    assert_non_null(strstr(metrics(), cpu));

    ends(HV_EXIT_QUIT, "powered off");
    tell();
    run(SECONDS);
    changed();
    run(HANDLER_STATS_US + SECONDS);
    assert_null(strstr(metrics(), "kubevirt_vmi_"));
    vm_stats_stop(&w.h);
    share_free(w.h.share);
    node_metrics_free(w.h.metrics);
    node_rdma_free(w.h.rdma);
}

/* The guest goes while its figures are being taken: its handle lives until they have been. */
static void
test_figures_of_one_that_goes(void **state)
{
    (void)state;
    start();
    vm_stats_start(&w.h);
    loop_sim_run_until(w.h.l, loop_now_us(w.h.l) + HANDLER_STATS_US - 1);
    w.slow = true;
    run(2);
    assert_true(entry()->sampling);
    vm_drop_guest(entry());
    assert_non_null(w.handle);
    w.slow = false;
    run(SECONDS);
    assert_null(w.handle);
    vm_stats_stop(&w.h);
}

int
main(void)
{
    struct CMUnitTest tests[64] = {
        cmocka_unit_test_setup_teardown(test_choice_waits_for_libvirt, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused_until_the_volume_is_there, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused_while_the_volume_comes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused_for_good, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pause, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pause_of_others, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pause_over_a_migration, setup, teardown),
        cmocka_unit_test_setup_teardown(test_agent, setup, teardown),
        cmocka_unit_test_setup_teardown(test_powers_off_in_time, setup, teardown),
        cmocka_unit_test_setup_teardown(test_grace, setup, teardown),
        cmocka_unit_test_setup_teardown(test_grace_over_a_restart, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_grace_without_ears, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reboot, setup, teardown),
        cmocka_unit_test_setup_teardown(test_away, setup, teardown),
        cmocka_unit_test_setup_teardown(test_away_at_start, setup, teardown),
        cmocka_unit_test_setup_teardown(test_gone_at_start, setup, teardown),
        cmocka_unit_test_setup_teardown(test_figures, setup, teardown),
        cmocka_unit_test_setup_teardown(test_figures_of_one_that_goes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_left_with_a_migration, setup, teardown),
    };
    size_t n = 0;

    while (tests[n].test_func)
        n++;
    for (size_t i = 0; i < ARRAY_LEN(choices); i++, n++) {
        tests[n] = (struct CMUnitTest)cmocka_unit_test_prestate_setup_teardown(
            test_choice, setup, teardown, (void *)(uintptr_t)&choices[i]);
        tests[n].name = choices[i].name;
    }
    for (size_t i = 0; i < ARRAY_LEN(endings); i++, n++) {
        tests[n] = (struct CMUnitTest)cmocka_unit_test_prestate_setup_teardown(
            test_ending, setup, teardown, (void *)(uintptr_t)&endings[i]);
        tests[n].name = endings[i].name;
    }
    return _cmocka_run_group_tests("a VM's life", tests, n, NULL, NULL);
}
