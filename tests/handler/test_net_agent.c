/* The network agent with its loop and workers on the real kernel: what it says when objects and
 * interfaces change, how soon, and what it repairs. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/clock.h"
#include "handler/net.h"
#include "handler/net_apply.h"
#include "handler/net_status.h"
#include "netpolicy/nl_link.h"
#include "netpolicy/nl_state.h"
#include "tests/handler/net_rig.h"

#define REF     "openshift-cnv/migration-network"
#define ADDRESS "{\"network\":\"" REF "\",\"address\":\"10.200.5.1/24\"}"
#define WAIT_US 8000000
#define SOON_US 100000 /* in which a change of the kernel is known */

struct rig {
    char dir[64];
    struct tree *before;
    struct loop *l;
    struct work *w;
    struct net_agent *n;
    struct tree *nad;
    unsigned busy;
    bool silent, any_mtu;
    const char *trusted; /* the annotation, or NULL */
    /* what was said */
    struct mignet now;
    struct tree *status; /* of the enactment that was spoken of last */
    struct tree *observed;
    unsigned observations;
    uint64_t said_us;
    const char *code; /* that is waited for; NULL: the status */
    bool late;
    struct loop_timer *deadline;
};

static void
look(struct rig *r)
{
    if (r->code ? strcmp(r->now.code, r->code) == 0
                : r->status && !net_status_is(r->status, "Progressing", "True"))
        loop_stop(r->l);
}

static void
changed(void *ctx, const struct mignet *now)
{
    struct rig *r = ctx;

    r->now = *now;
    r->said_us = clock_mono_us();
    look(r);
}

static void
enacted(void *ctx, const char *name, const struct tree *status)
{
    struct rig *r = ctx;

    assert_string_equal(name, "n1.p");
    tree_free(r->status);
    r->status = tree_map();
    tree_set(r->status, "status", tree_copy(status));
    look(r);
}

static void
observed(void *ctx, struct tree *state)
{
    struct rig *r = ctx;

    tree_free(r->observed);
    r->observed = state;
    r->observations++;
}

static unsigned
busy(void *ctx)
{
    struct rig *r = ctx;

    return r->busy;
}

static int
ask(void *ctx, struct err *err)
{
    struct rig *r = ctx;

    return r->silent ? err_set(err, -ECONNREFUSED, "nobody is there") : 0;
}

static void
on_deadline(void *ctx)
{
    struct rig *r = ctx;

    r->deadline = NULL;
    r->late = true;
    loop_stop(r->l);
}

static void
run_for(struct rig *r, uint64_t us)
{
    r->late = false;
    r->deadline = loop_timer_add(r->l, us, on_deadline, r);
    loop_run(r->l);
    loop_timer_del(r->deadline);
    r->deadline = NULL;
}

static void
until(struct rig *r, const char *code)
{
    r->code = code;
    if (strcmp(r->now.code, code) == 0)
        return;
    run_for(r, WAIT_US);
    if (r->late)
        fail_msg("waited for %s; it is %s: %s", code, r->now.code, r->now.reason);
}

static void
start(struct rig *r)
{
    const struct net_agent_config cfg = {"n1", r->dir, "198.18.0.11", 300000};
    const struct net_agent_hooks hooks = {changed, enacted, observed, busy, ask, r};
    struct err err = {0};

    r->l = loop_event_new();
    r->w = work_new(r->l, 2);
    r->n = net_agent_new(r->l, r->w, &cfg, &hooks, &err);
    if (!r->n)
        fail_msg("%s", err_msg(&err));
}

static void
end(struct rig *r)
{
    net_agent_stop(r->n);
    work_free(r->w);
    net_agent_free(r->n);
    loop_free(r->l);
}

static int
setup(void **state)
{
    struct rig *r = xcalloc(1, sizeof *r);

    *state = r;
    if (!net_rig_new(r->dir))
        return 0;
    r->before = net_rig_state();
    start(r);
    return 0;
}

static int
teardown(void **state)
{
    struct rig *r = *state;

    if (r->n)
        end(r);
    net_rig_done(r->dir);
    tree_free(r->before);
    tree_free(r->nad);
    tree_free(r->status);
    tree_free(r->observed);
    free(r);
    return 0;
}

