/* The controller's part of the networks: addresses of the migration network and enactments, with
 * controllers that die at each write. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/object.h"
#include "api/names.h"
#include "base/sb.h"
#include "loop_world.h"

#define NS  "openshift-cnv"
#define HCO "kubevirt-hyperconverged"

static void
nad(struct world *w, const char *ns, const char *name, const char *ipam)
{
    world_applyf(w,
                 "apiVersion: k8s.cni.cncf.io/v1\n"
                 "kind: NetworkAttachmentDefinition\n"
                 "metadata: {name: %s, namespace: %s}\n"
                 "spec:\n"
                 "  config: '{\"cniVersion\": \"0.3.1\", \"name\": \"%s\", \"type\": \"macvlan\", "
                 "\"master\": \"eth1\", \"mode\": \"bridge\", \"ipam\": {%s}}'\n",
                 name, ns, name, ipam);
}

/* whereabouts with these fields, as JSON */
#define RANGE(fields) "\"type\": \"whereabouts\", " fields
#define NET24         RANGE("\"range\": \"10.200.5.0/24\"")
#define NET30         RANGE("\"range\": \"10.200.5.0/30\"")

static void
nad_change(struct world *w, const char *name, const char *ipam)
{
    AUTO_TREE struct tree *patch = tree_map();
    AUTO_SB struct sb json = SB_INIT;

    tree_set_path(patch,
                  tree_stringf("{\"name\": \"%s\", \"type\": \"macvlan\", \"master\": \"eth1\", "
                               "\"ipam\": {%s}}",
                               name, ipam),
                  "spec", "config", NULL);
    tree_to_json(patch, 0, &json);
    world_patch(w, KIND_NAD, NS, name, sb_str(&json));
}

/* NULL: unset. */
static void
network(struct world *w, const char *ref)
{
    AUTO_FREE char *json =
        ref ? xasprintf("{\"spec\":{\"liveMigrationConfig\":{\"network\":\"%s\"}}}", ref)
            : xstrdup("{\"spec\":{\"liveMigrationConfig\":{\"network\":null}}}");

    if (!store_get(w->store, KIND_HCO, NS, HCO))
        world_apply(w, "apiVersion: hco.kubevirt.io/v1beta1\n"
                       "kind: HyperConverged\n"
                       "metadata: {name: " HCO ", namespace: " NS "}\n"
                       "spec: {}\n");
    world_patch(w, KIND_HCO, NS, HCO, json);
    world_run(w, 1);
}

/* A field of the annotation; "" when it has none; "-" when there is no annotation. */
static const char *
told(struct world *w, const char *node, const char *key)
{
    static char value[8][600];
    static unsigned turn;
    const char *json =
        object_annotation(store_get(w->store, KIND_NODE, NULL, node), ANN_MIGRATION_ADDRESS);
    char *buf = value[turn++ % 8];
    struct tree *t;

    if (!json)
        return "-";
    assert_int_equal(tree_from_json(json, strlen(json), &t, NULL), 0);
    snprintf(buf, sizeof(value[0]), "%s", tree_find_string(t, "", key, NULL));
    tree_free(t);
    return buf;
}

/* --- addresses --- */

