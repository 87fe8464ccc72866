/* Changes of the host's networks on the real kernel, in a namespace of this test's own: whole or not
 * at all, also when the process dies at any point of them. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/fault.h"
#include "handler/net_apply.h"
#include "netpolicy/nl_link.h"
#include "tests/handler/net_rig.h"

struct rig {
    char dir[64];
    struct tree *before;
};

static int
setup(void **state)
{
    struct rig *r = xcalloc(1, sizeof *r);

    if (net_rig_new(r->dir))
        r->before = net_rig_state();
    *state = r;
    return 0;
}

static int
teardown(void **state)
{
    struct rig *r = *state;

    fault_clear();
    net_rig_done(r->dir);
    tree_free(r->before);
    free(r);
    return 0;
}

/* One change to what the desired state says; NULL: to nothing. */
static int
change(const char *dir, const struct tree *desired, bool trial, enum net_phase *ret_phase,
       struct net_applied *ret, struct err *err)
{
    AUTO_TREE struct tree *policies = tree_map();
    struct arena *a = arena_new();
    struct net_journal j = {0};
    struct net_wants wants = {0};
    int rc = net_journal_load(dir, &j, err);

    if (rc == 0 && desired)
        rc = net_want_policy(desired, "NodeNetworkConfigurationPolicy p", a, &wants, err);
    if (desired)
        tree_set(policies, "p", tree_copy(desired));
    if (rc == 0)
        rc = net_apply_change(dir, &j, &wants, NULL, policies, trial, ret, err);
    if (ret_phase)
        *ret_phase = j.phase;
    net_journal_done(&j);
    arena_free(a);
    return rc;
}

static void
must_change(const char *dir, const struct tree *desired)
{
    struct net_applied applied;
    struct err err = {0};

    if (change(dir, desired, false, NULL, &applied, &err) != 0)
        fail_msg("%s", err_msg(&err));
}

/* Its inode, which each write of it changes; 0: it is not there. */
static ino_t
journal_file(const char *dir)
{
    AUTO_FREE char *path = xasprintf("%s/network.json", dir);
    struct stat st;

    return stat(path, &st) == 0 ? st.st_ino : 0;
}

/* A bridge with a port of another MTU and an address: more than ten steps of several kinds. */
static struct tree *
wide(void)
{
    return net_rig_json(
        "{'interfaces': [{'name': 'eth1', 'type': 'ethernet', 'state': 'up', 'mtu': 1400},"
        " {'name': 'br1', 'type': 'linux-bridge', 'state': 'up', 'mtu': 1400,"
        "  'ipv4': {'enabled': true, 'dhcp': false, 'address': [{'ip': '10.200.7.1', "
        "'prefix-length': 24}]},"
        "  'bridge': {'options': {'stp': {'enabled': false}},"
        "             'port': [{'name': 'eth1'}, {'name': 'eth2'}]}}]}");
}

static void
test_done_and_undone(void **state)
{
    net_rig_need();

    struct rig *r = *state;
    AUTO_TREE struct tree *desired = wide();
    AUTO_TREE struct tree *after = NULL;
    struct net_applied applied;
    struct err err = {0};
    unsigned steps = 0;
    ino_t file;

    must_change(r->dir, desired);
    assert_true(net_rig_has("br1"));
    after = net_rig_state();
    file = journal_file(r->dir);
    assert_int_equal(change(r->dir, desired, false, NULL, &applied, &err), 0);
    assert_int_equal(applied.steps, 0);           /* what is right is not touched */
    assert_int_equal(journal_file(r->dir), file); /* nor written down again */

    must_change(r->dir, NULL);
    AUTO_TREE struct tree *back = net_rig_state();
    net_rig_same(r->before, back);

    must_change(r->dir, desired);
    AUTO_TREE struct tree *again = net_rig_state();
    assert_int_equal(tree_len(tree_get(again, "interfaces")),
                     tree_len(tree_get(after, "interfaces")));
    assert_int_equal(net_apply_leave(r->dir, &steps, &err), 0);
    assert_true(steps > 0);
    assert_int_equal(journal_file(r->dir), 0);
    AUTO_TREE struct tree *left = net_rig_state();
    net_rig_same(r->before, left);
    assert_int_equal(net_apply_leave(r->dir, &steps, &err), 0); /* nothing is left to do */
    assert_int_equal(steps, 0);
}

/* Whatever was there before drover is what leave puts back, not what was there between two changes. */
static void
test_leave_after_two(void **state)
{
    net_rig_need();

    struct rig *r = *state;
    AUTO_TREE struct tree *one = net_rig_bridge("br1", "eth1");
    AUTO_TREE struct tree *two = net_rig_bridge("br2", "eth1");
    struct err err = {0};
    unsigned steps;

    must_change(r->dir, one);
    must_change(r->dir, two);
    assert_false(net_rig_has("br1"));
    assert_int_equal(net_apply_leave(r->dir, &steps, &err), 0);
    AUTO_TREE struct tree *left = net_rig_state();
    net_rig_same(r->before, left);
}