static void
network(struct rig *r, const char *master)
{
    AUTO_FREE char *text = xasprintf(
        "{'apiVersion': 'k8s.cni.cncf.io/v1', 'kind': 'NetworkAttachmentDefinition', 'metadata': "
        "{'name': 'migration-network', 'namespace': 'openshift-cnv'}, 'spec': {}}");

    tree_free(r->nad);
    r->nad = net_rig_json(text);
    tree_set_path(r->nad,
                  tree_stringf("{\"name\":\"m\",\"type\":\"macvlan\",\"master\":\"%s\",%s"
                               "\"ipam\":{\"type\":\"whereabouts\",\"range\":\"10.200.5.0/24\"}}",
                               master, r->any_mtu ? "" : "\"mtu\":1500,"),
                  "spec", "config", NULL);
    if (r->trusted)
        tree_set_path(r->nad, tree_string(r->trusted), "metadata", "annotations",
                      "drover.io/trusted-network", NULL);
    net_agent_network(r->n, REF, r->nad, ADDRESS);
}

static struct tree *
enactment(int64_t generation, const char *port, bool pending)
{
    AUTO_FREE char *text = xasprintf(
        "[{'metadata': {'name': 'n1.p', 'labels': {'nmstate.io/node': 'n1', 'nmstate.io/policy': "
        "'p'}}, 'status': {'policyGeneration': %lld, 'conditions': [{'type': 'Pending', 'status': "
        "'%s'}], 'desiredState': {'interfaces': [{'name': 'br1', 'type': 'linux-bridge', 'state': "
        "'up', 'bridge': {'port': [{'name': '%s'}]}}]}}}]",
        (long long)generation, pending ? "True" : "False", port);

    return net_rig_json(text);
}

static void
enactments(struct rig *r, const struct tree *list)
{
    AUTO_TREE struct tree *none = tree_list();

    net_agent_enactments(r->n, list ? list : none);
}

static void
attached(struct rig *r)
{
    enactments(r, NULL);
    network(r, "eth1");
    until(r, "AddressFound");
    assert_string_equal(r->now.ip, "10.200.5.1");
    assert_string_equal(r->now.ifname, "migration0");
}

/* Something is done to the kernel; the agent says so, soon. */
static void
breaks(struct rig *r, int rc, const struct err *err, const char *code)
{
    uint64_t at = clock_mono_us();

    if (rc != 0)
        fail_msg("%s", err_msg(err));
    until(r, code);
    if (r->said_us - at > SOON_US)
        fail_msg("%s: known after %llu us", code, (unsigned long long)(r->said_us - at));
    assert_int_equal(r->now.state, MIGNET_BROKEN);
}

static void
test_unset(void **state)
{
    net_rig_need();

    struct rig *r = *state;

    enactments(r, NULL);
    net_agent_network(r->n, "", NULL, NULL);
    until(r, "NoDedicatedNetwork");
    assert_int_equal(r->now.state, MIGNET_NONE);
    assert_string_equal(r->now.ip, "198.18.0.11");
    attached(r);
    net_agent_network(r->n, "", NULL, NULL);
    until(r, "NoDedicatedNetwork");
    AUTO_TREE struct tree *left = net_rig_state();
    net_rig_same(r->before, left);
}

static void
test_watched(void **state)
{
    net_rig_need();

    struct rig *r = *state;
    struct err err = {0};

    attached(r);
    breaks(r, nl_link_down("migration0", &err), &err, "LinkDown");
    until(r, "AddressFound");
    breaks(r, nl_link_set_mtu("migration0", 1400, &err), &err, "MTUChanged");
    until(r, "AddressFound");
    assert_int_equal(r->now.mtu, 1500);
    breaks(r, nl_link_del("migration0", &err), &err, "LinkDown");
    assert_non_null(strstr(r->now.reason, "repaired 2 times, something else changes it"));
    until(r, "AddressFound");
}