static void
test_addresses(void **unused)
{
    struct world *w = world_cluster(1, 3);
    const struct tree *pool;

    (void)unused;
    world_run(w, 1);
    assert_string_equal(told(w, "n1", "address"), "-");
    nad(w, NS, "mig", NET24);
    network(w, "mig");
    assert_string_equal(told(w, "n1", "network"), NS "/mig");
    assert_string_equal(told(w, "n1", "address"), "10.200.5.1/24");
    assert_string_equal(told(w, "n2", "address"), "10.200.5.2/24");
    assert_string_equal(told(w, "n3", "address"), "10.200.5.3/24");
    pool = store_get(w->store, KIND_IPPOOL, NS, "10.200.5.0-24");
    assert_non_null(pool);
    assert_string_equal(tree_find_string(pool, "", "spec", "allocations", "2", "id", NULL), "n2");
    assert_string_equal(object_annotation(pool, ANN_POOL_NETWORK), "mig");

    /* Added later, gone, back again, and a new controller in between. */
    world_node(w, "n4", 16);
    world_run(w, 1);
    assert_string_equal(told(w, "n4", "address"), "10.200.5.4/24");
    world_fake(w, "n2")->down = true;
    world_delete(w, KIND_NODE, NULL, "n2");
    world_crash(w);
    world_node(w, "n5", 16);
    world_run(w, 1);
    assert_string_equal(told(w, "n5", "address"), "10.200.5.5/24");
    world_apply(w, "apiVersion: v1\nkind: Node\nmetadata: {name: n2}\n");
    world_run(w, 1);
    assert_string_equal(told(w, "n2", "address"), "10.200.5.2/24");

    /* Deleted by mistake: the nodes know what they have. */
    world_delete(w, KIND_NODE, NULL, "n1");
    world_delete(w, KIND_IPPOOL, NS, "10.200.5.0-24");
    world_run(w, 1);
    assert_string_equal(told(w, "n2", "address"), "10.200.5.2/24");
    assert_string_equal(told(w, "n5", "address"), "10.200.5.5/24");
    world_node(w, "n6", 16);
    world_run(w, 1);
    assert_string_equal(told(w, "n6", "address"), "10.200.5.1/24");

    /* Unset: the annotations go, the memory stays. */
    network(w, NULL);
    assert_string_equal(told(w, "n2", "address"), "-");
    assert_non_null(store_get(w->store, KIND_IPPOOL, NS, "10.200.5.0-24"));
    world_delete(w, KIND_NODE, NULL, "n2");
    network(w, NS "/mig");
    assert_string_equal(told(w, "n3", "address"), "10.200.5.3/24");
    world_delete(w, KIND_NAD, NS, "mig");
    world_run(w, 1);
    assert_null(store_get(w->store, KIND_IPPOOL, NS, "10.200.5.0-24"));
    assert_string_equal(told(w, "n3", "reason"), "NetworkNotFound");
    world_validate(w);
    world_free(w);
}

static void
test_found_address_is_kept(void **unused)
{
    struct world *w = world_cluster(2, 2);

    (void)unused;
    world_patch(w, KIND_NODE, NULL, "n2",
                "{\"status\":{\"addresses\":[{\"type\":\"InternalIP\",\"address\":\"192.0.2.2\"},"
                "{\"type\":\"MigrationIP\",\"address\":\"10.200.5.1\"}]}}");
    nad(w, NS, "mig", NET24);
    network(w, "mig");
    assert_string_equal(told(w, "n1", "address"), "10.200.5.2/24");
    assert_string_equal(told(w, "n2", "address"), "10.200.5.1/24");
    world_free(w);
}

/* Hosts that were set up by hand: their state is known before, or after, they are given another. */
static void
test_fixed_address_is_kept(void **unused)
{
    static const char state[] = "apiVersion: nmstate.io/v1beta1\n"
                                "kind: NodeNetworkState\n"
                                "metadata: {name: %s}\n"
                                "status:\n"
                                "  currentState:\n"
                                "    interfaces:\n"
                                "    - {name: lo, ipv4: {address: [{ip: 127.0.0.1}]}}\n"
                                "    - {name: eth0, ipv4: {address: [{ip: 192.0.2.1}]}}\n"
                                "    - {name: %s, ipv4: {address: [{ip: 10.200.5.%d}]}}\n";
    struct world *w = world_cluster(9, 4);

    (void)unused;
    world_applyf(w, state, "n1", "eth1", 9);
    nad(w, NS, "mig", NET24);
    network(w, "mig");
    assert_string_equal(told(w, "n1", "address"), "10.200.5.9/24");
    assert_string_equal(told(w, "n2", "address"), "10.200.5.1/24");
    world_applyf(w, state, "n2", "eth1", 7);
    world_applyf(w, state, "n3", "migration0", 8); /* ours: it goes */
    world_applyf(w, state, "n4", "eth1", 9);       /* of n1 */
    world_run(w, 1);
    assert_string_equal(told(w, "n2", "address"), "10.200.5.7/24");
    assert_string_equal(told(w, "n3", "address"), "10.200.5.2/24");
    assert_string_equal(told(w, "n4", "address"), "10.200.5.3/24");
    world_free(w);
}

