/* handler/native_* under migrate/engine.h: a running guest of every workload is moved by the engine
 * to a process that waits, over loopback, and is whole there; a failure leaves it where it was. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "handler/guest_main.h"
#include "handler/guest_workload.h"
#include "migrate/engine.h"
#include "tests/handler/native_rig.h"

static int
durable(void *ctx, struct err *err)
{
    (void)ctx;
    (void)err;
    return 0;
}

static int
not_durable(void *ctx, struct err *err)
{
    (void)ctx;
    return err_set(err, -5, "the disk is full");
}

struct target_side {
    struct mig_target *t;
    enum mig_target_outcome outcome;
    struct err err;
};

static void *
target_thread(void *arg)
{
    struct target_side *s = arg;

    s->outcome = mig_target_run(s->t, &s->err);
    return NULL;
}

/* Moves one; the outcomes of both sides. */
static enum mig_outcome
move(struct native_guest *from, struct native_guest *to, bool commit_works, struct target_side *dst)
{
    struct mig_source_config sc = {.guest = native_guest(from),
                                   .commit = commit_works ? durable : not_durable};
    struct mig_target_config tc = {
        .guest = native_guest(to), .prepared = durable, .committed = durable};
    enum mig_cause cause = MIG_CAUSE_NONE;
    enum mig_outcome out;
    struct mig_source *s;
    struct err err = {0};
    pthread_t thread;

    snprintf(sc.ident.vmi_uid, sizeof(sc.ident.vmi_uid), "%s", native_uid(from));
    snprintf(sc.ident.migration_uid, sizeof(sc.ident.migration_uid), "m-%s", native_uid(to));
    sc.ident.generation = 2;
    tc.ident = sc.ident;
    snprintf(tc.listen_ip, sizeof(tc.listen_ip), "127.0.0.1");
    if (mig_target_new(&tc, &dst->t, &err) < 0)
        fail_msg("%s", err_msg(&err));
    snprintf(sc.target_addr, sizeof(sc.target_addr), "%s", mig_target_address(dst->t));
    assert_int_equal(pthread_create(&thread, NULL, target_thread, dst), 0);
    s = mig_source_new(&sc);
    out = mig_source_run(s, &cause, &err);
    if (out != MIG_MOVED && commit_works)
        fail_msg("%s: %s", mig_cause_text(cause), err_msg(&err));
    pthread_join(thread, NULL);
    mig_source_free(s);
    mig_target_free(dst->t);
    return out;
}

static void
test_every_workload(void **state)
{
    (void)state;
    for (const char *const *w = guest_workload_names; *w; w++) {
        struct native_guest *from = native_rig_start(*w), *to = native_rig_start_incoming();
        struct native_status a, b;
        struct target_side dst = {0};

        NATIVE_RIG_UNTIL(from, a, a.steps > 300);
        assert_int_equal(move(from, to, true, &dst), MIG_MOVED);
        assert_int_equal(dst.outcome, MIG_TARGET_RUNNING);
        a = native_rig_status(from);
        assert_int_equal(a.state, NATIVE_PAUSED);
        NATIVE_RIG_UNTIL(to, b, b.steps > a.steps && b.downtime_known);
        assert_int_equal(b.state, NATIVE_RUNNING);
        native_rig_verify(to);
        native_rig_verify(from); /* it stands as it was left */
        /* beyond the working set it was never touched, and takes no memory here either */
        assert_true(native_rig_present_bytes(to) <= b.set_bytes);
        native_rig_finish(from);
        native_rig_finish(to);
    }
}

static void
test_commit_fails(void **state)
{
    struct native_guest *from = native_rig_start("mix"), *to = native_rig_start_incoming();
    struct native_status a, b;
    struct target_side dst = {0};

    (void)state;
    NATIVE_RIG_UNTIL(from, a, a.steps > 300);
    assert_int_equal(move(from, to, false, &dst), MIG_FAILED);
    assert_int_not_equal(dst.outcome, MIG_TARGET_RUNNING);
    a = native_rig_status(from);
    assert_int_equal(a.state, NATIVE_RUNNING);
    NATIVE_RIG_UNTIL(from, b, b.steps > a.steps);
    assert_int_equal(native_rig_status(to).resumes, 0);
    native_rig_finish(to);
    /* and again, with what was left of the first try */
    to = native_rig_start_incoming();
    assert_int_equal(move(from, to, true, &dst), MIG_MOVED);
    native_rig_verify(to);
    native_rig_finish(from);
    native_rig_finish(to);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_workload),
        cmocka_unit_test(test_commit_fails),
    };

    if (argc > 1)
        return guest_main(argc, argv);
    return cmocka_run_group_tests_name("native_migrate", tests, native_rig_setup,
                                       native_rig_teardown);
}
