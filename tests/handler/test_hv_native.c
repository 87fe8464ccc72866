/* Native guests behind the port of hv.h, with real guest processes: made from an object, paused by a user
 * so that a migration does not resume them, counted, found again, ended. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "base/sb.h"
#include "handler/guest_main.h"
#include "handler/hv_native.h"
#include "handler/mover.h"
#include "tests/handler/native_rig.h"

#define VMI(annotations, memory)                                                              \
    "{\"metadata\":{\"namespace\":\"shop\",\"name\":\"db\",\"uid\":\"u-1\",\"annotations\":{" \
    "\"drover.io/workload\":\"mix\",\"drover.io/workload-rate\":\"8Mi\"" annotations          \
    "}},\"spec\":{\"domain\":{\"memory\":{\"guest\":\"" memory "\"},\"devices\":{}}}}"

static int
start(struct hv_driver *d, const char *json, bool incoming, bool paused, struct hv_guest **ret,
      struct hv_refusal *why, struct err *err)
{
    AUTO_TREE struct tree *vmi = NULL;

    assert_int_equal(tree_from_json(json, strlen(json), &vmi, NULL), 0);
    return d->ops->start(d, &(struct hv_want){.vmi = vmi, .incoming = incoming, .paused = paused},
                         ret, why, err);
}

static struct hv_now
now(struct hv_guest *g)
{
    struct hv_now n;

    g->ops->now(g, &n);
    return n;
}

static void
finish(struct hv_guest *g)
{
    struct hv_exit x;

    assert_int_equal(g->ops->remove(g, NULL), 0);
    assert_false(hv_lives(g));
    g->ops->exit_reason(g, &x);
    assert_int_equal(x.kind, HV_EXIT_KILLED);
    g->ops->free(g);
}

static void
test_life(void **state)
{
    struct hv_driver *d = hv_native_driver(native_rig_state_dir, "/proc/self/exe");
    struct hv_guest *g, *again, **all;
    struct hv_refusal why = {0};
    struct hv_stats st;
    struct err err = {0};
    size_t len;

    (void)state;
    assert_int_equal(d->ops->ready(d, NULL), 0);
    if (start(d, VMI("", "16Mi"), false, false, &g, &why, &err) != 0)
        fail_msg("%s", err_msg(&err));
    assert_int_equal(g->ops->kind, HV_NATIVE);
    assert_ptr_equal(g->mover, &mover_engine);
    assert_string_equal(g->ops->uid(g), "u-1");
    assert_string_equal(g->ops->name(g), "shop/db");
    assert_int_equal(g->ops->memory_bytes(g), 16 << 20);
    assert_int_equal(now(g).state, HV_RUNNING);
    assert_int_equal(start(d, VMI("", "16Mi"), false, false, &again, &why, &err), -EEXIST);
    assert_int_equal(g->ops->stats(g, &st, &err), 0);
    assert_true(st.has_cpu && st.has_memory && !st.has_block && !st.has_net);
    assert_int_equal(st.memory_bytes, 16 << 20);
    assert_true(st.memory_rss_bytes > 0);
    assert_int_equal(g->ops->shut_down(g, NULL), -ENOTSUP);

    assert_int_equal(g->ops->pause(g, &err), 0);
    assert_int_equal(now(g).state, HV_PAUSED);
    assert_int_equal(now(g).pause, HV_PAUSE_USER);
    assert_int_equal(d->ops->open(d, "u-1", &again, &err), 0); /* as a new handler finds it */
    assert_int_equal(now(again).state, HV_PAUSED);
    again->ops->free(again);
    assert_int_equal(g->ops->resume(g, &err), 0);
    assert_int_equal(now(g).state, HV_RUNNING);

    assert_int_equal(d->ops->find(d, &all, &len, &err), 0);
    assert_int_equal(len, 1);
    assert_string_equal(all[0]->ops->uid(all[0]), "u-1");
    all[0]->ops->free(all[0]);
    free(all);
    finish(g);
    assert_int_equal(d->ops->open(d, "u-1", &again, &err), -ENOENT);
    d->ops->free(d);
}

/* What a migration does at its end on either side: it resumes. Not what its user has paused. */
static void
test_user_pause_holds(void **state)
{
    struct hv_driver *d = hv_native_driver(native_rig_state_dir, "/proc/self/exe");
    struct hv_refusal why = {0};
    struct hv_guest *g;
    struct guest port;

    (void)state;
    assert_int_equal(start(d, VMI("", "16Mi"), false, false, &g, &why, NULL), 0);
    port = native_guest(hv_native(g));
    assert_int_equal(g->ops->pause(g, NULL), 0);
    assert_int_equal(port.ops->resume(port.impl, NULL), 0);
    assert_int_equal(native_rig_status(hv_native(g)).state, NATIVE_PAUSED);
    assert_int_equal(g->ops->resume(g, NULL), 0);
    assert_int_equal(port.ops->pause(port.impl, NULL), 0); /* a migration's own */
    assert_int_equal(now(g).state, HV_RUNNING);
    assert_int_equal(port.ops->resume(port.impl, NULL), 0);
    assert_int_equal(native_rig_status(hv_native(g)).state, NATIVE_RUNNING);

    /* the guest that is gone is not said to have been resumed */
    assert_int_equal(g->ops->pause(g, NULL), 0);
    assert_int_equal(native_kill(hv_native(g), NULL), 0);
    assert_int_equal(port.ops->resume(port.impl, NULL), -ESRCH);
    finish(g);

    assert_int_equal(start(d, VMI("", "16Mi"), true, true, &g, &why, NULL), 0);
    assert_int_equal(now(g).state, HV_INCOMING);
    assert_true(native_held(hv_native(g)));
    hv_native_arrived(g);
    assert_int_equal(now(g).state, HV_PAUSED);
    finish(g);
    d->ops->free(d);
}

static void
test_refused(void **state)
{
    static const struct {
        const char *vmi, *says;
    } rows[] = {
        {VMI("", "1Ki"), "guest memory: want 4Ki to 64Ti"},
        {VMI(",\"drover.io/workload-set\":\"-1\"", "16Mi"),
         "annotation drover.io/workload-set: want 0 or more"},
        {VMI(",\"drover.io/workload-fill\":\"much\"", "16Mi"),
         "annotation drover.io/workload-fill"},
    };
    struct hv_driver *d = hv_native_driver(native_rig_state_dir, "/proc/self/exe");
    struct hv_driver *none = hv_native_driver(native_rig_state_dir, "/nowhere/drover-guest");
    struct err err = {0};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct hv_refusal why = {0};
        struct hv_guest *g;

        assert_int_equal(start(d, rows[i].vmi, false, false, &g, &why, &err), -EINVAL);
        assert_string_equal(why.reason, "UnsupportedField");
        if (!strstr(why.text, rows[i].says))
            fail_msg("%s", why.text);
        assert_int_equal(d->ops->open(d, "u-1", &g, &err), -ENOENT);
    }
    assert_int_equal(none->ops->ready(none, &err), -ENOENT);
    assert_non_null(strstr(err_msg(&err), "/nowhere/drover-guest"));
    none->ops->free(none);
    d->ops->free(d);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_life, native_rig_setup, native_rig_teardown),
        cmocka_unit_test_setup_teardown(test_user_pause_holds, native_rig_setup,
                                        native_rig_teardown),
        cmocka_unit_test_setup_teardown(test_refused, native_rig_setup, native_rig_teardown),
    };

    if (argc > 1)
        return guest_main(argc, argv);
    return cmocka_run_group_tests_name("native guests behind hv.h", tests, NULL, NULL);
}
