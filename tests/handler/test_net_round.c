/* Rounds on the real kernel: what several policies and the migration network come to together, which of
 * them are put aside and why, and what a controller that is lost changes. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/fault.h"
#include "handler/net_apply.h"
#include "handler/net_round.h"
#include "netpolicy/nl_link.h"
#include "tests/handler/net_rig.h"

#define REF     "openshift-cnv/migration-network"
#define ADDRESS "{\"network\":\"" REF "\",\"address\":\"10.200.5.1/24\"}"

struct rig {
    char dir[64];
    struct tree *before;
    struct ip mgmt;
    struct tree *desired[8];
    struct net_round_policy policies[8];
    size_t len;
    struct net_round round;
    struct tree *nad;
    bool silent; /* the controller */
    unsigned asked;
};

static int
ask(void *ctx, struct err *err)
{
    struct rig *r = ctx;

    r->asked++;
    return r->silent ? err_set(err, -ECONNREFUSED, "nobody is there") : 0;
}

static bool
stopped(void *ctx)
{
    (void)ctx;
    return false;
}

static int
setup(void **state)
{
    struct rig *r = xcalloc(1, sizeof *r);

    *state = r;
    if (!net_rig_new(r->dir))
        return 0;
    r->before = net_rig_state();
    ip_parse("198.18.0.11", &r->mgmt, NULL);
    return 0;
}

static int
teardown(void **state)
{
    struct rig *r = *state;

    fault_clear();
    net_rig_done(r->dir);
    tree_free(r->before);
    tree_free(r->nad);
    tree_free(r->round.state);
    for (size_t i = 0; i < 8; i++)
        tree_free(r->desired[i]);
    free(r);
    return 0;
}

/* In the order of their names. */
static struct net_round_policy *
policy(struct rig *r, const char *name, int64_t generation, const char *interfaces)
{
    AUTO_FREE char *text = xasprintf("{'interfaces': [%s]}", interfaces);
    struct net_round_policy *p = &r->policies[r->len];

    r->desired[r->len] = net_rig_json(text);
    *p = (struct net_round_policy){
        .name = name, .generation = generation, .desired = r->desired[r->len]};
    r->len++;
    return p;
}

static void
no_policies(struct rig *r)
{
    for (size_t i = 0; i < r->len; i++) {
        tree_free(r->desired[i]);
        r->desired[i] = NULL;
    }
    r->len = 0;
}

static void
network(struct rig *r, const char *config)
{
    AUTO_FREE char *text = xasprintf(
        "{'apiVersion': 'k8s.cni.cncf.io/v1', 'kind': 'NetworkAttachmentDefinition', 'metadata': "
        "{'name': 'migration-network', 'namespace': 'openshift-cnv'}, 'spec': {}}");
    AUTO_TREE struct tree *parsed = net_rig_json(config);
    AUTO_SB struct sb json = SB_INIT;

    tree_free(r->nad);
    r->nad = net_rig_json(text);
    tree_to_json(parsed, 0, &json);
    tree_set_path(r->nad, tree_string(sb_str(&json)), "spec", "config", NULL);
    r->round.mig = (struct net_mig_objects){REF, r->nad, ADDRESS, "198.18.0.11"};
}

static void
run(struct rig *r)
{
    struct net_mig_objects mig = r->round.mig;

    if (!mig.ref)
        mig = (struct net_mig_objects){"", NULL, NULL, "198.18.0.11"};
    tree_free(r->round.state);
    for (size_t i = 0; i < r->len; i++)
        r->policies[i].tried = false;
    r->round = (struct net_round){
        .state_dir = r->dir,
        .mgmt = &r->mgmt,
        .policies = r->policies,
        .policies_len = r->len,
        .objects_known = true,
        .mig = mig,
        .mig_effect = {"", NULL, NULL, "198.18.0.11"},
        .ask = ask,
        .stopped = stopped,
        .ctx = r,
        .probe_timeout_us = 300000,
    };
    net_round_run(&r->round);
    if (r->round.rc != 0)
        fail_msg("%s", err_msg(&r->round.err));
}