static void
test_range_changes(void **unused)
{
    struct world *w = world_cluster(3, 3);

    (void)unused;
    nad(w, NS, "mig", NET24);
    network(w, "mig");
    nad_change(w, "mig", RANGE("\"range\": \"10.200.4.0/23\", \"exclude\": [\"10.200.5.2/32\"]"));
    world_run(w, 1);
    assert_string_equal(told(w, "n1", "address"), "10.200.5.1/23");
    assert_string_equal(told(w, "n2", "address"), "10.200.4.1/23");
    assert_string_equal(told(w, "n3", "address"), "10.200.5.3/23");
    assert_null(store_get(w->store, KIND_IPPOOL, NS, "10.200.5.0-24"));
    nad_change(w, "mig", RANGE("\"range\": \"fd00:5::/64\""));
    world_run(w, 1);
    assert_string_equal(told(w, "n1", "address"), "fd00:5::1/64");
    assert_non_null(store_get(w->store, KIND_IPPOOL, NS, "fd00-5---64"));
    nad_change(w, "mig", "");
    world_run(w, 1); /* without IPAM: what the interface has */
    assert_string_equal(told(w, "n1", "address"), "-");
    world_free(w);
}

static void
test_full(void **unused)
{
    struct world *w = world_cluster(4, 3);

    (void)unused;
    nad(w, NS, "mig", NET30);
    network(w, "mig");
    assert_string_equal(told(w, "n2", "address"), "10.200.5.2/30");
    assert_string_equal(told(w, "n3", "address"), "");
    assert_string_equal(told(w, "n3", "reason"), "RangeFull");
    assert_string_equal(told(w, "n3", "message"),
                        "10.200.5.0/30 is full: 2 of 3 nodes have an address; none: n3");
    assert_int_equal(world_event(w, "mig", "RangeFull", "none: n3"), 1);
    assert_int_equal(world_event(w, HCO, "RangeFull", "none: n3"), 1);
    world_run(w, 30); /* heartbeats are no reason to say it again */
    assert_int_equal(world_event(w, "mig", "RangeFull", ""), 1);
    world_fake(w, "n1")->down = true;
    world_delete(w, KIND_NODE, NULL, "n1");
    world_run(w, 1);
    assert_string_equal(told(w, "n3", "address"), "10.200.5.1/30");
    assert_string_equal(told(w, "n3", "reason"), "");
    world_apply(w, "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\n");
    world_run(w, 1);
    assert_string_equal(told(w, "n1", "reason"), "RangeFull");
    world_free(w);
}

static const struct {
    const char *name;
    const char *ns, *ipam; /* of "mig"; ns NULL: there is none */
    const char *other_ns, *other_ipam;
    const char *ref, *reason, *message;
} refusals[] = {
    {"none at all", NULL, NULL, NULL, NULL, "mig", "NetworkNotFound",
     "liveMigrationConfig.network: there is no NetworkAttachmentDefinition openshift-cnv/mig"},
    {"in another namespace", "default", NET24, NULL, NULL, "mig", "NetworkNotFound",
     "there is no NetworkAttachmentDefinition openshift-cnv/mig; one of that name is in namespace "
     "default: want it in openshift-cnv, or network: default/mig"},
    {"in another namespace than the one that is named", NS, NET24, NULL, NULL, "shop/mig",
     "NetworkNotFound",
     "shop/mig; one of that name is in namespace openshift-cnv: want it in shop"},
    {"not to be understood", NS, RANGE("\"range\": \"10.200.5.0\""), NULL, NULL, "mig",
     "NetworkInvalid", "openshift-cnv/mig: config.ipam.range: \"10.200.5.0\""},
    {"on the management network", NS, RANGE("\"range\": \"192.0.2.0/28\""), NULL, NULL, "mig",
     "RangeOverlap", "192.0.2.0/28 overlaps 192.0.2.1, node n1's management address"},
    {"on a second network", NS, NET24, "shop", RANGE("\"range\": \"10.200.0.0/16\""), "mig",
     "RangeOverlap",
     "10.200.5.0/24 overlaps 10.200.0.0/16 of NetworkAttachmentDefinition shop/other"},
};