static void
test_failed_step(void **state)
{
    net_rig_need();

    struct rig *r = *state;
    AUTO_TREE struct tree *desired = wide();
    unsigned n;

    for (n = 1; n < 100; n++) {
        AUTO_FREE char *spec = xasprintf("net.change.step@%u:error", n);
        struct net_applied applied;
        enum net_phase phase;
        struct err err = {0};
        int rc;

        assert_int_equal(fault_arm(spec, &err), 0);
        rc = change(r->dir, desired, false, &phase, &applied, &err);
        fault_clear();
        if (rc == 0)
            break;
        assert_int_equal(phase, NET_IDLE);
        assert_int_equal(applied.steps, n - 1);
        AUTO_TREE struct tree *now = net_rig_state();
        net_rig_same(r->before, now);
    }
    assert_in_range(n, 6, 99); /* there were so many steps */
    assert_true(net_rig_has("br1"));
}

/* On top of what an earlier change made, a failed one goes back to that, not to the beginning. */
static void
test_failed_second(void **state)
{
    net_rig_need();

    struct rig *r = *state;
    AUTO_TREE struct tree *one = net_rig_bridge("br1", "eth1");
    AUTO_TREE struct tree *two = net_rig_bridge("br2", "eth1");
    struct net_applied applied;
    struct err err = {0};
    unsigned steps;

    must_change(r->dir, one);
    AUTO_TREE struct tree *between = net_rig_state();
    for (unsigned n = 1; n < 100; n++) {
        AUTO_FREE char *spec = xasprintf("net.change.step@%u:error", n);
        int rc;

        assert_int_equal(fault_arm(spec, &err), 0);
        rc = change(r->dir, two, false, NULL, &applied, &err);
        fault_clear();
        if (rc == 0)
            break;
        AUTO_TREE struct tree *now = net_rig_state();
        /* what was removed and made again may have another MAC: the kernel gave the first one */
        assert_int_equal(tree_len(tree_get(now, "interfaces")),
                         tree_len(tree_get(between, "interfaces")));
        assert_true(net_rig_has("br1"));
        assert_false(net_rig_has("br2"));
    }
    assert_true(net_rig_has("br2"));
    assert_int_equal(net_apply_leave(r->dir, &steps, &err), 0);
    AUTO_TREE struct tree *left = net_rig_state();
    net_rig_same(r->before, left);
}

/* In a child that the fault kills; true when it came so far. */
static bool
killed(const char *dir, const struct tree *desired, const char *spec)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        struct net_applied applied;
        struct err err = {0};

        if (fault_arm(spec, &err) != 0)
            _exit(3);
        _exit(change(dir, desired, false, NULL, &applied, &err) == 0 ? 0 : 2);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status)) {
        assert_int_not_equal(WEXITSTATUS(status), 3);
        return false;
    }
    assert_int_equal(WTERMSIG(status), SIGKILL);
    return true;
}

static void
test_killed(void **state)
{
    net_rig_need();

    static const char *const points[] = {"net.change.journaled", "net.change.step",
                                         "net.change.done"};
    struct rig *r = *state;
    AUTO_TREE struct tree *desired = wide();
    AUTO_TREE struct tree *other = net_rig_bridge("br9", "eth2");
    struct err err = {0};
    unsigned steps, deaths = 0;

    for (size_t p = 0; p < 3; p++)
        for (unsigned n = 1; n < 100; n++) {
            AUTO_FREE char *spec = xasprintf("%s@%u:kill", points[p], n);

            if (!killed(r->dir, desired, spec)) {
                assert_int_equal(net_apply_leave(r->dir, &steps, &err), 0);
                break;
            }
            deaths++;
            switch (deaths % 3) { /* what the next run is asked for */
            case 0:
                must_change(r->dir, desired);
                assert_true(net_rig_has("br1"));
                break;
            case 1:
                must_change(r->dir, other);
                assert_false(net_rig_has("br1"));
                assert_true(net_rig_has("br9"));
                break;
            default:
                break;
            }
            if (net_apply_leave(r->dir, &steps, &err) != 0)
                fail_msg("%s: %s", spec, err_msg(&err));
            AUTO_TREE struct tree *now = net_rig_state();
            net_rig_same(r->before, now);
        }
    assert_true(deaths > 6);
}