static void
test_carrier_and_address(void **state)
{
    net_rig_need();

    struct rig *r = *state;
    struct net_step gone = {.op = NET_OP_ADDR_DEL,
                            .link = {.name = "migration0", .kind = NET_MACVLAN},
                            .addr = {.prefix = 24}};
    struct err err = {0};

    attached(r);
    /* the other end of the cable: nothing that could be repaired here */
    breaks(r, nl_link_down("peer1", &err), &err, "LinkDown");
    assert_non_null(strstr(r->now.reason, "carrier"));
    assert_int_equal(nl_link_up("peer1", &err), 0);
    until(r, "AddressFound");
    ip_parse("10.200.5.1", &gone.addr.ip, NULL);
    breaks(r, nl_step_apply(&gone, &err), &err, "AddressLost");
    until(r, "AddressFound");
}

/* A definition that asks for no MTU: the interface has its base's, and a change of that is said once. */
static void
test_any_mtu(void **state)
{
    net_rig_need();

    struct rig *r = *state;
    struct err err = {0};

    r->any_mtu = true;
    attached(r);
    assert_int_equal(r->now.mtu, 1500);
    breaks(r, nl_link_set_mtu("migration0", 1400, &err), &err, "MTUChanged");
    until(r, "AddressFound");
    assert_int_equal(r->now.mtu, 1500);
    breaks(r, nl_link_set_mtu("eth1", 1400, &err), &err, "MTUChanged");
    until(r, "AddressFound");
    assert_int_equal(r->now.mtu, 1400);
}

/* Declared, withdrawn, and forgotten with the network: each is known without anything else changing. */
static void
test_trust(void **state)
{
    net_rig_need();

    struct rig *r = *state;
    static const char *const words[] = {"true", "false", "true", NULL};
    bool was = false;

    attached(r);
    assert_false(r->now.trusted);
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        bool want = words[i] && strcmp(words[i], "true") == 0;

        r->trusted = words[i];
        network(r, "eth1");
        if (want != was) {
            run_for(r, WAIT_US);
            assert_false(r->late);
        }
        assert_int_equal(r->now.trusted, want);
        assert_string_equal(r->now.code, "AddressFound");
        was = want;
    }
    r->trusted = "true";
    network(r, "eth1");
    run_for(r, WAIT_US);
    assert_true(r->now.trusted);
    net_agent_network(r->n, "", NULL, NULL);
    until(r, "NoDedicatedNetwork");
    assert_false(r->now.trusted);
}

/* Somebody else takes it away whenever it is there: each repair waits longer than the one before. */
static void
test_fight(void **state)
{
    net_rig_need();

    struct rig *r = *state;
    uint64_t pause[3] = {0};
    struct err err = {0};

    attached(r);
    for (size_t i = 0; i < 3; i++) {
        uint64_t at = clock_mono_us();

        assert_int_equal(nl_link_del("migration0", &err), 0);
        until(r, "LinkDown");
        until(r, "AddressFound");
        pause[i] = clock_mono_us() - at;
    }
    print_message("repaired after %llu, %llu and %llu ms\n", (unsigned long long)pause[0] / 1000,
                  (unsigned long long)pause[1] / 1000, (unsigned long long)pause[2] / 1000);
    assert_true(pause[1] > pause[0] && pause[2] > 3 * pause[0]);
}

static void
test_reattach_waits(void **state)
{
    net_rig_need();

    struct rig *r = *state;

    attached(r);
    r->busy = 2;
    network(r, "eth2");
    until(r, "Reattaching");
    assert_int_equal(r->now.state, MIGNET_BROKEN);
    assert_non_null(strstr(r->now.reason, "2 migration(s)"));
    assert_true(net_rig_has("migration0"));
    r->busy = 0;
    until(r, "AddressFound");
    assert_string_equal(r->now.base, "eth2");
}