static void
want_failed(const struct net_round_policy *p, const char *reason, const char *says)
{
    assert_true(p->tried);
    if (p->rc == 0 || strcmp(p->reason, reason) != 0 || !strstr(p->message, says))
        fail_msg("%s: rc %d, %s: %s; want %s: %s", p->name, p->rc, p->reason, p->message, reason,
                 says);
}

static void
want_done(const struct net_round_policy *p)
{
    assert_true(p->tried);
    if (p->rc != 0)
        fail_msg("%s: %s: %s", p->name, p->reason, p->message);
}

#define BR(name, ports) \
    "{'name': '" name "', 'type': 'linux-bridge', 'state': 'up', 'bridge': {'port': [" ports "]}}"
#define MACVLAN                                                           \
    "{'cniVersion': '0.3.1', 'name': 'm', 'type': 'macvlan', 'master': "  \
    "'eth1', 'mode': 'bridge', 'ipam': {'type': 'whereabouts', 'range': " \
    "'10.200.5.0/24'}}"

static void
test_bad_ones_aside(void **state)
{
    net_rig_need();

    struct rig *r = *state;
    struct net_round_policy *text =
        policy(r, "a-text", 1, "{'name': 'eth1', 'type': 'ovs-bridge'}");
    struct net_round_policy *missing = policy(
        r, "b-missing", 1, "{'name': 'eth9', 'type': 'ethernet', 'state': 'up', 'mtu': 1400}");
    struct net_round_policy *mtu =
        policy(r, "c-mtu", 1, "{'name': 'eth2', 'type': 'ethernet', 'state': 'up', 'mtu': 70000}");
    struct net_round_policy *good = policy(r, "d-good", 1, BR("br1", "{'name': 'eth2'}"));

    network(r, MACVLAN);
    run(r);
    want_failed(text, NET_REASON_KIND, "ovs-bridge");
    want_failed(missing, NET_REASON_INTERFACE_MISSING, "eth9");
    want_failed(mtu, NET_REASON_INVALID, "70000");
    want_done(good);
    assert_true(net_rig_has("br1"));
    assert_int_equal(r->round.mig_state.state, MIGNET_READY);
    assert_string_equal(r->round.mig_state.ip, "10.200.5.1");
    assert_string_equal(r->round.mig_state.ifname, "migration0");
    assert_string_equal(r->round.mig_state.base, "eth1");
}

/* One needs what another, of a later name, makes. */
static void
test_needs_another(void **state)
{
    net_rig_need();

    struct rig *r = *state;
    struct net_round_policy *bad = policy(r, "a-bad", 1, BR("br8", "{'name': 'eth8'}"));
    struct net_round_policy *needs =
        policy(r, "b-needs", 1,
               "{'name': 'mv1', 'type': 'mac-vlan', 'state': 'up', 'mac-vlan': {'base-iface': "
               "'br1', 'mode': 'bridge'}}");
    struct net_round_policy *makes = policy(r, "c-makes", 1, BR("br1", "{'name': 'eth2'}"));

    run(r);
    want_failed(bad, NET_REASON_INTERFACE_MISSING, "eth8");
    want_done(needs);
    want_done(makes);
    assert_true(net_rig_has("mv1"));
}

/* Two policies exchange their ports at once: neither could go first. */
static void
test_exchange(void **state)
{
    net_rig_need();

    struct rig *r = *state;

    policy(r, "a", 1, BR("br1", "{'name': 'eth1'}"));
    policy(r, "b", 1, BR("br2", "{'name': 'eth2'}"));
    run(r);
    no_policies(r);
    policy(r, "a", 2, BR("br1", "{'name': 'eth2'}"));
    policy(r, "b", 2, BR("br2", "{'name': 'eth1'}"));
    run(r);
    want_done(&r->policies[0]);
    want_done(&r->policies[1]);
}

/* What the kernel refuses is the policy's that asked for it, and goes back alone. */
static void
test_step_fails(void **state)
{
    net_rig_need();

    struct rig *r = *state;
    struct err err = {0};
    struct net_round_policy *one = policy(r, "one", 1, BR("br1", "{'name': 'eth1'}"));
    struct net_round_policy *two = policy(r, "two", 1, BR("br2", "{'name': 'eth2'}"));

    /* the first step that is done makes br1 */
    assert_int_equal(fault_arm("net.change.step@1:error", &err), 0);
    run(r);
    want_failed(one, NET_REASON_KERNEL, "br1");
    assert_false(one->pure);
    want_done(two);
    assert_false(net_rig_has("br1"));
    assert_true(net_rig_has("br2"));
    one->held = true; /* it failed lately */
    run(r);
    assert_false(one->tried);
    assert_false(net_rig_has("br1"));
    one->held = false;
    run(r);
    want_done(one);
    assert_true(net_rig_has("br1"));
}