static void
test_killed_on_the_way_back(void **state)
{
    net_rig_need();

    struct rig *r = *state;
    AUTO_TREE struct tree *desired = wide();
    unsigned deaths = 0;

    for (unsigned n = 1; n < 100; n++) {
        struct net_journal j = {0};
        struct err err = {0};
        AUTO_FREE char *spec = xasprintf("net.back.step@%u:kill", n);
        int status;
        pid_t pid = fork();

        if (pid == 0) {
            struct net_applied applied;

            fault_arm("net.change.done:error", &err);
            fault_arm(spec, &err);
            change(r->dir, desired, false, NULL, &applied, &err);
            _exit(0);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(net_journal_load(r->dir, &j, &err), 0);
        if (WIFEXITED(status)) {
            assert_int_equal(j.phase, NET_IDLE);
            net_journal_done(&j);
            break;
        }
        deaths++;
        assert_int_equal(j.phase, NET_BACK);
        if (net_apply_back(r->dir, &j, &err) != 0)
            fail_msg("%s: %s", spec, err_msg(&err));
        net_journal_done(&j);
        AUTO_TREE struct tree *now = net_rig_state();
        net_rig_same(r->before, now);
    }
    assert_true(deaths >= 2);
}

static void
test_trial(void **state)
{
    net_rig_need();

    struct rig *r = *state;
    AUTO_TREE struct tree *desired = wide();
    struct net_journal j = {0};
    struct net_applied applied;
    enum net_phase phase;
    struct err err = {0};

    assert_int_equal(change(r->dir, desired, true, &phase, &applied, &err), 0);
    assert_int_equal(phase, NET_PROBING);
    assert_int_equal(net_journal_load(r->dir, &j, &err), 0);
    assert_null(tree_get(j.policies, "p")); /* not before it is confirmed */
    assert_int_equal(net_apply_back(r->dir, &j, &err), 0);
    net_journal_done(&j);
    AUTO_TREE struct tree *now = net_rig_state();
    net_rig_same(r->before, now);

    assert_int_equal(change(r->dir, desired, true, &phase, &applied, &err), 0);
    assert_int_equal(net_journal_load(r->dir, &j, &err), 0);
    assert_int_equal(j.phase, NET_PROBING);
    assert_int_equal(net_apply_confirm(r->dir, &j, &err), 0);
    assert_non_null(tree_get(j.policies, "p"));
    net_journal_done(&j);
    assert_true(net_rig_has("br1"));
}

/* What others change between two of our changes is theirs, and stays. */
static void
test_others(void **state)
{
    net_rig_need();

    struct rig *r = *state;
    AUTO_TREE struct tree *desired = net_rig_bridge("br1", "eth1");
    struct err err = {0};
    struct ip ip;
    unsigned steps;

    must_change(r->dir, desired);
    assert_int_equal(ip_parse("10.200.9.9", &ip, NULL), 0);
    assert_int_equal(nl_addr_add("eth2", &ip, 24, &err), 0);
    assert_int_equal(nl_bridge_add("theirs", &err), 0);
    AUTO_TREE struct tree *with = net_rig_state();
    assert_int_equal(net_apply_leave(r->dir, &steps, &err), 0);
    assert_false(net_rig_has("br1"));
    assert_true(net_rig_has("theirs"));
    AUTO_TREE struct tree *left = net_rig_state();
    assert_int_equal(tree_len(tree_get(left, "interfaces")) + 1,
                     tree_len(tree_get(with, "interfaces")));
    struct nl_addr_found found[16];
    int n = nl_addresses(found, 16, &err), seen = 0;

    for (int i = 0; i < n; i++)
        seen += ip_equal(&found[i].ip, &ip);
    assert_int_equal(seen, 1);
}

static void
test_bad_journal(void **state)
{
    net_rig_need();

    static const struct {
        const char *text, *says;
    } rows[] = {
        {"", "network.json"},
        {"{}", "version: want 1"},
        {"{\"version\":2}", "version: want 1"},
        {"{\"version\":1,\"change\":{\"phase\":\"sideways\"}}", "want applying, probing or back"},
    };
    struct rig *r = *state;
    AUTO_FREE char *path = xasprintf("%s/network.json", r->dir);
    unsigned steps;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err = {0};
        FILE *f = fopen(path, "w");

        assert_non_null(f);
        fputs(rows[i].text, f);
        fclose(f);
        assert_int_not_equal(net_apply_leave(r->dir, &steps, &err), 0);
        if (!strstr(err_msg(&err), rows[i].says))
            fail_msg("row %zu: %s", i, err_msg(&err));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_done_and_undone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_leave_after_two, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failed_step, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failed_second, setup, teardown),
        cmocka_unit_test_setup_teardown(test_killed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_killed_on_the_way_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_trial, setup, teardown),
        cmocka_unit_test_setup_teardown(test_others, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_journal, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