static void
test_enacted(void **state)
{
    net_rig_need();

    struct rig *r = *state;
    AUTO_TREE struct tree *pending = enactment(1, "eth2", true);
    AUTO_TREE struct tree *first = enactment(1, "eth2", false);
    AUTO_TREE struct tree *bad = enactment(2, "eth7", false);

    net_agent_network(r->n, "", NULL, NULL);
    enactments(r, pending);
    until(r, "NoDedicatedNetwork");
    assert_null(r->status); /* its turn has not come */
    assert_false(net_rig_has("br1"));

    r->code = NULL;
    enactments(r, first);
    assert_true(net_status_is(r->status, "Progressing", "True"));
    run_for(r, WAIT_US);
    assert_false(r->late);
    assert_true(net_status_is(r->status, "Available", "True"));
    assert_true(net_status_is(r->status, "Failing", "False"));
    assert_true(net_rig_has("br1"));

    /* the write was lost: it is said again */
    tree_free(TAKE_PTR(r->status));
    run_for(r, WAIT_US);
    assert_false(r->late);
    assert_true(net_status_is(r->status, "Available", "True"));

    tree_free(TAKE_PTR(r->status));
    enactments(r, bad);
    run_for(r, WAIT_US);
    assert_false(r->late);
    assert_true(net_status_is(r->status, "Failing", "True"));
    assert_int_equal(tree_get_int(tree_find(r->status, "status", "handledGeneration", NULL), 0), 2);
    assert_true(net_rig_has("br1")); /* the version before */
}

/* It ends while the controller is being asked; the next one finds the probe pending. */
static void
test_ends_while_probing(void **state)
{
    net_rig_need();

    struct rig *r = *state;
    AUTO_TREE struct tree *first = enactment(1, "eth2", false);
    struct net_journal j = {0};
    struct err err = {0};

    r->silent = true;
    net_agent_network(r->n, "", NULL, NULL);
    enactments(r, first);
    while (!net_rig_has("br1"))
        run_for(r, 1000);
    end(r);
    assert_int_equal(net_journal_load(r->dir, &j, &err), 0);
    assert_int_not_equal(j.phase, NET_IDLE);
    net_journal_done(&j);
    start(r);
    for (uint64_t until_us = clock_mono_us() + WAIT_US; net_rig_has("br1");) {
        assert_true(clock_mono_us() < until_us);
        run_for(r, 10000);
    }
}

static void
test_leave_refused(void **state)
{
    net_rig_need();

    struct rig *r = *state;
    struct err err = {0};
    unsigned steps;

    attached(r);
    assert_int_equal(net_apply_leave(r->dir, &steps, &err), -EBUSY);
    assert_non_null(strstr(err_msg(&err), "a drover-handler runs with this state directory"));
    assert_true(net_rig_has("migration0"));
    end(r);
    r->n = NULL;
    assert_int_equal(net_apply_leave(r->dir, &steps, &err), 0);
    AUTO_TREE struct tree *left = net_rig_state();
    net_rig_same(r->before, left);
}

static void
test_observed(void **state)
{
    net_rig_need();

    struct rig *r = *state;
    unsigned first;
    struct err err = {0};

    attached(r);
    for (uint64_t until_us = clock_mono_us() + WAIT_US; r->observations == 0;) {
        assert_true(clock_mono_us() < until_us);
        run_for(r, 10000);
    }
    first = r->observations;
    for (int i = 0; i < 20; i++) { /* many changes at once are few reports */
        assert_int_equal(nl_link_set_mtu("eth2", i % 2 ? 1400 : 1300, &err), 0);
        run_for(r, 5000);
    }
    assert_true(r->observations - first <= 2);
    assert_true(tree_len(tree_get(r->observed, "interfaces")) >= 6);
}

/* The only neighbour that was tried does not answer: the kernel says so after three questions. */
static void
test_neighbour(void **state)
{
    net_rig_need();

    struct rig *r = *state;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    attached(r);
    to.sin_addr.s_addr = htonl(10u << 24 | 200u << 16 | 5u << 8 | 77u);
    assert_int_equal(sendto(fd, "", 1, 0, (const struct sockaddr *)&to, sizeof to), 1);
    until(r, "NeighbourUnreachable");
    assert_non_null(strstr(r->now.reason, "10.200.5.77"));
    close(fd);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_unset, setup, teardown),
        cmocka_unit_test_setup_teardown(test_watched, setup, teardown),
        cmocka_unit_test_setup_teardown(test_carrier_and_address, setup, teardown),
        cmocka_unit_test_setup_teardown(test_any_mtu, setup, teardown),
        cmocka_unit_test_setup_teardown(test_trust, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fight, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reattach_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_enacted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ends_while_probing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_leave_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_observed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_neighbour, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