/* A new version that cannot be leaves the old one; one that waits for its turn, too. */
static void
test_old_version_stays(void **state)
{
    net_rig_need();

    struct rig *r = *state;

    policy(r, "p", 1, BR("br1", "{'name': 'eth1'}"));
    run(r);
    AUTO_TREE struct tree *with = net_rig_state();
    no_policies(r);
    policy(r, "p", 2, BR("br1", "{'name': 'eth9'}"));
    run(r);
    want_failed(&r->policies[0], NET_REASON_INTERFACE_MISSING, "eth9");
    AUTO_TREE struct tree *after = net_rig_state();
    net_rig_same(with, after);
    no_policies(r);
    policy(r, "p", 3, BR("br1", "{'name': 'eth2'}"))->waiting = true;
    run(r);
    assert_false(r->policies[0].tried);
    AUTO_TREE struct tree *waits = net_rig_state();
    net_rig_same(with, waits);
    no_policies(r);
    run(r);
    AUTO_TREE struct tree *left = net_rig_state();
    net_rig_same(r->before, left);
}

static void
test_controller_lost(void **state)
{
    net_rig_need();

    struct rig *r = *state;
    struct net_round_policy *p = policy(r, "p", 1, BR("br1", "{'name': 'eth2'}"));

    r->silent = true;
    network(r, MACVLAN);
    run(r);
    want_failed(p, "FailedToConfigure", "the controller did not answer within 0.3 s");
    assert_false(net_rig_has("br1"));
    assert_true(net_rig_has("migration0")); /* which is no policy's */
    assert_int_equal(r->round.mig_state.state, MIGNET_READY);
    r->silent = false;
    r->asked = 0;
    run(r); /* the same generation is not tried again, by another process neither */
    want_failed(p, "FailedToConfigure", "did not answer");
    assert_int_equal(r->asked, 0);
    p->generation = 2;
    run(r);
    want_done(p);
    assert_true(r->asked > 0);
    assert_true(net_rig_has("br1"));

    /* its removal, too: it stays, and is not tried again and again */
    r->silent = true;
    no_policies(r);
    run(r);
    assert_true(net_rig_has("br1"));
    r->asked = 0;
    run(r);
    assert_int_equal(r->asked, 0);
    assert_true(net_rig_has("br1"));
    r->silent = false;
    policy(r, "p", 1, BR("br1", "{'name': 'eth2'}"));
    run(r);
    no_policies(r);
    run(r);
    assert_false(net_rig_has("br1"));
}

/* A handler that comes back while a probe was pending: the controller decides. */
static void
test_pending_probe(void **state)
{
    net_rig_need();

    struct rig *r = *state;

    for (int answers = 0; answers < 2; answers++) {
        AUTO_TREE struct tree *desired = net_rig_bridge("br1", "eth2");
        AUTO_TREE struct tree *policies = net_rig_json("{'p': {'generation': 1}}");
        struct arena *a = arena_new();
        struct net_journal j = {0};
        struct net_wants wants;
        struct net_applied applied;
        struct err err = {0};

        tree_set_path(policies, tree_copy(desired), "p", "desiredState", NULL);
        assert_int_equal(net_journal_load(r->dir, &j, &err), 0);
        tree_free(TAKE_PTR(j.refused));
        assert_int_equal(net_want_policy(desired, "p", a, &wants, &err), 0);
        assert_int_equal(
            net_apply_change(r->dir, &j, &wants, &r->mgmt, policies, true, &applied, &err), 0);
        assert_int_equal(j.phase, NET_PROBING);
        net_journal_done(&j);
        arena_free(a);

        r->silent = !answers;
        tree_free(r->round.state);
        r->round = (struct net_round){.state_dir = r->dir,
                                      .ask = ask,
                                      .stopped = stopped,
                                      .ctx = r,
                                      .probe_timeout_us = 300000};
        net_round_run(&r->round); /* nothing is known of the objects */
        assert_int_equal(r->round.rc, 0);
        assert_int_equal(net_rig_has("br1"), answers);
        assert_int_equal(net_journal_load(r->dir, &j, &err), 0);
        assert_int_equal(j.phase, NET_IDLE);
        assert_int_equal(tree_get(j.policies, "p") != NULL, answers);
        assert_int_equal(tree_get(j.refused, "p") == NULL, answers);
        net_journal_done(&j);
    }
}