static void
test_refusals(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        struct world *w = world_cluster(5, 2);
        const char *message;

        world_patch(w, KIND_NODE, NULL, "n1",
                    "{\"status\":{\"addresses\":[{\"type\":\"InternalIP\",\"address\":"
                    "\"192.0.2.1\"}]}}");
        if (refusals[i].ns)
            nad(w, refusals[i].ns, "mig", refusals[i].ipam);
        if (refusals[i].other_ns)
            nad(w, refusals[i].other_ns, "other", refusals[i].other_ipam);
        network(w, refusals[i].ref);
        message = told(w, "n2", "message");
        if (strcmp(told(w, "n2", "reason"), refusals[i].reason) != 0 ||
            !strstr(message, refusals[i].message) || *told(w, "n2", "address"))
            fail_msg("%s: %s: %s", refusals[i].name, told(w, "n2", "reason"), message);
        if (world_event(w, HCO, refusals[i].reason, refusals[i].message) != 1)
            fail_msg("%s: no event", refusals[i].name);
        world_validate(w);
        world_free(w);
    }
}

/* A network in use is not taken from its nodes because somebody defines another on top of it. */
static void
test_overlap_that_comes_later(void **unused)
{
    struct world *w = world_cluster(6, 2);

    (void)unused;
    nad(w, NS, "mig", NET24);
    network(w, "mig");
    nad(w, "shop", "other", RANGE("\"range\": \"10.200.0.0/16\""));
    world_node(w, "n3", 16);
    world_run(w, 1);
    assert_string_equal(told(w, "n1", "address"), "10.200.5.1/24");
    assert_string_equal(told(w, "n3", "reason"), "RangeOverlap");
    world_delete(w, KIND_NAD, "shop", "other");
    world_run(w, 1);
    assert_string_equal(told(w, "n3", "address"), "10.200.5.3/24");
    world_free(w);
}

static void
test_change_of_network(void **unused)
{
    struct world *w = world_cluster(7, 2);

    (void)unused;
    nad(w, NS, "mig", NET24);
    nad(w, NS, "fast", RANGE("\"range\": \"10.201.0.0/24\""));
    network(w, "mig");
    network(w, "fast");
    assert_string_equal(told(w, "n2", "network"), NS "/fast");
    assert_string_equal(told(w, "n2", "address"), "10.201.0.2/24");
    assert_non_null(store_get(w->store, KIND_IPPOOL, NS, "10.200.5.0-24"));
    world_free(w);
}

/* The annotation is a promise that only a pool on disk backs: whatever the write at which the
 * controller dies, it ends the same. */
static void
test_dies_at_each_write(void **unused)
{
    (void)unused;
    for (unsigned at = 1; at <= 8; at++) {
        struct world *w = world_cluster(8, 3);

        nad(w, NS, "mig", NET24);
        w->crash_at = w->writes + 2 + at; /* the HyperConverged is two */
        network(w, "mig");
        world_run(w, 3);
        for (int i = 1; i <= 3; i++) {
            char node[4] = {'n', (char)('0' + i), 0}, want[20];

            snprintf(want, sizeof(want), "10.200.5.%d/24", i);
            assert_string_equal(told(w, node, "address"), want);
        }
        world_free(w);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_found_address_is_kept),
        cmocka_unit_test(test_fixed_address_is_kept),
        cmocka_unit_test(test_range_changes),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_overlap_that_comes_later),
        cmocka_unit_test(test_change_of_network),
        cmocka_unit_test(test_dies_at_each_write),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