/* --- the migration network --- */

static void
test_network_refused(void **state)
{
    static const struct {
        const char *name, *config, *assignment, *code, *says;
    } rows[] = {
        {"no name", "{'type': 'macvlan'}", ADDRESS, "NetworkInvalid", "config.name"},
        {"a type of others", "{'type': 'sriov', 'name': 'x'}", ADDRESS, "NetworkInvalid", "sriov"},
        {"no such master",
         "{'type': 'macvlan', 'name': 'm', 'master': 'eth7', 'ipam': {'type': 'whereabouts', "
         "'range': '10.200.5.0/24'}}",
         ADDRESS, NET_REASON_INTERFACE_MISSING, "eth7"},
        {"the management interface",
         "{'type': 'macvlan', 'name': 'm', 'master': 'mgmt0', 'ipam': {'type': 'whereabouts', "
         "'range': '10.200.5.0/24'}}",
         ADDRESS, NET_REASON_DEFAULT_ROUTE, "mgmt0"},
        {"the management network's range",
         "{'type': 'macvlan', 'name': 'm', 'master': 'eth1', 'ipam': {'type': 'whereabouts', "
         "'range': '198.18.0.0/16'}}",
         ADDRESS, NET_REASON_OVERLAP, "198.18.0"},
        {"MTU above the master's",
         "{'type': 'macvlan', 'name': 'm', 'master': 'eth1', 'mtu': 9000, 'ipam': {'type': "
         "'whereabouts', 'range': '10.200.5.0/24'}}",
         ADDRESS, NET_REASON_MTU, "9000"},
        {"no address yet", MACVLAN, NULL, "AddressPending", "has not given"},
        {"an address of another network", MACVLAN,
         "{\"network\":\"x/y\",\"address\":\"10.200.5.1/24\"}", "AddressPending", "has not given"},
        {"the range is full", MACVLAN,
         "{\"network\":\"" REF "\",\"reason\":\"RangeFull\",\"message\":\"all 254 are taken\"}",
         "RangeFull", "all 254 are taken"},
        {"no text of ours", MACVLAN, "frob", "AddressPending", "has not given"},
    };

    net_rig_need();

    struct rig *r = *state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct mignet *m = &r->round.mig_state;

        network(r, rows[i].config);
        r->round.mig.assignment = rows[i].assignment;
        run(r);
        if (m->state != MIGNET_BROKEN || strcmp(m->code, rows[i].code) != 0 ||
            !strstr(m->reason, rows[i].says) || strncmp(m->reason, REF, strlen(REF)) != 0)
            fail_msg("%s: state %d, %s: %s; want %s: %s", rows[i].name, m->state, m->code,
                     m->reason, rows[i].code, rows[i].says);
        AUTO_TREE struct tree *now = net_rig_state();
        net_rig_same(r->before, now);
    }
}

static void
test_network_taken_over(void **state)
{
    net_rig_need();

    struct rig *r = *state;
    struct err err = {0};
    struct ip ip;
    unsigned steps;

    /* right already but for what we add: not made anew */
    ip_parse("10.200.5.1", &ip, NULL);
    assert_int_equal(nl_macvlan_add("migration0", "eth1", "bridge", &err), 0);
    assert_int_equal(nl_addr_add("migration0", &ip, 24, &err), 0);
    assert_int_equal(nl_link_up("migration0", &err), 0);
    AUTO_TREE struct tree *there = net_rig_state();
    network(r, MACVLAN);
    run(r);
    assert_int_equal(r->round.mig_state.state, MIGNET_READY);
    assert_true(r->round.steps <= 2); /* arp_ignore of both */
    run(r);
    assert_int_equal(r->round.steps, 0);
    assert_int_equal(net_apply_leave(r->dir, &steps, &err), 0);
    AUTO_TREE struct tree *left = net_rig_state();
    net_rig_same(there, left); /* and not taken away: we did not make it */
}

/* Its address is on another interface already: that is the network, as it is. */
static void
test_network_as_found(void **state)
{
    net_rig_need();

    struct rig *r = *state;
    struct err err = {0};
    struct ip ip;

    ip_parse("10.200.5.1", &ip, NULL);
    assert_int_equal(nl_addr_add("eth2", &ip, 24, &err), 0);
    network(r, MACVLAN);
    for (int given = 0; given < 2; given++) {
        r->round.mig.assignment = given ? ADDRESS : NULL;
        run(r);
        assert_int_equal(r->round.mig_state.state, MIGNET_READY);
        assert_string_equal(r->round.mig_state.ifname, "eth2");
        assert_int_equal(r->round.steps, 0);
        assert_false(net_rig_has("migration0"));
    }
}

/* Its bridge is a policy's, which comes in the same round and goes later. */
static void
test_network_on_bridge(void **state)
{
    net_rig_need();

    struct rig *r = *state;

    policy(r, "p", 1, BR("br1", "{'name': 'eth2'}"));
    network(r, "{'type': 'cnv-bridge', 'name': 'm', 'bridge': 'br1', 'ipam': {'type': "
               "'whereabouts', 'range': '10.200.5.0/24'}}");
    run(r);
    want_done(&r->policies[0]);
    if (r->round.mig_state.state != MIGNET_READY)
        fail_msg("%s: %s", r->round.mig_state.code, r->round.mig_state.reason);
    assert_string_equal(r->round.mig_state.base, "br1");
    no_policies(r);
    run(r);
    assert_int_equal(r->round.mig_state.state, MIGNET_BROKEN);
    assert_string_equal(r->round.mig_state.code, NET_REASON_INTERFACE_MISSING);
    AUTO_TREE struct tree *left = net_rig_state();
    net_rig_same(r->before, left);
}

/* While migrations hold it, what was in effect stays; then it changes, and at the end it is gone. */
static void
test_network_held(void **state)
{
    net_rig_need();

    struct rig *r = *state;
    struct net_round *n = &r->round;

    network(r, MACVLAN);
    run(r);
    AUTO_TREE struct tree *old = TAKE_PTR(r->nad);
    struct net_mig_objects effect = {REF, old, ADDRESS, "198.18.0.11"};

    network(r, "{'type': 'macvlan', 'name': 'm', 'master': 'eth2', 'mode': 'bridge', 'ipam': "
               "{'type': 'whereabouts', 'range': '10.200.5.0/24'}}");
    n->mig_effect = effect;
    n->mig_hold = true;
    n->steps = 0;
    tree_free(TAKE_PTR(n->state));
    net_round_run(n);
    assert_int_equal(n->rc, 0);
    assert_false(n->mig_tried);
    assert_int_equal(n->steps, 0);
    run(r);
    assert_string_equal(n->mig_state.base, "eth2");
    n->mig = (struct net_mig_objects){"", NULL, NULL, "198.18.0.11"};
    run(r);
    assert_int_equal(n->mig_state.state, MIGNET_NONE);
    assert_string_equal(n->mig_state.ip, "198.18.0.11");
    assert_string_equal(n->mig_state.code, "NoDedicatedNetwork");
    AUTO_TREE struct tree *left = net_rig_state();
    net_rig_same(r->before, left);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_bad_ones_aside, setup, teardown),
        cmocka_unit_test_setup_teardown(test_needs_another, setup, teardown),
        cmocka_unit_test_setup_teardown(test_exchange, setup, teardown),
        cmocka_unit_test_setup_teardown(test_step_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(test_old_version_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(test_controller_lost, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pending_probe, setup, teardown),
        cmocka_unit_test_setup_teardown(test_network_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_network_taken_over, setup, teardown),
        cmocka_unit_test_setup_teardown(test_network_as_found, setup, teardown),
        cmocka_unit_test_setup_teardown(test_network_on_bridge, setup, teardown),
        cmocka_unit_test_setup_teardown(test_network_held, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
